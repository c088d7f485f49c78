#!/usr/bin/env bash
# The serving machine's disk went bad: what it serves does not match its own database. Nix on the
# other side must not get it, and must end well with a good cache behind.
. "$(dirname "$0")/lib.sh"
mkdir -p "$T/alice" "$T/bob"
top=$(build alice "$HERE/big.nix" --argstr tag corrupt --arg mib 4) || { not_ok "build"; finish; }
node_init alice
key=$(node_key alice)
good_cache alice "$top"
want=$(dump_sum alice "$top")
file=$T/alice/root$top
damage() { chmod u+w "$file"; "$@"; chmod 444 "$file"; }
flip() { printf 'x' | dd of="$file" bs=1 seek=2000000 conv=notrunc status=none; }
shrink() { truncate -s 1000000 "$file"; }
remove() { rm -f "$file"; }

start_pair alice bob --trusted-public-key "$key" || { not_ok "connect"; finish; }
for kind in flip shrink remove; do
    damage "$kind" 2>/dev/null
    forget_cache bob
    if in_store bob "$bob_http" "$key" nix-store -r "$top" >"$T/out" 2>&1; then
        not_ok "$kind: nix refuses it without another source" "$T/out"
    else
        ok "$kind: nix refuses it without another source"
    fi
    mkdir -p "$T/with_$kind"
    check "$kind: nix ends well with a good cache behind" \
        in_store "with_$kind" "$bob_http file://$T/cache" "$key" nix-store -r "$top"
    check "$kind: byte-equal" test "$(dump_sum "with_$kind" "$top")" = "$want"
done
check "the damage is in the log of the one who fetched" grep -q 'event=nar\.' "$T/bob.log"
finish

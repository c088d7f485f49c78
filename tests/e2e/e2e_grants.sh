#!/usr/bin/env bash
# What a peer gets is what it was granted: `cache` gives paths signed by the share list, `cache-own` also what
# was built here; without a grant nothing; and a store directory that is not /nix/store works.
. "$(dirname "$0")/lib.sh"
mkdir -p "$T/alice"
own=$(build alice "$HERE/big.nix" --argstr tag own --arg mib 1) || { not_ok "build"; finish; }
shared=$(build alice "$HERE/big.nix" --argstr tag shared --arg mib 1) || { not_ok "build"; finish; }
in_store alice "" "" nix-store --generate-binary-cache-key upstream-1 "$T/upstream.sec" "$T/upstream.pub"
in_store alice "" "" nix store sign -k "$T/upstream.sec" "$shared" 2>/dev/null
for n in alice reader builder stranger; do node_init $n; done
key=$(node_key alice) upstream=$(cat "$T/upstream.pub")
node_trust alice reader "" cache
node_trust alice builder "" cache,cache-own
echo "$(node_id stranger) name=stranger" >>"$T/alice/home/authorized_keys" # a hand-written line grants nothing
node_start alice --share-key "$upstream" || { not_ok "alice starts"; finish; }
code() { local http="${1}_http"; curl -s -m 5 -o /dev/null -w '%{http_code}' "${!http}/$(basename "$2" | cut -c1-32).narinfo"; }
for n in reader builder stranger; do
    node_trust $n alice "$alice_overlay"
    node_start $n --trusted-public-key "$key" --trusted-public-key "$upstream" || { not_ok "$n starts"; finish; }
    check "$n: connected" until_true 10 connected $n alice
done
check "cache: a path signed by the share list is served" test "$(code reader "$shared")" = 200
check "cache: an own build is not" test "$(code reader "$own")" = 404
check "cache-own: an own build is served" test "$(code builder "$own")" = 200
check "cache-own: the signed one too" test "$(code builder "$shared")" = 200
check "no grant: nothing is served" test "$(code stranger "$shared")$(code stranger "$own")" = 404404
test_granted() { [ "$(code stranger "$shared")" = 200 ]; }
check "a grant given while running counts at once" eval '"$PEERIX" auth add --home "$T/alice/home" "$(node_id stranger)" --grant cache && until_true 3 test_granted'
check "and only that grant" test "$(code stranger "$own")" = 404

# ---- another store directory ----
other() { # NAME COMMAND…: a store whose logical directory is $T/other/store
    local name=$1
    shift
    NIX_STORE_DIR=$T/other/store NIX_STATE_DIR=$T/$name/var NIX_LOG_DIR=$T/$name/log NIX_CONF_DIR=$T/$name/conf \
        HOME=$T/$name/nix-home NIX_CONFIG="build-users-group =
sandbox = false
substituters = ${from:-}
trusted-public-keys = ${other_key:-}
experimental-features = nix-command" "$@"
}
node_init one; node_init two
node_trust one two
mkdir -p "$T/other/store" "$T/one/conf" "$T/one/nix-home"
path=$(from="" other one nix-build "$HERE/big.nix" --argstr tag other --arg mib 1 --no-out-link 2>"$T/other.out") ||
    { not_ok "nix builds in another store directory" "$T/other.out"; finish; }
sum=$(other one nix-store --dump "$path" | sha256sum)
daemon_for() { # NAME
    "$PEERIX" daemon --home "$T/$1/home" --listen 127.0.0.1:0 --http 127.0.0.1:0 --nix-conf "" \
        --store "local?store=$T/other/store&state=$T/$1/var" --trusted-public-key "$(node_key one)" >"$T/$1.log" 2>&1 &
    PIDS+=($!)
    until_true 10 grep -q event=ready "$T/$1.log"
}
field() { sed -n "s/.*event=ready.* $2=\([^ ]*\).*/\1/p" "$T/$1.log" | tail -1; }
check "a node serves a store that is not /nix/store" daemon_for one
node_trust two one "$(field one overlay)"
mkdir -p "$T/two/conf" "$T/two/nix-home" "$T/two/var"
other two nix-store --init
# the files lie in one place, as one machine has one such directory; the databases differ
check "a node whose database does not know the path" daemon_for two
until_true 10 connected two one
check "its nix-cache-info names the directory" grep -qx "StoreDir: $T/other/store" <(curl -s "http://$(field two http)/nix-cache-info")
narinfo=$(curl -s "http://$(field two http)/$(basename "$path" | cut -c1-32).narinfo")
check "the narinfo names the path there" grep -qx "StorePath: $path" <<<"$narinfo"
url=$(sed -n 's/^URL: //p' <<<"$narinfo")
check "the NAR is what nix dumps" test "$(curl -s "http://$(field two http)/$url" | sha256sum)" = "$sum"
finish

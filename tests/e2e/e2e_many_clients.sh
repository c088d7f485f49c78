#!/usr/bin/env bash
# Eight nix clients at once, each into a store of its own, through one pair of nodes; and a path of
# 1 GiB. Release build.
. "$(dirname "$0")/lib.sh"
PEERIX=$PX_RELEASE/peerix

mkdir -p "$T/alice" "$T/bob"
small=$(build alice "$HERE/closure.nix" --argstr tag many --arg n 60) || { not_ok "build"; finish; }
big=$(build alice "$HERE/big.nix" --argstr tag many --arg mib 1024) || { not_ok "build 1 GiB"; finish; }
node_init alice
key=$(node_key alice)
start_pair alice bob --trusted-public-key "$key" || { not_ok "two nodes connect"; finish; }

began=$SECONDS
pids=()
for i in $(seq 8); do
    mkdir -p "$T/client$i"
    in_store "client$i" "$bob_http" "$key" nix-store -r "$small" >"$T/client$i.out" 2>&1 &
    pids+=($!)
done
failed=0
for pid in "${pids[@]}"; do wait "$pid" || failed=$((failed + 1)); done
check "8 clients at once all succeed ($((SECONDS - began)) s)" test "$failed" = 0
for i in 1 8; do
    check "client $i has all 60 paths" test "$(in_store "client$i" "" "" nix-store -qR "$small" | wc -l)" = 60
done

peak() { awk '/^VmHWM/{print $2}' "/proc/$1/status"; }
check "one path of 1 GiB arrives" in_store bob "$bob_http" "$key" nix-store -r "$big"
check "byte-equal" test "$(dump_sum alice "$big")" = "$(dump_sum bob "$big")"
for who in alice bob; do
    pid="${who}_pid"
    kib=$(peak "${!pid}")
    check "$who's peak RSS is at most 25 MB (${kib} KiB)" test "$kib" -le 24414
done
finish

#!/usr/bin/env bash
# Real nix over a bad line (delay, jitter, loss in bursts, reordering, duplication, a narrow rate), made
# by the user-space link emulator between two UDP sockets; and the emulator's TAP mode between two
# network namespaces.
. "$(dirname "$0")/lib.sh"
PEERIX=$PX_RELEASE/peerix

mkdir -p "$T/alice"
top=$(build alice "$HERE/closure.nix" --argstr tag bad --arg n 30) || { not_ok "build"; finish; }
big=$(build alice "$HERE/big.nix" --argstr tag bad --arg mib 8) || { not_ok "build"; finish; }
node_init alice
key=$(node_key alice)
node_start alice || { not_ok "alice starts"; finish; }

over() { # NAME EMULATOR-OPTIONS…
    local name=$1
    shift
    node_init "$name" && node_trust alice "$name"
    "$PX_RELEASE/tests/link_emulator" --listen 127.0.0.1:0 --to "$alice_overlay" "$@" >"$T/$name.emulator" &
    PIDS+=($!)
    local emulator=$! began=$SECONDS
    until_true 5 grep -q '^ready ' "$T/$name.emulator"
    node_trust "$name" alice "$(awk '/^ready /{print $2}' "$T/$name.emulator")"
    node_start "$name" --trusted-public-key "$key" --deadline 2s
    local http="${name}_http"
    check "$name: connected" until_true 20 connected "$name" alice
    check "$name: nix fetches 30 small paths" in_store "$name" "${!http}" "$key" nix-store -r "$top"
    check "$name: nix fetches 8 MiB" in_store "$name" "${!http}" "$key" nix-store -r "$big"
    check "$name: byte-equal" test "$(dump_sum alice "$big")" = "$(dump_sum "$name" "$big")"
    echo "# $name took $((SECONDS - began)) s"
    node_stop "$name"
    kill "$emulator"; wait "$emulator"
}
over lossy --delay 10 --loss 0.02 --reorder 0.02 --duplicate 0.02 --seed 7
over bursty --delay 15 --jitter 10 --burst-enter 0.003 --burst-leave 0.3 --seed 8
over narrow --delay 20 --rate 2000000 --queue 100000 --seed 9
check "the emulator did lose packets" grep -qE 'there: .*lost [1-9]' "$T/lossy.emulator"

if [ "$(id -u)" != 0 ] || [ ! -c /dev/net/tun ] || ! unshare -n true 2>/dev/null; then
    skip "the TAP mode needs root, network namespaces and /dev/net/tun"
    finish
fi
a=pxa$$ b=pxb$$
ip netns add $a && ip netns add $b && ip -n $a link set lo up && ip -n $b link set lo up
trap 'ip netns del '$a'; ip netns del '$b'; cleanup' EXIT
"$PX_RELEASE/tests/link_emulator" --tap $a/tap0 --tap $b/tap0 --delay 25 >"$T/tap.out" 2>&1 &
PIDS+=($!)
until_true 5 grep -q ready "$T/tap.out"
ip -n $a addr add 10.77.0.1/24 dev tap0 && ip -n $a link set tap0 up
ip -n $b addr add 10.77.0.2/24 dev tap0 && ip -n $b link set tap0 up
# not through a function: the pid to end would be that of a shell in between
node_init netb
NODE_WRAP=(ip netns exec $b)
node_trust netb alice
in_store netb "" "" nix-store --init
ip netns exec $b "$PEERIX" daemon --home "$T/netb/home" --listen 10.77.0.2:12303 --http 127.0.0.1:0 --store "$(store_uri netb)" \
    --nix-conf "" >"$T/netb.log" 2>&1 &
PIDS+=($!)
until_true 10 grep -q event=ready "$T/netb.log"
node_init neta && node_trust netb neta && node_trust neta netb 10.77.0.2:12303
NODE_WRAP=(ip netns exec $a)
mkdir -p "$T/neta/root"
in_store neta "" "" nix-store --init
ip netns exec $a "$PEERIX" daemon --home "$T/neta/home" --listen 10.77.0.1:12303 --http 127.0.0.1:0 --store "$(store_uri neta)" \
    --nix-conf "" >"$T/neta.log" 2>&1 &
PIDS+=($!)
check "two namespaces connect through two TAP devices" until_true 10 connected neta netb
rtt=$(sed -n 's/.*event=peer.connected.*rtt_us=\([0-9]*\).*/\1/p' "$T/neta.log" | head -1)
check "the round trip shows at least twice the delay of 25 ms (${rtt:-?} µs)" test "${rtt:-0}" -ge 50000 -a "${rtt:-0}" -lt 250000
finish

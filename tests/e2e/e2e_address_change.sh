#!/usr/bin/env bash
# Two real daemons in network namespaces on one bridge, real nix fetching a large path: while the NAR
# moves, one side's address is taken away and it gets another one. First the listening side, then the
# dialling one, then both in turn, back to where they were. The link must be the same one afterwards,
# and nothing may arrive wrong.
# Runs alone: it measures times, or fills the machine.
. "$(dirname "$0")/lib.sh"

if [ "$(id -u)" != 0 ] || ! unshare -n true 2>/dev/null; then
    skip "needs root and network namespaces"
    finish
fi
a=pxa$$ b=pxb$$ s=pxs$$
trap 'for n in '"$a $b $s"'; do ip netns del $n 2>/dev/null; done; cleanup' EXIT
for n in $a $b $s; do ip netns add "$n" && ip -n "$n" link set lo up; done
ip -n $s link add br0 type bridge && ip -n $s link set br0 up
for n in $a $b; do
    ip -n "$n" link add eth0 type veth peer name "$n" netns $s
    ip -n $s link set "$n" master br0 && ip -n $s link set "$n" up
    ip -n "$n" link set eth0 up
    # slow enough that a NAR takes some seconds
    tc -n "$n" qdisc add dev eth0 root tbf rate 60mbit burst 32k latency 50ms || not_ok "tc works"
done
ip -n $a addr add 10.78.0.1/24 dev eth0
ip -n $b addr add 10.78.0.2/24 dev eth0

mkdir -p "$T/alice" "$T/bob"
for i in 1 2 3 4; do
    path[i]=$(build alice "$HERE/big.nix" --argstr tag "move$i" --arg mib 24) || { not_ok "build" "$T/build.out"; finish; }
done
node_init alice && node_init bob && node_trust alice bob && node_trust bob alice 10.78.0.1:12303
key=$(node_key alice)
NODE_WRAP=(ip netns exec $a)
node_start alice --listen 0.0.0.0:12303 || { not_ok "alice starts"; finish; }
NODE_WRAP=(ip netns exec $b)
node_start bob --listen 0.0.0.0:12303 --trusted-public-key "$key" --deadline 2s || { not_ok "bob starts"; finish; }
check "connected" until_true 10 connected bob alice

fetch() { # in bob's namespace: the substituter listens on its loopback
    ip netns exec $b bash -c "$(declare -f in_store nix_env store_uri); T=$T; in_store bob $bob_http '$key' nix-store -r $1" \
        >"$T/fetch.$2" 2>&1
}
received() { ip -n $b -s -j link show dev eth0 | sed 's/.*"rx":{"bytes":\([0-9]*\).*/\1/'; }
# received_more N: bob's interface got N more bytes than at $start
received_more() { [ $(($(received) - start)) -ge "$1" ]; }
# stall: milliseconds without a full packet's worth of bytes, at the longest, until the fetch ends
stall() { # PID
    local last now bytes before longest=0
    before=$(received) last=$(date +%s%N)
    while kill -0 "$1" 2>/dev/null; do
        sleep 0.02
        bytes=$(received) now=$(date +%s%N)
        [ $((bytes - before)) -lt 3000 ] && { [ $((now - last)) -gt $longest ] && longest=$((now - last)); continue; }
        before=$bytes last=$now
    done
    echo $((longest / 1000000))
}
# change NS OLD NEW
change() {
    ip -n "$1" addr del "$2/24" dev eth0
    ip -n "$1" addr add "$3/24" dev eth0
}
# events of the logs
ups() { grep -c "event=peer.connected" "$T/$1.log"; }
downs() { grep -c "event=peer.disconnected" "$T/$1.log"; }

# moves NUMBER WHAT COMMAND…: fetches path[NUMBER], runs the command in the middle
moves() {
    local i=$1 what=$2 pid longest
    shift 2
    forget_cache bob
    start=$(received)
    fetch "${path[$i]}" "$i" &
    pid=$!
    until_true 10 received_more 4000000 || not_ok "$what: the transfer runs" "$T/fetch.$i" "$T/bob.log"
    "$@"
    longest=$(stall $pid)
    if wait $pid; then ok "$what: the fetch ends well"; else not_ok "$what: the fetch ends well" "$T/fetch.$i" "$T/bob.log" "$T/alice.log"; fi
    check "$what: byte-equal" test "$(dump_sum alice "${path[$i]}")" = "$(dump_sum bob "${path[$i]}")"
    check "$what: the longest pause is $longest ms, at most 2 s" test "$longest" -le 2000
    check "$what: it is the same link" test "$(ups bob)" = 1 -a "$(downs bob)" = 0 -a "$(ups alice)" = 1
}
# sees NODE ADDR [TIMES]: its link goes there now
sees() { [ "$(grep "event=peer.path" "$T/$1.log" | grep -c "[ =]addr=$2:12303")" -ge "${3:-1}" ]; }
moves 1 "the listening side moves" change $a 10.78.0.1 10.78.0.11
check "the dialler sends to the new address" sees bob 10.78.0.11
moves 2 "the dialling side moves" change $b 10.78.0.2 10.78.0.22
check "the listener sends to the new address" sees alice 10.78.0.22
back() { # both, one soon after the other
    change $a 10.78.0.11 10.78.0.1
    sleep 1
    change $b 10.78.0.22 10.78.0.2
}
moves 3 "both move back, one after the other" back
check "both send to the first addresses again" sees alice 10.78.0.2
check "both send to the first addresses again (dialler)" sees bob 10.78.0.1
both() { # at once: each learns the other's new address from its announcement on the link
    change $a 10.78.0.1 10.78.0.111
    change $b 10.78.0.2 10.78.0.222
}
moves 4 "both move at once" both
finish

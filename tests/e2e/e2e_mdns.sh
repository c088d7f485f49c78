#!/usr/bin/env bash
# Peers find each other by DNS-SD through real Avahi daemons: whichever comes first, also after a
# restart of Avahi; strangers learn nothing; without D-Bus all else works. Each namespace has a bus and a
# daemon of its own.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/netns.sh"
. "$(dirname "$0")/avahi.sh"
netns_need
avahi_need
TOOLS=$BIN/tests

# forgotten NODE: what it remembers of earlier connections is gone
forgotten() { rm -f "$T/$1/home/state.db"*; }
mdns_start() { # NODE [OPTIONS]
    NODE_WRAP=(env DBUS_SYSTEM_BUS_ADDRESS="$(avahi_address "$1")" $(netns_in "$1"))
    node_start "$1" --listen "[::]:12303" --lan-discovery mdns "${@:2}"
    local rc=$?
    NODE_WRAP=()
    return $rc
}
now_ms() { date +%s%3N; }
hex() { od -An -v -tx1 | tr -d ' \n'; }
times() { grep -c "$1" "$T/$2.log"; }

netns_switch sw
i=0
for n in alice bob carol; do
    netns_add $n && node_init $n && avahi_bus $n || { not_ok "a bus in the namespace" "$T/$n.bus.log"; finish; }
    netns_plug $n sw eth0 10.77.2.$((++i))/24
done
node_trust alice bob; node_trust bob alice
node_trust carol alice; node_trust carol bob # listed by none
ip netns exec "$(netns_id carol)" "$TOOLS/frame_log" eth0 "$T/carol.frames" >"$T/tap" &
PIDS+=($!)
avahi_start carol && avahi_start alice || { not_ok "avahi-daemon starts" "$T/carol.avahi.log" "$T/alice.avahi.log"; finish; }

# ---- Avahi is there first, or comes later ----
mdns_start carol
mdns_start alice
mdns_start bob # without its Avahi yet
sleep 1
check "a missing Avahi is told at info and is no error" bash -c 'grep -q "level=info event=mdns.absent" "$1" && ! grep -q "level=error" "$1"' _ "$T/bob.log"
began=$(now_ms)
avahi_start bob
check "two daemons find each other once both have Avahi" until_true 6 connected bob alice
echo "# $(($(now_ms) - began)) ms after the start of avahi-daemon"
check "both are connected" until_true 2 connected alice bob
check "found by DNS-SD" bash -c 'grep -hE "event=peer.found .*source=mdns" "$1" "$2"' _ "$T/alice.log" "$T/bob.log"

# ---- the second one to start, Avahi running ----
node_stop bob
forgotten bob # and alice knows another port: neither can dial from memory
began=$(now_ms)
mdns_start bob --listen "[::]:12391"
connected_again() { [ "$(times 'event=peer.connected .*name=alice' bob)" -gt "$1" ]; }
check "a restarted daemon is connected" until_true 6 connected_again 1
ms=$(($(now_ms) - began))
echo "# two daemons find each other by DNS-SD: $ms ms"
check "within 6 s" test "$ms" -le 6000

# ---- Avahi restarts: what was published is published again ----
node_stop bob
avahi_stop alice
avahi_start alice
forgotten bob
mdns_start bob --listen "[::]:12392"
check "found through an Avahi that was restarted" until_true 8 connected_again 2
check "told once only" test "$(times 'event=mdns.absent' alice)" -le 1

# ---- what a stranger sees ----
check "the stranger sees the service" grep -q "$(printf '\x07_peerix\x04_udp' | hex)" "$T/carol.frames"
for n in alice bob; do
    bytes=$(openssl pkey -in "$T/$n/home/identity.pem" -pubout -outform DER 2>/dev/null | tail -c 32 | hex)
    [ ${#bytes} = 64 ] || not_ok "$n: the key can be read for comparison"
    # the host name of the machine is Avahi's own to tell
    check "$n: no key or peer ID on the wire" bash -c '! grep -qE "$1|$2" "$3" && [ -s "$3" ]' _ "$bytes" "$(node_id $n | tr -d '\n' | hex)" "$T/carol.frames"
done
check "the stranger is connected to nobody" bash -c '! grep -q "event=peer.connected" "$1" && ! grep -h "event=peer.connected .*name=carol" "$2" "$3"' \
    _ "$T/carol.log" "$T/alice.log" "$T/bob.log"
for n in alice bob carol; do node_stop $n; done

# ---- the contract every backend keeps, on this bus ----
check "the contract of discovery holds for DNS-SD" env PX_TEST_AVAHI=1 DBUS_SYSTEM_BUS_ADDRESS="$(avahi_address carol)" \
    $(netns_in carol) "$TOOLS/test_discovery"

# ---- an Avahi that hangs: calls to it wait, the node does not ----
mdns_start alice
until_true 5 grep -q event=mdns.running "$T/alice.log"
kill -STOP "$avahi_alice"
node_trust alice carol # is to be published: the call hangs
sleep 0.5
began=$(now_ms)
check "the daemon answers while Avahi hangs" timeout 5 "$PEERIX" status --home "$T/alice/home"
check "at once" test $(($(now_ms) - began)) -lt 1500
began=$(now_ms)
check "and ends while Avahi hangs" node_stop alice
check "soon" test $(($(now_ms) - began)) -lt 4000
kill -CONT "$avahi_alice"

# ---- no bus at all; and one that goes away ----
NODE_WRAP=(env DBUS_SYSTEM_BUS_ADDRESS="unix:path=$T/nothing" $(netns_in carol))
node_start carol --listen "[::]:12303"
NODE_WRAP=()
check "a missing D-Bus is told at info" until_true 5 grep -q 'level=info event=mdns.absent why="there is no system D-Bus"' "$T/carol.log"
check "and the daemon ends in order" node_stop carol
mdns_start alice
until_true 5 grep -q event=mdns.running "$T/alice.log"
kill "$bus_alice"
sleep 1
check "a bus that ends does not end the daemon" kill -0 "$alice_pid"
began=$(now_ms)
check "nor keep it from ending" node_stop alice
check "at once" test $(($(now_ms) - began)) -lt 5000
finish

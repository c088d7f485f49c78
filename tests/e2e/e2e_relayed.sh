#!/usr/bin/env bash
# Two nodes behind two NAT routers that let nothing in, and two relays outside: the main job goes through
# a relay, whose wire shows no content; relays die, restart and come back; a direct link is taken when there is
# one; a removed peer is refused.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/netns.sh"
. "$(dirname "$0")/nat.sh"
nat_need
mkdir -p "$T/alice" "$T/bob"
top=$(build alice "$HERE/closure.nix" --argstr tag NAT-MARKER-plain --arg n 60) || { not_ok "build"; finish; }
netns_switch wan
for r in one two; do netns_add $r; "$RELAY" init --home "$T/$r" >/dev/null; done
netns_plug one wan eth0 203.0.113.1/24 && netns_plug two wan eth0 203.0.113.2/24
router ra 203.0.113.11 192.168.1 && router rb 203.0.113.12 192.168.2 || { not_ok "the routers are set up"; finish; }
host alice ra 192.168.1 && host bob rb 192.168.2
netns_switch own # a link between the two, without a cable as yet
netns_plug alice own eth1 10.9.9.1/24 && netns_plug bob own eth1 10.9.9.2/24
netns_unplug alice eth1; netns_unplug bob eth1
LAN_DISCOVERY=multicast
for n in alice bob; do
    node_init $n
    for r in one two; do "$RELAY" auth add "$(node_id $n)" --name $n --home "$T/$r" >/dev/null; done
done
key=$(node_key alice)
node_trust alice bob && node_trust bob alice
relay_start one 203.0.113.1 && one_pid=$RELAY_PID && relay_start two 203.0.113.2 && two_pid=$RELAY_PID ||
    { not_ok "the relays start" "$T/one.log" "$T/two.log"; finish; }

# ---- the command line ----
check "a relay is added by its URL" "$PEERIX" relay add "$one_url" --name one --home "$T/alice/home"
check "and by host and --id" "$PEERIX" relay add 203.0.113.2 --id "$("$RELAY" whoami --home "$T/two")" --name two --home "$T/alice/home"
check "and by multiaddr" "$PEERIX" relay add "/ip4/203.0.113.2/udp/12307/quic-v1/p2p/$("$RELAY" whoami --home "$T/two")" --name two --home "$T/bob/home"
check "and removed" "$PEERIX" relay remove two --home "$T/bob/home"
nat_start alice && nat_start bob --trusted-public-key "$key" || { not_ok "the daemons start" "$T/alice.log" "$T/bob.log"; finish; }
check "without a relay in common nobody connects" bash -c '! grep -q event=peer.connected "$1" "$2"' _ "$T/alice.log" "$T/bob.log"
check "a running daemon takes a relay up" "$PEERIX" relay add "$one_url" --name one --home "$T/bob/home"
check "the two connect" until_true 10 connected bob alice || { tail -n 30 "$T/alice.log" "$T/bob.log" "$T/one.log"; finish; }
check "both say so" until_true 5 connected alice bob
check "through the relay" grep -q 'event=peer.connected .*path=relayed' "$T/bob.log"
check "relay list shows the reservation" bash -c 'ip netns exec "$1" "$2" relay list --home "$3" | grep -q "reserved as member"' _ "$(netns_id bob)" "$PEERIX" "$T/bob/home"
check "peers shows the path" bash -c 'ip netns exec "$1" "$2" peers --home "$3" | grep -q "RELAYED via one"' _ "$(netns_id bob)" "$PEERIX" "$T/bob/home"
# both may have called; one of the two circuits goes unused then
check "status counts it" until_true 8 bash -c 'ip netns exec "$1" "$2" status --home "$3" | grep -qE "relays +1 reserved of 1 listed, 1 circuits"' _ "$(netns_id bob)" "$PEERIX" "$T/bob/home"
cli bob traceroute alice >"$T/trace" 2>&1
check "traceroute shows the relay and the peer" bash -c 'grep -q "path: RELAYED" "$1" && grep -qE "1 +relay +one +203.0.113.1:12307" "$1" && grep -qE "2 +peer +alice" "$1"' _ "$T/trace"
check "the relay registers where alice is, and bob hears it" until_true 5 grep -qE 'event=peer.found .*name=alice .*addr=203.0.113.11:.* source=record' "$T/bob.log"

# ---- the main job, with an ear on the relay's wire ----
ip netns exec "$(netns_id one)" "$BIN/tests/frame_log" eth0 "$T/one.frames" >"$T/one.tap" &
TAP=$!
PIDS+=($TAP)
until_true 5 grep -q ready "$T/one.tap"
fetch() { in_store bob "$bob_http" "$key" $(netns_in bob) nix-store -r "$top"; }
check "real nix fetches through the relay, signatures required" fetch
check "the NAR is byte-equal" test "$(dump_sum alice "$top")" = "$(dump_sum bob "$top")"
kill $TAP && wait $TAP 2>/dev/null
marker=$(printf NAT-MARKER | od -An -v -tx1 | tr -d ' \n')
check "the marker is in the content" bash -c 'nix-store --dump "$1" | grep -q NAT-MARKER' _ "$T/alice/root$top"
check "the relay saw the packets ($(wc -c <"$T/one.frames") hex digits)" test "$(wc -c <"$T/one.frames")" -gt 100000
check "and no plaintext" bash -c '! grep -q "$1" "$2"' _ "$marker" "$T/one.frames"

# ---- a relay dies ----
disconnects() { grep -c 'event=peer.disconnected' "$T/$1.log"; }
before=$(disconnects bob)
relay_kill $one_pid
began=$(date +%s%3N)
relay_start one 203.0.113.1 && one_pid=$RELAY_PID
check "the nodes come back to a relay that was killed" until_true 8 bash -c '[ "$(grep -c "event=relay.connected relay=one" "$1")" -ge 2 ] && [ "$(grep -c "event=relay.connected relay=one" "$2")" -ge 2 ]' _ "$T/alice.log" "$T/bob.log"
check "peers talk again" until_true 10 answers bob alice
echo "# after kill -9 of the relay: $(($(date +%s%3N) - began)) ms until the peer answers"
check "and their connection lived through it" test "$(disconnects bob)" = "$before"

check "bob takes up a second relay" "$PEERIX" relay add "$two_url" --name two --home "$T/bob/home"
check "and has a reservation there" until_true 5 grep -q 'event=relay.reserved relay=two status=OK' "$T/bob.log"
relay_kill $one_pid
began=$(date +%s%3N)
check "with the first one dead the circuit moves to the second" until_true 10 via bob alice two
check "peers talk on" until_true 5 answers bob alice
echo "# over to the second relay: $(($(date +%s%3N) - began)) ms"
check "on the same connection" test "$(disconnects bob)" = "$before"

# ---- a relay says that it goes ----
there=$(cat "$T/alice.log" "$T/bob.log" | grep -c "event=relay.reserved relay=one status=OK")
relay_start one 203.0.113.1 && one_pid=$RELAY_PID
check "both have the first one back" until_true 10 bash -c '
    [ "$(cat "$1" "$2" | grep -c "event=relay.reserved relay=one status=OK")" -ge $(($3 + 2)) ]' _ "$T/alice.log" "$T/bob.log" "$there"
kill $two_pid
check "the circuit moves before the relay is gone" until_true 3 via bob alice one
check "and the relay ends" wait $two_pid
check "peers talk on" until_true 2 answers bob alice
check "still on the same connection" test "$(disconnects bob)" = "$before"

# ---- a cable between the two ----
netns_replug alice eth1 && netns_replug bob eth1
check "found on a link of their own, the two leave the relay" until_true 8 grep -q 'event=peer.path .*path=lan' "$T/bob.log"
check "at both ends" until_true 3 grep -q 'event=peer.path .*path=lan' "$T/alice.log"
check "peers talk on" until_true 2 answers bob alice
check "with their connection" test "$(disconnects bob)" = "$before"
began=$(date +%s%3N)
netns_unplug alice eth1
check "without the cable they are back at the relay" until_true 8 via bob alice one
echo "# after $(($(date +%s%3N) - began)) ms"
check "peers talk on" until_true 2 answers bob alice
netns_replug alice eth1
on_cable() { cli bob traceroute alice | grep -q 'path: DIRECT'; }
check "and with it on a link of their own again" until_true 15 on_cable
check "all on the same connection" test "$(disconnects bob)" = "$before"

# ---- revocation ----
check "a peer is removed" "$PEERIX" auth remove bob --home "$T/alice/home"
check "its connection ends" until_true 3 grep -q 'event=peer.disconnected .*name=alice .*EREVOKED' "$T/bob.log"
check "its calls are declined" until_true 8 grep -q "event=circuit.declined .*peer=$(node_id bob)" "$T/alice.log"
check "the relay forwards nothing for it" test "$(cli bob peers --json | grep -c '"state": "connected"')" = 0

for n in alice bob; do
    node_stop $n
    check "$n ends with 0" test $? = 0
done
finish

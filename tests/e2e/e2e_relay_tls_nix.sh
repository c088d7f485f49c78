#!/usr/bin/env bash
# The main job for a node whose router lets no UDP out but DNS: real nix fetches from it through the relay, by TLS on TCP
# 443; UDP is taken up again when it is let out, and left again, under the same connection between the nodes.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/netns.sh"
. "$(dirname "$0")/nat.sh"
nat_need
command -v jq >/dev/null || { skip "needs jq"; finish; }
mkdir -p "$T/alice" "$T/bob"
top=$(build alice "$HERE/closure.nix" --argstr tag TLS-MARKER-plain --arg n 60) || { not_ok "build"; finish; }
netns_switch wan
netns_add one && netns_plug one wan eth0 203.0.113.1/24 && "$RELAY" init --home "$T/one" >/dev/null
router ra 203.0.113.11 192.168.1 && router rb 203.0.113.12 192.168.2 || { not_ok "the routers are set up"; finish; }
host alice ra 192.168.1 && host bob rb 192.168.2
wall() { # WHERE HOOK shut|open
    local rules=
    [ "$3" = open ] || rules='udp dport != 53 drop; udp sport != 53 drop;'
    $(netns_in "$1") nft -f - <<NFT
table ip wall
delete table ip wall
table ip wall {
    chain it { type filter hook $2 priority -10; policy accept; $rules }
}
NFT
}
check "alice's router lets no UDP out" wall ra forward shut
for n in alice bob; do
    node_init $n
    "$RELAY" auth add "$(node_id $n)" --name $n --home "$T/one" >/dev/null
done
key=$(node_key alice)
node_trust alice bob && node_trust bob alice
relay_start one 203.0.113.1 || { not_ok "the relay starts" "$T/one.log"; finish; }
for n in alice bob; do "$PEERIX" relay add "$one_url" --name one --home "$T/$n/home" >/dev/null; done
began=$(date +%s%3N)
nat_start alice && nat_start bob --trusted-public-key "$key" || { not_ok "the daemons start" "$T/alice.log" "$T/bob.log"; finish; }
check "alice gets to the relay through a pipe" until_true 8 grep -q 'event=relay.connected relay=one addr=pipe:' "$T/alice.log"
check "and is reachable there" until_true 5 grep -q 'event=relay.reserved relay=one status=OK' "$T/alice.log"
echo "# the start of two daemons, 1.5 s without an answer, TCP, TLS, and the link: $(($(date +%s%3N) - began)) ms"
check "relay list shows it" bash -c 'ip netns exec "$1" "$2" relay list --home "$3" | grep -q "connected by TCP, reserved as member"' _ "$(netns_id alice)" "$PEERIX" "$T/alice/home"
check "bob by UDP" until_true 5 grep -q 'event=relay.connected relay=one addr=203.0.113.1:' "$T/bob.log"
check "the two connect" until_true 10 connected bob alice || { tail -n 30 "$T/alice.log" "$T/bob.log" "$T/one.log"; finish; }
check "through the relay" grep -q 'event=peer.connected .*path=relayed' "$T/bob.log"
disconnects() { grep -c 'event=peer.disconnected' "$T/$1.log"; }

# ---- the main job, with an ear on the relay's wire ----
ip netns exec "$(netns_id one)" "$BIN/tests/frame_log" eth0 "$T/one.frames" >"$T/one.tap" &
TAP=$!
PIDS+=($TAP)
until_true 5 grep -q ready "$T/one.tap"
fetch() { in_store bob "$bob_http" "$key" $(netns_in bob) nix-store -r "$top"; }
check "real nix fetches through the pipe, signatures required" fetch
check "the NAR is byte-equal" test "$(dump_sum alice "$top")" = "$(dump_sum bob "$top")"
kill $TAP && wait $TAP 2>/dev/null
marker=$(printf TLS-MARKER | od -An -v -tx1 | tr -d ' \n')
check "the relay saw the packets ($(wc -c <"$T/one.frames") hex digits)" test "$(wc -c <"$T/one.frames")" -gt 100000
check "and no plaintext" bash -c '! grep -q "$1" "$2"' _ "$marker" "$T/one.frames"

# ---- UDP is let out, and shut in again ----
network_changes() { ip -n "$(netns_id alice)" addr "$1" 192.168.1.77/24 dev eth0; } # so that nobody waits 30 s
wall ra forward open
network_changes add
check "UDP is taken up again by itself" until_true 6 grep -q 'event=relay.back_to_udp' "$T/alice.log"
check "peers talk on" until_true 5 answers bob alice
check "and the pipe is closed" until_true 6 bash -c '[ "$("$1" status --home "$2" --json | jq .pipes)" = 0 ]' _ "$RELAY" "$T/one"
wall alice output shut # by her own firewall: now sending fails
network_changes del
began=$(date +%s%3N)
check "without UDP the pipe comes back" until_true 12 bash -c '[ "$(grep -c "event=relay.connected relay=one addr=pipe:" "$1")" = 2 ]' _ "$T/alice.log"
check "peers talk again" until_true 10 answers bob alice
echo "# from the loss of UDP: $(($(date +%s%3N) - began)) ms until the peer answers"
check "on the connection of the beginning" test "$(disconnects bob) $(disconnects alice)" = "0 0"
check "no sanitizer spoke" bash -c '! grep -qE "Sanitizer|runtime error" "$1"/*.log' _ "$T"
finish

#!/usr/bin/env bash
# The relay between network namespaces: dial-back, the observed address, a node whose address changes under
# an open circuit, a cut cable, a third party's packets; and what a listener at the relay's cable sees.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/netns.sh"
netns_need
. "$(dirname "$0")/relay_clients.sh"
client() { client_start "$1" "$ID" 10.79.0.1:12307 $(netns_in "$1"); }

netns_switch sw
i=0
for n in relay alice bob eve; do
    netns_add $n && netns_plug $n sw eth0 10.79.0.$((++i))/24 || { not_ok "namespaces"; finish; }
    "$RELAY" init --home "$T/$n" >/dev/null
done
for n in alice bob; do "$RELAY" auth add "$(id_of $n)" --home "$T/relay" >/dev/null; done
ID=$(id_of relay)
$(netns_in relay) "$RELAY" daemon --home "$T/relay" --listen '[::]:12307' --public-addr relay.example:12307 --log-level debug >"$T/relay.log" 2>&1 &
PIDS+=($!)
until_true 10 grep -q event=ready "$T/relay.log" || { not_ok "the relay starts" "$T/relay.log"; finish; }
check "the URL has the public address" grep -q "url=peerix-relay://$ID@relay.example:12307" "$T/relay.log"
client alice
client bob
check "the relay tells the address it sees" hears alice 'observed 10.79.0.2:'
hears alice 'reserved OK' >/dev/null
hears bob 'reserved OK' >/dev/null

# ---- dial-back ----
observed=$(sed -n 's/^observed //p' "$T/alice.out" | head -1)
tell alice probe "$observed"
check "an address that can be reached is" hears alice 'reply PROBE OK'
tell alice probe 10.79.0.99:5000
check "another IP costs data first" hears alice 'reply PROBE DATA_NEEDED'
check "and is unreachable if nobody answers" hears alice 'reply PROBE UNREACHABLE' 8
tell alice probe "10.79.0.3:5000"
hears alice 'reply PROBE DATA_NEEDED' >/dev/null
check "somebody else's address is not ours" hears alice 'reply PROBE UNREACHABLE' 8
tell alice probe 10.79.0.1:5000
check "the relay does not dial itself" hears alice 'reply PROBE PERMISSION_DENIED'

# ---- a circuit, and what a third party can do to it ----
tell alice call "$(id_of bob)"
check "a circuit opens" hears alice 'open rate'
tell alice say one
check "and carries packets" hears bob 'data one'
for _ in $(seq 20); do
    $(netns_in eve) bash -c 'head -c 200 /dev/urandom >/dev/udp/10.79.0.1/12307'
    $(netns_in eve) bash -c 'printf "\x10%s" "$(head -c 300 /dev/urandom | tr -d "\0")" >/dev/udp/10.79.0.1/12307'
done
tell bob say two
check "packets of a third party change nothing" hears alice 'data two'

# ---- the address of a node changes ----
ip -n "$(netns_id alice)" addr add 10.79.0.22/24 dev eth0
ip -n "$(netns_id alice)" addr del 10.79.0.2/24 dev eth0
ip -n "$(netns_id alice)" addr add 10.79.0.22/24 dev eth0 2>/dev/null
tell alice moved
check "the link moves to the new address" hears alice 'observed 10.79.0.22:' 10
tell bob say three
check "and so does the circuit" hears alice 'data three'
tell alice say four
check "both ways" hears bob 'data four'

# ---- the relay's cable is cut for a while ----
netns_unplug relay eth0
sleep 3
netns_replug relay eth0
sleep 1
tell alice say five
check "a circuit outlives a short outage" hears bob 'data five'

# ---- the relay goes and comes back ----
kill "${PIDS[0]}" && wait "${PIDS[0]}"
check "nodes hear of it" hears alice 'down ECLOSED'
$(netns_in relay) "$RELAY" daemon --home "$T/relay" --listen '[::]:12307' --log-level debug >"$T/relay2.log" 2>&1 &
PIDS+=($!)
until_true 10 grep -q event=ready "$T/relay2.log"
tell alice dial
check "and come back from where they are now" hears alice 'reserved OK' 10
check "no sanitizer spoke" bash -c '! grep -qE "Sanitizer|runtime error" "$1"/*.log "$1"/*.out' _ "$T"
finish

#!/usr/bin/env bash
# Two machines behind two NAT routers pair through a relay that lists the inviter alone: one code, nothing
# to edit on the relay, the main job afterwards, and the relay knows the joiner from then on.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/netns.sh"
. "$(dirname "$0")/nat.sh"
nat_need

mkdir -p "$T/alice" "$T/bob"
top=$(build alice "$HERE/closure.nix" --argstr tag relay-pairing --arg n 30) || { not_ok "build"; finish; }
netns_switch wan
netns_add one && "$RELAY" init --home "$T/one" >/dev/null
netns_plug one wan eth0 203.0.113.1/24
router ra 203.0.113.11 192.168.1 && router rb 203.0.113.12 192.168.2 || { not_ok "the routers are set up"; finish; }
host alice ra 192.168.1 && host bob rb 192.168.2
for n in alice bob; do node_init $n; done
"$RELAY" auth add "$(node_id alice)" --name alice --home "$T/one" >/dev/null
relay_start one 203.0.113.1 || { not_ok "the relay starts" "$T/one.log"; finish; }
"$PEERIX" relay add "$one_url" --name one --home "$T/alice/home" >/dev/null
nat_start alice && nat_start bob || { not_ok "the daemons start" "$T/alice.log" "$T/bob.log"; finish; }
until_true 5 grep -q 'event=relay.reserved relay=one status=OK' "$T/alice.log"

# ---- nobody gets in without a code ----
check "bob has no relay" test "$("$PEERIX" relay list --home "$T/bob/home" 2>/dev/null | wc -l)" = 0
code=$(cli alice invite --no-wait --no-qr --name bob 2>"$T/invite.err") || not_ok "invite" "$T/invite.err"
code=$(tail -1 <<<"$code")
check "the relay hears of the invite" until_true 3 grep -q 'event=relay.invite relay=one status=OK' "$T/alice.log"
wrong=$(cli alice invite --no-wait --no-qr --ttl 1s 2>/dev/null | tail -1)
sleep 1.2
cli bob join "$wrong" --non-interactive >"$T/late.out" 2>&1
check "a code that has expired is refused" test $? != 0

# ---- the join ----
join() { cli bob join "$code" --non-interactive --name alice 2>"$T/join.err"; }
check "bob joins with the code" join
check "and is told of the relay" grep -q '^reaching the inviter at .*through the relay at 203.0.113.1:12307' "$T/join.err"
check "admitted by the code" grep -q 'event=relay.admit .*status=OK' "$T/bob.log"
check "the relay is bob's now" grep -q "$("$RELAY" whoami --home "$T/one")@203.0.113.1:12307" "$T/bob/home/relays"
check "alice vouches for bob" until_true 3 grep -q 'event=relay.vouch relay=one status=OK' "$T/alice.log"
check "they are connected as listed peers" until_true 8 grep -q 'event=peer.connected .*name=alice .*path=relayed' "$T/bob.log"
key=$(node_key alice)
fetch() { in_store bob "$bob_http" "$key" $(netns_in bob) nix-store -r "$top"; }
check "real nix fetches through the relay" fetch
check "the NAR is byte-equal" test "$(dump_sum alice "$top")" = "$(dump_sum bob "$top")"

status_has() { "$RELAY" status --json --home "$T/one" | grep -q "$1"; }
check "bob hears that somebody vouched for him" until_true 8 grep -q 'event=relay.reserved .*status=OK class=vouched' "$T/bob.log"
check "and registers, as alice does" until_true 3 status_has '"records": 2'

# ---- what a relay has yet to be told ----
fresh() { # [OPTIONS]: a code in $code, its ID in $invite
    code=$(cli alice invite --no-wait --no-qr --json "$@" 2>/dev/null)
    invite=$(sed -n 's/.*"id": *"\([^"]*\)".*/\1/p' <<<"$code" | head -1)
}
owed() { grep -q "^$1 " "$T/alice/home/relay-owed"; }
fresh
check "an invite is open at the relay" until_true 3 status_has '"invites": [1-9]'
cli alice invite --withdraw "$invite" >/dev/null 2>&1
check "withdrawn, it is so there too" until_true 3 grep -q 'event=relay.uninvite relay=one status=OK' "$T/alice.log"
fresh
until_true 3 owed invite
relay_kill $RELAY_PID
cli alice invite --withdraw "$invite" >/dev/null 2>&1
check "withdrawn while the relay is away, it is remembered" until_true 3 owed uninvite
node_stop alice
open_before=$(grep -c 'event=relay.uninvite relay=one status=OK' "$T/alice.log")
relay_start one 203.0.113.1 || not_ok "the relay comes back" "$T/one.log"
check "and still open there" until_true 5 status_has '"invites": [1-9]'
nat_start alice || not_ok "alice comes back" "$T/alice.log"
told() { [ "$(grep -c 'event=relay.uninvite relay=one status=OK' "$T/alice.log")" -gt "$open_before" ]; }
check "after a restart of both the relay hears of it" until_true 15 told
check "and nothing is owed any more" until_true 3 bash -c '! grep -qv "^vouched " "$1"' _ "$T/alice/home/relay-owed"

# ---- afterwards ----
netns_add carol && netns_plug carol wan eth0 203.0.113.21/24 && node_init carol && nat_start carol
cli carol join "$code" --non-interactive >"$T/again.out" 2>&1
check "the code is used up" test $? != 0
check "and admits nobody at the relay" bash -c '! grep -q "event=relay.admit .*status=OK" "$1" && ! grep -q event=relay.reserved.*status=OK "$1"' _ "$T/carol.log"
node_stop bob
nat_start bob || not_ok "bob starts again" "$T/bob.log"
check "after a restart bob is known at the relay" until_true 8 bash -c '[ "$(grep -c "event=relay.reserved .*status=OK class=vouched" "$1")" -ge 2 ]' _ "$T/bob.log"
check "and both connect again" until_true 8 bash -c '[ "$(grep -c "event=peer.connected .*name=bob" "$1")" -ge 2 ]' _ "$T/alice.log"
# bob takes another key, with which he can come to alice by way of the relay only
old=$(node_id bob)
ups=$(grep -c "event=relay.reserved .*status=OK class=vouched" "$T/bob.log")
cli bob rotate-key >"$T/rotate.out" 2>&1
check "a new key is announced" until_true 5 bash -c '"$1" rotate-key --home "$2" --status --json | jq -e ".peers | length > 0 and all(.acked)" >/dev/null' _ "$PEERIX" "$T/bob/home"
check "alice vouches for it" until_true 5 bash -c '[ "$(grep -c "event=relay.vouch .*status=OK" "$1")" -ge 2 ]' _ "$T/alice.log"
check "and is in use" eval 'cli bob rotate-key --finish >>"$T/rotate.out" 2>&1'
check "it is another one" test "$(node_id bob)" != "$old"
check "the relay knows it" until_true 8 bash -c '[ "$(grep -c "event=relay.reserved .*status=OK class=vouched" "$1")" -gt "$2" ]' _ "$T/bob.log" "$ups"
check "alice follows" until_true 15 grep -q "^$(node_id bob) " "$T/alice/home/authorized_keys"
check "and the two are connected" until_true 10 bash -c '"$1" peers --json --home "$2" | jq -e ".peers[] | select(.peer == \"$3\" and .state == \"connected\")" >/dev/null' _ "$PEERIX" "$T/alice/home" "$(node_id bob)"
check "nobody vouches for the old one" until_true 5 grep -q 'event=relay.unvouch relay=one status=OK' "$T/alice.log"
unvouched=$(grep -c 'event=relay.unvouch relay=one status=OK' "$T/alice.log")
"$PEERIX" auth remove bob --home "$T/alice/home" >/dev/null
check "whom alice lists no more she does not vouch for" until_true 5 bash -c '[ "$(grep -c "event=relay.unvouch relay=one status=OK" "$1")" -gt "$2" ]' _ "$T/alice.log" "$unvouched"
check "and the relay lets him go" until_true 3 grep -q 'event=relay.revoked .*class=vouched' "$T/one.log"
node_stop bob
connects=$(grep -c event=relay.connected "$T/bob.log")
nat_start bob --mode lan || not_ok "bob starts in mode lan" "$T/bob.log"
sleep 1.5
check "in mode lan no relay is used" test "$(grep -c event=relay.connected "$T/bob.log")" = "$connects"
cli bob relay list >"$T/lan.out" 2>&1
check "and relay list says so" grep -q 'mode: lan' "$T/lan.out"
ended=$(grep -c event=relay.disconnected "$T/alice.log")
kill $RELAY_PID && wait $RELAY_PID
until_true 5 bash -c '[ "$(grep -c event=relay.disconnected "$1")" -gt "$2" ]' _ "$T/alice.log" "$ended"
cli alice invite --no-wait --no-qr >"$T/alone.out" 2>&1
check "without a relay invite says that the code names none" grep -q 'the code names none' "$T/alone.out"
for n in alice bob carol; do
    node_stop $n
    check "$n ends with 0" test $? = 0
done
finish

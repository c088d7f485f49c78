#!/usr/bin/env bash
# peerix-relay as a program: admission, circuits, registry, invites, kill -9, reload, restart, and what
# a hostile sender gets. Nodes are the production client core behind tests/tools/relay_client.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/relay_clients.sh"
RHOME=$T/relay
PORT=0
METRICS=127.0.0.1:$((20000 + RANDOM % 20000))

relay_start() { # [OPTIONS]
    : >"$T/relay.log"
    "$RELAY" daemon --home "$RHOME" --tcp "" --listen "127.0.0.1:$PORT" --metrics "$METRICS" "$@" >>"$T/relay.log" 2>&1 &
    RELAY_PID=$!
    PIDS+=("$RELAY_PID")
    until_true 10 grep -q event=ready "$T/relay.log" || { cat "$T/relay.log"; return 1; }
    ADDR=$(sed -n 's/.*event=ready.* listen=\([^ ]*\).*/\1/p' "$T/relay.log")
    PORT=${ADDR##*:}
}
relay_wait() { wait "$RELAY_PID"; }
identity() { "$RELAY" init --home "$T/$1" >/dev/null; }
member() { identity "$1" && "$RELAY" auth add "$(id_of "$1")" --name "$1" --home "$RHOME" >/dev/null; }
client() { client_start "$1" "$ID" "$ADDR"; }
status() { "$RELAY" status --json --home "$RHOME"; }
status_has() { status | grep -q "$1"; }

# ---- the command line ----
says_init() { "$RELAY" daemon --home "$T/none" >"$T/none.out" 2>&1; [ $? = 3 ] && grep -qF "run: peerix-relay init --home $T/none" "$T/none.out"; }
check "without a key daemon says which command makes one" says_init
own_ports() { ! grep -oE '\b[0-9]{5}\b' <("$PEERIX" config sample) | grep -qxF "$("$RELAY" config sample | sed -n 's/^#listen: .*:\([0-9]*\)"$/\1/p')"; }
check "relay and node can run on one machine with their defaults" own_ports
check "init makes a home" "$RELAY" init --home "$RHOME" --non-interactive
check "the home has no nix key" test ! -e "$RHOME/nix-key.sec"
check "the sample configuration is valid" "$RELAY" config validate --home "$RHOME"
ID=$("$RELAY" whoami --home "$RHOME")
check "whoami prints the peer ID" grep -q '^12D3KooW' <<<"$ID"
check "status without a relay exits 8" bash -c '"$1" status --home "$2"; [ $? = 8 ]' _ "$RELAY" "$RHOME"
for n in alice bob; do member $n; done
check "auth list shows members" bash -c '"$1" auth list --home "$2" | grep -q alice' _ "$RELAY" "$RHOME"
check "auth list --json is JSON" bash -c '"$1" auth list --json --home "$2" | grep -q "\"name\": \"bob\""' _ "$RELAY" "$RHOME"

relay_start --log-level debug || { not_ok "the relay starts" "$T/relay.log"; finish; }
check "it prints its URL" grep -q "url=peerix-relay://$ID@127.0.0.1:$PORT" "$T/relay.log"
check "a second relay of this home exits 9" bash -c '"$1" daemon --home "$2" --tcp "" --listen 127.0.0.1:0 --metrics 127.0.0.1:0; [ $? = 9 ]' _ "$RELAY" "$RHOME"

# ---- admission ----
identity mallory
client mallory
check "a node that is not listed is refused" hears mallory 'down EREFUSED'
check "and that is in the log" grep -q "event=link.refused peer=$(id_of mallory)" "$T/relay.log"
quit mallory
client alice
client bob
check "a member gets a reservation" hears alice 'reserved OK member'
check "and so does the other" hears bob 'reserved OK member'
check "status counts them" status_has '"reservations": 2'

# ---- a circuit ----
tell bob echo on
tell alice call "$(id_of bob)"
check "the callee is rung by the caller's ID" hears bob "ring $(id_of alice)"
check "the circuit opens at the caller" hears alice 'open rate 125000000'
tell alice say through the relay
check "a packet goes there and comes back" hears alice 'data through the relay'
check "status shows an open circuit" status_has '"open": 1'
tell alice end
check "the end is told to the other side" hears bob 'ended PEER_ENDED'
tell bob consent off
tell alice call "$(id_of bob)"
check "a callee may decline" hears alice 'ended DECLINED'
tell bob consent on
tell alice call "$(id_of mallory)"
check "a node that is not there cannot be called" hears alice 'ended NO_RESERVATION'

# ---- what it measures ----
check "/healthz answers" bash -c '[ "$(curl -s "http://$1/healthz")" = ok ]' _ "$METRICS"
check "/metrics counts circuits and bytes" bash -c 'curl -s "http://$1/metrics" | grep -qE "^peerix_relay_forwarded_bytes_total [1-9]"' _ "$METRICS"
check "every family has help and type" bash -c 'curl -s "http://$1/metrics" | awk "/^# HELP/ {h++} /^# TYPE/ {t++} END {exit !(h == t && h > 20)}"' _ "$METRICS"
check "a page that names another host gets nothing" bash -c '[ "$(curl -s -o /dev/null -w "%{http_code}" -H "Host: evil.example" "http://$1/metrics")" = 403 ]' _ "$METRICS"

# ---- garbage at the socket ----
head -c 1000000 /dev/urandom >"$T/garbage"
split -b 1200 --filter='cat >/dev/udp/127.0.0.1/'"$PORT" "$T/garbage" 2>/dev/null
for type in 10 11 12 13 14 15 16 17 1f; do tell bob spoof "${type}$(printf '00%.0s' {1..60})"; tell bob spoof "$type"; done
tell alice call "$(id_of bob)"
check "garbage changes nothing" hears alice 'open rate'
tell alice end
check "and was counted" bash -c '[ "$("$1" status --json --home "$2" | sed -n "s/.*\"dropped_unknown\": \([0-9]*\).*/\1/p")" -gt 0 ]' _ "$RELAY" "$RHOME"

# ---- registry and accounts ----
tell alice watch on
hears alice 'reply WATCH OK' >/dev/null
tell bob register bob-host 1
check "a record is registered" hears bob 'reply REGISTER OK'
check "a watcher hears of it" hears alice 'changed 1 gone 0'
tell alice find bob-host
check "it is found by name" hears alice 'record bob-host 127.0.0.1:'
tell alice register bob-host 1
check "the name is taken" hears alice 'reply REGISTER NAME_TAKEN'
tell alice report "$(id_of bob)" sent 5000
tell bob report "$(id_of alice)" received 4000
hears bob 'reply REPORT OK' >/dev/null
tell alice totals "$(id_of bob)"
check "transfers are confirmed as far as both say so" hears alice 'totals 4000 5000 0 0'

# ---- an invite ----
secret=$(head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n')
identity joiner
tell alice invite "$secret" 60000
hears alice 'reply INVITE OK' >/dev/null
client joiner
hears joiner up >/dev/null
tell joiner admit "$(printf '00%.0s' {1..32})"
check "a wrong secret admits nobody" hears joiner 'reply ADMIT NOT_FOUND'
tell joiner admit "$secret"
check "the right one does" hears joiner 'reply ADMIT OK'
tell joiner call "$(id_of bob)"
check "a joiner cannot call others" hears joiner 'ended PERMISSION_DENIED'
tell joiner call "$(id_of alice)"
check "but its inviter" hears joiner 'open rate 2000000'
tell alice vouch "$(id_of joiner)" on
check "the inviter vouches" hears alice 'reply VOUCH OK'
tell joiner call "$(id_of bob)"
check "then it may call everyone" hears joiner 'open rate 125000000'

# ---- kill -9 ----
kill -9 "$RELAY_PID"
relay_wait 2>/dev/null
relay_start --log-level debug || { not_ok "the relay starts after kill -9" "$T/relay.log"; finish; }
for n in alice bob joiner; do quit $n; client $n; done
check "who was vouched for still is" hears joiner 'reserved OK vouched'
check "members come back" hears alice 'reserved OK member'
hears bob 'reserved OK member' >/dev/null
tell alice find bob-host
check "records survive" hears alice 'record bob-host'
tell alice totals "$(id_of bob)"
check "totals survive" hears alice 'totals 4000 5000 0 0'
check "the circuits are gone" status_has '"open": 0'

# ---- revocation, reload ----
tell joiner call "$(id_of bob)"
hears bob 'open' >/dev/null
"$RELAY" auth remove alice --home "$RHOME" >/dev/null
check "a member that is removed is out" hears alice 'down EREVOKED'
check "with it goes what it vouched for" hears joiner 'down EREVOKED'
check "and their circuits" hears bob 'ended REVOKED'
quit joiner
client joiner
check "for good" hears joiner 'down EREFUSED'
printf 'open: true\nleave: 2s\n' >>"$RHOME/config.yaml"
kill -HUP "$RELAY_PID"
until_true 5 grep -q 'event=relay.reloaded open=true' "$T/relay.log"
client mallory
check "SIGHUP opens the relay to strangers" hears mallory 'reserved OK stranger'
check "and what it does not take up is named" grep -q 'event=relay.restart_needed options=leave ' "$T/relay.log"
tell mallory call "$(id_of bob)"
check "within their limits" hears mallory 'open rate 2000000 burst 400000'
tell mallory register evil 1
check "strangers register nothing" hears mallory 'reply REGISTER PERMISSION_DENIED'

# ---- the end ----
kill -TERM "$RELAY_PID"
check "nodes are told of the restart" hears bob 'restarting 1000 100'
check "circuits end gracefully" hears bob 'ended RESTARTING'
check "and links" hears bob 'down ECLOSED'
check "the relay ends by itself" relay_wait
echo 'this is no database' >"$RHOME/relay.db"
rm -f "$RHOME"/relay.db-*
check "a damaged database stops it, with a hint" bash -c '"$1" daemon --home "$2" --tcp "" --listen 127.0.0.1:0 --metrics 127.0.0.1:0 2>"$3"; [ $? = 1 ] && grep -q "part=relay.db.*hint=" "$3"' _ "$RELAY" "$RHOME" "$T/damaged.log"
check "no sanitizer spoke" bash -c '! grep -qE "Sanitizer|runtime error" "$1"/*.log "$1"/*.out' _ "$T"
finish

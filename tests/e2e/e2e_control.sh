#!/usr/bin/env bash
# The control API of two connected daemons, asked with curl: every endpoint, its answers against the
# OpenAPI file, who is refused, events, revocation, one daemon a home, shutdown; and the metrics.
. "$(dirname "$0")/lib.sh"
API=$HERE/../../docs/control-api.openapi.json
SCHEMA=$BIN/tests/control_schema
L=http://localhost

socket() { echo "$T/$1/home/control.sock"; }
cookie() { cat "$T/$1/home/control.cookie"; }
# ask NODE TARGET [CURL-ARGS]: with cookie; prints the status, leaves the body in $T/body
ask() {
    local node=$1 target=$2
    shift 2
    curl -s -N -m 10 --unix-socket "$(socket "$node")" -H "Authorization: Bearer $(cookie "$node")" \
        -o "$T/body" -w '%{http_code}' "$@" "$L$target"
}
# api NODE METHOD PATH-IN-FILE TARGET STATUS [CURL-ARGS]: asks, and holds the answer against the file
api() {
    local node=$1 method=$2 path=$3 target=$4 want=$5 got
    shift 5
    got=$(ask "$node" "$target" -X "$method" "$@")
    echo "$method $path" >>"$T/exercised"
    [ "$got" = "$want" ] || { echo "status $got, not $want"; cat "$T/body"; return 1; }
    "$SCHEMA" "$API" answer "$method" "$path" "$got" "$T/body" || { cat "$T/body"; return 1; }
}
check_api() { check "$2 $3: $5, as the OpenAPI file says${NOTE:+ ($NOTE)}" api "$@"; }
body_has() { grep -q -- "$1" "$T/body"; }
error_is() { grep -q "\"error\": *\"$1\"" "$T/body"; }
field() { sed -n "s/.*\"$1\": *\"\{0,1\}\([^\",}]*\)\"\{0,1\}.*/\1/p" "$T/body" | head -1; }
now_ms() { echo $(($(date +%s%N) / 1000000)); }

top=$(build alice "$HERE/big.nix" --argstr tag control --arg mib 48) || { not_ok "build"; finish; }
other=$(build alice "$HERE/big.nix" --argstr tag other --arg mib 48) || { not_ok "build"; finish; }
node_init alice
key=$(node_key alice)
in_store alice "" "" nix store sign -r -k "$T/alice/home/nix-key.sec" "$top" "$other" 2>/dev/null
start_pair alice bob --trusted-public-key "$key" || { not_ok "connect"; finish; }
alice_id=$(node_id alice) bob_id=$(node_id bob)

# ---- the routes and the file ----
check "GET /v1 answers" test "$(ask alice /v1)" = 200
check "every route is in the OpenAPI file, and nothing else is" "$SCHEMA" "$API" routes "$T/body"
paste -d' ' <(sed -n 's/.*"method": "\(.*\)",/\1/p' "$T/body") <(sed -n 's/.*"path": "\(.*\)",/\1/p' "$T/body") |
    sort >"$T/served"

# ---- looking ----
check_api alice GET /v1 /v1 200
check_api alice GET /v1/status /v1/status 200
check "the status has pid and peer ID" test "$(field pid) $(field peer)" = "$alice_pid $alice_id"
check "the status counts peers" grep -q '"connected": 1' "$T/body"
check_api bob GET /v1/peers /v1/peers 200
check "the agent of the other side is shown" body_has '"agent": "peerix/'
check_api bob GET '/v1/peers/{peer}' /v1/peers/alice 200
check_api bob GET '/v1/peers/{peer}' "/v1/peers/$alice_id" 200
NOTE=unknown check_api bob GET '/v1/peers/{peer}' /v1/peers/nobody 404
check "an unknown peer is ENOENT" error_is ENOENT
check_api bob GET '/v1/resolve/{name}' /v1/resolve/alice 200
check "a name is resolved, and from where" body_has '"from": "authorized_keys"'
check_api bob GET '/v1/resolve/{name}' "/v1/resolve/$bob_id" 200
NOTE=unknown check_api bob GET '/v1/resolve/{name}' /v1/resolve/nobody 404
check_api alice GET /v1/services /v1/services 200
check "the cache is served to the peer" body_has "$bob_id"
check_api alice GET /v1/relays /v1/relays 200
check_api alice GET /v1/names /v1/names 200
NOTE=unknown check_api alice GET '/v1/names/{name}' /v1/names/nobody.default 404
check_api alice POST /v1/netcheck /v1/netcheck 200
check "without a relay nothing is known" body_has '"verdict":"unknown"'
check "netcheck as text" grep -q 'reachability.verdict: unknown' <(ask alice '/v1/netcheck?format=text' -X POST >/dev/null; cat "$T/body")
check_api alice GET /v1/auth /v1/auth 200
check_api alice GET /v1/config /v1/config 200
check_api alice GET /v1/config/history /v1/config/history 200
check_api alice GET /v1/invites /v1/invites 200

text_works() { # the answer as text: not empty, no JSON, no control bytes
    local by_query by_field
    by_query=$(ask "$1" "$2?format=text")
    cp "$T/body" "$T/text"
    by_field=$(ask "$1" "$2" -H 'Accept: text/plain' -D "$T/head")
    [ "$by_query $by_field" = "200 200" ] && [ -s "$T/text" ] && [ "$(head -c1 "$T/text")" != "{" ] &&
        grep -qi '^content-type: text/plain' "$T/head" && [ "$(tr -d '\n\040-\176\200-\377' <"$T/text" | wc -c)" = 0 ]
}
for target in /v1 /v1/status /v1/peers "/v1/peers/$bob_id" "/v1/resolve/bob" /v1/services /v1/relays /v1/names /v1/auth /v1/config /v1/config/history /v1/invites; do
    check "GET $target as text" text_works alice "$target"
done
check "columns line up" test "$(ask bob '/v1/peers?format=text') $(head -1 "$T/body" | grep -bo NAME)" = \
    "200 $(sed -n 2p "$T/body" | grep -bo alice | sed 's/alice/NAME/')"

# ---- measuring ----
check_api bob POST '/v1/peers/{peer}/ping' '/v1/peers/alice/ping?count=3&interval=50ms' 200
check "three replies and a summary" test "$(wc -l <"$T/body") $(grep -c '"lost":null' "$T/body") $(grep -c '"received":3' "$T/body")" = "4 3 1"
check "ping as text" grep -q '2 sent, 2 received, 0.0 % lost' <(ask bob '/v1/peers/alice/ping?count=2&interval=0.01&format=text' -X POST >/dev/null; cat "$T/body")
NOTE="a count that is none" check_api bob POST '/v1/peers/{peer}/ping' '/v1/peers/alice/ping?count=x' 400
check_api bob POST '/v1/peers/{peer}/traceroute' /v1/peers/alice/traceroute 200
check "the path is direct" body_has '"path": "DIRECT"'

# ---- refusals ----
status_of() { curl -s -m 5 -o "$T/body" -w '%{http_code}' --unix-socket "$(socket alice)" "$@"; }
good="Authorization: Bearer $(cookie alice)"
check "without a cookie: 401" test "$(status_of $L/v1)" = 401
check "and its name is EAUTH" grep -q EAUTH "$T/body"
check "a wrong cookie: 401" test "$(status_of -H "Authorization: Bearer $(cookie bob)" $L/v1)" = 401
check "through a proxy (Via): 403" test "$(status_of -H "$good" -H 'Via: 1.1 x' $L/v1)" = 403
check "through a proxy (X-Forwarded-For): 403" test "$(status_of -H "$good" -H 'X-Forwarded-For: 192.0.2.1' $L/v1)" = 403
check "from a browser (Origin): 403" test "$(status_of -H "$good" -H 'Origin: http://localhost' $L/v1)" = 403
check "for another host: 403" test "$(status_of -H "$good" http://example.org/v1)" = 403
head -c 70000 /dev/zero | tr '\0' ' ' >"$T/big"
check "an oversized body: 413" test "$(status_of -H "$good" --data-binary @"$T/big" $L/v1/auth)" = 413
check "a key twice: 400" test "$(status_of -H "$good" -d '{"peer":"a","peer":"b"}' $L/v1/auth)" = 400
check "socket and cookie are the user's alone" test "$(stat -c %a "$(socket alice)" "$T/alice/home/control.cookie" "$T/alice/home" | tr '\n' ' ')" = "600 600 700 "
if [ "$(id -u)" = 0 ]; then
    nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups curl -s -m 5 -o "$T/nobody.body" -w '%{http_code}' --unix-socket "$(socket alice)" -H "$good" $L/v1; }
    : >"$T/nobody.body"
    chmod 666 "$T/nobody.body"
    check "another user does not reach the socket" test "$(nobody)" = 000
    chmod 711 "$T" "$T/alice" "$T/alice/home"
    chmod 666 "$(socket alice)"
    check "and is refused where modes have decayed, even with the cookie: 403" test "$(nobody)" = 403
    chmod 700 "$T" "$T/alice" "$T/alice/home"
    chmod 600 "$(socket alice)"
else
    skip "another user: needs root"
fi

# ---- events, hanging up, dialling ----
curl -s -N --unix-socket "$(socket alice)" -H "$good" $L/v1/events >"$T/events" &
events=$!
PIDS+=("$events")
check "events begin with hello" until_true 5 grep -q '"event":"hello"' "$T/events"
check_api bob POST '/v1/peers/{peer}/disconnect' /v1/peers/alice/disconnect 200
check "events show the peer go" until_true 5 grep -q '"event":"peer.disconnected"' "$T/events"
NOTE="hung up" check_api bob POST '/v1/peers/{peer}/ping' /v1/peers/alice/ping 503
check "pinging who is not connected is EOFFLINE" error_is EOFFLINE
check_api bob POST '/v1/peers/{peer}/connect' /v1/peers/alice/connect 200
check "events show the peer come" until_true 5 grep -q '"event":"peer.connected"' "$T/events"
NOTE="an address" check_api bob POST '/v1/peers/{peer}/connect' /v1/peers/alice/connect 200 -d "{\"addr\":\"$alice_overlay\"}"
NOTE="no address" check_api bob POST '/v1/peers/{peer}/connect' /v1/peers/alice/connect 400 -d '{"addr":7}'
cp "$T/events" "$T/events.now"
echo "GET /v1/events" >>"$T/exercised"
check "every event is as the OpenAPI file says" "$SCHEMA" "$API" answer GET /v1/events 200 "$T/events.now"

# ---- configuration and invites (what they mean is tested elsewhere) ----
check_api alice POST /v1/config/reload /v1/config/reload 200
check_api alice POST /v1/config/apply /v1/config/apply 400 -d '{"text":"nonsense: 1\n"}'
check_api alice POST /v1/config/confirm /v1/config/confirm 404
check_api alice POST /v1/config/rollback /v1/config/rollback 404 -d '{"number":4711}'
check_api alice POST /v1/invites /v1/invites 201 -d '{"ttl":60,"name":"carol"}'
invite=$(field id)
check_api alice GET /v1/invites /v1/invites 200
curl -s -N -m 10 --unix-socket "$(socket alice)" -H "$good" "$L/v1/invites/$invite/wait" >"$T/wait" &
waiter=$!
until_true 5 test -s "$T/wait"
check_api alice POST '/v1/invites/{id}/confirm' "/v1/invites/$invite/confirm" 409 -d '{"same":true}'
check_api alice DELETE '/v1/invites/{id}' "/v1/invites/$invite" 200
check "who waits for an invite is told of its end" wait "$waiter"
echo "GET /v1/invites/{id}/wait" >>"$T/exercised"
check "in lines as the OpenAPI file says" "$SCHEMA" "$API" answer GET '/v1/invites/{id}/wait' 200 "$T/wait"
check_api alice GET /v1/rotation /v1/rotation 200
check_api alice POST /v1/rotation/finish /v1/rotation/finish 409
check_api alice POST /v1/rotation /v1/rotation 201
NOTE="again" check_api alice POST /v1/rotation /v1/rotation 200
all_acked() { ask alice /v1/rotation >/dev/null; body_has '"acked": true'; }
check "the peer knows the new key" until_true 5 all_acked
NOTE="under way" check_api alice GET /v1/rotation /v1/rotation 200
check "GET /v1/rotation as text, under way" text_works alice /v1/rotation
NOTE="a force that is none" check_api alice POST /v1/rotation/finish /v1/rotation/finish 400 -d '{"force":"yes"}'
check_api alice DELETE /v1/rotation /v1/rotation 200
NOTE="no rotation" check_api alice DELETE /v1/rotation /v1/rotation 409
check_api bob POST /v1/join /v1/join 400 -d '{"code":"nonsense"}'
check_api bob POST '/v1/joins/{id}/confirm' "/v1/joins/$invite/confirm" 404 -d '{"same":true}'

# ---- metrics ----
# Prometheus' text format: every sample behind HELP and TYPE of its family, once; counters in _total
prometheus() {
    awk '
        function bad(why) { print FILENAME ":" FNR ": " why ": " $0; failed = 1 }
        /^# HELP / { if (NF < 4) bad("no help"); if ($3 in help) bad("family twice"); help[$3] = 1; family = $3; next }
        /^# TYPE / {
            if ($3 != family) bad("TYPE without HELP")
            if ($4 != "counter" && $4 != "gauge") bad("type")
            if (($4 == "counter") != ($3 ~ /_total$/)) bad("name of a counter")
            if ($3 !~ /^[a-z][a-z0-9_]*$/ || $3 ~ /_(ms|us|kb|mb)(_total)?$/) bad("name")
            next
        }
        {
            name = $1; sub(/\{.*/, "", name)
            if (name != family) bad("sample outside its family")
            key = $0; sub(/ [^ ]*$/, "", key)
            if (key in seen) bad("sample twice")
            seen[key] = 1; samples++
            if (key !~ /^[a-z0-9_]+(\{([a-z_]+="([^"\\]|\\.)*",?)+\})?$/) bad("labels")
            if ($NF !~ /^-?[0-9.]+(e[-+]?[0-9]+)?$/) bad("value")
        }
        END { if (samples < 15) bad("too few samples"); exit failed }
    ' "$1"
}
check "/healthz is ok" test "$(curl -s -m 5 "$alice_http/healthz")" = ok
curl -s -m 5 -D "$T/head" "$alice_http/metrics" >"$T/metrics"
check "/metrics says which format it is" grep -qi '^content-type: text/plain; version=0.0.4' "$T/head"
check "/metrics are in Prometheus' format" prometheus "$T/metrics"
check "a connected peer is counted" grep -qx 'peerix_peers{state="connected"} 1' "$T/metrics"
check "and has its own samples, by ID" grep -q "^peerix_peer_received_bytes_total{peer=\"$bob_id\"} [1-9]" "$T/metrics"
check "nix still gets its 404 beside them" test "$(curl -s -o /dev/null -w '%{http_code}' "$alice_http/metric")" = 404

# ---- the allowlist of a running daemon ----
NOTE="new comment" check_api alice POST /v1/auth /v1/auth 200 -d "{\"peer\":\"$bob_id\",\"comment\":\"on the shelf\"}"
check "the entry keeps what was not named" body_has '"name": "bob"'
NOTE="a new peer" check_api alice POST /v1/auth /v1/auth 201 -d '{"peer":"12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA","name":"dora","grants":["cache"],"addrs":["dora.example:12304"]}'
check "is in the file" grep -q '^12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA name=dora addr=dora.example:12304 grant=cache$' "$T/alice/home/authorized_keys"
NOTE="another's name" check_api alice POST /v1/auth /v1/auth 409 -d "{\"peer\":\"$bob_id\",\"name\":\"dora\"}"
NOTE="a line in a comment" check_api alice POST /v1/auth /v1/auth 400 -d "{\"peer\":\"$bob_id\",\"comment\":\"x\\n12D3KooW\"}"
NOTE="its own ID" check_api alice POST /v1/auth /v1/auth 400 -d "{\"peer\":\"$alice_id\"}"
check_api alice DELETE '/v1/auth/{peer}' /v1/auth/dora 200
NOTE="not listed" check_api alice DELETE '/v1/auth/{peer}' /v1/auth/dora 404

fetch_slowly() { # PATH: its NAR through bob, in the background
    rm -f "$T/nar"
    until_true 5 curl -sf -m 5 -o "$T/narinfo" "$bob_http/$(basename "$1" | cut -c1-32).narinfo" || return 1
    curl -s --limit-rate 1M -o "$T/nar" "$bob_http/$(sed -n 's/^URL: //p' "$T/narinfo")" &
    fetch=$!
    PIDS+=("$fetch")
    until_true 5 test -s "$T/nar"
}
check "a NAR is under way" fetch_slowly "$top"
began=$(now_ms)
check_api alice DELETE '/v1/auth/{peer}' /v1/auth/bob 200
nar_is_cut() { ask bob /v1/status >/dev/null; body_has '"nars_cut": 1'; }
gone() { grep -q 'event=peer.disconnected .*EREVOKED' "$T/bob.log"; }
until_true 3 gone
until_true 3 nar_is_cut
took=$(($(now_ms) - began))
check "revoked while it fetches: connection and NAR end within a second ($took ms)" test "$took" -le 1000
wait "$fetch"
check "what it had got is not the whole" test "$(stat -c %s "$T/nar")" -lt 48000000

# ---- one daemon a home ----
"$PEERIX" daemon --home "$T/alice/home" --listen 127.0.0.1:0 --http 127.0.0.1:0 --store "$(store_uri alice)" --nix-conf "" >"$T/second.log" 2>&1
check "a second daemon ends with 9" test $? = 9
check "and names the first one's pid" grep -q "event=control.taken .*pid=$alice_pid " "$T/second.log"
check "the first is not disturbed" test "$(ask alice /v1/status) $(field pid)" = "200 $alice_pid"
kill -9 "$alice_pid"
wait "$alice_pid" 2>/dev/null
check "after kill -9 the socket is still there" test -S "$(socket alice)"
: >"$T/alice.log"
check "and a new start works" node_start alice
check "with a new cookie" test "$(curl -s -o /dev/null -w '%{http_code}' -H "$good" --unix-socket "$(socket alice)" $L/v1)" = 401
check "that works" test "$(ask alice /v1/status) $(field pid)" = "200 $alice_pid"

# ---- the end ----
NOTE="listed again" check_api alice POST /v1/auth /v1/auth 201 -d "{\"peer\":\"$bob_id\",\"name\":\"bob\"}"
NOTE="its new address" check_api bob POST /v1/auth /v1/auth 200 -d "{\"peer\":\"$alice_id\",\"addrs\":[\"$alice_overlay\"]}"
# a connection to the one that was killed would not do
ask bob /v1/peers/alice/disconnect -X POST >/dev/null
hung_up() { ask bob /v1/peers/alice >/dev/null; body_has '"connection": null'; }
check "hung up" until_true 5 hung_up
NOTE="listed again" check_api bob POST '/v1/peers/{peer}/connect' /v1/peers/alice/connect 200
check "a NAR is under way again" fetch_slowly "$other"
began=$(now_ms)
check_api bob POST /v1/shutdown /v1/shutdown 202
wait "$bob_pid"
rc=$?
took=$(($(now_ms) - began))
check "shutdown with a NAR under way ends within 5 s ($took ms)" test "$took" -le 5000
check "not before the drain has given the NAR its time" test "$took" -ge 3000
check "and with 0" test "$rc" = 0
check "socket and cookie are gone" test ! -e "$(socket bob)" -a ! -e "$T/bob/home/control.cookie"
kill "$events" 2>/dev/null
sort -u "$T/exercised" >"$T/exercised.sorted"
check "every endpoint was exercised" diff "$T/served" "$T/exercised.sorted"
finish

#!/usr/bin/env bash
# Names of the network: what a relay holds means its peer everywhere a PEER is taken, lets nobody in, never
# stands before a name people gave, and still means the peer when the relay, and then the daemon, is gone.
. "$(dirname "$0")/lib.sh"
RELAY=$BIN/peerix-relay
PORT=0
relay_start() {
    : >"$T/relay.log"
    "$RELAY" daemon --home "$T/relay" --tcp "" --listen "127.0.0.1:$PORT" --metrics 127.0.0.1:0 >>"$T/relay.log" 2>&1 &
    RELAY_PID=$!
    PIDS+=("$RELAY_PID")
    until_true 10 grep -q event=ready "$T/relay.log" || { cat "$T/relay.log"; return 1; }
    ADDR=$(sed -n 's/.*event=ready.* listen=\([^ ]*\).*/\1/p' "$T/relay.log")
    PORT=${ADDR##*:}
}
relay_id() { "$RELAY" whoami --home "$T/$1"; }
listed() { "$RELAY" status --json --home "$T/relay" | grep -q "\"members\": $(grep -c ^12D3 "$T/relay/authorized_keys"),"; }
# holds NAME: a node that registers that name and stays there
holds() {
    local fd
    "$RELAY" init --home "$T/$1" >/dev/null
    "$RELAY" auth add "$(relay_id "$1")" --name "$1" --home "$T/relay" >/dev/null
    until_true 5 listed # the relay watches the file, and takes a moment
    mkfifo "$T/$1.in"
    "$BIN/tests/relay_client" "$T/$1/identity.pem" "$(relay_id relay)" "$ADDR" <"$T/$1.in" >"$T/$1.out" 2>&1 &
    PIDS+=($!)
    exec {fd}>"$T/$1.in"
    until_true 5 grep -q 'reserved OK' "$T/$1.out" && echo "register $1 1" >&"$fd"
    until_true 5 grep -q 'reply REGISTER OK' "$T/$1.out"
}
cli() { "$PEERIX" "$@" --home "$T/alice/home"; }
means() { [ "$(cli resolve "$1" 2>"$T/resolve.err")" = "$(relay_id "$2")" ]; }
is_from() { cli resolve "$1" --json | grep -q "\"from\": \"$2\""; }

"$RELAY" init --home "$T/relay" >/dev/null
node_init alice
"$RELAY" auth add "$(node_id alice)" --name alice --home "$T/relay" >/dev/null
relay_start || { not_ok "the relay starts" "$T/relay.log"; finish; }
check "bob registers his name" holds bob
cli relay add "$ADDR" --name hub --trust-first-use >/dev/null
cli resolve bob.default >"$T/none.out" 2>&1
check "nobody has heard of it yet, which exits 10" test $? = 10
node_start alice || { not_ok "the node starts" "$T/alice.log"; finish; }
until_true 5 grep -q 'event=relay.reserved relay=hub status=OK' "$T/alice.log"

# ---- with the relay ----
check "a name the relay holds means its peer" until_true 5 means bob.default bob
check "said by the relay" is_from bob.default relay
check "what was there before is listed" until_true 5 bash -c '"$1" name list --home "$2" | grep -qE "^bob.default +$3 +relay"' _ "$PEERIX" "$T/alice/home" "$(relay_id bob)"
check "with the own name" until_true 5 bash -c '"$1" name list --home "$2" | grep -qE " $3 +relay +this node"' _ "$PEERIX" "$T/alice/home" "$(node_id alice)"
check "carol registers later" holds carol
check "that is heard of, too" until_true 5 bash -c '"$1" name list --json --home "$2" | grep -q "\"name\": \"carol.default\""' _ "$PEERIX" "$T/alice/home"
for word in nobody.default bob.elsewhere bob; do
    cli resolve "$word" >"$T/none.out" 2>&1
    check "$word means nobody, which exits 10" test $? = 10
done
cli connect bob.default >"$T/connect.out" 2>&1
check "who is not listed is not dialled, whatever his name" test $? = 10
check "and was not rung" bash -c '! grep -q ring "$1"' _ "$T/bob.out"
cli name add bob "$(relay_id carol)" >/dev/null
check "a name of one's own comes first" means bob carol
check "and leaves the network's alone" means bob.default bob
check "a name of the network is taken where a PEER is" cli name add robert bob.default
check "and means the peer" means robert bob
api() { # PATH FILE
    curl -s -m 10 --unix-socket "$T/alice/home/control.sock" -H "Authorization: Bearer $(cat "$T/alice/home/control.cookie")" "http://localhost$1" >"$2"
}
api /v1/names/bob.default "$T/bob.json"
check "the API has it, as the OpenAPI file says" "$BIN/tests/control_schema" "$HERE/../../docs/control-api.openapi.json" answer GET '/v1/names/{name}' 200 "$T/bob.json"
check "and that he is not listed" grep -q '"listed": *false' "$T/bob.json"
api /v1/names "$T/names.json"
check "all names are as it says" "$BIN/tests/control_schema" "$HERE/../../docs/control-api.openapi.json" answer GET /v1/names 200 "$T/names.json"

# ---- without ----
kill -9 "$RELAY_PID"
wait "$RELAY_PID" 2>/dev/null
check "without the relay it still means the peer" means bob.default bob
check "from the local copy" is_from bob.default copy
cli resolve bob.default >/dev/null 2>"$T/copy.err"
check "which is said, with its age" grep -qE "local copy; a relay said so [0-9].* ago" "$T/copy.err"
node_stop alice
check "the node ends with 0" test $? = 0
check "without the daemon, too" means bob.default bob
check "and carol" means carol.default carol
check "the list says so" bash -c '"$1" name list --home "$2" | grep -qE "^bob.default .* copy +[0-9].* ago"' _ "$PEERIX" "$T/alice/home"
cp "$T/alice/home/network-names" "$T/copy"
sed -i 's/.$/A/;s/A$/=/;s/.\{9\}$/AAAAAAAA=/' "$T/alice/home/network-names"
cli resolve bob.default >/dev/null 2>&1
check "a copy whose signature does not stand is not believed" test $? = 10
cp "$T/copy" "$T/alice/home/network-names"
node_start alice || not_ok "the node starts without a relay" "$T/alice.log"
check "a restarted node knows it" means bob.default bob
relay_start || not_ok "the relay comes back" "$T/relay.log"
check "and the relay is asked again" until_true 15 is_from bob.default relay
node_stop alice
check "no sanitizer spoke" bash -c '! grep -qE "Sanitizer|runtime error" "$1"/*.log "$1"/*.out' _ "$T"
finish

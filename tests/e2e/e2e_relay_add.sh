#!/usr/bin/env bash
# `peerix relay add` by address alone: the relay is asked who it is, by UDP or TLS, a person or a flag says
# yes, the ID is pinned, and another relay at the address is refused and told how to put right.
. "$(dirname "$0")/lib.sh"
RELAY=$BIN/peerix-relay
for n in one two; do "$RELAY" init --home "$T/$n" >/dev/null; done
one_id=$("$RELAY" whoami --home "$T/one")
two_id=$("$RELAY" whoami --home "$T/two")

relay_up() { # NAME LISTEN [TCP]: sets NAME_pid, NAME_addr, NAME_tcp (its port)
    local line
    : >"$T/$1.log"
    "$RELAY" daemon --home "$T/$1" --listen "$2" --tcp "${3:-}" --metrics 127.0.0.1:0 >>"$T/$1.log" 2>&1 &
    printf -v "$1_pid" '%s' $!
    PIDS+=($!)
    until_true 10 grep -q event=ready "$T/$1.log" || { cat "$T/$1.log"; return 1; }
    line=$(grep event=ready "$T/$1.log")
    printf -v "$1_addr" '%s' "$(sed 's/.* listen=\([^ ]*\).*/\1/' <<<"$line")"
    printf -v "$1_tcp" '%s' "$(sed 's/.* tcp=\(.*\) metrics=.*/\1/;s/.*://' <<<"$line")"
    printf -v "$1_url" '%s' "$(sed 's/.* url="\{0,1\}\([^" ]*\).*/\1/' <<<"$line")"
}
add() { "$PEERIX" relay add "$@" --home "$T/node/home"; }
pinned() { grep -qF "$1" "$T/node/home/relays"; }
node_init node
relay_up one 127.0.0.1:0 127.0.0.1:0 || { not_ok "the relay starts" "$T/one.log"; finish; }
port=${one_addr##*:}
check "the URL it prints names a TCP port that is not 443" test "$one_url" = "peerix-relay://$one_id@$one_addr?tcp=$one_tcp"
check "status prints the same" bash -c '"$1" status --json --home "$2" | grep -qF "\"url\": \"$3\""' _ "$RELAY" "$T/one" "$one_url"

whoami_url() { "$RELAY" whoami --url --home "$T/two"; }
check "without a public address whoami knows no URL" bash -c '"$1" whoami --url --home "$2" 2>/dev/null; [ $? = 5 ]' _ "$RELAY" "$T/two"
printf 'public-addr: "relay.example:9"\ntcp: "[::]:8443"\n' >"$T/two/config.yaml"
check "with one it prints it" test "$(whoami_url)" = "peerix-relay://$two_id@relay.example:9?tcp=8443"
check "and init repeats it" bash -c '"$1" init --home "$2" | grep -qxF "url        $3"' _ "$RELAY" "$T/two" "$(whoami_url)"
rm "$T/two/config.yaml"

# ---- without an ID ----
add "$one_addr" --name hub </dev/null >"$T/ask.out" 2>&1
check "a script that gives no ID is told no" test $? = 1
check "with the ID that was found" grep -qF "$one_id" "$T/ask.out"
check "and the command that pins it" grep -qF "peerix relay add $one_addr --id $one_id --name hub --home $T/node/home" "$T/ask.out"
check "nothing was added" bash -c '! test -s "$1"' _ "$T/node/home/relays"
check "that command works" bash -c "$(sed -n 's|^  peerix relay add|"$1" relay add|p' "$T/ask.out")" _ "$PEERIX"
check "the ID is pinned" pinned "peerix-relay://$one_id@$one_addr name=hub"
"$PEERIX" relay remove hub --home "$T/node/home" >/dev/null
check "--trust-first-use takes the relay that answers" add "$one_addr" --trust-first-use --name hub
check "its ID is pinned too" pinned "peerix-relay://$one_id@$one_addr name=hub"
while read -r form word; do
    "$PEERIX" relay remove "$one_id" --home "$T/node/home" >/dev/null
    check "so it does for $form" bash -c '"$1" relay add "$2" --trust-first-use --home "$3" && grep -qF "$4@" "$3/relays"' _ "$PEERIX" "$word" "$T/node/home" "$one_id"
done <<FORMS
HOST:PORT localhost:$port
a-multiaddr /ip4/127.0.0.1/udp/$port/quic-v1
a-multiaddr-of-a-name /dns4/localhost/udp/$port
a-multiaddr-with-the-ID /ip4/127.0.0.1/udp/$port/quic-v1/p2p/$one_id
the-URL $one_url
FORMS
"$PEERIX" relay remove "$one_id" --home "$T/node/home" >/dev/null
answer() { script -qec "'$PEERIX' relay add $one_addr --name hub --home '$T/node/home'" /dev/null <<<"$1"; }
if command -v script >/dev/null; then
    answer n >"$T/tty.out" 2>&1
    check "at a terminal it asks, and a no adds nothing" bash -c 'grep -q "y/N" "$1" && ! test -s "$2"' _ "$T/tty.out" "$T/node/home/relays"
    answer y >"$T/tty.out" 2>&1
    check "a yes adds it" pinned "$one_id@$one_addr"
    "$PEERIX" relay remove "$one_id" --home "$T/node/home" >/dev/null
else
    skip "the question at a terminal: no script(1)"
fi

# ---- where UDP gets no answer ----
add 127.0.0.1:1 --tcp "$one_tcp" --trust-first-use >"$T/tcp.out" 2>&1
check "without UDP it is asked through TLS" pinned "peerix-relay://$one_id@127.0.0.1:1 tcp=$one_tcp"
"$PEERIX" relay remove "$one_id" --home "$T/node/home" >/dev/null

# ---- who asks too much ----
for i in $(seq 12); do add "$one_addr" </dev/null >/dev/null 2>&1 & done
wait -n 2>/dev/null; for j in $(jobs -p); do [ "$j" = "$one_pid" ] || wait "$j"; done
questions() { "$RELAY" status --json --home "$T/one" | tr -d ' \n' | grep -qE '"questions":\{"hits":[1-9]'; }
check "a source is answered so often, and status says so" until_true 5 questions

# ---- two relays under one name ----
relay_up two "127.0.0.2:$port" || not_ok "the second relay starts" "$T/two.log"
printf '127.0.0.1 both.test\n127.0.0.2 both.test\n' >"$T/hosts"
under() { unshare --user --map-root-user --mount bash -c 'mount --bind "$1" /etc/hosts && shift && "$@"' _ "$T/hosts" "$@"; }
if under true 2>/dev/null; then
    under "$PEERIX" relay add "both.test:$port" --trust-first-use --home "$T/node/home" >"$T/both.out" 2>&1
    check "different relays at the addresses of one name are an error" test $? = 1
    check "that names both" bash -c 'grep -qF "$2" "$1" && grep -qF "$3" "$1"' _ "$T/both.out" "$one_id" "$two_id"
    check "and pins neither" bash -c '! test -s "$1"' _ "$T/node/home/relays"
else
    skip "a name with two addresses: no mount namespace"
fi

# ---- another relay at the address later ----
"$RELAY" auth add "$(node_id node)" --name node --home "$T/one" >/dev/null
check "added by its URL" add "$one_url" --name hub
node_start node || not_ok "the node starts" "$T/node.log"
check "the pinned relay serves" until_true 5 grep -q 'event=relay.reserved relay=hub status=OK' "$T/node.log"
kill "$one_pid" && wait "$one_pid"
kill "$two_pid" && wait "$two_pid"
relay_up two "$one_addr" || not_ok "another relay takes the address" "$T/two.log"
check "another relay at the address is refused" until_true 25 grep -q 'event=relay.unreachable relay=hub error=ETARGET .*hint=".*relay remove hub' "$T/node.log"
check "and not reserved at" bash -c '[ "$(grep -c "event=relay.reserved .*status=OK" "$1")" = 1 ]' _ "$T/node.log"
"$PEERIX" relay list --home "$T/node/home" >"$T/list.out" 2>&1
check "relay list says so" grep -qi "another relay" "$T/list.out"
check "and what to do" grep -q '^next: hub: .*relay remove hub' "$T/list.out"
node_stop node
check "the node ends with 0" test $? = 0
"$PEERIX" relay list --home "$T/node/home" >"$T/list.out" 2>&1
check "without a daemon relay list says why it knows no state" grep -q "no daemon is running" "$T/list.out"
check "no sanitizer spoke" bash -c '! grep -qE "Sanitizer|runtime error" "$1"/*.log "$1"/*.out' _ "$T"
finish

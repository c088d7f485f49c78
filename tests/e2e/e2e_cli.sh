#!/usr/bin/env bash
# The commands that speak to a running daemon, with two of them: what people and scripts get, exit
# codes, colour on a terminal only.
. "$(dirname "$0")/lib.sh"
export TERM=xterm NO_COLOR=
if ! command -v jq >/dev/null; then
    skip "jq is not installed"
    finish
fi

# px NODE ARGUMENT…: a command of that node's home; output in $out and $err, exit code in $code
px() {
    local node=$1
    shift
    timeout 30 "$PEERIX" "$@" --home "$T/$node/home" >"$T/out" 2>"$T/err" </dev/null
    code=$?
    out=$(cat "$T/out") err=$(cat "$T/err")
}
exits() { local want=$1; shift; px "$@"; [ "$code" = "$want" ] || { echo "exit code $code, not $want: $*"; cat "$T/out" "$T/err"; return 1; }; }
has() { case $1 in *"$2"*) ;; *) echo "'$2' is not in: $1"; return 1 ;; esac }
lacks() { case $1 in *"$2"*) echo "'$2' is in: $1"; return 1 ;; esac }
json() { jq -e "$1" <<<"$out" >/dev/null || { echo "not so: $1"; echo "$out"; return 1; }; }
not_connected() { px "$1" peers "$2" --json; [ "$(jq -r .connection <<<"$out")" = null ]; }
state_is() { px "$1" peers "$2" --json; [ "$(jq -r .state <<<"$out")" = "$3" ]; }

node_init alice || { not_ok "init" "$T/alice.init"; finish; }

# ---- nobody there ----
no_daemon() {
    local c
    for c in status peers services events "ping ${alice_id}" "traceroute ${alice_id}" "connect ${alice_id}" "disconnect ${alice_id}"; do
        # shellcheck disable=SC2086
        exits 8 alice $c && has "$err" "start it with \`peerix daemon --home $T/alice/home\`" && [ -z "$out" ] || return 1
    done
    exits 8 alice stop && has "$err" "nothing to stop"
}
alice_id=$(node_id alice)
check "without a daemon every command exits 8 and says how to start it" no_daemon

start_pair alice bob || { not_ok "two nodes" "$T/alice.log" "$T/bob.log"; finish; }
bob_id=$(node_id bob)
check "both are connected" until_true 10 state_is alice bob connected

# ---- looking ----
shows_status() {
    exits 0 alice status && has "$out" "$alice_id" && has "$out" "running for" && has "$out" "1 connected of 1 listed" &&
        lacks "$out" $'\e' && exits 0 alice status --json && json ".peer == \"$alice_id\" and .state == \"running\"" &&
        json ".pid == $alice_pid and .peers.connected == 1 and .uptime >= 0"
}
check "status tells who, how long, and how many" shows_status

shows_peers() {
    exits 0 alice peers && has "$out" "NAME  PEER" && has "$out" "bob   ${bob_id:0:16}  connected  DIRECT 127.0.0.1:" &&
        has "$out" "peerix/" && lacks "$out" "$bob_id" && exits 0 alice peers --full && has "$out" "$bob_id" &&
        exits 0 alice peers --json && json '.peers | length == 1' &&
        json ".peers[0] | .peer == \"$bob_id\" and .name == \"bob\" and .state == \"connected\" and .connection.rtt > 0" &&
        json '.peers[0].agent | startswith("peerix/")' && json '.peers[0].connection.bytes_sent | type == "number" and . > 0'
}
check "peers is a table, and exact as JSON" shows_peers

shows_one_peer() {
    local word
    "$PEERIX" name add desk "$bob_id" --home "$T/alice/home" >/dev/null
    for word in bob desk "$bob_id" "${bob_id:0:16}"; do
        exits 0 alice peers "$word" && has "$out" "$bob_id" && has "$out" "round trip" && has "$out" "ADDRESS" || return 1
    done
    exits 10 alice peers nobody && has "$err" "name list"
    exits 0 bob peers alice --json && json ".addresses | map(.address) | index(\"$alice_overlay\") != null"
}
check "one peer, by name, further name, ID or its beginning" shows_one_peer

shows_services() {
    exits 0 alice services && has "$out" "nix-cache" && has "$out" "$bob_id" &&
        exits 0 alice services --json && json '.services[] | select(.service == "nix-cache") | .peers[0].connected'
}
check "services says what is served to whom" shows_services

resolves() {
    exits 0 alice resolve desk && [ "$out" = "$bob_id" ] && exits 0 alice resolve bob --json &&
        json ".peer == \"$bob_id\" and .from == \"authorized_keys\"" && exits 10 alice resolve nobody
}
check "resolve" resolves

# ---- measuring ----
pings() {
    exits 0 alice ping bob -c 3 -i 0.05 && has "$out" "3 sent, 3 received, 0% lost" && has "$out" "min " && has "$out" "jitter " &&
        exits 0 alice ping bob -c2 -i0.1 --json || return 1
    [ "$(wc -l <<<"$out")" = 3 ] && [ "$(jq -s 'map(select(.seq)) | length' <<<"$out")" = 2 ] &&
        jq -se '.[2].summary | .received == 2 and .min <= .avg and .avg <= .max and .loss == 0' <<<"$out" >/dev/null
}
check "ping -c counts, sums up, and speaks JSON a line each" pings

pings_until_interrupted() {
    local pid
    "$PEERIX" ping bob -i 0.05 --home "$T/alice/home" >"$T/ping.out" 2>&1 &
    pid=$!
    PIDS+=("$pid")
    until_true 5 grep -q '^3: ' "$T/ping.out" || return 1
    kill -INT "$pid"
    wait "$pid" || return 1
    cat "$T/ping.out"
    grep -q ' received, 0% lost' "$T/ping.out" && grep -q '^min .*, jitter ' "$T/ping.out"
}
check "ping goes on until Ctrl-C, then sums up" pings_until_interrupted

# a peer that is suspended answers nothing, and the connection does not know yet
pings_in_vain() {
    kill -STOP "$bob_pid"
    px alice ping bob -c 2 -i 0.05 -W 0.2
    local ping_code=$code ping_out=$out
    px alice traceroute bob -W 0.2 --json
    kill -CONT "$bob_pid"
    [ "$ping_code" = 12 ] && has "$ping_out" "1: lost, timed out" && has "$ping_out" "2 sent, 0 received, 100% lost" &&
        [ "$code" = 12 ] && json '.hops[0].lost == "ETIMEDOUT"' && exits 0 alice ping bob -c 1
}
check "ping and traceroute exit 12 when nothing comes back" pings_in_vain

bad_pings() {
    exits 2 alice ping bob -c 0 && exits 2 alice ping bob -c x && exits 2 alice ping bob -i 0 && has "$err" "interval" &&
        exits 2 alice ping bob -W 1e9 && has "$err" "timeout" && exits 2 alice ping && exits 10 alice ping nobody -c 1 &&
        exits 2 alice ping bob -x && has "$err" "unknown option '-x'" && exits 2 alice ping bob -c
}
check "ping says what its numbers may be" bad_pings

traces() {
    exits 0 alice traceroute bob && has "$out" "path: DIRECT" && has "$out" "HOP" && has "$out" "127.0.0.1:" &&
        exits 0 alice traceroute bob --json && json '.path == "DIRECT" and (.hops | length == 1) and .hops[0].rtt > 0'
}
check "traceroute shows the path" traces

# ---- steering ----
steers() {
    exits 0 bob disconnect alice && until_true 3 state_is bob alice held && until_true 3 not_connected alice bob || return 1
    exits 11 bob ping alice -c 1 && has "$err" "peerix connect" && exits 0 bob peers && has "$out" "held" &&
        exits 0 bob connect alice && [ "$out" = "connected alice" ] && state_is bob alice connected &&
        exits 0 bob disconnect alice --json && json '.state == "held"' &&
        exits 0 bob connect alice "$alice_overlay" && state_is bob alice connected &&
        exits 2 bob connect alice nonsense && has "$err" "HOST:PORT" && exits 10 bob connect nobody
}
check "disconnect hangs up and stays so, connect dials" steers

cannot_connect() {
    local id
    id=$("$PEERIX" init --home "$T/carol" >/dev/null && "$PEERIX" whoami --home "$T/carol")
    exits 10 bob connect "$id" && exits 0 bob auth add "$id" --name carol && exits 11 bob connect carol && has "$err" "address"
}
check "a peer without an address is offline, an unlisted one is nobody" cannot_connect

follows_events() {
    "$PEERIX" events --json --home "$T/alice/home" >"$T/events.json" 2>&1 &
    local one=$!
    "$PEERIX" events --home "$T/alice/home" >"$T/events.txt" 2>&1 &
    local two=$!
    PIDS+=("$one" "$two")
    until_true 5 grep -q . "$T/events.json" && until_true 5 grep -q . "$T/events.txt" || return 1
    px bob disconnect alice
    until_true 5 grep -q '"event":"peer.disconnected"' "$T/events.json" && until_true 5 grep -q 'peer.disconnected' "$T/events.txt" || return 1
    kill "$one" "$two"
    wait "$one" "$two"
    jq -e .event "$T/events.json" >/dev/null && px bob connect alice && [ "$code" = 0 ]
}
check "events come as they happen, as text and as JSON" follows_events

# ---- the allowlist, live ----
revokes() {
    exits 0 alice auth remove bob && [ "$out" = "removed $bob_id" ] && exits 0 alice peers --json &&
        json '.peers | map(select(.state == "connected")) | length == 0' && exits 10 alice auth remove bob &&
        exits 0 alice auth list && [ -z "$out" ]
}
check "auth remove returns when the peer is gone" revokes

# ---- colour ----
on_tty() { script -qec "$1" /dev/null </dev/null; }
coloured() {
    local peers="$PEERIX peers --home $T/bob/home"
    has "$(on_tty "$peers")" $'\e[' && lacks "$(NO_COLOR=1 on_tty "$peers")" $'\e[' && lacks "$(TERM=dumb on_tty "$peers")" $'\e[' &&
        lacks "$($peers)" $'\e['
}
if script -qec true /dev/null >/dev/null 2>&1; then
    check "colour needs a terminal, no NO_COLOR, and a TERM that is not dumb" coloured
else
    skip "colour: script(1) cannot make a terminal"
fi

# ---- odd daemons ----
wrong_cookie() {
    cp "$T/bob/home/control.cookie" "$T/cookie"
    tr '0-9a-f' '1-9a-f0' <"$T/cookie" >"$T/bob/home/control.cookie"
    exits 4 bob status && has "$err" "control.cookie"
    local rc=$?
    cp "$T/cookie" "$T/bob/home/control.cookie"
    return $rc
}
check "a wrong cookie exits 4" wrong_cookie

second_daemon() { exits 9 bob daemon --store "$(store_uri bob)" --nix-conf '' --listen 127.0.0.1:0 --http 127.0.0.1:0 && has "$err" "pid $bob_pid"; }
check "a second daemon of the home exits 9 and names the first" second_daemon

stops() {
    local began ping events
    exits 0 alice auth add "$bob_id" --name bob && exits 0 bob connect alice || return 1
    "$PEERIX" events --home "$T/bob/home" >"$T/last.events" 2>&1 &
    events=$!
    "$PEERIX" ping alice --home "$T/bob/home" -i 0.05 >"$T/last.ping" 2>&1 &
    ping=$!
    PIDS+=("$events" "$ping")
    until_true 5 grep -q '^2: ' "$T/last.ping" && until_true 5 grep -q . "$T/last.events" || return 1
    began=$SECONDS
    exits 0 alice stop && [ "$out" = stopped ] && ! kill -0 "$alice_pid" 2>/dev/null && [ $((SECONDS - began)) -le 6 ] &&
        exits 8 alice stop && exits 0 bob stop --json && json ".pid == $bob_pid" && [ ! -e "$T/bob/home/control.sock" ] || return 1
    wait "$events"
    [ $? = 8 ] && wait "$ping"
    [ $? = 8 ] && grep -q 'the daemon has ended' "$T/last.events" && grep -q ' sent, ' "$T/last.ping"
}
check "stop returns when the daemon is gone, and those that follow it are told" stops

killed() {
    rm "$T/bob.log" && node_start bob || return 1
    kill -9 "$bob_pid"
    wait "$bob_pid"
    exits 8 bob status && has "$err" "peerix daemon" && rm "$T/bob.log" && node_start bob && exits 0 bob status && exits 0 bob stop
}
check "after kill -9 there is no daemon, and a new one starts" killed
finish

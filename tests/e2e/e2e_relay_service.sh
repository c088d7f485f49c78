#!/usr/bin/env bash
# The relay's life under a service manager that watches, what it measures, and a flood of strangers.
# Runs alone: it measures times, or fills the machine.
. "$(dirname "$0")/lib.sh"
RELAY=$BIN/peerix-relay
CLIENT=$BIN/tests/relay_client
SWARM=$BIN/tests/relay_swarm
DOC=$HERE/../../docs/relay.md
said=$T/supervisor.out
"$RELAY" init --home "$T/r" >/dev/null
id_of() { "$RELAY" whoami --home "$T/$1"; }
for n in alice bob; do
    "$RELAY" init --home "$T/$n" >/dev/null
    "$RELAY" auth add "$(id_of $n)" --name $n --home "$T/r" >/dev/null
done
supervise() { # MSEC
    : >"$said"; : >"$T/r.log"
    "$BIN/tests/supervisor" "$1" "$RELAY" daemon --home "$T/r" --listen "${listen:-127.0.0.1:0}" \
        --tcp 127.0.0.1:0 --metrics 127.0.0.1:0 >"$said" 2>"$T/r.log" &
    supervisor=$!
    PIDS+=("$supervisor")
}
count() { grep -c "$1" "$said"; }
more() { [ "$(count "$1")" -gt "$2" ]; } # PATTERN COUNT-BEFORE
relay_pid() { sed -n 's/^start //p' "$said" | tail -1; }
ready_field() { grep event=ready "$T/r.log" | tail -1 | sed "s/.* $1=\([^ ]*\).*/\1/"; }

# ---- signs of life ----
supervise 1500
check "READY is told" until_true 15 grep -q '^notify READY=1' "$said"
check "only once all addresses are bound" grep -q event=ready "$T/r.log"
check "WATCHDOG=1 keeps coming" until_true 10 more 'notify WATCHDOG=1' 3
check "and holds the service manager off" test "$(count timeout)" = 0
kill -HUP "$(relay_pid)"
check "SIGHUP is told as reloading" until_true 5 grep -q 'RELOADING=1' "$said"
check "and ready again" until_true 5 more 'READY=1' 1

# ---- it stands still, wholly or in a part ----
kill -STOP "$(relay_pid)"
check "a relay that stands still is found" until_true 10 grep -q '^timeout' "$said"
check "and restarted" until_true 15 more '^start ' 1
check "it shows life again" until_true 10 more 'notify WATCHDOG=1' "$(count 'notify WATCHDOG=1')"
timeouts=$(count '^timeout') starts=$(count '^start ')
rm "$T/r/control.sock"
check "a control socket that does not answer is found while the loop turns" until_true 10 more '^timeout' "$timeouts"
check "the log names the part" grep -q 'event=watchdog.failed part=control' "$T/r.log"
check "no other part" bash -c "! grep 'event=watchdog.failed' '$T/r.log' | grep -qv part=control"
check "a restart brings it back" until_true 15 more '^start ' "$starts"
check "with its control socket" until_true 10 test -S "$T/r/control.sock"
kill "$supervisor" && wait "$supervisor"
check "SIGTERM ends it with 0" test "$?" = 0
check "STOPPING is told" grep -q 'notify STOPPING=1' "$said"
listen='[::]:0' supervise 1500
check "life is shown from a wildcard address too" until_true 15 more 'notify WATCHDOG=1' 1

# ---- what it measures ----
at=$(ready_field metrics)
addr=127.0.0.1:$(ready_field listen | sed 's/.*://')
get() { curl -s -m 5 "http://$at/metrics"; }
series() { get | sed -n 's/^\([a-z_]*\({[^}]*}\)\{0,1\}\) .*/\1/p' | sort; }
# Each line is a comment or a sample of the family before it; counters end in _total, nothing else does.
schema() {
    get | awk '
        function bad(why) { print why ": " $0; wrong = 1 }
        /^# HELP [a-z][a-z_]* [^ ].*\.$/ { if (family != "" && !samples) bad("the family before has no sample"); family = $3; samples = 0; type = ""; if (seen[family]++) bad("twice"); next }
        /^# TYPE [a-z_]+ (counter|gauge)$/ { if ($3 != family) bad("of another family"); type = $4; if ((type == "counter") != (family ~ /_total$/)) bad("name and type"); next }
        /^[a-z_]+({[a-z]+="[^"\\]*"(,[a-z]+="[^"\\]*")*})? [0-9.e+-]+$/ { name = $1; sub(/{.*/, "", name); if (name != family || type == "") bad("outside its family"); samples++; next }
        { bad("neither comment nor sample") }
        END { exit wrong || !family }'
}
families() { get | sed -n 's/^# TYPE \([a-z_]*\) \([a-z]*\)$/\1 \2/p' | sort; }
documented() { sed -n 's/^| `\([a-z_]*\)`[^|]*| \(counter\|gauge\) |.*/\1 \2/p' "$DOC" | sort; }
check "/healthz answers" bash -c '[ "$(curl -s -m 5 "http://$1/healthz")" = ok ]' _ "$at"
check "it listens on loopback alone" grep -q '^127\.' <<<"$at"
check "another address is refused" bash -c '"$1" daemon --home "$2" --listen 127.0.0.1:0 --tcp "" --metrics 0.0.0.0:0 2>/dev/null; [ $? = 2 ]' _ "$RELAY" "$T/alice"
check "the exposition format is kept" schema
check "every family is documented, and no other" diff <(families) <(documented)
series >"$T/series.quiet"
"$SWARM" ids 40 >>"$T/r/authorized_keys"
until_true 10 bash -c '"$1" status --json --home "$2" | grep -q "\"members\": 42"' _ "$RELAY" "$T/r"
ID=$("$RELAY" whoami --home "$T/r")
"$SWARM" run 40 4 "$addr" "$ID" >"$T/swarm.out" 2>&1 &
swarm=$!
PIDS+=("$swarm")
check "nodes are counted" until_true 10 bash -c 'curl -s -m 5 "http://$1/metrics" | grep -qE "^peerix_relay_nodes [1-9]"' _ "$at"
check "circuits too" until_true 10 bash -c 'curl -s -m 5 "http://$1/metrics" | grep -qE "^peerix_relay_forwarded_packets_total [1-9]"' _ "$at"
check "who comes and goes makes no new series" diff "$T/series.quiet" <(series)
check "no peer is named" bash -c '! curl -s -m 5 "http://$1/metrics" | grep -q 12D3' _ "$at"
wait "$swarm"
check "the nodes got what they wanted" test "$?" = 0

# ---- a flood of strangers ----
# A member's link that is up does not feel them, nor do circuits, nor the watchdog; all come from one source here.
declare -A FD
client() { # NAME
    local fd
    mkfifo "$T/$1.in"
    "$CLIENT" "$T/$1/identity.pem" "$ID" "$addr" <"$T/$1.in" >"$T/$1.out" 2>&1 &
    PIDS+=($!)
    exec {fd}>"$T/$1.in"
    FD[$1]=$fd
}
tell() { echo "${*:2}" >&"${FD[$1]}"; }
hears() { until_true 3 grep -q "$2" "$T/$1.out" || { cat "$T/$1.out"; return 1; }; }
client alice
client bob
hears alice '^reserved OK' >/dev/null
hears bob '^reserved OK' >/dev/null
unheard() { get | sed -n 's/^peerix_relay_unheard_packets_total //p'; }
flooded() { [ "$(unheard)" -gt 100 ]; }
timeouts=$(count '^timeout') alive=$(count 'notify WATCHDOG=1')
"$SWARM" run 40 7 "$addr" "$ID" hammer >"$T/hammer.out" 2>&1 &
hammer=$!
PIDS+=("$hammer")
check "strangers that were refused are heard no more" until_true 8 flooded
tell alice register alice-host 1
check "a member is served meanwhile" hears alice '^reply REGISTER OK'
tell alice call "$(id_of bob)"
check "its calls too" hears alice '^open rate'
tell alice say one
check "and its packets" hears bob '^data one'
check "the flood is still on" kill -0 "$hammer"
wait "$hammer"
check "no stranger came in" test "$?" = 0
sed 's/^/# /' "$T/hammer.out"
check "the watchdog was content" test "$(count '^timeout')" = "$timeouts"
check "and showed life" more 'notify WATCHDOG=1' "$((alive + 3))"
kill "$supervisor" && wait "$supervisor"
check "no sanitizer spoke" bash -c '! grep -qE "Sanitizer|runtime error" "$1"/*.log "$1"/*.out' _ "$T"
finish

#!/usr/bin/env bash
# Configuration of a running daemon: applied, taken back by itself, confirmed, rolled back, also
# across kill -9 and when the daemon does not start with it. The substituter answers all along.
. "$(dirname "$0")/lib.sh"
node_init alice
home=(--home "$T/alice/home")
config=$T/alice/home/config.yaml
cfg() { local c=$1; shift; "$PEERIX" config "$c" "${home[@]}" "$@"; }
events() { grep -c "event=$1" "$T/alice.log"; }
happened() { [ "$(events "$1")" -gt "$2" ]; } # EVENT COUNT-BEFORE
# What is not taken up as it is starts the parts anew; the pid stays.
node_start alice --log-level info
pid=$NODE_PID
old_sum=$(sha256sum <"$config")

printf 'priority: 32\npacket-max: 1400\n' >"$T/good.yaml"
echo 'priority: many' >"$T/bad.yaml"
check "a wrong value is told with its line" bash -c "! '$PEERIX' config validate '$T/bad.yaml' 2>'$T/said' && grep -q 'bad.yaml:1: priority' '$T/said'"
cfg apply "$T/bad.yaml" >"$T/out" 2>&1
check "a wrong file is not applied, exit code 5" test "$?" = 5 -a "$old_sum" = "$(sha256sum <"$config")"

ready=$(events ready)
port=$alice_http
knock() { # asks until $T/knocking is gone; prints what curl says
    while [ -e "$T/knocking" ]; do
        curl -s -m 5 -o /dev/null -w '%{http_code}\n' "$port/nix-cache-info"
        sleep 0.01
    done
}
: >"$T/knocking"
knock >"$T/knocks" &
knocker=$!
check "apply puts the file in place" cfg apply "$T/good.yaml" --confirm-timeout 2s
check "it is there" cmp -s "$T/good.yaml" "$config"
check "the daemon starts its parts anew in the same process" until_true 10 happened ready "$ready"
http=$(grep event=ready "$T/alice.log" | tail -1 | sed 's/.* http=\([^ ]*\).*/\1/')
sleep 0.2 # some more questions
rm "$T/knocking"
wait "$knocker"
check "on the same port" test "http://$http" = "$port"
check "nobody was refused meanwhile ($(wc -l <"$T/knocks") asked)" bash -c "[ \$(wc -l <'$T/knocks') -ge 5 ] && ! grep -qvx 200 '$T/knocks'"
check "with the new value" bash -c "curl -s -m 5 http://$http/nix-cache-info | grep -qx 'Priority: 32'"
check "a second change has to wait" bash -c "! '$PEERIX' config apply ${home[*]} /dev/null 2>'$T/said' && grep -q 'another change waits' '$T/said'"
check "not confirmed, it is taken back" until_true 10 happened config.reverted 0
check "to the very text that was there" test "$old_sum" = "$(sha256sum <"$config")"
check "no marker is left" test ! -e "$T/alice/home/config.pending"

# a change that waits while the daemon is killed and stays away past its time
ready=$(events ready)
cfg apply "$T/good.yaml" --confirm-timeout 1s >/dev/null
kill -9 "$pid"; wait "$pid" 2>/dev/null
check "the marker survives kill -9" test -e "$T/alice/home/config.pending"
check "and so does the new text" cmp -s "$T/good.yaml" "$config"
until_true 5 bash -c "! '$PEERIX' config show ${home[*]} | grep -q 'not confirmed'"
check "any config command takes an overdue change back" test "$old_sum" = "$(sha256sum <"$config")"
start_anew() { # node_start waits for a `ready` in the log: there must be no old one
    rm -f "$T/alice.log"
    node_start alice "$@"
    pid=$NODE_PID
}
start_anew

# the same, and nobody looks before the daemon comes back
cfg apply "$T/good.yaml" --confirm-timeout 1s >/dev/null
kill -9 "$pid"; wait "$pid" 2>/dev/null
overdue() { [ "$(date +%s%3N)" -ge "$over" ]; }
over=$(($(date +%s%3N) + 1200))
until_true 5 overdue
start_anew
check "a daemon that comes back too late takes it back first" test "$old_sum" = "$(sha256sum <"$config")"
check "and says so" grep -q 'its time was over' "$T/alice.log"

# a change that keeps the daemon from starting
node_stop alice
printf 'nix-key: "%s"\n' "$T/nowhere.sec" >"$T/fatal.yaml"
echo 'not a key' >"$T/nowhere.sec"; chmod 600 "$T/nowhere.sec"
cfg apply "$T/fatal.yaml" --confirm-timeout 10m >/dev/null
start_anew
check "a daemon that does not start with an unconfirmed change takes it back at once" test "$old_sum" = "$(sha256sum <"$config")"
check "and says so" grep -q 'event=config.reverted why="the daemon does not start' "$T/alice.log"

# confirmed, and back by hand
cfg apply "$T/good.yaml" --confirm-timeout 10m >/dev/null
check "confirm keeps the change" cfg confirm
check "confirm without a change fails" bash -c "! '$PEERIX' config confirm ${home[*]} 2>/dev/null"
check "rollback brings the earlier text back" bash -c "'$PEERIX' config rollback ${home[*]} && [ '$old_sum' = \"\$(sha256sum <'$config')\" ]"
check "history lists both as JSON" bash -c "'$PEERIX' config history --json ${home[*]} | grep -c '\"number\"' | grep -qx 2"
json() { local c=$1; shift; cfg "$c" --json "$@" | jq -c '[.state, .taken_back_ms, (.effect | IN("none", "live", "restart", null))]'; }
check "apply, confirm and rollback tell scripts what they did" test \
    "$(json apply --confirm-timeout 60s "$T/good.yaml"; json confirm; json apply "$T/good.yaml"; json rollback)" = \
    '["applied",60000,true]
["confirmed",null,true]
["unchanged",null,true]
["rolled-back",null,true]'
check "and validate" test "$(cfg validate --json | jq -c '[.file, .exists, .valid]')" = "[\"$config\",true,true]"

# what needs no restart
sleep 0.3
until_true 10 cfg history >/dev/null # the restart in place is over
http=$(grep event=ready "$T/alice.log" | tail -1 | sed 's/.* http=\([^ ]*\).*/\1/')
ready=$(events ready)
echo 'priority: 34' >"$T/live.yaml"
cp "$config" "$T/was.yaml"; cat "$T/live.yaml" >>"$T/was.yaml"
sed -i '/^#/d' "$T/was.yaml"
check "a change of the priority is taken up as it is" bash -c "'$PEERIX' config apply ${home[*]} '$T/was.yaml' | grep -q 'has taken it up'"
check "at once" bash -c "curl -s -m 5 http://$http/nix-cache-info | grep -qx 'Priority: 34'"
check "without a restart" test "$(events ready)" = "$ready"

# the same by the control API
api() { # METHOD PATH [BODY]: prints the status, the answer goes to $T/answer
    curl -s -m 10 -o "$T/answer" -w '%{http_code}' -X "$1" --unix-socket "$T/alice/home/control.sock" \
        -H "Authorization: Bearer $(cat "$T/alice/home/control.cookie")" ${3:+-H 'Content-Type: application/json' -d "$3"} "http://localhost/v1/config$2"
}
json() { jq -e "$1" "$T/answer" >"$T/jq.out" || { cat "$T/answer"; return 1; }; }
check "the API tells the options that run" bash -c "[ $(api GET '') = 200 ] && jq -e '.options.priority == 34 and .waiting == null' '$T/answer'"
check "the API refuses a wrong text" bash -c "[ $(api POST /apply '{"text": "priority: many\n"}') = 400 ] && grep -q 'priority' '$T/answer'"
kept=$(sha256sum <"$config")
check "and one with a time out of range" test "$(api POST /apply '{"text": "priority: 35\n", "confirm_timeout_ms": 5}')" = 400
check "neither changed the file" test "$kept" = "$(sha256sum <"$config")"
apply_body=$(jq -n --rawfile t "$T/was.yaml" '{text: ($t | sub("priority: 34"; "priority: 35")), confirm_timeout_ms: 60000}')
check "the API applies" test "$(api POST /apply "$apply_body")" = 200
check "and says what that means" json '.effect == "live" and .waiting.left_ms > 50000'
check "a second one has to wait" test "$(api POST /apply '{"text": "priority: 36\n"}')" != 200
check "the API confirms" test "$(api POST /confirm)" = 200
check "once" test "$(api POST /confirm)" = 404
check "the API lists the history" bash -c "[ $(api GET /history) = 200 ] && jq -e '.versions | length >= 2' '$T/answer'"
check "the API rolls back" test "$(api POST /rollback)" = 200
check "to what was there" test "$kept" = "$(sha256sum <"$config")"

# SIGHUP
sleep 0.2 # the restart in place of the rollback begins after 100 ms
until_true 10 kill -0 "$pid"
reloads=$(events config.reloaded)
printf 'log-level: debug\n' >"$config"
kill -HUP "$pid"
check "SIGHUP reads the file" until_true 10 happened config.reloaded "$reloads"
echo 'nonsense: 1' >"$config"
kill -HUP "$pid"
check "a wrong file changes nothing but the log" until_true 10 happened config.invalid 0
check "the daemon lives on" kill -0 "$pid"
check "show prints what a file may hold" bash -c "rm '$config'; '$PEERIX' config show ${home[*]} >'$T/shown' && '$PEERIX' config validate '$T/shown'"
check "without blanks at the ends of lines" bash -c "! grep -n ' $' '$T/shown'"
node_stop alice
check "SIGTERM ends it with 0" test "$?" = 0
finish

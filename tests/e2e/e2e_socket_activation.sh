#!/usr/bin/env bash
# The substituter's socket handed in by a service manager: READY is told, and the port never
# refuses, not even while the daemon is being restarted after a kill -9.
. "$(dirname "$0")/lib.sh"
node_init alice
in_store alice "" "" nix-store --init
"$BIN/tests/socket_activate" "$T/port" "$PEERIX" daemon --home "$T/alice/home" --listen 127.0.0.1:0 \
    --store "$(store_uri alice)" --nix-conf "" >"$T/manager.out" 2>"$T/alice.log" &
manager=$!
PIDS+=("$manager")
check "READY is told to the service manager" until_true 15 grep -q 'notify READY=1' "$T/manager.out"
url=http://127.0.0.1:$(cat "$T/port")
info() { curl -s -m 5 -o /dev/null -w '%{http_code}' "$url/nix-cache-info"; }
check "it answers on the socket it was given" test "$(info)" = 200
check "the log names that address" grep -q "event=ready.* http=127.0.0.1:$(cat "$T/port") " "$T/alice.log"

pid=$(grep event=ready "$T/alice.log" | tail -1 | sed 's/.*pid=\([0-9]*\).*/\1/')
kill -9 "$pid"
codes=$(for _ in $(seq 20); do info; echo; done | sort | uniq -c)
check "no request is refused across kill -9 and restart" grep -qx ' *20 200' <(echo "$codes")
check "it was restarted" grep -q restart "$T/manager.out"

# The same socket again when the daemon starts its parts anew for a changed configuration.
before=$(grep -c event=ready "$T/alice.log")
printf 'priority: 31\npacket-max: 1400\n' >"$T/new.yaml"
"$PEERIX" config apply --home "$T/alice/home" "$T/new.yaml" >"$T/apply.out" 2>&1
restarted() { [ "$(grep -c event=ready "$T/alice.log")" -gt "$before" ]; }
check "a changed configuration restarts it in place" until_true 10 restarted
check "and it answers on the socket it was given" bash -c "curl -s -m 5 $url/nix-cache-info | grep -qx 'Priority: 31'"
check "the reload is told" grep -q 'notify RELOADING=1' "$T/manager.out"

pid=$(grep event=ready "$T/alice.log" | tail -1 | sed 's/.*pid=\([0-9]*\).*/\1/')
began=$SECONDS
kill "$pid"
wait "$manager"; rc=$?
check "SIGTERM ends it with 0" test "$rc" = 0
check "within 5 s ($((SECONDS - began)))" test $((SECONDS - began)) -le 5
check "STOPPING is told" grep -q 'notify STOPPING=1' "$T/manager.out"
finish

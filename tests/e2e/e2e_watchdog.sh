#!/usr/bin/env bash
# Life under a service manager that watches: signs of life come from real checks; a daemon that
# stands still, or one of whose parts does, is found and restarted; a stop drains within 5 s.
. "$(dirname "$0")/lib.sh"
node_init alice
in_store alice "" "" nix-store --init
said=$T/supervisor.out
supervise() { # MSEC
    : >"$said"; : >"$T/alice.log"
    "$BIN/tests/supervisor" "$1" "$PEERIX" daemon --home "$T/alice/home" --listen "${listen:-127.0.0.1:0}" \
        --http 127.0.0.1:0 --store "$(store_uri alice)" --nix-conf "" >"$said" 2>"$T/alice.log" &
    supervisor=$!
    PIDS+=("$supervisor")
}
count() { grep -c "$1" "$said"; }
more() { [ "$(count "$1")" -gt "$2" ]; } # PATTERN COUNT-BEFORE
daemon() { sed -n 's/^start //p' "$said" | tail -1; }
end_supervisor() { kill "$supervisor" && wait "$supervisor"; }

# ---- signs of life ----
supervise 1500
check "READY is told" until_true 15 grep -q '^notify READY=1' "$said"
check "only once all addresses are bound" grep -q event=ready "$T/alice.log"
check "WATCHDOG=1 keeps coming" until_true 10 more 'notify WATCHDOG=1' 3
check "and holds the service manager off" test "$(count timeout)" = 0

# ---- the whole process stands still ----
kill -STOP "$(daemon)"
check "a stopped daemon is found" until_true 10 grep -q '^timeout' "$said"
check "and restarted" until_true 15 more 'notify READY=1' 1
check "with a new process" test "$(count '^start ')" = 2

# ---- a part stands still while the loop turns ----
alive=$(count 'notify WATCHDOG=1')
check "it shows life again" until_true 10 more 'notify WATCHDOG=1' "$alive"
timeouts=$(count '^timeout') ready=$(count 'notify READY=1')
rm "$T/alice/home/control.sock"
check "a control API that does not answer is found" until_true 10 more '^timeout' "$timeouts"
check "the log names the part" grep -q 'event=watchdog.failed part=control' "$T/alice.log"
check "no other part" bash -c "! grep 'event=watchdog.failed' '$T/alice.log' | grep -qv part=control"
check "a restart brings it back" until_true 15 more 'notify READY=1' "$ready"
check "the control socket is there again" test -S "$T/alice/home/control.sock"

# ---- the end ----
began=$SECONDS
end_supervisor
check "SIGTERM ends it with 0" test "$?" = 0
check "within 5 s ($((SECONDS - began)))" test $((SECONDS - began)) -le 5
check "STOPPING is told" grep -q 'notify STOPPING=1' "$said"

# ---- bound to all addresses, as by default ----
listen='[::]:0' supervise 1500
check "life is shown from a wildcard address too" until_true 15 more 'notify WATCHDOG=1' 1
end_supervisor

# ---- without a watchdog ----
node_start alice
check "without WATCHDOG_USEC nothing is checked" bash -c "! grep -q watchdog '$T/alice.log'"
node_stop alice
finish

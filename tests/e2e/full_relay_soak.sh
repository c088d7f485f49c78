#!/usr/bin/env bash
# 2000 nodes at one relay for three minutes: they register, call, send, hang up, leave and come back. The
# relay's memory and descriptors stay flat, and nothing comes that should not.
# SECONDS_RUN and NODES make it shorter.
. "$(dirname "$0")/lib.sh"
[ -x "$PX_RELEASE/peerix-relay" ] && BIN=$PX_RELEASE
RELAY=$BIN/peerix-relay
SWARM=$BIN/tests/relay_swarm
nodes=${NODES:-2000} seconds=${SECONDS_RUN:-180}
"$RELAY" init --home "$T/r" >/dev/null
"$SWARM" ids "$nodes" >"$T/r/authorized_keys"
"$RELAY" daemon --home "$T/r" --tcp "" --listen 127.0.0.1:0 --metrics 127.0.0.1:0 --reservations 10000 --log-level warn >"$T/r.log" 2>&1 &
pid=$!
PIDS+=($pid)
until_true 10 "$RELAY" status --json --home "$T/r" >/dev/null
addr=$("$RELAY" status --json --home "$T/r" | sed -n 's/.*"listen": "\(.*\)",/\1/p')
rss() { awk '/^VmRSS/ {print $2}' "/proc/$pid/status"; }
fds() { find "/proc/$pid/fd" -mindepth 1 | wc -l; }
empty=$(rss)
"$SWARM" run "$nodes" "$seconds" "$addr" "$("$RELAY" whoami --home "$T/r")" >"$T/swarm.out" 2>&1 &
swarm=$!
PIDS+=($swarm)
sleep $((seconds / 3))
rss_before=$(rss) fds_before=$(fds)
sleep $((seconds / 2))
rss_after=$(rss) fds_after=$(fds)
echo "# empty $empty KiB; after a third $rss_before KiB, $fds_before descriptors; near the end $rss_after KiB, $fds_after"
echo "# $(((rss_after - empty) / nodes)) KiB a node"
check "every node did what it should" wait $swarm
sed 's/^/# /' "$T/swarm.out"
check "there were circuits" bash -c '[ "$(sed -n "s/.* opens=\([0-9]*\) .*/\1/p" "$1")" -gt "$2" ]' _ "$T/swarm.out" "$nodes"
check "memory stays flat" [ "$rss_after" -le $((rss_before + rss_before / 20)) ]
check "descriptors stay flat" [ "$fds_after" -le $((fds_before + 4)) ]
check "the relay still answers" "$RELAY" status --home "$T/r"
finish

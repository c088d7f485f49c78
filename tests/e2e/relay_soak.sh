# Sourced by full_relay_soak.sh and e2e_relay_swarm.sh, after lib.sh.
RELAY=$BIN/peerix-relay
SWARM=$BIN/tests/relay_swarm
SOAK_GAP=2 # seconds between two samples

# Least squares over lines of "SECONDS RSS-KiB DESCRIPTORS": how much each grew from the first to the last by the
# fitted line, and its mean.
soak_trend() {
    awk '{ n++; t += $1; tt += $1 * $1; r += $2; tr += $1 * $2; f += $3; tf += $1 * $3; if (n == 1) first = $1; last = $1 }
        END { d = n * tt - t * t; s = last - first
              printf "rss_mean=%d rss_growth=%d fds_mean=%d fds_growth=%d samples=%d\n",
                  r / n, (n * tr - t * r) / d * s, f / n, (n * tf - t * f) / d * s + 0.5, n }' "$1"
}
soak_field() { sed -n "s/.*\b$2=\(-\{0,1\}[0-9]*\).*/\1/p" "$1"; }

# soak NODES SECONDS: memory may differ by a twentieth between the ends of the steady two thirds, which is what
# calls under way and leaving nodes make of it at any moment; descriptors by four.
soak() {
    local nodes=$1 seconds=$2 pid swarm addr empty began at steady mean
    "$RELAY" init --home "$T/r" >/dev/null
    "$SWARM" ids "$nodes" >"$T/r/authorized_keys"
    "$RELAY" daemon --home "$T/r" --tcp "" --listen 127.0.0.1:0 --metrics 127.0.0.1:0 --reservations 10000 \
        --log-level warn >"$T/r.log" 2>&1 &
    pid=$!
    PIDS+=("$pid")
    until_true 10 "$RELAY" status --json --home "$T/r" >/dev/null
    addr=$("$RELAY" status --json --home "$T/r" | sed -n 's/.*"listen": "\(.*\)",/\1/p')
    rss() { awk '/^VmRSS/ { print $2 }' "/proc/$pid/status"; }
    fds() { find "/proc/$pid/fd" -mindepth 1 | wc -l; }
    empty=$(rss)
    "$SWARM" run "$nodes" "$seconds" "$addr" "$("$RELAY" whoami --home "$T/r")" >"$T/swarm.out" 2>&1 &
    swarm=$!
    PIDS+=("$swarm")
    began=$SECONDS steady=$((seconds / 3))
    while at=$((SECONDS - began)) && [ $at -lt $((seconds - 2)) ]; do
        [ $at -lt $steady ] || echo "$at $(rss) $(fds)" >>"$T/samples"
        sleep $SOAK_GAP
    done
    soak_trend "$T/samples" >"$T/trend"
    mean=$(soak_field "$T/trend" rss_mean)
    echo "# empty $empty KiB; from second $steady on $(cat "$T/trend")"
    echo "# first sample: $(head -n 1 "$T/samples"), last: $(tail -n 1 "$T/samples")"
    echo "# $(((mean - empty) / nodes)) KiB a node"
    check "every node did what it should" wait "$swarm"
    sed 's/^/# /' "$T/swarm.out"
    count() { sed -n "s/.*\b$1=\([0-9]*\).*/\1/p" "$T/swarm.out"; }
    check "nearly all nodes are there at the end" [ "$(count up)" -ge $((nodes * 9 / 10)) ]
    check "there were circuits" [ "$(count opens)" -gt "$nodes" ]
    check "nodes left and came back" [ "$(count downs)" -gt $((nodes * seconds / 2000)) ]
    check "records were registered and watched" [ "$(count registered)" -ge "$nodes" -a "$(count changes)" -gt 0 ]
    check "memory stays flat" [ "$(soak_field "$T/trend" rss_growth)" -le $((mean / 20)) ]
    check "memory at the end is that of the beginning" \
        [ "$(tail -n 1 "$T/samples" | cut -d' ' -f2)" -le $(($(head -n 1 "$T/samples" | cut -d' ' -f2) * 21 / 20)) ]
    check "descriptors stay flat" [ "$(soak_field "$T/trend" fds_growth)" -le 4 ]
    check "the relay still answers" "$RELAY" status --home "$T/r"
}

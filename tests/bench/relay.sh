#!/usr/bin/env bash
# What forwarding a packet costs: peerix-relay against coturn (Debian package) in the same run, on
# loopback, 1200-byte payloads, interleaved. Prints CPU seconds of the server a GiB, MB/s, their
# ratio, and what a circuit's set-up takes. Usage: relay.sh BUILD-DIR
# Goals: at most 0.4 CPU s/GiB, at most a tenth of coturn's. Exits 1 when a goal is missed.
set -euo pipefail
build=$(realpath "${1:?usage: relay.sh BUILD-DIR}")
bench=$build/tests/bench_relay
relay=$build/peerix-relay
rounds=${ROUNDS:-3}
mega=${MB:-1500}
payload=1200
dir=$(mktemp -d)
pids=()
cleanup() {
    local p
    for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$dir"
}
trap cleanup EXIT

for p in "$bench" "$relay"; do
    [ -x "$p" ] || { echo "$p is missing: build it first" >&2; exit 2; }
done
turnserver=$(command -v turnserver || true)
[ -n "$turnserver" ] || { echo "no turnserver: deploy/deps.sh bench" >&2; exit 2; }

wait_for() { # FILE PATTERN
    local i
    for i in $(seq 100); do
        grep -q "$2" "$1" 2>/dev/null && return 0
        sleep 0.1
    done
    echo "no '$2' in $1:" >&2; cat "$1" >&2; exit 1
}
field() { sed -n "s/.*\b$2=\([0-9.]*\).*/\1/p" <<<"$1"; }
median() { sort -n | awk '{v[NR]=$1} END {print v[int((NR+1)/2)]}'; }
rss() { awk '/^VmRSS/ {print $2}' "/proc/$1/status"; } # KiB

"$relay" init --home "$dir/relay" >/dev/null
for n in a b; do
    "$relay" init --home "$dir/$n" >/dev/null
    "$relay" auth add "$("$relay" whoami --home "$dir/$n")" --name $n --home "$dir/relay" >/dev/null
done
"$relay" daemon --home "$dir/relay" --listen 127.0.0.1:0 --metrics 127.0.0.1:0 --member-rate 0 >"$dir/relay.log" 2>&1 &
relay_pid=$!
pids+=($relay_pid)
wait_for "$dir/relay.log" event=ready
addr=$(sed -n 's/.*event=ready.* listen=\([^ ]*\).*/\1/p' "$dir/relay.log")
id=$("$relay" whoami --home "$dir/relay")

port=$((20000 + RANDOM % 20000))
"$turnserver" -n --no-auth --no-cli --allow-loopback-peers -L 127.0.0.1 -p $port --no-tls --no-dtls \
    --db "$dir/turn.db" --pidfile "$dir/turn.pid" --log-file stdout --realm bench --simple-log >"$dir/turn.log" 2>&1 &
turn_pid=$!
pids+=($turn_pid)
wait_for "$dir/turn.log" 'DB connection success'

ours=() theirs=() ours_mb=() theirs_mb=()
for round in $(seq "$rounds"); do
    o=$("$bench" peerix $relay_pid $((mega * 1000000)) $payload "$addr" "$id" "$dir/a/identity.pem" "$dir/b/identity.pem")
    t=$("$bench" turn $turn_pid $((mega * 1000000 / 5)) $payload "127.0.0.1:$port")
    echo "round $round: peerix-relay $o | coturn $t"
    ours+=("$(field "$o" cpu_s_gib)") theirs+=("$(field "$t" cpu_s_gib)")
    ours_mb+=("$(field "$o" mb_s)") theirs_mb+=("$(field "$t" mb_s)")
done
setup=$("$bench" setup $relay_pid 150 0 "$addr" "$id" "$dir/a/identity.pem" "$dir/b/identity.pem")
id_key="$dir/a/identity.pem"
quiet=$("$bench" ping $relay_pid 200 0 "$addr" "$id" "$id_key")
# Whole handshakes of strangers, 1000 a second if the machine can make them, from one source and from many, which
# no limit of a source holds back: each knocks twice. They belong elsewhere, so they get what CPU is left.
flood() { # SOURCES: sets `flooded` and `knocks`
    nice -n 19 "$build/tests/relay_flood" 1000 7 "$1" "$addr" "$id" >"$dir/flood" 2>&1 &
    local flood_pid=$!
    pids+=($flood_pid)
    sleep 1
    flooded=$("$bench" ping $relay_pid 200 0 "$addr" "$id" "$id_key")
    wait $flood_pid
    knocks=$(field "$(cat "$dir/flood")" refused_per_s)
}
flood 1
flood_one=$flooded knocks_one=$knocks
flood 3000
o=$(printf '%s\n' "${ours[@]}" | median)
t=$(printf '%s\n' "${theirs[@]}" | median)
ratio=$(awk -v o="$o" -v t="$t" 'BEGIN {printf "%.4f", o / t}')
echo "peerix-relay: $o CPU s/GiB, $(printf '%s\n' "${ours_mb[@]}" | median) MB/s, RSS $(rss $relay_pid) KiB"
echo "coturn:       $t CPU s/GiB, $(printf '%s\n' "${theirs_mb[@]}" | median) MB/s, RSS $(rss $turn_pid) KiB"
echo "ratio of CPU per byte: $ratio (goal 0.1)"
echo "circuit set-up on loopback: $(field "$setup" setup_us) us"
echo "control round trip of a member: p99 $(field "$quiet" p99_us) us quiet; flooded from one source $(field "$flood_one" p99_us) us" \
    "($knocks_one refused a second), from 3000 sources $(field "$flooded" p99_us) us ($knocks refused a second); goal: 2000 us more than quiet"
ok=0
awk -v o="$o" 'BEGIN {exit !(o <= 0.4)}' && echo "ok - at most 0.4 CPU s/GiB" || { echo "not ok - at most 0.4 CPU s/GiB"; ok=1; }
awk -v r="$ratio" 'BEGIN {exit !(r <= 0.1)}' && echo "ok - at most a tenth of coturn's CPU per byte" || { echo "not ok - at most a tenth of coturn's CPU per byte"; ok=1; }
exit $ok

#!/usr/bin/env bash
# What a relay costs, everything on loopback, each figure beside its yardstick in the same run; docs/benchmarks.md
# explains them. Prints the figures, then a verdict for each goal; exits 1 when one is missed.
# Usage: tests/bench/relay.sh [--quick] [BUILD-DIR] [PART…]
#   --quick    smaller inputs: about half a minute instead of three
#   BUILD-DIR  a release build's; without it build/release, which is built first
#   PART       only these:
#     forward     CPU s/GiB and MB/s of one circuit against coturn (Debian package), 1200-byte payloads
#     throughput  a link's stream through the relay against the same link direct, uncapped and both at 100 MB/s
#     flood       control round trips of a member while strangers shake hands 1000 times a second
#     memory      10 000 idle nodes: memory each, handshakes/s, CPU of the relay
#     setup       a circuit's set-up in round trips
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
rounds=3 mega=1500 mib=512 nodes=10000 up_limit=120 circuits=40 pings=200 build='' parts=()
while [ $# != 0 ]; do
    case "$1" in
    --quick) rounds=1 mega=300 mib=128 nodes=1000 up_limit=20 circuits=10 pings=100 ;;
    -h | --help) sed -n '2,14s/^# \{0,1\}//p' "$root/tests/bench/relay.sh"; exit 0 ;;
    forward | throughput | flood | memory | setup) parts+=("$1") ;;
    *) [ -z "$build" ] && [ -d "$1" ] || { echo "relay.sh: unknown argument $1; see --help" >&2; exit 2; }
        build=$(realpath "$1") ;;
    esac
    shift
done
export PATH=$PATH:/usr/sbin:/sbin
if [ -z "$build" ]; then
    build=$root/build/release
    mkdir -p "$root/build"
    { cmake --preset release && cmake --build "$build" -j2 --target peerix-relay bench_relay bench_circuit bench_link relay_swarm relay_flood link_emulator; } \
        >"$root/build/bench.log" 2>&1 || { tail -n 30 "$root/build/bench.log" >&2; exit 1; }
fi
relay=$build/peerix-relay
tools=$build/tests
for p in "$relay" "$tools"/{bench_relay,bench_circuit,bench_link,relay_swarm,relay_flood,link_emulator}; do
    [ -x "$p" ] || { echo "relay.sh: $p is missing: build it first" >&2; exit 2; }
done

dir=$(mktemp -d)
pids=()
cleanup() {
    local p
    for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$dir"
}
trap cleanup EXIT
missed=0
wanted() { [ ${#parts[@]} = 0 ] || [[ " ${parts[*]} " == *" $1 "* ]]; }
wait_for() { # FILE PATTERN
    local i
    for i in $(seq 100); do
        grep -q "$2" "$1" 2>/dev/null && return 0
        sleep 0.1
    done
    echo "no '$2' in $1:" >&2; cat "$1" >&2; exit 1
}
field() { sed -n "s/.*\b$2=\([0-9.]*\).*/\1/p" <<<"$1"; }
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
of() { printf '%s\n' "$@" | median; }
calc() { awk "BEGIN { printf \"%.${2:-2}f\", $1 }"; }
verdict() { # CONDITION (awk's) WORDS…
    local ok
    ok=$(awk "BEGIN { print ($1) ? \"ok\" : \"not ok\" }")
    [ "$ok" = ok ] || missed=1
    echo "$ok - ${*:2}"
}
rss() { awk '/^VmRSS/ { print $2 }' "/proc/$1/status"; } # KiB
fds() { find "/proc/$1/fd" -mindepth 1 | wc -l; }
cpu_ms() { awk -v t="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print int(($12 + $13) * 1000 / t) }' "/proc/$1/stat"; }
now_ms() { echo $(($(date +%s%N) / 1000000)); }

# start_relay NAME OPTION…: sets pid, addr, id
start_relay() {
    "$relay" daemon --home "$dir/$1" --tcp "" --listen 127.0.0.1:0 --metrics 127.0.0.1:0 "${@:2}" >"$dir/$1.log" 2>&1 &
    pid=$!
    pids+=("$pid")
    wait_for "$dir/$1.log" event=ready
    addr=$(sed -n 's/.*event=ready.* listen=\([^ ]*\).*/\1/p' "$dir/$1.log")
    id=$("$relay" whoami --home "$dir/$1")
}
stop_relay() { kill "$pid"; wait "$pid" 2>/dev/null || true; }
a=$dir/a/identity.pem b=$dir/b/identity.pem
for n in relay a b; do "$relay" init --home "$dir/$n" >/dev/null; done
for n in a b; do "$relay" auth add "$("$relay" whoami --home "$dir/$n")" --name $n --home "$dir/relay" >/dev/null; done
echo "# $(nproc) processors, load $(cut -d' ' -f1 /proc/loadavg)"

forward() {
    local port turn_pid round o t payload=1200 ours=() theirs=() ours_mb=() theirs_mb=()
    turnserver=$(command -v turnserver) || { echo "relay.sh: no turnserver: deploy/deps.sh bench" >&2; exit 2; }
    start_relay relay --member-rate 0
    port=$((20000 + RANDOM % 20000))
    "$turnserver" -n --no-auth --no-cli --allow-loopback-peers -L 127.0.0.1 -p $port --no-tls --no-dtls \
        --db "$dir/turn.db" --pidfile "$dir/turn.pid" --log-file stdout --realm bench --simple-log >"$dir/turn.log" 2>&1 &
    turn_pid=$!
    pids+=($turn_pid)
    wait_for "$dir/turn.log" 'DB connection success'
    for round in $(seq "$rounds"); do
        o=$(timeout 60 "$tools/bench_relay" peerix "$pid" $((mega * 1000000)) $payload "$addr" "$id" "$a" "$b")
        t=$(timeout 60 "$tools/bench_relay" turn $turn_pid $((mega * 1000000 / 5)) $payload "127.0.0.1:$port")
        ours+=("$(field "$o" cpu_s_gib)") theirs+=("$(field "$t" cpu_s_gib)")
        ours_mb+=("$(field "$o" mb_s)") theirs_mb+=("$(field "$t" mb_s)")
    done
    echo "forward, peerix-relay: $(of "${ours[@]}") CPU s/GiB, $(of "${ours_mb[@]}") MB/s, RSS $(rss "$pid") KiB"
    echo "forward, coturn:       $(of "${theirs[@]}") CPU s/GiB, $(of "${theirs_mb[@]}") MB/s, RSS $(rss $turn_pid) KiB"
    verdict "$(of "${ours[@]}") <= 0.4" "at most 0.4 CPU s/GiB"
    verdict "$(of "${ours[@]}") <= $(of "${theirs[@]}") / 10" "at most a tenth of coturn's CPU per byte: $(calc "$(of "${ours[@]}") / $(of "${theirs[@]}")" 4)"
    kill $turn_pid
    stop_relay
}

# One packet of 1452 bytes on the wire each time: through the relay 8 of them are its header. `straight` is a link
# whose datagrams bear the same header and are paced by the same queue, without a relay between.
throughput() {
    local round o d s ours=() direct=() cpu=() relay_cpu=() direct_cpu=() capped=() straight=()
    start_relay relay --member-rate 0
    for round in $(seq "$rounds"); do
        d=$(timeout 60 "$tools/bench_link" "$mib" 1452)
        o=$(timeout 60 "$tools/bench_circuit" "$mib" 1444 0 "$addr" "$id" "$a" "$b" "$pid")
        direct+=("$(sed 's/link: \([0-9]*\) .*/\1/' <<<"$d")") direct_cpu+=("$(sed 's/.* \([0-9.]*\) CPU.*/\1/' <<<"$d")")
        ours+=("$(field "$o" mb_s)") cpu+=("$(field "$o" cpu_s_gib)") relay_cpu+=("$(field "$o" relay_s_gib)")
    done
    stop_relay
    start_relay relay --member-rate 100000000
    for round in $(seq "$rounds"); do
        s=$(timeout 60 "$tools/bench_circuit" "$mib" 1444 100000000 direct)
        o=$(timeout 60 "$tools/bench_circuit" "$mib" 1444 0 "$addr" "$id" "$a" "$b" "$pid")
        straight+=("$(field "$s" mb_s)") capped+=("$(field "$o" mb_s)")
    done
    stop_relay
    echo "throughput, uncapped: direct $(of "${direct[@]}") MB/s at $(of "${direct_cpu[@]}") CPU s/GiB of both ends;" \
        "relayed $(of "${ours[@]}") MB/s at $(of "${cpu[@]}") and $(of "${relay_cpu[@]}") of the relay"
    echo "throughput, both paced for 100 MB/s: direct $(of "${straight[@]}") MB/s, relayed $(of "${capped[@]}") MB/s"
    verdict "$(of "${ours[@]}") >= 0.45 * $(of "${direct[@]}")" "uncapped at least 0.45 of direct: $(calc "$(of "${ours[@]}") / $(of "${direct[@]}")")"
    verdict "$(of "${capped[@]}") >= 0.95 * $(of "${straight[@]}")" "paced at least 0.95 of direct: $(calc "$(of "${capped[@]}") / $(of "${straight[@]}")")"
}

# Whole handshakes of strangers, 1000 a second if the machine can make them, from one source and from many, which
# no limit of a source holds back: each knocks twice. They belong elsewhere, so they get what CPU is left.
flood() {
    local sources quiet flooded knocks flood_pid
    start_relay relay
    quiet=$(field "$("$tools/bench_relay" ping "$pid" $pings 0 "$addr" "$id" "$a")" p99_us)
    for sources in 1 3000; do
        nice -n 19 "$tools/relay_flood" 1000 $((pings * 35 / 1000)) $sources "$addr" "$id" >"$dir/flood" 2>&1 &
        flood_pid=$!
        pids+=($flood_pid)
        sleep 1
        flooded=$(field "$("$tools/bench_relay" ping "$pid" $pings 0 "$addr" "$id" "$a")" p99_us)
        wait $flood_pid
        knocks=$(field "$(cat "$dir/flood")" refused_per_s)
        echo "flood, $sources sources, $knocks refused a second: control round trip p99 $flooded us, quiet $quiet us"
        verdict "$flooded <= $quiet + 2000" "p99 within 2 ms of quiet, flooded from $sources sources"
        [ $sources = 1 ] || verdict "$knocks >= 800" "the flood from $sources sources was one"
    done
    stop_relay
}

memory() {
    local empty full fds_empty fds_full began up=0 took cpu_up cpu_idle swarm t idle=10
    "$relay" init --home "$dir/many" >/dev/null
    "$tools/relay_swarm" ids "$nodes" >"$dir/many/authorized_keys"
    start_relay many --reservations $((nodes + 100))
    empty=$(rss "$pid") fds_empty=$(fds "$pid") cpu_up=$(cpu_ms "$pid") began=$(now_ms)
    # They belong elsewhere, too.
    nice -n 15 "$tools/relay_swarm" run "$nodes" $((up_limit + idle + 15)) "$addr" "$id" idle >"$dir/swarm" 2>&1 &
    swarm=$!
    pids+=($swarm)
    while [ "$up" -lt "$nodes" ] && [ $(($(now_ms) - began)) -lt $((up_limit * 1000)) ]; do
        sleep 0.2
        up=$("$relay" status --json --home "$dir/many" | sed -n 's/.*"reservations": \([0-9]*\).*/\1/p')
    done
    took=$(($(now_ms) - began)) cpu_up=$(($(cpu_ms "$pid") - cpu_up))
    sleep 5
    full=$(rss "$pid") fds_full=$(fds "$pid") cpu_idle=$(cpu_ms "$pid")
    sleep $idle
    cpu_idle=$(($(cpu_ms "$pid") - cpu_idle))
    echo "memory: $up nodes up after $((took / 1000)).$((took / 100 % 10)) s, $(calc "$up * 1000 / $took" 0) handshakes a second," \
        "$(calc "$cpu_up / ($up + 1)") ms of the relay's CPU each (that is $(calc "1000 * $up / ($cpu_up + 1)" 0) a second of one processor)"
    echo "memory: RSS $empty KiB empty, $full KiB with them; $fds_empty and $fds_full descriptors; idle CPU $(calc "$cpu_idle / $idle / 10" 1) %"
    verdict "$up >= $nodes" "all $nodes nodes are there at once"
    verdict "$up > 0 && ($full - $empty) / ($up + 0.001) <= 40" "at most 40 KiB a node: $(calc "($full - $empty) / ($up + 0.001)" 1)"
    verdict "$fds_full <= $fds_empty + 4" "no descriptors for nodes"
    for t in $(pgrep -P $swarm) $swarm; do kill "$t" 2>/dev/null || true; done
    stop_relay
}

setup() {
    local emulator loopback far delay=20
    start_relay relay
    loopback=$(field "$("$tools/bench_relay" setup "$pid" $((circuits * 3)) 0 "$addr" "$id" "$a" "$b")" setup_us)
    "$tools/link_emulator" --listen 127.0.0.1:0 --to "$addr" --delay $delay >"$dir/emulator" &
    emulator=$!
    pids+=($emulator)
    wait_for "$dir/emulator" ready
    far=$(field "$(timeout 60 "$tools/bench_relay" setup "$pid" "$circuits" 0 "$(sed 's/ready //' "$dir/emulator")" "$id" "$a" "$b")" setup_us)
    kill $emulator
    stop_relay
    echo "setup: $loopback us on loopback; $far us when both nodes are $((2 * delay)) ms from the relay"
    verdict "$far <= 2.2 * $((2 * delay)) * 1000" "a circuit is open after two round trips: $(calc "$far / 1000 / (2 * $delay)")"
}

for part in forward throughput flood memory setup; do
    ! wanted $part || $part
done
echo "# load $(cut -d' ' -f1 /proc/loadavg)"
exit $missed

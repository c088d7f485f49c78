#!/usr/bin/env bash
# Benchmarks of a release build, all over loopback, each beside its yardstick in the same run.
# Prints one table: figure, measured (median), yardstick, goal, verdict. docs/benchmarks.md explains it.
# Usage: tests/bench/run.sh [--quick] [--build DIR] [PART…]
#   --quick       smaller inputs, under 2 minutes (else under 8); the build is not counted
#   --build DIR   use the programs in DIR, build nothing
#   PART          only these: raw nar narinfo nix memory connect peers lan
cd "$(dirname "$0")/../.." || exit 1
root=$PWD
mib=1024 paths=1000 sparse=10000000000 runs=3 limit=480 hits=20000 build='' parts=()
while [ $# != 0 ]; do
    case "$1" in
    --quick) mib=256 paths=300 sparse=2000000000 limit=120 hits=5000 ;;
    --build) build=$(realpath "$2") && shift ;;
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$root/tests/bench/run.sh"; exit 0 ;;
    raw | nar | narinfo | nix | memory | connect | peers | lan) parts+=("$1") ;;
    *) echo "run.sh: unknown argument $1; see --help" >&2; exit 2 ;;
    esac
    shift
done
export PATH=$PATH:/usr/sbin:/sbin
if [ -z "$build" ]; then
    deploy/deps.sh bench || exit 1
    build=$root/build/release
    { cmake --preset release && cmake --build "$build" --target peerix bench_quic bench_link bench_http bench_connect bench_swarm link_emulator; } \
        >"$root/build/bench.log" 2>&1 || { tail -n 30 "$root/build/bench.log" >&2; exit 1; }
fi
. "$root/tests/e2e/lib.sh" "$build/peerix"
began=$SECONDS

wanted() { [ ${#parts[@]} = 0 ] || [[ " ${parts[*]} " == *" $1 "* ]]; }
step() { [ ! -t 2 ] || printf '\r\033[K[%3d s] %s' $((SECONDS - began)) "$*" >&2; }
fail() { printf '\nrun.sh: %s\n' "$*" >&2; exit 1; }
# within SECONDS COMMAND…: never longer than what is left of the whole budget.
within() {
    local left=$((limit - SECONDS + began)) most=$1
    shift
    [ "$left" -gt 1 ] || fail "the time limit of $limit s is used up"
    timeout -k 2 "$((most < left ? most : left))" "$@"
}
calc() { awk "BEGIN { printf \"%.${2:-2}f\", $1 }"; }
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
row() { printf '%-46s %11s  %-28s %-22s %s\n' "$@"; }
# verdict CONDITION: an awk expression
verdict() { awk "BEGIN { print ($1) ? \"ok\" : \"MISSED\" }"; }
note() { printf '    %s\n' "$*"; }

# ---- what the daemons use ----
cpu_ticks() { awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"; } # user + system, all threads
tick=$(getconf CLK_TCK)
status_kib() { awk -v k="$2:" '$1 == k { print $2 }' "/proc/$1/status"; }
rollup_kib() { awk -v k="$2:" '$1 == k { print $2 }' "/proc/$1/smaps_rollup"; }
mb() { calc "$1 * 1024 / 1e6" 1; }

# ---- the yardsticks ----
start_nginx() {
    local port
    mkdir -p "$T/nginx/logs"
    for port in $(shuf -i 20000-30000 -n 5); do
        cat >"$T/nginx/nginx.conf" <<CONF
$([ "$(id -u)" != 0 ] || echo "user root;")
daemon off; worker_processes 1; pid $T/nginx/pid; error_log $T/nginx/error.log;
events { worker_connections 256; }
http {
    access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 10000000;
    client_body_temp_path $T/nginx/a; proxy_temp_path $T/nginx/b; fastcgi_temp_path $T/nginx/c;
    uwsgi_temp_path $T/nginx/d; scgi_temp_path $T/nginx/e;
    server { listen 127.0.0.1:$port; root $T/www; }
}
CONF
        nginx -p "$T/nginx" -c "$T/nginx/nginx.conf" 2>"$T/nginx/stderr" &
        PIDS+=($!)
        nginx_pid=$! nginx_http=http://127.0.0.1:$port
        until_true 3 curl -sf -o /dev/null "$nginx_http/nix-cache-info" && return 0
    done
    cat "$T/nginx/stderr" >&2
    fail "nginx does not start"
}
openssl_mb() { # one second of AES-128-GCM on packets' size of block, MB/s
    openssl speed -seconds 1 -bytes 1350 -evp aes-128-gcm 2>/dev/null | awk '/^AES-128-GCM/ { sub(/k$/, "", $2); print $2 / 1000 }'
}

# ---- preparation ----
make() { in_store alice "" "" within 120 nix-build "$root/tests/bench/paths.nix" -A "$1" --no-out-link --arg n "$paths" --arg mib "$mib" --arg bytes "$sparse" 2>"$T/nix.log" | head -n 1; }
prepare() {
    step "building $paths small paths, one of $mib MiB"
    mkdir -p "$T/alice"
    top=$(make small) && [ -n "$top" ] || { tail -n 5 "$T/nix.log" >&2; fail "nix-build"; }
    big=$(make big) && [ -n "$big" ] || { tail -n 5 "$T/nix.log" >&2; fail "nix-build"; }
    in_store alice "" "" nix-store -qR "$top" >"$T/closure"
    nix-store --generate-binary-cache-key bench-1 "$T/secret" "$T/public" 2>/dev/null
    step "copying them to what nginx serves"
    in_store alice "" "" within 120 nix copy --to "file://$T/www?compression=none&secret-key=$T/secret" "$top" "$big" 2>"$T/nix.log" ||
        { tail -n 5 "$T/nix.log" >&2; fail "nix copy"; }
    start_nginx
    node_init alice && key=$(node_key alice) || fail "peerix init"
    keys="$key $(cat "$T/public")"
    start_pair alice bob --log-level info --trusted-public-key "$key" >"$T/pair.log" || { cat "$T/pair.log"; fail "the daemons do not connect"; }
}
hash_of() { basename "$1" | cut -c1-32; }
nar_url() { curl -sf "$1/$(hash_of "$2").narinfo" | sed -n "s|^URL: |$1/|p"; }

# ---- the parts ----
# raw_stream LABEL COMMAND…: sets raw_mb
raw_stream() {
    local i line label=$1 mbps=() cpus=() aes=() ratio cpu
    shift
    for i in $(seq "$runs"); do
        step "raw stream, $label, run $i"
        aes+=("$(openssl_mb)")
        line=$(within 60 "$@" | grep -m 1 'MB/s') || { note "$label failed"; return 1; }
        mbps+=("$(sed 's/\([0-9.]*\) MB\/s.*/\1/; s/.* //' <<<"$line")")
        cpus+=("$(sed 's/ CPU s\/GiB.*//; s/.* //' <<<"$line")")
    done
    raw_mb=$(printf '%s\n' "${mbps[@]}" | median)
    aes_mb=$(printf '%s\n' "${aes[@]}" | median)
    ratio=$(calc "$raw_mb / $aes_mb")
    cpu=$(printf '%s\n' "${cpus[@]}" | median)
    row "$label: one stream of $mib MiB, MB/s" "$raw_mb" "$ratio x openssl's $(calc "$aes_mb" 0)" "1000 or 0.45 x openssl" "$(verdict "$raw_mb >= 1000 || $ratio >= 0.45")"
    row "    CPU s/GiB, both ends" "$cpu" "" "<= 1.9" "$(verdict "$cpu <= 1.9")"
}
# With packets of 1452 bytes, as on Ethernet (the yardstick encrypts 1350), and with what loopback carries.
bench_raw() {
    raw_stream "bench_quic, 1452-byte packets" "$build/tests/bench_quic" "$mib" payload=1452 || return 1
    raw_stream "bench_link, 1452-byte packets" "$build/tests/bench_link" "$mib" 1452 || return 1
    raw_ethernet_mb=$raw_mb
    raw_stream "bench_link, 8952-byte packets" "$build/tests/bench_link" "$mib"
}

# nar_through URL: sets nar_mb, and CPU seconds per GiB of alice and bob
nar_through() {
    local a b speed
    a=$(cpu_ticks "$alice_pid") b=$(cpu_ticks "$bob_pid")
    speed=$(within 60 curl -sf -o /dev/null -w '%{speed_download} %{size_download}' "$1") || return 1
    read -r nar_mb nar_bytes <<<"$speed"
    nar_mb=$(calc "$nar_mb / 1e6" 0)
    nar_alice=$(calc "($(cpu_ticks "$alice_pid") - $a) / $tick / ($nar_bytes / 1073741824)")
    nar_bob=$(calc "($(cpu_ticks "$bob_pid") - $b) / $tick / ($nar_bytes / 1073741824)")
}
bench_nar() {
    local i url theirs ours=() plain=() a=() b=() mb against=''
    url=$(nar_url "$bob_http" "$big") theirs=$(nar_url "$nginx_http" "$big")
    [ -n "$url" ] || { note "no narinfo for the big path"; return 1; }
    for i in $(seq "$runs"); do
        step "NAR to curl, run $i"
        nar_through "$url" || { note "curl failed with code $?"; return 1; }
        ours+=("$nar_mb") a+=("$nar_alice") b+=("$nar_bob")
        nar_through "$theirs" || { note "nginx failed"; return 1; }
        plain+=("$nar_mb")
    done
    mb=$(printf '%s\n' "${ours[@]}" | median)
    [ -z "${raw_mb:-}" ] || against="$(calc "$mb / $raw_mb") x bench_link, 8952"
    row "NAR of $mib MiB, daemon to daemon to curl, MB/s" "$mb" "$against" "0.5 x raw stream" "$([ -z "$against" ] || verdict "$mb >= 0.5 * $raw_mb")"
    [ -z "${raw_mb:-}" ] || row "    the same figure against packets of 1452 bytes" "" "$(calc "$mb / $raw_ethernet_mb") x bench_link, 1452" # unlike packets: no verdict
    row "    CPU s/GiB, serving daemon" "$(printf '%s\n' "${a[@]}" | median)"
    row "    CPU s/GiB, fetching daemon" "$(printf '%s\n' "${b[@]}" | median)"
    row "    nginx to curl, no encryption, MB/s" "$(printf '%s\n' "${plain[@]}" | median)"
}

# http_load URL CONNECTIONS REQUESTS NOT-200: sets rps, p50 and p99 (ms) as medians over the runs
http_load() {
    local i line r=() a=() b=()
    for i in $(seq "$runs"); do
        line=$(within 40 "$build/tests/bench_http" -c "$2" -n "$3" -d 30 "${1#http://}" "@$T/paths" 2>&1)
        [[ "$line" == *" not_200=$4 "*" lost=0"* ]] || { note "$line"; return 1; }
        r+=("$(sed -n 's/.* rps=\([0-9.]*\).*/\1/p' <<<"$line")")
        a+=("$(sed -n 's/.*p50_us=\([0-9.]*\).*/\1/p' <<<"$line")")
        b+=("$(sed -n 's/.*p99_us=\([0-9.]*\).*/\1/p' <<<"$line")")
    done
    rps=$(calc "$(printf '%s\n' "${r[@]}" | median)" 0)
    p50=$(calc "$(printf '%s\n' "${a[@]}" | median) / 1000")
    p99=$(calc "$(printf '%s\n' "${b[@]}" | median) / 1000")
}
bench_narinfo() {
    local n50 nrps
    sed 's|.*/\([a-z0-9]\{32\}\)-.*|/\1.narinfo|' "$T/closure" >"$T/paths"
    step "narinfo, one connection"
    http_load "$nginx_http" 1 "$hits" 0 && n50=$p50 || return 1
    http_load "$bob_http" 1 "$((hits / 4))" 0 || return 1
    row "narinfo from a peer, 1 connection, p50 ms" "$p50" "nginx static $n50" "<= 0.4" "$(verdict "$p50 <= 0.4")"
    row "    p99 ms" "$p99"
    step "narinfo, 16 connections"
    http_load "$nginx_http" 16 "$((hits * 5))" 0 && nrps=$rps || return 1
    http_load "$bob_http" 16 "$((hits * 2))" 0 || return 1
    row "    16 connections, requests/s" "$rps" "nginx static $nrps" ">= 10000" "$(verdict "$rps >= 10000")"
    row "    p50 / p99 ms" "$p50 / $p99"
    step "misses without a peer"
    node_init dave && node_start dave --log-level info || return 1
    for _ in $(seq 100); do head -c 32 /dev/urandom | sha256sum | tr -dc '0-9a-d' | cut -c1-32; done |
        awk 'length == 32 { print "/" $0 ".narinfo" }' >"$T/paths"
    http_load "$dave_http" 1 "$hits" "$hits" || return 1
    row "miss with no peer connected, p99 ms" "$p99" "" "<= 1" "$(verdict "$p99 <= 1")"
    row "    p50 ms / requests/s" "$p50 / $rps"
    node_stop dave
}

now() { date +%s.%N; }
# nix_fetch NAME SUBSTITUTER PATH: seconds that real nix takes into an empty store; sets took. Nix keeps
# narinfos as long as it does by default: the end-to-end tests turn that off, and nix asks thrice.
nix_fetch() {
    local t
    mkdir -p "$T/$1"
    t=$(now)
    NARINFO_TTL=2592000 in_store "$1" "$2" "$keys" within 90 nix-store -r "$3" >"$T/nix.log" 2>&1 || { tail -n 5 "$T/nix.log" >&2; return 1; }
    took=$(calc "$(now) - $t" 3)
    chmod -R u+w "$T/$1" && rm -rf "${T:?}/$1"
}
bench_nix() {
    local i what path ours theirs o n
    for what in "$paths small paths" "one path of $mib MiB"; do
        path=$top && [ "$what" = "$paths small paths" ] || path=$big
        ours=() theirs=()
        for i in $(seq "$runs"); do
            step "nix-store -r of $what, run $i"
            nix_fetch "carol$i" "$nginx_http" "$path" && theirs+=("$took") || return 1
            nix_fetch "erin$i" "$bob_http" "$path" && ours+=("$took") || return 1
        done
        o=$(printf '%s\n' "${ours[@]}" | median) n=$(printf '%s\n' "${theirs[@]}" | median)
        row "nix-store -r, $what, s" "$(calc "$o")" "$(calc "$o / $n") x nginx's $(calc "$n")" "<= 1.3 x nginx" "$(verdict "$o <= 1.3 * $n")"
    done
}

idle_rows() {
    local who pid
    for who in alice bob; do
        pid=${who}_pid && pid=${!pid}
        row "idle, one peer, RSS / Pss / RssAnon MB ($who)" "$(mb "$(rollup_kib "$pid" Rss)") / $(mb "$(rollup_kib "$pid" Pss)") / $(mb "$(status_kib "$pid" RssAnon)")"
    done
}
bench_memory() {
    local url who pid peak
    step "building a sparse path of $sparse bytes"
    path=$(make sparse) && [ -n "$path" ] || { note "nix-build failed"; return 1; }
    url=$(nar_url "$bob_http" "$path")
    for pid in "$alice_pid" "$bob_pid"; do echo 5 >"/proc/$pid/clear_refs"; done # VmHWM starts anew
    step "its NAR to curl"
    nar_through "$url" || { note "curl failed"; return 1; }
    [ "$nar_bytes" -gt "$sparse" ] || { note "only $nar_bytes bytes came"; return 1; }
    for who in alice bob; do
        pid=${who}_pid && pid=${!pid}
        peak=$(mb "$(status_kib "$pid" VmHWM)")
        row "peak RSS while $(calc "$sparse / 1e9" 0) GB pass, MB ($([ $who = alice ] && echo serving || echo fetching))" "$peak" "" "<= 25" "$(verdict "$peak <= 25")"
    done
    row "    MB/s of that transfer" "$nar_mb"
}

# One dial after another over an emulated link of 40 ms, in units of that link's own round trip.
bench_connect() {
    local id addr via fields secured first
    mkfifo "$T/listen.in" "$T/emulator.out" || return 1
    "$build/tests/bench_connect" listen <"$T/listen.in" >"$T/listen.out" &
    PIDS+=($!)
    exec 7>"$T/listen.in"
    until_true 5 grep -q . "$T/listen.out" && read -r id addr <"$T/listen.out" || return 1
    "$build/tests/link_emulator" --listen 127.0.0.1:0 --to "$addr" --delay 20 >"$T/emulator.out" &
    PIDS+=($!)
    read -r _ via <"$T/emulator.out" || return 1
    step "dialling over 40 ms"
    within 30 "$build/tests/bench_connect" dial "$id" "$via" 9 >"$T/connect" || { exec 7>&-; return 1; }
    exec 7>&-
    fields=$(tr '=' ' ' <"$T/connect")
    secured=$(awk '{ print $2 / $6 }' <<<"$fields" | median) first=$(awk '{ print $4 / $6 }' <<<"$fields" | median)
    row "link secured after a dial, RTT of 40 ms" "$(calc "$secured")" "" "2 RTT" "$(verdict "$secured < 2.25")"
    row "first response after a dial, RTT" "$(calc "$first")" "" "3 RTT" "$(verdict "$first < 3.25")"
}

# A daemon of its own: idle without a peer, then with 200.
bench_peers() {
    local many=200 before rss anon anon_many ticks cpu swarm
    node_init frank || return 1
    node_start frank --log-level info || return 1
    sleep 2
    anon=$(mb "$(status_kib "$frank_pid" RssAnon)")
    row "idle without peers, RssAnon MB" "$anon" "" "<= 6" "$(verdict "$anon <= 6")"
    row "    RSS / Pss MB" "$(mb "$(rollup_kib "$frank_pid" Rss)") / $(mb "$(rollup_kib "$frank_pid" Pss)")"
    before=$(status_kib "$frank_pid" RssAnon)
    "$build/tests/bench_swarm" keys $many 7 >>"$T/frank/home/authorized_keys"
    sleep 1
    mkfifo "$T/swarm.in" || return 1
    "$build/tests/bench_swarm" dial $many 7 "$(node_id frank)" "$frank_overlay" <"$T/swarm.in" >"$T/swarm.out" 2>"$T/swarm.err" &
    swarm=$!
    PIDS+=($swarm)
    exec 8>"$T/swarm.in"
    step "$many peers connect"
    until_true 20 grep -q "connected $many" "$T/swarm.out" || { exec 8>&-; cat "$T/swarm.err"; return 1; }
    ticks=$(cpu_ticks "$frank_pid")
    sleep 20
    cpu=$(calc "($(cpu_ticks "$frank_pid") - $ticks) / $tick * 3" 3)
    kill -0 $swarm 2>/dev/null || { exec 8>&-; cat "$T/swarm.err"; return 1; }
    anon_many=$(status_kib "$frank_pid" RssAnon) rss=$(mb "$(rollup_kib "$frank_pid" Rss)")
    row "idle with $many connected peers, RssAnon / RSS MB" "$(mb "$anon_many") / $rss"
    row "    KiB a peer / CPU s a minute" "$(calc "($anon_many - $before) / $many" 1) / $cpu"
    exec 8>&-
    wait $swarm
    node_stop frank
}

bench_lan() { # what looking for peers on the link costs a node at rest
    local out cpu without anon
    step "lan: a node at rest"
    out=$(within 120 tests/bench/lan_idle.sh "$PEERIX" 100 $((limit > 200 ? 60 : 20))) || { printf '%s\n' "$out" >&2; return 1; }
    if grep -q '^skip' <<<"$out"; then note "lan: $out"; return 0; fi
    read -r cpu without <<<"$(awk '/CPU s/ { print $3, $NF }' <<<"$out")"
    anon=$(awk '/RssAnon/ { print $4 }' <<<"$out")
    row "idle, 100 absent peers looked for, CPU s a minute" "$cpu" "without looking: $without" "0.05" "$(verdict "$cpu <= 0.05")"
    row "    RssAnon MiB with multicast and DNS-SD" "$anon" "" "6" "$(verdict "$anon <= 6")"
}

# ---- the table ----
for part in raw nar narinfo nix memory; do
    if wanted $part; then prepare && break; fi
done
step ''
echo "commit $(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo unknown), $(date -u +%F), $(nproc) x $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), Linux $(uname -r), load $(cut -d' ' -f1 /proc/loadavg) before"
row figure "median of $runs" yardstick goal verdict
[ -z "${alice_pid:-}" ] || ! wanted memory || idle_rows
rc=0
for part in raw nar narinfo nix memory connect peers lan; do
    wanted $part || continue
    bench_$part || { row "$part" "-" "" "" "FAILED"; rc=1; }
    step ''
done
echo "took $((SECONDS - began)) s, load $(cut -d' ' -f1 /proc/loadavg) after"
exit $rc

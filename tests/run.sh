#!/usr/bin/env bash
# Installs what the tests need, builds, runs them, and ends with `N passed, N failed`.
# Usage: tests/run.sh [--full] [--list] [NAME…]
#   (none)   the CI tier: under 15 minutes on 2 cores
#   --full   also long fuzzing, both compilers for everything, big inputs, more seeds, soak, matrices
#   --list   prints the names of the parts and ends
#   NAME…    only these parts, e.g. `tests/run.sh unit e2e_two_nodes`
set -uo pipefail
cd "$(dirname "$0")/.."

full=0 list=0 names=()
for arg in "$@"; do
    case "$arg" in
    --full) full=1 ;;
    --list) list=1 ;;
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "run.sh: unknown option $arg; see --help" >&2; exit 2 ;;
    *) names+=("$arg") ;;
    esac
done
fuzz_seconds=3 unit_seconds=120
if [ "$full" = 1 ]; then
    fuzz_seconds=60 unit_seconds=600
    export PX_TEST_BIG=1 PX_SIM_SEEDS=10
fi

passed=0 failed=0 skipped=0
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
started=$SECONDS

wanted() {
    [ ${#names[@]} = 0 ] && return 0
    local n
    for n in "${names[@]}"; do [ "$n" = "$1" ] && return 0; done
    return 1
}

# run_part NAME SECONDS COMMAND…: a command that prints `ok - `, `not ok - ` and `skip - ` lines.
run_part() {
    local name=$1 limit=$2 t=$SECONDS
    shift 2
    timeout -k 10 "$limit" "$@" >"$logs/$name" 2>&1 </dev/null
    echo "$? $limit $((SECONDS - t))" >"$logs/$name.end"
}

# count_part NAME: counts those lines. A command that failed without such a line, or said nothing, is
# one failure.
count_part() {
    local name=$1 out=$logs/$1 rc limit took ok bad skip
    read -r rc limit took <"$out.end"
    ok=$(grep -c '^ok - ' "$out")
    bad=$(grep -c '^not ok - ' "$out")
    skip=$(grep -c '^skip - ' "$out")
    if { [ "$rc" != 0 ] && [ "$bad" = 0 ]; } || [ $((ok + bad + skip)) = 0 ]; then
        bad=$((bad + 1))
        echo "not ok - $name (exit code $rc$([ "$rc" = 124 ] && echo ", time limit of $limit s"))" >>"$out"
    fi
    passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
    printf '%-28s %4d ok %3d failed %3d skipped %4d s\n' "$name" "$ok" "$bad" "$skip" "$took"
    grep '^skip - ' "$out" | sed 's/^/    /'
    if [ "$bad" != 0 ]; then
        grep '^not ok - ' "$out" | sed 's/^/    /'
        echo "    --- end of its output ---"
        tail -n 60 "$out" | sed 's/^/    /'
    fi
}

part() {
    if [ "$list" = 1 ]; then echo "$1"; return; fi
    run_part "$@"
    count_part "$1"
}

# The same, as many at once as there are cores: for parts that measure no time. Ends with `together`.
waiting=()
part_beside() {
    if [ "$list" = 1 ]; then echo "$1"; return; fi
    while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n; done
    count_ended
    run_part "$@" &
    waiting+=("$1")
}
count_ended() {
    local name left=()
    for name in "${waiting[@]}"; do
        if [ -e "$logs/$name.end" ]; then count_part "$name"; else left+=("$name"); fi
    done
    waiting=("${left[@]}")
}
together() {
    wait
    count_ended
    [ ${#waiting[@]} = 0 ] || { echo "not ok - never ended: ${waiting[*]}"; failed=$((failed + ${#waiting[@]})); waiting=(); }
}
# A script says so itself when it measures times, or fills the machine.
runs_alone() { grep -q '^# Runs alone' "$1"; }

# build PRESET [TARGET…]
build() {
    local preset=$1 t=$SECONDS
    shift
    if cmake --preset "$preset" >"$logs/cmake-$preset" 2>&1 &&
        cmake --build "build/$preset" ${1:+--target "$@"} >>"$logs/cmake-$preset" 2>&1; then
        printf 'built %-22s %36d s\n' "$preset" $((SECONDS - t))
        return 0
    fi
    echo "not ok - the $preset build"
    tail -n 60 "$logs/cmake-$preset" | sed 's/^/    /'
    return 1
}

finish() {
    printf 'took %d s\n' $((SECONDS - started))
    if [ "$skipped" = 0 ]; then
        echo "$passed passed, $failed failed"
    else
        echo "$passed passed, $failed failed, $skipped skipped"
    fi
    [ "$failed" = 0 ] && [ "$passed" != 0 ]
    exit
}

unit_programs() { find "build/$1/tests" -maxdepth 1 -type f -name 'test_*' -perm -u+x | sort; }

if [ "$list" = 0 ]; then
    deploy/deps.sh test || { echo "0 passed, 1 failed"; exit 1; }
    build asan && build release peerix peerix-relay tools && build fuzz fuzzers ||
        { failed=$((failed + 1)); finish; }
    [ "$full" = 0 ] || build clang || failed=$((failed + 1))
fi
export PX_ASAN=$PWD/build/asan PX_RELEASE=$PWD/build/release
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1

for script in tests/checks/*.sh; do
    name=$(basename "$script" .sh)
    if wanted checks || wanted "$name"; then part "$name" 60 "$script"; fi
done
for program in $(unit_programs asan 2>/dev/null); do
    name=$(basename "$program")
    if wanted unit || wanted "$name"; then part_beside "$name" $unit_seconds "$program"; fi
done
together
if [ "$full" = 1 ]; then
    for program in $(unit_programs clang 2>/dev/null); do
        name=$(basename "$program")
        if wanted unit || wanted "$name"; then part "clang_$name" $unit_seconds "$program"; fi
    done
fi
for fuzzer in $(find build/fuzz/tests -maxdepth 1 -type f -name 'fuzz_*' -perm -u+x 2>/dev/null | sort); do
    name=$(basename "$fuzzer")
    if wanted fuzz || wanted "$name"; then part_beside "$name" $((fuzz_seconds + 60)) tests/fuzz/run.sh "$fuzzer" "$fuzz_seconds"; fi
done
together
alone=()
for script in tests/cli/*.sh tests/e2e/e2e_*.sh; do
    [ -x "$script" ] || continue
    name=$(basename "$script" .sh)
    wanted e2e || wanted "$name" || continue
    if runs_alone "$script"; then alone+=("$script"); else part_beside "$name" 300 "$script" "$PX_ASAN/peerix"; fi
done
together
for script in "${alone[@]}"; do part "$(basename "$script" .sh)" 300 "$script" "$PX_ASAN/peerix"; done
if [ "$full" = 1 ]; then
    for script in tests/e2e/full_*.sh; do
        name=$(basename "$script" .sh)
        if wanted e2e || wanted "$name"; then part "$name" 900 "$script" "$PX_ASAN/peerix"; fi
    done
fi
[ "$list" = 1 ] && exit 0
finish

#!/usr/bin/env bash
# Runs one fuzzer for some seconds over its committed corpus; new inputs go to a temporary place.
# Usage: tests/fuzz/run.sh FUZZER SECONDS
set -uo pipefail
fuzzer=$1 seconds=$2
name=$(basename "$fuzzer")
corpus=$(dirname "$0")/corpus/${name#fuzz_}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/new"
if [ -z "$(ls -A "$corpus" 2>/dev/null)" ]; then
    echo "not ok - $name (no corpus in $corpus)"
    exit 1
fi
if "$fuzzer" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -artifact_prefix="$work/" \
    "$work/new" "$corpus" >"$work/log" 2>&1; then
    runs=$(sed -n 's/^Done \([0-9]*\) runs.*/\1/p' "$work/log")
    echo "ok - $name (${runs:-?} runs)"
else
    tail -n 40 "$work/log"
    for f in "$work"/crash-* "$work"/oom-* "$work"/timeout-* "$work"/leak-*; do
        [ -f "$f" ] && { echo "input $(basename "$f"):"; base64 "$f" | head -20; }
    done
    echo "not ok - $name"
    exit 1
fi

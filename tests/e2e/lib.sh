# Shared by the end-to-end tests: nodes, stores and real nix, all in one temporary directory.
# Source it with the peerix binary in $1. Nothing outside the directory is touched; only processes
# started here are ended, by pid.
set -uo pipefail
PEERIX=$(realpath "${1:?usage: $0 PATH-OF-PEERIX}")
BIN=$(dirname "$PEERIX")
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PX_RELEASE=${PX_RELEASE:-$(cd "$HERE/../.." && pwd)/build/release} # for what moves much
T=$(mktemp -d "${TMPDIR:-/tmp}/peerix-e2e.XXXXXX")
PIDS=()
FAILED=0

cleanup() {
    local pid
    for pid in "${PIDS[@]}"; do kill -CONT "$pid" 2>/dev/null; kill "$pid" 2>/dev/null; done
    for pid in "${PIDS[@]}"; do
        for _ in $(seq 60); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
        kill -9 "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    done
    chmod -R u+w "$T" 2>/dev/null
    rm -rf "$T"
}
trap cleanup EXIT

ok() { echo "ok - $(basename "$0" .sh): $1"; }
not_ok() { # NAME [FILE…]
    echo "not ok - $(basename "$0" .sh): $1"
    FAILED=1
    shift
    local f
    for f in "$@"; do echo "--- $f"; tail -n 25 "$f"; done
}
# check NAME COMMAND…: one verdict; the command's output is shown only when it fails.
check() {
    local name=$1
    shift
    if "$@" >"$T/check.out" 2>&1; then ok "$name"; else not_ok "$name" "$T/check.out"; fi
}
# run EXIT-CODE COMMAND…: its output goes to $T/run.out, where `says TEXT` looks
run() {
    local want=$1 got
    shift
    "$@" >"$T/run.out" 2>&1 </dev/null
    got=$?
    [ "$got" = "$want" ] && return 0
    echo "exit code $got, not $want:"
    cat "$T/run.out"
    return 1
}
says() { grep -qF -- "$1" "$T/run.out"; }
skip() { echo "skip - $(basename "$0" .sh): $1"; }
finish() { exit "$FAILED"; }

# until SECONDS COMMAND…: polls a condition with a deadline.
until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@" 2>/dev/null; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.05
    done
}

# ---- real nix ----
# A store lives in $T/<name>/root. Builds run in nix's own sandbox with the system's shell.
store_uri() { echo "local?root=$T/$1/root"; }
nix_env() { # NAME [SUBSTITUTERS [TRUSTED-KEYS]]: prints NIX_CONFIG
    cat <<CONF
build-users-group =
sandbox = true
sandbox-paths = /bin /usr/bin /lib /lib64 /usr/lib
substituters = ${2:-}
trusted-substituters = ${2:-}
trusted-public-keys = ${3:-}
require-sigs = true
connect-timeout = 5
narinfo-cache-negative-ttl = 0
narinfo-cache-positive-ttl = ${NARINFO_TTL:-0}
experimental-features = nix-command
CONF
}
# in_store NAME SUBSTITUTERS KEYS COMMAND…: a nix command on a store of ours.
in_store() {
    local name=$1 conf
    conf=$(nix_env "$1" "$2" "$3")
    shift 3
    mkdir -p "$T/$name/nix-home" "$T/$name/conf"
    NIX_CONFIG=$conf NIX_CONF_DIR=$T/$name/conf NIX_REMOTE=$(store_uri "$name") \
        HOME=$T/$name/nix-home XDG_CACHE_HOME=$T/$name/nix-home/.cache NIX_PATH= \
        "$@"
}
# build NAME FILE [ARGS]: prints the path; nix's own output only when it fails
build() {
    in_store "$1" "" "" nix-build "$2" --no-out-link "${@:3}" 2>"$T/build.out" || { tail -n 20 "$T/build.out" >&2; return 1; }
}
# good_cache STORE PATH: a binary cache in $T/cache that nix asks after ours, signed by the key of the node STORE.
good_cache() {
    in_store "$1" "" "" nix store sign -r -k "$T/$1/home/nix-key.sec" "$2" 2>/dev/null
    in_store "$1" "" "" nix copy --to "file://$T/cache?compression=none" "$2" 2>/dev/null || return 1
    echo 'Priority: 40' >>"$T/cache/nix-cache-info" # without the line it is 0, before everything
}
forget_cache() { rm -rf "$T/$1/nix-home/.cache"; }
dump_sum() { in_store "$1" "" "" nix-store --dump "$T/$1/root$2" | sha256sum; }

# ---- nodes ----
# node_init NAME: a home with keys; node_trust A B [ADDR] [GRANTS]: A lists B.
node_init() { [ -e "$T/$1/home/identity.pem" ] || "$PEERIX" init --home "$T/$1/home" --non-interactive >"$T/$1.init" 2>&1 || return 1; }
node_id() { "$PEERIX" whoami --home "$T/$1/home"; }
node_key() { "$PEERIX" nix-key --home "$T/$1/home"; }
node_trust() {
    local args=(--home "$T/$1/home" "$(node_id "$2")" --name "$2")
    [ -z "${3:-}" ] || args+=(--addr "$3")
    [ -z "${4:-}" ] || args+=(--grant "$4")
    "$PEERIX" auth add "${args[@]}" >/dev/null
}
# node_start NAME [DAEMON-OPTIONS]: starts and waits for `ready`; sets NODE_PID, and HTTP/OVERLAY
# of the node in variables <NAME>_http, <NAME>_overlay.
node_start() {
    local name=$1 line
    shift
    in_store "$name" "" "" nix-store --init # a store without a database is none
    "${NODE_WRAP[@]}" "$PEERIX" daemon --home "$T/$name/home" --listen 127.0.0.1:0 --http 127.0.0.1:0 \
        --store "$(store_uri "$name")" --nix-conf "" --log-level debug "$@" >>"$T/$name.log" 2>&1 &
    NODE_PID=$!
    PIDS+=("$NODE_PID")
    until_true 15 grep -q 'event=ready' "$T/$name.log" || {
        echo "node $name did not get ready"
        tail -n 30 "$T/$name.log"
        return 1
    }
    line=$(grep 'event=ready' "$T/$name.log" | tail -1)
    printf -v "${name}_overlay" '%s' "$(sed 's/.* overlay=\([^ ]*\).*/\1/' <<<"$line")"
    printf -v "${name}_http" 'http://%s' "$(sed 's/.* http=\([^ ]*\).*/\1/' <<<"$line")"
    printf -v "${name}_pid" '%s' "$NODE_PID"
}
NODE_WRAP=()
node_stop() { # NAME: by SIGTERM, as a service manager would
    local pid="${1}_pid"
    kill "${!pid}" && wait "${!pid}"
}
connected() { grep -q "event=peer.connected .*name=$2 " "$T/$1.log"; }
# pair SERVER CLIENT: both list each other; the client dials. Both started by this.
start_pair() {
    node_init "$1" && node_init "$2" || return 1
    node_trust "$1" "$2" || return 1
    node_start "$1" || return 1
    local overlay="${1}_overlay"
    node_trust "$2" "$1" "${!overlay}" || return 1
    node_start "$2" "${@:3}" || return 1
    until_true 10 connected "$2" "$1" || { echo "not connected"; tail -n 20 "$T/$1.log" "$T/$2.log"; return 1; }
}

#!/usr/bin/env bash
# From a fresh checkout to a running node: installs what is missing, builds, starts the daemon.
# Usage: deploy/quickstart.sh [--home DIR | --system] [options of `peerix daemon`…]
#        deploy/quickstart.sh --demo
#   (none)   starts `peerix daemon` in the foreground with its defaults
#   --demo   two nodes and two stores in a temporary directory: builds a path in one, has nix fetch it into
#            the other through the overlay, and cleans up
set -euo pipefail
from=$PWD # file names in options are meant from here
fail() { printf 'quickstart: %s\n' "$*" >&2; exit 1; }

demo=0 home=() options=()
while [ $# -gt 0 ]; do
    case "$1" in
    --demo) demo=1 ;;
    -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --home)
        [ $# -ge 2 ] || fail "--home needs a directory"
        home=(--home "$(realpath -m "$2")")
        shift
        ;;
    --home=*) home=(--home "$(realpath -m "${1#*=}")") ;;
    --system) home=(--system) ;;
    *) options+=("$1") ;;
    esac
    shift
done
[ "$demo" = 0 ] || [ $((${#home[@]} + ${#options[@]})) = 0 ] || fail "--demo takes no other options"
cd "$(dirname "$0")/.."
[ -w . ] || fail "$PWD is not yours to write; the build needs a checkout of your own"

bold='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$(printf '\033[1m') plain=$(printf '\033[0m'); fi
step() { printf '%s==> %s%s\n' "$bold" "$*" "$plain"; }

step "dependencies"
deploy/deps.sh run
if [ "$demo" = 1 ] && ! command -v nix-store >/dev/null; then
    step "nix (the demo drives a real one)"
    deploy/deps.sh demo
fi
step "building"
configure() { cmake "$@" --preset release -DPX_TESTS=OFF; }
{ { configure || configure --fresh; } && cmake --build build/release; } >build.log 2>&1 ||
    { tail -n 30 build.log >&2; fail "the build failed; all of its output is in build.log"; }
rm -f build.log
peerix=$PWD/build/release/peerix

# ---- a node ----
# What to do next, from the daemon's ready line in either log format.
next_steps() {
    local http
    http=$(sed 's/.*[ "]http"\{0,1\}[=:] *"\{0,1\}\([^ ",}]*\).*/\1/' <<<"$1")
    cat <<TEXT

  ${bold}peer ID       $id$plain
  substituter   http://$http
  next step     in another terminal here, for a code:
                    $peerix invite${home:+ ${home[*]}}
                on the other machine, once it has a node:
                    peerix join CODE
                Both then print the lines that nix.conf needs. By hand: README.md

TEXT
}
# Passes the daemon's log on and says in plain words what its start came to. Ctrl-C is for the daemon,
# which still logs its end.
tell() {
    local line
    trap '' INT TERM HUP
    while IFS= read -r line; do
        printf '%s\n' "$line" >&2
        case "$line" in
        *[\ \"]event[=\"]*ready[\ \"]*) next_steps "$line" ;;
        *daemon.failed*part[=\"]*listen* | *daemon.failed*part[=\"]*http*)
            say "the address is taken. If a peerix daemon runs already there is nothing to start: it takes" \
                "up \`auth add\` by itself. For a second one:" \
                "$0 --home DIR --listen '[::]:0' --http 127.0.0.1:0"
            ;;
        *daemon.failed*part[=\"]*store*)
            say "no Nix store could be read here. On Debian \`$(dirname "$0")/deps.sh demo\` installs nix; a store" \
                "elsewhere is named by --store, see docs/store.md"
            ;;
        esac
    done
}
say() { printf 'quickstart: %s\n' "$*" >&2; }
if [ "$demo" = 0 ]; then
    cd "$from"
    step "keys and configuration"
    "$peerix" init "${home[@]}" --non-interactive | sed -n '/^created/s/^/    /p'
    id=$("$peerix" whoami "${home[@]}")
    step "starting the daemon (Ctrl-C ends it)"
    exec "$peerix" daemon "${home[@]}" "${options[@]}" 2> >(tell)
fi

# ---- the demo ----
work=$(mktemp -d "${TMPDIR:-/tmp}/peerix-demo.XXXXXX")
pids=()
cleanup() {
    local pid
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    chmod -R u+w "$work" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
mib=${PEERIX_DEMO_MIB:-256}

# Two stores with one store directory. nix builds into a store that is not where its paths say only with a
# sandbox; where that is not to be had, as in most containers, the first store is where they say.
sandbox=true
uri() { # STORE
    case "$sandbox:$1" in
    true:*) echo "local?root=$work/$1/root" ;;
    false:one) echo "local?store=$work/store&state=$work/$1/state" ;;
    false:two) echo "local?store=$work/store&real=$work/two/store&state=$work/$1/state" ;;
    esac
}
files() { # STORE PATH: where they are
    case "$sandbox:$1" in
    true:*) echo "$work/$1/root$2" ;;
    false:one) echo "$2" ;;
    false:two) echo "$work/two/store/${2##*/}" ;;
    esac
}
nix_on() { # STORE SUBSTITUTER KEY COMMAND…
    local store=$1 from=$2 key=$3 dir=/nix/store
    shift 3
    mkdir -p "$work/$store/home" "$work/$store/root/nix/store"
    [ "$sandbox" = true ] || dir=$work/store
    env NIX_STORE_DIR="$dir" NIX_LOG_DIR="$work/$store/log" NIX_REMOTE="$(uri "$store")" HOME="$work/$store/home" \
        NIX_CONF_DIR="$work/$store/home" NIX_PATH= NIX_CONFIG="build-users-group =
sandbox = $sandbox
sandbox-paths = /bin /usr/bin /lib $([ -d /lib64 ] && echo /lib64) /usr/lib
substituters = $from
trusted-public-keys = $key
require-sigs = true" "$@"
}
node() { # NAME
    nix_on "$1" "" "" nix-store --init
    "$peerix" init --home "$work/$1/peerix" --non-interactive >/dev/null
}
start() { # NAME DAEMON-OPTIONS…
    local name=$1
    shift
    "$peerix" daemon --home "$work/$name/peerix" --listen 127.0.0.1:0 --http 127.0.0.1:0 \
        --store "$(uri "$name")" --nix-conf "" "$@" 2>"$work/$name.log" &
    pids+=($!)
    wait_for "$work/$name.log" 'event=ready'
}
wait_for() { # FILE PATTERN
    local end=$((SECONDS + 15))
    until grep -q "$2" "$1" 2>/dev/null; do
        [ $SECONDS -lt $end ] || { tail -n 20 "$1" >&2; fail "waited 15 s for '$2'"; }
        sleep 0.05
    done
}
field() { grep "event=$2 " "$work/$1.log" | tail -1 | sed "s/.* $3=\([^ ]*\).*/\1/"; }
now() { date +%s.%N; }

step "building a path of $mib MiB with 20 references in the first store"
cat >"$work/demo.nix" <<'NIX'
{ mib }:
let sh = name: deps: script: derivation {
      inherit name deps; system = builtins.currentSystem; builder = "/bin/sh";
      PATH = "/bin:/usr/bin"; args = [ "-c" script ];
    };
    leaf = i: sh "leaf-${toString i}" [ ] "echo ${toString i} > $out";
in sh "demo" (builtins.genList leaf 20)
  "mkdir $out; echo $deps > $out/deps; head -c $((${mib} * 1048576)) /dev/urandom > $out/data"
NIX
build() { nix_on one "" "" nix-build "$work/demo.nix" --argstr mib "$mib" --no-out-link 2>"$work/build.log"; }
path=$(build) || { sandbox=false && path=$(build) && echo "    (without a sandbox: this machine does not allow one)"; } ||
    { tail -n 20 "$work/build.log" >&2; fail "nix could not build the demo path"; }
echo "    $path"

step "starting two nodes that list each other"
node one
node two
key=$("$peerix" nix-key --home "$work/one/peerix")
"$peerix" auth add --home "$work/one/peerix" "$("$peerix" whoami --home "$work/two/peerix")" --name two >/dev/null
start one
"$peerix" auth add --home "$work/two/peerix" "$("$peerix" whoami --home "$work/one/peerix")" --name one \
    --addr "$(field one ready overlay)" >/dev/null
start two --trusted-public-key "$key"
wait_for "$work/two.log" 'event=peer.connected'
echo "    one  $(field one ready peer)  at $(field one ready overlay)"
echo "    two  $(field two ready peer)  serves nix at http://$(field two ready http)"
echo "    connected: round trip $(field two peer.connected rtt_us) µs"

step "nix fetches it into the second store, signatures required"
began=$(now)
nix_on two "http://$(field two ready http)" "$key" nix-store -r "$path" 2>&1 | sed 's/^/    /' ||
    { tail -n 20 "$work"/*.log >&2; fail "nix could not fetch the path"; }
took=$(awk -v a="$began" -v b="$(now)" 'BEGIN{printf "%.2f", b - a}')
one_sum=$(nix_on one "" "" nix-store --dump "$(files one "$path")" | sha256sum)
two_sum=$(nix_on two "" "" nix-store --dump "$(files two "$path")" | sha256sum)
[ "$one_sum" = "$two_sum" ] || fail "the copies differ"

step "what the overlay carried"
for pid in "${pids[@]}"; do kill -USR1 "$pid"; done
wait_for "$work/one.log" 'event=peer.stats'
wait_for "$work/two.log" 'event=peer.stats'
sent=$(field one peer.stats bytes_sent)
received=$(field two peer.stats bytes_received)
[ "$received" -ge $((mib * 1048576)) ] || fail "only $received bytes came over the QUIC connection"
printf '    %s sent %s bytes, %s received %s bytes over QUIC\n' one "$sent" two "$received"
awk -v m="$mib" -v t="$took" 'BEGIN{printf "    %d MiB in %.2f s by nix, end to end: %.0f MB/s\n", m, t, m * 1.048576 / t}'
echo "    both copies: sha256 ${one_sum%% *}"
step "done; cleaning up"

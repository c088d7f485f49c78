#!/usr/bin/env bash
# Installs what peerix needs, on Debian 12 and newer (as root or by sudo) or wherever nix or the
# libraries are there already. With everything there it does nothing and needs no network.
# Usage: deploy/deps.sh [run|demo|test|bench]
#   run    compiler and libraries (the default)
#   demo   also nix
#   test   also clang with its runtime, curl, and small tools the tests drive
#   bench  also nginx, openssl and coturn, the yardsticks of the benchmarks (no service is needed)
set -euo pipefail
what=${1:-run}
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin # nginx and ip live there, users often do not look there

say() { printf 'deps: %s\n' "$*" >&2; }
wants() { # LEVEL: is it part of what was asked for?
    case "$what:$1" in
    run:run | demo:run | demo:demo | test:run | test:demo | test:test | bench:*) return 0 ;;
    *) return 1 ;;
    esac
}
case "$what" in
run | demo | test | bench) ;;
*) sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac

packages="build-essential cmake ninja-build pkg-config libuv1-dev libsodium-dev libgnutls28-dev libcbor-dev
    libsqlite3-dev libmicrohttpd-dev libjansson-dev libyaml-dev libqrencode-dev libavahi-client-dev"
quic="libngtcp2-dev libngtcp2-crypto-gnutls-dev libnghttp3-dev"
if wants demo; then packages+=" nix-bin"; fi
if wants test; then packages+=" clang clang-format libclang-rt-dev curl iproute2 procps util-linux xz-utils binutils systemd jq groff mandoc zsh fish avahi-daemon dbus-daemon openssl nftables python3"; fi
if wants bench; then packages+=" nginx-light openssl coturn"; fi

programs() {
    local p
    for p in "$@"; do command -v "$p" >/dev/null || return 1; done
}
modules="libuv libsodium gnutls >= 3.7.5 libngtcp2 >= 1.11 libngtcp2_crypto_gnutls libnghttp3 >= 1.0 libcbor sqlite3
    libmicrohttpd jansson yaml-0.1 libqrencode avahi-client"
clang_runtime() {
    local dir
    dir=$(dirname "$(clang -rtlib=compiler-rt -print-libgcc-file-name 2>/dev/null)")
    compgen -G "$dir/libclang_rt.fuzzer*.a" >/dev/null
}
complete() {
    programs cmake ninja pkg-config cc || return 1
    # shellcheck disable=SC2086
    pkg-config --exists $modules || return 1
    if wants demo; then programs nix-store || return 1; fi
    if wants test; then programs clang clang-format curl ip ps setpriv systemd-analyze xz ar jq groff mandoc zsh fish avahi-daemon dbus-daemon openssl nft && clang_runtime || return 1; fi
    if wants bench; then programs nginx openssl turnserver || return 1; fi
}

if complete; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    say "something is missing and there is no apt-get here."
    say "with nix:   nix --extra-experimental-features 'nix-command flakes' develop, then the same again"
    say "otherwise install: cmake ninja pkg-config" $modules
    exit 1
fi
root=""
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { say "not root and no sudo: run as root: $0 $what"; exit 1; }
    root=sudo
fi
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# A mirror that does not answer is given up soon; another package manager at work is waited for.
apt() {
    $root env DEBIAN_FRONTEND=noninteractive apt-get -y -q -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 \
        -o Acquire::Retries=2 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 "$@" >"$log" 2>&1 </dev/null
}
apt_install() {
    # shellcheck disable=SC2068
    apt install --no-install-recommends $@ || { tail -n 30 "$log" >&2; say "apt-get install failed; the end of its output is above"; exit 1; }
}

# The mirror this machine's apt uses for the suite it runs, as a source line without its suite:
# "[options] URI". Reads both forms of source lists.
own_mirror() {
    local files=()
    mapfile -t files < <(compgen -G '/etc/apt/sources.list.d/*.sources')
    [ ${#files[@]} = 0 ] || awk -v suite="$codename" '
        function done(  i, n, s, key) {
            n = split(field["suites:"], s)
            for (i = 1; i <= n; i++) if (s[i] == suite && field["enabled:"] != "no" && field["uris:"] != "" && !found) {
                split(field["uris:"], key)
                found = 1
                print (field["signed-by:"] ~ /^\// ? "[signed-by=" field["signed-by:"] "] " : "") key[1]
            }
            delete field
        }
        /^#/ { next }
        /^[ \t]*$/ || FNR == 1 { done() }
        /^[^ \t]/ { name = tolower($1); $1 = ""; sub(/^ +/, ""); field[name] = $0 }
        END { done() }' "${files[@]}"
    mapfile -t files < <(compgen -G '/etc/apt/sources.list'; compgen -G '/etc/apt/sources.list.d/*.list')
    [ ${#files[@]} = 0 ] || awk -v suite="$codename" '
        $1 == "deb" {
            options = ""
            if (match($0, /\[[^]]*\]/)) { options = substr($0, RSTART, RLENGTH) " "; sub(/\[[^]]*\]/, "") }
            if ($3 == suite && $2 !~ /^cdrom:/) { print options $2; exit }
        }' "${files[@]}"
}

# Only this suite's index is asked for: the other ones have just been fetched.
add_backports() {
    local mirror list=sources.list.d/peerix-backports.list
    apt-cache policy | grep -q "n=$codename-backports\b" && return 0
    mirror=$(own_mirror | head -n 1)
    [ -n "$mirror" ] || { say "no mirror for $codename found in apt's configuration"; exit 1; }
    say "adding the suite $codename-backports (for ngtcp2) in /etc/apt/$list"
    sed 's/^\(\[.*\] \)\{0,1\}\(.*\)/deb \1\2 SUITE main/' <<<"$mirror" | sed "s|SUITE|$codename-backports|" |
        $root tee "/etc/apt/$list" >/dev/null
    apt update -o Dir::Etc::sourcelist="$list" -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0 &&
        apt-cache policy | grep -q "n=$codename-backports\b" && return 0
    tail -n 30 "$log" >&2
    $root rm -f "/etc/apt/$list"
    say "could not get $codename-backports from $mirror; peerix needs ngtcp2 1.11 or newer"
    exit 1
}

new_enough() { dpkg --compare-versions "$(apt-cache policy libngtcp2-dev | sed -n 's/ *Candidate: //p')" ge 1.11; }

say "asking the package mirror what there is"
apt update || { grep -E '^(E|W|Err)' "$log" | head -n 5 >&2; say "some package sources do not answer; going on with the others"; }
if ! new_enough; then
    add_backports
    backports="-t $codename-backports"
fi
say "installing" $packages
apt_install $packages
say "installing" $quic
apt_install ${backports:-} $quic
complete || { say "something is still missing although every package went in:"; pkg-config --print-errors --exists $modules || true; exit 1; }
say "done"

#!/usr/bin/env bash
# Installs what peerix needs, on Debian 12 and newer (as root or by sudo) or wherever nix or the
# libraries are there already. Usage: deploy/deps.sh [run|test]
#   run   compiler and libraries (the default)
#   test  also what the tests drive: nix, clang with its runtime, curl, nginx, iproute2
set -euo pipefail
what=${1:-run}

say() { printf 'deps: %s\n' "$*" >&2; }

libraries="libuv1-dev libsodium-dev libgnutls28-dev libcbor-dev libsqlite3-dev libmicrohttpd-dev libjansson-dev libyaml-dev"
tools="build-essential cmake ninja-build pkg-config"
quic="libngtcp2-dev libngtcp2-crypto-gnutls-dev libnghttp3-dev"
test_tools="nix-bin clang libclang-rt-14-dev curl nginx-light iproute2 openssl procps xz-utils binutils"
# the runtime's package carries clang's version in its name
version=$(. /etc/os-release 2>/dev/null && echo "${VERSION_ID:-}")
[ "$version" = 12 ] || test_tools=${test_tools/ libclang-rt-14-dev/ libclang-rt-dev}

have_libraries() {
    command -v cmake >/dev/null && command -v ninja >/dev/null && command -v pkg-config >/dev/null &&
        command -v cc >/dev/null &&
        pkg-config --exists libuv libsodium 'gnutls >= 3.7.5' 'libngtcp2 >= 1.11' \
            libngtcp2_crypto_gnutls 'libnghttp3 >= 1.0' libcbor sqlite3 libmicrohttpd jansson yaml-0.1
}

have_test_tools() {
    command -v nix-store >/dev/null && command -v clang >/dev/null && command -v curl >/dev/null &&
        command -v nginx >/dev/null && command -v ip >/dev/null &&
        [ -n "$(find /usr/lib -path '*clang*libclang_rt.fuzzer-x86_64.a' -o -path '*clang*libclang_rt.fuzzer-aarch64.a' 2>/dev/null | head -1)" ]
}

complete() { have_libraries && { [ "$what" != test ] || have_test_tools; }; }

if complete; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    say "the libraries are missing and there is no apt-get here."
    say "with nix:   nix develop --command deploy/quickstart.sh"
    say "otherwise install: cmake ninja pkg-config libuv libsodium gnutls (3.7.5 or newer) ngtcp2 (1.11 or newer, with GnuTLS) nghttp3 libcbor sqlite libmicrohttpd jansson libyaml"
    exit 1
fi
root=""
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { say "not root and no sudo: run as root: $0 $what"; exit 1; }
    root=sudo
fi
export DEBIAN_FRONTEND=noninteractive
apt_install() { $root apt-get install -y -q --no-install-recommends "$@" >&2; }

# The mirror this machine uses already, for the suite it runs: "URI SUITE".
own_mirror() {
    local codename
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    {
        awk -v s="$codename" '/^URIs:/{u=$2} /^Suites:/{for(i=2;i<=NF;i++) if($i==s) f=1} /^$/{if(f&&u){print u; exit} u="";f=0} END{if(f&&u)print u}' \
            /etc/apt/sources.list.d/*.sources 2>/dev/null
        awk -v s="$codename" '$1=="deb"{for(i=2;i<=NF;i++) if($i==s){print $(i-1); exit}}' \
            /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null
    } | head -1
}

add_backports() {
    local codename mirror file=/etc/apt/sources.list.d/peerix-backports.list
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    apt-cache policy 2>/dev/null | grep -q "n=$codename-backports\b" && return 0
    mirror=$(own_mirror)
    [ -n "$mirror" ] || { say "no Debian mirror found in apt's configuration"; return 1; }
    say "adding $codename-backports (for ngtcp2) in $file"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $codename-backports main" |
        $root tee "$file" >/dev/null
    $root apt-get update -q >&2
}

new_enough() { dpkg --compare-versions "$(apt-cache policy libngtcp2-dev | sed -n 's/ *Candidate: //p')" ge 1.11; }

say "installing packages (this asks your Debian mirror once)"
$root apt-get update -q >&2
# shellcheck disable=SC2086
apt_install $tools $libraries
if new_enough; then
    # shellcheck disable=SC2086
    apt_install $quic
else
    add_backports
    # shellcheck disable=SC2086
    apt_install -t "$(. /etc/os-release && echo "$VERSION_CODENAME")-backports" $quic
fi
if [ "$what" = test ]; then
    # shellcheck disable=SC2086
    apt_install $test_tools
fi
complete || { say "something is still missing after the installation; the output above tells what"; exit 1; }

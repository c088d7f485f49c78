#!/usr/bin/env bash
# Puts peerix onto this machine as a service, checks that, and takes it away again.
# Usage: deploy/install.sh install   [--prefix DIR] [--root DIR] [--binary FILE] [--no-start]
#        deploy/install.sh verify    [--prefix DIR] [--root DIR]
#        deploy/install.sh uninstall [--prefix DIR] [--root DIR] [--backup FILE | --purge]
#   install    program, units, man page, completions and a sample configuration below the prefix (default
#              /usr/local); creates the user `peerix` and its keys in /etc/peerix, and starts the service
#   verify     checks all of that, a line each, and ends with 1 if anything is not as it should be
#   uninstall  removes everything, also user, keys, configuration and state. The keys and the configuration
#              go to a backup first (default ./peerix-backup-DATE.tar.gz, named at the end); --purge makes none
#   --root     a directory to install into, as packages are made: without user, keys and start; $DESTDIR
#              says the same
#   --binary   the program (default: build/release/peerix, which is built if it is not there)
#   --no-start leaves the service stopped
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
umask 022

prefix=/usr/local root=${DESTDIR:-} binary='' start=1 purge=0 backup=''
say() { printf '%s\n' "$*"; }
fail() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }
usage() { sed -n '2,15s/^# \{0,1\}//p' "$0"; }

action=${1:-}
case "$action" in
install | verify | uninstall) shift ;;
-h | --help) usage; exit 0 ;;
*) usage >&2; exit 2 ;;
esac
while [ $# -gt 0 ]; do
    case "$1" in
    --prefix | --root | --binary | --backup) [ $# -ge 2 ] || fail "$1 needs a value"; declare "${1#--}=$2"; shift ;;
    --no-start) start=0 ;;
    --purge) purge=1 ;;
    *) fail "unknown option $1; see --help" ;;
    esac
    shift
done
case "$prefix" in /*) ;; *) fail "--prefix must begin with /" ;; esac
case "$prefix$root" in *[[:space:]\|\&\\]*) fail "blanks and |, &, \\ in paths are not supported" ;; esac
[ "$root" != / ] || root=''
[ -z "$root" ] || { mkdir -p "$root" && root=$(realpath "$root"); }
live() { [ -z "$root" ]; } # this machine itself, not a directory for a package
live_systemd() { live && [ -d /run/systemd/system ]; }
! live || [ "$(id -u)" = 0 ] || fail "run as root, or with --root DIR"

units=$prefix/lib/systemd
share=$prefix/share/peerix
manifest=$share/manifest # a line a thing: dir PATH | file MODE SHA256 PATH | user NAME
program=$prefix/bin/peerix

# ---- install ----
note() { printf '%s\n' "$*" >>"$work/manifest"; }
# Makes a directory and remembers those that were not there, outermost first.
make_dir() { # PATH
    [ ! -d "$root$1" ] || return 0
    [ "$1" = / ] || make_dir "$(dirname "$1")"
    mkdir -m 755 "$root$1"
    note "dir $1"
}
put() { # MODE SOURCE PATH
    make_dir "$(dirname "$3")"
    # a new file and a rename: a running program must not be written over
    install -m "$1" "$2" "$root$3.new"
    mv -f "$root$3.new" "$root$3"
    note "file $1 $(sha256sum "$root$3" | cut -d ' ' -f 1) $3"
}
build() {
    [ -z "$binary" ] || return 0
    binary=$here/../build/release/peerix
    [ ! -x "$binary" ] || return 0
    say "building (deploy/quickstart.sh does the same)"
    "$here/deps.sh" run
    (cd "$here/.." && cmake --preset release -DPX_TESTS=OFF && cmake --build build/release) >"$work/build.log" 2>&1 ||
        { tail -n 30 "$work/build.log" >&2; fail "the build failed"; }
}
make_user() {
    getent passwd peerix >/dev/null && return 0
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers "$prefix/lib/sysusers.d/peerix.conf"
    else
        useradd --system --user-group --home-dir /var/lib/peerix --no-create-home --shell /usr/sbin/nologin peerix
    fi
    note "user peerix"
}
as_peerix() { setpriv --reuid peerix --regid peerix --clear-groups -- "$@"; }
make_home() {
    local d
    for d in /etc/peerix /var/lib/peerix; do
        if [ ! -d "$d" ]; then
            make_dir "$(dirname "$d")"
            install -d -m 700 -o peerix -g peerix "$d"
        elif [ "$(stat -c %U "$d")" = root ]; then # root ran `peerix init --system` before there was a user
            chown -hR peerix:peerix "$d"
            chmod 700 "$d"
        fi
    done
    as_peerix "$program" init --system --non-interactive >"$work/init.log" 2>&1 ||
        { cat "$work/init.log" >&2; fail "could not create the keys in /etc/peerix"; }
}
install_files() {
    local f
    put 755 "$binary" "$program"
    for f in peerix.service peerix.socket user/peerix.service user/peerix.socket; do
        sed "s|/usr/local/bin|$prefix/bin|" "$here/systemd/$f" >"$work/unit"
        case "$f" in user/*) put 644 "$work/unit" "$units/$f" ;; *) put 644 "$work/unit" "$units/system/$f" ;; esac
    done
    put 644 "$here/systemd/sysusers.conf" "$prefix/lib/sysusers.d/peerix.conf"
    put 644 "$here/systemd/tmpfiles.conf" "$prefix/lib/tmpfiles.d/peerix.conf"
    "$binary" man >"$work/man" && put 644 "$work/man" "$prefix/share/man/man1/peerix.1"
    "$binary" config sample >"$work/sample" && put 644 "$work/sample" "$share/config.sample.yaml"
    "$binary" completion bash >"$work/bash" && put 644 "$work/bash" "$prefix/share/bash-completion/completions/peerix"
    "$binary" completion zsh >"$work/zsh" && put 644 "$work/zsh" "$prefix/share/zsh/site-functions/_peerix"
    "$binary" completion fish >"$work/fish" && put 644 "$work/fish" "$prefix/share/fish/vendor_completions.d/peerix.fish"
}
# Installing over an older version: what that one made is still ours to remove, what it alone had goes now.
merge_manifest() {
    local kind rest
    [ -f "$root$manifest" ] || return 0
    while read -r kind rest; do
        [ "$kind" != file ] || grep -q "^file .* ${rest##* }\$" "$work/manifest" || rm -f "$root${rest##* }"
    done <"$root$manifest"
    # directories stay in the order they were made in
    { grep -E '^(dir|user) ' "$root$manifest" || true; cat "$work/manifest"; } | awk '!seen[$0]++' >"$work/merged"
    mv "$work/merged" "$work/manifest"
}
do_install() {
    build
    [ -x "$binary" ] || fail "$binary is no program"
    binary=$(realpath "$binary")
    "$binary" version >/dev/null || fail "$binary does not run here"
    : >"$work/manifest"
    make_dir "$share"
    # from here on an uninstall finds what there is, also after a failure half way
    trap 'keep_manifest; rm -rf "$work"' EXIT
    install_files
    if live; then
        make_user
        make_home
    fi
    keep_manifest
    trap 'rm -rf "$work"' EXIT
    if live_systemd; then
        systemctl daemon-reload
        [ "$start" = 0 ] || { systemctl enable --now peerix.socket peerix.service && systemctl try-restart peerix.service; }
    fi
    tell
}
keep_manifest() {
    merge_manifest
    install -m 644 "$work/manifest" "$root$manifest"
}
tell() {
    say "installed   $root$program"
    live || { say "            a package's scripts have to create the user (sysusers.d) and run \`peerix init --system\`"; return; }
    say "peer ID     $(as_peerix "$program" whoami --system)"
    say "keys        /etc/peerix, owned by the user peerix; back up identity.pem and nix-key.sec"
    if live_systemd; then
        say "service     systemctl status peerix; journalctl -u peerix"
    else
        say "service     no systemd runs here: start \`peerix daemon --system\` as the user peerix by other means"
    fi
    cat <<TEXT
commands    peerix … --system, as root
nix         in /etc/nix/nix.conf of this machine, again after pairing (\`peerix nix-conf --system\`):
                extra-substituters = http://127.0.0.1:12304
                extra-trusted-public-keys = the keys of the machines that build
            this machine's key is $(as_peerix "$program" nix-key --system)
next        peerix invite --system, and on the other machine peerix join CODE
TEXT
}

# ---- verify ----
bad=0
good() { say "ok    $1"; }
wrong() { say "WRONG $1"; bad=1; }
expect() { # NAME COMMAND…
    local name=$1
    shift
    if "$@" >"$work/out" 2>&1; then good "$name"; else wrong "$name"; sed 's/^/          /' "$work/out" | head -n 5; fi
}
same_file() { # MODE SHA256 PATH
    [ -f "$root$3" ] && [ ! -L "$root$3" ] || { echo "not there"; return 1; }
    [ "$(stat -c %a "$root$3")" = "$1" ] || { echo "mode $(stat -c %a "$root$3"), not $1"; return 1; }
    [ "$(sha256sum "$root$3" | cut -d ' ' -f 1)" = "$2" ] || { echo "changed since it was installed"; return 1; }
}
private() { # PATH MODE
    [ "$(stat -c '%U %a' "$1")" = "peerix $2" ] || { stat -c '%U %a %n' "$1"; return 1; }
}
# In a package's directory the programs of the system are not there.
units_parse() {
    local words
    if live; then
        systemd-analyze --man=no --recursive-errors=no verify "$units/system/peerix.service" "$units/system/peerix.socket"
        return
    fi
    words=$(systemd-analyze --root="$root" --man=no --recursive-errors=no verify "$root$units/system/peerix.service" \
        "$root$units/system/peerix.socket" 2>&1 | grep -v 'is not executable: No such file') || true
    [ -z "$words" ] || { printf '%s\n' "$words"; return 1; }
}
exposure() { systemd-analyze security --offline=true --threshold=20 --no-pager "$root$units/system/peerix.service"; }
answers() { curl -sf -m 5 http://127.0.0.1:12304/nix-cache-info | grep -q '^StoreDir: '; }
verify_live() {
    local f
    expect "user peerix" getent passwd peerix
    for f in /etc/peerix /var/lib/peerix; do expect "$f is the user's alone" private "$f" 700; done
    for f in identity.pem nix-key.sec authorized_keys; do expect "/etc/peerix/$f is the user's alone" private "/etc/peerix/$f" 600; done
    expect "config.yaml is valid" "$program" config validate --system
    expect "authorized_keys is valid" "$program" auth validate --system
    if [ -S /var/lib/peerix/control.sock ] || { live_systemd && systemctl -q is-active peerix.socket; }; then
        expect "the substituter answers on 127.0.0.1:12304" answers
        expect "the control API answers" "$program" status --system
    else
        say "--    the daemon is not running"
    fi
}
do_verify() {
    local kind mode sum path
    [ -f "$root$manifest" ] || fail "nothing is installed below $root$prefix (no $root$manifest)"
    while read -r kind mode sum path; do
        [ "$kind" != file ] || expect "$root$path" same_file "$mode" "$sum" "$path"
    done <"$root$manifest"
    if command -v systemd-analyze >/dev/null; then
        expect "the units are understood by systemd" units_parse
        expect "the service's exposure is at most 2.0" exposure
    else
        say "--    no systemd-analyze here to read the units with"
    fi
    ! live || verify_live
    [ "$bad" = 0 ] || fail "not everything is as it should be; \`install.sh install\` again repairs files and modes"
}

# ---- uninstall ----
stop_service() {
    live_systemd || return 0
    systemctl disable --now peerix.socket peerix.service 2>/dev/null || true
}
stopped() { [ -z "$(ps -u peerix -o pid= 2>/dev/null)" ]; }
make_backup() {
    [ "$purge" = 0 ] && [ -d "$root/etc/peerix" ] || return 0
    [ -n "$backup" ] || backup=$PWD/peerix-backup-$(date +%Y%m%d-%H%M%S).tar.gz
    case "$(realpath -m "$backup")" in
    "$root"/etc/peerix/* | "$root"/var/lib/peerix/*) fail "the backup would go where everything is removed" ;;
    esac
    [ ! -e "$backup" ] || fail "$backup exists already"
    (umask 077 && tar -C "$root/etc" -czf "$backup" peerix) || fail "could not write $backup; nothing was removed"
}
remove_user() {
    getent passwd peerix >/dev/null || return 0
    userdel peerix
    ! getent group peerix >/dev/null || groupdel peerix
}
do_uninstall() {
    local kind rest
    [ -f "$root$manifest" ] || fail "nothing is installed below $root$prefix (no $root$manifest)"
    stop_service
    ! live || stopped || fail "processes of the user peerix still run: $(ps -u peerix -o pid= | tr '\n' ' '); end them first"
    make_backup
    rm -rf "$root/etc/peerix" "$root/var/lib/peerix"
    cp "$root$manifest" "$work/manifest"
    while read -r kind rest; do
        if [ "$kind" = file ]; then rm -f "$root${rest##* }"; fi
    done <"$work/manifest"
    rm -f "$root$manifest"
    # innermost first; one that holds something else by now stays
    tac "$work/manifest" | while read -r kind rest; do
        if [ "$kind" = dir ]; then rmdir "$root$rest" 2>/dev/null || true; fi
    done
    if live && grep -qx 'user peerix' "$work/manifest"; then remove_user; fi
    ! live_systemd || systemctl daemon-reload
    say "removed     everything below $root$prefix, $root/etc/peerix and $root/var/lib/peerix"
    if [ -n "$backup" ] && [ -e "$backup" ]; then
        say "backup      $backup"
        say "            holds this node's private keys, its allowlist and its configuration. Unpacked into /etc it is"
        say "            the same node again; delete it when you no longer want that."
    elif [ "$purge" = 1 ]; then
        say "            without a backup, as asked: this node's identity is gone"
    fi
    ! live || say "nix         take http://127.0.0.1:12304 and the keys out of nix.conf again"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"do_$action"

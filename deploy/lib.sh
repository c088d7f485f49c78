# shellcheck shell=bash
# What install.sh and relay-setup.sh share: puts one program and its service onto this machine or into a
# directory, checks that, and takes it away again. Sourced after `set -euo pipefail`; ends with lib_run "$@".
#
# The script sets before:   me, program_name, units=(…), readable=(FILES in /etc), backup_base, backup_paths=(…)
# and defines:              usage; install_files (everything below the prefix); tell (after an install);
#                           verify_running; removed_words; and, if it likes, own_option, prepare, configure
# shellcheck disable=SC2034,SC2154 # these variables are the script's, or for it
unset CDPATH GREP_OPTIONS TAR_OPTIONS "${!PEERIX_@}" # what the caller's shell has set must not lead elsewhere
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
umask 022

prefix=/usr/local root=${DESTDIR:-} binary='' start=1 purge=0 backup=''
say() { printf '%s\n' "$*"; }
fail() { printf '%s: %s\n' "$me" "$*" >&2; exit 1; }
live() { [ -z "$root" ]; } # this machine itself, not a directory for a package
live_systemd() { live && [ -d /run/systemd/system ]; }
own_option() { return 1; } # NAME VALUE: a value option of the script's
own_flag() { return 1; }   # NAME
prepare() { :; }           # after the command line was read
configure() { :; }         # after user and home were made

lib_options() {
    action=${1:-}
    case "$action" in
    install | verify | uninstall) shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
    esac
    while [ $# -gt 0 ]; do
        case "$1" in
        --prefix | --root | --binary | --backup) [ $# -ge 2 ] || fail "$1 needs a value"; declare -g "${1#--}=$2"; shift ;;
        --no-start) start=0 ;;
        --purge) purge=1 ;;
        -h | --help) usage; exit 0 ;;
        *)
            if own_flag "$1"; then :; elif [ $# -ge 2 ] && own_option "$1" "$2"; then shift; else
                fail "unknown option $1, or its value is missing; see --help"
            fi
            ;;
        esac
        shift
    done
    case "$prefix" in /*) ;; *) fail "--prefix must begin with /" ;; esac
    case "$prefix" in *[!A-Za-z0-9/._+-]*) fail "--prefix: letters, digits and /._+- alone, as it goes into unit files" ;; esac
    case "$root" in *[[:space:]\|\&\\]*) fail "blanks and |, &, \\ in paths are not supported" ;; esac
    [ "$root" != / ] || root=''
    [ -z "$root" ] || { mkdir -p "$root" && root=$(realpath "$root"); }
    ! live || [ "$(id -u)" = 0 ] || fail "run as root, or with --root DIR"
    user=$program_name config=/etc/$program_name state=/var/lib/$program_name
    unit_dir=$prefix/lib/systemd
    share=$prefix/share/$program_name
    manifest=$share/manifest # a line a thing: dir PATH | file MODE SHA256 PATH | user NAME
    program=$prefix/bin/$program_name
}

# ---- install ----
# Kept as it goes, too: an uninstall finds what there is whenever this was killed.
note() {
    ! grep -qxF -- "$*" "$work/manifest" || return 0
    printf '%s\n' "$*" >>"$work/manifest"
    [ ! -f "$root$manifest" ] || printf '%s\n' "$*" >>"$root$manifest"
}
# Makes a directory and remembers those that were not there, outermost first; also those that another of our
# programs made, for it may be gone first.
make_dir() { # PATH
    [ "$1" != / ] || return 0
    make_dir "$(dirname "$1")"
    if [ ! -d "$root$1" ]; then
        mkdir -m 755 "$root$1"
        note "dir $1"
    elif grep -qsx "dir $1" "$root$prefix"/share/peerix*/manifest; then
        note "dir $1"
    fi
}
put() { # MODE SOURCE PATH
    make_dir "$(dirname "$3")"
    note "file $1 $(sha256sum "$2" | cut -d ' ' -f 1) $3"
    # a new file and a rename: a running program must not be written over
    install -m "$1" "$2" "$root$3.new"
    mv -f "$root$3.new" "$root$3"
}
put_output() { # PATH COMMAND…: of the program
    "$binary" "${@:2}" >"$work/output"
    put 644 "$work/output" "$1"
}
put_unit() { # FILE BELOW: below deploy/systemd, its directory below lib/systemd
    sed "s|/usr/local/bin|$prefix/bin|" "$here/systemd/$1" >"$work/unit"
    put 644 "$work/unit" "$unit_dir/$2/$(basename "$1")"
}
outdated() {
    [ -n "$(find "$here/.." -path "$here/../build" -prune -o \( -name '*.[ch]' -o -name CMakeLists.txt \) -newer "$binary" -print -quit)" ]
}
build() {
    [ -z "$binary" ] || return 0
    binary=$here/../build/release/$program_name
    if [ -x "$binary" ] && ! outdated; then return 0; fi
    say "building    $program_name, which takes some minutes"
    "$here/deps.sh" run
    (cd "$here/.." && cmake --preset release -DPX_TESTS=OFF && cmake --build build/release --target "$program_name") >"$work/build.log" 2>&1 ||
        { tail -n 30 "$work/build.log" >&2; fail "the build failed"; }
}
runs() { "$binary" version >/dev/null 2>&1; }
check_binary() {
    [ -x "$binary" ] || fail "$binary is no program"
    binary=$(realpath "$binary")
    # one built elsewhere may miss its libraries here
    runs || { live && "$here/deps.sh" run && runs; } || { "$binary" version || true; fail "$binary does not run here"; }
}
make_user() {
    getent passwd "$user" >/dev/null && return 0
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers "$prefix/lib/sysusers.d/$program_name.conf"
    else
        useradd --system --user-group --home-dir "$state" --no-create-home --shell /usr/sbin/nologin "$user"
    fi
    note "user $user"
}
as_user() { setpriv --reuid "$user" --regid "$user" --clear-groups -- "$@"; }
make_home() {
    local d
    for d in "$config" "$state"; do
        if [ ! -d "$d" ]; then
            make_dir "$(dirname "$d")"
            install -d -m 700 -o "$user" -g "$user" "$d"
        elif [ "$(stat -c %U "$d")" = root ]; then # root ran `init --system` before there was a user
            chown -hR "$user:$user" "$d"
            chmod 700 "$d"
        fi
    done
    as_user "$program" "${init[@]}" >"$work/init.log" 2>&1 ||
        { cat "$work/init.log" >&2; fail "could not create the keys in $config"; }
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
keep_manifest() {
    merge_manifest
    install -m 644 "$work/manifest" "$root$manifest"
}
do_install() {
    build
    check_binary
    : >"$work/manifest"
    make_dir "$share"
    cat "$work/manifest" >>"$root$manifest"
    # a failure half way leaves a manifest in order
    trap 'keep_manifest; rm -rf "$work"' EXIT
    install_files
    if live; then
        make_user
        make_home
        configure
    fi
    keep_manifest
    trap 'rm -rf "$work"' EXIT
    if live_systemd; then
        systemctl daemon-reload
        [ "$start" = 0 ] || { systemctl enable --now "${units[@]}" && systemctl try-restart "$program_name.service"; }
    fi
    tell
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
    if [ ! -f "$root$3" ] || [ -L "$root$3" ]; then echo "not there"; return 1; fi
    [ "$(stat -c %a "$root$3")" = "$1" ] || { echo "mode $(stat -c %a "$root$3"), not $1"; return 1; }
    [ "$(sha256sum "$root$3" | cut -d ' ' -f 1)" = "$2" ] || { echo "changed since it was installed"; return 1; }
}
private() { # PATH MODE
    [ "$(stat -c '%U %a' "$1")" = "$user $2" ] || { stat -c '%U %a %n' "$1"; return 1; }
}
# In a package's directory the programs of the system are not there.
units_parse() {
    local words files=("${units[@]/#/$root$unit_dir/system/}")
    if live; then
        systemd-analyze --man=no --recursive-errors=no verify "${files[@]}"
        return
    fi
    words=$(systemd-analyze --root="$root" --man=no --recursive-errors=no verify "${files[@]}" 2>&1 |
        grep -v 'is not executable: No such file') || true
    [ -z "$words" ] || { printf '%s\n' "$words"; return 1; }
}
exposure() { systemd-analyze security --offline=true --threshold=20 --no-pager "$root$unit_dir/system/$program_name.service"; }
verify_live() {
    local f
    expect "user $user" getent passwd "$user"
    for f in "$config" "$state"; do expect "$f is the user's alone" private "$f" 700; done
    for f in "${private_files[@]}"; do expect "$config/$f is the user's alone" private "$config/$f" 600; done
    expect "config.yaml is valid" "$program" config validate --system
    if live_systemd && systemctl -q is-enabled "$program_name.service" 2>/dev/null; then
        expect "the service is running" systemctl -q is-active "$program_name.service"
    fi
    verify_running
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
    [ "$bad" = 0 ] || fail "not everything is as it should be; \`$me install\` again repairs files and modes"
}

# ---- uninstall ----
stop_service() {
    live_systemd || return 0
    systemctl disable --now "${units[@]}" 2>/dev/null || true
}
stopped() { [ -z "$(ps -u "$user" -o pid= 2>/dev/null)" ]; }
make_backup() {
    local paths=() p
    [ "$purge" = 0 ] && [ -d "$root$config" ] || return 0
    [ -n "$backup" ] || backup=$PWD/$program_name-backup-$(date +%Y%m%d-%H%M%S).tar.gz
    case "$(realpath -m "$backup")" in
    "$root$config"/* | "$root$state"/*) fail "the backup would go where everything is removed" ;;
    esac
    [ ! -e "$backup" ] || fail "$backup exists already"
    for p in "${backup_paths[@]}"; do [ ! -e "$root$backup_base/$p" ] || paths+=("$p"); done
    (umask 077 && tar -C "$root$backup_base" --exclude='control.*' -czf "$backup" "${paths[@]}") ||
        fail "could not write $backup; nothing was removed"
}
remove_user() {
    getent passwd "$user" >/dev/null || return 0
    userdel "$user"
    ! getent group "$user" >/dev/null || groupdel "$user"
}
do_uninstall() {
    local kind rest
    [ -f "$root$manifest" ] || fail "nothing is installed below $root$prefix (no $root$manifest)"
    stop_service
    ! live || stopped || fail "processes of the user $user still run: $(ps -u "$user" -o pid= | tr '\n' ' '); end them first"
    make_backup
    rm -rf "$root$config" "$root$state"
    cp "$root$manifest" "$work/manifest"
    while read -r kind rest; do
        if [ "$kind" = file ]; then rm -f "$root${rest##* }" "$root${rest##* }.new"; fi
    done <"$work/manifest"
    rm -f "$root$manifest"
    # innermost first; one that holds something else by now stays
    tac "$work/manifest" | while read -r kind rest; do
        if [ "$kind" = dir ]; then rmdir "$root$rest" 2>/dev/null || true; fi
    done
    if live && grep -qx "user $user" "$work/manifest"; then remove_user; fi
    ! live_systemd || systemctl daemon-reload
    say "removed     what was installed below $root$prefix, $root$config and $root$state"
    removed_words
}

lib_run() {
    lib_options "$@"
    prepare
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    "do_$action"
}

#!/usr/bin/env bash
# deploy/install.sh: into a directory as a package is made, and for real, in a copy-on-write view of this
# machine's root that only this test sees. What it leaves is compared with what was there before.
. "$(dirname "$0")/lib.sh"
TOP=$(cd "$HERE/../.." && pwd)
install_sh=$TOP/deploy/install.sh

# ---- the units ----
check "--help ends where it should" bash -c '[ "$("$1" --help | sed -n "\$p")" = "  --no-start leaves the service stopped" ]' _ "$install_sh"
check "exposure of the service is at most 2.0" systemd-analyze security --offline=true --threshold=20 --no-pager \
    "$TOP/deploy/systemd/peerix.service"
mkdir -p "$T/loose" && sed 's/PrivateDevices=yes//; s/ProtectSystem=strict//; s/CapabilityBoundingSet=//; s/PrivateUsers=yes//; s/SystemCallFilter=.*//' \
    "$TOP/deploy/systemd/peerix.service" >"$T/loose/peerix.service"
check "the check can tell: a looser unit is refused" bash -c "! systemd-analyze security --offline=true --threshold=20 --no-pager '$T/loose/peerix.service'"
check "the socket unit has the substituter's default address" grep -qx "ListenStream=$("$PEERIX" config sample | sed -n 's/^#http: "\(.*\)"/\1/p')" \
    "$TOP/deploy/systemd/peerix.socket"
check "SIGTERM is given longer than the drain" bash -c "[ \$(sed -n 's/^TimeoutStopSec=//p' '$TOP/deploy/systemd/peerix.service') -ge 5 ]"

check "the user's units are understood by systemd" bash -c "
    mkdir -p '$T/user' && for f in service socket; do sed 's|/usr/local/bin/peerix|$PEERIX|' '$TOP/deploy/systemd/user/peerix.'\$f >'$T/user/peerix.'\$f; done &&
    [ -z \"\$(XDG_RUNTIME_DIR=$T SYSTEMD_LOG_LEVEL=warning systemd-analyze --user --man=no --recursive-errors=no verify '$T/user/peerix.service' '$T/user/peerix.socket' 2>&1 | tee /dev/stderr | grep peerix)\" ]"

# ---- into a directory ----
listing() { (cd "$1" && find . -printf '%p %y %m %s\n' | sort); }
R=$T/dest
mkdir -p "$R/usr/share/man" "$R/etc" && echo kept >"$R/etc/other"
listing "$R" >"$T/before"
pack() { "$install_sh" "$1" --root "$R" --prefix /usr "${@:2}"; }
check "install into a directory" pack install --binary "$PEERIX"
for f in bin/peerix lib/systemd/system/peerix.service lib/systemd/system/peerix.socket lib/systemd/user/peerix.service \
    share/man/man1/peerix.1 share/bash-completion/completions/peerix share/zsh/site-functions/_peerix \
    share/fish/vendor_completions.d/peerix.fish share/peerix/config.sample.yaml lib/sysusers.d/peerix.conf lib/tmpfiles.d/peerix.conf; do
    [ -s "$R/usr/$f" ] || not_ok "$f is installed"
done
check "units name the prefix" grep -qx 'ExecStart=/usr/bin/peerix daemon --system' "$R/usr/lib/systemd/system/peerix.service"
check "nothing is made outside the directory's prefix" bash -c "[ ! -e '$R/etc/peerix' ] && [ ! -e '$R/var' ]"
check "verify finds it in order" pack verify
# only with verify, which writes nothing wherever it looks
check "DESTDIR says the same as --root" env DESTDIR="$R" "$install_sh" verify --prefix /usr
check "installing again changes nothing" bash -c "cp '$R/usr/share/peerix/manifest' '$T/m1' && '$install_sh' install --root '$R' --prefix /usr --binary '$PEERIX' && diff <(sort '$T/m1') <(sort '$R/usr/share/peerix/manifest')"
chmod 777 "$R/usr/bin/peerix"
check "verify tells a changed mode" bash -c "! '$install_sh' verify --root '$R' --prefix /usr >'$T/out' 2>&1 && grep -q '^WRONG.*/usr/bin/peerix' '$T/out'"
chmod 755 "$R/usr/bin/peerix"
echo 'Nonsense' >>"$R/usr/lib/systemd/system/peerix.socket"
check "verify tells a changed unit" bash -c "! '$install_sh' verify --root '$R' --prefix /usr >'$T/out' 2>&1 && grep -q '^WRONG.*peerix.socket' '$T/out'"
check "uninstall" pack uninstall
check "nothing is left, and nothing else is gone" bash -c "diff '$T/before' <(cd '$R' && find . -printf '%p %y %m %s\n' | sort)"
check "uninstalling what is not there fails" bash -c "! '$install_sh' uninstall --root '$R' --prefix /usr 2>/dev/null"
check "a path with blanks is refused" bash -c "! '$install_sh' install --root '$T/a b' --binary '$PEERIX' 2>/dev/null"
check "nor a prefix that unit files would read as something else" bash -c "! '$install_sh' install --root '$T/odd' --prefix '/opt/100%x' --binary '$PEERIX' 2>/dev/null"
# a program that kills who installs it, half way
cat >"$T/killer" <<'SH'
#!/bin/sh
case $1 in man) kill -9 "$PPID" ;; esac
SH
chmod 755 "$T/killer"
killed() { "$install_sh" install --root "$T/half" --prefix /opt/x --binary "$T/killer" >/dev/null 2>&1; [ $? = 137 ] && [ -e "$T/half/opt/x/bin/peerix" ]; }
check "an install is killed half way" killed
check "uninstall takes away what it had made" bash -c "'$install_sh' uninstall --root '$T/half' --prefix /opt/x --purge && [ -z \"\$(find '$T/half' -mindepth 1)\" ]"
mkdir -p "$T/evil/deploy/systemd"
check "CDPATH leads nowhere else" bash -c "cd '$(dirname "$install_sh")/..' && CDPATH='$T/evil' bash deploy/install.sh install --root '$T/cd' --prefix /usr --binary '$PEERIX'"

# ---- for real ----
# The network namespace gives us port 12304.
if [ "$(id -u)" != 0 ] || ! unshare -mnpf --mount-proc true 2>/dev/null; then
    skip "the real install: needs root and namespaces"
    finish
fi
cat >"$T/real.sh" <<'REAL'
set -uo pipefail
T=$1 PEERIX=$2 install_sh=$3
. "$4" e2e_install "$(dirname "$(dirname "$install_sh")")" "$(dirname "$PEERIX")"
cd /tmp
# root's commands become the owner of the home; the leak checker cannot follow them there
export ASAN_OPTIONS=detect_leaks=0
try "a real install" inside "$install_sh" install --binary "$PEERIX"
try "it names the peer ID and the nix.conf lines" bash -c "grep -q '^peer ID  *12D3KooW' '$T/last' && grep -q 'extra-substituters = http://127.0.0.1:12304' '$T/last'"
try "keys belong to the user peerix alone" bash -c "[ \"\$(chroot '$T/view/root' stat -c '%U %a' /etc/peerix/identity.pem)\" = 'peerix 600' ]"
try "verify finds it in order" inside "$install_sh" verify

# The daemon as the unit would run it: that user, no privilege, nothing writable but its two directories.
root=$T/view/root
chroot "$root" env NIX_CONFIG='build-users-group =' nix-daemon >"$T/nix-daemon.log" 2>&1 &
nix_daemon=$!
for d in nix etc/peerix var/lib/peerix; do mount --bind "$root/$d" "$root/$d" || exit 99; done
mount -o remount,bind,ro "$root" || exit 99
start() { # STORE: sets `daemon` and `store`
    chroot "$root" setpriv --reuid peerix --regid peerix --clear-groups --bounding-set=-all --no-new-privs -- \
        /usr/local/bin/peerix daemon --system --store "$1" --nix-conf "" 2>"$T/real.log" &
    daemon=$!
    for _ in $(seq 200); do grep -q -e event=ready -e event=daemon.failed "$T/real.log" && break; sleep 0.05; done
    store=$(sed -n 's/.*event=ready .* store=\("[^"]*"\|[^ ]*\).*/\1/p' "$T/real.log")
    cp "$T/real.log" "$T/step"
}
for _ in $(seq 200); do [ -S "$root/nix/var/nix/daemon-socket/socket" ] && break; sleep 0.05; done
start daemon
[ -n "$store" ]; say $? "an unprivileged daemon reads the machine's store through nix-daemon ($store)"
kill "$daemon"; wait "$daemon"
# its child puts the database in order when we are gone
for _ in $(seq 200); do [ -n "$(ps -o pid= --ppid "$nix_daemon")" ] || break; sleep 0.05; done
kill "$nix_daemon"; wait "$nix_daemon"
start local
[ -n "$store" ]; say $? "and without it from the database ($store)"
try "nothing else of the machine was writable for it" bash -c "! chroot '$root' touch /etc/x /usr/local/x /var/lib/x 2>/dev/null"
inside "$install_sh" verify >"$T/step" 2>&1
say $? "verify finds the running daemon in order"
try "and says that it answers" grep -q '^ok .*substituter answers' "$T/last"
try "a change by root leaves the user's files the user's" bash -c "
    echo 'priority: 31' >'$T/new.yaml' && chroot '$T/view/root' /usr/local/bin/peerix config apply --system '$T/new.yaml' &&
    [ -z \"\$(chroot '$T/view/root' find /etc/peerix /var/lib/peerix ! -user peerix)\" ]"
inside "$install_sh" uninstall --backup /tmp/never.tar.gz >"$T/step" 2>&1
[ $? != 0 ] && grep -q 'still run' "$T/step" && [ -d "$T/view/root/etc/peerix" ]
say $? "uninstall refuses while a daemon runs that it cannot stop"
kill "$daemon" && wait "$daemon"
mount -o remount,bind,rw "$root" && for d in nix etc/peerix var/lib/peerix; do umount "$root/$d"; done
id=$(inside /usr/local/bin/peerix whoami --system)
try "uninstall" inside "$install_sh" uninstall --backup "$T/backup.tar.gz"
try "it names the backup of the keys" grep -q "^backup  *$T/backup.tar.gz" "$T/last"
residue >"$T/step"
[ ! -s "$T/step" ]; say $? "nothing is left: files, user, state, locks"
[ "$(stat -c %a "$T/backup.tar.gz")" = 600 ]; say $? "the backup is for its owner only"
mkdir "$T/unpacked" && tar -C "$T/unpacked" -xzf "$T/backup.tar.gz" && chown -R 0:0 "$T/unpacked"
[ "$("$PEERIX" whoami --home "$T/unpacked/peerix")" = "$id" ]; say $? "and holds the identity"
inside "$PEERIX" init --system --non-interactive >"$T/step" 2>&1
id=$(inside "$PEERIX" whoami --system)
try "a home root made before is taken over" inside "$install_sh" install --binary "$PEERIX"
[ "$(inside /usr/local/bin/peerix whoami --system)" = "$id" ]; say $? "with its identity"
try "and in order" inside "$install_sh" verify
try "purge makes no backup" bash -c "cd '$T/unpacked' && chroot '$T/view/root' '$install_sh' uninstall --purge && [ -z \"\$(find . / -maxdepth 1 -name 'peerix-backup-*')\" ]"
residue >"$T/step"
[ ! -s "$T/step" ]; say $? "nothing is left after it either"
exit 0 # the mounts end with their namespace
REAL
unshare -mnpf --kill-child --mount-proc bash "$T/real.sh" "$T" "$PEERIX" "$install_sh" "$HERE/overlay.sh" >"$T/real.out" 2>&1
rc=$?
if [ "$rc" = 99 ]; then skip "the real install: no overlay file system here"; else
    cat "$T/real.out"
    ! grep -q '^not ok' "$T/real.out" || FAILED=1
    check "the real part came to its end" test "$rc" = 0
fi
finish

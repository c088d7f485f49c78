#!/usr/bin/env bash
# deploy/relay-setup.sh: into a directory as a package is made, and for real, in a copy-on-write view of this
# machine's root that only this test sees. The installed relay runs as its user and serves; every fault that is
# made is told by verify; what is left in the end is compared with what was there before.
. "$(dirname "$0")/lib.sh"
TOP=$(cd "$HERE/../.." && pwd)
RELAY=$BIN/peerix-relay
setup=$TOP/deploy/relay-setup.sh
unit=$TOP/deploy/systemd/peerix-relay.service

# ---- the unit ----
exposure() { systemd-analyze security --offline=true --threshold=20 --no-pager "$1"; }
check "exposure of the service is at most 2.0" exposure "$unit"
mkdir -p "$T/loose" && sed 's/PrivateDevices=yes//; s/ProtectSystem=strict//; s/^CapabilityBoundingSet=.*//; s/SystemCallFilter=.*//' "$unit" >"$T/loose/peerix-relay.service"
looser_is_refused() { ! exposure "$T/loose/peerix-relay.service"; }
check "the check can tell: a looser unit is refused" looser_is_refused
check "its only privilege is a low port" bash -c '[ "$(grep -h "Capabilit" "$1" | grep -v "^#" | sort | tr "\n" " ")" = "AmbientCapabilities=CAP_NET_BIND_SERVICE CapabilityBoundingSet=CAP_NET_BIND_SERVICE " ]' _ "$unit"
"$RELAY" init --home "$T/leave" >/dev/null
leave_max() { ! "$RELAY" daemon --home "$T/leave" --leave "$1" >"$T/out" 2>&1 && grep -q 'leave.*0\.\.1m' "$T/out"; }
check "SIGTERM is given longer than the longest \`leave\`" bash -c "[ \$(sed -n 's/^TimeoutStopSec=//p' '$unit') -gt 60 ]"
check "which is 60 s" leave_max 61s

help_is_for_people() { [ "$("$setup" --help | sed -n '$p')" = "  --no-start leaves the service stopped" ]; }
check "--help ends where it should" help_is_for_people

# ---- into a directory ----
listing() { (cd "$1" && find . -printf '%p %y %m %s\n' | sort); }
R=$T/dest
mkdir -p "$R/usr/share/man" "$R/etc" && echo kept >"$R/etc/other"
listing "$R" >"$T/before"
pack() { "$setup" "$1" --root "$R" --prefix /usr "${@:2}"; }
finds() { # PATTERN: what verify calls wrong
    ! pack verify >"$T/out" 2>&1 && grep -q "^WRONG.*$1" "$T/out"
}
unchanged() { diff "$T/before" <(listing "$R"); }
check "install into a directory" pack install --binary "$RELAY"
for f in bin/peerix-relay lib/systemd/system/peerix-relay.service share/man/man1/peerix-relay.1 share/bash-completion/completions/peerix-relay \
    share/zsh/site-functions/_peerix-relay share/fish/vendor_completions.d/peerix-relay.fish share/peerix-relay/config.sample.yaml \
    share/peerix-relay/sysctl.conf lib/sysusers.d/peerix-relay.conf lib/tmpfiles.d/peerix-relay.conf; do
    [ -s "$R/usr/$f" ] || not_ok "$f is installed"
done
check "the unit names the prefix" grep -qx 'ExecStart=/usr/bin/peerix-relay daemon --system' "$R/usr/lib/systemd/system/peerix-relay.service"
check "nothing is made outside the directory's prefix" bash -c "[ ! -e '$R/etc/peerix-relay' ] && [ ! -e '$R/etc/sysctl.d' ] && [ ! -e '$R/var' ]"
check "the sample configuration is valid" "$RELAY" config validate "$R/usr/share/peerix-relay/config.sample.yaml"
if command -v mandoc >/dev/null; then
    check "the manual page is clean" bash -c '! mandoc -T lint -W warning "$1" | grep -v "missing date"' _ "$R/usr/share/man/man1/peerix-relay.1"
fi
check "verify finds it in order" pack verify
again() { cp "$R/usr/share/peerix-relay/manifest" "$T/m1" && pack install --binary "$RELAY" && diff <(sort "$T/m1") <(sort "$R/usr/share/peerix-relay/manifest"); }
check "installing again changes nothing" again
chmod 777 "$R/usr/bin/peerix-relay"
check "verify tells a changed mode" finds /usr/bin/peerix-relay
chmod 755 "$R/usr/bin/peerix-relay"
echo 'Nonsense' >>"$R/usr/lib/systemd/system/peerix-relay.service"
check "verify tells a changed unit" finds peerix-relay.service
check "with --sysctl the buffers' bound is there too" pack install --binary "$RELAY" --sysctl
check "and it is as the sample" cmp "$R/etc/sysctl.d/60-peerix-relay.conf" "$R/usr/share/peerix-relay/sysctl.conf"
pack install --binary "$RELAY" >/dev/null
check "an upgrade keeps it" test -s "$R/etc/sysctl.d/60-peerix-relay.conf"
rm "$R/etc/sysctl.d/60-peerix-relay.conf"
check "verify tells a file that is gone" finds 60-peerix-relay.conf
check "uninstall" pack uninstall
check "nothing is left, and nothing else is gone" unchanged
twice() { pack install --binary "$RELAY" && "$TOP/deploy/install.sh" install --root "$R" --prefix /usr --binary "$PEERIX"; }
check "a node and a relay go together" twice
check "either goes first" pack uninstall
check "leaving the other in order" "$TOP/deploy/install.sh" verify --root "$R" --prefix /usr
"$TOP/deploy/install.sh" uninstall --root "$R" --prefix /usr >/dev/null
check "and nothing behind" unchanged
not_twice() { ! pack uninstall 2>/dev/null; }
check "uninstalling what is not there fails" not_twice
bad_host() { ! pack install --binary "$RELAY" --public 'x"; y' 2>/dev/null; }
check "a host that is none is refused" bad_host

# ---- for real ----
if [ "$(id -u)" != 0 ] || ! unshare -mnpf --mount-proc true 2>/dev/null; then
    skip "the real install: needs root and namespaces"
    finish
fi
cat >"$T/real.sh" <<'REAL'
set -uo pipefail
T=$1 RELAY=$2 setup=$3 BIN=$5
port=$("$RELAY" config sample | sed -n 's/^#listen: ".*:\([0-9]*\)".*/\1/p')
. "$4" e2e_relay_install "$(dirname "$(dirname "$setup")")" "$(dirname "$RELAY")"
cd /tmp
# root's commands become the owner of the home; the leak checker cannot follow them there
export ASAN_OPTIONS=detect_leaks=0
root=$T/view/root
relay() { inside /usr/local/bin/peerix-relay "$@" --system; }
ip addr add 198.51.100.7/24 dev lo # such a machine has a public address
ip route add default via 198.51.100.1 dev lo
try "a real install" inside "$setup" install --binary "$RELAY"
id=$(relay whoami)
try "it names the URL, with the machine's public address" grep -q "^URL  *peerix-relay://$id@198\.51\.100\.7:$port\$" "$T/last"
cp "$T/last" "$T/step"
try "the commands for members and the port" bash -c "grep -q 'peerix-relay auth add NODE-ID' '$T/last' && grep -q \"peerix relay add 'peerix-relay://$id@\" '$T/last' && grep -q 'UDP port $port' '$T/last' && grep -q 'TCP port 443' '$T/last'"
try "the key belongs to the user alone" bash -c "[ \"\$(chroot '$root' stat -c '%U %a' /etc/peerix-relay/identity.pem)\" = 'peerix-relay 600' ]"
try "verify finds it in order" inside "$setup" verify
try "another host for the URL" inside "$setup" install --binary "$RELAY" --public relay.example.org
try "is taken up" grep -q "^URL .*@relay\.example\.org:$port$" "$T/last"
try "and kept by an upgrade" bash -c "chroot '$root' '$setup' install --binary '$RELAY' | grep -q '^URL .*@relay\.example\.org:$port$'"

# ---- the relay as the unit would run it: that user, one capability, nothing writable but its two directories ----
for d in etc/peerix-relay var/lib/peerix-relay; do mount --bind "$root/$d" "$root/$d" || exit 99; done
mount -o remount,bind,ro "$root" || exit 99
start() {
    chroot "$root" setpriv --reuid peerix-relay --regid peerix-relay --clear-groups --bounding-set=-all,+net_bind_service \
        --inh-caps=-all,+net_bind_service --ambient-caps=-all,+net_bind_service --no-new-privs -- \
        /usr/local/bin/peerix-relay daemon --system "$@" 2>"$T/real.log" &
    daemon=$!
    for _ in $(seq 200); do grep -q -e event=ready -e event=daemon.failed "$T/real.log" && break; sleep 0.05; done
    cp "$T/real.log" "$T/step"
}
stop() { kill "$daemon" && wait "$daemon"; }
start
grep -q "event=ready.* url=peerix-relay://$id@relay.example.org:$port" "$T/real.log"; say $? "it runs unprivileged and prints that URL"
grep -q 'event=ready.* tcp=[^ ]*:443 ' "$T/real.log"; say $? "TCP port 443 is its to take"
[ "$(ps -o user:20= -p "$daemon" | tr -d ' ')" = peerix-relay ] || [ "$(stat -c %u "/proc/$daemon")" = "$(inside id -u peerix-relay)" ]; say $? "as its user"
try "nothing else of the machine was writable for it" bash -c "! chroot '$root' touch /etc/x /usr/local/x /var/lib/x 2>/dev/null"

# ---- a member ----
"$RELAY" init --home "$T/alice" >/dev/null
relay auth add "$("$RELAY" whoami --home "$T/alice")" --name alice >/dev/null
for _ in $(seq 100); do relay status --json | grep -q '"members": 1' && break; sleep 0.05; done
mkfifo "$T/alice.in"
"$BIN/tests/relay_client" "$T/alice/identity.pem" "$id" 198.51.100.7:$port <"$T/alice.in" >"$T/alice.out" 2>&1 &
client=$!
exec 9>"$T/alice.in"
for _ in $(seq 100); do grep -q '^reserved OK member' "$T/alice.out" && break; sleep 0.05; done
cp "$T/alice.out" "$T/step"
grep -q '^reserved OK member' "$T/step"; say $? "a member added by root is served at once"
inside "$setup" verify >"$T/step" 2>&1
say $? "verify finds the running relay in order"
try "and says that it answers" bash -c "grep -q '^ok .*/healthz' '$T/last' && grep -q '^ok .*/metrics' '$T/last' && grep -q '^ok .*answers status' '$T/last'"
exec 9>&-
wait "$client"

# ---- faults ----
etc=$root/etc/peerix-relay
# fault NAME PATTERN UNDO COMMAND…: made, told, undone
fault() {
    local name=$1 pattern=$2 undo=$3
    shift 3
    "$@"
    inside "$setup" verify >"$T/step" 2>&1
    [ $? = 1 ] && grep -q "^WRONG $pattern" "$T/step"
    say $? "verify tells $name"
    eval "$undo"
}
fault "a key that others may read" '/etc/peerix-relay/identity.pem' 'chmod 600 "$etc/identity.pem"' chmod 644 "$etc/identity.pem"
fault "a home of another user" '/etc/peerix-relay is' 'chown "$owner" "$etc"' eval 'owner=$(stat -c %u:%g "$etc"); chown 0:0 "$etc"'
cp -p "$etc/config.yaml" "$T/config.yaml"
fault "a configuration that makes no sense" 'config.yaml' 'cat "$T/config.yaml" >"$etc/config.yaml"' eval 'echo "reservations: many" >>"$etc/config.yaml"'
cp -p "$etc/authorized_keys" "$T/keys"
fault "a line that is no member" 'authorized_keys is valid' 'cat "$T/keys" >"$etc/authorized_keys"' eval 'echo "not a key" >>"$etc/authorized_keys"'
fault "a relay elsewhere than configured" 'it listens' 'cat "$T/config.yaml" >"$etc/config.yaml"' eval 'echo "listen: \"[::]:9\"" >>"$etc/config.yaml"'
fault "TCP elsewhere" 'it listens on TCP port 8443' 'cat "$T/config.yaml" >"$etc/config.yaml"' eval 'echo "tcp: \"[::]:8443\"" >>"$etc/config.yaml"'
fault "/healthz elsewhere" '/healthz' 'cat "$T/config.yaml" >"$etc/config.yaml"' eval 'echo "metrics: \"127.0.0.1:9\"" >>"$etc/config.yaml"'
kill -STOP "$daemon"
fault "a relay that hangs" '/healthz' 'kill -CONT "$daemon"' true
inside "$setup" uninstall --backup /tmp/never.tar.gz >"$T/step" 2>&1
[ $? != 0 ] && grep -q 'still run' "$T/step" && [ -d "$etc" ]
say $? "uninstall refuses while a relay runs that it cannot stop"
kill -9 "$daemon"; wait "$daemon" 2>/dev/null
fault "a relay that died" 'the relay answers' true true
start; stop
inside "$setup" verify >"$T/step" 2>&1 && grep -q '^--.*not running' "$T/step"; say $? "one that was stopped is no fault without a service manager"
mount -o remount,bind,rw "$root" && for d in etc/peerix-relay var/lib/peerix-relay; do umount "$root/$d"; done
cp -p "$root/etc/passwd" "$T/passwd"
fault "a user that is gone" 'user peerix-relay' 'cat "$T/passwd" >"$root/etc/passwd"' sed -i '/^peerix-relay:/d' "$root/etc/passwd"
fault "a program that is not the one installed" '/usr/local/bin/peerix-relay' 'inside "$setup" install --binary "$RELAY" >/dev/null' eval 'echo >>"$root/usr/local/bin/peerix-relay"'
try "install repairs it" inside "$setup" verify

# ---- the end ----
try "uninstall" inside "$setup" uninstall --backup "$T/backup.tar.gz"
try "it names the backup" grep -q "^backup  *$T/backup.tar.gz" "$T/last"
residue >"$T/step"
[ ! -s "$T/step" ]; say $? "nothing is left: files, user, state"
[ "$(stat -c %a "$T/backup.tar.gz")" = 600 ]; say $? "the backup is for its owner only"
tar -C "$root" -xzf "$T/backup.tar.gz"
try "unpacked before an install" inside "$setup" install --binary "$RELAY"
try "it is the same relay again" bash -c "grep -q '^URL  *peerix-relay://$id@relay\.example\.org:$port$' '$T/last' && chroot '$root' /usr/local/bin/peerix-relay auth list --system | grep -q alice && [ -s '$root/var/lib/peerix-relay/relay.db' ]"
try "and in order" inside "$setup" verify
try "purge makes no backup" bash -c "cd '$T' && mkdir purge && cd purge && chroot '$root' '$setup' uninstall --purge && [ -z \"\$(find . / '$root' -maxdepth 1 -name 'peerix-relay-backup-*')\" ]"
residue >"$T/step"
[ ! -s "$T/step" ]; say $? "nothing is left after it either"
exit 0 # the mounts end with their namespace
REAL
unshare -mnpf --kill-child --mount-proc bash "$T/real.sh" "$T" "$RELAY" "$setup" "$HERE/overlay.sh" "$BIN" >"$T/real.out" 2>&1
rc=$?
if [ "$rc" = 99 ]; then skip "the real install: no overlay file system here"; else
    cat "$T/real.out"
    ! grep -q '^not ok' "$T/real.out" || FAILED=1
    check "the real part came to its end" test "$rc" = 0
fi
finish

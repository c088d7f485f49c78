# A copy-on-write view of this machine's root for tests that install for real: an overlay in a mount namespace
# of our own, so that all that is written lands in $T/view/up. Source it there (unshare -mnpf --mount-proc), with
# $T set, the test's name and the directories that are needed as they are. Exits 99 where there is no overlay.
TEST=$1
ip link set lo up
mkdir -p "$T/view" && mount -t tmpfs view "$T/view" && mkdir "$T/view/up" "$T/view/work" "$T/view/root" || exit 99
mount -t overlay overlay -o "lowerdir=/,upperdir=$T/view/up,workdir=$T/view/work" "$T/view/root" || exit 99
# the checkout, the program and our directory may be on other file systems
for d in /dev /proc; do mount --rbind "$d" "$T/view/root$d" || exit 99; done
for d in /tmp "${@:2}" "$T"; do
    mkdir -p "$T/view/root$d" && mount --bind "$d" "$T/view/root$d" || exit 99
done
inside() { chroot "$T/view/root" "$@"; }
say() { if [ "$1" = 0 ]; then echo "ok - $TEST: $2"; else echo "not ok - $TEST: $2"; tail -n 20 "$T/step"; fi; }
try() { # NAME COMMAND…
    local name=$1
    shift
    [ ! -e "$T/step" ] || cp "$T/step" "$T/last" # what the step before said
    "$@" >"$T/step" 2>&1
    say $? "$name"
}
# What is there now that was not, or differs: the upper layer, without directories that were only touched and
# without what the user database keeps as its own backup, and what nix-daemon did.
residue() {
    (cd "$T/view/up" && find . ! -type d -print | sed 's/^\.//' | grep -vE '^/nix/|^/root/|^/etc/((passwd|group|g?shadow|sub[ug]id)-|\.pwd\.lock)$' |
        while read -r f; do [ -f "/$f" ] && [ ! -c "$T/view/up$f" ] && cmp -s "/$f" "$T/view/up$f" || echo "$f"; done
    find . -type d | sed 's/^\.//' | grep -vE '^/(nix|root)(/|$)' | while read -r d; do [ -z "$d" ] || [ -d "$d" ] || echo "$d/"; done) | sort
}

#!/usr/bin/env bash
# Through nix-daemon, both ways: the serving node reads its store from a nix-daemon's socket, and an
# unprivileged user fetches through a nix-daemon that asks our substituter.
. "$(dirname "$0")/lib.sh"
[ "$(id -u)" = 0 ] || { skip "needs root to run nix-daemon for another user"; exit 0; }
user=nobody
chmod 755 "$T"

# A daemon works on a store of its own by NIX_* directories: same logical store, another root.
daemon() { # NAME SUBSTITUTERS KEYS
    local name=$1 conf
    conf=$(nix_env "$@")
    mkdir -p "$T/$name/conf" "$T/$name/nix-home" "$T/$name/root/nix/store"
    chmod 755 "$T/$name"
    NIX_CONFIG="$conf
allowed-users = *
store = $(store_uri "$name")" NIX_CONF_DIR=$T/$name/conf HOME=$T/$name/nix-home \
        NIX_DAEMON_SOCKET_PATH=$T/$name/socket nix-daemon >"$T/$name.daemon.log" 2>&1 &
    PIDS+=($!)
    until_true 10 test -S "$T/$name/socket"
}

mkdir -p "$T/alice" "$T/bob"
top=$(build alice "$HERE/closure.nix" --argstr tag daemon --arg n 12 --arg per 12) || { not_ok "build"; finish; }
check "a nix-daemon for the serving store" daemon alice
node_init alice; node_init bob
key=$(node_key alice)
node_trust alice bob
alice_store="unix://$T/alice/socket?root=$T/alice/root"
"$PEERIX" daemon --home "$T/alice/home" --listen 127.0.0.1:0 --http 127.0.0.1:0 --store "$alice_store" \
    --nix-conf "" --log-level debug >"$T/alice.log" 2>&1 &
PIDS+=($!)
until_true 15 grep -q event=ready "$T/alice.log" || { not_ok "the node reads from the daemon" "$T/alice.log"; finish; }
check "the node says it reads from a daemon" grep -q 'event=ready.*daemon' "$T/alice.log"
node_trust bob alice "$(sed -n 's/.*event=ready.* overlay=\([^ ]*\).*/\1/p' "$T/alice.log")"
node_start bob --trusted-public-key "$key"
until_true 10 connected bob alice || { not_ok "connect" "$T/bob.log" "$T/alice.log"; finish; }

check "a nix-daemon for the fetching store" daemon carol "$bob_http" "$key"
as_user() {
    setpriv --reuid="$user" --regid=nogroup --clear-groups env -i PATH="$PATH" HOME=/nonexistent \
        NIX_REMOTE="unix://$T/carol/socket" NIX_CONF_DIR="$T/carol/conf" "$@"
}
check "an unprivileged user fetches 12 paths through it" as_user nix-store -r "$top"
check "they are valid there" test "$(as_user nix-store -qR "$top" | wc -l)" = 12
check "byte-equal" test "$(dump_sum alice "$top")" = "$(nix-store --dump "$T/carol/root$top" | sha256sum)"
finish

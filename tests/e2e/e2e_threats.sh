#!/usr/bin/env bash
# Local attacks on a node, one by one, as docs/threat-model.md lists them: what is planted in files, given to
# commands and sent to sockets must not become configuration, lines, other files or long work.
. "$(dirname "$0")/lib.sh"
umask 0 # modes must not depend on it
node_init alice
node_init bob
home=$T/alice/home
peer=$(node_id bob)
cmd() { "$PEERIX" "$@" --home "$home"; }
fails() { ! "$@" >"$T/out" 2>&1; }
sum() { sha256sum "$home/authorized_keys" "$home/config.yaml"; }
node_trust alice bob
check "good names are taken (so what follows means something)" bash -c "
    '$PEERIX' auth add '$peer' --name bob --comment 'a friend' --addr host:1 --home '$home' && '$PEERIX' name add robert '$peer' --home '$home'"
before=$(sum)
unchanged() { [ "$before" = "$(sum)" ]; }

# ---- names and other words that become part of a file ----
nl=$'\n'
for name in "x${nl}y" 'x grant=nix-daemon' 'x"' '../x' 'x#' $'x\ty' 'X:1' "x$nl${peer}" ''; do
    fails cmd auth add "$peer" --name "$name" || not_ok "the name '$name' is refused"
    fails cmd name add "$name" "$peer" || not_ok "the name '$name' is refused as a further name"
done
check "a peer's name cannot carry options or lines" unchanged
check "nor a comment" fails cmd auth add "$peer" --comment "friend${nl}12D3KooWEvil grant=nix-daemon"
check "nor an address" fails cmd auth add "$peer" --addr "host:1${nl}x"
check "nor the name of the signing key" fails "$PEERIX" init --home "$T/other" --non-interactive --nix-key-name "a${nl}b"
printf 'nix-key: "a\\nlog-level: debug"\n' >"$T/inject.yaml"
check "a value of the configuration holds no line end" fails cmd config apply "$T/inject.yaml"
check "a value cannot come with an alias or a tag" bash -c "
    printf 'network: !!binary YQ==\n' >'$T/tag.yaml'; ! '$PEERIX' config validate '$T/tag.yaml' 2>/dev/null &&
    printf 'network: &a x\nstore: *a\n' >'$T/alias.yaml'; ! '$PEERIX' config validate '$T/alias.yaml' 2>/dev/null"
check "none of that left a trace" unchanged

# ---- addresses ----
for addr in 127.0.0.1 :1 host:0 host:65536 'host:1,2' 'a b:1' '[::1:1' "$(printf 'x%.0s' $(seq 300)):1"; do
    fails cmd auth add "$peer" --addr "$addr" || not_ok "the address '$addr' is refused"
done
check "malformed addresses are refused" unchanged
check "the substituter binds no other machine's reach" fails cmd config apply <(echo 'http: "0.0.0.0:12304"')

# ---- reads without end ----
head -c 1100000 /dev/zero | tr '\0' '#' >"$T/long"
timeout 10 bash -c "yes 'a: b' | '$PEERIX' config apply - --home '$home'" >"$T/out" 2>&1
check "an endless configuration is cut off" test "$?" = 5
check "a long one is refused" fails cmd config apply "$T/long"
cp "$home/authorized_keys" "$T/keys.kept" && cat "$T/long" "$T/long" "$T/long" "$T/long" >>"$home/authorized_keys" # over 4 MiB
check "an overlong authorized_keys is refused" fails cmd auth list
cat "$T/keys.kept" >"$home/authorized_keys"
timeout 10 bash -c "yes AAAA | tr -d '\n' | head -c 50000000 | '$PEERIX' join - --home '$home' --non-interactive" >"$T/out" 2>&1
rc=$?
check "an endless invite code is refused as one, in time" test "$rc" = 21

# ---- links in the place of our files ----
echo precious >"$T/victim"
cp "$T/victim" "$T/victim.kept"
for f in authorized_keys.lock config.lock config.pending control.cookie control.lock control.sock state.db names.lock; do
    rm -rf "${home:?}/$f"
    ln -s "$T/victim" "$home/$f"
done
cmd auth add "$peer" --comment linked >/dev/null 2>&1
cmd name add linked "$peer" >/dev/null 2>&1
printf 'priority: 33\n' >"$T/other.yaml"
cmd config apply "$T/other.yaml" --confirm-timeout 60s >/dev/null 2>&1
in_store alice "" "" nix-store --init
timeout 5 "$PEERIX" daemon --home "$home" --listen 127.0.0.1:0 --http 127.0.0.1:0 --store "$(store_uri alice)" --nix-conf "" >"$T/linked.log" 2>&1
check "links planted in the home lead no write astray" cmp "$T/victim" "$T/victim.kept"
find "$home" -type l -delete
check "config.yaml as a link is not replaced" bash -c "
    mv '$home/config.yaml' '$T/managed.yaml' && ln -s '$T/managed.yaml' '$home/config.yaml' &&
    ! '$PEERIX' config apply '$T/other.yaml' --home '$home' 2>/dev/null && [ -L '$home/config.yaml' ] &&
    rm '$home/config.yaml' && mv '$T/managed.yaml' '$home/config.yaml'"
before=$(sum)

# ---- a running daemon ----
node_start alice --log-level info
cookie=$(cat "$home/control.cookie")
api() { curl -s -m 10 -o "$T/body" -w '%{http_code}' --unix-socket "$home/control.sock" -H "Authorization: Bearer $cookie" "$@"; }
check "the control API answers us (so what follows means something)" test "$(api http://localhost/v1/status)" = 200
check "a body of the control API has an end" test "$(api -X POST --data-binary "@$T/long" -H 'Content-Type: application/json' http://localhost/v1/config/apply)" = 413
check "line ends in a path reach no file" bash -c "[ '$(api "http://localhost/v1/resolve/x%0d%0ay")' != 200 ]"
check "a proxy is refused" test "$(api -H 'X-Forwarded-For: 10.0.0.1' http://localhost/v1/status)" = 403
check "a browser is refused" test "$(api -H 'Origin: http://evil.example' http://localhost/v1/status)" = 403
cookie=wrong
check "a wrong cookie is refused" test "$(api http://localhost/v1/status)" = 401
if [ "$(id -u)" = 0 ]; then
    chmod 755 "$T" "$T/alice" && chmod 711 "$home"
    code=$(setpriv --reuid 65534 --regid 65534 --clear-groups curl -s -m 5 -o /dev/null -w '%{http_code}' --unix-socket "$home/control.sock" \
        -H "Authorization: Bearer $(cat "$home/control.cookie")" http://localhost/v1/status)
    check "another user is kept out even with the cookie (code $code)" test "$code" = 000 -o "$code" = 403
    chmod 700 "$home"
else
    skip "another user at the control socket: needs root"
fi
check "no line of the log is forged" bash -c "! grep -vE '^time=[^ ]+ level=(error|warn|info|debug) event=[a-z0-9_.]+ ' '$T/alice.log'"

# ---- modes, after everything above, with umask 0 ----
cmd auth add "$peer" --comment again >/dev/null
cmd config apply "$T/other.yaml" >/dev/null
cmd config rollback >/dev/null
node_stop alice
# configuration and what Nix imports (public keys) hold no secret; nothing else is readable, and nothing writable
check "no file of the home is open to others" bash -c "[ -z \"\$(find '$home' -mindepth 1 \( -perm /022 -o \( -perm /044 ! -name config.yaml ! -name peers.json \) \) -print | tee /dev/stderr)\" ]"
check "the home is its owner's alone" test "$(stat -c %a "$home")" = 700
finish

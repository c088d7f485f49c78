#!/usr/bin/env bash
# Limits of the control API that whoever may speak there can run into, read from the headers: one below
# passes, one more is refused with its reason, and what ended makes room. And a disk that is full.
if [ -z "${PX_LIMITS_NS:-}" ] && unshare -m true 2>/dev/null; then
    exec env PX_LIMITS_NS=1 unshare -m "$0" "$@" # its mount goes with it
fi
. "$(dirname "$0")/lib.sh"
FORGE=$BIN/tests/invite_forge
[ -x "$FORGE" ] || FORGE=$BIN/invite_forge
L=http://localhost

# limit HEADER NAME: its value
limit() { sed -n "s/^#define $2 *(\{0,1\}\([0-9]*\).*/\1/p" "$HERE/../../$1"; }
# ask TARGET [CURL-ARGS]: prints the status, leaves the body in $T/body
ask() {
    curl -s -m 10 --unix-socket "$T/alice/home/control.sock" -o "$T/body" -w '%{http_code}' \
        -H "Authorization: Bearer $(cat "$T/alice/home/control.cookie")" "${@:2}" "$L$1"
}
# follow FILE TARGET [CURL-ARGS]: a call that stays; its pid is in $call
follow() {
    : >"$1"
    curl -s -N --unix-socket "$T/alice/home/control.sock" \
        -H "Authorization: Bearer $(cat "$T/alice/home/control.cookie")" "${@:3}" "$L$2" >"$1" 2>/dev/null &
    call=$!
    PIDS+=("$call")
}
refused() { # STATUS ERROR: what the last answer was
    [ "$got" = "$1" ] && jq -e --arg e "$2" '.error == $e and (.message | length > 0)' "$T/body"
}
invite() { ask /v1/invites -d "$1"; }

node_init alice && node_start alice || { not_ok "alice starts"; finish; }

# ---- how long an invite may live: PX_PAIRING_TTL_MAX ----
most=$(limit auth/pairing_invite.h PX_PAIRING_TTL_MAX)
a_day() { [[ $(invite "{\"ttl\": $most}") = 20[01] ]]; }
check "an invite may live a day" a_day
got=$(invite "{\"ttl\": $((most + 1))}")
check "and not a second longer" refused 400 EINVAL

# ---- who waits for an invite: PX_PAIRING_WATCHERS_MAX ----
invite '{"addrs": ["127.0.0.1:9"]}' >/dev/null
id=$(jq -r .id "$T/body") code=$(jq -r .code "$T/body")
most=$(limit node/pairing.h PX_PAIRING_WATCHERS_MAX)
for i in $(seq "$most"); do
    follow "$T/wait.$i" "/v1/invites/$id/wait"
    [ "$i" != 1 ] || first=$call
done
all_wait() { [ "$(grep -l '"state":"open"' "$T"/wait.* | wc -l)" = "$most" ]; }
check "$most callers wait for an invite" until_true 5 all_wait
got=$(ask "/v1/invites/$id/wait")
check "one more is refused" refused 503 EBUSY
# nothing is written to it: its end must be noticed all the same
kill "$first"
wait "$first" 2>/dev/null
follow "$T/wait.more" "/v1/invites/$id/wait"
again() {
    grep -q '"state":"open"' "$T/wait.more" && return 0
    kill -0 "$call" 2>/dev/null || follow "$T/wait.more" "/v1/invites/$id/wait"
    return 1
}
check "a caller that died while nothing was said makes room" until_true 5 again

# ---- joins under way: PX_PAIRING_JOINS_MAX ----
most=$(limit node/pairing.h PX_PAIRING_JOINS_MAX)
for i in $(seq $((most + 1))); do
    node_init "n$i"
    codes[i]=$("$FORGE" "$code" inviter "$(node_id "n$i")")
done
for i in $(seq "$most"); do
    follow "$T/join.$i" /v1/join -d "{\"code\": \"${codes[i]}\"}"
done
all_dial() { [ "$(grep -l '"state":"dialling"' "$T"/join.* | wc -l)" = "$most" ]; }
check "$most joins are under way" until_true 5 all_dial
got=$(ask /v1/join -d "{\"code\": \"${codes[most + 1]}\"}")
check "one more is refused" refused 503 EBUSY
check "and why is said" grep -q "$most others" "$T/body"
joins_again() {
    follow "$T/join.more" /v1/join -d "{\"code\": \"${codes[most + 1]}\"}"
    sleep 0.3
    grep -q '"state":"dialling"' "$T/join.more"
}
check "a join that failed makes room" until_true 30 joins_again

# ---- how long a change of the configuration waits: PX_CONFIG_CONFIRM_MAX_MS ----
most=$((24 * 3600 * 1000))
check "a change waits a day at most" grep -q '^#define PX_CONFIG_CONFIRM_MAX_MS *(24 \* 3600 \* 1000ULL)' "$HERE/../../node/config_apply.h"
got=$(ask /v1/config/apply -d "{\"text\": \"priority: 35\\n\", \"confirm_timeout_ms\": $((most + 1))}")
check "a longer one is refused" refused 400 EINVAL
check "a day is taken" test "$(ask /v1/config/apply -d "{\"text\": \"priority: 35\\n\", \"confirm_timeout_ms\": $most}")" = 200
check "and confirmed" test "$(ask /v1/config/confirm -X POST)" = 200

check "the daemon ends in order" node_stop alice

# ---- a full disk is called one ----
mkdir -p "$T/alice" "$T/tiny"
if [ -z "${PX_LIMITS_NS:-}" ] || ! mount -t tmpfs -o size=4m none "$T/tiny" 2>/dev/null; then
    skip "a full disk: nothing may be mounted here"
    finish
fi
trap 'umount -l "$T/tiny"; cleanup' EXIT
# fill: to the last page; drain: what filled it is gone
fill() { dd if=/dev/zero of="$T/tiny/filler" bs=4k status=none 2>/dev/null; test "$(df --output=avail "$T/tiny" | tail -1)" -eq 0; }
drain() { rm -f "$T/tiny/filler"; }
no_space() { # COMMAND…
    ! "$@" >"$T/full.out" 2>&1 && grep -q "no space left on device" "$T/full.out" && ! grep -q "input/output error" "$T/full.out"
}
check "the disk is full" fill
check "init says so" no_space "$PEERIX" init --home "$T/tiny/other" --non-interactive
drain
rm -rf "$T/tiny/other"
mkdir "$T/full"
mv "$T/alice/home" "$T/tiny/home" && ln -s "$T/tiny/home" "$T/full/home"
node_start full || { not_ok "a node on the small disk starts" "$T/full.log"; finish; }
mkdir -p "$T/alice" && ln -sfn "$T/tiny/home" "$T/alice/home"
fill
check "auth add says so" no_space "$PEERIX" auth add --home "$T/full/home" "$(node_id n1)"
check "an invite that could not be stored, too" no_space "$PEERIX" invite --home "$T/full/home"
got=$(invite '{"ttl": 60}')
check "by an error of its own" refused 507 ENOSPC
check "the daemon goes on" test "$(ask /v1/status)" = 200
drain
check "with room again all is well" eval '"$PEERIX" invite --home "$T/full/home" && "$PEERIX" auth add --home "$T/full/home" "$(node_id n1)"'
check "and it ends in order" node_stop full
finish

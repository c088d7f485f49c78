#!/usr/bin/env bash
# Two machines pair with one code, and then real nix on each fetches what the other built, signatures required.
# Every way it can fail has its own exit code and leaves nothing granted; either side is killed at every step.
. "$(dirname "$0")/lib.sh"
FORGE=$BIN/tests/invite_forge
[ -x "$FORGE" ] || FORGE=$BIN/invite_forge

invite() { "$PEERIX" invite --home "$T/$1/home" "${@:2}"; }
join() { "$PEERIX" join --home "$T/$1/home" "${@:2}"; }
lists() { grep -q "^$(node_id "$2") " "$T/$1/home/authorized_keys"; }
grants() { grep "^$(node_id "$2") " "$T/$1/home/authorized_keys" | grep -q ' grant=cache,cache-own'; }
nothing() { ! grep -q "$(node_id "$2")" "$T/$1/home/authorized_keys"; }
apart() { local n; for n in a b c; do : >"$T/$n/home/authorized_keys"; done; }
# start NAME [KILL-AT]: the daemon, always at the port it had first
start() {
    local overlay="${1}_overlay" port="${1}_port"
    NODE_WRAP=(env PEERIX_TEST_KILL_AT="${2:-}")
    : >"$T/$1.log"
    node_start "$1" ${!port:+--listen "127.0.0.1:${!port}"} || return 1
    NODE_WRAP=()
    printf -v "$port" '%s' "${!overlay##*:}"
}
killed() { local pid="${1}_pid"; kill -9 "${!pid}" 2>/dev/null; wait "${!pid}" 2>/dev/null; true; }
# the words of the names differ although both run on one host: nix takes one key of a name
for n in a b c; do "$PEERIX" init --home "$T/$n/home" --non-interactive --nix-key-name "$n-1" >/dev/null; done

check "without a daemon: invite says so" run 8 invite a
check "without a daemon: join says so" run 8 join b 0400E3GT-N3GHJMCM-9R7X34TC-N2VC9MQC-0XVYGP6D-976N1N2B-QVDFE4SS-F9DJRB2D-CCR32CHN-K6GTKCD8-SR75GP4D-RV4CNK5G-9K8S
for n in a b c; do start $n || { not_ok "$n starts" "$T/$n.log"; finish; }; done

# ---- the ordinary way ----
one=$(build a "$HERE/big.nix" --argstr tag one --arg mib 1) || { not_ok "a builds"; finish; }
two=$(build b "$HERE/big.nix" --argstr tag two --arg mib 1) || { not_ok "b builds"; finish; }
# asks NAME PATH: nix would keep a 404 for an hour, so nothing may be asked a second time here
asks() {
    local http="${1}_http"
    curl -s -o /dev/null --max-time 10 -w '%{http_code}\n' "${!http}/$(basename "$2" | cut -c -32).narinfo" >"$T/status"
    echo "$1: $(cat "$T/status")"
    grep -qx 200 "$T/status"
}
state_of() { "$PEERIX" peers --home "$T/$1/home" "$2" --json | jq -r .state; }
code=$(invite a --name bob)
check "a code is one line of dashed groups" grep -qxE '([0-9A-HJKMNP-TV-Z]{8}-)+[0-9A-HJKMNP-TV-Z]{2,8}' <<<"$code"
check "join: paired" run 0 join b "$code" --name alice
check "paired means that b can ask at once" asks b "$one"
check "and a can ask b" asks a "$two"
cp "$T/run.out" "$T/join.out"
check "join prints the lines for nix.conf" grep -qxE 'extra-trusted-public-keys = a-1:[^ ]+' "$T/join.out"
check "both lists have the other with its grants" eval 'grants a b && grants b a'
check "with the names that were asked for" eval 'grep -q "name=bob " "$T/a/home/authorized_keys" && grep -q "name=alice " "$T/b/home/authorized_keys"'
check "and with addresses" eval 'grep -q "addr=$b_overlay " "$T/a/home/authorized_keys" && grep -q "addr=$a_overlay " "$T/b/home/authorized_keys"'
check "they are connected" eval 'until_true 10 connected a bob && until_true 10 connected b alice'
conf() { "$PEERIX" nix-conf --home "$T/$1/home" | sed -n "s/^extra-$2 = //p"; }
fetch() { in_store "$1" "$(conf "$1" substituters)" "$(conf "$1" trusted-public-keys)" nix-store -r "$2"; }
check "real nix on b fetches what a built, by the lines of nix-conf" fetch b "$one"
check "real nix on a fetches what b built" fetch a "$two"
check "byte by byte" test "$(dump_sum a "$one")" = "$(dump_sum b "$one")"
refuses_unsigned() { ! in_store c "$(conf b substituters)" "" nix-store -r "$one"; }
check "a nix that does not trust the key refuses it" refuses_unsigned
check "Nix can import what was paired" eval 'jq -e ".peers[\"$(node_id a)\"].\"nix-key\" == .\"trusted-public-keys\"[0]" "$T/b/home/peers.json"'

# ---- codes that are no good ----
check "the same node may join again" run 0 join b "$code"
check "and can ask at once" asks b "$one"
: >"$T/a/home/authorized_keys"
until_true 5 eval '[ "$("$PEERIX" auth list --home "$T/a/home" --json | jq ".peers | length")" = 0 ]'
again=$(invite a --name bob)
check "a node that was removed on one side only may come again" run 0 join b "$again"
check "and both can ask at once" eval 'asks b "$one" && asks a "$two"'
killed a; : >"$T/a/home/authorized_keys"; start a
again=$(invite a --name bob)
check "over a link that is dead" run 0 join b "$again"
check "and both can ask at once, once more" eval 'asks b "$one" && asks a "$two"'
setsid "$PEERIX" invite --home "$T/a/home" --wait --name bob --json >"$T/inv.json" 2>/dev/null </dev/null & inv=$!; PIDS+=($inv)
until_true 5 grep -q '"code"' "$T/inv.json"
join b "$(jq -r 'select(.code) | .code' "$T/inv.json")" --json >"$T/join.json" 2>/dev/null
check "the joiner is told that they are connected" eval 'jq -se ".[-1] | .state == \"paired\" and .connected" "$T/join.json"'
wait $inv; check "the inviter is told when they are" eval 'test $? = 0 && jq -se ".[-1] | .state == \"used\" and .connected" "$T/inv.json"'
check "and their state is that of peers" eval '[ "$(state_of a bob)" = connected ] && [ "$(state_of b alice)" = connected ]'
check "reuse by another node is refused" run 24 join c "$code"
check "and says so" says "another node has used the invite"
check "that left nothing" eval 'nothing a c && nothing c a'
check "junk" run 21 join c "hello"
typo=$(sed 's/^\(.\{20\}\)./\1Z/' <<<"$code"); [ "$typo" != "$code" ] || typo=$(sed 's/^\(.\{20\}\)./\1Y/' <<<"$code")
check "a typo" run 20 join c "$typo"
check "and where it is" says "group 3 has a typo"
check "an invite of this very node" run 2 join a "$code"
code=$(invite a --ttl 1s)
sleep 1.5
check "an invite whose time is over" run 23 join c "$code"
check "and says so" says "the invite has expired"
code=$(invite a)
bad=$("$FORGE" "$code" secret)
check "a wrong secret" run 26 join c "$bad"
check "a second time" run 26 join c "$bad"
check "the third burns the invite" run 25 join c "$bad"
check "for the right code as well" run 25 join c "$code"
code=$(invite a)
check "an unknown invite" run 22 join c "$("$FORGE" "$code" id)"
check "does not count against the one there is" run 22 join c "$("$FORGE" "$code" id)"
check "another node at the inviter's address" run 29 join c "$("$FORGE" "$code" inviter "$(node_id b)")"
api() { curl -s --max-time 10 --unix-socket "$T/$1/home/control.sock" -H "Authorization: Bearer $(cat "$T/$1/home/control.cookie")" "${@:2}"; }
withdrawn=$(invite a --json); id=$(jq -r .id <<<"$withdrawn")
check "an invite can be withdrawn" test "$(api a -X DELETE "http://localhost/v1/invites/$id" | jq -r .state)" = withdrawn
check "then it is" run 28 join c "$(jq -r .code <<<"$withdrawn")"
withdrawn=$(invite a --json --name carol); id=$(jq -r .id <<<"$withdrawn")
check "open ones are listed" eval 'invite a --list | grep -qE "^$id +open +carol +(10 min 0 s|9 min 59 s) +-$"'
check "in JSON too" eval 'invite a --list --json | jq -e ".invites | map(select(.id == \"$id\" and .state == \"open\")) | length == 1"'
check "without their secret" eval '! invite a --list --json | grep -q "$(jq -r .code <<<"$withdrawn")"'
check "and withdrawn by ID" eval '[ "$(invite a --withdraw "$id")" = withdrawn ]'
check "once" run 1 invite a --withdraw "$id"
check "which it is as well" run 28 join c "$(jq -r .code <<<"$withdrawn")"
check "an ID that nobody made" run 22 invite a --withdraw 000000
check "no ID" run 2 invite a --withdraw "../auth"
check "listing makes none" run 2 invite a --list --ttl 5m
check "all that left nothing" eval 'nothing a c && nothing c a'

# ---- where the code comes from ----
check "from the environment" eval 'PEERIX_INVITE=$code run 0 join c --non-interactive'
"$PEERIX" auth remove --home "$T/a/home" "$(node_id c)" >/dev/null; "$PEERIX" auth remove --home "$T/c/home" "$(node_id a)" >/dev/null
code=$(invite a --json | jq -r .url)
check "from standard input, as a URL, in lower case and broken into lines" eval 'fold -w 30 <<<"${code,,}" | "$PEERIX" join --home "$T/c/home" >"$T/run.out" 2>&1'
check "and paired" eval 'grants a c && grants c a'
check "the QR code is drawn when asked for" eval 'invite a --qr | grep -q "▀"'
apart

# ---- comparing strings; two at once ----
# a human at each end is a FIFO; without a terminal the question is read from standard input
mkfifo "$T/yes-a" "$T/yes-b"
rm -f "$T/inv.out"
setsid "$PEERIX" invite --home "$T/a/home" --verify --ttl 30s >"$T/inv.out" 2>&1 <"$T/yes-a" & inv=$!; PIDS+=($inv)
exec 7>"$T/yes-a"
until_true 5 grep -qE '^[0-9A-Z]{8}-' "$T/inv.out"
code=$(grep -E '^[0-9A-Z]{8}-' "$T/inv.out")
setsid "$PEERIX" join --home "$T/b/home" "$code" >"$T/join.out" 2>&1 <"$T/yes-b" & jn=$!; PIDS+=($jn)
exec 8>"$T/yes-b"
sas() { sed -n 's/^This side shows   //p' "$1"; }
both_show() { [ -n "$(sas "$T/inv.out")" ] && [ -n "$(sas "$T/join.out")" ]; }
check "both sides show a string" until_true 5 both_show
check "the same one" test "$(sas "$T/inv.out")" = "$(sas "$T/join.out")"
check "meanwhile another joiner is told to wait" run 27 join c "$code"
check "before somebody says yes nothing is granted" eval 'nothing a b && nothing b a'
echo y >&8
sleep 0.3
check "one yes is not enough" eval 'nothing a b && nothing b a'
echo y >&7
wait $jn; check "after both it is paired: joiner" test $? = 0
wait $inv; check "after both it is paired: inviter" test $? = 0
check "on both sides" eval 'grants a b && grants b a'
exec 7>&- 8>&-
apart
rm -f "$T/inv.out"
setsid "$PEERIX" invite --home "$T/a/home" --verify --ttl 30s >"$T/inv.out" 2>&1 < <(sleep 1; echo n) & inv=$!; PIDS+=($inv)
until_true 5 grep -qE '^[0-9A-Z]{8}-' "$T/inv.out"
setsid "$PEERIX" join --home "$T/b/home" "$(grep -E '^[0-9A-Z]{8}-' "$T/inv.out")" >"$T/join.out" 2>&1 <<<y & jn=$!; PIDS+=($jn)
wait $jn; check "a no ends it: joiner" test $? = 30
wait $inv; check "a no ends it: inviter" test $? = 30
check "with nothing written" eval 'nothing a b && nothing b a'
code=$(invite a)
join b "$code" >"$T/j1" 2>&1 & j1=$!
join c "$code" >"$T/j2" 2>&1 & j2=$!
wait $j1; r1=$?
wait $j2; r2=$?
check "of two at once one wins, the other is told ($r1, $r2)" eval '{ [ $r1 = 0 ] && [[ $r2 =~ ^(24|27)$ ]]; } || { [ $r2 = 0 ] && [[ $r1 =~ ^(24|27)$ ]]; }'
apart

# ---- killed at every step ----
code=$(invite a)
killed a; start a
check "an open invite survives kill -9 of the inviter" run 0 join b "$code"
apart
if ! grep -q PEERIX_TEST_KILL_AT "$PEERIX"; then
    skip "killed at every step: this build has no fault points"
    finish
fi
check "a release build has no fault points" eval '[ ! -e "$PX_RELEASE/peerix" ] || ! grep -q PEERIX_TEST_KILL_AT "$PX_RELEASE/peerix"'
for point in inviter-hello inviter-pending inviter-confirmed key-written inviter-written inviter-used; do
    killed a; start a $point
    code=$(invite a)
    if [ $point = inviter-hello ]; then
        check "inviter killed at $point: the joiner is told" run 31 join b "$code"
    else # it would be after 5 s; people press Ctrl-C and try again
        join b "$code" >"$T/run.out" 2>&1 & jn=$!
        dead() { ! kill -0 "$a_pid" || grep -q '^State:.*Z' "/proc/$a_pid/status"; }
        check "inviter killed at $point: it dies there" until_true 5 dead
        kill $jn; wait $jn 2>/dev/null
    fi
    case $point in
    inviter-written | inviter-used) check "inviter killed at $point: the joiner grants nothing" nothing b a ;;
    *) check "inviter killed at $point: nobody grants anything" eval 'nothing a b && nothing b a' ;;
    esac
    killed a; start a
    check "inviter killed at $point: joining again finishes" eval 'run 0 join b "$code" && grants a b && grants b a'
    apart
done
for point in joiner-hello joiner-welcome joiner-stored joiner-done key-written joiner-written; do
    killed b; start b $point
    code=$(invite a)
    join b "$code" >"$T/run.out" 2>&1; rc=$?
    check "joiner killed at $point: the command says so ($rc)" test $rc = 31
    case $point in
    joiner-written) ;;
    joiner-done | key-written) check "joiner killed at $point: it grants nothing" nothing b a ;;
    *) check "joiner killed at $point: nobody grants anything" eval 'nothing a b && nothing b a' ;;
    esac
    killed b; start b
    case $point in
    joiner-hello | joiner-welcome) check "joiner killed at $point: joining again finishes" run 0 join b "$code" ;;
    *) check "joiner killed at $point: its daemon finishes by itself" until_true 8 grants b a ;;
    esac
    check "joiner killed at $point: both sides are complete" eval 'grants a b && grants b a'
    apart
done

# ---- an inviter that does not know its invites for a while ----
killed b; start b joiner-stored
code=$(invite a)
join b "$code" >"$T/run.out" 2>&1
killed a; mkdir "$T/aside" && mv "$T/a/home"/state.db* "$T/aside"; start a
killed b; start b
check "a stored join is refused by an inviter that lost its invites" until_true 8 grep -q 'event=pairing.failed .*EINVITE_UNKNOWN' "$T/b.log"
killed a; rm -f "$T/a/home"/state.db*; mv "$T/aside"/* "$T/a/home"; start a
killed b; start b
check "and goes on when it has them again" until_true 8 eval 'grants b a && grants a b'
finish

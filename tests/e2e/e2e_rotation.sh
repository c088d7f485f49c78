#!/usr/bin/env bash
# A node changes its identity key: its peers learn of it over the old one, and after the switch real nix still fetches
# both ways without any edit. Who was away, who holds the old key, and either side killed at every step.
. "$(dirname "$0")/lib.sh"

rotate() { "$PEERIX" rotate-key --home "$T/$1/home" "${@:2}"; }
next_id() { rotate "$1" --status --json | jq -r .next; }
acked() { rotate "$1" --status --json | jq -e ".peers | length > 0 and all(.acked)" >/dev/null; }
keys() { echo "$T/$1/home/authorized_keys"; }
lists() { grep -q "^$2 " "$(keys "$1")"; }
# start NAME [KILL-AT]: the daemon, always at the port it had first
start() {
    local overlay="${1}_overlay" port="${1}_port"
    NODE_WRAP=(env PEERIX_TEST_KILL_AT="${2:-}")
    : >"$T/$1.log"
    node_start "$1" ${!port:+--listen "127.0.0.1:${!port}"} --dial-max 1s || return 1
    NODE_WRAP=()
    printf -v "$port" '%s' "${!overlay##*:}"
}
killed() { local pid="${1}_pid"; kill -9 "${!pid}" 2>/dev/null; wait "${!pid}" 2>/dev/null; true; }
dead() { local pid="${1}_pid"; ! kill -0 "${!pid}" 2>/dev/null || grep -q '^State:.*Z' "/proc/${!pid}/status"; }
online() { "$PEERIX" peers --home "$T/$1/home" --json 2>/dev/null | jq -e ".peers[]? // .[]? | select(.peer == \"$2\" and .state == \"connected\")" >/dev/null; }
conf() { "$PEERIX" nix-conf --home "$T/$1/home" | sed -n "s/^extra-$2 = //p"; }
fetch() { in_store "$1" "$(conf "$1" substituters)" "$(conf "$1" trusted-public-keys)" nix-store -r "$2"; }
ready_again() { [ "$(grep -c event=ready "$T/$1.log")" -ge 2 ]; }

for n in a b; do "$PEERIX" init --home "$T/$n/home" --non-interactive --nix-key-name "$n-1" >/dev/null; done
for n in a b; do start $n || { not_ok "$n starts" "$T/$n.log"; finish; }; done
code=$("$PEERIX" invite --home "$T/a/home" --name bob --no-wait)
check "two machines pair" "$PEERIX" join --home "$T/b/home" "$code" --name alice
"$PEERIX" name add --home "$T/b/home" attic "$(node_id a)" >/dev/null
sed -i 's/name=alice .*/& # upstairs/' "$(keys b)"
old=$(node_id a) b=$(node_id b)
check "they are connected" eval 'until_true 10 connected a bob && until_true 10 connected b alice'

# ---- begin, abort ----
check "nothing is under way: finish says so" run 1 rotate a --finish
check "nothing is under way: abort says so" run 1 rotate a --abort
check "--force alone makes no sense" run 2 rotate a --force
check "begin" run 0 rotate a
check "the new key's file is the user's alone" test "$(stat -c %a "$T/a/home/identity-next.pem")" = 600
first=$(next_id a)
check "the peer knows it" acked a
check "begin again changes nothing" eval 'run 0 rotate a && [ "$(next_id a)" = "$first" ]'
check "the peer says what waits" eval '[ "$(rotate b --status --json | jq -r ".waiting[0].peer")" = "$first" ]'
check "the entry has not moved" eval 'lists b "$old" && ! lists b "$first"'
check "abort" run 0 rotate a --abort
check "the new key is gone" test ! -e "$T/a/home/identity-next.pem"
forgotten() { rotate b --status --json | jq -e '.waiting == []' >/dev/null; }
check "and the peer forgets it" until_true 5 forgotten

# ---- a peer that is away ----
node_stop b
check "begin while the peer is away" run 0 rotate a
second=$(next_id a)
check "an aborted key does not come back" test "$second" != "$first"
check "finish is refused with a code of its own" run 40 rotate a --finish
check "and names the peer" says "bob"
check "this node keeps its key" test "$(node_id a)" = "$old"
start b
check "the peer is told when it comes" until_true 8 acked a
check "as its log says" grep -q "event=rotation.received .*name=alice next=$second" "$T/b.log"

# ---- the switch ----
cp -r "$T/a/home" "$T/thief-home"
: >"$T/a.log"
check "finish" run 0 rotate a --finish
check "the node has the new key" test "$(node_id a)" = "$second"
check "the old key is not kept" eval '[ ! -e "$T/a/home/identity-next.pem" ] && [ "$(ls "$T/a/home" | grep -c identity)" = 1 ]'
check "the daemon takes it up without being started anew" until_true 5 grep -q "event=ready peer=$second " "$T/a.log"
moved() { lists b "$second" && ! lists b "$old"; }
check "the entry moves by itself" until_true 8 moved
check "with name, address, grants, comment" grep -q "^$second name=alice addr=.* grant=cache,cache-own # upstairs\$" "$(keys b)"
check "it is logged" until_true 3 grep -q "event=rotation.moved peer=$second name=alice old=$old" "$T/b.log"
check "names follow" until_true 3 grep -q "^attic $second\$" "$T/b/home/names"
check "the nix key follows" eval 'grep -q " $second" "$T/b/home/trusted-keys" && ! grep -q "$old" "$T/b/home/trusted-keys"'
check "peers.json follows" eval 'jq -e ".peers[\"$second\"]" "$T/b/home/peers.json"'
check "they are connected again" eval 'until_true 8 online a "$b" && until_true 8 online b "$second"'
one=$(build a "$HERE/big.nix" --argstr tag one --arg mib 1) && two=$(build b "$HERE/big.nix" --argstr tag two --arg mib 1) || { not_ok "builds"; finish; }
can_fetch() { until_true 8 fetch "$1" "$2"; }
check "real nix on b fetches what a built" can_fetch b "$one"
check "real nix on a fetches what b built" can_fetch a "$two"

# ---- somebody who has the old key ----
mkdir -p "$T/thief"
mv "$T/thief-home" "$T/thief/home"
rm -f "$T"/thief/home/control.* "$T/thief/home/identity-next.pem"
sed -i "s/addr=[^ ]*/addr=$b_overlay/" "$(keys thief)"
mkdir -p "$T/thief/root"
node_start thief --dial-max 1s
check "the old key is the thief's" test "$(node_id thief)" = "$old"
check "the old key is refused as unlisted" until_true 8 grep -q "event=.*EREFUSED" "$T/thief.log"
check "at the peer as well" grep -q "event=peer.refused .*$old.*EUNLISTED" "$T/b.log"
check "and nothing has moved back" moved
kill "$thief_pid"; wait "$thief_pid" 2>/dev/null

# ---- both at once ----
check "both begin" eval 'rotate a >/dev/null && rotate b >/dev/null'
check "each knows the other's new key" eval 'until_true 8 acked a && until_true 8 acked b'
a2=$(next_id a) b2=$(next_id b)
: >"$T/a.log"; : >"$T/b.log"
rotate a --finish >"$T/fin.a" 2>&1 & fin=$!
rotate b --finish >"$T/fin.b" 2>&1; rc=$?
wait $fin
check "both finish" test "$? $rc" = "0 0"
check "both have their new keys" eval 'test "$(node_id a) $(node_id b)" = "$a2 $b2"'
check "and find each other, by entries that moved by themselves" eval 'until_true 15 online a "$b2" && until_true 15 online b "$a2"'
moved_both() { lists a "$b2" && lists b "$a2" && ! lists a "$b" && ! lists b "$second"; }
check "nothing is left of the old ones" until_true 8 moved_both
check "what was seen of a peer follows its key" eval '"$PEERIX" peers alice --json --home "$T/b/home" | grep -q "\"nars\": [1-9]"'
second=$a2 b=$b2

# ---- forced ----
node_stop b
check "another rotation" run 0 rotate a
third=$(next_id a)
: >"$T/a.log"
check "forced while the peer is away" run 0 rotate a --finish --force
check "it says who must be paired anew" says "bob"
until_true 5 grep -q "event=ready peer=$third " "$T/a.log"
start b
check "the peer sees a stranger" eval 'sleep 1; ! lists b "$third" && ! online b "$third"'
sed -i "s/^$second /$third /" "$(keys b)" # as pairing anew would
check "until its list has the new ID" until_true 8 online b "$third"

# ---- killed at every step ----
if ! grep -q PEERIX_TEST_KILL_AT "$PEERIX"; then
    skip "killed at every step: this build has no fault points"
    finish
fi
now=$third
sed -i "s/$second/$now/" "$T/b/home/names" "$T/b/home/trusted-keys" # as pairing anew would
restart_both() { killed a; killed b; start a "${1:-}"; start b "${2:-}"; until_true 5 online a "$b"; }
# once NODE-POINT PEER-POINT: a whole rotation, the node dying at the one and its peer at the other
once() {
    local mine=$1 theirs=$2 want
    restart_both "$mine" "$theirs"
    rotate a >"$T/run.out" 2>&1
    [ "$mine" != rotation-begun ] || { check "$mine: the node dies there" until_true 5 dead a; killed a; start a; }
    want=$(next_id a)
    [ "$theirs" != rotation-stored ] || { check "$theirs: the peer dies there" until_true 5 dead b; killed b; start b; }
    check "$mine, $theirs: the peer knows the new key" until_true 8 acked a
    check "$mine, $theirs: the old one is still in use" eval '[ "$(node_id a)" = "$now" ] && lists b "$now"'
    rotate a --finish >"$T/run.out" 2>&1
    case $mine in
    rotation-finishing)
        check "$mine: the node dies there, with the old key" eval 'until_true 5 dead a && [ "$(node_id a)" = "$now" ]'
        check "$mine: finishing again finishes" eval 'killed a; run 0 rotate a --finish; start a'
        ;;
    rotation-switched)
        check "$mine: the node dies there, with the new key" eval 'until_true 5 dead a && [ "$(node_id a)" = "$want" ]'
        killed a; start a
        ;;
    esac
    case $theirs in
    rotation-key-copied) check "$theirs: the peer dies there, with the old entry" eval 'until_true 8 dead b && lists b "$now" && ! lists b "$want"' ;;
    rotation-stored) ;;
    *) check "$theirs: the peer dies there, with the new entry" eval 'until_true 8 dead b && lists b "$want" && ! lists b "$now"' ;;
    esac
    [ "$theirs" = rotation-stored ] || { killed b; start b; }
    check "$mine, $theirs: the peer follows in the end" eval 'until_true 8 lists b "$want" && ! lists b "$now" && until_true 8 online b "$want"'
    cleared() { grep -q "^attic $want\$" "$T/b/home/names" && ! grep -q "$now" "$T/b/home/trusted-keys" && rotate b --status --json | jq -e ".waiting == [] and (.moved | any(.old == \"$now\"))" >/dev/null; }
    check "$mine, $theirs: nothing is left of the old key" until_true 5 cleared
    now=$want
}
once rotation-begun rotation-stored
once rotation-finishing rotation-key-copied
once rotation-switched rotation-entry-moved
once "" rotation-retired
check "after all that real nix still fetches" can_fetch b "$(build a "$HERE/big.nix" --argstr tag three --arg mib 1)"
finish

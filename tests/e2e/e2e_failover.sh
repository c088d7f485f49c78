#!/usr/bin/env bash
# Transfers that go on: the direct path dies under one and comes back; then, without a direct path, relays
# die, restart and come back under others. Two nodes and three relays on one switch; each transfer is one
# request for one NAR, which no client asks for again.
# Runs alone: it measures times, or fills the machine.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/netns.sh"
. "$(dirname "$0")/nat.sh"
nat_need
command -v tc >/dev/null && command -v python3 >/dev/null || { skip "needs tc and python3"; finish; }
mkdir -p "$T/alice" "$T/bob"
big=$(build alice "$HERE/big.nix" --argstr tag failover --arg mib 14) || { not_ok "build"; finish; }
declare -A ip=([one]=203.0.113.1 [two]=203.0.113.2 [three]=203.0.113.3 [alice]=203.0.113.21 [bob]=203.0.113.22) relay_pid
netns_switch wan
for n in one two three alice bob; do
    netns_add $n && netns_plug $n wan eth0 ${ip[$n]}/24 || { not_ok "namespaces"; finish; }
done
$(netns_in alice) tc qdisc add dev eth0 root tbf rate 28mbit burst 64kb latency 50ms || { skip "needs tc's tbf"; finish; }
for n in alice bob; do node_init $n; done
key=$(node_key alice)
node_trust alice bob && node_trust bob alice ${ip[alice]}:12304
relay() { relay_start "$1" ${ip[$1]} && relay_pid[$1]=$RELAY_PID; }
for r in one two three; do
    "$RELAY" init --home "$T/$r" >/dev/null
    for n in alice bob; do "$RELAY" auth add "$(node_id $n)" --name $n --home "$T/$r" >/dev/null; done
    relay $r || { not_ok "relay $r starts"; finish; }
done
knows() { # NODE RELAY…
    local r url
    for r in "${@:2}"; do url="${r}_url"; "$PEERIX" relay add "${!url}" --name $r --home "$T/$1/home" >/dev/null; done
}
knows alice two three # bob, who will call, has to find out where alice is
knows bob one two
nat_start alice && nat_start bob --trusted-public-key "$key" || { not_ok "the daemons start" "$T/alice.log" "$T/bob.log"; finish; }

# ---- what is looked at ----
now() { date +%s%3N; }
count() { cat "${@:2}" | grep -cE "$1"; } # PATTERN LOG…
reserved() { cli "$1" relay list --json | grep -c '"reserved": true'; }
have_reserved() { [ "$(reserved alice)" = "$1" ] && [ "$(reserved bob)" = "$1" ]; }
relayed() { cli bob peers --json | grep -q RELAYED && cli alice peers --json | grep -q RELAYED; }
direct() { ! cli bob peers --json | grep -q RELAYED && ! cli alice peers --json | grep -q RELAYED; }
used() { local r; for r in one two three; do via bob alice $r && echo $r && return; done; return 1; }

cat >"$T/watch.py" <<'PY'
# Counts what comes in, its SHA-256, and the longest time in ms that nothing came; tells the bytes so far.
import hashlib, os, sys, time
total, longest, last, h = 0, 0, None, hashlib.sha256()
while True:
    data = os.read(0, 1 << 16)
    t = time.monotonic()
    if last is not None:
        longest = max(longest, t - last)
    if not data:
        break
    last = t
    total += len(data)
    h.update(data)
    with open(sys.argv[1] + ".so_far", "w") as f:
        f.write(str(total))
with open(sys.argv[1], "w") as f:
    print(h.hexdigest(), total, int(longest * 1000), file=f)
PY
nar=$($(netns_in bob) curl -s "$bob_http/$(basename "$big" | cut -c1-32).narinfo" | sed -n 's/^URL: //p')
sum=$(dump_sum alice "$big" | cut -d' ' -f1)
so_far() { [ "$(cat "$T/got.so_far" 2>/dev/null || echo 0)" -ge "$1" ]; }
transfer() { # starts one; FETCH is its process
    rm -f "$T/got" "$T/got.so_far"
    (set -o pipefail; $(netns_in bob) curl -sS -N -m 60 "$bob_http/$nar" 2>"$T/curl.err" | python3 "$T/watch.py" "$T/got") &
    FETCH=$!
    PIDS+=($FETCH)
    until_true 10 so_far $((1 << 20))
}
got() { # WHAT MSEC: it ended well, and never stood still for longer
    wait $FETCH
    check "$1: the transfer ends without an error" test "$?" = 0
    local hash bytes longest
    read -r hash bytes longest <"$T/got"
    echo "# $1: $bytes bytes, nothing came for $longest ms at the longest"
    check "$1: byte-equal" test "$hash" = "$sum"
    check "$1: it stood still for $2 ms at most" test "$longest" -le "$2"
}
still() { [ "$(count 'event=peer.(dis)?connected' "$T/alice.log" "$T/bob.log")" = "$sessions" ]; }
check "the two connect" until_true 10 connected bob alice
check "two reservations each" until_true 10 have_reserved 2
check "directly" direct
check "there is a NAR to ask for" test -n "$nar"
sessions=$(count 'event=peer.(dis)?connected' "$T/alice.log" "$T/bob.log")

# ---- the direct path dies, and works again ----
no_direct() { # a firewall that lets nothing through between the two
    $(netns_in bob) nft -f - <<NFT
table ip cut {
    chain in { type filter hook input priority 0; ip saddr ${ip[alice]} drop; }
    chain out { type filter hook output priority 0; ip daddr ${ip[alice]} drop; }
}
NFT
}
transfer
no_direct
began=$(now)
check "with the direct path dead the two are on a circuit" until_true 5 relayed
echo "# after $(($(now) - began)) ms"
check "through the one relay at which both are" via bob alice two
at=$(cat "$T/got.so_far")
check "bytes come through it" until_true 3 so_far $((at + (1 << 20)))
$(netns_in bob) nft delete table ip cut
began=$(now)
check "when the direct path works again they are back on it" until_true 15 direct
echo "# after $(($(now) - began)) ms"
got "direct path cut" 3000
check "the circuit is ended at both ends" until_true 5 bash -c '! grep -h event=circuit "$1" "$2" | tail -n 1 | grep -q circuit.open' _ "$T/alice.log" "$T/bob.log"
check "on the same connection" still

# ---- a relay dies under a transfer ----
knows alice one
knows bob three
no_direct
cli bob ping alice -c 3 --timeout 5 >/dev/null # a link that carries nothing does not know that its path is dead
check "without a direct path they are on a circuit again" until_true 5 relayed
transfer
r=$(used)
check "a relay is in use" test -n "$r"
dead() { grep -q "event=relay.disconnected relay=$r" "$T/alice.log" && grep -q "event=relay.disconnected relay=$r" "$T/bob.log"; }
check "and was so far" bash -c '! "$@"' _ grep -q "event=relay.disconnected relay=$r" "$T/alice.log" "$T/bob.log"
began=$(now)
kill -9 ${relay_pid[$r]}
check "both notice that relay $r was killed" until_true 3 dead
took=$(($(now) - began))
echo "# after $took ms"
check "in 2 s, and what it takes to look" test $took -le 2500
wait ${relay_pid[$r]} 2>/dev/null
check "two reservations each again, now that there is a third relay" until_true 5 have_reserved 2
got "relay killed" 4000 # each has to take up a further relay before they have one in common
other=$(used)
check "another relay carried it" test -n "$other" -a "$other" != "$r"
check "on the same connection" still
relay $r

# ---- one says that it restarts ----
until_true 10 have_reserved 2
transfer
r=$(used)
kill ${relay_pid[$r]}
moved() { ! via bob alice $r && [ -n "$(used)" ]; }
check "the circuit leaves relay $r, which says that it goes" until_true 3 moved
wait ${relay_pid[$r]}
check "which ends with 0" test "$?" = 0
got "relay restarting" 1500
check "on the same connection" still
check "the nodes were told" grep -q "event=relay.restarting relay=$r" "$T/bob.log"
relay $r
check "two reservations each in the end" until_true 10 have_reserved 2

for n in alice bob; do
    node_stop $n
    check "$n ends with 0" test $? = 0
done
check "no sanitizer spoke" bash -c '! grep -qE "Sanitizer|runtime error" "$1"/*.log' _ "$T"
finish

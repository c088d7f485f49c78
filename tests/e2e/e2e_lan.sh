#!/usr/bin/env bash
# Peers on one link find each other without any address being told; strangers learn nothing and are not
# connected; a changed cable is followed; mode lan sends nothing off the link; a flood costs little. All
# in network namespaces of this test.
# Runs alone: it measures times, or fills the machine.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/netns.sh"
netns_need
TOOLS=$BIN/tests

# lan_start NODE [OPTIONS]: a daemon in the namespace of that name
lan_start() {
    NODE_WRAP=($(netns_in "$1"))
    node_start "$1" --listen "[::]:12303" --lan-discovery multicast "${@:2}"
    local rc=$?
    NODE_WRAP=()
    return $rc
}
# tap NODE IF FILE: every frame of that interface goes to the file; sets TAP
tap() {
    ip netns exec "$(netns_id "$1")" "$TOOLS/frame_log" "$2" "$3" >"$3.ready" &
    TAP=$!
    PIDS+=($TAP)
    until_true 5 grep -q ready "$3.ready"
}
now_ms() { date +%s%3N; }
# took SINCE-MS LIMIT-MS NAME: a verdict with its figure
took() {
    local ms=$(($(now_ms) - $1))
    echo "# $3: $ms ms"
    check "$3 within $2 ms" test "$ms" -le "$2"
}
cpu_ms() { awk '{print ($14 + $15) * 10}' "/proc/$1/stat"; }
hex() { od -An -v -tx1 | tr -d ' \n'; }

netns_switch sw
for n in alice bertram carol; do netns_add $n && node_init $n; done
netns_plug alice sw eth0 10.77.1.1/24
netns_plug bertram sw eth0 10.77.1.2/24
netns_plug carol sw eth0 10.77.1.3/24
node_trust alice bertram; node_trust bertram alice
node_trust carol alice; node_trust carol bertram # listed by none
tap carol eth0 "$T/carol.frames"
lan_start carol && lan_start alice || { not_ok "the daemons start"; finish; }
sleep 1
began=$(now_ms)
lan_start bertram || { not_ok "bertram starts"; finish; }
check "two daemons that know no address connect" until_true 6 connected bertram alice
check "both say so" until_true 6 connected alice bertram
took "$began" 6000 "two daemons find each other"
check "found by announcement" until_true 3 grep -qE 'event=peer.found .*name=alice .*source=lan' "$T/bertram.log"

# ---- what a stranger sees ----
sleep 1.5
check "the stranger hears announcements" grep -q "efff3011301130" "$T/carol.frames"
for n in alice bertram; do
    key=$(node_id $n)
    bytes=$(openssl pkey -in "$T/$n/home/identity.pem" -pubout -outform DER 2>/dev/null | tail -c 32 | hex)
    [ ${#bytes} = 64 ] || not_ok "$n: the key can be read for comparison"
    check "$n: no key, peer ID or name on the wire" bash -c '
        ! grep -qE "$1|$2|$3" "$4" && [ -s "$4" ]' _ "$bytes" "$(printf %s "$key" | hex)" "$(printf %s "$n" | hex)" "$T/carol.frames"
done
sed -nE 's/^.{52}0a4d010[12].*30113011.{8}010[01].{4}(.{32}).*/\1/p' "$T/carol.frames" | sort >"$T/nonces"
check "no two announcements share a nonce" bash -c '[ $(wc -l <"$1") -ge 4 ] && [ -z "$(uniq -d "$1")" ]' _ "$T/nonces"
check "the stranger is connected to nobody" bash -c '! grep -hE "event=peer.connected" "$1"; ! grep -h "event=peer.connected .*name=carol" "$2" "$3"' \
    _ "$T/carol.log" "$T/alice.log" "$T/bertram.log"

# ---- an IPv6-only link: link-local addresses are all there is ----
netns_switch sw6
for n in dora emil; do netns_add $n && node_init $n && netns_plug $n sw6 eth0; done
node_trust dora emil; node_trust emil dora
lan_start dora
began=$(now_ms)
lan_start emil
check "found by link-local address" until_true 6 connected emil dora
took "$began" 6000 "IPv6 only: two daemons find each other"
check "through its interface" grep -qE 'event=peer.connected .*addr=\[fe80::[^ ]*%[0-9]+\]' "$T/emil.log"
node_stop dora; node_stop emil

# ---- a cable is pulled; meanwhile the peer comes back elsewhere ----
netns_unplug alice eth0
node_stop bertram
ip -n "$(netns_id bertram)" addr del 10.77.1.2/24 dev eth0
ip -n "$(netns_id bertram)" addr add 10.77.1.99/24 dev eth0
rm -f "$T/bertram/home/state.db"* # and another port: neither can dial the other from memory
lan_start bertram --listen "[::]:12399"
sleep 3 # bertram has stopped saying hello every second
count=$(grep -c 'event=peer.connected .*name=bertram' "$T/alice.log")
again() { [ "$(grep -c 'event=peer.connected .*name=bertram' "$T/alice.log")" -gt "$count" ]; }
check "nothing comes through the pulled cable" bash -c "sleep 0.2; [ \"\$(grep -c 'event=peer.connected .*name=bertram' '$T/alice.log')\" = $count ]"
netns_replug alice eth0
began=$(now_ms)
check "the new address is found when the cable is back" until_true 6 again
took "$began" 2000 "connected after the cable is back"
check "by announcement" grep -qE 'event=peer.connected .*:12399' "$T/alice.log"

# ---- an interface that comes later ----
node_stop alice
ip -n "$(netns_id alice)" link del eth0
lan_start alice
count=0
again_elsewhere() { [ "$(grep 'event=ready' -A 9999 "$T/alice.log" | tac | sed '/event=ready/q' | grep -c 'event=peer.connected .*name=bertram')" -gt 0 ]; }
began=$(now_ms)
netns_plug alice sw eth0 10.77.1.1/24
check "an interface that appears is used" until_true 6 again_elsewhere
took "$began" 3000 "connected after an interface appeared"

# ---- two nodes of one machine share the port of announcements ----
node_init gina
node_trust gina alice; node_trust gina bertram
node_trust alice gina; node_trust bertram gina
NODE_WRAP=($(netns_in alice))
began=$(now_ms)
node_start gina --listen "[::]:12310" --lan-discovery multicast
NODE_WRAP=()
check "two nodes of one machine find each other" until_true 6 connected gina alice
check "and the one on the link" until_true 6 connected gina bertram
took "$began" 6000 "three nodes, new entries on both sides"
node_stop gina

# ---- more changes than the kernel keeps for us: all is asked anew ----
kill -STOP "$bertram_pid"
for i in $(seq 1500); do echo "route add 10.$((100 + i / 250)).$((i % 250)).0/24 dev eth0"; done >"$T/routes"
ip -n "$(netns_id bertram)" -batch "$T/routes"
ip -n "$(netns_id bertram)" addr add 10.77.1.98/24 dev eth0
tap carol eth0 "$T/carol.later"
kill -CONT "$bertram_pid"
check "an address of which nobody told is announced" until_true 5 grep -qE '^.{52}0a4d0162.*30113011' "$T/carol.later"
ip -n "$(netns_id bertram)" addr del 10.77.1.98/24 dev eth0

# ---- a flood of announcements from everywhere ----
ip -n "$(netns_id carol)" route add 239.0.0.0/8 dev eth0
before=$(cpu_ms "$alice_pid")
$(netns_in carol) "$TOOLS/lan_flood" 10.77.1 12305 4 >"$T/flood" &
flood=$!
sleep 2
began=$(now_ms)
check "the control socket answers during the flood" timeout 5 "$PEERIX" status --home "$T/alice/home"
took "$began" 1500 "an answer during the flood"
wait "$flood"
cpu=$(($(cpu_ms "$alice_pid") - before))
echo "# $(cat "$T/flood") in 4 s; alice used $cpu ms of CPU"
check "the flood was one" test "$(awk '{print $2}' "$T/flood")" -gt 20000
check "and cost less than a third of a processor" test "$cpu" -lt 1300
kill -USR1 "$alice_pid"
counter() { sed -n "s/.*event=discovery.stats backend=lan counter=$1 value=//p" "$T/alice.log" | tail -1; }
until_true 5 grep -q 'counter=send_failures' "$T/alice.log"
echo "# of $(counter received) datagrams read, $(counter limited) were dropped by a limit, $(counter tags) tags were computed"
check "what was read is bounded" test "$(counter received)" -lt 10000
check "the limits were reached" test "$(counter limited)" -gt 0
node_stop carol; node_stop bertram; node_stop alice

# ---- mode lan: nothing goes where a router would have to carry it ----
netns_switch far
netns_add router
netns_plug alice far eth1 10.88.0.2/24
netns_plug router far eth0 10.88.0.1/24
ip -n "$(netns_id alice)" route add default via 10.88.0.1
FAR=198.51.100.7
far_hex=c6336407
node_init frank
node_trust alice frank $FAR:12303
off_link() { # MODE
    tap router eth0 "$T/router.$1"
    lan_start alice --mode "$1" && lan_start bertram
    check "mode $1: the peer on the link is found" until_true 6 again_elsewhere
    sleep 2
    node_stop alice; node_stop bertram
    kill "$TAP"; wait "$TAP" 2>/dev/null
}
off_link both
check "mode both dials the far address (so the next check can fail)" grep -q "$far_hex" "$T/router.both"
off_link lan
check "mode lan: no packet for it left the link" bash -c '[ -s "$1" ] && ! grep -q "$2" "$1"' _ "$T/router.lan" "$far_hex"
# whatever else was seen there: IPv4 to multicast, ARP and IPv6 link-local only
sed -nE 's/^.{24}0800.{32}(.{8}).*/\1/p' "$T/router.lan" | grep -vE '^(e0|ef)' | grep -v '^0a5800' >"$T/strays"
check "mode lan: no IPv4 packet with a foreign destination" test ! -s "$T/strays"
lan_start alice --mode wan
tap alice eth0 "$T/alice.wan"
sleep 2
check "mode wan: nothing is announced" bash -c '! grep -q 30113011 "$1"' _ "$T/alice.wan"
finish

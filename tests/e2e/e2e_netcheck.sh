#!/usr/bin/env bash
# Whether a node can be reached from outside, as relays say: with a public address, behind a firewall, behind
# NATs of several kinds, without UDP; and what an address of another IP costs on the wire.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/netns.sh"
. "$(dirname "$0")/nat.sh"
nat_need
command -v jq >/dev/null || { skip "needs jq"; finish; }
netns_switch wan
i=0
for r in one two; do
    netns_add $r && netns_plug $r wan eth0 203.0.113.$((++i))/24 && "$RELAY" init --home "$T/$r" >/dev/null
done
netns_add pub && netns_plug pub wan eth0 203.0.113.20/24 203.0.113.21/24
router ra 203.0.113.11 192.168.1 && router rb 203.0.113.12 192.168.2 && router rc 203.0.113.13 192.168.3 &&
    host alice ra 192.168.1 && host bob rb 192.168.2 && host carol rc 192.168.3 || { not_ok "the network is set up"; finish; }
nft_in() { $(netns_in "$1") nft "${@:2}"; }
# another port outside for each destination
nft_in ra flush chain ip nat postrouting
nft_in ra add rule ip nat postrouting oifname wan0 meta l4proto udp masquerade to :20000-60000 fully-random
nft_in rc add rule ip filter forward meta l4proto udp drop
# what the first relay and the second address of pub have to do with each other
nft_in one -f - <<'NFT'
table inet count {
    counter from_pub {}
    counter to_other {}
    chain in { type filter hook input priority filter; ip saddr 203.0.113.20 meta l4proto udp counter name from_pub; }
    chain out { type filter hook output priority filter; ip daddr 203.0.113.21 counter name to_other; }
}
NFT
nft_in pub -f - <<'NFT'
table inet wall {
    chain in { type filter hook input priority filter; ip daddr 203.0.113.21 drop; }
}
NFT
for n in pub alice bob carol; do
    node_init $n
    for r in one two; do "$RELAY" auth add "$(node_id $n)" --name $n --home "$T/$r" >/dev/null; done
done
relay_start one 203.0.113.1 && relay_start two 203.0.113.2 || { not_ok "the relays start" "$T/one.log" "$T/two.log"; finish; }
use() { "$PEERIX" relay add "$2" --name "$3" --home "$T/$1/home" >/dev/null; }
counted() { nft_in one -j list counter inet count "$1" | jq ".nftables[] | .counter // empty | .$2"; }
verdict_is() { [ "$(cli "$1" status --json | jq -r .reachability.verdict)" = "$2" ]; }
not_checking() { cli "$1" status --json | jq -e ".reachability.checking | not" >/dev/null; }
netcheck() { cli "$1" netcheck --json >"$T/$1.check"; }
said() { jq -re "$2" "$T/$1.check" >/dev/null || { cat "$T/$1.check"; return 1; }; }
address() { # NODE ADDRESS JQ: of that address, by the last check
    said "$1" ".reachability.addresses[] | select(.address == \"$2\") | $3"
}

# ---- without a daemon, without a relay ----
cli bob netcheck >"$T/none" 2>&1
check "without a daemon the exit code is 8" test $? = 8
check "and the next step is named" grep -q 'start it with `peerix daemon' "$T/none"
for n in pub alice carol; do use $n "$one_url" one; done
use alice "$two_url" two
for n in pub alice bob carol; do nat_start $n || { not_ok "$n starts" "$T/$n.log"; finish; }; done
cli bob netcheck >"$T/none" 2>&1
check "without a relay it is 11" test $? = 11
check "and the next step is named" grep -q 'next: add a relay' "$T/none"
use bob "$one_url" one

# ---- by itself ----
check "an address that is reached makes a node public" until_true 8 verdict_is pub public
check "the log says so" grep -q 'event=reachability .*verdict=public' "$T/pub.log"
check "behind a NAT that drops, a node is told nat" until_true 10 verdict_is bob nat
check "behind one with a port for each destination too" until_true 10 verdict_is alice nat
check "where UDP does not get out it is blocked" until_true 10 verdict_is carol blocked

# ---- a check at each at once, the port forwarded meanwhile ----
nft_in rb add rule ip nat prerouting iifname wan0 udp dport 12304 dnat to 192.168.2.10
nft_in rb insert rule ip filter forward ct status dnat accept
until_true 5 not_checking pub
before=$(counted from_pub bytes) there=$(counted to_other bytes) packets=$(counted to_other packets)
CHECKS=()
for n in pub alice bob carol; do
    netcheck $n &
    CHECKS+=($!)
done
for pid in "${CHECKS[@]}"; do check "netcheck ends with 0" wait "$pid"; done
before=$(($(counted from_pub bytes) - before)) there=$(($(counted to_other bytes) - there)) packets=$(($(counted to_other packets) - packets))

check "public: which address, and by whom" address pub 203.0.113.20:12304 '.result == "reachable" and .relay == "one" and (.sources | index("interface") and index("observed")) and (.paid | not)'
check "and that no NAT is there, and UDP works" said pub '.reachability | .verdict == "public" and .mapping == "none" and .udp and .ipv4 == "public"'
check "the address that packets are kept from is not reachable" address pub 203.0.113.21:12304 '.result == "unreachable" and .paid'
check "it has another IP than the observed one: at least 30 kB ($before bytes came, $there bytes in $packets packets went)" \
    test "$before" -ge 30000 -a "$packets" = 3 -a "$there" -le 300
check "with the port forwarded it is mapped" said bob '.reachability.verdict == "mapped"'
check "at the router's address" address bob 203.0.113.12:12304 '.result == "reachable" and .sources == ["observed"]'
check "and nobody was asked about the private one" address bob 192.168.2.10:12304 '.result == "unknown" and .relay == null'
check "two relays show that a NAT has a port for each" said alice '.reachability.mapping == "varies" and ([.relays[].observed] | unique | length == 2)'
check "each is asked about what the other one sees" said alice '[.reachability.addresses[] | select(.sources == ["observed"])] | length == 2 and all(.result == "unreachable") and ([.[].relay] | unique | length == 2)'
check "without UDP the relay is there by TLS" said carol '.reachability.udp == false and .relays[0].transport == "tcp" and .relays[0].observed == null'

# ---- for people ----
nft_in pub add rule inet wall in meta l4proto udp ct state new drop
for n in pub alice; do
    cli $n netcheck >"$T/$n.text" 2>&1 &
    CHECKS+=($!)
done
wait "${CHECKS[@]: -2:1}" "${CHECKS[@]: -1}"
check "progress, tables, and what to do" bash -c '
    grep -q "203.0.113.20:12304: unreachable, says one after" "$1" && grep -qE "^reachable +firewalled: " "$1" &&
    grep -qE "^one +203.0.113.1:12307 +connected by UDP +[0-9.]+ [um]?s +203.0.113.20:12304" "$1" &&
    grep -q "next: let UDP to port 12304 in" "$1" || { cat "$1"; exit 1; }' _ "$T/pub.text"
check "the status says it too" bash -c '[[ "$1" == *"reachable"*"firewalled: "*"seen at"*"203.0.113.20:12304, unreachable"* ]]' _ "$(cli pub status)"
check "behind a NAT the advice names port and host" grep -q 'forward UDP port 12304 at the router to 192.168.1.10:12304' "$T/alice.text"

for n in pub alice bob carol; do kill "$(eval echo "\$${n}_pid")"; done
for n in pub alice bob carol; do check "$n ends with 0" wait "$(eval echo "\$${n}_pid")"; done
check "no sanitizer spoke" bash -c '! grep -qE "Sanitizer|runtime error" "$1"/*.log' _ "$T"
finish

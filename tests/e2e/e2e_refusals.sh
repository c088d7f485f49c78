#!/usr/bin/env bash
# Who must not connect does not, and both sides say why, each with its own code.
. "$(dirname "$0")/lib.sh"
said() { until_true 8 grep -q "event=$2 .*error=$3" "$T/$1.log" || { tail -n 5 "$T/$1.log"; return 1; }; }
never_connected() { ! grep -q event=peer.connected "$T/$1.log"; }

for n in alice bob carol; do node_init $n || { not_ok "init"; finish; }; done
node_trust carol alice
node_start alice || { not_ok "alice starts"; finish; }

# bob knows alice, alice does not know bob
node_trust bob alice "$alice_overlay"
node_start bob
check "listed on one side only: the dialler is told" said bob dial.failed EREFUSED
check "listed on one side only: the other side says who came" said alice peer.refused EUNLISTED
check "listed on one side only: never connected" never_connected bob
node_stop bob

# the right person in another network
node_trust alice bob
rm "$T/bob.log"
node_start bob --network elsewhere
check "another network: the dialler is told" said bob dial.failed ENETWORK
check "another network: the other side says so" said alice peer.refused ENETWORK
check "another network: never connected" never_connected bob
node_stop bob

# alice's address, carol's identity: bob does not know whom he dials
rm "$T/bob.log"
"$PEERIX" auth remove --home "$T/bob/home" alice
node_trust bob carol "$alice_overlay"
node_start bob
check "a wrong ID for the address: the dialler is told" said bob dial.failed ETARGET
check "a wrong ID for the address: the other side says so" said alice peer.refused ETARGET
check "a wrong ID for the address: never connected" never_connected bob
node_stop bob

# revoked while connected
rm "$T/bob.log"
"$PEERIX" auth remove --home "$T/bob/home" carol
node_trust bob alice "$alice_overlay"
node_start bob
check "listed on both sides: connected" until_true 10 connected bob alice
"$PEERIX" auth remove --home "$T/alice/home" bob
check "removed from the list: the link ends within a second" until_true 1 grep -q 'event=peer.disconnected .*EREVOKED' "$T/bob.log"
check "removed from the list: a miss is a 404 at once" test "$(curl -s -m 2 -o /dev/null -w '%{http_code}' "$bob_http/00000000000000000000000000000000.narinfo")" = 404
finish

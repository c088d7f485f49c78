#!/usr/bin/env bash
# Addresses of peers: dead ones beside a good one, given by hand, remembered over kill -9, forgotten with
# the entry; hanging up; a damaged state database.
. "$(dirname "$0")/lib.sh"

times() { grep -c "$1" "$T/$2.log"; }
more() { [ "$(times "$1" "$2")" -gt "$3" ]; }
peerix_at() { "$PEERIX" "$2" --home "$T/$1/home" "${@:3}"; }
kill_9() {
    local pid="${1}_pid"
    kill -9 "${!pid}"
    wait "${!pid}" 2>/dev/null
}
entry() { # NODE OF OPTIONS…: the whole allowlist
    echo "$(node_id "$2") name=$2 ${*:3}" >"$T/$1/home/authorized_keys"
}
quiet=(--lan-discovery off)
# node_start only waits for the first start of a home
bob_again() {
    local n
    n=$(times event=ready bob)
    node_start bob "${quiet[@]}" && until_true 10 more event=ready bob "$n"
}

node_init alice && node_init bob || { not_ok "homes"; finish; }
entry alice bob
node_start alice "${quiet[@]}" || { not_ok "alice starts"; finish; }
fixed=$alice_overlay

# ---- a good address among dead ones ----
entry bob alice addr=192.0.2.1:12303 "addr=[2001:db8::1]:12303" addr=nobody.invalid:12303 "addr=$fixed"
began=$(date +%s%3N)
node_start bob "${quiet[@]}" || { not_ok "bob starts"; finish; }
check "a good address is found among dead ones" until_true 5 connected bob alice
ms=$(($(date +%s%3N) - began))
echo "# connected after $ms ms"
check "within 3 s of the start" test "$ms" -le 3000

# ---- hanging up ----
n=$(times event=peer.connected bob)
check "a peer is hung up" peerix_at bob disconnect alice
check "it is held" until_true 3 bash -c '"$1" peers --home "$2" | grep -q held' _ "$PEERIX" "$T/bob/home"
sleep 1
check "and not dialled again" test "$(times event=peer.connected bob)" = "$n"
# alice learns bob's address, and would come by herself
entry alice bob "addr=$bob_overlay"
check "who comes by itself is refused, and hears why" until_true 5 bash -c 'grep -q "event=peer.refused .*EHELD" "$1" && grep -q "EHELD" "$2"' _ "$T/bob.log" "$T/alice.log"
refused_there() { ! peerix_at alice connect bob >"$T/held.out" 2>&1 && grep -q "hung up by hand" "$T/held.out"; }
check "connect over there says so" refused_there
check "and they are apart" bash -c '"$1" peers --home "$2" | grep -q held && [ "$3" = "$4" ]' _ "$PEERIX" "$T/bob/home" "$(times event=peer.connected bob)" "$n"
entry alice bob
check "until it is told to" peerix_at bob connect alice
check "then it is connected" until_true 3 more event=peer.connected bob "$n"

# ---- remembered ----
node_stop bob
rm -f "$T/bob/home/state.db"*
entry bob alice
bob_again
n=$(times event=peer.connected bob)
check "without an address nobody is dialled" until_true 5 bash -c '"$1" peers --home "$2" | grep -q offline' _ "$PEERIX" "$T/bob/home"
check "an address given by hand works" peerix_at bob connect alice "$fixed"
until_true 3 more event=peer.connected bob "$n"
kill_9 bob
n=$(times event=peer.connected bob)
bob_again
check "it is remembered over kill -9" until_true 5 more event=peer.connected bob "$n"
check "only the owner may read what is remembered" test "$(stat -c %a "$T"/bob/home/state.db* | sort -u)" = 600

# ---- damaged ----
node_stop bob
printf 'no database at all' >"$T/bob/home/state.db"
bob_again
check "a damaged database is told" grep -q 'event=state.put_aside' "$T/bob.log"
check "and kept" test -s "$T/bob/home/state.db.unusable-1"

# ---- forgotten ----
n=$(times event=peer.connected bob)
peerix_at bob connect alice "$fixed" >/dev/null
until_true 3 more event=peer.connected bob "$n"
: >"$T/bob/home/authorized_keys"
until_true 3 grep -q 'error=EREVOKED' "$T/bob.log"
entry bob alice
check "an address goes with the entry" until_true 5 bash -c '"$1" peers --home "$2" | grep -q offline' _ "$PEERIX" "$T/bob/home"
finish

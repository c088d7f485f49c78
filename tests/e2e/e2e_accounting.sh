#!/usr/bin/env bash
# Transfer accounting: two nodes, a relay, a real transfer between them; what both report is confirmed, what one
# alone reports is not, what is forged is refused; totals outlive nodes and relay.
. "$(dirname "$0")/lib.sh"
RELAY=$BIN/peerix-relay
mkdir -p "$T/alice" "$T/bob" "$T/carol"
small=$(build alice "$HERE/closure.nix" --argstr tag accounts --arg n 4 --arg per 4) &&
    big=$(build alice "$HERE/big.nix" --argstr tag accounts --arg mib 3) || { not_ok "build"; finish; }

PORT=0
relay_start() {
    : >"$T/relay.log"
    "$RELAY" daemon --home "$T/relay" --tcp "" --metrics 127.0.0.1:0 --listen "127.0.0.1:$PORT" >>"$T/relay.log" 2>&1 &
    RELAY_PID=$!
    PIDS+=("$RELAY_PID")
    until_true 10 grep -q event=ready "$T/relay.log" || { cat "$T/relay.log"; return 1; }
    PORT=$(sed -n 's/.*event=ready.* listen=[^ ]*:\([0-9]*\).*/\1/p' "$T/relay.log")
}
"$RELAY" init --home "$T/relay" >/dev/null
node_init mallory
"$RELAY" auth add "$(node_id mallory)" --name mallory --home "$T/relay" >/dev/null
relay_start || { not_ok "the relay starts"; finish; }
RID=$("$RELAY" whoami --home "$T/relay")
for n in alice bob carol; do
    node_init $n
    "$RELAY" auth add "$(node_id $n)" --name $n --home "$T/relay" >/dev/null
    "$PEERIX" relay add "127.0.0.1:$PORT" --id "$RID" --name one --home "$T/$n/home" >/dev/null
done
for n in bob carol; do node_trust alice $n; done
node_start alice --lan-discovery off || { not_ok "alice starts"; finish; }
for n in bob carol; do node_trust $n alice "$alice_overlay"; done
key=$(node_key alice)
node_start bob --lan-discovery off --trusted-public-key "$key" || { not_ok "bob starts"; finish; }
# carol keeps it to herself
node_start carol --lan-discovery off --trusted-public-key "$key" --report-transfers=false || { not_ok "carol starts"; finish; }
for n in bob carol; do until_true 10 connected $n alice || { not_ok "$n connects" "$T/$n.log"; finish; }; done
for n in alice bob carol; do
    check "$n is a member of the relay" until_true 10 grep -q 'event=relay.reserved relay=one status=OK class=member' "$T/$n.log"
done

# total NODE PEER DIRECTION KIND: bytes, or nothing
total() {
    "$PEERIX" peers "$2" --json --home "$T/$1/home" |
        awk -v d="\"$3\":" -v k="\"$4\":" '$1 == "\"transfers\":" { on = 1 } on && $1 == d { in_d = 1 }
            in_d && $1 == k { gsub(",", "", $2); print $2; exit }'
}
is() { [ "$(total "$1" "$2" "$3" "$4")" = "$5" ] || { echo "$1 $2 $3 $4 is $(total "$1" "$2" "$3" "$4"), not $5"; return 1; }; }
fetch() { in_store "$1" "$2" "$key" nix-store -r "$small" "$big"; }
size=0
for path in $(in_store alice "" "" nix-store -qR "$small" "$big"); do
    size=$((size + $(in_store alice "" "" nix-store --dump "$T/alice/root$path" | wc -c)))
done

# ---- both say it ----
check "before any transfer nothing is confirmed" is bob alice received confirmed 0
check "real nix fetches $size bytes of NARs" fetch bob "$bob_http"
began=$(date +%s%3N)
check "what bob received is confirmed, to the byte" until_true 12 is bob alice received confirmed "$size"
check "and what alice sent" until_true 12 is alice bob sent confirmed "$size"
echo "# confirmed at both ends $(($(date +%s%3N) - began)) ms after the transfer"
check "nothing is left unconfirmed at bob" is bob alice received unconfirmed 0
check "nor at alice" is alice bob sent unconfirmed 0
check "nothing went the other way" is bob alice sent confirmed 0
check "the table shows it" bash -c '"$1" peers --home "$2" | grep -E "alice .* connected .* MiB +good "' _ "$PEERIX" "$T/bob/home"
check "so does the peer alone" bash -c '"$1" peers alice --home "$2" | grep -E "NARs received +[0-9.]+ MiB$"' _ "$PEERIX" "$T/bob/home"
check "bob has seen them himself" bash -c '"$1" peers alice --home "$2" | grep -E "seen here +[0-9]+ NARs, [0-9.]+ MiB, all verified"' _ "$PEERIX" "$T/bob/home"

# ---- one alone says it ----
check "carol fetches it, too" fetch carol "$carol_http"
check "what alice alone reports is unconfirmed" until_true 12 is alice carol sent unconfirmed "$size"
check "none of it confirmed" is alice carol sent confirmed 0
check "the table says so" bash -c '"$1" peers --home "$2" | grep -E "carol .* 0 B \+ [0-9.]+ MiB unconfirmed"' _ "$PEERIX" "$T/alice/home"

# ---- forged: mallory is a member and speaks to the relay itself ----
mkfifo "$T/mallory.in"
"$BIN/tests/relay_client" "$T/mallory/home/identity.pem" "$RID" "127.0.0.1:$PORT" <"$T/mallory.in" >"$T/mallory.out" 2>&1 &
PIDS+=($!)
exec {mallory}>"$T/mallory.in"
until_true 5 grep -q "reserved OK" "$T/mallory.out"
echo "forge $(node_id alice) received 1000000" >&"$mallory"
check "a report whose signature does not stand is refused" until_true 5 grep -q "reply .*BAD_RECORD" "$T/mallory.out"
check "and logged" until_true 2 grep -q 'event=report.refused .*BAD_RECORD' "$T/relay.log"
echo "report $(node_id alice) received 1000000" >&"$mallory"
check "one that stands is taken" until_true 5 grep -q "reply .*OK" "$T/mallory.out"
check "and changes nothing between others" is alice bob sent confirmed "$size"
exec {mallory}>&-

# ---- they outlive the programs ----
kill -9 "$RELAY_PID"; wait "$RELAY_PID" 2>/dev/null
relay_start
kill -9 "$bob_pid"; wait "$bob_pid" 2>/dev/null
: >"$T/bob.log"
node_start bob --lan-discovery off --trusted-public-key "$key"
check "after kill -9 of relay and node the totals are told again" until_true 12 is bob alice received confirmed "$size"
check "and no less to alice" is alice bob sent confirmed "$size"
for n in alice bob carol; do
    node_stop $n
    check "$n ends with 0" test $? = 0
done
finish

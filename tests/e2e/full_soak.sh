#!/usr/bin/env bash
# Three minutes of everything at once (nix fetching, curl, clients that hang up, the serving node restarted
# now and then), after which memory and descriptors are where they were. SOAK_SECONDS changes the length.
. "$(dirname "$0")/lib.sh"
PEERIX=$PX_RELEASE/peerix
seconds=${SOAK_SECONDS:-180}

mkdir -p "$T/alice"
top=$(build alice "$HERE/closure.nix" --argstr tag soak --arg n 60) || { not_ok "build"; finish; }
big=$(build alice "$HERE/big.nix" --argstr tag soak --arg mib 32) || { not_ok "build"; finish; }
node_init alice
key=$(node_key alice)
start_pair alice bob --trusted-public-key "$key" --log-level info || { not_ok "connect"; finish; }
alice_port=${alice_overlay##*:}
hash=$(basename "$big" | cut -c1-32)
url=$(curl -s "$bob_http/$hash.narinfo" | sed -n 's/^URL: //p')
rss() { awk '/^VmRSS/{print $2}' "/proc/$1/status"; }
fds() { ls "/proc/$1/fd" | wc -l; }
round() {
    local i
    rm -rf "$T/client"
    mkdir -p "$T/client"
    in_store client "$bob_http" "$key" nix-store -r "$top" >/dev/null 2>&1 || bad=$((bad + 1))
    chmod -R u+w "$T/client"
    for i in 1 2 3; do curl -s -o /dev/null "$bob_http/$url" || cut=$((cut + 1)); done
    for i in 1 2 3 4; do curl -s -m 0.05 -o /dev/null "$bob_http/$url"; done # hangs up
    for i in $(seq 50); do curl -s -o /dev/null "$bob_http/$(printf '%032d' "$i").narinfo"; done
    rounds=$((rounds + 1))
}
rounds=0 bad=0 cut=0
round; round; round
rss0=$(rss "$bob_pid") fds0=$(fds "$bob_pid") began=$SECONDS
while [ $((SECONDS - began)) -lt "$seconds" ]; do
    round
    if [ $((rounds % 10)) = 0 ]; then # the serving node goes and comes back at the same address
        node_stop alice
        : >"$T/bob.log"
        "$PEERIX" daemon --home "$T/alice/home" --listen "127.0.0.1:$alice_port" --http 127.0.0.1:0 \
            --store "$(store_uri alice)" --nix-conf "" >"$T/alice.log" 2>&1 &
        alice_pid=$!
        PIDS+=("$alice_pid")
        until_true 20 connected bob alice || { not_ok "bob finds alice again" "$T/bob.log"; break; }
    fi
done
sleep 1
rss1=$(rss "$bob_pid") fds1=$(fds "$bob_pid")
check "$rounds rounds, no fetch by nix failed" test "$bad" = 0
check "no transfer was cut" test "$cut" = 0
check "resident memory is flat ($rss0 to $rss1 KiB)" test "$rss1" -le $((rss0 + 4096))
check "descriptors are flat ($fds0 to $fds1)" test "$fds1" -le $((fds0 + 4))
finish

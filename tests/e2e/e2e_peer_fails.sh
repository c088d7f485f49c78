#!/usr/bin/env bash
# A peer that dies, stalls or is cut off in the middle of a NAR, with a good second substituter
# behind: nix must end well every time, and soon.
. "$(dirname "$0")/lib.sh"
PEERIX=$PX_RELEASE/peerix # moves hundreds of megabytes

mkdir -p "$T/alice" "$T/bob"
top=$(build alice "$HERE/big.nix" --argstr tag fails --arg mib 192) || { not_ok "build"; finish; }
node_init alice
key=$(node_key alice)
good_cache alice "$top"
want=$(dump_sum alice "$top")

# Alice sits behind the link emulator at 40 MB/s, so that "in the middle" is a long while.
start_slow_pair() {
    rm -rf "$T/bob/home" "$T/alice.log" "$T/bob.log" "$T/emulator.out"
    "$PEERIX" auth remove --home "$T/alice/home" bob >/dev/null 2>&1 # of the scenario before
    node_init bob && node_trust alice bob && node_start alice || return 1
    "$BIN_RELEASE/tests/link_emulator" --listen 127.0.0.1:0 --to "$alice_overlay" --rate 40000000 \
        --queue 4000000 >"$T/emulator.out" 2>&1 &
    emulator_pid=$!
    PIDS+=("$emulator_pid")
    until_true 5 grep -q '^ready ' "$T/emulator.out" || return 1
    node_trust bob alice "$(awk '/^ready /{print $2}' "$T/emulator.out")" &&
        node_start bob --trusted-public-key "$key" --stall 2s && until_true 10 connected bob alice
}
BIN_RELEASE=$PX_RELEASE

in_the_middle() { # NAME ACTION…: runs nix, acts once 20 MB came, waits for nix
    local store=carol_$1 began=$SECONDS out=$T/nix.out rc
    shift
    mkdir -p "$T/$store"
    in_store "$store" "$bob_http file://$T/cache" "$key" nix-store -r "$top" >"$out" 2>&1 &
    local nix_pid=$!
    until_true 20 moved 20000000 || { echo "the NAR never started"; cat "$out"; wait "$nix_pid"; return 1; }
    "$@"
    wait "$nix_pid"
    rc=$?
    took=$((SECONDS - began))
    [ "$rc" = 0 ] || { echo "nix failed with $rc"; cat "$out"; tail -n 20 "$T/bob.log"; return 1; }
    [ "$(dump_sum "$store" "$top")" = "$want" ]
}
moved() {
    kill -USR1 "$bob_pid" && sleep 0.1
    local n
    n=$(grep 'event=peer.stats' "$T/bob.log" | tail -1 | sed 's/.*bytes_received=\([0-9]*\).*/\1/')
    [ "${n:-0}" -gt "$1" ]
}

scenario() { # NAME ACTION…
    local name=$1
    start_slow_pair || { not_ok "$name: nodes connect" "$T/alice.log" "$T/bob.log"; return; }
    check "$name: nix ends well" in_the_middle "$@"
    check "$name: within 30 s (${took:-?})" test "${took:-99}" -le 30
    check "$name: bob still answers" test "$(curl -s -m 5 -o /dev/null -w '%{http_code}' "$bob_http/nix-cache-info")" = 200
    kill -CONT "$alice_pid" 2>/dev/null
    kill -9 "$alice_pid" "$emulator_pid" 2>/dev/null
    wait "$alice_pid" "$emulator_pid" 2>/dev/null
    node_stop bob
}
kill_alice() { kill -9 "$alice_pid"; }
stall_alice() { kill -STOP "$alice_pid"; }
cut_link() { kill -9 "$emulator_pid"; }
scenario killed kill_alice
scenario stalled stall_alice
scenario cut cut_link
finish

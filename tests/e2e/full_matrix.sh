#!/usr/bin/env bash
# The main job over a matrix of lines: delay × loss × rate. Each cell fetches a closure and 4 MiB by real nix.
. "$(dirname "$0")/lib.sh"
PEERIX=$PX_RELEASE/peerix

mkdir -p "$T/alice"
top=$(build alice "$HERE/closure.nix" --argstr tag matrix --arg n 10 --arg per 10) || { not_ok "build"; finish; }
big=$(build alice "$HERE/big.nix" --argstr tag matrix --arg mib 4) || { not_ok "build"; finish; }
want=$(dump_sum alice "$big")
node_init alice
key=$(node_key alice)
node_start alice || { not_ok "alice starts"; finish; }

cell() { # NAME EMULATOR-OPTIONS…
    local name=$1 began=$SECONDS emulator http="${1}_http"
    shift
    node_init "$name" && node_trust alice "$name" || return 1
    "$PX_RELEASE/tests/link_emulator" --listen 127.0.0.1:0 --to "$alice_overlay" "$@" >"$T/$name.emulator" &
    emulator=$!
    PIDS+=("$emulator")
    until_true 5 grep -q '^ready ' "$T/$name.emulator"
    node_trust "$name" alice "$(awk '/^ready /{print $2}' "$T/$name.emulator")"
    node_start "$name" --trusted-public-key "$key" --deadline 5s && until_true 30 connected "$name" alice &&
        in_store "$name" "${!http}" "$key" nix-store -r "$top" "$big" &&
        [ "$(dump_sum "$name" "$big")" = "$want" ]
    local rc=$?
    echo "$((SECONDS - began)) s"
    node_stop "$name"
    kill "$emulator"; wait "$emulator"
    rm -rf "$T/$name/root/nix/store"/*big* 2>/dev/null
    return $rc
}
n=0
for delay in 0 20 100; do
    for loss in 0 0.005 0.03; do
        for rate in 0 1000000; do
            n=$((n + 1))
            check "delay $delay ms, loss $loss, rate $rate" cell "m$n" \
                --delay "$delay" --loss "$loss" --rate "$rate" --seed 3
        done
    done
done
finish

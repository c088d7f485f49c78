#!/usr/bin/env bash
# The main job: a path built on one machine is fetched by real nix on another, signatures required.
# Runs alone: it measures times, or fills the machine.
. "$(dirname "$0")/lib.sh"

mkdir -p "$T/alice" "$T/bob"
top=$(build alice "$HERE/closure.nix" --argstr tag two-nodes --arg n 300) || { not_ok "build"; finish; }
node_init alice
key=$(node_key alice)
if ! start_pair alice bob --trusted-public-key "$key"; then
    not_ok "two nodes connect" "$T/alice.log" "$T/bob.log"
    finish
fi
ok "two nodes connect"

hash=$(basename "$top" | cut -c1-32)
check "nix-cache-info names the store" grep -qx 'StoreDir: /nix/store' <(curl -s "$bob_http/nix-cache-info")
check "a narinfo comes from the peer, signed" grep -q "^Sig: ${key%%:*}:" <(curl -s "$bob_http/$hash.narinfo")
check "an unknown path is a 404" test "$(curl -s -o /dev/null -w '%{http_code}' "$bob_http/00000000000000000000000000000000.narinfo")" = 404

fetch() { in_store bob "$bob_http" "$1" nix-store -r "$top"; }
other_key="other-1:$(head -c 32 /dev/urandom | base64)"
if fetch "$other_key" >"$T/wrong.out" 2>&1; then not_ok "nix refuses a path signed by an unknown key"; else ok "nix refuses a path signed by an unknown key"; fi
forget_cache bob
check "real nix fetches a closure of 300 paths" fetch "$key"
count=$(in_store bob "" "" nix-store -qR "$top" | wc -l)
check "all 300 paths are there" test "$count" = 300
verify_all() {
    local paths
    paths=$(in_store bob "" "" nix-store -qR "$top") && [ -n "$paths" ] || return 1
    in_store bob "" "" nix-store --verify-path $paths
}
check "every path is what was built" verify_all
check "the NAR is byte-equal" test "$(dump_sum alice "$top")" = "$(dump_sum bob "$top")"

node_stop bob; rc=$?
check "the daemon ends with 0 on SIGTERM" test "$rc" = 0
received=$(grep 'event=peer.stats' "$T/bob.log" | sed 's/.*bytes_received=\([0-9]*\).*/\1/' | tail -1)
check "it came over the QUIC connection (${received:-0} bytes)" test "${received:-0}" -gt 100000
finish

#!/usr/bin/env bash
# A stop lets what is under way end, for at most 4 s: a NAR that nix takes from us, and one that a peer takes.
. "$(dirname "$0")/lib.sh"
top=$(build alice "$HERE/big.nix" --argstr tag drain --arg mib 24) || { not_ok "build" "$T/build.out"; finish; }
node_init alice
want=$(dump_sum alice "$top")
key=$(node_key alice)
pair_up() {
    rm -rf "$T/bob/home" "$T/alice.log" "$T/bob.log"
    "$PEERIX" auth remove --home "$T/alice/home" bob >/dev/null 2>&1
    mkdir -p "$T/bob"
    start_pair alice bob --trusted-public-key "$key"
}
# The NAR's URL on bob; then curl takes it at that many bytes a second.
fetch() { # RATE
    local hash=${top##*/}
    url=$bob_http/$(curl -s -m 5 "$bob_http/${hash%%-*}.narinfo" | sed -n 's/^URL: //p')
    rm -f "$T/nar"
    curl -s -m 30 --limit-rate "$1" -o "$T/nar" "$url" &
    curl_pid=$!
    until_true 10 test -s "$T/nar"
}
stops_in_time() { # NAME: SIGTERM, ends with 0 within 5 s
    local began
    began=$(date +%s%N)
    node_stop "$1" || return 1
    took_ms=$((($(date +%s%N) - began) / 1000000))
    echo "took $took_ms ms"
    [ "$took_ms" -le 5000 ]
}
nar_is_whole() { wait "$curl_pid" && [ "$(sha256sum <"$T/nar")" = "$want" ]; }

# About 3 s of transfer are left when the signal comes.
pair_up || { not_ok "nodes connect"; finish; }
fetch 8M
check "bob, who passes the NAR on to nix, stops within 5 s" stops_in_time bob
check "the NAR was finished first" nar_is_whole
node_stop alice

# Up to 20 MB of the 24 may be in buffers between her and curl: slower, so that she has some left to send.
pair_up || { not_ok "nodes connect"; finish; }
fetch 4M
check "alice, who serves it to a peer, stops within 5 s" stops_in_time alice
check "she finished it first" nar_is_whole
check "and began no sooner to leave than it was sent (${took_ms:-0} ms)" test "${took_ms:-0}" -ge 500
node_stop bob

# Far more than the drain allows.
pair_up || { not_ok "nodes connect"; finish; }
fetch 200K
check "a reader too slow does not hold bob up" stops_in_time bob
check "it was given its time" test "${took_ms:-0}" -ge 3500
kill "$curl_pid" # it would read for long what the kernel holds for it
wait "$curl_pid" 2>/dev/null
fetch_dead() { ! curl -s -m 2 "$bob_http/nix-cache-info" >/dev/null; }
check "nobody answers any more" fetch_dead
check "alice stops at once with nothing under way" stops_in_time alice
check "that is, within 1.5 s (${took_ms:-} ms)" test "${took_ms:-9999}" -le 1500
finish

# Nodes behind NAT routers and relays in front of them, for end-to-end tests. Source it after netns.sh.
# Everything outside is on the switch `wan`.
#
#   nat_need                  netns_need, and what routers need
#   router NAME WAN-IP LAN    masquerades; what nobody inside asked for is dropped
#   host NAME ROUTER LAN      a machine behind it
#   relay_start NAME IP       a relay in the namespace NAME; sets RELAY_PID, and <NAME>_url
#   relay_kill PID            with -9
#   nat_start NODE [OPTIONS]  a daemon in the namespace of that name; LAN_DISCOVERY: off unless set
#   cli NODE COMMAND…         a command of ours there
RELAY=$BIN/peerix-relay

nat_need() {
    netns_need
    command -v nft >/dev/null || { skip "needs nft"; finish; }
}
router() {
    netns_add "$1" && netns_plug "$1" wan wan0 "$2/24" && netns_switch "lan-$1" &&
        netns_plug "$1" "lan-$1" lan0 "$3.1/24" || return 1
    $(netns_in "$1") sysctl -qw net.ipv4.ip_forward=1
    $(netns_in "$1") nft -f - <<'NFT'
table ip nat {
    chain prerouting { type nat hook prerouting priority dstnat; }
    chain postrouting { type nat hook postrouting priority srcnat; oifname "wan0" masquerade; }
}
table ip filter {
    chain input { type filter hook input priority filter; policy accept; iifname "wan0" ct state new drop; }
    chain forward { type filter hook forward priority filter; policy accept; iifname "wan0" ct state new drop; }
}
NFT
}
host() { # NAME ROUTER LAN
    netns_add "$1" && netns_plug "$1" "lan-$2" eth0 "$3.10/24" &&
        ip -n "$(netns_id "$1")" route add default via "$3.1"
}
relay_start() { # NAME IP: sets RELAY_PID, and <NAME>_url
    $(netns_in "$1") "$RELAY" daemon --home "$T/$1" --listen "$2:12307" --log-level debug >>"$T/$1.log" 2>&1 &
    RELAY_PID=$!
    PIDS+=($RELAY_PID)
    until_true 10 grep -q event=ready "$T/$1.log" || { tail "$T/$1.log"; return 1; }
    printf -v "$1_url" '%s' "$(sed -n 's/.*event=ready.* url=\([^ ]*\).*/\1/p' "$T/$1.log" | tail -1)"
}
relay_kill() { # PID: -9; every process of the wrapper is the relay itself
    kill -9 "$1"
    wait "$1" 2>/dev/null
}
nat_start() { # NODE [OPTIONS]
    NODE_WRAP=($(netns_in "$1"))
    node_start "$1" --listen "[::]:12304" --lan-discovery "${LAN_DISCOVERY:-off}" "${@:2}"
    local rc=$?
    NODE_WRAP=()
    return $rc
}
cli() { $(netns_in "$1") "$PEERIX" "${@:2}" --home "$T/$1/home"; }
answers() { cli "$1" ping "$2" -c 1 --timeout 1 >/dev/null; }
via() { cli "$1" traceroute "$2" --json | grep -q "\"name\": \"$3\""; }

# Links between network namespaces, for end-to-end tests. Source it after lib.sh. Everything has names
# of this process and is deleted at the end; the machine's own network is not touched.
#
#   netns_need            ends the test with a skip where namespaces cannot be had
#   netns_add N           a namespace with loopback
#   netns_switch S        a namespace that is a switch (a bridge)
#   netns_plug N S IF [ADDRESS/BITS…]
#                         a cable from interface IF of N to switch S
#   netns_unplug N IF, netns_replug N IF
#                         takes the cable's carrier away, gives it back
#   netns_in N            prints the words that run a command there: $(netns_in a) ip addr
#   netns_id N            its name for `ip -n`
NETNS_LIST=()
declare -A NETNS_PORT=()

netns_id() { echo "px$$-$1"; }
netns_in() { echo "ip netns exec $(netns_id "$1")"; }
netns_cleanup() {
    local n
    for n in "${NETNS_LIST[@]}"; do ip netns del "$n" 2>/dev/null; done
}
trap 'cleanup; netns_cleanup' EXIT

netns_need() {
    if [ "$(id -u)" = 0 ] && command -v ip >/dev/null && netns_add probe 2>/dev/null &&
        ip -n "$(netns_id probe)" link add pxprobe type bridge 2>/dev/null; then
        return 0
    fi
    skip "needs root and network namespaces with bridges"
    finish
}
netns_add() {
    local n
    n=$(netns_id "$1")
    ip netns add "$n" || return 1
    NETNS_LIST+=("$n")
    ip -n "$n" link set lo up
    # addresses count at once: nothing here can have them twice
    $(netns_in "$1") sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 2>/dev/null
    return 0
}
netns_switch() {
    netns_add "$1" && ip -n "$(netns_id "$1")" link add br0 type bridge mcast_snooping 0 &&
        ip -n "$(netns_id "$1")" link set br0 up
}
netns_plug() {
    local node=$1 switch=$2 if=$3 port address
    shift 3
    port="p${#NETNS_PORT[@]}"
    NETNS_PORT[$node/$if]="$switch $port"
    ip link add "$if" netns "$(netns_id "$node")" type veth peer name "$port" netns "$(netns_id "$switch")" &&
        ip -n "$(netns_id "$switch")" link set "$port" master br0 up || return 1
    for address in "$@"; do ip -n "$(netns_id "$node")" addr add "$address" dev "$if" || return 1; done
    ip -n "$(netns_id "$node")" link set "$if" up
}
netns_set_port() { # NODE IF up|down
    local switch port
    read -r switch port <<<"${NETNS_PORT[$1/$2]}"
    ip -n "$(netns_id "$switch")" link set "$port" "$3"
}
netns_unplug() { netns_set_port "$1" "$2" down; }
netns_replug() { netns_set_port "$1" "$2" up; }

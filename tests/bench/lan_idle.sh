#!/usr/bin/env bash
# What looking for peers on the link costs a node that has nothing else to do: CPU seconds a minute and
# memory with many listed peers that are not there, in a network namespace with neighbours that announce.
# Usage: tests/bench/lan_idle.sh PATH-OF-PEERIX [PEERS [SECONDS]]
. "$(dirname "$0")/../e2e/lib.sh"
. "$(dirname "$0")/../e2e/netns.sh"
. "$(dirname "$0")/../e2e/avahi.sh"
peers=${2:-100} seconds=${3:-60}
netns_need
avahi_need
# nanoseconds on a processor, all threads; the clock ticks of /proc/PID/stat are too coarse
ran() { cat /proc/"$1"/task/*/schedstat | awk '{ s += $1 } END { printf "%d", s }'; }

netns_switch sw
# daemon NODE [OPTIONS]
daemon() {
    NODE_WRAP=(env DBUS_SYSTEM_BUS_ADDRESS="$(avahi_address "$1")" $(netns_in "$1"))
    node_start "$1" --listen "[::]:12303" --log-level info "${@:2}"
    local rc=$?
    NODE_WRAP=()
    return $rc
}
absent() { # NODE: lists that many identities nobody has
    local i
    node_init "$1"
    for i in $(seq "$peers"); do
        [ -s "$T/ids/$i" ] || { mkdir -p "$T/ids"; "$PEERIX" init --home "$T/throwaway" --non-interactive >/dev/null && "$PEERIX" whoami --home "$T/throwaway" >"$T/ids/$i"; rm -rf "$T/throwaway"; }
        cat "$T/ids/$i"
    done >>"$T/$1/home/authorized_keys"
    chmod 600 "$T/$1/home/authorized_keys"
}
for n in idle neighbour off; do
    netns_add $n && absent $n
    netns_plug $n sw eth0
    avahi_bus $n && avahi_start $n
    case $n in idle) ip -n "$(netns_id $n)" addr add 10.77.9.1/24 dev eth0 ;; neighbour) ip -n "$(netns_id $n)" addr add 10.77.9.2/24 dev eth0 ;; esac
done
daemon neighbour && daemon idle && daemon off --lan-discovery off || { echo "a daemon does not start"; exit 1; }
sleep 20 # the announcements of the start are over, they come once in 16 s and rarer
a=$(ran "$idle_pid") o=$(ran "$off_pid")
sleep "$seconds"
b=$(ran "$idle_pid") p=$(ran "$off_pid")
per_minute() { awk "BEGIN { printf \"%.4f\", ($2 - $1) / 1e9 * 60 / $seconds }"; }
echo "lan idle: $(per_minute "$a" "$b") CPU s a minute with $peers absent peers (goal 0.05); without LAN discovery $(per_minute "$o" "$p")"
rss() { awk '$1 == "RssAnon:" { printf "%.2f", $2 / 1024 }' "/proc/$1/status"; }
echo "lan idle: RssAnon $(rss "$idle_pid") MiB with multicast and DNS-SD (goal 6), $(rss "$off_pid") without"

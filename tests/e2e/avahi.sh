# A system D-Bus and an Avahi daemon inside a network namespace, for tests. Source after netns.sh. Both
# run as this test's processes with configuration and sockets of their own; the machine's are not touched.
#
#   avahi_need        ends the test with a skip where the programs are missing
#   avahi_bus N       starts the bus of namespace N: DBUS_SYSTEM_BUS_ADDRESS=$(avahi_address N)
#   avahi_start N     starts the daemon; avahi_stop N ends it; pids are in bus_N and avahi_N
avahi_need() {
    PATH=$PATH:/usr/sbin:/sbin
    command -v dbus-daemon >/dev/null && command -v avahi-daemon >/dev/null && unshare -m true 2>/dev/null && return 0
    skip "needs dbus-daemon and avahi-daemon"
    finish
}
avahi_address() { echo "unix:path=$T/$1.bus"; }
avahi_bus() {
    mkdir -p "$T/$1.avahi"
    cat >"$T/$1.bus.conf" <<CONF
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>$(avahi_address "$1")</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>
    <allow send_type="method_call"/><allow send_type="signal"/>
  </policy>
</busconfig>
CONF
    # its own address in the namespace of paths, not the machine's: nothing is started by activation
    dbus-daemon --config-file="$T/$1.bus.conf" --nofork --nopidfile >"$T/$1.bus.log" 2>&1 &
    printf -v "bus_$1" '%s' $!
    PIDS+=($!)
    until_true 5 test -S "$T/$1.bus"
}
avahi_start() {
    cat >"$T/$1.avahi.conf" <<CONF
[server]
host-name=host-$1
use-ipv4=yes
use-ipv6=yes
enable-dbus=yes
allow-point-to-point=no
[wide-area]
enable-wide-area=no
[publish]
publish-hinfo=no
publish-workstation=no
CONF
    # its pid file has a fixed place: a private /run for this process alone
    ip netns exec "$(netns_id "$1")" unshare -m env DBUS_SYSTEM_BUS_ADDRESS="$(avahi_address "$1")" bash -c '
        mount -t tmpfs none /run && mkdir /run/avahi-daemon &&
        exec avahi-daemon --no-drop-root --no-chroot --no-rlimits --debug -f "$1"' _ "$T/$1.avahi.conf" >>"$T/$1.avahi.log" 2>&1 &
    printf -v "avahi_$1" '%s' $!
    PIDS+=($!)
    until_true 10 grep -q 'Server startup complete' "$T/$1.avahi.log"
}
avahi_stop() {
    local pid="avahi_$1"
    kill "${!pid}" && wait "${!pid}"
    : >"$T/$1.avahi.log"
}

#!/usr/bin/env bash
# Makes this machine a peerix relay: puts peerix-relay onto it as a service, checks that, and takes it away again.
# Usage: deploy/relay-setup.sh install   [--public HOST[:PORT]] [--sysctl] [--prefix DIR] [--root DIR]
#                                        [--binary FILE] [--no-start]
#        deploy/relay-setup.sh verify    [--prefix DIR] [--root DIR]
#        deploy/relay-setup.sh uninstall [--prefix DIR] [--root DIR] [--backup FILE | --purge]
#   install    what is needed to build, then program, unit, man page, completions and samples below the prefix (default
#              /usr/local); creates the user `peerix-relay` and the relay's key in /etc/peerix-relay, starts the
#              service, and prints the relay's URL and what members do. May be run again, also to upgrade
#   verify     checks all of that, a line each, and ends with 1 if anything is not as it should be
#   uninstall  removes everything, also user, key, members and state. These go to a backup first (default
#              ./peerix-relay-backup-DATE.tar.gz, named at the end); --purge makes none
#   --public   where nodes reach this machine, for the URL (default: the address it sends from, if that is public)
#   --sysctl   also raises the kernel's bound for UDP buffers, in /etc/sysctl.d/60-peerix-relay.conf
#   --root     a directory to install into, as packages are made: without user, key and start; $DESTDIR
#              says the same
#   --binary   the program (default: build/release/peerix-relay, which is built if it is not there or outdated)
#   --no-start leaves the service stopped
# shellcheck disable=SC2034 # lib.sh reads these
set -euo pipefail
me=relay-setup.sh program_name=peerix-relay
units=(peerix-relay.service)
init=(init --system)
private_files=(identity.pem authorized_keys)
backup_base=/ backup_paths=(etc/peerix-relay var/lib/peerix-relay)
# shellcheck source=deploy/lib.sh
. "$(dirname "$0")/lib.sh"
usage() { sed -n '2,/^# shellcheck/{/^# shellcheck/!s/^# \{0,1\}//p}' "$0"; }

public='' sysctl=0
sysctl_file=/etc/sysctl.d/60-peerix-relay.conf
own_option() {
    [ "$1" = --public ] || return 1
    public=$2
}
own_flag() {
    [ "$1" = --sysctl ] || return 1
    sysctl=1
}
prepare() {
    case "$public" in *[!A-Za-z0-9.:_\[\]-]* | :*) fail "--public takes HOST or HOST:PORT, not '$public'" ;; esac
    # installing again leaves there what was asked for before
    ! grep -qs " $sysctl_file\$" "$root$manifest" || sysctl=1
}

# ---- install ----
install_files() {
    local c=$here/systemd/peerix-relay
    put 755 "$binary" "$program"
    put_unit peerix-relay.service system
    put 644 "$c.sysusers.conf" "$prefix/lib/sysusers.d/peerix-relay.conf"
    put 644 "$c.tmpfiles.conf" "$prefix/lib/tmpfiles.d/peerix-relay.conf"
    put_output "$prefix/share/man/man1/peerix-relay.1" man
    put_output "$prefix/share/bash-completion/completions/peerix-relay" completion bash
    put_output "$prefix/share/zsh/site-functions/_peerix-relay" completion zsh
    put_output "$prefix/share/fish/vendor_completions.d/peerix-relay.fish" completion fish
    put_output "$share/config.sample.yaml" config sample
    put 644 "$c.sysctl.conf" "$share/sysctl.conf"
    if [ "$sysctl" = 1 ]; then
        put 644 "$c.sysctl.conf" "$sysctl_file"
        ! live || sysctl_load
    fi
}
# In a container the values are the host's to set.
sysctl_load() {
    sysctl -q -p "$sysctl_file" >/dev/null 2>&1 ||
        say "note        $sysctl_file could not be loaded now; it counts from the next boot"
}
# KEY: what config.yaml says, in plain scalars, or the program's default
setting() {
    if grep -qs "^$1:" "$config/config.yaml"; then
        sed -n "s/^$1:/#&/p" "$config/config.yaml"
    else
        "$program" config sample
    fi | sed -n "s/^#$1:[[:space:]]*[\"']\{0,1\}\([^\"'#[:space:]]*\).*/\1/p" | tail -n 1
}
port_of() { printf '%s\n' "${1##*:}"; }
# The address this machine sends from, unless that is of a private network. No packet is sent.
public_address() {
    local family a
    for family in -4 -6; do
        case "$family" in -4) a=192.0.2.1 ;; *) a=2001:db8::1 ;; esac
        a=$(ip "$family" route get "$a" 2>/dev/null | sed -n 's/.* src \([^ ]*\).*/\1/p' | head -n 1) || true
        case "$a" in
        '' | 0.* | 10.* | 127.* | 169.254.* | 192.168.* | 172.1[6-9].* | 172.2[0-9].* | 172.3[01].*) ;;
        100.6[4-9].* | 100.[7-9][0-9].* | 100.1[01][0-9].* | 100.12[0-7].*) ;;
        ::* | [fF][c-fC-F]*) ;;
        *:*) printf '[%s]\n' "$a"; return ;;
        *) printf '%s\n' "$a"; return ;;
        esac
    done
}
with_port() { # HOST[:PORT]
    local port
    port=$(port_of "$(setting listen)")
    case "$1" in
    \[*\]:*) printf '%s\n' "$1" ;;
    \[*\]) printf '%s:%s\n' "$1" "$port" ;;
    *:*:*) printf '[%s]:%s\n' "$1" "$port" ;;
    *:*) printf '%s\n' "$1" ;;
    *) printf '%s:%s\n' "$1" "$port" ;;
    esac
}
configure() {
    [ -n "$public" ] || [ -z "$(setting public-addr)" ] || return 0
    [ -n "$public" ] || public=$(public_address)
    [ -n "$public" ] || return 0
    as_user sed -i -e '/^#\{0,1\}public-addr:/d' "$config/config.yaml"
    printf 'public-addr: "%s"\n' "$(with_port "$public")" | as_user tee -a "$config/config.yaml" >/dev/null
    as_user "$program" config validate --system >"$work/out" 2>&1 ||
        { cat "$work/out" >&2; fail "$config/config.yaml is not valid"; }
}
url() {
    local at tcp
    at=$(setting public-addr)
    tcp=$(port_of "$(setting tcp)")
    case "$tcp" in '' | 0 | 443) tcp='' ;; *) tcp="?tcp=$tcp" ;; esac
    printf 'peerix-relay://%s@%s%s\n' "$(as_user "$program" whoami --system)" \
        "${at:-THIS-HOST:$(port_of "$(setting listen)")}" "$tcp"
}
ports() { # PORT/PROTOCOL of what listens
    printf '%s/udp\n' "$(port_of "$(setting listen)")"
    [ -z "$(setting tcp)" ] || printf '%s/tcp\n' "$(port_of "$(setting tcp)")"
}
firewall() {
    local p words='firewall    '
    for p in $(ports); do
        case "$p" in
        */udp) say "${words}UDP port ${p%/*} must be open from everywhere, outgoing UDP to everywhere" ;;
        */tcp) say "${words}TCP port ${p%/*} for nodes whose network lets no UDP out" ;;
        esac
        words='            '
    done
    say "            both also in the provider's own firewall, if it has one"
    for p in $(ports); do
        if command -v ufw >/dev/null; then
            say "                ufw allow $p"
        elif command -v firewall-cmd >/dev/null; then
            say "                firewall-cmd --permanent --add-port=$p && firewall-cmd --reload"
        elif command -v nft >/dev/null; then
            say "                nft add rule inet filter input ${p#*/} dport ${p%/*} accept     (if there is such a chain)"
        fi
    done
}
buffers() { cat /proc/sys/net/core/rmem_max 2>/dev/null || echo 0; }
tell() {
    say "installed   $root$program"
    live || { say "            a package's scripts have to create the user (sysusers.d) and run \`peerix-relay init --system\`"; return; }
    say "key         /etc/peerix-relay, owned by the user peerix-relay; back up identity.pem"
    if live_systemd; then
        say "service     systemctl status peerix-relay; journalctl -u peerix-relay"
    else
        say "service     no systemd runs here: start \`peerix-relay daemon --system\` as the user peerix-relay by other means"
    fi
    firewall
    [ "$(buffers)" -ge 8388608 ] || [ "$sysctl" = 1 ] ||
        say "buffers     for more than a few MB/s: $me install --sysctl, or see $share/sysctl.conf"
    cat <<TEXT
URL         $(url)
next        for your first node, here: peerix-relay auth add NODE-ID --name NAME --system
            and on the node:           peerix relay add '$(url)'
            NODE-ID is what \`peerix whoami\` prints there. Nodes paired with it by invite need neither.
TEXT
    [ -n "$(setting public-addr)" ] ||
        say "note        this machine has no public address of its own: put its host name or address for THIS-HOST, with
            $me install --public HOST"
}

# ---- verify ----
members_valid() {
    local words
    words=$("$program" auth list --system 2>&1 >/dev/null) || true
    [ -z "$words" ] || { printf '%s\n' "$words"; return 1; }
}
answers() { timeout 3 "$program" status --system >"$work/status"; }
# PATH: over bash's own TCP, for a fresh machine may have no curl
metrics_get() {
    local at
    at=$(setting metrics)
    # shellcheck disable=SC2016 # expanded by the other bash
    timeout 3 bash -c 'exec 3<>"/dev/tcp/$1/$2" && printf "GET $3 HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n" >&3 && cat <&3' \
        _ "$(tr -d '[]' <<<"${at%:*}")" "$(port_of "$at")" "$1" >"$work/http" || return 1
    grep -q '^HTTP/1\.[01] 200 ' "$work/http"
}
healthy() { metrics_get /healthz && grep -qx ok "$work/http"; }
measures() { metrics_get /metrics && grep -q '^peerix_relay_nodes ' "$work/http"; }
listens() {
    local port
    port=$(port_of "$(setting listen)")
    grep -q "^listens at .*:$port\$" "$work/status"
}
by_tcp() {
    grep -q "^and, by TCP .*:$(port_of "$(setting tcp)")," "$work/status" ||
        { echo "is another server there? The relay's log has relay.no_tcp; tcp: \"\" in config.yaml does without"; return 1; }
}
verify_running() {
    : >"$work/status"
    expect "authorized_keys is valid" members_valid
    if [ -S "$state/control.sock" ]; then
        expect "the relay answers status" answers
        expect "it listens where config.yaml says" listens
        [ -z "$(setting tcp)" ] || expect "it listens on TCP port $(port_of "$(setting tcp)") too" by_tcp
        expect "/healthz says ok" healthy
        expect "/metrics answers" measures
    else
        say "--    the relay is not running"
    fi
    [ -n "$(setting public-addr)" ] || say "--    no public-addr in config.yaml: the URL names no host"
    [ "$(buffers)" -ge 8388608 ] || say "--    net.core.rmem_max is $(buffers): bursts may be lost; see $share/sysctl.conf"
    # shellcheck disable=SC2046 # a word each
    say "--    not checked: that the firewall lets through" $(ports)"; \`peerix relay list\` on a node tells"
}

# ---- uninstall ----
removed_words() {
    if [ -n "$backup" ] && [ -e "$backup" ]; then
        say "backup      $backup"
        say "            holds this relay's private key, its members and its database. Unpacked into / before an install"
        say "            it is the same relay again; delete it when you no longer want that."
    elif [ "$purge" = 1 ]; then
        say "            without a backup, as asked: this relay's identity is gone"
    fi
    live || return 0
    say "nodes       on each: peerix relay remove; close the ports in the firewall"
    [ "$sysctl" = 0 ] || say "buffers     net.core.rmem_max and wmem_max are as before after the next boot"
}

lib_run "$@"

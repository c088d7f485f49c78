#!/usr/bin/env bash
# Puts peerix onto this machine as a service, checks that, and takes it away again.
# Usage: deploy/install.sh install   [--prefix DIR] [--root DIR] [--binary FILE] [--no-start]
#        deploy/install.sh verify    [--prefix DIR] [--root DIR]
#        deploy/install.sh uninstall [--prefix DIR] [--root DIR] [--backup FILE | --purge]
#   install    program, units, man page, completions and a sample configuration below the prefix (default
#              /usr/local); creates the user `peerix` and its keys in /etc/peerix, and starts the service
#   verify     checks all of that, a line each, and ends with 1 if anything is not as it should be
#   uninstall  removes everything, also user, keys, configuration and state. The keys and the configuration
#              go to a backup first (default ./peerix-backup-DATE.tar.gz, named at the end); --purge makes none
#   --root     a directory to install into, as packages are made: without user, keys and start; $DESTDIR
#              says the same
#   --binary   the program (default: build/release/peerix, which is built if it is not there or outdated)
#   --no-start leaves the service stopped
# shellcheck disable=SC2034 # lib.sh reads these
set -euo pipefail
me=install.sh program_name=peerix
units=(peerix.socket peerix.service)
init=(init --system --non-interactive)
private_files=(identity.pem nix-key.sec authorized_keys)
backup_base=/etc backup_paths=(peerix)
# shellcheck source=deploy/lib.sh
. "$(dirname "$0")/lib.sh"
usage() { sed -n '2,/^# shellcheck/{/^# shellcheck/!s/^# \{0,1\}//p}' "$0"; }

install_files() {
    local f
    put 755 "$binary" "$program"
    for f in peerix.service peerix.socket; do
        put_unit "$f" system
        put_unit "user/$f" user
    done
    put 644 "$here/systemd/sysusers.conf" "$prefix/lib/sysusers.d/peerix.conf"
    put 644 "$here/systemd/tmpfiles.conf" "$prefix/lib/tmpfiles.d/peerix.conf"
    put_output "$prefix/share/man/man1/peerix.1" man
    put_output "$share/config.sample.yaml" config sample
    put_output "$prefix/share/bash-completion/completions/peerix" completion bash
    put_output "$prefix/share/zsh/site-functions/_peerix" completion zsh
    put_output "$prefix/share/fish/vendor_completions.d/peerix.fish" completion fish
}
tell() {
    say "installed   $root$program"
    live || { say "            a package's scripts have to create the user (sysusers.d) and run \`peerix init --system\`"; return; }
    say "peer ID     $(as_user "$program" whoami --system)"
    say "keys        /etc/peerix, owned by the user peerix; back up identity.pem and nix-key.sec"
    if live_systemd; then
        say "service     systemctl status peerix; journalctl -u peerix"
    else
        say "service     no systemd runs here: start \`peerix daemon --system\` as the user peerix by other means"
    fi
    cat <<TEXT
commands    peerix … --system, as root
nix         in /etc/nix/nix.conf of this machine, again after pairing (\`peerix nix-conf --system\`):
                extra-substituters = http://127.0.0.1:12304
                extra-trusted-public-keys = the keys of the machines that build
            this machine's key is $(as_user "$program" nix-key --system)
next        peerix invite --system, and on the other machine peerix join CODE
TEXT
}
answers() { curl -sf -m 5 http://127.0.0.1:12304/nix-cache-info | grep -q '^StoreDir: '; }
verify_running() {
    expect "authorized_keys is valid" "$program" auth validate --system
    if [ -S /var/lib/peerix/control.sock ] || { live_systemd && systemctl -q is-active peerix.socket; }; then
        expect "the substituter answers on 127.0.0.1:12304" answers
        expect "the control API answers" "$program" status --system
    else
        say "--    the daemon is not running"
    fi
}
removed_words() {
    if [ -n "$backup" ] && [ -e "$backup" ]; then
        say "backup      $backup"
        say "            holds this node's private keys, its allowlist and its configuration. Unpacked into /etc it is"
        say "            the same node again; delete it when you no longer want that."
    elif [ "$purge" = 1 ]; then
        say "            without a backup, as asked: this node's identity is gone"
    fi
    ! live || say "nix         take http://127.0.0.1:12304 and the keys out of nix.conf again"
}

lib_run "$@"

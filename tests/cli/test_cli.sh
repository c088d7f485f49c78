#!/usr/bin/env bash
# The command line as a contract: output, exit codes, files. Usage: tests/cli/test_cli.sh PEERIX
set -u
PEERIX=$(realpath "${1:?usage: test_cli.sh PEERIX}")
T=$(mktemp -d "${TMPDIR:-/tmp}/peerix-cli.XXXXXX")
pids=()
cleanup() {
    local pid
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null; done
    rm -rf "$T"
}
trap cleanup EXIT
cd "$T" || exit 1
unset PEERIX_HOME PEERIX_NIX_KEY_FILE CREDENTIALS_DIRECTORY NOTIFY_SOCKET LISTEN_FDS
export HOME=$T/user XDG_CONFIG_HOME='' XDG_STATE_HOME='' TERM=xterm LC_ALL=C
mkdir "$HOME"
failed=0 why=''

# run CODE ARGUMENT…: runs peerix with at most 20 s; output is in $out and $err
run() {
    local want=$1 got
    shift
    timeout 20 "$PEERIX" "$@" >"$T/out" 2>"$T/err" </dev/null
    got=$?
    out=$(cat "$T/out") err=$(cat "$T/err")
    [ "$got" = "$want" ] || note "exit code $got, not $want, of: peerix $* ($(head -c 300 "$T/err"))"
}
note() { [ -n "$why" ] || why=$1; }
equal() { [ "$1" = "$2" ] || note "'$1' is not '$2'"; }
has() { case $1 in *"$2"*) ;; *) note "'$2' is not in: $1" ;; esac }
lacks() { case $1 in *"$2"*) note "'$2' is in: $1" ;; esac }
line() { grep -qxF -- "$2" <<<"$1" || note "no line '$2' in: $1"; }
matches() { [[ $1 =~ $2 ]] || note "'$1' does not match $2"; }
mode() { equal "$(stat -c %a "$1")" "$2"; }
# verdict NAME: one line for all since the last
verdict() {
    if [ -z "$why" ]; then echo "ok - $1"; else echo "not ok - $1 ($(tr '\n' '|' <<<"$why"))"; failed=1; fi
    why=''
}

A=$T/a B=$T/b
ID_PATTERN='^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$'

# ---- init, whoami, nix-key ----
run 3 whoami --home "$A"
has "$err" "peerix init"
equal "$out" ""
verdict "whoami_without_identity_says_run_init"

run 0 init --home "$A" --non-interactive
has "$out" "created    $A/identity.pem"
mode "$A" 700
mode "$A/identity.pem" 600
mode "$A/nix-key.sec" 600
[ -f "$A/authorized_keys" ] && [ ! -s "$A/authorized_keys" ] || note "no empty authorized_keys"
[ -s "$A/config.yaml" ] || note "no sample config"
verdict "init_creates_a_home"

run 0 whoami --home "$A"
id_a=$out
matches "$id_a" "$ID_PATTERN"
run 0 init --home "$A"
lacks "$out" "created"
has "$out" "$id_a"
line "$out" "  here     peerix daemon --home $A"
run 0 whoami --home="$A"
equal "$out" "$id_a"
verdict "init_is_idempotent"

run 0 init --home "$B" --nix-key-name my.cache-7
run 0 whoami --json --home "$B"
line "$out" "  \"peer\": \"$("$PEERIX" whoami --home "$B")\""
verdict "whoami_prints_json"
id_b=$("$PEERIX" whoami --home "$B")

run 0 nix-key --home "$A"
matches "$out" "^[A-Za-z0-9.-]+-${id_a: -8}-peerix-1:[A-Za-z0-9+/]{43}=\$"
run 0 nix-key --home "$B"
matches "$out" '^my\.cache-7:[A-Za-z0-9+/]{43}=$'
key_b=$out
run 0 nix-key --home "$A" --nix-key "$B/nix-key.sec"
equal "$out" "$key_b"
PEERIX_NIX_KEY_FILE=$B/nix-key.sec run 0 nix-key --home "$A"
equal "$out" "$key_b"
mkdir "$T/credentials" && cp "$B/nix-key.sec" "$T/credentials/nix-key" && chmod 600 "$T/credentials/nix-key"
CREDENTIALS_DIRECTORY=$T/credentials run 0 nix-key --home "$A"
equal "$out" "$key_b"
run 3 nix-key --home "$T/none"
has "$err" "peerix init"
verdict "nix_key_comes_from_home_option_environment_or_credentials"

if command -v nix-store >/dev/null; then
    nix-store --generate-binary-cache-key made-by-nix-1 "$T/nix.sec" "$T/nix.pub" 2>/dev/null
    chmod 600 "$T/nix.sec"
    run 0 nix-key --home "$A" --nix-key "$T/nix.sec"
    equal "$out" "$(cat "$T/nix.pub")"
    verdict "keys_made_by_nix_are_read"
else
    echo "skip - keys_made_by_nix_are_read (nix-store is not installed)"
fi

run 2 init --home "$T/c" --nix-key-name 'a:b'
has "$err" "key name"
verdict "init_refuses_a_key_name_nix_could_not_read"

run 0 init --home "$T/flags" --non-interactive --listen 127.0.0.1:5 --trust-peers --log-level debug \
    --trusted-public-key "$key_b" --trusted-public-key "$("$PEERIX" nix-key --home "$A")"
run 0 config validate --home "$T/flags"
for want in 'listen: "127.0.0.1:5"' 'trust-peers: "true"' 'log-level: "debug"' "  - \"$key_b\""; do
    line "$(cat "$T/flags/config.yaml")" "$want"
done
before=$(cat "$T/flags/config.yaml")
run 0 init --home "$T/flags" --listen 127.0.0.1:6
has "$err" "stays as it is"
equal "$(cat "$T/flags/config.yaml")" "$before"
run 2 init --home "$T/other" --listen nonsense
[ ! -e "$T/other" ] || note "it was created"
verdict "init_writes_flags_to_a_new_config_and_never_overwrites"

if script -qec true /dev/null >/dev/null 2>&1; then
    printf '%s\n' wizard-1 '' nonsense 4000 n >"$T/answers"
    out=$(script -qec "$PEERIX init --home $T/wizard" /dev/null <"$T/answers")
    has "$out" "listen: 'nonsense' is not"
    has "$out" "peerix daemon --home $T/wizard"
    line "$(cat "$T/wizard/config.yaml")" 'listen: "[::]:4000"'
    line "$(cat "$T/wizard/config.yaml")" 'mode: "wan"'
    lacks "$(cat "$T/wizard/config.yaml")" $'\nstore:'
    run 0 config validate --home "$T/wizard"
    run 0 nix-key --home "$T/wizard"
    has "$out" "wizard-1:"
    lacks "$(script -qec "$PEERIX init --home $T/wizard" /dev/null </dev/null)" "Enter takes"
    lacks "$(script -qec "$PEERIX init --home $T/silent --non-interactive" /dev/null </dev/null)" "Enter takes"
    verdict "init_asks_on_a_terminal_only_and_once"
else
    echo "skip - init_asks_on_a_terminal_only_and_once (script(1) cannot make a terminal)"
fi

chmod 644 "$A/identity.pem"
run 4 whoami --home "$A"
has "$err" "chmod 600 $A/identity.pem"
run 4 daemon --home "$A"
has "$err" "chmod 600 $A/identity.pem"
run 4 init --home "$A"
chmod 600 "$A/identity.pem"
run 0 whoami --home "$A"
chmod 644 "$A/nix-key.sec"
run 4 nix-key --home "$A"
has "$err" "chmod 600"
chmod 600 "$A/nix-key.sec"
verdict "key_files_open_to_others_are_refused_with_the_chmod"

cp "$A/identity.pem" "$T/saved.pem"
head -c 60 "$T/saved.pem" >"$A/identity.pem"
run 1 whoami --home "$A"
has "$err" "identity.pem"
cp "$T/saved.pem" "$A/identity.pem"
verdict "a_damaged_identity_is_an_error"

run 0 init --non-interactive
[ -f "$HOME/.config/peerix/identity.pem" ] || note "not in ~/.config"
[ -d "$HOME/.local/state/peerix" ] || note "no state directory"
XDG_CONFIG_HOME=$T/xdg run 0 init
[ -f "$T/xdg/peerix/identity.pem" ] || note "XDG_CONFIG_HOME not honoured"
PEERIX_HOME=$A run 0 whoami
equal "$out" "$id_a"
run 2 whoami --home "$A" --system
run 2 whoami --home ''
HOME='' run 2 whoami
has "$err" "--home"
verdict "homes_are_found_by_xdg_environment_and_flags"

# ---- auth ----
run 0 auth add "$id_b" --home "$A" --name bee --addr bee.example:12303 --addr '[2001:db8::1]:7' --comment 'the other one'
equal "$out" "added $id_b"
equal "$(cat "$A/authorized_keys")" \
    "$id_b name=bee addr=bee.example:12303 addr=[2001:db8::1]:7 grant=cache,cache-own # the other one"
verdict "auth_add_writes_an_entry_with_default_grants"

run 0 auth add --grant cache --home "$A" -- "$id_b"
equal "$out" "updated $id_b"
line "$(cat "$A/authorized_keys")" \
    "$id_b name=bee addr=bee.example:12303 addr=[2001:db8::1]:7 grant=cache # the other one"
verdict "auth_add_again_changes_only_what_is_given"

run 0 auth list --home "$A"
line "$out" "PEER ID                                               NAME  GRANTS  ADDRESSES                          COMMENT"
line "$out" "$id_b  bee   cache   bee.example:12303,[2001:db8::1]:7  the other one"
run 0 auth list --json --home "$A"
for want in '    "peer": "'"$id_b"'",' '    "name": "bee",' '      "cache"' '      "bee.example:12303",' \
    '    "comment": "the other one",' '    "line": 1'; do line "$out" "$want"; done
! command -v jq >/dev/null || equal "$(jq -r '.[0].addrs[1]' <<<"$out")" "[2001:db8::1]:7"
verdict "auth_list_is_aligned_and_speaks_json"

before=$(cat "$A/authorized_keys")
run 2 auth add "$id_b" --home "$A" --name 'Upper'
run 2 auth add "$id_b" --home "$A" --name $'x\nevil'
run 2 auth add "$id_b" --home "$A" --name 'a b'
run 2 auth add "$id_b" --home "$A" --name '-x'
run 2 auth add "$id_b" --home "$A" --name ''
run 2 auth add "$id_b" --home "$A" --name "$(printf 'a%.0s' {1..64})"
run 2 auth add "$id_b" --home "$A" --comment $'x\n'"$id_a"' grant=cache'
lacks "$err" $'\n'"$id_a"
run 2 auth add "$id_b" --home "$A" --addr 'host'
run 2 auth add "$id_b" --home "$A" --addr $'host:1\nx:2'
run 2 auth add "$id_b" --home "$A" --addr 'a b:1'
run 2 auth add "$id_b" --home "$A" --addr 'host:0'
run 2 auth add "$id_b" --home "$A" --addr 'host:65536'
run 2 auth add "$id_b" --home "$A" --addr '::1:5'
run 2 auth add "$id_b" --home "$A" --grant root
has "$err" "cache, cache-own"
run 2 auth add "$id_b" --home "$A" --grant ''
equal "$(cat "$A/authorized_keys")" "$before"
verdict "auth_add_refuses_hostile_and_malformed_values"

run 2 auth add "${id_b}x" --home "$A"
run 2 auth add "12D3KooW" --home "$A"
run 2 auth add --home "$A"
has "$err" "ID is missing"
run 2 auth add "$id_b" "$id_b" --home "$A"
has "$err" "unexpected argument"
run 2 auth add "$id_a" --home "$A"
has "$err" "own ID"
run 2 auth add $'\e[31m' --home "$A"
lacks "$err" $'\e'
verdict "auth_add_wants_one_good_id_of_another_node"

run 0 init --home "$T/c" --nix-key-name c-1
id_c=$("$PEERIX" whoami --home "$T/c")
run 1 auth add "$id_c" --home "$A" --name bee
has "$err" "belongs to $id_b"
run 0 auth add "$id_c" --home "$A" --name cee
verdict "auth_add_keeps_names_unique"

for i in 1 2 3 4 5 6; do
    "$PEERIX" auth add "$id_b" --home "$A" --comment "round $i" >/dev/null &
    "$PEERIX" auth add "$id_c" --home "$A" --comment "round $i" >/dev/null &
    wait
done
run 0 auth list --home "$A"
has "$out" "$id_b  bee"
has "$out" "$id_c  cee"
verdict "concurrent_edits_both_last"

printf '# kept remark\n' >>"$A/authorized_keys"
run 0 auth remove cee --home "$A"
equal "$out" "removed $id_c"
run 10 auth remove cee --home "$A"
has "$err" "auth list"
run 10 auth remove "$id_c" --home "$A"
has "$err" "auth list"
run 0 auth remove "$id_b" --home "$A"
equal "$(cat "$A/authorized_keys")" "# kept remark"
run 0 auth list --home "$A"
equal "$out" ""
run 0 auth list --json --home "$A"
equal "$out" "[]"
run 2 auth remove --home "$A"
verdict "auth_remove_takes_name_or_id_and_keeps_comments"

run 0 auth validate --home "$A"
line "$out" "0 good, 0 bad"
printf '%s name=bee grant=cache\nnonsense\n\n%s nmae=x\n' "$id_b" "$id_c" >>"$A/authorized_keys"
run 1 auth validate --home "$A"
has "$out" "authorized_keys:3: "
has "$out" "authorized_keys:5: "
has "$out" "nmae"
line "$out" "1 good, 2 bad"
run 0 auth list --home "$A"
has "$err" "2 bad lines"
has "$out" "bee"
printf '%s\n' "$id_b" >"$A/authorized_keys"
run 0 auth validate --home "$A"
has "$out" "authorized_keys:1: warning: "
printf '%s name=bee # \033[31mred\n' "$id_b" >"$A/authorized_keys"
run 1 auth validate --home "$A"
lacks "$out" $'\e'
: >"$A/authorized_keys"
verdict "auth_validate_prints_every_bad_line_with_its_number"

run 3 auth add "$id_b" --home "$T/none"
has "$err" "peerix init"
run 3 auth list --home "$T/none"
run 3 auth validate --home "$T/none"
[ ! -e "$T/none" ] || note "it was created"
verdict "auth_without_a_home_says_run_init"

chmod 666 "$A/authorized_keys"
run 4 auth list --home "$A"
chmod 600 "$A/authorized_keys"
ln -s "$A/authorized_keys" "$T/c/link" && mv "$T/c/link" "$T/c/authorized_keys"
run 4 auth add "$id_b" --home "$T/c"
verdict "auth_refuses_a_list_that_others_manage"

# ---- relays ----
run 0 relay list --home "$A" && has "$err" "no relays yet"
run 0 relay add "peerix-relay://$id_b@relay.example.org:443" --name hub --home "$A"
has "$out" "added hub $id_b"
run 0 relay add 192.0.2.1 --id "$id_c" --home "$A" --json
has "$out" '"address": "192.0.2.1:1230'
run 0 relay add "/ip6/2001:db8::1/udp/12305/quic-v1/p2p/$id_c" --name six --comment 'at home' --home "$A"
has "$out" "updated six"
run 0 relay list --json --home "$A"
has "$out" '"[2001:db8::1]:12305"'
run 0 relay add "/ip6/2001:db8::1/udp/12305/quic-v1/p2p/$id_c" --tcp 8443 --home "$A"
has "$(cat "$A/relays")" "[2001:db8::1]:12305 name=six tcp=8443 # at home"
run 2 relay add 192.0.2.1 --id "$id_c" --tcp 0 --home "$A"
run 1 relay add "peerix-relay://$id_a@192.0.2.9:1" --name hub --home "$A" # the name is taken
run 12 relay add 127.0.0.1:1 --tcp 1 --home "$A" # no ID, and nobody there to ask
has "$err" "--id"
run 11 relay add nowhere.invalid --home "$A"
run 2 relay add "peerix-relay://$id_b@192.0.2.1:1" --id "$id_c" --home "$A"
for word in 192.0.2.7 192.0.2.7:1 2001:db8::7 '[2001:db8::7]:1' relay.example relay.example:1 /dns4/relay.example/udp/1 "/ip4/192.0.2.7/udp/1/quic-v1/p2p/$id_b" "peerix-relay://$id_b@relay.example:1"; do
    run 0 relay add "$word" --id "$id_b" --home "$A"
done
run 0 relay add "/dns4/relay.example/tcp/8443/tls/p2p/$id_b" --home "$A"
has "$(cat "$A/relays")" "$id_b@relay.example:12307 name=hub tcp=8443"
run 0 relay add "peerix-relay://$id_b@relay.example:1?tcp=8444" --home "$A"
has "$(cat "$A/relays")" "$id_b@relay.example:1 name=hub tcp=8444"
run 0 relay list --json --home "$A" && has "$out" '"tcp": 8444'
for bad in '' 'a b' 'peerix-relay://x@h:1' '/ip4/1.2.3.4/tcp/1' '/dns4/h/tcp/0/tls' "peerix-relay://$id_b@h:1?tcp=0" 'h:0' 'relay/x' $'h\nx'; do run 2 relay add --id "$id_b" --home "$A" -- "$bad"; done
run 0 relay remove hub --home "$A" && has "$out" "removed hub"
run 0 relay remove "$id_c" --home "$A"
run 10 relay remove hub --home "$A"
for word in '[::]:12307' 0.0.0.0 "peerix-relay://$id_b@[::]:12307"; do # as a relay has it that knows no better
    run 2 relay add "$word" --id "$id_b" --home "$A" && has "$err" "give the name or the public address"
done
run 0 relay add relay.example --id "$id_b" --home "$A" && has "$out" "peerix-relay auth add"
run 0 relay remove relay.example --home "$A" # as it was added
run 0 relay add 192.0.2.1 --id "$id_b" --home "$A"
run 0 relay remove /ip4/192.0.2.1/udp/12307 --home "$A"
verdict "relay_add_list_remove_take_every_spelling_and_refuse_junk"

# ---- name ----
run 0 auth add "$id_b" --home "$A" --name bee
run 0 name add desk bee --home "$A" --comment 'under the desk'
equal "$out" "added desk $id_b"
run 0 name add "lap-2" "$id_c" --home "$A"
equal "$(cat "$A/names")" "desk $id_b # under the desk
lap-2 $id_c"
mode "$A/names" 600
run 0 name add desk "$id_b" --home "$A"
equal "$out" "updated desk $id_b"
has "$(cat "$A/names")" "# under the desk"
run 0 name list --home "$A"
line "$out" "NAME   PEER ID                                               FROM             COMMENT"
line "$out" "bee    $id_b  authorized_keys  -"
line "$out" "desk   $id_b  names            under the desk"
run 0 name list --json --home "$A"
! command -v jq >/dev/null || equal "$(jq -r '.[] | select(.from == "names") | .name' <<<"$out" | tr '\n' ' ')" "desk lap-2 "
verdict "names_are_added_and_listed"

before=$(cat "$A/names")
run 1 name add bee "$id_c" --home "$A"
has "$err" "authorized_keys, which comes first"
run 1 name add desk "$id_c" --home "$A"
has "$err" "peerix name remove desk"
run 1 auth add "$id_c" --name desk --home "$A"
has "$err" "peerix name list"
for bad in Upper 'a b' $'x\nevil' -x '' "$(printf 'a%.0s' {1..64})"; do run 2 name add --home "$A" -- "$bad" "$id_c"; done
run 2 name add k51qzi5uqu5dl8wlbw09j1cpr1i456yb3mv0r5wnpx3wz6qq8pnppkvgqdepc8 "$id_c" --home "$A"
has "$err" "is a peer ID"
run 2 name add new "$id_c" --comment $'a\nevil' --home "$A"
run 10 name add new nobody --home "$A"
has "$err" "name list"
run 10 name add new 12D3KooW --home "$A"
run 3 name list --home "$T/none"
equal "$(cat "$A/names")" "$before"
verdict "a_name_that_shadows_or_makes_no_sense_is_refused"

run 0 name add by-beginning "${id_c:0:16}" --home "$A"
equal "$out" "added by-beginning $id_c"
run 0 name remove by-beginning --home "$A"
run 10 name remove by-beginning --home "$A"
has "$err" "name list"
printf 'oops\n' >>"$A/names"
run 0 name list --home "$A"
has "$err" "names:3: the peer ID is missing"
run 0 name remove lap-2 --home "$A"
equal "$(cat "$A/names")" "desk $id_b # under the desk
oops"
run 0 auth remove desk --home "$A"
equal "$out" "removed $id_b"
rm "$A/names"
verdict "a_peer_is_meant_by_name_or_beginning_of_its_id"

# ---- config ----
run 0 config sample
cp "$T/out" "$A/config.yaml"
run 0 config validate --home "$A"
equal "$out" "$A/config.yaml: good"
printf 'network: x\n\nlisen: y\n' >"$A/config.yaml"
run 5 config validate --home "$A"
has "$err" "config.yaml:3: unknown key 'lisen'; did you mean 'listen'?"
run 5 daemon --home "$A"
has "$err" "config.yaml:3:"
printf '# x\n# y\n\ndeadline: abc\n' >"$A/config.yaml"
run 5 config validate --home "$A"
has "$err" "config.yaml:4: deadline: 'abc' is not a duration of 1ms..1m"
head -c 1100000 /dev/zero | tr '\0' '#' >"$A/config.yaml"
run 5 config validate --home "$A"
has "$err" "1 MiB"
rm "$A/config.yaml"
run 0 config validate --home "$A"
has "$out" "defaults"
verdict "config_errors_have_file_line_and_allowed_values"

# ---- JSON ----
if command -v jq >/dev/null; then
    is() { jq -e "$1" <<<"$out" >/dev/null 2>&1 || note "not $1: $out"; }
    run 0 init --json --home "$T/json"
    is '(.created | length) == 5 and .home and (.peer | startswith("12D3KooW"))'
    run 0 init --json --home "$T/json"
    is '.created == []'
    run 0 nix-key --json --home "$B"
    is ".nix_key == \"$key_b\""
    run 0 auth add "$id_b" --name bee --json --home "$T/json"
    is ".peer == \"$id_b\" and .result == \"added\""
    run 0 name add desk bee --json --home "$T/json"
    is ".name == \"desk\" and .peer == \"$id_b\""
    run 0 resolve desk --json --home "$T/json"
    is ".peer == \"$id_b\" and .from == \"names\""
    run 0 name remove desk --json --home "$T/json"
    is '.result == "removed"'
    printf 'oops\n%s\n' "$id_c" >>"$T/json/authorized_keys"
    run 1 auth validate --json --home "$T/json"
    is '.good == 2 and .bad == 1 and (.findings | map(.level)) == ["error", "warning"] and .findings[0].line == 2'
    run 0 auth remove bee --json --home "$T/json"
    is ".peer == \"$id_b\" and .result == \"removed\""
    verdict "every_command_that_prints_data_prints_JSON_too"
else
    echo "skip - every_command_that_prints_data_prints_JSON_too (jq is not installed)"
fi

# ---- usage ----
run 2
has "$err" "Usage: peerix"
run 0 --help
for word in init daemon serve whoami 'auth add' 'auth list' 'auth remove' 'auth validate' nix-key \
    'config validate' version 'Exit codes' --home --system; do has "$out" "$word"; done
lacks "$out" "  man "
run 0 -h
run 0 help
run 0 help daemon
help_daemon=$out
run 0 daemon --help
equal "$out" "$help_daemon"
run 0 serve -h
equal "$out" "$help_daemon"
for flag in listen http store trusted-public-key share-key nix-conf log-level log-format network deadline; do
    has "$help_daemon" "--$flag"
done
run 0 help auth
has "$out" "auth validate"
run 0 auth --help
has "$out" "auth validate"
run 0 help auth add
has "$out" "--grant"
run 2 help nothing
has "$err" '`peerix --help`'
verdict "help_lists_commands_options_and_exit_codes"

run 2 auth
has "$err" "auth add"
run 2 auth frobnicate
has "$err" "no such subcommand"
run 2 whoam
has "$err" "did you mean 'whoami'?"
run 2 $'evil\e[2J'
lacks "$err" $'\e'
run 2 --frob
run 2 whoami --jsn
has "$err" "unknown option '--jsn'; did you mean '--json'?"
run 2 whoami -j
run 2 whoami --json=yes
run 2 whoami --home
has "$err" "needs a value"
run 2 whoami extra
run 2 daemon --netwrk x
has "$err" "did you mean '--network'?"
run 2 daemon --home "$A" --http 0.0.0.0:1
has "$err" "--http: '0.0.0.0:1' is not a loopback"
run 2 daemon --home "$A" --trusted-public-key nonsense
run 2 daemon --home "$A" --log-level loud
has "$err" "error, warn, info or debug"
run 2 daemon --home "$A" --trust-peers=maybe
verdict "usage_errors_exit_2_and_name_the_nearest_word"

for command in status peers 'peers x' services 'ping x' 'traceroute x' 'connect x' 'disconnect x' stop events netcheck; do
    # shellcheck disable=SC2086
    run $([[ $command = *x ]] && echo 10 || echo 8) $command --home "$A"
    equal "$out" ""
done
run 8 status --home "$A"
equal "$err" "peerix status: the daemon is not running: start it with \`peerix daemon --home $A\`"
run 8 status --home "$T/none"
run 8 stop --home "$A"
equal "$err" "peerix stop: no daemon of this home is running: nothing to stop"
run 8 invite --list --home "$A"
has "$err" "start it with"
run 8 invite --withdraw 0a1b2c --home "$A"
run 2 invite --withdraw ../x --home "$A"
has "$err" "is not the ID of an invite"
run 2 invite --withdraw "" --home "$A"
run 2 invite --list --name x --home "$A"
has "$err" "--list and --name exclude each other"
run 2 invite --list --withdraw 0a1b2c --home "$A"
run 21 join "" --home "$A"
has "$err" "no code was given"
run 8 ping "$id_b" --home "$A" -c 3 -i0.5 -W1
run 8 ping -c3 "$id_b" --home "$A"
run 2 ping "$id_b" --home "$A" -c
has "$err" "'--count' needs a value"
run 2 ping "$id_b" --home "$A" -q
run 2 ping "$id_b" --home "$A" -c 0
run 2 connect "$id_b" nonsense --home "$A"
has "$err" "HOST:PORT"
run 2 status x --home "$A"
run 0 resolve "$id_b" --home "$A"
equal "$out" "$id_b"
run 10 resolve nobody --home "$A"
run 0 ping -h
has "$out" "-c, --count N"
long=$(printf 'd%.0s' {1..120})
run 2 status --home "$T/$long"
has "$err" "shorter --home"
touch "$T/c/control.sock"
run 8 status --home "$T/c"
verdict "without_a_daemon_every_command_says_so"

run 0 version
matches "$out" '^peerix [0-9]+\.[0-9]+\.[0-9]+$'
version=$out
run 0 --version
equal "$out" "$version"
run 0 version --json
line "$out" "  \"version\": \"${version#peerix }\""
verdict "version_is_one_line_or_json"

run 0 man
for word in '.TH PEERIX 1' '.SH COMMANDS' '.SH EXAMPLES' '\-c, \-\-count' control.cookie '.SH SIGNALS' '.SH "EXIT STATUS"' 'trusted\-public\-key' 'PEERIX_NIX_KEY_FILE'; do
    has "${out//.SH EXIT STATUS/.SH \"EXIT STATUS\"}" "$word"
done
! command -v groff >/dev/null || equal "$(groff -ww -man -Tascii -z "$T/out" 2>&1)" ""
# the date is left out, so that the page is the same wherever it is built
cp "$T/out" "$T/peerix.1"
! command -v mandoc >/dev/null || equal "$(mandoc -T lint -W warning "$T/peerix.1" 2>&1 | grep -v 'missing date')" ""
verdict "the_man_page_is_clean_groff"

RELAY=$(dirname "$PEERIX")/peerix-relay
relay() { # CODE ARGUMENT…: as run
    local want=$1 got
    shift
    timeout 20 "$RELAY" "$@" >"$T/out" 2>"$T/err" </dev/null
    got=$?
    out=$(cat "$T/out") err=$(cat "$T/err")
    [ "$got" = "$want" ] || note "exit code $got, not $want, of: peerix-relay $* ($(head -c 300 "$T/err"))"
}
R=$T/relay-home
relay 0 init --home "$R" && has "$out" "there    peerix relay add URL" && has "$out" "public-addr"
relay 0 --help && has "$out" "no daemon of this home is running" && lacks "$out" "invite code" && lacks "$out" "Nix store"
relay 0 man && lacks "$out" "invite code"
relay 0 daemon --help && has "$out" "a duration of 1m..24h" && has "$out" "duration of 0..1m"
for bad in relay.example 'a b:1' 'x"; y' :1; do
    printf "public-addr: '%s'\n" "$bad" >"$R/config.yaml"
    relay 5 whoami --url --home "$R" && has "$err" "HOST:PORT"
done
echo 'public-addr: "[2001:db8::1]:12307"' >"$R/config.yaml"
relay 0 whoami --url --home "$R" && has "$out" "@[2001:db8::1]:12307"
relay 8 status --home "$R" && relay 8 status --json --home "$R"
relay 6 daemon --home "$R" --listen 192.0.2.1:1 --tcp '' && has "$err" "use 192.0.2.1:1" && has "$err" "listen"
verdict "the_relay_says_what_it_needs_and_what_it_may_end_with"

mkdir "$T/bin" && ln -s "$PEERIX" "$T/bin/peerix" && ln -s "$RELAY" "$T/bin/peerix-relay"
for shell in bash zsh fish; do
    "$PEERIX" completion "$shell" >"$T/completion.$shell" || note "no script for $shell"
    "$RELAY" completion "$shell" >"$T/relay.$shell" || note "no script of the relay for $shell"
done
"$RELAY" init --home "$T/r" >/dev/null && "$RELAY" auth add "$id_b" --home "$T/r" --name bay >/dev/null || note "no home for the relay"
run 0 auth add "$id_b" --home "$A" --name bee
run 0 name add desk "$id_c" --home "$A"
run 0 relay add "peerix-relay://$id_c@192.0.2.1:1" --name attic --home "$A"
(
    PATH=$T/bin:$PATH
    # shellcheck disable=SC1091
    . "$T/completion.bash" || exit 1
    try() { COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=(); _peerix; echo " ${COMPREPLY[*]} "; }
    [[ $(try peerix who) = " whoami " ]] && [[ $(try peerix auth re) = " remove " ]] &&
        [[ $(try peerix auth add --na) = " --name " ]] && [[ $(try peerix serve --li) = " --listen " ]] &&
        [[ $(try peerix daemon --log-level w) = " warn " ]] && [[ $(try peerix completion f) = " fish " ]] &&
        [[ $(try peerix nix-key --nix-key x) = "  " ]] && [[ $(try peerix help whoa) = " whoami " ]] &&
        [[ $(try peerix config apply '') = "  " ]] && [[ $(try peerix config apply --conf) = " --confirm-timeout " ]] &&
        [[ $(try peerix auth remove --home "$A" b) = " bee " ]] &&
        [[ $(try peerix auth remove --home "$T/none" b) = "  " ]] &&
        [[ $(try peerix relay remove --home "$A" a) = " attic " ]] &&
        [[ $(try peerix name remove --home "$A" '') = " desk "* ]] || exit 1
    # shellcheck disable=SC1091
    . "$T/relay.bash" || exit 1
    try() { COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=(); _peerix_relay; echo " ${COMPREPLY[*]} "; }
    [[ $(try peerix-relay sta) = " status " ]] && [[ $(try peerix-relay auth re) = " remove " ]] &&
        [[ $(try peerix-relay serve --public) = " --public-addr " ]] && [[ $(try peerix-relay completion z) = " zsh " ]] &&
        [[ $(try peerix-relay invi) = "  " ]] && [[ $(try peerix-relay auth remove --home "$T/r" b) = " bay " ]]
) || note "completion gives other words"
run 2 completion tcsh
has "$err" "bash, zsh, fish"
verdict "bash_completion_knows_commands_options_and_peers"

if command -v fish >/dev/null; then
    equal "$(fish --no-config -n "$T/completion.fish" 2>&1)" ""
    try() { PATH=$T/bin:$PATH fish --no-config -c "source $T/completion.fish; complete -C '$1'" 2>&1 | cut -f1 | tr '\n' ' '; }
    equal "$(try 'peerix who')" "whoami "
    equal "$(try 'peerix auth ')" "add list remove validate "
    equal "$(try 'peerix auth add --na')" "--name "
    equal "$(try 'peerix serve --log-level ')" "debug error info warn "
    equal "$(try "peerix name remove --home $A ")" "desk "
    has "$(try "peerix config apply $A/auth")" "$A/authorized_keys"
    equal "$(try "peerix auth remove --home $A b")" "bee "
    equal "$(try "peerix relay remove --home $A a")" "attic "
    equal "$(fish --no-config -n "$T/relay.fish" 2>&1)" ""
    try() { PATH=$T/bin:$PATH fish --no-config -c "source $T/relay.fish; complete -C '$1'" 2>&1 | cut -f1 | tr '\n' ' '; }
    equal "$(try 'peerix-relay sta')" "status "
    equal "$(try 'peerix-relay auth ')" "add list remove "
    equal "$(try "peerix-relay auth remove --home $T/r b")" "bay "
    verdict "fish_completion_knows_commands_options_and_peers"
else
    echo "skip - fish_completion_knows_commands_options_and_peers (fish is not installed)"
fi

if command -v zsh >/dev/null; then
    equal "$(zsh -n "$T/completion.zsh" 2>&1)" ""
    # types the line and a tab into a shell of its own, and waits for what must come
    cat >"$T/type.zsh" <<'ZSH'
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1= PATH=$1:$PATH TERM=dumb; autoload -Uz compinit; compinit -D -u; . $2; print READY\$((6 * 7))"
zpty -r shell start '*READY42*' || exit 1
zpty -n -w shell "$3"$'\t\t'
zpty -r -m shell answer "*$4*" && print found
zpty -d shell
ZSH
    try() { equal "$(timeout 10 zsh -f "$T/type.zsh" "$T/bin" "$T/completion.zsh" "$1" "$2" 2>&1)" found; }
    try 'peerix who' 'whoami'
    try 'peerix auth val' 'validate'
    try 'peerix auth add --na' '--name'
    try 'peerix auth ' 'list authorized peers'
    try 'peerix serve --log-level i' 'info'
    try "peerix config apply $A/aut" 'authorized_keys'
    try "peerix auth remove --home $A be" 'bee'
    try "peerix relay remove --home $A at" 'attic'
    equal "$(zsh -n "$T/relay.zsh" 2>&1)" ""
    try() { equal "$(timeout 10 zsh -f "$T/type.zsh" "$T/bin" "$T/relay.zsh" "$1" "$2" 2>&1)" found; }
    try 'peerix-relay sta' 'status'
    try 'peerix-relay auth ' 'list members'
    try "peerix-relay auth remove --home $T/r ba" 'bay'
    verdict "zsh_completion_knows_commands_options_and_peers"
else
    echo "skip - zsh_completion_knows_commands_options_and_peers (zsh is not installed)"
fi
run 0 auth remove bee --home "$A"
run 0 relay remove attic --home "$A"
rm "$A/names"

"$PEERIX" version >/dev/full 2>"$T/err"
equal "$?" 1
has "$(cat "$T/err")" "cannot write"
verdict "output_that_cannot_be_written_is_a_failure"

if script -qec true /dev/null >/dev/null 2>&1; then
    on_tty() { script -qec "$1" /dev/null </dev/null; }
    has "$(NO_COLOR='' on_tty "$PEERIX --help")" $'\e[1m'
    lacks "$(NO_COLOR=1 on_tty "$PEERIX --help")" $'\e['
    lacks "$(NO_COLOR='' TERM=dumb on_tty "$PEERIX --help")" $'\e['
    lacks "$("$PEERIX" --help)" $'\e['
    verdict "colour_needs_a_terminal_and_no_NO_COLOR"
else
    echo "skip - colour_needs_a_terminal_and_no_NO_COLOR (script(1) cannot make a terminal)"
fi

# ---- daemon ----
run 3 daemon --home "$T/none"
has "$err" "peerix init"
run 2 daemon --home "$A" --store 's3://bucket'
has "$err" "--store: 's3://bucket' is not"
run 7 daemon --home "$A" --store "local?root=$T/no-store" --listen 127.0.0.1:0 --http 127.0.0.1:0 --nix-conf ''
has "$err" "event=daemon.failed part=store"
verdict "the_daemon_tells_why_it_cannot_start"

if command -v nix-store >/dev/null; then
    store="local?root=$T/store"
    NIX_REMOTE=$store NIX_CONF_DIR=$T nix-store --load-db </dev/null >/dev/null 2>&1
    common=(--home "$A" --store "$store" --nix-conf '')
    run 6 daemon "${common[@]}" --listen 192.0.2.1:1 --http 127.0.0.1:0
    has "$err" "event=daemon.failed part=listen"
    verdict "an_address_that_cannot_be_bound_exits_6"
    timeout 20 "$PEERIX" daemon "${common[@]}" --listen 192.0.2.1:1 --http 127.0.0.1:0 <&- >&- 2>&-
    equal "$?" 6
    timeout 20 "$PEERIX" whoami --home "$A" <&- >&- 2>"$T/err"
    equal "$?" 1
    has "$(cat "$T/err")" 'cannot write the output'
    verdict "without_standard_descriptors_a_failure_is_the_same_one"

    "$PEERIX" daemon "${common[@]}" --listen 127.0.0.1:0 --http 127.0.0.1:0 2>"$T/log" &
    daemon=$!
    pids+=("$daemon")
    for _ in $(seq 200); do grep -q event=ready "$T/log" && break; sleep 0.05; done
    matches "$(grep event=ready "$T/log")" 'overlay=127\.0\.0\.1:[1-9][0-9]* http=127\.0\.0\.1:[1-9][0-9]* '
    http=$(sed -n 's/.*event=ready .*http=\([^ ]*\).*/\1/p' "$T/log")
    run 6 daemon "${common[@]}" --home "$B" --listen 127.0.0.1:0 --http "$http"
    has "$err" "part=http subject=$http "
    run 9 daemon "${common[@]}" --listen 127.0.0.1:0 --http 127.0.0.1:0
    has "$err" "pid $daemon"
    began=$SECONDS
    kill -TERM "$daemon"
    wait "$daemon"
    equal "$?" 0
    [ $((SECONDS - began)) -le 5 ] || note "took $((SECONDS - began)) s to stop"
    pids=()
    verdict "the_daemon_announces_its_addresses_and_stops_on_sigterm"

    "$PEERIX" serve "${common[@]}" --listen 127.0.0.1:0 --http 127.0.0.1:0 --log-format json 2>"$T/log" &
    daemon=$!
    pids+=("$daemon")
    for _ in $(seq 200); do grep -q '"event":"ready"' "$T/log" && break; sleep 0.05; done
    kill -TERM "$daemon"
    wait "$daemon"
    equal "$?" 0
    pids=()
    grep -vq '^{"time":"20[0-9T:.Z-]*","level":"' "$T/log" && note "a line is not JSON: $(head -c 300 "$T/log")"
    verdict "log_lines_are_json_when_asked"
else
    echo "skip - the_daemon_announces_its_addresses_and_stops_on_sigterm (nix-store is not installed)"
fi
exit $failed

# Nodes at a relay for end-to-end tests: tests/tools/relay_client behind a pipe for its commands. Sourced after lib.sh.
RELAY=$BIN/peerix-relay
CLIENT=$BIN/tests/relay_client
declare -A FD SEEN
id_of() { "$RELAY" whoami --home "$T/$1"; }
# client_start NAME RELAY-ID ADDRESS [COMMAND-BEFORE…]: commands go to `tell NAME …`, its lines are in $T/NAME.out
client_start() {
    local fd
    rm -f "$T/$1.in"
    mkfifo "$T/$1.in"
    : >"$T/$1.out"
    "${@:4}" "$CLIENT" "$T/$1/identity.pem" "$2" "$3" <"$T/$1.in" >"$T/$1.out" 2>&1 &
    PIDS+=($!)
    exec {fd}>"$T/$1.in"
    FD[$1]=$fd
}
tell() { echo "${*:2}" >&"${FD[$1]}"; }
heard_at() { awk -v from="${SEEN[$1]:-0}" -v p="$2" 'NR > from && $0 ~ p { print NR; found = 1; exit } END { exit !found }' "$T/$1.out"; }
# hears NAME PATTERN [SECONDS]: a line since the last hears of this node matches; it and what was before are then gone
hears() {
    until_true "${3:-5}" heard_at "$1" "$2" || { echo "$1 did not hear '$2':"; tail -n 30 "$T/$1.out"; return 1; }
    SEEN[$1]=$(heard_at "$1" "$2")
}
quit() {
    tell "$1" quit
    exec {FD[$1]}>&-
    SEEN[$1]=0
}

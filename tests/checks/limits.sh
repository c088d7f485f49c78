#!/usr/bin/env bash
# Every named limit of a header must be named by a test (unit, simulation, fuzzer, end-to-end), so that
# somebody hits it. A name stands for a limit when it ends as below; what is none, or cannot be hit,
# stands in `exceptions` with its reason. Prints ok/not ok lines.
set -uo pipefail
cd "$(dirname "$0")/../.."
rc=0

exceptions='
PX_ADDRS_RECORD_MAX         a share of PX_PEER_ADDRS_MAX; a static assertion holds the sum
PX_CONTROL_COLUMNS_MAX      columns of our own tables, asserted
PX_CONTROL_PARAMS_MAX       parameters of our own routes, asserted
PX_CONTROL_TABLES_MAX       calls of our own code
PX_H3_FIELD_SECTION_MAX     told to the peer; PX_H3_HEADERS_MAX and PX_H3_PATH_MAX are what is held to
PX_HISTORY_AWAY_MAX         a time of ours
PX_HTTP_LISTEN_BACKLOG      the queue of the kernel; what it drops connects again
PX_LINK_PAYLOAD_MAX         buffer: what we write ourselves
PX_METRICS_LABELS_MAX       labels of our own families, asserted
PX_NET_NAME_TEXT_MAX        buffer: a name and a network, each of its own limit
PX_OPTION_TEXT_MAX          buffer: the description of an option of ours
PX_PAIRING_KEY_MAX          buffer: the text of a key that was parsed
PX_PEER_HANDLERS_MAX        calls of our own code
PX_QUIC_PAYLOAD_MAX         size of a packet of ours
PX_QUIC_SILENCE_MAX         a time of ours
PX_RELAY_BIND_RETRY_MAX     a pause of ours
PX_RELAY_HINT_MAX           buffer: a sentence of ours
PX_RELAY_RESERVE_RETRY_MAX  a pause of ours
PX_RELAY_RESTART_PER_NODE   a pause that our relay tells
PX_RELAY_RESTART_SPREAD_MAX a pause that our relay tells
PX_RELAY_WHO_ADDRS_MAX      addresses the resolver of this machine gives; further ones are not asked
PX_ROTATION_CALLS_MAX       our own pace: listed peers that are told, the others in their turn
PX_ROTATION_DIAL_MAX        a pause of ours
PX_SPELL_WORD_MAX           words of the person at the keyboard
PX_STORE_LABEL_MAX          buffer: the name of our own store
PX_SUBSTITUTER_PEERS_MAX    room for what PX_CACHE_QUERY_PEERS_MAX bounds too
PX_TRANSFER_TICKET_MAX      where numbers of ours begin anew
PX_WORKER_MINOR_MAX         a version, no amount
PX_WORKER_VERSION_MAX       buffer: a longer version of the local nix daemon is cut
'
excepted=$(awk 'NF { print $1 }' <<<"$exceptions")

headers=$(find proto auth transport relay node cmd cmd_relay -name '*.h' | sort)
limits=$(grep -hoE '^ *# *define +PX_[A-Z0-9_]+(_MAX|_MAX_MS|_LIMIT|_BACKLOG|_BURST|_PER_[A-Z]+|_RATE)\b' $headers |
    grep -oE 'PX_[A-Z0-9_]+' | sort -u)
tests=$(find tests -name '*.[ch]' -o -name '*.sh' ! -path 'tests/checks/*')
named=$(grep -ohE '\bPX_[A-Z0-9_]+\b' $tests | sort -u)

verdict() { # NAME FINDINGS
    if [ -z "$2" ]; then echo "ok - $1"; else
        printf '%s\n' "$2"
        echo "not ok - $1"
        rc=1
    fi
}

untested=$(comm -23 <(echo "$limits") <(printf '%s\n%s\n' "$named" "$excepted" | sort -u) |
    sed 's/$/: no test names it/')
verdict "every limit is named by a test ($(wc -l <<<"$limits") limits)" "$untested"

# The list shrinks when its reasons go.
stale=$(while read -r name; do
    [ -n "$name" ] || continue
    grep -qx "$name" <<<"$limits" || echo "$name: excepted, but there is no such limit"
    ! grep -qx "$name" <<<"$named" || echo "$name: excepted, but a test names it"
done <<<"$excepted")
verdict "every exception is needed" "$stale"
exit $rc

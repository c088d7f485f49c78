#!/usr/bin/env bash
# Every test docs/limits.md names must exist, every constant or field must be one of the code, and what the relay's own
# headers and its option table limit must stand there. Prints ok/not ok lines.
set -uo pipefail
cd "$(dirname "$0")/../.."
doc=docs/limits.md
rc=0
verdict() { # NAME FINDINGS
    if [ -z "$2" ]; then echo "ok - $1"; else
        printf '%s\n' "$2"
        echo "not ok - $1"
        rc=1
    fi
}
rows=$(grep -E '^\|.*`(test|e2e)_' "$doc" | sed 's/ |$//')

# `program: name`, separated by semicolons, in the last column
missing=$(awk -F' \\| ' '{print $NF}' <<<"$rows" | tr ';' '\n' | sed -n 's/^ *`\([a-z0-9_]*\)`: *\(.*[^ ]\) *$/\1|\2/p' |
    while IFS='|' read -r program name; do
        case $program in
        e2e_*) grep -qF -- "\"$name\"" "tests/e2e/$program.sh" 2>/dev/null ;;
        *) file=$(find tests -name "$program.c") && [ -n "$file" ] && grep -qE "^TEST\($name\)" "$file" ;;
        esac || echo "$program has no test \"$name\""
    done)
verdict "every test that docs/limits.md names exists ($(grep -oE '`(test|e2e)_' <<<"$rows" | wc -l))" "$missing"

names=$(awk -F' \\| ' '{print $(NF - 1)}' <<<"$rows" | grep -oE '`[A-Za-z_]+`' | tr -d '`' | sort -u)
unknown=$(while read -r name; do
    case $name in
    PX_*) grep -qhE "^#define $name\b" relay/*.h transport/*.h ;;
    *) sed -n '/^struct px_relay_limits {/,/^}/p' relay/server.h | grep -qE "\b$name\b" ;;
    esac || echo "$name is no limit of the code"
done <<<"$names")
verdict "so does every limit" "$unknown"

fields=$(sed -n '/^struct px_relay_limits {/,/^}/{s|/\*.*||;p}' relay/server.h | grep -oE '[a-z_]+[,;]' | tr -d ',;')
ours=$(grep -hoE '^#define PX_(RELAY|ADMISSION|REGISTRY|CIRCUIT|KNOCK|WAITING|AUDIT_LOG|TLS_PIPES?)_[A-Z_]*(MAX|MIN|BURST|RATE|TIME|PER_[A-Z]+|UNPROVED|MEMORY|QUEUE|GAP)\b' \
    relay/{server,admission,registry,circuits,knock,waiting,audit_log}.h transport/tls_pipe.h transport/tls_pipes_io.h | awk '{print $2}')
# sizes of a thing, or times of our own, that nobody can exceed
none='PX_WAITING_BYTES_MAX PX_TLS_PIPE_DATAGRAM_MAX PX_TLS_PIPE_QUEUE_MIN PX_RELAY_PROBE_GAP PX_RELAY_RESTART_SPREAD_MAX PX_RELAY_RESTART_PER_NODE'
untold=$(comm -23 <(printf '%s\n' $fields $ours | sort -u) <(printf '%s\n' $names $none | sort -u) | sed 's/$/: not in docs\/limits.md/')
verdict "and every limit of the relay stands there" "$untold"
counted=$(sed -n 's/^ *X([A-Z_]*, "\([a-z_]*\)").*/\1/p' relay/limit_hits.h | while read -r name; do
    grep -q "^| .*\`$name\`" <<<"$(sed -n '/^## As status/,$p' "$doc" | cut -d'|' -f1,2)" || echo "$name is not told"
done)
verdict "and what status and metrics call them" "$counted"
exit $rc

#!/usr/bin/env bash
# Rules of the house that a compiler does not see: include direction, one home per library, cores
# without I/O, formatting of what is committed. Prints ok/not ok lines.
set -uo pipefail
cd "$(dirname "$0")/../.."
rc=0

verdict() { # NAME FINDINGS
    if [ -z "$2" ]; then echo "ok - $1"; else
        printf '%s\n' "$2"
        echo "not ok - $1"
        rc=1
    fi
}

layer() {
    case $1 in
    proto/base/*) echo 0 ;; proto/*) echo 1 ;; auth/*) echo 2 ;; transport/*) echo 3 ;;
    relay/*) echo 4 ;; node/*) echo 5 ;; cmd/*) echo 6 ;; cmd_relay/*) echo 7 ;; *) echo 9 ;;
    esac
}

sources=$(find proto auth transport relay node cmd cmd_relay -name '*.[ch]' 2>/dev/null | sort)
upward=$(grep -H '^ *# *include *"' $sources | while IFS=: read -r file line; do
    inc=$(sed 's/.*"\(.*\)".*/\1/' <<<"$line")
    [ "$(layer "$inc")" != 9 ] || { echo "$file: \"$inc\" is not relative to the root"; continue; }
    [ "$(layer "$inc")" -le "$(layer "$file")" ] || echo "$file includes $inc"
done)
verdict "includes point downward only" "$upward"

# home HEADER-PATTERN ALLOWED-FILE-PATTERN
home() {
    grep -lE "^ *# *include *<($1)" $sources | grep -vE "$2" | sed "s|$|: <$1> has its home elsewhere|"
}
strays=$(
    home 'sodium' '^auth/crypto'
    home 'ngtcp2/' '^transport/quic'
    home 'nghttp3/' '^node/h3'
    home 'gnutls/' '^transport/quic|^transport/tls_pipe|^node/nix/nar_hash'
    home 'sqlite3' '^node/sqlite_db'
    home 'cbor' '^proto/cbor'
    home 'microhttpd' '^node/http_server'
    home 'yaml' '^node/yaml_config'
    home 'qrencode' '^cmd/qr'
    home 'avahi-' '^node/mdns'
)
verdict "each library has one home" "$strays"

cores=$(find proto auth transport relay -name '*.c' ! -name '*_io.c' ! -path 'proto/base/base.c')
io=$(grep -nE '\b(clock_gettime|gettimeofday|time\(NULL|socket\(|sendto\(|recvfrom\(|fopen\(|getrandom\(|[^sn]printf\()' $cores)
verdict "cores do no I/O and read no clock" "$io"

tests=$(find tests -name '*.[ch]' | sort)
unsafe=$(grep -nE '\b(strcpy|strcat|sprintf|vsprintf|gets|atoi|atol|strtok|alloca|rand)\(' $sources $tests)
verdict "no unsafe calls" "$unsafe"

# Other versions break lines elsewhere: 14 is the one of record.
formatter=
for f in clang-format-14 clang-format; do
    if "$f" --version 2>/dev/null | grep -q 'version 14\.'; then formatter=$f && break; fi
done
if [ -n "$formatter" ]; then
    unformatted=$("$formatter" --dry-run -Werror $sources $tests 2>&1 | sed -n 's/^\([^:]*\):.*error:.*/\1/p' | sort -u)
    verdict "sources are formatted" "$unformatted"
else
    echo "skip - sources are formatted: no clang-format 14 here"
fi
exit $rc

#!/usr/bin/env bash
# Every test docs/threat-model.md names must exist: `test_x`: name is a TEST of that file, `e2e_x`: words are
# the name of a check in that script. Prints ok/not ok lines.
set -uo pipefail
cd "$(dirname "$0")/../.."
doc=${1:-docs/threat-model.md}
missing='' count=0

# The names in the last column, one `program: name` a line. A program alone is one too.
named() {
    grep -E '^\|.*`(test|e2e|fuzz)_' "$doc" | awk -F' \\| ' '{print $NF}' | sed 's/ |$//' | tr ';' '\n' |
        sed -n 's/^ *`\([a-z0-9_]*\)`\(: *\)\{0,1\}\(.*[^ ]\)\{0,1\} *$/\1|\3/p'
}
while IFS='|' read -r program name; do
    count=$((count + 1))
    case $program in
    e2e_*) file=tests/e2e/$program.sh ;;
    fuzz_*) file=tests/fuzz/$program.c ;;
    *) file=$(find tests -name "$program.c") ;;
    esac
    if [ ! -f "$file" ]; then
        missing+="$program: there is no such test"$'\n'
    elif [ -n "$name" ]; then
        case $program in
        # names may be single-quoted in shell or carry a value at their end
        e2e_*) grep -qF -- "\"$name" "$file" || missing+="$file has no check \"$name\""$'\n' ;;
        *) grep -qE "^TEST\($name\)" "$file" || missing+="$file has no TEST($name)"$'\n' ;;
        esac
    fi
done < <(named)
if [ -n "$missing" ] || [ "$count" -lt 20 ]; then
    printf '%s%d names found\n' "$missing" "$count"
    echo "not ok - every test the threat model names exists"
    exit 1
fi
echo "ok - every test the threat model names exists ($count)"

#!/usr/bin/env bash
# A listed peer that lies: every row of the attack table in docs/threat-model.md. What is asked is
# what nix would ask; what counts is what nix gets to see.
# Runs alone: it measures times, or fills the machine.
. "$(dirname "$0")/lib.sh"

mkdir -p "$T/good" "$T/lies" "$T/bob"
top=$(build good "$HERE/big.nix" --argstr tag lies --arg mib 3) || { not_ok "build"; finish; }
hash=$(basename "$top" | cut -c1-32)
mkdir -p "$T/good/home"
in_store good "" "" nix-store --generate-binary-cache-key good-1 "$T/good/home/nix-key.sec" "$T/good.pub"
good_cache good "$top"
honest=$T/cache/$hash.narinfo
nar_hash=$(sed -n 's/^NarHash: sha256://p' "$honest")
nar_size=$(sed -n 's/^NarSize: //p' "$honest")
key=$(cat "$T/good.pub")
cp "$T/cache/nar/"* "$T/lies/nar"

node_init liar && node_init bob
"$BIN/tests/lying_peer" "$T/liar/home/identity.pem" "$T/lies" >"$T/liar.out" 2>"$T/liar.log" &
PIDS+=($!)
until_true 10 grep -q ready "$T/liar.out"
node_trust bob liar "$(awk '{print $2; exit}' "$T/liar.out")"
node_start bob --trusted-public-key "$key" --stall 1s
until_true 10 connected bob liar || { not_ok "bob connects to the liar" "$T/bob.log" "$T/liar.log"; finish; }

lie() { sed "$@" "$honest" >"$T/lies/$hash.narinfo"; }
ask() { curl -s -m 10 -o "$T/answer" -w '%{http_code}' "$bob_http/$hash.narinfo"; }
refused() { [ "$(ask)" = 404 ] || { cat "$T/answer"; return 1; }; }
junk_sigs() { { cat "$honest"; for i in $(seq 2000); do echo "Sig: junk-$i:$(printf '%064d%024d' "$i" 7 | head -c 86)=="; done; } >"$T/lies/$hash.narinfo"; }

lie -e 's/^\(Sig: good-1:\)..../\1AAAA/'
check "a bad signature is a 404" refused
lie -e '/^Sig:/d'
check "no signature is a 404" refused
lie -e 's/^References:.*/References: '"$(for i in $(seq 3000); do printf '00000000000000000000000000000000-r%d ' "$i"; done)"'/'
check "bogus references are a 404" refused
lie -e "s/^NarSize: .*/NarSize: $((nar_size + 1))/"
check "another NarSize is a 404" refused
lie -e "s|^StorePath: .*|StorePath: /nix/store/11111111111111111111111111111111-other|"
check "another path's narinfo is a 404" refused
{ cat "$honest"; head -c 52428800 /dev/zero | tr '\0' 'x'; } >"$T/lies/$hash.narinfo"
check "a 50 MB narinfo is a 404" refused
rm -f "$T/lies/$hash.narinfo"
check "a missing narinfo is a 404" refused

lie -e 's|^URL: .*|URL: file:///etc/passwd|' -e 's/^Compression: .*/Compression: zstd/' -e 's/^FileSize: .*/FileSize: 1/' -e 's/^Deriver: .*/Deriver: ..\/..\/etc\/passwd/'
check "an honest path with a strange URL is passed on" test "$(ask)" = 200
check "the URL is ours" grep -qx "URL: nar/$nar_hash.nar?hash=$hash" "$T/answer"
check "the compression is ours" grep -qx 'Compression: none' "$T/answer"
check "the bad deriver is dropped" eval 'grep -q ^StorePath: "$T/answer" && ! grep -q Deriver "$T/answer"'
junk_sigs
check "a narinfo with 2000 junk Sigs never makes nix read them" test "$(ask)" = 404 -o "$(grep -c '^Sig:' "$T/answer")" = 1

# ---- the NAR ----
lie ''
nar() { curl -s -m 20 -o "$T/nar.out" "$@" "$bob_http/nar/$nar_hash.nar?hash=$hash"; }
echo none >"$T/lies/fault"
check "an honest NAR passes" nar
check "and is byte-equal" cmp -s "$T/nar.out" "$T/lies/nar"
size=$(stat -c %s "$T/lies/nar")
spoilt() { # nix must see a cut, or nothing at all, and then a 404
    local code
    code=$(nar -w '%{http_code}') && { [ "$code" = 404 ]; return; }
    [ "$(stat -c %s "$T/nar.out")" -lt "$size" ] || { echo "all $size bytes were let through"; return 1; }
    [ "$(nar -w '%{http_code}')" = 404 ]
}
restart_bob() { # forgets what it held against the liar
    node_stop bob
    node_start bob --trusted-public-key "$key" --stall 1s && until_true 10 connected bob liar && sleep 0.1
}
for fault in "corrupt 50" "corrupt 1500000" "corrupt $((size - 1))" "short 0" "short 1000000" "short $((size - 1))" \
    "reset 1000000" "reset $((size - 1))" "stall 1000000" "stall $((size - 1))" "long 1000000"; do
    : >"$T/bob.log"
    restart_bob || not_ok "restart" "$T/bob.log"
    echo "$fault" >"$T/lies/fault"
    if [ "${fault%% *}" = long ]; then
        nar; rc=$?
        check "long: never more than NarSize" test "$(stat -c %s "$T/nar.out")" -le "$size"
        continue
    fi
    check "$fault: a cut, then 404 on the retry" spoilt
    check "$fault: the liar is named in the log" grep -q 'event=nar\.[a-z_]* .*liar' "$T/bob.log"
done

# ---- real nix with a good second substituter behind ----
echo "corrupt 1500000" >"$T/lies/fault"
: >"$T/bob.log"
restart_bob
mkdir -p "$T/carol"
check "nix ends well with a good cache behind the liar" \
    in_store carol "$bob_http file://$T/cache" "$key" nix-store -r "$top"
check "the liar was asked first" grep -q 'event=nar\.[a-z_]* .*liar' "$T/bob.log"
check "and has the right bytes" test "$(dump_sum carol "$top")" = "$(dump_sum good "$top")"

# ---- who lied is asked later ----
# A second peer without a stain; it has nothing, or what is in its directory.
mkdir -p "$T/saint"
node_init saint
"$BIN/tests/lying_peer" "$T/saint/home/identity.pem" "$T/saint" >"$T/saint.out" 2>"$T/saint.log" &
PIDS+=($!)
until_true 10 grep -q ready "$T/saint.out"
node_trust bob saint "$(awk '{print $2; exit}' "$T/saint.out")"
: >"$T/bob.log"
restart_bob && until_true 10 connected bob saint && sleep 0.3 || not_ok "restart" "$T/bob.log"
check "over the restart bob remembers what the liar did" eval '"$PEERIX" peers liar --json --home "$T/bob/home" | grep -q "\"bad\": true"'
check "and has nothing against the saint" eval '"$PEERIX" peers saint --json --home "$T/bob/home" | grep -q "\"history\": null"'
last_asked() { awk '$1 == "asked" { at = $2 } END { print at == "" ? 0 : at }' "$T/$1.out"; }
held() { curl -s "$bob_http/metrics" | sed -n "s/^peerix_substituter_held_asks_total{result=\"$1\"} //p"; }
gap=-1
lag() { # asks for the path; sets gap: how long after the saint the liar was asked, in us; -1: not at all
    local before
    before=$(last_asked liar)
    [ "$(ask)" = 200 ] || return 1
    gap=$(($(last_asked liar) - $(last_asked saint)))
    [ "$(last_asked liar)" != "$before" ] || gap=-1
}
touch "$T/saint/quiet"
check "where the saint says nothing the liar's answer is taken" lag
check "and the liar was asked its 50 ms later ($gap us)" test "$gap" -ge 50000 -a "$gap" -lt 250000
rm "$T/saint/quiet"
soon() { for _ in 1 2 3; do lag && [ "$gap" -ge 0 ] && [ "$gap" -lt 50000 ] && return; done; return 1; }
check "where the saint says no at once the liar does not wait for that" soon
echo "# it was asked $gap us after the saint"
check "both are counted as late" test "$(held asked)" -ge 2
spared=$(held spared)
cp "$T/lies/$hash.narinfo" "$T/saint/"
check "where the saint has it the answer comes" lag
check "and the liar is not asked" test "$gap" = -1 -a "$(held spared)" = $((spared + 1))
cp "$T/lies/nar" "$T/saint/nar"
check "the NAR comes from the saint, and is right" eval 'nar && cmp -s "$T/nar.out" "$T/lies/nar"'
check "without a byte from the liar" test "$(grep -c 'asked .* /nar/' "$T/saint.out")" = 1
finish

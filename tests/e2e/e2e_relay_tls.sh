#!/usr/bin/env bash
# A node whose router lets no UDP out but DNS: its link to the relay, circuits and what strangers do at the relay's TCP port.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/netns.sh"
netns_need
for c in nft jq python3; do command -v $c >/dev/null || { skip "needs $c"; finish; }; done
. "$(dirname "$0")/relay_clients.sh"
client() { client_start "$1" "$ID" 10.80.0.1:12307 $(netns_in "$1"); }
status() { "$RELAY" status --home "$T/relay" --json; }
pipes() { status | jq .pipes; }
pipes_are() { [ "$(pipes)" = "$1" ]; }

# alice - wall - relay, bob, eve
netns_switch net && netns_switch home || { not_ok "namespaces"; finish; }
i=0
for n in relay bob eve wall; do
    netns_add $n && netns_plug $n net eth0 10.80.0.$((++i))/24 || { not_ok "namespaces"; finish; }
done
netns_plug wall home eth1 192.168.7.1/24 && netns_add alice && netns_plug alice home eth0 192.168.7.2/24
ip -n "$(netns_id alice)" route add default via 192.168.7.1
$(netns_in wall) sysctl -qw net.ipv4.ip_forward=1
wall() { # open|shut
    local rule=accept
    [ "$1" = open ] || rule='meta l4proto udp udp dport != 53 udp sport != 53 drop'
    $(netns_in wall) nft -f - <<NFT
flush ruleset
table ip wall {
    chain forward { type filter hook forward priority 0; $rule; }
    chain nat { type nat hook postrouting priority 100; oifname eth0 masquerade; }
}
NFT
}
check "a router that lets no UDP out" wall shut

for n in relay alice bob; do "$RELAY" init --home "$T/$n" >/dev/null; done
for n in alice bob; do "$RELAY" auth add "$(id_of $n)" --home "$T/relay" >/dev/null; done
ID=$(id_of relay)
$(netns_in relay) "$RELAY" daemon --home "$T/relay" --listen '[::]:12307' --log-level debug >"$T/relay.log" 2>&1 &
PIDS+=($!)
until_true 10 grep -q event=ready "$T/relay.log" || { not_ok "the relay starts" "$T/relay.log"; finish; }
check "the relay listens on TCP 443" grep -q 'event=ready.* tcp=\[::\]:443' "$T/relay.log"

# ---- strangers ----
strangers() {
    $(netns_in eve) python3 - "$1" <<'PY'
import socket, ssl, sys, time
RELAY = ("10.80.0.1", 443)
what = sys.argv[1]
def tcp():
    s = socket.create_connection(RELAY, 5)
    s.settimeout(5)
    return s
def rest(s):
    got = b""
    try:
        while True:
            piece = s.recv(4096)
            if not piece:
                return got
            got += piece
    except (OSError, ssl.SSLError):
        return got
def context(version=None):
    c = ssl.create_default_context()
    c.check_hostname = False
    c.verify_mode = ssl.CERT_NONE
    if version:
        c.maximum_version = version
    return c
if what == "scan": # other protocols get an alert at most
    for words in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"SSH-2.0-scan\r\n", b"\0" * 300, b"\x16\x03\x01\x40\x00" + b"x" * 400):
        s = tcp()
        try:
            s.sendall(words)
            s.shutdown(socket.SHUT_WR)
        except OSError:
            pass # ended already
        got = rest(s)
        assert got == b"" or (got[0] == 0x15 and len(got) <= 7), got
elif what == "https": # TLS, and then HTTP: nothing comes back
    c = context()
    c.set_alpn_protocols(["h2", "http/1.1"])
    s = c.wrap_socket(tcp(), server_hostname="relay.example")
    assert s.version() == "TLSv1.3" and s.selected_alpn_protocol() == "http/1.1", s.version()
    s.sendall(b"GET / HTTP/1.1\r\nHost: relay.example\r\n\r\n")
    assert rest(s) == b""
elif what == "old": # no TLS before 1.3
    try:
        context(ssl.TLSVersion.TLSv1_2).wrap_socket(tcp())
        raise SystemExit("TLS 1.2 was accepted")
    except (ssl.SSLError, ConnectionResetError):
        pass
elif what == "flood": # frames that are no link: 64 KiB at most
    s = context().wrap_socket(tcp())
    frame = (100).to_bytes(2, "big") + b"\xe0" + b"x" * 99
    sent = 0
    try:
        for _ in range(40):
            s.sendall(frame * 100)
            sent += len(frame) * 100
        assert rest(s) == b""
    except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
        pass
elif what == "slow": # a byte now and then, for as long as it is let
    s = tcp()
    s.settimeout(1)
    begin = time.monotonic()
    try:
        for byte in b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 200:
            s.sendall(bytes([byte]))
            try:
                if s.recv(100) == b"":
                    break
            except TimeoutError:
                pass
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert 3 < time.monotonic() - begin < 9, time.monotonic() - begin
elif what == "idle": # 200 that say nothing
    all = []
    for _ in range(200):
        all.append(tcp())
    print("there", flush=True)
    sys.stdin.close()
    time.sleep(60)
PY
}
check "who speaks no TLS hears an alert at most" strangers scan
check "who speaks HTTP in TLS hears nothing" strangers https
check "TLS before 1.3 is refused" strangers old
check "frames that are no link end the pipe" strangers flood
check "and wait behind everything else, as far as there is room" test "$(status | jq .limits.waiting.hits)" -gt 0
check "nothing of them is left" until_true 6 pipes_are 0

# ---- the link and circuits, through the pipe ----
client bob
hears bob 'reserved OK' >/dev/null
client alice
sleep 1.5
check "UDP gets no answer" bash -c '! grep -q ^up "$1"' _ "$T/alice.out"
tell alice pipe 10.80.0.1:443
check "the link comes up through TCP" hears alice 'reserved OK'
tell alice path
check "in a pipe" hears alice 'path pipe:'
check "whose address says nothing of UDP" bash -c '! grep -q ^observed "$1"' _ "$T/alice.out"
tell alice call "$(id_of bob)"
check "a circuit opens from TCP to UDP" hears alice 'open rate'
hears bob 'open rate' >/dev/null
tell alice say one
check "and carries packets" hears bob 'data one'
tell bob say two
check "both ways" hears alice 'data two'
tell bob flood 4000000
hears bob flooded >/dev/null
tell bob say three
check "and lives on when more comes than TCP takes" hears alice 'data three'

# ---- strangers do not disturb ----
strangers slow >"$T/slow.out" 2>&1 &
slow=$!
until_true 5 pipes_are 2 # before its source is known for the others
strangers idle >"$T/idle.out" 2>&1 &
PIDS+=($!)
until_true 10 grep -q there "$T/idle.out"
check "of 200 that say nothing few are there" bash -c '[ "$1" -le 9 ]' _ "$(pipes)"
for k in 1 2 3 4 5; do tell alice say "ping$k" && hears bob "data ping$k" 1 >/dev/null || break; done
check "the others do not notice" test "$k" = 5
check "a slow one is ended" wait "$slow"
check "so are the silent ones" until_true 10 pipes_are 1

# ---- UDP is let out again ----
wall open
for _ in 1 2 3; do tell alice prefer; sleep 0.3; done
tell alice path
check "the link moves to UDP, where its address is seen" hears alice 'observed 10.80.0.4:'
check "by its own asking" hears alice 'path 10.80.0.1:12307'
tell alice hangup
check "the pipe is gone" until_true 5 pipes_are 0
tell alice say four
check "the circuit moved with it" hears bob 'data four'
tell bob say five
check "both ways" hears alice 'data five'
check "no sanitizer spoke" bash -c '! grep -qE "Sanitizer|runtime error" "$1"/*.log "$1"/*.out' _ "$T"
finish

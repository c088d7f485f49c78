/* A node at a relay, driven by lines on standard input; what happens is told in lines on standard
 * output. Usage: relay_client KEYFILE RELAY-ID HOST:PORT [NETWORK]
 *
 *   call ID            say TEXT          flood BYTES (to the last open circuit)
 *   end                echo on|off       consent on|off|never
 *   register NAME [N [big]]   find NAME|ID|-    watch on|off
 *   invite HEX MS      admit HEX         vouch ID on|off
 *   probe ADDR         report ID sent|received BYTES      totals ID
 *   forge ID sent|received BYTES   a report signed for one byte less
 *   spoof HEX          sends these bytes as a packet        dial        quit
 *   moved              tells the link that the network changed
 *   pipe IP:PORT       dials through TLS to that TCP address
 *   prefer             asks at the relay's UDP address, and moves there if it answers
 *   hangup             ends the pipe        path
 *   tap                tells every packet but data that it sends from here on, in hex
 *   frame HEX          these bytes on the control stream
 *   sleep MS           after what was said is on its way: it reads nothing for so long
 *   pings COUNT        through the open circuit, 200 a second, to an other end that echoes */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "auth/identity_io.h"
#include "proto/base/encoding.h"
#include "relay/accounts.h"
#include "relay/record.h"
#include "tests/relay_node.h"

static struct relay_node node;
static struct px_relay_leg *leg;
static bool echo;
static enum { CONSENT_ON, CONSENT_OFF, CONSENT_NEVER } consent;
static uint64_t received;
static uv_pipe_t input;
static uv_timer_t sleeper;
static char line[4096];
static size_t line_len;
static const char *network = "default";
static void (*untapped)(void *ctx, struct px_slice packet);

#define PING_MARK  0x01 /* first byte of a ping's payload; then when it was sent */
#define PINGS_MAX  4096
#define PING_GAP   5 /* ms */
#define PINGS_WAIT (2 * PX_SEC)
static struct {
    uv_timer_t timer;
    uint64_t count, sent, got;
    px_nsec until; /* how long the last of them is waited for */
    px_nsec took[PINGS_MAX];
} pings;

static void say(const char *fmt, ...) PX_PRINTF(1, 2);
static void say(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
    fflush(stdout);
}

/* ---- what happens ---- */

static void on_link(struct relay_node *n, bool up, int err)
{
    (void)n;
    if (up)
        say("up");
    else
        say("down %s", px_errname(err));
}

static void on_reserved(void *ctx, enum px_relay_status status, enum px_relay_class class)
{
    (void)ctx;
    say("reserved %s %s", px_relay_status_name(status), px_relay_class_name(class));
}

static void on_ring(void *ctx, struct px_relay_leg *l, const struct px_peer_id *caller)
{
    char id[PX_PEER_ID_TEXT_MAX];
    (void)ctx;
    say("ring %s", px_peer_id_format(caller, id));
    if (consent != CONSENT_NEVER)
        px_relay_leg_answer(l, consent == CONSENT_ON, px_now_io());
}

static void on_open(void *ctx, struct px_relay_leg *l)
{
    uint64_t burst, rate = px_relay_leg_rate(l, &burst);
    (void)ctx;
    leg = l;
    say("open rate %llu burst %llu", (unsigned long long)rate, (unsigned long long)burst);
}

static bool is_ping(struct px_slice payload)
{
    return payload.len == 1 + sizeof(px_nsec) && payload.data[0] == PING_MARK;
}

static void on_data(void *ctx, struct px_relay_leg *l, struct px_slice payload)
{
    received += payload.len;
    if (is_ping(payload) && !echo) {
        px_nsec at;
        memcpy(&at, payload.data + 1, sizeof(at));
        if (pings.got < PINGS_MAX)
            pings.took[pings.got++] = px_now_io() - at;
        return;
    }
    if (is_ping(payload)) {
        relay_node_send(ctx, l, payload);
        return;
    }
    if (payload.len <= 256)
        say("data %.*s", (int)payload.len, (const char *)payload.data);
    if (echo)
        relay_node_send(ctx, l, payload);
}

static void on_ended(void *ctx, struct px_relay_leg *l, enum px_relay_status why)
{
    (void)ctx;
    if (leg == l)
        leg = NULL;
    say("ended %s", px_relay_status_name(why));
}

static void on_reply(void *ctx, void *token, enum px_relay_status status,
                     const struct px_relay_msg *m)
{
    struct px_record r;
    char addr[PX_ADDR_TEXT_MAX];
    (void)ctx;
    for (size_t i = 0; m != NULL && i < m->record_count; i++)
        if (px_record_verify(m->records[i], &r) == 0)
            say("record %.*s %s", (int)r.name.len, (const char *)r.name.data,
                px_addr_format(&r.addrs[0], addr));
    if (m != NULL && m->type == PX_RELAY_MSG_TOTALS_ARE)
        say("totals %llu %llu %llu %llu", (unsigned long long)m->totals[0],
            (unsigned long long)m->totals[1], (unsigned long long)m->totals[2],
            (unsigned long long)m->totals[3]);
    say("reply %s %s", (const char *)token, px_relay_status_name(status));
}

static void on_observed(void *ctx, const struct px_addr *a)
{
    char text[PX_ADDR_TEXT_MAX];
    (void)ctx;
    say("observed %s", px_addr_format(a, text));
}

static void on_changed(void *ctx, const struct px_relay_msg *m)
{
    (void)ctx;
    say("changed %zu gone %zu", m->record_count, m->gone_count);
}

static void on_restarting(void *ctx, px_nsec left, px_nsec spread)
{
    (void)ctx;
    say("restarting %llu %llu", (unsigned long long)(left / PX_MSEC),
        (unsigned long long)(spread / PX_MSEC));
}

static const struct px_relay_client_ops ops = {.reserved = on_reserved,
                                               .ring = on_ring,
                                               .open = on_open,
                                               .data = on_data,
                                               .ended = on_ended,
                                               .reply = on_reply,
                                               .observed = on_observed,
                                               .changed = on_changed,
                                               .restarting = on_restarting};

/* ---- what to do ---- */

static void request(struct px_relay_msg *m)
{
    int err = px_relay_client_request(node.client, m, (void *)(uintptr_t)px_relay_msg_name(m->type),
                                      px_now_io());
    if (err != 0)
        say("failed %s", px_errname(err));
}

static bool peer_of(const char *text, struct px_peer_id *ret)
{
    return px_peer_id_parse(px_slice_cstr(text), ret) == 0;
}

static void do_register(const char *name, const char *number, bool big)
{
    struct px_record r = {.name_space = px_slice_cstr(network), .name = px_slice_cstr(name)};
    struct px_relay_msg m = {
        .type = PX_RELAY_MSG_REGISTER, .name_space = px_slice_cstr(network), .record_count = 1};
    struct px_buf out;
    (void)!px_slice_parse_u64(px_slice_cstr(number[0] != '\0' ? number : "1"), &r.sequence);
    r.addrs[r.addr_count++] = *px_udp_local(px_overlay_io_udp(node.io));
    for (; big && r.addr_count < PX_RECORD_ADDRS_MAX; r.addr_count++)
        r.addrs[r.addr_count] = (struct px_addr){
            .ip = {192, 0, 2, (uint8_t)r.addr_count}, .port = 9, .family = PX_ADDR_IP4};
    for (; big && r.relay_count < PX_RECORD_RELAYS_MAX; r.relay_count++)
        r.relays[r.relay_count] = PX_SLICE_LIT("peerix-relay://12D3KooWNobodyIsThere@"
                                               "a.relay.with.a.long.name.example:12307");
    px_buf_init(&out, PX_RELAY_RECORD_MAX);
    if (px_record_sign(&node.identity, &r, &out) == 0) {
        m.records[0] = px_buf_slice(&out);
        request(&m);
    }
    px_buf_deinit(&out);
}

static void do_find(const char *what)
{
    struct px_relay_msg m = {.type = PX_RELAY_MSG_DISCOVER, .name_space = px_slice_cstr(network)};
    if (peer_of(what, &m.peer)) {
        m.keys = PX_RELAY_BIT(PX_RELAY_K_PEER);
    } else if (strcmp(what, "-") != 0) {
        m.keys = PX_RELAY_BIT(PX_RELAY_K_NAME);
        m.name = px_slice_cstr(what);
    }
    request(&m);
}

static void do_secret(enum px_relay_msg_type type, const char *hex, const char *ms)
{
    struct px_relay_msg m = {.type = type};
    uint8_t secret[PX_RELAY_SECRET_LEN];
    size_t len;
    memset(secret, 0, sizeof(secret));
    if (px_hex_decode(px_slice_cstr(hex), secret, sizeof(secret), &len) != 0)
        say("failed EPARSE");
    memcpy(m.secret, secret, sizeof(secret));
    if (type == PX_RELAY_MSG_INVITE) {
        px_sha256(px_slice(secret, sizeof(secret)), m.secret);
        (void)!px_slice_parse_u64(px_slice_cstr(ms), &m.ttl_ms);
    }
    request(&m);
}

static void do_report(const char *peer, const char *direction, const char *bytes, bool forged)
{
    struct px_relay_msg m = {.type = PX_RELAY_MSG_REPORT, .session = {1, 2, 3}};
    struct px_transfer t = {.session = {1, 2, 3}};
    if (!peer_of(peer, &m.peer) || px_slice_parse_u64(px_slice_cstr(bytes), &m.bytes) != 0)
        return;
    bool sent = strcmp(direction, "sent") == 0;
    m.direction = sent ? PX_RELAY_SENT : PX_RELAY_RECEIVED;
    t.sender = sent ? node.identity.id : m.peer;
    t.receiver = sent ? m.peer : node.identity.id;
    t.bytes = m.bytes - forged;
    px_transfer_sign(&node.identity, &t, m.signature);
    request(&m);
}

static void do_flood(const char *count)
{
    uint64_t bytes = 0;
    uint8_t payload[1200];
    memset(payload, 'x', sizeof(payload));
    (void)!px_slice_parse_u64(px_slice_cstr(count), &bytes);
    for (uint64_t sent = 0; leg != NULL && sent < bytes; sent += sizeof(payload))
        relay_node_send(&node, leg, px_slice(payload, sizeof(payload)));
    say("flooded %llu", (unsigned long long)bytes);
}

static void do_spoof(const char *hex)
{
    uint8_t packet[1500];
    size_t len;
    if (px_hex_decode(px_slice_cstr(hex), packet, sizeof(packet), &len) == 0)
        node.ops.packet(&node, px_slice(packet, len));
}

static void on_tapped(void *ctx, struct px_slice packet)
{
    char text[2 * 64 + 1] = "";
    for (size_t i = 0; i < PX_MIN(packet.len, sizeof(text) / 2); i++)
        snprintf(text + 2 * i, 3, "%02x", packet.data[i]);
    say("sent %s", text);
    untapped(ctx, packet);
}

static void do_tap(void)
{
    if (untapped != NULL)
        return;
    untapped = node.ops.packet;
    node.ops.packet = on_tapped;
}

static void do_frame(const char *hex)
{
    uint8_t bytes[1024];
    size_t len;
    if (node.stream != NULL && px_hex_decode(px_slice_cstr(hex), bytes, sizeof(bytes), &len) == 0)
        px_control_stream_send(node.stream, px_slice(bytes, len));
}

static void on_sleep(uv_timer_t *t)
{
    uint64_t ms = (uintptr_t)t->data;
    const struct timespec time = {.tv_sec = (time_t)(ms / 1000),
                                  .tv_nsec = (long)(ms % 1000 * 1000 * 1000)};
    (void)nanosleep(&time, NULL);
}

static void do_sleep(const char *ms)
{
    uint64_t n = 0;
    (void)!px_slice_parse_u64(px_slice_cstr(ms), &n);
    sleeper.data = (void *)(uintptr_t)n;
    uv_timer_start(&sleeper, on_sleep, 1, 0);
}

static int compare(const void *a, const void *b)
{
    const px_nsec *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void on_ping_timer(uv_timer_t *t)
{
    uint8_t payload[1 + sizeof(px_nsec)] = {PING_MARK};
    px_nsec now = px_now_io();
    if (pings.sent < pings.count && leg != NULL) {
        memcpy(payload + 1, &now, sizeof(now));
        relay_node_send(&node, leg, px_slice(payload, sizeof(payload)));
        pings.sent++;
        pings.until = now + PINGS_WAIT;
        return;
    }
    if (pings.got < pings.sent && now < pings.until)
        return;
    uv_timer_stop(t);
    qsort(pings.took, pings.got, sizeof(pings.took[0]), compare);
    say("pings sent=%llu got=%llu p50_us=%llu p99_us=%llu", (unsigned long long)pings.sent,
        (unsigned long long)pings.got, (unsigned long long)(pings.took[pings.got / 2] / 1000),
        (unsigned long long)(pings.took[pings.got * 99 / 100] / 1000));
}

static void do_pings(const char *count)
{
    memset(pings.took, 0, sizeof(pings.took));
    pings.sent = pings.got = pings.count = 0;
    (void)!px_slice_parse_u64(px_slice_cstr(count), &pings.count);
    pings.count = PX_MIN(pings.count, (uint64_t)PINGS_MAX - 1);
    uv_timer_start(&pings.timer, on_ping_timer, 0, PING_GAP);
}

static void stop(void)
{
    uv_close((uv_handle_t *)&input, NULL);
    uv_close((uv_handle_t *)&pings.timer, NULL);
    uv_close((uv_handle_t *)&sleeper, NULL);
    relay_node_close(&node);
    leg = NULL;
}

static void do_call(const char *peer)
{
    struct px_peer_id id;
    struct px_relay_leg *l;
    int err = peer_of(peer, &id) ? px_relay_client_call(node.client, &id, NULL, px_now_io(), &l)
                                 : PX_EPARSE;
    if (err != 0)
        say("failed %s", px_errname(err));
}

static void do_peer(enum px_relay_msg_type type, const char *peer, const char *on)
{
    struct px_relay_msg m = {.type = type, .on = strcmp(on, "on") == 0};
    if (peer_of(peer, &m.peer))
        request(&m);
}

static void do_probe(const char *addr)
{
    struct px_relay_msg m = {.type = PX_RELAY_MSG_PROBE};
    if (strcmp(addr, "self") == 0)
        m.address = *px_udp_local(px_overlay_io_udp(node.io));
    else if (px_addr_parse(px_slice_cstr(addr), &m.address) != 0)
        say("failed EPARSE");
    request(&m);
}

static void do_pipe(const char *tcp)
{
    struct px_addr addr;
    int err = px_addr_parse(px_slice_cstr(tcp), &addr);
    if (err == 0)
        err = relay_node_dial_pipe(&node, &addr);
    say("piping %s", px_errname(err));
}

static void do_path(void)
{
    char text[PX_ADDR_TEXT_MAX];
    say("path %s", px_addr_format(&node.path.remote, text));
}

static void do_watch(const char *on)
{
    struct px_relay_msg m = {.type = PX_RELAY_MSG_WATCH,
                             .name_space = px_slice_cstr(network),
                             .on = strcmp(on, "on") == 0};
    request(&m);
}

static void on_line(char *text)
{
    char word[16] = "", a[1100] = "", b[32] = "", c[32] = "";
    sscanf(text, "%15s %1099s %31s %31s", word, a, b, c);
    if (strcmp(word, "call") == 0)
        do_call(a);
    else if (strcmp(word, "say") == 0 && leg != NULL)
        relay_node_send(&node, leg, px_slice_cstr(text + 4));
    else if (strcmp(word, "flood") == 0)
        do_flood(a);
    else if (strcmp(word, "received") == 0)
        say("received %llu", (unsigned long long)received);
    else if (strcmp(word, "end") == 0 && leg != NULL) {
        px_relay_leg_end(leg);
        leg = NULL;
    } else if (strcmp(word, "echo") == 0)
        echo = strcmp(a, "on") == 0;
    else if (strcmp(word, "consent") == 0)
        consent = strcmp(a, "on") == 0    ? CONSENT_ON
                  : strcmp(a, "off") == 0 ? CONSENT_OFF
                                          : CONSENT_NEVER;
    else if (strcmp(word, "register") == 0)
        do_register(a, b, strcmp(c, "big") == 0);
    else if (strcmp(word, "find") == 0)
        do_find(a);
    else if (strcmp(word, "watch") == 0)
        do_watch(a);
    else if (strcmp(word, "invite") == 0)
        do_secret(PX_RELAY_MSG_INVITE, a, b);
    else if (strcmp(word, "admit") == 0)
        do_secret(PX_RELAY_MSG_ADMIT, a, b);
    else if (strcmp(word, "vouch") == 0)
        do_peer(PX_RELAY_MSG_VOUCH, a, b);
    else if (strcmp(word, "totals") == 0)
        do_peer(PX_RELAY_MSG_TOTALS, a, "");
    else if (strcmp(word, "probe") == 0)
        do_probe(a);
    else if (strcmp(word, "report") == 0)
        do_report(a, b, c, false);
    else if (strcmp(word, "forge") == 0)
        do_report(a, b, c, true);
    else if (strcmp(word, "spoof") == 0)
        do_spoof(a);
    else if (strcmp(word, "dial") == 0)
        say("dialling %s", px_errname(relay_node_dial(&node)));
    else if (strcmp(word, "moved") == 0)
        px_overlay_io_network_changed(node.io);
    else if (strcmp(word, "pipe") == 0)
        do_pipe(a);
    else if (strcmp(word, "prefer") == 0 && node.link != NULL)
        px_link_prefer(node.link, &node.relay_addr);
    else if (strcmp(word, "hangup") == 0)
        px_tls_pipes_hang_up(node.pipes, &node.pipe);
    else if (strcmp(word, "path") == 0)
        do_path();
    else if (strcmp(word, "tap") == 0)
        do_tap();
    else if (strcmp(word, "frame") == 0)
        do_frame(a);
    else if (strcmp(word, "pings") == 0)
        do_pings(a);
    else if (strcmp(word, "sleep") == 0)
        do_sleep(a);
    else if (strcmp(word, "quit") == 0)
        stop();
    else
        say("failed to understand or nothing open: %s", word);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
    (void)h;
    (void)suggested;
    *ret = uv_buf_init(line + line_len, (unsigned)(sizeof(line) - line_len));
}

static void on_input(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    char *end;
    (void)buf;
    if (n < 0) {
        uv_read_stop(s);
        stop();
        return;
    }
    line_len += (size_t)n;
    while (!uv_is_closing((uv_handle_t *)s) && (end = memchr(line, '\n', line_len)) != NULL) {
        *end = '\0';
        on_line(line);
        line_len -= (size_t)(end + 1 - line);
        memmove(line, end + 1, line_len);
    }
}

int main(int argc, char **argv)
{
    uv_loop_t loop;
    struct px_peer_id relay;
    struct px_addr addr;
    char hint[256];
    if (argc < 4 || px_crypto_init() != 0 || !peer_of(argv[2], &relay) ||
        px_addr_parse(px_slice_cstr(argv[3]), &addr) != 0 ||
        px_identity_load(argv[1], &node.identity, hint, sizeof(hint)) != 0) {
        fprintf(stderr, "usage: relay_client KEYFILE RELAY-ID IP:PORT [NETWORK]\n");
        return 2;
    }
    if (argc > 4)
        network = argv[4];
    (void)signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&loop);
    node.link_changed = on_link;
    if (relay_node_start(&node, &loop, &relay, &addr, network, &ops, true) != 0)
        return 1;
    uv_timer_init(&loop, &pings.timer);
    uv_timer_init(&loop, &sleeper);
    uv_pipe_init(&loop, &input, 0);
    uv_pipe_open(&input, 0);
    uv_read_start((uv_stream_t *)&input, on_alloc, on_input);
    uv_run(&loop, UV_RUN_DEFAULT);
    px_assert(uv_loop_close(&loop) == 0);
    px_identity_wipe(&node.identity);
    return 0;
}

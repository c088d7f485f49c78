/* Every default of the table of docs/spec/relay.md §7 that the server core keeps, hit with its own
 * number and not one fewer; what is live counts, and when one of these ends the next is admitted.
 * Nodes here are control sessions alone: a crowd of production clients is test_relay_server's. */
#include <stdlib.h>

#include "proto/base/buf.h"
#include "relay/registry.h"
#include "relay/server.h"
#include "tests/test.h"

#define MEMBER   1 /* first byte of a peer's ID */
#define STRANGER 2

struct raw {
    struct px_relay_session *session;
    struct px_relay_msg last; /* its views are dead */
    struct px_addr addr;
    enum px_close_code closed; /* PX_CLOSE_NONE: not */
    unsigned frames;
};

static struct {
    struct px_test_rng seed;
    struct px_relay_server *server;
    px_nsec now;
    uint32_t request;
    unsigned probes;
    char audit[64];                   /* the last event */
    struct px_relay_audit audits[32]; /* with `event`; the rest as it was told */
    struct px_peer_id audit_peer[32];
    size_t audit_count;
} w;

static void on_send(void *ctx, void *conn, struct px_slice frame)
{
    struct raw *n = conn;
    struct px_relay_msg m;
    (void)ctx;
    CHECK_OK(px_relay_msg_decode(px_slice_skip(frame, 2), &m));
    if (m.type != PX_RELAY_MSG_OBSERVED || m.request != 0) /* nobody asked for it */
        n->last = m;
    n->frames++;
}

static void on_close(void *ctx, void *conn, enum px_close_code code)
{
    (void)ctx;
    ((struct raw *)conn)->closed = code;
}

static void on_probe(void *ctx, const struct px_addr *to, struct px_slice packet)
{
    (void)ctx, (void)to, (void)packet;
    w.probes++;
}

static bool on_is_own(void *ctx, const struct px_addr *a)
{
    (void)ctx, (void)a;
    return false;
}

static bool on_is_member(void *ctx, const struct px_peer_id *id)
{
    (void)ctx;
    return id->key[0] == MEMBER;
}

static void on_audit(void *ctx, const struct px_relay_audit *a)
{
    (void)ctx;
    snprintf(w.audit, sizeof(w.audit), "%s", a->event);
    size_t i = w.audit_count++ % PX_ARRAY_LEN(w.audits);
    w.audits[i] = *a;
    w.audit_peer[i] = *a->peer;
}

static const struct px_relay_server_ops ops = {on_send,   on_close,     on_probe,
                                               on_is_own, on_is_member, on_audit};

static void start(bool open, const struct px_asn_table *table)
{
    memset(&w, 0, sizeof(w));
    CHECK_OK(px_crypto_init());
    w.now = 5000 * PX_SEC;
    const struct px_relay_server_config config = {.rng = px_test_rng(&w.seed, 5),
                                                  .ops = &ops,
                                                  .asn_table = table,
                                                  .limits = px_relay_limits_default,
                                                  .open = open};
    CHECK_OK(px_relay_server_new(&config, w.now, &w.server));
}

static struct px_relay_server_stats stats(void)
{
    struct px_relay_server_stats s;
    px_relay_server_stats(w.server, &s);
    return s;
}

/* The relay ends, and nothing was counted that is not there any more. */
static void end(void)
{
    struct px_relay_server_stats s = stats();
    CHECK_INT(s.nodes, 0);
    CHECK_INT(s.limited, 0);
    CHECK_INT(s.unknown, 0);
    CHECK_INT(s.reservations, 0);
    CHECK_INT(s.watches, 0);
    px_relay_server_free(w.server);
}

static struct px_peer_id id_of(uint8_t kind, unsigned number)
{
    return (struct px_peer_id){.key = {kind, (uint8_t)(number >> 8), (uint8_t)number, 9}};
}

/* Comes from 10.x.y.1, x and y of `source`. */
static void join(struct raw *n, uint8_t kind, unsigned number, unsigned source)
{
    const struct px_peer_id id = id_of(kind, number);
    const uint8_t binding[PX_CIRCUIT_BINDING_LEN] = {kind, (uint8_t)(number >> 8), (uint8_t)number};
    *n = (struct raw){.addr = {.ip = {10, (uint8_t)(source >> 8), (uint8_t)source, 1},
                               .port = (uint16_t)(2000 + number % 60000),
                               .family = PX_ADDR_IP4}};
    CHECK_OK(px_relay_server_join(w.server, n, &id, binding, &n->addr, true, w.now, &n->session));
}

static void leave(struct raw *n)
{
    px_relay_session_leave(n->session, w.now);
    n->session = NULL;
}

static void leave_all(struct raw *n, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (n[i].session != NULL)
            leave(&n[i]);
}

static enum px_relay_status ask(struct raw *n, struct px_relay_msg m)
{
    struct px_buf out;
    m.request = ++w.request;
    n->last = (struct px_relay_msg){.type = PX_RELAY_MSG_NONE};
    px_buf_init(&out, PX_RELAY_FRAME_MAX);
    CHECK_OK(px_relay_msg_put(&out, &m));
    px_relay_session_input(n->session, px_buf_slice(&out), w.now);
    px_buf_deinit(&out);
    return (enum px_relay_status)n->last.status;
}

static enum px_relay_status reserve(struct raw *n)
{
    return ask(n, (struct px_relay_msg){.type = PX_RELAY_MSG_RESERVE});
}

static enum px_relay_status call(struct raw *n, uint8_t kind, unsigned number)
{
    return ask(n, (struct px_relay_msg){.type = PX_RELAY_MSG_CONNECT, .peer = id_of(kind, number)});
}

static uint64_t hits(enum px_relay_limit limit)
{
    return stats().hits[limit];
}

/* ---- links ---- */

TEST(a_source_has_16_links)
{
    struct raw n[18], member;
    start(true, NULL);
    for (unsigned i = 0; i < 17; i++) {
        join(&n[i], STRANGER, i, 1);
        CHECK_INT(n[i].closed, i < 16 ? PX_CLOSE_NONE : PX_CLOSE_BUSY);
    }
    CHECK_STR(w.audit, "relay.refused");
    CHECK_INT(hits(PX_RELAY_LIMIT_LINKS_PER_SOURCE), 1);
    join(&member, MEMBER, 1, 1); /* a member of the same address */
    CHECK_INT(member.closed, PX_CLOSE_NONE);
    leave(&n[16]); /* was not counted */
    join(&n[16], STRANGER, 16, 1);
    CHECK_INT(n[16].closed, PX_CLOSE_BUSY);
    leave(&n[16]);
    leave(&n[3]);
    join(&n[16], STRANGER, 16, 1);
    CHECK_INT(n[16].closed, PX_CLOSE_NONE);
    join(&n[3], STRANGER, 99, 2); /* another source */
    CHECK_INT(n[3].closed, PX_CLOSE_NONE);
    leave_all(n, 17);
    leave(&member);
    end();
}

TEST(an_ipv6_56_is_one_source)
{
    struct raw n[18];
    start(true, NULL);
    for (unsigned i = 0; i < 18; i++) {
        const struct px_peer_id id = id_of(STRANGER, i);
        const uint8_t binding[PX_CIRCUIT_BINDING_LEN] = {1};
        n[i] = (struct raw){.addr = {.ip = {0x20, 1, 0xd, 0xb8, 0, 0, 1}, .family = PX_ADDR_IP6}};
        n[i].addr.ip[7] = n[i].addr.ip[15] = (uint8_t)i; /* other subnets of it, other hosts */
        n[i].addr.ip[6] = i == 17 ? 2 : 1;               /* another /56 */
        CHECK_OK(px_relay_server_join(w.server, &n[i], &id, binding, &n[i].addr, true, w.now,
                                      &n[i].session));
        CHECK_INT(n[i].closed, i == 16 ? PX_CLOSE_BUSY : PX_CLOSE_NONE);
    }
    leave_all(n, 18);
    end();
}

TEST(an_asn_has_256_links)
{
    static struct raw n[258];
    struct px_asn_table *table;
    struct px_asn_error wrong;
    CHECK_OK(px_asn_table_parse(PX_SLICE_LIT("10.0.0.0/9 64500\n10.128.0.0/9 AS64501\n"), &table,
                                &wrong));
    start(true, table);
    for (unsigned i = 0; i < 257; i++) {
        join(&n[i], STRANGER, i, i / 16);
        CHECK_INT(n[i].closed, i < 256 ? PX_CLOSE_NONE : PX_CLOSE_BUSY);
    }
    CHECK_INT(hits(PX_RELAY_LIMIT_LINKS_PER_ASN), 1);
    CHECK_INT(hits(PX_RELAY_LIMIT_LINKS_PER_SOURCE), 0);
    join(&n[257], STRANGER, 300, 0x8000); /* another ASN */
    CHECK_INT(n[257].closed, PX_CLOSE_NONE);
    leave(&n[256]);
    leave(&n[7]);
    join(&n[256], STRANGER, 256, 16);
    CHECK_INT(n[256].closed, PX_CLOSE_NONE);
    leave_all(n, 258);
    end();
    px_asn_table_free(table);
}

TEST(strangers_have_1024_links)
{
    static struct raw n[1026];
    start(true, NULL);
    for (unsigned i = 0; i < 1025; i++) {
        join(&n[i], STRANGER, i, i / 16);
        CHECK_INT(n[i].closed, i < 1024 ? PX_CLOSE_NONE : PX_CLOSE_BUSY);
    }
    CHECK_INT(hits(PX_RELAY_LIMIT_LINKS), 1);
    join(&n[1025], MEMBER, 1, 0);
    CHECK_INT(n[1025].closed, PX_CLOSE_NONE);
    CHECK_INT(reserve(&n[1025]), PX_RELAY_OK);
    leave(&n[1024]);
    leave(&n[0]);
    join(&n[1024], STRANGER, 1024, 900);
    CHECK_INT(n[1024].closed, PX_CLOSE_NONE);
    leave_all(n, 1026);
    end();
}

/* ---- reservations ---- */

TEST(there_are_128_reservations)
{
    static struct raw n[130];
    start(false, NULL);
    for (unsigned i = 0; i < 129; i++) {
        join(&n[i], MEMBER, i, 0);
        CHECK_INT(reserve(&n[i]), i < 128 ? PX_RELAY_OK : PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    }
    CHECK_INT(stats().reservations, 128);
    CHECK_INT(hits(PX_RELAY_LIMIT_RESERVATIONS), 1);
    CHECK_INT(reserve(&n[5]), PX_RELAY_OK); /* a refresh is no second one */
    CHECK_INT(ask(&n[5], (struct px_relay_msg){.type = PX_RELAY_MSG_RELEASE}), PX_RELAY_OK);
    CHECK_INT(reserve(&n[128]), PX_RELAY_OK);
    CHECK_INT(reserve(&n[5]), PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    leave(&n[6]); /* or its link ends */
    CHECK_INT(reserve(&n[5]), PX_RELAY_OK);
    join(&n[6], MEMBER, 6, 0);
    CHECK_INT(reserve(&n[6]), PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    w.now += 3600 * PX_SEC - 1; /* or its time */
    px_relay_server_run(w.server, w.now);
    CHECK_INT(reserve(&n[6]), PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    w.now += 1;
    px_relay_server_run(w.server, w.now);
    CHECK_INT(stats().reservations, 0);
    CHECK_INT(reserve(&n[6]), PX_RELAY_OK);
    CHECK_INT(n[6].last.ttl_ms, 3600 * 1000);
    leave_all(n, 129);
    end();
}

TEST(a_source_has_8_reservations_and_an_asn_32)
{
    static struct raw n[40];
    struct px_asn_table *table;
    struct px_asn_error wrong;
    CHECK_OK(px_asn_table_parse(PX_SLICE_LIT("10.0.0.0/8 64500\n"), &table, &wrong));
    start(true, table);
    for (unsigned i = 0; i < 9; i++) {
        join(&n[i], STRANGER, i, 1);
        CHECK_INT(reserve(&n[i]), i < 8 ? PX_RELAY_OK : PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    }
    CHECK_INT(hits(PX_RELAY_LIMIT_RESERVATIONS_PER_SOURCE), 1);
    leave(&n[2]);
    CHECK_INT(reserve(&n[8]), PX_RELAY_OK);
    for (unsigned i = 9; i < 34; i++) {
        join(&n[i], STRANGER, i, 2 + i / 8);
        CHECK_INT(reserve(&n[i]), i < 33 ? PX_RELAY_OK : PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    }
    CHECK_INT(hits(PX_RELAY_LIMIT_RESERVATIONS_PER_ASN), 1);
    CHECK_INT(stats().reservations, 32);
    CHECK_INT(ask(&n[9], (struct px_relay_msg){.type = PX_RELAY_MSG_RELEASE}), PX_RELAY_OK);
    CHECK_INT(reserve(&n[33]), PX_RELAY_OK);
    join(&n[34], MEMBER, 1, 1); /* where members come from does not matter */
    CHECK_INT(reserve(&n[34]), PX_RELAY_OK);
    leave_all(n, 35);
    end();
    px_asn_table_free(table);
}

/* As many as its limits let in of one source are strangers; each becomes a friend. */
TEST(who_becomes_a_friend_counts_as_one)
{
    struct raw n[18], m;
    start(true, NULL);
    join(&m, MEMBER, 1, 1);
    for (unsigned i = 0; i < 16; i++) {
        join(&n[i], STRANGER, i, 1);
        CHECK_INT(reserve(&n[i]), i < 8 ? PX_RELAY_OK : PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    }
    CHECK_INT(stats().limited, 16);
    struct px_relay_msg vouch = {
        .type = PX_RELAY_MSG_VOUCH, .peer = id_of(STRANGER, 0), .on = true};
    CHECK_INT(ask(&m, vouch), PX_RELAY_OK);
    CHECK_INT(stats().limited, 15);
    CHECK_INT(reserve(&n[8]), PX_RELAY_OK);
    CHECK_INT(reserve(&n[9]), PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    join(&n[16], STRANGER, 16, 1);
    CHECK_INT(n[16].closed, PX_CLOSE_NONE);
    join(&n[17], STRANGER, 17, 1);
    CHECK_INT(n[17].closed, PX_CLOSE_BUSY);
    vouch.on = false; /* and back: there is no room for it as a stranger any more */
    CHECK_INT(ask(&m, vouch), PX_RELAY_OK);
    CHECK_INT(n[0].closed, PX_CLOSE_BUSY);
    leave_all(n, 18);
    leave(&m);
    end();
}

/* ---- circuits ---- */

TEST(a_node_has_16_circuits_whoever_called)
{
    struct raw n[20];
    start(false, NULL);
    for (unsigned i = 0; i < 20; i++) {
        join(&n[i], MEMBER, i, 0);
        CHECK_INT(reserve(&n[i]), PX_RELAY_OK);
    }
    for (unsigned i = 1; i <= 8; i++)
        CHECK_INT(call(&n[0], MEMBER, i), PX_RELAY_OK);
    for (unsigned i = 9; i <= 16; i++)
        CHECK_INT(call(&n[i], MEMBER, 0), PX_RELAY_OK);
    unsigned rung = n[17].frames;
    CHECK_INT(call(&n[0], MEMBER, 17), PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    CHECK_INT(n[17].frames, rung); /* was not rung */
    CHECK_INT(call(&n[17], MEMBER, 0), PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    CHECK_INT(hits(PX_RELAY_LIMIT_CIRCUITS), 2);
    CHECK_INT(call(&n[0], MEMBER, 8), PX_RELAY_OK); /* in the place of the older one */
    CHECK_INT(stats().circuits.circuits, 16);
    CHECK_INT(call(&n[17], MEMBER, 18), PX_RELAY_OK); /* others go on */
    w.now += 10 * PX_SEC - 1;                         /* nobody answers */
    px_relay_server_run(w.server, w.now);
    CHECK_INT(stats().circuits.circuits, 17);
    w.now += PX_CIRCUIT_SWEEP;
    px_relay_server_run(w.server, w.now);
    CHECK_INT(stats().circuits.circuits, 0);
    CHECK_INT(hits(PX_RELAY_LIMIT_CIRCUIT_BIND_TIME), 17);
    CHECK_INT(n[0].last.type, PX_RELAY_MSG_END);
    CHECK_INT(n[0].last.status, PX_RELAY_NO_ANSWER);
    CHECK_INT(call(&n[0], MEMBER, 17), PX_RELAY_OK);
    leave_all(n, 20);
    px_relay_server_end_circuits(w.server);
    end();
}

struct pair {
    struct raw *caller, *callee;
    struct px_relay_leg_id leg; /* the caller's */
    struct px_path path;
};

static void bind_leg(const struct raw *n, uint8_t kind, unsigned number,
                     const struct px_relay_leg_id *leg, const struct px_relay_nonce *nonce)
{
    const uint8_t binding[PX_CIRCUIT_BINDING_LEN] = {kind, (uint8_t)(number >> 8), (uint8_t)number};
    struct px_relay_leg_key key;
    struct px_circuits_out out;
    uint8_t packet[PX_RELAY_BIND_LEN];
    struct px_path path = {.remote = n->addr};
    px_relay_leg_key(px_slice(binding, sizeof(binding)), leg, &key);
    px_relay_bind_put(packet, PX_RELAY_ANSWER, leg, nonce, &key);
    CHECK_INT(px_relay_server_packets(w.server, &path, packet, sizeof(packet), sizeof(packet),
                                      w.now, &out),
              sizeof(packet));
    CHECK_INT(out.data.len, PX_RELAY_BIND_LEN);
}

/* A circuit from `from`, a node of that kind and number 1, to the member 2. */
static void open_circuit(struct pair *p, uint8_t kind, struct raw *from, struct raw *to)
{
    join(from, kind, 1, 1);
    join(to, MEMBER, 2, 2);
    CHECK_INT(reserve(to), PX_RELAY_OK);
    CHECK_INT(call(from, MEMBER, 2), PX_RELAY_OK);
    CHECK_INT(to->last.type, PX_RELAY_MSG_RING);
    const struct px_relay_leg_id ringing = to->last.leg;
    *p = (struct pair){from, to, from->last.leg, {.remote = from->addr}};
    bind_leg(from, kind, 1, &p->leg, &from->last.nonce);
    bind_leg(to, MEMBER, 2, &ringing, &to->last.nonce);
    const struct px_relay_msg yes = {
        .type = PX_RELAY_MSG_CONSENT, .leg = ringing, .status = PX_RELAY_OK};
    (void)ask(to, yes);
    CHECK_INT(stats().circuits.open, 1);
}

/* Sends packets of 1000 bytes until `bytes` of them; returns how many bytes left again. */
static uint64_t push(const struct pair *p, uint64_t bytes)
{
    static uint8_t packet[1000];
    uint64_t passed = 0;
    for (uint64_t sent = 0; sent < bytes; sent += sizeof(packet)) {
        struct px_circuits_out out;
        px_relay_header_put(packet, PX_RELAY_DATA, &p->leg);
        px_relay_server_packets(w.server, &p->path, packet, sizeof(packet), sizeof(packet), w.now,
                                &out);
        passed += out.path != NULL ? out.data.len : 0;
    }
    return passed;
}

TEST(rates_are_those_of_the_table)
{
    static const struct {
        uint8_t kind;
        uint64_t rate, burst;
    } rows[] = {{MEMBER, 125000000, 25000000}, {STRANGER, 2000000, 400000}};
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        struct raw a, b;
        struct pair p;
        start(true, NULL);
        open_circuit(&p, rows[i].kind, &a, &b);
        CHECK_INT(push(&p, 2 * rows[i].burst), rows[i].burst);
        uint64_t second = 0;
        for (int k = 0; k < 100; k++) {
            w.now += 10 * PX_MSEC;
            second += push(&p, rows[i].rate / 50); /* twice the rate */
        }
        CHECK_INT(second, rows[i].rate);
        CHECK(stats().circuits.dropped_rate > 0);
        leave(&a);
        leave(&b);
        px_relay_server_end_circuits(w.server);
        end();
    }
}

TEST(a_strangers_circuit_told_its_time_and_bytes_ends_with_them)
{
    struct raw a, b;
    struct pair p;
    uint64_t passed = 0;
    start(true, NULL);
    join(&a, STRANGER, 1, 1);
    join(&b, MEMBER, 2, 2);
    CHECK_INT(reserve(&b), PX_RELAY_OK);
    CHECK_INT(call(&a, MEMBER, 2), PX_RELAY_OK);
    CHECK_INT(a.last.ttl_ms, 600 * 1000);
    CHECK_INT(a.last.bytes, 64000000);
    CHECK_INT(a.last.rate, 2000000);
    leave(&a);
    leave(&b);
    px_relay_server_end_circuits(w.server);

    open_circuit(&p, STRANGER, &a, &b); /* bytes */
    while (stats().circuits.open == 1 && passed <= 64000000) {
        passed += push(&p, 200000);
        w.now += 100 * PX_MSEC;
    }
    CHECK_INT(passed, 64000000);
    CHECK_INT(a.last.status, PX_RELAY_BYTES_USED);
    CHECK_INT(b.last.status, PX_RELAY_BYTES_USED);
    CHECK_INT(hits(PX_RELAY_LIMIT_CIRCUIT_BYTES), 1);
    leave(&a);
    leave(&b);

    open_circuit(&p, STRANGER, &a, &b); /* time: both sides talk all the while */
    const struct px_relay_msg *end_msg = &b.last;
    px_nsec until = w.now + 600 * PX_SEC;
    struct raw *both[] = {&a, &b};
    CHECK_INT(end_msg->type, PX_RELAY_MSG_OPEN);
    const struct px_relay_leg_id legs[] = {a.last.leg, b.last.leg};
    while (stats().circuits.open == 1 && w.now < until + 10 * PX_SEC) {
        for (int i = 0; i < 2; i++) {
            const struct px_relay_nonce nonce = {{1}};
            struct px_circuits_out out;
            struct px_path path = {.remote = both[i]->addr};
            uint8_t ping[PX_RELAY_PING_LEN];
            px_relay_ping_put(ping, PX_RELAY_PING, &legs[i], &nonce);
            px_relay_server_packets(w.server, &path, ping, sizeof(ping), sizeof(ping), w.now, &out);
        }
        w.now += PX_SEC;
        px_relay_server_run(w.server, w.now);
    }
    CHECK(w.now >= until && w.now <= until + PX_CIRCUIT_SWEEP);
    CHECK_INT(a.last.status, PX_RELAY_TIME_USED);
    CHECK_INT(b.last.status, PX_RELAY_TIME_USED);
    CHECK_INT(hits(PX_RELAY_LIMIT_CIRCUIT_TIME), 1);
    leave(&a);
    leave(&b);
    end();
}

TEST(a_silent_leg_ends_its_circuit_after_60_s)
{
    struct raw a, b;
    struct pair p;
    start(false, NULL);
    open_circuit(&p, MEMBER, &a, &b);
    px_nsec began = w.now;
    while (stats().circuits.open == 1) {
        w.now += PX_SEC;
        px_relay_server_run(w.server, w.now);
        CHECK(w.now < began + 100 * PX_SEC);
    }
    CHECK(w.now >= began + 60 * PX_SEC && w.now <= began + 60 * PX_SEC + PX_CIRCUIT_SWEEP);
    CHECK_INT(a.last.status, PX_RELAY_IDLE);
    CHECK_INT(b.last.status, PX_RELAY_IDLE);
    CHECK_INT(hits(PX_RELAY_LIMIT_CIRCUIT_IDLE), 1);
    leave(&a);
    leave(&b);
    end();
}

TEST(a_callee_that_consents_and_does_not_bind_fails_the_connection)
{
    struct raw a, b;
    start(false, NULL);
    join(&a, MEMBER, 1, 1);
    join(&b, MEMBER, 2, 2);
    CHECK_INT(reserve(&b), PX_RELAY_OK);
    CHECK_INT(call(&a, MEMBER, 2), PX_RELAY_OK);
    const struct px_relay_msg yes = {
        .type = PX_RELAY_MSG_CONSENT, .leg = b.last.leg, .status = PX_RELAY_OK};
    (void)ask(&b, yes);
    w.now += 10 * PX_SEC - 1;
    px_relay_server_run(w.server, w.now);
    CHECK_INT(stats().circuits.circuits, 1);
    w.now += PX_CIRCUIT_SWEEP;
    px_relay_server_run(w.server, w.now);
    CHECK_INT(a.last.status, PX_RELAY_CONNECTION_FAILED);
    CHECK_INT(b.last.status, PX_RELAY_CONNECTION_FAILED);
    leave(&a);
    leave(&b);
    end();
}

/* ---- requests ---- */

TEST(a_node_asks_200_times_at_once_and_50_times_a_second)
{
    struct raw a;
    const struct px_relay_msg observe = {.type = PX_RELAY_MSG_OBSERVE};
    unsigned answered = 0;
    start(false, NULL);
    join(&a, MEMBER, 1, 1);
    for (int i = 0; i < 200; i++) {
        (void)ask(&a, observe);
        CHECK_INT(a.last.type, PX_RELAY_MSG_OBSERVED);
    }
    static const enum px_relay_msg_type any[] = {PX_RELAY_MSG_OBSERVE, PX_RELAY_MSG_RESERVE,
                                                 PX_RELAY_MSG_CONNECT, PX_RELAY_MSG_TOTALS};
    for (size_t i = 0; i < PX_ARRAY_LEN(any); i++) { /* `status`, whatever it asked */
        CHECK_INT(ask(&a, (struct px_relay_msg){.type = any[i]}), PX_RELAY_RATE_LIMITED);
        CHECK_INT(a.last.type, PX_RELAY_MSG_STATUS);
        CHECK_INT(a.last.request, w.request);
    }
    CHECK_INT(stats().reservations, 0); /* was not carried out */
    CHECK_INT(hits(PX_RELAY_LIMIT_REQUESTS), PX_ARRAY_LEN(any));
    /* these three are free */
    CHECK_INT(ask(&a, (struct px_relay_msg){.type = PX_RELAY_MSG_PADDING}),
              PX_RELAY_UNEXPECTED_MESSAGE);
    unsigned frames = a.frames;
    (void)ask(&a, (struct px_relay_msg){.type = PX_RELAY_MSG_END});
    (void)ask(&a, (struct px_relay_msg){.type = PX_RELAY_MSG_CONSENT});
    CHECK_INT(a.frames, frames);
    for (int ms = 0; ms < 2000; ms++) {
        w.now += PX_MSEC;
        (void)ask(&a, observe);
        answered += a.last.type == PX_RELAY_MSG_OBSERVED;
    }
    CHECK_INT(answered, 100);
    leave(&a);
    end();
}

TEST(one_dial_back_at_a_time_and_12_a_minute)
{
    struct raw a;
    start(false, NULL);
    join(&a, MEMBER, 1, 1);
    struct px_relay_msg probe = {.type = PX_RELAY_MSG_PROBE, .address = a.addr};
    px_nsec began = w.now;
    for (int i = 0; i < 12; i++) {
        CHECK_INT(ask(&a, probe), 0); /* under way */
        CHECK_INT(a.last.type, PX_RELAY_MSG_NONE);
        CHECK_INT(ask(&a, probe), PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
        for (int k = 0; k < 11; k++, w.now += 300 * PX_MSEC)
            px_relay_server_run(w.server, w.now);
        CHECK_INT(a.last.status, PX_RELAY_UNREACHABLE);
    }
    CHECK_INT(w.probes, 12 * PX_RELAY_PROBES);
    unsigned more = 0;
    while (ask(&a, probe) != PX_RELAY_RATE_LIMITED) { /* what these 40 s made, and so on */
        CHECK(++more < 30);
        for (int k = 0; k < 11; k++, w.now += 300 * PX_MSEC)
            px_relay_server_run(w.server, w.now);
    }
    CHECK(12 + more <= 12 + (w.now - began) / (5 * PX_SEC));
    CHECK_INT(hits(PX_RELAY_LIMIT_PROBES), 1);
    w.now += 5 * PX_SEC;
    CHECK_INT(ask(&a, probe), 0);
    leave(&a);
    end();
}

TEST(another_address_costs_30000_bytes_within_20_s)
{
    static const uint8_t zeros[PX_RELAY_PADDING_MAX];
    struct raw a;
    start(false, NULL);
    join(&a, MEMBER, 1, 1);
    struct px_relay_msg probe = {.type = PX_RELAY_MSG_PROBE, .address = a.addr};
    struct px_relay_msg padding = {.type = PX_RELAY_MSG_PADDING,
                                   .padding = px_slice(zeros, sizeof(zeros))};
    probe.address.ip[3] = 77;
    for (int round = 0; round < 2; round++) {
        CHECK_INT(ask(&a, probe), PX_RELAY_DATA_NEEDED);
        CHECK_INT(a.last.bytes, 30000);
        uint32_t request = w.request;
        for (int i = 0; i < 7; i++) { /* 28 000 */
            w.request = request - 1;
            (void)ask(&a, padding);
        }
        px_relay_server_run(w.server, w.now);
        CHECK_INT(w.probes, 0);
        if (round == 0) { /* too late */
            w.now += PX_RELAY_PROBE_DATA_TIME;
            px_relay_server_run(w.server, w.now);
            CHECK_INT(a.last.status, PX_RELAY_UNREACHABLE);
            continue;
        }
        padding.padding.len = 1999;
        w.request = request - 1;
        (void)ask(&a, padding);
        px_relay_server_run(w.server, w.now);
        CHECK_INT(w.probes, 0);
        padding.padding.len = 1;
        w.request = request - 1;
        (void)ask(&a, padding);
        px_relay_server_run(w.server, w.now);
        CHECK_INT(w.probes, 1);
    }
    leave(&a);
    end();
}

/* ---- who is unknown ---- */

static void open_invite(struct raw *m)
{
    const struct px_relay_msg invite = {
        .type = PX_RELAY_MSG_INVITE, .ttl_ms = 600000, .secret = {1}};
    join(m, MEMBER, 1, 60000);
    CHECK_INT(ask(m, invite), PX_RELAY_OK);
}

TEST(of_64_unknown_nodes_one_must_go_before_another_is_heard)
{
    static struct raw n[66];
    struct raw m;
    start(false, NULL);
    open_invite(&m);
    const struct px_peer_id next = id_of(STRANGER, 999);
    for (unsigned i = 0; i < 64; i++) {
        CHECK(px_relay_server_hears(w.server, &next, w.now));
        join(&n[i], STRANGER, i, i);
        CHECK_INT(n[i].closed, PX_CLOSE_NONE);
    }
    CHECK(!px_relay_server_hears(w.server, &next, w.now));
    join(&n[64], STRANGER, 64, 64); /* whose handshake began while there was room */
    CHECK_INT(n[64].closed, PX_CLOSE_BUSY);
    CHECK_INT(hits(PX_RELAY_LIMIT_UNKNOWN_NODES), 2);
    leave(&n[64]);
    leave(&n[0]);
    CHECK(px_relay_server_hears(w.server, &next, w.now));
    w.now += 5 * PX_SEC - 1;
    px_relay_server_run(w.server, w.now);
    CHECK_INT(n[1].closed, PX_CLOSE_NONE);
    w.now += 1;
    px_relay_server_run(w.server, w.now);
    for (unsigned i = 1; i < 64; i++)
        CHECK_INT(n[i].closed, PX_CLOSE_UNLISTED);
    CHECK_INT(hits(PX_RELAY_LIMIT_UNKNOWN_TIME), 63);
    leave_all(n, 65);
    leave(&m);
    end();
}

TEST(an_unknown_node_is_heard_for_4096_bytes_and_may_only_admit)
{
    static uint8_t junk[4096];
    struct raw m, x;
    start(false, NULL);
    open_invite(&m);
    join(&x, STRANGER, 1, 1);
    static const enum px_relay_msg_type asks[] = {PX_RELAY_MSG_RESERVE, PX_RELAY_MSG_OBSERVE,
                                                  PX_RELAY_MSG_INVITE, PX_RELAY_MSG_TOTALS};
    for (size_t i = 0; i < PX_ARRAY_LEN(asks); i++)
        CHECK_INT(ask(&x, (struct px_relay_msg){.type = asks[i], .ttl_ms = 5000}),
                  PX_RELAY_PERMISSION_DENIED);
    leave(&x);
    memcpy(junk, "\xa2\x00\x18\x63\x01\x59\x0f\xf8", 8); /* {0: 99, 1: 4088 bytes} */
    for (int more = 0; more < 2; more++) {
        join(&x, STRANGER, 1, 1);
        px_relay_session_input(x.session, px_slice(junk, sizeof(junk)), w.now);
        CHECK_INT(x.closed, PX_CLOSE_NONE);
        if (more == 1)
            px_relay_session_input(x.session, px_slice("\xa1\x00\x18\x63", 4), w.now);
        CHECK_INT(x.closed, more == 1 ? PX_CLOSE_OVERRUN : PX_CLOSE_NONE);
        leave(&x);
    }
    CHECK_INT(hits(PX_RELAY_LIMIT_UNKNOWN_BYTES), 1);
    leave(&m);
    end();
}

TEST(a_member_has_32_invites_and_vouches_for_64)
{
    struct raw m;
    start(false, NULL);
    join(&m, MEMBER, 1, 1);
    struct px_relay_msg invite = {.type = PX_RELAY_MSG_INVITE, .ttl_ms = 1000};
    for (uint8_t i = 0; i < 33; i++) {
        invite.secret[0] = i;
        CHECK_INT(ask(&m, invite), i < 32 ? PX_RELAY_OK : PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    }
    CHECK_INT(stats().invites, 32);
    CHECK_INT(hits(PX_RELAY_LIMIT_INVITES), 1);
    w.now += PX_SEC; /* they are over */
    px_relay_server_run(w.server, w.now);
    CHECK_INT(stats().invites, 0);
    CHECK_INT(ask(&m, invite), PX_RELAY_OK);
    struct px_relay_msg vouch = {.type = PX_RELAY_MSG_VOUCH, .on = true};
    for (unsigned i = 0; i < 65; i++) {
        vouch.peer = id_of(STRANGER, i);
        CHECK_INT(ask(&m, vouch), i < 64 ? PX_RELAY_OK : PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    }
    CHECK_INT(hits(PX_RELAY_LIMIT_VOUCHED), 1);
    vouch.peer = id_of(STRANGER, 5);
    vouch.on = false;
    CHECK_INT(ask(&m, vouch), PX_RELAY_OK);
    vouch.peer = id_of(STRANGER, 64);
    vouch.on = true;
    CHECK_INT(ask(&m, vouch), PX_RELAY_OK);
    leave(&m);
    end();
}

/* ---- the audit ---- */

/* Since the last call one thing was told, and this. */
static void check_audit(const char *event, const struct px_peer_id *peer, enum px_relay_class class,
                        enum px_relay_status status, bool with_addr)
{
    const struct px_relay_audit *a = &w.audits[0];
    CHECK_INT(w.audit_count, 1);
    CHECK_STR(a->event, event);
    CHECK(px_peer_id_eq(&w.audit_peer[0], peer));
    CHECK_INT(a->class, class);
    CHECK_INT(a->status, status);
    CHECK_INT(a->addr != NULL, with_addr);
    w.audit_count = 0;
}

TEST(each_admission_and_refusal_is_told_once)
{
    const struct px_peer_id m_id = id_of(MEMBER, 1), x_id = id_of(STRANGER, 1);
    const struct px_relay_msg discover = {.type = PX_RELAY_MSG_DISCOVER,
                                          .name_space = PX_SLICE_LIT("home")};
    struct px_relay_msg invite = {.type = PX_RELAY_MSG_INVITE, .ttl_ms = 60000};
    struct px_relay_msg admit = {.type = PX_RELAY_MSG_ADMIT, .secret = {7}};
    struct px_relay_msg vouch = {.type = PX_RELAY_MSG_VOUCH, .peer = x_id, .on = true};
    struct raw m, x;
    start(false, NULL);
    join(&m, MEMBER, 1, 1);
    check_audit("relay.node_up", &m_id, PX_RELAY_MEMBER, PX_RELAY_OK, true);
    px_sha256(px_slice(admit.secret, sizeof(admit.secret)), invite.secret);
    CHECK_INT(ask(&m, invite), PX_RELAY_OK);
    check_audit("invite.opened", &m_id, PX_RELAY_MEMBER, PX_RELAY_OK, true);
    join(&x, STRANGER, 1, 2);
    check_audit("relay.node_up", &x_id, PX_RELAY_UNKNOWN, PX_RELAY_OK, true);
    CHECK_INT(reserve(&x), PX_RELAY_PERMISSION_DENIED);
    check_audit("relay.refused", &x_id, PX_RELAY_UNKNOWN, PX_RELAY_PERMISSION_DENIED, true);
    admit.secret[0]++;
    CHECK_INT(ask(&x, admit), PX_RELAY_NOT_FOUND);
    check_audit("relay.refused", &x_id, PX_RELAY_UNKNOWN, PX_RELAY_NOT_FOUND, true);
    admit.secret[0]--;
    CHECK_INT(ask(&x, admit), PX_RELAY_OK);
    CHECK(w.audits[0].other != NULL); /* who invited it */
    check_audit("relay.admitted", &x_id, PX_RELAY_JOINER, PX_RELAY_OK, true);
    CHECK_INT(ask(&x, discover), PX_RELAY_PERMISSION_DENIED);
    check_audit("relay.refused", &x_id, PX_RELAY_JOINER, PX_RELAY_PERMISSION_DENIED, true);
    CHECK_INT(call(&x, MEMBER, 1), PX_RELAY_NO_RESERVATION);
    check_audit("circuit.refused", &x_id, PX_RELAY_JOINER, PX_RELAY_NO_RESERVATION, true);
    CHECK_INT(ask(&m, vouch), PX_RELAY_OK);
    CHECK_INT(w.audit_count, 2);
    CHECK_STR(w.audits[0].event, "relay.vouched");
    CHECK(w.audits[0].other != NULL && px_peer_id_eq(&w.audit_peer[0], &x_id));
    CHECK_STR(w.audits[1].event, "relay.class_changed");
    CHECK_INT(w.audits[1].class, PX_RELAY_VOUCHED);
    w.audit_count = 0;
    w.now += 60 * PX_SEC; /* the time as a joiner is over */
    px_relay_server_run(w.server, w.now);
    vouch.on = false;
    CHECK_INT(ask(&m, vouch), PX_RELAY_OK);
    CHECK_INT(w.audit_count, 2);
    CHECK_STR(w.audits[0].event, "relay.unvouched");
    CHECK_STR(w.audits[1].event, "relay.revoked");
    CHECK_INT(w.audits[1].status, PX_RELAY_REVOKED);
    CHECK_INT(w.audits[1].class, PX_RELAY_VOUCHED); /* what it was */
    CHECK_INT(x.closed, PX_CLOSE_REVOKED);
    w.audit_count = 0;
    leave(&x);
    check_audit("relay.node_down", &x_id, PX_RELAY_UNKNOWN, PX_RELAY_OK, true);
    px_relay_session_input(m.session, PX_SLICE_LIT("\xa0"), w.now);
    check_audit("relay.malformed", &m_id, PX_RELAY_MEMBER, PX_RELAY_MALFORMED_MESSAGE, true);
    leave(&m);
    check_audit("relay.node_down", &m_id, PX_RELAY_MEMBER, PX_RELAY_OK, true);
    end();
}

/* ---- the registry ---- */

TEST(a_node_watches_4_namespaces)
{
    static const char *const names[] = {"a", "b", "c", "d", "e"};
    struct raw m;
    start(false, NULL);
    join(&m, MEMBER, 1, 1);
    struct px_relay_msg watch = {.type = PX_RELAY_MSG_WATCH, .on = true};
    for (size_t i = 0; i < 5; i++) {
        watch.name_space = px_slice_cstr(names[i]);
        CHECK_INT(ask(&m, watch), i < 4 ? PX_RELAY_OK : PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    }
    CHECK_INT(hits(PX_RELAY_LIMIT_WATCHES), 1);
    CHECK_INT(stats().watches, 4);
    watch.on = false;
    watch.name_space = px_slice_cstr("b");
    CHECK_INT(ask(&m, watch), PX_RELAY_OK);
    watch.on = true;
    watch.name_space = px_slice_cstr("e");
    CHECK_INT(ask(&m, watch), PX_RELAY_OK);
    leave(&m);
    end();
}

static void on_changed(void *ctx, const struct px_registry_entry *e, bool gone)
{
    (void)ctx, (void)e, (void)gone;
}

static struct px_registry *registry(void)
{
    static struct px_test_rng seed;
    const struct px_registry_config config = {.rng = px_test_rng(&seed, 1), .changed = on_changed};
    struct px_registry *r;
    CHECK_OK(px_crypto_init());
    CHECK_OK(px_registry_new(&config, &r));
    return r;
}

static enum px_relay_status put_record(struct px_registry *r, const struct px_identity *node,
                                       px_nsec ttl, px_nsec *ret_ttl)
{
    const struct px_record said = {.sequence = 1, .name_space = PX_SLICE_LIT("home")};
    struct px_buf bytes;
    px_buf_init(&bytes, PX_RELAY_RECORD_MAX);
    CHECK_OK(px_record_sign(node, &said, &bytes));
    enum px_relay_status status = px_registry_register(r, &node->id, said.name_space,
                                                       px_buf_slice(&bytes), ttl, PX_SEC, ret_ttl);
    px_buf_deinit(&bytes);
    return status;
}

TEST(a_record_lives_a_minute_to_a_day_and_2_h_by_itself)
{
    static const struct {
        px_nsec asked, got;
    } rows[] = {{0, 7200 * PX_SEC},
                {1, 60 * PX_SEC},
                {59 * PX_SEC, 60 * PX_SEC},
                {61 * PX_SEC, 61 * PX_SEC},
                {86400 * PX_SEC, 86400 * PX_SEC},
                {86401 * PX_SEC, 86400 * PX_SEC}};
    static struct px_test_rng seed;
    const struct px_rng rng = px_test_rng(&seed, 2);
    struct px_registry *r = registry();
    struct px_identity node;
    px_nsec ttl;
    px_identity_generate(&rng, &node);
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        CHECK_INT(put_record(r, &node, rows[i].asked, &ttl), PX_RELAY_OK);
        CHECK_INT(ttl, rows[i].got);
    }
    px_registry_free(r);
}

TEST(a_namespace_has_4096_records)
{
    static struct px_test_rng seed;
    const struct px_rng rng = px_test_rng(&seed, 3);
    struct px_registry *r = registry();
    struct px_identity node, first;
    px_nsec ttl;
    for (unsigned i = 0; i < 4096; i++) {
        px_identity_generate(&rng, &node);
        if (i == 0)
            first = node;
        CHECK_INT(put_record(r, &node, 0, &ttl), PX_RELAY_OK);
    }
    px_identity_generate(&rng, &node);
    CHECK_INT(put_record(r, &node, 0, &ttl), PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    CHECK_INT(put_record(r, &first, 0, &ttl), PX_RELAY_OK); /* is there already */
    CHECK(px_registry_unregister(r, &first.id, PX_SLICE_LIT("home")));
    CHECK_INT(put_record(r, &node, 0, &ttl), PX_RELAY_OK);
    px_registry_free(r);
}

/* Two endpoints wired in memory on a virtual clock: handshake, streams, loss, ends, abuse. All of
 * quic_endpoint.c, quic_conn.c, quic_callbacks.c, quic_path.c, quic_stream.c, quic_write.c,
 * quic_tls.c and quic_error.c is under test through quic.h. */
#include <stdlib.h>

#include "proto/close.h"
#include "tests/test.h"
#include "transport/quic_internal.h" /* to provoke what no public call can */

#define PATTERN_LEN 251 /* a prime, so that shifted data never matches */
#define STREAMS     160

/* What one side of a connection saw and wants to send. */
struct side {
    struct px_quic_conn *conn;
    bool secured, closed, auto_consume, raise, ask_streams;
    uint8_t exporter[PX_QUIC_EXPORTER_LEN];
    int close_err;
    uint64_t close_code;
    bool closed_by_peer;
    size_t opened, streams_closed, writable, blocked_count, available;
    int64_t last_opened, reset_id, stop_id;
    uint64_t reset_code, stop_code;
    uint64_t close_on_recv; /* closes the connection with this code at the first stream data */
    bool bad_data, meddle;  /* calls back into the connection from next and sent */
    size_t meddled;
    bool trusting; /* allows every path at once that something comes on */
    size_t strays, path_changes, silences;
    const px_nsec *now;
    struct lane {
        bool sending, blocked, fin_sent, fin_received;
        uint64_t total, sent, acked, received, unconsumed;
    } lanes[STREAMS]; /* by id / 4 for client bidi (0), others by lane_of */
};

static uint8_t pattern[PATTERN_LEN + 65536];

/* Client bidi, server bidi and uni streams share the table: enough for the tests here. */
static struct lane *lane_of(struct side *s, int64_t id)
{
    size_t i = (size_t)(id / 4) + (size_t)(id & 3) * (STREAMS / 4);
    px_assert(i < STREAMS);
    return &s->lanes[i];
}

static int64_t id_of(size_t lane)
{
    return (int64_t)(lane % (STREAMS / 4)) * 4 + (int64_t)(lane / (STREAMS / 4));
}

static void on_secured(void *ctx)
{
    struct side *s = ctx;
    CHECK(!s->secured);
    s->secured = true;
    CHECK_OK(px_quic_conn_exporter(s->conn, s->exporter));
    if (s->raise)
        px_quic_conn_raise_windows(s->conn);
}

static void on_opened(void *ctx, int64_t id)
{
    struct side *s = ctx;
    CHECK(s->secured);
    s->opened++;
    s->last_opened = id;
}

static void on_recv(void *ctx, int64_t id, struct px_slice data, bool fin)
{
    struct side *s = ctx;
    struct lane *l = lane_of(s, id);
    CHECK(s->secured && !s->closed && !l->fin_received);
    size_t at = l->received % PATTERN_LEN;
    for (size_t i = 0; i < data.len; i++)
        s->bad_data |= data.data[i] != pattern[(at + i) % PATTERN_LEN];
    l->received += data.len;
    l->fin_received = fin;
    if (s->auto_consume)
        px_quic_consume(s->conn, id, data.len);
    else
        l->unconsumed += data.len;
    if (s->close_on_recv != 0)
        px_quic_conn_close(s->conn, s->close_on_recv);
}

static void on_acked(void *ctx, int64_t id, uint64_t n)
{
    struct lane *l = lane_of(ctx, id);
    l->acked += n;
    CHECK(l->acked <= l->sent);
}

static void on_reset(void *ctx, int64_t id, uint64_t code)
{
    struct side *s = ctx;
    s->reset_id = id;
    s->reset_code = code;
}

static void on_stop(void *ctx, int64_t id, uint64_t code)
{
    struct side *s = ctx;
    s->stop_id = id;
    s->stop_code = code;
}

static void on_writable(void *ctx, int64_t id)
{
    struct side *s = ctx;
    s->writable++;
    lane_of(s, id)->blocked = false;
    px_quic_conn_wake(s->conn);
}

static void on_stream_closed(void *ctx, int64_t id)
{
    struct side *s = ctx;
    s->streams_closed++;
    lane_of(s, id)->sending = false;
}

static void on_available(void *ctx)
{
    ((struct side *)ctx)->available++;
}

static void on_next(void *ctx, int64_t *ret_id, struct px_slice *vec, size_t cap, size_t *ret_count,
                    bool *ret_fin)
{
    struct side *s = ctx;
    if (s->meddle) {
        int64_t id;
        if (s->meddled++ < STREAMS / 8 && px_quic_stream_open(s->conn, false, &id) == 0)
            *lane_of(s, id) = (struct lane){.sending = true, .total = 10};
        px_quic_consume(s->conn, 0, 1);
        px_quic_conn_wake(s->conn);
    }
    for (size_t i = 0; i < STREAMS; i++) {
        struct lane *l = &s->lanes[i];
        if (!l->sending || l->blocked || l->fin_sent)
            continue;
        uint64_t left = l->total - l->sent;
        size_t at = l->sent % PATTERN_LEN;
        size_t n = (size_t)PX_MIN(left, 4096);
        /* In two pieces, to have more than one. */
        vec[0] = px_slice(pattern + at, n / 2);
        vec[1] = px_slice(pattern + at + n / 2, n - n / 2);
        CHECK(cap >= 2);
        *ret_id = id_of(i);
        *ret_count = 2;
        *ret_fin = n == left;
        return;
    }
}

static void on_sent(void *ctx, int64_t id, uint64_t n, bool fin)
{
    struct lane *l = lane_of(ctx, id);
    l->sent += n;
    l->fin_sent = fin;
    CHECK(!fin || l->sent == l->total);
}

static void on_blocked(void *ctx, int64_t id)
{
    struct side *s = ctx;
    s->blocked_count++;
    lane_of(s, id)->blocked = true;
}

static void on_closed(void *ctx, int err, uint64_t code, bool by_peer)
{
    struct side *s = ctx;
    CHECK(!s->closed);
    s->closed = true;
    s->close_err = err;
    s->close_code = code;
    s->closed_by_peer = by_peer;
    s->conn = NULL;
}

static void on_path_changed(void *ctx)
{
    ((struct side *)ctx)->path_changes++;
}

static void on_silent(void *ctx)
{
    ((struct side *)ctx)->silences++;
}

static void on_stray(void *ctx, const struct px_path *path, size_t len)
{
    struct side *s = ctx;
    s->strays++;
    CHECK(len > 0 && !px_quic_conn_allows(s->conn, path, *s->now));
    if (s->trusting)
        px_quic_conn_allow(s->conn, path, *s->now);
}

static const struct px_quic_conn_ops side_ops = {
    .secured = on_secured,
    .stream_opened = on_opened,
    .stream_recv = on_recv,
    .stream_acked = on_acked,
    .stream_reset = on_reset,
    .stream_stop = on_stop,
    .stream_writable = on_writable,
    .stream_closed = on_stream_closed,
    .streams_available = on_available,
    .path_changed = on_path_changed,
    .silent = on_silent,
    .stray = on_stray,
    .next = on_next,
    .sent = on_sent,
    .blocked = on_blocked,
    .closed = on_closed,
};

/* --- the network --- */

#define DATAGRAMS_MAX 8192

struct datagram {
    struct px_path path; /* as the receiver sees it */
    size_t to;           /* endpoint index */
    px_nsec at;
    size_t len;
    unsigned ecn;
    uint8_t data[9000];
};

struct world;
struct port {
    struct world *w;
    size_t index;
    struct px_quic *q;
    struct px_addr addr;
    struct px_test_rng rng_state;
    bool full;         /* send says PX_EAGAIN */
    size_t full_every; /* … at every n-th call, once each */
    size_t send_calls, sent_datagrams, batches_of_many;
};

struct world {
    px_nsec now, delay;
    size_t drop_every; /* every n-th datagram is lost */
    size_t mtu;        /* larger datagrams are lost; 0: none is too large */
    uint16_t rebound;  /* a NAT shows the dialler under this port, if not 0 */
    uint16_t dead;     /* what goes from or to the dialler's port of this number is lost, */
    uint16_t mute;     /* what it sends from this one, after so many that pass */
    size_t mute_after;
    bool both; /* the dialler hears at every port it ever had, not at its last alone */
    size_t passed;
    struct port ports[2]; /* 0 dials, 1 accepts */
    struct side sides[2];
    struct side *spare; /* for accepted connections after the first */
    size_t spare_count, spare_cap, accepted;
    bool refuse;
    struct datagram *queue;
    size_t head, tail; /* ring */
};

static void push(struct world *w, const struct port *from, const struct px_path *path, unsigned ecn,
                 struct px_slice data)
{
    w->passed++;
    if ((w->mtu != 0 && data.len > w->mtu) ||
        (w->drop_every != 0 && w->passed % w->drop_every == 0))
        return;
    uint16_t dialler = from->index == 0 ? path->local.port : path->remote.port;
    if (dialler == w->dead)
        return;
    if (from->index == 0 && dialler == w->mute && w->mute_after-- == 0) {
        w->mute_after = 0;
        return;
    }
    struct datagram *d = &w->queue[w->tail % DATAGRAMS_MAX];
    CHECK(w->tail - w->head < DATAGRAMS_MAX);
    w->tail++;
    CHECK(data.len <= sizeof(d->data));
    *d = (struct datagram){.to = 1 - from->index, .at = w->now + w->delay, .ecn = ecn};
    d->path.local = path->remote;
    d->path.remote = path->local;
    if (w->rebound != 0 && from->index == 0)
        d->path.remote.port = w->rebound;
    if (w->rebound != 0 && from->index == 1 && path->remote.port != w->rebound) {
        w->tail--; /* the old mapping is gone */
        return;
    }
    if (from->index == 1 && !w->both)
        d->path.local.port = w->ports[0].addr.port;
    d->len = data.len;
    memcpy(d->data, data.data, data.len);
}

static int net_send(void *ctx, const struct px_path *path, unsigned ecn, struct px_slice data,
                    size_t segment)
{
    struct port *p = ctx;
    p->send_calls++;
    if (p->full || (p->full_every != 0 && p->send_calls % p->full_every == 0))
        return PX_EAGAIN;
    CHECK(segment > 0 && data.len > 0 && data.len <= 65507);
    CHECK((data.len + segment - 1) / segment <= 64);
    p->batches_of_many += data.len > segment;
    while (data.len > 0) {
        struct px_slice one = px_slice_take(data, segment);
        push(p->w, p, path, ecn, one);
        p->sent_datagrams++;
        data = px_slice_skip(data, one.len);
    }
    return 0;
}

static int on_accept(void *ctx, struct px_quic_conn *c, const struct px_quic_conn_ops **ret_ops,
                     void **ret_ctx)
{
    struct world *w = ctx;
    if (w->refuse)
        return PX_EBUSY;
    w->accepted++;
    struct side *s = &w->sides[1];
    if (s->conn != NULL || s->closed) {
        px_assert(w->spare_count < w->spare_cap);
        s = &w->spare[w->spare_count++];
    }
    s->conn = c;
    *ret_ops = &side_ops;
    *ret_ctx = s;
    return 0;
}

static struct px_quic_config port_config(struct world *w, size_t i)
{
    struct port *p = &w->ports[i];
    return (struct px_quic_config){
        .rng = px_test_rng(&p->rng_state, 100 + i),
        .net = {.send = net_send, .ctx = p},
        .accept = i == 1 ? on_accept : NULL,
        .accept_ctx = w,
    };
}

static void world_init(struct world *w, const struct px_quic_config *override)
{
    memset(w, 0, sizeof(*w));
    w->sides[0].now = w->sides[1].now = &w->now;
    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = (uint8_t)(i % PATTERN_LEN);
    w->now = 1000 * PX_SEC;
    w->delay = 5 * PX_MSEC;
    w->queue = calloc(DATAGRAMS_MAX, sizeof(*w->queue));
    px_assert(w->queue != NULL);
    for (size_t i = 0; i < 2; i++) {
        struct port *p = &w->ports[i];
        p->w = w;
        p->index = i;
        p->addr = (struct px_addr){
            .ip = {10, 0, 0, (uint8_t)(i + 1)}, .port = 4000, .family = PX_ADDR_IP4};
        w->sides[i].auto_consume = w->sides[i].raise = true;
        struct px_quic_config cfg = port_config(w, i);
        if (override != NULL) {
            cfg.conns_max = override->conns_max;
            cfg.max_udp_payload = override->max_udp_payload;
            cfg.stream_window = override->stream_window;
            cfg.cubic = override->cubic;
            cfg.keep_alive = override->keep_alive;
            cfg.idle_timeout = override->idle_timeout;
        }
        CHECK_OK(px_quic_new(&cfg, &p->q));
    }
}

static void world_deinit(struct world *w)
{
    for (size_t i = 0; i < 2; i++)
        px_quic_free(w->ports[i].q);
    free(w->queue);
    free(w->spare);
}

static void dial(struct world *w, struct side *s)
{
    struct px_path path = {.local = w->ports[0].addr, .remote = w->ports[1].addr};
    CHECK_OK(px_quic_dial(w->ports[0].q, &path, &side_ops, s, w->now, &s->conn));
}

static void run_all(struct world *w)
{
    for (size_t i = 0; i < 2; i++) {
        struct port *p = &w->ports[i];
        if (p->full_every != 0)
            px_quic_writable(p->q);
        px_quic_run(p->q, w->now);
    }
}

/* Delivers what is due, then runs both ends. */
static void deliver(struct world *w)
{
    while (w->head < w->tail && w->queue[w->head % DATAGRAMS_MAX].at <= w->now) {
        struct datagram *d = &w->queue[w->head % DATAGRAMS_MAX];
        w->head++;
        px_quic_input(w->ports[d->to].q, &d->path, d->ecn, px_slice(d->data, d->len), w->now);
    }
    run_all(w);
}

/* Advances to the next event; false if there is none before `until`. */
static bool step(struct world *w, px_nsec until)
{
    px_nsec next = w->head < w->tail ? w->queue[w->head % DATAGRAMS_MAX].at : PX_NEVER;
    for (size_t i = 0; i < 2; i++)
        next = PX_MIN(next, px_quic_deadline(w->ports[i].q));
    if (w->ports[0].full_every != 0) /* a socket is writable again after a while */
        next = PX_MIN(next, w->now + PX_MSEC);
    if (next > until)
        return false;
    w->now = PX_MAX(w->now, next);
    deliver(w);
    return true;
}

static void run_for(struct world *w, px_nsec d)
{
    px_nsec until = w->now + d;
    run_all(w);
    for (size_t steps = 0; step(w, until); steps++)
        CHECK(steps < 200000); /* a deadline that never moves would spin */
    w->now = until;
}

static void connect_both(struct world *w)
{
    dial(w, &w->sides[0]);
    run_for(w, PX_SEC);
    CHECK(w->sides[0].secured && w->sides[1].secured);
}

static int64_t open_and_send(struct side *s, bool uni, uint64_t n)
{
    int64_t id;
    CHECK_OK(px_quic_stream_open(s->conn, uni, &id));
    *lane_of(s, id) = (struct lane){.sending = true, .total = n};
    px_quic_conn_wake(s->conn);
    return id;
}

/* --- tests --- */

TEST(handshake_secures_both_ends_with_one_exporter)
{
    static struct world w;
    world_init(&w, NULL);
    dial(&w, &w.sides[0]);
    uint8_t none[PX_QUIC_EXPORTER_LEN];
    CHECK_ERR(px_quic_conn_exporter(w.sides[0].conn, none), PX_ESTATE);
    CHECK(px_quic_conn_is_client(w.sides[0].conn));
    px_nsec start = w.now;
    while (!w.sides[0].secured)
        CHECK(step(&w, start + PX_SEC));
    CHECK_INT(w.now - start, 2 * w.delay); /* one round trip */
    run_for(&w, PX_SEC);
    CHECK(w.sides[1].secured && !px_quic_conn_is_client(w.sides[1].conn));
    CHECK(memcmp(w.sides[0].exporter, w.sides[1].exporter, PX_QUIC_EXPORTER_LEN) == 0);
    static const uint8_t zero[PX_QUIC_EXPORTER_LEN];
    CHECK(memcmp(w.sides[0].exporter, zero, PX_QUIC_EXPORTER_LEN) != 0);
    struct px_path path;
    px_quic_conn_path(w.sides[1].conn, &path);
    CHECK(px_addr_eq(&path.remote, &w.ports[0].addr) && px_addr_eq(&path.local, &w.ports[1].addr));
    world_deinit(&w);
}

TEST(streams_carry_data_both_ways_to_their_end)
{
    static struct world w;
    world_init(&w, NULL);
    connect_both(&w);
    enum { N = 3000000 };
    int64_t a = open_and_send(&w.sides[0], false, N);
    int64_t b = open_and_send(&w.sides[1], false, N);
    int64_t u = open_and_send(&w.sides[1], true, 100);
    run_for(&w, 20 * PX_SEC);
    struct lane *la = lane_of(&w.sides[1], a), *lb = lane_of(&w.sides[0], b),
                *lu = lane_of(&w.sides[0], u);
    CHECK_INT(la->received, N);
    CHECK_INT(lb->received, N);
    CHECK_INT(lu->received, 100);
    CHECK(la->fin_received && lb->fin_received && lu->fin_received);
    CHECK(!w.sides[0].bad_data && !w.sides[1].bad_data);
    CHECK_INT(lane_of(&w.sides[0], a)->acked, N);
    CHECK_INT(lane_of(&w.sides[1], u)->acked, 100);
    CHECK_INT(w.sides[1].opened, 1);
    CHECK_INT(w.sides[0].opened, 2);
    CHECK_INT(w.sides[0].streams_closed, 1); /* u; the others have the other half open */
    CHECK(w.ports[0].batches_of_many > 0);
    struct px_quic_stats stats;
    px_quic_conn_stats(w.sides[0].conn, &stats);
    CHECK(stats.bytes_sent > N && stats.packets_sent > N / stats.max_udp_payload);
    CHECK(stats.rtt_ns >= 2 * w.delay && stats.rtt_ns < 4 * w.delay);
    world_deinit(&w);
}

TEST(packets_grow_to_what_the_path_carries_and_no_further)
{
    static const struct {
        size_t mtu, want;
    } rows[] = {{0, 8952}, {9000, 8952}, {8951, 1452}, {1452, 1452}, {1451, 1444}, {1279, 1200}};
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        static struct world w;
        world_init(&w, NULL);
        w.mtu = rows[i].mtu;
        connect_both(&w);
        enum { N = 2000000 };
        int64_t id = open_and_send(&w.sides[0], false, N);
        run_for(&w, 20 * PX_SEC);
        CHECK_INT(lane_of(&w.sides[1], id)->received, N);
        struct px_quic_stats stats;
        px_quic_conn_stats(w.sides[0].conn, &stats);
        CHECK_INT(stats.max_udp_payload, rows[i].want);
        world_deinit(&w);
    }
}

TEST(a_stream_with_both_halves_finished_is_closed_at_both_ends)
{
    static struct world w;
    world_init(&w, NULL);
    connect_both(&w);
    int64_t id = open_and_send(&w.sides[0], false, 10);
    run_for(&w, PX_SEC);
    CHECK_INT(w.sides[1].last_opened, id);
    *lane_of(&w.sides[1], id) = (struct lane){.sending = true, .total = 0}; /* fin alone */
    px_quic_conn_wake(w.sides[1].conn);
    run_for(&w, PX_SEC);
    CHECK(lane_of(&w.sides[0], id)->fin_received);
    CHECK_INT(w.sides[0].streams_closed, 1);
    CHECK_INT(w.sides[1].streams_closed, 1);
    world_deinit(&w);
}

TEST(unconsumed_data_stops_the_sender_and_consuming_wakes_it)
{
    static struct world w;
    const struct px_quic_config small = {.stream_window = 100000};
    world_init(&w, &small);
    w.sides[1].auto_consume = false;
    connect_both(&w);
    int64_t id = open_and_send(&w.sides[0], false, 300000);
    run_for(&w, 5 * PX_SEC);
    struct lane *l = lane_of(&w.sides[1], id);
    CHECK_INT(l->received, 100000);
    CHECK_INT(w.sides[0].blocked_count, 1);
    CHECK_INT(w.sides[0].writable, 0);
    for (int i = 0; i < 10; i++) {
        px_quic_consume(w.sides[1].conn, id, l->unconsumed);
        l->unconsumed = 0;
        run_for(&w, PX_SEC);
    }
    CHECK_INT(l->received, 300000);
    CHECK(l->fin_received && w.sides[0].writable > 0 && !w.sides[1].bad_data);
    world_deinit(&w);
}

TEST(before_windows_are_raised_all_streams_together_get_64_kib)
{
    static struct world w;
    world_init(&w, NULL);
    w.sides[1].auto_consume = w.sides[1].raise = false;
    connect_both(&w);
    int64_t a = open_and_send(&w.sides[0], false, 50000);
    int64_t b = open_and_send(&w.sides[0], true, 50000);
    run_for(&w, 5 * PX_SEC);
    CHECK_INT(lane_of(&w.sides[1], a)->received + lane_of(&w.sides[1], b)->received, 65536);
    px_quic_conn_raise_windows(w.sides[1].conn);
    run_for(&w, PX_SEC);
    CHECK(lane_of(&w.sides[1], a)->fin_received && lane_of(&w.sides[1], b)->fin_received);
    /* Now streams opened before and after have the large window. */
    int64_t c = open_and_send(&w.sides[0], false, 900000);
    run_for(&w, 5 * PX_SEC);
    CHECK_INT(lane_of(&w.sides[1], c)->received, 900000);
    world_deinit(&w);
}

TEST(a_consuming_receiver_never_blocks_a_sender_for_long_at_100_ms)
{
    static struct world w;
    world_init(&w, NULL);
    w.delay = 50 * PX_MSEC;
    connect_both(&w);
    px_nsec start = w.now;
    enum { N = 40000000 };
    int64_t id = open_and_send(&w.sides[0], false, N);
    while (!lane_of(&w.sides[1], id)->fin_received)
        CHECK(step(&w, start + 60 * PX_SEC));
    /* Slow start included: with a window stuck at 1 MiB it would take 3.8 s, at 64 KiB 61 s. */
    CHECK(w.now - start < 3 * PX_SEC);
    CHECK(!w.sides[1].bad_data);
    world_deinit(&w);
}

TEST(data_survives_loss_and_full_sockets)
{
    static const struct {
        size_t drop_every, full_every;
        bool cubic;
    } cases[] = {{7, 0, false}, {13, 0, true}, {0, 3, false}, {11, 2, false}};
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++) {
        static struct world w;
        const struct px_quic_config cfg = {.cubic = cases[i].cubic};
        world_init(&w, &cfg);
        w.drop_every = cases[i].drop_every;
        w.ports[0].full_every = w.ports[1].full_every = cases[i].full_every;
        dial(&w, &w.sides[0]);
        run_for(&w, 3 * PX_SEC);
        CHECK(w.sides[0].secured && w.sides[1].secured);
        int64_t a = open_and_send(&w.sides[0], false, 400000);
        int64_t b = open_and_send(&w.sides[1], true, 400000);
        run_for(&w, 60 * PX_SEC);
        CHECK(lane_of(&w.sides[1], a)->fin_received && lane_of(&w.sides[0], b)->fin_received);
        CHECK_INT(lane_of(&w.sides[0], a)->acked, 400000);
        CHECK(!w.sides[0].bad_data && !w.sides[1].bad_data);
        struct px_quic_stats stats;
        px_quic_conn_stats(w.sides[0].conn, &stats);
        CHECK((stats.packets_lost > 0) == (cases[i].drop_every != 0));
        world_deinit(&w);
    }
}

TEST(a_full_socket_keeps_the_batch_until_it_is_writable)
{
    static struct world w;
    world_init(&w, NULL);
    connect_both(&w);
    int64_t id = open_and_send(&w.sides[0], false, 20000);
    w.ports[0].full = true;
    px_quic_run(w.ports[0].q, w.now);
    CHECK(px_quic_deadline(w.ports[0].q) == PX_NEVER);
    size_t calls = w.ports[0].send_calls;
    px_quic_run(w.ports[0].q, w.now);
    CHECK_INT(w.ports[0].send_calls, calls); /* asks no more until told */
    w.ports[0].full = false;
    px_quic_writable(w.ports[0].q);
    run_for(&w, PX_SEC);
    CHECK(lane_of(&w.sides[1], id)->fin_received);
    struct px_quic_stats stats;
    px_quic_conn_stats(w.sides[0].conn, &stats);
    CHECK_INT(stats.packets_lost, 0);
    world_deinit(&w);
}

TEST(reset_and_stop_reach_the_peer_with_their_codes)
{
    static struct world w;
    world_init(&w, NULL);
    connect_both(&w);
    int64_t id = open_and_send(&w.sides[0], false, 1u << 30);
    run_for(&w, 100 * PX_MSEC);
    px_quic_stream_reset(w.sides[0].conn, id, 77);
    lane_of(&w.sides[0], id)->sending = false;
    px_quic_stream_stop(w.sides[0].conn, id, 78);
    run_for(&w, PX_SEC);
    CHECK_INT(w.sides[1].reset_id, id);
    CHECK_INT(w.sides[1].reset_code, 77);
    CHECK_INT(w.sides[1].stop_id, id);

    CHECK_INT(w.sides[0].streams_closed, 1); /* STOP_SENDING makes the peer reset its half */
    CHECK_INT(w.sides[1].streams_closed, 1);
    /* A direction that a stream has not is left alone. */
    int64_t uni = open_and_send(&w.sides[0], true, 5);
    px_quic_stream_stop(w.sides[0].conn, uni, 1);
    run_for(&w, PX_SEC);
    px_quic_stream_reset(w.sides[1].conn, uni, 1);
    run_for(&w, PX_SEC);
    CHECK(!w.sides[0].closed && !w.sides[1].closed);
    world_deinit(&w);
}

TEST(a_blocked_stream_hears_that_the_peer_stopped_reading)
{
    static struct world w;
    const struct px_quic_config small = {.stream_window = 10000};
    world_init(&w, &small);
    w.sides[1].auto_consume = false;
    connect_both(&w);
    w.sides[0].stop_id = -1;
    int64_t id = open_and_send(&w.sides[0], false, 300000);
    run_for(&w, PX_SEC);
    CHECK(lane_of(&w.sides[0], id)->blocked);
    CHECK_INT(w.sides[0].stop_id, -1);
    px_quic_stream_stop(w.sides[1].conn, id, 5);
    run_for(&w, PX_SEC);
    CHECK_INT(w.sides[0].stop_id, id);
    world_deinit(&w);
}

TEST(small_pieces_of_many_streams_share_packets)
{
    static struct world w;
    world_init(&w, NULL);
    connect_both(&w);
    size_t before = w.ports[0].sent_datagrams;
    for (int i = 0; i < 30; i++)
        open_and_send(&w.sides[0], false, 20);
    px_quic_run(w.ports[0].q, w.now);
    CHECK_INT(w.ports[0].sent_datagrams - before, 1);
    run_for(&w, PX_SEC);
    CHECK_INT(w.sides[1].opened, 30);
    world_deinit(&w);
}

TEST(an_owner_may_call_back_while_it_is_asked_for_data)
{
    static struct world w;
    world_init(&w, NULL);
    connect_both(&w);
    int64_t id = open_and_send(&w.sides[0], false, 20000);
    w.sides[0].meddle = true;
    px_quic_run(w.ports[0].q, w.now);
    w.sides[0].meddle = false;
    run_for(&w, PX_SEC);
    CHECK(lane_of(&w.sides[1], id)->fin_received);
    CHECK(w.sides[1].opened > 10 && !w.sides[1].bad_data && !w.sides[1].closed);
    world_deinit(&w);
}

/* Both sides begin two updates in turn; streams go both ways in between, and some are under way
 * while the keys change. */
TEST(keys_are_updated_again_and_again_after_the_tls_session_was_dropped)
{
    static struct world w;
    world_init(&w, NULL);
    connect_both(&w);
    CHECK(w.sides[0].conn->tls == NULL && w.sides[1].conn->tls == NULL);
    uint8_t exporter[PX_QUIC_EXPORTER_LEN];
    CHECK_OK(px_quic_conn_exporter(w.sides[0].conn, exporter));
    CHECK(memcmp(exporter, w.sides[0].exporter, sizeof(exporter)) == 0);
    for (int i = 0; i < 4; i++) {
        run_for(&w, 15 * PX_SEC); /* next keys are made while something is written later on */
        int64_t early = open_and_send(&w.sides[i % 2], true, 300000);
        CHECK_INT(ngtcp2_conn_initiate_key_update(w.sides[i % 2].conn->conn, w.now), 0);
        int64_t a = open_and_send(&w.sides[0], true, 5000);
        int64_t b = open_and_send(&w.sides[1], true, 5000);
        run_for(&w, PX_SEC);
        CHECK(lane_of(&w.sides[1 - i % 2], early)->fin_received);
        CHECK(lane_of(&w.sides[1], a)->fin_received && lane_of(&w.sides[0], b)->fin_received);
        CHECK(w.sides[0].conn->tls == NULL && w.sides[1].conn->tls == NULL);
    }
    CHECK(!w.sides[0].bad_data && !w.sides[1].bad_data);
    world_deinit(&w);
}

/* SPEC: there are no tickets, no requests for certificates, and TLS's own KeyUpdate is forbidden in
 * QUIC (RFC 9001, 6). TLS is gone by then, so nobody could read them anyway. */
TEST(tls_data_after_the_handshake_closes_the_connection)
{
    static const struct {
        size_t from;
        uint8_t message[8];
        size_t len;
    } rows[] = {
        {1, {4, 0, 0, 1, 0}, 5},                        /* NewSessionTicket */
        {0, {4, 0, 0, 1, 0}, 5},                        /* from a client, which never sends one */
        {1, {13, 0, 0, 3, 0, 0, 0}, 7},                 /* CertificateRequest */
        {0, {24, 0, 0, 1, 1}, 5},                       /* KeyUpdate */
        {1, {24, 0, 0, 1, 1}, 5},       {0, {0xff}, 1}, /* the beginning of nothing known */
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        static struct world w;
        struct side *from = &w.sides[rows[i].from], *to = &w.sides[1 - rows[i].from];
        world_init(&w, NULL);
        connect_both(&w);
        CHECK_INT(ngtcp2_conn_submit_crypto_data(from->conn->conn, NGTCP2_ENCRYPTION_LEVEL_1RTT,
                                                 rows[i].message, rows[i].len),
                  0);
        px_quic_conn_wake(from->conn);
        run_for(&w, PX_SEC);
        CHECK(to->closed && !to->closed_by_peer);
        CHECK_ERR(to->close_err, PX_ETLS);
        CHECK(from->closed && from->closed_by_peer);
        CHECK_ERR(from->close_err, PX_ETLS);
        world_deinit(&w);
    }
}

TEST(late_handshake_packets_change_nothing_once_tls_is_gone)
{
    static struct world w;
    static struct datagram kept[64];
    size_t count = 0;
    world_init(&w, NULL);
    dial(&w, &w.sides[0]);
    for (int i = 0; i < 100 && !(w.sides[0].secured && w.sides[1].secured); i++) {
        run_for(&w, PX_MSEC);
        for (size_t at = w.head; at < w.tail && count < PX_ARRAY_LEN(kept); at++)
            if ((w.queue[at % DATAGRAMS_MAX].data[0] & 0x80) != 0)
                kept[count++] = w.queue[at % DATAGRAMS_MAX];
    }
    run_for(&w, PX_SEC);
    CHECK(count >= 3);
    CHECK(w.sides[0].conn->tls == NULL && w.sides[1].conn->tls == NULL);
    for (size_t i = 0; i < count; i++)
        px_quic_input(w.ports[kept[i].to].q, &kept[i].path, 0, px_slice(kept[i].data, kept[i].len),
                      w.now);
    int64_t id = open_and_send(&w.sides[0], false, 5000);
    run_for(&w, PX_SEC);
    CHECK(lane_of(&w.sides[1], id)->fin_received);
    CHECK(!w.sides[0].closed && !w.sides[1].closed);
    world_deinit(&w);
}

TEST(closing_tells_both_ends_the_code)
{
    static struct world w;
    world_init(&w, NULL);
    connect_both(&w);
    px_quic_conn_close(w.sides[0].conn, PX_CLOSE_UNLISTED);
    CHECK(!w.sides[0].closed); /* never inside the call */
    run_for(&w, 20 * PX_MSEC);
    CHECK(w.sides[0].closed && !w.sides[0].closed_by_peer);
    CHECK_INT(w.sides[0].close_code, PX_CLOSE_UNLISTED);
    CHECK(w.sides[1].closed && w.sides[1].closed_by_peer);
    CHECK_INT(w.sides[1].close_code, PX_CLOSE_UNLISTED);
    CHECK_ERR(w.sides[1].close_err, PX_EREFUSED);
    CHECK_INT(px_quic_conn_count(w.ports[0].q) + px_quic_conn_count(w.ports[1].q), 0);
    run_for(&w, 10 * PX_SEC); /* what lingered is gone, no timer left */
    CHECK(px_quic_deadline(w.ports[0].q) == PX_NEVER);
    CHECK(px_quic_deadline(w.ports[1].q) == PX_NEVER);
    world_deinit(&w);
}

TEST(a_lost_close_is_repeated_when_the_peer_sends_on)
{
    static struct world w;
    world_init(&w, NULL);
    connect_both(&w);
    int64_t id = open_and_send(&w.sides[1], false, 1u << 30);
    run_for(&w, 200 * PX_MSEC);
    CHECK(lane_of(&w.sides[0], id)->received > 0);
    px_quic_conn_close(w.sides[0].conn, PX_CLOSE_BUSY);
    w.drop_every = 1;
    px_quic_run(w.ports[0].q, w.now);
    CHECK(w.sides[0].closed);
    w.drop_every = 0;
    run_for(&w, PX_SEC);
    CHECK(w.sides[1].closed && w.sides[1].closed_by_peer);
    CHECK_INT(w.sides[1].close_code, PX_CLOSE_BUSY);
    world_deinit(&w);
}

TEST(closing_inside_a_callback_is_safe_and_ends_the_events)
{
    static struct world w;
    world_init(&w, NULL);
    connect_both(&w);
    w.sides[1].close_on_recv = PX_CLOSE_PROTOCOL;
    open_and_send(&w.sides[0], false, 100000);
    run_for(&w, PX_SEC);
    CHECK(w.sides[0].closed && w.sides[0].closed_by_peer);
    CHECK_INT(w.sides[0].close_code, PX_CLOSE_PROTOCOL);
    CHECK(w.sides[1].closed && lane_of(&w.sides[1], 0)->received < 8952); /* one packet */
    world_deinit(&w);
}

TEST(a_silent_peer_times_out_and_keep_alive_prevents_it)
{
    static struct world w;
    world_init(&w, NULL);
    connect_both(&w);
    run_for(&w, 300 * PX_SEC);
    CHECK(!w.sides[0].closed && !w.sides[1].closed);
    w.drop_every = 1;
    run_for(&w, 29 * PX_SEC);
    CHECK(!w.sides[0].closed);
    run_for(&w, 41 * PX_SEC);
    CHECK(w.sides[0].closed && !w.sides[0].closed_by_peer);
    CHECK_ERR(w.sides[0].close_err, PX_ETIMEDOUT);
    CHECK_ERR(w.sides[1].close_err, PX_ETIMEDOUT);
    CHECK(px_quic_deadline(w.ports[0].q) == PX_NEVER);
    world_deinit(&w);
}

TEST(dialling_a_dead_address_times_out)
{
    static struct world w;
    world_init(&w, NULL);
    w.drop_every = 1;
    dial(&w, &w.sides[0]);
    run_for(&w, 11 * PX_SEC);
    CHECK(w.sides[0].closed && !w.sides[0].secured);
    CHECK_ERR(w.sides[0].close_err, PX_EHANDSHAKE_TIMEOUT);
    world_deinit(&w);
}

TEST(streams_beyond_the_limit_wait_for_others_to_close)
{
    static struct world w;
    world_init(&w, NULL);
    connect_both(&w);
    size_t opened = 0;
    int64_t id;
    while (px_quic_stream_open(w.sides[0].conn, true, &id) == 0) {
        *lane_of(&w.sides[0], id) = (struct lane){.sending = true, .total = 1};
        opened++;
        CHECK(opened < 100);
    }
    CHECK_INT(opened, 16);
    CHECK_ERR(px_quic_stream_open(w.sides[0].conn, true, &id), PX_EAGAIN);
    size_t available = w.sides[0].available;
    px_quic_conn_wake(w.sides[0].conn);
    run_for(&w, PX_SEC);
    CHECK(w.sides[0].available > available);
    CHECK_OK(px_quic_stream_open(w.sides[0].conn, true, &id));
    world_deinit(&w);
}

TEST(many_half_open_connections_make_the_server_ask_for_a_retry)
{
    static struct world w;
    world_init(&w, NULL);
    w.spare_cap = PX_QUIC_HALF_OPEN_MAX + 8;
    w.spare = calloc(w.spare_cap, sizeof(*w.spare));
    static struct side dialled[PX_QUIC_HALF_OPEN_MAX];
    memset(dialled, 0, sizeof(dialled));
    for (size_t i = 0; i < PX_ARRAY_LEN(dialled); i++)
        dial(&w, &dialled[i]);
    px_quic_run(w.ports[0].q, w.now);
    w.now += w.delay;
    deliver(&w);
    CHECK_INT(w.accepted, PX_QUIC_HALF_OPEN_MAX);
    w.head = w.tail; /* the answers are lost, so they stay half open */
    dial(&w, &w.sides[0]);
    px_nsec start = w.now;
    px_quic_run(w.ports[0].q, w.now);
    w.now += w.delay;
    deliver(&w);
    CHECK_INT(w.accepted, PX_QUIC_HALF_OPEN_MAX); /* asked for a Retry instead */
    while (!w.sides[0].secured)
        CHECK(step(&w, start + PX_SEC));
    CHECK_INT(w.now - start, 4 * w.delay); /* one round trip more */
    run_for(&w, 3 * PX_SEC);
    CHECK_INT(w.accepted, PX_QUIC_HALF_OPEN_MAX + 1);
    world_deinit(&w);
}

TEST(connections_beyond_the_maximum_or_refused_by_the_owner_end_at_once)
{
    static struct world w;
    const struct px_quic_config one = {.conns_max = 1};
    for (int refused_by_owner = 0; refused_by_owner < 2; refused_by_owner++) {
        world_init(&w, &one);
        if (refused_by_owner) {
            w.refuse = true;
        } else {
            connect_both(&w);
            px_quic_free(w.ports[0].q); /* forgets, the server does not */
            CHECK(w.sides[0].closed);
            CHECK_ERR(w.sides[0].close_err, PX_ECANCELED);
            struct px_quic_config cfg = port_config(&w, 0);
            (void)px_test_rng(&w.ports[0].rng_state, 55);
            CHECK_OK(px_quic_new(&cfg, &w.ports[0].q));
        }
        struct side late = {0};
        dial(&w, &late);
        run_for(&w, 100 * PX_MSEC);
        CHECK(late.closed && late.closed_by_peer);
        CHECK_ERR(late.close_err, PX_EBUSY);
        world_deinit(&w);
    }
}

TEST(dialling_twice_the_limit_is_refused_here)
{
    static struct world w;
    const struct px_quic_config one = {.conns_max = 1};
    world_init(&w, &one);
    connect_both(&w);
    struct px_path path = {.local = w.ports[0].addr, .remote = w.ports[1].addr};
    struct px_quic_conn *c;
    CHECK_ERR(px_quic_dial(w.ports[0].q, &path, &side_ops, &w.sides[0], w.now, &c), PX_ELIMIT);
    memset(&path.remote, 0, sizeof(path.remote));
    CHECK_ERR(px_quic_dial(w.ports[0].q, &path, &side_ops, &w.sides[0], w.now, &c), PX_EADDR);
    world_deinit(&w);
}

/* The limit nobody configured, without as many connections: TLS alone would take half a minute. */
TEST(an_endpoint_without_a_limit_of_its_own_has_the_default)
{
    static struct world w;
    struct side more = {0};
    world_init(&w, NULL);
    struct px_quic *q = w.ports[0].q;
    struct px_path path = {.local = w.ports[0].addr, .remote = w.ports[1].addr};
    struct px_quic_conn *c;
    q->total += PX_QUIC_CONNS_MAX - 1;
    dial(&w, &more);
    CHECK_ERR(px_quic_dial(q, &path, &side_ops, &w.sides[0], w.now, &c), PX_ELIMIT);
    q->total -= PX_QUIC_CONNS_MAX - 1;
    world_deinit(&w);
}

TEST(junk_and_cut_or_flipped_packets_change_nothing)
{
    static struct world w;
    world_init(&w, NULL);
    connect_both(&w);
    struct px_path path = {.local = w.ports[1].addr, .remote = w.ports[0].addr};
    struct px_test_rng r;
    struct px_rng rng = px_test_rng(&r, 9);
    size_t sent = w.ports[1].sent_datagrams, accepted = w.accepted;
    uint8_t junk[1400];
    for (size_t i = 0; i < 2000; i++) {
        size_t len = px_test_rng_next(&r) % sizeof(junk);
        rng.fill(rng.ctx, junk, len);
        if (len > 5 && i % 2 == 0) {
            static const uint8_t v1_long[] = {0xc0, 0, 0, 0, 1};
            memcpy(junk, v1_long, sizeof(v1_long));
        }
        px_quic_input(w.ports[1].q, &path, 0, px_slice(junk, len), w.now);
        px_quic_run(w.ports[1].q, w.now);
    }
    px_quic_input(w.ports[1].q, &path, 0, px_slice(NULL, 0), w.now);
    CHECK_INT(w.accepted, accepted);
    CHECK(w.ports[1].sent_datagrams - sent < 1000); /* Version Negotiation for long ones, no more */
    int64_t id = open_and_send(&w.sides[0], false, 1000);
    run_for(&w, PX_SEC);
    CHECK(lane_of(&w.sides[1], id)->fin_received);
    world_deinit(&w);
}

TEST(cut_or_flipped_initials_make_no_connection_and_no_larger_answer)
{
    static struct world w;
    world_init(&w, NULL);
    dial(&w, &w.sides[0]);
    px_quic_run(w.ports[0].q, w.now);
    struct datagram first = w.queue[w.head % DATAGRAMS_MAX];
    CHECK(first.len >= 1200);
    w.head = w.tail;
    for (size_t len = 0; len < 1200; len += 13)
        px_quic_input(w.ports[1].q, &first.path, 0, px_slice(first.data, len), w.now);
    for (size_t at = 30; at < first.len; at += 101) {
        struct datagram bad = first;
        bad.data[at] ^= 1;
        px_quic_input(w.ports[1].q, &bad.path, 0, px_slice(bad.data, bad.len), w.now);
    }
    px_quic_run(w.ports[1].q, w.now);
    CHECK_INT(w.accepted, 0);
    CHECK_INT(w.ports[1].sent_datagrams, 0);
    CHECK_INT(px_quic_conn_count(w.ports[1].q), 0);
    px_quic_input(w.ports[1].q, &first.path, 0, px_slice(first.data, first.len), w.now);
    CHECK_INT(w.accepted, 1);
    world_deinit(&w);
}

TEST(another_version_is_answered_with_the_one_we_speak)
{
    static struct world w;
    world_init(&w, NULL);
    uint8_t packet[1200] = {0xc0, 0x0a, 0x0b, 0x0c, 0x0d, 8, 1, 2, 3, 4, 5, 6, 7, 8, 4, 9, 9, 9, 9};
    struct px_path path = {.local = w.ports[1].addr, .remote = w.ports[0].addr};
    px_quic_input(w.ports[1].q, &path, 0, px_slice(packet, 600), w.now); /* too short to answer */
    CHECK_INT(w.tail - w.head, 0);
    px_quic_input(w.ports[1].q, &path, 0, px_slice(packet, sizeof(packet)), w.now);
    CHECK_INT(w.tail - w.head, 1);
    const struct datagram *d = &w.queue[w.head % DATAGRAMS_MAX];
    static const uint8_t rest[] = {0, 0, 0, 0, 4, 9, 9, 9, 9, 8, 1,
                                   2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 1};
    CHECK_SLICE(px_slice(d->data + 1, d->len - 1), px_slice(rest, sizeof(rest)));
    world_deinit(&w);
}

TEST(a_dial_from_any_address_accepts_what_the_kernel_chose)
{
    static struct world w;
    world_init(&w, NULL);
    struct px_path path = {.local = w.ports[0].addr, .remote = w.ports[1].addr};
    memset(path.local.ip, 0, sizeof(path.local.ip));
    path.local.family = PX_ADDR_IP6; /* as a dual-stack socket is bound */
    CHECK_OK(px_quic_dial(w.ports[0].q, &path, &side_ops, &w.sides[0], w.now, &w.sides[0].conn));
    px_quic_run(w.ports[0].q, w.now);
    for (size_t steps = 0; steps < 400 && !w.sides[0].secured; steps++) {
        /* The network shows the real address instead of the wildcard. */
        for (size_t i = w.head; i < w.tail; i++) {
            struct datagram *d = &w.queue[i % DATAGRAMS_MAX];
            if (d->to == 1)
                d->path.remote = w.ports[0].addr;
            else
                d->path.local = w.ports[0].addr;
        }
        CHECK(step(&w, w.now + PX_SEC));
    }
    CHECK(w.sides[0].secured);
    world_deinit(&w);
}

TEST(nothing_is_read_or_sent_on_a_path_that_nobody_allowed)
{
    static struct world w;
    world_init(&w, NULL);
    connect_both(&w);
    w.rebound = 4999;
    int64_t a = open_and_send(&w.sides[0], false, 100000);
    run_for(&w, 5 * PX_SEC);
    CHECK(w.sides[1].strays > 0);
    CHECK_INT(lane_of(&w.sides[1], a)->received, 0);
    CHECK_INT(w.sides[1].path_changes, 0);
    CHECK(w.sides[0].silences > 1 && w.sides[0].silences < 17); /* 5 s at least 300 ms apart */
    struct px_path path;
    px_quic_conn_path(w.sides[1].conn, &path);
    CHECK(px_addr_eq(&path.remote, &w.ports[0].addr));
    world_deinit(&w);
}

TEST(silence_is_told_only_when_an_answer_is_due)
{
    static struct world w;
    world_init(&w, NULL);
    connect_both(&w);
    open_and_send(&w.sides[0], false, 1000);
    run_for(&w, 35 * PX_SEC); /* keep-alives are answered */
    CHECK_INT(w.sides[0].silences + w.sides[1].silences, 0);
    w.drop_every = 1;
    px_nsec start = w.now;
    open_and_send(&w.sides[0], false, 1000);
    while (w.sides[0].silences == 0)
        run_for(&w, 10 * PX_MSEC);
    CHECK(w.now - start >= 300 * PX_MSEC && w.now - start <= 1200 * PX_MSEC);
    CHECK_INT(w.sides[1].silences, 0);
    world_deinit(&w);
}

TEST(a_client_migrates_and_the_server_follows_to_an_allowed_path)
{
    static struct world w;
    world_init(&w, NULL);
    connect_both(&w);
    run_for(&w, PX_SEC);
    struct px_path path = {.local = w.ports[0].addr, .remote = w.ports[1].addr};
    for (int i = 1; i <= 20; i++) { /* more often than paths are remembered */
        if (i % 3 != 0)             /* or to where it is */
            path.local.port = w.ports[0].addr.port = (uint16_t)(5000 + i);
        struct px_path seen = {path.remote, path.local}, now_at;
        px_quic_conn_allow(w.sides[1].conn, &seen, w.now);
        CHECK_OK(px_quic_conn_migrate(w.sides[0].conn, &path, w.now));
        CHECK_INT(w.sides[0].path_changes, i);
        int64_t a = open_and_send(&w.sides[0], false, 20000);
        run_for(&w, PX_SEC);
        CHECK(lane_of(&w.sides[1], a)->fin_received);
        px_quic_conn_path(w.sides[0].conn, &now_at);
        CHECK(px_path_eq(&now_at, &path));
        px_quic_conn_path(w.sides[1].conn, &now_at);
        CHECK(px_path_eq(&now_at, &seen));
    }
    CHECK(!w.sides[0].closed && !w.sides[1].closed);
    world_deinit(&w);
}

/* The client's two ports are two paths to it. */
static void migrate(struct world *w, uint16_t port)
{
    struct px_path path = {.local = w->ports[0].addr, .remote = w->ports[1].addr};
    path.local.port = w->ports[0].addr.port = port;
    px_quic_conn_allow(w->sides[1].conn, &(struct px_path){path.remote, path.local}, w->now);
    CHECK_OK(px_quic_conn_migrate(w->sides[0].conn, &path, w->now));
}

TEST(a_server_follows_back_to_a_path_that_died_a_moment_ago)
{
    for (px_nsec away = 50 * PX_MSEC; away <= 3200 * PX_MSEC; away *= 2) {
        static struct world w;
        world_init(&w, NULL);
        w.both = true;
        connect_both(&w);
        run_for(&w, PX_SEC);
        uint16_t first = w.ports[0].addr.port;
        w.dead = first;
        migrate(&w, 5001);
        open_and_send(&w.sides[0], false, 2000);
        run_for(&w, away);
        w.dead = 0;
        migrate(&w, first);
        int64_t a = open_and_send(&w.sides[0], false, 20000);
        int64_t b = open_and_send(&w.sides[1], false, 20000);
        run_for(&w, 200 * PX_MSEC);
        CHECK(lane_of(&w.sides[1], a)->fin_received);
        CHECK(lane_of(&w.sides[0], b)->fin_received);
        struct px_path at;
        px_quic_conn_path(w.sides[1].conn, &at);
        CHECK_INT(at.remote.port, first);
        world_deinit(&w);
    }
}

TEST(a_client_that_moves_without_end_does_not_use_up_the_numbers_of_paths)
{
    static struct world w;
    world_init(&w, NULL);
    w.both = true;
    connect_both(&w);
    run_for(&w, PX_SEC);
    struct px_quic_conn *server = w.sides[1].conn;
    uint16_t ports[] = {5001, w.ports[0].addr.port};
    server->paths.last = PX_QUIC_RENUMBER_MAX - 2;
    for (int i = 0; i < 6; i++) {
        migrate(&w, ports[i % 2]);
        int64_t a = open_and_send(&w.sides[0], false, 20000);
        run_for(&w, 5 * PX_SEC);
        CHECK(lane_of(&w.sides[1], a)->fin_received);
        CHECK_INT(w.sides[1].path_changes, i + 1);
        CHECK_INT(server->paths.last, PX_QUIC_RENUMBER_MAX); /* allowed, left, and no more */
    }
    world_deinit(&w);
}

TEST(a_close_reaches_a_client_whose_move_the_server_has_not_seen_yet)
{
    for (int busy = 0; busy < 2; busy++) {
        static struct world w;
        world_init(&w, NULL);
        w.both = true;
        connect_both(&w);
        run_for(&w, PX_SEC);
        uint16_t first = w.ports[0].addr.port;
        w.mute = 5001;
        w.mute_after = 2; /* challenges, which are no reason to follow */
        migrate(&w, 5001);
        run_for(&w, 500 * PX_MSEC);
        struct px_path at;
        px_quic_conn_path(w.sides[1].conn, &at);
        CHECK_INT(at.remote.port, first);
        w.mute = 0;
        if (busy) { /* its next packet is under way when the server closes */
            open_and_send(&w.sides[0], false, 2000);
            px_quic_run(w.ports[0].q, w.now);
        }
        px_quic_conn_close(w.sides[1].conn, PX_CLOSE_REVOKED);
        w.dead = busy ? first : 0;
        run_for(&w, 500 * PX_MSEC);
        CHECK(w.sides[0].closed && w.sides[0].closed_by_peer);
        CHECK_INT(w.sides[0].close_code, PX_CLOSE_REVOKED);
        world_deinit(&w);
    }
}

TEST(paths_are_remembered_within_bounds_and_the_one_in_use_always)
{
    static struct world w;
    world_init(&w, NULL);
    connect_both(&w);
    struct px_quic_conn *c = w.sides[1].conn;
    struct px_path in_use, path;
    px_quic_conn_path(c, &in_use);
    path = in_use;
    for (uint16_t i = 0; i < 100; i++) {
        path.remote.port = (uint16_t)(6000 + i);
        px_quic_conn_allow(c, &path, w.now + i);
    }
    size_t known = 0;
    for (uint16_t i = 0; i < 100; i++) {
        path.remote.port = (uint16_t)(6000 + i);
        bool allowed = px_quic_conn_allows(c, &path, w.now + 200);
        CHECK_INT(allowed, i >= 100 - (PX_QUIC_PATHS_MAX - 1)); /* the latest */
        known += allowed;
    }
    CHECK_INT(known, PX_QUIC_PATHS_MAX - 1); /* and the one in use */
    CHECK(px_quic_conn_allows(c, &in_use, w.now));
    int64_t a = open_and_send(&w.sides[0], false, 20000);
    run_for(&w, PX_SEC);
    CHECK(lane_of(&w.sides[1], a)->fin_received);
    world_deinit(&w);
}

TEST(a_path_out_of_use_is_good_for_a_short_time_only)
{
    for (int late = 0; late < 2; late++) {
        static struct world w;
        world_init(&w, NULL);
        connect_both(&w);
        struct px_path path;
        px_quic_conn_path(w.sides[1].conn, &path);
        path.remote.port = 4999;
        px_quic_conn_allow(w.sides[1].conn, &path, w.now);
        run_for(&w, late ? 11 * PX_SEC : 2 * PX_SEC);
        CHECK(px_quic_conn_allows(w.sides[1].conn, &path, w.now) == !late);
        w.rebound = 4999;
        open_and_send(&w.sides[0], false, 2000);
        run_for(&w, PX_SEC);
        CHECK_INT(w.sides[1].path_changes, !late);
        CHECK(late ? w.sides[1].strays > 0 : w.sides[1].strays == 0);
        world_deinit(&w);
    }
}

TEST(a_new_nat_mapping_is_followed)
{
    static struct world w;
    world_init(&w, NULL);
    connect_both(&w);
    w.sides[1].trusting = true;
    w.rebound = 4999;
    int64_t a = open_and_send(&w.sides[0], false, 100000);
    run_for(&w, 5 * PX_SEC);
    int64_t b = open_and_send(&w.sides[1], false, 100000);
    run_for(&w, 20 * PX_SEC);
    CHECK(lane_of(&w.sides[1], a)->fin_received && lane_of(&w.sides[0], b)->fin_received);
    struct px_path path;
    px_quic_conn_path(w.sides[1].conn, &path);
    CHECK_INT(path.remote.port, 4999);
    world_deinit(&w);
}

TEST(version_2_is_not_spoken)
{
    static struct world w;
    world_init(&w, NULL);
    uint8_t packet[1200] = {0xd0, 0x6b, 0x33, 0x43, 0xcf, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0};
    struct px_path path = {.local = w.ports[1].addr, .remote = w.ports[0].addr};
    packet[16] = 0x44; /* length 1178 */
    packet[17] = 0x9a;
    px_quic_input(w.ports[1].q, &path, 0, px_slice(packet, sizeof(packet)), w.now);
    CHECK_INT(w.tail - w.head, 1);
    static const uint8_t zero[4];
    CHECK(memcmp(w.queue[0].data + 1, zero, 4) == 0);
    world_deinit(&w);
}

TEST(a_small_payload_limit_of_the_peer_is_kept_and_what_passes_it_is_dropped)
{
    for (size_t limited = 0; limited < 2; limited++) {
        static struct world w;
        world_init(&w, NULL);
        struct px_quic_config cfg = port_config(&w, limited);
        cfg.max_udp_payload = 1300;
        px_quic_free(w.ports[limited].q);
        CHECK_OK(px_quic_new(&cfg, &w.ports[limited].q));
        connect_both(&w);
        int64_t a = open_and_send(&w.sides[0], true, 500000);
        int64_t b = open_and_send(&w.sides[1], true, 500000);
        run_for(&w, 10 * PX_SEC);
        CHECK(lane_of(&w.sides[1], a)->fin_received && lane_of(&w.sides[0], b)->fin_received);
        for (size_t i = 0; i < 2; i++) {
            struct px_quic_stats stats;
            px_quic_conn_stats(w.sides[i].conn, &stats);
            CHECK(stats.max_udp_payload <= 1300);
        }
        struct px_quic_conn *c = w.sides[limited].conn;
        static uint8_t large[1301];
        const struct px_quic_cid *cid = PX_CONTAINER_OF(c->cids.next, struct px_quic_cid, of_conn);
        struct px_path path;
        large[0] = 0x40;
        memcpy(large + 1, cid->cid.data, cid->cid.datalen);
        px_quic_conn_path(c, &path);
        uint64_t before = c->packets_received;
        px_quic_input(w.ports[limited].q, &path, 0, px_slice(large, sizeof(large)), w.now);
        CHECK_INT(c->packets_received, before);
        px_quic_input(w.ports[limited].q, &path, 0, px_slice(large, 1300), w.now);
        CHECK_INT(c->packets_received, before + 1);
        world_deinit(&w);
    }
}

TEST(a_small_payload_limit_is_kept)
{
    static struct world w;
    const struct px_quic_config cfg = {.max_udp_payload = 1200};
    world_init(&w, &cfg);
    connect_both(&w);
    int64_t id = open_and_send(&w.sides[0], false, 500000);
    run_for(&w, 10 * PX_SEC);
    CHECK(lane_of(&w.sides[1], id)->fin_received);
    struct px_quic_stats stats;
    px_quic_conn_stats(w.sides[0].conn, &stats);
    CHECK_INT(stats.max_udp_payload, 1200);
    world_deinit(&w);
}

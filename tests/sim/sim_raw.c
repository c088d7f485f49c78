/* See sim_raw.h. */
#include "tests/sim/sim_raw.h"

#include <stdlib.h>

static struct raw_stream *stream_of(struct raw_conn *c, int64_t id)
{
    for (size_t i = 0; i < RAW_STREAMS_MAX; i++) {
        struct raw_stream *s = &c->streams[i];
        if (s->id == -1) {
            s->id = id;
            px_buf_init(&s->in, SIZE_MAX);
        }
        if (s->id == id)
            return s;
    }
    px_test_fail(__FILE__, __LINE__, "more than %d raw streams", RAW_STREAMS_MAX);
}

static void open_streams(struct raw_conn *c)
{
    for (size_t i = 0; c->secured && c->conn != NULL && i < RAW_STREAMS_MAX; i++) {
        struct raw_stream *s = &c->streams[i];
        bool of_client = s->id != -1 && (s->id & 1) == 0;
        if (s->id == -1 || s->open)
            continue;
        int64_t id = s->id;
        if (of_client == px_quic_conn_is_client(c->conn)) {
            int err = px_quic_stream_open(c->conn, (s->id & 2) != 0, &id);
            if (err != 0)
                return;
        }
        px_assert(id == s->id);
        s->open = true;
    }
}

static void on_secured(void *ctx)
{
    struct raw_conn *c = ctx;
    c->secured = true;
    open_streams(c);
    px_quic_conn_wake(c->conn);
}

static void on_opened(void *ctx, int64_t id)
{
    stream_of(ctx, id)->open = true;
}

static void on_recv(void *ctx, int64_t id, struct px_slice data, bool fin)
{
    struct raw_conn *c = ctx;
    int err = px_buf_put(&stream_of(c, id)->in, data);
    px_assert(err == 0);
    px_quic_consume(c->conn, id, data.len);
    if (c->other != NULL)
        raw_write(c->other, id, data, fin);
}

static void on_acked(void *ctx, int64_t id, uint64_t n)
{
    px_send_queue_acked(&stream_of(ctx, id)->out, n);
}

static void on_code(void *ctx, int64_t id, uint64_t code)
{
    (void)ctx, (void)id, (void)code;
}

static void on_writable(void *ctx, int64_t id)
{
    struct raw_conn *c = ctx;
    stream_of(c, id)->blocked = false;
    px_quic_conn_wake(c->conn);
}

static void on_stream_closed(void *ctx, int64_t id)
{
    (void)ctx, (void)id;
}

static void on_available(void *ctx)
{
    open_streams(ctx);
}

static void on_next(void *ctx, int64_t *ret_id, struct px_slice *ret_vec, size_t cap,
                    size_t *ret_count, bool *ret_fin)
{
    struct raw_conn *c = ctx;
    *ret_id = -1;
    for (size_t i = 0; i < RAW_STREAMS_MAX; i++) {
        struct raw_stream *s = &c->streams[i];
        bool wants = s->out.unsent > 0 || (s->fin_wanted && !s->fin_sent);
        if (s->id == -1 || !s->open || s->blocked || !wants)
            continue;
        uint64_t offered = 0;
        *ret_id = s->id;
        *ret_count = px_send_queue_offer(&s->out, ret_vec, cap);
        for (size_t j = 0; j < *ret_count; j++)
            offered += ret_vec[j].len;
        *ret_fin = s->fin_wanted && offered == s->out.unsent;
        return;
    }
}

static void on_sent(void *ctx, int64_t id, uint64_t n, bool fin)
{
    struct raw_stream *s = stream_of(ctx, id);
    px_send_queue_sent(&s->out, n);
    s->fin_sent = s->fin_sent || fin;
}

static void on_blocked(void *ctx, int64_t id)
{
    stream_of(ctx, id)->blocked = true;
}

static void on_closed(void *ctx, int err, uint64_t code, bool by_peer)
{
    struct raw_conn *c = ctx;
    c->closed = true;
    c->conn = NULL;
    c->err = err;
    c->code = code;
    c->by_peer = by_peer;
    if (c->other != NULL && by_peer)
        raw_close(c->other, code);
}

static const struct px_quic_conn_ops conn_ops = {
    .secured = on_secured,
    .stream_opened = on_opened,
    .stream_recv = on_recv,
    .stream_acked = on_acked,
    .stream_reset = on_code,
    .stream_stop = on_code,
    .stream_writable = on_writable,
    .stream_closed = on_stream_closed,
    .streams_available = on_available,
    .next = on_next,
    .sent = on_sent,
    .blocked = on_blocked,
    .closed = on_closed,
};

static struct raw_conn *conn_new(struct raw *r)
{
    struct raw_conn *c = calloc(1, sizeof(*c));
    px_assert(c != NULL && r->conn_count < PX_ARRAY_LEN(r->conns));
    c->raw = r;
    for (size_t i = 0; i < RAW_STREAMS_MAX; i++)
        c->streams[i].id = -1;
    r->conns[r->conn_count++] = c;
    return c;
}

static int on_accept(void *ctx, struct px_quic_conn *conn, const struct px_quic_conn_ops **ret_ops,
                     void **ret_ctx)
{
    struct raw *r = ctx;
    struct raw_conn *c = conn_new(r);
    c->conn = conn;
    if (r->forward_to != NULL) {
        c->other = r->forward_to;
        r->forward_to->other = c;
    }
    *ret_ops = &conn_ops;
    *ret_ctx = c;
    return 0;
}

static void node_input(void *ctx, const struct px_path *path, unsigned ecn, struct px_slice d,
                       px_nsec now)
{
    px_quic_input(((struct raw *)ctx)->quic, path, ecn, d, now);
}

static void node_run(void *ctx, px_nsec now)
{
    px_quic_run(((struct raw *)ctx)->quic, now);
}

static px_nsec node_deadline(void *ctx)
{
    return px_quic_deadline(((struct raw *)ctx)->quic);
}

static const struct sim_node_ops node_ops = {node_input, node_run, node_deadline};

void raw_init(struct raw *r, struct sim_net *net, uint8_t number, uint64_t seed)
{
    memset(r, 0, sizeof(*r));
    r->net = net;
    r->number = number;
    r->node = sim_node_new(net, number);
    const struct px_quic_config config = {
        .rng = px_test_rng(&r->rng, seed),
        .net = sim_node_net(r->node),
        .accept = on_accept,
        .accept_ctx = r,
    };
    int err = px_quic_new(&config, &r->quic);
    px_assert(err == 0);
    sim_node_set_owner(r->node, &node_ops, r);
}

void raw_deinit(struct raw *r)
{
    sim_node_set_owner(r->node, NULL, NULL);
    for (size_t i = 0; i < r->conn_count; i++)
        r->conns[i]->other = NULL;
    px_quic_free(r->quic);
    for (size_t i = 0; i < r->conn_count; i++) {
        struct raw_conn *c = r->conns[i];
        for (size_t j = 0; j < RAW_STREAMS_MAX && c->streams[j].id != -1; j++) {
            px_send_queue_deinit(&c->streams[j].out);
            px_buf_deinit(&c->streams[j].in);
        }
        free(c);
    }
}

struct raw_conn *raw_dial(struct raw *r, uint8_t to)
{
    struct raw_conn *c = conn_new(r);
    struct px_path path = sim_path(r->number, to);
    int err = px_quic_dial(r->quic, &path, &conn_ops, c, sim_net_now(r->net), &c->conn);
    px_assert(err == 0);
    sim_node_kick(r->node);
    return c;
}

void raw_write(struct raw_conn *c, int64_t id, struct px_slice data, bool fin)
{
    struct raw_stream *s = stream_of(c, id);
    struct px_chunk *chunk = px_chunk_copy(data);
    px_assert(chunk != NULL);
    int err = px_send_queue_push(&s->out, chunk);
    px_assert(err == 0);
    s->fin_wanted = s->fin_wanted || fin;
    open_streams(c);
    if (c->conn != NULL)
        px_quic_conn_wake(c->conn);
    sim_node_kick(c->raw->node);
}

struct px_slice raw_received(struct raw_conn *c, int64_t id)
{
    return px_buf_slice(&stream_of(c, id)->in);
}

void raw_close(struct raw_conn *c, uint64_t code)
{
    if (c->conn == NULL)
        return;
    px_quic_conn_close(c->conn, code);
    sim_node_kick(c->raw->node);
}

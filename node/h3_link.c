/* Between the link and nghttp3: stream ids, the type byte, offsets, credit, and the end of a
 * session (docs/spec/http3.md §2, §3, §5). */
#include "node/h3_internal.h"

static void consume(struct px_h3_exchange *x, uint64_t n)
{
    if (n > 0)
        px_link_consume(x->s->h->link, x->id, n);
}

/* --- the end of a session --- */

void px_h3_session_fail(struct px_h3_session *s, uint64_t code, int err)
{
    if (s->dead)
        return;
    s->dead = true;
    PX_LIST_EACH(it, &s->streams) {
        px_h3_exchange_abort(PX_CONTAINER_OF(it, struct px_h3_exchange, in_session), code);
    }
    while (!px_list_empty(&s->live))
        px_h3_exchange_over(PX_CONTAINER_OF(s->live.next, struct px_h3_exchange, in_live), err);
}

void px_h3_session_fatal(struct px_h3_session *s, int liberr)
{
    px_h3_session_fail(s, nghttp3_err_infer_quic_app_error_code(liberr), px_h3_error(liberr));
}

static struct px_h3_exchange *beyond_goaway(const struct px_h3_session *s)
{
    PX_LIST_EACH(it, &s->live) {
        struct px_h3_exchange *x = PX_CONTAINER_OF(it, struct px_h3_exchange, in_live);
        if ((x->id ^ s->flip) >= s->goaway_id)
            return x;
    }
    return NULL;
}

void px_h3_session_goaway(struct px_h3_session *s)
{
    struct px_h3_exchange *x;
    while ((x = beyond_goaway(s)) != NULL) {
        px_h3_exchange_abort(x, NGHTTP3_H3_REQUEST_CANCELLED);
        px_h3_exchange_over(x, PX_ECLOSED);
    }
}

/* --- what the link tells --- */

static void on_recv(void *ctx, struct px_link *link, int64_t id, struct px_slice data, bool fin)
{
    (void)link, (void)id;
    struct px_h3_exchange *x = ctx;
    struct px_h3_session *s = x->s;
    if (s->dead || x->read_shut) {
        consume(x, data.len);
        return;
    }
    px_assert(s->reading == NULL);
    if (x->state == PX_H3_CRITICAL && px_h3_guard_feed(&x->guard, data) != 0) {
        consume(x, data.len);
        px_h3_session_fail(s, NGHTTP3_H3_FRAME_UNEXPECTED, PX_EPROTO);
        return;
    }
    s->reading = x;
    s->piece_count = 0;
    nghttp3_ssize n =
        nghttp3_conn_read_stream(px_h3_conn(s), x->id ^ s->flip, data.data, data.len, fin ? 1 : 0);
    s->reading = NULL;
    if (fin)
        x->read_shut = true; /* nothing to stop any more */
    if (n < 0) {
        consume(x, data.len);
        px_h3_session_fatal(s, (int)n);
        return;
    }
    /* What n leaves out is body: credited as its owner consumes it. */
    consume(x, (uint64_t)n);
    px_h3_exchange_act(x);
}

static void on_acked(void *ctx, struct px_link *link, int64_t id, uint64_t n)
{
    (void)link, (void)id;
    struct px_h3_exchange *x = ctx;
    struct px_h3_session *s = x->s;
    if (n > 0 && x->type_unacked) {
        x->type_unacked = false;
        n--;
    }
    if (n == 0 || s->dead)
        return;
    int rv = nghttp3_conn_add_ack_offset(px_h3_conn(s), x->id ^ s->flip, n);
    if (rv != 0) {
        px_h3_session_fatal(s, rv);
        return;
    }
    uint64_t acked = x->acked;
    x->acked = 0;
    if (acked > 0 && x->body != NULL)
        x->body->acked(x->body_ctx, acked);
}

/* The peer will send no more of the stream. */
static void on_reset(void *ctx, struct px_link *link, int64_t id, uint64_t code)
{
    (void)link, (void)id;
    struct px_h3_exchange *x = ctx;
    struct px_h3_session *s = x->s;
    bool was_shut = x->read_shut;
    x->read_shut = true;
    if (s->dead)
        return;
    if (x->state == PX_H3_CRITICAL) {
        if (!was_shut && nghttp3_conn_close_stream(px_h3_conn(s), x->id ^ s->flip, code) ==
                             NGHTTP3_ERR_H3_CLOSED_CRITICAL_STREAM)
            px_h3_session_fail(s, NGHTTP3_H3_CLOSED_CRITICAL_STREAM, PX_EPROTO);
        return;
    }
    px_h3_exchange_abort(x, NGHTTP3_H3_REQUEST_CANCELLED);
    px_h3_exchange_over(x, code == NGHTTP3_H3_REQUEST_REJECTED ? PX_EBUSY : PX_ECANCELED);
}

/* The peer wants no more of the stream. */
static void on_stop(void *ctx, struct px_link *link, int64_t id, uint64_t code)
{
    (void)link, (void)id;
    struct px_h3_exchange *x = ctx;
    struct px_h3_session *s = x->s;
    if (x->state == PX_H3_CRITICAL) {
        px_h3_session_fail(s, NGHTTP3_H3_CLOSED_CRITICAL_STREAM, PX_EPROTO);
        return;
    }
    if (!s->serving) {
        /* The answer may come all the same (RFC 9114 §4.1). */
        px_h3_exchange_shut_write(x, code);
        return;
    }
    px_h3_exchange_abort(x, code);
    px_h3_exchange_over(x, PX_ECANCELED);
}

static void on_writable(void *ctx, struct px_link *link, int64_t id)
{
    (void)id;
    struct px_h3_exchange *x = ctx;
    struct px_h3_session *s = x->s;
    if (s->dead || x->write_shut)
        return;
    x->blocked = false;
    if (x->starving && !x->waiting && px_list_empty(&x->in_hungry))
        px_list_push_back(&s->h->hungry, &x->in_hungry);
    int rv = nghttp3_conn_unblock_stream(px_h3_conn(s), x->id ^ s->flip);
    if (rv != 0)
        px_h3_session_fatal(s, rv);
    else
        px_link_wake(link, &s->h->producer);
}

static void on_closed(void *ctx, struct px_link *link, int64_t id)
{
    (void)link, (void)id;
    struct px_h3_exchange *x = ctx;
    struct px_h3_session *s = x->s;
    if (x->state == PX_H3_CRITICAL && !(x->read_shut && x->write_shut))
        s->dead = true; /* neither fin nor reset came before: this is the end of the link */
    else if (!s->dead &&
             nghttp3_conn_close_stream(px_h3_conn(s), x->id ^ s->flip, NGHTTP3_H3_NO_ERROR) ==
                 NGHTTP3_ERR_H3_CLOSED_CRITICAL_STREAM)
        px_h3_session_fail(s, NGHTTP3_H3_CLOSED_CRITICAL_STREAM, PX_EPROTO);
    px_h3_exchange_free(x, PX_ECLOSED);
}

const struct px_stream_ops px_h3_stream_ops = {
    .recv = on_recv,
    .acked = on_acked,
    .reset = on_reset,
    .stop = on_stop,
    .writable = on_writable,
    .closed = on_closed,
};

/* --- streams nobody wants --- */

static void orphan_recv(void *ctx, struct px_link *link, int64_t id, struct px_slice data, bool fin)
{
    (void)ctx;
    if (data.len > 0)
        px_link_consume(link, id, data.len);
    if (!fin)
        px_link_stream_stop(link, id, NGHTTP3_H3_REQUEST_REJECTED);
    px_link_stream_reset(link, id, NGHTTP3_H3_REQUEST_REJECTED);
}

static void orphan_acked(void *ctx, struct px_link *link, int64_t id, uint64_t n)
{
    (void)ctx, (void)link, (void)id, (void)n;
}

static void orphan_code(void *ctx, struct px_link *link, int64_t id, uint64_t code)
{
    (void)ctx;
    px_link_stream_reset(link, id, code);
}

static void orphan_event(void *ctx, struct px_link *link, int64_t id)
{
    (void)ctx, (void)link, (void)id;
}

const struct px_stream_ops px_h3_orphan_ops = {
    .recv = orphan_recv,
    .acked = orphan_acked,
    .reset = orphan_code,
    .stop = orphan_code,
    .writable = orphan_event,
    .closed = orphan_event,
};

void px_h3_session_disown(struct px_h3_session *s)
{
    PX_LIST_EACH(it, &s->streams) {
        struct px_h3_exchange *x = PX_CONTAINER_OF(it, struct px_h3_exchange, in_session);
        px_link_stream_set_owner(s->h->link, x->id, &px_h3_orphan_ops, NULL);
        px_link_stream_reset(s->h->link, x->id, NGHTTP3_H3_INTERNAL_ERROR);
    }
}

const struct px_stream_ops *px_h3_stream(struct px_h3 *h, int64_t id, uint8_t type, void **ret_ctx)
{
    struct px_h3_session *s = type == h->asking.type    ? &h->asking
                              : type == h->serving.type ? &h->serving
                                                        : NULL;
    bool uni = (id & 2) != 0;
    if (s == NULL || (!uni && !s->serving))
        return NULL; /* SPEC http3 §2: only the HTTP client opens request streams */
    *ret_ctx = NULL;
    if (s->dead || (!uni && s->requests >= PX_H3_EXCHANGES_MAX))
        return &px_h3_orphan_ops;
    struct px_h3_exchange *x = px_h3_exchange_new(s, uni ? PX_H3_CRITICAL : PX_H3_RECEIVING);
    if (x == NULL)
        return &px_h3_orphan_ops;
    px_h3_exchange_insert(x, id);
    x->write_shut = uni;
    *ret_ctx = x;
    return &px_h3_stream_ops;
}

/* --- what the link sends --- */

static void tell_sent(struct px_h3_exchange *x, size_t n)
{
    int rv = nghttp3_conn_add_write_offset(x->s->conn, x->id ^ x->s->flip, n);
    if (rv != 0)
        px_h3_session_fatal(x->s, rv);
}

void px_h3_end_run(struct px_h3 *h)
{
    const struct px_h3_run run = h->run;
    h->run.x = NULL;
    if (run.x != NULL && run.untold > 0 && !run.x->s->dead)
        tell_sent(run.x, run.untold);
}

nghttp3_conn *px_h3_conn(struct px_h3_session *s)
{
    px_h3_end_run(s->h);
    return s->conn;
}

static bool run_goes_on(const struct px_h3 *h)
{
    return h->run.x != NULL && !h->run.x->s->dead && h->run.untold < PX_H3_RUN_BYTES &&
           px_list_empty(&h->hungry);
}

/* Fills the offer from one session; false when it has nothing. */
static bool offer(struct px_h3_session *s, int64_t *ret_id, struct px_slice *vec, size_t cap,
                  size_t *ret_count, bool *ret_fin)
{
    nghttp3_vec out[PX_QUIC_VEC_MAX];
    int64_t id = -1;
    int fin = 0;
    if (s->dead)
        return false;
    nghttp3_ssize n = nghttp3_conn_writev_stream(px_h3_conn(s), &id, &fin, out,
                                                 PX_MIN(cap - 1, PX_ARRAY_LEN(out)));
    if (n < 0) {
        px_h3_session_fatal(s, (int)n);
        return false;
    }
    if (id < 0)
        return false;
    struct px_h3_exchange *x = px_h3_find(s->h, id ^ s->flip);
    px_assert(x != NULL);
    size_t count = 0;
    if (x->type_unsent)
        vec[count++] = px_slice(&s->type, 1);
    for (nghttp3_ssize i = 0; i < n; i++)
        if (out[i].len > 0)
            vec[count++] = px_slice(out[i].base, out[i].len);
    *ret_id = x->id;
    *ret_count = count;
    *ret_fin = fin != 0;
    if (count == 1 && !x->type_unsent)
        s->h->run = (struct px_h3_run){.x = x, .rest = vec[0], .fin = fin != 0};
    return true;
}

static void producer_next(void *ctx, int64_t *ret_id, struct px_slice *ret_vec, size_t cap,
                          size_t *ret_count, bool *ret_fin)
{
    struct px_h3 *h = ctx;
    px_assert(cap >= 2);
    *ret_id = -1;
    if (run_goes_on(h)) {
        ret_vec[0] = h->run.rest;
        *ret_count = 1;
        *ret_id = h->run.x->id;
        *ret_fin = h->run.fin;
        return;
    }
    px_h3_end_run(h);
    do {
        h->starved = false;
        px_h3_feed(h);
        h->serving_turn = !h->serving_turn;
        struct px_h3_session *first = h->serving_turn ? &h->serving : &h->asking;
        struct px_h3_session *second = h->serving_turn ? &h->asking : &h->serving;
        if (offer(first, ret_id, ret_vec, cap, ret_count, ret_fin) ||
            offer(second, ret_id, ret_vec, cap, ret_count, ret_fin))
            return;
        /* A body without bytes makes nghttp3 say "nothing" though other streams have some; each
         * round takes one such stream out of its schedule. */
    } while (h->starved);
}

static void producer_sent(void *ctx, int64_t id, uint64_t n, bool fin)
{
    struct px_h3 *h = ctx;
    if (h->run.x != NULL && h->run.x->id == id) {
        h->run.rest = px_slice_skip(h->run.rest, (size_t)n);
        h->run.untold += (size_t)n;
        if (h->run.rest.len == 0)
            px_h3_end_run(h);
        return;
    }
    struct px_h3_exchange *x = px_h3_find(h, id);
    if (x == NULL || x->write_shut || x->s->dead)
        return;
    if (n > 0 && x->type_unsent) {
        x->type_unsent = false;
        n--;
    }
    if (n == 0 && !fin)
        return; /* nghttp3 would take 0 as the fin having left */
    tell_sent(x, (size_t)n);
}

static void producer_blocked(void *ctx, int64_t id)
{
    struct px_h3 *h = ctx;
    struct px_h3_exchange *x = px_h3_find(h, id);
    if (x == NULL || x->s->dead)
        return;
    x->blocked = true;
    nghttp3_conn_block_stream(px_h3_conn(x->s), id ^ x->s->flip);
}

const struct px_producer_ops px_h3_producer_ops = {
    .next = producer_next,
    .sent = producer_sent,
    .blocked = producer_blocked,
};

/* See stream.h. A stream is its own producer on the link and the owner of its id there. */
#include "transport/stream.h"

#include <stdlib.h>

struct px_stream {
    struct px_link *link;
    int64_t id;
    const struct px_stream_user_ops *ops;
    void *ctx;
    struct px_producer producer;
    struct px_send_queue out;
    bool end_wanted, end_sent; /* FIN */
    bool blocked;              /* no credit: nothing is offered until `writable` */
    bool recv_end;             /* the peer's FIN came */
    int err;                   /* why it ends, 0 so far */
    uint64_t code;
};

static bool wants_to_send(const struct px_stream *s)
{
    return s->err == 0 && !s->blocked && (s->out.unsent > 0 || (s->end_wanted && !s->end_sent));
}

static void produce_next(void *ctx, int64_t *ret_id, struct px_slice *ret_vec, size_t cap,
                         size_t *ret_count, bool *ret_fin)
{
    const struct px_stream *s = ctx;
    if (!wants_to_send(s)) {
        *ret_id = -1;
        return;
    }
    uint64_t offered = 0;
    size_t n = px_send_queue_offer(&s->out, ret_vec, cap);
    for (size_t i = 0; i < n; i++)
        offered += ret_vec[i].len;
    *ret_id = s->id;
    *ret_count = n;
    *ret_fin = s->end_wanted && offered == s->out.unsent;
}

static void produce_sent(void *ctx, int64_t id, uint64_t n, bool fin)
{
    struct px_stream *s = ctx;
    (void)id;
    px_send_queue_sent(&s->out, n);
    s->end_sent = s->end_sent || fin;
}

static void produce_blocked(void *ctx, int64_t id)
{
    struct px_stream *s = ctx;
    (void)id;
    s->blocked = true;
}

static const struct px_producer_ops producer_ops = {produce_next, produce_sent, produce_blocked};

static void on_recv(void *ctx, struct px_link *l, int64_t id, struct px_slice data, bool fin)
{
    struct px_stream *s = ctx;
    (void)l;
    (void)id;
    s->recv_end = s->recv_end || fin;
    if (s->err == 0)
        s->ops->recv(s->ctx, s, data, fin);
    else
        px_stream_consume(s, data.len);
}

static void on_acked(void *ctx, struct px_link *l, int64_t id, uint64_t n)
{
    struct px_stream *s = ctx;
    (void)l;
    (void)id;
    uint64_t before = s->out.queued;
    px_send_queue_acked(&s->out, n);
    if (s->err == 0 && before > PX_STREAM_LOW_WATER && s->out.queued <= PX_STREAM_LOW_WATER)
        s->ops->drained(s->ctx, s);
}

/* What was sent stays until `closed`: QUIC may still look at it. */
static void end_with(struct px_stream *s, int err, uint64_t code)
{
    if (s->err != 0)
        return;
    s->err = err;
    s->code = code;
}

static void on_reset(void *ctx, struct px_link *l, int64_t id, uint64_t code)
{
    struct px_stream *s = ctx;
    end_with(s, PX_ECANCELED, code);
    px_link_stream_reset(l, id, code);
}

static void on_stop(void *ctx, struct px_link *l, int64_t id, uint64_t code)
{
    struct px_stream *s = ctx;
    end_with(s, PX_ECANCELED, code);
    px_link_stream_reset(l, id, code);
    px_link_stream_stop(l, id, code);
}

static void on_writable(void *ctx, struct px_link *l, int64_t id)
{
    struct px_stream *s = ctx;
    (void)id;
    s->blocked = false;
    px_link_wake(l, &s->producer);
}

static void on_closed(void *ctx, struct px_link *l, int64_t id)
{
    struct px_stream *s = ctx;
    (void)id;
    px_link_remove_producer(l, &s->producer);
    if (s->err == 0 && !(s->recv_end && s->end_sent && s->out.queued == 0))
        s->err = px_link_is_up(l) || px_link_is_early(l) ? PX_ECANCELED : PX_ECLOSED;
    s->ops->closed(s->ctx, s, s->err, s->code);
    px_send_queue_deinit(&s->out);
    free(s);
}

const struct px_stream_ops px_stream_link_ops = {
    .recv = on_recv,
    .acked = on_acked,
    .reset = on_reset,
    .stop = on_stop,
    .writable = on_writable,
    .closed = on_closed,
};

static struct px_stream *stream_new(struct px_link *l, const struct px_stream_user_ops *ops,
                                    void *ctx)
{
    struct px_stream *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return NULL;
    s->link = l;
    s->ops = ops;
    s->ctx = ctx;
    s->producer.ops = &producer_ops;
    s->producer.ctx = s;
    return s;
}

int px_stream_adopt(struct px_link *l, int64_t id, const struct px_stream_user_ops *ops, void *ctx,
                    struct px_stream **ret)
{
    struct px_stream *s = stream_new(l, ops, ctx);
    if (s == NULL)
        return PX_ENOMEM;
    s->id = id;
    px_link_add_producer(l, &s->producer);
    *ret = s;
    return 0;
}

int px_stream_open(struct px_link *l, uint8_t type, const struct px_stream_user_ops *ops, void *ctx,
                   struct px_stream **ret)
{
    struct px_chunk *first = px_chunk_copy(px_slice(&type, 1));
    struct px_stream *s = stream_new(l, ops, ctx);
    int err = first == NULL || s == NULL ? PX_ENOMEM : 0;
    if (err == 0)
        err = px_send_queue_push(&s->out, px_chunk_ref(first));
    if (err == 0)
        err = px_link_stream_open(l, false, &px_stream_link_ops, s, &s->id);
    px_chunk_unref(first);
    if (err != 0) {
        if (s != NULL)
            px_send_queue_deinit(&s->out);
        free(s);
        return err;
    }
    px_link_add_producer(l, &s->producer);
    *ret = s;
    return 0;
}

int px_stream_write(struct px_stream *s, struct px_chunk *owned_chunk)
{
    if (s->end_wanted || s->err != 0) {
        px_chunk_unref(owned_chunk);
        return PX_ESTATE;
    }
    int err = px_send_queue_push(&s->out, owned_chunk);
    if (err == 0)
        px_link_wake(s->link, &s->producer);
    return err;
}

void px_stream_end(struct px_stream *s)
{
    s->end_wanted = true;
    px_link_wake(s->link, &s->producer);
}

void px_stream_abort(struct px_stream *s, uint64_t code)
{
    end_with(s, PX_ECANCELED, code);
    px_link_stream_reset(s->link, s->id, code);
    px_link_stream_stop(s->link, s->id, code);
}

void px_stream_consume(struct px_stream *s, uint64_t n)
{
    px_link_consume(s->link, s->id, n);
}

uint64_t px_stream_queued(const struct px_stream *s)
{
    return s->out.queued;
}

int64_t px_stream_id(const struct px_stream *s)
{
    return s->id;
}

struct px_link *px_stream_link(const struct px_stream *s)
{
    return s->link;
}

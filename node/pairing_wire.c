/* See pairing_wire.h. */
#include "node/pairing_wire.h"

static void on_timer_closed(uv_handle_t *h)
{
    struct px_pairing_wire *w = h->data;
    w->timer_open = false;
    px_frame_reader_deinit(&w->frames);
    w->ops->ended(w->ctx, w->err);
}

static void on_time(uv_timer_t *t)
{
    struct px_pairing_wire *w = t->data;
    px_pairing_wire_abort(w, PX_ETIMEDOUT);
    if (w->ops->late != NULL)
        w->ops->late(w->ctx);
}

static void take_frames(struct px_pairing_wire *w, struct px_slice data)
{
    while (!w->stopped) {
        struct px_slice body;
        int err = px_frame_read(&w->frames, &data, PX_PAIRING_MESSAGE_MAX, &body);
        if (err == PX_EAGAIN)
            return;
        if (err != 0)
            px_pairing_wire_abort(w, err == PX_ENOMEM ? err : PX_EPROTO);
        else
            w->ops->message(w->ctx, body);
    }
}

static void on_recv(void *ctx, struct px_stream *s, struct px_slice data, bool fin)
{
    struct px_pairing_wire *w = ctx;
    px_stream_consume(s, data.len);
    if (data.len > PX_PAIRING_STREAM_MAX - w->received) {
        px_pairing_wire_abort(w, PX_EPROTO);
        return;
    }
    w->received += data.len;
    take_frames(w, data);
    if (fin && !w->stopped)
        px_pairing_wire_end(w); /* the other side will not say what we wait for */
}

static void on_drained(void *ctx, struct px_stream *s)
{
    (void)ctx;
    (void)s;
}

static void on_closed(void *ctx, struct px_stream *s, int err, uint64_t code)
{
    struct px_pairing_wire *w = ctx;
    (void)s;
    (void)code;
    w->stream = NULL;
    w->stopped = true;
    if (w->err == 0)
        w->err = err;
    uv_close((uv_handle_t *)&w->timer, on_timer_closed);
}

static const struct px_stream_user_ops stream_ops = {on_recv, on_drained, on_closed};

static int start(struct px_pairing_wire *w, uv_loop_t *loop, const struct px_pairing_wire_ops *ops,
                 void *ctx)
{
    memset(w, 0, sizeof(*w));
    w->ops = ops;
    w->ctx = ctx;
    if (uv_timer_init(loop, &w->timer) != 0)
        return PX_EIO;
    w->timer.data = w;
    w->timer_open = true;
    px_frame_reader_init(&w->frames);
    px_pairing_wire_set_time(w, PX_PAIRING_TIME);
    return 0;
}

/* Without a stream the owner hears of it the way it hears of any end. */
static void check_stream(struct px_pairing_wire *w, int err)
{
    if (err == 0)
        return;
    w->err = err;
    w->stopped = true;
    uv_close((uv_handle_t *)&w->timer, on_timer_closed);
}

int px_pairing_wire_open(struct px_pairing_wire *w, uv_loop_t *loop, struct px_link *link,
                         uint8_t type, const struct px_pairing_wire_ops *ops, void *ctx)
{
    int err = start(w, loop, ops, ctx);
    if (err == 0)
        check_stream(w, px_stream_open(link, type, &stream_ops, w, &w->stream));
    return err;
}

int px_pairing_wire_adopt(struct px_pairing_wire *w, uv_loop_t *loop, struct px_link *link,
                          int64_t id, const struct px_pairing_wire_ops *ops, void *ctx)
{
    int err = start(w, loop, ops, ctx);
    if (err == 0)
        check_stream(w, px_stream_adopt(link, id, &stream_ops, w, &w->stream));
    return err;
}

void px_pairing_wire_set_time(struct px_pairing_wire *w, px_nsec time)
{
    if (w->timer_open)
        (void)uv_timer_start(&w->timer, on_time, time / PX_MSEC, 0);
}

int px_pairing_wire_send(struct px_pairing_wire *w, struct px_slice body)
{
    struct px_buf frame;
    struct px_chunk *chunk = NULL;
    if (w->stream == NULL)
        return PX_ECLOSED;
    px_buf_init(&frame, PX_PAIRING_MESSAGE_MAX + 2);
    int err = px_frame_put(&frame, PX_PAIRING_MESSAGE_MAX, body);
    if (err == 0) {
        chunk = px_chunk_copy(px_buf_slice(&frame));
        err = chunk == NULL ? PX_ENOMEM : px_stream_write(w->stream, chunk);
    }
    px_buf_deinit(&frame);
    return err;
}

void px_pairing_wire_end(struct px_pairing_wire *w)
{
    w->stopped = true;
    if (w->stream != NULL)
        px_stream_end(w->stream);
}

void px_pairing_wire_abort(struct px_pairing_wire *w, int err)
{
    w->stopped = true;
    if (w->err == 0)
        w->err = err;
    if (w->stream != NULL)
        px_stream_abort(w->stream, PX_CLOSE_NONE);
}

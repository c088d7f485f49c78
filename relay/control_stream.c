/* See control_stream.h. A stream that ends, or a frame too long, ends the link: §1. */
#include "relay/control_stream.h"

#include <stdlib.h>

#include "relay/relay_msg.h"
#include "transport/frame.h"

struct px_control_stream {
    const struct px_control_stream_ops *ops;
    void *ctx;
    struct px_stream *stream;
    struct px_frame_reader reader;
};

static void on_recv(void *ctx, struct px_stream *s, struct px_slice data, bool fin)
{
    struct px_control_stream *c = ctx;
    struct px_slice body;
    size_t len = data.len;
    int err = 0;
    while (err == 0 && px_link_is_up(px_stream_link(s))) {
        err = px_frame_read(&c->reader, &data, PX_RELAY_FRAME_MAX, &body);
        if (err == 0)
            c->ops->frame(c->ctx, body);
    }
    px_stream_consume(s, len);
    if (err != 0 && err != PX_EAGAIN)
        px_link_close(px_stream_link(s), err == PX_ENOMEM ? PX_CLOSE_INTERNAL : PX_CLOSE_PROTOCOL);
    else if (fin)
        px_link_close(px_stream_link(s), PX_CLOSE_NONE);
}

static void on_drained(void *ctx, struct px_stream *s)
{
    (void)ctx;
    (void)s;
}

static void on_closed(void *ctx, struct px_stream *s, int err, uint64_t code)
{
    struct px_control_stream *c = ctx;
    (void)err;
    (void)code;
    px_link_close(px_stream_link(s), PX_CLOSE_PROTOCOL); /* harmless when the link is ending */
    c->ops->closed(c->ctx);
    px_frame_reader_deinit(&c->reader);
    free(c);
}

static const struct px_stream_user_ops stream_ops = {on_recv, on_drained, on_closed};

static struct px_control_stream *control_new(const struct px_control_stream_ops *ops, void *ctx)
{
    struct px_control_stream *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return NULL;
    c->ops = ops;
    c->ctx = ctx;
    px_frame_reader_init(&c->reader);
    return c;
}

int px_control_stream_open(struct px_link *l, const struct px_control_stream_ops *ops, void *ctx,
                           struct px_control_stream **ret)
{
    struct px_control_stream *c = control_new(ops, ctx);
    if (c == NULL)
        return PX_ENOMEM;
    int err = px_stream_open(l, PX_STREAM_RELAY, &stream_ops, c, &c->stream);
    if (err != 0) {
        free(c);
        return err;
    }
    *ret = c;
    return 0;
}

int px_control_stream_adopt(struct px_link *l, int64_t id, const struct px_control_stream_ops *ops,
                            void *ctx, struct px_control_stream **ret, void **ret_stream_ctx)
{
    struct px_control_stream *c = control_new(ops, ctx);
    if (c == NULL)
        return PX_ENOMEM;
    int err = px_stream_adopt(l, id, &stream_ops, c, &c->stream);
    if (err != 0) {
        free(c);
        return err;
    }
    *ret = c;
    *ret_stream_ctx = c->stream;
    return 0;
}

void px_control_stream_send(struct px_control_stream *c, struct px_slice frame)
{
    struct px_link *l = px_stream_link(c->stream);
    if (px_stream_queued(c->stream) + frame.len > PX_CONTROL_STREAM_QUEUE_MAX) {
        px_link_close(l, PX_CLOSE_OVERRUN);
        return;
    }
    struct px_chunk *chunk = px_chunk_copy(frame);
    int err = chunk == NULL ? PX_ENOMEM : px_stream_write(c->stream, chunk);
    if (err == PX_ENOMEM)
        px_link_close(l, PX_CLOSE_INTERNAL);
}

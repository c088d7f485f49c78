/* Frames over one stream of a link: the control stream of docs/spec/relay.md §1, for both sides. */
#ifndef PX_RELAY_CONTROL_STREAM_H
#define PX_RELAY_CONTROL_STREAM_H

#include "transport/stream.h"

struct px_control_stream;

#define PX_CONTROL_STREAM_QUEUE_MAX                                                                \
    (256u * 1024) /* not acknowledged; then the link ends: OVERRUN */

struct px_control_stream_ops {
    /* A frame's body, valid for the call. May close the link. */
    void (*frame)(void *ctx, struct px_slice body);
    /* The end; the pointer is dead afterwards. */
    void (*closed)(void *ctx);
};

/* Opens the stream (the node's side). As px_stream_open. */
PX_MUST_CHECK int px_control_stream_open(struct px_link *l, const struct px_control_stream_ops *ops,
                                         void *ctx, struct px_control_stream **ret);
/* Takes the one the node opened (the relay's side): return px_stream_link_ops with *ret_stream_ctx
 * from px_overlay_ops.stream. */
PX_MUST_CHECK int px_control_stream_adopt(struct px_link *l, int64_t id,
                                          const struct px_control_stream_ops *ops, void *ctx,
                                          struct px_control_stream **ret, void **ret_stream_ctx);
/* A whole frame, with its length. A queue that is full, or no memory, closes the link. */
void px_control_stream_send(struct px_control_stream *c, struct px_slice frame);

#endif

/* One stream of pairing or rotation: frames in and out, its limits in bytes and time. Embedded in
 * its owner. */
#ifndef PX_NODE_PAIRING_WIRE_H
#define PX_NODE_PAIRING_WIRE_H

#include <uv.h>

#include "auth/pairing.h"
#include "transport/frame.h"
#include "transport/stream.h"

#define PX_PAIRING_STREAM_MAX  4096          /* bytes taken from one stream */
#define PX_PAIRING_TIME        (10 * PX_SEC) /* from its opening to its end */
#define PX_PAIRING_REPLY_TIME  (5 * PX_SEC)  /* the joiner waits for an answer */
#define PX_PAIRING_VERIFY_TIME (300 * PX_SEC)

struct px_pairing_wire_ops {
    void (*message)(void *ctx, struct px_slice body);
    /* Its time is over; it is being aborted. `ended` follows, but on a dead link only when that is
     * given up. Optional. */
    void (*late)(void *ctx);
    /* The last call, from the loop: nothing refers to the wire any more. 0: both sides ended it;
     * PX_ETIMEDOUT, PX_EPROTO (limits, framing), PX_ECANCELED (reset), PX_ECLOSED (the link went).
     */
    void (*ended)(void *ctx, int err);
};

struct px_pairing_wire {
    struct px_stream *stream; /* NULL once closed */
    struct px_frame_reader frames;
    size_t received;
    uv_timer_t timer;
    bool timer_open, stopped;
    int err;
    const struct px_pairing_wire_ops *ops;
    void *ctx;
};

/* Opens a stream of that type. PX_EIO: there is no wire. Without a stream (errors of
 * px_stream_open) `ended` follows from the loop. */
PX_MUST_CHECK int px_pairing_wire_open(struct px_pairing_wire *w, uv_loop_t *loop,
                                       struct px_link *link, uint8_t type,
                                       const struct px_pairing_wire_ops *ops, void *ctx);
/* The same with one the peer opened; w->stream is for px_stream_link_ops, NULL if there is none. */
PX_MUST_CHECK int px_pairing_wire_adopt(struct px_pairing_wire *w, uv_loop_t *loop,
                                        struct px_link *link, int64_t id,
                                        const struct px_pairing_wire_ops *ops, void *ctx);
/* How much longer it may last. */
void px_pairing_wire_set_time(struct px_pairing_wire *w, px_nsec time);
PX_MUST_CHECK int px_pairing_wire_send(struct px_pairing_wire *w, struct px_slice body);
/* Nothing more is sent; what comes is not looked at any more. `ended` follows. */
void px_pairing_wire_end(struct px_pairing_wire *w);
void px_pairing_wire_abort(struct px_pairing_wire *w, int err);

#endif

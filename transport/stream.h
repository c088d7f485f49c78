/* A byte stream on a link: a queue of chunks going out, bytes coming in, back-pressure both ways.
 *
 * The writer watches px_stream_queued and stops above a mark of its own; `drained` tells when it
 * may go on. The reader gives back credit with px_stream_consume as it uses what it got. */
#ifndef PX_TRANSPORT_STREAM_H
#define PX_TRANSPORT_STREAM_H

#include "transport/chunk.h"
#include "transport/link.h"

struct px_stream;

/* Below this many bytes not yet acknowledged `drained` is called. */
#define PX_STREAM_LOW_WATER (256u * 1024)

struct px_stream_user_ops {
    void (*recv)(void *ctx, struct px_stream *s, struct px_slice data, bool fin);
    /* The queue fell to PX_STREAM_LOW_WATER from above. */
    void (*drained)(void *ctx, struct px_stream *s);
    /* The end, also after px_stream_abort; the pointer is dead afterwards. `err` is 0 when both
     * directions ended with FIN, PX_ECANCELED after a reset or a STOP_SENDING of either side,
     * PX_ECLOSED when the link ended. `code` is that of a reset; 0 if a STOP_SENDING came first,
     * whose code ngtcp2 does not tell. */
    void (*closed)(void *ctx, struct px_stream *s, int err, uint64_t code);
};

/* Opens a bidirectional stream of ours; `type` is sent first. As px_link_stream_open; PX_ENOMEM. */
PX_MUST_CHECK int px_stream_open(struct px_link *l, uint8_t type,
                                 const struct px_stream_user_ops *ops, void *ctx,
                                 struct px_stream **ret);
/* Takes over a stream the peer opened: call it in px_overlay_ops.stream and return
 * px_stream_link_ops with *ret_ctx set to the stream. PX_ENOMEM. */
PX_MUST_CHECK int px_stream_adopt(struct px_link *l, int64_t id,
                                  const struct px_stream_user_ops *ops, void *ctx,
                                  struct px_stream **ret);
extern const struct px_stream_ops px_stream_link_ops;

/* Takes the reference, also on failure. PX_ESTATE after px_stream_end or when writing is over,
 * PX_ENOMEM. */
PX_MUST_CHECK int px_stream_write(struct px_stream *s, struct px_chunk *owned_chunk);
/* FIN follows what is queued. */
void px_stream_end(struct px_stream *s);
/* Resets and stops the stream with an application code; `closed` follows. */
void px_stream_abort(struct px_stream *s, uint64_t code);
/* Gives back credit for n bytes that `recv` delivered. */
void px_stream_consume(struct px_stream *s, uint64_t n);

/* Bytes written and not yet acknowledged by the peer. */
uint64_t px_stream_queued(const struct px_stream *s);
int64_t px_stream_id(const struct px_stream *s);
struct px_link *px_stream_link(const struct px_stream *s);

#endif

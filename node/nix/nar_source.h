/* A NAR walked on a thread of its own, handed to the loop through a bounded queue.
 *
 * A thread per NAR, not libuv's pool: a walk blocks for as long as the reader on the other end of a
 * slow link pleases, and four of those would starve everything else the pool does. */
#ifndef PX_NODE_NIX_NAR_SOURCE_H
#define PX_NODE_NIX_NAR_SOURCE_H

#include "node/nix/store.h"

struct px_nar_source;

struct px_nar_source_events {
    /* px_nar_source_next may have news after it said PX_EAGAIN. Not called once closed. */
    void (*ready)(void *ctx);
    void *ctx;
    /* After px_nar_source_close: the thread has ended, nothing is left. May be NULL. */
    void (*gone)(void *gone_ctx);
    void *gone_ctx;
};

/* Starts reading. PX_ENOMEM, PX_EINVAL, PX_EBUSY (no thread to be had). */
PX_MUST_CHECK int px_nar_source_start(uv_loop_t *loop, const char *path, uint64_t nar_size,
                                      uint64_t offset, const struct px_nar_source_events *events,
                                      struct px_nar_source **ret);
/* As px_nar_next. */
PX_MUST_CHECK int px_nar_source_next(struct px_nar_source *s, struct px_nar_chunk **ret_owned);
/* Bytes produced and not taken, without the chunk being filled. */
size_t px_nar_source_queued(struct px_nar_source *s);
/* Never blocks: the thread ends at its next chunk or file, then `gone` is called from the loop. */
void px_nar_source_close(struct px_nar_source *s);

#endif

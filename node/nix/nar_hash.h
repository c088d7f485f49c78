/* SHA-256 of NARs as they pass, on one worker thread, so that the loop stays free for the network.
 *
 * Uses GnuTLS's hash, which has SHA-NI where the machine does. Blocks go to the thread and come
 * back through a uv_async; everything else happens on the loop's thread. */
#ifndef PX_NODE_NIX_NAR_HASH_H
#define PX_NODE_NIX_NAR_HASH_H

#include <uv.h>

#include "proto/base/slice.h"

#define PX_NAR_BLOCK_SIZE  (512u * 1024)
#define PX_NAR_SPARES_MAX  16u          /* blocks of that size kept for use while NARs pass */
#define PX_NAR_HASH_INLINE (32u * 1024) /* a block so small is hashed at once, not handed over */

struct px_nar_hasher; /* the thread; started by the first block that needs it */
struct px_nar_hash;   /* the digest of one NAR */

/* A run of NAR bytes, shared by those who hash and those who send it. Counted on the loop's thread
 * alone; immutable below the length handed to px_nar_hash_update. */
struct px_nar_block {
    struct px_nar_block *next;     /* free for the owner's use */
    struct px_nar_block *next_job; /* the hasher's */
    struct px_nar_hash *hash;      /* the hasher's */
    struct px_nar_hasher *home;    /* where it goes when nobody needs it */
    unsigned refs;
    size_t len, cap;
    uint8_t data[];
};

PX_MUST_CHECK int px_nar_hasher_new(uv_loop_t *loop, struct px_nar_hasher **ret);
/* All its hashes must be freed. `closed` is called from the loop; h is gone then. */
void px_nar_hasher_close(struct px_nar_hasher *h, void (*closed)(void *ctx), void *ctx);

/* A block of its own reference, NULL without memory. For a hash of h that lives as long as it. */
struct px_nar_block *px_nar_block_new(struct px_nar_hasher *h, size_t cap);
void px_nar_block_unref(struct px_nar_block *b);

/* `progress` is called from the loop when px_nar_hash_count has grown or the digest is there. */
PX_MUST_CHECK int px_nar_hash_new(struct px_nar_hasher *hasher, void (*progress)(void *ctx),
                                  void *ctx, struct px_nar_hash **ret);
/* Takes a reference of its own. A block may be given once. */
void px_nar_hash_update(struct px_nar_hash *h, struct px_nar_block *b);
/* No more blocks will come. */
void px_nar_hash_finish(struct px_nar_hash *h);
/* Bytes hashed so far. */
uint64_t px_nar_hash_count(const struct px_nar_hash *h);
/* The digest, or NULL while it is not known. */
const uint8_t *px_nar_hash_digest(const struct px_nar_hash *h);
/* At any time, also with blocks on the thread. */
void px_nar_hash_free(struct px_nar_hash *h);

#endif

/* Asks all connected peers for one narinfo at once and takes the first acceptable answer.
 *
 * Peers with a bad history (px_cache_peer_is_bad) are asked PX_CACHE_HEAD_START after the others,
 * or as soon as the others have all said no; at once where there is nobody else.
 *
 * Sans-IO: `now` is handed in. Callbacks of peers only record facts; everything that follows (the
 * verdict, `done`, cancelling the losers) happens in px_cache_queries_run, which the owner calls
 * once a loop turn. The same hash asked several times at once is one round. */
#ifndef PX_NODE_NIX_CACHE_QUERY_H
#define PX_NODE_NIX_CACHE_QUERY_H

#include "node/nix/cache_peer.h"
#include "node/nix/narinfo_check.h"

#define PX_CACHE_QUERY_PEERS_MAX 4096                /* asked in one round */
#define PX_CACHE_QUERIES_MAX     4096                /* rounds at a time; then PX_EBUSY */
#define PX_CACHE_QUERY_BYTES_MAX (64u * 1024 * 1024) /* of answers not judged yet, all rounds */
#define PX_CACHE_QUERY_RETRY     (5 * PX_MSEC)       /* for a peer that allows no stream now */
#define PX_CACHE_HEAD_START      (50 * PX_MSEC)      /* at most half of the deadline */

struct px_cache_queries;
struct px_cache_waiter; /* one who asked */

struct px_cache_queries_config {
    struct px_narinfo_policy policy; /* what it points to must outlive the object */
    px_nsec deadline;                /* of a round: no acceptable answer by then is a miss */
    size_t (*peers)(void *ctx, struct px_cache_peer **ret, size_t cap);
    /* May this peer be believed about this NAR, or has it failed with it? */
    bool (*usable)(void *ctx, const struct px_cache_peer *p, const uint8_t nar_hash[32]);
    /* For logs and counters: an answer was not acceptable. */
    void (*rejected)(void *ctx, struct px_cache_peer *p, struct px_slice hash_part,
                     enum px_narinfo_fault fault);
    void *ctx;
};

/* info and from are borrowed for the call; both NULL for a miss. */
typedef void px_cache_done(void *ctx, const struct px_path_info *info, struct px_cache_peer *from);

PX_MUST_CHECK int px_cache_queries_new(const struct px_cache_queries_config *config,
                                       struct px_cache_queries **ret);
/* Of rounds that begin from now on. */
void px_cache_queries_set_deadline(struct px_cache_queries *q, px_nsec deadline);
/* Other trusted keys from here on; borrowed. */
void px_cache_queries_set_keys(struct px_cache_queries *q, const struct px_nix_public_key *keys,
                               size_t count);
/* Cancels what is under way; `done` is not called any more. */
void px_cache_queries_free(struct px_cache_queries *q);

/* Asks for the path with this hash part (32 characters). With `nar_hash` only an info with that
 * NarHash is acceptable, and a peer with demerits is taken only when none with fewer may still
 * answer in the head start. `done` is called from px_cache_queries_run, once. PX_ENOENT when there
 * is nobody to ask, PX_EBUSY, PX_ENOMEM. */
PX_MUST_CHECK int px_cache_query(struct px_cache_queries *q, px_nsec now, struct px_slice hash_part,
                                 const uint8_t *nar_hash, px_cache_done *done, void *ctx,
                                 struct px_cache_waiter **ret);
/* `done` will not be called. */
void px_cache_query_leave(struct px_cache_queries *q, struct px_cache_waiter *w);

/* The peer must not be touched any more; its requests have got their `end` already. What it said
 * and was not judged yet is dropped. */
void px_cache_queries_peer_gone(struct px_cache_queries *q, const struct px_cache_peer *p);

/* The peer allows streams again: who waits for it is asked by the next run. */
void px_cache_queries_peer_ready(struct px_cache_queries *q);

/* Judges what has come in and what is overdue. */
void px_cache_queries_run(struct px_cache_queries *q, px_nsec now);

struct px_cache_queries_stats {
    uint64_t late;   /* peers of bad history that were asked after the others */
    uint64_t spared; /* and those that were not asked at all: the others had it */
};
void px_cache_queries_stats(const struct px_cache_queries *q, struct px_cache_queries_stats *ret);
/* When run must be called even if nothing comes in; PX_NEVER when nothing is under way. */
px_nsec px_cache_queries_next(const struct px_cache_queries *q);

#endif

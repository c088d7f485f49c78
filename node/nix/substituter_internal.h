/* What substituter.c (narinfos, the loop, life) and substituter_nar.c (NARs) share. Nobody else
 * includes it. */
#ifndef PX_NODE_NIX_SUBSTITUTER_INTERNAL_H
#define PX_NODE_NIX_SUBSTITUTER_INTERNAL_H

#include "node/nix/cache_query.h"
#include "node/nix/http_front.h"
#include "node/nix/nar_memory.h"
#include "node/nix/nar_relay.h"
#include "node/nix/substituter.h"
#include "proto/base/list.h"

/* A narinfo or NAR request that could not be answered at once. */
struct px_substituter_request {
    struct px_list link; /* in substituter.nars, or alone */
    struct px_substituter *s;
    struct px_http_exchange *x;
    struct px_http_target target;
    bool head;
    struct px_cache_waiter *waiter; /* while a round is under way for it */
    /* NAR: */
    struct px_nar_relay *relay;
    struct px_cache_peer *peer; /* the relay's; NULL once it is gone */
    struct px_peer_id peer_id;
    uint64_t nar_size, first;
    bool ranged, answered, retry;
    bool credited; /* its source has it in its history */
    unsigned tries;
    size_t held; /* of the budget */
    px_nsec started;
};

struct px_substituter {
    struct px_substituter_config config;
    struct px_nix_public_key *keys;
    struct px_nix_secret_key own_key;
    char *store_dir;
    struct px_http_front *front;
    struct px_nar_hasher *hasher;
    struct px_cache_queries *queries;
    struct px_nar_memory *memory;
    struct px_list nars; /* requests with a relay, or about to have one */
    size_t held;
    px_nsec now, timer_at;
    struct px_substituter_stats stats;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle; /* active while the loop must not sleep */
    uv_timer_t timer;
    bool flushing, closing, finished;
    px_nsec drain_at;
    int handles; /* libuv has not let go of yet */
    void (*done)(void *ctx);
    void *done_ctx;
};

static inline struct px_slice px_substituter_store_hash(const struct px_substituter_request *q)
{
    return px_slice(q->target.store_hash, PX_STORE_HASH_LEN);
}

/* substituter.c */
void px_substituter_answer_status(struct px_http_exchange *x, unsigned status);
/* Lives until its exchange is over. NULL without memory. */
struct px_substituter_request *px_substituter_request_new(struct px_substituter *s,
                                                          struct px_http_exchange *x,
                                                          const struct px_http_target *target,
                                                          bool head);
/* The narinfo has been passed on: who has its NAR is known for a while. */
void px_substituter_remember(struct px_substituter *s, const struct px_path_info *info,
                             const struct px_cache_peer *from);

/* Fills in the demerits of peers that were not looked up for a while. */
void px_substituter_weigh(const struct px_substituter *s, struct px_cache_peer *const *peers,
                          size_t count);
/* A peer (`p` NULL: gone already) failed. */
void px_substituter_blame(struct px_substituter *s, const struct px_peer_id *id,
                          struct px_cache_peer *p, enum px_history_fault fault, uint32_t demerits);

/* substituter_nar.c */
void px_substituter_nar_request(struct px_substituter *s, struct px_http_exchange *x,
                                const struct px_http_target *target, bool head);
/* Lets go of the source, if there is one. */
void px_substituter_nar_drop(struct px_substituter_request *q);
/* Runs what is due of the NARs. True when there may be more at once. */
bool px_substituter_nars_run(struct px_substituter *s);
px_nsec px_substituter_nars_next(const struct px_substituter *s);
void px_substituter_nars_peer_gone(struct px_substituter *s, const struct px_cache_peer *p);
void px_substituter_nars_peer_ready(struct px_substituter *s, const struct px_cache_peer *p);

#endif

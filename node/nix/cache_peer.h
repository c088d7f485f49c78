/* A connected peer as the substituter sees it: somebody to GET from. Implemented over HTTP/3 by the
 * node and by fakes in tests. */
#ifndef PX_NODE_NIX_CACHE_PEER_H
#define PX_NODE_NIX_CACHE_PEER_H

#include "auth/peer_id.h"
#include "node/h3.h"

struct px_cache_peer;
struct px_cache_fetch; /* one request under way; the implementation's */

struct px_cache_peer_ops {
    /* As px_h3_get / _consume / _cancel. */
    int (*get)(struct px_cache_peer *p, struct px_slice path, uint64_t range_first,
               const struct px_h3_client_ops *ops, void *ctx, struct px_cache_fetch **ret);
    void (*consume)(struct px_cache_peer *p, struct px_cache_fetch *f, uint64_t n);
    void (*cancel)(struct px_cache_peer *p, struct px_cache_fetch *f);
};

struct px_cache_peer {
    const struct px_cache_peer_ops *ops;
    struct px_peer_id id;
    const char *name;      /* for logs: its name or ID */
    uint64_t rtt_ns;       /* 0 if unknown */
    uint64_t nar_received; /* bytes of the bodies of NARs, good or bad; counted by nar_relay */
    px_nsec weighed_at;    /* when the demerits were looked up last; the substituter's own */
    uint32_t demerits;     /* lies and stalls seen; fewer are asked first for NARs */
};

/* A bad history: others are asked first. A lie does it for more than a day, two stalls for hours
 * (node/peer_history.h). */
#define PX_CACHE_PEER_BAD 3
static inline bool px_cache_peer_is_bad(const struct px_cache_peer *p)
{
    return p->demerits >= PX_CACHE_PEER_BAD;
}

#endif

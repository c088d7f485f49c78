/* The binary cache nix asks on 127.0.0.1:12304 (docs/substituter.md): HTTP/1.1 by libmicrohttpd in
 * front of the connected peers.
 *
 * It never hurts nix: 200, 206 and 404 (400, 403, 416 for nonsense), within a deadline, never 5xx,
 * 429 or silence. A narinfo is passed on only if a trusted signature or a matching content address
 * stands; a NAR is hashed on the way and its tail held back until the hash is right. */
#ifndef PX_NODE_NIX_SUBSTITUTER_H
#define PX_NODE_NIX_SUBSTITUTER_H

#include <uv.h>

#include "auth/nix_key.h"
#include "node/http_server.h"
#include "node/nix/cache_peer.h"
#include "node/peer_history.h"
#include "proto/base/log.h"

struct px_substituter;

#define PX_SUBSTITUTER_PEERS_MAX 4096

struct px_substituter_config {
    uv_loop_t *loop;
    const struct px_log *log;
    struct px_addr listen; /* loopback only; port 0: a free one */
    int listen_fd;         /* -1, or a listening socket handed in by the service manager */
    const char *store_dir; /* logical, e.g. /nix/store */
    unsigned priority;     /* of nix-cache-info */
    const struct px_nix_public_key *trusted_keys;
    size_t trusted_key_count;
    bool trust_peers; /* pass narinfos without a trusted Sig or CA (off by default) */
    const struct px_nix_secret_key *own_key; /* adds its Sig to what is passed on; NULL: none */
    px_nsec deadline;  /* for a narinfo: no answer by then is a 404; default 250 ms */
    px_nsec stall;     /* a NAR source silent for so long is given up; default 10 s */
    size_t hold_whole; /* NARs up to this size are held back whole until verified */
    size_t hold_total; /* budget for all of them together */
    /* Fills ret with the peers connected now, at most cap, and returns how many. Pointers stay
     * valid until px_substituter_peer_gone. */
    size_t (*peers)(void *ctx, struct px_cache_peer **ret, size_t cap);
    void *peers_ctx;
    struct px_peer_history *history; /* borrowed, outlives the object; NULL: peers begin without
                                        demerits, and leave with theirs */
    /* Answers a request for a path that is none of nix's, or returns false: 404. NULL: always. */
    bool (*page)(void *ctx, struct px_http_exchange *x);
    void *page_ctx;
};

/* Copies the config and keys. PX_EADDR (in use, not loopback), PX_EPERM, PX_ENOMEM. */
PX_MUST_CHECK int px_substituter_new(const struct px_substituter_config *config,
                                     struct px_substituter **ret);
/* For what is asked from now on. */
void px_substituter_set_limits(struct px_substituter *s, unsigned priority, px_nsec deadline,
                               px_nsec stall);
/* Stops accepting; `done` is called from the loop once running answers are over or cut, at the
 * latest after `drain`. The object is gone then. */
void px_substituter_close(struct px_substituter *s, px_nsec drain, void (*done)(void *ctx),
                          void *ctx);
/* Other trusted keys from here on (copied). PX_ENOMEM: those of before stay. */
PX_MUST_CHECK int px_substituter_set_trusted_keys(struct px_substituter *s,
                                                  const struct px_nix_public_key *keys,
                                                  size_t count);
/* The address bound. */
const struct px_addr *px_substituter_local(const struct px_substituter *s);
/* A peer's link ended: its fetches have ended already (`end` was called), nothing of it may be
 * touched any more. */
void px_substituter_peer_gone(struct px_substituter *s, struct px_cache_peer *p);
/* A peer whose `get` said PX_EAGAIN may be asked again. Without this call it is tried after a
 * while. */
void px_substituter_peer_ready(struct px_substituter *s, struct px_cache_peer *p);

struct px_substituter_stats {
    uint64_t narinfo_hits, narinfo_misses, narinfo_rejected;
    uint64_t nars, nar_bytes, nar_cut;
    uint64_t late_asks, spared_asks; /* of struct px_cache_queries_stats */
};
void px_substituter_stats(const struct px_substituter *s, struct px_substituter_stats *ret);

#endif

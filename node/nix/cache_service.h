/* What peers may ask of this machine's store over HTTP/3: narinfo by hash, NAR with Range.
 *
 * Default deny: one policy function (node/nix/share) decides for narinfo, NAR and HEAD alike, and
 * "unknown" and "not shared" look the same. docs/spec/cache.md. */
#ifndef PX_NODE_NIX_CACHE_SERVICE_H
#define PX_NODE_NIX_CACHE_SERVICE_H

#include "auth/nix_key.h"
#include "node/h3.h"
#include "node/nix/store.h"

struct px_cache_service;

/* NARs streamed to one peer at a time; then 503. nix fetches 25 at a time (http-connections). */
#define PX_CACHE_PEER_NARS_MAX 32

struct px_cache_service_config {
    struct px_store *store;
    const struct px_nix_public_key *share_keys; /* grant `cache`: paths signed by one of these */
    size_t share_key_count;
    const struct px_nix_secret_key *own_key; /* grant `cache-own`: the rest, signed when served;
                                                NULL: not served */
    /* Grants of a peer now (enum px_grant bits, 0 if it is not listed any more). */
    uint32_t (*grants)(void *ctx, const struct px_peer_id *peer);
    void *grants_ctx;
    const struct px_log *log;
};

/* Copies the keys. */
PX_MUST_CHECK int px_cache_service_new(const struct px_cache_service_config *config,
                                       struct px_cache_service **ret);
/* All its sessions must be gone. */
void px_cache_service_free(struct px_cache_service *s);

struct px_cache_service_stats {
    uint64_t narinfos; /* passed out */
    uint64_t unknown;  /* 404: not there, or not for this peer */
    uint64_t busy;     /* 503: too much under way, or the store failed */
    uint64_t nars;     /* begun */
    uint64_t nars_cut; /* of those, ended by an error of ours */
};
void px_cache_service_stats(const struct px_cache_service *s, struct px_cache_service_stats *ret);

/* One peer's view of it; `ops`/`ctx` go to px_h3_new. The id is copied. */
struct px_cache_session;
PX_MUST_CHECK int px_cache_session_new(struct px_cache_service *s, const struct px_peer_id *peer,
                                       struct px_cache_session **ret);
/* Call after px_h3_free. */
void px_cache_session_free(struct px_cache_session *c);
/* Bytes of NARs that the peer has acknowledged. */
uint64_t px_cache_session_sent(const struct px_cache_session *c);
extern const struct px_h3_server_ops px_cache_session_ops; /* ctx: the session */

#endif

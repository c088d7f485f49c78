/* What the substituter remembers between nix's requests, both bounded and forgotten in time: which
 * NAR a store path has and who told so (so that a NAR right after its narinfo needs no second
 * question), and which peer has failed with which NAR. Pure; peers are remembered by ID. */
#ifndef PX_NODE_NIX_NAR_MEMORY_H
#define PX_NODE_NIX_NAR_MEMORY_H

#include "auth/peer_id.h"
#include "proto/path_info.h"

#define PX_NAR_FACTS_MAX  8192 /* the least recently used goes first */
#define PX_NAR_FACT_TIME  (3600 * PX_SEC)
#define PX_NAR_FAULTS_MAX 1024           /* the oldest goes first */
#define PX_NAR_FAULT_TIME (600 * PX_SEC) /* a peer is not asked for a NAR it failed with */

struct px_nar_memory;

/* Verified: a trusted signature or content address stands for it. */
struct px_nar_fact {
    uint8_t nar_hash[32];
    uint64_t nar_size;
    struct px_peer_id holder;
};

PX_MUST_CHECK int px_nar_memory_new(struct px_nar_memory **ret);
void px_nar_memory_free(struct px_nar_memory *m);

/* Without memory nothing is remembered. */
void px_nar_memory_put(struct px_nar_memory *m, px_nsec now, struct px_slice hash_part,
                       const struct px_nar_fact *fact);
/* NULL if not known; valid until the next call with m. */
const struct px_nar_fact *px_nar_memory_get(struct px_nar_memory *m, px_nsec now,
                                            struct px_slice hash_part);

void px_nar_memory_blame(struct px_nar_memory *m, px_nsec now, const uint8_t nar_hash[32],
                         const struct px_peer_id *peer);
bool px_nar_memory_blamed(const struct px_nar_memory *m, px_nsec now, const uint8_t nar_hash[32],
                          const struct px_peer_id *peer);

#endif

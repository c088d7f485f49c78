/* What this node has seen for itself of each peer as a source: what came and was right, and what
 * went wrong. Sans-IO: `now` is the monotonic clock; node/peer_history_io keeps it in state.db.
 *
 * Failures make demerits, and demerits halve in a day: who failed long ago is asked like anybody
 * else. Wall time has no say in that while the node runs. */
#ifndef PX_NODE_PEER_HISTORY_H
#define PX_NODE_PEER_HISTORY_H

#include "auth/peer_id.h"

#define PX_HISTORY_PEERS_MAX    4096 /* the one with no news for longest makes room */
#define PX_HISTORY_HALF_LIFE    (24 * 3600 * PX_SEC)
#define PX_HISTORY_DEMERITS_MAX 64 /* lived down in five days */

struct px_peer_history;

/* X(name, word) */
#define PX_HISTORY_FAULT_TABLE(X)                                                                  \
    X(PX_HISTORY_LIED, "lied")             /* content that is not what its hash says */            \
    X(PX_HISTORY_WRONG_SIZE, "wrong_size") /* too short, too long, more than was allowed */        \
    X(PX_HISTORY_STALLED, "stalled")                                                               \
    X(PX_HISTORY_CUT, "cut")         /* broke off, perhaps with its link */                        \
    X(PX_HISTORY_REFUSED, "refused") /* had told of a NAR and did not give it */                   \
    X(PX_HISTORY_BAD_NARINFO, "bad_narinfo")

enum px_history_fault {
#define X(name, word) name,
    PX_HISTORY_FAULT_TABLE(X)
#undef X
        PX_HISTORY_FAULTS
};
const char *px_history_fault_name(enum px_history_fault f);

struct px_history_record {
    uint64_t bytes, nars; /* verified NARs */
    uint64_t faults[PX_HISTORY_FAULTS];
    uint64_t demerits; /* thousandths, as of now */
};

PX_MUST_CHECK int px_peer_history_new(const struct px_rng *rng, struct px_peer_history **ret);
void px_peer_history_free(struct px_peer_history *h);

/* A whole NAR came and was right. Without memory nothing is noted, here and below. */
void px_peer_history_nar(struct px_peer_history *h, const struct px_peer_id *id, uint64_t bytes,
                         px_nsec now);
void px_peer_history_fault(struct px_peer_history *h, const struct px_peer_id *id,
                           enum px_history_fault fault, uint32_t demerits, px_nsec now);
/* Whole ones, 0 for a stranger. */
uint32_t px_peer_history_demerits(const struct px_peer_history *h, const struct px_peer_id *id,
                                  px_nsec now);
/* False when nothing is known. */
bool px_peer_history_get(const struct px_peer_history *h, const struct px_peer_id *id, px_nsec now,
                         struct px_history_record *ret);

/* The peer has another ID: what is known of `from` holds for `to`, also when told again. The old
 * record stays until the next run, which does not find it listed. */
void px_peer_history_follow(struct px_peer_history *h, const struct px_peer_id *from,
                            const struct px_peer_id *to, px_nsec now);

/* ---- for who keeps it ---- */

/* `changed` is called whenever there begins to be something to take; it must not call back. */
void px_peer_history_watch(struct px_peer_history *h, void (*changed)(void *ctx), void *ctx);

/* What was kept, `age` ago. */
void px_peer_history_put(struct px_peer_history *h, const struct px_peer_id *id,
                         const struct px_history_record *r, px_nsec age, px_nsec now);
/* The next one that changed since it was taken last; false: none. */
bool px_peer_history_take_changed(struct px_peer_history *h, px_nsec now, struct px_peer_id *ret_id,
                                  struct px_history_record *ret);
/* Those with demerits count as changed: they have become fewer. */
void px_peer_history_age(struct px_peer_history *h);

#endif

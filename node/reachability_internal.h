/* What reachability.c (when) and reachability_judge.c (where, and what it means) share. Nobody else
 * includes it. */
#ifndef PX_NODE_REACHABILITY_INTERNAL_H
#define PX_NODE_REACHABILITY_INTERNAL_H

#include "node/reachability.h"

enum px_reach_step {
    PX_REACH_IDLE,
    PX_REACH_DUE, /* to be asked at due_at */
    PX_REACH_PROBING,
    PX_REACH_STEPS,
};

struct px_reach_candidate {
    struct px_reach_addr info;
    enum px_reach_step step;
    px_nsec due_at, asked_at;
    unsigned tries;
    bool again; /* due when the answer is there */
};

struct px_reach_relay {
    struct px_peer_id id;
    struct px_addr remote, observed;
    bool busy, pays;      /* a probe is under way, that may cost */
    struct px_addr asked; /* about this; no address: about one that is none of ours any more */
    px_nsec not_before;
    struct px_token_bucket probes;
};

struct px_reach {
    const struct px_reach_ops *ops;
    void *ctx;
    struct px_reach_relay relays[PX_REACH_RELAYS_MAX];
    size_t relay_count;
    struct px_reach_candidate all[PX_REACH_ADDRS_MAX];
    size_t count;
    struct px_token_bucket paid; /* in nanoseconds */
    px_nsec again_at;
    bool dirty; /* `changed` is owed */
    enum px_reach_verdict told;
    enum px_reach_mapping told_mapping;
};

static inline bool px_reach_is_udp(const struct px_reach_relay *l)
{
    return !px_addr_is_pipe(&l->remote) && l->observed.family != PX_ADDR_NONE;
}

/* reachability_judge.c: which relay is asked about an address, and whether that may cost. False:
 * none can be, or it is not worth it. */
struct px_reach_choice {
    struct px_reach_relay *relay;
    bool pays;
};
bool px_reach_choose(const struct px_reach *r, const struct px_reach_candidate *c,
                     struct px_reach_choice *ret);

#endif

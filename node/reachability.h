/* Whether this node can be reached from outside, as a core: which of its addresses relays are asked
 * to dial back (docs/spec/relay.md §6) and when, and what the answers mean together. It is told of
 * relays, addresses and answers; asking and the clock are its owner's. */
#ifndef PX_NODE_REACHABILITY_H
#define PX_NODE_REACHABILITY_H

#include "auth/peer_id.h"
#include "proto/addr.h"
#include "relay/relay_status.h"
#include "relay/token_bucket.h"

struct px_reach;

#define PX_REACH_RELAYS_MAX    8
#define PX_REACH_ADDRS_MAX     24
#define PX_REACH_SETTLE        PX_SEC          /* from a change to the questions about it */
#define PX_REACH_AGAIN         (3600 * PX_SEC) /* without any change */
#define PX_REACH_BURST         8               /* probes at once, a relay; it allows 12 a minute */
#define PX_REACH_PER_MINUTE    10              /* the same for longer */
#define PX_REACH_REFUSED_PAUSE (21 * PX_SEC)   /* a relay that says "not now" gets */
#define PX_REACH_TRIES         3               /* with no result, then the address waits */
#define PX_REACH_PAID_MAX      4               /* addresses paid for at once, */
#define PX_REACH_PAID_AGAIN    (1200 * PX_SEC) /* and one more after each */

enum px_reach_source {
    PX_REACH_OWN = 1,       /* of an interface, with the port we listen at */
    PX_REACH_OBSERVED = 2,  /* a relay sees us there */
    PX_REACH_ANNOUNCED = 4, /* the configuration says so */
};

enum px_reach_result {
    PX_REACH_UNKNOWN,     /* not asked yet, or the answer means nothing */
    PX_REACH_REACHABLE,   /* a packet of the relay's came, from where we never sent to */
    PX_REACH_UNREACHABLE, /* none came */
};

/* One address as it stands. */
struct px_reach_addr {
    struct px_addr addr;
    unsigned sources; /* of enum px_reach_source */
    enum px_reach_result result;
    bool probing;         /* asked now; `result` is the one before */
    px_nsec at;           /* of result; 0: there was no answer yet */
    px_nsec took;         /* from question to answer */
    struct px_peer_id by; /* the relay that answered */
    bool paid;            /* the question cost data */
};

/* What it all means. */
enum px_reach_verdict {
    PX_REACH_V_UNKNOWN,    /* no relay, or no answer yet */
    PX_REACH_V_PUBLIC,     /* an address of an interface is reachable */
    PX_REACH_V_MAPPED,     /* behind a NAT that lets in what comes to the observed address */
    PX_REACH_V_FIREWALLED, /* no NAT, but nothing comes in unasked */
    PX_REACH_V_NAT,        /* behind a NAT that lets in nothing unasked */
    PX_REACH_V_BLOCKED,    /* UDP does not get out: relays by TLS only */
    PX_REACH_V_LOCAL,      /* relays in the same private network: nothing known of the Internet */
};
const char *px_reach_verdict_name(enum px_reach_verdict v);

/* Does the address outside depend on who is spoken to? */
enum px_reach_mapping {
    PX_REACH_M_UNKNOWN, /* that takes two relays */
    PX_REACH_M_NONE,    /* it is an interface's */
    PX_REACH_M_SAME,
    PX_REACH_M_VARIES,
};
/* NULL for UNKNOWN. */
const char *px_reach_mapping_name(enum px_reach_mapping m);

struct px_reach_ops {
    /* Asks the relay for a dial-back; px_reach_answer follows, not from inside this call. `pays`:
     * the data it costs may be sent. An error: it cannot be asked now. */
    int (*probe)(void *ctx, const struct px_peer_id *relay, const struct px_addr *a, bool pays);
    /* Verdict, mapping, addresses or results are others. From inside run and answer alone. */
    void (*changed)(void *ctx);
};

PX_MUST_CHECK int px_reach_new(const struct px_reach_ops *ops, void *ctx, px_nsec now,
                               struct px_reach **ret);
void px_reach_free(struct px_reach *r);

/* The relay is connected at `remote` (a pipe: by TLS), and sees us at `observed` (no address: not
 * known); also when either changed. Further relays than PX_REACH_RELAYS_MAX are not asked. */
void px_reach_relay(struct px_reach *r, const struct px_peer_id *id, const struct px_addr *remote,
                    const struct px_addr *observed, px_nsec now);
void px_reach_relay_gone(struct px_reach *r, const struct px_peer_id *id, px_nsec now);
/* All addresses of that source, OWN or ANNOUNCED, with ports. What does not fit is left out. */
void px_reach_set(struct px_reach *r, enum px_reach_source source, const struct px_addr *addrs,
                  size_t count, px_nsec now);
/* The network is another one, or may be: everything is asked again. */
void px_reach_network_changed(struct px_reach *r, px_nsec now);
/* The same, at once: somebody waits for it. */
void px_reach_check(struct px_reach *r, px_nsec now);
/* What a relay said to the probe under way there; NO_ANSWER when it went. */
void px_reach_answer(struct px_reach *r, const struct px_peer_id *id, enum px_relay_status status,
                     px_nsec now);
void px_reach_run(struct px_reach *r, px_nsec now);
px_nsec px_reach_deadline(const struct px_reach *r);

/* Are there addresses that a relay is asked about, or will be? */
bool px_reach_busy(const struct px_reach *r);
/* Over addresses of that family; PX_ADDR_NONE: over all, the best one counts. */
enum px_reach_verdict px_reach_verdict(const struct px_reach *r, enum px_addr_family family);
enum px_reach_mapping px_reach_mapping(const struct px_reach *r);
size_t px_reach_count(const struct px_reach *r);
void px_reach_get(const struct px_reach *r, size_t i, struct px_reach_addr *ret);
/* UNKNOWN for an address that is no candidate. */
enum px_reach_result px_reach_result(const struct px_reach *r, const struct px_addr *a);
/* Routed on the Internet, as far as the address tells. */
bool px_reach_is_global(const struct px_addr *a);

#endif

/* The relays a node uses (docs/spec/relay.md): control connections to those of HOME/relays,
 * circuits to peers through them, and what peers register there.
 *
 * Relays are used in the order of the file: PX_RELAYS_WARM connected ones are kept, further ones
 * stand in while one of these is away. Without a file nothing happens at all. */
#ifndef PX_NODE_RELAYS_H
#define PX_NODE_RELAYS_H

#include "node/peers.h"
#include "node/relay_list.h"
#include "relay/client.h"

struct px_relays;

#define PX_RELAYS_WARM          2
#define PX_RELAYS_CIRCUITS_MAX  128              /* open, being opened, and rung for */
#define PX_RELAYS_HEAD_START    (500 * PX_MSEC)  /* of direct addresses before a relay is asked */
#define PX_RELAYS_TURN          PX_SEC           /* and of a relay before the next one */
#define PX_RELAYS_RETRY_MAX     (60 * PX_SEC)    /* longest pause between two dials of a relay */
#define PX_RELAYS_PING_IDLE     (15 * PX_SEC)    /* how often a relay must show it is there, */
#define PX_RELAYS_PING_BUSY     PX_SEC           /* and while circuits go through it */
#define PX_RELAYS_PONG_TIME     (1500 * PX_MSEC) /* then it is taken for dead */
#define PX_RELAYS_CIRCUIT_IDLE  (60 * PX_SEC)    /* a circuit without packets is ended */
#define PX_RELAYS_CIRCUIT_GRACE PX_SEC           /* after its link ended */

struct px_relays_config {
    uv_loop_t *loop;
    const struct px_log *log;
    const char *path; /* of the file; borrowed, as is all else */
    const struct px_identity *identity;
    const char *network;
    const char *name; /* to register; "" for none */
    struct px_allowlist *allowlist;
    struct px_net_monitor *monitor; /* NULL: no addresses are registered but the observed one */
    struct px_peers *peers;
};

PX_MUST_CHECK int px_relays_new(const struct px_relays_config *config, struct px_relays **ret);
/* Ends circuits and links; `done` is called from the loop, r is gone then. Before the peers are
 * closed. */
void px_relays_close(struct px_relays *r, void (*done)(void *ctx), void *ctx);

enum px_relay_state {
    PX_RELAY_SPARE,   /* not needed now */
    PX_RELAY_WAITING, /* for the next dial */
    PX_RELAY_LOOKUP,  /* of its host name */
    PX_RELAY_DIALLING,
    PX_RELAY_UP,
    PX_RELAY_STATES,
};
const char *px_relay_state_name(enum px_relay_state s);

/* Strings are views that live until the loop turns. */
struct px_relay_info {
    struct px_peer_id id;
    const char *label;
    const char *addr; /* HOST:PORT, of the current or next dial */
    enum px_relay_state state;
    bool reserved;
    enum px_relay_class class; /* while reserved */
    px_nsec rtt;               /* 0: not known */
    px_nsec next_dial;         /* from now; PX_NEVER: none planned */
    int last_err;
    struct px_addr observed; /* how it sees us; may be no address */
    size_t circuits;
};
void px_relays_each(struct px_relays *r, void (*each)(void *ctx, const struct px_relay_info *info),
                    void *ctx);

#endif

/* The pairing service of a running node (docs/spec/pairing.md): invites people made here, peers
 * that come with one, invites of others that we join, and the control endpoints for all that. */
#ifndef PX_NODE_PAIRING_H
#define PX_NODE_PAIRING_H

#include <uv.h>

#include "auth/nix_key.h"
#include "node/config.h"
#include "node/control.h"
#include "node/peers.h"
#include "node/relays.h"
#include "node/sqlite_db.h"

#define PX_PAIRING_INVITES_MAX  16  /* remembered, open or not */
#define PX_PAIRING_GUESTS_MAX   2   /* that know an invite at once; further ones are told BUSY */
#define PX_PAIRING_STREAMS_MAX  128 /* of all peers; further ones are reset */
#define PX_PAIRING_PEER_STREAMS 2   /* of one peer: the one before may not have ended yet */
#define PX_PAIRING_WRONG_BURST  16  /* wrong hellos that are told so and count, 1 more a second */
#define PX_PAIRING_JOINS_MAX    4   /* of ours at once */
#define PX_PAIRING_WATCHERS_MAX 16  /* callers that wait for an invite's end */
#define PX_PAIRING_PROBE_TIME   (1 * PX_SEC) /* an existing link has to answer before a join */
#define PX_PAIRING_JOIN_TIME    3600         /* seconds a stored join is tried again */
#define PX_PAIRING_JOIN_PAUSE   15           /* seconds between two tries */

struct px_pairings;

struct px_pairings_config {
    uv_loop_t *loop;
    const struct px_log *log;
    const struct px_home *home;
    const struct px_identity *identity;
    const char *network;
    struct px_allowlist *allowlist;
    struct px_peers *peers;
    struct px_relays *relays;                /* NULL: none are used */
    struct px_net_monitor *monitor;          /* NULL: loopback addresses only */
    struct px_sqlite *state;                 /* NULL: a restart forgets */
    struct px_control *control;              /* NULL: no endpoints */
    const struct px_nix_public_key *own_key; /* NULL: none */
    const struct px_string_list *announce;   /* our addresses as written; empty: found */
};

/* All borrowed until `done`. Loads what is stored, registers the stream handler and the routes.
 * PX_ENOMEM, PX_EIO, errors of px_peers_add_handler and px_control_add. */
PX_MUST_CHECK int px_pairings_new(const struct px_pairings_config *config,
                                  struct px_pairings **ret);
/* Ends what is under way. The peers must still be there; `done` is called from the loop. */
void px_pairings_close(struct px_pairings *p, void (*done)(void *ctx), void *ctx);
/* Fits px_peers_config.peer_up: `paired` is told once the peer can be asked. */
void px_pairings_peer_up(void *pairings, const struct px_peer_id *id);
/* Fits px_peers_config.guest: an invite is remembered, so anybody may come and name it. */
bool px_pairings_guest(void *pairings, const struct px_peer_id *id);

#endif

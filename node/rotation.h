/* Identity rotation of a running node (docs/spec/rotation.md): our own new key, of which peers are
 * told, and the new keys of peers, to which their entries move; with the control endpoints. */
#ifndef PX_NODE_ROTATION_H
#define PX_NODE_ROTATION_H

#include <uv.h>

#include "node/control.h"
#include "node/peer_history_io.h"
#include "node/peers.h"
#include "node/relays.h"
#include "node/sqlite_db.h"

#define PX_ROTATION_CALLS_MAX      8  /* peers we are telling at once */
#define PX_ROTATION_GUESTS_MAX     8  /* peers that are telling us at once */
#define PX_ROTATION_GUESTS_OF_PEER 2  /* of them of one peer */
#define PX_ROTATION_CHANGES_MAX    60 /* records and withdrawals taken in one window */
#define PX_ROTATION_WINDOW         (60 * PX_SEC)
#define PX_ROTATION_AGAIN          (5 * PX_SEC) /* until a peer that did not answer is told again */
#define PX_ROTATION_REFUSED        (60 * PX_SEC) /* the same for one that refused */
#define PX_ROTATION_DIAL_MIN       (1 * PX_SEC)  /* pause between two dials of a new key */
#define PX_ROTATION_DIAL_MAX       (60 * PX_SEC)
#define PX_ROTATION_MOVE_AGAIN     (30 * PX_SEC) /* until files that could not be written are tried */

struct px_rotations;

struct px_rotations_config {
    uv_loop_t *loop;
    const struct px_log *log;
    const struct px_home *home;
    const struct px_identity *identity;
    const char *network;
    struct px_allowlist *allowlist;
    struct px_peers *peers;
    struct px_sqlite *state;            /* NULL: records of others are refused */
    struct px_peer_history_io *history; /* NULL: nobody keeps any */
    struct px_relays *relays;           /* NULL: none are used */
    struct px_control *control;         /* NULL: no endpoints */
    /* identity.pem holds another key now: called once, from the loop, when answers had time to
     * leave. */
    void (*restart)(void *ctx);
    void *ctx;
};

/* All borrowed until `done`. Registers the stream handler and the routes, finishes what an earlier
 * run left half done. PX_ENOMEM, PX_EIO, errors of px_peers_add_handler and px_control_add. */
PX_MUST_CHECK int px_rotations_new(const struct px_rotations_config *config,
                                   struct px_rotations **ret);
/* Ends what is under way. The peers must still be there; `done` is called from the loop. */
void px_rotations_close(struct px_rotations *p, void (*done)(void *ctx), void *ctx);
/* Fits px_peers_config.guest and .expected: a listed peer said that this is its new key. */
bool px_rotations_guest(void *rotations, const struct px_peer_id *id);

#endif

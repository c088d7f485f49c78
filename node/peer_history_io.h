/* Keeps the history of peers (peer_history.h) in state.db: writes what changed PX_HISTORY_WRITE
 * later, all that has demerits every PX_HISTORY_AGE, and everything at the end.
 *
 * For the time the node was not there demerits age by the wall clock, but by PX_HISTORY_AWAY_MAX a
 * restart at most: a clock set wrong forgives little, one set back nothing. */
#ifndef PX_NODE_PEER_HISTORY_IO_H
#define PX_NODE_PEER_HISTORY_IO_H

#include <uv.h>

#include "node/peer_history.h"
#include "node/sqlite_db.h"
#include "proto/base/log.h"

#define PX_HISTORY_WRITE    (5 * PX_SEC)
#define PX_HISTORY_RETRY    (60 * PX_SEC) /* what could not be written */
#define PX_HISTORY_AGE      (3600 * PX_SEC)
#define PX_HISTORY_AWAY_MAX PX_HISTORY_HALF_LIFE

struct px_peer_history_io;

struct px_peer_history_io_config {
    uv_loop_t *loop;
    const struct px_log *log;
    struct px_sqlite *db; /* borrowed; NULL: nothing is kept */
    /* What is kept of others is deleted. */
    bool (*listed)(void *ctx, const struct px_peer_id *id);
    void *ctx;
};

/* A table that cannot be read is logged and the history begins anew. PX_ENOMEM. */
PX_MUST_CHECK int px_peer_history_io_new(const struct px_peer_history_io_config *config,
                                         struct px_peer_history_io **ret);
struct px_peer_history *px_peer_history_io_core(struct px_peer_history_io *io);
/* A listed peer is about to have another ID: its history is that of the new one, and written now,
 * for the old one's is dropped by any run that does not find it listed. What cannot be written is
 * logged. May be repeated. */
void px_peer_history_io_follow(struct px_peer_history_io *io, const struct px_peer_id *from,
                               const struct px_peer_id *to);
/* Writes what is left; the database is not touched afterwards. NULL is fine. */
void px_peer_history_io_close(struct px_peer_history_io *io);

/* ---- the table, for its tests ---- */

PX_MUST_CHECK int px_peer_history_save(struct px_sqlite *db, struct px_peer_history *h,
                                       uint64_t wall_now, px_nsec now);
PX_MUST_CHECK int px_peer_history_load(struct px_sqlite *db, struct px_peer_history *h,
                                       uint64_t wall_now, px_nsec now,
                                       bool (*listed)(void *ctx, const struct px_peer_id *id),
                                       void *ctx);

#endif

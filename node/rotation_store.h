/* What a rotation leaves in the state database (tables rotation_… of node/state_db.c): records of
 * others that wait, keys they left behind, and who has acked ours. */
#ifndef PX_NODE_ROTATION_STORE_H
#define PX_NODE_ROTATION_STORE_H

#include "auth/rotation_book.h"
#include "node/sqlite_db.h"

/* A peer that has a record of ours. */
struct px_rotation_ack {
    struct px_peer_id peer, own, next; /* the record leads from own to next */
};

/* Records are checked again when they are loaded: nothing in a row is believed. Errors of
 * px_sqlite_…. */
PX_MUST_CHECK int px_rotation_store_record(struct px_sqlite *db, const struct px_rotation *r);
PX_MUST_CHECK int px_rotation_forget_record(struct px_sqlite *db, const struct px_peer_id *old_id);
PX_MUST_CHECK int px_rotation_store_retired(struct px_sqlite *db, const struct px_rotation_move *m);
/* Copies what the address book has of the old ID. */
PX_MUST_CHECK int px_rotation_store_addrs(struct px_sqlite *db, const struct px_rotation_move *m);
/* Records of another network and rows that make no sense are left out. */
PX_MUST_CHECK int px_rotation_store_load(struct px_sqlite *db, const char *network,
                                         struct px_rotation_book *ret);

PX_MUST_CHECK int px_rotation_store_ack(struct px_sqlite *db, const struct px_rotation_ack *a);
PX_MUST_CHECK int px_rotation_forget_ack(struct px_sqlite *db, const struct px_peer_id *peer);
PX_MUST_CHECK int px_rotation_forget_acks(struct px_sqlite *db);
/* The peer has another ID now. */
PX_MUST_CHECK int px_rotation_move_ack(struct px_sqlite *db, const struct px_rotation_move *m);
/* What `each` returns other than 0 ends it. */
PX_MUST_CHECK int px_rotation_each_ack(struct px_sqlite *db,
                                       int (*each)(void *ctx, const struct px_rotation_ack *a),
                                       void *ctx);

#endif

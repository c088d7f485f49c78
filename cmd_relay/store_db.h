/* HOME/relay.db: the px_relay_store of the relay, in SQLite. What a call wrote survives kill -9. */
#ifndef PX_CMD_RELAY_STORE_DB_H
#define PX_CMD_RELAY_STORE_DB_H

#include "proto/base/log.h"
#include "relay/store.h"

#define PX_RELAY_DB "relay.db"

struct px_store_db;

/* A database that is none, or of a later version, is an error: it may hold whom members vouched
 * for. PX_EPERM, PX_EPROTO, PX_EBUSY, PX_EIO, PX_ENOMEM. */
PX_MUST_CHECK int px_store_db_open(const char *path, const struct px_log *log,
                                   struct px_store_db **ret);
void px_store_db_close(struct px_store_db *db);
const struct px_relay_store *px_store_db_ops(const struct px_store_db *db);

#endif

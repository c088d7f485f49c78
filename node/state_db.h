/* HOME/state.db: what the node remembers by itself and may lose without harm to security. SQLite in
 * WAL mode, safe under kill -9. What people decide (who is listed, names, config) is in text files.
 *
 * One schema, created and migrated here by number; each table's statements live with the module
 * that uses it. A database that is no database (or of a later schema) is put aside under another
 * name with a warning, never deleted. */
#ifndef PX_NODE_STATE_DB_H
#define PX_NODE_STATE_DB_H

#include "node/home.h"
#include "node/sqlite_db.h"
#include "proto/base/log.h"

#define PX_HOME_STATE_DB "state.db"

/* Opens (creating with mode 0600) and migrates. PX_EPERM (directory not writable, or a symbolic
 * link in the place of the file), PX_EIO (disk full), PX_EBUSY, PX_ENOMEM; the node can go on
 * without. */
PX_MUST_CHECK int px_state_db_open(const struct px_home *home, const struct px_log *log,
                                   struct px_sqlite **ret);

#endif

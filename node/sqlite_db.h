/* The one home of SQLite: databases of other programs, which are only read, and our own.
 *
 * Texts returned are views into SQLite's memory, valid until the statement's next step, reset or
 * end. Not thread-safe: one object, one thread. */
#ifndef PX_NODE_SQLITE_DB_H
#define PX_NODE_SQLITE_DB_H

#include "proto/base/slice.h"

struct px_sqlite;
struct px_sqlite_stmt;

enum px_sqlite_mode {
    PX_SQLITE_READ, /* with locks; a WAL database then needs a readable -shm */
    /* Without locks, WAL or change detection: right only while nobody writes, which is for the
     * caller to see to. */
    PX_SQLITE_READ_IMMUTABLE,
    /* Our own: created with mode 0600 when missing, WAL, waits PX_SQLITE_BUSY_MS for others. The
     * last writes before a power cut may be lost, never the database's consistency. A symbolic link
     * in the place of the file, or of one SQLite keeps beside it, is refused: PX_EPERM. */
    PX_SQLITE_WRITE,
};
#define PX_SQLITE_BUSY_MS 200

/* Errors of all calls: PX_EBUSY (locked: try again), PX_EPERM, PX_ENOMEM, PX_EPROTO (not a
 * database, or not with these tables), PX_EIO (also a full disk); of px_sqlite_open also PX_ENOENT.
 * Opening to read reads nothing yet. */
PX_MUST_CHECK int px_sqlite_open(const char *path, enum px_sqlite_mode mode,
                                 struct px_sqlite **ret);
/* All statements must be freed before. */
void px_sqlite_close(struct px_sqlite *db);
/* Runs statements; rows they yield are ignored. */
PX_MUST_CHECK int px_sqlite_exec(struct px_sqlite *db, const char *sql);
/* What went wrong last, for people. */
const char *px_sqlite_message(const struct px_sqlite *db);

PX_MUST_CHECK int px_sqlite_prepare(struct px_sqlite *db, const char *sql,
                                    struct px_sqlite_stmt **ret);
void px_sqlite_stmt_free(struct px_sqlite_stmt *st);
/* Parameters count from 1; text is borrowed until the next px_sqlite_reset. */
PX_MUST_CHECK int px_sqlite_bind_text(struct px_sqlite_stmt *st, int index, struct px_slice text);
PX_MUST_CHECK int px_sqlite_bind_i64(struct px_sqlite_stmt *st, int index, int64_t value);
PX_MUST_CHECK int px_sqlite_step(struct px_sqlite_stmt *st, bool *ret_row);
/* Ready for another run; drops the parameters. */
void px_sqlite_reset(struct px_sqlite_stmt *st);
/* Columns count from 0; NULL reads as empty and as 0. */
struct px_slice px_sqlite_text(struct px_sqlite_stmt *st, int column);
int64_t px_sqlite_i64(struct px_sqlite_stmt *st, int column);

#endif

/* Schema of state.db, and what to do with a database that is not ours. */
#include "node/state_db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ASIDE_MAX 100 /* databases put aside in one directory */

/* Step n brings a database of version n to n + 1. Steps are never changed, only added. */
static const char *const steps[] = {
    /* node/address_book.c */
    "CREATE TABLE peer_addr ("
    " peer TEXT NOT NULL,"       /* peer ID */
    " addr TEXT NOT NULL,"       /* IP:PORT */
    " good_at INTEGER NOT NULL," /* seconds since 1970 */
    " PRIMARY KEY (peer, addr)) WITHOUT ROWID;",
    /* node/pairing_store.c; bytes as hex */
    "CREATE TABLE pairing_invite (id TEXT PRIMARY KEY, state INTEGER, pair TEXT, joiner TEXT,"
    " failures INTEGER, name TEXT, grants INTEGER, verify INTEGER, expires INTEGER,"
    " ended INTEGER) WITHOUT ROWID;"
    "CREATE TABLE pairing_join (inviter TEXT PRIMARY KEY, id TEXT, pair TEXT, name TEXT,"
    " grants INTEGER, verify INTEGER, card_name TEXT, card_addrs TEXT, card_key TEXT,"
    " dial_addrs TEXT, expires INTEGER) WITHOUT ROWID;",
    /* node/rotation_store.c; peer IDs, the record as hex */
    "CREATE TABLE rotation_pending (old TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE rotation_retired (old TEXT PRIMARY KEY, new TEXT NOT NULL,"
    " at INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE rotation_ack (peer TEXT PRIMARY KEY, own TEXT NOT NULL,"
    " next TEXT NOT NULL) WITHOUT ROWID;",
    /* node/peer_history_io.c; demerits in thousandths, saved_at in seconds since 1970 */
    "CREATE TABLE peer_history (peer TEXT PRIMARY KEY, bytes INTEGER NOT NULL,"
    " nars INTEGER NOT NULL, lied INTEGER NOT NULL, wrong_size INTEGER NOT NULL,"
    " stalled INTEGER NOT NULL, cut INTEGER NOT NULL, refused INTEGER NOT NULL,"
    " bad_narinfo INTEGER NOT NULL, demerits INTEGER NOT NULL, saved_at INTEGER NOT NULL)"
    " WITHOUT ROWID;",
};
#define VERSION ((int64_t)PX_ARRAY_LEN(steps))

/* The one value of a statement with one row and one column, as number and as text. */
static int query(struct px_sqlite *db, const char *sql, int64_t *ret, bool *ret_is_ok)
{
    struct px_sqlite_stmt *st;
    bool row = false;
    int err = px_sqlite_prepare(db, sql, &st);
    if (err != 0)
        return err;
    err = px_sqlite_step(st, &row);
    if (err == 0 && !row)
        err = PX_EPROTO;
    if (err == 0) {
        *ret = px_sqlite_i64(st, 0);
        *ret_is_ok = px_slice_eq_cstr(px_sqlite_text(st, 0), "ok");
    }
    px_sqlite_stmt_free(st);
    return err;
}

static int migrate_step(struct px_sqlite *db, size_t n)
{
    char sql[1024];
    int len = snprintf(sql, sizeof(sql), "BEGIN IMMEDIATE; %s PRAGMA user_version=%zu; COMMIT;",
                       steps[n], n + 1);
    px_assert(len > 0 && (size_t)len < sizeof(sql));
    int err = px_sqlite_exec(db, sql), ignored = 0;
    if (err != 0)
        ignored = px_sqlite_exec(db, "ROLLBACK;");
    (void)ignored; /* there may be nothing to take back */
    return err;
}

/* PX_EPROTO: not ours to use. */
static int migrate(struct px_sqlite *db)
{
    int64_t version = 0, n;
    bool ok = false;
    int err = query(db, "PRAGMA quick_check(1);", &n, &ok);
    if (err == 0 && !ok)
        err = PX_EPROTO;
    if (err == 0)
        err = query(db, "PRAGMA user_version;", &version, &ok);
    if (err == 0 && (version < 0 || version > VERSION))
        err = PX_EPROTO;
    for (int64_t i = version; err == 0 && i < VERSION; i++)
        err = migrate_step(db, (size_t)i);
    return err;
}

static int open_once(const char *path, struct px_sqlite **ret)
{
    struct px_sqlite *db;
    int err = px_sqlite_open(path, PX_SQLITE_WRITE, &db);
    if (err != 0)
        return err;
    err = migrate(db);
    if (err != 0) {
        px_sqlite_close(db);
        return err;
    }
    *ret = db;
    return 0;
}

/* Moves "<path><suffix>" to "<aside><suffix>"; fine when there is none. */
static int move(const char *path, const char *aside, const char *suffix)
{
    char from[PX_HOME_FILE_MAX + 16], to[PX_HOME_FILE_MAX + 48];
    snprintf(from, sizeof(from), "%s%s", path, suffix);
    snprintf(to, sizeof(to), "%s%s", aside, suffix);
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0 || errno == ENOENT)
        return 0;
    return px_err_from_errno(errno);
}

/* Under the first free name "<path>.unusable-<n>". */
static int put_aside(const char *path, const struct px_log *log)
{
    char aside[PX_HOME_FILE_MAX + 32];
    int err = PX_EEXIST;
    for (int n = 1; n <= ASIDE_MAX && err == PX_EEXIST; n++) {
        snprintf(aside, sizeof(aside), "%s.unusable-%d", path, n);
        err = move(path, aside, "");
    }
    /* its log belongs to it; a new database must not find it */
    if (err == 0)
        err = move(path, aside, "-wal");
    if (err == 0)
        err = move(path, aside, "-shm");
    if (err == 0)
        px_log_event(log, PX_LOG_WARN, "state.put_aside", PX_F_STR("file", path),
                     PX_F_STR("to", aside),
                     PX_F_STR("hint", "it is damaged or of a newer version; the node began a new "
                                      "one, and loses no more than remembered addresses"));
    return err;
}

int px_state_db_open(const struct px_home *home, const struct px_log *log, struct px_sqlite **ret)
{
    char path[PX_HOME_FILE_MAX];
    int n = snprintf(path, sizeof(path), "%s/%s", home->state_dir, PX_HOME_STATE_DB);
    px_assert(n > 0 && (size_t)n < sizeof(path));
    int err = open_once(path, ret);
    if (err != PX_EPROTO)
        return err;
    err = put_aside(path, log);
    return err != 0 ? err : open_once(path, ret);
}

/* Thin: handles, parameters, and the mapping of SQLite's result codes to ours. */
#include "node/sqlite_db.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/buf.h"

#define URI_MAX 4096

struct px_sqlite {
    sqlite3 *handle;
};

struct px_sqlite_stmt {
    sqlite3_stmt *handle;
};

static int map(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return 0;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return PX_EBUSY;
    case SQLITE_CANTOPEN: /* of a WAL's -shm, mostly */
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_READONLY:
        return PX_EPERM;
    case SQLITE_NOMEM:
        return PX_ENOMEM;
    case SQLITE_FULL:
        return PX_ENOSPC;
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
    case SQLITE_ERROR:
    case SQLITE_SCHEMA:
        return PX_EPROTO;
    default:
        return PX_EIO;
    }
}

/* The path becomes part of a URI: '?', '#' and '%' would end or change it. */
static int put_uri_path(struct px_buf *out, const char *path)
{
    for (const char *c = path; *c != '\0'; c++) {
        if (strchr("?#%", *c) != NULL)
            px_buf_printf(out, "%%%02x", (unsigned)(unsigned char)*c);
        else
            px_buf_put_u8(out, (uint8_t)*c);
    }
    return out->err;
}

static int open_handle(const char *name, int flags, sqlite3 **ret)
{
    sqlite3 *h = NULL;
    int rc = sqlite3_open_v2(name, &h, flags | SQLITE_OPEN_NOMUTEX, NULL);
    int err = map(rc);
    if (err != 0) {
        if (h != NULL && sqlite3_system_errno(h) == ENOENT)
            err = PX_ENOENT;
        sqlite3_close(h);
        return err;
    }
    sqlite3_extended_result_codes(h, 1);
    *ret = h;
    return 0;
}

/* ---- our own databases ---- */

static bool is_symlink(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
}

/* SQLite gives the files beside the database the mode of the database. */
static int prepare_file(const char *path)
{
    static const char *const beside[] = {"-wal", "-shm", "-journal"};
    char other[URI_MAX];
    for (size_t i = 0; i < PX_ARRAY_LEN(beside); i++) {
        int n = snprintf(other, sizeof(other), "%s%s", path, beside[i]);
        if (n < 0 || (size_t)n >= sizeof(other))
            return PX_ELIMIT;
        if (is_symlink(other))
            return PX_EPERM;
    }
    int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
    if (fd < 0)
        return errno == ELOOP || errno == EROFS ? PX_EPERM : px_err_from_errno(errno);
    struct stat st;
    int err = fstat(fd, &st) != 0 ? PX_EIO : S_ISREG(st.st_mode) ? 0 : PX_EPERM;
    if (err == 0 && (st.st_mode & 077) != 0 && fchmod(fd, 0600) != 0)
        err = PX_EPERM;
    close(fd);
    return err;
}

static int open_write(const char *path, sqlite3 **ret)
{
    int err = prepare_file(path);
    if (err == 0)
        err = open_handle(path, SQLITE_OPEN_READWRITE, ret);
    if (err != 0)
        return err;
    (void)sqlite3_busy_timeout(*ret, PX_SQLITE_BUSY_MS);
    /* small caches: what is kept here is small */
    err = map(sqlite3_exec(*ret,
                           "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
                           "PRAGMA cache_size=-256; PRAGMA wal_autocheckpoint=64;"
                           "PRAGMA journal_size_limit=262144; PRAGMA foreign_keys=ON;",
                           NULL, NULL, NULL));
    if (err != 0) {
        sqlite3_close(*ret);
        *ret = NULL;
    }
    return err;
}

static int open_read(const char *path, bool immutable, sqlite3 **ret)
{
    struct px_buf uri;
    px_buf_init(&uri, URI_MAX);
    px_buf_put_cstr(&uri, "file:");
    put_uri_path(&uri, path);
    px_buf_put_cstr(&uri, immutable ? "?mode=ro&immutable=1" : "?mode=ro");
    px_buf_put_u8(&uri, 0);
    int err = uri.err;
    if (err == 0)
        err = open_handle((const char *)uri.data, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, ret);
    px_buf_deinit(&uri);
    return err;
}

int px_sqlite_open(const char *path, enum px_sqlite_mode mode, struct px_sqlite **ret)
{
    struct px_sqlite *db = calloc(1, sizeof(*db));
    int err;
    if (db == NULL)
        return PX_ENOMEM;
    if (mode == PX_SQLITE_WRITE)
        err = open_write(path, &db->handle);
    else
        err = open_read(path, mode == PX_SQLITE_READ_IMMUTABLE, &db->handle);
    if (err != 0) {
        free(db);
        return err;
    }
    *ret = db;
    return 0;
}

void px_sqlite_close(struct px_sqlite *db)
{
    if (db == NULL)
        return;
    int rc = sqlite3_close(db->handle);
    px_assert(rc == SQLITE_OK);
    free(db);
}

int px_sqlite_exec(struct px_sqlite *db, const char *sql)
{
    return map(sqlite3_exec(db->handle, sql, NULL, NULL, NULL));
}

const char *px_sqlite_message(const struct px_sqlite *db)
{
    return sqlite3_errmsg(db->handle);
}

int px_sqlite_prepare(struct px_sqlite *db, const char *sql, struct px_sqlite_stmt **ret)
{
    struct px_sqlite_stmt *st = calloc(1, sizeof(*st));
    if (st == NULL)
        return PX_ENOMEM;
    int err =
        map(sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &st->handle, NULL));
    if (err != 0) {
        free(st);
        return err;
    }
    *ret = st;
    return 0;
}

void px_sqlite_stmt_free(struct px_sqlite_stmt *st)
{
    if (st == NULL)
        return;
    sqlite3_finalize(st->handle);
    free(st);
}

int px_sqlite_bind_text(struct px_sqlite_stmt *st, int index, struct px_slice text)
{
    return map(sqlite3_bind_text64(st->handle, index, (const char *)text.data, text.len,
                                   SQLITE_STATIC, SQLITE_UTF8));
}

int px_sqlite_bind_i64(struct px_sqlite_stmt *st, int index, int64_t value)
{
    return map(sqlite3_bind_int64(st->handle, index, value));
}

int px_sqlite_step(struct px_sqlite_stmt *st, bool *ret_row)
{
    int rc = sqlite3_step(st->handle);
    int err = map(rc);
    if (err == 0)
        *ret_row = rc == SQLITE_ROW;
    return err;
}

void px_sqlite_reset(struct px_sqlite_stmt *st)
{
    sqlite3_reset(st->handle);
    sqlite3_clear_bindings(st->handle);
}

struct px_slice px_sqlite_text(struct px_sqlite_stmt *st, int column)
{
    const unsigned char *text = sqlite3_column_text(st->handle, column);
    if (text == NULL)
        return px_slice(NULL, 0);
    return px_slice(text, (size_t)sqlite3_column_bytes(st->handle, column));
}

int64_t px_sqlite_i64(struct px_sqlite_stmt *st, int column)
{
    return sqlite3_column_int64(st->handle, column);
}

/* Thin: handles, parameters, and the mapping of SQLite's result codes to ours. */
#include "node/sqlite_db.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>

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

static int open_uri(const char *uri, sqlite3 **ret)
{
    sqlite3 *h = NULL;
    int rc = sqlite3_open_v2(uri, &h, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX,
                             NULL);
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

int px_sqlite_open(const char *path, enum px_sqlite_mode mode, struct px_sqlite **ret)
{
    struct px_buf uri;
    struct px_sqlite *db = calloc(1, sizeof(*db));
    if (db == NULL)
        return PX_ENOMEM;
    px_buf_init(&uri, URI_MAX);
    px_buf_put_cstr(&uri, "file:");
    put_uri_path(&uri, path);
    px_buf_put_cstr(&uri, mode == PX_SQLITE_READ_IMMUTABLE ? "?mode=ro&immutable=1" : "?mode=ro");
    px_buf_put_u8(&uri, 0);
    int err = uri.err != 0 ? uri.err : open_uri((const char *)uri.data, &db->handle);
    px_buf_deinit(&uri);
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

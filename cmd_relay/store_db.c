/* See store_db.h. One table; keys and values as hex, which SQLite's shell shows as it is. */
#include "cmd_relay/store_db.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "node/sqlite_db.h"
#include "proto/base/encoding.h"

#define VERSION   1
#define KEY_MAX   256
#define VALUE_MAX 2048

struct px_store_db {
    struct px_relay_store ops;
    const struct px_log *log;
    struct px_sqlite *db;
    struct px_sqlite_stmt *put, *drop, *each;
    bool failing; /* the latest call failed, and that was logged */
};

static int64_t wall_seconds(void)
{
    struct timespec t;
    return clock_gettime(CLOCK_REALTIME, &t) == 0 ? (int64_t)t.tv_sec : 0;
}

/* A disk that is full is so for every call, and nodes choose how many there are: one line when it
 * begins. */
static int report(struct px_store_db *s, const char *what, int err)
{
    if (err != 0 && !s->failing)
        px_log_event(s->log, PX_LOG_ERROR, "store.failed", PX_F_STR("what", what), PX_F_ERR(err),
                     PX_F_STR("sqlite", px_sqlite_message(s->db)));
    s->failing = err != 0;
    return err;
}

static int bind_hex(struct px_sqlite_stmt *st, int index, struct px_slice bytes, struct px_buf *buf)
{
    int err = px_hex_encode(buf, bytes);
    return err != 0 ? err : px_sqlite_bind_text(st, index, px_buf_slice(buf));
}

static int store_put(void *ctx, enum px_relay_item kind, struct px_slice key, struct px_slice value,
                     px_nsec ttl)
{
    struct px_store_db *s = ctx;
    struct px_buf k, v;
    int64_t until = ttl == PX_NEVER ? 0 : wall_seconds() + (int64_t)(ttl / PX_SEC) + 1;
    bool row;
    px_buf_init(&k, (size_t)2 * KEY_MAX);
    px_buf_init(&v, (size_t)2 * VALUE_MAX);
    int err = px_sqlite_bind_i64(s->put, 1, kind);
    if (err == 0)
        err = bind_hex(s->put, 2, key, &k);
    if (err == 0)
        err = bind_hex(s->put, 3, value, &v);
    if (err == 0)
        err = px_sqlite_bind_i64(s->put, 4, until);
    if (err == 0)
        err = px_sqlite_step(s->put, &row);
    px_sqlite_reset(s->put);
    px_buf_deinit(&k);
    px_buf_deinit(&v);
    return report(s, "put", err);
}

static int store_drop(void *ctx, enum px_relay_item kind, struct px_slice key)
{
    struct px_store_db *s = ctx;
    struct px_buf k;
    bool row;
    px_buf_init(&k, (size_t)2 * KEY_MAX);
    int err = px_sqlite_bind_i64(s->drop, 1, kind);
    if (err == 0)
        err = bind_hex(s->drop, 2, key, &k);
    if (err == 0)
        err = px_sqlite_step(s->drop, &row);
    px_sqlite_reset(s->drop);
    px_buf_deinit(&k);
    return report(s, "drop", err);
}

static int store_begin(void *ctx)
{
    struct px_store_db *s = ctx;
    return report(s, "begin", px_sqlite_exec(s->db, "BEGIN IMMEDIATE;"));
}

static int store_end(void *ctx, bool keep)
{
    struct px_store_db *s = ctx;
    int err = keep ? report(s, "end", px_sqlite_exec(s->db, "COMMIT;")) : 0;
    if (!keep || err != 0)
        (void)!px_sqlite_exec(s->db, "ROLLBACK;"); /* SQLite may have done it already */
    return err;
}

struct visit {
    void (*fn)(void *fn_ctx, struct px_slice key, struct px_slice value, px_nsec ttl);
    void *fn_ctx;
    int64_t now;
};

static void visit_row(const struct px_store_db *s, const struct visit *v)
{
    uint8_t key[KEY_MAX], value[VALUE_MAX];
    size_t key_len, value_len;
    int64_t until = px_sqlite_i64(s->each, 2);
    if (px_hex_decode(px_sqlite_text(s->each, 0), key, sizeof(key), &key_len) != 0 ||
        px_hex_decode(px_sqlite_text(s->each, 1), value, sizeof(value), &value_len) != 0)
        return;
    px_nsec ttl = until == 0 ? PX_NEVER : (px_nsec)(until - v->now) * PX_SEC;
    v->fn(v->fn_ctx, px_slice(key, key_len), px_slice(value, value_len), ttl);
}

static int store_each(void *ctx, enum px_relay_item kind,
                      void (*fn)(void *fn_ctx, struct px_slice key, struct px_slice value,
                                 px_nsec ttl),
                      void *fn_ctx)
{
    struct px_store_db *s = ctx;
    const struct visit v = {fn, fn_ctx, wall_seconds()};
    bool row = true;
    int err = px_sqlite_bind_i64(s->each, 1, kind);
    if (err == 0)
        err = px_sqlite_bind_i64(s->each, 2, v.now);
    while (err == 0 && (err = px_sqlite_step(s->each, &row)) == 0 && row)
        visit_row(s, &v);
    px_sqlite_reset(s->each);
    return report(s, "each", err);
}

static uint32_t store_day(void *ctx)
{
    (void)ctx;
    return (uint32_t)(wall_seconds() / (24 * 3600));
}

static int version_of(struct px_sqlite *db, int64_t *ret)
{
    struct px_sqlite_stmt *st;
    bool row = false;
    int err = px_sqlite_prepare(db, "PRAGMA user_version", &st);
    if (err != 0)
        return err;
    err = px_sqlite_step(st, &row);
    if (err == 0)
        *ret = row ? px_sqlite_i64(st, 0) : 0;
    px_sqlite_stmt_free(st);
    return err;
}

static int make_schema(struct px_sqlite *db)
{
    int64_t version;
    int err = version_of(db, &version);
    if (err != 0 || version == VERSION)
        return err;
    if (version != 0)
        return PX_EPROTO;
    return px_sqlite_exec(db, "BEGIN IMMEDIATE;"
                              "CREATE TABLE item (kind INTEGER, key TEXT, value TEXT NOT NULL,"
                              " until INTEGER NOT NULL," /* seconds since 1970; 0: for good */
                              " PRIMARY KEY (kind, key)) WITHOUT ROWID;"
                              "PRAGMA user_version=1; COMMIT;");
}

static int prepare(struct px_store_db *s)
{
    char sql[128];
    int err =
        px_sqlite_prepare(s->db, "INSERT OR REPLACE INTO item VALUES (?1, ?2, ?3, ?4)", &s->put);
    if (err == 0)
        err = px_sqlite_prepare(s->db, "DELETE FROM item WHERE kind = ?1 AND key = ?2", &s->drop);
    if (err == 0)
        err = px_sqlite_prepare(s->db,
                                "SELECT key, value, until FROM item WHERE kind = ?1 AND"
                                " (until = 0 OR until > ?2)",
                                &s->each);
    snprintf(sql, sizeof(sql), "DELETE FROM item WHERE until != 0 AND until <= %lld",
             (long long)wall_seconds());
    return err != 0 ? err : px_sqlite_exec(s->db, sql);
}

int px_store_db_open(const char *path, const struct px_log *log, struct px_store_db **ret)
{
    struct px_store_db *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return PX_ENOMEM;
    s->log = log;
    s->ops = (struct px_relay_store){.put = store_put,
                                     .drop = store_drop,
                                     .begin = store_begin,
                                     .end = store_end,
                                     .each = store_each,
                                     .day = store_day,
                                     .ctx = s};
    int err = px_sqlite_open(path, PX_SQLITE_WRITE, &s->db);
    if (err == 0)
        err = make_schema(s->db);
    if (err == 0)
        err = prepare(s);
    if (err != 0) {
        px_store_db_close(s);
        return err;
    }
    *ret = s;
    return 0;
}

void px_store_db_close(struct px_store_db *s)
{
    if (s == NULL)
        return;
    px_sqlite_stmt_free(s->put);
    px_sqlite_stmt_free(s->drop);
    px_sqlite_stmt_free(s->each);
    px_sqlite_close(s->db);
    free(s);
}

const struct px_relay_store *px_store_db_ops(const struct px_store_db *s)
{
    return &s->ops;
}

/* See rotation_store.h. Peers are kept as their IDs' text, as in the address book; records as hex.
 */
#include "node/rotation_store.h"

#include <stdio.h>

#include "proto/base/encoding.h"

#define RETIRED_LIMIT_TEXT_(n) #n
#define RETIRED_LIMIT_TEXT(n)  RETIRED_LIMIT_TEXT_(n)

/* Runs a statement that gives no rows, on up to three texts and then a number. */
struct values {
    struct px_slice text[3];
    size_t texts;
    int64_t number;
    bool has_number;
};

static int run(struct px_sqlite *db, const char *sql, const struct values *v)
{
    struct px_sqlite_stmt *st;
    bool row;
    int err = px_sqlite_prepare(db, sql, &st);
    if (err != 0)
        return err;
    for (size_t i = 0; i < v->texts && err == 0; i++)
        err = px_sqlite_bind_text(st, (int)i + 1, v->text[i]);
    if (err == 0 && v->has_number)
        err = px_sqlite_bind_i64(st, (int)v->texts + 1, v->number);
    if (err == 0)
        err = px_sqlite_step(st, &row);
    px_sqlite_stmt_free(st);
    return err;
}

/* A statement on one or two peers. */
static int run_ids(struct px_sqlite *db, const char *sql, const struct px_peer_id *a,
                   const struct px_peer_id *b)
{
    char text[2][PX_PEER_ID_TEXT_MAX];
    struct values v = {.texts = b != NULL ? 2 : 1};
    v.text[0] = px_slice_cstr(px_peer_id_format(a, text[0]));
    if (b != NULL)
        v.text[1] = px_slice_cstr(px_peer_id_format(b, text[1]));
    return run(db, sql, &v);
}

static bool get_id(struct px_sqlite_stmt *st, int column, struct px_peer_id *ret)
{
    return px_peer_id_parse(px_sqlite_text(st, column), ret) == 0;
}

/* Calls `row` for each row of a query. */
static int each_row(struct px_sqlite *db, const char *sql,
                    int (*fn)(void *ctx, struct px_sqlite_stmt *st), void *ctx)
{
    struct px_sqlite_stmt *st;
    bool row;
    int err = px_sqlite_prepare(db, sql, &st);
    if (err != 0)
        return err;
    while (err == 0 && (err = px_sqlite_step(st, &row)) == 0 && row)
        err = fn(ctx, st);
    px_sqlite_stmt_free(st);
    return err;
}

/* ---- records of others ---- */

int px_rotation_store_record(struct px_sqlite *db, const struct px_rotation *r)
{
    char id[PX_PEER_ID_TEXT_MAX], hex[2 * PX_ROTATION_RECORD_MAX + 1];
    struct px_buf record;
    px_buf_init(&record, PX_ROTATION_RECORD_MAX);
    int err = px_rotation_put(r, &record);
    for (size_t i = 0; i < record.len; i++)
        snprintf(hex + 2 * i, 3, "%02x", record.data[i]);
    const struct values v = {
        .texts = 2,
        .text = {px_slice_cstr(px_peer_id_format(&r->old_id, id)), px_slice(hex, 2 * record.len)},
    };
    if (err == 0)
        err = run(db, "INSERT OR REPLACE INTO rotation_pending (old, record) VALUES (?, ?)", &v);
    px_buf_deinit(&record);
    return err;
}

int px_rotation_forget_record(struct px_sqlite *db, const struct px_peer_id *old_id)
{
    return run_ids(db, "DELETE FROM rotation_pending WHERE old = ?", old_id, NULL);
}

int px_rotation_store_retired(struct px_sqlite *db, const struct px_rotation_move *m)
{
    char old_text[PX_PEER_ID_TEXT_MAX], new_text[PX_PEER_ID_TEXT_MAX];
    const struct values v = {.texts = 2,
                             .text = {px_slice_cstr(px_peer_id_format(&m->old_id, old_text)),
                                      px_slice_cstr(px_peer_id_format(&m->new_id, new_text))},
                             .number = m->at,
                             .has_number = true};
    int err =
        run(db, "INSERT OR REPLACE INTO rotation_retired (old, new, at) VALUES (?, ?, ?)", &v);
    if (err == 0)
        err = px_sqlite_exec(db, "DELETE FROM rotation_retired WHERE old NOT IN (SELECT old FROM"
                                 " rotation_retired ORDER BY at DESC LIMIT " RETIRED_LIMIT_TEXT(
                                     PX_ROTATION_RETIRED_MAX) ");");
    return err;
}

int px_rotation_store_addrs(struct px_sqlite *db, const struct px_rotation_move *m)
{
    return run_ids(db,
                   "INSERT OR IGNORE INTO peer_addr (peer, addr, good_at)"
                   " SELECT ?2, addr, good_at FROM peer_addr WHERE peer = ?1",
                   &m->old_id, &m->new_id);
}

struct load {
    const char *network;
    struct px_rotation_book *book;
};

static int load_record(void *ctx, struct px_sqlite_stmt *st)
{
    const struct load *l = ctx;
    uint8_t bytes[PX_ROTATION_RECORD_MAX];
    size_t len;
    struct px_rotation r;
    if (px_hex_decode(px_sqlite_text(st, 0), bytes, sizeof(bytes), &len) == 0 &&
        px_rotation_get(px_slice(bytes, len), &r) == 0 && strcmp(r.network, l->network) == 0)
        (void)px_rotation_book_set(l->book, &r.old_id, &r.new_id); /* what does not fit waits */
    return 0;
}

static int load_retired(void *ctx, struct px_sqlite_stmt *st)
{
    const struct load *l = ctx;
    struct px_rotation_move m;
    if (get_id(st, 0, &m.old_id) && get_id(st, 1, &m.new_id))
        px_rotation_book_retire(l->book, &m, px_sqlite_i64(st, 2));
    return 0;
}

int px_rotation_store_load(struct px_sqlite *db, const char *network, struct px_rotation_book *ret)
{
    struct load l = {network, ret};
    /* retired ones first: they would take a record along that is to be finished */
    int err =
        each_row(db, "SELECT old, new, at FROM rotation_retired ORDER BY at", load_retired, &l);
    if (err == 0)
        err = each_row(db, "SELECT record FROM rotation_pending", load_record, &l);
    return err;
}

/* ---- who has ours ---- */

int px_rotation_store_ack(struct px_sqlite *db, const struct px_rotation_ack *a)
{
    char peer[PX_PEER_ID_TEXT_MAX], own[PX_PEER_ID_TEXT_MAX], next[PX_PEER_ID_TEXT_MAX];
    const struct values v = {.texts = 3,
                             .text = {px_slice_cstr(px_peer_id_format(&a->peer, peer)),
                                      px_slice_cstr(px_peer_id_format(&a->own, own)),
                                      px_slice_cstr(px_peer_id_format(&a->next, next))}};
    return run(db, "INSERT OR REPLACE INTO rotation_ack (peer, own, next) VALUES (?, ?, ?)", &v);
}

int px_rotation_forget_ack(struct px_sqlite *db, const struct px_peer_id *peer)
{
    return run_ids(db, "DELETE FROM rotation_ack WHERE peer = ?", peer, NULL);
}

int px_rotation_forget_acks(struct px_sqlite *db)
{
    return px_sqlite_exec(db, "DELETE FROM rotation_ack;");
}

int px_rotation_move_ack(struct px_sqlite *db, const struct px_rotation_move *m)
{
    return run_ids(db, "UPDATE OR REPLACE rotation_ack SET peer = ?2 WHERE peer = ?1", &m->old_id,
                   &m->new_id);
}

struct each_ack {
    int (*fn)(void *ctx, const struct px_rotation_ack *a);
    void *ctx;
};

static int tell_ack(void *ctx, struct px_sqlite_stmt *st)
{
    const struct each_ack *e = ctx;
    struct px_rotation_ack a;
    bool good = get_id(st, 0, &a.peer) && get_id(st, 1, &a.own) && get_id(st, 2, &a.next);
    return good ? e->fn(e->ctx, &a) : 0;
}

int px_rotation_each_ack(struct px_sqlite *db,
                         int (*each)(void *ctx, const struct px_rotation_ack *a), void *ctx)
{
    struct each_ack e = {each, ctx};
    return each_row(db, "SELECT peer, own, next FROM rotation_ack", tell_ack, &e);
}

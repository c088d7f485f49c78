/* See address_book.h. The table is made in node/state_db.c. */
#include "node/address_book.h"

#include <stdlib.h>

#include "node/peer_addrs.h"

#define TRIM_LIMIT_TEXT_(n) #n
#define TRIM_LIMIT_TEXT(n)  TRIM_LIMIT_TEXT_(n)

enum { PUT, TRIM, FORGET, DROP, STATEMENTS };

static const char *const sql[STATEMENTS] = {
    [PUT] = "INSERT INTO peer_addr (peer, addr, good_at) VALUES (?1, ?2, ?3)"
            " ON CONFLICT (peer, addr) DO UPDATE SET good_at = ?3;",
    [TRIM] =
        "DELETE FROM peer_addr WHERE peer = ?1 AND addr NOT IN (SELECT addr FROM peer_addr"
        " WHERE peer = ?1 ORDER BY good_at DESC LIMIT " TRIM_LIMIT_TEXT(PX_ADDRS_BOOK_MAX) ");",
    [FORGET] = "DELETE FROM peer_addr WHERE peer = ?1;",
    [DROP] = "DELETE FROM peer_addr WHERE peer = ?1 AND addr = ?2;",
};

struct px_address_book {
    struct px_sqlite *db;
    const struct px_log *log;
    struct px_sqlite_stmt *st[STATEMENTS];
    bool failing; /* the latest write failed, and that was logged */
};

int px_address_book_new(struct px_sqlite *db, const struct px_log *log,
                        struct px_address_book **ret)
{
    struct px_address_book *b = calloc(1, sizeof(*b));
    int err = 0;
    if (b == NULL)
        return PX_ENOMEM;
    b->db = db;
    b->log = log;
    for (int i = 0; i < STATEMENTS && err == 0; i++)
        err = px_sqlite_prepare(db, sql[i], &b->st[i]);
    if (err != 0) {
        px_address_book_free(b);
        return err;
    }
    *ret = b;
    return 0;
}

void px_address_book_free(struct px_address_book *b)
{
    if (b == NULL)
        return;
    for (int i = 0; i < STATEMENTS; i++)
        px_sqlite_stmt_free(b->st[i]);
    free(b);
}

/* ---- writing ---- */

/* Runs a statement on texts (addr may be empty) and a time (0: none). */
static int run(struct px_address_book *b, int which, struct px_slice peer, struct px_slice addr,
               uint64_t at)
{
    struct px_sqlite_stmt *st = b->st[which];
    bool row;
    int err = px_sqlite_bind_text(st, 1, peer);
    if (err == 0 && addr.len > 0)
        err = px_sqlite_bind_text(st, 2, addr);
    if (err == 0 && at > 0)
        err = px_sqlite_bind_i64(st, 3, (int64_t)at);
    if (err == 0)
        err = px_sqlite_step(st, &row);
    px_sqlite_reset(st);
    return err;
}

/* A disk that is full is so for every write: one line when it begins, one when it is over. */
static void note(struct px_address_book *b, int err)
{
    if (err != 0 && !b->failing)
        px_log_event(b->log, PX_LOG_WARN, "address_book.not_written", PX_F_ERR(err),
                     PX_F_STR("sqlite", px_sqlite_message(b->db)));
    else if (err == 0 && b->failing)
        px_log_event(b->log, PX_LOG_INFO, "address_book.written_again", PX_F_ERR(err));
    b->failing = err != 0;
}

void px_address_book_good(struct px_address_book *b, const struct px_peer_id *id,
                          const struct px_addr *addr, uint64_t wall_now)
{
    char peer[PX_PEER_ID_TEXT_MAX], text[PX_ADDR_TEXT_MAX];
    struct px_slice p = px_slice_cstr(px_peer_id_format(id, peer));
    int err = run(b, PUT, p, px_slice_cstr(px_addr_format(addr, text)), wall_now);
    if (err == 0)
        err = run(b, TRIM, p, px_slice(NULL, 0), 0);
    note(b, err);
}

void px_address_book_forget(struct px_address_book *b, const struct px_peer_id *id)
{
    char peer[PX_PEER_ID_TEXT_MAX];
    note(b, run(b, FORGET, px_slice_cstr(px_peer_id_format(id, peer)), px_slice(NULL, 0), 0));
}

/* ---- reading ---- */

struct load {
    struct px_address_book *book;
    uint64_t wall_now;
    bool (*each)(void *ctx, const struct px_peer_id *id, const struct px_addr *addr, uint64_t ago);
    void *ctx;
};

/* Nothing in a row is believed: the file may have been edited. */
static bool keep(const struct load *l, struct px_slice peer, struct px_slice addr, int64_t good_at)
{
    struct px_peer_id id;
    struct px_addr a;
    if (px_peer_id_parse(peer, &id) != 0 || px_addr_parse(addr, &a) != 0 || good_at < 0)
        return false;
    uint64_t at = PX_MIN((uint64_t)good_at, l->wall_now); /* the clock may have been set back */
    if (l->wall_now - at > PX_BOOK_AGE_MAX)
        return false;
    return l->each(l->ctx, &id, &a, l->wall_now - at);
}

/* SQLite allows to delete the row a SELECT stands at. */
static int load_rows(const struct load *l, struct px_sqlite_stmt *st)
{
    bool row;
    int err;
    while ((err = px_sqlite_step(st, &row)) == 0 && row) {
        struct px_slice peer = px_sqlite_text(st, 0), addr = px_sqlite_text(st, 1);
        if (!keep(l, peer, addr, px_sqlite_i64(st, 2)))
            note(l->book, run(l->book, DROP, peer, addr, 0));
    }
    return err;
}

int px_address_book_load(struct px_address_book *b, uint64_t wall_now,
                         bool (*each)(void *ctx, const struct px_peer_id *id,
                                      const struct px_addr *addr, uint64_t ago),
                         void *ctx)
{
    const struct load l = {b, wall_now, each, ctx};
    struct px_sqlite_stmt *st;
    int err = px_sqlite_prepare(
        b->db, "SELECT peer, addr, good_at FROM peer_addr ORDER BY peer, good_at DESC;", &st);
    if (err != 0)
        return err;
    err = load_rows(&l, st);
    px_sqlite_stmt_free(st);
    return err;
}

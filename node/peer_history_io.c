/* See peer_history_io.h. The table is made in node/state_db.c. */
#include "node/peer_history_io.h"

#include <stdlib.h>
#include <time.h>

#include "auth/crypto.h"
#include "transport/overlay_io.h"

#define FIRST_COUNT  2 /* column of PUT's counts: bytes, nars, the faults, demerits, saved_at */
#define COUNTS       (2 + PX_HISTORY_FAULTS + 2)
#define WALL_AWAY    (PX_HISTORY_AWAY_MAX / PX_SEC)
#define SHORT_OF_MAX ((uint64_t)INT64_MAX)

static const char put_sql[] =
    "INSERT OR REPLACE INTO peer_history (peer, bytes, nars, lied, wrong_size, stalled, cut,"
    " refused, bad_narinfo, demerits, saved_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10,"
    " ?11);";
static const char each_sql[] =
    "SELECT peer, bytes, nars, lied, wrong_size, stalled, cut, refused, bad_narinfo, demerits,"
    " saved_at FROM peer_history ORDER BY saved_at DESC;";

struct px_peer_history_io {
    struct px_peer_history_io_config config;
    struct px_peer_history *history;
    uv_timer_t timer;
    px_nsec age_at;
    bool failing; /* the latest write failed, and that was logged */
};

static uint64_t wall_now(void)
{
    time_t t = time(NULL);
    return t > 0 ? (uint64_t)t : 0;
}

/* ---- the table ---- */

static int put(struct px_sqlite_stmt *st, const struct px_peer_id *id,
               const struct px_history_record *r, uint64_t wall)
{
    char peer[PX_PEER_ID_TEXT_MAX];
    uint64_t counts[COUNTS] = {r->bytes, r->nars};
    bool row;
    memcpy(counts + 2, r->faults, sizeof(r->faults));
    counts[COUNTS - 2] = r->demerits;
    counts[COUNTS - 1] = wall;
    int err = px_sqlite_bind_text(st, 1, px_slice_cstr(px_peer_id_format(id, peer)));
    for (int i = 0; err == 0 && i < COUNTS; i++)
        err = px_sqlite_bind_i64(st, FIRST_COUNT + i, (int64_t)PX_MIN(counts[i], SHORT_OF_MAX));
    if (err == 0)
        err = px_sqlite_step(st, &row);
    px_sqlite_reset(st);
    return err;
}

static int put_changed(struct px_sqlite *db, struct px_peer_history *h, uint64_t wall, px_nsec now)
{
    struct px_peer_id id;
    struct px_history_record r;
    struct px_sqlite_stmt *st;
    int err = px_sqlite_prepare(db, put_sql, &st);
    if (err != 0)
        return err;
    while (err == 0 && px_peer_history_take_changed(h, now, &id, &r))
        err = put(st, &id, &r, wall);
    px_sqlite_stmt_free(st);
    return err;
}

int px_peer_history_save(struct px_sqlite *db, struct px_peer_history *h, uint64_t wall,
                         px_nsec now)
{
    int err = px_sqlite_exec(db, "BEGIN;");
    if (err != 0)
        return err;
    err = put_changed(db, h, wall, now);
    if (err == 0)
        err = px_sqlite_exec(db, "COMMIT;");
    if (err == 0)
        return 0;
    (void)!px_sqlite_exec(db, "ROLLBACK;"); /* SQLite may have done it already */
    px_peer_history_age(h); /* what was taken is to be written yet: at least who failed */
    return err;
}

/* Nothing in a row is believed: the file may have been edited. */
static bool read_row(struct px_sqlite_stmt *st, struct px_peer_id *ret_id,
                     struct px_history_record *ret, uint64_t *ret_saved)
{
    uint64_t counts[COUNTS];
    if (px_peer_id_parse(px_sqlite_text(st, 0), ret_id) != 0)
        return false;
    for (int i = 0; i < COUNTS; i++) {
        int64_t n = px_sqlite_i64(st, 1 + i);
        if (n < 0)
            return false;
        counts[i] = (uint64_t)n;
    }
    *ret = (struct px_history_record){
        .bytes = counts[0], .nars = counts[1], .demerits = counts[COUNTS - 2]};
    memcpy(ret->faults, counts + 2, sizeof(ret->faults));
    *ret_saved = counts[COUNTS - 1];
    return true;
}

static int drop(struct px_sqlite *db, struct px_slice peer)
{
    struct px_sqlite_stmt *st;
    bool row;
    int err = px_sqlite_prepare(db, "DELETE FROM peer_history WHERE peer = ?1;", &st);
    if (err != 0)
        return err;
    err = px_sqlite_bind_text(st, 1, peer);
    if (err == 0)
        err = px_sqlite_step(st, &row);
    px_sqlite_stmt_free(st);
    return err;
}

/* SQLite allows to delete the row a SELECT stands at. */
static int load_rows(struct px_sqlite *db, struct px_sqlite_stmt *st, struct px_peer_history *h,
                     uint64_t wall, px_nsec now,
                     bool (*listed)(void *ctx, const struct px_peer_id *id), void *ctx)
{
    struct px_peer_id id;
    struct px_history_record r;
    uint64_t saved;
    size_t count = 0;
    bool row;
    int err;
    while ((err = px_sqlite_step(st, &row)) == 0 && row) {
        if (count < PX_HISTORY_PEERS_MAX && read_row(st, &id, &r, &saved) && listed(ctx, &id)) {
            uint64_t away = wall > saved ? wall - saved : 0;
            px_peer_history_put(h, &id, &r, PX_MIN(away, (uint64_t)WALL_AWAY) * PX_SEC, now);
            count++;
        } else if ((err = drop(db, px_sqlite_text(st, 0))) != 0) {
            break;
        }
    }
    return err;
}

int px_peer_history_load(struct px_sqlite *db, struct px_peer_history *h, uint64_t wall,
                         px_nsec now, bool (*listed)(void *ctx, const struct px_peer_id *id),
                         void *ctx)
{
    struct px_sqlite_stmt *st;
    int err = px_sqlite_prepare(db, each_sql, &st);
    if (err != 0)
        return err;
    err = load_rows(db, st, h, wall, now, listed, ctx);
    px_sqlite_stmt_free(st);
    return err;
}

/* ---- the shell ---- */

/* A disk that is full is so for every write: one line when it begins. */
static void save(struct px_peer_history_io *io)
{
    if (io->config.db == NULL)
        return;
    int err = px_peer_history_save(io->config.db, io->history, wall_now(), px_now_io());
    if (err != 0 && !io->failing)
        px_log_event(io->config.log, PX_LOG_WARN, "history.not_written", PX_F_ERR(err),
                     PX_F_STR("sqlite", px_sqlite_message(io->config.db)));
    io->failing = err != 0;
}

static void on_timer(uv_timer_t *t);

static void arm(struct px_peer_history_io *io, px_nsec wait)
{
    (void)uv_timer_start(&io->timer, on_timer, wait / PX_MSEC + 1, 0); /* cannot fail */
}

/* More will follow. */
static void on_changed(void *ctx)
{
    arm(ctx, PX_HISTORY_WRITE);
}

static void on_timer(uv_timer_t *t)
{
    struct px_peer_history_io *io = t->data;
    px_nsec now = px_now_io();
    if (now >= io->age_at) {
        px_peer_history_age(io->history);
        io->age_at = now + PX_HISTORY_AGE;
    }
    save(io);
    px_nsec left = io->age_at - now;
    arm(io, io->failing ? PX_MIN(left, (px_nsec)PX_HISTORY_RETRY) : left);
}

void px_peer_history_io_follow(struct px_peer_history_io *io, const struct px_peer_id *from,
                               const struct px_peer_id *to)
{
    px_peer_history_follow(io->history, from, to, px_now_io());
    save(io);
}

int px_peer_history_io_new(const struct px_peer_history_io_config *config,
                           struct px_peer_history_io **ret)
{
    struct px_peer_history_io *io = calloc(1, sizeof(*io));
    if (io == NULL)
        return PX_ENOMEM;
    io->config = *config;
    int err = px_peer_history_new(&px_system_rng, &io->history);
    if (err != 0) {
        free(io);
        return err;
    }
    if (config->db != NULL)
        err = px_peer_history_load(config->db, io->history, wall_now(), px_now_io(), config->listed,
                                   config->ctx);
    if (err != 0)
        px_log_event(config->log, PX_LOG_WARN, "history.unreadable", PX_F_ERR(err));
    io->age_at = px_now_io() + PX_HISTORY_AGE;
    io->timer.data = io;
    (void)uv_timer_init(config->loop, &io->timer); /* cannot fail */
    arm(io, PX_HISTORY_AGE);
    px_peer_history_watch(io->history, on_changed, io);
    *ret = io;
    return 0;
}

struct px_peer_history *px_peer_history_io_core(struct px_peer_history_io *io)
{
    return io->history;
}

static void on_closed(uv_handle_t *h)
{
    struct px_peer_history_io *io = h->data;
    px_peer_history_free(io->history);
    free(io);
}

void px_peer_history_io_close(struct px_peer_history_io *io)
{
    if (io == NULL)
        return;
    px_peer_history_watch(io->history, NULL, NULL);
    px_peer_history_age(io->history);
    save(io);
    uv_close((uv_handle_t *)&io->timer, on_closed);
}

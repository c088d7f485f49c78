/* Path infos from Nix's db.sqlite, read without ever writing next to it.
 *
 * The database is in WAL mode. Opened normally, SQLite would create -wal and -shm files beside it,
 * or fail where we may not. So while there is no WAL, or an empty one, it is opened as immutable
 * and every answer is checked against the files' state before and after; once a WAL has content,
 * only a normal read sees it (docs/store.md). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "node/nix/store_backend.h"
#include "node/sqlite_db.h"

#define BUSY_RETRY_MS   5
#define BUSY_RETRIES    400 /* 2 s, then PX_EBUSY */
#define QUERIES_A_TURN  32  /* about half a millisecond, then the loop has its turn */
#define UNSTABLE_LIMIT  5   /* answers thrown away because the files changed meanwhile */
#define SETTLED_SECONDS 2
#define SCHEMA_MIN      10 /* since Nix 2.0 */
#define HEADER_WAL_BYTE 18 /* of the database header: 2 = WAL */

enum statement { ST_FIND, ST_REFS, ST_COUNT };

static const char *const statements[ST_COUNT] = {
    [ST_FIND] = "select id, path, hash, narSize, deriver, ultimate, sigs, ca from ValidPaths "
                "where path >= ?1 order by path limit 1",
    [ST_REFS] = "select p.path from Refs r join ValidPaths p on r.reference = p.id "
                "where r.referrer = ?1",
};
enum column { COL_ID, COL_PATH, COL_HASH, COL_SIZE, COL_DERIVER, COL_ULTIMATE, COL_SIGS, COL_CA };

/* What must not change while an immutable read goes on. */
struct file_state {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime;
    bool wal_filled;
    bool wal_mode;
    bool settled; /* mtime is old enough that any later write must change it */
};

struct store_db {
    struct px_store_backend base;
    const struct px_log *log;
    char path[PX_STORE_PATH_MAX], wal_path[PX_STORE_PATH_MAX];
    char store_dir[256];
    struct px_sqlite *db; /* NULL until needed, and after trouble */
    struct px_sqlite_stmt *st[ST_COUNT];
    bool immutable;
    struct file_state state; /* when db was opened */

    struct px_list queue;
    uv_idle_t turn;   /* runs while there is work */
    uv_timer_t retry; /* runs while the database is busy */
    unsigned handles;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

static void close_db(struct store_db *s)
{
    for (size_t i = 0; i < ST_COUNT; i++) {
        px_sqlite_stmt_free(s->st[i]);
        s->st[i] = NULL;
    }
    px_sqlite_close(s->db);
    s->db = NULL;
}

static int read_wal_mode(const char *path, bool *ret)
{
    uint8_t version = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return px_err_from_errno(errno);
    ssize_t n = pread(fd, &version, 1, HEADER_WAL_BYTE);
    close(fd);
    if (n < 0)
        return px_err_from_errno(errno);
    *ret = version == 2;
    return 0;
}

/* Time stamps are as coarse as the kernel's tick, on some file systems a second: two writes close
 * together may leave the same one. */
static bool is_settled(const struct timespec *mtime)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return now.tv_sec - mtime->tv_sec > SETTLED_SECONDS;
}

static int look(const struct store_db *s, struct file_state *ret)
{
    struct stat db, wal;
    if (stat(s->path, &db) != 0)
        return px_err_from_errno(errno);
    bool filled = stat(s->wal_path, &wal) == 0 && wal.st_size > 0;
    *ret = (struct file_state){.dev = db.st_dev,
                               .ino = db.st_ino,
                               .size = db.st_size,
                               .mtime = db.st_mtim,
                               .wal_filled = filled,
                               .settled = is_settled(&db.st_mtim),
                               .wal_mode = s->state.wal_mode};
    return 0;
}

static bool same_content(const struct file_state *a, const struct file_state *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
           a->mtime.tv_sec == b->mtime.tv_sec && a->mtime.tv_nsec == b->mtime.tv_nsec &&
           !a->wal_filled && !b->wal_filled;
}

static int open_db(struct store_db *s)
{
    struct file_state st = {0};
    int err = look(s, &st);
    if (err == 0)
        err = read_wal_mode(s->path, &st.wal_mode);
    if (err != 0)
        return err;
    bool immutable = st.wal_mode && !st.wal_filled;
    err = px_sqlite_open(s->path, immutable ? PX_SQLITE_READ_IMMUTABLE : PX_SQLITE_READ, &s->db);
    if (err != 0)
        return err;
    s->immutable = immutable;
    s->state = st;
    for (size_t i = 0; err == 0 && i < ST_COUNT; i++)
        err = px_sqlite_prepare(s->db, statements[i], &s->st[i]);
    if (err != 0) {
        px_log_event(s->log, PX_LOG_DEBUG, "store.database_refused",
                     PX_F_STR("message", px_sqlite_message(s->db)), PX_F_ERR(err));
        close_db(s);
    }
    return err;
}

/* A handle that still speaks of the file as it is. */
static int fresh_db(struct store_db *s)
{
    struct file_state now = {0};
    if (s->db != NULL) {
        int err = look(s, &now);
        if (err != 0)
            return err;
        bool same = s->immutable ? s->state.settled && same_content(&s->state, &now)
                                 : s->state.ino == now.ino && s->state.dev == now.dev;
        if (same)
            return 0;
        close_db(s);
    }
    return open_db(s);
}

static int read_refs(struct store_db *s, int64_t id, struct px_path_info *info)
{
    struct px_sqlite_stmt *st = s->st[ST_REFS];
    bool row = false;
    int err = px_sqlite_bind_i64(st, 1, id);
    while (err == 0 && (err = px_sqlite_step(st, &row)) == 0 && row)
        err = px_store_info_add_ref(info, px_sqlite_text(st, 0));
    px_sqlite_reset(st);
    px_path_info_sort_refs(info);
    return err;
}

static int fill(struct px_sqlite_stmt *st, struct px_path_info *info)
{
    struct px_slice sigs = px_sqlite_text(st, COL_SIGS), sig;
    int64_t size = px_sqlite_i64(st, COL_SIZE);
    int err =
        px_store_info_set_nar(info, px_sqlite_text(st, COL_HASH), size > 0 ? (uint64_t)size : 0);
    if (err == 0)
        err = px_store_info_set_deriver(info, px_sqlite_text(st, COL_DERIVER));
    if (err == 0)
        err = px_path_info_set_str(info, &info->ca, px_sqlite_text(st, COL_CA));
    info->ultimate = px_sqlite_i64(st, COL_ULTIMATE) == 1;
    while (err == 0 && px_slice_split(&sigs, ' ', &sig))
        if (sig.len > 0)
            err = px_store_info_add_sig(info, sig);
    return err;
}

/* The row at or after "<store dir>/<hash part>" is the path if it starts so. */
static int read_row(struct store_db *s, struct px_slice prefix, struct px_path_info **ret)
{
    struct px_sqlite_stmt *st = s->st[ST_FIND];
    struct px_path_info *info;
    bool row;
    int err = px_sqlite_bind_text(st, 1, prefix);
    if (err == 0)
        err = px_sqlite_step(st, &row);
    if (err != 0)
        return err;
    struct px_slice path = row ? px_sqlite_text(st, COL_PATH) : px_slice(NULL, 0);
    if (!px_slice_starts(path, prefix))
        return PX_ENOENT;
    err = px_store_info_new(px_slice_cstr(s->store_dir), path, &info);
    if (err != 0)
        return err;
    err = fill(st, info);
    if (err == 0)
        err = read_refs(s, px_sqlite_i64(st, COL_ID), info);
    if (err != 0) {
        px_path_info_free(info);
        return err;
    }
    *ret = info;
    return 0;
}

/* One transaction, so that the row and its references are of one moment: a path deleted between
 * the two would seem to have none. */
static int read_info(struct store_db *s, const char *hash_part, struct px_path_info **ret)
{
    char prefix[sizeof(s->store_dir) + 1 + PX_STORE_HASH_LEN + 1];
    int len =
        snprintf(prefix, sizeof(prefix), "%s/%.*s", s->store_dir, PX_STORE_HASH_LEN, hash_part);
    int err = px_sqlite_exec(s->db, "begin");
    if (err != 0)
        return err;
    err = read_row(s, px_slice(prefix, (size_t)len), ret);
    px_sqlite_reset(s->st[ST_FIND]);
    int end_err = px_sqlite_exec(s->db, "commit");
    if (end_err != 0)
        close_db(s);
    return err;
}

/* PX_EBUSY: ask again later. */
static int look_up(struct store_db *s, const char *hash_part, struct px_path_info **ret)
{
    for (int i = 0; i < UNSTABLE_LIMIT; i++) {
        struct px_path_info *info = NULL;
        struct file_state after = {0};
        int err = fresh_db(s);
        /* PX_ENOENT is the answer for a path, not for a database. */
        if (err != 0)
            return err == PX_ENOENT ? PX_EIO : err;
        err = read_info(s, hash_part, &info);
        if (!s->immutable || (look(s, &after) == 0 && same_content(&s->state, &after))) {
            if (err == 0)
                *ret = info;
            return err;
        }
        px_path_info_free(info);
    }
    return PX_EBUSY;
}

/* Trouble with the database, unlike trouble with one path, may pass with a new handle. */
static bool is_lasting(int err)
{
    return err == PX_EIO || err == PX_EPERM || err == PX_EPROTO;
}

/* False: the database is busy, the query stays first. */
static bool answer(struct store_db *s, struct px_store_query *q)
{
    struct px_path_info *info = NULL;
    int err = look_up(s, q->hash_part, &info);
    if (err == PX_EBUSY && ++q->attempts < BUSY_RETRIES)
        return false;
    if (is_lasting(err)) {
        px_log_event(s->log, PX_LOG_WARN, "store.query_failed",
                     PX_F_SLICE("hash", px_slice(q->hash_part, PX_STORE_HASH_LEN)), PX_F_ERR(err));
        close_db(s);
    }
    px_list_remove(&q->node);
    px_store_query_finish(q, err, info);
    return true;
}

static void on_turn(uv_idle_t *h);

static void on_retry(uv_timer_t *h)
{
    struct store_db *s = h->data;
    uv_idle_start(&s->turn, on_turn);
}

static void on_turn(uv_idle_t *h)
{
    struct store_db *s = h->data;
    for (int i = 0; i < QUERIES_A_TURN && !px_list_empty(&s->queue); i++) {
        bool answered = answer(s, PX_CONTAINER_OF(s->queue.next, struct px_store_query, node));
        if (s->closed != NULL)
            return;
        if (!answered) {
            uv_idle_stop(&s->turn);
            uv_timer_start(&s->retry, on_retry, BUSY_RETRY_MS, 0);
            return;
        }
    }
    if (px_list_empty(&s->queue))
        uv_idle_stop(&s->turn);
}

static int db_query(struct px_store_backend *b, struct px_store_query *q)
{
    struct store_db *s = PX_CONTAINER_OF(b, struct store_db, base);
    px_list_push_back(&s->queue, &q->node);
    if (!uv_is_active((uv_handle_t *)&s->retry))
        uv_idle_start(&s->turn, on_turn);
    return 0;
}

static void db_cancel(struct px_store_backend *b, struct px_store_query *q)
{
    (void)b;
    px_list_remove(&q->node);
}

static void on_handle_closed(uv_handle_t *h)
{
    struct store_db *s = h->data;
    if (--s->handles > 0)
        return;
    void (*closed)(void *) = s->closed;
    void *ctx = s->closed_ctx;
    free(s);
    closed(ctx);
}

static void db_close(struct px_store_backend *b, void (*closed)(void *ctx), void *ctx)
{
    struct store_db *s = PX_CONTAINER_OF(b, struct store_db, base);
    s->closed = closed;
    s->closed_ctx = ctx;
    while (!px_list_empty(&s->queue)) {
        struct px_store_query *q = PX_CONTAINER_OF(s->queue.next, struct px_store_query, node);
        px_list_remove(&q->node);
        px_store_query_finish(q, PX_ECANCELED, NULL);
    }
    close_db(s);
    uv_close((uv_handle_t *)&s->turn, on_handle_closed);
    uv_close((uv_handle_t *)&s->retry, on_handle_closed);
}

/* The number in the file `schema` beside the database; absent in no Nix that works. */
static int check_schema(const char *state_dir)
{
    char path[PX_STORE_PATH_MAX], text[16] = "";
    uint64_t version;
    snprintf(path, sizeof(path), "%s/db/schema", state_dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return px_err_from_errno(errno);
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (n < 0)
        return px_err_from_errno(errno);
    struct px_slice rest = px_slice(text, (size_t)n), line;
    if (!px_slice_split(&rest, '\n', &line) ||
        px_slice_parse_u64(px_slice_trim(line), &version) != 0)
        return PX_EPROTO;
    return version < SCHEMA_MIN ? PX_EPROTO : 0;
}

static const struct px_store_backend_ops db_ops = {
    .query = db_query,
    .cancel = db_cancel,
    .close = db_close,
};

int px_store_db_open(uv_loop_t *loop, const struct px_store_uri *uri, const struct px_log *log,
                     struct px_store_backend **ret)
{
    int err = check_schema(uri->state_dir);
    if (err != 0)
        return err;
    struct store_db *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return PX_ENOMEM;
    s->base.ops = &db_ops;
    s->log = log;
    snprintf(s->path, sizeof(s->path), "%s/db/db.sqlite", uri->state_dir);
    snprintf(s->wal_path, sizeof(s->wal_path), "%s/db/db.sqlite-wal", uri->state_dir);
    snprintf(s->base.label, sizeof(s->base.label), "database %.200s/db/db.sqlite", uri->state_dir);
    memcpy(s->store_dir, uri->store_dir, sizeof(s->store_dir));
    px_list_init(&s->queue);
    err = open_db(s);
    /* Busy now is no reason to fail for good. */
    if (err != 0 && err != PX_EBUSY) {
        free(s);
        return err;
    }
    uv_idle_init(loop, &s->turn);
    uv_timer_init(loop, &s->retry);
    s->turn.data = s->retry.data = s;
    s->handles = 2;
    *ret = &s->base;
    return 0;
}

/* Path infos and temporary roots from a nix-daemon, over a few connections of libuv pipes.
 *
 * A connection serves either queries or roots. The daemon forks for each; that child lives on when
 * the daemon itself is restarted or upgraded, and temporary roots live as long as their connection:
 * so connections are given up when idle and after a time (docs/store.md). */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "node/nix/store_backend.h"
#include "node/nix/store_greeting.h"

#define QUERY_CONNS_MAX 4
#define QUEUE_A_CONN    8 /* waiting queries that justify one more connection */
#define IDLE_MS         10000
#define CONN_AGE_MS     300000
#define ROOTS_A_CONN    1000 /* then a new one, so that old roots are let go */
#define ATTEMPTS        2    /* of a query, each on another connection */
#define REDIAL_MS       1000 /* after a failure, while other connections serve */
#define READ_SIZE       (64u * 1024)

struct store_daemon {
    struct px_store_backend base;
    uv_loop_t *loop;
    const struct px_log *log;
    char socket[sizeof(((struct px_store_uri *)NULL)->socket)];
    char store_dir[sizeof(((struct px_store_uri *)NULL)->store_dir)];
    struct px_list conns;
    size_t query_conns;
    struct px_list queue; /* queries not on a connection */
    size_t queued;
    struct px_store_daemon_conn *root_conn; /* the one new roots go to, or NULL */
    uv_idle_t turn;                         /* hands out work from the loop, never from a caller */
    size_t live;                            /* connections not freed, and the handle above */
    uint64_t dial_after;                    /* more connections not before, in ms */
    bool closing;
    void (*closed)(void *ctx);
    void *closed_ctx;
    uint8_t read_buf[READ_SIZE]; /* shared: used up within the read callback */
};

struct px_store_daemon_conn {
    struct px_list node;
    struct store_daemon *daemon;
    enum conn_state { CONN_DIALING, CONN_GREETING, CONN_IDLE, CONN_BUSY, CONN_CLOSING } state;
    bool for_roots;
    bool retired; /* takes no new roots */
    uv_pipe_t pipe;
    uv_timer_t timer;
    unsigned handles;
    uv_connect_t connect;
    uv_write_t write;
    bool writing;
    struct px_buf sending;
    struct px_worker worker;
    uint64_t born;                /* ms of the loop's clock */
    struct px_store_query *query; /* asked; NULL if cancelled meanwhile */
    struct px_list roots;         /* wanted, asked or held through this connection */
    struct px_store_root *root;   /* asked; NULL if released meanwhile */
    size_t asked_roots;           /* ever */
};

static void conn_work(struct px_store_daemon_conn *c);
static void schedule(struct store_daemon *d);

static void set_state(struct px_store_daemon_conn *c, enum conn_state next)
{
    static const uint8_t allowed[] = {
        [CONN_DIALING] = 1u << CONN_GREETING | 1u << CONN_CLOSING,
        [CONN_GREETING] = 1u << CONN_IDLE | 1u << CONN_CLOSING,
        [CONN_IDLE] = 1u << CONN_BUSY | 1u << CONN_CLOSING,
        [CONN_BUSY] = 1u << CONN_IDLE | 1u << CONN_CLOSING,
        [CONN_CLOSING] = 0,
    };
    px_assert((allowed[c->state] & 1u << next) != 0);
    c->state = next;
}

/* ---- the end of connections and of the daemon ---- */

static void let_go(struct store_daemon *d)
{
    if (--d->live > 0)
        return;
    void (*closed)(void *) = d->closed;
    void *ctx = d->closed_ctx;
    free(d);
    closed(ctx);
}

static void on_conn_handle_closed(uv_handle_t *h)
{
    struct px_store_daemon_conn *c = h->data;
    struct store_daemon *d = c->daemon;
    if (--c->handles > 0)
        return;
    px_worker_deinit(&c->worker);
    px_buf_deinit(&c->sending);
    free(c);
    let_go(d);
}

/* Nothing may be waiting on it any more. */
static void conn_close(struct px_store_daemon_conn *c)
{
    struct store_daemon *d = c->daemon;
    set_state(c, CONN_CLOSING);
    px_list_remove(&c->node);
    if (!c->for_roots)
        d->query_conns--;
    if (d->root_conn == c)
        d->root_conn = NULL;
    uv_close((uv_handle_t *)&c->pipe, on_conn_handle_closed);
    uv_close((uv_handle_t *)&c->timer, on_conn_handle_closed);
}

static void enqueue(struct store_daemon *d, struct px_list *before, struct px_store_query *q)
{
    px_list_push_back(before, &q->node);
    q->conn = NULL;
    q->queued = true;
    d->queued++;
}

static struct px_store_query *dequeue(struct store_daemon *d)
{
    struct px_store_query *q = PX_CONTAINER_OF(d->queue.next, struct px_store_query, node);
    px_list_remove(&q->node);
    q->queued = false;
    d->queued--;
    return q;
}

static void finish_query(struct px_store_query *q, int err, struct px_path_info *owned_info)
{
    px_list_remove(&q->node);
    q->conn = NULL;
    px_store_query_finish(q, err, owned_info);
}

/* Ends all queries in the queue as it is now; those that come meanwhile are not touched. */
static void fail_queue(struct store_daemon *d, int err)
{
    struct px_list failed;
    px_list_init(&failed);
    while (!px_list_empty(&d->queue))
        px_list_push_back(&failed, &dequeue(d)->node);
    while (!px_list_empty(&failed))
        finish_query(PX_CONTAINER_OF(failed.next, struct px_store_query, node), err, NULL);
}

/* Roots asked for hear of the failure; those held are lost and nobody is told: what they protect
 * is being read, and the reader will see if it goes. */
static void fail_roots(struct px_store_daemon_conn *c, int err)
{
    while (!px_list_empty(&c->roots)) {
        struct px_store_root *r = PX_CONTAINER_OF(c->roots.next, struct px_store_root, node);
        bool held = r->state == PX_STORE_ROOT_HELD;
        px_list_remove(&r->node);
        r->state = PX_STORE_ROOT_NONE;
        r->conn = NULL;
        if (!held)
            r->done(r->ctx, err);
    }
    c->root = NULL;
}

static void retry_or_fail(struct store_daemon *d, struct px_store_query *q, int err)
{
    if (err == PX_ETIMEDOUT || ++q->attempts >= ATTEMPTS) {
        finish_query(q, err, NULL);
        return;
    }
    enqueue(d, d->queue.next, q); /* first again */
}

static void conn_fail(struct px_store_daemon_conn *c, int err)
{
    struct store_daemon *d = c->daemon;
    struct px_store_query *q = c->query;
    bool greeted = c->state == CONN_IDLE || c->state == CONN_BUSY;
    if (c->state == CONN_CLOSING)
        return;
    px_log_event(d->log, greeted && err == PX_ECLOSED ? PX_LOG_DEBUG : PX_LOG_WARN,
                 "store.daemon_lost", PX_F_STR("socket", d->socket), PX_F_ERR(err));
    c->query = NULL;
    conn_close(c);
    fail_roots(c, err);
    if (q != NULL && !d->closing)
        retry_or_fail(d, q, err);
    if (!greeted)
        d->dial_after = uv_now(d->loop) + REDIAL_MS;
    /* A daemon that cannot be reached fails everybody at once; otherwise others serve the queue. */
    if (!greeted && !c->for_roots && d->query_conns == 0)
        fail_queue(d, err);
    schedule(d);
}

/* ---- bytes ---- */

static void on_written(uv_write_t *req, int status);

static void flush(struct px_store_daemon_conn *c)
{
    if (c->writing || c->worker.out.len == 0)
        return;
    px_buf_clear(&c->sending);
    px_worker_take_output(&c->worker, &c->sending);
    uv_buf_t buf = uv_buf_init((char *)c->sending.data, (unsigned)c->sending.len);
    c->writing = true;
    c->write.data = c;
    if (uv_write(&c->write, (uv_stream_t *)&c->pipe, &buf, 1, on_written) != 0) {
        c->writing = false;
        conn_fail(c, PX_ECLOSED);
    }
}

static void on_written(uv_write_t *req, int status)
{
    struct px_store_daemon_conn *c = req->data;
    c->writing = false;
    if (c->state == CONN_CLOSING)
        return;
    if (status != 0)
        conn_fail(c, PX_ECLOSED);
    else
        flush(c);
}

static void on_timer(uv_timer_t *h)
{
    struct px_store_daemon_conn *c = h->data;
    if (c->state == CONN_IDLE)
        conn_close(c);
    else
        conn_fail(c, PX_ETIMEDOUT);
}

static bool older_than(const struct px_store_daemon_conn *c, uint64_t ms)
{
    return uv_now(c->daemon->loop) - c->born >= ms;
}

/* After a reply: more work, or the wait for it. */
static void conn_rest(struct px_store_daemon_conn *c)
{
    if (c->state == CONN_CLOSING)
        return;
    if (c->state != CONN_IDLE)
        set_state(c, CONN_IDLE);
    uv_timer_stop(&c->timer);
    bool used = c->for_roots && !px_list_empty(&c->roots);
    if (!used && (c->retired || (!c->for_roots && older_than(c, CONN_AGE_MS)))) {
        conn_close(c);
    } else {
        if (!used)
            uv_timer_start(&c->timer, on_timer, IDLE_MS, 0);
        conn_work(c);
    }
    schedule(c->daemon);
}

/* ---- requests and replies ---- */

static void ask(struct px_store_daemon_conn *c, enum px_worker_op op, struct px_slice arg)
{
    int err = px_worker_request(&c->worker, op, arg);
    if (err != 0) {
        conn_fail(c, err);
        return;
    }
    if (c->state == CONN_IDLE)
        set_state(c, CONN_BUSY);
    uv_timer_start(&c->timer, on_timer, PX_STORE_REPLY_TIMEOUT_MS, 0);
    flush(c);
}

static struct px_store_root *next_root(const struct px_store_daemon_conn *c)
{
    PX_LIST_EACH(it, &c->roots) {
        struct px_store_root *r = PX_CONTAINER_OF(it, struct px_store_root, node);
        if (r->state == PX_STORE_ROOT_WAITING)
            return r;
    }
    return NULL;
}

/* Gives an idle connection its next request, if there is one. */
static void conn_work(struct px_store_daemon_conn *c)
{
    struct store_daemon *d = c->daemon;
    if (c->state != CONN_IDLE)
        return;
    if (c->for_roots) {
        struct px_store_root *r = next_root(c);
        if (r == NULL)
            return;
        r->state = PX_STORE_ROOT_ASKED;
        c->root = r;
        c->asked_roots++;
        ask(c, PX_WORKER_ADD_TEMP_ROOT, r->path);
    } else if (!px_list_empty(&d->queue)) {
        struct px_store_query *q = dequeue(d);
        q->conn = c;
        c->query = q;
        ask(c, PX_WORKER_QUERY_PATH_FROM_HASH_PART, px_slice(q->hash_part, PX_STORE_HASH_LEN));
    }
}

static void end_query(struct px_store_daemon_conn *c, int err, struct px_path_info *owned_info)
{
    struct px_store_query *q = c->query;
    c->query = NULL;
    if (q != NULL)
        finish_query(q, err, owned_info);
    else
        px_path_info_free(owned_info);
    conn_rest(c);
}

static void end_root(struct px_store_daemon_conn *c, int err)
{
    struct px_store_root *r = c->root;
    c->root = NULL;
    if (r != NULL) {
        r->state = err == 0 ? PX_STORE_ROOT_HELD : PX_STORE_ROOT_NONE;
        if (err != 0) {
            px_list_remove(&r->node);
            r->conn = NULL;
        }
        r->done(r->ctx, err);
    }
    conn_rest(c);
}

/* The path behind a hash part; its info is the second half of the query. */
static void got_path(struct px_store_daemon_conn *c, struct px_slice path)
{
    struct px_slice dir, base;
    if (path.len == 0 || c->query == NULL) {
        end_query(c, PX_ENOENT, NULL);
        return;
    }
    if (px_store_path_split(path, &dir, &base) != 0 ||
        !px_slice_eq(px_slice_take(base, PX_STORE_HASH_LEN),
                     px_slice(c->query->hash_part, PX_STORE_HASH_LEN))) {
        conn_fail(c, PX_EPROTO);
    } else if (!px_slice_eq_cstr(dir, c->daemon->store_dir)) {
        px_log_event(c->daemon->log, PX_LOG_ERROR, "store.other_directory",
                     PX_F_SLICE("daemon_has", dir), PX_F_STR("expected", c->daemon->store_dir),
                     PX_F_STR("hint", "give the store as ...?store=<directory>"));
        end_query(c, PX_EPROTO, NULL);
    } else {
        ask(c, PX_WORKER_QUERY_PATH_INFO, path);
    }
}

static void handle(struct px_store_daemon_conn *c, struct px_worker_event *ev)
{
    struct store_daemon *d = c->daemon;
    switch (ev->kind) {
    case PX_WORKER_READY:
        conn_rest(c);
        return;
    case PX_WORKER_LOG:
        px_log_event(d->log, PX_LOG_DEBUG, "store.daemon_says", PX_F_SLICE("message", ev->text));
        return;
    case PX_WORKER_REFUSED:
        px_log_event(d->log, PX_LOG_WARN, "store.daemon_error", PX_F_SLICE("message", ev->text));
        if (c->for_roots)
            end_root(c, PX_EIO);
        else
            end_query(c, PX_EIO, NULL);
        return;
    case PX_WORKER_ROOTED:
        end_root(c, 0);
        return;
    case PX_WORKER_PATH:
        got_path(c, ev->text);
        return;
    case PX_WORKER_INFO:
        end_query(c, ev->info_err, ev->owned_info);
        return;
    }
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    struct px_store_daemon_conn *c = h->data;
    (void)suggested;
    *buf = uv_buf_init((char *)c->daemon->read_buf, READ_SIZE);
}

static void on_read(uv_stream_t *h, ssize_t nread, const uv_buf_t *buf)
{
    struct px_store_daemon_conn *c = h->data;
    struct px_worker_event ev;
    int err = 0;
    if (nread < 0) {
        /* A daemon that hangs up on our greeting has refused this user. */
        conn_fail(c, c->state == CONN_GREETING ? PX_EPERM : PX_ECLOSED);
        return;
    }
    if (nread > 0)
        err = px_worker_feed(&c->worker, px_slice(buf->base, (size_t)nread));
    while (err == 0 && c->state != CONN_CLOSING && (err = px_worker_next(&c->worker, &ev)) == 0)
        handle(c, &ev);
    if (c->state == CONN_CLOSING)
        return;
    if (err != PX_EAGAIN)
        conn_fail(c, err);
    else
        flush(c);
}

/* ---- opening connections ---- */

static struct px_store_daemon_conn *conn_new(struct store_daemon *d, bool for_roots)
{
    struct px_store_daemon_conn *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return NULL;
    c->daemon = d;
    c->for_roots = for_roots;
    c->state = CONN_DIALING;
    px_list_init(&c->roots);
    px_buf_init(&c->sending, 0);
    if (px_worker_init(&c->worker, d->store_dir) != 0) {
        free(c);
        return NULL;
    }
    uv_pipe_init(d->loop, &c->pipe, 0);
    uv_timer_init(d->loop, &c->timer);
    c->pipe.data = c->timer.data = c->connect.data = c;
    c->handles = 2;
    c->born = uv_now(d->loop);
    px_list_push_back(&d->conns, &c->node);
    d->live++;
    if (for_roots)
        d->root_conn = c;
    else
        d->query_conns++;
    return c;
}

static void on_connected(uv_connect_t *req, int status)
{
    struct px_store_daemon_conn *c = req->data;
    if (c->state == CONN_CLOSING)
        return;
    if (status != 0) {
        /* No socket is no answer about a path, which PX_ENOENT would be. */
        int err = px_err_from_errno(-status);
        conn_fail(c, err == PX_ENOENT ? PX_ECLOSED : err);
        return;
    }
    set_state(c, CONN_GREETING);
    if (uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read) != 0)
        conn_fail(c, PX_EIO);
    else
        flush(c);
}

static struct px_store_daemon_conn *dial(struct store_daemon *d, bool for_roots)
{
    struct px_store_daemon_conn *c = conn_new(d, for_roots);
    if (c == NULL)
        return NULL;
    uv_timer_start(&c->timer, on_timer, PX_STORE_REPLY_TIMEOUT_MS, 0);
    uv_pipe_connect(&c->connect, &c->pipe, d->socket, on_connected);
    return c;
}

static bool dialling(const struct store_daemon *d)
{
    PX_LIST_EACH(it, &d->conns) {
        const struct px_store_daemon_conn *c =
            PX_CONTAINER_OF(it, struct px_store_daemon_conn, node);
        if (!c->for_roots && (c->state == CONN_DIALING || c->state == CONN_GREETING))
            return true;
    }
    return false;
}

/* From the start each time: giving out work may end any connection. */
static struct px_store_daemon_conn *next_workable(struct store_daemon *d)
{
    PX_LIST_EACH(it, &d->conns) {
        struct px_store_daemon_conn *c = PX_CONTAINER_OF(it, struct px_store_daemon_conn, node);
        if (c->state != CONN_IDLE)
            continue;
        if (!c->for_roots && older_than(c, CONN_AGE_MS))
            conn_close(c);
        else if (c->for_roots ? next_root(c) != NULL : !px_list_empty(&d->queue))
            return c;
    }
    return NULL;
}

static void on_turn(uv_idle_t *h)
{
    struct store_daemon *d = h->data;
    uv_idle_stop(&d->turn);
    for (struct px_store_daemon_conn *c; (c = next_workable(d)) != NULL;)
        conn_work(c);
    bool more = d->query_conns < QUERY_CONNS_MAX && !dialling(d) &&
                d->queued > d->query_conns * QUEUE_A_CONN &&
                (d->query_conns == 0 || uv_now(d->loop) >= d->dial_after);
    if (more && dial(d, false) == NULL && d->query_conns == 0)
        fail_queue(d, PX_ENOMEM);
}

static void schedule(struct store_daemon *d)
{
    if (!d->closing)
        uv_idle_start(&d->turn, on_turn);
}

/* ---- what store.c calls ---- */

static int daemon_query(struct px_store_backend *b, struct px_store_query *q)
{
    struct store_daemon *d = PX_CONTAINER_OF(b, struct store_daemon, base);
    enqueue(d, &d->queue, q);
    schedule(d);
    return 0;
}

static void daemon_cancel(struct px_store_backend *b, struct px_store_query *q)
{
    struct store_daemon *d = PX_CONTAINER_OF(b, struct store_daemon, base);
    if (q->conn != NULL)
        q->conn->query = NULL;
    if (q->queued)
        d->queued--;
    px_list_remove(&q->node);
}

static bool worn_out(const struct px_store_daemon_conn *c)
{
    return c->asked_roots >= ROOTS_A_CONN || older_than(c, CONN_AGE_MS);
}

/* It ends with the last root it holds. */
static void retire(struct px_store_daemon_conn *c)
{
    c->retired = true;
    c->daemon->root_conn = NULL;
    if (c->state == CONN_IDLE && px_list_empty(&c->roots))
        conn_close(c);
}

static int daemon_root_acquire(struct px_store_backend *b, struct px_store_root *r)
{
    struct store_daemon *d = PX_CONTAINER_OF(b, struct store_daemon, base);
    if (d->root_conn != NULL && worn_out(d->root_conn))
        retire(d->root_conn);
    struct px_store_daemon_conn *c = d->root_conn != NULL ? d->root_conn : dial(d, true);
    if (c == NULL)
        return PX_ENOMEM;
    r->conn = c;
    r->state = PX_STORE_ROOT_WAITING;
    px_list_push_back(&c->roots, &r->node);
    if (c->state == CONN_IDLE)
        uv_timer_stop(&c->timer);
    schedule(d);
    return 0;
}

static void daemon_root_release(struct px_store_backend *b, struct px_store_root *r)
{
    struct px_store_daemon_conn *c = r->conn;
    (void)b;
    if (r->state == PX_STORE_ROOT_NONE)
        return;
    r->state = PX_STORE_ROOT_NONE;
    r->conn = NULL;
    px_list_remove(&r->node);
    if (c->root == r)
        c->root = NULL;
    if (c->state == CONN_IDLE)
        conn_rest(c);
}

static void on_turn_closed(uv_handle_t *h)
{
    let_go(h->data);
}

static void daemon_close(struct px_store_backend *b, void (*closed)(void *ctx), void *ctx)
{
    struct store_daemon *d = PX_CONTAINER_OF(b, struct store_daemon, base);
    d->closing = true;
    d->closed = closed;
    d->closed_ctx = ctx;
    while (!px_list_empty(&d->conns)) {
        struct px_store_daemon_conn *c =
            PX_CONTAINER_OF(d->conns.next, struct px_store_daemon_conn, node);
        struct px_store_query *q = c->query;
        c->query = NULL;
        conn_close(c);
        if (q != NULL)
            finish_query(q, PX_ECANCELED, NULL);
    }
    fail_queue(d, PX_ECANCELED);
    uv_close((uv_handle_t *)&d->turn, on_turn_closed);
}

/* ---- opening the store: the connection of the greeting is kept ---- */

/* Keeps the greeted connection if it can; without it the first query dials. */
static void adopt(struct store_daemon *d, int fd, struct px_worker *owned_worker)
{
    struct px_store_daemon_conn *c = conn_new(d, false);
    if (c == NULL || uv_pipe_open(&c->pipe, fd) != 0) {
        px_worker_deinit(owned_worker);
        close(fd);
        if (c != NULL)
            conn_close(c);
        return;
    }
    px_worker_deinit(&c->worker);
    c->worker = *owned_worker;
    set_state(c, CONN_GREETING);
    set_state(c, CONN_IDLE);
    uv_timer_start(&c->timer, on_timer, IDLE_MS, 0);
    if (uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read) != 0)
        conn_close(c);
}

static const struct px_store_backend_ops daemon_ops = {
    .query = daemon_query,
    .cancel = daemon_cancel,
    .root_acquire = daemon_root_acquire,
    .root_release = daemon_root_release,
    .close = daemon_close,
};

static struct store_daemon *daemon_new(uv_loop_t *loop, const struct px_store_uri *uri,
                                       const struct px_log *log)
{
    struct store_daemon *d = calloc(1, sizeof(*d));
    if (d == NULL)
        return NULL;
    d->base.ops = &daemon_ops;
    d->loop = loop;
    d->log = log;
    memcpy(d->socket, uri->socket, sizeof(d->socket));
    memcpy(d->store_dir, uri->store_dir, sizeof(d->store_dir));
    px_list_init(&d->conns);
    px_list_init(&d->queue);
    uv_idle_init(loop, &d->turn);
    d->turn.data = d;
    d->live = 1;
    return d;
}

int px_store_daemon_open(uv_loop_t *loop, const struct px_store_uri *uri, const struct px_log *log,
                         struct px_store_backend **ret)
{
    struct px_worker w;
    int fd = -1;
    int err = px_store_greet(uri->socket, uri->store_dir, &w, &fd);
    if (err != 0)
        return err;
    struct store_daemon *d = daemon_new(loop, uri, log);
    if (d == NULL) {
        px_worker_deinit(&w);
        close(fd);
        return PX_ENOMEM;
    }
    snprintf(d->base.label, sizeof(d->base.label), "daemon 1.%u (nix %s) at %s", w.minor,
             w.nix_version, d->socket);
    adopt(d, fd, &w);
    *ret = &d->base;
    return 0;
}

/* One connection to a nix-daemon: a libuv pipe under worker_proto.c, one request at a time. Which
 * query or root it works on next, and what its loss means for others, is store_daemon.c. */
#include "node/nix/store_daemon_internal.h"

#include <stdlib.h>
#include <unistd.h>

#include "node/nix/store_greeting.h"

#define IDLE_MS 10000
#define AGE_MS  300000

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

/* ---- its end ---- */

static void on_conn_handle_closed(uv_handle_t *h)
{
    struct px_store_daemon_conn *c = h->data;
    struct px_store_daemon *d = c->daemon;
    if (--c->handles > 0)
        return;
    px_worker_deinit(&c->worker);
    px_buf_deinit(&c->sending);
    free(c);
    px_store_daemon_let_go(d);
}

void px_store_daemon_conn_close(struct px_store_daemon_conn *c)
{
    struct px_store_daemon *d = c->daemon;
    set_state(c, CONN_CLOSING);
    px_list_remove(&c->node);
    if (!c->for_roots)
        d->query_conns--;
    if (d->root_conn == c)
        d->root_conn = NULL;
    uv_close((uv_handle_t *)&c->pipe, on_conn_handle_closed);
    uv_close((uv_handle_t *)&c->timer, on_conn_handle_closed);
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

static void conn_fail(struct px_store_daemon_conn *c, int err)
{
    struct px_store_daemon *d = c->daemon;
    struct px_store_query *q = c->query;
    bool greeted = c->state == CONN_IDLE || c->state == CONN_BUSY;
    if (c->state == CONN_CLOSING)
        return;
    px_log_event(d->log, greeted && err == PX_ECLOSED ? PX_LOG_DEBUG : PX_LOG_WARN,
                 "store.daemon_lost", PX_F_STR("socket", d->socket), PX_F_ERR(err));
    c->query = NULL;
    px_store_daemon_conn_close(c);
    fail_roots(c, err);
    px_store_daemon_lost(c, greeted, q, err);
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
        px_store_daemon_conn_close(c);
    else
        conn_fail(c, PX_ETIMEDOUT);
}

bool px_store_daemon_conn_is_old(const struct px_store_daemon_conn *c)
{
    return uv_now(c->daemon->loop) - c->born >= AGE_MS;
}

void px_store_daemon_conn_rest(struct px_store_daemon_conn *c)
{
    if (c->state == CONN_CLOSING)
        return;
    if (c->state != CONN_IDLE)
        set_state(c, CONN_IDLE);
    uv_timer_stop(&c->timer);
    bool used = c->for_roots && !px_list_empty(&c->roots);
    if (!used && (c->retired || (!c->for_roots && px_store_daemon_conn_is_old(c)))) {
        px_store_daemon_conn_close(c);
    } else {
        if (!used)
            uv_timer_start(&c->timer, on_timer, IDLE_MS, 0);
        px_store_daemon_conn_work(c);
    }
    px_store_daemon_schedule(c->daemon);
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

bool px_store_daemon_conn_has_work(const struct px_store_daemon_conn *c)
{
    return c->for_roots ? next_root(c) != NULL : !px_list_empty(&c->daemon->queue);
}

void px_store_daemon_conn_work(struct px_store_daemon_conn *c)
{
    struct px_store_daemon *d = c->daemon;
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
        struct px_store_query *q = px_store_daemon_dequeue(d);
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
        px_store_daemon_finish_query(q, err, owned_info);
    else
        px_path_info_free(owned_info);
    px_store_daemon_conn_rest(c);
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
    px_store_daemon_conn_rest(c);
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
    struct px_store_daemon *d = c->daemon;
    switch (ev->kind) {
    case PX_WORKER_READY:
        px_store_daemon_conn_rest(c);
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
    *buf = uv_buf_init((char *)c->daemon->read_buf, PX_STORE_READ_SIZE);
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

static struct px_store_daemon_conn *conn_new(struct px_store_daemon *d, bool for_roots)
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

struct px_store_daemon_conn *px_store_daemon_conn_dial(struct px_store_daemon *d, bool for_roots)
{
    struct px_store_daemon_conn *c = conn_new(d, for_roots);
    if (c == NULL)
        return NULL;
    uv_timer_start(&c->timer, on_timer, PX_STORE_REPLY_TIMEOUT_MS, 0);
    uv_pipe_connect(&c->connect, &c->pipe, d->socket, on_connected);
    return c;
}

void px_store_daemon_conn_adopt(struct px_store_daemon *d, int owned_fd,
                                struct px_worker *owned_worker)
{
    struct px_store_daemon_conn *c = conn_new(d, false);
    if (c == NULL || uv_pipe_open(&c->pipe, owned_fd) != 0) {
        px_worker_deinit(owned_worker);
        close(owned_fd);
        if (c != NULL)
            px_store_daemon_conn_close(c);
        return;
    }
    px_worker_deinit(&c->worker);
    c->worker = *owned_worker;
    set_state(c, CONN_GREETING);
    set_state(c, CONN_IDLE);
    uv_timer_start(&c->timer, on_timer, IDLE_MS, 0);
    if (uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read) != 0)
        px_store_daemon_conn_close(c);
}

/* Path infos and temporary roots from a nix-daemon, over a few connections (store_daemon_conn.c).
 *
 * A connection serves either queries or roots. The daemon forks for each; that child lives on when
 * the daemon itself is restarted or upgraded, and temporary roots live as long as their connection:
 * so connections are given up when idle and after a time (docs/store.md). */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "node/nix/store_daemon_internal.h"
#include "node/nix/store_greeting.h"

#define QUERY_CONNS_MAX 4
#define QUEUE_A_CONN    8    /* waiting queries that justify one more connection */
#define ROOTS_A_CONN    1000 /* then a new one, so that old roots are let go */
#define ATTEMPTS        2    /* of a query, each on another connection */
#define REDIAL_MS       1000 /* after a failure, while other connections serve */

void px_store_daemon_let_go(struct px_store_daemon *d)
{
    if (--d->live > 0)
        return;
    void (*closed)(void *) = d->closed;
    void *ctx = d->closed_ctx;
    free(d);
    closed(ctx);
}

/* ---- the queue ---- */

static void enqueue(struct px_store_daemon *d, struct px_list *before, struct px_store_query *q)
{
    px_list_push_back(before, &q->node);
    q->conn = NULL;
    q->queued = true;
    d->queued++;
}

struct px_store_query *px_store_daemon_dequeue(struct px_store_daemon *d)
{
    struct px_store_query *q = PX_CONTAINER_OF(d->queue.next, struct px_store_query, node);
    px_list_remove(&q->node);
    q->queued = false;
    d->queued--;
    return q;
}

void px_store_daemon_finish_query(struct px_store_query *q, int err,
                                  struct px_path_info *owned_info)
{
    px_list_remove(&q->node);
    q->conn = NULL;
    px_store_query_finish(q, err, owned_info);
}

/* Ends all queries in the queue as it is now; those that come meanwhile are not touched. */
static void fail_queue(struct px_store_daemon *d, int err)
{
    struct px_list failed;
    px_list_init(&failed);
    while (!px_list_empty(&d->queue))
        px_list_push_back(&failed, &px_store_daemon_dequeue(d)->node);
    while (!px_list_empty(&failed))
        px_store_daemon_finish_query(PX_CONTAINER_OF(failed.next, struct px_store_query, node), err,
                                     NULL);
}

static void retry_or_fail(struct px_store_daemon *d, struct px_store_query *q, int err)
{
    if (err == PX_ETIMEDOUT || ++q->attempts >= ATTEMPTS) {
        px_store_daemon_finish_query(q, err, NULL);
        return;
    }
    enqueue(d, d->queue.next, q); /* first again */
}

/* ---- giving out work ---- */

static bool dialling(const struct px_store_daemon *d)
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
static struct px_store_daemon_conn *next_workable(struct px_store_daemon *d)
{
    PX_LIST_EACH(it, &d->conns) {
        struct px_store_daemon_conn *c = PX_CONTAINER_OF(it, struct px_store_daemon_conn, node);
        if (c->state != CONN_IDLE)
            continue;
        if (!c->for_roots && px_store_daemon_conn_is_old(c))
            px_store_daemon_conn_close(c);
        else if (px_store_daemon_conn_has_work(c))
            return c;
    }
    return NULL;
}

static void on_turn(uv_idle_t *h)
{
    struct px_store_daemon *d = h->data;
    uv_idle_stop(&d->turn);
    for (struct px_store_daemon_conn *c; (c = next_workable(d)) != NULL;)
        px_store_daemon_conn_work(c);
    bool more = d->query_conns < QUERY_CONNS_MAX && !dialling(d) &&
                d->queued > d->query_conns * QUEUE_A_CONN &&
                (d->query_conns == 0 || uv_now(d->loop) >= d->dial_after);
    if (more && px_store_daemon_conn_dial(d, false) == NULL && d->query_conns == 0)
        fail_queue(d, PX_ENOMEM);
}

void px_store_daemon_schedule(struct px_store_daemon *d)
{
    if (!d->closing)
        uv_idle_start(&d->turn, on_turn);
}

void px_store_daemon_lost(const struct px_store_daemon_conn *c, bool greeted,
                          struct px_store_query *q, int err)
{
    struct px_store_daemon *d = c->daemon;
    if (q != NULL && !d->closing)
        retry_or_fail(d, q, err);
    if (!greeted)
        d->dial_after = uv_now(d->loop) + REDIAL_MS;
    /* A daemon that cannot be reached fails everybody at once; otherwise others serve the queue. */
    if (!greeted && !c->for_roots && d->query_conns == 0)
        fail_queue(d, err);
    px_store_daemon_schedule(d);
}

/* ---- what store.c calls ---- */

static int daemon_query(struct px_store_backend *b, struct px_store_query *q)
{
    struct px_store_daemon *d = PX_CONTAINER_OF(b, struct px_store_daemon, base);
    enqueue(d, &d->queue, q);
    px_store_daemon_schedule(d);
    return 0;
}

static void daemon_cancel(struct px_store_backend *b, struct px_store_query *q)
{
    struct px_store_daemon *d = PX_CONTAINER_OF(b, struct px_store_daemon, base);
    if (q->conn != NULL)
        q->conn->query = NULL;
    if (q->queued)
        d->queued--;
    px_list_remove(&q->node);
}

static bool worn_out(const struct px_store_daemon_conn *c)
{
    return c->asked_roots >= ROOTS_A_CONN || px_store_daemon_conn_is_old(c);
}

/* It ends with the last root it holds. */
static void retire(struct px_store_daemon_conn *c)
{
    c->retired = true;
    c->daemon->root_conn = NULL;
    if (c->state == CONN_IDLE && px_list_empty(&c->roots))
        px_store_daemon_conn_close(c);
}

static int daemon_root_acquire(struct px_store_backend *b, struct px_store_root *r)
{
    struct px_store_daemon *d = PX_CONTAINER_OF(b, struct px_store_daemon, base);
    if (d->root_conn != NULL && worn_out(d->root_conn))
        retire(d->root_conn);
    struct px_store_daemon_conn *c =
        d->root_conn != NULL ? d->root_conn : px_store_daemon_conn_dial(d, true);
    if (c == NULL)
        return PX_ENOMEM;
    r->conn = c;
    r->state = PX_STORE_ROOT_WAITING;
    px_list_push_back(&c->roots, &r->node);
    if (c->state == CONN_IDLE)
        uv_timer_stop(&c->timer);
    px_store_daemon_schedule(d);
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
        px_store_daemon_conn_rest(c);
}

static void on_turn_closed(uv_handle_t *h)
{
    px_store_daemon_let_go(h->data);
}

static void daemon_close(struct px_store_backend *b, void (*closed)(void *ctx), void *ctx)
{
    struct px_store_daemon *d = PX_CONTAINER_OF(b, struct px_store_daemon, base);
    d->closing = true;
    d->closed = closed;
    d->closed_ctx = ctx;
    while (!px_list_empty(&d->conns)) {
        struct px_store_daemon_conn *c =
            PX_CONTAINER_OF(d->conns.next, struct px_store_daemon_conn, node);
        struct px_store_query *q = c->query;
        c->query = NULL;
        px_store_daemon_conn_close(c);
        if (q != NULL)
            px_store_daemon_finish_query(q, PX_ECANCELED, NULL);
    }
    fail_queue(d, PX_ECANCELED);
    uv_close((uv_handle_t *)&d->turn, on_turn_closed);
}

static const struct px_store_backend_ops daemon_ops = {
    .query = daemon_query,
    .cancel = daemon_cancel,
    .root_acquire = daemon_root_acquire,
    .root_release = daemon_root_release,
    .close = daemon_close,
};

static struct px_store_daemon *daemon_new(uv_loop_t *loop, const struct px_store_uri *uri,
                                          const struct px_log *log)
{
    struct px_store_daemon *d = calloc(1, sizeof(*d));
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
    struct px_store_daemon *d = daemon_new(loop, uri, log);
    if (d == NULL) {
        px_worker_deinit(&w);
        close(fd);
        return PX_ENOMEM;
    }
    snprintf(d->base.label, sizeof(d->base.label), "daemon 1.%u (nix %s) at %s", w.minor,
             w.nix_version, d->socket);
    px_store_daemon_conn_adopt(d, fd, &w);
    *ret = &d->base;
    return 0;
}

/* The store as its users see it: counts and limits, queries handed to the backend, NARs with their
 * temporary roots. How infos are read is store_db.c and store_daemon.c. */
#include <stdio.h>
#include <stdlib.h>

#include "node/nix/nar_source.h"
#include "node/nix/store_backend.h"
#include "proto/base/encoding.h"

/* Closed NARs whose thread still hangs in a read, together with those open. */
#define THREADS_MAX (2 * PX_STORE_NARS_MAX)

struct px_store {
    uv_loop_t *loop;
    const struct px_log *log;
    struct px_store_backend *backend; /* NULL once it is gone */
    struct px_store_uri uri;
    size_t queries, nars, threads;
    bool closing;
};

struct px_nar {
    struct px_store *store;
    struct px_nar_source *source; /* NULL while the root is awaited */
    struct px_store_root root;
    char *store_path;
    uint64_t size, offset;
    int err; /* why there will be no source */
    void (*ready)(void *ctx);
    void *ctx;
};

/* ---- opening and closing ---- */

static int open_auto(uv_loop_t *loop, const struct px_store_uri *uri, const struct px_log *log,
                     struct px_store_backend **ret)
{
    int err = uri->socket[0] != '\0' ? px_store_daemon_open(loop, uri, log, ret) : PX_ENOENT;
    if (err == 0)
        return 0;
    px_log_event(log, PX_LOG_DEBUG, "store.no_daemon", PX_F_STR("socket", uri->socket),
                 PX_F_ERR(err));
    return px_store_db_open(loop, uri, log, ret);
}

static int open_backend(uv_loop_t *loop, const struct px_store_uri *uri, const struct px_log *log,
                        struct px_store_backend **ret)
{
    switch (uri->kind) {
    case PX_STORE_AUTO:
        return open_auto(loop, uri, log, ret);
    case PX_STORE_DAEMON:
        return px_store_daemon_open(loop, uri, log, ret);
    case PX_STORE_LOCAL:
        return px_store_db_open(loop, uri, log, ret);
    }
    return PX_EINVAL;
}

int px_store_open(uv_loop_t *loop, const struct px_store_uri *uri, const struct px_log *log,
                  struct px_store **ret)
{
    struct px_store *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return PX_ENOMEM;
    s->loop = loop;
    s->log = log;
    s->uri = *uri;
    int err = open_backend(loop, uri, log, &s->backend);
    if (err != 0) {
        free(s);
        return err;
    }
    *ret = s;
    return 0;
}

static void free_if_gone(struct px_store *s)
{
    if (s->closing && s->backend == NULL && s->threads == 0)
        free(s);
}

static void on_backend_closed(void *ctx)
{
    struct px_store *s = ctx;
    s->backend = NULL;
    free_if_gone(s);
}

void px_store_close(struct px_store *s)
{
    if (s == NULL)
        return;
    px_assert(!s->closing && s->nars == 0);
    s->closing = true;
    s->backend->ops->close(s->backend, on_backend_closed, s);
}

const char *px_store_dir(const struct px_store *s)
{
    return s->uri.store_dir;
}

const char *px_store_describe(const struct px_store *s)
{
    return s->backend->label;
}

/* ---- queries ---- */

int px_store_query(struct px_store *s, struct px_slice hash_part,
                   void (*done)(void *ctx, int err, struct px_path_info *owned_info), void *ctx,
                   struct px_store_query **ret)
{
    if (hash_part.len != PX_STORE_HASH_LEN || !px_nix32_valid(hash_part))
        return PX_EINVAL;
    if (s->closing)
        return PX_ESTATE;
    if (s->queries >= PX_STORE_QUERIES_MAX)
        return PX_EBUSY;
    struct px_store_query *q = calloc(1, sizeof(*q));
    if (q == NULL)
        return PX_ENOMEM;
    px_list_init(&q->node);
    q->store = s;
    q->done = done;
    q->ctx = ctx;
    memcpy(q->hash_part, hash_part.data, PX_STORE_HASH_LEN);
    int err = s->backend->ops->query(s->backend, q);
    if (err != 0) {
        free(q);
        return err;
    }
    s->queries++;
    *ret = q;
    return 0;
}

void px_store_query_finish(struct px_store_query *q, int err, struct px_path_info *owned_info)
{
    void (*done)(void *, int, struct px_path_info *) = q->done;
    void *ctx = q->ctx;
    px_assert((err == 0) == (owned_info != NULL));
    q->store->queries--;
    free(q);
    done(ctx, err, owned_info);
}

void px_store_query_cancel(struct px_store_query *q)
{
    if (q == NULL)
        return;
    struct px_store *s = q->store;
    s->backend->ops->cancel(s->backend, q);
    s->queries--;
    free(q);
}

/* ---- NARs ---- */

static void source_gone(void *ctx)
{
    struct px_store *s = ctx;
    s->threads--;
    free_if_gone(s);
}

static void source_ready(void *ctx)
{
    struct px_nar *n = ctx;
    n->ready(n->ctx);
}

static int start_source(struct px_nar *n)
{
    struct px_store *s = n->store;
    const struct px_nar_source_events events = {source_ready, n, source_gone, s};
    struct px_slice dir, base;
    char path[PX_STORE_PATH_MAX];
    int err = px_store_path_split(px_slice_cstr(n->store_path), &dir, &base);
    if (err == 0) {
        int len = snprintf(path, sizeof(path), "%s/%.*s", s->uri.real_dir, (int)base.len,
                           (const char *)base.data);
        err = len < 0 || (size_t)len >= sizeof(path) ? PX_ELIMIT : 0;
    }
    if (err == 0)
        err = px_nar_source_start(s->loop, path, n->size, n->offset, &events, &n->source);
    if (err == 0)
        s->threads++;
    return err;
}

/* Without a root the files are read all the same: what the collector takes away meanwhile ends the
 * NAR with an error, and nothing else. */
static void on_root(void *ctx, int err)
{
    struct px_nar *n = ctx;
    if (err != 0)
        px_log_event(n->store->log, PX_LOG_WARN, "store.no_temp_root",
                     PX_F_STR("path", n->store_path), PX_F_ERR(err));
    n->err = start_source(n);
    n->ready(n->ctx);
}

static int begin(struct px_nar *n)
{
    struct px_store_backend *b = n->store->backend;
    n->root.path = px_slice_cstr(n->store_path);
    n->root.done = on_root;
    n->root.ctx = n;
    px_list_init(&n->root.node);
    if (b->ops->root_acquire != NULL)
        return b->ops->root_acquire(b, &n->root);
    return start_source(n);
}

int px_nar_open(struct px_store *s, const struct px_path_info *info, uint64_t offset,
                void (*ready)(void *ctx), void *ctx, struct px_nar **ret)
{
    if (offset > info->nar_size ||
        !px_slice_eq_cstr(px_path_info_store_dir(info), s->uri.store_dir))
        return PX_EINVAL;
    if (s->closing)
        return PX_ESTATE;
    if (s->nars >= PX_STORE_NARS_MAX || s->threads >= THREADS_MAX)
        return PX_EBUSY;
    struct px_nar *n = calloc(1, sizeof(*n));
    if (n == NULL)
        return PX_ENOMEM;
    n->store = s;
    n->size = info->nar_size;
    n->offset = offset;
    n->ready = ready;
    n->ctx = ctx;
    n->store_path = px_slice_dup_cstr(info->store_path);
    int err = n->store_path == NULL ? PX_ENOMEM : begin(n);
    if (err != 0) {
        free(n->store_path);
        free(n);
        return err;
    }
    s->nars++;
    *ret = n;
    return 0;
}

int px_nar_next(struct px_nar *n, struct px_nar_chunk **ret_owned)
{
    if (n->err != 0)
        return n->err;
    return n->source != NULL ? px_nar_source_next(n->source, ret_owned) : PX_EAGAIN;
}

void px_nar_close(struct px_nar *n)
{
    if (n == NULL)
        return;
    struct px_store *s = n->store;
    px_nar_source_close(n->source);
    if (s->backend->ops->root_release != NULL)
        s->backend->ops->root_release(s->backend, &n->root);
    s->nars--;
    free(n->store_path);
    free(n);
}

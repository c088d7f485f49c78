/* The body of a NAR answer, see cache_nar.h. */
#include "node/nix/cache_nar.h"

#include <stdlib.h>

struct px_cache_nar {
    struct px_nar *nar;
    struct px_h3_exchange *x;
    struct px_nar_chunk *first, **end; /* sent, not wholly acked */
    size_t first_acked;                /* bytes of the first one */
    size_t cut;                        /* bytes of the last chunk beyond the range */
    uint64_t left;
    int err; /* why reading ended early */
    const struct px_cache_nar_events *events;
    void *ctx;
};

static void on_ready(void *ctx)
{
    struct px_cache_nar *n = ctx;
    px_h3_body_resume(n->x);
}

int px_cache_nar_new(struct px_store *store, const struct px_path_info *info,
                     const struct px_h3_answer *head, struct px_h3_exchange *x,
                     const struct px_cache_nar_events *events, void *ctx, struct px_cache_nar **ret)
{
    px_assert(head->content_length > 0);
    struct px_cache_nar *n = calloc(1, sizeof(*n));
    if (n == NULL)
        return PX_ENOMEM;
    n->x = x;
    n->left = head->content_length;
    n->end = &n->first;
    int err = px_nar_open(store, info, head->range_first, on_ready, n, &n->nar);
    if (err != 0) {
        free(n);
        return err;
    }
    n->events = events;
    n->ctx = ctx;
    *ret = n;
    return 0;
}

static void stop_reading(struct px_cache_nar *n)
{
    if (n->nar != NULL)
        px_nar_close(n->nar);
    n->nar = NULL;
}

static int body_next(void *ctx, struct px_slice *ret, bool *ret_fin)
{
    struct px_cache_nar *n = ctx;
    struct px_nar_chunk *c;
    if (n->nar == NULL)
        return PX_ESTATE;
    int err = px_nar_next(n->nar, &c);
    if (err == PX_EAGAIN)
        return err;
    if (err == 0 && c == NULL)
        err = PX_EPROTO; /* shorter than announced */
    if (err != 0) {
        n->err = err;
        stop_reading(n);
        return err;
    }
    c->next = NULL;
    *n->end = c;
    n->end = &c->next;
    struct px_slice data = px_slice_take(c->data, (size_t)PX_MIN((uint64_t)c->data.len, n->left));
    n->cut = c->data.len - data.len;
    n->left -= data.len;
    if (n->left == 0)
        stop_reading(n);
    *ret = data;
    *ret_fin = n->left == 0;
    return 0;
}

static void drop_first(struct px_cache_nar *n)
{
    struct px_nar_chunk *c = n->first;
    n->first = c->next;
    if (n->first == NULL)
        n->end = &n->first;
    n->first_acked = 0;
    px_nar_chunk_free(c);
}

static void body_acked(void *ctx, uint64_t bytes)
{
    struct px_cache_nar *n = ctx;
    n->events->acked(n->ctx, bytes);
    while (bytes > 0) {
        struct px_nar_chunk *c = n->first;
        px_assert(c != NULL);
        size_t size = c->data.len - (c->next == NULL ? n->cut : 0);
        size_t take = (size_t)PX_MIN((uint64_t)(size - n->first_acked), bytes);
        n->first_acked += take;
        bytes -= take;
        if (n->first_acked == size)
            drop_first(n);
    }
}

void px_cache_nar_free(struct px_cache_nar *n)
{
    if (n == NULL)
        return;
    stop_reading(n);
    while (n->first != NULL)
        drop_first(n);
    n->events->closed(n->ctx, n->err);
    free(n);
}

static void body_closed(void *ctx)
{
    px_cache_nar_free(ctx);
}

const struct px_h3_body_ops px_cache_nar_ops = {
    .next = body_next,
    .acked = body_acked,
    .closed = body_closed,
};

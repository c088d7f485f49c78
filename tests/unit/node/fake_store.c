/* See fake_store.h. */
#include "tests/unit/node/fake_store.h"

#include <stdlib.h>

struct px_store_query {
    struct px_list node;
    struct fake_path *path;
    struct px_store *store;
    void (*done)(void *ctx, int err, struct px_path_info *owned_info);
    void *ctx;
};

struct px_nar {
    struct px_list node;
    struct px_store *store;
    uint64_t at, size;
    unsigned turn;
    bool waiting;
    void (*ready)(void *ctx);
    void *ctx;
};

void fake_store_init(struct px_store *s, struct fake_path *paths, size_t count)
{
    *s = (struct px_store){.paths = paths, .path_count = count, .chunk = 10000};
    px_list_init(&s->queries);
    px_list_init(&s->nars);
}

uint8_t fake_nar_byte(uint64_t offset)
{
    return (uint8_t)(offset * 7 + (offset >> 9));
}

static struct px_path_info *make_info(const struct fake_path *f)
{
    struct px_path_info *p = px_path_info_new();
    px_assert(p != NULL);
    int err = px_path_info_set_str(p, &p->store_path, px_slice_cstr(f->store_path));
    for (size_t i = 0; i < PX_ARRAY_LEN(f->refs) && f->refs[i][0] != 0 && err == 0; i++)
        err = px_path_info_add_ref(p, px_slice_cstr(f->refs[i]));
    for (size_t i = 0; i < PX_ARRAY_LEN(f->sigs) && f->sigs[i][0] != 0 && err == 0; i++)
        err = px_path_info_add_sig(p, px_slice_cstr(f->sigs[i]));
    if (f->ca[0] != 0 && err == 0)
        err = px_path_info_set_str(p, &p->ca, px_slice_cstr(f->ca));
    px_assert(err == 0);
    px_path_info_sort_refs(p);
    p->nar_size = f->nar_size;
    p->ultimate = f->ultimate;
    memset(p->nar_hash, (int)(f->nar_size & 0xff), sizeof(p->nar_hash));
    return p;
}

bool fake_store_run(struct px_store *s)
{
    bool any = false;
    while (!px_list_empty(&s->queries)) {
        struct px_store_query *q = PX_CONTAINER_OF(s->queries.next, struct px_store_query, node);
        px_list_remove(&q->node);
        if (s->answer_err != 0)
            q->done(q->ctx, s->answer_err, NULL);
        else if (q->path == NULL)
            q->done(q->ctx, PX_ENOENT, NULL);
        else
            q->done(q->ctx, 0, make_info(q->path));
        free(q);
        any = true;
    }
    PX_LIST_EACH(it, &s->nars) {
        struct px_nar *n = PX_CONTAINER_OF(it, struct px_nar, node);
        if (!n->waiting)
            continue;
        n->waiting = false;
        n->ready(n->ctx);
        any = true;
    }
    return any;
}

int px_store_query(struct px_store *s, struct px_slice hash_part,
                   void (*done)(void *ctx, int err, struct px_path_info *owned_info), void *ctx,
                   struct px_store_query **ret)
{
    s->queries_asked++;
    if (s->query_err != 0)
        return s->query_err;
    struct px_store_query *q = calloc(1, sizeof(*q));
    px_assert(q != NULL);
    q->store = s;
    q->done = done;
    q->ctx = ctx;
    for (size_t i = 0; i < s->path_count; i++)
        if (memcmp(s->paths[i].store_path + sizeof("/nix/store/") - 1, hash_part.data,
                   hash_part.len) == 0)
            q->path = &s->paths[i];
    px_list_push_back(&s->queries, &q->node);
    *ret = q;
    return 0;
}

void px_store_query_cancel(struct px_store_query *q)
{
    q->store->queries_canceled++;
    px_list_remove(&q->node);
    free(q);
}

int px_nar_open(struct px_store *s, const struct px_path_info *info, uint64_t offset,
                void (*ready)(void *ctx), void *ctx, struct px_nar **ret)
{
    if (s->open_err != 0)
        return s->open_err;
    struct px_nar *n = calloc(1, sizeof(*n));
    px_assert(n != NULL);
    *n = (struct px_nar){
        .store = s, .at = offset, .size = info->nar_size, .ready = ready, .ctx = ctx};
    px_list_push_back(&s->nars, &n->node);
    s->nars_opened++;
    *ret = n;
    return 0;
}

int px_nar_next(struct px_nar *n, struct px_nar_chunk **ret_owned)
{
    struct px_store *s = n->store;
    if (s->nars_pause && n->turn++ % 2 == 0) {
        n->waiting = true;
        return PX_EAGAIN;
    }
    if (s->nar_fails_at > 0 && n->at >= s->nar_fails_at)
        return PX_EIO;
    *ret_owned = NULL;
    if (n->at == n->size)
        return 0;
    size_t len = (size_t)PX_MIN(n->size - n->at, (uint64_t)s->chunk);
    struct px_nar_chunk *c = malloc(sizeof(*c) + len);
    px_assert(c != NULL);
    uint8_t *data = (uint8_t *)(c + 1);
    for (size_t i = 0; i < len; i++)
        data[i] = fake_nar_byte(n->at + i);
    n->at += len;
    *c = (struct px_nar_chunk){.data = px_slice(data, len)};
    *ret_owned = c;
    return 0;
}

void px_nar_close(struct px_nar *n)
{
    px_list_remove(&n->node);
    free(n);
}

void px_nar_chunk_free(struct px_nar_chunk *c)
{
    free(c);
}

/* The worker of nar_hash.h. A hash's state is touched by the thread while blocks of it are there
 * (pending > 0), by the loop otherwise; the mutex around the job lists orders the two. */
#include "node/nix/nar_hash.h"

#include <gnutls/crypto.h>
#include <stdlib.h>

#define DIGEST_LEN 32

struct jobs {
    struct px_nar_block *first, **last;
};

struct px_nar_hasher {
    uv_async_t async;
    uv_thread_t thread;
    uv_mutex_t mutex;
    uv_cond_t cond;
    struct px_nar_block *spares; /* of PX_NAR_BLOCK_SIZE; none without hashes */
    size_t spare_count, hash_count;
    struct jobs todo, done; /* under the mutex */
    bool stop;              /* under the mutex */
    bool started;
    void (*closed)(void *ctx);
    void *ctx;
};

struct px_nar_hash {
    struct px_nar_hasher *hasher;
    gnutls_hash_hd_t state; /* NULL once the digest is taken */
    void (*progress)(void *ctx);
    void *ctx;
    uint64_t count;
    size_t pending; /* blocks on the thread */
    bool finished, dead;
    uint8_t digest[DIGEST_LEN];
};

/* Memory fresh from the kernel costs a fault a page, a twentieth of a transfer's CPU time: what the
 * reader is done with is filled again, the last one first. */
static struct px_nar_block *take_spare(struct px_nar_hasher *h)
{
    struct px_nar_block *b = h->spares;
    if (b != NULL) {
        h->spares = b->next;
        h->spare_count--;
    }
    return b;
}

static void drop_spares(struct px_nar_hasher *h)
{
    for (struct px_nar_block *b; (b = take_spare(h)) != NULL;)
        free(b);
}

struct px_nar_block *px_nar_block_new(struct px_nar_hasher *h, size_t cap)
{
    struct px_nar_block *b = cap == PX_NAR_BLOCK_SIZE ? take_spare(h) : NULL;
    if (b == NULL)
        b = malloc(sizeof(*b) + cap);
    if (b != NULL)
        *b = (struct px_nar_block){.home = h, .refs = 1, .cap = cap};
    return b;
}

void px_nar_block_unref(struct px_nar_block *b)
{
    if (b == NULL || --b->refs > 0)
        return;
    struct px_nar_hasher *h = b->home;
    if (b->cap != PX_NAR_BLOCK_SIZE || h->spare_count == PX_NAR_SPARES_MAX) {
        free(b);
        return;
    }
    b->next = h->spares;
    h->spares = b;
    h->spare_count++;
}

static void jobs_init(struct jobs *j)
{
    j->first = NULL;
    j->last = &j->first;
}

static void jobs_put(struct jobs *j, struct px_nar_block *b)
{
    b->next_job = NULL;
    *j->last = b;
    j->last = &b->next_job;
}

static struct px_nar_block *jobs_take_all(struct jobs *j)
{
    struct px_nar_block *first = j->first;
    jobs_init(j);
    return first;
}

/* GnuTLS's SHA-256 cannot fail on memory that is there. */
static void hash_block(struct px_nar_hash *h, const struct px_nar_block *b)
{
    int err = gnutls_hash(h->state, b->data, b->len);
    px_assert(err == 0);
}

static void worker(void *arg)
{
    struct px_nar_hasher *h = arg;
    uv_mutex_lock(&h->mutex);
    for (;;) {
        while (h->todo.first == NULL && !h->stop)
            uv_cond_wait(&h->cond, &h->mutex);
        if (h->todo.first == NULL)
            break;
        struct px_nar_block *b = jobs_take_all(&h->todo);
        uv_mutex_unlock(&h->mutex);
        for (struct px_nar_block *next; b != NULL; b = next) {
            next = b->next_job;
            hash_block(b->hash, b);
            uv_mutex_lock(&h->mutex);
            jobs_put(&h->done, b);
            uv_mutex_unlock(&h->mutex);
            (void)uv_async_send(&h->async);
        }
        uv_mutex_lock(&h->mutex);
    }
    uv_mutex_unlock(&h->mutex);
}

static void take_digest(struct px_nar_hash *h)
{
    gnutls_hash_deinit(h->state, h->digest);
    h->state = NULL;
}

static void destroy(struct px_nar_hash *h)
{
    if (h->state != NULL)
        gnutls_hash_deinit(h->state, NULL);
    if (--h->hasher->hash_count == 0)
        drop_spares(h->hasher);
    free(h);
}

static void block_back(struct px_nar_block *b)
{
    struct px_nar_hash *h = b->hash;
    h->count += b->len;
    h->pending--;
    px_nar_block_unref(b);
    if (h->dead) {
        if (h->pending == 0)
            destroy(h);
        return;
    }
    if (h->pending == 0 && h->finished)
        take_digest(h);
    h->progress(h->ctx);
}

static void on_async(uv_async_t *async)
{
    struct px_nar_hasher *h = PX_CONTAINER_OF(async, struct px_nar_hasher, async);
    uv_mutex_lock(&h->mutex);
    struct px_nar_block *b = jobs_take_all(&h->done);
    uv_mutex_unlock(&h->mutex);
    for (struct px_nar_block *next; b != NULL; b = next) {
        next = b->next_job;
        block_back(b);
    }
}

int px_nar_hasher_new(uv_loop_t *loop, struct px_nar_hasher **ret)
{
    struct px_nar_hasher *h = calloc(1, sizeof(*h));
    if (h == NULL)
        return PX_ENOMEM;
    jobs_init(&h->todo);
    jobs_init(&h->done);
    if (uv_mutex_init(&h->mutex) != 0) {
        free(h);
        return PX_ENOMEM;
    }
    if (uv_cond_init(&h->cond) != 0) {
        uv_mutex_destroy(&h->mutex);
        free(h);
        return PX_ENOMEM;
    }
    if (uv_async_init(loop, &h->async, on_async) != 0) {
        uv_cond_destroy(&h->cond);
        uv_mutex_destroy(&h->mutex);
        free(h);
        return PX_ENOMEM;
    }
    *ret = h;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct px_nar_hasher *h =
        PX_CONTAINER_OF((uv_async_t *)(void *)handle, struct px_nar_hasher, async);
    void (*closed)(void *ctx) = h->closed;
    void *ctx = h->ctx;
    free(h);
    if (closed != NULL)
        closed(ctx);
}

void px_nar_hasher_close(struct px_nar_hasher *h, void (*closed)(void *ctx), void *ctx)
{
    h->closed = closed;
    h->ctx = ctx;
    if (h->started) {
        uv_mutex_lock(&h->mutex);
        h->stop = true;
        uv_cond_signal(&h->cond);
        uv_mutex_unlock(&h->mutex);
        uv_thread_join(&h->thread);
        on_async(&h->async); /* blocks of hashes freed in the meantime */
    }
    uv_cond_destroy(&h->cond);
    uv_mutex_destroy(&h->mutex);
    uv_close((uv_handle_t *)&h->async, on_closed);
}

int px_nar_hash_new(struct px_nar_hasher *hasher, void (*progress)(void *ctx), void *ctx,
                    struct px_nar_hash **ret)
{
    struct px_nar_hash *h = calloc(1, sizeof(*h));
    if (h == NULL)
        return PX_ENOMEM;
    *h = (struct px_nar_hash){.hasher = hasher, .progress = progress, .ctx = ctx};
    if (gnutls_hash_init(&h->state, GNUTLS_DIG_SHA256) != 0) {
        free(h);
        return PX_ENOMEM;
    }
    hasher->hash_count++;
    *ret = h;
    return 0;
}

static bool start_thread(struct px_nar_hasher *h)
{
    const uv_thread_options_t options = {.flags = UV_THREAD_HAS_STACK_SIZE,
                                         .stack_size = 128u * 1024};
    if (!h->started)
        h->started = uv_thread_create_ex(&h->thread, &options, worker, h) == 0;
    return h->started;
}

void px_nar_hash_update(struct px_nar_hash *h, struct px_nar_block *b)
{
    struct px_nar_hasher *r = h->hasher;
    px_assert(!h->finished);
    /* without a thread the loop's must do: slower, but right */
    if (h->pending == 0 && (b->len <= PX_NAR_HASH_INLINE || !start_thread(r))) {
        hash_block(h, b);
        h->count += b->len;
        return;
    }
    b->refs++;
    b->hash = h;
    h->pending++;
    uv_mutex_lock(&r->mutex);
    bool idle = r->todo.first == NULL;
    jobs_put(&r->todo, b);
    uv_mutex_unlock(&r->mutex);
    if (idle)
        uv_cond_signal(&r->cond); /* unlocked: else the thread would wake up to wait for us */
}

void px_nar_hash_finish(struct px_nar_hash *h)
{
    px_assert(!h->finished);
    h->finished = true;
    if (h->pending == 0)
        take_digest(h);
}

uint64_t px_nar_hash_count(const struct px_nar_hash *h)
{
    return h->count;
}

const uint8_t *px_nar_hash_digest(const struct px_nar_hash *h)
{
    return h->finished && h->state == NULL ? h->digest : NULL;
}

void px_nar_hash_free(struct px_nar_hash *h)
{
    if (h == NULL)
        return;
    h->dead = true;
    if (h->pending == 0)
        destroy(h);
}

/* The queue between a walking thread and the loop. All fields below `lock` are guarded by it; the
 * thread's last act is to wake the loop, which joins it before the handle is closed. */
#include "node/nix/nar_source.h"

#include <stdlib.h>

#include "node/nix/nar_walk.h"

/* The walk itself needs little: a symlink target on the stack, everything else on the heap. */
#define THREAD_STACK (256u * 1024)

struct px_nar_source {
    uv_async_t wake;
    uv_thread_t thread;
    struct px_nar_source_events events;
    char *path;
    uint64_t nar_size, offset;
    bool closed; /* the loop's own */

    uv_mutex_t lock;
    uv_cond_t room; /* queued fell, or stop */
    struct px_nar_chunk *head, **tail;
    size_t queued;
    bool starving; /* the loop was told PX_EAGAIN and waits for a call */
    bool announce; /* that call is due */
    bool blocked;  /* the thread waits for room */
    bool stop;
    bool finished; /* nothing more will be queued */
    int result;    /* of the walk, once finished */
};

/* The chunk being filled counts against PX_NAR_READ_AHEAD as much as the queued ones. */
static bool full(const struct px_nar_source *s)
{
    return s->queued + 2 * (size_t)PX_NAR_CHUNK > PX_NAR_READ_AHEAD;
}

static bool settle_hunger(struct px_nar_source *s)
{
    bool due = s->starving;
    s->starving = false;
    s->announce = s->announce || due;
    return due;
}

static int emit(void *ctx, struct px_nar_chunk *owned)
{
    struct px_nar_source *s = ctx;
    uv_mutex_lock(&s->lock);
    *s->tail = owned;
    s->tail = &owned->next;
    s->queued += owned->data.len;
    if (settle_hunger(s))
        uv_async_send(&s->wake);
    while (full(s) && !s->stop) {
        s->blocked = true;
        uv_cond_wait(&s->room, &s->lock);
    }
    s->blocked = false;
    int err = s->stop ? PX_ECANCELED : 0;
    uv_mutex_unlock(&s->lock);
    return err;
}

static bool stopped(void *ctx)
{
    struct px_nar_source *s = ctx;
    return __atomic_load_n(&s->stop, __ATOMIC_RELAXED);
}

static void run(void *arg)
{
    static const struct px_nar_walk_ops ops = {.emit = emit, .stopped = stopped};
    struct px_nar_source *s = arg;
    int err = px_nar_walk(s->path, s->nar_size, s->offset, &ops, s);
    uv_mutex_lock(&s->lock);
    s->finished = true;
    s->result = err;
    settle_hunger(s);
    uv_mutex_unlock(&s->lock);
    uv_async_send(&s->wake);
}

static void free_queue(struct px_nar_source *s)
{
    while (s->head != NULL) {
        struct px_nar_chunk *c = s->head;
        s->head = c->next;
        px_nar_chunk_free(c);
    }
}

static void destroy(struct px_nar_source *s)
{
    free_queue(s);
    uv_cond_destroy(&s->room);
    uv_mutex_destroy(&s->lock);
    free(s->path);
    free(s);
}

static void on_handle_closed(uv_handle_t *h)
{
    struct px_nar_source *s = h->data;
    const struct px_nar_source_events events = s->events;
    destroy(s);
    if (events.gone != NULL)
        events.gone(events.gone_ctx);
}

/* Joining is short: a finished thread has at most its wake-up call left to make. */
static void end(struct px_nar_source *s)
{
    if (uv_is_closing((uv_handle_t *)&s->wake))
        return;
    uv_thread_join(&s->thread);
    uv_close((uv_handle_t *)&s->wake, on_handle_closed);
}

static void on_wake(uv_async_t *h)
{
    struct px_nar_source *s = h->data;
    uv_mutex_lock(&s->lock);
    bool finished = s->finished, announce = s->announce;
    s->announce = false;
    uv_mutex_unlock(&s->lock);
    if (s->closed && finished)
        end(s);
    else if (!s->closed && announce)
        s->events.ready(s->events.ctx);
}

static struct px_nar_source *new_source(const char *path)
{
    struct px_nar_source *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return NULL;
    s->path = px_slice_dup_cstr(px_slice_cstr(path));
    if (s->path == NULL)
        goto no_path;
    if (uv_mutex_init(&s->lock) != 0)
        goto no_lock;
    if (uv_cond_init(&s->room) != 0)
        goto no_room;
    s->tail = &s->head;
    return s;
no_room:
    uv_mutex_destroy(&s->lock);
no_lock:
    free(s->path);
no_path:
    free(s);
    return NULL;
}

int px_nar_source_start(uv_loop_t *loop, const char *path, uint64_t nar_size, uint64_t offset,
                        const struct px_nar_source_events *events, struct px_nar_source **ret)
{
    if (offset > nar_size)
        return PX_EINVAL;
    struct px_nar_source *s = new_source(path);
    if (s == NULL)
        return PX_ENOMEM;
    s->nar_size = nar_size;
    s->offset = offset;
    if (uv_async_init(loop, &s->wake, on_wake) != 0) {
        destroy(s);
        return PX_ENOMEM;
    }
    s->wake.data = s;
    const uv_thread_options_t options = {UV_THREAD_HAS_STACK_SIZE, THREAD_STACK};
    if (uv_thread_create_ex(&s->thread, &options, run, s) != 0) {
        uv_close((uv_handle_t *)&s->wake, on_handle_closed);
        return PX_EBUSY;
    }
    s->events = *events;
    *ret = s;
    return 0;
}

int px_nar_source_next(struct px_nar_source *s, struct px_nar_chunk **ret_owned)
{
    int err = 0;
    uv_mutex_lock(&s->lock);
    struct px_nar_chunk *c = s->head;
    if (c != NULL) {
        s->head = c->next;
        if (s->head == NULL)
            s->tail = &s->head;
        s->queued -= c->data.len;
        c->next = NULL;
        /* Woken at half empty rather than at every chunk: fewer switches between the two. */
        if (s->blocked && s->queued <= PX_NAR_READ_AHEAD / 2)
            uv_cond_signal(&s->room);
    } else if (s->finished) {
        err = s->result;
    } else {
        s->starving = true;
        err = PX_EAGAIN;
    }
    uv_mutex_unlock(&s->lock);
    if (err == 0)
        *ret_owned = c;
    return err;
}

size_t px_nar_source_queued(struct px_nar_source *s)
{
    uv_mutex_lock(&s->lock);
    size_t n = s->queued;
    uv_mutex_unlock(&s->lock);
    return n;
}

void px_nar_source_close(struct px_nar_source *s)
{
    if (s == NULL)
        return;
    s->closed = true;
    uv_mutex_lock(&s->lock);
    __atomic_store_n(&s->stop, true, __ATOMIC_RELAXED);
    uv_cond_signal(&s->room);
    bool finished = s->finished;
    uv_mutex_unlock(&s->lock);
    if (finished)
        end(s);
}

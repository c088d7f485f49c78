/* The substituter of substituter.h: requests from http_front, rounds of cache_query, and what
 * nar_memory remembers between them. NARs are substituter_nar.c.
 *
 * Peers' callbacks only record facts; flush() acts on them, before the loop polls and after. */
#include "node/nix/substituter_internal.h"

#include <stdlib.h>

#include "transport/overlay_io.h"

#define FLUSH_ROUNDS 4             /* then the loop turns once more */
#define WEIGH_PAUSE  (60 * PX_SEC) /* demerits age slowly */

/* --- answers --- */

void px_substituter_answer_status(struct px_http_exchange *x, unsigned status)
{
    px_http_answer(x, &(struct px_http_answer){.status = status});
}

/* A text that could not be written is a 404: nix then looks elsewhere. */
static void answer_text(struct px_http_exchange *x, const char *type, int err,
                        struct px_buf *owned_text)
{
    if (err != 0)
        px_substituter_answer_status(x, 404);
    else
        px_http_answer(x, &(struct px_http_answer){.status = 200,
                                                   .content_type = type,
                                                   .body = px_buf_slice(owned_text)});
    px_buf_deinit(owned_text);
}

static void answer_cache_info(struct px_substituter *s, struct px_http_exchange *x)
{
    struct px_buf text;
    px_buf_init(&text, 4096);
    int err = px_buf_printf(&text, "StoreDir: %s\nWantMassQuery: 1\nPriority: %u\n", s->store_dir,
                            s->config.priority);
    answer_text(x, "text/x-nix-cache-info", err, &text);
}

static void answer_narinfo(struct px_http_exchange *x, const struct px_path_info *info)
{
    struct px_buf text;
    px_buf_init(&text, 2 * PX_NARINFO_MAX);
    int err = px_narinfo_format(info, &text);
    answer_text(x, "text/x-nix-narinfo", err, &text);
}

/* --- requests and their end --- */

static void on_over(void *ctx)
{
    struct px_substituter_request *q = ctx;
    if (q->waiter != NULL)
        px_cache_query_leave(q->s->queries, q->waiter);
    px_substituter_nar_drop(q);
    px_list_remove(&q->link);
    free(q);
}

struct px_substituter_request *px_substituter_request_new(struct px_substituter *s,
                                                          struct px_http_exchange *x,
                                                          const struct px_http_target *target,
                                                          bool head)
{
    struct px_substituter_request *q = calloc(1, sizeof(*q));
    if (q == NULL)
        return NULL;
    *q = (struct px_substituter_request){
        .s = s, .x = x, .target = *target, .head = head, .started = s->now};
    px_list_init(&q->link);
    px_http_on_over(x, on_over, q);
    return q;
}

void px_substituter_remember(struct px_substituter *s, const struct px_path_info *info,
                             const struct px_cache_peer *from)
{
    struct px_nar_fact fact = {.nar_size = info->nar_size, .holder = from->id};
    memcpy(fact.nar_hash, info->nar_hash, 32);
    px_nar_memory_put(s->memory, s->now, px_path_info_hash_part(info), &fact);
}

static void on_narinfo(void *ctx, const struct px_path_info *info, struct px_cache_peer *from)
{
    struct px_substituter_request *q = ctx;
    q->waiter = NULL;
    if (info == NULL) {
        q->s->stats.narinfo_misses++;
        px_substituter_answer_status(q->x, 404);
        return;
    }
    q->s->stats.narinfo_hits++;
    px_substituter_remember(q->s, info, from);
    answer_narinfo(q->x, info);
}

static void request_narinfo(struct px_substituter *s, struct px_http_exchange *x,
                            const struct px_http_target *target, bool head)
{
    struct px_substituter_request *q = px_substituter_request_new(s, x, target, head);
    if (q != NULL && px_cache_query(s->queries, s->now, px_substituter_store_hash(q), NULL,
                                    on_narinfo, q, &q->waiter) == 0)
        return;
    s->stats.narinfo_misses++;
    px_substituter_answer_status(x, 404);
}

static void on_request(void *ctx, struct px_http_exchange *x, const struct px_http_target *target,
                       bool head)
{
    struct px_substituter *s = ctx;
    s->now = px_now_io();
    switch (target->kind) {
    case PX_HTTP_CACHE_INFO:
        answer_cache_info(s, x);
        return;
    case PX_HTTP_NARINFO:
        request_narinfo(s, x, target, head);
        return;
    case PX_HTTP_NAR:
        px_substituter_nar_request(s, x, target, head);
        return;
    case PX_HTTP_OTHER:
        if (s->config.page == NULL || !s->config.page(s->config.page_ctx, x))
            px_substituter_answer_status(x, 404);
        return;
    }
}

static const struct px_http_front_ops front_ops = {on_request};

/* --- what peers are worth --- */

void px_substituter_weigh(const struct px_substituter *s, struct px_cache_peer *const *peers,
                          size_t count)
{
    if (s->config.history == NULL)
        return;
    for (size_t i = 0; i < count; i++) {
        struct px_cache_peer *p = peers[i];
        if (p->weighed_at != 0 && s->now - p->weighed_at < (px_nsec)WEIGH_PAUSE)
            continue;
        p->weighed_at = s->now;
        p->demerits = px_peer_history_demerits(s->config.history, &p->id, s->now);
    }
}

void px_substituter_blame(struct px_substituter *s, const struct px_peer_id *id,
                          struct px_cache_peer *p, enum px_history_fault fault, uint32_t demerits)
{
    if (p != NULL)
        p->demerits += PX_MIN(demerits, UINT32_MAX - p->demerits);
    if (s->config.history == NULL)
        return;
    px_peer_history_fault(s->config.history, id, fault, demerits, s->now);
    if (p != NULL)
        p->demerits = px_peer_history_demerits(s->config.history, id, s->now);
}

/* --- rounds --- */

static size_t round_peers(void *ctx, struct px_cache_peer **ret, size_t cap)
{
    struct px_substituter *s = ctx;
    size_t count = s->config.peers(s->config.peers_ctx, ret, cap);
    px_substituter_weigh(s, ret, count);
    return count;
}

static bool usable(void *ctx, const struct px_cache_peer *p, const uint8_t nar_hash[32])
{
    struct px_substituter *s = ctx;
    return !px_nar_memory_blamed(s->memory, s->now, nar_hash, &p->id);
}

static void rejected(void *ctx, struct px_cache_peer *p, struct px_slice hash_part,
                     enum px_narinfo_fault fault)
{
    struct px_substituter *s = ctx;
    enum px_log_level level = PX_LOG_WARN;
    s->stats.narinfo_rejected++;
    switch (fault) {
    case PX_NARINFO_MALFORMED:
    case PX_NARINFO_TOO_BIG:
    case PX_NARINFO_OTHER_PATH:
        px_substituter_blame(s, &p->id, p, PX_HISTORY_BAD_NARINFO, 1);
        break;
    case PX_NARINFO_OK:
    case PX_NARINFO_OTHER_STORE:
    case PX_NARINFO_UNTRUSTED:
    case PX_NARINFO_NO_MEMORY:
        break;
    case PX_NARINFO_OTHER_NAR:
        level = PX_LOG_DEBUG; /* another build of the same path is no offence */
        break;
    }
    px_log_event(s->config.log, level, "narinfo.rejected", PX_F_STR("peer", p->name),
                 PX_F_STR("why", px_narinfo_fault_text(fault)), PX_F_SLICE("path", hash_part));
}

/* --- the loop --- */

static void finish(struct px_substituter *s);

static px_nsec next_due(const struct px_substituter *s)
{
    px_nsec next = PX_MIN(px_cache_queries_next(s->queries), px_substituter_nars_next(s));
    return s->closing ? PX_MIN(next, s->drain_at) : next;
}

static void on_timer(uv_timer_t *timer)
{
    struct px_substituter *s = timer->data;
    s->timer_at = PX_NEVER; /* the turn's flush does the work and arms it again */
}

static void arm_timer(struct px_substituter *s)
{
    px_nsec next = next_due(s);
    if (next == s->timer_at)
        return;
    s->timer_at = next;
    if (next == PX_NEVER) {
        (void)uv_timer_stop(&s->timer);
        return;
    }
    px_nsec wait = next > s->now ? next - s->now : 0;
    uv_update_time(s->config.loop);
    (void)uv_timer_start(&s->timer, on_timer, (wait + PX_MSEC - 1) / PX_MSEC, 0);
}

/* True when there was anything to do. */
static bool flush(struct px_substituter *s)
{
    if (s->flushing || s->finished)
        return false;
    s->flushing = true;
    s->now = px_now_io();
    bool busy = false, more = true;
    for (int i = 0; i < FLUSH_ROUNDS && more; i++) {
        more = px_cache_queries_next(s->queries) <= s->now;
        px_cache_queries_run(s->queries, s->now);
        more = px_substituter_nars_run(s) || more;
        more = px_http_front_flush(s->front) || more;
        busy = busy || more;
    }
    s->flushing = false;
    if (s->closing && (px_http_front_active(s->front) == 0 || s->now >= s->drain_at))
        finish(s);
    else
        arm_timer(s);
    return busy;
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle;
}

/* What peers are told here may wait in another prepare handle that has run before or was only
 * started now: one more turn without sleep sends it. */
static void on_prepare(uv_prepare_t *prepare)
{
    struct px_substituter *s = prepare->data;
    if (flush(s) && !s->finished)
        (void)uv_idle_start(&s->idle, on_idle);
}

static void on_check(uv_check_t *check)
{
    struct px_substituter *s = check->data;
    (void)uv_idle_stop(&s->idle);
    (void)flush(s);
}

/* --- life --- */

static void release(struct px_substituter *s)
{
    px_cache_queries_free(s->queries);
    px_nar_memory_free(s->memory);
    px_nix_secret_key_wipe(&s->own_key);
    free(s->keys);
    free(s->store_dir);
    free(s);
}

static void one_closed(void *ctx)
{
    struct px_substituter *s = ctx;
    if (--s->handles > 0)
        return;
    void (*done)(void *ctx) = s->done;
    void *done_ctx = s->done_ctx;
    release(s);
    if (done != NULL)
        done(done_ctx);
}

static void on_handle_closed(uv_handle_t *handle)
{
    one_closed(handle->data);
}

/* The front first: it gives all requests their end, and with them relays and waiters. No peer is
 * touched after this. */
static void finish(struct px_substituter *s)
{
    s->finished = true;
    s->handles = 6;
    px_http_front_close(s->front, one_closed, s);
    px_cache_queries_free(s->queries);
    s->queries = NULL;
    px_nar_hasher_close(s->hasher, one_closed, s);
    uv_close((uv_handle_t *)&s->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&s->check, on_handle_closed);
    uv_close((uv_handle_t *)&s->idle, on_handle_closed);
    uv_close((uv_handle_t *)&s->timer, on_handle_closed);
}

static void start_handles(struct px_substituter *s)
{
    uv_loop_t *loop = s->config.loop;
    (void)uv_prepare_init(loop, &s->prepare);
    (void)uv_check_init(loop, &s->check);
    (void)uv_idle_init(loop, &s->idle);
    (void)uv_timer_init(loop, &s->timer);
    s->prepare.data = s->check.data = s->idle.data = s->timer.data = s;
    s->timer_at = PX_NEVER;
    (void)uv_prepare_start(&s->prepare, on_prepare);
    (void)uv_check_start(&s->check, on_check);
}

static int copy_config(struct px_substituter *s, const struct px_substituter_config *c)
{
    size_t count = c->trusted_key_count;
    s->config = *c;
    s->store_dir = strdup(c->store_dir);
    s->keys = calloc(count > 0 ? count : 1, sizeof(*s->keys));
    if (s->store_dir == NULL || s->keys == NULL)
        return PX_ENOMEM;
    if (count > 0)
        memcpy(s->keys, c->trusted_keys, count * sizeof(*s->keys));
    if (c->own_key != NULL)
        memcpy(&s->own_key, c->own_key, sizeof(s->own_key));
    return 0;
}

int px_substituter_set_trusted_keys(struct px_substituter *s, const struct px_nix_public_key *keys,
                                    size_t count)
{
    struct px_nix_public_key *copy = calloc(count > 0 ? count : 1, sizeof(*copy));
    if (copy == NULL)
        return PX_ENOMEM;
    if (count > 0)
        memcpy(copy, keys, count * sizeof(*copy));
    px_cache_queries_set_keys(s->queries, copy, count);
    free(s->keys);
    s->keys = copy;
    return 0;
}

void px_substituter_set_limits(struct px_substituter *s, unsigned priority, px_nsec deadline,
                               px_nsec stall)
{
    s->config.priority = priority;
    s->config.stall = stall;
    px_cache_queries_set_deadline(s->queries, deadline);
}

static int new_queries(struct px_substituter *s)
{
    const struct px_substituter_config *c = &s->config;
    const struct px_cache_queries_config qc = {
        .policy = {.store_dir = px_slice_cstr(s->store_dir),
                   .keys = s->keys,
                   .key_count = c->trusted_key_count,
                   .trust_peers = c->trust_peers,
                   .own_key = c->own_key != NULL ? &s->own_key : NULL},
        .deadline = c->deadline,
        .peers = round_peers,
        .usable = usable,
        .rejected = rejected,
        .ctx = s};
    return px_cache_queries_new(&qc, &s->queries);
}

int px_substituter_new(const struct px_substituter_config *config, struct px_substituter **ret)
{
    struct px_substituter *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return PX_ENOMEM;
    px_list_init(&s->nars);
    int err = copy_config(s, config);
    if (err == 0)
        err = px_nar_memory_new(&s->memory);
    if (err == 0)
        err = new_queries(s);
    if (err == 0)
        err = px_http_front_new(config->loop, &config->listen, config->listen_fd, config->log,
                                &front_ops, s, &s->front);
    if (err == 0) {
        err = px_nar_hasher_new(config->loop, &s->hasher);
        if (err != 0)
            px_http_front_close(s->front, NULL, NULL);
    }
    if (err != 0) {
        release(s);
        return err;
    }
    start_handles(s);
    *ret = s;
    return 0;
}

void px_substituter_close(struct px_substituter *s, px_nsec drain, void (*done)(void *ctx),
                          void *ctx)
{
    px_assert(!s->closing);
    s->closing = true;
    s->done = done;
    s->done_ctx = ctx;
    s->now = px_now_io();
    s->drain_at = s->now + drain;
    px_http_front_quiesce(s->front);
    arm_timer(s);
}

const struct px_addr *px_substituter_local(const struct px_substituter *s)
{
    return px_http_front_local(s->front);
}

void px_substituter_peer_gone(struct px_substituter *s, struct px_cache_peer *p)
{
    if (s->finished)
        return;
    px_cache_queries_peer_gone(s->queries, p);
    px_substituter_nars_peer_gone(s, p);
}

void px_substituter_peer_ready(struct px_substituter *s, struct px_cache_peer *p)
{
    if (s->finished)
        return;
    px_cache_queries_peer_ready(s->queries);
    px_substituter_nars_peer_ready(s, p);
}

void px_substituter_stats(const struct px_substituter *s, struct px_substituter_stats *ret)
{
    struct px_cache_queries_stats q = {0};
    if (s->queries != NULL)
        px_cache_queries_stats(s->queries, &q);
    *ret = s->stats;
    ret->late_asks = q.late;
    ret->spared_asks = q.spared;
}

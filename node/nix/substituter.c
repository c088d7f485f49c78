/* The substituter of substituter.h: requests from http_front, rounds of cache_query, NARs by
 * nar_relay, and what nar_memory remembers between them.
 *
 * Peers' callbacks only record facts; flush() acts on them, before the loop polls and after. */
#include "node/nix/substituter.h"

#include <stdlib.h>

#include "node/nix/cache_query.h"
#include "node/nix/http_front.h"
#include "node/nix/nar_memory.h"
#include "node/nix/nar_relay.h"
#include "proto/base/encoding.h"
#include "proto/base/list.h"
#include "transport/overlay_io.h"

#define NAR_TRIES_MAX 8 /* sources tried for one request before anything was promised */
#define FLUSH_ROUNDS  4 /* then the loop turns once more */

/* A narinfo or NAR request that could not be answered at once. */
struct request {
    struct px_list link; /* in substituter.nars, or alone */
    struct px_substituter *s;
    struct px_http_exchange *x;
    struct px_http_target target;
    bool head;
    struct px_cache_waiter *waiter; /* while a round is under way for it */
    /* NAR: */
    struct px_nar_relay *relay;
    struct px_cache_peer *peer; /* the relay's; NULL once it is gone */
    struct px_peer_id peer_id;
    uint64_t nar_size, first;
    bool ranged, answered, retry;
    unsigned tries;
    size_t held; /* of the budget */
    px_nsec started;
};

struct px_substituter {
    struct px_substituter_config config;
    struct px_nix_public_key *keys;
    struct px_nix_secret_key own_key;
    char *store_dir;
    struct px_http_front *front;
    struct px_nar_hasher *hasher;
    struct px_cache_queries *queries;
    struct px_nar_memory *memory;
    struct px_list nars; /* requests with a relay, or about to have one */
    size_t held;
    px_nsec now, timer_at;
    struct px_substituter_stats stats;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle; /* active while the loop must not sleep */
    uv_timer_t timer;
    bool flushing, closing, finished;
    px_nsec drain_at;
    int handles; /* libuv has not let go of yet */
    void (*done)(void *ctx);
    void *done_ctx;
};

/* --- answers --- */

static void answer_status(struct px_http_exchange *x, unsigned status)
{
    px_http_answer(x, &(struct px_http_answer){.status = status});
}

static void answer_cache_info(struct px_substituter *s, struct px_http_exchange *x)
{
    struct px_buf text;
    px_buf_init(&text, 4096);
    int err = px_buf_printf(&text, "StoreDir: %s\nWantMassQuery: 1\nPriority: %u\n", s->store_dir,
                            s->config.priority);
    if (err != 0)
        answer_status(x, 404);
    else
        px_http_answer(x, &(struct px_http_answer){.status = 200,
                                                   .content_type = "text/x-nix-cache-info",
                                                   .body = px_buf_slice(&text)});
    px_buf_deinit(&text);
}

static void answer_narinfo(struct px_http_exchange *x, const struct px_path_info *info)
{
    struct px_buf text;
    px_buf_init(&text, 2 * PX_NARINFO_MAX);
    if (px_narinfo_format(info, &text) != 0)
        answer_status(x, 404);
    else
        px_http_answer(x, &(struct px_http_answer){.status = 200,
                                                   .content_type = "text/x-nix-narinfo",
                                                   .body = px_buf_slice(&text)});
    px_buf_deinit(&text);
}

static struct px_slice store_hash(const struct request *q)
{
    return px_slice(q->target.store_hash, PX_STORE_HASH_LEN);
}

/* --- requests and their end --- */

static void drop_relay(struct request *q)
{
    if (q->relay != NULL)
        q->s->stats.nar_bytes += px_nar_relay_received(q->relay);
    px_nar_relay_free(q->relay);
    q->relay = NULL;
    q->peer = NULL;
    q->s->held -= q->held;
    q->held = 0;
}

static void on_over(void *ctx)
{
    struct request *q = ctx;
    if (q->waiter != NULL)
        px_cache_query_leave(q->s->queries, q->waiter);
    drop_relay(q);
    px_list_remove(&q->link);
    free(q);
}

static struct request *new_request(struct px_substituter *s, struct px_http_exchange *x,
                                   const struct px_http_target *target, bool head)
{
    struct request *q = calloc(1, sizeof(*q));
    if (q == NULL)
        return NULL;
    *q = (struct request){.s = s, .x = x, .target = *target, .head = head, .started = s->now};
    px_list_init(&q->link);
    px_http_on_over(x, on_over, q);
    return q;
}

static void remember(struct px_substituter *s, const struct px_path_info *info,
                     const struct px_cache_peer *from)
{
    struct px_nar_fact fact = {.nar_size = info->nar_size, .holder = from->id};
    memcpy(fact.nar_hash, info->nar_hash, 32);
    px_nar_memory_put(s->memory, s->now, px_path_info_hash_part(info), &fact);
}

static void on_narinfo(void *ctx, const struct px_path_info *info, struct px_cache_peer *from)
{
    struct request *q = ctx;
    q->waiter = NULL;
    if (info == NULL) {
        q->s->stats.narinfo_misses++;
        answer_status(q->x, 404);
        return;
    }
    q->s->stats.narinfo_hits++;
    remember(q->s, info, from);
    answer_narinfo(q->x, info);
}

static void request_narinfo(struct px_substituter *s, struct px_http_exchange *x,
                            const struct px_http_target *target, bool head)
{
    struct request *q = new_request(s, x, target, head);
    if (q != NULL &&
        px_cache_query(s->queries, s->now, store_hash(q), NULL, on_narinfo, q, &q->waiter) == 0)
        return;
    s->stats.narinfo_misses++;
    answer_status(x, 404);
}

/* --- NARs --- */

static struct px_cache_peer *connected(struct px_substituter *s, const struct px_peer_id *id,
                                       uint32_t *ret_fewest_demerits)
{
    struct px_cache_peer *peers[PX_SUBSTITUTER_PEERS_MAX], *found = NULL;
    size_t count = s->config.peers(s->config.peers_ctx, peers, PX_SUBSTITUTER_PEERS_MAX);
    *ret_fewest_demerits = UINT32_MAX;
    for (size_t i = 0; i < count; i++) {
        *ret_fewest_demerits = PX_MIN(*ret_fewest_demerits, peers[i]->demerits);
        if (px_peer_id_eq(&peers[i]->id, id))
            found = peers[i];
    }
    return found;
}

static void blame(struct request *q, enum px_nar_fault fault)
{
    struct px_substituter *s = q->s;
    uint32_t demerits = px_nar_fault_demerits(fault);
    char id[PX_PEER_ID_TEXT_MAX];
    struct px_buf hash;
    px_buf_init(&hash, 64);
    (void)px_nix32_encode(&hash, px_slice(q->target.nar_hash, 32));
    px_log_event(
        s->config.log, PX_LOG_WARN, "nar.source_failed",
        PX_F_STR("peer", q->peer != NULL ? q->peer->name : px_peer_id_format(&q->peer_id, id)),
        PX_F_STR("why", px_nar_fault_text(fault)), PX_F_SLICE("nar", px_buf_slice(&hash)),
        PX_F_SLICE("path", store_hash(q)),
        PX_F_U64("received", q->relay != NULL ? px_nar_relay_received(q->relay) : 0),
        PX_F_U64("size", q->nar_size), PX_F_STR("client", q->answered ? "cut" : "unaware"));
    px_buf_deinit(&hash);
    if (demerits == 0)
        return;
    if (q->peer != NULL)
        q->peer->demerits += PX_MIN(demerits, UINT32_MAX - q->peer->demerits);
    px_nar_memory_blame(s->memory, s->now, q->target.nar_hash, &q->peer_id);
}

static int read_nar(void *ctx, void *dst, size_t cap, size_t *ret_len)
{
    struct request *q = ctx;
    return px_nar_relay_read(q->relay, dst, cap, ret_len);
}

static const struct px_http_body_ops nar_body = {read_nar};

static void answer_nar(struct request *q)
{
    q->answered = true;
    px_http_answer(q->x, &(struct px_http_answer){.status = q->ranged ? 206 : 200,
                                                  .content_type = "application/x-nix-nar",
                                                  .ops = &nar_body,
                                                  .ctx = q,
                                                  .length = q->nar_size - q->first,
                                                  .first = q->first,
                                                  .total = q->nar_size,
                                                  .ranges = true});
}

static void on_relay_ready(void *ctx)
{
    struct request *q = ctx;
    q->s->stats.nars++;
    answer_nar(q);
}

static void on_relay_wake(void *ctx)
{
    struct request *q = ctx;
    px_http_body_resume(q->x);
}

static void on_relay_failed(void *ctx, enum px_nar_fault fault)
{
    struct request *q = ctx;
    blame(q, fault);
    if (!q->answered) {
        q->retry = true;
        return;
    }
    q->s->stats.nar_cut++;
    px_http_body_resume(q->x); /* to be told of the end */
}

static const struct px_nar_relay_ops relay_ops = {on_relay_ready, on_relay_wake, on_relay_failed};

static void start_relay(struct request *q, struct px_cache_peer *peer)
{
    struct px_substituter *s = q->s;
    struct px_nar_relay_config c = {.hasher = s->hasher,
                                    .peer = peer,
                                    .nar_size = q->nar_size,
                                    .first = q->first,
                                    .stall = s->config.stall};
    struct px_buf path;
    bool in_budget = q->nar_size <= s->config.hold_whole && s->held <= s->config.hold_total &&
                     q->nar_size <= s->config.hold_total - s->held;
    c.hold = in_budget || q->nar_size <= PX_NAR_TAIL;
    q->held = c.hold ? (size_t)q->nar_size : 0;
    s->held += q->held;
    memcpy(c.nar_hash, q->target.nar_hash, 32);
    px_buf_init(&path, 256);
    (void)px_buf_put_u8(&path, '/');
    int err = px_nar_url(q->target.nar_hash, store_hash(q), &path);
    c.path = px_buf_slice(&path);
    q->peer = peer;
    q->peer_id = peer->id;
    if (err == 0)
        err = px_nar_relay_new(&c, s->now, &relay_ops, q, &q->relay);
    px_buf_deinit(&path);
    if (err != 0) {
        blame(q, err == PX_ENOMEM ? PX_NAR_NO_MEMORY : PX_NAR_RESET);
        q->retry = true;
    }
}

/* The size is known and verified: HEAD and nonsense ranges need no more. */
static void nar_known(struct request *q, uint64_t nar_size, struct px_cache_peer *peer)
{
    q->nar_size = nar_size;
    q->first = 0;
    switch (px_http_exchange_range(q->x, nar_size, &q->first)) {
    case PX_HTTP_RANGE_BAD:
        px_http_answer(q->x, &(struct px_http_answer){.status = 416, .total = nar_size});
        return;
    case PX_HTTP_RANGE_FROM:
        q->ranged = true;
        break;
    case PX_HTTP_RANGE_NONE:
        q->ranged = false;
        break;
    }
    if (q->head)
        answer_nar(q);
    else
        start_relay(q, peer);
}

static void on_nar_round(void *ctx, const struct px_path_info *info, struct px_cache_peer *from)
{
    struct request *q = ctx;
    q->waiter = NULL;
    if (info == NULL) {
        answer_status(q->x, 404);
        return;
    }
    remember(q->s, info, from);
    nar_known(q, info->nar_size, from);
}

/* Asks who has it. Those that failed with this NAR are not asked again. */
static void find_source(struct request *q)
{
    struct px_substituter *s = q->s;
    if (q->tries++ >= NAR_TRIES_MAX || s->now - q->started >= 2 * s->config.stall ||
        px_cache_query(s->queries, s->now, store_hash(q), q->target.nar_hash, on_nar_round, q,
                       &q->waiter) != 0)
        answer_status(q->x, 404);
}

/* A narinfo that has just been passed on is not asked for again, unless somebody with fewer
 * demerits than its holder could have it, too. */
static void request_nar(struct px_substituter *s, struct px_http_exchange *x,
                        const struct px_http_target *target, bool head)
{
    uint32_t fewest;
    struct request *q = new_request(s, x, target, head);
    if (q == NULL) {
        answer_status(x, 404);
        return;
    }
    px_list_push_back(&s->nars, &q->link);
    const struct px_nar_fact *fact = px_nar_memory_get(s->memory, s->now, store_hash(q));
    if (fact != NULL && memcmp(fact->nar_hash, target->nar_hash, 32) == 0 &&
        !px_nar_memory_blamed(s->memory, s->now, fact->nar_hash, &fact->holder)) {
        struct px_cache_peer *holder = connected(s, &fact->holder, &fewest);
        if (holder != NULL && holder->demerits == fewest) {
            nar_known(q, fact->nar_size, holder);
            return;
        }
    }
    find_source(q);
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
        request_nar(s, x, target, head);
        return;
    case PX_HTTP_OTHER:
        answer_status(x, 404);
        return;
    }
}

static const struct px_http_front_ops front_ops = {on_request};

/* --- rounds --- */

static size_t round_peers(void *ctx, struct px_cache_peer **ret, size_t cap)
{
    struct px_substituter *s = ctx;
    return s->config.peers(s->config.peers_ctx, ret, cap);
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
        p->demerits += p->demerits < UINT32_MAX;
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

/* Runs what is due of the NARs. True when there may be more at once. */
static bool run_nars(struct px_substituter *s)
{
    bool more = false;
    PX_LIST_EACH(it, &s->nars) {
        struct request *q = PX_CONTAINER_OF(it, struct request, link);
        if (q->relay != NULL &&
            (px_nar_relay_dirty(q->relay) || px_nar_relay_next(q->relay) <= s->now)) {
            px_nar_relay_run(q->relay, s->now);
            more = true;
        }
        if (q->retry) {
            q->retry = false;
            drop_relay(q);
            find_source(q);
            more = true;
        }
    }
    return more;
}

static px_nsec next_due(const struct px_substituter *s)
{
    px_nsec next = px_cache_queries_next(s->queries);
    PX_LIST_EACH(it, &s->nars) {
        const struct request *q = PX_CONTAINER_OF(it, struct request, link);
        if (q->retry)
            return 0;
        if (q->relay != NULL)
            next = PX_MIN(next, px_nar_relay_next(q->relay));
    }
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
        more = run_nars(s) || more;
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
    PX_LIST_EACH(it, &s->nars) {
        struct request *q = PX_CONTAINER_OF(it, struct request, link);
        if (q->peer != p || q->relay == NULL)
            continue;
        px_nar_relay_peer_gone(q->relay);
        px_nar_relay_run(q->relay, s->now);
        q->peer = NULL;
    }
}

void px_substituter_stats(const struct px_substituter *s, struct px_substituter_stats *ret)
{
    *ret = s->stats;
}

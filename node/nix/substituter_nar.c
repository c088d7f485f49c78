/* NARs of the substituter: finds a source for each request, passes it on by nar_relay, and takes
 * another source when one fails before nix was promised anything (docs/substituter.md). */
#include "node/nix/substituter_internal.h"
#include "proto/base/encoding.h"

#define NAR_TRIES_MAX 8 /* sources tried for one request before anything was promised */

/* All of it came and was right. */
static void credit(struct px_substituter_request *q)
{
    struct px_peer_history *h = q->s->config.history;
    if (h == NULL || q->credited || q->relay == NULL || !px_nar_relay_verified(q->relay))
        return;
    q->credited = true;
    px_peer_history_nar(h, &q->peer_id, q->nar_size, q->s->now);
}

void px_substituter_nar_drop(struct px_substituter_request *q)
{
    credit(q);
    if (q->relay != NULL)
        q->s->stats.nar_bytes += px_nar_relay_received(q->relay);
    px_nar_relay_free(q->relay);
    q->relay = NULL;
    q->peer = NULL;
    q->s->held -= q->held;
    q->held = 0;
}

static struct px_cache_peer *connected(struct px_substituter *s, const struct px_peer_id *id,
                                       uint32_t *ret_fewest_demerits)
{
    struct px_cache_peer *peers[PX_SUBSTITUTER_PEERS_MAX], *found = NULL;
    size_t count = s->config.peers(s->config.peers_ctx, peers, PX_SUBSTITUTER_PEERS_MAX);
    px_substituter_weigh(s, peers, count);
    *ret_fewest_demerits = UINT32_MAX;
    for (size_t i = 0; i < count; i++) {
        *ret_fewest_demerits = PX_MIN(*ret_fewest_demerits, peers[i]->demerits);
        if (px_peer_id_eq(&peers[i]->id, id))
            found = peers[i];
    }
    return found;
}

static enum px_history_fault history_fault(enum px_nar_fault fault)
{
    switch (fault) {
    case PX_NAR_LIE:
        return PX_HISTORY_LIED;
    case PX_NAR_WRONG_LENGTH:
    case PX_NAR_SHORT:
    case PX_NAR_LONG:
    case PX_NAR_OVERRUN:
        return PX_HISTORY_WRONG_SIZE;
    case PX_NAR_STALLED:
        return PX_HISTORY_STALLED;
    case PX_NAR_RESET:
        return PX_HISTORY_CUT;
    case PX_NAR_REFUSED:
    case PX_NAR_BUSY:
    case PX_NAR_OK: /* these two are nobody's fault */
    case PX_NAR_NO_MEMORY:
        break;
    }
    return PX_HISTORY_REFUSED;
}

static void blame(struct px_substituter_request *q, enum px_nar_fault fault)
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
        PX_F_SLICE("path", px_substituter_store_hash(q)),
        PX_F_U64("received", q->relay != NULL ? px_nar_relay_received(q->relay) : 0),
        PX_F_U64("size", q->nar_size), PX_F_STR("client", q->answered ? "cut" : "unaware"));
    px_buf_deinit(&hash);
    if (demerits == 0)
        return;
    px_substituter_blame(s, &q->peer_id, q->peer, history_fault(fault), demerits);
    if (fault != PX_NAR_BUSY) /* it may still be the only one who has it */
        px_nar_memory_blame(s->memory, s->now, q->target.nar_hash, &q->peer_id);
}

static int read_nar(void *ctx, void *dst, size_t cap, size_t *ret_len)
{
    struct px_substituter_request *q = ctx;
    return px_nar_relay_read(q->relay, dst, cap, ret_len);
}

static const struct px_http_body_ops nar_body = {read_nar};

static void answer_nar(struct px_substituter_request *q)
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
    struct px_substituter_request *q = ctx;
    q->s->stats.nars++;
    answer_nar(q);
}

static void on_relay_wake(void *ctx)
{
    struct px_substituter_request *q = ctx;
    px_http_body_resume(q->x);
}

static void on_relay_failed(void *ctx, enum px_nar_fault fault)
{
    struct px_substituter_request *q = ctx;
    blame(q, fault);
    if (!q->answered) {
        q->retry = true;
        return;
    }
    q->s->stats.nar_cut++;
    px_http_body_resume(q->x); /* to be told of the end */
}

static const struct px_nar_relay_ops relay_ops = {on_relay_ready, on_relay_wake, on_relay_failed};

static void start_relay(struct px_substituter_request *q, struct px_cache_peer *peer)
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
    int err = px_nar_url(q->target.nar_hash, px_substituter_store_hash(q), &path);
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
static void nar_known(struct px_substituter_request *q, uint64_t nar_size,
                      struct px_cache_peer *peer)
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
    struct px_substituter_request *q = ctx;
    q->waiter = NULL;
    if (info == NULL) {
        px_substituter_answer_status(q->x, 404);
        return;
    }
    px_substituter_remember(q->s, info, from);
    nar_known(q, info->nar_size, from);
}

/* Asks who has it. Those that failed with this NAR are not asked again. */
static void find_source(struct px_substituter_request *q)
{
    struct px_substituter *s = q->s;
    if (q->tries++ >= NAR_TRIES_MAX || s->now - q->started >= 2 * s->config.stall ||
        px_cache_query(s->queries, s->now, px_substituter_store_hash(q), q->target.nar_hash,
                       on_nar_round, q, &q->waiter) != 0)
        px_substituter_answer_status(q->x, 404);
}

/* A narinfo that has just been passed on is not asked for again, unless its holder has a bad
 * history and somebody with fewer demerits could have it, too. */
void px_substituter_nar_request(struct px_substituter *s, struct px_http_exchange *x,
                                const struct px_http_target *target, bool head)
{
    uint32_t fewest;
    struct px_substituter_request *q = px_substituter_request_new(s, x, target, head);
    if (q == NULL) {
        px_substituter_answer_status(x, 404);
        return;
    }
    px_list_push_back(&s->nars, &q->link);
    const struct px_nar_fact *fact =
        px_nar_memory_get(s->memory, s->now, px_substituter_store_hash(q));
    if (fact != NULL && memcmp(fact->nar_hash, target->nar_hash, 32) == 0 &&
        !px_nar_memory_blamed(s->memory, s->now, fact->nar_hash, &fact->holder)) {
        struct px_cache_peer *holder = connected(s, &fact->holder, &fewest);
        if (holder != NULL && (!px_cache_peer_is_bad(holder) || holder->demerits == fewest)) {
            nar_known(q, fact->nar_size, holder);
            return;
        }
    }
    find_source(q);
}

bool px_substituter_nars_run(struct px_substituter *s)
{
    bool more = false;
    PX_LIST_EACH(it, &s->nars) {
        struct px_substituter_request *q = PX_CONTAINER_OF(it, struct px_substituter_request, link);
        if (q->relay != NULL &&
            (px_nar_relay_dirty(q->relay) || px_nar_relay_next(q->relay) <= s->now)) {
            px_nar_relay_run(q->relay, s->now);
            credit(q);
            more = true;
        }
        if (q->retry) {
            q->retry = false;
            px_substituter_nar_drop(q);
            find_source(q);
            more = true;
        }
    }
    return more;
}

px_nsec px_substituter_nars_next(const struct px_substituter *s)
{
    px_nsec next = PX_NEVER;
    PX_LIST_EACH(it, &s->nars) {
        const struct px_substituter_request *q =
            PX_CONTAINER_OF(it, struct px_substituter_request, link);
        if (q->retry)
            return 0;
        if (q->relay != NULL)
            next = PX_MIN(next, px_nar_relay_next(q->relay));
    }
    return next;
}

void px_substituter_nars_peer_gone(struct px_substituter *s, const struct px_cache_peer *p)
{
    PX_LIST_EACH(it, &s->nars) {
        struct px_substituter_request *q = PX_CONTAINER_OF(it, struct px_substituter_request, link);
        if (q->peer != p || q->relay == NULL)
            continue;
        px_nar_relay_peer_gone(q->relay);
        px_nar_relay_run(q->relay, s->now);
        q->peer = NULL;
    }
}

void px_substituter_nars_peer_ready(struct px_substituter *s, const struct px_cache_peer *p)
{
    PX_LIST_EACH(it, &s->nars) {
        struct px_substituter_request *q = PX_CONTAINER_OF(it, struct px_substituter_request, link);
        if (q->peer == p && q->relay != NULL)
            px_nar_relay_peer_ready(q->relay);
    }
}

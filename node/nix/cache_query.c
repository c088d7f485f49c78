/* The rounds of cache_query.h. */
#include "node/nix/cache_query.h"

#include <stdlib.h>

#include "proto/base/list.h"

#define BUCKETS        256
#define NARINFO_SUFFIX ".narinfo"

enum ask_state {
    ASK_HELD,    /* others go first */
    ASK_WAITING, /* the peer allows no more streams at the moment */
    ASK_OPEN,    /* asked, no whole answer yet */
    ASK_ENDED,   /* something to judge */
    ASK_OVER,    /* judged or given up */
};

/* One peer asked in one round. */
struct ask {
    struct round *round;
    struct px_cache_peer *peer;
    struct px_cache_fetch *fetch; /* NULL once the peer's side is over */
    struct px_list ended;         /* in queries.ended while ASK_ENDED */
    struct px_buf body;
    unsigned status;
    int err;
    enum ask_state state;
    bool later; /* its peer has a bad history, and others have not */
};

struct px_cache_waiter {
    struct px_list link; /* in round.waiters */
    struct round *round;
    px_cache_done *done;
    void *ctx;
};

struct round {
    struct px_cache_queries *owner;
    struct px_list in_bucket, in_order, waiters;
    struct px_list in_held; /* of queries.held while some of its asks are ASK_HELD */
    uint8_t hash_part[PX_STORE_HASH_LEN];
    uint8_t nar_hash[32];
    bool for_nar;
    px_nsec expires;
    px_nsec head_start;        /* ends then */
    struct px_path_info *best; /* acceptable, but a better peer may still answer */
    struct px_cache_peer *best_peer;
    size_t ask_count;
    size_t open;  /* not ASK_OVER */
    size_t first; /* of those, the ones that go first */
    struct ask asks[];
};

struct px_cache_queries {
    struct px_cache_queries_config config;
    struct px_list buckets[BUCKETS];
    struct px_list order; /* all rounds, the one that expires first in front */
    struct px_list ended; /* asks with news */
    struct px_list held;  /* rounds in their head start, the one that began first in front */
    bool release;         /* in one of those nobody who goes first is left */
    struct px_cache_queries_stats stats;
    size_t rounds, bytes, waiting;
    bool abandoned; /* some round has nobody left to hear from, or nobody who waits */
    bool ready;     /* a peer has said that it allows streams again */
    px_nsec retry_at;
};

static void set_state(struct ask *a, enum ask_state next)
{
    static const unsigned allowed[] = {
        [ASK_HELD] = 1u << ASK_WAITING | 1u << ASK_OVER,
        [ASK_WAITING] = 1u << ASK_OPEN | 1u << ASK_OVER,
        [ASK_OPEN] = 1u << ASK_WAITING | 1u << ASK_ENDED | 1u << ASK_OVER,
        [ASK_ENDED] = 1u << ASK_OVER,
        [ASK_OVER] = 0,
    };
    struct px_cache_queries *q = a->round->owner;
    px_assert((allowed[a->state] & 1u << next) != 0);
    if (a->state == ASK_WAITING)
        q->waiting--;
    if (next == ASK_WAITING)
        q->waiting++;
    if (a->state == ASK_ENDED)
        px_list_remove(&a->ended);
    if (next == ASK_ENDED)
        px_list_push_back(&q->ended, &a->ended);
    if (next == ASK_OVER) {
        a->round->open--;
        if (!a->later && --a->round->first == 0 && !px_list_empty(&a->round->in_held))
            q->release = true;
    }
    a->state = next;
}

/* --- what a peer says: facts only --- */

static void ask_ended(struct ask *a, int err)
{
    a->err = err;
    set_state(a, ASK_ENDED);
}

static void drop_body(struct ask *a)
{
    a->round->owner->bytes -= a->body.len;
    px_buf_deinit(&a->body);
}

static struct ask *longest_open(const struct px_cache_queries *q)
{
    struct ask *longest = NULL;
    PX_LIST_EACH(it, &q->order) {
        struct round *r = PX_CONTAINER_OF(it, struct round, in_order);
        for (size_t i = 0; i < r->ask_count; i++) {
            struct ask *a = &r->asks[i];
            if (a->state == ASK_OPEN && (longest == NULL || a->body.len > longest->body.len))
                longest = a;
        }
    }
    return longest;
}

static void on_response(void *ctx, const struct px_h3_response *res)
{
    struct ask *a = ctx;
    a->status = res->status;
    if (a->state == ASK_OPEN && res->status != 200)
        ask_ended(a, PX_ENOENT);
}

/* Makes room by giving up the longest answers: a narinfo is short, so they are the least likely to
 * be any good, and who floods us does not crowd out the others. False when `a` is the longest. */
static bool make_room(const struct ask *a, size_t n)
{
    struct px_cache_queries *q = a->round->owner;
    while (n > PX_CACHE_QUERY_BYTES_MAX - q->bytes) {
        struct ask *longest = longest_open(q);
        if (longest == NULL || longest->body.len <= a->body.len + n)
            return false;
        drop_body(longest);
        ask_ended(longest, PX_ELIMIT);
    }
    return true;
}

static void on_data(void *ctx, struct px_slice data)
{
    struct ask *a = ctx;
    struct px_cache_queries *q = a->round->owner;
    if (a->fetch != NULL)
        a->peer->ops->consume(a->peer, a->fetch, data.len);
    if (a->state != ASK_OPEN)
        return;
    if (!make_room(a, data.len) || px_buf_put(&a->body, data) != 0) {
        ask_ended(a, PX_ELIMIT);
        return;
    }
    q->bytes += data.len;
}

static void on_end(void *ctx, int err)
{
    struct ask *a = ctx;
    a->fetch = NULL;
    if (a->state == ASK_OPEN)
        ask_ended(a, err);
}

static const struct px_h3_client_ops ask_ops = {on_response, on_data, on_end};

/* --- asking --- */

static void ask_peer(struct ask *a)
{
    char path[1 + PX_STORE_HASH_LEN + sizeof(NARINFO_SUFFIX)];
    struct px_cache_fetch *fetch;
    path[0] = '/';
    memcpy(path + 1, a->round->hash_part, PX_STORE_HASH_LEN);
    memcpy(path + 1 + PX_STORE_HASH_LEN, NARINFO_SUFFIX, sizeof(NARINFO_SUFFIX));
    set_state(a, ASK_OPEN);
    int err = a->peer->ops->get(a->peer, px_slice(path, sizeof(path) - 1), 0, &ask_ops, a, &fetch);
    if (err == 0 && a->state == ASK_OPEN)
        a->fetch = fetch;
    else if (err == PX_EAGAIN)
        set_state(a, ASK_WAITING);
    else if (err != 0)
        set_state(a, ASK_OVER);
}

static struct px_list *bucket(struct px_cache_queries *q, struct px_slice hash_part)
{
    unsigned h = 0;
    for (size_t i = 0; i < 8; i++)
        h = h * 31 + hash_part.data[i];
    return &q->buckets[h % BUCKETS];
}

static struct round *find_round(struct px_cache_queries *q, struct px_slice hash_part,
                                const uint8_t *nar_hash)
{
    struct px_list *head = bucket(q, hash_part);
    PX_LIST_EACH(it, head) {
        struct round *r = PX_CONTAINER_OF(it, struct round, in_bucket);
        if (memcmp(r->hash_part, hash_part.data, PX_STORE_HASH_LEN) == 0 &&
            r->for_nar == (nar_hash != NULL) &&
            (nar_hash == NULL || memcmp(r->nar_hash, nar_hash, 32) == 0))
            return r;
    }
    return NULL;
}

/* Who has to wait for the others, if there are others. */
static void hold_back(struct round *r, px_nsec now, px_nsec head_start)
{
    struct px_cache_queries *q = r->owner;
    size_t bad = 0;
    r->head_start = now + head_start;
    for (size_t i = 0; i < r->ask_count; i++)
        bad += px_cache_peer_is_bad(r->asks[i].peer);
    r->first = r->ask_count - (bad < r->ask_count ? bad : 0);
    if (r->first == r->ask_count)
        return;
    for (size_t i = 0; i < r->ask_count; i++) {
        struct ask *a = &r->asks[i];
        a->later = px_cache_peer_is_bad(a->peer);
        if (a->later) {
            a->state = ASK_HELD;
            q->waiting--;
        }
    }
    px_list_push_back(&q->held, &r->in_held);
}

/* The peers to ask, as a round that has asked nobody yet. */
static int new_round(struct px_cache_queries *q, px_nsec now, struct px_slice hash_part,
                     const uint8_t *nar_hash, struct round **ret)
{
    struct px_cache_peer *peers[PX_CACHE_QUERY_PEERS_MAX];
    size_t count = q->config.peers(q->config.ctx, peers, PX_CACHE_QUERY_PEERS_MAX), kept = 0;
    for (size_t i = 0; i < count; i++)
        if (nar_hash == NULL || q->config.usable(q->config.ctx, peers[i], nar_hash))
            peers[kept++] = peers[i];
    if (kept == 0)
        return PX_ENOENT;
    if (q->rounds >= PX_CACHE_QUERIES_MAX)
        return PX_EBUSY;
    struct round *r = calloc(1, sizeof(*r) + kept * sizeof(r->asks[0]));
    if (r == NULL)
        return PX_ENOMEM;
    *r = (struct round){.owner = q, .for_nar = nar_hash != NULL, .ask_count = kept, .open = kept};
    memcpy(r->hash_part, hash_part.data, PX_STORE_HASH_LEN);
    if (nar_hash != NULL)
        memcpy(r->nar_hash, nar_hash, 32);
    r->expires = now + q->config.deadline;
    px_list_init(&r->waiters);
    px_list_init(&r->in_held);
    for (size_t i = 0; i < kept; i++) {
        r->asks[i] = (struct ask){.round = r, .peer = peers[i], .state = ASK_WAITING};
        px_list_init(&r->asks[i].ended);
        px_buf_init(&r->asks[i].body, PX_NARINFO_MAX);
    }
    px_list_push_back(bucket(q, hash_part), &r->in_bucket);
    px_list_push_back(&q->order, &r->in_order);
    q->rounds++;
    q->waiting += kept;
    hold_back(r, now, PX_MIN((px_nsec)PX_CACHE_HEAD_START, q->config.deadline / 2));
    *ret = r;
    return 0;
}

static void round_free(struct round *r)
{
    struct px_cache_queries *q = r->owner;
    px_list_remove(&r->in_bucket);
    px_list_remove(&r->in_order);
    px_list_remove(&r->in_held);
    for (size_t i = 0; i < r->ask_count; i++) {
        struct ask *a = &r->asks[i];
        if (a->fetch != NULL)
            a->peer->ops->cancel(a->peer, a->fetch);
        q->stats.spared += a->state == ASK_HELD;
        if (a->state != ASK_OVER)
            set_state(a, ASK_OVER);
        drop_body(a);
    }
    px_path_info_free(r->best);
    q->rounds--;
    free(r);
}

int px_cache_query(struct px_cache_queries *q, px_nsec now, struct px_slice hash_part,
                   const uint8_t *nar_hash, px_cache_done *done, void *ctx,
                   struct px_cache_waiter **ret)
{
    px_assert(hash_part.len == PX_STORE_HASH_LEN);
    struct px_cache_waiter *w = calloc(1, sizeof(*w));
    if (w == NULL)
        return PX_ENOMEM;
    struct round *r = find_round(q, hash_part, nar_hash);
    if (r == NULL) {
        int err = new_round(q, now, hash_part, nar_hash, &r);
        if (err != 0) {
            free(w);
            return err;
        }
        for (size_t i = 0; i < r->ask_count; i++)
            if (r->asks[i].state == ASK_WAITING)
                ask_peer(&r->asks[i]);
        if (q->retry_at <= now)
            q->retry_at = now + PX_CACHE_QUERY_RETRY;
        if (r->open == 0) /* no peer could be asked at all: the next run says so */
            q->abandoned = true;
    }
    *w = (struct px_cache_waiter){.round = r, .done = done, .ctx = ctx};
    px_list_push_back(&r->waiters, &w->link);
    *ret = w;
    return 0;
}

void px_cache_query_leave(struct px_cache_queries *q, struct px_cache_waiter *w)
{
    struct round *r = w->round;
    px_list_remove(&w->link);
    free(w);
    if (px_list_empty(&r->waiters))
        q->abandoned = true;
}

/* --- judging --- */

/* Tells all waiters and ends the round. It is out of the table first, so that a waiter who asks
 * again at once starts a new one. */
static void settle(struct round *r)
{
    px_list_remove(&r->in_bucket);
    while (!px_list_empty(&r->waiters)) {
        struct px_cache_waiter *w = PX_CONTAINER_OF(r->waiters.next, struct px_cache_waiter, link);
        px_cache_done *done = w->done;
        void *ctx = w->ctx;
        px_list_remove(&w->link);
        free(w);
        done(ctx, r->best, r->best_peer);
    }
    round_free(r);
}

static enum px_narinfo_fault judge(struct ask *a, struct px_path_info **ret)
{
    struct round *r = a->round;
    const struct px_cache_queries_config *c = &r->owner->config;
    struct px_path_info *info;
    if (a->err == PX_ELIMIT)
        return PX_NARINFO_TOO_BIG;
    enum px_narinfo_fault fault = px_narinfo_check(
        &c->policy, px_buf_slice(&a->body), px_slice(r->hash_part, PX_STORE_HASH_LEN), &info);
    if (fault != PX_NARINFO_OK)
        return fault;
    if ((r->for_nar && memcmp(info->nar_hash, r->nar_hash, 32) != 0) ||
        !c->usable(c->ctx, a->peer, info->nar_hash)) {
        px_path_info_free(info);
        return PX_NARINFO_OTHER_NAR;
    }
    *ret = info;
    return PX_NARINFO_OK;
}

/* True when a peer that has not answered yet would be preferred to the best so far. That one is not
 * kept waiting for longer than the head start. */
static bool better_may_come(const struct round *r, px_nsec now)
{
    if (!r->for_nar || r->best_peer->demerits == 0 || now >= r->head_start)
        return false;
    for (size_t i = 0; i < r->ask_count; i++)
        if (r->asks[i].state != ASK_OVER && r->asks[i].peer->demerits < r->best_peer->demerits)
            return true;
    return false;
}

/* It ends with its head start, whatever has come by then. */
static void expire_soon(struct round *r)
{
    struct px_list *order = &r->owner->order;
    r->expires = PX_MIN(r->expires, r->head_start);
    px_list_remove(&r->in_order);
    struct px_list *before = order->next;
    while (before != order &&
           PX_CONTAINER_OF(before, struct round, in_order)->expires <= r->expires)
        before = before->next;
    px_list_push_back(before, &r->in_order);
}

static void take_answer(struct ask *a, px_nsec now)
{
    struct round *r = a->round;
    struct px_cache_queries *q = r->owner;
    struct px_path_info *info = NULL;
    bool answered = (a->err == 0 && a->status == 200) || a->err == PX_ELIMIT;
    enum px_narinfo_fault fault = answered ? judge(a, &info) : PX_NARINFO_OK;
    set_state(a, ASK_OVER);
    drop_body(a);
    if (a->fetch != NULL) {
        a->peer->ops->cancel(a->peer, a->fetch);
        a->fetch = NULL;
    }
    if (fault != PX_NARINFO_OK)
        q->config.rejected(q->config.ctx, a->peer, px_slice(r->hash_part, PX_STORE_HASH_LEN),
                           fault);
    if (info != NULL && (r->best == NULL || a->peer->demerits < r->best_peer->demerits)) {
        px_path_info_free(r->best);
        r->best = info;
        r->best_peer = a->peer;
    } else {
        px_path_info_free(info);
    }
    if (r->open == 0 || (r->best != NULL && !better_may_come(r, now)))
        settle(r);
    else if (r->best != NULL)
        expire_soon(r);
}

static void retry_waiting(struct px_cache_queries *q, px_nsec now)
{
    q->ready = false;
    q->retry_at = now + PX_CACHE_QUERY_RETRY;
    PX_LIST_EACH(it, &q->order) {
        struct round *r = PX_CONTAINER_OF(it, struct round, in_order);
        for (size_t i = 0; i < r->ask_count; i++)
            if (r->asks[i].state == ASK_WAITING)
                ask_peer(&r->asks[i]);
        if (r->open == 0)
            q->abandoned = true;
    }
}

/* Those who had to wait are asked. */
static void release(struct round *r)
{
    struct px_cache_queries *q = r->owner;
    px_list_remove(&r->in_held);
    for (size_t i = 0; i < r->ask_count; i++) {
        struct ask *a = &r->asks[i];
        if (a->state != ASK_HELD)
            continue;
        q->stats.late++;
        set_state(a, ASK_WAITING);
        ask_peer(a);
    }
    if (r->open == 0)
        q->abandoned = true;
}

/* With another deadline than before a round may stand behind one that is due later: it is looked at
 * when that one is, a few ms late. */
static void release_due(struct px_cache_queries *q, px_nsec now)
{
    bool some = q->release;
    q->release = false;
    PX_LIST_EACH(it, &q->held) {
        struct round *r = PX_CONTAINER_OF(it, struct round, in_held);
        if (r->first == 0 || r->head_start <= now)
            release(r);
        else if (!some)
            break;
    }
    if (q->retry_at <= now) /* those that waited before have just been tried */
        q->retry_at = now + PX_CACHE_QUERY_RETRY;
}

static void settle_abandoned(struct px_cache_queries *q)
{
    q->abandoned = false;
    PX_LIST_EACH(it, &q->order) {
        struct round *r = PX_CONTAINER_OF(it, struct round, in_order);
        if (r->open == 0 || px_list_empty(&r->waiters))
            settle(r);
    }
}

static void drop_peer(struct round *r, const struct px_cache_peer *p)
{
    struct px_cache_queries *q = r->owner;
    for (size_t i = 0; i < r->ask_count; i++) {
        struct ask *a = &r->asks[i];
        if (a->peer != p || a->state == ASK_OVER)
            continue;
        a->fetch = NULL;
        set_state(a, ASK_OVER);
        drop_body(a);
    }
    if (r->best_peer == p) {
        px_path_info_free(r->best);
        r->best = NULL;
        r->best_peer = NULL;
    }
    if (r->open == 0)
        q->abandoned = true;
}

void px_cache_queries_peer_gone(struct px_cache_queries *q, const struct px_cache_peer *p)
{
    PX_LIST_EACH(it, &q->order)
        drop_peer(PX_CONTAINER_OF(it, struct round, in_order), p);
}

void px_cache_queries_peer_ready(struct px_cache_queries *q)
{
    q->ready = q->waiting > 0;
}

void px_cache_queries_run(struct px_cache_queries *q, px_nsec now)
{
    while (!px_list_empty(&q->ended))
        take_answer(PX_CONTAINER_OF(q->ended.next, struct ask, ended), now);
    if (q->waiting > 0 && (q->ready || now >= q->retry_at))
        retry_waiting(q, now);
    if (!px_list_empty(&q->held))
        release_due(q, now);
    if (q->abandoned)
        settle_abandoned(q);
    while (!px_list_empty(&q->order)) {
        struct round *r = PX_CONTAINER_OF(q->order.next, struct round, in_order);
        if (r->expires > now)
            break;
        settle(r);
    }
}

px_nsec px_cache_queries_next(const struct px_cache_queries *q)
{
    if (q->abandoned || q->release || !px_list_empty(&q->ended) || (q->ready && q->waiting > 0))
        return 0;
    if (px_list_empty(&q->order))
        return PX_NEVER;
    px_nsec next = PX_CONTAINER_OF(q->order.next, struct round, in_order)->expires;
    if (!px_list_empty(&q->held))
        next = PX_MIN(next, PX_CONTAINER_OF(q->held.next, struct round, in_held)->head_start);
    return q->waiting > 0 ? PX_MIN(next, q->retry_at) : next;
}

int px_cache_queries_new(const struct px_cache_queries_config *config,
                         struct px_cache_queries **ret)
{
    struct px_cache_queries *q = calloc(1, sizeof(*q));
    if (q == NULL)
        return PX_ENOMEM;
    q->config = *config;
    px_list_init(&q->order);
    px_list_init(&q->ended);
    px_list_init(&q->held);
    for (size_t i = 0; i < BUCKETS; i++)
        px_list_init(&q->buckets[i]);
    *ret = q;
    return 0;
}

void px_cache_queries_stats(const struct px_cache_queries *q, struct px_cache_queries_stats *ret)
{
    *ret = q->stats;
}

void px_cache_queries_set_keys(struct px_cache_queries *q, const struct px_nix_public_key *keys,
                               size_t count)
{
    q->config.policy.keys = keys;
    q->config.policy.key_count = count;
}

void px_cache_queries_set_deadline(struct px_cache_queries *q, px_nsec deadline)
{
    q->config.deadline = deadline;
}

void px_cache_queries_free(struct px_cache_queries *q)
{
    if (q == NULL)
        return;
    PX_LIST_EACH(it, &q->order) {
        struct round *r = PX_CONTAINER_OF(it, struct round, in_order);
        PX_LIST_EACH(w, &r->waiters)
            free(PX_CONTAINER_OF(w, struct px_cache_waiter, link));
        round_free(r);
    }
    free(q);
}

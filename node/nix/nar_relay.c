/* The relay of nar_relay.h.
 *
 * Bytes lie in blocks. A full block, and the last one, goes to the hasher; the reader takes bytes
 * up to `limit`: none while the NAR is held, all but the tail while it is streamed, all once the
 * hash is right. The peer gets credit for what the reader has taken and for what is held. */
#include "node/nix/nar_relay.h"

#include <stdlib.h>

enum relay_state {
    RELAY_WAITING,   /* the peer allows no more streams at the moment */
    RELAY_ASKED,     /* no response yet */
    RELAY_HOLDING,   /* it comes, the reader has been promised nothing */
    RELAY_STREAMING, /* the reader gets all but the tail */
    RELAY_VERIFIED,  /* the hash is right */
    RELAY_FAILED,
};

struct px_nar_relay {
    struct px_nar_relay_config config;
    const struct px_nar_relay_ops *ops;
    void *ctx;
    char *path;
    struct px_cache_fetch *fetch; /* NULL before and after the request */
    struct px_nar_hash *hash;
    enum relay_state state;

    /* facts, recorded in callbacks */
    enum px_nar_fault fault;
    unsigned status;
    bool dirty, ended;
    bool busy;   /* the peer could not serve it now */
    bool active; /* an answer came since the clock was last looked at */
    bool behind; /* the reader had something to take then */
    uint64_t received;

    struct px_nar_block *head, *tail; /* what the reader has not taken; tail is being filled */
    uint64_t head_offset;             /* of the head block in the NAR */
    uint64_t taken;                   /* offset in the NAR the reader is at */
    uint64_t submitted, credited;
    uint64_t paced; /* received, when the source was last seen to make progress */
    px_nsec created, started, last_active, looked_at, retry_at;
};

const char *px_nar_fault_text(enum px_nar_fault fault)
{
    switch (fault) {
#define X(name, text, demerits)                                                                    \
    case name:                                                                                     \
        return text;
        PX_NAR_FAULT_TABLE(X)
#undef X
    }
    return "?";
}

uint32_t px_nar_fault_demerits(enum px_nar_fault fault)
{
    switch (fault) {
#define X(name, text, demerits)                                                                    \
    case name:                                                                                     \
        return demerits;
        PX_NAR_FAULT_TABLE(X)
#undef X
    }
    return 0;
}

static void set_state(struct px_nar_relay *r, enum relay_state next)
{
    static const unsigned allowed[] = {
        [RELAY_WAITING] = 1u << RELAY_ASKED | 1u << RELAY_FAILED,
        [RELAY_ASKED] =
            1u << RELAY_WAITING | 1u << RELAY_HOLDING | 1u << RELAY_STREAMING | 1u << RELAY_FAILED,
        [RELAY_HOLDING] = 1u << RELAY_STREAMING | 1u << RELAY_VERIFIED | 1u << RELAY_FAILED,
        [RELAY_STREAMING] = 1u << RELAY_VERIFIED | 1u << RELAY_FAILED,
        [RELAY_VERIFIED] = 0,
        [RELAY_FAILED] = 0,
    };
    px_assert((allowed[r->state] & 1u << next) != 0);
    r->state = next;
}

/* The first fault stays: what follows is its echo. */
static void record_fault(struct px_nar_relay *r, enum px_nar_fault fault)
{
    if (r->fault == PX_NAR_OK)
        r->fault = fault;
    r->dirty = true;
}

/* --- facts --- */

static void on_response(void *ctx, const struct px_h3_response *res)
{
    struct px_nar_relay *r = ctx;
    r->status = res->status;
    r->active = r->dirty = true;
    if (res->status == 503)
        r->busy = true;
    else if (res->status != 200)
        record_fault(r, PX_NAR_REFUSED);
    else if (res->content_length != PX_H3_NO_LENGTH && res->content_length != r->config.nar_size)
        record_fault(r, PX_NAR_WRONG_LENGTH);
}

static void submit(struct px_nar_relay *r, struct px_nar_block *b)
{
    r->submitted += b->len;
    px_nar_hash_update(r->hash, b);
    if (r->submitted == r->config.nar_size)
        px_nar_hash_finish(r->hash);
}

/* The block that takes the next bytes, NULL without memory. */
static struct px_nar_block *fillable(struct px_nar_relay *r)
{
    if (r->tail != NULL && r->tail->len < r->tail->cap)
        return r->tail;
    struct px_nar_block *b =
        px_nar_block_new(r->config.hasher, (size_t)PX_MIN(r->config.nar_size - r->received,
                                                          (uint64_t)PX_NAR_BLOCK_SIZE));
    if (b == NULL)
        return NULL;
    if (r->tail != NULL) {
        r->tail->next = b;
    } else {
        r->head = b;
        r->head_offset = r->received;
    }
    r->tail = b;
    return b;
}

static void on_data(void *ctx, struct px_slice data)
{
    struct px_nar_relay *r = ctx;
    r->dirty = true;
    if (r->status == 200)
        r->config.peer->nar_received += data.len;
    while (data.len > 0 && r->fault == PX_NAR_OK && !r->busy) {
        if (r->received == r->config.nar_size) {
            record_fault(r, PX_NAR_LONG);
            return;
        }
        struct px_nar_block *b = fillable(r);
        if (b == NULL) {
            record_fault(r, PX_NAR_NO_MEMORY);
            return;
        }
        size_t n = PX_MIN(data.len, b->cap - b->len);
        memcpy(b->data + b->len, data.data, n);
        b->len += n;
        r->received += n;
        data = px_slice_skip(data, n);
        if (b->len == b->cap)
            submit(r, b);
    }
    if (r->received - r->credited > PX_NAR_UNREAD_MAX)
        record_fault(r, PX_NAR_OVERRUN);
}

static void on_end(void *ctx, int err)
{
    struct px_nar_relay *r = ctx;
    r->fetch = NULL;
    r->ended = r->dirty = true;
    r->busy = r->busy || (err == PX_EBUSY && r->status == 0);
    if (r->received < r->config.nar_size && !r->busy)
        record_fault(r, err == 0 ? PX_NAR_SHORT : PX_NAR_RESET);
}

static void on_hash(void *ctx)
{
    struct px_nar_relay *r = ctx;
    r->dirty = true;
}

static const struct px_h3_client_ops fetch_ops = {on_response, on_data, on_end};

/* --- what follows --- */

static int ask(struct px_nar_relay *r, px_nsec now)
{
    struct px_cache_fetch *fetch;
    set_state(r, RELAY_ASKED);
    int err =
        r->config.peer->ops->get(r->config.peer, px_slice_cstr(r->path), 0, &fetch_ops, r, &fetch);
    if (err == 0 && !r->ended)
        r->fetch = fetch;
    if (err == PX_EAGAIN) {
        set_state(r, RELAY_WAITING);
        r->retry_at = now + PX_NAR_RETRY;
        err = 0;
    }
    return err;
}

static uint64_t limit(const struct px_nar_relay *r)
{
    uint64_t size = r->config.nar_size;
    switch (r->state) {
    case RELAY_VERIFIED:
        return size;
    case RELAY_STREAMING:
        return size - PX_MIN(size, (uint64_t)PX_NAR_TAIL);
    case RELAY_WAITING:
    case RELAY_ASKED:
    case RELAY_HOLDING:
    case RELAY_FAILED:
        return 0;
    }
    return 0;
}

/* Bytes the reader may take now. */
static uint64_t readable(const struct px_nar_relay *r)
{
    uint64_t end = PX_MIN(r->received, limit(r));
    return end > r->taken ? end - r->taken : 0;
}

/* Drops whole blocks the reader is past; the one being filled stays. */
static void drop_taken(struct px_nar_relay *r)
{
    while (r->head != NULL && r->head->len == r->head->cap &&
           r->taken - PX_MIN(r->taken, r->head_offset) >= r->head->len) {
        struct px_nar_block *b = r->head;
        r->head = b->next;
        r->head_offset += b->len;
        if (r->head == NULL)
            r->tail = NULL;
        px_nar_block_unref(b);
    }
}

int px_nar_relay_read(struct px_nar_relay *r, void *dst, size_t cap, size_t *ret_len)
{
    size_t copied = 0;
    if (r->state == RELAY_FAILED)
        return PX_EIO;
    drop_taken(r);
    uint64_t left = PX_MIN(readable(r), (uint64_t)cap);
    while (left > 0) {
        struct px_nar_block *b = r->head;
        size_t at = (size_t)(r->taken - r->head_offset);
        size_t n = (size_t)PX_MIN(left, (uint64_t)(b->len - at));
        memcpy((uint8_t *)dst + copied, b->data + at, n);
        copied += n;
        left -= n;
        r->taken += n;
        drop_taken(r);
    }
    if (copied > 0)
        r->dirty = true; /* credit may be due */
    *ret_len = copied;
    return 0;
}

/* The peer may send as much more as the reader has taken or will not be asked to take yet. */
static void give_credit(struct px_nar_relay *r)
{
    drop_taken(r);
    uint64_t due = r->received - readable(r);
    if (r->fetch == NULL || due <= r->credited ||
        r->submitted - px_nar_hash_count(r->hash) > PX_NAR_HASH_BACKLOG)
        return;
    uint64_t n = due - r->credited;
    r->credited = due;
    r->config.peer->ops->consume(r->config.peer, r->fetch, n);
}

static void fail(struct px_nar_relay *r)
{
    if (r->fetch != NULL)
        r->config.peer->ops->cancel(r->config.peer, r->fetch);
    r->fetch = NULL;
    set_state(r, RELAY_FAILED);
    r->ops->failed(r->ctx, r->fault);
}

static void check_hash(struct px_nar_relay *r)
{
    const uint8_t *digest = px_nar_hash_digest(r->hash);
    if (digest == NULL)
        return;
    if (memcmp(digest, r->config.nar_hash, 32) != 0) {
        record_fault(r, PX_NAR_LIE);
        return;
    }
    bool promised = r->state == RELAY_STREAMING;
    set_state(r, RELAY_VERIFIED);
    if (!promised)
        r->ops->ready(r->ctx);
}

/* nix was told of the NAR: it is worth asking again. */
static void back_off(struct px_nar_relay *r, px_nsec now)
{
    if (r->fetch != NULL)
        r->config.peer->ops->cancel(r->config.peer, r->fetch);
    r->fetch = NULL;
    r->busy = r->ended = false;
    r->status = 0;
    set_state(r, RELAY_WAITING);
    r->retry_at = now + PX_NAR_BUSY_RETRY;
    if (now - r->created >= PX_NAR_BUSY_TIME)
        record_fault(r, PX_NAR_BUSY);
}

/* Bytes that count as a sign of life: a single one now and then would keep nix waiting for years.
 */
static uint64_t pace(const struct px_nar_relay *r)
{
    uint64_t n = r->config.stall / PX_MSEC * PX_NAR_PACE / 1000;
    return PX_MAX(n, (uint64_t)1);
}

static void check_clock(struct px_nar_relay *r, px_nsec now)
{
    /* while the reader was the slow one, the source may have had no credit: its silence is ours */
    if (r->behind)
        r->last_active += now - r->looked_at;
    r->looked_at = now;
    r->behind = readable(r) > 0;
    if (r->active || r->received - r->paced >= pace(r)) {
        r->active = false;
        r->last_active = now;
        r->paced = r->received;
    }
    if (now - r->last_active >= r->config.stall && r->received < r->config.nar_size)
        record_fault(r, PX_NAR_STALLED);
    if (r->state == RELAY_WAITING && r->fault == PX_NAR_OK && now >= r->retry_at &&
        ask(r, now) != 0)
        record_fault(r, PX_NAR_RESET);
}

static void go_on(struct px_nar_relay *r, px_nsec now)
{
    if (r->state == RELAY_ASKED && r->status != 0) {
        if (r->config.hold)
            set_state(r, RELAY_HOLDING);
        else
            set_state(r, RELAY_STREAMING);
        r->started = now;
        if (!r->config.hold)
            r->ops->ready(r->ctx);
    }
    if (r->state == RELAY_HOLDING || r->state == RELAY_STREAMING)
        check_hash(r);
    if (r->state == RELAY_HOLDING && now - r->started >= PX_NAR_HOLD_TIME &&
        r->fault == PX_NAR_OK) {
        set_state(r, RELAY_STREAMING);
        r->ops->ready(r->ctx);
    }
}

void px_nar_relay_run(struct px_nar_relay *r, px_nsec now)
{
    r->dirty = false;
    if (r->state == RELAY_FAILED)
        return;
    if (r->state != RELAY_VERIFIED) {
        if (r->busy && r->fault == PX_NAR_OK)
            back_off(r, now);
        check_clock(r, now);
        if (r->fault == PX_NAR_OK)
            go_on(r, now);
        if (r->fault != PX_NAR_OK) {
            fail(r);
            return;
        }
    }
    give_credit(r);
    if (readable(r) > 0)
        r->ops->wake(r->ctx);
}

void px_nar_relay_peer_gone(struct px_nar_relay *r)
{
    r->fetch = NULL;
    if (r->received < r->config.nar_size)
        record_fault(r, PX_NAR_RESET);
}

void px_nar_relay_peer_ready(struct px_nar_relay *r)
{
    if (r->state != RELAY_WAITING)
        return;
    r->retry_at = 0;
    r->dirty = true;
}

px_nsec px_nar_relay_next(const struct px_nar_relay *r)
{
    if (r->dirty)
        return 0;
    px_nsec next = r->received < r->config.nar_size ? r->last_active + r->config.stall : PX_NEVER;
    switch (r->state) {
    case RELAY_WAITING:
        return PX_MIN(next, r->retry_at);
    case RELAY_HOLDING:
        return PX_MIN(next, r->started + PX_NAR_HOLD_TIME);
    case RELAY_ASKED:
    case RELAY_STREAMING:
        return next;
    case RELAY_VERIFIED:
    case RELAY_FAILED:
        return PX_NEVER;
    }
    return PX_NEVER;
}

bool px_nar_relay_dirty(const struct px_nar_relay *r)
{
    return r->dirty;
}

bool px_nar_relay_verified(const struct px_nar_relay *r)
{
    return r->state == RELAY_VERIFIED;
}

uint64_t px_nar_relay_received(const struct px_nar_relay *r)
{
    return r->received;
}

int px_nar_relay_new(const struct px_nar_relay_config *config, px_nsec now,
                     const struct px_nar_relay_ops *ops, void *ctx, struct px_nar_relay **ret)
{
    px_assert(config->nar_size > 0 && config->first < config->nar_size);
    struct px_nar_relay *r = calloc(1, sizeof(*r));
    if (r == NULL)
        return PX_ENOMEM;
    *r = (struct px_nar_relay){.config = *config,
                               .ops = ops,
                               .ctx = ctx,
                               .taken = config->first,
                               .created = now,
                               .started = now,
                               .last_active = now,
                               .looked_at = now};
    r->path = px_slice_dup_cstr(config->path);
    int err = r->path == NULL ? PX_ENOMEM : px_nar_hash_new(config->hasher, on_hash, r, &r->hash);
    if (err == 0)
        err = ask(r, now);
    if (err != 0) {
        px_nar_relay_free(r);
        return err;
    }
    *ret = r;
    return 0;
}

void px_nar_relay_free(struct px_nar_relay *r)
{
    if (r == NULL)
        return;
    if (r->fetch != NULL)
        r->config.peer->ops->cancel(r->config.peer, r->fetch);
    for (struct px_nar_block *b = r->head, *next; b != NULL; b = next) {
        next = b->next;
        px_nar_block_unref(b);
    }
    px_nar_hash_free(r->hash);
    free(r->path);
    free(r);
}

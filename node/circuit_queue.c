/* See circuit_queue.h. */
#include "node/circuit_queue.h"

#include <stdlib.h>
#include <string.h>

void px_circuit_queue_init(struct px_circuit_queue *q, uint64_t rate, uint64_t burst, px_nsec now)
{
    uint64_t share = rate / 100 * PX_CIRCUIT_SHARE;
    uint64_t wait = share / (PX_SEC / PX_CIRCUIT_WAIT_MAX);
    *q = (struct px_circuit_queue){.dropped = 0};
    /* a whole batch must fit, or it would wait for ever */
    burst = PX_MAX(burst / 100 * PX_CIRCUIT_SHARE, (uint64_t)PX_CIRCUIT_QUEUE_MIN);
    px_token_bucket_init(&q->bucket, share, burst, now);
    px_list_init(&q->waiting);
    q->limit = (size_t)PX_MIN(PX_MAX(wait, (uint64_t)PX_CIRCUIT_QUEUE_MIN),
                              (uint64_t)PX_CIRCUIT_QUEUE_MAX);
}

static struct px_circuit_batch *first(const struct px_circuit_queue *q)
{
    return PX_CONTAINER_OF(q->waiting.next, struct px_circuit_batch, node);
}

static bool is_empty(const struct px_circuit_queue *q)
{
    return q->waiting.next == NULL || px_list_empty(&q->waiting);
}

static struct px_circuit_batch *unlink_first(struct px_circuit_queue *q)
{
    struct px_circuit_batch *b = first(q);
    px_list_remove(&b->node);
    q->bytes -= b->len;
    return b;
}

void px_circuit_queue_deinit(struct px_circuit_queue *q)
{
    while (!is_empty(q))
        free(unlink_first(q));
}

bool px_circuit_queue_offer(struct px_circuit_queue *q, struct px_slice data, size_t segment,
                            unsigned ecn, px_nsec now)
{
    if (is_empty(q) && px_token_bucket_try(&q->bucket, data.len, now))
        return true;
    struct px_circuit_batch *b =
        data.len > q->limit - q->bytes ? NULL : malloc(sizeof(*b) + data.len);
    if (b == NULL) {
        q->dropped += data.len;
        return false;
    }
    b->segment = segment;
    b->ecn = ecn;
    b->len = data.len;
    memcpy(b->data, data.data, data.len);
    px_list_push_back(&q->waiting, &b->node);
    q->bytes += b->len;
    return false;
}

void px_circuit_queue_refund(struct px_circuit_queue *q, size_t len)
{
    q->bucket.tokens = PX_MIN(q->bucket.tokens + len, q->bucket.burst);
}

struct px_circuit_batch *px_circuit_queue_take(struct px_circuit_queue *q, px_nsec now)
{
    if (is_empty(q) || !px_token_bucket_try(&q->bucket, first(q)->len, now))
        return NULL;
    return unlink_first(q);
}

px_nsec px_circuit_queue_deadline(const struct px_circuit_queue *q)
{
    if (is_empty(q))
        return PX_NEVER;
    uint64_t need = first(q)->len;
    uint64_t missing = need > q->bucket.tokens ? need - q->bucket.tokens : 0;
    return q->bucket.filled_at + missing * PX_SEC / q->bucket.rate + 1;
}

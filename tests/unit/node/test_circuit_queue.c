/* What is sent into a circuit keeps to 95 % of the rate told, in order, and little waits. */
#include <stdlib.h>

#include "node/circuit_queue.h"
#include "tests/test.h"

#define RATE  (2u * 1000 * 1000)
#define BURST (400u * 1000)
#define BATCH 12000u

static uint8_t bytes[BATCH];

static bool offer(struct px_circuit_queue *q, uint8_t tag, px_nsec now)
{
    bytes[0] = tag;
    return px_circuit_queue_offer(q, px_slice(bytes, sizeof(bytes)), 1200, 1, now);
}

TEST(a_burst_passes_and_the_rest_keeps_to_the_share_in_order)
{
    struct px_circuit_queue q;
    px_nsec now = 100 * PX_SEC, next;
    size_t at_once = 0, later = 0;
    uint8_t tag = 0, expected = 0;
    px_circuit_queue_init(&q, RATE, BURST, now);
    while (offer(&q, tag, now))
        at_once++;
    CHECK_INT(at_once, BURST / 100 * 95 / BATCH);
    tag = 1;
    for (px_nsec end = now + PX_SEC; (next = px_circuit_queue_deadline(&q)) <= end;) {
        CHECK(next > now);
        now = next;
        struct px_circuit_batch *b = px_circuit_queue_take(&q, now);
        CHECK(b != NULL);
        CHECK_INT(b->len, BATCH);
        CHECK_INT(b->segment, 1200);
        CHECK_INT(b->ecn, 1);
        CHECK_INT(b->data[0], expected++);
        free(b);
        later++;
        CHECK(!offer(&q, tag++, now));
    }
    size_t want = RATE / 100 * 95 / BATCH;
    CHECK(later >= want - 1 && later <= want + 1);
    CHECK_INT(q.dropped, 0);
    px_circuit_queue_deinit(&q);
}

TEST(no_more_than_the_limit_waits_and_the_rest_is_lost)
{
    struct px_circuit_queue q;
    px_nsec now = PX_SEC;
    px_circuit_queue_init(&q, RATE, BURST, now);
    for (int i = 0; i < 1000; i++)
        (void)offer(&q, 0, now);
    CHECK(q.limit >= PX_CIRCUIT_QUEUE_MIN && q.limit <= PX_CIRCUIT_QUEUE_MAX);
    /* what waits is gone in time, at the share of the rate */
    CHECK_INT(q.limit, RATE / 100 * PX_CIRCUIT_SHARE / (PX_SEC / PX_CIRCUIT_WAIT_MAX));
    CHECK(q.bytes <= q.limit && q.bytes + BATCH > q.limit);
    CHECK(q.dropped > 0);
    px_circuit_queue_deinit(&q);
    CHECK_INT(q.bytes, 0);
    CHECK_INT(px_circuit_queue_deadline(&q), PX_NEVER);
}

TEST(without_a_bound_nothing_waits)
{
    struct px_circuit_queue q;
    px_circuit_queue_init(&q, 0, 0, PX_SEC);
    for (int i = 0; i < 1000; i++)
        CHECK(offer(&q, 0, PX_SEC));
    CHECK_INT(px_circuit_queue_deadline(&q), PX_NEVER);
    px_circuit_queue_deinit(&q);
}

TEST(what_the_socket_did_not_take_is_given_back)
{
    struct px_circuit_queue q;
    size_t passed = 0;
    px_circuit_queue_init(&q, RATE, BURST, PX_SEC);
    CHECK(offer(&q, 0, PX_SEC));
    px_circuit_queue_refund(&q, BATCH);
    while (offer(&q, 0, PX_SEC))
        passed++;
    CHECK_INT(passed, BURST / 100 * 95 / BATCH);
    px_circuit_queue_deinit(&q);
}

TEST(a_queue_that_was_never_made_is_empty)
{
    struct px_circuit_queue q = {.bytes = 0};
    CHECK_INT(px_circuit_queue_deadline(&q), PX_NEVER);
    px_circuit_queue_deinit(&q);
}

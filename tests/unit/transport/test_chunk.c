/* The send queue against a plain array of bytes as its model. */
#include "tests/test.h"
#include "transport/chunk.h"

TEST(bytes_leave_in_order_whatever_is_taken_and_acknowledged)
{
    for (uint64_t seed = 1; seed < 50; seed++) {
        struct px_test_rng r;
        px_test_rng(&r, seed);
        struct px_send_queue q = {0};
        uint64_t pushed = 0, sent = 0, acked = 0;
        for (int step = 0; step < 400; step++) {
            uint64_t dice = px_test_rng_next(&r) % 3;
            if (dice == 0) {
                struct px_chunk *c = px_chunk_new(px_test_rng_next(&r) % 40);
                for (size_t i = 0; i < c->len; i++)
                    c->data[i] = (uint8_t)(pushed + i);
                pushed += c->len;
                CHECK_OK(px_send_queue_push(&q, c));
            } else if (dice == 1) {
                struct px_slice vec[4];
                size_t n = px_send_queue_offer(&q, vec, 4), total = 0;
                for (size_t i = 0; i < n; i++)
                    for (size_t j = 0; j < vec[i].len; j++, total++)
                        CHECK_INT(vec[i].data[j], (uint8_t)(sent + total));
                CHECK(total > 0 || q.unsent == 0);
                uint64_t take = total > 0 ? px_test_rng_next(&r) % (total + 1) : 0;
                px_send_queue_sent(&q, take);
                sent += take;
            } else if (sent > acked) {
                uint64_t n = px_test_rng_next(&r) % (sent - acked + 1);
                px_send_queue_acked(&q, n);
                acked += n;
            }
            CHECK_INT(q.queued, pushed - acked);
            CHECK_INT(q.unsent, pushed - sent);
        }
        px_send_queue_deinit(&q);
    }
}

TEST(one_chunk_may_be_in_many_queues)
{
    struct px_send_queue a = {0}, b = {0};
    struct px_chunk *c = px_chunk_copy(PX_SLICE_LIT("hello"));
    CHECK_OK(px_send_queue_push(&a, px_chunk_ref(c)));
    CHECK_OK(px_send_queue_push(&a, px_chunk_ref(c)));
    CHECK_OK(px_send_queue_push(&b, c));
    px_send_queue_sent(&a, 7);
    px_send_queue_acked(&a, 6);
    px_send_queue_deinit(&a);
    struct px_slice vec[2];
    CHECK_INT(px_send_queue_offer(&b, vec, 2), 1);
    CHECK_SLICE(vec[0], PX_SLICE_LIT("hello"));
    px_send_queue_deinit(&b);
}

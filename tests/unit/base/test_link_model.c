/* The link model behaves as configured, within what chance allows for fixed seeds. */
#include "tests/link_model.h"
#include "tests/test.h"

struct tally {
    size_t in, out, copies, out_of_order;
    px_nsec last, min_delay, max_delay;
};

static struct tally run(const struct px_link_model_config *c, size_t packets, px_nsec gap)
{
    struct px_link_model m;
    struct tally t = {.min_delay = PX_NEVER};
    px_nsec now = PX_SEC, due[PX_LINK_COPIES_MAX];
    px_link_model_init(&m, c, 42);
    for (; t.in < packets; t.in++, now += gap) {
        size_t n = px_link_model_enter(&m, 1000, now, due);
        t.out += n > 0;
        t.copies += n;
        for (size_t i = 0; i < n; i++) {
            t.out_of_order += due[i] < t.last;
            t.last = PX_MAX(t.last, due[i]);
            t.min_delay = PX_MIN(t.min_delay, due[i] - now);
            t.max_delay = PX_MAX(t.max_delay, due[i] - now);
        }
    }
    CHECK_INT(m.passed, t.out);
    CHECK_INT(m.passed + m.lost + m.overflowed, packets);
    return t;
}

TEST(a_perfect_link_delays_and_nothing_else)
{
    struct px_link_model_config c = {.delay = 20 * PX_MSEC};
    struct tally t = run(&c, 1000, PX_MSEC);
    CHECK_INT(t.copies, 1000);
    CHECK_INT(t.min_delay, 20 * PX_MSEC);
    CHECK_INT(t.max_delay, 20 * PX_MSEC);
}

TEST(jitter_spreads_but_keeps_the_order)
{
    struct px_link_model_config c = {.delay = 20 * PX_MSEC, .jitter = 10 * PX_MSEC};
    struct tally t = run(&c, 1000, PX_MSEC);
    CHECK_INT(t.out_of_order, 0);
    CHECK(t.min_delay < 22 * PX_MSEC && t.max_delay > 28 * PX_MSEC && t.max_delay <= 30 * PX_MSEC);
}

TEST(loss_duplication_and_reordering_come_at_their_rates)
{
    struct px_link_model_config loss = {.loss = 0.1};
    struct tally t = run(&loss, 10000, PX_MSEC);
    CHECK(t.out > 8800 && t.out < 9200);
    struct px_link_model_config twice = {.duplicate = 0.05};
    t = run(&twice, 10000, PX_MSEC);
    CHECK(t.copies > 10400 && t.copies < 10600 && t.out == 10000);
    struct px_link_model_config late = {.reorder = 0.1, .reorder_delay = 5 * PX_MSEC};
    t = run(&late, 10000, PX_MSEC);
    CHECK(t.out_of_order > 3000 && t.copies == 10000);
}

TEST(bursts_lose_the_share_the_two_state_model_predicts)
{
    /* bad for enter / (enter + leave) of the time: 0.01 / 0.11 = 9.1 % */
    struct px_link_model_config c = {.burst_enter = 0.01, .burst_leave = 0.1};
    struct tally t = run(&c, 50000, PX_MSEC);
    CHECK(t.out > 44700 && t.out < 46200);
}

TEST(a_rate_spaces_packets_and_a_full_queue_drops)
{
    struct px_link_model_config c = {.rate = 1000000, .queue = 10000};
    struct tally t = run(&c, 1000, 500 * PX_USEC); /* twice the rate */
    CHECK(t.out > 490 && t.out < 520);
    CHECK(t.max_delay <= 10 * PX_MSEC && t.max_delay >= 9 * PX_MSEC);
}

/* What a run of pings comes to. */
#include "node/ping_stats.h"

#include "tests/test.h"

TEST(an_empty_run_has_no_times)
{
    struct px_ping_stats s = {0};
    CHECK(px_ping_stats_avg(&s) == PX_NEVER);
    CHECK(px_ping_stats_jitter(&s) == PX_NEVER);
    CHECK(px_ping_stats_lost(&s) == 0.0);
}

TEST(replies_and_losses_are_summed_up)
{
    static const px_nsec rtts[] = {10, 30, 20, 0, 20}; /* 0: lost */
    struct px_ping_stats s = {0};
    for (size_t i = 0; i < PX_ARRAY_LEN(rtts); i++) {
        if (rtts[i] == 0)
            px_ping_stats_loss(&s);
        else
            px_ping_stats_reply(&s, rtts[i]);
    }
    CHECK_INT(s.sent, 5);
    CHECK_INT(s.received, 4);
    CHECK_INT(s.min, 10);
    CHECK_INT(s.max, 30);
    CHECK_INT(px_ping_stats_avg(&s), 20);
    CHECK_INT(px_ping_stats_jitter(&s), 10); /* (20 + 10 + 0) / 3 */
    CHECK(px_ping_stats_lost(&s) == 0.2);
}

TEST(one_reply_has_no_jitter)
{
    struct px_ping_stats s = {0};
    px_ping_stats_reply(&s, 7);
    CHECK_INT(px_ping_stats_avg(&s), 7);
    CHECK(px_ping_stats_jitter(&s) == PX_NEVER);
}

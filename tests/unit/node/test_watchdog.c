/* When a sign of life is due: rounds on a clock of our own. */
#include "node/watchdog.h"

#include "tests/test.h"

#define ALLOWED (30 * PX_SEC)
#define ALL     ((1u << PX_WATCHDOG_PARTS) - 1)

static struct px_watchdog started(px_nsec now)
{
    struct px_watchdog w;
    px_watchdog_init(&w, ALL, ALLOWED, now);
    return w;
}

static bool all_good(struct px_watchdog *w)
{
    bool told = false;
    for (unsigned i = 0; i < PX_WATCHDOG_PARTS; i++)
        told = px_watchdog_good(w, w->round, (enum px_watchdog_part)i);
    return told;
}

TEST(without_a_service_manager_no_round_begins)
{
    struct px_watchdog w;
    px_watchdog_init(&w, ALL, 0, 5);
    CHECK(!px_watchdog_due(&w, 5));
    CHECK(!px_watchdog_due(&w, PX_NEVER));
}

TEST(rounds_come_at_half_the_allowed_time)
{
    struct px_watchdog w = started(100);
    CHECK(px_watchdog_due(&w, 100));
    px_watchdog_begin(&w, 100);
    CHECK(!px_watchdog_due(&w, 100 + ALLOWED / 2 - 1));
    CHECK(px_watchdog_due(&w, 100 + ALLOWED / 2));
}

TEST(the_sign_of_life_needs_every_part_and_comes_once)
{
    for (unsigned last = 0; last < PX_WATCHDOG_PARTS; last++) {
        struct px_watchdog w = started(0);
        px_watchdog_begin(&w, 0);
        for (unsigned i = 0; i < PX_WATCHDOG_PARTS; i++)
            CHECK(i == last || !px_watchdog_good(&w, 1, (enum px_watchdog_part)i));
        CHECK(px_watchdog_good(&w, 1, (enum px_watchdog_part)last));
        CHECK(!px_watchdog_good(&w, 1, (enum px_watchdog_part)last));
    }
}

TEST(a_part_that_is_silent_holds_it_back_and_is_named)
{
    struct px_watchdog w = started(0);
    px_watchdog_begin(&w, 0);
    CHECK(!px_watchdog_good(&w, 1, PX_WATCHDOG_OVERLAY));
    CHECK(!px_watchdog_good(&w, 1, PX_WATCHDOG_SUBSTITUTER));
    CHECK(!px_watchdog_good(&w, 1, PX_WATCHDOG_HEALTH));
    CHECK_INT(px_watchdog_silent(&w, ALLOWED / 8), 0); /* it has time yet */
    CHECK_INT(px_watchdog_silent(&w, ALLOWED / 8 * 3), 1u << PX_WATCHDOG_CONTROL);
    px_watchdog_begin(&w, w.next);
    CHECK(all_good(&w)); /* it came back */
    CHECK_INT(px_watchdog_silent(&w, w.next), 0);
}

TEST(an_answer_of_an_earlier_round_proves_nothing)
{
    struct px_watchdog w = started(0);
    px_watchdog_begin(&w, 0);
    px_watchdog_begin(&w, w.next);
    for (unsigned i = 0; i < PX_WATCHDOG_PARTS; i++)
        CHECK(!px_watchdog_good(&w, 1, (enum px_watchdog_part)i));
    CHECK_INT(w.waiting, ALL);
}

TEST(a_loop_that_stood_still_makes_up_for_nothing)
{
    struct px_watchdog w = started(0);
    px_watchdog_begin(&w, 0);
    CHECK(all_good(&w));
    px_watchdog_begin(&w, 10 * ALLOWED);
    CHECK(!px_watchdog_due(&w, 10 * ALLOWED + 1));
    CHECK_INT(w.round, 2);
}

TEST(parts_a_program_does_not_have_are_not_waited_for)
{
    struct px_watchdog w;
    px_watchdog_init(&w, 1u << PX_WATCHDOG_OVERLAY | 1u << PX_WATCHDOG_HEALTH, ALLOWED, 0);
    px_watchdog_begin(&w, 0);
    CHECK(!px_watchdog_good(&w, 1, PX_WATCHDOG_CONTROL));
    CHECK(!px_watchdog_good(&w, 1, PX_WATCHDOG_HEALTH));
    CHECK(px_watchdog_good(&w, 1, PX_WATCHDOG_OVERLAY));
}

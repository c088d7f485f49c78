/* Back-off on a virtual clock. */
#include "node/dial_plan.h"
#include "tests/test.h"

TEST(all_addresses_of_a_round_are_tried_without_a_pause)
{
    struct px_test_rng seed;
    struct px_rng rng = px_test_rng(&seed, 1);
    struct px_dial_plan p;
    px_dial_plan_init(&p, 100);
    for (size_t i = 0; i < 3; i++) {
        CHECK(px_dial_plan_due(&p, 3, 100));
        CHECK_INT(p.next_addr, i);
        CHECK(!px_dial_plan_due(&p, 3, 100)); /* one attempt at a time */
        px_dial_plan_failed(&p, 3, 60 * PX_SEC, &rng, 100);
    }
    CHECK(!px_dial_plan_due(&p, 3, 100));
    CHECK(p.due >= 100 + PX_DIAL_FIRST_PAUSE / 2 && p.due <= 100 + PX_DIAL_FIRST_PAUSE);
}

TEST(pauses_double_up_to_the_cap_and_never_beyond)
{
    struct px_test_rng seed;
    struct px_rng rng = px_test_rng(&seed, 2);
    struct px_dial_plan p;
    px_nsec now = 0, cap = 10 * PX_SEC, want = PX_DIAL_FIRST_PAUSE;
    px_dial_plan_init(&p, now);
    for (int i = 0; i < 200; i++) {
        CHECK(px_dial_plan_due(&p, 1, now));
        px_dial_plan_failed(&p, 1, cap, &rng, now);
        CHECK(p.due - now >= want / 2 && p.due - now <= want);
        now = p.due;
        want = PX_MIN(want * 2, cap);
    }
}

TEST(a_connection_resets_the_back_off_and_a_peer_without_address_is_never_dialled)
{
    struct px_test_rng seed;
    struct px_rng rng = px_test_rng(&seed, 3);
    struct px_dial_plan p;
    px_dial_plan_init(&p, 0);
    CHECK(!px_dial_plan_due(&p, 0, PX_SEC));
    for (int i = 0; i < 10; i++) {
        CHECK(px_dial_plan_due(&p, 1, PX_NEVER));
        px_dial_plan_failed(&p, 1, 60 * PX_SEC, &rng, 0);
    }
    px_dial_plan_up(&p);
    CHECK(!px_dial_plan_due(&p, 1, PX_NEVER));
    px_dial_plan_ended(&p, &rng, PX_SEC);
    CHECK(p.due <= PX_SEC + PX_DIAL_FIRST_PAUSE);
    CHECK_INT(p.rounds, 0);
}

/* Back-off on a virtual clock. */
#include "node/dial_plan.h"
#include "tests/test.h"

#define CAP (10 * PX_SEC)

struct fixture {
    struct px_test_rng seed;
    struct px_rng rng;
    struct px_dial_plan plan;
};

static void init(struct fixture *f, uint64_t seed)
{
    f->rng = px_test_rng(&f->seed, seed);
    px_dial_plan_init(&f->plan, 100);
}

/* Fails n rounds, each when it is due; returns the time of the last failure. */
static px_nsec fail_rounds(struct fixture *f, int n)
{
    px_nsec at = 0;
    for (int i = 0; i < n; i++) {
        at = f->plan.due;
        CHECK(px_dial_plan_due(&f->plan, at));
        px_dial_plan_failed(&f->plan, CAP, &f->rng, at);
    }
    return at;
}

TEST(one_round_at_a_time)
{
    struct fixture f;
    init(&f, 1);
    CHECK(!px_dial_plan_due(&f.plan, 99));
    CHECK(px_dial_plan_due(&f.plan, 100));
    CHECK(!px_dial_plan_due(&f.plan, PX_NEVER));
}

TEST(pauses_double_up_to_the_cap_and_never_beyond)
{
    struct fixture f;
    px_nsec want = PX_DIAL_FIRST_PAUSE;
    init(&f, 2);
    for (int i = 0; i < 200; i++) {
        px_nsec now = fail_rounds(&f, 1);
        CHECK(f.plan.due - now >= want / 2 && f.plan.due - now <= want);
        want = PX_MIN(want * 2, CAP);
    }
}

TEST(a_connection_that_lasted_resets_the_back_off_and_a_flapping_one_does_not)
{
    static const struct {
        px_nsec lasted;
        bool orderly;
        unsigned rounds;
        px_nsec pause;
    } cases[] = {
        {PX_DIAL_STABLE, false, 0, PX_DIAL_FIRST_PAUSE},
        {PX_DIAL_STABLE - 1, false, 11, CAP},
        {PX_SEC, true, 0, PX_DIAL_FIRST_PAUSE},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++) {
        struct fixture f;
        init(&f, 3);
        px_nsec now = fail_rounds(&f, 10);
        px_dial_plan_up(&f.plan, now);
        CHECK(!px_dial_plan_due(&f.plan, PX_NEVER));
        now += cases[i].lasted;
        px_dial_plan_ended(&f.plan, cases[i].orderly, CAP, &f.rng, now);
        CHECK_INT(f.plan.rounds, cases[i].rounds);
        CHECK(f.plan.due >= now + cases[i].pause / 2 && f.plan.due <= now + cases[i].pause);
    }
}

TEST(a_reset_dials_soon_and_begins_the_back_off_anew)
{
    struct fixture f;
    init(&f, 4);
    px_nsec now = fail_rounds(&f, 10);
    px_dial_plan_reset(&f.plan, &f.rng, now);
    CHECK(f.plan.due >= now && f.plan.due < now + PX_DIAL_SPREAD);
    CHECK_INT(f.plan.rounds, 0);
    px_nsec due = f.plan.due;
    px_dial_plan_reset(&f.plan, &f.rng, now + PX_SEC); /* does not put off what is due before */
    CHECK_INT(f.plan.due, due);
}

TEST(a_held_plan_is_never_due_until_it_is_told_soon)
{
    struct fixture f;
    init(&f, 5);
    px_dial_plan_hold(&f.plan);
    px_dial_plan_reset(&f.plan, &f.rng, 200);
    CHECK(!px_dial_plan_due(&f.plan, PX_NEVER));
    px_dial_plan_soon(&f.plan, 300);
    CHECK(px_dial_plan_due(&f.plan, 300));
    px_dial_plan_hold(&f.plan);    /* in the middle of a round */
    px_dial_plan_up(&f.plan, 400); /* the peer came by itself */
    px_dial_plan_hold(&f.plan);
    CHECK(!px_dial_plan_due(&f.plan, PX_NEVER));
}

TEST(announcements_hurry_a_dial_but_not_more_often_than_the_pause)
{
    struct fixture f;
    init(&f, 6);
    px_nsec now = fail_rounds(&f, 10), began = now;
    px_dial_plan_hurry(&f.plan, &f.rng, now + PX_MSEC);
    CHECK_INT(f.plan.due, began + PX_DIAL_HURRY_PAUSE);
    now += PX_DIAL_HURRY_PAUSE + PX_MSEC;
    px_dial_plan_hurry(&f.plan, &f.rng, now);
    CHECK_INT(f.plan.due, began + PX_DIAL_HURRY_PAUSE); /* not put off */
    CHECK_INT(f.plan.rounds, 10);
}

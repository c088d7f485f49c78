/* Which of two connections to a peer stays. The table is read from both ends: for every pair of
 * views of one crossing exactly one connection survives and exactly one side closes the other. */
#include "tests/test.h"
#include "transport/link.h"
#include "transport/link_rivalry.h"

TEST(verdicts)
{
    static const struct {
        const char *what;
        struct px_rivalry r;
        enum px_rivalry_verdict verdict;
    } cases[] = {
        {"alone", {.new_ours = true}, PX_RIVALRY_UP},
        {"alone, incoming", {.same_boot = false}, PX_RIVALRY_UP},
        {"crossing, we are lower", {.we_are_lower = true, .dial_confirmed = true}, PX_RIVALRY_WAIT},
        {"crossing, we are higher", {.dial_confirmed = true}, PX_RIVALRY_UP},
        {"our dial is not held up by another",
         {.we_are_lower = true, .dial_confirmed = true, .new_ours = true},
         PX_RIVALRY_UP},
        {"restarted", {.have_old = true, .old_ours = true}, PX_RIVALRY_REPLACE},
        {"restarted, ours", {.have_old = true, .new_ours = true}, PX_RIVALRY_REPLACE},
        {"dialled again by the peer", {.have_old = true, .same_boot = true}, PX_RIVALRY_REPLACE},
        {"dialled again by us",
         {.have_old = true, .same_boot = true, .old_ours = true, .new_ours = true},
         PX_RIVALRY_RELINQUISH},
        {"lower sees its own second",
         {.have_old = true, .same_boot = true, .new_ours = true, .we_are_lower = true},
         PX_RIVALRY_REPLACE},
        {"higher sees the lower's second",
         {.have_old = true, .same_boot = true, .old_ours = true},
         PX_RIVALRY_RELINQUISH},
        {"lower sees the higher's second",
         {.have_old = true, .same_boot = true, .old_ours = true, .we_are_lower = true},
         PX_RIVALRY_CLOSE_NEW},
        {"higher sees its own second",
         {.have_old = true, .same_boot = true, .new_ours = true},
         PX_RIVALRY_SHELVE_NEW},
        {"the higher lost the old one",
         {.have_old = true,
          .same_boot = true,
          .old_ours = true,
          .we_are_lower = true,
          .old_age = PX_LINK_HANDSHAKE_TIME + 1},
         PX_RIVALRY_REPLACE},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++)
        if (px_rivalry_judge(&cases[i].r) != cases[i].verdict)
            px_test_fail(__FILE__, __LINE__, "%s", cases[i].what);
}

TEST(both_ends_of_a_crossing_keep_the_lowers_connection_and_one_closes_the_other)
{
    /* which of the two connections each end saw first */
    for (int seen = 0; seen < 4; seen++) {
        bool low_saw_own_first = seen & 1, high_saw_own_first = (seen & 2) != 0;
        struct px_rivalry low = {.have_old = true, .same_boot = true, .we_are_lower = true};
        struct px_rivalry high = {.have_old = true, .same_boot = true};
        low.old_ours = low_saw_own_first;
        low.new_ours = !low_saw_own_first;
        high.old_ours = high_saw_own_first;
        high.new_ours = !high_saw_own_first;
        CHECK_INT(px_rivalry_judge(&low),
                  low_saw_own_first ? PX_RIVALRY_CLOSE_NEW : PX_RIVALRY_REPLACE);
        CHECK_INT(px_rivalry_judge(&high),
                  high_saw_own_first ? PX_RIVALRY_RELINQUISH : PX_RIVALRY_SHELVE_NEW);
    }
}

TEST(more_than_three_replacements_a_minute_are_reported_once)
{
    struct px_clone_watch w = {0};
    px_nsec t = 1000 * PX_SEC;
    CHECK(!px_clone_watch_note(&w, t));
    CHECK(!px_clone_watch_note(&w, t + 1));
    CHECK(!px_clone_watch_note(&w, t + 2));
    CHECK(px_clone_watch_note(&w, t + 59 * PX_SEC));
    CHECK(!px_clone_watch_note(&w, t + 59 * PX_SEC + 1)); /* said already */
    struct px_clone_watch slow = {0};
    for (px_nsec i = 0; i < 20; i++)
        CHECK(!px_clone_watch_note(&slow, t + i * 21 * PX_SEC));
}

/* The bucket against a naive model, and at its edges. */
#include "relay/token_bucket.h"
#include "tests/test.h"

TEST(a_full_bucket_gives_its_burst_and_no_more)
{
    struct px_token_bucket b;
    px_token_bucket_init(&b, 1000, 500, 0);
    CHECK(px_token_bucket_try(&b, 500, 0));
    CHECK(!px_token_bucket_try(&b, 1, 0));
    CHECK(!px_token_bucket_try(&b, 1, PX_MSEC - 1));
    CHECK(px_token_bucket_try(&b, 1, PX_MSEC));
}

TEST(without_a_rate_there_is_no_bound)
{
    struct px_token_bucket b;
    px_token_bucket_init(&b, 0, 0, 0);
    for (int i = 0; i < 100; i++)
        CHECK(px_token_bucket_try(&b, UINT64_MAX, 0));
}

TEST(looking_often_loses_no_tokens)
{
    struct px_token_bucket b;
    uint64_t taken = 0;
    px_token_bucket_init(&b, 3, 3, 0);
    px_token_bucket_take(&b, 3);
    /* a look every 100 ms makes a third of a token each: over 100 s there must be 300 of them */
    for (px_nsec now = 0; now <= 100 * PX_SEC; now += 100 * PX_MSEC)
        while (px_token_bucket_try(&b, 1, now))
            taken++;
    CHECK_INT(taken, 300);
}

TEST(a_long_pause_fills_it_once)
{
    struct px_token_bucket b;
    px_token_bucket_init(&b, UINT64_MAX / 2, 1000, 0);
    px_token_bucket_take(&b, 1000);
    CHECK_INT(px_token_bucket_available(&b, UINT64_MAX - 1), 1000);
    CHECK_INT(px_token_bucket_available(&b, 5), 1000); /* a clock that went back changes nothing */
}

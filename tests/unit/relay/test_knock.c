/* Handshakes of sources that were refused lately are few; nobody else notices. */
#include "relay/knock.h"
#include "tests/test.h"

#define INITIAL   0xc3
#define HANDSHAKE 0xe3
#define SHORT     0x43

static struct px_addr addr(const char *text)
{
    struct px_addr a;
    CHECK_OK(px_addr_parse(px_slice_cstr(text), &a));
    return a;
}

static struct px_knock *table(void)
{
    static struct px_test_rng state;
    struct px_rng rng = px_test_rng(&state, 1);
    struct px_knock *k;
    CHECK_OK(px_knock_new(&rng, &k));
    return k;
}

TEST(a_source_without_refusals_is_not_held_up)
{
    struct px_knock *k = table();
    struct px_addr a = addr("192.0.2.1:1000");
    for (int i = 0; i < 10000; i++)
        CHECK(px_knock_allows(k, &a, INITIAL, PX_SEC));
    px_knock_free(k);
}

TEST(after_a_refusal_initials_of_that_source_are_few)
{
    struct px_knock *k = table();
    struct px_addr a = addr("192.0.2.1:1000"), same = addr("192.0.2.1:2000"),
                   other = addr("192.0.2.2:1000");
    int passed = 0;
    px_nsec now = PX_SEC;
    px_knock_refused(k, &a, now);
    for (int i = 0; i < 1000; i++, now += PX_MSEC) {
        passed += px_knock_allows(k, i % 2 == 0 ? &a : &same, INITIAL, now);
        px_knock_refused(k, &same, now); /* further refusals give no new tokens */
        CHECK(px_knock_allows(k, &other, INITIAL, now));
        CHECK(px_knock_allows(k, &a, HANDSHAKE, now));
        CHECK(px_knock_allows(k, &a, SHORT, now)); /* links that are up go on */
    }
    CHECK(passed >= PX_KNOCK_BURST && passed <= PX_KNOCK_BURST + PX_KNOCK_RATE);
    now += 60 * PX_SEC;
    CHECK(px_knock_allows(k, &a, INITIAL, now)); /* and it may try again */
    px_knock_free(k);
}

TEST(many_sources_do_not_make_it_grow)
{
    struct px_knock *k = table();
    struct px_addr a = addr("10.0.0.0:1");
    for (unsigned i = 0; i < 10 * PX_KNOCK_SOURCES; i++) {
        memcpy(a.ip + 1, &i, 3);
        px_knock_refused(k, &a, i);
        CHECK(px_knock_allows(k, &a, INITIAL, i));
    }
    px_knock_free(k);
}

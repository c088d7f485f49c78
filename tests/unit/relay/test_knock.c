/* Handshakes of sources that were refused lately are few; nobody else notices, and friends behind
 * the same NAT come in. */
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

TEST(after_a_refusal_handshakes_of_that_source_are_few)
{
    struct px_knock *k = table();
    struct px_addr a = addr("192.0.2.1:1000"), other = addr("192.0.2.2:1000");
    px_nsec now = PX_SEC;
    unsigned passed = 0;
    px_knock_refused(k, &a, now);
    for (unsigned i = 0; i < 1000; i++) { /* one a port */
        a.port = (uint16_t)(1000 + i);
        passed += px_knock_allows(k, &a, INITIAL, now);
        px_knock_refused(k, &a, now); /* further refusals give no new tokens */
        CHECK(px_knock_allows(k, &other, INITIAL, now));
        CHECK(px_knock_allows(k, &a, HANDSHAKE, now));
        CHECK(px_knock_allows(k, &a, SHORT, now)); /* links that are up go on */
    }
    CHECK_INT(passed, PX_KNOCK_BURST);
    for (unsigned ms = 0; ms < 2000; ms++) {
        now += PX_MSEC;
        a.port = (uint16_t)(5000 + ms);
        passed += px_knock_allows(k, &a, INITIAL, now);
    }
    CHECK_INT(passed, PX_KNOCK_BURST + 2 * PX_KNOCK_RATE);
    px_knock_free(k);
}

TEST(a_port_takes_one_token_and_has_6_packets_in_10_s)
{
    struct px_knock *k = table();
    struct px_addr a = addr("192.0.2.1:1000");
    px_nsec now = PX_SEC;
    px_knock_refused(k, &a, now);
    for (int window = 0; window < 3; window++, now += PX_KNOCK_WINDOW)
        for (unsigned i = 0; i < 1000; i++)
            CHECK_INT(px_knock_allows(k, &a, INITIAL, now), i < PX_KNOCK_PACKETS);
    px_knock_free(k);
}

TEST(an_ipv6_56_is_metered_as_one)
{
    struct px_knock *k = table();
    struct px_addr a = addr("[2001:db8:0:100::1]:1000"), other = addr("[2001:db8:0:200::1]:1000");
    unsigned passed = 0;
    px_knock_refused(k, &a, PX_SEC);
    for (unsigned i = 0; i < 1000; i++) {
        a.ip[7] = (uint8_t)i; /* another subnet, another host */
        a.ip[14] = (uint8_t)(i >> 8);
        passed += px_knock_allows(k, &a, INITIAL, PX_SEC);
        CHECK(px_knock_allows(k, &other, INITIAL, PX_SEC));
    }
    CHECK_INT(passed, PX_KNOCK_BURST);
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

/* ---- neighbours ---- */

/* Behind one address a crowd of `ports` ports sends `rate` Initials a second, all of them refused;
 * a node behind it, from a port of its own, dials for 5 s (Initials after 0, 1 and 3 s) and again
 * 1 s later. How long until one of its Initials is heard, 120 s at most. */
struct crowd {
    unsigned ports, rate;
    enum { NO_FRIEND, FRIEND_THERE, FRIEND_HERE } friend;
    px_nsec mean; /* at most, of the seeds */
};

static px_nsec time_until_heard(const struct crowd *c, uint32_t luck)
{
    static const px_nsec tries[] = {0, PX_SEC, 3 * PX_SEC, 6 * PX_SEC};
    struct px_knock *k = table();
    struct px_addr crowd = addr("192.0.2.1:1000"), node = addr("192.0.2.1:900"),
                   was = addr("192.0.2.1:901");
    px_nsec now = 90 * PX_SEC, start = 100 * PX_SEC, next = start;
    if (c->friend != NO_FRIEND)
        px_knock_befriend(k, c->friend == FRIEND_HERE ? &node : &was, PX_SEC);
    px_knock_refused(k, &crowd, PX_SEC);
    for (size_t tried = 0; now < start + 120 * PX_SEC; now += PX_SEC / c->rate) {
        luck = luck * 1664525 + 1013904223;
        crowd.port = (uint16_t)(1000 + (luck >> 8) % c->ports);
        if (now >= next) { /* somewhere between two of theirs */
            px_nsec at = now - (luck >> 8) % (PX_SEC / c->rate);
            if (px_knock_allows(k, &node, INITIAL, at))
                break;
            tried++;
            next = start + tried / 3 * tries[3] + tries[tried % 3] + (luck >> 8) % (PX_SEC / 5);
        }
        (void)px_knock_allows(k, &crowd, INITIAL, now);
    }
    px_knock_free(k);
    return now - start;
}

TEST(who_newly_comes_from_beside_a_flood_is_heard)
{
    enum { SEEDS = 10 };
    static const char *const words[] = {"nowhere", "there before", "at this very port before"};
    static const struct crowd rows[] = {
        {1, 10000, NO_FRIEND, 0},                 /* one program, however fast */
        {50, 10000, NO_FRIEND, 0},                /* or as many as half a hundred */
        {1000, 10000, FRIEND_THERE, 2 * PX_SEC},  /* a thousand, where friends have been */
        {20000, 1000, FRIEND_THERE, 60 * PX_SEC}, /* one that takes every port there is: by luck */
        {20000, 10000, FRIEND_HERE, 0},           /* but not for who comes back from where it was */
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        px_nsec sum = 0;
        for (uint32_t seed = 0; seed < SEEDS; seed++)
            sum += time_until_heard(&rows[i], seed * 77777);
        printf("# %u ports, %u Initials a second, a friend %s: %.1f s\n", rows[i].ports,
               rows[i].rate, words[rows[i].friend], (double)(sum / SEEDS) / (double)PX_SEC);
        CHECK(sum / SEEDS <= rows[i].mean + 10 * PX_MSEC);
    }
}

TEST(a_friend_is_remembered_for_a_day)
{
    struct px_knock *k = table();
    struct px_addr friend = addr("192.0.2.1:900"), crowd = addr("192.0.2.1:1000");
    px_nsec now = PX_SEC;
    px_knock_befriend(k, &friend, now);
    px_knock_refused(k, &crowd, now);
    for (unsigned i = 0; i < 2000; i++, crowd.port++)
        CHECK_INT(px_knock_allows(k, &crowd, INITIAL, now), i < PX_KNOCK_FRIEND_BURST);
    now += PX_SEC;
    for (unsigned i = 0; i < 2000; i++, crowd.port++)
        CHECK_INT(px_knock_allows(k, &crowd, INITIAL, now), i < PX_KNOCK_FRIEND_RATE);
    for (unsigned i = 0; i < 2 * PX_KNOCK_PACKETS; i++) /* nor may it flood */
        CHECK_INT(px_knock_allows(k, &friend, INITIAL, now), i < PX_KNOCK_PACKETS);
    now += PX_KNOCK_FRIEND_TIME;
    for (unsigned i = 0; i < 2000; i++, crowd.port++)
        CHECK_INT(px_knock_allows(k, &crowd, INITIAL, now), i < PX_KNOCK_BURST);
    CHECK(!px_knock_allows(k, &friend, INITIAL, now)); /* anybody's port by now */
    px_knock_free(k);
}

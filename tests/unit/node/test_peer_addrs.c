/* The addresses known of one peer: how many of each source are kept, and which ones go. */
#include "node/peer_addrs.h"

#include "tests/test.h"

static struct px_addr numbered(unsigned i)
{
    return (struct px_addr){.family = PX_ADDR_IP4, .ip = {10, 0, 0, (uint8_t)i}, .port = 1};
}

static bool knows(const struct px_peer_addrs *a, unsigned i)
{
    const struct px_addr addr = numbered(i);
    for (size_t n = 0; n < a->count; n++)
        if (px_addr_eq(&a->all[n].addr, &addr))
            return true;
    return false;
}

TEST(of_each_source_the_latest_few_are_kept)
{
    static const struct {
        enum px_source source;
        unsigned max;
    } rows[] = {{PX_SOURCE_LAN, PX_ADDRS_FOUND_MAX},
                {PX_SOURCE_MDNS, PX_ADDRS_FOUND_MAX},
                {PX_SOURCE_SEEN, PX_ADDRS_SEEN_MAX}};
    for (size_t r = 0; r < PX_ARRAY_LEN(rows); r++) {
        struct px_peer_addrs a = {0};
        for (unsigned i = 1; i <= rows[r].max + 3; i++) {
            struct px_addr addr = numbered(i);
            bool new;
            CHECK_OK(px_peer_addrs_found(&a, &addr, rows[r].source, i * PX_SEC, &new));
            CHECK(new);
            CHECK_INT(a.count, PX_MIN(i, rows[r].max));
            CHECK(knows(&a, i));
        }
        CHECK(!knows(&a, 3) && knows(&a, 4));
        px_peer_addrs_deinit(&a);
    }
}

TEST(of_those_that_were_good_the_latest_few_are_kept)
{
    struct px_peer_addrs a = {0};
    for (unsigned i = 1; i <= PX_ADDRS_BOOK_MAX + 2; i++) {
        struct px_addr addr = numbered(i);
        CHECK_OK(px_peer_addrs_good(&a, &addr, (int64_t)i));
    }
    CHECK_INT(a.count, PX_ADDRS_BOOK_MAX);
    CHECK(!knows(&a, 2) && knows(&a, 3) && knows(&a, PX_ADDRS_BOOK_MAX + 2));
    px_peer_addrs_deinit(&a);
}

TEST(so_many_can_be_given_until_they_are_taken_back)
{
    struct px_peer_addrs a = {0};
    char text[32];
    for (unsigned i = 1; i <= PX_ADDRS_GIVEN_MAX; i++) {
        snprintf(text, sizeof(text), "10.0.0.%u:1", i);
        CHECK_OK(px_peer_addrs_give(&a, text));
    }
    CHECK_ERR(px_peer_addrs_give(&a, "host.example:1"), PX_ELIMIT);
    CHECK_OK(px_peer_addrs_give(&a, "10.0.0.1:1")); /* it is there */
    CHECK_INT(a.count, PX_ADDRS_GIVEN_MAX);
    px_peer_addrs_take_back(&a);
    CHECK_INT(a.count, 0);
    CHECK_OK(px_peer_addrs_give(&a, "host.example:1"));
    px_peer_addrs_deinit(&a);
}

TEST(ways_through_relays_come_last_and_are_replaced_as_a_whole)
{
    static const char two[2][PX_AUTH_ADDR_MAX] = {PX_RELAY_ROUTE "hub", PX_RELAY_ROUTE "spare"};
    struct px_peer_addrs a = {0};
    bool changed;
    CHECK_OK(px_peer_addrs_set_relays(&a, two, 2, &changed));
    CHECK(changed);
    CHECK_OK(px_peer_addrs_give(&a, "10.0.0.1:1"));
    px_peer_addrs_outcome(&a,
                          &(struct px_addr){.ip = {10, 0, 0, 1}, .port = 1, .family = PX_ADDR_IP4},
                          NULL, PX_ETIMEDOUT);
    px_peer_addrs_sort(&a);
    CHECK_INT(a.count, 3);
    CHECK(a.all[0].name == NULL);
    CHECK_INT(px_peer_addr_source(&a.all[1]), PX_SOURCE_RELAY);
    CHECK_OK(px_peer_addrs_set_relays(&a, two, 2, &changed));
    CHECK(!changed);
    CHECK_OK(px_peer_addrs_set_relays(&a, two + 1, 1, &changed));
    CHECK(changed);
    CHECK_INT(a.count, 2);
    CHECK_STR(a.all[1].name, PX_RELAY_ROUTE "spare");
    px_peer_addrs_deinit(&a);
}

TEST(no_address_of_the_allowlist_reads_as_a_way_through_a_relay)
{
    static const char texts[1][PX_AUTH_ADDR_MAX] = {PX_RELAY_ROUTE "hub"};
    struct px_peer_addrs a = {0};
    bool changed;
    CHECK_OK(px_peer_addrs_set_manual(&a, texts, 1, &changed));
    CHECK_INT(a.count, 0);
    CHECK_OK(px_peer_addrs_give(&a, texts[0])); /* this one is for whoever dials */
    CHECK_INT(px_peer_addr_tier(&a.all[0]), 5);
    px_peer_addrs_take_back(&a);
    CHECK_INT(a.count, 0);
    px_peer_addrs_deinit(&a);
}

TEST(circuits_are_no_addresses_to_remember)
{
    struct px_peer_addrs a = {0};
    struct px_addr circuit;
    bool new;
    px_addr_circuit(9, &circuit);
    CHECK(!px_addr_dialable(&circuit));
    CHECK_ERR(px_peer_addrs_found(&a, &circuit, PX_SOURCE_SEEN, PX_SEC, &new), PX_EADDR);
    CHECK_INT(a.count, 0);
}

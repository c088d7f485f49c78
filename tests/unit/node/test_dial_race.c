/* Limits of a race. What it does within them is tested with the peer manager. */
#include "node/dial_race.h"

#include <stdio.h>

#include "node/peer_addrs.h"
#include "tests/test.h"

_Static_assert(PX_AUTH_ADDRS_MAX + PX_ADDRS_GIVEN_MAX + PX_ADDRS_RELAYS_MAX <= PX_RACE_NAMES_MAX,
               "a peer may have more names than a race looks up");

static struct px_addr numbered(unsigned i)
{
    return (struct px_addr){
        .family = PX_ADDR_IP4, .ip = {10, 0, (uint8_t)(i >> 8), (uint8_t)i}, .port = 1};
}

TEST(further_names_than_the_limit_are_not_looked_up)
{
    static struct px_dial_race r;
    char name[32];
    px_dial_race_init(&r, PX_SEC);
    for (int i = 0; i < PX_RACE_NAMES_MAX; i++) {
        snprintf(name, sizeof(name), "host-%d.example:1", i);
        CHECK_INT(px_dial_race_add_name(&r, name, 0), i);
        CHECK_INT(px_dial_race_add_name(&r, name, 0), -1);
    }
    CHECK_INT(px_dial_race_add_name(&r, "one-more.example:1", 0), -1);
    CHECK(!px_dial_race_over(&r));
    for (int i = 0; i < PX_RACE_NAMES_MAX; i++)
        CHECK(px_dial_race_resolved(&r, i, NULL, 0, PX_ENOENT));
    CHECK(!px_dial_race_resolved(&r, PX_RACE_NAMES_MAX, NULL, 0, PX_ENOENT));
    CHECK(px_dial_race_over(&r));
}

TEST(of_each_name_and_in_all_so_many_addresses_race)
{
    static struct px_dial_race r;
    struct px_addr addrs[PX_RACE_PER_NAME_MAX + 1];
    px_dial_race_init(&r, PX_SEC);
    for (unsigned n = 0; n <= PX_RACE_RUNNERS_MAX / PX_RACE_PER_NAME_MAX; n++) {
        char name[32];
        snprintf(name, sizeof(name), "host-%u.example:1", n);
        int index = px_dial_race_add_name(&r, name, 0);
        for (unsigned i = 0; i < PX_ARRAY_LEN(addrs); i++)
            addrs[i] = numbered(100 * n + i);
        CHECK(px_dial_race_resolved(&r, index, addrs, PX_ARRAY_LEN(addrs), 0));
        CHECK_INT(r.count, PX_MIN((n + 1) * PX_RACE_PER_NAME_MAX, PX_RACE_RUNNERS_MAX));
    }
    const struct px_addr more = numbered(9999);
    px_dial_race_add(&r, &more, 0, -1);
    CHECK_INT(r.count, PX_RACE_RUNNERS_MAX);
}

TEST(a_circuit_finds_room_among_however_many_addresses)
{
    static struct px_dial_race r;
    struct px_addr circuit;
    for (int lost = 0; lost < 2; lost++) {
        px_dial_race_init(&r, PX_SEC);
        for (unsigned i = 0; i < PX_RACE_RUNNERS_MAX; i++) {
            const struct px_addr a = numbered(i);
            px_dial_race_add(&r, &a, i == 40 ? 3 : 2, -1);
        }
        struct px_runner *first = px_dial_race_next(&r, PX_SEC);
        px_dial_race_started(&r, first, (struct px_link *)&r, PX_SEC);
        if (lost)
            px_dial_race_lost(&r, first, PX_ETIMEDOUT, PX_SEC);
        px_addr_circuit(7, &circuit);
        px_dial_race_add(&r, &circuit, 5, -1);
        CHECK_INT(r.count, PX_RACE_RUNNERS_MAX);
        CHECK(px_dial_race_deadline(&r) <= PX_SEC);
        struct px_runner *next = px_dial_race_next(&r, PX_SEC);
        CHECK(next != NULL && px_addr_eq(&next->addr, &circuit));
        CHECK(next == (lost ? first : &r.runners[40]));
        px_dial_race_started(&r, next, (struct px_link *)&circuit, PX_SEC);
        CHECK(px_dial_race_find(&r, (struct px_link *)&circuit) == next);
    }
}

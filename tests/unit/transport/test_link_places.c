/* How many places to ask a link remembers, and which one makes room. */
#include "transport/link_places.h"

#include "tests/test.h"

static struct px_addr addr(unsigned n)
{
    return (struct px_addr){.family = PX_ADDR_IP4, .ip = {10, 0, 0, (uint8_t)n}, .port = 5};
}

TEST(so_many_places_are_remembered_and_the_oldest_makes_room)
{
    struct px_link_places p = {.back_at = PX_NEVER};
    for (unsigned n = 1; n <= PX_LINK_PLACES_MAX; n++) {
        struct px_addr a = addr(n);
        CHECK(px_link_places_note(&p, &a, n * PX_SEC) != NULL);
    }
    for (unsigned n = 1; n <= PX_LINK_PLACES_MAX; n++) {
        struct px_addr a = addr(n);
        CHECK(px_link_places_find(&p, &a) != NULL);
    }
    struct px_addr more = addr(PX_LINK_PLACES_MAX + 1), oldest = addr(1), second = addr(2);
    CHECK(px_link_places_note(&p, &more, 100 * PX_SEC) != NULL);
    CHECK(px_link_places_find(&p, &more) != NULL);
    CHECK(px_link_places_find(&p, &oldest) == NULL);
    CHECK(px_link_places_find(&p, &second) != NULL);
}

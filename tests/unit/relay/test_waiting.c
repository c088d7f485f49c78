/* The queue of handshakes: its order, its limits, and who has to stand in it. */
#include "relay/waiting.h"

#include "tests/test.h"

static struct px_path path_of(uint8_t host)
{
    return (struct px_path){.local = {.family = PX_ADDR_IP4, .port = 1},
                            .remote = {.ip = {192, 0, 2, host}, .family = PX_ADDR_IP4, .port = 9}};
}

static struct px_waiting *made(void)
{
    struct px_waiting *w;
    CHECK_OK(px_waiting_new(&w));
    return w;
}

TEST(first_come_first_served_as_they_came)
{
    struct px_waiting *w = made();
    struct px_path path;
    unsigned ecn;
    struct px_slice datagram;
    CHECK(px_waiting_is_empty(w) && !px_waiting_take(w, &path, &ecn, &datagram));
    /* more than once around */
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < PX_WAITING_MAX - 1; i++) {
            uint8_t bytes[2] = {0xc0, (uint8_t)i};
            struct px_path from = path_of((uint8_t)i);
            CHECK_OK(px_waiting_put(w, &from, i % 4, px_slice(bytes, sizeof(bytes))));
        }
        for (unsigned i = 0; i < PX_WAITING_MAX - 1; i++) {
            struct px_path from = path_of((uint8_t)i);
            CHECK(px_waiting_take(w, &path, &ecn, &datagram));
            CHECK(px_addr_eq(&path.remote, &from.remote) && px_addr_eq(&path.local, &from.local));
            CHECK_INT(ecn, i % 4);
            CHECK(datagram.len == 2 && datagram.data[1] == (uint8_t)i);
        }
        CHECK(px_waiting_is_empty(w));
    }
    px_waiting_free(w);
}

TEST(who_is_in_passes_a_crowd_that_knocks)
{
    struct px_waiting *w = made();
    struct px_path knocks = path_of(1), in = path_of(2), path;
    const uint8_t initial[] = {0xc0, 0, 0, 0, 1};
    unsigned ecn;
    struct px_slice datagram;
    CHECK(px_waiting_wants(w, &knocks.remote, 0xc0) && px_waiting_wants(w, &in.remote, 0xe0));
    CHECK(!px_waiting_wants(w, &in.remote, 0x40)); /* a short header */
    CHECK_OK(px_waiting_put(w, &knocks, 0, px_slice(initial, sizeof(initial))));
    CHECK(!px_waiting_wants(w, &in.remote, 0x40));
    CHECK(px_waiting_wants(w, &knocks.remote, 0x40)); /* it must not arrive before the first */
    CHECK(px_waiting_take(w, &path, &ecn, &datagram));
    CHECK(!px_waiting_wants(w, &knocks.remote, 0x40));
    px_waiting_free(w);
}

TEST(the_queue_has_an_end)
{
    static const uint8_t bytes[PX_WAITING_BYTES_MAX + 1];
    struct px_waiting *w = made();
    struct px_path from = path_of(1);
    CHECK_ERR(px_waiting_put(w, &from, 0, px_slice(bytes, sizeof(bytes))), PX_ELIMIT);
    for (unsigned i = 0; i < PX_WAITING_MAX; i++)
        CHECK_OK(px_waiting_put(w, &from, 0, px_slice(bytes, PX_WAITING_BYTES_MAX)));
    CHECK_ERR(px_waiting_put(w, &from, 0, px_slice(bytes, 1)), PX_ELIMIT);
    px_waiting_free(w);
    px_waiting_free(NULL);
}

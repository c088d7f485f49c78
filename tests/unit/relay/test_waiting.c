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
    static struct px_test_rng state;
    struct px_rng rng = px_test_rng(&state, 1);
    struct px_waiting *w;
    CHECK_OK(px_waiting_new(&rng, &w));
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
            CHECK_OK(px_waiting_put(w, &from, &from.remote, i % 4, px_slice(bytes, sizeof(bytes))));
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
    CHECK_OK(px_waiting_put(w, &knocks, &knocks.remote, 0, px_slice(initial, sizeof(initial))));
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
    unsigned ecn, taken = 0;
    struct px_slice datagram;
    CHECK_ERR(px_waiting_put(w, &from, &from.remote, 0, px_slice(bytes, sizeof(bytes))), PX_ELIMIT);
    for (unsigned i = 0; i < PX_WAITING_MAX; i++) {
        from = path_of((uint8_t)(i % 64));
        CHECK_OK(px_waiting_put(w, &from, &from.remote, 0, px_slice(bytes, PX_WAITING_BYTES_MAX)));
    }
    from = path_of(99);
    CHECK_ERR(px_waiting_put(w, &from, &from.remote, 0, px_slice(bytes, 1)), PX_ELIMIT);
    CHECK(px_waiting_take(w, &from, &ecn, &datagram));
    from = path_of(99);
    CHECK_OK(px_waiting_put(w, &from, &from.remote, 0, px_slice(bytes, 1)));
    while (px_waiting_take(w, &from, &ecn, &datagram))
        taken++;
    CHECK_INT(taken, PX_WAITING_MAX);
    px_waiting_free(w);
    px_waiting_free(NULL);
}

TEST(a_source_has_an_eighth_of_the_queue)
{
    static const uint8_t bytes[] = {0xc0};
    struct px_waiting *w = made();
    struct px_path from = path_of(1), pipe = path_of(1), taken;
    unsigned ecn;
    struct px_slice datagram;
    for (unsigned i = 0; i < PX_WAITING_PER_SOURCE; i++) {
        from.remote.port = (uint16_t)(100 + i);
        CHECK_OK(px_waiting_put(w, &from, &from.remote, 0, px_slice(bytes, 1)));
    }
    from.remote.port = 9999;
    CHECK_ERR(px_waiting_put(w, &from, &from.remote, 0, px_slice(bytes, 1)), PX_ELIMIT);
    px_addr_pipe(7, &pipe.remote); /* the same through TCP */
    CHECK_ERR(px_waiting_put(w, &pipe, &from.remote, 0, px_slice(bytes, 1)), PX_ELIMIT);
    struct px_path other = path_of(2);
    CHECK_OK(px_waiting_put(w, &other, &other.remote, 0, px_slice(bytes, 1)));
    CHECK(px_waiting_take(w, &taken, &ecn, &datagram)); /* one of the first ones */
    CHECK_OK(px_waiting_put(w, &pipe, &from.remote, 0, px_slice(bytes, 1)));
    CHECK_ERR(px_waiting_put(w, &from, &from.remote, 0, px_slice(bytes, 1)), PX_ELIMIT);
    px_waiting_free(w);
}

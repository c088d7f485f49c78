/* The core of a pipe: frames in any pieces, the queue against a naive model, the limits. */
#include <stdlib.h>

#include "tests/test.h"
#include "transport/tls_pipe.h"

static struct px_tls_pipe a, b;

static void open_both(void)
{
    px_tls_pipe_init(&a, PX_SEC);
    px_tls_pipe_init(&b, PX_SEC);
}

static void close_both(void)
{
    px_tls_pipe_deinit(&a);
    px_tls_pipe_deinit(&b);
}

static void queue(const void *data, size_t len)
{
    px_tls_pipe_queue(&a, px_slice(data, len), len);
}

static uint8_t wire[PX_TLS_PIPE_QUEUE];

/* Moves all that a has queued to b in pieces; returns how many datagrams came. */
static size_t move(size_t piece, uint8_t *out, size_t *ret_len)
{
    size_t got = 0, n = px_tls_pipe_take(&a, wire, sizeof(wire));
    struct px_slice all = px_slice(wire, n);
    *ret_len = 0;
    while (all.len > 0) {
        struct px_slice part = px_slice_take(all, piece);
        all = px_slice_skip(all, part.len);
        uint8_t *data;
        size_t len;
        int err;
        while ((err = px_tls_pipe_read(&b, &part, PX_SEC, &data, &len)) == 0) {
            memcpy(out + *ret_len, data, len);
            *ret_len += len;
            got++;
        }
        CHECK_ERR(err, PX_EAGAIN);
    }
    return got;
}

TEST(datagrams_come_out_as_they_went_in_whatever_the_pieces)
{
    static const size_t pieces[] = {1, 2, 3, 7, 1501, 1502, 1503, 8192};
    static uint8_t in[4000], out[4000];
    size_t len;
    for (size_t i = 0; i < sizeof(in); i++)
        in[i] = (uint8_t)(i * 31);
    for (size_t i = 0; i < PX_ARRAY_LEN(pieces); i++) {
        open_both();
        queue(in, 1);
        px_tls_pipe_queue(&a, px_slice(in + 1, 3100), PX_TLS_PIPE_DATAGRAM_MAX);
        CHECK_INT(move(pieces[i], out, &len), 4);
        CHECK_INT(len, 3101);
        CHECK(memcmp(in, out, len) == 0);
        CHECK(px_tls_pipe_is_empty(&a));
        close_both();
    }
}

TEST(an_impossible_length_is_an_error)
{
    static const uint8_t bad[][3] = {{0, 0, 1}, {0x05, 0xdd, 1}, {0xff, 0xff, 1}, {'G', 'E', 'T'}};
    for (size_t i = 0; i < PX_ARRAY_LEN(bad); i++) {
        struct px_slice s = px_slice(bad[i], 3);
        uint8_t *data;
        size_t len;
        open_both();
        CHECK_ERR(px_tls_pipe_read(&b, &s, PX_SEC, &data, &len), PX_EPROTO);
        close_both();
    }
}

TEST(what_is_too_long_is_not_queued)
{
    static const uint8_t big[PX_TLS_PIPE_DATAGRAM_MAX + 1];
    open_both();
    queue(big, sizeof(big));
    CHECK(px_tls_pipe_is_empty(&a));
    CHECK_INT(a.stats.dropped, 1);
    close_both();
}

/* Sizes and numbers as if by a list: the newest that fit into the bound, in order. */
TEST(the_oldest_are_dropped_and_the_rest_stays_in_order)
{
    enum { COUNT = 3000 };
    static uint16_t sizes[COUNT];
    static uint8_t out[PX_TLS_PIPE_QUEUE];
    uint8_t one[PX_TLS_PIPE_DATAGRAM_MAX];
    uint32_t seed = 7;
    open_both();
    px_tls_pipe_set_proved(&b, true, PX_SEC);
    memset(one, 0, sizeof(one));
    for (uint16_t i = 0; i < COUNT; i++) {
        seed = seed * 1664525 + 1013904223;
        sizes[i] = (uint16_t)(4 + (seed >> 16) % 1400);
        memcpy(one, &i, sizeof(i));
        queue(one, sizes[i]);
    }
    size_t kept = 0, bytes = 0, len = 0;
    while (kept < COUNT && bytes + 2 + sizes[COUNT - 1 - kept] <= PX_TLS_PIPE_QUEUE)
        bytes += 2u + sizes[COUNT - 1 - kept++];
    CHECK(kept > 100 && kept < COUNT);
    CHECK_INT(a.used, bytes);
    CHECK_INT(a.stats.dropped, COUNT - kept);
    CHECK_INT(move(sizeof(wire), out, &len), kept);
    CHECK_INT(len, bytes - 2 * kept);
    size_t at = 0;
    for (size_t i = COUNT - kept; i < COUNT; i++) {
        uint16_t number;
        memcpy(&number, out + at, sizeof(number));
        CHECK_INT(number, i);
        at += sizes[i];
    }
    close_both();
}

TEST(the_memory_of_a_queue_grows_and_is_given_back)
{
    static const uint8_t one[998];
    static uint8_t out[PX_TLS_PIPE_QUEUE];
    size_t len;
    open_both();
    px_tls_pipe_set_proved(&b, true, PX_SEC);
    CHECK_INT(px_tls_pipe_memory(&a), 0);
    queue(one, sizeof(one));
    CHECK_INT(px_tls_pipe_memory(&a), PX_TLS_PIPE_QUEUE_MIN);
    for (int i = 1; i < 100; i++)
        queue(one, sizeof(one));
    CHECK_INT(px_tls_pipe_memory(&a), 128 * 1024);
    CHECK_INT(a.stats.dropped, 0);
    for (int i = 0; i < 2; i++)
        px_tls_pipe_shrink(&a);
    CHECK_INT(px_tls_pipe_memory(&a), 32 * 1024);
    CHECK_INT(a.used, 32 * 1000);
    CHECK_INT(a.stats.dropped, 68);
    CHECK_INT(move(sizeof(wire), out, &len), 32);
    px_tls_pipe_shrink(&a); /* with nothing in it */
    CHECK_INT(px_tls_pipe_memory(&a), 0);
    for (int i = 0; i < 12; i++) { /* down to nothing, with something in it */
        queue(one, sizeof(one));
        px_tls_pipe_shrink(&a);
        CHECK(a.used <= px_tls_pipe_memory(&a));
    }
    queue(one, sizeof(one));
    CHECK(a.used >= 1000);
    close_both();
}

TEST(only_whole_frames_are_taken)
{
    static const uint8_t one[100];
    uint8_t out[250];
    open_both();
    for (int i = 0; i < 5; i++)
        queue(one, sizeof(one));
    CHECK_INT(px_tls_pipe_take(&a, out, 101), 0);
    CHECK_INT(px_tls_pipe_take(&a, out, sizeof(out)), 204);
    CHECK_INT(px_tls_pipe_take(&a, out, 102), 102);
    CHECK_INT(px_tls_pipe_take(&a, out, sizeof(out)), 204);
    CHECK(px_tls_pipe_is_empty(&a));
    close_both();
}

/* Returns what the last of `count` datagrams of 1024 bytes came to. */
static int feed(size_t count)
{
    uint8_t frame[1026] = {4, 0}, *data;
    size_t len;
    int err = 0;
    for (size_t i = 0; i < count && err == 0; i++) {
        struct px_slice s = px_slice(frame, sizeof(frame));
        err = px_tls_pipe_read(&b, &s, PX_SEC, &data, &len);
    }
    return err;
}

TEST(an_unproved_pipe_takes_64_kib)
{
    open_both();
    CHECK_OK(feed(63));
    CHECK_ERR(feed(1), PX_EOVERRUN);
    close_both();
    open_both();
    CHECK_OK(feed(60));
    px_tls_pipe_set_proved(&b, true, PX_SEC);
    CHECK_OK(feed(1000));
    px_tls_pipe_set_proved(&b, false, PX_SEC);
    CHECK_OK(feed(63));
    CHECK_ERR(feed(1), PX_EOVERRUN);
    close_both();
}

TEST(an_unproved_pipe_lasts_5_s_and_a_silent_one_60)
{
    open_both();
    CHECK_INT(px_tls_pipe_deadline(&b), 6 * PX_SEC);
    CHECK_OK(px_tls_pipe_check(&b, 6 * PX_SEC - 1));
    CHECK_ERR(px_tls_pipe_check(&b, 6 * PX_SEC), PX_EHANDSHAKE_TIMEOUT);
    px_tls_pipe_set_proved(&b, true, 3 * PX_SEC);
    CHECK_INT(px_tls_pipe_deadline(&b), 61 * PX_SEC);
    CHECK_OK(px_tls_pipe_check(&b, 61 * PX_SEC - 1));
    CHECK_ERR(px_tls_pipe_check(&b, 61 * PX_SEC), PX_ETIMEDOUT);
    px_tls_pipe_set_proved(&b, false, 30 * PX_SEC);
    CHECK_INT(px_tls_pipe_deadline(&b), 35 * PX_SEC);
    close_both();
}

/* One NAR through the relay on a virtual clock; the hasher's thread and loop are real. */
#include "node/nix/nar_relay.h"

#include "tests/test.h"
#include "tests/unit/node/fake_peer.h"

#define SIZE  (1024u * 1024)
#define STALL (10 * PX_SEC)

static struct {
    uv_loop_t loop;
    struct px_nar_hasher *hasher;
    struct fake_peer peer;
    struct fake_path path;
    struct fake_path *paths[1];
    struct px_nar_relay *relay;
    px_nsec now;
    unsigned ready, wakes, failed;
    enum px_nar_fault fault;
    uint8_t out[SIZE];
    size_t out_len;
    bool hasher_closed;
} t;

static void on_ready(void *ctx)
{
    (void)ctx;
    t.ready++;
}

static void on_wake(void *ctx)
{
    (void)ctx;
    t.wakes++;
}

static void on_failed(void *ctx, enum px_nar_fault fault)
{
    (void)ctx;
    t.failed++;
    t.fault = fault;
}

static const struct px_nar_relay_ops ops = {on_ready, on_wake, on_failed};

static void setup(size_t size, uint64_t first, bool hold)
{
    memset(&t, 0, sizeof(t));
    t.now = 100 * PX_SEC;
    CHECK_OK(px_crypto_init());
    CHECK_INT(uv_loop_init(&t.loop), 0);
    CHECK_OK(px_nar_hasher_new(&t.loop, &t.hasher));
    fake_path_init(&t.path, 1, size, NULL);
    t.paths[0] = &t.path;
    fake_init(&t.peer, 0, t.paths, 1);
    char path[128];
    snprintf(path, sizeof(path), "/nar/x.nar?hash=%s", t.path.hash_part);
    struct px_nar_relay_config c = {.hasher = t.hasher,
                                    .peer = &t.peer.pub,
                                    .path = px_slice_cstr(path),
                                    .nar_size = size,
                                    .first = first,
                                    .hold = hold,
                                    .stall = STALL};
    memcpy(c.nar_hash, t.path.nar_hash, 32);
    CHECK_OK(px_nar_relay_new(&c, t.now, &ops, NULL, &t.relay));
}

static void on_hasher_closed(void *ctx)
{
    (void)ctx;
    t.hasher_closed = true;
}

static void teardown(void)
{
    px_nar_relay_free(t.relay);
    CHECK(px_list_empty(&t.peer.fetches));
    px_nar_hasher_close(t.hasher, on_hasher_closed, NULL);
    (void)uv_run(&t.loop, UV_RUN_DEFAULT);
    CHECK(t.hasher_closed);
    CHECK_INT(uv_loop_close(&t.loop), 0);
    fake_path_deinit(&t.path);
}

static void run(void)
{
    (void)uv_run(&t.loop, UV_RUN_NOWAIT);
    if (px_nar_relay_dirty(t.relay) || px_nar_relay_next(t.relay) <= t.now)
        px_nar_relay_run(t.relay, t.now);
}

/* Takes at most n bytes, as the reader would. */
static void take(size_t n)
{
    size_t got = 0;
    if (t.ready > 0 && t.failed == 0)
        CHECK_OK(px_nar_relay_read(t.relay, t.out + t.out_len, PX_MIN(n, SIZE - t.out_len), &got));
    t.out_len += got;
}

/* Until the peer has nothing to do and the hasher has caught up, reading all there is. */
static void settle(void)
{
    for (int idle = 0; idle < 50; idle++) {
        if (fake_pump(&t.peer))
            idle = 0;
        run();
        size_t before = t.out_len;
        take(SIZE);
        if (t.out_len > before)
            idle = 0;
        else
            uv_sleep(1); /* the hasher's thread may be busy */
    }
}

TEST(all_of_it_arrives_in_order)
{
    static const size_t sizes[] = {1,
                                   100,
                                   PX_NAR_HASH_INLINE,
                                   PX_NAR_TAIL,
                                   PX_NAR_TAIL + 1,
                                   PX_NAR_BLOCK_SIZE,
                                   PX_NAR_BLOCK_SIZE + 1,
                                   SIZE};
    for (size_t i = 0; i < 2 * PX_ARRAY_LEN(sizes); i++) {
        size_t size = sizes[i / 2];
        setup(size, 0, i % 2);
        for (int k = 0; k < 40 && t.out_len < size; k++) /* a loaded machine hashes when it can */
            settle();
        CHECK_INT(t.ready, 1);
        CHECK_INT(t.failed, 0);
        CHECK_INT(t.out_len, size);
        CHECK(memcmp(t.out, t.path.nar, size) == 0);
        CHECK(px_nar_relay_next(t.relay) == PX_NEVER);
        CHECK(px_nar_relay_verified(t.relay));
        CHECK_INT(t.peer.pub.nar_received, size);
        teardown();
    }
}

TEST(what_came_of_a_bad_nar_counts_as_received_but_not_as_verified)
{
    static const struct {
        enum fake_mode mode;
        uint64_t received;
    } rows[] = {
        {FAKE_LYING, SIZE}, {FAKE_SHORT, SIZE / 2}, {FAKE_RESET, SIZE / 2}, {FAKE_MISSING, 0}};
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        setup(SIZE, 0, false);
        t.peer.mode = rows[i].mode;
        t.peer.at = SIZE / 2;
        settle();
        CHECK_INT(t.failed, 1);
        CHECK(!px_nar_relay_verified(t.relay));
        CHECK_INT(t.peer.pub.nar_received, rows[i].received);
        teardown();
    }
}

TEST(a_prefix_is_hashed_but_not_read)
{
    static const size_t firsts[] = {1, PX_NAR_BLOCK_SIZE, SIZE / 2 + 7, SIZE - 1};
    for (size_t i = 0; i < PX_ARRAY_LEN(firsts); i++) {
        setup(SIZE, firsts[i], false);
        settle();
        CHECK_INT(t.out_len, SIZE - firsts[i]);
        CHECK(memcmp(t.out, t.path.nar + firsts[i], t.out_len) == 0);
        teardown();
    }
}

TEST(the_tail_waits_for_the_hash)
{
    setup(SIZE, 0, false);
    t.peer.mode = FAKE_STALL;
    t.peer.at = SIZE - 1;
    settle();
    CHECK_INT(t.out_len, SIZE - PX_NAR_TAIL);
    t.peer.mode = FAKE_HONEST;
    settle();
    CHECK_INT(t.out_len, SIZE);
    teardown();
}

TEST(a_held_nar_is_promised_when_verified)
{
    setup(SIZE, 0, true);
    t.peer.mode = FAKE_STALL;
    t.peer.at = SIZE - 1;
    settle();
    CHECK_INT(t.ready, 0);
    t.peer.mode = FAKE_HONEST;
    settle();
    CHECK_INT(t.ready, 1);
    CHECK_INT(t.out_len, SIZE);
    teardown();
}

TEST(a_held_nar_that_takes_long_is_streamed)
{
    setup(SIZE, 0, true);
    t.peer.mode = FAKE_STALL;
    t.peer.at = SIZE / 2;
    settle();
    t.now += PX_NAR_HOLD_TIME;
    CHECK(px_nar_relay_next(t.relay) <= t.now);
    settle();
    CHECK_INT(t.ready, 1);
    CHECK_INT(t.out_len, SIZE / 2);
    t.peer.mode = FAKE_HONEST;
    settle();
    CHECK_INT(t.out_len, SIZE);
    teardown();
}

TEST(faults_are_told_apart)
{
    static const struct {
        enum fake_mode mode;
        uint64_t at;
        enum px_nar_fault fault;
    } rows[] = {
        {FAKE_LYING, 5, PX_NAR_LIE},       {FAKE_SHORT, 5, PX_NAR_SHORT},
        {FAKE_LONG, 0, PX_NAR_LONG},       {FAKE_RESET, 5, PX_NAR_RESET},
        {FAKE_MISSING, 0, PX_NAR_REFUSED}, {FAKE_LENGTH, 0, PX_NAR_WRONG_LENGTH},
        {FAKE_STALL, 5, PX_NAR_STALLED},   {FAKE_SILENT, 0, PX_NAR_STALLED},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        setup(100001, 0, true);
        t.peer.mode = rows[i].mode;
        t.peer.at = rows[i].at;
        settle();
        t.now += STALL;
        settle();
        CHECK_INT(t.failed, 1);
        CHECK_INT(t.fault, rows[i].fault);
        CHECK_INT(t.ready, 0); /* the reader has been promised nothing */
        size_t n;
        CHECK_ERR(px_nar_relay_read(t.relay, t.out, 1, &n), PX_EIO);
        CHECK(px_nar_fault_demerits(t.fault) > 0);
        teardown();
    }
}

TEST(a_slow_reader_is_no_stall)
{
    setup(SIZE, 0, false);
    for (int i = 0; i < 100; i++) {
        (void)fake_pump(&t.peer);
        run();
    }
    for (int i = 0; i < 5; i++) {
        t.now += STALL;
        run();
    }
    CHECK_INT(t.failed, 0);
    CHECK(px_nar_relay_next(t.relay) > t.now); /* and no busy loop */
    /* no credit for what nobody takes */
    CHECK_INT(fake_first(&t.peer)->sent, FAKE_WINDOW);
    settle();
    CHECK_INT(t.out_len, SIZE);
    teardown();
}

TEST(credit_is_given_for_what_was_taken)
{
    setup(SIZE, 0, false);
    for (int i = 0; i < 100; i++) {
        (void)fake_pump(&t.peer);
        run();
    }
    take(1000);
    run();
    CHECK_INT(fake_first(&t.peer)->credit, FAKE_WINDOW + 1000);
    teardown();
}

/* A NAR of no length anybody would wait for; its peer says what the test tells it to. */
static struct px_cache_fetch *endless(void)
{
    setup(SIZE, 0, false);
    px_nar_relay_free(t.relay);
    struct px_nar_relay_config c = {.hasher = t.hasher,
                                    .peer = &t.peer.pub,
                                    .path = PX_SLICE_LIT("/nar/x"),
                                    .nar_size = 1ull << 40,
                                    .stall = STALL};
    t.peer.mode = FAKE_MANUAL;
    CHECK_OK(px_nar_relay_new(&c, t.now, &ops, NULL, &t.relay));
    struct px_cache_fetch *f = fake_first(&t.peer);
    fake_respond(f, 200, PX_H3_NO_LENGTH);
    return f;
}

/* The peer may run ahead of the hashing thread by so much, however much the reader takes. */
TEST(no_credit_is_given_while_much_is_unhashed)
{
    static uint8_t some[64 * 1024];
    struct px_cache_fetch *f = endless();
    const uint64_t window = f->credit;
    uint64_t taken = 0;
    for (size_t got; taken < 2 * PX_NAR_HASH_BACKLOG; taken += got) {
        fake_data(f, px_slice(some, sizeof(some)));
        /* the loop does not turn: what was hashed is not heard of */
        px_nar_relay_run(t.relay, t.now);
        CHECK_OK(px_nar_relay_read(t.relay, t.out, sizeof(some), &got));
        px_nar_relay_run(t.relay, t.now);
        if (taken + got < PX_NAR_HASH_BACKLOG / 2)
            CHECK_INT(f->credit, window + taken + got);
    }
    /* whole blocks are hashed: the last one is still being filled */
    CHECK(f->credit > window + PX_NAR_HASH_BACKLOG / 2);
    CHECK(f->credit <= window + PX_NAR_HASH_BACKLOG + 2 * PX_NAR_BLOCK_SIZE);
    for (int i = 0; i < 2000 && f->credit < window + taken; i++) {
        uv_sleep(1); /* the hasher's thread */
        run();
    }
    CHECK_INT(f->credit, window + taken);
    CHECK_INT(t.failed, 0);
    teardown();
}

TEST(a_source_that_ignores_credit_is_cut)
{
    static uint8_t junk[1024 * 1024];
    struct px_cache_fetch *f = endless();
    for (size_t i = 0; i <= PX_NAR_UNREAD_MAX / sizeof(junk) && t.failed == 0; i++) {
        fake_data(f, px_slice(junk, sizeof(junk)));
        run();
    }
    CHECK_INT(t.failed, 1);
    CHECK_INT(t.fault, PX_NAR_OVERRUN);
    teardown();
}

TEST(a_peer_without_free_streams_is_asked_again)
{
    memset(&t, 0, sizeof(t));
    setup(1000, 0, true);
    px_nar_relay_free(t.relay);
    t.peer.busy = 3;
    struct px_nar_relay_config c = {.hasher = t.hasher,
                                    .peer = &t.peer.pub,
                                    .path = PX_SLICE_LIT("/nar/x?hash=1000000000000000000000000000"
                                                         "0000"),
                                    .nar_size = 1000,
                                    .hold = true,
                                    .stall = STALL};
    memcpy(c.nar_hash, t.path.nar_hash, 32);
    CHECK_OK(px_nar_relay_new(&c, t.now, &ops, NULL, &t.relay));
    for (int i = 0; i < 2; i++) {
        CHECK_INT(px_nar_relay_next(t.relay), t.now + PX_NAR_RETRY);
        t.now += PX_NAR_RETRY;
        run();
    }
    px_nar_relay_peer_ready(t.relay); /* no need to wait any longer */
    CHECK_INT(px_nar_relay_next(t.relay), 0);
    run();
    CHECK_INT(t.peer.gets, 2);
    settle();
    CHECK_INT(t.failed, 0);
    CHECK_INT(t.out_len, 1000);
    teardown();
}

/* A peer that streams to many already says 503: nix was told that the NAR is here, so it is worth
 * the wait. */
TEST(a_busy_peer_is_asked_again_for_a_while)
{
    for (int how = 0; how < 2; how++) {
        setup(SIZE, 0, how == 0);
        t.peer.refusals = 3;
        for (int i = 0; i < 3; i++) {
            settle();
            CHECK_INT(t.peer.nar_gets, (unsigned)i + 1);
            CHECK_INT(px_nar_relay_next(t.relay), t.now + PX_NAR_BUSY_RETRY);
            t.now += PX_NAR_BUSY_RETRY;
        }
        settle();
        CHECK_INT(t.failed, 0);
        CHECK_INT(t.out_len, SIZE);
        teardown();
    }
    setup(SIZE, 0, false);
    t.peer.refusals = UINT32_MAX;
    px_nsec begin = t.now;
    while (t.failed == 0 && t.now < begin + 2 * PX_NAR_BUSY_TIME) {
        while (fake_pump(&t.peer))
            run();
        t.now += PX_NAR_BUSY_RETRY;
        run();
    }
    CHECK_INT(t.fault, PX_NAR_BUSY);
    CHECK_INT(t.ready, 0);
    teardown();
}

/* A byte now and then is no progress: nix would wait for years. */
TEST(a_source_that_drips_is_given_up_and_a_slow_one_is_not)
{
    static const struct {
        size_t bytes; /* a second */
        bool fails;
    } rows[] = {{1, true}, {PX_NAR_PACE / 2, true}, {2 * PX_NAR_PACE, false}};
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        setup(SIZE, 0, false);
        t.peer.mode = FAKE_MANUAL;
        struct px_cache_fetch *f = fake_first(&t.peer);
        fake_respond(f, 200, SIZE);
        run();
        for (int s = 0; s < 60 && t.failed == 0; s++) {
            fake_data(f, px_slice(t.path.nar + f->sent, rows[i].bytes));
            run();
            take(SIZE);
            run();
            t.now += PX_SEC;
            run();
        }
        CHECK_INT(t.failed, rows[i].fails);
        if (rows[i].fails)
            CHECK_INT(t.fault, PX_NAR_STALLED);
        teardown();
    }
}

TEST(a_peer_that_is_gone_is_not_touched)
{
    setup(SIZE, 0, false);
    t.peer.mode = FAKE_STALL;
    t.peer.at = SIZE / 2;
    settle();
    fake_break(&t.peer, PX_ECLOSED);
    px_nar_relay_peer_gone(t.relay);
    t.peer.pub.ops = NULL;
    run();
    CHECK_INT(t.failed, 1);
    CHECK_INT(t.fault, PX_NAR_RESET);
    teardown();
}

TEST(a_relay_freed_early_leaves_nothing)
{
    setup(SIZE, 0, false);
    for (int i = 0; i < 20; i++) { /* blocks are at the hasher */
        (void)fake_pump(&t.peer);
        px_nar_relay_run(t.relay, t.now);
    }
    teardown();
}

TEST(blocks_are_used_again_and_at_most_so_many_kept)
{
    struct px_nar_block *b[PX_NAR_SPARES_MAX + 1], *again[PX_NAR_SPARES_MAX];
    setup(SIZE, 0, false); /* spares live as long as there is a hash */
    for (size_t i = 0; i < PX_ARRAY_LEN(b); i++) {
        b[i] = px_nar_block_new(t.hasher, PX_NAR_BLOCK_SIZE);
        CHECK(b[i] != NULL);
        b[i]->len = 1;
    }
    for (size_t i = 0; i < PX_ARRAY_LEN(b); i++) /* the last one is too many */
        px_nar_block_unref(b[i]);
    for (size_t i = 0; i < PX_ARRAY_LEN(again); i++) {
        again[i] = px_nar_block_new(t.hasher, PX_NAR_BLOCK_SIZE);
        CHECK(again[i] == b[PX_NAR_SPARES_MAX - 1 - i]);
        CHECK_INT(again[i]->len, 0);
    }
    for (size_t i = 0; i < PX_ARRAY_LEN(again); i++)
        px_nar_block_unref(again[i]);
    struct px_nar_block *odd = px_nar_block_new(t.hasher, PX_NAR_BLOCK_SIZE - 1);
    CHECK(odd != NULL);
    px_nar_block_unref(odd);
    teardown();
}

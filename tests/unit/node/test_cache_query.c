/* Rounds on a virtual clock: answers in any order, deadlines, coalescing, losers. */
#include "node/nix/cache_query.h"

#include "tests/test.h"
#include "tests/unit/node/fake_peer.h"

#define PEERS 3

static struct {
    struct px_cache_queries *q;
    struct fake_peer peers[PEERS];
    size_t connected;
    struct fake_path good, other;
    struct fake_path *paths[2];
    struct px_nix_secret_key key;
    struct px_nix_public_key pub;
    const struct px_cache_peer *blamed;
    unsigned rejected;
    enum px_narinfo_fault fault;
    const struct px_cache_peer *rejected_peer;
} t;

struct outcome {
    unsigned calls;
    bool hit;
    struct px_cache_peer *from;
};

static size_t list_peers(void *ctx, struct px_cache_peer **ret, size_t cap)
{
    (void)ctx;
    size_t n = PX_MIN(t.connected, cap);
    CHECK_INT(cap, PX_CACHE_QUERY_PEERS_MAX); /* room for so many, and no more are told */
    for (size_t i = 0; i < n; i++)
        ret[i] = &t.peers[i].pub;
    return n;
}

static bool usable(void *ctx, const struct px_cache_peer *p, const uint8_t nar_hash[32])
{
    (void)ctx;
    (void)nar_hash;
    return p != t.blamed;
}

static void rejected(void *ctx, struct px_cache_peer *p, struct px_slice hash_part,
                     enum px_narinfo_fault fault)
{
    (void)ctx;
    (void)hash_part;
    t.rejected_peer = p;
    t.rejected++;
    t.fault = fault;
}

static void setup(size_t connected)
{
    static struct px_test_rng seed;
    const struct px_rng rng = px_test_rng(&seed, 1);
    memset(&t, 0, sizeof(t));
    CHECK_OK(px_crypto_init());
    CHECK_OK(px_nix_key_generate("test-1", &rng, &t.key));
    px_nix_secret_key_public(&t.key, &t.pub);
    fake_path_init(&t.good, 1, 1000, &t.key);
    fake_path_init(&t.other, 2, 1000, &t.key);
    t.paths[0] = &t.good;
    t.paths[1] = &t.other;
    t.connected = connected;
    for (uint8_t i = 0; i < PEERS; i++) {
        fake_init(&t.peers[i], i, t.paths, 2);
        t.peers[i].mode = FAKE_MANUAL;
    }
    const struct px_cache_queries_config c = {
        .policy = {.store_dir = PX_SLICE_LIT("/nix/store"), .keys = &t.pub, .key_count = 1},
        .deadline = 250 * PX_MSEC,
        .peers = list_peers,
        .usable = usable,
        .rejected = rejected};
    CHECK_OK(px_cache_queries_new(&c, &t.q));
}

static void teardown(void)
{
    px_cache_queries_free(t.q);
    for (size_t i = 0; i < PEERS; i++)
        CHECK(px_list_empty(&t.peers[i].fetches)); /* nothing left under way */
    fake_path_deinit(&t.good);
    fake_path_deinit(&t.other);
}

static void done(void *ctx, const struct px_path_info *info, struct px_cache_peer *from)
{
    struct outcome *o = ctx;
    o->calls++;
    o->hit = info != NULL;
    o->from = from;
}

static int ask(const struct fake_path *p, const uint8_t *nar_hash, px_nsec now, struct outcome *o,
               struct px_cache_waiter **w)
{
    *o = (struct outcome){0};
    return px_cache_query(t.q, now, px_slice(p->hash_part, PX_STORE_HASH_LEN), nar_hash, done, o,
                          w);
}

enum act { GOOD, MISSING, BAD, BROKEN, NOTHING };

static void act(struct fake_peer *p, enum act what)
{
    if (px_list_empty(&p->fetches))
        return; /* lost already */
    struct px_cache_fetch *f = fake_first(p);
    switch (what) {
    case GOOD:
        fake_answer(f, 200, px_buf_slice(&t.good.narinfo));
        break;
    case MISSING:
        fake_answer(f, 404, px_slice(NULL, 0));
        break;
    case BAD:
        fake_answer(f, 200, PX_SLICE_LIT("StorePath: nonsense\n"));
        break;
    case BROKEN:
        fake_end(f, PX_ECLOSED);
        break;
    case NOTHING:
        break;
    }
}

TEST(first_acceptable_answer_wins_in_any_order)
{
    static const struct {
        int order[PEERS];
        enum act what[PEERS]; /* of each peer */
        int winner;           /* -1: a miss */
        unsigned rejected;
        bool at_deadline;
    } rows[] = {
        {{0, 1, 2}, {GOOD, GOOD, GOOD}, 0, 0, false},
        {{2, 1, 0}, {GOOD, GOOD, GOOD}, 2, 0, false},
        {{1, 0, 2}, {GOOD, MISSING, GOOD}, 0, 0, false},
        {{0, 1, 2}, {BAD, MISSING, GOOD}, 2, 1, false},
        {{0, 1, 2}, {BAD, BAD, GOOD}, 2, 2, false},
        {{0, 1, 2}, {BROKEN, BROKEN, GOOD}, 2, 0, false},
        {{0, 1, 2}, {MISSING, MISSING, MISSING}, -1, 0, false},
        {{0, 1, 2}, {BAD, BROKEN, MISSING}, -1, 1, false},
        {{0, 1, 2}, {BAD, NOTHING, MISSING}, -1, 1, true},
        {{0, 1, 2}, {NOTHING, NOTHING, NOTHING}, -1, 0, true},
        {{0, 1, 2}, {NOTHING, NOTHING, GOOD}, 2, 0, false},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        struct px_cache_waiter *w;
        struct outcome o;
        setup(PEERS);
        CHECK_OK(ask(&t.good, NULL, 1000, &o, &w));
        for (size_t k = 0; k < PEERS; k++) {
            CHECK_INT(t.peers[k].gets, 1); /* all at once */
            act(&t.peers[rows[i].order[k]], rows[i].what[rows[i].order[k]]);
            CHECK(o.calls == 0 || k > 0);
            px_cache_queries_run(t.q, 2000);
        }
        CHECK_INT(o.calls, rows[i].at_deadline ? 0 : 1);
        if (rows[i].at_deadline) {
            CHECK_INT(px_cache_queries_next(t.q), 1000 + 250 * PX_MSEC);
            px_cache_queries_run(t.q, 1000 + 250 * PX_MSEC - 1);
            CHECK_INT(o.calls, 0);
            px_cache_queries_run(t.q, 1000 + 250 * PX_MSEC);
            CHECK_INT(o.calls, 1);
        }
        CHECK_INT(o.hit, rows[i].winner >= 0);
        CHECK(o.from == (rows[i].winner >= 0 ? &t.peers[rows[i].winner].pub : NULL));
        CHECK_INT(t.rejected, rows[i].rejected);
        CHECK(px_cache_queries_next(t.q) == PX_NEVER);
        teardown();
    }
}

TEST(nobody_connected_is_known_at_once)
{
    struct px_cache_waiter *w;
    struct outcome o;
    setup(0);
    CHECK_ERR(ask(&t.good, NULL, 0, &o, &w), PX_ENOENT);
    teardown();
}

TEST(the_same_hash_is_asked_once)
{
    struct px_cache_waiter *w[3];
    struct outcome o[3];
    setup(2);
    CHECK_OK(ask(&t.good, NULL, 0, &o[0], &w[0]));
    CHECK_OK(ask(&t.good, NULL, 5, &o[1], &w[1]));
    CHECK_OK(ask(&t.other, NULL, 5, &o[2], &w[2]));
    CHECK_INT(t.peers[0].gets, 2);
    px_cache_query_leave(t.q, w[0]);
    act(&t.peers[0], GOOD);
    px_cache_queries_run(t.q, 10);
    CHECK_INT(o[0].calls, 0);
    CHECK_INT(o[1].calls, 1);
    CHECK(o[1].hit);
    CHECK_INT(o[2].calls, 0);
    px_cache_query_leave(t.q, w[2]);
    px_cache_queries_run(t.q, 11);
    teardown();
}

TEST(a_round_nobody_waits_for_is_cancelled)
{
    struct px_cache_waiter *w;
    struct outcome o;
    setup(2);
    CHECK_OK(ask(&t.good, NULL, 0, &o, &w));
    px_cache_query_leave(t.q, w);
    CHECK(px_cache_queries_next(t.q) == 0);
    px_cache_queries_run(t.q, 1);
    CHECK_INT(t.peers[0].cancels + t.peers[1].cancels, 2);
    CHECK_INT(o.calls, 0);
    teardown();
}

TEST(answers_from_inside_get_are_taken)
{
    struct px_cache_waiter *w;
    struct outcome o;
    setup(1);
    t.peers[0].mode = FAKE_HONEST;
    t.peers[0].instant = true;
    CHECK_OK(ask(&t.good, NULL, 0, &o, &w));
    CHECK_INT(o.calls, 0); /* never before px_cache_query returns */
    px_cache_queries_run(t.q, 1);
    CHECK_INT(o.calls, 1);
    CHECK(o.hit);
    teardown();
}

TEST(a_peer_without_free_streams_is_tried_again)
{
    struct px_cache_waiter *w;
    struct outcome o;
    setup(1);
    t.peers[0].busy = 2;
    CHECK_OK(ask(&t.good, NULL, 0, &o, &w));
    CHECK_INT(t.peers[0].gets, 0);
    px_nsec now = 0;
    for (int i = 0; i < 2; i++) {
        CHECK(px_cache_queries_next(t.q) <= now + PX_CACHE_QUERY_RETRY);
        now = px_cache_queries_next(t.q);
        px_cache_queries_run(t.q, now);
    }
    CHECK_INT(t.peers[0].gets, 1);
    act(&t.peers[0], GOOD);
    px_cache_queries_run(t.q, now);
    CHECK(o.calls == 1 && o.hit);
    teardown();
}

TEST(a_peer_that_has_streams_again_is_asked_at_once)
{
    struct px_cache_waiter *w;
    struct outcome o;
    setup(1);
    t.peers[0].busy = 1;
    CHECK_OK(ask(&t.good, NULL, 7, &o, &w));
    CHECK(px_cache_queries_next(t.q) > 7);
    px_cache_queries_peer_ready(t.q);
    CHECK(px_cache_queries_next(t.q) <= 7);
    px_cache_queries_run(t.q, 7);
    CHECK_INT(t.peers[0].gets, 1);
    act(&t.peers[0], GOOD);
    px_cache_queries_run(t.q, 7);
    CHECK(o.calls == 1 && o.hit);
    px_cache_queries_peer_ready(t.q); /* nobody waits */
    CHECK(px_cache_queries_next(t.q) == PX_NEVER);
    teardown();
}

TEST(a_nar_round_takes_the_asked_nar_and_prefers_the_unblemished)
{
    struct px_cache_waiter *w;
    struct outcome o;
    uint8_t another[32] = {1};
    setup(3);
    CHECK_OK(ask(&t.good, another, 0, &o, &w));
    for (size_t i = 0; i < PEERS; i++)
        act(&t.peers[i], GOOD);
    px_cache_queries_run(t.q, 1);
    CHECK(o.calls == 1 && !o.hit);
    CHECK_INT(t.fault, PX_NARINFO_OTHER_NAR);

    t.peers[0].pub.demerits = 2;
    t.peers[1].pub.demerits = 1;
    CHECK_OK(ask(&t.good, t.good.nar_hash, 0, &o, &w));
    act(&t.peers[0], GOOD);
    px_cache_queries_run(t.q, 1);
    CHECK_INT(o.calls, 0);
    act(&t.peers[2], MISSING);
    px_cache_queries_run(t.q, 1);
    CHECK_INT(o.calls, 0);
    act(&t.peers[1], GOOD);
    px_cache_queries_run(t.q, 1);
    CHECK(o.calls == 1 && o.from == &t.peers[1].pub);

    CHECK_OK(ask(&t.good, t.good.nar_hash, 0, &o, &w)); /* better than nothing at the deadline */
    act(&t.peers[0], GOOD);
    px_cache_queries_run(t.q, 250 * PX_MSEC);
    CHECK(o.calls == 1 && o.from == &t.peers[0].pub);
    teardown();
}

TEST(better_than_nothing_is_taken_when_the_head_start_is_over)
{
    struct px_cache_waiter *w;
    struct outcome o[2];
    setup(2);
    t.peers[0].pub.demerits = 1;
    CHECK_OK(ask(&t.other, NULL, 0, &o[0], &w)); /* in front of it in the order */
    CHECK_OK(ask(&t.good, t.good.nar_hash, 1, &o[1], &w));
    fake_answer(PX_CONTAINER_OF(t.peers[0].fetches.prev, struct px_cache_fetch, link), 200,
                px_buf_slice(&t.good.narinfo));
    px_cache_queries_run(t.q, 2);
    CHECK_INT(px_cache_queries_next(t.q), 1 + PX_CACHE_HEAD_START);
    px_cache_queries_run(t.q, PX_CACHE_HEAD_START);
    CHECK_INT(o[1].calls, 0);
    px_cache_queries_run(t.q, 1 + PX_CACHE_HEAD_START);
    CHECK(o[1].calls == 1 && o[1].from == &t.peers[0].pub);
    CHECK_INT(o[0].calls, 0);
    px_cache_queries_run(t.q, 250 * PX_MSEC);
    CHECK_INT(o[0].calls, 1);
    teardown();
}

/* Peer 0 has a bad history, peers 1 and 2 have none or a good one. */
enum { AT = 1000 }; /* when the round begins */

static struct outcome *begin_with_one_bad(const uint8_t *nar_hash)
{
    static struct outcome o;
    struct px_cache_waiter *w;
    setup(3);
    t.peers[0].pub.demerits = PX_CACHE_PEER_BAD;
    t.peers[1].pub.demerits = PX_CACHE_PEER_BAD - 1;
    CHECK_OK(ask(&t.good, nar_hash, AT, &o, &w));
    CHECK_INT(t.peers[0].gets, 0);
    CHECK_INT(t.peers[1].gets, 1);
    CHECK_INT(t.peers[2].gets, 1);
    return &o;
}

static struct px_cache_queries_stats stats(void)
{
    struct px_cache_queries_stats s;
    px_cache_queries_stats(t.q, &s);
    return s;
}

TEST(a_peer_with_a_bad_history_is_asked_a_head_start_later)
{
    struct outcome *o = begin_with_one_bad(NULL);
    CHECK_INT(px_cache_queries_next(t.q), AT + PX_CACHE_HEAD_START);
    px_cache_queries_run(t.q, AT + PX_CACHE_HEAD_START - 1);
    CHECK_INT(t.peers[0].gets, 0);
    px_cache_queries_run(t.q, AT + PX_CACHE_HEAD_START);
    CHECK_INT(t.peers[0].gets, 1);
    CHECK_INT(stats().late, 1);
    act(&t.peers[0], GOOD); /* and then is as good as any */
    px_cache_queries_run(t.q, AT + PX_CACHE_HEAD_START);
    CHECK(o->calls == 1 && o->from == &t.peers[0].pub);
    teardown();
}

TEST(a_head_start_does_not_move_the_deadline)
{
    struct outcome *o = begin_with_one_bad(NULL);
    px_cache_queries_run(t.q, AT + PX_CACHE_HEAD_START);
    CHECK_INT(px_cache_queries_next(t.q), AT + 250 * PX_MSEC);
    px_cache_queries_run(t.q, AT + 250 * PX_MSEC);
    CHECK(o->calls == 1 && !o->hit);
    teardown();
}

TEST(a_bad_peer_is_spared_when_a_good_one_has_it)
{
    struct outcome *o = begin_with_one_bad(NULL);
    act(&t.peers[2], GOOD);
    px_cache_queries_run(t.q, AT + 1);
    CHECK(o->calls == 1 && o->from == &t.peers[2].pub);
    CHECK_INT(t.peers[0].gets, 0);
    CHECK_INT(stats().spared, 1);
    CHECK(px_cache_queries_next(t.q) == PX_NEVER);
    teardown();
}

TEST(a_bad_peer_is_asked_at_once_when_the_good_ones_have_all_said_no_or_are_gone)
{
    for (int gone = 0; gone < 2; gone++) {
        struct outcome *o = begin_with_one_bad(gone ? t.good.nar_hash : NULL);
        act(&t.peers[1], MISSING);
        px_cache_queries_run(t.q, AT + 1);
        CHECK_INT(t.peers[0].gets, 0);
        if (gone) {
            fake_break(&t.peers[2], PX_ECLOSED);
            px_cache_queries_peer_gone(t.q, &t.peers[2].pub);
        } else {
            act(&t.peers[2], BAD);
        }
        CHECK_INT(px_cache_queries_next(t.q), 0);
        px_cache_queries_run(t.q, AT + 2);
        CHECK_INT(t.peers[0].gets, 1);
        CHECK_INT(o->calls, 0);
        act(&t.peers[0], MISSING);
        px_cache_queries_run(t.q, AT + 3); /* a miss waits for nothing more */
        CHECK(o->calls == 1 && !o->hit);
        teardown();
    }
}

TEST(where_all_are_bad_or_there_is_one_nobody_waits)
{
    for (size_t count = 1; count <= 3; count++) {
        struct px_cache_waiter *w;
        struct outcome o;
        setup(count);
        for (size_t i = 0; i < count; i++)
            t.peers[i].pub.demerits = PX_CACHE_PEER_BAD + (uint32_t)i;
        CHECK_OK(ask(&t.good, NULL, AT, &o, &w));
        for (size_t i = 0; i < count; i++)
            CHECK_INT(t.peers[i].gets, 1);
        CHECK_INT(px_cache_queries_next(t.q), AT + 250 * PX_MSEC);
        act(&t.peers[count - 1], GOOD);
        px_cache_queries_run(t.q, AT + 1);
        CHECK(o.calls == 1 && o.hit);
        CHECK_INT(stats().late, 0);
        teardown();
    }
}

TEST(with_a_short_deadline_the_head_start_is_half_of_it)
{
    struct px_cache_waiter *w;
    struct outcome o;
    setup(2);
    t.peers[0].pub.demerits = PX_CACHE_PEER_BAD;
    px_cache_queries_set_deadline(t.q, 20 * PX_MSEC);
    CHECK_OK(ask(&t.good, NULL, 0, &o, &w));
    CHECK_INT(px_cache_queries_next(t.q), 10 * PX_MSEC);
    t.peers[0].busy = 1; /* no stream for it: tried again like any other */
    px_cache_queries_run(t.q, 10 * PX_MSEC);
    CHECK_INT(t.peers[0].gets, 0);
    px_cache_queries_run(t.q, 10 * PX_MSEC + PX_CACHE_QUERY_RETRY);
    CHECK_INT(t.peers[0].gets, 1);
    px_cache_queries_run(t.q, 20 * PX_MSEC);
    CHECK(o.calls == 1 && !o.hit);
    teardown();
}

TEST(a_bad_peer_that_goes_while_it_is_held_is_not_asked)
{
    struct outcome *o = begin_with_one_bad(NULL);
    px_cache_queries_peer_gone(t.q, &t.peers[0].pub);
    px_cache_queries_run(t.q, AT + PX_CACHE_HEAD_START);
    CHECK_INT(t.peers[0].gets, 0);
    act(&t.peers[1], MISSING);
    act(&t.peers[2], MISSING);
    px_cache_queries_run(t.q, AT + PX_CACHE_HEAD_START);
    CHECK(o->calls == 1 && !o->hit);
    teardown();
}

TEST(a_peer_that_failed_with_a_nar_is_not_asked_for_it)
{
    struct px_cache_waiter *w;
    struct outcome o;
    setup(2);
    t.blamed = &t.peers[0].pub;
    CHECK_OK(ask(&t.good, t.good.nar_hash, 0, &o, &w));
    CHECK_INT(t.peers[0].gets, 0);
    CHECK_INT(t.peers[1].gets, 1);
    px_cache_query_leave(t.q, w);
    CHECK_OK(ask(&t.good, NULL, 0, &o, &w)); /* nor believed */
    act(&t.peers[0], GOOD);
    px_cache_queries_run(t.q, 1);
    CHECK_INT(o.calls, 0);
    t.connected = 1;
    CHECK_ERR(ask(&t.good, t.good.nar_hash, 0, &o, &w), PX_ENOENT);
    teardown();
}

TEST(a_peer_that_is_gone_ends_its_part)
{
    struct px_cache_waiter *w;
    struct outcome o;
    setup(2);
    t.peers[0].busy = 1; /* one ask waits, one is under way */
    CHECK_OK(ask(&t.good, NULL, 0, &o, &w));
    px_cache_queries_peer_gone(t.q, &t.peers[0].pub);
    fake_break(&t.peers[1], PX_ECLOSED);
    px_cache_queries_peer_gone(t.q, &t.peers[1].pub);
    px_cache_queries_run(t.q, 1);
    CHECK(o.calls == 1 && !o.hit);
    teardown();
}

TEST(an_answer_above_the_limit_is_cut)
{
    struct px_cache_waiter *w;
    struct outcome o;
    static uint8_t junk[64 * 1024];
    setup(1);
    CHECK_OK(ask(&t.good, NULL, 0, &o, &w));
    fake_respond(fake_first(&t.peers[0]), 200, PX_H3_NO_LENGTH);
    for (size_t i = 0; i <= PX_NARINFO_MAX / sizeof(junk); i++)
        fake_data(fake_first(&t.peers[0]), px_slice(junk, sizeof(junk)));
    px_cache_queries_run(t.q, 1);
    CHECK(o.calls == 1 && !o.hit);
    CHECK_INT(t.fault, PX_NARINFO_TOO_BIG);
    CHECK_INT(t.peers[0].cancels, 1);
    teardown();
}

TEST(rounds_are_bounded)
{
    static struct px_cache_waiter *w;
    static struct outcome o[PX_CACHE_QUERIES_MAX];
    setup(1);
    t.peers[0].mode = FAKE_SILENT;
    for (size_t i = 0; i < PX_CACHE_QUERIES_MAX; i++) {
        struct fake_path p = t.good;
        snprintf(p.hash_part, sizeof(p.hash_part), "%032zu", i);
        CHECK_OK(ask(&p, NULL, 0, &o[i], &w));
    }
    struct outcome one;
    CHECK_ERR(ask(&t.good, NULL, 0, &one, &w), PX_EBUSY);
    px_cache_queries_run(t.q, 250 * PX_MSEC);
    for (size_t i = 0; i < PX_CACHE_QUERIES_MAX; i++)
        CHECK(o[i].calls == 1 && !o[i].hit);
    teardown();
}

TEST(answers_not_judged_yet_are_bounded)
{
    static struct outcome o[80];
    struct px_cache_waiter *w;
    static uint8_t junk[1000 * 1000];
    setup(1);
    for (size_t i = 0; i < 80; i++) {
        struct fake_path p = t.good;
        snprintf(p.hash_part, sizeof(p.hash_part), "%032zu", i);
        CHECK_OK(ask(&p, NULL, 0, &o[i], &w));
    }
    PX_LIST_EACH(it, &t.peers[0].fetches) {
        struct px_cache_fetch *f = PX_CONTAINER_OF(it, struct px_cache_fetch, link);
        fake_respond(f, 200, PX_H3_NO_LENGTH);
        fake_data(f, px_slice(junk, sizeof(junk)));
    }
    px_cache_queries_run(t.q, 1);
    CHECK_INT(t.fault, PX_NARINFO_TOO_BIG);
    CHECK_INT(t.rejected, 80 - PX_CACHE_QUERY_BYTES_MAX / sizeof(junk));
    px_cache_queries_run(t.q, 250 * PX_MSEC);
    teardown();
}

/* One peer that answers with as much as it may and never ends must not use up what honest peers'
 * answers need. */
TEST(a_flood_from_one_peer_costs_that_peer_not_the_others)
{
    static struct outcome flooded[80];
    static uint8_t junk[PX_NARINFO_MAX]; /* divides the limit */
    struct px_cache_waiter *w;
    struct outcome o;
    setup(2);
    for (size_t i = 0; i < 80; i++) {
        struct fake_path p = t.good;
        snprintf(p.hash_part, sizeof(p.hash_part), "%032zu", i);
        CHECK_OK(ask(&p, NULL, 0, &flooded[i], &w));
    }
    PX_LIST_EACH(it, &t.peers[0].fetches) {
        struct px_cache_fetch *f = PX_CONTAINER_OF(it, struct px_cache_fetch, link);
        fake_respond(f, 200, PX_H3_NO_LENGTH);
        fake_data(f, px_slice(junk, sizeof(junk)));
    }
    CHECK_OK(ask(&t.good, NULL, 0, &o, &w));
    struct px_cache_fetch *honest =
        PX_CONTAINER_OF(t.peers[1].fetches.prev, struct px_cache_fetch, link);
    fake_answer(honest, 200, px_buf_slice(&t.good.narinfo));
    px_cache_queries_run(t.q, 1);
    CHECK(o.calls == 1 && o.hit && o.from == &t.peers[1].pub);
    CHECK(t.rejected > 0);
    CHECK(t.rejected_peer == &t.peers[0].pub);
    px_cache_queries_run(t.q, 250 * PX_MSEC);
    teardown();
}

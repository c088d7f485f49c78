/* Transfer accounts (docs/spec/relay.md §8): their bounds, whose sessions make room for whose, and
 * what is refused as forged. Sums and restarts: test_relay_server.c. */
#include "auth/crypto.h"
#include "relay/accounts.h"
#include "tests/test.h"

static struct px_peer_id peer(unsigned n)
{
    return (struct px_peer_id){.key = {1, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n}};
}

/* A store that has one session, or one pair, more than there is room for. */
struct full_store {
    enum px_relay_item kind;
    unsigned count;
    unsigned each;                  /* sessions or pairs of one sender; 0: one */
    unsigned dropped;               /* what the accounts forgot */
    px_nsec session_ttl, total_ttl; /* as written last */
    bool fails;
    unsigned puts, kept;              /* since the last begin; by the last end */
    struct px_slice total_key, total; /* one more, as it is */
};

static int full_put(void *ctx, enum px_relay_item kind, struct px_slice key, struct px_slice value,
                    px_nsec ttl)
{
    struct full_store *s = ctx;
    (void)key, (void)value;
    s->puts++;
    if (kind == PX_RELAY_ITEM_SESSION)
        s->session_ttl = ttl;
    if (kind == PX_RELAY_ITEM_TOTAL)
        s->total_ttl = ttl;
    return 0;
}

static int full_drop(void *ctx, enum px_relay_item kind, struct px_slice key)
{
    struct full_store *s = ctx;
    (void)kind, (void)key;
    s->dropped++;
    return 0;
}

static int full_begin(void *ctx)
{
    struct full_store *s = ctx;
    s->puts = 0;
    return 0;
}

static int full_end(void *ctx, bool keep)
{
    struct full_store *s = ctx;
    if (keep && !s->fails)
        s->kept = s->puts;
    return s->fails ? PX_EIO : 0;
}

static uint32_t full_day(void *ctx)
{
    (void)ctx;
    return 0;
}

static void put_key(uint8_t *out, unsigned sender)
{
    const struct px_peer_id from = peer(sender), to = peer(7);
    memcpy(out, from.key, sizeof(from.key));
    memcpy(out + sizeof(from.key), to.key, sizeof(to.key));
}

static int full_each(void *ctx, enum px_relay_item kind,
                     void (*fn)(void *fn_ctx, struct px_slice key, struct px_slice value,
                                px_nsec ttl),
                     void *fn_ctx)
{
    const struct full_store *s = ctx;
    uint8_t key[PX_RELAY_SESSION_LEN + 2 * PX_ED25519_PK_LEN] = {0}, value[24] = {0};
    for (unsigned n = 0; n < s->count && kind == s->kind; n++) {
        bool total = kind == PX_RELAY_ITEM_TOTAL;
        put_key(key + (total ? 0 : PX_RELAY_SESSION_LEN), 1000 + n / PX_MAX(s->each, 1u));
        if (!total)
            memcpy(key, &n, sizeof(n));
        value[7] = 9; /* bytes sent, or confirmed */
        fn(fn_ctx, px_slice(key, 2 * PX_ED25519_PK_LEN + (total ? 4 : PX_RELAY_SESSION_LEN)),
           px_slice(value, total ? 24 : 16), PX_NEVER);
    }
    if (s->total.len > 0 && kind == PX_RELAY_ITEM_TOTAL)
        fn(fn_ctx, s->total_key, s->total, PX_NEVER);
    return 0;
}

static struct px_accounts *accounts_new(struct full_store *full, struct px_relay_store *store)
{
    static struct px_test_rng seed;
    const struct px_rng rng = px_test_rng(&seed, 1);
    struct px_accounts *a;
    *store = (struct px_relay_store){.put = full_put,
                                     .drop = full_drop,
                                     .begin = full_begin,
                                     .end = full_end,
                                     .each = full_each,
                                     .day = full_day,
                                     .ctx = full};
    CHECK_OK(px_crypto_init());
    CHECK_OK(px_accounts_new(&rng, store, &a));
    CHECK_OK(px_accounts_load(a));
    return a;
}

static uint64_t confirmed(const struct px_accounts *a, unsigned sender)
{
    uint64_t totals[PX_RELAY_TOTALS_LEN];
    const struct px_peer_id from = peer(sender), to = peer(7);
    px_accounts_totals(a, &from, &to, totals);
    return totals[PX_RELAY_SENT_CONFIRMED];
}

static enum px_relay_status report_new_pair(struct px_accounts *a)
{
    static struct px_test_rng seed;
    const struct px_rng rng = px_test_rng(&seed, 9);
    struct px_identity me;
    uint8_t signature[PX_ED25519_SIG_LEN];
    px_identity_generate(&rng, &me);
    const struct px_transfer t = {.sender = me.id, .receiver = peer(7), .bytes = 5};
    px_transfer_sign(&me, &t, signature);
    return px_accounts_report(a, &me.id, &t, signature);
}

TEST(pairs_beyond_the_table_are_not_counted)
{
    struct full_store full = {.kind = PX_RELAY_ITEM_TOTAL, .count = PX_ACCOUNTS_PAIRS_MAX - 1};
    struct px_relay_store store;
    struct px_accounts *a = accounts_new(&full, &store);
    CHECK_INT(report_new_pair(a), PX_RELAY_OK);
    px_accounts_free(a);
    full.count += 2;
    a = accounts_new(&full, &store);
    CHECK_INT(confirmed(a, 1000 + PX_ACCOUNTS_PAIRS_MAX - 1), 9);
    CHECK_INT(confirmed(a, 1000 + PX_ACCOUNTS_PAIRS_MAX), 0);
    CHECK_INT(report_new_pair(a), PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    px_accounts_free(a);
}

static void new_reporter(struct px_identity *ret, uint32_t n)
{
    struct px_test_rng seed;
    const struct px_rng rng = px_test_rng(&seed, 1000 + n);
    px_identity_generate(&rng, ret);
}

static enum px_relay_status say(struct px_accounts *a, const struct px_identity *me, bool sent,
                                const struct px_peer_id *other, unsigned session, uint64_t bytes)
{
    struct px_transfer t = {.sender = me->id, .receiver = *other, .bytes = bytes};
    uint8_t signature[PX_ED25519_SIG_LEN];
    if (!sent) {
        t.sender = *other;
        t.receiver = me->id;
    }
    memcpy(t.session, &session, sizeof(session));
    px_transfer_sign(me, &t, signature);
    return px_accounts_report(a, &me->id, &t, signature);
}

TEST(who_invents_sessions_pushes_out_none_but_its_own)
{
    struct full_store full = {.kind = PX_RELAY_ITEM_TOTAL};
    struct px_relay_store store;
    struct px_accounts *a = accounts_new(&full, &store);
    struct px_identity liar, ann, bob;
    new_reporter(&liar, 1);
    new_reporter(&ann, 2);
    new_reporter(&bob, 3);
    CHECK_INT(say(a, &ann, true, &bob.id, 1, 500), PX_RELAY_OK);
    CHECK_INT(say(a, &liar, true, &bob.id, 2, 500), PX_RELAY_OK);
    CHECK_INT(say(a, &bob, false, &liar.id, 2, 500), PX_RELAY_OK); /* a real one of the liar's */
    CHECK_INT(full.session_ttl, PX_ACCOUNTS_SESSION_TTL);
    for (unsigned n = 0; n < PX_ACCOUNTS_REPORTER_SESSIONS_MAX - 1; n++)
        CHECK_INT(say(a, &liar, true, &bob.id, 100 + n, 500), PX_RELAY_OK);
    CHECK_INT(full.dropped, 0);
    CHECK_INT(say(a, &liar, true, &bob.id, 99, 500), PX_RELAY_OK);
    CHECK_INT(full.dropped, 1);
    CHECK_INT(say(a, &ann, true, &bob.id, 1, 499), PX_RELAY_STALE); /* known, both of them */
    CHECK_INT(say(a, &bob, false, &liar.id, 2, 499), PX_RELAY_STALE);
    CHECK_INT(say(a, &liar, true, &bob.id, 99, 499), PX_RELAY_STALE);
    CHECK_INT(say(a, &liar, true, &bob.id, 100, 499), PX_RELAY_OK); /* forgotten */
    px_accounts_free(a);
}

TEST(a_full_table_of_sessions_takes_from_who_has_most)
{
    struct full_store full = {.kind = PX_RELAY_ITEM_SESSION,
                              .count = PX_ACCOUNTS_SESSIONS_MAX - 1,
                              .each = PX_ACCOUNTS_REPORTER_SESSIONS_MAX};
    struct px_relay_store store;
    struct px_accounts *a = accounts_new(&full, &store);
    const struct px_peer_id other = peer(7);
    struct px_identity ann, bob;
    new_reporter(&ann, 1);
    new_reporter(&bob, 2);
    CHECK_INT(say(a, &ann, true, &other, 1, 5), PX_RELAY_OK);
    CHECK_INT(full.dropped, 0);
    CHECK_INT(say(a, &bob, true, &other, 2, 5), PX_RELAY_OK);
    CHECK_INT(say(a, &bob, true, &other, 3, 5), PX_RELAY_OK);
    CHECK_INT(full.dropped, 2);
    CHECK_INT(say(a, &ann, true, &other, 1, 4), PX_RELAY_STALE);
    CHECK_INT(say(a, &bob, true, &other, 2, 4), PX_RELAY_STALE);
    px_accounts_free(a);
}

TEST(pairs_only_one_side_speaks_of_are_bounded_for_that_side)
{
    struct full_store full = {.kind = PX_RELAY_ITEM_TOTAL};
    struct px_relay_store store;
    struct px_accounts *a = accounts_new(&full, &store);
    struct px_identity liar, ann;
    new_reporter(&liar, 1);
    new_reporter(&ann, 2);
    CHECK_INT(say(a, &liar, true, &ann.id, 1, 500), PX_RELAY_OK);
    for (unsigned n = 1; n < PX_ACCOUNTS_REPORTER_PAIRS_MAX; n++) {
        const struct px_peer_id invented = peer(1000 + n);
        CHECK_INT(say(a, &liar, true, &invented, n, 500), PX_RELAY_OK);
    }
    const struct px_peer_id more = peer(5000);
    CHECK_INT(say(a, &liar, true, &more, 1, 5), PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    CHECK_INT(say(a, &liar, true, &ann.id, 1, 600), PX_RELAY_OK); /* it has that pair */
    CHECK_INT(say(a, &ann, true, &more, 1, 5), PX_RELAY_OK);      /* others are not hindered */
    CHECK_INT(say(a, &ann, false, &liar.id, 1, 500), PX_RELAY_OK);
    CHECK_INT(say(a, &liar, true, &more, 1, 5), PX_RELAY_OK); /* one is no invention */
    CHECK_INT(say(a, &liar, false, &more, 1, 5), PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    px_accounts_free(a);
}

TEST(a_report_that_its_sender_did_not_sign_as_it_stands_is_refused)
{
    struct full_store full = {.kind = PX_RELAY_ITEM_TOTAL};
    struct px_relay_store store;
    struct px_accounts *a = accounts_new(&full, &store);
    struct px_identity ann, bob, eve;
    new_reporter(&ann, 1);
    new_reporter(&bob, 2);
    new_reporter(&eve, 3);
    const struct px_transfer good = {.sender = ann.id, .receiver = bob.id, .bytes = 700};
    uint8_t signature[PX_ED25519_SIG_LEN];
    px_transfer_sign(&ann, &good, signature);
    struct px_transfer forged[5] = {good, good, good, good, good};
    forged[0].bytes++;
    forged[1].session[15] ^= 1;
    forged[2].receiver = eve.id;
    forged[3].sender = bob.id; /* turned round */
    forged[3].receiver = ann.id;
    forged[4].receiver = ann.id; /* to oneself */
    for (size_t i = 0; i < PX_ARRAY_LEN(forged); i++)
        CHECK_INT(px_accounts_report(a, &ann.id, &forged[i], signature), PX_RELAY_BAD_RECORD);
    /* what another one signed does not count as one's own, nor what one has no part in */
    CHECK_INT(px_accounts_report(a, &bob.id, &good, signature), PX_RELAY_BAD_RECORD);
    px_transfer_sign(&eve, &good, signature);
    CHECK_INT(px_accounts_report(a, &eve.id, &good, signature), PX_RELAY_BAD_RECORD);
    CHECK_INT(px_accounts_report(a, &ann.id, &good, signature), PX_RELAY_BAD_RECORD);
    px_transfer_sign(&ann, &good, signature);
    CHECK_INT(px_accounts_report(a, &ann.id, &good, signature), PX_RELAY_OK);
    px_accounts_free(a);
}

/* kill -9 between the two would count the session again. */
TEST(totals_and_session_are_stored_at_once)
{
    struct full_store full = {.kind = PX_RELAY_ITEM_TOTAL};
    struct px_relay_store store;
    struct px_accounts *a = accounts_new(&full, &store);
    const struct px_peer_id to = peer(7);
    struct px_identity me;
    new_reporter(&me, 1);
    CHECK_INT(say(a, &me, true, &to, 1, 100), PX_RELAY_OK);
    CHECK_INT(full.kept, 2);
    full.fails = true;
    CHECK_INT(say(a, &me, true, &to, 1, 200), PX_RELAY_INTERNAL);
    full.fails = false;
    CHECK_INT(say(a, &me, true, &to, 1, 200), PX_RELAY_OK);
    CHECK_INT(full.kept, 2);
    px_accounts_free(a);
}

/* Sessions that were pushed out count anew. */
TEST(who_invents_bytes_ends_at_the_largest_number_and_does_not_begin_again)
{
    struct full_store full = {.kind = PX_RELAY_ITEM_TOTAL};
    struct px_relay_store store;
    struct px_accounts *a = accounts_new(&full, &store);
    uint8_t key[2 * PX_ED25519_PK_LEN + 4] = {0}, value[24];
    const struct px_peer_id to = peer(7);
    uint64_t totals[PX_RELAY_TOTALS_LEN];
    struct px_identity me;
    new_reporter(&me, 1);
    memcpy(key, me.id.key, sizeof(me.id.key));
    memcpy(key + sizeof(me.id.key), to.key, sizeof(to.key));
    memset(value, 0xff, sizeof(value));
    full.total_key = px_slice(key, sizeof(key));
    full.total = px_slice(value, sizeof(value));
    CHECK_OK(px_accounts_load(a));
    CHECK_INT(say(a, &me, true, &to, 1, 100), PX_RELAY_OK);
    px_accounts_totals(a, &me.id, &to, totals);
    CHECK(totals[PX_RELAY_SENT_TOTAL] == UINT64_MAX);
    CHECK(totals[PX_RELAY_SENT_CONFIRMED] == UINT64_MAX);
    px_accounts_free(a);
}

static bool not_the_first(void *ctx, const struct px_peer_id *id)
{
    return !px_peer_id_eq(ctx, id);
}

/* A member could vouch for one node after the other, each of which fills its share, for good. */
TEST(what_only_somebody_who_was_let_go_said_makes_room)
{
    struct full_store full = {.kind = PX_RELAY_ITEM_TOTAL};
    struct px_relay_store store;
    struct px_accounts *a = accounts_new(&full, &store);
    const struct px_peer_id to = peer(7);
    struct px_identity me, other;
    uint64_t totals[PX_RELAY_TOTALS_LEN];
    new_reporter(&me, 1);
    new_reporter(&other, 2);
    for (unsigned n = 0; n < PX_ACCOUNTS_REPORTER_PAIRS_MAX; n++) {
        const struct px_peer_id nobody = peer(1000 + n);
        CHECK_INT(say(a, &me, true, &nobody, n, 5), PX_RELAY_OK);
        CHECK(full.total_ttl == (px_nsec)PX_ACCOUNTS_ALONE_TTL);
    }
    CHECK_INT(say(a, &me, true, &to, 1, 5), PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    CHECK_INT(say(a, &other, true, &me.id, 2, 5), PX_RELAY_OK);
    CHECK_INT(say(a, &me, false, &other.id, 2, 5), PX_RELAY_OK);
    CHECK(full.total_ttl == PX_NEVER); /* both say it */
    CHECK_INT(say(a, &other, true, &to, 3, 5), PX_RELAY_OK);
    full.dropped = 0;
    px_accounts_drop_unwelcome(a, not_the_first, &me.id);
    CHECK_INT(full.dropped, PX_ACCOUNTS_REPORTER_PAIRS_MAX);
    px_accounts_totals(a, &other.id, &me.id, totals);
    CHECK_INT(totals[PX_RELAY_SENT_CONFIRMED], 5);
    px_accounts_totals(a, &other.id, &to, totals);
    CHECK_INT(totals[PX_RELAY_SENT_TOTAL], 5);
    CHECK_INT(say(a, &me, true, &to, 4, 5), PX_RELAY_OK); /* should it come back */
    px_accounts_free(a);
}

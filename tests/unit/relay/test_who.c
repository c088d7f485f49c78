/* WHO and AM: layout, what is refused, and how much a relay answers. */
#include "relay/who.h"
#include "tests/test.h"

static const struct px_relay_nonce nonce = {{1, 2, 3}};

static struct px_identity identity(uint64_t seed)
{
    struct px_identity i;
    struct px_test_rng state;
    struct px_rng rng = px_test_rng(&state, seed);
    CHECK_OK(px_crypto_init());
    px_identity_generate(&rng, &i);
    return i;
}

static struct px_who *asked(const struct px_identity *i)
{
    struct px_test_rng state;
    struct px_rng rng = px_test_rng(&state, 7);
    struct px_who *w;
    CHECK_OK(px_who_new(i, &rng, &w));
    return w;
}

static struct px_addr addr_of(unsigned n)
{
    struct px_addr a = {.family = PX_ADDR_IP4, .port = 9};
    for (int i = 0; i < 4; i++)
        a.ip[i] = (uint8_t)(n >> (24 - 8 * i));
    return a;
}

TEST(the_answer_is_no_longer_than_the_question_and_names_its_signer)
{
    struct px_identity i = identity(1);
    struct px_who *w = asked(&i);
    struct px_addr from = addr_of(1);
    uint8_t who[PX_RELAY_WHO_LEN], am[PX_RELAY_AM_LEN];
    struct px_peer_id id;
    CHECK(sizeof(am) <= sizeof(who));
    px_relay_who_put(who, &nonce);
    CHECK_INT(who[0], 0x18);
    CHECK(px_who_answer(w, px_slice(who, sizeof(who)), &from, 1, am));
    CHECK_INT(am[0], 0x19);
    CHECK_SLICE(px_slice(am + 8, 16), px_slice(nonce.bytes, 16));
    CHECK_SLICE(px_slice(am + 24, 32), px_slice(i.id.key, 32));
    CHECK_OK(px_relay_am_check(px_slice(am, sizeof(am)), &nonce, &id));
    CHECK(px_peer_id_eq(&id, &i.id));
    px_who_free(w);
}

TEST(an_answer_that_was_touched_or_is_to_another_question_is_none)
{
    struct px_identity i = identity(1);
    const struct px_relay_nonce other = {{9}};
    uint8_t am[PX_RELAY_AM_LEN];
    struct px_peer_id id;
    px_relay_am_put(am, &nonce, &i);
    CHECK_ERR(px_relay_am_check(px_slice(am, sizeof(am)), &other, &id), PX_ECRYPTO);
    CHECK_ERR(px_relay_am_check(px_slice(am, sizeof(am) - 1), &nonce, &id), PX_EPARSE);
    for (size_t byte = 0; byte < sizeof(am); byte++) {
        am[byte] ^= 0x10;
        CHECK(px_relay_am_check(px_slice(am, sizeof(am)), &nonce, &id) != 0);
        am[byte] ^= 0x10;
    }
    CHECK_OK(px_relay_am_check(px_slice(am, sizeof(am)), &nonce, &id));
}

TEST(a_question_has_one_length_and_no_leg)
{
    struct px_identity i = identity(1);
    struct px_who *w = asked(&i);
    struct px_addr from = addr_of(1);
    uint8_t who[PX_RELAY_WHO_LEN + 1] = {0}, am[PX_RELAY_AM_LEN];
    px_relay_who_put(who, &nonce);
    for (size_t len = 0; len <= sizeof(who); len++)
        CHECK_INT(px_who_answer(w, px_slice(who, len), &from, len * PX_SEC, am),
                  len == PX_RELAY_WHO_LEN);
    who[3] = 1;
    CHECK(!px_who_answer(w, px_slice(who, PX_RELAY_WHO_LEN), &from, 999 * PX_SEC, am));
    CHECK_INT(px_who_stats(w)->answered, 1);
    CHECK_INT(px_who_stats(w)->refused, 0);
    px_who_free(w);
}

TEST(a_source_is_answered_so_often)
{
    struct px_identity i = identity(1);
    struct px_who *w = asked(&i);
    struct px_addr from = addr_of(1), same = from, other = addr_of(2);
    uint8_t who[PX_RELAY_WHO_LEN], am[PX_RELAY_AM_LEN];
    unsigned answered = 0;
    same.port = 10;
    px_relay_who_put(who, &nonce);
    for (int n = 0; n < 100; n++)
        answered += px_who_answer(w, px_slice(who, sizeof(who)), n % 2 ? &same : &from, 1, am);
    CHECK_INT(answered, PX_WHO_BURST);
    CHECK(px_who_answer(w, px_slice(who, sizeof(who)), &other, 1, am));
    answered = 0;
    for (int n = 0; n < 100; n++)
        answered += px_who_answer(w, px_slice(who, sizeof(who)), &from, 1 + PX_SEC, am);
    CHECK_INT(answered, PX_WHO_RATE); /* room again */
    px_who_free(w);
}

TEST(all_sources_together_are_answered_so_often)
{
    struct px_identity i = identity(1);
    struct px_who *w = asked(&i);
    uint8_t who[PX_RELAY_WHO_LEN], am[PX_RELAY_AM_LEN];
    unsigned answered = 0;
    px_relay_who_put(who, &nonce);
    for (unsigned n = 0; n < 2 * PX_WHO_BURST_ALL; n++) {
        struct px_addr from = addr_of(0x0a000000 + n);
        answered += px_who_answer(w, px_slice(who, sizeof(who)), &from, 1, am);
    }
    CHECK_INT(answered, PX_WHO_BURST_ALL);
    CHECK_INT(px_who_stats(w)->refused, PX_WHO_BURST_ALL);
    px_who_free(w);
}

/* A fixed table under a seed: whoever shares a place with a newer source begins anew. */
TEST(many_sources_do_not_make_it_grow)
{
    struct px_identity i = identity(1);
    struct px_who *w = asked(&i);
    uint8_t who[PX_RELAY_WHO_LEN], am[PX_RELAY_AM_LEN];
    px_nsec now = 1;
    px_relay_who_put(who, &nonce);
    for (unsigned n = 0; n < 4 * PX_WHO_SOURCES; n++, now += PX_SEC / PX_WHO_RATE_ALL) {
        struct px_addr from = addr_of(0x0a000000 + n);
        CHECK(px_who_answer(w, px_slice(who, sizeof(who)), &from, now, am));
    }
    px_who_free(w);
}

/* What relays have yet to be told: kept until they heard it, bounded, and the same after a restart.
 */
#include "node/relay_owed.h"

#include <stdio.h>

#include "tests/test.h"

#define NOW 1000000

static const struct px_peer_id one = {{1}}, two = {{2}}, joiner = {{3}};
static const uint8_t hash[PX_RELAY_SECRET_LEN] = {7, 8, 9};

static struct px_relay_owed *list(void)
{
    struct px_relay_owed *o;
    CHECK_OK(px_relay_owed_new(&o));
    return o;
}

static void invited(struct px_relay_owed *o, uint8_t number, int64_t expires)
{
    const uint8_t id[PX_INVITE_ID_LEN] = {number};
    px_relay_owed_invited(o, id, &one, hash, expires);
}

static bool uninvite(struct px_relay_owed *o, uint8_t number)
{
    const uint8_t id[PX_INVITE_ID_LEN] = {number};
    return px_relay_owed_uninvite(o, id);
}

static size_t owed_at(struct px_relay_owed *o, const struct px_peer_id *relay, int64_t now)
{
    struct px_relay_order order = {.ticket = 0};
    size_t n = 0;
    while (px_relay_owed_next(o, relay, order.ticket, now, &order))
        n++;
    return n;
}

TEST(an_invite_that_is_over_is_told_to_its_relay_alone)
{
    struct px_relay_owed *o = list();
    struct px_relay_order order;
    invited(o, 1, NOW + 60);
    CHECK_INT(owed_at(o, &one, NOW), 0); /* still open */
    CHECK(uninvite(o, 1));
    CHECK(!uninvite(o, 1)); /* once is enough */
    CHECK(!uninvite(o, 2)); /* no relay heard of it */
    CHECK_INT(owed_at(o, &two, NOW), 0);
    CHECK(px_relay_owed_next(o, &one, 0, NOW, &order));
    CHECK(!order.vouch);
    CHECK_SLICE(px_slice(order.hash, sizeof(order.hash)), px_slice(hash, sizeof(hash)));
    px_relay_owed_free(o);
}

TEST(it_stays_owed_until_the_relay_heard_it)
{
    static const struct {
        enum px_relay_status status;
        bool uninvited, vouched;
    } rows[] = {
        {PX_RELAY_OK, true, true},
        {PX_RELAY_NOT_FOUND, true, false},
        {PX_RELAY_NO_ANSWER, false, false},
        {PX_RELAY_RATE_LIMITED, false, false},
        {PX_RELAY_PERMISSION_DENIED, false, false},
        {PX_RELAY_RESOURCE_LIMIT_EXCEEDED, false, false},
        {PX_RELAY_INTERNAL, false, false},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++)
        for (int vouch = 0; vouch < 2; vouch++) {
            struct px_relay_owed *o = list();
            struct px_relay_order order;
            bool settled = vouch ? rows[i].vouched : rows[i].uninvited;
            if (vouch)
                px_relay_owed_vouch(o, &joiner, NOW);
            else
                invited(o, 1, NOW + 60);
            CHECK(vouch || uninvite(o, 1));
            CHECK(px_relay_owed_next(o, &one, 0, NOW, &order));
            CHECK_INT(px_relay_owed_answer(o, order.ticket, rows[i].status), settled);
            CHECK_INT(owed_at(o, &one, NOW), settled ? 0 : 1);
            CHECK(!px_relay_owed_answer(o, order.ticket + 1, PX_RELAY_OK));
            px_relay_owed_free(o);
        }
}

TEST(a_vouch_goes_to_whichever_relay_comes_first)
{
    struct px_relay_owed *o = list();
    struct px_relay_order order;
    px_relay_owed_vouch(o, &joiner, NOW);
    px_relay_owed_vouch(o, &joiner, NOW); /* again is once */
    CHECK_INT(owed_at(o, &one, NOW), 1);
    CHECK_INT(owed_at(o, &two, NOW), 1);
    CHECK(px_relay_owed_next(o, &two, 0, NOW, &order));
    CHECK(order.vouch && px_peer_id_eq(&order.peer, &joiner));
    CHECK(px_relay_owed_answer(o, order.ticket, PX_RELAY_OK));
    CHECK_INT(owed_at(o, &one, NOW), 0);
    px_relay_owed_free(o);
}

static bool listed(void *ctx, const struct px_peer_id *peer)
{
    return !px_peer_id_eq(ctx, peer) && peer->key[0] != 8;
}

/* A typing error, an editor that empties the file before it writes. */
TEST(who_is_listed_again_is_vouched_for_again)
{
    struct px_peer_id relays[] = {one, two}, nobody = {{0}}, gone = joiner;
    for (int told = 0; told <= 2; told++) {
        struct px_relay_owed *o = list();
        struct px_relay_order order;
        px_relay_owed_vouch(o, &joiner, NOW);
        CHECK(px_relay_owed_next(o, &one, 0, NOW, &order));
        CHECK(px_relay_owed_answer(o, order.ticket, PX_RELAY_OK));
        CHECK(px_relay_owed_unvouch(o, listed, &gone, relays, 2, NOW));
        for (int i = 0; i < told; i++) {
            CHECK(px_relay_owed_next(o, &relays[i], 0, NOW, &order) && !order.on);
            CHECK(px_relay_owed_answer(o, order.ticket, PX_RELAY_OK));
        }
        CHECK(!px_relay_owed_unvouch(o, listed, &gone, relays, 2, NOW));
        CHECK(px_relay_owed_unvouch(o, listed, &nobody, relays, 2, NOW));
        CHECK(!px_relay_owed_unvouch(o, listed, &nobody, relays, 2, NOW));
        for (int i = 0; i < 2; i++) {
            CHECK_INT(owed_at(o, &relays[i], NOW), 1);
            CHECK(px_relay_owed_next(o, &relays[i], 0, NOW, &order) && order.on);
        }
        px_relay_owed_free(o);
    }
}

TEST(who_is_not_listed_any_more_is_taken_back_at_each_relay)
{
    struct px_peer_id relays[] = {one, two}, nobody = {{0}}, gone = joiner;
    for (int told = 0; told < 2; told++) { /* or the answer was lost */
        struct px_relay_owed *o = list();
        struct px_relay_order order;
        px_relay_owed_vouch(o, &joiner, NOW);
        CHECK(px_relay_owed_next(o, &one, 0, NOW, &order) && order.vouch && order.on);
        if (told > 0)
            CHECK(px_relay_owed_answer(o, order.ticket, PX_RELAY_OK));
        CHECK(!px_relay_owed_answer(o, order.ticket, told > 0 ? PX_RELAY_OK : PX_RELAY_INTERNAL));
        CHECK(!px_relay_owed_unvouch(o, listed, &nobody, relays, 2, NOW));
        CHECK(px_relay_owed_unvouch(o, listed, &gone, relays, 2, NOW));
        CHECK(!px_relay_owed_unvouch(o, listed, &gone, relays, 2, NOW));
        for (int i = 0; i < 2; i++) {
            CHECK_INT(owed_at(o, &relays[i], NOW), 1);
            CHECK(px_relay_owed_next(o, &relays[i], 0, NOW, &order));
            CHECK(order.vouch && !order.on && px_peer_id_eq(&order.peer, &joiner));
            CHECK(!px_relay_owed_answer(o, order.ticket, PX_RELAY_INTERNAL)); /* its disk failed */
            CHECK(px_relay_owed_answer(o, order.ticket, i > 0 ? PX_RELAY_OK : PX_RELAY_NOT_FOUND));
            CHECK_INT(owed_at(o, &relays[i], NOW), 0);
        }
        px_relay_owed_free(o);
    }
}

TEST(who_is_vouched_for_again_is_not_taken_back)
{
    struct px_relay_owed *o = list();
    struct px_relay_order order;
    struct px_peer_id gone = joiner;
    px_relay_owed_vouch(o, &joiner, NOW);
    CHECK(px_relay_owed_unvouch(o, listed, &gone, &one, 1, NOW));
    px_relay_owed_vouch(o, &joiner, NOW);
    CHECK_INT(owed_at(o, &one, NOW), 1);
    CHECK(px_relay_owed_next(o, &one, 0, NOW, &order) && order.on);
    px_relay_owed_free(o);
}

TEST(so_many_that_were_vouched_for_and_are_to_be_taken_back_are_kept)
{
    struct px_relay_owed *o = list(), *back = list();
    struct px_peer_id gone = {{9, 1}};
    struct px_relay_order order;
    struct px_buf text;
    size_t bad;
    for (unsigned i = 0; i < PX_RELAY_OWED_VOUCHED + 3; i++) {
        const struct px_peer_id peer = {{9, (uint8_t)i}};
        px_relay_owed_vouch(o, &peer, NOW + i);
        CHECK(px_relay_owed_next(o, &one, 0, NOW, &order));
        CHECK(px_relay_owed_answer(o, order.ticket, PX_RELAY_OK));
    }
    CHECK_INT(owed_at(o, &one, NOW), 0);
    CHECK(!px_relay_owed_unvouch(o, listed, &gone, &one, 1, NOW)); /* made room */
    for (unsigned i = 0; i < PX_RELAY_OWED_UNVOUCHES + 3; i++) {
        gone = (struct px_peer_id){{8, (uint8_t)i}};
        px_relay_owed_vouch(o, &gone, NOW + i);
        CHECK(px_relay_owed_unvouch(o, listed, &gone, &one, 1, NOW + i));
    }
    CHECK_INT(owed_at(o, &one, NOW), PX_RELAY_OWED_UNVOUCHES);
    px_buf_init(&text, PX_RELAY_OWED_FILE_MAX);
    CHECK_OK(px_relay_owed_write(o, &text));
    px_relay_owed_read(back, px_buf_slice(&text), NOW, &bad);
    CHECK_INT(bad, 0);
    CHECK_INT(owed_at(back, &one, NOW), PX_RELAY_OWED_UNVOUCHES);
    gone = (struct px_peer_id){{9, PX_RELAY_OWED_VOUCHED + 2}};
    CHECK(px_relay_owed_unvouch(back, listed, &gone, &two, 1, NOW)); /* it still knew */
    CHECK_INT(owed_at(back, &two, NOW), 1);
    px_buf_deinit(&text);
    px_relay_owed_free(o);
    px_relay_owed_free(back);
}

TEST(what_has_expired_is_told_nobody)
{
    struct px_relay_owed *o = list();
    invited(o, 1, NOW + 60);
    CHECK(uninvite(o, 1));
    px_relay_owed_vouch(o, &joiner, NOW);
    CHECK_INT(owed_at(o, &one, NOW + 59), 2);
    CHECK_INT(owed_at(o, &one, NOW + 60), 1);
    CHECK_INT(owed_at(o, &one, NOW + PX_RELAY_OWED_TIME), 0);
    px_relay_owed_free(o);
}

TEST(so_many_of_each_are_kept)
{
    struct px_relay_owed *o = list();
    for (unsigned i = 0; i < PX_RELAY_OWED_VOUCHES + 3; i++) {
        const struct px_peer_id peer = {{1, (uint8_t)i}};
        px_relay_owed_vouch(o, &peer, NOW + i);
    }
    for (uint8_t i = 0; i < PX_RELAY_OWED_INVITES + 2; i++) {
        invited(o, i, NOW + 60 + i);
        CHECK(uninvite(o, i));
    }
    CHECK_INT(owed_at(o, &two, NOW), PX_RELAY_OWED_VOUCHES);
    CHECK_INT(owed_at(o, &one, NOW), PX_RELAY_OWED_VOUCHES + PX_RELAY_OWED_INVITES);
    CHECK_INT(owed_at(o, &one, NOW + 61), PX_RELAY_OWED_VOUCHES + PX_RELAY_OWED_INVITES);
    px_relay_owed_free(o);
}

static bool first_is_open(void *ctx, const uint8_t id[PX_INVITE_ID_LEN])
{
    (void)ctx;
    return id[0] == 1;
}

TEST(the_text_reads_back_and_what_ended_meanwhile_is_owed)
{
    struct px_relay_owed *o = list(), *back = list();
    struct px_buf text;
    size_t bad;
    px_buf_init(&text, PX_RELAY_OWED_FILE_MAX);
    invited(o, 1, NOW + 60);
    invited(o, 2, NOW + 60);
    invited(o, 3, NOW + 60);
    CHECK(uninvite(o, 3));
    invited(o, 4, NOW - 1);
    px_relay_owed_vouch(o, &joiner, NOW);
    CHECK_OK(px_relay_owed_write(o, &text));
    CHECK_OK(px_buf_put_cstr(&text, "\njunk\nvouch x 1\ninvite 00 1\n"));
    px_relay_owed_read(back, px_buf_slice(&text), NOW, &bad);
    CHECK_INT(bad, 4);
    CHECK_INT(owed_at(back, &one, NOW), 2);
    CHECK(px_relay_owed_check(back, first_is_open, NULL));
    CHECK(!px_relay_owed_check(back, first_is_open, NULL));
    CHECK_INT(owed_at(back, &one, NOW), 3);
    CHECK_INT(owed_at(back, &two, NOW), 1);
    px_buf_deinit(&text);
    px_relay_owed_free(back);
    px_relay_owed_free(o);
}

TEST(the_longest_text_fits_into_the_file)
{
    struct px_relay_owed *o = list();
    struct px_buf text;
    px_buf_init(&text, PX_RELAY_OWED_FILE_MAX);
    for (uint8_t i = 0; i < PX_RELAY_OWED_VOUCHES; i++) {
        const struct px_peer_id peer = {{255, i}};
        px_relay_owed_vouch(o, &peer, NOW);
        invited(o, i, INT64_MAX - i);
    }
    CHECK_OK(px_relay_owed_write(o, &text));
    px_buf_deinit(&text);
    px_relay_owed_free(o);
}

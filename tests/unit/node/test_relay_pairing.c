/* Pairing through a relay: which one hears of an invite, what is told when it could not be, and the
 * joiner at a relay that does not list it. node/relay_pairing.c on a virtual clock. */
#include <stdlib.h>

#include "node/peer_addrs.h"
#include "tests/unit/node/fake_relays.c"

static const uint8_t id_a[PX_INVITE_ID_LEN] = {1}, id_b[PX_INVITE_ID_LEN] = {2};
static const uint8_t secret[PX_RELAY_SECRET_LEN] = {9, 9};

static void list_from(struct fake *f, size_t first, size_t count)
{
    char text[PX_PEER_ID_TEXT_MAX];
    struct px_buf lines;
    px_buf_init(&lines, 65536);
    for (size_t i = 0; i < count; i++)
        CHECK_OK(px_buf_printf(&lines, "%s\n", px_peer_id_format(&f->peers[first + i].id, text)));
    px_authorized_keys_free(f->keys);
    CHECK_OK(px_authorized_keys_parse(px_buf_slice(&lines), &f->keys));
    CHECK_INT(px_authorized_keys_count(f->keys), count);
    px_buf_deinit(&lines);
}

static void list_peers(struct fake *f, size_t count)
{
    list_from(f, 0, count);
}

/* Relays, the first peer listed. */
static struct fake *start(size_t relays)
{
    struct fake *f = fake_start(relays);
    list_peers(f, 1);
    fake_wait(f, 0);
    return f;
}

static void member(struct fake *f, size_t number)
{
    fake_reserve_as(f, number, PX_RELAY_MEMBER);
    fake_wait(f, 0);
}

/* Gone and, once it is dialled again, back. */
static void leave(struct fake *f, size_t number)
{
    fake_down(f, number, PX_ETIMEDOUT);
}

static void come_back(struct fake *f, size_t number)
{
    fake_wait(f, 60 * PX_SEC);
    member(f, number);
}

static int invite(struct fake *f, const uint8_t id[PX_INVITE_ID_LEN], struct px_relay_entry *ret)
{
    return px_relays_invite(f->set, id, secret, 600 * PX_SEC, ret);
}

static bool none_is_open(void *ctx, const uint8_t id[PX_INVITE_ID_LEN])
{
    (void)ctx, (void)id;
    return false;
}

/* ---- the inviter ---- */

TEST(an_invite_goes_to_the_first_relay_that_has_us_as_a_member)
{
    struct fake *f = start(3);
    struct px_relay_entry e;
    CHECK_ERR(invite(f, id_a, &e), PX_EOFFLINE);
    fake_reserve_as(f, 1, PX_RELAY_VOUCHED);
    CHECK_ERR(invite(f, id_a, &e), PX_EOFFLINE);
    member(f, 2);
    CHECK_OK(invite(f, id_a, &e));
    CHECK_STR(e.name, "r2");
    struct fake_request *q = fake_asked(f, 2, PX_RELAY_MSG_INVITE);
    CHECK(q != NULL && q->m.ttl_ms == 600000);
    CHECK(memcmp(q->m.secret, secret, sizeof(secret)) == 0);
    CHECK_INT(fake_asked_count(f, 1, PX_RELAY_MSG_INVITE), 0);
    fake_end(f);
}

TEST(an_invite_that_is_over_is_taken_back_where_it_was_made)
{
    struct fake *f = start(2);
    struct px_relay_entry e;
    member(f, 1);
    member(f, 2);
    CHECK_OK(invite(f, id_a, &e));
    px_relays_uninvite(f->set, id_b); /* no relay heard of that one */
    CHECK(fake_asked(f, 1, PX_RELAY_MSG_UNINVITE) == NULL);
    px_relays_uninvite(f->set, id_a);
    struct fake_request *q = fake_asked(f, 1, PX_RELAY_MSG_UNINVITE);
    CHECK(q != NULL && memcmp(q->m.secret, secret, sizeof(secret)) == 0);
    CHECK(fake_asked(f, 2, PX_RELAY_MSG_UNINVITE) == NULL);
    fake_answer(f, q, PX_RELAY_NOT_FOUND, NULL); /* somebody used it: all is well */
    px_relays_uninvite(f->set, id_a);
    CHECK_INT(fake_asked_count(f, 1, PX_RELAY_MSG_UNINVITE), 1);
    leave(f, 1);
    come_back(f, 1);
    CHECK_INT(fake_asked_count(f, 1, PX_RELAY_MSG_UNINVITE), 1);
    fake_end(f);
}

TEST(a_relay_that_is_away_hears_of_it_when_it_is_back)
{
    struct fake *f = start(1);
    struct px_relay_entry e;
    member(f, 1);
    CHECK_OK(invite(f, id_a, &e));
    leave(f, 1);
    px_relays_uninvite(f->set, id_a);
    CHECK_INT(fake_asked_count(f, 1, PX_RELAY_MSG_UNINVITE), 0);
    come_back(f, 1);
    fake_answer(f, fake_asked(f, 1, PX_RELAY_MSG_UNINVITE), PX_RELAY_NO_ANSWER, NULL);
    leave(f, 1);
    come_back(f, 1); /* not heard is not told */
    fake_answer(f, fake_asked(f, 1, PX_RELAY_MSG_UNINVITE), PX_RELAY_OK, NULL);
    leave(f, 1);
    come_back(f, 1);
    CHECK_INT(fake_asked_count(f, 1, PX_RELAY_MSG_UNINVITE), 2);
    fake_end(f);
}

TEST(so_does_one_after_a_restart_of_ours)
{
    struct fake *f = start(1);
    struct px_relay_entry e;
    member(f, 1);
    CHECK_OK(invite(f, id_a, &e));
    CHECK_OK(invite(f, id_b, &e));
    leave(f, 1);
    px_relays_uninvite(f->set, id_a);
    fake_restart(f);
    fake_wait(f, 0);
    member(f, 1);
    CHECK_INT(fake_asked_count(f, 1, PX_RELAY_MSG_UNINVITE), 1);
    px_relays_check_invites(f->set, none_is_open, NULL); /* the other one ended meanwhile */
    CHECK(fake_asked_count(f, 1, PX_RELAY_MSG_UNINVITE) >= 2);
    while (fake_asked(f, 1, PX_RELAY_MSG_UNINVITE) != NULL)
        fake_answer(f, fake_asked(f, 1, PX_RELAY_MSG_UNINVITE), PX_RELAY_OK, NULL);
    fake_restart(f);
    fake_wait(f, 0);
    member(f, 1);
    CHECK_INT(fake_asked_count(f, 1, PX_RELAY_MSG_UNINVITE), 0);
    fake_end(f);
}

TEST(a_vouch_goes_to_all_that_have_us_as_a_member)
{
    struct fake *f = start(2);
    member(f, 1);
    member(f, 2);
    px_relays_vouch(f->set, &f->peers[0].id);
    for (size_t i = 1; i <= 2; i++) {
        struct fake_request *q = fake_asked(f, i, PX_RELAY_MSG_VOUCH);
        CHECK(q != NULL && q->m.on && px_peer_id_eq(&q->m.peer, &f->peers[0].id));
        fake_answer(f, q, PX_RELAY_OK, NULL);
    }
    leave(f, 1);
    come_back(f, 1);
    CHECK_INT(fake_asked_count(f, 1, PX_RELAY_MSG_VOUCH), 1);
    fake_end(f);
}

TEST(a_vouch_that_no_relay_took_is_told_later_and_after_a_restart)
{
    struct fake *f = start(2);
    fake_reserve_as(f, 1, PX_RELAY_VOUCHED); /* it may not vouch there */
    px_relays_vouch(f->set, &f->peers[0].id);
    CHECK_INT(fake_asked_count(f, 1, PX_RELAY_MSG_VOUCH), 0);
    fake_restart(f);
    fake_wait(f, 0);
    fake_reserve_as(f, 1, PX_RELAY_VOUCHED);
    fake_wait(f, 0);
    CHECK_INT(fake_asked_count(f, 1, PX_RELAY_MSG_VOUCH), 0);
    member(f, 2);
    struct fake_request *q = fake_asked(f, 2, PX_RELAY_MSG_VOUCH);
    CHECK(q != NULL && px_peer_id_eq(&q->m.peer, &f->peers[0].id));
    fake_answer(f, q, PX_RELAY_OK, NULL);
    fake_restart(f);
    fake_wait(f, 0);
    member(f, 2);
    CHECK_INT(fake_asked_count(f, 2, PX_RELAY_MSG_VOUCH), 0);
    fake_end(f);
}

TEST(nobody_vouches_for_whom_it_does_not_list)
{
    struct fake *f = start(1);
    px_relays_vouch(f->set, &f->peers[0].id); /* nobody there to tell */
    list_peers(f, 0);                         /* and then it was removed */
    member(f, 1);
    CHECK_INT(fake_asked_count(f, 1, PX_RELAY_MSG_VOUCH), 0);
    fake_end(f);
}

TEST(who_is_removed_is_taken_back_at_once_later_or_after_a_restart)
{
    for (int when = 0; when < 3; when++) {
        struct fake *f = start(1);
        member(f, 1);
        px_relays_vouch(f->set, &f->peers[0].id);
        fake_answer(f, fake_asked(f, 1, PX_RELAY_MSG_VOUCH), PX_RELAY_OK, NULL);
        if (when == 1)
            leave(f, 1);
        list_peers(f, 0);
        if (when < 2)
            px_relays_check_listed(f->set);
        if (when == 1)
            come_back(f, 1);
        if (when == 2) {
            fake_restart(f);
            fake_wait(f, 0);
            member(f, 1);
        }
        struct fake_request *q = fake_asked(f, 1, PX_RELAY_MSG_VOUCH);
        CHECK(q != NULL && !q->m.on && px_peer_id_eq(&q->m.peer, &f->peers[0].id));
        fake_answer(f, q, PX_RELAY_OK, NULL);
        px_relays_check_listed(f->set);
        CHECK(fake_asked(f, 1, PX_RELAY_MSG_VOUCH) == NULL);
        fake_end(f);
    }
}

TEST(the_next_key_of_whom_we_vouch_for_is_vouched_for_until_it_is_expected_no_more)
{
    for (int moves = 0; moves < 2; moves++) {
        struct fake *f = start(1);
        const struct px_peer_id *old = &f->peers[0].id, *next = &f->peers[1].id;
        list_peers(f, 1);
        member(f, 1);
        f->peers[1].expected = true;
        px_relays_follow(f->set, old, next); /* nobody vouched for the old one */
        CHECK_INT(fake_asked_count(f, 1, PX_RELAY_MSG_VOUCH), 0);
        px_relays_vouch(f->set, old);
        fake_answer(f, fake_asked(f, 1, PX_RELAY_MSG_VOUCH), PX_RELAY_OK, NULL);
        px_relays_follow(f->set, old, next);
        px_relays_follow(f->set, old, next);
        struct fake_request *q = fake_asked(f, 1, PX_RELAY_MSG_VOUCH);
        CHECK(q != NULL && q->m.on && px_peer_id_eq(&q->m.peer, next));
        fake_answer(f, q, PX_RELAY_OK, NULL);
        CHECK_INT(fake_asked_count(f, 1, PX_RELAY_MSG_VOUCH), 2);
        px_relays_check_listed(f->set); /* both are welcome */
        CHECK_INT(fake_asked_count(f, 1, PX_RELAY_MSG_VOUCH), 2);
        f->peers[1].expected = false;
        if (moves)
            list_from(f, 1, 1); /* its entry has the new key now */
        px_relays_check_listed(f->set);
        q = fake_asked(f, 1, PX_RELAY_MSG_VOUCH);
        CHECK(q != NULL && !q->m.on && px_peer_id_eq(&q->m.peer, moves ? old : next));
        CHECK_INT(fake_asked_count(f, 1, PX_RELAY_MSG_VOUCH), 3);
        fake_end(f);
    }
}

TEST(without_relays_nothing_is_remembered)
{
    struct fake *f = start(0);
    struct px_relay_entry e;
    CHECK_ERR(invite(f, id_a, &e), PX_EOFFLINE);
    px_relays_uninvite(f->set, id_a);
    px_relays_vouch(f->set, &f->peers[0].id);
    CHECK(access(f->owed_path, F_OK) != 0);
    fake_end(f);
}

/* ---- the joiner ---- */

static struct px_relay_entry stranger(uint8_t number)
{
    struct px_relay_entry e = {.addr_count = 1};
    e.id.key[0] = number;
    snprintf(e.addrs[0], sizeof(e.addrs[0]), "198.51.100.%u:12307", number);
    return e;
}

TEST(a_joiner_shows_its_secret_first_and_then_reserves)
{
    struct fake *f = start(0);
    struct px_relay_entry e = stranger(7);
    char route[PX_AUTH_ADDR_MAX];
    CHECK_OK(px_relays_join(f->set, &e, secret, route));
    CHECK_STR(route, PX_RELAY_ROUTE "198.51.100.7:12307");
    fake_wait(f, 0);
    fake_up(f, 1);
    CHECK_INT(f->request_count, 1);
    struct fake_request *q = fake_asked(f, 1, PX_RELAY_MSG_ADMIT);
    CHECK(q != NULL && memcmp(q->m.secret, secret, sizeof(secret)) == 0);
    CHECK(!px_relay_usable(fake_relay(f, 1)));
    size_t asked = f->reserve_count;
    fake_answer(f, q, PX_RELAY_OK, NULL);
    CHECK(px_relay_usable(fake_relay(f, 1))); /* one may call, reserved or not */
    CHECK_INT(f->reserve_count, asked + 1);
    CHECK_INT(f->usable_count, 1);
    px_relays_part(f->set, &e.id);
    fake_wait(f, PX_SEC);
    CHECK(px_list_empty(&f->set->all) || fake_relay(f, 1)->gone);
    fake_end(f);
}

TEST(a_secret_that_got_no_answer_is_shown_again_and_a_refused_one_is_not)
{
    static const struct {
        enum px_relay_status status;
        size_t again;
    } rows[] = {{PX_RELAY_NO_ANSWER, 2}, {PX_RELAY_NOT_FOUND, 1}, {PX_RELAY_OK, 1}};
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        struct fake *f = start(0);
        struct px_relay_entry e = stranger(7);
        char route[PX_AUTH_ADDR_MAX];
        CHECK_OK(px_relays_join(f->set, &e, secret, route));
        fake_wait(f, 0);
        fake_up(f, 1);
        fake_answer(f, fake_asked(f, 1, PX_RELAY_MSG_ADMIT), rows[i].status, NULL);
        leave(f, 1);
        fake_wait(f, 60 * PX_SEC);
        fake_up(f, 1);
        CHECK_INT(fake_asked_count(f, 1, PX_RELAY_MSG_ADMIT), rows[i].again);
        fake_end(f);
    }
}

TEST(a_relay_of_the_file_is_used_as_it_is_and_stays)
{
    struct fake *f = start(1);
    struct px_relay_entry e = fake_relay(f, 1)->entry;
    char route[PX_AUTH_ADDR_MAX];
    member(f, 1);
    CHECK_OK(px_relays_join(f->set, &e, secret, route));
    CHECK_STR(route, PX_RELAY_ROUTE "r1");
    CHECK_INT(fake_asked_count(f, 1, PX_RELAY_MSG_ADMIT), 0);
    CHECK_OK(px_relays_keep(f->set, &e));
    px_relays_part(f->set, &e.id);
    fake_wait(f, PX_SEC);
    CHECK(px_relay_usable(fake_relay(f, 1)));
    fake_end(f);
}

TEST(a_join_that_was_stored_keeps_its_relay)
{
    struct fake *f = start(0);
    struct px_relay_entry e = stranger(7);
    char route[PX_AUTH_ADDR_MAX];
    CHECK_OK(px_relays_join(f->set, &e, secret, route));
    fake_wait(f, 0);
    CHECK_OK(px_relays_keep(f->set, &e));
    px_relays_part(f->set, &e.id);
    CHECK(!fake_relay(f, 1)->gone);
    fake_restart(f);
    CHECK(px_peer_id_eq(&fake_relay(f, 1)->entry.id, &e.id));
    fake_end(f);
}

TEST(there_are_so_many_relays)
{
    struct fake *f = start(0);
    char route[PX_AUTH_ADDR_MAX];
    for (uint8_t i = 0; i < PX_RELAY_LIST_MAX; i++) {
        struct px_relay_entry e = stranger((uint8_t)(1 + i));
        CHECK_OK(px_relays_join(f->set, &e, secret, route));
    }
    struct px_relay_entry one_more = stranger(99);
    CHECK_ERR(px_relays_join(f->set, &one_more, secret, route), PX_ELIMIT);
    fake_end(f);
}

TEST(routes_lead_through_what_is_there)
{
    struct fake *f = start(3);
    char routes[2][PX_AUTH_ADDR_MAX];
    CHECK_INT(px_relays_routes(f->set, routes, 2), 0);
    member(f, 1);
    member(f, 3);
    CHECK_INT(px_relays_routes(f->set, routes, 2), 2);
    CHECK_STR(routes[0], PX_RELAY_ROUTE "r1");
    CHECK_STR(routes[1], PX_RELAY_ROUTE "r3");
    CHECK_INT(px_relays_routes(f->set, routes, 1), 1);
    fake_end(f);
}

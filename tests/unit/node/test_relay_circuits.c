/* Circuits of a node: in which order relays are called through, what takes the place of a path or a
 * circuit that is lost, and when one ends: node/relay_circuits.c on a virtual clock. */
#include "tests/unit/node/fake_relays.c"

static struct px_addr direct(uint8_t host)
{
    return (struct px_addr){.family = PX_ADDR_IP4, .ip = {192, 0, 2, host}, .port = 12304};
}

static struct fake *start(size_t relays)
{
    struct fake *f = fake_start(relays);
    fake_reserve_all(f);
    return f;
}

static int call(struct fake *f, size_t peer, const char *relay, bool alone, uint64_t token)
{
    return f->circuits.call(f->set, &f->peers[peer].id, relay, alone, token);
}

/* A circuit is open and the peer's link on it. */
static struct px_relay_leg *open_used(struct fake *f, size_t peer, size_t relay, bool ours)
{
    struct px_relay_leg *leg;
    char name[16];
    snprintf(name, sizeof(name), "r%zu", relay);
    if (ours) {
        CHECK_OK(call(f, peer, name, true, 1));
        fake_wait(f, PX_RELAYS_TURN * relay);
        leg = fake_call_at(f, relay);
    } else {
        leg = fake_ring(f, relay, &f->peers[peer].id);
    }
    fake_open(f, leg);
    f->peers[peer].remote = fake_circuit(leg)->addr;
    fake_wait(f, 0);
    return leg;
}

/* As node/peers does every second while a link is in doubt. */
static void lose(struct fake *f, size_t peer, bool client)
{
    f->peers[peer].lost = true;
    f->circuits.lost(f->set, &f->peers[peer].id, &f->peers[peer].remote, client);
    fake_wait(f, 0);
}

static void move(struct fake *f, size_t peer, const struct px_addr *to)
{
    struct px_addr from = f->peers[peer].remote;
    f->peers[peer].remote = *to;
    f->peers[peer].lost = false;
    if (px_addr_is_circuit(&from))
        f->circuits.left(f->set, &from);
}

/* ---- calls for a dial ---- */

TEST(relays_are_called_through_one_after_the_other_behind_direct_addresses)
{
    struct fake *f = start(2);
    CHECK_OK(call(f, 0, "r1", false, 11));
    CHECK_OK(call(f, 0, "r2", false, 12));
    fake_wait(f, PX_RELAYS_HEAD_START - 1);
    CHECK_INT(fake_calls(f), 0);
    fake_wait(f, 1);
    CHECK(fake_call_at(f, 1) != NULL);
    CHECK_INT(fake_calls(f), 1);
    fake_wait(f, PX_RELAYS_TURN);
    CHECK(fake_call_at(f, 2) != NULL);
    struct px_relay_leg *leg = fake_call_at(f, 2);
    fake_open(f, leg);
    CHECK_INT(f->peers[0].answers, 1);
    CHECK(f->peers[0].token == 12 && f->peers[0].err == 0);
    CHECK(px_addr_eq(&f->peers[0].circuit, &fake_circuit(leg)->addr));
    fake_refuse(f, fake_call_at(f, 1), PX_RELAY_NO_RESERVATION);
    CHECK_INT(f->peers[0].answers, 2);
    CHECK(f->peers[0].token == 11 && f->peers[0].err != 0);
    fake_end(f);
}

TEST(without_direct_addresses_the_first_relay_is_called_through_at_once)
{
    struct fake *f = start(2);
    CHECK_OK(call(f, 0, "r1", true, 1));
    fake_wait(f, 0);
    CHECK(fake_call_at(f, 1) != NULL);
    CHECK_ERR(call(f, 1, "nobody", true, 2), PX_EOFFLINE);
    f->peers[1].remote = direct(1); /* was faster */
    CHECK_OK(call(f, 1, "r1", true, 3));
    fake_wait(f, 0);
    CHECK_INT(fake_calls(f), 1);
    CHECK_ERR(f->peers[1].err, PX_ECANCELED);
    fake_end(f);
}

TEST(a_relay_that_goes_away_before_its_turn_is_no_way)
{
    struct fake *f = start(1);
    CHECK_OK(call(f, 0, "r1", false, 1));
    fake_down(f, 1, PX_ETIMEDOUT);
    fake_wait(f, PX_RELAYS_HEAD_START);
    CHECK_INT(f->peers[0].answers, 1);
    CHECK_ERR(f->peers[0].err, PX_EOFFLINE);
    fake_end(f);
}

TEST(circuits_have_a_limit_which_calls_and_rings_share)
{
    struct fake *f = start(1);
    for (size_t i = 0; i < PX_RELAYS_CIRCUITS_MAX; i++)
        CHECK_OK(call(f, i, "r1", true, i));
    CHECK_ERR(call(f, PX_RELAYS_CIRCUITS_MAX, "r1", true, 1), PX_ELIMIT);
    CHECK(fake_ring(f, 1, &f->peers[200].id) == NULL);
    CHECK_INT(f->declined, 1);
    fake_wait(f, 0);
    CHECK_INT(fake_calls(f), PX_RELAYS_CIRCUITS_MAX);
    f->peers[201].remote = direct(1);
    lose(f, 201, true); /* no room: nothing, and no harm */
    CHECK_INT(fake_calls(f), PX_RELAYS_CIRCUITS_MAX);
    fake_refuse(f, fake_call_at(f, 1), PX_RELAY_NO_RESERVATION);
    lose(f, 201, true);
    CHECK_INT(fake_calls(f), PX_RELAYS_CIRCUITS_MAX + 1);
    fake_end(f);
}

TEST(only_who_may_come_is_answered)
{
    struct fake *f = start(1);
    f->peers[0].stranger = true;
    CHECK(fake_ring(f, 1, &f->peers[0].id) == NULL);
    CHECK_INT(f->declined, 1);
    CHECK(fake_ring(f, 1, &f->peers[1].id) != NULL);
    fake_end(f);
}

/* ---- a direct path that is lost ---- */

TEST(a_lost_direct_path_has_the_peer_called_and_the_circuit_suggested)
{
    struct fake *f = start(2);
    f->peers[0].remote = direct(1);
    lose(f, 0, true);
    struct px_relay_leg *leg = fake_call_at(f, 1);
    CHECK(leg != NULL);
    lose(f, 0, true); /* told again: it is under way */
    CHECK_INT(fake_calls(f), 1);
    fake_open(f, leg);
    fake_wait(f, 0);
    const struct px_addr circuit = fake_circuit(leg)->addr;
    CHECK_INT(f->peers[0].suggested_count, 1);
    CHECK(px_addr_eq(&f->peers[0].suggested, &circuit));
    CHECK_INT(f->peers[0].preferred_count, 0);
    move(f, 0, &circuit);
    fake_wait(f, 30 * PX_SEC);
    CHECK(leg->used); /* it is in use */
    CHECK_INT(fake_calls(f), 1);
    struct px_addr home = direct(1);
    move(f, 0, &home);
    fake_wait(f, PX_RELAYS_CIRCUIT_GRACE - 1);
    CHECK(leg->used);
    fake_wait(f, 1);
    CHECK(leg->ended);
    fake_end(f);
}

TEST(the_called_side_suggests_the_circuit_too)
{
    struct fake *f = start(1);
    f->peers[0].remote = direct(1);
    struct px_relay_leg *leg = fake_ring(f, 1, &f->peers[0].id);
    fake_open(f, leg);
    fake_wait(f, 0);
    CHECK(px_addr_eq(&f->peers[0].suggested, &fake_circuit(leg)->addr));
    fake_end(f);
}

TEST(the_server_waits_whether_its_client_calls)
{
    for (int called = 0; called < 2; called++) {
        struct fake *f = start(1);
        f->peers[0].remote = direct(1);
        lose(f, 0, false);
        fake_wait(f, PX_RELAYS_LOST_TURN - 1);
        CHECK_INT(fake_calls(f), 0);
        if (called)
            CHECK(fake_ring(f, 1, &f->peers[0].id) != NULL);
        fake_wait(f, 1);
        CHECK_INT(fake_calls(f), !called);
        fake_end(f);
    }
}

TEST(a_path_that_recovers_before_the_call_needs_none)
{
    struct fake *f = start(1);
    f->peers[0].remote = direct(1);
    lose(f, 0, false);
    f->peers[0].lost = false;
    fake_wait(f, 10 * PX_SEC);
    CHECK_INT(fake_calls(f), 0);
    fake_end(f);
}

TEST(a_circuit_that_was_not_needed_in_the_end_is_ended)
{
    struct fake *f = start(1);
    f->peers[0].remote = direct(1);
    lose(f, 0, true);
    struct px_relay_leg *leg = fake_call_at(f, 1);
    fake_open(f, leg);
    f->peers[0].lost = false;
    fake_wait(f, 5 * PX_SEC);
    CHECK(leg->ended);
    CHECK_INT(fake_calls(f), 1);
    CHECK_INT(f->set->circuit_count, 0);
    fake_end(f);
}

TEST(of_two_who_called_each_other_at_once_one_circuit_is_left)
{
    struct fake *f = start(1);
    struct px_relay_leg *ours = open_used(f, 0, 1, true);
    struct px_relay_leg *theirs = fake_ring(f, 1, &f->peers[0].id);
    fake_open(f, theirs);
    fake_wait(f, 6 * PX_SEC);
    CHECK(theirs->ended && !ours->ended);
    CHECK_INT(f->set->circuit_count, 1);
    fake_end(f);
}

TEST(the_next_relay_gets_its_turn_and_one_answer_is_enough)
{
    struct fake *f = start(2);
    f->peers[0].remote = direct(1);
    lose(f, 0, true);
    CHECK(fake_call_at(f, 1) != NULL && fake_call_at(f, 2) == NULL);
    fake_wait(f, PX_RELAYS_TURN);
    struct px_relay_leg *first = fake_call_at(f, 1), *second = fake_call_at(f, 2);
    CHECK(first != NULL && second != NULL);
    fake_wait(f, 3 * PX_RELAYS_TURN);
    CHECK_INT(fake_calls(f), 2); /* each relay once */
    fake_open(f, second);
    CHECK(first->ended);
    CHECK(second->used);
    fake_end(f);
}

TEST(a_refusal_gives_the_next_relay_its_turn_at_once)
{
    struct fake *f = start(2);
    f->peers[0].remote = direct(1);
    lose(f, 0, true);
    fake_refuse(f, fake_call_at(f, 1), PX_RELAY_NO_RESERVATION);
    fake_wait(f, 0);
    CHECK(fake_call_at(f, 2) != NULL);
    fake_refuse(f, fake_call_at(f, 2), PX_RELAY_NO_RESERVATION);
    fake_wait(f, 10 * PX_SEC);
    CHECK_INT(fake_calls(f), 2);
    lose(f, 0, true); /* still lost */
    CHECK_INT(fake_calls(f), 3);
    fake_end(f);
}

TEST(a_relay_that_dies_under_a_call_makes_way_for_the_next_one)
{
    struct fake *f = start(2);
    f->peers[0].remote = direct(1);
    lose(f, 0, true);
    CHECK(fake_call_at(f, 1) != NULL);
    fake_down(f, 1, PX_ETIMEDOUT);
    fake_wait(f, 0);
    CHECK(fake_call_at(f, 2) != NULL);
    fake_end(f);
}

TEST(without_a_relay_nothing_is_called)
{
    struct fake *f = start(1);
    fake_down(f, 1, PX_ETIMEDOUT);
    f->peers[0].remote = direct(1);
    lose(f, 0, true);
    CHECK_INT(f->set->circuit_count, 0);
    fake_end(f);
}

TEST(an_answer_that_comes_too_late_is_not_used)
{
    struct fake *f = start(1);
    f->peers[0].remote = direct(1);
    lose(f, 0, true);
    struct px_relay_leg *leg = fake_call_at(f, 1);
    f->peers[0].remote = direct(2); /* found by itself */
    fake_open(f, leg);
    CHECK(leg->ended);
    fake_wait(f, 0);
    CHECK_INT(f->peers[0].suggested_count, 0);
    fake_end(f);
}

/* ---- a circuit that is lost ---- */

TEST(a_dead_relays_circuit_is_replaced_through_another_one_by_its_caller)
{
    for (int ours = 0; ours < 2; ours++) {
        struct fake *f = start(2);
        struct px_relay_leg *old = open_used(f, 0, 1, ours != 0);
        size_t calls = fake_calls(f);
        fake_kill(f, 1);
        fake_wait(f, 2 * PX_SEC);
        CHECK_INT(fake_calls(f) - calls, ours);
        if (ours) {
            struct px_relay_leg *leg = fake_call_at(f, 2);
            CHECK(leg != NULL);
            fake_open(f, leg);
            fake_wait(f, 0);
            CHECK(px_addr_eq(&f->peers[0].preferred, &fake_circuit(leg)->addr));
            struct px_addr circuit = fake_circuit(leg)->addr;
            move(f, 0, &circuit);
            fake_wait(f, PX_RELAYS_CIRCUIT_GRACE);
            CHECK(old->ended && leg->used);
        }
        fake_end(f);
    }
}

TEST(a_lost_circuit_is_replaced_though_its_relay_seems_well)
{
    struct fake *f = start(2);
    (void)open_used(f, 0, 1, true);
    lose(f, 0, true);
    CHECK(fake_call_at(f, 2) != NULL && fake_call_at(f, 1) == NULL);
    fake_refuse(f, fake_call_at(f, 2), PX_RELAY_NO_RESERVATION);
    fake_wait(f, 0);
    CHECK(fake_call_at(f, 1) != NULL); /* then through the same one */
    fake_end(f);
}

TEST(dead_circuits_that_nobody_uses_end_with_their_relay)
{
    struct fake *f = start(2);
    struct px_relay_leg *used = open_used(f, 0, 1, false);
    struct px_relay_leg *unused = fake_ring(f, 1, &f->peers[1].id);
    fake_open(f, unused);
    fake_wait(f, 10 * PX_SEC);
    CHECK(unused->used);
    fake_kill(f, 1);
    fake_wait(f, 2 * PX_SEC + PX_RELAYS_CIRCUIT_GRACE);
    CHECK(unused->ended && used->used);
    struct px_addr elsewhere = direct(1);
    move(f, 0, &elsewhere);
    fake_wait(f, PX_RELAYS_CIRCUIT_GRACE);
    CHECK(used->ended);
    fake_end(f);
}

TEST(a_circuit_that_ends_under_a_link_is_called_again_until_it_is_there)
{
    struct fake *f = start(1);
    struct px_relay_leg *old = open_used(f, 0, 1, true);
    fake_refuse(f, old, PX_RELAY_IDLE);
    fake_wait(f, 0);
    for (int i = 0; i < 5; i++) {
        size_t calls = fake_calls(f);
        fake_refuse(f, fake_call_at(f, 1), PX_RELAY_NO_RESERVATION);
        fake_wait(f, 1100 * PX_MSEC);
        CHECK_INT(fake_calls(f), calls + 1);
    }
    f->peers[0].remote = (struct px_addr){0}; /* the link ended */
    fake_refuse(f, fake_call_at(f, 1), PX_RELAY_NO_RESERVATION);
    fake_wait(f, 10 * PX_SEC);
    CHECK_INT(f->set->circuit_count, 0);
    fake_end(f);
}

TEST(a_restarting_relays_circuits_move_and_the_old_ones_stay_until_then)
{
    struct fake *f = start(2);
    struct px_relay_leg *old = open_used(f, 0, 1, true);
    struct px_relay *r = fake_relay(f, 1);
    r->client->config.ops->restarting(r, 5 * PX_SEC, PX_SEC);
    fake_wait(f, 0);
    struct px_relay_leg *leg = fake_call_at(f, 2);
    CHECK(leg != NULL && old->used);
    fake_open(f, leg);
    fake_wait(f, 0);
    CHECK(px_addr_eq(&f->peers[0].preferred, &fake_circuit(leg)->addr));
    fake_wait(f, 2 * PX_SEC);
    CHECK(old->used);
    fake_end(f);
}

TEST(a_circuit_without_packets_ends)
{
    struct fake *f = start(1);
    struct px_relay_leg *leg = open_used(f, 0, 1, true);
    fake_wait(f, PX_RELAYS_CIRCUIT_IDLE - PX_SEC);
    CHECK(leg->used);
    fake_wait(f, PX_SEC);
    CHECK(leg->ended);
    fake_end(f);
}

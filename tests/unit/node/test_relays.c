/* Which relays a node keeps connected, when it dials them again, and when it takes one for dead:
 * node/relays.c and relay_link.c on a virtual clock. */
#include <stdlib.h>

#include "tests/unit/node/fake_relays.c"

static bool is_up(struct fake *f, size_t number)
{
    return fake_relay(f, number)->state == PX_RELAY_UP;
}

TEST(all_are_dialled_at_first_and_two_that_work_are_kept)
{
    struct fake *f = fake_start(4);
    fake_wait(f, 0);
    CHECK_INT(f->link_count, 4);
    fake_reserve(f, 3);
    fake_reserve(f, 4);
    fake_wait(f, 0);
    CHECK(is_up(f, 3) && is_up(f, 4)); /* better than none */
    CHECK_INT(f->usable_count, 2);
    fake_reserve(f, 2);
    fake_wait(f, 0);
    CHECK(is_up(f, 2) && is_up(f, 3) && !is_up(f, 4));
    fake_reserve(f, 1);
    fake_wait(f, 0);
    CHECK(is_up(f, 1) && is_up(f, 2) && !is_up(f, 3));
    CHECK_INT(fake_relay(f, 4)->state, PX_RELAY_SPARE);
    CHECK_INT(f->usable_count, 2);
    CHECK_STR(f->usable[0], "r1");
    CHECK_STR(f->usable[1], "r2");
    fake_wait(f, 600 * PX_SEC);
    CHECK_INT(f->link_count, 4); /* nobody is dialled without need */
    fake_end(f);
}

TEST(the_next_one_stands_in_while_one_is_away_and_goes_again)
{
    struct fake *f = fake_start(3);
    fake_reserve_all(f);
    CHECK(!is_up(f, 3));
    fake_down(f, 1, PX_ETIMEDOUT);
    fake_wait(f, PX_DIAL_FIRST_PAUSE);
    CHECK_INT(fake_dials(f, 3), 2);
    fake_reserve(f, 3);
    fake_wait(f, 0);
    CHECK(is_up(f, 2) && is_up(f, 3));
    CHECK_INT(f->usable_count, 2);
    CHECK_INT(fake_dials(f, 1), 2);
    fake_reserve(f, 1);
    fake_wait(f, 0);
    CHECK(is_up(f, 1) && is_up(f, 2) && !is_up(f, 3));
    fake_end(f);
}

TEST(one_that_circuits_go_through_stays_until_they_end)
{
    struct fake *f = fake_start(3);
    fake_wait(f, 0);
    fake_reserve(f, 3);
    struct px_relay_leg *leg = fake_ring(f, 3, &f->peers[0].id);
    fake_open(f, leg);
    f->peers[0].remote = fake_circuit(leg)->addr;
    fake_reserve(f, 1);
    fake_reserve(f, 2);
    fake_wait(f, 10 * PX_SEC);
    CHECK(is_up(f, 3));
    CHECK_INT(f->usable_count, 3);
    f->circuits.left(f->set, &f->peers[0].remote);
    f->peers[0].remote = (struct px_addr){0};
    fake_wait(f, PX_RELAYS_CIRCUIT_GRACE);
    CHECK(leg->ended);
    fake_wait(f, PX_SEC);
    CHECK(!is_up(f, 3));
    fake_end(f);
}

TEST(one_that_is_not_reached_is_dialled_less_and_less_often)
{
    struct fake *f = fake_start(1);
    px_nsec pause = 0, longest = 0;
    fake_wait(f, 0);
    for (int i = 0; i < 12; i++) {
        px_nsec failed = f->now;
        size_t dials = f->link_count;
        fake_down(f, 1, PX_ETIMEDOUT);
        while (f->link_count == dials)
            fake_run(f, px_relays_deadline(f->set));
        pause = f->now - failed;
        longest = PX_MAX(longest, pause);
        CHECK(pause <= (PX_DIAL_FIRST_PAUSE << i) + PX_MSEC && pause <= PX_RELAYS_RETRY_MAX);
        CHECK(2 * pause >= PX_MIN(PX_DIAL_FIRST_PAUSE << i, PX_RELAYS_RETRY_MAX));
    }
    CHECK(longest >= PX_RELAYS_RETRY_MAX / 2);
    f->circuits.network_changed(f->set);
    fake_down(f, 1, PX_ETIMEDOUT);
    size_t dials = f->link_count;
    fake_wait(f, PX_DIAL_FIRST_PAUSE); /* it may work now */
    CHECK_INT(f->link_count, dials + 1);
    fake_end(f);
}

/* When the node knows that relay 1, killed now, is dead. */
static px_nsec time_until_noticed(struct fake *f)
{
    px_nsec killed = f->now;
    fake_kill(f, 1);
    while (is_up(f, 1))
        fake_run(f, px_relays_deadline(f->set));
    return f->now - killed;
}

TEST(a_dead_relay_in_use_is_noticed_in_two_seconds)
{
    for (px_nsec phase = 0; phase < PX_SEC; phase += 50 * PX_MSEC) {
        struct fake *f = fake_start(2);
        fake_reserve_all(f);
        struct px_relay_leg *leg = fake_ring(f, 1, &f->peers[0].id);
        fake_open(f, leg);
        f->peers[0].remote = fake_circuit(leg)->addr;
        fake_wait(f, 10 * PX_SEC + phase);
        CHECK(is_up(f, 1));
        CHECK(time_until_noticed(f) <= 2 * PX_SEC);
        CHECK_INT(f->usable_count, 1);
        fake_end(f);
    }
}

TEST(a_dead_relay_that_is_idle_is_noticed_by_its_rare_pings)
{
    struct fake *f = fake_start(1);
    fake_reserve_all(f);
    fake_wait(f, 100 * PX_SEC);
    px_nsec took = time_until_noticed(f);
    CHECK(took <= PX_RELAYS_PING_IDLE + PX_RELAYS_PONG_TIME);
    fake_end(f);
}

TEST(a_doubted_relay_is_asked_at_once)
{
    struct fake *f = fake_start(1);
    fake_reserve_all(f);
    fake_wait(f, 100 * PX_SEC);
    fake_kill(f, 1);
    px_relay_doubt(fake_relay(f, 1), f->now);
    CHECK(time_until_noticed(f) <= PX_RELAYS_PONG_TIME + PX_MSEC);
    fake_end(f);
}

/* SPEC relay §7: nodes of a relay that restarts come back spread over the time it named. */
TEST(nodes_come_back_to_a_restarted_relay_spread_over_the_window)
{
    enum { NODES = 300, PARTS = 6 };
    static const px_nsec left = 200 * PX_MSEC, spread = 6 * PX_SEC;
    size_t in[PARTS] = {0};
    for (int i = 0; i < NODES; i++) {
        struct fake *f = fake_start(1);
        fake_reserve_all(f);
        struct px_relay *r = fake_relay(f, 1);
        px_nsec told = f->now;
        r->client->config.ops->restarting(r, left, spread);
        CHECK_INT(f->usable_count, 0); /* no calls through it any more */
        fake_wait(f, left);
        fake_down(f, 1, PX_ECLOSED);
        fake_run(f, told + left + spread + PX_MSEC);
        CHECK_INT(f->link_count, 2);
        px_nsec at = f->links[1].dialled_at;
        CHECK(at >= told + left);
        in[PX_MIN((at - told - left) / (spread / PARTS), (px_nsec)PARTS - 1)]++;
        fake_end(f);
    }
    for (size_t i = 0; i < PARTS; i++) /* 50 expected; five standard deviations */
        CHECK(in[i] >= 18 && in[i] <= 82);
}

TEST(a_relay_that_said_it_goes_and_stays_is_used_again)
{
    struct fake *f = fake_start(1);
    fake_reserve_all(f);
    struct px_relay *r = fake_relay(f, 1);
    r->client->config.ops->restarting(r, PX_SEC, 0);
    CHECK_INT(f->usable_count, 0);
    fake_wait(f, 2 * PX_SEC);
    CHECK_INT(f->usable_count, 1);
    CHECK_INT(f->link_count, 1);
    fake_end(f);
}

/* A relay that is killed says nothing: its nodes must not come in one moment all the same. */
TEST(nobody_is_kept_away_for_good_by_what_a_relay_says)
{
    struct fake *f = fake_start(2);
    fake_reserve_all(f);
    struct px_relay *r = fake_relay(f, 1);
    r->client->config.ops->restarting(r, 31 * 24 * 3600 * PX_SEC, 31 * 24 * 3600 * PX_SEC);
    px_nsec until = r->away_until;
    CHECK(until <= f->now + PX_RELAYS_AWAY_MAX + PX_RELAYS_SPREAD_MAX);
    fake_wait(f, PX_SEC);
    r->client->config.ops->restarting(r, PX_RELAYS_AWAY_MAX, PX_SEC); /* again */
    CHECK_INT(r->away_until, until);
    fake_down(f, 1, PX_ECLOSED);
    fake_wait(f, PX_RELAYS_AWAY_MAX + PX_RELAYS_SPREAD_MAX);
    CHECK_INT(fake_dials(f, 1), 2);
    fake_end(f);
}

TEST(nodes_of_a_killed_relay_do_not_come_back_in_step)
{
    enum { NODES = 100, PARTS = 5 };
    size_t in[PARTS] = {0};
    for (int i = 0; i < NODES; i++) {
        struct fake *f = fake_start(1);
        fake_reserve_all(f);
        fake_wait(f, 100 * PX_SEC);
        fake_down(f, 1, PX_ETIMEDOUT);
        px_nsec down = f->now;
        fake_wait(f, PX_DIAL_FIRST_PAUSE + PX_MSEC);
        CHECK_INT(f->link_count, 2);
        px_nsec wait = f->links[1].dialled_at - down;
        CHECK(wait >= PX_DIAL_FIRST_PAUSE / 2);
        wait -= PX_DIAL_FIRST_PAUSE / 2;
        in[PX_MIN(wait / (PX_DIAL_FIRST_PAUSE / 2 / PARTS), (px_nsec)PARTS - 1)]++;
        fake_end(f);
    }
    for (size_t i = 0; i < PARTS; i++) /* 20 expected */
        CHECK(in[i] >= 3 && in[i] <= 42);
}

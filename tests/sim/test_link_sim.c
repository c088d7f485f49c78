/* Overlays on a virtual network: the production cores from UDP payloads upwards (overlay.c, link.c,
 * link_control.c, link_send.c over QUIC), many seeds. What works in any weather, and that there is
 * one link per peer. */
#include "tests/sim/sim_world.h"

static void exchange(uint64_t seed, const struct sim_weather *weather, uint64_t most)
{
    struct world w;
    world_start(&w, seed, weather);
    struct px_test_rng *rng = sim_net_rng(w.net);
    w.a.answer_max = w.b.answer_max = most;
    world_connect(&w);
    for (int i = 0; i < 6; i++) {
        CHECK(host_send(&w.a, w.a.links[0], px_test_rng_next(rng) % most));
        CHECK(host_send(&w.b, w.b.links[0], px_test_rng_next(rng) % most));
    }
    CHECK(host_send(&w.a, w.a.links[0], 0));
    CHECK(world_run_until(&w, world_bulks_done, 120 * PX_SEC));
    CHECK_INT(w.a.bulk_count, 13);
    CHECK_INT(w.b.bulk_count, 13);
    CHECK_STR(px_link_agent(w.a.links[0]), "sim/1");
    world_deinit(&w);
}

TEST(streams_arrive_byte_for_byte_both_ways_in_any_weather)
{
    exchange(1, &sim_calm, 400000);
    for (uint64_t i = 0; i < sim_seeds(8); i++)
        exchange(10000 + i, &sim_rough, 60000);
    for (uint64_t i = 0; i < sim_seeds(2); i++)
        exchange(20000 + i, &sim_narrow, 100000);
}

TEST(a_link_is_up_after_three_round_trips_at_the_dialler)
{
    struct world w;
    world_start(&w, 5, &sim_calm);
    px_nsec start = sim_net_now(w.net);
    world_connect(&w);
    px_nsec took = sim_net_now(w.net) - start;
    CHECK(took >= 30 * PX_MSEC);
    CHECK(took < 31 * PX_MSEC);
    world_deinit(&w);
}

/* Whole round trips of a 40 ms link, from the first packet of a dial to a known address. */
TEST(a_dialler_is_secured_after_two_round_trips_and_has_its_first_response_after_three)
{
    const px_nsec rtt = 40 * PX_MSEC;
    struct world w;
    world_start(&w, 6, &(struct sim_weather){.delay = 20 * PX_MSEC});
    w.a.early = 1;
    w.a.early_size = 1000;
    w.b.answer_max = 2;
    px_nsec start = sim_net_now(w.net);
    world_connect(&w);
    CHECK(world_run_until(&w, world_bulks_done, PX_SEC));
    CHECK_INT(w.a.early_count, 1);
    CHECK_INT((w.a.early_at - start) / rtt, 2);
    CHECK_INT((w.a.bulks[0].began_at - start) / rtt, 3);
    CHECK(w.a.bulks[0].began_at - start < 3 * rtt + PX_MSEC);
    CHECK_INT(w.b.up_count, 1);
    world_deinit(&w);
}

TEST(early_streams_arrive_in_any_weather_or_end_with_their_dial)
{
    size_t arrived = 0;
    for (uint64_t seed = 130; seed < 130 + sim_seeds(16); seed++) {
        struct world w;
        world_start(&w, seed, &sim_rough);
        w.a.early = PX_LINK_PARKED_STREAMS;
        w.a.early_size = 1 + seed % 4 * 1500; /* up to more than the window takes */
        w.b.answer_max = 3000;
        w.b.greet = 3;
        CHECK_OK(host_dial(&w.a, &w.b));
        if (!world_run_until(&w, world_both_up, 6 * PX_SEC)) {
            CHECK_INT(w.a.up_count, 0);
            CHECK_INT(w.a.down_count, 1);
            for (size_t i = 0; i < w.a.bulk_count; i++)
                CHECK_ERR(w.a.bulks[i].err, PX_ECLOSED);
            world_deinit(&w);
            continue;
        }
        arrived++;
        CHECK(world_run_until(&w, world_bulks_done, 60 * PX_SEC));
        CHECK_INT(w.a.bulk_count, PX_LINK_PARKED_STREAMS + 3);
        CHECK_INT(w.b.bulk_count, PX_LINK_PARKED_STREAMS + 3);
        world_deinit(&w);
    }
    CHECK(arrived > sim_seeds(16) * 3 / 4);
}

static bool one_early(const struct world *w)
{
    return w->a.early_count == 1;
}

TEST(no_more_streams_may_be_opened_early_than_the_peer_parks)
{
    struct world w;
    world_start(&w, 7, &sim_calm);
    w.a.early = PX_LINK_PARKED_STREAMS - 1;
    w.a.early_size = 10;
    CHECK_OK(host_dial(&w.a, &w.b));
    CHECK(world_run_until(&w, one_early, PX_SEC));
    struct px_link *l = px_stream_link(w.a.bulks[0].stream);
    uint64_t nonce;
    CHECK_ERR(px_link_ping(l, &nonce), PX_ESTATE);
    CHECK(host_send(&w.a, l, 10));
    CHECK(!host_send(&w.a, l, 10));
    CHECK_INT(w.a.available_count, 0);
    CHECK(world_run_until(&w, world_both_up, PX_SEC));
    CHECK(w.a.available_count > 0);
    CHECK(host_send(&w.a, l, 10));
    CHECK(world_run_until(&w, world_bulks_done, PX_SEC));
    CHECK_INT(w.b.bulk_count, PX_LINK_PARKED_STREAMS + 1);
    world_deinit(&w);
}

TEST(streams_that_overtake_accepted_are_parked_and_delivered)
{
    size_t overtaken = 0;
    for (uint64_t seed = 100; seed < 116; seed++) {
        struct world w;
        world_start(&w, seed,
                    &(struct sim_weather){.delay = 5 * PX_MSEC, .loss = 100, .reorder = 300});
        w.b.greet = 5; /* at once after `accepted` */
        CHECK_OK(host_dial(&w.a, &w.b));
        if (!world_run_until(&w, world_both_up, 20 * PX_SEC)) {
            world_deinit(&w); /* 5 s were not enough in such weather */
            continue;
        }
        /* delivered inside the very run that brought the link up */
        overtaken += w.a.bulk_count > 0;
        CHECK(world_run_until(&w, world_bulks_done, 60 * PX_SEC));
        CHECK_INT(w.b.bulk_count, 5);
        CHECK_INT(w.a.bulk_count, 5);
        world_deinit(&w);
    }
    CHECK(overtaken > 2);
}

/* ---- what the two ends say about the link ---- */

TEST(both_ends_know_the_binding_of_their_link_and_no_other_has_it)
{
    uint8_t first[PX_LINK_BINDING_LEN], a[PX_LINK_BINDING_LEN], b[PX_LINK_BINDING_LEN];
    for (uint64_t seed = 20; seed < 22; seed++) {
        struct world w;
        world_start(&w, seed, &sim_calm);
        world_connect(&w);
        px_link_binding(w.a.links[0], a);
        px_link_binding(w.b.links[0], b);
        CHECK(memcmp(a, b, sizeof(a)) == 0);
        if (seed > 20)
            CHECK(memcmp(a, first, sizeof(a)) != 0);
        memcpy(first, a, sizeof(a));
        world_deinit(&w);
    }
}

TEST(a_ping_takes_one_round_trip_however_long_the_link_was_idle)
{
    struct world w;
    uint64_t nonce;
    world_start(&w, 22, &sim_calm);
    world_connect(&w);
    for (int side = 0; side < 2; side++) {
        struct host *h = side == 0 ? &w.a : &w.b;
        world_run(&w, 7 * PX_SEC);
        CHECK_OK(px_link_ping(h->links[0], &nonce));
        sim_node_kick(h->node);
        world_run(&w, 100 * PX_MSEC);
        CHECK_INT(h->pong_count, 1);
        CHECK(h->pong_nonce == nonce);
        CHECK(h->pong_rtt >= 10 * PX_MSEC && h->pong_rtt < 11 * PX_MSEC);
    }
    world_deinit(&w);
}

TEST(pings_without_answer_are_limited)
{
    struct world w;
    uint64_t nonce;
    world_start(&w, 23, &sim_calm);
    world_connect(&w);
    struct px_link *l = w.a.links[0];
    for (int round = 1; round <= 2; round++) {
        for (int i = 0; i < PX_LINK_PINGS_MAX; i++)
            CHECK_OK(px_link_ping(l, &nonce));
        CHECK_ERR(px_link_ping(l, &nonce), PX_EBUSY);
        sim_node_kick(w.a.node);
        world_run(&w, PX_SEC);
        CHECK_INT(w.a.pong_count, round * PX_LINK_PINGS_MAX);
    }
    px_link_close(l, PX_CLOSE_NONE);
    CHECK_ERR(px_link_ping(l, &nonce), PX_ESTATE);
    world_deinit(&w);
}

/* ---- one link per peer ---- */

static bool quiet_with_one(const struct world *w)
{
    return world_both_up(w) &&
           px_link_is_quic_client(w->a.links[0]) != px_link_is_quic_client(w->b.links[0]);
}

TEST(simultaneous_dials_end_in_one_link)
{
    size_t by_lower = 0, by_higher = 0, flaps = 0;
    for (uint64_t seed = 30000; seed < 30000 + sim_seeds(40); seed++) {
        struct world w;
        bool lossy = seed % 4 == 3;
        world_start(&w, seed, lossy ? &sim_rough : &sim_jittery);
        w.a.early = w.b.early = seed % 3;
        w.a.early_size = w.b.early_size = 700;
        CHECK_OK(host_dial(&w.a, &w.b));
        world_run(&w,
                  px_test_rng_next(sim_net_rng(w.net)) % (seed % 2 ? 8 * PX_MSEC : 30 * PX_MSEC));
        if (host_link_to(&w.b, &w.a) == NULL)
            CHECK_OK(host_dial(&w.b, &w.a));
        CHECK(world_run_until(&w, world_both_up, 20 * PX_SEC));
        world_run(&w, 12 * PX_SEC); /* everything else has ended by then */
        CHECK(quiet_with_one(&w));
        CHECK(host_link_to(&w.a, &w.b) == w.a.links[0]);
        const struct host *hosts[] = {&w.a, &w.b};
        for (int i = 0; i < 2 && !lossy; i++) { /* the loser did not just time out */
            CHECK_ERR(hosts[i]->down_err, hosts[i]->down_count > 0 ? PX_EDUPLICATE : 0);
            CHECK_ERR(hosts[i]->refused_err, hosts[i]->refused_count > 0 ? PX_EDUPLICATE : 0);
        }
        bool a_lower = memcmp(w.a.identity.id.key, w.b.identity.id.key, 32) < 0;
        bool dialled_by_a = px_link_is_quic_client(w.a.links[0]);
        *(a_lower == dialled_by_a ? &by_lower : &by_higher) += 1;
        flaps += w.a.up_count + w.b.up_count - 2;
        for (size_t i = 0; i < w.a.bulk_count; i++) /* early streams end like others */
            CHECK(w.a.bulks[i].closed && (w.a.bulks[i].err == 0 || !w.a.bulks[i].wrong));
        w.a.bulk_count = w.b.bulk_count = 0;
        /* and it works */
        CHECK(host_send(&w.a, w.a.links[0], 5000));
        CHECK(host_send(&w.b, w.b.links[0], 5000));
        CHECK(world_run_until(&w, world_bulks_done, 30 * PX_SEC));
        world_deinit(&w);
    }
    CHECK(by_lower > by_higher);
    CHECK(flaps < sim_seeds(4));
}

TEST(a_restarted_peer_replaces_its_old_link)
{
    struct world w;
    world_start(&w, 300, &sim_calm);
    world_connect(&w);
    struct px_link *old = w.b.links[0];
    CHECK(host_send(&w.b, old, 100));
    host_kill(&w.a);
    host_start(&w.a, 999);
    CHECK_OK(host_dial(&w.a, &w.b));
    CHECK(world_run_until(&w, world_both_up, 10 * PX_SEC));
    CHECK_INT(w.b.up_count, 2);
    CHECK_INT(w.b.down_count, 1);
    CHECK_ERR(w.b.down_err, PX_EDUPLICATE);
    CHECK(w.b.down_was_up && !w.b.down_by_peer);
    CHECK(w.b.bulks[0].closed);
    CHECK_ERR(w.b.bulks[0].err, PX_ECLOSED);
    CHECK_ERR(host_dial(&w.b, &w.a), PX_EEXIST);
    world_deinit(&w);
}

TEST(a_peer_that_lost_its_link_gets_a_new_one_with_the_same_boot_id)
{
    struct world w;
    world_start(&w, 301, &sim_calm);
    world_connect(&w);
    /* a forgets the link, and b hears nothing of it */
    world_run(&w, 6 * PX_SEC);
    px_link_close(w.a.links[0], PX_CLOSE_NONE);
    sim_net_set_weather(w.net, &(struct sim_weather){.delay = PX_MSEC, .loss = 1000});
    sim_node_kick(w.a.node);
    world_run(&w, PX_SEC);
    CHECK_INT(w.a.link_count, 0);
    CHECK_INT(w.b.link_count, 1);
    sim_net_set_weather(w.net, &sim_calm);
    world_connect(&w);
    CHECK_INT(w.b.up_count, 2);
    CHECK_ERR(w.b.down_err, PX_EDUPLICATE);
    world_run(&w, 10 * PX_SEC);
    CHECK(world_both_up(&w));
    world_deinit(&w);
}

/* The old link fails in the very turn in which a new one is proved, as when the peer breaks a rule
 * on it in the next datagram. */
TEST(a_link_that_is_ending_is_no_rival)
{
    for (uint64_t seed = 310; seed < 314; seed++) {
        struct world w;
        world_start(&w, seed, &sim_calm);
        bool a_lower = memcmp(w.a.identity.id.key, w.b.identity.id.key, 32) < 0;
        struct host *lower = a_lower ? &w.a : &w.b, *higher = a_lower ? &w.b : &w.a;
        CHECK_OK(host_dial(seed % 2 ? higher : lower, seed % 2 ? lower : higher));
        CHECK(world_run_until(&w, world_both_up, 10 * PX_SEC));
        /* one forgets the link, the other hears nothing of it */
        world_run(&w, 6 * PX_SEC);
        px_link_close(lower->links[0], PX_CLOSE_NONE);
        sim_net_set_weather(w.net, &sim_gone);
        sim_node_kick(lower->node);
        world_run(&w, PX_SEC);
        sim_net_set_weather(w.net, &sim_calm);
        higher->close_when_asked = true;
        CHECK_OK(host_dial(lower, higher));
        CHECK(world_run_until(&w, world_both_up, 10 * PX_SEC));
        CHECK_ERR(higher->down_err, px_close_error(PX_CLOSE_PROTOCOL));
        CHECK_INT(higher->down_count, 1);
        world_run(&w, 10 * PX_SEC);
        CHECK(quiet_with_one(&w));
        world_deinit(&w);
    }
}

TEST(two_machines_with_one_key_are_reported)
{
    struct world w;
    struct host clone;
    world_start(&w, 302, &sim_calm);
    host_init(&clone, w.net, 3, 302 * 10 + 1);
    CHECK(px_peer_id_eq(&clone.identity.id, &w.a.identity.id));
    host_start(&clone, 4711);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(w.b.cloned_count, 0);
        CHECK_OK(host_dial(&w.a, &w.b));
        world_run(&w, PX_SEC);
        CHECK_OK(host_dial(&clone, &w.b));
        world_run(&w, PX_SEC);
        CHECK_INT(w.b.link_count, 1);
    }
    CHECK_INT(w.b.cloned_count, 1);
    host_deinit(&clone);
    world_deinit(&w);
}

static void restart(struct host *h, uint64_t seed)
{
    host_kill(h);
    host_start(h, seed);
}

static void act(struct world *w, uint64_t dice)
{
    static const struct sim_weather *const weathers[] = {&sim_calm, &sim_jittery, &sim_rough,
                                                         &sim_narrow, &sim_gone};
    struct host *h = dice & 64 ? &w->a : &w->b, *other = h == &w->a ? &w->b : &w->a;
    switch (dice % 8) {
    case 0:
        restart(h, dice);
        return;
    case 1:
        if (h->link_count > 0)
            px_link_close(h->links[0], PX_CLOSE_NONE);
        sim_node_kick(h->node);
        return;
    case 2:
        sim_net_set_weather(w->net, weathers[(dice >> 8) % PX_ARRAY_LEN(weathers)]);
        return;
    default: { /* refused where there is a link */
        bool had = host_link_to(h, other) != NULL;
        int err = host_dial(h, other);
        CHECK_ERR(err, had ? PX_EEXIST : 0);
    }
    }
}

/* Dials at random, restarts, lost packets, closed links: whatever happened, once the weather is
 * calm two nodes that keep dialling end up with one and the same link, and it works. */
TEST(any_history_ends_in_one_working_link)
{
    for (uint64_t seed = 40000; seed < 40000 + sim_seeds(24); seed++) {
        struct world w;
        world_start(&w, seed, &sim_rough);
        struct px_test_rng *rng = sim_net_rng(w.net);
        for (int i = 0; i < 40; i++) {
            act(&w, px_test_rng_next(rng) >> 8);
            world_run(&w, px_test_rng_next(rng) % (i % 5 == 0 ? 4 * PX_SEC : 40 * PX_MSEC));
        }
        sim_net_set_weather(w.net, &sim_calm);
        for (int i = 0; i < 50; i++) {
            if (host_link_to(&w.a, &w.b) == NULL)
                CHECK_OK(host_dial(&w.a, &w.b));
            if (host_link_to(&w.b, &w.a) == NULL)
                CHECK_OK(host_dial(&w.b, &w.a));
            world_run(&w, PX_SEC);
        }
        CHECK(quiet_with_one(&w));
        w.a.bulk_count = w.b.bulk_count = 0;
        CHECK(host_send(&w.a, w.a.links[0], 3000));
        CHECK(host_send(&w.b, w.b.links[0], 3000));
        CHECK(world_run_until(&w, world_bulks_done, 5 * PX_SEC));
        world_deinit(&w);
    }
}

/* ---- the end ---- */

TEST(the_reason_of_an_end_is_seen_at_both_sides)
{
    static const struct {
        enum px_close_code code;
        int here, there;
    } cases[] = {
        {PX_CLOSE_NONE, PX_ECLOSED, PX_ECLOSED},
        {PX_CLOSE_SHUTDOWN, PX_ECLOSED, PX_ECLOSED},
        {PX_CLOSE_REVOKED, PX_EREVOKED, PX_EREVOKED},
        {PX_CLOSE_UNLISTED, PX_EUNLISTED, PX_EREFUSED},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++) {
        struct world w;
        world_start(&w, 600 + i, &sim_calm);
        world_connect(&w);
        CHECK(host_send(&w.b, w.b.links[0], 100));
        px_link_close(w.a.links[0], cases[i].code);
        sim_node_kick(w.a.node);
        world_run(&w, PX_SEC);
        CHECK_ERR(w.a.down_err, cases[i].here);
        CHECK_ERR(w.b.down_err, cases[i].there);
        CHECK(w.a.down_stats.bytes_sent > 1000 && w.b.down_stats.bytes_sent > 1000);
        CHECK(w.a.down_stats.rtt_ns > 0 && w.b.down_stats.rtt_ns > 0);
        CHECK(!w.a.down_by_peer && w.b.down_by_peer && w.a.down_was_up && w.b.down_was_up);
        CHECK_INT(w.a.link_count + w.b.link_count, 0);
        world_deinit(&w);
    }
}

TEST(a_network_that_goes_away_ends_the_link)
{
    struct world w;
    world_start(&w, 610, &sim_calm);
    world_connect(&w);
    sim_net_set_weather(w.net, &(struct sim_weather){.loss = 1000});
    world_run(&w, 61 * PX_SEC);
    CHECK_INT(w.a.link_count + w.b.link_count, 0);
    CHECK_ERR(w.a.down_err, PX_ETIMEDOUT);
    world_deinit(&w);
}

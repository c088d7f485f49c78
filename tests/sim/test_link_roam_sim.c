/* Links whose ends change their addresses while streams run (docs/spec/paths.md): whole nodes, the
 * stall measured on the virtual clock. */
#include "tests/sim/sim_world.h"
#include "transport/link_internal.h" /* who is in doubt */

static const struct sim_weather line = {.delay = 20 * PX_MSEC, .rate = 1000000, .queue = 100000};

#define STALL_MAX (2 * PX_SEC)

static struct px_addr elsewhere(uint8_t number)
{
    struct px_addr a = sim_addr(number);
    a.ip[1] = 77;
    return a;
}

static void start(struct world *w, uint64_t seed, const struct sim_weather *weather)
{
    world_start(w, seed, weather);
    w->a.any_local = true;
    world_connect(w);
    world_run(w, PX_SEC);
}

/* How long nothing arrived, at the longest. */
struct watch {
    struct host *reader;
    uint64_t pos;
    px_nsec since, longest;
};

static struct watch watch_start(struct host *reader)
{
    return (struct watch){.reader = reader, .since = sim_net_now(reader->net)};
}

static void watch_look(struct watch *v)
{
    px_nsec now = sim_net_now(v->reader->net);
    uint64_t pos = v->reader->bulk_count > 0 ? v->reader->bulks[0].in_pos : 0;
    v->longest = PX_MAX(v->longest, now - v->since);
    if (pos != v->pos)
        v->since = now;
    v->pos = pos;
}

static void run_watched(struct world *w, struct watch *v, px_nsec time)
{
    px_nsec until = sim_net_now(w->net) + time;
    while (!world_bulks_done(w) && sim_net_step(w->net, until))
        watch_look(v);
}

static void check_works(struct world *w)
{
    w->a.bulk_count = w->b.bulk_count = 0;
    CHECK_INT(w->a.up_count + w->b.up_count, 2); /* it is the same link */
    CHECK(host_send(&w->a, w->a.links[0], 3000));
    CHECK(host_send(&w->b, w->b.links[0], 3000));
    CHECK(world_run_until(w, world_bulks_done, 5 * PX_SEC));
}

static void check_path(const struct host *h, const struct px_addr *local,
                       const struct px_addr *remote)
{
    struct px_path path;
    px_link_path(h->links[0], &path);
    CHECK(px_addr_eq(&path.local, local));
    CHECK(px_addr_eq(&path.remote, remote));
    CHECK(h->moved_count > 0 && px_path_eq(&path, &h->path));
}

enum mover { CLIENT, SERVER };

static void move_mid_stream(uint64_t seed, enum mover mover, enum mover sender, bool told,
                            const struct sim_weather *weather)
{
    struct world w;
    start(&w, seed, weather);
    struct host *from = sender == CLIENT ? &w.a : &w.b, *to = sender == CLIENT ? &w.b : &w.a;
    struct host *h = mover == CLIENT ? &w.a : &w.b;
    struct px_addr there = elsewhere(h->number), a = sim_addr(1), b = sim_addr(2);
    CHECK(host_send(from, from->links[0], 3000000));
    struct watch v = watch_start(to);
    run_watched(&w, &v, PX_SEC);
    CHECK(v.pos > 100000 && v.pos < 2500000);
    host_move(h, &there, told);
    run_watched(&w, &v, 60 * PX_SEC);
    CHECK(world_bulks_done(&w));
    CHECK(v.longest <= STALL_MAX);
    check_path(&w.a, mover == CLIENT ? &there : &a, mover == SERVER ? &there : &b);
    check_path(&w.b, mover == SERVER ? &there : &b, mover == CLIENT ? &there : &a);
    check_works(&w);
    world_deinit(&w);
}

TEST(a_stream_goes_on_when_either_end_moves_told_or_not)
{
    for (int i = 0; i < 8; i++)
        move_mid_stream(1000 + (uint64_t)i, (enum mover)(i & 1), (enum mover)(i >> 1 & 1),
                        (i & 4) == 0, &line);
}

TEST(a_stream_goes_on_in_rough_weather)
{
    for (uint64_t i = 0; i < sim_seeds(6); i++)
        move_mid_stream(1100 + i, (enum mover)(i & 1), (enum mover)(i >> 1 & 1), (i & 4) == 0,
                        &(struct sim_weather){.delay = 20 * PX_MSEC,
                                              .jitter = 5 * PX_MSEC,
                                              .loss = 10,
                                              .reorder = 20,
                                              .rate = 1000000,
                                              .queue = 100000});
}

TEST(a_new_nat_mapping_is_followed_mid_stream)
{
    for (int i = 0; i < 2; i++) { /* the side behind the NAT sends, or the other one */
        struct world w;
        start(&w, 1200 + (uint64_t)i, &line);
        struct host *from = i == 0 ? &w.a : &w.b, *to = i == 0 ? &w.b : &w.a;
        CHECK(host_send(from, from->links[0], 3000000));
        struct watch v = watch_start(to);
        for (uint16_t port = 6000; port < 6003; port++) {
            run_watched(&w, &v, 700 * PX_MSEC);
            sim_node_set_mapping(w.a.node, port);
        }
        run_watched(&w, &v, 60 * PX_SEC);
        CHECK(world_bulks_done(&w));
        CHECK(v.longest <= STALL_MAX);
        struct px_addr b = sim_addr(2), seen = sim_addr(1);
        seen.port = 6002;
        check_path(&w.b, &b, &seen);
        check_works(&w);
        world_deinit(&w);
    }
}

static void there_and_back(uint64_t seed, int moves, bool told, px_nsec gap)
{
    struct world w;
    start(&w, seed, &line);
    w.b.answer_max = 1;
    CHECK(host_send(&w.a, w.a.links[0], 12000000));
    struct watch v = watch_start(&w.b);
    for (int i = 0; i < moves; i++) {
        struct host *h = i % 2 == 0 ? &w.a : &w.b;
        struct px_addr there = elsewhere(h->number);
        run_watched(&w, &v, gap);
        host_move(h, i / 2 % 2 == 0 ? &there : NULL, told);
    }
    run_watched(&w, &v, 60 * PX_SEC);
    CHECK(world_bulks_done(&w));
    CHECK(v.longest <= STALL_MAX);
    CHECK(w.a.moved_count >= (size_t)moves && w.b.moved_count >= (size_t)moves);
    check_works(&w);
    world_deinit(&w);
}

TEST(both_ends_move_there_and_back_again_many_times)
{
    there_and_back(1300, 14, true, 600 * PX_MSEC);
    there_and_back(1301, 5, false, 2200 * PX_MSEC);
}

/* SPEC paths §6: neither finds the other, until one is back or the link ends. */
TEST(both_ends_at_once_lose_each_other_until_one_comes_back)
{
    for (int i = 0; i < 2; i++) {
        struct world w;
        start(&w, 1310 + (uint64_t)i, &line);
        struct px_addr a = elsewhere(1), b = elsewhere(2);
        host_move(&w.a, &a, true);
        host_move(&w.b, &b, true);
        world_run(&w, 10 * PX_SEC);
        CHECK(w.a.link_count == 1 && w.b.link_count == 1);
        CHECK_INT(w.a.moved_count + w.b.moved_count, 0);
        if (i == 0) {
            host_move(&w.b, NULL, true);
            world_run(&w, 2 * PX_SEC);
            CHECK(w.a.moved_count == 1 && w.b.moved_count == 1);
            check_works(&w);
        } else {
            world_run(&w, 31 * PX_SEC);
            CHECK_INT(w.a.link_count + w.b.link_count, 0);
            CHECK_ERR(w.a.down_err, PX_ETIMEDOUT);
        }
        world_deinit(&w);
    }
}

TEST(a_second_change_while_the_first_is_dealt_with_is_noticed_too)
{
    for (uint64_t i = 0; i < 32; i++) {
        struct world w;
        start(&w, 1400 + i, &line);
        struct host *h = i & 1 ? &w.a : &w.b, *from = i & 2 ? &w.a : &w.b;
        struct px_addr first = elsewhere(h->number), second = elsewhere(h->number);
        second.ip[2] = 1;
        CHECK(host_send(from, from->links[0], 3000000));
        struct watch v = watch_start(from == &w.a ? &w.b : &w.a);
        run_watched(&w, &v, PX_SEC);
        host_move(h, &first, (i & 4) != 0);
        run_watched(&w, &v, (10 + 25 * i) * PX_MSEC); /* 10 to 785 ms */
        host_move(h, &second, false);
        run_watched(&w, &v, 60 * PX_SEC);
        CHECK(world_bulks_done(&w));
        CHECK(v.longest <= STALL_MAX);
        check_works(&w);
        world_deinit(&w);
    }
}

/* A listed peer that shows a victim's address as its own, in all it sends. */
TEST(a_peer_cannot_turn_a_link_on_somebody_else)
{
    for (int i = 0; i < 2; i++) {
        struct world w;
        start(&w, 1330 + (uint64_t)i, &line);
        struct host *forger = i == 0 ? &w.a : &w.b, *other = i == 0 ? &w.b : &w.a;
        CHECK(host_send(other, other->links[0], 8000000));
        CHECK(host_send(forger, forger->links[0], 8000000));
        world_run(&w, PX_SEC);
        struct px_quic_stats before, after;
        px_link_stats(forger->links[0], &before);
        CHECK_INT(sim_net_astray(w.net), 0);
        sim_node_forge(forger->node, 7777);
        for (int t = 0; t < 100; t++) {
            px_overlay_network_changed(forger->overlay, sim_net_now(w.net));
            sim_node_kick(forger->node);
            world_run(&w, 100 * PX_MSEC);
        }
        px_link_stats(forger->links[0], &after);
        CHECK(after.bytes_sent > before.bytes_sent);
        uint64_t astray = sim_net_astray(w.net);
        CHECK(astray > 0 && astray <= 68 * (32 + 16 * 10 + 1)); /* answers alone, few of them */
        CHECK_INT(other->moved_count, 0);
        sim_node_forge(forger->node, 0); /* and it is all the same afterwards */
        world_run(&w, 3 * PX_SEC);
        CHECK(world_run_until(&w, world_bulks_done, 60 * PX_SEC));
        check_works(&w);
        world_deinit(&w);
    }
}

TEST(after_an_outage_a_stream_goes_on_at_once)
{
    for (int i = 0; i < 4; i++) {
        const px_nsec outage = i & 2 ? 3 * PX_SEC : 12 * PX_SEC;
        struct world w;
        start(&w, 1340 + (uint64_t)i, &line);
        struct host *from = i & 1 ? &w.a : &w.b, *to = i & 1 ? &w.b : &w.a;
        CHECK(host_send(from, from->links[0], 3000000));
        struct watch v = watch_start(to);
        run_watched(&w, &v, PX_SEC);
        sim_net_set_weather(w.net, &sim_gone);
        run_watched(&w, &v, outage);
        sim_net_set_weather(w.net, &line);
        run_watched(&w, &v, 60 * PX_SEC);
        CHECK(world_bulks_done(&w));
        CHECK(v.longest >= outage && v.longest <= outage + 1200 * PX_MSEC);
        check_works(&w);
        world_deinit(&w);
    }
}

TEST(both_ends_at_once_find_each_other_when_one_learns_where_the_other_is)
{
    for (int i = 0; i < 6; i++) {
        struct world w;
        start(&w, 1350 + (uint64_t)i, &line);
        struct px_addr a = elsewhere(1), b = elsewhere(2);
        CHECK(host_send(&w.a, w.a.links[0], 2000000));
        struct watch v = watch_start(&w.b);
        run_watched(&w, &v, 500 * PX_MSEC);
        host_move(&w.a, &a, i % 2 == 0);
        host_move(&w.b, &b, i % 2 == 0);
        run_watched(&w, &v, i < 2 ? 0 : 700 * PX_MSEC); /* before the doubt, or in it */
        if (i / 2 != 1)
            px_link_suggest(w.a.links[0], &b);
        if (i / 2 != 2)
            px_link_suggest(w.b.links[0], &a);
        sim_node_kick(w.a.node);
        sim_node_kick(w.b.node);
        run_watched(&w, &v, 20 * PX_SEC);
        CHECK(world_bulks_done(&w));
        CHECK(v.longest <= STALL_MAX);
        check_path(&w.a, &a, &b);
        check_path(&w.b, &b, &a);
        check_works(&w);
        world_deinit(&w);
    }
}

TEST(a_change_that_does_not_concern_a_link_moves_nothing)
{
    struct world w;
    start(&w, 1320, &line);
    CHECK(host_send(&w.a, w.a.links[0], 1000000));
    for (int i = 0; i < 200; i++) { /* as netlink may report them */
        px_overlay_network_changed(i % 2 ? w.a.overlay : w.b.overlay, sim_net_now(w.net));
        sim_node_kick(i % 2 ? w.a.node : w.b.node);
        world_run(&w, 5 * PX_MSEC);
    }
    uint64_t sent = w.a.overlay != NULL ? sim_net_delivered(w.net) : 0;
    CHECK(world_run_until(&w, world_bulks_done, 10 * PX_SEC));
    CHECK_INT(w.a.moved_count + w.b.moved_count, 0);
    CHECK(sent < 5000);
    check_works(&w);
    world_deinit(&w);
}

/* Virtual time from a change until a ping of the other side is answered. */
static px_nsec time_to_work(struct world *w, struct host *asks)
{
    px_nsec start_at = sim_net_now(w->net);
    uint64_t nonce;
    size_t before = asks->pong_count;
    CHECK_OK(px_link_ping(asks->links[0], &nonce));
    sim_node_kick(asks->node);
    while (asks->pong_count == before && sim_net_step(w->net, start_at + 20 * PX_SEC))
        ;
    CHECK_INT(asks->pong_count, before + 1);
    return sim_net_now(w->net) - start_at;
}

/* SPEC paths §5: a relay has no doubts. */
TEST(a_passive_end_asks_nobody_in_doubt_and_answers_all_the_same)
{
    struct world w;
    start(&w, 1500, &line);
    world_run(&w, 4 * PX_SEC);
    struct px_link *l = w.b.links[0];
    w.b.overlay->passive = true;
    px_link_on_silent(l);
    CHECK_INT(l->roam.path.state, PX_LINK_PATH_STEADY);
    w.b.overlay->passive = false;
    px_link_on_silent(l);
    CHECK_INT(l->roam.path.state, PX_LINK_PATH_DOUBT);
    w.b.overlay->passive = true;
    world_run(&w, 4 * PX_SEC);
    struct px_addr there = elsewhere(w.a.number);
    host_move(&w.a, &there, true);
    world_run(&w, PX_SEC);
    CHECK(w.a.moved_count == 1 && w.b.moved_count == 1);
    check_works(&w);
    world_deinit(&w);
}

TEST(an_idle_link_moves_when_told_and_when_it_is_next_used)
{
    for (int i = 0; i < 8; i++) {
        struct world w;
        start(&w, 1400 + (uint64_t)i, &line);
        struct host *h = i & 1 ? &w.a : &w.b, *asks = i & 2 ? &w.a : &w.b;
        struct px_addr there = elsewhere(h->number);
        bool told = (i & 4) != 0;
        world_run(&w, 4 * PX_SEC);
        host_move(h, &there, told);
        if (told) {
            world_run(&w, PX_SEC);
            CHECK(w.a.moved_count == 1 && w.b.moved_count == 1);
        }
        px_nsec took = time_to_work(&w, asks);
        /* who moved unnoticed and is asked hears nothing before it sends something itself */
        if (told || h == asks)
            CHECK(took <= (told ? 50 * PX_MSEC : STALL_MAX));
        else
            CHECK(took <= 12 * PX_SEC);
        check_works(&w);
        world_deinit(&w);
    }
}

/* ---- a dead direct path, and a circuit beside it ---- */

static bool from_a_only(void *ctx, uint8_t from, uint8_t to)
{
    (void)ctx;
    return from == 1 && to == 2;
}

static bool nothing(void *ctx, uint8_t from, uint8_t to)
{
    (void)ctx, (void)from, (void)to;
    return false;
}

static bool on_circuit(const struct host *h)
{
    struct px_path path;
    px_link_path(h->links[0], &path);
    return px_addr_is_circuit(&path.remote);
}

/* What a node does for `lost`: it has a circuit a moment later, the other end a little later yet.
 */
static void offer_circuit(struct world *w, struct watch *v, const struct px_addr *circuit)
{
    px_nsec until = sim_net_now(w->net) + 5 * PX_SEC;
    while (w->a.lost_count + w->b.lost_count == 0 && sim_net_step(w->net, until))
        watch_look(v);
    CHECK(w->a.lost_count + w->b.lost_count > 0);
    run_watched(w, v, 120 * PX_MSEC);
    px_link_suggest(w->a.links[0], circuit);
    sim_node_kick(w->a.node);
    run_watched(w, v, 40 * PX_MSEC);
    px_link_suggest(w->b.links[0], circuit);
    sim_node_kick(w->b.node);
}

static void flee_and_return(uint64_t seed, bool a_sends, bool one_way)
{
    struct world w;
    start(&w, seed, &line);
    struct host *from = a_sends ? &w.a : &w.b, *to = a_sends ? &w.b : &w.a;
    struct px_addr circuit = sim_net_circuit(w.net, w.a.node, w.b.node);
    CHECK(host_send(from, from->links[0], 20000000));
    struct watch v = watch_start(to);
    run_watched(&w, &v, PX_SEC);
    sim_net_set_filter(w.net, one_way ? from_a_only : nothing, NULL);
    offer_circuit(&w, &v, &circuit);
    run_watched(&w, &v, 4 * PX_SEC);
    CHECK(on_circuit(&w.a) && on_circuit(&w.b));
    CHECK(v.longest <= 2500 * PX_MSEC);
    CHECK(!world_bulks_done(&w));
    size_t moved = w.a.moved_count;
    sim_net_set_filter(w.net, NULL, NULL);
    run_watched(&w, &v, 9 * PX_SEC);
    CHECK(!on_circuit(&w.a) && !on_circuit(&w.b));
    CHECK(w.a.moved_count > moved);
    run_watched(&w, &v, 60 * PX_SEC);
    CHECK(world_bulks_done(&w));
    CHECK(v.longest <= 2500 * PX_MSEC);
    check_works(&w);
    world_deinit(&w);
}

TEST(a_link_whose_path_dies_goes_on_through_a_circuit_and_comes_back)
{
    for (uint64_t i = 0; i < 4; i++)
        flee_and_return(1500 + i, (i & 1) == 0, (i & 2) != 0);
}

TEST(a_circuit_that_dies_is_followed_by_another_one)
{
    struct world w;
    start(&w, 1510, &line);
    struct px_addr first = sim_net_circuit(w.net, w.a.node, w.b.node);
    struct px_addr second = sim_net_circuit(w.net, w.a.node, w.b.node);
    CHECK(host_send(&w.b, w.b.links[0], 12000000));
    struct watch v = watch_start(&w.a);
    run_watched(&w, &v, PX_SEC);
    sim_net_set_filter(w.net, nothing, NULL);
    offer_circuit(&w, &v, &first);
    run_watched(&w, &v, 2 * PX_SEC);
    CHECK(on_circuit(&w.a));
    sim_net_set_circuit(w.net, &first, false);
    w.a.lost_count = w.b.lost_count = 0;
    offer_circuit(&w, &v, &second);
    run_watched(&w, &v, 60 * PX_SEC);
    CHECK(world_bulks_done(&w));
    CHECK(v.longest <= 2500 * PX_MSEC);
    check_path(&w.a, &(struct px_addr){.family = PX_ADDR_CIRCUIT, .port = 4433}, &second);
    check_works(&w);
    world_deinit(&w);
}

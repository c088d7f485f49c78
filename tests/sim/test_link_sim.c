/* Overlays on a virtual network: the production cores from UDP payloads upwards, many seeds, the
 * invariants of docs/spec/handshake.md checked at every step. */
#include "proto/stream_type.h"
#include "tests/sim/sim_host.h"
#include "tests/sim/sim_raw.h"
#include "transport/frame.h"
#include "transport/link_handshake.h"

static const struct sim_weather calm = {.delay = 5 * PX_MSEC};
static const struct sim_weather jittery = {.delay = 3 * PX_MSEC, .jitter = 6 * PX_MSEC};
static const struct sim_weather rough = {
    .delay = 8 * PX_MSEC, .jitter = 4 * PX_MSEC, .loss = 30, .dup = 30, .reorder = 60};
static const struct sim_weather narrow = {
    .delay = 20 * PX_MSEC, .loss = 5, .reorder = 20, .rate = 2000000, .queue = 60000};

struct world {
    struct sim_net *net;
    struct host a, b;
};

static void world_init(struct world *w, uint64_t seed, const struct sim_weather *weather)
{
    w->net = sim_net_new(seed, weather);
    host_init(&w->a, w->net, 1, seed * 10 + 1);
    host_init(&w->b, w->net, 2, seed * 10 + 2);
}

static void world_start(struct world *w, uint64_t seed, const struct sim_weather *weather)
{
    world_init(w, seed, weather);
    host_start(&w->a, seed * 10 + 3);
    host_start(&w->b, seed * 10 + 4);
}

static void world_deinit(struct world *w)
{
    host_deinit(&w->a);
    host_deinit(&w->b);
    sim_net_free(w->net);
}

/* Runs until `cond` holds; false when that takes longer than `limit` of virtual time. */
static bool run_until(struct world *w, bool (*cond)(const struct world *w), px_nsec limit)
{
    px_nsec until = sim_net_now(w->net) + limit;
    while (!cond(w)) {
        if (!sim_net_step(w->net, until))
            return cond(w);
        if (w->a.overlay != NULL)
            host_check(&w->a);
        if (w->b.overlay != NULL)
            host_check(&w->b);
    }
    return true;
}

static bool never(const struct world *w)
{
    (void)w;
    return false;
}

static void run_for(struct world *w, px_nsec time)
{
    run_until(w, never, time);
}

static bool both_up(const struct world *w)
{
    return w->a.link_count == 1 && w->b.link_count == 1;
}

static bool a_heard_down(const struct world *w)
{
    return w->a.down_count > 0;
}

static bool b_refused(const struct world *w)
{
    return w->b.refused_count > 0;
}

static bool a_down_and_b_refused(const struct world *w)
{
    return a_heard_down(w) && b_refused(w);
}

static void connect(struct world *w)
{
    CHECK_OK(host_dial(&w->a, &w->b));
    CHECK(run_until(w, both_up, 20 * PX_SEC));
}

/* ---- what works ---- */

static bool bulks_done(const struct world *w)
{
    return host_bulks_done(&w->a) && host_bulks_done(&w->b);
}

static void exchange(uint64_t seed, const struct sim_weather *weather, uint64_t most)
{
    struct world w;
    world_start(&w, seed, weather);
    struct px_test_rng *rng = sim_net_rng(w.net);
    w.a.answer_max = w.b.answer_max = most;
    connect(&w);
    for (int i = 0; i < 6; i++) {
        CHECK(host_send(&w.a, w.a.links[0], px_test_rng_next(rng) % most));
        CHECK(host_send(&w.b, w.b.links[0], px_test_rng_next(rng) % most));
    }
    CHECK(host_send(&w.a, w.a.links[0], 0));
    CHECK(run_until(&w, bulks_done, 120 * PX_SEC));
    CHECK_INT(w.a.bulk_count, 13);
    CHECK_INT(w.b.bulk_count, 13);
    CHECK_STR(px_link_agent(w.a.links[0]), "sim/1");
    world_deinit(&w);
}

TEST(streams_arrive_byte_for_byte_both_ways_in_any_weather)
{
    exchange(1, &calm, 400000);
    for (uint64_t seed = 2; seed < 10; seed++)
        exchange(seed, &rough, 60000);
    for (uint64_t seed = 10; seed < 12; seed++)
        exchange(seed, &narrow, 100000);
}

TEST(a_link_is_up_after_three_round_trips_at_the_dialler)
{
    struct world w;
    world_start(&w, 5, &calm);
    px_nsec start = sim_net_now(w.net);
    connect(&w);
    px_nsec took = sim_net_now(w.net) - start;
    CHECK(took >= 30 * PX_MSEC);
    CHECK(took < 31 * PX_MSEC);
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
        if (!run_until(&w, both_up, 20 * PX_SEC)) {
            world_deinit(&w); /* 5 s were not enough in such weather */
            continue;
        }
        /* delivered inside the very run that brought the link up */
        overtaken += w.a.bulk_count > 0;
        CHECK(run_until(&w, bulks_done, 60 * PX_SEC));
        CHECK_INT(w.b.bulk_count, 5);
        CHECK_INT(w.a.bulk_count, 5);
        world_deinit(&w);
    }
    CHECK(overtaken > 2);
}

/* ---- one link per peer ---- */

static bool quiet_with_one(const struct world *w)
{
    return both_up(w) &&
           px_link_is_quic_client(w->a.links[0]) != px_link_is_quic_client(w->b.links[0]);
}

TEST(simultaneous_dials_end_in_one_link)
{
    size_t by_lower = 0, by_higher = 0, flaps = 0;
    for (uint64_t seed = 200; seed < 240; seed++) {
        struct world w;
        bool lossy = seed % 4 == 3;
        world_start(&w, seed, lossy ? &rough : &jittery);
        CHECK_OK(host_dial(&w.a, &w.b));
        run_for(&w, px_test_rng_next(sim_net_rng(w.net)) % (seed % 2 ? 8 * PX_MSEC : 30 * PX_MSEC));
        if (host_link_to(&w.b, &w.a) == NULL)
            CHECK_OK(host_dial(&w.b, &w.a));
        CHECK(run_until(&w, both_up, 20 * PX_SEC));
        run_for(&w, 12 * PX_SEC); /* everything else has ended by then */
        CHECK(quiet_with_one(&w));
        CHECK(host_link_to(&w.a, &w.b) == w.a.links[0]);
        bool a_lower = memcmp(w.a.identity.id.key, w.b.identity.id.key, 32) < 0;
        bool dialled_by_a = px_link_is_quic_client(w.a.links[0]);
        *(a_lower == dialled_by_a ? &by_lower : &by_higher) += 1;
        flaps += w.a.up_count + w.b.up_count - 2;
        /* and it works */
        CHECK(host_send(&w.a, w.a.links[0], 5000));
        CHECK(host_send(&w.b, w.b.links[0], 5000));
        CHECK(run_until(&w, bulks_done, 30 * PX_SEC));
        world_deinit(&w);
    }
    CHECK(by_lower > by_higher);
    CHECK(flaps < 4);
}

TEST(a_restarted_peer_replaces_its_old_link)
{
    struct world w;
    world_start(&w, 300, &calm);
    connect(&w);
    struct px_link *old = w.b.links[0];
    CHECK(host_send(&w.b, old, 100));
    host_kill(&w.a);
    host_start(&w.a, 999);
    CHECK_OK(host_dial(&w.a, &w.b));
    CHECK(run_until(&w, both_up, 10 * PX_SEC));
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
    world_start(&w, 301, &calm);
    connect(&w);
    /* a forgets the link, and b hears nothing of it */
    run_for(&w, 6 * PX_SEC);
    px_link_close(w.a.links[0], PX_CLOSE_NONE);
    sim_net_set_weather(w.net, &(struct sim_weather){.delay = PX_MSEC, .loss = 1000});
    sim_node_kick(w.a.node);
    run_for(&w, PX_SEC);
    CHECK_INT(w.a.link_count, 0);
    CHECK_INT(w.b.link_count, 1);
    sim_net_set_weather(w.net, &calm);
    connect(&w);
    CHECK_INT(w.b.up_count, 2);
    CHECK_ERR(w.b.down_err, PX_EDUPLICATE);
    run_for(&w, 10 * PX_SEC);
    CHECK(both_up(&w));
    world_deinit(&w);
}

TEST(two_machines_with_one_key_are_reported)
{
    struct world w;
    struct host clone;
    world_start(&w, 302, &calm);
    host_init(&clone, w.net, 3, 302 * 10 + 1);
    CHECK(px_peer_id_eq(&clone.identity.id, &w.a.identity.id));
    host_start(&clone, 4711);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(w.b.cloned_count, 0);
        CHECK_OK(host_dial(&w.a, &w.b));
        run_for(&w, PX_SEC);
        CHECK_OK(host_dial(&clone, &w.b));
        run_for(&w, PX_SEC);
        CHECK_INT(w.b.link_count, 1);
    }
    CHECK_INT(w.b.cloned_count, 1);
    host_deinit(&clone);
    world_deinit(&w);
}

/* ---- refusals, seen from both ends ---- */

static void check_refusal(const struct world *w, int dialler_err, int listener_err,
                          bool by_listener)
{
    CHECK_ERR(w->a.down_err, dialler_err);
    CHECK_INT(w->a.down_by_peer, by_listener);
    CHECK(!w->a.down_was_up);
    CHECK_ERR(w->b.refused_err, listener_err);
    CHECK_INT(w->b.refused_by_peer, !by_listener);
    CHECK_INT(w->a.up_count + w->b.up_count, 0);
}

TEST(an_unlisted_dialler_is_refused)
{
    struct world w;
    world_start(&w, 400, &calm);
    w.b.unlisted = &w.a.identity.id;
    CHECK_OK(host_dial(&w.a, &w.b));
    CHECK(run_until(&w, a_down_and_b_refused, 10 * PX_SEC));
    check_refusal(&w, PX_EREFUSED, PX_EUNLISTED, true);
    CHECK(w.b.refused_proved && px_peer_id_eq(&w.b.refused_id, &w.a.identity.id));
    world_deinit(&w);
}

TEST(a_dialler_refuses_a_target_it_does_not_list)
{
    struct world w;
    world_start(&w, 401, &calm);
    w.a.unlisted = &w.b.identity.id;
    CHECK_ERR(host_dial(&w.a, &w.b), PX_EUNLISTED);
    w.a.unlisted = NULL; /* listed when it is dialled, no more when it has proved itself */
    CHECK_OK(host_dial(&w.a, &w.b));
    w.a.unlisted = &w.b.identity.id;
    CHECK(run_until(&w, a_down_and_b_refused, 10 * PX_SEC));
    check_refusal(&w, PX_EUNLISTED, PX_EREFUSED, false);
    CHECK(!w.b.refused_proved); /* message 3 was never sent */
    world_deinit(&w);
}

TEST(another_network_is_refused)
{
    struct world w;
    world_init(&w, 402, &calm);
    w.b.network = "home";
    host_start(&w.a, 1);
    host_start(&w.b, 2);
    CHECK_OK(host_dial(&w.a, &w.b));
    CHECK(run_until(&w, a_down_and_b_refused, 10 * PX_SEC));
    check_refusal(&w, PX_ENETWORK, PX_ENETWORK, true);
    world_deinit(&w);
}

TEST(a_dialler_that_expects_another_node_is_refused)
{
    struct world w;
    struct px_identity other;
    struct px_test_rng r;
    struct px_rng rng = px_test_rng(&r, 5);
    world_start(&w, 403, &calm);
    px_identity_generate(&rng, &other);
    CHECK_OK(host_dial_at(&w.a, &other.id, w.b.number));
    CHECK(run_until(&w, a_down_and_b_refused, 10 * PX_SEC));
    check_refusal(&w, PX_ETARGET, PX_ETARGET, true);
    CHECK(!w.b.refused_proved);
    CHECK_ERR(host_dial(&w.a, &w.a), PX_ESELF);
    world_deinit(&w);
}

TEST(the_man_in_the_tls_middle_is_refused)
{
    struct world w;
    struct raw middle;
    world_start(&w, 404, &calm);
    raw_init(&middle, w.net, 3, 77);
    middle.forward_to = raw_dial(&middle, w.b.number);
    run_for(&w, 100 * PX_MSEC);
    CHECK(middle.forward_to->secured);
    CHECK_OK(host_dial_at(&w.a, &w.b.identity.id, 3));
    CHECK(run_until(&w, a_down_and_b_refused, 10 * PX_SEC));
    check_refusal(&w, PX_EBINDING, PX_EBINDING, true);
    /* he did get message 1 and passed it on, but no answer that would name b */
    CHECK(raw_received(middle.conns[1], 0).len > 80);
    CHECK_INT(raw_received(middle.forward_to, 0).len, 0);
    raw_deinit(&middle);
    world_deinit(&w);
}

TEST(who_is_not_there_or_says_nothing_ends_the_dial_in_time)
{
    struct world w;
    struct raw silent;
    world_start(&w, 405, &calm);
    CHECK_OK(host_dial_at(&w.a, &w.b.identity.id, 9));
    CHECK(run_until(&w, a_heard_down, PX_LINK_HANDSHAKE_TIME + PX_SEC));
    CHECK_ERR(w.a.down_err, PX_ETIMEDOUT);
    CHECK(!w.a.down_by_peer);
    raw_init(&silent, w.net, 3, 78);
    w.a.down_count = 0;
    CHECK_OK(host_dial_at(&w.a, &w.b.identity.id, 3));
    CHECK(run_until(&w, a_heard_down, PX_LINK_HANDSHAKE_TIME + PX_SEC));
    CHECK_ERR(w.a.down_err, PX_EHANDSHAKE_TIMEOUT);
    run_for(&w, PX_SEC);
    CHECK_INT(silent.conns[0]->code, PX_CLOSE_TIMEOUT);
    /* and a dialler that says nothing */
    struct raw_conn *c = raw_dial(&silent, w.b.number);
    CHECK(run_until(&w, b_refused, PX_LINK_HANDSHAKE_TIME + PX_SEC));
    CHECK_ERR(w.b.refused_err, PX_EHANDSHAKE_TIMEOUT);
    run_for(&w, PX_SEC);
    CHECK_INT(c->code, PX_CLOSE_TIMEOUT);
    CHECK(c->by_peer);
    raw_deinit(&silent);
    world_deinit(&w);
}

/* ---- hostile or eager diallers, by hand ---- */

struct eager {
    struct world w;
    struct raw raw;
    struct raw_conn *c;
    struct px_identity identity;
    struct px_x25519_secret noise_static;
    uint8_t boot_id[PX_BOOT_ID_LEN];
    struct px_test_rng rng;
    struct px_link_handshake *h;
    struct px_buf out;
};

static bool message_2_came(struct eager *e)
{
    return raw_received(e->c, 0).len > 2;
}

/* A proper handshake up to the point where message 3 is written to e->out but not sent. */
static void eager_start(struct eager *e, uint64_t seed)
{
    uint8_t exporter[PX_QUIC_EXPORTER_LEN], ignored[PX_X25519_LEN];
    memset(e, 0, sizeof(*e));
    world_start(&e->w, seed, &calm);
    struct px_rng rng = px_test_rng(&e->rng, seed);
    px_identity_generate(&rng, &e->identity);
    px_x25519_generate(&rng, &e->noise_static, ignored);
    raw_init(&e->raw, e->w.net, 3, seed);
    e->c = raw_dial(&e->raw, e->w.b.number);
    run_for(&e->w, 100 * PX_MSEC);
    CHECK_OK(px_quic_conn_exporter(e->c->conn, exporter));
    const struct px_link_handshake_config config = {
        .role = PX_NOISE_INITIATOR,
        .identity = &e->identity,
        .target = e->w.b.identity.id,
        .network = PX_SLICE_LIT("default"),
        .exporter = exporter,
        .boot_id = e->boot_id,
        .noise_static = &e->noise_static,
        .rng = rng,
    };
    px_buf_init(&e->out, 4096);
    CHECK_OK(px_link_handshake_new(&config, &e->out, &e->h));
    raw_write(e->c, 0, px_buf_slice(&e->out), false);
    px_buf_clear(&e->out);
    run_for(&e->w, 100 * PX_MSEC);
    CHECK(message_2_came(e));
    struct px_slice message_2 = raw_received(e->c, 0);
    enum px_handshake_event event;
    CHECK_OK(px_link_handshake_input(e->h, &message_2, &e->out, &event));
    CHECK_INT(event, PX_HANDSHAKE_PEER_PROVED);
    CHECK_OK(px_link_handshake_proceed(e->h, &e->out));
}

static void eager_send_message_3(struct eager *e)
{
    raw_write(e->c, 0, px_buf_slice(&e->out), false);
    run_for(&e->w, 200 * PX_MSEC);
}

static void eager_deinit(struct eager *e)
{
    px_link_handshake_free(e->h);
    px_buf_deinit(&e->out);
    raw_deinit(&e->raw);
    world_deinit(&e->w);
}

/* A bulk stream as sim_host expects it: type, seed, size, bytes. */
static void eager_open(struct eager *e, int64_t id)
{
    static const uint8_t head[17] = {0x01, [16] = 0};
    raw_write(e->c, id, px_slice(head, sizeof(head)), true);
}

TEST(streams_before_message_3_are_parked_undelivered_until_it_comes)
{
    struct eager e;
    eager_start(&e, 500);
    for (int64_t id = 4; id <= 4 * (PX_LINK_PARKED_STREAMS - 2); id += 4)
        eager_open(&e, id);
    run_for(&e.w, 500 * PX_MSEC);
    CHECK_INT(e.w.b.bulk_count, 0);
    CHECK_INT(e.w.b.up_count, 0);
    CHECK_INT(raw_received(e.c, 4).len, 0);
    eager_send_message_3(&e);
    CHECK_INT(e.w.b.up_count, 1);
    CHECK_INT(e.w.b.bulk_count, PX_LINK_PARKED_STREAMS - 2);
    run_for(&e.w, PX_SEC);
    CHECK(host_bulks_done(&e.w.b));
    CHECK_INT(raw_received(e.c, 4).len, 16); /* the answer's head */
    eager_deinit(&e);
}

TEST(more_parked_streams_than_the_limit_close_the_connection)
{
    struct eager e;
    eager_start(&e, 501);
    for (int64_t id = 4; id <= 4 * (PX_LINK_PARKED_STREAMS + 1); id += 4)
        eager_open(&e, id);
    run_for(&e.w, 500 * PX_MSEC);
    CHECK_INT(e.w.b.refused_count, 1);
    CHECK_ERR(e.w.b.refused_err, PX_EOVERRUN);
    CHECK(e.c->closed && e.c->by_peer);
    CHECK_INT(e.c->code, PX_CLOSE_OVERRUN);
    CHECK_ERR(e.c->err, PX_EOVERRUN);
    eager_deinit(&e);
}

/* A bulk stream of `len` bytes, head included. */
static void fill_bulk(uint8_t *bulk, size_t len)
{
    memset(bulk, 0, 17);
    bulk[0] = 0x01;
    for (size_t i = 0; i < 4; i++)
        bulk[16 - i] = (uint8_t)((len - 17) >> (8 * i));
    for (size_t i = 17; i < len; i++)
        bulk[i] = (uint8_t)((i - 17) * 131) ^ (uint8_t)((i - 17) >> 11);
}

TEST(a_parked_stream_flows_on_beyond_the_small_window_afterwards)
{
    static uint8_t body[300000];
    struct eager e;
    eager_start(&e, 502);
    fill_bulk(body, sizeof(body));
    raw_write(e.c, 4, px_slice(body, 50000), false);
    run_for(&e.w, PX_SEC);
    CHECK_INT(e.w.b.refused_count + e.w.b.bulk_count, 0);
    CHECK_INT(e.c->streams[1].out.queued, 0); /* b holds them all */
    eager_send_message_3(&e);
    raw_write(e.c, 4, px_slice(body + 50000, sizeof(body) - 50000), true);
    run_for(&e.w, 2 * PX_SEC);
    CHECK_INT(e.w.b.bulk_count, 1);
    CHECK_INT(e.w.b.bulks[0].in_size, sizeof(body) - 17);
    CHECK(host_bulks_done(&e.w.b));
    eager_deinit(&e);
}

TEST(parked_bytes_stop_at_the_window)
{
    static uint8_t body[300000];
    struct eager e;
    eager_start(&e, 503);
    fill_bulk(body, sizeof(body));
    raw_write(e.c, 4, px_slice(body, sizeof(body)), true);
    run_for(&e.w, PX_SEC);
    CHECK_INT(e.w.b.refused_count, 0);
    CHECK(e.c->streams[1].out.unsent > sizeof(body) - PX_LINK_PARKED_MAX);
    /* no credit is left for message 3 either */
    eager_send_message_3(&e);
    run_for(&e.w, PX_LINK_HANDSHAKE_TIME);
    CHECK_ERR(e.w.b.refused_err, PX_EHANDSHAKE_TIMEOUT);
    CHECK_INT(e.w.b.bulk_count, 0);
    eager_deinit(&e);
}

TEST(misuse_of_stream_0_and_of_its_type_closes_the_connection)
{
    enum misuse { FIN_EARLY, FIN_LATE, SECOND, SECOND_EARLY, JUNK, OVERSIZED, MISUSES };
    static const struct {
        int err;
        enum px_close_code code;
    } want[MISUSES] = {
        [FIN_EARLY] = {PX_ETRUNC, PX_CLOSE_PROTOCOL},
        [FIN_LATE] = {PX_EPROTO, PX_CLOSE_PROTOCOL},
        [SECOND] = {PX_EPROTO, PX_CLOSE_PROTOCOL},
        [SECOND_EARLY] = {PX_EPROTO, PX_CLOSE_PROTOCOL},
        [JUNK] = {PX_EPARSE, PX_CLOSE_PROTOCOL},
        [OVERSIZED] = {PX_ELIMIT, PX_CLOSE_PROTOCOL},
    };
    for (int m = 0; m < MISUSES; m++) {
        struct eager e;
        eager_start(&e, 510 + (uint64_t)m);
        if (m == FIN_EARLY)
            raw_write(e.c, 0, px_slice(NULL, 0), true);
        if (m == SECOND_EARLY)
            raw_write(e.c, 4, px_slice("\0", 1), false);
        if (m != FIN_EARLY)
            eager_send_message_3(&e);
        if (m == FIN_LATE)
            raw_write(e.c, 0, px_slice(NULL, 0), true);
        if (m == SECOND)
            raw_write(e.c, 4, px_slice("\0", 1), false);
        if (m == JUNK)
            raw_write(e.c, 0, px_slice("\0\1\377", 3), false);
        if (m == OVERSIZED)
            raw_write(e.c, 0, px_slice("\377\377", 2), false);
        run_for(&e.w, PX_SEC);
        CHECK(e.c->closed && e.c->by_peer);
        CHECK_INT(e.c->code, want[m].code);
        CHECK_ERR(m == FIN_EARLY ? e.w.b.refused_err : e.w.b.down_err, want[m].err);
        eager_deinit(&e);
    }
}

TEST(a_stream_of_unknown_type_is_refused_and_the_link_goes_on)
{
    struct eager e;
    eager_start(&e, 520);
    eager_send_message_3(&e);
    raw_write(e.c, 4, px_slice("\x7e junk", 6), true);
    raw_write(e.c, 8, px_slice(NULL, 0), true); /* ends before its type */
    eager_open(&e, 12);
    run_for(&e.w, PX_SEC);
    CHECK(!e.c->closed);
    CHECK_INT(e.w.b.bulk_count, 1);
    CHECK(host_bulks_done(&e.w.b));
    eager_deinit(&e);
}

TEST(our_own_identity_from_outside_is_refused)
{
    struct world w;
    struct host clone;
    world_start(&w, 530, &calm);
    host_init(&clone, w.net, 3, 530 * 10 + 2); /* b's key */
    host_start(&clone, 1);
    CHECK_ERR(host_dial(&clone, &w.b), PX_ESELF);
    host_deinit(&clone);
    world_deinit(&w);

    struct eager e; /* and one that dials all the same */
    eager_start(&e, 531);
    e.identity = e.w.b.identity;
    px_buf_clear(&e.out);
    px_link_handshake_free(e.h);
    raw_close(e.c, 0);
    uint8_t exporter[PX_QUIC_EXPORTER_LEN];
    e.c = raw_dial(&e.raw, e.w.b.number);
    run_for(&e.w, 100 * PX_MSEC);
    CHECK_OK(px_quic_conn_exporter(e.c->conn, exporter));
    const struct px_link_handshake_config config = {
        .role = PX_NOISE_INITIATOR,
        .identity = &e.identity,
        .target = e.w.b.identity.id,
        .network = PX_SLICE_LIT("default"),
        .exporter = exporter,
        .boot_id = e.boot_id,
        .noise_static = &e.noise_static,
        .rng = px_test_rng(&e.rng, 3),
    };
    CHECK_OK(px_link_handshake_new(&config, &e.out, &e.h));
    raw_write(e.c, 0, px_buf_slice(&e.out), false);
    px_buf_clear(&e.out);
    run_for(&e.w, 100 * PX_MSEC);
    struct px_slice message_2 = raw_received(e.c, 0);
    enum px_handshake_event event;
    CHECK_OK(px_link_handshake_input(e.h, &message_2, &e.out, &event));
    CHECK_OK(px_link_handshake_proceed(e.h, &e.out));
    eager_send_message_3(&e);
    CHECK_ERR(e.w.b.refused_err, PX_ESELF);
    CHECK_ERR(e.c->err, PX_ESELF);
    eager_deinit(&e);
}

TEST(too_many_half_open_connections_get_busy)
{
    struct world w;
    static struct raw crowd; /* large */
    world_start(&w, 540, &calm);
    raw_init(&crowd, w.net, 3, 79);
    for (int i = 0; i < PX_LINK_HALF_OPEN_MAX; i++) {
        raw_dial(&crowd, w.b.number);
        run_for(&w, 4 * PX_MSEC);
    }
    run_for(&w, 100 * PX_MSEC);
    CHECK_INT(w.b.refused_count, 0);
    CHECK_OK(host_dial(&w.a, &w.b));
    CHECK(run_until(&w, a_down_and_b_refused, PX_SEC));
    check_refusal(&w, PX_EBUSY, PX_EBUSY, true);
    run_for(&w, PX_LINK_HANDSHAKE_TIME); /* the crowd is gone by then */
    connect(&w);
    raw_deinit(&crowd);
    world_deinit(&w);
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
        world_start(&w, 600 + i, &calm);
        connect(&w);
        CHECK(host_send(&w.b, w.b.links[0], 100));
        px_link_close(w.a.links[0], cases[i].code);
        sim_node_kick(w.a.node);
        run_for(&w, PX_SEC);
        CHECK_ERR(w.a.down_err, cases[i].here);
        CHECK_ERR(w.b.down_err, cases[i].there);
        CHECK(!w.a.down_by_peer && w.b.down_by_peer && w.a.down_was_up && w.b.down_was_up);
        CHECK_INT(w.a.link_count + w.b.link_count, 0);
        world_deinit(&w);
    }
}

TEST(a_network_that_goes_away_ends_the_link)
{
    struct world w;
    world_start(&w, 610, &calm);
    connect(&w);
    sim_net_set_weather(w.net, &(struct sim_weather){.loss = 1000});
    run_for(&w, 61 * PX_SEC);
    CHECK_INT(w.a.link_count + w.b.link_count, 0);
    CHECK_ERR(w.a.down_err, PX_ETIMEDOUT);
    world_deinit(&w);
}

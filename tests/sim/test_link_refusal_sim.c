/* Every refusal of docs/spec/handshake.md between two whole nodes, seen from both ends, and what
 * eager or hostile diallers can do with streams. */
#include "proto/stream_type.h"
#include "tests/sim/sim_raw.h"
#include "tests/sim/sim_world.h"
#include "transport/link_internal.h"

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
    world_start(&w, 400, &sim_calm);
    w.b.unlisted = &w.a.identity.id;
    CHECK_OK(host_dial(&w.a, &w.b));
    CHECK(world_run_until(&w, a_down_and_b_refused, 10 * PX_SEC));
    check_refusal(&w, PX_EREFUSED, PX_EUNLISTED, true);
    CHECK(w.b.refused_proved && px_peer_id_eq(&w.b.refused_id, &w.a.identity.id));
    world_deinit(&w);
}

/* A peer that was removed must not believe itself connected because somebody is being paired. */
TEST(guests_are_let_in_only_if_they_say_so_and_are_welcome)
{
    static const struct {
        bool says_so, welcome;
    } cases[] = {{false, true}, {true, false}, {true, true}};
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++) {
        struct world w;
        world_start(&w, 410 + i, &sim_calm);
        w.b.unlisted = &w.a.identity.id;
        w.b.guests_welcome = cases[i].welcome;
        w.a.as_guest = cases[i].says_so;
        if (cases[i].says_so && cases[i].welcome) {
            world_connect(&w);
        } else {
            CHECK_OK(host_dial(&w.a, &w.b));
            CHECK(world_run_until(&w, a_down_and_b_refused, 10 * PX_SEC));
            check_refusal(&w, PX_EREFUSED, PX_EUNLISTED, true);
        }
        world_deinit(&w);
    }
}

TEST(a_refused_dialler_that_sent_early_hears_down_alone_and_its_streams_end)
{
    struct world w;
    world_start(&w, 406, &sim_calm);
    w.b.unlisted = &w.a.identity.id;
    w.a.early = 3;
    w.a.early_size = 5000;
    CHECK_OK(host_dial(&w.a, &w.b));
    CHECK(world_run_until(&w, a_down_and_b_refused, 10 * PX_SEC));
    check_refusal(&w, PX_EREFUSED, PX_EUNLISTED, true);
    CHECK_INT(w.a.early_count, 1);
    CHECK_INT(w.a.bulk_count, 3);
    for (size_t i = 0; i < 3; i++)
        CHECK(w.a.bulks[i].closed && w.a.bulks[i].err == PX_ECLOSED);
    CHECK_INT(w.b.bulk_count, 0); /* nobody ever saw them */
    world_deinit(&w);
}

TEST(an_early_link_that_is_never_accepted_ends_in_time)
{
    struct world w;
    world_start(&w, 407, &sim_calm);
    w.a.early = 2;
    w.a.early_size = 100;
    CHECK_OK(host_dial(&w.a, &w.b));
    world_run(&w, 21 * PX_MSEC); /* message 3 is on its way, and nothing comes back any more */
    CHECK_INT(w.a.early_count, 1);
    sim_node_set_deaf(w.a.node, true);
    CHECK(world_run_until(&w, a_heard_down, PX_LINK_HANDSHAKE_TIME + PX_MSEC));
    CHECK_ERR(w.a.down_err, PX_EHANDSHAKE_TIMEOUT);
    CHECK(!w.a.down_was_up);
    CHECK_INT(w.a.up_count, 0);
    CHECK(w.a.bulks[0].closed && w.a.bulks[1].closed);
    world_deinit(&w);
}

TEST(a_dialler_refuses_a_target_it_does_not_list)
{
    struct world w;
    world_start(&w, 401, &sim_calm);
    w.a.unlisted = &w.b.identity.id;
    CHECK_ERR(host_dial(&w.a, &w.b), PX_EUNLISTED);
    w.a.unlisted = NULL; /* listed when it is dialled, no more when it has proved itself */
    CHECK_OK(host_dial(&w.a, &w.b));
    w.a.unlisted = &w.b.identity.id;
    CHECK(world_run_until(&w, a_down_and_b_refused, 10 * PX_SEC));
    check_refusal(&w, PX_EUNLISTED, PX_EREFUSED, false);
    CHECK(!w.b.refused_proved); /* message 3 was never sent */
    world_deinit(&w);
}

TEST(another_network_is_refused)
{
    struct world w;
    world_init(&w, 402, &sim_calm);
    w.b.network = "home";
    host_start(&w.a, 1);
    host_start(&w.b, 2);
    CHECK_OK(host_dial(&w.a, &w.b));
    CHECK(world_run_until(&w, a_down_and_b_refused, 10 * PX_SEC));
    check_refusal(&w, PX_ENETWORK, PX_ENETWORK, true);
    world_deinit(&w);
}

TEST(a_dialler_that_expects_another_node_is_refused)
{
    struct world w;
    struct px_identity other;
    struct px_test_rng r;
    struct px_rng rng = px_test_rng(&r, 5);
    world_start(&w, 403, &sim_calm);
    px_identity_generate(&rng, &other);
    CHECK_OK(host_dial_at(&w.a, &other.id, w.b.number));
    CHECK(world_run_until(&w, a_down_and_b_refused, 10 * PX_SEC));
    check_refusal(&w, PX_ETARGET, PX_ETARGET, true);
    CHECK(!w.b.refused_proved);
    CHECK_ERR(host_dial(&w.a, &w.a), PX_ESELF);
    world_deinit(&w);
}

TEST(the_man_in_the_tls_middle_is_refused)
{
    struct world w;
    struct raw middle;
    world_start(&w, 404, &sim_calm);
    raw_init(&middle, w.net, 3, 77);
    middle.forward_to = raw_dial(&middle, w.b.number);
    world_run(&w, 100 * PX_MSEC);
    CHECK(middle.forward_to->secured);
    CHECK_OK(host_dial_at(&w.a, &w.b.identity.id, 3));
    CHECK(world_run_until(&w, a_down_and_b_refused, 10 * PX_SEC));
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
    world_start(&w, 405, &sim_calm);
    CHECK_OK(host_dial_at(&w.a, &w.b.identity.id, 9));
    CHECK(world_run_until(&w, a_heard_down, PX_LINK_HANDSHAKE_TIME + PX_SEC));
    CHECK_ERR(w.a.down_err, PX_ETIMEDOUT);
    CHECK(!w.a.down_by_peer);
    raw_init(&silent, w.net, 3, 78);
    w.a.down_count = 0;
    CHECK_OK(host_dial_at(&w.a, &w.b.identity.id, 3));
    CHECK(world_run_until(&w, a_heard_down, PX_LINK_HANDSHAKE_TIME + PX_SEC));
    CHECK_ERR(w.a.down_err, PX_EHANDSHAKE_TIMEOUT);
    world_run(&w, PX_SEC);
    CHECK_INT(silent.conns[0]->code, PX_CLOSE_TIMEOUT);
    /* and a dialler that says nothing */
    struct raw_conn *c = raw_dial(&silent, w.b.number);
    CHECK(world_run_until(&w, b_refused, PX_LINK_HANDSHAKE_TIME + PX_SEC));
    CHECK_ERR(w.b.refused_err, PX_EHANDSHAKE_TIMEOUT);
    world_run(&w, PX_SEC);
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
    world_start(&e->w, seed, &sim_calm);
    struct px_rng rng = px_test_rng(&e->rng, seed);
    px_identity_generate(&rng, &e->identity);
    px_x25519_generate(&rng, &e->noise_static, ignored);
    raw_init(&e->raw, e->w.net, 3, seed);
    e->c = raw_dial(&e->raw, e->w.b.number);
    world_run(&e->w, 100 * PX_MSEC);
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
    world_run(&e->w, 100 * PX_MSEC);
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
    world_run(&e->w, 200 * PX_MSEC);
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
    world_run(&e.w, 500 * PX_MSEC);
    CHECK_INT(e.w.b.bulk_count, 0);
    CHECK_INT(e.w.b.up_count, 0);
    CHECK_INT(raw_received(e.c, 4).len, 0);
    eager_send_message_3(&e);
    CHECK_INT(e.w.b.up_count, 1);
    CHECK_INT(e.w.b.bulk_count, PX_LINK_PARKED_STREAMS - 2);
    world_run(&e.w, PX_SEC);
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
    world_run(&e.w, 500 * PX_MSEC);
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
    world_run(&e.w, PX_SEC);
    CHECK_INT(e.w.b.refused_count + e.w.b.bulk_count, 0);
    CHECK_INT(e.c->streams[1].out.queued, 0); /* b holds them all */
    eager_send_message_3(&e);
    raw_write(e.c, 4, px_slice(body + 50000, sizeof(body) - 50000), true);
    world_run(&e.w, 2 * PX_SEC);
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
    world_run(&e.w, PX_SEC);
    CHECK_INT(e.w.b.refused_count, 0);
    CHECK(e.c->streams[1].out.unsent > sizeof(body) - PX_LINK_PARKED_MAX);
    /* no credit is left for message 3 either */
    eager_send_message_3(&e);
    world_run(&e.w, PX_LINK_HANDSHAKE_TIME);
    CHECK_ERR(e.w.b.refused_err, PX_EHANDSHAKE_TIMEOUT);
    CHECK_INT(e.w.b.bulk_count, 0);
    eager_deinit(&e);
}

TEST(misuse_of_stream_0_and_of_its_type_closes_the_connection)
{
    enum misuse {
        FIN_EARLY,
        FIN_LATE,
        SECOND,
        SECOND_EARLY,
        JUNK,
        OVERSIZED,
        DISCO_TWICE,
        MISUSES
    };
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
        [DISCO_TWICE] = {PX_EPROTO, PX_CLOSE_PROTOCOL},
    };
    for (int m = 0; m < MISUSES; m++) {
        struct eager e;
        eager_start(&e, 5100 + (uint64_t)m);
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
        for (int i = 0; i < 2 && m == DISCO_TWICE; i++)
            raw_write(e.c, 0, px_slice("\0\5\xa2\0\4\1\7", 7), false);
        if (m == OVERSIZED)
            raw_write(e.c, 0, px_slice("\377\377", 2), false);
        world_run(&e.w, PX_SEC);
        CHECK(e.c->closed && e.c->by_peer);
        CHECK_INT(e.c->code, want[m].code);
        CHECK_ERR(m == FIN_EARLY ? e.w.b.refused_err : e.w.b.down_err, want[m].err);
        eager_deinit(&e);
    }
}

TEST(stream_0_may_not_be_reset)
{
    struct eager e;
    eager_start(&e, 515);
    eager_send_message_3(&e);
    px_quic_stream_reset(e.c->conn, 0, 1);
    sim_node_kick(e.raw.node);
    world_run(&e.w, PX_SEC);
    CHECK(e.c->closed && e.c->by_peer);
    CHECK_INT(e.c->code, PX_CLOSE_PROTOCOL);
    CHECK_ERR(e.w.b.down_err, PX_EPROTO);
    eager_deinit(&e);
}

TEST(what_happened_to_parked_streams_is_told_in_order)
{
    struct eager e;
    eager_start(&e, 518);
    e.w.b.answer_max = 100000;
    eager_open(&e, 2); /* of one direction: ended and done with */
    eager_open(&e, 4);
    raw_write(e.c, 8, px_slice("\1half", 5), false);
    world_run(&e.w, 100 * PX_MSEC);
    px_quic_stream_reset(e.c->conn, 8, 0x31);
    px_quic_stream_stop(e.c->conn, 4, 0x32);
    sim_node_kick(e.raw.node);
    world_run(&e.w, 100 * PX_MSEC);
    CHECK_INT(e.w.b.bulk_count, 0);
    /* and a frame of a later version right behind message 3 */
    px_buf_put(&e.out, PX_SLICE_LIT("\x00\x04\xa1\x00\x18\x63"));
    eager_send_message_3(&e);
    world_run(&e.w, PX_SEC);
    CHECK(!e.c->closed);
    CHECK_INT(e.w.b.bulk_count, 3);
    CHECK_INT(e.w.b.bulks[0].in_pos, 0);
    CHECK(e.w.b.bulks[0].in_end);
    CHECK(e.w.b.bulks[1].closed && e.w.b.bulks[2].closed);
    CHECK_ERR(e.w.b.bulks[1].err, PX_ECANCELED);
    CHECK_ERR(e.w.b.bulks[2].err, PX_ECANCELED);
    CHECK_INT(e.w.b.bulks[2].code, 0x31);
    eager_deinit(&e);
}

TEST(a_stream_of_unknown_type_is_refused_and_the_link_goes_on)
{
    struct eager e;
    eager_start(&e, 520);
    eager_send_message_3(&e);
    raw_write(e.c, 4, px_slice("\x7e junk", 6), true);
    raw_write(e.c, 8, px_slice(NULL, 0), true); /* ends before its type */
    eager_open(&e, 12);
    world_run(&e.w, PX_SEC);
    CHECK(!e.c->closed);
    CHECK_INT(e.w.b.bulk_count, 1);
    CHECK(host_bulks_done(&e.w.b));
    eager_deinit(&e);
}

static uint64_t stream_0_unacked(const struct px_link *l)
{
    return l->control_out.queued;
}

/* Each 7 bytes: u16 length, {0: 2, 1: nonce}. */
static void put_pings(struct px_buf *out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        CHECK_OK(px_buf_put(out, PX_SLICE_LIT("\x00\x05\xa2\x00\x02\x01\x07")));
}

TEST(pings_of_a_peer_that_takes_no_answer_cost_bounded_memory)
{
    const size_t pong_len = 7;
    struct eager e;
    struct px_buf pings;
    px_buf_init(&pings, 1 << 20);
    eager_start(&e, 532);
    eager_send_message_3(&e);
    size_t before = raw_received(e.c, 0).len;
    sim_node_set_deaf(e.raw.node, true); /* no answer and no acknowledgement gets there */
    put_pings(&pings, 10000);
    raw_write(e.c, 0, px_buf_slice(&pings), false);
    world_run(&e.w, 2 * PX_SEC);
    CHECK_INT(e.w.b.link_count, 1);
    CHECK(stream_0_unacked(e.w.b.links[0]) < PX_LINK_CONTROL_OUT_MAX + pong_len);
    CHECK(stream_0_unacked(e.w.b.links[0]) >= PX_LINK_CONTROL_OUT_MAX);
    sim_node_set_deaf(e.raw.node, false);
    world_run(&e.w, 10 * PX_SEC);
    CHECK(!e.c->closed);
    CHECK_INT(stream_0_unacked(e.w.b.links[0]), 0);
    /* some were dropped, and the link answers as before */
    size_t answered = raw_received(e.c, 0).len - before;
    CHECK(answered < 10000 * pong_len);
    px_buf_clear(&pings);
    put_pings(&pings, 1);
    raw_write(e.c, 0, px_buf_slice(&pings), false);
    world_run(&e.w, PX_SEC);
    CHECK_INT(raw_received(e.c, 0).len - before, answered + pong_len);
    px_buf_deinit(&pings);
    eager_deinit(&e);
}

TEST(our_own_identity_from_outside_is_refused)
{
    struct world w;
    struct host clone;
    world_start(&w, 530, &sim_calm);
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
    world_run(&e.w, 100 * PX_MSEC);
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
    world_run(&e.w, 100 * PX_MSEC);
    struct px_slice message_2 = raw_received(e.c, 0);
    enum px_handshake_event event;
    CHECK_OK(px_link_handshake_input(e.h, &message_2, &e.out, &event));
    CHECK_OK(px_link_handshake_proceed(e.h, &e.out));
    eager_send_message_3(&e);
    CHECK_ERR(e.w.b.refused_err, PX_ESELF);
    CHECK_ERR(e.c->err, PX_ESELF);
    eager_deinit(&e);
}

/* Shows that it knows b, and then says no more. */
static void knock(struct world *w, struct raw_conn *c)
{
    static const uint8_t boot_id[PX_BOOT_ID_LEN];
    uint8_t exporter[PX_QUIC_EXPORTER_LEN];
    struct px_x25519_secret secret = {{1}};
    struct px_test_rng seed;
    struct px_link_handshake *h;
    struct px_buf out;
    CHECK_OK(px_quic_conn_exporter(c->conn, exporter));
    const struct px_link_handshake_config config = {
        .role = PX_NOISE_INITIATOR,
        .identity = &w->a.identity,
        .target = w->b.identity.id,
        .network = PX_SLICE_LIT("default"),
        .exporter = exporter,
        .boot_id = boot_id,
        .noise_static = &secret,
        .rng = px_test_rng(&seed, 3),
    };
    px_buf_init(&out, 4096);
    CHECK_OK(px_link_handshake_new(&config, &out, &h));
    raw_write(c, 0, px_buf_slice(&out), false);
    px_buf_deinit(&out);
    px_link_handshake_free(h);
}

static void dial_some(struct world *w, struct raw *crowd, int count)
{
    for (int i = 0; i < count; i++) {
        raw_dial(crowd, w->b.number);
        world_run(w, 4 * PX_MSEC);
    }
    world_run(w, 100 * PX_MSEC);
}

static void crowd_in(struct world *w, struct raw *crowd, int knocking, int silent)
{
    dial_some(w, crowd, knocking);
    for (int i = 0; i < knocking; i++)
        knock(w, crowd->conns[i]);
    dial_some(w, crowd, silent);
}

/* Anybody can open connections; only who knows b can hold them. */
TEST(connections_that_say_nothing_make_way)
{
    struct world w;
    static struct raw crowd; /* large */
    world_start(&w, 542, &sim_calm);
    raw_init(&crowd, w.net, 3, 81);
    crowd_in(&w, &crowd, 1, PX_LINK_HALF_OPEN_MAX - 1);
    CHECK_INT(w.b.refused_count, 0);
    world_connect(&w);
    CHECK_INT(w.b.refused_count, 1);
    CHECK_ERR(w.b.refused_err, PX_EBUSY);
    CHECK(!crowd.conns[0]->closed);
    CHECK(crowd.conns[1]->closed); /* the oldest but for the one that spoke */
    CHECK(!crowd.conns[2]->closed);
    raw_deinit(&crowd);
    world_deinit(&w);
}

TEST(too_many_half_open_connections_get_busy)
{
    struct world w;
    static struct raw crowd; /* large */
    world_start(&w, 540, &sim_calm);
    raw_init(&crowd, w.net, 3, 79);
    crowd_in(&w, &crowd, PX_LINK_HALF_OPEN_MAX, 0);
    CHECK_INT(w.b.refused_count, 0);
    CHECK_OK(host_dial(&w.a, &w.b));
    CHECK(world_run_until(&w, a_down_and_b_refused, PX_SEC));
    check_refusal(&w, PX_EBUSY, PX_EBUSY, true);
    world_run(&w, PX_LINK_HANDSHAKE_TIME); /* the crowd is gone by then */
    world_connect(&w);
    raw_deinit(&crowd);
    world_deinit(&w);
}

static bool a_down(const struct world *w)
{
    return w->a.down_count > 0;
}

TEST(beyond_the_hard_limit_nothing_is_kept_of_a_newcomer)
{
    struct world w;
    static struct raw crowd; /* large */
    world_start(&w, 541, &sim_calm);
    raw_init(&crowd, w.net, 3, 80);
    crowd_in(&w, &crowd, PX_LINK_HALF_OPEN_MAX, PX_LINK_HALF_OPEN_HARD - PX_LINK_HALF_OPEN_MAX);
    CHECK_OK(host_dial(&w.a, &w.b));
    CHECK(world_run_until(&w, a_down, PX_SEC));
    CHECK_INT(w.b.refused_count, 0); /* b does not even speak of it */
    world_run(&w, PX_LINK_HANDSHAKE_TIME);
    world_connect(&w);
    raw_deinit(&crowd);
    world_deinit(&w);
}

/* ---- datagrams that wait for the next turn of the loop ---- */

static void lazy_input(void *ctx, const struct px_path *path, unsigned ecn, struct px_slice d,
                       px_nsec now)
{
    px_overlay_input(((struct host *)ctx)->overlay, path, ecn, d, now);
}

static void lazy_run(void *ctx, px_nsec now)
{
    (void)ctx, (void)now;
}

static px_nsec lazy_deadline(void *ctx)
{
    (void)ctx;
    return PX_NEVER;
}

static void busy_run(void *ctx, px_nsec now)
{
    px_overlay_run(((struct host *)ctx)->overlay, now);
}

static px_nsec busy_deadline(void *ctx)
{
    return px_overlay_deadline(((struct host *)ctx)->overlay);
}

TEST(frames_before_the_verdict_are_held_up_to_a_limit)
{
    static const struct sim_node_ops lazy = {lazy_input, lazy_run, lazy_deadline},
                                     busy = {lazy_input, busy_run, busy_deadline};
    static const uint8_t unknown[] = {0, 4, 0xa1, 0, 0x18, 99}; /* a frame of a later version */
    for (int over = 0; over < 2; over++) {
        uint8_t frames[PX_LINK_CONTROL_MAX + sizeof(unknown)];
        size_t len = 0;
        struct eager e;
        eager_start(&e, 5200 + (uint64_t)over);
        while (len + sizeof(unknown) <= PX_LINK_CONTROL_MAX ||
               (over && len <= PX_LINK_CONTROL_MAX)) {
            memcpy(frames + len, unknown, sizeof(unknown));
            len += sizeof(unknown);
        }
        sim_node_set_owner(e.w.b.node, &lazy, &e.w.b);
        eager_send_message_3(&e);
        raw_write(e.c, 0, px_slice(frames, len), false);
        world_run(&e.w, 20 * PX_MSEC);
        CHECK_INT(e.w.b.up_count + e.w.b.refused_count, 0);
        sim_node_set_owner(e.w.b.node, &busy, &e.w.b);
        world_run(&e.w, PX_SEC);
        CHECK_INT(e.w.b.up_count, !over);
        CHECK_INT(e.c->closed, over);
        if (over)
            CHECK_INT(e.c->code, PX_CLOSE_OVERRUN);
        eager_deinit(&e);
    }
}

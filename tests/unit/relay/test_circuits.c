/* Circuits with two nodes played by hand: binding, forwarding, rebinding, limits, ends; and what a
 * third party can send. */
#include <stdlib.h>

#include "relay/circuits.h"
#include "tests/test.h"

#define SEGMENT 1208
#define IDLE    (60 * PX_SEC)
#define BIND    (10 * PX_SEC)

struct bed {
    struct px_test_rng rng;
    struct px_circuits *cs;
    struct px_circuits_out out;
    px_nsec now;
    int opened, ended;
    enum px_relay_status why;
    struct px_circuit *circuit;
    struct px_relay_leg_id leg[2];
    struct px_relay_leg_key key[2];
    struct px_path path[2];
};

static void on_opened(void *ctx, struct px_circuit *c)
{
    struct bed *b = ctx;
    CHECK(px_circuit_is_open(c));
    b->opened++;
}

static void on_ended(void *ctx, struct px_circuit *c, enum px_relay_status why)
{
    struct bed *b = ctx;
    b->ended++;
    b->why = why;
    if (c == b->circuit)
        b->circuit = NULL;
}

static const struct px_circuits_ops ops = {on_opened, on_ended};

static struct px_path path_of(uint8_t host, uint16_t port)
{
    struct px_path p;
    memset(&p, 0, sizeof(p));
    p.local.family = p.remote.family = PX_ADDR_IP4;
    p.local.ip[0] = 127;
    p.local.port = 1;
    p.remote.ip[0] = 10;
    p.remote.ip[3] = host;
    p.remote.port = port;
    return p;
}

static struct px_circuit_params params_of(uint8_t caller, uint8_t callee)
{
    struct px_circuit_params p = {0};
    memset(p.peer[0].key, caller, sizeof(p.peer[0].key));
    memset(p.peer[1].key, callee, sizeof(p.peer[1].key));
    memset(p.binding[0], 0xb0 + caller, sizeof(p.binding[0]));
    memset(p.binding[1], 0xb0 + callee, sizeof(p.binding[1]));
    return p;
}

static void set_up(struct bed *b)
{
    *b = (struct bed){.now = 1000 * PX_SEC};
    const struct px_circuits_config config = {.rng = px_test_rng(&b->rng, 7),
                                              .ops = &ops,
                                              .ctx = b,
                                              .per_peer = 4,
                                              .idle = IDLE,
                                              .bind_time = BIND};
    CHECK_OK(px_circuits_new(&config, &b->cs));
}

static void open_circuit(struct bed *b, const struct px_circuit_params *params)
{
    CHECK_OK(px_circuits_open(b->cs, params, b->now, &b->circuit));
    for (int i = 0; i < 2; i++) {
        b->leg[i] = *px_circuit_leg(b->circuit, (enum px_circuit_side)i);
        px_relay_leg_key(px_slice(params->binding[i], 32), &b->leg[i], &b->key[i]);
        b->path[i] = path_of((uint8_t)(i + 1), 5000);
    }
}

/* What comes out for one packet in; empty for silence. */
static struct px_slice put(struct bed *b, const struct px_path *path, uint8_t *data, size_t len)
{
    CHECK_INT(px_circuits_input(b->cs, path, data, len, len, b->now, &b->out), len);
    return b->out.path == NULL ? px_slice(NULL, 0) : b->out.data;
}

static struct px_slice put_bind(struct bed *b, int side, const struct px_path *path,
                                enum px_relay_packet_type type, const struct px_relay_nonce *nonce)
{
    static uint8_t packet[PX_RELAY_BIND_LEN];
    px_relay_bind_put(packet, type, &b->leg[side], nonce, &b->key[side]);
    return put(b, path, packet, sizeof(packet));
}

/* HELLO for the nonce of a challenge. */
static struct px_relay_nonce hello(struct bed *b, int side, const struct px_path *path)
{
    struct px_relay_nonce mine = {{1, 2, 3}};
    struct px_relay_packet p;
    CHECK_OK(px_relay_packet_parse(put_bind(b, side, path, PX_RELAY_HELLO, &mine), &p));
    CHECK_INT(p.type, PX_RELAY_CHALLENGE);
    CHECK(px_relay_bind_check(&p, &b->key[side]));
    CHECK(px_path_eq(b->out.path, path));
    return p.nonce;
}

static bool answer(struct bed *b, int side, const struct px_path *path,
                   const struct px_relay_nonce *nonce)
{
    struct px_relay_packet p;
    struct px_slice got = put_bind(b, side, path, PX_RELAY_ANSWER, nonce);
    if (got.len == 0)
        return false;
    CHECK_OK(px_relay_packet_parse(got, &p));
    CHECK_INT(p.type, PX_RELAY_BOUND);
    CHECK_SLICE(px_slice(p.nonce.bytes, 16), px_slice(nonce->bytes, 16));
    CHECK(px_relay_bind_check(&p, &b->key[side]));
    return true;
}

static void bind_leg(struct bed *b, int side)
{
    struct px_relay_nonce n = hello(b, side, &b->path[side]);
    CHECK(answer(b, side, &b->path[side], &n));
}

static void set_up_open(struct bed *b, const struct px_circuit_params *params)
{
    set_up(b);
    open_circuit(b, params);
    bind_leg(b, 0);
    bind_leg(b, 1);
    px_circuit_consent(b->circuit, b->now);
    CHECK_INT(b->opened, 1);
}

static size_t fill_data(uint8_t *out, const struct px_relay_leg_id *leg, size_t len, uint8_t what)
{
    px_relay_header_put(out, PX_RELAY_DATA, leg);
    memset(out + PX_RELAY_HEADER_LEN, what, len - PX_RELAY_HEADER_LEN);
    return len;
}

static bool passes(struct bed *b, int side, size_t len)
{
    static uint8_t packet[65536];
    fill_data(packet, &b->leg[side], len, 0x5a);
    struct px_slice got = put(b, &b->path[side], packet, len);
    if (got.len == 0)
        return false;
    CHECK_INT(got.len, len);
    CHECK(px_path_eq(b->out.path, &b->path[1 - side]));
    CHECK_SLICE(px_slice(got.data + 1, 7), px_slice(b->leg[1 - side].bytes, 7));
    for (size_t i = PX_RELAY_HEADER_LEN; i < len; i++)
        CHECK(got.data[i] == 0x5a);
    return true;
}

TEST(data_flow_both_ways_once_both_are_bound_and_the_callee_consented)
{
    struct bed b;
    struct px_circuit_params p = params_of(1, 2);
    set_up(&b);
    open_circuit(&b, &p);
    CHECK(!passes(&b, 0, 1208));
    bind_leg(&b, 0);
    CHECK(!passes(&b, 0, 1208));
    px_circuit_consent(b.circuit, b.now);
    CHECK(!passes(&b, 0, 1208));
    CHECK_INT(b.opened, 0);
    bind_leg(&b, 1);
    CHECK_INT(b.opened, 1);
    CHECK(passes(&b, 0, 1208));
    CHECK(passes(&b, 1, 9));
    CHECK(!px_relay_leg_eq(&b.leg[0], &b.leg[1]));
    px_circuits_free(b.cs);
}

TEST(a_nonce_told_on_control_binds_without_a_challenge)
{
    struct bed b;
    struct px_circuit_params p = params_of(1, 2);
    struct px_relay_nonce n;
    set_up(&b);
    open_circuit(&b, &p);
    px_circuit_nonce(b.circuit, PX_CIRCUIT_CALLER, &b.path[0].remote, b.now, &n);
    CHECK(!answer(&b, 0, &b.path[1], &n)); /* not from another address */
    CHECK(answer(&b, 0, &b.path[0], &n));
    px_circuits_free(b.cs);
}

TEST(a_batch_leaves_as_one_with_every_header_rewritten)
{
    struct bed b;
    struct px_circuit_params p = params_of(1, 2);
    static uint8_t batch[20 * SEGMENT];
    set_up_open(&b, &p);
    size_t len = 0;
    while (len < sizeof(batch) - SEGMENT)
        len += fill_data(batch + len, &b.leg[0], SEGMENT, 1);
    len += fill_data(batch + len, &b.leg[0], 100, 1);
    CHECK_INT(px_circuits_input(b.cs, &b.path[0], batch, len, SEGMENT, b.now, &b.out), len);
    CHECK_INT(b.out.data.len, len);
    CHECK_INT(b.out.segment, SEGMENT);
    for (size_t at = 0; at < len; at += SEGMENT)
        CHECK_SLICE(px_slice(batch + at + 1, 7), px_slice(b.leg[1].bytes, 7));
    px_circuits_free(b.cs);
}

TEST(a_mixed_batch_is_cut_where_the_leg_or_the_kind_changes)
{
    struct bed b;
    struct px_circuit_params p = params_of(1, 2), q = params_of(1, 3);
    uint8_t batch[6 * 100];
    set_up_open(&b, &p);
    struct px_relay_leg_id first = b.leg[0];
    open_circuit(&b, &q);
    bind_leg(&b, 0);
    bind_leg(&b, 1);
    px_circuit_consent(b.circuit, b.now);
    fill_data(batch, &first, 100, 1);
    fill_data(batch + 100, &first, 100, 1);
    fill_data(batch + 200, &b.leg[0], 100, 1);
    memset(batch + 300, 0x40, 100); /* QUIC */
    fill_data(batch + 400, &b.leg[0], 100, 1);
    memset(batch + 500, PX_RELAY_DATA, 5); /* a stub at the end */
    static const size_t want[] = {200, 100, 0};
    size_t at = 0;
    for (size_t i = 0; i < PX_ARRAY_LEN(want); i++) {
        CHECK_INT(px_circuits_input(b.cs, &b.path[0], batch + at, 505 - at, 100, b.now, &b.out),
                  want[i]);
        at += want[i];
    }
    CHECK_INT(px_circuits_input(b.cs, &b.path[0], batch + 400, 105, 100, b.now, &b.out), 100);
    CHECK_INT(b.out.data.len, 100);
    CHECK_INT(px_circuits_input(b.cs, &b.path[0], batch + 500, 5, 100, b.now, &b.out), 5);
    CHECK(b.out.path == NULL);
    px_circuits_free(b.cs);
}

TEST(what_an_outsider_sends_meets_silence)
{
    struct bed b;
    struct px_circuit_params p = params_of(1, 2);
    struct px_path outsider = path_of(66, 6666);
    struct px_relay_leg_id guess = {{9, 9, 9, 9, 9, 9, 9}};
    struct px_relay_nonce n = {{0}};
    uint8_t packet[200];
    set_up_open(&b, &p);
    fill_data(packet, &guess, sizeof(packet), 1);
    CHECK_INT(put(&b, &outsider, packet, sizeof(packet)).len, 0);
    for (int type = 0x10; type < 0x20; type++) { /* every type, every length, with a real leg */
        for (size_t len = 1; len <= 64; len++) {
            memset(packet, 0, sizeof(packet));
            px_relay_header_put(packet, (enum px_relay_packet_type)type, &b.leg[0]);
            struct px_slice got = put(&b, &outsider, packet, len);
            CHECK(got.len <= len);
            if (got.len > 0)
                CHECK(type == PX_RELAY_DATA && len >= PX_RELAY_BIND_LEN);
        }
    }
    CHECK(!answer(&b, 0, &outsider, &n));
    CHECK_INT(b.out.path != NULL, 0);
    CHECK(passes(&b, 0, 500));
    CHECK(passes(&b, 1, 500));
    px_circuits_free(b.cs);
}

TEST(bytes_of_a_spoofed_source_are_not_forwarded_and_cost_one_challenge_a_second)
{
    struct bed b;
    struct px_circuit_params p = params_of(1, 2);
    struct px_path spoofed = path_of(77, 7);
    uint8_t packet[100];
    int challenges = 0;
    set_up_open(&b, &p);
    for (int ms = 0; ms < 3000; ms += 10, b.now += 10 * PX_MSEC) {
        fill_data(packet, &b.leg[0], sizeof(packet), 1);
        struct px_slice got = put(&b, &spoofed, packet, sizeof(packet));
        if (got.len > 0) {
            CHECK_INT(got.len, PX_RELAY_BIND_LEN);
            CHECK(px_path_eq(b.out.path, &spoofed));
            challenges++;
        }
    }
    CHECK_INT(challenges, 3);
    fill_data(packet, &b.leg[0], 39, 1); /* shorter than a challenge: never */
    b.now += 2 * PX_SEC;
    CHECK_INT(put(&b, &spoofed, packet, 39).len, 0);
    px_circuits_free(b.cs);
}

TEST(a_node_that_moved_answers_the_challenge_and_goes_on)
{
    struct bed b;
    struct px_circuit_params p = params_of(1, 2);
    struct px_path old, moved = path_of(1, 5999);
    struct px_relay_packet challenge;
    uint8_t packet[100];
    set_up_open(&b, &p);
    old = b.path[0];
    fill_data(packet, &b.leg[0], sizeof(packet), 1);
    CHECK_OK(px_relay_packet_parse(put(&b, &moved, packet, sizeof(packet)), &challenge));
    CHECK_INT(challenge.type, PX_RELAY_CHALLENGE);
    CHECK(passes(&b, 0, 100)); /* until then the old address stays good */
    CHECK(answer(&b, 0, &moved, &challenge.nonce));
    b.path[0] = moved;
    CHECK(passes(&b, 0, 100));
    CHECK(passes(&b, 1, 100));
    b.path[0] = old;
    CHECK(!passes(&b, 0, 39));
    px_circuits_free(b.cs);
}

TEST(a_replayed_answer_binds_nothing)
{
    struct bed b;
    struct px_circuit_params p = params_of(1, 2);
    struct px_path home, moved = path_of(1, 5999);
    set_up_open(&b, &p);
    home = b.path[0];
    struct px_relay_nonce first = hello(&b, 0, &home);
    CHECK(answer(&b, 0, &home, &first));
    CHECK(answer(&b, 0, &home, &first)); /* a repeat for a lost BOUND is answered, */
    struct px_relay_nonce second = hello(&b, 0, &moved);
    CHECK(answer(&b, 0, &moved, &second));
    CHECK(!answer(&b, 0, &home, &first)); /* but does not bring the old address back, */
    CHECK(!answer(&b, 0, &home, &second));
    b.path[0] = moved;
    CHECK(passes(&b, 0, 100));
    struct px_relay_nonce late = hello(&b, 0, &home);
    b.now += 2 * PX_CIRCUIT_NONCE_SLOT;
    CHECK(!answer(&b, 0, &home, &late)); /* nor is an old challenge good for ever */
    px_circuits_free(b.cs);
}

TEST(a_bind_without_the_leg_key_is_met_with_silence)
{
    struct bed b;
    struct px_circuit_params p = params_of(1, 2);
    struct px_relay_nonce n = {{5}};
    set_up(&b);
    open_circuit(&b, &p);
    px_circuit_nonce(b.circuit, PX_CIRCUIT_CALLER, &b.path[0].remote, b.now, &n);
    b.key[0].bytes[3] ^= 1;
    CHECK_INT(put_bind(&b, 0, &b.path[0], PX_RELAY_HELLO, &n).len, 0);
    CHECK(!answer(&b, 0, &b.path[0], &n));
    b.key[0] = b.key[1]; /* the other leg's is another key */
    CHECK(!answer(&b, 0, &b.path[0], &n));
    px_circuits_free(b.cs);
}

TEST(hellos_are_answered_four_times_a_second)
{
    struct bed b;
    struct px_circuit_params p = params_of(1, 2);
    struct px_relay_nonce n = {{5}};
    int answered = 0;
    set_up(&b);
    open_circuit(&b, &p);
    for (int i = 0; i < 100; i++)
        answered += put_bind(&b, 0, &b.path[0], PX_RELAY_HELLO, &n).len > 0;
    CHECK_INT(answered, PX_CIRCUIT_HELLOS);
    b.now += PX_SEC;
    CHECK(put_bind(&b, 0, &b.path[0], PX_RELAY_HELLO, &n).len > 0);
    px_circuits_free(b.cs);
}

TEST(ping_is_answered_to_its_own_address_alone_and_keeps_the_circuit)
{
    struct bed b;
    struct px_circuit_params p = params_of(1, 2);
    struct px_path other = path_of(9, 9);
    struct px_relay_nonce n = {{8}};
    uint8_t ping[PX_RELAY_PING_LEN];
    set_up_open(&b, &p);
    for (int i = 0; i < 10; i++) {
        b.now += 20 * PX_SEC;
        for (int side = 0; side < 2; side++) {
            px_relay_ping_put(ping, PX_RELAY_PING, &b.leg[side], &n);
            CHECK_INT(put(&b, &other, ping, sizeof(ping)).len, 0);
            CHECK_INT(put(&b, &b.path[side], ping, sizeof(ping)).len, PX_RELAY_PING_LEN);
            CHECK_INT(b.out.data.data[0], PX_RELAY_PONG);
        }
        px_circuits_run(b.cs, b.now);
    }
    CHECK_INT(b.ended, 0);
    /* one leg alone does not keep it */
    for (int i = 0; i < 3; i++) {
        b.now += 20 * PX_SEC;
        px_relay_ping_put(ping, PX_RELAY_PING, &b.leg[0], &n);
        put(&b, &b.path[0], ping, sizeof(ping));
        px_circuits_run(b.cs, b.now);
    }
    CHECK_INT(b.ended, 1);
    CHECK_INT(b.why, PX_RELAY_IDLE);
    CHECK(px_circuits_deadline(b.cs) == PX_NEVER);
    px_circuits_free(b.cs);
}

TEST(a_circuit_that_does_not_come_about_ends)
{
    static const struct {
        bool consent;
        enum px_relay_status why;
    } rows[] = {{false, PX_RELAY_NO_ANSWER}, {true, PX_RELAY_CONNECTION_FAILED}};
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        struct bed b;
        struct px_circuit_params p = params_of(1, 2);
        set_up(&b);
        open_circuit(&b, &p);
        bind_leg(&b, 0);
        if (rows[i].consent)
            px_circuit_consent(b.circuit, b.now);
        px_circuits_run(b.cs, b.now + BIND - 1);
        CHECK_INT(b.ended, 0);
        px_circuits_run(b.cs, b.now + BIND + PX_CIRCUIT_SWEEP);
        CHECK_INT(b.ended, 1);
        CHECK_INT(b.why, rows[i].why);
        px_circuits_free(b.cs);
    }
}

TEST(the_rate_holds_each_way_and_the_rest_is_dropped)
{
    struct bed b;
    struct px_circuit_params p = params_of(1, 2);
    uint64_t bytes[2] = {0, 0};
    p.rate = 10 * 1000 * 1000;
    set_up_open(&b, &p);
    for (int ms = 0; ms < 2000; ms++, b.now += PX_MSEC)
        for (int side = 0; side < 2; side++)
            for (int i = 0; i < 20; i++) /* 24 MB/s offered */
                bytes[side] += passes(&b, side, SEGMENT) ? SEGMENT : 0;
    for (int side = 0; side < 2; side++) {
        CHECK(bytes[side] <= 2 * p.rate + px_circuit_burst(p.rate));
        CHECK(bytes[side] >= 2 * p.rate);
    }
    px_circuits_free(b.cs);
}

TEST(all_circuits_of_a_node_share_its_bucket)
{
    struct bed b;
    struct px_circuit_params p = params_of(1, 2);
    struct px_relay_leg_id legs[4];
    struct px_path from;
    uint8_t packet[SEGMENT];
    uint64_t bytes = 0;
    set_up(&b);
    for (uint8_t i = 0; i < 4; i++) {
        p = params_of(1, (uint8_t)(10 + i));
        p.rate = 1000 * 1000;
        open_circuit(&b, &p);
        bind_leg(&b, 0);
        bind_leg(&b, 1);
        px_circuit_consent(b.circuit, b.now);
        legs[i] = b.leg[0];
    }
    from = b.path[0];
    for (int round = 0; round < 4000; round++)
        for (int i = 0; i < 4; i++) {
            fill_data(packet, &legs[i], SEGMENT, 1);
            bytes += put(&b, &from, packet, SEGMENT).len;
        }
    CHECK(bytes <= 4 * px_circuit_burst(p.rate));
    CHECK(bytes <= px_circuit_burst(PX_CIRCUIT_PEER_RATE_FOLD * p.rate)); /* the smaller one */
    px_circuits_free(b.cs);
}

TEST(bytes_and_time_of_a_limited_circuit_run_out)
{
    struct bed b;
    struct px_circuit_params p = params_of(1, 2);
    p.bytes = 10000;
    set_up_open(&b, &p);
    for (int i = 0; i < 10; i++)
        CHECK(passes(&b, 0, 1000));
    CHECK(passes(&b, 1, 1000)); /* each way has its own */
    CHECK(!passes(&b, 0, 9));
    CHECK_INT(b.ended, 1);
    CHECK_INT(b.why, PX_RELAY_BYTES_USED);
    px_circuits_free(b.cs);

    p = params_of(1, 2);
    p.time = 600 * PX_SEC;
    set_up_open(&b, &p);
    for (int s = 0; s < 599; s++, b.now += PX_SEC) {
        CHECK(passes(&b, 0, 100) && passes(&b, 1, 100));
        px_circuits_run(b.cs, b.now);
    }
    CHECK_INT(b.ended, 0);
    px_circuits_run(b.cs, b.now + 2 * PX_SEC);
    CHECK_INT(b.why, PX_RELAY_TIME_USED);
    px_circuits_free(b.cs);
}

TEST(a_node_has_so_many_circuits_and_only_live_ones_count)
{
    struct bed b;
    struct px_circuit_params p = params_of(1, 2);
    struct px_circuit *c, *first = NULL;
    set_up(&b);
    for (uint8_t i = 0; i < 4; i++) {
        p = params_of(1, (uint8_t)(10 + i));
        CHECK_OK(px_circuits_open(b.cs, &p, b.now, &c));
        first = i == 0 ? c : first;
    }
    p = params_of(1, 99);
    CHECK_ERR(px_circuits_open(b.cs, &p, b.now, &c), PX_ELIMIT);
    p = params_of(99, 1); /* being called counts as well */
    CHECK_ERR(px_circuits_open(b.cs, &p, b.now, &c), PX_ELIMIT);
    px_circuit_end(first, PX_RELAY_PEER_ENDED);
    CHECK_OK(px_circuits_open(b.cs, &p, b.now, &c));
    CHECK_INT(px_circuits_count(b.cs, &p.peer[1]), 4);
    CHECK_ERR(px_circuits_open(b.cs, &(struct px_circuit_params){0}, b.now, &c), PX_EINVAL);
    px_circuits_end_all(b.cs, PX_RELAY_REVOKED);
    CHECK_INT(px_circuits_count(b.cs, &p.peer[1]), 0);
    CHECK_INT(b.ended, 5);
    px_circuits_free(b.cs);
}

TEST(calling_again_replaces_the_older_circuit)
{
    struct bed b;
    struct px_circuit_params p = params_of(1, 2), back = params_of(2, 1);
    struct px_circuit *c;
    set_up_open(&b, &p);
    CHECK_OK(px_circuits_open(b.cs, &back, b.now, &c)); /* the other way is another circuit */
    CHECK_INT(b.ended, 0);
    CHECK_OK(px_circuits_open(b.cs, &p, b.now, &c));
    CHECK_INT(b.ended, 1);
    CHECK_INT(b.why, PX_RELAY_PEER_ENDED);
    CHECK_INT(px_circuits_count(b.cs, &p.peer[0]), 2);
    px_circuits_free(b.cs);
}

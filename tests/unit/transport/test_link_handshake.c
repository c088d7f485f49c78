/* The handshake on stream 0: it succeeds between two that know each other, however the bytes are
 * cut, and every refusal of docs/spec/handshake.md has its own code at both ends. The proofs inside
 * are link_proof.c, the frames around them frame.c and control_frame.c. */
#include "auth/identity.h"
#include "proto/cbor.h"
#include "proto/stream_type.h"
#include "tests/test.h"
#include "transport/frame.h"
#include "transport/link_handshake.h"

/* Everything one end needs, and what it has to say. */
struct end {
    struct px_identity identity;
    struct px_x25519_secret noise_static;
    uint8_t static_public[PX_X25519_LEN];
    uint8_t boot_id[PX_BOOT_ID_LEN];
    uint8_t exporter[PX_QUIC_EXPORTER_LEN];
    const char *network;
    struct px_test_rng rng;
    struct px_link_handshake *h;
    struct px_buf out;
    int err; /* of the first failed input */
    unsigned proved, accepted;
};

struct pair {
    struct end a, b; /* initiator, responder */
};

static void end_init(struct end *e, uint64_t seed)
{
    memset(e, 0, sizeof(*e));
    struct px_rng rng = px_test_rng(&e->rng, seed);
    px_identity_generate(&rng, &e->identity);
    px_x25519_generate(&rng, &e->noise_static, e->static_public);
    rng.fill(rng.ctx, e->boot_id, sizeof(e->boot_id));
    memset(e->exporter, 0x5a, sizeof(e->exporter));
    e->network = "default";
    px_buf_init(&e->out, 1 << 16);
}

static void end_start(struct end *e, enum px_noise_role role, const struct px_peer_id *target)
{
    struct px_link_handshake_config config = {
        .role = role,
        .identity = &e->identity,
        .network = px_slice_cstr(e->network),
        .exporter = e->exporter,
        .boot_id = e->boot_id,
        .agent = PX_SLICE_LIT("test/1"),
        .noise_static = &e->noise_static,
        .rng = px_test_rng(&e->rng, px_test_rng_next(&e->rng)),
    };
    if (target != NULL)
        config.target = *target;
    CHECK_OK(px_link_handshake_new(&config, &e->out, &e->h));
}

static void end_deinit(struct end *e)
{
    px_link_handshake_free(e->h);
    px_buf_deinit(&e->out);
}

static struct pair *pair_init(struct pair *p)
{
    CHECK_OK(px_crypto_init());
    end_init(&p->a, 1);
    end_init(&p->b, 2);
    return p;
}

static void pair_start(struct pair *p)
{
    end_start(&p->a, PX_NOISE_INITIATOR, &p->b.identity.id);
    end_start(&p->b, PX_NOISE_RESPONDER, NULL);
}

static void pair_deinit(struct pair *p)
{
    end_deinit(&p->a);
    end_deinit(&p->b);
}

/* Feeds bytes; goes on by itself when the peer is proved. */
static void feed(struct end *e, struct px_slice data)
{
    while (data.len > 0 && e->err == 0) {
        enum px_handshake_event event;
        e->err = px_link_handshake_input(e->h, &data, &e->out, &event);
        if (e->err != 0)
            return;
        e->accepted += event == PX_HANDSHAKE_ACCEPTED;
        if (event == PX_HANDSHAKE_PEER_PROVED) {
            e->proved++;
            e->err = px_link_handshake_proceed(e->h, &e->out);
        }
    }
}

/* Carries what `from` has said to `to`, in pieces of at most `piece` bytes. */
static void carry(struct end *from, struct end *to, size_t piece)
{
    struct px_slice rest = px_buf_slice(&from->out);
    for (; rest.len > 0 && to->err == 0; rest = px_slice_skip(rest, piece))
        feed(to, px_slice_take(rest, piece));
    px_buf_clear(&from->out);
}

static void run(struct pair *p, size_t piece)
{
    for (int i = 0; i < 4; i++) {
        carry(&p->a, &p->b, piece);
        carry(&p->b, &p->a, piece);
    }
}

TEST(two_ends_that_know_each_other_open_however_the_bytes_are_cut)
{
    for (size_t piece = 1; piece < 400; piece += piece < 8 ? 1 : 97) {
        struct pair p;
        pair_start(pair_init(&p));
        run(&p, piece);
        CHECK_OK(p.a.err);
        CHECK_OK(p.b.err);
        CHECK_INT(px_link_handshake_state(p.a.h), PX_HANDSHAKE_OPEN);
        CHECK_INT(px_link_handshake_state(p.b.h), PX_HANDSHAKE_OPEN);
        CHECK_INT(p.a.accepted, 1);
        const struct px_link_hello *b = px_link_handshake_peer(p.a.h);
        const struct px_link_hello *a = px_link_handshake_peer(p.b.h);
        CHECK(px_peer_id_eq(&a->id, &p.a.identity.id));
        CHECK(px_peer_id_eq(&b->id, &p.b.identity.id));
        CHECK(memcmp(a->boot_id, p.a.boot_id, PX_BOOT_ID_LEN) == 0);
        CHECK(memcmp(b->boot_id, p.b.boot_id, PX_BOOT_ID_LEN) == 0);
        CHECK_STR(a->agent, "test/1");
        pair_deinit(&p);
    }
}

TEST(nothing_is_taken_or_said_between_proof_and_decision)
{
    struct pair p;
    enum px_handshake_event event;
    pair_start(pair_init(&p));
    carry(&p.a, &p.b, SIZE_MAX);
    struct px_slice message_2 = px_buf_slice(&p.b.out);
    CHECK_OK(px_link_handshake_input(p.a.h, &message_2, &p.a.out, &event));
    CHECK_INT(event, PX_HANDSHAKE_PEER_PROVED);
    CHECK_INT(p.a.out.len, 0);
    struct px_slice more = PX_SLICE_LIT("xyz");
    CHECK_OK(px_link_handshake_input(p.a.h, &more, &p.a.out, &event));
    CHECK_INT(event, PX_HANDSHAKE_NONE);
    CHECK_INT(more.len, 3);
    CHECK_OK(px_link_handshake_proceed(p.a.h, &p.a.out));
    CHECK(p.a.out.len > 0);
    CHECK_ERR(px_link_handshake_proceed(p.a.h, &p.a.out), PX_ESTATE);
    pair_deinit(&p);
}

static void check_refused(const struct end *e, int err, enum px_close_code code)
{
    CHECK_ERR(e->err, err);
    CHECK_STR(px_close_name(px_link_handshake_close_code(e->h)), px_close_name(code));
    CHECK_INT(px_link_handshake_state(e->h), PX_HANDSHAKE_FAILED);
}

TEST(a_dialler_that_does_not_know_whom_it_dials_learns_nothing)
{
    struct pair p;
    struct end other;
    pair_init(&p);
    end_init(&other, 3);
    end_start(&p.a, PX_NOISE_INITIATOR, &other.identity.id);
    end_start(&p.b, PX_NOISE_RESPONDER, NULL);
    run(&p, SIZE_MAX);
    check_refused(&p.b, PX_ETARGET, PX_CLOSE_TARGET);
    CHECK_INT(p.b.out.len, 0); /* not one byte was said */
    pair_deinit(&p);
    end_deinit(&other);
}

TEST(another_exporter_is_a_man_in_the_middle)
{
    struct pair p;
    pair_init(&p);
    p.a.exporter[31] ^= 1;
    pair_start(&p);
    run(&p, SIZE_MAX);
    check_refused(&p.b, PX_EBINDING, PX_CLOSE_BINDING);
    CHECK_INT(p.b.out.len, 0);
    pair_deinit(&p);
}

TEST(another_network_is_refused)
{
    static const char *const names[] = {"home", "defaul", "default2", "x"};
    for (size_t i = 0; i < PX_ARRAY_LEN(names); i++) {
        struct pair p;
        pair_init(&p);
        p.a.network = names[i];
        pair_start(&p);
        run(&p, SIZE_MAX);
        check_refused(&p.b, PX_ENETWORK, PX_CLOSE_NETWORK);
        CHECK_INT(p.b.out.len, 0);
        pair_deinit(&p);
    }
}

/* The bytes one end says in a good handshake: message 1 with its type byte, message 2, message 3,
 * accepted. Both ends stand where that message is due next. */
static void advance_to(struct pair *p, int message)
{
    pair_start(pair_init(p));
    if (message > 1)
        carry(&p->a, &p->b, SIZE_MAX);
    if (message > 2)
        carry(&p->b, &p->a, SIZE_MAX);
    if (message > 3)
        carry(&p->a, &p->b, SIZE_MAX);
}

static struct end *speaker(struct pair *p, int message)
{
    return message % 2 == 1 ? &p->a : &p->b;
}

static struct end *listener(struct pair *p, int message)
{
    return message % 2 == 1 ? &p->b : &p->a;
}

/* A frame whose body is cut to every possible length. */
TEST(a_message_truncated_anywhere_is_refused)
{
    for (int message = 1; message <= 4; message++) {
        size_t full = SIZE_MAX, skip = message == 1 ? 1 : 0;
        for (size_t len = 0; len < full; len++) {
            struct pair p;
            advance_to(&p, message);
            struct end *from = speaker(&p, message), *to = listener(&p, message);
            struct px_slice body = px_slice_skip(px_buf_slice(&from->out), skip + 2);
            struct px_buf cut;
            full = body.len;
            px_buf_init(&cut, 4096);
            if (skip > 0)
                px_buf_put_u8(&cut, PX_STREAM_CONTROL);
            CHECK_OK(px_frame_put(&cut, 4096, px_slice_take(body, len)));
            feed(to, px_buf_slice(&cut));
            if (message <= 3)
                check_refused(to, PX_ENOISE, PX_CLOSE_NOISE);
            else
                check_refused(to, PX_EPARSE, PX_CLOSE_PROTOCOL);
            px_buf_deinit(&cut);
            pair_deinit(&p);
        }
        CHECK(full > 5 && full != SIZE_MAX);
    }
}

TEST(a_stream_that_ends_inside_the_handshake_is_an_error_of_its_own)
{
    for (int message = 1; message <= 4; message++) {
        struct pair p;
        advance_to(&p, message);
        struct end *from = speaker(&p, message), *to = listener(&p, message);
        feed(to, px_slice_take(px_buf_slice(&from->out), from->out.len - 1));
        CHECK_OK(to->err);
        to->err = px_link_handshake_fin(to->h);
        check_refused(to, PX_ETRUNC, PX_CLOSE_PROTOCOL);
        pair_deinit(&p);
    }
    struct pair p;
    pair_start(pair_init(&p));
    run(&p, SIZE_MAX);
    p.a.err = px_link_handshake_fin(p.a.h);
    check_refused(&p.a, PX_EPROTO, PX_CLOSE_PROTOCOL);
    pair_deinit(&p);
}

TEST(any_flipped_byte_is_refused)
{
    for (int message = 1; message <= 3; message++) {
        size_t full = SIZE_MAX, head = message == 1 ? 3 : 2;
        for (size_t at = head; at < full; at++) {
            struct pair p;
            advance_to(&p, message);
            struct end *from = speaker(&p, message), *to = listener(&p, message);
            full = from->out.len;
            from->out.data[at] ^= 0x80;
            feed(to, px_buf_slice(&from->out));
            CHECK(to->err == PX_ENOISE || to->err == PX_ETARGET || to->err == PX_EBINDING ||
                  to->err == PX_ENETWORK);
            CHECK(message == 1 || to->err == PX_ENOISE);
            pair_deinit(&p);
        }
    }
}

TEST(a_replayed_message_is_refused)
{
    struct {
        int recorded;       /* a message of an earlier handshake of the same two */
        bool other_channel; /* on another TLS channel */
        int err;
        enum px_close_code code;
    } cases[] = {
        {1, true, PX_EBINDING, PX_CLOSE_BINDING}, {2, true, PX_ENOISE, PX_CLOSE_NOISE},
        {2, false, PX_ENOISE, PX_CLOSE_NOISE},    {3, true, PX_ENOISE, PX_CLOSE_NOISE},
        {3, false, PX_ENOISE, PX_CLOSE_NOISE},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++) {
        struct pair old, p;
        advance_to(&old, cases[i].recorded);
        pair_init(&p);
        if (cases[i].other_channel) {
            p.a.exporter[0] ^= 1;
            p.b.exporter[0] ^= 1;
        }
        px_test_rng_next(&p.a.rng); /* other ephemeral keys */
        px_test_rng_next(&p.b.rng);
        pair_start(&p);
        if (cases[i].recorded > 1)
            carry(&p.a, &p.b, SIZE_MAX);
        if (cases[i].recorded > 2)
            carry(&p.b, &p.a, SIZE_MAX);
        struct end *to = listener(&p, cases[i].recorded);
        CHECK_OK(to->err);
        feed(to, px_buf_slice(&speaker(&old, cases[i].recorded)->out));
        check_refused(to, cases[i].err, cases[i].code);
        pair_deinit(&old);
        pair_deinit(&p);
    }
}

TEST(message_1_sent_twice_is_refused)
{
    struct pair p;
    pair_start(pair_init(&p));
    struct px_slice message_1 = px_buf_slice(&p.a.out);
    feed(&p.b, message_1);
    CHECK_OK(p.b.err);
    feed(&p.b, px_slice_skip(message_1, 1));
    check_refused(&p.b, PX_ENOISE, PX_CLOSE_NOISE);
    pair_deinit(&p);
}

/* A responder that knows the target's public key but has another identity, made by hand: it answers
 * with a hello signed by `signer` in the context given. */
struct rogue {
    const struct px_identity *claims, *signs;
    bool wrong_hash, wrong_role, wrong_static;
};

static void rogue_answer(struct pair *p, const struct rogue *rogue, struct px_buf *ret_message_2)
{
    struct px_noise *noise;
    struct px_buf prologue, payload, ignored, message;
    struct px_channel channel = {px_slice_cstr("default"),
                                 px_slice(p->b.exporter, PX_QUIC_EXPORTER_LEN)};
    struct px_rng rng = px_test_rng(&p->b.rng, 77);
    px_buf_init(&prologue, 1024);
    px_buf_init(&payload, 1024);
    px_buf_init(&ignored, 1024);
    px_buf_init(&message, 1024);
    CHECK_OK(px_proof_prologue(&channel, &prologue));
    CHECK_OK(px_noise_new(PX_NOISE_RESPONDER, px_buf_slice(&prologue), &p->b.noise_static, &rng,
                          &noise));
    CHECK_OK(px_noise_read(noise, px_slice_skip(px_buf_slice(&p->a.out), 3), &ignored));

    uint8_t hash[PX_HASH_LEN], other[PX_X25519_LEN] = {1};
    memcpy(hash, px_noise_hash(noise), sizeof(hash));
    hash[0] ^= rogue->wrong_hash;
    struct px_hello_context context = {rogue->wrong_role ? PX_NOISE_INITIATOR : PX_NOISE_RESPONDER,
                                       hash, rogue->wrong_static ? other : p->b.static_public};
    struct px_identity mixed = *rogue->signs;
    mixed.id = rogue->claims->id;
    struct px_link_hello hello = {.agent = "rogue", .version = 1};
    CHECK_OK(px_hello_put(&hello, &mixed, &context, &payload));
    CHECK_OK(px_noise_write(noise, px_buf_slice(&payload), &message));
    CHECK_OK(px_frame_put(ret_message_2, PX_FRAME_NOISE_MAX, px_buf_slice(&message)));
    px_noise_free(noise);
    px_buf_deinit(&prologue);
    px_buf_deinit(&payload);
    px_buf_deinit(&ignored);
    px_buf_deinit(&message);
}

TEST(a_peer_that_answers_with_another_identity_is_refused)
{
    struct end other;
    struct pair p;
    pair_init(&p);
    end_init(&other, 3);
    const struct px_identity *dialled = &p.b.identity, *listed = &other.identity;
    struct {
        const char *what;
        struct rogue rogue;
        int err;
        enum px_close_code code;
    } cases[] = {
        {"the right one", {.claims = dialled, .signs = dialled}, 0, PX_CLOSE_NONE},
        {"another, proved",
         {.claims = listed, .signs = listed},
         PX_EWRONGPEER,
         PX_CLOSE_WRONG_PEER},
        {"claimed only", {.claims = dialled, .signs = listed}, PX_EBINDING, PX_CLOSE_BINDING},
        {"other hash",
         {.claims = dialled, .signs = dialled, .wrong_hash = true},
         PX_EBINDING,
         PX_CLOSE_BINDING},
        {"other role",
         {.claims = dialled, .signs = dialled, .wrong_role = true},
         PX_EBINDING,
         PX_CLOSE_BINDING},
        {"other static",
         {.claims = dialled, .signs = dialled, .wrong_static = true},
         PX_EBINDING,
         PX_CLOSE_BINDING},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++) {
        struct pair q;
        struct px_buf message_2;
        px_buf_init(&message_2, 1024);
        pair_start(pair_init(&q));
        rogue_answer(&q, &cases[i].rogue, &message_2);
        px_buf_clear(&q.a.out);
        feed(&q.a, px_buf_slice(&message_2));
        if (cases[i].err == 0) {
            CHECK_OK(q.a.err);
            CHECK_INT(q.a.proved, 1);
        } else {
            check_refused(&q.a, cases[i].err, cases[i].code);
            CHECK_INT(q.a.out.len, 0); /* message 3 was not sent: we did not say who we are */
        }
        px_buf_deinit(&message_2);
        pair_deinit(&q);
    }
    pair_deinit(&p);
    end_deinit(&other);
}

TEST(frames_too_long_are_refused_by_their_head)
{
    struct pair p;
    pair_start(pair_init(&p));
    feed(&p.b, PX_SLICE_LIT("\x00\x04\x01"));
    check_refused(&p.b, PX_EOVERRUN, PX_CLOSE_OVERRUN);
    pair_deinit(&p);

    pair_start(pair_init(&p));
    run(&p, SIZE_MAX);
    feed(&p.a, PX_SLICE_LIT("\x10\x01"));
    check_refused(&p.a, PX_ELIMIT, PX_CLOSE_PROTOCOL);
    pair_deinit(&p);
}

TEST(a_control_stream_of_another_type_is_refused)
{
    struct pair p;
    pair_start(pair_init(&p));
    feed(&p.b, PX_SLICE_LIT("\x01"));
    check_refused(&p.b, PX_EPROTO, PX_CLOSE_PROTOCOL);
    pair_deinit(&p);
}

TEST(control_frames_out_of_place_are_refused_and_unknown_ones_ignored)
{
    static const struct {
        const char *what;
        struct px_slice frame;
        int err;
    } cases[] = {
        {"unknown type", PX_SLICE_LIT("\x00\x04\xa1\x00\x18\x63"), 0},
        {"unknown type with more keys", PX_SLICE_LIT("\x00\x06\xa2\x00\x09\x05\x81\x01"), 0},
        {"ping", PX_SLICE_LIT("\x00\x05\xa2\x00\x02\x01\x07"), 0},
        {"ping without nonce", PX_SLICE_LIT("\x00\x03\xa1\x00\x02"), PX_EPARSE},
        {"ping with a text", PX_SLICE_LIT("\x00\x05\xa2\x00\x02\x01\x60"), PX_EPARSE},
        {"pong with more keys", PX_SLICE_LIT("\x00\x07\xa3\x00\x03\x01\x07\x05\xf6"), 0},
        {"disco without index", PX_SLICE_LIT("\x00\x05\xa2\x00\x04\x02\x07"), PX_EPARSE},
        {"a second accepted", PX_SLICE_LIT("\x00\x07\xa3\x00\x01\x01\x01\x02\x00"), PX_EPROTO},
        {"no map", PX_SLICE_LIT("\x00\x01\x00"), PX_EPARSE},
        {"no type", PX_SLICE_LIT("\x00\x03\xa1\x01\x01"), PX_EPARSE},
        {"empty", PX_SLICE_LIT("\x00\x00"), PX_EPARSE},
        {"empty map", PX_SLICE_LIT("\x00\x01\xa0"), PX_EPARSE},
        {"more after it", PX_SLICE_LIT("\x00\x04\xa1\x00\x09\x00"), PX_EPARSE},
        {"keys not ascending", PX_SLICE_LIT("\x00\x07\xa3\x00\x09\x02\x00\x01\x00"), PX_EPARSE},
        {"the same key twice", PX_SLICE_LIT("\x00\x05\xa2\x00\x09\x00\x09"), PX_EPARSE},
        {"not the shortest form", PX_SLICE_LIT("\x00\x04\xa1\x00\x18\x09"), PX_EPARSE},
        {"indefinite length", PX_SLICE_LIT("\x00\x04\xbf\x00\x09\xff"), PX_EPARSE},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++)
        for (int side = 0; side < 2; side++) {
            struct pair p;
            pair_start(pair_init(&p));
            run(&p, SIZE_MAX);
            struct end *e = side == 0 ? &p.a : &p.b;
            feed(e, cases[i].frame);
            CHECK_ERR(e->err, cases[i].err);
            if (cases[i].err != 0)
                check_refused(e, cases[i].err, PX_CLOSE_PROTOCOL);
            pair_deinit(&p);
        }
}

TEST(frames_for_the_link_are_handed_out_one_by_one_with_what_they_say)
{
    static const uint8_t frames[] = {0, 5, 0xa2, 0, 2, 1,    7, 0, 5, 0xa2, 0,
                                     3, 1, 8,    0, 5, 0xa2, 0, 4, 1, 9};
    static const enum px_control_type types[] = {PX_CONTROL_PING, PX_CONTROL_PONG,
                                                 PX_CONTROL_DISCO};
    struct pair p;
    pair_start(pair_init(&p));
    run(&p, SIZE_MAX);
    struct px_slice rest = px_slice(frames, sizeof(frames));
    for (size_t i = 0; i < PX_ARRAY_LEN(types); i++) {
        enum px_handshake_event event;
        CHECK_OK(px_link_handshake_input(p.a.h, &rest, &p.a.out, &event));
        CHECK_INT(event, PX_HANDSHAKE_CONTROL);
        const struct px_control *c = px_link_handshake_control(p.a.h);
        CHECK_INT(c->type, types[i]);
        CHECK_INT(c->type == PX_CONTROL_DISCO ? c->index : c->nonce, 7 + i);
    }
    CHECK_INT(rest.len, 0);
    pair_deinit(&p);
}

TEST(both_ends_have_one_binding_and_the_same_keys_when_the_handshake_is_done)
{
    struct pair p;
    struct px_noise_keys a, b;
    pair_start(pair_init(&p));
    CHECK_ERR(px_link_handshake_split(p.a.h, &a), PX_ESTATE);
    run(&p, SIZE_MAX);
    CHECK_OK(px_link_handshake_split(p.a.h, &a));
    CHECK_OK(px_link_handshake_split(p.b.h, &b));
    CHECK(memcmp(&a, &b, sizeof(a)) == 0);
    CHECK(memcmp(&a.initiator_to_responder, &a.responder_to_initiator,
                 sizeof(a.initiator_to_responder)) != 0);
    CHECK(memcmp(px_link_handshake_binding(p.a.h), px_link_handshake_binding(p.b.h), PX_HASH_LEN) ==
          0);
    px_link_handshake_forget(p.a.h);
    px_link_handshake_forget(p.a.h);
    CHECK_ERR(px_link_handshake_split(p.a.h, &a), PX_ESTATE);
    CHECK(memcmp(px_link_handshake_binding(p.a.h), px_link_handshake_binding(p.b.h), PX_HASH_LEN) ==
          0);
    pair_deinit(&p);
}

TEST(accepted_with_more_than_was_offered_is_refused)
{
    static const struct {
        struct px_slice frame;
        int err;
    } cases[] = {
        {PX_SLICE_LIT("\x00\x07\xa3\x00\x01\x01\x02\x02\x00"), PX_EPROTO}, /* version 2 */
        {PX_SLICE_LIT("\x00\x07\xa3\x00\x01\x01\x01\x02\x01"), PX_EPROTO}, /* a capability */
        {PX_SLICE_LIT("\x00\x07\xa3\x00\x01\x01\x00\x02\x00"), PX_EPARSE}, /* version 0 */
        {PX_SLICE_LIT("\x00\x03\xa1\x00\x09"), PX_EPROTO},                 /* not accepted at all */
        {PX_SLICE_LIT("\x00\x05\xa2\x00\x02\x01\x07"), PX_EPROTO},         /* a ping before it */
        {PX_SLICE_LIT("\x00\x09\xa4\x00\x01\x01\x01\x02\x00\x07\x00"), 0}, /* an unknown key */
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++) {
        struct pair p;
        advance_to(&p, 4);
        feed(&p.a, cases[i].frame);
        CHECK_ERR(p.a.err, cases[i].err);
        CHECK_INT(p.a.accepted, cases[i].err == 0);
        pair_deinit(&p);
    }
}

TEST(hello_payloads_are_decoded_strictly)
{
    struct px_identity identity;
    struct px_test_rng r;
    struct px_rng rng = px_test_rng(&r, 9);
    uint8_t hash[PX_HASH_LEN] = {0}, key[PX_X25519_LEN] = {0};
    struct px_hello_context context = {PX_NOISE_INITIATOR, hash, key};
    struct px_link_hello in = {.agent = "peerix/1 ~", .version = 3, .capabilities = 5}, out;
    struct px_buf b;
    CHECK_OK(px_crypto_init());
    px_identity_generate(&rng, &identity);
    px_buf_init(&b, 1024);
    CHECK_OK(px_hello_put(&in, &identity, &context, &b));
    CHECK_OK(px_hello_decode(px_buf_slice(&b), &out));
    CHECK_OK(px_hello_verify(&out, &context));
    CHECK_STR(out.agent, in.agent);
    CHECK_INT(out.version, 3);
    CHECK_INT(out.capabilities, 5);
    for (size_t len = 0; len < b.len; len++)
        CHECK(px_hello_decode(px_slice(b.data, len), &out) != 0);
    CHECK_OK(px_buf_put_u8(&b, 0));
    CHECK_ERR(px_hello_decode(px_buf_slice(&b), &out), PX_EPARSE);
    px_buf_clear(&b);
    snprintf(in.agent, sizeof(in.agent), "tab\there");
    CHECK_OK(px_hello_put(&in, &identity, &context, &b));
    CHECK_ERR(px_hello_decode(px_buf_slice(&b), &out), PX_EPARSE);
    px_buf_deinit(&b);
}

/* Noise XX against the vectors of cacophony and snow, and against what an attacker may send: every
 * failing message gives its code, leaves the state alone, and the right one still works after it.
 */
#include "auth/noise.h"

#include <stdlib.h>

#include "proto/base/encoding.h"
#include "tests/test.h"

#define VECTORS PX_TEST_DIR "/vectors/noise_xx_25519_chachapoly_sha256.txt"

enum { VECTORS_MAX = 4, MESSAGES_MAX = 8, BLOB_MAX = 512 };

struct blob {
    uint8_t bytes[BLOB_MAX];
    size_t len;
};

struct vector {
    char name[32];
    struct blob prologue, init_static, init_ephemeral, resp_static, resp_ephemeral, hash;
    struct blob payloads[MESSAGES_MAX], messages[MESSAGES_MAX];
    size_t payload_count, message_count;
};

static struct vector vectors[VECTORS_MAX];
static size_t vector_count;

static struct blob *field(struct vector *v, const char *key)
{
    if (strcmp(key, "prologue") == 0)
        return &v->prologue;
    if (strcmp(key, "init_static") == 0)
        return &v->init_static;
    if (strcmp(key, "init_ephemeral") == 0)
        return &v->init_ephemeral;
    if (strcmp(key, "resp_static") == 0)
        return &v->resp_static;
    if (strcmp(key, "resp_ephemeral") == 0)
        return &v->resp_ephemeral;
    if (strcmp(key, "handshake_hash") == 0)
        return &v->hash;
    if (strcmp(key, "payload") == 0 && v->payload_count < MESSAGES_MAX)
        return &v->payloads[v->payload_count++];
    if (strcmp(key, "message") == 0 && v->message_count < MESSAGES_MAX)
        return &v->messages[v->message_count++];
    px_test_fail(__FILE__, __LINE__, "unknown key %s", key);
}

static void load_vectors(void)
{
    char line[2048], key[32], value[1200];
    FILE *f = fopen(VECTORS, "r");
    CHECK(f != NULL);
    memset(vectors, 0, sizeof(vectors));
    vector_count = 0;
    while (fgets(line, sizeof(line), f) != NULL) {
        if (line[0] == '#' || line[0] == '\n')
            continue;
        CHECK_INT(sscanf(line, "%31s %1199s", key, value), 2);
        if (strcmp(key, "vector") == 0) {
            CHECK(vector_count < VECTORS_MAX);
            snprintf(vectors[vector_count++].name, sizeof(vectors[0].name), "%.31s", value);
            continue;
        }
        CHECK(vector_count > 0);
        struct blob *b = field(&vectors[vector_count - 1], key);
        CHECK_OK(px_hex_decode(px_slice_cstr(value), b->bytes, sizeof(b->bytes), &b->len));
    }
    fclose(f);
    CHECK_INT(vector_count, 2);
}

/* A generator that gives one key over and over. */
static void fixed_fill(void *ctx, void *buf, size_t len)
{
    CHECK_INT(len, PX_X25519_LEN);
    memcpy(buf, ctx, len);
}

struct pair {
    struct px_rng rng[2];
    struct px_noise *n[2]; /* by enum px_noise_role */
    struct px_buf msg, payload;
};

static struct px_slice slice(const struct blob *b)
{
    return px_slice(b->bytes, b->len);
}

static void pair_open(struct pair *p, struct vector *v)
{
    struct px_x25519_secret s;
    p->rng[0] = (struct px_rng){fixed_fill, v->init_ephemeral.bytes};
    p->rng[1] = (struct px_rng){fixed_fill, v->resp_ephemeral.bytes};
    memcpy(s.bytes, v->init_static.bytes, 32);
    CHECK_OK(px_noise_new(PX_NOISE_INITIATOR, slice(&v->prologue), &s, &p->rng[0], &p->n[0]));
    memcpy(s.bytes, v->resp_static.bytes, 32);
    CHECK_OK(px_noise_new(PX_NOISE_RESPONDER, slice(&v->prologue), &s, &p->rng[1], &p->n[1]));
    px_buf_init(&p->msg, 70000);
    px_buf_init(&p->payload, 70000);
}

static void pair_close(struct pair *p)
{
    px_noise_free(p->n[0]);
    px_noise_free(p->n[1]);
    px_buf_deinit(&p->msg);
    px_buf_deinit(&p->payload);
}

/* Message i (0..2) goes over; both ends must agree with the vector. */
static void pass(struct pair *p, const struct vector *v, size_t i)
{
    struct px_noise *from = p->n[i % 2], *to = p->n[(i + 1) % 2];
    px_buf_clear(&p->msg);
    px_buf_clear(&p->payload);
    CHECK_OK(px_noise_write(from, slice(&v->payloads[i]), &p->msg));
    CHECK_SLICE(px_buf_slice(&p->msg), slice(&v->messages[i]));
    CHECK_OK(px_noise_read(to, px_buf_slice(&p->msg), &p->payload));
    CHECK_SLICE(px_buf_slice(&p->payload), slice(&v->payloads[i]));
    CHECK(memcmp(px_noise_hash(from), px_noise_hash(to), PX_HASH_LEN) == 0);
    CHECK_INT(px_noise_next_message(from), i + 2);
    CHECK_INT(px_noise_next_message(to), i + 2);
}

static void check_transport(struct pair *p, const struct vector *v)
{
    struct px_noise_keys k[2];
    CHECK_OK(px_noise_split(p->n[0], &k[0]));
    CHECK_OK(px_noise_split(p->n[1], &k[1]));
    CHECK(memcmp(&k[0], &k[1], sizeof(k[0])) == 0);
    for (size_t i = 3; i < v->message_count; i++) {
        bool initiator = i % 2 == 0; /* still in turn: the first one is the responder's */
        const struct px_aead_key *key =
            initiator ? &k[0].initiator_to_responder : &k[0].responder_to_initiator;
        px_buf_clear(&p->msg);
        CHECK_OK(
            px_aead_seal(key, (i - 3) / 2, px_slice(NULL, 0), slice(&v->payloads[i]), &p->msg));
        CHECK_SLICE(px_buf_slice(&p->msg), slice(&v->messages[i]));
    }
}

TEST(published_vectors_pass_from_the_first_message_to_transport)
{
    load_vectors();
    for (size_t n = 0; n < vector_count; n++) {
        struct vector *v = &vectors[n];
        struct pair p;
        pair_open(&p, v);
        CHECK_INT(v->message_count, v->payload_count);
        CHECK(v->message_count > 3);
        for (size_t i = 0; i < 3; i++)
            pass(&p, v, i);
        CHECK(px_noise_done(p.n[0]) && px_noise_done(p.n[1]));
        if (v->hash.len > 0)
            CHECK_SLICE(px_slice(px_noise_hash(p.n[0]), PX_HASH_LEN), slice(&v->hash));
        check_transport(&p, v);
        pair_close(&p);
    }
}

TEST(remote_static_is_known_from_its_message_on)
{
    load_vectors();
    struct vector *v = &vectors[0];
    struct px_x25519_secret s;
    struct pair p;
    uint8_t pk[32];
    pair_open(&p, v);
    pass(&p, v, 0);
    CHECK(px_noise_remote_static(p.n[0]) == NULL && px_noise_remote_static(p.n[1]) == NULL);
    pass(&p, v, 1);
    memcpy(s.bytes, v->resp_static.bytes, 32);
    px_x25519_public(&s, pk);
    CHECK(px_noise_remote_static(p.n[0]) != NULL && px_noise_remote_static(p.n[1]) == NULL);
    CHECK(memcmp(px_noise_remote_static(p.n[0]), pk, 32) == 0);
    pass(&p, v, 2);
    memcpy(s.bytes, v->init_static.bytes, 32);
    px_x25519_public(&s, pk);
    CHECK(memcmp(px_noise_remote_static(p.n[1]), pk, 32) == 0);
    pair_close(&p);
}

/* A read that must fail with err and change nothing that can be seen. */
static void refuse(struct px_noise *n, struct px_slice msg, int err, struct px_buf *payload)
{
    uint8_t h[PX_HASH_LEN];
    int next = px_noise_next_message(n);
    bool known = px_noise_remote_static(n) != NULL;
    memcpy(h, px_noise_hash(n), sizeof(h));
    px_buf_clear(payload);
    CHECK_OK(px_buf_put_cstr(payload, "before"));
    CHECK_ERR(px_noise_read(n, msg, payload), err);
    CHECK_SLICE(px_buf_slice(payload), PX_SLICE_LIT("before"));
    CHECK(memcmp(h, px_noise_hash(n), sizeof(h)) == 0);
    CHECK_INT(px_noise_next_message(n), next);
    CHECK_INT(px_noise_remote_static(n) != NULL, known);
    CHECK(!px_noise_done(n));
}

/* Where the parts of each message end: e, then s with its tag. */
static const struct {
    size_t fixed; /* less than this is too short */
    bool sealed;  /* the payload has a tag */
} shapes[3] = {{32, false}, {32 + 48 + 16, true}, {48 + 16, true}};

/* Message `bad` is offered truncated to every length and with every byte changed, then as it should
 * be, and the handshake must come to the same end. Message 1 carries no authentication: there the
 * change shows in message 2. */
static void check_failing_variants(struct vector *v, size_t bad)
{
    struct pair p;
    uint8_t copy[BLOB_MAX];
    pair_open(&p, v);
    for (size_t i = 0; i < bad; i++)
        pass(&p, v, i);
    struct px_noise *reader = p.n[(bad + 1) % 2];
    struct px_slice good = slice(&v->messages[bad]);
    for (size_t len = 0; len < good.len; len++) {
        if (len >= shapes[bad].fixed && !shapes[bad].sealed)
            break;
        refuse(reader, px_slice_take(good, len), len < shapes[bad].fixed ? PX_ETRUNC : PX_ECRYPTO,
               &p.payload);
    }
    for (size_t at = 0; shapes[bad].sealed && at < good.len; at++) {
        memcpy(copy, good.data, good.len);
        copy[at] ^= 0x40;
        refuse(reader, px_slice(copy, good.len), PX_ECRYPTO, &p.payload);
    }
    memcpy(copy, good.data, good.len);
    copy[good.len] = 0;
    if (shapes[bad].sealed)
        refuse(reader, px_slice(copy, good.len + 1), PX_ECRYPTO, &p.payload);
    for (size_t i = bad; i < 3; i++)
        pass(&p, v, i);
    check_transport(&p, v);
    pair_close(&p);
}

TEST(a_truncated_first_message_is_refused_and_the_right_one_still_works)
{
    load_vectors();
    for (size_t n = 0; n < vector_count; n++)
        check_failing_variants(&vectors[n], 0);
}

TEST(a_changed_or_truncated_second_message_is_refused_and_the_right_one_still_works)
{
    load_vectors();
    for (size_t n = 0; n < vector_count; n++)
        check_failing_variants(&vectors[n], 1);
}

TEST(a_changed_or_truncated_third_message_is_refused_and_the_right_one_still_works)
{
    load_vectors();
    for (size_t n = 0; n < vector_count; n++)
        check_failing_variants(&vectors[n], 2);
}

TEST(a_bit_flipped_in_the_first_message_fails_the_second)
{
    load_vectors();
    struct vector *v = &vectors[0];
    for (size_t at = 0; at < v->messages[0].len; at++) {
        struct pair p;
        uint8_t copy[BLOB_MAX];
        pair_open(&p, v);
        CHECK_OK(px_noise_write(p.n[0], slice(&v->payloads[0]), &p.msg));
        memcpy(copy, p.msg.data, p.msg.len);
        copy[at] ^= 1;
        CHECK_OK(px_noise_read(p.n[1], px_slice(copy, p.msg.len), &p.payload));
        px_buf_clear(&p.msg);
        CHECK_OK(px_noise_write(p.n[1], slice(&v->payloads[1]), &p.msg));
        refuse(p.n[0], px_buf_slice(&p.msg), PX_ECRYPTO, &p.payload);
        pair_close(&p);
    }
}

TEST(a_low_order_ephemeral_key_is_refused)
{
    load_vectors();
    struct vector *v = &vectors[0];
    struct pair p;
    uint8_t msg[BLOB_MAX];
    pair_open(&p, v);
    /* as message 2, where ee is computed while reading */
    pass(&p, v, 0);
    memcpy(msg, v->messages[1].bytes, v->messages[1].len);
    memset(msg, 0, 32);
    refuse(p.n[0], px_slice(msg, v->messages[1].len), PX_ECRYPTO, &p.payload);
    pass(&p, v, 1);
    pair_close(&p);
    /* as message 1, where the responder finds out when it answers; out stays as it was */
    pair_open(&p, v);
    CHECK_OK(px_noise_read(p.n[1], px_slice((const uint8_t[32]){0}, 32), &p.payload));
    CHECK_OK(px_buf_put_cstr(&p.msg, "before"));
    CHECK_ERR(px_noise_write(p.n[1], PX_SLICE_LIT("hi"), &p.msg), PX_ECRYPTO);
    CHECK_SLICE(px_buf_slice(&p.msg), PX_SLICE_LIT("before"));
    CHECK_INT(px_noise_next_message(p.n[1]), 2);
    pair_close(&p);
}

TEST(another_prologue_fails_the_second_message)
{
    load_vectors();
    struct vector *v = &vectors[0];
    struct pair p;
    struct px_x25519_secret s;
    pair_open(&p, v);
    px_noise_free(p.n[1]);
    memcpy(s.bytes, v->resp_static.bytes, 32);
    CHECK_OK(px_noise_new(PX_NOISE_RESPONDER, PX_SLICE_LIT("other"), &s, &p.rng[1], &p.n[1]));
    CHECK_OK(px_noise_write(p.n[0], px_slice(NULL, 0), &p.msg));
    CHECK_OK(px_noise_read(p.n[1], px_buf_slice(&p.msg), &p.payload));
    px_buf_clear(&p.msg);
    CHECK_OK(px_noise_write(p.n[1], px_slice(NULL, 0), &p.msg));
    refuse(p.n[0], px_buf_slice(&p.msg), PX_ECRYPTO, &p.payload);
    pair_close(&p);
}

TEST(messages_out_of_turn_and_replays_are_refused)
{
    load_vectors();
    struct vector *v = &vectors[0];
    struct px_noise_keys keys;
    struct pair p;
    pair_open(&p, v);
    struct px_slice none = px_slice(NULL, 0);
    for (size_t i = 0; i < 3; i++) {
        struct px_noise *writer = p.n[i % 2], *reader = p.n[(i + 1) % 2];
        CHECK_ERR(px_noise_write(reader, none, &p.msg), PX_ESTATE);
        CHECK_ERR(px_noise_read(writer, slice(&v->messages[i]), &p.payload), PX_ESTATE);
        CHECK_ERR(px_noise_split(reader, &keys), PX_ESTATE);
        pass(&p, v, i);
        /* the message just read, once more */
        CHECK_ERR(px_noise_read(reader, slice(&v->messages[i]), &p.payload), PX_ESTATE);
    }
    for (size_t i = 0; i < 2; i++) {
        CHECK_ERR(px_noise_write(p.n[i], none, &p.msg), PX_ESTATE);
        CHECK_ERR(px_noise_read(p.n[i], slice(&v->messages[2]), &p.payload), PX_ESTATE);
    }
    pair_close(&p);
}

TEST(a_message_of_another_handshake_is_refused)
{
    load_vectors();
    struct pair p;
    pair_open(&p, &vectors[0]);
    pass(&p, &vectors[0], 0);
    refuse(p.n[0], slice(&vectors[1].messages[1]), PX_ECRYPTO, &p.payload);
    pass(&p, &vectors[0], 1);
    refuse(p.n[1], slice(&vectors[1].messages[2]), PX_ECRYPTO, &p.payload);
    pass(&p, &vectors[0], 2);
    pair_close(&p);
}

TEST(no_message_passes_65535_bytes_and_a_failed_write_leaves_no_trace)
{
    static const size_t overhead[3] = {32, 32 + 48 + 16, 48 + 16};
    load_vectors();
    struct vector *v = &vectors[0];
    struct pair p;
    uint8_t *big = calloc(1, PX_NOISE_MSG_MAX + 1);
    CHECK(big != NULL);
    pair_open(&p, v);
    for (size_t i = 0; i < 3; i++) {
        size_t max = PX_NOISE_MSG_MAX - overhead[i];
        uint8_t h[PX_HASH_LEN];
        struct px_noise *w = p.n[i % 2], *r = p.n[(i + 1) % 2];
        px_buf_clear(&p.msg);
        memcpy(h, px_noise_hash(w), sizeof(h));
        CHECK_ERR(px_noise_write(w, px_slice(big, max + 1), &p.msg), PX_ELIMIT);
        CHECK_ERR(px_noise_write(w, px_slice(big, PX_NOISE_MSG_MAX + 1), &p.msg), PX_ELIMIT);
        CHECK(memcmp(h, px_noise_hash(w), sizeof(h)) == 0);
        CHECK_INT(p.msg.len, 0);
        CHECK_INT(px_noise_next_message(w), i + 1);
        CHECK_OK(px_noise_write(w, px_slice(big, max), &p.msg));
        CHECK_INT(p.msg.len, PX_NOISE_MSG_MAX);
        px_buf_clear(&p.payload);
        CHECK_OK(px_buf_put_u8(&p.msg, 0));
        CHECK_ERR(px_noise_read(r, px_buf_slice(&p.msg), &p.payload), PX_ELIMIT);
        CHECK_OK(px_noise_read(r, px_slice(p.msg.data, PX_NOISE_MSG_MAX), &p.payload));
        CHECK_INT(p.payload.len, max);
    }
    free(big);
    pair_close(&p);
}

TEST(a_buffer_too_small_for_message_or_payload_leaves_no_trace)
{
    load_vectors();
    struct vector *v = &vectors[0];
    struct px_buf small;
    struct pair p;
    pair_open(&p, v);
    px_buf_init(&small, 40);
    CHECK_ERR(px_noise_write(p.n[0], slice(&v->payloads[0]), &small), PX_ELIMIT);
    CHECK_INT(small.len, 0);
    pass(&p, v, 0);
    px_buf_clear(&small);
    CHECK_OK(px_buf_put(&small, px_slice((const uint8_t[30]){0}, 30)));
    CHECK_ERR(px_noise_read(p.n[0], slice(&v->messages[1]), &small), PX_ELIMIT);
    CHECK_INT(small.len, 30);
    CHECK(px_noise_remote_static(p.n[0]) == NULL);
    pass(&p, v, 1);
    px_buf_deinit(&small);
    pair_close(&p);
}

TEST(free_accepts_nothing_and_half_a_handshake)
{
    load_vectors();
    struct pair p;
    px_noise_free(NULL);
    pair_open(&p, &vectors[0]);
    pass(&p, &vectors[0], 0);
    pair_close(&p);
}

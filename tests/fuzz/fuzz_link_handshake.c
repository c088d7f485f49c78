/* Stream 0 at both ends, at every stage: the first byte says how far a proper handshake has come
 * and which end gets the rest of the input. Keys and exporter are fixed, so the corpus holds
 * messages that are good. What no input may do is get an identity proved that is not the peer's.
 *
 * Stages 6 and 7 hand the input to the decoders behind Noise's encryption directly. */
#include "transport/link_handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct counter {
    uint64_t n;
};

static void fill(void *ctx, void *buf, size_t len)
{
    struct counter *c = ctx;
    uint8_t *out = buf;
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)((c->n++ * 0x9e3779b97f4a7c15u) >> 56);
}

struct end {
    struct counter counter;
    struct px_identity identity;
    struct px_x25519_secret noise_static;
    struct px_link_handshake *h;
    struct px_buf out;
};

static const uint8_t exporter[PX_QUIC_EXPORTER_LEN] = {1, 2, 3};
static const uint8_t boot_id[PX_BOOT_ID_LEN] = {4, 5, 6};

static void end_init(struct end *e, uint64_t seed)
{
    uint8_t ignored[PX_X25519_LEN];
    *e = (struct end){.counter = {seed}};
    struct px_rng rng = {fill, &e->counter};
    px_identity_generate(&rng, &e->identity);
    px_x25519_generate(&rng, &e->noise_static, ignored);
    px_buf_init(&e->out, 1 << 16);
}

static void end_start(struct end *e, enum px_noise_role role, const struct px_peer_id *target)
{
    const struct px_link_handshake_config config = {
        .role = role,
        .identity = &e->identity,
        .target = *target,
        .network = PX_SLICE_LIT("default"),
        .exporter = exporter,
        .boot_id = boot_id,
        .agent = PX_SLICE_LIT("fuzz"),
        .noise_static = &e->noise_static,
        .rng = {fill, &e->counter},
    };
    int err = px_link_handshake_new(&config, &e->out, &e->h);
    px_assert(err == 0);
}

static void end_deinit(struct end *e)
{
    px_link_handshake_free(e->h);
    px_buf_deinit(&e->out);
}

static void feed(struct end *e, const struct px_peer_id *peer, struct px_slice data)
{
    int err = 0;
    while (err == 0 && data.len > 0) {
        enum px_handshake_event event;
        err = px_link_handshake_input(e->h, &data, &e->out, &event);
        if (err == 0 && event == PX_HANDSHAKE_PEER_PROVED) {
            px_assert(px_peer_id_eq(&px_link_handshake_peer(e->h)->id, peer));
            err = px_link_handshake_proceed(e->h, &e->out);
        }
    }
    if (err != 0)
        px_assert(px_link_handshake_state(e->h) == PX_HANDSHAKE_FAILED);
}

/* Each step carries what one end has said to the other. */
static void handshake(struct end *a, struct end *b, int steps)
{
    for (int i = 0; i < steps; i++) {
        struct end *from = i % 2 == 0 ? a : b, *to = i % 2 == 0 ? b : a;
        feed(to, &from->identity.id, px_buf_slice(&from->out));
        px_buf_clear(&from->out);
    }
}

static void run_stage(unsigned stage, struct px_slice input)
{
    struct end a, b;
    end_init(&a, 1000);
    end_init(&b, 2000);
    end_start(&a, PX_NOISE_INITIATOR, &b.identity.id);
    end_start(&b, PX_NOISE_RESPONDER, &a.identity.id);
    /* 0: b before message 1, 1: a before 2, 2: b before 3, 3: a before accepted, 4 and 5: open */
    handshake(&a, &b, (int)stage);
    if (stage % 2 == 0)
        feed(&b, &a.identity.id, input);
    else
        feed(&a, &b.identity.id, input);
    end_deinit(&a);
    end_deinit(&b);
}

static void run_decoders(unsigned stage, struct px_slice input)
{
    struct px_link_hello hello;
    const struct px_channel channel = {PX_SLICE_LIT("default"), {exporter, sizeof(exporter)}};
    if (stage == 6) {
        if (px_hello_decode(input, &hello) == 0)
            px_assert(strlen(hello.agent) <= PX_AGENT_MAX && hello.version > 0);
        return;
    }
    const struct px_peer_id target = {.key = {9}};
    static const uint8_t e[PX_X25519_LEN] = {7};
    int err = px_proof_check(&channel, &target, e, input);
    (void)err; /* a good proof is in the corpus */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0 || px_crypto_init() != 0)
        return 0;
    unsigned stage = data[0] % 8;
    struct px_slice input = px_slice_skip(px_slice(data, len), 1);
    if (stage < 6)
        run_stage(stage, input);
    else
        run_decoders(stage, input);
    return 0;
}

/* See link_handshake.h. One function per message; `fail` is the only way into FAILED and the only
 * place where an error becomes a close code. */
#include "transport/link_handshake.h"

#include <stdlib.h>

#include "proto/stream_type.h"
#include "transport/frame.h"

/* Hands Noise the ephemeral key that message 1's proofs were made over. */
struct given_key {
    struct px_x25519_secret secret;
    struct px_rng rng;
};

struct px_link_handshake {
    enum px_handshake_state state;
    enum px_noise_role role;
    enum px_close_code close_code;
    const struct px_identity *identity;
    struct px_peer_id target;
    struct px_slice network;
    uint8_t exporter[PX_QUIC_EXPORTER_LEN];
    uint8_t static_public[PX_X25519_LEN];
    struct px_rng rng;
    struct given_key ephemeral; /* initiator */
    struct px_noise *noise;     /* NULL once forgotten */
    uint8_t binding[PX_HASH_LEN];
    struct px_frame_reader frames;
    struct px_link_hello ours, peer;
    struct px_control control; /* the last one for the link */
};

#define TO(s) (1u << PX_HANDSHAKE_##s)
static const unsigned transitions[PX_HANDSHAKE_STATES] = {
    [PX_HANDSHAKE_WAIT_TYPE] = TO(WAIT_1) | TO(FAILED),
    [PX_HANDSHAKE_WAIT_1] = TO(WAIT_3) | TO(FAILED),
    [PX_HANDSHAKE_WAIT_2] = TO(PROVED) | TO(FAILED),
    [PX_HANDSHAKE_WAIT_3] = TO(PROVED) | TO(FAILED),
    [PX_HANDSHAKE_PROVED] = TO(WAIT_ACCEPTED) | TO(OPEN) | TO(FAILED),
    [PX_HANDSHAKE_WAIT_ACCEPTED] = TO(OPEN) | TO(FAILED),
    [PX_HANDSHAKE_OPEN] = TO(FAILED),
    [PX_HANDSHAKE_FAILED] = 0,
};
#undef TO

static void set_state(struct px_link_handshake *h, enum px_handshake_state to)
{
    px_assert((transitions[h->state] & (1u << to)) != 0);
    h->state = to;
}

static enum px_close_code close_code_of(int err)
{
    static const struct {
        int err;
        enum px_close_code code;
    } table[] = {
        {PX_ETARGET, PX_CLOSE_TARGET},   {PX_EBINDING, PX_CLOSE_BINDING},
        {PX_ENETWORK, PX_CLOSE_NETWORK}, {PX_EWRONGPEER, PX_CLOSE_WRONG_PEER},
        {PX_ENOISE, PX_CLOSE_NOISE},     {PX_EOVERRUN, PX_CLOSE_OVERRUN},
        {PX_ELIMIT, PX_CLOSE_PROTOCOL},  {PX_EPARSE, PX_CLOSE_PROTOCOL},
        {PX_EPROTO, PX_CLOSE_PROTOCOL},  {PX_ETRUNC, PX_CLOSE_PROTOCOL},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(table); i++)
        if (table[i].err == err)
            return table[i].code;
    return PX_CLOSE_INTERNAL;
}

static int fail(struct px_link_handshake *h, int err)
{
    set_state(h, PX_HANDSHAKE_FAILED);
    h->close_code = close_code_of(err);
    return err;
}

static struct px_channel channel_of(const struct px_link_handshake *h)
{
    return (struct px_channel){h->network, px_slice(h->exporter, sizeof(h->exporter))};
}

static enum px_noise_role other_role(enum px_noise_role role)
{
    return role == PX_NOISE_INITIATOR ? PX_NOISE_RESPONDER : PX_NOISE_INITIATOR;
}

static void give_key(void *ctx, void *buf, size_t len)
{
    struct given_key *g = ctx;
    px_assert(len == sizeof(g->secret.bytes));
    memcpy(buf, g->secret.bytes, len);
}

/* Writes a Noise message with this payload as one frame. */
static int put_noise(struct px_link_handshake *h, struct px_slice payload, struct px_buf *out)
{
    struct px_buf msg;
    px_buf_init(&msg, PX_FRAME_NOISE_MAX);
    int err = px_noise_write(h->noise, payload, &msg);
    if (err == 0)
        err = px_frame_put(out, PX_FRAME_NOISE_MAX, px_buf_slice(&msg));
    px_buf_deinit(&msg);
    return err;
}

static int put_message_1(struct px_link_handshake *h, struct px_buf *out)
{
    uint8_t e[PX_X25519_LEN];
    struct px_channel channel = channel_of(h);
    struct px_buf payload;
    px_x25519_public(&h->ephemeral.secret, e);
    px_buf_init(&payload, PX_LINK_PAYLOAD_MAX);
    int err = px_proof_put(&channel, &h->target, e, &payload);
    if (err == 0)
        err = px_buf_put_u8(out, PX_STREAM_CONTROL);
    if (err == 0)
        err = put_noise(h, px_buf_slice(&payload), out);
    px_buf_deinit(&payload);
    px_wipe(&h->ephemeral.secret, sizeof(h->ephemeral.secret));
    return err;
}

/* Messages 2 and 3: our signed identity. */
static int put_hello(struct px_link_handshake *h, struct px_buf *out)
{
    struct px_hello_context context = {h->role, px_noise_hash(h->noise), h->static_public};
    struct px_buf payload;
    px_buf_init(&payload, PX_LINK_PAYLOAD_MAX);
    int err = px_hello_put(&h->ours, h->identity, &context, &payload);
    if (err == 0)
        err = put_noise(h, px_buf_slice(&payload), out);
    px_buf_deinit(&payload);
    return err;
}

/* Whatever is wrong with a Noise message, cut, forged or replayed, is one refusal on the wire; lack
 * of memory is not the peer's doing. */
static int as_noise_error(int err)
{
    return err == 0 || err == PX_ENOMEM ? err : PX_ENOISE;
}

static int read_message_1(struct px_link_handshake *h, struct px_slice msg, struct px_buf *out)
{
    struct px_channel channel = channel_of(h);
    struct px_buf payload;
    px_buf_init(&payload, PX_FRAME_NOISE_MAX);
    int err = as_noise_error(px_noise_read(h->noise, msg, &payload));
    if (err == 0)
        err = px_proof_check(&channel, &h->identity->id, msg.data, px_buf_slice(&payload));
    px_buf_deinit(&payload);
    if (err == PX_EPARSE || err == PX_ETRUNC)
        err = PX_ENOISE;
    if (err == 0)
        err = as_noise_error(put_hello(h, out)); /* a low-order ephemeral shows here */
    if (err == 0)
        set_state(h, PX_HANDSHAKE_WAIT_3);
    return err;
}

/* Messages 2 and 3: the peer's signed identity. */
static int read_hello(struct px_link_handshake *h, struct px_slice msg)
{
    struct px_link_hello hello;
    uint8_t hash[PX_HASH_LEN]; /* h before the message, which the signature covers */
    struct px_buf payload;
    memcpy(hash, px_noise_hash(h->noise), sizeof(hash));
    px_buf_init(&payload, PX_FRAME_NOISE_MAX);
    int err = px_noise_read(h->noise, msg, &payload);
    if (err == 0)
        err = px_hello_decode(px_buf_slice(&payload), &hello);
    px_buf_deinit(&payload);
    err = as_noise_error(err);
    if (err != 0)
        return err;
    struct px_hello_context context = {other_role(h->role), hash, px_noise_remote_static(h->noise)};
    err = px_hello_verify(&hello, &context);
    /* only a proved identity is a wrong one */
    if (err == 0 && h->role == PX_NOISE_INITIATOR && !px_peer_id_eq(&hello.id, &h->target))
        err = PX_EWRONGPEER;
    if (err == 0) {
        h->peer = hello;
        set_state(h, PX_HANDSHAKE_PROVED);
    }
    return err;
}

/* SPEC handshake §6: anything the initiator did not offer is an error. */
static int read_accepted(struct px_link_handshake *h, struct px_slice body)
{
    struct px_control frame;
    if (px_control_decode(body, &frame) != 0)
        return PX_EPARSE;
    if (frame.type != PX_CONTROL_ACCEPTED || frame.accepted.version > h->ours.version ||
        (frame.accepted.capabilities & ~h->ours.capabilities) != 0)
        return PX_EPROTO;
    set_state(h, PX_HANDSHAKE_OPEN);
    return 0;
}

/* `accepted` comes once, and to the initiator only; what is well-formed and unknown is skipped. */
static int read_control(struct px_link_handshake *h, struct px_slice body,
                        enum px_handshake_event *ret_event)
{
    struct px_control frame;
    if (px_control_decode(body, &frame) != 0)
        return PX_EPARSE;
    switch (frame.type) {
    case PX_CONTROL_UNKNOWN:
        return 0;
    case PX_CONTROL_ACCEPTED:
        return PX_EPROTO;
    case PX_CONTROL_PING:
    case PX_CONTROL_PONG:
    case PX_CONTROL_DISCO:
        h->control = frame;
        *ret_event = PX_HANDSHAKE_CONTROL;
        return 0;
    }
    return PX_EPARSE;
}

static int read_frame(struct px_link_handshake *h, struct px_slice body, struct px_buf *out,
                      enum px_handshake_event *ret_event)
{
    int err;
    switch (h->state) {
    case PX_HANDSHAKE_WAIT_1:
        return read_message_1(h, body, out);
    case PX_HANDSHAKE_WAIT_2:
    case PX_HANDSHAKE_WAIT_3:
        err = read_hello(h, body);
        if (err == 0)
            *ret_event = PX_HANDSHAKE_PEER_PROVED;
        return err;
    case PX_HANDSHAKE_WAIT_ACCEPTED:
        err = read_accepted(h, body);
        if (err == 0)
            *ret_event = PX_HANDSHAKE_ACCEPTED;
        return err;
    case PX_HANDSHAKE_OPEN:
        return read_control(h, body, ret_event);
    case PX_HANDSHAKE_WAIT_TYPE:
    case PX_HANDSHAKE_PROVED:
    case PX_HANDSHAKE_FAILED:
    case PX_HANDSHAKE_STATES:
        break;
    }
    return PX_ESTATE;
}

static bool wants_noise(const struct px_link_handshake *h)
{
    return h->state == PX_HANDSHAKE_WAIT_1 || h->state == PX_HANDSHAKE_WAIT_2 ||
           h->state == PX_HANDSHAKE_WAIT_3;
}

static int read_type(struct px_link_handshake *h, struct px_slice *io_data)
{
    if (io_data->data[0] != PX_STREAM_CONTROL)
        return PX_EPROTO;
    *io_data = px_slice_skip(*io_data, 1);
    set_state(h, PX_HANDSHAKE_WAIT_1);
    return 0;
}

/* One type byte or one frame. PX_EAGAIN when there is none yet. */
static int step(struct px_link_handshake *h, struct px_slice *io_data, struct px_buf *out,
                enum px_handshake_event *ret_event)
{
    struct px_slice body;
    if (h->state == PX_HANDSHAKE_WAIT_TYPE)
        return read_type(h, io_data);
    bool noise = wants_noise(h);
    int err = px_frame_read(&h->frames, io_data, noise ? PX_FRAME_NOISE_MAX : PX_FRAME_CONTROL_MAX,
                            &body);
    if (err == PX_ELIMIT && noise)
        return PX_EOVERRUN;
    return err == 0 ? read_frame(h, body, out, ret_event) : err;
}

int px_link_handshake_input(struct px_link_handshake *h, struct px_slice *io_data,
                            struct px_buf *out, enum px_handshake_event *ret_event)
{
    enum px_handshake_event event = PX_HANDSHAKE_NONE;
    if (h->state == PX_HANDSHAKE_FAILED)
        return PX_ESTATE;
    while (event == PX_HANDSHAKE_NONE && io_data->len > 0 && h->state != PX_HANDSHAKE_PROVED) {
        int err = step(h, io_data, out, &event);
        if (err == PX_EAGAIN)
            break;
        if (err != 0)
            return fail(h, err);
    }
    *ret_event = event;
    return 0;
}

int px_link_handshake_fin(struct px_link_handshake *h)
{
    if (h->state == PX_HANDSHAKE_FAILED)
        return PX_ESTATE;
    return fail(h, h->state == PX_HANDSHAKE_OPEN ? PX_EPROTO : PX_ETRUNC);
}

static int put_accepted(const struct px_link_handshake *h, struct px_buf *out)
{
    struct px_control frame = {.type = PX_CONTROL_ACCEPTED};
    frame.accepted.version = PX_MIN(h->ours.version, h->peer.version);
    frame.accepted.capabilities = h->ours.capabilities & h->peer.capabilities;
    return px_control_put(out, &frame);
}

int px_link_handshake_proceed(struct px_link_handshake *h, struct px_buf *out)
{
    if (h->state != PX_HANDSHAKE_PROVED)
        return PX_ESTATE;
    bool initiator = h->role == PX_NOISE_INITIATOR;
    int err = initiator ? put_hello(h, out) : put_accepted(h, out);
    if (err != 0)
        return fail(h, err);
    set_state(h, initiator ? PX_HANDSHAKE_WAIT_ACCEPTED : PX_HANDSHAKE_OPEN);
    return 0;
}

static int start_noise(struct px_link_handshake *h, const struct px_x25519_secret *noise_static)
{
    uint8_t ignored[PX_X25519_LEN];
    struct px_channel channel = channel_of(h);
    const struct px_rng *rng = &h->rng;
    struct px_buf prologue;
    if (h->role == PX_NOISE_INITIATOR) {
        px_x25519_generate(&h->rng, &h->ephemeral.secret, ignored);
        h->ephemeral.rng = (struct px_rng){give_key, &h->ephemeral};
        rng = &h->ephemeral.rng;
    }
    px_buf_init(&prologue, PX_LINK_PAYLOAD_MAX);
    int err = px_proof_prologue(&channel, &prologue);
    if (err == 0)
        err = px_noise_new(h->role, px_buf_slice(&prologue), noise_static, rng, &h->noise);
    px_buf_deinit(&prologue);
    return err;
}

static void copy_config(struct px_link_handshake *h, const struct px_link_handshake_config *config)
{
    h->role = config->role;
    h->state = h->role == PX_NOISE_INITIATOR ? PX_HANDSHAKE_WAIT_2 : PX_HANDSHAKE_WAIT_TYPE;
    h->identity = config->identity;
    h->target = config->target;
    h->network = config->network;
    h->rng = config->rng;
    memcpy(h->exporter, config->exporter, sizeof(h->exporter));
    memcpy(h->ours.boot_id, config->boot_id, sizeof(h->ours.boot_id));
    struct px_slice agent = px_slice_take(config->agent, PX_AGENT_MAX);
    if (agent.len > 0)
        memcpy(h->ours.agent, agent.data, agent.len);
    h->ours.version = PX_LINK_VERSION;
    h->ours.guest = config->guest;
    px_x25519_public(config->noise_static, h->static_public);
}

int px_link_handshake_new(const struct px_link_handshake_config *config, struct px_buf *out,
                          struct px_link_handshake **ret)
{
    struct px_link_handshake *h = calloc(1, sizeof(*h));
    if (h == NULL)
        return PX_ENOMEM;
    px_frame_reader_init(&h->frames);
    copy_config(h, config);
    int err = start_noise(h, config->noise_static);
    if (err == 0 && h->role == PX_NOISE_INITIATOR)
        err = put_message_1(h, out);
    if (err != 0) {
        px_link_handshake_free(h);
        return err;
    }
    *ret = h;
    return 0;
}

void px_link_handshake_free(struct px_link_handshake *h)
{
    if (h == NULL)
        return;
    px_noise_free(h->noise);
    px_frame_reader_deinit(&h->frames);
    px_wipe(h, sizeof(*h));
    free(h);
}

enum px_handshake_state px_link_handshake_state(const struct px_link_handshake *h)
{
    return h->state;
}

enum px_close_code px_link_handshake_close_code(const struct px_link_handshake *h)
{
    return h->close_code;
}

const struct px_link_hello *px_link_handshake_peer(const struct px_link_handshake *h)
{
    return &h->peer;
}

const struct px_control *px_link_handshake_control(const struct px_link_handshake *h)
{
    return &h->control;
}

const uint8_t *px_link_handshake_binding(const struct px_link_handshake *h)
{
    if (h->noise == NULL)
        return h->binding;
    px_assert(px_noise_done(h->noise));
    return px_noise_hash(h->noise);
}

int px_link_handshake_split(const struct px_link_handshake *h, struct px_noise_keys *ret)
{
    return h->noise == NULL ? PX_ESTATE : px_noise_split(h->noise, ret);
}

void px_link_handshake_forget(struct px_link_handshake *h)
{
    px_assert(h->state == PX_HANDSHAKE_OPEN);
    if (h->noise == NULL)
        return;
    memcpy(h->binding, px_noise_hash(h->noise), sizeof(h->binding));
    px_noise_free(h->noise);
    h->noise = NULL;
}

/* A relay that says anything, at a node's side of it: frames and packets between calls, requests
 * and answers of the node, with time passing. Input: for each step a byte (what, and how much
 * time), two of length, the bytes. Requests and legs end once, and all within their times. */
#include "proto/base/reader.h"
#include "relay/client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { FRAME, PACKET, ACT, WAIT };

struct world {
    struct px_relay_client *client;
    struct px_relay_leg *ringing, *called;
    px_nsec now;
    uint8_t seed;
    bool up;
    unsigned asked, answered, calls, rings, ends;
};

static void fill(void *ctx, void *buf, size_t len)
{
    struct world *w = ctx;
    uint8_t *out = buf;
    for (size_t i = 0; i < len; i++)
        out[i] = ++w->seed;
}

static void on_send(void *ctx, struct px_slice frame)
{
    struct px_relay_msg m;
    (void)ctx;
    px_assert(px_relay_msg_decode(px_slice_skip(frame, 2), &m) == 0);
    px_assert(px_relay_msg_from_node(m.type));
}

static void on_packet(void *ctx, struct px_slice packet)
{
    struct px_relay_packet p;
    (void)ctx;
    px_assert(px_relay_packet_parse(packet, &p) == 0);
}

static void on_reserved(void *ctx, enum px_relay_status status, enum px_relay_class class)
{
    (void)ctx, (void)status, (void)class;
}

static void on_ring(void *ctx, struct px_relay_leg *leg, const struct px_peer_id *caller)
{
    struct world *w = ctx;
    px_assert(px_peer_id_eq(px_relay_leg_peer(leg), caller) && !px_relay_leg_is_caller(leg));
    w->ringing = leg;
    w->rings++;
}

static void on_open(void *ctx, struct px_relay_leg *leg)
{
    (void)ctx;
    px_assert(px_relay_leg_is_open(leg));
}

static void on_data(void *ctx, struct px_relay_leg *leg, struct px_slice payload)
{
    (void)ctx, (void)payload;
    px_assert(px_relay_leg_is_open(leg));
}

static void on_ended(void *ctx, struct px_relay_leg *leg, enum px_relay_status why)
{
    struct world *w = ctx;
    (void)why;
    w->ends++;
    if (w->ringing == leg)
        w->ringing = NULL;
    if (w->called == leg)
        w->called = NULL;
}

static void on_reply(void *ctx, void *token, enum px_relay_status status,
                     const struct px_relay_msg *m)
{
    struct world *w = ctx;
    px_assert(token == w && (m != NULL || status == PX_RELAY_NO_ANSWER));
    w->answered++;
}

static void on_observed(void *ctx, const struct px_addr *a)
{
    (void)ctx;
    px_assert(a->family == PX_ADDR_IP4 || a->family == PX_ADDR_IP6);
}

static void on_changed(void *ctx, const struct px_relay_msg *m)
{
    (void)ctx;
    px_assert(m->record_count <= PX_RELAY_RECORDS_MAX && m->gone_count <= PX_RELAY_GONE_MAX);
}

static void on_restarting(void *ctx, px_nsec left, px_nsec spread)
{
    (void)ctx, (void)left, (void)spread;
}

static const struct px_relay_client_ops ops = {on_send,     on_packet,  on_reserved,  on_ring,
                                               on_open,     on_data,    on_ended,     on_reply,
                                               on_observed, on_changed, on_restarting};

static void go_up(struct world *w)
{
    const uint8_t binding[PX_RELAY_CLIENT_BINDING_LEN] = {1};
    px_relay_client_up(w->client, binding, w->now);
    w->up = true;
}

/* What the node itself does; a probe alone may be answered more than once. */
static void act(struct world *w, struct px_slice how)
{
    const struct px_peer_id peer = {{2}};
    struct px_relay_msg m = {.type = PX_RELAY_MSG_OBSERVE};
    uint8_t header[PX_RELAY_HEADER_LEN];
    switch (how.len > 0 ? how.data[0] % 6 : 0) {
    case 0:
        w->asked += px_relay_client_request(w->client, &m, w, w->now) == 0;
        break;
    case 1:
        if (w->called == NULL && px_relay_client_call(w->client, &peer, w, w->now, &w->called) == 0)
            w->calls++;
        break;
    case 2:
    case 3:
        if (w->ringing != NULL) {
            bool consent = how.data[0] % 6 == 2;
            w->ends += !consent;
            px_relay_leg_answer(w->ringing, consent, w->now);
            w->ringing = NULL;
        }
        break;
    case 4:
        px_relay_client_network_changed(w->client, w->now);
        break;
    default:
        if (w->called == NULL)
            break;
        if (px_relay_leg_is_open(w->called)) {
            px_relay_leg_header(w->called, header);
            px_relay_leg_sent(w->called, w->now);
        }
        px_relay_leg_end(w->called);
        w->called = NULL;
        w->ends++;
    }
}

static void step(struct world *w, uint8_t what, struct px_slice bytes)
{
    switch (what & 3) {
    case FRAME:
        if (w->up && px_relay_client_input(w->client, bytes, w->now) != 0) {
            px_relay_client_down(w->client, w->now);
            px_assert(w->answered == w->asked);
            go_up(w);
        }
        break;
    case PACKET:
        (void)px_relay_client_packet(w->client, bytes, w->now);
        break;
    case ACT:
        act(w, bytes);
        break;
    default:
        w->now += (px_nsec)(what >> 2) * (what >> 2) * 20 * PX_MSEC;
        px_relay_client_run(w->client, w->now);
        px_assert(px_relay_client_deadline(w->client) > w->now);
    }
    px_assert(px_relay_client_legs(w->client) <= PX_RELAY_CLIENT_LEGS_MAX);
    px_assert(w->calls + w->rings == w->ends + px_relay_client_legs(w->client));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct world w = {.now = PX_SEC};
    struct px_reader r = px_reader(px_slice(data, len));
    uint8_t what;
    uint16_t n;
    if (px_crypto_init() != 0)
        return 0;
    const struct px_relay_client_config config = {
        .rng = {fill, &w}, .ops = &ops, .ctx = &w, .reserve = true};
    int err = px_relay_client_new(&config, &w.client);
    px_assert(err == 0);
    go_up(&w);
    while (px_reader_u8(&r, &what) == 0 && px_reader_be16(&r, &n) == 0) {
        struct px_slice bytes = px_slice_take(r.rest, n);
        r.rest = px_slice_skip(r.rest, n);
        step(&w, what, bytes);
    }
    px_relay_client_down(w.client, w.now);
    px_assert(w.answered == w.asked);
    px_relay_client_run(w.client, w.now + 2 * PX_RELAY_SILENCE_MAX);
    px_assert(px_relay_client_legs(w.client) == 0);
    px_relay_client_free(w.client);
    return 0;
}

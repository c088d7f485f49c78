/* Receive batches at the relay's data plane: one open circuit, one that is not, packets from their
 * addresses and from a stranger's. Nothing leaves that is longer than what came, nothing of a
 * stranger's is forwarded. The same bytes as a question WHO, and as the answer to one: an answer is
 * no longer, and nobody but the key's holder can have made one. */
#include "relay/circuits.h"
#include "relay/who.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void fill(void *ctx, void *buf, size_t len)
{
    uint8_t *n = ctx, *out = buf;
    for (size_t i = 0; i < len; i++)
        out[i] = ++*n;
}

static void on_opened(void *ctx, struct px_circuit *c)
{
    (void)ctx;
    (void)c;
}

static void on_ended(void *ctx, struct px_circuit *c, enum px_relay_status why)
{
    (void)ctx;
    (void)c;
    (void)why;
}

static struct px_path path_of(uint8_t host)
{
    struct px_path p;
    memset(&p, 0, sizeof(p));
    p.remote.family = PX_ADDR_IP4;
    p.remote.ip[3] = host;
    return p;
}

static void bind_leg(struct px_circuits *cs, const struct px_circuit *c, int side)
{
    uint8_t packet[PX_RELAY_BIND_LEN], binding[32];
    struct px_relay_nonce nonce;
    struct px_relay_leg_key key;
    struct px_circuits_out out;
    struct px_path path = path_of((uint8_t)side);
    const struct px_relay_leg_id *leg = px_circuit_leg(c, (enum px_circuit_side)side);
    memset(binding, 1, sizeof(binding));
    px_relay_leg_key(px_slice(binding, 32), leg, &key);
    px_circuit_nonce(c, (enum px_circuit_side)side, &path.remote, 1, &nonce);
    px_relay_bind_put(packet, PX_RELAY_ANSWER, leg, &nonce, &key);
    size_t n = px_circuits_input(cs, &path, packet, sizeof(packet), sizeof(packet), 1, &out);
    px_assert(n == sizeof(packet) && out.path != NULL);
}

static struct px_circuits *set_up(uint8_t *seed, struct px_circuit *ret[2])
{
    static const struct px_circuits_ops ops = {on_opened, on_ended};
    const struct px_circuits_config config = {.rng = {fill, seed},
                                              .ops = &ops,
                                              .per_peer = 4,
                                              .idle = 60 * PX_SEC,
                                              .bind_time = 10 * PX_SEC};
    struct px_circuits *cs;
    int err = px_circuits_new(&config, &cs);
    px_assert(err == 0);
    for (uint8_t i = 0; i < 2; i++) {
        struct px_circuit_params p = {.peer = {{{1}}, {{(uint8_t)(2 + i)}}}, .rate = 1000000};
        memset(p.binding, 1, sizeof(p.binding));
        err = px_circuits_open(cs, &p, 1, &ret[i]);
        px_assert(err == 0);
    }
    bind_leg(cs, ret[0], 0);
    bind_leg(cs, ret[0], 1);
    px_circuit_consent(ret[0], 1);
    px_assert(px_circuit_is_open(ret[0]));
    return cs;
}

/* Input: who sends, segment size, then packets; a leg id of ff…ff stands for a real one. */
static void feed(struct px_circuits *cs, struct px_circuit *const c[2], const uint8_t *data,
                 size_t len)
{
    uint8_t batch[4096];
    struct px_circuits_out out;
    struct px_path path = path_of(data[0] % 3);
    size_t segment = PX_MAX((size_t)data[1], (size_t)1), n = PX_MIN(len - 3, sizeof(batch));
    enum px_circuit_side side = data[0] % 3 == 1 ? PX_CIRCUIT_CALLEE : PX_CIRCUIT_CALLER;
    memcpy(batch, data + 3, n);
    for (size_t at = 0; at + 8 <= n; at += segment)
        if (batch[at + 1] == 0xff)
            memcpy(batch + at + 1, px_circuit_leg(c[data[2] % 2], side)->bytes, PX_RELAY_LEG_LEN);
    for (size_t at = 0; at < n;) {
        size_t took =
            px_circuits_input(cs, &path, batch + at, n - at, segment, 2 + data[2] * PX_MSEC, &out);
        px_assert(took <= n - at);
        if (out.path != NULL) {
            px_assert(out.data.len > 0 && out.data.len <= took);
            px_assert(data[0] % 3 != 2 || out.data.data == out.reply);
        }
        at += took == 0 ? PX_MIN(segment, n - at) : took;
    }
}

static void check_who(struct px_slice bytes)
{
    static const struct px_addr from = {.family = PX_ADDR_IP4};
    static struct px_identity identity;
    uint8_t am[PX_RELAY_AM_LEN], again[PX_RELAY_WHO_LEN], seed = 9;
    const struct px_rng rng = {fill, &seed};
    struct px_relay_nonce nonce;
    struct px_peer_id id;
    struct px_who *w;
    if (identity.id.key[0] == 0)
        px_identity_generate(&rng, &identity);
    int err = px_who_new(&identity, &rng, &w);
    px_assert(err == 0);
    bool is_who = px_relay_who_parse(bytes, &nonce) == 0;
    px_assert(px_who_answer(w, bytes, &from, 1, am) == is_who);
    if (is_who) {
        px_assert(sizeof(am) <= bytes.len);
        px_relay_who_put(again, &nonce);
        px_assert(memcmp(again, bytes.data, PX_RELAY_PING_LEN) == 0);
        px_assert(px_relay_am_check(px_slice(am, sizeof(am)), &nonce, &id) == 0);
        px_assert(px_peer_id_eq(&id, &identity.id));
    }
    memset(&nonce, 0, sizeof(nonce));
    if (px_relay_am_check(bytes, &nonce, &id) == 0)
        px_assert(bytes.len == PX_RELAY_AM_LEN && bytes.data[0] == PX_RELAY_AM_PACKET);
    px_who_free(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct px_circuit *c[2];
    struct px_relay_packet p;
    uint8_t seed = 0;
    if (len < 4 || px_crypto_init() != 0)
        return 0;
    if (px_relay_packet_parse(px_slice(data, len), &p) == 0)
        px_assert(data[0] == p.type && (p.type != PX_RELAY_DATA || p.payload.len + 8 == len));
    check_who(px_slice(data, len));
    struct px_circuits *cs = set_up(&seed, c);
    feed(cs, c, data, len);
    px_circuits_run(cs, 100 * PX_SEC);
    px_circuits_free(cs);
    return 0;
}

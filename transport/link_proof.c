/* See link_proof.h. Keys of the maps are those of docs/spec/handshake.cddl. */
#include "transport/link_proof.h"

#include "proto/cbor_map.h"

#define INPUT_MAX 512 /* of anything hashed or signed here */

enum { PROOF_TARGET = 1, PROOF_BINDING, PROOF_NETWORK };
enum {
    HELLO_KEY = 1,
    HELLO_SIGNATURE,
    HELLO_BOOT_ID,
    HELLO_AGENT,
    HELLO_VERSION,
    HELLO_CAPS,
    HELLO_GUEST
};

/* lp(x) of the specification */
static void put_lp(struct px_buf *out, struct px_slice s)
{
    px_assert(s.len <= UINT16_MAX);
    px_buf_put_be16(out, (uint16_t)s.len);
    px_buf_put(out, s);
}

int px_proof_prologue(const struct px_channel *channel, struct px_buf *out)
{
    put_lp(out, px_slice_cstr(PX_QUIC_ALPN));
    put_lp(out, channel->network);
    put_lp(out, channel->exporter);
    return out->err;
}

struct proofs {
    uint8_t of[3][PX_PROOF_LEN]; /* target, binding, network */
};

static int prove(struct px_slice key, struct px_buf *input, uint8_t ret[PX_PROOF_LEN])
{
    uint8_t mac[PX_HASH_LEN];
    if (input->err != 0)
        return input->err;
    px_hmac_sha256(key, px_buf_slice(input), mac);
    memcpy(ret, mac, PX_PROOF_LEN);
    px_wipe(mac, sizeof(mac));
    px_buf_clear(input);
    return 0;
}

/* SPEC handshake §4: K = HKDF(…), then one HMAC for each proof. */
static int make_proofs(const struct px_channel *channel, const struct px_peer_id *target,
                       const uint8_t ephemeral[PX_X25519_LEN], struct proofs *ret)
{
    uint8_t key_bytes[32];
    struct px_slice e = px_slice(ephemeral, PX_X25519_LEN);
    struct px_buf in;
    px_hkdf_sha256(px_slice(NULL, 0), px_slice(target->key, sizeof(target->key)),
                   PX_SLICE_LIT("peerix/1 message 1"), key_bytes, sizeof(key_bytes));
    struct px_slice key = px_slice(key_bytes, sizeof(key_bytes));
    px_buf_init(&in, INPUT_MAX);

    put_lp(&in, PX_SLICE_LIT("target"));
    px_buf_put(&in, e);
    int err = prove(key, &in, ret->of[0]);

    put_lp(&in, PX_SLICE_LIT("binding"));
    px_buf_put(&in, channel->exporter);
    px_buf_put(&in, e);
    if (err == 0)
        err = prove(key, &in, ret->of[1]);

    put_lp(&in, PX_SLICE_LIT("network"));
    put_lp(&in, channel->network);
    px_buf_put(&in, channel->exporter);
    px_buf_put(&in, e);
    if (err == 0)
        err = prove(key, &in, ret->of[2]);

    px_buf_deinit(&in);
    px_wipe(key_bytes, sizeof(key_bytes));
    return err;
}

int px_proof_put(const struct px_channel *channel, const struct px_peer_id *target,
                 const uint8_t ephemeral[PX_X25519_LEN], struct px_buf *out)
{
    struct proofs p;
    int err = make_proofs(channel, target, ephemeral, &p);
    if (err != 0)
        return err;
    px_cbor_put_map(out, PX_ARRAY_LEN(p.of));
    for (size_t i = 0; i < PX_ARRAY_LEN(p.of); i++) {
        px_cbor_put_uint(out, PROOF_TARGET + i);
        px_cbor_put_bytes(out, px_slice(p.of[i], PX_PROOF_LEN));
    }
    return out->err;
}

static int decode_proofs(struct px_slice payload, struct proofs *ret)
{
    struct px_cbor c = px_cbor(payload);
    struct px_cbor_map m;
    uint64_t key;
    unsigned seen = 0;
    int err = px_cbor_map_open(&c, &m);
    while (err == 0 && (err = px_cbor_map_next(&m, &key)) == 0) {
        if (key >= PROOF_TARGET && key <= PROOF_NETWORK) {
            err = px_cbor_fixed(&c, ret->of[key - PROOF_TARGET], PX_PROOF_LEN);
            seen |= 1u << key;
        } else {
            err = px_cbor_skip(&c);
        }
    }
    if (err != PX_ENOENT)
        return err;
    bool all = seen == (1u << PROOF_TARGET | 1u << PROOF_BINDING | 1u << PROOF_NETWORK);
    return all ? px_cbor_end(&c) : PX_EPARSE;
}

int px_proof_check(const struct px_channel *channel, const struct px_peer_id *target,
                   const uint8_t ephemeral[PX_X25519_LEN], struct px_slice payload)
{
    static const int refusal[] = {PX_ETARGET, PX_EBINDING, PX_ENETWORK};
    struct proofs got, want;
    int err = decode_proofs(payload, &got);
    if (err == 0)
        err = make_proofs(channel, target, ephemeral, &want);
    for (size_t i = 0; err == 0 && i < PX_ARRAY_LEN(want.of); i++)
        if (!px_ct_equal(got.of[i], want.of[i], PX_PROOF_LEN))
            err = refusal[i];
    return err;
}

/* SPEC handshake §5: lp("peerix/1 identity") ‖ role ‖ h ‖ s */
static void put_signed(struct px_buf *out, const struct px_hello_context *context)
{
    put_lp(out, PX_SLICE_LIT("peerix/1 identity"));
    px_buf_put_u8(out, context->role == PX_NOISE_INITIATOR ? 1 : 2);
    px_buf_put(out, px_slice(context->hash, PX_HASH_LEN));
    px_buf_put(out, px_slice(context->noise_static, PX_X25519_LEN));
}

int px_hello_put(const struct px_link_hello *hello, const struct px_identity *identity,
                 const struct px_hello_context *context, struct px_buf *out)
{
    uint8_t sig[PX_ED25519_SIG_LEN];
    struct px_buf text;
    px_buf_init(&text, INPUT_MAX);
    put_signed(&text, context);
    int err = text.err;
    if (err == 0)
        px_ed25519_sign(&identity->secret, px_buf_slice(&text), sig);
    px_buf_deinit(&text);
    if (err != 0)
        return err;
    px_cbor_put_map(out, hello->guest ? HELLO_GUEST : HELLO_CAPS);
    px_cbor_put_uint(out, HELLO_KEY);
    px_cbor_put_bytes(out, px_slice(identity->id.key, sizeof(identity->id.key)));
    px_cbor_put_uint(out, HELLO_SIGNATURE);
    px_cbor_put_bytes(out, px_slice(sig, sizeof(sig)));
    px_cbor_put_uint(out, HELLO_BOOT_ID);
    px_cbor_put_bytes(out, px_slice(hello->boot_id, sizeof(hello->boot_id)));
    px_cbor_put_uint(out, HELLO_AGENT);
    px_cbor_put_text(out, px_slice_cstr(hello->agent));
    px_cbor_put_uint(out, HELLO_VERSION);
    px_cbor_put_uint(out, hello->version);
    px_cbor_put_uint(out, HELLO_CAPS);
    px_cbor_put_uint(out, hello->capabilities);
    if (hello->guest) {
        px_cbor_put_uint(out, HELLO_GUEST);
        px_cbor_put_bool(out, true);
    }
    return out->err;
}

static int get_agent(struct px_cbor *c, char ret[PX_AGENT_MAX + 1])
{
    struct px_slice s;
    int err = px_cbor_text(c, &s);
    if (err != 0)
        return err;
    if (s.len > PX_AGENT_MAX)
        return PX_EPARSE;
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] < 0x20 || s.data[i] > 0x7e)
            return PX_EPARSE;
    if (s.len > 0)
        memcpy(ret, s.data, s.len);
    ret[s.len] = '\0';
    return 0;
}

static int get_version(struct px_cbor *c, uint32_t *ret)
{
    uint64_t v;
    int err = px_cbor_uint(c, &v);
    if (err != 0)
        return err;
    if (v == 0 || v > UINT32_MAX)
        return PX_EPARSE;
    *ret = (uint32_t)v;
    return 0;
}

static int get_hello_field(struct px_cbor *c, uint64_t key, struct px_link_hello *h)
{
    switch (key) {
    case HELLO_KEY:
        return px_cbor_fixed(c, h->id.key, sizeof(h->id.key));
    case HELLO_SIGNATURE:
        return px_cbor_fixed(c, h->signature, sizeof(h->signature));
    case HELLO_BOOT_ID:
        return px_cbor_fixed(c, h->boot_id, sizeof(h->boot_id));
    case HELLO_AGENT:
        return get_agent(c, h->agent);
    case HELLO_VERSION:
        return get_version(c, &h->version);
    case HELLO_CAPS:
        return px_cbor_uint(c, &h->capabilities);
    case HELLO_GUEST:
        return px_cbor_bool(c, &h->guest);
    default: /* of a later version */
        return px_cbor_skip(c);
    }
}

int px_hello_decode(struct px_slice payload, struct px_link_hello *ret)
{
    struct px_link_hello h;
    struct px_cbor c = px_cbor(payload);
    struct px_cbor_map m;
    uint64_t key;
    size_t known = 0;
    memset(&h, 0, sizeof(h));
    int err = px_cbor_map_open(&c, &m);
    while (err == 0 && (err = px_cbor_map_next(&m, &key)) == 0) {
        known += key >= HELLO_KEY && key <= HELLO_CAPS;
        err = get_hello_field(&c, key, &h);
    }
    if (err != PX_ENOENT)
        return err;
    /* keys ascend, so each known one was there once */
    err = known == HELLO_CAPS ? px_cbor_end(&c) : PX_EPARSE;
    if (err == 0)
        *ret = h;
    return err;
}

int px_hello_verify(const struct px_link_hello *hello, const struct px_hello_context *context)
{
    struct px_buf text;
    px_buf_init(&text, INPUT_MAX);
    put_signed(&text, context);
    int err = text.err;
    if (err == 0 && px_ed25519_verify(hello->id.key, px_buf_slice(&text), hello->signature) != 0)
        err = PX_EBINDING;
    px_buf_deinit(&text);
    return err;
}

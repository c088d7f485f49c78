/* Peer IDs by the libp2p peer-ids spec: text, multihash and protobuf of an ed25519 key.
 *
 * The three layers have fixed bytes for our one key type; everything that is well formed but of
 * another type (RSA, Secp256k1, ECDSA, hashed keys) is told apart from garbage. */
#include "auth/peer_id.h"

#include "proto/base/encoding.h"
#include "proto/base/reader.h"

/* identity multihash of 36 bytes: protobuf {1: varint Ed25519, 2: 32 bytes} */
static const uint8_t ed25519_prefix[] = {0x00, 0x24, 0x08, 0x01, 0x12, 0x20};

enum {
    TEXT_MAX = 128,
    MULTIHASH_IDENTITY = 0x00,
    MULTIHASH_SHA256 = 0x12,
    CID_V1 = 0x01,
    CODEC_LIBP2P_KEY = 0x72,
    KEY_TYPE_ED25519 = 1,
    KEY_TYPE_LAST = 3,
    INLINE_MAX = 42, /* longer keys are hashed, says the spec */
};

/* message PublicKey { required KeyType Type = 1; required bytes Data = 2; }, in its one
 * deterministic encoding. */
static int parse_public_key(struct px_slice pb, struct px_peer_id *ret)
{
    struct px_reader r = px_reader(pb);
    uint8_t type_tag, type, data_tag, len;
    if (px_reader_u8(&r, &type_tag) != 0 || px_reader_u8(&r, &type) != 0 ||
        px_reader_u8(&r, &data_tag) != 0 || px_reader_u8(&r, &len) != 0)
        return PX_EPARSE;
    if (type_tag != 0x08 || type > KEY_TYPE_LAST || data_tag != 0x12 || px_reader_left(&r) != len)
        return PX_EPARSE;
    if (type != KEY_TYPE_ED25519)
        return PX_EUNSUPPORTED;
    if (len != sizeof(ret->key))
        return PX_EPARSE;
    return px_reader_copy(&r, ret->key, sizeof(ret->key));
}

static int parse_multihash(struct px_slice mh, struct px_peer_id *ret)
{
    struct px_reader r = px_reader(mh);
    uint8_t code, len;
    if (px_reader_u8(&r, &code) != 0 || px_reader_u8(&r, &len) != 0 || px_reader_left(&r) != len)
        return PX_EPARSE;
    if (code == MULTIHASH_SHA256 && len == PX_HASH_LEN)
        return PX_EUNSUPPORTED;
    if (code != MULTIHASH_IDENTITY || len > INLINE_MAX)
        return PX_EPARSE;
    return parse_public_key(r.rest, ret);
}

static int parse_cid(struct px_slice cid, struct px_peer_id *ret)
{
    struct px_reader r = px_reader(cid);
    uint8_t version, codec;
    if (px_reader_u8(&r, &version) != 0 || px_reader_u8(&r, &codec) != 0)
        return PX_EPARSE;
    if (version != CID_V1 || codec != CODEC_LIBP2P_KEY)
        return PX_EPARSE;
    return parse_multihash(r.rest, ret);
}

int px_peer_id_parse(struct px_slice text, struct px_peer_id *ret)
{
    uint8_t bytes[TEXT_MAX];
    size_t len = 0;
    int err = PX_EPARSE;
    if (text.len < 2 || text.len > TEXT_MAX)
        return PX_EPARSE;
    struct px_slice body = px_slice_skip(text, 1);
    /* peer-ids, "Decoding": a bare base58btc multihash starts with 1 or Qm, else the first
     * character is the multibase prefix of a CID */
    bool bare = text.data[0] == '1' || px_slice_starts(text, PX_SLICE_LIT("Qm"));
    if (bare)
        err = px_base58_decode(text, bytes, sizeof(bytes), &len);
    else if (text.data[0] == 'b')
        err = px_base32_decode(body, bytes, sizeof(bytes), &len);
    else if (text.data[0] == 'k')
        err = px_base36_decode(body, bytes, sizeof(bytes), &len);
    else if (text.data[0] == 'z')
        err = px_base58_decode(body, bytes, sizeof(bytes), &len);
    if (err != 0)
        return PX_EPARSE;
    struct px_slice decoded = px_slice(bytes, len);
    return bare ? parse_multihash(decoded, ret) : parse_cid(decoded, ret);
}

const char *px_peer_id_format(const struct px_peer_id *id, char out[PX_PEER_ID_TEXT_MAX])
{
    uint8_t mh[sizeof(ed25519_prefix) + sizeof(id->key)];
    memcpy(mh, ed25519_prefix, sizeof(ed25519_prefix));
    memcpy(mh + sizeof(ed25519_prefix), id->key, sizeof(id->key));
    /* over the caller's memory, which 52 characters fit into: it cannot fail, and an ID never reads
     * as "" for want of memory */
    struct px_buf text = {
        .data = (uint8_t *)out, .cap = PX_PEER_ID_TEXT_MAX - 1, .max = PX_PEER_ID_TEXT_MAX - 1};
    px_assert(px_base58_encode(&text, px_slice(mh, sizeof(mh))) == 0);
    out[text.len] = '\0';
    return out;
}

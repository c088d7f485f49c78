/* See relay_packet.h. */
#include "relay/relay_packet.h"

#include "proto/base/reader.h"

#define KEY_LABEL "peerix/1 relay leg"

void px_relay_leg_key(struct px_slice binding, const struct px_relay_leg_id *leg,
                      struct px_relay_leg_key *ret)
{
    uint8_t info[2 + sizeof(KEY_LABEL) - 1 + PX_RELAY_LEG_LEN] = {0, sizeof(KEY_LABEL) - 1};
    memcpy(info + 2, KEY_LABEL, sizeof(KEY_LABEL) - 1);
    memcpy(info + sizeof(info) - PX_RELAY_LEG_LEN, leg->bytes, PX_RELAY_LEG_LEN);
    px_hkdf_sha256(px_slice(NULL, 0), binding, px_slice(info, sizeof(info)), ret->bytes,
                   sizeof(ret->bytes));
}

void px_relay_header_put(uint8_t out[PX_RELAY_HEADER_LEN], enum px_relay_packet_type type,
                         const struct px_relay_leg_id *leg)
{
    out[0] = (uint8_t)type;
    memcpy(out + 1, leg->bytes, PX_RELAY_LEG_LEN);
}

/* The length of what follows the header; SIZE_MAX for a type that is none of ours. */
static size_t rest_len(uint8_t type, size_t len)
{
    switch (type) {
    case PX_RELAY_DATA:
        return len > 0 ? len : SIZE_MAX;
    case PX_RELAY_HELLO:
    case PX_RELAY_CHALLENGE:
    case PX_RELAY_ANSWER:
    case PX_RELAY_BOUND:
        return PX_RELAY_NONCE_LEN + PX_RELAY_MAC_LEN;
    case PX_RELAY_PING:
    case PX_RELAY_PONG:
    case PX_RELAY_PROBE:
        return PX_RELAY_NONCE_LEN;
    default: /* a byte from outside */
        return SIZE_MAX;
    }
}

int px_relay_packet_parse(struct px_slice packet, struct px_relay_packet *ret)
{
    struct px_reader r = px_reader(packet);
    struct px_relay_packet p = {0};
    uint8_t type;
    int err = px_reader_u8(&r, &type);
    if (err == 0)
        err = px_reader_copy(&r, p.leg.bytes, sizeof(p.leg.bytes));
    if (err != 0 || px_reader_left(&r) != rest_len(type, px_reader_left(&r)))
        return PX_EPARSE;
    p.type = (enum px_relay_packet_type)type;
    if (p.type == PX_RELAY_DATA)
        p.payload = r.rest;
    else
        err = px_reader_copy(&r, p.nonce.bytes, sizeof(p.nonce.bytes));
    if (err == 0 && px_reader_left(&r) == sizeof(p.mac))
        err = p.type == PX_RELAY_DATA ? 0 : px_reader_copy(&r, p.mac, sizeof(p.mac));
    if (err == 0)
        *ret = p;
    return err == 0 ? 0 : PX_EPARSE;
}

/* MAC = HMAC(leg key, type ‖ leg ‖ nonce)[0..16] */
static void mac_of(const uint8_t *packet, const struct px_relay_leg_key *key,
                   uint8_t ret[PX_RELAY_MAC_LEN])
{
    uint8_t hash[PX_HASH_LEN];
    px_hmac_sha256(px_slice(key->bytes, sizeof(key->bytes)), px_slice(packet, PX_RELAY_PING_LEN),
                   hash);
    memcpy(ret, hash, PX_RELAY_MAC_LEN);
    px_wipe(hash, sizeof(hash));
}

void px_relay_ping_put(uint8_t out[PX_RELAY_PING_LEN], enum px_relay_packet_type type,
                       const struct px_relay_leg_id *leg, const struct px_relay_nonce *nonce)
{
    px_relay_header_put(out, type, leg);
    memcpy(out + PX_RELAY_HEADER_LEN, nonce->bytes, sizeof(nonce->bytes));
}

void px_relay_bind_put(uint8_t out[PX_RELAY_BIND_LEN], enum px_relay_packet_type type,
                       const struct px_relay_leg_id *leg, const struct px_relay_nonce *nonce,
                       const struct px_relay_leg_key *key)
{
    px_relay_ping_put(out, type, leg, nonce);
    mac_of(out, key, out + PX_RELAY_PING_LEN);
}

bool px_relay_bind_check(const struct px_relay_packet *p, const struct px_relay_leg_key *key)
{
    uint8_t again[PX_RELAY_BIND_LEN];
    px_relay_bind_put(again, p->type, &p->leg, &p->nonce, key);
    return px_ct_equal(again + PX_RELAY_PING_LEN, p->mac, sizeof(p->mac));
}

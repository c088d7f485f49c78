/* Relay packets (docs/spec/relay.md §5): the 8-byte header, the bind packets and their MACs.
 *
 * Bytes and keys alone; what a leg is bound to and what is forwarded is relay/circuits. */
#ifndef PX_RELAY_RELAY_PACKET_H
#define PX_RELAY_RELAY_PACKET_H

#include "auth/crypto.h"

#define PX_RELAY_HEADER_LEN 8
#define PX_RELAY_LEG_LEN    7
#define PX_RELAY_NONCE_LEN  16
#define PX_RELAY_MAC_LEN    16
#define PX_RELAY_BIND_LEN   (PX_RELAY_HEADER_LEN + PX_RELAY_NONCE_LEN + PX_RELAY_MAC_LEN)
#define PX_RELAY_PING_LEN   (PX_RELAY_HEADER_LEN + PX_RELAY_NONCE_LEN)

/* The first byte of a packet. QUIC's has 0x40 set. */
enum px_relay_packet_type {
    PX_RELAY_DATA = 0x10,
    PX_RELAY_HELLO = 0x11,
    PX_RELAY_CHALLENGE = 0x12,
    PX_RELAY_ANSWER = 0x13,
    PX_RELAY_BOUND = 0x14,
    PX_RELAY_PING = 0x15,
    PX_RELAY_PONG = 0x16,
    PX_RELAY_PROBE = 0x17,
};

/* A leg's name on the wire. All zero: none. */
struct px_relay_leg_id {
    uint8_t bytes[PX_RELAY_LEG_LEN];
};

struct px_relay_leg_key {
    uint8_t bytes[PX_HASH_LEN];
};

struct px_relay_nonce {
    uint8_t bytes[PX_RELAY_NONCE_LEN];
};

static inline bool px_relay_leg_eq(const struct px_relay_leg_id *a, const struct px_relay_leg_id *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

/* True for a first byte of 0x10 to 0x1f: not QUIC, ours to judge. */
static inline bool px_relay_is_packet(uint8_t first)
{
    return (first & 0xf0) == 0x10;
}

/* `binding` is px_link_binding of the control connection the leg was told on. */
void px_relay_leg_key(struct px_slice binding, const struct px_relay_leg_id *leg,
                      struct px_relay_leg_key *ret);

void px_relay_header_put(uint8_t out[PX_RELAY_HEADER_LEN], enum px_relay_packet_type type,
                         const struct px_relay_leg_id *leg);

struct px_relay_packet {
    enum px_relay_packet_type type;
    struct px_relay_leg_id leg;
    struct px_slice payload;     /* of DATA, a view */
    struct px_relay_nonce nonce; /* of all others */
    uint8_t mac[PX_RELAY_MAC_LEN];
};

/* PX_EPARSE for another type or a length the type does not have. */
PX_MUST_CHECK int px_relay_packet_parse(struct px_slice packet, struct px_relay_packet *ret);

/* HELLO, CHALLENGE, ANSWER or BOUND. */
void px_relay_bind_put(uint8_t out[PX_RELAY_BIND_LEN], enum px_relay_packet_type type,
                       const struct px_relay_leg_id *leg, const struct px_relay_nonce *nonce,
                       const struct px_relay_leg_key *key);
/* Whether the MAC of a parsed bind packet stands. */
bool px_relay_bind_check(const struct px_relay_packet *p, const struct px_relay_leg_key *key);
/* PING, PONG or PROBE. */
void px_relay_ping_put(uint8_t out[PX_RELAY_PING_LEN], enum px_relay_packet_type type,
                       const struct px_relay_leg_id *leg, const struct px_relay_nonce *nonce);

#endif

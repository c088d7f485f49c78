/* Control messages of the relay (docs/spec/relay.md §1, §9, relay.cddl): one struct, one table.
 *
 * A key means the same in every message, so a message is its type and the set of keys present. The
 * table says which a type needs and which it may have. */
#ifndef PX_RELAY_RELAY_MSG_H
#define PX_RELAY_RELAY_MSG_H

#include "auth/peer_id.h"
#include "proto/addr.h"
#include "relay/relay_packet.h"
#include "relay/relay_status.h"

#define PX_RELAY_FRAME_MAX     4096
#define PX_RELAY_RECORDS_MAX   3    /* of one message */
#define PX_RELAY_RECORD_MAX    1200 /* a signed record */
#define PX_RELAY_GONE_MAX      64
#define PX_RELAY_NAMESPACE_MAX 64
#define PX_RELAY_NAME_MAX      63
#define PX_RELAY_COOKIE_MAX    32
#define PX_RELAY_SECRET_LEN    32
#define PX_RELAY_SESSION_LEN   16
#define PX_RELAY_PADDING_MAX   4000
#define PX_RELAY_TTL_MAX_MS    (31ull * 24 * 3600 * 1000)

enum px_relay_key {
    PX_RELAY_K_TYPE = 0,
    PX_RELAY_K_REQUEST = 1,
    PX_RELAY_K_STATUS = 2,
    PX_RELAY_K_PEER = 3,
    PX_RELAY_K_LEG = 4,
    PX_RELAY_K_RATE = 5,
    PX_RELAY_K_BURST = 6,
    PX_RELAY_K_TTL = 7,
    PX_RELAY_K_BYTES = 8,
    PX_RELAY_K_ADDRESS = 9,
    PX_RELAY_K_NAMESPACE = 10,
    PX_RELAY_K_NAME = 11,
    PX_RELAY_K_RECORDS = 12,
    PX_RELAY_K_COOKIE = 13,
    PX_RELAY_K_SECRET = 14,
    PX_RELAY_K_NONCE = 15,
    PX_RELAY_K_SESSION = 16,
    PX_RELAY_K_DIRECTION = 17,
    PX_RELAY_K_SIGNATURE = 18,
    PX_RELAY_K_CLASS = 19,
    PX_RELAY_K_ON = 20,
    PX_RELAY_K_GONE = 21,
    PX_RELAY_K_SPREAD = 22,
    PX_RELAY_K_PADDING = 23,
    PX_RELAY_K_TOTALS = 24, /* to 27 */
    PX_RELAY_KEYS = 28,
};
#define PX_RELAY_BIT(key)   (1u << (key))
#define PX_RELAY_TOTALS_LEN 4

/* X(name, number, needed keys, optional keys, sent by nodes, sent by relays). Keys are named
 * without their prefix. */
#define PX_RELAY_MSG_TABLE(X)                                                                      \
    X(RESERVE, 1, K(REQUEST), 0, true, false)                                                      \
    X(RESERVED, 2, K(REQUEST) | K(STATUS), K(TTL) | K(ADDRESS) | K(CLASS), false, true)            \
    X(RELEASE, 3, K(REQUEST), 0, true, false)                                                      \
    X(STATUS, 4, K(REQUEST) | K(STATUS), K(PEER) | K(TTL) | K(BYTES), false, true)                 \
    X(CONNECT, 5, K(REQUEST) | K(PEER), 0, true, false)                                            \
    X(CONNECTED, 6, K(REQUEST) | K(STATUS),                                                        \
      K(LEG) | K(RATE) | K(BURST) | K(TTL) | K(BYTES) | K(NONCE), false, true)                     \
    X(RING, 7, K(PEER) | K(LEG) | K(RATE) | K(BURST) | K(CLASS), K(TTL) | K(BYTES) | K(NONCE),     \
      false, true)                                                                                 \
    X(CONSENT, 8, K(STATUS) | K(LEG), 0, true, false)                                              \
    X(OPEN, 9, K(LEG), 0, false, true)                                                             \
    X(END, 10, K(STATUS) | K(LEG), 0, true, true)                                                  \
    X(REGISTER, 11, K(REQUEST) | K(NAMESPACE) | K(RECORDS), K(TTL), true, false)                   \
    X(UNREGISTER, 12, K(REQUEST) | K(NAMESPACE), 0, true, false)                                   \
    X(DISCOVER, 13, K(REQUEST) | K(NAMESPACE), K(PEER) | K(NAME) | K(COOKIE), true, false)         \
    X(FOUND, 14, K(REQUEST) | K(STATUS) | K(RECORDS), K(COOKIE), false, true)                      \
    X(WATCH, 15, K(REQUEST) | K(NAMESPACE) | K(ON), 0, true, false)                                \
    X(CHANGED, 16, K(NAMESPACE) | K(RECORDS) | K(GONE), 0, false, true)                            \
    X(OBSERVE, 17, K(REQUEST), 0, true, false)                                                     \
    X(OBSERVED, 18, K(ADDRESS), K(REQUEST), false, true)                                           \
    X(RESTARTING, 19, K(TTL) | K(SPREAD), 0, false, true)                                          \
    X(INVITE, 20, K(REQUEST) | K(TTL) | K(SECRET), 0, true, false)                                 \
    X(UNINVITE, 21, K(REQUEST) | K(SECRET), 0, true, false)                                        \
    X(ADMIT, 22, K(REQUEST) | K(SECRET), 0, true, false)                                           \
    X(VOUCH, 23, K(REQUEST) | K(PEER) | K(ON), 0, true, false)                                     \
    X(REPORT, 24, K(REQUEST) | K(PEER) | K(BYTES) | K(SESSION) | K(DIRECTION) | K(SIGNATURE), 0,   \
      true, false)                                                                                 \
    X(TOTALS, 25, K(REQUEST) | K(PEER), 0, true, false)                                            \
    X(TOTALS_ARE, 26, K(REQUEST) | K(STATUS) | (15u << 24), 0, false, true)                        \
    X(PROBE, 27, K(REQUEST) | K(ADDRESS), 0, true, false)                                          \
    X(PADDING, 28, K(REQUEST) | K(PADDING), 0, true, false)                                        \
    X(SEEN, 29, K(REQUEST) | K(NONCE), 0, true, false)

enum px_relay_msg_type {
    PX_RELAY_MSG_NONE = 0, /* a type we do not know */
#define X(name, number, needed, optional, by_node, by_relay) PX_RELAY_MSG_##name = number,
    PX_RELAY_MSG_TABLE(X)
#undef X
};

/* Views (slices) point into the decoded bytes. */
struct px_relay_msg {
    enum px_relay_msg_type type;
    uint32_t keys; /* PX_RELAY_BIT of what is present */
    uint32_t request;
    uint32_t status; /* mostly enum px_relay_status */
    struct px_peer_id peer;
    struct px_relay_leg_id leg;
    uint64_t rate, burst, ttl_ms, bytes, spread_ms;
    struct px_addr address;
    struct px_slice name_space, name, cookie, padding;
    struct px_slice records[PX_RELAY_RECORDS_MAX];
    size_t record_count;
    struct px_peer_id gone[PX_RELAY_GONE_MAX];
    size_t gone_count;
    uint8_t secret[PX_RELAY_SECRET_LEN];
    struct px_relay_nonce nonce;
    uint8_t session[PX_RELAY_SESSION_LEN];
    unsigned direction; /* enum px_relay_direction */
    uint8_t signature[PX_ED25519_SIG_LEN];
    enum px_relay_class class;
    bool on;
    uint64_t totals[PX_RELAY_TOTALS_LEN];
};

enum px_relay_direction { PX_RELAY_SENT = 1, PX_RELAY_RECEIVED = 2 };
enum px_relay_total {
    PX_RELAY_SENT_CONFIRMED,
    PX_RELAY_SENT_TOTAL,
    PX_RELAY_RECEIVED_CONFIRMED,
    PX_RELAY_RECEIVED_TOTAL,
};

static inline bool px_relay_msg_has(const struct px_relay_msg *m, enum px_relay_key key)
{
    return (m->keys & PX_RELAY_BIT(key)) != 0;
}

/* Appends the body of a frame. What `keys` names is written; needed keys need not be named.
 * PX_EINVAL for a value that could not be read back, PX_ENOMEM, PX_ELIMIT. */
int px_relay_msg_put(struct px_buf *out, const struct px_relay_msg *m);
/* The same with the frame's length before it. */
int px_relay_msg_put_frame(struct px_buf *out, const struct px_relay_msg *m);
/* Reads a frame's body. An unknown type is no error: type is then NONE. PX_EPARSE, PX_ETRUNC,
 * PX_ELIMIT for anything malformed; ret is then unchanged. */
PX_MUST_CHECK int px_relay_msg_decode(struct px_slice body, struct px_relay_msg *ret);
/* Whether nodes (else relays) send this type. */
bool px_relay_msg_from_node(enum px_relay_msg_type type);
bool px_relay_msg_from_relay(enum px_relay_msg_type type);
/* "reserve" and the like, for logs. */
const char *px_relay_msg_name(enum px_relay_msg_type type);

#endif

/* The bytes of an announcement (docs/spec/lan.md §2): writing one for the listed peers, reading
 * one, and finding out which listed peer sent it. A core without state. */
#ifndef PX_NODE_LAN_PACKET_H
#define PX_NODE_LAN_PACKET_H

#include "node/lan_keys.h"
#include "proto/addr.h"

#define PX_LAN_VERSION    1
#define PX_LAN_NONCE_LEN  16
#define PX_LAN_TAG_LEN    8
#define PX_LAN_SLOTS_MAX  128 /* tags in one packet */
#define PX_LAN_HEADER_LEN (4 + PX_LAN_NONCE_LEN)
#define PX_LAN_PACKET_MAX (PX_LAN_HEADER_LEN + PX_LAN_SLOTS_MAX * PX_LAN_TAG_LEN)

enum px_lan_kind { PX_LAN_ANNOUNCE = 0, PX_LAN_HELLO = 1 };

struct px_lan_packet {
    enum px_lan_kind kind;
    uint16_t port;
    uint8_t nonce[PX_LAN_NONCE_LEN];
    size_t slots; /* 8, 32 or 128 */
    uint64_t tags[PX_LAN_SLOTS_MAX];
};

/* How many packets it takes to announce to all of `keys`; 0 when there is nobody. */
size_t px_lan_packet_count(const struct px_lan_keys *keys);
/* Writes the nth of them and returns its length. `source` is the address it will be sent from (port
 * and scope do not matter). */
size_t px_lan_packet_write(const struct px_lan_keys *keys, size_t nth, enum px_lan_kind kind,
                           const struct px_addr *source, uint16_t port, const struct px_rng *rng,
                           uint8_t ret[PX_LAN_PACKET_MAX]);
/* PX_EPARSE for what is no announcement of this version. */
PX_MUST_CHECK int px_lan_packet_read(struct px_slice datagram, struct px_lan_packet *ret);
/* The listed peer that sent it from `source`, or NULL. Sorts the tags. Costs at most one tag a key;
 * *ret_tags counts them. */
const struct px_lan_key *px_lan_packet_sender(const struct px_lan_keys *keys,
                                              struct px_lan_packet *packet,
                                              const struct px_addr *source, uint64_t *ret_tags);

#endif

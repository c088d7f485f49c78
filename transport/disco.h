/* Disco packets: small sealed datagrams beside QUIC that prove paths (docs/spec/paths.md §2). The
 * packets alone; who sends which one and when is transport/link_path. */
#ifndef PX_TRANSPORT_DISCO_H
#define PX_TRANSPORT_DISCO_H

#include "auth/noise.h"
#include "proto/addr.h"

#define PX_DISCO_LEN 68 /* bytes of every packet */
#define PX_DISCO_WINDOW                                                                            \
    64 /* counters below the highest one seen that are still taken, once each                      \
        */

enum px_disco_type { PX_DISCO_PING = 1, PX_DISCO_PONG = 2, PX_DISCO_MOVED = 3 };

struct px_disco_packet {
    enum px_disco_type type;
    uint64_t nonce;
    uint64_t challenge;      /* pong: a nonce to be echoed, 0 for none; else 0 */
    struct px_addr observed; /* pong: where the question came from; else no address */
};

/* One link's keys and counters. */
struct px_disco {
    struct px_aead_key send_key, recv_key;
    uint64_t peer_index; /* what we write; see px_disco_seal */
    uint64_t send_counter;
    uint64_t recv_top;    /* the highest counter opened, plus 1; 0 at first */
    uint64_t recv_window; /* bit i: counter recv_top - 1 - i was opened */
};

/* Keys from Noise's Split. The peer's index is to be set before sealing. */
void px_disco_init(struct px_disco *d, enum px_noise_role role, const struct px_noise_keys *keys);
void px_disco_deinit(struct px_disco *d);

/* Whether a datagram is one by its length and first byte, and for which index. Nothing is
 * authentic yet. PX_EPARSE. */
PX_MUST_CHECK int px_disco_index(struct px_slice datagram, uint64_t *ret_index);
/* Opens one. PX_EPARSE; PX_ECRYPTO when it is not authentic; PX_EEXIST when its counter was seen
 * or is too old. */
PX_MUST_CHECK int px_disco_open(struct px_disco *d, struct px_slice datagram,
                                struct px_disco_packet *ret);
/* Seals one, PX_DISCO_LEN bytes. PX_ENOMEM. */
PX_MUST_CHECK int px_disco_seal(struct px_disco *d, const struct px_disco_packet *p,
                                uint8_t ret[PX_DISCO_LEN]);

#endif

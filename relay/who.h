/* Who is at this address (docs/spec/relay.md §5, WHO and AM): asked by somebody who knows a relay's
 * address and not its ID, before there is any link. The answer proves that the relay holds the key
 * it names, now; whether that is the relay one means is for people to judge.
 *
 * The relay keeps nothing of a question but what it has answered its source lately. */
#ifndef PX_RELAY_WHO_H
#define PX_RELAY_WHO_H

#include "auth/identity.h"
#include "proto/addr.h"
#include "relay/relay_packet.h"

struct px_who;

#define PX_RELAY_WHO_PACKET 0x18 /* first bytes, beside enum px_relay_packet_type */
#define PX_RELAY_AM_PACKET  0x19
#define PX_RELAY_AM_LEN     (PX_RELAY_PING_LEN + PX_ED25519_PK_LEN + PX_ED25519_SIG_LEN)
#define PX_RELAY_WHO_LEN    PX_RELAY_AM_LEN /* so that nothing grows on its way back */

#define PX_WHO_SOURCES   1024 /* remembered; a newer one takes the place of another */
#define PX_WHO_BURST     8    /* answers to a source (an IPv4 address, an IPv6 /56), */
#define PX_WHO_RATE      2    /* and a second; */
#define PX_WHO_BURST_ALL 200  /* to all of them, */
#define PX_WHO_RATE_ALL  100  /* and a second: each costs a signature */

/* ---- packets ---- */

void px_relay_who_put(uint8_t out[PX_RELAY_WHO_LEN], const struct px_relay_nonce *nonce);
/* PX_EPARSE for what is none. */
PX_MUST_CHECK int px_relay_who_parse(struct px_slice packet, struct px_relay_nonce *ret);
void px_relay_am_put(uint8_t out[PX_RELAY_AM_LEN], const struct px_relay_nonce *nonce,
                     const struct px_identity *identity);
/* PX_EPARSE for what is none, PX_ECRYPTO when it answers another question or its signature does
 * not stand. */
PX_MUST_CHECK int px_relay_am_check(struct px_slice packet, const struct px_relay_nonce *nonce,
                                    struct px_peer_id *ret);

/* ---- the relay's side ---- */

/* The identity is borrowed. PX_ENOMEM. */
PX_MUST_CHECK int px_who_new(const struct px_identity *identity, const struct px_rng *rng,
                             struct px_who **ret);
void px_who_free(struct px_who *w);
/* A datagram whose first byte is PX_RELAY_WHO_PACKET. True with the answer, for where it came from;
 * false meets silence. `from` is the source that is counted. */
PX_MUST_CHECK bool px_who_answer(struct px_who *w, struct px_slice packet,
                                 const struct px_addr *from, px_nsec now,
                                 uint8_t ret[PX_RELAY_AM_LEN]);
struct px_who_stats {
    uint64_t answered, refused; /* refused: one too many */
};
const struct px_who_stats *px_who_stats(const struct px_who *w);

#endif

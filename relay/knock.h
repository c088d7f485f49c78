/* Who was refused lately, so that handshakes that lead nowhere do not take the time of those that
 * do (docs/spec/relay.md §7). A source (an IPv4 address, an IPv6 /56) with a refusal is metered:
 * each address and port behind it begins a handshake with a token of the source. Links that are up
 * are not touched, and no source is shut: members may live behind the same NAT or proxy as whoever
 * was refused. */
#ifndef PX_RELAY_KNOCK_H
#define PX_RELAY_KNOCK_H

#include "proto/addr.h"

struct px_knock;

#define PX_KNOCK_SOURCES 4096 /* remembered; a newer one takes the place of another */
#define PX_KNOCK_BURST   64   /* handshakes that may begin, */
#define PX_KNOCK_RATE    8    /* and a second, of a source that was refused */
/* Of one where a member or vouched node was within PX_KNOCK_FRIEND_TIME. */
#define PX_KNOCK_FRIEND_BURST 256
#define PX_KNOCK_FRIEND_RATE  128
#define PX_KNOCK_FRIEND_TIME  (24 * 3600 * PX_SEC)
#define PX_KNOCK_FRIENDS      4096 /* addresses and ports of friends that are remembered */
/* A handshake takes several packets: what one token is good for, of one address and port. Until the
 * time is over it gets no other, so that one port that floods takes nothing from its neighbours. */
#define PX_KNOCK_PACKETS 6
#define PX_KNOCK_WINDOW  (10 * PX_SEC)

PX_MUST_CHECK int px_knock_new(const struct px_rng *rng, struct px_knock **ret);
void px_knock_free(struct px_knock *k);
/* A handshake from there was refused. */
void px_knock_refused(struct px_knock *k, const struct px_addr *remote, px_nsec now);
/* A member's or vouched node's link is there, or was until now. From that very address and port
 * handshakes need no token, whatever others behind it do. */
void px_knock_befriend(struct px_knock *k, const struct px_addr *remote, px_nsec now);
/* Whether a datagram from there may reach QUIC; false for an Initial that is one too many. */
bool px_knock_allows(struct px_knock *k, const struct px_addr *remote, uint8_t first, px_nsec now);

#endif

/* Who was refused lately, so that handshakes that lead nowhere do not take the time of those that
 * do: a source (an IPv4 address, an IPv6 /56) with a refusal gets few further handshakes a second
 * (docs/spec/relay.md §7). Links that are up are not touched. */
#ifndef PX_RELAY_KNOCK_H
#define PX_RELAY_KNOCK_H

#include "proto/addr.h"

struct px_knock;

#define PX_KNOCK_SOURCES 4096 /* remembered; a newer one takes the place of another */
#define PX_KNOCK_BURST   64   /* packets that begin or go on with a handshake, */
#define PX_KNOCK_RATE    8    /* and a second, of a source that was refused */

PX_MUST_CHECK int px_knock_new(const struct px_rng *rng, struct px_knock **ret);
void px_knock_free(struct px_knock *k);
/* A handshake from there was refused. */
void px_knock_refused(struct px_knock *k, const struct px_addr *remote, px_nsec now);
/* Whether a datagram from there may reach QUIC; false for an Initial that is one too many. */
bool px_knock_allows(struct px_knock *k, const struct px_addr *remote, uint8_t first, px_nsec now);

#endif

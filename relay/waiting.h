/* Datagrams of handshakes that wait until the relay has nothing better to do, so that strangers who
 * knock, each of whom costs a good part of a millisecond, do not stand before those who are in.
 *
 * A queue of fixed size, first come first served, of which a source (an IPv4 address, an IPv6 /56)
 * gets a part, so that one that floods leaves room for others. What an address sends after a
 * datagram that waits has to wait as well, or it would arrive before. */
#ifndef PX_RELAY_WAITING_H
#define PX_RELAY_WAITING_H

#include "proto/addr.h"
#include "proto/base/slice.h"

struct px_waiting;

#define PX_WAITING_MAX        512 /* datagrams; more are dropped, and sent again by their handshakes */
#define PX_WAITING_PER_SOURCE 64   /* of them */
#define PX_WAITING_BYTES_MAX  1500 /* of one; a longer one belongs to no handshake */

PX_MUST_CHECK int px_waiting_new(const struct px_rng *rng, struct px_waiting **ret);
void px_waiting_free(struct px_waiting *w);
/* Whether a datagram has to wait: it has QUIC's long header, or one of its address is waiting. */
bool px_waiting_wants(const struct px_waiting *w, const struct px_addr *remote, uint8_t first);
/* Copies it. `from`: what counts as its source. PX_ELIMIT when there is no room or it is too long.
 */
PX_MUST_CHECK int px_waiting_put(struct px_waiting *w, const struct px_path *path,
                                 const struct px_addr *from, unsigned ecn,
                                 struct px_slice datagram);
size_t px_waiting_count(const struct px_waiting *w);
bool px_waiting_is_empty(const struct px_waiting *w);
/* Takes the oldest out; false when there is none. The view lives until the next put. */
bool px_waiting_take(struct px_waiting *w, struct px_path *ret_path, unsigned *ret_ecn,
                     struct px_slice *ret_datagram);

#endif

/* Signed records (docs/spec/relay.md §8): what a node says of itself. */
#ifndef PX_RELAY_RECORD_H
#define PX_RELAY_RECORD_H

#include "auth/identity.h"
#include "proto/addr.h"
#include "relay/relay_msg.h"

#define PX_RECORD_MAX        1024 /* bytes of the record inside */
#define PX_RECORD_ADDRS_MAX  16
#define PX_RECORD_RELAYS_MAX 4
#define PX_RECORD_URL_MAX    128

struct px_record {
    struct px_peer_id peer;
    uint64_t sequence;
    struct px_slice name_space;
    struct px_slice name; /* empty: none */
    struct px_addr addrs[PX_RECORD_ADDRS_MAX];
    size_t addr_count;
    uint64_t capabilities;
    struct px_slice relays[PX_RECORD_RELAYS_MAX];
    size_t relay_count;
};

/* Appends the signed record; r->peer is taken from the identity. PX_EINVAL for what could not be
 * read back, PX_ELIMIT, PX_ENOMEM. */
int px_record_sign(const struct px_identity *identity, const struct px_record *r,
                   struct px_buf *out);
/* Reads one and checks its signature. Views point into `bytes`. PX_EPARSE, PX_ELIMIT, PX_ECRYPTO.
 */
PX_MUST_CHECK int px_record_verify(struct px_slice bytes, struct px_record *ret);

#endif

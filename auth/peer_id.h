/* libp2p peer IDs, ed25519 only: the public key is the identity.
 *
 * Text forms (libp2p peer-ids spec): base58btc of the identity multihash of the protobuf public key
 * ("12D3KooW…", the one we print), and CIDv1 with codec libp2p-key in multibase b, k or z. */
#ifndef PX_AUTH_PEER_ID_H
#define PX_AUTH_PEER_ID_H

#include "auth/crypto.h"

struct px_peer_id {
    uint8_t key[PX_ED25519_PK_LEN];
};

#define PX_PEER_ID_TEXT_MAX 64 /* 52 characters and a NUL; room to spare */

static inline bool px_peer_id_eq(const struct px_peer_id *a, const struct px_peer_id *b)
{
    return memcmp(a->key, b->key, sizeof(a->key)) == 0;
}

/* Either text form, nothing around it. PX_EPARSE, or PX_EUNSUPPORTED for another key type. */
PX_MUST_CHECK int px_peer_id_parse(struct px_slice text, struct px_peer_id *ret);
/* "12D3KooW…", NUL-terminated. Returns out. */
const char *px_peer_id_format(const struct px_peer_id *id, char out[PX_PEER_ID_TEXT_MAX]);

#endif

/* A node's identity: its ed25519 key pair, and the PKCS#8 PEM text that holds it (RFC 8410).
 * The file itself is handled by auth/identity_io. */
#ifndef PX_AUTH_IDENTITY_H
#define PX_AUTH_IDENTITY_H

#include "auth/peer_id.h"

/* Holds a secret: never copied by `=`, ended by px_identity_wipe. */
struct px_identity {
    struct px_peer_id id;
    struct px_ed25519_secret secret;
};

void px_identity_generate(const struct px_rng *rng, struct px_identity *ret);
void px_identity_wipe(struct px_identity *i);

/* "-----BEGIN PRIVATE KEY-----" …, as `openssl genpkey -algorithm ed25519` writes it. */
PX_MUST_CHECK int px_identity_to_pem(const struct px_identity *i, struct px_buf *out);
/* PX_EPARSE, or PX_EUNSUPPORTED for another algorithm (also encrypted keys). */
PX_MUST_CHECK int px_identity_from_pem(struct px_slice pem, struct px_identity *ret);

#endif

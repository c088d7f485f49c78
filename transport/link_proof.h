/* What the handshake's messages carry: the proofs of message 1 and the identity payloads of
 * messages 2 and 3 (docs/spec/handshake.md §3 to §5). Pure functions; the order of things is
 * transport/link_handshake. */
#ifndef PX_TRANSPORT_LINK_PROOF_H
#define PX_TRANSPORT_LINK_PROOF_H

#include "auth/identity.h"
#include "auth/noise.h"
#include "transport/quic.h"

#define PX_PROOF_LEN        16
#define PX_BOOT_ID_LEN      16
#define PX_AGENT_MAX        64
#define PX_LINK_VERSION     1u
#define PX_LINK_PAYLOAD_MAX 512 /* bytes of any payload we write */

/* What both ends know of the channel before the first message. */
struct px_channel {
    struct px_slice network;
    struct px_slice exporter; /* PX_QUIC_EXPORTER_LEN bytes */
};

/* Appends the Noise prologue. */
PX_MUST_CHECK int px_proof_prologue(const struct px_channel *channel, struct px_buf *out);

/* Appends the payload of message 1, for the target and our ephemeral public key. */
PX_MUST_CHECK int px_proof_put(const struct px_channel *channel, const struct px_peer_id *target,
                               const uint8_t ephemeral[PX_X25519_LEN], struct px_buf *out);
/* Checks such a payload as `target`, in the order of the specification: PX_EPARSE or PX_ETRUNC,
 * then PX_ETARGET, PX_EBINDING, PX_ENETWORK. */
PX_MUST_CHECK int px_proof_check(const struct px_channel *channel, const struct px_peer_id *target,
                                 const uint8_t ephemeral[PX_X25519_LEN], struct px_slice payload);

/* What a peer says of itself in message 2 or 3. */
struct px_link_hello {
    struct px_peer_id id;
    uint8_t signature[PX_ED25519_SIG_LEN];
    uint8_t boot_id[PX_BOOT_ID_LEN];
    char agent[PX_AGENT_MAX + 1];
    uint32_t version;
    uint64_t capabilities;
    bool guest; /* initiator: it comes to be let in though it may not be listed */
};

/* What the signature covers besides domain and role. */
struct px_hello_context {
    enum px_noise_role role;     /* the signer's */
    const uint8_t *hash;         /* h before the message, 32 bytes */
    const uint8_t *noise_static; /* the signer's Noise static public key */
};

/* Signs and appends; hello->id and ->signature are not read. */
PX_MUST_CHECK int px_hello_put(const struct px_link_hello *hello,
                               const struct px_identity *identity,
                               const struct px_hello_context *context, struct px_buf *out);
/* Decodes only. PX_EPARSE, PX_ETRUNC. */
PX_MUST_CHECK int px_hello_decode(struct px_slice payload, struct px_link_hello *ret);
/* PX_EBINDING unless the signature stands in this context. */
PX_MUST_CHECK int px_hello_verify(const struct px_link_hello *hello,
                                  const struct px_hello_context *context);

#endif

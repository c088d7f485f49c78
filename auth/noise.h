/* Noise_XX_25519_ChaChaPoly_SHA256 (Noise rev 34) as a pure state machine.
 *
 * A failed step leaves the object exactly as it was, so that the caller can tell why and then drop
 * it; secrets are wiped by px_noise_free. Payload encryption, splitting and the handshake hash are
 * the specification's; transport messages are not used by peerix (the TLS channel carries the
 * data), the Split keys seed other packet keys. */
#ifndef PX_AUTH_NOISE_H
#define PX_AUTH_NOISE_H

#include "auth/crypto.h"

enum px_noise_role { PX_NOISE_INITIATOR, PX_NOISE_RESPONDER };

#define PX_NOISE_MSG_MAX 65535

struct px_noise;

struct px_noise_keys {
    struct px_aead_key initiator_to_responder, responder_to_initiator;
};

/* `prologue` is hashed now and need not live on. `rng` gives the ephemeral key when it is needed
 * (tests hand in one that returns the vector's key) and must outlive the object. */
PX_MUST_CHECK int px_noise_new(enum px_noise_role role, struct px_slice prologue,
                               const struct px_x25519_secret *static_key, const struct px_rng *rng,
                               struct px_noise **ret);
void px_noise_free(struct px_noise *n);

/* Appends the next message to out. PX_ESTATE when it is not our turn or the handshake is over,
 * PX_ELIMIT when the message would pass PX_NOISE_MSG_MAX or out's maximum, PX_ENOMEM. After a
 * failure out is as long as before, and a later attempt uses a new ephemeral key. */
PX_MUST_CHECK int px_noise_write(struct px_noise *n, struct px_slice payload, struct px_buf *out);
/* Reads the peer's message, appends its payload to ret_payload (which must not hold msg itself).
 * PX_ESTATE, PX_ETRUNC, PX_ECRYPTO (not authentic, or a low-order key), PX_ELIMIT (longer than
 * PX_NOISE_MSG_MAX, or more payload than ret_payload takes), PX_ENOMEM. */
PX_MUST_CHECK int px_noise_read(struct px_noise *n, struct px_slice msg,
                                struct px_buf *ret_payload);

bool px_noise_done(const struct px_noise *n);
/* 1, 2, 3 for the message due next, 4 when done. */
int px_noise_next_message(const struct px_noise *n);
/* The handshake hash h as it is now; final (channel binding) once done. Valid until the next step.
 */
const uint8_t *px_noise_hash(const struct px_noise *n);
/* The peer's static public key; NULL before it is known. */
const uint8_t *px_noise_remote_static(const struct px_noise *n);
/* The two keys of Split(). PX_ESTATE before the end. */
PX_MUST_CHECK int px_noise_split(const struct px_noise *n, struct px_noise_keys *ret);

#endif

/* The one home of libsodium: primitives under their own names, secrets as types of their own.
 *
 * Bulk hashing of NARs is not here: libsodium's SHA-256 is portable C and four times slower than
 * the one node/nix/nar_hash.c uses. */
#ifndef PX_AUTH_CRYPTO_H
#define PX_AUTH_CRYPTO_H

#include "proto/base/buf.h"

#define PX_X25519_LEN      32
#define PX_HASH_LEN        32 /* SHA-256 */
#define PX_AEAD_KEY_LEN    32
#define PX_AEAD_TAG_LEN    16
#define PX_ED25519_PK_LEN  32
#define PX_ED25519_SIG_LEN 64

/* Must be called once before anything else here; may be called again. PX_ECRYPTO if the system
 * gives no randomness. */
PX_MUST_CHECK int px_crypto_init(void);

/* The system's generator. */
extern const struct px_rng px_system_rng;

/* Overwrites memory in a way the compiler may not remove. */
void px_wipe(void *buf, size_t len);
/* Compares in time that depends on len alone. */
bool px_ct_equal(const void *a, const void *b, size_t len);

void px_sha256(struct px_slice in, uint8_t ret[PX_HASH_LEN]);
/* SHA-256 over a ‖ b. */
void px_sha256_2(struct px_slice a, struct px_slice b, uint8_t ret[PX_HASH_LEN]);
void px_hmac_sha256(struct px_slice key, struct px_slice in, uint8_t ret[PX_HASH_LEN]);
/* RFC 5869, up to 255 * 32 bytes. */
void px_hkdf_sha256(struct px_slice salt, struct px_slice ikm, struct px_slice info, uint8_t *ret,
                    size_t ret_len);

struct px_x25519_secret {
    uint8_t bytes[PX_X25519_LEN];
};
void px_x25519_generate(const struct px_rng *rng, struct px_x25519_secret *ret_sk,
                        uint8_t ret_pk[PX_X25519_LEN]);
void px_x25519_public(const struct px_x25519_secret *sk, uint8_t ret_pk[PX_X25519_LEN]);
/* PX_ECRYPTO when the result is all zero (a low-order public key). */
PX_MUST_CHECK int px_x25519(const struct px_x25519_secret *sk, const uint8_t pk[PX_X25519_LEN],
                            uint8_t ret_shared[PX_X25519_LEN]);

struct px_aead_key {
    uint8_t bytes[PX_AEAD_KEY_LEN];
};
/* ChaCha20-Poly1305 (RFC 8439) with Noise's nonce: 4 zero bytes, then n little-endian.
 * seal appends text.len + 16 bytes to out; open appends text.len - 16, or returns PX_ECRYPTO and
 * appends nothing. */
PX_MUST_CHECK int px_aead_seal(const struct px_aead_key *key, uint64_t n, struct px_slice ad,
                               struct px_slice text, struct px_buf *out);
PX_MUST_CHECK int px_aead_open(const struct px_aead_key *key, uint64_t n, struct px_slice ad,
                               struct px_slice sealed, struct px_buf *out);

/* libsodium's 64-byte form: seed ‖ public key. */
struct px_ed25519_secret {
    uint8_t bytes[64];
};
void px_ed25519_from_seed(const uint8_t seed[32], struct px_ed25519_secret *ret_sk,
                          uint8_t ret_pk[PX_ED25519_PK_LEN]);
void px_ed25519_sign(const struct px_ed25519_secret *sk, struct px_slice msg,
                     uint8_t ret_sig[PX_ED25519_SIG_LEN]);
/* PX_ECRYPTO unless the signature stands. */
PX_MUST_CHECK int px_ed25519_verify(const uint8_t pk[PX_ED25519_PK_LEN], struct px_slice msg,
                                    const uint8_t sig[PX_ED25519_SIG_LEN]);
/* The same key on Curve25519, for a shared secret of two identities. PX_ECRYPTO for a public key
 * that is no point of the main subgroup. */
void px_ed25519_secret_to_x25519(const struct px_ed25519_secret *sk,
                                 struct px_x25519_secret *ret_sk);
PX_MUST_CHECK int px_ed25519_public_to_x25519(const uint8_t pk[PX_ED25519_PK_LEN],
                                              uint8_t ret_pk[PX_X25519_LEN]);

#endif

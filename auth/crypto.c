/* Thin wrappers over libsodium, plus HKDF (RFC 5869), which libsodium 1.0.18 does not have.
 *
 * Nothing here allocates or fails except where the header says so. */
#include "auth/crypto.h"

#include <sodium.h>

_Static_assert(PX_X25519_LEN == crypto_scalarmult_curve25519_BYTES, "X25519 length");
_Static_assert(PX_HASH_LEN == crypto_hash_sha256_BYTES, "SHA-256 length");
_Static_assert(PX_AEAD_KEY_LEN == crypto_aead_chacha20poly1305_ietf_KEYBYTES, "AEAD key length");
_Static_assert(PX_AEAD_TAG_LEN == crypto_aead_chacha20poly1305_ietf_ABYTES, "AEAD tag length");
_Static_assert(PX_ED25519_PK_LEN == crypto_sign_ed25519_PUBLICKEYBYTES, "ed25519 key length");
_Static_assert(PX_ED25519_SIG_LEN == crypto_sign_ed25519_BYTES, "ed25519 signature length");
_Static_assert(sizeof(struct px_ed25519_secret) == crypto_sign_ed25519_SECRETKEYBYTES,
               "ed25519 secret length");

/* libsodium declares its inputs as never NULL; an empty slice may be. */
static const uint8_t *bytes(struct px_slice s)
{
    static const uint8_t none[1];
    return s.data != NULL ? s.data : none;
}

int px_crypto_init(void)
{
    return sodium_init() < 0 ? PX_ECRYPTO : 0;
}

static void system_fill(void *ctx, void *buf, size_t len)
{
    (void)ctx;
    randombytes_buf(buf, len);
}

const struct px_rng px_system_rng = {system_fill, NULL};

void px_wipe(void *buf, size_t len)
{
    sodium_memzero(buf, len);
}

bool px_ct_equal(const void *a, const void *b, size_t len)
{
    return sodium_memcmp(a, b, len) == 0;
}

void px_sha256(struct px_slice in, uint8_t ret[PX_HASH_LEN])
{
    px_sha256_2(in, px_slice(NULL, 0), ret);
}

void px_sha256_2(struct px_slice a, struct px_slice b, uint8_t ret[PX_HASH_LEN])
{
    crypto_hash_sha256_state st;
    crypto_hash_sha256_init(&st);
    crypto_hash_sha256_update(&st, bytes(a), a.len);
    crypto_hash_sha256_update(&st, bytes(b), b.len);
    crypto_hash_sha256_final(&st, ret);
    sodium_memzero(&st, sizeof(st));
}

static void hmac3(struct px_slice key, struct px_slice a, struct px_slice b, struct px_slice c,
                  uint8_t ret[PX_HASH_LEN])
{
    crypto_auth_hmacsha256_state st;
    crypto_auth_hmacsha256_init(&st, bytes(key), key.len);
    crypto_auth_hmacsha256_update(&st, bytes(a), a.len);
    crypto_auth_hmacsha256_update(&st, bytes(b), b.len);
    crypto_auth_hmacsha256_update(&st, bytes(c), c.len);
    crypto_auth_hmacsha256_final(&st, ret);
    sodium_memzero(&st, sizeof(st));
}

void px_hmac_sha256(struct px_slice key, struct px_slice in, uint8_t ret[PX_HASH_LEN])
{
    hmac3(key, in, px_slice(NULL, 0), px_slice(NULL, 0), ret);
}

void px_hkdf_sha256(struct px_slice salt, struct px_slice ikm, struct px_slice info, uint8_t *ret,
                    size_t ret_len)
{
    px_assert(ret_len <= (size_t)255 * PX_HASH_LEN);
    uint8_t prk[PX_HASH_LEN], block[PX_HASH_LEN];
    /* RFC 5869 §2.2: PRK = HMAC-Hash(salt, IKM) */
    px_hmac_sha256(salt, ikm, prk);
    /* RFC 5869 §2.3: T(i) = HMAC-Hash(PRK, T(i-1) | info | i), T(0) empty */
    size_t block_len = 0;
    for (uint8_t i = 1; ret_len > 0; i++) {
        hmac3(px_slice(prk, sizeof(prk)), px_slice(block, block_len), info, px_slice(&i, 1), block);
        block_len = sizeof(block);
        size_t n = PX_MIN(ret_len, block_len);
        memcpy(ret, block, n);
        ret += n;
        ret_len -= n;
    }
    sodium_memzero(prk, sizeof(prk));
    sodium_memzero(block, sizeof(block));
}

void px_x25519_generate(const struct px_rng *rng, struct px_x25519_secret *ret_sk,
                        uint8_t ret_pk[PX_X25519_LEN])
{
    rng->fill(rng->ctx, ret_sk->bytes, sizeof(ret_sk->bytes));
    px_x25519_public(ret_sk, ret_pk);
}

void px_x25519_public(const struct px_x25519_secret *sk, uint8_t ret_pk[PX_X25519_LEN])
{
    crypto_scalarmult_curve25519_base(ret_pk, sk->bytes);
}

int px_x25519(const struct px_x25519_secret *sk, const uint8_t pk[PX_X25519_LEN],
              uint8_t ret_shared[PX_X25519_LEN])
{
    uint8_t shared[PX_X25519_LEN];
    int err = crypto_scalarmult_curve25519(shared, sk->bytes, pk) == 0 ? 0 : PX_ECRYPTO;
    if (err == 0)
        memcpy(ret_shared, shared, sizeof(shared));
    sodium_memzero(shared, sizeof(shared));
    return err;
}

/* Noise §12.3: "the 96-bit nonce is formed by encoding 32 bits of zeros followed by little-endian
 * encoding of n" */
static void noise_nonce(uint64_t n, uint8_t ret[crypto_aead_chacha20poly1305_ietf_NPUBBYTES])
{
    memset(ret, 0, 4);
    for (size_t i = 0; i < 8; i++)
        ret[4 + i] = (uint8_t)(n >> (8 * i));
}

int px_aead_seal(const struct px_aead_key *key, uint64_t n, struct px_slice ad,
                 struct px_slice text, struct px_buf *out)
{
    uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
    if (text.len > SIZE_MAX - PX_AEAD_TAG_LEN)
        return PX_ELIMIT;
    uint8_t *at = px_buf_reserve(out, text.len + PX_AEAD_TAG_LEN);
    if (at == NULL)
        return out->err;
    noise_nonce(n, nonce);
    crypto_aead_chacha20poly1305_ietf_encrypt(at, NULL, text.data, text.len, ad.data, ad.len, NULL,
                                              nonce, key->bytes);
    px_buf_commit(out, text.len + PX_AEAD_TAG_LEN);
    return 0;
}

int px_aead_open(const struct px_aead_key *key, uint64_t n, struct px_slice ad,
                 struct px_slice sealed, struct px_buf *out)
{
    uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
    if (sealed.len < PX_AEAD_TAG_LEN)
        return PX_ECRYPTO;
    size_t len = sealed.len - PX_AEAD_TAG_LEN;
    uint8_t *at = px_buf_reserve(out, len);
    if (at == NULL)
        return out->err;
    noise_nonce(n, nonce);
    if (crypto_aead_chacha20poly1305_ietf_decrypt(at, NULL, NULL, sealed.data, sealed.len, ad.data,
                                                  ad.len, nonce, key->bytes) != 0)
        return PX_ECRYPTO;
    px_buf_commit(out, len);
    return 0;
}

void px_ed25519_from_seed(const uint8_t seed[32], struct px_ed25519_secret *ret_sk,
                          uint8_t ret_pk[PX_ED25519_PK_LEN])
{
    crypto_sign_ed25519_seed_keypair(ret_pk, ret_sk->bytes, seed);
}

void px_ed25519_sign(const struct px_ed25519_secret *sk, struct px_slice msg,
                     uint8_t ret_sig[PX_ED25519_SIG_LEN])
{
    crypto_sign_ed25519_detached(ret_sig, NULL, bytes(msg), msg.len, sk->bytes);
}

int px_ed25519_verify(const uint8_t pk[PX_ED25519_PK_LEN], struct px_slice msg,
                      const uint8_t sig[PX_ED25519_SIG_LEN])
{
    return crypto_sign_ed25519_verify_detached(sig, bytes(msg), msg.len, pk) == 0 ? 0 : PX_ECRYPTO;
}

void px_ed25519_secret_to_x25519(const struct px_ed25519_secret *sk,
                                 struct px_x25519_secret *ret_sk)
{
    crypto_sign_ed25519_sk_to_curve25519(ret_sk->bytes, sk->bytes);
}

int px_ed25519_public_to_x25519(const uint8_t pk[PX_ED25519_PK_LEN], uint8_t ret_pk[PX_X25519_LEN])
{
    uint8_t converted[PX_X25519_LEN];
    if (crypto_sign_ed25519_pk_to_curve25519(converted, pk) != 0)
        return PX_ECRYPTO;
    memcpy(ret_pk, converted, sizeof(converted));
    return 0;
}

/* libsodium's primitives under our names, against the vectors of the RFCs that define them. */
#include "auth/crypto.h"
#include "proto/base/encoding.h"
#include "tests/test.h"

static size_t hex(const char *text, uint8_t *dst, size_t cap)
{
    size_t len = 0;
    CHECK_OK(px_hex_decode(px_slice_cstr(text), dst, cap, &len));
    return len;
}

static void check_hex(struct px_slice got, const char *want)
{
    struct px_buf b;
    px_buf_init(&b, 4096);
    CHECK_OK(px_hex_encode(&b, got));
    CHECK_SLICE(px_buf_slice(&b), px_slice_cstr(want));
    px_buf_deinit(&b);
}

TEST(init_may_be_called_twice_and_the_generator_gives_different_bytes)
{
    CHECK_OK(px_crypto_init());
    CHECK_OK(px_crypto_init());
    uint8_t a[32] = {0}, b[32] = {0};
    px_system_rng.fill(px_system_rng.ctx, a, sizeof(a));
    px_system_rng.fill(px_system_rng.ctx, b, sizeof(b));
    CHECK(!px_ct_equal(a, b, sizeof(a)));
    px_wipe(a, sizeof(a));
    CHECK(px_ct_equal(a, (const uint8_t[32]){0}, sizeof(a)));
}

TEST(sha256_hashes_the_concatenation_of_its_parts)
{
    uint8_t h[PX_HASH_LEN];
    px_sha256(px_slice(NULL, 0), h); /* FIPS 180-4 */
    check_hex(px_slice(h, 32), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    px_sha256(PX_SLICE_LIT("abc"), h);
    check_hex(px_slice(h, 32), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    px_sha256_2(PX_SLICE_LIT("a"), PX_SLICE_LIT("bc"), h);
    check_hex(px_slice(h, 32), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(hmac_matches_rfc_4231_case_2)
{
    uint8_t h[PX_HASH_LEN];
    px_hmac_sha256(PX_SLICE_LIT("Jefe"), PX_SLICE_LIT("what do ya want for nothing?"), h);
    check_hex(px_slice(h, 32), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST(hkdf_matches_rfc_5869)
{
    uint8_t ikm[22], salt[13], info[10], okm[82];
    memset(ikm, 0x0b, sizeof(ikm));
    for (uint8_t i = 0; i < 13; i++)
        salt[i] = i;
    for (uint8_t i = 0; i < 10; i++)
        info[i] = (uint8_t)(0xf0 + i);
    /* A.1 */
    px_hkdf_sha256(px_slice(salt, 13), px_slice(ikm, 22), px_slice(info, 10), okm, 42);
    check_hex(px_slice(okm, 42), "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
                                 "34007208d5b887185865");
    /* A.3: no salt, no info */
    px_hkdf_sha256(px_slice(NULL, 0), px_slice(ikm, 22), px_slice(NULL, 0), okm, 42);
    check_hex(px_slice(okm, 42), "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
                                 "9d201395faa4b61a96c8");
    /* A.2: three blocks */
    uint8_t long_ikm[80], long_salt[80], long_info[80];
    for (uint8_t i = 0; i < 80; i++) {
        long_ikm[i] = i;
        long_salt[i] = (uint8_t)(0x60 + i);
        long_info[i] = (uint8_t)(0xb0 + i);
    }
    px_hkdf_sha256(px_slice(long_salt, 80), px_slice(long_ikm, 80), px_slice(long_info, 80), okm,
                   82);
    check_hex(px_slice(okm, 82), "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
                                 "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
                                 "cc30c58179ec3e87c14c01d5c1f3434f1d87");
}

TEST(x25519_matches_rfc_7748)
{
    struct px_x25519_secret a, b; /* §6.1 */
    uint8_t pk_a[32], pk_b[32], k1[32], k2[32];
    hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a", a.bytes, 32);
    hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb", b.bytes, 32);
    px_x25519_public(&a, pk_a);
    px_x25519_public(&b, pk_b);
    check_hex(px_slice(pk_a, 32),
              "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
    check_hex(px_slice(pk_b, 32),
              "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
    CHECK_OK(px_x25519(&a, pk_b, k1));
    CHECK_OK(px_x25519(&b, pk_a, k2));
    check_hex(px_slice(k1, 32), "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
    CHECK(memcmp(k1, k2, 32) == 0);
}

TEST(x25519_refuses_low_order_points_and_leaves_the_output_alone)
{
    static const char *const low[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    };
    struct px_test_rng seed;
    struct px_rng rng = px_test_rng(&seed, 1);
    struct px_x25519_secret sk;
    uint8_t pk[32], out[32];
    px_x25519_generate(&rng, &sk, pk);
    for (size_t i = 0; i < PX_ARRAY_LEN(low); i++) {
        hex(low[i], pk, sizeof(pk));
        memset(out, 7, sizeof(out));
        CHECK_ERR(px_x25519(&sk, pk, out), PX_ECRYPTO);
        CHECK_INT(out[0], 7);
        CHECK_INT(out[31], 7);
    }
}

/* RFC 8439 A.5, whose nonce has the four zero bytes in front that Noise's has. */
static const char aead_key[] = "1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0";
static const char aead_ad[] = "f33388860000000000004e91";
static const char aead_sealed[] =
    "64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb24c6cfc18755d43eea09ee94e382d26"
    "b0bdb7b73c321b0100d4f03b7f355894cf332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37"
    "c8559797a06ef4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4b9166c767b804d46a59b5216cd"
    "e7a4e99040c5a40433225ee282a1b0a06c523eaf4534d7f83fa1155b0047718cbc546a0d072b04b3564eea1b422273"
    "f548271a0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a1049e617d91d361094fa68f0"
    "ff77987130305beaba2eda04df997b714d6c6f2c29a6ad5cb4022b02709beead9d67890cbb22392336fea1851f38";

TEST(aead_opens_the_vector_of_rfc_8439_and_seals_it_again)
{
    struct px_aead_key key;
    uint8_t ad[12], sealed[300];
    size_t len = hex(aead_sealed, sealed, sizeof(sealed));
    hex(aead_key, key.bytes, sizeof(key.bytes));
    hex(aead_ad, ad, sizeof(ad));
    struct px_buf text, again;
    px_buf_init(&text, 1000);
    px_buf_init(&again, 1000);
    uint64_t n = 0x0807060504030201;
    CHECK_OK(px_aead_open(&key, n, px_slice(ad, 12), px_slice(sealed, len), &text));
    CHECK(
        px_slice_starts(px_buf_slice(&text), PX_SLICE_LIT("Internet-Drafts are draft documents")));
    CHECK_INT(text.len, len - PX_AEAD_TAG_LEN);
    CHECK_OK(px_aead_seal(&key, n, px_slice(ad, 12), px_buf_slice(&text), &again));
    CHECK_SLICE(px_buf_slice(&again), px_slice(sealed, len));
    px_buf_deinit(&text);
    px_buf_deinit(&again);
}

TEST(aead_open_refuses_every_change_and_appends_nothing)
{
    struct px_aead_key key = {{1}};
    struct px_buf sealed, text;
    px_buf_init(&sealed, 100);
    px_buf_init(&text, 100);
    CHECK_OK(px_aead_seal(&key, 5, PX_SLICE_LIT("ad"), PX_SLICE_LIT("text"), &sealed));
    CHECK_INT(sealed.len, 4 + PX_AEAD_TAG_LEN);
    struct px_slice s = px_buf_slice(&sealed);
    CHECK_ERR(px_aead_open(&key, 6, PX_SLICE_LIT("ad"), s, &text), PX_ECRYPTO);
    CHECK_ERR(px_aead_open(&key, 5, PX_SLICE_LIT("aD"), s, &text), PX_ECRYPTO);
    for (size_t n = 0; n < s.len; n++)
        CHECK_ERR(px_aead_open(&key, 5, PX_SLICE_LIT("ad"), px_slice_take(s, n), &text),
                  PX_ECRYPTO);
    for (size_t i = 0; i < s.len; i++) {
        sealed.data[i] ^= 0x10;
        CHECK_ERR(px_aead_open(&key, 5, PX_SLICE_LIT("ad"), s, &text), PX_ECRYPTO);
        sealed.data[i] ^= 0x10;
    }
    CHECK_INT(text.len, 0);
    CHECK_OK(px_aead_open(&key, 5, PX_SLICE_LIT("ad"), s, &text));
    CHECK_SLICE(px_buf_slice(&text), PX_SLICE_LIT("text"));
    px_buf_deinit(&sealed);
    px_buf_deinit(&text);
}

TEST(aead_stops_at_the_maximum_of_the_buffer)
{
    struct px_aead_key key = {{1}};
    struct px_buf out;
    px_buf_init(&out, 19);
    CHECK_ERR(px_aead_seal(&key, 0, px_slice(NULL, 0), PX_SLICE_LIT("text"), &out), PX_ELIMIT);
    CHECK_INT(out.len, 0);
    px_buf_deinit(&out);
}

TEST(ed25519_matches_rfc_8032_and_refuses_changed_signatures)
{
    struct px_ed25519_secret sk; /* §7.1, TEST 1 */
    uint8_t seed[32], pk[32], sig[64];
    hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", seed, 32);
    px_ed25519_from_seed(seed, &sk, pk);
    check_hex(px_slice(pk, 32), "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    px_ed25519_sign(&sk, px_slice(NULL, 0), sig);
    check_hex(px_slice(sig, 64),
              "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
              "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b");
    CHECK_OK(px_ed25519_verify(pk, px_slice(NULL, 0), sig));
    CHECK_ERR(px_ed25519_verify(pk, PX_SLICE_LIT("x"), sig), PX_ECRYPTO);
    for (size_t i = 0; i < sizeof(sig); i++) {
        sig[i] ^= 1;
        CHECK_ERR(px_ed25519_verify(pk, px_slice(NULL, 0), sig), PX_ECRYPTO);
        sig[i] ^= 1;
    }
    memset(pk, 0, sizeof(pk)); /* a low-order key */
    CHECK_ERR(px_ed25519_verify(pk, px_slice(NULL, 0), sig), PX_ECRYPTO);
}

TEST(ed25519_keys_share_a_secret_on_curve25519)
{
    struct px_test_rng state;
    struct px_rng rng = px_test_rng(&state, 1);
    struct px_ed25519_secret sk[2];
    struct px_x25519_secret x[2];
    uint8_t seed[32], pk[2][32], xpk[2][32], shared[2][32], derived[32];
    for (size_t i = 0; i < 2; i++) {
        rng.fill(rng.ctx, seed, sizeof(seed));
        px_ed25519_from_seed(seed, &sk[i], pk[i]);
        px_ed25519_secret_to_x25519(&sk[i], &x[i]);
        CHECK_OK(px_ed25519_public_to_x25519(pk[i], xpk[i]));
        px_x25519_public(&x[i], derived);
        CHECK_SLICE(px_slice(derived, 32), px_slice(xpk[i], 32));
    }
    for (size_t i = 0; i < 2; i++)
        CHECK_OK(px_x25519(&x[i], xpk[1 - i], shared[i]));
    CHECK_SLICE(px_slice(shared[0], 32), px_slice(shared[1], 32));
    memset(pk[0], 0, 32); /* a low-order key */
    CHECK_ERR(px_ed25519_public_to_x25519(pk[0], xpk[0]), PX_ECRYPTO);
}

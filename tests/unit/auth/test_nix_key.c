/* Nix's key and signature texts, against keys and a signature made by nix 2.8. */
#include "auth/nix_key.h"

#include "tests/test.h"

/* nix-store --generate-binary-cache-key test-1, then nix store sign */
#define SECRET                                                                                     \
    "test-1:0rgcGxttAgTF+vuCwrFLuDXpETwi3ZDvRLY6hdXARBDLhL8o6Pf2jlRvlSNnHrmOdbGA8pug7nuIcA5EJxG/"  \
    "lQ=="
#define PUBLIC "test-1:y4S/KOj39o5Ub5UjZx65jnWxgPKboO57iHAORCcRv5U="
#define SIG                                                                                        \
    "test-1:x3cvHuSGisYJLpP5qNoxSEoD9n3RFGAMCWBCnTFIjp4Dx+iEtQm4hgS5dEBUN+"                        \
    "ur7mcFN9ClHXWRgQTdoaqcCA=="
#define FINGERPRINT                                                                                \
    "1;/nix/store/gwina1sjk7g95wq6fxc6b7s1hza53h74-hello;"                                         \
    "sha256:04zwf782yjwnh3q6hz5izfd6jyip8kgw6g6yj43fiqhbyhdd0dqw;120;"

TEST(keys_of_nix_are_read_and_written_back)
{
    struct px_nix_secret_key s;
    struct px_nix_public_key p, derived;
    struct px_buf b;
    px_buf_init(&b, 1000);
    CHECK_OK(px_nix_secret_key_parse(PX_SLICE_LIT(SECRET), &s));
    CHECK_OK(px_nix_public_key_parse(PX_SLICE_LIT(PUBLIC), &p));
    CHECK_STR(s.name, "test-1");
    CHECK_STR(p.name, "test-1");
    px_nix_secret_key_public(&s, &derived);
    CHECK_STR(derived.name, "test-1");
    CHECK(memcmp(derived.key, p.key, sizeof(p.key)) == 0);
    CHECK_OK(px_nix_secret_key_format(&s, &b));
    CHECK_SLICE(px_buf_slice(&b), PX_SLICE_LIT(SECRET));
    px_buf_clear(&b);
    CHECK_OK(px_nix_public_key_format(&derived, &b));
    CHECK_SLICE(px_buf_slice(&b), PX_SLICE_LIT(PUBLIC));
    px_nix_secret_key_wipe(&s);
    CHECK_INT(s.secret.bytes[0] | s.name[0], 0);
    px_nix_secret_key_wipe(NULL);
    px_buf_deinit(&b);
}

TEST(a_signature_of_nix_verifies_and_ours_is_the_same)
{
    struct px_nix_secret_key s;
    struct px_nix_public_key p;
    struct px_buf b;
    px_buf_init(&b, 1000);
    CHECK_OK(px_nix_secret_key_parse(PX_SLICE_LIT(SECRET), &s));
    CHECK_OK(px_nix_public_key_parse(PX_SLICE_LIT(PUBLIC), &p));
    CHECK(px_nix_verify(&p, 1, PX_SLICE_LIT(SIG), PX_SLICE_LIT(FINGERPRINT)));
    CHECK_OK(px_nix_sign(&s, PX_SLICE_LIT(FINGERPRINT), &b));
    CHECK_SLICE(px_buf_slice(&b), PX_SLICE_LIT(SIG));
    px_nix_secret_key_wipe(&s);
    px_buf_deinit(&b);
}

TEST(only_the_right_key_name_text_and_signature_verify)
{
    struct px_test_rng seed;
    struct px_rng rng = px_test_rng(&seed, 3);
    struct px_nix_secret_key other;
    struct px_nix_public_key keys[3];
    struct px_slice fp = PX_SLICE_LIT(FINGERPRINT);
    char sig[] = SIG;
    CHECK_OK(px_nix_key_generate("test-1", &rng, &other)); /* same name, another key */
    px_nix_secret_key_public(&other, &keys[0]);
    CHECK_OK(px_nix_public_key_parse(PX_SLICE_LIT(PUBLIC), &keys[1]));
    keys[2] = keys[1]; /* the right key under another name */
    snprintf(keys[2].name, sizeof(keys[2].name), "test-2");
    CHECK(!px_nix_verify(keys, 0, px_slice_cstr(sig), fp));
    CHECK(!px_nix_verify(&keys[0], 1, px_slice_cstr(sig), fp));
    CHECK(!px_nix_verify(&keys[2], 1, px_slice_cstr(sig), fp));
    CHECK(px_nix_verify(keys, 3, px_slice_cstr(sig), fp));
    CHECK(!px_nix_verify(keys, 3, px_slice_cstr(sig), px_slice_take(fp, fp.len - 1)));
    CHECK(!px_nix_verify(keys, 3, PX_SLICE_LIT("nonsense"), fp));
    sig[10] = sig[10] == 'A' ? 'B' : 'A';
    CHECK(!px_nix_verify(keys, 3, px_slice_cstr(sig), fp));
    px_nix_secret_key_wipe(&other);
}

TEST(texts_that_are_not_exactly_a_key_are_refused)
{
    static const char *const bad[] = {
        "",
        ":",
        "test-1",
        "test-1:",
        ":y4S/KOj39o5Ub5UjZx65jnWxgPKboO57iHAORCcRv5U=",
        " test-1:y4S/KOj39o5Ub5UjZx65jnWxgPKboO57iHAORCcRv5U=",
        "te st:y4S/KOj39o5Ub5UjZx65jnWxgPKboO57iHAORCcRv5U=",
        "te\tst:y4S/KOj39o5Ub5UjZx65jnWxgPKboO57iHAORCcRv5U=",
        "te\nst:y4S/KOj39o5Ub5UjZx65jnWxgPKboO57iHAORCcRv5U=",
        "te\x7fst:y4S/KOj39o5Ub5UjZx65jnWxgPKboO57iHAORCcRv5U=",
        "a:b:y4S/KOj39o5Ub5UjZx65jnWxgPKboO57iHAORCcRv5U=",
        PUBLIC "\n",
        PUBLIC " ",
        PUBLIC "=",
        "test-1: y4S/KOj39o5Ub5UjZx65jnWxgPKboO57iHAORCcRv5U=",
        "test-1:y4S/KOj39o5Ub5UjZx65jnWxgPKboO57iHAORCcRv5U",
        "test-1:y4S/KOj39o5Ub5UjZx65jnWxgPKboO57iHAORCcRv5V=",
        "test-1:y4S_KOj39o5Ub5UjZx65jnWxgPKboO57iHAORCcRv5U=",
        "test-1:y4S/KOj39o5Ub5UjZx65jnWxgPKboO57iHAORCcRvw==",
        "test-1:y4S/KOj39o5Ub5UjZx65jnWxgPKboO57iHAORCcRv5U5",
    };
    struct px_nix_public_key p;
    struct px_nix_secret_key s;
    struct px_nix_sig sig;
    for (size_t i = 0; i < PX_ARRAY_LEN(bad); i++) {
        CHECK_ERR(px_nix_public_key_parse(px_slice_cstr(bad[i]), &p), PX_EPARSE);
        CHECK_ERR(px_nix_secret_key_parse(px_slice_cstr(bad[i]), &s), PX_EPARSE);
        CHECK_ERR(px_nix_sig_parse(px_slice_cstr(bad[i]), &sig), PX_EPARSE);
    }
    /* each is none of the others */
    CHECK_ERR(px_nix_public_key_parse(PX_SLICE_LIT(SECRET), &p), PX_EPARSE);
    CHECK_ERR(px_nix_secret_key_parse(PX_SLICE_LIT(PUBLIC), &s), PX_EPARSE);
    CHECK_ERR(px_nix_sig_parse(PX_SLICE_LIT(PUBLIC), &sig), PX_EPARSE);
    CHECK_ERR(px_nix_public_key_parse(px_slice("a\0:y4S/", 7), &p), PX_EPARSE);
}

TEST(a_secret_key_whose_halves_do_not_match_is_refused)
{
    struct px_nix_secret_key s;
    memset(&s, 7, sizeof(s));
    /* the signature's 64 bytes in place of the key's */
    CHECK_ERR(px_nix_secret_key_parse(PX_SLICE_LIT(SIG), &s), PX_EPARSE);
    CHECK_INT(s.name[0], 7);
    CHECK_INT(s.secret.bytes[0], 7);
}

TEST(names_that_nix_conf_cannot_hold_are_known)
{
    static const char *const good[] = {"a", "cache.example.org-1", "me@host/2+x_",
                                       "cache.nixos.org"};
    static const char *const bad[] = {"",
                                      "x#",
                                      "a b",
                                      "a\tb",
                                      "\"a\"",
                                      "$(a)",
                                      "a;b",
                                      "\xc3\xa9",
                                      "\x1b[m",
                                      "a=b",
                                      "cache.nixos.org-1"};
    struct px_nix_secret_key k;
    for (size_t i = 0; i < PX_ARRAY_LEN(good); i++)
        CHECK(px_nix_key_name_plain(good[i]));
    for (size_t i = 0; i < PX_ARRAY_LEN(bad); i++) {
        CHECK(!px_nix_key_name_plain(bad[i]));
        CHECK_ERR(px_nix_key_generate(bad[i], &px_system_rng, &k), PX_EPARSE);
    }
}

TEST(names_are_bounded)
{
    char name[PX_NIX_KEY_NAME_MAX + 2];
    struct px_test_rng seed;
    struct px_rng rng = px_test_rng(&seed, 3);
    struct px_nix_secret_key s, back;
    struct px_buf b;
    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    CHECK_ERR(px_nix_key_generate(name, &rng, &s), PX_EPARSE);
    CHECK_ERR(px_nix_key_generate("", &rng, &s), PX_EPARSE);
    CHECK_ERR(px_nix_key_generate("a:b", &rng, &s), PX_EPARSE);
    CHECK_ERR(px_nix_key_generate("a b", &rng, &s), PX_EPARSE);
    CHECK_ERR(px_nix_key_generate("a\n", &rng, &s), PX_EPARSE);
    name[PX_NIX_KEY_NAME_MAX] = '\0';
    CHECK_OK(px_nix_key_generate(name, &rng, &s));
    px_buf_init(&b, PX_NIX_KEY_TEXT_MAX - 1);
    CHECK_OK(px_nix_secret_key_format(&s, &b));
    CHECK_OK(px_nix_secret_key_parse(px_buf_slice(&b), &back));
    CHECK_STR(back.name, name);
    px_buf_clear(&b);
    CHECK_OK(px_nix_sign(&s, PX_SLICE_LIT("x"), &b));
    px_nix_secret_key_wipe(&s);
    px_nix_secret_key_wipe(&back);
    px_buf_deinit(&b);
}

/* PKCS#8 PEM: what OpenSSL 3.0 writes and RFC 8410 shows is read, what differs in a byte is not. */
#include "auth/identity.h"
#include "proto/base/encoding.h"
#include "tests/test.h"

#define BEGIN "-----BEGIN PRIVATE KEY-----\n"
#define END   "-----END PRIVATE KEY-----\n"

/* openssl genpkey -algorithm ed25519 */
static const char openssl_pem[] =
    BEGIN "MC4CAQAwBQYDK2VwBCIEIFwXenuvRBG4m725Tv3KkYtccO+INt7mBp9vQ2lIe1Dl\n" END;
static const char openssl_pk[] = "4be910338afc292546bb21c6e353ebf45afb6c9db6755a480c0eb8209cd7f648";

static void check_key(const struct px_identity *i, const char *hex)
{
    uint8_t pk[32];
    size_t len;
    CHECK_OK(px_hex_decode(px_slice_cstr(hex), pk, sizeof(pk), &len));
    CHECK(memcmp(pk, i->id.key, 32) == 0);
}

TEST(a_key_written_by_openssl_is_read_and_written_back_byte_for_byte)
{
    struct px_identity i;
    struct px_buf out;
    CHECK_OK(px_identity_from_pem(px_slice_cstr(openssl_pem), &i));
    check_key(&i, openssl_pk);
    px_buf_init(&out, 1000);
    CHECK_OK(px_identity_to_pem(&i, &out));
    CHECK_SLICE(px_buf_slice(&out), px_slice_cstr(openssl_pem));
    px_buf_deinit(&out);
    px_identity_wipe(&i);
    CHECK_INT(i.secret.bytes[0] | i.secret.bytes[63] | i.id.key[0], 0);
}

TEST(the_keys_of_rfc_8410_are_read)
{
    static const char *const pems[] = {
        /* §10.3: version 1; version 2 with an attribute and the public key */
        BEGIN "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n" END,
        BEGIN "MHICAQEwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n"
              "oB8wHQYKKoZIhvcNAQkJFDEPDA1DdXJkbGUgQ2hhaXJzgSEAGb9ECWmEzf6FQbrB\n"
              "Z9w7lshQhqowtrbLDFw4rXAxZuE=\n" END,
    };
    for (size_t n = 0; n < PX_ARRAY_LEN(pems); n++) {
        struct px_identity i;
        CHECK_OK(px_identity_from_pem(px_slice_cstr(pems[n]), &i));
        check_key(&i, "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1");
        px_identity_wipe(&i);
    }
}

TEST(the_newline_behind_the_last_line_is_optional)
{
    struct px_identity i;
    CHECK_OK(px_identity_from_pem(px_slice(openssl_pem, sizeof(openssl_pem) - 2), &i));
    check_key(&i, openssl_pk);
    px_identity_wipe(&i);
}

TEST(keys_of_another_kind_are_unsupported_and_not_garbage)
{
    static const char *const pems[] = {
        /* X25519, Ed448, P-256 by openssl */
        BEGIN "MC4CAQAwBQYDK2VuBCIEIChNAlhxVu0hcvxbzSMuju+xZbrn4smW7OKRriO1101b\n" END,
        BEGIN "MEcCAQAwBQYDK2VxBDsEOWjWak/mZH4PgEuKliS/00DrVtlT+/Z+QypJJ6lzSV3/\n"
              "xhB9Nc1xk09jDKt9bISB/KfPTxuiYOV0cg==\n" END,
        BEGIN "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgpqQ5OysL/hnGY8As\n"
              "BqrbV66meL72pNxw0WB+nG4u0P+hRANCAAQhTGOvPIbOL3VY5En+03Rfve+uCPCW\n"
              "uAJvCj5aMKXoL7T7Gjb0iquAptel/auA4IaxSjK6eJjc6vhiV9/u6MbQ\n" END,
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGbMFcGCSqGSIb3DQ==\n",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE=\n",
        "-----BEGIN RSA PRIVATE KEY-----\n",
    };
    struct px_identity i;
    for (size_t n = 0; n < PX_ARRAY_LEN(pems); n++)
        CHECK_ERR(px_identity_from_pem(px_slice_cstr(pems[n]), &i), PX_EUNSUPPORTED);
}

TEST(texts_that_are_not_strict_pem_are_refused)
{
    static const char body[] = "MC4CAQAwBQYDK2VwBCIEIFwXenuvRBG4m725Tv3KkYtccO+INt7mBp9vQ2lIe1Dl";
    static const char *const formats[] = {
        "%.0s",
        "%s",
        "%s\n" END,
        BEGIN "%s\n",
        BEGIN "%s",
        BEGIN "%s" END,
        BEGIN "\n%s\n" END,
        BEGIN "%s\n\n" END,
        BEGIN "%s\n" END "\n",
        BEGIN "%s\n" END "x",
        " " BEGIN "%s\n" END,
        "# mine\n" BEGIN "%s\n" END,
        BEGIN " %s\n" END,
        BEGIN "%s \n" END,
        BEGIN "%s\r\n" END,
        BEGIN "%.63s\n" END,
        BEGIN "%s=\n" END,
        BEGIN "%.30s\nRBG4\n" END,
        BEGIN "%.0s" END,
        "-----BEGIN PRIVATE KEY----\n%s\n" END,
        "-----BEGIN PUBLIC KEY-----\n%s\n-----END PUBLIC KEY-----\n",
        BEGIN "%s\n-----END PUBLIC KEY-----\n",
    };
    struct px_identity i;
    for (size_t n = 0; n < PX_ARRAY_LEN(formats); n++) {
        char pem[512];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(pem, sizeof(pem), formats[n], body);
#pragma GCC diagnostic pop
        CHECK_ERR(px_identity_from_pem(px_slice_cstr(pem), &i), PX_EPARSE);
    }
}

/* from_pem of DER given in hex. */
static int from_der(const char *hex, struct px_identity *ret)
{
    uint8_t der[256];
    size_t len;
    struct px_buf body, pem;
    px_buf_init(&body, 1000);
    px_buf_init(&pem, 1000);
    CHECK_OK(px_hex_decode(px_slice_cstr(hex), der, sizeof(der), &len));
    CHECK_OK(px_base64_encode(&body, px_slice(der, len)));
    CHECK_OK(px_buf_put_cstr(&pem, BEGIN));
    for (struct px_slice s = px_buf_slice(&body); s.len > 0; s = px_slice_skip(s, 64)) {
        CHECK_OK(px_buf_put(&pem, px_slice_take(s, 64)));
        CHECK_OK(px_buf_put_u8(&pem, '\n'));
    }
    CHECK_OK(px_buf_put_cstr(&pem, END));
    int err = px_identity_from_pem(px_buf_slice(&pem), ret);
    px_buf_deinit(&body);
    px_buf_deinit(&pem);
    return err;
}

#define SEED "5c177a7baf4411b89bbdb94efdca918b5c70ef8836dee6069f6f4369487b50e5"
#define PK   "4be910338afc292546bb21c6e353ebf45afb6c9db6755a480c0eb8209cd7f648"

TEST(der_is_read_strictly)
{
    static const struct {
        const char *what, *der;
        int err;
    } cases[] = {
        {"version 1", "302e020100300506032b657004220420" SEED, 0},
        {"version 2", "3051020101300506032b657004220420" SEED "812100" PK, 0},
        {"attributes", "3030020100300506032b657004220420" SEED "a000", 0},
        {"wrong public key", "3051020101300506032b657004220420" SEED "812100" SEED, PX_EPARSE},
        {"short public key", "3050020101300506032b657004220420" SEED "812000" PK, PX_EPARSE},
        {"unused bits", "3051020101300506032b657004220420" SEED "812101" PK, PX_EPARSE},
        {"version 2, no public key", "302e020101300506032b657004220420" SEED, PX_EPARSE},
        {"version 1, public key", "3051020100300506032b657004220420" SEED "812100" PK, PX_EPARSE},
        {"version 3", "302e020102300506032b657004220420" SEED, PX_EPARSE},
        {"version of two bytes", "302f02020000300506032b657004220420" SEED, PX_EPARSE},
        {"long length", "30812e020100300506032b657004220420" SEED, PX_EPARSE},
        {"longer length", "3082002e020100300506032b657004220420" SEED, PX_EPARSE},
        {"indefinite length", "3080020100300506032b657004220420" SEED "0000", PX_EPARSE},
        {"length too large", "302f020100300506032b657004220420" SEED, PX_EPARSE},
        {"length too small", "302d020100300506032b657004220420" SEED, PX_EPARSE},
        {"behind the end", "302e020100300506032b657004220420" SEED "00", PX_EPARSE},
        {"unknown element", "3030020100300506032b657004220420" SEED "a200", PX_EPARSE},
        {"NULL parameters", "3030020100300706032b6570050004220420" SEED, PX_EPARSE},
        {"no inner octet string", "302c020100300506032b65700420" SEED, PX_EPARSE},
        {"seed behind the inner string", "302f020100300506032b657004230420" SEED "00", PX_EPARSE},
        {"seed too long", "302f020100300506032b657004230421" SEED "00", PX_EPARSE},
        {"empty", "3000", PX_EPARSE},
        {"other algorithm", "302e020100300506032b656e04220420" SEED, PX_EUNSUPPORTED},
        {"empty OID",
         "302b02010030020600"
         "04220420" SEED,
         PX_EPARSE},
    };
    for (size_t n = 0; n < PX_ARRAY_LEN(cases); n++) {
        struct px_identity i;
        int err = from_der(cases[n].der, &i);
        if (err != cases[n].err)
            px_test_fail(__FILE__, __LINE__, "%s: %s", cases[n].what, px_errname(err));
        if (err == 0)
            check_key(&i, openssl_pk);
        px_identity_wipe(&i);
    }
}

TEST(a_failed_parse_leaves_the_output_alone)
{
    struct px_identity i;
    memset(&i, 7, sizeof(i));
    CHECK_ERR(from_der("3051020101300506032b657004220420" SEED "812100" SEED, &i), PX_EPARSE);
    for (size_t n = 0; n < sizeof(i); n++)
        CHECK_INT(((const uint8_t *)&i)[n], 7);
}

TEST(a_generated_identity_survives_the_round_trip_and_signs)
{
    struct px_test_rng seed;
    struct px_rng rng = px_test_rng(&seed, 42);
    struct px_identity a, b;
    struct px_buf out;
    uint8_t sig[PX_ED25519_SIG_LEN];
    px_identity_generate(&rng, &a);
    px_buf_init(&out, 1000);
    CHECK_OK(px_identity_to_pem(&a, &out));
    CHECK_OK(px_identity_from_pem(px_buf_slice(&out), &b));
    CHECK(px_peer_id_eq(&a.id, &b.id));
    px_ed25519_sign(&b.secret, PX_SLICE_LIT("hello"), sig);
    CHECK_OK(px_ed25519_verify(a.id.key, PX_SLICE_LIT("hello"), sig));
    px_buf_deinit(&out);
    px_identity_wipe(&a);
    px_identity_wipe(&b);
}

TEST(writing_stops_at_the_maximum_of_the_buffer)
{
    struct px_test_rng seed;
    struct px_rng rng = px_test_rng(&seed, 42);
    struct px_identity a;
    struct px_buf out;
    px_identity_generate(&rng, &a);
    px_buf_init(&out, 60);
    CHECK_ERR(px_identity_to_pem(&a, &out), PX_ELIMIT);
    CHECK_INT(out.len, 0);
    px_buf_deinit(&out);
    px_identity_wipe(&a);
}

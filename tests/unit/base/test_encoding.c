/* Encodings against RFC 4648, hashes printed by nix-hash, and the multibase test texts. */
#include "proto/base/encoding.h"
#include "tests/test.h"

typedef int encode_fn(struct px_buf *out, struct px_slice in);
typedef int decode_fn(struct px_slice in, void *dst, size_t cap, size_t *ret_len);

/* A value and its only text. */
struct pair {
    struct px_slice bytes;
    const char *text;
};
#define PAIR(bytes, text)                                                                          \
    {                                                                                              \
        PX_SLICE_LIT(bytes), text                                                                  \
    }

static void check_pairs(encode_fn *encode, decode_fn *decode, const struct pair *pairs,
                        size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct px_slice text = px_slice_cstr(pairs[i].text);
        uint8_t bytes[64];
        size_t len = 99;
        CHECK_OK(decode(text, bytes, sizeof(bytes), &len));
        CHECK_SLICE(px_slice(bytes, len), pairs[i].bytes);
        CHECK_OK(decode(text, bytes, pairs[i].bytes.len, &len));
        if (pairs[i].bytes.len > 0) {
            len = 99;
            CHECK_ERR(decode(text, bytes, pairs[i].bytes.len - 1, &len), PX_ELIMIT);
            CHECK_INT(len, 99);
        }
        if (encode == NULL)
            continue;
        struct px_buf out;
        px_buf_init(&out, 200);
        CHECK_OK(encode(&out, pairs[i].bytes));
        CHECK_SLICE(px_buf_slice(&out), text);
        px_buf_deinit(&out);
    }
}

static void check_refused(decode_fn *decode, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint8_t bytes[64] = {0xaa, 0xaa};
        size_t len = 99;
        CHECK_ERR(decode(px_slice_cstr(texts[i]), bytes, sizeof(bytes), &len), PX_EPARSE);
        CHECK_INT(len, 99);
        CHECK(bytes[0] == 0xaa && bytes[1] == 0xaa);
    }
}

/* Any bytes survive; whatever has another length or one bit changed has another text. */
static void check_random(encode_fn *encode, decode_fn *decode, size_t max_len)
{
    struct px_test_rng state;
    struct px_rng rng = px_test_rng(&state, 4648);
    struct px_buf out;
    px_buf_init(&out, 1000);
    for (size_t len = 0; len <= max_len; len++) {
        uint8_t in[128], back[128];
        size_t back_len;
        rng.fill(rng.ctx, in, len);
        if (len > 1 && len % 3 == 0)
            in[0] = in[1] = 0;
        px_buf_clear(&out);
        CHECK_OK(encode(&out, px_slice(in, len)));
        CHECK_OK(decode(px_buf_slice(&out), back, sizeof(back), &back_len));
        CHECK_SLICE(px_slice(back, back_len), px_slice(in, len));
    }
    px_buf_deinit(&out);
}

TEST(hex_is_lower_case_and_even)
{
    static const struct pair pairs[] = {PAIR("", ""), PAIR("f", "66"),
                                        PAIR("foobar", "666f6f626172"),
                                        PAIR("\x00\xff\x10", "00ff10")};
    static const char *const bad[] = {"6", "666", "6G", "0x", "FF", " 66", "66 ", "6 6"};
    check_pairs(px_hex_encode, px_hex_decode, pairs, PX_ARRAY_LEN(pairs));
    check_refused(px_hex_decode, bad, PX_ARRAY_LEN(bad));
    check_random(px_hex_encode, px_hex_decode, 128);
}

/* RFC 4648 §10 */
TEST(base64_follows_rfc_4648)
{
    static const struct pair pairs[] = {PAIR("", ""),
                                        PAIR("f", "Zg=="),
                                        PAIR("fo", "Zm8="),
                                        PAIR("foo", "Zm9v"),
                                        PAIR("foob", "Zm9vYg=="),
                                        PAIR("fooba", "Zm9vYmE="),
                                        PAIR("foobar", "Zm9vYmFy"),
                                        PAIR("\xfb\xff\xfe", "+//+")};
    /* no padding, too much of it, inside, filling bits, the URL alphabet, blanks */
    static const char *const bad[] = {
        "Zg",   "Zg=",  "Zg===", "Z===",  "====",   "=",        "Zm=v",
        "Zh==", "Zm9=", "-__-",  "Zm 9v", "Zm9v\n", "Zg==Zg==", "A"};
    check_pairs(px_base64_encode, px_base64_decode, pairs, PX_ARRAY_LEN(pairs));
    check_refused(px_base64_decode, bad, PX_ARRAY_LEN(bad));
    check_random(px_base64_encode, px_base64_decode, 128);
}

TEST(base32_follows_rfc_4648_in_lower_case_without_padding)
{
    static const struct pair pairs[] = {PAIR("", ""),
                                        PAIR("f", "my"),
                                        PAIR("fo", "mzxq"),
                                        PAIR("foo", "mzxw6"),
                                        PAIR("foob", "mzxw6yq"),
                                        PAIR("fooba", "mzxw6ytb"),
                                        PAIR("foobar", "mzxw6ytboi")};
    static const char *const bad[] = {"m", "mzx", "mzxw6y", "mz", "MY", "my======", "m1", "m8"};
    check_pairs(NULL, px_base32_decode, pairs, PX_ARRAY_LEN(pairs));
    check_refused(px_base32_decode, bad, PX_ARRAY_LEN(bad));
}

/* Hashes of "abc" and of nothing, converted by `nix-hash --type … --to-base32`. */
TEST(nix32_agrees_with_nix_hash)
{
    static const struct {
        const char *hex, *nix32;
    } rows[] = {
        {"", ""},
        {"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
         "1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s"},
        {"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
         "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73"},
        {"a9993e364706816aba3e25717850c26c9cd0d89d", "kpcd173cq987hw957sx6m0868wv3x6d9"},
        {"0100000000000000000000000000000000000000", "00000000000000000000000000000001"},
        {"0000000000000000000000000000000000000080", "h0000000000000000000000000000000"},
        {"ffffffffffffffffffffffffffffffffffffffff", "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"},
        {"900150983cd24fb0d6963f7d28e17f72", "3jgzhjhz9zjvbb0kyj7jc500ch"},
        {"ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
         "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
         "2gs8k559z4rlahfx0y688s49m2vvszylcikrfinm30ly9rak69236nkam5ydvly1ai7xac99vxfc4ii84hawjbk87"
         "6bl"
         "yk1jfhkbbyx"},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        uint8_t bytes[64];
        size_t len;
        CHECK_OK(px_hex_decode(px_slice_cstr(rows[i].hex), bytes, sizeof(bytes), &len));
        struct pair pair = {px_slice(bytes, len), rows[i].nix32};
        check_pairs(px_nix32_encode, px_nix32_decode, &pair, 1);
    }
    check_random(px_nix32_encode, px_nix32_decode, 128);
}

TEST(nix32_refuses_other_letters_filling_bits_and_impossible_lengths)
{
    /* 52 digits hold 256 bits and 4 more, which must be zero: the first digit is 0 or 1 */
    static const char *const bad[] = {"2b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s",
                                      "gb8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s",
                                      "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzze",
                                      "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzo",
                                      "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzt",
                                      "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzu",
                                      "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzZ",
                                      "1",
                                      "001",
                                      "80"};
    check_refused(px_nix32_decode, bad, PX_ARRAY_LEN(bad));
    CHECK(px_nix32_valid(PX_SLICE_LIT("0123456789abcdfghijklmnpqrsvwxyz")));
    CHECK(!px_nix32_valid(PX_SLICE_LIT("abce")));
    CHECK(!px_nix32_valid(px_slice("ab\0", 3)));
}

/* The first three are of draft-msporny-base58, the others of the multibase specification's tests.
 */
TEST(base58_agrees_with_published_texts)
{
    static const struct pair pairs[] = {
        PAIR("Hello World!", "2NEpo7TZRRrLZSi2U"),
        PAIR("The quick brown fox jumps over the lazy dog.",
             "USm3fpXnKG5EUBx2ndxBDMPVciP5hGey2Jh4NDv6gmeo1LkMeiKrLJUUBk6Z"),
        PAIR("\x00\x00\x28\x7f\xb4\xcd", "11233QC4"),
        PAIR("", ""),
        PAIR("\x00", "1"),
        PAIR("yes mani !", "7paNL19xttacUY"),
        PAIR("\x00yes mani !", "17paNL19xttacUY"),
        PAIR("\x00\x00yes mani !", "117paNL19xttacUY"),
    };
    static const char *const bad[] = {
        "0", "O", "I", "l", "2NEpo7TZRRrLZSi2U ", "2NEpo7TZ+RrLZSi2U"};
    check_pairs(px_base58_encode, px_base58_decode, pairs, PX_ARRAY_LEN(pairs));
    check_refused(px_base58_decode, bad, PX_ARRAY_LEN(bad));
    check_random(px_base58_encode, px_base58_decode, 128);
}

TEST(base36_agrees_with_the_multibase_tests)
{
    static const struct pair pairs[] = {PAIR("", ""), PAIR("yes mani !", "2lcpzo5yikidynfl"),
                                        PAIR("\x00yes mani !", "02lcpzo5yikidynfl"),
                                        PAIR("\x00\x00yes mani !", "002lcpzo5yikidynfl")};
    static const char *const bad[] = {"2LCPZO5YIKIDYNFL", "2lcp-", " 2lcp", "2lcp "};
    check_pairs(NULL, px_base36_decode, pairs, PX_ARRAY_LEN(pairs));
    check_refused(px_base36_decode, bad, PX_ARRAY_LEN(bad));
}

TEST(big_numbers_stop_at_128_bytes)
{
    uint8_t bytes[129], back[200];
    char text[300];
    size_t len = 99;
    struct px_buf out;
    px_buf_init(&out, 1000);
    memset(bytes, 0xff, sizeof(bytes));
    CHECK_OK(px_base58_encode(&out, px_slice(bytes, 128)));
    CHECK_OK(px_base58_decode(px_buf_slice(&out), back, sizeof(back), &len));
    CHECK_INT(len, 128);
    CHECK_ERR(px_base58_encode(&out, px_slice(bytes, 129)), PX_ELIMIT);
    memset(text, 'z', sizeof(text));
    CHECK_ERR(px_base58_decode(px_slice(text, 180), back, sizeof(back), &len), PX_ELIMIT);
    CHECK_ERR(px_base58_decode(px_slice(text, 300), back, sizeof(back), &len), PX_ELIMIT);
    CHECK_OK(px_base36_decode(px_slice(text, 198), back, sizeof(back), &len));
    CHECK_INT(len, 128);
    CHECK_ERR(px_base36_decode(px_slice(text, 199), back, sizeof(back), &len), PX_ELIMIT);
    memset(text, '1', sizeof(text));
    CHECK_OK(px_base58_decode(px_slice(text, 128), back, sizeof(back), &len));
    CHECK_INT(len, 128);
    CHECK_ERR(px_base58_decode(px_slice(text, 129), back, sizeof(back), &len), PX_ELIMIT);
    px_buf_deinit(&out);
}

TEST(percent_escapes_are_read_and_control_bytes_refused)
{
    static const struct {
        const char *text, *bytes;
        int err;
    } cases[] = {
        {"", "", 0},
        {"plain-._~", "plain-._~", 0},
        {"a%20b%2Fc%2f", "a b/c/", 0},
        {"%C3%a4", "\xc3\xa4", 0},
        {"%", NULL, PX_EPARSE},
        {"%4", NULL, PX_EPARSE},
        {"%4g", NULL, PX_EPARSE},
        {"%g4", NULL, PX_EPARSE},
        {"%0a", NULL, PX_EPARSE},
        {"%7f", NULL, PX_EPARSE},
        {"a\nb", NULL, PX_EPARSE},
        {"%00", NULL, PX_EPARSE},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++) {
        struct px_slice in = px_slice_cstr(cases[i].text);
        char out[16];
        size_t n = 99;
        CHECK_INT(px_percent_decode(in, out, sizeof(out), &n), cases[i].err);
        if (cases[i].err != 0)
            continue;
        CHECK(px_slice_eq_cstr(px_slice(out, n), cases[i].bytes));
        if (n > 0)
            CHECK_ERR(px_percent_decode(in, out, n - 1, &n), PX_ELIMIT);
    }
}

TEST(encoders_keep_to_the_buffers_maximum)
{
    encode_fn *const fns[] = {px_hex_encode, px_base64_encode, px_nix32_encode, px_base58_encode};
    for (size_t i = 0; i < PX_ARRAY_LEN(fns); i++) {
        struct px_buf out;
        px_buf_init(&out, 6);
        CHECK_ERR(fns[i](&out, PX_SLICE_LIT("foobar")), PX_ELIMIT);
        px_buf_deinit(&out);
    }
}

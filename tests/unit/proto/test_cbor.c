/* RFC 8949: appendix A's examples, and all that core deterministic encoding forbids. */
#include "proto/base/encoding.h"
#include "proto/cbor.h"
#include "tests/test.h"

struct bytes {
    uint8_t data[128];
    size_t len;
};

static struct bytes from_hex(const char *hex)
{
    struct bytes b;
    CHECK_OK(px_hex_decode(px_slice_cstr(hex), b.data, sizeof(b.data), &b.len));
    return b;
}

#define CHECK_HEX(buf, hex)                                                                        \
    do {                                                                                           \
        struct bytes want_ = from_hex(hex);                                                        \
        CHECK_SLICE(px_buf_slice(buf), px_slice(want_.data, want_.len));                           \
        px_buf_clear(buf);                                                                         \
    } while (0)

TEST(unsigned_integers_of_appendix_a)
{
    static const struct {
        uint64_t v;
        const char *hex;
    } rows[] = {
        {0, "00"},
        {1, "01"},
        {10, "0a"},
        {23, "17"},
        {24, "1818"},
        {25, "1819"},
        {100, "1864"},
        {255, "18ff"},
        {256, "190100"},
        {1000, "1903e8"},
        {65535, "19ffff"},
        {65536, "1a00010000"},
        {1000000, "1a000f4240"},
        {UINT32_MAX, "1affffffff"},
        {(uint64_t)UINT32_MAX + 1, "1b0000000100000000"},
        {1000000000000, "1b000000e8d4a51000"},
        {UINT64_MAX, "1bffffffffffffffff"},
    };
    struct px_buf out;
    px_buf_init(&out, 100);
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        struct bytes b = from_hex(rows[i].hex);
        struct px_cbor c = px_cbor(px_slice(b.data, b.len));
        uint64_t v;
        CHECK_OK(px_cbor_uint(&c, &v));
        CHECK(v == rows[i].v);
        CHECK_OK(px_cbor_end(&c));
        CHECK_OK(px_cbor_put_uint(&out, rows[i].v));
        CHECK_HEX(&out, rows[i].hex);
    }
    px_buf_deinit(&out);
}

TEST(strings_and_booleans_of_appendix_a)
{
    static const struct {
        struct px_slice v;
        const char *hex;
        bool text;
    } rows[] = {
        {PX_SLICE_LIT(""), "40", false},
        {PX_SLICE_LIT("\x01\x02\x03\x04"), "4401020304", false},
        {PX_SLICE_LIT(""), "60", true},
        {PX_SLICE_LIT("a"), "6161", true},
        {PX_SLICE_LIT("IETF"), "6449455446", true},
        {PX_SLICE_LIT("\"\\"), "62225c", true},
        {PX_SLICE_LIT("\xc3\xbc"), "62c3bc", true},
        {PX_SLICE_LIT("\xe6\xb0\xb4"), "63e6b0b4", true},
        {PX_SLICE_LIT("\xf0\x90\x85\x91"), "64f0908591", true},
    };
    struct px_buf out;
    px_buf_init(&out, 100);
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        struct bytes b = from_hex(rows[i].hex);
        struct px_cbor c = px_cbor(px_slice(b.data, b.len));
        struct px_slice v;
        CHECK_OK(rows[i].text ? px_cbor_text(&c, &v) : px_cbor_bytes(&c, &v));
        CHECK_SLICE(v, rows[i].v);
        CHECK_OK(px_cbor_end(&c));
        CHECK_OK(rows[i].text ? px_cbor_put_text(&out, v) : px_cbor_put_bytes(&out, v));
        CHECK_HEX(&out, rows[i].hex);
    }
    for (int v = 0; v <= 1; v++) {
        bool got;
        CHECK_OK(px_cbor_put_bool(&out, v != 0));
        struct px_cbor c = px_cbor(px_buf_slice(&out));
        CHECK_OK(px_cbor_bool(&c, &got));
        CHECK_INT(got, v);
        CHECK_HEX(&out, v ? "f5" : "f4");
    }
    px_buf_deinit(&out);
}

TEST(arrays_and_maps_of_appendix_a)
{
    struct px_buf out;
    size_t count;
    uint64_t v;
    px_buf_init(&out, 100);
    CHECK_OK(px_cbor_put_array(&out, 25));
    for (uint64_t i = 1; i <= 25; i++)
        CHECK_OK(px_cbor_put_uint(&out, i));
    struct px_cbor c = px_cbor(px_buf_slice(&out));
    CHECK_OK(px_cbor_array(&c, &count));
    CHECK_INT(count, 25);
    for (uint64_t i = 1; i <= 25; i++) {
        CHECK_OK(px_cbor_uint(&c, &v));
        CHECK_INT(v, i);
    }
    CHECK_OK(px_cbor_end(&c));
    CHECK_HEX(&out, "98190102030405060708090a0b0c0d0e0f101112131415161718181819");
    CHECK_OK(px_cbor_put_map(&out, 2));
    for (uint64_t i = 1; i <= 4; i++)
        CHECK_OK(px_cbor_put_uint(&out, i));
    c = px_cbor(px_buf_slice(&out));
    CHECK_OK(px_cbor_map(&c, &count));
    CHECK_INT(count, 2);
    CHECK_INT(c.rest.len, 4);
    CHECK_HEX(&out, "a201020304");
    px_buf_deinit(&out);
}

/* Every definite, shortest item of appendix A that libcbor knows, whatever its type. */
TEST(one_whole_item_of_any_type_is_skipped)
{
    static const char *const items[] = {
        "00", "1bffffffffffffffff", "20", "29", "3863", "3903e7", "3bffffffffffffffff",
        "c249010000000000000000", "c349010000000000000000",
        /* floats */
        "f90000", "f98000", "f93c00", "fb3ff199999999999a", "f93e00", "f97bff", "fa47c35000",
        "fa7f7fffff", "fb7e37e43c8800759c", "f90001", "f90400", "f9c400", "fbc010666666666666",
        "f97c00", "f97e00", "f9fc00",
        /* simple values and tags */
        "f4", "f5", "f6", "f7", "c074323031332d30332d32315432303a30343a30305a", "c11a514b67b0",
        "c1fb41d452d9e2000000", "d74401020304", "d818456449455446",
        "d82076687474703a2f2f7777772e6578616d706c652e636f6d",
        /* strings, arrays, maps */
        "40", "4401020304", "60", "62225c", "80", "83010203", "8301820203820405",
        "98190102030405060708090a0b0c0d0e0f101112131415161718181819", "a0", "a201020304",
        "a26161016162820203", "826161a161626163", "a56161614161626142616361436164614461656145"};
    for (size_t i = 0; i < PX_ARRAY_LEN(items); i++) {
        struct bytes b = from_hex(items[i]);
        b.data[b.len] = 0x17; /* what follows stays */
        struct px_cbor c = px_cbor(px_slice(b.data, b.len + 1));
        uint64_t next;
        if (px_cbor_skip(&c) != 0)
            px_test_fail(__FILE__, __LINE__, "%s was refused", items[i]);
        CHECK_OK(px_cbor_uint(&c, &next));
        CHECK_INT(next, 23);
        for (size_t cut = 0; cut < b.len; cut++) {
            c = px_cbor(px_slice(b.data, cut));
            CHECK_ERR(px_cbor_skip(&c), PX_ETRUNC);
            CHECK_INT(c.rest.len, cut);
        }
    }
}

TEST(what_is_not_deterministic_is_refused)
{
    static const char *const items[] = {
        /* heads that could be shorter */
        "1800", "1817", "190000", "1900ff", "1a00000000", "1a0000ffff", "1b0000000000000000",
        "1b00000000ffffffff", "3817", "390000", "3a00000000", "3b0000000000000000", "580161",
        "59000161", "5a0000000161", "5b000000000000000161", "780161", "79000161", "7a0000000161",
        "980100", "99000100", "9a0000000100", "9b000000000000000100", "b8010000", "b900010000",
        "ba000000010000", "d81700", "d9000100",
        /* indefinite lengths and breaks (appendix A and §3.2) */
        "5f42010243030405ff", "7f657374726561646d696e67ff", "9fff", "9f018202039f0405ffff",
        "83018202039f0405ff", "bf61610161629f0203ffff", "bf6346756ef563416d7421ff", "ff", "5fff",
        "81ff",
        /* reserved heads and simple values nobody has defined */
        "1c", "1d", "1e", "1f", "3c", "5c", "7c", "9c", "bc", "dc", "fc", "fd", "fe", "f0", "f800",
        "f818", "f8ff", "f814",
        /* floats that would fit a shorter form: 1.0, 0, Infinity, NaN, 65504, 2^-24, 2^-14 */
        "fa3f800000", "fa00000000", "fa7f800000", "faff800000", "fa7fc00000", "fa477fe000",
        "fa33800000", "fa38800000", "fa80000000", "fb0000000000000000", "fb7ff0000000000000",
        "fb7ff8000000000000", "fb3ff0000000000000", "fb40f86a0000000000", "fb36a0000000000000",
        /* map keys out of order or doubled */
        "a203000200", "a201000100", "a2616200616100", "a21818000a00", "a26161002000",
        "a26161000100",
        /* not UTF-8: continuation alone, overlong, surrogate, above U+10FFFF, cut off, latin-1 */
        "6180", "62c080", "63e08080", "63eda080", "64f0808080", "64f4908080", "64f5808080",
        "62e6b0", "61fc", "62c3c3", "63e6b041", "61ff"};
    for (size_t i = 0; i < PX_ARRAY_LEN(items); i++) {
        struct bytes b = from_hex(items[i]);
        struct px_cbor c = px_cbor(px_slice(b.data, b.len));
        int err = px_cbor_skip(&c);
        if (err != PX_EPARSE)
            px_test_fail(__FILE__, __LINE__, "%s: %s", items[i], px_errname(err));
        CHECK_INT(c.rest.len, b.len);
    }
}

TEST(floats_that_fit_no_shorter_form_stay)
{
    /* 2^-25, 2^-14 with all fraction bits, 65536, a NaN with a long payload, 2^-150, 2^128 */
    static const char *const items[] = {
        "fa33000000",         "fa38ffe001",         "fa47800000",
        "fa7fc00001",         "fb3690000000000000", "fb47f0000000000000",
        "fb7ff8000000000001", "fb0000000000000001", "fa00000001"};
    for (size_t i = 0; i < PX_ARRAY_LEN(items); i++) {
        struct bytes b = from_hex(items[i]);
        struct px_cbor c = px_cbor(px_slice(b.data, b.len));
        CHECK_OK(px_cbor_skip(&c));
        CHECK_OK(px_cbor_end(&c));
    }
}

TEST(another_type_is_refused_and_nothing_moves)
{
    static const char *const items[] = {"01",     "21",   "4101", "6161", "8101",
                                        "a10101", "c101", "f4",   "f6",   "f93c00"};
    for (size_t i = 0; i < PX_ARRAY_LEN(items); i++) {
        struct bytes b = from_hex(items[i]);
        struct px_cbor c = px_cbor(px_slice(b.data, b.len));
        uint64_t u;
        bool t;
        size_t n;
        struct px_slice s;
        int ok = 0;
        for (int get = 0; get < 6; get++) {
            struct px_cbor at = c;
            int err = get == 0   ? px_cbor_uint(&at, &u)
                      : get == 1 ? px_cbor_bool(&at, &t)
                      : get == 2 ? px_cbor_bytes(&at, &s)
                      : get == 3 ? px_cbor_text(&at, &s)
                      : get == 4 ? px_cbor_array(&at, &n)
                                 : px_cbor_map(&at, &n);
            CHECK(err == 0 || err == PX_EPARSE);
            ok += err == 0;
            if (err != 0)
                CHECK_INT(at.rest.len, b.len);
        }
        CHECK(ok <= 1);
    }
}

TEST(a_count_larger_than_the_bytes_left_is_refused)
{
    static const struct {
        const char *hex;
        bool map;
        int err;
    } rows[] = {{"820000", false, 0},
                {"830000", false, PX_ETRUNC},
                {"9bffffffffffffffff00", false, PX_ETRUNC},
                {"a200000000", true, 0},
                {"a2000000", true, PX_ETRUNC},
                {"bbffffffffffffffff00", true, PX_ETRUNC},
                {"bb800000000000000000", true, PX_ETRUNC}};
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        struct bytes b = from_hex(rows[i].hex);
        struct px_cbor c = px_cbor(px_slice(b.data, b.len));
        size_t n;
        CHECK_ERR(rows[i].map ? px_cbor_map(&c, &n) : px_cbor_array(&c, &n), rows[i].err);
    }
    struct px_slice s;
    struct bytes b = from_hex("5bffffffffffffffff00");
    struct px_cbor c = px_cbor(px_slice(b.data, b.len));
    CHECK_ERR(px_cbor_bytes(&c, &s), PX_ETRUNC);
    c = px_cbor(px_slice(NULL, 0));
    CHECK_ERR(px_cbor_bytes(&c, &s), PX_ETRUNC);
}

TEST(nesting_stops_at_its_limit)
{
    static const char *const levels[] = {"81", "a100", "c1"};
    for (size_t i = 0; i < PX_ARRAY_LEN(levels); i++) {
        struct bytes level = from_hex(levels[i]);
        struct px_buf b;
        px_buf_init(&b, 1000);
        for (int depth = 1; depth <= PX_CBOR_DEPTH_MAX + 1; depth++) {
            struct px_buf whole;
            CHECK_OK(px_buf_put(&b, px_slice(level.data, level.len)));
            px_buf_init(&whole, 1000);
            CHECK_OK(px_buf_put(&whole, px_buf_slice(&b)));
            CHECK_OK(px_cbor_put_uint(&whole, 0));
            struct px_cbor c = px_cbor(px_buf_slice(&whole));
            CHECK_ERR(px_cbor_skip(&c), depth > PX_CBOR_DEPTH_MAX ? PX_ELIMIT : 0);
            px_buf_deinit(&whole);
        }
        px_buf_deinit(&b);
    }
}

TEST(the_end_is_checked)
{
    struct px_cbor c = px_cbor(PX_SLICE_LIT("\x00\x00"));
    uint64_t v;
    CHECK_ERR(px_cbor_end(&c), PX_EPARSE);
    CHECK_OK(px_cbor_uint(&c, &v));
    CHECK_ERR(px_cbor_end(&c), PX_EPARSE);
    CHECK_OK(px_cbor_uint(&c, &v));
    CHECK_OK(px_cbor_end(&c));
}

TEST(writers_keep_to_the_maximum_and_to_utf8)
{
    struct px_buf out;
    px_buf_init(&out, 4);
    CHECK_OK(px_cbor_put_text(&out, PX_SLICE_LIT("abc")));
    CHECK_ERR(px_cbor_put_uint(&out, 0), PX_ELIMIT);
    px_buf_clear(&out);
    CHECK_ERR(px_cbor_put_text(&out, PX_SLICE_LIT("\xff")), PX_EINVAL);
    CHECK_ERR(px_cbor_put_uint(&out, 0), PX_EINVAL); /* sticky */
    CHECK_INT(out.len, 0);
    px_buf_deinit(&out);
}

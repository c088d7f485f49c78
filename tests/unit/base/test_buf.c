/* Buffers, readers, slices: bounds and sticky errors. */
#include "proto/base/buf.h"
#include "proto/base/log.h"
#include "proto/base/reader.h"
#include "tests/test.h"

TEST(buffer_stops_at_its_maximum_and_keeps_what_it_had)
{
    struct px_buf b;
    px_buf_init(&b, 5);
    CHECK_OK(px_buf_put_cstr(&b, "abc"));
    CHECK_ERR(px_buf_put_cstr(&b, "def"), PX_ELIMIT);
    CHECK_ERR(px_buf_put_cstr(&b, "d"), PX_ELIMIT); /* sticky */
    CHECK_SLICE(px_buf_slice(&b), PX_SLICE_LIT("abc"));
    px_buf_clear(&b);
    CHECK_OK(px_buf_put_cstr(&b, "abcde"));
    px_buf_drop(&b, 2);
    CHECK_SLICE(px_buf_slice(&b), PX_SLICE_LIT("cde"));
    px_buf_deinit(&b);
}

TEST(reader_reads_what_the_buffer_wrote_and_not_a_byte_more)
{
    struct px_buf b;
    px_buf_init(&b, 100);
    CHECK_OK(px_buf_put_u8(&b, 7));
    CHECK_OK(px_buf_put_be16(&b, 0x1234));
    CHECK_OK(px_buf_put_be32(&b, 0x89abcdef));
    CHECK_OK(px_buf_put_be64(&b, 0x0102030405060708));
    CHECK_OK(px_buf_put_le64(&b, 0x0102030405060708));
    struct px_reader r = px_reader(px_buf_slice(&b));
    uint8_t v8;
    uint16_t v16;
    uint32_t v32;
    uint64_t v64;
    CHECK_OK(px_reader_u8(&r, &v8));
    CHECK_INT(v8, 7);
    CHECK_OK(px_reader_be16(&r, &v16));
    CHECK_INT(v16, 0x1234);
    CHECK_OK(px_reader_be32(&r, &v32));
    CHECK_INT(v32, 0x89abcdef);
    CHECK_OK(px_reader_be64(&r, &v64));
    CHECK_INT(v64, 0x0102030405060708);
    CHECK_OK(px_reader_le64(&r, &v64));
    CHECK_INT(v64, 0x0102030405060708);
    CHECK_ERR(px_reader_u8(&r, &v8), PX_ETRUNC);
    px_buf_deinit(&b);
}

TEST(numbers_with_signs_blanks_zeros_or_overflow_are_refused)
{
    static const char *const bad[] = {"", "-1", "+1", " 1", "1 ", "01", "1x", "0x1"};
    uint64_t v = 42;
    for (size_t i = 0; i < PX_ARRAY_LEN(bad); i++)
        CHECK_ERR(px_slice_parse_u64(px_slice_cstr(bad[i]), &v), PX_EPARSE);
    CHECK_ERR(px_slice_parse_u64(PX_SLICE_LIT("18446744073709551616"), &v), PX_ELIMIT);
    CHECK_INT(v, 42);
    CHECK_OK(px_slice_parse_u64(PX_SLICE_LIT("18446744073709551615"), &v));
    CHECK(v == UINT64_MAX);
}

TEST(a_log_value_cannot_forge_a_line_or_a_field)
{
    struct px_buf b;
    px_buf_init(&b, 1000);
    struct px_log_field f[] = {PX_F_STR("peer", "a\nlevel=error x=\"y\""), PX_F_U64("n", 5)};
    CHECK_OK(px_log_format(&b, PX_LOG_INFO, "link.up", f, 2, false));
    CHECK_SLICE(px_buf_slice(&b), PX_SLICE_LIT("level=info event=link.up "
                                               "peer=\"a\\u000alevel=error x=\\\"y\\\"\" n=5"));
    px_buf_deinit(&b);
}

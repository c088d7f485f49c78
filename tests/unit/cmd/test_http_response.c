/* Heads of responses: whole, in pieces, too long, and not HTTP. */
#include "cmd/http_response.h"

#include <stdlib.h>

#include "tests/test.h"

TEST(a_head_gives_status_length_and_where_the_body_begins)
{
    static const char text[] =
        "HTTP/1.1 404 Not Found\r\nDate: x\r\ncontent-LENGTH:  12 \r\n\r\n{}";
    struct px_http_response r;
    size_t len;
    CHECK_OK(px_http_response_parse(PX_SLICE_LIT("HTTP/1.0 200 OK\n\nbody"), &r, &len));
    CHECK_INT(r.status, 200);
    CHECK(!r.has_length);
    CHECK_INT(len, 17);
    CHECK_OK(px_http_response_parse(px_slice_cstr(text), &r, &len));
    CHECK_INT(r.status, 404);
    CHECK(r.has_length);
    CHECK_INT(r.length, 12);
    CHECK_STR(text + len, "{}");
}

TEST(every_part_of_a_head_asks_for_more)
{
    struct px_slice whole = PX_SLICE_LIT("HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 0\r\n\r\n");
    struct px_http_response r;
    size_t len;
    for (size_t n = 0; n < whole.len; n++)
        CHECK_ERR(px_http_response_parse(px_slice_take(whole, n), &r, &len), PX_ETRUNC);
    CHECK_OK(px_http_response_parse(whole, &r, &len));
    CHECK_INT(len, whole.len);
}

TEST(what_is_no_head_is_refused)
{
    static const char *const cases[] = {
        "\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        "HTTP/1.1\r\n\r\n",
        "HTTP/1.1 20\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 -20 OK\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 600 X\r\n\r\n",
        "HTTP/1.1 200 OK\r\nnocolon\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++) {
        struct px_http_response r = {.status = 7};
        size_t len = 7;
        CHECK_ERR(px_http_response_parse(px_slice_cstr(cases[i]), &r, &len), PX_EPARSE);
        CHECK_INT(r.status, 7);
        CHECK_INT(len, 7);
    }
}

TEST(a_transfer_coding_is_refused)
{
    struct px_http_response r;
    size_t len;
    CHECK_ERR(px_http_response_parse(
                  PX_SLICE_LIT("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), &r, &len),
              PX_EUNSUPPORTED);
}

TEST(a_head_without_end_is_too_long_at_the_limit)
{
    char *text = malloc(PX_HTTP_HEAD_MAX + 10);
    struct px_http_response r;
    size_t len;
    CHECK(text != NULL);
    memset(text, 'x', PX_HTTP_HEAD_MAX + 10);
    memcpy(text, "HTTP/1.1 200 OK\nA:", 18);
    CHECK_ERR(px_http_response_parse(px_slice(text, PX_HTTP_HEAD_MAX - 1), &r, &len), PX_ETRUNC);
    CHECK_ERR(px_http_response_parse(px_slice(text, PX_HTTP_HEAD_MAX), &r, &len), PX_ELIMIT);
    memcpy(text + PX_HTTP_HEAD_MAX, "\n\n", 2);
    CHECK_ERR(px_http_response_parse(px_slice(text, PX_HTTP_HEAD_MAX + 10), &r, &len), PX_ELIMIT);
    free(text);
}

/* Strict about what it must understand, blind to all other headers. */
#include "cmd/http_response.h"

#include <strings.h>

/* The next line without CRLF or LF; false while its end is not there. */
static bool next_line(struct px_slice *rest, struct px_slice *ret)
{
    const uint8_t *end = rest->len > 0 ? memchr(rest->data, '\n', rest->len) : NULL;
    if (end == NULL)
        return false;
    size_t n = (size_t)(end - rest->data);
    *ret = px_slice_take(*rest, n > 0 && end[-1] == '\r' ? n - 1 : n);
    *rest = px_slice_skip(*rest, n + 1);
    return true;
}

/* "HTTP/1.1 200 OK" */
static int parse_status(struct px_slice line, unsigned *ret)
{
    struct px_slice version, code = {NULL, 0};
    uint64_t status;
    (void)px_slice_split(&line, ' ', &version);
    (void)px_slice_split(&line, ' ', &code);
    bool known = px_slice_eq_cstr(version, "HTTP/1.0") || px_slice_eq_cstr(version, "HTTP/1.1");
    if (!known || code.len != 3 || px_slice_parse_u64(code, &status) != 0 || status < 200 ||
        status > 599)
        return PX_EPARSE;
    *ret = (unsigned)status;
    return 0;
}

/* Header names are ASCII and compare without case. */
static bool is_named(struct px_slice name, const char *want)
{
    return name.len == strlen(want) && strncasecmp((const char *)name.data, want, name.len) == 0;
}

static int parse_header(struct px_slice line, struct px_http_response *r)
{
    struct px_slice name;
    uint64_t length;
    (void)px_slice_split(&line, ':', &name);
    if (line.data == NULL || name.len == 0)
        return PX_EPARSE;
    if (is_named(name, "transfer-encoding"))
        return PX_EUNSUPPORTED;
    if (!is_named(name, "content-length"))
        return 0;
    if (px_slice_parse_u64(px_slice_trim(line), &length) != 0 ||
        (r->has_length && length != r->length))
        return PX_EPARSE;
    r->has_length = true;
    r->length = length;
    return 0;
}

int px_http_response_parse(struct px_slice input, struct px_http_response *ret, size_t *ret_len)
{
    struct px_http_response r = {0};
    struct px_slice rest = px_slice_take(input, PX_HTTP_HEAD_MAX), line;
    int more = input.len >= PX_HTTP_HEAD_MAX ? PX_ELIMIT : PX_ETRUNC;
    if (!next_line(&rest, &line))
        return more;
    int err = parse_status(line, &r.status);
    while (err == 0) {
        if (!next_line(&rest, &line))
            return more;
        if (line.len == 0)
            break;
        err = parse_header(line, &r);
    }
    if (err != 0)
        return err;
    *ret = r;
    *ret_len = (size_t)(rest.data - input.data);
    return 0;
}

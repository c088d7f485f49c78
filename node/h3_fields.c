/* Header fields of requests and responses, in and out (docs/spec/http3.md §4). Nothing here keeps
 * state of its own. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "node/h3_internal.h"

bool px_h3_parse_range(struct px_slice text, uint64_t *ret_first, uint64_t *ret_last)
{
    uint64_t first, last = UINT64_MAX;
    struct px_slice head;
    if (!px_slice_starts(text, PX_SLICE_LIT("bytes=")))
        return false;
    struct px_slice rest = px_slice_skip(text, 6);
    if (memchr(rest.data, '-', rest.len) == NULL || !px_slice_split(&rest, '-', &head) ||
        px_slice_parse_u64(head, &first) != 0)
        return false;
    if (rest.len > 0 && (px_slice_parse_u64(rest, &last) != 0 || last < first))
        return false;
    *ret_first = first;
    *ret_last = last;
    return true;
}

bool px_h3_parse_content_range(struct px_slice text, uint64_t *ret_first, uint64_t *ret_last,
                               uint64_t *ret_total)
{
    uint64_t first, last, total;
    struct px_slice a, b;
    if (!px_slice_starts(text, PX_SLICE_LIT("bytes ")))
        return false;
    struct px_slice rest = px_slice_skip(text, 6);
    if (!px_slice_split(&rest, '-', &a) || !px_slice_split(&rest, '/', &b) ||
        px_slice_parse_u64(a, &first) != 0 || px_slice_parse_u64(b, &last) != 0 ||
        px_slice_parse_u64(rest, &total) != 0)
        return false;
    if (first > last || last >= total)
        return false;
    *ret_first = first;
    *ret_last = last;
    *ret_total = total;
    return true;
}

static void take_path(struct px_h3_exchange *x, struct px_slice value)
{
    if (x->path != NULL || value.len == 0 || value.len > PX_H3_PATH_MAX || value.data[0] != '/') {
        x->bad_request = true;
        return;
    }
    x->path = malloc(value.len);
    if (x->path == NULL) {
        x->abort_code = NGHTTP3_H3_INTERNAL_ERROR;
        return;
    }
    memcpy(x->path, value.data, value.len);
    x->path_len = value.len;
}

static void request_field(struct px_h3_exchange *x, int32_t token, struct px_slice value)
{
    switch (token) {
    case NGHTTP3_QPACK_TOKEN__METHOD:
        x->head = px_slice_eq_cstr(value, "HEAD");
        x->known_method = x->head || px_slice_eq_cstr(value, "GET");
        break;
    case NGHTTP3_QPACK_TOKEN__PATH:
        take_path(x, value);
        break;
    case NGHTTP3_QPACK_TOKEN_RANGE:
        x->has_range = px_h3_parse_range(value, &x->range_first, &x->range_last);
        break;
    default:
        break;
    }
}

static void response_field(struct px_h3_exchange *x, int32_t token, struct px_slice name,
                           struct px_slice value)
{
    uint64_t n = 0;
    switch (token) {
    case NGHTTP3_QPACK_TOKEN__STATUS:
        /* nghttp3 lets three digits through only */
        if (px_slice_parse_u64(value, &n) != 0 || n > 999)
            x->abort_code = NGHTTP3_H3_MESSAGE_ERROR;
        x->res.status = (unsigned)n;
        break;
    case NGHTTP3_QPACK_TOKEN_CONTENT_LENGTH:
        if (px_slice_parse_u64(value, &n) != 0)
            x->abort_code = NGHTTP3_H3_MESSAGE_ERROR;
        x->res.content_length = n;
        break;
    default: /* nghttp3 has no token for this one */
        if (px_slice_eq_cstr(name, "content-range"))
            x->has_content_range =
                px_h3_parse_content_range(value, &x->range_first, &x->range_last, &x->range_total);
        break;
    }
}

void px_h3_field(struct px_h3_exchange *x, int32_t token, struct px_slice name,
                 struct px_slice value)
{
    if (++x->field_count > PX_H3_HEADERS_MAX) {
        x->abort_code = NGHTTP3_H3_EXCESSIVE_LOAD;
        return;
    }
    if (x->s->serving)
        request_field(x, token, value);
    else
        response_field(x, token, name, value);
}

static nghttp3_nv nv(const char *name, struct px_slice value)
{
    /* nghttp3 copies both: the flags do not say otherwise. It takes non-const pointers and writes
     * through neither. */
    union {
        const uint8_t *in;
        uint8_t *out;
    } n = {(const uint8_t *)name}, v = {value.data};
    return (nghttp3_nv){
        .name = n.out, .namelen = strlen(name), .value = v.out, .valuelen = value.len};
}

int px_h3_submit_request(struct px_h3_exchange *x, bool head, struct px_slice path,
                         uint64_t range_first)
{
    struct px_h3_session *s = x->s;
    char range[40];
    nghttp3_nv nva[5] = {
        nv(":method", head ? PX_SLICE_LIT("HEAD") : PX_SLICE_LIT("GET")),
        nv(":scheme", PX_SLICE_LIT("https")),
        nv(":authority", PX_SLICE_LIT("peer")),
        nv(":path", path),
    };
    size_t n = 4;
    if (range_first > 0) {
        (void)snprintf(range, sizeof(range), "bytes=%" PRIu64 "-", range_first);
        nva[n++] = nv("range", px_slice_cstr(range));
    }
    return px_h3_error(
        nghttp3_conn_submit_request(px_h3_conn(s), x->id ^ s->flip, nva, n, NULL, x));
}

/* Small answers go first, large bodies share what is left; without this nghttp3 serves in the order
 * of stream ids and a narinfo would wait for every NAR asked for before it. */
static nghttp3_pri priority(const struct px_h3_answer *a)
{
    bool large = a->body != NULL && a->content_length > PX_H3_SMALL_BODY;
    return (nghttp3_pri){.urgency = large ? NGHTTP3_DEFAULT_URGENCY : 1, .inc = large};
}

int px_h3_submit_answer(struct px_h3_exchange *x, const struct px_h3_answer *a)
{
    static const nghttp3_data_reader reader = {.read_data = px_h3_read_body};
    struct px_h3_session *s = x->s;
    int64_t id = x->id ^ s->flip;
    char status[8], length[24], range[72];
    nghttp3_nv nva[5];
    size_t n = 0;
    (void)snprintf(status, sizeof(status), "%03u", a->status);
    nva[n++] = nv(":status", px_slice_cstr(status));
    if (a->content_length != PX_H3_NO_LENGTH) {
        (void)snprintf(length, sizeof(length), "%" PRIu64, a->content_length);
        nva[n++] = nv("content-length", px_slice_cstr(length));
    }
    if (a->content_type != NULL)
        nva[n++] = nv("content-type", px_slice_cstr(a->content_type));
    if (a->status == 206) {
        (void)snprintf(range, sizeof(range), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64,
                       a->range_first, a->range_first + (a->content_length - 1), a->total);
        nva[n++] = nv("content-range", px_slice_cstr(range));
    }
    int rv = nghttp3_conn_set_stream_user_data(px_h3_conn(s), id, x);
    if (rv == 0) {
        nghttp3_pri pri = priority(a);
        rv = nghttp3_conn_set_server_stream_priority(px_h3_conn(s), id, &pri);
    }
    if (rv == 0)
        rv = nghttp3_conn_submit_response(px_h3_conn(s), id, nva, n,
                                          a->body != NULL ? &reader : NULL);
    return px_h3_error(rv);
}

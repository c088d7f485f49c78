/* CBOR: what is skipped as one whole item can be read piece by piece, and writing it again gives
 * the same bytes. */
#include "proto/cbor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void copy_item(struct px_cbor *c, struct px_buf *out)
{
    uint64_t u;
    bool t;
    size_t n;
    struct px_slice s;
    struct px_cbor before = *c;
    if (px_cbor_uint(c, &u) == 0) {
        (void)px_cbor_put_uint(out, u);
    } else if (px_cbor_bool(c, &t) == 0) {
        (void)px_cbor_put_bool(out, t);
    } else if (px_cbor_bytes(c, &s) == 0) {
        (void)px_cbor_put_bytes(out, s);
    } else if (px_cbor_text(c, &s) == 0) {
        (void)px_cbor_put_text(out, s);
    } else if (px_cbor_array(c, &n) == 0) {
        (void)px_cbor_put_array(out, n);
        for (size_t i = 0; i < n; i++)
            copy_item(c, out);
    } else if (px_cbor_map(c, &n) == 0) {
        (void)px_cbor_put_map(out, n);
        for (size_t i = 0; i < 2 * n; i++)
            copy_item(c, out);
    } else { /* a type we have no getter for */
        px_assert(px_cbor_skip(c) == 0);
        (void)px_buf_put(out, px_slice_take(before.rest, before.rest.len - c->rest.len));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct px_slice in = px_slice(data, len);
    struct px_cbor end = px_cbor(in), c = px_cbor(in);
    struct px_buf out;
    if (px_cbor_skip(&end) != 0) {
        px_assert(end.rest.len == len);
        return 0;
    }
    px_buf_init(&out, len);
    copy_item(&c, &out);
    px_assert(c.rest.len == end.rest.len && out.err == 0);
    px_assert(px_slice_eq(px_buf_slice(&out), px_slice_take(in, len - end.rest.len)));
    px_buf_deinit(&out);
    return 0;
}

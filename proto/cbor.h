/* The one CBOR codec (RFC 8949, deterministic encoding only), over libcbor's streaming decoder.
 *
 * Messages are small maps with unsigned integer keys. Decoding is pull: ask for what must come
 * next; anything else is PX_EPARSE. Depth and size are bounded by the caller's slices and
 * PX_CBOR_*. */
#ifndef PX_PROTO_CBOR_H
#define PX_PROTO_CBOR_H

#include "proto/base/buf.h"

#define PX_CBOR_DEPTH_MAX 8

/* Writers append the shortest form. Text that is not UTF-8 marks the buffer failed: PX_EINVAL. */
int px_cbor_put_uint(struct px_buf *out, uint64_t v);
int px_cbor_put_bool(struct px_buf *out, bool v);
int px_cbor_put_bytes(struct px_buf *out, struct px_slice v);
int px_cbor_put_text(struct px_buf *out, struct px_slice v);
int px_cbor_put_array(struct px_buf *out, size_t count); /* items follow */
int px_cbor_put_map(struct px_buf *out, size_t count); /* key, value pairs follow, keys ascending */

struct px_cbor {
    struct px_slice rest;
};
static inline struct px_cbor px_cbor(struct px_slice s)
{
    return (struct px_cbor){s};
}

/* Getters: 0, PX_ETRUNC, PX_EPARSE (another type, not the shortest form, indefinite length, bad
 * UTF-8). Views point into the input. Counts are checked against the bytes left: every item takes
 * at least one. */
PX_MUST_CHECK int px_cbor_uint(struct px_cbor *c, uint64_t *ret);
PX_MUST_CHECK int px_cbor_bool(struct px_cbor *c, bool *ret);
PX_MUST_CHECK int px_cbor_bytes(struct px_cbor *c, struct px_slice *ret);
PX_MUST_CHECK int px_cbor_text(struct px_cbor *c, struct px_slice *ret);
PX_MUST_CHECK int px_cbor_array(struct px_cbor *c, size_t *ret_count);
PX_MUST_CHECK int px_cbor_map(struct px_cbor *c, size_t *ret_count);
/* Skips one whole item of any type, nested at most PX_CBOR_DEPTH_MAX (else PX_ELIMIT): unknown keys
 * are skipped by it. Inside, map keys must ascend and floats be of the shortest form. */
PX_MUST_CHECK int px_cbor_skip(struct px_cbor *c);
/* PX_EPARSE unless everything was read. */
PX_MUST_CHECK int px_cbor_end(const struct px_cbor *c);

#endif

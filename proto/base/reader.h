/* The one bounds-checked reader: every parser of foreign bytes goes through it.
 *
 * Each getter returns 0 and advances, or PX_ETRUNC and leaves the position and the output alone. */
#ifndef PX_PROTO_BASE_READER_H
#define PX_PROTO_BASE_READER_H

#include "proto/base/slice.h"

struct px_reader {
    struct px_slice rest; /* what is not read yet */
};

static inline struct px_reader px_reader(struct px_slice s)
{
    return (struct px_reader){s};
}

static inline size_t px_reader_left(const struct px_reader *r)
{
    return r->rest.len;
}

/* A view of the next n bytes. */
PX_MUST_CHECK int px_reader_take(struct px_reader *r, size_t n, struct px_slice *ret);
/* Copies the next n bytes to dst. */
PX_MUST_CHECK int px_reader_copy(struct px_reader *r, void *dst, size_t n);
PX_MUST_CHECK int px_reader_u8(struct px_reader *r, uint8_t *ret);
PX_MUST_CHECK int px_reader_be16(struct px_reader *r, uint16_t *ret);
PX_MUST_CHECK int px_reader_be32(struct px_reader *r, uint32_t *ret);
PX_MUST_CHECK int px_reader_be64(struct px_reader *r, uint64_t *ret);
PX_MUST_CHECK int px_reader_le64(struct px_reader *r, uint64_t *ret);

#endif

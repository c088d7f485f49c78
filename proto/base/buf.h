/* A growable byte buffer with a hard maximum, and the writer for every wire format of ours.
 *
 * Once an append fails the buffer is marked failed and stays as it was; later appends are no-ops
 * that return the same error, so a run of appends may be checked once at its end. */
#ifndef PX_PROTO_BASE_BUF_H
#define PX_PROTO_BASE_BUF_H

#include "proto/base/slice.h"

struct px_buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    size_t max; /* len never exceeds it */
    int err;    /* sticky: first failed append */
};

/* An empty buffer that may grow to max bytes. Ends with px_buf_deinit. */
void px_buf_init(struct px_buf *b, size_t max);
/* Frees the memory; the buffer is then empty and may be used again with the same maximum. */
void px_buf_deinit(struct px_buf *b);
/* Empties it and clears the error, keeps the memory. */
void px_buf_clear(struct px_buf *b);
/* Drops the first n bytes (n <= len). */
void px_buf_drop(struct px_buf *b, size_t n);

static inline struct px_slice px_buf_slice(const struct px_buf *b)
{
    return px_slice(b->data, b->len);
}

/* Makes room for n more bytes and returns where they go, without counting them; NULL on failure
 * (see b->err). Follow with px_buf_commit. */
uint8_t *px_buf_reserve(struct px_buf *b, size_t n);
void px_buf_commit(struct px_buf *b, size_t n);

/* Appends. Return 0, PX_ENOMEM, or PX_ELIMIT when max would be passed. */
int px_buf_put(struct px_buf *b, struct px_slice s);
int px_buf_put_cstr(struct px_buf *b, const char *s);
int px_buf_put_u8(struct px_buf *b, uint8_t v);
int px_buf_put_be16(struct px_buf *b, uint16_t v);
int px_buf_put_be32(struct px_buf *b, uint32_t v);
int px_buf_put_be64(struct px_buf *b, uint64_t v);
int px_buf_put_le64(struct px_buf *b, uint64_t v);
int px_buf_printf(struct px_buf *b, const char *fmt, ...) PX_PRINTF(2, 3);

#endif

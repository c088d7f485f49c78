/* Growth by doubling, bounded by max; every append goes through px_buf_reserve. */
#include "proto/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void px_buf_init(struct px_buf *b, size_t max)
{
    *b = (struct px_buf){.max = max};
}

void px_buf_deinit(struct px_buf *b)
{
    free(b->data);
    px_buf_init(b, b->max);
}

void px_buf_clear(struct px_buf *b)
{
    b->len = 0;
    b->err = 0;
}

void px_buf_drop(struct px_buf *b, size_t n)
{
    px_assert(n <= b->len);
    if (n > 0 && n < b->len)
        memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
}

uint8_t *px_buf_reserve(struct px_buf *b, size_t n)
{
    if (b->err != 0)
        return NULL;
    if (n > b->max - b->len) {
        b->err = PX_ELIMIT;
        return NULL;
    }
    if (n > b->cap - b->len || b->data == NULL) {
        size_t want = PX_MAX(b->len + n, (size_t)64);
        size_t cap = PX_MAX(want, b->cap > b->max / 2 ? b->max : b->cap * 2);
        uint8_t *data = realloc(b->data, cap);
        if (data == NULL) {
            b->err = PX_ENOMEM;
            return NULL;
        }
        b->data = data;
        b->cap = cap;
    }
    return b->data + b->len;
}

void px_buf_commit(struct px_buf *b, size_t n)
{
    px_assert(n <= b->cap - b->len);
    b->len += n;
}

int px_buf_put(struct px_buf *b, struct px_slice s)
{
    uint8_t *at = px_buf_reserve(b, s.len);
    if (at == NULL)
        return b->err;
    if (s.len > 0)
        memcpy(at, s.data, s.len);
    b->len += s.len;
    return 0;
}

int px_buf_put_cstr(struct px_buf *b, const char *s)
{
    return px_buf_put(b, px_slice_cstr(s));
}

int px_buf_put_u8(struct px_buf *b, uint8_t v)
{
    return px_buf_put(b, px_slice(&v, 1));
}

static int put_be(struct px_buf *b, uint64_t v, size_t width)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < width; i++)
        bytes[i] = (uint8_t)(v >> (8 * (width - 1 - i)));
    return px_buf_put(b, px_slice(bytes, width));
}

int px_buf_put_be16(struct px_buf *b, uint16_t v)
{
    return put_be(b, v, 2);
}

int px_buf_put_be32(struct px_buf *b, uint32_t v)
{
    return put_be(b, v, 4);
}

int px_buf_put_be64(struct px_buf *b, uint64_t v)
{
    return put_be(b, v, 8);
}

int px_buf_put_le64(struct px_buf *b, uint64_t v)
{
    return put_be(b, __builtin_bswap64(v), 8);
}

int px_buf_printf(struct px_buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    px_assert(n >= 0);
    /* vsnprintf wants room for its NUL; it is written but not counted */
    char *at = (char *)px_buf_reserve(b, (size_t)n + 1);
    if (at == NULL)
        return b->err;
    va_start(ap, fmt);
    vsnprintf(at, (size_t)n + 1, fmt, ap);
    va_end(ap);
    px_buf_commit(b, (size_t)n);
    return 0;
}

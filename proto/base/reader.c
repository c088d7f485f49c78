/* Bounds are checked in px_reader_take alone. */
#include "proto/base/reader.h"

int px_reader_take(struct px_reader *r, size_t n, struct px_slice *ret)
{
    if (n > r->rest.len)
        return PX_ETRUNC;
    *ret = px_slice_take(r->rest, n);
    r->rest = px_slice_skip(r->rest, n);
    return 0;
}

int px_reader_copy(struct px_reader *r, void *dst, size_t n)
{
    struct px_slice s;
    int err = px_reader_take(r, n, &s);
    if (err == 0 && n > 0)
        memcpy(dst, s.data, n);
    return err;
}

static int get_be(struct px_reader *r, size_t width, uint64_t *ret)
{
    struct px_slice s;
    int err = px_reader_take(r, width, &s);
    if (err != 0)
        return err;
    uint64_t v = 0;
    for (size_t i = 0; i < width; i++)
        v = (v << 8) | s.data[i];
    *ret = v;
    return 0;
}

int px_reader_u8(struct px_reader *r, uint8_t *ret)
{
    return px_reader_copy(r, ret, 1);
}

int px_reader_be16(struct px_reader *r, uint16_t *ret)
{
    uint64_t v;
    int err = get_be(r, 2, &v);
    if (err == 0)
        *ret = (uint16_t)v;
    return err;
}

int px_reader_be32(struct px_reader *r, uint32_t *ret)
{
    uint64_t v;
    int err = get_be(r, 4, &v);
    if (err == 0)
        *ret = (uint32_t)v;
    return err;
}

int px_reader_be64(struct px_reader *r, uint64_t *ret)
{
    return get_be(r, 8, ret);
}

int px_reader_le64(struct px_reader *r, uint64_t *ret)
{
    uint64_t v;
    int err = get_be(r, 8, &v);
    if (err == 0)
        *ret = __builtin_bswap64(v);
    return err;
}

/* libcbor takes an item's head apart; what RFC 8949 §4.2.1 (core deterministic encoding) asks
 * beyond that is checked here: shortest heads and floats, definite lengths, map keys in order.
 * libcbor itself refuses unassigned simple values. No item is ever allocated. */
#include "proto/cbor.h"

#include <cbor.h>

#include "proto/base/reader.h"

#define HEAD_MAX 9 /* initial byte and a 64-bit argument */

enum item_kind {
    ITEM_REFUSED, /* indefinite length, or a break */
    ITEM_UINT,
    ITEM_NEGINT,
    ITEM_BYTES,
    ITEM_TEXT,
    ITEM_ARRAY,
    ITEM_MAP,
    ITEM_TAG,
    ITEM_BOOL,
    ITEM_NOTHING, /* null, undefined */
    ITEM_FLOAT,
};

/* One head, and for strings what it counts. */
struct item {
    enum item_kind kind;
    uint64_t arg;
    struct px_slice string;
};

static void set_item(void *ctx, enum item_kind kind, uint64_t arg)
{
    struct item *it = ctx;
    it->kind = kind;
    it->arg = arg;
}

#define ON_INT(name, type, kind)                                                                   \
    static void name(void *ctx, type v)                                                            \
    {                                                                                              \
        set_item(ctx, kind, v);                                                                    \
    }
#define ON_PLAIN(name, kind)                                                                       \
    static void name(void *ctx)                                                                    \
    {                                                                                              \
        set_item(ctx, kind, 0);                                                                    \
    }
#define ON_STRING(name, kind)                                                                      \
    static void name(void *ctx, cbor_data data, size_t len)                                        \
    {                                                                                              \
        set_item(ctx, kind, len);                                                                  \
        ((struct item *)ctx)->string = px_slice(data, len);                                        \
    }
#define ON_FLOAT(name, type)                                                                       \
    static void name(void *ctx, type v)                                                            \
    {                                                                                              \
        (void)v;                                                                                   \
        set_item(ctx, ITEM_FLOAT, 0);                                                              \
    }

ON_INT(on_uint8, uint8_t, ITEM_UINT)
ON_INT(on_uint16, uint16_t, ITEM_UINT)
ON_INT(on_uint32, uint32_t, ITEM_UINT)
ON_INT(on_uint64, uint64_t, ITEM_UINT)
ON_INT(on_negint8, uint8_t, ITEM_NEGINT)
ON_INT(on_negint16, uint16_t, ITEM_NEGINT)
ON_INT(on_negint32, uint32_t, ITEM_NEGINT)
ON_INT(on_negint64, uint64_t, ITEM_NEGINT)
ON_INT(on_array, size_t, ITEM_ARRAY)
ON_INT(on_map, size_t, ITEM_MAP)
ON_INT(on_tag, uint64_t, ITEM_TAG)
ON_INT(on_bool, bool, ITEM_BOOL)
ON_STRING(on_bytes, ITEM_BYTES)
ON_STRING(on_text, ITEM_TEXT)
ON_PLAIN(on_nothing, ITEM_NOTHING)
ON_PLAIN(on_refused, ITEM_REFUSED)
ON_FLOAT(on_float, float)
ON_FLOAT(on_double, double)

static const struct cbor_callbacks callbacks = {
    .uint8 = on_uint8,
    .uint16 = on_uint16,
    .uint32 = on_uint32,
    .uint64 = on_uint64,
    .negint8 = on_negint8,
    .negint16 = on_negint16,
    .negint32 = on_negint32,
    .negint64 = on_negint64,
    .byte_string_start = on_refused,
    .byte_string = on_bytes,
    .string = on_text,
    .string_start = on_refused,
    .indef_array_start = on_refused,
    .array_start = on_array,
    .indef_map_start = on_refused,
    .map_start = on_map,
    .tag = on_tag,
    .float2 = on_float,
    .float4 = on_float,
    .float8 = on_double,
    .undefined = on_nothing,
    .null = on_nothing,
    .boolean = on_bool,
    .indef_break = on_refused,
};

/* Unicode 15, table 3-7: no overlong form, no surrogate, nothing above U+10FFFF. */
static bool is_utf8(struct px_slice s)
{
    while (s.len > 0) {
        uint8_t c = s.data[0], low = 0x80, high = 0xbf;
        size_t more = c < 0x80 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
        if ((c >= 0x80 && c < 0xc2) || c > 0xf4 || more >= s.len)
            return false;
        if (c == 0xe0)
            low = 0xa0;
        else if (c == 0xed)
            high = 0x9f;
        else if (c == 0xf0)
            low = 0x90;
        else if (c == 0xf4)
            high = 0x8f;
        for (size_t i = 1; i <= more; i++) {
            if (s.data[i] < low || s.data[i] > high)
                return false;
            low = 0x80;
            high = 0xbf;
        }
        s = px_slice_skip(s, more + 1);
    }
    return true;
}

/* Whether a float with `frac` fraction bits and `exp` exponent bits, given by its bits, is exactly
 * one of the next smaller width (half or single), so that the larger form is not the shortest. */
static bool fits_smaller(uint64_t bits, unsigned frac, unsigned small_frac, int bias,
                         int small_bias)
{
    uint64_t fraction = bits & (((uint64_t)1 << frac) - 1);
    int biased = (int)((bits >> frac) & (uint64_t)(2 * bias + 1));
    int exponent = biased - bias;
    unsigned drop = frac - small_frac; /* fraction bits that must be zero */
    if (biased == 0)
        return fraction == 0; /* too small for the smaller width, or zero */
    if (exponent == bias + 1)
        return (fraction & (((uint64_t)1 << drop) - 1)) == 0; /* infinity, NaN */
    if (exponent > small_bias || exponent < 1 - small_bias - (int)small_frac)
        return false;
    if (exponent < 1 - small_bias) { /* subnormal there: the leading 1 is stored too */
        drop += (unsigned)(1 - small_bias - exponent);
        fraction |= (uint64_t)1 << frac;
    }
    return (fraction & (((uint64_t)1 << drop) - 1)) == 0;
}

static bool float_is_shortest(struct px_slice raw)
{
    struct px_reader r = px_reader(px_slice_skip(raw, 1));
    uint32_t single;
    uint64_t wide;
    if (raw.len == 5)
        return px_reader_be32(&r, &single) == 0 && !fits_smaller(single, 23, 10, 127, 15);
    if (raw.len == 9)
        return px_reader_be64(&r, &wide) == 0 && !fits_smaller(wide, 52, 23, 1023, 127);
    return true;
}

static size_t head_len(uint64_t arg)
{
    uint8_t scratch[HEAD_MAX];
    return cbor_encode_uint(arg, scratch, sizeof(scratch));
}

/* Reads one head (and a string's bytes); advances only when all is well. */
static int next_item(struct px_cbor *c, struct item *ret)
{
    struct item it = {ITEM_REFUSED, 0, {NULL, 0}};
    struct cbor_decoder_result r = cbor_stream_decode(c->rest.data, c->rest.len, &callbacks, &it);
    if (r.status == CBOR_DECODER_NEDATA)
        return PX_ETRUNC;
    if (r.status != CBOR_DECODER_FINISHED || it.kind == ITEM_REFUSED)
        return PX_EPARSE;
    struct px_slice raw = px_slice_take(c->rest, r.read);
    if (it.kind == ITEM_FLOAT) {
        if (!float_is_shortest(raw))
            return PX_EPARSE;
    } else if (raw.len - it.string.len != head_len(it.kind == ITEM_BOOL ? 0 : it.arg)) {
        return PX_EPARSE;
    }
    struct px_slice rest = px_slice_skip(c->rest, r.read);
    if (it.kind == ITEM_TEXT && !is_utf8(it.string))
        return PX_EPARSE;
    if ((it.kind == ITEM_ARRAY && it.arg > rest.len) ||
        (it.kind == ITEM_MAP && it.arg > rest.len / 2))
        return PX_ETRUNC;
    c->rest = rest;
    *ret = it;
    return 0;
}

static int expect(struct px_cbor *c, enum item_kind kind, struct item *ret)
{
    struct px_cbor at = *c;
    int err = next_item(&at, ret);
    if (err != 0)
        return err;
    if (ret->kind != kind)
        return PX_EPARSE;
    *c = at;
    return 0;
}

int px_cbor_uint(struct px_cbor *c, uint64_t *ret)
{
    struct item it;
    int err = expect(c, ITEM_UINT, &it);
    if (err == 0)
        *ret = it.arg;
    return err;
}

int px_cbor_bool(struct px_cbor *c, bool *ret)
{
    struct item it;
    int err = expect(c, ITEM_BOOL, &it);
    if (err == 0)
        *ret = it.arg != 0;
    return err;
}

int px_cbor_bytes(struct px_cbor *c, struct px_slice *ret)
{
    struct item it;
    int err = expect(c, ITEM_BYTES, &it);
    if (err == 0)
        *ret = it.string;
    return err;
}

int px_cbor_text(struct px_cbor *c, struct px_slice *ret)
{
    struct item it;
    int err = expect(c, ITEM_TEXT, &it);
    if (err == 0)
        *ret = it.string;
    return err;
}

int px_cbor_array(struct px_cbor *c, size_t *ret_count)
{
    struct item it;
    int err = expect(c, ITEM_ARRAY, &it);
    if (err == 0)
        *ret_count = (size_t)it.arg;
    return err;
}

int px_cbor_map(struct px_cbor *c, size_t *ret_count)
{
    struct item it;
    int err = expect(c, ITEM_MAP, &it);
    if (err == 0)
        *ret_count = (size_t)it.arg;
    return err;
}

/* Bytewise, as §4.2.1 orders map keys; no encoded item is a prefix of another. */
static bool key_ascends(struct px_slice before, struct px_slice key)
{
    size_t n = PX_MIN(before.len, key.len);
    return n == 0 || memcmp(before.data, key.data, n) < 0;
}

static int skip_item(struct px_cbor *c, unsigned depth);

static int skip_map(struct px_cbor *c, uint64_t pairs, unsigned depth)
{
    struct px_slice before = {NULL, 0};
    for (uint64_t i = 0; i < pairs; i++) {
        struct px_slice key = c->rest;
        int err = skip_item(c, depth);
        if (err != 0)
            return err;
        key = px_slice_take(key, key.len - c->rest.len);
        if (!key_ascends(before, key))
            return PX_EPARSE;
        before = key;
        err = skip_item(c, depth);
        if (err != 0)
            return err;
    }
    return 0;
}

/* Recursion is bounded by PX_CBOR_DEPTH_MAX: depth is how many arrays, maps and tags may still
 * open. */
static int skip_item(struct px_cbor *c, unsigned depth)
{
    struct item it;
    int err = next_item(c, &it);
    if (err != 0)
        return err;
    bool nests = it.kind == ITEM_ARRAY || it.kind == ITEM_MAP || it.kind == ITEM_TAG;
    if (!nests)
        return 0;
    if (depth == 0)
        return PX_ELIMIT;
    if (it.kind == ITEM_MAP)
        return skip_map(c, it.arg, depth - 1);
    uint64_t count = it.kind == ITEM_TAG ? 1 : it.arg;
    for (uint64_t i = 0; i < count && err == 0; i++)
        err = skip_item(c, depth - 1);
    return err;
}

int px_cbor_skip(struct px_cbor *c)
{
    struct px_cbor at = *c;
    int err = skip_item(&at, PX_CBOR_DEPTH_MAX);
    if (err == 0)
        *c = at;
    return err;
}

int px_cbor_end(const struct px_cbor *c)
{
    return c->rest.len == 0 ? 0 : PX_EPARSE;
}

int px_cbor_put_uint(struct px_buf *out, uint64_t v)
{
    uint8_t head[HEAD_MAX];
    return px_buf_put(out, px_slice(head, cbor_encode_uint(v, head, sizeof(head))));
}

int px_cbor_put_bool(struct px_buf *out, bool v)
{
    uint8_t head[HEAD_MAX];
    return px_buf_put(out, px_slice(head, cbor_encode_bool(v, head, sizeof(head))));
}

/* A head as libcbor's encoder for that type writes it, always the shortest. */
static int put_head(struct px_buf *out, size_t (*encode)(size_t, unsigned char *, size_t),
                    size_t arg)
{
    uint8_t head[HEAD_MAX];
    return px_buf_put(out, px_slice(head, encode(arg, head, sizeof(head))));
}

int px_cbor_put_bytes(struct px_buf *out, struct px_slice v)
{
    (void)put_head(out, cbor_encode_bytestring_start, v.len);
    return px_buf_put(out, v);
}

int px_cbor_put_text(struct px_buf *out, struct px_slice v)
{
    if (!is_utf8(v) && out->err == 0)
        out->err = PX_EINVAL;
    (void)put_head(out, cbor_encode_string_start, v.len);
    return px_buf_put(out, v);
}

int px_cbor_put_array(struct px_buf *out, size_t count)
{
    return put_head(out, cbor_encode_array_start, count);
}

int px_cbor_put_map(struct px_buf *out, size_t count)
{
    return put_head(out, cbor_encode_map_start, count);
}

/* Two families: digits of a fixed number of bits (hex, RFC 4648 base32 and base64; Nix's base32
 * runs from the other end) and big numbers in base 58 or 36. Decoders check everything first and
 * write last, so dst is untouched on failure. */
#include "proto/base/encoding.h"

/* What the big-number codecs take, in bytes and in digits: 128 bytes are 199 digits of base 36. */
#define BIGNUM_BYTES_MAX  128
#define BIGNUM_DIGITS_MAX 200

static const char hex_digits[] = "0123456789abcdef";
static const char base32_digits[] = "abcdefghijklmnopqrstuvwxyz234567";
static const char base36_digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
static const char base58_digits[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char nix32_digits[] = "0123456789abcdfghijklmnpqrsvwxyz";

/* The value of a digit, or `base` when it is none. */
static unsigned digit_value(const char *digits, unsigned base, uint8_t c)
{
    const char *at = memchr(digits, c, base);
    return at != NULL ? (unsigned)(at - digits) : base;
}

static bool all_digits(const char *digits, unsigned base, struct px_slice in)
{
    for (size_t i = 0; i < in.len; i++)
        if (digit_value(digits, base, in.data[i]) == base)
            return false;
    return true;
}

/* Most significant bits first, the last digit filled up with zero bits. */
static int encode_bits(struct px_buf *out, struct px_slice in, const char *digits, unsigned width)
{
    size_t bits;
    if (__builtin_mul_overflow(in.len, (size_t)8, &bits))
        return PX_ELIMIT;
    size_t len = bits / width + (bits % width != 0);
    uint8_t *at = px_buf_reserve(out, len);
    if (at == NULL)
        return out->err;
    unsigned acc = 0, have = 0;
    for (size_t i = 0; i < in.len; i++) {
        acc = (acc << 8 | in.data[i]) & 0xffff;
        for (have += 8; have >= width; have -= width)
            *at++ = (uint8_t)digits[(acc >> (have - width)) & ((1u << width) - 1)];
    }
    if (have > 0)
        *at = (uint8_t)digits[(acc << (width - have)) & ((1u << width) - 1)];
    px_buf_commit(out, len);
    return 0;
}

/* Refuses a digit that adds no byte, and filling bits other than zero: one text per value. */
static int decode_bits(struct px_slice in, const char *digits, unsigned width, uint8_t *dst,
                       size_t cap, size_t *ret_len)
{
    size_t bits;
    unsigned base = 1u << width;
    if (__builtin_mul_overflow(in.len, (size_t)width, &bits))
        return PX_ELIMIT;
    unsigned fill = (unsigned)(bits % 8);
    if (fill >= width || !all_digits(digits, base, in))
        return PX_EPARSE;
    if (fill > 0 && (digit_value(digits, base, in.data[in.len - 1]) & ((1u << fill) - 1)) != 0)
        return PX_EPARSE;
    if (bits / 8 > cap)
        return PX_ELIMIT;
    unsigned acc = 0, have = 0;
    for (size_t i = 0; i < in.len; i++) {
        acc = (acc << width | digit_value(digits, base, in.data[i])) & 0xffff;
        have += width;
        if (have >= 8) {
            have -= 8;
            *dst++ = (uint8_t)(acc >> have);
        }
    }
    *ret_len = bits / 8;
    return 0;
}

int px_hex_encode(struct px_buf *out, struct px_slice in)
{
    return encode_bits(out, in, hex_digits, 4);
}

int px_hex_decode(struct px_slice in, void *dst, size_t cap, size_t *ret_len)
{
    return decode_bits(in, hex_digits, 4, dst, cap, ret_len);
}

int px_base32_decode(struct px_slice in, void *dst, size_t cap, size_t *ret_len)
{
    return decode_bits(in, base32_digits, 5, dst, cap, ret_len);
}

int px_base64_encode(struct px_buf *out, struct px_slice in)
{
    (void)encode_bits(out, in, base64_digits, 6);
    return px_buf_put(out, px_slice("==", (3 - in.len % 3) % 3));
}

int px_base64_decode(struct px_slice in, void *dst, size_t cap, size_t *ret_len)
{
    if (in.len % 4 != 0)
        return PX_EPARSE;
    for (int i = 0; i < 2 && in.len > 0 && in.data[in.len - 1] == '='; i++)
        in.len--;
    return decode_bits(in, base64_digits, 6, dst, cap, ret_len);
}

/* Nix reads the bytes as one little-endian number and writes its digits highest first. */
int px_nix32_encode(struct px_buf *out, struct px_slice in)
{
    size_t bits;
    if (__builtin_mul_overflow(in.len, (size_t)8, &bits))
        return PX_ELIMIT;
    size_t len = bits / 5 + (bits % 5 != 0);
    uint8_t *at = px_buf_reserve(out, len);
    if (at == NULL)
        return out->err;
    for (size_t n = len; n-- > 0;) {
        size_t byte = n * 5 / 8;
        unsigned v = in.data[byte];
        if (byte + 1 < in.len)
            v |= (unsigned)in.data[byte + 1] << 8;
        *at++ = (uint8_t)nix32_digits[(v >> (n * 5 % 8)) & 31];
    }
    px_buf_commit(out, len);
    return 0;
}

int px_nix32_decode(struct px_slice in, void *dst, size_t cap, size_t *ret_len)
{
    size_t bits;
    if (__builtin_mul_overflow(in.len, (size_t)5, &bits))
        return PX_ELIMIT;
    unsigned fill = (unsigned)(bits % 8);
    if (fill >= 5 || !px_nix32_valid(in))
        return PX_EPARSE;
    /* the filling bits are the highest ones, in the first digit */
    if (in.len > 0 && digit_value(nix32_digits, 32, in.data[0]) >> (5 - fill) != 0)
        return PX_EPARSE;
    if (bits / 8 > cap)
        return PX_ELIMIT;
    uint8_t *at = dst;
    unsigned acc = 0, have = 0;
    for (size_t n = in.len; n-- > 0;) {
        acc |= digit_value(nix32_digits, 32, in.data[n]) << have;
        have += 5;
        if (have >= 8) {
            *at++ = (uint8_t)acc;
            acc >>= 8;
            have -= 8;
        }
    }
    *ret_len = bits / 8;
    return 0;
}

bool px_nix32_valid(struct px_slice in)
{
    return all_digits(nix32_digits, 32, in);
}

/* n = n * mul + add, for a number of *len bytes, least significant first; false when it outgrows
 * cap bytes. */
static bool bignum_step(uint8_t *n, size_t *len, size_t cap, unsigned mul, unsigned add)
{
    unsigned carry = add;
    for (size_t i = 0; i < *len; i++) {
        carry += n[i] * mul;
        n[i] = (uint8_t)carry;
        carry >>= 8;
    }
    for (; carry > 0; carry >>= 8) {
        if (*len == cap)
            return false;
        n[(*len)++] = (uint8_t)carry;
    }
    return true;
}

static size_t leading(struct px_slice in, uint8_t c)
{
    size_t n = 0;
    while (n < in.len && in.data[n] == c)
        n++;
    return n;
}

/* Each leading zero byte is one leading zero digit, the rest is one big-endian number. */
static int decode_bignum(struct px_slice in, const char *digits, unsigned base, void *dst,
                         size_t cap, size_t *ret_len)
{
    uint8_t n[BIGNUM_BYTES_MAX], *at = dst;
    size_t len = 0, zeros = leading(in, (uint8_t)digits[0]);
    if (in.len > BIGNUM_DIGITS_MAX)
        return PX_ELIMIT;
    for (size_t i = zeros; i < in.len; i++) {
        unsigned v = digit_value(digits, base, in.data[i]);
        if (v == base)
            return PX_EPARSE;
        if (!bignum_step(n, &len, sizeof(n), base, v))
            return PX_ELIMIT;
    }
    if (zeros > sizeof(n) - len || zeros + len > cap)
        return PX_ELIMIT;
    if (zeros > 0)
        memset(at, 0, zeros);
    for (size_t i = 0; i < len; i++)
        at[zeros + i] = n[len - 1 - i];
    *ret_len = zeros + len;
    return 0;
}

int px_base58_encode(struct px_buf *out, struct px_slice in)
{
    uint8_t n[BIGNUM_DIGITS_MAX]; /* base 58, least significant first */
    size_t len = 0, zeros = leading(in, 0);
    if (in.len > BIGNUM_BYTES_MAX)
        return PX_ELIMIT;
    for (size_t i = zeros; i < in.len; i++) {
        unsigned carry = in.data[i];
        for (size_t k = 0; k < len; k++) {
            carry += (unsigned)n[k] << 8;
            n[k] = (uint8_t)(carry % 58);
            carry /= 58;
        }
        for (; carry > 0; carry /= 58)
            n[len++] = (uint8_t)(carry % 58);
    }
    uint8_t *at = px_buf_reserve(out, zeros + len);
    if (at == NULL)
        return out->err;
    for (size_t i = 0; i < zeros; i++)
        *at++ = (uint8_t)base58_digits[0];
    for (size_t i = len; i-- > 0;)
        *at++ = (uint8_t)base58_digits[n[i]];
    px_buf_commit(out, zeros + len);
    return 0;
}

int px_base58_decode(struct px_slice in, void *dst, size_t cap, size_t *ret_len)
{
    return decode_bignum(in, base58_digits, 58, dst, cap, ret_len);
}

int px_base36_decode(struct px_slice in, void *dst, size_t cap, size_t *ret_len)
{
    return decode_bignum(in, base36_digits, 36, dst, cap, ret_len);
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int px_percent_decode(struct px_slice in, void *dst, size_t cap, size_t *ret_len)
{
    uint8_t *out = dst;
    size_t n = 0;
    for (size_t i = 0; i < in.len; i++) {
        uint8_t c = in.data[i];
        if (c == '%') {
            if (in.len - i < 3)
                return PX_EPARSE;
            int hi = hex_digit(in.data[i + 1]), lo = hex_digit(in.data[i + 2]);
            if (hi < 0 || lo < 0)
                return PX_EPARSE;
            c = (uint8_t)(hi * 16 + lo);
            i += 2;
        }
        if (c < ' ' || c == 0x7f)
            return PX_EPARSE;
        if (n == cap)
            return PX_ELIMIT;
        out[n++] = c;
    }
    *ret_len = n;
    return 0;
}

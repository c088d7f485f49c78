/* A borrowed run of bytes: pointer and length together. It never owns and may be empty (data may
 * then be NULL). Views stay valid as long as what they point into does. */
#ifndef PX_PROTO_BASE_SLICE_H
#define PX_PROTO_BASE_SLICE_H

#include <string.h>

#include "proto/base/base.h"

struct px_slice {
    const uint8_t *data;
    size_t len;
};

#define PX_SLICE_LIT(s) ((struct px_slice){(const uint8_t *)("" s), sizeof(s) - 1})

static inline struct px_slice px_slice(const void *data, size_t len)
{
    return (struct px_slice){data, len};
}

static inline struct px_slice px_slice_cstr(const char *s)
{
    return (struct px_slice){(const uint8_t *)s, strlen(s)};
}

static inline bool px_slice_eq(struct px_slice a, struct px_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool px_slice_eq_cstr(struct px_slice a, const char *s)
{
    return px_slice_eq(a, px_slice_cstr(s));
}

static inline bool px_slice_starts(struct px_slice a, struct px_slice prefix)
{
    return a.len >= prefix.len && px_slice_eq(px_slice(a.data, prefix.len), prefix);
}

/* Without the first n bytes; n is clamped to the length. */
static inline struct px_slice px_slice_skip(struct px_slice a, size_t n)
{
    n = PX_MIN(n, a.len);
    return (struct px_slice){n ? a.data + n : a.data, a.len - n};
}

/* The first n bytes; n is clamped to the length. */
static inline struct px_slice px_slice_take(struct px_slice a, size_t n)
{
    return (struct px_slice){a.data, PX_MIN(n, a.len)};
}

/* Splits at the first `sep`: *ret_head is what stands before it, *rest what follows. Returns false
 * when rest is exhausted (empty with NULL data). Without a `sep` the head is all that is left. */
bool px_slice_split(struct px_slice *rest, char sep, struct px_slice *ret_head);

/* Without blanks and tabs at both ends. */
struct px_slice px_slice_trim(struct px_slice a);

/* A heap copy with a NUL behind it, NULL without memory or when the slice holds a NUL byte.
 * Freed with free(). */
char *px_slice_dup_cstr(struct px_slice a);

/* Parses an unsigned decimal without sign, blanks or needless leading zeros. */
PX_MUST_CHECK int px_slice_parse_u64(struct px_slice a, uint64_t *ret_value);

#endif

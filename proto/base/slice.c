/* The parts of slice.h that are more than a line. */
#include "proto/base/slice.h"

#include <stdlib.h>

bool px_slice_split(struct px_slice *rest, char sep, struct px_slice *ret_head)
{
    if (rest->data == NULL)
        return false;
    const uint8_t *at = rest->len ? memchr(rest->data, sep, rest->len) : NULL;
    if (at == NULL) {
        *ret_head = *rest;
        *rest = (struct px_slice){NULL, 0};
        return true;
    }
    size_t n = (size_t)(at - rest->data);
    *ret_head = px_slice_take(*rest, n);
    *rest = px_slice_skip(*rest, n + 1);
    return true;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

struct px_slice px_slice_trim(struct px_slice a)
{
    while (a.len > 0 && is_blank(a.data[0]))
        a = px_slice_skip(a, 1);
    while (a.len > 0 && is_blank(a.data[a.len - 1]))
        a.len--;
    return a;
}

char *px_slice_dup_cstr(struct px_slice a)
{
    if (a.len > 0 && memchr(a.data, 0, a.len) != NULL)
        return NULL;
    char *s = malloc(a.len + 1);
    if (s == NULL)
        return NULL;
    if (a.len > 0)
        memcpy(s, a.data, a.len);
    s[a.len] = '\0';
    return s;
}

int px_slice_parse_u64(struct px_slice a, uint64_t *ret_value)
{
    uint64_t v = 0;
    if (a.len == 0 || (a.len > 1 && a.data[0] == '0'))
        return PX_EPARSE;
    for (size_t i = 0; i < a.len; i++) {
        if (a.data[i] < '0' || a.data[i] > '9')
            return PX_EPARSE;
        if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(a.data[i] - '0'), &v))
            return PX_ELIMIT;
    }
    *ret_value = v;
    return 0;
}

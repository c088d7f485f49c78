/* See cbor_map.h. */
#include "proto/cbor_map.h"

int px_cbor_map_open(struct px_cbor *c, struct px_cbor_map *ret)
{
    size_t count;
    int err = px_cbor_map(c, &count);
    if (err != 0)
        return err;
    *ret = (struct px_cbor_map){.c = c, .left = count};
    return 0;
}

int px_cbor_map_next(struct px_cbor_map *m, uint64_t *ret_key)
{
    uint64_t key;
    if (m->left == 0)
        return PX_ENOENT;
    int err = px_cbor_uint(m->c, &key);
    if (err != 0)
        return err;
    if (m->any && key <= m->last)
        return PX_EPARSE;
    m->any = true;
    m->last = key;
    m->left--;
    *ret_key = key;
    return 0;
}

int px_cbor_fixed(struct px_cbor *c, void *dst, size_t len)
{
    struct px_slice s;
    int err = px_cbor_bytes(c, &s);
    if (err != 0)
        return err;
    if (s.len != len)
        return PX_EPARSE;
    memcpy(dst, s.data, len);
    return 0;
}

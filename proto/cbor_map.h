/* Walks a CBOR map as every message of ours is one: unsigned integer keys, strictly ascending (the
 * deterministic order, so a key cannot come twice), unknown keys skipped by the caller. */
#ifndef PX_PROTO_CBOR_MAP_H
#define PX_PROTO_CBOR_MAP_H

#include "proto/cbor.h"

struct px_cbor_map {
    struct px_cbor *c; /* read or skip the value here after each key */
    size_t left;       /* pairs not begun */
    bool any;
    uint64_t last;
};

/* Opens the map at *c. PX_ETRUNC, PX_EPARSE. */
PX_MUST_CHECK int px_cbor_map_open(struct px_cbor *c, struct px_cbor_map *ret);
/* The next key. PX_ENOENT after the last pair; PX_EPARSE when keys do not ascend; PX_ETRUNC. */
PX_MUST_CHECK int px_cbor_map_next(struct px_cbor_map *m, uint64_t *ret_key);
/* Reads a byte string of exactly `len` bytes to dst. PX_EPARSE when it has another length. */
PX_MUST_CHECK int px_cbor_fixed(struct px_cbor *c, void *dst, size_t len);

#endif

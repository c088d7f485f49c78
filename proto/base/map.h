/* An intrusive hash map from byte strings to nodes their owners embed, and the keyed hash it uses.
 *
 * Keys may be chosen by a peer: SipHash-2-4 under a random seed keeps chains short anyway. The map
 * does not copy keys; a node's key lives beside it and must not change while it is in the map. */
#ifndef PX_PROTO_BASE_MAP_H
#define PX_PROTO_BASE_MAP_H

#include "proto/base/slice.h"

struct px_map_node {
    struct px_map_node *next;
    uint64_t hash;
    struct px_slice key;
};

struct px_map {
    struct px_map_node **buckets;
    size_t count;
    size_t mask; /* number of buckets minus 1 */
    uint64_t seed[2];
};

/* PX_ENOMEM. */
PX_MUST_CHECK int px_map_init(struct px_map *m, const struct px_rng *rng);
/* Frees the table; nodes still in it are the caller's business. */
void px_map_deinit(struct px_map *m);

/* The node with this key, or NULL. */
struct px_map_node *px_map_find(const struct px_map *m, struct px_slice key);
/* Cannot fail: without memory to grow, chains get longer. The key must not be in the map. */
void px_map_insert(struct px_map *m, struct px_map_node *node, struct px_slice key);
/* The node must be in the map. */
void px_map_remove(struct px_map *m, struct px_map_node *node);

/* SipHash-2-4 (Aumasson, Bernstein) with the key given as two little-endian words. */
uint64_t px_siphash(const uint64_t seed[2], struct px_slice in);

#endif

/* An intrusive binary min-heap of deadlines: the owner embeds a node, the heap holds pointers.
 *
 * Equal deadlines come out in no particular order. */
#ifndef PX_PROTO_BASE_HEAP_H
#define PX_PROTO_BASE_HEAP_H

#include "proto/base/base.h"

struct px_heap_node {
    px_nsec key;
    size_t at; /* place in the heap plus 1; 0 while in none */
};

struct px_heap {
    struct px_heap_node **nodes;
    size_t len, cap;
};

void px_heap_init(struct px_heap *h);
/* Frees the array; nodes still in it are the caller's business. */
void px_heap_deinit(struct px_heap *h);

/* Makes sure that `n` nodes fit, so that px_heap_set cannot fail. PX_ENOMEM. */
PX_MUST_CHECK int px_heap_reserve(struct px_heap *h, size_t n);

/* Inserts the node or moves it to its new key. A zeroed node is in no heap. There must be room. */
void px_heap_set(struct px_heap *h, struct px_heap_node *node, px_nsec key);
/* Harmless for a node in no heap. */
void px_heap_remove(struct px_heap *h, struct px_heap_node *node);

/* The node with the least key, or NULL. */
static inline struct px_heap_node *px_heap_top(const struct px_heap *h)
{
    return h->len > 0 ? h->nodes[0] : NULL;
}

#endif

/* Sift up, sift down: heap.h. */
#include "proto/base/heap.h"

#include <stdlib.h>

void px_heap_init(struct px_heap *h)
{
    *h = (struct px_heap){0};
}

void px_heap_deinit(struct px_heap *h)
{
    free(h->nodes);
    px_heap_init(h);
}

int px_heap_reserve(struct px_heap *h, size_t n)
{
    if (n <= h->cap)
        return 0;
    size_t cap = PX_MAX(n, h->cap * 2), bytes;
    if (__builtin_mul_overflow(cap, sizeof(*h->nodes), &bytes))
        return PX_ENOMEM;
    struct px_heap_node **nodes = realloc(h->nodes, bytes);
    if (nodes == NULL)
        return PX_ENOMEM;
    h->nodes = nodes;
    h->cap = cap;
    return 0;
}

static void put(struct px_heap *h, size_t i, struct px_heap_node *node)
{
    h->nodes[i] = node;
    node->at = i + 1;
}

static void sift_up(struct px_heap *h, size_t i, struct px_heap_node *node)
{
    while (i > 0) {
        size_t parent = (i - 1) / 2;
        if (h->nodes[parent]->key <= node->key)
            break;
        put(h, i, h->nodes[parent]);
        i = parent;
    }
    put(h, i, node);
}

static void sift_down(struct px_heap *h, size_t i, struct px_heap_node *node)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->len)
            break;
        if (child + 1 < h->len && h->nodes[child + 1]->key < h->nodes[child]->key)
            child++;
        if (node->key <= h->nodes[child]->key)
            break;
        put(h, i, h->nodes[child]);
        i = child;
    }
    put(h, i, node);
}

void px_heap_set(struct px_heap *h, struct px_heap_node *node, px_nsec key)
{
    if (node->at == 0) {
        px_assert(h->len < h->cap);
        node->key = key;
        sift_up(h, h->len++, node);
        return;
    }
    px_nsec old = node->key;
    node->key = key;
    if (key < old)
        sift_up(h, node->at - 1, node);
    else if (key > old)
        sift_down(h, node->at - 1, node);
}

void px_heap_remove(struct px_heap *h, struct px_heap_node *node)
{
    if (node->at == 0)
        return;
    size_t i = node->at - 1;
    node->at = 0;
    struct px_heap_node *last = h->nodes[--h->len];
    if (last == node)
        return;
    if (i > 0 && last->key < h->nodes[(i - 1) / 2]->key)
        sift_up(h, i, last);
    else
        sift_down(h, i, last);
}

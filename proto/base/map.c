/* Chained hash table of map.h, doubled when there are more nodes than buckets. */
#include "proto/base/map.h"

#include <stdlib.h>

#define BUCKETS_INITIAL 8 /* every link has a map, most of them for a stream or two */

static uint64_t rotl(uint64_t v, unsigned n)
{
    return (v << n) | (v >> (64 - n));
}

static void sip_rounds(uint64_t v[4], int n)
{
    while (n-- > 0) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rotl(v[1], 13) ^ v[0];
        v[3] = rotl(v[3], 16) ^ v[2];
        v[0] = rotl(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = rotl(v[1], 17) ^ v[2];
        v[3] = rotl(v[3], 21) ^ v[0];
        v[2] = rotl(v[2], 32);
    }
}

static uint64_t le_word(const uint8_t *p, size_t n)
{
    uint64_t w = 0;
    for (size_t i = 0; i < n; i++)
        w |= (uint64_t)p[i] << (8 * i);
    return w;
}

uint64_t px_siphash(const uint64_t seed[2], struct px_slice in)
{
    uint64_t v[4] = {seed[0] ^ 0x736f6d6570736575u, seed[1] ^ 0x646f72616e646f6du,
                     seed[0] ^ 0x6c7967656e657261u, seed[1] ^ 0x7465646279746573u};
    size_t at = 0;
    for (; in.len - at >= 8; at += 8) {
        uint64_t word = le_word(in.data + at, 8);
        v[3] ^= word;
        sip_rounds(v, 2);
        v[0] ^= word;
    }
    uint64_t last = (uint64_t)in.len << 56;
    if (in.len > at)
        last |= le_word(in.data + at, in.len - at);
    v[3] ^= last;
    sip_rounds(v, 2);
    v[0] ^= last;
    v[2] ^= 0xff;
    sip_rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

int px_map_init(struct px_map *m, const struct px_rng *rng)
{
    *m = (struct px_map){.mask = BUCKETS_INITIAL - 1};
    m->buckets = calloc(BUCKETS_INITIAL, sizeof(*m->buckets));
    if (m->buckets == NULL)
        return PX_ENOMEM;
    rng->fill(rng->ctx, m->seed, sizeof(m->seed));
    return 0;
}

void px_map_deinit(struct px_map *m)
{
    free(m->buckets);
    *m = (struct px_map){0};
}

struct px_map_node *px_map_find(const struct px_map *m, struct px_slice key)
{
    uint64_t hash = px_siphash(m->seed, key);
    struct px_map_node *node = m->buckets[hash & m->mask];
    while (node != NULL && !(node->hash == hash && px_slice_eq(node->key, key)))
        node = node->next;
    return node;
}

static void grow(struct px_map *m)
{
    size_t mask = m->mask * 2 + 1;
    struct px_map_node **buckets = calloc(mask + 1, sizeof(*buckets));
    if (buckets == NULL)
        return;
    for (size_t i = 0; i <= m->mask; i++) {
        for (struct px_map_node *node = m->buckets[i], *next; node != NULL; node = next) {
            next = node->next;
            node->next = buckets[node->hash & mask];
            buckets[node->hash & mask] = node;
        }
    }
    free(m->buckets);
    m->buckets = buckets;
    m->mask = mask;
}

void px_map_insert(struct px_map *m, struct px_map_node *node, struct px_slice key)
{
    if (m->count > m->mask)
        grow(m);
    node->key = key;
    node->hash = px_siphash(m->seed, key);
    node->next = m->buckets[node->hash & m->mask];
    m->buckets[node->hash & m->mask] = node;
    m->count++;
}

void px_map_remove(struct px_map *m, struct px_map_node *node)
{
    struct px_map_node **at = &m->buckets[node->hash & m->mask];
    while (*at != node) {
        px_assert(*at != NULL);
        at = &(*at)->next;
    }
    *at = node->next;
    node->next = NULL;
    m->count--;
}

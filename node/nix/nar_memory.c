/* The memory of nar_memory.h: a hash table with an LRU ring, and a ring of faults. */
#include "node/nix/nar_memory.h"

#include <stdlib.h>

#include "proto/base/list.h"

#define BUCKETS 1024

struct entry {
    struct px_list in_bucket, in_lru;
    uint8_t hash_part[PX_STORE_HASH_LEN];
    px_nsec expires;
    struct px_nar_fact fact;
};

struct fault {
    uint8_t nar_hash[32];
    struct px_peer_id peer;
    px_nsec expires; /* 0: empty */
};

struct px_nar_memory {
    struct px_list buckets[BUCKETS];
    struct px_list lru; /* the least recently used in front */
    size_t count;
    struct fault *faults; /* a ring, allocated with the first */
    size_t fault_next;
};

int px_nar_memory_new(struct px_nar_memory **ret)
{
    struct px_nar_memory *m = calloc(1, sizeof(*m));
    if (m == NULL)
        return PX_ENOMEM;
    for (size_t i = 0; i < BUCKETS; i++)
        px_list_init(&m->buckets[i]);
    px_list_init(&m->lru);
    *ret = m;
    return 0;
}

static void drop(struct px_nar_memory *m, struct entry *e)
{
    px_list_remove(&e->in_bucket);
    px_list_remove(&e->in_lru);
    m->count--;
    free(e);
}

void px_nar_memory_free(struct px_nar_memory *m)
{
    if (m == NULL)
        return;
    PX_LIST_EACH(it, &m->lru)
        drop(m, PX_CONTAINER_OF(it, struct entry, in_lru));
    free(m->faults);
    free(m);
}

static struct px_list *bucket(struct px_nar_memory *m, struct px_slice hash_part)
{
    unsigned h = 0;
    for (size_t i = 0; i < 8; i++)
        h = h * 31 + hash_part.data[i];
    return &m->buckets[h % BUCKETS];
}

static struct entry *find(struct px_nar_memory *m, struct px_slice hash_part)
{
    struct px_list *head = bucket(m, hash_part);
    PX_LIST_EACH(it, head) {
        struct entry *e = PX_CONTAINER_OF(it, struct entry, in_bucket);
        if (memcmp(e->hash_part, hash_part.data, PX_STORE_HASH_LEN) == 0)
            return e;
    }
    return NULL;
}

void px_nar_memory_put(struct px_nar_memory *m, px_nsec now, struct px_slice hash_part,
                       const struct px_nar_fact *fact)
{
    px_assert(hash_part.len == PX_STORE_HASH_LEN);
    struct entry *e = find(m, hash_part);
    if (e == NULL) {
        e = malloc(sizeof(*e));
        if (e == NULL)
            return;
        if (m->count == PX_NAR_FACTS_MAX)
            drop(m, PX_CONTAINER_OF(m->lru.next, struct entry, in_lru));
        memcpy(e->hash_part, hash_part.data, PX_STORE_HASH_LEN);
        px_list_push_back(bucket(m, hash_part), &e->in_bucket);
        px_list_init(&e->in_lru);
        m->count++;
    }
    px_list_remove(&e->in_lru);
    px_list_push_back(&m->lru, &e->in_lru);
    e->fact = *fact;
    e->expires = now + PX_NAR_FACT_TIME;
}

const struct px_nar_fact *px_nar_memory_get(struct px_nar_memory *m, px_nsec now,
                                            struct px_slice hash_part)
{
    px_assert(hash_part.len == PX_STORE_HASH_LEN);
    struct entry *e = find(m, hash_part);
    if (e == NULL)
        return NULL;
    if (e->expires <= now) {
        drop(m, e);
        return NULL;
    }
    px_list_remove(&e->in_lru);
    px_list_push_back(&m->lru, &e->in_lru);
    return &e->fact;
}

void px_nar_memory_blame(struct px_nar_memory *m, px_nsec now, const uint8_t nar_hash[32],
                         const struct px_peer_id *peer)
{
    if (m->faults == NULL)
        m->faults = calloc(PX_NAR_FAULTS_MAX, sizeof(*m->faults));
    if (m->faults == NULL)
        return;
    struct fault *f = &m->faults[m->fault_next];
    m->fault_next = (m->fault_next + 1) % PX_NAR_FAULTS_MAX;
    memcpy(f->nar_hash, nar_hash, 32);
    f->peer = *peer;
    f->expires = now + PX_NAR_FAULT_TIME;
}

bool px_nar_memory_blamed(const struct px_nar_memory *m, px_nsec now, const uint8_t nar_hash[32],
                          const struct px_peer_id *peer)
{
    for (size_t i = 0; m->faults != NULL && i < PX_NAR_FAULTS_MAX; i++) {
        const struct fault *f = &m->faults[i];
        if (f->expires > now && memcmp(f->nar_hash, nar_hash, 32) == 0 &&
            px_peer_id_eq(&f->peer, peer))
            return true;
    }
    return false;
}

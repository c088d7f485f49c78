/* See peer_history.h. */
#include "node/peer_history.h"

#include <stdlib.h>

#include "proto/base/list.h"
#include "proto/base/map.h"

#define UNIT 1000u /* of demerits */

struct entry {
    struct px_map_node by_id;
    struct px_list all; /* the one with the latest news at the end */
    struct px_list changed;
    struct px_peer_id id;
    struct px_history_record record; /* demerits as of `at` */
    px_nsec at;
};

struct px_peer_history {
    struct px_map by_id;
    struct px_list all, changed;
    void (*on_changed)(void *ctx); /* NULL: nobody keeps it */
    void *ctx;
};

const char *px_history_fault_name(enum px_history_fault f)
{
    switch (f) {
#define X(name, word)                                                                              \
    case name:                                                                                     \
        return word;
        PX_HISTORY_FAULT_TABLE(X)
#undef X
    case PX_HISTORY_FAULTS:
        break;
    }
    return "?";
}

/* Half of it a half-life, and evenly in between. */
static uint64_t aged(uint64_t demerits, px_nsec age)
{
    px_nsec halvings = age / PX_HISTORY_HALF_LIFE;
    if (halvings >= 64)
        return 0;
    demerits >>= halvings;
    uint64_t rest = (age % PX_HISTORY_HALF_LIFE) / PX_SEC;
    return demerits - demerits * rest / (2 * (PX_HISTORY_HALF_LIFE / PX_SEC));
}

static uint64_t demerits_at(const struct entry *e, px_nsec now)
{
    return aged(e->record.demerits, now > e->at ? now - e->at : 0);
}

int px_peer_history_new(const struct px_rng *rng, struct px_peer_history **ret)
{
    struct px_peer_history *h = calloc(1, sizeof(*h));
    if (h == NULL)
        return PX_ENOMEM;
    px_list_init(&h->all);
    px_list_init(&h->changed);
    int err = px_map_init(&h->by_id, rng);
    if (err != 0) {
        free(h);
        return err;
    }
    *ret = h;
    return 0;
}

static void free_entry(struct px_peer_history *h, struct entry *e)
{
    px_map_remove(&h->by_id, &e->by_id);
    px_list_remove(&e->all);
    px_list_remove(&e->changed);
    free(e);
}

void px_peer_history_free(struct px_peer_history *h)
{
    if (h == NULL)
        return;
    PX_LIST_EACH(it, &h->all)
        free_entry(h, PX_CONTAINER_OF(it, struct entry, all));
    px_map_deinit(&h->by_id);
    free(h);
}

static struct entry *find(const struct px_peer_history *h, const struct px_peer_id *id)
{
    struct px_map_node *n = px_map_find(&h->by_id, px_slice(id->key, sizeof(id->key)));
    return n == NULL ? NULL : PX_CONTAINER_OF(n, struct entry, by_id);
}

static struct entry *get(struct px_peer_history *h, const struct px_peer_id *id)
{
    struct entry *e = find(h, id);
    if (e != NULL)
        return e;
    e = calloc(1, sizeof(*e));
    if (e == NULL)
        return NULL;
    if (h->by_id.count >= PX_HISTORY_PEERS_MAX)
        free_entry(h, PX_CONTAINER_OF(h->all.next, struct entry, all));
    e->id = *id;
    px_map_insert(&h->by_id, &e->by_id, px_slice(e->id.key, sizeof(e->id.key)));
    px_list_push_back(&h->all, &e->all);
    px_list_init(&e->changed);
    return e;
}

static void mark_changed(struct px_peer_history *h, struct entry *e)
{
    bool first = px_list_empty(&h->changed);
    px_list_remove(&e->changed);
    px_list_push_back(&h->changed, &e->changed);
    if (first && h->on_changed != NULL)
        h->on_changed(h->ctx);
}

/* There is news: the peer's entry, with demerits as of now. */
static struct entry *news(struct px_peer_history *h, const struct px_peer_id *id, px_nsec now)
{
    struct entry *e = get(h, id);
    if (e == NULL)
        return NULL;
    e->record.demerits = demerits_at(e, now);
    e->at = now;
    px_list_remove(&e->all);
    px_list_push_back(&h->all, &e->all);
    mark_changed(h, e);
    return e;
}

void px_peer_history_nar(struct px_peer_history *h, const struct px_peer_id *id, uint64_t bytes,
                         px_nsec now)
{
    struct entry *e = news(h, id, now);
    if (e == NULL)
        return;
    e->record.nars++;
    e->record.bytes += bytes;
}

void px_peer_history_fault(struct px_peer_history *h, const struct px_peer_id *id,
                           enum px_history_fault fault, uint32_t demerits, px_nsec now)
{
    const uint64_t max = PX_HISTORY_DEMERITS_MAX * UNIT;
    struct entry *e = news(h, id, now);
    if (e == NULL)
        return;
    e->record.faults[fault]++;
    e->record.demerits = PX_MIN(e->record.demerits + (uint64_t)demerits * UNIT, max);
}

bool px_peer_history_get(const struct px_peer_history *h, const struct px_peer_id *id, px_nsec now,
                         struct px_history_record *ret)
{
    const struct entry *e = find(h, id);
    if (e == NULL)
        return false;
    *ret = e->record;
    ret->demerits = demerits_at(e, now);
    return true;
}

uint32_t px_peer_history_demerits(const struct px_peer_history *h, const struct px_peer_id *id,
                                  px_nsec now)
{
    const struct entry *e = find(h, id);
    return e == NULL ? 0 : (uint32_t)(demerits_at(e, now) / UNIT);
}

void px_peer_history_put(struct px_peer_history *h, const struct px_peer_id *id,
                         const struct px_history_record *r, px_nsec age, px_nsec now)
{
    struct entry *e = get(h, id);
    if (e == NULL)
        return;
    e->record = *r;
    e->record.demerits = aged(PX_MIN(r->demerits, (uint64_t)PX_HISTORY_DEMERITS_MAX * UNIT), age);
    e->at = now;
}

bool px_peer_history_take_changed(struct px_peer_history *h, px_nsec now, struct px_peer_id *ret_id,
                                  struct px_history_record *ret)
{
    if (px_list_empty(&h->changed))
        return false;
    struct entry *e = PX_CONTAINER_OF(h->changed.next, struct entry, changed);
    px_list_remove(&e->changed);
    *ret_id = e->id;
    *ret = e->record;
    ret->demerits = demerits_at(e, now);
    return true;
}

void px_peer_history_age(struct px_peer_history *h)
{
    PX_LIST_EACH(it, &h->all) {
        struct entry *e = PX_CONTAINER_OF(it, struct entry, all);
        if (e->record.demerits > 0 && px_list_empty(&e->changed))
            mark_changed(h, e);
    }
}

void px_peer_history_follow(struct px_peer_history *h, const struct px_peer_id *from,
                            const struct px_peer_id *to, px_nsec now)
{
    struct px_history_record r;
    if (!px_peer_history_get(h, from, now, &r))
        return;
    struct entry *e = news(h, to, now);
    if (e != NULL)
        e->record = r;
}

void px_peer_history_watch(struct px_peer_history *h, void (*changed)(void *ctx), void *ctx)
{
    h->on_changed = changed;
    h->ctx = ctx;
}

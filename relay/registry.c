/* See registry.h. Records hang in one list in the order of their serials; expiry is a sweep. */
#include "relay/registry.h"

#include <stdlib.h>

#include "proto/base/list.h"
#include "proto/base/map.h"

#define SWEEP   PX_SEC
#define KEY_MAX (PX_RELAY_NAMESPACE_MAX + 1 + PX_RELAY_NAME_MAX)

struct record {
    struct px_map_node by_key; /* namespace ‖ 0 ‖ peer */
    struct px_list all;        /* by serial */
    struct px_registry_entry pub;
    uint64_t sequence;
    size_t key_len;
    uint8_t key[KEY_MAX];
    uint8_t bytes[];
};

struct name {
    struct px_map_node by_key; /* namespace ‖ 0 ‖ name */
    struct px_list all;
    struct px_peer_id holder;
    px_nsec until;
    size_t key_len;
    uint8_t key[KEY_MAX];
};

struct px_registry {
    struct px_registry_config config;
    struct px_map by_key, names;
    struct px_list all, all_names;
    uint64_t serial;
    px_nsec sweep_at;
};

static struct record *record_at(struct px_list *node)
{
    return PX_CONTAINER_OF(node, struct record, all);
}

static struct name *name_at(struct px_list *node)
{
    return PX_CONTAINER_OF(node, struct name, all);
}

/* Namespaces hold no NUL: the CBOR reader takes UTF-8 with one, so it is checked at the door. */
static size_t make_key(struct px_slice name_space, struct px_slice rest, uint8_t out[KEY_MAX])
{
    px_assert(name_space.len <= PX_RELAY_NAMESPACE_MAX && rest.len <= PX_RELAY_NAME_MAX);
    memcpy(out, name_space.data, name_space.len);
    out[name_space.len] = 0;
    if (rest.len > 0)
        memcpy(out + name_space.len + 1, rest.data, rest.len);
    return name_space.len + 1 + rest.len;
}

static struct px_slice peer_slice(const struct px_peer_id *id)
{
    return px_slice(id->key, sizeof(id->key));
}

int px_registry_new(const struct px_registry_config *config, struct px_registry **ret)
{
    struct px_registry *r = calloc(1, sizeof(*r));
    if (r == NULL)
        return PX_ENOMEM;
    r->config = *config;
    r->sweep_at = PX_NEVER;
    px_list_init(&r->all);
    px_list_init(&r->all_names);
    int err = px_map_init(&r->by_key, &config->rng);
    if (err == 0)
        err = px_map_init(&r->names, &config->rng);
    if (err != 0) {
        px_registry_free(r);
        return err;
    }
    *ret = r;
    return 0;
}

static void free_record(struct px_registry *r, struct record *rec)
{
    px_map_remove(&r->by_key, &rec->by_key);
    px_list_remove(&rec->all);
    free(rec);
}

static void free_name(struct px_registry *r, struct name *n)
{
    px_map_remove(&r->names, &n->by_key);
    px_list_remove(&n->all);
    free(n);
}

void px_registry_free(struct px_registry *r)
{
    if (r == NULL)
        return;
    PX_LIST_EACH(it, &r->all)
        free_record(r, record_at(it));
    PX_LIST_EACH(it, &r->all_names)
        free_name(r, name_at(it));
    px_map_deinit(&r->by_key);
    px_map_deinit(&r->names);
    free(r);
}

/* ---- the store ---- */

static int store_put(const struct px_registry *r, enum px_relay_item kind, struct px_slice key,
                     struct px_slice value, px_nsec ttl)
{
    const struct px_relay_store *s = r->config.store;
    return s == NULL ? 0 : s->put(s->ctx, kind, key, value, ttl);
}

/* What stays on a disk that fails ends there with its time. */
static void store_drop(const struct px_registry *r, enum px_relay_item kind, struct px_slice key)
{
    if (r->config.store != NULL)
        (void)r->config.store->drop(r->config.store->ctx, kind, key);
}

/* ---- looking ---- */

static struct record *find_record(const struct px_registry *r, struct px_slice name_space,
                                  const struct px_peer_id *peer)
{
    uint8_t key[KEY_MAX];
    if (name_space.len > PX_RELAY_NAMESPACE_MAX)
        return NULL;
    size_t len = make_key(name_space, peer_slice(peer), key);
    struct px_map_node *n = px_map_find(&r->by_key, px_slice(key, len));
    return n == NULL ? NULL : PX_CONTAINER_OF(n, struct record, by_key);
}

static struct name *find_name(const struct px_registry *r, struct px_slice name_space,
                              struct px_slice name)
{
    uint8_t key[KEY_MAX];
    if (name_space.len > PX_RELAY_NAMESPACE_MAX || name.len > PX_RELAY_NAME_MAX)
        return NULL;
    size_t len = make_key(name_space, name, key);
    struct px_map_node *n = px_map_find(&r->names, px_slice(key, len));
    return n == NULL ? NULL : PX_CONTAINER_OF(n, struct name, by_key);
}

const struct px_registry_entry *px_registry_find(const struct px_registry *r,
                                                 struct px_slice name_space,
                                                 const struct px_peer_id *peer)
{
    const struct record *rec = find_record(r, name_space, peer);
    return rec == NULL ? NULL : &rec->pub;
}

const struct px_registry_entry *
px_registry_by_name(const struct px_registry *r, struct px_slice name_space, struct px_slice name)
{
    const struct name *n = find_name(r, name_space, name);
    const struct px_registry_entry *e =
        n == NULL ? NULL : px_registry_find(r, name_space, &n->holder);
    struct px_record said;
    /* a node that has taken another name since still holds this one, but does not go by it */
    if (e == NULL || px_record_verify(e->bytes, &said) != 0 || !px_slice_eq(said.name, name))
        return NULL;
    return e;
}

const struct px_registry_entry *px_registry_after(const struct px_registry *r,
                                                  struct px_slice name_space, uint64_t serial)
{
    const struct px_registry_entry *first = NULL;
    /* from the end: who asks again and again is near it */
    for (struct px_list *it = r->all.prev; it != &r->all; it = it->prev) {
        const struct px_registry_entry *e = &record_at(it)->pub;
        if (e->serial <= serial)
            break;
        if (px_slice_eq(e->name_space, name_space))
            first = e;
    }
    return first;
}

uint64_t px_registry_serial(const struct px_registry *r)
{
    return r->serial;
}

size_t px_registry_count(const struct px_registry *r)
{
    return r->by_key.count;
}

/* ---- names ---- */

static size_t names_of(const struct px_registry *r, const struct px_peer_id *peer)
{
    size_t n = 0;
    PX_LIST_EACH(it, &r->all_names)
        n += px_peer_id_eq(&name_at(it)->holder, peer);
    return n;
}

static struct name *add_name(struct px_registry *r, struct px_slice name_space,
                             struct px_slice name, const struct px_peer_id *holder)
{
    struct name *n = calloc(1, sizeof(*n));
    if (n == NULL)
        return NULL;
    n->holder = *holder;
    n->key_len = make_key(name_space, name, n->key);
    px_map_insert(&r->names, &n->by_key, px_slice(n->key, n->key_len));
    px_list_push_back(&r->all_names, &n->all);
    return n;
}

/* Whether the node may go by that name; and if so, it holds it from now on. */
static enum px_relay_status hold_name(struct px_registry *r, const struct px_record *said,
                                      px_nsec now)
{
    struct name *n = find_name(r, said->name_space, said->name);
    if (said->name.len == 0)
        return PX_RELAY_OK;
    if (n != NULL && now >= n->until)
        n->holder = said->peer;
    if (n != NULL && !px_peer_id_eq(&n->holder, &said->peer))
        return PX_RELAY_NAME_TAKEN;
    if (n == NULL && names_of(r, &said->peer) >= PX_REGISTRY_NAMES_PER_PEER)
        return PX_RELAY_RESOURCE_LIMIT_EXCEEDED;
    if (n == NULL)
        n = add_name(r, said->name_space, said->name, &said->peer);
    if (n == NULL)
        return PX_RELAY_INTERNAL;
    n->until = now + PX_REGISTRY_NAME_HOLD;
    int err = store_put(r, PX_RELAY_ITEM_NAME, px_slice(n->key, n->key_len), peer_slice(&n->holder),
                        PX_REGISTRY_NAME_HOLD);
    return err == 0 ? PX_RELAY_OK : PX_RELAY_INTERNAL;
}

/* ---- records ---- */

static struct record *new_record(struct px_registry *r, const struct px_record *said,
                                 struct px_slice bytes)
{
    struct record *rec = calloc(1, sizeof(*rec) + bytes.len);
    if (rec == NULL)
        return NULL;
    memcpy(rec->bytes, bytes.data, bytes.len);
    rec->key_len = make_key(said->name_space, peer_slice(&said->peer), rec->key);
    rec->sequence = said->sequence;
    rec->pub = (struct px_registry_entry){.serial = ++r->serial,
                                          .name_space = px_slice(rec->key, said->name_space.len),
                                          .peer = said->peer,
                                          .bytes = px_slice(rec->bytes, bytes.len)};
    px_map_insert(&r->by_key, &rec->by_key, px_slice(rec->key, rec->key_len));
    px_list_push_back(&r->all, &rec->all);
    if (r->sweep_at == PX_NEVER)
        r->sweep_at = 0; /* the next run sets it */
    return rec;
}

static bool has_room(const struct px_registry *r, const struct px_peer_id *peer,
                     struct px_slice name_space)
{
    size_t of_peer = 0, of_space = 0;
    PX_LIST_EACH(it, &r->all) {
        const struct px_registry_entry *e = &record_at(it)->pub;
        of_peer += px_peer_id_eq(&e->peer, peer);
        of_space += px_slice_eq(e->name_space, name_space);
    }
    return of_peer < PX_REGISTRY_PER_PEER && of_space < PX_REGISTRY_PER_NAMESPACE &&
           r->by_key.count < PX_REGISTRY_RECORDS_MAX;
}

static px_nsec clamp_ttl(px_nsec ttl)
{
    if (ttl == 0)
        return PX_REGISTRY_TTL_DEFAULT;
    return PX_MIN(PX_MAX(ttl, PX_REGISTRY_TTL_MIN), PX_REGISTRY_TTL_MAX);
}

static int refresh(struct px_registry *r, struct record *rec, px_nsec ttl, px_nsec now)
{
    rec->pub.expires = now + ttl;
    return store_put(r, PX_RELAY_ITEM_RECORD, px_slice(rec->key, rec->key_len), rec->pub.bytes,
                     ttl);
}

/* What there is to say against the record, apart from its name. */
static enum px_relay_status judge(const struct px_registry *r, const struct px_peer_id *sender,
                                  struct px_slice name_space, struct px_slice bytes,
                                  const struct px_record *said, const struct record *old)
{
    if (!px_peer_id_eq(&said->peer, sender) || !px_slice_eq(said->name_space, name_space) ||
        memchr(name_space.data, 0, name_space.len) != NULL)
        return PX_RELAY_BAD_RECORD;
    if (old == NULL)
        return has_room(r, sender, name_space) ? PX_RELAY_OK : PX_RELAY_RESOURCE_LIMIT_EXCEEDED;
    if (said->sequence < old->sequence ||
        (said->sequence == old->sequence && !px_slice_eq(bytes, old->pub.bytes)))
        return PX_RELAY_STALE;
    return PX_RELAY_OK;
}

enum px_relay_status px_registry_register(struct px_registry *r, const struct px_peer_id *sender,
                                          struct px_slice name_space, struct px_slice bytes,
                                          px_nsec ttl, px_nsec now, px_nsec *ret_ttl)
{
    struct px_record said;
    if (bytes.len > PX_RELAY_RECORD_MAX || px_record_verify(bytes, &said) != 0)
        return PX_RELAY_BAD_RECORD;
    struct record *old = find_record(r, name_space, sender);
    enum px_relay_status status = judge(r, sender, name_space, bytes, &said, old);
    if (status == PX_RELAY_OK)
        status = hold_name(r, &said, now);
    if (status != PX_RELAY_OK)
        return status;
    ttl = clamp_ttl(ttl);
    struct record *rec = old;
    if (old == NULL || !px_slice_eq(old->pub.bytes, bytes)) {
        if (old != NULL)
            px_map_remove(&r->by_key, &old->by_key);
        rec = new_record(r, &said, bytes);
        if (rec == NULL && old != NULL)
            px_map_insert(&r->by_key, &old->by_key, px_slice(old->key, old->key_len));
        if (rec == NULL)
            return PX_RELAY_INTERNAL;
        if (old != NULL) {
            px_list_remove(&old->all);
            free(old);
        }
    }
    bool is_new = rec != old;
    int err = refresh(r, rec, ttl, now);
    if (is_new) /* whatever the disk says: for the next attempt it is an old one */
        r->config.changed(r->config.ctx, &rec->pub, false);
    if (err != 0)
        return PX_RELAY_INTERNAL;
    *ret_ttl = ttl;
    return PX_RELAY_OK;
}

static void drop_record(struct px_registry *r, struct record *rec)
{
    store_drop(r, PX_RELAY_ITEM_RECORD, px_slice(rec->key, rec->key_len));
    r->config.changed(r->config.ctx, &rec->pub, true);
    free_record(r, rec);
}

bool px_registry_unregister(struct px_registry *r, const struct px_peer_id *peer,
                            struct px_slice name_space)
{
    struct record *rec = find_record(r, name_space, peer);
    if (rec != NULL)
        drop_record(r, rec);
    return rec != NULL;
}

static void drop_name(struct px_registry *r, struct name *n)
{
    store_drop(r, PX_RELAY_ITEM_NAME, px_slice(n->key, n->key_len));
    free_name(r, n);
}

void px_registry_drop_unwelcome(struct px_registry *r,
                                bool (*welcome)(void *ctx, const struct px_peer_id *id), void *ctx)
{
    PX_LIST_EACH(it, &r->all)
        if (!welcome(ctx, &record_at(it)->pub.peer))
            drop_record(r, record_at(it));
    PX_LIST_EACH(it, &r->all_names)
        if (!welcome(ctx, &name_at(it)->holder))
            drop_name(r, name_at(it));
}

void px_registry_run(struct px_registry *r, px_nsec now)
{
    if (now < r->sweep_at)
        return;
    PX_LIST_EACH(it, &r->all)
        if (now >= record_at(it)->pub.expires)
            drop_record(r, record_at(it));
    PX_LIST_EACH(it, &r->all_names)
        if (now >= name_at(it)->until)
            drop_name(r, name_at(it));
    bool empty = px_list_empty(&r->all) && px_list_empty(&r->all_names);
    r->sweep_at = empty ? PX_NEVER : now + SWEEP;
}

px_nsec px_registry_deadline(const struct px_registry *r)
{
    return r->sweep_at;
}

/* ---- loading ---- */

struct loading {
    struct px_registry *r;
    px_nsec now;
};

static void load_record(void *ctx, struct px_slice key, struct px_slice value, px_nsec ttl)
{
    const struct loading *l = ctx;
    struct px_record said;
    (void)key;
    /* a file is input like any other */
    if (value.len > PX_RELAY_RECORD_MAX || px_record_verify(value, &said) != 0 ||
        find_record(l->r, said.name_space, &said.peer) != NULL)
        return;
    struct record *rec = new_record(l->r, &said, value);
    if (rec != NULL)
        rec->pub.expires = l->now + PX_MIN(ttl, PX_REGISTRY_TTL_MAX);
}

static void load_name(void *ctx, struct px_slice key, struct px_slice value, px_nsec ttl)
{
    const struct loading *l = ctx;
    struct px_peer_id holder;
    struct px_slice rest = key, name_space;
    if (value.len != sizeof(holder.key) || !px_slice_split(&rest, '\0', &name_space) ||
        name_space.len == 0 || name_space.len > PX_RELAY_NAMESPACE_MAX || rest.len == 0 ||
        rest.len > PX_RELAY_NAME_MAX || find_name(l->r, name_space, rest) != NULL)
        return;
    memcpy(holder.key, value.data, sizeof(holder.key));
    struct name *n = add_name(l->r, name_space, rest, &holder);
    if (n != NULL)
        n->until = l->now + PX_MIN(ttl, PX_REGISTRY_NAME_HOLD);
}

int px_registry_load(struct px_registry *r, px_nsec now)
{
    struct loading l = {r, now};
    const struct px_relay_store *s = r->config.store;
    if (s == NULL)
        return 0;
    int err = s->each(s->ctx, PX_RELAY_ITEM_RECORD, load_record, &l);
    if (err == 0)
        err = s->each(s->ctx, PX_RELAY_ITEM_NAME, load_name, &l);
    r->sweep_at = now;
    return err;
}

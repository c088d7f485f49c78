/* See admission.h. Invites, joiners and vouchings are items of one shape in one map. */
#include "relay/admission.h"

#include <stdlib.h>

#include "proto/base/list.h"
#include "proto/base/map.h"

#define KEY_MAX (1 + 2 * PX_ED25519_PK_LEN)

struct item {
    struct px_map_node by_key; /* kind ‖ key as in the store */
    struct px_list all;
    enum px_relay_item kind;
    struct px_peer_id member; /* who opened it, let in, vouches */
    struct px_peer_id node;   /* joiner or vouched */
    px_nsec until;            /* PX_NEVER: until taken back */
    size_t key_len;
    uint8_t key[KEY_MAX];
};

struct px_admission {
    struct px_admission_config config;
    struct px_map by_key;
    struct px_list all;
    size_t invites;
    px_nsec next_at; /* no item ends before; may be too early */
};

static struct item *item_at(struct px_list *node)
{
    return PX_CONTAINER_OF(node, struct item, all);
}

static struct px_slice peer_slice(const struct px_peer_id *id)
{
    return px_slice(id->key, sizeof(id->key));
}

int px_admission_new(const struct px_admission_config *config, struct px_admission **ret)
{
    struct px_admission *a = calloc(1, sizeof(*a));
    if (a == NULL)
        return PX_ENOMEM;
    a->config = *config;
    a->next_at = PX_NEVER;
    px_list_init(&a->all);
    int err = px_map_init(&a->by_key, &config->rng);
    if (err != 0) {
        free(a);
        return err;
    }
    *ret = a;
    return 0;
}

static void free_item(struct px_admission *a, struct item *i)
{
    a->invites -= i->kind == PX_RELAY_ITEM_INVITE;
    px_map_remove(&a->by_key, &i->by_key);
    px_list_remove(&i->all);
    free(i);
}

void px_admission_free(struct px_admission *a)
{
    if (a == NULL)
        return;
    PX_LIST_EACH(it, &a->all)
        free_item(a, item_at(it));
    px_map_deinit(&a->by_key);
    free(a);
}

void px_admission_set_open(struct px_admission *a, bool open)
{
    a->config.open = open;
}

/* ---- items ---- */

static size_t make_key(enum px_relay_item kind, struct px_slice first, struct px_slice second,
                       uint8_t out[KEY_MAX])
{
    px_assert(first.len + second.len < KEY_MAX);
    out[0] = (uint8_t)kind;
    memcpy(out + 1, first.data, first.len);
    if (second.len > 0)
        memcpy(out + 1 + first.len, second.data, second.len);
    return 1 + first.len + second.len;
}

static struct item *find(const struct px_admission *a, enum px_relay_item kind,
                         struct px_slice first, struct px_slice second)
{
    uint8_t key[KEY_MAX];
    size_t len = make_key(kind, first, second, key);
    struct px_map_node *n = px_map_find(&a->by_key, px_slice(key, len));
    return n == NULL ? NULL : PX_CONTAINER_OF(n, struct item, by_key);
}

/* Without the kind: what the store knows it by. */
static struct px_slice store_key(const struct item *i)
{
    return px_slice(i->key + 1, i->key_len - 1);
}

static struct item *add(struct px_admission *a, enum px_relay_item kind, struct px_slice first,
                        struct px_slice second, const struct px_peer_id *member,
                        const struct px_peer_id *node, px_nsec until)
{
    struct item *i = a->by_key.count >= PX_ADMISSION_ITEMS_MAX ? NULL : calloc(1, sizeof(*i));
    if (i == NULL)
        return NULL;
    i->kind = kind;
    i->member = *member;
    i->until = until;
    a->next_at = PX_MIN(a->next_at, until);
    if (node != NULL)
        i->node = *node;
    i->key_len = make_key(kind, first, second, i->key);
    px_map_insert(&a->by_key, &i->by_key, px_slice(i->key, i->key_len));
    px_list_push_back(&a->all, &i->all);
    a->invites += kind == PX_RELAY_ITEM_INVITE;
    return i;
}

static int save(const struct px_admission *a, const struct item *i, const struct px_peer_id *member,
                px_nsec until, px_nsec now)
{
    const struct px_relay_store *s = a->config.store;
    px_nsec ttl = until == PX_NEVER ? PX_NEVER : until - now;
    return s == NULL ? 0 : s->put(s->ctx, i->kind, store_key(i), peer_slice(member), ttl);
}

static void drop(struct px_admission *a, struct item *i)
{
    if (a->config.store != NULL)
        a->config.store->drop(a->config.store->ctx, i->kind, store_key(i));
    free_item(a, i);
}

/* A new item; gone again if it cannot be stored. */
static enum px_relay_status saved(struct px_admission *a, struct item *i, px_nsec now)
{
    if (i == NULL)
        return PX_RELAY_RESOURCE_LIMIT_EXCEEDED;
    if (save(a, i, &i->member, i->until, now) == 0)
        return PX_RELAY_OK;
    drop(a, i);
    return PX_RELAY_INTERNAL;
}

/* What is there is somebody's, or lasts, differently from now on. Stored first: an item that cannot
 * be stays what it was. */
static enum px_relay_status change(struct px_admission *a, struct item *i,
                                   const struct px_peer_id *member, px_nsec until, px_nsec now)
{
    if (save(a, i, member, until, now) != 0)
        return PX_RELAY_INTERNAL;
    i->member = *member;
    i->until = until;
    a->next_at = PX_MIN(a->next_at, until);
    return PX_RELAY_OK;
}

static size_t count_of(const struct px_admission *a, enum px_relay_item kind,
                       const struct px_peer_id *member)
{
    size_t n = 0;
    PX_LIST_EACH(it, &a->all)
        n += item_at(it)->kind == kind && px_peer_id_eq(&item_at(it)->member, member);
    return n;
}

/* ---- questions ---- */

static bool is_vouched(const struct px_admission *a, const struct px_peer_id *id)
{
    PX_LIST_EACH(it, &a->all)
        if (item_at(it)->kind == PX_RELAY_ITEM_VOUCH && px_peer_id_eq(&item_at(it)->node, id))
            return true;
    return false;
}

static const struct item *find_joiner(const struct px_admission *a, const struct px_peer_id *id)
{
    return find(a, PX_RELAY_ITEM_JOINER, peer_slice(id), px_slice(NULL, 0));
}

enum px_relay_class px_admission_class(const struct px_admission *a, const struct px_peer_id *id,
                                       px_nsec now)
{
    if (a->config.is_member(a->config.ctx, id))
        return PX_RELAY_MEMBER;
    if (is_vouched(a, id))
        return PX_RELAY_VOUCHED;
    const struct item *joiner = find_joiner(a, id);
    if (joiner != NULL && now < joiner->until)
        return PX_RELAY_JOINER;
    return a->config.open ? PX_RELAY_STRANGER : PX_RELAY_UNKNOWN;
}

bool px_admission_hears_unknown(const struct px_admission *a, px_nsec now)
{
    if (a->config.open)
        return true;
    PX_LIST_EACH(it, &a->all)
        if (item_at(it)->kind == PX_RELAY_ITEM_INVITE && now < item_at(it)->until)
            return true;
    return false;
}

bool px_admission_is_pair(const struct px_admission *a, const struct px_peer_id *joiner,
                          const struct px_peer_id *inviter)
{
    const struct item *i = find_joiner(a, joiner);
    return i != NULL && px_peer_id_eq(&i->member, inviter);
}

size_t px_admission_invites(const struct px_admission *a)
{
    return a->invites;
}

/* ---- changes ---- */

enum px_relay_status px_admission_invite(struct px_admission *a, const struct px_peer_id *member,
                                         const uint8_t hash[PX_RELAY_SECRET_LEN], px_nsec ttl,
                                         px_nsec now)
{
    struct px_slice key = px_slice(hash, PX_RELAY_SECRET_LEN);
    struct item *i = find(a, PX_RELAY_ITEM_INVITE, key, px_slice(NULL, 0));
    if (ttl < PX_ADMISSION_TTL_MIN || ttl > PX_ADMISSION_TTL_MAX)
        return PX_RELAY_MALFORMED_MESSAGE;
    if (i != NULL && !px_peer_id_eq(&i->member, member))
        return PX_RELAY_PERMISSION_DENIED;
    if (i == NULL && count_of(a, PX_RELAY_ITEM_INVITE, member) >= PX_ADMISSION_INVITES_MAX)
        return PX_RELAY_RESOURCE_LIMIT_EXCEEDED;
    if (i != NULL)
        return change(a, i, member, now + ttl, now);
    i = add(a, PX_RELAY_ITEM_INVITE, key, px_slice(NULL, 0), member, NULL, now + ttl);
    return saved(a, i, now);
}

enum px_relay_status px_admission_uninvite(struct px_admission *a, const struct px_peer_id *member,
                                           const uint8_t hash[PX_RELAY_SECRET_LEN])
{
    struct item *i =
        find(a, PX_RELAY_ITEM_INVITE, px_slice(hash, PX_RELAY_SECRET_LEN), px_slice(NULL, 0));
    if (i == NULL || !px_peer_id_eq(&i->member, member))
        return PX_RELAY_NOT_FOUND;
    drop(a, i);
    return PX_RELAY_OK;
}

enum px_relay_status px_admission_vouch(struct px_admission *a, const struct px_peer_id *member,
                                        const struct px_peer_id *id, bool on)
{
    struct item *i = find(a, PX_RELAY_ITEM_VOUCH, peer_slice(id), peer_slice(member));
    if (!on) {
        if (i == NULL)
            return PX_RELAY_NOT_FOUND;
        drop(a, i);
        return PX_RELAY_OK;
    }
    if (i != NULL)
        return PX_RELAY_OK;
    if (count_of(a, PX_RELAY_ITEM_VOUCH, member) >= PX_ADMISSION_VOUCHED_MAX)
        return PX_RELAY_RESOURCE_LIMIT_EXCEEDED;
    i = add(a, PX_RELAY_ITEM_VOUCH, peer_slice(id), peer_slice(member), member, id, PX_NEVER);
    return saved(a, i, 0);
}

enum px_relay_status px_admission_admit(struct px_admission *a, const struct px_peer_id *joiner,
                                        const uint8_t secret[PX_RELAY_SECRET_LEN], px_nsec now,
                                        struct px_peer_id *ret_inviter, px_nsec *ret_ttl)
{
    uint8_t hash[PX_HASH_LEN];
    px_sha256(px_slice(secret, PX_RELAY_SECRET_LEN), hash);
    struct item *invite =
        find(a, PX_RELAY_ITEM_INVITE, px_slice(hash, sizeof(hash)), px_slice(NULL, 0));
    if (invite == NULL || now >= invite->until)
        return PX_RELAY_NOT_FOUND;
    struct px_peer_id inviter = invite->member;
    px_nsec until = invite->until;
    struct px_slice key = peer_slice(joiner);
    struct item *old = find(a, PX_RELAY_ITEM_JOINER, key, px_slice(NULL, 0));
    enum px_relay_status status =
        old != NULL
            ? change(a, old, &inviter, until, now)
            : saved(a,
                    add(a, PX_RELAY_ITEM_JOINER, key, px_slice(NULL, 0), &inviter, joiner, until),
                    now);
    if (status != PX_RELAY_OK)
        return status;
    drop(a, invite);
    *ret_inviter = inviter;
    *ret_ttl = until - now;
    return PX_RELAY_OK;
}

void px_admission_recheck(struct px_admission *a)
{
    PX_LIST_EACH(it, &a->all)
        if (!a->config.is_member(a->config.ctx, &item_at(it)->member))
            drop(a, item_at(it));
}

void px_admission_run(struct px_admission *a, px_nsec now)
{
    if (now < a->next_at)
        return;
    a->next_at = PX_NEVER;
    PX_LIST_EACH(it, &a->all) {
        if (now >= item_at(it)->until)
            drop(a, item_at(it));
        else
            a->next_at = PX_MIN(a->next_at, item_at(it)->until);
    }
}

px_nsec px_admission_deadline(const struct px_admission *a)
{
    return a->next_at;
}

/* ---- loading ---- */

struct loading {
    struct px_admission *a;
    px_nsec now;
    enum px_relay_item kind;
};

static void load_item(void *ctx, struct px_slice key, struct px_slice value, px_nsec ttl)
{
    const struct loading *l = ctx;
    struct px_peer_id member, node = {{0}};
    size_t want = l->kind == PX_RELAY_ITEM_VOUCH ? 2 * sizeof(node.key) : sizeof(node.key);
    if (key.len != want || value.len != sizeof(member.key) ||
        find(l->a, l->kind, key, px_slice(NULL, 0)) != NULL)
        return;
    memcpy(member.key, value.data, sizeof(member.key));
    memcpy(node.key, key.data, sizeof(node.key)); /* an invite's hash otherwise: not looked at */
    px_nsec until =
        ttl == PX_NEVER ? PX_NEVER : l->now + PX_MIN(ttl, (px_nsec)PX_ADMISSION_TTL_MAX);
    (void)add(l->a, l->kind, key, px_slice(NULL, 0), &member, &node, until);
}

int px_admission_load(struct px_admission *a, px_nsec now)
{
    static const enum px_relay_item kinds[] = {PX_RELAY_ITEM_INVITE, PX_RELAY_ITEM_JOINER,
                                               PX_RELAY_ITEM_VOUCH};
    const struct px_relay_store *s = a->config.store;
    int err = 0;
    for (size_t i = 0; s != NULL && err == 0 && i < PX_ARRAY_LEN(kinds); i++) {
        struct loading l = {a, now, kinds[i]};
        err = s->each(s->ctx, kinds[i], load_item, &l);
    }
    if (err == 0)
        px_admission_recheck(a);
    return err;
}

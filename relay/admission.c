/* See admission.h. Invites, joiners and vouchings are items of one shape in one map. */
#include "relay/admission.h"

#include <stdlib.h>

#include "proto/base/list.h"
#include "proto/base/map.h"

#define KEY_MAX (1 + 2 * PX_ED25519_PK_LEN)
#define RETRY   (10 * PX_SEC) /* of what the store did not drop */

struct item {
    struct px_map_node by_key; /* kind ‖ key as in the store */
    struct px_list all;
    enum px_relay_item kind;
    struct px_peer_id member; /* who opened it, let in, vouches */
    struct px_peer_id node;   /* joiner or vouched */
    px_nsec until;            /* PX_NEVER: until taken back */
    bool ended;               /* it admits nobody, but is still on the disk */
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

static void end_item(struct px_admission *a, struct item *i)
{
    a->invites -= !i->ended && i->kind == PX_RELAY_ITEM_INVITE;
    i->ended = true;
}

static void free_item(struct px_admission *a, struct item *i)
{
    end_item(a, i);
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

/* Also one that has ended. */
static struct item *find(const struct px_admission *a, enum px_relay_item kind,
                         struct px_slice first, struct px_slice second)
{
    uint8_t key[KEY_MAX];
    size_t len = make_key(kind, first, second, key);
    struct px_map_node *n = px_map_find(&a->by_key, px_slice(key, len));
    return n == NULL ? NULL : PX_CONTAINER_OF(n, struct item, by_key);
}

static bool is_live(const struct item *i, enum px_relay_item kind)
{
    return i->kind == kind && !i->ended;
}

/* Without the kind: what the store knows it by. */
static struct px_slice store_key(const struct item *i)
{
    return px_slice(i->key + 1, i->key_len - 1);
}

/* The item of that key, or one that is not in the map yet. NULL: there is no room. */
static struct item *find_or_make(const struct px_admission *a, enum px_relay_item kind,
                                 struct px_slice first, struct px_slice second)
{
    struct item *i = find(a, kind, first, second);
    if (i != NULL || a->by_key.count >= PX_ADMISSION_ITEMS_MAX ||
        (i = calloc(1, sizeof(*i))) == NULL)
        return i;
    i->kind = kind;
    i->ended = true;
    i->key_len = make_key(kind, first, second, i->key);
    px_list_init(&i->all);
    return i;
}

static void free_new(struct item *i)
{
    if (px_list_empty(&i->all)) /* not in the map */
        free(i);
}

/* It is so from now on. */
static void set(struct px_admission *a, struct item *i, const struct px_peer_id *member,
                px_nsec until)
{
    if (px_list_empty(&i->all)) {
        px_map_insert(&a->by_key, &i->by_key, px_slice(i->key, i->key_len));
        px_list_push_back(&a->all, &i->all);
    }
    a->invites += i->ended && i->kind == PX_RELAY_ITEM_INVITE;
    i->ended = false;
    i->member = *member;
    memcpy(i->node.key, i->key + 1, sizeof(i->node.key)); /* an invite's hash: not looked at */
    i->until = until;
    a->next_at = PX_MIN(a->next_at, until);
}

static int save(const struct px_admission *a, const struct item *i, const struct px_peer_id *member,
                px_nsec until, px_nsec now)
{
    const struct px_relay_store *s = a->config.store;
    px_nsec ttl = until == PX_NEVER ? PX_NEVER : until - now;
    return s == NULL ? 0 : s->put(s->ctx, i->kind, store_key(i), peer_slice(member), ttl);
}

/* Stored first: what cannot be stays what it was. */
static enum px_relay_status keep(struct px_admission *a, struct item *i,
                                 const struct px_peer_id *member, px_nsec until, px_nsec now)
{
    if (i == NULL)
        return PX_RELAY_RESOURCE_LIMIT_EXCEEDED;
    if (save(a, i, member, until, now) != 0) {
        free_new(i);
        return PX_RELAY_INTERNAL;
    }
    set(a, i, member, until);
    return PX_RELAY_OK;
}

/* SPEC relay §2: it ends at once, whatever the disk says; until it is gone from there, too,
 * dropping it is tried again. */
static enum px_relay_status drop(struct px_admission *a, struct item *i)
{
    const struct px_relay_store *s = a->config.store;
    if (s == NULL || s->drop(s->ctx, i->kind, store_key(i)) == 0) {
        free_item(a, i);
        return PX_RELAY_OK;
    }
    end_item(a, i);
    a->next_at = 0;
    return PX_RELAY_INTERNAL;
}

static size_t count_of(const struct px_admission *a, enum px_relay_item kind,
                       const struct px_peer_id *member)
{
    size_t n = 0;
    PX_LIST_EACH(it, &a->all)
        n += is_live(item_at(it), kind) && px_peer_id_eq(&item_at(it)->member, member);
    return n;
}

/* ---- questions ---- */

static bool is_vouched(const struct px_admission *a, const struct px_peer_id *id)
{
    PX_LIST_EACH(it, &a->all)
        if (is_live(item_at(it), PX_RELAY_ITEM_VOUCH) && px_peer_id_eq(&item_at(it)->node, id))
            return true;
    return false;
}

static const struct item *find_joiner(const struct px_admission *a, const struct px_peer_id *id)
{
    const struct item *i = find(a, PX_RELAY_ITEM_JOINER, peer_slice(id), px_slice(NULL, 0));
    return i != NULL && !i->ended ? i : NULL;
}

static struct item *find_invite(const struct px_admission *a,
                                const uint8_t hash[PX_RELAY_SECRET_LEN])
{
    struct item *i =
        find(a, PX_RELAY_ITEM_INVITE, px_slice(hash, PX_RELAY_SECRET_LEN), px_slice(NULL, 0));
    return i != NULL && !i->ended ? i : NULL;
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
        if (is_live(item_at(it), PX_RELAY_ITEM_INVITE) && now < item_at(it)->until)
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
    const struct item *old = find_invite(a, hash);
    if (ttl < PX_ADMISSION_TTL_MIN || ttl > PX_ADMISSION_TTL_MAX)
        return PX_RELAY_MALFORMED_MESSAGE;
    if (old != NULL && !px_peer_id_eq(&old->member, member))
        return PX_RELAY_PERMISSION_DENIED;
    if (old == NULL && count_of(a, PX_RELAY_ITEM_INVITE, member) >= PX_ADMISSION_INVITES_MAX)
        return PX_RELAY_RESOURCE_LIMIT_EXCEEDED;
    struct px_slice key = px_slice(hash, PX_RELAY_SECRET_LEN);
    return keep(a, find_or_make(a, PX_RELAY_ITEM_INVITE, key, px_slice(NULL, 0)), member, now + ttl,
                now);
}

enum px_relay_status px_admission_uninvite(struct px_admission *a, const struct px_peer_id *member,
                                           const uint8_t hash[PX_RELAY_SECRET_LEN])
{
    struct item *i =
        find(a, PX_RELAY_ITEM_INVITE, px_slice(hash, PX_RELAY_SECRET_LEN), px_slice(NULL, 0));
    if (i == NULL || !px_peer_id_eq(&i->member, member))
        return PX_RELAY_NOT_FOUND;
    return drop(a, i);
}

/* SPEC relay §2: also what is left of its time as a joiner of that member. */
static enum px_relay_status unvouch(struct px_admission *a, struct item *vouch,
                                    const struct px_peer_id *member, const struct px_peer_id *id)
{
    struct item *joiner = find(a, PX_RELAY_ITEM_JOINER, peer_slice(id), px_slice(NULL, 0));
    enum px_relay_status status = PX_RELAY_NOT_FOUND;
    if (joiner != NULL && px_peer_id_eq(&joiner->member, member))
        status = drop(a, joiner);
    if (vouch == NULL)
        return status;
    return drop(a, vouch) == PX_RELAY_OK && status != PX_RELAY_INTERNAL ? PX_RELAY_OK
                                                                        : PX_RELAY_INTERNAL;
}

enum px_relay_status px_admission_vouch(struct px_admission *a, const struct px_peer_id *member,
                                        const struct px_peer_id *id, bool on)
{
    struct item *i = find(a, PX_RELAY_ITEM_VOUCH, peer_slice(id), peer_slice(member));
    if (!on)
        return unvouch(a, i, member, id);
    if (i != NULL && !i->ended)
        return PX_RELAY_OK;
    if (count_of(a, PX_RELAY_ITEM_VOUCH, member) >= PX_ADMISSION_VOUCHED_MAX)
        return PX_RELAY_RESOURCE_LIMIT_EXCEEDED;
    i = find_or_make(a, PX_RELAY_ITEM_VOUCH, peer_slice(id), peer_slice(member));
    return keep(a, i, member, PX_NEVER, 0);
}

/* Both or none: an invite is neither used twice nor lost when the process ends in between. */
static int save_admitted(const struct px_admission *a, const struct item *joiner,
                         const struct item *invite, px_nsec now)
{
    const struct px_relay_store *s = a->config.store;
    int err = s != NULL ? s->begin(s->ctx) : 0;
    if (s == NULL || err != 0)
        return err;
    err = save(a, joiner, &invite->member, invite->until, now);
    if (err == 0)
        err = s->drop(s->ctx, invite->kind, store_key(invite));
    int end = s->end(s->ctx, err == 0);
    return err != 0 ? err : end;
}

enum px_relay_status px_admission_admit(struct px_admission *a, const struct px_peer_id *joiner,
                                        const uint8_t secret[PX_RELAY_SECRET_LEN], px_nsec now,
                                        struct px_peer_id *ret_inviter, px_nsec *ret_ttl)
{
    uint8_t hash[PX_HASH_LEN];
    px_sha256(px_slice(secret, PX_RELAY_SECRET_LEN), hash);
    struct item *invite = find_invite(a, hash);
    if (invite == NULL || now >= invite->until)
        return PX_RELAY_NOT_FOUND;
    struct item *i = find_or_make(a, PX_RELAY_ITEM_JOINER, peer_slice(joiner), px_slice(NULL, 0));
    if (i == NULL)
        return PX_RELAY_RESOURCE_LIMIT_EXCEEDED;
    if (save_admitted(a, i, invite, now) != 0) {
        free_new(i);
        return PX_RELAY_INTERNAL;
    }
    set(a, i, &invite->member, invite->until);
    free_item(a, invite);
    *ret_inviter = i->member;
    *ret_ttl = i->until - now;
    return PX_RELAY_OK;
}

void px_admission_recheck(struct px_admission *a)
{
    PX_LIST_EACH(it, &a->all) {
        struct item *i = item_at(it);
        if (!i->ended && !a->config.is_member(a->config.ctx, &i->member))
            (void)drop(a, i);
    }
}

bool px_admission_run(struct px_admission *a, px_nsec now)
{
    px_nsec next = PX_NEVER;
    bool failing = false, changed = false; /* one attempt is enough to see that it fails */
    if (now < a->next_at)
        return false;
    PX_LIST_EACH(it, &a->all) {
        struct item *i = item_at(it);
        if (!i->ended && now < i->until) {
            next = PX_MIN(next, i->until);
            continue;
        }
        changed = changed || is_live(i, PX_RELAY_ITEM_JOINER); /* nobody is anything by an invite */
        if (failing)
            end_item(a, i);
        else
            failing = drop(a, i) != PX_RELAY_OK;
    }
    a->next_at = failing ? PX_MIN(next, now + RETRY) : next;
    return changed;
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
    struct px_peer_id member;
    size_t want = (l->kind == PX_RELAY_ITEM_VOUCH ? 2 : 1) * sizeof(member.key);
    if (key.len != want || value.len != sizeof(member.key) ||
        find(l->a, l->kind, key, px_slice(NULL, 0)) != NULL)
        return;
    memcpy(member.key, value.data, sizeof(member.key));
    px_nsec until =
        ttl == PX_NEVER ? PX_NEVER : l->now + PX_MIN(ttl, (px_nsec)PX_ADMISSION_TTL_MAX);
    struct item *i = find_or_make(l->a, l->kind, key, px_slice(NULL, 0));
    if (i != NULL)
        set(l->a, i, &member, until);
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

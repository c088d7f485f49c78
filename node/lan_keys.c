/* Implements docs/spec/lan.md §1. Entries are sorted by ID, so that a changed list is compared with
 * the old one by looking up; `order` has those that can be used. */
#include "node/lan_keys.h"

#include <stdlib.h>

#include "proto/base/reader.h"
#include "transport/link.h"

#define DOMAIN "peerix lan v1"

struct px_lan_keys {
    const struct px_identity *identity;
    struct px_x25519_secret secret;
    struct px_slice network; /* owned */
    struct px_lan_key *all;
    size_t count;
    uint16_t *order; /* indices of derived ones; room for all */
    size_t ready;
};
_Static_assert(PX_AUTH_ENTRIES_MAX <= UINT16_MAX, "indices fit the order");

int px_lan_keys_new(const struct px_identity *identity, struct px_slice network,
                    struct px_lan_keys **ret)
{
    if (network.len > PX_LINK_NETWORK_MAX)
        return PX_ELIMIT;
    struct px_lan_keys *k = calloc(1, sizeof(*k));
    uint8_t *copy = malloc(network.len + 1);
    if (k == NULL || copy == NULL) {
        free(k);
        free(copy);
        return PX_ENOMEM;
    }
    k->identity = identity;
    if (network.len > 0)
        memcpy(copy, network.data, network.len);
    k->network = px_slice(copy, network.len);
    px_ed25519_secret_to_x25519(&identity->secret, &k->secret);
    *ret = k;
    return 0;
}

static void free_entries(struct px_lan_key *all, size_t count)
{
    if (all != NULL)
        px_wipe(all, count * sizeof(*all));
    free(all);
}

void px_lan_keys_free(struct px_lan_keys *k)
{
    if (k == NULL)
        return;
    free_entries(k->all, k->count);
    px_wipe(&k->secret, sizeof(k->secret));
    free(k->order);
    free((void *)(uintptr_t)k->network.data);
    free(k);
}

static int by_id(const void *a, const void *b)
{
    const struct px_lan_key *x = a, *y = b;
    return memcmp(x->id.key, y->id.key, sizeof(x->id.key));
}

/* Keeps what the old entries know. True when an ID is new. */
static bool fill(const struct px_lan_keys *k, const struct px_authorized_keys *list,
                 struct px_lan_key *all, size_t *ret_count)
{
    bool added = false;
    size_t n = 0;
    for (size_t i = 0; i < px_authorized_keys_count(list); i++) {
        struct px_lan_key wanted = {.id = px_authorized_keys_at(list, i)->id};
        if (px_peer_id_eq(&wanted.id, &k->identity->id))
            continue;
        const struct px_lan_key *old =
            k->count > 0 ? bsearch(&wanted, k->all, k->count, sizeof(wanted), by_id) : NULL;
        all[n++] = old != NULL ? *old : wanted;
        added = added || old == NULL;
    }
    *ret_count = n;
    return added;
}

static void collect_ready(struct px_lan_keys *k)
{
    k->ready = 0;
    for (size_t i = 0; i < k->count; i++)
        if (k->all[i].derived)
            k->order[k->ready++] = (uint16_t)i;
}

int px_lan_keys_update(struct px_lan_keys *k, const struct px_authorized_keys *list,
                       bool *ret_added)
{
    size_t room = px_authorized_keys_count(list) + 1, count;
    struct px_lan_key *all = calloc(room, sizeof(*all));
    uint16_t *order = calloc(room, sizeof(*order));
    if (all == NULL || order == NULL) {
        free(all);
        free(order);
        return PX_ENOMEM;
    }
    *ret_added = fill(k, list, all, &count);
    qsort(all, count, sizeof(*all), by_id);
    free_entries(k->all, k->count);
    free(k->order);
    k->all = all;
    k->count = count;
    k->order = order;
    collect_ready(k);
    return 0;
}

/* SPEC lan §1: K = HKDF(salt = "", ikm = S, info = lp("peerix lan v1") ‖ lp(network id) ‖ a ‖ b) */
static int derive(const struct px_lan_keys *k, struct px_lan_key *e)
{
    uint8_t public[PX_X25519_LEN], shared[PX_X25519_LEN], text[16];
    struct px_buf info;
    const struct px_peer_id *own = &k->identity->id;
    e->we_are_lower = memcmp(own->key, e->id.key, sizeof(own->key)) < 0;
    int err = px_ed25519_public_to_x25519(e->id.key, public);
    if (err == 0)
        err = px_x25519(&k->secret, public, shared);
    if (err != 0)
        return err;
    px_buf_init(&info, 256);
    (void)px_buf_put_be16(&info, sizeof(DOMAIN) - 1);
    (void)px_buf_put_cstr(&info, DOMAIN);
    (void)px_buf_put_be16(&info, (uint16_t)k->network.len);
    (void)px_buf_put(&info, k->network);
    (void)px_buf_put(&info, px_slice(e->we_are_lower ? own->key : e->id.key, sizeof(own->key)));
    (void)px_buf_put(&info, px_slice(e->we_are_lower ? e->id.key : own->key, sizeof(own->key)));
    err = info.err;
    if (err == 0)
        px_hkdf_sha256(px_slice(NULL, 0), px_slice(shared, sizeof(shared)), px_buf_slice(&info),
                       text, sizeof(text));
    px_buf_deinit(&info);
    px_wipe(shared, sizeof(shared));
    if (err != 0)
        return err;
    struct px_reader r = px_reader(px_slice(text, sizeof(text)));
    px_assert(px_reader_le64(&r, &e->key[0]) == 0 && px_reader_le64(&r, &e->key[1]) == 0);
    px_wipe(text, sizeof(text));
    return 0;
}

bool px_lan_keys_derive(struct px_lan_keys *k, size_t max)
{
    bool changed = false, complete = true;
    for (size_t i = 0; i < k->count && complete; i++) {
        struct px_lan_key *e = &k->all[i];
        if (e->derived || e->unusable)
            continue;
        if (max-- == 0) {
            complete = false;
            break;
        }
        int err = derive(k, e);
        if (err == PX_ENOMEM) /* the next call may be luckier */
            complete = false;
        e->derived = err == 0;
        e->unusable = err == PX_ECRYPTO;
        changed = true;
    }
    if (changed)
        collect_ready(k);
    return complete;
}

size_t px_lan_keys_count(const struct px_lan_keys *k)
{
    return k->ready;
}

const struct px_lan_key *px_lan_keys_at(const struct px_lan_keys *k, size_t i)
{
    px_assert(i < k->ready);
    return &k->all[k->order[i]];
}

void px_lan_keys_shuffle(struct px_lan_keys *k, const struct px_rng *rng)
{
    for (size_t i = k->ready; i > 1; i--) {
        uint32_t r;
        rng->fill(rng->ctx, &r, sizeof(r));
        size_t j = r % i; /* lists are short beside 2^32: no bias that matters */
        uint16_t t = k->order[i - 1];
        k->order[i - 1] = k->order[j];
        k->order[j] = t;
    }
}

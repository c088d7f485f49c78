/* See pairing_commit.h. */
#include "node/pairing_commit.h"

#include <stdio.h>

#include "auth/authorized_keys_io.h"
#include "node/fault_point.h"
#include "node/trusted_keys.h"

enum { NAME_TRIES = 99, COMMIT_TRIES = 3 };

static bool name_is_free(const struct px_authorized_keys *keys, const struct px_peer_id *peer,
                         const char *name)
{
    const struct px_authorized_key *k = px_authorized_keys_by_name(keys, px_slice_cstr(name));
    return k == NULL || px_peer_id_eq(&k->id, peer);
}

/* NAME, or the first of NAME-2, NAME-3 … that nobody has. */
static int free_name(const struct px_authorized_keys *keys, const struct px_peer_id *peer,
                     const char *wanted, char ret[PX_AUTH_NAME_MAX + 1])
{
    snprintf(ret, PX_AUTH_NAME_MAX + 1, "%s", wanted);
    for (int i = 2; !name_is_free(keys, peer, ret); i++) {
        if (i > NAME_TRIES)
            return PX_ELIMIT;
        snprintf(ret, PX_AUTH_NAME_MAX + 1, "%.*s-%u", PX_AUTH_NAME_MAX - 4, wanted, (uint8_t)i);
    }
    return 0;
}

static void add_addr(struct px_authorized_key *k, const char *addr)
{
    for (size_t i = 0; i < k->addr_count; i++)
        if (strcmp(k->addrs[i], addr) == 0)
            return;
    if (k->addr_count < PX_AUTH_ADDRS_MAX)
        snprintf(k->addrs[k->addr_count++], PX_AUTH_ADDR_MAX, "%s", addr);
}

static int set_name(const struct px_authorized_keys *keys, const struct px_pairing_commit *c,
                    struct px_authorized_key *k, struct px_pairing_written *w)
{
    char name[PX_AUTH_NAME_MAX + 1];
    const char *wanted = c->name[0] != '\0' ? c->name : k->name;
    if (wanted[0] == '\0')
        wanted = c->card->name[0] != '\0' ? c->card->name : "peer";
    int err = free_name(keys, &c->peer, wanted, name);
    if (err != 0)
        return err;
    w->renamed = strcmp(name, wanted) != 0;
    snprintf(k->name, sizeof(k->name), "%s", name);
    snprintf(w->name, sizeof(w->name), "%s", name);
    return 0;
}

int px_pairing_entry(const struct px_authorized_keys *keys, const struct px_pairing_commit *c,
                     struct px_authorized_key *ret, struct px_pairing_written *ret_written)
{
    const struct px_authorized_key *old = px_authorized_keys_find(keys, &c->peer);
    struct px_pairing_written w = {.known = old != NULL};
    struct px_authorized_key k = {.id = c->peer};
    if (old != NULL)
        k = *old;
    int err = set_name(keys, c, &k, &w);
    if (err != 0)
        return err;
    k.grants |= c->grants;
    w.grants = k.grants;
    for (size_t i = 0; i < c->card->addr_count; i++)
        add_addr(&k, c->card->addrs[i]);
    if (c->seen[0] != '\0')
        add_addr(&k, c->seen);
    *ret = k;
    *ret_written = w;
    return 0;
}

/* Whether nix would find another key under the name of this one. */
struct name_check {
    const struct px_peer_id *peer;
    const struct px_nix_public_key *key;
    bool taken;
};

static int check_name(void *ctx, const struct px_trusted_key *k)
{
    struct name_check *c = ctx;
    c->taken |= !px_peer_id_eq(&k->peer, c->peer) && strcmp(k->key.name, c->key->name) == 0 &&
                memcmp(k->key.key, c->key->key, sizeof(k->key.key)) != 0;
    return 0;
}

/* SPEC pairing §5: the key first; alone it counts for nothing. */
static int write_key(const struct px_pairing_commit *c, const struct px_authorized_keys *keys,
                     const char *name, bool *ret_taken)
{
    char path[PX_HOME_FILE_MAX];
    struct px_nix_public_key key;
    struct name_check check = {&c->peer, &key, false};
    *ret_taken = false;
    if (c->card->nix_key[0] == '\0')
        return 0;
    int err = px_nix_public_key_parse(px_slice_cstr(c->card->nix_key), &key);
    if (err != 0)
        return err;
    px_home_config_path(c->home, PX_HOME_TRUSTED_KEYS, path);
    err = px_trusted_keys_each(path, keys, NULL, check_name, &check);
    if (err == 0)
        err = px_trusted_keys_file_set(path, &c->peer, c->card->nix_key, name);
    *ret_taken = check.taken || (c->own_key != NULL && strcmp(c->own_key->name, key.name) == 0);
    return err;
}

static int commit_once(const struct px_pairing_commit *c, const char *path,
                       struct px_pairing_written *ret)
{
    struct px_authorized_keys *keys = NULL;
    struct px_authorized_key entry;
    struct px_pairing_written w;
    int err = px_authorized_keys_load(path, &keys);
    if (err == 0)
        err = px_pairing_entry(keys, c, &entry, &w);
    if (err == 0)
        err = write_key(c, keys, w.name, &w.key_name_taken);
    px_fault_point("key-written");
    if (err == 0)
        err = px_authorized_keys_file_set(path, &entry);
    px_authorized_keys_free(keys);
    if (err == 0)
        *ret = w;
    return err;
}

int px_pairing_commit(const struct px_pairing_commit *c, struct px_pairing_written *ret)
{
    char path[PX_HOME_FILE_MAX];
    int err = PX_EEXIST;
    px_home_config_path(c->home, PX_HOME_AUTHORIZED_KEYS, path);
    /* PX_EEXIST: somebody took the name between reading and writing */
    for (int i = 0; i < COMMIT_TRIES && err == PX_EEXIST; i++)
        err = commit_once(c, path, ret);
    return err;
}

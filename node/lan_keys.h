/* The pair keys of announcements (docs/spec/lan.md §1): one per listed peer, kept while it is
 * listed.
 *
 * A core. Deriving a key costs a tenth of a millisecond, so a long list is done in slices. */
#ifndef PX_NODE_LAN_KEYS_H
#define PX_NODE_LAN_KEYS_H

#include "auth/authorized_keys.h"
#include "auth/identity.h"

/* Holds a secret; a member of px_lan_keys, never copied. */
struct px_lan_key {
    struct px_peer_id id;
    uint64_t key[2];
    bool we_are_lower; /* our key sorts before the peer's */
    bool derived, unusable;
};

struct px_lan_keys;

/* `identity` is borrowed and outlives the keys, `network` is copied. PX_ENOMEM, PX_ELIMIT. */
PX_MUST_CHECK int px_lan_keys_new(const struct px_identity *identity, struct px_slice network,
                                  struct px_lan_keys **ret);
/* Wipes them. */
void px_lan_keys_free(struct px_lan_keys *k);

/* Takes over who is listed (not ourselves); keys of those who stay are kept. *ret_added: somebody
 * is new. PX_ENOMEM: all is as it was. */
PX_MUST_CHECK int px_lan_keys_update(struct px_lan_keys *k, const struct px_authorized_keys *list,
                                     bool *ret_added);
/* Derives up to `max` missing keys. True when none is missing any more. */
bool px_lan_keys_derive(struct px_lan_keys *k, size_t max);
/* Those that are derived, in an order of no meaning. */
size_t px_lan_keys_count(const struct px_lan_keys *k);
const struct px_lan_key *px_lan_keys_at(const struct px_lan_keys *k, size_t i);
/* A new random order. */
void px_lan_keys_shuffle(struct px_lan_keys *k, const struct px_rng *rng);

#endif

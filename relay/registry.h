/* The relay's registry (docs/spec/relay.md §8): signed records by namespace and peer, names held
 * for their nodes, times to live. Sans-IO; what must survive goes through a px_relay_store. */
#ifndef PX_RELAY_REGISTRY_H
#define PX_RELAY_REGISTRY_H

#include "relay/record.h"
#include "relay/store.h"

struct px_registry;

#define PX_REGISTRY_TTL_MIN        (60 * PX_SEC)
#define PX_REGISTRY_TTL_MAX        (24 * 3600 * PX_SEC)
#define PX_REGISTRY_TTL_DEFAULT    (2 * 3600 * PX_SEC)
#define PX_REGISTRY_NAME_HOLD      (30 * 24 * 3600 * PX_SEC)
#define PX_REGISTRY_PER_PEER       4    /* namespaces with a record of one node */
#define PX_REGISTRY_NAMES_PER_PEER 4    /* names held for one node */
#define PX_REGISTRY_PER_NAMESPACE  4096 /* records */
#define PX_REGISTRY_RECORDS_MAX    16384

/* One record. Everything lives as long as the record is in the registry. */
struct px_registry_entry {
    uint64_t serial; /* of its last change; grows */
    struct px_slice name_space;
    struct px_peer_id peer;
    struct px_slice bytes; /* the signed record */
    px_nsec expires;
};

struct px_registry_config {
    struct px_rng rng;
    const struct px_relay_store *store; /* borrowed; may be NULL: nothing survives */
    /* A record came, changed, or (`gone`) went. Must not change the registry. */
    void (*changed)(void *ctx, const struct px_registry_entry *e, bool gone);
    void *ctx;
};

PX_MUST_CHECK int px_registry_new(const struct px_registry_config *config,
                                  struct px_registry **ret);
/* Drops memory alone; the store keeps what it has. */
void px_registry_free(struct px_registry *r);
/* Reads what the store has. PX_EIO & co. of the store. */
PX_MUST_CHECK int px_registry_load(struct px_registry *r, px_nsec now);

/* `ttl` 0: the default; clamped to the bounds, *ret_ttl says what it became. A record that is the
 * same again refreshes its time. */
enum px_relay_status px_registry_register(struct px_registry *r, const struct px_peer_id *sender,
                                          struct px_slice name_space, struct px_slice bytes,
                                          px_nsec ttl, px_nsec now, px_nsec *ret_ttl);
/* False when there was none. */
bool px_registry_unregister(struct px_registry *r, const struct px_peer_id *peer,
                            struct px_slice name_space);

/* The same for every node that `welcome` denies. */
void px_registry_drop_unwelcome(struct px_registry *r,
                                bool (*welcome)(void *ctx, const struct px_peer_id *id), void *ctx);

const struct px_registry_entry *px_registry_find(const struct px_registry *r,
                                                 struct px_slice name_space,
                                                 const struct px_peer_id *peer);
/* The record of the node that holds the name; NULL also when that has aged out. */
const struct px_registry_entry *
px_registry_by_name(const struct px_registry *r, struct px_slice name_space, struct px_slice name);
/* The first record of the namespace that changed after `serial` (0: the first of all). */
const struct px_registry_entry *px_registry_after(const struct px_registry *r,
                                                  struct px_slice name_space, uint64_t serial);

/* The serial of the last change there was. */
uint64_t px_registry_serial(const struct px_registry *r);

void px_registry_run(struct px_registry *r, px_nsec now);
px_nsec px_registry_deadline(const struct px_registry *r);
size_t px_registry_count(const struct px_registry *r);

#endif

/* The body of a NAR answer: chunks pulled from the store's reader, kept until the peer has acked
 * them (docs/spec/cache.md §4). */
#ifndef PX_NODE_NIX_CACHE_NAR_H
#define PX_NODE_NIX_CACHE_NAR_H

#include "node/h3.h"
#include "node/nix/store.h"

struct px_cache_nar;

struct px_cache_nar_events {
    /* The peer has so many more bytes of it. */
    void (*acked)(void *ctx, uint64_t n);
    /* Called last. */
    void (*closed)(void *ctx, int err);
};

/* Starts reading what `head` announces: content_length bytes (at least 1) from range_first, for
 * exchange x. Errors as px_nar_open. */
PX_MUST_CHECK int px_cache_nar_new(struct px_store *store, const struct px_path_info *info,
                                   const struct px_h3_answer *head, struct px_h3_exchange *x,
                                   const struct px_cache_nar_events *events, void *ctx,
                                   struct px_cache_nar **ret);
/* When it could not be handed to px_h3_respond; `closed` is called. */
void px_cache_nar_free(struct px_cache_nar *n);
/* For px_h3_answer; the context is the px_cache_nar. */
extern const struct px_h3_body_ops px_cache_nar_ops;

#endif

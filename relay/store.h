/* What the relay must not forget, as its cores see it: small items by kind and key, each with a
 * time to live. The shell behind the ops (SQLite) turns that into its own calendar and back. */
#ifndef PX_RELAY_STORE_H
#define PX_RELAY_STORE_H

#include "proto/base/slice.h"

/* Numbers are on disk: never renumbered. */
enum px_relay_item {
    PX_RELAY_ITEM_RECORD = 1,  /* namespace ‖ 0 ‖ peer: signed record */
    PX_RELAY_ITEM_NAME = 2,    /* namespace ‖ 0 ‖ name: peer */
    PX_RELAY_ITEM_INVITE = 3,  /* hash: inviter */
    PX_RELAY_ITEM_JOINER = 4,  /* peer: inviter */
    PX_RELAY_ITEM_VOUCH = 5,   /* peer ‖ inviter: nothing */
    PX_RELAY_ITEM_SESSION = 6, /* session ‖ sender ‖ receiver: two counts */
    PX_RELAY_ITEM_TOTAL = 7,   /* sender ‖ receiver ‖ day: three sums */
};

struct px_relay_store {
    /* Writes or replaces; on disk when it returns 0. ttl PX_NEVER: for good. */
    int (*put)(void *ctx, enum px_relay_item kind, struct px_slice key, struct px_slice value,
               px_nsec ttl);
    /* Gone from the disk when it returns 0. */
    int (*drop)(void *ctx, enum px_relay_item kind, struct px_slice key);
    /* What is written and dropped between them comes to the disk wholly or not at all: not at all
     * if `keep` is false or `end` fails. No other between them. */
    int (*begin)(void *ctx);
    int (*end)(void *ctx, bool keep);
    /* Every item of the kind whose time is not up, with what is left of it. The views live for the
     * call; fn must not write to the store. */
    int (*each)(void *ctx, enum px_relay_item kind,
                void (*fn)(void *fn_ctx, struct px_slice key, struct px_slice value, px_nsec ttl),
                void *fn_ctx);
    /* Days since 1970 by the calendar on the wall. */
    uint32_t (*day)(void *ctx);
    void *ctx;
};

#endif

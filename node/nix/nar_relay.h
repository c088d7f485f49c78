/* One NAR on its way from one peer to one reader: cut at its signed size, hashed as it passes, and
 * what the reader gets last held back until the hash is right (docs/substituter.md).
 *
 * Callbacks of the peer and of the hasher only record facts; what follows from them happens in
 * px_nar_relay_run, which the owner calls once a loop turn while px_nar_relay_dirty. No clock:
 * `now` is handed in. */
#ifndef PX_NODE_NIX_NAR_RELAY_H
#define PX_NODE_NIX_NAR_RELAY_H

#include "node/nix/cache_peer.h"
#include "node/nix/nar_hash.h"

#define PX_NAR_TAIL         (64u * 1024)        /* bytes held until the hash is right */
#define PX_NAR_HASH_BACKLOG (4u * 1024 * 1024)  /* not hashed yet; above it no credit is given */
#define PX_NAR_UNREAD_MAX   (64u * 1024 * 1024) /* a source that sends more without credit is cut */
#define PX_NAR_HOLD_TIME    (5 * PX_SEC)        /* a held NAR that takes longer is streamed */
#define PX_NAR_PACE         1024                /* bytes/s; a source that is slower has stalled */
#define PX_NAR_RETRY        (20 * PX_MSEC)      /* for a peer that allows no stream now */
#define PX_NAR_BUSY_RETRY   (100 * PX_MSEC)     /* for a peer that says it is too busy */
#define PX_NAR_BUSY_TIME    (2 * PX_SEC)        /* it is given up then */

struct px_nar_relay;

/* X(name, text, demerits) */
#define PX_NAR_FAULT_TABLE(X)                                                                      \
    X(PX_NAR_OK, "ok", 0)                                                                          \
    X(PX_NAR_REFUSED, "did not give the NAR it told of", 1)                                        \
    X(PX_NAR_BUSY, "is too busy", 1)                                                               \
    X(PX_NAR_WRONG_LENGTH, "announced another size than was signed", 2)                            \
    X(PX_NAR_SHORT, "ended before the signed size", 2)                                             \
    X(PX_NAR_LONG, "went on after the signed size", 2)                                             \
    X(PX_NAR_LIE, "content does not match the signed hash", 8)                                     \
    X(PX_NAR_STALLED, "went silent", 2)                                                            \
    X(PX_NAR_RESET, "broke off", 1)                                                                \
    X(PX_NAR_OVERRUN, "ignored flow control", 4)                                                   \
    X(PX_NAR_NO_MEMORY, "we ran out of memory", 0)

enum px_nar_fault {
#define X(name, text, demerits) name,
    PX_NAR_FAULT_TABLE(X)
#undef X
};
const char *px_nar_fault_text(enum px_nar_fault fault);
/* What it adds to the peer's demerits. */
uint32_t px_nar_fault_demerits(enum px_nar_fault fault);

/* All are called from px_nar_relay_run. */
struct px_nar_relay_ops {
    /* The reader may be promised the NAR: from here on px_nar_relay_read gives bytes. Called at
     * most once. */
    void (*ready)(void *ctx);
    /* After `ready`: px_nar_relay_read may have more, or an end. */
    void (*wake)(void *ctx);
    /* The source failed; called at most once. After `ready` the reader has to be cut. */
    void (*failed)(void *ctx, enum px_nar_fault fault);
};

struct px_nar_relay_config {
    struct px_nar_hasher *hasher;
    struct px_cache_peer *peer;
    struct px_slice path; /* what to GET; copied */
    uint8_t nar_hash[32];
    uint64_t nar_size;
    uint64_t first; /* the reader wants it from here on; < nar_size */
    bool hold;      /* all of it is held until verified (at most PX_NAR_HOLD_TIME) */
    px_nsec stall;  /* the source may go on below PX_NAR_PACE so long while we wait for it */
};

/* Starts the request. PX_ENOMEM, or what the peer's get said (PX_EAGAIN is tried again here). */
PX_MUST_CHECK int px_nar_relay_new(const struct px_nar_relay_config *config, px_nsec now,
                                   const struct px_nar_relay_ops *ops, void *ctx,
                                   struct px_nar_relay **ret);
/* Cancels the request. Not from inside a callback of the peer. */
void px_nar_relay_free(struct px_nar_relay *r);

/* The peer must not be touched any more; the request has got its `end` already. */
void px_nar_relay_peer_gone(struct px_nar_relay *r);

/* The peer allows streams again: a request that waits for one is made by the next run. */
void px_nar_relay_peer_ready(struct px_nar_relay *r);

/* Copies the next bytes for the reader: *ret_len > 0, or 0 when there are none now. A lasting error
 * once the source failed. */
PX_MUST_CHECK int px_nar_relay_read(struct px_nar_relay *r, void *dst, size_t cap, size_t *ret_len);

/* Something happened that px_nar_relay_run has to look at. */
bool px_nar_relay_dirty(const struct px_nar_relay *r);
/* Acts on facts and on time. May call `failed`, which must not free r. */
void px_nar_relay_run(struct px_nar_relay *r, px_nsec now);
/* When it must be called even if nothing happens. */
px_nsec px_nar_relay_next(const struct px_nar_relay *r);

/* All of it came, and its hash is right. */
bool px_nar_relay_verified(const struct px_nar_relay *r);
/* Bytes that came from the peer. */
uint64_t px_nar_relay_received(const struct px_nar_relay *r);

#endif

/* What relays have yet to be told (docs/spec/relay.md §2): that an invite is over, whom this node
 * vouches for and whom no longer. Kept until a relay has heard it, also over a restart; a core, the
 * file is node/relay_pairing's. */
#ifndef PX_NODE_RELAY_OWED_H
#define PX_NODE_RELAY_OWED_H

#include "auth/peer_id.h"
#include "proto/invite.h"
#include "relay/relay_msg.h"

struct px_relay_owed;

#define PX_HOME_RELAY_OWED      "relay-owed" /* in the state directory */
#define PX_RELAY_OWED_INVITES   32           /* the one that ends first makes room */
#define PX_RELAY_OWED_VOUCHES   64           /* as many as a relay takes; the oldest makes room */
#define PX_RELAY_OWED_VOUCHED   64           /* that relays took; the oldest makes room */
#define PX_RELAY_OWED_UNVOUCHES 128          /* of a peer at a relay; the oldest makes room */
#define PX_RELAY_OWED_TIME      (30 * 24 * 3600) /* seconds that a vouch is tried */
#define PX_RELAY_OWED_FILE_MAX  ((size_t)64 * 1024)

PX_MUST_CHECK int px_relay_owed_new(struct px_relay_owed **ret);
void px_relay_owed_free(struct px_relay_owed *o);

/* Times are wall seconds. True if anything changed. */

/* A relay holds the hash of that invite, until then. */
void px_relay_owed_invited(struct px_relay_owed *o, const uint8_t id[PX_INVITE_ID_LEN],
                           const struct px_peer_id *relay, const uint8_t hash[PX_RELAY_SECRET_LEN],
                           int64_t expires);
/* The invite is over: its relay is to hear of it. */
bool px_relay_owed_uninvite(struct px_relay_owed *o, const uint8_t id[PX_INVITE_ID_LEN]);
/* Every invite of which `is_open` says no is over. */
bool px_relay_owed_check(struct px_relay_owed *o,
                         bool (*is_open)(void *ctx, const uint8_t id[PX_INVITE_ID_LEN]), void *ctx);
void px_relay_owed_vouch(struct px_relay_owed *o, const struct px_peer_id *peer, int64_t now);
/* Whoever we vouch for as `old`, we vouch for as `next`, too. */
bool px_relay_owed_follow(struct px_relay_owed *o, const struct px_peer_id *old,
                          const struct px_peer_id *next, int64_t now);
/* Whom we vouched for, and do not list any more, these relays are to admit no more on our word; who
 * is listed again within PX_RELAY_OWED_TIME is vouched for again: a list may be broken for a while.
 */
bool px_relay_owed_unvouch(struct px_relay_owed *o,
                           bool (*listed)(void *ctx, const struct px_peer_id *peer), void *ctx,
                           const struct px_peer_id *relays, size_t relay_count, int64_t now);

/* One thing to tell. */
struct px_relay_order {
    uint32_t ticket; /* not 0 */
    bool vouch;      /* for `peer`, or no more; otherwise an invite is over: `hash` */
    bool on;
    struct px_peer_id peer;
    uint8_t hash[PX_RELAY_SECRET_LEN];
};
/* The next one for this relay after that ticket (0: the first). What has expired is forgotten. */
bool px_relay_owed_next(struct px_relay_owed *o, const struct px_peer_id *relay, uint32_t after,
                        int64_t now, struct px_relay_order *ret);
/* What the relay said to it; unknown tickets were settled before. */
bool px_relay_owed_answer(struct px_relay_owed *o, uint32_t ticket, enum px_relay_status status);

/* As text, a line each: `invite|uninvite ID RELAY-ID HASH EXPIRES`, `vouch|vouched|taken PEER-ID
 * EXPIRES` or `unvouch RELAY-ID PEER-ID EXPIRES`. Lines that make no sense are left out and
 * counted. PX_ENOMEM. */
PX_MUST_CHECK int px_relay_owed_write(const struct px_relay_owed *o, struct px_buf *out);
void px_relay_owed_read(struct px_relay_owed *o, struct px_slice text, int64_t now,
                        size_t *ret_bad);

#endif

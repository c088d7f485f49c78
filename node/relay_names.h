/* Names of the network as relays hold them (docs/spec/relay.md §8): takes what they tell into the
 * local copy (node/net_names), lists a namespace once a connection, asks for one name when somebody
 * wants it. For node/relays*; what others may use is in node/relays.h. */
#ifndef PX_NODE_RELAY_NAMES_H
#define PX_NODE_RELAY_NAMES_H

#include "node/net_names.h"
#include "node/relays.h"

struct px_relay;
struct px_relay_names; /* of a set of relays */

#define PX_RELAY_LOOKUPS_MAX     8               /* under way at once */
#define PX_RELAY_LOOKUP_TIME     (3 * PX_SEC)    /* in all, then the copy answers */
#define PX_RELAY_LIST_PAUSE      (200 * PX_MSEC) /* between two pages of a namespace */
#define PX_RELAY_NAMES_SAVE_SEEN (600 * PX_SEC)  /* when nothing but times changed */
#define PX_RELAY_NAMES_SAVE_WAIT (2 * PX_SEC)    /* changes come in rows */

/* How far the listing at one relay is. */
struct px_relay_listing {
    px_nsec next_at; /* PX_NEVER: nothing to ask for */
    int64_t since;   /* wall seconds: what was told since then is of this connection; 0: it is not
                        watched */
    uint8_t cookie[32];
    size_t cookie_len, records;
};

/* Reads the copy in the file; NULL: nothing is kept beyond this process. PX_ENOMEM. */
PX_MUST_CHECK int px_relay_names_new(struct px_relays *set, const char *path,
                                     struct px_relay_names **ret);
/* Writes what is not written yet; lookups end with PX_ECANCELED. NULL is fine. */
void px_relay_names_free(struct px_relay_names *n);

/* The namespace is watched from now on: lists it. */
void px_relay_names_watched(struct px_relay *r, px_nsec now);
/* A record that the relay told. */
void px_relay_names_take(struct px_relay *r, struct px_slice record);
void px_relay_names_gone(struct px_relay *r, const struct px_peer_id *peer);
/* False for an answer that is for somebody else. */
bool px_relay_names_on_reply(struct px_relay *r, void *token, enum px_relay_status status,
                             const struct px_relay_msg *m);
void px_relay_names_run_relay(struct px_relay *r, px_nsec now);
px_nsec px_relay_names_relay_deadline(const struct px_relay *r);
void px_relay_names_run(struct px_relay_names *n, px_nsec now);
px_nsec px_relay_names_deadline(const struct px_relay_names *n);

#endif

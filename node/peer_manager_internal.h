/* What node/peer_manager.c (the set, and what the overlay says), peer_dial.c (rounds of dials) and
 * peer_calls.c (what others want) share. Nobody else includes it. */
#ifndef PX_NODE_PEER_MANAGER_INTERNAL_H
#define PX_NODE_PEER_MANAGER_INTERNAL_H

#include "node/peer_manager.h"

struct px_peer_waiter {
    struct px_list node;
    void (*done)(void *ctx, int err);
    void *ctx;
};

struct px_guest_call {
    struct px_list node; /* px_peer_manager.calls */
    struct px_peer *peer;
    struct px_guest_ops ops;
    void *ctx;
    bool handed_out; /* `up` was called */
};

struct px_peer_manager {
    struct px_peer_manager_config config;
    struct px_map by_id;
    struct px_list all;
    struct px_heap timers;
    struct px_list calls;
    size_t call_count;
    size_t rounds; /* under way */
    size_t guests; /* links of peers that are not listed */
    bool stopping;
    char relays[PX_ADDRS_RELAYS_MAX][PX_AUTH_ADDR_MAX]; /* ways through relays */
    size_t relay_count;
};

/* peer_manager.c */
PX_MUST_CHECK int px_peer_add(struct px_peer_manager *m, const struct px_peer_id *id, px_nsec now,
                              struct px_peer **ret);
/* Sets the peer's timer to what is next for it. Call it after every change. */
void px_peer_schedule(struct px_peer *p);
/* The link goes; `down` follows. Harmless when it is going already, or without one. */
void px_peer_close_link(struct px_peer *p, enum px_close_code code);

/* peer_dial.c */
/* Does anybody want it dialled? */
bool px_peer_wants_dial(const struct px_peer *p);
void px_peer_start_round(struct px_peer *p, px_nsec now);
/* Enters addresses the round does not know yet. */
void px_peer_enter_all(struct px_peer *p);
/* Starts what may start now; ends the round when everybody has lost. */
void px_peer_step_round(struct px_peer *p, px_nsec now);
/* Closes the attempts but for `winner` (may be NULL) and ends the round, without a verdict. */
void px_peer_end_round(struct px_peer *p, const struct px_link *winner);
/* An attempt ended before it was up. */
void px_peer_attempt_ended(struct px_peer *p, const struct px_link *link, int err, px_nsec now);
/* The round under way was begun in another network. */
void px_peer_restart_round(struct px_peer *p, px_nsec now);

/* peer_calls.c */
/* Tells those who wait for the peer's connection, and its guest call. */
void px_peer_tell_up(struct px_peer *p);
void px_peer_tell_failed(struct px_peer *p, int err);
/* Its link is gone. */
void px_peer_tell_down(struct px_peer *p, int err);
/* Is somebody to be told of a link that is up already? */
bool px_peer_owes_news(const struct px_peer *p);

#endif

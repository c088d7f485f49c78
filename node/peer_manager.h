/* Who is listed, who is connected, and whom to dial where and when: the core behind node/peers.
 *
 * Sans-IO: it asks its owner to dial, close and look up through px_peer_manager_ops, is told by the
 * owner what the overlay says, and has one deadline. The daemon and the simulator run the same one.
 * It dials only from px_peer_manager_run. Calls may come from inside `done` of a connect and from
 * px_guest_ops, but for _run and _free. After any call the deadline may be another. */
#ifndef PX_NODE_PEER_MANAGER_H
#define PX_NODE_PEER_MANAGER_H

#include "node/dial_plan.h"
#include "node/dial_race.h"
#include "node/peer_addrs.h"
#include "proto/base/heap.h"
#include "proto/base/list.h"
#include "proto/base/map.h"

#define PX_ROUNDS_MAX      256 /* peers dialled at once; further ones wait for their turn */
#define PX_GUESTS_MAX      32  /* unlisted peers connected at once */
#define PX_GUEST_DIALS_MAX 8   /* px_peer_manager_dial_guest not yet ended */
#define PX_GUEST_TIME      (30 * PX_SEC) /* then a guest's link is closed */
#define PX_GUEST_GRACE     (1 * PX_SEC)  /* for last bytes, before a new member's link is renewed */
#define PX_GOOD_AGAIN                                                                              \
    (24 * 3600 * PX_SEC)       /* how often the address of a long connection is told as good */
#define PX_PEER_WAITERS_MAX 16 /* px_peer_manager_connect under way for one peer */

struct px_peer_manager;
struct px_peer_waiter;
struct px_guest_call;

/* One peer. Its owner reads it, and writes `user` alone. It lives as long as it is listed,
 * connected or dialled, and is freed by px_peer_manager_run only. */
struct px_peer {
    struct px_peer_id id;
    char id_text[PX_PEER_ID_TEXT_MAX];
    char name[PX_AUTH_NAME_MAX + 1];
    bool listed;
    bool held;  /* hung up by px_peer_manager_disconnect */
    bool guest; /* its link came up while it was not listed; such a link serves handlers with
                   `guests` only, even if the peer is listed meanwhile */
    struct px_link *link;
    bool ours; /* we dialled link */
    px_nsec up_at;
    int last_err;
    struct px_peer_addrs addrs;
    struct px_dial_plan plan;
    void *user;
    /* the manager's */
    struct px_peer_manager *manager;
    struct px_map_node by_id;
    struct px_list node;
    struct px_heap_node timer;
    struct px_dial_race *race; /* while TRYING */
    uint32_t race_number;
    struct px_addr remote; /* the other end of `link` */
    px_nsec good_again_at; /* of `remote`, when `ours` */
    bool closing;          /* we closed link; `down` follows */
    bool redial;           /* as soon as it is down */
    bool again;            /* the network changed early in this round */
    bool counted;          /* in the manager's guests */
    bool vouched;          /* this guest makes way for no other: px_peer_manager_keep_guest */
    px_nsec guest_until;
    struct px_list waiters;
    struct px_guest_call *call;
};

struct px_peer_manager_ops {
    /* As px_overlay_dial; the end is told by _up or _down. */
    int (*dial)(void *ctx, const struct px_peer_id *id, const struct px_addr *addr,
                struct px_link **ret);
    void (*close)(void *ctx, struct px_link *link, enum px_close_code code);
    /* Looks up HOST:PORT; px_peer_manager_resolved answers, later. */
    int (*resolve)(void *ctx, const struct px_peer_id *id, const char *host_port, uint64_t token);
    /* May that address be dialled? 0 or why not. */
    int (*usable)(void *ctx, const struct px_addr *addr);
    /* May it connect although it is not listed? */
    bool (*guest)(void *ctx, const struct px_peer_id *id);

    /* What happens. p->link is set in both of these. */
    void (*connected)(void *ctx, struct px_peer *p);
    void (*disconnected)(void *ctx, struct px_peer *p, int err, bool by_peer);
    /* One attempt failed; name: the host name it came from, or NULL. */
    void (*attempt_failed)(void *ctx, const struct px_peer *p, const struct px_addr *addr,
                           const char *name, int err);
    /* All of them did; p->plan.due is the next one. */
    void (*round_failed)(void *ctx, const struct px_peer *p, int err);
    void (*found)(void *ctx, const struct px_peer *p, const struct px_addr *addr,
                  enum px_source source);
    /* A dial of it was good: worth remembering. */
    void (*good)(void *ctx, const struct px_peer *p, const struct px_addr *addr);
    /* No longer listed: nothing of it is worth remembering. */
    void (*forgotten)(void *ctx, const struct px_peer_id *id);
};

struct px_peer_manager_config {
    struct px_peer_id self;
    struct px_rng rng;
    px_nsec dial_max; /* longest pause between two rounds of a peer */
    const struct px_peer_manager_ops *ops;
    void *ctx;
};

PX_MUST_CHECK int px_peer_manager_new(const struct px_peer_manager_config *config,
                                      struct px_peer_manager **ret);
/* Calls that still wait get PX_ECLOSED. */
void px_peer_manager_free(struct px_peer_manager *m);
/* No more dials; calls that wait get PX_ECLOSED. */
void px_peer_manager_shutdown(struct px_peer_manager *m);

px_nsec px_peer_manager_deadline(const struct px_peer_manager *m);
void px_peer_manager_run(struct px_peer_manager *m, px_nsec now);

/* Takes over the allowlist: drops who is not listed any more, dials who is new. */
void px_peer_manager_reload(struct px_peer_manager *m, const struct px_authorized_keys *keys,
                            px_nsec now);
/* An address that was good so long ago, from the address book. PX_ENOENT when the peer is not
 * listed, PX_EADDR, PX_ENOMEM. */
PX_MUST_CHECK int px_peer_manager_remember(struct px_peer_manager *m, const struct px_peer_id *id,
                                           const struct px_addr *addr, px_nsec ago, px_nsec now);

/* ---- what the overlay says ---- */

/* Fits px_overlay_ops.authorize: 0 for who is dialled as a guest of theirs, or listed; PX_EHELD for
 * a listed one that was hung up by px_peer_manager_disconnect. */
PX_MUST_CHECK int px_peer_manager_authorize(const struct px_peer_manager *m,
                                            const struct px_peer_id *id);
/* Fits px_overlay_ops.guest. */
bool px_peer_manager_welcomes(const struct px_peer_manager *m, const struct px_peer_id *id);
/* A dial of this peer is one of px_peer_manager_dial_guest: px_link_set_guest. */
bool px_peer_manager_calls(const struct px_peer_manager *m, const struct px_peer_id *id);
void px_peer_manager_up(struct px_peer_manager *m, struct px_link *link,
                        const struct px_peer_id *id, const struct px_addr *remote, bool ours,
                        px_nsec now);
/* Of any link, also one that was only dialled. */
void px_peer_manager_down(struct px_peer_manager *m, struct px_link *link,
                          const struct px_peer_id *id, int err, bool by_peer, px_nsec now);
/* The link's packets come from elsewhere now. */
void px_peer_manager_moved(struct px_peer_manager *m, const struct px_peer_id *id,
                           const struct px_addr *remote, px_nsec now);
void px_peer_manager_resolved(struct px_peer_manager *m, const struct px_peer_id *id,
                              uint64_t token, const struct px_addr *addrs, size_t count, int err,
                              px_nsec now);
void px_peer_manager_network_changed(struct px_peer_manager *m, px_nsec now);
/* The relays that can be called through, best first; see px_peer_addrs_set_relays. A look-up of
 * such a name gives circuits. */
void px_peer_manager_relays(struct px_peer_manager *m, const char (*names)[PX_AUTH_ADDR_MAX],
                            size_t count, px_nsec now);

/* ---- what others want; see the px_peers_ counterparts of node/peers.h ---- */

void px_peer_manager_found(struct px_peer_manager *m, const struct px_peer_id *id,
                           const struct px_addr *addr, enum px_source source, px_nsec now);
/* PX_ENOENT, PX_EOFFLINE, PX_EADDR, PX_EBUSY, PX_ENOMEM. `done` is never called from inside. */
PX_MUST_CHECK int px_peer_manager_connect(struct px_peer_manager *m, const struct px_peer_id *id,
                                          const char *addr, void (*done)(void *ctx, int err),
                                          void *ctx, px_nsec now);
PX_MUST_CHECK int px_peer_manager_disconnect(struct px_peer_manager *m, const struct px_peer_id *id,
                                             px_nsec now);
void px_peer_manager_renew(struct px_peer_manager *m, const struct px_peer_id *id);
/* PX_ESELF, PX_EBUSY (this peer is dialled so already), PX_ELIMIT, PX_EADDR (none of them is of
 * use), PX_ENOMEM. The ops are never called from inside. */
PX_MUST_CHECK int px_peer_manager_dial_guest(struct px_peer_manager *m, const struct px_peer_id *id,
                                             const char *const *addrs, size_t addr_count,
                                             const struct px_guest_ops *ops, void *ctx,
                                             px_nsec now);
void px_peer_manager_end_guest(struct px_peer_manager *m, void *ctx, px_nsec now);
void px_peer_manager_keep_guest(struct px_peer_manager *m, const struct px_peer_id *id,
                                px_nsec time, px_nsec now);

/* NULL when there is none. */
struct px_peer *px_peer_manager_find(const struct px_peer_manager *m, const struct px_peer_id *id);
void px_peer_manager_each(struct px_peer_manager *m, void (*fn)(void *ctx, struct px_peer *p),
                          void *ctx);
/* All that does not need the link itself. */
void px_peer_manager_info(struct px_peer *p, px_nsec now, struct px_peer_info *ret);

#endif

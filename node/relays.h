/* The relays a node uses (docs/spec/relay.md): control connections to those of HOME/relays,
 * circuits to peers through them, and what peers register there.
 *
 * Relays are used in the order of the file: PX_RELAYS_WARM connected ones are kept, further ones
 * stand in while one of these is away. Without a file nothing happens at all. */
#ifndef PX_NODE_RELAYS_H
#define PX_NODE_RELAYS_H

#include "node/config.h"
#include "node/peers.h"
#include "node/reachability.h"
#include "node/relay_list.h"
#include "proto/invite.h"
#include "relay/client.h"

struct px_relays;

#define PX_RELAYS_WARM         2
#define PX_RELAYS_CIRCUITS_MAX 128             /* open, being opened, and rung for */
#define PX_RELAYS_HEAD_START   (500 * PX_MSEC) /* of direct addresses before a relay is asked */
#define PX_RELAYS_TURN         PX_SEC          /* and of a relay before the next one */
#define PX_RELAYS_RETRY_MAX    (60 * PX_SEC)   /* longest pause between two dials of a relay */
/* Records that a relay pushes: each costs signatures to check, and it may make up as many as it
 * likes. More are not looked at; who is dialled is asked about by itself. */
#define PX_RELAYS_PUSHED_BURST 1024
#define PX_RELAYS_PUSHED_RATE  64 /* a second */

#define PX_RELAYS_AWAY_MAX      (600 * PX_SEC)   /* a relay that restarts is left alone, */
#define PX_RELAYS_SPREAD_MAX    (60 * PX_SEC)    /* and as much longer, at random */
#define PX_RELAYS_PING_IDLE     (15 * PX_SEC)    /* how often a relay must show it is there, */
#define PX_RELAYS_PING_BUSY     (600 * PX_MSEC)  /* and while circuits go through it */
#define PX_RELAYS_PONG_TIME     (1200 * PX_MSEC) /* then it is taken for dead */
#define PX_RELAYS_CIRCUIT_IDLE  (60 * PX_SEC)    /* a circuit without packets is ended, */
#define PX_RELAYS_CIRCUIT_GRACE PX_SEC           /* and one that no link uses any more */
#define PX_RELAYS_LOST_TURN     (700 * PX_MSEC) /* for the other side to call when a path is lost */

struct px_relays_config {
    uv_loop_t *loop;
    const struct px_log *log;
    const char *path;       /* of the file; borrowed, as is all else */
    const char *names_path; /* of the copy of the network's names; NULL: none is kept */
    const char *owed_path;  /* of what relays have yet to be told; NULL: a restart forgets */
    const struct px_identity *identity;
    const char *network;
    struct px_allowlist *allowlist;
    struct px_net_monitor *monitor; /* NULL: no addresses are registered but the observed one */
    struct px_peers *peers;
    bool report_transfers;                 /* to relays, for their totals; see docs/relay.md */
    const struct px_string_list *announce; /* HOST:PORT; NULL: none */
};

PX_MUST_CHECK int px_relays_new(const struct px_relays_config *config, struct px_relays **ret);
/* Ends circuits and links; `done` is called from the loop, r is gone then. Before the peers are
 * closed. */
void px_relays_close(struct px_relays *r, void (*done)(void *ctx), void *ctx);

/* ---- pairing through a relay ---- */

/* An invite is open: registers the hash of its admission secret at the first relay where this node
 * is a member, and tells which that is. PX_EOFFLINE when there is none. */
PX_MUST_CHECK int px_relays_invite(struct px_relays *r, const uint8_t id[PX_INVITE_ID_LEN],
                                   const uint8_t hash[PX_RELAY_SECRET_LEN], px_nsec ttl,
                                   struct px_relay_entry *ret);
/* It is over: tells the relay it was registered at, now or when that is there again. */
void px_relays_uninvite(struct px_relays *r, const uint8_t id[PX_INVITE_ID_LEN]);
/* After a start: the same for every one of which `is_open` says no. */
void px_relays_check_invites(struct px_relays *r,
                             bool (*is_open)(void *ctx, const uint8_t id[PX_INVITE_ID_LEN]),
                             void *ctx);
/* Vouches for a peer at every relay where this node is a member; when none took it, at the next one
 * that is there. */
void px_relays_vouch(struct px_relays *r, const struct px_peer_id *id);
/* This peer changes its key: whoever vouches for the old one vouches for the new one, too, through
 * which it may have to come to prove it. */
void px_relays_follow(struct px_relays *r, const struct px_peer_id *old,
                      const struct px_peer_id *next);
/* The list of peers, or who is expected, changed: relays hear of whom we vouched for and do not
 * list any more. */
void px_relays_check_listed(struct px_relays *r);
/* Uses a relay that may not be in the file, being admitted by this secret if it must be, until
 * px_relays_part. Tells how the peer is called through it (see px_peer_addrs_give). PX_ELIMIT,
 * PX_ENOMEM. */
PX_MUST_CHECK int px_relays_join(struct px_relays *r, const struct px_relay_entry *relay,
                                 const uint8_t secret[PX_RELAY_SECRET_LEN],
                                 char ret_route[PX_AUTH_ADDR_MAX]);
/* Writes it into the file, unless it is there. */
PX_MUST_CHECK int px_relays_keep(struct px_relays *r, const struct px_relay_entry *relay);
/* Drops it, unless it is in the file. */
void px_relays_part(struct px_relays *r, const struct px_peer_id *relay);
/* The ways through the relays that are there, at most `cap`. */
size_t px_relays_routes(const struct px_relays *r, char (*ret)[PX_AUTH_ADDR_MAX], size_t cap);

/* ---- transfer accounting ---- */

/* For px_peers_config.link_ended. */
void px_relays_link_ended(struct px_relays *r, const struct px_peer_traffic *t);
/* What relays say that moved between this node and the peer, by enum px_relay_total. False: none
 * has said anything. */
bool px_relays_totals(const struct px_relays *r, const struct px_peer_id *id,
                      uint64_t ret[PX_RELAY_TOTALS_LEN]);
/* ---- names of the network ---- */

/* `host.network` as a relay has it. Views live until the callback returns. */
struct px_relays_name {
    const char *text;
    struct px_peer_id peer; /* who holds it; may well not be listed */
    const char *relay;      /* that told it; NULL: it is none of ours any more */
    bool live;              /* a connected relay says so now; otherwise it is from the local copy */
    int64_t age;            /* seconds since a relay said so */
};
/* What a word means: asks the relays in their order, then the local copy. `done` is called once,
 * now or within 3 s, unless it is cancelled: PX_ENOENT, PX_EEXIST (relays told different peers, and
 * none can be asked), PX_ECANCELED (the relays are being closed). */
void px_relays_lookup(struct px_relays *r, struct px_slice word,
                      void (*done)(void *ctx, int err, const struct px_relays_name *name),
                      void *ctx);
void px_relays_lookup_cancel(struct px_relays *r, void *ctx);
/* All that are known. */
void px_relays_names_each(struct px_relays *r,
                          void (*each)(void *ctx, const struct px_relays_name *name), void *ctx);

enum px_relay_state {
    PX_RELAY_SPARE,   /* not needed now */
    PX_RELAY_WAITING, /* for the next dial */
    PX_RELAY_LOOKUP,  /* of its host name */
    PX_RELAY_DIALLING,
    PX_RELAY_UP,
    PX_RELAY_STATES,
};
const char *px_relay_state_name(enum px_relay_state s);

/* Strings are views that live until the loop turns. */
struct px_relay_info {
    struct px_peer_id id;
    const char *label;
    const char *addr; /* HOST:PORT, of the current or next dial */
    enum px_relay_state state;
    bool tcp; /* connected through a pipe */
    bool reserved;
    enum px_relay_class class; /* while reserved */
    px_nsec rtt;               /* 0: not known */
    px_nsec next_dial;         /* from now; PX_NEVER: none planned */
    int last_err;
    struct px_addr observed; /* how it sees us; may be no address */
    size_t circuits;
};
/* Whether this node is reached from outside, by what the relays say; a view. NULL: not known. */
const struct px_reach *px_relays_reach(const struct px_relays *r);
/* Asks them now. */
void px_relays_check_reach(struct px_relays *r);
void px_relays_each(struct px_relays *r, void (*each)(void *ctx, const struct px_relay_info *info),
                    void *ctx);

#endif

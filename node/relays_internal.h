/* What node/relays.c (the set), relay_link.c (one relay), relay_circuits.c and relay_standins.c
 * (circuits), relay_pairing.c and relay_records.c (what is registered) share. Nobody else includes
 * it. */
#ifndef PX_NODE_RELAYS_INTERNAL_H
#define PX_NODE_RELAYS_INTERNAL_H

#include "node/circuit_queue.h"
#include "node/dial_plan.h"
#include "node/file_watch.h"
#include "node/relay_names.h"
#include "node/relay_owed.h"
#include "node/relay_pipe.h"
#include "node/relays.h"
#include "node/transfer_reports.h"
#include "proto/base/list.h"
#include "relay/control_stream.h"
#include "relay/record.h"
#include "relay/token_bucket.h"

struct px_relay {
    struct px_list node; /* px_relays.all, in the order of the file */
    struct px_relays *set;
    struct px_relay_entry entry;
    const char *label; /* of entry */
    enum px_relay_state state;
    struct px_dial_plan plan;
    size_t turn; /* counts attempts: which address is next */
    int last_err;
    struct px_link *link; /* in DIALLING and UP */
    struct px_control_stream *stream;
    struct px_relay_client *client;
    struct px_path path; /* of the link; kept after it: circuits may outlive it */
    bool has_path;
    px_nsec ping_at, pong_by, rtt; /* PX_NEVER: none due */
    px_nsec away_until;            /* it said that it restarts */
    bool reserved;
    enum px_relay_class class;
    struct px_addr observed;
    /* relay_pairing.c */
    bool joining;  /* here for a join only, not of the file */
    bool admit;    /* shows `secret` when the control stream is there */
    bool admitted; /* it was taken: one may call, reserved or not */
    uint8_t secret[PX_RELAY_SECRET_LEN];
    bool gone; /* no longer in the file: freed at the end of the turn */
    uv_getaddrinfo_t *lookup;
    uint16_t lookup_port;
    unsigned ecn; /* of the packet being read */
    struct px_relay_pipe pipe;
    /* relay_records.c */
    struct px_token_bucket pushed;
    uint64_t sequence;
    px_nsec register_at;
    px_nsec refresh_at; /* what it has, `told`, is good until then; 0: it has nothing */
    struct px_addr told[PX_RECORD_ADDRS_MAX];
    size_t told_count;
    bool changed;                    /* since the record was sent */
    bool nameless;                   /* our name is another one's there */
    struct px_relay_listing listing; /* relay_names.c */
    bool probing, probe_pays;        /* relay_reach.c: a dial-back is under way, that may cost */
};

enum px_circuit_state {
    PX_CIRCUIT_WAITING, /* until call_at */
    PX_CIRCUIT_CALLING, /* called, or consented to */
    PX_CIRCUIT_OPEN,
};

struct px_circuit {
    struct px_list node; /* px_relays.circuits */
    struct px_relays *set;
    struct px_addr addr; /* what it is called in this process */
    struct px_peer_id peer;
    enum px_circuit_state state;
    bool caller;
    bool wanted; /* px_peers_circuit with `token` is owed */
    uint64_t token;
    /* It is to take over the peer's link from there, a circuit or a direct address; no address: it
     * stands in for nothing. */
    struct px_addr replaces;
    unsigned tries;         /* with `replaces`: how many relays were tried before */
    bool yields;            /* with `replaces`: to any circuit that the peer has called meanwhile */
    px_nsec turn_at;        /* in CALLING: of the next relay; PX_NEVER */
    struct px_relay *relay; /* NULL in WAITING when any will do */
    struct px_relay_leg *leg;
    px_nsec call_at;    /* in WAITING */
    px_nsec give_up_at; /* of waiting for a relay that is to admit us */
    px_nsec used_at;    /* when a packet passed last */
    px_nsec end_at;     /* its link ended; PX_NEVER */
    px_nsec prefer_at;  /* the peer's link is asked to move here; PX_NEVER: not, or no more */
    unsigned preferred;
    struct px_circuit_queue queue; /* once open */
};

struct px_relays {
    struct px_relays_config config;
    struct px_list all;
    struct px_list circuits;
    size_t circuit_count;
    uint64_t last_circuit; /* number */
    struct px_file_watch *watch;
    struct px_relay_names *names;
    struct px_relay_owed *owed;   /* relay_pairing.c */
    struct px_relay_reach *reach; /* NULL without memory for it */
    uv_timer_t timer;
    uv_prepare_t arm; /* sets the timer before the loop sleeps */
    px_nsec armed;
    struct px_transfer_reports *reports;
    px_nsec looked_at; /* at what has moved, which then was in all */
    uint64_t looked_moved;
    bool closing, hung_up;
    void (*done)(void *ctx);
    void *done_ctx;
    int open_parts;
};

static inline struct px_relay *px_relay_at(struct px_list *node)
{
    return PX_CONTAINER_OF(node, struct px_relay, node);
}

static inline struct px_circuit *px_circuit_at(struct px_list *node)
{
    return PX_CONTAINER_OF(node, struct px_circuit, node);
}

/* What a request of ours was, as its token. */
enum px_relay_token {
    PX_RELAY_TOKEN_REGISTER = 1,
    PX_RELAY_TOKEN_PROBE,
    PX_RELAY_TOKEN_WATCH,
    PX_RELAY_TOKEN_PEER,
    PX_RELAY_TOKEN_ADMIT,
    PX_RELAY_TOKEN_INVITE,
    PX_RELAY_TOKEN_OWED,     /* the bits above hold a ticket */
    PX_RELAY_TOKEN_TRANSFER, /* the same */
    PX_RELAY_TOKEN_NAMES,    /* the same */
};
#define PX_RELAY_TOKEN_BITS 8
static inline void *px_relay_token(enum px_relay_token t)
{
    return (void *)(uintptr_t)t;
}

/* relays.c */
/* The relays one can call through changed. */
void px_relays_tell_usable(struct px_relays *set);
/* Does what is due, and when the next thing is. */
void px_relays_run(struct px_relays *set, px_nsec now);
px_nsec px_relays_deadline(const struct px_relays *set);

/* relay_link.c */
/* Makes a relay and appends it. PX_ENOMEM. */
PX_MUST_CHECK int px_relay_add(struct px_relays *set, const struct px_relay_entry *e,
                               struct px_relay **ret);
/* It goes: its link is closed, the rest follows at the end of the turn. */
void px_relay_drop(struct px_relay *r);
/* That rest: at once, with its circuits. */
void px_relay_free(struct px_relay *r);
/* `needed`: a connection to it is wanted. */
void px_relay_run(struct px_relay *r, bool needed, px_nsec now);
px_nsec px_relay_deadline(const struct px_relay *r, bool needed);
/* A link to that address, which becomes r->link. */
PX_MUST_CHECK int px_relay_dial(struct px_relay *r, const struct px_addr *addr);
/* In DIALLING without a link: nothing is left to wait for. */
void px_relay_dial_failed(struct px_relay *r, int err);
bool px_relay_usable(const struct px_relay *r);
/* Asks the relay soon whether it is there. */
void px_relay_doubt(struct px_relay *r, px_nsec now);
/* Sends a packet to the relay, from where its link goes. */
void px_relay_send_packet(struct px_relay *r, struct px_slice packet);

/* relay_circuits.c; those with `on` fit px_circuit_ops and px_relay_client_ops */
extern const struct px_circuit_ops px_relays_circuit_ops;
void px_circuit_on_ring(void *ctx, struct px_relay_leg *leg, const struct px_peer_id *caller);
void px_circuit_on_open(void *ctx, struct px_relay_leg *leg);
void px_circuit_on_data(void *ctx, struct px_relay_leg *leg, struct px_slice payload);
void px_circuit_on_ended(void *ctx, struct px_relay_leg *leg, enum px_relay_status why);
void px_node_circuits_run(struct px_relays *set, px_nsec now);
px_nsec px_node_circuits_deadline(const struct px_relays *set);
size_t px_node_circuits_of(const struct px_relays *set, const struct px_relay *r);
/* Ends those of one relay (NULL: all). */
void px_node_circuits_end(struct px_relays *set, const struct px_relay *r);
struct px_circuit *px_circuit_find(const struct px_relays *set, const struct px_addr *addr);
/* One in WAITING, without a relay. NULL beyond PX_RELAYS_CIRCUITS_MAX and without memory. */
struct px_circuit *px_circuit_new(struct px_relays *set, const struct px_peer_id *peer);
/* Nobody is told; its leg must have ended. */
void px_circuit_free(struct px_circuit *c);
/* Tells who is to know, and frees it. */
void px_circuit_end(struct px_circuit *c);

/* relay_standins.c */
static inline bool px_circuit_is_standin(const struct px_circuit *c)
{
    return c->replaces.family != PX_ADDR_NONE;
}
/* A stand-in in WAITING: it is time to call; it may be gone afterwards. */
void px_standin_call(struct px_circuit *c, px_nsec now);
/* In CALLING at turn_at. */
void px_standin_take_turn(struct px_circuit *c, px_nsec now);
/* A stand-in is OPEN now; it may be gone afterwards. */
void px_standin_on_open(struct px_circuit *c);
/* A circuit, of which `was` is a copy, ended by itself: what its link needs takes its place. */
void px_standin_on_ended(struct px_relays *set, const struct px_circuit *was, px_nsec now);
/* Moves the peer's link onto the open circuit, or leaves it where it is. At prefer_at. */
void px_circuit_prefer(struct px_circuit *c, px_nsec now);
/* Fits px_circuit_ops.lost; ctx is the set. */
void px_standin_on_lost(void *ctx, const struct px_peer_id *id, const struct px_addr *remote,
                        bool client);
/* The relay is going, or is gone: its circuits that are used get replacements. */
void px_node_circuits_doubt(struct px_relays *set, const struct px_relay *r, px_nsec now);
/* It is gone: nor are the others worth keeping. */
void px_node_circuits_lost(struct px_relays *set, const struct px_relay *r, px_nsec now);

/* relay_pairing.c */
/* Reads what is owed from config.owed_path. PX_ENOMEM. */
PX_MUST_CHECK int px_relay_pairing_new(struct px_relays *set);
void px_relay_pairing_free(struct px_relays *set);
/* Tells the relay what is owed to it, if this node is a member there. */
void px_relay_pairing_tell(struct px_relay *r);
/* The control stream is there: shows the secret if there is one to show. False: nothing to do. */
bool px_relay_admit(struct px_relay *r, px_nsec now);
/* For answers to ADMIT and INVITE. */
void px_relay_pairing_on_reply(struct px_relay *r, enum px_relay_token token,
                               enum px_relay_status status);
/* False for an answer that is for somebody else. */
bool px_relay_owed_on_reply(struct px_relay *r, void *token, enum px_relay_status status);

/* relay_reports.c */
PX_MUST_CHECK int px_relay_reports_new(struct px_relays *set);
/* Which relays are there may be another matter now. */
void px_relay_reports_usable(struct px_relays *set, px_nsec now);
void px_relay_reports_run(struct px_relays *set, px_nsec now);
px_nsec px_relay_reports_deadline(const struct px_relays *set);
/* The links are about to go: says what was not said yet, without waiting for answers. */
void px_relay_reports_finish(struct px_relays *set);
/* False: it is no answer to something of ours. */
bool px_relay_reports_on_reply(struct px_relay *r, void *token, enum px_relay_status status,
                               const struct px_relay_msg *m);

/* relay_reach.c; all of them with nothing to do when set->reach is NULL */
void px_relay_reach_start(struct px_relays *set);
void px_relay_reach_stop(struct px_relays *set); /* asks no more */
void px_relay_reach_free(struct px_relays *set);
/* Which relays there are, and what they see, may have changed. */
void px_relay_reach_look(struct px_relays *set, px_nsec now);
void px_relay_reach_run(struct px_relays *set, px_nsec now);
px_nsec px_relay_reach_deadline(const struct px_relays *set);
/* For answers with PX_RELAY_TOKEN_PROBE. */
void px_relay_reach_on_reply(struct px_relay *r, enum px_relay_status status);
/* A PROBE packet from wherever. */
void px_relay_reach_on_probe(struct px_relays *set, const struct px_addr *from,
                             struct px_slice packet);
/* What the record at relay r says of where we are: addresses found reachable first, those found
 * not to be last, those that mean nothing to others not at all. Returns how many. */
size_t px_relay_reach_addrs(const struct px_relay *r, struct px_addr *ret, size_t cap);

/* relay_records.c */
/* Reserved as somebody who may register: does, and watches. */
void px_relay_records_start(struct px_relay *r, px_nsec now);
void px_relay_records_run(struct px_relay *r, px_nsec now);
px_nsec px_relay_records_deadline(const struct px_relay *r);
/* May it register, watch, discover there? */
bool px_relay_may_register(const struct px_relay *r);
/* A record that the relay told: where a listed peer is, and what a name means. */
void px_relay_records_take(struct px_relay *r, struct px_slice bytes);
/* Our addresses may be others. */
void px_relay_records_changed(struct px_relay *r, px_nsec now);
/* Asks for the record of one peer. */
void px_relay_records_ask(struct px_relay *r, const struct px_peer_id *id, px_nsec now);
void px_relay_records_on_reply(void *ctx, void *token, enum px_relay_status status,
                               const struct px_relay_msg *m);
void px_relay_records_on_changed(void *ctx, const struct px_relay_msg *m);

#endif

/* What relay/client.c (control) and relay/client_legs.c (circuits) share. Nobody else includes it.
 */
#ifndef PX_RELAY_CLIENT_INTERNAL_H
#define PX_RELAY_CLIENT_INTERNAL_H

#include "proto/base/list.h"
#include "relay/client.h"
#include "relay/token_bucket.h"

enum px_leg_state {
    PX_LEG_CALLING, /* connect is sent */
    PX_LEG_RINGING, /* the owner is to answer */
    PX_LEG_BINDING, /* the relay does not know our address for it yet */
    PX_LEG_BOUND,   /* the other side is awaited */
    PX_LEG_OPEN,
    PX_LEG_ENDED,
    PX_LEG_STATES,
};

struct px_relay_leg {
    struct px_relay_client *client;
    struct px_list all;
    enum px_leg_state state;
    void *user;
    bool caller;
    uint32_t request; /* of connect */
    struct px_peer_id peer;
    struct px_relay_leg_id id;
    struct px_relay_leg_key key;
    uint64_t rate, burst;
    px_nsec made_at;

    bool binding; /* an answer of ours has no BOUND yet, or none was sent */
    struct px_relay_nonce answered;
    px_nsec bind_at, bind_gap; /* the next HELLO */
    struct px_token_bucket answers;

    struct px_relay_nonce ping;
    px_nsec ping_sent_at; /* 0: none is out */
    px_nsec sent_at, heard_at;
};

struct request {
    uint32_t number; /* 0: free */
    void *token;
    px_nsec deadline;
    enum px_relay_msg_type type;
    /* of a probe: client_probe.c */
    bool pays, paid;
    uint64_t owed;  /* bytes of padding not sent yet */
    px_nsec pay_at; /* the next of them; PX_NEVER: none */
    struct px_relay_nonce seen[PX_RELAY_SEEN_MAX];
    size_t seen_count;
};

struct px_relay_client {
    struct px_relay_client_config config;
    bool up;
    uint8_t binding[PX_RELAY_CLIENT_BINDING_LEN];
    uint32_t last_number;
    struct request requests[PX_RELAY_CLIENT_REQUESTS_MAX];
    struct px_list legs;
    size_t leg_count;
    bool reserved;
    enum px_relay_status told;      /* what the owner heard of the reservation last; 0: nothing */
    enum px_relay_class told_class; /* and of itself */
    uint32_t reserve_request;
    px_nsec reserve_at, reserve_retry;
    px_nsec now;
};

/* client.c */
void px_relay_client_send(struct px_relay_client *c, const struct px_relay_msg *m);
uint32_t px_relay_client_number(struct px_relay_client *c);
/* client_probe.c */
/* The relay wants so many bytes for the probe. False: they are not paid, the request ends with
 * *status. */
bool px_relay_probe_bill(struct px_relay_client *c, struct request *r, uint64_t bytes,
                         enum px_relay_status *status);
/* A PROBE came. */
void px_relay_probe_seen(struct px_relay_client *c, const struct px_relay_nonce *nonce);
void px_relay_probe_run(struct px_relay_client *c, struct request *r);
/* client_legs.c */
void px_relay_leg_free(struct px_relay_leg *l);
void px_relay_leg_finish(struct px_relay_leg *l, enum px_relay_status why);
void px_relay_legs_down(struct px_relay_client *c);
void px_relay_on_connected(struct px_relay_client *c, const struct px_relay_msg *m);
/* A status instead of `connected`. */
void px_relay_on_call_refused(struct px_relay_client *c, const struct px_relay_msg *m);
void px_relay_on_ring(struct px_relay_client *c, const struct px_relay_msg *m);
void px_relay_on_open(struct px_relay_client *c, const struct px_relay_msg *m);
void px_relay_on_ended(struct px_relay_client *c, const struct px_relay_msg *m);
bool px_relay_legs_packet(struct px_relay_client *c, const struct px_relay_packet *p);
void px_relay_legs_run(struct px_relay_client *c);
px_nsec px_relay_legs_deadline(const struct px_relay_client *c);

#endif

/* A node's side of one relay (docs/spec/relay.md) as a core: reservation and its refresh, requests
 * and their answers, circuits from call or ring to bound, open and ended. Frames and packets go in
 * and out through ops; which relay to dial, and what to do with an open circuit, is the owner's. */
#ifndef PX_RELAY_CLIENT_H
#define PX_RELAY_CLIENT_H

#include "relay/relay_msg.h"

struct px_relay_client;
struct px_relay_leg; /* our end of a circuit */

#define PX_RELAY_CLIENT_BINDING_LEN  32
#define PX_RELAY_CLIENT_REQUESTS_MAX 64
#define PX_RELAY_CLIENT_LEGS_MAX     64
#define PX_RELAY_REQUEST_TIME        (10 * PX_SEC)
#define PX_RELAY_RESERVE_RETRY       (5 * PX_SEC) /* doubles up to */
#define PX_RELAY_RESERVE_RETRY_MAX   (60 * PX_SEC)
#define PX_RELAY_BIND_RETRY          (250 * PX_MSEC) /* doubles up to */
#define PX_RELAY_BIND_RETRY_MAX      (4 * PX_SEC)
#define PX_RELAY_ANSWERS             4 /* to challenges, a second and leg */
#define PX_RELAY_KEEPALIVE           (20 * PX_SEC)
#define PX_RELAY_PONG_TIME           PX_SEC        /* then the binding is doubted */
#define PX_RELAY_SILENCE_MAX         (60 * PX_SEC) /* of the relay on a leg: it is gone */
#define PX_RELAY_RING_TIME           (10 * PX_SEC)
#define PX_RELAY_SEEN_MAX            8              /* nonces told to the relay, a probe */
#define PX_RELAY_PADDING_GAP         (50 * PX_MSEC) /* between two frames of it */
#define PX_RELAY_PADDING_TOTAL_MAX   100000 /* bytes a probe; a relay that asks more gets none */

struct px_relay_client_ops {
    /* A whole frame to the control stream. */
    void (*send)(void *ctx, struct px_slice frame);
    /* One UDP packet to the relay, from the socket and to the address of the control link. */
    void (*packet)(void *ctx, struct px_slice packet);
    /* What came of asking for a reservation: once it is there, refused, or lost again; and again
     * when the node is of another class than was told. */
    void (*reserved)(void *ctx, enum px_relay_status status, enum px_relay_class class);
    /* Somebody calls. Answer now or within PX_RELAY_RING_TIME by px_relay_leg_answer. */
    void (*ring)(void *ctx, struct px_relay_leg *leg, const struct px_peer_id *caller);
    /* Packets may be sent and come from here on. */
    void (*open)(void *ctx, struct px_relay_leg *leg);
    void (*data)(void *ctx, struct px_relay_leg *leg, struct px_slice payload);
    /* The end, also of a call that failed or was not answered; the pointer is dead afterwards. */
    void (*ended)(void *ctx, struct px_relay_leg *leg, enum px_relay_status why);
    /* The answer to a request; m is NULL when none came (status NO_ANSWER). `token` is the
     * request's. May come several times for a probe that needs data. */
    void (*reply)(void *ctx, void *token, enum px_relay_status status,
                  const struct px_relay_msg *m);
    void (*observed)(void *ctx, const struct px_addr *a);
    /* Records of a watched namespace. */
    void (*changed)(void *ctx, const struct px_relay_msg *m);
    void (*restarting)(void *ctx, px_nsec left, px_nsec spread);
};

struct px_relay_client_config {
    struct px_rng rng;
    const struct px_relay_client_ops *ops;
    void *ctx;
    bool reserve; /* hold a reservation whenever the control stream is there */
};

PX_MUST_CHECK int px_relay_client_new(const struct px_relay_client_config *config,
                                      struct px_relay_client **ret);
/* Drops everything; no callbacks. */
void px_relay_client_free(struct px_relay_client *c);

/* The control stream is there; `binding` is its link's. */
void px_relay_client_up(struct px_relay_client *c,
                        const uint8_t binding[PX_RELAY_CLIENT_BINDING_LEN], px_nsec now);
/* Changes config.reserve: asks for a reservation now, or when the control stream is there. */
void px_relay_client_set_reserve(struct px_relay_client *c, bool reserve, px_nsec now);
/* It is gone: requests fail. Circuits that are open live on as long as packets pass. */
void px_relay_client_down(struct px_relay_client *c, px_nsec now);
/* A frame's body. PX_EPROTO for one no relay sends: close the link. */
PX_MUST_CHECK int px_relay_client_input(struct px_relay_client *c, struct px_slice body,
                                        px_nsec now);
/* A packet from the relay's address, or a PROBE from any other. False when it is none of ours. */
bool px_relay_client_packet(struct px_relay_client *c, struct px_slice packet, px_nsec now);
/* Our address may be another now: every leg is bound anew. */
void px_relay_client_network_changed(struct px_relay_client *c, px_nsec now);

/* Sends a request: m's type and keys, the number is filled in. PX_ESTATE without a control stream,
 * PX_EBUSY with too many under way. */
PX_MUST_CHECK int px_relay_client_request(struct px_relay_client *c, struct px_relay_msg *m,
                                          void *token, px_nsec now);
/* Asks whether an address of ours can be reached from outside (spec §6). `reply` follows: OK,
 * UNREACHABLE, or why the relay did not try. DATA_NEEDED: with `pays` the data is on its way and
 * another reply follows; without, it is the end, and the relay refuses further probes for a while.
 * UNEXPECTED_MESSAGE: it wanted data twice, or too much, or says OK to what was not seen here.
 * Errors as px_relay_client_request. */
PX_MUST_CHECK int px_relay_client_probe(struct px_relay_client *c, const struct px_addr *a,
                                        bool pays, void *token, px_nsec now);
/* Calls a peer. `open` or `ended` follows. PX_ESTATE, PX_EBUSY, PX_ENOMEM. */
PX_MUST_CHECK int px_relay_client_call(struct px_relay_client *c, const struct px_peer_id *peer,
                                       void *user, px_nsec now, struct px_relay_leg **ret);
void px_relay_leg_answer(struct px_relay_leg *l, bool consent, px_nsec now);
/* Ends the circuit; `ended` does not follow, the pointer is dead. */
void px_relay_leg_end(struct px_relay_leg *l);

const struct px_peer_id *px_relay_leg_peer(const struct px_relay_leg *l);
bool px_relay_leg_is_open(const struct px_relay_leg *l);
bool px_relay_leg_is_caller(const struct px_relay_leg *l);
/* What our sending is held to, bytes a second; 0: no bound. Shape to 95 % of it. */
uint64_t px_relay_leg_rate(const struct px_relay_leg *l, uint64_t *ret_burst);
/* What goes before each payload; tell px_relay_leg_sent after sending. Only while open. */
void px_relay_leg_header(const struct px_relay_leg *l, uint8_t out[PX_RELAY_HEADER_LEN]);
void px_relay_leg_sent(struct px_relay_leg *l, px_nsec now);
void *px_relay_leg_user(const struct px_relay_leg *l);
void px_relay_leg_set_user(struct px_relay_leg *l, void *user);

void px_relay_client_run(struct px_relay_client *c, px_nsec now);
px_nsec px_relay_client_deadline(const struct px_relay_client *c);
size_t px_relay_client_legs(const struct px_relay_client *c);

#endif

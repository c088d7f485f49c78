/* The relay's circuits (docs/spec/relay.md §4, §5): legs, the addresses they are bound to, and the
 * decision what becomes of a packet. Sans-IO: packets and `now` go in; what to send comes out.
 *
 * A packet is looked at once, its header rewritten where it lies; runs of one leg's packets in a
 * receive batch leave as one send batch. */
#ifndef PX_RELAY_CIRCUITS_H
#define PX_RELAY_CIRCUITS_H

#include "auth/peer_id.h"
#include "proto/addr.h"
#include "relay/relay_packet.h"
#include "relay/relay_status.h"

struct px_circuits;
struct px_circuit;

#define PX_CIRCUIT_BINDING_LEN    32
#define PX_CIRCUIT_CHALLENGE_GAP  PX_SEC /* between challenges that packets of a leg cause */
#define PX_CIRCUIT_HELLOS         4      /* answered a second and leg */
#define PX_CIRCUIT_NONCE_SLOT     (8 * PX_SEC)
#define PX_CIRCUIT_BURST_MIN      (256u * 1024)
#define PX_CIRCUIT_SWEEP          PX_SEC /* how exactly times are kept */
#define PX_CIRCUIT_PEER_RATE_FOLD 4      /* a node's rate, in those of its fastest circuit */

enum px_circuit_side { PX_CIRCUIT_CALLER, PX_CIRCUIT_CALLEE };

struct px_circuits_ops {
    /* The callee consented and both legs are bound. */
    void (*opened)(void *ctx, struct px_circuit *c);
    /* The end, told once; the pointer is dead afterwards. Neither may end other circuits. */
    void (*ended)(void *ctx, struct px_circuit *c, enum px_relay_status why);
};

struct px_circuits_config {
    struct px_rng rng;
    const struct px_circuits_ops *ops;
    void *ctx;
    size_t per_peer;   /* circuits of one node at a time */
    px_nsec idle;      /* a leg silent for so long ends its circuit */
    px_nsec bind_time; /* from px_circuits_open to `opened` */
};

struct px_circuit_params {
    struct px_peer_id peer[2]; /* by enum px_circuit_side */
    uint8_t binding[2][PX_CIRCUIT_BINDING_LEN];
    uint64_t rate;  /* bytes a second each way; 0: no bound */
    px_nsec time;   /* how long it may last; 0: no bound */
    uint64_t bytes; /* each way; 0: no bound */
};

struct px_circuits_stats {
    uint64_t packets, bytes; /* forwarded */
    uint64_t dropped_rate, dropped_address, dropped_unknown, dropped_unopened, dropped_malformed;
    uint64_t challenges, binds;
    size_t circuits, open;
};

PX_MUST_CHECK int px_circuits_new(const struct px_circuits_config *config,
                                  struct px_circuits **ret);
/* As in the config. */
void px_circuits_set_limits(struct px_circuits *cs, size_t per_peer, px_nsec idle,
                            px_nsec bind_time);
/* Ends nothing: no callbacks. */
void px_circuits_free(struct px_circuits *cs);

/* A new circuit, unbound. An older one of this caller to this callee ends with PX_RELAY_PEER_ENDED.
 * PX_ELIMIT when one of them has too many, PX_EINVAL for one node twice, PX_ENOMEM. */
PX_MUST_CHECK int px_circuits_open(struct px_circuits *cs, const struct px_circuit_params *params,
                                   px_nsec now, struct px_circuit **ret);
void px_circuit_consent(struct px_circuit *c, px_nsec now);
void px_circuit_end(struct px_circuit *c, enum px_relay_status why);
/* Those with a node that `welcome` denies. */
void px_circuits_end_unwelcome(struct px_circuits *cs,
                               bool (*welcome)(void *ctx, const struct px_peer_id *id), void *ctx,
                               enum px_relay_status why);
void px_circuits_end_all(struct px_circuits *cs, enum px_relay_status why);
/* Circuits of this node, either side. */
size_t px_circuits_count(const struct px_circuits *cs, const struct px_peer_id *peer);
/* Whether both have such a place free. */
bool px_circuits_room(const struct px_circuits *cs, const struct px_peer_id *caller,
                      const struct px_peer_id *callee);

const struct px_relay_leg_id *px_circuit_leg(const struct px_circuit *c, enum px_circuit_side side);
const struct px_peer_id *px_circuit_peer(const struct px_circuit *c, enum px_circuit_side side);
const struct px_circuit_params *px_circuit_params_of(const struct px_circuit *c);
bool px_circuit_is_open(const struct px_circuit *c);
/* Bytes forwarded that came from this side. */
uint64_t px_circuit_bytes(const struct px_circuit *c, enum px_circuit_side side);
uint64_t px_circuit_burst(uint64_t rate);
/* The circuit that has this leg, and whose it is; NULL if none. */
struct px_circuit *px_circuits_find(const struct px_circuits *cs, const struct px_relay_leg_id *leg,
                                    enum px_circuit_side *ret_side);
/* The nonce of a challenge for that leg and address, as it may be told on a control connection. */
void px_circuit_nonce(const struct px_circuit *c, enum px_circuit_side side,
                      const struct px_addr *remote, px_nsec now, struct px_relay_nonce *ret);

/* What one step of px_circuits_input wants sent. */
struct px_circuits_out {
    const struct px_path *path; /* NULL: nothing. Valid until the next call of anything here */
    struct px_slice data;       /* into the input, or into `reply` */
    size_t segment;
    uint8_t reply[PX_RELAY_BIND_LEN];
};
/* Takes what it can treat alike from the front of a receive batch of `segment`-byte packets (the
 * last may be shorter), and returns how many bytes that were: 0 when the first is no relay packet.
 * Call again with the rest. */
size_t px_circuits_input(struct px_circuits *cs, const struct px_path *path, uint8_t *data,
                         size_t len, size_t segment, px_nsec now, struct px_circuits_out *ret);

void px_circuits_run(struct px_circuits *cs, px_nsec now);
px_nsec px_circuits_deadline(const struct px_circuits *cs);
void px_circuits_stats(const struct px_circuits *cs, struct px_circuits_stats *ret);

#endif

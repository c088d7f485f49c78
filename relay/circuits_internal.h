/* What relay/circuits.c (who has which circuit, times, ends) and relay/circuit_packets.c (what
 * becomes of a packet) share. Nobody else includes it. */
#ifndef PX_RELAY_CIRCUITS_INTERNAL_H
#define PX_RELAY_CIRCUITS_INTERNAL_H

#include "proto/base/list.h"
#include "proto/base/map.h"
#include "relay/circuits.h"
#include "relay/token_bucket.h"

enum px_circuit_state {
    PX_CIRCUIT_PENDING, /* consent or a bind is missing */
    PX_CIRCUIT_OPEN,
    PX_CIRCUIT_ENDED, /* `ended` is being told */
};

/* A node that has circuits; goes with the last. */
struct px_circuit_party {
    struct px_map_node by_id; /* key: id */
    struct px_peer_id id;
    struct px_list legs;
    size_t count;
    struct px_token_bucket bucket; /* what it may send on all its legs */
};

struct px_circuit_leg {
    struct px_map_node by_id; /* key: id */
    struct px_list in_party;
    struct px_circuit *circuit;
    struct px_circuit_party *party;
    struct px_relay_leg_id id;
    struct px_relay_leg_key key;
    bool bound;
    struct px_path path; /* once bound */
    uint32_t binds;      /* successful ones: part of every challenge */
    px_nsec seen_at;     /* last packet from there */
    px_nsec challenged_at;
    struct px_token_bucket bucket, hellos;
    uint64_t bytes; /* that came from it and were forwarded */
};

struct px_circuit {
    struct px_circuits *owner;
    struct px_list all;
    enum px_circuit_state state;
    struct px_circuit_params params;
    struct px_circuit_leg leg[2];
    bool consented;
    px_nsec made_at, opened_at;
};

struct px_circuits {
    struct px_circuits_config config;
    struct px_map legs, parties;
    struct px_list all;
    uint8_t secret[PX_HASH_LEN]; /* of the challenges */
    px_nsec sweep_at;            /* PX_NEVER without circuits */
    struct px_circuits_stats stats;
};

/* Opens it if nothing is missing any more. */
void px_circuit_maybe_open(struct px_circuit *c, px_nsec now);

#endif

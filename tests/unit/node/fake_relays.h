/* What node/relays stands on, in memory and on a virtual clock: peers and their links, links to
 * relays, the core of a relay's client. Included (fake_relays.c) by a test, whose symbols then win
 * over the library's. Nothing is called back but by the functions below. */
#ifndef PX_TESTS_FAKE_RELAYS_H
#define PX_TESTS_FAKE_RELAYS_H

#include "node/relays_internal.h"

#define FAKE_PEERS   256
#define FAKE_LINKS   1200
#define FAKE_EVENTS  4096
#define FAKE_ASKED   256 /* requests that are kept; later ones are not */
#define FAKE_FOREVER (1000 * PX_SEC)

/* A link to a relay. */
struct px_link {
    const struct px_relay_link_ops *ops; /* NULL: forgotten */
    struct px_relay *relay;
    struct px_addr addr;
    struct px_control_stream *stream;
    bool up, closed, dead; /* dead: `down` was told */
    bool mute;             /* answers no pings */
    size_t pings;
    px_nsec dialled_at;
};

/* Our leg of a circuit, as its client knows it. */
struct px_relay_leg {
    struct px_relay_client *client;
    struct px_peer_id peer;
    void *user;
    bool ours, used, open, ended; /* ended: by node/relays */
};

/* A dial-back that was asked for. */
struct fake_probe {
    struct px_relay *relay;
    struct px_addr addr;
    void *token;
    bool pays, answered;
};

/* One peer as node/peers knows it. */
struct fake_peer {
    struct px_peer_id id;
    bool stranger;         /* may not come */
    bool expected;         /* the next key of one that is listed */
    struct px_addr remote; /* of its link; no address: there is none */
    bool lost;             /* that link is in doubt */
    struct px_addr suggested, preferred;
    size_t suggested_count, preferred_count;
    size_t answers; /* to `call` */
    uint64_t token;
    struct px_addr circuit;
    int err;
};

/* A request of ours to a relay. */
struct fake_request {
    struct px_relay *relay;
    struct px_buf bytes;
    struct px_relay_msg m; /* views point into `bytes` */
    void *token;
    px_nsec at;
    bool answered;
};

struct fake {
    px_nsec now;
    uv_loop_t loop;
    char dir[64], path[96], owed_path[96], names_path[96];
    struct px_authorized_keys *keys; /* NULL: nobody is looked up */
    struct px_identity identity;
    struct px_relays *set;
    struct px_circuit_ops circuits; /* of the set */
    struct fake_peer peers[FAKE_PEERS];
    struct px_link links[FAKE_LINKS];
    size_t link_count;
    struct px_relay_leg legs[FAKE_EVENTS];
    size_t leg_count;
    char usable[PX_PEER_RELAYS_MAX][16];
    size_t usable_count;
    size_t declined;
    struct fake_probe probes[32];
    size_t probe_count, packet_count;
    struct fake_request requests[FAKE_ASKED];
    size_t request_count, reserve_count; /* of reservations: how often one was asked for */
    struct {
        struct px_peer_id id;
        struct px_addr addr;
    } found[64]; /* what px_peers was told of records */
    size_t found_count;
    struct px_peer_traffic traffic; /* of one link */
    size_t looks;                   /* at that */
    bool closed;
};

/* A set with relays named "r1", "r2" …, none of which is connected; at FAKE_FOREVER. */
struct fake *fake_start(size_t relays);
void fake_end(struct fake *f);
/* Ends the set and makes another one of the same files, as a restart does. */
void fake_restart(struct fake *f);
/* Does what is due at each deadline up to then. Links that were closed go down. */
void fake_run(struct fake *f, px_nsec until);
/* The same for so long. */
void fake_wait(struct fake *f, px_nsec time);
struct px_relay *fake_relay(struct fake *f, size_t number); /* 1: the first one */
/* Its dial is answered, and it has a reservation. */
void fake_reserve(struct fake *f, size_t number);
void fake_reserve_as(struct fake *f, size_t number, enum px_relay_class class);
/* The link alone is up. */
void fake_up(struct fake *f, size_t number);
/* All of them. */
void fake_reserve_all(struct fake *f);
/* The link goes, or the dial fails. */
void fake_down(struct fake *f, size_t number, int err);
/* It is killed: it answers nothing any more. */
void fake_kill(struct fake *f, size_t number);
size_t fake_dials(const struct fake *f, size_t number);
/* The leg called last at that relay which has neither been opened nor ended; NULL: none. */
struct px_relay_leg *fake_call_at(struct fake *f, size_t number);
size_t fake_calls(const struct fake *f);
void fake_open(struct fake *f, struct px_relay_leg *leg);
void fake_refuse(struct fake *f, struct px_relay_leg *leg, enum px_relay_status why);
/* Somebody calls through that relay: the leg if it was taken. */
struct px_relay_leg *fake_ring(struct fake *f, size_t number, const struct px_peer_id *caller);
/* What the relay says to the probe of that number; true when another answer may follow. */
bool fake_answer_probe(struct fake *f, size_t i, enum px_relay_status status);
/* The first request of that type to that relay that is not answered; NULL: none. */
struct fake_request *fake_asked(struct fake *f, size_t number, enum px_relay_msg_type type);
/* How many there were, answered or not. */
size_t fake_asked_count(struct fake *f, size_t number, enum px_relay_msg_type type);
/* m may be NULL. */
void fake_answer(struct fake *f, struct fake_request *q, enum px_relay_status status,
                 const struct px_relay_msg *m);
struct px_circuit *fake_circuit(const struct px_relay_leg *leg);

#endif

/* When to dial a peer: capped exponential back-off with jitter between rounds. A round races all
 * addresses of the peer (node/dial_race.h). A core: time and randomness come in. */
#ifndef PX_NODE_DIAL_PLAN_H
#define PX_NODE_DIAL_PLAN_H

#include "proto/base/base.h"

#define PX_DIAL_FIRST_PAUSE (500 * PX_MSEC)
/* A connection that breaks sooner than this counts as a failed round. */
#define PX_DIAL_STABLE (10 * PX_SEC)
/* Dials that something outside set off (a changed network, an announcement) wait up to so long at
 * random, so that many peers are not dialled in one moment. */
#define PX_DIAL_SPREAD (100 * PX_MSEC)
/* However often a peer is announced: its rounds begin at least so far apart. */
#define PX_DIAL_HURRY_PAUSE (2 * PX_SEC)
#define PX_DIAL_PUT_OFF     (1 * PX_SEC)

enum px_dial_state {
    PX_DIAL_WAITING, /* next round at `due` */
    PX_DIAL_TRYING,  /* resolving or dialling */
    PX_DIAL_UP,      /* connected, by whichever side */
    PX_DIAL_HELD,    /* hung up on purpose: only px_dial_plan_soon gets it going again */
    PX_DIAL_STATES,  /* how many there are */
};

struct px_dial_plan {
    enum px_dial_state state;
    px_nsec due;      /* in WAITING */
    unsigned rounds;  /* failed in a row */
    px_nsec up_at;    /* in UP */
    px_nsec tried_at; /* when the latest round began; 0: none yet */
};

/* Dials at once. */
void px_dial_plan_init(struct px_dial_plan *p, px_nsec now);
/* Is a round due? Then TRYING begins. */
bool px_dial_plan_due(struct px_dial_plan *p, px_nsec now);
/* The round found nobody. Pauses are PX_DIAL_FIRST_PAUSE · 2^rounds, at most max_pause, each
 * shortened by up to half at random. */
void px_dial_plan_failed(struct px_dial_plan *p, px_nsec max_pause, const struct px_rng *rng,
                         px_nsec now);
/* Connected; allowed in every state but UP. */
void px_dial_plan_up(struct px_dial_plan *p, px_nsec now);
/* The connection ended. `orderly`: the other side said good-bye, which is no failure however young
 * the connection is. */
void px_dial_plan_ended(struct px_dial_plan *p, bool orderly, px_nsec max_pause,
                        const struct px_rng *rng, px_nsec now);
/* The network changed or there is a new address: forgets the back-off and dials within
 * PX_DIAL_SPREAD. No effect on a connected, trying or held plan but for the forgetting. */
void px_dial_plan_reset(struct px_dial_plan *p, const struct px_rng *rng, px_nsec now);
/* The peer was announced: it is up, so dials soon, but not more often than PX_DIAL_HURRY_PAUSE. */
void px_dial_plan_hurry(struct px_dial_plan *p, const struct px_rng *rng, px_nsec now);
/* It is due, but too many others are being dialled: waits up to PX_DIAL_PUT_OFF. */
void px_dial_plan_put_off(struct px_dial_plan *p, const struct px_rng *rng, px_nsec now);
/* Dials at once, also when held. */
void px_dial_plan_soon(struct px_dial_plan *p, px_nsec now);
void px_dial_plan_hold(struct px_dial_plan *p);

#endif

/* When to dial which address of a peer: one address after the other, capped exponential back-off
 * with jitter between rounds. A core: time and randomness come in. */
#ifndef PX_NODE_DIAL_PLAN_H
#define PX_NODE_DIAL_PLAN_H

#include "proto/base/base.h"

#define PX_DIAL_FIRST_PAUSE (500 * PX_MSEC)

enum px_dial_state {
    PX_DIAL_WAITING, /* next dial at `due` */
    PX_DIAL_TRYING,  /* resolving or dialling */
    PX_DIAL_UP,      /* connected, by whichever side */
};

struct px_dial_plan {
    enum px_dial_state state;
    px_nsec due;      /* in WAITING */
    unsigned rounds;  /* failed rounds over all addresses in a row */
    size_t next_addr; /* index of the address to try next */
};

/* Dials at once. */
void px_dial_plan_init(struct px_dial_plan *p, px_nsec now);
/* Is a dial due? Then the address index is `next_addr`, modulo the count, and TRYING begins. */
bool px_dial_plan_due(struct px_dial_plan *p, size_t addr_count, px_nsec now);
/* The attempt failed, or the connection ended (an orderly end counts as no failure). Pauses are
 * PX_DIAL_FIRST_PAUSE · 2^rounds, at most max_pause, each shortened by up to half at random. */
void px_dial_plan_failed(struct px_dial_plan *p, size_t addr_count, px_nsec max_pause,
                         const struct px_rng *rng, px_nsec now);
void px_dial_plan_up(struct px_dial_plan *p);
void px_dial_plan_ended(struct px_dial_plan *p, const struct px_rng *rng, px_nsec now);
/* The network changed or the address list is new: forget the back-off. */
void px_dial_plan_reset(struct px_dial_plan *p, px_nsec now);

#endif

/* When to tell the service manager that we live: only after every part has proved itself within the
 * running round. Pure; the checks themselves are watchdog_io.
 *
 * A round begins every half of the time the service manager allows. That it begins at all shows
 * that the loop turns. A round that is not complete when the next one begins gives no sign of
 * life; the service manager then ends us, after two such rounds at the latest. */
#ifndef PX_NODE_WATCHDOG_H
#define PX_NODE_WATCHDOG_H

#include "proto/base/base.h"

enum px_watchdog_part {
    PX_WATCHDOG_OVERLAY,     /* the UDP socket takes a datagram and answers it */
    PX_WATCHDOG_SUBSTITUTER, /* answers nix */
    PX_WATCHDOG_HEALTH,      /* /healthz of a relay says ok */
    PX_WATCHDOG_CONTROL,     /* answers on its Unix socket */
};
#define PX_WATCHDOG_PARTS 4
const char *px_watchdog_part_name(enum px_watchdog_part p);

struct px_watchdog {
    unsigned parts; /* those this program has, a bit each */
    px_nsec period;
    px_nsec next;     /* the next round begins then */
    uint64_t round;   /* 0: none yet */
    unsigned waiting; /* parts of this round, a bit each, that have not proved themselves */
};

/* `parts` has a bit for each that is checked, at least one. `allowed` is the service manager's
 * time; 0 turns it off: no round is ever due. */
void px_watchdog_init(struct px_watchdog *w, unsigned parts, px_nsec allowed, px_nsec now);
bool px_watchdog_due(const struct px_watchdog *w, px_nsec now);
/* Begins a round. However late it is, rounds are not made up for. */
void px_watchdog_begin(struct px_watchdog *w, px_nsec now);
/* The parts that are still silent when three quarters of the round are over, a bit each; else 0. */
unsigned px_watchdog_silent(const struct px_watchdog *w, px_nsec now);
/* A part proved itself in that round; of an earlier round it counts for nothing. True exactly once
 * a round: all have, WATCHDOG=1 is to be sent. */
PX_MUST_CHECK bool px_watchdog_good(struct px_watchdog *w, uint64_t round, enum px_watchdog_part p);

#endif

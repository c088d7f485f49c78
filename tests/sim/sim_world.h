/* Two hosts on a virtual network, and the invariants of docs/spec/handshake.md checked at every
 * step of its clock. */
#ifndef PX_TESTS_SIM_WORLD_H
#define PX_TESTS_SIM_WORLD_H

#include "tests/sim/sim_host.h"

/* PX_SIM_SEEDS=n in the environment runs n times as many seeds (the full tier). */
uint64_t sim_seeds(uint64_t count);

extern const struct sim_weather sim_calm;    /* 10 ms there and back */
extern const struct sim_weather sim_jittery; /* 6 to 18 ms */
extern const struct sim_weather sim_rough;   /* 3 % lost, 3 % doubled, 6 % out of order */
extern const struct sim_weather sim_narrow;  /* 2 MB/s with a short queue */
extern const struct sim_weather sim_gone;    /* nothing arrives */

struct world {
    struct sim_net *net;
    struct host a, b;
};

void world_init(struct world *w, uint64_t seed, const struct sim_weather *weather);
/* The same, with both hosts started. */
void world_start(struct world *w, uint64_t seed, const struct sim_weather *weather);
void world_deinit(struct world *w);

/* Runs until `cond` holds; false when that takes longer than `limit` of virtual time. */
bool world_run_until(struct world *w, bool (*cond)(const struct world *w), px_nsec limit);
void world_run(struct world *w, px_nsec time);
/* a dials b, and both are up. */
void world_connect(struct world *w);

bool world_both_up(const struct world *w);
bool world_bulks_done(const struct world *w);

#endif

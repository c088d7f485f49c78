/* See sim_world.h. */
#include "tests/sim/sim_world.h"

#include <stdlib.h>

uint64_t sim_seeds(uint64_t count)
{
    const char *text = getenv("PX_SIM_SEEDS");
    uint64_t factor = 1;
    if (text != NULL)
        CHECK_OK(px_slice_parse_u64(px_slice_cstr(text), &factor));
    return count * factor;
}

const struct sim_weather sim_calm = {.delay = 5 * PX_MSEC};
const struct sim_weather sim_jittery = {.delay = 3 * PX_MSEC, .jitter = 6 * PX_MSEC};
const struct sim_weather sim_rough = {
    .delay = 8 * PX_MSEC, .jitter = 4 * PX_MSEC, .loss = 30, .dup = 30, .reorder = 60};
const struct sim_weather sim_narrow = {
    .delay = 20 * PX_MSEC, .loss = 5, .reorder = 20, .rate = 2000000, .queue = 60000};
const struct sim_weather sim_gone = {.loss = 1000};

void world_init(struct world *w, uint64_t seed, const struct sim_weather *weather)
{
    w->net = sim_net_new(seed, weather);
    host_init(&w->a, w->net, 1, seed * 10 + 1);
    host_init(&w->b, w->net, 2, seed * 10 + 2);
}

void world_start(struct world *w, uint64_t seed, const struct sim_weather *weather)
{
    world_init(w, seed, weather);
    host_start(&w->a, seed * 10 + 3);
    host_start(&w->b, seed * 10 + 4);
}

void world_deinit(struct world *w)
{
    host_deinit(&w->a);
    host_deinit(&w->b);
    sim_net_free(w->net);
}

bool world_run_until(struct world *w, bool (*cond)(const struct world *w), px_nsec limit)
{
    px_nsec until = sim_net_now(w->net) + limit;
    while (!cond(w)) {
        if (!sim_net_step(w->net, until))
            return cond(w);
        if (w->a.overlay != NULL)
            host_check(&w->a);
        if (w->b.overlay != NULL)
            host_check(&w->b);
    }
    return true;
}

static bool never(const struct world *w)
{
    (void)w;
    return false;
}

void world_run(struct world *w, px_nsec time)
{
    world_run_until(w, never, time);
}

bool world_both_up(const struct world *w)
{
    return w->a.link_count == 1 && w->b.link_count == 1;
}

void world_connect(struct world *w)
{
    CHECK_OK(host_dial(&w->a, &w->b));
    CHECK(world_run_until(w, world_both_up, 20 * PX_SEC));
}

bool world_bulks_done(const struct world *w)
{
    return host_bulks_done(&w->a) && host_bulks_done(&w->b);
}

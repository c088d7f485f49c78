/* The back-off arithmetic of dial_plan.h. */
#include "node/dial_plan.h"

static void set_state(struct px_dial_plan *p, enum px_dial_state to)
{
    /* every change is possible but from UP to TRYING: a connected peer is not dialled */
    px_assert(!(p->state == PX_DIAL_UP && to == PX_DIAL_TRYING));
    p->state = to;
}

void px_dial_plan_init(struct px_dial_plan *p, px_nsec now)
{
    *p = (struct px_dial_plan){.state = PX_DIAL_WAITING, .due = now};
}

bool px_dial_plan_due(struct px_dial_plan *p, size_t addr_count, px_nsec now)
{
    if (p->state != PX_DIAL_WAITING || addr_count == 0 || now < p->due)
        return false;
    p->next_addr %= addr_count;
    set_state(p, PX_DIAL_TRYING);
    return true;
}

/* Between half of `pause` and all of it, so that nodes that lost each other do not meet in step. */
static px_nsec jittered(px_nsec pause, const struct px_rng *rng)
{
    uint32_t r;
    rng->fill(rng->ctx, &r, sizeof(r));
    return pause / 2 + (pause / 2) * (r % 1024) / 1024;
}

void px_dial_plan_failed(struct px_dial_plan *p, size_t addr_count, px_nsec max_pause,
                         const struct px_rng *rng, px_nsec now)
{
    set_state(p, PX_DIAL_WAITING);
    p->next_addr++;
    if (p->next_addr < addr_count) { /* the round goes on with the next address, at once */
        p->due = now;
        return;
    }
    p->next_addr = 0;
    px_nsec pause = PX_DIAL_FIRST_PAUSE;
    for (unsigned i = 0; i < p->rounds && pause < max_pause; i++)
        pause *= 2;
    p->rounds++;
    p->due = now + jittered(PX_MIN(pause, max_pause), rng);
}

void px_dial_plan_up(struct px_dial_plan *p)
{
    set_state(p, PX_DIAL_UP);
    p->rounds = 0;
}

void px_dial_plan_ended(struct px_dial_plan *p, const struct px_rng *rng, px_nsec now)
{
    set_state(p, PX_DIAL_WAITING);
    p->due = now + jittered(PX_DIAL_FIRST_PAUSE, rng);
}

void px_dial_plan_reset(struct px_dial_plan *p, px_nsec now)
{
    p->rounds = 0;
    p->next_addr = 0;
    if (p->state == PX_DIAL_WAITING)
        p->due = now;
}

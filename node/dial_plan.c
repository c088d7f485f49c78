/* The back-off arithmetic of dial_plan.h. */
#include "node/dial_plan.h"

#define BIT(state) (1u << (state))

static void set_state(struct px_dial_plan *p, enum px_dial_state to)
{
    static const unsigned allowed[PX_DIAL_STATES] = {
        [PX_DIAL_WAITING] =
            BIT(PX_DIAL_WAITING) | BIT(PX_DIAL_TRYING) | BIT(PX_DIAL_UP) | BIT(PX_DIAL_HELD),
        [PX_DIAL_TRYING] = BIT(PX_DIAL_WAITING) | BIT(PX_DIAL_UP) | BIT(PX_DIAL_HELD),
        /* a connected peer is not dialled */
        [PX_DIAL_UP] = BIT(PX_DIAL_WAITING) | BIT(PX_DIAL_HELD),
        [PX_DIAL_HELD] = BIT(PX_DIAL_WAITING) | BIT(PX_DIAL_UP) | BIT(PX_DIAL_HELD),
    };
    px_assert(allowed[p->state] & BIT(to));
    p->state = to;
}

static px_nsec random_below(px_nsec limit, const struct px_rng *rng)
{
    uint32_t r;
    rng->fill(rng->ctx, &r, sizeof(r));
    return limit * (r % 1024) / 1024;
}

/* Between half of `pause` and all of it, so that nodes that lost each other do not meet in step. */
static px_nsec jittered(px_nsec pause, const struct px_rng *rng)
{
    return pause / 2 + random_below(pause / 2, rng);
}

void px_dial_plan_init(struct px_dial_plan *p, px_nsec now)
{
    *p = (struct px_dial_plan){.state = PX_DIAL_WAITING, .due = now};
}

bool px_dial_plan_due(struct px_dial_plan *p, px_nsec now)
{
    if (p->state != PX_DIAL_WAITING || now < p->due)
        return false;
    set_state(p, PX_DIAL_TRYING);
    p->tried_at = now;
    return true;
}

void px_dial_plan_failed(struct px_dial_plan *p, px_nsec max_pause, const struct px_rng *rng,
                         px_nsec now)
{
    px_nsec pause = PX_DIAL_FIRST_PAUSE;
    set_state(p, PX_DIAL_WAITING);
    for (unsigned i = 0; i < p->rounds && pause < max_pause; i++)
        pause *= 2;
    if (p->rounds < UINT32_MAX)
        p->rounds++;
    p->due = now + jittered(PX_MIN(pause, max_pause), rng);
}

void px_dial_plan_up(struct px_dial_plan *p, px_nsec now)
{
    set_state(p, PX_DIAL_UP);
    p->up_at = now;
}

void px_dial_plan_ended(struct px_dial_plan *p, bool orderly, px_nsec max_pause,
                        const struct px_rng *rng, px_nsec now)
{
    if (!orderly && now - p->up_at < PX_DIAL_STABLE) {
        px_dial_plan_failed(p, max_pause, rng, now);
        return;
    }
    set_state(p, PX_DIAL_WAITING);
    p->rounds = 0;
    p->due = now + jittered(PX_DIAL_FIRST_PAUSE, rng);
}

void px_dial_plan_reset(struct px_dial_plan *p, const struct px_rng *rng, px_nsec now)
{
    p->rounds = 0;
    if (p->state == PX_DIAL_WAITING)
        p->due = PX_MIN(p->due, now + random_below(PX_DIAL_SPREAD, rng));
}

void px_dial_plan_hurry(struct px_dial_plan *p, const struct px_rng *rng, px_nsec now)
{
    px_nsec due = now + random_below(PX_DIAL_SPREAD, rng);
    if (p->tried_at != 0)
        due = PX_MAX(due, p->tried_at + PX_DIAL_HURRY_PAUSE);
    if (p->state == PX_DIAL_WAITING)
        p->due = PX_MIN(p->due, due);
}

void px_dial_plan_put_off(struct px_dial_plan *p, const struct px_rng *rng, px_nsec now)
{
    set_state(p, PX_DIAL_WAITING);
    p->due = now + jittered(PX_DIAL_PUT_OFF, rng);
}

void px_dial_plan_soon(struct px_dial_plan *p, px_nsec now)
{
    p->rounds = 0;
    if (p->state == PX_DIAL_HELD)
        set_state(p, PX_DIAL_WAITING);
    if (p->state == PX_DIAL_WAITING)
        p->due = now;
}

void px_dial_plan_hold(struct px_dial_plan *p)
{
    set_state(p, PX_DIAL_HELD);
}

/* Rounds and the parts that are missing in them. */
#include "node/watchdog.h"

const char *px_watchdog_part_name(enum px_watchdog_part p)
{
    switch (p) {
    case PX_WATCHDOG_OVERLAY:
        return "overlay";
    case PX_WATCHDOG_SUBSTITUTER:
        return "substituter";
    case PX_WATCHDOG_HEALTH:
        return "health";
    case PX_WATCHDOG_CONTROL:
        return "control";
    }
    return "-";
}

void px_watchdog_init(struct px_watchdog *w, unsigned parts, px_nsec allowed, px_nsec now)
{
    *w = (struct px_watchdog){
        .parts = parts, .period = allowed / 2, .next = allowed != 0 ? now : PX_NEVER};
}

bool px_watchdog_due(const struct px_watchdog *w, px_nsec now)
{
    return now >= w->next && w->next != PX_NEVER;
}

void px_watchdog_begin(struct px_watchdog *w, px_nsec now)
{
    w->round++;
    w->waiting = w->parts;
    w->next = now + w->period;
}

unsigned px_watchdog_silent(const struct px_watchdog *w, px_nsec now)
{
    return w->round > 0 && now >= w->next - w->period / 4 ? w->waiting : 0;
}

bool px_watchdog_good(struct px_watchdog *w, uint64_t round, enum px_watchdog_part p)
{
    if (round != w->round || (w->waiting & 1u << p) == 0)
        return false;
    w->waiting &= ~(1u << p);
    return w->waiting == 0;
}

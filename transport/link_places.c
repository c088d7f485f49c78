/* See link_places.h. */
#include "transport/link_places.h"

#include <string.h>

#define FLED 0 /* index of the direct place that was left for a circuit */

static bool is_used(const struct px_link_place *p)
{
    return p->addr.family != PX_ADDR_NONE;
}

void px_link_places_init(struct px_link_places *p, px_nsec back_delay)
{
    memset(p, 0, sizeof(*p));
    p->back_delay = back_delay;
    p->back_at = PX_NEVER;
    p->back_gap = PX_LINK_BACK_FIRST;
}

struct px_link_place *px_link_places_find(struct px_link_places *p, const struct px_addr *addr)
{
    for (size_t i = 0; i < PX_ARRAY_LEN(p->of); i++)
        if (is_used(&p->of[i]) && px_addr_eq(&p->of[i].addr, addr))
            return &p->of[i];
    return NULL;
}

bool px_link_places_is_back(const struct px_link_places *p, const struct px_link_place *place)
{
    return p->relayed && is_used(place) && !px_addr_is_circuit(&place->addr);
}

static void arm(struct px_link_places *p, px_nsec at)
{
    p->back_at = PX_NEVER;
    for (size_t i = 0; i < PX_ARRAY_LEN(p->of); i++)
        if (px_link_places_is_back(p, &p->of[i]))
            p->back_at = at + p->back_delay;
}

/* Circuits come and go with their relays; they must not crowd out the addresses of a LAN. */
static struct px_link_place *make_room(struct px_link_places *p, bool circuit)
{
    struct px_link_place *oldest = NULL, *oldest_circuit = NULL;
    size_t circuits = 0;
    for (size_t i = FLED + 1; i < PX_ARRAY_LEN(p->of); i++) {
        struct px_link_place *x = &p->of[i];
        bool is_circuit = px_addr_is_circuit(&x->addr);
        circuits += is_circuit;
        if (is_circuit && (oldest_circuit == NULL || x->noted_at < oldest_circuit->noted_at))
            oldest_circuit = x;
        if (oldest == NULL || (is_used(oldest) && (!is_used(x) || x->noted_at < oldest->noted_at)))
            oldest = x;
    }
    return circuit && circuits == PX_LINK_PLACES_CIRCUITS ? oldest_circuit : oldest;
}

struct px_link_place *px_link_places_note(struct px_link_places *p, const struct px_addr *addr,
                                          px_nsec now)
{
    struct px_link_place *place = px_link_places_find(p, addr);
    if (place == NULL) {
        place = make_room(p, px_addr_is_circuit(addr));
        *place = (struct px_link_place){.addr = *addr};
    }
    place->noted_at = now;
    if (p->back_at == PX_NEVER)
        arm(p, now + p->back_gap);
    return place;
}

/* SPEC paths §9: a way back that does not hold is asked for less and less often, too. */
void px_link_places_moved(struct px_link_places *p, const struct px_addr *from,
                          const struct px_addr *to, px_nsec now)
{
    bool relayed = px_addr_is_circuit(to);
    if (p->relayed == relayed)
        return;
    p->relayed = relayed;
    if (!relayed) {
        p->direct_since = now;
        p->of[FLED] = (struct px_link_place){0};
    } else if (from->family != PX_ADDR_NONE) {
        p->of[FLED] = (struct px_link_place){.addr = *from, .noted_at = now};
        if (now - p->direct_since >= PX_LINK_BACK_STABLE)
            p->back_gap = PX_LINK_BACK_FIRST;
    }
    arm(p, now + p->back_gap);
}

void px_link_places_hurry(struct px_link_places *p, px_nsec now)
{
    p->back_gap = PX_LINK_BACK_FIRST;
    if (p->back_at != PX_NEVER)
        p->back_at = now + p->back_delay;
}

bool px_link_places_due(struct px_link_places *p, px_nsec now)
{
    if (p->back_at > now)
        return false;
    p->back_gap = PX_MIN(2 * p->back_gap, PX_LINK_BACK_MAX);
    p->back_at = now + p->back_gap;
    return true;
}

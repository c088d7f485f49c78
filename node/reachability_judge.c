/* Which relay is asked about an address, and what the answers mean together (docs/spec/relay.md §6,
 * "What it shows"). Pure. */
#include "node/reachability_internal.h"

const char *px_reach_verdict_name(enum px_reach_verdict v)
{
    static const char *const names[] = {
        [PX_REACH_V_UNKNOWN] = "unknown", [PX_REACH_V_PUBLIC] = "public",
        [PX_REACH_V_MAPPED] = "mapped",   [PX_REACH_V_FIREWALLED] = "firewalled",
        [PX_REACH_V_NAT] = "nat",         [PX_REACH_V_BLOCKED] = "blocked",
        [PX_REACH_V_LOCAL] = "local"};
    return names[v];
}

const char *px_reach_mapping_name(enum px_reach_mapping m)
{
    static const char *const names[] = {[PX_REACH_M_UNKNOWN] = NULL,
                                        [PX_REACH_M_NONE] = "none",
                                        [PX_REACH_M_SAME] = "same",
                                        [PX_REACH_M_VARIES] = "varies"};
    return names[m];
}

bool px_reach_is_global(const struct px_addr *a)
{
    const uint8_t *ip = a->ip;
    if (a->family == PX_ADDR_IP6)
        return (ip[0] & 0xe0) == 0x20; /* 2000::/3 */
    if (a->family != PX_ADDR_IP4)
        return false;
    return ip[0] != 0 && ip[0] != 10 && ip[0] != 127 && ip[0] < 224 &&
           !(ip[0] == 100 && (ip[1] & 0xc0) == 64) && !px_addr_is_link_local(a) &&
           !(ip[0] == 172 && (ip[1] & 0xf0) == 16) && !(ip[0] == 192 && ip[1] == 168);
}

/* ---- whom to ask ---- */

/* A relay that would do it for nothing. Better one that the mapping was not made for: only then
 * does an answer speak for others. */
static const struct px_reach_relay *free_relay(const struct px_reach *r, const struct px_addr *a)
{
    const struct px_reach_relay *best = NULL;
    for (size_t i = 0; i < r->relay_count; i++) {
        const struct px_reach_relay *l = &r->relays[i];
        if (!px_reach_is_udp(l) || !px_addr_same_ip(&l->observed, a))
            continue;
        if (best == NULL || (best->observed.port == a->port && l->observed.port != a->port))
            best = l;
    }
    return best;
}

/* Hosts of one IPv6 network are let in or not alike, mostly: one of them is paid for. */
static bool has_stand_in(const struct px_reach *r, const struct px_reach_candidate *c)
{
    if (c->info.addr.family != PX_ADDR_IP6)
        return false;
    for (size_t i = 0; i < r->count; i++) {
        const struct px_reach_candidate *d = &r->all[i];
        if (d != c && d->info.addr.family == PX_ADDR_IP6 &&
            memcmp(d->info.addr.ip, c->info.addr.ip, 8) == 0 &&
            (d < c || free_relay(r, &d->info.addr) != NULL))
            return true;
    }
    return false;
}

static const struct px_reach_relay *paid_relay(const struct px_reach *r, const struct px_addr *a)
{
    const struct px_reach_relay *best = NULL;
    for (size_t i = 0; i < r->relay_count; i++) {
        const struct px_reach_relay *l = &r->relays[i];
        if (px_reach_is_udp(l) && px_reach_is_global(&l->observed) &&
            (best == NULL ||
             (best->observed.family != a->family && l->observed.family == a->family)))
            best = l;
    }
    return best;
}

bool px_reach_choose(const struct px_reach *r, const struct px_reach_candidate *c,
                     struct px_reach_choice *ret)
{
    const struct px_reach_relay *l = free_relay(r, &c->info.addr);
    bool pays = l == NULL;
    /* SPEC relay §6: nodes pay for globally routed addresses alone */
    if (pays && px_reach_is_global(&c->info.addr) && !has_stand_in(r, c))
        l = paid_relay(r, &c->info.addr);
    if (l == NULL)
        return false;
    *ret = (struct px_reach_choice){(struct px_reach_relay *)(uintptr_t)l, pays};
    return true;
}

/* ---- what it means ---- */

static const struct px_reach_candidate *find(const struct px_reach *r, const struct px_addr *a)
{
    for (size_t i = 0; i < r->count; i++)
        if (px_addr_eq(&r->all[i].info.addr, a))
            return &r->all[i];
    return NULL;
}

/* Ports may be others where an interface's address is translated to itself. */
static bool is_own_ip(const struct px_reach *r, const struct px_addr *a)
{
    for (size_t i = 0; i < r->count; i++)
        if ((r->all[i].info.sources & PX_REACH_OWN) != 0 &&
            px_addr_same_ip(&r->all[i].info.addr, a))
            return true;
    return false;
}

enum px_reach_mapping px_reach_mapping(const struct px_reach *r)
{
    enum px_reach_mapping m = PX_REACH_M_UNKNOWN;
    for (size_t i = 0; i < r->relay_count; i++) {
        const struct px_reach_relay *a = &r->relays[i];
        const struct px_reach_candidate *c = find(r, &a->observed);
        if (!px_reach_is_udp(a))
            continue;
        if (c != NULL && (c->info.sources & PX_REACH_OWN) != 0) {
            m = m == PX_REACH_M_UNKNOWN ? PX_REACH_M_NONE : m;
            continue;
        }
        for (size_t k = 0; k < i; k++) {
            const struct px_reach_relay *b = &r->relays[k];
            if (!px_reach_is_udp(b) || px_addr_eq(&a->remote, &b->remote) ||
                !px_addr_same_ip(&a->observed, &b->observed))
                continue;
            if (a->observed.port != b->observed.port)
                return PX_REACH_M_VARIES;
            m = PX_REACH_M_SAME;
        }
    }
    return m;
}

static bool is_of(const struct px_addr *a, enum px_addr_family family)
{
    return family == PX_ADDR_NONE || a->family == family;
}

/* By the addresses that were reached; UNKNOWN: none was. */
static enum px_reach_verdict best_reached(const struct px_reach *r, enum px_addr_family family)
{
    enum px_reach_verdict v = PX_REACH_V_UNKNOWN;
    for (size_t i = 0; i < r->count; i++) {
        const struct px_reach_addr *a = &r->all[i].info;
        if (a->result != PX_REACH_REACHABLE || !is_of(&a->addr, family) ||
            !px_reach_is_global(&a->addr))
            continue;
        if (is_own_ip(r, &a->addr))
            return PX_REACH_V_PUBLIC;
        v = PX_REACH_V_MAPPED;
    }
    return v;
}

/* By how relays see us, when nothing was reached. */
static enum px_reach_verdict by_observed(const struct px_reach *r, enum px_addr_family family)
{
    enum px_reach_verdict v = PX_REACH_V_UNKNOWN;
    for (size_t i = 0; i < r->relay_count; i++) {
        const struct px_addr *seen = &r->relays[i].observed;
        if (!px_reach_is_udp(&r->relays[i]) || !is_of(seen, family))
            continue;
        if (!px_reach_is_global(seen))
            v = v == PX_REACH_V_UNKNOWN ? PX_REACH_V_LOCAL : v;
        else if (px_reach_result(r, seen) == PX_REACH_UNREACHABLE)
            v = is_own_ip(r, seen)           ? PX_REACH_V_FIREWALLED
                : v == PX_REACH_V_FIREWALLED ? v
                                             : PX_REACH_V_NAT;
    }
    return v;
}

enum px_reach_verdict px_reach_verdict(const struct px_reach *r, enum px_addr_family family)
{
    size_t udp = 0;
    for (size_t i = 0; i < r->relay_count; i++)
        udp += px_reach_is_udp(&r->relays[i]);
    if (r->relay_count == 0)
        return PX_REACH_V_UNKNOWN;
    if (udp == 0) {
        for (size_t i = 0; i < r->relay_count; i++)
            if (!px_addr_is_pipe(&r->relays[i].remote))
                return PX_REACH_V_UNKNOWN; /* it has not said yet what it sees */
        return family == PX_ADDR_NONE ? PX_REACH_V_BLOCKED : PX_REACH_V_UNKNOWN;
    }
    enum px_reach_verdict v = best_reached(r, family);
    return v != PX_REACH_V_UNKNOWN ? v : by_observed(r, family);
}

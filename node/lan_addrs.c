/* Implements the choice of lan_addrs.h. */
#include "node/lan_addrs.h"

static bool listens_on(const struct px_addr *local, const struct px_addr *a, bool loopback)
{
    if (!px_addr_is_wildcard(local))
        return px_addr_same_ip(local, a) && (local->scope == 0 || local->scope == a->scope);
    if (a->family == PX_ADDR_IP4)
        return true; /* the IPv6 wildcard takes both */
    return local->family == PX_ADDR_IP6 && (loopback || px_addr_is_link_local(a));
}

static bool interface_fits(const struct px_net_addr *a, bool loopback)
{
    if (loopback)
        return a->loopback;
    return !a->loopback && a->multicast && a->running && !a->point_to_point;
}

static bool interface_has_room(const struct px_lan_addrs *picked, unsigned ifindex)
{
    unsigned seen[PX_LAN_INTERFACES_MAX];
    size_t n = 0;
    for (size_t i = 0; i < picked->count; i++) {
        if (picked->all[i].ifindex == ifindex)
            return true;
        size_t k = 0;
        while (k < n && seen[k] != picked->all[i].ifindex)
            k++;
        if (k == n)
            seen[n++] = picked->all[i].ifindex;
    }
    return n < PX_LAN_INTERFACES_MAX;
}

void px_lan_addrs_pick(const struct px_net_addr *addrs, size_t count, const struct px_addr *local,
                       bool loopback, struct px_lan_addrs *ret)
{
    ret->count = 0;
    for (size_t i = 0; i < count && ret->count < PX_LAN_ADDRS_MAX; i++) {
        const struct px_net_addr *a = &addrs[i];
        if (!interface_fits(a, loopback) || !listens_on(local, &a->addr, loopback) ||
            !interface_has_room(ret, a->ifindex))
            continue;
        ret->all[ret->count].addr = a->addr;
        ret->all[ret->count].ifindex = a->ifindex;
        ret->count++;
    }
}

/* See pairing_addrs.h. */
#include "node/pairing_addrs.h"

#include <stdio.h>

enum { IP4_MAX = 2, IP6_MAX = 1 };

/* Networks that exist on this machine alone. */
static bool is_internal(const char *ifname)
{
    static const char *const prefixes[] = {"docker", "br-",    "veth", "virbr",   "vnet",
                                           "cni",    "podman", "lxc",  "flannel", "cali"};
    for (size_t i = 0; i < PX_ARRAY_LEN(prefixes); i++)
        if (strncmp(ifname, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

/* Lower is better; -1: of no use elsewhere. */
static int rank(const struct px_net_addr *n)
{
    if (n->loopback || px_addr_is_loopback(&n->addr) || px_addr_is_link_local(&n->addr))
        return -1;
    int family = n->addr.family == PX_ADDR_IP4 ? 0 : (n->addr.ip[0] & 0xe0) == 0x20 ? 1 : 2;
    return (n->running ? 0 : 20) + (is_internal(n->ifname) ? 10 : 0) + family;
}

static void put(char *ret, struct px_addr a, uint16_t port)
{
    char text[PX_ADDR_TEXT_MAX];
    a.port = port;
    a.scope = 0;
    snprintf(ret, PX_INVITE_ADDR_MAX, "%s", px_addr_format(&a, text));
}

static size_t pick(const struct px_addr *listen, const struct px_net_addr *nets, size_t net_count,
                   char ret[PX_INVITE_ADDRS_MAX][PX_INVITE_ADDR_MAX])
{
    size_t count = 0, ip4 = 0, ip6 = 0;
    for (int wanted = 0; wanted < 40; wanted++) {
        for (size_t i = 0; i < net_count && count < PX_INVITE_ADDRS_MAX; i++) {
            bool four = nets[i].addr.family == PX_ADDR_IP4;
            /* a local IPv6 address beside an IPv4 one only makes codes longer */
            if (rank(&nets[i]) != wanted || (!four && ip4 > 0 && wanted % 10 == 2) ||
                (listen->family == PX_ADDR_IP4 && !four) ||
                (four ? ip4 == IP4_MAX : ip6 == IP6_MAX))
                continue;
            put(ret[count++], nets[i].addr, listen->port);
            ip4 += four;
            ip6 += !four;
        }
        /* what is down or internal is for those who have nothing else */
        if (count > 0 && wanted % 10 == 9)
            break;
    }
    return count;
}

size_t px_pairing_addrs(const struct px_addr *listen, const struct px_net_addr *nets,
                        size_t net_count, char ret[PX_INVITE_ADDRS_MAX][PX_INVITE_ADDR_MAX])
{
    static const struct px_addr loopback = {.ip = {127, 0, 0, 1}, .family = PX_ADDR_IP4};
    if (!px_addr_is_wildcard(listen)) {
        put(ret[0], *listen, listen->port);
        return 1;
    }
    size_t count = pick(listen, nets, net_count, ret);
    if (count > 0)
        return count;
    put(ret[0], loopback, listen->port);
    return 1;
}

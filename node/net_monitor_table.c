/* The messages of rtnetlink(7), read by copying, never by overlay: lengths in them are checked like
 * a peer's although they come from the kernel. Notifications repeat what is known (lifetimes,
 * statistics): only differences count as changes. */
#include "node/net_monitor_table.h"

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "proto/base/reader.h"

struct net_link {
    unsigned index;
    unsigned flags; /* IFF_, those of LINK_FLAGS */
    uint32_t generation;
    char name[16];
};
#define LINK_FLAGS (IFF_UP | IFF_RUNNING | IFF_LOOPBACK | IFF_MULTICAST | IFF_POINTOPOINT)

struct net_entry {
    struct px_addr addr;
    unsigned ifindex;
    uint32_t generation;
    uint8_t prefix;
};

struct net_route {
    uint8_t family;
    uint8_t gateway[16];
    uint32_t oif, priority, table;
    uint32_t generation;
};

struct px_net_table {
    struct net_link links[PX_NET_LINKS_MAX];
    struct net_entry entries[PX_NET_ADDRS_MAX];
    struct net_route routes[PX_NET_ROUTES_MAX];
    size_t link_count, entry_count, route_count;
    struct px_net_addr view[PX_NET_ADDRS_MAX]; /* entries of links that are up */
    size_t view_count;
    uint32_t generation; /* of the latest dump */
};

int px_net_table_new(struct px_net_table **ret)
{
    struct px_net_table *t = calloc(1, sizeof(*t));
    if (t == NULL)
        return PX_ENOMEM;
    *ret = t;
    return 0;
}

void px_net_table_free(struct px_net_table *t)
{
    free(t);
}

/* ---- what is known ---- */

static struct net_link *find_link(struct px_net_table *t, unsigned index)
{
    for (size_t i = 0; i < t->link_count; i++)
        if (t->links[i].index == index)
            return &t->links[i];
    return NULL;
}

static void remove_at(void *array, size_t *count, size_t at, size_t size)
{
    uint8_t *bytes = array;
    memmove(bytes + at * size, bytes + (at + 1) * size, (*count - at - 1) * size);
    --*count;
}

/* The kernel does not tell of the IPv4 routes that end with their link. */
static unsigned drop_routes_of(struct px_net_table *t, unsigned index)
{
    unsigned saw = 0;
    for (size_t i = t->route_count; i-- > 0;) {
        if (t->routes[i].oif != index || t->routes[i].family != AF_INET)
            continue;
        remove_at(t->routes, &t->route_count, i, sizeof(t->routes[0]));
        saw = PX_NET_SAW_ROUTES;
    }
    return saw;
}

static unsigned put_link(struct px_net_table *t, const struct net_link *l)
{
    unsigned saw = 0;
    struct net_link *known = find_link(t, l->index);
    if (known == NULL && t->link_count == PX_NET_LINKS_MAX)
        return PX_NET_SAW_LIMIT;
    if (known == NULL)
        *(known = &t->links[t->link_count++]) = (struct net_link){0};
    if (known->flags != l->flags || memcmp(known->name, l->name, sizeof(l->name)) != 0)
        saw |= PX_NET_SAW_ADDRS;
    if ((l->flags & IFF_UP) == 0)
        saw |= drop_routes_of(t, l->index);
    *known = *l;
    return saw;
}

static unsigned remove_link(struct px_net_table *t, unsigned index)
{
    struct net_link *l = find_link(t, index);
    if (l == NULL)
        return 0;
    remove_at(t->links, &t->link_count, (size_t)(l - t->links), sizeof(*l));
    for (size_t i = t->entry_count; i-- > 0;)
        if (t->entries[i].ifindex == index)
            remove_at(t->entries, &t->entry_count, i, sizeof(t->entries[0]));
    return PX_NET_SAW_ADDRS | drop_routes_of(t, index);
}

static unsigned put_entry(struct px_net_table *t, const struct net_entry *e, bool there)
{
    size_t i = 0;
    while (i < t->entry_count &&
           (t->entries[i].ifindex != e->ifindex || t->entries[i].prefix != e->prefix ||
            !px_addr_eq(&t->entries[i].addr, &e->addr)))
        i++;
    if (i < t->entry_count && there) {
        t->entries[i].generation = e->generation;
        return 0;
    }
    if (i < t->entry_count) {
        remove_at(t->entries, &t->entry_count, i, sizeof(t->entries[0]));
        return PX_NET_SAW_ADDRS;
    }
    if (!there)
        return 0;
    if (t->entry_count == PX_NET_ADDRS_MAX)
        return PX_NET_SAW_LIMIT;
    t->entries[t->entry_count++] = *e;
    return PX_NET_SAW_ADDRS;
}

static bool same_route(const struct net_route *a, const struct net_route *b)
{
    return a->family == b->family && a->oif == b->oif && a->priority == b->priority &&
           a->table == b->table && memcmp(a->gateway, b->gateway, sizeof(a->gateway)) == 0;
}

static unsigned put_route(struct px_net_table *t, const struct net_route *r, bool there)
{
    size_t i = 0;
    while (i < t->route_count && !same_route(&t->routes[i], r))
        i++;
    if (i < t->route_count && there) {
        t->routes[i].generation = r->generation;
        return 0;
    }
    if (i < t->route_count) {
        remove_at(t->routes, &t->route_count, i, sizeof(t->routes[0]));
        return PX_NET_SAW_ROUTES;
    }
    if (!there || t->route_count == PX_NET_ROUTES_MAX)
        return 0;
    t->routes[t->route_count++] = *r;
    return PX_NET_SAW_ROUTES;
}

static void fill_view(struct px_net_table *t)
{
    t->view_count = 0;
    for (size_t i = 0; i < t->entry_count; i++) {
        const struct net_entry *e = &t->entries[i];
        const struct net_link *l = find_link(t, e->ifindex);
        if (l == NULL || (l->flags & IFF_UP) == 0)
            continue;
        struct px_net_addr *a = &t->view[t->view_count++];
        *a = (struct px_net_addr){
            .addr = e->addr,
            .ifindex = e->ifindex,
            .prefix = e->prefix,
            .loopback = (l->flags & IFF_LOOPBACK) != 0,
            .multicast = (l->flags & IFF_MULTICAST) != 0,
            .running = (l->flags & IFF_RUNNING) != 0,
            .point_to_point = (l->flags & IFF_POINTOPOINT) != 0,
        };
        memcpy(a->ifname, l->name, sizeof(a->ifname));
    }
}

/* ---- messages ---- */

static void skip_padding(struct px_reader *r, size_t len)
{
    r->rest = px_slice_skip(r->rest, NLMSG_ALIGN(len) - len);
}

static bool next_message(struct px_reader *r, struct nlmsghdr *ret, struct px_slice *ret_body)
{
    if (px_reader_copy(r, ret, sizeof(*ret)) != 0 || ret->nlmsg_len < sizeof(*ret) ||
        px_reader_take(r, ret->nlmsg_len - sizeof(*ret), ret_body) != 0)
        return false;
    skip_padding(r, ret->nlmsg_len);
    return true;
}

static bool next_attribute(struct px_reader *r, uint16_t *ret_type, struct px_slice *ret_value)
{
    struct rtattr a;
    if (px_reader_copy(r, &a, sizeof(a)) != 0 || a.rta_len < sizeof(a) ||
        px_reader_take(r, a.rta_len - sizeof(a), ret_value) != 0)
        return false;
    *ret_type = a.rta_type & (uint16_t)NLA_TYPE_MASK;
    skip_padding(r, a.rta_len);
    return true;
}

static void copy_u32(struct px_slice value, uint32_t *ret)
{
    struct px_reader r = px_reader(value);
    uint32_t v;
    if (px_reader_copy(&r, &v, sizeof(v)) == 0)
        *ret = v;
}

static unsigned read_link(struct px_net_table *t, struct px_slice body, bool there)
{
    struct px_reader r = px_reader(body);
    struct ifinfomsg info;
    uint16_t type;
    struct px_slice value;
    /* A bridge tells of its ports under its own family: a port that leaves it is still a link. */
    if (px_reader_copy(&r, &info, sizeof(info)) != 0 || info.ifi_family != AF_UNSPEC ||
        info.ifi_index <= 0)
        return 0;
    if (!there)
        return remove_link(t, (unsigned)info.ifi_index);
    struct net_link l = {.index = (unsigned)info.ifi_index,
                         .flags = info.ifi_flags & LINK_FLAGS,
                         .generation = t->generation};
    while (next_attribute(&r, &type, &value))
        if (type == IFLA_IFNAME && value.len > 0)
            memcpy(l.name, value.data, PX_MIN(value.len, sizeof(l.name) - 1));
    return put_link(t, &l);
}

/* The address itself; on a point-to-point link IFA_ADDRESS is the other end's. */
static void read_address_attributes(struct px_reader *r, size_t ip_len, struct px_addr *addr,
                                    uint32_t *flags)
{
    uint16_t type;
    struct px_slice value;
    bool local = false;
    while (next_attribute(r, &type, &value)) {
        if (type == IFA_FLAGS)
            copy_u32(value, flags);
        if (value.len != ip_len || (type != IFA_LOCAL && (type != IFA_ADDRESS || local)))
            continue;
        memcpy(addr->ip, value.data, ip_len);
        local = type == IFA_LOCAL;
        addr->family = ip_len == 4 ? PX_ADDR_IP4 : PX_ADDR_IP6;
    }
}

static unsigned read_address(struct px_net_table *t, struct px_slice body, bool there)
{
    struct px_reader r = px_reader(body);
    struct ifaddrmsg info;
    if (px_reader_copy(&r, &info, sizeof(info)) != 0 ||
        (info.ifa_family != AF_INET && info.ifa_family != AF_INET6))
        return 0;
    size_t ip_len = info.ifa_family == AF_INET ? 4 : 16;
    uint32_t flags = info.ifa_flags;
    struct net_entry e;
    memset(&e, 0, sizeof(e));
    e.ifindex = info.ifa_index;
    e.generation = t->generation;
    e.prefix = info.ifa_prefixlen;
    read_address_attributes(&r, ip_len, &e.addr, &flags);
    if (e.addr.family == PX_ADDR_NONE || e.prefix > ip_len * 8)
        return 0;
    if (e.addr.family == PX_ADDR_IP6 && px_addr_is_link_local(&e.addr))
        e.addr.scope = e.ifindex;
    /* Nothing can be sent from an address until it is known to be nobody else's. */
    bool usable = (flags & IFA_F_DADFAILED) == 0 &&
                  ((flags & IFA_F_TENTATIVE) == 0 || (flags & IFA_F_OPTIMISTIC) != 0);
    return put_entry(t, &e, there && usable);
}

static unsigned read_route(struct px_net_table *t, struct px_slice body, bool there)
{
    struct px_reader r = px_reader(body);
    struct rtmsg info;
    uint16_t type;
    struct px_slice value;
    if (px_reader_copy(&r, &info, sizeof(info)) != 0 || info.rtm_dst_len != 0 ||
        (info.rtm_flags & RTM_F_CLONED) != 0 || info.rtm_type != RTN_UNICAST ||
        (info.rtm_family != AF_INET && info.rtm_family != AF_INET6))
        return 0;
    struct net_route route = {
        .family = info.rtm_family, .table = info.rtm_table, .generation = t->generation};
    while (next_attribute(&r, &type, &value)) {
        if (type == RTA_OIF)
            copy_u32(value, &route.oif);
        else if (type == RTA_PRIORITY)
            copy_u32(value, &route.priority);
        else if (type == RTA_TABLE)
            copy_u32(value, &route.table);
        else if (type == RTA_GATEWAY)
            memcpy(route.gateway, value.data, PX_MIN(value.len, sizeof(route.gateway)));
    }
    return put_route(t, &route, there);
}

static unsigned read_message(struct px_net_table *t, uint32_t seq, const struct nlmsghdr *h,
                             struct px_slice body)
{
    unsigned again = (h->nlmsg_flags & NLM_F_DUMP_INTR) != 0 ? PX_NET_SAW_AGAIN : 0;
    switch (h->nlmsg_type) {
    case NLMSG_DONE:
        return h->nlmsg_seq == seq ? PX_NET_SAW_DONE | again : 0;
    case NLMSG_ERROR: /* nothing we send asks for an acknowledgement */
        return h->nlmsg_seq == seq ? PX_NET_SAW_REFUSE : 0;
    case RTM_NEWLINK:
    case RTM_DELLINK:
        return again | read_link(t, body, h->nlmsg_type == RTM_NEWLINK);
    case RTM_NEWADDR:
    case RTM_DELADDR:
        return again | read_address(t, body, h->nlmsg_type == RTM_NEWADDR);
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
        return again | read_route(t, body, h->nlmsg_type == RTM_NEWROUTE);
    default: /* the kernel's numbers, not an enum of ours */
        return 0;
    }
}

unsigned px_net_table_input(struct px_net_table *t, uint32_t seq, struct px_slice datagram)
{
    struct px_reader r = px_reader(datagram);
    struct nlmsghdr h;
    struct px_slice body;
    unsigned saw = 0;
    while (next_message(&r, &h, &body))
        saw |= read_message(t, seq, &h, body);
    if ((saw & PX_NET_SAW_ADDRS) != 0)
        fill_view(t);
    return saw;
}

void px_net_table_dump_begin(struct px_net_table *t)
{
    t->generation++;
}

unsigned px_net_table_dump_end(struct px_net_table *t)
{
    unsigned saw = 0;
    for (size_t i = t->link_count; i-- > 0;)
        if (t->links[i].generation != t->generation)
            saw |= remove_link(t, t->links[i].index);
    for (size_t i = t->entry_count; i-- > 0;) {
        if (t->entries[i].generation == t->generation)
            continue;
        remove_at(t->entries, &t->entry_count, i, sizeof(t->entries[0]));
        saw |= PX_NET_SAW_ADDRS;
    }
    for (size_t i = t->route_count; i-- > 0;) {
        if (t->routes[i].generation == t->generation)
            continue;
        remove_at(t->routes, &t->route_count, i, sizeof(t->routes[0]));
        saw |= PX_NET_SAW_ROUTES;
    }
    if ((saw & PX_NET_SAW_ADDRS) != 0)
        fill_view(t);
    return saw;
}

/* ---- questions ---- */

const struct px_net_addr *px_net_table_addrs(const struct px_net_table *t, size_t *ret_count)
{
    *ret_count = t->view_count;
    return t->view;
}

static bool covers(const struct px_net_addr *net, const struct px_addr *a)
{
    size_t whole = net->prefix / 8u, bits = net->prefix % 8u;
    if (net->addr.family != a->family || net->prefix == 0 ||
        memcmp(net->addr.ip, a->ip, whole) != 0)
        return false;
    return bits == 0 || ((net->addr.ip[whole] ^ a->ip[whole]) >> (8 - bits)) == 0;
}

bool px_net_table_on_link(const struct px_net_table *t, const struct px_addr *a)
{
    if (px_addr_is_loopback(a) || px_addr_is_link_local(a))
        return true;
    /* What goes into a tunnel leaves the link underneath it. */
    for (size_t i = 0; i < t->view_count; i++)
        if (!t->view[i].point_to_point && covers(&t->view[i], a))
            return true;
    return false;
}

bool px_net_sleep_check(struct px_net_sleep *s, px_nsec boottime, px_nsec monotonic)
{
    px_nsec slept = boottime > monotonic ? boottime - monotonic : 0;
    bool resumed = s->known && slept > s->slept && slept - s->slept >= PX_NET_SLEEP_MIN;
    if (resumed || !s->known)
        s->slept = slept;
    s->known = true;
    return resumed;
}

/* The shell around lan_announce: one multicast socket for each family, group memberships that
 * follow the network monitor, and a pause in reading when more comes in than will be looked at. */
#include "node/lan_io.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

#include "node/lan_addrs.h"
#include "node/lan_announce.h"
#include "transport/sockaddr.h"

#define DATAGRAMS_A_TURN 64 /* then others get their turn */
#define FAMILIES         2

static const uint8_t group4[4] = {239, 255, 48, 17};
static const uint8_t group6[16] = {0xff, 0x12, [12] = 0x70, 0x65, 0x65, 0x72};

struct lan_socket {
    int fd; /* -1: the machine does not have the family */
    uv_poll_t poll;
    unsigned joined[PX_LAN_INTERFACES_MAX];
    size_t joined_count;
    struct px_addr group;
};

struct lan_io {
    struct px_discovery base;
    struct px_discovery_env env;
    struct px_lan_io_config config;
    struct px_lan_announce *core;
    struct lan_socket sockets[FAMILIES]; /* IPv4, IPv6 */
    struct px_lan_addrs addrs;
    uv_timer_t timer;       /* the core's deadline */
    uv_timer_t deaf;        /* ends a pause in reading */
    uint64_t off_link;      /* datagrams dropped: not from this link, or not to the group */
    uint64_t send_failures; /* datagrams the system did not take */
    int open_handles;
    bool closing;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

static void arm(struct lan_io *l);
static void listen_on(struct lan_io *l);

static px_nsec now(void)
{
    return uv_hrtime(); /* the clock of libuv's timers; waking up is told by the monitor */
}

/* ---- memberships ---- */

static bool change_membership(const struct lan_socket *s, unsigned ifindex, bool join)
{
    if (s->group.family == PX_ADDR_IP4) {
        struct ip_mreqn m = {.imr_ifindex = (int)ifindex};
        memcpy(&m.imr_multiaddr, group4, sizeof(group4));
        return setsockopt(s->fd, IPPROTO_IP, join ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP, &m,
                          sizeof(m)) == 0 ||
               errno == EADDRINUSE;
    }
    struct ipv6_mreq m = {.ipv6mr_interface = ifindex};
    memcpy(&m.ipv6mr_multiaddr, group6, sizeof(group6));
    return setsockopt(s->fd, IPPROTO_IPV6, join ? IPV6_JOIN_GROUP : IPV6_LEAVE_GROUP, &m,
                      sizeof(m)) == 0 ||
           errno == EADDRINUSE;
}

static bool has_joined(const struct lan_socket *s, unsigned ifindex)
{
    for (size_t i = 0; i < s->joined_count; i++)
        if (s->joined[i] == ifindex)
            return true;
    return false;
}

static bool wants(const struct lan_io *l, const struct lan_socket *s, unsigned ifindex)
{
    for (size_t i = 0; i < l->addrs.count; i++)
        if (l->addrs.all[i].ifindex == ifindex && l->addrs.all[i].addr.family == s->group.family)
            return true;
    return false;
}

static void follow_interfaces(struct lan_io *l, struct lan_socket *s)
{
    if (s->fd < 0)
        return;
    for (size_t i = s->joined_count; i-- > 0;) {
        if (wants(l, s, s->joined[i]))
            continue;
        (void)change_membership(s, s->joined[i], false); /* an interface that is gone took it */
        s->joined[i] = s->joined[--s->joined_count];
    }
    for (size_t i = 0; i < l->addrs.count; i++) {
        unsigned ifindex = l->addrs.all[i].ifindex;
        if (l->addrs.all[i].addr.family != s->group.family || has_joined(s, ifindex))
            continue;
        if (change_membership(s, ifindex, true))
            s->joined[s->joined_count++] = ifindex;
        else
            px_log_event(l->env.log, PX_LOG_WARN, "lan.not_joined", PX_F_U64("ifindex", ifindex),
                         PX_F_ERR(px_err_from_errno(errno)));
    }
}

static void look_at_addresses(struct lan_io *l)
{
    size_t n;
    const struct px_net_addr *all = px_net_monitor_addrs(l->env.monitor, &n);
    px_lan_addrs_pick(all, n, &l->env.local, l->config.loopback, &l->addrs);
    for (size_t i = 0; i < FAMILIES; i++)
        follow_interfaces(l, &l->sockets[i]);
}

/* ---- sending ---- */

union pktinfo {
    struct in_pktinfo in;
    struct in6_pktinfo in6;
};

static void put_source(struct msghdr *h, const struct px_addr *source, unsigned ifindex)
{
    union pktinfo info;
    struct cmsghdr *c = CMSG_FIRSTHDR(h);
    size_t len;
    memset(&info, 0, sizeof(info));
    if (source->family == PX_ADDR_IP4) {
        info.in.ipi_ifindex = (int)ifindex;
        memcpy(&info.in.ipi_spec_dst, source->ip, 4);
        len = sizeof(info.in);
        c->cmsg_level = IPPROTO_IP;
        c->cmsg_type = IP_PKTINFO;
    } else {
        info.in6.ipi6_ifindex = ifindex;
        memcpy(&info.in6.ipi6_addr, source->ip, 16);
        len = sizeof(info.in6);
        c->cmsg_level = IPPROTO_IPV6;
        c->cmsg_type = IPV6_PKTINFO;
    }
    c->cmsg_len = CMSG_LEN(len);
    h->msg_controllen = CMSG_SPACE(len);
    memcpy(CMSG_DATA(c), &info, len);
}

static void send_from(struct lan_io *l, const struct lan_socket *s, const struct px_addr *source,
                      unsigned ifindex, uint8_t *packet, size_t len)
{
    union px_sockaddr to;
    struct px_addr group = s->group;
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(union pktinfo))] = {0};
    struct iovec iov = {packet, len};
    struct msghdr h = {.msg_name = &to,
                       .msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = sizeof(control)};
    if (group.family == PX_ADDR_IP6)
        group.scope = ifindex;
    h.msg_namelen = px_sockaddr_from_addr(&group, &to);
    put_source(&h, source, ifindex);
    if (sendmsg(s->fd, &h, MSG_DONTWAIT) < 0)
        l->send_failures++; /* an interface that just went away, or a firewall; it is said again */
}

static void on_send(void *ctx, enum px_lan_kind kind)
{
    struct lan_io *l = ctx;
    uint8_t packet[PX_LAN_PACKET_MAX];
    size_t packets = px_lan_announce_packets(l->core);
    for (size_t i = 0; i < l->addrs.count; i++) {
        const struct px_addr *source = &l->addrs.all[i].addr;
        const struct lan_socket *s = &l->sockets[source->family == PX_ADDR_IP4 ? 0 : 1];
        for (size_t k = 0; k < packets && s->fd >= 0; k++) {
            size_t len = px_lan_announce_write(l->core, k, kind, source, packet);
            send_from(l, s, source, l->addrs.all[i].ifindex, packet, len);
        }
    }
}

static void on_found(void *ctx, const struct px_peer_id *id, const struct px_addr *addr)
{
    struct lan_io *l = ctx;
    if (!l->closing)
        l->env.found(l->env.ctx, id, addr, l->base.source);
}

/* ---- receiving ---- */

static void read_destination(struct msghdr *h, struct px_addr *ret_to, unsigned *ret_ifindex)
{
    union pktinfo info;
    memset(ret_to, 0, sizeof(*ret_to));
    *ret_ifindex = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c != NULL; c = CMSG_NXTHDR(h, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            memcpy(&info.in, CMSG_DATA(c), sizeof(info.in));
            ret_to->family = PX_ADDR_IP4;
            memcpy(ret_to->ip, &info.in.ipi_addr, 4);
            *ret_ifindex = (unsigned)info.in.ipi_ifindex;
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            memcpy(&info.in6, CMSG_DATA(c), sizeof(info.in6));
            ret_to->family = PX_ADDR_IP6;
            memcpy(ret_to->ip, &info.in6.ipi6_addr, 16);
            *ret_ifindex = info.in6.ipi6_ifindex;
        }
    }
}

/* False when there is nothing more for now. */
static bool receive(struct lan_io *l, const struct lan_socket *s)
{
    uint8_t packet[PX_LAN_PACKET_MAX + 1];
    union px_sockaddr from;
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(union pktinfo)) * 2];
    struct iovec iov = {packet, sizeof(packet)};
    struct msghdr h = {.msg_name = &from,
                       .msg_namelen = sizeof(from),
                       .msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = sizeof(control)};
    struct px_addr source, to;
    unsigned ifindex;
    ssize_t n = recvmsg(s->fd, &h, MSG_DONTWAIT);
    if (n < 0)
        return false;
    read_destination(&h, &to, &ifindex);
    px_sockaddr_to_addr(&from.sa, &source);
    bool to_group = px_addr_same_ip(&to, &s->group);
    if (!to_group || !has_joined(s, ifindex) || !px_net_monitor_on_link(l->env.monitor, &source)) {
        l->off_link++;
        return true;
    }
    px_lan_announce_input(l->core, px_slice(packet, (size_t)n), &source, now());
    return true;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct lan_io *l = poll->data;
    struct lan_socket *s = PX_CONTAINER_OF(poll, struct lan_socket, poll);
    (void)status, (void)events;
    for (size_t i = 0; i < DATAGRAMS_A_TURN && receive(l, s); i++)
        continue;
    listen_on(l);
    arm(l);
}

static void on_hearing_again(uv_timer_t *t)
{
    listen_on(t->data);
}

/* SPEC lan §3: When the packets of all are used up the socket is not even read */
static void listen_on(struct lan_io *l)
{
    px_nsec at = now(), until = px_lan_announce_deaf_until(l->core, at);
    for (size_t i = 0; i < FAMILIES && !l->closing; i++) {
        if (l->sockets[i].fd < 0)
            continue;
        if (until > at)
            (void)uv_poll_stop(&l->sockets[i].poll);
        else
            (void)uv_poll_start(&l->sockets[i].poll, UV_READABLE, on_readable);
    }
    if (until > at && !l->closing)
        (void)uv_timer_start(&l->deaf, on_hearing_again, (until - at) / PX_MSEC + 1, 0);
}

/* ---- time ---- */

static void on_due(uv_timer_t *t)
{
    struct lan_io *l = t->data;
    px_lan_announce_run(l->core, now());
    arm(l);
}

static void arm(struct lan_io *l)
{
    px_nsec at = px_lan_announce_deadline(l->core), t = now();
    if (l->closing)
        return;
    if (at == PX_NEVER)
        (void)uv_timer_stop(&l->timer);
    else
        (void)uv_timer_start(&l->timer, on_due, at > t ? (at - t) / PX_MSEC + 1 : 0, 0);
}

/* ---- the interface ---- */

static void keys_changed(struct px_discovery *d)
{
    struct lan_io *l = PX_CONTAINER_OF(d, struct lan_io, base);
    int err = px_lan_announce_set_peers(l->core, l->env.keys(l->env.ctx), now());
    if (err != 0)
        px_log_event(l->env.log, PX_LOG_WARN, "lan.stale_list", PX_F_ERR(err));
    arm(l);
}

static void refresh(struct px_discovery *d)
{
    struct lan_io *l = PX_CONTAINER_OF(d, struct lan_io, base);
    look_at_addresses(l);
    px_lan_announce_refresh(l->core, now());
    arm(l);
}

static void stats(const struct px_discovery *d,
                  void (*each)(void *ctx, const char *name, uint64_t value), void *ctx)
{
    const struct lan_io *l = (const struct lan_io *)d; /* embedded first */
    px_lan_announce_each_stat(l->core, each, ctx);
    each(ctx, "addresses", l->addrs.count);
    each(ctx, "off_link", l->off_link);
    each(ctx, "send_failures", l->send_failures);
}

static void destroy(struct lan_io *l)
{
    for (size_t i = 0; i < FAMILIES; i++)
        if (l->sockets[i].fd >= 0)
            close(l->sockets[i].fd);
    px_lan_announce_free(l->core);
    if (l->closed != NULL)
        l->closed(l->closed_ctx);
    free(l);
}

static void on_handle_closed(uv_handle_t *h)
{
    struct lan_io *l = h->data;
    if (--l->open_handles == 0)
        destroy(l);
}

static void close_now(struct px_discovery *d, void (*closed)(void *ctx), void *ctx)
{
    struct lan_io *l = PX_CONTAINER_OF(d, struct lan_io, base);
    l->closing = true;
    l->closed = closed;
    l->closed_ctx = ctx;
    uv_close((uv_handle_t *)&l->timer, on_handle_closed);
    uv_close((uv_handle_t *)&l->deaf, on_handle_closed);
    for (size_t i = 0; i < FAMILIES; i++)
        if (l->sockets[i].fd >= 0)
            uv_close((uv_handle_t *)&l->sockets[i].poll, on_handle_closed);
}

/* ---- set-up ---- */

static bool set_int(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value)) == 0;
}

/* Several nodes of one machine share the port, whoever they belong to: hence REUSEADDR alone. */
static bool set_options4(int fd)
{
    return set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1) && set_int(fd, IPPROTO_IP, IP_PKTINFO, 1) &&
           set_int(fd, IPPROTO_IP, IP_MULTICAST_TTL, 1) &&
           set_int(fd, IPPROTO_IP, IP_MULTICAST_LOOP, 1) &&
           set_int(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0);
}

static bool set_options6(int fd)
{
    return set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1) && set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) &&
           set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) &&
           set_int(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 1) &&
           set_int(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 1);
}

/* Bound to the group where that needs no scope: what is sent to the machine itself stays out. */
static int open_socket(struct lan_io *l, struct lan_socket *s, int family)
{
    union px_sockaddr sa;
    memset(&s->group, 0, sizeof(s->group));
    s->group.port = l->config.port;
    s->group.family = family == AF_INET ? PX_ADDR_IP4 : PX_ADDR_IP6;
    struct px_addr bound = s->group;
    if (family == AF_INET)
        memcpy(s->group.ip, group4, sizeof(group4));
    else
        memcpy(s->group.ip, group6, sizeof(group6));
    if (family == AF_INET)
        bound = s->group;
    socklen_t len = px_sockaddr_from_addr(&bound, &sa);
    int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno == EAFNOSUPPORT ? PX_EUNSUPPORTED : px_err_from_errno(errno);
    if (!(family == AF_INET ? set_options4(fd) : set_options6(fd)) || bind(fd, &sa.sa, len) < 0) {
        int err = px_err_from_errno(errno);
        close(fd);
        return err;
    }
    if (uv_poll_init(l->env.loop, &s->poll, fd) != 0) {
        close(fd);
        return PX_EIO;
    }
    s->fd = fd;
    s->poll.data = l;
    l->open_handles++;
    return 0;
}

static int open_sockets(struct lan_io *l)
{
    static const int families[FAMILIES] = {AF_INET, AF_INET6};
    int err = 0;
    size_t opened = 0;
    for (size_t i = 0; i < FAMILIES; i++) {
        int e = open_socket(l, &l->sockets[i], families[i]);
        if (e == 0) {
            opened++;
            continue;
        }
        err = e;
        px_log_event(l->env.log, e == PX_EUNSUPPORTED ? PX_LOG_INFO : PX_LOG_WARN, "lan.no_socket",
                     PX_F_STR("family", i == 0 ? "ip4" : "ip6"), PX_F_ERR(e));
    }
    return opened > 0 ? 0 : err;
}

static int new_core(struct lan_io *l)
{
    static const struct px_lan_ops ops = {on_send, on_found};
    struct px_lan_config c = {.identity = l->env.identity,
                              .network = l->env.network,
                              .rng = px_system_rng,
                              .port = l->env.local.port,
                              .ops = &ops,
                              .ctx = l};
    return px_lan_announce_new(&c, now(), &l->core);
}

int px_lan_io_new(const struct px_discovery_env *env, const struct px_lan_io_config *config,
                  struct px_discovery **ret)
{
    static const struct px_discovery_ops ops = {keys_changed, refresh, stats, close_now};
    struct lan_io *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return PX_ENOMEM;
    l->base = (struct px_discovery){&ops, PX_SOURCE_LAN};
    l->env = *env;
    l->config = *config;
    l->sockets[0].fd = l->sockets[1].fd = -1;
    int err = new_core(l);
    if (err == 0)
        err = open_sockets(l);
    if (err != 0) { /* no handle is open */
        px_lan_announce_free(l->core);
        free(l);
        return err;
    }
    px_assert(uv_timer_init(env->loop, &l->timer) == 0); /* cannot fail */
    px_assert(uv_timer_init(env->loop, &l->deaf) == 0);
    l->open_handles += 2;
    l->timer.data = l->deaf.data = l;
    look_at_addresses(l);
    listen_on(l);
    *ret = &l->base;
    keys_changed(&l->base);
    return 0;
}

/* The socket of udp_io.h on Linux: one uv_poll, recvmmsg in, sendmsg out.
 *
 * DF is set on everything (QUIC finds the path MTU itself), ECN is read and written per packet, and
 * the source address of answers is the address that was asked. */
#include "transport/udp_io.h"

#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <unistd.h>

#include "transport/sockaddr.h"

#define RECV_BATCH      16    /* messages a call of recvmmsg takes, */
#define RECV_ROUNDS     4     /* and calls a wake-up: then others get their turn */
#define RECV_BYTES      65536 /* a GRO batch */
#define SEND_BYTES      65507
#define SOCKET_BUFFER   (8 << 20) /* asked for with privileges, */
#define SOCKET_BUFFER_2 (4 << 20) /* and without */
#define ECN_MASK        3

struct recv_slot {
    union px_sockaddr from;
    struct iovec iov;
    /* UDP_GRO, TOS or traffic class, and either packet info */
    _Alignas(struct cmsghdr)
        uint8_t control[CMSG_SPACE(sizeof(int)) * 2 + CMSG_SPACE(sizeof(struct in_pktinfo)) +
                        CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

struct px_udp {
    uv_poll_t poll;
    int fd;
    const struct px_udp_ops *ops;
    void *ctx;
    struct px_addr local;
    bool in6;      /* an AF_INET6 socket, IPv4 peers are mapped */
    bool wildcard; /* bound to any address: source addresses are chosen per packet */
    bool closing;
    bool want_write;
    struct px_udp_stats stats;
    /* Without GSO a batch may stop half way: the rest waits here for a writable socket. */
    uint8_t *rest;
    size_t rest_len, rest_segment;
    unsigned rest_ecn;
    struct px_path rest_path;
    uint8_t *buffers; /* RECV_BATCH of RECV_BYTES */
    struct recv_slot slots[RECV_BATCH];
};

/* --- set-up --- */

static bool set_int(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value)) == 0;
}

static void grow_buffer(int fd, int name, int name_force)
{
    if (!set_int(fd, SOL_SOCKET, name_force, SOCKET_BUFFER))
        (void)set_int(fd, SOL_SOCKET, name, SOCKET_BUFFER_2); /* the kernel clamps it */
}

/* What a kernel refuses here costs comfort, not function. */
static void set_options(struct px_udp *u)
{
    grow_buffer(u->fd, SO_RCVBUF, SO_RCVBUFFORCE);
    grow_buffer(u->fd, SO_SNDBUF, SO_SNDBUFFORCE);
    (void)set_int(u->fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
    (void)set_int(u->fd, IPPROTO_IP, IP_RECVTOS, 1);
    (void)set_int(u->fd, IPPROTO_IP, IP_PKTINFO, 1);
    if (u->in6) {
        (void)set_int(u->fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
        (void)set_int(u->fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
        (void)set_int(u->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    }
    u->stats.gro = set_int(u->fd, SOL_UDP, UDP_GRO, 1);
    u->stats.gso = set_int(u->fd, SOL_UDP, UDP_SEGMENT, 0); /* known at all? */
}

static int open_and_bind(struct px_udp *u, const struct px_addr *addr)
{
    union px_sockaddr sa;
    socklen_t len = px_sockaddr_from_addr(addr, &sa);
    if (len == 0)
        return PX_EADDR;
    u->fd = socket(sa.sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (u->fd < 0)
        return px_err_from_errno(errno);
    u->in6 = addr->family == PX_ADDR_IP6;
    u->wildcard = px_addr_is_wildcard(addr);
    if (u->in6)
        (void)set_int(u->fd, IPPROTO_IPV6, IPV6_V6ONLY, u->wildcard ? 0 : 1);
    if (bind(u->fd, &sa.sa, len) < 0 || getsockname(u->fd, &sa.sa, &len) < 0)
        return px_err_from_errno(errno);
    px_sockaddr_to_addr(&sa.sa, &u->local);
    set_options(u);
    return 0;
}

/* The IPv6 wildcard means "everything there is", also on a kernel without IPv6. */
static int open_any(struct px_udp *u, const struct px_addr *addr)
{
    int err = open_and_bind(u, addr);
    if (err != PX_EADDR || u->fd >= 0 || addr->family != PX_ADDR_IP6 || !px_addr_is_wildcard(addr))
        return err;
    struct px_addr any4 = {.family = PX_ADDR_IP4, .port = addr->port};
    return open_and_bind(u, &any4);
}

static void init_slots(struct px_udp *u)
{
    for (size_t i = 0; i < RECV_BATCH; i++)
        u->slots[i].iov = (struct iovec){u->buffers + i * RECV_BYTES, RECV_BYTES};
}

static void destroy(struct px_udp *u)
{
    if (u->fd >= 0)
        close(u->fd);
    free(u->rest);
    free(u->buffers);
    free(u);
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void watch(struct px_udp *u)
{
    int events = UV_READABLE | (u->want_write ? UV_WRITABLE : 0);
    if (!u->closing)
        (void)uv_poll_start(&u->poll, events, on_poll); /* cannot fail once started */
}

int px_udp_new(uv_loop_t *loop, const struct px_addr *bind_to, const struct px_udp_ops *ops,
               void *ctx, struct px_udp **ret)
{
    struct px_udp *u = calloc(1, sizeof(*u));
    if (u == NULL)
        return PX_ENOMEM;
    u->fd = -1;
    u->ops = ops;
    u->ctx = ctx;
    int err = open_any(u, bind_to);
    u->buffers = malloc((size_t)RECV_BATCH * RECV_BYTES); /* pages are touched by traffic alone */
    if (err == 0 && u->buffers == NULL)
        err = PX_ENOMEM;
    if (err == 0 && uv_poll_init(loop, &u->poll, u->fd) != 0)
        err = PX_EIO;
    if (err < 0) {
        destroy(u);
        return err;
    }
    u->poll.data = u;
    init_slots(u);
    watch(u);
    *ret = u;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    destroy(handle->data);
}

void px_udp_close(struct px_udp *u)
{
    if (u == NULL || u->closing)
        return;
    u->closing = true;
    uv_close((uv_handle_t *)&u->poll, on_closed);
}

const struct px_addr *px_udp_local(const struct px_udp *u)
{
    return &u->local;
}

void px_udp_stats(const struct px_udp *u, struct px_udp_stats *ret)
{
    *ret = u->stats;
}

void px_udp_disable_offload(struct px_udp *u, bool gso, bool gro)
{
    if (gso)
        u->stats.gso = false;
    if (gro && set_int(u->fd, SOL_UDP, UDP_GRO, 0))
        u->stats.gro = false;
}

/* --- receiving --- */

struct meta {
    size_t segment; /* 0: a single datagram */
    unsigned ecn;
    struct px_addr local;
};

static int cmsg_int(const struct cmsghdr *c)
{
    int v = 0;
    /* TOS comes as one byte, the others as int. */
    if (c->cmsg_len < CMSG_LEN(sizeof(v)))
        return *CMSG_DATA(c);
    memcpy(&v, CMSG_DATA(c), sizeof(v));
    return v;
}

static void read_pktinfo(const struct cmsghdr *c, struct meta *m)
{
    union px_sockaddr sa;
    memset(&sa, 0, sizeof(sa));
    uint16_t port = m->local.port;
    if (c->cmsg_level == IPPROTO_IP) {
        struct in_pktinfo info;
        memcpy(&info, CMSG_DATA(c), sizeof(info));
        sa.in.sin_family = AF_INET;
        sa.in.sin_addr = info.ipi_addr;
    } else {
        struct in6_pktinfo info;
        memcpy(&info, CMSG_DATA(c), sizeof(info));
        sa.in6.sin6_family = AF_INET6;
        sa.in6.sin6_addr = info.ipi6_addr;
        sa.in6.sin6_scope_id = info.ipi6_ifindex;
    }
    px_sockaddr_to_addr(&sa.sa, &m->local);
    m->local.port = port;
}

static void read_meta(const struct px_udp *u, struct msghdr *h, struct meta *m)
{
    *m = (struct meta){.local = u->local};
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c != NULL; c = CMSG_NXTHDR(h, c)) {
        bool ip4 = c->cmsg_level == IPPROTO_IP, ip6 = c->cmsg_level == IPPROTO_IPV6;
        if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO)
            m->segment = (size_t)cmsg_int(c);
        else if ((ip4 && c->cmsg_type == IP_TOS) || (ip6 && c->cmsg_type == IPV6_TCLASS))
            m->ecn = (unsigned)cmsg_int(c) & ECN_MASK;
        else if (u->wildcard &&
                 ((ip4 && c->cmsg_type == IP_PKTINFO) || (ip6 && c->cmsg_type == IPV6_PKTINFO)))
            read_pktinfo(c, m);
    }
}

/* Offers the last `left` bytes of the buffer. */
static size_t take_batch(struct px_udp *u, const struct px_path *path, unsigned ecn,
                         const struct iovec *buffer, size_t whole, size_t left, size_t segment)
{
    if (u->ops->batch == NULL)
        return 0;
    uint8_t *at = (uint8_t *)buffer->iov_base + (whole - left);
    return u->ops->batch(u->ctx, path, ecn, at, left, segment);
}

static void deliver(struct px_udp *u, struct mmsghdr *msg)
{
    struct msghdr *h = &msg->msg_hdr;
    if ((h->msg_flags & MSG_TRUNC) != 0 || msg->msg_len == 0)
        return;
    struct meta m;
    read_meta(u, h, &m);
    struct px_path path = {.local = m.local};
    px_sockaddr_to_addr(h->msg_name, &path.remote);
    struct px_slice data = px_slice(h->msg_iov->iov_base, msg->msg_len);
    size_t segment = m.segment > 0 ? m.segment : data.len;
    u->stats.bytes_received += data.len;
    u->stats.datagrams_received += (data.len + segment - 1) / segment;
    while (data.len > 0 && !u->closing) {
        struct px_slice one = px_slice_take(data, segment);
        size_t taken = take_batch(u, &path, m.ecn, h->msg_iov, msg->msg_len, data.len, segment);
        if (taken == 0)
            u->ops->datagram(u->ctx, &path, m.ecn, one);
        data = px_slice_skip(data, taken > 0 ? taken : one.len);
    }
}

/* False when the socket has no more for now. */
static bool receive(struct px_udp *u)
{
    struct mmsghdr msgs[RECV_BATCH];
    memset(msgs, 0, sizeof(msgs));
    for (size_t i = 0; i < RECV_BATCH; i++) {
        struct recv_slot *s = &u->slots[i];
        msgs[i].msg_hdr = (struct msghdr){.msg_name = &s->from,
                                          .msg_namelen = sizeof(s->from),
                                          .msg_iov = &s->iov,
                                          .msg_iovlen = 1,
                                          .msg_control = s->control,
                                          .msg_controllen = sizeof(s->control)};
    }
    u->stats.receive_calls++;
    int n = recvmmsg(u->fd, msgs, RECV_BATCH, MSG_DONTWAIT, NULL);
    /* Errors are those of earlier packets (ICMP) or EAGAIN; neither needs an answer. */
    for (int i = 0; i < n && !u->closing; i++)
        deliver(u, &msgs[i]);
    if (n > 0 && !u->closing)
        u->ops->batch_end(u->ctx);
    return n == RECV_BATCH;
}

static bool send_rest(struct px_udp *u);

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct px_udp *u = poll->data;
    bool readable = status < 0 || (events & UV_READABLE) != 0;
    if (status <
        0) /* POLLERR: libuv has stopped watching; reading takes the error off the socket */
        watch(u);
    for (int i = 0; i < RECV_ROUNDS && readable && !u->closing; i++)
        readable = receive(u);
    if ((events & UV_WRITABLE) == 0 || u->closing || !u->want_write || !send_rest(u))
        return;
    u->want_write = false;
    watch(u);
    u->ops->writable(u->ctx);
}

/* --- sending --- */

static void put_cmsg(struct msghdr *h, int level, int type, const void *value, size_t len)
{
    struct cmsghdr *c = (struct cmsghdr *)((uint8_t *)h->msg_control + h->msg_controllen);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(c), value, len);
    h->msg_controllen += CMSG_SPACE(len);
}

/* The source address, if the socket leaves it open and the path names one. */
static void put_source(struct msghdr *h, const struct px_udp *u, const struct px_addr *local)
{
    if (!u->wildcard || px_addr_is_wildcard(local))
        return;
    if (local->family == PX_ADDR_IP4) {
        struct in_pktinfo info = {0};
        memcpy(&info.ipi_spec_dst, local->ip, 4);
        put_cmsg(h, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
    } else if (local->family == PX_ADDR_IP6) {
        struct in6_pktinfo info = {.ipi6_ifindex = local->scope};
        memcpy(&info.ipi6_addr, local->ip, 16);
        put_cmsg(h, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
    }
}

static void put_ecn(struct msghdr *h, const struct px_path *path, unsigned ecn)
{
    int tos = (int)(ecn & ECN_MASK);
    if (tos == 0)
        return;
    if (path->remote.family == PX_ADDR_IP4)
        put_cmsg(h, IPPROTO_IP, IP_TOS, &tos, sizeof(tos));
    else
        put_cmsg(h, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
}

/* One system call. `segment` 0: a single datagram. 0 or an errno value. */
static int send_once(struct px_udp *u, const struct px_path *path, unsigned ecn,
                     struct px_slice data, size_t segment)
{
    union px_sockaddr to;
    _Alignas(struct cmsghdr)
        uint8_t control[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int)) +
                        CMSG_SPACE(sizeof(uint16_t))] = {0};
    struct iovec iov = {(void *)(uintptr_t)data.data, data.len};
    struct msghdr h = {.msg_name = &to, .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control};
    h.msg_namelen = u->in6 ? px_sockaddr_mapped_from_addr(&path->remote, &to)
                           : px_sockaddr_from_addr(&path->remote, &to);
    put_source(&h, u, &path->local);
    put_ecn(&h, path, ecn);
    if (segment != 0) {
        uint16_t size = (uint16_t)segment;
        put_cmsg(&h, SOL_UDP, UDP_SEGMENT, &size, sizeof(size));
    }
    if (h.msg_controllen == 0)
        h.msg_control = NULL;
    ssize_t n;
    do {
        u->stats.send_calls++;
        n = sendmsg(u->fd, &h, MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno;
    u->stats.bytes_sent += data.len;
    u->stats.datagrams_sent += segment != 0 ? (data.len + segment - 1) / segment : 1;
    return 0;
}

static bool is_full(int errnum)
{
    return errnum == EAGAIN || errnum == EWOULDBLOCK;
}

/* A datagram larger than the path takes is lost like any other: that is how probes find out. */
static int send_error(int errnum)
{
    return errnum == 0 || errnum == EMSGSIZE ? 0 : px_err_from_errno(errnum);
}

/* Datagram by datagram until the socket is full: *ret_left is what it did not take. */
static int send_each(struct px_udp *u, const struct px_path *path, unsigned ecn,
                     struct px_slice data, size_t segment, struct px_slice *ret_left)
{
    int err = 0;
    while (data.len > 0) {
        struct px_slice one = px_slice_take(data, segment);
        int errnum = send_once(u, path, ecn, one, 0);
        if (is_full(errnum))
            break;
        if (errnum != 0)
            err = send_error(errnum);
        data = px_slice_skip(data, one.len);
    }
    *ret_left = data;
    return err;
}

static void await_writable(struct px_udp *u)
{
    if (u->want_write)
        return;
    u->want_write = true;
    watch(u);
}

/* True when nothing of an earlier batch is left. */
static bool send_rest(struct px_udp *u)
{
    if (u->rest_len == 0)
        return true;
    struct px_slice left;
    (void)send_each(u, &u->rest_path, u->rest_ecn, px_slice(u->rest, u->rest_len), u->rest_segment,
                    &left);
    memmove(u->rest, left.data, left.len);
    u->rest_len = left.len;
    return left.len == 0;
}

static void keep_rest(struct px_udp *u, const struct px_path *path, unsigned ecn,
                      struct px_slice left, size_t segment)
{
    if (u->rest == NULL)
        u->rest = malloc(SEND_BYTES);
    if (u->rest == NULL || left.len > SEND_BYTES)
        return; /* lost on the way */
    memcpy(u->rest, left.data, left.len);
    u->rest_len = left.len;
    u->rest_segment = segment;
    u->rest_ecn = ecn;
    u->rest_path = *path;
}

static int send_without_gso(struct px_udp *u, const struct px_path *path, unsigned ecn,
                            struct px_slice data, size_t segment)
{
    struct px_slice left;
    int err = send_each(u, path, ecn, data, segment, &left);
    if (left.len == 0)
        return err;
    await_writable(u);
    if (left.len == data.len)
        return PX_EAGAIN;
    keep_rest(u, path, ecn, left, segment);
    return 0;
}

int px_udp_send(void *udp, const struct px_path *path, unsigned ecn, struct px_slice data,
                size_t segment)
{
    struct px_udp *u = udp;
    if (u->closing)
        return PX_ECLOSED;
    if (u->rest_len > 0)
        return PX_EAGAIN;
    if (px_addr_is_virtual(&path->remote) || (!u->in6 && path->remote.family != PX_ADDR_IP4))
        return PX_EADDR;
    if (!u->stats.gso && data.len > segment)
        return send_without_gso(u, path, ecn, data, segment);
    int errnum = send_once(u, path, ecn, data, data.len > segment ? segment : 0);
    if (is_full(errnum)) {
        await_writable(u);
        return PX_EAGAIN;
    }
    if (data.len > segment && (errnum == EIO || errnum == EINVAL)) {
        /* EIO: the device cannot checksum segments. EINVAL: this route's MTU is smaller than one,
         * which says nothing of others. */
        if (errnum == EIO)
            u->stats.gso = false;
        return send_without_gso(u, path, ecn, data, segment);
    }
    return send_error(errnum);
}

/* The shell of net_monitor_table: one rtnetlink socket, one timer descriptor on the clock that runs
 * through a suspend (so it is due the moment the machine wakes), one timer that lets bursts settle.
 */
#include "node/net_monitor.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "node/net_monitor_table.h"

#define CLOCK_CHECK_SECONDS 5           /* between two looks at the clocks */
#define DATAGRAM_MAX        (32 * 1024) /* the kernel fills no more than this in one */
#define DATAGRAMS_A_TURN    64          /* then others get their turn */
#define GROUPS                                                                                     \
    (RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE)

/* The kernel does one dump at a time for a socket. */
static const uint16_t dump_steps[] = {RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE};

struct px_net_monitor {
    const struct px_log *log;
    struct px_net_table *table;
    struct px_net_listener *listeners;
    struct px_net_listener *telling; /* who is told next, while listeners are told */
    uv_poll_t poll, clock_poll;
    uv_timer_t settle;
    int open_handles;
    int fd, clock_fd;
    size_t step; /* of the dump under way; past the end: none */
    uint32_t seq;
    bool dump_again; /* after this one */
    bool limit_told;
    bool closing;
    bool changed[PX_NET_RESUME + 1]; /* not told yet */
    struct px_net_sleep sleep;
    struct px_net_clock clock;
};

/* ---- telling ---- */

static void tell(struct px_net_monitor *m, enum px_net_change change)
{
    for (struct px_net_listener *l = m->listeners; l != NULL && !m->closing; l = m->telling) {
        m->telling = l->next;
        l->changed(l->ctx, change);
    }
    m->telling = NULL;
}

static void on_settled(uv_timer_t *t)
{
    struct px_net_monitor *m = t->data;
    for (size_t i = 0; i < PX_ARRAY_LEN(m->changed); i++) {
        if (!m->changed[i] || m->closing)
            continue;
        m->changed[i] = false;
        tell(m, (enum px_net_change)i);
    }
}

static void note_change(struct px_net_monitor *m, enum px_net_change change)
{
    m->changed[change] = true;
    if (!uv_is_active((uv_handle_t *)&m->settle))
        (void)uv_timer_start(&m->settle, on_settled, PX_NET_SETTLE / PX_MSEC, 0);
}

void px_net_monitor_listen(struct px_net_monitor *m, struct px_net_listener *l)
{
    l->next = m->listeners;
    m->listeners = l;
}

void px_net_monitor_unlisten(struct px_net_monitor *m, struct px_net_listener *l)
{
    struct px_net_listener **at = &m->listeners;
    while (*at != NULL && *at != l)
        at = &(*at)->next;
    if (*at == NULL)
        return;
    *at = l->next;
    if (m->telling == l)
        m->telling = l->next;
}

/* ---- asking the kernel ---- */

static void send_step(struct px_net_monitor *m)
{
    struct {
        struct nlmsghdr head;
        struct rtgenmsg body;
    } request = {
        .head = {.nlmsg_len = NLMSG_LENGTH(sizeof(request.body)),
                 .nlmsg_type = dump_steps[m->step],
                 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
                 .nlmsg_seq = ++m->seq},
        .body = {.rtgen_family = AF_UNSPEC},
    };
    if (send(m->fd, &request, request.head.nlmsg_len, 0) >= 0)
        return;
    px_log_event(m->log, PX_LOG_WARN, "net.unreadable", PX_F_ERR(px_err_from_errno(errno)));
    m->step = PX_ARRAY_LEN(dump_steps);
}

static bool dumping(const struct px_net_monitor *m)
{
    return m->step < PX_ARRAY_LEN(dump_steps);
}

/* The kernel refuses a second dump beside one under way. */
static void dump(struct px_net_monitor *m)
{
    if (dumping(m)) {
        m->dump_again = true;
        return;
    }
    m->dump_again = false;
    m->step = 0;
    px_net_table_dump_begin(m->table);
    send_step(m);
}

static unsigned end_step(struct px_net_monitor *m)
{
    if (++m->step < PX_ARRAY_LEN(dump_steps)) {
        send_step(m);
        return 0;
    }
    if (!m->dump_again)
        return px_net_table_dump_end(m->table);
    dump(m); /* what was not told this time may be told the next */
    return 0;
}

static void take(struct px_net_monitor *m, struct px_slice datagram)
{
    unsigned saw = px_net_table_input(m->table, m->seq, datagram);
    if ((saw & PX_NET_SAW_AGAIN) != 0)
        m->dump_again = true;
    if ((saw & PX_NET_SAW_REFUSE) != 0)
        px_log_event(m->log, PX_LOG_WARN, "net.unreadable", PX_F_ERR(PX_EPERM));
    if ((saw & (PX_NET_SAW_DONE | PX_NET_SAW_REFUSE)) != 0 && dumping(m))
        saw |= end_step(m);
    if ((saw & PX_NET_SAW_LIMIT) != 0 && !m->limit_told) {
        m->limit_told = true;
        px_log_event(m->log, PX_LOG_WARN, "net.too_many", PX_F_U64("addresses", PX_NET_ADDRS_MAX),
                     PX_F_U64("interfaces", PX_NET_LINKS_MAX));
    }
    if ((saw & PX_NET_SAW_ADDRS) != 0)
        note_change(m, PX_NET_ADDRS);
    if ((saw & PX_NET_SAW_ROUTES) != 0)
        note_change(m, PX_NET_ROUTES);
}

/* False when there is nothing more for now. */
static bool receive(struct px_net_monitor *m)
{
    _Alignas(struct nlmsghdr) uint8_t buffer[DATAGRAM_MAX];
    struct sockaddr_nl from = {0};
    struct iovec iov = {buffer, sizeof(buffer)};
    struct msghdr h = {
        .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n = recvmsg(m->fd, &h, MSG_DONTWAIT);
    if (n < 0 && errno != ENOBUFS)
        return errno == EINTR;
    if (n < 0 || (h.msg_flags & MSG_TRUNC) != 0)
        dump(m);               /* something was lost: what, only all of it tells */
    else if (from.nl_pid == 0) /* other processes may write to this socket too */
        take(m, px_slice(buffer, (size_t)n));
    return true;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct px_net_monitor *m = poll->data;
    (void)events;
    for (size_t i = 0; i < DATAGRAMS_A_TURN && receive(m); i++)
        continue;
    if (status < 0) /* messages were lost: libuv stops watching then */
        (void)uv_poll_start(poll, UV_READABLE, on_readable);
    px_net_monitor_check_clock(m);
}

/* ---- the clocks ---- */

static px_nsec read_clock(clockid_t id)
{
    struct timespec ts;
    px_assert(clock_gettime(id, &ts) == 0);
    return (px_nsec)ts.tv_sec * PX_SEC + (px_nsec)ts.tv_nsec;
}

static px_nsec system_boottime(void *ctx)
{
    (void)ctx;
    return read_clock(CLOCK_BOOTTIME);
}

static px_nsec system_monotonic(void *ctx)
{
    (void)ctx;
    return read_clock(CLOCK_MONOTONIC);
}

void px_net_monitor_set_clock(struct px_net_monitor *m, const struct px_net_clock *clock)
{
    m->clock = *clock;
    m->sleep = (struct px_net_sleep){0};
    px_net_monitor_check_clock(m);
}

void px_net_monitor_check_clock(struct px_net_monitor *m)
{
    px_nsec boottime = m->clock.boottime(m->clock.ctx);
    if (px_net_sleep_check(&m->sleep, boottime, m->clock.monotonic(m->clock.ctx)))
        note_change(m, PX_NET_RESUME);
}

static void on_clock_due(uv_poll_t *poll, int status, int events)
{
    struct px_net_monitor *m = poll->data;
    uint64_t expirations;
    (void)status, (void)events;
    if (read(m->clock_fd, &expirations, sizeof(expirations)) > 0)
        px_net_monitor_check_clock(m);
}

/* ---- life ---- */

static void destroy(struct px_net_monitor *m)
{
    if (m->fd >= 0)
        close(m->fd);
    if (m->clock_fd >= 0)
        close(m->clock_fd);
    px_net_table_free(m->table);
    free(m);
}

static void on_closed(uv_handle_t *h)
{
    struct px_net_monitor *m = h->data;
    if (--m->open_handles == 0)
        destroy(m);
}

void px_net_monitor_close(struct px_net_monitor *m)
{
    if (m == NULL || m->closing)
        return;
    uv_handle_t *handles[] = {(uv_handle_t *)&m->settle, (uv_handle_t *)&m->poll,
                              (uv_handle_t *)&m->clock_poll};
    m->closing = true;
    if (m->open_handles == 0)
        destroy(m);
    else
        for (int i = m->open_handles; i-- > 0;)
            uv_close(handles[i], on_closed);
}

static int open_netlink(struct px_net_monitor *m)
{
    struct sockaddr_nl sa = {.nl_family = AF_NETLINK, .nl_groups = GROUPS};
    m->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (m->fd < 0 || bind(m->fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0)
        return px_err_from_errno(errno);
    return 0;
}

static int open_clock(struct px_net_monitor *m)
{
    const struct itimerspec every = {.it_interval = {.tv_sec = CLOCK_CHECK_SECONDS},
                                     .it_value = {.tv_sec = CLOCK_CHECK_SECONDS}};
    m->clock_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (m->clock_fd < 0 || timerfd_settime(m->clock_fd, 0, &every, NULL) < 0)
        return px_err_from_errno(errno);
    m->clock = (struct px_net_clock){system_boottime, system_monotonic, NULL};
    px_net_monitor_check_clock(m);
    return 0;
}

static int start_handles(struct px_net_monitor *m, uv_loop_t *loop)
{
    if (uv_timer_init(loop, &m->settle) != 0)
        return PX_EIO;
    m->open_handles++;
    if (uv_poll_init(loop, &m->poll, m->fd) != 0)
        return PX_EIO;
    m->open_handles++;
    if (uv_poll_init(loop, &m->clock_poll, m->clock_fd) != 0)
        return PX_EIO;
    m->open_handles++;
    m->settle.data = m->poll.data = m->clock_poll.data = m;
    if (uv_poll_start(&m->poll, UV_READABLE, on_readable) != 0 ||
        uv_poll_start(&m->clock_poll, UV_READABLE, on_clock_due) != 0)
        return PX_EIO;
    return 0;
}

/* The kernel answers a dump within the calls that ask and read: nothing is waited for. */
static void first_dump(struct px_net_monitor *m)
{
    dump(m);
    while (dumping(m) && receive(m))
        continue;
    (void)uv_timer_stop(&m->settle); /* nobody can have missed a change yet */
    memset(m->changed, 0, sizeof(m->changed));
}

int px_net_monitor_new(uv_loop_t *loop, const struct px_log *log, struct px_net_monitor **ret)
{
    struct px_net_monitor *m = calloc(1, sizeof(*m));
    if (m == NULL)
        return PX_ENOMEM;
    m->log = log;
    m->fd = m->clock_fd = -1;
    m->step = PX_ARRAY_LEN(dump_steps);
    m->settle.data = m->poll.data = m->clock_poll.data = m;
    int err = px_net_table_new(&m->table);
    if (err == 0)
        err = open_netlink(m);
    if (err == 0)
        err = open_clock(m);
    if (err == 0)
        err = start_handles(m, loop);
    if (err != 0) {
        px_net_monitor_close(m);
        return err;
    }
    first_dump(m);
    *ret = m;
    return 0;
}

const struct px_net_addr *px_net_monitor_addrs(const struct px_net_monitor *m, size_t *ret_count)
{
    return px_net_table_addrs(m->table, ret_count);
}

bool px_net_monitor_on_link(const struct px_net_monitor *m, const struct px_addr *a)
{
    return px_net_table_on_link(m->table, a);
}

/* What networks this machine has, and when that changes (rtnetlink), and when the machine was
 * asleep (CLOCK_BOOTTIME ran ahead of CLOCK_MONOTONIC). */
#ifndef PX_NODE_NET_MONITOR_H
#define PX_NODE_NET_MONITOR_H

#include <uv.h>

#include "proto/addr.h"
#include "proto/base/log.h"

#define PX_NET_ADDRS_MAX 256 /* addresses kept; further ones are left out and logged once */

/* One address of an interface that is up. */
struct px_net_addr {
    struct px_addr addr; /* port 0; scope is the interface index for link-local IPv6, else 0 */
    unsigned ifindex;
    char ifname[16];
    uint8_t prefix; /* bits */
    bool loopback;  /* of the loopback interface */
    bool multicast; /* the interface can */
    bool running;   /* has carrier */
    bool point_to_point;
};

struct px_net_monitor;

enum px_net_change {
    PX_NET_ADDRS,  /* addresses, carrier or interfaces */
    PX_NET_ROUTES, /* a default route */
    PX_NET_RESUME, /* the machine slept for at least PX_NET_SLEEP_MIN */
};
#define PX_NET_SLEEP_MIN (2 * PX_SEC)
#define PX_NET_SETTLE                                                                              \
    (100 * PX_MSEC) /* a burst of changes is told once, this long after its start */

/* The addresses are known when it returns. PX_EIO, PX_ENOMEM. */
PX_MUST_CHECK int px_net_monitor_new(uv_loop_t *loop, const struct px_log *log,
                                     struct px_net_monitor **ret);
/* Asynchronous; freed by the loop. */
void px_net_monitor_close(struct px_net_monitor *m);
/* `changed` is called from the loop. Several listeners; embedded in their owners. */
struct px_net_listener {
    void (*changed)(void *ctx, enum px_net_change change);
    void *ctx;
    struct px_net_listener *next; /* the monitor's */
};
void px_net_monitor_listen(struct px_net_monitor *m, struct px_net_listener *l);
void px_net_monitor_unlisten(struct px_net_monitor *m, struct px_net_listener *l);
/* The addresses now; the view lives until the loop turns. */
const struct px_net_addr *px_net_monitor_addrs(const struct px_net_monitor *m, size_t *ret_count);
/* Is the address on a network this machine is directly attached to (or loopback, or link-local)?
 * Point-to-point interfaces do not count: what goes into a tunnel leaves the link. */
bool px_net_monitor_on_link(const struct px_net_monitor *m, const struct px_addr *a);

/* Where the time is read from, for tests; the system's clocks otherwise. */
struct px_net_clock {
    px_nsec (*boottime)(void *ctx);
    px_nsec (*monotonic)(void *ctx);
    void *ctx;
};
void px_net_monitor_set_clock(struct px_net_monitor *m, const struct px_net_clock *clock);
/* Looks at the clocks now; also done every few seconds and with every change of the network. */
void px_net_monitor_check_clock(struct px_net_monitor *m);

#endif

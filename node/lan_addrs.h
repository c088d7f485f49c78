/* Which addresses of this machine are announced on their links (docs/spec/lan.md §4.1). A core. */
#ifndef PX_NODE_LAN_ADDRS_H
#define PX_NODE_LAN_ADDRS_H

#include "node/net_monitor.h"

#define PX_LAN_INTERFACES_MAX 16 /* Linux lets a socket join 20 IPv4 groups */
#define PX_LAN_ADDRS_MAX      64

struct px_lan_addrs {
    size_t count;
    struct {
        struct px_addr addr; /* port 0 */
        unsigned ifindex;
    } all[PX_LAN_ADDRS_MAX];
};

/* Picks from the monitor's addresses those a peer on the link can reach us at, given what the
 * overlay socket is bound to. `loopback` picks the loopback interface and nothing else (for tests).
 */
void px_lan_addrs_pick(const struct px_net_addr *addrs, size_t count, const struct px_addr *local,
                       bool loopback, struct px_lan_addrs *ret);

#endif

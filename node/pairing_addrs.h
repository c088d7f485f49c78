/* Which addresses of ours another machine is told, best first. Pure. */
#ifndef PX_NODE_PAIRING_ADDRS_H
#define PX_NODE_PAIRING_ADDRS_H

#include "node/net_monitor.h"
#include "proto/invite.h"

/* `listen` is the bound overlay address. Bound to one address: that one. Otherwise addresses of
 * interfaces that are up: IPv4 before global IPv6 before local IPv6 (which only stands in for
 * IPv4), real networks before those of containers and virtual machines, at most two of IPv4 and one
 * of IPv6; loopback if there is no other. Link-local ones mean nothing elsewhere and are left out.
 * Returns how many. */
size_t px_pairing_addrs(const struct px_addr *listen, const struct px_net_addr *nets,
                        size_t net_count, char ret[PX_INVITE_ADDRS_MAX][PX_INVITE_ADDR_MAX]);

#endif

/* The multicast backend of discovery: docs/spec/lan.md §4.1 around the core lan_announce. */
#ifndef PX_NODE_LAN_IO_H
#define PX_NODE_LAN_IO_H

#include "node/discovery.h"

struct px_lan_io_config {
    uint16_t port;
    bool loopback; /* the loopback interface and nothing else, for tests */
};

/* A family whose socket cannot be had is logged and left out; PX_EIO, PX_EADDR and the like when
 * neither can, PX_ENOMEM. */
PX_MUST_CHECK int px_lan_io_new(const struct px_discovery_env *env,
                                const struct px_lan_io_config *config, struct px_discovery **ret);

#endif

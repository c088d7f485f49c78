/* The DNS-SD backend of discovery: docs/spec/lan.md §4.2 through the machine's Avahi daemon. Built
 * with PX_AVAHI; without, mdns_none.c stands in. */
#ifndef PX_NODE_MDNS_H
#define PX_NODE_MDNS_H

#include "node/discovery.h"

struct px_mdns_config {
    bool loopback; /* the loopback interface and nothing else, for tests */
};

/* No Avahi daemon and no D-Bus is no error: they are waited for. PX_ENOMEM, PX_EIO, and
 * PX_EUNSUPPORTED without PX_AVAHI. */
PX_MUST_CHECK int px_mdns_new(const struct px_discovery_env *env,
                              const struct px_mdns_config *config, struct px_discovery **ret);

#endif

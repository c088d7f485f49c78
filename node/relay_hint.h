/* What people can do about a relay that does not work. */
#ifndef PX_NODE_RELAY_HINT_H
#define PX_NODE_RELAY_HINT_H

#include "node/relay_list.h"

#define PX_RELAY_HINT_MAX 512

/* A sentence for an error of its link or dial; "" when there is nothing to do but wait. Returns
 * out. */
const char *px_relay_hint(const struct px_relay_entry *e, int err, char out[PX_RELAY_HINT_MAX]);

#endif

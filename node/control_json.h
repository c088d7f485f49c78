/* Values that every endpoint of the control API, and what pairing exports, writes in one way. */
#ifndef PX_NODE_CONTROL_JSON_H
#define PX_NODE_CONTROL_JSON_H

#include <jansson.h>

#include "auth/peer_id.h"

/* Both NULL without memory. Grants are an array of their words (auth/authorized_keys.h). */
json_t *px_control_grants_json(uint32_t grants);
json_t *px_control_id_json(const struct px_peer_id *id);

#endif

/* A configuration as JSON, for `config show --json` and the control API. */
#ifndef PX_NODE_CONFIG_JSON_H
#define PX_NODE_CONFIG_JSON_H

#include <jansson.h>

#include "node/config.h"

/* An object with one member per option, in the table's order: strings, numbers (durations in
 * milliseconds), booleans, lists. NULL without memory. */
json_t *px_config_json(const struct px_config *c);

#endif

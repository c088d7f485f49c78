/* A configuration as JSON, for `config show --json` and the control API. */
#ifndef PX_NODE_CONFIG_JSON_H
#define PX_NODE_CONFIG_JSON_H

#include <jansson.h>

#include "node/config.h"
#include "node/config_apply_io.h"

/* An object with one member per option, in the table's order: strings, numbers (durations in
 * milliseconds), booleans, lists. NULL without memory. */
json_t *px_config_json(const struct px_config *c);
/* {"number", "replaced" (seconds since 1970), "size", "current", "previous"}. NULL without memory.
 */
json_t *px_config_version_json(const struct px_config_version *v);

#endif

/* The one way commands print JSON: one document, keys in the order given, a newline at the end. */
#ifndef PX_CMD_JSON_H
#define PX_CMD_JSON_H

#include <jansson.h>

#include "cmd/cli.h"

/* NULL stands for "out of memory" on the way to it. Returns an exit code. */
int px_json_print(const struct px_cli *cli, json_t *owned_value);

#endif

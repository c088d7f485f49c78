/* How commands print JSON, and read what the daemon answers. */
#ifndef PX_CMD_JSON_H
#define PX_CMD_JSON_H

#include <jansson.h>

#include "cmd/cli.h"

/* One document, keys in the order given, a newline at the end. NULL stands for "out of memory" on
 * the way to it. Returns an exit code. */
int px_json_print(const struct px_cli *cli, json_t *owned_value);
/* One value on one line, at once: for streams. Returns an exit code. */
int px_json_print_line(const struct px_cli *cli, const json_t *value);

/* What a command has done to whom: "added ID", or {"peer": "ID", "result": "added"} with --json.
 * Returns an exit code. */
int px_json_result(const struct px_cli *cli, const char *result, const char *id);

/* Members by path ("stats.rtt"); what is missing or of another type gives NULL, "", 0 or PX_NEVER.
 */
const json_t *px_json_at(const json_t *object, const char *path);
const char *px_json_text(const json_t *object, const char *path);
uint64_t px_json_count(const json_t *object, const char *path);
bool px_json_true(const json_t *object, const char *path);
/* A number of seconds. */
px_nsec px_json_seconds(const json_t *object, const char *path);

#endif

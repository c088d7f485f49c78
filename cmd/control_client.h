/* The commands' side of the control API: one request over HOME's control socket. */
#ifndef PX_CMD_CONTROL_CLIENT_H
#define PX_CMD_CONTROL_CLIENT_H

#include <jansson.h>

#include "cmd/cli.h"

/* Sends a request to the running daemon. 0 with the JSON document in *ret (NULL allowed when it is
 * not wanted); else an exit code after telling people what is wrong and what to do
 * (PX_EXIT_NOT_RUNNING when no daemon answers). `body` is borrowed, may be NULL. */
PX_MUST_CHECK int px_control_call(const struct px_cli *cli, const char *method, const char *path,
                                  const json_t *body, json_t **ret);
/* The same for an answer of many lines; `line` is called for each, a value other than 0 ends it and
 * is returned. */
PX_MUST_CHECK int px_control_lines(const struct px_cli *cli, const char *method, const char *path,
                                   const json_t *body, int (*line)(void *ctx, const json_t *line),
                                   void *ctx);
/* Is a daemon of this home running? Says nothing to people. */
bool px_control_is_running(const struct px_home *home);
/* Appends text percent-encoded for one path segment or query value. */
int px_control_put_segment(struct px_buf *out, const char *text);

#endif

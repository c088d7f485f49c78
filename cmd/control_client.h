/* The commands' side of the control API: one request over HOME's control socket. */
#ifndef PX_CMD_CONTROL_CLIENT_H
#define PX_CMD_CONTROL_CLIENT_H

#include <jansson.h>

#include "cmd/cli.h"

#define PX_CONTROL_ANSWER_MAX  ((size_t)32 * 1024 * 1024)
#define PX_CONTROL_LINE_MAX    ((size_t)256 * 1024)
#define PX_CONTROL_ANSWER_TIME (20 * PX_SEC)

/* Sends a request to the running daemon. 0 with the JSON document in *ret (`ret` may be NULL when
 * it is not wanted; *ret is NULL for an answer without content); else an exit code after telling
 * people what is wrong and what to do (PX_EXIT_NOT_RUNNING when no daemon answers). `body` is
 * borrowed, may be NULL. Gives up after PX_CONTROL_ANSWER_TIME. */
PX_MUST_CHECK int px_control_call(const struct px_cli *cli, const char *method, const char *path,
                                  const json_t *body, json_t **ret);
/* The same with another limit, for what may take the daemon longer. */
PX_MUST_CHECK int px_control_call_within(const struct px_cli *cli, px_nsec limit,
                                         const char *method, const char *path, const json_t *body,
                                         json_t **ret);
/* The same for an answer of many lines; `line` is called for each, a value other than 0 ends it and
 * is returned. Waits without limit. */
PX_MUST_CHECK int px_control_lines(const struct px_cli *cli, const char *method, const char *path,
                                   const json_t *body, int (*line)(void *ctx, const json_t *line),
                                   void *ctx);
/* The same, ending with 0 as soon as stop_fd (-1: none) is readable, and with PX_EXIT_TIMEOUT when
 * nothing came for `idle` (PX_NEVER: no limit). */
PX_MUST_CHECK int px_control_lines_until(const struct px_cli *cli, int stop_fd, px_nsec idle,
                                         const char *method, const char *path, const json_t *body,
                                         int (*line)(void *ctx, const json_t *line), void *ctx);
/* Is a daemon of this home running? Says nothing to people. */
bool px_control_is_running(const struct px_home *home);
/* The exit code that goes with an error's name ("EOFFLINE"), as the API gives it. */
int px_control_exit_code(const char *error_name);
/* What the error of that name means, in words; the name itself when it is not known here. */
const char *px_control_error_text(const char *error_name);
/* Appends text percent-encoded for one path segment or query value. */
int px_control_put_segment(struct px_buf *out, const char *text);

#endif

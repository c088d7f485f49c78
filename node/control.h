/* The control API: HTTP/1.1 over a Unix socket in the state directory (docs/control-api.md).
 *
 * Who may speak: a process of our uid or root (socket credentials) that also knows the cookie file
 * (0600, rotated at each start). This file knows sockets, cookie, routing, rendering; what the
 * endpoints mean is in node/control_*.c and with whoever registers routes. */
#ifndef PX_NODE_CONTROL_H
#define PX_NODE_CONTROL_H

#include <jansson.h>
#include <uv.h>

#include "node/home.h"
#include "proto/base/log.h"

#define PX_HOME_CONTROL_SOCKET   "control.sock" /* in the state directory */
#define PX_HOME_CONTROL_COOKIE   "control.cookie"
#define PX_CONTROL_BODY_MAX      (64u * 1024)
#define PX_CONTROL_CALLS_MAX     64            /* under way at once, then 503 */
#define PX_CONTROL_LISTENERS_MAX 16            /* of event streams */
#define PX_CONTROL_BEHIND_MAX    (256u * 1024) /* bytes a reader of lines may leave unread */
#define PX_CONTROL_EVENTS_MAX    200           /* events a second; peers can trigger some */
#define PX_CONTROL_TABLES_MAX    16            /* calls of px_control_add */

struct px_control;
struct px_control_call; /* one request and its answer; answered exactly once, now or later */

struct px_control_route {
    const char *method; /* "GET", "POST", "DELETE", "PUT" */
    const char *path;   /* "/v1/peers/{peer}/ping": {…} matches one segment, percent-decoded */
    void (*handle)(void *ctx, struct px_control_call *call);
    /* Text form of a 2xx reply for ?format=text and Accept: text/plain; NULL: a generic
     * `key: value` rendering. Appends to out. */
    int (*text)(const json_t *reply, struct px_buf *out);
    const char *summary; /* one phrase, for GET /v1 and the tests against the OpenAPI file */
};

/* Takes the socket: a stale one is found by dialling it; PX_EEXIST with *ret_other_pid when another
 * daemon answers there. PX_EPERM, PX_EADDR (path too long), PX_EIO, PX_ENOMEM; what to do about it
 * is logged. */
PX_MUST_CHECK int px_control_new(uv_loop_t *loop, const struct px_home *home,
                                 const struct px_log *log, int *ret_other_pid,
                                 struct px_control **ret);
/* Routes stay borrowed (static tables); ctx is given to their handlers. */
PX_MUST_CHECK int px_control_add(struct px_control *c, const struct px_control_route *routes,
                                 size_t count, void *ctx);
/* Every call under way is ended (`gone`, then the caller is told); socket and cookie files are
 * removed; `closed` from the loop, at the latest after PX_CONTROL_LINGER. */
void px_control_close(struct px_control *c, void (*closed)(void *ctx), void *ctx);
#define PX_CONTROL_LINGER (500 * PX_MSEC)
/* After `closed`. Gives up the lock; what px_control_tee returned is dead then. */
void px_control_free(struct px_control *c);
/* Where the socket is. */
const char *px_control_path(const struct px_control *c);

/* Views live until the call is answered. NULL when absent. */
const char *px_control_param(const struct px_control_call *call, const char *name);
const char *px_control_query(const struct px_control_call *call, const char *name);
const json_t *px_control_body(const struct px_control_call *call); /* NULL without a body */

/* Answers with a JSON document (or its text form). NULL stands for "out of memory". */
void px_control_reply(struct px_control_call *call, unsigned status, json_t *owned_reply);
/* Answers {"error": "EOFFLINE", "message": "…"}; the HTTP status follows from the error by one
 * table. `fmt` says what to do next. After px_control_begin_lines it is the last line. */
void px_control_fail(struct px_control_call *call, int err, const char *fmt, ...) PX_PRINTF(3, 4);
/* An answer of many lines, one JSON object each (application/x-ndjson). Call px_control_line any
 * number of times, then px_control_end. A reader that falls 256 KiB behind is cut. */
void px_control_begin_lines(struct px_control_call *call);
void px_control_line(struct px_control_call *call, json_t *owned_line);
void px_control_end(struct px_control_call *call);
/* The caller went away before the answer was complete: `gone` is called once, call is dead then.
 * Whoever does not answer inside `handle` needs this. */
void px_control_on_gone(struct px_control_call *call, void (*gone)(void *ctx), void *ctx);

/* The HTTP status of an error. */
unsigned px_control_status(int err);

/* A log sink that gives what is logged at info or more urgent to the readers of GET /v1/events, and
 * everything to `next`. */
const struct px_log *px_control_tee(struct px_control *c, const struct px_log *next);

#endif

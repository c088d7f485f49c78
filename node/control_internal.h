/* What control.c (who may speak, routes, life), control_call.c (answers) and control_events.c
 * share. Nobody else includes it. */
#ifndef PX_NODE_CONTROL_INTERNAL_H
#define PX_NODE_CONTROL_INTERNAL_H

#include "node/control.h"
#include "node/control_socket.h"
#include "node/http_server.h"
#include "proto/base/list.h"

enum px_control_call_state {
    CALL_ASKED, /* its handler has it */
    CALL_LINES, /* its answer has begun */
    CALL_DONE,  /* nobody but the server has it */
};

struct px_control_call {
    struct px_list link;   /* in control.calls */
    struct px_list events; /* in control.listeners, or alone */
    struct px_control *control;
    struct px_http_exchange *x;
    const struct px_control_route *route;
    enum px_control_call_state state;
    bool text, in_handler;
    struct px_control_target target;
    struct px_control_params params;
    json_t *body;
    struct px_buf lines;
    void (*gone)(void *ctx);
    void *gone_ctx;
};

struct px_control {
    uv_loop_t *loop;
    const struct px_log *log;
    struct px_control_socket socket;
    struct px_http_server *server;
    uv_timer_t linger;
    uv_thread_t thread;
    struct {
        const struct px_control_route *routes;
        size_t count;
        void *ctx;
    } tables[PX_CONTROL_TABLES_MAX];
    size_t table_count;
    struct px_list calls, listeners;
    size_t call_count, listener_count;
    bool closing, finished;
    int handles;           /* libuv has not let go of yet */
    px_nsec events_since;  /* when the running second of events began */
    unsigned events_count; /* in it, told or not */
    struct px_log tee;
    const struct px_log *next;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

/* control_call.c */
void px_control_answer_bytes(struct px_http_exchange *x, unsigned status, bool text,
                             struct px_slice body);
json_t *px_control_failure_json(int err, const char *message);
/* A failure of the request itself, whose status says more than its error. */
void px_control_refuse(struct px_control_call *call, unsigned status, int err, const char *fmt, ...)
    PX_PRINTF(4, 5);

/* control_events.c */
void px_control_handle_events(void *control, struct px_control_call *call);

#endif

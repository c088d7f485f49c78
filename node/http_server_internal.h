/* What node/http_server.c (the server) and http_server_exchange.c (one request and its answer)
 * share. Nobody else includes it, or libmicrohttpd. */
#ifndef PX_NODE_HTTP_SERVER_INTERNAL_H
#define PX_NODE_HTTP_SERVER_INTERNAL_H

#include <microhttpd.h>

#include "node/http_server.h"
#include "proto/base/list.h"

enum px_http_state {
    PX_HTTP_HEADERS, /* the request is being read */
    PX_HTTP_ASKED,   /* our owner thinks */
    PX_HTTP_QUEUED,  /* the library has the answer */
};

/* Looks for the client going away while its connection is suspended: the library does not look
 * then. Lives on until libuv has let go of it. */
struct px_http_watch {
    uv_poll_t poll;
    struct px_http_exchange *x; /* NULL once the exchange is over */
};

struct px_http_exchange {
    struct px_list link; /* in server.exchanges */
    struct px_http_server *server;
    struct MHD_Connection *conn;
    const char *method, *version; /* the library's */
    char *target;                 /* NULL: too long */
    enum px_http_state state;
    bool in_handler, suspended;
    bool cut; /* by the client's going away, by its owner, or for want of memory */
    struct px_buf body;
    struct MHD_Response *response; /* to be queued */
    unsigned status;
    const struct px_http_body_ops *reader;
    void *reader_ctx;
    bool endless; /* its body's length is unknown */
    struct px_http_watch *watch;
    void (*over)(void *ctx);
    void *over_ctx;
    _Alignas(max_align_t) uint8_t scratch[PX_HTTP_SCRATCH];
};

struct px_http_server {
    struct px_http_server_config config;
    uv_poll_t poll;
    uv_timer_t timer;
    struct MHD_Daemon *daemon;
    struct px_list exchanges;
    size_t active;
    int handles; /* libuv has not let go of yet */
    bool due, running, quiesced;
    bool full; /* the library does not listen */
    void (*closed)(void *ctx);
    void *closed_ctx;
};

/* http_server.c */
/* The library is run soon: there is something it does not know of by itself. */
void px_http_server_make_due(struct px_http_server *s);

/* http_server_exchange.c */
/* The library asks again for what it was not told; without effect unless suspended. */
void px_http_exchange_resume(struct px_http_exchange *x);
/* Only from inside the library's callbacks. */
void px_http_exchange_suspend(struct px_http_exchange *x);
/* Hands the answer to the library. MHD_NO, which closes the connection, when there is none. */
enum MHD_Result px_http_exchange_queue(struct px_http_exchange *x);
/* Without it a vanished client is only noticed by the next bytes for it. */
void px_http_exchange_watch(struct px_http_exchange *x);
void px_http_exchange_unwatch(struct px_http_exchange *x);

#endif

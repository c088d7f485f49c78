/* HTTP/1.1 on a listening socket, TCP or Unix, and the one home of libmicrohttpd: its epoll
 * descriptor inside the libuv loop, connections suspended while an answer is awaited.
 *
 * Knows how requests come and answers go. Who may ask what is its owners' (node/nix/http_front for
 * nix, node/control for people). Which status codes the library itself can send is listed in
 * docs/substituter.md. */
#ifndef PX_NODE_HTTP_SERVER_H
#define PX_NODE_HTTP_SERVER_H

#include <sys/types.h>
#include <uv.h>

#include "proto/addr.h"
#include "proto/base/buf.h"
#include "proto/base/log.h"

struct px_http_server;
struct px_http_exchange; /* one request and its answer */

#define PX_HTTP_LISTEN_BACKLOG 512
#define PX_HTTP_RAW_TARGET_MAX 2048 /* bytes of a request target; a longer one is not kept */
#define PX_HTTP_BODY_BLOCK     (128u * 1024)
#define PX_HTTP_LENGTH_UNKNOWN UINT64_MAX
#define PX_HTTP_SCRATCH        96 /* bytes of an exchange that are its owner's */

struct px_http_server_ops {
    /* The request line and fields have been read. True to go on; or answer, which also closes the
     * connection, and return false. */
    bool (*vet)(void *ctx, struct px_http_exchange *x);
    /* The request is whole. Answer now or later with px_http_answer. */
    void (*request)(void *ctx, struct px_http_exchange *x);
};

struct px_http_server_config {
    uv_loop_t *loop;
    const struct px_log *log;
    const struct px_http_server_ops *ops;
    void *ctx;
    unsigned connections_max; /* more wait in the backlog until one closes */
    size_t conn_memory;       /* a connection's, request and header included */
    unsigned idle_seconds;    /* without a byte either way */
    size_t body_max;          /* of a request; `vet` is to refuse a Content-Length above it */
    bool owner_flushes; /* calls px_http_server_flush once a loop turn; or it does so itself */
    bool watch_waiting; /* notices clients that go away before their answer begins */
};

/* A body that comes bit by bit. */
struct px_http_body_ops {
    /* Copies what there is: *ret_len > 0, or 0: asked again after px_http_body_resume. PX_ECLOSED
     * ends a body of unknown length; any other error cuts the connection. */
    int (*read)(void *ctx, void *dst, size_t cap, size_t *ret_len);
};

struct px_http_answer {
    unsigned status;
    const char *content_type;           /* static or NULL */
    struct px_slice body;               /* copied; for a streamed one leave it empty */
    const struct px_http_body_ops *ops; /* a streamed body, or NULL */
    void *ctx;
    uint64_t length;           /* of a streamed body; with HEAD what a GET would give */
    uint64_t first, total;     /* 206 and 416: for Content-Range */
    bool ranges;               /* says Accept-Ranges: bytes */
    const char *field, *value; /* one more header field, static or NULL */
};

/* Binds and listens on a loopback address (port 0: a free one). PX_EADDR, PX_EPERM. */
PX_MUST_CHECK int px_http_listen_tcp(const struct px_addr *addr, int *ret_fd);
/* Takes over a listening stream socket, also on failure. PX_EADDR, PX_EIO, PX_ENOMEM. */
PX_MUST_CHECK int px_http_server_new(const struct px_http_server_config *config, int owned_fd,
                                     struct px_http_server **ret);
/* Lets the library work off what px_http_answer and px_http_body_resume have set going. True when
 * there was anything. */
bool px_http_server_flush(struct px_http_server *s);
/* Closes the listening socket; connections end with their current answer. */
void px_http_server_quiesce(struct px_http_server *s);
/* Requests not over yet. */
size_t px_http_server_active(const struct px_http_server *s);
/* Cuts what is left. Every exchange gets `over` before this returns; `closed` is called from the
 * loop, s is gone then. */
void px_http_server_close(struct px_http_server *s, void (*closed)(void *ctx), void *ctx);

/* The request. Views live until the exchange is over. */
const char *px_http_method(const struct px_http_exchange *x);
const char *px_http_version(const struct px_http_exchange *x); /* "HTTP/1.1" */
/* As it came, undecoded; NULL when longer than PX_HTTP_RAW_TARGET_MAX. */
const char *px_http_raw_target(const struct px_http_exchange *x);
/* The first field of that name, NULL when there is none. */
const char *px_http_field(const struct px_http_exchange *x, const char *name);
void px_http_each_field(const struct px_http_exchange *x,
                        void (*each)(void *ctx, const char *name, const char *value), void *ctx);
/* What came as body, at most body_max bytes; *ret_err is PX_ELIMIT when it was more, PX_ENOMEM. */
struct px_slice px_http_body(const struct px_http_exchange *x, int *ret_err);
/* The client's address; family PX_ADDR_NONE on a Unix socket. */
void px_http_remote(const struct px_http_exchange *x, struct px_addr *ret);
/* Who opened the connection of a Unix socket. PX_EIO. */
PX_MUST_CHECK int px_http_credentials(const struct px_http_exchange *x, uid_t *ret_uid,
                                      pid_t *ret_pid);

/* PX_HTTP_SCRATCH bytes, zero at first, for what `vet` found out and `request` needs. */
void *px_http_scratch(struct px_http_exchange *x);
/* Called once when the exchange is over: answered, cut, or the client went away. x is dead. */
void px_http_on_over(struct px_http_exchange *x, void (*over)(void *ctx), void *ctx);
/* At most once for each exchange. Without memory the connection is closed. */
void px_http_answer(struct px_http_exchange *x, const struct px_http_answer *a);
void px_http_body_resume(struct px_http_exchange *x);
/* Ends the connection at once, also when the client does not read; `over` follows. */
void px_http_cut(struct px_http_exchange *x);

#endif

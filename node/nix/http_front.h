/* The HTTP/1.1 server nix talks to, and the one home of libmicrohttpd: its epoll descriptor inside
 * the libuv loop, connections suspended while an answer is awaited.
 *
 * Knows who may ask (loopback, a local Host) and how (GET and HEAD), not what the answers are.
 * Which status codes the library itself can send is listed in docs/substituter.md. */
#ifndef PX_NODE_NIX_HTTP_FRONT_H
#define PX_NODE_NIX_HTTP_FRONT_H

#include <uv.h>

#include "node/nix/http_path.h"
#include "proto/addr.h"
#include "proto/base/log.h"

struct px_http_front;
struct px_http_exchange; /* one request and its answer */

#define PX_HTTP_CONNECTIONS_MAX 1024 /* more wait in the backlog until one closes */
#define PX_HTTP_BACKLOG         512
#define PX_HTTP_CONN_MEMORY     (8u * 1024) /* a connection's, request and header included */
#define PX_HTTP_IDLE_SECONDS    300         /* without a byte either way; as nix's own patience */
#define PX_HTTP_BODY_BLOCK      (128u * 1024)

struct px_http_front_ops {
    /* A request that is well-formed and allowed. Answer now or later with px_http_answer. */
    void (*request)(void *ctx, struct px_http_exchange *x, const struct px_http_target *target,
                    bool head);
};

/* A body that comes bit by bit. */
struct px_http_body_ops {
    /* Copies what there is: *ret_len > 0, or 0: asked again after px_http_body_resume. An error
     * cuts the connection. */
    int (*read)(void *ctx, void *dst, size_t cap, size_t *ret_len);
};

struct px_http_answer {
    unsigned status;
    const char *content_type;           /* static or NULL */
    struct px_slice body;               /* copied; for a streamed one leave it empty */
    const struct px_http_body_ops *ops; /* a streamed body, or NULL */
    void *ctx;
    uint64_t length;       /* of a streamed body; with HEAD what a GET would give */
    uint64_t first, total; /* 206 and 416: for Content-Range */
    bool ranges;           /* says Accept-Ranges: bytes */
};

/* Binds `listen` (loopback, port 0: a free one), or takes over the listening socket `listen_fd`.
 * PX_EADDR, PX_EPERM, PX_ENOMEM. */
PX_MUST_CHECK int px_http_front_new(uv_loop_t *loop, const struct px_addr *listen, int listen_fd,
                                    const struct px_log *log, const struct px_http_front_ops *ops,
                                    void *ctx, struct px_http_front **ret);
const struct px_addr *px_http_front_local(const struct px_http_front *f);
/* Lets the library work off what px_http_answer and px_http_body_resume have set going; call it
 * once a loop turn. True when there was anything. */
bool px_http_front_flush(struct px_http_front *f);
/* Closes the listening socket; connections end with their current answer. */
void px_http_front_quiesce(struct px_http_front *f);
/* Requests not over yet. */
size_t px_http_front_active(const struct px_http_front *f);
/* Cuts what is left. Every exchange gets `over` before this returns; `closed` is called from the
 * loop, f is gone then. */
void px_http_front_close(struct px_http_front *f, void (*closed)(void *ctx), void *ctx);

/* The Range field of the request applied to a body of `size` bytes. */
enum px_http_range px_http_exchange_range(struct px_http_exchange *x, uint64_t size,
                                          uint64_t *ret_first);
/* Called once when the exchange is over: answered, cut, or the client went away. x is dead. */
void px_http_on_over(struct px_http_exchange *x, void (*over)(void *ctx), void *ctx);
/* At most once for each exchange. Without memory the connection is closed. */
void px_http_answer(struct px_http_exchange *x, const struct px_http_answer *a);
void px_http_body_resume(struct px_http_exchange *x);

#endif

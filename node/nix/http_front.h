/* What nix talks to: the server of node/http_server.h on a loopback TCP address.
 *
 * Knows who may ask (loopback, a local Host) and how (GET and HEAD without a body), not what the
 * answers are (docs/substituter.md). */
#ifndef PX_NODE_NIX_HTTP_FRONT_H
#define PX_NODE_NIX_HTTP_FRONT_H

#include "node/http_server.h"
#include "node/nix/http_path.h"

struct px_http_front;

#define PX_HTTP_CONNECTIONS_MAX 1024        /* more wait in the backlog until one closes */
#define PX_HTTP_CONN_MEMORY     (8u * 1024) /* a connection's, request and header included */
#define PX_HTTP_IDLE_SECONDS    300         /* without a byte either way; as nix's own patience */

struct px_http_front_ops {
    /* A request that is well-formed and allowed. Answer now or later with px_http_answer. */
    void (*request)(void *ctx, struct px_http_exchange *x, const struct px_http_target *target,
                    bool head);
};

/* Binds `listen` (loopback, port 0: a free one), or takes over the listening socket `listen_fd`.
 * PX_EADDR, PX_EPERM, PX_ENOMEM. */
PX_MUST_CHECK int px_http_front_new(uv_loop_t *loop, const struct px_addr *listen, int listen_fd,
                                    const struct px_log *log, const struct px_http_front_ops *ops,
                                    void *ctx, struct px_http_front **ret);
const struct px_addr *px_http_front_local(const struct px_http_front *f);
/* As px_http_server_flush: call it once a loop turn. */
bool px_http_front_flush(struct px_http_front *f);
/* As their px_http_server_ counterparts. */
void px_http_front_quiesce(struct px_http_front *f);
size_t px_http_front_active(const struct px_http_front *f);
void px_http_front_close(struct px_http_front *f, void (*closed)(void *ctx), void *ctx);

/* The Range field of the request applied to a body of `size` bytes. */
enum px_http_range px_http_exchange_range(struct px_http_exchange *x, uint64_t size,
                                          uint64_t *ret_first);

#endif

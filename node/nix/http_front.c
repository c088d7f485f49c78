/* The vetting of http_front.h in front of node/http_server. */
#include "node/nix/http_front.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#include "transport/sockaddr.h"

struct px_http_front {
    struct px_http_server *server;
    const struct px_http_front_ops *ops;
    void *ctx;
    struct px_addr local;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

enum px_http_range px_http_exchange_range(struct px_http_exchange *x, uint64_t size,
                                          uint64_t *ret_first)
{
    const char *text = px_http_field(x, "Range");
    return text == NULL ? PX_HTTP_RANGE_NONE
                        : px_http_range_parse(px_slice_cstr(text), size, ret_first);
}

/* --- requests --- */

_Static_assert(sizeof(struct px_http_target) <= PX_HTTP_SCRATCH, "a target is kept in the scratch");

static int parse_target(struct px_http_exchange *x)
{
    const char *raw = px_http_raw_target(x);
    return raw == NULL ? PX_ELIMIT : px_http_target_parse(px_slice_cstr(raw), px_http_scratch(x));
}

static bool from_this_machine(const struct px_http_exchange *x)
{
    struct px_addr addr;
    px_http_remote(x, &addr);
    return px_addr_is_loopback(&addr);
}

static bool is_head(const struct px_http_exchange *x)
{
    return strcmp(px_http_method(x), "HEAD") == 0;
}

/* 0, or the status of the refusal. */
static unsigned verdict(struct px_http_exchange *x)
{
    const char *host = px_http_field(x, "Host");
    const char *length = px_http_field(x, "Content-Length");
    if (!from_this_machine(x) || (host != NULL && !px_http_host_allowed(px_slice_cstr(host))))
        return 403;
    if (host == NULL && strcmp(px_http_version(x), "HTTP/1.0") != 0)
        return 400;
    if (strcmp(px_http_method(x), "GET") != 0 && !is_head(x))
        return 400;
    if ((length != NULL && strcmp(length, "0") != 0) ||
        px_http_field(x, "Transfer-Encoding") != NULL || parse_target(x) != 0)
        return 400;
    return 0;
}

static bool vet(void *ctx, struct px_http_exchange *x)
{
    unsigned status = verdict(x);
    (void)ctx;
    if (status != 0)
        px_http_answer(x, &(struct px_http_answer){.status = status});
    return status == 0;
}

static void on_request(void *ctx, struct px_http_exchange *x)
{
    struct px_http_front *f = ctx;
    f->ops->request(f->ctx, x, px_http_scratch(x), is_head(x)); /* `vet` has parsed the target */
}

static const struct px_http_server_ops server_ops = {vet, on_request};

/* --- life --- */

/* Accepted sockets inherit TCP_NODELAY. */
static int prepare_socket(struct px_http_front *f, int fd)
{
    union px_sockaddr sa = {0};
    socklen_t len = sizeof(sa);
    const int one = 1;
    if (getsockname(fd, &sa.sa, &len) != 0)
        return PX_EADDR;
    px_sockaddr_to_addr(&sa.sa, &f->local);
    if (f->local.family == PX_ADDR_NONE)
        return PX_EADDR;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return 0;
}

static int start(struct px_http_front *f, uv_loop_t *loop, const struct px_log *log, int owned_fd)
{
    const struct px_http_server_config config = {
        .loop = loop,
        .log = log,
        .ops = &server_ops,
        .ctx = f,
        .connections_max = PX_HTTP_CONNECTIONS_MAX,
        .conn_memory = PX_HTTP_CONN_MEMORY,
        .idle_seconds = PX_HTTP_IDLE_SECONDS,
        .owner_flushes = true,
    };
    int err = prepare_socket(f, owned_fd);
    if (err != 0) {
        close(owned_fd);
        return err;
    }
    return px_http_server_new(&config, owned_fd, &f->server);
}

int px_http_front_new(uv_loop_t *loop, const struct px_addr *listen_addr, int listen_fd,
                      const struct px_log *log, const struct px_http_front_ops *ops, void *ctx,
                      struct px_http_front **ret)
{
    int err = listen_fd < 0 ? px_http_listen_tcp(listen_addr, &listen_fd) : 0;
    if (err != 0)
        return err;
    struct px_http_front *f = calloc(1, sizeof(*f));
    if (f == NULL) {
        close(listen_fd);
        return PX_ENOMEM;
    }
    *f = (struct px_http_front){.ops = ops, .ctx = ctx};
    err = start(f, loop, log, listen_fd);
    if (err != 0) {
        free(f);
        return err;
    }
    *ret = f;
    return 0;
}

const struct px_addr *px_http_front_local(const struct px_http_front *f)
{
    return &f->local;
}

bool px_http_front_flush(struct px_http_front *f)
{
    return px_http_server_flush(f->server);
}

void px_http_front_quiesce(struct px_http_front *f)
{
    px_http_server_quiesce(f->server);
}

size_t px_http_front_active(const struct px_http_front *f)
{
    return px_http_server_active(f->server);
}

static void on_closed(void *ctx)
{
    struct px_http_front *f = ctx;
    void (*closed)(void *ctx) = f->closed;
    void *closed_ctx = f->closed_ctx;
    free(f);
    if (closed != NULL)
        closed(closed_ctx);
}

void px_http_front_close(struct px_http_front *f, void (*closed)(void *ctx), void *ctx)
{
    f->closed = closed;
    f->closed_ctx = ctx;
    px_http_server_close(f->server, on_closed, f);
}

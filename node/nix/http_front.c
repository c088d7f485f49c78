/* The server of http_front.h on libmicrohttpd.
 *
 * The library calls us only from inside MHD_run; there we answer at once or suspend. Answers that
 * come later resume the connection, and the library then asks its handler again. */
#include "node/nix/http_front.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proto/base/list.h"
#include "transport/sockaddr.h"

enum exchange_state {
    EXCHANGE_HEADERS, /* the request is being read */
    EXCHANGE_ASKED,   /* our owner thinks */
    EXCHANGE_QUEUED,  /* the library has the answer */
};

/* Looks for the client going away while its connection is suspended: the library does not look
 * then. Lives on until libuv has let go of it. */
struct watch {
    uv_poll_t poll;
    struct px_http_exchange *x; /* NULL once the exchange is over */
};

struct px_http_exchange {
    struct px_list link; /* in front.exchanges */
    struct px_http_front *front;
    struct MHD_Connection *conn;
    struct px_http_target target;
    int target_err;
    enum exchange_state state;
    bool in_handler, suspended;
    bool cut;                      /* by the client's going away, or for want of memory */
    struct MHD_Response *response; /* to be queued */
    unsigned status;
    const struct px_http_body_ops *body;
    void *body_ctx;
    struct watch *watch;
    void (*over)(void *ctx);
    void *over_ctx;
};

struct px_http_front {
    uv_loop_t *loop;
    uv_poll_t poll;
    uv_timer_t timer;
    struct MHD_Daemon *daemon;
    const struct px_log *log;
    const struct px_http_front_ops *ops;
    void *ctx;
    struct px_addr local;
    struct px_list exchanges;
    size_t active;
    int handles; /* libuv has not let go of yet */
    bool due, running, quiesced;
    bool full; /* the library does not listen */
    void (*closed)(void *ctx);
    void *closed_ctx;
};

/* --- the loop --- */

static void on_timer(uv_timer_t *timer);

static bool is_full(const struct px_http_front *f)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(f->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
    return info != NULL && info->num_connections >= PX_HTTP_CONNECTIONS_MAX;
}

/* At the limit the library stops listening, and begins again only in the run after the one in which
 * a connection closed: nobody else would call for that. */
static void run(struct px_http_front *f)
{
    MHD_UNSIGNED_LONG_LONG ms;
    bool was_full;
    f->due = false;
    f->running = true;
    do {
        was_full = f->full;
        (void)MHD_run(f->daemon);
        f->full = is_full(f);
    } while (was_full && !f->full);
    f->running = false;
    if (MHD_get_timeout(f->daemon, &ms) == MHD_YES)
        (void)uv_timer_start(&f->timer, on_timer, ms, 0);
    else
        (void)uv_timer_stop(&f->timer);
}

static void on_timer(uv_timer_t *timer)
{
    run(PX_CONTAINER_OF(timer, struct px_http_front, timer));
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    run(PX_CONTAINER_OF(poll, struct px_http_front, poll));
}

bool px_http_front_flush(struct px_http_front *f)
{
    if (!f->due || f->running || f->daemon == NULL)
        return false;
    run(f);
    return true;
}

static void resume(struct px_http_exchange *x)
{
    if (!x->suspended)
        return;
    x->suspended = false;
    x->front->due = true;
    MHD_resume_connection(x->conn);
}

static void suspend(struct px_http_exchange *x)
{
    x->suspended = true;
    MHD_suspend_connection(x->conn);
}

/* --- a client that goes away --- */

static void on_watch_closed(uv_handle_t *handle)
{
    free(PX_CONTAINER_OF((uv_poll_t *)(void *)handle, struct watch, poll));
}

static void on_disconnect(uv_poll_t *poll, int status, int events)
{
    struct watch *w = PX_CONTAINER_OF(poll, struct watch, poll);
    (void)events;
    (void)status; /* an error is an end as well */
    (void)uv_poll_stop(poll);
    if (w->x == NULL)
        return;
    w->x->cut = true;
    resume(w->x);
}

/* Without it a vanished client is only noticed by the next bytes for it. */
static void watch_client(struct px_http_exchange *x)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct watch *w = calloc(1, sizeof(*w));
    if (w == NULL || info == NULL ||
        uv_poll_init(x->front->loop, &w->poll, info->connect_fd) != 0) {
        free(w);
        return;
    }
    w->x = x;
    x->watch = w;
    (void)uv_poll_start(&w->poll, UV_DISCONNECT, on_disconnect);
}

static void unwatch(struct px_http_exchange *x)
{
    if (x->watch == NULL)
        return;
    x->watch->x = NULL;
    uv_close((uv_handle_t *)&x->watch->poll, on_watch_closed);
    x->watch = NULL;
}

/* --- answers --- */

/* libmicrohttpd 0.9.75 forgets to clean up a connection that ends because its body does (the client
 * would hang until every connection idle for longer is gone), but it looks after those with a time
 * limit of their own whenever it runs. */
static ssize_t cut_body(struct px_http_exchange *x)
{
    (void)MHD_set_connection_option(x->conn, MHD_CONNECTION_OPTION_TIMEOUT, 1u);
    x->front->due = true;
    return MHD_CONTENT_READER_END_WITH_ERROR;
}

static ssize_t read_body(void *cls, uint64_t pos, char *buf, size_t max)
{
    struct px_http_exchange *x = cls;
    size_t len = 0;
    (void)pos;
    if (x->cut || x->body->read(x->body_ctx, buf, max, &len) != 0)
        return cut_body(x);
    if (len == 0)
        suspend(x);
    return (ssize_t)len;
}

static bool add_headers(struct px_http_exchange *x, struct MHD_Response *r,
                        const struct px_http_answer *a)
{
    char range[80];
    bool ok = true;
    if (a->content_type != NULL)
        ok = MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, a->content_type) && ok;
    if (a->ranges)
        ok = MHD_add_response_header(r, MHD_HTTP_HEADER_ACCEPT_RANGES, "bytes") && ok;
    if (a->status == 206)
        snprintf(range, sizeof(range), "bytes %llu-%llu/%llu", (unsigned long long)a->first,
                 (unsigned long long)(a->total - 1), (unsigned long long)a->total);
    else
        snprintf(range, sizeof(range), "bytes */%llu", (unsigned long long)a->total);
    if (a->status == 206 || a->status == 416)
        ok = MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_RANGE, range) && ok;
    if (x->front->quiesced)
        ok = MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close") && ok;
    return ok;
}

static struct MHD_Response *new_response(struct px_http_exchange *x, const struct px_http_answer *a)
{
    struct MHD_Response *r;
    if (a->ops != NULL)
        r = MHD_create_response_from_callback(
            a->length, (size_t)PX_MIN(a->length, (uint64_t)PX_HTTP_BODY_BLOCK), read_body, x, NULL);
    else
        r = MHD_create_response_from_buffer(a->body.len, (void *)(uintptr_t)a->body.data,
                                            MHD_RESPMEM_MUST_COPY);
    if (r != NULL && !add_headers(x, r, a)) {
        MHD_destroy_response(r);
        return NULL;
    }
    return r;
}

void px_http_answer(struct px_http_exchange *x, const struct px_http_answer *a)
{
    px_assert(x->response == NULL && x->state != EXCHANGE_QUEUED);
    x->status = a->status;
    x->body = a->ops;
    x->body_ctx = a->ctx;
    x->response = new_response(x, a);
    x->cut = x->cut || x->response == NULL;
    if (!x->in_handler)
        resume(x);
}

void px_http_body_resume(struct px_http_exchange *x)
{
    if (x->state == EXCHANGE_QUEUED)
        resume(x);
}

void px_http_on_over(struct px_http_exchange *x, void (*over)(void *ctx), void *ctx)
{
    x->over = over;
    x->over_ctx = ctx;
}

enum px_http_range px_http_exchange_range(struct px_http_exchange *x, uint64_t size,
                                          uint64_t *ret_first)
{
    const char *text = MHD_lookup_connection_value(x->conn, MHD_HEADER_KIND, MHD_HTTP_HEADER_RANGE);
    return text == NULL ? PX_HTTP_RANGE_NONE
                        : px_http_range_parse(px_slice_cstr(text), size, ret_first);
}

static enum MHD_Result queue(struct px_http_exchange *x)
{
    struct MHD_Response *r = x->response;
    if (x->cut || r == NULL)
        return MHD_NO; /* closes the connection */
    x->response = NULL;
    x->state = EXCHANGE_QUEUED;
    if (x->body != NULL)
        watch_client(x);
    enum MHD_Result ok = MHD_queue_response(x->conn, x->status, r);
    MHD_destroy_response(r);
    return ok;
}

static enum MHD_Result refuse(struct px_http_exchange *x, unsigned status)
{
    px_http_answer(x, &(struct px_http_answer){.status = status});
    return queue(x);
}

/* --- requests --- */

static const char *field(struct px_http_exchange *x, const char *name)
{
    return MHD_lookup_connection_value(x->conn, MHD_HEADER_KIND, name);
}

static bool from_this_machine(struct px_http_exchange *x)
{
    struct px_addr addr;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (info == NULL || info->client_addr == NULL)
        return false;
    px_sockaddr_to_addr(info->client_addr, &addr);
    return px_addr_is_loopback(&addr);
}

/* 0, or the status of the refusal. */
static unsigned vet(struct px_http_exchange *x, const char *method, const char *version)
{
    const char *host = field(x, MHD_HTTP_HEADER_HOST);
    const char *length = field(x, MHD_HTTP_HEADER_CONTENT_LENGTH);
    if (!from_this_machine(x) || (host != NULL && !px_http_host_allowed(px_slice_cstr(host))))
        return MHD_HTTP_FORBIDDEN;
    if (host == NULL && strcmp(version, MHD_HTTP_VERSION_1_0) != 0)
        return MHD_HTTP_BAD_REQUEST;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return MHD_HTTP_BAD_REQUEST;
    if ((length != NULL && strcmp(length, "0") != 0) ||
        field(x, MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL || x->target_err != 0)
        return MHD_HTTP_BAD_REQUEST;
    return 0;
}

static enum MHD_Result ask_owner(struct px_http_exchange *x, const char *method)
{
    struct px_http_front *f = x->front;
    x->state = EXCHANGE_ASKED;
    x->in_handler = true;
    f->ops->request(f->ctx, x, &x->target, strcmp(method, MHD_HTTP_METHOD_HEAD) == 0);
    x->in_handler = false;
    if (x->response != NULL || x->cut)
        return queue(x);
    suspend(x);
    return MHD_YES;
}

/* First called with the header fields, where a refusal also closes the connection; then when the
 * request is whole; then after each resume until there is an answer. */
static enum MHD_Result handle(void *cls, struct MHD_Connection *conn, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **con_cls)
{
    struct px_http_exchange *x = *con_cls;
    (void)cls;
    (void)url;
    (void)upload;
    if (x == NULL)
        return MHD_NO;
    if (x->conn == NULL) {
        x->conn = conn;
        x->in_handler = true;
        unsigned status = vet(x, method, version);
        enum MHD_Result result = status != 0 ? refuse(x, status) : MHD_YES;
        x->in_handler = false;
        return result;
    }
    *upload_size = 0; /* `vet` lets no body through */
    switch (x->state) {
    case EXCHANGE_HEADERS:
        return ask_owner(x, method);
    case EXCHANGE_ASKED:
        return queue(x);
    case EXCHANGE_QUEUED:
        return MHD_YES;
    }
    return MHD_NO;
}

/* The request line as it came, before the library has split and decoded it. */
static void *on_target(void *cls, const char *uri, struct MHD_Connection *conn)
{
    struct px_http_front *f = cls;
    struct px_http_exchange *x = calloc(1, sizeof(*x));
    (void)conn;
    if (x == NULL)
        return NULL;
    x->front = f;
    x->target_err = px_http_target_parse(px_slice_cstr(uri), &x->target);
    px_list_push_back(&f->exchanges, &x->link);
    f->active++;
    return x;
}

static void on_completed(void *cls, struct MHD_Connection *conn, void **con_cls,
                         enum MHD_RequestTerminationCode code)
{
    struct px_http_exchange *x = *con_cls;
    (void)cls;
    (void)conn;
    (void)code;
    *con_cls = NULL;
    if (x == NULL)
        return;
    unwatch(x);
    px_list_remove(&x->link);
    x->front->active--;
    if (x->response != NULL)
        MHD_destroy_response(x->response);
    if (x->over != NULL)
        x->over(x->over_ctx);
    free(x);
}

/* Decoding is ours (http_path.c). */
static size_t keep_escapes(void *cls, struct MHD_Connection *conn, char *text)
{
    (void)cls;
    (void)conn;
    return strlen(text);
}

static void on_library_note(void *cls, const char *fmt, va_list ap)
{
    char text[256];
    struct px_http_front *f = cls;
    if (f->log == NULL || f->log->level < PX_LOG_DEBUG)
        return;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    vsnprintf(text, sizeof(text), fmt, ap);
#pragma GCC diagnostic pop
    px_log_event(f->log, PX_LOG_DEBUG, "http.note",
                 PX_F_SLICE("text", px_slice(text, strcspn(text, "\n"))));
}

/* --- sockets --- */

static int open_socket(const struct px_addr *listen_addr, int *ret_fd)
{
    union px_sockaddr sa;
    const int one = 1;
    if (!px_addr_is_loopback(listen_addr))
        return PX_EADDR;
    socklen_t len = px_sockaddr_from_addr(listen_addr, &sa);
    int fd = socket(sa.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return px_err_from_errno(errno);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, &sa.sa, len) != 0 || listen(fd, PX_HTTP_BACKLOG) != 0) {
        int err = errno == EACCES || errno == EPERM ? PX_EPERM : PX_EADDR;
        close(fd);
        return err;
    }
    *ret_fd = fd;
    return 0;
}

/* Accepted sockets inherit TCP_NODELAY. */
static int prepare_socket(struct px_http_front *f, int fd)
{
    union px_sockaddr sa = {0};
    socklen_t len = sizeof(sa);
    const int one = 1;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        getsockname(fd, &sa.sa, &len) != 0)
        return PX_EADDR;
    px_sockaddr_to_addr(&sa.sa, &f->local);
    if (f->local.family == PX_ADDR_NONE)
        return PX_EADDR;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return 0;
}

static struct MHD_Daemon *start_library(struct px_http_front *f, int fd)
{
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_TURBO | MHD_USE_ERROR_LOG, 0, NULL, NULL,
        handle, f, MHD_OPTION_EXTERNAL_LOGGER, on_library_note, f, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, f, MHD_OPTION_URI_LOG_CALLBACK, on_target, f,
        MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)PX_HTTP_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)PX_HTTP_CONN_MEMORY, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)PX_HTTP_IDLE_SECONDS,
        MHD_OPTION_END);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct px_http_front *f = handle->data;
    if (--f->handles > 0)
        return;
    if (f->closed != NULL)
        f->closed(f->closed_ctx);
    free(f);
}

static void close_handles(struct px_http_front *f)
{
    f->handles = 2;
    uv_close((uv_handle_t *)&f->poll, on_handle_closed);
    uv_close((uv_handle_t *)&f->timer, on_handle_closed);
}

static int start(struct px_http_front *f, int fd)
{
    int err = prepare_socket(f, fd);
    if (err != 0) {
        close(fd);
        return err;
    }
    f->daemon = start_library(f, fd);
    if (f->daemon == NULL) {
        close(fd);
        return PX_ENOMEM;
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(f->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (info == NULL || uv_poll_init(f->loop, &f->poll, info->epoll_fd) != 0) {
        MHD_stop_daemon(f->daemon);
        return PX_ENOMEM;
    }
    (void)uv_timer_init(f->loop, &f->timer);
    f->poll.data = f->timer.data = f;
    if (uv_poll_start(&f->poll, UV_READABLE, on_poll) != 0) {
        MHD_stop_daemon(f->daemon);
        close_handles(f);
        return PX_EIO;
    }
    run(f); /* puts the listening socket into the library's epoll set */
    return 0;
}

int px_http_front_new(uv_loop_t *loop, const struct px_addr *listen_addr, int listen_fd,
                      const struct px_log *log, const struct px_http_front_ops *ops, void *ctx,
                      struct px_http_front **ret)
{
    int err = listen_fd < 0 ? open_socket(listen_addr, &listen_fd) : 0;
    if (err != 0)
        return err;
    struct px_http_front *f = calloc(1, sizeof(*f));
    if (f == NULL) {
        close(listen_fd);
        return PX_ENOMEM;
    }
    *f = (struct px_http_front){.loop = loop, .log = log, .ops = ops, .ctx = ctx};
    px_list_init(&f->exchanges);
    err = start(f, listen_fd);
    if (err != 0) {
        if (f->handles == 0)
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

size_t px_http_front_active(const struct px_http_front *f)
{
    return f->active;
}

void px_http_front_quiesce(struct px_http_front *f)
{
    if (f->quiesced)
        return;
    f->quiesced = true;
    MHD_socket fd = MHD_quiesce_daemon(f->daemon);
    if (fd != MHD_INVALID_SOCKET)
        close(fd);
}

void px_http_front_close(struct px_http_front *f, void (*closed)(void *ctx), void *ctx)
{
    px_http_front_quiesce(f);
    f->closed = closed;
    f->closed_ctx = ctx;
    (void)uv_poll_stop(&f->poll);
    (void)uv_timer_stop(&f->timer);
    PX_LIST_EACH(it, &f->exchanges) {
        struct px_http_exchange *x = PX_CONTAINER_OF(it, struct px_http_exchange, link);
        x->cut = true;
        resume(x); /* the library stops only without suspended connections */
    }
    MHD_stop_daemon(f->daemon);
    f->daemon = NULL;
    close_handles(f);
}

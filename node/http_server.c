/* The server of http_server.h on libmicrohttpd: its run in our loop, its callbacks, sockets, life.
 * One request and its answer are http_server_exchange.c's.
 *
 * The library calls us only from inside MHD_run; there we answer at once or suspend. Answers that
 * come later resume the connection, and the library then asks its handler again. */
#include "node/http_server_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transport/sockaddr.h"

/* --- the loop --- */

static void on_timer(uv_timer_t *timer);

static bool is_full(const struct px_http_server *s)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
    return info != NULL && info->num_connections >= s->config.connections_max;
}

/* At the limit the library stops listening, and begins again only in the run after the one in which
 * a connection closed: nobody else would call for that. */
static void run(struct px_http_server *s)
{
    MHD_UNSIGNED_LONG_LONG ms;
    bool was_full;
    s->due = false;
    s->running = true;
    do {
        was_full = s->full;
        (void)MHD_run(s->daemon);
        s->full = is_full(s);
    } while (was_full && !s->full);
    s->running = false;
    if (s->due && !s->config.owner_flushes)
        (void)uv_timer_start(&s->timer, on_timer, 0, 0);
    else if (MHD_get_timeout(s->daemon, &ms) == MHD_YES)
        (void)uv_timer_start(&s->timer, on_timer, ms, 0);
    else
        (void)uv_timer_stop(&s->timer);
}

static void on_timer(uv_timer_t *timer)
{
    run(PX_CONTAINER_OF(timer, struct px_http_server, timer));
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    run(PX_CONTAINER_OF(poll, struct px_http_server, poll));
}

bool px_http_server_flush(struct px_http_server *s)
{
    if (!s->due || s->running || s->daemon == NULL)
        return false;
    run(s);
    return true;
}

void px_http_server_make_due(struct px_http_server *s)
{
    s->due = true;
    if (!s->config.owner_flushes && !s->running)
        (void)uv_timer_start(&s->timer, on_timer, 0, 0);
}

/* --- requests --- */

static enum MHD_Result vet(struct px_http_exchange *x)
{
    struct px_http_server *s = x->server;
    x->in_handler = true;
    bool fine = s->config.ops->vet(s->config.ctx, x);
    x->in_handler = false;
    return fine ? MHD_YES : px_http_exchange_queue(x);
}

static enum MHD_Result ask_owner(struct px_http_exchange *x)
{
    struct px_http_server *s = x->server;
    x->state = PX_HTTP_ASKED;
    x->in_handler = true;
    s->config.ops->request(s->config.ctx, x);
    x->in_handler = false;
    if (x->response != NULL || x->cut)
        return px_http_exchange_queue(x);
    if (s->config.watch_waiting)
        px_http_exchange_watch(x);
    px_http_exchange_suspend(x);
    return MHD_YES;
}

/* First called with the header fields, where a refusal also closes the connection; then for each
 * part of the body; then when the request is whole; then after each resume until there is an
 * answer. */
static enum MHD_Result handle(void *cls, struct MHD_Connection *conn, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **con_cls)
{
    struct px_http_exchange *x = *con_cls;
    (void)cls;
    (void)url;
    if (x == NULL)
        return MHD_NO;
    if (x->conn == NULL) {
        x->conn = conn;
        x->method = method;
        x->version = version;
        return vet(x);
    }
    switch (x->state) {
    case PX_HTTP_HEADERS:
        if (*upload_size == 0)
            return ask_owner(x);
        (void)px_buf_put(&x->body, px_slice(upload, *upload_size));
        *upload_size = 0;
        return MHD_YES;
    case PX_HTTP_ASKED:
        return px_http_exchange_queue(x);
    case PX_HTTP_QUEUED:
        return MHD_YES;
    }
    return MHD_NO;
}

/* The request line as it came, before the library has split and decoded it. */
static void *on_target(void *cls, const char *uri, struct MHD_Connection *conn)
{
    struct px_http_server *s = cls;
    struct px_http_exchange *x = calloc(1, sizeof(*x));
    (void)conn;
    if (x == NULL)
        return NULL;
    x->server = s;
    if (strnlen(uri, PX_HTTP_RAW_TARGET_MAX + 1) <= PX_HTTP_RAW_TARGET_MAX) {
        x->target = strdup(uri);
        if (x->target == NULL) {
            free(x);
            return NULL;
        }
    }
    px_buf_init(&x->body, s->config.body_max);
    px_list_push_back(&s->exchanges, &x->link);
    s->active++;
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
    px_http_exchange_unwatch(x);
    px_list_remove(&x->link);
    x->server->active--;
    if (x->response != NULL)
        MHD_destroy_response(x->response);
    if (x->over != NULL)
        x->over(x->over_ctx);
    px_buf_deinit(&x->body);
    free(x->target);
    free(x);
}

/* Decoding is our owners'. */
static size_t keep_escapes(void *cls, struct MHD_Connection *conn, char *text)
{
    (void)cls;
    (void)conn;
    return strlen(text);
}

static void on_library_note(void *cls, const char *fmt, va_list ap)
{
    char text[256];
    struct px_http_server *s = cls;
    if (s->config.log == NULL || s->config.log->level < PX_LOG_DEBUG)
        return;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    vsnprintf(text, sizeof(text), fmt, ap);
#pragma GCC diagnostic pop
    px_log_event(s->config.log, PX_LOG_DEBUG, "http.note",
                 PX_F_SLICE("text", px_slice(text, strcspn(text, "\n"))));
}

/* --- sockets --- */

int px_http_listen_tcp(const struct px_addr *addr, int *ret_fd)
{
    union px_sockaddr sa;
    const int one = 1;
    if (!px_addr_is_loopback(addr))
        return PX_EADDR;
    socklen_t len = px_sockaddr_from_addr(addr, &sa);
    int fd = socket(sa.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return px_err_from_errno(errno);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, &sa.sa, len) != 0 || listen(fd, PX_HTTP_LISTEN_BACKLOG) != 0) {
        int err = errno == EACCES || errno == EPERM ? PX_EPERM : PX_EADDR;
        close(fd);
        return err;
    }
    *ret_fd = fd;
    return 0;
}

static struct MHD_Daemon *start_library(struct px_http_server *s, int fd)
{
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_TURBO | MHD_USE_ERROR_LOG, 0, NULL, NULL,
        handle, s, MHD_OPTION_EXTERNAL_LOGGER, on_library_note, s, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_URI_LOG_CALLBACK, on_target, s,
        MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_CONNECTION_LIMIT,
        s->config.connections_max, MHD_OPTION_CONNECTION_MEMORY_LIMIT, s->config.conn_memory,
        MHD_OPTION_CONNECTION_TIMEOUT, s->config.idle_seconds, MHD_OPTION_END);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct px_http_server *s = handle->data;
    if (--s->handles > 0)
        return;
    void (*closed)(void *ctx) = s->closed;
    void *closed_ctx = s->closed_ctx;
    free(s);
    if (closed != NULL)
        closed(closed_ctx);
}

static void close_handles(struct px_http_server *s)
{
    s->handles = 2;
    uv_close((uv_handle_t *)&s->poll, on_handle_closed);
    uv_close((uv_handle_t *)&s->timer, on_handle_closed);
}

static int set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ? PX_EADDR : 0;
}

static int start(struct px_http_server *s, int fd)
{
    int err = set_nonblocking(fd);
    s->daemon = err == 0 ? start_library(s, fd) : NULL;
    if (s->daemon == NULL) {
        close(fd);
        return err != 0 ? err : PX_ENOMEM;
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (info == NULL || uv_poll_init(s->config.loop, &s->poll, info->epoll_fd) != 0) {
        MHD_stop_daemon(s->daemon);
        return PX_ENOMEM;
    }
    (void)uv_timer_init(s->config.loop, &s->timer);
    s->poll.data = s->timer.data = s;
    if (uv_poll_start(&s->poll, UV_READABLE, on_poll) != 0) {
        MHD_stop_daemon(s->daemon);
        close_handles(s);
        return PX_EIO;
    }
    run(s); /* puts the listening socket into the library's epoll set */
    return 0;
}

int px_http_server_new(const struct px_http_server_config *config, int owned_fd,
                       struct px_http_server **ret)
{
    struct px_http_server *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        close(owned_fd);
        return PX_ENOMEM;
    }
    s->config = *config;
    px_list_init(&s->exchanges);
    int err = start(s, owned_fd);
    if (err != 0) {
        if (s->handles == 0)
            free(s);
        return err;
    }
    *ret = s;
    return 0;
}

size_t px_http_server_active(const struct px_http_server *s)
{
    return s->active;
}

void px_http_server_quiesce(struct px_http_server *s)
{
    if (s->quiesced)
        return;
    s->quiesced = true;
    MHD_socket fd = MHD_quiesce_daemon(s->daemon);
    if (fd != MHD_INVALID_SOCKET)
        close(fd);
}

void px_http_server_close(struct px_http_server *s, void (*closed)(void *ctx), void *ctx)
{
    px_http_server_quiesce(s);
    s->closed = closed;
    s->closed_ctx = ctx;
    (void)uv_poll_stop(&s->poll);
    (void)uv_timer_stop(&s->timer);
    PX_LIST_EACH(it, &s->exchanges) {
        struct px_http_exchange *x = PX_CONTAINER_OF(it, struct px_http_exchange, link);
        x->cut = true;
        px_http_exchange_resume(x); /* the library stops only without suspended connections */
    }
    MHD_stop_daemon(s->daemon);
    s->daemon = NULL;
    close_handles(s);
}

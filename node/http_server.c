/* The server of http_server.h on libmicrohttpd.
 *
 * The library calls us only from inside MHD_run; there we answer at once or suspend. Answers that
 * come later resume the connection, and the library then asks its handler again. */
#include "node/http_server.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/base/list.h"
#include "transport/sockaddr.h"

#define STREAM_BLOCK (16u * 1024) /* of a body of unknown length */

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
    struct px_list link; /* in server.exchanges */
    struct px_http_server *server;
    struct MHD_Connection *conn;
    const char *method, *version; /* the library's */
    char *target;                 /* NULL: too long */
    enum exchange_state state;
    bool in_handler, suspended;
    bool cut; /* by the client's going away, by its owner, or for want of memory */
    struct px_buf body;
    struct MHD_Response *response; /* to be queued */
    unsigned status;
    const struct px_http_body_ops *reader;
    void *reader_ctx;
    bool endless; /* its body's length is unknown */
    struct watch *watch;
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

static void make_due(struct px_http_server *s)
{
    s->due = true;
    if (!s->config.owner_flushes && !s->running)
        (void)uv_timer_start(&s->timer, on_timer, 0, 0);
}

static void resume(struct px_http_exchange *x)
{
    if (!x->suspended)
        return;
    x->suspended = false;
    MHD_resume_connection(x->conn);
    make_due(x->server);
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
    if (x->watch != NULL)
        return;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct watch *w = calloc(1, sizeof(*w));
    if (w == NULL || info == NULL ||
        uv_poll_init(x->server->config.loop, &w->poll, info->connect_fd) != 0) {
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
    make_due(x->server);
    return MHD_CONTENT_READER_END_WITH_ERROR;
}

static ssize_t read_body(void *cls, uint64_t pos, char *buf, size_t max)
{
    struct px_http_exchange *x = cls;
    size_t len = 0;
    (void)pos;
    int err = x->cut ? PX_ECANCELED : x->reader->read(x->reader_ctx, buf, max, &len);
    if (err == PX_ECLOSED && x->endless)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (err != 0)
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
    if (a->field != NULL)
        ok = MHD_add_response_header(r, a->field, a->value) && ok;
    if (x->server->quiesced)
        ok = MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close") && ok;
    return ok;
}

static struct MHD_Response *new_response(struct px_http_exchange *x, const struct px_http_answer *a)
{
    struct MHD_Response *r;
    if (a->ops != NULL)
        r = MHD_create_response_from_callback(
            x->endless ? MHD_SIZE_UNKNOWN : a->length,
            x->endless ? STREAM_BLOCK : (size_t)PX_MIN(a->length, (uint64_t)PX_HTTP_BODY_BLOCK),
            read_body, x, NULL);
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
    x->reader = a->ops;
    x->reader_ctx = a->ctx;
    x->endless = a->ops != NULL && a->length == PX_HTTP_LENGTH_UNKNOWN;
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

/* The library notices a socket that was shut down, whether it waits to read or to write. */
void px_http_cut(struct px_http_exchange *x)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    x->cut = true;
    if (info != NULL)
        (void)shutdown(info->connect_fd, SHUT_RDWR);
    resume(x);
}

static enum MHD_Result queue(struct px_http_exchange *x)
{
    struct MHD_Response *r = x->response;
    if (x->cut || r == NULL)
        return MHD_NO; /* closes the connection */
    x->response = NULL;
    x->state = EXCHANGE_QUEUED;
    if (x->reader != NULL)
        watch_client(x);
    enum MHD_Result ok = MHD_queue_response(x->conn, x->status, r);
    MHD_destroy_response(r);
    return ok;
}

/* --- requests --- */

const char *px_http_method(const struct px_http_exchange *x)
{
    return x->method;
}

const char *px_http_version(const struct px_http_exchange *x)
{
    return x->version;
}

const char *px_http_raw_target(const struct px_http_exchange *x)
{
    return x->target;
}

const char *px_http_field(const struct px_http_exchange *x, const char *name)
{
    return MHD_lookup_connection_value(x->conn, MHD_HEADER_KIND, name);
}

struct field_visit {
    void (*each)(void *ctx, const char *name, const char *value);
    void *ctx;
};

static enum MHD_Result visit_field(void *cls, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    const struct field_visit *v = cls;
    (void)kind;
    v->each(v->ctx, name, value != NULL ? value : "");
    return MHD_YES;
}

void px_http_each_field(const struct px_http_exchange *x,
                        void (*each)(void *ctx, const char *name, const char *value), void *ctx)
{
    struct field_visit v = {each, ctx};
    (void)MHD_get_connection_values(x->conn, MHD_HEADER_KIND, visit_field, &v);
}

struct px_slice px_http_body(const struct px_http_exchange *x, int *ret_err)
{
    *ret_err = x->body.err;
    return px_buf_slice(&x->body);
}

void px_http_remote(const struct px_http_exchange *x, struct px_addr *ret)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    *ret = (struct px_addr){.family = PX_ADDR_NONE};
    if (info != NULL && info->client_addr != NULL)
        px_sockaddr_to_addr(info->client_addr, ret);
}

int px_http_credentials(const struct px_http_exchange *x, uid_t *ret_uid, pid_t *ret_pid)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info == NULL || getsockopt(info->connect_fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
        return PX_EIO;
    *ret_uid = cred.uid;
    *ret_pid = cred.pid;
    return 0;
}

void *px_http_scratch(struct px_http_exchange *x)
{
    return x->scratch;
}

static enum MHD_Result vet(struct px_http_exchange *x)
{
    struct px_http_server *s = x->server;
    x->in_handler = true;
    bool fine = s->config.ops->vet(s->config.ctx, x);
    x->in_handler = false;
    return fine ? MHD_YES : queue(x);
}

static enum MHD_Result ask_owner(struct px_http_exchange *x)
{
    struct px_http_server *s = x->server;
    x->state = EXCHANGE_ASKED;
    x->in_handler = true;
    s->config.ops->request(s->config.ctx, x);
    x->in_handler = false;
    if (x->response != NULL || x->cut)
        return queue(x);
    if (s->config.watch_waiting)
        watch_client(x);
    suspend(x);
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
    case EXCHANGE_HEADERS:
        if (*upload_size == 0)
            return ask_owner(x);
        (void)px_buf_put(&x->body, px_slice(upload, *upload_size));
        *upload_size = 0;
        return MHD_YES;
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
    unwatch(x);
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
        resume(x); /* the library stops only without suspended connections */
    }
    MHD_stop_daemon(s->daemon);
    s->daemon = NULL;
    close_handles(s);
}

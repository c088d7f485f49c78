/* One request and its answer (http_server.h): what was asked, the answer's head and body, and the
 * client that goes away meanwhile. */
#include "node/http_server_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "transport/sockaddr.h"

#define STREAM_BLOCK (16u * 1024) /* of a body of unknown length */

void px_http_exchange_resume(struct px_http_exchange *x)
{
    if (!x->suspended)
        return;
    x->suspended = false;
    MHD_resume_connection(x->conn);
    px_http_server_make_due(x->server);
}

void px_http_exchange_suspend(struct px_http_exchange *x)
{
    x->suspended = true;
    MHD_suspend_connection(x->conn);
}

/* --- a client that goes away --- */

static void on_watch_closed(uv_handle_t *handle)
{
    free(PX_CONTAINER_OF((uv_poll_t *)(void *)handle, struct px_http_watch, poll));
}

static void on_disconnect(uv_poll_t *poll, int status, int events)
{
    struct px_http_watch *w = PX_CONTAINER_OF(poll, struct px_http_watch, poll);
    (void)events;
    (void)status; /* an error is an end as well */
    (void)uv_poll_stop(poll);
    if (w->x == NULL)
        return;
    w->x->cut = true;
    px_http_exchange_resume(w->x);
}

void px_http_exchange_watch(struct px_http_exchange *x)
{
    if (x->watch != NULL)
        return;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct px_http_watch *w = calloc(1, sizeof(*w));
    if (w == NULL || info == NULL ||
        uv_poll_init(x->server->config.loop, &w->poll, info->connect_fd) != 0) {
        free(w);
        return;
    }
    w->x = x;
    x->watch = w;
    (void)uv_poll_start(&w->poll, UV_DISCONNECT, on_disconnect);
}

void px_http_exchange_unwatch(struct px_http_exchange *x)
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
    px_http_server_make_due(x->server);
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
        px_http_exchange_suspend(x);
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
    px_assert(x->response == NULL && x->state != PX_HTTP_QUEUED);
    x->status = a->status;
    x->reader = a->ops;
    x->reader_ctx = a->ctx;
    x->endless = a->ops != NULL && a->length == PX_HTTP_LENGTH_UNKNOWN;
    x->response = new_response(x, a);
    x->cut = x->cut || x->response == NULL;
    if (!x->in_handler)
        px_http_exchange_resume(x);
}

void px_http_body_resume(struct px_http_exchange *x)
{
    if (x->state == PX_HTTP_QUEUED)
        px_http_exchange_resume(x);
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
    px_http_exchange_resume(x);
}

enum MHD_Result px_http_exchange_queue(struct px_http_exchange *x)
{
    struct MHD_Response *r = x->response;
    if (x->cut || r == NULL)
        return MHD_NO; /* closes the connection */
    x->response = NULL;
    x->state = PX_HTTP_QUEUED;
    if (x->reader != NULL)
        px_http_exchange_watch(x);
    enum MHD_Result ok = MHD_queue_response(x->conn, x->status, r);
    MHD_destroy_response(r);
    return ok;
}

/* --- what was asked --- */

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

/* The server of control.h: who may speak, which route, and its life. Answers are control_call.c,
 * events control_events.c. */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "node/control_internal.h"
#include "node/control_text.h"

#define CONNECTIONS_MAX 128
#define CONN_MEMORY     (32u * 1024)
#define IDLE_SECONDS    60

/* --- calls --- */

static void tell_gone(struct px_control_call *call)
{
    void (*gone)(void *ctx) = call->gone;
    call->gone = NULL;
    if (gone != NULL)
        gone(call->gone_ctx);
}

static void on_linger(uv_timer_t *timer);

static void on_over(void *ctx)
{
    struct px_control_call *call = ctx;
    struct px_control *c = call->control;
    if (call->state != CALL_DONE)
        tell_gone(call);
    if (!px_list_empty(&call->events))
        c->listener_count--;
    px_list_remove(&call->events);
    px_list_remove(&call->link);
    c->call_count--;
    json_decref(call->body);
    px_buf_deinit(&call->lines);
    free(call);
    if (c->closing && !c->finished && px_http_server_active(c->server) == 0)
        (void)uv_timer_start(&c->linger, on_linger, 0, 0); /* not from inside the library */
}

/* Text when asked for by ?format=, else by Accept. False: neither json nor text. */
static bool choose_format(struct px_control_call *call)
{
    const char *format = px_control_query(call, "format");
    const char *accept = px_http_field(call->x, "Accept");
    if (format != NULL) {
        call->text = strcmp(format, "text") == 0;
        return call->text || strcmp(format, "json") == 0;
    }
    call->text = accept != NULL && strncasecmp(accept, "text/plain", 10) == 0;
    return true;
}

/* *ret_known: there is such a path, for another method. */
static void *find_route(struct px_control_call *call, const char *method, bool *ret_known)
{
    struct px_control *c = call->control;
    *ret_known = false;
    for (size_t t = 0; t < c->table_count; t++) {
        for (size_t i = 0; i < c->tables[t].count; i++) {
            const struct px_control_route *r = &c->tables[t].routes[i];
            if (!px_control_target_match(&call->target, r->path, &call->params))
                continue;
            *ret_known = true;
            if (strcmp(r->method, method) != 0)
                continue;
            call->route = r;
            return c->tables[t].ctx;
        }
    }
    return NULL;
}

/* True when a body that came is fine. */
static bool take_body(struct px_control_call *call)
{
    int err;
    char why[128];
    struct px_slice text = px_http_body(call->x, &err);
    if (err == PX_ELIMIT) {
        px_control_refuse(call, 413, PX_ELIMIT, "the body is longer than %u bytes",
                          PX_CONTROL_BODY_MAX);
        return false;
    }
    if (err == 0 && text.len > 0)
        err = px_control_body_parse(text, &call->body, why, sizeof(why));
    if (err != 0)
        px_control_fail(call, err, "%s", err == PX_EPARSE ? why : px_strerror(err));
    return err == 0;
}

static void dispatch(struct px_control_call *call)
{
    struct px_control *c = call->control;
    const char *raw = px_http_raw_target(call->x);
    bool known;
    int err = raw == NULL ? PX_ELIMIT : px_control_target_parse(px_slice_cstr(raw), &call->target);
    if (err != 0 || !choose_format(call)) {
        px_control_refuse(call, err == PX_ELIMIT ? 414 : 400, err != 0 ? err : PX_EINVAL, "%s",
                          err != 0 ? "the path or query is malformed" : "format is json or text");
        return;
    }
    if (c->closing) {
        px_control_fail(call, PX_ECANCELED, "the daemon is stopping");
        return;
    }
    if (c->call_count > PX_CONTROL_CALLS_MAX) {
        px_control_fail(call, PX_EBUSY, "%d calls are under way already; try again",
                        PX_CONTROL_CALLS_MAX);
        return;
    }
    void *ctx = find_route(call, px_http_method(call->x), &known);
    if (call->route == NULL)
        px_control_refuse(call, known ? 405 : 404, PX_EUNSUPPORTED,
                          known ? "this path takes another method; GET /v1 lists them"
                                : "there is no such path; GET /v1 lists them");
    else if (take_body(call))
        call->route->handle(ctx, call);
}

static struct px_control_call *new_call(struct px_control *c, struct px_http_exchange *x)
{
    struct px_control_call *call = calloc(1, sizeof(*call));
    if (call == NULL)
        return NULL;
    call->control = c;
    call->x = x;
    px_buf_init(&call->lines, PX_CONTROL_BEHIND_MAX);
    px_list_init(&call->events);
    px_list_push_back(&c->calls, &call->link);
    c->call_count++;
    px_http_on_over(x, on_over, call);
    return call;
}

static void on_request(void *ctx, struct px_http_exchange *x)
{
    struct px_control_call *call = new_call(ctx, x);
    if (call == NULL)
        px_http_answer(x, &(struct px_http_answer){.status = 500});
    else
        dispatch(call);
}

/* --- who may speak --- */

struct fields {
    unsigned hosts, authorizations;
    bool foreign;
};

static void count_field(void *ctx, const char *name, const char *value)
{
    struct fields *f = ctx;
    (void)value;
    f->hosts += strcasecmp(name, "Host") == 0;
    f->authorizations += strcasecmp(name, "Authorization") == 0;
    f->foreign = f->foreign || px_control_field_foreign(px_slice_cstr(name));
}

struct verdict {
    unsigned status; /* 0: may speak */
    int err;
    const char *message;
};

static bool is_ours(const struct px_http_exchange *x)
{
    uid_t uid;
    pid_t pid;
    return px_http_credentials(x, &uid, &pid) == 0 && (uid == geteuid() || uid == 0);
}

static struct verdict judge(const struct px_control *c, const struct px_http_exchange *x)
{
    struct fields f = {0};
    uint64_t length;
    const char *host = px_http_field(x, "Host");
    const char *body = px_http_field(x, "Content-Length");
    px_http_each_field(x, count_field, &f);
    if (!is_ours(x))
        return (struct verdict){403, PX_EPERM, "only the daemon's user and root may speak here"};
    if (f.foreign || f.hosts > 1 || (host != NULL && !px_control_host_allowed(px_slice_cstr(host))))
        return (struct verdict){403, PX_EPERM,
                                "the request came through a proxy or a browser; speak to the "
                                "socket itself, with Host: localhost"};
    if (f.authorizations > 1 ||
        !px_control_cookie_matches(px_http_field(x, "Authorization"), c->socket.cookie))
        return (struct verdict){401, PX_EAUTH,
                                "send Authorization: Bearer with what control.cookie beside the "
                                "socket holds; each start of the daemon changes it"};
    if (px_http_field(x, "Transfer-Encoding") != NULL)
        return (struct verdict){411, PX_EUNSUPPORTED, "send the body with a Content-Length"};
    if (body != NULL && px_slice_parse_u64(px_slice_cstr(body), &length) != 0)
        return (struct verdict){400, PX_EPARSE, "Content-Length is malformed"};
    if (body != NULL && length > PX_CONTROL_BODY_MAX)
        return (struct verdict){413, PX_ELIMIT, "the body is longer than 65536 bytes"};
    return (struct verdict){0};
}

static bool vet(void *ctx, struct px_http_exchange *x)
{
    struct verdict v = judge(ctx, x);
    if (v.status == 0)
        return true;
    char *text = NULL;
    json_t *reply = px_control_failure_json(v.err, v.message);
    if (reply != NULL)
        text = json_dumps(reply, JSON_COMPACT);
    px_control_answer_bytes(x, v.status, false, px_slice_cstr(text != NULL ? text : "{}"));
    free(text);
    json_decref(reply);
    return false;
}

static const struct px_http_server_ops server_ops = {vet, on_request};

/* --- our own routes --- */

static void handle_routes(void *ctx, struct px_control_call *call)
{
    struct px_control *c = ctx;
    json_t *routes = json_array();
    for (size_t t = 0; t < c->table_count; t++)
        for (size_t i = 0; i < c->tables[t].count; i++) {
            const struct px_control_route *r = &c->tables[t].routes[i];
            (void)json_array_append_new(routes, json_pack("{s:s, s:s, s:s}", "method", r->method,
                                                          "path", r->path, "summary", r->summary));
        }
    px_control_reply(call, 200, json_pack("{s:o}", "routes", routes));
}

static int text_routes(const json_t *reply, struct px_buf *out)
{
    static const struct px_control_column columns[] = {
        {"METHOD", "method"}, {"PATH", "path"}, {"SUMMARY", "summary"}};
    return px_control_put_table(out, json_object_get(reply, "routes"), columns,
                                PX_ARRAY_LEN(columns));
}

static const struct px_control_route own_routes[] = {
    {"GET", "/v1", handle_routes, text_routes, "list the routes"},
    {"GET", "/v1/events", px_control_handle_events, NULL, "follow what happens, a line an event"},
};

/* --- life --- */

int px_control_add(struct px_control *c, const struct px_control_route *routes, size_t count,
                   void *ctx)
{
    if (c->table_count == PX_CONTROL_TABLES_MAX)
        return PX_ELIMIT;
    c->tables[c->table_count].routes = routes;
    c->tables[c->table_count].count = count;
    c->tables[c->table_count].ctx = ctx;
    c->table_count++;
    return 0;
}

static int start_server(struct px_control *c)
{
    const struct px_http_server_config config = {
        .loop = c->loop,
        .log = c->log,
        .ops = &server_ops,
        .ctx = c,
        .connections_max = CONNECTIONS_MAX,
        .conn_memory = CONN_MEMORY,
        .idle_seconds = IDLE_SECONDS,
        .body_max = PX_CONTROL_BODY_MAX,
        .watch_waiting = true,
    };
    int fd = c->socket.listen_fd;
    c->socket.listen_fd = -1;
    int err = px_http_server_new(&config, fd, &c->server);
    if (err == 0)
        (void)uv_timer_init(c->loop, &c->linger);
    return err;
}

int px_control_new(uv_loop_t *loop, const struct px_home *home, const struct px_log *log,
                   int *ret_other_pid, struct px_control **ret)
{
    char hint[PX_HOME_FILE_MAX + 256] = "";
    struct px_control *c = calloc(1, sizeof(*c));
    *ret_other_pid = 0;
    if (c == NULL)
        return PX_ENOMEM;
    c->loop = loop;
    c->log = log;
    c->thread = uv_thread_self();
    px_list_init(&c->calls);
    px_list_init(&c->listeners);
    int err = px_control_socket_open(home, &c->socket, ret_other_pid, hint, sizeof(hint));
    if (err == 0)
        err = start_server(c);
    if (err == 0)
        err = px_control_add(c, own_routes, PX_ARRAY_LEN(own_routes), c);
    if (err != 0) {
        px_log_event(log, PX_LOG_ERROR, err == PX_EEXIST ? "control.taken" : "control.unusable",
                     PX_F_STR("socket", c->socket.path), PX_F_U64("pid", (uint64_t)*ret_other_pid),
                     PX_F_ERR(err), PX_F_STR("hint", hint));
        px_control_socket_remove(&c->socket);
        px_control_free(c);
        return err;
    }
    *ret = c;
    return 0;
}

const char *px_control_path(const struct px_control *c)
{
    return c->socket.path;
}

static void one_closed(void *ctx)
{
    struct px_control *c = ctx;
    if (--c->handles > 0)
        return;
    c->server = NULL;
    if (c->closed != NULL)
        c->closed(c->closed_ctx);
}

static void on_linger_closed(uv_handle_t *handle)
{
    one_closed(PX_CONTAINER_OF((uv_timer_t *)(void *)handle, struct px_control, linger));
}

static void on_linger(uv_timer_t *timer)
{
    struct px_control *c = PX_CONTAINER_OF(timer, struct px_control, linger);
    c->finished = true;
    c->handles = 2;
    px_http_server_close(c->server, one_closed, c);
    uv_close((uv_handle_t *)&c->linger, on_linger_closed);
}

static void end_call(struct px_control_call *call)
{
    if (call->state == CALL_DONE)
        return;
    tell_gone(call);
    if (call->state == CALL_LINES)
        px_control_end(call);
    else
        px_control_fail(call, PX_ECANCELED, "the daemon is stopping");
}

void px_control_close(struct px_control *c, void (*closed)(void *ctx), void *ctx)
{
    c->closing = true;
    c->closed = closed;
    c->closed_ctx = ctx;
    px_control_socket_remove(&c->socket);
    px_http_server_quiesce(c->server);
    PX_LIST_EACH(it, &c->calls)
        end_call(PX_CONTAINER_OF(it, struct px_control_call, link));
    bool idle = px_http_server_active(c->server) == 0;
    (void)uv_timer_start(&c->linger, on_linger, idle ? 0 : PX_CONTROL_LINGER / PX_MSEC, 0);
}

void px_control_free(struct px_control *c)
{
    if (c == NULL)
        return;
    px_control_socket_close(&c->socket);
    free(c);
}

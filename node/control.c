/* The server of control.h: who may speak, which route, and answers as JSON, text or lines. */
#include "node/control.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "node/control_socket.h"
#include "node/control_text.h"
#include "node/http_server.h"
#include "proto/base/list.h"

#define CONNECTIONS_MAX 128
#define CONN_MEMORY     (32u * 1024)
#define IDLE_SECONDS    60
#define TEXT_MAX        ((size_t)16 * 1024 * 1024)

enum call_state {
    CALL_ASKED, /* its handler has it */
    CALL_LINES, /* its answer has begun */
    CALL_DONE,  /* nobody but the server has it */
};

struct px_control_call {
    struct px_list link;   /* in control.calls */
    struct px_list events; /* in control.listeners, or alone */
    struct px_control *control;
    struct px_http_exchange *x;
    const struct px_control_route *route;
    enum call_state state;
    bool text, in_handler;
    struct px_control_target target;
    struct px_control_params params;
    json_t *body;
    struct px_buf lines;
    void (*gone)(void *ctx);
    void *gone_ctx;
};

struct px_control {
    uv_loop_t *loop;
    const struct px_log *log;
    struct px_control_socket socket;
    struct px_http_server *server;
    uv_timer_t linger;
    uv_thread_t thread;
    struct {
        const struct px_control_route *routes;
        size_t count;
        void *ctx;
    } tables[PX_CONTROL_TABLES_MAX];
    size_t table_count;
    struct px_list calls, listeners;
    size_t call_count, listener_count;
    bool closing, finished;
    int handles; /* libuv has not let go of yet */
    struct px_log tee;
    const struct px_log *next;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

/* --- errors --- */

unsigned px_control_status(int err)
{
    static const struct {
        int err;
        unsigned status;
    } table[] = {
        {PX_EINVAL, 400},
        {PX_EPARSE, 400},
        {PX_ETRUNC, 400},
        {PX_EADDR, 400},
        {PX_ESELF, 400},
        {PX_EAUTH, 401},
        {PX_EPERM, 403},
        {PX_EFORBIDDEN, 403},
        {PX_EUNLISTED, 403},
        {PX_ENOENT, 404},
        {PX_ENOSERVICE, 404},
        {PX_EEXIST, 409},
        {PX_ESTATE, 409},
        {PX_ELIMIT, 413},
        {PX_EUNSUPPORTED, 501},
        {PX_EREFUSED, 502},
        {PX_EWRONGPEER, 502},
        {PX_ENETWORK, 502},
        {PX_EBINDING, 502},
        {PX_ETARGET, 502},
        {PX_ENOISE, 502},
        {PX_EDUPLICATE, 502},
        {PX_EOVERRUN, 502},
        {PX_EHASH, 502},
        {PX_ETLS, 502},
        {PX_EPROTO, 502},
        {PX_ECRYPTO, 502},
        {PX_ECLOSED, 502},
        {PX_EREVOKED, 502},
        {PX_EOFFLINE, 503},
        {PX_EBUSY, 503},
        {PX_EAGAIN, 503},
        {PX_ECANCELED, 503},
        {PX_ETIMEDOUT, 504},
        {PX_EHANDSHAKE_TIMEOUT, 504},
        {PX_EOFFLINK, 400},
        {PX_EINVITE_TYPO, 400},
        {PX_EINVITE_JUNK, 400},
        {PX_EINVITE_UNKNOWN, 404},
        {PX_EINVITE_EXPIRED, 410},
        {PX_EINVITE_USED, 410},
        {PX_EINVITE_BURNT, 410},
        {PX_EINVITE_WITHDRAWN, 410},
        {PX_EINVITE_TOKEN, 403},
        {PX_EINVITE_BUSY, 503},
        {PX_EPAIR_IMPOSTOR, 502},
        {PX_EPAIR_REJECTED, 403},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(table); i++)
        if (table[i].err == err)
            return table[i].status;
    return 500;
}

static json_t *error_json(int err, const char *message)
{
    return json_pack("{s:s, s:s}", "error", px_errname(err), "message", message);
}

/* --- sending --- */

/* Takes over the reply; a document or a line as text. */
static int render(const struct px_control_call *call, json_t *owned_reply, bool line, bool good,
                  struct px_buf *out)
{
    if (owned_reply == NULL)
        return PX_ENOMEM;
    if (!call->text) {
        char *text = json_dumps(owned_reply, (line ? JSON_COMPACT : JSON_INDENT(2)));
        if (text == NULL || px_buf_put_cstr(out, text) != 0)
            out->err = PX_ENOMEM;
        (void)px_buf_put_u8(out, '\n');
        free(text);
    } else if (good && call->route != NULL && call->route->text != NULL) {
        (void)call->route->text(owned_reply, out);
    } else if (line) {
        (void)px_control_put_line(out, owned_reply);
    } else {
        (void)px_control_put_object(out, owned_reply);
    }
    json_decref(owned_reply);
    return out->err;
}

static void answer_bytes(struct px_http_exchange *x, unsigned status, bool text,
                         struct px_slice body)
{
    struct px_http_answer a = {
        .status = status,
        .content_type = text ? "text/plain; charset=utf-8" : "application/json",
        .body = body,
    };
    if (status == 401) {
        a.field = "WWW-Authenticate";
        a.value = "Bearer realm=\"peerix\"";
    }
    px_http_answer(x, &a);
}

static void answer(struct px_control_call *call, unsigned status, json_t *owned_reply)
{
    static const char sorry[] = "{\"error\": \"ENOMEM\", \"message\": \"out of memory\"}\n";
    struct px_buf out;
    px_buf_init(&out, TEXT_MAX);
    call->state = CALL_DONE;
    if (render(call, owned_reply, false, status < 300, &out) == 0)
        answer_bytes(call->x, status, call->text, px_buf_slice(&out));
    else
        answer_bytes(call->x, 500, false, px_slice(sorry, sizeof(sorry) - 1));
    px_buf_deinit(&out);
}

void px_control_reply(struct px_control_call *call, unsigned status, json_t *owned_reply)
{
    px_assert(call->state == CALL_ASKED);
    answer(call, status, owned_reply);
}

static void PX_PRINTF(4, 0)
    fail(struct px_control_call *call, unsigned status, int err, const char *fmt, va_list ap)
{
    char message[1024];
    vsnprintf(message, sizeof(message), fmt, ap);
    json_t *reply = error_json(err, message);
    if (reply == NULL) /* cut in the middle of a character */
        reply = error_json(err, px_strerror(err));
    if (call->state != CALL_LINES) {
        answer(call, status, reply);
        return;
    }
    px_control_line(call, reply);
    px_control_end(call);
}

void px_control_fail(struct px_control_call *call, int err, const char *fmt, ...)
{
    va_list ap;
    px_assert(call->state != CALL_DONE);
    va_start(ap, fmt);
    fail(call, px_control_status(err), err, fmt, ap);
    va_end(ap);
}

/* A failure of the request itself, whose status says more than its error. */
static void PX_PRINTF(4, 5)
    refuse(struct px_control_call *call, unsigned status, int err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fail(call, status, err, fmt, ap);
    va_end(ap);
}

/* --- lines --- */

static int read_lines(void *ctx, void *dst, size_t cap, size_t *ret_len)
{
    struct px_control_call *call = ctx;
    size_t n = PX_MIN(call->lines.len, cap);
    if (n == 0)
        return call->state == CALL_DONE ? PX_ECLOSED : 0;
    memcpy(dst, call->lines.data, n);
    px_buf_drop(&call->lines, n);
    *ret_len = n;
    return 0;
}

static const struct px_http_body_ops lines_body = {read_lines};

void px_control_begin_lines(struct px_control_call *call)
{
    px_assert(call->state == CALL_ASKED);
    call->state = CALL_LINES;
    px_http_answer(call->x, &(struct px_http_answer){
                                .status = 200,
                                .content_type = call->text ? "text/plain; charset=utf-8"
                                                           : "application/x-ndjson",
                                .ops = &lines_body,
                                .ctx = call,
                                .length = PX_HTTP_LENGTH_UNKNOWN,
                            });
}

/* A reader that does not keep up is cut: what it would get later has a hole it could not see. */
void px_control_line(struct px_control_call *call, json_t *owned_line)
{
    px_assert(call->state == CALL_LINES);
    bool good = json_object_get(owned_line, "error") == NULL;
    if (render(call, owned_line, true, good, &call->lines) == 0)
        px_http_body_resume(call->x);
    else
        px_http_cut(call->x);
}

void px_control_end(struct px_control_call *call)
{
    px_assert(call->state == CALL_LINES);
    call->state = CALL_DONE;
    px_http_body_resume(call->x);
}

/* --- what handlers ask --- */

const char *px_control_param(const struct px_control_call *call, const char *name)
{
    for (size_t i = 0; i < call->params.count; i++)
        if (px_slice_eq_cstr(call->params.at[i].name, name))
            return call->params.at[i].value;
    return NULL;
}

const char *px_control_query(const struct px_control_call *call, const char *name)
{
    return px_control_target_query(&call->target, name);
}

const json_t *px_control_body(const struct px_control_call *call)
{
    return call->body;
}

void px_control_on_gone(struct px_control_call *call, void (*gone)(void *ctx), void *ctx)
{
    call->gone = gone;
    call->gone_ctx = ctx;
}

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
        refuse(call, 413, PX_ELIMIT, "the body is longer than %u bytes", PX_CONTROL_BODY_MAX);
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
        refuse(call, err == PX_ELIMIT ? 414 : 400, err != 0 ? err : PX_EINVAL, "%s",
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
        refuse(call, known ? 405 : 404, PX_EUNSUPPORTED,
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
    json_t *reply = error_json(v.err, v.message);
    if (reply != NULL)
        text = json_dumps(reply, JSON_COMPACT);
    answer_bytes(x, v.status, false, px_slice_cstr(text != NULL ? text : "{}"));
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

static void handle_events(void *ctx, struct px_control_call *call)
{
    struct px_control *c = ctx;
    if (c->listener_count == PX_CONTROL_LISTENERS_MAX) {
        px_control_fail(call, PX_EBUSY, "%d readers of events are there already; end one",
                        PX_CONTROL_LISTENERS_MAX);
        return;
    }
    px_list_push_back(&c->listeners, &call->events);
    c->listener_count++;
    px_control_begin_lines(call);
    px_control_line(call, json_pack("{s:s, s:s, s:i}", "event", "hello", "version", PX_VERSION,
                                    "pid", (int)getpid()));
}

static const struct px_control_route own_routes[] = {
    {"GET", "/v1", handle_routes, text_routes, "list the routes"},
    {"GET", "/v1/events", handle_events, NULL, "follow what happens, a line an event"},
};

/* --- events --- */

/* Bytes that are no UTF-8 become question marks. */
static json_t *text_json(struct px_slice text)
{
    json_t *value = json_stringn((const char *)text.data, text.len);
    if (value != NULL || text.len == 0)
        return value;
    char *ascii = malloc(text.len);
    for (size_t i = 0; i < text.len && ascii != NULL; i++)
        ascii[i] = (char)(text.data[i] < 0x80 ? text.data[i] : '?');
    value = ascii != NULL ? json_stringn(ascii, text.len) : NULL;
    free(ascii);
    return value;
}

static json_t *field_json(const struct px_log_field *f)
{
    switch (f->kind) {
    case PX_LOG_STR:
        return text_json(f->str);
    case PX_LOG_U64:
        return json_integer((json_int_t)PX_MIN(f->u64, (uint64_t)INT64_MAX));
    case PX_LOG_I64:
        return json_integer((json_int_t)f->i64);
    }
    return NULL;
}

static json_t *event_json(enum px_log_level level, const char *event,
                          const struct px_log_field *fields, size_t count)
{
    char day[32], stamp[64];
    struct timespec t;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &tm);
    strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(stamp, sizeof(stamp), "%s.%03dZ", day, (int)(t.tv_nsec / 1000000));
    json_t *line = json_pack("{s:s, s:s, s:s}", "event", event, "time", stamp, "level",
                             px_log_level_name(level));
    for (size_t i = 0; i < count && line != NULL; i++)
        if (json_object_get(line, fields[i].key) == NULL) /* ours stay */
            (void)json_object_set_new(line, fields[i].key, field_json(&fields[i]));
    return line;
}

/* Logging is allowed from any thread, the server is not: what others log goes to the log only. */
static void on_log(void *ctx, enum px_log_level level, const char *event,
                   const struct px_log_field *fields, size_t count)
{
    struct px_control *c = ctx;
    uv_thread_t self = uv_thread_self();
    px_log_emit(c->next, level, event, fields, count);
    if (level > PX_LOG_INFO || px_list_empty(&c->listeners) || !uv_thread_equal(&self, &c->thread))
        return;
    json_t *line = event_json(level, event, fields, count);
    PX_LIST_EACH(it, &c->listeners) {
        struct px_control_call *call = PX_CONTAINER_OF(it, struct px_control_call, events);
        if (call->state == CALL_LINES)
            px_control_line(call, json_incref(line));
    }
    json_decref(line);
}

const struct px_log *px_control_tee(struct px_control *c, const struct px_log *next)
{
    c->next = next;
    c->tee = (struct px_log){PX_LOG_DEBUG, on_log, c}; /* `next` may change its level any time */
    return &c->tee;
}

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

/* The control API's server over a real Unix socket: who may speak, routes, answers, lines, events,
 * limits and the end. The client's side is raw bytes. */
#include "node/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "auth/file_io.h"
#include "node/control_request.h"
#include "node/http_server.h"
#include "tests/test.h"

#define PATIENCE_MS 5000
#define ANSWER_MAX  ((size_t)4 * 1024 * 1024)

/* --- what is served --- */

static struct px_control_call *kept[PX_CONTROL_CALLS_MAX + 8]; /* asked and not answered */
static size_t kept_count, gone_count;

static void count_gone(void *ctx)
{
    (void)ctx;
    gone_count++;
}

static void handle_echo(void *ctx, struct px_control_call *call)
{
    const char *name = px_control_param(call, "name"), *q = px_control_query(call, "q");
    (void)ctx;
    CHECK(px_control_param(call, "other") == NULL);
    px_control_reply(
        call, 200,
        json_pack("{s:s, s:s?, s:O?}", "name", name, "q", q, "body", px_control_body(call)));
}

static void handle_wait(void *ctx, struct px_control_call *call)
{
    (void)ctx;
    CHECK(kept_count < PX_ARRAY_LEN(kept));
    kept[kept_count++] = call;
    px_control_on_gone(call, count_gone, NULL);
}

static void handle_lines(void *ctx, struct px_control_call *call)
{
    (void)ctx;
    px_control_begin_lines(call);
    for (int i = 1; i <= 3; i++)
        px_control_line(call, json_pack("{s:i}", "n", i));
    if (px_control_query(call, "fail") != NULL)
        px_control_fail(call, PX_EOFFLINE, "it went away");
    else
        px_control_end(call);
}

static void handle_open(void *ctx, struct px_control_call *call)
{
    handle_wait(ctx, call);
    px_control_begin_lines(call);
}

static void handle_fail(void *ctx, struct px_control_call *call)
{
    (void)ctx;
    px_control_fail(call, PX_ETIMEDOUT, "try \"later\" than %d", 5);
}

static int text_echo(const json_t *reply, struct px_buf *out)
{
    return px_buf_printf(out, "echo %s\n", json_string_value(json_object_get(reply, "name")));
}

static const struct px_control_route routes[] = {
    {"GET", "/v1/echo/{name}", handle_echo, text_echo, "echo"},
    {"POST", "/v1/echo/{name}", handle_echo, NULL, "echo a body"},
    {"GET", "/v1/wait", handle_wait, NULL, "answer later"},
    {"GET", "/v1/lines", handle_lines, NULL, "three lines"},
    {"GET", "/v1/open", handle_open, NULL, "lines without end"},
    {"GET", "/v1/fail", handle_fail, NULL, "fail"},
};

/* --- the fixture --- */

static uv_loop_t loop;
static struct px_home home;
static struct px_control *control;
static char cookie[65];
static bool closed;

static void on_closed(void *ctx)
{
    (void)ctx;
    closed = true;
}

static void start(void)
{
    int other;
    struct px_buf text;
    CHECK_OK(px_crypto_init());
    snprintf(home.state_dir, sizeof(home.state_dir), "/tmp/px-test-control.XXXXXX");
    CHECK(mkdtemp(home.state_dir) != NULL);
    CHECK(uv_loop_init(&loop) == 0);
    CHECK_OK(px_control_new(&loop, &home, NULL, &other, &control));
    CHECK_OK(px_control_add(control, routes, PX_ARRAY_LEN(routes), NULL));
    char path[PX_HOME_FILE_MAX];
    snprintf(path, sizeof(path), "%s/%s", home.state_dir, PX_HOME_CONTROL_COOKIE);
    px_buf_init(&text, 128);
    CHECK_OK(px_file_read(path, 128, &text));
    memcpy(cookie, text.data, 64);
    px_buf_deinit(&text);
    kept_count = gone_count = 0;
    closed = false;
}

static void finish(void)
{
    if (!closed)
        px_control_close(control, on_closed, NULL);
    CHECK(uv_run(&loop, UV_RUN_DEFAULT) == 0);
    CHECK(closed);
    px_control_free(control);
    CHECK(uv_loop_close(&loop) == 0);
    char command[PX_HOME_PATH_MAX + 16];
    snprintf(command, sizeof(command), "rm -rf '%s'", home.state_dir);
    CHECK_INT(system(command), 0);
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Turns the loop until the condition holds. */
#define TURN_UNTIL(cond)                                                                           \
    do {                                                                                           \
        int64_t end_ = now_ms() + PATIENCE_MS;                                                     \
        while (!(cond)) {                                                                          \
            CHECK(now_ms() < end_);                                                                \
            (void)uv_run(&loop, UV_RUN_NOWAIT);                                                    \
        }                                                                                          \
    } while (0)

static int dial(void)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", px_control_path(control));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    CHECK(connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0);
    return fd;
}

static void send_text(int fd, struct px_slice text)
{
    int64_t end = now_ms() + PATIENCE_MS;
    while (text.len > 0) {
        ssize_t n = send(fd, text.data, text.len, MSG_NOSIGNAL);
        if (n > 0)
            text = px_slice_skip(text, (size_t)n);
        else
            (void)uv_run(&loop, UV_RUN_NOWAIT);
        CHECK(now_ms() < end);
    }
}

/* Takes what has come; true at the end. */
static bool take_some(int fd, struct px_buf *in)
{
    uint8_t chunk[16384];
    ssize_t n = recv(fd, chunk, sizeof(chunk), MSG_DONTWAIT);
    if (n > 0)
        CHECK_OK(px_buf_put(in, px_slice(chunk, (size_t)n)));
    return n == 0 || (n < 0 && errno != EAGAIN);
}

static struct px_buf answer;

/* The whole answer to a request, after which the connection ends; its status. */
static int ask_raw(const char *request)
{
    int fd = dial(), status = 0;
    px_buf_deinit(&answer);
    px_buf_init(&answer, ANSWER_MAX);
    send_text(fd, px_slice_cstr(request));
    TURN_UNTIL(take_some(fd, &answer));
    close(fd);
    CHECK_OK(px_buf_put_u8(&answer, '\0'));
    CHECK(sscanf((const char *)answer.data, "HTTP/1.%*d %d", &status) == 1);
    return status;
}

static const char *body(void)
{
    const char *end = strstr((const char *)answer.data, "\r\n\r\n");
    CHECK(end != NULL);
    return end + 4;
}

/* HTTP/1.0, so that the answer ends with the connection. */
static const char *request(const char *method, const char *target, const char *fields,
                           const char *content)
{
    static char text[4096];
    int n = snprintf(text, sizeof(text),
                     "%s %s HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n%s", method,
                     target, cookie, fields);
    if (content[0] != '\0')
        n += snprintf(text + n, sizeof(text) - (size_t)n, "Content-Length: %zu\r\n",
                      strlen(content));
    n += snprintf(text + n, sizeof(text) - (size_t)n, "\r\n%s", content);
    CHECK(n < (int)sizeof(text));
    return text;
}

static int ask(const char *method, const char *target)
{
    return ask_raw(request(method, target, "", ""));
}

static void check_error(const char *name)
{
    json_t *reply = json_loads(body(), 0, NULL);
    CHECK(reply != NULL);
    CHECK_STR(json_string_value(json_object_get(reply, "error")), name);
    CHECK(json_string_length(json_object_get(reply, "message")) > 0);
    json_decref(reply);
}

/* --- tests --- */

TEST(params_queries_and_bodies_reach_the_handler)
{
    start();
    CHECK_INT(ask("GET", "/v1/echo/b%20c?q=1%262"), 200);
    json_t *reply = json_loads(body(), 0, NULL);
    CHECK_STR(json_string_value(json_object_get(reply, "name")), "b c");
    CHECK_STR(json_string_value(json_object_get(reply, "q")), "1&2");
    json_decref(reply);
    CHECK_INT(ask_raw(request("POST", "/v1/echo/x", "", "{\"k\":[true]}")), 200);
    reply = json_loads(body(), 0, NULL);
    CHECK(json_is_true(json_array_get(json_object_get(json_object_get(reply, "body"), "k"), 0)));
    json_decref(reply);
    finish();
}

TEST(text_is_given_to_those_who_want_it)
{
    static const struct {
        const char *target, *fields;
        int status;
        const char *want;
    } rows[] = {
        {"/v1/echo/a?format=text", "", 200, "echo a\n"},
        {"/v1/echo/a", "Accept: text/plain\r\n", 200, "echo a\n"},
        {"/v1/echo/a?format=json", "Accept: text/plain\r\n", 200, NULL},
        {"/v1/echo/a", "Accept: */*\r\n", 200, NULL},
        {"/v1/echo/a?format=xml", "", 400, NULL},
        {"/v1/fail?format=text", "", 504, "error: ETIMEDOUT\nmessage: try \"later\" than 5\n"},
        {"/v1/lines?format=text", "", 200, "n=1\nn=2\nn=3\n"},
    };
    start();
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        CHECK_INT(ask_raw(request("GET", rows[i].target, rows[i].fields, "")), rows[i].status);
        if (rows[i].want != NULL)
            CHECK_STR(body(), rows[i].want);
        else
            CHECK(body()[0] == '{');
    }
    finish();
}

TEST(strangers_are_refused_before_anything_is_done)
{
    static const struct {
        const char *fields; /* instead of Host and Authorization; %s is the cookie */
        int status;
        const char *error;
    } rows[] = {
        {"Host: localhost\r\nAuthorization: Bearer %s\r\n", 200, NULL},
        {"Host: peerix\r\nAuthorization: Bearer %s\r\n", 200, NULL},
        {"Host: localhost\r\n", 401, "EAUTH"},
        {"Host: localhost\r\nAuthorization: Bearer 0%s\r\n", 401, "EAUTH"},
        {"Host: localhost\r\nAuthorization: Bearer x\r\nAuthorization: Bearer %s\r\n", 401,
         "EAUTH"},
        {"Host: localhost\r\nAuthorization: Basic %s\r\n", 401, "EAUTH"},
        {"Host: example.org\r\nAuthorization: Bearer %s\r\n", 403, "EPERM"},
        {"Host: localhost\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n", 403, "EPERM"},
        {"Host: localhost\r\nVia: 1.1 proxy\r\nAuthorization: Bearer %s\r\n", 403, "EPERM"},
        {"Host: localhost\r\nX-Forwarded-For: 1.2.3.4\r\nAuthorization: Bearer %s\r\n", 403,
         "EPERM"},
        {"Host: localhost\r\nForwarded: for=1.2.3.4\r\nAuthorization: Bearer %s\r\n", 403, "EPERM"},
        {"Host: localhost\r\nOrigin: http://localhost\r\nAuthorization: Bearer %s\r\n", 403,
         "EPERM"},
        {"Host: localhost\r\nTransfer-Encoding: chunked\r\nAuthorization: Bearer %s\r\n", 411,
         "EUNSUPPORTED"},
    };
    start();
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        char text[1024], fields[512];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(fields, sizeof(fields), rows[i].fields, cookie);
#pragma GCC diagnostic pop
        snprintf(text, sizeof(text), "GET /v1/echo/a HTTP/1.1\r\nConnection: close\r\n%s\r\n",
                 fields);
        int status = ask_raw(text);
        if (status != rows[i].status)
            px_test_fail(__FILE__, __LINE__, "%d for %s", status, rows[i].fields);
        if (rows[i].error != NULL)
            check_error(rows[i].error);
    }
    finish();
}

TEST(unknown_paths_and_methods_are_told_apart)
{
    start();
    CHECK_INT(ask("GET", "/v1/nothing"), 404);
    check_error("EUNSUPPORTED");
    CHECK_INT(ask("DELETE", "/v1/echo/a"), 405);
    CHECK_INT(ask("GET", "/v1/echo"), 404);
    CHECK_INT(ask("GET", "/v1/echo/%zz"), 400);
    check_error("EPARSE");
    finish();
}

TEST(a_target_that_is_too_long_is_refused)
{
    static const size_t lens[] = {PX_CONTROL_TARGET_MAX + 1, PX_HTTP_RAW_TARGET_MAX,
                                  PX_HTTP_RAW_TARGET_MAX + 1};
    char target[PX_HTTP_RAW_TARGET_MAX + 2];
    start();
    for (size_t i = 0; i < PX_ARRAY_LEN(lens); i++) {
        memset(target, 'a', lens[i]);
        memcpy(target, "/v1/echo/", 9);
        target[lens[i]] = '\0';
        CHECK_INT(ask("GET", target), 414);
        check_error("ELIMIT");
    }
    target[PX_CONTROL_TARGET_MAX] = '\0';
    CHECK_INT(ask("GET", target), 200);
    finish();
}

TEST(the_list_of_routes_has_all_of_them)
{
    start();
    CHECK_INT(ask("GET", "/v1"), 200);
    json_t *reply = json_loads(body(), 0, NULL);
    CHECK_INT(json_array_size(json_object_get(reply, "routes")), PX_ARRAY_LEN(routes) + 2);
    json_decref(reply);
    finish();
}

TEST(bodies_that_are_malformed_or_too_long_are_refused)
{
    char head[512];
    start();
    CHECK_INT(ask_raw(request("POST", "/v1/echo/a", "", "{\"a\":1,\"a\":2}")), 400);
    check_error("EPARSE");
    CHECK_INT(ask_raw(request("POST", "/v1/echo/a", "", "[]")), 400);
    snprintf(head, sizeof(head),
             "POST /v1/echo/a HTTP/1.0\r\nAuthorization: Bearer %s\r\nContent-Length: %u\r\n\r\n",
             cookie, PX_CONTROL_BODY_MAX + 1);
    CHECK_INT(ask_raw(head), 413); /* before a byte of it was sent */
    check_error("ELIMIT");
    finish();
}

TEST(a_body_of_the_largest_size_is_taken)
{
    struct px_buf text;
    start();
    px_buf_init(&text, (size_t)2 * PX_CONTROL_BODY_MAX);
    CHECK_OK(px_buf_printf(&text,
                           "POST /v1/echo/a HTTP/1.0\r\nAuthorization: Bearer %s\r\n"
                           "Content-Length: %u\r\n\r\n{\"a\":\"",
                           cookie, PX_CONTROL_BODY_MAX));
    for (unsigned i = 0; i < PX_CONTROL_BODY_MAX - 8; i++)
        CHECK_OK(px_buf_put_u8(&text, 'x'));
    CHECK_OK(px_buf_put(&text, px_slice("\"}\0", 3)));
    CHECK_INT(ask_raw((const char *)text.data), 200);
    px_buf_deinit(&text);
    finish();
}

TEST(an_answer_may_come_later)
{
    start();
    int fd = dial();
    struct px_buf in;
    px_buf_init(&in, ANSWER_MAX);
    send_text(fd, px_slice_cstr(request("GET", "/v1/wait", "", "")));
    TURN_UNTIL(kept_count == 1);
    px_control_reply(kept[0], 200, json_pack("{s:b}", "late", 1));
    TURN_UNTIL(take_some(fd, &in));
    CHECK(px_slice_starts(px_buf_slice(&in), PX_SLICE_LIT("HTTP/1.0 200")) ||
          px_slice_starts(px_buf_slice(&in), PX_SLICE_LIT("HTTP/1.1 200")));
    CHECK_INT(gone_count, 0);
    px_buf_deinit(&in);
    close(fd);
    finish();
}

TEST(a_caller_that_goes_away_is_noticed)
{
    start();
    int fd = dial();
    send_text(fd, px_slice_cstr(request("GET", "/v1/wait", "", "")));
    TURN_UNTIL(kept_count == 1);
    close(fd);
    TURN_UNTIL(gone_count == 1);
    fd = dial();
    send_text(fd, px_slice_cstr(request("GET", "/v1/open", "", "")));
    TURN_UNTIL(kept_count == 2);
    close(fd);
    TURN_UNTIL(gone_count == 2);
    finish();
}

TEST(lines_come_one_by_one_and_may_end_in_an_error)
{
    start();
    CHECK_INT(ask("GET", "/v1/lines"), 200);
    CHECK(strstr((const char *)answer.data, "application/x-ndjson") != NULL);
    CHECK_STR(body(), "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
    CHECK_INT(ask("GET", "/v1/lines?fail"), 200);
    CHECK_STR(body(), "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n"
                      "{\"error\":\"EOFFLINE\",\"message\":\"it went away\"}\n");
    finish();
}

TEST(a_reader_that_falls_behind_is_cut)
{
    start();
    int fd = dial();
    char text[1024];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    send_text(fd, px_slice_cstr(request("GET", "/v1/open", "", "")));
    TURN_UNTIL(kept_count == 1);
    int64_t end = now_ms() + PATIENCE_MS;
    size_t written = 0;
    for (int i = 0; gone_count == 0 && i < 100000; i++) {
        px_control_line(kept[0], json_pack("{s:s}", "x", text));
        written += sizeof(text);
        (void)uv_run(&loop, UV_RUN_NOWAIT);
        CHECK(now_ms() < end);
    }
    CHECK_INT(gone_count, 1);
    CHECK(written > PX_CONTROL_BEHIND_MAX); /* the socket took some as well */
    close(fd);
    finish();
}

/* What the loop has not passed on yet counts, too: the last line that fits, and one more. */
TEST(so_much_may_wait_for_a_reader)
{
    static const char line[] = "{\"x\":\"1234567\"}\n"; /* 16 bytes */
    start();
    int fd = dial();
    send_text(fd, px_slice_cstr(request("GET", "/v1/open", "", "")));
    TURN_UNTIL(kept_count == 1);
    for (size_t n = 0; n < PX_CONTROL_BEHIND_MAX / (sizeof(line) - 1); n++)
        px_control_line(kept[0], json_pack("{s:s}", "x", "1234567"));
    struct px_buf in;
    px_buf_init(&in, ANSWER_MAX);
    TURN_UNTIL(take_some(fd, &in) || in.len > PX_CONTROL_BEHIND_MAX);
    CHECK_INT(gone_count, 0);
    px_buf_deinit(&in);
    for (size_t n = 0; n <= PX_CONTROL_BEHIND_MAX / (sizeof(line) - 1); n++)
        px_control_line(kept[0], json_pack("{s:s}", "x", "1234567"));
    TURN_UNTIL(gone_count == 1);
    close(fd);
    finish();
}

TEST(a_caller_that_dies_while_there_are_no_lines_is_noticed)
{
    for (int row = 0; row < 8; row++) {
        bool told = row & 1, read = row & 2, old = row & 4;
        char text[512];
        struct px_buf in;
        start();
        int fd = dial();
        snprintf(text, sizeof(text),
                 "GET /v1/open HTTP/1.%d\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n",
                 old ? 0 : 1, cookie);
        send_text(fd, px_slice_cstr(text));
        TURN_UNTIL(kept_count == 1);
        if (told)
            px_control_line(kept[0], json_pack("{s:i}", "n", 1));
        px_buf_init(&in, ANSWER_MAX);
        for (int64_t end = now_ms() + 50; now_ms() < end;) {
            (void)uv_run(&loop, UV_RUN_NOWAIT);
            if (read)
                CHECK(!take_some(fd, &in));
        }
        CHECK_INT(gone_count, 0);
        close(fd);
        TURN_UNTIL(gone_count == 1);
        CHECK_INT(ask("GET", "/v1/echo/a"), 200);
        px_buf_deinit(&in);
        finish();
    }
}

TEST(calls_under_way_are_bounded)
{
    int fds[PX_CONTROL_CALLS_MAX];
    start();
    for (size_t i = 0; i < PX_ARRAY_LEN(fds); i++) {
        fds[i] = dial();
        send_text(fds[i], px_slice_cstr(request("GET", "/v1/wait", "", "")));
    }
    TURN_UNTIL(kept_count == PX_CONTROL_CALLS_MAX);
    CHECK_INT(ask("GET", "/v1/echo/a"), 503);
    check_error("EBUSY");
    for (size_t i = 0; i < PX_ARRAY_LEN(fds); i++)
        close(fds[i]);
    TURN_UNTIL(gone_count == PX_CONTROL_CALLS_MAX);
    CHECK_INT(ask("GET", "/v1/echo/a"), 200);
    finish();
}

/* --- events --- */

static size_t logged;

static void count_log(void *ctx, enum px_log_level level, const char *event,
                      const struct px_log_field *fields, size_t count)
{
    (void)ctx, (void)level, (void)event, (void)fields, (void)count;
    logged++;
}

static bool has_text(int fd, struct px_buf *in, const char *text)
{
    (void)take_some(fd, in);
    return in->len > 0 && memmem(in->data, in->len, text, strlen(text)) != NULL;
}

TEST(what_is_logged_at_info_and_above_is_an_event)
{
    const struct px_log next = {.level = PX_LOG_WARN, .emit = count_log};
    struct px_buf in;
    start();
    px_buf_init(&in, ANSWER_MAX);
    const struct px_log *log = px_control_tee(control, &next);
    int fd = dial();
    send_text(fd, px_slice_cstr(request("GET", "/v1/events", "", "")));
    TURN_UNTIL(has_text(fd, &in, "\"event\":\"hello\""));
    logged = 0;
    px_log_event(log, PX_LOG_DEBUG, "too.small", PX_F_U64("n", 1));
    px_log_event(log, PX_LOG_INFO, "it.happened", PX_F_STR("who", "b\xff\n"), PX_F_U64("n", 7),
                 PX_F_STR("event", "forged"));
    TURN_UNTIL(has_text(fd, &in, "\"n\":7"));
    CHECK(!has_text(fd, &in, "too.small"));
    CHECK(has_text(fd, &in, "{\"event\":\"it.happened\",\"time\":\""));
    CHECK(has_text(fd, &in, "\"level\":\"info\",\"who\":\"b?\\n\",\"n\":7}"));
    CHECK_INT(logged, 0); /* `next` wants warnings */
    px_log_event(log, PX_LOG_WARN, "it.is.bad", PX_F_U64("n", 8));
    CHECK_INT(logged, 1);
    px_buf_deinit(&in);
    close(fd);
    finish();
}

static size_t count_text(const struct px_buf *in, const char *text)
{
    size_t n = 0, len = strlen(text);
    for (struct px_slice rest = px_buf_slice(in); rest.len >= len; n++) {
        const uint8_t *at = memmem(rest.data, rest.len, text, len);
        if (at == NULL)
            break;
        rest = px_slice_skip(rest, (size_t)(at - rest.data) + len);
    }
    return n;
}

TEST(a_flood_of_events_does_not_cut_readers_and_what_was_left_out_is_told)
{
    struct px_buf in;
    char text[1024];
    start();
    px_buf_init(&in, ANSWER_MAX);
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    const struct px_log *log = px_control_tee(control, NULL);
    int fd = dial();
    send_text(fd, px_slice_cstr(request("GET", "/v1/events", "", "")));
    TURN_UNTIL(has_text(fd, &in, "hello"));
    for (int i = 0; i < 3 * PX_CONTROL_EVENTS_MAX; i++)
        px_log_event(log, PX_LOG_INFO, "flood", PX_F_STR("x", text));
    /* one after another until the second is over */
    int64_t end = now_ms() + PATIENCE_MS;
    while (!has_text(fd, &in, "events.suppressed")) {
        CHECK(now_ms() < end);
        px_log_event(log, PX_LOG_INFO, "drop", PX_F_U64("n", 1));
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    }
    CHECK_INT(count_text(&in, "\"event\":\"flood\""), PX_CONTROL_EVENTS_MAX);
    CHECK(has_text(fd, &in, "\"suppressed\":"));
    px_buf_deinit(&in);
    close(fd);
    finish();
}

TEST(readers_of_events_are_bounded)
{
    int fds[PX_CONTROL_LISTENERS_MAX];
    struct px_buf in;
    start();
    for (size_t i = 0; i < PX_ARRAY_LEN(fds); i++) {
        fds[i] = dial();
        px_buf_init(&in, ANSWER_MAX);
        send_text(fds[i], px_slice_cstr(request("GET", "/v1/events", "", "")));
        TURN_UNTIL(has_text(fds[i], &in, "hello"));
        px_buf_deinit(&in);
    }
    CHECK_INT(ask("GET", "/v1/events"), 503);
    close(fds[0]);
    fds[0] = -1;
    px_buf_init(&in, ANSWER_MAX);
    int64_t end = now_ms() + PATIENCE_MS;
    do { /* until the one that left is noticed */
        CHECK(now_ms() < end);
        if (fds[0] >= 0)
            close(fds[0]);
        px_buf_clear(&in);
        fds[0] = dial();
        send_text(fds[0], px_slice_cstr(request("GET", "/v1/events", "", "")));
        TURN_UNTIL(has_text(fds[0], &in, "\r\n\r\n"));
    } while (!has_text(fds[0], &in, " 200 "));
    px_buf_deinit(&in);
    for (size_t i = 0; i < PX_ARRAY_LEN(fds); i++)
        close(fds[i]);
    finish();
}

/* --- the end --- */

TEST(closing_ends_what_is_under_way)
{
    struct px_buf waiting, open;
    start();
    px_buf_init(&waiting, ANSWER_MAX);
    px_buf_init(&open, ANSWER_MAX);
    int fd1 = dial(), fd2 = dial();
    send_text(fd1, px_slice_cstr(request("GET", "/v1/wait", "", "")));
    send_text(fd2, px_slice_cstr(request("GET", "/v1/open", "", "")));
    TURN_UNTIL(kept_count == 2);
    px_control_close(control, on_closed, NULL);
    CHECK_INT(gone_count, 2);
    CHECK(access(px_control_path(control), F_OK) != 0);
    TURN_UNTIL(take_some(fd1, &waiting));
    TURN_UNTIL(take_some(fd2, &open));
    TURN_UNTIL(closed);
    CHECK(memmem(waiting.data, waiting.len, "ECANCELED", 9) != NULL);
    CHECK(memmem(open.data, open.len, " 200 ", 5) != NULL);
    px_buf_deinit(&waiting);
    px_buf_deinit(&open);
    close(fd1);
    close(fd2);
    finish();
}

TEST(closing_does_not_wait_for_a_caller_that_says_nothing)
{
    start();
    int fd = dial();
    send_text(fd, PX_SLICE_LIT("GET /v1/echo/a HTTP/1.1\r\n"));
    for (int i = 0; i < 5; i++)
        (void)uv_run(&loop, UV_RUN_NOWAIT);
    px_control_close(control, on_closed, NULL);
    TURN_UNTIL(closed);
    close(fd);
    finish();
}

TEST(every_error_has_a_status_of_a_failure)
{
    static const int all[] = {
#define X(name, value, text) name,
        PX_ERROR_TABLE(X)
#undef X
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(all); i++)
        CHECK(px_control_status(all[i]) >= 400 && px_control_status(all[i]) < 600);
    CHECK_INT(px_control_status(PX_EUNLISTED), 403);
    CHECK_INT(px_control_status(PX_ENOSERVICE), 404);
    CHECK_INT(px_control_status(PX_EFORBIDDEN), 403);
    CHECK_INT(px_control_status(PX_EOFFLINE), 503);
    CHECK_INT(px_control_status(PX_ETIMEDOUT), 504);
}

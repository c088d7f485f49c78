/* The client against a server that answers what the test tells it: each failure has its exit code
 * and its words. */
#include "cmd/control_client.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/test.h"

static char dir[64], socket_path[96], cookie_path[96];
static char said[4096];    /* by the client, to people */
static char request[8192]; /* as the server got it */

struct server {
    int fd;
    const char *answer; /* NULL: hang up at once */
    size_t blanks;      /* after it */
    pthread_t thread;
};

static void *serve(void *arg)
{
    struct server *s = arg;
    int fd = accept(s->fd, NULL, NULL);
    size_t n = 0;
    while (n < sizeof(request) - 1) {
        ssize_t got = read(fd, request + n, sizeof(request) - 1 - n);
        if (got <= 0)
            break;
        n += (size_t)got;
        request[n] = '\0';
        const char *end = strstr(request, "\r\n\r\n");
        const char *length = strstr(request, "Content-Length: ");
        size_t body = length != NULL ? strtoul(length + 16, NULL, 10) : 0;
        if (end != NULL && strlen(end + 4) >= body)
            break;
    }
    if (s->answer != NULL)
        (void)send(fd, s->answer, strlen(s->answer), MSG_NOSIGNAL);
    static char blank[64 * 1024];
    memset(blank, ' ', sizeof(blank));
    for (size_t left = s->blanks; left > 0;) {
        ssize_t sent = send(fd, blank, PX_MIN(left, sizeof(blank)), MSG_NOSIGNAL);
        if (sent <= 0)
            break; /* it had enough */
        left -= (size_t)sent;
    }
    close(fd);
    return NULL;
}

static void put_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    CHECK(f != NULL);
    fputs(text, f);
    fclose(f);
}

static void enter(struct server *s, const char *answer)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    snprintf(dir, sizeof(dir), "/tmp/px-control-XXXXXX");
    CHECK(mkdtemp(dir) != NULL);
    snprintf(socket_path, sizeof(socket_path), "%s/control.sock", dir);
    snprintf(cookie_path, sizeof(cookie_path), "%s/control.cookie", dir);
    put_file(cookie_path, "c00kie\n");
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", socket_path);
    s->fd = socket(AF_UNIX, SOCK_STREAM, 0);
    s->answer = answer;
    s->blanks = 0;
    CHECK_INT(bind(s->fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    CHECK_INT(listen(s->fd, 1), 0);
    CHECK_INT(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void leave(struct server *s)
{
    pthread_join(s->thread, NULL);
    close(s->fd);
    unlink(socket_path);
    unlink(cookie_path);
    CHECK_INT(rmdir(dir), 0);
}

/* Runs it with standard error in `said`. */
static int heard(int (*run)(const struct px_cli *cli, void *ctx), void *ctx)
{
    static const struct px_command command = {.name = "test", .operands = ""};
    struct px_cli_value home = {.name = "home", .text = dir};
    struct px_cli cli = {.command = &command, .values = &home, .value_count = 1};
    FILE *to = tmpfile();
    CHECK(to != NULL);
    int saved = dup(STDERR_FILENO);
    dup2(fileno(to), STDERR_FILENO);
    int code = run(&cli, ctx);
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(to);
    said[fread(said, 1, sizeof(said) - 1, to)] = '\0';
    fclose(to);
    return code;
}

static int get(const struct px_cli *cli, void *ret)
{
    return px_control_call_within(cli, 2 * PX_SEC, "GET", "/v1/x", NULL, ret);
}

static int call(const char *answer, json_t **ret)
{
    struct server s;
    enter(&s, answer);
    int code = heard(get, ret);
    leave(&s);
    return code;
}

#define HEAD "HTTP/1.1 200 OK\r\nContent-Length: "

TEST(a_document_comes_with_or_without_a_length)
{
    json_t *answer = NULL;
    CHECK_INT(call(HEAD "8\r\n\r\n{\"a\": 1}", &answer), 0);
    CHECK_INT(json_integer_value(json_object_get(answer, "a")), 1);
    json_decref(answer);
    CHECK_STR(said, "");
    CHECK(strncmp(request, "GET /v1/x HTTP/1.0\r\n", 20) == 0);
    CHECK(strstr(request, "\r\nAuthorization: Bearer c00kie\r\n") != NULL);
    CHECK(strstr(request, "Content-Length") == NULL);
    CHECK_INT(call("HTTP/1.0 200 OK\n\n[2]\n", &answer), 0);
    CHECK_INT(json_array_size(answer), 1);
    json_decref(answer);
    CHECK_INT(call("HTTP/1.0 204 No Content\n\n", &answer), 0);
    CHECK(answer == NULL);
}

static int get_big(const struct px_cli *cli, void *ret)
{
    return px_control_call_within(cli, 20 * PX_SEC, "GET", "/v1/x", NULL, ret);
}

TEST(an_answer_has_a_longest_length)
{
    const size_t piece = 64 * 1024; /* what is read at once must find room */
    for (int over = 0; over < 2; over++) {
        struct server s;
        json_t *answer = NULL;
        enter(&s, "HTTP/1.0 200 OK\n\n[2]");
        s.blanks = over ? PX_CONTROL_ANSWER_MAX : PX_CONTROL_ANSWER_MAX - 2 * piece;
        int code = heard(get_big, &answer);
        leave(&s);
        CHECK_INT(code, over ? PX_EXIT_FAILURE : 0);
        CHECK_INT(json_array_size(answer), over ? 0 : 1);
        CHECK(!over || strstr(said, "it is too long") != NULL);
        json_decref(answer);
    }
}

static int post(const struct px_cli *cli, void *ret)
{
    json_t *body = json_pack("{s:s}", "addr", "a:1");
    int code = px_control_call_within(cli, 2 * PX_SEC, "POST", "/v1/x", body, ret);
    json_decref(body);
    return code;
}

TEST(a_body_goes_with_its_length)
{
    struct server s;
    enter(&s, HEAD "2\r\n\r\n{}");
    CHECK_INT(heard(post, NULL), 0);
    leave(&s);
    CHECK(strstr(request, "\r\nContent-Length: 14\r\n\r\n{\"addr\":\"a:1\"}") != NULL);
}

TEST(each_failure_has_its_exit_code_and_words)
{
    static const struct {
        const char *answer;
        int code;
        const char *words;
    } cases[] = {
        {"HTTP/1.1 503 X\r\n\r\n{\"error\":\"EOFFLINE\",\"message\":\"bee is not there\"}",
         PX_EXIT_OFFLINE, "bee is not there"},
        {"HTTP/1.1 404 X\r\n\r\n{\"error\":\"ENOENT\",\"message\":\"no such peer\"}",
         PX_EXIT_NO_PEER, "no such peer"},
        {"HTTP/1.1 504 X\r\n\r\n{\"error\":\"ETIMEDOUT\",\"message\":\"late\"}", PX_EXIT_TIMEOUT,
         "late"},
        {"HTTP/1.1 502 X\r\n\r\n{\"error\":\"EREFUSED\",\"message\":\"not listed there\"}",
         PX_EXIT_REFUSED, "not listed there"},
        {"HTTP/1.1 500 X\r\n\r\n{\"error\":\"ENEW\",\"message\":\"\\u001b[31mred\"}",
         PX_EXIT_FAILURE, "?[31mred"},
        {"HTTP/1.1 401 X\r\n\r\n{\"error\":\"EAUTH\",\"message\":\"x\"}", PX_EXIT_PERMISSION,
         "control.cookie"},
        {"HTTP/1.1 403 X\r\n\r\n{\"error\":\"EPERM\",\"message\":\"only root\"}",
         PX_EXIT_PERMISSION, "only root"},
        {"HTTP/1.1 404 X\r\n\r\nnope", PX_EXIT_FAILURE, "same version"},
        {"HTTP/1.1 500 X\r\n\r\n", PX_EXIT_FAILURE, "status 500"},
        {HEAD "3\r\n\r\n{x}", PX_EXIT_FAILURE, "not understood"},
        {HEAD "30\r\n\r\n{}", PX_EXIT_FAILURE, "ended before it answered"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", PX_EXIT_FAILURE, "same version"},
        {"SSH-2.0-x\r\n", PX_EXIT_FAILURE, "not understood"},
        {"", PX_EXIT_NOT_RUNNING, "ended before it answered"},
        {NULL, PX_EXIT_NOT_RUNNING, "ended before it answered"},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++) {
        json_t *answer = NULL;
        CHECK_INT(call(cases[i].answer, &answer), cases[i].code);
        CHECK(answer == NULL);
        if (strstr(said, cases[i].words) == NULL)
            px_test_fail(__FILE__, __LINE__, "\"%s\" lacks \"%s\"", said, cases[i].words);
    }
}

TEST(without_a_daemon_people_are_told_how_to_start_it)
{
    struct px_home home;
    snprintf(dir, sizeof(dir), "/tmp/px-control-XXXXXX");
    CHECK(mkdtemp(dir) != NULL);
    CHECK_OK(px_home_resolve(dir, false, &home));
    CHECK(!px_control_is_running(&home));
    CHECK_INT(heard(get, NULL), PX_EXIT_NOT_RUNNING);
    CHECK(strstr(said, "start it with `peerix daemon --home /tmp/px-control-") != NULL);
    CHECK_INT(rmdir(dir), 0);
}

TEST(a_socket_nobody_listens_at_is_no_daemon)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    snprintf(dir, sizeof(dir), "/tmp/px-control-XXXXXX");
    CHECK(mkdtemp(dir) != NULL);
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/control.sock", dir);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_INT(bind(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    close(fd);
    CHECK_INT(heard(get, NULL), PX_EXIT_NOT_RUNNING);
    unlink(addr.sun_path);
    CHECK_INT(rmdir(dir), 0);
}

static int get_shortly(const struct px_cli *cli, void *ret)
{
    return px_control_call_within(cli, 50 * PX_MSEC, "GET", "/v1/x", NULL, ret);
}

TEST(a_daemon_that_does_not_answer_is_given_up)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    snprintf(dir, sizeof(dir), "/tmp/px-control-XXXXXX");
    CHECK(mkdtemp(dir) != NULL);
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/control.sock", dir);
    snprintf(cookie_path, sizeof(cookie_path), "%s/control.cookie", dir);
    put_file(cookie_path, "c00kie");
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_INT(bind(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    CHECK_INT(listen(fd, 1), 0);
    CHECK_INT(heard(get_shortly, NULL), PX_EXIT_TIMEOUT);
    CHECK(strstr(said, "does not answer in time") != NULL);
    close(fd);
    unlink(addr.sun_path);
    unlink(cookie_path);
    CHECK_INT(rmdir(dir), 0);
}

struct lines {
    int sum, count, stop_at, stop_fd;
};

static int on_line(void *ctx, const json_t *line)
{
    struct lines *l = ctx;
    l->sum += (int)json_integer_value(json_object_get(line, "n"));
    return ++l->count == l->stop_at ? 77 : 0;
}

static int follow(const struct px_cli *cli, void *ctx)
{
    struct lines *l = ctx;
    return px_control_lines_until(cli, l->stop_fd, 2 * PX_SEC, "GET", "/v1/events", NULL, on_line,
                                  l);
}

static int lines(const char *answer, struct lines *l)
{
    struct server s;
    enter(&s, answer);
    int code = heard(follow, l);
    leave(&s);
    return code;
}

TEST(lines_come_one_by_one_until_the_end_or_enough)
{
    static const char three[] = "HTTP/1.1 200 OK\r\n\r\n{\"n\":1}\n\n{\"n\":2}\r\n{\"n\":4}\n";
    struct lines l = {.stop_fd = -1};
    CHECK_INT(lines(three, &l), 0);
    CHECK_INT(l.sum, 7);
    l = (struct lines){.stop_at = 2, .stop_fd = -1};
    CHECK_INT(lines(three, &l), 77);
    CHECK_INT(l.sum, 3);
    l = (struct lines){.stop_fd = -1};
    CHECK_INT(lines("HTTP/1.1 200 OK\r\n\r\n{\"n\":1}\n{x\n", &l), PX_EXIT_FAILURE);
    CHECK(strstr(said, "not understood") != NULL);
    CHECK_INT(lines("HTTP/1.1 503 X\r\n\r\n{\"error\":\"EOFFLINE\",\"message\":\"gone\"}", &l),
              PX_EXIT_OFFLINE);
    CHECK_INT(l.count, 1);
}

TEST(a_stream_ends_when_the_stop_descriptor_is_readable)
{
    int fds[2];
    struct lines l = {.count = 0};
    CHECK_INT(pipe(fds), 0);
    close(fds[1]); /* readable: the end */
    l.stop_fd = fds[0];
    CHECK_INT(lines("HTTP/1.1 200 OK\r\n\r\n{\"n\":1}\n", &l), 0);
    CHECK_STR(said, "");
    close(fds[0]);
}

TEST(a_line_without_end_is_too_long)
{
    size_t n = PX_CONTROL_LINE_MAX + 1000;
    char *text = malloc(n + 1);
    struct lines l = {.stop_fd = -1};
    CHECK(text != NULL);
    memset(text, ' ', n);
    text[n] = '\0';
    memcpy(text, "HTTP/1.1 200 OK\r\n\r\n", 19);
    CHECK_INT(lines(text, &l), PX_EXIT_FAILURE);
    CHECK(strstr(said, "too long a line") != NULL);
    free(text);
}

TEST(segments_are_percent_encoded)
{
    struct px_buf out;
    px_buf_init(&out, 100);
    CHECK_OK(px_control_put_segment(&out, "a-Z.0_~/ ?%\xc3\xa4"));
    CHECK_SLICE(px_buf_slice(&out), PX_SLICE_LIT("a-Z.0_~%2F%20%3F%25%C3%A4"));
    px_buf_deinit(&out);
}

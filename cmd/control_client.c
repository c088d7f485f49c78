/* One connection, one HTTP/1.0 request, one answer: so no chunks and no keep-alive
 * (docs/control-api.md). What goes wrong is told to people here, once for all commands. */
#include "cmd/control_client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "auth/file_io.h"
#include "cmd/http_response.h"
#include "node/control.h"
#include "node/program.h"

enum { COOKIE_MAX = 256, READ_SIZE = 64 * 1024 };

/* One request under way. */
struct exchange {
    const struct px_cli *cli;
    struct px_home home;
    int fd;
    int stop_fd;
    px_nsec limit;    /* PX_NEVER: none */
    bool limit_each;  /* the limit is between two arrivals, not for the whole */
    px_nsec deadline; /* from limit */
    int (*line)(void *ctx, const json_t *line); /* NULL: the answer is one document */
    void *ctx;
    bool stopped; /* stop_fd became readable, or `line` said so */
    int code;     /* what `line` said */
    struct px_http_response head;
    bool has_head;
    uint64_t body_seen; /* bytes of it, whether still in `in` or not */
    struct px_buf in;
};

static px_nsec now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (px_nsec)t.tv_sec * PX_SEC + (px_nsec)t.tv_nsec;
}

/* ---- reaching the daemon ---- */

static int socket_address(const struct px_home *home, struct sockaddr_un *ret)
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    int n = snprintf(ret->sun_path, sizeof(ret->sun_path), "%s/%s", home->state_dir,
                     PX_HOME_CONTROL_SOCKET);
    return n < 0 || (size_t)n >= sizeof(ret->sun_path) ? PX_EADDR : 0;
}

/* PX_ENOENT when nobody listens, PX_EAGAIN when a daemon does but takes nobody in. */
static int dial(const struct px_home *home, int *ret_fd)
{
    struct sockaddr_un addr;
    int err = socket_address(home, &addr);
    if (err != 0)
        return err;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return px_err_from_errno(errno);
    if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0) {
        err = errno == ECONNREFUSED || errno == ENOENT || errno == ENOTDIR ? PX_ENOENT
              : errno == EAGAIN                                            ? PX_EAGAIN
                                : px_err_from_errno(errno);
        close(fd);
        return err;
    }
    *ret_fd = fd;
    return 0;
}

bool px_control_is_running(const struct px_home *home)
{
    int fd = -1;
    int err = dial(home, &fd);
    if (err == 0)
        close(fd);
    return err == 0 || err == PX_EAGAIN || err == PX_EPERM;
}

static int not_running(const struct px_cli *cli)
{
    char words[PX_HOME_PATH_MAX + 16];
    px_cli_error(cli, "the daemon is not running: start it with `%s daemon%s`", px_program.name,
                 px_cli_home_words(cli, words, sizeof(words)));
    return PX_EXIT_NOT_RUNNING;
}

static int no_permission(const struct exchange *x, const char *file)
{
    px_cli_error(x->cli,
                 "%s/%s: permission denied; run this as the user that runs the daemon, or as root",
                 x->home.state_dir, file);
    return PX_EXIT_PERMISSION;
}

static int no_answer(const struct px_cli *cli)
{
    px_cli_error(cli, "the daemon does not answer in time; is it stopped or overloaded? See its "
                      "log, or restart it");
    return PX_EXIT_TIMEOUT;
}

static int open_connection(struct exchange *x)
{
    int err = dial(&x->home, &x->fd);
    switch (err) {
    case 0:
        return 0;
    case PX_ENOENT:
        return not_running(x->cli);
    case PX_EPERM:
        return no_permission(x, PX_HOME_CONTROL_SOCKET);
    case PX_EAGAIN:
        return no_answer(x->cli);
    case PX_EADDR:
        px_cli_error(x->cli, "%s: too long a path for a socket; choose a shorter --home",
                     x->home.state_dir);
        return PX_EXIT_USAGE;
    default: /* any errno may come in */
        px_cli_error(x->cli, "%s/%s: %s", x->home.state_dir, PX_HOME_CONTROL_SOCKET,
                     px_strerror(err));
        return PX_EXIT_FAILURE;
    }
}

/* Read after the connection stands: a daemon writes the file before it listens. */
static int read_cookie(struct exchange *x, struct px_buf *ret)
{
    char path[PX_HOME_FILE_MAX];
    snprintf(path, sizeof(path), "%s/%s", x->home.state_dir, PX_HOME_CONTROL_COOKIE);
    int err = px_file_read(path, COOKIE_MAX, ret);
    if (err == PX_EPERM)
        return no_permission(x, PX_HOME_CONTROL_COOKIE);
    if (err == PX_ENOENT)
        return not_running(x->cli);
    while (err == 0 && ret->len > 0 && ret->data[ret->len - 1] == '\n')
        ret->len--;
    for (size_t i = 0; err == 0 && i < ret->len; i++)
        if (ret->data[i] <= ' ' || ret->data[i] >= 0x7f)
            err = PX_EPARSE;
    if (err == 0 && ret->len > 0)
        return 0;
    px_cli_error(x->cli, "%s: %s; restart the daemon, which writes it anew", path,
                 px_strerror(err != 0 ? err : PX_EPARSE));
    return PX_EXIT_FAILURE;
}

/* ---- the request ---- */

static int format_request(const char *method, const char *path, struct px_slice cookie,
                          const json_t *body, struct px_buf *out)
{
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    if (body != NULL && text == NULL)
        return PX_ENOMEM;
    px_buf_printf(out,
                  "%s %s HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer %.*s\r\n"
                  "Accept: application/json\r\n",
                  method, path, (int)cookie.len, (const char *)cookie.data);
    if (text != NULL)
        px_buf_put_cstr(out, "Content-Type: application/json\r\n");
    if (text != NULL || strcmp(method, "GET") != 0)
        px_buf_printf(out, "Content-Length: %zu\r\n", text != NULL ? strlen(text) : 0);
    px_buf_put_cstr(out, "\r\n");
    px_buf_put_cstr(out, text != NULL ? text : "");
    free(text);
    return out->err;
}

/* Until the socket is ready for `events`: 0, or an exit code; x->stopped when stop_fd came first.
 */
static int wait_for(struct exchange *x, short events)
{
    struct pollfd fds[] = {{.fd = x->fd, .events = events}, {.fd = x->stop_fd, .events = POLLIN}};
    for (;;) {
        px_nsec at = now();
        if (at >= x->deadline)
            return no_answer(x->cli);
        px_nsec left = (x->deadline - at) / PX_MSEC + 1;
        int n = poll(fds, 2, x->deadline == PX_NEVER ? -1 : (int)PX_MIN(left, (px_nsec)3600000));
        if (n < 0 && errno != EINTR) {
            px_cli_error(x->cli, "%s", px_strerror(px_err_from_errno(errno)));
            return PX_EXIT_FAILURE;
        }
        x->stopped = n > 0 && fds[1].revents != 0;
        if (x->stopped || (n > 0 && fds[0].revents != 0))
            return 0;
    }
}

static int send_all(struct exchange *x, struct px_slice s)
{
    while (s.len > 0 && !x->stopped) {
        ssize_t n = send(x->fd, s.data, s.len, MSG_NOSIGNAL);
        if (n >= 0) {
            s = px_slice_skip(s, (size_t)n);
            continue;
        }
        if (errno == EPIPE || errno == ECONNRESET)
            return 0; /* it may have answered already, and why */
        if (errno != EAGAIN && errno != EINTR) {
            px_cli_error(x->cli, "%s", px_strerror(px_err_from_errno(errno)));
            return PX_EXIT_FAILURE;
        }
        int code = wait_for(x, POLLOUT);
        if (code != 0)
            return code;
    }
    return 0;
}

static int send_request(struct exchange *x, const char *method, const char *path,
                        const json_t *body)
{
    struct px_buf cookie, request;
    px_buf_init(&cookie, COOKIE_MAX);
    px_buf_init(&request, PX_CONTROL_BODY_MAX + (size_t)16 * 1024);
    int code = read_cookie(x, &cookie);
    if (code == 0) {
        int err = format_request(method, path, px_buf_slice(&cookie), body, &request);
        if (err != 0) {
            px_cli_error(x->cli, "%s", px_strerror(err));
            code = PX_EXIT_FAILURE;
        }
    }
    if (code == 0)
        code = send_all(x, px_buf_slice(&request));
    px_buf_deinit(&request);
    px_buf_deinit(&cookie);
    return code;
}

/* ---- the answer ---- */

static int bad_answer(const struct exchange *x, const char *what)
{
    px_cli_error(x->cli,
                 "the daemon's answer is not understood (%s); are peerix and the daemon of the "
                 "same version?",
                 what);
    return PX_EXIT_FAILURE;
}

static int parse_head(struct exchange *x)
{
    size_t len;
    int err = px_http_response_parse(px_buf_slice(&x->in), &x->head, &len);
    if (err == PX_ETRUNC)
        return 0;
    if (err != 0)
        return bad_answer(x, px_strerror(err));
    px_buf_drop(&x->in, len);
    x->body_seen = x->in.len;
    x->has_head = true;
    return 0;
}

static bool is_good(const struct exchange *x)
{
    return x->head.status < 300;
}

static int take_line(struct exchange *x, struct px_slice line)
{
    json_error_t why;
    if (px_slice_trim(line).len == 0)
        return 0;
    json_t *value = json_loadb((const char *)line.data, line.len, JSON_REJECT_DUPLICATES, &why);
    if (value == NULL)
        return bad_answer(x, why.text);
    x->code = x->line(x->ctx, value);
    x->stopped = x->code != 0;
    json_decref(value);
    return 0;
}

static int take_lines(struct exchange *x)
{
    struct px_slice rest = px_buf_slice(&x->in);
    int code = 0;
    while (code == 0 && !x->stopped) {
        const uint8_t *end = rest.len > 0 ? memchr(rest.data, '\n', rest.len) : NULL;
        if (end == NULL)
            break;
        size_t n = (size_t)(end - rest.data);
        code = take_line(x, px_slice_take(rest, n));
        rest = px_slice_skip(rest, n + 1);
    }
    if (rest.len > PX_CONTROL_LINE_MAX && code == 0 && !x->stopped)
        code = bad_answer(x, "too long a line");
    px_buf_drop(&x->in, x->in.len - rest.len);
    return code;
}

/* Reads what is there. *ret_end at the end of the stream. */
static int read_some(struct exchange *x, bool *ret_end)
{
    uint8_t *room = px_buf_reserve(&x->in, READ_SIZE);
    if (room == NULL)
        return bad_answer(x, "it is too long");
    ssize_t n = read(x->fd, room, READ_SIZE);
    *ret_end = n == 0 || (n < 0 && errno == ECONNRESET);
    if (n < 0 && errno != EAGAIN && errno != EINTR && !*ret_end) {
        px_cli_error(x->cli, "%s", px_strerror(px_err_from_errno(errno)));
        return PX_EXIT_FAILURE;
    }
    if (n <= 0)
        return 0;
    px_buf_commit(&x->in, (size_t)n);
    x->body_seen += x->has_head ? (uint64_t)n : 0;
    if (x->limit_each && x->limit != PX_NEVER)
        x->deadline = now() + x->limit;
    return 0;
}

static bool is_complete(const struct exchange *x)
{
    return x->has_head && x->head.has_length && x->body_seen >= x->head.length;
}

/* Until the answer is complete; one document stays in x->in. */
static int receive(struct exchange *x)
{
    bool end = false;
    int code = 0;
    while (code == 0 && !end && !x->stopped && !is_complete(x)) {
        code = wait_for(x, POLLIN);
        if (code == 0 && !x->stopped)
            code = read_some(x, &end);
        if (code == 0 && !x->has_head)
            code = parse_head(x);
        if (code == 0 && x->has_head && x->line != NULL && is_good(x))
            code = take_lines(x);
    }
    if (code != 0 || x->stopped || is_complete(x))
        return code;
    if (x->has_head && !x->head.has_length)
        return 0;
    px_cli_error(x->cli, "the daemon ended before it answered; see its log");
    return x->has_head ? PX_EXIT_FAILURE : PX_EXIT_NOT_RUNNING;
}

int px_control_exit_code(const char *error_name)
{
    static const struct {
        int err, code;
    } rows[] = {
        {PX_EOFFLINE, PX_EXIT_OFFLINE},
        {PX_EADDR, PX_EXIT_OFFLINE},
        {PX_EWRONGPEER, PX_EXIT_OFFLINE},
        {PX_ECLOSED, PX_EXIT_OFFLINE},
        {PX_ENOENT, PX_EXIT_NO_PEER},
        {PX_EUNLISTED, PX_EXIT_NO_PEER},
        {PX_ETIMEDOUT, PX_EXIT_TIMEOUT},
        {PX_EHANDSHAKE_TIMEOUT, PX_EXIT_TIMEOUT},
        {PX_EREFUSED, PX_EXIT_REFUSED},
        {PX_EHELD, PX_EXIT_REFUSED},
        {PX_EFORBIDDEN, PX_EXIT_REFUSED},
        {PX_ENETWORK, PX_EXIT_REFUSED},
        {PX_ETARGET, PX_EXIT_REFUSED},
        {PX_ENOSERVICE, PX_EXIT_REFUSED},
        {PX_EPERM, PX_EXIT_PERMISSION},
        {PX_EINVAL, PX_EXIT_USAGE},
        {PX_EPARSE, PX_EXIT_USAGE},
        {PX_ESELF, PX_EXIT_USAGE},
        {PX_EUNACKED, PX_EXIT_UNACKED},
        {PX_EINVITE_TYPO, PX_EXIT_INVITE_TYPO},
        {PX_EINVITE_JUNK, PX_EXIT_INVITE_JUNK},
        {PX_EINVITE_UNKNOWN, PX_EXIT_INVITE_UNKNOWN},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++)
        if (strcmp(px_errname(rows[i].err), error_name) == 0)
            return rows[i].code;
    return PX_EXIT_FAILURE;
}

const char *px_control_error_text(const char *error_name)
{
    static const int errors[] = {
#define X(name, value, text) name,
        PX_ERROR_TABLE(X)
#undef X
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(errors); i++)
        if (strcmp(px_errname(errors[i]), error_name) == 0)
            return px_strerror(errors[i]);
    return error_name;
}

/* An answer of 300 and above: {"error": "EOFFLINE", "message": "…"}. */
static int tell_failure(const struct exchange *x, const json_t *answer)
{
    const char *name = json_string_value(json_object_get(answer, "error"));
    const char *message = json_string_value(json_object_get(answer, "message"));
    if (x->head.status == 401) {
        px_cli_error(x->cli,
                     "the daemon does not accept %s/%s; if it has just restarted, try again",
                     x->home.state_dir, PX_HOME_CONTROL_COOKIE);
        return PX_EXIT_PERMISSION;
    }
    if ((x->head.status == 404 || x->head.status == 405) &&
        (name == NULL || strcmp(name, px_errname(PX_EUNSUPPORTED)) == 0))
        return bad_answer(x, "it does not know this request");
    if (message != NULL)
        px_cli_error(x->cli, "%s", message);
    else
        px_cli_error(x->cli, "the daemon answered with status %u", x->head.status);
    if (x->head.status == 403)
        return PX_EXIT_PERMISSION;
    return name != NULL ? px_control_exit_code(name) : PX_EXIT_FAILURE;
}

/* The document in x->in, or what it says went wrong. */
static int take_document(struct exchange *x, json_t **ret)
{
    json_error_t why = {0};
    struct px_slice text = px_slice_trim(px_buf_slice(&x->in));
    json_t *answer = text.len == 0 ? NULL
                                   : json_loadb((const char *)text.data, text.len,
                                                JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    int code = 0;
    if (!is_good(x))
        code = tell_failure(x, answer);
    else if (answer == NULL && text.len > 0)
        code = bad_answer(x, why.text);
    if (code == 0 && ret != NULL)
        *ret = answer;
    else
        json_decref(answer);
    return code;
}

static int exchange(struct exchange *x, const char *method, const char *path, const json_t *body,
                    json_t **ret)
{
    int code = px_cli_home(x->cli, &x->home);
    if (code != 0)
        return code;
    px_nsec at = now();
    x->deadline = x->limit == PX_NEVER ? PX_NEVER : at + x->limit;
    x->fd = -1;
    px_buf_init(&x->in, PX_CONTROL_ANSWER_MAX);
    code = open_connection(x);
    if (code == 0)
        code = send_request(x, method, path, body);
    if (code == 0)
        code = receive(x);
    if (code == 0 && !x->stopped && (x->line == NULL || !is_good(x)))
        code = take_document(x, ret);
    px_buf_deinit(&x->in);
    if (x->fd >= 0)
        close(x->fd);
    return code != 0 ? code : x->code;
}

int px_control_call_within(const struct px_cli *cli, px_nsec limit, const char *method,
                           const char *path, const json_t *body, json_t **ret)
{
    struct exchange x = {.cli = cli, .stop_fd = -1, .limit = limit};
    return exchange(&x, method, path, body, ret);
}

int px_control_call(const struct px_cli *cli, const char *method, const char *path,
                    const json_t *body, json_t **ret)
{
    return px_control_call_within(cli, PX_CONTROL_ANSWER_TIME, method, path, body, ret);
}

int px_control_lines_until(const struct px_cli *cli, int stop_fd, px_nsec idle, const char *method,
                           const char *path, const json_t *body,
                           int (*line)(void *ctx, const json_t *line), void *ctx)
{
    struct exchange x = {.cli = cli,
                         .stop_fd = stop_fd,
                         .limit = idle,
                         .limit_each = true,
                         .line = line,
                         .ctx = ctx};
    return exchange(&x, method, path, body, NULL);
}

int px_control_lines(const struct px_cli *cli, const char *method, const char *path,
                     const json_t *body, int (*line)(void *ctx, const json_t *line), void *ctx)
{
    return px_control_lines_until(cli, -1, PX_NEVER, method, path, body, line, ctx);
}

int px_control_put_segment(struct px_buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '-' || c == '.' || c == '_' || c == '~';
        if (plain)
            px_buf_put_u8(out, c);
        else
            px_buf_printf(out, "%%%02X", c);
    }
    return out->err;
}

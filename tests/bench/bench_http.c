/* A small HTTP/1.1 load generator: N keep-alive connections, one request at a time on each, from
 * one thread. Prints requests per second, p50, p99, worst, and bytes per second.
 *
 *   bench_http [-c CONNECTIONS] [-d SECONDS] [-n REQUESTS] ADDR:PORT PATH|@FILE…
 *
 * @FILE holds one path a line. Paths are taken in turn. Exits 1 if an answer was not 200. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "proto/addr.h"
#include "transport/sockaddr.h"

#define HEAD_MAX 8192
#define BODY_BUF (256u * 1024)

struct conn {
    int fd;
    px_nsec asked;
    char head[HEAD_MAX + 1];
    size_t head_len;
    uint64_t body_left;
    bool in_body;
};

static struct {
    union px_sockaddr to;
    socklen_t to_len;
    char host[PX_ADDR_TEXT_MAX];
    char **paths;
    size_t path_count, path_next;
    uint64_t *took; /* nanoseconds of each request, up to took_cap */
    size_t took_cap, done, asked, limit, bad, lost;
    uint64_t bytes;
    unsigned bad_status;
    px_nsec end;
    int epoll;
    char body[BODY_BUF];
} b;

static px_nsec now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (px_nsec)ts.tv_sec * PX_SEC + (px_nsec)ts.tv_nsec;
}

_Noreturn static void die(const char *what)
{
    fprintf(stderr, "bench_http: %s\n", what);
    exit(2);
}

static bool may_ask(void)
{
    return (b.limit == 0 || b.asked < b.limit) && now() < b.end;
}

static void ask(struct conn *c)
{
    char text[2048];
    int n = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n",
                     b.paths[b.path_next++ % b.path_count], b.host);
    if (n < 0 || (size_t)n >= sizeof(text))
        die("path too long");
    c->head_len = 0;
    c->in_body = false;
    c->asked = now();
    b.asked++;
    if (send(c->fd, text, (size_t)n, MSG_NOSIGNAL) != n)
        b.lost++;
}

static void conn_open(struct conn *c)
{
    const int one = 1;
    c->fd = socket(b.to.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, &b.to.sa, b.to_len) != 0)
        die("cannot connect");
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    (void)fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(b.epoll, EPOLL_CTL_ADD, c->fd, &ev) != 0)
        die("epoll_ctl");
}

static bool whole(struct conn *c)
{
    if (b.done < b.took_cap)
        b.took[b.done] = now() - c->asked;
    b.done++;
    if (!may_ask())
        return false;
    ask(c);
    return true;
}

/* Reads the header; what of the body came with it is counted. */
static void take_head(struct conn *c, size_t n)
{
    unsigned status;
    c->head_len += n;
    c->head[c->head_len] = '\0';
    char *end = strstr(c->head, "\r\n\r\n"), *length;
    if (end == NULL) {
        if (c->head_len == HEAD_MAX)
            die("header too long");
        return;
    }
    size_t extra = c->head_len - (size_t)(end + 4 - c->head);
    *end = '\0';
    length = strcasestr(c->head, "\r\ncontent-length:");
    if (sscanf(c->head, "HTTP/1.1 %u", &status) != 1 || length == NULL)
        die("no status or no Content-Length");
    if (status != 200) {
        b.bad++;
        b.bad_status = status;
    }
    c->body_left = strtoull(length + 17, NULL, 10);
    b.bytes += c->head_len;
    if (extra > c->body_left)
        die("more than was announced");
    c->body_left -= extra;
    c->in_body = true;
}

/* False when the connection has no more to do. */
static bool on_readable(struct conn *c)
{
    for (;;) {
        void *to = c->in_body ? b.body : c->head + c->head_len;
        size_t cap = c->in_body ? BODY_BUF : HEAD_MAX - c->head_len;
        ssize_t n = recv(c->fd, to, cap, 0);
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n <= 0) {
            b.lost++;
            return false;
        }
        if (c->in_body) {
            b.bytes += (size_t)n;
            c->body_left -= PX_MIN((uint64_t)n, c->body_left);
        } else {
            take_head(c, (size_t)n);
        }
        if (c->in_body && c->body_left == 0)
            return whole(c);
    }
}

static int compare(const void *x, const void *y)
{
    uint64_t p = *(const uint64_t *)x, q = *(const uint64_t *)y;
    return (p > q) - (p < q);
}

static void report(double seconds)
{
    size_t n = PX_MIN(b.done, b.took_cap);
    if (n == 0)
        die("no answer at all");
    qsort(b.took, n, sizeof(*b.took), compare);
    printf("requests=%zu seconds=%.3f rps=%.0f p50_us=%.1f p99_us=%.1f max_us=%.1f MB_s=%.1f "
           "not_200=%zu last_bad=%u lost=%zu\n",
           b.done, seconds, (double)b.done / seconds, (double)b.took[n / 2] / 1e3,
           (double)b.took[n - 1 - n / 100] / 1e3, (double)b.took[n - 1] / 1e3,
           (double)b.bytes / 1e6 / seconds, b.bad, b.bad_status, b.lost);
}

static void add_path(const char *text)
{
    b.paths = realloc(b.paths, (b.path_count + 1) * sizeof(*b.paths));
    if (b.paths == NULL || (b.paths[b.path_count++] = strdup(text)) == NULL)
        die("out of memory");
}

static void add_paths(const char *arg)
{
    char line[1024];
    if (arg[0] != '@') {
        add_path(arg);
        return;
    }
    FILE *f = fopen(arg + 1, "re");
    if (f == NULL)
        die("cannot open the file of paths");
    while (fgets(line, sizeof(line), f) != NULL) {
        line[strcspn(line, "\r\n")] = '\0';
        if (line[0] != '\0')
            add_path(line);
    }
    fclose(f);
}

static void run(size_t count)
{
    struct epoll_event events[64];
    struct conn *conns = calloc(count, sizeof(*conns));
    size_t busy = 0;
    if (conns == NULL)
        die("out of memory");
    for (size_t i = 0; i < count; i++)
        conn_open(&conns[i]);
    for (size_t i = 0; i < count && may_ask(); i++, busy++)
        ask(&conns[i]);
    while (busy > 0) {
        int n = epoll_wait(b.epoll, events, (int)PX_ARRAY_LEN(events), 30000);
        if (n == 0)
            die("no answer for 30 s");
        for (int i = 0; i < n; i++)
            if (!on_readable(events[i].data.ptr)) {
                (void)close(((struct conn *)events[i].data.ptr)->fd);
                busy--;
            }
    }
    free(conns);
}

int main(int argc, char **argv)
{
    size_t count = 16;
    double seconds = 3;
    struct px_addr addr;
    for (int opt; (opt = getopt(argc, argv, "c:d:n:")) != -1;) {
        if (opt == 'c')
            count = strtoul(optarg, NULL, 10);
        else if (opt == 'd')
            seconds = strtod(optarg, NULL);
        else if (opt == 'n')
            b.limit = strtoul(optarg, NULL, 10);
        else
            die("usage: bench_http [-c CONNECTIONS] [-d SECONDS] [-n REQUESTS] ADDR:PORT "
                "PATH|@FILE…");
    }
    if (argc - optind < 2 || count == 0 || px_addr_parse(px_slice_cstr(argv[optind]), &addr) != 0)
        die("needs ADDR:PORT and a path");
    (void)px_addr_format(&addr, b.host);
    b.to_len = px_sockaddr_from_addr(&addr, &b.to);
    for (int i = optind + 1; i < argc; i++)
        add_paths(argv[i]);
    if (b.path_count == 0)
        die("no paths");
    b.took_cap = 4u * 1024 * 1024;
    b.took = malloc(b.took_cap * sizeof(*b.took));
    b.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (b.took == NULL || b.epoll < 0)
        die("out of memory");
    px_nsec from = now();
    b.end = from + (px_nsec)(seconds * 1e9);
    run(count);
    report((double)(now() - from) / 1e9);
    return b.bad != 0 || b.lost != 0;
}

/* Load for an HTTP/1.1 server on loopback: N keep-alive connections, each asking for the next URL
 * of a list as soon as its answer is complete. No pipelining, no chunked answers, one server for
 * all URLs.
 *
 * bench_http [-c CONNECTIONS] [-n REQUESTS] FILE: FILE holds one http://ADDRESS:PORT/PATH a line.
 * Prints requests_per_s=… p50_us=… p99_us=… max_us=… ok=… missing=…; ends with 1 when a
 * connection fails or an answer is neither 200 nor 404. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEAD_MAX        8192
#define CONNECTIONS_MAX 1024
#define REQUESTS_MAX    (64u << 20)

struct request {
    char *text;
    size_t len;
};

struct load {
    struct sockaddr_in server;
    struct request *requests; /* one per URL, taken in turn */
    size_t n_requests;
    uint64_t total, sent, answered, ok, missing;
    uint32_t *took_ns; /* one per answer */
};

struct conn {
    int fd;
    char head[HEAD_MAX];
    size_t head_len;
    uint64_t body_left;
    bool in_body;
    uint64_t asked_at;
};

_Noreturn static void die(const char *what)
{
    fprintf(stderr, "bench_http: %s\n", what);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void parse_url(struct load *l, const char *url)
{
    char host[64], path[512];
    unsigned port;
    if (sscanf(url, "http://%63[0-9.]:%5u%511s", host, &port, path) != 3 || port > UINT16_MAX)
        die("an URL is not http://ADDRESS:PORT/PATH");
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, host, &at.sin_addr) != 1)
        die("an address is not IPv4");
    if (l->n_requests > 0 && memcmp(&at, &l->server, sizeof(at)) != 0)
        die("the URLs are of several servers");
    l->server = at;

    struct request *grown = realloc(l->requests, (l->n_requests + 1) * sizeof(*grown));
    if (grown == NULL)
        die("out of memory");
    l->requests = grown;
    struct request *r = &grown[l->n_requests++];
    int n = asprintf(&r->text, "GET %s HTTP/1.1\r\nHost: %s:%u\r\n\r\n", path, host, port);
    if (n < 0)
        die("out of memory");
    r->len = (size_t)n;
}

static void read_urls(struct load *l, const char *name)
{
    FILE *f = fopen(name, "r");
    if (f == NULL)
        die("cannot read the list of URLs");
    char line[640];
    while (fgets(line, sizeof(line), f) != NULL)
        parse_url(l, line);
    fclose(f);
    if (l->n_requests == 0)
        die("the list of URLs is empty");
}

static void ask(struct load *l, struct conn *c)
{
    const struct request *r = &l->requests[l->sent++ % l->n_requests];
    c->head_len = 0;
    c->in_body = false;
    c->asked_at = now_ns();
    if (send(c->fd, r->text, r->len, MSG_NOSIGNAL) != (ssize_t)r->len)
        die("cannot send a request");
}

static void connect_to(struct load *l, struct conn *c, int epoll)
{
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&l->server, sizeof(l->server)) < 0)
        die("cannot connect");
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &ev) < 0)
        die("cannot watch a socket");
}

static void take_head(struct load *l, struct conn *c, const char *end)
{
    unsigned status;
    if (sscanf(c->head, "HTTP/1.1 %3u ", &status) != 1)
        die("not an HTTP/1.1 answer");
    if (status != 200 && status != 404) {
        fprintf(stderr, "status %u\n", status);
        die("an answer is neither 200 nor 404");
    }
    l->ok += status == 200;
    l->missing += status == 404;
    const char *field = strcasestr(c->head, "\r\nContent-Length:");
    if (field == NULL || field > end)
        die("an answer has no Content-Length");
    uint64_t length = strtoull(field + strlen("\r\nContent-Length:"), NULL, 10);
    uint64_t here = (uint64_t)(c->head + c->head_len - (end + 4));
    if (here > length)
        die("an answer is longer than it says");
    c->body_left = length - here;
    c->in_body = true;
}

/* Reads what is there; true when the answer is complete. */
static bool receive(struct load *l, struct conn *c)
{
    static char body[65536];
    ssize_t n = c->in_body ? recv(c->fd, body, sizeof(body), 0)
                           : recv(c->fd, c->head + c->head_len, HEAD_MAX - 1 - c->head_len, 0);
    if (n <= 0)
        die(n == 0 ? "the server closed a connection, or a head is too long" : strerror(errno));
    if (c->in_body) {
        if ((uint64_t)n > c->body_left)
            die("an answer is longer than it says");
        c->body_left -= (uint64_t)n;
        return c->body_left == 0;
    }
    c->head_len += (size_t)n;
    c->head[c->head_len] = '\0';
    const char *end = strstr(c->head, "\r\n\r\n");
    if (end == NULL)
        return false;
    take_head(l, c, end);
    return c->body_left == 0;
}

static void run(struct load *l, struct conn *conns, size_t n_conns)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        die("cannot make an epoll");
    for (size_t i = 0; i < n_conns; i++)
        connect_to(l, &conns[i], epoll);
    for (size_t i = 0; i < n_conns && l->sent < l->total; i++)
        ask(l, &conns[i]);
    while (l->answered < l->total) {
        struct epoll_event events[64];
        int n = epoll_wait(epoll, events, 64, 10000);
        if (n <= 0)
            die("no answer for 10 s");
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if (!receive(l, c))
                continue;
            uint64_t took = now_ns() - c->asked_at;
            l->took_ns[l->answered++] = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
            if (l->sent < l->total)
                ask(l, c);
        }
    }
    close(epoll);
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void report(struct load *l, double seconds)
{
    qsort(l->took_ns, l->total, sizeof(*l->took_ns), by_value);
    printf("requests_per_s=%.0f p50_us=%.1f p99_us=%.1f max_us=%.1f ok=%llu missing=%llu\n",
           (double)l->total / seconds, l->took_ns[l->total / 2] / 1e3,
           l->took_ns[l->total * 99 / 100] / 1e3, l->took_ns[l->total - 1] / 1e3,
           (unsigned long long)l->ok, (unsigned long long)l->missing);
}

int main(int argc, char **argv)
{
    struct load l = {.total = 10000};
    unsigned long n_conns = 1;
    int option;
    while ((option = getopt(argc, argv, "c:n:")) != -1) {
        if (option == 'c')
            n_conns = strtoul(optarg, NULL, 10);
        else if (option == 'n')
            l.total = strtoull(optarg, NULL, 10);
        else
            return 2;
    }
    if (optind + 1 != argc || n_conns < 1 || n_conns > CONNECTIONS_MAX || l.total < 1 ||
        l.total > REQUESTS_MAX) {
        fprintf(stderr, "usage: bench_http [-c CONNECTIONS] [-n REQUESTS] FILE\n");
        return 2;
    }
    read_urls(&l, argv[optind]);
    struct conn *conns = calloc(n_conns, sizeof(*conns));
    l.took_ns = calloc(l.total, sizeof(*l.took_ns));
    if (conns == NULL || l.took_ns == NULL)
        die("out of memory");
    uint64_t start = now_ns();
    run(&l, conns, n_conns);
    report(&l, (double)(now_ns() - start) / 1e9);
    for (size_t i = 0; i < n_conns; i++)
        close(conns[i].fd);
    for (size_t i = 0; i < l.n_requests; i++)
        free(l.requests[i].text);
    free(l.requests);
    free(l.took_ns);
    free(conns);
    return 0;
}

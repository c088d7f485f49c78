/* A bad link in user space, since the kernel of the test machines has no netem.
 *
 *   link_emulator --listen IP:PORT --to IP:PORT [link options]     between UDP sockets
 *   link_emulator --tap NETNS/NAME --tap NETNS/NAME [link options] between two TAP devices, made
 * here in the named namespaces (- for our own) link options, applied in both directions: --delay MS
 * --jitter MS --loss P --burst-enter P
 * --burst-leave P --reorder P --reorder-delay MS --duplicate P --rate BYTES/S --queue BYTES
 * --seed N. Prints `ready [ADDR]` and ends on SIGTERM, printing its counters. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "proto/addr.h"
#include "tests/link_model.h"

#define CLIENTS_MAX 64
#define PACKET_MAX  65536

/* One packet under way; the heap is ordered by `due`, then by arrival. */
struct packet {
    px_nsec due;
    uint64_t order;
    int fd;                /* where it goes out */
    struct sockaddr_in to; /* for an unconnected socket */
    bool addressed;
    size_t len;
    uint8_t *data;
};

/* A client of the UDP proxy and the socket that stands for it towards the server. */
struct client {
    struct sockaddr_in addr;
    int fd;
};

struct emulator {
    struct px_link_model there, back;
    struct packet *heap;
    size_t heap_len, heap_cap;
    uint64_t order;
    int ends[2]; /* UDP: [0] listens; TAP: both devices */
    bool tap;
    struct sockaddr_in server;
    struct client clients[CLIENTS_MAX];
    size_t client_count;
};

static volatile sig_atomic_t ended;

static void on_signal(int signum)
{
    (void)signum;
    ended = 1;
}

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "link_emulator: %s: %s\n", what, strerror(errno));
    exit(1);
}

static px_nsec now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (px_nsec)t.tv_sec * PX_SEC + (px_nsec)t.tv_nsec;
}

/* ---- heap ---- */

static bool before(const struct packet *a, const struct packet *b)
{
    return a->due < b->due || (a->due == b->due && a->order < b->order);
}

static void heap_push(struct emulator *e, struct packet p)
{
    if (e->heap_len == e->heap_cap) {
        e->heap_cap = e->heap_cap == 0 ? 1024 : e->heap_cap * 2;
        e->heap = realloc(e->heap, e->heap_cap * sizeof(*e->heap));
        if (e->heap == NULL)
            die("memory");
    }
    size_t i = e->heap_len++;
    while (i > 0 && before(&p, &e->heap[(i - 1) / 2])) {
        e->heap[i] = e->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    e->heap[i] = p;
}

static struct packet heap_pop(struct emulator *e)
{
    struct packet top = e->heap[0], last = e->heap[--e->heap_len];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= e->heap_len)
            break;
        if (child + 1 < e->heap_len && before(&e->heap[child + 1], &e->heap[child]))
            child++;
        if (!before(&e->heap[child], &last))
            break;
        e->heap[i] = e->heap[child];
        i = child;
    }
    if (e->heap_len > 0)
        e->heap[i] = last;
    return top;
}

/* ---- forwarding ---- */

static void enter(struct emulator *e, struct px_link_model *m, const uint8_t *data, size_t len,
                  int fd, const struct sockaddr_in *to)
{
    px_nsec due[PX_LINK_COPIES_MAX];
    size_t copies = px_link_model_enter(m, len, now_ns(), due);
    for (size_t i = 0; i < copies; i++) {
        struct packet p = {.due = due[i], .order = e->order++, .fd = fd, .len = len};
        if (to != NULL) {
            p.to = *to;
            p.addressed = true;
        }
        p.data = malloc(len);
        if (p.data == NULL)
            die("memory");
        memcpy(p.data, data, len);
        heap_push(e, p);
    }
}

static void deliver_due(struct emulator *e)
{
    px_nsec now = now_ns();
    while (e->heap_len > 0 && e->heap[0].due <= now) {
        struct packet p = heap_pop(e);
        /* an error is one more way to lose a packet */
        if (e->tap)
            (void)!write(p.fd, p.data, p.len);
        else if (p.addressed)
            (void)!sendto(p.fd, p.data, p.len, 0, (const struct sockaddr *)&p.to, sizeof(p.to));
        else
            (void)!send(p.fd, p.data, p.len, 0);
        free(p.data);
    }
}

static struct client *client_of(struct emulator *e, const struct sockaddr_in *from)
{
    for (size_t i = 0; i < e->client_count; i++)
        if (e->clients[i].addr.sin_port == from->sin_port &&
            e->clients[i].addr.sin_addr.s_addr == from->sin_addr.s_addr)
            return &e->clients[i];
    if (e->client_count == CLIENTS_MAX)
        return NULL;
    struct client *c = &e->clients[e->client_count];
    c->addr = *from;
    c->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int big = 8 << 20;
    if (c->fd < 0 || connect(c->fd, (const struct sockaddr *)&e->server, sizeof(e->server)) != 0)
        die("upstream socket");
    (void)setsockopt(c->fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof(big));
    e->client_count++;
    return c;
}

static void from_listener(struct emulator *e, uint8_t *space)
{
    struct sockaddr_in from;
    for (int i = 0; i < 256; i++) {
        socklen_t from_len = sizeof(from);
        ssize_t n = recvfrom(e->ends[0], space, PACKET_MAX, 0, (struct sockaddr *)&from, &from_len);
        if (n < 0)
            return;
        struct client *c = client_of(e, &from);
        if (c != NULL)
            enter(e, &e->there, space, (size_t)n, c->fd, NULL);
    }
}

static void from_server(struct emulator *e, struct client *c, uint8_t *space)
{
    for (int i = 0; i < 256; i++) {
        ssize_t n = recv(c->fd, space, PACKET_MAX, 0);
        if (n < 0)
            return;
        enter(e, &e->back, space, (size_t)n, e->ends[0], &c->addr);
    }
}

static void from_tap(struct emulator *e, int end, uint8_t *space)
{
    for (int i = 0; i < 256; i++) {
        ssize_t n = read(e->ends[end], space, PACKET_MAX);
        if (n <= 0)
            return;
        enter(e, end == 0 ? &e->there : &e->back, space, (size_t)n, e->ends[1 - end], NULL);
    }
}

static void turn(struct emulator *e, uint8_t *space)
{
    struct pollfd fds[CLIENTS_MAX + 2];
    nfds_t count = 0;
    fds[count++] = (struct pollfd){.fd = e->ends[0], .events = POLLIN};
    if (e->tap)
        fds[count++] = (struct pollfd){.fd = e->ends[1], .events = POLLIN};
    for (size_t i = 0; i < e->client_count; i++)
        fds[count++] = (struct pollfd){.fd = e->clients[i].fd, .events = POLLIN};
    px_nsec now = now_ns(), wait = PX_SEC;
    if (e->heap_len > 0)
        wait = e->heap[0].due > now ? e->heap[0].due - now : 0;
    struct timespec ts = {(time_t)(wait / PX_SEC), (long)(wait % PX_SEC)};
    if (ppoll(fds, count, &ts, NULL) > 0) {
        if (fds[0].revents != 0 && !e->tap)
            from_listener(e, space);
        for (int i = 0; e->tap && i < 2; i++)
            if (fds[i].revents != 0)
                from_tap(e, i, space);
        for (size_t i = 0; !e->tap && i + 1 < count; i++)
            if (fds[i + 1].revents != 0)
                from_server(e, &e->clients[i], space);
    }
    deliver_due(e);
}

/* ---- set-up ---- */

static struct sockaddr_in to_sockaddr(const char *text)
{
    struct px_addr a;
    struct sockaddr_in s = {.sin_family = AF_INET};
    if (px_addr_parse(px_slice_cstr(text), &a) != 0 || a.family != PX_ADDR_IP4) {
        fprintf(stderr, "link_emulator: '%s' is not IPv4:PORT\n", text);
        exit(2);
    }
    s.sin_port = htons(a.port);
    memcpy(&s.sin_addr, a.ip, 4);
    return s;
}

static int open_listener(const char *text)
{
    struct sockaddr_in bound = to_sockaddr(text);
    socklen_t len = sizeof(bound);
    int big = 8 << 20, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&bound, len) != 0 ||
        getsockname(fd, (struct sockaddr *)&bound, &len) != 0)
        die(text);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof(big));
    printf("ready 127.0.0.1:%u\n", ntohs(bound.sin_port));
    return fd;
}

/* Makes the device inside its namespace; the descriptor works from outside as well. */
static int open_tap(const char *spec)
{
    const char *slash = strchr(spec, '/');
    char netns[200];
    int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (slash == NULL || own < 0)
        die("--tap NETNS/NAME");
    if (strncmp(spec, "-/", 2) != 0) {
        snprintf(netns, sizeof(netns), "/var/run/netns/%.*s", (int)(slash - spec), spec);
        int ns = open(netns, O_RDONLY | O_CLOEXEC);
        if (ns < 0 || setns(ns, CLONE_NEWNET) != 0)
            die(netns);
        close(ns);
    }
    struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", slash + 1);
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) != 0)
        die(spec);
    if (setns(own, CLONE_NEWNET) != 0)
        die("back to our namespace");
    close(own);
    return fd;
}

static px_nsec msec(const char *text)
{
    return (px_nsec)(strtod(text, NULL) * (double)PX_MSEC);
}

struct settings {
    const char *listen_on;
    uint64_t seed;
    int taps;
    struct px_link_model_config link;
};

/* False, after getopt_long has said why, for what is no option of ours. */
static bool parse(int argc, char **argv, struct emulator *e, struct settings *s)
{
    static const struct option options[] = {
        {"listen", 1, NULL, 'l'},        {"to", 1, NULL, 't'},          {"tap", 1, NULL, 'a'},
        {"delay", 1, NULL, 'd'},         {"jitter", 1, NULL, 'j'},      {"loss", 1, NULL, 'L'},
        {"burst-enter", 1, NULL, 'b'},   {"burst-leave", 1, NULL, 'B'}, {"reorder", 1, NULL, 'r'},
        {"reorder-delay", 1, NULL, 'R'}, {"duplicate", 1, NULL, 'D'},   {"rate", 1, NULL, 'x'},
        {"queue", 1, NULL, 'q'},         {"seed", 1, NULL, 's'},        {NULL, 0, NULL, 0}};
    struct px_link_model_config *c = &s->link;
    int o;
    while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (o) {
        case 'l':
            s->listen_on = optarg;
            break;
        case 't':
            e->server = to_sockaddr(optarg);
            break;
        case 'a':
            if (s->taps < 2)
                e->ends[s->taps++] = open_tap(optarg);
            break;
        case 'd':
            c->delay = msec(optarg);
            break;
        case 'j':
            c->jitter = msec(optarg);
            break;
        case 'L':
            c->loss = strtod(optarg, NULL);
            break;
        case 'b':
            c->burst_enter = strtod(optarg, NULL);
            break;
        case 'B':
            c->burst_leave = strtod(optarg, NULL);
            break;
        case 'r':
            c->reorder = strtod(optarg, NULL);
            break;
        case 'R':
            c->reorder_delay = msec(optarg);
            break;
        case 'D':
            c->duplicate = strtod(optarg, NULL);
            break;
        case 'x':
            c->rate = strtoull(optarg, NULL, 10);
            break;
        case 'q':
            c->queue = strtoull(optarg, NULL, 10);
            break;
        case 's':
            s->seed = strtoull(optarg, NULL, 10);
            break;
        default:
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    struct emulator e = {.ends = {-1, -1}};
    struct settings s = {.seed = 1, .link = {.reorder_delay = 5 * PX_MSEC}};
    if (!parse(argc, argv, &e, &s))
        return 2;
    e.tap = s.taps == 2;
    if (!e.tap && (s.listen_on == NULL || e.server.sin_port == 0)) {
        fprintf(stderr, "link_emulator: needs --listen and --to, or --tap twice\n");
        return 2;
    }
    px_link_model_init(&e.there, &s.link, s.seed);
    px_link_model_init(&e.back, &s.link, s.seed + 1);
    (void)signal(SIGTERM, on_signal);
    (void)signal(SIGINT, on_signal);
    uint8_t *space = malloc(PACKET_MAX);
    if (space == NULL)
        die("memory");
    if (e.tap)
        printf("ready\n");
    else
        e.ends[0] = open_listener(s.listen_on);
    fflush(stdout);
    while (!ended)
        turn(&e, space);
    free(space);
    printf("there: passed %" PRIu64 " lost %" PRIu64 " overflowed %" PRIu64 "\n", e.there.passed,
           e.there.lost, e.there.overflowed);
    printf("back: passed %" PRIu64 " lost %" PRIu64 " overflowed %" PRIu64 "\n", e.back.passed,
           e.back.lost, e.back.overflowed);
    return 0;
}

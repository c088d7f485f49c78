/* What forwarding costs a relay's CPU, at a rate the relay can take: packets through one circuit of
 * peerix-relay, or through one channel of a TURN server (RFC 8656), to a sink in this process.
 *
 *   bench_relay peerix PID BYTES PAYLOAD IP:PORT RELAY-ID KEYFILE KEYFILE
 *   bench_relay turn   PID BYTES PAYLOAD IP:PORT
 *   bench_relay ping   PID COUNT 0       IP:PORT RELAY-ID KEYFILE           (control round trips)
 *   bench_relay setup  PID COUNT 0       IP:PORT RELAY-ID KEYFILE KEYFILE   (circuits, in turn)
 * PID is the server's. Prints "mb_s=… cpu_s_gib=… lost=…" or "setup_us=…". */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "auth/identity_io.h"
#include "tests/relay_node.h"
#include "transport/sockaddr.h"

#define BATCH_MAX   32
#define STALL       (20 * PX_MSEC) /* without arrivals: what is out is lost */
#define WINDOW      (2u << 20)
#define WINDOW_TURN (128u << 10) /* a TURN server's socket has the system's default buffer */

struct run {
    uint64_t total, payload;
    uint64_t sent, received, lost;
    px_nsec heard_at, started_at;
    clockid_t cpu;
    px_nsec cpu_before;
};

static px_nsec cpu_now(clockid_t clock)
{
    struct timespec t;
    if (clock_gettime(clock, &t) != 0)
        return 0;
    return (px_nsec)t.tv_sec * PX_SEC + (px_nsec)t.tv_nsec;
}

static void begin(struct run *r)
{
    r->started_at = r->heard_at = px_now_io();
    r->cpu_before = cpu_now(r->cpu);
}

static void report(const struct run *r)
{
    double seconds = (double)(px_now_io() - r->started_at) / (double)PX_SEC;
    double cpu = (double)(cpu_now(r->cpu) - r->cpu_before) / (double)PX_SEC;
    printf("mb_s=%.1f cpu_s_gib=%.3f lost=%.4f\n", (double)r->received / seconds / 1e6,
           cpu / ((double)r->received / 1073741824.0), (double)r->lost / (double)r->sent);
}

/* How many packets may be sent now. */
static size_t room(struct run *r, uint64_t window)
{
    uint64_t out = r->sent - r->received - r->lost;
    if (out > 0 && px_now_io() - r->heard_at > STALL) {
        r->lost += out;
        r->heard_at = px_now_io();
        out = 0;
    }
    if (out >= window)
        return 0;
    return (size_t)PX_MIN((window - out) / r->payload, (uint64_t)BATCH_MAX);
}

/* ---- peerix-relay ---- */

struct peerix {
    struct run run;
    struct relay_node a, b;
    struct px_relay_leg *leg; /* a's */
    uv_idle_t idle;
    uint8_t batch[BATCH_MAX * 1500];
    bool setup;
    uint64_t left; /* circuits still to be made */
    px_nsec called_at, setup_sum;
    int waiting; /* nodes not reserved yet */
};

static void stop(struct peerix *p)
{
    uv_close((uv_handle_t *)&p->idle, NULL);
    relay_node_close(&p->a);
    relay_node_close(&p->b);
}

static void on_idle(uv_idle_t *h)
{
    struct peerix *p = h->data;
    struct run *r = &p->run;
    size_t segment = PX_RELAY_HEADER_LEN + (size_t)r->payload, n = room(r, WINDOW);
    if (r->received + r->lost >= r->total) {
        report(r);
        stop(p);
        return;
    }
    if (n == 0 || p->leg == NULL)
        return;
    for (size_t i = 0; i < n; i++)
        px_relay_leg_header(p->leg, p->batch + i * segment);
    if (relay_node_send_batch(&p->a, p->leg, px_slice(p->batch, n * segment), segment) == 0)
        r->sent += n * r->payload;
}

static void on_done(uv_idle_t *h)
{
    stop(h->data);
}

static void call(struct peerix *p)
{
    struct px_relay_leg *l;
    p->called_at = px_now_io();
    if (px_relay_client_call(p->a.client, &p->b.identity.id, NULL, p->called_at, &l) != 0)
        exit(1);
}

static void on_reserved(void *ctx, enum px_relay_status status, enum px_relay_class class)
{
    struct peerix *p = ((struct relay_node *)ctx)->user;
    (void)class;
    if (status == PX_RELAY_OK && --p->waiting == 0)
        call(p);
}

static void on_open(void *ctx, struct px_relay_leg *leg)
{
    struct relay_node *n = ctx;
    struct peerix *p = n->user;
    if (n != &p->a)
        return;
    if (!p->setup) {
        p->leg = leg;
        begin(&p->run);
        return;
    }
    p->setup_sum += px_now_io() - p->called_at;
    px_relay_leg_end(leg);
    if (--p->left > 0) {
        call(p);
        return;
    }
    printf("setup_us=%.1f\n", (double)p->setup_sum / (double)p->run.total / 1000);
    uv_idle_start(&p->idle, on_done); /* not inside a callback of what it ends */
}

static void on_data(void *ctx, struct px_relay_leg *leg, struct px_slice payload)
{
    struct peerix *p = ((struct relay_node *)ctx)->user;
    (void)leg;
    p->run.received += payload.len;
    p->run.heard_at = px_now_io();
}

static void on_ended(void *ctx, struct px_relay_leg *leg, enum px_relay_status why)
{
    const struct peerix *p = ((struct relay_node *)ctx)->user;
    (void)leg;
    if (p->setup && (why == PX_RELAY_PEER_ENDED || p->left == 0))
        return; /* as it should, or with the nodes that are being closed */
    fprintf(stderr, "circuit ended: %s\n", px_relay_status_name(why));
    exit(1);
}

static const struct px_relay_client_ops ops = {
    .reserved = on_reserved, .open = on_open, .data = on_data, .ended = on_ended};

static int run_peerix(struct run *r, const struct px_addr *addr, char **argv, bool setup)
{
    static struct peerix p;
    struct px_peer_id relay;
    struct relay_node *nodes[] = {&p.a, &p.b};
    char hint[256];
    uv_loop_t loop;
    uv_loop_init(&loop);
    p.run = *r;
    p.setup = setup;
    p.left = r->total;
    p.waiting = 2;
    if (px_peer_id_parse(px_slice_cstr(argv[0]), &relay) != 0)
        return 2;
    uv_idle_init(&loop, &p.idle);
    p.idle.data = &p;
    for (int i = 0; i < 2; i++) {
        nodes[i]->user = &p;
        if (px_identity_load(argv[1 + i], &nodes[i]->identity, hint, sizeof(hint)) != 0 ||
            relay_node_start(nodes[i], &loop, &relay, addr, "default", &ops, true) != 0)
            return 1;
    }
    if (!setup)
        uv_idle_start(&p.idle, on_idle);
    p.run.started_at = p.run.heard_at = px_now_io();
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

/* ---- control round trips ---- */

struct pinger {
    struct relay_node node;
    uv_timer_t timer;
    px_nsec sent_at, *took;
    uint64_t count, wanted;
};

static void ask(uv_timer_t *t)
{
    struct pinger *p = t->data;
    struct px_relay_msg m = {.type = PX_RELAY_MSG_OBSERVE};
    p->sent_at = px_now_io();
    if (px_relay_client_request(p->node.client, &m, NULL, p->sent_at) != 0)
        exit(1);
}

static void on_ping_reserved(void *ctx, enum px_relay_status status, enum px_relay_class class)
{
    struct pinger *p = ((struct relay_node *)ctx)->user;
    (void)class;
    if (status == PX_RELAY_OK)
        uv_timer_start(&p->timer, ask, 10, 0);
}

static int by_size(const void *a, const void *b)
{
    const px_nsec *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static void on_ping_done(uv_timer_t *t)
{
    struct pinger *p = t->data;
    qsort(p->took, p->count, sizeof(*p->took), by_size);
    printf("p50_us=%.1f p99_us=%.1f\n", (double)p->took[p->count / 2] / 1000,
           (double)p->took[p->count * 99 / 100] / 1000);
    uv_close((uv_handle_t *)t, NULL);
    relay_node_close(&p->node);
}

static void on_ping_reply(void *ctx, void *token, enum px_relay_status status,
                          const struct px_relay_msg *m)
{
    struct pinger *p = ((struct relay_node *)ctx)->user;
    (void)token;
    (void)status;
    if (m == NULL)
        exit(1);
    p->took[p->count++] = px_now_io() - p->sent_at;
    /* below the rate of requests a node may send */
    uv_timer_start(&p->timer, p->count < p->wanted ? ask : on_ping_done, 21, 0);
}

static const struct px_relay_client_ops ping_ops = {.reserved = on_ping_reserved,
                                                    .reply = on_ping_reply};

static int run_ping(const struct run *r, const struct px_addr *addr, char **argv)
{
    static struct pinger p;
    struct px_peer_id relay;
    char hint[256];
    uv_loop_t loop;
    uv_loop_init(&loop);
    p.node.user = &p;
    p.wanted = r->total;
    p.took = calloc(r->total, sizeof(*p.took));
    uv_timer_init(&loop, &p.timer);
    p.timer.data = &p;
    if (p.took == NULL || px_peer_id_parse(px_slice_cstr(argv[0]), &relay) != 0 ||
        px_identity_load(argv[1], &p.node.identity, hint, sizeof(hint)) != 0 ||
        relay_node_start(&p.node, &loop, &relay, addr, "default", &ping_ops, true) != 0)
        return 1;
    uv_run(&loop, UV_RUN_DEFAULT);
    free(p.took);
    return uv_loop_close(&loop);
}

/* ---- TURN ---- */

#define COOKIE 0x2112a442u

static int udp_socket(struct sockaddr_in *ret_local)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(*ret_local);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), size = 8 << 20, on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
    (void)setsockopt(fd, SOL_UDP, UDP_GRO, &on, sizeof(on));
    if (fd < 0 || bind(fd, (const struct sockaddr *)&any, sizeof(any)) != 0 ||
        getsockname(fd, (struct sockaddr *)ret_local, &len) != 0) {
        perror("socket");
        exit(1);
    }
    return fd;
}

static void put16(uint8_t *at, unsigned v)
{
    at[0] = (uint8_t)(v >> 8);
    at[1] = (uint8_t)v;
}

/* Sends a STUN request with these attributes and waits for its success. */
static void stun(int fd, unsigned type, const uint8_t *attributes, size_t len)
{
    uint8_t out[128] = {0}, in[1500];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    put16(out, type);
    put16(out + 2, (unsigned)len);
    put16(out + 4, COOKIE >> 16);
    put16(out + 6, COOKIE & 0xffff);
    out[8] = (uint8_t)type;
    memcpy(out + 20, attributes, len);
    if (send(fd, out, 20 + len, 0) < 0 || poll(&p, 1, 2000) != 1 || recv(fd, in, 1500, 0) < 20 ||
        in[0] != (uint8_t)((type | 0x100) >> 8) || in[1] != (uint8_t)type) {
        fprintf(stderr, "TURN server: no success for request %04x\n", type);
        exit(1);
    }
}

static void bind_channel(int fd, const struct sockaddr_in *peer)
{
    static const uint8_t transport[] = {0x00, 0x19, 0, 4, 17, 0, 0, 0};
    uint8_t a[20] = {0x00, 0x0c, 0, 4, 0x40, 0, 0, 0, 0x00, 0x12, 0, 8, 0, 1};
    uint32_t ip = ntohl(peer->sin_addr.s_addr) ^ COOKIE;
    stun(fd, 0x0003, transport, sizeof(transport));
    put16(a + 14, ntohs(peer->sin_port) ^ (COOKIE >> 16));
    put16(a + 16, ip >> 16);
    put16(a + 18, ip & 0xffff);
    stun(fd, 0x0009, a, sizeof(a));
}

static void send_batch(int fd, uint8_t *data, size_t count, size_t segment)
{
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(uint16_t))] = {0};
    struct iovec iov = {data, count * segment};
    struct msghdr h = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = sizeof(control)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&h);
    uint16_t size = (uint16_t)segment;
    c->cmsg_level = SOL_UDP;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof(size));
    memcpy(CMSG_DATA(c), &size, sizeof(size));
    (void)!sendmsg(fd, &h, 0);
}

static int run_turn(struct run *r, const struct px_addr *addr)
{
    static uint8_t batch[BATCH_MAX * 1500], in[65536];
    struct sockaddr_in local, sink_addr;
    union px_sockaddr server;
    int fd = udp_socket(&local), sink = udp_socket(&sink_addr);
    socklen_t len = px_sockaddr_from_addr(addr, &server);
    size_t segment = 4 + (size_t)r->payload;
    if (connect(fd, &server.sa, len) != 0)
        return 1;
    bind_channel(fd, &sink_addr);
    for (size_t i = 0; i < BATCH_MAX; i++) {
        put16(batch + i * segment, 0x4000);
        put16(batch + i * segment + 2, (unsigned)r->payload);
    }
    begin(r);
    while (r->received + r->lost < r->total) {
        size_t n = room(r, WINDOW_TURN);
        if (n > 0) {
            send_batch(fd, batch, n, segment);
            r->sent += n * r->payload;
        }
        for (ssize_t got; (got = recv(sink, in, sizeof(in), MSG_DONTWAIT)) > 0;) {
            r->received += (uint64_t)got;
            r->heard_at = px_now_io();
        }
    }
    report(r);
    close(fd);
    close(sink);
    return 0;
}

int main(int argc, char **argv)
{
    struct run r = {0};
    struct px_addr addr;
    uint64_t pid;
    bool setup = argc > 1 && strcmp(argv[1], "setup") == 0;
    if (argc < 6 || px_crypto_init() != 0 || px_slice_parse_u64(px_slice_cstr(argv[2]), &pid) ||
        px_slice_parse_u64(px_slice_cstr(argv[3]), &r.total) ||
        px_slice_parse_u64(px_slice_cstr(argv[4]), &r.payload) || r.payload > 1400 ||
        px_addr_parse(px_slice_cstr(argv[5]), &addr) != 0 ||
        clock_getcpuclockid((pid_t)pid, &r.cpu) != 0) {
        fprintf(stderr, "usage: see the head of tests/bench/bench_relay.c\n");
        return 2;
    }
    if (strcmp(argv[1], "turn") == 0)
        return run_turn(&r, &addr);
    if (strcmp(argv[1], "ping") == 0)
        return argc < 8 ? 2 : run_ping(&r, &addr, argv + 6);
    return argc < 9 ? 2 : run_peerix(&r, &addr, argv + 6, setup);
}

/* Raw speed of transport/quic over real loopback sockets: one stream of N bytes, two processes.
 *
 * bench_quic [MiB] [options]: prints MB/s and CPU seconds per GiB of both ends together. Options:
 * cubic, nogso, nogro, nospin, payload=BYTES. */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <stdio.h>
#include <uv.h>

#include "auth/crypto.h"
#include "transport/quic.h"
#include "transport/udp_io.h"

/* Setting a timer for less than this costs more than polling until then (in virtual machines). */
#define SPIN (60 * PX_USEC)

struct options {
    uint64_t bytes;
    bool cubic, nogso, nogro, nospin;
    size_t payload;
};

/* Shared between the two processes. */
struct result {
    double seconds;
    struct px_quic_stats stats[2];
    struct px_udp_stats udp[2];
    double cpu[2];
    long rss_kib[2];
};

struct end {
    uv_loop_t loop;
    uv_poll_t timer;
    uv_idle_t spin; /* active while a deadline is too near for the timer */
    bool may_spin;
    int timer_fd;
    px_nsec timer_at;
    struct px_udp *udp;
    struct px_quic *q;
    struct px_quic_conn *conn;
    bool sender, done;
    int64_t id;
    uint64_t total, moved;
    px_nsec start;
    struct result *result;
};

static uint8_t chunk[256 * 1024];

static px_nsec now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_BOOTTIME, &ts);
    return (px_nsec)ts.tv_sec * PX_SEC + (px_nsec)ts.tv_nsec;
}

static void on_spin(uv_idle_t *idle);

static void arm(struct end *e)
{
    px_nsec at = px_quic_deadline(e->q);
    if (e->may_spin && at != PX_NEVER && at < now_ns() + SPIN) {
        uv_idle_start(&e->spin, on_spin);
        return;
    }
    uv_idle_stop(&e->spin);
    if (at >= e->timer_at)
        return; /* too early costs a run that finds nothing due, less than setting it anew */
    e->timer_at = at;
    at = PX_MAX(at, 1); /* all zero would disarm */
    struct itimerspec its = {.it_value = {(time_t)(at / PX_SEC), (long)(at % PX_SEC)}};
    timerfd_settime(e->timer_fd, TFD_TIMER_ABSTIME, &its, NULL);
}

static void run(struct end *e)
{
    px_quic_run(e->q, now_ns());
    arm(e);
}

static void on_spin(uv_idle_t *idle)
{
    struct end *e = idle->data;
    if (px_quic_deadline(e->q) <= now_ns())
        run(e);
}

static void on_timer(uv_poll_t *p, int status, int events)
{
    (void)status, (void)events;
    struct end *e = p->data;
    uint64_t n;
    if (read(e->timer_fd, &n, sizeof(n)) < 0)
        return;
    e->timer_at = PX_NEVER;
    run(e);
}

static void on_datagram(void *ctx, const struct px_path *path, unsigned ecn, struct px_slice data)
{
    struct end *e = ctx;
    px_quic_input(e->q, path, ecn, data, now_ns());
}

static void on_batch_end(void *ctx)
{
    run(ctx);
}

static void on_udp_writable(void *ctx)
{
    struct end *e = ctx;
    px_quic_writable(e->q);
    run(e);
}

static const struct px_udp_ops udp_ops = {
    .datagram = on_datagram, .batch_end = on_batch_end, .writable = on_udp_writable};

static void on_secured(void *ctx)
{
    struct end *e = ctx;
    px_quic_conn_raise_windows(e->conn);
    if (!e->sender)
        return;
    if (px_quic_stream_open(e->conn, true, &e->id) < 0)
        abort();
    e->start = now_ns();
}

static void on_recv(void *ctx, int64_t id, struct px_slice data, bool fin)
{
    struct end *e = ctx;
    if (e->moved == 0)
        e->start = now_ns();
    e->moved += data.len;
    px_quic_consume(e->conn, id, data.len);
    if (fin) {
        e->result->seconds = (double)(now_ns() - e->start) / 1e9;
        px_quic_conn_stats(e->conn, &e->result->stats[e->sender]);
        px_quic_conn_close(e->conn, 0);
    }
}

static void on_next(void *ctx, int64_t *ret_id, struct px_slice *vec, size_t cap, size_t *ret_count,
                    bool *ret_fin)
{
    struct end *e = ctx;
    (void)cap;
    if (!e->sender || e->id < 0 || e->moved == e->total)
        return;
    uint64_t left = e->total - e->moved;
    size_t at = (size_t)(e->moved % sizeof(chunk));
    size_t n = (size_t)PX_MIN(left, sizeof(chunk) - at);
    vec[0] = px_slice(chunk + at, n);
    *ret_id = e->id;
    *ret_count = 1;
    *ret_fin = n == left;
}

static void on_sent(void *ctx, int64_t id, uint64_t n, bool fin)
{
    (void)id, (void)fin;
    ((struct end *)ctx)->moved += n;
    struct end *e = ctx;
    if (fin)
        px_quic_conn_stats(e->conn, &e->result->stats[1]);
}

static void on_closed(void *ctx, int err, uint64_t code, bool by_peer)
{
    (void)code, (void)by_peer;
    struct end *e = ctx;
    if (err != PX_ECLOSED)
        fprintf(stderr, "closed: %s\n", px_strerror(err));
    e->done = true;
}

static void ignore_id(void *ctx, int64_t id)
{
    (void)ctx, (void)id;
}

static void on_writable(void *ctx, int64_t id)
{
    (void)id;
    px_quic_conn_wake(((struct end *)ctx)->conn);
}

static void ignore_code(void *ctx, int64_t id, uint64_t v)
{
    (void)ctx, (void)id, (void)v;
}

static void ignore(void *ctx)
{
    (void)ctx;
}

static const struct px_quic_conn_ops conn_ops = {
    .secured = on_secured,
    .stream_opened = ignore_id,
    .stream_recv = on_recv,
    .stream_acked = ignore_code,
    .stream_reset = ignore_code,
    .stream_stop = ignore_code,
    .stream_writable = on_writable,
    .stream_closed = ignore_id,
    .streams_available = ignore,
    .next = on_next,
    .sent = on_sent,
    .blocked = ignore_id,
    .closed = on_closed,
};

static int on_accept(void *ctx, struct px_quic_conn *c, const struct px_quic_conn_ops **ret_ops,
                     void **ret_ctx)
{
    struct end *e = ctx;
    e->conn = c;
    *ret_ops = &conn_ops;
    *ret_ctx = e;
    return 0;
}

static void end_init(struct end *e, const struct options *o, bool sender, struct result *result)
{
    *e = (struct end){
        .sender = sender, .id = -1, .total = o->bytes, .result = result, .timer_at = PX_NEVER};
    uv_loop_init(&e->loop);
    struct px_addr any = {.ip = {127, 0, 0, 1}, .family = PX_ADDR_IP4};
    struct px_quic_config cfg = {
        .rng = px_system_rng,
        .accept = on_accept,
        .accept_ctx = e,
        .cubic = o->cubic,
        .max_udp_payload = o->payload,
    };
    e->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (e->timer_fd < 0 || px_udp_new(&e->loop, &any, &udp_ops, e, &e->udp) < 0)
        abort();
    cfg.net.send = px_udp_send;
    cfg.net.ctx = e->udp;
    if (px_quic_new(&cfg, &e->q) < 0)
        abort();
    px_udp_disable_offload(e->udp, o->nogso, o->nogro);
    uv_idle_init(&e->loop, &e->spin);
    e->spin.data = e;
    e->may_spin = !o->nospin;
    uv_poll_init(&e->loop, &e->timer, e->timer_fd);
    e->timer.data = e;
    uv_poll_start(&e->timer, UV_READABLE, on_timer);
}

static void end_run(struct end *e)
{
    while (!e->done)
        uv_run(&e->loop, UV_RUN_ONCE);
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    e->result->cpu[e->sender] = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                                (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
    e->result->rss_kib[e->sender] = u.ru_maxrss;
    px_udp_stats(e->udp, &e->result->udp[e->sender]);
    px_quic_free(e->q);
    px_udp_close(e->udp);
    uv_close((uv_handle_t *)&e->timer, NULL);
    uv_close((uv_handle_t *)&e->spin, NULL);
    uv_run(&e->loop, UV_RUN_DEFAULT);
    close(e->timer_fd);
    uv_loop_close(&e->loop);
}

static void report(const struct options *o, const struct result *r)
{
    double gib = (double)o->bytes / (double)(1u << 30);
    printf("%.0f MB/s, %.2f CPU s/GiB (sender %.2f, receiver %.2f)\n",
           (double)o->bytes / 1e6 / r->seconds, (r->cpu[0] + r->cpu[1]) / gib, r->cpu[1] / gib,
           r->cpu[0] / gib);
    for (int i = 1; i >= 0; i--)
        printf("%s: payload %llu, cwnd %llu, rtt %.0f us, lost %llu, send calls %llu for %llu "
               "datagrams, receive calls %llu for %llu, max RSS %ld KiB\n",
               i ? "sender" : "receiver", (unsigned long long)r->stats[i].max_udp_payload,
               (unsigned long long)r->stats[i].cwnd, (double)r->stats[i].rtt_ns / 1e3,
               (unsigned long long)r->stats[i].packets_lost,
               (unsigned long long)r->udp[i].send_calls,
               (unsigned long long)r->udp[i].datagrams_sent,
               (unsigned long long)r->udp[i].receive_calls,
               (unsigned long long)r->udp[i].datagrams_received, r->rss_kib[i]);
}

static void parse(int argc, char **argv, struct options *o)
{
    *o = (struct options){.bytes = 1024ull << 20};
    for (int i = 1; i < argc; i++) {
        o->cubic |= strcmp(argv[i], "cubic") == 0;
        o->nogso |= strcmp(argv[i], "nogso") == 0;
        o->nogro |= strcmp(argv[i], "nogro") == 0;
        o->nospin |= strcmp(argv[i], "nospin") == 0;
        if (strncmp(argv[i], "payload=", 8) == 0)
            o->payload = (size_t)strtoul(argv[i] + 8, NULL, 10);
        else if (argv[i][0] >= '0' && argv[i][0] <= '9')
            o->bytes = strtoull(argv[i], NULL, 10) << 20;
    }
}

int main(int argc, char **argv)
{
    struct options o;
    parse(argc, argv, &o);
    struct result *result =
        mmap(NULL, sizeof(*result), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (result == MAP_FAILED || px_crypto_init() < 0)
        return 1;
    int port_pipe[2];
    if (pipe(port_pipe) < 0)
        return 1;
    static struct end e;
    pid_t child = fork();
    if (child == 0) {
        end_init(&e, &o, false, result);
        struct px_addr at = *px_udp_local(e.udp);
        if (write(port_pipe[1], &at, sizeof(at)) != sizeof(at))
            _exit(1);
        end_run(&e);
        _exit(0);
    }
    struct px_path path;
    end_init(&e, &o, true, result);
    path.local = *px_udp_local(e.udp);
    if (child < 0 || read(port_pipe[0], &path.remote, sizeof(path.remote)) != sizeof(path.remote))
        return 1;
    if (px_quic_dial(e.q, &path, &conn_ops, &e, now_ns(), &e.conn) < 0)
        return 1;
    run(&e);
    end_run(&e);
    waitpid(child, NULL, 0);
    report(&o, result);
    return 0;
}

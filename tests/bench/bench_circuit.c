/* One stream over one secured link between two processes whose datagrams a relay forwards, or which
 * send them straight to each other with the same header before each and the same pacing
 * (node/circuit_queue): what the way through a relay costs.
 *
 *   bench_circuit MIB PAYLOAD RATE direct
 *   bench_circuit MIB PAYLOAD RATE IP:PORT RELAY-ID KEYFILE KEYFILE PID
 * RATE: bytes a second, 0 for no bound; through a relay it is the relay that tells it and RATE is
 * ignored. PID is the relay's. Prints "mb_s=… cpu_s_gib=…", of both ends, and "relay_s_gib=…". */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "auth/identity_io.h"
#include "node/circuit_queue.h"
#include "relay/circuits.h"
#include "tests/relay_node.h"
#include "transport/stream.h"

#define CHUNK      (64u * 1024)
#define QUEUE_MARK (4u * 1024 * 1024)
#define SEND_MAX   65000
#define TYPE       PX_STREAM_SERVICE
#define HEADER     0x01 /* first byte of what is sent straight; no QUIC packet begins so */

struct end {
    uv_loop_t loop;
    struct px_identity identity;
    struct px_peer_id peer;
    struct relay_node node; /* through a relay */
    struct px_relay_leg *leg;
    struct px_overlay_io *io;
    struct px_path straight; /* to the other end, without a relay; local family 0: not yet known */
    struct px_addr circuit;
    struct px_circuit_queue queue;
    uv_timer_t timer; /* of the queue */
    struct px_stream *stream;
    struct px_chunk *chunk;
    uint64_t total, done; /* bytes to send, 0 at the receiver; bytes sent or received */
    uint64_t rate;
    bool relayed, over;
    px_nsec began, ended;
    int tell; /* receiver: a pipe to the sender */
};

struct hello {
    struct px_addr addr;
};

struct result {
    uint64_t bytes;
    double cpu;
};

static void die(const char *what, int err)
{
    fprintf(stderr, "bench_circuit: %s: %s\n", what, px_strerror(err));
    exit(1);
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static double cpu_of(clockid_t clock)
{
    struct timespec t = {0};
    (void)clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- carrying, as node/relay_circuits does it ---- */

static int send_some(struct end *e, unsigned ecn, struct px_slice data, size_t segment)
{
    uint8_t scratch[65536], header[PX_RELAY_HEADER_LEN] = {HEADER};
    const struct px_path *path = e->relayed ? &e->node.path : &e->straight;
    size_t len = 0;
    if (e->relayed)
        px_relay_leg_header(e->leg, header);
    while (data.len > 0) {
        struct px_slice one = px_slice_take(data, segment);
        memcpy(scratch + len, header, sizeof(header));
        memcpy(scratch + len + sizeof(header), one.data, one.len);
        len += sizeof(header) + one.len;
        data = px_slice_skip(data, one.len);
    }
    return px_overlay_io_send(e->io, path, ecn, px_slice(scratch, len), segment + sizeof(header));
}

static int send_all(struct end *e, unsigned ecn, struct px_slice data, size_t segment)
{
    size_t piece = SEND_MAX / (segment + PX_RELAY_HEADER_LEN) * segment;
    for (bool first = true; data.len > 0; first = false) {
        struct px_slice some = px_slice_take(data, piece);
        int err = send_some(e, ecn, some, segment);
        if (err == PX_EAGAIN && !first)
            return 0;
        if (err != 0)
            return err;
        data = px_slice_skip(data, some.len);
    }
    if (e->relayed)
        px_relay_leg_sent(e->leg, px_now_io());
    return 0;
}

static void on_timer(uv_timer_t *t);

static void arm(struct end *e)
{
    px_nsec at = px_circuit_queue_deadline(&e->queue), now = px_now_io();
    if (at != PX_NEVER)
        uv_timer_start(&e->timer, on_timer, at <= now ? 0 : (at - now) / PX_MSEC + 1, 0);
}

static void on_timer(uv_timer_t *t)
{
    struct end *e = t->data;
    struct px_circuit_batch *b;
    if (e->over)
        return;
    while ((b = px_circuit_queue_take(&e->queue, px_now_io())) != NULL) {
        (void)send_all(e, b->ecn, px_slice(b->data, b->len), b->segment);
        free(b);
    }
    arm(e);
}

static int on_carry(void *ctx, const struct px_path *path, unsigned ecn, struct px_slice data,
                    size_t segment)
{
    struct end *e = ctx;
    (void)path;
    if (e->relayed ? e->leg == NULL : e->straight.remote.family == PX_ADDR_NONE)
        return 0;
    if (!px_circuit_queue_offer(&e->queue, data, segment, ecn, px_now_io())) {
        arm(e);
        return 0;
    }
    int err = send_all(e, ecn, data, segment);
    if (err == PX_EAGAIN)
        px_circuit_queue_refund(&e->queue, data.len);
    return err;
}

static size_t on_straight(void *ctx, const struct px_path *path, unsigned ecn, uint8_t *data,
                          size_t len, size_t segment)
{
    struct end *e = ctx;
    size_t one = PX_MIN(segment, len);
    if (len < PX_RELAY_HEADER_LEN || data[0] != HEADER)
        return 0;
    e->straight = *path;
    px_overlay_io_carried(e->io, &e->circuit, ecn,
                          px_slice(data + PX_RELAY_HEADER_LEN, one - PX_RELAY_HEADER_LEN));
    return one;
}

/* ---- the stream ---- */

static void finish(struct end *e)
{
    if (e->over)
        return;
    e->over = true;
    uv_timer_stop(&e->timer);
    if (e->leg != NULL)
        px_relay_leg_end(e->leg);
    e->leg = NULL;
}

static void on_finished(uv_timer_t *t)
{
    struct end *e = t->data;
    finish(e);
    px_circuit_queue_deinit(&e->queue);
    if (e->relayed)
        relay_node_close(&e->node);
    else
        px_overlay_io_close(e->io, NULL, NULL);
    uv_close((uv_handle_t *)t, NULL);
    uv_close((uv_handle_t *)&e->timer, NULL);
}

/* Not inside a callback of what it ends; the last acknowledgements leave meanwhile. */
static void finish_soon(struct end *e)
{
    static uv_timer_t soon;
    static bool started;
    if (started)
        return;
    started = true;
    uv_timer_init(&e->loop, &soon);
    soon.data = e;
    uv_timer_start(&soon, on_finished, 50, 0);
}

static void pump(struct end *e)
{
    while (e->done < e->total && px_stream_queued(e->stream) < QUEUE_MARK) {
        int err = px_stream_write(e->stream, px_chunk_ref(e->chunk));
        if (err != 0)
            die("write", err);
        e->done += CHUNK;
        if (e->done >= e->total)
            px_stream_end(e->stream);
    }
}

static void on_recv(void *ctx, struct px_stream *stream, struct px_slice data, bool fin)
{
    struct end *e = ctx;
    if (e->total == 0)
        e->done += data.len;
    px_stream_consume(stream, data.len);
    e->ended = px_now_io();
    if (fin && e->total == 0)
        px_stream_end(stream);
}

static void on_drained(void *ctx, struct px_stream *stream)
{
    (void)stream;
    pump(ctx);
}

static void on_stream_closed(void *ctx, struct px_stream *stream, int err, uint64_t code)
{
    (void)stream;
    (void)code;
    if (err != 0)
        die("stream", err);
    finish_soon(ctx);
}

static const struct px_stream_user_ops stream_ops = {on_recv, on_drained, on_stream_closed};

static int on_authorize(void *ctx, const struct px_peer_id *id)
{
    (void)ctx;
    (void)id;
    return 0;
}

static void on_up(void *ctx, struct px_link *link)
{
    struct end *e = ctx;
    if (e->total == 0)
        return;
    e->began = px_now_io();
    int err = px_stream_open(link, TYPE, &stream_ops, e, &e->stream);
    if (err != 0)
        die("open", err);
    pump(e);
}

static void on_down(void *ctx, struct px_link *link, int err, bool by_peer, bool was_up)
{
    const struct end *e = ctx;
    (void)link;
    (void)by_peer;
    if (!was_up || (!e->over && e->stream == NULL))
        die("link", err);
}

static void on_refused(void *ctx, const struct px_addr *remote, const struct px_peer_id *id,
                       int err, bool by_peer)
{
    (void)ctx;
    (void)remote;
    (void)id;
    (void)by_peer;
    die("refused", err);
}

static const struct px_stream_ops *on_stream(void *ctx, struct px_link *link, int64_t id,
                                             uint8_t type, void **ret_ctx)
{
    struct end *e = ctx;
    (void)type;
    int err = px_stream_adopt(link, id, &stream_ops, e, &e->stream);
    if (err != 0)
        die("adopt", err);
    *ret_ctx = e->stream;
    return &px_stream_link_ops;
}

static const struct px_overlay_ops peer_ops = {.authorize = on_authorize,
                                               .up = on_up,
                                               .down = on_down,
                                               .refused = on_refused,
                                               .stream = on_stream};

static void dial(struct end *e)
{
    struct px_link *link;
    int err = px_overlay_io_dial(e->io, &e->peer, &e->circuit, NULL, &link);
    if (err != 0)
        die("dial", err);
}

/* ---- through a relay ---- */

static void tell_ready(const struct end *e)
{
    const struct hello hello = {*px_udp_local(px_overlay_io_udp(e->io))};
    if (e->total == 0 && write(e->tell, &hello, sizeof(hello)) != sizeof(hello))
        die("pipe", PX_EIO);
}

static void on_reserved(void *ctx, enum px_relay_status status, enum px_relay_class class)
{
    struct end *e = ((struct relay_node *)ctx)->user;
    struct px_relay_leg *leg;
    (void)class;
    if (e->over)
        return;
    if (status != PX_RELAY_OK)
        die(px_relay_status_name(status), PX_EIO);
    e->io = e->node.io;
    px_overlay_io_set_carrier(e->io, on_carry, e);
    tell_ready(e);
    if (e->total > 0 && px_relay_client_call(e->node.client, &e->peer, NULL, px_now_io(), &leg))
        die("call", PX_EIO);
}

static void on_open(void *ctx, struct px_relay_leg *leg)
{
    struct end *e = ((struct relay_node *)ctx)->user;
    uint64_t burst, rate = px_relay_leg_rate(leg, &burst);
    e->leg = leg;
    px_circuit_queue_init(&e->queue, rate, burst, px_now_io());
    if (e->total > 0)
        dial(e);
}

static void on_data(void *ctx, struct px_relay_leg *leg, struct px_slice payload)
{
    struct end *e = ((struct relay_node *)ctx)->user;
    (void)leg;
    if (!e->over)
        px_overlay_io_carried(e->io, &e->circuit, 0, payload);
}

static void on_leg_ended(void *ctx, struct px_relay_leg *leg, enum px_relay_status why)
{
    struct end *e = ((struct relay_node *)ctx)->user;
    (void)leg;
    e->leg = NULL;
    if (!e->over && why != PX_RELAY_PEER_ENDED)
        die(px_relay_status_name(why), PX_EIO);
}

static const struct px_relay_client_ops client_ops = {
    .reserved = on_reserved, .open = on_open, .data = on_data, .ended = on_leg_ended};

/* ---- start ---- */

static void start_relayed(struct end *e, const char *const *argv, size_t payload)
{
    struct px_peer_id relay;
    struct px_addr addr;
    if (px_addr_parse(px_slice_cstr(argv[4]), &addr) != 0 ||
        px_peer_id_parse(px_slice_cstr(argv[5]), &relay) != 0)
        die("relay", PX_EINVAL);
    e->node.identity = e->identity;
    e->node.user = e;
    e->node.others = &peer_ops;
    e->node.others_ctx = e;
    e->node.payload = payload;
    int err = relay_node_start(&e->node, &e->loop, &relay, &addr, "default", &client_ops, true);
    if (err != 0)
        die("start", err);
}

static void start_straight(struct end *e, size_t payload)
{
    struct px_addr bind;
    int err = px_addr_parse(PX_SLICE_LIT("127.0.0.1:0"), &bind);
    const struct px_overlay_config config = {
        .identity = &e->identity,
        .network = PX_SLICE_LIT("bench"),
        .agent = PX_SLICE_LIT("bench"),
        .ops = &peer_ops,
        .ops_ctx = e,
        .listen = true,
        .quic = {.max_udp_payload = payload},
    };
    if (err == 0)
        err = px_overlay_io_new(&e->loop, &bind, &config, &e->io);
    if (err != 0)
        die("start", err);
    px_overlay_io_set_batch(e->io, on_straight, e);
    px_overlay_io_set_carrier(e->io, on_carry, e);
    px_circuit_queue_init(&e->queue, e->rate, px_circuit_burst(e->rate), px_now_io());
    tell_ready(e);
}

static void init(struct end *e)
{
    uv_loop_init(&e->loop);
    uv_timer_init(&e->loop, &e->timer);
    e->timer.data = e;
    px_addr_circuit(1, &e->circuit);
}

static void receive(struct end *e, const char *const *argv, size_t payload)
{
    init(e);
    if (e->relayed)
        start_relayed(e, argv, payload);
    else
        start_straight(e, payload);
    uv_run(&e->loop, UV_RUN_DEFAULT);
    const struct result r = {e->done, cpu_seconds()};
    if (write(e->tell, &r, sizeof(r)) != sizeof(r))
        die("pipe", PX_EIO);
}

static void send_stream(struct end *e, const char *const *argv, size_t payload,
                        const struct hello *to)
{
    e->chunk = px_chunk_new(CHUNK);
    if (e->chunk == NULL)
        die("chunk", PX_ENOMEM);
    memset(e->chunk->data, 0x5a, CHUNK);
    init(e);
    if (e->relayed) {
        start_relayed(e, argv, payload);
    } else {
        start_straight(e, payload);
        e->straight =
            (struct px_path){.local = *px_udp_local(px_overlay_io_udp(e->io)), .remote = to->addr};
        dial(e);
    }
    uv_run(&e->loop, UV_RUN_DEFAULT);
}

static void identities(struct end *a, struct end *b, const char *const *argv)
{
    char hint[256];
    if (!a->relayed) {
        px_identity_generate(&px_system_rng, &a->identity);
        px_identity_generate(&px_system_rng, &b->identity);
    } else if (px_identity_load(argv[6], &a->identity, hint, sizeof(hint)) != 0 ||
               px_identity_load(argv[7], &b->identity, hint, sizeof(hint)) != 0) {
        die("keys", PX_EIO);
    }
    a->peer = b->identity.id;
    b->peer = a->identity.id;
}

int main(int argc, const char **argv)
{
    static struct end a, b;
    uint64_t mib, payload, rate, pid = 0;
    int pipe_fds[2];
    struct hello to;
    struct result r;
    clockid_t relay = CLOCK_MONOTONIC;
    bool relayed = argc == 9;
    if ((argc != 5 && argc != 9) || px_slice_parse_u64(px_slice_cstr(argv[1]), &mib) != 0 ||
        mib == 0 || px_slice_parse_u64(px_slice_cstr(argv[2]), &payload) != 0 ||
        px_slice_parse_u64(px_slice_cstr(argv[3]), &rate) != 0 ||
        (relayed && (px_slice_parse_u64(px_slice_cstr(argv[8]), &pid) != 0 ||
                     clock_getcpuclockid((pid_t)pid, &relay) != 0))) {
        fprintf(stderr, "usage: see the head of tests/bench/bench_circuit.c\n");
        return 2;
    }
    if (px_crypto_init() != 0 || pipe(pipe_fds) != 0)
        die("start", PX_EIO);
    a.relayed = b.relayed = relayed;
    a.rate = b.rate = rate;
    identities(&a, &b, argv);
    double relay_before = cpu_of(relay);
    pid_t child = fork();
    if (child < 0)
        die("fork", PX_EIO);
    if (child == 0) {
        b.tell = pipe_fds[1];
        receive(&b, argv, (size_t)payload);
        return 0;
    }
    close(pipe_fds[1]);
    if (read(pipe_fds[0], &to, sizeof(to)) != sizeof(to))
        die("receiver", PX_EIO);
    a.total = mib << 20;
    send_stream(&a, argv, (size_t)payload, &to);
    if (read(pipe_fds[0], &r, sizeof(r)) != sizeof(r) || r.bytes != a.total)
        die("receiver got too little", PX_EIO);
    waitpid(child, NULL, 0);
    double gib = (double)mib / 1024, seconds = (double)(a.ended - a.began) / 1e9;
    printf("mb_s=%.1f cpu_s_gib=%.3f", (double)a.total / 1e6 / seconds,
           (cpu_seconds() + r.cpu) / gib);
    if (relayed)
        printf(" relay_s_gib=%.3f", (cpu_of(relay) - relay_before) / gib);
    printf("\n");
    return 0;
}

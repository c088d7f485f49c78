/* One stream over one secured link between two processes on loopback: MB/s and CPU seconds per GiB
 * at both ends. `bench_link [MiB]`; a release build, or the figures mean nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "transport/overlay_io.h"
#include "transport/stream.h"

#define CHUNK      (64u * 1024)
#define QUEUE_MARK (4u * 1024 * 1024)
#define TYPE       PX_STREAM_SERVICE

struct side {
    uv_loop_t loop;
    struct px_identity identity;
    struct px_overlay_io *io;
    struct px_stream *stream;
    struct px_chunk *chunk;
    uint64_t total, done; /* bytes to send, bytes sent or received */
    size_t payload;       /* largest UDP payload; 0: the default */
    px_nsec first, last;
    bool over;
};

/* What the receiver tells the sender through a pipe. */
struct result {
    uint64_t bytes;
    double cpu;
};

static void die(const char *what, int err)
{
    fprintf(stderr, "bench_link: %s: %s\n", what, px_strerror(err));
    exit(1);
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void finish(struct side *s)
{
    s->over = true;
    px_overlay_io_close(s->io, NULL, NULL);
    s->io = NULL;
}

static void on_over(uv_timer_t *t)
{
    uv_close((uv_handle_t *)t, NULL);
    finish(t->data);
}

static void finish_soon(struct side *s)
{
    static uv_timer_t timer;
    uv_timer_init(&s->loop, &timer);
    timer.data = s;
    uv_timer_start(&timer, on_over, 0, 0);
}

static void pump(struct side *s)
{
    while (s->done < s->total && px_stream_queued(s->stream) < QUEUE_MARK) {
        int err = px_stream_write(s->stream, px_chunk_ref(s->chunk));
        if (err != 0)
            die("write", err);
        s->done += CHUNK;
        if (s->done >= s->total)
            px_stream_end(s->stream);
    }
}

static void on_recv(void *ctx, struct px_stream *stream, struct px_slice data, bool fin)
{
    struct side *s = ctx;
    if (s->total == 0)
        s->done += data.len;
    px_stream_consume(stream, data.len);
    s->last = px_now_io();
    if (fin && s->total == 0) {
        px_stream_end(stream);
    }
}

static void on_drained(void *ctx, struct px_stream *stream)
{
    (void)stream;
    pump(ctx);
}

static void on_closed(void *ctx, struct px_stream *stream, int err, uint64_t code)
{
    struct side *s = ctx;
    (void)stream, (void)code;
    if (err != 0)
        die("stream", err);
    if (s->total > 0)
        finish_soon(s);
}

static const struct px_stream_user_ops stream_ops = {on_recv, on_drained, on_closed};

static int on_authorize(void *ctx, const struct px_peer_id *id)
{
    (void)ctx, (void)id;
    return 0;
}

static void on_up(void *ctx, struct px_link *link)
{
    struct side *s = ctx;
    if (s->total == 0)
        return;
    s->first = px_now_io();
    int err = px_stream_open(link, TYPE, &stream_ops, s, &s->stream);
    if (err != 0)
        die("open", err);
    pump(s);
}

static void on_down(void *ctx, struct px_link *link, int err, bool by_peer, bool was_up)
{
    struct side *s = ctx;
    (void)link, (void)by_peer;
    if (!was_up || err != PX_ECLOSED)
        die("link", err);
    if (!s->over)
        finish_soon(s);
}

static void on_refused(void *ctx, const struct px_addr *remote, const struct px_peer_id *id,
                       int err, bool by_peer)
{
    (void)ctx, (void)remote, (void)id, (void)by_peer;
    die("refused", err);
}

static const struct px_stream_ops *on_stream(void *ctx, struct px_link *link, int64_t id,
                                             uint8_t type, void **ret_ctx)
{
    struct side *s = ctx;
    (void)type;
    int err = px_stream_adopt(link, id, &stream_ops, s, &s->stream);
    if (err != 0)
        die("adopt", err);
    *ret_ctx = s->stream;
    return &px_stream_link_ops;
}

static const struct px_overlay_ops overlay_ops = {
    .authorize = on_authorize,
    .up = on_up,
    .down = on_down,
    .refused = on_refused,
    .stream = on_stream,
};

static void start(struct side *s, bool listen)
{
    struct px_addr bind;
    int err = px_addr_parse(PX_SLICE_LIT("127.0.0.1:0"), &bind);
    const struct px_overlay_config config = {
        .identity = &s->identity,
        .network = PX_SLICE_LIT("bench"),
        .agent = PX_SLICE_LIT("bench"),
        .ops = &overlay_ops,
        .ops_ctx = s,
        .listen = listen,
        .quic = {.max_udp_payload = s->payload},
    };
    uv_loop_init(&s->loop);
    if (err == 0)
        err = px_overlay_io_new(&s->loop, &bind, &config, &s->io);
    if (err != 0)
        die("start", err);
}

static void receive(struct side *s, int to_parent)
{
    start(s, true);
    struct px_addr local = *px_udp_local(px_overlay_io_udp(s->io));
    if (write(to_parent, &local, sizeof(local)) != sizeof(local))
        die("pipe", PX_EIO);
    double before = cpu_seconds();
    uv_run(&s->loop, UV_RUN_DEFAULT);
    struct result r = {s->done, cpu_seconds() - before};
    if (write(to_parent, &r, sizeof(r)) != sizeof(r))
        die("pipe", PX_EIO);
}

static double send_all(struct side *s, const struct px_peer_id *peer, const struct px_addr *to)
{
    struct px_link *link;
    s->chunk = px_chunk_new(CHUNK);
    if (s->chunk == NULL)
        die("chunk", PX_ENOMEM);
    memset(s->chunk->data, 0x5a, CHUNK);
    start(s, false);
    double before = cpu_seconds();
    int err = px_overlay_io_dial(s->io, peer, to, NULL, &link);
    if (err != 0)
        die("dial", err);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    return cpu_seconds() - before;
}

int main(int argc, char **argv)
{
    static struct side sender, receiver;
    uint64_t mib = 1024;
    int pipe_fds[2];
    struct px_addr to;
    struct result r;
    uint64_t payload = 0;
    if ((argc > 1 && (px_slice_parse_u64(px_slice_cstr(argv[1]), &mib) != 0 || mib == 0)) ||
        (argc > 2 && px_slice_parse_u64(px_slice_cstr(argv[2]), &payload) != 0))
        die("usage: bench_link [MiB [UDP-PAYLOAD]]", PX_EINVAL);
    sender.payload = receiver.payload = (size_t)payload;
    if (px_crypto_init() != 0 || pipe(pipe_fds) != 0)
        die("start", PX_EIO);
    px_identity_generate(&px_system_rng, &sender.identity);
    px_identity_generate(&px_system_rng, &receiver.identity);
    pid_t child = fork();
    if (child < 0)
        die("fork", PX_EIO);
    if (child == 0) {
        receive(&receiver, pipe_fds[1]);
        return 0;
    }
    close(pipe_fds[1]);
    if (read(pipe_fds[0], &to, sizeof(to)) != sizeof(to))
        die("receiver", PX_EIO);
    sender.total = mib << 20;
    double cpu = send_all(&sender, &receiver.identity.id, &to);
    if (read(pipe_fds[0], &r, sizeof(r)) != sizeof(r) || r.bytes != sender.total)
        die("receiver got too little", PX_EIO);
    waitpid(child, NULL, 0);
    double seconds = (double)(sender.last - sender.first) / 1e9, gib = (double)mib / 1024;
    printf("link: %.0f MB/s, %.2f CPU s/GiB (sender %.2f, receiver %.2f)\n",
           (double)sender.total / 1e6 / seconds, (cpu + r.cpu) / gib, cpu / gib, r.cpu / gib);
    return 0;
}

/* How long a dial takes, in round trips: until the link is secured, and until the first response.
 *
 *   bench_connect listen                     one side: prints `ID ADDR`, answers until stdin ends
 *   bench_connect dial ID ADDR [COUNT]       the other: dials COUNT times, prints one line each:
 *       secured_ms first_response_ms ping_ms
 * Put a tests/tools/link_emulator between the two; the ping is the link's round trip as it is. */
#include <stdio.h>
#include <stdlib.h>

#include "transport/overlay_io.h"
#include "transport/stream.h"

#define TYPE PX_STREAM_SERVICE

struct side {
    uv_loop_t loop;
    struct px_identity identity;
    struct px_overlay_io *io;
    uv_timer_t later; /* ends the side outside the network's callbacks */
    uv_pipe_t input;
    px_nsec dialled, up, answered, ping;
    bool dialler;
};

static _Noreturn void die(const char *what, int err)
{
    fprintf(stderr, "bench_connect: %s: %s\n", what, px_strerror(err));
    exit(1);
}

static void on_over(uv_timer_t *t)
{
    struct side *s = t->data;
    uv_close((uv_handle_t *)t, NULL);
    px_overlay_io_close(s->io, NULL, NULL);
}

static void end_soon(struct side *s)
{
    uv_timer_start(&s->later, on_over, 0, 0);
}

/* Once the response is there and the link is up, whichever comes last. */
static void ping_when_done(struct side *s, struct px_link *link)
{
    uint64_t nonce;
    if (s->answered == 0 || !px_link_is_up(link))
        return;
    int err = px_link_ping(link, &nonce);
    if (err != 0)
        die("ping", err);
}

static void on_recv(void *ctx, struct px_stream *stream, struct px_slice data, bool fin)
{
    struct side *s = ctx;
    px_stream_consume(stream, data.len);
    if (s->dialler && s->answered == 0 && data.len > 0) {
        s->answered = px_now_io();
        ping_when_done(s, px_stream_link(stream));
    } else if (!s->dialler && data.len > 0) {
        struct px_chunk *chunk = px_chunk_copy(data);
        int err = chunk == NULL ? PX_ENOMEM : px_stream_write(stream, chunk);
        if (err != 0)
            die("answer", err);
    }
    if (fin && !s->dialler)
        px_stream_end(stream);
}

static void on_drained(void *ctx, struct px_stream *stream)
{
    (void)ctx, (void)stream;
}

static void on_closed(void *ctx, struct px_stream *stream, int err, uint64_t code)
{
    (void)ctx, (void)stream, (void)err, (void)code;
}

static const struct px_stream_user_ops stream_ops = {on_recv, on_drained, on_closed};

static int on_authorize(void *ctx, const struct px_peer_id *id)
{
    (void)ctx, (void)id;
    return 0;
}

/* The peer is proved and message 3 has left: the request follows it at once. */
static void on_early(void *ctx, struct px_link *link)
{
    struct side *s = ctx;
    struct px_stream *stream = NULL;
    s->up = px_now_io();
    struct px_chunk *chunk = px_chunk_copy(PX_SLICE_LIT("request"));
    int err = chunk == NULL ? PX_ENOMEM : px_stream_open(link, TYPE, &stream_ops, s, &stream);
    if (err != 0)
        die("open", err);
    err = px_stream_write(stream, chunk);
    if (err != 0)
        die("request", err);
    px_stream_end(stream);
}

static void on_up(void *ctx, struct px_link *link)
{
    struct side *s = ctx;
    if (s->dialler)
        ping_when_done(s, link);
}

static void on_pong(void *ctx, struct px_link *link, uint64_t nonce, px_nsec rtt)
{
    struct side *s = ctx;
    (void)link, (void)nonce;
    s->ping = rtt;
    end_soon(s);
}

static void on_down(void *ctx, struct px_link *link, int err, bool by_peer, bool was_up)
{
    struct side *s = ctx;
    (void)link, (void)by_peer;
    if (s->dialler && s->ping == 0)
        die(was_up ? "link" : "dial", err);
}

static void on_refused(void *ctx, const struct px_addr *remote, const struct px_peer_id *id,
                       int err, bool by_peer)
{
    (void)ctx, (void)remote, (void)id, (void)by_peer;
    fprintf(stderr, "bench_connect: refused: %s\n", px_strerror(err));
}

static const struct px_stream_ops *on_stream(void *ctx, struct px_link *link, int64_t id,
                                             uint8_t type, void **ret_ctx)
{
    struct px_stream *stream;
    (void)type;
    if (px_stream_adopt(link, id, &stream_ops, ctx, &stream) != 0)
        return NULL;
    *ret_ctx = stream;
    return &px_stream_link_ops;
}

static const struct px_overlay_ops overlay_ops = {.authorize = on_authorize,
                                                  .early = on_early,
                                                  .up = on_up,
                                                  .down = on_down,
                                                  .refused = on_refused,
                                                  .stream = on_stream,
                                                  .pong = on_pong};

static void start(struct side *s)
{
    struct px_addr bind;
    struct px_overlay_config config = {.identity = &s->identity,
                                       .network = PX_SLICE_LIT("bench"),
                                       .agent = PX_SLICE_LIT("bench"),
                                       .ops = &overlay_ops,
                                       .ops_ctx = s,
                                       .listen = !s->dialler};
    int err = px_addr_parse(PX_SLICE_LIT("127.0.0.1:0"), &bind);
    px_identity_generate(&px_system_rng, &s->identity);
    if (uv_loop_init(&s->loop) != 0 || uv_timer_init(&s->loop, &s->later) != 0)
        die("loop", PX_EIO);
    s->later.data = s;
    if (err == 0)
        err = px_overlay_io_new(&s->loop, &bind, &config, &s->io);
    if (err != 0)
        die("start", err);
}

static void finish(struct side *s)
{
    (void)uv_run(&s->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&s->loop) != 0)
        die("loop", PX_EBUSY);
    px_identity_wipe(&s->identity);
}

static void dial_once(const struct px_peer_id *id, const struct px_addr *addr)
{
    static struct side s;
    struct px_link *link;
    memset(&s, 0, sizeof(s));
    s.dialler = true;
    start(&s);
    s.dialled = px_now_io();
    int err = px_overlay_io_dial(s.io, id, addr, &s, &link);
    if (err != 0)
        die("dial", err);
    finish(&s);
    printf("secured_ms=%.2f first_response_ms=%.2f ping_ms=%.2f\n",
           (double)(s.up - s.dialled) / 1e6, (double)(s.answered - s.dialled) / 1e6,
           (double)s.ping / 1e6);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
    static char buf[64];
    (void)h, (void)suggested;
    *ret = uv_buf_init(buf, sizeof(buf));
}

static void on_input(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    (void)buf;
    if (n >= 0)
        return;
    end_soon(stream->data);
    uv_close((uv_handle_t *)stream, NULL);
}

static void serve(void)
{
    static struct side s;
    char id[PX_PEER_ID_TEXT_MAX], addr[PX_ADDR_TEXT_MAX];
    start(&s);
    s.input.data = &s;
    if (uv_pipe_init(&s.loop, &s.input, 0) != 0 || uv_pipe_open(&s.input, 0) != 0 ||
        uv_read_start((uv_stream_t *)&s.input, on_alloc, on_input) != 0)
        die("stdin", PX_EIO);
    printf("%s %s\n", px_peer_id_format(&s.identity.id, id),
           px_addr_format(px_udp_local(px_overlay_io_udp(s.io)), addr));
    fflush(stdout);
    finish(&s);
}

int main(int argc, char **argv)
{
    struct px_peer_id id;
    struct px_addr addr;
    uint64_t count = 1;
    if (px_crypto_init() != 0)
        die("libsodium", PX_ECRYPTO);
    if (argc == 2 && strcmp(argv[1], "listen") == 0) {
        serve();
        return 0;
    }
    if (argc < 4 || strcmp(argv[1], "dial") != 0 ||
        px_peer_id_parse(px_slice_cstr(argv[2]), &id) != 0 ||
        px_addr_parse(px_slice_cstr(argv[3]), &addr) != 0 ||
        (argc > 4 && px_slice_parse_u64(px_slice_cstr(argv[4]), &count) != 0)) {
        fprintf(stderr, "usage: bench_connect listen | dial ID ADDR [COUNT]\n");
        return 2;
    }
    for (uint64_t i = 0; i < count; i++)
        dial_once(&id, &addr);
    return 0;
}

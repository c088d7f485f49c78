/* Two overlays on one libuv loop and real sockets: they connect, carry a stream, and leave the loop
 * with nothing to do. */
#include <stdlib.h>

#include "tests/test.h"
#include "transport/overlay_io.h"
#include "transport/stream.h"

struct node {
    struct px_identity identity;
    uv_loop_t *loop;
    struct px_overlay_io *io;
    bool closing;
    uv_timer_t later;
    struct px_link *link;
    struct px_stream *stream;
    size_t received;
    bool ended;
    int down_err;
    unsigned closed;
    struct node *other;
};

static void close_io(struct node *n);

static void on_recv(void *ctx, struct px_stream *s, struct px_slice data, bool fin)
{
    struct node *n = ctx;
    n->received += data.len;
    px_stream_consume(s, data.len);
    if (fin)
        px_stream_end(s);
}

static void on_drained(void *ctx, struct px_stream *s)
{
    (void)ctx, (void)s;
}

static void on_stream_closed(void *ctx, struct px_stream *s, int err, uint64_t code)
{
    struct node *n = ctx;
    (void)s, (void)code;
    n->ended = err == 0;
    n->stream = NULL;
    if (n->ended && n->other->ended)
        close_io(n);
}

static const struct px_stream_user_ops stream_ops = {on_recv, on_drained, on_stream_closed};

static int on_authorize(void *ctx, const struct px_peer_id *id)
{
    const struct node *n = ctx;
    return px_peer_id_eq(id, &n->other->identity.id) ? 0 : PX_EUNLISTED;
}

/* When everything is quiet: nothing but the write itself can make the loop send it. */
static void on_later(uv_timer_t *timer)
{
    struct node *n = timer->data;
    CHECK_OK(px_stream_write(n->stream, px_chunk_copy(PX_SLICE_LIT("hello"))));
    px_stream_end(n->stream);
    uv_close((uv_handle_t *)timer, NULL);
}

static void on_up(void *ctx, struct px_link *link)
{
    struct node *n = ctx;
    n->link = link;
    if (!px_link_is_quic_client(link))
        return;
    CHECK_OK(px_stream_open(link, PX_STREAM_SERVICE, &stream_ops, n, &n->stream));
    uv_timer_init(n->loop, &n->later);
    n->later.data = n;
    uv_timer_start(&n->later, on_later, 100, 0);
}

static void on_down(void *ctx, struct px_link *link, int err, bool by_peer, bool was_up)
{
    struct node *n = ctx;
    (void)by_peer;
    CHECK(link == n->link && was_up);
    n->link = NULL;
    n->down_err = err;
    close_io(n);
}

static void on_refused(void *ctx, const struct px_addr *remote, const struct px_peer_id *id,
                       int err, bool by_peer)
{
    (void)ctx, (void)remote, (void)id, (void)by_peer;
    px_test_fail(__FILE__, __LINE__, "refused: %s", px_errname(err));
}

static const struct px_stream_ops *on_stream(void *ctx, struct px_link *link, int64_t id,
                                             uint8_t type, void **ret_ctx)
{
    struct node *n = ctx;
    CHECK_INT(type, PX_STREAM_SERVICE);
    CHECK_OK(px_stream_adopt(link, id, &stream_ops, n, &n->stream));
    *ret_ctx = n->stream;
    return &px_stream_link_ops;
}

static const struct px_overlay_ops overlay_ops = {
    .authorize = on_authorize,
    .up = on_up,
    .down = on_down,
    .refused = on_refused,
    .stream = on_stream,
};

static void on_closed(void *ctx)
{
    struct node *n = ctx;
    n->closed++;
}

static void on_close_turn(uv_handle_t *handle)
{
    struct node *n = handle->data;
    free(handle);
    px_overlay_io_close(n->io, on_closed, n);
    n->io = NULL;
}

/* Not from inside the overlay's own callbacks: at the end of this turn. */
static void close_io(struct node *n)
{
    if (n->closing)
        return;
    n->closing = true;
    uv_idle_t *later = malloc(sizeof(*later));
    CHECK(later != NULL);
    uv_idle_init(n->loop, later);
    later->data = n;
    uv_close((uv_handle_t *)later, on_close_turn);
}

static void start(struct node *n, uv_loop_t *loop, struct node *other, const char *bind_text)
{
    struct px_addr bind;
    *n = (struct node){.other = other, .loop = loop};
    px_identity_generate(&px_system_rng, &n->identity);
    const struct px_overlay_config config = {
        .identity = &n->identity,
        .network = PX_SLICE_LIT("default"),
        .ops = &overlay_ops,
        .ops_ctx = n,
        .listen = true,
    };
    CHECK_OK(px_addr_parse(px_slice_cstr(bind_text), &bind));
    CHECK_OK(px_overlay_io_new(loop, &bind, &config, &n->io));
}

TEST(two_overlays_talk_over_real_sockets_and_end_cleanly)
{
    static const char *const binds[] = {"127.0.0.1:0", "0.0.0.0:0", "[::]:0"};
    CHECK_OK(px_crypto_init());
    for (size_t i = 0; i < PX_ARRAY_LEN(binds); i++) {
        uv_loop_t loop;
        struct node a, b;
        struct px_link *link;
        struct px_addr to;
        uv_loop_init(&loop);
        start(&a, &loop, &b, binds[i]);
        start(&b, &loop, &a, binds[i]);
        CHECK_OK(px_addr_parse(PX_SLICE_LIT("127.0.0.1:1"), &to));
        to.port = px_udp_local(px_overlay_io_udp(b.io))->port;
        CHECK_OK(px_overlay_io_dial(a.io, &b.identity.id, &to, NULL, &link));
        px_nsec began = px_now_io();
        CHECK_INT(uv_run(&loop, UV_RUN_DEFAULT), 0);
        CHECK(px_now_io() - began < 3 * PX_SEC); /* no timeout had to help */
        CHECK(a.ended && b.ended);
        CHECK_INT(b.received, 5);
        CHECK_INT(a.closed, 1);
        CHECK_INT(b.closed, 1);
        CHECK_ERR(a.down_err, PX_ECLOSED);
        CHECK_ERR(b.down_err, PX_ECLOSED);
        CHECK_INT(uv_loop_close(&loop), 0);
    }
}

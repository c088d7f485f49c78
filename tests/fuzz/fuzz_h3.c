/* HTTP/3 from a hostile peer: bytes on streams of its own and on ours, resets and stops, towards
 * both ends of a link and so both sessions in both roles. Checks that what begins ends once and
 * that no credit is lost.
 *
 * Input: records `op ‖ stream ‖ length ‖ bytes`; op's low bits say what happens, see act(). */
#include <stdlib.h>

#include "node/h3.h"

#define FAKE_IDS_MAX 64
#include "tests/unit/node/fake_link.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct {
    size_t began, ended;
} bodies, asks;

static uint8_t body_bytes[3000];

static int body_next(void *ctx, struct px_slice *ret, bool *ret_fin)
{
    (void)ctx;
    *ret = px_slice(body_bytes, sizeof(body_bytes));
    *ret_fin = true;
    return 0;
}

static void body_acked(void *ctx, uint64_t n)
{
    (void)ctx, (void)n;
}

static void body_closed(void *ctx)
{
    (void)ctx;
    bodies.ended++;
}

static const struct px_h3_body_ops body_ops = {body_next, body_acked, body_closed};

static void on_request(void *ctx, struct px_h3_exchange *x, const struct px_h3_request *req)
{
    (void)ctx;
    struct px_h3_answer a = {.status = 200, .content_length = sizeof(body_bytes)};
    px_assert(req->path.len >= 1 && req->path.len <= PX_H3_PATH_MAX && req->path.data[0] == '/');
    if (!req->head)
        a.body = &body_ops;
    if (px_h3_respond(x, &a) == 0 && a.body != NULL)
        bodies.began++;
}

static const struct px_h3_server_ops server_ops = {on_request};

struct asker {
    struct px_h3_exchange *x;
    bool ended;
};

static void on_response(void *ctx, const struct px_h3_response *res)
{
    (void)ctx;
    px_assert(res->status >= 200 && res->status <= 999);
}

static void on_data(void *ctx, struct px_slice in)
{
    struct asker *a = ctx;
    px_assert(!a->ended && in.len > 0);
    px_h3_consume(a->x, in.len / 2);
}

static void on_end(void *ctx, int err)
{
    struct asker *a = ctx;
    (void)err;
    px_assert(!a->ended);
    a->ended = true;
    asks.ended++;
}

static const struct px_h3_client_ops client_ops = {on_response, on_data, on_end};

static const struct px_stream_ops *route(void *ctx, int64_t id, uint8_t type, void **ret_ctx)
{
    return px_h3_stream(ctx, id, type, ret_ctx);
}

/* The peer of l does something on stream `id`. */
static void act(struct px_link *l, uint8_t op, int64_t id, struct px_slice bytes)
{
    struct fake_stream *s = find(l, id);
    bool fin = (op & 4) != 0;
    switch (op & 3) {
    case 0:
    case 1:
        if (s == NULL && ours(l, id))
            return; /* not opened by us: QUIC refuses it */
        if (bytes.len > 0 || fin)
            fake_inject(l, id, bytes, fin);
        break;
    case 2:
        if (s != NULL && s->ops != NULL && !s->recv_done) {
            s->recv_done = true;
            s->ops->reset(s->ctx, l, id, 0x100u + bytes.len);
        }
        break;
    default:
        if (s != NULL && s->ops != NULL && !s->send_done && !s->reset_wanted) {
            s->ops->stop(s->ctx, l, id, 0x100u + bytes.len);
            px_link_stream_reset(l, id, 0x100);
        }
        break;
    }
}

/* A link whose other end is nobody: what it sends is acked and lost. */
static void run_end(bool quic_client, const uint8_t *data, size_t len)
{
    struct fake_net n;
    struct px_h3 *h;
    struct asker askers[2] = {{0}};
    fake_net_init(&n);
    struct px_link *l = quic_client ? &n.a : &n.b;
    if (px_h3_new(l, &server_ops, NULL, &h) != 0)
        abort();
    l->route = route;
    l->route_ctx = h;
    l->peer->route = NULL;
    for (size_t i = 0; i < 2; i++) {
        if (px_h3_get(h, i == 1, PX_SLICE_LIT("/x"), i * 5, &client_ops, &askers[i],
                      &askers[i].x) != 0)
            abort();
        asks.began++;
    }
    while (len >= 3) {
        size_t take = PX_MIN((size_t)data[2], len - 3);
        act(l, data[0], data[1] % 48, px_slice(data + 3, take));
        if (data[0] & 8)
            for (int i = 0; i < 4 && l->producer != NULL && l->producer->ready; i++)
                (void)pump_one(l);
        if (data[0] & 16)
            (void)move_all(l);
        data += 3 + take;
        len -= 3 + take;
    }
    px_assert(l->stray_consumes == 0 && l->leaked == 0);
    fake_net_cut(&n);
    px_h3_free(h);
    fake_net_deinit(&n);
    px_assert(bodies.began == bodies.ended && asks.began == asks.ended);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    run_end(true, data, len);
    run_end(false, data, len);
    return 0;
}

/* See sim_host.h. */
#include "tests/sim/sim_host.h"

#include <stdlib.h>

#include "proto/base/reader.h"

#define BULK_TYPE   0x01
#define QUEUE_MARK  (512u * 1024)
#define PIECE_MAX   9000
#define CONSUME_MIN 5000

static uint8_t pattern(uint64_t seed, uint64_t at)
{
    return (uint8_t)(seed >> (at % 7 * 8)) ^ (uint8_t)(at * 131) ^ (uint8_t)(at >> 11);
}

/* ---- bulk streams ---- */

static void bulk_write_head(struct bulk *b)
{
    struct px_buf head;
    px_buf_init(&head, sizeof(b->head));
    px_buf_put_be64(&head, b->out_seed);
    px_buf_put_be64(&head, b->out_size);
    CHECK_OK(px_stream_write(b->stream, px_chunk_copy(px_buf_slice(&head))));
    px_buf_deinit(&head);
}

static void bulk_pump(struct bulk *b)
{
    while (b->out_pos < b->out_size && px_stream_queued(b->stream) < QUEUE_MARK) {
        uint64_t n = 1 + px_test_rng_next(&b->host->rng) % PIECE_MAX;
        n = PX_MIN(n, b->out_size - b->out_pos);
        struct px_chunk *c = px_chunk_new((size_t)n);
        for (uint64_t i = 0; i < n; i++)
            c->data[i] = pattern(b->out_seed, b->out_pos + i);
        CHECK_OK(px_stream_write(b->stream, c));
        b->out_pos += n;
        if (b->out_pos == b->out_size)
            px_stream_end(b->stream);
    }
}

static void bulk_start(struct bulk *b, uint64_t size)
{
    b->out_seed = px_test_rng_next(&b->host->rng);
    b->out_size = size;
    bulk_write_head(b);
    if (size == 0)
        px_stream_end(b->stream);
    bulk_pump(b);
}

static void bulk_read_head(struct bulk *b, struct px_slice *io_data)
{
    struct px_slice piece = px_slice_take(*io_data, sizeof(b->head) - b->head_len);
    if (piece.len == 0)
        return;
    memcpy(b->head + b->head_len, piece.data, piece.len);
    b->head_len += piece.len;
    *io_data = px_slice_skip(*io_data, piece.len);
    if (b->head_len < sizeof(b->head))
        return;
    struct px_reader r = px_reader(px_slice(b->head, sizeof(b->head)));
    CHECK_OK(px_reader_be64(&r, &b->in_seed));
    CHECK_OK(px_reader_be64(&r, &b->in_size));
}

static void bulk_recv(void *ctx, struct px_stream *s, struct px_slice data, bool fin)
{
    struct bulk *b = ctx;
    CHECK(!b->in_end && !b->closed);
    b->unconsumed += data.len;
    bulk_read_head(b, &data);
    for (size_t i = 0; i < data.len; i++)
        b->wrong = b->wrong || data.data[i] != pattern(b->in_seed, b->in_pos + i);
    b->in_pos += data.len;
    if (b->began_at == 0)
        b->began_at = sim_net_now(b->host->net);
    b->in_end = fin;
    b->ended_at = sim_net_now(b->host->net);
    if (b->host->lazy)
        return;
    if (b->unconsumed >= CONSUME_MIN || fin) {
        px_stream_consume(s, b->unconsumed);
        b->unconsumed = 0;
    }
}

static void bulk_drained(void *ctx, struct px_stream *s)
{
    (void)s;
    bulk_pump(ctx);
}

static void bulk_closed(void *ctx, struct px_stream *s, int err, uint64_t code)
{
    struct bulk *b = ctx;
    (void)s;
    CHECK(!b->closed);
    b->closed = true;
    b->code = code;
    b->err = err;
    b->stream = NULL;
}

static const struct px_stream_user_ops bulk_ops = {bulk_recv, bulk_drained, bulk_closed};

static struct bulk *bulk_new(struct host *h)
{
    CHECK(h->bulk_count < HOST_BULKS_MAX);
    struct bulk *b = &h->bulks[h->bulk_count];
    *b = (struct bulk){.host = h};
    return b;
}

bool host_send(struct host *h, struct px_link *l, uint64_t size)
{
    struct bulk *b = bulk_new(h);
    int err = px_stream_open(l, BULK_TYPE, &bulk_ops, b, &b->stream);
    if (err == PX_EAGAIN)
        return false;
    CHECK_OK(err);
    h->bulk_count++;
    bulk_start(b, size);
    sim_node_kick(h->node);
    return true;
}

void host_wake_up(struct host *h)
{
    h->lazy = false;
    for (size_t i = 0; i < h->bulk_count; i++) {
        struct bulk *b = &h->bulks[i];
        if (b->stream != NULL)
            px_stream_consume(b->stream, b->unconsumed);
        b->unconsumed = 0;
    }
    sim_node_kick(h->node);
}

bool host_bulks_done(const struct host *h)
{
    for (size_t i = 0; i < h->bulk_count; i++) {
        const struct bulk *b = &h->bulks[i];
        CHECK(!b->wrong);
        if (!b->closed)
            return false;
        CHECK_OK(b->err);
        CHECK_INT(b->in_pos, b->in_size);
        CHECK_INT(b->out_pos, b->out_size);
    }
    return true;
}

/* ---- what the overlay tells ---- */

static int on_authorize(void *ctx, const struct px_peer_id *id)
{
    const struct host *h = ctx;
    struct px_link *old = px_overlay_find(h->overlay, id);
    if (h->close_when_asked && old != NULL)
        px_link_close(old, PX_CLOSE_PROTOCOL);
    return h->unlisted != NULL && px_peer_id_eq(h->unlisted, id) ? PX_EUNLISTED : 0;
}

static void on_up(void *ctx, struct px_link *link)
{
    struct host *h = ctx;
    CHECK(h->link_count < HOST_LINKS_MAX);
    CHECK(px_link_is_up(link));
    h->links[h->link_count++] = link;
    h->up_count++;
    for (uint64_t i = 0; i < h->greet; i++)
        host_send(h, link, 1000 + i);
}

static void on_early(void *ctx, struct px_link *link)
{
    struct host *h = ctx;
    CHECK(px_link_is_early(link) && !px_link_is_up(link));
    CHECK(px_overlay_find(h->overlay, px_link_peer(link)) != link);
    h->early_count++;
    h->early_at = sim_net_now(h->net);
    for (uint64_t i = 0; i < h->early; i++)
        CHECK(host_send(h, link, h->early_size));
}

static void on_down(void *ctx, struct px_link *link, int err, bool by_peer, bool was_up)
{
    struct host *h = ctx;
    bool known = false;
    for (size_t i = 0; i < h->link_count && !known; i++)
        if (h->links[i] == link) {
            h->links[i] = h->links[--h->link_count];
            known = true;
        }
    CHECK(known == was_up);
    CHECK(err != 0);
    h->down_count++;
    h->down_err = err;
    px_link_stats(link, &h->down_stats);
    h->down_by_peer = by_peer;
    h->down_was_up = was_up;
}

static void on_refused(void *ctx, const struct px_addr *remote, const struct px_peer_id *id,
                       int err, bool by_peer)
{
    struct host *h = ctx;
    CHECK(remote->family == PX_ADDR_IP4);
    h->refused_count++;
    h->refused_err = err;
    h->refused_by_peer = by_peer;
    h->refused_proved = id != NULL;
    if (id != NULL)
        h->refused_id = *id;
}

static const struct px_stream_ops *on_stream(void *ctx, struct px_link *link, int64_t id,
                                             uint8_t type, void **ret_ctx)
{
    struct host *h = ctx;
    if (type != BULK_TYPE)
        return NULL;
    struct bulk *b = bulk_new(h);
    CHECK_OK(px_stream_adopt(link, id, &bulk_ops, b, &b->stream));
    h->bulk_count++;
    bulk_start(b, h->answer_max > 0 ? px_test_rng_next(&h->rng) % h->answer_max : 0);
    *ret_ctx = b->stream;
    return &px_stream_link_ops;
}

static void on_streams_available(void *ctx, struct px_link *link)
{
    struct host *h = ctx;
    CHECK(px_link_is_up(link));
    h->available_count++;
}

static void on_cloned(void *ctx, const struct px_link *link)
{
    struct host *h = ctx;
    (void)link;
    h->cloned_count++;
}

static void on_lost(void *ctx, struct px_link *link)
{
    (void)link;
    ((struct host *)ctx)->lost_count++;
}

static void on_path_changed(void *ctx, struct px_link *link)
{
    struct host *h = ctx;
    CHECK(px_link_is_up(link));
    h->moved_count++;
    px_link_path(link, &h->path);
}

static void on_pong(void *ctx, struct px_link *link, uint64_t nonce, px_nsec rtt)
{
    struct host *h = ctx;
    CHECK(px_link_is_up(link));
    h->pong_count++;
    h->pong_nonce = nonce;
    h->pong_rtt = rtt;
}

static bool on_guest(void *ctx, const struct px_peer_id *id)
{
    const struct host *h = ctx;
    CHECK(h->unlisted != NULL && px_peer_id_eq(h->unlisted, id));
    return h->guests_welcome;
}

static const struct px_overlay_ops overlay_ops = {
    .authorize = on_authorize,
    .guest = on_guest,
    .up = on_up,
    .early = on_early,
    .down = on_down,
    .refused = on_refused,
    .stream = on_stream,
    .streams_available = on_streams_available,
    .cloned = on_cloned,
    .path_changed = on_path_changed,
    .lost = on_lost,
    .pong = on_pong,
};

static void node_input(void *ctx, const struct px_path *path, unsigned ecn, struct px_slice d,
                       px_nsec now)
{
    px_overlay_input(((struct host *)ctx)->overlay, path, ecn, d, now);
}

static void node_run(void *ctx, px_nsec now)
{
    px_overlay_run(((struct host *)ctx)->overlay, now);
}

static px_nsec node_deadline(void *ctx)
{
    return px_overlay_deadline(((struct host *)ctx)->overlay);
}

static const struct sim_node_ops node_ops = {node_input, node_run, node_deadline};

void host_init(struct host *h, struct sim_net *net, uint8_t number, uint64_t identity_seed)
{
    memset(h, 0, sizeof(*h));
    CHECK_OK(px_crypto_init());
    h->net = net;
    h->number = number;
    h->network = "default";
    h->node = sim_node_new(net, number);
    struct px_rng rng = px_test_rng(&h->rng, identity_seed);
    px_identity_generate(&rng, &h->identity);
}

void host_start(struct host *h, uint64_t seed)
{
    const struct px_overlay_config config = {
        .identity = &h->identity,
        .network = px_slice_cstr(h->network),
        .agent = PX_SLICE_LIT("sim/1"),
        .ops = &overlay_ops,
        .ops_ctx = h,
        .quic = {.rng = px_test_rng(&h->overlay_rng, seed),
                 .net = sim_node_net(h->node),
                 .stream_window = h->window},
        .listen = true,
    };
    CHECK_OK(px_overlay_new(&config, &h->overlay));
    sim_node_set_owner(h->node, &node_ops, h);
}

void host_kill(struct host *h)
{
    sim_node_set_owner(h->node, NULL, NULL);
    px_overlay_free(h->overlay);
    h->overlay = NULL;
    CHECK_INT(h->link_count, 0);
    for (size_t i = 0; i < h->bulk_count; i++)
        CHECK(h->bulks[i].closed);
    h->bulk_count = 0;
}

void host_deinit(struct host *h)
{
    if (h->overlay != NULL)
        host_kill(h);
    px_identity_wipe(&h->identity);
}

int host_dial_at(struct host *h, const struct px_peer_id *id, uint8_t number)
{
    struct px_link *l;
    struct px_path path = sim_path(h->number, number);
    if (h->any_local)
        memset(path.local.ip, 0, sizeof(path.local.ip));
    sim_node_kick(h->node);
    int err = px_overlay_dial(h->overlay, id, &path, NULL, sim_net_now(h->net), &l);
    if (err == 0 && h->as_guest)
        px_link_set_guest(l);
    return err;
}

int host_dial(struct host *h, const struct host *to)
{
    return host_dial_at(h, &to->identity.id, to->number);
}

struct px_link *host_link_to(const struct host *h, const struct host *to)
{
    return h->overlay == NULL ? NULL : px_overlay_find(h->overlay, &to->identity.id);
}

void host_move(struct host *h, const struct px_addr *address, bool told)
{
    sim_node_set_address(h->node, address);
    if (told)
        px_overlay_network_changed(h->overlay, sim_net_now(h->net));
    sim_node_kick(h->node);
}

void host_check(const struct host *h)
{
    for (size_t i = 0; i < h->link_count; i++) {
        for (size_t j = 0; j < i; j++)
            CHECK(!px_peer_id_eq(px_link_peer(h->links[i]), px_link_peer(h->links[j])));
        if (px_link_is_up(h->links[i]))
            CHECK(px_overlay_find(h->overlay, px_link_peer(h->links[i])) == h->links[i]);
    }
}

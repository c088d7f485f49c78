/* See relay_node.h. */
#include "tests/relay_node.h"

static void on_send(void *ctx, struct px_slice frame)
{
    struct relay_node *n = ctx;
    if (n->stream != NULL)
        px_control_stream_send(n->stream, frame);
}

static void on_packet(void *ctx, struct px_slice packet)
{
    struct relay_node *n = ctx;
    if (n->io != NULL)
        (void)!px_overlay_io_send(n->io, &n->path, 0, packet, packet.len);
}

static void on_frame(void *ctx, struct px_slice body)
{
    struct relay_node *n = ctx;
    if (px_relay_client_input(n->client, body, px_now_io()) != 0)
        px_link_close(n->link, PX_CLOSE_PROTOCOL);
}

static void on_stream_closed(void *ctx)
{
    struct relay_node *n = ctx;
    n->stream = NULL;
    px_relay_client_down(n->client, px_now_io());
}

static const struct px_control_stream_ops stream_ops = {on_frame, on_stream_closed};

static int on_authorize(void *ctx, const struct px_peer_id *id)
{
    const struct relay_node *n = ctx;
    if (px_peer_id_eq(id, &n->relay))
        return 0;
    return n->others != NULL ? n->others->authorize(n->others_ctx, id) : PX_EUNLISTED;
}

static bool is_other(const struct relay_node *n, const struct px_link *link)
{
    return n->others != NULL && !px_peer_id_eq(px_link_peer(link), &n->relay);
}

static void on_up(void *ctx, struct px_link *link)
{
    struct relay_node *n = ctx;
    uint8_t binding[PX_LINK_BINDING_LEN];
    if (is_other(n, link)) {
        n->others->up(n->others_ctx, link);
        return;
    }
    n->link = link;
    px_link_path(link, &n->path);
    px_tls_pipes_set_proved(n->pipes, &n->path.remote, true);
    if (px_control_stream_open(link, &stream_ops, n, &n->stream) != 0) {
        px_link_close(link, PX_CLOSE_INTERNAL);
        return;
    }
    px_link_binding(link, binding);
    if (n->link_changed != NULL)
        n->link_changed(n, true, 0);
    px_relay_client_up(n->client, binding, px_now_io());
}

/* Also when our own address is another one: circuits are bound anew from there. */
static void on_path_changed(void *ctx, struct px_link *link)
{
    struct relay_node *n = ctx;
    if (is_other(n, link))
        return;
    px_link_path(link, &n->path);
    px_relay_client_network_changed(n->client, px_now_io());
}

static void on_down(void *ctx, struct px_link *link, int err, bool by_peer, bool was_up)
{
    struct relay_node *n = ctx;
    if (is_other(n, link)) {
        n->others->down(n->others_ctx, link, err, by_peer, was_up);
        return;
    }
    if (was_up && link != n->link) /* another one took over */
        return;
    if (link == n->link)
        n->link = NULL;
    if (n->link_changed != NULL)
        n->link_changed(n, false, err);
}

static void on_refused(void *ctx, const struct px_addr *remote, const struct px_peer_id *id,
                       int err, bool by_peer)
{
    (void)ctx;
    (void)remote;
    (void)id;
    (void)err;
    (void)by_peer;
}

static const struct px_stream_ops *on_stream(void *ctx, struct px_link *link, int64_t id,
                                             uint8_t type, void **ret_ctx)
{
    struct relay_node *n = ctx;
    if (!is_other(n, link))
        return NULL;
    return n->others->stream(n->others_ctx, link, id, type, ret_ctx);
}

static const struct px_overlay_ops overlay_ops = {.authorize = on_authorize,
                                                  .up = on_up,
                                                  .down = on_down,
                                                  .refused = on_refused,
                                                  .stream = on_stream,
                                                  .path_changed = on_path_changed};

static size_t on_batch(void *ctx, const struct px_path *path, unsigned ecn, uint8_t *data,
                       size_t len, size_t segment)
{
    struct relay_node *n = ctx;
    (void)path;
    (void)ecn;
    if (!px_relay_is_packet(data[0]))
        return 0;
    (void)px_relay_client_packet(n->client, px_slice(data, PX_MIN(segment, len)), px_now_io());
    return PX_MIN(segment, len);
}

static void on_timer(uv_timer_t *t)
{
    struct relay_node *n = t->data;
    n->armed = PX_NEVER;
    px_relay_client_run(n->client, px_now_io());
}

static void on_arm(uv_prepare_t *p)
{
    struct relay_node *n = p->data;
    px_nsec at = px_relay_client_deadline(n->client), now = px_now_io();
    if (at >= n->armed)
        return;
    n->armed = at;
    uv_timer_start(&n->timer, on_timer, at <= now ? 0 : (at - now) / PX_MSEC + 1, 0);
}

int relay_node_dial(struct relay_node *n)
{
    struct px_link *link;
    return px_overlay_io_dial(n->io, &n->relay, &n->relay_addr, n, &link);
}

static void on_pipe_open(void *ctx)
{
    struct relay_node *n = ctx;
    struct px_link *link;
    int err = px_overlay_io_dial(n->io, &n->relay, &n->pipe, n, &link);
    if (err != 0 && n->link_changed != NULL)
        n->link_changed(n, false, err);
}

static void on_pipe_closed(void *ctx, int err)
{
    struct relay_node *n = ctx;
    if (n->link_changed != NULL)
        n->link_changed(n, false, err);
}

static const struct px_tls_pipes_ops pipe_ops = {on_pipe_open, on_pipe_closed};

int relay_node_dial_pipe(struct relay_node *n, const struct px_addr *tcp)
{
    return px_tls_pipes_dial(n->pipes, tcp, "", &pipe_ops, n, &n->pipe);
}

/* ---- what the owner does not care for ---- */

static void on_ring(void *ctx, struct px_relay_leg *leg, const struct px_peer_id *caller)
{
    (void)ctx;
    (void)caller;
    px_relay_leg_answer(leg, true, px_now_io());
}

static void on_reply(void *ctx, void *token, enum px_relay_status status,
                     const struct px_relay_msg *m)
{
    (void)ctx;
    (void)token;
    (void)status;
    (void)m;
}

static void on_observed(void *ctx, const struct px_addr *a)
{
    (void)ctx;
    (void)a;
}

static void on_changed(void *ctx, const struct px_relay_msg *m)
{
    (void)ctx;
    (void)m;
}

static void on_restarting(void *ctx, px_nsec left, px_nsec spread)
{
    (void)ctx;
    (void)left;
    (void)spread;
}

static void fill_in(struct px_relay_client_ops *ops)
{
    ops->send = on_send;
    ops->packet = on_packet;
    ops->ring = ops->ring != NULL ? ops->ring : on_ring;
    ops->reply = ops->reply != NULL ? ops->reply : on_reply;
    ops->observed = ops->observed != NULL ? ops->observed : on_observed;
    ops->changed = ops->changed != NULL ? ops->changed : on_changed;
    ops->restarting = ops->restarting != NULL ? ops->restarting : on_restarting;
}

/* ---- for the owner ---- */

int relay_node_start(struct relay_node *n, uv_loop_t *loop, const struct px_peer_id *relay,
                     const struct px_addr *addr, const char *network,
                     const struct px_relay_client_ops *ops, bool reserve)
{
    const struct px_overlay_config overlay = {.identity = &n->identity,
                                              .network = px_slice_cstr(network),
                                              .agent = PX_SLICE_LIT("relay-node"),
                                              .ops = &overlay_ops,
                                              .ops_ctx = n,
                                              .quic = {.max_udp_payload = n->payload},
                                              .listen = n->others != NULL};
    struct px_addr any = {.family = addr->family};
    n->loop = loop;
    n->relay = *relay;
    n->relay_addr = *addr;
    n->armed = PX_NEVER;
    n->ops = *ops;
    fill_in(&n->ops);
    const struct px_relay_client_config client = {
        .rng = px_system_rng, .ops = &n->ops, .ctx = n, .reserve = reserve};
    if (px_addr_is_loopback(addr)) /* the machine's other addresses are none of a test's business */
        memcpy(any.ip, addr->ip, sizeof(any.ip));
    uv_timer_init(loop, &n->timer);
    uv_prepare_init(loop, &n->arm);
    n->timer.data = n->arm.data = n;
    uv_prepare_start(&n->arm, on_arm);
    int err = px_relay_client_new(&client, &n->client);
    if (err == 0)
        err = px_overlay_io_new(loop, &any, &overlay, &n->io);
    if (err == 0)
        err = px_tls_pipes_new(loop, n->io, NULL, &n->pipes);
    if (err == 0) {
        px_overlay_io_set_batch(n->io, on_batch, n);
        err = relay_node_dial(n);
    }
    return err;
}

void relay_node_send(struct relay_node *n, struct px_relay_leg *leg, struct px_slice payload)
{
    uint8_t packet[1500];
    px_assert(payload.len <= sizeof(packet) - PX_RELAY_HEADER_LEN);
    px_relay_leg_header(leg, packet);
    memcpy(packet + PX_RELAY_HEADER_LEN, payload.data, payload.len);
    on_packet(n, px_slice(packet, PX_RELAY_HEADER_LEN + payload.len));
    px_relay_leg_sent(leg, px_now_io());
}

int relay_node_send_batch(struct relay_node *n, struct px_relay_leg *leg, struct px_slice packets,
                          size_t segment)
{
    int err = px_overlay_io_send(n->io, &n->path, 0, packets, segment);
    if (err == 0)
        px_relay_leg_sent(leg, px_now_io());
    return err;
}

void relay_node_close(struct relay_node *n)
{
    if (n->io != NULL)
        px_overlay_io_close(n->io, NULL, NULL);
    px_tls_pipes_close(n->pipes);
    n->io = NULL;
    n->pipes = NULL;
    uv_close((uv_handle_t *)&n->timer, NULL);
    uv_close((uv_handle_t *)&n->arm, NULL);
    px_relay_client_free(n->client);
    n->client = NULL;
}

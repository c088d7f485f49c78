/* The control stream of a relay between two whole nodes on a virtual network: frames arrive, and a
 * side that does not take them ends the link instead of filling the other one's memory. */
#include "relay/control_stream.h"

#include "relay/relay_msg.h"
#include "tests/sim/sim_raw.h"
#include "tests/sim/sim_world.h"
#include "transport/frame.h"
#include "transport/link_internal.h"

#define BODY 1022 /* with its length a KiB */

struct end {
    struct px_control_stream *stream; /* NULL once closed */
    size_t frames;
};

static struct end ends[2];

static void on_frame(void *ctx, struct px_slice body)
{
    struct end *e = ctx;
    CHECK_INT(body.len, BODY);
    e->frames++;
}

static void on_closed(void *ctx)
{
    ((struct end *)ctx)->stream = NULL;
}

static const struct px_control_stream_ops ops = {on_frame, on_closed};

static const struct px_stream_ops *on_stream(void *ctx, struct px_link *link, int64_t id,
                                             uint8_t type, void **ret_ctx)
{
    (void)ctx;
    CHECK_INT(type, PX_STREAM_RELAY);
    CHECK_OK(px_control_stream_adopt(link, id, &ops, &ends[1], &ends[1].stream, ret_ctx));
    return &px_stream_link_ops;
}

static void send_frames(size_t count)
{
    static const uint8_t body[BODY] = {7};
    struct px_buf frame;
    px_buf_init(&frame, BODY + 2);
    CHECK_OK(px_frame_put(&frame, BODY, px_slice(body, sizeof(body))));
    CHECK_INT(frame.len, 1024);
    for (size_t i = 0; i < count && ends[0].stream != NULL; i++)
        px_control_stream_send(ends[0].stream, px_buf_slice(&frame));
    px_buf_deinit(&frame);
}

/* a is the node, b the relay; the stream is open and has carried a frame. */
static void start(struct world *w)
{
    memset(ends, 0, sizeof(ends));
    world_start(w, 1, &sim_calm);
    w->b.overlay->ops.stream = on_stream;
    world_connect(w);
    CHECK_OK(px_control_stream_open(w->a.links[0], &ops, &ends[0], &ends[0].stream));
    send_frames(1);
    sim_node_kick(w->a.node);
    world_run(w, PX_SEC);
    CHECK_INT(ends[1].frames, 1);
}

TEST(so_much_may_wait_for_the_other_side_and_then_there_is_room_again)
{
    const size_t full = PX_CONTROL_STREAM_QUEUE_MAX / 1024;
    struct world w;
    start(&w);
    for (size_t round = 1; round <= 3; round++) {
        send_frames(full);
        CHECK(px_link_is_up(w.a.links[0]));
        sim_node_kick(w.a.node);
        world_run(&w, 5 * PX_SEC);
        CHECK_INT(ends[1].frames, 1 + round * full);
    }
    world_deinit(&w);
}

TEST(a_frame_more_than_may_wait_ends_the_link)
{
    struct world w;
    start(&w);
    send_frames(PX_CONTROL_STREAM_QUEUE_MAX / 1024 + 1);
    CHECK(!px_link_is_up(w.a.links[0]));
    sim_node_kick(w.a.node);
    world_run(&w, 5 * PX_SEC);
    CHECK(ends[0].stream == NULL && ends[1].stream == NULL);
    CHECK_ERR(w.a.down_err, PX_EOVERRUN);
    CHECK_ERR(w.b.down_err, PX_EOVERRUN);
    CHECK(w.b.down_by_peer && !w.a.down_by_peer);
    world_deinit(&w);
}

TEST(a_network_has_a_longest_name)
{
    char name[PX_LINK_NETWORK_MAX + 2];
    for (size_t over = 0; over < 2; over++) {
        struct world w;
        struct px_overlay *o;
        memset(name, 'n', sizeof(name));
        name[PX_LINK_NETWORK_MAX + over] = '\0';
        world_init(&w, 1, &sim_calm);
        w.a.network = w.b.network = name;
        const struct px_overlay_ops none = {0};
        const struct px_overlay_config config = {
            .identity = &w.a.identity,
            .network = px_slice_cstr(name),
            .ops = &none,
            .quic = {.rng = px_test_rng(&w.a.overlay_rng, 1)},
        };
        if (over) {
            CHECK_ERR(px_overlay_new(&config, &o), PX_EINVAL);
        } else {
            host_start(&w.a, 1);
            host_start(&w.b, 2);
            world_connect(&w);
        }
        world_deinit(&w);
    }
}

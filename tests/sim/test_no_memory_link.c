/* A whole link in the virtual network while one allocation of ours after the other fails, at either
 * end or at both: dial, streams both ways, ping, a change of address, close. Whatever fails, each
 * dial and each stream ends once, and with memory back the two ends talk again. */
#include "tests/no_memory.h"
#include "tests/sim/sim_net.h"
#include "transport/stream.h"

#define STREAM_TYPE 0x01
#define BODY        20000
#define PIECE       5000

struct end {
    struct sim_node *sim;
    struct px_quic_net net;
    struct px_test_rng rng, overlay_rng;
    struct px_identity identity;
    struct px_overlay *overlay;
    struct px_link *link;
    bool armed;
    unsigned dials, dial_ends, ups, downs, opened, closed, whole, pongs, moves;
};

/* One stream at one end. */
struct talk {
    struct end *end;
    struct px_stream *stream;
    size_t in;
    bool answers, answered;
};
static struct talk talks[64];
static size_t talk_count;

#define AT(e, statement)                                                                           \
    do {                                                                                           \
        if ((e)->armed)                                                                            \
            ARMED(statement);                                                                      \
        else                                                                                       \
            statement;                                                                             \
    } while (0)

static int net_send(void *ctx, const struct px_path *path, unsigned ecn, struct px_slice data,
                    size_t segment)
{
    const struct end *e = ctx;
    int err;
    DISARMED(err = e->net.send(e->net.ctx, path, ecn, data, segment));
    return err;
}

/* --- streams --- */

static void say(struct talk *t)
{
    int err = 0;
    for (size_t sent = 0; sent < BODY && err == 0; sent += PIECE) {
        struct px_chunk *c = px_chunk_new(PIECE);
        if (c != NULL)
            memset(c->data, 0x55, PIECE);
        err = c != NULL ? px_stream_write(t->stream, c) : PX_ENOMEM;
    }
    if (err == 0)
        px_stream_end(t->stream);
    else
        px_stream_abort(t->stream, 1);
    CHECK(err == 0 || err == PX_ENOMEM);
}

static void talk_recv(void *ctx, struct px_stream *s, struct px_slice data, bool fin)
{
    struct talk *t = ctx;
    t->in += data.len;
    px_stream_consume(s, data.len);
    if (fin && t->answers && !t->answered) {
        t->answered = true;
        say(t);
    }
}

static void talk_drained(void *ctx, struct px_stream *s)
{
    (void)ctx, (void)s;
}

static void talk_closed(void *ctx, struct px_stream *s, int err, uint64_t code)
{
    struct talk *t = ctx;
    (void)s, (void)code;
    CHECK(t->stream != NULL);
    t->stream = NULL;
    t->end->closed++;
    t->end->whole += err == 0 && t->in == BODY;
    CHECK(err == 0 || t->in <= BODY);
}

static const struct px_stream_user_ops talk_ops = {talk_recv, talk_drained, talk_closed};

static struct talk *talk_new(struct end *e, bool answers)
{
    CHECK(talk_count < PX_ARRAY_LEN(talks));
    struct talk *t = &talks[talk_count++];
    *t = (struct talk){.end = e, .answers = answers};
    return t;
}

static void begin_talk(struct end *e)
{
    struct talk *t = talk_new(e, false);
    int err = px_stream_open(e->link, STREAM_TYPE, &talk_ops, t, &t->stream);
    CHECK(err == 0 || err == PX_ENOMEM || err == PX_ESTATE || err == PX_EAGAIN);
    if (err != 0)
        return;
    e->opened++;
    say(t);
}

/* --- what the overlay tells --- */

static int on_authorize(void *ctx, const struct px_peer_id *id)
{
    (void)ctx, (void)id;
    return 0;
}

static void on_up(void *ctx, struct px_link *link)
{
    struct end *e = ctx;
    CHECK(e->link == NULL);
    e->link = link;
    e->ups++;
    begin_talk(e);
}

static void on_down(void *ctx, struct px_link *link, int err, bool by_peer, bool was_up)
{
    struct end *e = ctx;
    (void)by_peer;
    CHECK(err != 0);
    e->dial_ends += px_link_user(link) == e;
    if (!was_up)
        return;
    CHECK(e->link == link);
    e->link = NULL;
    e->downs++;
}

static void on_refused(void *ctx, const struct px_addr *remote, const struct px_peer_id *id,
                       int err, bool by_peer)
{
    (void)ctx, (void)remote, (void)id, (void)err, (void)by_peer;
}

static const struct px_stream_ops *on_stream(void *ctx, struct px_link *link, int64_t id,
                                             uint8_t type, void **ret_ctx)
{
    struct end *e = ctx;
    struct talk *t = talk_new(e, true);
    CHECK_INT(type, STREAM_TYPE);
    if (px_stream_adopt(link, id, &talk_ops, t, &t->stream) != 0)
        return NULL;
    e->opened++;
    *ret_ctx = t->stream;
    return &px_stream_link_ops;
}

static void on_path_changed(void *ctx, struct px_link *link)
{
    (void)link;
    ((struct end *)ctx)->moves++;
}

static void on_pong(void *ctx, struct px_link *link, uint64_t nonce, px_nsec rtt)
{
    (void)link, (void)nonce, (void)rtt;
    ((struct end *)ctx)->pongs++;
}

static const struct px_overlay_ops overlay_ops = {.authorize = on_authorize,
                                                  .up = on_up,
                                                  .down = on_down,
                                                  .refused = on_refused,
                                                  .stream = on_stream,
                                                  .path_changed = on_path_changed,
                                                  .pong = on_pong};

/* --- the two ends --- */

static void node_input(void *ctx, const struct px_path *path, unsigned ecn, struct px_slice d,
                       px_nsec now)
{
    struct end *e = ctx;
    AT(e, px_overlay_input(e->overlay, path, ecn, d, now));
}

static void node_run(void *ctx, px_nsec now)
{
    struct end *e = ctx;
    AT(e, px_overlay_run(e->overlay, now));
}

static px_nsec node_deadline(void *ctx)
{
    return px_overlay_deadline(((struct end *)ctx)->overlay);
}

static const struct sim_node_ops sim_ops = {node_input, node_run, node_deadline};

static int end_init(struct end *e, struct sim_net *net, uint8_t number, bool armed)
{
    *e = (struct end){.sim = sim_node_new(net, number), .armed = armed};
    e->net = sim_node_net(e->sim);
    const struct px_rng rng = px_test_rng(&e->rng, number);
    px_identity_generate(&rng, &e->identity);
    const struct px_overlay_config config = {
        .identity = &e->identity,
        .network = PX_SLICE_LIT("default"),
        .agent = PX_SLICE_LIT("sim/1"),
        .ops = &overlay_ops,
        .ops_ctx = e,
        .quic = {.rng = px_test_rng(&e->overlay_rng, number), .net = {net_send, e}},
        .listen = true,
    };
    int err;
    AT(e, err = px_overlay_new(&config, &e->overlay));
    if (err == 0)
        sim_node_set_owner(e->sim, &sim_ops, e);
    return err;
}

static void end_deinit(struct end *e)
{
    sim_node_set_owner(e->sim, NULL, NULL);
    if (e->overlay != NULL)
        AT(e, px_overlay_free(e->overlay));
    px_identity_wipe(&e->identity);
    CHECK_INT(e->dial_ends, e->dials);
    CHECK_INT(e->downs, e->ups);
    CHECK_INT(e->closed, e->opened);
}

static void dial(struct end *e, const struct end *to, struct sim_net *net)
{
    struct px_path path = sim_path(1, 2);
    struct px_link *l;
    int err;
    memset(path.local.ip, 0, sizeof(path.local.ip));
    AT(e, err = px_overlay_dial(e->overlay, &to->identity.id, &path, e, sim_net_now(net), &l));
    if (e->armed)
        CHECK_SWEPT(err);
    else
        CHECK_OK(err);
    e->dials += err == 0;
    sim_node_kick(e->sim);
}

static void pass(struct sim_net *net, px_nsec time)
{
    px_nsec until = sim_net_now(net) + time;
    while (sim_net_step(net, until))
        ;
}

static void ping(struct end *e)
{
    uint64_t nonce;
    int err;
    if (e->link == NULL)
        return;
    AT(e, err = px_link_ping(e->link, &nonce));
    CHECK(err == 0 || err == PX_ENOMEM || err == PX_ESTATE);
    sim_node_kick(e->sim);
}

static void move(struct end *e, struct sim_net *net)
{
    struct px_addr there = sim_addr(1);
    there.ip[1] = 77;
    sim_node_set_address(e->sim, &there);
    AT(e, px_overlay_network_changed(e->overlay, sim_net_now(net)));
    sim_node_kick(e->sim);
}

static void talk_again(struct end *e)
{
    if (e->link != NULL)
        AT(e, begin_talk(e));
    sim_node_kick(e->sim);
}

/* There is memory again: what is up works, and what is down comes up. */
static void recover(struct end *a, struct end *b, struct sim_net *net)
{
    a->armed = b->armed = false;
    pass(net, 40 * PX_SEC); /* longer than a silent peer is waited for */
    a->whole = 0;
    if (px_overlay_find(a->overlay, &b->identity.id) == NULL)
        dial(a, b, net);
    else
        talk_again(a);
    pass(net, 2 * PX_SEC);
    CHECK(a->link != NULL && b->link != NULL);
    CHECK(a->whole >= 1);
}

static void live(struct end *a, struct end *b, struct sim_net *net)
{
    dial(a, b, net);
    pass(net, PX_SEC);
    ping(a);
    ping(b);
    pass(net, PX_SEC);
    move(a, net);
    pass(net, 50 * PX_MSEC);
    talk_again(a);
    talk_again(b);
    pass(net, 3 * PX_SEC);
    if (heap_was_whole()) {
        CHECK(a->whole == 4 && b->whole == 4);
        CHECK(a->pongs == 1 && b->pongs == 1 && a->moves >= 1 && b->moves >= 1);
    }
    recover(a, b, net);
    if (a->link != NULL)
        px_link_close(a->link, PX_CLOSE_SHUTDOWN);
    sim_node_kick(a->sim);
    pass(net, PX_SEC);
    CHECK(a->link == NULL && b->link == NULL);
}

static bool arm_a, arm_b;

static void life(void)
{
    static const struct sim_weather calm = {.delay = PX_MSEC};
    struct sim_net *net = sim_net_new(5, &calm);
    struct end a, b;
    talk_count = 0;
    int err = end_init(&a, net, 1, arm_a), err_b = end_init(&b, net, 2, arm_b);
    CHECK_SWEPT(err);
    CHECK_SWEPT(err_b);
    if (err == 0 && err_b == 0)
        live(&a, &b, net);
    end_deinit(&a);
    end_deinit(&b);
    sim_net_free(net);
}

TEST(a_link_survives_a_lack_of_memory_at_the_dialler)
{
    CHECK_OK(px_crypto_init());
    arm_a = true;
    arm_b = false;
    sweep(life, 10);
}

TEST(a_link_survives_a_lack_of_memory_at_the_listener)
{
    CHECK_OK(px_crypto_init());
    arm_a = false;
    arm_b = true;
    sweep(life, 10);
}

TEST(a_link_survives_a_lack_of_memory_at_both_ends)
{
    CHECK_OK(px_crypto_init());
    arm_a = arm_b = true;
    sweep(life, 20);
}

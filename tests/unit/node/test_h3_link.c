/* HTTP/3 on real links: two overlays with px_h3 on top, over the virtual network of tests/sim.
 * Bodies are heap blocks freed when acked or closed, so that a sanitizer sees it when QUIC looks at
 * one again for a retransmission. */
#include <stdlib.h>

#include "node/h3.h"
#include "tests/sim/sim_net.c"
#include "transport/link.h"

#define ASKS_MAX  40
#define BURST_MAX 600
#define PIECE     20000

static uint8_t byte_at(uint64_t offset)
{
    return (uint8_t)(offset * 13 + (offset >> 9));
}

static size_t bodies_open;

/* --- serving: "/<size>" --- */

struct piece {
    struct piece *next;
    size_t len, acked;
    uint8_t data[];
};

struct body {
    uint64_t at, size;
    struct piece *first, **end;
};

static int body_next(void *ctx, struct px_slice *ret, bool *ret_fin)
{
    struct body *b = ctx;
    size_t len = (size_t)PX_MIN(b->size - b->at, (uint64_t)PIECE);
    struct piece *p = malloc(sizeof(*p) + len);
    CHECK(p != NULL);
    *p = (struct piece){.len = len};
    for (size_t i = 0; i < len; i++)
        p->data[i] = byte_at(b->at + i);
    b->at += len;
    *b->end = p;
    b->end = &p->next;
    *ret = px_slice(p->data, len);
    *ret_fin = b->at == b->size;
    return 0;
}

static void drop_first(struct body *b)
{
    struct piece *p = b->first;
    b->first = p->next;
    if (b->first == NULL)
        b->end = &b->first;
    free(p);
}

static void body_acked(void *ctx, uint64_t n)
{
    struct body *b = ctx;
    while (n > 0) {
        struct piece *p = b->first;
        CHECK(p != NULL);
        size_t take = (size_t)PX_MIN((uint64_t)(p->len - p->acked), n);
        p->acked += take;
        n -= take;
        if (p->acked == p->len)
            drop_first(b);
    }
}

static void body_closed(void *ctx)
{
    struct body *b = ctx;
    while (b->first != NULL)
        drop_first(b);
    free(b);
    bodies_open--;
}

static const struct px_h3_body_ops body_ops = {body_next, body_acked, body_closed};

static void on_request(void *ctx, struct px_h3_exchange *x, const struct px_h3_request *req)
{
    (void)ctx;
    uint64_t size;
    struct px_h3_answer a = {.status = 404};
    if (px_slice_parse_u64(px_slice_skip(req->path, 1), &size) == 0) {
        struct body *b = calloc(1, sizeof(*b));
        CHECK(b != NULL);
        b->size = size;
        b->end = &b->first;
        a = (struct px_h3_answer){
            .status = 200, .content_length = size, .body = &body_ops, .body_ctx = b};
        bodies_open++;
    }
    CHECK_OK(px_h3_respond(x, &a));
}

static const struct px_h3_server_ops server_ops = {on_request};

/* --- a node --- */

struct ask {
    struct px_h3_exchange *x;
    unsigned status;
    uint64_t at;
    size_t ends;
    int err;
};

struct node {
    struct sim_net *net;
    struct sim_node *sim;
    struct px_test_rng rng, overlay_rng;
    struct px_identity identity;
    struct px_overlay *overlay;
    struct px_link *link;
    struct px_h3 *h3;
    struct ask asks[ASKS_MAX];
    size_t ask_count;
    struct burst *burst; /* under way */
};

static void burst_go_on(struct burst *b);

static int on_authorize(void *ctx, const struct px_peer_id *id)
{
    (void)ctx, (void)id;
    return 0;
}

static void on_up(void *ctx, struct px_link *link)
{
    struct node *n = ctx;
    n->link = link;
    CHECK_OK(px_h3_new(link, &server_ops, NULL, &n->h3));
}

static void on_down(void *ctx, struct px_link *link, int err, bool by_peer, bool was_up)
{
    struct node *n = ctx;
    (void)link, (void)err, (void)by_peer, (void)was_up;
    px_h3_free(n->h3);
    n->h3 = NULL;
    n->link = NULL;
}

static void on_refused(void *ctx, const struct px_addr *remote, const struct px_peer_id *id,
                       int err, bool by_peer)
{
    (void)ctx, (void)remote, (void)id, (void)err, (void)by_peer;
}

static const struct px_stream_ops *on_stream(void *ctx, struct px_link *link, int64_t id,
                                             uint8_t type, void **ret_ctx)
{
    struct node *n = ctx;
    (void)link;
    return px_h3_stream(n->h3, id, type, ret_ctx);
}

static void on_streams_available(void *ctx, struct px_link *link)
{
    struct node *n = ctx;
    (void)link;
    if (n->burst != NULL)
        burst_go_on(n->burst);
}

static const struct px_overlay_ops overlay_ops = {.authorize = on_authorize,
                                                  .up = on_up,
                                                  .down = on_down,
                                                  .refused = on_refused,
                                                  .stream = on_stream,
                                                  .streams_available = on_streams_available};

static void node_input(void *ctx, const struct px_path *path, unsigned ecn, struct px_slice d,
                       px_nsec now)
{
    px_overlay_input(((struct node *)ctx)->overlay, path, ecn, d, now);
}

static void node_run(void *ctx, px_nsec now)
{
    px_overlay_run(((struct node *)ctx)->overlay, now);
}

static px_nsec node_deadline(void *ctx)
{
    return px_overlay_deadline(((struct node *)ctx)->overlay);
}

static const struct sim_node_ops sim_ops = {node_input, node_run, node_deadline};

static void node_init(struct node *n, struct sim_net *net, uint8_t number, uint64_t seed)
{
    memset(n, 0, sizeof(*n));
    CHECK_OK(px_crypto_init());
    n->net = net;
    n->sim = sim_node_new(net, number);
    struct px_rng rng = px_test_rng(&n->rng, seed * 10 + number);
    px_identity_generate(&rng, &n->identity);
    const struct px_overlay_config config = {
        .identity = &n->identity,
        .network = PX_SLICE_LIT("default"),
        .agent = PX_SLICE_LIT("sim/1"),
        .ops = &overlay_ops,
        .ops_ctx = n,
        .quic = {.rng = px_test_rng(&n->overlay_rng, seed * 100 + number),
                 .net = sim_node_net(n->sim),
                 .stream_window = 256 * 1024},
        .listen = true,
    };
    CHECK_OK(px_overlay_new(&config, &n->overlay));
    sim_node_set_owner(n->sim, &sim_ops, n);
}

static void node_kill(struct node *n)
{
    sim_node_set_owner(n->sim, NULL, NULL);
    px_overlay_free(n->overlay);
    n->overlay = NULL;
}

/* --- asking --- */

static void ask_response(void *ctx, const struct px_h3_response *res)
{
    ((struct ask *)ctx)->status = res->status;
}

static void ask_data(void *ctx, struct px_slice data)
{
    struct ask *a = ctx;
    for (size_t i = 0; i < data.len; i++)
        CHECK_INT(data.data[i], byte_at(a->at + i));
    a->at += data.len;
    px_h3_consume(a->x, data.len);
}

static void ask_end(void *ctx, int err)
{
    struct ask *a = ctx;
    a->ends++;
    a->err = err;
    a->x = NULL;
}

static const struct px_h3_client_ops client_ops = {ask_response, ask_data, ask_end};

static struct ask *node_ask(struct node *n, const char *path)
{
    CHECK(n->ask_count < ASKS_MAX);
    struct ask *a = &n->asks[n->ask_count++];
    CHECK_OK(px_h3_get(n->h3, false, px_slice_cstr(path), 0, &client_ops, a, &a->x));
    sim_node_kick(n->sim);
    return a;
}

/* --- many small ones at once, as nix asks for narinfos --- */

struct burst {
    struct node *node;
    size_t asked, total;
    struct ask asks[BURST_MAX];
};

static void burst_go_on(struct burst *b)
{
    while (b->asked < b->total) {
        struct ask *a = &b->asks[b->asked];
        int err = px_h3_get(b->node->h3, false, PX_SLICE_LIT("/700"), 0, &client_ops, a, &a->x);
        if (err == PX_EAGAIN)
            break;
        CHECK_OK(err);
        b->asked++;
    }
    sim_node_kick(b->node->sim);
}

static bool burst_ended(const struct burst *b)
{
    for (size_t i = 0; i < b->total; i++)
        if (b->asks[i].ends == 0)
            return false;
    return true;
}

/* --- both --- */

struct world {
    struct sim_net *net;
    struct node a, b;
};

static const struct sim_weather calm = {.delay = 5 * PX_MSEC};
static const struct sim_weather rough = {
    .delay = 8 * PX_MSEC, .jitter = 4 * PX_MSEC, .loss = 30, .dup = 30, .reorder = 60};

static void run(struct world *w, px_nsec time)
{
    px_nsec until = sim_net_now(w->net) + time;
    while (sim_net_step(w->net, until))
        ;
}

static bool all_ended(const struct node *n)
{
    for (size_t i = 0; i < n->ask_count; i++)
        if (n->asks[i].ends == 0)
            return false;
    return true;
}

static void run_to_the_end(struct world *w)
{
    px_nsec until = sim_net_now(w->net) + 120 * PX_SEC;
    while (!(all_ended(&w->a) && all_ended(&w->b)))
        if (!sim_net_step(w->net, until))
            break;
}

static void world_init(struct world *w, uint64_t seed, const struct sim_weather *weather)
{
    bodies_open = 0;
    w->net = sim_net_new(seed, weather);
    node_init(&w->a, w->net, 1, seed);
    node_init(&w->b, w->net, 2, seed);
    struct px_path path = sim_path(1, 2);
    struct px_link *l;
    CHECK_OK(
        px_overlay_dial(w->a.overlay, &w->b.identity.id, &path, NULL, sim_net_now(w->net), &l));
    sim_node_kick(w->a.sim);
    px_nsec until = sim_net_now(w->net) + 20 * PX_SEC;
    while (w->a.h3 == NULL || w->b.h3 == NULL)
        CHECK(sim_net_step(w->net, until));
}

static void world_deinit(struct world *w)
{
    node_kill(&w->a);
    node_kill(&w->b);
    sim_net_free(w->net);
    CHECK_INT(bodies_open, 0);
    px_identity_wipe(&w->a.identity);
    px_identity_wipe(&w->b.identity);
}

TEST(both_directions_at_once_in_calm_and_rough_weather)
{
    static const struct sim_weather *const weathers[] = {&calm, &rough};
    static const struct {
        const char *path;
        uint64_t size;
        unsigned status;
    } rows[] = {{"/0", 0, 200},           {"/1", 1, 200},       {"/65536", 65536, 200},
                {"/700000", 700000, 200}, {"/nothing", 0, 404}, {"/2000000", 2000000, 200}};
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct world w;
        world_init(&w, seed, weathers[seed % 2]);
        for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
            (void)node_ask(&w.a, rows[i].path);
            (void)node_ask(&w.b, rows[i].path);
        }
        run_to_the_end(&w);
        struct node *nodes[] = {&w.a, &w.b};
        for (size_t k = 0; k < 2; k++)
            for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
                const struct ask *a = &nodes[k]->asks[i];
                CHECK_INT(a->ends, 1);
                CHECK_OK(a->err);
                CHECK_INT(a->status, rows[i].status);
                CHECK_INT(a->at, rows[i].size);
            }
        run(&w, 3 * PX_SEC); /* the last acks */
        CHECK_INT(bodies_open, 0);
        world_deinit(&w);
    }
}

/* nix asks for hundreds of narinfos at once, and gives none of them longer for there being so many:
 * the peer's stream limit must not make them miss the deadline of a look-up (250 ms). */
TEST(six_hundred_look_ups_at_once_are_answered_in_time)
{
    static const struct sim_weather far_away = {.delay = 30 * PX_MSEC};
    static struct burst bursts[2];
    struct world w;
    world_init(&w, 3, &far_away);
    struct node *nodes[] = {&w.a, &w.b};
    (void)node_ask(&w.a, "/3000000"); /* opens the congestion windows */
    (void)node_ask(&w.b, "/3000000");
    run_to_the_end(&w);
    px_nsec start = sim_net_now(w.net);
    for (size_t i = 0; i < 2; i++) {
        bursts[i] = (struct burst){.node = nodes[i], .total = BURST_MAX};
        nodes[i]->burst = &bursts[i];
        burst_go_on(&bursts[i]);
    }
    while (!(burst_ended(&bursts[0]) && burst_ended(&bursts[1])))
        CHECK(sim_net_step(w.net, start + 250 * PX_MSEC));
    for (size_t i = 0; i < 2; i++)
        for (size_t k = 0; k < BURST_MAX; k++) {
            CHECK_OK(bursts[i].asks[k].err);
            CHECK_INT(bursts[i].asks[k].status, 200);
        }
    world_deinit(&w);
}

TEST(given_up_requests_leave_the_link_usable)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct world w;
        world_init(&w, seed, seed % 2 == 0 ? &rough : &calm);
        for (int round = 0; round < 8; round++) {
            struct node *n = round % 2 == 0 ? &w.a : &w.b;
            struct ask *a = node_ask(n, "/4000000");
            run(&w, (px_nsec)round * 15 * PX_MSEC);
            if (a->x != NULL)
                px_h3_cancel(a->x);
            sim_node_kick(n->sim);
            a->ends++; /* for all_ended; the end itself is never told */
        }
        run(&w, 3 * PX_SEC);
        CHECK_INT(bodies_open, 0);
        /* more than the connection's window: the credit of what was thrown away came back */
        for (int i = 0; i < 5; i++)
            (void)node_ask(&w.a, "/1000000");
        run_to_the_end(&w);
        for (size_t i = 4; i < w.a.ask_count; i++) {
            CHECK_OK(w.a.asks[i].err);
            CHECK_INT(w.a.asks[i].at, 1000000);
        }
        world_deinit(&w);
    }
}

TEST(the_end_of_the_link_ends_every_exchange_once)
{
    for (int how = 0; how < 3; how++) {
        struct world w;
        world_init(&w, 7, &calm);
        for (int i = 0; i < 5; i++) {
            (void)node_ask(&w.a, "/5000000");
            (void)node_ask(&w.b, "/5000000");
        }
        run(&w, (px_nsec)how * 20 * PX_MSEC);
        if (how == 2)
            node_kill(&w.b); /* a falls silent after its idle time-out */
        else
            px_link_close(how == 0 ? w.a.link : w.b.link, PX_CLOSE_SHUTDOWN);
        sim_node_kick(how == 1 ? w.b.sim : w.a.sim);
        run(&w, 60 * PX_SEC);
        CHECK(w.a.h3 == NULL && w.b.h3 == NULL);
        CHECK_INT(bodies_open, 0);
        for (size_t i = 0; i < 5; i++) {
            CHECK_INT(w.a.asks[i].ends, 1);
            CHECK_INT(w.b.asks[i].ends, 1);
            CHECK_ERR(w.a.asks[i].err, PX_ECLOSED);
            CHECK_ERR(w.b.asks[i].err, PX_ECLOSED);
        }
        world_deinit(&w);
    }
}

TEST(goaway_over_a_link)
{
    struct world w;
    world_init(&w, 9, &rough);
    struct ask *a = node_ask(&w.b, "/1000000"); /* b is the QUIC server: ids are flipped */
    run(&w, 60 * PX_MSEC);
    px_h3_shutdown(w.a.h3);
    sim_node_kick(w.a.sim);
    run_to_the_end(&w);
    CHECK_OK(a->err);
    CHECK_INT(a->at, 1000000);
    struct ask late = {0};
    CHECK_ERR(px_h3_get(w.b.h3, false, PX_SLICE_LIT("/1"), 0, &client_ops, &late, &late.x),
              PX_ECLOSED);
    struct ask *other = node_ask(&w.a, "/1");
    run_to_the_end(&w);
    CHECK_OK(other->err);
    world_deinit(&w);
}

/* Fifty nodes on the virtual network, each with a production overlay and a production peer manager:
 * they join, are cut off from each other, restart, sleep, lose packets and share a key, and what
 * must always hold is checked at every step. */
#include <stdlib.h>

#include "node/peer_manager.h"
#include "tests/sim/sim_world.h"

#define NODES      50
#define CLONE      NODES /* index of a node with the key of node 0 */
#define ALL        (NODES + 1)
#define DIAL_MAX   (5 * PX_SEC)
#define SECOND     100 /* a node's second address is that of this number plus its own */
#define NOBODY     250 /* number of an address nobody has */
#define RESOLVES   64
#define SETTLE     (40 * PX_SEC) /* QUIC's idle timeout, a pause, a handshake */
#define STILL_MAX  200000        /* steps without time passing */
#define GROUPS_MAX 3

struct swarm;

struct resolve {
    struct px_peer_id id;
    uint64_t token;
    uint8_t number;
};

struct node {
    struct swarm *swarm;
    size_t index;
    struct sim_node *home, *second; /* two addresses of one machine */
    struct px_identity identity;
    struct px_test_rng rng;
    struct px_overlay *overlay; /* NULL: not running */
    struct px_peer_manager *manager;
    bool asleep, dirty, hears; /* knows no addresses: is dialled only */
    bool lists[ALL];           /* by index; the clone's key is node 0's */
    struct px_link *up[NODES];
    size_t dial_count, up_count, down_count, cloned_count;
    struct resolve resolves[RESOLVES];
    size_t resolve_count;
};

struct swarm {
    struct sim_net *net;
    struct node nodes[ALL];
    uint8_t group[ALL];
    size_t steps, still;
    bool lossy;
};

static size_t index_of(const struct swarm *s, const struct px_peer_id *id)
{
    for (size_t i = 0; i < NODES; i++)
        if (px_peer_id_eq(&s->nodes[i].identity.id, id))
            return i;
    return NODES;
}

static uint64_t dice(struct swarm *s, uint64_t sides)
{
    return px_test_rng_next(sim_net_rng(s->net)) % sides;
}

/* ---- a node: the manager's ops ---- */

static int on_dial(void *ctx, const struct px_peer_id *id, const struct px_addr *addr,
                   struct px_link **ret)
{
    struct node *n = ctx;
    const struct px_path path = {sim_addr((uint8_t)(n->index + 1)), *addr};
    n->dial_count++;
    CHECK(!px_peer_manager_calls(n->manager, id)); /* nobody pairs here */
    return px_overlay_dial(n->overlay, id, &path, NULL, sim_net_now(n->swarm->net), ret);
}

static void on_close(void *ctx, struct px_link *link, enum px_close_code code)
{
    struct node *n = ctx;
    px_link_close(link, code);
    sim_node_kick(n->home);
}

/* "node-7.sim:4433" is node number 7. */
static int on_resolve(void *ctx, const struct px_peer_id *id, const char *text, uint64_t token)
{
    struct node *n = ctx;
    unsigned number;
    CHECK(sscanf(text, "node-%u.sim:4433", &number) == 1);
    if (n->resolve_count == RESOLVES)
        return PX_EBUSY;
    n->resolves[n->resolve_count++] = (struct resolve){*id, token, (uint8_t)number};
    return 0;
}

static int on_usable(void *ctx, const struct px_addr *a)
{
    (void)ctx;
    (void)a;
    return 0;
}

static bool on_guest(void *ctx, const struct px_peer_id *id)
{
    (void)ctx;
    (void)id;
    return false;
}

static void on_connected(void *ctx, struct px_peer *p)
{
    struct node *n = ctx;
    size_t other = index_of(n->swarm, &p->id);
    CHECK(other < NODES && n->lists[other] && p->listed && !p->guest);
    CHECK(n->up[other] == NULL); /* one link a peer */
    CHECK(px_overlay_find(n->overlay, &p->id) == p->link);
    n->up[other] = p->link;
    n->up_count++;
}

static void on_disconnected(void *ctx, struct px_peer *p, int err, bool by_peer)
{
    struct node *n = ctx;
    size_t other = index_of(n->swarm, &p->id);
    (void)by_peer;
    CHECK(err != 0);
    CHECK(n->up[other] == p->link);
    n->up[other] = NULL;
    n->down_count++;
}

static void on_attempt_failed(void *ctx, const struct px_peer *p, const struct px_addr *addr,
                              const char *name, int err)
{
    (void)ctx;
    (void)addr;
    (void)name;
    CHECK(p->link == NULL && err != 0);
}

static void on_round_failed(void *ctx, const struct px_peer *p, int err)
{
    struct node *n = ctx;
    CHECK(err != 0 && p->link == NULL);
    CHECK(p->plan.due > sim_net_now(n->swarm->net) &&
          p->plan.due <= sim_net_now(n->swarm->net) + DIAL_MAX);
}

static void on_found(void *ctx, const struct px_peer *p, const struct px_addr *addr,
                     enum px_source source)
{
    (void)ctx;
    (void)p;
    (void)addr;
    (void)source;
}

static void on_good(void *ctx, const struct px_peer *p, const struct px_addr *addr)
{
    (void)ctx;
    CHECK(p->listed && addr->ip[3] != NOBODY);
}

static void on_forgotten(void *ctx, const struct px_peer_id *id)
{
    (void)ctx;
    (void)id;
}

static const struct px_peer_manager_ops manager_ops = {
    .dial = on_dial,
    .close = on_close,
    .resolve = on_resolve,
    .usable = on_usable,
    .guest = on_guest,
    .connected = on_connected,
    .disconnected = on_disconnected,
    .attempt_failed = on_attempt_failed,
    .round_failed = on_round_failed,
    .found = on_found,
    .good = on_good,
    .forgotten = on_forgotten,
};

/* ---- a node: what its overlay tells ---- */

static int on_authorize(void *ctx, const struct px_peer_id *id)
{
    return px_peer_manager_authorize(((struct node *)ctx)->manager, id);
}

static void on_up(void *ctx, struct px_link *link)
{
    struct node *n = ctx;
    struct px_path path;
    px_link_path(link, &path);
    px_peer_manager_up(n->manager, link, px_link_peer(link), &path.remote,
                       px_link_is_quic_client(link), sim_net_now(n->swarm->net));
}

static void on_down(void *ctx, struct px_link *link, int err, bool by_peer, bool was_up)
{
    struct node *n = ctx;
    (void)was_up;
    px_peer_manager_down(n->manager, link, px_link_peer(link), err, by_peer,
                         sim_net_now(n->swarm->net));
}

static void on_refused(void *ctx, const struct px_addr *remote, const struct px_peer_id *id,
                       int err, bool by_peer)
{
    (void)ctx;
    (void)remote;
    (void)id;
    (void)by_peer;
    CHECK(err != 0);
}

static const struct px_stream_ops *on_stream(void *ctx, struct px_link *link, int64_t id,
                                             uint8_t type, void **ret_ctx)
{
    (void)ctx;
    (void)link;
    (void)id;
    (void)type;
    (void)ret_ctx;
    return NULL;
}

static void on_cloned(void *ctx, const struct px_link *link)
{
    struct node *n = ctx;
    CHECK_INT(index_of(n->swarm, px_link_peer(link)), 0);
    n->cloned_count++;
}

static const struct px_overlay_ops overlay_ops = {
    .authorize = on_authorize,
    .up = on_up,
    .down = on_down,
    .refused = on_refused,
    .stream = on_stream,
    .cloned = on_cloned,
};

/* ---- a node on the network ---- */

static void node_input(void *ctx, const struct px_path *path, unsigned ecn, struct px_slice d,
                       px_nsec now)
{
    px_overlay_input(((struct node *)ctx)->overlay, path, ecn, d, now);
}

static void node_run(void *ctx, px_nsec now)
{
    struct node *n = ctx;
    n->dirty = true;
    for (; n->resolve_count > 0; n->resolve_count--) {
        const struct resolve *r = &n->resolves[n->resolve_count - 1];
        const struct px_addr addr = sim_addr(r->number);
        px_peer_manager_resolved(n->manager, &r->id, r->token, &addr, 1, 0, now);
    }
    px_peer_manager_run(n->manager, now);
    CHECK(px_peer_manager_deadline(n->manager) > now); /* no timer stays in the past */
    px_overlay_run(n->overlay, now);
}

static px_nsec node_deadline(void *ctx)
{
    struct node *n = ctx;
    if (n->resolve_count > 0)
        return sim_net_now(n->swarm->net);
    return PX_MIN(px_overlay_deadline(n->overlay), px_peer_manager_deadline(n->manager));
}

static const struct sim_node_ops node_ops = {node_input, node_run, node_deadline};

/* The second address: what comes there is for the same overlay. */
static void second_input(void *ctx, const struct px_path *path, unsigned ecn, struct px_slice d,
                         px_nsec now)
{
    struct node *n = ctx;
    node_input(n, path, ecn, d, now);
    sim_node_kick(n->home);
}

static void second_run(void *ctx, px_nsec now)
{
    (void)ctx;
    (void)now;
}

static px_nsec second_deadline(void *ctx)
{
    (void)ctx;
    return PX_NEVER;
}

static const struct sim_node_ops second_ops = {second_input, second_run, second_deadline};

static int node_send(void *ctx, const struct px_path *path, unsigned ecn, struct px_slice data,
                     size_t segment)
{
    struct node *n = ctx;
    struct px_quic_net net = sim_node_net(path->local.ip[3] >= SECOND ? n->second : n->home);
    return net.send(net.ctx, path, ecn, data, segment);
}

static void set_owner(struct node *n, bool there)
{
    sim_node_set_owner(n->home, there ? &node_ops : NULL, n);
    sim_node_set_owner(n->second, there ? &second_ops : NULL, n);
}

/* ---- allowlists ---- */

/* Which addresses a lists for b follows from the two: one, the other, both, a name, one where
 * nobody is, or none at all (but not in both directions). */
enum { HEARS = 6 };

static void put_entry(const struct swarm *s, size_t a, size_t b, struct px_buf *out)
{
    char id[PX_PEER_ID_TEXT_MAX];
    unsigned one = (unsigned)b + 1, two = one + SECOND;
    px_buf_printf(out, "%s", px_peer_id_format(&s->nodes[b].identity.id, id));
    switch (s->nodes[a].hears ? HEARS : (a * 7 + b * 3) % 6) {
    case 0:
        px_buf_printf(out, " addr=10.0.0.%u:4433", one);
        break;
    case 1:
        px_buf_printf(out, " addr=10.0.0.%u:4433 addr=10.0.0.%u:4433", two, one);
        break;
    case 2:
        px_buf_printf(out, " addr=node-%u.sim:4433 addr=10.0.0.%u:4433", one, two);
        break;
    case 3:
        px_buf_printf(out, " addr=10.0.0.%u:4433 addr=10.0.0.%u:4433", NOBODY, one);
        break;
    case 4: /* somebody else's address */
        px_buf_printf(out, " addr=10.0.0.%u:4433 addr=10.0.0.%u:4433", one % NODES + 1, one);
        break;
    case HEARS:
        break;
    default:
        if (a > b)
            px_buf_printf(out, " addr=10.0.0.%u:4433", two);
        break;
    }
    px_buf_put_cstr(out, "\n");
}

static bool has_addr(size_t a, size_t b)
{
    return (a * 7 + b * 3) % 6 != 5 || a > b;
}

static void reload(struct node *n)
{
    struct px_authorized_keys *keys;
    struct px_buf text;
    px_buf_init(&text, 1u << 20);
    for (size_t i = 0; i < NODES; i++)
        if (n->lists[i])
            put_entry(n->swarm, n->index, i, &text);
    CHECK_OK(px_authorized_keys_parse(px_buf_slice(&text), &keys));
    CHECK_INT(px_authorized_keys_error_count(keys), 0);
    px_peer_manager_reload(n->manager, keys, sim_net_now(n->swarm->net));
    px_authorized_keys_free(keys);
    px_buf_deinit(&text);
    sim_node_kick(n->home);
}

/* ---- start and end ---- */

static void start(struct node *n)
{
    struct px_rng rng = px_test_rng(&n->rng, px_test_rng_next(sim_net_rng(n->swarm->net)));
    const struct px_overlay_config oc = {
        .identity = &n->identity,
        .network = PX_SLICE_LIT("default"),
        .agent = PX_SLICE_LIT("sim/1"),
        .ops = &overlay_ops,
        .ops_ctx = n,
        .quic = {.rng = rng, .net = {node_send, n}},
        .listen = true,
    };
    const struct px_peer_manager_config mc = {
        .self = n->identity.id, .rng = rng, .dial_max = DIAL_MAX, .ops = &manager_ops, .ctx = n};
    CHECK(n->overlay == NULL);
    CHECK_OK(px_peer_manager_new(&mc, &n->manager));
    CHECK_OK(px_overlay_new(&oc, &n->overlay));
    set_owner(n, true);
    reload(n);
}

static void stop(struct node *n, bool orderly)
{
    px_peer_manager_shutdown(n->manager);
    if (orderly) {
        px_overlay_shutdown(n->overlay);
        px_overlay_run(n->overlay, sim_net_now(n->swarm->net));
    }
    set_owner(n, false);
    px_overlay_free(n->overlay);
    px_peer_manager_free(n->manager);
    n->overlay = NULL;
    n->manager = NULL;
    n->resolve_count = 0;
    n->asleep = false;
    for (size_t i = 0; i < NODES; i++)
        CHECK(n->up[i] == NULL);
}

static void fall_asleep(struct node *n)
{
    n->asleep = true;
    set_owner(n, false);
}

static void wake_up(struct node *n)
{
    px_nsec now = sim_net_now(n->swarm->net);
    n->asleep = false;
    set_owner(n, true);
    px_overlay_network_changed(n->overlay, now);
    px_peer_manager_network_changed(n->manager, now);
}

/* Mutual lists of the next few in the ring and of some others; now and then one lists another that
 * does not list it. */
static void make_lists(struct swarm *s)
{
    for (size_t a = 0; a < NODES; a++) {
        for (size_t d = 1; d <= 2; d++) {
            size_t b = (a + d) % NODES;
            s->nodes[a].lists[b] = s->nodes[b].lists[a] = true;
        }
        size_t b = dice(s, NODES);
        if (b != a)
            s->nodes[a].lists[b] = s->nodes[b].lists[a] = true;
    }
    for (size_t a = 0; a < NODES; a += 5) {
        size_t b = dice(s, NODES);
        if (b != a && !s->nodes[b].lists[a])
            s->nodes[a].lists[b] = true;
    }
}

static bool passes(void *ctx, uint8_t from, uint8_t to)
{
    const struct swarm *s = ctx;
    return s->group[from % SECOND - 1] == s->group[to % SECOND - 1];
}

static struct swarm *swarm_new(uint64_t seed, const struct sim_weather *weather)
{
    struct swarm *s = calloc(1, sizeof(*s));
    CHECK(s != NULL);
    CHECK_OK(px_crypto_init());
    s->net = sim_net_new(seed, weather);
    s->lossy = weather->loss > 0;
    sim_net_set_filter(s->net, passes, s);
    for (size_t i = 0; i < ALL; i++) {
        struct node *n = &s->nodes[i];
        n->swarm = s;
        n->index = i;
        n->home = sim_node_new(s->net, (uint8_t)(i + 1));
        n->second = sim_node_new(s->net, (uint8_t)(i + 1 + SECOND));
        struct px_rng rng = px_test_rng(&n->rng, seed * 1000 + i % NODES);
        px_identity_generate(&rng, &n->identity);
    }
    make_lists(s);
    memcpy(s->nodes[CLONE].lists, s->nodes[0].lists, sizeof(s->nodes[0].lists));
    return s;
}

static void swarm_free(struct swarm *s)
{
    for (size_t i = 0; i < ALL; i++)
        if (s->nodes[i].overlay != NULL)
            stop(&s->nodes[i], dice(s, 2) == 0);
    for (size_t i = 0; i < ALL; i++)
        px_identity_wipe(&s->nodes[i].identity);
    sim_net_free(s->net);
    free(s);
}

/* ---- what must always hold ---- */

static void check_link(void *ctx, struct px_link *link)
{
    struct node *n = ctx;
    size_t other = index_of(n->swarm, px_link_peer(link));
    struct px_peer *p = px_peer_manager_find(n->manager, px_link_peer(link));
    CHECK(other < NODES && p != NULL);
    /* up for the overlay is up for the manager, and the only one */
    CHECK(n->up[other] == link && p->link == link);
    CHECK(n->lists[other]);
}

static void check_node(struct node *n)
{
    if (n->overlay == NULL || !n->dirty)
        return;
    n->dirty = false;
    px_overlay_each(n->overlay, check_link, n);
}

/* One step; false when nothing more happens until then. */
static bool step(struct swarm *s, px_nsec until)
{
    px_nsec before = sim_net_now(s->net);
    bool more = sim_net_step(s->net, until);
    s->steps++;
    s->still = sim_net_now(s->net) == before ? s->still + 1 : 0;
    CHECK(s->still < STILL_MAX);
    for (size_t i = 0; i < ALL; i++)
        check_node(&s->nodes[i]);
    return more;
}

static void run(struct swarm *s, px_nsec time)
{
    px_nsec until = sim_net_now(s->net) + time;
    while (step(s, until))
        ;
}

/* Runs, awake and in one network, the nodes list each other? */
static bool should_be_linked(const struct swarm *s, size_t a, size_t b)
{
    const struct node *x = &s->nodes[a], *y = &s->nodes[b];
    return x->overlay != NULL && y->overlay != NULL && !x->asleep && !y->asleep &&
           s->group[a] == s->group[b] && x->lists[b] && y->lists[a] &&
           (has_addr(a, b) || has_addr(b, a));
}

static bool all_linked(const struct swarm *s)
{
    for (size_t a = 0; a < NODES; a++)
        for (size_t b = 0; b < a; b++)
            if (should_be_linked(s, a, b) &&
                (s->nodes[a].up[b] == NULL || s->nodes[b].up[a] == NULL))
                return false;
    return true;
}

/* Everybody who can be is linked within that time, and stays so. */
static void settles(struct swarm *s, px_nsec limit)
{
    px_nsec until = sim_net_now(s->net) + limit;
    while (!all_linked(s) && step(s, until))
        ;
    if (!all_linked(s))
        for (size_t a = 0; a < NODES; a++)
            for (size_t b = 0; b < NODES; b++)
                if (should_be_linked(s, a, b) && s->nodes[a].up[b] == NULL)
                    printf("# %zu is not linked to %zu\n", a, b);
    CHECK(all_linked(s));
}

static size_t downs(const struct swarm *s, size_t first)
{
    size_t n = 0;
    for (size_t i = first; i < NODES; i++)
        n += s->nodes[i].down_count;
    return n;
}

/* ---- what happens to them ---- */

static void join_all(struct swarm *s)
{
    for (size_t i = 0; i < NODES; i++) {
        start(&s->nodes[i]);
        run(s, dice(s, 200 * PX_MSEC));
    }
    settles(s, 20 * PX_SEC);
    size_t before = downs(s, 0);
    run(s, 30 * PX_SEC); /* keep-alives and nothing else */
    CHECK_INT(downs(s, 0), before);
    CHECK(all_linked(s));
}

static void split_and_heal(struct swarm *s, px_nsec time)
{
    for (size_t i = 0; i < ALL; i++)
        s->group[i] = (uint8_t)dice(s, GROUPS_MAX);
    run(s, time);
    settles(s, SETTLE); /* inside each part */
    memset(s->group, 0, sizeof(s->group));
    settles(s, SETTLE);
}

static void restart_some(struct swarm *s)
{
    for (size_t k = 0; k < 12; k++) {
        struct node *n = &s->nodes[dice(s, NODES)];
        if (n->overlay != NULL)
            stop(n, dice(s, 2) == 0);
        run(s, dice(s, 300 * PX_MSEC));
        if (n->overlay == NULL && dice(s, 3) != 0)
            start(n);
    }
    run(s, 3 * PX_SEC);
    for (size_t i = 0; i < NODES; i++)
        if (s->nodes[i].overlay == NULL)
            start(&s->nodes[i]);
    settles(s, SETTLE);
}

/* Clocks that jump ahead: seconds to hours pass for the sleeper at once. */
static void sleep_some(struct swarm *s)
{
    struct node *sleepers[8];
    for (size_t k = 0; k < PX_ARRAY_LEN(sleepers); k++) {
        sleepers[k] = &s->nodes[dice(s, NODES)];
        if (!sleepers[k]->asleep)
            fall_asleep(sleepers[k]);
        run(s, dice(s, 2 * PX_SEC));
    }
    run(s, dice(s, 3) == 0 ? 5 * PX_SEC : 70 * PX_SEC);
    for (size_t k = 0; k < PX_ARRAY_LEN(sleepers); k++)
        if (sleepers[k]->asleep)
            wake_up(sleepers[k]);
    settles(s, SETTLE);
}

static void revoke_and_relist(struct swarm *s)
{
    for (size_t a = 0; a < NODES; a += 7) {
        size_t b = (a + 1) % NODES;
        s->nodes[a].lists[b] = false;
        reload(&s->nodes[a]);
        run(s, 0);
        CHECK(s->nodes[a].up[b] == NULL); /* in the same turn */
    }
    run(s, PX_SEC);
    for (size_t a = 0; a < NODES && !s->lossy; a += 7) /* else the good-bye may be lost */
        CHECK(s->nodes[(a + 1) % NODES].up[a] == NULL);
    run(s, 12 * PX_SEC);
    for (size_t a = 0; a < NODES; a += 7) {
        CHECK(s->lossy || s->nodes[(a + 1) % NODES].up[a] == NULL);
        s->nodes[a].lists[(a + 1) % NODES] = true;
        reload(&s->nodes[a]);
    }
    settles(s, SETTLE);
}

static size_t count_cloned(const struct swarm *s)
{
    size_t n = 0;
    for (size_t i = 0; i < ALL; i++)
        n += s->nodes[i].cloned_count;
    return n;
}

static void clone_one(struct swarm *s)
{
    size_t links[NODES] = {0}, strangers = 0;
    for (size_t i = 1; i < NODES; i++)
        if (!s->nodes[0].lists[i] && !s->nodes[i].lists[0])
            links[i] = s->nodes[i].down_count + 1;
    CHECK_INT(count_cloned(s), 0);
    start(&s->nodes[CLONE]);
    run(s, 90 * PX_SEC);
    CHECK(count_cloned(s) > 0);
    for (size_t i = 1; i < NODES; i++) {
        if (links[i] == 0)
            continue;
        CHECK_INT(s->nodes[i].down_count + 1, links[i]); /* nobody else notices */
        strangers++;
    }
    CHECK(strangers > NODES / 2);
    stop(&s->nodes[CLONE], true);
    settles(s, SETTLE);
}

static void live(uint64_t seed, const struct sim_weather *weather, bool clone)
{
    struct swarm *s = swarm_new(seed, weather);
    join_all(s);
    split_and_heal(s, 45 * PX_SEC); /* longer than QUIC waits */
    restart_some(s);
    split_and_heal(s, 5 * PX_SEC); /* shorter */
    sleep_some(s);
    revoke_and_relist(s);
    if (clone)
        clone_one(s);
    swarm_free(s);
}

/* Two nodes far apart: every attempt of both races is under way before the first one is through. */
static void race_far(uint64_t seed, const struct sim_weather *weather, bool both_dial)
{
    struct swarm *s = swarm_new(seed, weather);
    struct node *a = &s->nodes[1], *b = &s->nodes[0];
    memset(a->lists, 0, sizeof(a->lists));
    memset(b->lists, 0, sizeof(b->lists));
    a->lists[0] = b->lists[1] = true; /* a knows two addresses of b, b one good one of a */
    b->hears = !both_dial;
    start(b);
    run(s, dice(s, 400 * PX_MSEC));
    start(a);
    settles(s, 40 * PX_SEC);
    CHECK(both_dial || a->dial_count >= 2);
    run(s, 60 * PX_SEC);
    CHECK(all_linked(s));
    if (!s->lossy && !both_dial) {
        CHECK_INT(a->up_count, 1); /* the loser never comes up */
        CHECK_INT(b->up_count, 1);
    }
    CHECK(a->up_count <= 3 && b->up_count <= 3);
    swarm_free(s);
}

TEST(several_attempts_of_one_race_that_reach_the_peer_make_one_link)
{
    static const struct sim_weather far = {.delay = 300 * PX_MSEC, .jitter = 100 * PX_MSEC};
    static const struct sim_weather far_and_lossy = {
        .delay = 200 * PX_MSEC, .jitter = 300 * PX_MSEC, .loss = 30, .dup = 20, .reorder = 100};
    for (uint64_t i = 0; i < sim_seeds(8); i++) {
        race_far(300 + i, &far, false);
        race_far(400 + i, &far, true);
        race_far(500 + i, &far_and_lossy, i % 2 == 0);
    }
}

TEST(fifty_nodes_find_together_again_whatever_happens)
{
    static const struct sim_weather lossy = {
        .delay = 10 * PX_MSEC, .jitter = 5 * PX_MSEC, .loss = 20, .dup = 10, .reorder = 20};
    for (uint64_t i = 0; i < sim_seeds(1); i++) {
        live(100 + i, &sim_jittery, true);
        live(200 + i, &lossy, false);
    }
}

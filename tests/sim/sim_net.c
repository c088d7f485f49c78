/* See sim_net.h. */
#include "tests/sim/sim_net.h"

#include <stdlib.h>

#include "proto/base/heap.h"

#define NODES_MAX     128
#define DATAGRAM_MAX  1472
#define IN_FLIGHT_MAX (1u << 16)

struct flight {
    struct px_heap_node due;
    struct sim_node *to;
    struct px_path path; /* as the receiver sees it */
    struct px_addr sent_to;
    unsigned ecn;
    size_t len;
    uint8_t data[];
};

struct sim_node {
    struct sim_net *net;
    uint8_t number;
    struct px_addr address; /* its own */
    uint16_t mapped;        /* 0, or the port that the world sees */
    uint16_t forged;        /* 0, or the source port of what it sends */
    const struct sim_node_ops *ops;
    void *ctx;
    bool kicked, deaf;
    px_nsec last_arrival; /* in-order datagrams arrive after this */
    px_nsec busy_until;   /* of the link towards it, where the rate is limited */
};

struct circuit {
    struct px_addr addr;
    struct sim_node *ends[2];
    bool up;
};

struct sim_net {
    struct px_test_rng rng;
    struct sim_weather weather;
    px_nsec now;
    struct sim_node nodes[NODES_MAX];
    size_t node_count;
    struct px_heap flights;
    uint64_t delivered, dropped, astray;
    bool (*passes)(void *ctx, uint8_t from, uint8_t to);
    void *passes_ctx;
    struct circuit circuits[SIM_CIRCUITS_MAX];
    size_t circuit_count;
};

struct sim_net *sim_net_new(uint64_t seed, const struct sim_weather *weather)
{
    struct sim_net *n = calloc(1, sizeof(*n));
    px_assert(n != NULL);
    px_test_rng(&n->rng, seed);
    n->weather = *weather;
    n->now = 1000 * PX_SEC;
    px_heap_init(&n->flights);
    int err = px_heap_reserve(&n->flights, IN_FLIGHT_MAX);
    px_assert(err == 0);
    return n;
}

static struct flight *top(const struct sim_net *n)
{
    struct px_heap_node *h = px_heap_top(&n->flights);
    return h == NULL ? NULL : PX_CONTAINER_OF(h, struct flight, due);
}

void sim_net_free(struct sim_net *n)
{
    struct flight *f;
    while ((f = top(n)) != NULL) {
        px_heap_remove(&n->flights, &f->due);
        free(f);
    }
    px_heap_deinit(&n->flights);
    free(n);
}

void sim_net_set_weather(struct sim_net *n, const struct sim_weather *weather)
{
    n->weather = *weather;
}

void sim_net_set_filter(struct sim_net *n, bool (*passes)(void *ctx, uint8_t from, uint8_t to),
                        void *ctx)
{
    n->passes = passes;
    n->passes_ctx = ctx;
}

px_nsec sim_net_now(const struct sim_net *n)
{
    return n->now;
}

struct px_test_rng *sim_net_rng(struct sim_net *n)
{
    return &n->rng;
}

uint64_t sim_net_delivered(const struct sim_net *n)
{
    return n->delivered;
}

uint64_t sim_net_astray(const struct sim_net *n)
{
    return n->astray;
}

uint64_t sim_net_dropped(const struct sim_net *n)
{
    return n->dropped;
}

struct px_addr sim_addr(uint8_t number)
{
    struct px_addr a;
    memset(&a, 0, sizeof(a));
    a.family = PX_ADDR_IP4;
    a.ip[0] = 10;
    a.ip[3] = number;
    a.port = 4433;
    return a;
}

struct px_path sim_path(uint8_t from, uint8_t to)
{
    return (struct px_path){sim_addr(from), sim_addr(to)};
}

struct sim_node *sim_node_new(struct sim_net *n, uint8_t number)
{
    px_assert(n->node_count < NODES_MAX);
    struct sim_node *s = &n->nodes[n->node_count++];
    *s = (struct sim_node){.net = n, .number = number, .address = sim_addr(number)};
    return s;
}

void sim_node_set_owner(struct sim_node *s, const struct sim_node_ops *ops, void *ctx)
{
    s->ops = ops;
    s->ctx = ctx;
    s->kicked = ops != NULL;
}

void sim_node_set_deaf(struct sim_node *s, bool deaf)
{
    s->deaf = deaf;
}

void sim_node_kick(struct sim_node *s)
{
    s->kicked = true;
}

void sim_node_set_address(struct sim_node *s, const struct px_addr *address)
{
    s->address = address != NULL ? *address : sim_addr(s->number);
}

void sim_node_set_mapping(struct sim_node *s, uint16_t port)
{
    s->mapped = port;
}

void sim_node_forge(struct sim_node *s, uint16_t port)
{
    s->forged = port;
}

/* As the world sees it. */
static struct px_addr outside(const struct sim_node *s)
{
    struct px_addr a = s->address;
    a.port = s->mapped != 0 ? s->mapped : a.port;
    return a;
}

static struct sim_node *node_at(struct sim_net *n, const struct px_addr *a)
{
    for (size_t i = 0; i < n->node_count; i++) {
        struct px_addr there = outside(&n->nodes[i]);
        if (px_addr_eq(&there, a))
            return &n->nodes[i];
    }
    return NULL;
}

/* Any address, or the one it has. */
static bool may_send_from(const struct sim_node *s, const struct px_addr *local)
{
    static const uint8_t any[16];
    return px_addr_eq(local, &s->address) ||
           (local->port == s->address.port && memcmp(local->ip, any, sizeof(any)) == 0);
}

static bool dice(struct sim_net *n, unsigned of_1000)
{
    return of_1000 > 0 && px_test_rng_next(&n->rng) % 1000 < of_1000;
}

/* When the last byte has passed the bottleneck; false when its queue is full. */
static bool pass_bottleneck(struct sim_node *to, size_t len, px_nsec *ret)
{
    const struct sim_weather *w = &to->net->weather;
    px_nsec start = PX_MAX(to->net->now, to->busy_until);
    if (w->rate == 0) {
        *ret = to->net->now;
        return true;
    }
    if ((start - to->net->now) * w->rate / PX_SEC > w->queue)
        return false;
    to->busy_until = start + len * PX_SEC / w->rate;
    *ret = to->busy_until;
    return true;
}

static struct px_path arriving_path(const struct sim_node *from, const struct sim_node *to,
                                    const struct px_addr *sent_to)
{
    struct px_path path = {to->address, outside(from)};
    if (from->forged != 0)
        path.remote.port = from->forged;
    if (px_addr_is_circuit(sent_to)) {
        path.local = (struct px_addr){.family = PX_ADDR_CIRCUIT, .port = to->address.port};
        path.remote = *sent_to;
    }
    return path;
}

static void launch(const struct sim_node *from, struct sim_node *to, unsigned ecn,
                   const struct px_addr *sent_to, struct px_slice data, px_nsec at)
{
    struct sim_net *n = to->net;
    const struct sim_weather *w = &n->weather;
    at += w->delay + (w->jitter > 0 ? px_test_rng_next(&n->rng) % w->jitter : 0);
    if (dice(n, w->reorder)) {
        at += px_test_rng_next(&n->rng) % (w->delay + PX_MSEC) * 2;
    } else {
        at = PX_MAX(at, to->last_arrival + 1);
        to->last_arrival = at;
    }
    struct flight *f = malloc(sizeof(*f) + data.len);
    px_assert(f != NULL && n->flights.len < IN_FLIGHT_MAX);
    f->due = (struct px_heap_node){0};
    f->to = to;
    f->path = arriving_path(from, to, sent_to);
    f->sent_to = outside(to);
    f->ecn = ecn;
    f->len = data.len;
    memcpy(f->data, data.data, data.len);
    px_heap_set(&n->flights, &f->due, at);
}

static struct circuit *circuit_at(struct sim_net *n, const struct px_addr *addr)
{
    for (size_t i = 0; i < n->circuit_count; i++)
        if (px_addr_eq(&n->circuits[i].addr, addr))
            return &n->circuits[i];
    return NULL;
}

/* Who gets what is sent there; NULL: nobody. */
static struct sim_node *receiver(struct sim_node *from, const struct px_path *path)
{
    struct sim_net *n = from->net;
    const struct circuit *c = circuit_at(n, &path->remote);
    if (c != NULL)
        return c->up ? c->ends[c->ends[0] == from] : NULL;
    struct sim_node *to = node_at(n, &path->remote);
    bool lost =
        to != NULL && n->passes != NULL && !n->passes(n->passes_ctx, from->number, to->number);
    return lost || !may_send_from(from, &path->local) ? NULL : to;
}

static void send_one(struct sim_node *from, const struct px_path *path, unsigned ecn,
                     struct px_slice data)
{
    struct sim_net *n = from->net;
    struct sim_node *to = receiver(from, path);
    bool nobody = node_at(n, &path->remote) == NULL && circuit_at(n, &path->remote) == NULL;
    px_nsec at;
    n->astray += nobody ? data.len : 0;
    if (to == NULL || to->deaf || data.len > DATAGRAM_MAX || dice(n, n->weather.loss) ||
        !pass_bottleneck(to, data.len, &at)) {
        n->dropped++;
        return;
    }
    launch(from, to, ecn, &path->remote, data, at);
    if (dice(n, n->weather.dup))
        launch(from, to, ecn, &path->remote, data, at);
}

static int node_send(void *ctx, const struct px_path *path, unsigned ecn, struct px_slice data,
                     size_t segment)
{
    struct sim_node *s = ctx;
    for (; data.len > 0; data = px_slice_skip(data, segment))
        send_one(s, path, ecn, px_slice_take(data, segment));
    return 0;
}

struct px_addr sim_net_circuit(struct sim_net *n, struct sim_node *a, struct sim_node *b)
{
    px_assert(n->circuit_count < SIM_CIRCUITS_MAX);
    struct circuit *c = &n->circuits[n->circuit_count++];
    px_addr_circuit(n->circuit_count, &c->addr);
    c->ends[0] = a;
    c->ends[1] = b;
    c->up = true;
    return c->addr;
}

void sim_net_set_circuit(struct sim_net *n, const struct px_addr *circuit, bool up)
{
    struct circuit *c = circuit_at(n, circuit);
    px_assert(c != NULL);
    c->up = up;
}

struct px_quic_net sim_node_net(struct sim_node *s)
{
    return (struct px_quic_net){node_send, s};
}

static px_nsec next_event(struct sim_net *n)
{
    px_nsec at = top(n) != NULL ? top(n)->due.key : PX_NEVER;
    for (size_t i = 0; i < n->node_count; i++) {
        struct sim_node *s = &n->nodes[i];
        if (s->ops == NULL)
            continue;
        at = PX_MIN(at, s->kicked ? n->now : s->ops->deadline(s->ctx));
    }
    return at == PX_NEVER ? at : PX_MAX(at, n->now);
}

static void arrive(struct sim_net *n, struct flight *f)
{
    struct px_addr there = outside(f->to);
    px_heap_remove(&n->flights, &f->due);
    if (f->to->ops != NULL && px_addr_eq(&there, &f->sent_to)) {
        f->to->ops->input(f->to->ctx, &f->path, f->ecn, px_slice(f->data, f->len), n->now);
        f->to->kicked = true;
        n->delivered++;
    }
    free(f);
}

bool sim_net_step(struct sim_net *n, px_nsec until)
{
    px_nsec at = next_event(n);
    if (at > until) {
        n->now = PX_MAX(n->now, until);
        return false;
    }
    n->now = at;
    for (struct flight *f = top(n); f != NULL && f->due.key <= n->now; f = top(n))
        arrive(n, f);
    for (size_t i = 0; i < n->node_count; i++) {
        struct sim_node *s = &n->nodes[i];
        if (s->ops == NULL || (!s->kicked && s->ops->deadline(s->ctx) > n->now))
            continue;
        s->kicked = false;
        s->ops->run(s->ctx, n->now);
    }
    return true;
}

/* Every backend of discovery keeps the same contract: two nodes that list each other are found, at
 * the address and port of the other; a third that is not listed is not; what changes is followed;
 * closing ends everything. Loopback is the link here. */
#include "node/discovery.h"

#include <stdlib.h>

#include "node/lan_addrs.h"
#include "node/lan_io.h"
#include "node/mdns.h"
#include "tests/unit/node/lan_fixture.h"

#define PATIENCE (8 * PX_SEC)

enum { ALICE = 1, BOB, CAROL, NODES };

struct member {
    struct px_identity identity;
    struct px_authorized_keys *keys;
    struct px_discovery *backend;
    struct px_discovery_env env;
    unsigned found[NODES]; /* how often each was */
    struct px_addr at[NODES];
    enum px_source source;
    uint64_t recognised;
    bool closed;
};

struct link {
    uv_loop_t loop;
    struct px_net_monitor *monitor;
    struct member members[NODES];
    uint16_t lan_port;
};

struct backend {
    const char *name;
    enum px_source source;
    int (*start)(const struct px_discovery_env *env, const struct link *link,
                 struct px_discovery **ret);
    const char *needs; /* an environment variable without which there is nobody to talk to */
};

static int start_multicast(const struct px_discovery_env *env, const struct link *link,
                           struct px_discovery **ret)
{
    struct px_lan_io_config c = {.port = link->lan_port, .loopback = true};
    return px_lan_io_new(env, &c, ret);
}

static int start_mdns(const struct px_discovery_env *env, const struct link *link,
                      struct px_discovery **ret)
{
    struct px_mdns_config c = {.loopback = true};
    (void)link;
    return px_mdns_new(env, &c, ret);
}

/* e2e_mdns.sh runs this program beside an Avahi daemon. */
static const struct backend backends[] = {
    {"multicast", PX_SOURCE_LAN, start_multicast, NULL},
    {"mdns", PX_SOURCE_MDNS, start_mdns, "PX_TEST_AVAHI"},
};

static const struct px_authorized_keys *keys(void *ctx)
{
    return ((struct member *)ctx)->keys;
}

static void on_found(void *ctx, const struct px_peer_id *id, const struct px_addr *addr,
                     enum px_source source)
{
    struct member *m = ctx;
    for (uint64_t i = ALICE; i < NODES; i++) {
        struct px_identity who;
        px_test_identity(i, &who);
        if (!px_peer_id_eq(&who.id, id))
            continue;
        m->found[i]++;
        m->at[i] = *addr;
        m->source = source;
    }
}

static void on_closed(void *ctx)
{
    ((struct member *)ctx)->closed = true;
}

static void list(struct member *m, uint64_t first, size_t count)
{
    px_authorized_keys_free(m->keys);
    m->keys = px_test_list(first, count);
    if (m->backend != NULL)
        m->backend->ops->keys_changed(m->backend);
}

/* False when the backend was not built. */
static bool join(struct link *l, const struct backend *b, uint64_t who, const char *listen)
{
    struct member *m = &l->members[who];
    px_test_identity(who, &m->identity);
    m->env = (struct px_discovery_env){.loop = &l->loop,
                                       .identity = &m->identity,
                                       .monitor = l->monitor,
                                       .local = px_test_addr(listen),
                                       .network = PX_SLICE_LIT("default"),
                                       .keys = keys,
                                       .found = on_found,
                                       .ctx = m};
    int err = b->start(&m->env, l, &m->backend);
    if (err == PX_EUNSUPPORTED && b->source == PX_SOURCE_MDNS)
        return false;
    CHECK_OK(err);
    CHECK_INT(m->backend->source, b->source);
    return true;
}

static struct link *open_link(uint16_t lan_port)
{
    struct link *l = calloc(1, sizeof(*l));
    CHECK(l != NULL && px_crypto_init() == 0);
    CHECK(uv_loop_init(&l->loop) == 0);
    CHECK_OK(px_net_monitor_new(&l->loop, NULL, &l->monitor));
    l->lan_port = lan_port;
    return l;
}

/* Turns until *a is at least `count`. */
static bool turn_until(struct link *l, const unsigned *a, unsigned count)
{
    uint64_t end = uv_hrtime() + PATIENCE;
    while (*a < count && uv_hrtime() < end)
        (void)uv_run(&l->loop, UV_RUN_ONCE);
    return *a >= count;
}

static void leave(struct link *l, uint64_t who)
{
    struct member *m = &l->members[who];
    m->backend->ops->close(m->backend, on_closed, m);
    m->backend = NULL;
    uint64_t end = uv_hrtime() + PATIENCE;
    while (!m->closed && uv_hrtime() < end)
        (void)uv_run(&l->loop, UV_RUN_ONCE);
    CHECK(m->closed);
    px_authorized_keys_free(m->keys);
}

static void close_link(struct link *l)
{
    px_net_monitor_close(l->monitor);
    (void)uv_run(&l->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&l->loop) == 0);
    free(l);
}

static void each_stat(void *ctx, const char *name, uint64_t value)
{
    struct member *m = ctx;
    if (strcmp(name, "recognised") == 0)
        m->recognised = value;
}

static uint64_t recognised(struct member *m)
{
    m->recognised = UINT64_MAX;
    m->backend->ops->stats(m->backend, each_stat, m);
    CHECK(m->recognised != UINT64_MAX);
    return m->recognised;
}

static void nodes_that_list_each_other_meet(const struct backend *b)
{
    struct link *l = open_link(34561);
    struct member *alice = &l->members[ALICE], *bob = &l->members[BOB], *carol = &l->members[CAROL];
    struct px_addr want = px_test_addr("127.0.0.1:4001");
    list(alice, BOB, 1);
    list(bob, ALICE, 1);
    list(carol, ALICE, 2); /* lists both, listed by none */
    CHECK(join(l, b, CAROL, "127.0.0.1:4003"));
    CHECK(join(l, b, ALICE, "127.0.0.1:4001"));
    CHECK(join(l, b, BOB, "127.0.0.1:4002"));
    CHECK(turn_until(l, &alice->found[BOB], 1) && turn_until(l, &bob->found[ALICE], 1));
    CHECK(px_addr_eq(&bob->at[ALICE], &want));
    CHECK_INT(bob->source, b->source);
    CHECK(recognised(alice) > 0 && recognised(carol) == 0);
    /* a new entry on both sides is followed without a restart */
    list(alice, BOB, 2);
    list(carol, ALICE, 2);
    CHECK(turn_until(l, &alice->found[CAROL], 1) && turn_until(l, &carol->found[ALICE], 1));
    CHECK_INT(carol->found[BOB], 0);
    CHECK_INT(bob->found[CAROL], 0);
    leave(l, ALICE), leave(l, BOB), leave(l, CAROL);
    close_link(l);
}

static void a_restarted_node_is_found_again(const struct backend *b)
{
    struct link *l = open_link(34562);
    struct member *alice = &l->members[ALICE], *bob = &l->members[BOB];
    struct px_addr want = px_test_addr("127.0.0.1:4009");
    list(alice, BOB, 1);
    list(bob, ALICE, 1);
    CHECK(join(l, b, ALICE, "127.0.0.1:4001"));
    CHECK(join(l, b, BOB, "127.0.0.1:4002"));
    CHECK(turn_until(l, &bob->found[ALICE], 1));
    leave(l, ALICE);
    memset(alice, 0, sizeof(*alice));
    list(alice, BOB, 1);
    CHECK(join(l, b, ALICE, "127.0.0.1:4009"));
    uint64_t end = uv_hrtime() + PATIENCE;
    while (!px_addr_eq(&bob->at[ALICE], &want) && uv_hrtime() < end)
        (void)uv_run(&l->loop, UV_RUN_ONCE);
    CHECK(px_addr_eq(&bob->at[ALICE], &want));
    CHECK(turn_until(l, &alice->found[BOB], 1));
    leave(l, ALICE), leave(l, BOB);
    close_link(l);
}

static void refreshing_and_closing_at_any_time_is_harmless(const struct backend *b)
{
    struct link *l = open_link(34563);
    struct member *alice = &l->members[ALICE];
    list(alice, BOB, 1);
    if (!join(l, b, ALICE, "127.0.0.1:4001")) {
        px_authorized_keys_free(alice->keys);
        close_link(l);
        return;
    }
    for (unsigned i = 0; i < 20; i++) {
        alice->backend->ops->refresh(alice->backend);
        (void)uv_run(&l->loop, UV_RUN_NOWAIT);
    }
    list(alice, ALICE, 1); /* nobody but itself */
    leave(l, ALICE);
    close_link(l);
}

static void each_backend(void (*run)(const struct backend *b), bool needs_others)
{
    for (size_t i = 0; i < PX_ARRAY_LEN(backends); i++) {
        const struct backend *b = &backends[i];
        if (needs_others && b->needs != NULL && getenv(b->needs) == NULL)
            continue;
        run(b);
    }
}

TEST(nodes_that_list_each_other_meet_and_others_do_not)
{
    each_backend(nodes_that_list_each_other_meet, true);
}

TEST(a_restarted_node_is_found_at_its_new_address)
{
    each_backend(a_restarted_node_is_found_again, true);
}

TEST(refresh_and_close_are_harmless_at_any_time)
{
    each_backend(refreshing_and_closing_at_any_time_is_harmless, false);
}

/* ---- which addresses are announced ---- */

static struct px_net_addr net(const char *addr, unsigned ifindex, const char *flags)
{
    struct px_net_addr a = {.addr = px_test_addr(addr), .ifindex = ifindex, .prefix = 24};
    a.loopback = strchr(flags, 'l') != NULL;
    a.multicast = strchr(flags, 'm') != NULL;
    a.running = strchr(flags, 'r') != NULL;
    a.point_to_point = strchr(flags, 'p') != NULL;
    return a;
}

TEST(addresses_of_links_with_carrier_are_announced)
{
    const struct px_net_addr all[] = {
        net("127.0.0.1:0", 1, "lr"),   net("[::1]:0", 1, "lr"),         net("10.0.0.1:0", 2, "mr"),
        net("[fe80::1%2]:0", 2, "mr"), net("[2001:db8::1]:0", 2, "mr"), net("10.1.0.1:0", 3, "m"),
        net("10.2.0.1:0", 4, "mrp"),   net("10.3.0.1:0", 5, "r"),
    };
    static const struct {
        const char *local;
        bool loopback;
        size_t count;
        const char *first;
    } cases[] = {
        {"[::]:9", false, 2, "10.0.0.1:0"},
        {"0.0.0.0:9", false, 1, "10.0.0.1:0"},
        {"10.0.0.1:9", false, 1, "10.0.0.1:0"},
        {"10.9.9.9:9", false, 0, NULL},
        {"[2001:db8::1]:9", false, 1, "[2001:db8::1]:0"},
        {"127.0.0.1:9", false, 0, NULL},
        {"127.0.0.1:9", true, 1, "127.0.0.1:0"},
        {"[::]:9", true, 2, "127.0.0.1:0"},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(cases); i++) {
        struct px_addr local = px_test_addr(cases[i].local);
        struct px_lan_addrs got;
        char text[PX_ADDR_TEXT_MAX];
        px_lan_addrs_pick(all, PX_ARRAY_LEN(all), &local, cases[i].loopback, &got);
        CHECK_INT(got.count, cases[i].count);
        if (cases[i].count > 0)
            CHECK_STR(px_addr_format(&got.all[0].addr, text), cases[i].first);
    }
}

TEST(no_more_interfaces_are_used_than_a_socket_can_join)
{
    struct px_net_addr all[40];
    struct px_addr local = px_test_addr("[::]:9");
    struct px_lan_addrs got;
    for (unsigned i = 0; i < PX_ARRAY_LEN(all); i++) {
        all[i] = net("10.0.0.1:0", 10 + i / 2, "mr");
        all[i].addr.ip[3] = (uint8_t)i;
    }
    px_lan_addrs_pick(all, PX_ARRAY_LEN(all), &local, false, &got);
    CHECK_INT(got.count, 2 * PX_LAN_INTERFACES_MAX);
}

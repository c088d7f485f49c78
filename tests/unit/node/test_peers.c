/* The peers of running nodes: several of them on real sockets of the loopback interface, in one
 * loop. */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/nix/cache_service.h"
#include "node/peers_internal.h" /* to be close to limits that three peers do not reach */
#include "node/state_db.h"
#include "tests/test.h"
#include "transport/stream.h"

#include "tests/unit/node/fake_store.c"

/* Stands for node/net_monitor: everything is on the link, or nothing is. */
struct px_net_monitor {
    bool on_link;
};

bool px_net_monitor_on_link(const struct px_net_monitor *m, const struct px_addr *a)
{
    (void)a;
    return m->on_link;
}

#define SIDES_MAX   3
#define LOG_MAX     (256u * 1024)
#define WAIT_MAX_MS 20000
#define TYPE_OPEN   0x70 /* a stream type whose handler takes guests */
#define TYPE_CLOSED 0x71 /* and one whose does not */

struct world;

struct side {
    struct world *world;
    struct px_identity identity;
    char id[PX_PEER_ID_TEXT_MAX], dir[64], *list;
    struct px_log log;
    struct px_buf text; /* what was logged */
    struct px_allowlist *allowlist;
    struct px_store store;
    struct px_cache_service *service;
    struct px_peers *peers;
    char addr[PX_ADDR_TEXT_MAX];
    struct px_net_monitor *monitor; /* NULL: none */
    bool guests_welcome;
    int open_streams, closed_streams; /* that came in */
    int gone;
    /* outcomes */
    int done_count, done_err, pings, ping_err;
    px_nsec rtt;
    struct px_link *guest_link;
    int guest_failed, guest_downs;
};

struct world {
    uv_loop_t loop;
    struct side sides[SIDES_MAX];
    uv_timer_t limit;
    bool late;
    int closing;
};

/* ---- set-up ---- */

static void on_log(void *ctx, enum px_log_level level, const char *event,
                   const struct px_log_field *fields, size_t count)
{
    struct side *s = ctx;
    CHECK_OK(px_log_format(&s->text, level, event, fields, count, false));
    px_buf_put_u8(&s->text, '\n');
}

static bool logged(const struct side *s, const char *what)
{
    return memmem(s->text.data, s->text.len, what, strlen(what)) != NULL;
}

/* Writes the allowlist: lines "ID options". */
static void write_list(struct side *s, const char *text)
{
    FILE *f = fopen(s->list, "w");
    CHECK(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void list_one(struct side *s, const struct side *other, const char *options)
{
    char line[512];
    snprintf(line, sizeof(line), "%s %s\n", other->id, options);
    write_list(s, line);
}

static void on_list_changed(void *ctx)
{
    struct side *s = ctx;
    if (s->peers != NULL)
        px_peers_reload(s->peers);
}

static void side_init(struct world *w, size_t n)
{
    struct side *s = &w->sides[n];
    struct px_test_rng seed;
    struct px_rng rng = px_test_rng(&seed, 77 + n);
    s->world = w;
    px_identity_generate(&rng, &s->identity);
    px_peer_id_format(&s->identity.id, s->id);
    snprintf(s->dir, sizeof(s->dir), "/tmp/px-test-peers.XXXXXX");
    CHECK(mkdtemp(s->dir) != NULL);
    CHECK(asprintf(&s->list, "%s/authorized_keys", s->dir) > 0);
    write_list(s, "");
    px_buf_init(&s->text, LOG_MAX);
    s->log = (struct px_log){.level = PX_LOG_DEBUG, .emit = on_log, .ctx = s};
}

static struct world *world_new(void)
{
    struct world *w = calloc(1, sizeof(*w));
    CHECK(w != NULL);
    CHECK_OK(px_crypto_init());
    CHECK_INT(uv_loop_init(&w->loop), 0);
    CHECK_INT(uv_timer_init(&w->loop, &w->limit), 0);
    w->limit.data = w;
    for (size_t i = 0; i < SIDES_MAX; i++)
        side_init(w, i);
    return w;
}

static void on_gone(void *ctx, struct px_cache_peer *peer)
{
    (void)peer;
    ((struct side *)ctx)->gone++;
}

static void on_ready(void *ctx, struct px_cache_peer *peer)
{
    (void)ctx;
    (void)peer;
}

static bool on_guest(void *ctx, const struct px_peer_id *id)
{
    (void)id;
    return ((struct side *)ctx)->guests_welcome;
}

static const struct px_stream_ops *on_open_stream(void *ctx, struct px_link *link, int64_t id,
                                                  void **ret_ctx)
{
    (void)link;
    (void)id;
    (void)ret_ctx;
    ((struct side *)ctx)->open_streams++;
    return NULL; /* the test wants to know that it came */
}

static const struct px_stream_ops *on_closed_stream(void *ctx, struct px_link *link, int64_t id,
                                                    void **ret_ctx)
{
    (void)link;
    (void)id;
    (void)ret_ctx;
    ((struct side *)ctx)->closed_streams++;
    return NULL;
}

static void side_start(struct side *s, enum px_mode mode, struct px_sqlite *state)
{
    struct world *w = s->world;
    CHECK_OK(px_allowlist_new(&w->loop, s->list, &s->log, on_list_changed, s, &s->allowlist));
    fake_store_init(&s->store, NULL, 0);
    const struct px_cache_service_config sc = {
        .store = &s->store, .grants = px_allowlist_grants, .grants_ctx = s->allowlist};
    CHECK_OK(px_cache_service_new(&sc, &s->service));
    struct px_peers_config c = {
        .loop = &w->loop,
        .log = &s->log,
        .identity = &s->identity,
        .allowlist = s->allowlist,
        .service = s->service,
        .network = PX_SLICE_LIT("default"),
        .dial_max = 2 * PX_SEC,
        .mode = mode,
        .monitor = s->monitor,
        .state = state,
        .guest = on_guest,
        .peer_gone = on_gone,
        .peer_ready = on_ready,
        .ctx = s,
    };
    CHECK_OK(px_addr_parse(px_slice_cstr(s->addr[0] != '\0' ? s->addr : "127.0.0.1:0"), &c.listen));
    CHECK_OK(px_peers_new(&c, &s->peers));
    px_addr_format(px_peers_local(s->peers), s->addr);
    const struct px_peer_handler open = {TYPE_OPEN, true, on_open_stream, s};
    const struct px_peer_handler closed = {TYPE_CLOSED, false, on_closed_stream, s};
    CHECK_OK(px_peers_add_handler(s->peers, &open));
    CHECK_OK(px_peers_add_handler(s->peers, &closed));
    CHECK_ERR(px_peers_add_handler(s->peers, &open), PX_EEXIST);
}

static void on_peers_closed(void *ctx)
{
    struct side *s = ctx;
    s->peers = NULL;
    s->world->closing--;
}

static void on_limit(uv_timer_t *t)
{
    ((struct world *)t->data)->late = true;
}

/* Runs the loop until the condition holds; false when that takes too long. */
static bool wait_for(struct world *w, bool (*cond)(struct world *w))
{
    w->late = false;
    CHECK_INT(uv_timer_start(&w->limit, on_limit, WAIT_MAX_MS, 0), 0);
    while (!cond(w) && !w->late)
        uv_run(&w->loop, UV_RUN_ONCE);
    uv_timer_stop(&w->limit);
    return cond(w);
}

static bool all_closed(struct world *w)
{
    return w->closing == 0;
}

static void side_stop(struct side *s)
{
    if (s->peers == NULL)
        return;
    s->world->closing++;
    px_peers_close(s->peers, on_peers_closed, s);
    CHECK(wait_for(s->world, all_closed));
    px_cache_service_free(s->service);
    px_allowlist_close(s->allowlist);
}

static void world_free(struct world *w)
{
    char command[128];
    for (size_t i = 0; i < SIDES_MAX; i++) {
        side_stop(&w->sides[i]);
        px_buf_deinit(&w->sides[i].text);
        snprintf(command, sizeof(command), "rm -rf '%s'", w->sides[i].dir);
        CHECK_INT(system(command), 0);
        free(w->sides[i].list);
    }
    uv_close((uv_handle_t *)&w->limit, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    CHECK_INT(uv_loop_close(&w->loop), 0);
    free(w);
}

/* ---- conditions ---- */

static struct px_peer_info info_of(struct side *s, const struct side *other)
{
    struct px_peer_info info = {.state = PX_PEER_OFFLINE};
    int err = px_peers_info(s->peers, &other->identity.id, &info);
    CHECK(err == 0 || err == PX_ENOENT);
    return info;
}

static bool served(struct side *s)
{
    struct px_cache_peer *peer;
    return s->peers != NULL && px_peers_connected(s->peers, &peer, 1) == 1;
}

static bool both_up(struct world *w)
{
    return served(&w->sides[0]) && served(&w->sides[1]);
}

static bool both_down(struct world *w)
{
    return !served(&w->sides[0]) && !served(&w->sides[1]);
}

static bool a_done(struct world *w)
{
    return w->sides[0].done_count > 0;
}

static bool a_pinged(struct world *w)
{
    return w->sides[0].pings > 0;
}

static bool a_guest_settled(struct world *w)
{
    return w->sides[0].guest_link != NULL || w->sides[0].guest_failed != 0;
}

static void on_done(void *ctx, int err)
{
    struct side *s = ctx;
    s->done_count++;
    s->done_err = err;
}

static void on_pong(void *ctx, int err, px_nsec rtt)
{
    struct side *s = ctx;
    s->pings++;
    s->ping_err = err;
    s->rtt = rtt;
}

/* a lists b with its address, b lists a without. */
static void start_pair(struct world *w)
{
    struct side *a = &w->sides[0], *b = &w->sides[1];
    char options[128];
    list_one(b, a, "name=alice grant=cache");
    side_start(b, PX_MODE_BOTH, NULL);
    snprintf(options, sizeof(options), "name=bob addr=%s", b->addr);
    list_one(a, b, options);
    side_start(a, PX_MODE_BOTH, NULL);
    CHECK(wait_for(w, both_up));
}

/* ---- tests ---- */

TEST(two_nodes_connect_and_tell_what_they_know_of_each_other)
{
    struct world *w = world_new();
    struct side *a = &w->sides[0], *b = &w->sides[1], *c = &w->sides[2];
    start_pair(w);
    struct px_peer_info info = info_of(a, b);
    CHECK_STR(info.name, "bob");
    CHECK_STR(info.agent, "peerix/" PX_VERSION);
    CHECK_STR(px_peer_state_name(info.state), "connected");
    CHECK(info.listed && info.dialled_by_us && info.link != NULL && info.addr_count == 1);
    CHECK_INT(info.addrs[0].source, PX_SOURCE_MANUAL);
    CHECK(info.addrs[0].last_good < 60 * PX_SEC);
    CHECK_INT(info_of(b, a).grants, PX_GRANT_CACHE);
    CHECK(!info_of(b, a).dialled_by_us);
    CHECK(logged(a, "event=peer.connected") && logged(a, "path=lan") && logged(a, "name=bob"));
    CHECK_OK(px_peers_ping(a->peers, &b->identity.id, 5 * PX_SEC, on_pong, a));
    CHECK(wait_for(w, a_pinged));
    CHECK_OK(a->ping_err);
    CHECK(a->rtt > 0 && a->rtt < PX_SEC);
    CHECK_ERR(px_peers_ping(a->peers, &c->identity.id, PX_SEC, on_pong, a), PX_ENOENT);
    world_free(w);
}

TEST(pings_time_out_are_limited_and_can_be_cancelled)
{
    struct world *w = world_new();
    struct side *a = &w->sides[0], *b = &w->sides[1];
    start_pair(w);
    CHECK_OK(px_peers_ping(a->peers, &b->identity.id, 0, on_pong, a));
    CHECK(wait_for(w, a_pinged)); /* late, or just in time */
    CHECK(a->ping_err == PX_ETIMEDOUT || a->ping_err == 0);
    a->pings = 0;
    int err = 0, asked = 0;
    while ((err = px_peers_ping(a->peers, &b->identity.id, PX_SEC, on_pong, a)) == 0)
        CHECK(++asked < 100);
    CHECK_ERR(err, PX_EBUSY);
    px_peers_ping_cancel(a->peers, a);
    /* the link itself waits for the answers all the same */
    while ((err = px_peers_ping(a->peers, &b->identity.id, 5 * PX_SEC, on_pong, b)) == PX_EBUSY)
        uv_run(&w->loop, UV_RUN_ONCE);
    CHECK_OK(err);
    side_stop(b); /* while it is under way */
    CHECK_INT(a->pings, 0);
    CHECK(wait_for(w, both_down));
    CHECK_INT(b->pings, 1);
    world_free(w);
}

TEST(pings_of_all_peers_together_are_bounded)
{
    struct world *w = world_new();
    struct side *a = &w->sides[0], *b = &w->sides[1];
    start_pair(w);
    a->peers->ping_count += PX_PEER_PINGS_MAX - 1; /* of others */
    CHECK_OK(px_peers_ping(a->peers, &b->identity.id, PX_SEC, on_pong, a));
    CHECK_ERR(px_peers_ping(a->peers, &b->identity.id, PX_SEC, on_pong, a), PX_EBUSY);
    CHECK(wait_for(w, a_pinged));
    CHECK_OK(px_peers_ping(a->peers, &b->identity.id, PX_SEC, on_pong, a)); /* room again */
    px_peers_ping_cancel(a->peers, a);
    a->peers->ping_count -= PX_PEER_PINGS_MAX - 1;
    world_free(w);
}

static bool a_looks_nothing_up(struct world *w)
{
    return w->sides[0].peers->lookup_count == 0;
}

TEST(host_names_that_wait_for_the_resolver_are_bounded)
{
    struct world *w = world_new();
    struct side *a = &w->sides[0], *b = &w->sides[1];
    side_start(a, PX_MODE_BOTH, NULL);
    a->peers->lookup_count += PX_PEER_LOOKUPS_MAX - 1; /* of others */
    CHECK_OK(px_peer_lookup(a->peers, &b->identity.id, "localhost:1", 1));
    CHECK_ERR(px_peer_lookup(a->peers, &b->identity.id, "localhost:1", 2), PX_EBUSY);
    a->peers->lookup_count -= PX_PEER_LOOKUPS_MAX - 1;
    CHECK_OK(px_peer_lookup(a->peers, &b->identity.id, "localhost:1", 2));
    CHECK(wait_for(w, a_looks_nothing_up));
    world_free(w);
}

static void on_relay_up(void *ctx, struct px_link *link)
{
    (void)ctx, (void)link;
}

static void on_relay_down(void *ctx, int err)
{
    (void)ctx, (void)err;
}

static bool a_has_room_for_a_relay(struct world *w)
{
    size_t n = 0;
    PX_LIST_EACH(it, &w->sides[0].peers->relays)
        n++;
    return n < 2 * PX_PEER_RELAYS_MAX;
}

TEST(links_to_relays_are_bounded_and_forgotten_ones_count_until_they_are_closed)
{
    static const struct px_relay_link_ops ops = {.up = on_relay_up, .down = on_relay_down};
    struct world *w = world_new();
    struct side *a = &w->sides[0];
    struct px_addr nobody;
    struct px_link *link;
    int owners[2 * PX_PEER_RELAYS_MAX + 1];
    side_start(a, PX_MODE_BOTH, NULL);
    CHECK_OK(px_addr_parse(PX_SLICE_LIT("127.0.0.1:9"), &nobody));
    for (size_t i = 0; i < PX_ARRAY_LEN(owners); i++) {
        struct px_peer_id id = {.key = {9, (uint8_t)i}};
        int err = px_peers_dial_relay(a->peers, &id, &nobody, &ops, &owners[i], &link);
        CHECK_ERR(err, i < 2 * PX_PEER_RELAYS_MAX ? 0 : PX_ELIMIT);
    }
    px_peers_forget_relay(a->peers, &owners[0]);
    CHECK(wait_for(w, a_has_room_for_a_relay));
    struct px_peer_id id = {.key = {10}};
    CHECK_OK(px_peers_dial_relay(a->peers, &id, &nobody, &ops, &owners[0], &link));
    world_free(w);
}

TEST(a_peer_hung_up_comes_back_when_told_to)
{
    struct world *w = world_new();
    struct side *a = &w->sides[0], *b = &w->sides[1];
    start_pair(w);
    CHECK_OK(px_peers_disconnect(a->peers, &b->identity.id));
    CHECK(wait_for(w, both_down));
    CHECK_INT(info_of(a, b).state, PX_PEER_HELD);
    CHECK_INT(a->gone, 1);
    CHECK(logged(a, "event=peer.disconnected"));
    CHECK_OK(px_peers_connect(a->peers, &b->identity.id, NULL, on_done, a));
    CHECK(wait_for(w, a_done));
    CHECK_OK(a->done_err);
    CHECK_INT(info_of(a, b).state, PX_PEER_CONNECTED);
    world_free(w);
}

TEST(a_host_name_leads_to_the_peer)
{
    struct world *w = world_new();
    struct side *a = &w->sides[0], *b = &w->sides[1];
    char options[128];
    list_one(b, a, "");
    side_start(b, PX_MODE_BOTH, NULL);
    snprintf(options, sizeof(options), "addr=localhost:%u", px_peers_local(b->peers)->port);
    list_one(a, b, options);
    side_start(a, PX_MODE_BOTH, NULL);
    CHECK(wait_for(w, both_up));
    world_free(w);
}

TEST(in_mode_lan_addresses_off_the_link_are_left_out_and_that_is_told)
{
    struct world *w = world_new();
    struct side *a = &w->sides[0], *b = &w->sides[1];
    struct px_addr far;
    list_one(a, b, "addr=192.0.2.1:12303");
    side_start(a, PX_MODE_LAN, NULL);
    CHECK_OK(px_peers_connect(a->peers, &b->identity.id, NULL, on_done, a));
    CHECK(wait_for(w, a_done));
    CHECK_ERR(a->done_err, PX_EOFFLINK);
    CHECK_ERR(info_of(a, b).addrs[0].last_err, PX_EOFFLINK);
    CHECK(logged(a, "error=EOFFLINK"));
    CHECK_OK(px_addr_parse(PX_SLICE_LIT("192.0.2.9:1"), &far));
    px_peers_found(a->peers, &b->identity.id, &far, PX_SOURCE_LAN);
    CHECK_INT(info_of(a, b).addr_count, 1);
    /* and what is on the link works as ever */
    list_one(b, a, "");
    side_start(b, PX_MODE_LAN, NULL);
    CHECK_OK(px_peers_connect(a->peers, &b->identity.id, b->addr, on_done, a));
    CHECK(wait_for(w, both_up));
    world_free(w);
}

static void run_for(struct world *w, uint64_t ms)
{
    w->late = false;
    CHECK_INT(uv_timer_start(&w->limit, on_limit, ms, 0), 0);
    while (!w->late)
        uv_run(&w->loop, UV_RUN_ONCE);
}

TEST(in_mode_lan_nothing_from_off_the_link_is_answered)
{
    struct world *w = world_new();
    struct side *a = &w->sides[0], *b = &w->sides[1];
    struct px_net_monitor here = {false};
    b->monitor = &here;
    list_one(b, a, "");
    side_start(b, PX_MODE_LAN, NULL);
    list_one(a, b, "");
    side_start(a, PX_MODE_BOTH, NULL);
    CHECK_OK(px_peers_connect(a->peers, &b->identity.id, b->addr, on_done, a));
    run_for(w, 500); /* many times what a connection takes */
    CHECK_INT(info_of(a, b).state, PX_PEER_CONNECTING);
    CHECK(!logged(b, "peer.refused"));
    /* now a is near: its next packet is answered */
    here.on_link = true;
    px_peers_network_changed(b->peers, PX_NET_ADDRS);
    CHECK(wait_for(w, both_up));
    /* and far again: b ends it without a word */
    here.on_link = false;
    px_peers_network_changed(b->peers, PX_NET_ADDRS);
    run_for(w, 200);
    CHECK(!served(b) && served(a));
    world_free(w);
}

TEST(a_found_peer_is_dialled_and_remembered_over_a_restart)
{
    struct world *w = world_new();
    struct side *a = &w->sides[0], *b = &w->sides[1];
    struct px_home home = {0};
    struct px_sqlite *state;
    struct px_addr addr;
    snprintf(home.state_dir, sizeof(home.state_dir), "%s", a->dir);
    CHECK_OK(px_state_db_open(&home, &a->log, &state));
    list_one(b, a, "");
    list_one(a, b, "");
    side_start(b, PX_MODE_BOTH, NULL);
    side_start(a, PX_MODE_BOTH, state);
    CHECK_INT(info_of(a, b).state, PX_PEER_OFFLINE);
    CHECK_OK(px_addr_parse(px_slice_cstr(b->addr), &addr));
    px_peers_found(a->peers, &b->identity.id, &addr, PX_SOURCE_LAN);
    CHECK(wait_for(w, both_up));
    CHECK(logged(a, "event=peer.found") && logged(a, "source=lan"));
    side_stop(a);
    CHECK(wait_for(w, both_down));
    side_start(a, PX_MODE_BOTH, state); /* nobody announces anything now */
    CHECK(wait_for(w, both_up));
    /* but not when it is not listed any more */
    side_stop(a);
    write_list(a, "");
    side_start(a, PX_MODE_BOTH, state);
    side_stop(a);
    list_one(a, b, "");
    side_start(a, PX_MODE_BOTH, state);
    CHECK_INT(info_of(a, b).addr_count, 0);
    side_stop(a);
    px_sqlite_close(state);
    world_free(w);
}

static void drop_list(struct side *s)
{
    write_list(s, "");
}

TEST(who_is_removed_from_the_list_is_gone_within_a_second)
{
    struct world *w = world_new();
    struct side *a = &w->sides[0], *b = &w->sides[1];
    start_pair(w);
    px_nsec start = px_now_io();
    drop_list(b);
    CHECK(wait_for(w, both_down));
    CHECK(px_now_io() - start < PX_SEC);
    CHECK(logged(a, "error=EREVOKED"));
    CHECK_ERR(px_peers_info(b->peers, &a->identity.id, &(struct px_peer_info){.name = ""}),
              PX_ENOENT);
    world_free(w);
}

/* ---- guests ---- */

static void on_guest_up(void *ctx, struct px_link *link)
{
    ((struct side *)ctx)->guest_link = link;
}

static void on_guest_failed(void *ctx, int err)
{
    ((struct side *)ctx)->guest_failed = err;
}

static void on_guest_down(void *ctx, int err)
{
    struct side *s = ctx;
    (void)err;
    s->guest_downs++;
    s->guest_link = NULL;
}

static const struct px_guest_ops guest_ops = {on_guest_up, on_guest_failed, on_guest_down};

static void on_stream_recv(void *ctx, struct px_stream *s, struct px_slice data, bool fin)
{
    (void)ctx;
    (void)fin;
    px_stream_consume(s, data.len);
}

static void on_stream_drained(void *ctx, struct px_stream *s)
{
    (void)ctx;
    (void)s;
}

static void on_stream_closed(void *ctx, struct px_stream *s, int err, uint64_t code)
{
    (void)s;
    (void)err;
    (void)code;
    ++*(int *)ctx;
}

static const struct px_stream_user_ops stream_ops = {on_stream_recv, on_stream_drained,
                                                     on_stream_closed};

static int streams_closed;

static void open_stream(struct px_link *link, uint8_t type)
{
    struct px_stream *s;
    CHECK_OK(px_stream_open(link, type, &stream_ops, &streams_closed, &s));
    px_stream_end(s);
}

static bool four_closed(struct world *w)
{
    (void)w;
    return streams_closed == 4;
}

static void dial_guest(struct world *w)
{
    struct side *a = &w->sides[0], *b = &w->sides[1];
    const char *const addrs[] = {b->addr};
    a->guest_link = NULL;
    a->guest_failed = 0;
    CHECK_OK(px_peers_dial_guest(a->peers, &b->identity.id, addrs, 1, &guest_ops, a));
    CHECK(wait_for(w, a_guest_settled));
}

static size_t count_logged(const struct side *s, const char *what)
{
    struct px_slice rest = px_buf_slice(&s->text);
    size_t n = 0;
    for (const uint8_t *at; (at = memmem(rest.data, rest.len, what, strlen(what))) != NULL; n++)
        rest = px_slice_skip(rest, (size_t)(at - rest.data) + 1);
    return n;
}

TEST(strangers_cause_a_limited_number_of_log_lines)
{
    struct world *w = world_new();
    struct side *a = &w->sides[0], *b = &w->sides[1];
    side_start(a, PX_MODE_BOTH, NULL);
    side_start(b, PX_MODE_BOTH, NULL);
    for (int i = 0; i < 30; i++) {
        dial_guest(w);
        CHECK_ERR(a->guest_failed, PX_EREFUSED);
    }
    CHECK_INT(count_logged(b, "event=peer.refused "), 20);
    world_free(w);
}

static bool guests_gone(struct world *w)
{
    struct px_peer_info info;
    return px_peers_info(w->sides[1].peers, &w->sides[0].identity.id, &info) == PX_ENOENT;
}

TEST(a_guest_reaches_only_the_handlers_that_take_guests)
{
    struct world *w = world_new();
    struct side *a = &w->sides[0], *b = &w->sides[1];
    side_start(a, PX_MODE_BOTH, NULL);
    side_start(b, PX_MODE_BOTH, NULL);
    dial_guest(w);
    CHECK_ERR(a->guest_failed, PX_EREFUSED); /* none is awaited */
    b->guests_welcome = true;
    dial_guest(w);
    CHECK(a->guest_link != NULL);
    streams_closed = 0;
    open_stream(a->guest_link, TYPE_OPEN);
    open_stream(a->guest_link, TYPE_CLOSED);
    open_stream(a->guest_link, PX_STREAM_H3_FORWARD);
    open_stream(a->guest_link, PX_STREAM_SERVICE);
    CHECK(wait_for(w, four_closed)); /* each is refused, one by its handler */
    CHECK_INT(b->open_streams, 1);
    CHECK_INT(b->closed_streams, 0);
    CHECK(!served(a) && !served(b));
    CHECK(logged(b, "event=guest.connected") && !logged(b, "event=peer.connected"));
    px_peers_end_guest(a->peers, a);
    CHECK(wait_for(w, guests_gone));
    CHECK_INT(a->guest_downs, 0);
    world_free(w);
}

TEST(a_guest_that_was_paired_is_a_peer_soon_after)
{
    struct world *w = world_new();
    struct side *a = &w->sides[0], *b = &w->sides[1];
    side_start(a, PX_MODE_BOTH, NULL);
    side_start(b, PX_MODE_BOTH, NULL);
    b->guests_welcome = true;
    dial_guest(w);
    CHECK(a->guest_link != NULL);
    list_one(b, a, "grant=cache");
    list_one(a, b, "grant=cache");
    CHECK(!served(a) && !served(b));
    while (!info_of(a, b).listed || !info_of(b, a).listed)
        uv_run(&w->loop, UV_RUN_ONCE);
    px_peers_end_guest(a->peers, a);
    CHECK(wait_for(w, both_up));
    world_free(w);
}

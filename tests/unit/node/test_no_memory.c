/* Cores of the node while one allocation of ours after the other fails: nothing may crash, leak or
 * be told twice. Those of other layers are in their own test_no_memory_*.c. */
#include "auth/pairing_invite.h"
#include "node/h3.h"
#include "node/lan_announce.h"
#include "node/nix/cache_query.h"
#include "node/peer_manager.h"
#include "proto/base/encoding.h"
#include "tests/no_memory.h"
#include "tests/sim/sim_net.c"
#include "transport/link.h"

/* --- look-ups --- */

#define HASH "0c5s43c5w1mzzm4rgrdwgcw0g1jyn5wd"

static struct {
    struct px_nix_secret_key key;
    struct px_nix_public_key pub;
    struct px_buf narinfo;
    struct px_cache_peer peer;
    const struct px_h3_client_ops *ops;
    void *ctx;
    unsigned calls, hits;
} q;

static int peer_get(struct px_cache_peer *p, struct px_slice path, uint64_t range_first,
                    const struct px_h3_client_ops *ops, void *ctx, struct px_cache_fetch **ret)
{
    (void)path, (void)range_first;
    q.ops = ops;
    q.ctx = ctx;
    *ret = (struct px_cache_fetch *)(void *)p;
    return 0;
}

static void peer_consume(struct px_cache_peer *p, struct px_cache_fetch *f, uint64_t n)
{
    (void)p, (void)f, (void)n;
}

static void peer_cancel(struct px_cache_peer *p, struct px_cache_fetch *f)
{
    (void)p, (void)f;
    q.ops = NULL;
}

static const struct px_cache_peer_ops peer_ops = {peer_get, peer_consume, peer_cancel};

static size_t list_peers(void *ctx, struct px_cache_peer **ret, size_t cap)
{
    (void)ctx, (void)cap;
    ret[0] = &q.peer;
    return 1;
}

static bool usable(void *ctx, const struct px_cache_peer *p, const uint8_t nar_hash[32])
{
    (void)ctx, (void)p, (void)nar_hash;
    return true;
}

static void rejected(void *ctx, struct px_cache_peer *p, struct px_slice hash_part,
                     enum px_narinfo_fault fault)
{
    (void)ctx, (void)p, (void)hash_part;
    CHECK(fault == PX_NARINFO_NO_MEMORY || fault == PX_NARINFO_TOO_BIG);
}

static void done(void *ctx, const struct px_path_info *info, struct px_cache_peer *from)
{
    (void)ctx, (void)from;
    q.calls++;
    q.hits += info != NULL;
}

static void look_up(void)
{
    struct px_cache_queries *queries;
    struct px_cache_waiter *w;
    const struct px_cache_queries_config c = {.policy = {.store_dir = PX_SLICE_LIT("/nix/store"),
                                                         .keys = &q.pub,
                                                         .key_count = 1,
                                                         .own_key = &q.key},
                                              .deadline = PX_SEC,
                                              .peers = list_peers,
                                              .usable = usable,
                                              .rejected = rejected};
    int err;
    q.calls = q.hits = 0;
    q.ops = NULL;
    ARMED(err = px_cache_queries_new(&c, &queries));
    if (err != 0) {
        CHECK_ERR(err, PX_ENOMEM);
        return;
    }
    ARMED(err = px_cache_query(queries, 1, PX_SLICE_LIT(HASH), NULL, done, NULL, &w));
    if (err == 0) {
        ARMED({
            q.ops->response(q.ctx, &(struct px_h3_response){.status = 200});
            q.ops->data(q.ctx, px_buf_slice(&q.narinfo));
            q.ops->end(q.ctx, 0);
            px_cache_queries_run(queries, 2);
        });
        CHECK_INT(q.calls, 1);
        CHECK_INT(q.hits, heap.seen < heap.fail_at);
    } else {
        CHECK_ERR(err, PX_ENOMEM);
    }
    px_cache_queries_free(queries);
}

TEST(a_look_up_without_memory_is_a_miss)
{
    static struct px_test_rng seed;
    const struct px_rng rng = px_test_rng(&seed, 3);
    struct px_buf fingerprint;
    struct px_path_info *info;
    memset(&q, 0, sizeof(q));
    CHECK_OK(px_crypto_init());
    CHECK_OK(px_nix_key_generate("k-1", &rng, &q.key));
    px_nix_secret_key_public(&q.key, &q.pub);
    q.peer = (struct px_cache_peer){.ops = &peer_ops, .name = "ann"};
    px_buf_init(&q.narinfo, PX_NARINFO_MAX);
    px_buf_init(&fingerprint, PX_NARINFO_MAX);
    (void)px_buf_put_cstr(&q.narinfo, "StorePath: /nix/store/" HASH "-hello\nNarHash: sha256:");
    (void)px_nix32_encode(&q.narinfo, px_slice(q.pub.key, 32));
    CHECK_OK(px_buf_put_cstr(&q.narinfo, "\nNarSize: 5\nReferences:"));
    for (int i = 0; i < 20; i++)
        CHECK_OK(px_buf_printf(&q.narinfo, " %032d-some-quite-long-name-of-a-package", i));
    CHECK_OK(px_buf_put_cstr(&q.narinfo, "\n"));
    CHECK_OK(px_narinfo_parse(px_buf_slice(&q.narinfo), &info));
    CHECK_OK(px_path_info_fingerprint(info, &fingerprint));
    (void)px_buf_put_cstr(&q.narinfo, "Sig: ");
    CHECK_OK(px_nix_sign(&q.key, px_buf_slice(&fingerprint), &q.narinfo));
    CHECK_OK(px_buf_put_cstr(&q.narinfo, "\n"));
    sweep(look_up, 3);
    px_path_info_free(info);
    px_buf_deinit(&fingerprint);
    px_buf_deinit(&q.narinfo);
}

/* --- links and HTTP/3 --- */

struct node {
    struct sim_node *sim;
    struct px_quic_net net;
    struct px_test_rng rng, overlay_rng;
    struct px_identity identity;
    struct px_overlay *overlay;
    struct px_link *link;
    struct px_h3 *h3;
    struct px_h3_exchange *x;
    unsigned asked, ends, whole;
};

static int net_send(void *ctx, const struct px_path *path, unsigned ecn, struct px_slice data,
                    size_t segment)
{
    const struct node *n = ctx;
    int err;
    DISARMED(err = n->net.send(n->net.ctx, path, ecn, data, segment));
    return err;
}

static const uint8_t text[3000];

static int body_next(void *ctx, struct px_slice *ret, bool *ret_fin)
{
    (void)ctx;
    *ret = px_slice(text, sizeof(text));
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
}

static const struct px_h3_body_ops body_ops = {body_next, body_acked, body_closed};

static void on_request(void *ctx, struct px_h3_exchange *x, const struct px_h3_request *req)
{
    (void)ctx, (void)req;
    const struct px_h3_answer a = {
        .status = 200, .content_length = sizeof(text), .body = &body_ops, .body_ctx = NULL};
    int err = px_h3_respond(x, &a);
    CHECK(err == 0 || err == PX_ENOMEM || err == PX_EPROTO || err == PX_ESTATE);
}

static const struct px_h3_server_ops server_ops = {on_request};

static void ask_response(void *ctx, const struct px_h3_response *res)
{
    (void)ctx, (void)res;
}

static void ask_data(void *ctx, struct px_slice data)
{
    px_h3_consume(((struct node *)ctx)->x, data.len);
}

static void ask_end(void *ctx, int err)
{
    struct node *n = ctx;
    n->ends++;
    n->whole += err == 0;
    n->x = NULL;
}

static const struct px_h3_client_ops client_ops = {ask_response, ask_data, ask_end};

static int on_authorize(void *ctx, const struct px_peer_id *id)
{
    (void)ctx, (void)id;
    return 0;
}

static void on_up(void *ctx, struct px_link *link)
{
    struct node *n = ctx;
    n->link = link;
    if (px_h3_new(link, &server_ops, NULL, &n->h3) != 0)
        px_link_close(link, PX_CLOSE_INTERNAL);
    else
        n->asked += px_h3_get(n->h3, false, PX_SLICE_LIT("/x"), 0, &client_ops, n, &n->x) == 0;
}

static void on_down(void *ctx, struct px_link *link, int err, bool by_peer, bool was_up)
{
    struct node *n = ctx;
    (void)link, (void)err, (void)by_peer;
    if (!was_up)
        return;
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
    return n->h3 == NULL ? NULL : px_h3_stream(n->h3, id, type, ret_ctx);
}

static const struct px_overlay_ops overlay_ops = {.authorize = on_authorize,
                                                  .up = on_up,
                                                  .down = on_down,
                                                  .refused = on_refused,
                                                  .stream = on_stream};

static void node_input(void *ctx, const struct px_path *path, unsigned ecn, struct px_slice d,
                       px_nsec now)
{
    ARMED(px_overlay_input(((struct node *)ctx)->overlay, path, ecn, d, now));
}

static void node_run(void *ctx, px_nsec now)
{
    ARMED(px_overlay_run(((struct node *)ctx)->overlay, now));
}

static px_nsec node_deadline(void *ctx)
{
    return px_overlay_deadline(((struct node *)ctx)->overlay);
}

static const struct sim_node_ops sim_ops = {node_input, node_run, node_deadline};

static int node_init(struct node *n, struct sim_net *net, uint8_t number)
{
    memset(n, 0, sizeof(*n));
    n->sim = sim_node_new(net, number);
    n->net = sim_node_net(n->sim);
    struct px_rng rng = px_test_rng(&n->rng, number);
    px_identity_generate(&rng, &n->identity);
    const struct px_overlay_config config = {
        .identity = &n->identity,
        .network = PX_SLICE_LIT("default"),
        .agent = PX_SLICE_LIT("sim/1"),
        .ops = &overlay_ops,
        .ops_ctx = n,
        .quic = {.rng = px_test_rng(&n->overlay_rng, number), .net = {net_send, n}},
        .listen = true,
    };
    int err;
    ARMED(err = px_overlay_new(&config, &n->overlay));
    if (err == 0)
        sim_node_set_owner(n->sim, &sim_ops, n);
    return err;
}

static void node_end(struct node *n)
{
    sim_node_set_owner(n->sim, NULL, NULL);
    ARMED(px_overlay_free(n->overlay));
    px_identity_wipe(&n->identity);
    CHECK(n->h3 == NULL);
    CHECK_INT(n->ends, n->asked);
}

static void talk(void)
{
    static const struct sim_weather calm = {.delay = PX_MSEC};
    struct sim_net *net = sim_net_new(5, &calm);
    struct node a, b;
    int err = node_init(&a, net, 1);
    if (err == 0) {
        err = node_init(&b, net, 2);
        if (err == 0) {
            struct px_path path = sim_path(1, 2);
            struct px_link *l;
            ARMED(err = px_overlay_dial(a.overlay, &b.identity.id, &path, NULL, sim_net_now(net),
                                        &l));
            sim_node_kick(a.sim);
            px_nsec until = sim_net_now(net) + 8 * PX_SEC;
            while (!(a.ends > 0 && b.ends > 0) && sim_net_step(net, until))
                ;
            if (heap.seen < heap.fail_at)
                CHECK(a.whole == 1 && b.whole == 1);
            node_end(&b);
        }
        node_end(&a);
    }
    CHECK(err == 0 || err == PX_ENOMEM);
    sim_net_free(net);
}

TEST(links_and_requests_survive_any_lack_of_memory)
{
    CHECK_OK(px_crypto_init());
    sweep(talk, 3);
}

/* --- the peer manager --- */

static struct {
    px_nsec now;
    char links[64]; /* a link is the address of one */
    struct px_peer_id ids[64];
    size_t dials;
    unsigned accepted, told; /* calls that were taken on; their ends */
} m;

static int m_dial(void *ctx, const struct px_peer_id *id, const struct px_addr *addr,
                  struct px_link **ret)
{
    (void)ctx, (void)addr;
    if (m.dials == PX_ARRAY_LEN(m.links))
        return PX_ELIMIT;
    m.ids[m.dials] = *id;
    *ret = (struct px_link *)(void *)&m.links[m.dials++];
    return 0;
}

static void m_close(void *ctx, struct px_link *link, enum px_close_code code)
{
    (void)ctx, (void)link, (void)code;
}

static int m_resolve(void *ctx, const struct px_peer_id *id, const char *host, uint64_t token)
{
    (void)ctx, (void)id, (void)host, (void)token;
    return PX_ENOMEM;
}

static int m_usable(void *ctx, const struct px_addr *addr)
{
    (void)ctx, (void)addr;
    return 0;
}

static bool m_guest(void *ctx, const struct px_peer_id *id)
{
    (void)ctx, (void)id;
    return true;
}

static void m_connected(void *ctx, struct px_peer *p)
{
    (void)ctx, (void)p;
}

static void m_disconnected(void *ctx, struct px_peer *p, int err, bool by_peer)
{
    (void)ctx, (void)p, (void)err, (void)by_peer;
}

static void m_attempt_failed(void *ctx, const struct px_peer *p, const struct px_addr *addr,
                             const char *name, int err)
{
    (void)ctx, (void)p, (void)addr, (void)name, (void)err;
}

static void m_round_failed(void *ctx, const struct px_peer *p, int err)
{
    (void)ctx, (void)p, (void)err;
}

static void m_found(void *ctx, const struct px_peer *p, const struct px_addr *addr,
                    enum px_source source)
{
    (void)ctx, (void)p, (void)addr, (void)source;
}

static void m_good(void *ctx, const struct px_peer *p, const struct px_addr *addr)
{
    (void)ctx, (void)p, (void)addr;
}

static void m_forgotten(void *ctx, const struct px_peer_id *id)
{
    (void)ctx, (void)id;
}

static void m_told(void *ctx, int err)
{
    (void)ctx, (void)err;
    m.told++;
}

static void m_call_up(void *ctx, struct px_link *link)
{
    (void)ctx, (void)link;
}

static const struct px_peer_manager_ops m_ops = {
    m_dial,         m_close,          m_resolve,      m_usable, m_guest, m_connected,
    m_disconnected, m_attempt_failed, m_round_failed, m_found,  m_good,  m_forgotten};

static void m_run(struct px_peer_manager *manager, px_nsec time)
{
    m.now += time;
    ARMED(px_peer_manager_run(manager, m.now));
    CHECK(px_peer_manager_deadline(manager) > m.now);
}

/* Whatever was dialled last is up, then goes. */
static void m_up_and_down(struct px_peer_manager *manager, const struct px_addr *addr)
{
    if (m.dials == 0)
        return;
    struct px_link *link = (struct px_link *)(void *)&m.links[m.dials - 1];
    const struct px_peer_id id = m.ids[m.dials - 1];
    ARMED(px_peer_manager_up(manager, link, &id, addr, true, m.now));
    m_run(manager, PX_SEC);
    ARMED(px_peer_manager_down(manager, link, &id, PX_ETIMEDOUT, false, m.now));
}

static void m_live(struct px_peer_manager *manager, const struct px_authorized_keys *keys)
{
    static const struct px_guest_ops calls = {m_call_up, m_told, m_told};
    static const char *const addrs[] = {"10.0.0.3:1", "10.0.0.4:1"};
    static const char relays[1][PX_AUTH_ADDR_MAX] = {PX_RELAY_ROUTE "one"};
    const struct px_peer_id *listed = &px_authorized_keys_at(keys, 0)->id;
    struct px_peer_id stranger = {.key = {9}}, came = {.key = {8}};
    struct px_addr addr;
    int err;
    CHECK_OK(px_addr_parse(PX_SLICE_LIT("10.0.0.7:1"), &addr));
    ARMED(px_peer_manager_reload(manager, keys, m.now));
    ARMED(px_peer_manager_found(manager, listed, &addr, PX_SOURCE_LAN, m.now));
    ARMED(err = px_peer_manager_connect(manager, listed, "10.0.0.8:1", m_told, &m, m.now));
    m.accepted += err == 0;
    m_run(manager, PX_SEC);
    m_up_and_down(manager, &addr);
    ARMED(err = px_peer_manager_dial_guest(manager, &stranger, addrs, 2, &calls, &m, m.now));
    m.accepted += err == 0;
    m_run(manager, PX_SEC);
    m_up_and_down(manager, &addr);
    ARMED(px_peer_manager_up(manager, (struct px_link *)(void *)&m, &came, &addr, false, m.now));
    ARMED(px_peer_manager_relays(manager, relays, 1, m.now));
    ARMED(px_peer_manager_network_changed(manager, m.now));
    ARMED(px_peer_manager_reload(manager, keys, m.now));
    m_run(manager, 10 * PX_SEC);
}

static void m_scenario(void)
{
    struct px_test_rng seed;
    struct px_authorized_keys *keys;
    struct px_peer_manager *manager = NULL;
    char line[256], id_text[PX_PEER_ID_TEXT_MAX];
    const struct px_peer_id id = {.key = {7}};
    memset(&m, 0, sizeof(m));
    m.now = 1000 * PX_SEC;
    snprintf(line, sizeof(line), "%s addr=10.0.0.1:1 addr=host.example:1\n",
             px_peer_id_format(&id, id_text));
    CHECK_OK(px_authorized_keys_parse(px_slice_cstr(line), &keys));
    CHECK_INT(px_authorized_keys_count(keys), 1);
    const struct px_peer_manager_config c = {
        .rng = px_test_rng(&seed, 1), .dial_max = 60 * PX_SEC, .ops = &m_ops};
    int err;
    ARMED(err = px_peer_manager_new(&c, &manager));
    if (err == 0)
        m_live(manager, keys);
    else
        CHECK_ERR(err, PX_ENOMEM);
    ARMED(px_peer_manager_free(manager));
    CHECK_INT(m.told, m.accepted); /* each is told its end, once */
    px_authorized_keys_free(keys);
}

TEST(the_peer_manager_survives_any_lack_of_memory)
{
    sweep(m_scenario, 3);
}

/* --- announcements on the link --- */

static struct {
    struct px_lan_announce *core;
    unsigned sent;
} lan;

static void lan_send(void *ctx, enum px_lan_kind kind)
{
    const struct px_addr source = {.family = PX_ADDR_IP4, .ip = {10, 0, 0, 1}};
    uint8_t packet[PX_LAN_PACKET_MAX];
    (void)ctx;
    for (size_t i = 0; i < px_lan_announce_packets(lan.core); i++)
        CHECK_INT(px_lan_announce_write(lan.core, i, kind, &source, packet), 84);
    lan.sent++;
}

static void lan_found(void *ctx, const struct px_peer_id *id, const struct px_addr *addr)
{
    (void)ctx, (void)id, (void)addr;
}

static void lan_live(const struct px_authorized_keys *keys)
{
    int err;
    for (px_nsec now = PX_SEC; now < 6 * PX_SEC; now += PX_SEC) {
        ARMED(err = px_lan_announce_set_peers(lan.core, keys, now));
        CHECK(err == 0 || err == PX_ENOMEM);
        ARMED(px_lan_announce_run(lan.core, now));
    }
    heap.armed = 0;
    size_t failed = heap.seen;
    CHECK_OK(px_lan_announce_set_peers(lan.core, keys, 20 * PX_SEC)); /* there is memory again */
    px_lan_announce_run(lan.core, 20 * PX_SEC);
    px_lan_announce_run(lan.core, 30 * PX_SEC);
    CHECK(lan.sent > 0);
    heap.seen = failed;
}

static void lan_scenario(void)
{
    static const struct px_lan_ops ops = {lan_send, lan_found};
    struct px_test_rng seed;
    struct px_rng rng = px_test_rng(&seed, 3);
    struct px_identity own, peer;
    struct px_authorized_keys *keys;
    char line[128], id_text[PX_PEER_ID_TEXT_MAX];
    px_identity_generate(&rng, &own);
    px_identity_generate(&rng, &peer);
    snprintf(line, sizeof(line), "%s\n", px_peer_id_format(&peer.id, id_text));
    CHECK_OK(px_authorized_keys_parse(px_slice_cstr(line), &keys));
    const struct px_lan_config c = {
        .identity = &own, .network = PX_SLICE_LIT("default"), .rng = rng, .port = 1, .ops = &ops};
    int err;
    memset(&lan, 0, sizeof(lan));
    ARMED(err = px_lan_announce_new(&c, PX_SEC, &lan.core));
    if (err == 0)
        lan_live(keys);
    else
        CHECK_ERR(err, PX_ENOMEM);
    px_lan_announce_free(lan.core);
    px_authorized_keys_free(keys);
}

TEST(announcements_survive_any_lack_of_memory)
{
    sweep(lan_scenario, 3);
}

/* --- pairing --- */

static int pair(struct px_pairing *a, struct px_pairing *b, const struct px_invite *code,
                const struct px_pairing_key *key, struct px_buf *msg)
{
    const struct px_pairing_card card = {
        .name = "bob", .addr_count = 1, .addrs = {"h:1"}, .grants = 1};
    struct px_pairing_card got;
    int err = px_pairing_write_hello(b, code->id, key, &card, msg);
    if (err == 0)
        err = px_pairing_read_hello(a, px_buf_slice(msg), &got);
    if (err == 0)
        err = px_pairing_check_hello(a, key);
    px_buf_clear(msg);
    if (err == 0)
        err = px_pairing_write_welcome(a, &card, msg);
    if (err == 0)
        err = px_pairing_read_welcome(b, px_buf_slice(msg), &got);
    px_buf_clear(msg);
    if (err == 0)
        err = px_pairing_write_confirm(b, msg);
    if (err == 0)
        err = px_pairing_read_confirm(a, px_buf_slice(msg));
    px_buf_clear(msg);
    if (err == 0)
        err = px_pairing_write_done(a, msg);
    return err != 0 ? err : px_pairing_read_done(b, px_buf_slice(msg));
}

static void pairing_scenario(void)
{
    static const uint8_t binding[PX_PAIRING_BINDING_LEN];
    struct px_peer_id inviter = {{1}}, joiner = {{2}};
    struct px_pairing a, b;
    struct px_pairing_invite invite;
    struct px_invite code, again;
    struct px_invite_fault fault;
    struct px_buf printed, msg;
    int err;
    CHECK_OK(px_crypto_init());
    px_pairing_invite_new(&inviter, &px_system_rng, 1, &invite, &code);
    px_buf_init(&printed, PX_INVITE_TEXT_MAX);
    px_buf_init(&msg, PX_PAIRING_MESSAGE_MAX);
    px_pairing_init(&a, PX_PAIRING_INVITER, &inviter, &joiner, binding);
    px_pairing_init(&b, PX_PAIRING_JOINER, &inviter, &joiner, binding);
    ARMED(err = px_invite_print(&code, &printed));
    if (err == 0)
        ARMED(err = px_invite_parse(px_buf_slice(&printed), &again, &fault));
    if (err == 0)
        ARMED(err = pair(&a, &b, &code, &invite.pair, &msg));
    CHECK_ERR(err, heap.seen < heap.fail_at ? 0 : PX_ENOMEM);
    CHECK_INT(err == 0, b.state == PX_PAIRING_DONE);
    px_pairing_deinit(&a);
    px_pairing_deinit(&b);
    px_buf_deinit(&printed);
    px_buf_deinit(&msg);
}

TEST(pairing_survives_any_lack_of_memory)
{
    sweep(pairing_scenario, 3);
}

/* Peer objects live as long as they are listed, connected, or being dialled. */
#include "node/peers.h"

#include <stdlib.h>
#include <string.h>

#include "node/dial_plan.h"
#include "node/h3.h"
#include "proto/base/list.h"
#include "transport/sockaddr.h"

struct peer {
    struct px_list node; /* px_peers.all */
    struct px_peers *set;
    struct px_peer_id id;
    char id_text[PX_PEER_ID_TEXT_MAX];
    char name[PX_AUTH_NAME_MAX + 1];
    size_t addr_count;
    char addrs[PX_AUTH_ADDRS_MAX][PX_AUTH_ADDR_MAX];
    bool listed;
    struct px_dial_plan plan;
    char dialled[PX_AUTH_ADDR_MAX]; /* the address of the attempt under way */
    struct px_link *dialling;       /* not up yet */
    bool resolving;
    uv_getaddrinfo_t resolve;
    uint16_t resolve_port;
    /* while connected */
    struct px_link *link;
    struct px_h3 *h3;
    struct px_cache_session *session;
    struct px_cache_peer cache;
};

struct px_peers {
    struct px_peers_config config;
    struct px_overlay_io *io;
    struct px_list all;
    uv_timer_t dial_timer;
    bool closing;
    void (*done)(void *ctx);
    void *done_ctx;
    int open_parts; /* the overlay, the timer, name look-ups under way while closing */
};

#define EACH_PEER(p, set)                                                                          \
    PX_LIST_EACH(p##_node, &(set)->all)                                                            \
        for (struct peer *p = PX_CONTAINER_OF(p##_node, struct peer, node); p != NULL; p = NULL)

/* ---- the peer as somebody to GET from ---- */

static struct peer *from_cache(struct px_cache_peer *c)
{
    return PX_CONTAINER_OF(c, struct peer, cache);
}

static int cache_get(struct px_cache_peer *c, struct px_slice path, uint64_t range_first,
                     const struct px_h3_client_ops *ops, void *ctx, struct px_cache_fetch **ret)
{
    struct peer *p = from_cache(c);
    struct px_h3_exchange *x;
    if (p->h3 == NULL)
        return PX_EOFFLINE;
    int err = px_h3_get(p->h3, false, path, range_first, ops, ctx, &x);
    if (err != 0)
        return err;
    *ret = (struct px_cache_fetch *)x;
    return 0;
}

static void cache_consume(struct px_cache_peer *c, struct px_cache_fetch *f, uint64_t n)
{
    (void)c;
    px_h3_consume((struct px_h3_exchange *)f, n);
}

static void cache_cancel(struct px_cache_peer *c, struct px_cache_fetch *f)
{
    (void)c;
    px_h3_cancel((struct px_h3_exchange *)f);
}

static const struct px_cache_peer_ops cache_ops = {cache_get, cache_consume, cache_cancel};

/* ---- peer objects ---- */

static struct peer *find(struct px_peers *set, const struct px_peer_id *id)
{
    EACH_PEER(p, set)
        if (px_peer_id_eq(&p->id, id))
            return p;
    return NULL;
}

static struct peer *add(struct px_peers *set, const struct px_peer_id *id)
{
    struct peer *p = calloc(1, sizeof(*p));
    if (p == NULL)
        return NULL;
    p->set = set;
    p->id = *id;
    px_peer_id_format(id, p->id_text);
    px_dial_plan_init(&p->plan, px_now_io());
    p->cache = (struct px_cache_peer){.ops = &cache_ops, .id = *id, .name = p->id_text};
    px_list_push_back(&set->all, &p->node);
    return p;
}

static void free_if_unused(struct peer *p)
{
    if (p->listed || p->link != NULL || p->dialling != NULL || p->resolving)
        return;
    px_list_remove(&p->node);
    free(p);
}

static void take_entry(struct peer *p, const struct px_authorized_key *k)
{
    bool same = p->listed && p->addr_count == k->addr_count &&
                memcmp(p->addrs, k->addrs, sizeof(p->addrs)) == 0;
    p->listed = true;
    memcpy(p->name, k->name, sizeof(p->name));
    p->cache.name = p->name[0] != '\0' ? p->name : p->id_text;
    p->addr_count = k->addr_count;
    memcpy(p->addrs, k->addrs, sizeof(p->addrs));
    if (!same)
        px_dial_plan_reset(&p->plan, px_now_io());
}

/* ---- dialling ---- */

static void plan_dials(struct px_peers *set);
static void part_closed(struct px_peers *set);

static void dial_failed(struct peer *p, int err)
{
    struct px_peers *set = p->set;
    enum px_log_level level = p->plan.rounds == 0 ? PX_LOG_WARN : PX_LOG_DEBUG;
    px_log_event(set->config.log, level, "dial.failed", PX_F_STR("peer", p->id_text),
                 PX_F_STR("name", p->name), PX_F_STR("addr", p->dialled), PX_F_ERR(err));
    px_dial_plan_failed(&p->plan, p->addr_count, set->config.dial_max, &px_system_rng, px_now_io());
}

static void dial_addr(struct peer *p, const struct px_addr *addr)
{
    int err = px_overlay_io_dial(p->set->io, &p->id, addr, p, &p->dialling);
    if (err == PX_EEXIST) /* they came to us meanwhile */
        px_dial_plan_up(&p->plan);
    else if (err != 0)
        dial_failed(p, err);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
    struct peer *p = req->data;
    struct px_peers *set = p->set;
    p->resolving = false;
    if (set->closing) {
        uv_freeaddrinfo(res);
        part_closed(set);
        return;
    }
    if (p->listed && p->plan.state == PX_DIAL_TRYING) {
        struct px_addr addr = {0};
        if (status == 0)
            px_sockaddr_to_addr(res->ai_addr, &addr);
        if (addr.family != PX_ADDR_NONE) {
            addr.port = p->resolve_port;
            dial_addr(p, &addr);
        } else {
            dial_failed(p, PX_ENOENT);
        }
    }
    uv_freeaddrinfo(res);
    plan_dials(set); /* which passed it over while this was under way */
    free_if_unused(p);
}

static void resolve(struct peer *p, const char *text)
{
    struct px_slice host;
    static const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM};
    char *name = NULL;
    int err = px_hostport_split(px_slice_cstr(text), &host, &p->resolve_port);
    if (err == 0 && (name = px_slice_dup_cstr(host)) == NULL)
        err = PX_ENOMEM;
    if (err == 0) {
        p->resolve.data = p;
        if (uv_getaddrinfo(p->set->config.loop, &p->resolve, on_resolved, name, NULL, &hints) != 0)
            err = PX_EADDR;
    }
    free(name);
    p->resolving = err == 0;
    if (err != 0)
        dial_failed(p, err);
}

static void dial_next(struct peer *p)
{
    struct px_addr addr;
    memcpy(p->dialled, p->addrs[p->plan.next_addr], sizeof(p->dialled));
    if (px_addr_parse(px_slice_cstr(p->dialled), &addr) == 0)
        dial_addr(p, &addr);
    else
        resolve(p, p->dialled);
}

static void on_dial_timer(uv_timer_t *t)
{
    plan_dials(t->data);
}

static void plan_dials(struct px_peers *set)
{
    px_nsec now = px_now_io(), next = PX_NEVER;
    if (set->closing)
        return;
    EACH_PEER(p, set) {
        if (!p->listed || p->resolving || p->dialling != NULL || p->link != NULL)
            continue;
        if (px_dial_plan_due(&p->plan, p->addr_count, now))
            dial_next(p);
        if (p->plan.state == PX_DIAL_WAITING && p->addr_count > 0)
            next = PX_MIN(next, p->plan.due);
    }
    if (next == PX_NEVER)
        (void)uv_timer_stop(&set->dial_timer);
    else
        (void)uv_timer_start(&set->dial_timer, on_dial_timer,
                             next > now ? (next - now) / PX_MSEC + 1 : 1, 0);
}

/* ---- what the overlay tells ---- */

static int on_authorize(void *ctx, const struct px_peer_id *id)
{
    struct px_peers *set = ctx;
    const struct px_authorized_keys *keys = px_allowlist_keys(set->config.allowlist);
    return px_authorized_keys_find(keys, id) != NULL ? 0 : PX_EUNLISTED;
}

static int attach(struct peer *p, struct px_link *link)
{
    int err = px_cache_session_new(p->set->config.service, &p->id, &p->session);
    if (err == 0)
        err = px_h3_new(link, &px_cache_session_ops, p->session, &p->h3);
    return err;
}

static void detach(struct peer *p)
{
    px_h3_free(p->h3);
    p->h3 = NULL;
    if (p->link != NULL)
        p->set->config.peer_gone(p->set->config.ctx, &p->cache);
    px_cache_session_free(p->session);
    p->session = NULL;
    p->link = NULL;
}

static void on_up(void *ctx, struct px_link *link)
{
    struct px_peers *set = ctx;
    struct peer *p = find(set, px_link_peer(link));
    if (p == NULL || !p->listed) { /* removed between the handshake's check and now */
        px_link_close(link, PX_CLOSE_REVOKED);
        return;
    }
    px_assert(p->link == NULL);
    if (p->dialling == link)
        p->dialling = NULL;
    p->link = link;
    px_link_set_user(link, p);
    if (p->plan.state != PX_DIAL_UP)
        px_dial_plan_up(&p->plan);
    if (attach(p, link) != 0) {
        px_link_close(link, PX_CLOSE_INTERNAL);
        return;
    }
    struct px_path path;
    struct px_quic_stats stats;
    char remote[PX_ADDR_TEXT_MAX];
    px_link_path(link, &path);
    px_link_stats(link, &stats);
    p->cache.rtt_ns = stats.rtt_ns;
    px_log_event(set->config.log, PX_LOG_INFO, "peer.connected", PX_F_STR("peer", p->id_text),
                 PX_F_STR("name", p->name), PX_F_STR("addr", px_addr_format(&path.remote, remote)),
                 PX_F_STR("agent", px_link_agent(link)),
                 PX_F_STR("dialled_by", px_link_is_quic_client(link) ? "us" : "peer"),
                 PX_F_U64("rtt_us", stats.rtt_ns / PX_USEC));
}

static void log_stats(const struct peer *p, struct px_link *link, const char *event, int err,
                      bool by_peer)
{
    struct px_quic_stats s;
    px_link_stats(link, &s);
    px_log_event(p->set->config.log, PX_LOG_INFO, event, PX_F_STR("peer", p->id_text),
                 PX_F_STR("name", p->name), PX_F_U64("bytes_sent", s.bytes_sent),
                 PX_F_U64("bytes_received", s.bytes_received),
                 PX_F_U64("packets_lost", s.packets_lost), PX_F_U64("rtt_us", s.rtt_ns / PX_USEC),
                 PX_F_STR("ended_by", by_peer ? "peer" : "us"), PX_F_ERR(err));
}

static void on_down(void *ctx, struct px_link *link, int err, bool by_peer, bool was_up)
{
    struct px_peers *set = ctx;
    struct peer *p = px_link_user(link);
    if (p == NULL)
        return;
    if (p->link == link && was_up) {
        log_stats(p, link, "peer.disconnected", err, by_peer);
        detach(p);
        px_dial_plan_ended(&p->plan, &px_system_rng, px_now_io());
    } else if (p->dialling == link) {
        p->dialling = NULL;
        if (p->plan.state == PX_DIAL_TRYING)
            dial_failed(p, err);
    }
    plan_dials(set);
    free_if_unused(p);
}

static void on_refused(void *ctx, const struct px_addr *remote, const struct px_peer_id *id,
                       int err, bool by_peer)
{
    struct px_peers *set = ctx;
    char addr[PX_ADDR_TEXT_MAX], peer[PX_PEER_ID_TEXT_MAX];
    px_log_event(set->config.log, PX_LOG_WARN, "peer.refused",
                 PX_F_STR("addr", px_addr_format(remote, addr)),
                 PX_F_STR("peer", id != NULL ? px_peer_id_format(id, peer) : NULL),
                 PX_F_STR("refused_by", by_peer ? "peer" : "us"), PX_F_ERR(err));
}

static const struct px_stream_ops *on_stream(void *ctx, struct px_link *link, int64_t id,
                                             uint8_t type, void **ret_ctx)
{
    (void)ctx;
    struct peer *p = px_link_user(link);
    if (p == NULL || p->link != link || p->h3 == NULL)
        return NULL;
    return px_h3_stream(p->h3, id, type, ret_ctx);
}

static void on_streams_available(void *ctx, struct px_link *link)
{
    struct px_peers *set = ctx;
    struct peer *p = px_link_user(link);
    if (p != NULL && p->link == link && p->h3 != NULL)
        set->config.peer_ready(set->config.ctx, &p->cache);
}

static void on_cloned(void *ctx, const struct px_link *link)
{
    struct px_peers *set = ctx;
    char peer[PX_PEER_ID_TEXT_MAX];
    px_log_event(
        set->config.log, PX_LOG_WARN, "peer.cloned",
        PX_F_STR("peer", px_peer_id_format(px_link_peer(link), peer)),
        PX_F_STR("hint",
                 "two machines seem to use this key: run `peerix init` on one of them with a "
                 "home of its own"));
}

static const struct px_overlay_ops overlay_ops = {
    .authorize = on_authorize,
    .up = on_up,
    .down = on_down,
    .refused = on_refused,
    .stream = on_stream,
    .streams_available = on_streams_available,
    .cloned = on_cloned,
};

/* ---- the set ---- */

void px_peers_reload(struct px_peers *set)
{
    const struct px_authorized_keys *keys = px_allowlist_keys(set->config.allowlist);
    EACH_PEER(p, set) {
        if (px_authorized_keys_find(keys, &p->id) != NULL)
            continue;
        p->listed = false;
        if (p->link != NULL)
            px_link_close(p->link, PX_CLOSE_REVOKED);
        if (p->dialling != NULL)
            px_link_close(p->dialling, PX_CLOSE_REVOKED);
        free_if_unused(p);
    }
    for (size_t i = 0; i < px_authorized_keys_count(keys); i++) {
        const struct px_authorized_key *k = px_authorized_keys_at(keys, i);
        if (px_peer_id_eq(&k->id, &set->config.identity->id))
            continue; /* a list shared between machines names each of them */
        struct peer *p = find(set, &k->id);
        if (p == NULL)
            p = add(set, &k->id);
        if (p != NULL)
            take_entry(p, k);
    }
    plan_dials(set);
}

static void part_closed(struct px_peers *set)
{
    if (--set->open_parts > 0)
        return;
    PX_LIST_EACH(at, &set->all) {
        struct peer *p = PX_CONTAINER_OF(at, struct peer, node);
        px_list_remove(&p->node);
        free(p);
    }
    void (*done)(void *) = set->done;
    void *ctx = set->done_ctx;
    free(set);
    if (done != NULL)
        done(ctx);
}

static void on_timer_closed(uv_handle_t *h)
{
    part_closed(h->data);
}

static void on_overlay_closed(void *ctx)
{
    part_closed(ctx);
}

int px_peers_new(const struct px_peers_config *config, struct px_peers **ret)
{
    struct px_peers *set = calloc(1, sizeof(*set));
    if (set == NULL)
        return PX_ENOMEM;
    set->config = *config;
    px_list_init(&set->all);
    struct px_overlay_config oc = {
        .identity = config->identity,
        .network = config->network,
        .agent = PX_SLICE_LIT("peerix/" PX_VERSION),
        .ops = &overlay_ops,
        .ops_ctx = set,
        .listen = true,
        .quic = {.max_udp_payload = config->packet_max},
    };
    int err = px_overlay_io_new(config->loop, &config->listen, &oc, &set->io);
    if (err == 0 && uv_timer_init(config->loop, &set->dial_timer) != 0)
        err = PX_EIO;
    if (err != 0) {
        if (set->io != NULL)
            px_overlay_io_close(set->io, NULL, NULL);
        free(set);
        return err;
    }
    set->dial_timer.data = set;
    set->open_parts = 2;
    px_peers_reload(set);
    *ret = set;
    return 0;
}

void px_peers_close(struct px_peers *set, void (*done)(void *ctx), void *ctx)
{
    set->closing = true;
    set->done = done;
    set->done_ctx = ctx;
    EACH_PEER(p, set) {
        if (p->resolving) { /* its callback comes in any case, and tells part_closed */
            set->open_parts++;
            (void)uv_cancel((uv_req_t *)&p->resolve);
        }
    }
    uv_close((uv_handle_t *)&set->dial_timer, on_timer_closed);
    px_overlay_io_close(set->io, on_overlay_closed, set);
}

size_t px_peers_connected(void *peers, struct px_cache_peer **ret, size_t cap)
{
    struct px_peers *set = peers;
    size_t n = 0;
    EACH_PEER(p, set)
        if (p->h3 != NULL && n < cap)
            ret[n++] = &p->cache;
    return n;
}

const struct px_addr *px_peers_local(const struct px_peers *set)
{
    return px_udp_local(px_overlay_io_udp(set->io));
}

void px_peers_log_stats(struct px_peers *set)
{
    EACH_PEER(p, set)
        if (p->link != NULL)
            log_stats(p, p->link, "peer.stats", 0, false);
}

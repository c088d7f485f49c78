/* Binds the peer manager to the overlay's socket, the timers, the cache service and the log. */
#include "node/peers.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "node/peers_internal.h"
#include "transport/sockaddr.h"

static uint64_t wall_now(void)
{
    time_t t = time(NULL);
    return t > 0 ? (uint64_t)t : 0;
}

static void on_timer(uv_timer_t *t)
{
    struct px_peers *set = t->data;
    px_peer_manager_run(set->manager, px_now_io());
    px_peers_rearm(set);
}

void px_peers_rearm(struct px_peers *set)
{
    px_nsec next = px_peer_manager_deadline(set->manager), now = px_now_io();
    if (set->closing)
        return;
    if (next == PX_NEVER)
        (void)uv_timer_stop(&set->timer);
    else
        (void)uv_timer_start(&set->timer, on_timer, next > now ? (next - now) / PX_MSEC + 1 : 0, 0);
}

/* ---- which addresses may be used ---- */

bool px_peers_on_link(const struct px_peers *set, const struct px_addr *a)
{
    if (set->config.monitor == NULL)
        return px_addr_is_loopback(a);
    return px_net_monitor_on_link(set->config.monitor, a);
}

/* Fits px_overlay_io_set_filter: in mode lan nothing leaves the link, and nothing is answered that
 * came from elsewhere. */
static bool may_pass(void *ctx, const struct px_addr *remote)
{
    return px_peers_on_link(ctx, remote);
}

int px_peers_usable(void *ctx, const struct px_addr *a)
{
    const struct px_peers *set = ctx;
    const struct px_addr *local = px_udp_local(px_overlay_io_udp(set->io));
    bool both = local->family == PX_ADDR_IP6 && px_addr_is_wildcard(local);
    struct px_circuit_view view;
    if (px_addr_is_circuit(a))
        return px_peer_circuit_look(set, a, &view) ? 0 : PX_ECLOSED;
    if (!px_addr_dialable(a) || (local->family != a->family && !both))
        return PX_EADDR;
    return set->config.mode == PX_MODE_LAN && !px_peers_on_link(set, a) ? PX_EOFFLINK : 0;
}

/* ---- what the manager wants ---- */

static int on_dial(void *ctx, const struct px_peer_id *id, const struct px_addr *addr,
                   struct px_link **ret)
{
    struct px_peers *set = ctx;
    int err = px_overlay_io_dial(set->io, id, addr, NULL, ret);
    if (err == 0 && px_peer_manager_calls(set->manager, id))
        px_link_set_guest(*ret);
    return err;
}

static void on_close(void *ctx, struct px_link *link, enum px_close_code code)
{
    (void)ctx;
    px_link_close(link, code);
}

static bool on_guest(void *ctx, const struct px_peer_id *id)
{
    struct px_peers *set = ctx;
    return set->config.guest != NULL && set->config.guest(set->config.ctx, id);
}

/* ---- what the manager tells ---- */

static void on_connected(void *ctx, struct px_peer *p)
{
    struct px_peers *set = ctx;
    struct px_peer_session *s = NULL;
    px_link_set_user(p->link, p);
    if (!p->guest && px_peer_session_new(set, p, &s) != 0) {
        px_link_close(p->link, PX_CLOSE_INTERNAL);
        return;
    }
    p->user = s;
    px_peer_log_connected(set, p);
    if (s != NULL && set->config.peer_up != NULL)
        set->config.peer_up(set->config.ctx, &p->id);
}

static void on_disconnected(void *ctx, struct px_peer *p, int err, bool by_peer)
{
    struct px_peers *set = ctx;
    px_peer_log_stats(set, p, p->guest ? "guest.disconnected" : "peer.disconnected", err, by_peer);
    px_peer_session_free(p->user);
    p->user = NULL;
    px_link_set_user(p->link, NULL);
}

static void on_good(void *ctx, const struct px_peer *p, const struct px_addr *addr)
{
    struct px_peers *set = ctx;
    if (set->book != NULL)
        px_address_book_good(set->book, &p->id, addr, wall_now());
}

static void on_forgotten(void *ctx, const struct px_peer_id *id)
{
    struct px_peers *set = ctx;
    if (set->book != NULL)
        px_address_book_forget(set->book, id);
}

static const struct px_peer_manager_ops manager_ops = {
    .dial = on_dial,
    .close = on_close,
    .resolve = px_peer_lookup,
    .usable = px_peers_usable,
    .guest = on_guest,
    .connected = on_connected,
    .disconnected = on_disconnected,
    .attempt_failed = px_peer_on_attempt_failed,
    .round_failed = px_peer_on_round_failed,
    .found = px_peer_on_found,
    .good = on_good,
    .forgotten = on_forgotten,
};

/* ---- what the overlay tells ---- */

static int on_authorize(void *ctx, const struct px_peer_id *id)
{
    struct px_peers *set = ctx;
    if (px_peer_relay_is_dialled(set, id))
        return 0;
    int err = px_peer_manager_authorize(set->manager, id);
    return err == PX_EUNLISTED && px_peers_expects(set, id) ? 0 : err;
}

static bool on_welcomes(void *ctx, const struct px_peer_id *id)
{
    struct px_peers *set = ctx;
    return px_peer_manager_welcomes(set->manager, id);
}

static void on_up(void *ctx, struct px_link *link)
{
    struct px_peers *set = ctx;
    struct px_path path;
    struct px_peer_relay *relay = px_peer_relay_find(set, link);
    if (relay != NULL) {
        if (relay->ops != NULL)
            relay->ops->up(relay->ctx, link);
        return;
    }
    px_link_path(link, &path);
    px_peer_manager_up(set->manager, link, px_link_peer(link), &path.remote,
                       px_link_is_quic_client(link), px_now_io());
    px_peers_rearm(set);
}

static void on_down(void *ctx, struct px_link *link, int err, bool by_peer, bool was_up)
{
    struct px_peers *set = ctx;
    struct px_peer_relay *relay = px_peer_relay_find(set, link);
    if (relay != NULL) {
        px_peer_relay_down(relay, err);
        return;
    }
    px_peer_circuit_left(set, link);
    if (was_up)
        px_peer_pings_end(set, link, PX_EOFFLINE);
    px_peer_manager_down(set->manager, link, px_link_peer(link), err, by_peer, px_now_io());
    px_peers_rearm(set);
}

static const struct px_stream_ops *on_stream(void *ctx, struct px_link *link, int64_t id,
                                             uint8_t type, void **ret_ctx)
{
    struct px_peers *set = ctx;
    struct px_peer *p = px_link_user(link);
    if (p == NULL)
        return NULL;
    for (size_t i = 0; i < set->handler_count; i++) {
        const struct px_peer_handler *h = &set->handlers[i];
        if (h->type == type)
            return h->guests || p->listed ? h->stream(h->ctx, link, id, ret_ctx) : NULL;
    }
    struct px_peer_session *s = p->user;
    return s != NULL ? px_h3_stream(s->h3, id, type, ret_ctx) : NULL;
}

static void on_streams_available(void *ctx, struct px_link *link)
{
    struct px_peers *set = ctx;
    struct px_peer *p = px_link_user(link);
    struct px_peer_session *s = p != NULL ? p->user : NULL;
    if (s != NULL)
        set->config.peer_ready(set->config.ctx, &s->cache);
}

static void on_path_changed(void *ctx, struct px_link *link)
{
    struct px_peers *set = ctx;
    struct px_peer *p = px_link_user(link);
    struct px_path path;
    struct px_peer_relay *relay = px_peer_relay_find(set, link);
    if (relay != NULL && relay->ops != NULL)
        relay->ops->moved(relay->ctx);
    if (p == NULL)
        return;
    px_link_path(link, &path);
    px_peer_circuit_moved(set, &p->remote, &path.remote);
    px_peer_manager_moved(set->manager, &p->id, &path.remote, px_now_io());
    px_peer_log_path(set, p);
}

static void on_pong(void *ctx, struct px_link *link, uint64_t nonce, px_nsec rtt)
{
    struct px_peers *set = ctx;
    struct px_peer_relay *relay = px_peer_relay_find(set, link);
    if (relay == NULL)
        px_peer_on_pong(set, link, nonce, rtt);
    else if (relay->ops != NULL)
        relay->ops->pong(relay->ctx, rtt);
}

static const struct px_overlay_ops overlay_ops = {
    .authorize = on_authorize,
    .guest = on_welcomes,
    .up = on_up,
    .down = on_down,
    .refused = px_peer_on_refused,
    .stream = on_stream,
    .streams_available = on_streams_available,
    .cloned = px_peer_on_cloned,
    .path_changed = on_path_changed,
    .lost = px_peer_on_lost,
    .pong = on_pong,
};

/* ---- what changes under it ---- */

static void reload(struct px_peers *set)
{
    px_peer_manager_reload(set->manager, px_allowlist_keys(set->config.allowlist), px_now_io());
    px_peers_rearm(set);
}

static void rename_session(void *ctx, struct px_peer *p)
{
    (void)ctx;
    if (p->user != NULL)
        px_peer_session_rename(p->user, p);
}

void px_peers_reload(struct px_peers *set)
{
    reload(set);
    px_peer_manager_each(set->manager, rename_session, NULL);
}

static void leave_foreign_link(void *ctx, struct px_peer *p)
{
    struct px_peers *set = ctx;
    struct px_path path;
    if (p->link == NULL)
        return;
    px_link_path(p->link, &path);
    if (!px_peers_on_link(set, &path.remote))
        px_link_close(p->link, PX_CLOSE_NONE);
}

void px_peers_network_changed(void *peers, enum px_net_change change)
{
    struct px_peers *set = peers;
    if (set->closing)
        return;
    if (set->config.mode == PX_MODE_LAN) {
        px_overlay_io_set_filter(set->io, may_pass, set); /* forgets what it knew */
        px_peer_manager_each(set->manager, leave_foreign_link, set);
    }
    (void)change; /* each of them is reason enough */
    px_overlay_io_network_changed(set->io);
    if (set->circuits.network_changed != NULL)
        set->circuits.network_changed(set->circuits_ctx);
    px_peer_manager_network_changed(set->manager, px_now_io());
    px_peers_rearm(set);
}

/* ---- the set ---- */

static bool remember(void *ctx, const struct px_peer_id *id, const struct px_addr *addr,
                     uint64_t ago)
{
    struct px_peers *set = ctx;
    return px_peer_manager_remember(set->manager, id, addr, ago * PX_SEC, px_now_io()) == 0;
}

/* Without it the node works as well, it only starts with less knowledge. */
static void open_book(struct px_peers *set)
{
    if (set->config.state == NULL)
        return;
    int err = px_address_book_new(set->config.state, set->config.log, &set->book);
    if (err == 0)
        err = px_address_book_load(set->book, wall_now(), remember, set);
    if (err == 0)
        return;
    px_log_event(set->config.log, PX_LOG_WARN, "address_book.unusable", PX_F_ERR(err));
    px_address_book_free(set->book);
    set->book = NULL;
}

static int open_manager(struct px_peers *set)
{
    const struct px_peer_manager_config c = {
        .self = set->config.identity->id,
        .rng = px_system_rng,
        .dial_max = set->config.dial_max,
        .ops = &manager_ops,
        .ctx = set,
    };
    return px_peer_manager_new(&c, &set->manager);
}

static int open_overlay(struct px_peers *set)
{
    const struct px_overlay_config oc = {
        .identity = set->config.identity,
        .network = set->config.network,
        .agent = PX_SLICE_LIT("peerix/" PX_VERSION),
        .ops = &overlay_ops,
        .ops_ctx = set,
        .listen = true,
        .quic = {.max_udp_payload = set->config.packet_max},
    };
    int err = px_overlay_io_new(set->config.loop, &set->config.listen, &oc, &set->io);
    if (err == 0 && set->config.mode == PX_MODE_LAN)
        px_overlay_io_set_filter(set->io, may_pass, set);
    return err;
}

static int open_timers(struct px_peers *set)
{
    if (uv_timer_init(set->config.loop, &set->timer) != 0)
        return PX_EIO;
    set->timer.data = set;
    return px_peer_pings_init(set);
}

int px_peers_new(const struct px_peers_config *config, struct px_peers **ret)
{
    struct px_peers *set = calloc(1, sizeof(*set));
    if (set == NULL)
        return PX_ENOMEM;
    set->config = *config;
    px_list_init(&set->sessions);
    px_list_init(&set->lookups);
    px_list_init(&set->relays);
    int err = open_manager(set);
    if (err == 0)
        err = open_overlay(set);
    if (err == 0)
        err = open_timers(set); /* of libuv, where it cannot fail */
    if (err != 0) {
        if (set->io != NULL)
            px_overlay_io_close(set->io, NULL, NULL);
        px_peer_manager_free(set->manager);
        free(set);
        return err;
    }
    set->open_parts = 3;
    reload(set);
    open_book(set);
    px_peers_rearm(set);
    *ret = set;
    return 0;
}

void px_peers_part_closed(struct px_peers *set)
{
    if (--set->open_parts > 0)
        return;
    void (*done)(void *) = set->done;
    void *ctx = set->done_ctx;
    px_peer_relays_free(set);
    px_peer_manager_free(set->manager);
    px_address_book_free(set->book);
    free(set);
    if (done != NULL)
        done(ctx);
}

static void on_timer_closed(uv_handle_t *h)
{
    px_peers_part_closed(h->data);
}

static void on_overlay_closed(void *ctx)
{
    px_peers_part_closed(ctx);
}

void px_peers_close(struct px_peers *set, void (*done)(void *ctx), void *ctx)
{
    set->closing = true;
    set->done = done;
    set->done_ctx = ctx;
    px_peer_manager_shutdown(set->manager);
    px_peer_pings_end(set, NULL, PX_ECLOSED);
    px_peer_lookups_close(set);
    uv_close((uv_handle_t *)&set->timer, on_timer_closed);
    px_peer_pings_close(set);
    px_overlay_io_close(set->io, on_overlay_closed, set);
    px_tls_pipes_close(set->pipes);
    set->pipes = NULL;
}

/* What the rest of the node wants of the set (peers.h): peers looked up, connected, dialled as
 * guests, addresses found for them, what goes on in all. */
#include "node/peers_internal.h"

size_t px_peers_connected(void *peers, struct px_cache_peer **ret, size_t cap)
{
    struct px_peers *set = peers;
    size_t n = 0;
    PX_LIST_EACH(it, &set->sessions)
        if (n < cap)
            ret[n++] = &PX_CONTAINER_OF(it, struct px_peer_session, node)->cache;
    return n;
}

int px_peers_add_handler(struct px_peers *set, const struct px_peer_handler *handler)
{
    for (size_t i = 0; i < set->handler_count; i++)
        if (set->handlers[i].type == handler->type)
            return PX_EEXIST;
    if (set->handler_count == PX_PEER_HANDLERS_MAX)
        return PX_ELIMIT;
    set->handlers[set->handler_count++] = *handler;
    return 0;
}

void px_peers_found(void *peers, const struct px_peer_id *id, const struct px_addr *addr,
                    enum px_source source)
{
    struct px_peers *set = peers;
    if (source == PX_SOURCE_RECORD && px_peers_usable(set, addr) != 0)
        return;
    bool discovered = source == PX_SOURCE_LAN || source == PX_SOURCE_MDNS;
    /* what is said to be near must be near: nobody may send us elsewhere */
    if (discovered && (set->config.mode == PX_MODE_WAN || !px_peers_on_link(set, addr)))
        return;
    px_peer_manager_found(set->manager, id, addr, source, px_now_io());
    if (source != PX_SOURCE_RECORD)
        px_overlay_io_suggest(set->io, id, addr); /* both may have moved, and a link lost its way */
    if (discovered)
        px_peers_prefer(set, id, addr); /* near is better than through a relay */
    px_peers_rearm(set);
}

static void fill_info(struct px_peers *set, struct px_peer *p, struct px_peer_info *ret)
{
    px_peer_manager_info(p, px_now_io(), ret);
    ret->grants = px_allowlist_grants(set->config.allowlist, &p->id);
    if (p->link == NULL)
        return;
    ret->agent = px_link_agent(p->link);
    px_link_path(p->link, &ret->path);
    ret->relayed = px_addr_is_circuit(&ret->path.remote);
    ret->relay.name = "";
    (void)px_peer_circuit_look(set, &ret->path.remote, &ret->relay);
    px_link_stats(p->link, &ret->stats);
}

struct each {
    struct px_peers *set;
    void (*fn)(void *ctx, const struct px_peer_info *info);
    void *ctx;
};

static void tell_each(void *ctx, struct px_peer *p)
{
    struct each *e = ctx;
    struct px_peer_info info;
    if (!p->listed && p->link == NULL)
        return; /* a guest that is being dialled, or gone */
    fill_info(e->set, p, &info);
    e->fn(e->ctx, &info);
}

void px_peers_each(struct px_peers *set, void (*fn)(void *ctx, const struct px_peer_info *info),
                   void *ctx)
{
    struct each e = {set, fn, ctx};
    px_peer_manager_each(set->manager, tell_each, &e);
}

int px_peers_info(struct px_peers *set, const struct px_peer_id *id, struct px_peer_info *ret)
{
    struct px_peer *p = px_peer_manager_find(set->manager, id);
    if (p == NULL || (!p->listed && p->link == NULL))
        return PX_ENOENT;
    fill_info(set, p, ret);
    return 0;
}

int px_peers_connect(struct px_peers *set, const struct px_peer_id *id, const char *addr,
                     void (*done)(void *ctx, int err), void *ctx)
{
    int err = px_peer_manager_connect(set->manager, id, addr, done, ctx, px_now_io());
    px_peers_rearm(set);
    return err;
}

int px_peers_disconnect(struct px_peers *set, const struct px_peer_id *id)
{
    int err = px_peer_manager_disconnect(set->manager, id, px_now_io());
    px_peers_rearm(set);
    return err;
}

void px_peers_renew(struct px_peers *set, const struct px_peer_id *id)
{
    px_peer_manager_renew(set->manager, id);
    px_peers_rearm(set);
}

bool px_peers_is_member(struct px_peers *set, const struct px_peer_id *id)
{
    const struct px_peer *p = px_peer_manager_find(set->manager, id);
    return p != NULL && p->user != NULL;
}

int px_peers_dial_guest(struct px_peers *set, const struct px_peer_id *id, const char *const *addrs,
                        size_t addr_count, const struct px_guest_ops *ops, void *ctx)
{
    int err =
        px_peer_manager_dial_guest(set->manager, id, addrs, addr_count, ops, ctx, px_now_io());
    px_peers_rearm(set);
    return err;
}

void px_peers_end_guest(struct px_peers *set, void *ctx)
{
    px_peer_manager_end_guest(set->manager, ctx, px_now_io());
    px_peers_rearm(set);
}

void px_peers_keep_guest(struct px_peers *set, const struct px_peer_id *id, px_nsec time)
{
    px_peer_manager_keep_guest(set->manager, id, time, px_now_io());
    px_peers_rearm(set);
}

const struct px_addr *px_peers_local(const struct px_peers *set)
{
    return px_udp_local(px_overlay_io_udp(set->io));
}

static void log_peer_stats(void *ctx, struct px_peer *p)
{
    if (p->link != NULL && !p->guest)
        px_peer_log_stats(ctx, p, "peer.stats", 0, false);
}

void px_peers_log_stats(struct px_peers *set)
{
    px_peer_manager_each(set->manager, log_peer_stats, set);
}

void px_peers_goaway(struct px_peers *set)
{
    PX_LIST_EACH(it, &set->sessions)
        px_h3_shutdown(PX_CONTAINER_OF(it, struct px_peer_session, node)->h3);
}

size_t px_peers_serving(const struct px_peers *set)
{
    size_t count = 0;
    PX_LIST_EACH(it, &set->sessions)
        count += px_h3_serving(PX_CONTAINER_OF(it, struct px_peer_session, node)->h3);
    return count;
}

/* Relays as node/peers sees them: links to them beside those of peers, and circuits as addresses
 * (docs/spec/paths.md §9) that come in where host names would be looked up. What is behind both is
 * node/relays. */
#include <stdlib.h>
#include <string.h>

#include "node/peers_internal.h"

/* ---- links to relays ---- */

static struct px_peer_relay *from_node(struct px_list *node)
{
    return PX_CONTAINER_OF(node, struct px_peer_relay, node);
}

struct px_peer_relay *px_peer_relay_find(const struct px_peers *set, const struct px_link *link)
{
    PX_LIST_EACH(it, &set->relays)
        if (from_node(it)->link == link)
            return from_node(it);
    return NULL;
}

bool px_peer_relay_is_dialled(const struct px_peers *set, const struct px_peer_id *id)
{
    PX_LIST_EACH(it, &set->relays)
        if (px_peer_id_eq(&from_node(it)->id, id))
            return true;
    return false;
}

static void forget(struct px_peer_relay *r)
{
    px_list_remove(&r->node);
    free(r);
}

void px_peer_relay_down(struct px_peer_relay *r, int err)
{
    const struct px_relay_link_ops *ops = r->ops;
    void *ctx = r->ctx;
    forget(r);
    if (ops != NULL)
        ops->down(ctx, err);
}

int px_peers_dial_relay(struct px_peers *set, const struct px_peer_id *id,
                        const struct px_addr *addr, const struct px_relay_link_ops *ops, void *ctx,
                        struct px_link **ret)
{
    size_t count = 0;
    PX_LIST_EACH(it, &set->relays)
        count++;
    if (set->config.mode == PX_MODE_LAN)
        return PX_EOFFLINK;
    if (set->closing || count >= 2 * PX_PEER_RELAYS_MAX) /* forgotten ones may still be closing */
        return PX_ELIMIT;
    if (!px_addr_is_pipe(addr) && !px_addr_dialable(addr))
        return PX_EADDR;
    struct px_peer_relay *r = malloc(sizeof(*r));
    if (r == NULL)
        return PX_ENOMEM;
    *r = (struct px_peer_relay){.id = *id, .ops = ops, .ctx = ctx};
    px_list_push_back(&set->relays, &r->node); /* before the dial: `authorize` looks here */
    int err = px_overlay_io_dial(set->io, id, addr, NULL, &r->link);
    if (err != 0) {
        forget(r);
        return err;
    }
    *ret = r->link;
    return 0;
}

void px_peers_forget_relay(struct px_peers *set, void *ctx)
{
    PX_LIST_EACH(it, &set->relays) {
        struct px_peer_relay *r = from_node(it);
        if (r->ops == NULL || r->ctx != ctx)
            continue;
        r->ops = NULL;
        px_link_close(r->link, PX_CLOSE_NONE);
    }
}

void px_peer_relays_free(struct px_peers *set)
{
    PX_LIST_EACH(it, &set->relays)
        forget(from_node(it));
}

/* ---- pipes to them ---- */

int px_peers_open_pipe(struct px_peers *set, const struct px_addr *tcp, const char *name,
                       const struct px_tls_pipes_ops *ops, void *ctx, struct px_addr *ret)
{
    if (set->config.mode == PX_MODE_LAN)
        return PX_EOFFLINK;
    int err = set->pipes != NULL
                  ? 0
                  : px_tls_pipes_new(set->config.loop, set->io, set->config.log, &set->pipes);
    return err != 0 ? err : px_tls_pipes_dial(set->pipes, tcp, name, ops, ctx, ret);
}

void px_peers_pipe_proved(struct px_peers *set, const struct px_addr *pipe)
{
    px_tls_pipes_set_proved(set->pipes, pipe, true);
}

void px_peers_close_pipe(struct px_peers *set, const struct px_addr *pipe)
{
    px_tls_pipes_hang_up(set->pipes, pipe);
}

/* ---- circuits ---- */

void px_peers_set_circuits(struct px_peers *set, const struct px_circuit_ops *ops, void *ctx)
{
    set->circuits = ops != NULL ? *ops : (struct px_circuit_ops){0};
    set->circuits_ctx = ctx;
    px_overlay_io_set_carrier(set->io, set->circuits.send, ctx);
    px_overlay_io_set_batch(set->io, set->circuits.batch, ctx);
}

void px_peers_set_relays(struct px_peers *set, const char *const *names, size_t count)
{
    char routes[PX_PEER_RELAYS_MAX][PX_AUTH_ADDR_MAX];
    size_t n = 0;
    for (size_t i = 0; i < count && n < PX_PEER_RELAYS_MAX; i++) {
        int len = snprintf(routes[n], sizeof(routes[n]), PX_RELAY_ROUTE "%s", names[i]);
        n += len > 0 && (size_t)len < sizeof(routes[n]);
    }
    px_peer_manager_relays(set->manager, (const char(*)[PX_AUTH_ADDR_MAX])routes, n, px_now_io());
    px_peers_rearm(set);
}

/* Is there an address besides that may still work? */
static bool is_alone(const struct px_peer *p)
{
    for (size_t i = 0; p != NULL && i < p->addrs.count; i++)
        if ((p->addrs.all[i].sources & ~(1u << PX_SOURCE_RELAY)) != 0 || p->addrs.all[i].given)
            return false;
    return true;
}

int px_peer_relay_call(struct px_peers *set, const struct px_peer_id *id, const char *route,
                       uint64_t token)
{
    if (set->circuits.call == NULL)
        return PX_EOFFLINE;
    return set->circuits.call(set->circuits_ctx, id, route + sizeof(PX_RELAY_ROUTE) - 1,
                              is_alone(px_peer_manager_find(set->manager, id)), token);
}

void px_peers_circuit(struct px_peers *set, const struct px_peer_id *id, uint64_t token,
                      const struct px_addr *circuit, int err)
{
    px_peer_manager_resolved(set->manager, id, token, circuit, circuit != NULL ? 1 : 0, err,
                             px_now_io());
    px_peers_rearm(set);
}

bool px_peers_expects(const struct px_peers *set, const struct px_peer_id *id)
{
    return set->config.expected != NULL && set->config.expected(set->config.ctx, id);
}

bool px_peers_may_come(struct px_peers *set, const struct px_peer_id *id)
{
    const struct px_peer *p = px_peer_manager_find(set->manager, id);
    return (p == NULL || !p->held) && (px_peer_manager_authorize(set->manager, id) == 0 ||
                                       px_peer_manager_welcomes(set->manager, id));
}

bool px_peers_is_connected(struct px_peers *set, const struct px_peer_id *id)
{
    const struct px_peer *p = px_peer_manager_find(set->manager, id);
    return p != NULL && p->link != NULL;
}

bool px_peers_link_remote(struct px_peers *set, const struct px_peer_id *id, struct px_addr *ret)
{
    const struct px_peer *p = px_peer_manager_find(set->manager, id);
    struct px_path path;
    if (p == NULL || p->link == NULL)
        return false;
    px_link_path(p->link, &path);
    *ret = path.remote;
    return true;
}

bool px_peers_link_on(struct px_peers *set, const struct px_peer_id *id,
                      const struct px_addr *circuit)
{
    struct px_addr remote;
    return px_peers_link_remote(set, id, &remote) && px_addr_eq(&remote, circuit);
}

bool px_peers_in_doubt(struct px_peers *set, const struct px_peer_id *id)
{
    const struct px_peer *p = px_peer_manager_find(set->manager, id);
    return p != NULL && p->link != NULL && px_link_is_lost(p->link);
}

void px_peers_suggest(struct px_peers *set, const struct px_peer_id *id, const struct px_addr *addr)
{
    const struct px_peer *p = px_peer_manager_find(set->manager, id);
    if (p != NULL && p->link != NULL && !px_peers_link_on(set, id, addr))
        px_link_suggest(p->link, addr);
}

void px_peers_prefer(struct px_peers *set, const struct px_peer_id *id, const struct px_addr *addr)
{
    const struct px_peer *p = px_peer_manager_find(set->manager, id);
    struct px_path path;
    if (p == NULL || p->link == NULL)
        return;
    px_link_path(p->link, &path);
    if (px_addr_is_circuit(&path.remote))
        px_link_prefer(p->link, addr);
}

static void leave_circuit(void *ctx, struct px_peer *p)
{
    struct px_path path;
    (void)ctx;
    if (p->link == NULL)
        return;
    px_link_path(p->link, &path);
    if (px_addr_is_circuit(&path.remote))
        px_link_close(p->link, PX_CLOSE_SHUTDOWN);
}

void px_peers_leave_circuits(struct px_peers *set)
{
    px_peer_manager_each(set->manager, leave_circuit, NULL);
}

void px_peers_carried(struct px_peers *set, const struct px_addr *circuit, unsigned ecn,
                      struct px_slice datagram)
{
    if (set->io != NULL)
        px_overlay_io_carried(set->io, circuit, ecn, datagram);
}

int px_peers_send(struct px_peers *set, const struct px_path *path, unsigned ecn,
                  struct px_slice data, size_t segment)
{
    return px_overlay_io_send(set->io, path, ecn, data, segment);
}

bool px_peer_circuit_look(const struct px_peers *set, const struct px_addr *circuit,
                          struct px_circuit_view *ret)
{
    return px_addr_is_circuit(circuit) && set->circuits.look != NULL &&
           set->circuits.look(set->circuits_ctx, circuit, ret);
}

void px_peer_circuit_left(struct px_peers *set, const struct px_link *link)
{
    struct px_path path;
    px_link_path(link, &path);
    if (px_addr_is_circuit(&path.remote) && set->circuits.left != NULL)
        set->circuits.left(set->circuits_ctx, &path.remote);
}

void px_peer_circuit_moved(struct px_peers *set, const struct px_addr *from,
                           const struct px_addr *to)
{
    if (px_addr_is_circuit(from) && !px_addr_eq(from, to) && set->circuits.left != NULL)
        set->circuits.left(set->circuits_ctx, from);
}

void px_peer_on_lost(void *ctx, struct px_link *link)
{
    struct px_peers *set = ctx;
    const struct px_peer *p = px_link_user(link);
    struct px_path path;
    char addr[PX_ADDR_TEXT_MAX];
    if (p == NULL || p->link != link) /* that of a relay, say */
        return;
    px_link_path(link, &path);
    px_log_event(set->config.log, PX_LOG_DEBUG, "peer.path_lost", PX_F_STR("id", p->id_text),
                 PX_F_STR("name", p->name), PX_F_STR("addr", px_addr_format(&path.remote, addr)));
    if (set->circuits.lost != NULL)
        set->circuits.lost(set->circuits_ctx, &p->id, &path.remote, px_link_is_quic_client(link));
}

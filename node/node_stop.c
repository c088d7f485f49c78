/* Shut-down, in the reverse order of the start: substituter, control API, rotation, pairing,
 * relays, peers and what these stand on. */
#include "node/node_internal.h"
#include "node/service_manager.h"

#define DRAIN_TICK_MS 20

static void close_signals(struct px_node *n)
{
    uv_signal_t *all[] = {&n->term, &n->intr, &n->usr1};
    for (int i = 0; i < n->signals; i++)
        if (!uv_is_closing((uv_handle_t *)all[i]))
            uv_close((uv_handle_t *)all[i], NULL);
    if (!uv_is_closing((uv_handle_t *)&n->drain))
        uv_close((uv_handle_t *)&n->drain, NULL);
}

/* ---- the parts that take their time, one after the other ---- */

static void close_next(struct px_node *n);

static void on_closed(void *ctx)
{
    close_next(ctx);
}

static bool close_substituter(struct px_node *n)
{
    if (n->substituter != NULL)
        px_substituter_close(n->substituter, PX_NODE_DRAIN, on_closed, n);
    return n->substituter != NULL;
}

static void substituter_closed(struct px_node *n)
{
    n->substituter = NULL;
    px_node_update_view(n);
}

static bool is_serving(const struct px_node *n)
{
    return n->peers != NULL && px_peers_serving(n->peers) > 0;
}

static void on_drain(uv_timer_t *timer)
{
    struct px_node *n = timer->data;
    if (is_serving(n) && px_now_io() < n->drain_until)
        return;
    (void)uv_timer_stop(timer);
    close_next(n);
}

/* Peers may still be taking what they asked for before the stop. */
static bool drain(struct px_node *n)
{
    if (!is_serving(n))
        return false;
    (void)uv_timer_start(&n->drain, on_drain, DRAIN_TICK_MS, DRAIN_TICK_MS);
    return true;
}

static bool close_control(struct px_node *n)
{
    if (n->control != NULL)
        px_control_close(n->control, on_closed, n);
    return n->control != NULL;
}

static void control_closed(struct px_node *n)
{
    px_config_reload_close(n->reload); /* the routes led there */
    n->reload = NULL;
}

static bool close_rotations(struct px_node *n)
{
    if (n->rotations != NULL)
        px_rotations_close(n->rotations, on_closed, n);
    return n->rotations != NULL;
}

static void rotations_closed(struct px_node *n)
{
    n->rotations = NULL;
}

static bool close_pairings(struct px_node *n)
{
    if (n->pairings != NULL)
        px_pairings_close(n->pairings, on_closed, n);
    return n->pairings != NULL;
}

static void pairings_closed(struct px_node *n)
{
    n->pairings = NULL;
}

static bool close_relays(struct px_node *n)
{
    if (n->relays != NULL)
        px_relays_close(n->relays, on_closed, n);
    return n->relays != NULL;
}

static void relays_closed(struct px_node *n)
{
    n->relays = NULL;
}

static bool close_peers(struct px_node *n)
{
    if (n->peers != NULL)
        px_peers_close(n->peers, on_closed, n);
    return n->peers != NULL;
}

static void peers_closed(struct px_node *n)
{
    n->peers = NULL;
    px_peer_history_io_close(n->history);
    n->history = NULL;
    px_sqlite_close(n->state);
    n->state = NULL;
    px_net_monitor_close(n->monitor);
    n->monitor = NULL;
    px_cache_service_free(n->service);
    n->service = NULL;
    px_store_close(n->store);
    n->store = NULL;
    px_allowlist_close(n->allowlist);
    n->allowlist = NULL;
    px_node_update_view(n);
    close_signals(n);
}

/* Goes on from the part that is closed now to the next one that has to be waited for. */
static void close_next(struct px_node *n)
{
    static const struct {
        bool (*begin)(struct px_node *n);  /* false: nothing to wait for */
        void (*finish)(struct px_node *n); /* may be NULL */
    } parts[] = {
        {close_substituter, substituter_closed},
        {drain, NULL},
        {close_control, control_closed},
        {close_rotations, rotations_closed},
        {close_pairings, pairings_closed},
        {close_relays, relays_closed},
        {close_peers, peers_closed},
    };
    for (;;) {
        if (n->closing > 0 && parts[n->closing - 1].finish != NULL)
            parts[n->closing - 1].finish(n);
        if (n->closing == PX_ARRAY_LEN(parts))
            return;
        if (parts[n->closing++].begin(n))
            return;
    }
}

static void on_discovery_closed(void *ctx)
{
    (void)ctx; /* nothing waits for it but the end of the loop */
}

static void log_discovery_stat(void *ctx, enum px_source source, const char *name, uint64_t value)
{
    struct px_node *n = ctx;
    px_log_event(n->log, PX_LOG_INFO, "discovery.stats",
                 PX_F_STR("backend", px_source_name(source)), PX_F_STR("counter", name),
                 PX_F_U64("value", value));
}

void px_node_log_stats(struct px_node *n)
{
    if (n->substituter != NULL) {
        struct px_substituter_stats s;
        px_substituter_stats(n->substituter, &s);
        px_log_event(n->log, PX_LOG_INFO, "substituter.stats",
                     PX_F_U64("narinfo_hits", s.narinfo_hits),
                     PX_F_U64("narinfo_misses", s.narinfo_misses),
                     PX_F_U64("narinfo_rejected", s.narinfo_rejected), PX_F_U64("nars", s.nars),
                     PX_F_U64("nar_bytes", s.nar_bytes), PX_F_U64("nars_cut", s.nar_cut));
    }
    if (n->peers != NULL)
        px_peers_log_stats(n->peers);
    if (n->discoveries != NULL)
        px_discoveries_stats(n->discoveries, log_discovery_stat, n);
}

void px_node_stop(struct px_node *n)
{
    if (n->stopping)
        return;
    n->stopping = true;
    n->drain_until = px_now_io() + PX_NODE_DRAIN;
    px_watchdog_io_close(n->watchdog);
    n->watchdog = NULL;
    if (n->peers != NULL)
        px_peers_goaway(n->peers);
    px_node_update_view(n);
    if (n->restart)
        px_service_notify_reloading();
    else
        px_service_notify("STOPPING=1");
    px_node_log_stats(n);
    if (n->discoveries != NULL) {
        struct px_discoveries *d = n->discoveries;
        n->discoveries = NULL;
        px_net_monitor_unlisten(n->monitor, &n->discovery_listener);
        px_discoveries_close(d, on_discovery_closed, n);
    }
    close_next(n);
}

void px_node_end(struct px_node *n, const char *why)
{
    px_log_event(n->log, PX_LOG_INFO, "node.stopping", PX_F_STR("signal", why));
    if (n->restart)
        px_service_notify("STOPPING=1");
    n->restart = false;
    px_node_stop(n);
}

/* The DNS-SD backend: lan_announce decides what is announced and who is recognised, mdns_worker
 * speaks to the Avahi daemon. Implements docs/spec/lan.md §4.2. */
#include "node/mdns.h"

#include <stdio.h>
#include <stdlib.h>

#include "node/lan_addrs.h"
#include "node/lan_announce.h"
#include "node/mdns_worker.h"

#define BROWSE_GAP (2 * PX_SEC) /* between two times everything is looked up again */
/* What was found is forgotten by peers after some minutes without being told again. */
#define BROWSE_EVERY_MS (4 * 60 * 1000)

struct mdns {
    struct px_discovery base;
    struct px_discovery_env env;
    struct px_mdns_config config;
    struct px_lan_announce *core;
    struct px_mdns_worker *worker;
    struct px_lan_addrs addrs;
    uv_timer_t timer;
    uv_timer_t again; /* everything is looked up once more */
    int open_handles;
    px_nsec browse_at; /* earliest */
    uint64_t off_link, instances;
    bool closing, told_absent;
    void (*closed)(void *ctx);
    void *closed_ctx;
};

static px_nsec now(void)
{
    return uv_hrtime();
}

/* ---- time ---- */

static void arm(struct mdns *m);

static void on_due(uv_timer_t *t)
{
    struct mdns *m = t->data;
    px_lan_announce_run(m->core, now());
    arm(m);
}

static void arm(struct mdns *m)
{
    px_nsec at = px_lan_announce_deadline(m->core), t = now();
    if (m->closing)
        return;
    if (at == PX_NEVER)
        (void)uv_timer_stop(&m->timer);
    else
        (void)uv_timer_start(&m->timer, on_due, at > t ? (at - t) / PX_MSEC + 1 : 0, 0);
}

static void on_again(uv_timer_t *t)
{
    struct mdns *m = t->data;
    px_mdns_worker_browse(m->worker);
}

/* ---- publishing ---- */

static void random_name(char ret[PX_MDNS_NAME_LEN + 1])
{
    uint8_t bytes[PX_MDNS_NAME_LEN / 2];
    px_system_rng.fill(px_system_rng.ctx, bytes, sizeof(bytes));
    for (size_t i = 0; i < sizeof(bytes); i++)
        snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
}

/* Filled in for the nth packet from the ith address. */
static void fill_instance(struct mdns *m, size_t i, size_t nth, enum px_lan_kind kind,
                          struct px_mdns_instance *ret)
{
    char host[PX_MDNS_NAME_LEN + 1];
    random_name(ret->name);
    random_name(host);
    snprintf(ret->host, sizeof(ret->host), "%s.local", host);
    ret->addr = m->addrs.all[i].addr;
    ret->ifindex = m->addrs.all[i].ifindex;
    ret->port = m->env.local.port;
    ret->len = px_lan_announce_write(m->core, nth, kind, &ret->addr, ret->packet);
}

static void on_send(void *ctx, enum px_lan_kind kind)
{
    struct mdns *m = ctx;
    size_t packets = px_lan_announce_packets(m->core);
    size_t count = PX_MIN(m->addrs.count * packets, (size_t)PX_MDNS_INSTANCES_MAX);
    struct px_mdns_instances *all = calloc(1, sizeof(*all) + count * sizeof(all->all[0]));
    if (all == NULL) {
        px_log_event(m->env.log, PX_LOG_WARN, "mdns.not_published", PX_F_ERR(PX_ENOMEM));
        return;
    }
    all->count = count;
    for (size_t k = 0; k < count; k++)
        fill_instance(m, k / packets, k % packets, kind, &all->all[k]);
    m->instances = count;
    px_mdns_worker_publish(m->worker, all);
}

/* ---- looking ---- */

static void on_found(void *ctx, const struct px_peer_id *id, const struct px_addr *addr)
{
    struct mdns *m = ctx;
    if (!m->closing)
        m->env.found(m->env.ctx, id, addr, m->base.source);
}

static void on_seen(void *ctx, const struct px_mdns_seen *seen)
{
    struct mdns *m = ctx;
    if (!px_net_monitor_on_link(m->env.monitor, &seen->addr)) {
        m->off_link++;
        return;
    }
    px_lan_announce_input(m->core, px_slice(seen->packet, seen->len), &seen->addr, now());
    arm(m);
}

/* Told once each way: many machines have no Avahi, and that is in order. */
static void on_status(void *ctx, enum px_mdns_status status)
{
    struct mdns *m = ctx;
    bool absent = status != PX_MDNS_RUNNING;
    if (absent && !m->told_absent)
        px_log_event(m->env.log, PX_LOG_INFO, "mdns.absent",
                     PX_F_STR("why", status == PX_MDNS_NO_BUS ? "there is no system D-Bus"
                                                              : "there is no Avahi daemon"));
    if (!absent)
        px_log_event(m->env.log, PX_LOG_DEBUG, "mdns.running", PX_F_U64("instances", m->instances));
    m->told_absent = m->told_absent || absent;
}

/* ---- the interface ---- */

static void keys_changed(struct px_discovery *d)
{
    struct mdns *m = PX_CONTAINER_OF(d, struct mdns, base);
    int err = px_lan_announce_set_peers(m->core, m->env.keys(m->env.ctx), now());
    if (err != 0)
        px_log_event(m->env.log, PX_LOG_WARN, "mdns.stale_list", PX_F_ERR(err));
    px_mdns_worker_browse(m->worker); /* somebody seen before may be listed now */
    arm(m);
}

static bool look_at_addresses(struct mdns *m)
{
    struct px_lan_addrs before = m->addrs;
    size_t n;
    const struct px_net_addr *all = px_net_monitor_addrs(m->env.monitor, &n);
    px_lan_addrs_pick(all, n, &m->env.local, m->config.loopback, &m->addrs);
    if (before.count != m->addrs.count)
        return true;
    for (size_t i = 0; i < before.count; i++)
        if (before.all[i].ifindex != m->addrs.all[i].ifindex ||
            !px_addr_eq(&before.all[i].addr, &m->addrs.all[i].addr))
            return true;
    return false;
}

/* What is published stands until the addresses change. */
static void refresh(struct px_discovery *d)
{
    struct mdns *m = PX_CONTAINER_OF(d, struct mdns, base);
    if (look_at_addresses(m))
        px_lan_announce_refresh(m->core, now());
    if (now() >= m->browse_at) {
        m->browse_at = now() + BROWSE_GAP;
        px_mdns_worker_browse(m->worker);
    }
    arm(m);
}

static void stats(const struct px_discovery *d,
                  void (*each)(void *ctx, const char *name, uint64_t value), void *ctx)
{
    const struct mdns *m = (const struct mdns *)d; /* embedded first */
    px_lan_announce_each_stat(m->core, each, ctx);
    each(ctx, "addresses", m->addrs.count);
    each(ctx, "off_link", m->off_link);
    each(ctx, "dropped", px_mdns_worker_dropped(m->worker));
}

static void on_handle_closed(uv_handle_t *h)
{
    struct mdns *m = h->data;
    if (--m->open_handles > 0)
        return;
    px_lan_announce_free(m->core);
    m->closed(m->closed_ctx);
    free(m);
}

static void on_worker_closed(void *ctx)
{
    struct mdns *m = ctx;
    uv_close((uv_handle_t *)&m->timer, on_handle_closed);
    uv_close((uv_handle_t *)&m->again, on_handle_closed);
}

static void close_now(struct px_discovery *d, void (*closed)(void *ctx), void *ctx)
{
    struct mdns *m = PX_CONTAINER_OF(d, struct mdns, base);
    m->closing = true;
    m->closed = closed;
    m->closed_ctx = ctx;
    (void)uv_timer_stop(&m->timer);
    (void)uv_timer_stop(&m->again);
    px_mdns_worker_close(m->worker, on_worker_closed, m);
}

static int new_core(struct mdns *m)
{
    static const struct px_lan_ops ops = {on_send, on_found};
    struct px_lan_config c = {.identity = m->env.identity,
                              .network = m->env.network,
                              .rng = px_system_rng,
                              .port = m->env.local.port,
                              .once = true,
                              .ops = &ops,
                              .ctx = m};
    return px_lan_announce_new(&c, now(), &m->core);
}

int px_mdns_new(const struct px_discovery_env *env, const struct px_mdns_config *config,
                struct px_discovery **ret)
{
    static const struct px_discovery_ops ops = {keys_changed, refresh, stats, close_now};
    static const struct px_mdns_worker_ops worker_ops = {on_seen, on_status};
    struct mdns *m = calloc(1, sizeof(*m));
    if (m == NULL)
        return PX_ENOMEM;
    m->base = (struct px_discovery){&ops, PX_SOURCE_MDNS};
    m->env = *env;
    m->config = *config;
    int err = new_core(m);
    if (err == 0)
        err = px_mdns_worker_new(env->loop, &worker_ops, m, &m->worker);
    if (err != 0) {
        px_lan_announce_free(m->core);
        free(m);
        return err;
    }
    px_assert(uv_timer_init(env->loop, &m->timer) == 0); /* cannot fail */
    px_assert(uv_timer_init(env->loop, &m->again) == 0);
    m->open_handles = 2;
    m->timer.data = m->again.data = m;
    (void)uv_timer_start(&m->again, on_again, BROWSE_EVERY_MS, BROWSE_EVERY_MS);
    (void)look_at_addresses(m);
    *ret = &m->base;
    keys_changed(&m->base);
    return 0;
}

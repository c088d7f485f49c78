/* The backends of a node, started by configuration and spoken to together. */
#include "node/discovery.h"

#include <stdlib.h>

#include "node/lan_io.h"
#include "node/mdns.h"

#define BACKENDS_MAX 2

struct px_discoveries {
    struct px_discovery *backends[BACKENDS_MAX];
    size_t count;
    size_t open; /* of them, while closing */
    void (*closed)(void *ctx);
    void *closed_ctx;
};

static void add(struct px_discoveries *d, const struct px_discovery_env *env, enum px_source source,
                int err, struct px_discovery *backend)
{
    if (err == 0)
        d->backends[d->count++] = backend;
    else
        px_log_event(env->log, err == PX_EUNSUPPORTED ? PX_LOG_INFO : PX_LOG_WARN, "discovery.off",
                     PX_F_STR("backend", px_source_name(source)), PX_F_ERR(err));
}

int px_discoveries_new(const struct px_discoveries_config *config,
                       const struct px_discovery_env *env, struct px_discoveries **ret)
{
    struct px_discoveries *d = calloc(1, sizeof(*d));
    struct px_discovery *backend = NULL;
    if (d == NULL)
        return PX_ENOMEM;
    if (config->multicast) {
        struct px_lan_io_config c = {.port = config->lan_port};
        int err = px_lan_io_new(env, &c, &backend);
        add(d, env, PX_SOURCE_LAN, err, backend);
    }
    if (config->mdns) {
        struct px_mdns_config c = {0};
        int err = px_mdns_new(env, &c, &backend);
        add(d, env, PX_SOURCE_MDNS, err, backend);
    }
    *ret = d;
    return 0;
}

void px_discoveries_keys_changed(struct px_discoveries *d)
{
    for (size_t i = 0; i < d->count; i++)
        d->backends[i]->ops->keys_changed(d->backends[i]);
}

void px_discoveries_refresh(struct px_discoveries *d)
{
    for (size_t i = 0; i < d->count; i++)
        d->backends[i]->ops->refresh(d->backends[i]);
}

struct each_stat {
    void (*each)(void *ctx, enum px_source source, const char *name, uint64_t value);
    void *ctx;
    enum px_source source;
};

static void each_stat(void *ctx, const char *name, uint64_t value)
{
    const struct each_stat *e = ctx;
    e->each(e->ctx, e->source, name, value);
}

void px_discoveries_stats(const struct px_discoveries *d,
                          void (*each)(void *ctx, enum px_source source, const char *name,
                                       uint64_t value),
                          void *ctx)
{
    for (size_t i = 0; i < d->count; i++) {
        struct each_stat e = {each, ctx, d->backends[i]->source};
        d->backends[i]->ops->stats(d->backends[i], each_stat, &e);
    }
}

static void end(struct px_discoveries *d)
{
    void (*closed)(void *ctx) = d->closed;
    void *ctx = d->closed_ctx;
    free(d);
    closed(ctx);
}

static void on_closed(void *ctx)
{
    struct px_discoveries *d = ctx;
    if (--d->open == 0)
        end(d);
}

void px_discoveries_close(struct px_discoveries *d, void (*closed)(void *ctx), void *ctx)
{
    d->closed = closed;
    d->closed_ctx = ctx;
    d->open = d->count;
    if (d->count == 0) {
        end(d);
        return;
    }
    for (size_t i = 0, n = d->count; i < n; i++)
        d->backends[i]->ops->close(d->backends[i], on_closed, d);
}

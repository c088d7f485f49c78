/* Start-up in dependency order, shut-down in the reverse: substituter, control API, peers,
 * service, store. */
#include "node/node.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "auth/identity_io.h"
#include "node/allowlist.h"
#include "node/config_reload.h"
#include "node/control_node.h"
#include "node/discovery.h"
#include "node/http_server.h"
#include "node/metrics_node.h"
#include "node/nix/cache_service.h"
#include "node/nix/nix_conf.h"
#include "node/nix/nix_key_io.h"
#include "node/nix/store.h"
#include "node/nix/substituter.h"
#include "node/pairing.h"
#include "node/pairing_export.h"
#include "node/peers.h"
#include "node/relays.h"
#include "node/rotation.h"
#include "node/service_manager.h"
#include "node/state_db.h"
#include "node/trusted_keys.h"
#include "node/watchdog_io.h"

#define HOLD_WHOLE_MAX (1024u * 1024) /* NARs up to this size are held until verified */
#define DRAIN_TICK_MS  20
#define HOLD_TOTAL_MAX (8u * 1024 * 1024) /* all of them together */

struct node {
    const struct px_node_env *env;
    const struct px_home *home;
    const struct px_config *config;
    const struct px_log *log;
    uv_loop_t loop;
    uv_signal_t term, intr, usr1;
    int signals; /* how many of them are initialised */
    uv_timer_t drain;
    px_nsec drain_until;
    struct px_identity identity;
    struct px_nix_secret_key own_key;
    bool has_own_key;
    struct px_nix_public_key own_public; /* of own_key */
    struct px_nix_keys trusted, share;   /* as configured; those of paired peers come on top */
    struct px_allowlist *allowlist;
    struct px_sqlite *state;        /* NULL: nothing is remembered */
    struct px_net_monitor *monitor; /* NULL: changes of the network go unseen */
    struct px_net_listener net_listener;
    struct px_discoveries *discoveries; /* NULL: addresses are looked for nowhere */
    struct px_net_listener discovery_listener;
    struct px_store *store;
    struct px_cache_service *service;
    struct px_peers *peers;
    char relays_path[PX_HOME_FILE_MAX];
    struct px_relays *relays; /* NULL: none are used */
    struct px_pairings *pairings;
    struct px_rotations *rotations;
    struct px_substituter *substituter;
    struct px_control *control;
    struct px_control_node view; /* what the control API sees of all this */
    struct px_config_reload *reload;
    struct px_watchdog_io *watchdog;
    int listen_fd; /* the substituter's if we opened it; kept over a restart in place */
    bool stopping, restart;
};

static void stop(struct node *n);
static void end(struct node *n, const char *why);

/* ---- start-up, a step a function ---- */

static int start_identity(struct node *n)
{
    char path[PX_HOME_PATH_MAX + 64], hint[256] = "";
    px_home_config_path(n->home, PX_HOME_IDENTITY, path);
    int err = px_identity_load(path, &n->identity, hint, sizeof(hint));
    if (err != 0)
        px_log_event(n->log, PX_LOG_ERROR, "identity.unusable", PX_F_STR("file", path),
                     PX_F_ERR(err), PX_F_STR("hint", hint));
    return err;
}

static void on_shutdown(void *ctx)
{
    struct node *n = ctx;
    end(n, "control API");
}

/* Early, so that a second daemon of this home ends before it takes anything else. From here on what
 * is logged also goes to those who follow the events. */
static int start_control(struct node *n)
{
    int other_pid;
    int err = px_control_new(&n->loop, n->home, n->log, &other_pid, &n->control);
    if (err != 0)
        return err;
    n->log = px_control_tee(n->control, n->log);
    n->view = (struct px_control_node){
        .loop = &n->loop,
        .home = n->home,
        .config = n->config,
        .log = n->log,
        .identity = &n->identity,
        .control = n->control,
        .started = px_now_io(),
        .stop = on_shutdown,
        .ctx = n,
    };
    return px_control_node_routes(&n->view);
}

/* The parts as they are now. */
static void update_view(struct node *n)
{
    n->view.allowlist = n->allowlist;
    n->view.store = n->store;
    n->view.peers = n->peers;
    n->view.service = n->service;
    n->view.substituter = n->substituter;
    n->view.discoveries = n->stopping ? NULL : n->discoveries;
    n->view.relays = n->stopping ? NULL : n->relays;
    n->view.stopping = n->stopping;
}

static int start_nix_key(struct node *n)
{
    char hint[256] = "";
    int err = px_nix_key_load(n->home, n->config->nix_key, &n->own_key, hint, sizeof(hint));
    if (err == PX_ENOENT) { /* only the grant `cache-own` needs it */
        px_log_event(n->log, PX_LOG_WARN, "nix_key.missing", PX_F_STR("hint", hint));
        return 0;
    }
    if (err != 0)
        px_log_event(n->log, PX_LOG_ERROR, "nix_key.unusable", PX_F_ERR(err),
                     PX_F_STR("hint", hint));
    n->has_own_key = err == 0;
    if (n->has_own_key)
        px_nix_secret_key_public(&n->own_key, &n->own_public);
    return err;
}

static int add_keys(struct node *n, struct px_nix_keys *keys, const struct px_string_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        int err = px_nix_keys_add(keys, px_slice_cstr(list->items[i]));
        if (err != 0) {
            px_log_event(n->log, PX_LOG_ERROR, "key.malformed", PX_F_STR("key", list->items[i]),
                         PX_F_ERR(err));
            return err;
        }
    }
    return 0;
}

static int start_trusted_keys(struct node *n)
{
    int err = 0;
    if (n->config->nix_conf[0] != '\0')
        err = px_nix_conf_keys(n->config->nix_conf, n->log, &n->trusted);
    return err != 0 ? err : add_keys(n, &n->trusted, &n->config->trusted_public_keys);
}

static int start_share_keys(struct node *n)
{
    int err = px_nix_keys_add(&n->share, px_slice_cstr(px_nix_default_key));
    return err != 0 ? err : add_keys(n, &n->share, &n->config->share_keys);
}

/* What is configured and the keys of paired peers that are listed now. */
static int all_trusted_keys(const struct node *n, struct px_nix_keys *ret)
{
    char path[PX_HOME_FILE_MAX];
    struct px_nix_keys keys = {.count = n->trusted.count};
    size_t size = PX_MAX(n->trusted.count, (size_t)1) * sizeof(*keys.keys);
    keys.keys = malloc(size);
    if (keys.keys == NULL)
        return PX_ENOMEM;
    if (keys.count > 0)
        memcpy(keys.keys, n->trusted.keys, keys.count * sizeof(*keys.keys));
    px_home_config_path(n->home, PX_HOME_TRUSTED_KEYS, path);
    int err = px_trusted_keys_load(path, px_allowlist_keys(n->allowlist), n->log, &keys);
    if (err != 0) /* those that were read stay */
        px_log_event(n->log, PX_LOG_ERROR, "trusted_keys.unreadable", PX_F_STR("file", path),
                     PX_F_ERR(err));
    *ret = keys;
    return 0;
}

static void reload_trusted_keys(struct node *n)
{
    struct px_nix_keys keys;
    int err = all_trusted_keys(n, &keys);
    if (err == 0) {
        err = px_substituter_set_trusted_keys(n->substituter, keys.keys, keys.count);
        px_nix_keys_deinit(&keys);
    }
    if (err != 0)
        px_log_event(n->log, PX_LOG_ERROR, "trusted_keys.not_reloaded", PX_F_ERR(err));
}

/* For Nix to import; a home that is not ours to write has none. */
static void export_peers(struct node *n)
{
    char http[PX_ADDR_TEXT_MAX];
    px_addr_format(px_substituter_local(n->substituter), http);
    int err = px_pairing_export_file(n->home, px_allowlist_keys(n->allowlist), http);
    if (err != 0)
        px_log_event(n->log, PX_LOG_DEBUG, "peers_json.not_written", PX_F_ERR(err));
}

static void on_allowlist_changed(void *ctx)
{
    struct node *n = ctx;
    if (n->peers != NULL && !n->stopping)
        px_peers_reload(n->peers);
    if (n->substituter != NULL) {
        reload_trusted_keys(n);
        export_peers(n);
    }
    if (n->discoveries != NULL)
        px_discoveries_keys_changed(n->discoveries);
}

static int start_allowlist(struct node *n)
{
    char path[PX_HOME_PATH_MAX + 64];
    px_home_config_path(n->home, PX_HOME_AUTHORIZED_KEYS, path);
    return px_allowlist_new(&n->loop, path, n->log, on_allowlist_changed, n, &n->allowlist);
}

static int start_store(struct node *n)
{
    struct px_store_uri uri;
    char hint[256] = "";
    int err = px_store_uri_parse(n->config->store, &uri, hint, sizeof(hint));
    if (err == 0)
        err = px_store_open(&n->loop, &uri, n->log, &n->store);
    if (err != 0 && hint[0] == '\0')
        snprintf(hint, sizeof(hint),
                 "is there a Nix store, and may this user read it? see --store");
    if (err != 0)
        px_log_event(n->log, PX_LOG_ERROR, "store.unusable", PX_F_STR("store", n->config->store),
                     PX_F_ERR(err), PX_F_STR("hint", hint));
    return err;
}

static int start_service(struct node *n)
{
    struct px_cache_service_config c = {
        .store = n->store,
        .share_keys = n->share.keys,
        .share_key_count = n->share.count,
        .own_key = n->has_own_key ? &n->own_key : NULL,
        .grants = px_allowlist_grants,
        .grants_ctx = n->allowlist,
        .log = n->log,
    };
    return px_cache_service_new(&c, &n->service);
}

static void on_peer_gone(void *ctx, struct px_cache_peer *peer)
{
    struct node *n = ctx;
    if (n->substituter != NULL)
        px_substituter_peer_gone(n->substituter, peer);
    if (n->discoveries != NULL)
        px_discoveries_refresh(n->discoveries);
}

static void on_peer_ready(void *ctx, struct px_cache_peer *peer)
{
    struct node *n = ctx;
    if (n->substituter != NULL)
        px_substituter_peer_ready(n->substituter, peer);
}

static bool on_expected(void *ctx, const struct px_peer_id *id)
{
    const struct node *n = ctx;
    return n->rotations != NULL && px_rotations_guest(n->rotations, id);
}

static bool on_guest(void *ctx, const struct px_peer_id *id)
{
    const struct node *n = ctx;
    return on_expected(ctx, id) || (n->pairings != NULL && px_pairings_guest(n->pairings, id));
}

static void on_peer_up(void *ctx, const struct px_peer_id *id)
{
    const struct node *n = ctx;
    if (n->pairings != NULL)
        px_pairings_peer_up(n->pairings, id);
}

/* Neither is needed to serve or to fetch: without them the node goes on. */
static int start_state_db(struct node *n)
{
    int err = px_state_db_open(n->home, n->log, &n->state);
    if (err != 0)
        px_log_event(n->log, PX_LOG_WARN, "state.unusable",
                     PX_F_STR("directory", n->home->state_dir), PX_F_ERR(err),
                     PX_F_STR("hint", "addresses of peers are forgotten when the node ends"));
    return 0;
}

static int start_net_monitor(struct node *n)
{
    int err = px_net_monitor_new(&n->loop, n->log, &n->monitor);
    if (err != 0)
        px_log_event(n->log, PX_LOG_WARN, "net_monitor.unusable", PX_F_ERR(err));
    return 0;
}

static enum px_mode mode_of(const char *text)
{
    return strcmp(text, "lan") == 0   ? PX_MODE_LAN
           : strcmp(text, "wan") == 0 ? PX_MODE_WAN
                                      : PX_MODE_BOTH;
}

static int start_peers(struct node *n)
{
    struct px_peers_config c = {
        .loop = &n->loop,
        .log = n->log,
        .identity = &n->identity,
        .allowlist = n->allowlist,
        .service = n->service,
        .network = px_slice_cstr(n->config->network),
        .dial_max = n->config->dial_max_ms * PX_MSEC,
        .packet_max = (size_t)n->config->packet_max,
        .mode = mode_of(n->config->mode),
        .monitor = n->monitor,
        .state = n->state,
        .guest = on_guest,
        .expected = on_expected,
        .peer_up = on_peer_up,
        .peer_gone = on_peer_gone,
        .peer_ready = on_peer_ready,
        .ctx = n,
    };
    int err = px_addr_parse(px_slice_cstr(n->config->listen), &c.listen);
    if (err == 0)
        err = px_peers_new(&c, &n->peers);
    if (err == 0 && n->monitor != NULL) {
        n->net_listener =
            (struct px_net_listener){.changed = px_peers_network_changed, .ctx = n->peers};
        px_net_monitor_listen(n->monitor, &n->net_listener);
    }
    return err;
}

/* In mode lan nothing leaves the link. */
static int start_relays(struct node *n)
{
    const struct px_relays_config c = {
        .loop = &n->loop,
        .log = n->log,
        .path = n->relays_path,
        .identity = &n->identity,
        .network = n->config->network,
        .allowlist = n->allowlist,
        .monitor = n->monitor,
        .peers = n->peers,
    };
    px_home_config_path(n->home, PX_HOME_RELAYS, n->relays_path);
    return mode_of(n->config->mode) == PX_MODE_LAN ? 0 : px_relays_new(&c, &n->relays);
}

static int start_pairing(struct node *n)
{
    struct px_pairings_config c = {
        .loop = &n->loop,
        .log = n->log,
        .home = n->home,
        .identity = &n->identity,
        .network = n->config->network,
        .allowlist = n->allowlist,
        .peers = n->peers,
        .relays = n->relays,
        .monitor = n->monitor,
        .state = n->state,
        .control = n->control,
        .own_key = n->has_own_key ? &n->own_public : NULL,
        .announce = &n->config->announce_addrs,
    };
    return px_pairings_new(&c, &n->pairings);
}

/* Parts begin anew with what the files hold now. */
static void restart_in_place(void *ctx)
{
    struct node *n = ctx;
    if (n->stopping)
        return;
    n->restart = true;
    stop(n);
}

static int start_rotation(struct node *n)
{
    struct px_rotations_config c = {
        .loop = &n->loop,
        .log = n->log,
        .home = n->home,
        .identity = &n->identity,
        .network = n->config->network,
        .allowlist = n->allowlist,
        .peers = n->peers,
        .state = n->state,
        .control = n->control,
        .restart = restart_in_place,
        .ctx = n,
    };
    return px_rotations_new(&c, &n->rotations);
}

static const struct px_authorized_keys *listed_peers(void *ctx)
{
    struct node *n = ctx;
    return px_allowlist_keys(n->allowlist);
}

static void on_peer_found(void *ctx, const struct px_peer_id *id, const struct px_addr *addr,
                          enum px_source source)
{
    struct node *n = ctx;
    px_peers_found(n->peers, id, addr, source);
}

static void refresh_discovery(void *ctx, enum px_net_change change)
{
    struct node *n = ctx;
    (void)change;
    if (n->discoveries != NULL)
        px_discoveries_refresh(n->discoveries);
}

static int start_discovery(struct node *n)
{
    const char *which = n->config->lan_discovery;
    bool both = strcmp(which, "both") == 0;
    struct px_discoveries_config c = {.multicast = both || strcmp(which, "multicast") == 0,
                                      .mdns = both || strcmp(which, "mdns") == 0,
                                      .lan_port = (uint16_t)n->config->lan_port};
    struct px_discovery_env env = {.loop = &n->loop,
                                   .log = n->log,
                                   .identity = &n->identity,
                                   .monitor = n->monitor,
                                   .local = *px_peers_local(n->peers),
                                   .network = px_slice_cstr(n->config->network),
                                   .keys = listed_peers,
                                   .found = on_peer_found,
                                   .ctx = n};
    if (n->monitor == NULL || mode_of(n->config->mode) == PX_MODE_WAN)
        return 0;
    int err = px_discoveries_new(&c, &env, &n->discoveries);
    if (err != 0)
        return err;
    n->discovery_listener = (struct px_net_listener){.changed = refresh_discovery, .ctx = n};
    px_net_monitor_listen(n->monitor, &n->discovery_listener);
    return 0;
}

static int start_substituter(struct node *n)
{
    struct px_substituter_config c = {
        .loop = &n->loop,
        .log = n->log,
        .listen_fd = -1,
        .store_dir = px_store_dir(n->store),
        .priority = (unsigned)n->config->priority,
        .trust_peers = n->config->trust_peers,
        .own_key = n->config->sign_passed && n->has_own_key ? &n->own_key : NULL,
        .deadline = n->config->deadline_ms * PX_MSEC,
        .stall = n->config->stall_ms * PX_MSEC,
        .hold_whole = HOLD_WHOLE_MAX,
        .hold_total = HOLD_TOTAL_MAX,
        .peers = px_peers_connected,
        .peers_ctx = n->peers,
        .page = px_metrics_page,
        .page_ctx = &n->view,
    };
    int err = px_addr_parse(px_slice_cstr(n->config->http), &c.listen);
    if (err != 0)
        return err;
    if (n->env->listen_fd < 0)
        err = px_http_listen_tcp(&c.listen, &n->listen_fd);
    if (err != 0)
        return err;
    /* a copy: the original outlives restarts in place */
    c.listen_fd = fcntl(n->listen_fd >= 0 ? n->listen_fd : n->env->listen_fd, F_DUPFD_CLOEXEC, 3);
    if (c.listen_fd < 0)
        return px_err_from_errno(errno);
    err = px_substituter_new(&c, &n->substituter);
    if (err == 0) {
        reload_trusted_keys(n);
        export_peers(n);
    }
    return err;
}

static int on_load_config(void *ctx, struct px_config **ret, char *ret_message, size_t size)
{
    struct node *n = ctx;
    return n->env->load(n->env->ctx, ret, ret_message, size);
}

static void on_live_config(void *ctx, const struct px_config *c)
{
    struct node *n = ctx;
    n->env->set_log_level(n->env->ctx, c->log_level);
    if (n->substituter != NULL)
        px_substituter_set_limits(n->substituter, (unsigned)c->priority, c->deadline_ms * PX_MSEC,
                                  c->stall_ms * PX_MSEC);
}

static int start_reload(struct node *n)
{
    static const struct px_config_reload_ops ops = {
        .load = on_load_config, .live = on_live_config, .restart = restart_in_place};
    int err = px_config_reload_new(&n->loop, n->home, n->log, n->config, &ops, n, &n->reload);
    return err != 0 ? err : px_config_reload_routes(n->reload, n->control);
}

static void on_alive(void *ctx)
{
    (void)ctx;
    px_service_notify("WATCHDOG=1");
}

static int start_watchdog(struct node *n)
{
    struct px_watchdog_io_config c = {.loop = &n->loop,
                                      .log = n->log,
                                      .allowed_usec = px_service_watchdog_usec(),
                                      .overlay = *px_peers_local(n->peers),
                                      .substituter = *px_substituter_local(n->substituter),
                                      .control = px_control_path(n->control),
                                      .alive = on_alive};
    return px_watchdog_io_new(&c, &n->watchdog);
}

/* ---- signals and shut-down ---- */

static void close_signals(struct node *n)
{
    uv_signal_t *all[] = {&n->term, &n->intr, &n->usr1};
    for (int i = 0; i < n->signals; i++)
        if (!uv_is_closing((uv_handle_t *)all[i]))
            uv_close((uv_handle_t *)all[i], NULL);
    if (!uv_is_closing((uv_handle_t *)&n->drain))
        uv_close((uv_handle_t *)&n->drain, NULL);
}

static void on_peers_closed(void *ctx)
{
    struct node *n = ctx;
    n->peers = NULL;
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
    update_view(n);
    close_signals(n);
}

static void on_relays_closed(void *ctx)
{
    struct node *n = ctx;
    n->relays = NULL;
    if (n->peers != NULL)
        px_peers_close(n->peers, on_peers_closed, n);
    else
        on_peers_closed(n);
}

static void on_pairings_closed(void *ctx)
{
    struct node *n = ctx;
    n->pairings = NULL;
    if (n->relays != NULL)
        px_relays_close(n->relays, on_relays_closed, n);
    else
        on_relays_closed(n);
}

static void on_rotations_closed(void *ctx)
{
    struct node *n = ctx;
    n->rotations = NULL;
    if (n->pairings != NULL)
        px_pairings_close(n->pairings, on_pairings_closed, n);
    else
        on_pairings_closed(n);
}

static void on_control_closed(void *ctx)
{
    struct node *n = ctx;
    px_config_reload_close(n->reload); /* the routes led there */
    n->reload = NULL;
    if (n->rotations != NULL)
        px_rotations_close(n->rotations, on_rotations_closed, n);
    else
        on_rotations_closed(n);
}

static void close_control(struct node *n)
{
    if (n->control != NULL)
        px_control_close(n->control, on_control_closed, n);
    else
        on_control_closed(n);
}

/* Peers may still be taking what they asked for before the stop. */
static void on_drain(uv_timer_t *timer)
{
    struct node *n = timer->data;
    if (n->peers != NULL && px_peers_serving(n->peers) > 0 && px_now_io() < n->drain_until)
        return;
    (void)uv_timer_stop(timer);
    close_control(n);
}

static void on_substituter_closed(void *ctx)
{
    struct node *n = ctx;
    n->substituter = NULL;
    update_view(n);
    if (n->peers != NULL && px_peers_serving(n->peers) > 0)
        (void)uv_timer_start(&n->drain, on_drain, DRAIN_TICK_MS, DRAIN_TICK_MS);
    else
        close_control(n);
}

static void on_discovery_closed(void *ctx)
{
    (void)ctx; /* nothing waits for it but the end of the loop */
}

static void log_discovery_stat(void *ctx, enum px_source source, const char *name, uint64_t value)
{
    struct node *n = ctx;
    px_log_event(n->log, PX_LOG_INFO, "discovery.stats",
                 PX_F_STR("backend", px_source_name(source)), PX_F_STR("counter", name),
                 PX_F_U64("value", value));
}

static void log_stats(struct node *n)
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

static void stop(struct node *n)
{
    if (n->stopping)
        return;
    n->stopping = true;
    n->drain_until = px_now_io() + PX_NODE_DRAIN;
    px_watchdog_io_close(n->watchdog);
    n->watchdog = NULL;
    if (n->peers != NULL)
        px_peers_goaway(n->peers);
    update_view(n);
    if (n->restart)
        px_service_notify_reloading();
    else
        px_service_notify("STOPPING=1");
    log_stats(n);
    if (n->discoveries != NULL) {
        struct px_discoveries *d = n->discoveries;
        n->discoveries = NULL;
        px_net_monitor_unlisten(n->monitor, &n->discovery_listener);
        px_discoveries_close(d, on_discovery_closed, n);
    }
    if (n->substituter != NULL)
        px_substituter_close(n->substituter, PX_NODE_DRAIN, on_substituter_closed, n);
    else
        on_substituter_closed(n);
}

/* For good, also when parts are about to start anew. */
static void end(struct node *n, const char *why)
{
    px_log_event(n->log, PX_LOG_INFO, "node.stopping", PX_F_STR("signal", why));
    if (n->restart)
        px_service_notify("STOPPING=1");
    n->restart = false;
    stop(n);
}

static void on_stop_signal(uv_signal_t *s, int signum)
{
    end(s->data, strsignal(signum));
}

static void on_stats_signal(uv_signal_t *s, int signum)
{
    (void)signum;
    log_stats(s->data);
}

static int start_signals(struct node *n)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGUSR1};
    uv_signal_t *all[] = {&n->term, &n->intr, &n->usr1};
    (void)uv_timer_init(&n->loop, &n->drain);
    n->drain.data = n;
    for (size_t i = 0; i < PX_ARRAY_LEN(all); i++) {
        if (uv_signal_init(&n->loop, all[i]) != 0)
            return PX_EIO;
        n->signals++;
        all[i]->data = n;
        if (uv_signal_start(all[i], numbers[i] == SIGUSR1 ? on_stats_signal : on_stop_signal,
                            numbers[i]) != 0)
            return PX_EIO;
    }
    return 0;
}

/* Many clients of nix and many peers: ask for all the descriptors we may have. */
static void raise_fd_limit(void)
{
    struct rlimit lim;
    if (getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur < lim.rlim_max) {
        lim.rlim_cur = lim.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &lim);
    }
}

static int start(struct node *n, const char **ret_part)
{
    static const struct {
        const char *part;
        int (*run)(struct node *n);
    } steps[] = {
        {"loop", start_signals},
        {"identity", start_identity},
        {"control", start_control},
        {"nix-key", start_nix_key},
        {"trusted-public-keys", start_trusted_keys},
        {"share-keys", start_share_keys},
        {"authorized_keys", start_allowlist},
        {"store", start_store},
        {"service", start_service},
        {"state", start_state_db},
        {"network", start_net_monitor},
        {"listen", start_peers},
        {"relays", start_relays},
        {"pairing", start_pairing},
        {"rotation", start_rotation},
        {"discovery", start_discovery},
        {"http", start_substituter},
        {"config", start_reload},
        {"watchdog", start_watchdog},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(steps); i++) {
        int err = steps[i].run(n);
        if (err != 0) {
            *ret_part = steps[i].part;
            return err;
        }
    }
    update_view(n);
    return 0;
}

static void announce_ready(struct node *n)
{
    char peer[PX_PEER_ID_TEXT_MAX], overlay[PX_ADDR_TEXT_MAX], http[PX_ADDR_TEXT_MAX];
    px_log_event(n->log, PX_LOG_INFO, "ready",
                 PX_F_STR("peer", px_peer_id_format(&n->identity.id, peer)),
                 PX_F_STR("overlay", px_addr_format(px_peers_local(n->peers), overlay)),
                 PX_F_STR("http", px_addr_format(px_substituter_local(n->substituter), http)),
                 PX_F_STR("store", px_store_describe(n->store)),
                 PX_F_STR("control", px_control_path(n->control)), PX_F_STR("version", PX_VERSION),
                 PX_F_U64("pid", (uint64_t)getpid()));
    px_service_notify("READY=1");
}

/* Chunks of NARs come and go by the thousand a second. malloc would map each anew, and the kernel
 * zero it: a tenth of a transfer's CPU time. */
static void keep_chunks_in_heap(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, 1024 * 1024);
    (void)mallopt(M_TRIM_THRESHOLD, 4 * 1024 * 1024);
}

static int run(struct node *n, struct px_node_end *ret_end)
{
    int err = start(n, &ret_end->part);
    ret_end->ready = err == 0;
    if (err == 0)
        announce_ready(n);
    else
        stop(n);
    (void)uv_run(&n->loop, UV_RUN_DEFAULT);
    px_assert(uv_loop_close(&n->loop) == 0); /* every handle was closed by its owner */
    px_control_free(n->control);             /* after all who log through it */
    px_nix_keys_deinit(&n->trusted);
    px_nix_keys_deinit(&n->share);
    px_nix_secret_key_wipe(&n->own_key);
    px_identity_wipe(&n->identity);
    return err;
}

int px_node_run(const struct px_node_env *env, struct px_node_end *ret_end)
{
    struct node *n = calloc(1, sizeof(*n));
    *ret_end = (struct px_node_end){.part = "loop", .listen_fd = -1};
    if (n == NULL)
        return PX_ENOMEM;
    n->env = env;
    n->listen_fd = -1;
    n->home = env->home;
    n->config = env->config;
    n->log = env->log;
    keep_chunks_in_heap();
    int err = px_crypto_init();
    if (err != 0 || uv_loop_init(&n->loop) != 0) {
        free(n);
        return err != 0 ? err : PX_EIO;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    raise_fd_limit();
    err = run(n, ret_end);
    ret_end->restart = n->restart;
    if (n->restart)
        ret_end->listen_fd = n->listen_fd;
    else if (n->listen_fd >= 0)
        close(n->listen_fd);
    if (err == 0)
        px_log_event(env->log, PX_LOG_INFO, n->restart ? "node.restarting" : "node.stopped",
                     PX_F_STR("version", PX_VERSION));
    free(n);
    return err;
}

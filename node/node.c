/* A node's start, part by part in dependency order, and what the parts tell each other. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "auth/identity_io.h"
#include "node/http_server.h"
#include "node/metrics_node.h"
#include "node/net_names_io.h"
#include "node/node_internal.h"
#include "node/relay_owed.h"
#include "node/service_manager.h"

#define HOLD_WHOLE_MAX (1024u * 1024)     /* NARs up to this size are held until verified */
#define HOLD_TOTAL_MAX (8u * 1024 * 1024) /* all of them together */

/* ---- start-up, a step a function ---- */

static int start_identity(struct px_node *n)
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
    struct px_node *n = ctx;
    px_node_end(n, "control API");
}

/* Early, so that a second daemon of this home ends before it takes anything else. From here on what
 * is logged also goes to those who follow the events. */
static int start_control(struct px_node *n)
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
void px_node_update_view(struct px_node *n)
{
    n->view.allowlist = n->allowlist;
    n->view.store = n->store;
    n->view.peers = n->peers;
    n->view.service = n->service;
    n->view.substituter = n->substituter;
    n->view.discoveries = n->stopping ? NULL : n->discoveries;
    n->view.relays = n->stopping ? NULL : n->relays;
    n->view.history = n->history != NULL ? px_peer_history_io_core(n->history) : NULL;
    n->view.stopping = n->stopping;
}

static void on_allowlist_changed(void *ctx)
{
    struct px_node *n = ctx;
    if (n->peers != NULL && !n->stopping)
        px_peers_reload(n->peers);
    if (n->substituter != NULL) {
        px_node_keys_changed(n);
    }
    if (n->discoveries != NULL)
        px_discoveries_keys_changed(n->discoveries);
    if (n->relays != NULL && !n->stopping)
        px_relays_check_listed(n->relays);
}

static int start_allowlist(struct px_node *n)
{
    char path[PX_HOME_PATH_MAX + 64];
    px_home_config_path(n->home, PX_HOME_AUTHORIZED_KEYS, path);
    return px_allowlist_new(&n->loop, path, n->log, on_allowlist_changed, n, &n->allowlist);
}

static int start_store(struct px_node *n)
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

static int start_service(struct px_node *n)
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
    struct px_node *n = ctx;
    if (n->substituter != NULL)
        px_substituter_peer_gone(n->substituter, peer);
    if (n->discoveries != NULL)
        px_discoveries_refresh(n->discoveries);
}

static void on_link_ended(void *ctx, const struct px_peer_traffic *t)
{
    struct px_node *n = ctx;
    if (n->relays != NULL)
        px_relays_link_ended(n->relays, t);
}

static void on_peer_ready(void *ctx, struct px_cache_peer *peer)
{
    struct px_node *n = ctx;
    if (n->substituter != NULL)
        px_substituter_peer_ready(n->substituter, peer);
}

static bool on_expected(void *ctx, const struct px_peer_id *id)
{
    const struct px_node *n = ctx;
    return n->rotations != NULL && px_rotations_guest(n->rotations, id);
}

static bool on_guest(void *ctx, const struct px_peer_id *id)
{
    const struct px_node *n = ctx;
    return on_expected(ctx, id) || (n->pairings != NULL && px_pairings_guest(n->pairings, id));
}

static void on_peer_up(void *ctx, const struct px_peer_id *id)
{
    const struct px_node *n = ctx;
    if (n->pairings != NULL)
        px_pairings_peer_up(n->pairings, id);
}

/* Neither is needed to serve or to fetch: without them the node goes on. */
static int start_state_db(struct px_node *n)
{
    int err = px_state_db_open(n->home, n->log, &n->state);
    if (err != 0)
        px_log_event(n->log, PX_LOG_WARN, "state.unusable",
                     PX_F_STR("directory", n->home->state_dir), PX_F_ERR(err),
                     PX_F_STR("hint", "addresses of peers are forgotten when the node ends"));
    return 0;
}

static bool is_listed(void *ctx, const struct px_peer_id *id)
{
    const struct px_node *n = ctx;
    return px_authorized_keys_find(px_allowlist_keys(n->allowlist), id) != NULL;
}

static int start_history(struct px_node *n)
{
    const struct px_peer_history_io_config c = {
        .loop = &n->loop, .log = n->log, .db = n->state, .listed = is_listed, .ctx = n};
    return px_peer_history_io_new(&c, &n->history);
}

static int start_net_monitor(struct px_node *n)
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

static int start_peers(struct px_node *n)
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
        .link_ended = on_link_ended,
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
static int start_relays(struct px_node *n)
{
    const struct px_relays_config c = {
        .loop = &n->loop,
        .log = n->log,
        .path = n->relays_path,
        .names_path = n->net_names_path,
        .owed_path = n->relay_owed_path,
        .identity = &n->identity,
        .network = n->config->network,
        .allowlist = n->allowlist,
        .monitor = n->monitor,
        .peers = n->peers,
        .report_transfers = n->config->report_transfers,
        .announce = &n->config->announce_addrs,
    };
    px_home_config_path(n->home, PX_HOME_RELAYS, n->relays_path);
    px_net_names_path(n->home, n->net_names_path);
    snprintf(n->relay_owed_path, sizeof(n->relay_owed_path), "%s/" PX_HOME_RELAY_OWED,
             n->home->state_dir);
    return mode_of(n->config->mode) == PX_MODE_LAN ? 0 : px_relays_new(&c, &n->relays);
}

static int start_pairing(struct px_node *n)
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
    struct px_node *n = ctx;
    if (n->stopping)
        return;
    n->restart = true;
    px_node_stop(n);
}

static int start_rotation(struct px_node *n)
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
        .history = n->history,
        .control = n->control,
        .relays = n->relays,
        .restart = restart_in_place,
        .ctx = n,
    };
    return px_rotations_new(&c, &n->rotations);
}

static const struct px_authorized_keys *listed_peers(void *ctx)
{
    struct px_node *n = ctx;
    return px_allowlist_keys(n->allowlist);
}

static void on_peer_found(void *ctx, const struct px_peer_id *id, const struct px_addr *addr,
                          enum px_source source)
{
    struct px_node *n = ctx;
    px_peers_found(n->peers, id, addr, source);
}

static void refresh_discovery(void *ctx, enum px_net_change change)
{
    struct px_node *n = ctx;
    (void)change;
    if (n->discoveries != NULL)
        px_discoveries_refresh(n->discoveries);
}

static int start_discovery(struct px_node *n)
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

static int start_substituter(struct px_node *n)
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
        .history = px_peer_history_io_core(n->history),
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
        px_node_keys_changed(n);
    }
    return err;
}

static int on_load_config(void *ctx, struct px_config **ret, char *ret_message, size_t size)
{
    struct px_node *n = ctx;
    return n->env->load(n->env->ctx, ret, ret_message, size);
}

static void on_live_config(void *ctx, const struct px_config *c)
{
    struct px_node *n = ctx;
    n->env->set_log_level(n->env->ctx, c->log_level);
    if (n->substituter != NULL)
        px_substituter_set_limits(n->substituter, (unsigned)c->priority, c->deadline_ms * PX_MSEC,
                                  c->stall_ms * PX_MSEC);
}

static int start_reload(struct px_node *n)
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

static int start_watchdog(struct px_node *n)
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

static void on_stop_signal(uv_signal_t *s, int signum)
{
    px_node_end(s->data, strsignal(signum));
}

static void on_stats_signal(uv_signal_t *s, int signum)
{
    (void)signum;
    px_node_log_stats(s->data);
}

static int start_signals(struct px_node *n)
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

static int start(struct px_node *n, const char **ret_part)
{
    static const struct {
        const char *part;
        int (*run)(struct px_node *n);
    } steps[] = {
        {"loop", start_signals},
        {"identity", start_identity},
        {"control", start_control},
        {"nix-key", px_node_start_nix_key},
        {"trusted-public-keys", px_node_start_trusted_keys},
        {"share-keys", px_node_start_share_keys},
        {"authorized_keys", start_allowlist},
        {"store", start_store},
        {"service", start_service},
        {"state", start_state_db},
        {"history", start_history},
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
    px_node_update_view(n);
    return 0;
}

static void announce_ready(struct px_node *n)
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

static int run(struct px_node *n, struct px_node_end *ret_end)
{
    int err = start(n, &ret_end->part);
    ret_end->ready = err == 0;
    if (err == 0)
        announce_ready(n);
    else
        px_node_stop(n);
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
    struct px_node *n = calloc(1, sizeof(*n));
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

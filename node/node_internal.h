/* The parts of a running node, shared by node.c (start), node_keys.c (the keys it goes by) and
 * node_stop.c (shut-down). Nobody else includes it. */
#ifndef PX_NODE_NODE_INTERNAL_H
#define PX_NODE_NODE_INTERNAL_H

#include <uv.h>

#include "node/allowlist.h"
#include "node/config_reload.h"
#include "node/control_node.h"
#include "node/discovery.h"
#include "node/net_monitor.h"
#include "node/nix/cache_service.h"
#include "node/nix/nix_conf.h"
#include "node/nix/store.h"
#include "node/nix/substituter.h"
#include "node/node.h"
#include "node/pairing.h"
#include "node/peer_history_io.h"
#include "node/peers.h"
#include "node/relays.h"
#include "node/rotation.h"
#include "node/state_db.h"
#include "node/watchdog_io.h"

struct px_node {
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
    struct px_sqlite *state; /* NULL: nothing is remembered */
    struct px_peer_history_io *history;
    struct px_net_monitor *monitor; /* NULL: changes of the network go unseen */
    struct px_net_listener net_listener;
    struct px_discoveries *discoveries; /* NULL: addresses are looked for nowhere */
    struct px_net_listener discovery_listener;
    struct px_store *store;
    struct px_cache_service *service;
    struct px_peers *peers;
    char relays_path[PX_HOME_FILE_MAX];
    char net_names_path[PX_HOME_FILE_MAX];
    char relay_owed_path[PX_HOME_FILE_MAX];
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
    size_t closing; /* parts that shut-down has come to; see node_stop.c */
};

/* node.c: what the control API sees of the parts as they are now. */
void px_node_update_view(struct px_node *n);

/* node_keys.c; the first three are steps of the start */
PX_MUST_CHECK int px_node_start_nix_key(struct px_node *n);
PX_MUST_CHECK int px_node_start_trusted_keys(struct px_node *n);
PX_MUST_CHECK int px_node_start_share_keys(struct px_node *n);
/* The trusted keys or the allowlist may be others: takes those that hold now. */
void px_node_keys_changed(struct px_node *n);

/* node_stop.c */
void px_node_stop(struct px_node *n);
/* For good, also when parts are about to start anew. */
void px_node_end(struct px_node *n, const char *why);
void px_node_log_stats(struct px_node *n);

#endif

/* The endpoints of a running node (docs/control-api.md): status, peers, services, allowlist, ping,
 * events of life. Each subject is a node/control_<subject>.c with a table of routes. */
#ifndef PX_NODE_CONTROL_NODE_H
#define PX_NODE_CONTROL_NODE_H

#include "auth/identity.h"
#include "auth/names.h"
#include "node/config.h"
#include "node/control.h"
#include "node/control_json.h"
#include "node/nix/substituter.h"
#include "node/peers.h"
#include "node/relays.h"

/* What the endpoints look at: borrowed, kept up to date by its owner. A part that is not there (not
 * yet, or not any more) is NULL. */
struct px_control_node {
    uv_loop_t *loop;
    const struct px_home *home;
    const struct px_config *config;
    const struct px_log *log;
    const struct px_identity *identity;
    struct px_control *control;
    struct px_allowlist *allowlist;
    struct px_store *store;
    struct px_peers *peers;
    struct px_cache_service *service;
    struct px_substituter *substituter;
    struct px_discoveries *discoveries;
    struct px_relays *relays;
    struct px_peer_history *history;
    px_nsec started; /* px_now_io */
    bool stopping;
    void (*stop)(void *ctx); /* begins the drain */
    void *ctx;
};

/* Registers all of them. `n` outlives the control. */
PX_MUST_CHECK int px_control_node_routes(struct px_control_node *n);

/* The tables px_control_node_routes registers; their ctx is a px_control_node. */
struct px_control_table {
    const struct px_control_route *routes;
    size_t count;
};
extern const struct px_control_table px_control_status_table;   /* control_status.c */
extern const struct px_control_table px_control_peers_table;    /* control_peers.c */
extern const struct px_control_table px_control_auth_table;     /* control_auth.c */
extern const struct px_control_table px_control_ping_table;     /* control_ping.c */
extern const struct px_control_table px_control_services_table; /* control_services.c */
extern const struct px_control_table px_control_relays_table;   /* control_relays.c */
extern const struct px_control_table px_control_names_table;    /* control_names.c */
extern const struct px_control_table px_control_netcheck_table; /* control_netcheck.c */

/* ---- what several subjects need (control_peer.c) ---- */

/* px_peer_resolve with the allowlist and the names file. */
PX_MUST_CHECK int px_control_resolve(const struct px_control_node *n, const char *word,
                                     struct px_peer_id *ret, enum px_resolved *ret_by);
/* The peer that the parameter names: an ID, a name, or the beginning of an ID. False after the call
 * has been answered with why not. */
bool px_control_take_peer(const struct px_control_node *n, struct px_control_call *call,
                          const char *param, struct px_peer_id *ret);
/* False after the call has been answered, when the daemon is stopping and has no peers any more. */
bool px_control_has_peers(const struct px_control_node *n, struct px_control_call *call);
/* NULL without memory, as all of these. */
json_t *px_control_peer_json(const struct px_control_node *n, const struct px_peer_info *info);
/* The rows of GET /v1/relays (control_relays.c), and what relays say of whether this node can be
 * reached (control_netcheck.c). */
json_t *px_control_relays_json(const struct px_control_node *n);
json_t *px_control_reach_json(const struct px_control_node *n);
/* Seconds; null for PX_NEVER. */
json_t *px_control_seconds_json(px_nsec t);
/* The name of an error; null for 0. */
json_t *px_control_error_json(int err);
/* A query value as a duration of whole or decimal seconds, with or without unit (s, ms), or as a
 * count; `ret` keeps its default when it is absent. False after the call has been answered. */
bool px_control_take_seconds(struct px_control_call *call, const char *name, px_nsec min,
                             px_nsec max, px_nsec *ret);
bool px_control_take_count(struct px_control_call *call, const char *name, uint64_t max,
                           uint64_t *ret);

#endif

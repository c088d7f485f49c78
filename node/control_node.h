/* The endpoints of a running node (docs/control-api.md): status, peers, services, allowlist, ping,
 * events of life. Each subject is a node/control_<subject>.c with a table of routes. */
#ifndef PX_NODE_CONTROL_NODE_H
#define PX_NODE_CONTROL_NODE_H

#include "auth/identity.h"
#include "node/config.h"
#include "node/control.h"
#include "node/nix/substituter.h"
#include "node/peers.h"

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
extern const struct px_control_table px_control_status_table;

#endif

/* The running node: everything `peerix daemon` is made of, put together. */
#ifndef PX_NODE_NODE_H
#define PX_NODE_NODE_H

#include "node/config.h"
#include "node/home.h"
#include "proto/base/log.h"

#define PX_NODE_DRAIN (4 * PX_SEC)

struct px_node_env {
    const struct px_home *home;
    const struct px_config *config;
    const struct px_log *log;
    int listen_fd; /* the substituter's, opened before; borrowed. -1: none yet */
    /* The configuration as a start would find it: file and flags. Errors with a message. */
    int (*load)(void *ctx, struct px_config **ret, char *ret_message, size_t message_size);
    void (*set_log_level)(void *ctx, const char *level);
    void *ctx;
};

struct px_node_end {
    bool ready; /* it came up */
    /* Otherwise what failed: "identity", "authorized_keys", "store", "nix-key", "listen", "http",
     * "trusted-public-keys", "share-keys", "config", "loop". */
    const char *part;
    bool restart; /* a changed configuration wants it to run again */
    /* With `restart`: the substituter's socket if this run opened it, so that nobody is refused
     * until the next one takes it; the caller's. Else -1. */
    int listen_fd;
};

/* Runs until SIGTERM or SIGINT (then drains, at most PX_NODE_DRAIN), or until a changed
 * configuration needs a new start. Logs one `ready` event with the bound addresses once all is up.
 * SIGUSR1 logs the counters of the substituter and of every connected peer, SIGHUP reads the
 * configuration again. Returns 0 after an orderly end, else a PX_E…. */
PX_MUST_CHECK int px_node_run(const struct px_node_env *env, struct px_node_end *ret_end);

#endif

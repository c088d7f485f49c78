/* The running node: everything `peerix daemon` is made of, put together. */
#ifndef PX_NODE_NODE_H
#define PX_NODE_NODE_H

#include "node/config.h"
#include "node/home.h"
#include "proto/base/log.h"

/* Runs until SIGTERM or SIGINT (then drains, at most PX_NODE_DRAIN). Logs one `ready` event with
 * the bound addresses once all is up. SIGUSR1 logs the counters of the substituter and of every
 * connected peer. Returns 0 after an orderly end; before `ready` a PX_E… with *ret_part naming what
 * failed: "identity", "authorized_keys", "store", "nix-key", "listen", "http",
 * "trusted-public-keys", "share-keys", "loop". */
#define PX_NODE_DRAIN (4 * PX_SEC)
PX_MUST_CHECK int px_node_run(const struct px_home *home, const struct px_config *config,
                              const struct px_log *log, const char **ret_part);

#endif

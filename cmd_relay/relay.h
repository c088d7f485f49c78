/* The running relay: identity, list of members, store, server and control socket on one loop. */
#ifndef PX_CMD_RELAY_RELAY_H
#define PX_CMD_RELAY_RELAY_H

#include "cmd_relay/config.h"
#include "node/home.h"
#include "proto/base/log.h"

struct px_relay_run {
    const struct px_home *home;
    const struct px_config *values;       /* as the daemon was started with */
    const struct px_relay_config *config; /* the same */
    const struct px_log *log;
    /* Reads the configuration again for SIGHUP: 0 and the new one, which the relay then owns. */
    int (*reload)(void *ctx, struct px_config **ret);
    void *ctx;
};

/* Returns after SIGTERM or Ctrl-C, or with the error of what could not be started: *ret_part is the
 * option or file it was, ret_hint a sentence about it ("" if there is none). */
PX_MUST_CHECK int px_relay_run(const struct px_relay_run *r, const char **ret_part, char *ret_hint,
                               size_t hint_size);

#endif

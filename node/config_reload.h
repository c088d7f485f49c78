/* A running daemon and its configuration: reads it again on SIGHUP or when asked through the
 * control API, and takes an unconfirmed change back when its time is over (config_apply_io). */
#ifndef PX_NODE_CONFIG_RELOAD_H
#define PX_NODE_CONFIG_RELOAD_H

#include <uv.h>

#include "node/config.h"
#include "node/control.h"
#include "node/home.h"

struct px_config_reload;

struct px_config_reload_ops {
    /* The configuration as it would be at a start: file and flags. PX_EPARSE and others, with a
     * message for people. */
    int (*load)(void *ctx, struct px_config **ret, char *ret_message, size_t message_size);
    /* Only options marked `live` differ from before; c lives until the next call. */
    void (*live)(void *ctx, const struct px_config *c);
    /* Parts must start anew; called once, from the loop, after answers had time to leave. */
    void (*restart)(void *ctx);
};

/* `home`, `log` and `config` (what runs now) are borrowed. */
PX_MUST_CHECK int px_config_reload_new(uv_loop_t *loop, const struct px_home *home,
                                       const struct px_log *log, const struct px_config *config,
                                       const struct px_config_reload_ops *ops, void *ctx,
                                       struct px_config_reload **ret);
/* Adds /v1/config and what is below it. */
PX_MUST_CHECK int px_config_reload_routes(struct px_config_reload *r, struct px_control *control);
/* Asynchronous; freed by the loop. No callback of ops follows. */
void px_config_reload_close(struct px_config_reload *r);

#endif

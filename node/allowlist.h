/* The allowlist as the running node sees it: the authorized_keys file, loaded at start and again
 * whenever it changes. A file that cannot be read keeps the list as it was. */
#ifndef PX_NODE_ALLOWLIST_H
#define PX_NODE_ALLOWLIST_H

#include <uv.h>

#include "auth/authorized_keys.h"
#include "proto/base/log.h"

struct px_allowlist;

/* Loads `path` (missing: empty) and watches it. `changed` is called from the loop after each
 * successful reload. PX_EIO, PX_EPERM, PX_ELIMIT. */
PX_MUST_CHECK int px_allowlist_new(uv_loop_t *loop, const char *path, const struct px_log *log,
                                   void (*changed)(void *ctx), void *ctx,
                                   struct px_allowlist **ret);
/* Asynchronous; freed by the loop. */
void px_allowlist_close(struct px_allowlist *a);
/* Loads the file at once and calls `changed`, for those who have just edited it. Errors of
 * px_authorized_keys_load; the list is as before then. */
PX_MUST_CHECK int px_allowlist_reload(struct px_allowlist *a);
/* The list now; replaced by the next reload (before `changed` is called). */
const struct px_authorized_keys *px_allowlist_keys(const struct px_allowlist *a);
/* Fits px_cache_service_config.grants: bits, 0 when not listed. */
uint32_t px_allowlist_grants(void *allowlist, const struct px_peer_id *id);

#endif

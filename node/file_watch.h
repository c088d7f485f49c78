/* Tells when a small file was replaced, changed, made or deleted: watches its directory, since
 * editors and our own tools replace the file by a rename. */
#ifndef PX_NODE_FILE_WATCH_H
#define PX_NODE_FILE_WATCH_H

#include <uv.h>

#include "proto/base/log.h"

struct px_file_watch;

/* `changed` is called 50 ms after the last of a row of events. Where the directory cannot be
 * watched that is logged, and nothing is ever told. PX_ENOMEM, PX_EIO. */
PX_MUST_CHECK int px_file_watch_new(uv_loop_t *loop, const char *path, const struct px_log *log,
                                    void (*changed)(void *ctx), void *ctx,
                                    struct px_file_watch **ret);
/* No more calls; freed by the loop. NULL is fine. */
void px_file_watch_close(struct px_file_watch *w);

#endif

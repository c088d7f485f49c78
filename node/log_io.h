/* The log sink of programs: lines to stderr, text or JSON, with sd-daemon level prefixes when the
 * journal reads them; at most PX_LOG_BURST lines a second per event name that a peer can trigger. */
#ifndef PX_NODE_LOG_IO_H
#define PX_NODE_LOG_IO_H

#include "proto/base/log.h"

struct px_log_io;

/* level: "error|warn|info|debug"; PX_EPARSE otherwise. */
PX_MUST_CHECK int px_log_io_new(const char *level, bool json, struct px_log_io **ret);
void px_log_io_free(struct px_log_io *l);
const struct px_log *px_log_io_sink(struct px_log_io *l);

#endif

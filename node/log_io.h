/* The log sink of programs: lines to stderr, text or JSON. Read by the journal, lines get its level
 * prefixes; otherwise they begin with the time. At most PX_LOG_BURST lines a second of one event
 * name, because peers can trigger events; what was left out is counted in `log.suppressed`. Debug
 * lines are not limited. May be used from any thread. */
#ifndef PX_NODE_LOG_IO_H
#define PX_NODE_LOG_IO_H

#include "proto/base/log.h"

#define PX_LOG_BURST      20   /* lines per event name and second */
#define PX_LOG_EVENTS_MAX 128  /* names told apart; the rest share one budget */
#define PX_LOG_LINE_MAX   4096 /* longer lines are replaced by a short one saying so */

struct px_log_io;

struct px_log_io_config {
    const char *level; /* "error|warn|info|debug" */
    bool json;
    int fd;       /* borrowed */
    bool journal; /* level prefixes instead of the time */
    /* Nanoseconds of the wall clock since 1970; NULL: the system's. */
    uint64_t (*now)(void *ctx);
    void *now_ctx;
};

/* To stderr, with the journal told by $JOURNAL_STREAM. PX_EPARSE for an unknown level. */
PX_MUST_CHECK int px_log_io_new(const char *level, bool json, struct px_log_io **ret);
PX_MUST_CHECK int px_log_io_open(const struct px_log_io_config *config, struct px_log_io **ret);
/* Writes what is still to be said about suppressed lines. */
void px_log_io_free(struct px_log_io *l);
/* From now on; PX_EPARSE for an unknown level. Not while another thread logs. */
PX_MUST_CHECK int px_log_io_set_level(struct px_log_io *l, const char *level);
const struct px_log *px_log_io_sink(struct px_log_io *l);

#endif

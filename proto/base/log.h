/* The log sink: an event name and typed fields, so that no value can forge a line.
 *
 * A struct px_log is handed to whoever logs; the shell behind it (node/log_io) prints key=value or
 * JSON lines. Cores do not log: they return codes and events, their callers log. */
#ifndef PX_PROTO_BASE_LOG_H
#define PX_PROTO_BASE_LOG_H

#include "proto/base/slice.h"

enum px_log_level { PX_LOG_ERROR, PX_LOG_WARN, PX_LOG_INFO, PX_LOG_DEBUG };

struct px_log_field {
    const char *key;
    enum px_log_kind { PX_LOG_STR, PX_LOG_U64, PX_LOG_I64 } kind;
    struct px_slice str;
    uint64_t u64;
    int64_t i64;
};

struct px_log {
    enum px_log_level level; /* nothing less urgent than this is emitted */
    void (*emit)(void *ctx, enum px_log_level level, const char *event,
                 const struct px_log_field *fields, size_t count);
    void *ctx;
};

/* Field constructors for px_log_event. Strings are borrowed for the call; NULL prints as "-". */
#define PX_F_STR(k, s)   px_log_field_cstr((k), (s))
#define PX_F_SLICE(k, s) ((struct px_log_field){.key = (k), .kind = PX_LOG_STR, .str = (s)})
#define PX_F_U64(k, v)   ((struct px_log_field){.key = (k), .kind = PX_LOG_U64, .u64 = (v)})
#define PX_F_I64(k, v)   ((struct px_log_field){.key = (k), .kind = PX_LOG_I64, .i64 = (v)})
#define PX_F_ERR(e)                                                                                \
    px_log_field_cstr("error", px_errname(e)), px_log_field_cstr("why", px_strerror(e))

static inline struct px_log_field px_log_field_cstr(const char *key, const char *s)
{
    return (struct px_log_field){
        .key = key, .kind = PX_LOG_STR, .str = px_slice_cstr(s != NULL ? s : "-")};
}

/* px_log_event(log, PX_LOG_INFO, "link.up", PX_F_STR("peer", id), PX_F_U64("rtt_us", 12));
 * `log` may be NULL; at least one field is needed. Event names are "noun.verb". */
#define px_log_event(log, lvl, event, ...)                                                         \
    px_log_emit((log), (lvl), (event), (const struct px_log_field[]){__VA_ARGS__},                 \
                sizeof((const struct px_log_field[]){__VA_ARGS__}) / sizeof(struct px_log_field))

void px_log_emit(const struct px_log *log, enum px_log_level level, const char *event,
                 const struct px_log_field *fields, size_t count);

/* Prints one line without its newline: `level=info event=link.up peer=… `; values with anything but
 * printable ASCII, or with blank, quote or equals sign, are quoted and escaped. Or as JSON. */
struct px_buf;
int px_log_format(struct px_buf *out, enum px_log_level level, const char *event,
                  const struct px_log_field *fields, size_t count, bool json);

const char *px_log_level_name(enum px_log_level level);

#endif

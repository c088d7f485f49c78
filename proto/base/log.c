/* Formatting of log lines; the output is always one line of printable ASCII. */
#include "proto/base/log.h"

#include "proto/base/buf.h"

void px_log_emit(const struct px_log *log, enum px_log_level level, const char *event,
                 const struct px_log_field *fields, size_t count)
{
    if (log != NULL && level <= log->level)
        log->emit(log->ctx, level, event, fields, count);
}

const char *px_log_level_name(enum px_log_level level)
{
    switch (level) {
    case PX_LOG_ERROR:
        return "error";
    case PX_LOG_WARN:
        return "warn";
    case PX_LOG_INFO:
        return "info";
    case PX_LOG_DEBUG:
        return "debug";
    }
    return "?";
}

static bool needs_quotes(struct px_slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] <= ' ' || s.data[i] >= 0x7f || strchr("\"\\=", s.data[i]) != NULL)
            return true;
    return s.len == 0;
}

/* Bytes outside printable ASCII become \u00XX, which is valid in JSON and clear in text. */
static void put_quoted(struct px_buf *out, struct px_slice s)
{
    (void)px_buf_put_u8(out, '"');
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        if (c == '"' || c == '\\')
            (void)px_buf_printf(out, "\\%c", c);
        else if (c < ' ' || c >= 0x7f)
            (void)px_buf_printf(out, "\\u%04x", c);
        else
            (void)px_buf_put_u8(out, c);
    }
    (void)px_buf_put_u8(out, '"');
}

static void put_value(struct px_buf *out, const struct px_log_field *f, bool json)
{
    switch (f->kind) {
    case PX_LOG_U64:
        (void)px_buf_printf(out, "%llu", (unsigned long long)f->u64);
        break;
    case PX_LOG_I64:
        (void)px_buf_printf(out, "%lld", (long long)f->i64);
        break;
    case PX_LOG_STR:
        if (json || needs_quotes(f->str))
            put_quoted(out, f->str);
        else
            (void)px_buf_put(out, f->str);
        break;
    }
}

int px_log_format(struct px_buf *out, enum px_log_level level, const char *event,
                  const struct px_log_field *fields, size_t count, bool json)
{
    const char *first = json ? "{\"level\":\"%s\",\"event\":\"%s\"" : "level=%s event=%s";
    /* two fixed formats, chosen above */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)px_buf_printf(out, first, px_log_level_name(level), event);
#pragma GCC diagnostic pop
    for (size_t i = 0; i < count; i++) {
        (void)px_buf_printf(out, json ? ",\"%s\":" : " %s=", fields[i].key);
        put_value(out, &fields[i], json);
    }
    if (json)
        (void)px_buf_put_u8(out, '}');
    return out->err;
}

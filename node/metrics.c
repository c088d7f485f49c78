/* The text format of metrics.h. */
#include "node/metrics.h"

#include <inttypes.h>

static const char *type_name(enum px_metric_type t)
{
    static const char *const names[] = {
#define X(name, text) [name] = (text),
        PX_METRIC_TYPE_TABLE(X)
#undef X
    };
    return names[t];
}

static bool ends_in(const char *text, const char *tail)
{
    size_t n = strlen(text), m = strlen(tail);
    return n >= m && strcmp(text + n - m, tail) == 0;
}

void px_metrics_family(struct px_metrics *m, const char *name, enum px_metric_type type,
                       const char *help)
{
    px_assert(ends_in(name, "_total") == (type == PX_METRIC_COUNTER));
    m->name = name;
    (void)px_buf_printf(m->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type_name(type));
}

static void put_label_value(struct px_buf *out, const char *value)
{
    for (; *value != '\0'; value++) {
        uint8_t c = (uint8_t)*value;
        if (c == '\\' || c == '"')
            (void)px_buf_printf(out, "\\%c", c);
        else if (c == '\n')
            (void)px_buf_put_cstr(out, "\\n");
        else
            (void)px_buf_put_u8(out, c < ' ' || c >= 0x7f ? '?' : c);
    }
}

static void put_name(struct px_metrics *m, const struct px_metric_label *labels, size_t count)
{
    px_assert(count <= PX_METRICS_LABELS_MAX);
    (void)px_buf_put_cstr(m->out, m->name);
    for (size_t i = 0; i < count; i++) {
        (void)px_buf_printf(m->out, "%c%s=\"", i == 0 ? '{' : ',', labels[i].name);
        put_label_value(m->out, labels[i].value);
        (void)px_buf_put_u8(m->out, '"');
    }
    if (count > 0)
        (void)px_buf_put_u8(m->out, '}');
    (void)px_buf_put_u8(m->out, ' ');
}

void px_metrics_u64(struct px_metrics *m, const struct px_metric_label *labels, size_t count,
                    uint64_t value)
{
    put_name(m, labels, count);
    (void)px_buf_printf(m->out, "%" PRIu64 "\n", value);
}

void px_metrics_real(struct px_metrics *m, const struct px_metric_label *labels, size_t count,
                     double value)
{
    put_name(m, labels, count);
    (void)px_buf_printf(m->out, "%.9g\n", value);
}

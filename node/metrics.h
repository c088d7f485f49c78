/* Writes metrics in Prometheus' text format 0.0.4: families with HELP and TYPE, samples with
 * escaped labels. Knows nothing of what is measured; that is node/metrics_node.c. */
#ifndef PX_NODE_METRICS_H
#define PX_NODE_METRICS_H

#include "proto/base/buf.h"

#define PX_METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define PX_METRICS_LABELS_MAX   4

/* X(name, text) */
#define PX_METRIC_TYPE_TABLE(X)                                                                    \
    X(PX_METRIC_COUNTER, "counter") /* only grows; its name ends in _total */                      \
    X(PX_METRIC_GAUGE, "gauge")

enum px_metric_type {
#define X(name, text) name,
    PX_METRIC_TYPE_TABLE(X)
#undef X
};

struct px_metric_label {
    const char *name;
    const char *value; /* any bytes */
};

struct px_metrics {
    struct px_buf *out;
    const char *name; /* of the family now being written */
};

/* Begins a family; the samples that follow are its. `name` is static. */
void px_metrics_family(struct px_metrics *m, const char *name, enum px_metric_type type,
                       const char *help);
/* One sample. `labels` may be NULL with count 0. */
void px_metrics_u64(struct px_metrics *m, const struct px_metric_label *labels, size_t count,
                    uint64_t value);
void px_metrics_real(struct px_metrics *m, const struct px_metric_label *labels, size_t count,
                     double value);

#endif

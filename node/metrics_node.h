/* The running node's /healthz and /metrics (docs/control-api.md), on the substituter's address. */
#ifndef PX_NODE_METRICS_NODE_H
#define PX_NODE_METRICS_NODE_H

#include "node/control_node.h"

#define PX_METRICS_PEERS_MAX 256 /* connected peers with samples of their own */

/* Appends all metrics. PX_ENOMEM, PX_ELIMIT. */
PX_MUST_CHECK int px_metrics_node(const struct px_control_node *n, struct px_buf *out);
/* Fits px_substituter_config.page; ctx is a px_control_node. */
bool px_metrics_page(void *control_node, struct px_http_exchange *x);

#endif

/* /healthz and Prometheus /metrics of the relay, on a loopback address of its own. */
#ifndef PX_CMD_RELAY_METRICS_H
#define PX_CMD_RELAY_METRICS_H

#include <uv.h>

#include "proto/base/log.h"
#include "relay/server_io.h"

struct px_relay_metrics;

struct px_relay_metrics_config {
    uv_loop_t *loop;
    const struct px_log *log;
    struct px_addr listen;
    /* What the relay counts; false while it is not up. */
    bool (*stats)(void *ctx, struct px_relay_server_stats *ret, struct px_udp_stats *ret_udp);
    void *ctx;
};

/* PX_EADDR, PX_EPERM, PX_EIO, PX_ENOMEM. */
PX_MUST_CHECK int px_relay_metrics_new(const struct px_relay_metrics_config *config,
                                       struct px_relay_metrics **ret);
/* Where it listens, the port chosen. */
const struct px_addr *px_relay_metrics_local(const struct px_relay_metrics *m);
/* Asynchronous; freed by the loop. NULL is fine. */
void px_relay_metrics_close(struct px_relay_metrics *m);

/* Appends all metrics. PX_ENOMEM, PX_ELIMIT. */
int px_relay_metrics_put(struct px_buf *out, const struct px_relay_server_stats *s,
                         const struct px_udp_stats *udp, px_nsec uptime);

#endif

/* What a run of pings came to: count, loss, extremes, mean and jitter. Sans-IO. */
#ifndef PX_NODE_PING_STATS_H
#define PX_NODE_PING_STATS_H

#include "proto/base/base.h"

/* All zero is an empty run. Times in nanoseconds. */
struct px_ping_stats {
    uint64_t sent, received;
    px_nsec min, max, last; /* of those received */
    px_nsec sum;
    px_nsec swing; /* sum of the differences between one round trip and the next received */
};

void px_ping_stats_reply(struct px_ping_stats *s, px_nsec rtt);
void px_ping_stats_loss(struct px_ping_stats *s);
px_nsec px_ping_stats_avg(const struct px_ping_stats *s); /* PX_NEVER without a reply */
/* The mean of those differences; PX_NEVER with fewer than two replies. */
px_nsec px_ping_stats_jitter(const struct px_ping_stats *s);
double px_ping_stats_lost(const struct px_ping_stats *s); /* 0..1; 0 when nothing was sent */

#endif

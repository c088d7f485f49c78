/* The sums of ping_stats.h. */
#include "node/ping_stats.h"

void px_ping_stats_reply(struct px_ping_stats *s, px_nsec rtt)
{
    if (s->received > 0)
        s->swing += rtt > s->last ? rtt - s->last : s->last - rtt;
    s->min = s->received > 0 ? PX_MIN(s->min, rtt) : rtt;
    s->max = PX_MAX(s->max, rtt);
    s->last = rtt;
    s->sum += rtt;
    s->received++;
    s->sent++;
}

void px_ping_stats_loss(struct px_ping_stats *s)
{
    s->sent++;
}

px_nsec px_ping_stats_avg(const struct px_ping_stats *s)
{
    return s->received > 0 ? s->sum / s->received : PX_NEVER;
}

px_nsec px_ping_stats_jitter(const struct px_ping_stats *s)
{
    return s->received > 1 ? s->swing / (s->received - 1) : PX_NEVER;
}

double px_ping_stats_lost(const struct px_ping_stats *s)
{
    return s->sent > 0 ? (double)(s->sent - s->received) / (double)s->sent : 0;
}

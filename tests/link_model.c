/* The arithmetic of link_model.h. */
#include "tests/link_model.h"

void px_link_model_init(struct px_link_model *m, const struct px_link_model_config *config,
                        uint64_t seed)
{
    *m = (struct px_link_model){.config = *config, .random = seed};
    if (m->config.queue == 0)
        m->config.queue = PX_MAX(m->config.rate / 10, (uint64_t)3000);
}

/* splitmix64, as a number in [0, 1) */
static double draw(struct px_link_model *m)
{
    uint64_t z = (m->random += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1p-53;
}

static bool is_lost(struct px_link_model *m)
{
    double change = m->bad ? m->config.burst_leave : m->config.burst_enter;
    if (change > 0 && draw(m) < change)
        m->bad = !m->bad;
    return m->bad || (m->config.loss > 0 && draw(m) < m->config.loss);
}

/* When the last byte is on the wire, or false when the queue is full. */
static bool transmit(struct px_link_model *m, size_t size, px_nsec now, px_nsec *ret_sent)
{
    if (m->config.rate == 0) {
        *ret_sent = now;
        return true;
    }
    px_nsec start = PX_MAX(now, m->free_at);
    double waiting = (double)(start - now) * (double)m->config.rate / (double)PX_SEC;
    if (waiting + (double)size > (double)m->config.queue)
        return false;
    m->free_at = start + (px_nsec)((double)size * (double)PX_SEC / (double)m->config.rate);
    *ret_sent = m->free_at;
    return true;
}

static px_nsec arrival(struct px_link_model *m, px_nsec sent)
{
    px_nsec due = sent + m->config.delay + (px_nsec)(draw(m) * (double)m->config.jitter);
    if (m->config.reorder > 0 && draw(m) < m->config.reorder)
        return due + m->config.reorder_delay;
    due = PX_MAX(due, m->last_due); /* jitter alone does not reorder */
    m->last_due = due;
    return due;
}

size_t px_link_model_enter(struct px_link_model *m, size_t size, px_nsec now,
                           px_nsec ret_due[PX_LINK_COPIES_MAX])
{
    px_nsec sent;
    if (is_lost(m)) {
        m->lost++;
        return 0;
    }
    if (!transmit(m, size, now, &sent)) {
        m->overflowed++;
        return 0;
    }
    m->passed++;
    ret_due[0] = arrival(m, sent);
    if (m->config.duplicate <= 0 || draw(m) >= m->config.duplicate)
        return 1;
    ret_due[1] = arrival(m, sent);
    return 2;
}

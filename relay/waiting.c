/* See waiting.h. A ring. */
#include "relay/waiting.h"

#include <stdlib.h>

#include "proto/base/map.h"
#include "relay/sources.h"

#define SOURCES 4096 /* counts; sources that share one share its part of the queue */

struct slot {
    struct px_path path;
    uint16_t source; /* index of its count */
    unsigned ecn;
    uint16_t len;
    uint8_t data[PX_WAITING_BYTES_MAX];
};

struct px_waiting {
    uint64_t seed[2];
    size_t first, count;
    uint16_t counts[SOURCES];
    struct slot slots[PX_WAITING_MAX];
};

int px_waiting_new(const struct px_rng *rng, struct px_waiting **ret)
{
    struct px_waiting *w = calloc(1, sizeof(*w)); /* pages are touched by a crowd alone */
    if (w == NULL)
        return PX_ENOMEM;
    rng->fill(rng->ctx, w->seed, sizeof(w->seed));
    *ret = w;
    return 0;
}

void px_waiting_free(struct px_waiting *w)
{
    free(w);
}

size_t px_waiting_count(const struct px_waiting *w)
{
    return w->count;
}

bool px_waiting_is_empty(const struct px_waiting *w)
{
    return w->count == 0;
}

/* RFC 9000 §17.2: the first bit. */
static bool is_long_header(uint8_t first)
{
    return (first & 0x80) != 0;
}

bool px_waiting_wants(const struct px_waiting *w, const struct px_addr *remote, uint8_t first)
{
    if (is_long_header(first))
        return true;
    for (size_t i = 0; i < w->count; i++)
        if (px_addr_eq(&w->slots[(w->first + i) % PX_WAITING_MAX].path.remote, remote))
            return true;
    return false;
}

static uint16_t count_of(const struct px_waiting *w, const struct px_addr *from)
{
    struct px_source s;
    px_source_of(NULL, from, &s);
    return (uint16_t)(px_siphash(w->seed, px_slice(s.prefix, sizeof(s.prefix))) % SOURCES);
}

int px_waiting_put(struct px_waiting *w, const struct px_path *path, const struct px_addr *from,
                   unsigned ecn, struct px_slice datagram)
{
    uint16_t source = count_of(w, from);
    if (w->count == PX_WAITING_MAX || datagram.len > PX_WAITING_BYTES_MAX ||
        w->counts[source] == PX_WAITING_PER_SOURCE)
        return PX_ELIMIT;
    struct slot *s = &w->slots[(w->first + w->count++) % PX_WAITING_MAX];
    w->counts[source]++;
    s->source = source;
    s->path = *path;
    s->ecn = ecn;
    s->len = (uint16_t)datagram.len;
    memcpy(s->data, datagram.data, datagram.len);
    return 0;
}

bool px_waiting_take(struct px_waiting *w, struct px_path *ret_path, unsigned *ret_ecn,
                     struct px_slice *ret_datagram)
{
    if (w->count == 0)
        return false;
    const struct slot *s = &w->slots[w->first];
    *ret_path = s->path;
    *ret_ecn = s->ecn;
    *ret_datagram = px_slice(s->data, s->len);
    w->first = (w->first + 1) % PX_WAITING_MAX;
    w->counts[s->source]--;
    w->count--;
    return true;
}

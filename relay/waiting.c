/* See waiting.h. A ring. */
#include "relay/waiting.h"

#include <stdlib.h>

struct slot {
    struct px_path path;
    unsigned ecn;
    uint16_t len;
    uint8_t data[PX_WAITING_BYTES_MAX];
};

struct px_waiting {
    size_t first, count;
    struct slot slots[PX_WAITING_MAX];
};

int px_waiting_new(struct px_waiting **ret)
{
    struct px_waiting *w = calloc(1, sizeof(*w)); /* pages are touched by a crowd alone */
    if (w == NULL)
        return PX_ENOMEM;
    *ret = w;
    return 0;
}

void px_waiting_free(struct px_waiting *w)
{
    free(w);
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

int px_waiting_put(struct px_waiting *w, const struct px_path *path, unsigned ecn,
                   struct px_slice datagram)
{
    if (w->count == PX_WAITING_MAX || datagram.len > PX_WAITING_BYTES_MAX)
        return PX_ELIMIT;
    struct slot *s = &w->slots[(w->first + w->count++) % PX_WAITING_MAX];
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
    w->count--;
    return true;
}

/* See link_park.h. At most PX_LINK_PARKED_STREAMS entries, so a list is searched. */
#include "transport/link_park.h"

#include <stdlib.h>

#include "transport/link.h"

static struct px_parked *of(struct px_list *node)
{
    return PX_CONTAINER_OF(node, struct px_parked, node);
}

void px_park_init(struct px_park *p)
{
    px_list_init(&p->streams);
    p->count = p->bytes = 0;
}

void px_park_deinit(struct px_park *p)
{
    struct px_parked *s;
    while ((s = px_park_take(p)) != NULL)
        px_parked_free(s);
}

/* The stream's entry, made if need be and put before the first higher id. */
static int obtain(struct px_park *p, int64_t id, struct px_parked **ret)
{
    struct px_list *before = &p->streams;
    PX_LIST_EACH(it, &p->streams) {
        if (of(it)->id == id) {
            *ret = of(it);
            return 0;
        }
        if (of(it)->id > id) {
            before = it;
            break;
        }
    }
    if (p->count >= PX_LINK_PARKED_STREAMS)
        return PX_EOVERRUN;
    struct px_parked *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return PX_ENOMEM;
    s->id = id;
    px_buf_init(&s->data, PX_LINK_PARKED_MAX);
    px_list_push_back(before, &s->node);
    p->count++;
    *ret = s;
    return 0;
}

int px_park_opened(struct px_park *p, int64_t id)
{
    struct px_parked *s;
    return obtain(p, id, &s);
}

int px_park_data(struct px_park *p, int64_t id, struct px_slice data, bool fin)
{
    struct px_parked *s;
    if (data.len > PX_LINK_PARKED_MAX - p->bytes)
        return PX_EOVERRUN;
    int err = obtain(p, id, &s);
    if (err == 0)
        err = px_buf_put(&s->data, data);
    if (err != 0)
        return err;
    p->bytes += data.len;
    s->fin = s->fin || fin;
    return 0;
}

int px_park_reset(struct px_park *p, int64_t id, uint64_t code)
{
    struct px_parked *s;
    int err = obtain(p, id, &s);
    if (err == 0) {
        s->reset = true;
        s->reset_code = code;
    }
    return err;
}

int px_park_stop(struct px_park *p, int64_t id, uint64_t code)
{
    struct px_parked *s;
    int err = obtain(p, id, &s);
    if (err == 0) {
        s->stop = true;
        s->stop_code = code;
    }
    return err;
}

int px_park_closed(struct px_park *p, int64_t id)
{
    struct px_parked *s;
    int err = obtain(p, id, &s);
    if (err == 0)
        s->closed = true;
    return err;
}

struct px_parked *px_park_take(struct px_park *p)
{
    if (px_list_empty(&p->streams))
        return NULL;
    struct px_parked *s = of(p->streams.next);
    px_list_remove(&s->node);
    p->count--;
    p->bytes -= s->data.len;
    return s;
}

void px_parked_free(struct px_parked *s)
{
    if (s == NULL)
        return;
    px_buf_deinit(&s->data);
    free(s);
}

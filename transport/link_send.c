/* Whose turn it is to send on a link: stream 0 first, then its producers in a ring. */
#include "transport/link_internal.h"

/* A producer keeps its turn for this many bytes: fair enough for small answers beside a large
 * transfer, and packets of one stream stay together. */
#define TURN_BYTES 16384u

static void turn(struct px_link *l)
{
    if (l->producers != NULL)
        l->producers = l->producers->ring_next;
    l->turn_bytes = 0;
}

/* The next one in turn with something to say. */
static struct px_producer *next_ready(struct px_link *l)
{
    struct px_producer *p = l->producers;
    while (p != NULL && !p->ready) {
        p = p->ring_next;
        if (p == l->producers)
            return NULL;
    }
    if (p != l->producers) {
        l->producers = p;
        l->turn_bytes = 0;
    }
    return p;
}

static void offer_from_producers(struct px_link *l, int64_t *ret_id, struct px_slice *ret_vec,
                                 size_t cap, size_t *ret_count, bool *ret_fin)
{
    struct px_producer *p;
    while ((p = next_ready(l)) != NULL) {
        l->offering = p; /* cleared if it leaves inside the call */
        p->ops->next(p->ctx, ret_id, ret_vec, cap, ret_count, ret_fin);
        if (*ret_id != -1) {
            l->offer = PX_OFFER_PRODUCER;
            return;
        }
        if (l->offering == p)
            p->ready = false;
    }
    l->offering = NULL;
}

void px_link_on_next(void *ctx, int64_t *ret_id, struct px_slice *ret_vec, size_t cap,
                     size_t *ret_count, bool *ret_fin)
{
    struct px_link *l = ctx;
    *ret_id = -1;
    *ret_count = 0;
    *ret_fin = false;
    l->offer = PX_OFFER_NONE;
    l->offering = NULL;
    if (px_link_is_ending(l))
        return;
    if (l->control_out.unsent > 0 && !l->control_blocked) {
        l->offer = PX_OFFER_CONTROL;
        *ret_id = PX_LINK_CONTROL_STREAM;
        *ret_count = px_send_queue_offer(&l->control_out, ret_vec, cap);
    } else if (px_link_may_send(l)) {
        offer_from_producers(l, ret_id, ret_vec, cap, ret_count, ret_fin);
    }
}

void px_link_on_sent(void *ctx, int64_t id, uint64_t n, bool fin)
{
    struct px_link *l = ctx;
    switch (l->offer) {
    case PX_OFFER_CONTROL:
        px_send_queue_sent(&l->control_out, n);
        px_link_note_pings_sent(l);
        return;
    case PX_OFFER_PRODUCER:
        l->turn_bytes += n;
        if (l->offering == NULL)
            return;
        if (l->producers == l->offering && (fin || l->turn_bytes >= TURN_BYTES))
            turn(l);
        l->offering->ops->sent(l->offering->ctx, id, n, fin);
        return;
    case PX_OFFER_NONE:
        return;
    }
}

void px_link_on_blocked(void *ctx, int64_t id)
{
    struct px_link *l = ctx;
    switch (l->offer) {
    case PX_OFFER_CONTROL:
        l->control_blocked = true;
        return;
    case PX_OFFER_PRODUCER:
        if (l->offering != NULL)
            l->offering->ops->blocked(l->offering->ctx, id);
        return;
    case PX_OFFER_NONE:
        return;
    }
}

void px_link_add_producer(struct px_link *l, struct px_producer *p)
{
    px_assert(p->ring_next == NULL);
    if (l->producers == NULL) {
        p->ring_next = p->ring_prev = p;
        l->producers = p;
    } else { /* before whose turn it is: last */
        p->ring_next = l->producers;
        p->ring_prev = l->producers->ring_prev;
        p->ring_prev->ring_next = p;
        p->ring_next->ring_prev = p;
    }
    px_link_wake(l, p);
}

void px_link_remove_producer(struct px_link *l, struct px_producer *p)
{
    if (p->ring_next == NULL) /* not added, or the link has let go of it: l may be gone */
        return;
    if (l->producers == p)
        l->producers = p->ring_next == p ? NULL : p->ring_next;
    if (l->offering == p)
        l->offering = NULL;
    p->ring_prev->ring_next = p->ring_next;
    p->ring_next->ring_prev = p->ring_prev;
    p->ring_next = p->ring_prev = NULL;
    p->ready = false;
}

void px_link_wake(struct px_link *l, struct px_producer *p)
{
    if (p->ring_next == NULL)
        return;
    p->ready = true;
    if (px_link_may_send(l))
        px_quic_conn_wake(l->conn);
}

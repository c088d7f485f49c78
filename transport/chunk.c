/* See chunk.h. */
#include "transport/chunk.h"

#include <stdlib.h>

struct px_chunk *px_chunk_new(size_t len)
{
    if (len > SIZE_MAX - sizeof(struct px_chunk))
        return NULL;
    struct px_chunk *c = malloc(sizeof(*c) + len);
    if (c == NULL)
        return NULL;
    c->refs = 1;
    c->len = len;
    return c;
}

struct px_chunk *px_chunk_copy(struct px_slice data)
{
    struct px_chunk *c = px_chunk_new(data.len);
    if (c != NULL && data.len > 0)
        memcpy(c->data, data.data, data.len);
    return c;
}

struct px_chunk *px_chunk_ref(struct px_chunk *c)
{
    px_assert(c->refs < UINT32_MAX);
    c->refs++;
    return c;
}

void px_chunk_unref(struct px_chunk *c)
{
    if (c != NULL && --c->refs == 0)
        free(c);
}

static struct px_chunk **slot(const struct px_send_queue *q, size_t i)
{
    return &q->ring[(q->head + i) & (q->cap - 1)];
}

void px_send_queue_deinit(struct px_send_queue *q)
{
    for (size_t i = 0; i < q->count; i++)
        px_chunk_unref(*slot(q, i));
    free(q->ring);
    *q = (struct px_send_queue){0};
}

static int grow(struct px_send_queue *q)
{
    size_t cap = q->cap == 0 ? 8 : q->cap * 2;
    struct px_chunk **ring = calloc(cap, sizeof(*ring));
    if (ring == NULL)
        return PX_ENOMEM;
    for (size_t i = 0; i < q->count; i++)
        ring[i] = *slot(q, i);
    free(q->ring);
    q->ring = ring;
    q->cap = cap;
    q->head = 0;
    return 0;
}

int px_send_queue_push(struct px_send_queue *q, struct px_chunk *owned_chunk)
{
    if (owned_chunk->len == 0) {
        px_chunk_unref(owned_chunk);
        return 0;
    }
    if (q->count == q->cap && grow(q) != 0) {
        px_chunk_unref(owned_chunk);
        return PX_ENOMEM;
    }
    q->queued += owned_chunk->len;
    q->unsent += owned_chunk->len;
    *slot(q, q->count++) = owned_chunk;
    return 0;
}

size_t px_send_queue_offer(const struct px_send_queue *q, struct px_slice *ret_vec, size_t cap)
{
    size_t n = 0, off = q->next_off;
    for (size_t i = q->next; i < q->count && n < cap; i++, off = 0) {
        const struct px_chunk *c = *slot(q, i);
        ret_vec[n++] = px_slice(c->data + off, c->len - off);
    }
    return n;
}

void px_send_queue_sent(struct px_send_queue *q, uint64_t n)
{
    px_assert(n <= q->unsent);
    q->unsent -= n;
    while (n > 0) {
        size_t left = (*slot(q, q->next))->len - q->next_off;
        if (n < left) {
            q->next_off += (size_t)n;
            return;
        }
        n -= left;
        q->next++;
        q->next_off = 0;
    }
}

void px_send_queue_acked(struct px_send_queue *q, uint64_t n)
{
    px_assert(n <= q->queued - q->unsent);
    q->queued -= n;
    while (n > 0) {
        struct px_chunk *c = *slot(q, 0);
        size_t left = c->len - q->acked_off;
        if (n < left) {
            q->acked_off += (size_t)n;
            return;
        }
        n -= left;
        q->acked_off = 0;
        q->head = (q->head + 1) & (q->cap - 1);
        q->count--;
        q->next--;
        px_chunk_unref(c);
    }
}

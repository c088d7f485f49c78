/* See tls_pipe.h. The queue holds frames as they are sent, one behind the other, in a ring. */
#include "transport/tls_pipe.h"

#include <stdlib.h>

#include "proto/base/reader.h"

#define LENGTH 2 /* bytes of it */

void px_tls_pipe_init(struct px_tls_pipe *p, px_nsec now)
{
    memset(p, 0, sizeof(*p));
    p->unproved_since = p->heard_at = now;
}

void px_tls_pipe_deinit(struct px_tls_pipe *p)
{
    free(p->queue);
    p->queue = NULL;
    p->cap = p->head = p->used = 0;
}

void px_tls_pipe_set_proved(struct px_tls_pipe *p, bool proved, px_nsec now)
{
    p->proved = proved;
    p->unproved_bytes = 0;
    p->unproved_since = now;
}

/* ---- receiving ---- */

static void fill(struct px_tls_pipe *p, struct px_slice *bytes, size_t until)
{
    struct px_slice part = px_slice_take(*bytes, until - p->in_len);
    if (part.len == 0)
        return;
    memcpy(p->in + p->in_len, part.data, part.len);
    p->in_len += part.len;
    p->unproved_bytes += part.len;
    *bytes = px_slice_skip(*bytes, part.len);
}

static size_t length_at(const uint8_t *two)
{
    struct px_reader r = px_reader(px_slice(two, LENGTH));
    uint16_t len = 0;
    (void)!px_reader_be16(&r, &len); /* both bytes are there */
    return len;
}

int px_tls_pipe_read(struct px_tls_pipe *p, struct px_slice *bytes, px_nsec now, uint8_t **ret_data,
                     size_t *ret_len)
{
    if (bytes->len > 0)
        p->heard_at = now;
    if (p->in_len < LENGTH)
        fill(p, bytes, LENGTH);
    size_t len = p->in_len < LENGTH ? 0 : length_at(p->in);
    if (p->in_len >= LENGTH && (len == 0 || len > PX_TLS_PIPE_DATAGRAM_MAX))
        return PX_EPROTO;
    fill(p, bytes, LENGTH + len);
    if (!p->proved && p->unproved_bytes > PX_TLS_PIPE_UNPROVED_BYTES)
        return PX_EOVERRUN;
    if (len == 0 || p->in_len < LENGTH + len)
        return PX_EAGAIN;
    p->in_len = 0;
    p->stats.received++;
    *ret_data = p->in + LENGTH;
    *ret_len = len;
    return 0;
}

/* ---- sending ---- */

static void ring_put(struct px_tls_pipe *p, struct px_slice s)
{
    size_t at = (p->head + p->used) % p->cap;
    size_t first = PX_MIN(s.len, p->cap - at);
    memcpy(p->queue + at, s.data, first);
    memcpy(p->queue, s.data + first, s.len - first);
    p->used += s.len;
}

static void ring_peek(const struct px_tls_pipe *p, uint8_t *out, size_t len)
{
    size_t first = PX_MIN(len, p->cap - p->head);
    memcpy(out, p->queue + p->head, first);
    memcpy(out + first, p->queue, len - first);
}

static void ring_skip(struct px_tls_pipe *p, size_t len)
{
    p->used -= len;
    p->head = p->used == 0 ? 0 : (p->head + len) % p->cap; /* few pages while idle */
}

/* The whole of the first frame; there must be one. */
static size_t first_frame(const struct px_tls_pipe *p)
{
    uint8_t two[LENGTH];
    ring_peek(p, two, LENGTH);
    return LENGTH + length_at(two);
}

/* Moves the ring, which must hold what is used, into one of `cap` bytes. */
static bool resize(struct px_tls_pipe *p, size_t cap)
{
    uint8_t *ring = malloc(cap);
    if (ring == NULL)
        return false;
    if (p->used > 0)
        ring_peek(p, ring, p->used);
    free(p->queue);
    p->queue = ring;
    p->cap = cap;
    p->head = 0;
    return true;
}

static void drop_oldest(struct px_tls_pipe *p)
{
    ring_skip(p, first_frame(p));
    p->stats.dropped++;
}

void px_tls_pipe_shrink(struct px_tls_pipe *p)
{
    if (p->used == 0) {
        px_tls_pipe_deinit(p);
        return;
    }
    size_t cap = p->cap / 2;
    while (p->used > cap)
        drop_oldest(p);
    (void)resize(p, cap); /* without memory for it the larger one stays */
}

static void queue_one(struct px_tls_pipe *p, struct px_slice one)
{
    const uint8_t length[LENGTH] = {(uint8_t)(one.len >> 8), (uint8_t)one.len};
    size_t len = LENGTH + one.len;
    bool can = one.len <= PX_TLS_PIPE_DATAGRAM_MAX;
    while (can && len > p->cap - p->used && p->cap < PX_TLS_PIPE_QUEUE)
        if (!resize(p, PX_MAX(2 * p->cap, (size_t)PX_TLS_PIPE_QUEUE_MIN)))
            break;
    if (!can || p->cap == 0) {
        p->stats.dropped++;
        return;
    }
    while (len > p->cap - p->used)
        drop_oldest(p);
    ring_put(p, px_slice(length, sizeof(length)));
    ring_put(p, one);
}

void px_tls_pipe_queue(struct px_tls_pipe *p, struct px_slice data, size_t segment)
{
    px_assert(segment > 0);
    while (data.len > 0) {
        struct px_slice one = px_slice_take(data, segment);
        queue_one(p, one);
        data = px_slice_skip(data, one.len);
    }
}

size_t px_tls_pipe_take(struct px_tls_pipe *p, uint8_t *out, size_t cap)
{
    size_t len = 0;
    while (p->used > 0) {
        size_t frame = first_frame(p);
        if (frame > cap - len)
            break;
        ring_peek(p, out + len, frame);
        ring_skip(p, frame);
        len += frame;
        p->stats.sent++;
    }
    return len;
}

/* ---- time ---- */

px_nsec px_tls_pipe_deadline(const struct px_tls_pipe *p)
{
    px_nsec idle = p->heard_at + PX_TLS_PIPE_IDLE;
    return p->proved ? idle : PX_MIN(idle, p->unproved_since + PX_TLS_PIPE_UNPROVED_TIME);
}

int px_tls_pipe_check(const struct px_tls_pipe *p, px_nsec now)
{
    if (!p->proved && now - p->unproved_since >= PX_TLS_PIPE_UNPROVED_TIME)
        return PX_EHANDSHAKE_TIMEOUT;
    return now - p->heard_at >= PX_TLS_PIPE_IDLE ? PX_ETIMEDOUT : 0;
}

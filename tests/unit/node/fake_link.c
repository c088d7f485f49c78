/* See fake_link.h. */
#include "tests/unit/node/fake_link.h"

#include <stdlib.h>

static uint64_t fake_random(struct fake_net *n)
{
    uint64_t z = n->rng += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    return z ^ (z >> 31);
}

static struct fake_stream *find(const struct px_link *l, int64_t id)
{
    return id >= 0 && id < FAKE_IDS_MAX ? l->streams[id] : NULL;
}

static void mark(struct fake_stream *s)
{
    struct px_link *l = s->link;
    if (s->dirty)
        return;
    s->dirty = true;
    if (l->dirty == NULL) {
        l->dirty = s->dirty_next = s->dirty_prev = s;
        return;
    }
    s->dirty_next = l->dirty;
    s->dirty_prev = l->dirty->dirty_prev;
    s->dirty_prev->dirty_next = s->dirty_next->dirty_prev = s;
}

static void unmark(struct fake_stream *s)
{
    struct px_link *l = s->link;
    if (!s->dirty)
        return;
    s->dirty = false;
    if (s->dirty_next == s)
        l->dirty = NULL;
    else if (l->dirty == s)
        l->dirty = s->dirty_next;
    s->dirty_next->dirty_prev = s->dirty_prev;
    s->dirty_prev->dirty_next = s->dirty_next;
}

static bool ours(const struct px_link *l, int64_t id)
{
    return ((id & 1) == 0) == l->quic_client;
}

static struct fake_stream *stream_new(struct px_link *l, int64_t id)
{
    px_assert(id < FAKE_IDS_MAX && l->streams[id] == NULL);
    struct fake_stream *s = calloc(1, sizeof(*s));
    px_assert(s != NULL);
    s->link = l;
    s->id = id;
    s->limit = l->net->stream_window;
    s->send_done = (id & 2) != 0 && !ours(l, id);
    s->recv_done = (id & 2) != 0 && ours(l, id);
    l->streams[id] = s;
    return s;
}

/* Memory on offer must still be there. */
static void touch(const struct fake_segment *g)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < g->len; i += 512)
        sum = (uint8_t)(sum + g->data[i]);
    if (g->len > 0)
        sum = (uint8_t)(sum + g->data[g->len - 1]);
    __asm__ volatile("" ::"r"(sum));
}

static void stream_close(struct fake_stream *s)
{
    struct px_link *l = s->link;
    for (size_t i = 0; i < s->segment_count; i++)
        touch(&s->segments[i]);
    if (s->ops != NULL)
        s->ops->closed(s->ctx, l, s->id);
    unmark(s);
    l->leaked += s->received - s->consumed;
    l->streams[s->id] = NULL;
    if (ours(l, s->id) && (s->id & 2) == 0)
        l->bidi_open--;
    free(s->segments);
    free(s);
}

static void link_init(struct px_link *l, struct fake_net *n, struct px_link *peer, bool client)
{
    *l = (struct px_link){.net = n, .peer = peer, .quic_client = client, .up = true};
    l->streams = calloc(FAKE_IDS_MAX, sizeof(struct fake_stream *));
    px_assert(l->streams != NULL);
    /* stream 0 is the handshake's */
    l->next_bidi = client ? 4 : 1;
    l->next_uni = client ? 2 : 3;
}

void fake_net_init(struct fake_net *n)
{
    link_init(&n->a, n, &n->b, true);
    link_init(&n->b, n, &n->a, false);
    n->stream_window = 256 * 1024;
    n->conn_window = 1024 * 1024;
    n->bidi_max = 100;
    n->uni_max = 4 * 6;
    n->chunk_max = 4000;
    n->rng = 1;
}

void fake_net_cut(struct fake_net *n)
{
    struct px_link *ends[] = {&n->a, &n->b};
    for (size_t k = 0; k < 2; k++) {
        ends[k]->up = false;
        for (int64_t id = 0; id < FAKE_IDS_MAX; id++)
            if (ends[k]->streams[id] != NULL)
                stream_close(ends[k]->streams[id]);
    }
}

void fake_net_deinit(struct fake_net *n)
{
    fake_net_cut(n);
    free(n->a.streams);
    free(n->b.streams);
}

/* --- transport/link.h --- */

bool px_link_is_quic_client(const struct px_link *l)
{
    return l->quic_client;
}

bool px_link_is_up(const struct px_link *l)
{
    return l->up;
}

int px_link_stream_open(struct px_link *l, bool uni, const struct px_stream_ops *ops, void *ctx,
                        int64_t *ret_id)
{
    if (!l->up)
        return PX_ESTATE;
    if (!uni && l->bidi_open >= l->net->bidi_max)
        return PX_EAGAIN;
    if (uni && l->next_uni >= l->net->uni_max)
        return PX_EAGAIN;
    int64_t *next = uni ? &l->next_uni : &l->next_bidi;
    struct fake_stream *s = stream_new(l, *next);
    *next += 4;
    s->ops = ops;
    s->ctx = ctx;
    s->routed = true;
    if (!uni)
        l->bidi_open++;
    *ret_id = s->id;
    return 0;
}

void px_link_stream_set_owner(struct px_link *l, int64_t id, const struct px_stream_ops *ops,
                              void *ctx)
{
    struct fake_stream *s = find(l, id);
    px_assert(s != NULL);
    s->ops = ops;
    s->ctx = ctx;
}

void px_link_consume(struct px_link *l, int64_t id, uint64_t n)
{
    struct fake_stream *s = find(l, id);
    if (s == NULL || n > s->received - s->consumed) {
        l->stray_consumes++;
        return;
    }
    s->consumed += n;
    l->in_flight -= n;
    struct fake_stream *sender = find(l->peer, id);
    if (sender != NULL) {
        sender->limit += n;
        sender->unblock = sender->blocked;
        mark(sender);
    }
    if (l->peer->producer != NULL)
        l->peer->producer->ready = true;
}

void px_link_stream_reset(struct px_link *l, int64_t id, uint64_t code)
{
    struct fake_stream *s = find(l, id);
    if (s == NULL || s->send_done || s->reset_wanted)
        return;
    s->reset_wanted = true;
    s->reset_code = code;
    mark(s);
}

void px_link_stream_stop(struct px_link *l, int64_t id, uint64_t code)
{
    struct fake_stream *s = find(l, id);
    if (s == NULL || s->recv_done || s->stop_wanted)
        return;
    s->stop_wanted = true;
    s->stop_code = code;
    mark(s);
}

void px_link_add_producer(struct px_link *l, struct px_producer *p)
{
    px_assert(l->producer == NULL);
    l->producer = p;
    p->ring_next = p->ring_prev = p;
    p->ready = true;
}

void px_link_remove_producer(struct px_link *l, struct px_producer *p)
{
    px_assert(l->producer == p);
    l->producer = NULL;
    p->ring_next = p->ring_prev = NULL;
}

void px_link_wake(struct px_link *l, struct px_producer *p)
{
    px_assert(l->producer == NULL || l->producer == p);
    p->ready = true;
}

/* --- movement --- */

static void queue(struct fake_stream *s, struct px_slice piece)
{
    if (s->segment_count == s->segment_cap) {
        s->segment_cap = s->segment_cap > 0 ? 2 * s->segment_cap : 8;
        s->segments = realloc(s->segments, s->segment_cap * sizeof(*s->segments));
        px_assert(s->segments != NULL);
    }
    s->segments[s->segment_count++] = (struct fake_segment){piece.data, piece.len};
}

static bool pump_one(struct px_link *l)
{
    struct px_slice vec[PX_QUIC_VEC_MAX];
    int64_t id = -1;
    size_t count = 0;
    bool fin = false;
    struct px_producer *p = l->producer;
    p->ops->next(p->ctx, &id, vec, PX_ARRAY_LEN(vec), &count, &fin);
    if (id < 0) {
        p->ready = false;
        return false;
    }
    struct fake_stream *s = find(l, id);
    px_assert(s != NULL && !s->blocked && !s->fin_sent && !s->reset_wanted && !s->send_done);
    uint64_t total = 0, room = s->limit - s->sent;
    for (size_t i = 0; i < count; i++)
        total += vec[i].len;
    px_assert(total > 0 || fin);
    if (total > 0 && room == 0) {
        s->blocked = true;
        p->ops->blocked(p->ctx, id);
        return true;
    }
    uint64_t conn_room = l->net->conn_window - PX_MIN(l->net->conn_window, l->peer->in_flight);
    room = PX_MIN(room, conn_room);
    if (l->net->chunk_max > 0) {
        uint64_t chunk = 1 + fake_random(l->net) % l->net->chunk_max;
        room = PX_MIN(room, chunk);
    }
    if (total > 0 && room == 0) {
        p->ready = false; /* a consume at the other end wakes it */
        return false;
    }
    px_assert(room <= s->limit - s->sent);
    uint64_t n = PX_MIN(total, room), left = n;
    for (size_t i = 0; i < count && left > 0; i++) {
        size_t take = (size_t)PX_MIN((uint64_t)vec[i].len, left);
        queue(s, px_slice_take(vec[i], take));
        left -= take;
    }
    s->sent += n;
    l->peer->in_flight += n;
    s->fin_sent = fin && n == total;
    p->ops->sent(p->ctx, id, n, s->fin_sent);
    mark(s);
    return true;
}

static bool pump(struct px_link *l)
{
    bool any = false;
    for (int i = 0; i < 64 && l->producer != NULL && l->producer->ready; i++)
        any = pump_one(l) || any;
    return any;
}

/* The receiving end of s, made when its first byte arrives. */
static struct fake_stream *other_end(struct fake_stream *s)
{
    struct fake_stream *r = find(s->link->peer, s->id);
    if (r != NULL || s->routed == false)
        return r;
    return ours(s->link, s->id) && s->delivered == 0 && !s->reset_delivered
               ? stream_new(s->link->peer, s->id)
               : NULL;
}

static void receive(struct fake_stream *r, const uint8_t *data, size_t len, bool fin)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    px_assert(copy != NULL);
    memcpy(copy, data, len);
    struct px_slice in = px_slice(copy, len);
    r->received += len;
    if (!r->routed && len > 0) {
        r->routed = true;
        if (r->link->route != NULL)
            r->ops = r->link->route(r->link->route_ctx, r->id, in.data[0], &r->ctx);
        px_link_consume(r->link, r->id, 1);
        in = px_slice_skip(in, 1);
        if (r->ops == NULL) {
            px_link_stream_reset(r->link, r->id, PX_CLOSE_PROTOCOL);
            px_link_stream_stop(r->link, r->id, PX_CLOSE_PROTOCOL);
        }
    }
    if (fin)
        r->recv_done = true;
    if (r->ops != NULL && (in.len > 0 || fin))
        r->ops->recv(r->ctx, r->link, r->id, in, fin);
    else if (in.len > 0)
        px_link_consume(r->link, r->id, in.len);
    free(copy);
}

static void drop_segments(struct fake_stream *s, uint64_t n)
{
    size_t k = 0;
    while (n > 0) {
        struct fake_segment *g = &s->segments[k];
        size_t take = (size_t)PX_MIN((uint64_t)g->len, n);
        touch(g);
        g->data += take;
        g->len -= take;
        n -= take;
        if (g->len == 0)
            k++;
    }
    if (k == 0)
        return;
    memmove(s->segments, s->segments + k, (s->segment_count - k) * sizeof(*s->segments));
    s->segment_count -= k;
}

/* Bytes that never arrive do not count against the connection. */
static void lost(struct fake_stream *s, uint64_t n)
{
    s->link->peer->in_flight -= n;
    if (s->link->producer != NULL)
        s->link->producer->ready = true;
}

static bool deliver_bytes(struct fake_stream *s, struct fake_stream *r)
{
    bool any = false;
    while (s->delivered < s->sent || (s->fin_sent && !s->fin_delivered)) {
        uint8_t buf[65536];
        size_t len = 0, cap = sizeof(buf);
        if (s->link->net->chunk_max > 0)
            cap = 1 + fake_random(s->link->net) % PX_MIN(s->link->net->chunk_max, sizeof(buf));
        for (size_t i = 0; i < s->segment_count && len < cap; i++) {
            size_t take = PX_MIN(cap - len, s->segments[i].len);
            memcpy(buf + len, s->segments[i].data, take);
            len += take;
        }
        s->delivered += len;
        s->fin_delivered = s->fin_sent && s->delivered == s->sent;
        if (s->fin_delivered)
            s->send_done = true;
        if (r != NULL && !r->recv_done)
            receive(r, buf, len, s->fin_delivered);
        else
            lost(s, len);
        any = true;
        drop_segments(s, len);
        s->acked += len;
        if (len > 0 && s->ops != NULL)
            s->ops->acked(s->ctx, s->link, s->id, len);
        if (s->reset_wanted)
            break;
    }
    return any;
}

static bool deliver_reset(struct fake_stream *s, struct fake_stream *r)
{
    s->reset_delivered = s->send_done = true;
    lost(s, s->sent - s->delivered);
    if (r != NULL && !r->recv_done) {
        r->recv_done = true;
        if (r->ops != NULL)
            r->ops->reset(r->ctx, r->link, r->id, s->reset_code);
        else
            px_link_stream_reset(r->link, r->id, s->reset_code);
        mark(r);
    }
    return true;
}

static bool deliver_stop(struct fake_stream *s, struct fake_stream *r)
{
    s->stop_delivered = true;
    if (r == NULL || r->send_done || r->reset_wanted)
        return true;
    if (r->ops != NULL)
        r->ops->stop(r->ctx, r->link, r->id, s->stop_code);
    px_link_stream_reset(r->link, r->id, s->stop_code); /* as RFC 9000 §3.5 asks */
    return true;
}

static bool move(struct fake_stream *s)
{
    bool any = false;
    struct fake_stream *r = other_end(s);
    if (s->unblock && s->blocked) {
        s->blocked = s->unblock = false;
        if (!s->send_done && !s->reset_wanted && s->ops != NULL)
            s->ops->writable(s->ctx, s->link, s->id);
        any = true;
    }
    if (!s->reset_wanted && !s->send_done)
        any = deliver_bytes(s, r) || any;
    if (s->reset_wanted && !s->reset_delivered && !s->send_done)
        any = deliver_reset(s, r) || any;
    if (s->stop_wanted && !s->stop_delivered)
        any = deliver_stop(s, r) || any;
    if (r != NULL && any)
        mark(r);
    if (s->send_done && s->recv_done && (s->routed || s->received == 0)) {
        stream_close(s);
        return true;
    }
    return any;
}

static bool move_all(struct px_link *l)
{
    bool any = false;
    struct fake_stream *end = l->dirty != NULL ? l->dirty->dirty_prev : NULL;
    while (l->dirty != NULL) {
        struct fake_stream *s = l->dirty;
        bool last = s == end;
        unmark(s);
        any = move(s) || any;
        if (last)
            break;
    }
    return any;
}

bool fake_step(struct fake_net *n)
{
    bool any = pump(&n->a);
    any = pump(&n->b) || any;
    any = move_all(&n->a) || any;
    return move_all(&n->b) || any;
}

void fake_run(struct fake_net *n)
{
    int quiet = 0;
    while (quiet < 3)
        quiet = fake_step(n) ? 0 : quiet + 1;
}

void fake_inject(struct px_link *l, int64_t id, struct px_slice data, bool fin)
{
    struct fake_stream *r = find(l, id);
    if (r == NULL) {
        r = stream_new(l, id);
        /* the sending end is nobody */
        struct fake_stream *s = find(l->peer, id);
        if (s == NULL) {
            s = stream_new(l->peer, id);
            s->routed = true;
            s->ops = NULL;
        }
        if (ours(l->peer, id) && (id & 2) == 0)
            l->peer->bidi_open++;
    }
    if (!r->recv_done) {
        l->in_flight += data.len;
        receive(r, data.data, data.len, fin);
    }
}

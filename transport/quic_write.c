/* From streams to datagrams: the ngtcp2 write loop, and batches for UDP_SEGMENT.
 *
 * Packets of equal size on one path are laid side by side in the endpoint's buffer and leave in one
 * call. A packet of another kind starts the next batch right behind, so nothing is moved. */
#include <stdlib.h>

#include "transport/quic_internal.h"

static void batch_start(struct px_quic_batch *b, const struct px_path *path, unsigned ecn,
                        size_t start, size_t len)
{
    *b = (struct px_quic_batch){
        .path = *path, .ecn = ecn, .start = start, .end = start + len, .segment = len, .count = 1};
}

static bool batch_takes(const struct px_quic_batch *b, const struct px_path *path, unsigned ecn,
                        size_t len)
{
    return b->count < PX_QUIC_BATCH_SEGMENTS && len <= b->segment &&
           b->end - b->start == b->count * b->segment && /* a shorter one was the last */
           b->end - b->start + len <= PX_QUIC_BATCH_BYTES && b->ecn == ecn &&
           px_path_eq(&b->path, path);
}

bool px_quic_flush(struct px_quic *q)
{
    while (!q->net_blocked && q->batch[0].count > 0) {
        const struct px_quic_batch *b = &q->batch[0];
        int err = q->config.net.send(q->config.net.ctx, &b->path, b->ecn,
                                     px_slice(q->buf + b->start, b->end - b->start), b->segment);
        if (err == PX_EAGAIN) {
            q->net_blocked = true;
            break;
        }
        q->batch[0] = q->batch[1];
        q->batch[1].count = 0;
    }
    if (q->batch[0].count == 0)
        q->pad = 0;
    return !q->net_blocked;
}

/* Takes the packet of `len` bytes written at q->pad. False when the socket is full. */
static bool batch_add(struct px_quic *q, const struct px_path *path, unsigned ecn, size_t len)
{
    size_t at = q->pad;
    q->pad += len;
    struct px_quic_batch *b = &q->batch[0];
    if (b->count > 0 && batch_takes(b, path, ecn, len)) {
        b->end += len;
        b->count++;
        return true;
    }
    if (b->count == 0) {
        batch_start(b, path, ecn, at, len);
        return true;
    }
    batch_start(&q->batch[1], path, ecn, at, len);
    const struct px_quic_batch first = *b;
    int err =
        q->config.net.send(q->config.net.ctx, &first.path, first.ecn,
                           px_slice(q->buf + first.start, first.end - first.start), first.segment);
    if (err == PX_EAGAIN) {
        q->net_blocked = true;
        return false;
    }
    q->batch[0] = q->batch[1];
    q->batch[1].count = 0;
    return true;
}

struct offer {
    int64_t id;
    struct px_slice vec[PX_QUIC_VEC_MAX];
    size_t count;
    bool fin;
};

/* Asks the owner for something to send; id -1 when there is nothing. */
static void ask(struct px_quic_conn *c, struct offer *o)
{
    o->id = -1;
    o->count = 0;
    o->fin = false;
    /* Without credit of the connection ngtcp2 would call every stream blocked. */
    if (c->state != PX_QUIC_OPEN || c->ops == NULL || ngtcp2_conn_get_max_data_left(c->conn) == 0)
        return;
    c->ops->next(c->ctx, &o->id, o->vec, PX_QUIC_VEC_MAX, &o->count, &o->fin);
    if (o->id < 0)
        o->count = 0;
}

static uint64_t offer_len(const struct offer *o)
{
    uint64_t n = 0;
    for (size_t i = 0; i < o->count; i++)
        n += o->vec[i].len;
    return n;
}

static void took(struct px_quic_conn *c, const struct offer *o, ngtcp2_ssize n)
{
    if (o->id < 0 || n < 0)
        return;
    c->last_stream = o->id;
    if (c->ops != NULL)
        c->ops->sent(c->ctx, o->id, (uint64_t)n, o->fin && (uint64_t)n == offer_len(o));
}

/* ngtcp2 1.11 reports no STOP_SENDING: it shows when the stream refuses data, and the code is lost.
 * An owner whose stream is blocked writes nothing, so for these this asks by an offer of impossible
 * length, which is refused for one reason or the other without any effect. */
static bool is_shut(const struct px_quic_conn *c, int64_t id)
{
    const ngtcp2_vec impossible = {NULL, SIZE_MAX};
    ngtcp2_ssize n =
        ngtcp2_conn_writev_stream(c->conn, NULL, NULL, NULL, 0, NULL, 0, id, &impossible, 1, 0);
    return n == NGTCP2_ERR_STREAM_SHUT_WR;
}

void px_quic_conn_find_stopped(struct px_quic_conn *c)
{
    PX_LIST_EACH(it, &c->blocked) {
        struct px_quic_blocked *b = PX_CONTAINER_OF(it, struct px_quic_blocked, of_conn);
        int64_t id = b->id;
        if (!is_shut(c, id))
            continue;
        (void)ngtcp2_conn_set_stream_user_data(c->conn, id, NULL);
        px_list_remove(&b->of_conn);
        free(b);
        if (c->ops != NULL)
            c->ops->stream_stop(c->ctx, id, 0);
    }
}

/* 0 or PX_ENOMEM. */
static int note_blocked(struct px_quic_conn *c, int64_t id)
{
    PX_LIST_EACH(it, &c->blocked)
        if (PX_CONTAINER_OF(it, struct px_quic_blocked, of_conn)->id == id)
            return 0; /* offered again all the same */
    struct px_quic_blocked *b = calloc(1, sizeof(*b));
    if (b == NULL)
        return PX_ENOMEM;
    b->id = id;
    if (ngtcp2_conn_set_stream_user_data(c->conn, id, b) != 0) {
        free(b);
        return 0;
    }
    px_list_push_back(&c->blocked, &b->of_conn);
    return 0;
}

/* The stream of an offer took nothing and will not for now. */
static int tell_refused(struct px_quic_conn *c, int64_t id, ngtcp2_ssize why)
{
    if (why == NGTCP2_ERR_STREAM_DATA_BLOCKED && note_blocked(c, id) < 0)
        return NGTCP2_ERR_NOMEM;
    if (c->ops == NULL)
        return 0;
    if (why == NGTCP2_ERR_STREAM_SHUT_WR)
        c->ops->stream_stop(c->ctx, id, 0);
    c->ops->blocked(c->ctx, id);
    return 0;
}

static bool is_stream_error(ngtcp2_ssize n)
{
    return n == NGTCP2_ERR_STREAM_DATA_BLOCKED || n == NGTCP2_ERR_STREAM_SHUT_WR ||
           n == NGTCP2_ERR_STREAM_NOT_FOUND;
}

static ngtcp2_ssize write_offer(struct px_quic_conn *c, const struct offer *o, ngtcp2_path *path,
                                ngtcp2_pkt_info *pi, ngtcp2_ssize *ret_taken, px_nsec now)
{
    ngtcp2_vec vec[PX_QUIC_VEC_MAX];
    for (size_t i = 0; i < o->count; i++)
        vec[i] = (ngtcp2_vec){(uint8_t *)(uintptr_t)o->vec[i].data, o->vec[i].len};
    /* MORE: small pieces of several streams share a packet. */
    uint32_t flags = o->id < 0 ? NGTCP2_WRITE_STREAM_FLAG_NONE : NGTCP2_WRITE_STREAM_FLAG_MORE;
    if (o->fin)
        flags |= NGTCP2_WRITE_STREAM_FLAG_FIN;
    return ngtcp2_conn_writev_stream(c->conn, path, pi, c->q->buf + c->q->pad, PX_QUIC_PAYLOAD_MAX,
                                     ret_taken, flags, o->id, vec, o->count, now);
}

/* Writes one packet at q->pad. Its length, 0 when nothing can be sent, or an ngtcp2 error. */
static ngtcp2_ssize write_packet(struct px_quic_conn *c, ngtcp2_path *path, ngtcp2_pkt_info *pi,
                                 px_nsec now)
{
    struct offer o;
    int64_t refused = -1;
    for (;;) {
        ask(c, &o);
        /* An owner that insists on a blocked stream gets no further turn in this packet. */
        if (o.id >= 0 && o.id == refused)
            o = (struct offer){.id = -1};
        ngtcp2_ssize taken = -1;
        ngtcp2_ssize n = write_offer(c, &o, path, pi, &taken, now);
        if (is_stream_error(n)) {
            refused = o.id;
            int rv = tell_refused(c, o.id, n);
            if (rv != 0)
                return rv;
            continue;
        }
        if (n >= 0 || n == NGTCP2_ERR_WRITE_MORE)
            took(c, &o, taken);
        if (n != NGTCP2_ERR_WRITE_MORE)
            return n;
    }
}

int px_quic_conn_write(struct px_quic_conn *c, px_nsec now)
{
    struct px_quic *q = c->q;
    ngtcp2_path_storage ps;
    ngtcp2_path_storage_zero(&ps);
    /* What pacing allows at once, in whole packets and one send. */
    size_t quantum = PX_MIN(ngtcp2_conn_get_send_quantum(c->conn), PX_QUIC_BATCH_BYTES);
    size_t payload = ngtcp2_conn_get_path_max_tx_udp_payload_size(c->conn);
    ngtcp2_ssize n = 0;
    bool wrote = false;
    /* One packet always: a path MTU just found may be above a quantum computed before. */
    for (size_t written = 0; (written == 0 || written + payload <= quantum) && !q->net_blocked;
         written += (size_t)n) {
        if (sizeof(q->buf) - q->pad < PX_QUIC_PAYLOAD_MAX && !px_quic_flush(q))
            break;
        ngtcp2_pkt_info pi = {0};
        n = write_packet(c, &ps.path, &pi, now);
        if (n <= 0)
            break;
        const struct px_path *real = px_quic_paths_get(&c->paths, px_quic_number_from_ng(&ps.path));
        if (real == NULL) /* forgotten since ngtcp2 last heard of it: as lost */
            continue;
        c->bytes_sent += (uint64_t)n;
        c->packets_sent++;
        (void)batch_add(q, real, pi.ecn, (size_t)n); /* net_blocked tells */
        wrote = true;
    }
    ngtcp2_conn_update_pkt_tx_time(c->conn, now);
    if (wrote)
        px_quic_conn_note_written(c, now);
    return n < 0 ? (int)n : 0;
}

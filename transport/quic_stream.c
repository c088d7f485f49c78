/* Streams, credit and figures of a connection, for its owner. */
#include "transport/quic_internal.h"

static bool is_live(const struct px_quic_conn *c)
{
    return c->state <= PX_QUIC_OPEN;
}

int px_quic_stream_open(struct px_quic_conn *c, bool uni, int64_t *ret_id)
{
    if (c->state != PX_QUIC_OPEN)
        return PX_ESTATE;
    int64_t id;
    int rv = uni ? ngtcp2_conn_open_uni_stream(c->conn, &id, NULL)
                 : ngtcp2_conn_open_bidi_stream(c->conn, &id, NULL);
    if (rv != 0)
        return px_quic_error_from_ngtcp2(rv);
    *ret_id = id;
    return 0;
}

void px_quic_consume(struct px_quic_conn *c, int64_t id, uint64_t n)
{
    if (!is_live(c) || n == 0)
        return;
    ngtcp2_conn_extend_max_offset(c->conn, n);
    /* The stream may be gone; its credit is then of no use to anybody. */
    if (ngtcp2_conn_extend_max_stream_offset(c->conn, id, n) == NGTCP2_ERR_NOMEM)
        px_quic_conn_fail(c, NGTCP2_ERR_NOMEM);
    px_quic_conn_mark_ready(c);
}

static bool we_send_on(const struct px_quic_conn *c, int64_t id)
{
    return ngtcp2_is_bidi_stream(id) || ngtcp2_conn_is_local_stream(c->conn, id);
}

static bool peer_sends_on(const struct px_quic_conn *c, int64_t id)
{
    return ngtcp2_is_bidi_stream(id) || !ngtcp2_conn_is_local_stream(c->conn, id);
}

void px_quic_stream_reset(struct px_quic_conn *c, int64_t id, uint64_t app_code)
{
    if (!is_live(c) || !we_send_on(c, id))
        return;
    int rv = ngtcp2_conn_shutdown_stream_write(c->conn, 0, id, app_code);
    if (ngtcp2_err_is_fatal(rv))
        px_quic_conn_fail(c, rv);
    px_quic_conn_mark_ready(c);
}

void px_quic_stream_stop(struct px_quic_conn *c, int64_t id, uint64_t app_code)
{
    if (!is_live(c) || !peer_sends_on(c, id))
        return;
    int rv = ngtcp2_conn_shutdown_stream_read(c->conn, 0, id, app_code);
    if (ngtcp2_err_is_fatal(rv))
        px_quic_conn_fail(c, rv);
    px_quic_conn_mark_ready(c);
}

void px_quic_conn_raise_windows(struct px_quic_conn *c)
{
    if (!is_live(c) || c->raised)
        return;
    c->raised = true;
    /* Streams have their windows from the start: the connection's alone bounds what an owner that
     * has not consumed anything must hold. See fill_settings for the share that is tuned. */
    uint64_t window = c->q->config.conn_window;
    uint64_t tuned = PX_MAX(window / 3, PX_MIN(PX_QUIC_UNRAISED_WINDOW, window));
    ngtcp2_conn_extend_max_offset(c->conn, window - tuned);
    px_quic_conn_mark_ready(c);
}

void px_quic_conn_stats(const struct px_quic_conn *c, struct px_quic_stats *ret)
{
    *ret = c->final;
    ret->bytes_sent = c->bytes_sent;
    ret->bytes_received = c->bytes_received;
    ret->packets_sent = c->packets_sent;
    ret->packets_received = c->packets_received;
    if (c->conn == NULL)
        return;
    ret->packets_lost = c->lost_on_ended_streams;
    if (c->last_stream >= 0)
        ret->packets_lost += ngtcp2_conn_get_stream_loss_count(c->conn, c->last_stream);
    ngtcp2_conn_info info;
    ngtcp2_conn_get_conn_info(c->conn, &info);
    /* Before the first sample ngtcp2 shows an assumed one; latest_rtt is 0 until then. */
    ret->rtt_ns = info.latest_rtt != 0 ? info.smoothed_rtt : 0;
    ret->cwnd = info.cwnd;
    ret->max_udp_payload = ngtcp2_conn_get_path_max_tx_udp_payload_size(c->conn);
}

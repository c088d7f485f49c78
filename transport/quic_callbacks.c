/* What ngtcp2 calls. These functions note facts and pass stream events on; nothing is freed here,
 * and whatever needs the connection at rest waits for px_quic_conn_settle or the next run. */
#include <stdlib.h>

#include "transport/quic_internal.h"

static int recv_crypto_data(ngtcp2_conn *conn, ngtcp2_encryption_level level, uint64_t offset,
                            const uint8_t *data, size_t len, void *user)
{
    struct px_quic_conn *c = user;
    /* TLS was dropped once it was done: there are no tickets and no post-handshake requests, so
     * nothing legitimate can come. */
    if (c->tls == NULL) {
        ngtcp2_conn_set_tls_alert(conn, GNUTLS_A_UNEXPECTED_MESSAGE);
        return NGTCP2_ERR_CRYPTO;
    }
    return ngtcp2_crypto_recv_crypto_data_cb(conn, level, offset, data, len, user);
}

static int recv_tx_key(ngtcp2_conn *conn, ngtcp2_encryption_level level, void *user)
{
    (void)conn;
    struct px_quic_conn *c = user;
    if (level == NGTCP2_ENCRYPTION_LEVEL_1RTT)
        c->tx_ready = true;
    return 0;
}

static int handshake_completed(ngtcp2_conn *conn, void *user)
{
    (void)conn;
    struct px_quic_conn *c = user;
    if (c->half_open) {
        c->half_open = false;
        c->q->half_open--;
    }
    c->tx_ready = true;
    if (!c->client) {
        c->tls_done = true;
        return 0;
    }
    /* Stream data may follow within this very datagram, and must not come before `secured`. TLS
     * itself is at rest here. */
    px_quic_conn_settle(c);
    return 0;
}

static int handshake_confirmed(ngtcp2_conn *conn, void *user)
{
    (void)conn;
    struct px_quic_conn *c = user;
    c->tls_done = true;
    return 0;
}

static int recv_stream_data(ngtcp2_conn *conn, uint32_t flags, int64_t id, uint64_t offset,
                            const uint8_t *data, size_t len, void *user, void *stream_user)
{
    (void)conn, (void)offset, (void)stream_user;
    struct px_quic_conn *c = user;
    bool fin = (flags & NGTCP2_STREAM_DATA_FLAG_FIN) != 0;
    if (px_quic_conn_hears(c))
        c->ops->stream_recv(c->ctx, id, px_slice(data, len), fin);
    return 0;
}

static int acked_stream_data_offset(ngtcp2_conn *conn, int64_t id, uint64_t offset, uint64_t len,
                                    void *user, void *stream_user)
{
    (void)conn, (void)offset, (void)stream_user;
    struct px_quic_conn *c = user;
    if (len > 0 && px_quic_conn_hears(c))
        c->ops->stream_acked(c->ctx, id, len);
    return 0;
}

static int stream_open(ngtcp2_conn *conn, int64_t id, void *user)
{
    (void)conn;
    struct px_quic_conn *c = user;
    if (px_quic_conn_hears(c))
        c->ops->stream_opened(c->ctx, id);
    return 0;
}

static void forget_blocked(struct px_quic_blocked *b)
{
    if (b == NULL)
        return;
    px_list_remove(&b->of_conn);
    free(b);
}

static int stream_close(ngtcp2_conn *conn, uint32_t flags, int64_t id, uint64_t app_code,
                        void *user, void *stream_user)
{
    (void)flags, (void)app_code;
    struct px_quic_conn *c = user;
    forget_blocked(stream_user);
    c->lost_on_ended_streams += ngtcp2_conn_get_stream_loss_count(conn, id);
    if (c->last_stream == id)
        c->last_stream = -1;
    /* The peer may open another one in its place. */
    if (!ngtcp2_conn_is_local_stream(conn, id)) {
        if (ngtcp2_is_bidi_stream(id))
            ngtcp2_conn_extend_max_streams_bidi(conn, 1);
        else
            ngtcp2_conn_extend_max_streams_uni(conn, 1);
    }
    if (px_quic_conn_hears(c))
        c->ops->stream_closed(c->ctx, id);
    return 0;
}

static int stream_reset(ngtcp2_conn *conn, int64_t id, uint64_t final_size, uint64_t app_code,
                        void *user, void *stream_user)
{
    (void)conn, (void)final_size, (void)stream_user;
    struct px_quic_conn *c = user;
    if (px_quic_conn_hears(c))
        c->ops->stream_reset(c->ctx, id, app_code);
    return 0;
}

static int extend_max_stream_data(ngtcp2_conn *conn, int64_t id, uint64_t max_data, void *user,
                                  void *stream_user)
{
    (void)max_data;
    struct px_quic_conn *c = user;
    if (stream_user == NULL)
        return 0;
    forget_blocked(stream_user);
    (void)ngtcp2_conn_set_stream_user_data(conn, id, NULL);
    if (px_quic_conn_hears(c))
        c->ops->stream_writable(c->ctx, id);
    return 0;
}

static int extend_max_local_streams(ngtcp2_conn *conn, uint64_t max_streams, void *user)
{
    (void)conn, (void)max_streams;
    struct px_quic_conn *c = user;
    if (px_quic_conn_hears(c) && c->state == PX_QUIC_OPEN)
        c->ops->streams_available(c->ctx);
    return 0;
}

void px_quic_rand_cb(uint8_t *dest, size_t len, const ngtcp2_rand_ctx *ctx)
{
    const struct px_quic *q = ctx->native_handle;
    q->config.rng.fill(q->config.rng.ctx, dest, len);
}

static int get_new_connection_id(ngtcp2_conn *conn, ngtcp2_cid *cid, uint8_t *token, size_t len,
                                 void *user)
{
    (void)conn;
    struct px_quic_conn *c = user;
    px_quic_cid_generate(c->q, len, cid);
    if (ngtcp2_crypto_generate_stateless_reset_token(token, c->q->secret, sizeof(c->q->secret),
                                                     cid) != 0 ||
        px_quic_cid_add(c, cid) < 0)
        return NGTCP2_ERR_CALLBACK_FAILURE;
    return 0;
}

static int remove_connection_id(ngtcp2_conn *conn, const ngtcp2_cid *cid, void *user)
{
    (void)conn;
    px_quic_cid_remove(user, cid);
    return 0;
}

/* Instead of the helper's, so that a seeded generator gives the same packets. */
static int get_path_challenge_data(ngtcp2_conn *conn, uint8_t *data, void *user)
{
    (void)conn;
    const struct px_quic *q = ((struct px_quic_conn *)user)->q;
    q->config.rng.fill(q->config.rng.ctx, data, NGTCP2_PATH_CHALLENGE_DATALEN);
    return 0;
}

#define CALLBACKS_OF_BOTH                                                                          \
    .recv_crypto_data = recv_crypto_data, .handshake_completed = handshake_completed,              \
    .encrypt = ngtcp2_crypto_encrypt_cb, .decrypt = ngtcp2_crypto_decrypt_cb,                      \
    .hp_mask = ngtcp2_crypto_hp_mask_cb, .recv_stream_data = recv_stream_data,                     \
    .acked_stream_data_offset = acked_stream_data_offset, .stream_open = stream_open,              \
    .stream_close = stream_close, .stream_reset = stream_reset,                                    \
    .extend_max_stream_data = extend_max_stream_data,                                              \
    .extend_max_local_streams_bidi = extend_max_local_streams,                                     \
    .extend_max_local_streams_uni = extend_max_local_streams, .rand = px_quic_rand_cb,             \
    .get_new_connection_id = get_new_connection_id, .remove_connection_id = remove_connection_id,  \
    .update_key = ngtcp2_crypto_update_key_cb,                                                     \
    .delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb,                             \
    .delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb,                         \
    .get_path_challenge_data = get_path_challenge_data,                                            \
    .version_negotiation = ngtcp2_crypto_version_negotiation_cb, .recv_tx_key = recv_tx_key

const ngtcp2_callbacks px_quic_callbacks_client = {
    CALLBACKS_OF_BOTH,
    .client_initial = ngtcp2_crypto_client_initial_cb,
    .recv_retry = ngtcp2_crypto_recv_retry_cb,
    .handshake_confirmed = handshake_confirmed,
};

const ngtcp2_callbacks px_quic_callbacks_server = {
    CALLBACKS_OF_BOTH,
    .recv_client_initial = ngtcp2_crypto_recv_client_initial_cb,
};

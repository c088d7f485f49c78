/* One HTTP/3 session: an nghttp3 connection, its three streams, and the callbacks, which only
 * record what they saw (docs/spec/http3.md §2, §3). */
#include <stdlib.h>

#include "node/h3_internal.h"

int px_h3_error(int liberr)
{
    switch (liberr) {
    case 0:
        return 0;
    case NGHTTP3_ERR_NOMEM:
        return PX_ENOMEM;
    case NGHTTP3_ERR_CONN_CLOSING:
        return PX_ECLOSED;
    case NGHTTP3_ERR_INVALID_ARGUMENT:
        return PX_EINVAL;
    case NGHTTP3_ERR_INVALID_STATE:
    case NGHTTP3_ERR_STREAM_IN_USE:
    case NGHTTP3_ERR_STREAM_NOT_FOUND:
        return PX_ESTATE;
    default:
        return PX_EPROTO;
    }
}

/* With the QPACK dynamic table off no stream ever waits for another, so whatever a read reports is
 * about the stream being read. */
static struct px_h3_exchange *reading(const struct px_h3_session *s, int64_t id)
{
    px_assert(s->reading != NULL && (s->reading->id ^ s->flip) == id);
    return s->reading;
}

static int on_field(nghttp3_conn *conn, int64_t id, int32_t token, nghttp3_rcbuf *name,
                    nghttp3_rcbuf *value, uint8_t flags, void *ctx, void *stream_ctx)
{
    (void)conn, (void)flags, (void)stream_ctx;
    nghttp3_vec n = nghttp3_rcbuf_get_buf(name), v = nghttp3_rcbuf_get_buf(value);
    px_h3_field(reading(ctx, id), token, px_slice(n.base, n.len), px_slice(v.base, v.len));
    return 0;
}

static int on_headers_end(nghttp3_conn *conn, int64_t id, int fin, void *ctx, void *stream_ctx)
{
    (void)conn, (void)fin, (void)stream_ctx;
    struct px_h3_session *s = ctx;
    struct px_h3_exchange *x = reading(s, id);
    /* An interim response (1xx) is no answer; the next one starts afresh. */
    if (s->serving || x->res.status >= 200)
        x->headers_done = true;
    else
        x->res = (struct px_h3_response){.content_length = PX_H3_NO_LENGTH};
    return 0;
}

static int on_data(nghttp3_conn *conn, int64_t id, const uint8_t *data, size_t len, void *ctx,
                   void *stream_ctx)
{
    (void)conn, (void)id, (void)stream_ctx;
    struct px_h3_session *s = ctx;
    if (s->piece_count == s->piece_cap) {
        size_t cap = PX_MAX(2 * s->piece_cap, (size_t)16);
        struct px_h3_piece *p = realloc(s->pieces, cap * sizeof(*p));
        if (p == NULL)
            return NGHTTP3_ERR_CALLBACK_FAILURE;
        s->pieces = p;
        s->piece_cap = cap;
    }
    s->pieces[s->piece_count++].data = px_slice(data, len);
    return 0;
}

static int on_message_end(nghttp3_conn *conn, int64_t id, void *ctx, void *stream_ctx)
{
    (void)conn, (void)stream_ctx;
    reading(ctx, id)->message_done = true;
    return 0;
}

/* nghttp3 wants the stream gone: a malformed message, an unknown kind of stream, or a request after
 * our GOAWAY. */
static int on_stream_error(nghttp3_conn *conn, int64_t id, uint64_t code, void *ctx,
                           void *stream_ctx)
{
    (void)conn, (void)stream_ctx;
    reading(ctx, id)->abort_code = code;
    return 0;
}

static int on_acked(nghttp3_conn *conn, int64_t id, uint64_t n, void *ctx, void *stream_ctx)
{
    (void)conn, (void)id, (void)ctx;
    struct px_h3_exchange *x = stream_ctx;
    x->acked += n;
    return 0;
}

static int on_goaway(nghttp3_conn *conn, int64_t id, void *ctx)
{
    (void)conn;
    struct px_h3_session *s = ctx;
    if (!s->serving) { /* a client's GOAWAY is about pushes, which we never send */
        s->going_away = true;
        s->goaway_id = id;
    }
    return 0;
}

nghttp3_ssize px_h3_read_body(nghttp3_conn *conn, int64_t id, nghttp3_vec *vec, size_t cap,
                              uint32_t *flags, void *session_ctx, void *exchange_ctx)
{
    (void)conn, (void)id;
    struct px_h3_session *s = session_ctx;
    struct px_h3_exchange *x = exchange_ctx;
    px_assert(cap > 0);
    if (x->piece.len == 0 && !x->piece_fin) {
        s->h->starved = true;
        x->starving = true;
        if (!x->waiting && px_list_empty(&x->in_hungry))
            px_list_push_back(&s->h->hungry, &x->in_hungry);
        return NGHTTP3_ERR_WOULDBLOCK;
    }
    nghttp3_ssize n = 0;
    if (x->piece.len > 0) {
        union { /* nghttp3 reads it only */
            const uint8_t *in;
            uint8_t *out;
        } base = {x->piece.data};
        vec[n++] = (nghttp3_vec){.base = base.out, .len = x->piece.len};
        x->piece = px_slice(NULL, 0);
    }
    if (x->piece_fin)
        *flags |= NGHTTP3_DATA_FLAG_EOF;
    return n;
}

static const nghttp3_callbacks callbacks = {
    .acked_stream_data = on_acked,
    .recv_data = on_data,
    .recv_header = on_field,
    .end_headers = on_headers_end,
    .stop_sending = on_stream_error,
    .reset_stream = on_stream_error,
    .end_stream = on_message_end,
    .shutdown = on_goaway,
};

static int open_uni(struct px_h3_session *s, int64_t *ret_id)
{
    struct px_h3_exchange *x = px_h3_exchange_new(s, PX_H3_CRITICAL);
    if (x == NULL)
        return PX_ENOMEM;
    int64_t id;
    int err = px_link_stream_open(s->h->link, true, &px_h3_stream_ops, x, &id);
    if (err != 0) {
        px_h3_exchange_free(x, err);
        return err;
    }
    x->type_unsent = x->type_unacked = true;
    x->read_shut = true;
    px_h3_exchange_insert(x, id);
    *ret_id = id ^ s->flip;
    return 0;
}

static int bind_streams(struct px_h3_session *s)
{
    int64_t control, encoder, decoder;
    int err = open_uni(s, &control);
    if (err == 0)
        err = open_uni(s, &encoder);
    if (err == 0)
        err = open_uni(s, &decoder);
    if (err == 0)
        err = px_h3_error(nghttp3_conn_bind_control_stream(s->conn, control));
    if (err == 0)
        err = px_h3_error(nghttp3_conn_bind_qpack_streams(s->conn, encoder, decoder));
    return err;
}

void px_h3_session_prepare(struct px_h3_session *s, struct px_h3 *h, bool serving)
{
    /* SPEC http3 §2: the HTTP client of the forward session is the QUIC client. */
    bool forward = px_link_is_quic_client(h->link) != serving;
    *s = (struct px_h3_session){.h = h,
                                .serving = serving,
                                .dead = true,
                                .flip = forward ? 0 : 1,
                                .type = forward ? PX_STREAM_H3_FORWARD : PX_STREAM_H3_REVERSE};
    px_list_init(&s->streams);
    px_list_init(&s->live);
}

int px_h3_session_start(struct px_h3_session *s)
{
    nghttp3_settings settings;
    nghttp3_settings_default(&settings);
    settings.max_field_section_size = PX_H3_FIELD_SECTION_MAX;
    settings.qpack_max_dtable_capacity = 0;
    settings.qpack_encoder_max_dtable_capacity = 0;
    settings.qpack_blocked_streams = 0;
    int rv = s->serving ? nghttp3_conn_server_new(&s->conn, &callbacks, &settings, NULL, s)
                        : nghttp3_conn_client_new(&s->conn, &callbacks, &settings, NULL, s);
    if (rv != 0)
        return px_h3_error(rv);
    s->dead = false;
    return bind_streams(s);
}

void px_h3_session_deinit(struct px_h3_session *s)
{
    nghttp3_conn_del(s->conn);
    free(s->pieces);
    s->conn = NULL;
    s->pieces = NULL;
}

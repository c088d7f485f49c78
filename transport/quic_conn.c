/* One connection: its making, its states, its end. See quic_callbacks.c for what ngtcp2 reports
 * and quic_write.c for what it sends. */
#include "proto/close.h"

#include <stdlib.h>

#include "transport/quic_internal.h"

static void set_state(struct px_quic_conn *c, enum px_quic_state to)
{
    static const unsigned allowed[] = {
        [PX_QUIC_OPENING] = 1u << PX_QUIC_OPEN | 1u << PX_QUIC_ENDING,
        [PX_QUIC_OPEN] = 1u << PX_QUIC_ENDING,
        [PX_QUIC_ENDING] = 1u << PX_QUIC_CLOSING | 1u << PX_QUIC_DRAINING | 1u << PX_QUIC_DEAD,
        [PX_QUIC_CLOSING] = 1u << PX_QUIC_DEAD,
        [PX_QUIC_DRAINING] = 1u << PX_QUIC_DEAD,
        [PX_QUIC_DEAD] = 0,
    };
    px_assert((allowed[c->state] & 1u << to) != 0);
    c->state = to;
}

static ngtcp2_conn *conn_of_ref(ngtcp2_crypto_conn_ref *ref)
{
    return ((struct px_quic_conn *)ref->user_data)->conn;
}

/* Path MTU probes (RFC 8899): tunnels, PPPoE, Ethernet under IPv6, jumbo frames. A probe that is
 * too large costs three lost packets, once a path. */
static const uint16_t pmtud_probes[] = {1280, 1392, 1444, 1452, PX_QUIC_PAYLOAD_MAX};

static void fill_settings(const struct px_quic *q, const struct px_quic_conn_params *params,
                          ngtcp2_settings *s)
{
    const struct px_quic_config *cfg = &q->config;
    ngtcp2_settings_default(s);
    s->initial_ts = params->now;
    s->cc_algo = cfg->cubic ? NGTCP2_CC_ALGO_CUBIC : NGTCP2_CC_ALGO_BBR;
    s->handshake_timeout = PX_QUIC_HANDSHAKE_TIME;
    s->rand_ctx.native_handle = (void *)(uintptr_t)q;
    s->max_stream_window = cfg->stream_window;
    /* Of the configured window two thirds are given at px_quic_conn_raise_windows, the rest is
     * what ngtcp2 may tune up to; together they never pass it. */
    s->max_window = PX_MAX(cfg->conn_window / 3, PX_MIN(PX_QUIC_UNRAISED_WINDOW, cfg->conn_window));
    size_t probes = 0;
    while (probes < PX_ARRAY_LEN(pmtud_probes) && pmtud_probes[probes] <= cfg->max_udp_payload)
        probes++;
    s->no_pmtud = probes == 0;
    s->pmtud_probes = pmtud_probes;
    s->pmtud_probeslen = probes;
    s->max_tx_udp_payload_size = probes > 0 ? pmtud_probes[probes - 1] : PX_QUIC_PAYLOAD_MIN;
    if (params->retry_odcid != NULL) {
        s->token = params->initial->token;
        s->tokenlen = params->initial->tokenlen;
        s->token_type = NGTCP2_TOKEN_TYPE_RETRY;
    }
}

static void fill_transport_params(const struct px_quic *q, const struct px_quic_conn_params *params,
                                  ngtcp2_transport_params *p)
{
    const struct px_quic_config *cfg = &q->config;
    ngtcp2_transport_params_default(p);
    p->initial_max_data = PX_MIN(PX_QUIC_UNRAISED_WINDOW, cfg->conn_window);
    uint64_t stream = PX_MIN(PX_QUIC_STREAM_INITIAL, cfg->stream_window);
    p->initial_max_stream_data_bidi_local = stream;
    p->initial_max_stream_data_bidi_remote = stream;
    p->initial_max_stream_data_uni = stream;
    p->initial_max_streams_bidi = PX_QUIC_STREAMS_BIDI;
    p->initial_max_streams_uni = PX_QUIC_STREAMS_UNI;
    p->max_idle_timeout = cfg->idle_timeout;
    p->active_connection_id_limit = PX_QUIC_CIDS_ACTIVE;
    p->max_udp_payload_size = cfg->max_udp_payload;
    if (params->initial == NULL)
        return;
    p->original_dcid_present = 1;
    p->original_dcid = params->initial->dcid;
    if (params->retry_odcid != NULL) {
        p->original_dcid = *params->retry_odcid;
        p->retry_scid_present = 1;
        p->retry_scid = params->initial->dcid;
    }
}

/* Makes the ngtcp2 object and registers the IDs that packets to it carry at first. */
static int create_ngtcp2(struct px_quic_conn *c, const struct px_quic_conn_params *params)
{
    struct px_quic_ngpath path;
    c->current = px_quic_paths_add(&c->paths, params->path, 0, params->now);
    px_quic_ngpath_init(&path, c->current);
    ngtcp2_settings settings;
    ngtcp2_transport_params tparams;
    fill_settings(c->q, params, &settings);
    fill_transport_params(c->q, params, &tparams);
    ngtcp2_cid scid, dcid;
    px_quic_cid_generate(c->q, PX_QUIC_CID_LEN, &scid);
    int rv;
    if (c->client) {
        px_quic_cid_generate(c->q, NGTCP2_MAX_CIDLEN, &dcid);
        rv = ngtcp2_conn_client_new(&c->conn, &dcid, &scid, &path.path, NGTCP2_PROTO_VER_V1,
                                    &px_quic_callbacks_client, &settings, &tparams, NULL, c);
    } else {
        rv = ngtcp2_conn_server_new(&c->conn, &params->initial->scid, &scid, &path.path,
                                    params->initial->version, &px_quic_callbacks_server, &settings,
                                    &tparams, NULL, c);
    }
    if (rv != 0)
        return px_quic_error_from_ngtcp2(rv);
    int err = px_quic_cid_add(c, &scid);
    if (err == 0 && !c->client)
        err = px_quic_cid_add(c, &params->initial->dcid);
    return err;
}

static int create(struct px_quic_conn *c, const struct px_quic_conn_params *params)
{
    int err = px_heap_reserve(&c->q->timers, c->q->total);
    if (err < 0)
        return err;
    err = create_ngtcp2(c, params);
    if (err < 0)
        return err;
    c->tls_ref = (ngtcp2_crypto_conn_ref){.get_conn = conn_of_ref, .user_data = c};
    err = px_quic_tls_session(c->q->tls, !c->client, &c->tls_ref, &c->tls);
    if (err < 0)
        return err;
    ngtcp2_conn_set_tls_native_handle(c->conn, c->tls);
    ngtcp2_conn_set_keep_alive_timeout(c->conn, c->q->config.keep_alive);
    return 0;
}

int px_quic_conn_new(struct px_quic *q, const struct px_quic_conn_params *params,
                     struct px_quic_conn **ret)
{
    struct px_quic_conn *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return PX_ENOMEM;
    c->q = q;
    c->client = params->initial == NULL;
    c->heard_at = params->now;
    c->last_stream = -1;
    px_list_init(&c->ready);
    px_list_init(&c->watched);
    px_list_init(&c->cids);
    px_list_init(&c->blocked);
    px_list_init(&c->all);
    px_list_push_back(&q->conns, &c->all);
    q->total++;
    q->live++;
    int err = create(c, params);
    if (err < 0) {
        px_quic_conn_free(c);
        return err;
    }
    if (!c->client) {
        c->half_open = true;
        q->half_open++;
    }
    px_quic_conn_mark_ready(c);
    *ret = c;
    return 0;
}

static void drop_tls(struct px_quic_conn *c)
{
    if (c->tls == NULL)
        return;
    if (c->conn != NULL)
        ngtcp2_conn_set_tls_native_handle(c->conn, NULL);
    gnutls_deinit(c->tls);
    c->tls = NULL;
}

/* Gives up what only a live connection needs. */
static void release(struct px_quic_conn *c)
{
    if (c->half_open) {
        c->half_open = false;
        c->q->half_open--;
    }
    if (c->conn != NULL)
        px_quic_conn_stats(c, &c->final);
    drop_tls(c);
    ngtcp2_conn_del(c->conn);
    c->conn = NULL;
    PX_LIST_EACH(it, &c->blocked)
        free(PX_CONTAINER_OF(it, struct px_quic_blocked, of_conn));
    px_list_init(&c->blocked);
    gnutls_memset(c->exporter, 0, sizeof(c->exporter));
    if (c->state < PX_QUIC_CLOSING)
        c->q->live--;
}

void px_quic_conn_free(struct px_quic_conn *c)
{
    release(c);
    PX_LIST_EACH(it, &c->cids) {
        struct px_quic_cid *cid = PX_CONTAINER_OF(it, struct px_quic_cid, of_conn);
        px_quic_cid_remove(c, &cid->cid);
    }
    px_heap_remove(&c->q->timers, &c->timer);
    px_list_remove(&c->ready);
    px_list_remove(&c->watched);
    px_list_remove(&c->all);
    c->q->total--;
    free(c->close_packet);
    free(c);
}

void px_quic_conn_end(struct px_quic_conn *c, enum px_quic_farewell farewell, int err,
                      uint64_t app_code, bool by_peer)
{
    if (c->state >= PX_QUIC_ENDING)
        return;
    c->farewell = farewell;
    c->end_err = err;
    c->end_app_code = app_code;
    c->end_by_peer = by_peer;
    set_state(c, PX_QUIC_ENDING);
    px_quic_conn_mark_ready(c);
}

static void end_by_peer(struct px_quic_conn *c)
{
    const ngtcp2_ccerr *ccerr = ngtcp2_conn_get_ccerr(c->conn);
    uint64_t code = ccerr->type == NGTCP2_CCERR_TYPE_APPLICATION ? ccerr->error_code : 0;
    px_quic_conn_end(c, PX_QUIC_FAREWELL_DRAIN, px_quic_error_from_peer(ccerr), code, true);
}

void px_quic_conn_fail(struct px_quic_conn *c, int liberr)
{
    if (c->state >= PX_QUIC_ENDING)
        return;
    switch (liberr) {
    case NGTCP2_ERR_DRAINING:
        end_by_peer(c);
        return;
    case NGTCP2_ERR_IDLE_CLOSE:
    case NGTCP2_ERR_DROP_CONN:
    case NGTCP2_ERR_RETRY:
    case NGTCP2_ERR_HANDSHAKE_TIMEOUT:
    case NGTCP2_ERR_RECV_VERSION_NEGOTIATION:
        px_quic_conn_end(c, PX_QUIC_FAREWELL_NONE, px_quic_error_from_ngtcp2(liberr), 0, false);
        return;
    default:
        break;
    }
    uint8_t alert = ngtcp2_conn_get_tls_alert(c->conn);
    if (liberr == NGTCP2_ERR_CRYPTO && alert != 0)
        ngtcp2_ccerr_set_tls_alert(&c->ccerr, alert, NULL, 0);
    else
        ngtcp2_ccerr_set_liberr(&c->ccerr, liberr, NULL, 0);
    px_quic_conn_end(c, PX_QUIC_FAREWELL_CLOSE, px_quic_error_from_ngtcp2(liberr), 0, false);
}

void px_quic_conn_settle(struct px_quic_conn *c)
{
    if (c->state == PX_QUIC_OPENING && c->tx_ready && c->ops != NULL) {
        if (px_quic_tls_exporter(c->tls, c->exporter) < 0) {
            px_quic_conn_fail(c, NGTCP2_ERR_CRYPTO);
            return;
        }
        c->exporter_known = true;
        set_state(c, PX_QUIC_OPEN);
        px_quic_conn_mark_ready(c);
        c->ops->secured(c->ctx);
    }
    if (c->tls_done && c->exporter_known)
        drop_tls(c);
}

/* RFC 9000, 10.2.1: answers ever fewer of the packets that still come, where the peer is now. */
static void note_packet_while_closing(struct px_quic_conn *c, const struct px_path *path,
                                      px_nsec now)
{
    c->close_received++;
    if (px_quic_paths_find(&c->paths, path, c->current, now) != 0)
        c->close_path = *path;
    if ((c->close_received & (c->close_received - 1)) == 0) {
        c->close_due = true;
        px_quic_conn_mark_ready(c);
    }
}

static void note_heard(struct px_quic_conn *c, size_t len, px_nsec now)
{
    c->heard_at = now;
    c->heard += len;
    c->asked_at = 0;
    c->told_at = 0;
    px_quic_conn_expect(c, now);
}

int px_quic_conn_input(struct px_quic_conn *c, const struct px_path *path, unsigned ecn,
                       struct px_slice datagram, px_nsec now)
{
    if (c->state == PX_QUIC_CLOSING)
        note_packet_while_closing(c, path, now);
    if (c->state >= PX_QUIC_ENDING)
        return 0;
    uint32_t number = px_quic_paths_find(&c->paths, path, c->current, now);
    if (number == 0) {
        if (c->state == PX_QUIC_OPEN && c->ops != NULL && c->ops->stray != NULL)
            c->ops->stray(c->ctx, path, datagram.len);
        return 0;
    }
    struct px_quic_ngpath ngpath;
    px_quic_ngpath_init(&ngpath, number);
    const ngtcp2_pkt_info pi = {.ecn = (uint8_t)(ecn & 3)};
    c->bytes_received += datagram.len;
    c->packets_received++;
    int rv = ngtcp2_conn_read_pkt(c->conn, &ngpath.path, &pi, datagram.data, datagram.len, now);
    if (rv != 0)
        px_quic_conn_fail(c, rv);
    else
        px_quic_conn_note_path(c, now);
    if (number == c->current)
        note_heard(c, datagram.len, now);
    px_quic_conn_mark_ready(c);
    return rv;
}

static void tell_closed(struct px_quic_conn *c)
{
    const struct px_quic_conn_ops *ops = c->ops;
    c->ops = NULL;
    if (ops != NULL)
        ops->closed(c->ctx, c->end_err, c->end_app_code, c->end_by_peer);
}

/* Keeps the packet: later ones from the peer are answered with it. */
static void prepare_close_packet(struct px_quic_conn *c, px_nsec now)
{
    c->close_packet = malloc(PX_QUIC_PAYLOAD_MIN);
    if (c->close_packet == NULL)
        return;
    ngtcp2_path_storage ps;
    ngtcp2_path_storage_zero(&ps);
    ngtcp2_pkt_info pi;
    ngtcp2_ssize n = ngtcp2_conn_write_connection_close(c->conn, &ps.path, &pi, c->close_packet,
                                                        PX_QUIC_PAYLOAD_MIN, &c->ccerr, now);
    if (n <= 0)
        return;
    c->close_len = (size_t)n;
    const struct px_path *real = px_quic_paths_get(&c->paths, px_quic_number_from_ng(&ps.path));
    c->close_due = real != NULL;
    if (real != NULL)
        c->close_path = *real;
}

/* From ENDING to what follows on the wire. */
static void finish(struct px_quic_conn *c, px_nsec now)
{
    px_nsec linger = 3 * ngtcp2_conn_get_pto(c->conn);
    if (c->farewell == PX_QUIC_FAREWELL_CLOSE)
        prepare_close_packet(c, now);
    enum px_quic_state to = c->farewell == PX_QUIC_FAREWELL_DRAIN ? PX_QUIC_DRAINING
                            : c->close_len > 0                    ? PX_QUIC_CLOSING
                                                                  : PX_QUIC_DEAD;
    release(c);
    set_state(c, to);
    c->gone_at = now + linger;
    tell_closed(c);
}

static void run_live(struct px_quic_conn *c, px_nsec now)
{
    int rv = 0;
    if (ngtcp2_conn_get_expiry(c->conn) <= now)
        rv = ngtcp2_conn_handle_expiry(c->conn, now);
    if (rv == 0)
        px_quic_conn_find_stopped(c);
    if (rv == 0 && !c->q->net_blocked)
        rv = px_quic_conn_write(c, now);
    if (rv != 0) {
        px_quic_conn_fail(c, rv);
        return;
    }
    px_quic_conn_note_path(c, now);
    px_quic_conn_settle(c);
}

static int send_close_on(struct px_quic_conn *c, const struct px_path *path)
{
    const struct px_quic_net *net = &c->q->config.net;
    return net->send(net->ctx, path, 0, px_slice(c->close_packet, c->close_len), c->close_len);
}

/* ngtcp2's client reads on its new path alone as soon as that is validated, which a server may not
 * have seen yet: at first the packet goes to all places where the peer may be. */
static void send_close(struct px_quic_conn *c, px_nsec now)
{
    /* What was written before leaves before. */
    if (!c->close_due || !px_quic_flush(c->q))
        return;
    if (send_close_on(c, &c->close_path) == PX_EAGAIN) {
        c->q->net_blocked = true;
        return;
    }
    c->close_due = false;
    for (size_t i = 0; i < PX_QUIC_PATHS_MAX && c->close_received == 0; i++) {
        const struct px_path *other = px_quic_paths_at(&c->paths, i, now);
        if (other != NULL && !px_path_eq(other, &c->close_path))
            (void)send_close_on(c, other);
    }
}

void px_quic_conn_run(struct px_quic_conn *c, px_nsec now)
{
    if (c->state <= PX_QUIC_OPEN)
        run_live(c, now);
    if (c->state == PX_QUIC_ENDING)
        finish(c, now);
    if (c->state == PX_QUIC_CLOSING)
        send_close(c, now);
    if ((c->state == PX_QUIC_CLOSING || c->state == PX_QUIC_DRAINING) && c->gone_at <= now)
        set_state(c, PX_QUIC_DEAD);
    if (c->state <= PX_QUIC_OPEN)
        px_heap_set(&c->q->timers, &c->timer, ngtcp2_conn_get_expiry(c->conn));
    else if (c->state != PX_QUIC_DEAD)
        px_heap_set(&c->q->timers, &c->timer, c->gone_at);
    /* Whoever could not write for a full socket comes first when it takes packets again. */
    if (c->q->net_blocked && c->state != PX_QUIC_DEAD)
        px_quic_conn_mark_ready(c);
}

void px_quic_conn_close(struct px_quic_conn *c, uint64_t app_code)
{
    if (c->state >= PX_QUIC_ENDING)
        return;
    ngtcp2_ccerr_set_application_error(&c->ccerr, app_code, NULL, 0);
    px_quic_conn_end(c, PX_QUIC_FAREWELL_CLOSE, px_close_error(app_code), app_code, false);
}

bool px_quic_conn_is_client(const struct px_quic_conn *c)
{
    return c->client;
}

int px_quic_conn_exporter(const struct px_quic_conn *c, uint8_t ret[PX_QUIC_EXPORTER_LEN])
{
    if (!c->exporter_known)
        return PX_ESTATE;
    memcpy(ret, c->exporter, sizeof(c->exporter));
    return 0;
}

void px_quic_conn_wake(struct px_quic_conn *c)
{
    px_quic_conn_mark_ready(c);
}

/* The endpoint: finds the connection of a datagram, takes new ones, keeps the timers.
 *
 * Answers that need no connection (Version Negotiation, Retry, refusals; RFC 9000, 5.2.2, 6, 8.1.2)
 * are never larger than what they answer and are dropped when the socket is full. */
#include <stdlib.h>

#include "transport/quic_internal.h"

static void fill_defaults(struct px_quic_config *c)
{
    if (c->conns_max == 0)
        c->conns_max = PX_QUIC_CONNS_MAX;
    if (c->idle_timeout == 0)
        c->idle_timeout = PX_QUIC_IDLE_TIMEOUT;
    if (c->keep_alive == 0)
        c->keep_alive = PX_QUIC_KEEP_ALIVE;
    if (c->stream_window == 0)
        c->stream_window = PX_QUIC_STREAM_WINDOW;
    if (c->conn_window == 0)
        c->conn_window = c->stream_window + c->stream_window / 2;
    if (c->max_udp_payload == 0)
        c->max_udp_payload = PX_QUIC_PAYLOAD_MAX;
    c->max_udp_payload = PX_MAX(c->max_udp_payload, PX_QUIC_PAYLOAD_MIN);
}

int px_quic_new(const struct px_quic_config *config, struct px_quic **ret)
{
    struct px_quic *q = malloc(sizeof(*q));
    if (q == NULL)
        return PX_ENOMEM;
    memset(q, 0, offsetof(struct px_quic, buf)); /* the buffer's pages are touched when needed */
    q->config = *config;
    fill_defaults(&q->config);
    px_list_init(&q->conns);
    px_list_init(&q->ready);
    px_list_init(&q->watched);
    px_heap_init(&q->timers);
    q->config.rng.fill(q->config.rng.ctx, q->secret, sizeof(q->secret));
    int err = px_map_init(&q->cids, &q->config.rng);
    if (err == 0)
        err = px_quic_tls_new(&q->tls);
    if (err < 0) {
        px_quic_free(q);
        return err;
    }
    *ret = q;
    return 0;
}

void px_quic_free(struct px_quic *q)
{
    if (q == NULL)
        return;
    while (!px_list_empty(&q->conns)) {
        struct px_quic_conn *c = PX_CONTAINER_OF(q->conns.next, struct px_quic_conn, all);
        px_quic_conn_end(c, PX_QUIC_FAREWELL_NONE, PX_ECANCELED, 0, false);
        const struct px_quic_conn_ops *ops = c->ops;
        c->ops = NULL;
        if (ops != NULL)
            ops->closed(c->ctx, c->end_err, c->end_app_code, c->end_by_peer);
        px_quic_conn_free(c);
    }
    px_quic_tls_free(q->tls);
    px_heap_deinit(&q->timers);
    px_map_deinit(&q->cids);
    gnutls_memset(q->secret, 0, sizeof(q->secret));
    free(q);
}

void px_quic_conn_mark_ready(struct px_quic_conn *c)
{
    if (px_list_empty(&c->ready))
        px_list_push_back(&c->q->ready, &c->ready);
}

/* --- connection IDs --- */

static struct px_quic_cid *find_cid(const struct px_quic *q, struct px_slice bytes)
{
    struct px_map_node *node = px_map_find(&q->cids, bytes);
    return node != NULL ? PX_CONTAINER_OF(node, struct px_quic_cid, node) : NULL;
}

int px_quic_cid_add(struct px_quic_conn *c, const ngtcp2_cid *cid)
{
    struct px_quic_cid *e = calloc(1, sizeof(*e));
    if (e == NULL)
        return PX_ENOMEM;
    e->cid = *cid;
    e->conn = c;
    px_list_push_back(&c->cids, &e->of_conn);
    px_map_insert(&c->q->cids, &e->node, px_slice(e->cid.data, e->cid.datalen));
    return 0;
}

void px_quic_cid_remove(struct px_quic_conn *c, const ngtcp2_cid *cid)
{
    struct px_quic_cid *e = find_cid(c->q, px_slice(cid->data, cid->datalen));
    if (e == NULL || e->conn != c)
        return;
    px_map_remove(&c->q->cids, &e->node);
    px_list_remove(&e->of_conn);
    free(e);
}

void px_quic_cid_generate(struct px_quic *q, size_t len, ngtcp2_cid *ret)
{
    uint8_t bytes[NGTCP2_MAX_CIDLEN];
    do {
        q->config.rng.fill(q->config.rng.ctx, bytes, len);
    } while (find_cid(q, px_slice(bytes, len)) != NULL);
    ngtcp2_cid_init(ret, bytes, len);
}

/* --- answers without a connection --- */

#define STATELESS_MAX 256

static void send_stateless(struct px_quic *q, const struct px_path *path, const uint8_t *packet,
                           ngtcp2_ssize len)
{
    if (len <= 0 || !px_quic_flush(q))
        return;
    (void)q->config.net.send(q->config.net.ctx, path, 0, px_slice(packet, (size_t)len),
                             (size_t)len); /* lost if the socket is full: the peer tries again */
}

static void send_version_negotiation(struct px_quic *q, const struct px_path *path,
                                     const ngtcp2_version_cid *vc)
{
    /* Longer IDs than version 1 knows are legal here, up to 255 bytes each. */
    uint8_t packet[STATELESS_MAX * 3], unused;
    static const uint32_t versions[] = {NGTCP2_PROTO_VER_V1};
    q->config.rng.fill(q->config.rng.ctx, &unused, sizeof(unused));
    send_stateless(q, path, packet,
                   ngtcp2_pkt_write_version_negotiation(packet, sizeof(packet), unused, vc->scid,
                                                        vc->scidlen, vc->dcid, vc->dcidlen,
                                                        versions, PX_ARRAY_LEN(versions)));
}

static void send_refusal(struct px_quic *q, const struct px_path *path, const ngtcp2_pkt_hd *hd,
                         uint64_t transport_code)
{
    uint8_t packet[STATELESS_MAX];
    send_stateless(q, path, packet,
                   ngtcp2_crypto_write_connection_close(packet, sizeof(packet), hd->version,
                                                        &hd->scid, &hd->dcid, transport_code, NULL,
                                                        0));
}

/* What a Retry token is bound to. Circuits and pipes have no socket address; a token must not be
 * good on another one all the same. */
static socklen_t token_address(const struct px_addr *a, union px_sockaddr *ret)
{
    if (!px_addr_is_virtual(a))
        return px_sockaddr_from_addr(a, ret);
    memset(ret, 0, sizeof(*ret));
    ret->in6.sin6_family = AF_INET6;
    ret->in6.sin6_port = a->family;
    memcpy(&ret->in6.sin6_addr, a->ip, sizeof(ret->in6.sin6_addr));
    return sizeof(ret->in6);
}

static void send_retry(struct px_quic *q, const struct px_path *path, const ngtcp2_pkt_hd *hd,
                       px_nsec now)
{
    union px_sockaddr remote;
    socklen_t remote_len = token_address(&path->remote, &remote);
    ngtcp2_cid scid;
    px_quic_cid_generate(q, PX_QUIC_CID_LEN, &scid);
    uint8_t token[NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN2];
    ngtcp2_ssize token_len =
        ngtcp2_crypto_generate_retry_token2(token, q->secret, sizeof(q->secret), hd->version,
                                            &remote.sa, remote_len, &scid, &hd->dcid, now);
    if (token_len < 0)
        return;
    uint8_t packet[STATELESS_MAX];
    send_stateless(q, path, packet,
                   ngtcp2_crypto_write_retry(packet, sizeof(packet), hd->version, &hd->scid, &scid,
                                             &hd->dcid, token, (size_t)token_len));
}

/* --- incoming connections --- */

static bool token_is_of_retry(const ngtcp2_pkt_hd *hd)
{
    return hd->tokenlen > 0 && hd->token[0] == NGTCP2_CRYPTO_TOKEN_MAGIC_RETRY2;
}

static bool verify_token(const struct px_quic *q, const struct px_path *path,
                         const ngtcp2_pkt_hd *hd, px_nsec now, ngtcp2_cid *ret_odcid)
{
    union px_sockaddr remote;
    socklen_t remote_len = token_address(&path->remote, &remote);
    return ngtcp2_crypto_verify_retry_token2(ret_odcid, hd->token, hd->tokenlen, q->secret,
                                             sizeof(q->secret), hd->version, &remote.sa, remote_len,
                                             &hd->dcid, PX_QUIC_RETRY_TOKEN_TIME, now) == 0;
}

/* Makes the connection once the first packet has proved to be real, then asks the owner. */
static void take(struct px_quic *q, const struct px_quic_conn_params *params, unsigned ecn,
                 struct px_slice datagram)
{
    struct px_quic_conn *c;
    if (px_quic_conn_new(q, params, &c) < 0)
        return;
    int rv = px_quic_conn_input(c, params->path, ecn, datagram, params->now);
    if (rv == NGTCP2_ERR_RETRY)
        send_retry(q, params->path, params->initial, params->now);
    if (c->state != PX_QUIC_OPENING)
        return; /* ends at the next run, with an alert if TLS failed */
    if (q->config.accept(q->config.accept_ctx, c, &c->ops, &c->ctx) < 0) {
        send_refusal(q, params->path, params->initial, NGTCP2_CONNECTION_REFUSED);
        c->ops = NULL;
        px_quic_conn_end(c, PX_QUIC_FAREWELL_NONE, PX_ECANCELED, 0, false);
        return;
    }
    px_quic_conn_settle(c);
}

static void accept_initial(struct px_quic *q, const struct px_path *path, unsigned ecn,
                           struct px_slice datagram, px_nsec now)
{
    ngtcp2_pkt_hd hd;
    if (q->config.accept == NULL || ngtcp2_accept(&hd, datagram.data, datagram.len) != 0)
        return;
    if (hd.version != NGTCP2_PROTO_VER_V1) {
        /* ngtcp2 knows version 2 as well; nothing of ours was tested with it. */
        const ngtcp2_version_cid vc = {hd.version, hd.dcid.data, hd.dcid.datalen, hd.scid.data,
                                       hd.scid.datalen};
        send_version_negotiation(q, path, &vc);
        return;
    }
    ngtcp2_cid odcid;
    struct px_quic_conn_params params = {.path = path, .initial = &hd, .now = now};
    if (token_is_of_retry(&hd)) {
        if (!verify_token(q, path, &hd, now, &odcid)) {
            send_refusal(q, path, &hd, NGTCP2_INVALID_TOKEN);
            return;
        }
        params.retry_odcid = &odcid;
    } else if (q->half_open >= PX_QUIC_HALF_OPEN_MAX) {
        send_retry(q, path, &hd, now);
        return;
    }
    if (q->total >= q->config.conns_max) {
        send_refusal(q, path, &hd, NGTCP2_CONNECTION_REFUSED);
        return;
    }
    take(q, &params, ecn, datagram);
}

void px_quic_input(struct px_quic *q, const struct px_path *path, unsigned ecn,
                   struct px_slice datagram, px_nsec now)
{
    /* RFC 9443: without the fixed bit it is not ours. */
    if (datagram.len == 0 || (datagram.data[0] & 0x40) == 0)
        return;
    /* RFC 9000, 18.2: the peer was told. ngtcp2 would keep a buffer of its size. */
    if (datagram.len > q->config.max_udp_payload)
        return;
    ngtcp2_version_cid vc;
    int rv = ngtcp2_pkt_decode_version_cid(&vc, datagram.data, datagram.len, PX_QUIC_CID_LEN);
    if (rv == NGTCP2_ERR_VERSION_NEGOTIATION && q->config.accept != NULL)
        send_version_negotiation(q, path, &vc);
    if (rv != 0)
        return;
    struct px_quic_cid *cid = find_cid(q, px_slice(vc.dcid, vc.dcidlen));
    if (cid == NULL) {
        accept_initial(q, path, ecn, datagram, now);
        return;
    }
    struct px_quic_conn *c = cid->conn;
    if (px_quic_conn_input(c, path, ecn, datagram, now) == 0 && c->state <= PX_QUIC_OPEN)
        px_quic_conn_settle(c);
}

int px_quic_dial(struct px_quic *q, const struct px_path *path, const struct px_quic_conn_ops *ops,
                 void *ctx, px_nsec now, struct px_quic_conn **ret)
{
    struct px_path usable = *path;
    /* A dual-stack socket is bound to the IPv6 wildcard and dials IPv4 peers too. */
    if (px_addr_is_wildcard(&usable.local))
        usable.local.family = usable.remote.family;
    if (usable.remote.family == PX_ADDR_NONE || usable.remote.family != usable.local.family)
        return PX_EADDR;
    if (q->total >= q->config.conns_max)
        return PX_ELIMIT;
    struct px_quic_conn_params params = {.path = &usable, .now = now};
    struct px_quic_conn *c;
    int err = px_quic_conn_new(q, &params, &c);
    if (err < 0)
        return err;
    c->ops = ops;
    c->ctx = ctx;
    *ret = c;
    return 0;
}

/* --- time --- */

static void collect_due(struct px_quic *q, px_nsec now)
{
    for (struct px_heap_node *top; (top = px_heap_top(&q->timers)) != NULL && top->key <= now;) {
        px_heap_remove(&q->timers, top);
        px_quic_conn_mark_ready(PX_CONTAINER_OF(top, struct px_quic_conn, timer));
    }
}

static void watch(struct px_quic *q, px_nsec now)
{
    if (px_list_empty(&q->watched) || q->watch_at > now)
        return;
    q->watch_at = now + PX_QUIC_WATCH_GAP;
    PX_LIST_EACH(it, &q->watched) {
        struct px_quic_conn *c = PX_CONTAINER_OF(it, struct px_quic_conn, watched);
        if (!px_quic_conn_watch(c, now))
            px_list_remove(&c->watched);
    }
}

void px_quic_run(struct px_quic *q, px_nsec now)
{
    if (!px_quic_flush(q))
        return;
    watch(q, now);
    collect_due(q, now);
    /* Each at most once a run: what becomes ready meanwhile goes behind the mark. */
    struct px_list mark;
    px_list_init(&mark);
    px_list_push_back(&q->ready, &mark);
    while (q->ready.next != &mark && !q->net_blocked) {
        struct px_quic_conn *c = PX_CONTAINER_OF(q->ready.next, struct px_quic_conn, ready);
        px_list_remove(&c->ready);
        px_quic_conn_run(c, now);
        if (c->state == PX_QUIC_DEAD)
            px_quic_conn_free(c);
    }
    px_list_remove(&mark);
    (void)px_quic_flush(q);
}

px_nsec px_quic_deadline(const struct px_quic *q)
{
    if (q->net_blocked)
        return PX_NEVER;
    if (!px_list_empty(&q->ready))
        return 0;
    const struct px_heap_node *top = px_heap_top(&q->timers);
    px_nsec deadline = top != NULL ? top->key : PX_NEVER;
    return px_list_empty(&q->watched) ? deadline : PX_MIN(deadline, q->watch_at);
}

void px_quic_writable(struct px_quic *q)
{
    q->net_blocked = false;
}

size_t px_quic_conn_count(const struct px_quic *q)
{
    return q->live;
}

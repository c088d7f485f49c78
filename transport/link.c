/* One link: its states, and streams given to their owners by id. Stream 0 is
 * transport/link_control.c, whose turn it is to send is transport/link_send.c; which links there
 * are and which of them comes up is transport/overlay.c. */
#include <stdlib.h>

#include "transport/link_internal.h"

#define TO(s) (1u << PX_LINK_##s)
static const unsigned transitions[PX_LINK_STATES] = {
    [PX_LINK_TLS] = TO(NOISE) | TO(CLOSING) | TO(GONE),
    [PX_LINK_NOISE] = TO(WAITING) | TO(EARLY) | TO(UP) | TO(SHELVED) | TO(CLOSING) | TO(GONE),
    [PX_LINK_WAITING] = TO(UP) | TO(CLOSING) | TO(GONE),
    [PX_LINK_EARLY] = TO(UP) | TO(SHELVED) | TO(CLOSING) | TO(GONE),
    [PX_LINK_UP] = TO(SHELVED) | TO(CLOSING) | TO(GONE),
    [PX_LINK_SHELVED] = TO(CLOSING) | TO(GONE),
    [PX_LINK_CLOSING] = TO(GONE),
    [PX_LINK_GONE] = 0,
};
#undef TO

static bool half_open(const struct px_link *l)
{
    return !l->ours && l->state <= PX_LINK_WAITING;
}

void px_link_set_state(struct px_link *l, enum px_link_state to)
{
    px_assert((transitions[l->state] & (1u << to)) != 0);
    bool before = half_open(l);
    l->state = to;
    l->overlay->half_open -= before && !half_open(l);
}

bool px_link_is_ending(const struct px_link *l)
{
    return l->state == PX_LINK_CLOSING || l->state == PX_LINK_GONE;
}

bool px_link_may_send(const struct px_link *l)
{
    return l->state == PX_LINK_UP || l->state == PX_LINK_EARLY;
}

/* Streams may still come and be kept for later. */
static bool is_parking(const struct px_link *l)
{
    return l->state == PX_LINK_NOISE || l->state == PX_LINK_WAITING || l->state == PX_LINK_EARLY;
}

/* What happens to this stream is told at once. While EARLY only our own are known to anybody. */
static bool delivers(const struct px_link *l, int64_t id)
{
    bool by_server = (id & 1) != 0; /* EARLY links are those we dialled */
    return l->state == PX_LINK_UP || (l->state == PX_LINK_EARLY && !by_server);
}

void px_link_mark_due(struct px_link *l)
{
    if (px_list_empty(&l->due))
        px_list_push_back(&l->overlay->due, &l->due);
}

void px_link_fail(struct px_link *l, int err, enum px_close_code code)
{
    if (px_link_is_ending(l))
        return;
    if (l->end_err == 0) /* a shelved one has ended for its owner already */
        l->end_err = err;
    px_link_set_state(l, PX_LINK_CLOSING);
    px_quic_conn_close(l->conn, code);
    px_link_mark_due(l);
}

void px_link_fail_limit(struct px_link *l, int err)
{
    px_link_fail(l, err, err == PX_EOVERRUN ? PX_CLOSE_OVERRUN : PX_CLOSE_INTERNAL);
}

struct px_link *px_link_new(struct px_overlay *o, bool ours, const struct px_path *path)
{
    struct px_link *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return NULL;
    if (px_heap_reserve(&o->asking, o->link_count + 1) != 0 ||
        px_map_init(&l->streams, &o->rng) != 0) {
        free(l);
        return NULL;
    }
    l->overlay = o;
    l->ours = ours;
    l->path = *path;
    l->control_id = -1;
    px_buf_init(&l->control_in, PX_LINK_CONTROL_MAX);
    px_park_init(&l->park);
    px_list_init(&l->stream_list);
    px_list_init(&l->due);
    px_list_init(&l->timed);
    px_list_push_back(&o->links, &l->all);
    o->link_count++;
    o->half_open += half_open(l);
    px_overlay_start_timer(l);
    return l;
}

void px_link_free(struct px_link *l)
{
    px_link_drop_streams(l);
    px_link_roam_down(l);
    l->overlay->half_open -= half_open(l);
    px_list_remove(&l->all);
    l->overlay->link_count--;
    px_list_remove(&l->due);
    px_list_remove(&l->timed);
    px_park_deinit(&l->park);
    px_map_deinit(&l->streams);
    px_buf_deinit(&l->control_in);
    px_send_queue_deinit(&l->control_out);
    px_link_handshake_free(l->handshake);
    free(l);
}

/* ---- routing ---- */

static struct px_slice id_key(const int64_t *id)
{
    return px_slice(id, sizeof(*id));
}

static struct px_link_stream *find_stream(struct px_link *l, int64_t id)
{
    if (l->recent != NULL && l->recent->id == id)
        return l->recent;
    struct px_map_node *n = px_map_find(&l->streams, id_key(&id));
    if (n == NULL)
        return NULL;
    l->recent = PX_CONTAINER_OF(n, struct px_link_stream, by_id);
    return l->recent;
}

static void set_stream_state(struct px_link_stream *s, enum px_stream_state to)
{
    static const unsigned allowed[PX_STREAM_STATES] = {
        [PX_STREAM_NEW] = 1u << PX_STREAM_OWNED | 1u << PX_STREAM_REFUSED,
        [PX_STREAM_OWNED] = 0,
        [PX_STREAM_REFUSED] = 0,
    };
    px_assert((allowed[s->state] & (1u << to)) != 0);
    s->state = to;
}

static struct px_link_stream *add_stream(struct px_link *l, int64_t id)
{
    struct px_link_stream *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return NULL;
    s->id = id;
    px_map_insert(&l->streams, &s->by_id, id_key(&s->id));
    px_list_push_back(&l->stream_list, &s->node);
    return s;
}

static void remove_stream(struct px_link *l, struct px_link_stream *s)
{
    if (l->recent == s)
        l->recent = NULL;
    px_map_remove(&l->streams, &s->by_id);
    px_list_remove(&s->node);
    free(s);
}

static void refuse_stream(struct px_link *l, int64_t id, enum px_close_code code)
{
    px_quic_stream_reset(l->conn, id, code);
    px_quic_stream_stop(l->conn, id, code);
}

/* Gives a new stream to whoever handles its type. */
static void route(struct px_link *l, struct px_link_stream *s, uint8_t type)
{
    struct px_overlay *o = l->overlay;
    if (type == PX_STREAM_CONTROL) { /* SPEC streams §1: a second one */
        set_stream_state(s, PX_STREAM_REFUSED);
        px_link_fail(l, PX_EPROTO, PX_CLOSE_PROTOCOL);
        return;
    }
    s->ops = o->ops.stream(o->ops_ctx, l, s->id, type, &s->ctx);
    if (s->ops != NULL) {
        set_stream_state(s, PX_STREAM_OWNED);
        return;
    }
    set_stream_state(s, PX_STREAM_REFUSED);
    refuse_stream(l, s->id, PX_CLOSE_PROTOCOL);
}

static void stream_data(struct px_link *l, int64_t id, struct px_slice data, bool fin)
{
    struct px_link_stream *s = find_stream(l, id);
    if (s == NULL)
        return;
    if (s->state == PX_STREAM_NEW && data.len > 0) {
        uint8_t type = data.data[0];
        px_quic_consume(l->conn, id, 1);
        data = px_slice_skip(data, 1);
        route(l, s, type);
    } else if (s->state == PX_STREAM_NEW && fin) {
        set_stream_state(s, PX_STREAM_REFUSED);
        refuse_stream(l, id, PX_CLOSE_PROTOCOL);
    }
    if (s->state != PX_STREAM_OWNED)
        px_quic_consume(l->conn, id, data.len);
    else if (data.len > 0 || fin)
        s->ops->recv(s->ctx, l, id, data, fin);
}

static void stream_open_by_peer(struct px_link *l, int64_t id)
{
    if (find_stream(l, id) == NULL && add_stream(l, id) == NULL)
        px_link_fail(l, PX_ENOMEM, PX_CLOSE_INTERNAL);
}

static void stream_end(struct px_link *l, struct px_link_stream *s)
{
    const struct px_stream_ops *ops = s->state == PX_STREAM_OWNED ? s->ops : NULL;
    void *ctx = s->ctx;
    int64_t id = s->id;
    remove_stream(l, s);
    if (ops != NULL)
        ops->closed(ctx, l, id);
}

static void on_stream_opened(void *ctx, int64_t id)
{
    struct px_link *l = ctx;
    if (id == PX_LINK_CONTROL_STREAM)
        return;
    if (l->state == PX_LINK_UP) {
        stream_open_by_peer(l, id);
    } else if (l->state == PX_LINK_SHELVED) {
        refuse_stream(l, id, PX_CLOSE_DUPLICATE);
    } else if (is_parking(l)) {
        int err = px_park_opened(&l->park, id);
        if (err != 0)
            px_link_fail_limit(l, err);
    }
}

static void on_stream_recv(void *ctx, int64_t id, struct px_slice data, bool fin)
{
    struct px_link *l = ctx;
    if (id == PX_LINK_CONTROL_STREAM) {
        px_link_control_recv(l, data, fin);
    } else if (delivers(l, id)) {
        stream_data(l, id, data, fin);
    } else if (is_parking(l)) {
        int err = px_park_data(&l->park, id, data, fin);
        if (err != 0)
            px_link_fail_limit(l, err);
    } else {
        px_quic_consume(l->conn, id, data.len);
    }
}

static struct px_link_stream *owned_stream(struct px_link *l, int64_t id)
{
    struct px_link_stream *s = delivers(l, id) ? find_stream(l, id) : NULL;
    return s != NULL && s->state == PX_STREAM_OWNED ? s : NULL;
}

static void on_stream_acked(void *ctx, int64_t id, uint64_t n)
{
    struct px_link *l = ctx;
    struct px_link_stream *s = owned_stream(l, id);
    if (id == PX_LINK_CONTROL_STREAM)
        px_send_queue_acked(&l->control_out, n);
    else if (s != NULL)
        s->ops->acked(s->ctx, l, id, n);
}

static void on_stream_reset(void *ctx, int64_t id, uint64_t code)
{
    struct px_link *l = ctx;
    struct px_link_stream *s = owned_stream(l, id);
    if (id == PX_LINK_CONTROL_STREAM) { /* SPEC handshake §2: it lives as long as the connection */
        px_link_fail(l, PX_EPROTO, PX_CLOSE_PROTOCOL);
    } else if (s != NULL) {
        s->ops->reset(s->ctx, l, id, code);
    } else if (is_parking(l) && !delivers(l, id)) {
        int err = px_park_reset(&l->park, id, code);
        if (err != 0)
            px_link_fail_limit(l, err);
    }
}

static void on_stream_stop(void *ctx, int64_t id, uint64_t code)
{
    struct px_link *l = ctx;
    struct px_link_stream *s = owned_stream(l, id);
    if (id == PX_LINK_CONTROL_STREAM) {
        px_link_fail(l, PX_EPROTO, PX_CLOSE_PROTOCOL);
    } else if (s != NULL) {
        s->ops->stop(s->ctx, l, id, code);
    } else if (is_parking(l) && !delivers(l, id)) {
        int err = px_park_stop(&l->park, id, code);
        if (err != 0)
            px_link_fail_limit(l, err);
    }
}

static void on_stream_writable(void *ctx, int64_t id)
{
    struct px_link *l = ctx;
    struct px_link_stream *s = owned_stream(l, id);
    if (id == PX_LINK_CONTROL_STREAM) {
        l->control_blocked = false;
        px_quic_conn_wake(l->conn);
    } else if (s != NULL) {
        s->ops->writable(s->ctx, l, id);
    }
}

static void on_stream_closed(void *ctx, int64_t id)
{
    struct px_link *l = ctx;
    if (is_parking(l) && !delivers(l, id)) {
        int err = px_park_closed(&l->park, id);
        if (err != 0)
            px_link_fail_limit(l, err);
        return;
    }
    struct px_link_stream *s = find_stream(l, id);
    if (s != NULL)
        stream_end(l, s);
}

static void on_streams_available(void *ctx)
{
    struct px_link *l = ctx;
    struct px_overlay *o = l->overlay;
    if (l->state == PX_LINK_UP && l->was_up && o->ops.streams_available != NULL)
        o->ops.streams_available(o->ops_ctx, l);
}

static void deliver(struct px_link *l, const struct px_parked *p)
{
    stream_open_by_peer(l, p->id);
    stream_data(l, p->id, px_buf_slice(&p->data), p->fin);
    if (p->reset)
        on_stream_reset(l, p->id, p->reset_code);
    if (p->stop)
        on_stream_stop(l, p->id, p->stop_code);
    if (p->closed)
        on_stream_closed(l, p->id);
}

void px_link_deliver_parked(struct px_link *l)
{
    struct px_parked *p;
    while (l->state == PX_LINK_UP && (p = px_park_take(&l->park)) != NULL) {
        deliver(l, p);
        px_parked_free(p);
    }
    if (l->state == PX_LINK_UP && l->control_in.len > 0) {
        struct px_buf in = l->control_in;
        px_buf_init(&l->control_in, PX_LINK_CONTROL_MAX);
        px_link_control_input(l, px_buf_slice(&in));
        px_buf_deinit(&in);
    }
}

void px_link_drop_streams(struct px_link *l)
{
    while (l->producers != NULL)
        px_link_remove_producer(l, l->producers);
    while (!px_list_empty(&l->stream_list)) {
        struct px_link_stream *s =
            PX_CONTAINER_OF(l->stream_list.next, struct px_link_stream, node);
        /* A shelved connection goes on: QUIC must not touch memory the owner is about to free. */
        if (l->state == PX_LINK_SHELVED && s->state == PX_STREAM_OWNED)
            refuse_stream(l, s->id, PX_CLOSE_DUPLICATE);
        stream_end(l, s);
    }
}

/* ---- the end ---- */

static void on_closed(void *ctx, int err, uint64_t app_code, bool by_peer)
{
    struct px_link *l = ctx;
    (void)app_code; /* err says it */
    if (l->end_err == 0) {
        l->end_err = err;
        l->end_by_peer = by_peer;
    }
    px_quic_conn_stats(l->conn, &l->stats); /* `down` may still ask */
    l->conn = NULL;
    px_link_set_state(l, PX_LINK_GONE);
    px_link_mark_due(l);
}

const struct px_quic_conn_ops px_link_quic_ops = {
    .secured = px_link_on_secured,
    .stream_opened = on_stream_opened,
    .stream_recv = on_stream_recv,
    .stream_acked = on_stream_acked,
    .stream_reset = on_stream_reset,
    .stream_stop = on_stream_stop,
    .stream_writable = on_stream_writable,
    .stream_closed = on_stream_closed,
    .streams_available = on_streams_available,
    .path_changed = px_link_on_path_changed,
    .silent = px_link_on_silent,
    .stray = px_link_on_stray,
    .next = px_link_on_next,
    .sent = px_link_on_sent,
    .blocked = px_link_on_blocked,
    .closed = on_closed,
};

/* ---- what the upper layers call ---- */

const struct px_peer_id *px_link_peer(const struct px_link *l)
{
    return &l->peer;
}

const char *px_link_agent(const struct px_link *l)
{
    return l->was_up ? px_link_handshake_peer(l->handshake)->agent : "";
}

void px_link_binding(const struct px_link *l, uint8_t ret[PX_LINK_BINDING_LEN])
{
    memcpy(ret, px_link_handshake_binding(l->handshake), PX_LINK_BINDING_LEN);
}

bool px_link_is_quic_client(const struct px_link *l)
{
    return l->ours;
}

bool px_link_is_up(const struct px_link *l)
{
    return l->state == PX_LINK_UP;
}

bool px_link_is_early(const struct px_link *l)
{
    return l->state == PX_LINK_EARLY;
}

void px_link_path(const struct px_link *l, struct px_path *ret)
{
    if (l->conn != NULL)
        px_quic_conn_path(l->conn, ret);
    else
        *ret = l->path;
}

void px_link_stats(const struct px_link *l, struct px_quic_stats *ret)
{
    if (l->conn != NULL)
        px_quic_conn_stats(l->conn, ret);
    else
        *ret = l->stats;
}

void *px_link_user(const struct px_link *l)
{
    return l->user;
}

void px_link_set_guest(struct px_link *l)
{
    px_assert(l->ours && l->state == PX_LINK_TLS);
    l->guest = true;
}

void px_link_set_user(struct px_link *l, void *user)
{
    l->user = user;
}

void px_link_close(struct px_link *l, enum px_close_code code)
{
    px_link_fail(l, code == PX_CLOSE_UNLISTED ? PX_EUNLISTED : px_close_error(code), code);
}

int px_link_stream_open(struct px_link *l, bool uni, const struct px_stream_ops *ops, void *ctx,
                        int64_t *ret_id)
{
    int64_t id;
    if (!px_link_may_send(l))
        return PX_ESTATE;
    /* SPEC handshake §7: the responder parks no more */
    if (l->state == PX_LINK_EARLY && l->early_count == PX_LINK_PARKED_STREAMS)
        return PX_EAGAIN;
    int err = px_quic_stream_open(l->conn, uni, &id);
    if (err != 0)
        return err;
    struct px_link_stream *s = add_stream(l, id);
    if (s == NULL) {
        refuse_stream(l, id, PX_CLOSE_INTERNAL);
        return PX_ENOMEM;
    }
    set_stream_state(s, PX_STREAM_OWNED);
    s->ops = ops;
    s->ctx = ctx;
    l->early_count += l->state == PX_LINK_EARLY;
    *ret_id = id;
    return 0;
}

void px_link_stream_set_owner(struct px_link *l, int64_t id, const struct px_stream_ops *ops,
                              void *ctx)
{
    struct px_link_stream *s = find_stream(l, id);
    px_assert(s != NULL && s->state != PX_STREAM_REFUSED);
    s->ops = ops;
    s->ctx = ctx;
}

void px_link_consume(struct px_link *l, int64_t id, uint64_t n)
{
    if (l->conn != NULL && n > 0)
        px_quic_consume(l->conn, id, n);
}

void px_link_stream_reset(struct px_link *l, int64_t id, uint64_t code)
{
    if (l->conn != NULL)
        px_quic_stream_reset(l->conn, id, code);
}

void px_link_stream_stop(struct px_link *l, int64_t id, uint64_t code)
{
    if (l->conn != NULL)
        px_quic_stream_stop(l->conn, id, code);
}

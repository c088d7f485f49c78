/* Stream 0 of a link: the handshake in, its answers out, and what follows from its events. The
 * handshake itself is transport/link_handshake.c (docs/spec/handshake.md). */
#include "transport/link_internal.h"

/* Queues bytes of stream 0. */
static void control_send(struct px_link *l, struct px_buf *out)
{
    if (out->len == 0)
        return;
    struct px_chunk *c = px_chunk_copy(px_buf_slice(out));
    if (c == NULL || px_send_queue_push(&l->control_out, c) != 0)
        px_link_fail(l, PX_ENOMEM, PX_CLOSE_INTERNAL);
    else
        px_quic_conn_wake(l->conn);
}

static int send_frame(struct px_link *l, const struct px_control *frame)
{
    struct px_buf out;
    px_buf_init(&out, SIZE_MAX);
    int err = px_control_put(&out, frame);
    struct px_chunk *c = err == 0 ? px_chunk_copy(px_buf_slice(&out)) : NULL;
    px_buf_deinit(&out);
    if (c == NULL)
        return PX_ENOMEM;
    err = px_send_queue_push(&l->control_out, c);
    if (err == 0)
        px_quic_conn_wake(l->conn);
    return err;
}

/* SPEC handshake §6: somebody who asks without reading the answers gets no more of them. */
static void answer_ping(struct px_link *l, uint64_t nonce)
{
    const struct px_control pong = {.type = PX_CONTROL_PONG, .nonce = nonce};
    if (l->control_out.queued < PX_LINK_CONTROL_OUT_MAX && send_frame(l, &pong) != 0)
        px_link_fail(l, PX_ENOMEM, PX_CLOSE_INTERNAL);
}

static void take_pong(struct px_link *l, uint64_t nonce)
{
    const struct px_overlay *o = l->overlay;
    for (size_t i = 0; i < l->ping_count; i++) {
        px_nsec sent_at = l->pings[i].sent_at;
        if (l->pings[i].nonce != nonce || sent_at == 0)
            continue;
        l->pings[i] = l->pings[--l->ping_count];
        if (o->ops.pong != NULL && l->was_up && l->state == PX_LINK_UP)
            o->ops.pong(o->ops_ctx, l, nonce, o->now - sent_at);
        return;
    }
}

static void take_frame(struct px_link *l, const struct px_control *frame)
{
    switch (frame->type) {
    case PX_CONTROL_PING:
        answer_ping(l, frame->nonce);
        return;
    case PX_CONTROL_PONG:
        take_pong(l, frame->nonce);
        return;
    case PX_CONTROL_DISCO:
        px_link_roam_index(l, frame->index);
        return;
    case PX_CONTROL_ACCEPTED:
    case PX_CONTROL_UNKNOWN:
        return; /* never handed out */
    }
}

static void note_event(struct px_link *l, enum px_handshake_event event)
{
    switch (event) {
    case PX_HANDSHAKE_PEER_PROVED:
        l->peer = px_link_handshake_peer(l->handshake)->id;
        l->proved = true;
        l->event_proved = true;
        px_link_mark_due(l);
        return;
    case PX_HANDSHAKE_ACCEPTED:
        l->event_accepted = true;
        px_link_mark_due(l);
        return;
    case PX_HANDSHAKE_CONTROL:
        take_frame(l, px_link_handshake_control(l->handshake));
        return;
    case PX_HANDSHAKE_NONE:
        return;
    }
}

void px_link_control_input(struct px_link *l, struct px_slice data)
{
    struct px_buf out;
    int err = 0;
    px_buf_init(&out, SIZE_MAX);
    while (err == 0 && data.len > 0 &&
           px_link_handshake_state(l->handshake) != PX_HANDSHAKE_PROVED) {
        enum px_handshake_event event;
        err = px_link_handshake_input(l->handshake, &data, &out, &event);
        if (err == 0)
            note_event(l, event);
    }
    if (err != 0)
        px_link_fail(l, err, px_link_handshake_close_code(l->handshake));
    else if (px_buf_put(&l->control_in, data) != 0)
        px_link_fail_limit(l, l->control_in.err == PX_ELIMIT ? PX_EOVERRUN : PX_ENOMEM);
    else
        control_send(l, &out);
    px_buf_deinit(&out);
}

void px_link_control_recv(struct px_link *l, struct px_slice data, bool fin)
{
    px_quic_consume(l->conn, PX_LINK_CONTROL_STREAM, data.len);
    if (px_link_is_ending(l))
        return;
    if (l->busy) { /* not sooner: a code of ours is seen in 1-RTT packets only */
        px_link_fail(l, PX_EBUSY, PX_CLOSE_BUSY);
        return;
    }
    if (l->handshake == NULL)
        return;
    px_link_control_input(l, data);
    if (fin && !px_link_is_ending(l)) {
        int err = px_link_handshake_fin(l->handshake);
        px_link_fail(l, err, px_link_handshake_close_code(l->handshake));
    }
}

void px_link_proceed(struct px_link *l)
{
    struct px_buf out;
    px_buf_init(&out, SIZE_MAX);
    int err = px_link_handshake_proceed(l->handshake, &out);
    if (err == 0)
        control_send(l, &out);
    else
        px_link_fail(l, err, px_link_handshake_close_code(l->handshake));
    px_buf_deinit(&out);
}

static int start_handshake(struct px_link *l, struct px_buf *out)
{
    const struct px_overlay *o = l->overlay;
    uint8_t exporter[PX_QUIC_EXPORTER_LEN];
    int err = px_quic_conn_exporter(l->conn, exporter);
    if (err == 0 && l->ours)
        err = px_quic_stream_open(l->conn, false, &l->control_id);
    if (err != 0)
        return err == PX_EAGAIN ? PX_EPROTO : err; /* a peer that allows no stream at all */
    l->control_id = PX_LINK_CONTROL_STREAM;
    const struct px_link_handshake_config config = {
        .role = l->ours ? PX_NOISE_INITIATOR : PX_NOISE_RESPONDER,
        .identity = o->identity,
        .target = l->peer,
        .network = o->network,
        .exporter = exporter,
        .boot_id = o->boot_id,
        .agent = o->agent,
        .noise_static = &o->noise_static,
        .rng = o->rng,
        .guest = l->guest,
    };
    err = px_link_handshake_new(&config, out, &l->handshake);
    px_wipe(exporter, sizeof(exporter));
    return err;
}

void px_link_on_secured(void *ctx)
{
    struct px_link *l = ctx;
    struct px_buf out;
    if (l->state != PX_LINK_TLS)
        return;
    px_link_set_state(l, PX_LINK_NOISE);
    if (l->busy)
        return;
    px_buf_init(&out, SIZE_MAX);
    int err = start_handshake(l, &out);
    if (err == 0)
        control_send(l, &out);
    else
        px_link_fail(l, err, err == PX_EPROTO ? PX_CLOSE_PROTOCOL : PX_CLOSE_INTERNAL);
    px_buf_deinit(&out);
}

int px_link_ping(struct px_link *l, uint64_t *ret_nonce)
{
    struct px_overlay *o = l->overlay;
    struct px_control ping = {.type = PX_CONTROL_PING};
    if (l->state != PX_LINK_UP)
        return PX_ESTATE;
    if (l->ping_count == PX_LINK_PINGS_MAX)
        return PX_EBUSY;
    o->rng.fill(o->rng.ctx, &ping.nonce, sizeof(ping.nonce));
    int err = send_frame(l, &ping);
    if (err != 0)
        return err;
    l->pings[l->ping_count++] = (struct px_link_asked){.nonce = ping.nonce};
    *ret_nonce = ping.nonce;
    return 0;
}

/* The overlay's clock is read when it runs: only now is the time known. */
void px_link_note_pings_sent(struct px_link *l)
{
    for (size_t i = 0; i < l->ping_count; i++)
        if (l->pings[i].sent_at == 0)
            l->pings[i].sent_at = l->overlay->now;
}

void px_link_poke(struct px_link *l)
{
    const struct px_control ping = {.type = PX_CONTROL_PING};
    if (l->control_out.queued < PX_LINK_CONTROL_OUT_MAX && send_frame(l, &ping) != 0)
        px_link_fail(l, PX_ENOMEM, PX_CLOSE_INTERNAL);
}

void px_link_tell_index(struct px_link *l, uint64_t index)
{
    const struct px_control frame = {.type = PX_CONTROL_DISCO, .index = index};
    if (send_frame(l, &frame) != 0)
        px_link_fail(l, PX_ENOMEM, PX_CLOSE_INTERNAL);
}

/* Circuits as nodes ask for them (docs/spec/relay.md §4). */
#include "relay/server_internal.h"

/* ---- what both ends are told ---- */

static void tell(struct px_relay_server *s, const struct px_circuit *c, enum px_circuit_side side,
                 enum px_relay_msg_type type, enum px_relay_status status)
{
    struct px_relay_session *n = px_relay_find_session(s, px_circuit_peer(c, side));
    const struct px_relay_msg m = {.type = type, .leg = *px_circuit_leg(c, side), .status = status};
    if (n != NULL)
        px_relay_send(n, &m);
}

static void on_opened(void *ctx, struct px_circuit *c)
{
    tell(ctx, c, PX_CIRCUIT_CALLER, PX_RELAY_MSG_OPEN, PX_RELAY_OK);
    tell(ctx, c, PX_CIRCUIT_CALLEE, PX_RELAY_MSG_OPEN, PX_RELAY_OK);
}

static void count_end(struct px_relay_server *s, enum px_relay_status why)
{
    if (why == PX_RELAY_TIME_USED)
        px_relay_hit(s, PX_RELAY_LIMIT_CIRCUIT_TIME);
    else if (why == PX_RELAY_BYTES_USED)
        px_relay_hit(s, PX_RELAY_LIMIT_CIRCUIT_BYTES);
    else if (why == PX_RELAY_IDLE)
        px_relay_hit(s, PX_RELAY_LIMIT_CIRCUIT_IDLE);
    else if (why == PX_RELAY_NO_ANSWER || why == PX_RELAY_CONNECTION_FAILED)
        px_relay_hit(s, PX_RELAY_LIMIT_CIRCUIT_BIND_TIME);
}

static void on_ended(void *ctx, struct px_circuit *c, enum px_relay_status why)
{
    struct px_relay_server *s = ctx;
    const struct px_peer_id *caller = px_circuit_peer(c, PX_CIRCUIT_CALLER);
    const struct px_relay_audit a = {.event = "circuit.ended",
                                     .peer = caller,
                                     .other = px_circuit_peer(c, PX_CIRCUIT_CALLEE),
                                     .class = px_admission_class(s->admission, caller, s->now),
                                     .status = why,
                                     .bytes = px_circuit_bytes(c, PX_CIRCUIT_CALLER) +
                                              px_circuit_bytes(c, PX_CIRCUIT_CALLEE)};
    for (int side = 0; side < 2; side++) {
        const struct px_peer_id *peer = px_circuit_peer(c, (enum px_circuit_side)side);
        if (s->ender == NULL || !px_peer_id_eq(peer, s->ender))
            tell(s, c, (enum px_circuit_side)side, PX_RELAY_MSG_END, why);
    }
    count_end(s, why);
    s->config.ops->audit(s->config.ctx, &a);
}

const struct px_circuits_ops px_relay_circuits_ops = {on_opened, on_ended};

/* ---- connect ---- */

static bool may_call(const struct px_relay_session *caller, const struct px_relay_session *callee)
{
    const struct px_admission *a = caller->server->admission;
    /* SPEC relay §2: a joiner and its inviter, nobody else */
    if (caller->class == PX_RELAY_JOINER)
        return px_admission_is_pair(a, &caller->peer, &callee->peer);
    if (callee->class == PX_RELAY_JOINER)
        return px_admission_is_pair(a, &callee->peer, &caller->peer);
    return callee->class != PX_RELAY_UNKNOWN;
}

static void set_params(const struct px_relay_session *caller, const struct px_relay_session *callee,
                       struct px_circuit_params *ret)
{
    const struct px_relay_limits *limits = &caller->server->config.limits;
    bool limited = px_relay_is_limited(caller->class) || px_relay_is_limited(callee->class);
    *ret = (struct px_circuit_params){.peer = {caller->peer, callee->peer},
                                      .rate = limited ? limits->stranger_rate : limits->member_rate,
                                      .time = limited ? limits->stranger_time : 0,
                                      .bytes = limited ? limits->stranger_bytes : 0};
    memcpy(ret->binding[PX_CIRCUIT_CALLER], caller->binding, sizeof(caller->binding));
    memcpy(ret->binding[PX_CIRCUIT_CALLEE], callee->binding, sizeof(callee->binding));
}

/* What a node is told of its leg. */
static void describe(const struct px_relay_session *n, const struct px_circuit *c,
                     enum px_circuit_side side, struct px_relay_msg *m)
{
    const struct px_circuit_params *p = px_circuit_params_of(c);
    m->keys |= PX_RELAY_BIT(PX_RELAY_K_LEG) | PX_RELAY_BIT(PX_RELAY_K_RATE) |
               PX_RELAY_BIT(PX_RELAY_K_BURST);
    m->leg = *px_circuit_leg(c, side);
    m->rate = p->rate;
    m->burst = px_circuit_burst(p->rate);
    if (p->time > 0) {
        m->keys |= PX_RELAY_BIT(PX_RELAY_K_TTL);
        m->ttl_ms = p->time / PX_MSEC;
    }
    if (p->bytes > 0) {
        m->keys |= PX_RELAY_BIT(PX_RELAY_K_BYTES);
        m->bytes = p->bytes;
    }
    if (n->udp) {
        m->keys |= PX_RELAY_BIT(PX_RELAY_K_NONCE);
        px_circuit_nonce(c, side, &n->remote, n->server->now, &m->nonce);
    }
}

static enum px_relay_status connect(struct px_relay_session *caller, const struct px_peer_id *id,
                                    struct px_circuit **ret)
{
    struct px_relay_server *s = caller->server;
    const struct px_relay_session *callee = px_relay_find_session(s, id);
    struct px_circuit_params params;
    if (s->restarting)
        return PX_RELAY_RESTARTING;
    if (px_peer_id_eq(id, &caller->peer))
        return PX_RELAY_PERMISSION_DENIED;
    /* whom a joiner may call is checked first: it learns nothing of others */
    if (caller->class == PX_RELAY_JOINER && !px_admission_is_pair(s->admission, &caller->peer, id))
        return PX_RELAY_PERMISSION_DENIED;
    if (callee == NULL || !callee->reserved || callee->closing)
        return PX_RELAY_NO_RESERVATION;
    if (!may_call(caller, callee))
        return PX_RELAY_PERMISSION_DENIED;
    set_params(caller, callee, &params);
    int err = px_circuits_open(s->circuits, &params, s->now, ret);
    px_wipe(&params, sizeof(params));
    if (err == PX_ELIMIT)
        px_relay_hit(s, PX_RELAY_LIMIT_CIRCUITS);
    return err == 0           ? PX_RELAY_OK
           : err == PX_ELIMIT ? PX_RELAY_RESOURCE_LIMIT_EXCEEDED
                              : PX_RELAY_INTERNAL;
}

void px_relay_on_connect(struct px_relay_session *n, const struct px_relay_msg *m)
{
    struct px_circuit *c;
    struct px_relay_msg out = {.type = PX_RELAY_MSG_CONNECTED, .request = m->request};
    struct px_relay_msg ring = {.type = PX_RELAY_MSG_RING, .peer = n->peer, .class = n->class};
    enum px_relay_status status = connect(n, &m->peer, &c);
    out.status = status;
    if (status != PX_RELAY_OK) {
        n->server->stats.refused++;
        px_relay_audit(n, "circuit.refused", status);
        px_relay_send(n, &out);
        return;
    }
    struct px_relay_session *callee = px_relay_find_session(n->server, &m->peer);
    describe(n, c, PX_CIRCUIT_CALLER, &out);
    describe(callee, c, PX_CIRCUIT_CALLEE, &ring);
    px_relay_send(n, &out);
    px_relay_send(callee, &ring);
}

/* ---- consent and end ---- */

static struct px_circuit *find_own(const struct px_relay_session *n,
                                   const struct px_relay_leg_id *leg, enum px_circuit_side *ret)
{
    struct px_circuit *c = px_circuits_find(n->server->circuits, leg, ret);
    return c != NULL && px_peer_id_eq(px_circuit_peer(c, *ret), &n->peer) ? c : NULL;
}

static void end_asked(struct px_relay_session *n, struct px_circuit *c, enum px_relay_status why)
{
    n->server->ender = &n->peer;
    px_circuit_end(c, why);
    n->server->ender = NULL;
}

void px_relay_on_consent(struct px_relay_session *n, const struct px_relay_msg *m)
{
    enum px_circuit_side side;
    struct px_circuit *c = find_own(n, &m->leg, &side);
    if (c == NULL || side != PX_CIRCUIT_CALLEE)
        return; /* it may have ended meanwhile */
    if (m->status == PX_RELAY_OK)
        px_circuit_consent(c, n->server->now);
    else
        end_asked(n, c, PX_RELAY_DECLINED);
}

void px_relay_on_end(struct px_relay_session *n, const struct px_relay_msg *m)
{
    enum px_circuit_side side;
    struct px_circuit *c = find_own(n, &m->leg, &side);
    if (c != NULL)
        end_asked(n, c, PX_RELAY_PEER_ENDED);
}

/* A node's ends of circuits (docs/spec/relay.md §4, §5): called or ringing, binding, open. */
#include <stdlib.h>

#include "relay/client_internal.h"

static struct px_relay_leg *leg_at(struct px_list *node)
{
    return PX_CONTAINER_OF(node, struct px_relay_leg, all);
}

static void set_state(struct px_relay_leg *l, enum px_leg_state to)
{
    static const bool allowed[PX_LEG_STATES][PX_LEG_STATES] = {
        [PX_LEG_CALLING] = {[PX_LEG_BINDING] = true, [PX_LEG_ENDED] = true},
        [PX_LEG_RINGING] = {[PX_LEG_BINDING] = true, [PX_LEG_ENDED] = true},
        [PX_LEG_BINDING] = {[PX_LEG_BOUND] = true, [PX_LEG_OPEN] = true, [PX_LEG_ENDED] = true},
        [PX_LEG_BOUND] = {[PX_LEG_OPEN] = true, [PX_LEG_ENDED] = true},
        [PX_LEG_OPEN] = {[PX_LEG_ENDED] = true},
    };
    px_assert(allowed[l->state][to]);
    l->state = to;
}

static bool has_id(const struct px_relay_leg *l)
{
    return l->state != PX_LEG_CALLING;
}

static struct px_relay_leg *find_leg(const struct px_relay_client *c,
                                     const struct px_relay_leg_id *id)
{
    PX_LIST_EACH(it, &c->legs)
        if (has_id(leg_at(it)) && px_relay_leg_eq(&leg_at(it)->id, id))
            return leg_at(it);
    return NULL;
}

static struct px_relay_leg *leg_new(struct px_relay_client *c, enum px_leg_state state,
                                    const struct px_peer_id *peer)
{
    struct px_relay_leg *l =
        c->leg_count >= PX_RELAY_CLIENT_LEGS_MAX ? NULL : calloc(1, sizeof(*l));
    if (l == NULL)
        return NULL;
    l->client = c;
    l->state = state;
    l->peer = *peer;
    l->made_at = l->heard_at = l->sent_at = c->now;
    l->bind_at = PX_NEVER;
    px_token_bucket_init(&l->answers, PX_RELAY_ANSWERS, PX_RELAY_ANSWERS, c->now);
    px_list_push_back(&c->legs, &l->all);
    c->leg_count++;
    return l;
}

void px_relay_leg_free(struct px_relay_leg *l)
{
    px_list_remove(&l->all);
    l->client->leg_count--;
    px_wipe(&l->key, sizeof(l->key));
    free(l);
}

void px_relay_leg_finish(struct px_relay_leg *l, enum px_relay_status why)
{
    struct px_relay_client *c = l->client;
    set_state(l, PX_LEG_ENDED);
    c->config.ops->ended(c->config.ctx, l, why);
    px_relay_leg_free(l);
}

static void send_status(struct px_relay_leg *l, enum px_relay_msg_type type,
                        enum px_relay_status status)
{
    const struct px_relay_msg m = {.type = type, .leg = l->id, .status = status};
    px_relay_client_send(l->client, &m);
}

/* ---- packets of ours ---- */

static void send_packet(struct px_relay_leg *l, const uint8_t *packet, size_t len)
{
    l->client->config.ops->packet(l->client->config.ctx, px_slice(packet, len));
    l->sent_at = l->client->now;
}

static void send_bind(struct px_relay_leg *l, enum px_relay_packet_type type,
                      const struct px_relay_nonce *nonce)
{
    uint8_t packet[PX_RELAY_BIND_LEN];
    px_relay_bind_put(packet, type, &l->id, nonce, &l->key);
    send_packet(l, packet, sizeof(packet));
}

static void fresh_nonce(struct px_relay_leg *l, struct px_relay_nonce *ret)
{
    const struct px_rng *rng = &l->client->config.rng;
    rng->fill(rng->ctx, ret->bytes, sizeof(ret->bytes));
}

static void answer_nonce(struct px_relay_leg *l, const struct px_relay_nonce *nonce)
{
    l->answered = *nonce;
    l->binding = true;
    send_bind(l, PX_RELAY_ANSWER, nonce);
}

static void send_hello(struct px_relay_leg *l)
{
    struct px_relay_nonce nonce;
    fresh_nonce(l, &nonce);
    l->binding = true;
    l->bind_at = l->client->now + l->bind_gap;
    l->bind_gap = PX_MIN(2 * l->bind_gap, (px_nsec)PX_RELAY_BIND_RETRY_MAX);
    send_bind(l, PX_RELAY_HELLO, &nonce);
}

static void start_binding(struct px_relay_leg *l, const struct px_relay_nonce *told)
{
    l->bind_gap = PX_RELAY_BIND_RETRY;
    if (told == NULL) {
        send_hello(l);
        return;
    }
    l->bind_at = l->client->now + l->bind_gap;
    answer_nonce(l, told);
}

static void send_ping(struct px_relay_leg *l)
{
    uint8_t packet[PX_RELAY_PING_LEN];
    fresh_nonce(l, &l->ping);
    px_relay_ping_put(packet, PX_RELAY_PING, &l->id, &l->ping);
    send_packet(l, packet, sizeof(packet));
    l->ping_sent_at = l->client->now;
}

/* ---- calls and rings ---- */

static void take_id(struct px_relay_leg *l, const struct px_relay_msg *m)
{
    struct px_relay_client *c = l->client;
    l->id = m->leg;
    l->rate = m->rate;
    l->burst = m->burst;
    px_relay_leg_key(px_slice(c->binding, sizeof(c->binding)), &l->id, &l->key);
}

int px_relay_client_call(struct px_relay_client *c, const struct px_peer_id *peer, void *user,
                         px_nsec now, struct px_relay_leg **ret)
{
    c->now = now;
    if (!c->up)
        return PX_ESTATE;
    if (c->leg_count >= PX_RELAY_CLIENT_LEGS_MAX)
        return PX_EBUSY;
    struct px_relay_leg *l = leg_new(c, PX_LEG_CALLING, peer);
    if (l == NULL)
        return PX_ENOMEM;
    l->user = user;
    l->caller = true;
    l->request = px_relay_client_number(c);
    const struct px_relay_msg m = {
        .type = PX_RELAY_MSG_CONNECT, .request = l->request, .peer = *peer};
    px_relay_client_send(c, &m);
    *ret = l;
    return 0;
}

static struct px_relay_leg *find_call(const struct px_relay_client *c, uint32_t request)
{
    PX_LIST_EACH(it, &c->legs)
        if (leg_at(it)->state == PX_LEG_CALLING && leg_at(it)->request == request)
            return leg_at(it);
    return NULL;
}

void px_relay_on_call_refused(struct px_relay_client *c, const struct px_relay_msg *m)
{
    struct px_relay_leg *l = find_call(c, m->request);
    if (l != NULL)
        px_relay_leg_finish(l, (enum px_relay_status)m->status);
}

void px_relay_on_connected(struct px_relay_client *c, const struct px_relay_msg *m)
{
    struct px_relay_leg *l = find_call(c, m->request);
    if (l == NULL)
        return;
    if (m->status != PX_RELAY_OK || !px_relay_msg_has(m, PX_RELAY_K_LEG)) {
        px_relay_leg_finish(l, m->status == PX_RELAY_OK ? PX_RELAY_MALFORMED_MESSAGE
                                                        : (enum px_relay_status)m->status);
        return;
    }
    take_id(l, m);
    set_state(l, PX_LEG_BINDING);
    start_binding(l, px_relay_msg_has(m, PX_RELAY_K_NONCE) ? &m->nonce : NULL);
}

void px_relay_on_ring(struct px_relay_client *c, const struct px_relay_msg *m)
{
    struct px_relay_leg *l = leg_new(c, PX_LEG_RINGING, &m->peer);
    if (l == NULL) {
        const struct px_relay_msg no = {
            .type = PX_RELAY_MSG_CONSENT, .leg = m->leg, .status = PX_RELAY_DECLINED};
        px_relay_client_send(c, &no);
        return;
    }
    take_id(l, m);
    if (px_relay_msg_has(m, PX_RELAY_K_NONCE)) /* kept for the answer */
        l->answered = m->nonce;
    l->binding = px_relay_msg_has(m, PX_RELAY_K_NONCE);
    c->config.ops->ring(c->config.ctx, l, &l->peer);
}

void px_relay_leg_answer(struct px_relay_leg *l, bool consent, px_nsec now)
{
    px_assert(l->state == PX_LEG_RINGING);
    l->client->now = now;
    send_status(l, PX_RELAY_MSG_CONSENT, consent ? PX_RELAY_OK : PX_RELAY_DECLINED);
    if (!consent) {
        px_relay_leg_free(l);
        return;
    }
    struct px_relay_nonce told = l->answered;
    set_state(l, PX_LEG_BINDING);
    start_binding(l, l->binding ? &told : NULL);
}

void px_relay_on_open(struct px_relay_client *c, const struct px_relay_msg *m)
{
    struct px_relay_leg *l = find_leg(c, &m->leg);
    if (l == NULL || (l->state != PX_LEG_BINDING && l->state != PX_LEG_BOUND))
        return;
    /* also says that we are bound, should BOUND have been lost */
    l->binding = false;
    l->bind_at = PX_NEVER;
    set_state(l, PX_LEG_OPEN);
    c->config.ops->open(c->config.ctx, l);
}

void px_relay_on_ended(struct px_relay_client *c, const struct px_relay_msg *m)
{
    struct px_relay_leg *l = find_leg(c, &m->leg);
    if (l != NULL)
        px_relay_leg_finish(l, (enum px_relay_status)m->status);
}

void px_relay_leg_end(struct px_relay_leg *l)
{
    if (has_id(l))
        send_status(l, PX_RELAY_MSG_END, PX_RELAY_PEER_ENDED);
    px_relay_leg_free(l);
}

/* What is not open yet cannot become so without control. */
void px_relay_legs_down(struct px_relay_client *c)
{
    PX_LIST_EACH(it, &c->legs)
        if (leg_at(it)->state != PX_LEG_OPEN)
            px_relay_leg_finish(leg_at(it), PX_RELAY_NO_ANSWER);
}

/* ---- packets of the relay ---- */

static void on_challenge(struct px_relay_leg *l, const struct px_relay_packet *p)
{
    if (l->state != PX_LEG_RINGING && px_relay_bind_check(p, &l->key) &&
        px_token_bucket_try(&l->answers, 1, l->client->now))
        answer_nonce(l, &p->nonce);
}

static void on_bound(struct px_relay_leg *l, const struct px_relay_packet *p)
{
    if (!l->binding || !px_relay_bind_check(p, &l->key) ||
        !px_ct_equal(p->nonce.bytes, l->answered.bytes, sizeof(l->answered.bytes)))
        return;
    l->binding = false;
    l->bind_at = PX_NEVER;
    l->heard_at = l->client->now;
    if (l->state == PX_LEG_BINDING)
        set_state(l, PX_LEG_BOUND);
}

static void on_pong(struct px_relay_leg *l, const struct px_relay_packet *p)
{
    if (l->ping_sent_at == 0 || !px_ct_equal(p->nonce.bytes, l->ping.bytes, sizeof(l->ping.bytes)))
        return;
    l->ping_sent_at = 0;
    l->heard_at = l->client->now;
}

bool px_relay_legs_packet(struct px_relay_client *c, const struct px_relay_packet *p)
{
    struct px_relay_leg *l = find_leg(c, &p->leg);
    if (l == NULL)
        return false;
    switch (p->type) {
    case PX_RELAY_DATA:
        l->heard_at = c->now;
        if (l->state == PX_LEG_OPEN)
            c->config.ops->data(c->config.ctx, l, p->payload);
        return true;
    case PX_RELAY_CHALLENGE:
        on_challenge(l, p);
        return true;
    case PX_RELAY_BOUND:
        on_bound(l, p);
        return true;
    case PX_RELAY_PONG:
        on_pong(l, p);
        return true;
    case PX_RELAY_HELLO:
    case PX_RELAY_ANSWER:
    case PX_RELAY_PING:
    case PX_RELAY_PROBE:
        break; /* nodes send the first three; the last is of no leg */
    }
    return false;
}

void px_relay_client_network_changed(struct px_relay_client *c, px_nsec now)
{
    c->now = now;
    PX_LIST_EACH(it, &c->legs)
        if (leg_at(it)->state >= PX_LEG_BINDING)
            start_binding(leg_at(it), NULL);
}

/* ---- time ---- */

/* When the leg is given up; PX_NEVER if that is not near. */
static px_nsec doom(const struct px_relay_leg *l, enum px_relay_status *ret_why)
{
    *ret_why = PX_RELAY_NO_ANSWER;
    if (l->state < PX_LEG_OPEN) /* the relay's own time, and a little for its word to arrive */
        return l->made_at + PX_RELAY_RING_TIME + 2 * PX_SEC;
    *ret_why = PX_RELAY_IDLE;
    return l->heard_at + PX_RELAY_SILENCE_MAX;
}

static px_nsec ping_due(const struct px_relay_leg *l)
{
    if (l->state != PX_LEG_BOUND && l->state != PX_LEG_OPEN)
        return PX_NEVER;
    if (l->ping_sent_at != 0)
        return l->ping_sent_at + PX_RELAY_PONG_TIME;
    /* also when only we talk: the relay's silence must mean something */
    return PX_MIN(l->sent_at, l->heard_at) + PX_RELAY_KEEPALIVE;
}

static void run_leg(struct px_relay_leg *l)
{
    px_nsec now = l->client->now;
    enum px_relay_status why;
    if (now >= doom(l, &why)) {
        px_relay_leg_finish(l, why);
        return;
    }
    if (now >= l->bind_at)
        send_hello(l);
    if (now < ping_due(l))
        return;
    bool unanswered = l->ping_sent_at != 0;
    send_ping(l);
    if (unanswered && !l->binding) /* perhaps our address is another one now */
        start_binding(l, NULL);
}

void px_relay_legs_run(struct px_relay_client *c)
{
    PX_LIST_EACH(it, &c->legs)
        run_leg(leg_at(it));
}

px_nsec px_relay_legs_deadline(const struct px_relay_client *c)
{
    px_nsec at = PX_NEVER;
    enum px_relay_status why;
    PX_LIST_EACH(it, &c->legs) {
        const struct px_relay_leg *l = leg_at(it);
        at = PX_MIN(at, PX_MIN(doom(l, &why), PX_MIN(l->bind_at, ping_due(l))));
    }
    return at;
}

/* ---- looking ---- */

const struct px_peer_id *px_relay_leg_peer(const struct px_relay_leg *l)
{
    return &l->peer;
}

bool px_relay_leg_is_open(const struct px_relay_leg *l)
{
    return l->state == PX_LEG_OPEN;
}

bool px_relay_leg_is_caller(const struct px_relay_leg *l)
{
    return l->caller;
}

uint64_t px_relay_leg_rate(const struct px_relay_leg *l, uint64_t *ret_burst)
{
    *ret_burst = l->burst;
    return l->rate;
}

void px_relay_leg_header(const struct px_relay_leg *l, uint8_t out[PX_RELAY_HEADER_LEN])
{
    px_relay_header_put(out, PX_RELAY_DATA, &l->id);
}

void px_relay_leg_sent(struct px_relay_leg *l, px_nsec now)
{
    l->sent_at = now;
}

void *px_relay_leg_user(const struct px_relay_leg *l)
{
    return l->user;
}

void px_relay_leg_set_user(struct px_relay_leg *l, void *user)
{
    l->user = user;
}

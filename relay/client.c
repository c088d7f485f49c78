/* A node's control stream with a relay: the reservation, requests, and what the relay says unasked.
 * Circuits: client_legs.c, dial-back: client_probe.c. */
#include <stdlib.h>

#include "relay/client_internal.h"

int px_relay_client_new(const struct px_relay_client_config *config, struct px_relay_client **ret)
{
    struct px_relay_client *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return PX_ENOMEM;
    c->config = *config;
    c->reserve_at = PX_NEVER;
    px_list_init(&c->legs);
    *ret = c;
    return 0;
}

void px_relay_client_free(struct px_relay_client *c)
{
    if (c == NULL)
        return;
    PX_LIST_EACH(it, &c->legs)
        px_relay_leg_free(PX_CONTAINER_OF(it, struct px_relay_leg, all));
    px_wipe(c->binding, sizeof(c->binding));
    free(c);
}

void px_relay_client_send(struct px_relay_client *c, const struct px_relay_msg *m)
{
    struct px_buf frame;
    if (!c->up)
        return;
    px_buf_init(&frame, 2 + PX_RELAY_FRAME_MAX);
    if (px_relay_msg_put_frame(&frame, m) == 0) /* else as if it were lost: the request times out */
        c->config.ops->send(c->config.ctx, px_buf_slice(&frame));
    px_buf_deinit(&frame);
}

uint32_t px_relay_client_number(struct px_relay_client *c)
{
    if (++c->last_number == 0)
        c->last_number = 1;
    return c->last_number;
}

/* ---- the reservation ---- */

static void tell_reserved(struct px_relay_client *c, enum px_relay_status status,
                          enum px_relay_class class)
{
    if (status == c->told && class == c->told_class)
        return;
    c->told = status;
    c->told_class = class;
    c->config.ops->reserved(c->config.ctx, status, class);
}

static void send_reserve(struct px_relay_client *c)
{
    const struct px_relay_msg m = {.type = PX_RELAY_MSG_RESERVE,
                                   .request = px_relay_client_number(c)};
    c->reserve_request = m.request;
    c->reserve_retry = PX_MIN(PX_MAX(2 * c->reserve_retry, (px_nsec)PX_RELAY_RESERVE_RETRY),
                              (px_nsec)PX_RELAY_RESERVE_RETRY_MAX);
    c->reserve_at = c->now + c->reserve_retry; /* unless an answer comes */
    px_relay_client_send(c, &m);
}

static void on_reserved(struct px_relay_client *c, const struct px_relay_msg *m)
{
    if (m->request != c->reserve_request)
        return;
    c->reserve_request = 0;
    c->reserved = m->status == PX_RELAY_OK;
    if (c->reserved) {
        px_nsec ttl = PX_MAX(m->ttl_ms * PX_MSEC, (px_nsec)PX_RELAY_RESERVE_RETRY);
        c->reserve_retry = 0;
        c->reserve_at = c->now + ttl / 2;
    }
    tell_reserved(c, (enum px_relay_status)m->status, m->class);
}

void px_relay_client_up(struct px_relay_client *c,
                        const uint8_t binding[PX_RELAY_CLIENT_BINDING_LEN], px_nsec now)
{
    c->now = now;
    c->up = true;
    c->told = (enum px_relay_status)0;
    memcpy(c->binding, binding, sizeof(c->binding));
    c->reserve_retry = 0;
    if (c->config.reserve)
        send_reserve(c);
}

void px_relay_client_set_reserve(struct px_relay_client *c, bool reserve, px_nsec now)
{
    c->now = now;
    c->config.reserve = reserve;
    c->reserve_retry = 0;
    if (reserve && c->up)
        send_reserve(c);
}

/* ---- requests ---- */

static struct request *find_request(struct px_relay_client *c, uint32_t number)
{
    for (size_t i = 0; i < PX_ARRAY_LEN(c->requests); i++)
        if (c->requests[i].number == number)
            return &c->requests[i];
    return NULL;
}

static int start_request(struct px_relay_client *c, struct px_relay_msg *m, bool pays, void *token,
                         px_nsec now)
{
    struct request *r = find_request(c, 0);
    c->now = now;
    if (!c->up)
        return PX_ESTATE;
    if (r == NULL)
        return PX_EBUSY;
    m->request = px_relay_client_number(c);
    *r = (struct request){.number = m->request,
                          .token = token,
                          .deadline = now + PX_RELAY_REQUEST_TIME,
                          .type = m->type,
                          .pays = pays,
                          .pay_at = PX_NEVER};
    px_relay_client_send(c, m);
    return 0;
}

int px_relay_client_request(struct px_relay_client *c, struct px_relay_msg *m, void *token,
                            px_nsec now)
{
    return start_request(c, m, true, token, now);
}

int px_relay_client_probe(struct px_relay_client *c, const struct px_addr *a, bool pays,
                          void *token, px_nsec now)
{
    struct px_relay_msg m = {.type = PX_RELAY_MSG_PROBE, .address = *a};
    return start_request(c, &m, pays, token, now);
}

static void end_request(struct px_relay_client *c, struct request *r, bool stays,
                        enum px_relay_status status, const struct px_relay_msg *m)
{
    void *token = r->token;
    if (!stays)
        r->number = 0;
    c->config.ops->reply(c->config.ctx, token, status, m);
}

static void on_reply(struct px_relay_client *c, const struct px_relay_msg *m)
{
    struct request *r = find_request(c, m->request);
    if (m->request == c->reserve_request && m->type == PX_RELAY_MSG_STATUS) {
        c->reserve_request = 0;
        tell_reserved(c, (enum px_relay_status)m->status, PX_RELAY_UNKNOWN);
        return;
    }
    if (r == NULL) {
        px_relay_on_call_refused(c, m); /* or it is too late */
        return;
    }
    /* SPEC relay §6: a probe that needs data stays open */
    enum px_relay_status status = (enum px_relay_status)m->status;
    bool stays = r->type == PX_RELAY_MSG_PROBE && status == PX_RELAY_DATA_NEEDED &&
                 px_relay_probe_bill(c, r, m->bytes, &status);
    if (r->type == PX_RELAY_MSG_PROBE && status == PX_RELAY_OK && r->seen_count == 0)
        status = PX_RELAY_UNEXPECTED_MESSAGE; /* nothing was seen here */
    end_request(c, r, stays, status, m);
}

void px_relay_client_down(struct px_relay_client *c, px_nsec now)
{
    c->now = now;
    c->up = false;
    c->reserve_at = PX_NEVER;
    c->reserve_request = 0;
    px_wipe(c->binding, sizeof(c->binding));
    for (size_t i = 0; i < PX_ARRAY_LEN(c->requests); i++)
        if (c->requests[i].number != 0)
            end_request(c, &c->requests[i], false, PX_RELAY_NO_ANSWER, NULL);
    px_relay_legs_down(c);
    if (c->reserved) {
        c->reserved = false;
        tell_reserved(c, PX_RELAY_NO_RESERVATION, PX_RELAY_UNKNOWN);
    }
}

/* ---- messages ---- */

int px_relay_client_input(struct px_relay_client *c, struct px_slice body, px_nsec now)
{
    struct px_relay_msg m;
    c->now = now;
    if (px_relay_msg_decode(body, &m) != 0)
        return PX_EPROTO;
    switch (m.type) {
    case PX_RELAY_MSG_RESERVED:
        on_reserved(c, &m);
        return 0;
    case PX_RELAY_MSG_OBSERVED:
        if (m.request != 0)
            on_reply(c, &m);
        c->config.ops->observed(c->config.ctx, &m.address);
        return 0;
    case PX_RELAY_MSG_STATUS:
    case PX_RELAY_MSG_FOUND:
    case PX_RELAY_MSG_TOTALS_ARE:
        on_reply(c, &m);
        return 0;
    case PX_RELAY_MSG_CONNECTED:
        px_relay_on_connected(c, &m);
        return 0;
    case PX_RELAY_MSG_RING:
        px_relay_on_ring(c, &m);
        return 0;
    case PX_RELAY_MSG_OPEN:
        px_relay_on_open(c, &m);
        return 0;
    case PX_RELAY_MSG_END:
        px_relay_on_ended(c, &m);
        return 0;
    case PX_RELAY_MSG_CHANGED:
        c->config.ops->changed(c->config.ctx, &m);
        return 0;
    case PX_RELAY_MSG_RESTARTING:
        c->config.ops->restarting(c->config.ctx, m.ttl_ms * PX_MSEC, m.spread_ms * PX_MSEC);
        return 0;
    case PX_RELAY_MSG_NONE:
        return 0;
    case PX_RELAY_MSG_RESERVE:
    case PX_RELAY_MSG_RELEASE:
    case PX_RELAY_MSG_CONNECT:
    case PX_RELAY_MSG_CONSENT:
    case PX_RELAY_MSG_REGISTER:
    case PX_RELAY_MSG_UNREGISTER:
    case PX_RELAY_MSG_DISCOVER:
    case PX_RELAY_MSG_WATCH:
    case PX_RELAY_MSG_OBSERVE:
    case PX_RELAY_MSG_INVITE:
    case PX_RELAY_MSG_UNINVITE:
    case PX_RELAY_MSG_ADMIT:
    case PX_RELAY_MSG_VOUCH:
    case PX_RELAY_MSG_REPORT:
    case PX_RELAY_MSG_TOTALS:
    case PX_RELAY_MSG_PROBE:
    case PX_RELAY_MSG_PADDING:
    case PX_RELAY_MSG_SEEN:
        break;
    }
    return PX_EPROTO;
}

/* ---- packets that are of no leg, and time ---- */

bool px_relay_client_packet(struct px_relay_client *c, struct px_slice packet, px_nsec now)
{
    struct px_relay_packet p;
    c->now = now;
    if (px_relay_packet_parse(packet, &p) != 0)
        return false;
    if (p.type == PX_RELAY_PROBE) {
        px_relay_probe_seen(c, &p.nonce);
        return true;
    }
    return px_relay_legs_packet(c, &p);
}

void px_relay_client_run(struct px_relay_client *c, px_nsec now)
{
    c->now = now;
    if (c->up && c->config.reserve && now >= c->reserve_at)
        send_reserve(c);
    for (size_t i = 0; i < PX_ARRAY_LEN(c->requests); i++) {
        struct request *r = &c->requests[i];
        if (r->number != 0 && now >= r->pay_at)
            px_relay_probe_run(c, r);
        if (r->number != 0 && now >= r->deadline)
            end_request(c, r, false, PX_RELAY_NO_ANSWER, NULL);
    }
    px_relay_legs_run(c);
}

px_nsec px_relay_client_deadline(const struct px_relay_client *c)
{
    px_nsec at = PX_MIN(c->reserve_at, px_relay_legs_deadline(c));
    for (size_t i = 0; i < PX_ARRAY_LEN(c->requests); i++)
        if (c->requests[i].number != 0)
            at = PX_MIN(at, PX_MIN(c->requests[i].deadline, c->requests[i].pay_at));
    return at;
}

size_t px_relay_client_legs(const struct px_relay_client *c)
{
    return c->leg_count;
}

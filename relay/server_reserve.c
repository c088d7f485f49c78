/* Reservations (docs/spec/relay.md §3), observed addresses and dial-back (§6). */
#include "relay/server_internal.h"

/* ---- reservations ---- */

void px_relay_drop_reservation(struct px_relay_session *n)
{
    struct px_relay_server *s = n->server;
    if (n->source_counted)
        px_sources_remove(s->sources, &n->source);
    n->source_counted = false;
    s->reservations -= n->reserved;
    n->reserved = false;
}

/* SPEC relay §7: a member takes the place of a stranger. */
static bool make_room(struct px_relay_server *s, enum px_relay_class class)
{
    if (s->reservations < s->config.limits.reservations)
        return true;
    px_relay_hit(s, PX_RELAY_LIMIT_RESERVATIONS);
    if (px_relay_is_limited(class))
        return false;
    for (struct px_list *it = s->all.prev; it != &s->all; it = it->prev) {
        struct px_relay_session *n = PX_CONTAINER_OF(it, struct px_relay_session, all);
        if (n->reserved && n->class == PX_RELAY_STRANGER) {
            px_relay_drop_reservation(n);
            px_relay_hit(s, PX_RELAY_LIMIT_DISPLACED);
            px_relay_audit(n, "relay.displaced", PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
            px_relay_close(n, PX_CLOSE_BUSY);
            return true;
        }
    }
    return false;
}

static int count_source(struct px_relay_session *n)
{
    struct px_relay_server *s = n->server;
    px_source_of(s->config.asn_table, &n->remote, &n->source);
    int err = px_sources_add(s->sources, &n->source, s->config.limits.reservations_per_source,
                             s->config.limits.reservations_per_asn);
    px_relay_hit_source(s, err, PX_RELAY_LIMIT_RESERVATIONS_PER_SOURCE,
                        PX_RELAY_LIMIT_RESERVATIONS_PER_ASN);
    n->source_counted = err == 0;
    return err;
}

void px_relay_recount_reservation(struct px_relay_session *n)
{
    bool counts = n->reserved && px_relay_is_limited(n->class);
    if (n->source_counted && !counts) {
        px_sources_remove(n->server->sources, &n->source);
        n->source_counted = false;
    } else if (counts && !n->source_counted && count_source(n) != 0) {
        px_relay_drop_reservation(n);
    }
}

static enum px_relay_status reserve(struct px_relay_session *n)
{
    struct px_relay_server *s = n->server;
    if (s->restarting)
        return PX_RELAY_RESTARTING;
    if (n->reserved)
        return PX_RELAY_OK;
    if (!make_room(s, n->class))
        return PX_RELAY_RESOURCE_LIMIT_EXCEEDED;
    int err = px_relay_is_limited(n->class) ? count_source(n) : 0;
    if (err != 0)
        return err == PX_ENOMEM ? PX_RELAY_INTERNAL : PX_RELAY_RESOURCE_LIMIT_EXCEEDED;
    n->reserved = true;
    s->reservations++;
    return PX_RELAY_OK;
}

void px_relay_on_reserve(struct px_relay_session *n, const struct px_relay_msg *m)
{
    struct px_relay_server *s = n->server;
    struct px_relay_msg out = {.type = PX_RELAY_MSG_RESERVED,
                               .keys = PX_RELAY_BIT(PX_RELAY_K_CLASS),
                               .request = m->request,
                               .status = reserve(n),
                               .address = n->remote,
                               .class = n->class};
    if (n->udp)
        out.keys |= PX_RELAY_BIT(PX_RELAY_K_ADDRESS);
    if (out.status == PX_RELAY_OK) {
        n->reserved_until = s->now + s->config.limits.reservation_ttl;
        px_relay_wake_at(n, n->reserved_until);
        out.ttl_ms = s->config.limits.reservation_ttl / PX_MSEC;
        out.keys |= PX_RELAY_BIT(PX_RELAY_K_TTL);
    } else {
        s->stats.refused++;
        px_relay_audit(n, "relay.refused", (enum px_relay_status)out.status);
    }
    px_relay_send(n, &out);
}

void px_relay_on_release(struct px_relay_session *n, const struct px_relay_msg *m)
{
    bool had = n->reserved;
    px_relay_drop_reservation(n);
    px_relay_reply(n, m, had ? PX_RELAY_OK : PX_RELAY_NO_RESERVATION);
}

/* ---- observed addresses ---- */

void px_relay_tell_observed(struct px_relay_session *n, uint32_t request)
{
    const struct px_relay_msg m = {.type = PX_RELAY_MSG_OBSERVED,
                                   .keys = request == 0 ? 0 : PX_RELAY_BIT(PX_RELAY_K_REQUEST),
                                   .request = request,
                                   .address = n->remote};
    if (n->udp && n->remote.family != PX_ADDR_NONE) /* SPEC relay-tls §6 */
        px_relay_send(n, &m);
}

void px_relay_on_observe(struct px_relay_session *n, const struct px_relay_msg *m)
{
    if (n->udp)
        px_relay_tell_observed(n, m->request);
    else
        px_relay_reply(n, m, PX_RELAY_NOT_FOUND);
}

/* ---- dial-back ---- */

/* Addresses nobody outside can mean. Private ones are the node's own business: with a relay in the
 * same network they are the right ones. */
static bool may_probe(const struct px_relay_server *s, const struct px_addr *a)
{
    const uint8_t *ip = a->ip;
    if (a->port < PX_RELAY_PROBE_PORT_MIN || px_addr_is_loopback(a) || px_addr_is_link_local(a) ||
        s->config.ops->is_own(s->config.ctx, a))
        return false;
    if (a->family == PX_ADDR_IP4)
        return ip[0] != 0 && ip[0] < 224;
    /* ::/8 holds no host of its own, but IPv4 addresses in several clothes */
    return ip[0] != 0 && ip[0] != 0xff;
}

static void start_sending(struct px_relay_session *n)
{
    struct px_relay_server *s = n->server;
    struct px_relay_probe *p = &n->probe;
    p->state = PX_PROBE_SENT;
    p->sent = 0;
    p->next_at = s->now;
    p->deadline = s->now + PX_RELAY_PROBE_TIME;
    s->config.rng.fill(s->config.rng.ctx, p->nonce.bytes, sizeof(p->nonce.bytes));
    s->stats.probes++;
    (void)px_relay_run_probe(n);
    px_relay_wake_at(n, p->next_at);
}

void px_relay_on_probe(struct px_relay_session *n, const struct px_relay_msg *m)
{
    struct px_relay_probe *p = &n->probe;
    if (p->state != PX_PROBE_NONE) {
        px_relay_reply(n, m, PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
        return;
    }
    if (!may_probe(n->server, &m->address)) {
        px_relay_reply(n, m, PX_RELAY_PERMISSION_DENIED);
        return;
    }
    /* a minute has 60 tokens of a second */
    if (!px_token_bucket_try(&n->probes, 60, n->server->now)) {
        px_relay_hit(n->server, PX_RELAY_LIMIT_PROBES);
        px_relay_reply(n, m, PX_RELAY_RATE_LIMITED);
        return;
    }
    *p = (struct px_relay_probe){.request = m->request, .to = m->address};
    if (px_addr_same_ip(&n->remote, &m->address)) {
        start_sending(n);
        return;
    }
    /* SPEC relay §6: an address with another IP than the observed one costs 30 000 bytes */
    p->state = PX_PROBE_DATA;
    p->data_left = PX_RELAY_PROBE_DATA;
    p->deadline = n->server->now + PX_RELAY_PROBE_DATA_TIME;
    px_relay_wake_at(n, p->deadline);
    const struct px_relay_msg out = {.type = PX_RELAY_MSG_STATUS,
                                     .keys = PX_RELAY_BIT(PX_RELAY_K_BYTES),
                                     .request = m->request,
                                     .status = PX_RELAY_DATA_NEEDED,
                                     .bytes = PX_RELAY_PROBE_DATA};
    px_relay_send(n, &out);
}

void px_relay_on_padding(struct px_relay_session *n, const struct px_relay_msg *m)
{
    struct px_relay_probe *p = &n->probe;
    if (p->state != PX_PROBE_DATA || p->request != m->request) {
        px_relay_reply(n, m, PX_RELAY_UNEXPECTED_MESSAGE);
        return;
    }
    p->data_left -= PX_MIN(p->data_left, m->padding.len);
    if (p->data_left == 0)
        start_sending(n);
}

static void finish(struct px_relay_session *n, enum px_relay_status status)
{
    const struct px_relay_msg out = {
        .type = PX_RELAY_MSG_STATUS, .request = n->probe.request, .status = status};
    n->probe.state = PX_PROBE_NONE;
    px_relay_send(n, &out);
}

/* SPEC relay §6: what does not fit is ignored: anybody can send a node a PROBE. */
void px_relay_on_seen(struct px_relay_session *n, const struct px_relay_msg *m)
{
    const struct px_relay_probe *p = &n->probe;
    if (p->state != PX_PROBE_SENT || p->request != m->request ||
        !px_ct_equal(p->nonce.bytes, m->nonce.bytes, sizeof(p->nonce.bytes)))
        return;
    finish(n, PX_RELAY_OK);
}

static void send_probe(struct px_relay_session *n)
{
    static const struct px_relay_leg_id none;
    uint8_t packet[PX_RELAY_PING_LEN];
    struct px_relay_probe *p = &n->probe;
    px_relay_ping_put(packet, PX_RELAY_PROBE, &none, &p->nonce);
    n->server->config.ops->probe(n->server->config.ctx, &p->to, px_slice(packet, sizeof(packet)));
    p->sent++;
    p->next_at += PX_RELAY_PROBE_GAP;
}

px_nsec px_relay_run_probe(struct px_relay_session *n)
{
    struct px_relay_probe *p = &n->probe;
    px_nsec now = n->server->now;
    if (p->state == PX_PROBE_NONE)
        return PX_NEVER;
    if (now >= p->deadline) {
        finish(n, PX_RELAY_UNREACHABLE);
        return PX_NEVER;
    }
    if (p->state == PX_PROBE_DATA)
        return p->deadline;
    while (p->sent < PX_RELAY_PROBES && now >= p->next_at)
        send_probe(n);
    return p->sent < PX_RELAY_PROBES ? PX_MIN(p->next_at, p->deadline) : p->deadline;
}

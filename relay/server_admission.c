/* Invites, vouching (docs/spec/relay.md §2) and transfer accounting (§8) as nodes ask for them. */
#include "relay/server_internal.h"

void px_relay_on_invite(struct px_relay_session *n, const struct px_relay_msg *m)
{
    enum px_relay_status status = px_admission_invite(n->server->admission, &n->peer, m->secret,
                                                      m->ttl_ms * PX_MSEC, n->server->now);
    if (status == PX_RELAY_RESOURCE_LIMIT_EXCEEDED)
        px_relay_hit(n->server, PX_RELAY_LIMIT_INVITES);
    px_relay_audit(n, "invite.opened", status);
    px_relay_reply(n, m, status);
}

void px_relay_on_uninvite(struct px_relay_session *n, const struct px_relay_msg *m)
{
    px_relay_reply(n, m, px_admission_uninvite(n->server->admission, &n->peer, m->secret));
}

void px_relay_on_admit(struct px_relay_session *n, const struct px_relay_msg *m)
{
    struct px_relay_server *s = n->server;
    struct px_relay_msg out = {.type = PX_RELAY_MSG_STATUS, .request = m->request};
    px_nsec ttl;
    if (n->class != PX_RELAY_UNKNOWN && n->class != PX_RELAY_STRANGER) {
        px_relay_reply(n, m, PX_RELAY_UNEXPECTED_MESSAGE); /* would burn the invite for nothing */
        return;
    }
    out.status = px_admission_admit(s->admission, &n->peer, m->secret, s->now, &out.peer, &ttl);
    if (out.status == PX_RELAY_OK) {
        out.keys = PX_RELAY_BIT(PX_RELAY_K_PEER) | PX_RELAY_BIT(PX_RELAY_K_TTL);
        out.ttl_ms = ttl / PX_MSEC;
        px_relay_set_class(n, PX_RELAY_JOINER);
        const struct px_relay_audit a = {.event = "relay.admitted",
                                         .peer = &n->peer,
                                         .other = &out.peer,
                                         .addr = &n->remote,
                                         .class = n->class,
                                         .status = PX_RELAY_OK};
        s->config.ops->audit(s->config.ctx, &a);
    } else {
        s->stats.refused++;
        px_relay_audit(n, "relay.refused", (enum px_relay_status)out.status);
    }
    px_relay_send(n, &out);
    if (out.status == PX_RELAY_OK) /* when the link came up it was not for it to know */
        px_relay_tell_observed(n, 0);
}

void px_relay_on_vouch(struct px_relay_session *n, const struct px_relay_msg *m)
{
    struct px_relay_server *s = n->server;
    enum px_relay_status status = px_admission_vouch(s->admission, &n->peer, &m->peer, m->on);
    const struct px_relay_audit a = {.event = m->on ? "relay.vouched" : "relay.unvouched",
                                     .peer = &m->peer,
                                     .other = &n->peer,
                                     .class = PX_RELAY_VOUCHED,
                                     .status = status};
    if (status == PX_RELAY_RESOURCE_LIMIT_EXCEEDED)
        px_relay_hit(s, PX_RELAY_LIMIT_VOUCHED);
    s->config.ops->audit(s->config.ctx, &a);
    px_relay_reply(n, m, status);
    if (status == PX_RELAY_OK || !m->on) /* it ended, also if that is not stored yet */
        px_relay_recheck_peer(s, &m->peer);
}

/* ---- accounting ---- */

void px_relay_on_report(struct px_relay_session *n, const struct px_relay_msg *m)
{
    bool sent = m->direction == PX_RELAY_SENT;
    struct px_transfer t = {.sender = sent ? n->peer : m->peer,
                            .receiver = sent ? m->peer : n->peer,
                            .bytes = m->bytes};
    memcpy(t.session, m->session, sizeof(t.session));
    enum px_relay_status status =
        px_accounts_report(n->server->accounts, &n->peer, &t, m->signature);
    if (status == PX_RELAY_BAD_RECORD)
        px_relay_audit(n, "report.refused", status);
    px_relay_reply(n, m, status);
}

void px_relay_on_totals(struct px_relay_session *n, const struct px_relay_msg *m)
{
    struct px_relay_msg out = {
        .type = PX_RELAY_MSG_TOTALS_ARE, .request = m->request, .status = PX_RELAY_OK};
    px_accounts_totals(n->server->accounts, &n->peer, &m->peer, out.totals);
    px_relay_send(n, &out);
}

/* Transfer accounting (docs/spec/relay.md §8): looks at what moved on the links to peers, and lets
 * relays know what transfer_reports.h wants them to. */
#include "auth/authorized_keys.h"
#include "node/relays_internal.h"
#include "relay/accounts.h"

#define LOOK PX_SEC /* at counts that change, at most so often */

static bool takes_reports(const struct px_relay *r)
{
    return px_relay_usable(r) && r->reserved &&
           (r->class == PX_RELAY_MEMBER || r->class == PX_RELAY_VOUCHED);
}

int px_relay_reports_new(struct px_relays *set)
{
    return px_transfer_reports_new(&px_system_rng, set->config.report_transfers, &set->reports);
}

/* ---- counts ---- */

static void count(struct px_relays *set, const struct px_peer_traffic *t, px_nsec now)
{
    px_transfer_reports_count(set->reports, &t->peer, t->session, t->sent, t->received, now);
}

/* Only when something moved since: a node with nothing to do sleeps. */
static px_nsec look_at(const struct px_relays *set)
{
    bool news = px_transfer_reports_heard(set->reports) &&
                px_peers_moved(set->config.peers) != set->looked_moved;
    return news ? set->looked_at + LOOK : PX_NEVER;
}

static void count_link(void *ctx, const struct px_peer_traffic *t)
{
    count(ctx, t, px_now_io());
}

static void look(struct px_relays *set, px_nsec now)
{
    set->looked_at = now;
    set->looked_moved = px_peers_moved(set->config.peers);
    px_peers_each_traffic(set->config.peers, count_link, set);
}

void px_relays_link_ended(struct px_relays *set, const struct px_peer_traffic *t)
{
    px_nsec now = px_now_io();
    count(set, t, now);
    px_transfer_reports_ended(set->reports, t->session, now);
}

bool px_relays_totals(const struct px_relays *set, const struct px_peer_id *id,
                      uint64_t ret[PX_RELAY_TOTALS_LEN])
{
    return px_transfer_reports_totals(set->reports, id, ret);
}

/* ---- relays ---- */

void px_relay_reports_usable(struct px_relays *set, px_nsec now)
{
    const struct px_authorized_keys *keys = px_allowlist_keys(set->config.allowlist);
    PX_LIST_EACH(it, &set->all) {
        const struct px_relay *r = px_relay_at(it);
        if (!takes_reports(r)) {
            px_transfer_reports_down(set->reports, &r->entry.id, now);
            continue;
        }
        for (size_t i = 0; i < px_authorized_keys_count(keys); i++)
            px_transfer_reports_want(set->reports, &px_authorized_keys_at(keys, i)->id);
        px_transfer_reports_up(set->reports, &r->entry.id, now);
    }
}

static int send_report(struct px_relay *r, const struct px_transfer_order *o, void *token,
                       px_nsec now)
{
    const struct px_identity *me = r->set->config.identity;
    bool sent = o->direction == PX_RELAY_SENT;
    struct px_transfer t = {
        .sender = sent ? me->id : o->peer, .receiver = sent ? o->peer : me->id, .bytes = o->bytes};
    struct px_relay_msg m = {.type = PX_RELAY_MSG_REPORT,
                             .peer = o->peer,
                             .bytes = o->bytes,
                             .direction = (unsigned)o->direction};
    memcpy(t.session, o->session, sizeof(t.session));
    memcpy(m.session, o->session, sizeof(m.session));
    px_transfer_sign(me, &t, m.signature);
    return px_relay_client_request(r->client, &m, token, now);
}

static int send_order(struct px_relay *r, const struct px_transfer_order *o, px_nsec now)
{
    struct px_relay_msg m = {.type = PX_RELAY_MSG_TOTALS, .peer = o->peer};
    void *token =
        (void *)((uintptr_t)PX_RELAY_TOKEN_TRANSFER | (uintptr_t)o->ticket << PX_RELAY_TOKEN_BITS);
    return o->report ? send_report(r, o, token, now)
                     : px_relay_client_request(r->client, &m, token, now);
}

static void send_due(struct px_relays *set, bool last, px_nsec now)
{
    struct px_transfer_order o;
    PX_LIST_EACH(it, &set->all) {
        struct px_relay *r = px_relay_at(it);
        if (!takes_reports(r)) /* or it would stay due */
            px_transfer_reports_down(set->reports, &r->entry.id, now);
        while (px_transfer_reports_next(set->reports, &r->entry.id, last, now, &o))
            if (send_order(r, &o, now) != 0)
                px_transfer_reports_answer(set->reports, &r->entry.id, o.ticket, PX_RELAY_NO_ANSWER,
                                           NULL, now);
    }
}

bool px_relay_reports_on_reply(struct px_relay *r, void *token, enum px_relay_status status,
                               const struct px_relay_msg *m)
{
    uintptr_t t = (uintptr_t)token;
    if ((t & (((uintptr_t)1 << PX_RELAY_TOKEN_BITS) - 1)) != PX_RELAY_TOKEN_TRANSFER)
        return false;
    if (status != PX_RELAY_OK && status != PX_RELAY_NO_ANSWER)
        px_log_event(r->set->config.log, PX_LOG_WARN, "relay.report_refused",
                     PX_F_STR("relay", r->label), PX_F_STR("status", px_relay_status_name(status)));
    bool told = m != NULL && m->type == PX_RELAY_MSG_TOTALS_ARE;
    px_transfer_reports_answer(r->set->reports, &r->entry.id, (uint32_t)(t >> PX_RELAY_TOKEN_BITS),
                               status, told ? m->totals : NULL, px_now_io());
    return true;
}

/* ---- time ---- */

void px_relay_reports_run(struct px_relays *set, px_nsec now)
{
    if (now >= look_at(set))
        look(set, now);
    if (now >= px_transfer_reports_deadline(set->reports))
        send_due(set, false, now);
}

px_nsec px_relay_reports_deadline(const struct px_relays *set)
{
    return PX_MIN(px_transfer_reports_deadline(set->reports), look_at(set));
}

void px_relay_reports_finish(struct px_relays *set)
{
    px_nsec now = px_now_io();
    look(set, now);
    send_due(set, true, now);
}

/* The joiner's side (docs/spec/pairing.md §4 to §6): dials the inviter, says hello, stores the
 * join, confirms, and writes the inviter down once it is done. */
#include <stdlib.h>

#include "node/allowlist.h"
#include "node/fault_point.h"
#include "node/pairing_internal.h"

enum { ROUTES_MAX = 4 };
enum { LINGER_TICKS = 8 }; /* for a refusal to arrive */

/* ---- ends ---- */

static void free_if_over(struct px_pairing_going *g)
{
    struct px_pairings *p = g->p;
    struct px_pairing_going **at = &p->going;
    if (!g->over || g->dialled || g->wire_open || g->probing || g->settling > 0)
        return;
    while (*at != g)
        at = &(*at)->next;
    *at = g->next;
    px_pairing_deinit(&g->core);
    if (g->join.relay.addr_count > 0 && p->config.relays != NULL)
        px_relays_part(p->config.relays, &g->join.relay.id);
    px_wipe(&g->join, sizeof(g->join));
    free(g);
    px_pairings_check_closed(p);
}

static void hand_back(struct px_pairing_going *g)
{
    if (g->probing)
        px_peers_ping_cancel(g->p->config.peers, g);
    if (g->dialled)
        px_peers_end_guest(g->p->config.peers, g);
    g->probing = g->dialled = false;
    free_if_over(g);
}

/* A join that cannot succeed any more is not tried again. */
static bool is_final(int err)
{
    return err == PX_EINVITE_UNKNOWN || err == PX_EINVITE_EXPIRED || err == PX_EINVITE_USED ||
           err == PX_EINVITE_BURNT || err == PX_EINVITE_TOKEN || err == PX_EINVITE_WITHDRAWN ||
           err == PX_EPAIR_REJECTED || err == PX_EPAIR_IMPOSTOR;
}

static void forget(struct px_pairing_going *g)
{
    int err = px_pairing_forget_join(g->p->config.state, &g->join.inviter);
    if (err != 0)
        px_log_event(g->p->config.log, PX_LOG_WARN, "pairing.not_forgotten", PX_F_ERR(err));
}

/* The end, unless it came before; g may be gone afterwards. */
static void end(struct px_pairing_going *g, int err, bool for_good)
{
    char id[PX_PEER_ID_TEXT_MAX];
    if (g->over) {
        free_if_over(g);
        return;
    }
    g->over = true;
    px_log_event(g->p->config.log, PX_LOG_INFO, "pairing.failed",
                 PX_F_STR("peer", px_peer_id_format(&g->join.inviter, id)), PX_F_ERR(err));
    if (for_good)
        forget(g);
    px_pairing_say_failed(g, err);
    if (g->wire_open)
        px_pairing_wire_abort(&g->wire, err);
    hand_back(g);
}

static void fail(struct px_pairing_going *g, int err)
{
    end(g, err, is_final(err));
}

/* What the end of the stream or the link means for the people here. */
static int lost(const struct px_pairing_going *g, int err)
{
    bool greeted = g->core.state != PX_PAIRING_START;
    if (err == PX_EPROTO || err == PX_ENOMEM)
        return err;
    return greeted ? PX_EPAIR_HALF : err != 0 ? err : PX_ECLOSED;
}

/* ---- messages ---- */

static int send_out(struct px_pairing_going *g, int err, struct px_buf *out)
{
    if (err == 0)
        err = px_pairing_wire_send(&g->wire, px_buf_slice(out));
    px_buf_deinit(out);
    return err;
}

static int send_hello(struct px_pairing_going *g)
{
    struct px_pairing_card card;
    struct px_buf out;
    px_pairings_card(g->p, g->join.grants, g->join.verify, &card);
    px_buf_init(&out, PX_PAIRING_MESSAGE_MAX);
    return send_out(g, px_pairing_write_hello(&g->core, g->join.id, &g->join.pair, &card, &out),
                    &out);
}

static int send_confirm(struct px_pairing_going *g)
{
    struct px_buf out;
    px_buf_init(&out, PX_PAIRING_MESSAGE_MAX);
    return send_out(g, px_pairing_write_confirm(&g->core, &out), &out);
}

/* The way to the inviter must be there after a restart too. */
static int keep_relay(const struct px_pairing_going *g)
{
    if (g->join.relay.addr_count == 0 || g->p->config.relays == NULL)
        return 0;
    return px_relays_keep(g->p->config.relays, &g->join.relay);
}

/* SPEC pairing §5: the join is stored before `confirm`, so that this side can always finish. */
static void confirm(struct px_pairing_going *g)
{
    int err = keep_relay(g);
    if (err == 0)
        err = px_pairing_store_join(g->p->config.state, &g->join);
    px_fault_point("joiner-stored");
    if (err == 0)
        err = send_confirm(g);
    if (err != 0)
        fail(g, err);
    else
        px_pairing_say(g, "confirmed", NULL);
}

/* How long the other side may take to say the next thing. */
static px_nsec reply_time(const struct px_pairing_going *g)
{
    return g->verify ? PX_PAIRING_VERIFY_TIME : PX_PAIRING_REPLY_TIME;
}

static void on_welcome(struct px_pairing_going *g, struct px_slice body)
{
    char sas[PX_PAIRING_SAS_MAX];
    struct px_pairing_card card;
    int err = px_pairing_read_welcome(&g->core, body, &card);
    px_fault_point("joiner-welcome");
    if (err != 0) {
        fail(g, err);
        return;
    }
    g->join.card = card;
    g->verify = card.verify || g->join.verify;
    px_pairing_wire_set_time(&g->wire, reply_time(g));
    if (!g->verify || g->approved) {
        confirm(g);
        return;
    }
    px_peers_keep_guest(g->p->config.peers, &g->join.inviter, PX_PAIRING_VERIFY_TIME);
    px_pairing_say(g, "verify", json_pack("{s:s}", "sas", px_pairing_sas(&g->core, sas)));
    if (g->call == NULL)
        fail(g, PX_EPAIR_REJECTED); /* nobody is there to compare */
}

/* g may be gone afterwards. */
static void settled(struct px_pairing_going *g)
{
    g->settling = 0;
    px_pairing_say_paired(g, px_peers_is_member(g->p->config.peers, &g->join.inviter));
    free_if_over(g);
}

/* One of them at least had the other for a guest when the link was made: another one is made at
 * once, and the people are told when it is there. */
static void settle(struct px_pairing_going *g)
{
    g->over = true;
    g->settling = PX_PAIRING_SETTLE_TICKS;
    forget(g);
    px_pairing_wire_end(&g->wire);
    hand_back(g);
    px_peers_renew(g->p->config.peers, &g->join.inviter);
}

void px_pairing_go_peer_up(struct px_pairings *p, const struct px_peer_id *id)
{
    struct px_pairing_going *next;
    for (struct px_pairing_going *g = p->going; g != NULL; g = next) {
        next = g->next;
        if (g->settling > 0 && px_peer_id_eq(&g->join.inviter, id))
            settled(g);
    }
}

static void on_done(struct px_pairing_going *g, struct px_slice body)
{
    int err = px_pairing_read_done(&g->core, body);
    px_fault_point("joiner-done");
    if (err == 0)
        err = px_pairings_commit(g->p, &g->join.inviter, g->join.name, &g->join.card, g->seen,
                                 g->join.grants, &g->written);
    px_fault_point("joiner-written");
    if (err != 0)
        fail(g, err);
    else
        settle(g);
}

static void on_message(void *ctx, struct px_slice body)
{
    struct px_pairing_going *g = ctx;
    switch (g->core.state) {
    case PX_PAIRING_HELLO:
        on_welcome(g, body);
        return;
    case PX_PAIRING_WELCOME: /* they said no while our people compare */
        fail(g, px_pairing_read_refusal(&g->core, body));
        return;
    case PX_PAIRING_CONFIRM:
        on_done(g, body);
        return;
    case PX_PAIRING_START:
    case PX_PAIRING_DONE:
    case PX_PAIRING_FAILED:
        break;
    }
    fail(g, PX_EPROTO);
}

static void on_ended(void *ctx, int err)
{
    struct px_pairing_going *g = ctx;
    g->wire_open = false;
    fail(g, lost(g, err));
}

static void on_late(void *ctx)
{
    struct px_pairing_going *g = ctx;
    if (!g->over)
        fail(g, lost(g, PX_ETIMEDOUT));
}

static const struct px_pairing_wire_ops wire_ops = {on_message, on_late, on_ended};

/* ---- the link ---- */

static void on_up(void *ctx, struct px_link *link)
{
    struct px_pairing_going *g = ctx;
    uint8_t binding[PX_LINK_BINDING_LEN];
    if (g->over || g->wire_open)
        return;
    px_link_binding(link, binding);
    px_pairing_init(&g->core, PX_PAIRING_JOINER, &g->join.inviter, &g->p->config.identity->id,
                    binding);
    px_wipe(binding, sizeof(binding));
    px_pairings_seen(link, g->seen);
    px_pairing_say(g, "connected", NULL);
    int err =
        px_pairing_wire_open(&g->wire, g->p->config.loop, link, PX_STREAM_PAIRING, &wire_ops, g);
    g->wire_open = err == 0;
    if (err == 0)
        px_pairing_wire_set_time(&g->wire, PX_PAIRING_REPLY_TIME);
    if (err == 0 && g->wire.stream != NULL) {
        err = send_hello(g);
        px_fault_point("joiner-hello");
    }
    if (err != 0)
        fail(g, err);
}

/* A guest that no invite waits for is not told more than that it is not listed. A node that is
 * about to stop, or could not read its invites, says so as well: what is stored is tried again. */
static void on_failed(void *ctx, int err)
{
    struct px_pairing_going *g = ctx;
    g->dialled = false;
    if (err == PX_EREFUSED)
        end(g, PX_EINVITE_UNKNOWN, false);
    else
        fail(g, err);
}

static void on_down(void *ctx, int err)
{
    struct px_pairing_going *g = ctx;
    g->dialled = false;
    if (!g->wire_open) /* else `ended` follows */
        fail(g, lost(g, err));
}

static const struct px_guest_ops guest_ops = {on_up, on_failed, on_down};

/* ---- going ---- */

static struct px_pairing_going *find(struct px_pairings *p, const struct px_peer_id *inviter)
{
    struct px_pairing_going *g = p->going;
    while (g != NULL && (g->over || !px_peer_id_eq(&g->join.inviter, inviter)))
        g = g->next;
    return g;
}

/* Joins of the same inviter that have ended and linger would be in the way, and so would one under
 * way: who gives a code again has given up waiting for the first time. */
static void make_way(struct px_pairings *p, const struct px_peer_id *inviter)
{
    struct px_pairing_going *next;
    for (struct px_pairing_going *g = p->going; g != NULL; g = next) {
        next = g->next;
        if (!px_peer_id_eq(&g->join.inviter, inviter))
            continue;
        if (!g->over)
            fail(g, PX_ECANCELED);
        else if (g->settling > 0)
            settled(g);
        else if (g->dialled)
            hand_back(g);
    }
}

/* Ways to the inviter besides its addresses. */
static size_t relay_routes(const struct px_pairings *p, const struct px_pairing_join *join,
                           char (*ret)[PX_AUTH_ADDR_MAX])
{
    int err;
    if (p->config.relays == NULL)
        return 0;
    if (join->relay.addr_count == 0) /* an interrupted join kept its relay */
        return px_relays_routes(p->config.relays, ret, ROUTES_MAX);
    err = px_relays_join(p->config.relays, &join->relay, join->admission.bytes, ret[0]);
    if (err != 0)
        px_log_event(p->config.log, PX_LOG_WARN, "pairing.no_relay", PX_F_ERR(err));
    return err == 0 ? 1 : 0;
}

static int dial(struct px_pairing_going *g)
{
    const char *addrs[PX_INVITE_ADDRS_MAX + ROUTES_MAX];
    char routes[ROUTES_MAX][PX_AUTH_ADDR_MAX];
    size_t count = relay_routes(g->p, &g->join, routes);
    for (size_t i = 0; i < g->join.addr_count; i++)
        addrs[i] = g->join.addrs[i];
    for (size_t i = 0; i < count; i++)
        addrs[g->join.addr_count + i] = routes[i];
    int err = px_peers_dial_guest(g->p->config.peers, &g->join.inviter, addrs,
                                  g->join.addr_count + count, &guest_ops, g);
    g->dialled = err == 0;
    return err;
}

static void on_probed(void *ctx, int err, px_nsec rtt)
{
    struct px_pairing_going *g = ctx;
    (void)rtt;
    g->probing = false;
    if (err == PX_ETIMEDOUT)
        px_peers_renew(g->p->config.peers, &g->join.inviter);
    err = dial(g);
    if (err != 0)
        fail(g, err);
}

/* The other side may have begun anew, or be elsewhere, and its link of before not have noticed: it
 * is asked before it is relied upon. */
static int probe_or_dial(struct px_pairing_going *g)
{
    g->probing = px_peers_ping(g->p->config.peers, &g->join.inviter, PX_PAIRING_PROBE_TIME,
                               on_probed, g) == 0;
    return g->probing ? 0 : dial(g);
}

int px_pairing_go(struct px_pairings *p, const struct px_pairing_join *join, bool resumed,
                  struct px_control_call *call)
{
    size_t count = 0;
    if (!resumed)
        make_way(p, &join->inviter);
    for (const struct px_pairing_going *g = p->going; g != NULL; g = g->next)
        count++;
    if (p->closing || count >= PX_PAIRING_JOINS_MAX || find(p, &join->inviter) != NULL)
        return PX_EBUSY;
    struct px_pairing_going *g = calloc(1, sizeof(*g));
    if (g == NULL)
        return PX_ENOMEM;
    g->p = p;
    memcpy(&g->join, join, sizeof(g->join));
    g->approved = resumed; /* it was confirmed already, or would not be stored */
    int err = probe_or_dial(g);
    if (err != 0) {
        if (join->relay.addr_count > 0 && p->config.relays != NULL)
            px_relays_part(p->config.relays, &join->relay.id);
        px_wipe(&g->join, sizeof(g->join));
        free(g);
        return err;
    }
    g->call = call;
    g->next = p->going;
    p->going = g;
    px_pairings_wake(p);
    return 0;
}

int px_pairing_go_answer(struct px_pairings *p, const uint8_t id[PX_INVITE_ID_LEN], bool yes)
{
    struct px_buf out;
    struct px_pairing_going *g = p->going;
    while (g != NULL && (g->over || memcmp(g->join.id, id, PX_INVITE_ID_LEN) != 0))
        g = g->next;
    if (g == NULL)
        return PX_ENOENT;
    if (!g->verify || g->approved || g->core.state != PX_PAIRING_WELCOME)
        return PX_ESTATE;
    g->approved = yes;
    if (yes) {
        confirm(g);
        return 0;
    }
    px_buf_init(&out, PX_PAIRING_MESSAGE_MAX);
    int err = send_out(g, px_pairing_write_refuse(&g->core, PX_PAIRING_REJECTED, &out), &out);
    if (err == 0)
        px_pairing_wire_end(&g->wire);
    g->over = true;
    forget(g);
    px_pairing_say_failed(g, PX_EPAIR_REJECTED);
    g->linger = LINGER_TICKS; /* for the word to arrive */
    return 0;
}

void px_pairing_go_tick(struct px_pairings *p)
{
    struct px_pairing_going *next;
    for (struct px_pairing_going *g = p->going; g != NULL; g = next) {
        next = g->next;
        if (g->settling > 0 && --g->settling == 0)
            settled(g);
        else if (g->over && g->dialled && --g->linger <= 0)
            hand_back(g);
    }
}

void px_pairing_go_abort(struct px_pairings *p)
{
    struct px_pairing_going *next;
    for (struct px_pairing_going *g = p->going; g != NULL; g = next) {
        next = g->next;
        if (g->settling > 0)
            settled(g);
        else if (g->over)
            hand_back(g);
        else
            fail(g, PX_ECANCELED);
    }
}

struct resume {
    struct px_pairings *p;
    bool any;
};

static int resume(void *ctx, const struct px_pairing_join *join)
{
    struct resume *r = ctx;
    struct px_pairings *p = r->p;
    char id[PX_PEER_ID_TEXT_MAX];
    int64_t left = join->expires - px_pairing_now();
    if (left <= 0 || left > PX_PAIRING_JOIN_TIME)
        return px_pairing_forget_join(p->config.state, &join->inviter);
    r->any = true;
    px_log_event(p->config.log, PX_LOG_INFO, "pairing.resumed",
                 PX_F_STR("peer", px_peer_id_format(&join->inviter, id)));
    int err = px_pairing_go(p, join, true, NULL);
    if (err != 0)
        px_log_event(p->config.log, PX_LOG_DEBUG, "pairing.not_resumed", PX_F_ERR(err));
    return 0;
}

bool px_pairing_go_resume(struct px_pairings *p)
{
    struct resume r = {.p = p};
    int err = px_pairing_each_join(p->config.state, resume, &r);
    if (err != 0)
        px_log_event(p->config.log, PX_LOG_WARN, "pairing.not_read", PX_F_ERR(err));
    return r.any || err != 0;
}

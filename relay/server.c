/* Sessions of the relay server: who is there, what they may ask, when something of theirs is due.
 * What each message means: server_*.c. */
#include <stdlib.h>

#include "relay/server_internal.h"

const struct px_relay_limits px_relay_limits_default = {
    .strangers = 1024,
    .reservations = 128,
    .reservations_per_source = 8,
    .reservations_per_asn = 32,
    .reservation_ttl = 3600 * PX_SEC,
    .circuits_per_peer = 16,
    .circuit_idle = 60 * PX_SEC,
    .circuit_bind_time = 10 * PX_SEC,
    .stranger_time = 600 * PX_SEC,
    .stranger_bytes = 64 * 1000 * 1000,
    .member_rate = 125 * 1000 * 1000,
    .stranger_rate = 2 * 1000 * 1000,
};

/* ---- who may ask what ---- */

#define MEMBERS  (1u << PX_RELAY_MEMBER)
#define FRIENDS  (MEMBERS | 1u << PX_RELAY_VOUCHED)
#define ADMITTED (FRIENDS | 1u << PX_RELAY_JOINER | 1u << PX_RELAY_STRANGER)
#define ANYONE   (ADMITTED | 1u << PX_RELAY_UNKNOWN)

struct handler {
    void (*run)(struct px_relay_session *n, const struct px_relay_msg *m);
    unsigned classes;
};

static const struct handler handlers[] = {
    [PX_RELAY_MSG_RESERVE] = {px_relay_on_reserve, ADMITTED},
    [PX_RELAY_MSG_RELEASE] = {px_relay_on_release, ADMITTED},
    [PX_RELAY_MSG_CONNECT] = {px_relay_on_connect, ADMITTED},
    [PX_RELAY_MSG_CONSENT] = {px_relay_on_consent, ADMITTED},
    [PX_RELAY_MSG_END] = {px_relay_on_end, ADMITTED},
    [PX_RELAY_MSG_REGISTER] = {px_relay_on_register, FRIENDS},
    [PX_RELAY_MSG_UNREGISTER] = {px_relay_on_unregister, FRIENDS},
    [PX_RELAY_MSG_DISCOVER] = {px_relay_on_discover, FRIENDS},
    [PX_RELAY_MSG_WATCH] = {px_relay_on_watch, FRIENDS},
    [PX_RELAY_MSG_OBSERVE] = {px_relay_on_observe, ADMITTED},
    [PX_RELAY_MSG_INVITE] = {px_relay_on_invite, MEMBERS},
    [PX_RELAY_MSG_UNINVITE] = {px_relay_on_uninvite, MEMBERS},
    [PX_RELAY_MSG_ADMIT] = {px_relay_on_admit, ANYONE},
    [PX_RELAY_MSG_VOUCH] = {px_relay_on_vouch, MEMBERS},
    [PX_RELAY_MSG_REPORT] = {px_relay_on_report, FRIENDS},
    [PX_RELAY_MSG_TOTALS] = {px_relay_on_totals, FRIENDS},
    [PX_RELAY_MSG_PROBE] = {px_relay_on_probe, ADMITTED},
    [PX_RELAY_MSG_PADDING] = {px_relay_on_padding, ADMITTED},
    [PX_RELAY_MSG_SEEN] = {px_relay_on_seen, ADMITTED},
};

/* ---- small helpers of all server_*.c ---- */

struct px_relay_session *px_relay_find_session(const struct px_relay_server *s,
                                               const struct px_peer_id *id)
{
    struct px_map_node *n = px_map_find(&s->by_peer, px_slice(id->key, sizeof(id->key)));
    return n == NULL ? NULL : PX_CONTAINER_OF(n, struct px_relay_session, by_peer);
}

void px_relay_close(struct px_relay_session *n, enum px_close_code code)
{
    if (n->closing)
        return;
    n->closing = true;
    n->server->config.ops->close(n->server->config.ctx, n->conn, code);
}

void px_relay_send(struct px_relay_session *n, const struct px_relay_msg *m)
{
    struct px_buf frame;
    if (n->closing)
        return;
    px_buf_init(&frame, 2 + PX_RELAY_FRAME_MAX);
    int err = px_relay_msg_put_frame(&frame, m);
    if (err == 0)
        n->server->config.ops->send(n->server->config.ctx, n->conn, px_buf_slice(&frame));
    else /* out of memory: a node that waits for ever is worse off than one that dials again */
        px_relay_close(n, PX_CLOSE_INTERNAL);
    px_buf_deinit(&frame);
}

void px_relay_reply(struct px_relay_session *n, const struct px_relay_msg *m,
                    enum px_relay_status status)
{
    const struct px_relay_msg out = {
        .type = PX_RELAY_MSG_STATUS, .request = m->request, .status = status};
    if (px_relay_msg_has(m, PX_RELAY_K_REQUEST)) /* others expect no answer */
        px_relay_send(n, &out);
}

void px_relay_audit(const struct px_relay_session *n, const char *event,
                    enum px_relay_status status)
{
    const struct px_relay_audit a = {
        .event = event, .peer = &n->peer, .addr = &n->remote, .class = n->class, .status = status};
    n->server->config.ops->audit(n->server->config.ctx, &a);
}

void px_relay_hit(struct px_relay_server *s, enum px_relay_limit limit)
{
    s->stats.hits[limit]++;
}

void px_relay_hit_source(struct px_relay_server *s, int err, enum px_relay_limit source,
                         enum px_relay_limit asn)
{
    if (err == PX_ELIMIT)
        px_relay_hit(s, source);
    else if (err == PX_EBUSY)
        px_relay_hit(s, asn);
}

void px_relay_wake_at(struct px_relay_session *n, px_nsec at)
{
    n->server->timers_at = PX_MIN(n->server->timers_at, at);
}

/* ---- the server ---- */

static bool is_member(void *ctx, const struct px_peer_id *id)
{
    const struct px_relay_server *s = ctx;
    return s->config.ops->is_member(s->config.ctx, id);
}

static int make_parts(struct px_relay_server *s)
{
    const struct px_relay_server_config *c = &s->config;
    const struct px_circuits_config circuits = {.rng = c->rng,
                                                .ops = &px_relay_circuits_ops,
                                                .ctx = s,
                                                .per_peer = c->limits.circuits_per_peer,
                                                .idle = c->limits.circuit_idle,
                                                .bind_time = c->limits.circuit_bind_time};
    const struct px_registry_config registry = {
        .rng = c->rng, .store = c->store, .changed = px_relay_on_changed, .ctx = s};
    const struct px_admission_config admission = {
        .rng = c->rng, .is_member = is_member, .ctx = s, .open = c->open, .store = c->store};
    int err = px_map_init(&s->by_peer, &c->rng);
    if (err == 0)
        err = px_sources_new(&c->rng, &s->sources);
    if (err == 0)
        err = px_sources_new(&c->rng, &s->link_sources);
    if (err == 0)
        err = px_circuits_new(&circuits, &s->circuits);
    if (err == 0)
        err = px_registry_new(&registry, &s->registry);
    if (err == 0)
        err = px_admission_new(&admission, &s->admission);
    if (err == 0)
        err = px_accounts_new(&c->rng, c->store, &s->accounts);
    return err;
}

int px_relay_server_new(const struct px_relay_server_config *config, px_nsec now,
                        struct px_relay_server **ret)
{
    struct px_relay_server *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return PX_ENOMEM;
    s->config = *config;
    s->now = now;
    s->timers_at = PX_NEVER;
    px_list_init(&s->all);
    int err = make_parts(s);
    if (err == 0)
        err = px_registry_load(s->registry, now);
    if (err == 0)
        err = px_admission_load(s->admission, now);
    if (err == 0)
        err = px_accounts_load(s->accounts);
    if (err != 0) {
        px_relay_server_free(s);
        return err;
    }
    px_relay_server_recheck(s, config->open, now); /* members may have gone meanwhile */
    *ret = s;
    return 0;
}

void px_relay_server_free(struct px_relay_server *s)
{
    if (s == NULL)
        return;
    px_assert(px_list_empty(&s->all));
    px_circuits_free(s->circuits);
    px_registry_free(s->registry);
    px_admission_free(s->admission);
    px_accounts_free(s->accounts);
    px_sources_free(s->sources);
    px_sources_free(s->link_sources);
    px_map_deinit(&s->by_peer);
    free(s);
}

/* ---- sessions ---- */

bool px_relay_server_hears(struct px_relay_server *s, const struct px_peer_id *id, px_nsec now)
{
    if (px_admission_class(s->admission, id, now) != PX_RELAY_UNKNOWN)
        return true;
    if (!px_admission_hears_unknown(s->admission, now))
        return false;
    if (s->unknown < PX_RELAY_UNKNOWN_MAX)
        return true;
    px_relay_hit(s, PX_RELAY_LIMIT_UNKNOWN_NODES);
    return false;
}

void px_relay_set_class(struct px_relay_session *n, enum px_relay_class class)
{
    struct px_relay_server *s = n->server;
    s->unknown -= n->class == PX_RELAY_UNKNOWN;
    s->unknown += class == PX_RELAY_UNKNOWN;
    n->class = class;
    n->unknown_until = PX_NEVER;
    if (class == PX_RELAY_UNKNOWN) {
        n->unknown_until = s->now + PX_RELAY_UNKNOWN_TIME;
        px_relay_wake_at(n, n->unknown_until);
    }
}

/* SPEC relay §7: links of those who are not friends are bounded, so that they leave room for those
 * who are. */
static bool count_link(struct px_relay_session *n)
{
    struct px_relay_server *s = n->server;
    if (!px_relay_is_limited(n->class))
        return true;
    if (s->limited >= s->config.limits.strangers) {
        px_relay_hit(s, PX_RELAY_LIMIT_LINKS);
        return false;
    }
    if (s->unknown > PX_RELAY_UNKNOWN_MAX) { /* it shook hands together with others */
        px_relay_hit(s, PX_RELAY_LIMIT_UNKNOWN_NODES);
        return false;
    }
    px_source_of(s->config.asn_table, &n->remote, &n->link_source);
    int err = px_sources_add(s->link_sources, &n->link_source, PX_RELAY_LINKS_PER_SOURCE,
                             PX_RELAY_LINKS_PER_ASN);
    px_relay_hit_source(s, err, PX_RELAY_LIMIT_LINKS_PER_SOURCE, PX_RELAY_LIMIT_LINKS_PER_ASN);
    n->link_counted = err == 0;
    s->limited += n->link_counted;
    return n->link_counted;
}

static void uncount_link(struct px_relay_session *n)
{
    if (!n->link_counted)
        return;
    px_sources_remove(n->server->link_sources, &n->link_source);
    n->link_counted = false;
    n->server->limited--;
}

static void refuse_link(struct px_relay_session *n)
{
    n->server->stats.refused++;
    px_relay_audit(n, "relay.refused", PX_RELAY_RESOURCE_LIMIT_EXCEEDED);
    px_relay_close(n, PX_CLOSE_BUSY);
}

/* Whose class is another now: only what is counted of its kind counts. */
static void recount(struct px_relay_session *n)
{
    if (!px_relay_is_limited(n->class))
        uncount_link(n);
    else if (!n->link_counted && !n->closing && !count_link(n))
        refuse_link(n);
    px_relay_recount_reservation(n);
}

int px_relay_server_join(struct px_relay_server *s, void *conn, const struct px_peer_id *id,
                         const uint8_t binding[PX_CIRCUIT_BINDING_LEN],
                         const struct px_addr *remote, bool udp, px_nsec now,
                         struct px_relay_session **ret)
{
    struct px_relay_session *n = calloc(1, sizeof(*n));
    struct px_relay_session *old = px_relay_find_session(s, id);
    if (n == NULL)
        return PX_ENOMEM;
    s->now = now;
    n->server = s;
    n->conn = conn;
    n->peer = *id;
    n->remote = *remote;
    n->udp = udp;
    n->push_at = PX_NEVER;
    memcpy(n->binding, binding, sizeof(n->binding));
    px_token_bucket_init(&n->requests, PX_RELAY_REQUEST_RATE, PX_RELAY_REQUEST_BURST, now);
    px_token_bucket_init(&n->probes, PX_RELAY_PROBES_PER_MINUTE, PX_RELAY_PROBES_PER_MINUTE * 60,
                         now);
    if (old != NULL) /* its link is about to be told down */
        px_map_remove(&s->by_peer, &old->by_peer);
    px_map_insert(&s->by_peer, &n->by_peer, px_slice(n->peer.key, sizeof(n->peer.key)));
    px_list_push_back(&s->all, &n->all);
    s->nodes++;
    s->unknown++; /* what the zeroed class says */
    px_relay_set_class(n, px_admission_class(s->admission, id, now));
    *ret = n;
    if (count_link(n)) {
        px_relay_audit(n, "relay.node_up", PX_RELAY_OK);
        return 0;
    }
    refuse_link(n);
    return 0;
}

enum px_relay_class px_relay_session_class(const struct px_relay_session *n)
{
    return n->class;
}

void px_relay_session_ready(struct px_relay_session *n, px_nsec now)
{
    n->server->now = now;
    if (n->class != PX_RELAY_UNKNOWN)
        px_relay_tell_observed(n, 0);
}

void px_relay_session_leave(struct px_relay_session *n, px_nsec now)
{
    if (n == NULL)
        return;
    struct px_relay_server *s = n->server;
    s->now = now;
    n->closing = true;
    px_relay_drop_reservation(n);
    uncount_link(n);
    px_relay_audit(n, "relay.node_down", PX_RELAY_OK);
    if (px_relay_find_session(s, &n->peer) == n)
        px_map_remove(&s->by_peer, &n->by_peer);
    px_list_remove(&n->all);
    s->nodes--;
    s->unknown -= n->class == PX_RELAY_UNKNOWN;
    s->watches -= n->watch_count;
    px_wipe(n->binding, sizeof(n->binding));
    free(n->watches);
    free(n);
}

void px_relay_session_moved(struct px_relay_session *n, const struct px_addr *remote, bool udp,
                            px_nsec now)
{
    n->server->now = now;
    if (n->udp == udp && px_addr_eq(&n->remote, remote))
        return;
    n->remote = *remote;
    n->udp = udp;
    px_relay_tell_observed(n, 0);
}

/* A node without admission gets little of our time. False when that was used up. */
static bool charge_unknown(struct px_relay_session *n, size_t bytes)
{
    if (n->class != PX_RELAY_UNKNOWN)
        return true;
    n->unknown_bytes += bytes;
    if (n->unknown_bytes <= PX_RELAY_UNKNOWN_BYTES)
        return true;
    px_relay_hit(n->server, PX_RELAY_LIMIT_UNKNOWN_BYTES);
    px_relay_close(n, PX_CLOSE_OVERRUN);
    return false;
}

static void refuse(struct px_relay_session *n, const struct px_relay_msg *m,
                   enum px_relay_status status)
{
    n->server->stats.refused++;
    px_relay_audit(n, "relay.refused", status);
    px_relay_reply(n, m, status);
}

static void handle(struct px_relay_session *n, const struct px_relay_msg *m)
{
    struct px_relay_server *s = n->server;
    const struct handler *h =
        m->type < PX_ARRAY_LEN(handlers) ? &handlers[m->type] : &handlers[PX_RELAY_MSG_NONE];
    s->stats.requests++;
    /* padding is paid for by its bytes; a ring may be answered and a circuit ended at any rate */
    bool free_of_charge = m->type == PX_RELAY_MSG_PADDING || m->type == PX_RELAY_MSG_END ||
                          m->type == PX_RELAY_MSG_CONSENT;
    if (!free_of_charge && !px_token_bucket_try(&n->requests, 1, s->now)) {
        s->stats.rate_limited++;
        px_relay_hit(s, PX_RELAY_LIMIT_REQUESTS);
        px_relay_reply(n, m, PX_RELAY_RATE_LIMITED);
        return;
    }
    if (h->run == NULL)
        refuse(n, m, PX_RELAY_UNEXPECTED_MESSAGE); /* a message that relays send */
    else if ((h->classes & 1u << n->class) == 0)
        refuse(n, m, PX_RELAY_PERMISSION_DENIED);
    else
        h->run(n, m);
}

void px_relay_session_input(struct px_relay_session *n, struct px_slice body, px_nsec now)
{
    struct px_relay_msg m;
    n->server->now = now;
    if (n->closing || !charge_unknown(n, body.len))
        return;
    if (px_relay_msg_decode(body, &m) != 0) {
        n->server->stats.malformed++;
        px_relay_audit(n, "relay.malformed", PX_RELAY_MALFORMED_MESSAGE);
        px_relay_close(n, PX_CLOSE_PROTOCOL);
        return;
    }
    if (m.type != PX_RELAY_MSG_NONE)
        handle(n, &m);
}

size_t px_relay_server_packets(struct px_relay_server *s, const struct px_path *path, uint8_t *data,
                               size_t len, size_t segment, px_nsec now, struct px_circuits_out *ret)
{
    s->now = now;
    return px_circuits_input(s->circuits, path, data, len, segment, now, ret);
}

/* ---- changes for all ---- */

static bool may_be_in_circuits(void *ctx, const struct px_peer_id *id)
{
    const struct px_relay_server *s = ctx;
    return px_admission_class(s->admission, id, s->now) != PX_RELAY_UNKNOWN;
}

static bool may_be_registered(void *ctx, const struct px_peer_id *id)
{
    const struct px_relay_server *s = ctx;
    return !px_relay_is_limited(px_admission_class(s->admission, id, s->now));
}

/* SPEC relay §2: a node whose admission ends loses reservation, circuits, records and link. */
static void recheck_session(struct px_relay_session *n)
{
    struct px_relay_server *s = n->server;
    enum px_relay_class class = px_admission_class(s->admission, &n->peer, s->now);
    if (class == n->class)
        return;
    bool revoked = class == PX_RELAY_UNKNOWN;
    if (revoked) /* as what it was */
        px_relay_audit(n, "relay.revoked", PX_RELAY_REVOKED);
    px_relay_set_class(n, class);
    if (!revoked)
        px_relay_audit(n, "relay.class_changed", PX_RELAY_OK);
    if (px_relay_is_limited(class)) {
        s->watches -= n->watch_count;
        n->watch_count = 0;
        free(n->watches);
        n->watches = NULL;
    }
    if (revoked) {
        px_relay_drop_reservation(n);
        px_relay_close(n, PX_CLOSE_REVOKED);
    } else {
        recount(n);
    }
}

static void recheck_all(struct px_relay_server *s)
{
    px_circuits_end_unwelcome(s->circuits, may_be_in_circuits, s, PX_RELAY_REVOKED);
    px_registry_drop_unwelcome(s->registry, may_be_registered, s);
    px_accounts_drop_unwelcome(s->accounts, may_be_registered, s);
    PX_LIST_EACH(it, &s->all)
        recheck_session(PX_CONTAINER_OF(it, struct px_relay_session, all));
}

/* One node, for px_relay_recheck_peer: the others are not looked at. */
struct one {
    struct px_relay_server *server;
    const struct px_peer_id *peer;
};

static bool one_may_be_in_circuits(void *ctx, const struct px_peer_id *id)
{
    const struct one *o = ctx;
    return !px_peer_id_eq(id, o->peer) || may_be_in_circuits(o->server, id);
}

static bool one_may_be_registered(void *ctx, const struct px_peer_id *id)
{
    const struct one *o = ctx;
    return !px_peer_id_eq(id, o->peer) || may_be_registered(o->server, id);
}

void px_relay_recheck_peer(struct px_relay_server *s, const struct px_peer_id *peer)
{
    struct one o = {s, peer};
    struct px_relay_session *n = px_relay_find_session(s, peer);
    px_circuits_end_unwelcome(s->circuits, one_may_be_in_circuits, &o, PX_RELAY_REVOKED);
    px_registry_drop_unwelcome(s->registry, one_may_be_registered, &o);
    px_accounts_drop_unwelcome(s->accounts, one_may_be_registered, &o);
    if (n != NULL)
        recheck_session(n);
}

void px_relay_server_recheck(struct px_relay_server *s, bool open, px_nsec now)
{
    s->now = now;
    px_admission_set_open(s->admission, open);
    px_admission_recheck(s->admission);
    recheck_all(s);
}

void px_relay_server_set_limits(struct px_relay_server *s, const struct px_relay_limits *limits)
{
    s->config.limits = *limits;
    px_circuits_set_limits(s->circuits, limits->circuits_per_peer, limits->circuit_idle,
                           limits->circuit_bind_time);
}

void px_relay_server_restarting(struct px_relay_server *s, px_nsec left, px_nsec now)
{
    px_nsec spread = PX_RELAY_RESTART_SPREAD + s->nodes * PX_RELAY_RESTART_PER_NODE;
    const struct px_relay_msg m = {.type = PX_RELAY_MSG_RESTARTING,
                                   .ttl_ms = left / PX_MSEC,
                                   .spread_ms =
                                       PX_MIN(spread, PX_RELAY_RESTART_SPREAD_MAX) / PX_MSEC};
    s->now = now;
    s->restarting = true;
    PX_LIST_EACH(it, &s->all)
        px_relay_send(PX_CONTAINER_OF(it, struct px_relay_session, all), &m);
}

void px_relay_server_end_circuits(struct px_relay_server *s)
{
    px_circuits_end_all(s->circuits, PX_RELAY_RESTARTING);
}

/* ---- time ---- */

/* What is due of this session; returns when something is next. */
static px_nsec run_session(struct px_relay_session *n)
{
    px_nsec now = n->server->now, next = PX_NEVER;
    if (now >= n->unknown_until) {
        px_relay_hit(n->server, PX_RELAY_LIMIT_UNKNOWN_TIME);
        px_relay_audit(n, "relay.refused", PX_RELAY_PERMISSION_DENIED);
        n->unknown_until = PX_NEVER;
        px_relay_close(n, PX_CLOSE_UNLISTED);
    }
    if (n->reserved && now >= n->reserved_until)
        px_relay_drop_reservation(n);
    if (now >= n->push_at)
        px_relay_push(n);
    next = PX_MIN(px_relay_run_probe(n), PX_MIN(n->unknown_until, n->push_at));
    return n->reserved ? PX_MIN(next, n->reserved_until) : next;
}

static void run_sessions(struct px_relay_server *s)
{
    px_nsec next = PX_NEVER;
    if (s->now < s->timers_at)
        return;
    s->timers_at = PX_NEVER;
    PX_LIST_EACH(it, &s->all) {
        px_nsec at = run_session(PX_CONTAINER_OF(it, struct px_relay_session, all));
        next = PX_MIN(next, at);
    }
    s->timers_at = PX_MIN(s->timers_at, next);
}

void px_relay_server_run(struct px_relay_server *s, px_nsec now)
{
    s->now = now;
    if (px_admission_run(s->admission, now))
        recheck_all(s);
    px_circuits_run(s->circuits, now);
    px_registry_run(s->registry, now);
    run_sessions(s);
}

px_nsec px_relay_server_deadline(const struct px_relay_server *s)
{
    px_nsec a = PX_MIN(px_circuits_deadline(s->circuits), px_registry_deadline(s->registry));
    return PX_MIN(a, PX_MIN(px_admission_deadline(s->admission), s->timers_at));
}

void px_relay_server_stats(const struct px_relay_server *s, struct px_relay_server_stats *ret)
{
    *ret = s->stats;
    px_circuits_stats(s->circuits, &ret->circuits);
    ret->nodes = s->nodes;
    ret->unknown = s->unknown;
    ret->limited = s->limited;
    ret->reservations = s->reservations;
    ret->records = px_registry_count(s->registry);
    ret->invites = px_admission_invites(s->admission);
    ret->watches = s->watches;
}

/* See transfer_reports.h. */
#include "node/transfer_reports.h"

#include <stdlib.h>

#include "proto/base/list.h"
#include "proto/base/map.h"

#define DIRECTIONS 2 /* enum px_relay_direction less one */

/* What one relay knows of one direction of a session. */
struct told {
    uint64_t bytes;
    px_nsec reported_at; /* or when the session was first seen */
    px_nsec not_before;  /* the next report */
    bool under_way;
};

struct session {
    struct px_map_node by_id;
    struct px_list all; /* the one begun last at the end */
    uint8_t id[PX_RELAY_SESSION_LEN];
    struct px_peer_id peer;
    px_nsec ended_at; /* PX_NEVER: it lives */
    uint64_t bytes[DIRECTIONS];
    px_nsec changed_at[DIRECTIONS];
    struct told told[PX_TRANSFER_RELAYS_MAX][DIRECTIONS];
};

/* Totals with one peer at one relay. */
struct totals {
    bool known, under_way;
    uint64_t is[PX_RELAY_TOTALS_LEN];
    px_nsec ask_at, pause;
};

struct peer {
    struct px_map_node by_id;
    struct px_list all; /* the one noted last at the end */
    struct px_peer_id id;
    struct totals at[PX_TRANSFER_RELAYS_MAX];
};

struct ticket {
    bool used;
    struct px_transfer_order order;
};

struct relay {
    bool used, up;
    bool refuses; /* until it comes up anew */
    struct px_peer_id id;
    struct ticket tickets[PX_TRANSFER_UNDER_WAY];
    unsigned under_way;
    uint32_t last_ticket;
    px_nsec window; /* began, and so many were sent in it */
    unsigned sent;
    px_nsec due; /* unless `stale` */
};

struct px_transfer_reports {
    bool report;
    bool stale; /* what is due has to be looked up anew */
    struct px_map sessions, peers;
    struct px_list all_sessions, all_peers;
    struct relay relays[PX_TRANSFER_RELAYS_MAX];
};

int px_transfer_reports_new(const struct px_rng *rng, bool report, struct px_transfer_reports **ret)
{
    struct px_transfer_reports *r = calloc(1, sizeof(*r));
    if (r == NULL)
        return PX_ENOMEM;
    r->report = report;
    r->stale = true;
    px_list_init(&r->all_sessions);
    px_list_init(&r->all_peers);
    int err = px_map_init(&r->sessions, rng);
    if (err == 0)
        err = px_map_init(&r->peers, rng);
    if (err != 0) {
        px_transfer_reports_free(r);
        return err;
    }
    *ret = r;
    return 0;
}

static void free_session(struct px_transfer_reports *r, struct session *s)
{
    px_map_remove(&r->sessions, &s->by_id);
    px_list_remove(&s->all);
    free(s);
}

static void free_peer(struct px_transfer_reports *r, struct peer *p)
{
    px_map_remove(&r->peers, &p->by_id);
    px_list_remove(&p->all);
    free(p);
}

static struct session *session_at(struct px_list *it)
{
    return PX_CONTAINER_OF(it, struct session, all);
}

static struct peer *peer_at(struct px_list *it)
{
    return PX_CONTAINER_OF(it, struct peer, all);
}

void px_transfer_reports_free(struct px_transfer_reports *r)
{
    if (r == NULL)
        return;
    PX_LIST_EACH(it, &r->all_sessions)
        free_session(r, session_at(it));
    PX_LIST_EACH(it, &r->all_peers)
        free_peer(r, peer_at(it));
    px_map_deinit(&r->sessions);
    px_map_deinit(&r->peers);
    free(r);
}

/* ---- sessions ---- */

static struct session *find_session(const struct px_transfer_reports *r, const uint8_t *id)
{
    struct px_map_node *n = px_map_find(&r->sessions, px_slice(id, PX_RELAY_SESSION_LEN));
    return n == NULL ? NULL : PX_CONTAINER_OF(n, struct session, by_id);
}

static struct session *new_session(struct px_transfer_reports *r, const struct px_peer_id *peer,
                                   const uint8_t *id, px_nsec now)
{
    struct session *s = calloc(1, sizeof(*s)), *spare = NULL;
    if (s == NULL)
        return NULL;
    if (r->sessions.count >= PX_TRANSFER_SESSIONS_MAX) {
        PX_LIST_EACH(it, &r->all_sessions)
            if (spare == NULL && session_at(it)->ended_at != PX_NEVER)
                spare = session_at(it);
        free_session(r, spare != NULL ? spare : session_at(r->all_sessions.next));
    }
    memcpy(s->id, id, sizeof(s->id));
    s->peer = *peer;
    s->ended_at = PX_NEVER;
    for (size_t k = 0; k < PX_TRANSFER_RELAYS_MAX; k++)
        for (size_t d = 0; d < DIRECTIONS; d++)
            s->told[k][d].reported_at = now;
    px_map_insert(&r->sessions, &s->by_id, px_slice(s->id, sizeof(s->id)));
    px_list_push_back(&r->all_sessions, &s->all);
    return s;
}

static void take_count(struct px_transfer_reports *r, struct session *s,
                       enum px_relay_direction direction, uint64_t bytes, px_nsec now)
{
    size_t d = (size_t)direction - 1;
    if (bytes <= s->bytes[d])
        return;
    s->bytes[d] = bytes;
    s->changed_at[d] = now;
    r->stale = true;
}

void px_transfer_reports_count(struct px_transfer_reports *r, const struct px_peer_id *peer,
                               const uint8_t session[PX_RELAY_SESSION_LEN], uint64_t sent,
                               uint64_t received, px_nsec now)
{
    if (!r->report || (sent == 0 && received == 0))
        return;
    struct session *s = find_session(r, session);
    if (s == NULL)
        s = new_session(r, peer, session, now);
    if (s == NULL)
        return;
    take_count(r, s, PX_RELAY_SENT, sent, now);
    take_count(r, s, PX_RELAY_RECEIVED, received, now);
}

void px_transfer_reports_ended(struct px_transfer_reports *r,
                               const uint8_t session[PX_RELAY_SESSION_LEN], px_nsec now)
{
    struct session *s = find_session(r, session);
    if (s == NULL)
        return;
    s->ended_at = now;
    r->stale = true;
}

/* Every relay that was ever there knows all of it. */
static bool settled(const struct px_transfer_reports *r, const struct session *s)
{
    bool any = false;
    for (size_t k = 0; k < PX_TRANSFER_RELAYS_MAX; k++) {
        any = any || r->relays[k].used;
        for (size_t d = 0; r->relays[k].used && d < DIRECTIONS; d++)
            if (s->told[k][d].under_way || s->told[k][d].bytes != s->bytes[d])
                return false;
    }
    return any;
}

static void forget_ended(struct px_transfer_reports *r, px_nsec now)
{
    PX_LIST_EACH(it, &r->all_sessions) {
        struct session *s = session_at(it);
        if (s->ended_at != PX_NEVER &&
            (settled(r, s) || now - s->ended_at >= (px_nsec)PX_TRANSFER_KEEP))
            free_session(r, s);
    }
}

/* ---- peers ---- */

static struct peer *find_peer(const struct px_transfer_reports *r, const struct px_peer_id *id)
{
    struct px_map_node *n = px_map_find(&r->peers, px_slice(id->key, sizeof(id->key)));
    return n == NULL ? NULL : PX_CONTAINER_OF(n, struct peer, by_id);
}

static struct peer *get_peer(struct px_transfer_reports *r, const struct px_peer_id *id)
{
    struct peer *p = find_peer(r, id);
    if (p != NULL)
        return p;
    p = calloc(1, sizeof(*p));
    if (p == NULL)
        return NULL;
    if (r->peers.count >= PX_TRANSFER_PEERS_MAX)
        free_peer(r, peer_at(r->all_peers.next));
    p->id = *id;
    for (size_t k = 0; k < PX_TRANSFER_RELAYS_MAX; k++)
        p->at[k].ask_at = PX_NEVER;
    px_map_insert(&r->peers, &p->by_id, px_slice(p->id.key, sizeof(p->id.key)));
    px_list_push_back(&r->all_peers, &p->all);
    return p;
}

void px_transfer_reports_want(struct px_transfer_reports *r, const struct px_peer_id *peer)
{
    (void)get_peer(r, peer);
}

bool px_transfer_reports_totals(const struct px_transfer_reports *r, const struct px_peer_id *peer,
                                uint64_t ret[PX_RELAY_TOTALS_LEN])
{
    const struct peer *p = find_peer(r, peer);
    bool known = false;
    for (size_t k = 0; p != NULL && k < PX_TRANSFER_RELAYS_MAX; k++) {
        if (!p->at[k].known)
            continue;
        for (size_t i = 0; i < PX_RELAY_TOTALS_LEN; i++)
            ret[i] = known ? PX_MAX(ret[i], p->at[k].is[i]) : p->at[k].is[i];
        known = true;
    }
    return known;
}

/* ---- relays ---- */

static struct relay *find_relay(struct px_transfer_reports *r, const struct px_peer_id *id)
{
    for (size_t k = 0; k < PX_TRANSFER_RELAYS_MAX; k++)
        if (r->relays[k].used && px_peer_id_eq(&r->relays[k].id, id))
            return &r->relays[k];
    return NULL;
}

/* A slot for another relay: all that was told to the one before is of no use. */
static struct relay *new_relay(struct px_transfer_reports *r, const struct px_peer_id *id,
                               px_nsec now)
{
    struct relay *free_one = NULL;
    for (size_t k = 0; k < PX_TRANSFER_RELAYS_MAX; k++)
        if (!r->relays[k].up && (free_one == NULL || (free_one->used && !r->relays[k].used)))
            free_one = &r->relays[k];
    if (free_one == NULL)
        return NULL;
    size_t k = (size_t)(free_one - r->relays);
    *free_one = (struct relay){.used = true, .id = *id};
    PX_LIST_EACH(it, &r->all_sessions)
        for (size_t d = 0; d < DIRECTIONS; d++)
            session_at(it)->told[k][d] = (struct told){.reported_at = now};
    PX_LIST_EACH(it, &r->all_peers)
        peer_at(it)->at[k] = (struct totals){.ask_at = PX_NEVER};
    return free_one;
}

void px_transfer_reports_up(struct px_transfer_reports *r, const struct px_peer_id *relay,
                            px_nsec now)
{
    struct relay *x = find_relay(r, relay);
    if (x == NULL)
        x = new_relay(r, relay, now);
    if (x == NULL || x->up)
        return;
    size_t k = (size_t)(x - r->relays);
    x->up = true;
    x->refuses = false;
    r->stale = true;
    PX_LIST_EACH(it, &r->all_peers) {
        peer_at(it)->at[k].ask_at = now;
        peer_at(it)->at[k].pause = PX_TRANSFER_TOTALS_FIRST;
    }
    PX_LIST_EACH(it, &r->all_sessions)
        for (size_t d = 0; d < DIRECTIONS; d++)
            session_at(it)->told[k][d].not_before = 0;
}

/* ---- what is due ---- */

static px_nsec report_due(const struct session *s, size_t k, size_t d)
{
    const struct told *t = &s->told[k][d];
    if (t->under_way || t->bytes == s->bytes[d])
        return PX_NEVER;
    px_nsec quiet = s->ended_at != PX_NEVER ? 0 : s->changed_at[d] + PX_TRANSFER_QUIET;
    return PX_MAX(t->not_before, PX_MIN(quiet, t->reported_at + PX_TRANSFER_MOVING));
}

static px_nsec totals_due(const struct peer *p, size_t k)
{
    return p->at[k].under_way ? PX_NEVER : p->at[k].ask_at;
}

static void look_up_due(struct px_transfer_reports *r)
{
    for (size_t k = 0; k < PX_TRANSFER_RELAYS_MAX; k++) {
        struct relay *x = &r->relays[k];
        x->due = PX_NEVER;
        if (!x->up || x->refuses || x->under_way == PX_TRANSFER_UNDER_WAY)
            continue;
        PX_LIST_EACH(it, &r->all_sessions)
            for (size_t d = 0; d < DIRECTIONS; d++)
                x->due = PX_MIN(x->due, report_due(session_at(it), k, d));
        PX_LIST_EACH(it, &r->all_peers)
            x->due = PX_MIN(x->due, totals_due(peer_at(it), k));
        if (x->due != PX_NEVER && x->sent >= PX_TRANSFER_RATE)
            x->due = PX_MAX(x->due, x->window + PX_SEC);
    }
    r->stale = false;
}

px_nsec px_transfer_reports_deadline(struct px_transfer_reports *r)
{
    px_nsec at = PX_NEVER;
    if (r->stale)
        look_up_due(r);
    for (size_t k = 0; k < PX_TRANSFER_RELAYS_MAX; k++)
        if (r->relays[k].up)
            at = PX_MIN(at, r->relays[k].due);
    return at;
}

static bool may_send(struct relay *x, bool last, px_nsec now)
{
    if (!x->up || x->refuses || x->under_way == PX_TRANSFER_UNDER_WAY)
        return false;
    if (now - x->window >= PX_SEC) {
        x->window = now;
        x->sent = 0;
    }
    return last || x->sent < PX_TRANSFER_RATE;
}

static void issue(struct relay *x, struct px_transfer_order *order)
{
    struct ticket *t = x->tickets;
    while (t->used)
        t++;
    order->ticket = x->last_ticket = (x->last_ticket + 1) & PX_TRANSFER_TICKET_MAX;
    *t = (struct ticket){.used = true, .order = *order};
    x->under_way++;
    x->sent++;
}

static bool next_report(struct px_transfer_reports *r, size_t k, bool last, px_nsec now,
                        struct px_transfer_order *ret)
{
    PX_LIST_EACH(it, &r->all_sessions) {
        struct session *s = session_at(it);
        for (size_t d = 0; d < DIRECTIONS; d++) {
            px_nsec due = report_due(s, k, d);
            if (due == PX_NEVER || (due > now && !last))
                continue;
            *ret = (struct px_transfer_order){.report = true,
                                              .peer = s->peer,
                                              .direction = (enum px_relay_direction)(d + 1),
                                              .bytes = s->bytes[d]};
            memcpy(ret->session, s->id, sizeof(ret->session));
            s->told[k][d].under_way = true;
            s->told[k][d].reported_at = now;
            s->told[k][d].not_before = now + PX_TRANSFER_GAP;
            return true;
        }
    }
    return false;
}

static bool next_totals(struct px_transfer_reports *r, size_t k, px_nsec now,
                        struct px_transfer_order *ret)
{
    PX_LIST_EACH(it, &r->all_peers) {
        struct peer *p = peer_at(it);
        if (totals_due(p, k) > now)
            continue;
        *ret = (struct px_transfer_order){.peer = p->id};
        p->at[k].under_way = true;
        return true;
    }
    return false;
}

bool px_transfer_reports_next(struct px_transfer_reports *r, const struct px_peer_id *relay,
                              bool last, px_nsec now, struct px_transfer_order *ret)
{
    struct relay *x = find_relay(r, relay);
    if (x == NULL || !may_send(x, last, now))
        return false;
    if (r->stale)
        look_up_due(r);
    if (!last && x->due > now)
        return false;
    size_t k = (size_t)(x - r->relays);
    r->stale = true;
    forget_ended(r, now);
    if (!next_report(r, k, last, now, ret) && (last || !next_totals(r, k, now, ret)))
        return false;
    issue(x, ret);
    return true;
}

/* ---- answers ---- */

static void on_reported(struct px_transfer_reports *r, size_t k, const struct px_transfer_order *o,
                        enum px_relay_status status, px_nsec now)
{
    struct session *s = find_session(r, o->session);
    struct told *t = s == NULL ? NULL : &s->told[k][o->direction - 1];
    if (t == NULL || !t->under_way)
        return;
    t->under_way = false;
    if (status == PX_RELAY_NO_ANSWER || status == PX_RELAY_RATE_LIMITED ||
        status == PX_RELAY_INTERNAL)
        t->not_before = now + PX_TRANSFER_MOVING;
    else
        t->bytes = o->bytes; /* taken, or never to be taken */
    struct peer *p = status == PX_RELAY_OK ? get_peer(r, &o->peer) : NULL;
    if (p == NULL)
        return;
    p->at[k].pause = PX_TRANSFER_TOTALS_FIRST;
    p->at[k].ask_at = now + PX_TRANSFER_TOTALS_FIRST;
}

static void on_totals(struct px_transfer_reports *r, size_t k, const struct px_transfer_order *o,
                      const uint64_t *totals, px_nsec now)
{
    struct peer *p = find_peer(r, &o->peer);
    struct totals *t = p == NULL ? NULL : &p->at[k];
    if (t == NULL)
        return;
    t->under_way = false;
    if (totals != NULL) {
        memcpy(t->is, totals, sizeof(t->is));
        t->known = true;
    }
    bool all = t->is[PX_RELAY_SENT_CONFIRMED] == t->is[PX_RELAY_SENT_TOTAL] &&
               t->is[PX_RELAY_RECEIVED_CONFIRMED] == t->is[PX_RELAY_RECEIVED_TOTAL];
    t->pause = PX_MIN(4 * t->pause, (px_nsec)PX_TRANSFER_TOTALS_MAX);
    t->ask_at = totals != NULL && all ? PX_NEVER : now + t->pause;
}

static void take_back(struct px_transfer_reports *r, struct relay *x, struct ticket *t,
                      enum px_relay_status status, const uint64_t *totals, px_nsec now)
{
    const struct px_transfer_order order = t->order;
    t->used = false;
    x->under_way--;
    r->stale = true;
    if (order.report)
        on_reported(r, (size_t)(x - r->relays), &order, status, now);
    else
        on_totals(r, (size_t)(x - r->relays), &order, totals, now);
}

void px_transfer_reports_answer(struct px_transfer_reports *r, const struct px_peer_id *relay,
                                uint32_t ticket, enum px_relay_status status,
                                const uint64_t *totals, px_nsec now)
{
    struct relay *x = find_relay(r, relay);
    for (size_t i = 0; x != NULL && i < PX_TRANSFER_UNDER_WAY; i++) {
        struct ticket *t = &x->tickets[i];
        if (!t->used || t->order.ticket != ticket)
            continue;
        x->refuses = x->refuses || status == PX_RELAY_PERMISSION_DENIED ||
                     status == PX_RELAY_UNEXPECTED_MESSAGE || status == PX_RELAY_MALFORMED_MESSAGE;
        take_back(r, x, t, status, totals, now);
        return;
    }
}

void px_transfer_reports_down(struct px_transfer_reports *r, const struct px_peer_id *relay,
                              px_nsec now)
{
    struct relay *x = find_relay(r, relay);
    if (x == NULL || !x->up)
        return;
    x->up = false;
    r->stale = true;
    for (size_t i = 0; i < PX_TRANSFER_UNDER_WAY; i++)
        if (x->tickets[i].used)
            take_back(r, x, &x->tickets[i], PX_RELAY_NO_ANSWER, NULL, now);
}

bool px_transfer_reports_heard(const struct px_transfer_reports *r)
{
    for (size_t k = 0; k < PX_TRANSFER_RELAYS_MAX; k++)
        if (r->relays[k].up && !r->relays[k].refuses)
            return r->report;
    return false;
}

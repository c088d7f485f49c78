/* Circuits that stand in for what a link has lost, a circuit or its direct path: which relay is
 * asked in which turn, when the link is moved over, and when to let it be (docs/spec/paths.md §9).
 * Whose packets they carry and how they end is relay_circuits.c's. */
#include "node/relays_internal.h"

#define RENEW_PAUSE PX_SEC
#define PREFER_GAP  (300 * PX_MSEC)
#define PREFER_MAX  10

static bool is_under_way(const struct px_relays *set, const struct px_addr *replaces)
{
    PX_LIST_EACH(it, &set->circuits)
        if (px_addr_eq(&px_circuit_at(it)->replaces, replaces))
            return true;
    return false;
}

static struct px_circuit *stand_in(struct px_relays *set, const struct px_peer_id *peer,
                                   const struct px_addr *replaces, unsigned tries, px_nsec at)
{
    struct px_circuit *c = set->closing ? NULL : px_circuit_new(set, peer);
    if (c == NULL)
        return NULL;
    c->caller = true;
    c->replaces = *replaces;
    c->tries = tries;
    c->call_at = at;
    return c;
}

/* A circuit in the place of one that ended, or may have, under a link; unless one is under way. */
static void renew(struct px_relays *set, const struct px_peer_id *peer,
                  const struct px_addr *replaces, px_nsec at)
{
    if (!is_under_way(set, replaces))
        (void)stand_in(set, peer, replaces, 0, at);
}

/* ---- which relay ---- */

static size_t count_usable(const struct px_relays *set)
{
    size_t n = 0;
    PX_LIST_EACH(it, &set->all)
        n += px_relay_usable(px_relay_at(it));
    return n;
}

/* The relays take turns, that of the circuit to be replaced last. */
static struct px_relay *choose_relay(const struct px_circuit *c)
{
    const struct px_circuit *old = px_circuit_find(c->set, &c->replaces);
    struct px_relay *last = NULL;
    size_t n = count_usable(c->set), turn = n > 0 ? c->tries % n : 0;
    PX_LIST_EACH(it, &c->set->all) {
        struct px_relay *r = px_relay_at(it);
        if (!px_relay_usable(r))
            continue;
        if (old != NULL && old->relay == r)
            last = r;
        else if (turn-- == 0)
            return r;
    }
    return last;
}

/* The next relay, if there is one that was not tried. */
static bool try_next(struct px_relays *set, const struct px_peer_id *peer,
                     const struct px_addr *replaces, unsigned tries, px_nsec now)
{
    return tries < count_usable(set) && stand_in(set, peer, replaces, tries, now) != NULL;
}

/* ---- calls ---- */

/* Has the peer called, or been called, besides? */
static bool has_other(const struct px_circuit *c)
{
    PX_LIST_EACH(it, &c->set->circuits) {
        const struct px_circuit *o = px_circuit_at(it);
        if (o != c && px_peer_id_eq(&o->peer, &c->peer) && !px_addr_eq(&o->addr, &c->replaces) &&
            o->state != PX_CIRCUIT_WAITING)
            return true;
    }
    return false;
}

/* Is the link still there, where it needs help? */
static bool is_wanted(const struct px_circuit *c)
{
    struct px_peers *peers = c->set->config.peers;
    if (!px_peers_link_on(peers, &c->peer, &c->replaces) || (c->yields && has_other(c)))
        return false;
    return px_addr_is_circuit(&c->replaces) || px_peers_in_doubt(peers, &c->peer);
}

void px_standin_call(struct px_circuit *c, px_nsec now)
{
    c->relay = is_wanted(c) ? choose_relay(c) : NULL;
    if (c->relay == NULL && (!px_addr_is_circuit(&c->replaces) || !is_wanted(c))) {
        px_circuit_free(c); /* whose direct path is lost asks again */
        return;
    }
    c->call_at = now + RENEW_PAUSE;
    if (c->relay == NULL || px_relay_client_call(c->relay->client, &c->peer, c, now, &c->leg) != 0)
        return;
    c->state = PX_CIRCUIT_CALLING;
    c->turn_at = now + PX_RELAYS_TURN;
}

/* No answer so far: another relay may have a better way to the peer. */
void px_standin_take_turn(struct px_circuit *c, px_nsec now)
{
    c->turn_at = PX_NEVER;
    if (is_wanted(c))
        (void)try_next(c->set, &c->peer, &c->replaces, c->tries + 1, now);
}

/* One of several calls was answered. */
static void end_siblings(struct px_circuit *c)
{
    PX_LIST_EACH(it, &c->set->circuits) {
        struct px_circuit *o = px_circuit_at(it);
        if (o != c && o->state != PX_CIRCUIT_OPEN && px_circuit_is_standin(o) &&
            px_addr_eq(&o->replaces, &c->replaces))
            px_circuit_end(o);
    }
}

void px_standin_on_open(struct px_circuit *c)
{
    end_siblings(c);
    if (!px_peers_link_on(c->set->config.peers, &c->peer, &c->replaces))
        px_circuit_end(c); /* too late: the link is elsewhere already, or gone */
}

/* A call for a link was in vain. Who lost a direct path asks again if it still wants a circuit. */
static void standin_failed(struct px_relays *set, const struct px_circuit *c, px_nsec now)
{
    unsigned tries = c->tries + px_relay_usable(c->relay); /* else another one has its place */
    if (is_under_way(set, &c->replaces) || try_next(set, &c->peer, &c->replaces, tries, now))
        return;
    if (px_addr_is_circuit(&c->replaces))
        renew(set, &c->peer, &c->replaces, now + RENEW_PAUSE);
}

void px_standin_on_ended(struct px_relays *set, const struct px_circuit *was, px_nsec now)
{
    if (was->state == PX_CIRCUIT_OPEN && was->caller &&
        px_peers_link_on(set->config.peers, &was->peer, &was->addr))
        renew(set, &was->peer, &was->addr, now);
    else if (px_circuit_is_standin(was) &&
             px_peers_link_on(set->config.peers, &was->peer, &was->replaces))
        standin_failed(set, was, now);
}

/* ---- what was lost ---- */

void px_node_circuits_doubt(struct px_relays *set, const struct px_relay *r, px_nsec now)
{
    PX_LIST_EACH(it, &set->circuits) {
        struct px_circuit *c = px_circuit_at(it);
        if (c->relay == r && c->state == PX_CIRCUIT_OPEN && c->caller &&
            px_peers_link_on(set->config.peers, &c->peer, &c->addr))
            renew(set, &c->peer, &c->addr, now);
    }
}

void px_node_circuits_lost(struct px_relays *set, const struct px_relay *r, px_nsec now)
{
    px_node_circuits_doubt(set, r, now);
    PX_LIST_EACH(it, &set->circuits) {
        struct px_circuit *c = px_circuit_at(it);
        if (c->relay == r && c->state == PX_CIRCUIT_OPEN)
            c->end_at = PX_MIN(c->end_at, now + PX_RELAYS_CIRCUIT_GRACE); /* unless it is used */
    }
}

void px_standin_on_lost(void *ctx, const struct px_peer_id *id, const struct px_addr *remote,
                        bool client)
{
    struct px_relays *set = ctx;
    px_nsec now = px_now_io();
    const struct px_circuit *old = px_circuit_find(set, remote);
    bool first = old != NULL ? old->caller : client;
    if (old != NULL && old->state == PX_CIRCUIT_OPEN)
        px_relay_doubt(old->relay, now);
    if (count_usable(set) == 0 || is_under_way(set, remote) || set->closing)
        return;
    struct px_circuit *c = stand_in(set, id, remote, 0, now + (first ? 0 : PX_RELAYS_LOST_TURN));
    if (c != NULL)
        c->yields = !first;
}

/* ---- moving the link ---- */

/* Does it stand in for the one the peer's link is on: that is gone, or the same side had called it?
 * Both may have called at once; then the link stays where it came up. */
static bool supersedes(const struct px_circuit *c)
{
    struct px_addr remote;
    if (!px_peers_link_remote(c->set->config.peers, &c->peer, &remote) ||
        !px_addr_is_circuit(&remote) || px_addr_eq(&remote, &c->addr))
        return false;
    const struct px_circuit *old = px_circuit_find(c->set, &remote);
    return old == NULL || old->caller == c->caller;
}

/* Asks the peer on the new circuit until its link is there: the other end may not know yet that it
 * is open. A link that is well where it is, is left there. */
void px_circuit_prefer(struct px_circuit *c, px_nsec now)
{
    struct px_peers *peers = c->set->config.peers;
    if (supersedes(c))
        px_peers_prefer(peers, &c->peer, &c->addr);
    else
        px_peers_suggest(peers, &c->peer, &c->addr);
    bool there = px_peers_link_on(peers, &c->peer, &c->addr);
    c->prefer_at = !there && ++c->preferred < PREFER_MAX ? now + PREFER_GAP : PX_NEVER;
    if (c->prefer_at != PX_NEVER)
        return;
    const struct px_addr replaces = c->replaces;
    struct px_addr remote;
    bool standin = px_circuit_is_standin(c);
    c->replaces = (struct px_addr){0};
    if (there || !(standin || px_peers_link_remote(peers, &c->peer, &remote)))
        return;
    c->end_at = now + PX_RELAYS_CIRCUIT_GRACE; /* in vain: the link is well elsewhere */
    if (px_addr_is_circuit(&replaces) && px_circuit_find(c->set, &replaces) == NULL)
        renew(c->set, &c->peer, &replaces, now + RENEW_PAUSE);
}

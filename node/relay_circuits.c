/* Circuits through relays, as addresses (docs/spec/paths.md §9): called and answered, their packets
 * in and out, replaced when they end under a link that lives, ended when nobody uses them. */
#include <stdlib.h>
#include <string.h>

#include "node/relays_internal.h"

#define SEND_MAX    65000        /* bytes of one send, below what UDP takes */
#define ADMIT_TIME  (8 * PX_SEC) /* a call waits so long for the relay to admit us */
#define ADMIT_POLL  (50 * PX_MSEC)
#define RENEW_PAUSE PX_SEC
#define PREFER_GAP  (300 * PX_MSEC)
#define PREFER_MAX  10

static struct px_circuit *from_node(struct px_list *node)
{
    return PX_CONTAINER_OF(node, struct px_circuit, node);
}

static struct px_relay *relay_at(struct px_list *node)
{
    return PX_CONTAINER_OF(node, struct px_relay, node);
}

static struct px_circuit *find(const struct px_relays *set, const struct px_addr *addr)
{
    PX_LIST_EACH(it, &set->circuits)
        if (px_addr_eq(&from_node(it)->addr, addr))
            return from_node(it);
    return NULL;
}

static struct px_circuit *circuit_new(struct px_relays *set, const struct px_peer_id *peer)
{
    struct px_circuit *c =
        set->circuit_count >= PX_RELAYS_CIRCUITS_MAX ? NULL : calloc(1, sizeof(*c));
    if (c == NULL)
        return NULL;
    c->set = set;
    c->peer = *peer;
    px_addr_circuit(++set->last_circuit, &c->addr);
    c->end_at = c->prefer_at = c->turn_at = PX_NEVER;
    px_list_push_back(&set->circuits, &c->node);
    set->circuit_count++;
    return c;
}

static void circuit_free(struct px_circuit *c)
{
    px_circuit_queue_deinit(&c->queue);
    px_list_remove(&c->node);
    c->set->circuit_count--;
    free(c);
}

/* Answers what node/peers asked, once. */
static void tell(struct px_circuit *c, int err)
{
    if (!c->wanted)
        return;
    c->wanted = false;
    px_peers_circuit(c->set->config.peers, &c->peer, c->token, err == 0 ? &c->addr : NULL, err);
}

static void log_circuit(const struct px_circuit *c, const char *event, const char *status)
{
    char peer[PX_PEER_ID_TEXT_MAX], addr[PX_ADDR_TEXT_MAX];
    px_log_event(c->set->config.log, PX_LOG_INFO, event, PX_F_STR("relay", c->relay->label),
                 PX_F_STR("peer", px_peer_id_format(&c->peer, peer)),
                 PX_F_STR("circuit", px_addr_format(&c->addr, addr)),
                 PX_F_STR("called_by", c->caller ? "us" : "peer"), PX_F_STR("status", status));
}

/* A link must not be torn down by our hand. */
static void end(struct px_circuit *c)
{
    if (c->state == PX_CIRCUIT_OPEN)
        log_circuit(c, "circuit.ended", "OK");
    if (c->leg != NULL)
        px_relay_leg_end(c->leg);
    tell(c, PX_ECLOSED);
    circuit_free(c);
}

/* ---- calls ---- */

static int on_call(void *ctx, const struct px_peer_id *id, const char *label, bool alone,
                   uint64_t token)
{
    struct px_relays *set = ctx;
    px_nsec wait = alone ? 0 : PX_RELAYS_HEAD_START;
    struct px_relay *relay = NULL;
    PX_LIST_EACH(it, &set->all) {
        if (strcmp(relay_at(it)->label, label) == 0 &&
            (px_relay_usable(relay_at(it)) || relay_at(it)->admit)) {
            relay = relay_at(it);
            break;
        }
        wait += px_relay_usable(relay_at(it)) ? PX_RELAYS_TURN : 0;
    }
    if (relay == NULL)
        return PX_EOFFLINE;
    struct px_circuit *c = circuit_new(set, id);
    if (c == NULL)
        return PX_ELIMIT;
    c->caller = c->wanted = true;
    c->token = token;
    c->relay = relay;
    c->call_at = px_now_io() + wait;
    c->give_up_at = c->call_at + ADMIT_TIME;
    px_relay_records_ask(relay, id, px_now_io());
    return 0;
}

static bool is_standin(const struct px_circuit *c)
{
    return c->replaces.family != PX_ADDR_NONE;
}

static bool is_under_way(const struct px_relays *set, const struct px_addr *replaces)
{
    PX_LIST_EACH(it, &set->circuits)
        if (px_addr_eq(&from_node(it)->replaces, replaces))
            return true;
    return false;
}

static struct px_circuit *stand_in(struct px_relays *set, const struct px_peer_id *peer,
                                   const struct px_addr *replaces, unsigned tries, px_nsec at)
{
    struct px_circuit *c = set->closing ? NULL : circuit_new(set, peer);
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

static size_t count_usable(const struct px_relays *set)
{
    size_t n = 0;
    PX_LIST_EACH(it, &set->all)
        n += px_relay_usable(relay_at(it));
    return n;
}

/* The relays take turns, that of the circuit to be replaced last. */
static struct px_relay *choose_relay(const struct px_circuit *c)
{
    const struct px_circuit *old = find(c->set, &c->replaces);
    struct px_relay *last = NULL;
    size_t n = count_usable(c->set), turn = n > 0 ? c->tries % n : 0;
    PX_LIST_EACH(it, &c->set->all) {
        struct px_relay *r = relay_at(it);
        if (!px_relay_usable(r))
            continue;
        if (old != NULL && old->relay == r)
            last = r;
        else if (turn-- == 0)
            return r;
    }
    return last;
}

/* Has the peer called, or been called, besides? */
static bool has_other(const struct px_circuit *c)
{
    PX_LIST_EACH(it, &c->set->circuits) {
        const struct px_circuit *o = from_node(it);
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

/* The next relay, if there is one that was not tried. */
static bool try_next(struct px_relays *set, const struct px_peer_id *peer,
                     const struct px_addr *replaces, unsigned tries, px_nsec now)
{
    return tries < count_usable(set) && stand_in(set, peer, replaces, tries, now) != NULL;
}

static void call_standin(struct px_circuit *c, px_nsec now)
{
    c->relay = is_wanted(c) ? choose_relay(c) : NULL;
    if (c->relay == NULL && (!px_addr_is_circuit(&c->replaces) || !is_wanted(c))) {
        circuit_free(c); /* whose direct path is lost asks again */
        return;
    }
    c->call_at = now + RENEW_PAUSE;
    if (c->relay == NULL || px_relay_client_call(c->relay->client, &c->peer, c, now, &c->leg) != 0)
        return;
    c->state = PX_CIRCUIT_CALLING;
    c->turn_at = now + PX_RELAYS_TURN;
}

/* It is time to call; c may be gone afterwards. */
static void call(struct px_circuit *c, px_nsec now)
{
    struct px_peers *peers = c->set->config.peers;
    if (is_standin(c)) {
        call_standin(c, now);
        return;
    }
    if (px_peers_is_connected(peers, &c->peer)) {
        tell(c, PX_ECANCELED);
        circuit_free(c);
        return;
    }
    if (c->relay->admit && !px_relay_usable(c->relay) && now < c->give_up_at) {
        c->call_at = now + ADMIT_POLL;
        return;
    }
    int err = px_relay_usable(c->relay)
                  ? px_relay_client_call(c->relay->client, &c->peer, c, now, &c->leg)
                  : PX_EOFFLINE;
    if (err == 0) {
        c->state = PX_CIRCUIT_CALLING;
    } else {
        tell(c, err);
        circuit_free(c);
    }
}

void px_circuit_on_ring(void *ctx, struct px_relay_leg *leg, const struct px_peer_id *caller)
{
    struct px_relay *r = ctx;
    struct px_circuit *c = !r->set->closing && px_peers_may_come(r->set->config.peers, caller)
                               ? circuit_new(r->set, caller)
                               : NULL;
    if (c != NULL) {
        c->state = PX_CIRCUIT_CALLING;
        c->relay = r;
        c->leg = leg;
        px_relay_leg_set_user(leg, c);
    } else {
        char peer[PX_PEER_ID_TEXT_MAX];
        px_log_event(r->set->config.log, PX_LOG_DEBUG, "circuit.declined",
                     PX_F_STR("relay", r->label),
                     PX_F_STR("peer", px_peer_id_format(caller, peer)));
    }
    px_relay_leg_answer(leg, c != NULL, px_now_io());
}

/* One of several calls was answered. */
static void end_siblings(struct px_circuit *c)
{
    PX_LIST_EACH(it, &c->set->circuits) {
        struct px_circuit *o = from_node(it);
        if (o != c && o->state != PX_CIRCUIT_OPEN && is_standin(o) &&
            px_addr_eq(&o->replaces, &c->replaces))
            end(o);
    }
}

void px_circuit_on_open(void *ctx, struct px_relay_leg *leg)
{
    struct px_circuit *c = px_relay_leg_user(leg);
    px_nsec now = px_now_io();
    (void)ctx;
    uint64_t burst, rate = px_relay_leg_rate(leg, &burst);
    c->state = PX_CIRCUIT_OPEN;
    px_circuit_queue_init(&c->queue, rate, burst, now);
    c->used_at = now;
    px_relay_doubt(c->relay, now); /* is asked more often from now on */
    if (!c->wanted)
        c->prefer_at = now;
    log_circuit(c, "circuit.open", "OK");
    tell(c, 0);
    if (!is_standin(c))
        return;
    end_siblings(c);
    if (!px_peers_link_on(c->set->config.peers, &c->peer, &c->replaces))
        end(c); /* too late: the link is elsewhere already, or gone */
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

void px_circuit_on_ended(void *ctx, struct px_relay_leg *leg, enum px_relay_status why)
{
    struct px_circuit *c = px_relay_leg_user(leg);
    struct px_relays *set = c->set;
    px_nsec now = px_now_io();
    (void)ctx;
    c->leg = NULL;
    int err = px_relay_status_error(why);
    tell(c, err != 0 ? err : PX_ECLOSED);
    struct px_circuit was = *c;
    if (c->state == PX_CIRCUIT_OPEN)
        log_circuit(c, "circuit.ended", px_relay_status_name(why));
    circuit_free(c);
    if (was.state == PX_CIRCUIT_OPEN && was.caller &&
        px_peers_link_on(set->config.peers, &was.peer, &was.addr))
        renew(set, &was.peer, &was.addr, now);
    else if (is_standin(&was) && px_peers_link_on(set->config.peers, &was.peer, &was.replaces))
        standin_failed(set, &was, now);
}

void px_node_circuits_doubt(struct px_relays *set, const struct px_relay *r, px_nsec now)
{
    PX_LIST_EACH(it, &set->circuits) {
        struct px_circuit *c = from_node(it);
        if (c->relay == r && c->state == PX_CIRCUIT_OPEN && c->caller &&
            px_peers_link_on(set->config.peers, &c->peer, &c->addr))
            renew(set, &c->peer, &c->addr, now);
    }
}

void px_node_circuits_lost(struct px_relays *set, const struct px_relay *r, px_nsec now)
{
    px_node_circuits_doubt(set, r, now);
    PX_LIST_EACH(it, &set->circuits) {
        struct px_circuit *c = from_node(it);
        if (c->relay == r && c->state == PX_CIRCUIT_OPEN)
            c->end_at = PX_MIN(c->end_at, now + PX_RELAYS_CIRCUIT_GRACE); /* unless it is used */
    }
}

static void on_lost(void *ctx, const struct px_peer_id *id, const struct px_addr *remote,
                    bool client)
{
    struct px_relays *set = ctx;
    px_nsec now = px_now_io();
    const struct px_circuit *old = find(set, remote);
    bool first = old != NULL ? old->caller : client;
    if (old != NULL && old->state == PX_CIRCUIT_OPEN)
        px_relay_doubt(old->relay, now);
    if (count_usable(set) == 0 || is_under_way(set, remote) || set->closing)
        return;
    struct px_circuit *c = stand_in(set, id, remote, 0, now + (first ? 0 : PX_RELAYS_LOST_TURN));
    if (c != NULL)
        c->yields = !first;
}

/* ---- packets ---- */

/* One copy: the header goes before each datagram. */
static int send_some(struct px_circuit *c, unsigned ecn, struct px_slice data, size_t segment)
{
    uint8_t scratch[65536];
    uint8_t header[PX_RELAY_HEADER_LEN];
    size_t len = 0;
    px_relay_leg_header(c->leg, header);
    while (data.len > 0) {
        struct px_slice one = px_slice_take(data, segment);
        memcpy(scratch + len, header, sizeof(header));
        memcpy(scratch + len + sizeof(header), one.data, one.len);
        len += sizeof(header) + one.len;
        data = px_slice_skip(data, one.len);
    }
    return px_peers_send(c->set->config.peers, &c->relay->path, ecn, px_slice(scratch, len),
                         segment + sizeof(header));
}

/* In pieces that one send may carry. */
static int send_all(struct px_circuit *c, unsigned ecn, struct px_slice data, size_t segment)
{
    size_t piece = SEND_MAX / (segment + PX_RELAY_HEADER_LEN) * segment;
    px_assert(segment > 0 && piece > 0);
    for (bool first = true; data.len > 0; first = false) {
        struct px_slice some = px_slice_take(data, piece);
        int err = send_some(c, ecn, some, segment);
        if (err == PX_EAGAIN && !first)
            return 0; /* what was sent must not be sent again */
        if (err != 0)
            return err;
        data = px_slice_skip(data, some.len);
    }
    c->used_at = px_now_io();
    px_relay_leg_sent(c->leg, c->used_at);
    return 0;
}

static int on_send(void *ctx, const struct px_path *path, unsigned ecn, struct px_slice data,
                   size_t segment)
{
    struct px_circuit *c = find(ctx, &path->remote);
    if (c == NULL || c->state != PX_CIRCUIT_OPEN ||
        !px_circuit_queue_offer(&c->queue, data, segment, ecn, px_now_io()))
        return 0; /* waits, or is lost on the way */
    int err = send_all(c, ecn, data, segment);
    if (err == PX_EAGAIN)
        px_circuit_queue_refund(&c->queue, data.len);
    return err;
}

/* What waited for its turn. A full socket loses it: the next one has to wait as well. */
static void send_waiting(struct px_circuit *c, px_nsec now)
{
    struct px_circuit_batch *b;
    while ((b = px_circuit_queue_take(&c->queue, now)) != NULL) {
        (void)send_all(c, b->ecn, px_slice(b->data, b->len), b->segment);
        free(b);
    }
}

static size_t on_batch(void *ctx, const struct px_path *path, unsigned ecn, uint8_t *data,
                       size_t len, size_t segment)
{
    struct px_relays *set = ctx;
    size_t one = PX_MIN(segment, len);
    if (len == 0 || !px_relay_is_packet(data[0]))
        return 0;
    if (data[0] == PX_RELAY_PROBE) {
        px_relay_reach_on_probe(set, &path->remote, px_slice(data, one));
        return one;
    }
    PX_LIST_EACH(it, &set->all) {
        struct px_relay *r = relay_at(it);
        if (!r->has_path || !px_addr_eq(&r->path.remote, &path->remote))
            continue;
        r->ecn = ecn;
        (void)px_relay_client_packet(r->client, px_slice(data, one), px_now_io());
    }
    return one;
}

void px_circuit_on_data(void *ctx, struct px_relay_leg *leg, struct px_slice payload)
{
    const struct px_relay *r = ctx;
    struct px_circuit *c = px_relay_leg_user(leg);
    c->used_at = px_now_io();
    px_peers_carried(r->set->config.peers, &c->addr, r->ecn, payload);
}

/* ---- what node/peers says and asks ---- */

static bool on_look(void *ctx, const struct px_addr *addr, struct px_circuit_view *ret)
{
    const struct px_circuit *c = find(ctx, addr);
    if (c == NULL || c->state != PX_CIRCUIT_OPEN)
        return false;
    *ret = (struct px_circuit_view){.name = c->relay->label,
                                    .id = c->relay->entry.id,
                                    .addr = c->relay->path.remote,
                                    .rtt = c->relay->rtt};
    return true;
}

static void on_left(void *ctx, const struct px_addr *addr)
{
    struct px_circuit *c = find(ctx, addr);
    if (c != NULL)
        c->end_at = px_now_io() + PX_RELAYS_CIRCUIT_GRACE;
}

static void on_network_changed(void *ctx)
{
    struct px_relays *set = ctx;
    px_nsec now = px_now_io();
    PX_LIST_EACH(it, &set->all) {
        struct px_relay *r = relay_at(it);
        px_relay_client_network_changed(r->client, now);
        px_dial_plan_reset(&r->plan, &px_system_rng, now);
        px_relay_records_changed(r, now);
        px_relay_pipe_network_changed(r, now);
        if (r->state == PX_RELAY_UP)
            r->ping_at = PX_MIN(r->ping_at, now);
    }
}

const struct px_circuit_ops px_relays_circuit_ops = {
    .call = on_call,
    .send = on_send,
    .batch = on_batch,
    .look = on_look,
    .left = on_left,
    .lost = on_lost,
    .network_changed = on_network_changed,
};

/* ---- time and ends ---- */

/* Does it stand in for the one the peer's link is on: that is gone, or the same side had called it?
 * Both may have called at once; then the link stays where it came up. */
static bool supersedes(const struct px_circuit *c)
{
    struct px_addr remote;
    if (!px_peers_link_remote(c->set->config.peers, &c->peer, &remote) ||
        !px_addr_is_circuit(&remote) || px_addr_eq(&remote, &c->addr))
        return false;
    const struct px_circuit *old = find(c->set, &remote);
    return old == NULL || old->caller == c->caller;
}

/* Asks the peer on the new circuit until its link is there: the other end may not know yet that it
 * is open. A link that is well where it is, is left there. */
static void prefer(struct px_circuit *c, px_nsec now)
{
    struct px_peers *peers = c->set->config.peers;
    if (supersedes(c))
        px_peers_prefer(peers, &c->peer, &c->addr);
    else
        px_peers_suggest(peers, &c->peer, &c->addr);
    bool there = px_peers_link_on(peers, &c->peer, &c->addr);
    c->prefer_at = !there && ++c->preferred < PREFER_MAX ? now + PREFER_GAP : PX_NEVER;
    if (c->prefer_at != PX_NEVER || !is_standin(c))
        return;
    const struct px_addr replaces = c->replaces;
    c->replaces = (struct px_addr){0};
    if (there)
        return;
    c->end_at = now + PX_RELAYS_CIRCUIT_GRACE; /* in vain */
    if (px_addr_is_circuit(&replaces) && find(c->set, &replaces) == NULL)
        renew(c->set, &c->peer, &replaces, now + RENEW_PAUSE);
}

static void run_open(struct px_circuit *c, px_nsec now)
{
    send_waiting(c, now);
    if (now >= c->prefer_at)
        prefer(c, now);
    if (now < PX_MIN(c->end_at, c->used_at + PX_RELAYS_CIRCUIT_IDLE))
        return;
    if (now < c->used_at + PX_RELAYS_CIRCUIT_IDLE &&
        px_peers_link_on(c->set->config.peers, &c->peer, &c->addr))
        c->end_at = PX_NEVER; /* another link took it up */
    else
        end(c);
}

/* No answer so far: another relay may have a better way to the peer. */
static void take_turn(struct px_circuit *c, px_nsec now)
{
    c->turn_at = PX_NEVER;
    if (is_wanted(c))
        (void)try_next(c->set, &c->peer, &c->replaces, c->tries + 1, now);
}

void px_node_circuits_run(struct px_relays *set, px_nsec now)
{
    PX_LIST_EACH(it, &set->circuits) {
        struct px_circuit *c = from_node(it);
        if (c->state == PX_CIRCUIT_WAITING && now >= c->call_at)
            call(c, now);
        else if (c->state == PX_CIRCUIT_CALLING && now >= c->turn_at)
            take_turn(c, now);
        else if (c->state == PX_CIRCUIT_OPEN)
            run_open(c, now);
    }
}

px_nsec px_node_circuits_deadline(const struct px_relays *set)
{
    px_nsec at = PX_NEVER;
    PX_LIST_EACH(it, &set->circuits) {
        const struct px_circuit *c = from_node(it);
        if (c->state == PX_CIRCUIT_WAITING)
            at = PX_MIN(at, c->call_at);
        else if (c->state == PX_CIRCUIT_CALLING)
            at = PX_MIN(at, c->turn_at);
        else if (c->state == PX_CIRCUIT_OPEN)
            at = PX_MIN(PX_MIN(PX_MIN(at, c->prefer_at), px_circuit_queue_deadline(&c->queue)),
                        PX_MIN(c->end_at, c->used_at + PX_RELAYS_CIRCUIT_IDLE));
    }
    return at;
}

size_t px_node_circuits_of(const struct px_relays *set, const struct px_relay *r)
{
    size_t n = 0;
    PX_LIST_EACH(it, &set->circuits)
        n += from_node(it)->relay == r && from_node(it)->state == PX_CIRCUIT_OPEN;
    return n;
}

void px_node_circuits_end(struct px_relays *set, const struct px_relay *r)
{
    PX_LIST_EACH(it, &set->circuits)
        if (r == NULL || from_node(it)->relay == r)
            end(from_node(it));
}

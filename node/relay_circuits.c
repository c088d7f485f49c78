/* Circuits through relays, as addresses (docs/spec/paths.md §9): called and answered, their packets
 * in and out, ended when nobody uses them. What stands in for one that ended under a link that
 * lives is relay_standins.c's. */
#include <stdlib.h>
#include <string.h>

#include "node/relays_internal.h"

#define SEND_MAX   65000        /* bytes of one send, below what UDP takes */
#define ADMIT_TIME (8 * PX_SEC) /* a call waits so long for the relay to admit us */
#define ADMIT_POLL (50 * PX_MSEC)

struct px_circuit *px_circuit_find(const struct px_relays *set, const struct px_addr *addr)
{
    PX_LIST_EACH(it, &set->circuits)
        if (px_addr_eq(&px_circuit_at(it)->addr, addr))
            return px_circuit_at(it);
    return NULL;
}

struct px_circuit *px_circuit_new(struct px_relays *set, const struct px_peer_id *peer)
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

void px_circuit_free(struct px_circuit *c)
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
void px_circuit_end(struct px_circuit *c)
{
    if (c->state == PX_CIRCUIT_OPEN)
        log_circuit(c, "circuit.ended", "OK");
    if (c->leg != NULL)
        px_relay_leg_end(c->leg);
    tell(c, PX_ECLOSED);
    px_circuit_free(c);
}

/* ---- calls ---- */

static int on_call(void *ctx, const struct px_peer_id *id, const char *label, bool alone,
                   uint64_t token)
{
    struct px_relays *set = ctx;
    px_nsec wait = alone ? 0 : PX_RELAYS_HEAD_START;
    struct px_relay *relay = NULL;
    PX_LIST_EACH(it, &set->all) {
        if (strcmp(px_relay_at(it)->label, label) == 0 &&
            (px_relay_usable(px_relay_at(it)) || px_relay_at(it)->admit)) {
            relay = px_relay_at(it);
            break;
        }
        wait += px_relay_usable(px_relay_at(it)) ? PX_RELAYS_TURN : 0;
    }
    if (relay == NULL)
        return PX_EOFFLINE;
    struct px_circuit *c = px_circuit_new(set, id);
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

/* It is time to call; c may be gone afterwards. */
static void call(struct px_circuit *c, px_nsec now)
{
    struct px_peers *peers = c->set->config.peers;
    if (px_circuit_is_standin(c)) {
        px_standin_call(c, now);
        return;
    }
    if (px_peers_is_connected(peers, &c->peer)) {
        tell(c, PX_ECANCELED);
        px_circuit_free(c);
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
        px_circuit_free(c);
    }
}

void px_circuit_on_ring(void *ctx, struct px_relay_leg *leg, const struct px_peer_id *caller)
{
    struct px_relay *r = ctx;
    struct px_circuit *c = !r->set->closing && px_peers_may_come(r->set->config.peers, caller)
                               ? px_circuit_new(r->set, caller)
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
    if (px_circuit_is_standin(c))
        px_standin_on_open(c);
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
    px_circuit_free(c);
    px_standin_on_ended(set, &was, now);
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
    struct px_circuit *c = px_circuit_find(ctx, &path->remote);
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
        struct px_relay *r = px_relay_at(it);
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
    const struct px_circuit *c = px_circuit_find(ctx, addr);
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
    struct px_circuit *c = px_circuit_find(ctx, addr);
    if (c != NULL)
        c->end_at = px_now_io() + PX_RELAYS_CIRCUIT_GRACE;
}

static void on_network_changed(void *ctx)
{
    struct px_relays *set = ctx;
    px_nsec now = px_now_io();
    PX_LIST_EACH(it, &set->all) {
        struct px_relay *r = px_relay_at(it);
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
    .lost = px_standin_on_lost,
    .network_changed = on_network_changed,
};

/* ---- time and ends ---- */

static void run_open(struct px_circuit *c, px_nsec now)
{
    send_waiting(c, now);
    if (now >= c->prefer_at)
        px_circuit_prefer(c, now);
    if (now < PX_MIN(c->end_at, c->used_at + PX_RELAYS_CIRCUIT_IDLE))
        return;
    if (now < c->used_at + PX_RELAYS_CIRCUIT_IDLE &&
        px_peers_link_on(c->set->config.peers, &c->peer, &c->addr))
        c->end_at = PX_NEVER; /* another link took it up */
    else
        px_circuit_end(c);
}

void px_node_circuits_run(struct px_relays *set, px_nsec now)
{
    PX_LIST_EACH(it, &set->circuits) {
        struct px_circuit *c = px_circuit_at(it);
        if (c->state == PX_CIRCUIT_WAITING && now >= c->call_at)
            call(c, now);
        else if (c->state == PX_CIRCUIT_CALLING && now >= c->turn_at)
            px_standin_take_turn(c, now);
        else if (c->state == PX_CIRCUIT_OPEN)
            run_open(c, now);
    }
}

px_nsec px_node_circuits_deadline(const struct px_relays *set)
{
    px_nsec at = PX_NEVER;
    PX_LIST_EACH(it, &set->circuits) {
        const struct px_circuit *c = px_circuit_at(it);
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
        n += px_circuit_at(it)->relay == r && px_circuit_at(it)->state == PX_CIRCUIT_OPEN;
    return n;
}

void px_node_circuits_end(struct px_relays *set, const struct px_relay *r)
{
    PX_LIST_EACH(it, &set->circuits)
        if (r == NULL || px_circuit_at(it)->relay == r)
            px_circuit_end(px_circuit_at(it));
}

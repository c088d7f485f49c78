/* Circuits coming and going. What becomes of packets: circuit_packets.c. */
#include <stdlib.h>

#include "relay/circuits_internal.h"

static struct px_circuit *from_all(struct px_list *node)
{
    return PX_CONTAINER_OF(node, struct px_circuit, all);
}

static struct px_circuit_leg *from_party(struct px_list *node)
{
    return PX_CONTAINER_OF(node, struct px_circuit_leg, in_party);
}

static void set_state(struct px_circuit *c, enum px_circuit_state to)
{
    static const bool allowed[][PX_CIRCUIT_ENDED + 1] = {
        [PX_CIRCUIT_PENDING] = {[PX_CIRCUIT_OPEN] = true, [PX_CIRCUIT_ENDED] = true},
        [PX_CIRCUIT_OPEN] = {[PX_CIRCUIT_ENDED] = true},
        [PX_CIRCUIT_ENDED] = {false},
    };
    px_assert(allowed[c->state][to]);
    c->state = to;
}

int px_circuits_new(const struct px_circuits_config *config, struct px_circuits **ret)
{
    struct px_circuits *cs = calloc(1, sizeof(*cs));
    if (cs == NULL)
        return PX_ENOMEM;
    cs->config = *config;
    cs->sweep_at = PX_NEVER;
    px_list_init(&cs->all);
    config->rng.fill(config->rng.ctx, cs->secret, sizeof(cs->secret));
    int err = px_map_init(&cs->legs, &config->rng);
    if (err == 0)
        err = px_map_init(&cs->parties, &config->rng);
    if (err != 0) {
        px_circuits_free(cs);
        return err;
    }
    *ret = cs;
    return 0;
}

void px_circuits_set_limits(struct px_circuits *cs, size_t per_peer, px_nsec idle,
                            px_nsec bind_time)
{
    cs->config.per_peer = per_peer;
    cs->config.idle = idle;
    cs->config.bind_time = bind_time;
}

static struct px_circuit_party *find_party(const struct px_circuits *cs,
                                           const struct px_peer_id *id)
{
    struct px_map_node *n = px_map_find(&cs->parties, px_slice(id->key, sizeof(id->key)));
    return n == NULL ? NULL : PX_CONTAINER_OF(n, struct px_circuit_party, by_id);
}

uint64_t px_circuit_burst(uint64_t rate)
{
    return PX_MAX(rate / 5, (uint64_t)PX_CIRCUIT_BURST_MIN); /* 200 ms */
}

/* SPEC relay §7: the rate of a node follows its fastest circuit, so that a slow one with a stranger
 * does not hold up the others. 0 is no bound. */
static void raise_rate(struct px_circuit_party *p, uint64_t rate, px_nsec now)
{
    uint64_t whole =
        rate > UINT64_MAX / PX_CIRCUIT_PEER_RATE_FOLD ? 0 : rate * PX_CIRCUIT_PEER_RATE_FOLD;
    bool is_new = p->count == 0;
    if (is_new || (p->bucket.rate != 0 && (whole == 0 || whole > p->bucket.rate)))
        px_token_bucket_init(&p->bucket, whole, px_circuit_burst(whole), now);
}

static struct px_circuit_party *get_party(struct px_circuits *cs, const struct px_peer_id *id,
                                          uint64_t rate, px_nsec now)
{
    struct px_circuit_party *p = find_party(cs, id);
    if (p == NULL) {
        p = calloc(1, sizeof(*p));
        if (p == NULL)
            return NULL;
        p->id = *id;
        px_list_init(&p->legs);
        px_map_insert(&cs->parties, &p->by_id, px_slice(p->id.key, sizeof(p->id.key)));
    }
    raise_rate(p, rate, now);
    return p;
}

static void drop_party(struct px_circuits *cs, struct px_circuit_party *p)
{
    if (p == NULL || p->count > 0)
        return;
    px_map_remove(&cs->parties, &p->by_id);
    free(p);
}

static void free_circuit(struct px_circuit *c)
{
    struct px_circuits *cs = c->owner;
    px_list_remove(&c->all);
    for (int i = 0; i < 2; i++) {
        struct px_circuit_leg *l = &c->leg[i];
        px_map_remove(&cs->legs, &l->by_id);
        px_list_remove(&l->in_party);
        l->party->count--;
        drop_party(cs, l->party);
        px_wipe(&l->key, sizeof(l->key));
    }
    cs->stats.circuits--;
    free(c);
}

void px_circuits_free(struct px_circuits *cs)
{
    if (cs == NULL)
        return;
    PX_LIST_EACH(it, &cs->all)
        free_circuit(from_all(it));
    px_map_deinit(&cs->legs);
    px_map_deinit(&cs->parties);
    px_wipe(cs->secret, sizeof(cs->secret));
    free(cs);
}

/* ---- opening ---- */

static void choose_id(struct px_circuits *cs, struct px_relay_leg_id *ret)
{
    static const struct px_relay_leg_id none;
    do {
        cs->config.rng.fill(cs->config.rng.ctx, ret->bytes, sizeof(ret->bytes));
    } while (px_relay_leg_eq(ret, &none) ||
             px_map_find(&cs->legs, px_slice(ret->bytes, sizeof(ret->bytes))) != NULL);
}

static void init_leg(struct px_circuit *c, enum px_circuit_side side,
                     struct px_circuit_party *party, px_nsec now)
{
    struct px_circuit_leg *l = &c->leg[side];
    l->circuit = c;
    l->party = party;
    l->seen_at = now;
    choose_id(c->owner, &l->id);
    px_relay_leg_key(px_slice(c->params.binding[side], PX_CIRCUIT_BINDING_LEN), &l->id, &l->key);
    px_token_bucket_init(&l->bucket, c->params.rate, px_circuit_burst(c->params.rate), now);
    px_token_bucket_init(&l->hellos, PX_CIRCUIT_HELLOS, PX_CIRCUIT_HELLOS, now);
    px_map_insert(&c->owner->legs, &l->by_id, px_slice(l->id.bytes, sizeof(l->id.bytes)));
    px_list_push_back(&party->legs, &l->in_party);
    party->count++;
}

static void replace_older(struct px_circuits *cs, const struct px_circuit_params *params)
{
    struct px_circuit_party *p = find_party(cs, &params->peer[PX_CIRCUIT_CALLER]);
    struct px_circuit *older = NULL;
    if (p == NULL)
        return;
    PX_LIST_EACH(it, &p->legs) {
        struct px_circuit *c = from_party(it)->circuit;
        if (from_party(it) == &c->leg[PX_CIRCUIT_CALLER] &&
            px_peer_id_eq(&c->params.peer[PX_CIRCUIT_CALLEE], &params->peer[PX_CIRCUIT_CALLEE]))
            older = c;
    }
    if (older != NULL)
        px_circuit_end(older, PX_RELAY_PEER_ENDED);
}

bool px_circuits_room(const struct px_circuits *cs, const struct px_peer_id *caller,
                      const struct px_peer_id *callee)
{
    return px_circuits_count(cs, caller) < cs->config.per_peer &&
           px_circuits_count(cs, callee) < cs->config.per_peer;
}

int px_circuits_open(struct px_circuits *cs, const struct px_circuit_params *params, px_nsec now,
                     struct px_circuit **ret)
{
    struct px_circuit_party *party[2];
    if (px_peer_id_eq(&params->peer[0], &params->peer[1]))
        return PX_EINVAL;
    replace_older(cs, params);
    if (!px_circuits_room(cs, &params->peer[0], &params->peer[1]))
        return PX_ELIMIT;
    struct px_circuit *c = calloc(1, sizeof(*c));
    for (int i = 0; i < 2; i++)
        party[i] = c == NULL ? NULL : get_party(cs, &params->peer[i], params->rate, now);
    if (c == NULL || party[0] == NULL || party[1] == NULL) {
        free(c);
        drop_party(cs, find_party(cs, &params->peer[0]));
        drop_party(cs, find_party(cs, &params->peer[1]));
        return PX_ENOMEM;
    }
    c->owner = cs;
    c->params = *params;
    c->made_at = now;
    init_leg(c, PX_CIRCUIT_CALLER, party[0], now);
    init_leg(c, PX_CIRCUIT_CALLEE, party[1], now);
    px_wipe(c->params.binding, sizeof(c->params.binding));
    px_list_push_back(&cs->all, &c->all);
    cs->stats.circuits++;
    if (cs->sweep_at == PX_NEVER)
        cs->sweep_at = now + PX_CIRCUIT_SWEEP;
    *ret = c;
    return 0;
}

void px_circuit_maybe_open(struct px_circuit *c, px_nsec now)
{
    if (c->state != PX_CIRCUIT_PENDING || !c->consented || !c->leg[0].bound || !c->leg[1].bound)
        return;
    set_state(c, PX_CIRCUIT_OPEN);
    c->opened_at = now;
    c->owner->stats.open++;
    c->owner->config.ops->opened(c->owner->config.ctx, c);
}

void px_circuit_consent(struct px_circuit *c, px_nsec now)
{
    c->consented = true;
    px_circuit_maybe_open(c, now);
}

/* ---- ending ---- */

void px_circuit_end(struct px_circuit *c, enum px_relay_status why)
{
    if (c->state == PX_CIRCUIT_ENDED)
        return;
    if (c->state == PX_CIRCUIT_OPEN)
        c->owner->stats.open--;
    set_state(c, PX_CIRCUIT_ENDED);
    c->owner->config.ops->ended(c->owner->config.ctx, c, why);
    free_circuit(c);
}

void px_circuits_end_unwelcome(struct px_circuits *cs,
                               bool (*welcome)(void *ctx, const struct px_peer_id *id), void *ctx,
                               enum px_relay_status why)
{
    PX_LIST_EACH(it, &cs->all) {
        struct px_circuit *c = from_all(it);
        if (!welcome(ctx, &c->params.peer[0]) || !welcome(ctx, &c->params.peer[1]))
            px_circuit_end(c, why);
    }
}

void px_circuits_end_all(struct px_circuits *cs, enum px_relay_status why)
{
    PX_LIST_EACH(it, &cs->all)
        px_circuit_end(from_all(it), why);
}

/* What is wrong with it now; OK for nothing. */
static enum px_relay_status overdue(const struct px_circuit *c, px_nsec now)
{
    const struct px_circuits_config *config = &c->owner->config;
    if (c->state == PX_CIRCUIT_PENDING) {
        if (now - c->made_at < config->bind_time)
            return PX_RELAY_OK;
        return c->consented ? PX_RELAY_CONNECTION_FAILED : PX_RELAY_NO_ANSWER;
    }
    if (c->params.time > 0 && now - c->opened_at >= c->params.time)
        return PX_RELAY_TIME_USED;
    for (int i = 0; i < 2; i++)
        if (now - c->leg[i].seen_at >= config->idle)
            return PX_RELAY_IDLE;
    return PX_RELAY_OK;
}

void px_circuits_run(struct px_circuits *cs, px_nsec now)
{
    if (now < cs->sweep_at)
        return;
    PX_LIST_EACH(it, &cs->all) {
        enum px_relay_status why = overdue(from_all(it), now);
        if (why != PX_RELAY_OK)
            px_circuit_end(from_all(it), why);
    }
    cs->sweep_at = px_list_empty(&cs->all) ? PX_NEVER : now + PX_CIRCUIT_SWEEP;
}

px_nsec px_circuits_deadline(const struct px_circuits *cs)
{
    return cs->sweep_at;
}

/* ---- looking ---- */

size_t px_circuits_count(const struct px_circuits *cs, const struct px_peer_id *peer)
{
    const struct px_circuit_party *p = find_party(cs, peer);
    return p == NULL ? 0 : p->count;
}

const struct px_relay_leg_id *px_circuit_leg(const struct px_circuit *c, enum px_circuit_side side)
{
    return &c->leg[side].id;
}

const struct px_peer_id *px_circuit_peer(const struct px_circuit *c, enum px_circuit_side side)
{
    return &c->params.peer[side];
}

const struct px_circuit_params *px_circuit_params_of(const struct px_circuit *c)
{
    return &c->params;
}

bool px_circuit_is_open(const struct px_circuit *c)
{
    return c->state == PX_CIRCUIT_OPEN;
}

uint64_t px_circuit_bytes(const struct px_circuit *c, enum px_circuit_side side)
{
    return c->leg[side].bytes;
}

struct px_circuit *px_circuits_find(const struct px_circuits *cs, const struct px_relay_leg_id *leg,
                                    enum px_circuit_side *ret_side)
{
    struct px_map_node *n = px_map_find(&cs->legs, px_slice(leg->bytes, sizeof(leg->bytes)));
    if (n == NULL)
        return NULL;
    const struct px_circuit_leg *l = PX_CONTAINER_OF(n, struct px_circuit_leg, by_id);
    *ret_side = l == &l->circuit->leg[0] ? PX_CIRCUIT_CALLER : PX_CIRCUIT_CALLEE;
    return l->circuit;
}

void px_circuits_stats(const struct px_circuits *cs, struct px_circuits_stats *ret)
{
    *ret = cs->stats;
}

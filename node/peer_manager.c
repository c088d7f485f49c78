/* The set of peers, its timers, the allowlist, and what the overlay says. */
#include <stdlib.h>
#include <string.h>

#include "node/peer_manager_internal.h"

static struct px_slice key_of(const struct px_peer_id *id)
{
    return px_slice(id->key, sizeof(id->key));
}

static struct px_peer *from_node(struct px_list *node)
{
    return PX_CONTAINER_OF(node, struct px_peer, node);
}

/* ---- peer objects ---- */

struct px_peer *px_peer_manager_find(const struct px_peer_manager *m, const struct px_peer_id *id)
{
    struct px_map_node *n = px_map_find(&m->by_id, key_of(id));
    return n != NULL ? PX_CONTAINER_OF(n, struct px_peer, by_id) : NULL;
}

int px_peer_add(struct px_peer_manager *m, const struct px_peer_id *id, px_nsec now,
                struct px_peer **ret)
{
    struct px_peer *p;
    int err = px_heap_reserve(&m->timers, m->by_id.count + 1);
    if (err != 0)
        return err;
    p = calloc(1, sizeof(*p));
    if (p == NULL)
        return PX_ENOMEM;
    p->manager = m;
    p->id = *id;
    px_peer_id_format(id, p->id_text);
    px_dial_plan_init(&p->plan, now);
    px_list_init(&p->waiters);
    px_map_insert(&m->by_id, &p->by_id, key_of(&p->id));
    px_list_push_back(&m->all, &p->node);
    *ret = p;
    return 0;
}

static void remove_peer(struct px_peer *p)
{
    struct px_peer_manager *m = p->manager;
    px_peer_end_round(p, NULL);
    px_heap_remove(&m->timers, &p->timer);
    px_map_remove(&m->by_id, &p->by_id);
    px_list_remove(&p->node);
    px_peer_addrs_deinit(&p->addrs);
    free(p);
}

static bool is_unused(const struct px_peer *p)
{
    return !p->listed && p->link == NULL && p->call == NULL;
}

void px_peer_close_link(struct px_peer *p, enum px_close_code code)
{
    if (p->link == NULL || p->closing)
        return;
    p->closing = true;
    p->manager->config.ops->close(p->manager->config.ctx, p->link, code);
}

/* ---- timers ---- */

static px_nsec next_time(const struct px_peer *p)
{
    px_nsec next = PX_NEVER;
    if (p->manager->stopping)
        return PX_NEVER;
    if (is_unused(p) || px_peer_owes_news(p))
        return 0;
    if (p->link != NULL && p->guest && !p->closing)
        next = p->guest_until;
    if (p->link != NULL && p->ours)
        next = PX_MIN(next, p->good_again_at);
    if (p->race != NULL) {
        if (px_dial_race_over(p->race))
            return 0;
        next = PX_MIN(next, px_dial_race_deadline(p->race));
    }
    if (p->plan.state == PX_DIAL_WAITING && p->addrs.count > 0 && px_peer_wants_dial(p))
        next = PX_MIN(next, p->plan.due);
    return next;
}

void px_peer_schedule(struct px_peer *p)
{
    px_nsec next = next_time(p);
    if (next == PX_NEVER)
        px_heap_remove(&p->manager->timers, &p->timer);
    else
        px_heap_set(&p->manager->timers, &p->timer, next);
}

px_nsec px_peer_manager_deadline(const struct px_peer_manager *m)
{
    const struct px_heap_node *top = px_heap_top(&m->timers);
    return top != NULL ? top->key : PX_NEVER;
}

/* The address our dial reached the peer at is good; the one it came from is worth a dial. */
static void learn_addr(struct px_peer *p, const struct px_addr *addr, bool proven, px_nsec now)
{
    const struct px_peer_manager_config *c = &p->manager->config;
    bool is_new;
    int err;
    p->good_again_at = now + PX_GOOD_AGAIN;
    if (!p->listed || px_addr_is_circuit(addr)) /* nothing to come back to */
        return;
    if (!proven) {
        err = px_peer_addrs_found(&p->addrs, addr, PX_SOURCE_SEEN, now, &is_new);
        (void)err; /* it is only a hint */
        return;
    }
    err = px_peer_addrs_good(&p->addrs, addr, (int64_t)now);
    if (err == 0)
        c->ops->good(c->ctx, p, addr);
}

/* After a cut, or at the start, thousands may be due: each dial is a socket's worth of memory, and
 * nobody could come in. Whoever is waited for does not queue. */
static bool has_turn(const struct px_peer *p)
{
    return p->manager->rounds < PX_ROUNDS_MAX || p->call != NULL || !px_list_empty(&p->waiters);
}

/* What is due for one peer. */
static void work(struct px_peer *p, px_nsec now)
{
    if (p->link != NULL && p->guest && now >= p->guest_until)
        /* one that is listed by now comes back as such */
        px_peer_close_link(p, p->listed ? PX_CLOSE_NONE : PX_CLOSE_UNLISTED);
    if (p->link != NULL && p->ours && now >= p->good_again_at)
        learn_addr(p, &p->remote, true, now);
    if (px_peer_wants_dial(p) && p->plan.state == PX_DIAL_WAITING) {
        px_peer_addrs_expire(&p->addrs, now);
        if (p->addrs.count > 0 && p->plan.due <= now && !has_turn(p))
            px_dial_plan_put_off(&p->plan, &p->manager->config.rng, now);
        else if (p->addrs.count > 0 && px_dial_plan_due(&p->plan, now))
            px_peer_start_round(p, now);
    }
    if (p->race != NULL)
        px_peer_step_round(p, now);
    if (px_peer_owes_news(p))
        px_peer_tell_up(p);
}

void px_peer_manager_run(struct px_peer_manager *m, px_nsec now)
{
    struct px_heap_node *top;
    while ((top = px_heap_top(&m->timers)) != NULL && top->key <= now) {
        struct px_peer *p = PX_CONTAINER_OF(top, struct px_peer, timer);
        work(p, now);
        if (is_unused(p))
            remove_peer(p);
        else
            px_peer_schedule(p);
    }
}

/* ---- the allowlist ---- */

static void unlist(struct px_peer *p, px_nsec now)
{
    const struct px_peer_manager_config *c = &p->manager->config;
    p->listed = false;
    p->held = false;
    px_peer_close_link(p, PX_CLOSE_REVOKED);
    if (p->race != NULL) {
        px_peer_end_round(p, NULL);
        px_dial_plan_failed(&p->plan, c->dial_max, &c->rng, now);
    }
    px_peer_addrs_deinit(&p->addrs);
    c->ops->forgotten(c->ctx, &p->id);
    px_peer_tell_failed(p, PX_EUNLISTED);
    px_peer_schedule(p);
}

static void count_guest(struct px_peer *p, bool counted)
{
    if (counted && !p->counted)
        p->manager->guests++;
    else if (!counted && p->counted)
        p->manager->guests--;
    p->counted = counted;
}

/* True when a way is new or gone. */
static bool take_relays(struct px_peer *p)
{
    const struct px_peer_manager *m = p->manager;
    bool changed;
    int err = px_peer_addrs_set_relays(&p->addrs, (const char(*)[PX_AUTH_ADDR_MAX])m->relays,
                                       m->relay_count, &changed);
    return err == 0 && changed;
}

void px_peer_manager_relays(struct px_peer_manager *m, const char (*names)[PX_AUTH_ADDR_MAX],
                            size_t count, px_nsec now)
{
    m->relay_count = PX_MIN(count, (size_t)PX_ADDRS_RELAYS_MAX);
    memcpy(m->relays, names, m->relay_count * sizeof(m->relays[0]));
    PX_LIST_EACH(it, &m->all) {
        struct px_peer *p = from_node(it);
        if (!p->listed || !take_relays(p))
            continue;
        if (p->link == NULL && m->relay_count > 0)
            px_dial_plan_hurry(&p->plan, &m->config.rng, now);
        if (p->race != NULL)
            px_peer_enter_all(p);
        px_peer_schedule(p);
    }
}

static void take_entry(struct px_peer *p, const struct px_authorized_key *k, px_nsec now)
{
    bool changed, is_new = !p->listed;
    int err = px_peer_addrs_set_manual(&p->addrs, k->addrs, k->addr_count, &changed);
    (void)err; /* without memory some addresses are missing */
    memcpy(p->name, k->name, sizeof(p->name));
    p->listed = true;
    count_guest(p, false);
    if (is_new)
        (void)take_relays(p);
    if (is_new || changed) {
        p->held = false;
        px_dial_plan_soon(&p->plan, now);
        if (p->race != NULL)
            px_peer_enter_all(p);
    }
    px_peer_schedule(p);
}

void px_peer_manager_reload(struct px_peer_manager *m, const struct px_authorized_keys *keys,
                            px_nsec now)
{
    PX_LIST_EACH(it, &m->all) {
        struct px_peer *p = from_node(it);
        if (p->listed && px_authorized_keys_find(keys, &p->id) == NULL)
            unlist(p, now);
    }
    for (size_t i = 0; i < px_authorized_keys_count(keys); i++) {
        const struct px_authorized_key *k = px_authorized_keys_at(keys, i);
        struct px_peer *p = px_peer_manager_find(m, &k->id);
        if (px_peer_id_eq(&k->id, &m->config.self))
            continue; /* a list shared between machines names each of them */
        if (p != NULL || px_peer_add(m, &k->id, now, &p) == 0)
            take_entry(p, k, now);
    }
}

int px_peer_manager_remember(struct px_peer_manager *m, const struct px_peer_id *id,
                             const struct px_addr *addr, px_nsec ago, px_nsec now)
{
    struct px_peer *p = px_peer_manager_find(m, id);
    if (p == NULL || !p->listed)
        return PX_ENOENT;
    if (!px_addr_dialable(addr))
        return PX_EADDR;
    ago = PX_MIN(ago, (px_nsec)INT64_MAX);
    int err = px_peer_addrs_good(&p->addrs, addr, (int64_t)now - (int64_t)ago);
    px_peer_schedule(p);
    return err;
}

/* ---- what the overlay says ---- */

/* Of the guests nobody vouched for the one that came first; NULL: none. Strangers must not keep out
 * the one who is waited for, so the newest always comes in. */
static struct px_peer *guest_to_go(const struct px_peer_manager *m)
{
    struct px_peer *first = NULL;
    for (struct px_list *it = m->all.next; it != &m->all; it = it->next) {
        struct px_peer *p = from_node(it);
        if (p->counted && !p->vouched && p->call == NULL &&
            (first == NULL || p->up_at < first->up_at))
            first = p;
    }
    return first;
}

static void make_way(struct px_peer_manager *m)
{
    struct px_peer *old = m->guests >= PX_GUESTS_MAX ? guest_to_go(m) : NULL;
    if (old == NULL)
        return;
    count_guest(old, false);
    px_peer_close_link(old, PX_CLOSE_BUSY);
}

static bool may_be_guest(const struct px_peer_manager *m, const struct px_peer *p,
                         const struct px_peer_id *id)
{
    if (p != NULL && p->call != NULL) /* we asked for it */
        return true;
    return (m->guests < PX_GUESTS_MAX || guest_to_go(m) != NULL) &&
           m->config.ops->guest(m->config.ctx, id);
}

int px_peer_manager_authorize(const struct px_peer_manager *m, const struct px_peer_id *id)
{
    const struct px_peer *p = px_peer_manager_find(m, id);
    if (p == NULL || (!p->listed && p->call == NULL))
        return PX_EUNLISTED;
    return p->held && p->call == NULL ? PX_EHELD : 0;
}

bool px_peer_manager_welcomes(const struct px_peer_manager *m, const struct px_peer_id *id)
{
    return may_be_guest(m, px_peer_manager_find(m, id), id);
}

bool px_peer_manager_calls(const struct px_peer_manager *m, const struct px_peer_id *id)
{
    const struct px_peer *p = px_peer_manager_find(m, id);
    return p != NULL && p->call != NULL;
}

static void begin_link(struct px_peer *p, struct px_link *link, bool ours, px_nsec now)
{
    px_assert(p->link == NULL);
    p->link = link;
    p->ours = ours;
    p->closing = p->redial = false;
    p->up_at = now;
    p->guest = !p->listed;
    p->guest_until = now + PX_GUEST_TIME;
    p->vouched = false;
    count_guest(p, p->guest);
    px_peer_end_round(p, link);
    px_dial_plan_up(&p->plan, now);
    p->last_err = 0;
}

void px_peer_manager_up(struct px_peer_manager *m, struct px_link *link,
                        const struct px_peer_id *id, const struct px_addr *remote, bool ours,
                        px_nsec now)
{
    const struct px_peer_manager_config *c = &m->config;
    struct px_peer *p = px_peer_manager_find(m, id);
    if ((p == NULL || !p->listed) && !may_be_guest(m, p, id)) {
        c->ops->close(c->ctx, link, PX_CLOSE_REVOKED); /* removed since the handshake's check */
        return;
    }
    if (p != NULL && p->held && p->call == NULL && !may_be_guest(m, p, id)) { /* so is this */
        c->ops->close(c->ctx, link, PX_CLOSE_HELD);
        return;
    }
    if (p == NULL && px_peer_add(m, id, now, &p) != 0) {
        c->ops->close(c->ctx, link, PX_CLOSE_INTERNAL);
        return;
    }
    if (!p->listed)
        make_way(m);
    begin_link(p, link, ours, now);
    p->held = false; /* it comes to be paired anew, or we called it */
    p->remote = *remote;
    learn_addr(p, remote, ours, now);
    px_peer_addrs_take_back(&p->addrs);
    c->ops->connected(c->ctx, p);
    px_peer_tell_up(p);
    px_peer_schedule(p);
}

static void end_link(struct px_peer *p, int err, bool by_peer, px_nsec now)
{
    const struct px_peer_manager_config *c = &p->manager->config;
    bool good_bye = by_peer && err == PX_ECLOSED;
    c->ops->disconnected(c->ctx, p, err, by_peer);
    if (good_bye && !p->ours) /* it knows the way and left on purpose */
        px_peer_addrs_unsee(&p->addrs);
    else
        learn_addr(p, &p->remote, p->ours, now); /* it was good, or seen, until now */
    p->link = NULL;
    p->last_err = err;
    count_guest(p, false);
    px_dial_plan_ended(&p->plan, p->closing || good_bye, c->dial_max, &c->rng, now);
    if (p->held)
        px_dial_plan_hold(&p->plan);
    else if (p->redial || p->guest)
        px_dial_plan_soon(&p->plan, now);
    p->guest = p->closing = p->redial = false;
    px_peer_tell_down(p, err);
}

void px_peer_manager_down(struct px_peer_manager *m, struct px_link *link,
                          const struct px_peer_id *id, int err, bool by_peer, px_nsec now)
{
    struct px_peer *p = px_peer_manager_find(m, id);
    if (p == NULL)
        return;
    if (p->link == link)
        end_link(p, err, by_peer, now);
    else
        px_peer_attempt_ended(p, link, err, now);
    px_peer_schedule(p);
}

void px_peer_manager_moved(struct px_peer_manager *m, const struct px_peer_id *id,
                           const struct px_addr *remote, px_nsec now)
{
    struct px_peer *p = px_peer_manager_find(m, id);
    if (p == NULL || p->link == NULL || px_addr_eq(&p->remote, remote))
        return;
    p->remote = *remote;
    learn_addr(p, remote, p->ours, now);
}

void px_peer_manager_network_changed(struct px_peer_manager *m, px_nsec now)
{
    PX_LIST_EACH(it, &m->all) {
        struct px_peer *p = from_node(it);
        px_peer_addrs_forget_failures(&p->addrs);
        px_dial_plan_reset(&p->plan, &m->config.rng, now);
        if (p->race != NULL)
            px_peer_restart_round(p, now);
        px_peer_schedule(p);
    }
}

void px_peer_manager_found(struct px_peer_manager *m, const struct px_peer_id *id,
                           const struct px_addr *addr, enum px_source source, px_nsec now)
{
    const struct px_peer_manager_config *c = &m->config;
    struct px_peer *p = px_peer_manager_find(m, id);
    bool is_new;
    if (p == NULL || !p->listed || px_peer_addrs_found(&p->addrs, addr, source, now, &is_new) != 0)
        return;
    if (is_new)
        c->ops->found(c->ctx, p, addr, source);
    px_dial_plan_hurry(&p->plan, &c->rng, now);
    if (is_new && p->race != NULL)
        px_peer_enter_all(p);
    px_peer_schedule(p);
}

/* ---- the set ---- */

void px_peer_manager_each(struct px_peer_manager *m, void (*fn)(void *ctx, struct px_peer *p),
                          void *ctx)
{
    PX_LIST_EACH(it, &m->all)
        fn(ctx, from_node(it));
}

int px_peer_manager_new(const struct px_peer_manager_config *config, struct px_peer_manager **ret)
{
    struct px_peer_manager *m = calloc(1, sizeof(*m));
    if (m == NULL)
        return PX_ENOMEM;
    m->config = *config;
    px_list_init(&m->all);
    px_list_init(&m->calls);
    px_heap_init(&m->timers);
    int err = px_map_init(&m->by_id, &config->rng);
    if (err != 0) {
        free(m);
        return err;
    }
    *ret = m;
    return 0;
}

void px_peer_manager_shutdown(struct px_peer_manager *m)
{
    m->stopping = true;
    PX_LIST_EACH(it, &m->all) {
        struct px_peer *p = from_node(it);
        px_peer_end_round(p, NULL);
        px_peer_tell_failed(p, PX_ECLOSED);
        if (p->call != NULL)
            px_peer_tell_down(p, PX_ECLOSED);
        px_peer_schedule(p);
    }
}

void px_peer_manager_free(struct px_peer_manager *m)
{
    if (m == NULL)
        return;
    px_peer_manager_shutdown(m);
    PX_LIST_EACH(it, &m->all)
        remove_peer(from_node(it));
    px_map_deinit(&m->by_id);
    px_heap_deinit(&m->timers);
    free(m);
}

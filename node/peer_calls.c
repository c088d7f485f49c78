/* What others want of a peer: connect and hang up, the links of guests, information. */
#include <stdlib.h>
#include <string.h>

#include "node/peer_manager_internal.h"

const char *px_peer_state_name(enum px_peer_state s)
{
    switch (s) {
    case PX_PEER_OFFLINE:
        return "offline";
    case PX_PEER_WAITING:
        return "waiting";
    case PX_PEER_CONNECTING:
        return "connecting";
    case PX_PEER_GUEST:
        return "guest";
    case PX_PEER_CONNECTED:
        return "connected";
    case PX_PEER_HELD:
        return "held";
    }
    return "?";
}

/* ---- those who wait ---- */

static bool is_up(const struct px_peer *p)
{
    return p->link != NULL && !p->closing;
}

/* A guest's link is not what px_peer_manager_connect is about. */
static bool is_connected(const struct px_peer *p)
{
    return is_up(p) && !p->guest;
}

bool px_peer_owes_news(const struct px_peer *p)
{
    return (is_connected(p) && !px_list_empty(&p->waiters)) ||
           (is_up(p) && p->call != NULL && !p->call->handed_out);
}

/* Each may ask for something new meanwhile, which is not told in this go. */
static void tell_waiters(struct px_peer *p, int err)
{
    struct px_list told;
    px_list_init(&told);
    while (!px_list_empty(&p->waiters)) {
        struct px_list *node = p->waiters.next;
        px_list_remove(node);
        px_list_push_back(&told, node);
    }
    while (!px_list_empty(&told)) {
        struct px_peer_waiter *w = PX_CONTAINER_OF(told.next, struct px_peer_waiter, node);
        void (*done)(void *, int) = w->done;
        void *ctx = w->ctx;
        px_list_remove(&w->node);
        free(w);
        done(ctx, err);
    }
}

static void forget_call(struct px_guest_call *call)
{
    call->peer->call = NULL;
    call->peer->manager->call_count--;
    px_list_remove(&call->node);
    free(call);
}

void px_peer_tell_up(struct px_peer *p)
{
    struct px_guest_call *call = p->call;
    if (call != NULL && !call->handed_out) {
        call->handed_out = true;
        call->ops.up(call->ctx, p->link);
    }
    if (is_connected(p))
        tell_waiters(p, 0);
}

/* Forgets the call first: its owner may make another. */
static void tell_call(struct px_peer *p, int err)
{
    const struct px_guest_call call = *p->call;
    forget_call(p->call);
    if (call.handed_out)
        call.ops.down(call.ctx, err);
    else
        call.ops.failed(call.ctx, err);
}

void px_peer_tell_failed(struct px_peer *p, int err)
{
    if (p->call != NULL && !p->call->handed_out)
        tell_call(p, err);
    tell_waiters(p, err);
}

void px_peer_tell_down(struct px_peer *p, int err)
{
    if (p->call != NULL && p->call->handed_out)
        tell_call(p, err);
}

/* ---- connect and hang up ---- */

/* The link of before its listing makes way for that of a listed peer, unless it is in use. */
static void renew_soon(struct px_peer *p, px_nsec now)
{
    if (p->listed && p->guest && p->call == NULL)
        p->guest_until = PX_MIN(p->guest_until, now + PX_GUEST_GRACE);
}

static size_t count_waiters(const struct px_peer *p)
{
    size_t n = 0;
    for (const struct px_list *it = p->waiters.next; it != &p->waiters; it = it->next)
        n++;
    return n;
}

/* Gets the peer dialled as soon as that makes sense. */
static void dial_soon(struct px_peer *p, px_nsec now)
{
    p->held = false;
    if (p->link != NULL) {
        p->redial = true;
        return;
    }
    px_dial_plan_soon(&p->plan, now);
    if (p->race != NULL)
        px_peer_enter_all(p);
}

int px_peer_manager_connect(struct px_peer_manager *m, const struct px_peer_id *id,
                            const char *addr, void (*done)(void *ctx, int err), void *ctx,
                            px_nsec now)
{
    struct px_peer *p = px_peer_manager_find(m, id);
    int err = 0;
    if (p == NULL || !p->listed)
        return PX_ENOENT;
    if (m->stopping || count_waiters(p) >= PX_PEER_WAITERS_MAX)
        return PX_EBUSY;
    if (addr != NULL)
        err = px_peer_addrs_give(&p->addrs, addr);
    else if (p->link == NULL && p->addrs.count == 0)
        err = PX_EOFFLINE;
    if (err != 0)
        return err == PX_ELIMIT ? PX_EBUSY : err;
    struct px_peer_waiter *w = malloc(sizeof(*w));
    if (w == NULL)
        return PX_ENOMEM;
    *w = (struct px_peer_waiter){.done = done, .ctx = ctx};
    px_list_push_back(&p->waiters, &w->node);
    if (is_connected(p))
        px_peer_addrs_take_back(&p->addrs);
    else
        dial_soon(p, now);
    renew_soon(p, now);
    p->held = false;
    px_peer_schedule(p);
    return 0;
}

void px_peer_manager_renew(struct px_peer_manager *m, const struct px_peer_id *id)
{
    struct px_peer *p = px_peer_manager_find(m, id);
    if (p == NULL || p->link == NULL)
        return;
    p->redial = true;
    px_peer_close_link(p, PX_CLOSE_NONE);
    px_peer_schedule(p);
}

int px_peer_manager_disconnect(struct px_peer_manager *m, const struct px_peer_id *id, px_nsec now)
{
    struct px_peer *p = px_peer_manager_find(m, id);
    (void)now;
    if (p == NULL || (!p->listed && p->link == NULL))
        return PX_ENOENT;
    p->held = p->listed;
    p->redial = false;
    px_peer_close_link(p, PX_CLOSE_NONE);
    px_peer_end_round(p, NULL);
    px_peer_addrs_take_back(&p->addrs);
    if (p->link == NULL)
        px_dial_plan_hold(&p->plan);
    px_peer_tell_failed(p, PX_ECANCELED);
    px_peer_schedule(p);
    return 0;
}

/* ---- guests we dial ---- */

static int new_call(struct px_peer *p, const struct px_guest_ops *ops, void *ctx)
{
    struct px_guest_call *call = malloc(sizeof(*call));
    if (call == NULL)
        return PX_ENOMEM;
    *call = (struct px_guest_call){.peer = p, .ops = *ops, .ctx = ctx};
    px_list_push_back(&p->manager->calls, &call->node);
    p->manager->call_count++;
    p->call = call;
    return 0;
}

/* PX_EADDR unless one at least is of use. */
static int give_all(struct px_peer *p, const char *const *addrs, size_t count)
{
    bool any = p->addrs.count > 0 || p->link != NULL;
    for (size_t i = 0; i < count; i++) {
        int err = px_peer_addrs_give(&p->addrs, addrs[i]);
        if (err != 0 && err != PX_EADDR && err != PX_ELIMIT)
            return err;
        any = any || err == 0;
    }
    return any ? 0 : PX_EADDR;
}

int px_peer_manager_dial_guest(struct px_peer_manager *m, const struct px_peer_id *id,
                               const char *const *addrs, size_t addr_count,
                               const struct px_guest_ops *ops, void *ctx, px_nsec now)
{
    struct px_peer *p = px_peer_manager_find(m, id);
    if (px_peer_id_eq(id, &m->config.self))
        return PX_ESELF;
    if (p != NULL && p->call != NULL)
        return PX_EBUSY;
    if (m->stopping || m->call_count >= PX_GUEST_DIALS_MAX)
        return PX_ELIMIT;
    int err = p != NULL ? 0 : px_peer_add(m, id, now, &p);
    if (err != 0)
        return err;
    err = give_all(p, addrs, addr_count);
    if (err == 0)
        err = new_call(p, ops, ctx);
    if (err != 0)
        px_peer_addrs_take_back(&p->addrs);
    else if (!is_up(p))
        dial_soon(p, now); /* and holds it no more */
    px_peer_schedule(p);   /* frees a peer that is new and of no use */
    return err;
}

void px_peer_manager_end_guest(struct px_peer_manager *m, void *ctx, px_nsec now)
{
    PX_LIST_EACH(it, &m->calls) {
        struct px_guest_call *call = PX_CONTAINER_OF(it, struct px_guest_call, node);
        struct px_peer *p = call->peer;
        if (call->ctx != ctx)
            continue;
        forget_call(call);
        if (p->listed) {
            if (p->ours) /* who dialled it knows the way */
                renew_soon(p, now);
        } else {
            px_peer_end_round(p, NULL);
            px_peer_close_link(p, PX_CLOSE_NONE);
        }
        px_peer_schedule(p);
    }
}

/* ---- information ---- */

static enum px_peer_state state_of(const struct px_peer *p)
{
    if (p->link != NULL)
        return p->guest ? PX_PEER_GUEST : PX_PEER_CONNECTED;
    if (p->race != NULL)
        return PX_PEER_CONNECTING;
    if (p->held)
        return PX_PEER_HELD;
    return p->addrs.count > 0 ? PX_PEER_WAITING : PX_PEER_OFFLINE;
}

static px_nsec since(px_nsec then, px_nsec now)
{
    return now > then ? now - then : 0;
}

static void addr_info(const struct px_known_addr *k, px_nsec now, struct px_peer_addr *ret)
{
    px_peer_addr_text(k, ret->text);
    ret->source = px_peer_addr_source(k);
    ret->last_good = k->was_good ? (px_nsec)PX_MAX((int64_t)now - k->good_at, 0) : PX_NEVER;
    ret->last_err = k->last_err;
}

void px_peer_manager_info(struct px_peer *p, px_nsec now, struct px_peer_info *ret)
{
    *ret = (struct px_peer_info){
        .id = p->id,
        .name = p->name,
        .listed = p->listed,
        .state = state_of(p),
        .link = p->link,
        .agent = "",
        .dialled_by_us = p->link != NULL && p->ours,
        .connected_for = p->link != NULL ? since(p->up_at, now) : 0,
        .next_dial = PX_NEVER,
        .last_err = p->last_err,
        .failures = p->plan.rounds,
    };
    px_peer_addrs_expire(&p->addrs, now);
    px_peer_addrs_sort(&p->addrs);
    if (ret->state == PX_PEER_WAITING)
        ret->next_dial = since(now, p->plan.due);
    for (size_t i = 0; i < p->addrs.count && i < PX_PEER_ADDRS_MAX; i++)
        addr_info(&p->addrs.all[i], now, &ret->addrs[ret->addr_count++]);
}

void px_peer_manager_keep_guest(struct px_peer_manager *m, const struct px_peer_id *id,
                                px_nsec time, px_nsec now)
{
    struct px_peer *p = px_peer_manager_find(m, id);
    if (p == NULL || p->link == NULL || !p->guest)
        return;
    p->guest_until = PX_MAX(p->guest_until, now + time);
    p->vouched = true;
    px_peer_schedule(p);
}

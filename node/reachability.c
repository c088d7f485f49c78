/* See reachability.h. Which address is asked about where and what it means: reachability_judge.c.
 */
#include "node/reachability.h"

#include <stdlib.h>

#include "node/reachability_internal.h"

static void set_step(struct px_reach_candidate *c, enum px_reach_step to)
{
    static const bool allowed[PX_REACH_STEPS][PX_REACH_STEPS] = {
        [PX_REACH_IDLE] = {[PX_REACH_DUE] = true},
        [PX_REACH_DUE] = {[PX_REACH_IDLE] = true, [PX_REACH_PROBING] = true},
        [PX_REACH_PROBING] = {[PX_REACH_IDLE] = true, [PX_REACH_DUE] = true},
    };
    px_assert(allowed[c->step][to]);
    c->step = to;
}

int px_reach_new(const struct px_reach_ops *ops, void *ctx, px_nsec now, struct px_reach **ret)
{
    struct px_reach *r = calloc(1, sizeof(*r));
    if (r == NULL)
        return PX_ENOMEM;
    r->ops = ops;
    r->ctx = ctx;
    r->again_at = now + PX_REACH_AGAIN;
    px_token_bucket_init(&r->paid, PX_SEC, PX_REACH_PAID_MAX * PX_REACH_PAID_AGAIN, now);
    *ret = r;
    return 0;
}

void px_reach_free(struct px_reach *r)
{
    free(r);
}

/* ---- what is asked about ---- */

static struct px_reach_candidate *find(struct px_reach *r, const struct px_addr *a)
{
    for (size_t i = 0; i < r->count; i++)
        if (px_addr_eq(&r->all[i].info.addr, a))
            return &r->all[i];
    return NULL;
}

static void make_due(struct px_reach_candidate *c, px_nsec at)
{
    c->tries = 0;
    c->due_at = c->step == PX_REACH_DUE ? PX_MIN(c->due_at, at) : at;
    c->again = c->step == PX_REACH_PROBING; /* the change came after the question */
    if (c->step == PX_REACH_IDLE)
        set_step(c, PX_REACH_DUE);
}

static void add(struct px_reach *r, const struct px_addr *a, enum px_reach_source source,
                px_nsec now)
{
    struct px_reach_candidate *c = find(r, a);
    if (a->family == PX_ADDR_NONE || a->port == 0 || px_addr_is_loopback(a) ||
        px_addr_is_virtual(a) || (c == NULL && r->count == PX_REACH_ADDRS_MAX))
        return;
    if (c == NULL) {
        c = &r->all[r->count++];
        *c = (struct px_reach_candidate){.info.addr = *a, .step = PX_REACH_IDLE};
        make_due(c, now + PX_REACH_SETTLE);
        r->dirty = true;
    }
    c->info.sources |= (unsigned)source;
}

static void drop(struct px_reach *r, size_t i)
{
    for (size_t k = 0; k < r->relay_count; k++)
        if (px_addr_eq(&r->relays[k].asked, &r->all[i].info.addr))
            r->relays[k].asked = (struct px_addr){0}; /* its answer is for nobody */
    memmove(&r->all[i], &r->all[i + 1], (r->count - i - 1) * sizeof(r->all[0]));
    r->count--;
    r->dirty = true;
}

/* Takes the source from all, `add` gives it back, then those without any go. */
static void begin(struct px_reach *r, enum px_reach_source source)
{
    for (size_t i = 0; i < r->count; i++)
        r->all[i].info.sources &= ~(unsigned)source;
}

static void finish(struct px_reach *r)
{
    for (size_t i = r->count; i-- > 0;)
        if (r->all[i].info.sources == 0)
            drop(r, i);
}

void px_reach_set(struct px_reach *r, enum px_reach_source source, const struct px_addr *addrs,
                  size_t count, px_nsec now)
{
    begin(r, source);
    for (size_t i = 0; i < count; i++)
        add(r, &addrs[i], source, now);
    finish(r);
}

static void set_observed(struct px_reach *r, px_nsec now)
{
    begin(r, PX_REACH_OBSERVED);
    for (size_t i = 0; i < r->relay_count; i++)
        if (px_reach_is_udp(&r->relays[i]))
            add(r, &r->relays[i].observed, PX_REACH_OBSERVED, now);
    finish(r);
}

static void all_due(struct px_reach *r, px_nsec at, px_nsec now)
{
    for (size_t i = 0; i < r->count; i++)
        make_due(&r->all[i], at);
    r->again_at = now + PX_REACH_AGAIN;
}

void px_reach_network_changed(struct px_reach *r, px_nsec now)
{
    all_due(r, now + PX_REACH_SETTLE, now);
}

void px_reach_check(struct px_reach *r, px_nsec now)
{
    all_due(r, now, now);
}

/* ---- relays ---- */

static struct px_reach_relay *find_relay(struct px_reach *r, const struct px_peer_id *id)
{
    for (size_t i = 0; i < r->relay_count; i++)
        if (px_peer_id_eq(&r->relays[i].id, id))
            return &r->relays[i];
    return NULL;
}

/* What nobody could be asked about may have its relay now; what one sees may be judged anew. */
static void reconsider(struct px_reach *r, px_nsec now)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->all[i].info.result == PX_REACH_UNKNOWN && r->all[i].step == PX_REACH_IDLE)
            make_due(&r->all[i], now + PX_REACH_SETTLE);
    r->dirty = true;
}

void px_reach_relay(struct px_reach *r, const struct px_peer_id *id, const struct px_addr *remote,
                    const struct px_addr *observed, px_nsec now)
{
    struct px_reach_relay *l = find_relay(r, id);
    if (l != NULL && px_addr_eq(&l->remote, remote) && px_addr_eq(&l->observed, observed))
        return;
    bool varied = px_reach_mapping(r) == PX_REACH_M_VARIES;
    if (l == NULL) {
        if (r->relay_count == PX_REACH_RELAYS_MAX)
            return;
        l = &r->relays[r->relay_count++];
        *l = (struct px_reach_relay){.id = *id};
        px_token_bucket_init(&l->probes, PX_REACH_PER_MINUTE, PX_REACH_BURST * 60, now);
    }
    l->remote = *remote;
    l->observed = *observed;
    set_observed(r, now);
    reconsider(r, now);
    if (!varied && px_reach_mapping(r) == PX_REACH_M_VARIES)
        all_due(r, now + PX_REACH_SETTLE, now); /* others must be asked than were */
}

/* Not the address's fault. */
static void try_later(struct px_reach_candidate *c, px_nsec at)
{
    bool more = ++c->tries < PX_REACH_TRIES;
    c->due_at = at;
    c->again = false;
    set_step(c, more ? PX_REACH_DUE : PX_REACH_IDLE);
}

void px_reach_relay_gone(struct px_reach *r, const struct px_peer_id *id, px_nsec now)
{
    struct px_reach_relay *l = find_relay(r, id);
    if (l == NULL)
        return;
    struct px_reach_candidate *c = find(r, &l->asked);
    if (c != NULL)
        try_later(c, now + PX_REACH_SETTLE);
    *l = r->relays[--r->relay_count];
    set_observed(r, now);
    r->dirty = true;
}

/* ---- answers ---- */

static void settle(struct px_reach *r, struct px_reach_candidate *c, const struct px_reach_relay *l,
                   enum px_reach_result result, px_nsec now)
{
    r->dirty = r->dirty || c->info.result != result;
    c->info.result = result;
    c->info.at = now;
    c->info.took = now - c->asked_at;
    c->info.by = l->id;
    set_step(c, c->again ? PX_REACH_DUE : PX_REACH_IDLE);
    c->again = false;
}

static void take_answer(struct px_reach *r, struct px_reach_relay *l, struct px_reach_candidate *c,
                        enum px_relay_status status, px_nsec now)
{
    /* a relay without that IP version cannot know */
    bool may_lack = l->observed.family != c->info.addr.family;
    if (status == PX_RELAY_OK) {
        settle(r, c, l, PX_REACH_REACHABLE, now);
    } else if (status == PX_RELAY_UNREACHABLE) {
        settle(r, c, l, may_lack ? PX_REACH_UNKNOWN : PX_REACH_UNREACHABLE, now);
    } else if (status == PX_RELAY_RATE_LIMITED || status == PX_RELAY_RESOURCE_LIMIT_EXCEEDED) {
        l->not_before = now + PX_REACH_REFUSED_PAUSE;
        try_later(c, l->not_before);
    } else if (status == PX_RELAY_NO_ANSWER) {
        try_later(c, now + PX_REACH_SETTLE);
    } else { /* PERMISSION_DENIED and the like: it will not be tried */
        settle(r, c, l, PX_REACH_UNKNOWN, now);
    }
}

static void tell(struct px_reach *r)
{
    enum px_reach_verdict v = px_reach_verdict(r, PX_ADDR_NONE);
    enum px_reach_mapping m = px_reach_mapping(r);
    if (!r->dirty && v == r->told && m == r->told_mapping)
        return;
    r->dirty = false;
    r->told = v;
    r->told_mapping = m;
    r->ops->changed(r->ctx);
}

void px_reach_answer(struct px_reach *r, const struct px_peer_id *id, enum px_relay_status status,
                     px_nsec now)
{
    struct px_reach_relay *l = find_relay(r, id);
    if (l == NULL || !l->busy)
        return;
    if (status == PX_RELAY_DATA_NEEDED && l->pays) /* it is under way */
        return;
    struct px_reach_candidate *c = find(r, &l->asked);
    if (status == PX_RELAY_DATA_NEEDED) /* the relay waits for it nevertheless */
        l->not_before = now + PX_REACH_REFUSED_PAUSE;
    l->busy = false;
    l->asked = (struct px_addr){0};
    if (c != NULL)
        take_answer(r, l, c, status, now);
    tell(r);
}

/* ---- questions ---- */

static void ask(struct px_reach *r, struct px_reach_candidate *c, struct px_reach_relay *l,
                bool pays, px_nsec now)
{
    set_step(c, PX_REACH_PROBING);
    c->asked_at = now;
    c->info.paid = pays;
    l->asked = c->info.addr;
    l->busy = true;
    l->pays = pays;
    if (r->ops->probe(r->ctx, &l->id, &c->info.addr, pays) == 0)
        return;
    l->busy = false;
    l->asked = (struct px_addr){0};
    try_later(c, now + PX_REACH_SETTLE);
}

/* When the relay may be asked again. */
static px_nsec ready_at(struct px_reach_relay *l, px_nsec now)
{
    if (now < l->not_before)
        return l->not_before;
    if (px_token_bucket_available(&l->probes, now) >= 60)
        return now;
    return now + PX_SEC; /* looked at again */
}

static void run_due(struct px_reach *r, struct px_reach_candidate *c, px_nsec now)
{
    struct px_reach_choice choice;
    if (!px_reach_choose(r, c, &choice)) {
        set_step(c, PX_REACH_IDLE);
        return;
    }
    if (choice.relay->busy)
        return; /* its answer comes first */
    c->due_at = ready_at(choice.relay, now);
    if (c->due_at > now)
        return;
    if (choice.pays && !px_token_bucket_try(&r->paid, PX_REACH_PAID_AGAIN, now)) {
        set_step(c, PX_REACH_IDLE); /* not worth more; the next round may ask */
        return;
    }
    px_token_bucket_take(&choice.relay->probes, 60);
    ask(r, c, choice.relay, choice.pays, now);
}

void px_reach_run(struct px_reach *r, px_nsec now)
{
    if (now >= r->again_at)
        all_due(r, now, now);
    for (size_t i = 0; i < r->count; i++)
        if (r->all[i].step == PX_REACH_DUE && now >= r->all[i].due_at)
            run_due(r, &r->all[i], now);
    tell(r);
}

px_nsec px_reach_deadline(const struct px_reach *r)
{
    px_nsec at = r->dirty ? 0 : r->again_at;
    struct px_reach_choice choice;
    for (size_t i = 0; i < r->count; i++)
        if (r->all[i].step == PX_REACH_DUE &&
            !(px_reach_choose(r, &r->all[i], &choice) && choice.relay->busy))
            at = PX_MIN(at, r->all[i].due_at);
    return at;
}

/* ---- what is known ---- */

bool px_reach_busy(const struct px_reach *r)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->all[i].step != PX_REACH_IDLE)
            return true;
    return false;
}

size_t px_reach_count(const struct px_reach *r)
{
    return r->count;
}

void px_reach_get(const struct px_reach *r, size_t i, struct px_reach_addr *ret)
{
    *ret = r->all[i].info;
    ret->probing = r->all[i].step == PX_REACH_PROBING;
}

enum px_reach_result px_reach_result(const struct px_reach *r, const struct px_addr *a)
{
    for (size_t i = 0; i < r->count; i++)
        if (px_addr_eq(&r->all[i].info.addr, a))
            return r->all[i].info.result;
    return PX_REACH_UNKNOWN;
}

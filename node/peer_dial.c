/* One round of dials to a peer: which addresses enter the race, what is started when, who lost. */
#include <stdlib.h>

#include "node/peer_manager_internal.h"

/* A round younger than this is not begun anew when the network changes again. */
#define ROUND_YOUNG PX_SEC

/* A token names the round and the host name in it, so that late answers are known as such. */
static uint64_t token_of(const struct px_peer *p, int name)
{
    return (uint64_t)p->race_number << 8 | (uint64_t)name;
}

bool px_peer_wants_dial(const struct px_peer *p)
{
    return !p->manager->stopping && ((p->listed && !p->held) || p->call != NULL);
}

static void enter_name(struct px_peer *p, const struct px_known_addr *k)
{
    const struct px_peer_manager_config *c = &p->manager->config;
    int name = px_dial_race_add_name(p->race, k->name, px_peer_addr_tier(k));
    if (name < 0)
        return;
    int err = c->ops->resolve(c->ctx, &p->id, k->name, token_of(p, name));
    if (err == 0)
        return;
    (void)px_dial_race_resolved(p->race, name, NULL, 0, err);
    px_peer_addrs_outcome(&p->addrs, NULL, k->name, err);
}

void px_peer_enter_all(struct px_peer *p)
{
    px_peer_addrs_sort(&p->addrs);
    for (size_t i = 0; i < p->addrs.count; i++) {
        const struct px_known_addr *k = &p->addrs.all[i];
        if (k->name != NULL)
            enter_name(p, k);
        else
            px_dial_race_add(p->race, &k->addr, px_peer_addr_tier(k), -1);
    }
}

void px_peer_start_round(struct px_peer *p, px_nsec now)
{
    px_assert(p->race == NULL);
    p->again = false;
    p->race = malloc(sizeof(*p->race));
    if (p->race == NULL) {
        px_dial_plan_failed(&p->plan, p->manager->config.dial_max, &p->manager->config.rng, now);
        px_peer_tell_failed(p, PX_ENOMEM);
        return;
    }
    p->manager->rounds++;
    p->race_number++;
    px_dial_race_init(p->race, now);
    px_peer_enter_all(p);
}

static const char *name_of(const struct px_dial_race *race, const struct px_runner *r)
{
    return r->name >= 0 ? race->names[r->name].text : NULL;
}

static void lose(struct px_peer *p, struct px_runner *r, int err, px_nsec now)
{
    const struct px_peer_manager_config *c = &p->manager->config;
    const char *name = name_of(p->race, r);
    px_dial_race_lost(p->race, r, err, now);
    px_peer_addrs_outcome(&p->addrs, &r->addr, name, err);
    c->ops->attempt_failed(c->ctx, p, &r->addr, name, err);
}

static void fail_round(struct px_peer *p, px_nsec now)
{
    const struct px_peer_manager_config *c = &p->manager->config;
    int err = p->race->err != 0 ? p->race->err : PX_EOFFLINE;
    px_peer_end_round(p, NULL);
    px_peer_addrs_take_back(&p->addrs);
    px_dial_plan_failed(&p->plan, c->dial_max, &c->rng, now);
    if (p->again)
        px_dial_plan_reset(&p->plan, &c->rng, now);
    p->last_err = err;
    if (p->listed)
        c->ops->round_failed(c->ctx, p, err);
    px_peer_tell_failed(p, err);
}

void px_peer_step_round(struct px_peer *p, px_nsec now)
{
    const struct px_peer_manager_config *c = &p->manager->config;
    struct px_runner *r;
    while ((r = px_dial_race_next(p->race, now)) != NULL) {
        struct px_link *link;
        int err = c->ops->usable(c->ctx, &r->addr);
        if (err == 0)
            err = c->ops->dial(c->ctx, &p->id, &r->addr, &link);
        if (err == 0)
            px_dial_race_started(p->race, r, link, now);
        else
            lose(p, r, err, now);
    }
    if (px_dial_race_over(p->race))
        fail_round(p, now);
}

void px_peer_end_round(struct px_peer *p, const struct px_link *winner)
{
    const struct px_peer_manager_config *c = &p->manager->config;
    struct px_dial_race *race = p->race;
    if (race == NULL)
        return;
    p->race = NULL;
    p->manager->rounds--;
    for (size_t i = 0; i < race->count; i++) {
        struct px_runner *r = &race->runners[i];
        if (r->state == PX_RUNNER_RUNNING && r->link != winner)
            c->ops->close(c->ctx, r->link, PX_CLOSE_DUPLICATE);
    }
    free(race);
}

void px_peer_manager_resolved(struct px_peer_manager *m, const struct px_peer_id *id,
                              uint64_t token, const struct px_addr *addrs, size_t count, int err,
                              px_nsec now)
{
    struct px_peer *p = px_peer_manager_find(m, id);
    int name = (int)(token & 0xff);
    (void)now;
    if (p == NULL || p->race == NULL || token != token_of(p, name))
        return;
    if (err == 0 && count == 0)
        err = PX_ENOENT;
    if (px_dial_race_resolved(p->race, name, addrs, count, err) && err != 0)
        px_peer_addrs_outcome(&p->addrs, NULL, p->race->names[name].text, err);
    px_peer_schedule(p);
}

void px_peer_attempt_ended(struct px_peer *p, const struct px_link *link, int err, px_nsec now)
{
    struct px_runner *r = p->race != NULL ? px_dial_race_find(p->race, link) : NULL;
    if (r != NULL) /* else one that lost the race, which we closed ourselves */
        lose(p, r, err, now);
}

void px_peer_restart_round(struct px_peer *p, px_nsec now)
{
    if (now - p->race->started_at < ROUND_YOUNG) {
        p->again = true;
        return;
    }
    px_peer_end_round(p, NULL);
    px_peer_start_round(p, now);
}

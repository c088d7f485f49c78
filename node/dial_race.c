/* See dial_race.h. */
#include "node/dial_race.h"

#include <stdio.h>
#include <string.h>

void px_dial_race_init(struct px_dial_race *r, px_nsec now)
{
    *r = (struct px_dial_race){.started_at = now, .next_at = now};
}

/* Who makes way for a circuit: one that lost, else the last of those that wait. */
static struct px_runner *least_wanted(struct px_dial_race *r)
{
    struct px_runner *worst = NULL;
    for (size_t i = 0; i < r->count; i++) {
        struct px_runner *x = &r->runners[i];
        if (x->state == PX_RUNNER_LOST)
            return x;
        if (x->state == PX_RUNNER_WAITING && !px_addr_is_circuit(&x->addr) &&
            (worst == NULL || x->tier >= worst->tier))
            worst = x;
    }
    return worst;
}

void px_dial_race_add(struct px_dial_race *r, const struct px_addr *addr, unsigned tier, int name)
{
    for (size_t i = 0; i < r->count; i++)
        if (px_addr_eq(&r->runners[i].addr, addr))
            return;
    struct px_runner *place = NULL;
    if (r->count < PX_RACE_RUNNERS_MAX)
        place = &r->runners[r->count++];
    else if (px_addr_is_circuit(addr))
        place = least_wanted(r);
    if (place != NULL)
        *place = (struct px_runner){.addr = *addr, .tier = tier, .name = name};
}

int px_dial_race_add_name(struct px_dial_race *r, const char *text, unsigned tier)
{
    for (size_t i = 0; i < r->name_count; i++)
        if (strcmp(r->names[i].text, text) == 0)
            return -1;
    if (r->name_count == PX_RACE_NAMES_MAX)
        return -1;
    struct px_race_name *n = &r->names[r->name_count];
    snprintf(n->text, sizeof(n->text), "%s", text);
    n->tier = tier;
    n->pending = true;
    return (int)r->name_count++;
}

bool px_dial_race_resolved(struct px_dial_race *r, int name, const struct px_addr *addrs,
                           size_t count, int err)
{
    if (name < 0 || (size_t)name >= r->name_count || !r->names[name].pending)
        return false;
    r->names[name].pending = false;
    if (err != 0)
        r->err = px_dial_err_worse(r->err, err);
    for (size_t i = 0; i < count && i < PX_RACE_PER_NAME_MAX; i++)
        px_dial_race_add(r, &addrs[i], r->names[name].tier, name);
    return true;
}

static size_t running(const struct px_dial_race *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->count; i++)
        n += r->runners[i].state == PX_RUNNER_RUNNING && !px_addr_is_circuit(&r->runners[i].addr);
    return n;
}

/* Among those that wait in the lowest tier, the first of the family whose turn it is. */
static struct px_runner *pick(struct px_dial_race *r)
{
    uint8_t turn = r->last_family == PX_ADDR_IP6 ? PX_ADDR_IP4 : PX_ADDR_IP6;
    struct px_runner *best = NULL;
    for (size_t i = 0; i < r->count; i++) {
        struct px_runner *x = &r->runners[i];
        if (x->state != PX_RUNNER_WAITING)
            continue;
        if (best == NULL || x->tier < best->tier ||
            (x->tier == best->tier && x->addr.family == turn && best->addr.family != turn))
            best = x;
    }
    return best;
}

/* A circuit that is open was waited for already, and takes nobody's turn. */
static struct px_runner *waiting_circuit(struct px_dial_race *r)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->runners[i].state == PX_RUNNER_WAITING && px_addr_is_circuit(&r->runners[i].addr))
            return &r->runners[i];
    return NULL;
}

struct px_runner *px_dial_race_next(struct px_dial_race *r, px_nsec now)
{
    struct px_runner *circuit = waiting_circuit(r);
    if (circuit != NULL)
        return circuit;
    if (now < r->next_at || running(r) >= PX_RACE_PARALLEL)
        return NULL;
    return pick(r);
}

void px_dial_race_started(struct px_dial_race *r, struct px_runner *runner, struct px_link *link,
                          px_nsec now)
{
    px_assert(runner->state == PX_RUNNER_WAITING);
    runner->state = PX_RUNNER_RUNNING;
    runner->link = link;
    if (px_addr_is_circuit(&runner->addr))
        return;
    r->last_family = runner->addr.family;
    r->next_at = now + PX_RACE_STAGGER;
}

void px_dial_race_lost(struct px_dial_race *r, struct px_runner *runner, int err, px_nsec now)
{
    px_assert(runner->state != PX_RUNNER_LOST);
    if (runner->state == PX_RUNNER_RUNNING) /* one that never ran does not end the others' lead */
        r->next_at = now;
    runner->state = PX_RUNNER_LOST;
    runner->link = NULL;
    r->err = px_dial_err_worse(r->err, err);
}

struct px_runner *px_dial_race_find(struct px_dial_race *r, const struct px_link *link)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->runners[i].state == PX_RUNNER_RUNNING && r->runners[i].link == link)
            return &r->runners[i];
    return NULL;
}

bool px_dial_race_over(const struct px_dial_race *r)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->runners[i].state != PX_RUNNER_LOST)
            return false;
    for (size_t i = 0; i < r->name_count; i++)
        if (r->names[i].pending)
            return false;
    return true;
}

px_nsec px_dial_race_deadline(const struct px_dial_race *r)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->runners[i].state == PX_RUNNER_WAITING && px_addr_is_circuit(&r->runners[i].addr))
            return r->started_at;
    for (size_t i = 0; i < r->count; i++)
        if (r->runners[i].state == PX_RUNNER_WAITING)
            return running(r) < PX_RACE_PARALLEL ? r->next_at : PX_NEVER;
    return PX_NEVER;
}

/* Silence says least: somebody who answered, even with a refusal, is the better news. */
static int weight(int err)
{
    switch (err) {
    case 0:
        return 0;
    case PX_EOFFLINK:
        return 1;
    case PX_ENOENT:
        return 2;
    case PX_ETIMEDOUT:
        return 3;
    case PX_EHANDSHAKE_TIMEOUT:
        return 4;
    case PX_EREFUSED:
        return 6;
    default:
        return 5;
    }
}

int px_dial_err_worse(int a, int b)
{
    return weight(b) > weight(a) ? b : a;
}

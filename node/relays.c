/* The set of relays: the file, which of them are wanted, and one timer for all. Each by itself is
 * node/relay_link.c. */
#include "node/relays.h"

#include <stdlib.h>
#include <string.h>

#include "node/relay_list_io.h"
#include "node/relays_internal.h"

#define FAREWELL_MS 10

void px_relays_tell_usable(struct px_relays *set)
{
    const char *names[PX_PEER_RELAYS_MAX];
    size_t n = 0;
    PX_LIST_EACH(it, &set->all)
        if (n < PX_PEER_RELAYS_MAX && px_relay_usable(px_relay_at(it)))
            names[n++] = px_relay_at(it)->label;
    if (!set->closing)
        px_peers_set_relays(set->config.peers, names, n);
    px_relay_reports_usable(set, px_now_io());
}

/* ---- time ---- */

/* Is it one of the first PX_RELAYS_WARM that work? */
static bool is_needed(const struct px_relay *r)
{
    size_t better = 0;
    if (r->joining || r->admit)
        return true;
    PX_LIST_EACH(it, &r->set->all) {
        if (px_relay_at(it) == r)
            break;
        better += px_relay_usable(px_relay_at(it));
    }
    return better < PX_RELAYS_WARM;
}

void px_relays_run(struct px_relays *set, px_nsec now)
{
    PX_LIST_EACH(it, &set->all)
        px_relay_run(px_relay_at(it), is_needed(px_relay_at(it)), now);
    px_node_circuits_run(set, now);
    px_relay_reports_run(set, now);
    px_relay_names_run(set->names, now);
    px_relay_reach_run(set, now);
}

px_nsec px_relays_deadline(const struct px_relays *set)
{
    px_nsec at = PX_MIN(px_node_circuits_deadline(set), px_relay_reports_deadline(set));
    at = PX_MIN(at, px_relay_names_deadline(set->names));
    at = PX_MIN(at, px_relay_reach_deadline(set));
    PX_LIST_EACH(it, &set->all)
        at = PX_MIN(at, px_relay_deadline(px_relay_at(it), is_needed(px_relay_at(it))));
    return at;
}

static void on_timer(uv_timer_t *t)
{
    struct px_relays *set = t->data;
    set->armed = PX_NEVER;
    if (!set->closing)
        px_relays_run(set, px_now_io());
}

static void sweep(struct px_relays *set)
{
    PX_LIST_EACH(it, &set->all)
        if (px_relay_at(it)->gone && px_relay_at(it)->stream == NULL)
            px_relay_free(px_relay_at(it));
}

static void on_handle_closed(uv_handle_t *h);

/* Links end a turn of the loop after they were closed: looks again until all are gone. */
static void run_closing(struct px_relays *set)
{
    if (!px_list_empty(&set->all)) {
        (void)uv_timer_start(&set->timer, on_timer, 1, 0);
        return;
    }
    if (uv_is_closing((uv_handle_t *)&set->timer))
        return;
    uv_close((uv_handle_t *)&set->timer, on_handle_closed);
    uv_close((uv_handle_t *)&set->arm, on_handle_closed);
}

static void on_arm(uv_prepare_t *p)
{
    struct px_relays *set = p->data;
    px_nsec at, now = px_now_io();
    px_relay_reach_look(set, now); /* before any of them is gone */
    sweep(set);
    if (set->closing) {
        if (set->hung_up)
            run_closing(set);
        return;
    }
    at = px_relays_deadline(set);
    if (at >= set->armed && set->armed > now)
        return;
    set->armed = at;
    if (at == PX_NEVER)
        (void)uv_timer_stop(&set->timer);
    else
        (void)uv_timer_start(&set->timer, on_timer, at <= now ? 0 : (at - now) / PX_MSEC + 1, 0);
}

/* ---- the file ---- */

static bool same_entry(const struct px_relay_entry *a, const struct px_relay_entry *b)
{
    bool same = px_peer_id_eq(&a->id, &b->id) && strcmp(a->name, b->name) == 0 &&
                a->tcp == b->tcp && a->addr_count == b->addr_count;
    for (size_t i = 0; same && i < a->addr_count; i++)
        same = strcmp(a->addrs[i], b->addrs[i]) == 0;
    return same;
}

/* Takes the relay of that entry out of the old list, or makes one. */
static int take_entry(struct px_relays *set, struct px_list *old, const struct px_relay_entry *e)
{
    PX_LIST_EACH(it, old) {
        struct px_relay *r = px_relay_at(it);
        if (r->gone ||
            (!same_entry(&r->entry, e) && !(r->joining && px_peer_id_eq(&r->entry.id, &e->id))))
            continue;
        r->entry = *e;
        r->label = px_relay_entry_label(&r->entry);
        r->joining = false;
        px_list_remove(&r->node);
        px_list_push_back(&set->all, &r->node);
        return 0;
    }
    struct px_relay *r;
    return px_relay_add(set, e, &r);
}

static int load(struct px_relays *set)
{
    struct px_relay_list list;
    struct px_list old;
    int err = px_relay_list_load(set->config.path, &list);
    if (err != 0) {
        px_log_event(set->config.log, PX_LOG_ERROR, "relays.unreadable",
                     PX_F_STR("file", set->config.path), PX_F_ERR(err));
        return 0; /* those of before stay */
    }
    for (size_t i = 0; i < list.error_count; i++)
        px_log_event(set->config.log, PX_LOG_WARN, "relays.bad_line",
                     PX_F_STR("file", set->config.path), PX_F_U64("line", list.errors[i].line),
                     PX_F_STR("why", list.errors[i].message));
    px_list_init(&old);
    while (!px_list_empty(&set->all)) {
        struct px_list *node = set->all.next;
        px_list_remove(node);
        px_list_push_back(&old, node);
    }
    for (size_t i = 0; i < list.count && err == 0; i++)
        err = take_entry(set, &old, &list.entries[i]);
    while (!px_list_empty(&old)) {
        struct px_relay *r = px_relay_at(old.next);
        px_list_remove(&r->node);
        px_list_push_back(&set->all, &r->node);
        if (!r->gone && !r->joining)
            px_relay_drop(r);
    }
    px_relays_tell_usable(set);
    return err;
}

static void on_file(void *ctx)
{
    struct px_relays *set = ctx;
    if (!set->closing)
        (void)!load(set);
}

/* ---- the set ---- */

void px_relays_each(struct px_relays *set,
                    void (*each)(void *ctx, const struct px_relay_info *info), void *ctx)
{
    px_nsec now = px_now_io();
    PX_LIST_EACH(it, &set->all) {
        const struct px_relay *r = px_relay_at(it);
        const struct px_relay_info info = {
            .id = r->entry.id,
            .label = r->label,
            .addr = r->entry.addrs[(r->turn > 0 ? r->turn - 1 : 0) % r->entry.addr_count],
            .state = r->state,
            .tcp = r->state == PX_RELAY_UP && px_addr_is_pipe(&r->path.remote),
            .reserved = r->state == PX_RELAY_UP && r->reserved,
            .class = r->class,
            .rtt = r->state == PX_RELAY_UP ? r->rtt : 0,
            .next_dial = r->state != PX_RELAY_WAITING ? PX_NEVER
                         : r->plan.due > now          ? r->plan.due - now
                                                      : 0,
            .last_err = r->last_err,
            .observed = r->observed,
            .circuits = px_node_circuits_of(set, r),
        };
        if (!r->gone)
            each(ctx, &info);
    }
}

int px_relays_new(const struct px_relays_config *config, struct px_relays **ret)
{
    struct px_relays *set = calloc(1, sizeof(*set));
    if (set == NULL)
        return PX_ENOMEM;
    set->config = *config;
    set->armed = PX_NEVER;
    px_list_init(&set->all);
    px_list_init(&set->circuits);
    int err = px_relay_reports_new(set);
    if (err == 0)
        err = px_relay_names_new(set, config->names_path, &set->names);
    if (err == 0)
        err = px_relay_pairing_new(set);
    if (err == 0)
        err = px_file_watch_new(config->loop, config->path, config->log, on_file, set, &set->watch);
    if (err != 0) {
        px_transfer_reports_free(set->reports);
        px_relay_names_free(set->names);
        px_relay_pairing_free(set);
        free(set);
        return err;
    }
    (void)uv_timer_init(config->loop, &set->timer); /* these cannot fail */
    (void)uv_prepare_init(config->loop, &set->arm);
    set->timer.data = set->arm.data = set;
    (void)uv_prepare_start(&set->arm, on_arm);
    set->open_parts = 2;
    px_peers_set_circuits(config->peers, &px_relays_circuit_ops, set);
    px_relay_reach_start(set);
    err = load(set);
    px_relays_check_listed(set); /* the list may have been edited meanwhile */
    *ret = set;                  /* also without memory for all of them */
    return err == PX_ENOMEM ? 0 : err;
}

static void part_closed(struct px_relays *set)
{
    if (--set->open_parts > 0)
        return;
    void (*done)(void *) = set->done;
    void *ctx = set->done_ctx;
    px_transfer_reports_free(set->reports);
    px_relay_names_free(set->names);
    px_relay_pairing_free(set);
    px_relay_reach_free(set);
    free(set);
    if (done != NULL)
        done(ctx);
}

static void on_handle_closed(uv_handle_t *h)
{
    part_closed(h->data);
}

/* The links on circuits have said good-bye through them. */
static void on_farewells_sent(uv_timer_t *t)
{
    struct px_relays *set = t->data;
    set->hung_up = true;
    px_peers_set_circuits(set->config.peers, NULL, NULL);
    px_node_circuits_end(set, NULL);
    PX_LIST_EACH(it, &set->all) {
        struct px_relay *r = px_relay_at(it);
        r->gone = true;
        if (r->link != NULL)
            px_link_close(r->link, PX_CLOSE_SHUTDOWN);
    }
}

void px_relays_close(struct px_relays *set, void (*done)(void *ctx), void *ctx)
{
    set->closing = true;
    set->done = done;
    set->done_ctx = ctx;
    px_file_watch_close(set->watch);
    px_relay_reports_finish(set);
    px_relay_reach_stop(set);
    px_peers_leave_circuits(set->config.peers);
    (void)uv_timer_start(&set->timer, on_farewells_sent, FAREWELL_MS, 0);
}

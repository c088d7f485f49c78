/* Reachability (node/reachability) among the relays: tells the core what there is, asks through the
 * relays' clients, and gives the answers to the log and to the records. */
#include "node/reachability.h"

#include <stdlib.h>

#include "node/relays_internal.h"
#include "transport/sockaddr.h"

#define ADDRS_MAX (PX_REACH_ADDRS_MAX + 1) /* and the one that a relay sees */

struct result {
    struct px_addr addr;
    enum px_reach_result result;
};

struct px_relay_reach {
    struct px_relays *set;
    struct px_reach *core;
    struct px_net_listener listener;
    bool listening;
    enum px_reach_verdict told;
    struct result results[PX_REACH_ADDRS_MAX]; /* what records were made with */
    size_t result_count;
};

/* ---- what the core asks and tells ---- */

static int on_probe(void *ctx, const struct px_peer_id *relay, const struct px_addr *a, bool pays)
{
    const struct px_relay_reach *reach = ctx;
    PX_LIST_EACH(it, &reach->set->all) {
        struct px_relay *r = px_relay_at(it);
        if (!px_relay_usable(r) || !px_peer_id_eq(&r->entry.id, relay))
            continue;
        if (r->probing) /* of before it was lost for a moment */
            return PX_EBUSY;
        int err = px_relay_client_probe(r->client, a, pays, px_relay_token(PX_RELAY_TOKEN_PROBE),
                                        px_now_io());
        r->probing = err == 0;
        r->probe_pays = pays;
        return err;
    }
    return PX_EOFFLINE;
}

static size_t take_results(const struct px_reach *core, struct result *ret)
{
    struct px_reach_addr a;
    for (size_t i = 0; i < px_reach_count(core); i++) {
        px_reach_get(core, i, &a);
        ret[i] = (struct result){a.addr, a.result};
    }
    return px_reach_count(core);
}

static bool same_results(const struct px_relay_reach *reach, const struct result *now, size_t count)
{
    if (reach->result_count != count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!px_addr_eq(&now[i].addr, &reach->results[i].addr) ||
            now[i].result != reach->results[i].result)
            return false;
    return true;
}

static void on_changed(void *ctx)
{
    struct px_relay_reach *reach = ctx;
    struct result now[PX_REACH_ADDRS_MAX];
    enum px_reach_verdict v = px_reach_verdict(reach->core, PX_ADDR_NONE);
    const char *mapping = px_reach_mapping_name(px_reach_mapping(reach->core));
    size_t count = take_results(reach->core, now);
    if (v != reach->told)
        px_log_event(reach->set->config.log, PX_LOG_INFO, "reachability",
                     PX_F_STR("verdict", px_reach_verdict_name(v)),
                     PX_F_STR("mapping", mapping != NULL ? mapping : "unknown"));
    reach->told = v;
    if (same_results(reach, now, count))
        return;
    memcpy(reach->results, now, count * sizeof(now[0]));
    reach->result_count = count;
    PX_LIST_EACH(it, &reach->set->all)
        px_relay_records_changed(px_relay_at(it), px_now_io());
}

static const struct px_reach_ops reach_ops = {on_probe, on_changed};

/* ---- what there is ---- */

/* Those of interfaces that the socket listens at. */
static size_t own_addrs(const struct px_relays_config *c, struct px_addr *ret, size_t cap)
{
    const struct px_addr *local = px_peers_local(c->peers);
    size_t n = 0, count = 0;
    const struct px_net_addr *nets =
        c->monitor != NULL ? px_net_monitor_addrs(c->monitor, &count) : NULL;
    for (size_t i = 0; i < count && n < cap; i++) {
        struct px_addr a = nets[i].addr;
        bool mine = px_addr_is_wildcard(local)
                        ? local->family == PX_ADDR_IP6 || a.family == PX_ADDR_IP4
                        : memcmp(local->ip, a.ip, sizeof(a.ip)) == 0;
        a.port = local->port;
        if (mine && !nets[i].loopback && a.scope == 0)
            ret[n++] = a;
    }
    return n;
}

/* Host names are for invites: what they mean changes. */
static size_t announced(const struct px_relays_config *c, struct px_addr *ret, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; c->announce != NULL && i < c->announce->count && n < cap; i++)
        n += px_addr_parse(px_slice_cstr(c->announce->items[i]), &ret[n]) == 0;
    return n;
}

static void take_own(const struct px_relay_reach *reach)
{
    struct px_addr own[PX_REACH_ADDRS_MAX];
    size_t count = own_addrs(&reach->set->config, own, PX_ARRAY_LEN(own));
    px_reach_set(reach->core, PX_REACH_OWN, own, count, px_now_io());
}

static void on_net(void *ctx, enum px_net_change change)
{
    const struct px_relay_reach *reach = ctx;
    take_own(reach);
    if (change != PX_NET_ADDRS) /* new addresses are asked about anyway */
        px_reach_network_changed(reach->core, px_now_io());
}

void px_relay_reach_start(struct px_relays *set)
{
    struct px_addr list[4];
    struct px_relay_reach *reach = calloc(1, sizeof(*reach));
    if (reach == NULL || px_reach_new(&reach_ops, reach, px_now_io(), &reach->core) != 0) {
        free(reach); /* it is only knowledge */
        return;
    }
    set->reach = reach;
    reach->set = set;
    reach->listener = (struct px_net_listener){.changed = on_net, .ctx = reach};
    px_reach_set(reach->core, PX_REACH_ANNOUNCED, list,
                 announced(&set->config, list, PX_ARRAY_LEN(list)), px_now_io());
    take_own(reach);
    if (set->config.monitor != NULL)
        px_net_monitor_listen(set->config.monitor, &reach->listener);
    reach->listening = set->config.monitor != NULL;
}

void px_relay_reach_stop(struct px_relays *set)
{
    struct px_relay_reach *reach = set->reach;
    if (reach != NULL && reach->listening)
        px_net_monitor_unlisten(set->config.monitor, &reach->listener);
    if (reach != NULL)
        reach->listening = false;
}

void px_relay_reach_free(struct px_relays *set)
{
    px_relay_reach_stop(set);
    if (set->reach != NULL)
        px_reach_free(set->reach->core);
    free(set->reach);
    set->reach = NULL;
}

void px_relay_reach_look(struct px_relays *set, px_nsec now)
{
    static const struct px_addr none;
    if (set->reach == NULL)
        return;
    PX_LIST_EACH(it, &set->all) {
        const struct px_relay *r = px_relay_at(it);
        bool piped = px_addr_is_pipe(&r->path.remote);
        if (px_relay_usable(r))
            px_reach_relay(set->reach->core, &r->entry.id, &r->path.remote,
                           piped ? &none : &r->observed, now);
        else
            px_reach_relay_gone(set->reach->core, &r->entry.id, now);
    }
}

void px_relay_reach_run(struct px_relays *set, px_nsec now)
{
    if (set->reach != NULL)
        px_reach_run(set->reach->core, now);
}

px_nsec px_relay_reach_deadline(const struct px_relays *set)
{
    return set->reach != NULL ? px_reach_deadline(set->reach->core) : PX_NEVER;
}

/* ---- what relays say ---- */

void px_relay_reach_on_reply(struct px_relay *r, enum px_relay_status status)
{
    struct px_relay_reach *reach = r->set->reach;
    r->probing = status == PX_RELAY_DATA_NEEDED && r->probe_pays; /* another one follows */
    if (reach != NULL && !r->set->closing)
        px_reach_answer(reach->core, &r->entry.id, status, px_now_io());
}

void px_relay_reach_on_probe(struct px_relays *set, const struct px_addr *from,
                             struct px_slice packet)
{
    PX_LIST_EACH(it, &set->all) { /* SPEC relay §6: from there it shows nothing */
        const struct px_relay *r = px_relay_at(it);
        if (r->has_path && px_addr_eq(&r->path.remote, from))
            return;
    }
    PX_LIST_EACH(it, &set->all)
        (void)px_relay_client_packet(px_relay_at(it)->client, packet, px_now_io());
}

/* ---- what others want to know ---- */

const struct px_reach *px_relays_reach(const struct px_relays *set)
{
    return set->reach != NULL ? set->reach->core : NULL;
}

void px_relays_check_reach(struct px_relays *set)
{
    if (set->reach != NULL)
        px_reach_check(set->reach->core, px_now_io());
}

struct found {
    struct px_addr addr;
    unsigned rank; /* less is better */
};

/* What was found unreachable may still be where a peer's packets meet ours, when both send. */
static unsigned rank_of(const struct px_relay_reach *reach, const struct px_addr *a)
{
    enum px_reach_result result =
        reach != NULL ? px_reach_result(reach->core, a) : PX_REACH_UNKNOWN;
    return result == PX_REACH_REACHABLE ? 0 : result == PX_REACH_UNKNOWN ? 1 : 2;
}

static size_t add(struct found *all, size_t n, const struct px_addr *a,
                  const struct px_relay_reach *reach)
{
    for (size_t i = 0; i < n; i++)
        if (px_addr_eq(&all[i].addr, a))
            return n;
    if (n == ADDRS_MAX)
        return n;
    all[n] = (struct found){*a, rank_of(reach, a)};
    return n + 1;
}

/* Candidates that are reachable count wherever they come from; of others those of interfaces and
 * what this relay sees. */
static size_t gather(const struct px_relay *r, struct found *all, size_t interfaces)
{
    const struct px_relay_reach *reach = r->set->reach;
    struct px_addr own[PX_REACH_ADDRS_MAX];
    struct px_reach_addr a;
    bool varies = reach != NULL && px_reach_mapping(reach->core) == PX_REACH_M_VARIES;
    size_t n = 0, count = own_addrs(&r->set->config, own, PX_MIN(interfaces, PX_ARRAY_LEN(own)));
    for (size_t i = 0; i < count; i++)
        n = add(all, n, &own[i], reach);
    if (r->observed.family != PX_ADDR_NONE && !px_addr_is_loopback(&r->observed) &&
        !(varies && rank_of(reach, &r->observed) == 2)) /* it is so for the relay alone */
        n = add(all, n, &r->observed, reach);
    for (size_t i = 0; reach != NULL && i < px_reach_count(reach->core); i++) {
        px_reach_get(reach->core, i, &a);
        if (a.result == PX_REACH_REACHABLE)
            n = add(all, n, &a.addr, reach);
    }
    return n;
}

size_t px_relay_reach_addrs(const struct px_relay *r, struct px_addr *ret, size_t cap)
{
    struct found all[ADDRS_MAX];
    size_t n = gather(r, all, cap - 1), put = 0; /* what the relay sees has a place */
    for (unsigned rank = 0; rank <= 2; rank++)
        for (size_t i = 0; i < n && put < cap; i++)
            if (all[i].rank == rank)
                ret[put++] = all[i].addr;
    return put;
}

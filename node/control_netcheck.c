/* POST /v1/netcheck, and reachability as GET /v1/status shows it.
 *
 * A check waits for relays that are being dialled, asks those that are there about every address,
 * tells each answer in a line of its own, and ends with what it all means. */
#include <stdlib.h>

#include "node/control_node.h"
#include "node/control_text.h"

#define TICK_MS     50
#define RELAYS_WAIT (4 * PX_SEC)  /* for relays that are not there yet; a dial by TLS takes 2 */
#define CHECK_TIME  (60 * PX_SEC) /* a relay may say "not now" for 21 s */

struct check {
    const struct px_control_node *n;
    struct px_control_call *call;
    uv_timer_t timer;
    px_nsec began;
    bool asked;
    struct {
        struct px_addr addr;
        px_nsec at; /* of the answer that was told, or was there before */
        bool probing;
    } told[PX_REACH_ADDRS_MAX];
    size_t told_count;
};

/* ---- as JSON ---- */

static json_t *sources_json(unsigned sources)
{
    static const struct {
        unsigned bit;
        const char *name;
    } names[] = {{PX_REACH_OWN, "interface"},
                 {PX_REACH_OBSERVED, "observed"},
                 {PX_REACH_ANNOUNCED, "announced"}};
    json_t *list = json_array();
    for (size_t i = 0; i < PX_ARRAY_LEN(names); i++)
        if ((sources & names[i].bit) != 0)
            (void)json_array_append_new(list, json_string(names[i].name));
    return list;
}

struct naming {
    const struct px_peer_id *id;
    json_t *name;
};

static void name_relay(void *ctx, const struct px_relay_info *i)
{
    struct naming *n = ctx;
    if (n->name == NULL && px_peer_id_eq(&i->id, n->id))
        n->name = json_string(i->label);
}

static json_t *relay_name_json(const struct px_control_node *n, const struct px_reach_addr *a)
{
    struct naming naming = {.id = &a->by};
    if (a->at != 0)
        px_relays_each(n->relays, name_relay, &naming);
    return naming.name != NULL ? naming.name : json_null();
}

static const char *result_name(const struct px_reach_addr *a)
{
    switch (a->result) {
    case PX_REACH_UNKNOWN:
        return "unknown";
    case PX_REACH_REACHABLE:
        return "reachable";
    case PX_REACH_UNREACHABLE:
        return "unreachable";
    }
    return "?";
}

static json_t *addr_json(const struct px_control_node *n, const struct px_reach_addr *a)
{
    char text[PX_ADDR_TEXT_MAX];
    px_nsec now = px_now_io();
    return json_pack("{s:s, s:o, s:s, s:b, s:o, s:o, s:o, s:b}", "address",
                     px_addr_format(&a->addr, text), "sources", sources_json(a->sources), "result",
                     result_name(a), "probing", a->probing, "relay", relay_name_json(n, a), "age",
                     px_control_seconds_json(a->at != 0 ? now - a->at : PX_NEVER), "took",
                     px_control_seconds_json(a->at != 0 ? a->took : PX_NEVER), "paid",
                     a->at != 0 && a->paid);
}

struct transports {
    size_t udp, tcp;
};

static void count_transport(void *ctx, const struct px_relay_info *i)
{
    struct transports *t = ctx;
    t->udp += i->state == PX_RELAY_UP && !i->tcp;
    t->tcp += i->state == PX_RELAY_UP && i->tcp;
}

static json_t *family_json(const struct px_reach *r, enum px_addr_family family)
{
    struct px_reach_addr a;
    for (size_t i = 0; i < px_reach_count(r); i++) {
        px_reach_get(r, i, &a);
        if (a.addr.family == family &&
            (px_reach_is_global(&a.addr) || (a.sources & PX_REACH_OBSERVED) != 0 ||
             family == PX_ADDR_IP4))
            return json_string(px_reach_verdict_name(px_reach_verdict(r, family)));
    }
    return json_null(); /* no address of that kind that could be */
}

json_t *px_control_reach_json(const struct px_control_node *n)
{
    const struct px_reach *r = n->relays != NULL ? px_relays_reach(n->relays) : NULL;
    struct px_reach_addr a;
    struct transports t = {0};
    json_t *list = json_array();
    json_t *port = n->peers != NULL ? json_integer(px_peers_local(n->peers)->port) : json_null();
    if (r == NULL)
        return json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:o, s:o}", "verdict", "unknown", "ipv4",
                         "ipv6", "mapping", "udp", "checking", 0, "port", port, "addresses", list);
    px_relays_each(n->relays, count_transport, &t);
    for (size_t i = 0; i < px_reach_count(r); i++) {
        px_reach_get(r, i, &a);
        (void)json_array_append_new(list, addr_json(n, &a));
    }
    return json_pack("{s:s, s:o, s:o, s:s?, s:o, s:b, s:o, s:o}", "verdict",
                     px_reach_verdict_name(px_reach_verdict(r, PX_ADDR_NONE)), "ipv4",
                     family_json(r, PX_ADDR_IP4), "ipv6", family_json(r, PX_ADDR_IP6), "mapping",
                     px_reach_mapping_name(px_reach_mapping(r)), "udp",
                     t.udp > 0   ? json_true()
                     : t.tcp > 0 ? json_false()
                                 : json_null(),
                     "checking", px_reach_busy(r), "port", port, "addresses", list);
}

/* ---- the check ---- */

static void on_timer_closed(uv_handle_t *h)
{
    free(PX_CONTAINER_OF((uv_timer_t *)(void *)h, struct check, timer));
}

static void on_gone(void *ctx)
{
    struct check *c = ctx;
    c->call = NULL;
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}

static void end(struct check *c)
{
    struct px_control_call *call = c->call;
    px_control_line(call,
                    json_pack("{s:{s:o, s:o}}", "result", "reachability",
                              px_control_reach_json(c->n), "relays", px_control_relays_json(c->n)));
    px_control_end(call);
    on_gone(c);
}

static void count_missing(void *ctx, const struct px_relay_info *i)
{
    *(size_t *)ctx += i->state == PX_RELAY_LOOKUP || i->state == PX_RELAY_DIALLING ||
                      i->state == PX_RELAY_WAITING || (i->state == PX_RELAY_UP && !i->reserved);
}

static bool relays_are_there(const struct check *c, px_nsec now)
{
    size_t missing = 0;
    px_relays_each(c->n->relays, count_missing, &missing);
    return missing == 0 || now - c->began >= RELAYS_WAIT;
}

/* What is known already is no news. */
static void remember(struct check *c, const struct px_reach *r)
{
    struct px_reach_addr a;
    c->told_count = px_reach_count(r);
    for (size_t i = 0; i < c->told_count; i++) {
        px_reach_get(r, i, &a);
        c->told[i].addr = a.addr;
        c->told[i].at = a.at;
        c->told[i].probing = a.probing;
    }
}

static bool is_news(const struct check *c, const struct px_reach_addr *a)
{
    for (size_t i = 0; i < c->told_count; i++)
        if (px_addr_eq(&c->told[i].addr, &a->addr))
            return a->at != c->told[i].at || (a->probing && !c->told[i].probing);
    return a->at != 0 || a->probing;
}

static void tell_news(struct check *c, const struct px_reach *r)
{
    struct px_reach_addr a;
    for (size_t i = 0; i < px_reach_count(r); i++) {
        px_reach_get(r, i, &a);
        if (is_news(c, &a))
            px_control_line(c->call, json_pack("{s:o}", "address", addr_json(c->n, &a)));
    }
    remember(c, r);
}

static void on_tick(uv_timer_t *t)
{
    struct check *c = PX_CONTAINER_OF(t, struct check, timer);
    const struct px_reach *r = c->n->relays != NULL ? px_relays_reach(c->n->relays) : NULL;
    px_nsec now = px_now_io();
    if (r == NULL) {
        end(c);
        return;
    }
    if (!c->asked && relays_are_there(c, now)) {
        c->asked = true;
        remember(c, r);
        px_relays_check_reach(c->n->relays);
    }
    tell_news(c, r);
    if ((c->asked && !px_reach_busy(r)) || now - c->began >= CHECK_TIME)
        end(c);
}

static void handle_netcheck(void *ctx, struct px_control_call *call)
{
    const struct px_control_node *n = ctx;
    struct check *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        px_control_reply(call, 200, NULL);
        return;
    }
    c->n = n;
    c->call = call;
    c->began = px_now_io();
    (void)uv_timer_init(n->loop, &c->timer); /* cannot fail */
    (void)uv_timer_start(&c->timer, on_tick, 0, TICK_MS);
    px_control_on_gone(call, on_gone, c);
    px_control_begin_lines(call);
}

static int text_netcheck(const json_t *line, struct px_buf *out)
{
    const json_t *a = json_object_get(line, "address");
    if (a != NULL)
        return px_control_put_line(out, a);
    return px_control_put_object(out, json_object_get(line, "result"));
}

static const struct px_control_route routes[] = {
    {"POST", "/v1/netcheck", handle_netcheck, text_netcheck,
     "ask relays whether this node can be reached, a line an answer"},
};
const struct px_control_table px_control_netcheck_table = {routes, PX_ARRAY_LEN(routes)};

/* POST /v1/peers/{peer}/ping and …/traceroute: round trips on a peer's link.
 *
 * A ping job is IDLE between two pings, WAITING for a reply, then it ends; both waits end it when
 * the caller goes away. */
#include <stdlib.h>

#include "node/control_node.h"
#include "node/control_text.h"
#include "node/ping_stats.h"

#define COUNT_DEFAULT    4
#define COUNT_MAX        1000000
#define INTERVAL_DEFAULT PX_SEC
#define INTERVAL_MIN     (10 * PX_MSEC)
#define INTERVAL_MAX     (3600 * PX_SEC)
#define TIMEOUT_DEFAULT  (5 * PX_SEC)
#define TIMEOUT_MIN      (10 * PX_MSEC)
#define TIMEOUT_MAX      (60 * PX_SEC)

struct ping {
    struct px_control_node *n;
    struct px_control_call *call; /* NULL once it is answered or gone */
    struct px_peer_id id;
    uint64_t count; /* 0: until the caller goes away */
    px_nsec interval, timeout;
    px_nsec began; /* the running one */
    bool waiting;
    struct px_ping_stats stats;
    uv_timer_t timer;
};

/* --- what is told --- */

static json_t *reply_line(const struct ping *p, int err, px_nsec rtt)
{
    return json_pack("{s:I, s:o, s:o}", "seq", (json_int_t)p->stats.sent, "rtt",
                     px_control_seconds_json(err == 0 ? rtt : PX_NEVER), "lost",
                     px_control_error_json(err));
}

static json_t *summary_line(const struct ping *p)
{
    const struct px_ping_stats *s = &p->stats;
    px_nsec none = s->received > 0 ? 0 : PX_NEVER;
    return json_pack("{s:{s:o, s:I, s:I, s:f, s:o, s:o, s:o, s:o}}", "summary", "peer",
                     px_control_id_json(&p->id), "sent", (json_int_t)s->sent, "received",
                     (json_int_t)s->received, "loss", px_ping_stats_lost(s), "min",
                     px_control_seconds_json(none != 0 ? none : s->min), "avg",
                     px_control_seconds_json(px_ping_stats_avg(s)), "max",
                     px_control_seconds_json(none != 0 ? none : s->max), "jitter",
                     px_control_seconds_json(px_ping_stats_jitter(s)));
}

static void put_msec(struct px_buf *out, const char *before, const json_t *seconds)
{
    if (json_is_number(seconds))
        (void)px_buf_printf(out, "%s%.3f ms", before, json_number_value(seconds) * 1000);
    else
        (void)px_buf_printf(out, "%s-", before);
}

static int text_ping(const json_t *line, struct px_buf *out)
{
    const json_t *sum = json_object_get(line, "summary");
    if (sum == NULL) {
        (void)px_buf_printf(out, "seq=%lld ",
                            (long long)json_integer_value(json_object_get(line, "seq")));
        if (json_is_null(json_object_get(line, "lost"))) {
            put_msec(out, "rtt=", json_object_get(line, "rtt"));
        } else {
            (void)px_buf_put_cstr(out, "lost=");
            (void)px_control_put_value(out, json_object_get(line, "lost"));
        }
        return px_buf_put_u8(out, '\n');
    }
    (void)px_buf_printf(out, "%lld sent, %lld received, %.1f %% lost",
                        (long long)json_integer_value(json_object_get(sum, "sent")),
                        (long long)json_integer_value(json_object_get(sum, "received")),
                        json_real_value(json_object_get(sum, "loss")) * 100);
    put_msec(out, ", min ", json_object_get(sum, "min"));
    put_msec(out, ", avg ", json_object_get(sum, "avg"));
    put_msec(out, ", max ", json_object_get(sum, "max"));
    put_msec(out, ", jitter ", json_object_get(sum, "jitter"));
    return px_buf_put_u8(out, '\n');
}

/* --- the job --- */

static void on_timer_closed(uv_handle_t *h)
{
    free(PX_CONTAINER_OF((uv_timer_t *)(void *)h, struct ping, timer));
}

static void end(struct ping *p)
{
    if (p->waiting)
        px_peers_ping_cancel(p->n->peers, p);
    p->waiting = false;
    p->call = NULL;
    uv_close((uv_handle_t *)&p->timer, on_timer_closed);
}

static void on_gone(void *ctx)
{
    end(ctx);
}

static void on_timer(uv_timer_t *t);

/* One ping is over: says so, and waits for the next or sums up. */
static void ping_over(struct ping *p, int err, px_nsec rtt)
{
    px_nsec took = px_now_io() - p->began;
    p->waiting = false;
    if (err == 0)
        px_ping_stats_reply(&p->stats, rtt);
    else
        px_ping_stats_loss(&p->stats);
    px_control_line(p->call, reply_line(p, err, rtt));
    if (p->count == 0 || p->stats.sent < p->count) {
        px_nsec wait = took < p->interval ? p->interval - took : 0;
        (void)uv_timer_start(&p->timer, on_timer, wait / PX_MSEC, 0);
        return;
    }
    px_control_line(p->call, summary_line(p));
    px_control_end(p->call);
    end(p);
}

static void on_pong(void *ctx, int err, px_nsec rtt)
{
    ping_over(ctx, err, rtt);
}

static void ping_once(struct ping *p)
{
    p->began = px_now_io();
    p->waiting = true;
    int err = p->n->peers != NULL ? px_peers_ping(p->n->peers, &p->id, p->timeout, on_pong, p)
                                  : PX_ECANCELED;
    if (err != 0)
        ping_over(p, err, 0);
}

static void on_timer(uv_timer_t *t)
{
    ping_once(PX_CONTAINER_OF(t, struct ping, timer));
}

/* False after the call has been answered: pinging needs a connection, and makes none. */
static bool is_connected(const struct px_control_node *n, struct px_control_call *call,
                         const struct px_peer_id *id, struct px_peer_info *ret)
{
    int err = px_peers_info(n->peers, id, ret);
    if (err == 0 && ret->state == PX_PEER_CONNECTED)
        return true;
    if (err == 0)
        px_control_fail(call, PX_EOFFLINE,
                        "the peer is not connected; dial it with "
                        "`peerix connect`, or see `peerix peers`");
    else
        px_control_fail(call, err, "the peer is not listed; `peerix auth add` lists it");
    return false;
}

static void handle_ping(void *ctx, struct px_control_call *call)
{
    struct px_control_node *n = ctx;
    struct px_peer_info info;
    struct ping setup = {.n = n,
                         .call = call,
                         .count = COUNT_DEFAULT,
                         .interval = INTERVAL_DEFAULT,
                         .timeout = TIMEOUT_DEFAULT};
    if (!px_control_has_peers(n, call) ||
        !px_control_take_count(call, "count", COUNT_MAX, &setup.count) ||
        !px_control_take_seconds(call, "interval", INTERVAL_MIN, INTERVAL_MAX, &setup.interval) ||
        !px_control_take_seconds(call, "timeout", TIMEOUT_MIN, TIMEOUT_MAX, &setup.timeout) ||
        !px_control_take_peer(n, call, "peer", &setup.id) ||
        !is_connected(n, call, &setup.id, &info))
        return;
    struct ping *p = malloc(sizeof(*p));
    if (p == NULL) {
        px_control_fail(call, PX_ENOMEM, "%s", px_strerror(PX_ENOMEM));
        return;
    }
    *p = setup;
    (void)uv_timer_init(n->loop, &p->timer);
    px_control_on_gone(call, on_gone, p);
    px_control_begin_lines(call);
    ping_once(p);
}

/* --- traceroute --- */

struct trace {
    struct px_control_node *n;
    struct px_control_call *call;
    struct px_peer_id id;
};

static void on_trace_gone(void *ctx)
{
    struct trace *t = ctx;
    px_peers_ping_cancel(t->n->peers, t);
    free(t);
}

static json_t *hop_json(int number, const char *kind, const struct px_peer_id *id, const char *name,
                        const struct px_addr *addr, px_nsec rtt, int err)
{
    char address[PX_ADDR_TEXT_MAX];
    return json_pack("{s:i, s:s, s:o, s:s, s:s, s:o, s:o}", "hop", number, "kind", kind, "peer",
                     px_control_id_json(id), "name", name, "address", px_addr_format(addr, address),
                     "rtt", px_control_seconds_json(err == 0 && rtt != 0 ? rtt : PX_NEVER), "lost",
                     px_control_error_json(err));
}

/* The relay answers for itself only: its time is that of our connection to it. */
static json_t *hops_json(const struct px_peer_info *i, int err, px_nsec rtt)
{
    json_t *hops = json_array();
    int number = 1;
    if (i->relayed && i->relay.name[0] != '\0')
        (void)json_array_append_new(hops, hop_json(number++, "relay", &i->relay.id, i->relay.name,
                                                   &i->relay.addr, i->relay.rtt, 0));
    (void)json_array_append_new(
        hops, hop_json(number, "peer", &i->id, i->name, &i->path.remote, rtt, err));
    return hops;
}

static void on_trace(void *ctx, int err, px_nsec rtt)
{
    struct trace *t = ctx;
    struct px_peer_info info;
    int gone = px_peers_info(t->n->peers, &t->id, &info);
    if (gone != 0 || info.state != PX_PEER_CONNECTED)
        px_control_fail(t->call, PX_EOFFLINE, "the connection ended while it was measured");
    else
        px_control_reply(t->call, 200,
                         json_pack("{s:o, s:s, s:s, s:o}", "peer", px_control_id_json(&t->id),
                                   "name", info.name, "path", info.relayed ? "RELAYED" : "DIRECT",
                                   "hops", hops_json(&info, err, rtt)));
    free(t);
}

static void handle_traceroute(void *ctx, struct px_control_call *call)
{
    struct px_control_node *n = ctx;
    struct px_peer_info info;
    struct trace setup = {.n = n, .call = call};
    px_nsec timeout = TIMEOUT_DEFAULT;
    if (!px_control_has_peers(n, call) ||
        !px_control_take_seconds(call, "timeout", TIMEOUT_MIN, TIMEOUT_MAX, &timeout) ||
        !px_control_take_peer(n, call, "peer", &setup.id) ||
        !is_connected(n, call, &setup.id, &info))
        return;
    struct trace *t = malloc(sizeof(*t));
    int err = PX_ENOMEM;
    if (t != NULL) {
        *t = setup;
        px_control_on_gone(call, on_trace_gone, t);
        err = px_peers_ping(n->peers, &t->id, timeout, on_trace, t);
    }
    if (err == 0)
        return;
    px_control_on_gone(call, NULL, NULL);
    free(t);
    px_control_fail(call, err, "%s", px_strerror(err));
}

static int text_traceroute(const json_t *reply, struct px_buf *out)
{
    static const struct px_control_column columns[] = {
        {"HOP", "hop"},         {"KIND", "kind"}, {"PEER", "peer"}, {"NAME", "name"},
        {"ADDRESS", "address"}, {"RTT", "rtt"},   {"LOST", "lost"}};
    (void)px_buf_put_cstr(out, "path: ");
    (void)px_control_put_value(out, json_object_get(reply, "path"));
    (void)px_buf_put_u8(out, '\n');
    return px_control_put_table(out, json_object_get(reply, "hops"), columns,
                                PX_ARRAY_LEN(columns));
}

static const struct px_control_route routes[] = {
    {"POST", "/v1/peers/{peer}/ping", handle_ping, text_ping, "measure round trips, a line each"},
    {"POST", "/v1/peers/{peer}/traceroute", handle_traceroute, text_traceroute,
     "which way a peer's packets take"},
};
const struct px_control_table px_control_ping_table = {routes, PX_ARRAY_LEN(routes)};

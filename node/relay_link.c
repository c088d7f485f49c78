/* One relay: the dials, the control connection and what its client core tells, pings. Which relays
 * are wanted is node/relays.c's. */
#include <stdlib.h>
#include <string.h>

#include "node/peer_addrs.h"
#include "node/relay_hint.h"
#include "node/relays_internal.h"
#include "transport/sockaddr.h"

const char *px_relay_state_name(enum px_relay_state s)
{
    switch (s) {
    case PX_RELAY_SPARE:
        return "spare";
    case PX_RELAY_WAITING:
        return "waiting";
    case PX_RELAY_LOOKUP:
    case PX_RELAY_DIALLING:
        return "connecting";
    case PX_RELAY_UP:
        return "connected";
    case PX_RELAY_STATES:
        break;
    }
    return "?";
}

static void set_state(struct px_relay *r, enum px_relay_state to)
{
    static const bool allowed[PX_RELAY_STATES][PX_RELAY_STATES] = {
        [PX_RELAY_SPARE] = {[PX_RELAY_WAITING] = true},
        [PX_RELAY_WAITING] =
            {[PX_RELAY_SPARE] = true, [PX_RELAY_LOOKUP] = true, [PX_RELAY_DIALLING] = true},
        [PX_RELAY_LOOKUP] = {[PX_RELAY_WAITING] = true, [PX_RELAY_DIALLING] = true},
        [PX_RELAY_DIALLING] = {[PX_RELAY_WAITING] = true, [PX_RELAY_UP] = true},
        [PX_RELAY_UP] = {[PX_RELAY_WAITING] = true},
    };
    px_assert(allowed[r->state][to]);
    r->state = to;
}

bool px_relay_usable(const struct px_relay *r)
{
    return r->state == PX_RELAY_UP && (r->reserved || r->admitted) && r->stream != NULL &&
           r->away_until == 0 && !r->gone;
}

void px_relay_send_packet(struct px_relay *r, struct px_slice packet)
{
    if (r->has_path)
        (void)!px_peers_send(r->set->config.peers, &r->path, 0, packet, packet.len);
}

/* ---- what the client core does and tells ---- */

static void on_send(void *ctx, struct px_slice frame)
{
    struct px_relay *r = ctx;
    if (r->stream != NULL)
        px_control_stream_send(r->stream, frame);
}

static void on_packet(void *ctx, struct px_slice packet)
{
    px_relay_send_packet(ctx, packet);
}

static void on_reserved(void *ctx, enum px_relay_status status, enum px_relay_class class)
{
    struct px_relay *r = ctx;
    r->reserved = status == PX_RELAY_OK;
    r->class = class;
    enum px_log_level level = r->reserved ? PX_LOG_INFO
                              : status == PX_RELAY_NO_RESERVATION
                                  ? PX_LOG_DEBUG /* the link ended */
                                  : PX_LOG_WARN;
    px_log_event(r->set->config.log, level, "relay.reserved", PX_F_STR("relay", r->label),
                 PX_F_STR("status", px_relay_status_name(status)),
                 PX_F_STR("class", px_relay_class_name(class)));
    if (r->reserved)
        px_relay_records_start(r, px_now_io());
    px_relays_tell_usable(r->set);
}

static void on_observed(void *ctx, const struct px_addr *a)
{
    struct px_relay *r = ctx;
    if (px_addr_eq(&r->observed, a))
        return;
    r->observed = *a;
    px_relay_records_changed(r, px_now_io());
}

/* Said once, and for a while: a relay that says it again and again, or for a month, would keep us
 * away from whoever has its key next. */
static void on_restarting(void *ctx, px_nsec left, px_nsec spread)
{
    struct px_relay *r = ctx;
    uint64_t random;
    if (r->away_until != 0)
        return;
    left = PX_MIN(left, (px_nsec)PX_RELAYS_AWAY_MAX);
    spread = PX_MIN(spread, (px_nsec)PX_RELAYS_SPREAD_MAX);
    px_system_rng.fill(px_system_rng.ctx, &random, sizeof(random));
    r->away_until = px_now_io() + left + (spread > 0 ? random % spread : 0);
    px_log_event(r->set->config.log, PX_LOG_INFO, "relay.restarting", PX_F_STR("relay", r->label),
                 PX_F_U64("spread_ms", spread / PX_MSEC));
    px_relays_tell_usable(r->set);
    px_node_circuits_doubt(r->set, r, px_now_io()); /* over to another one, if there is one */
}

/* It said that it goes, and did not. */
static void stay(struct px_relay *r)
{
    r->away_until = 0;
    px_relays_tell_usable(r->set);
}

static const struct px_relay_client_ops client_ops = {
    .send = on_send,
    .packet = on_packet,
    .reserved = on_reserved,
    .ring = px_circuit_on_ring,
    .open = px_circuit_on_open,
    .data = px_circuit_on_data,
    .ended = px_circuit_on_ended,
    .reply = px_relay_records_on_reply,
    .observed = on_observed,
    .changed = px_relay_records_on_changed,
    .restarting = on_restarting,
};

/* ---- the control stream ---- */

static void on_frame(void *ctx, struct px_slice body)
{
    struct px_relay *r = ctx;
    if (px_relay_client_input(r->client, body, px_now_io()) != 0 && r->link != NULL)
        px_link_close(r->link, PX_CLOSE_PROTOCOL);
}

static void on_stream_closed(void *ctx)
{
    struct px_relay *r = ctx;
    r->stream = NULL;
    px_relay_client_down(r->client, px_now_io());
    if (r->link != NULL)
        px_link_close(r->link, PX_CLOSE_NONE);
    px_relays_tell_usable(r->set);
}

static const struct px_control_stream_ops stream_ops = {on_frame, on_stream_closed};

/* ---- the link ---- */

static void take_path(struct px_relay *r)
{
    px_link_path(r->link, &r->path);
    r->has_path = true;
}

static void on_up(void *ctx, struct px_link *link)
{
    struct px_relay *r = ctx;
    uint8_t binding[PX_LINK_BINDING_LEN];
    char addr[PX_ADDR_TEXT_MAX];
    px_nsec now = px_now_io();
    r->link = link;
    r->last_err = 0;
    r->away_until = 0;
    set_state(r, PX_RELAY_UP);
    px_dial_plan_up(&r->plan, now);
    take_path(r);
    px_relay_pipe_up(r, now);
    px_log_event(r->set->config.log, PX_LOG_INFO, "relay.connected", PX_F_STR("relay", r->label),
                 PX_F_STR("addr", px_addr_format(&r->path.remote, addr)));
    if (px_control_stream_open(link, &stream_ops, r, &r->stream) != 0) {
        px_link_close(link, PX_CLOSE_INTERNAL);
        return;
    }
    r->ping_at = now;
    r->pong_by = PX_NEVER;
    px_link_binding(link, binding);
    if (r->admit) /* before that nothing else is heard */
        px_relay_client_set_reserve(r->client, false, now);
    px_relay_client_up(r->client, binding, now);
    px_wipe(binding, sizeof(binding));
    px_relay_admit(r, now);
}

static void log_unreachable(const struct px_relay *r, int err)
{
    char hint[PX_RELAY_HINT_MAX];
    if (px_relay_hint(&r->entry, err, hint)[0] != '\0')
        px_log_event(r->set->config.log, PX_LOG_WARN, "relay.unreachable",
                     PX_F_STR("relay", r->label), PX_F_ERR(err), PX_F_STR("hint", hint));
    else
        px_log_event(r->set->config.log, PX_LOG_WARN, "relay.unreachable",
                     PX_F_STR("relay", r->label), PX_F_ERR(err));
}

static void on_down(void *ctx, int err)
{
    struct px_relay *r = ctx;
    px_nsec now = px_now_io();
    bool was_up = r->state == PX_RELAY_UP;
    r->link = NULL;
    if (!was_up && px_relay_pipe_takes_over(r, err))
        return;
    px_relay_pipe_end(r);
    r->last_err = err;
    r->admitted = false;
    r->ping_at = r->pong_by = PX_NEVER;
    if (was_up)
        px_log_event(r->set->config.log, PX_LOG_INFO, "relay.disconnected",
                     PX_F_STR("relay", r->label), PX_F_ERR(err));
    else
        log_unreachable(r, err);
    if (was_up)
        px_dial_plan_ended(&r->plan, false, PX_RELAYS_RETRY_MAX, &px_system_rng, now);
    else if (r->turn % r->entry.addr_count != 0)
        px_dial_plan_soon(&r->plan, now); /* its other addresses first */
    else
        px_dial_plan_failed(&r->plan, PX_RELAYS_RETRY_MAX, &px_system_rng, now);
    if (r->away_until > now && r->plan.due < r->away_until)
        r->plan.due = r->away_until;
    set_state(r, PX_RELAY_WAITING);
    px_relays_tell_usable(r->set);
    if (was_up)
        px_node_circuits_lost(r->set, r, now);
}

static void on_moved(void *ctx)
{
    struct px_relay *r = ctx;
    if (r->link == NULL)
        return;
    take_path(r);
    px_relay_pipe_moved(r, px_now_io());
    px_relay_client_network_changed(r->client, px_now_io());
}

static void on_pong(void *ctx, px_nsec rtt)
{
    struct px_relay *r = ctx;
    r->rtt = rtt;
    r->pong_by = PX_NEVER;
}

static const struct px_relay_link_ops link_ops = {on_up, on_down, on_moved, on_pong};

/* ---- dials ---- */

void px_relay_dial_failed(struct px_relay *r, int err)
{
    px_nsec now = px_now_io();
    px_relay_pipe_end(r);
    if (r->last_err != err)
        log_unreachable(r, err);
    r->last_err = err;
    px_dial_plan_failed(&r->plan, PX_RELAYS_RETRY_MAX, &px_system_rng, now);
    set_state(r, PX_RELAY_WAITING);
}

int px_relay_dial(struct px_relay *r, const struct px_addr *addr)
{
    struct px_link *link;
    int err = px_peers_dial_relay(r->set->config.peers, &r->entry.id, addr, &link_ops, r, &link);
    if (err == 0)
        r->link = link;
    return err;
}

static void dial(struct px_relay *r, const struct px_addr *addr)
{
    set_state(r, PX_RELAY_DIALLING);
    px_relay_pipe_plan(r, addr, px_now_io());
    int err = px_relay_dial(r, addr);
    if (err != 0 && !px_relay_pipe_takes_over(r, err))
        px_relay_dial_failed(r, err);
}

/* One of the addresses, another one each time, of a family that the socket can send to. */
static bool choose(const struct px_relay *r, const struct addrinfo *res, struct px_addr *ret)
{
    const struct px_addr *local = px_peers_local(r->set->config.peers);
    bool both = local->family == PX_ADDR_IP6 && px_addr_is_wildcard(local);
    struct px_addr fit[8];
    size_t n = 0;
    for (; res != NULL && n < PX_ARRAY_LEN(fit); res = res->ai_next) {
        px_sockaddr_to_addr(res->ai_addr, &fit[n]);
        fit[n].port = r->lookup_port;
        n += px_addr_dialable(&fit[n]) && (both || fit[n].family == local->family);
    }
    if (n == 0)
        return false;
    *ret = fit[r->turn / r->entry.addr_count % n];
    return true;
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
    struct px_relay *r = req->data; /* NULL: forgotten */
    struct px_addr addr;
    if (r != NULL) {
        r->lookup = NULL;
        if (status == 0 && choose(r, res, &addr))
            dial(r, &addr);
        else
            px_relay_dial_failed(r, PX_ENOENT);
    }
    uv_freeaddrinfo(res);
    free(req);
}

static int look_up(struct px_relay *r, struct px_slice host, uint16_t port)
{
    static const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM};
    char *name = px_slice_dup_cstr(host);
    uv_getaddrinfo_t *req = calloc(1, sizeof(*req));
    int err = name != NULL && req != NULL ? 0 : PX_ENOMEM;
    if (err == 0) {
        req->data = r;
        r->lookup_port = port;
        if (uv_getaddrinfo(r->set->config.loop, req, on_resolved, name, NULL, &hints) != 0)
            err = PX_EADDR;
    }
    free(name);
    if (err != 0)
        free(req);
    else
        r->lookup = req;
    return err;
}

static void start_dial(struct px_relay *r)
{
    const char *text = r->entry.addrs[r->turn++ % r->entry.addr_count];
    struct px_addr addr;
    struct px_slice host;
    uint16_t port;
    if (px_addr_parse(px_slice_cstr(text), &addr) == 0) {
        dial(r, &addr);
        return;
    }
    set_state(r, PX_RELAY_LOOKUP);
    int err = px_hostport_split(px_slice_cstr(text), &host, &port);
    if (err == 0)
        err = look_up(r, host, port);
    if (err != 0)
        px_relay_dial_failed(r, err);
}

/* ---- time ---- */

static void run_ping(struct px_relay *r, px_nsec now)
{
    uint64_t nonce;
    if (r->state != PX_RELAY_UP || r->link == NULL)
        return;
    if (now >= r->pong_by) { /* our circuits must not wait for QUIC's idle timeout */
        r->pong_by = r->ping_at = PX_NEVER;
        px_link_close(r->link, PX_CLOSE_NONE);
        return;
    }
    if (now < r->ping_at || r->pong_by != PX_NEVER)
        return;
    bool busy = px_relay_client_legs(r->client) > 0;
    r->ping_at = now + (busy ? PX_RELAYS_PING_BUSY : PX_RELAYS_PING_IDLE);
    if (px_link_ping(r->link, &nonce) == 0)
        r->pong_by = now + PX_MAX(px_addr_is_pipe(&r->path.remote) ? PX_RELAY_PIPE_PONG_TIME
                                                                   : PX_RELAYS_PONG_TIME,
                                  4 * r->rtt);
}

void px_relay_doubt(struct px_relay *r, px_nsec now)
{
    if (r->state == PX_RELAY_UP)
        r->ping_at = PX_MIN(r->ping_at, now);
}

void px_relay_run(struct px_relay *r, bool needed, px_nsec now)
{
    if (r->state == PX_RELAY_UP && r->away_until != 0 && now >= r->away_until)
        stay(r);
    px_relay_client_run(r->client, now);
    px_relay_records_run(r, now);
    px_relay_pipe_run(r, now);
    run_ping(r, now);
    if (r->state == PX_RELAY_SPARE && needed) {
        set_state(r, PX_RELAY_WAITING);
        px_dial_plan_soon(&r->plan, now);
    } else if (r->state == PX_RELAY_WAITING && !needed) {
        set_state(r, PX_RELAY_SPARE);
    } else if (r->state == PX_RELAY_UP && !needed && r->link != NULL &&
               px_relay_client_legs(r->client) == 0) {
        px_link_close(r->link, PX_CLOSE_NONE);
    }
    if (r->state == PX_RELAY_WAITING && px_dial_plan_due(&r->plan, now))
        start_dial(r);
}

px_nsec px_relay_deadline(const struct px_relay *r, bool needed)
{
    px_nsec ping = r->pong_by != PX_NEVER ? r->pong_by : r->ping_at;
    px_nsec at = PX_MIN(px_relay_client_deadline(r->client), ping);
    at = PX_MIN(at, px_relay_pipe_deadline(r));
    if (r->state == PX_RELAY_WAITING)
        at = PX_MIN(at, r->plan.due);
    if (r->state == PX_RELAY_UP && r->away_until != 0)
        at = PX_MIN(at, r->away_until);
    if (r->state == PX_RELAY_SPARE && needed)
        at = 0;
    return px_relay_usable(r) ? PX_MIN(at, px_relay_records_deadline(r)) : at;
}

/* ---- its life ---- */

int px_relay_add(struct px_relays *set, const struct px_relay_entry *e, struct px_relay **ret)
{
    struct px_relay *r = calloc(1, sizeof(*r));
    if (r == NULL)
        return PX_ENOMEM;
    const struct px_relay_client_config c = {
        .rng = px_system_rng, .ops = &client_ops, .ctx = r, .reserve = true};
    int err = px_relay_client_new(&c, &r->client);
    if (err != 0) {
        free(r);
        return err;
    }
    r->set = set;
    r->entry = *e;
    r->label = px_relay_entry_label(&r->entry);
    r->state = PX_RELAY_WAITING;
    r->ping_at = r->pong_by = r->register_at = PX_NEVER;
    px_dial_plan_init(&r->plan, px_now_io());
    px_token_bucket_init(&r->pushed, PX_RELAYS_PUSHED_RATE, PX_RELAYS_PUSHED_BURST, px_now_io());
    px_list_push_back(&set->all, &r->node);
    *ret = r;
    return 0;
}

void px_relay_drop(struct px_relay *r)
{
    r->gone = true;
    px_log_event(r->set->config.log, PX_LOG_INFO, "relay.removed", PX_F_STR("relay", r->label));
    if (r->link != NULL)
        px_link_close(r->link, PX_CLOSE_NONE); /* its stream's end follows */
}

void px_relay_free(struct px_relay *r)
{
    if (r->lookup != NULL)
        r->lookup->data = NULL;
    px_peers_forget_relay(r->set->config.peers, r);
    px_relay_pipe_end(r);
    px_node_circuits_end(r->set, r);
    px_list_remove(&r->node);
    px_relay_client_free(r->client);
    px_wipe(r->secret, sizeof(r->secret));
    free(r);
}

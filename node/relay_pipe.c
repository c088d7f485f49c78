/* See relay_pipe.h. */
#include "node/relay_pipe.h"

#include <stdio.h>

#include "node/relays_internal.h"

static void set_state(struct px_relay *r, enum px_relay_pipe_state to, px_nsec at)
{
    static const bool allowed[PX_RELAY_PIPE_STATES][PX_RELAY_PIPE_STATES] = {
        [PX_RELAY_PIPE_NONE] = {[PX_RELAY_PIPE_PLANNED] = true},
        [PX_RELAY_PIPE_PLANNED] = {[PX_RELAY_PIPE_NONE] = true, [PX_RELAY_PIPE_CONNECTING] = true},
        [PX_RELAY_PIPE_CONNECTING] = {[PX_RELAY_PIPE_NONE] = true, [PX_RELAY_PIPE_USED] = true},
        [PX_RELAY_PIPE_USED] = {[PX_RELAY_PIPE_NONE] = true, [PX_RELAY_PIPE_LEFT] = true},
        [PX_RELAY_PIPE_LEFT] = {[PX_RELAY_PIPE_NONE] = true},
    };
    px_assert(allowed[r->pipe.state][to]);
    r->pipe.state = to;
    r->pipe.at = at;
}

void px_relay_pipe_end(struct px_relay *r)
{
    if (r->pipe.state == PX_RELAY_PIPE_NONE)
        return;
    if (r->pipe.state != PX_RELAY_PIPE_PLANNED)
        px_peers_close_pipe(r->set->config.peers, &r->pipe.addr);
    set_state(r, PX_RELAY_PIPE_NONE, PX_NEVER);
}

void px_relay_pipe_plan(struct px_relay *r, const struct px_addr *udp, px_nsec now)
{
    px_relay_pipe_end(r);
    r->pipe.udp = *udp;
    px_nsec wait = r->pipe.worked ? PX_RELAY_PIPE_WAIT_NEXT : PX_RELAY_PIPE_WAIT;
    set_state(r, PX_RELAY_PIPE_PLANNED, now + wait);
}

/* ---- the pipe ---- */

/* UDP has had its time: what it began makes way. If it comes to life later, the link moves. */
static void on_open(void *ctx)
{
    struct px_relay *r = ctx;
    if (r->gone || r->set->closing)
        return;
    set_state(r, PX_RELAY_PIPE_USED, PX_NEVER);
    px_peers_forget_relay(r->set->config.peers, r);
    r->link = NULL;
    int err = px_relay_dial(r, &r->pipe.addr);
    if (err != 0)
        px_relay_dial_failed(r, err);
}

static void on_closed(void *ctx, int err)
{
    struct px_relay *r = ctx;
    bool was_coming = r->pipe.state == PX_RELAY_PIPE_CONNECTING;
    set_state(r, PX_RELAY_PIPE_NONE, PX_NEVER);
    px_log_event(r->set->config.log, PX_LOG_INFO, "relay.tcp_closed", PX_F_STR("relay", r->label),
                 PX_F_ERR(err));
    if (was_coming && r->link == NULL)
        px_relay_dial_failed(r, err);
    else if (!was_coming && r->link != NULL && px_addr_is_pipe(&r->path.remote))
        px_link_close(r->link, PX_CLOSE_NONE); /* nothing gets through any more */
}

static const struct px_tls_pipes_ops pipe_ops = {on_open, on_closed};

/* The server name is the host of the address being dialled, if that is a name. */
static void server_name(const struct px_relay *r, char *out, size_t size)
{
    struct px_slice text = px_slice_cstr(r->entry.addrs[(r->turn - 1) % r->entry.addr_count]);
    struct px_slice host;
    struct px_addr numeric;
    uint16_t port;
    out[0] = '\0';
    if (px_addr_parse(text, &numeric) != 0 && px_hostport_split(text, &host, &port) == 0)
        snprintf(out, size, "%.*s", (int)host.len, (const char *)host.data);
}

static void open_pipe(struct px_relay *r)
{
    char name[PX_AUTH_ADDR_MAX], text[PX_ADDR_TEXT_MAX];
    struct px_addr tcp = r->pipe.udp;
    tcp.port = r->entry.tcp != 0 ? r->entry.tcp : PX_RELAY_TCP_PORT;
    server_name(r, name, sizeof(name));
    px_log_event(r->set->config.log, PX_LOG_INFO, "relay.tries_tcp", PX_F_STR("relay", r->label),
                 PX_F_STR("addr", px_addr_format(&tcp, text)));
    if (px_peers_open_pipe(r->set->config.peers, &tcp, name, &pipe_ops, r, &r->pipe.addr) != 0)
        set_state(r, PX_RELAY_PIPE_NONE, PX_NEVER);
    else
        set_state(r, PX_RELAY_PIPE_CONNECTING, PX_NEVER);
}

/* Is it the way that failed, not the relay that said no? */
static bool is_way(int err)
{
    return err == PX_ETIMEDOUT || err == PX_EHANDSHAKE_TIMEOUT || err == PX_EPERM ||
           err == PX_EADDR || err == PX_EIO;
}

bool px_relay_pipe_takes_over(struct px_relay *r, int err)
{
    if (r->pipe.state == PX_RELAY_PIPE_PLANNED && is_way(err) && !r->gone && !r->set->closing)
        open_pipe(r);
    return r->pipe.state == PX_RELAY_PIPE_CONNECTING;
}

/* ---- the link ---- */

void px_relay_pipe_up(struct px_relay *r, px_nsec now)
{
    r->pipe.worked = px_addr_is_pipe(&r->path.remote);
    if (!r->pipe.worked) {
        px_relay_pipe_end(r);
        return;
    }
    static const struct px_addr nowhere;
    r->observed = nowhere; /* where UDP came from once says nothing now */
    r->pipe.at = now + PX_RELAY_PIPE_ASK_FIRST;
    px_peers_pipe_proved(r->set->config.peers, &r->pipe.addr);
}

void px_relay_pipe_moved(struct px_relay *r, px_nsec now)
{
    char text[PX_ADDR_TEXT_MAX];
    if (r->pipe.state != PX_RELAY_PIPE_USED || px_addr_is_pipe(&r->path.remote))
        return;
    r->pipe.worked = false;
    set_state(r, PX_RELAY_PIPE_LEFT, now + PX_RELAY_PIPE_GRACE);
    px_log_event(r->set->config.log, PX_LOG_INFO, "relay.back_to_udp", PX_F_STR("relay", r->label),
                 PX_F_STR("addr", px_addr_format(&r->path.remote, text)));
}

void px_relay_pipe_network_changed(struct px_relay *r, px_nsec now)
{
    if (r->pipe.state == PX_RELAY_PIPE_USED && r->state == PX_RELAY_UP)
        r->pipe.at = now;
}

void px_relay_pipe_run(struct px_relay *r, px_nsec now)
{
    if (now < r->pipe.at)
        return;
    switch (r->pipe.state) {
    case PX_RELAY_PIPE_PLANNED:
        open_pipe(r);
        return;
    case PX_RELAY_PIPE_USED:
        r->pipe.at = now + PX_RELAY_PIPE_ASK;
        if (r->link != NULL)
            px_link_prefer(r->link, &r->pipe.udp);
        return;
    case PX_RELAY_PIPE_LEFT:
        px_relay_pipe_end(r);
        return;
    case PX_RELAY_PIPE_NONE:
    case PX_RELAY_PIPE_CONNECTING:
    case PX_RELAY_PIPE_STATES:
        return;
    }
}

px_nsec px_relay_pipe_deadline(const struct px_relay *r)
{
    return r->pipe.state == PX_RELAY_PIPE_NONE ? PX_NEVER : r->pipe.at;
}

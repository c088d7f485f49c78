/* See relay_who_io.h. One loop of its own, until there is a verdict. */
#include "node/relay_who_io.h"

#include <stdio.h>

#include "node/peer_addrs.h"
#include "node/relay_pipe.h"
#include "relay/who.h"
#include "transport/overlay_io.h"
#include "transport/sockaddr.h"
#include "transport/tls_pipe_io.h"

struct asking;

struct target {
    struct asking *a;
    struct px_addr addr;
    struct px_relay_nonce nonce;
    struct px_tls_pipe_io *pipe;
    bool answered;
    struct px_relay_who_answer answer;
};

struct asking {
    uv_loop_t loop;
    uv_timer_t timer;
    struct px_udp *udp;
    struct px_tls_pipe_tls *tls;
    uint16_t tcp;
    const char *name; /* for the server name; "" for a numeric address */
    struct target targets[PX_RELAY_WHO_ADDRS_MAX];
    size_t count, answers;
    const struct target *first;
    size_t pipes; /* not yet ended */
    px_nsec ask_at, pipe_at, udp_end, end;
    bool piped, over;
};

/* ---- answers ---- */

static void finish(struct asking *a)
{
    if (a->over)
        return;
    a->over = true;
    for (size_t i = 0; i < a->count; i++) {
        px_tls_pipe_io_close(a->targets[i].pipe);
        a->targets[i].pipe = NULL;
    }
    if (a->udp != NULL)
        px_udp_close(a->udp);
    uv_close((uv_handle_t *)&a->timer, NULL);
}

static void take(struct asking *a, struct target *t, struct px_slice packet, bool tcp)
{
    struct px_peer_id id;
    if (a->over || t->answered || px_relay_am_check(packet, &t->nonce, &id) != 0)
        return;
    t->answered = true;
    t->answer = (struct px_relay_who_answer){.id = id, .at = t->addr, .tcp = tcp};
    if (a->first == NULL)
        a->first = t;
    a->end = PX_MIN(a->end, px_now_io() + PX_RELAY_WHO_OTHERS);
    if (++a->answers == a->count)
        a->end = 0; /* the timer ends it; here we are inside a socket's callback */
}

/* ---- UDP ---- */

static void on_datagram(void *ctx, const struct px_path *path, unsigned ecn, struct px_slice data)
{
    struct asking *a = ctx;
    (void)ecn;
    for (size_t i = 0; i < a->count; i++)
        if (px_addr_eq(&path->remote, &a->targets[i].addr))
            take(a, &a->targets[i], data, false);
}

static void on_nothing(void *ctx)
{
    (void)ctx;
}

static const struct px_udp_ops udp_ops = {
    .datagram = on_datagram, .batch_end = on_nothing, .writable = on_nothing};

static void ask_udp(const struct asking *a, const struct target *t)
{
    uint8_t who[PX_RELAY_WHO_LEN];
    struct px_path path = {.local = *px_udp_local(a->udp), .remote = t->addr};
    memset(path.local.ip, 0, sizeof(path.local.ip));
    path.local.family = t->addr.family;
    px_relay_who_put(who, &t->nonce);
    (void)!px_udp_send(a->udp, &path, 0, px_slice(who, sizeof(who)), sizeof(who)); /* again soon */
}

/* ---- pipes ---- */

static void ask_pipe(const struct target *t)
{
    uint8_t who[PX_RELAY_WHO_LEN];
    px_relay_who_put(who, &t->nonce);
    px_tls_pipe_io_send(t->pipe, px_slice(who, sizeof(who)), sizeof(who));
}

static void on_pipe_open(void *ctx)
{
    ask_pipe(ctx); /* TCP repeats it */
}

static void on_pipe_datagram(void *ctx, uint8_t *data, size_t len)
{
    struct target *t = ctx;
    take(t->a, t, px_slice(data, len), true);
}

static void on_pipe_closed(void *ctx, int err)
{
    struct target *t = ctx;
    (void)err;
    t->pipe = NULL;
    t->a->pipes--;
}

static void on_pipe_pending(void *ctx)
{
    (void)ctx; /* the timer flushes */
}

static const struct px_tls_pipe_io_ops pipe_ops = {on_pipe_open, on_pipe_datagram, on_nothing,
                                                   on_pipe_closed, on_pipe_pending};

static void open_pipes(struct asking *a)
{
    a->piped = true;
    for (size_t i = 0; i < a->count; i++) {
        struct target *t = &a->targets[i];
        struct px_addr to = t->addr;
        to.port = a->tcp;
        if (px_tls_pipe_io_connect(&a->loop, &to, a->name, a->tls, &pipe_ops, t, &t->pipe) == 0)
            a->pipes++;
        else
            t->pipe = NULL; /* others may answer */
    }
}

/* ---- time ---- */

enum { TICK_MS = 20 };

static void on_tick(uv_timer_t *timer)
{
    struct asking *a = timer->data;
    px_nsec now = px_now_io();
    bool hopeless = a->piped && a->pipes == 0 && a->answers == 0 && now >= a->udp_end;
    if (now >= a->end || hopeless) {
        finish(a);
        return;
    }
    bool ask = now >= a->ask_at && a->udp != NULL;
    if (ask)
        a->ask_at = now + PX_RELAY_WHO_AGAIN;
    for (size_t i = 0; i < a->count; i++) {
        const struct target *t = &a->targets[i];
        if (t->pipe != NULL && px_tls_pipe_io_is_open(t->pipe))
            px_tls_pipe_io_flush(t->pipe);
        if (ask && !t->answered)
            ask_udp(a, t);
    }
    if (!a->piped && a->answers == 0 && now >= a->pipe_at)
        open_pipes(a);
}

/* ---- where to ask ---- */

static void add_target(struct asking *a, const struct px_addr *addr)
{
    if (a->count == PX_RELAY_WHO_ADDRS_MAX || !px_addr_dialable(addr))
        return;
    for (size_t i = 0; i < a->count; i++)
        if (px_addr_eq(&a->targets[i].addr, addr))
            return;
    struct target *t = &a->targets[a->count++];
    *t = (struct target){.a = a, .addr = *addr};
    px_system_rng.fill(px_system_rng.ctx, &t->nonce, sizeof(t->nonce));
}

/* name: room for the host */
static int find_targets(struct asking *a, const char *text, char *name, size_t size)
{
    static const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM};
    struct px_addr addr;
    struct px_slice host;
    uint16_t port;
    uv_getaddrinfo_t req;
    name[0] = '\0';
    if (px_addr_parse(px_slice_cstr(text), &addr) == 0) {
        add_target(a, &addr);
        return a->count > 0 ? 0 : PX_EADDR;
    }
    int err = px_hostport_split(px_slice_cstr(text), &host, &port);
    if (err != 0)
        return err;
    snprintf(name, size, "%.*s", (int)host.len, (const char *)host.data);
    if (uv_getaddrinfo(&a->loop, &req, NULL, name, NULL, &hints) != 0)
        return PX_ENOENT;
    for (const struct addrinfo *at = req.addrinfo; at != NULL; at = at->ai_next) {
        px_sockaddr_to_addr(at->ai_addr, &addr);
        addr.port = port;
        add_target(a, &addr);
    }
    uv_freeaddrinfo(req.addrinfo);
    return a->count > 0 ? 0 : PX_ENOENT;
}

/* ---- all of it ---- */

static int open_udp(struct asking *a)
{
    struct px_addr any = {.family = PX_ADDR_IP6};
    int err = px_udp_new(&a->loop, &any, &udp_ops, a, &a->udp);
    if (err == 0)
        return 0;
    any.family = PX_ADDR_IP4; /* a machine without IPv6 */
    return px_udp_new(&a->loop, &any, &udp_ops, a, &a->udp);
}

static int verdict(const struct asking *a, struct px_relay_who_answer *ret,
                   struct px_relay_who_answer *ret_other)
{
    if (a->first == NULL)
        return PX_ETIMEDOUT;
    *ret = a->first->answer;
    for (size_t i = 0; i < a->count; i++) {
        const struct target *t = &a->targets[i];
        if (!t->answered || px_peer_id_eq(&t->answer.id, &ret->id))
            continue;
        *ret_other = t->answer;
        return PX_EEXIST;
    }
    return 0;
}

static int ask(struct asking *a)
{
    int err = px_tls_pipe_tls_new(false, &a->tls);
    if (err == 0)
        err = open_udp(a);
    if (err != 0)
        return err;
    px_nsec now = px_now_io();
    a->pipe_at = now + PX_RELAY_WHO_PIPE;
    a->udp_end = now + PX_RELAY_WHO_UDP;
    a->end = now + PX_RELAY_WHO_TIME;
    return uv_timer_start(&a->timer, on_tick, 0, TICK_MS) == 0 ? 0 : PX_EIO;
}

int px_relay_who_ask(const struct px_relay_entry *e, struct px_relay_who_answer *ret,
                     struct px_relay_who_answer *ret_other)
{
    struct asking a = {.tcp = e->tcp != 0 ? e->tcp : PX_RELAY_TCP_PORT};
    char name[PX_AUTH_ADDR_MAX];
    if (uv_loop_init(&a.loop) != 0)
        return PX_EIO;
    (void)uv_timer_init(&a.loop, &a.timer); /* cannot fail */
    a.timer.data = &a;
    a.name = name;
    int err = find_targets(&a, e->addrs[0], name, sizeof(name));
    if (err == 0)
        err = ask(&a);
    if (err != 0)
        finish(&a);
    (void)uv_run(&a.loop, UV_RUN_DEFAULT);
    px_tls_pipe_tls_free(a.tls);
    px_assert(uv_loop_close(&a.loop) == 0); /* every handle was closed */
    return err != 0 ? err : verdict(&a, ret, ret_other);
}

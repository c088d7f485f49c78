/* Frames of three nodes (a member, one that is vouched for, a stranger) at the relay server, in any
 * order, with time passing. Input: for each frame a byte (node, and how much time), two of length,
 * the body. */
#include <stdlib.h>

#include "proto/base/reader.h"
#include "relay/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct world {
    struct px_relay_server *server;
    struct px_relay_session *session[3];
    bool closed[3];
    size_t sent;
    uint8_t seed;
};

static void fill(void *ctx, void *buf, size_t len)
{
    struct world *w = ctx;
    uint8_t *out = buf;
    for (size_t i = 0; i < len; i++)
        out[i] = ++w->seed;
}

static void on_send(void *ctx, void *conn, struct px_slice frame)
{
    struct world *w = ctx;
    (void)conn;
    w->sent++;
    px_assert(frame.len > 2 && frame.len <= 2 + 4096);
}

static void on_close(void *ctx, void *conn, enum px_close_code code)
{
    struct world *w = ctx;
    (void)code;
    w->closed[(struct px_relay_session **)conn - w->session] = true;
}

static void on_probe(void *ctx, const struct px_addr *to, struct px_slice packet)
{
    (void)ctx;
    px_assert(packet.len == PX_RELAY_PING_LEN && to->port >= PX_RELAY_PROBE_PORT_MIN);
    px_assert(!px_addr_is_loopback(to));
}

static bool on_is_own(void *ctx, const struct px_addr *a)
{
    (void)ctx;
    return a->ip[0] == 192;
}

static bool on_is_member(void *ctx, const struct px_peer_id *id)
{
    (void)ctx;
    return id->key[0] == 0;
}

static void on_audit(void *ctx, const struct px_relay_audit *a)
{
    (void)ctx;
    px_assert(a->event != NULL && a->peer != NULL);
}

static const struct px_relay_server_ops ops = {on_send,   on_close,     on_probe,
                                               on_is_own, on_is_member, on_audit};

static void join(struct world *w, uint8_t i, px_nsec now)
{
    struct px_peer_id id = {{i}};
    struct px_addr addr = {.family = PX_ADDR_IP4, .ip = {10, 0, 0, i}, .port = 5000};
    uint8_t binding[32];
    memset(binding, i, sizeof(binding));
    w->closed[i] = false;
    int err = px_relay_server_join(w->server, &w->session[i], &id, binding, &addr, i != 1, now,
                                   &w->session[i]);
    px_assert(err == 0);
    px_relay_session_ready(w->session[i], now);
}

static void rejoin_closed(struct world *w, px_nsec now)
{
    for (uint8_t i = 0; i < 3; i++)
        if (w->closed[i]) {
            px_relay_session_leave(w->session[i], now);
            join(w, i, now);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct world w = {.sent = 0};
    struct px_reader r = px_reader(px_slice(data, len));
    px_nsec now = PX_SEC;
    uint8_t who;
    uint16_t n;
    if (px_crypto_init() != 0)
        return 0;
    const struct px_relay_server_config config = {.rng = {fill, &w},
                                                  .ops = &ops,
                                                  .ctx = &w,
                                                  .limits = px_relay_limits_default,
                                                  .open = len % 2 == 0};
    int err = px_relay_server_new(&config, now, &w.server);
    px_assert(err == 0);
    for (uint8_t i = 0; i < 3; i++)
        join(&w, i, now);
    while (px_reader_u8(&r, &who) == 0 && px_reader_be16(&r, &n) == 0) {
        struct px_slice body = px_slice_take(r.rest, n);
        r.rest = px_slice_skip(r.rest, n);
        px_relay_session_input(w.session[who % 3], body, now);
        now += (px_nsec)(who >> 2) * (who >> 2) * 100 * PX_MSEC;
        px_relay_server_run(w.server, now);
        rejoin_closed(&w, now);
    }
    for (int i = 0; i < 3; i++)
        px_relay_session_leave(w.session[i], now);
    px_relay_server_free(w.server);
    return 0;
}

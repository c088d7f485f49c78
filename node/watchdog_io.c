/* A probe a part and round, each with a handle of its own that ends with the round.
 *
 * The datagram is a QUIC long header of a version nobody speaks (RFC 9000 §15 reserves 0x?a?a?a?a),
 * which a live endpoint answers with Version Negotiation, keeping no state (§6.1). It is sent again
 * within the round: a full socket may lose one without being dead. Its type is none that v1 calls
 * an Initial, of which a relay hears few from a source that it refused; that may be a proxy beside
 * us. */
#include "node/watchdog_io.h"

#include <stdlib.h>
#include <sys/random.h>

#include "node/watchdog.h"
#include "transport/overlay_io.h"
#include "transport/sockaddr.h"

#define TICKS_PER_ROUND 8
#define INITIAL_BYTES   1200 /* shorter ones are not answered */
#define CID_LEN         8
#define ANSWER_MAX      512

static const char nix_request[] =
    "GET /nix-cache-info HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
static const char health_request[] =
    "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
static const char http_ok[] = "HTTP/1.1 200 ";
/* Without the cookie this is refused; who refuses lives. */
static const char control_request[] =
    "GET /v1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
static const char control_answer[] = "HTTP/1.1 ";

struct px_watchdog_io {
    struct px_watchdog_io_config config;
    struct px_watchdog core;
    uv_timer_t timer;
    struct probe *probes[PX_WATCHDOG_PARTS]; /* NULL: none open */
    char *control;
    int handles; /* open ones, the timer's included */
    bool closing;
    bool failing; /* the latest complete round was not good: told once */
};

struct probe {
    struct px_watchdog_io *w;
    uint64_t round;
    enum px_watchdog_part part;
    union {
        uv_handle_t any;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
        uv_udp_t udp;
    } handle;
    uv_connect_t connect;
    const char *request, *wanted;
    char answer[ANSWER_MAX];
    size_t got;
    uint8_t cid[CID_LEN];
};

static void release(struct px_watchdog_io *w)
{
    if (--w->handles > 0)
        return;
    free(w->control);
    free(w);
}

static void on_probe_closed(uv_handle_t *handle)
{
    struct probe *p = handle->data;
    struct px_watchdog_io *w = p->w;
    free(p);
    release(w);
}

static void end(struct probe *p)
{
    p->w->probes[p->part] = NULL;
    uv_close(&p->handle.any, on_probe_closed);
}

static void good(struct probe *p)
{
    struct px_watchdog_io *w = p->w;
    bool all = px_watchdog_good(&w->core, p->round, p->part);
    end(p);
    if (!all)
        return;
    if (w->failing)
        px_log_event(w->config.log, PX_LOG_INFO, "watchdog.recovered",
                     PX_F_U64("round", w->core.round));
    w->failing = false;
    w->config.alive(w->config.ctx);
}

/* ---- answers over streams ---- */

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct probe *p = handle->data;
    (void)suggested;
    *ret = uv_buf_init(p->answer + p->got, (unsigned)(sizeof(p->answer) - p->got));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct probe *p = stream->data;
    (void)buf;
    if (n < 0) {
        end(p);
        return;
    }
    p->got += (size_t)n;
    size_t want = strlen(p->wanted);
    if (p->got < want)
        return;
    if (memcmp(p->answer, p->wanted, want) == 0)
        good(p);
    else
        end(p);
}

static void on_connected(uv_connect_t *connect, int status)
{
    struct probe *p = connect->data;
    if (status == UV_ECANCELED)
        return; /* it is being closed */
    uv_buf_t request = uv_buf_init((char *)(uintptr_t)p->request, (unsigned)strlen(p->request));
    /* a fresh socket takes so few bytes at once */
    if (status != 0 || uv_try_write(&p->handle.stream, &request, 1) != (int)request.len ||
        uv_read_start(&p->handle.stream, on_room, on_read) != 0)
        end(p);
}

static int start_http(struct probe *p, const struct px_addr *at, const char *request)
{
    union px_sockaddr sa;
    p->request = request;
    p->wanted = http_ok;
    (void)uv_tcp_init(p->w->config.loop, &p->handle.tcp);
    if (px_sockaddr_from_addr(at, &sa) == 0)
        return PX_EADDR;
    return uv_tcp_connect(&p->connect, &p->handle.tcp, &sa.sa, on_connected) == 0 ? 0 : PX_EIO;
}

static int start_substituter(struct probe *p)
{
    return start_http(p, &p->w->config.substituter, nix_request);
}

static int start_health(struct probe *p)
{
    return start_http(p, &p->w->config.health, health_request);
}

static int start_control(struct probe *p)
{
    p->request = control_request;
    p->wanted = control_answer;
    (void)uv_pipe_init(p->w->config.loop, &p->handle.pipe, 0);
    uv_pipe_connect(&p->connect, &p->handle.pipe, p->w->control, on_connected);
    return 0;
}

/* ---- the answer by datagram ---- */

static void on_datagram(uv_udp_t *udp, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from,
                        unsigned flags)
{
    struct probe *p = udp->data;
    const uint8_t *b = (const uint8_t *)buf->base;
    (void)from;
    (void)flags;
    /* long header, version 0, and our source ID in the place of the destination's */
    if (n >= 6 + CID_LEN && (b[0] & 0x80) != 0 && b[1] == 0 && b[2] == 0 && b[3] == 0 &&
        b[4] == 0 && b[5] == CID_LEN && memcmp(b + 6, p->cid, CID_LEN) == 0)
        good(p);
}

static void send_datagram(struct probe *p)
{
    uint8_t packet[INITIAL_BYTES] = {0xd0, 0x1a, 0x2a, 0x3a, 0x4a, CID_LEN};
    memcpy(packet + 6, p->cid, CID_LEN); /* any destination ID will do */
    packet[6 + CID_LEN] = CID_LEN;
    memcpy(packet + 7 + CID_LEN, p->cid, CID_LEN);
    uv_buf_t buf = uv_buf_init((char *)packet, sizeof(packet));
    struct px_addr to = p->w->config.overlay;
    if (px_addr_is_wildcard(&to)) /* a dual-stack socket hears IPv4 too */
        to = (struct px_addr){.ip = {127, 0, 0, 1}, .family = PX_ADDR_IP4, .port = to.port};
    union px_sockaddr sa;
    if (px_sockaddr_from_addr(&to, &sa) != 0)
        (void)uv_udp_try_send(&p->handle.udp, &buf, 1,
                              &sa.sa); /* lost: the next tick sends again */
}

static int start_overlay(struct probe *p)
{
    if (getrandom(p->cid, sizeof(p->cid), 0) != (ssize_t)sizeof(p->cid))
        memset(p->cid, 0x5a, sizeof(p->cid));
    (void)uv_udp_init(p->w->config.loop, &p->handle.udp);
    p->handle.any.data = p;
    send_datagram(p); /* also binds the socket */
    return uv_udp_recv_start(&p->handle.udp, on_room, on_datagram) == 0 ? 0 : PX_EIO;
}

/* ---- rounds ---- */

static void start_probe(struct px_watchdog_io *w, enum px_watchdog_part part)
{
    static int (*const start[PX_WATCHDOG_PARTS])(struct probe * p) = {
        [PX_WATCHDOG_OVERLAY] = start_overlay,
        [PX_WATCHDOG_SUBSTITUTER] = start_substituter,
        [PX_WATCHDOG_HEALTH] = start_health,
        [PX_WATCHDOG_CONTROL] = start_control};
    struct probe *p = calloc(1, sizeof(*p));
    if (p == NULL)
        return; /* the round fails */
    p->w = w;
    p->round = w->core.round;
    p->part = part;
    p->connect.data = p;
    int err = start[part](p);
    p->handle.any.data = p;
    w->handles++;
    w->probes[part] = p;
    if (err != 0)
        end(p);
}

static void end_probes(struct px_watchdog_io *w)
{
    for (size_t i = 0; i < PX_WATCHDOG_PARTS; i++)
        if (w->probes[i] != NULL)
            end(w->probes[i]);
}

/* Once a failure, not once a round. */
static void tell_silent(struct px_watchdog_io *w, unsigned silent)
{
    for (unsigned i = 0; i < PX_WATCHDOG_PARTS && !w->failing; i++)
        if ((silent & 1u << i) != 0)
            px_log_event(w->config.log, PX_LOG_ERROR, "watchdog.failed",
                         PX_F_STR("part", px_watchdog_part_name((enum px_watchdog_part)i)),
                         PX_F_STR("next", "no sign of life: the service manager will restart us"));
    w->failing = w->failing || silent != 0;
}

static void on_tick(uv_timer_t *timer)
{
    struct px_watchdog_io *w = timer->data;
    px_nsec now = px_now_io();
    tell_silent(w, px_watchdog_silent(&w->core, now));
    if (!px_watchdog_due(&w->core, now)) {
        if (w->probes[PX_WATCHDOG_OVERLAY] != NULL)
            send_datagram(w->probes[PX_WATCHDOG_OVERLAY]);
        return;
    }
    end_probes(w);
    px_watchdog_begin(&w->core, now);
    for (unsigned i = 0; i < PX_WATCHDOG_PARTS; i++)
        if ((w->core.parts & 1u << i) != 0)
            start_probe(w, (enum px_watchdog_part)i);
}

static unsigned parts_of(const struct px_watchdog_io_config *c)
{
    unsigned parts = 1u << PX_WATCHDOG_OVERLAY | 1u << PX_WATCHDOG_CONTROL;
    if (c->substituter.port != 0)
        parts |= 1u << PX_WATCHDOG_SUBSTITUTER;
    if (c->health.port != 0)
        parts |= 1u << PX_WATCHDOG_HEALTH;
    return parts;
}

int px_watchdog_io_new(const struct px_watchdog_io_config *config, struct px_watchdog_io **ret)
{
    *ret = NULL;
    if (config->allowed_usec == 0)
        return 0;
    struct px_watchdog_io *w = calloc(1, sizeof(*w));
    char *control = strdup(config->control);
    if (w == NULL || control == NULL) {
        free(w);
        free(control);
        return PX_ENOMEM;
    }
    w->config = *config;
    w->config.control = NULL;
    w->control = control;
    w->handles = 1;
    px_watchdog_init(&w->core, parts_of(config),
                     PX_MIN(config->allowed_usec, UINT64_MAX / PX_USEC / 2) * PX_USEC, px_now_io());
    uint64_t tick = PX_MAX(w->core.period / TICKS_PER_ROUND / PX_MSEC, 1);
    (void)uv_timer_init(config->loop, &w->timer);
    w->timer.data = w;
    (void)uv_timer_start(&w->timer, on_tick, 0, tick);
    *ret = w;
    return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    release(handle->data);
}

void px_watchdog_io_close(struct px_watchdog_io *w)
{
    if (w == NULL || w->closing)
        return;
    w->closing = true;
    end_probes(w);
    uv_close((uv_handle_t *)&w->timer, on_timer_closed);
}

/* See server_io.h. */
#include "relay/server_io.h"

#include <stdlib.h>

#include "relay/audit_log.h"
#include "relay/control_stream.h"
#include "relay/knock.h"
#include "relay/waiting.h"
#include "relay/who.h"
#include "transport/sockaddr.h"

/* Links beyond reservations: nodes that only call, and those that are just coming or going. */
#define CONNS_EXTRA 2048
/* What circuits' ends are told needs a moment to leave: a close of the link overtakes it. */
#define LAST_WORDS_MS 50
/* For handshakes that wait, a turn of the loop; the last of them may take longer. In ns. */
#define WAITING_TIME (200 * 1000)
/* Control messages need no jumbo frames, and every link keeps a buffer for the largest packet. */
#define PAYLOAD_MAX  1452
#define QUIC_INITIAL 0xc0 /* first byte of what begins a link (RFC 9000 §17.2.2) */

struct px_relay_server_io {
    struct px_relay_server_io_config config;
    struct px_overlay_io *overlay;
    struct px_relay_server *server;
    struct px_tls_pipes *pipes;
    struct px_udp *probe;
    struct px_knock *knock;
    struct px_waiting *waiting; /* handshakes, behind everything else */
    struct px_who *who;
    struct px_audit_log *audit;
    uint64_t links_refused;
    uint64_t hits[PX_RELAY_LIMIT_COUNT]; /* of the limits that are kept here */
    uv_timer_t timer, stop;
    uv_idle_t idle;   /* turns while handshakes wait */
    uv_prepare_t arm; /* sets the timer before the loop sleeps */
    px_nsec armed;
    unsigned handles; /* of ours, not yet closed */
    bool stopping;
    void (*done)(void *ctx);
    void *done_ctx;
};

/* A node's link. */
struct conn {
    struct px_relay_server_io *io;
    struct px_link *link;
    struct px_relay_session *session;
    struct px_addr pipe;              /* that it comes through; no address: it comes by UDP */
    struct px_addr from;              /* as far as sources are counted */
    struct px_control_stream *stream; /* NULL before it opened one, and after its end */
};

/* ---- the core's ops ---- */

static void on_send(void *ctx, void *conn, struct px_slice frame)
{
    struct conn *c = conn;
    (void)ctx;
    if (c->stream != NULL)
        px_control_stream_send(c->stream, frame);
}

static void on_close(void *ctx, void *conn, enum px_close_code code)
{
    (void)ctx;
    px_link_close(((struct conn *)conn)->link, code);
}

static void on_probe(void *ctx, const struct px_addr *to, struct px_slice packet)
{
    struct px_relay_server_io *io = ctx;
    struct px_path path = {.local = *px_udp_local(io->probe), .remote = *to};
    memset(path.local.ip, 0, sizeof(path.local.ip));
    path.local.family = to->family;
    (void)!px_udp_send(io->probe, &path, 0, packet, packet.len); /* lost is lost */
}

static bool on_is_own(void *ctx, const struct px_addr *a)
{
    const struct px_relay_server_io *io = ctx;
    uv_interface_address_t *list;
    struct px_addr own;
    int n;
    bool hit = px_addr_eq(a, px_relay_server_io_local(io));
    if (uv_interface_addresses(&list, &n) != 0)
        return hit;
    for (int i = 0; i < n; i++) {
        px_sockaddr_to_addr((const struct sockaddr *)&list[i].address, &own);
        hit = hit || px_addr_same_ip(&own, a);
    }
    uv_free_interface_addresses(list, n);
    return hit;
}

static bool on_is_member(void *ctx, const struct px_peer_id *id)
{
    const struct px_relay_server_io *io = ctx;
    return io->config.is_member(io->config.ctx, id);
}

static void on_audit(void *ctx, const struct px_relay_audit *a)
{
    const struct px_relay_server_io *io = ctx;
    px_audit_log_put(io->audit, a, px_now_io());
}

static const struct px_relay_server_ops server_ops = {on_send,   on_close,     on_probe,
                                                      on_is_own, on_is_member, on_audit};

/* ---- links ---- */

static int on_authorize(void *ctx, const struct px_peer_id *id)
{
    const struct px_relay_server_io *io = ctx;
    return px_relay_server_hears(io->server, id, px_now_io()) ? 0 : PX_EUNLISTED;
}

/* Where a link or packet comes from as far as sources are counted; false: not by UDP. */
static bool seen_at(const struct px_relay_server_io *io, const struct px_addr *remote,
                    struct px_addr *ret)
{
    *ret = *remote;
    if (px_addr_is_pipe(remote) && !px_tls_pipes_peer(io->pipes, remote, ret))
        memset(ret, 0, sizeof(*ret));
    return !px_addr_is_pipe(remote);
}

/* SPEC relay-tls §5: a pipe is proved while a link of an authenticated node is on it */
static void note_pipe(struct conn *c, const struct px_addr *remote)
{
    static const struct px_addr none;
    px_tls_pipes_set_proved(c->io->pipes, &c->pipe, false);
    c->pipe = px_addr_is_pipe(remote) ? *remote : none;
    px_tls_pipes_set_proved(c->io->pipes, &c->pipe, true);
}

/* SPEC relay §7: where friends are, and were until now, others that were refused do not shut out */
static void note_friend(const struct conn *c)
{
    enum px_relay_class class = px_relay_session_class(c->session);
    if (class == PX_RELAY_MEMBER || class == PX_RELAY_VOUCHED)
        px_knock_befriend(c->io->knock, &c->from, px_now_io());
}

static void on_up(void *ctx, struct px_link *link)
{
    struct px_relay_server_io *io = ctx;
    uint8_t binding[PX_LINK_BINDING_LEN];
    struct px_path path;
    struct px_addr from;
    struct conn *c = calloc(1, sizeof(*c));
    if (c != NULL) {
        c->io = io;
        c->link = link;
        px_link_binding(link, binding);
        px_link_path(link, &path);
        bool udp = seen_at(io, &path.remote, &from);
        if (px_relay_server_join(io->server, c, px_link_peer(link), binding, &from, udp,
                                 px_now_io(), &c->session) != 0) {
            free(c);
            c = NULL;
        } else {
            c->from = from;
            note_pipe(c, &path.remote);
            note_friend(c);
        }
        px_wipe(binding, sizeof(binding));
    }
    px_link_set_user(link, c);
    if (c == NULL)
        px_link_close(link, PX_CLOSE_INTERNAL);
}

static void on_down(void *ctx, struct px_link *link, int err, bool by_peer, bool was_up)
{
    struct conn *c = px_link_user(link);
    (void)ctx;
    (void)was_up; /* a relay never dials */
    if (c == NULL)
        return;
    if (err == PX_EOVERRUN && !by_peer && px_relay_session_class(c->session) != PX_RELAY_UNKNOWN)
        c->io->hits[PX_RELAY_LIMIT_SLOW_READERS]++;
    note_friend(c);
    px_relay_session_leave(c->session, px_now_io());
    px_tls_pipes_set_proved(c->io->pipes, &c->pipe, false);
    free(c);
}

/* What says that it does not belong here, not that the network is bad or we are busy. */
static bool is_knock(int err)
{
    return err == PX_EUNLISTED || err == PX_ETARGET || err == PX_ENETWORK || err == PX_ENOISE ||
           err == PX_EBINDING;
}

static void on_refused(void *ctx, const struct px_addr *remote, const struct px_peer_id *id,
                       int err, bool by_peer)
{
    struct px_relay_server_io *io = ctx;
    px_nsec now = px_now_io();
    struct px_addr from;
    (void)seen_at(io, remote, &from);
    if (is_knock(err) && !by_peer)
        px_knock_refused(io->knock, &from, now);
    io->links_refused++;
    px_audit_log_refused(io->audit, id, &from, err, by_peer, now);
}

static void on_frame(void *ctx, struct px_slice body)
{
    struct conn *c = ctx;
    px_relay_session_input(c->session, body, px_now_io());
}

static void on_stream_closed(void *ctx)
{
    ((struct conn *)ctx)->stream = NULL;
}

static const struct px_control_stream_ops stream_ops = {on_frame, on_stream_closed};

static const struct px_stream_ops *on_stream(void *ctx, struct px_link *link, int64_t id,
                                             uint8_t type, void **ret_ctx)
{
    struct conn *c = px_link_user(link);
    (void)ctx;
    bool bidirectional = (id & 2) == 0;
    if (type != PX_STREAM_RELAY || !bidirectional || c == NULL || c->stream != NULL ||
        px_control_stream_adopt(link, id, &stream_ops, c, &c->stream, ret_ctx) != 0)
        return NULL;
    px_relay_session_ready(c->session, px_now_io());
    return &px_stream_link_ops;
}

static void on_path_changed(void *ctx, struct px_link *link)
{
    struct conn *c = px_link_user(link);
    struct px_path path;
    struct px_addr from;
    (void)ctx;
    if (c == NULL)
        return;
    px_link_path(link, &path);
    bool udp = seen_at(c->io, &path.remote, &from);
    px_relay_session_moved(c->session, &from, udp, px_now_io());
    c->from = from;
    note_pipe(c, &path.remote);
    note_friend(c);
}

static const struct px_overlay_ops overlay_ops = {
    .authorize = on_authorize,
    .up = on_up,
    .down = on_down,
    .refused = on_refused,
    .stream = on_stream,
    .path_changed = on_path_changed,
};

/* ---- packets ---- */

/* One handshake a turn of the loop, which takes what the socket has in between; or as many as are
 * none and cost nothing. */
static void on_idle(uv_idle_t *idle)
{
    struct px_relay_server_io *io = idle->data;
    struct px_path path;
    struct px_addr from;
    unsigned ecn;
    struct px_slice datagram;
    px_nsec end = px_now_io() + WAITING_TIME;
    while (io->overlay != NULL && px_waiting_take(io->waiting, &path, &ecn, &datagram)) {
        if (!px_addr_is_pipe(&path.remote) || px_tls_pipes_peer(io->pipes, &path.remote, &from))
            px_overlay_io_resume(io->overlay, &path, ecn, datagram);
        px_overlay_io_received_all(io->overlay);
        if (px_now_io() >= end)
            break;
    }
    if (px_waiting_is_empty(io->waiting))
        uv_idle_stop(idle);
}

static size_t wait_its_turn(struct px_relay_server_io *io, const struct px_path *path,
                            const struct px_addr *from, unsigned ecn, struct px_slice datagram)
{
    if (px_waiting_put(io->waiting, path, from, ecn, datagram) == 0)
        uv_idle_start(&io->idle, on_idle);
    else
        io->hits[PX_RELAY_LIMIT_WAITING]++;
    return datagram.len;
}

/* SPEC relay §5, WHO: one question, at most one answer, to where it came from */
static size_t answer_who(struct px_relay_server_io *io, const struct px_path *path,
                         struct px_slice datagram)
{
    uint8_t am[PX_RELAY_AM_LEN];
    struct px_addr from;
    (void)seen_at(io, &path->remote, &from);
    if (px_who_answer(io->who, datagram, &from, px_now_io(), am))
        (void)!px_overlay_io_send(io->overlay, path, 0, px_slice(am, sizeof(am)), sizeof(am));
    return datagram.len;
}

static size_t on_batch(void *ctx, const struct px_path *path, unsigned ecn, uint8_t *data,
                       size_t len, size_t segment)
{
    struct px_relay_server_io *io = ctx;
    struct px_circuits_out out;
    struct px_addr from;
    if (!px_relay_is_packet(data[0])) {
        (void)seen_at(io, &path->remote, &from);
        if (!px_knock_allows(io->knock, &from, data[0], px_now_io())) {
            io->hits[PX_RELAY_LIMIT_REFUSED_SOURCES]++;
            return PX_MIN(segment, len);
        }
        if (!px_waiting_wants(io->waiting, &path->remote, data[0]))
            return 0;
        return wait_its_turn(io, path, &from, ecn, px_slice(data, PX_MIN(segment, len)));
    }
    if (data[0] == PX_RELAY_WHO_PACKET)
        return answer_who(io, path, px_slice(data, PX_MIN(segment, len)));
    size_t n = px_relay_server_packets(io->server, path, data, len, segment, px_now_io(), &out);
    if (out.path != NULL) /* a full socket drops, as any router does */
        (void)!px_overlay_io_send(io->overlay, out.path, ecn, out.data, out.segment);
    return n;
}

static void on_probe_datagram(void *ctx, const struct px_path *path, unsigned ecn,
                              struct px_slice data)
{
    (void)ctx; /* nobody is to answer there */
    (void)path;
    (void)ecn;
    (void)data;
}

static void on_nothing(void *ctx)
{
    (void)ctx;
}

static const struct px_udp_ops probe_ops = {
    .datagram = on_probe_datagram, .batch_end = on_nothing, .writable = on_nothing};

/* ---- time ---- */

static void on_timer(uv_timer_t *t)
{
    struct px_relay_server_io *io = t->data;
    io->armed = PX_NEVER;
    if (io->server == NULL)
        return;
    px_relay_server_run(io->server, px_now_io());
    px_audit_log_run(io->audit, px_now_io());
}

static void on_arm(uv_prepare_t *p)
{
    struct px_relay_server_io *io = p->data;
    px_nsec at = PX_NEVER;
    if (io->server != NULL)
        at = PX_MIN(px_relay_server_deadline(io->server), px_audit_log_deadline(io->audit));
    if (at >= io->armed) /* one that fires too early only finds nothing due */
        return;
    px_nsec now = px_now_io();
    io->armed = at;
    uv_timer_start(&io->timer, on_timer, at <= now ? 0 : (at - now) / PX_MSEC + 1, 0);
}

/* ---- start and end ---- */

static void on_handle_closed(uv_handle_t *h)
{
    struct px_relay_server_io *io = h->data;
    if (--io->handles > 0)
        return;
    void (*done)(void *ctx) = io->done;
    void *done_ctx = io->done_ctx;
    free(io);
    if (done != NULL)
        done(done_ctx);
}

static void on_overlay_closed(void *ctx)
{
    struct px_relay_server_io *io = ctx;
    px_relay_server_free(io->server);
    px_waiting_free(io->waiting);
    px_audit_log_free(io->audit);
    io->waiting = NULL;
    io->audit = NULL;
    px_knock_free(io->knock);
    px_who_free(io->who);
    io->who = NULL;
    io->server = NULL;
    io->knock = NULL;
    px_udp_close(io->probe);
    uv_close((uv_handle_t *)&io->timer, on_handle_closed);
    uv_close((uv_handle_t *)&io->stop, on_handle_closed);
    uv_close((uv_handle_t *)&io->arm, on_handle_closed);
    uv_close((uv_handle_t *)&io->idle, on_handle_closed);
}

static void close_now(struct px_relay_server_io *io)
{
    struct px_overlay_io *overlay = io->overlay;
    io->overlay = NULL;
    if (overlay == NULL) {
        on_overlay_closed(io);
        return;
    }
    px_overlay_io_close(overlay, on_overlay_closed, io);
    px_tls_pipes_close(io->pipes); /* with the last words of the links in them */
    io->pipes = NULL;
}

static void on_last_words_said(uv_timer_t *t)
{
    struct px_relay_server_io *io = t->data;
    if (io->overlay != NULL)
        close_now(io);
}

static void on_stop(uv_timer_t *t)
{
    struct px_relay_server_io *io = t->data;
    px_relay_server_end_circuits(io->server);
    uv_timer_start(t, on_last_words_said, LAST_WORDS_MS, 0);
}

void px_relay_server_io_stop(struct px_relay_server_io *io, px_nsec left, void (*done)(void *ctx),
                             void *ctx)
{
    io->done = done;
    io->done_ctx = ctx;
    if (!io->stopping)
        px_relay_server_restarting(io->server, left, px_now_io());
    uv_timer_start(&io->stop, io->stopping ? on_last_words_said : on_stop,
                   io->stopping ? 0 : left / PX_MSEC, 0);
    io->stopping = true;
}

/* SPEC relay-tls §5: TLS handshakes are counted as those of links are */
static bool on_admits(void *ctx, const struct px_addr *peer)
{
    const struct px_relay_server_io *io = ctx;
    return px_knock_allows(io->knock, peer, QUIC_INITIAL, px_now_io());
}

static void on_left(void *ctx, const struct px_addr *peer)
{
    const struct px_relay_server_io *io = ctx;
    px_knock_refused(io->knock, peer, px_now_io());
}

static const struct px_tls_pipes_door door = {on_admits, on_left};

static int start_pipes(struct px_relay_server_io *io)
{
    const struct px_relay_server_io_config *c = &io->config;
    char addr[PX_ADDR_TEXT_MAX];
    int err = px_tls_pipes_new(c->loop, io->overlay, c->log, &io->pipes);
    if (err != 0 || c->tcp.family == PX_ADDR_NONE)
        return err;
    err = px_tls_pipes_listen(io->pipes, &c->tcp, &door, io);
    if (err != 0 && err != PX_ENOMEM)
        px_log_event(c->log, PX_LOG_WARN, "relay.no_tcp",
                     PX_F_STR("addr", px_addr_format(&c->tcp, addr)), PX_F_ERR(err));
    return err == PX_ENOMEM ? err : 0;
}

static int start(struct px_relay_server_io *io)
{
    const struct px_relay_server_io_config *c = &io->config;
    const struct px_relay_server_config server = {.rng = px_system_rng,
                                                  .ops = &server_ops,
                                                  .ctx = io,
                                                  .store = c->store,
                                                  .asn_table = c->asn_table,
                                                  .limits = c->limits,
                                                  .open = c->open};
    const struct px_overlay_config overlay = {
        .identity = c->identity,
        .network = c->network,
        .agent = PX_SLICE_LIT("peerix-relay/" PX_VERSION),
        .ops = &overlay_ops,
        .ops_ctx = io,
        .quic = {.conns_max = c->limits.reservations + CONNS_EXTRA, .max_udp_payload = PAYLOAD_MAX},
        .listen = true,
        .passive = true,
    };
    struct px_addr any = c->listen;
    any.port = 0;
    int err = px_audit_log_new(c->log, px_now_io(), &io->audit);
    if (err == 0)
        err = px_knock_new(&px_system_rng, &io->knock);
    if (err == 0)
        err = px_waiting_new(&px_system_rng, &io->waiting);
    if (err == 0)
        err = px_who_new(c->identity, &px_system_rng, &io->who);
    if (err == 0)
        err = px_relay_server_new(&server, px_now_io(), &io->server);
    if (err == 0)
        err = px_udp_new(c->loop, &any, &probe_ops, io, &io->probe);
    if (err == 0)
        err = px_overlay_io_new(c->loop, &c->listen, &overlay, &io->overlay);
    if (err == 0)
        px_overlay_io_set_batch(io->overlay, on_batch, io);
    return err == 0 ? start_pipes(io) : err;
}

int px_relay_server_io_new(const struct px_relay_server_io_config *config,
                           struct px_relay_server_io **ret)
{
    struct px_relay_server_io *io = calloc(1, sizeof(*io));
    if (io == NULL)
        return PX_ENOMEM;
    io->config = *config;
    io->armed = PX_NEVER;
    uv_timer_init(config->loop, &io->timer); /* these cannot fail */
    uv_timer_init(config->loop, &io->stop);
    uv_prepare_init(config->loop, &io->arm);
    uv_idle_init(config->loop, &io->idle);
    io->timer.data = io->stop.data = io->arm.data = io->idle.data = io;
    io->handles = 4;
    uv_prepare_start(&io->arm, on_arm);
    int err = start(io);
    if (err != 0) {
        close_now(io);
        return err;
    }
    *ret = io;
    return 0;
}

const struct px_addr *px_relay_server_io_local(const struct px_relay_server_io *io)
{
    return px_udp_local(px_overlay_io_udp(io->overlay));
}

const struct px_addr *px_relay_server_io_tcp(const struct px_relay_server_io *io)
{
    return io->pipes != NULL ? px_tls_pipes_local(io->pipes) : NULL;
}

void px_relay_server_io_recheck(struct px_relay_server_io *io, bool open)
{
    if (io->overlay != NULL)
        px_relay_server_recheck(io->server, open, px_now_io());
}

void px_relay_server_io_set_limits(struct px_relay_server_io *io,
                                   const struct px_relay_limits *limits)
{
    if (io->overlay != NULL)
        px_relay_server_set_limits(io->server, limits);
}

static void add_hits(const struct px_relay_server_io *io, const struct px_tls_pipes_numbers *pipes,
                     struct px_relay_server_stats *ret)
{
    for (size_t i = 0; i < PX_RELAY_LIMIT_COUNT; i++)
        ret->hits[i] += io->hits[i];
    ret->hits[PX_RELAY_LIMIT_QUESTIONS] = px_who_stats(io->who)->refused;
    ret->hits[PX_RELAY_LIMIT_PIPES] = pipes->refused;
    ret->hits[PX_RELAY_LIMIT_PIPE_QUEUES] = pipes->dropped;
}

void px_relay_server_io_stats(const struct px_relay_server_io *io,
                              struct px_relay_server_stats *ret, struct px_udp_stats *ret_udp)
{
    px_relay_server_stats(io->server, ret);
    struct px_tls_pipes_numbers pipes = {0};
    if (io->pipes != NULL)
        px_tls_pipes_numbers(io->pipes, &pipes);
    add_hits(io, &pipes, ret);
    ret->links_refused = io->links_refused;
    ret->log_left_out = px_audit_log_left_out(io->audit);
    ret->waiting = px_waiting_count(io->waiting);
    ret->pipes_unproved = pipes.unproved;
    ret->pipe_memory = pipes.memory;
    ret->pipes = pipes.open;
    px_udp_stats(px_overlay_io_udp(io->overlay), ret_udp);
}

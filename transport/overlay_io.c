/* See overlay_io.h. The timer is a timerfd: uv_timer counts milliseconds, pacing needs less. For
 * deadlines nearer than SPIN the loop polls instead: setting a timerfd costs more than the wait. */
#include "transport/overlay_io.h"

#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "auth/crypto.h"

#define SPIN (60 * PX_USEC)

struct px_overlay_io {
    struct px_overlay *overlay;
    struct px_udp *udp;
    int timer_fd;
    uv_poll_t timer;
    uv_prepare_t flush; /* looks, before the loop sleeps, whether a run is due */
    uv_idle_t spin;     /* active while a deadline is too near for the timer */
    px_nsec armed;      /* what the timer is set to; PX_NEVER: off */
    px_nsec ran_at;     /* the last run's time */
    px_nsec batch_now;  /* one reading of the clock a batch of datagrams; 0 between them */
    bool (*pass)(void *ctx, const struct px_addr *remote); /* NULL: everybody */
    void *pass_ctx;
    struct px_addr passed; /* the address that passed last */
    unsigned handles;      /* not yet closed */
    void (*done)(void *ctx);
    void *done_ctx;
    size_t (*batch)(void *ctx, const struct px_path *path, unsigned ecn, uint8_t *data, size_t len,
                    size_t segment);
    void *batch_ctx;
    int (*carry)(void *ctx, const struct px_path *path, unsigned ecn, struct px_slice data,
                 size_t segment);
    void *carry_ctx;
    int (*pipe)(void *ctx, const struct px_path *path, unsigned ecn, struct px_slice data,
                size_t segment);
    void *pipe_ctx;
};

px_nsec px_now_io(void)
{
    struct timespec t;
    int err = clock_gettime(CLOCK_BOOTTIME, &t);
    px_assert(err == 0);
    return (px_nsec)t.tv_sec * PX_SEC + (px_nsec)t.tv_nsec;
}

static void on_spin(uv_idle_t *handle);

/* A timer set too early only costs a run that finds nothing due; so it is moved only forward. */
static void arm(struct px_overlay_io *io, px_nsec now)
{
    px_nsec deadline = px_overlay_deadline(io->overlay);
    struct itimerspec spec = {0};
    if (deadline != PX_NEVER && deadline < now + SPIN) {
        uv_idle_start(&io->spin, on_spin);
        return;
    }
    uv_idle_stop(&io->spin);
    if (deadline >= io->armed)
        return;
    spec.it_value.tv_sec = (time_t)(deadline / PX_SEC);
    spec.it_value.tv_nsec = (long)(deadline % PX_SEC);
    int err = timerfd_settime(io->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
    px_assert(err == 0);
    io->armed = deadline;
}

static void run(struct px_overlay_io *io)
{
    io->ran_at = px_now_io();
    px_overlay_run(io->overlay, io->ran_at);
    arm(io, io->ran_at);
}

static void on_spin(uv_idle_t *handle)
{
    struct px_overlay_io *io = handle->data;
    if (px_overlay_deadline(io->overlay) <= px_now_io())
        run(io);
}

static void on_timer(uv_poll_t *handle, int status, int events)
{
    struct px_overlay_io *io = handle->data;
    uint64_t expirations;
    (void)status;
    (void)events;
    if (read(io->timer_fd, &expirations, sizeof(expirations)) != sizeof(expirations))
        return; /* set anew since it expired */
    io->armed = PX_NEVER;
    if (io->overlay != NULL)
        run(io);
}

/* Work that upper layers caused outside our own callbacks (an answer, a dial, a close) shows as a
 * deadline that has passed already at the last run. */
static void on_flush(uv_prepare_t *handle)
{
    struct px_overlay_io *io = handle->data;
    if (io->overlay != NULL && px_overlay_deadline(io->overlay) <= io->ran_at)
        run(io);
}

static bool may_pass(struct px_overlay_io *io, const struct px_addr *remote)
{
    if (io->pass == NULL || px_addr_eq(&io->passed, remote))
        return true;
    if (!io->pass(io->pass_ctx, remote))
        return false;
    io->passed = *remote;
    return true;
}

/* Fits px_quic_net.send. What may not leave counts as lost on the way. */
static int send_filtered(void *ctx, const struct px_path *path, unsigned ecn, struct px_slice data,
                         size_t segment)
{
    struct px_overlay_io *io = ctx;
    if (px_addr_is_circuit(&path->remote))
        return io->carry != NULL ? io->carry(io->carry_ctx, path, ecn, data, segment) : 0;
    if (px_addr_is_pipe(&path->remote))
        return io->pipe != NULL ? io->pipe(io->pipe_ctx, path, ecn, data, segment) : 0;
    if (!may_pass(io, &path->remote))
        return 0;
    return px_udp_send(io->udp, path, ecn, data, segment);
}

int px_overlay_io_send(struct px_overlay_io *io, const struct px_path *path, unsigned ecn,
                       struct px_slice data, size_t segment)
{
    if (px_addr_is_pipe(&path->remote))
        return io->pipe != NULL ? io->pipe(io->pipe_ctx, path, ecn, data, segment) : PX_EADDR;
    return io->udp != NULL ? px_udp_send(io->udp, path, ecn, data, segment) : PX_ECLOSED;
}

void px_overlay_io_set_filter(struct px_overlay_io *io,
                              bool (*pass)(void *ctx, const struct px_addr *remote), void *ctx)
{
    io->pass = pass;
    io->pass_ctx = ctx;
    memset(&io->passed, 0, sizeof(io->passed));
}

static void on_datagram(void *ctx, const struct px_path *path, unsigned ecn, struct px_slice data)
{
    struct px_overlay_io *io = ctx;
    if (io->overlay == NULL || !may_pass(io, &path->remote))
        return;
    if (io->batch_now == 0)
        io->batch_now = px_now_io();
    px_overlay_input(io->overlay, path, ecn, data, io->batch_now);
}

static void on_batch_end(void *ctx)
{
    struct px_overlay_io *io = ctx;
    io->batch_now = 0;
    if (io->overlay != NULL)
        run(io);
}

static void on_writable(void *ctx)
{
    struct px_overlay_io *io = ctx;
    if (io->overlay == NULL)
        return;
    px_overlay_writable(io->overlay);
    run(io);
}

static size_t on_batch(void *ctx, const struct px_path *path, unsigned ecn, uint8_t *data,
                       size_t len, size_t segment)
{
    struct px_overlay_io *io = ctx;
    return io->batch == NULL ? 0 : io->batch(io->batch_ctx, path, ecn, data, len, segment);
}

static const struct px_udp_ops udp_ops = {on_datagram, on_batch_end, on_writable, on_batch};

static void on_handle_closed(uv_handle_t *handle)
{
    struct px_overlay_io *io = handle->data;
    if (--io->handles > 0)
        return;
    void (*done)(void *ctx) = io->done;
    void *done_ctx = io->done_ctx;
    close(io->timer_fd);
    free(io);
    if (done != NULL)
        done(done_ctx);
}

static int open_timer(uv_loop_t *loop, struct px_overlay_io *io)
{
    io->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (io->timer_fd < 0)
        return PX_EIO;
    if (uv_poll_init(loop, &io->timer, io->timer_fd) != 0) {
        close(io->timer_fd);
        return PX_EIO;
    }
    uv_prepare_init(loop, &io->flush); /* cannot fail */
    uv_idle_init(loop, &io->spin);
    io->timer.data = io->flush.data = io->spin.data = io;
    uv_prepare_start(&io->flush, on_flush);
    io->handles = 3;
    io->armed = PX_NEVER;
    return 0;
}

static int open_overlay(uv_loop_t *loop, const struct px_addr *bind,
                        const struct px_overlay_config *config, struct px_overlay_io *io)
{
    struct px_overlay_config full = *config;
    int err = px_udp_new(loop, bind, &udp_ops, io, &io->udp);
    if (err != 0)
        return err;
    full.quic.rng = px_system_rng;
    full.quic.net = (struct px_quic_net){send_filtered, io};
    err = px_overlay_new(&full, &io->overlay);
    if (err == 0 && uv_poll_start(&io->timer, UV_READABLE, on_timer) != 0)
        err = PX_EIO;
    return err;
}

int px_overlay_io_new(uv_loop_t *loop, const struct px_addr *bind,
                      const struct px_overlay_config *config, struct px_overlay_io **ret)
{
    struct px_overlay_io *io = calloc(1, sizeof(*io));
    if (io == NULL)
        return PX_ENOMEM;
    int err = open_timer(loop, io);
    if (err != 0) {
        free(io);
        return err;
    }
    err = open_overlay(loop, bind, config, io);
    if (err != 0) {
        px_overlay_io_close(io, NULL, NULL);
        return err;
    }
    *ret = io;
    return 0;
}

struct px_udp *px_overlay_io_udp(struct px_overlay_io *io)
{
    return io->udp;
}

void px_overlay_io_set_batch(struct px_overlay_io *io,
                             size_t (*batch)(void *ctx, const struct px_path *path, unsigned ecn,
                                             uint8_t *data, size_t len, size_t segment),
                             void *ctx)
{
    io->batch = batch;
    io->batch_ctx = ctx;
}

void px_overlay_io_set_carrier(struct px_overlay_io *io,
                               int (*send)(void *ctx, const struct px_path *path, unsigned ecn,
                                           struct px_slice data, size_t segment),
                               void *ctx)
{
    io->carry = send;
    io->carry_ctx = ctx;
}

void px_overlay_io_set_pipes(struct px_overlay_io *io,
                             int (*send)(void *ctx, const struct px_path *path, unsigned ecn,
                                         struct px_slice data, size_t segment),
                             void *ctx)
{
    io->pipe = send;
    io->pipe_ctx = ctx;
}

/* A socket on an IPv6 wildcard sees IPv4 peers as IPv4: the local address of the path is of the
 * remote's family, unspecified, with our port. */
static void path_to(const struct px_overlay_io *io, const struct px_addr *remote,
                    struct px_path *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->local = *px_udp_local(io->udp);
    ret->remote = *remote;
    if (ret->local.family != remote->family) {
        uint16_t port = ret->local.port;
        memset(&ret->local, 0, sizeof(ret->local));
        ret->local.family = remote->family;
        ret->local.port = port;
    }
}

void px_overlay_io_carried(struct px_overlay_io *io, const struct px_addr *circuit, unsigned ecn,
                           struct px_slice datagram)
{
    struct px_path path;
    if (io->overlay == NULL)
        return;
    if (io->batch_now == 0)
        io->batch_now = px_now_io();
    path_to(io, circuit, &path); /* the same one px_overlay_io_dial makes */
    px_overlay_input(io->overlay, &path, ecn, datagram, io->batch_now);
}

void px_overlay_io_received(struct px_overlay_io *io, const struct px_addr *remote, uint8_t *data,
                            size_t len)
{
    struct px_path path;
    if (io->overlay == NULL)
        return;
    path_to(io, remote, &path);
    if (on_batch(io, &path, 0, data, len, len) == 0)
        px_overlay_io_carried(io, remote, 0, px_slice(data, len));
}

void px_overlay_io_resume(struct px_overlay_io *io, const struct px_path *path, unsigned ecn,
                          struct px_slice datagram)
{
    on_datagram(io, path, ecn, datagram);
}

void px_overlay_io_received_all(struct px_overlay_io *io)
{
    on_batch_end(io);
}

int px_overlay_io_dial(struct px_overlay_io *io, const struct px_peer_id *id,
                       const struct px_addr *remote, void *user, struct px_link **ret)
{
    struct px_path path;
    path_to(io, remote, &path);
    return px_overlay_dial(io->overlay, id, &path, user, px_now_io(), ret);
}

void px_overlay_io_network_changed(struct px_overlay_io *io)
{
    px_overlay_network_changed(io->overlay, px_now_io());
}

void px_overlay_io_suggest(struct px_overlay_io *io, const struct px_peer_id *id,
                           const struct px_addr *remote)
{
    struct px_link *l = io->overlay != NULL ? px_overlay_find(io->overlay, id) : NULL;
    if (l != NULL)
        px_link_suggest(l, remote);
}

void px_overlay_io_close(struct px_overlay_io *io, void (*done)(void *ctx), void *ctx)
{
    io->done = done;
    io->done_ctx = ctx;
    if (io->overlay != NULL) {
        struct px_overlay *o = io->overlay;
        px_overlay_shutdown(o);
        px_overlay_run(o, px_now_io());
        px_overlay_free(o);
        io->overlay = NULL; /* the socket may still report something */
    }
    if (io->udp != NULL)
        px_udp_close(io->udp);
    io->udp = NULL;
    uv_close((uv_handle_t *)&io->timer, on_handle_closed);
    uv_close((uv_handle_t *)&io->flush, on_handle_closed);
    uv_close((uv_handle_t *)&io->spin, on_handle_closed);
}

/* See tls_pipe_io.h. */
#include "transport/tls_pipe_io.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#include "transport/overlay_io.h"
#include "transport/sockaddr.h"

#define READS        16    /* records a wake-up: then others get their turn */
#define WARNINGS     4     /* of a TLS handshake, one after the other */
#define READ_BYTES   16384 /* a TLS record holds no more */
#define USER_TIMEOUT 20000 /* ms without TCP acknowledgements */

enum state { CONNECTING, HANDSHAKE, OPEN, CLOSED, STATES };

struct px_tls_pipe_io {
    enum state state;
    int fd;
    uv_poll_t poll;
    uv_timer_t timer;
    unsigned handles; /* not yet closed */
    int events;       /* what the poll waits for */
    gnutls_session_t session;
    struct px_tls_pipe core;
    bool record; /* GnuTLS holds a record that the kernel did not take whole */
    const struct px_tls_pipe_io_ops *ops;
    void *ctx;
};

static void set_state(struct px_tls_pipe_io *io, enum state to)
{
    static const bool allowed[STATES][STATES] = {
        [CONNECTING] = {[HANDSHAKE] = true, [CLOSED] = true},
        [HANDSHAKE] = {[OPEN] = true, [CLOSED] = true},
        [OPEN] = {[CLOSED] = true},
    };
    px_assert(allowed[io->state][to]);
    io->state = to;
}

/* ---- the end ---- */

static void destroy(struct px_tls_pipe_io *io)
{
    if (io->session != NULL)
        gnutls_deinit(io->session);
    if (io->fd >= 0)
        close(io->fd);
    px_tls_pipe_deinit(&io->core);
    free(io);
}

static void on_handle_closed(uv_handle_t *h)
{
    struct px_tls_pipe_io *io = h->data;
    if (--io->handles == 0)
        destroy(io);
}

/* Session and socket go at once, whatever outlives us; memory when the loop has let go of it. */
static void shut(struct px_tls_pipe_io *io)
{
    set_state(io, CLOSED);
    uv_close((uv_handle_t *)&io->poll, on_handle_closed);
    uv_close((uv_handle_t *)&io->timer, on_handle_closed);
    gnutls_deinit(io->session);
    io->session = NULL;
    close(io->fd);
    io->fd = -1;
}

static void fail(struct px_tls_pipe_io *io, int err)
{
    if (io->state == CLOSED)
        return;
    if (io->state == OPEN)
        (void)gnutls_bye(io->session, GNUTLS_SHUT_WR);
    shut(io);
    io->ops->closed(io->ctx, err);
}

/* ---- sending ---- */

static bool must_wait(ssize_t rv)
{
    return rv == GNUTLS_E_AGAIN || rv == GNUTLS_E_INTERRUPTED;
}

static int error_of(ssize_t rv)
{
    switch (rv) {
    case 0:
    case GNUTLS_E_PREMATURE_TERMINATION:
    case GNUTLS_E_PUSH_ERROR:
    case GNUTLS_E_PULL_ERROR:
        return PX_ECLOSED;
    case GNUTLS_E_MEMORY_ERROR:
        return PX_ENOMEM;
    default:
        return PX_ETLS;
    }
}

/* 0: all is sent. PX_EAGAIN: the kernel has enough. */
static int push(struct px_tls_pipe_io *io)
{
    uint8_t frames[PX_TLS_PIPE_RECORD];
    for (;;) {
        size_t len = io->record ? 0 : px_tls_pipe_take(&io->core, frames, sizeof(frames));
        if (len == 0 && !io->record)
            return 0;
        ssize_t rv = gnutls_record_send(io->session, len > 0 ? frames : NULL, len);
        io->record = must_wait(rv);
        if (io->record)
            return PX_EAGAIN;
        if (rv < 0)
            return error_of(rv);
        if (len > 0 && (size_t)rv < len) /* the other side wants records smaller than ours */
            return PX_ETLS;
    }
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void watch(struct px_tls_pipe_io *io)
{
    bool write = io->state == CONNECTING || io->record ||
                 (io->state == HANDSHAKE && gnutls_record_get_direction(io->session) == 1) ||
                 (io->state == OPEN && !px_tls_pipe_is_empty(&io->core));
    int events = (io->state == CONNECTING ? 0 : UV_READABLE) | (write ? UV_WRITABLE : 0);
    if (io->state == CLOSED || events == io->events)
        return;
    io->events = events;
    (void)uv_poll_start(&io->poll, events, on_poll); /* cannot fail once started */
}

void px_tls_pipe_io_flush(struct px_tls_pipe_io *io)
{
    if (io->state != OPEN)
        return;
    int err = push(io);
    if (err != 0 && err != PX_EAGAIN)
        fail(io, err);
    else
        watch(io);
}

void px_tls_pipe_io_send(struct px_tls_pipe_io *io, struct px_slice data, size_t segment)
{
    if (io->state != OPEN)
        return;
    bool idle = px_tls_pipe_is_empty(&io->core) && !io->record;
    px_tls_pipe_queue(&io->core, data, segment);
    if (idle)
        io->ops->pending(io->ctx);
}

/* ---- receiving ---- */

static int deliver(struct px_tls_pipe_io *io, struct px_slice bytes)
{
    px_nsec now = px_now_io();
    uint8_t *data;
    size_t len;
    int err;
    while ((err = px_tls_pipe_read(&io->core, &bytes, now, &data, &len)) == 0) {
        io->ops->datagram(io->ctx, data, len);
        if (io->state != OPEN)
            return PX_ECLOSED;
    }
    return err == PX_EAGAIN ? 0 : err;
}

/* 0: there is no more for now, or it is others' turn. What GnuTLS has read already must go: no
 * event would tell of it. */
static int pull(struct px_tls_pipe_io *io)
{
    uint8_t bytes[READ_BYTES];
    for (int i = 0; i < READS || gnutls_record_check_pending(io->session) > 0; i++) {
        ssize_t rv = gnutls_record_recv(io->session, bytes, sizeof(bytes));
        if (must_wait(rv))
            return 0;
        if (rv <= 0)
            return error_of(rv);
        int err = deliver(io, px_slice(bytes, (size_t)rv));
        if (err != 0)
            return err;
    }
    return 0;
}

static void run_open(struct px_tls_pipe_io *io)
{
    int err = pull(io);
    if (io->state == CLOSED) /* by what it delivered */
        return;
    io->ops->batch_end(io->ctx);
    if (io->state == CLOSED)
        return;
    if (err != 0)
        fail(io, err);
    else
        px_tls_pipe_io_flush(io);
}

/* ---- coming up ---- */

/* Warnings are no errors, but whoever sends nothing else would keep us here. */
static void run_handshake(struct px_tls_pipe_io *io)
{
    int rv, tries = 0;
    do {
        rv = gnutls_handshake(io->session);
    } while (rv < 0 && !must_wait(rv) && gnutls_error_is_fatal(rv) == 0 && ++tries < WARNINGS);
    if (must_wait(rv)) {
        watch(io);
        return;
    }
    if (rv < 0) {
        (void)gnutls_alert_send_appropriate(io->session, rv);
        fail(io, error_of(rv));
        return;
    }
    set_state(io, OPEN);
    io->ops->open(io->ctx);
    if (io->state == OPEN)
        run_open(io); /* something may have come with the last flight */
}

static void run_connecting(struct px_tls_pipe_io *io)
{
    int errnum = 0;
    socklen_t len = sizeof(errnum);
    if (getsockopt(io->fd, SOL_SOCKET, SO_ERROR, &errnum, &len) < 0)
        errnum = errno;
    if (errnum != 0) {
        fail(io, px_err_from_errno(errnum));
        return;
    }
    set_state(io, HANDSHAKE);
    run_handshake(io);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct px_tls_pipe_io *io = poll->data;
    (void)status; /* the socket's error comes with the next call */
    (void)events;
    switch (io->state) {
    case CONNECTING:
        run_connecting(io);
        return;
    case HANDSHAKE:
        run_handshake(io);
        return;
    case OPEN:
        run_open(io);
        return;
    case CLOSED:
    case STATES:
        return;
    }
}

/* ---- time ---- */

static void on_timer(uv_timer_t *t);

static void arm(struct px_tls_pipe_io *io)
{
    px_nsec now = px_now_io(), at = px_tls_pipe_deadline(&io->core);
    (void)uv_timer_start(&io->timer, on_timer, at <= now ? 0 : (at - now) / PX_MSEC + 1, 0);
}

static void on_timer(uv_timer_t *t)
{
    struct px_tls_pipe_io *io = t->data;
    int err = px_tls_pipe_check(&io->core, px_now_io());
    if (err != 0) {
        fail(io, err);
        return;
    }
    if (px_tls_pipe_is_empty(&io->core))
        px_tls_pipe_shrink(&io->core); /* it needs none for now */
    arm(io);
}

/* ---- start ---- */

/* Bounds what waits in the kernel, which none of us can drop any more. */
static void set_options(int fd)
{
    static const struct {
        int name, value;
    } options[] = {{TCP_NODELAY, 1},
                   {TCP_NOTSENT_LOWAT, PX_TLS_PIPE_KERNEL},
                   {TCP_USER_TIMEOUT, USER_TIMEOUT}};
    for (size_t i = 0; i < PX_ARRAY_LEN(options); i++)
        (void)setsockopt(fd, IPPROTO_TCP, options[i].name, &options[i].value,
                         sizeof(options[i].value));
}

static int start(struct px_tls_pipe_io *io, uv_loop_t *loop, const struct px_tls_pipe_tls *tls,
                 const char *name)
{
    set_options(io->fd);
    int err = px_tls_pipe_tls_session(tls, io->fd, name, &io->session);
    if (err != 0)
        return err;
    if (uv_poll_init(loop, &io->poll, io->fd) != 0)
        return PX_EIO;
    (void)uv_timer_init(loop, &io->timer); /* cannot fail */
    io->poll.data = io->timer.data = io;
    io->handles = 2;
    watch(io);
    arm(io);
    return 0;
}

static int pipe_new(uv_loop_t *loop, int owned_fd, enum state state, const char *name,
                    const struct px_tls_pipe_tls *tls, const struct px_tls_pipe_io_ops *ops,
                    void *ctx, struct px_tls_pipe_io **ret)
{
    struct px_tls_pipe_io *io = calloc(1, sizeof(*io));
    if (io == NULL) {
        close(owned_fd);
        return PX_ENOMEM;
    }
    *io = (struct px_tls_pipe_io){.state = state, .fd = owned_fd, .ops = ops, .ctx = ctx};
    px_tls_pipe_init(&io->core, px_now_io());
    int err = start(io, loop, tls, name);
    if (err != 0)
        destroy(io);
    else
        *ret = io;
    return err;
}

int px_tls_pipe_io_accept(uv_loop_t *loop, int owned_fd, const struct px_tls_pipe_tls *tls,
                          const struct px_tls_pipe_io_ops *ops, void *ctx,
                          struct px_tls_pipe_io **ret)
{
    return pipe_new(loop, owned_fd, HANDSHAKE, "", tls, ops, ctx, ret);
}

int px_tls_pipe_io_connect(uv_loop_t *loop, const struct px_addr *to, const char *name,
                           const struct px_tls_pipe_tls *tls, const struct px_tls_pipe_io_ops *ops,
                           void *ctx, struct px_tls_pipe_io **ret)
{
    union px_sockaddr sa;
    socklen_t len = px_sockaddr_from_addr(to, &sa);
    if (len == 0)
        return PX_EADDR;
    int fd = socket(sa.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return px_err_from_errno(errno);
    if (connect(fd, &sa.sa, len) < 0 && errno != EINPROGRESS) {
        int err = px_err_from_errno(errno);
        close(fd);
        return err;
    }
    return pipe_new(loop, fd, CONNECTING, name, tls, ops, ctx, ret);
}

void px_tls_pipe_io_close(struct px_tls_pipe_io *io)
{
    if (io == NULL || io->state == CLOSED)
        return;
    if (io->state == OPEN && push(io) == 0)
        (void)gnutls_bye(io->session, GNUTLS_SHUT_WR);
    shut(io);
}

bool px_tls_pipe_io_is_open(const struct px_tls_pipe_io *io)
{
    return io->state == OPEN;
}

bool px_tls_pipe_io_is_empty(const struct px_tls_pipe_io *io)
{
    return px_tls_pipe_is_empty(&io->core);
}

size_t px_tls_pipe_io_memory(const struct px_tls_pipe_io *io)
{
    return px_tls_pipe_memory(&io->core);
}

void px_tls_pipe_io_shrink(struct px_tls_pipe_io *io)
{
    px_tls_pipe_shrink(&io->core);
}

void px_tls_pipe_io_set_proved(struct px_tls_pipe_io *io, bool proved)
{
    px_tls_pipe_set_proved(&io->core, proved, px_now_io());
    if (io->state != CLOSED)
        arm(io);
}

const struct px_tls_pipe_stats *px_tls_pipe_io_stats(const struct px_tls_pipe_io *io)
{
    return &io->core.stats;
}

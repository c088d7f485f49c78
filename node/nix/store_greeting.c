/* The one blocking part of the daemon backend: a connection up to the end of the greeting, which
 * tells at start whether there is a daemon that serves us. */
#include "node/nix/store_greeting.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static int connect_to(const char *path, int *ret_fd)
{
    const struct timeval limit = {.tv_sec = PX_STORE_REPLY_TIMEOUT_MS / 1000};
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(sa.sun_path))
        return PX_ELIMIT;
    memcpy(sa.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return px_err_from_errno(errno);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    if (connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) != 0) {
        int errnum = errno;
        close(fd);
        /* Nobody listens on it: as good as none. */
        return errnum == ECONNREFUSED ? PX_ENOENT : px_err_from_errno(errnum);
    }
    *ret_fd = fd;
    return 0;
}

static int exchange(int fd, struct px_worker *w, struct px_buf *out)
{
    uint8_t in[4096];
    if (w->out.len > 0) {
        px_buf_clear(out);
        px_worker_take_output(w, out);
        if (send(fd, out->data, out->len, MSG_NOSIGNAL) != (ssize_t)out->len)
            return PX_EPERM;
    }
    ssize_t n = recv(fd, in, sizeof(in), 0);
    if (n == 0 || (n < 0 && errno == ECONNRESET)) /* hung up on: this user is not allowed */
        return PX_EPERM;
    if (n < 0)
        return errno == EAGAIN ? PX_ETIMEDOUT : px_err_from_errno(errno);
    return px_worker_feed(w, px_slice(in, (size_t)n));
}

static int exchange_greetings(int fd, struct px_worker *w)
{
    struct px_worker_event ev;
    struct px_buf out;
    int err;
    px_buf_init(&out, 0);
    do {
        err = exchange(fd, w, &out);
        while (err == 0 && (err = px_worker_next(w, &ev)) == 0 && ev.kind != PX_WORKER_READY)
            ;
    } while (err == PX_EAGAIN);
    px_buf_deinit(&out);
    return err;
}

int px_store_greet(const char *socket_path, const char *store_dir, struct px_worker *ret_worker,
                   int *ret_fd)
{
    int fd = -1; /* gcc does not see that connect sets it */
    int err = connect_to(socket_path, &fd);
    if (err != 0)
        return err;
    err = px_worker_init(ret_worker, store_dir);
    if (err == 0) {
        err = exchange_greetings(fd, ret_worker);
        if (err != 0)
            px_worker_deinit(ret_worker);
    }
    if (err != 0) {
        close(fd);
        return err;
    }
    *ret_fd = fd;
    return 0;
}

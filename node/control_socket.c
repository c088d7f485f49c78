/* The lock decides who is the daemon of a home; dialling finds daemons that lost their lock file,
 * and tells a stale socket from a live one. The lock file is never removed, or two daemons could
 * hold two of them. */
#include "node/control_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "auth/file_io.h"
#include "node/control.h"
#include "node/program.h"
#include "proto/base/encoding.h"

#define BACKLOG 64

struct opening {
    const struct px_home *home;
    struct px_control_socket *s;
    int other_pid;
    char *hint;
    size_t hint_size;
};

static void PX_PRINTF(2, 3) hint(struct opening *o, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(o->hint, o->hint_size, fmt, ap);
    va_end(ap);
}

static int state_path(const struct px_home *home, const char *name, char ret[PX_HOME_FILE_MAX])
{
    int n = snprintf(ret, PX_HOME_FILE_MAX, "%s/%s", home->state_dir, name);
    return n < 0 || n >= PX_HOME_FILE_MAX ? PX_ELIMIT : 0;
}

static int socket_addr(const char *path, struct sockaddr_un *ret)
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    int n = snprintf(ret->sun_path, sizeof(ret->sun_path), "%s", path);
    return n < 0 || (size_t)n >= sizeof(ret->sun_path) ? PX_EADDR : 0;
}

/* --- who is there --- */

/* The credentials of a dialled Unix socket are those of the process that listens. */
static int listener_pid(int fd)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 ? (int)cred.pid : 0;
}

int px_control_socket_dial(const char *path, int *ret_pid)
{
    struct sockaddr_un addr;
    int err = socket_addr(path, &addr);
    if (err != 0)
        return err;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return px_err_from_errno(errno);
    int why = connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) == 0 ? 0 : errno;
    *ret_pid = why == 0 ? listener_pid(fd) : 0;
    close(fd);
    if (why == EAGAIN) /* its backlog is full: somebody is there */
        return 0;
    return why == ECONNREFUSED ? PX_ENOENT : why == 0 ? 0 : px_err_from_errno(why);
}

/* What the holder of the lock wrote into it. */
static int lock_pid(int fd)
{
    struct px_buf text;
    struct px_slice rest, line;
    uint64_t pid = 0;
    px_buf_init(&text, 32);
    if (px_file_read_fd(fd, 32, &text) == 0) {
        rest = px_buf_slice(&text);
        if (!px_slice_split(&rest, '\n', &line) || px_slice_parse_u64(line, &pid) != 0)
            pid = 0;
    }
    px_buf_deinit(&text);
    return pid <= INT32_MAX ? (int)pid : 0;
}

static int is_taken(struct opening *o)
{
    int pid = 0;
    if (px_control_socket_dial(o->s->path, &pid) == 0 && pid > 0)
        o->other_pid = pid;
    hint(
        o,
        "another daemon of this home is running (pid %d); see `%s status`, end that one, or choose "
        "another --home",
        o->other_pid, px_program.name);
    return PX_EEXIST;
}

/* --- the steps --- */

static int check_dir(struct opening *o)
{
    struct stat st;
    const char *dir = o->home->state_dir;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        int err = px_err_from_errno(errno);
        hint(o, "cannot create %s; run `%s init`", dir, px_program.name);
        return err;
    }
    if (stat(dir, &st) != 0)
        return px_err_from_errno(errno);
    if ((st.st_uid == geteuid() || geteuid() == 0) && (st.st_mode & 022) == 0)
        return 0;
    hint(o, "others may write in %s: `chmod 700` it, and let it belong to the daemon's user", dir);
    return PX_EPERM;
}

static int take_lock(struct opening *o)
{
    char path[PX_HOME_FILE_MAX], pid[32];
    int err = state_path(o->home, PX_HOME_CONTROL_LOCK, path);
    if (err != 0)
        return err;
    int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        err = px_err_from_errno(errno);
        hint(o, "cannot open %s; does it belong to another user?", path);
        return err;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        o->other_pid = lock_pid(fd);
        close(fd);
        return is_taken(o);
    }
    o->s->lock_fd = fd;
    int n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)n, 0) != n)
        return PX_EIO;
    return 0;
}

static int clear_stale(struct opening *o)
{
    struct stat st;
    int pid;
    const char *path = o->s->path;
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? 0 : px_err_from_errno(errno);
    if (!S_ISSOCK(st.st_mode)) {
        hint(o, "%s is no socket; remove it", path);
        return PX_EPERM;
    }
    int err = px_control_socket_dial(path, &pid);
    if (err == 0)
        return is_taken(o);
    if (err != PX_ENOENT)
        return err;
    return unlink(path) == 0 || errno == ENOENT ? 0 : px_err_from_errno(errno);
}

static int write_cookie(struct opening *o)
{
    uint8_t secret[PX_CONTROL_COOKIE_LEN / 2];
    char path[PX_HOME_FILE_MAX];
    struct px_buf text;
    int err = state_path(o->home, PX_HOME_CONTROL_COOKIE, path);
    if (err != 0)
        return err;
    px_buf_init(&text, PX_CONTROL_COOKIE_LEN + 1);
    px_system_rng.fill(px_system_rng.ctx, secret, sizeof(secret));
    err = px_hex_encode(&text, px_slice(secret, sizeof(secret)));
    px_wipe(secret, sizeof(secret));
    if (err == 0)
        err = px_buf_put_u8(&text, '\n');
    if (err == 0) {
        memcpy(o->s->cookie, text.data, PX_CONTROL_COOKIE_LEN);
        err = px_file_write_atomic(path, px_buf_slice(&text), 0600, false);
        px_wipe(text.data, text.len);
    }
    px_buf_deinit(&text);
    if (err == 0)
        memcpy(o->s->cookie_path, path, sizeof(path));
    return err;
}

/* The mode set on the descriptor is the one the name is made with: there is no moment in which
 * others could connect. */
static int start_listening(struct opening *o)
{
    struct sockaddr_un addr;
    int err = socket_addr(o->s->path, &addr);
    if (err != 0)
        return err;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return px_err_from_errno(errno);
    o->s->listen_fd = fd;
    if (fchmod(fd, 0600) != 0 || bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0)
        return px_err_from_errno(errno);
    o->s->bound = true;
    return chmod(o->s->path, 0600) != 0 || listen(fd, BACKLOG) != 0 ? px_err_from_errno(errno) : 0;
}

static int check_path(struct opening *o)
{
    struct sockaddr_un addr;
    int err = state_path(o->home, PX_HOME_CONTROL_SOCKET, o->s->path);
    if (err == 0)
        err = socket_addr(o->s->path, &addr);
    if (err == 0)
        return 0;
    hint(o, "%s/%s is longer than the %zu bytes a socket's path may have; choose a shorter --home",
         o->home->state_dir, PX_HOME_CONTROL_SOCKET, sizeof(addr.sun_path) - 1);
    return PX_EADDR;
}

int px_control_socket_open(const struct px_home *home, struct px_control_socket *ret,
                           int *ret_other_pid, char *ret_hint, size_t hint_size)
{
    static int (*const steps[])(struct opening * o) = {check_path,  check_dir,    take_lock,
                                                       clear_stale, write_cookie, start_listening};
    struct opening o = {.home = home, .s = ret, .hint = ret_hint, .hint_size = hint_size};
    int err = 0;
    *ret = (struct px_control_socket){.lock_fd = -1, .listen_fd = -1};
    hint(&o, "is the file system full or read-only?");
    for (size_t i = 0; i < PX_ARRAY_LEN(steps) && err == 0; i++)
        err = steps[i](&o);
    *ret_other_pid = o.other_pid;
    if (err == 0)
        return 0;
    px_control_socket_remove(ret);
    px_control_socket_close(ret);
    return err;
}

/* --- the end --- */

void px_control_socket_remove(struct px_control_socket *s)
{
    if (s->bound)
        (void)unlink(s->path);
    if (s->cookie_path[0] != '\0')
        (void)unlink(s->cookie_path);
    s->bound = false;
    s->cookie_path[0] = '\0';
}

void px_control_socket_close(struct px_control_socket *s)
{
    if (s->listen_fd >= 0)
        close(s->listen_fd);
    if (s->lock_fd >= 0)
        close(s->lock_fd); /* and with it the lock */
    s->listen_fd = s->lock_fd = -1;
    px_wipe(s->cookie, sizeof(s->cookie));
}

/* Read, change and replace under one lock. The lock is a file of its own, since the edited file is
 * a new one after each edit; it is never removed, or two editors could hold two of them. */
#include "auth/edit_io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "auth/file_io.h"

enum { LOCK_TRIES = 500, LOCK_PAUSE_MS = 20 };

static int wait_for_lock(int fd)
{
    const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * 1000000L};
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return 0;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return px_err_from_errno(errno);
        nanosleep(&pause, NULL);
    }
    return PX_EBUSY;
}

/* A lock file made by root must not keep the owner of the list out. Only a file we made just
 * now is given away: an existing name may be a hard link to anything. */
static int open_lock(const char *name, const char *path)
{
    int fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno == EEXIST ? open(name, O_RDWR | O_NOFOLLOW | O_CLOEXEC) : -1;
    struct stat st;
    if (geteuid() == 0 && stat(path, &st) == 0 && fchown(fd, st.st_uid, st.st_gid) != 0) {
        int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

static int lock(const char *path, int *ret_fd)
{
    char *name;
    if (asprintf(&name, "%s.lock", path) < 0)
        return PX_ENOMEM;
    int fd = open_lock(name, path);
    int err = fd >= 0 ? wait_for_lock(fd) : px_err_from_errno(errno);
    free(name);
    if (err == 0)
        *ret_fd = fd;
    else if (fd >= 0)
        close(fd);
    return err;
}

/* The file as it is, or an empty text and the mode of a new one. */
static int read_current(const char *path, size_t max, struct px_buf *text, unsigned *ret_mode)
{
    struct stat st;
    *ret_mode = 0600;
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? 0 : px_err_from_errno(errno);
    if (!S_ISREG(st.st_mode))
        return PX_EPERM;
    *ret_mode = st.st_mode & 0777;
    return px_file_read(path, max, text);
}

static int edit_locked(const char *path, size_t max,
                       int (*change)(void *ctx, struct px_slice text, struct px_buf *out),
                       void *ctx)
{
    struct px_buf text, changed;
    unsigned mode;
    px_buf_init(&text, max);
    px_buf_init(&changed, max);
    int err = read_current(path, max, &text, &mode);
    if (err == 0)
        err = change(ctx, px_buf_slice(&text), &changed);
    if (err == 0)
        err = px_file_write_atomic(path, px_buf_slice(&changed), mode, false);
    px_buf_deinit(&text);
    px_buf_deinit(&changed);
    return err;
}

int px_edit_file(const char *path, size_t max,
                 int (*change)(void *ctx, struct px_slice text, struct px_buf *out), void *ctx)
{
    int fd = -1;
    int err = lock(path, &fd);
    if (err != 0)
        return err;
    err = edit_locked(path, max, change, ctx);
    close(fd); /* and with it the lock */
    return err;
}

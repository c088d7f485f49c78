/* Read, change and replace under one lock. The lock is a file of its own, since the list itself is
 * a new file after each edit; it is never removed, or two editors could hold two of them. */
#include "auth/authorized_keys_io.h"

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

int px_authorized_keys_load(const char *path, struct px_authorized_keys **ret)
{
    struct px_buf text;
    struct stat st;
    px_buf_init(&text, PX_AUTH_FILE_MAX);
    int err = stat(path, &st) == 0 && (st.st_mode & S_IWOTH) != 0 ? PX_EPERM : 0;
    if (err == 0)
        err = px_file_read(path, PX_AUTH_FILE_MAX, &text);
    if (err == 0 || err == PX_ENOENT)
        err = px_authorized_keys_parse(px_buf_slice(&text), ret);
    px_buf_deinit(&text);
    return err;
}

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
static int read_current(const char *path, struct px_buf *text, unsigned *ret_mode)
{
    struct stat st;
    *ret_mode = 0600;
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? 0 : px_err_from_errno(errno);
    if (!S_ISREG(st.st_mode))
        return PX_EPERM;
    *ret_mode = st.st_mode & 0777;
    return px_file_read(path, PX_AUTH_FILE_MAX, text);
}

/* One edit: sets the entry, or removes the peer when there is none. */
struct edit {
    const struct px_authorized_key *set;
    const struct px_peer_id *remove;
};

static int edit_locked(const char *path, const struct edit *e)
{
    struct px_buf text, changed;
    unsigned mode;
    px_buf_init(&text, PX_AUTH_FILE_MAX);
    px_buf_init(&changed, PX_AUTH_FILE_MAX);
    int err = read_current(path, &text, &mode);
    if (err == 0)
        err = e->set != NULL
                  ? px_authorized_keys_text_set(px_buf_slice(&text), e->set, &changed)
                  : px_authorized_keys_text_remove(px_buf_slice(&text), e->remove, &changed);
    if (err == 0)
        err = px_file_write_atomic(path, px_buf_slice(&changed), mode, false);
    px_buf_deinit(&text);
    px_buf_deinit(&changed);
    return err;
}

static int edit(const char *path, const struct edit *e)
{
    int fd = -1;
    int err = lock(path, &fd);
    if (err != 0)
        return err;
    err = edit_locked(path, e);
    close(fd); /* and with it the lock */
    return err;
}

int px_authorized_keys_file_set(const char *path, const struct px_authorized_key *k)
{
    return edit(path, &(struct edit){.set = k});
}

int px_authorized_keys_file_remove(const char *path, const struct px_peer_id *id)
{
    return edit(path, &(struct edit){.remove = id});
}

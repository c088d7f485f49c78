/* Bounded reads and atomic writes of small files.
 *
 * A reader sees the old file or the new one, never a part: the content goes to a temporary file
 * beside it, to the disk, and then takes the name in one step. */
#include "auth/file_io.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

int px_file_read_fd(int fd, size_t max, struct px_buf *out)
{
    uint8_t chunk[4096];
    size_t left = max, start = out->len;
    ssize_t n;
    int err = 0;
    do {
        /* one byte more than allowed, to notice that there is more */
        n = read(fd, chunk, left < sizeof(chunk) ? left + 1 : sizeof(chunk));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            err = px_err_from_errno(errno);
        else if ((size_t)n > left)
            err = PX_ELIMIT;
        else
            err = px_buf_put(out, px_slice(chunk, (size_t)n));
        left -= err == 0 ? (size_t)n : 0;
    } while (err == 0 && n != 0);
    explicit_bzero(chunk, sizeof(chunk)); /* key files pass here */
    if (err != 0)
        out->len = start;
    return err;
}

int px_file_read(const char *path, size_t max, struct px_buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return px_err_from_errno(errno);
    int err = px_file_read_fd(fd, max, out);
    close(fd);
    return err;
}

static int write_all(int fd, struct px_slice s)
{
    while (s.len > 0) {
        ssize_t n = write(fd, s.data, s.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return px_err_from_errno(errno);
        s = px_slice_skip(s, (size_t)n);
    }
    return 0;
}

/* The directory of a path as a heap string; NULL without memory. */
static char *dir_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return strdup(".");
    return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

/* Makes the new name survive a power cut. */
static int sync_dir(const char *path)
{
    char *dir = dir_of(path);
    if (dir == NULL)
        return PX_ENOMEM;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int err = fd >= 0 && fsync(fd) == 0 ? 0 : px_err_from_errno(errno);
    if (fd >= 0)
        close(fd);
    free(dir);
    return err;
}

/* Opens a new file beside path; *ret_name is its heap-allocated name. */
static int open_temp(const char *path, char **ret_name, int *ret_fd)
{
    uint64_t r;
    char *name;
    if (getrandom(&r, sizeof(r), 0) != (ssize_t)sizeof(r))
        return PX_EIO;
    if (asprintf(&name, "%s.%016" PRIx64 ".tmp", path, r) < 0)
        return PX_ENOMEM;
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        int err = px_err_from_errno(errno);
        free(name);
        return err;
    }
    *ret_name = name;
    *ret_fd = fd;
    return 0;
}

/* Content, owner and mode, all on the disk before the file gets its name. */
static int fill_temp(int fd, const char *path, struct px_slice content, unsigned mode)
{
    struct stat old;
    int err = write_all(fd, content);
    if (err == 0 && geteuid() == 0 && lstat(path, &old) == 0 &&
        fchown(fd, old.st_uid, old.st_gid) != 0)
        err = px_err_from_errno(errno);
    if (err == 0 && (fchmod(fd, (mode_t)mode) != 0 || fsync(fd) != 0))
        err = px_err_from_errno(errno);
    return err;
}

int px_file_write_atomic(const char *path, struct px_slice content, unsigned mode, bool exclusive)
{
    char *temp = NULL;
    int fd = -1;
    int err = open_temp(path, &temp, &fd);
    if (err != 0)
        return err;
    err = fill_temp(fd, path, content, mode);
    if (close(fd) != 0 && err == 0)
        err = px_err_from_errno(errno);
    /* link(2) refuses an existing name where rename(2) would replace it */
    if (err == 0 && (exclusive ? link(temp, path) : rename(temp, path)) != 0)
        err = px_err_from_errno(errno);
    if (err != 0 || exclusive)
        unlink(temp);
    if (err == 0)
        err = sync_dir(path);
    free(temp);
    return err;
}

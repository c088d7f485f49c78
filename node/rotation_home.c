/* See rotation_home.h. */
#include "node/rotation_home.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/identity_io.h"
#include "node/fault_point.h"

int px_rotation_home_next(const struct px_home *h, const struct px_identity *now,
                          struct px_identity *ret, char *ret_hint, size_t hint_size)
{
    char path[PX_HOME_FILE_MAX];
    struct px_identity next;
    px_home_config_path(h, PX_HOME_IDENTITY_NEXT, path);
    int err = px_identity_load(path, &next, ret_hint, hint_size);
    if (err == 0 && px_peer_id_eq(&next.id, &now->id)) {
        snprintf(ret_hint, hint_size, "%s holds the key that is in use; remove it", path);
        err = PX_ESTATE;
    }
    if (err == 0)
        memcpy(ret, &next, sizeof(next));
    px_identity_wipe(&next);
    return err;
}

int px_rotation_home_begin(const struct px_home *h)
{
    char path[PX_HOME_FILE_MAX];
    struct px_identity next;
    px_identity_generate(&px_system_rng, &next);
    int err = px_identity_create(px_home_config_path(h, PX_HOME_IDENTITY_NEXT, path), &next);
    px_identity_wipe(&next);
    px_fault_point("rotation-begun");
    return err;
}

static int sync_directory(const struct px_home *h)
{
    int fd = open(h->config_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return px_err_from_errno(errno);
    int err = fsync(fd) == 0 ? 0 : px_err_from_errno(errno);
    close(fd);
    return err;
}

/* Opens a key file whose name is about to go, so that its bytes can follow. -1: it stays as it is.
 */
static int open_doomed(const char *path)
{
    return open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
}

/* Best effort: what the storage below keeps is out of reach. A file that still has a name is
 * somebody's backup. */
static void overwrite_doomed(int fd)
{
    static const uint8_t zeros[4096];
    struct stat st;
    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 0)
        for (off_t at = 0; at < st.st_size; at += (off_t)sizeof(zeros))
            if (pwrite(fd, zeros, (size_t)PX_MIN((off_t)sizeof(zeros), st.st_size - at), at) <= 0)
                break;
    (void)fsync(fd);
    close(fd);
}

static int check_regular(const char *path)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return px_err_from_errno(errno);
    return S_ISREG(st.st_mode) ? 0 : PX_EPERM;
}

int px_rotation_home_finish(const struct px_home *h)
{
    char next[PX_HOME_FILE_MAX], now[PX_HOME_FILE_MAX];
    px_home_config_path(h, PX_HOME_IDENTITY_NEXT, next);
    px_home_config_path(h, PX_HOME_IDENTITY, now);
    int err = check_regular(next);
    if (err == 0)
        err = check_regular(now);
    if (err != 0)
        return err;
    px_fault_point("rotation-finishing");
    int old = open_doomed(now);
    if (rename(next, now) != 0)
        err = px_err_from_errno(errno);
    px_fault_point("rotation-switched");
    if (err == 0)
        err = sync_directory(h);
    overwrite_doomed(old);
    return err;
}

int px_rotation_home_abort(const struct px_home *h)
{
    char next[PX_HOME_FILE_MAX];
    px_home_config_path(h, PX_HOME_IDENTITY_NEXT, next);
    int doomed = open_doomed(next);
    int err = unlink(next) == 0 ? 0 : px_err_from_errno(errno);
    px_fault_point("rotation-aborted");
    if (err == 0)
        err = sync_directory(h);
    overwrite_doomed(doomed);
    return err;
}

/* Loads a key made by `peerix init` or `nix-store --generate-binary-cache-key`. */
#include "node/nix/nix_key_io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/file_io.h"

#define KEY_FILE_MAX 1024

static const char *choose(const struct px_home *home, const char *option, char *space, size_t size)
{
    const char *env = getenv("PEERIX_NIX_KEY_FILE");
    const char *credentials = getenv("CREDENTIALS_DIRECTORY");
    if (option != NULL && option[0] != '\0')
        return option;
    if (env != NULL && env[0] != '\0')
        return env;
    if (credentials != NULL && credentials[0] != '\0') {
        int n = snprintf(space, size, "%s/nix-key", credentials);
        struct stat st;
        if (n > 0 && (size_t)n < size && stat(space, &st) == 0)
            return space;
    }
    return px_home_config_path(home, PX_HOME_NIX_KEY, space);
}

/* systemd gives what is in there to the unit's user alone, but may do so by an ACL, which shows as
 * group bits (systemd.exec(5)). */
static bool is_credential(const char *path)
{
    const char *dir = getenv("CREDENTIALS_DIRECTORY");
    size_t len = dir == NULL ? 0 : strlen(dir);
    return len > 0 && strncmp(path, dir, len) == 0 && path[len] == '/';
}

/* A secret others can read is no secret: refused like the identity. */
static int check_mode(int fd, const char *path, char *ret_hint, size_t hint_size)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return px_err_from_errno(errno);
    if (!S_ISREG(st.st_mode)) {
        snprintf(ret_hint, hint_size, "%s is not a regular file", path);
        return PX_EPERM;
    }
    mode_t others = is_credential(path) ? S_IRWXO | S_IWGRP : S_IRWXO | S_IRWXG;
    if ((st.st_mode & others) == 0)
        return 0;
    snprintf(ret_hint, hint_size, "%s may be read by others; run: chmod 600 '%s'", path, path);
    return PX_EPERM;
}

static struct px_slice first_line(struct px_slice text)
{
    struct px_slice line;
    return px_slice_split(&text, '\n', &line) ? px_slice_trim(line) : (struct px_slice){0};
}

static int read_key(int fd, const char *path, struct px_nix_secret_key *ret, char *ret_hint,
                    size_t hint_size)
{
    struct px_buf text;
    px_buf_init(&text, KEY_FILE_MAX);
    /* all at once, so that growing leaves no copy of the secret behind */
    int err = px_buf_reserve(&text, KEY_FILE_MAX) != NULL ? 0 : PX_ENOMEM;
    if (err == 0)
        err = px_file_read_fd(fd, KEY_FILE_MAX, &text);
    if (err == 0)
        err = px_nix_secret_key_parse(first_line(px_buf_slice(&text)), ret);
    if (err != 0)
        snprintf(ret_hint, hint_size, "%s: %s; expected one line `name:base64`", path,
                 px_strerror(err));
    if (text.data != NULL)
        px_wipe(text.data, text.cap);
    px_buf_deinit(&text);
    return err;
}

int px_nix_key_load(const struct px_home *home, const char *option, struct px_nix_secret_key *ret,
                    char *ret_hint, size_t hint_size)
{
    char space[PX_HOME_PATH_MAX + 64];
    const char *path = choose(home, option, space, sizeof(space));
    /* non-blocking, so that a FIFO in its place cannot hold us up */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        int why = errno;
        if (why == ENOENT)
            snprintf(ret_hint, hint_size, "%s: cannot be found; run `peerix init` to create a key",
                     path);
        else
            snprintf(ret_hint, hint_size, "cannot open %s: %s", path, strerror(why));
        return px_err_from_errno(why);
    }
    int err = check_mode(fd, path, ret_hint, hint_size);
    if (err == 0)
        err = read_key(fd, path, ret, ret_hint, hint_size);
    close(fd);
    return err;
}

/* Loads a key made by `peerix init` or `nix-store --generate-binary-cache-key`. */
#include "node/nix/nix_key_io.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

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

/* A secret others can read is no secret: refused like the identity (U34). */
static int check_mode(const char *path, char *ret_hint, size_t hint_size)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        snprintf(ret_hint, hint_size, "%s: cannot be found; run `peerix init` to create a key",
                 path);
        return PX_ENOENT;
    }
    if ((st.st_mode & 077) == 0)
        return 0;
    snprintf(ret_hint, hint_size, "%s may be read by others; run: chmod 600 '%s'", path, path);
    return PX_EPERM;
}

static struct px_slice first_line(struct px_slice text)
{
    struct px_slice line;
    return px_slice_split(&text, '\n', &line) ? px_slice_trim(line) : (struct px_slice){0};
}

int px_nix_key_load(const struct px_home *home, const char *option, struct px_nix_secret_key *ret,
                    char *ret_hint, size_t hint_size)
{
    char space[PX_HOME_PATH_MAX + 64];
    const char *path = choose(home, option, space, sizeof(space));
    int err = check_mode(path, ret_hint, hint_size);
    if (err != 0)
        return err;
    struct px_buf text;
    px_buf_init(&text, KEY_FILE_MAX);
    err = px_file_read(path, KEY_FILE_MAX, &text);
    if (err == 0)
        err = px_nix_secret_key_parse(first_line(px_buf_slice(&text)), ret);
    if (err != 0)
        snprintf(ret_hint, hint_size, "%s: %s; expected one line `name:base64`", path,
                 px_strerror(err));
    if (text.data != NULL)
        px_wipe(text.data, text.len);
    px_buf_deinit(&text);
    return err;
}

/* See auth_list.h. */
#include "cmd/auth_list.h"

#include <errno.h>
#include <unistd.h>

#include "node/program.h"

int px_auth_list_error(const struct px_cli *cli, const struct px_auth_list *l, int err)
{
    if (err == PX_ENOENT) {
        px_cli_error(cli, "%s is not there; run `%s init`", l->home.config_dir, px_program.name);
        return PX_EXIT_NOT_INITIALISED;
    }
    px_cli_error(
        cli, "%s: %s%s", l->path, px_strerror(err),
        err == PX_EPERM ? "; it must be a regular file that you, but not everyone, may write" : "");
    return err == PX_EPERM ? PX_EXIT_PERMISSION : PX_EXIT_FAILURE;
}

int px_auth_list_open(const struct px_cli *cli, struct px_auth_list *ret)
{
    int code = px_cli_home(cli, &ret->home);
    if (code != 0)
        return code;
    px_home_config_path(&ret->home, PX_HOME_AUTHORIZED_KEYS, ret->path);
    int err = access(ret->home.config_dir, F_OK) != 0 ? px_err_from_errno(errno) : 0;
    if (err == 0)
        err = px_crypto_init();
    if (err == 0)
        err = px_authorized_keys_load(ret->path, &ret->keys);
    return err == 0 ? 0 : px_auth_list_error(cli, ret, err);
}

void px_auth_list_warn(const struct px_cli *cli, const struct px_auth_list *l, const char *hint)
{
    size_t n = px_authorized_keys_error_count(l->keys);
    if (n > 0)
        px_cli_warn(cli, "%zu bad line%s in %s%s", n, n == 1 ? "" : "s", l->path, hint);
}

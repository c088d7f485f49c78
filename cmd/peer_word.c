/* Operands that stand for a peer: an ID, a name, the beginning of an ID, or a name of the network.
 */
#include "auth/authorized_keys_io.h"
#include "auth/names_io.h"
#include "cmd/cli.h"
#include "cmd/net_name.h"
#include "node/net_names.h"

static int tell_unreadable(const struct px_cli *cli, const char *path, int err)
{
    px_cli_error(cli, "%s: %s%s", path, px_strerror(err),
                 err == PX_EPERM ? "; it must be a file that you, but not everyone, may write"
                                 : "");
    return err == PX_EPERM ? PX_EXIT_PERMISSION : PX_EXIT_FAILURE;
}

static int tell_unknown(const struct px_cli *cli, const char *word, int err)
{
    if (err == PX_EEXIST)
        px_cli_error(cli, "several peers' IDs begin with '%s'; give more of it", word);
    else
        px_cli_error(cli,
                     "no peer '%s' is known; give its ID, or a name of `peerix auth list` or "
                     "`peerix name list`",
                     word);
    return PX_EXIT_NO_PEER;
}

/* Names of files have no dot, so what is told of the network never stands before them. */
static int resolve_in_network(const struct px_cli *cli, const struct px_home *home,
                              const char *word, struct px_peer_id *ret, enum px_resolved *ret_by,
                              int64_t *ret_age)
{
    char ago[32];
    int code = px_cli_net_name(cli, home, word, ret, ret_by, ret_age);
    if (code == 0 && *ret_by == PX_RESOLVED_COPY && !px_cli_has(cli, "json"))
        px_cli_warn(cli, "'%s' is from the local copy; a relay said so %s", word,
                    px_cli_net_name_age(*ret_age, ago));
    return code;
}

static int resolve(const struct px_cli *cli, const struct px_home *home, const char *word,
                   struct px_peer_id *ret, enum px_resolved *ret_by, int64_t *ret_age)
{
    char path[PX_HOME_FILE_MAX];
    struct px_authorized_keys *keys;
    struct px_names *names;
    int err =
        px_authorized_keys_load(px_home_config_path(home, PX_HOME_AUTHORIZED_KEYS, path), &keys);
    if (err != 0)
        return tell_unreadable(cli, path, err);
    err = px_names_load(px_home_config_path(home, PX_HOME_NAMES, path), &names);
    if (err != 0) {
        px_authorized_keys_free(keys);
        return tell_unreadable(cli, path, err);
    }
    err = px_peer_resolve(keys, names, px_slice_cstr(word), ret, ret_by);
    px_names_free(names);
    px_authorized_keys_free(keys);
    if (err == PX_ENOENT && px_net_name_valid(px_slice_cstr(word)))
        return resolve_in_network(cli, home, word, ret, ret_by, ret_age);
    return err != 0 ? tell_unknown(cli, word, err) : 0;
}

int px_cli_resolve(const struct px_cli *cli, const struct px_home *home, const char *word,
                   struct px_peer_id *ret, enum px_resolved *ret_by, int64_t *ret_age)
{
    *ret_age = -1;
    if (px_crypto_init() != 0 || px_peer_id_parse(px_slice_cstr(word), ret) != 0)
        return resolve(cli, home, word, ret, ret_by, ret_age);
    *ret_by = PX_RESOLVED_ID; /* needs no files */
    return 0;
}

int px_cli_peer(const struct px_cli *cli, const struct px_home *home, const char *word,
                struct px_peer_id *ret)
{
    enum px_resolved by;
    int64_t age;
    return px_cli_resolve(cli, home, word, ret, &by, &age);
}

/* peerix completion bash|zsh|fish, and peerix complete, which their scripts ask for words that only
 * this home knows. */
#include "auth/authorized_keys_io.h"
#include "auth/names_io.h"
#include "cmd/cli.h"
#include "cmd/completion.h"
#include "node/net_names_io.h"
#include "node/relay_list_io.h"

int px_cmd_completion(const struct px_cli *cli)
{
    static const struct {
        const char *shell;
        void (*put)(void);
    } rows[] = {
        {"bash", px_completion_bash}, {"zsh", px_completion_zsh}, {"fish", px_completion_fish}};
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++)
        if (strcmp(cli->operands[0], rows[i].shell) == 0) {
            rows[i].put();
            return PX_EXIT_OK;
        }
    return px_cli_usage(cli, "'%s' is none of bash, zsh, fish", cli->operands[0]);
}

/* HOST.NETWORK of those who are listed: the others are dialled by no name. */
static void put_net_names(const struct px_home *home, const struct px_authorized_keys *keys)
{
    char path[PX_HOME_FILE_MAX];
    struct px_net_names *names;
    size_t bad;
    if (px_net_names_load(px_net_names_path(home, path), &names, &bad) != 0)
        return;
    for (size_t i = 0; i < px_net_names_count(names); i++)
        if (px_authorized_keys_find(keys, &px_net_names_at(names, i)->peer) != NULL)
            puts(px_net_names_at(names, i)->text);
    px_net_names_free(names);
}

static void put_keys(const struct px_home *home)
{
    char path[PX_HOME_FILE_MAX], id[PX_PEER_ID_TEXT_MAX];
    struct px_authorized_keys *keys;
    px_home_config_path(home, PX_HOME_AUTHORIZED_KEYS, path);
    if (px_authorized_keys_load(path, &keys) != 0)
        return;
    for (size_t i = 0; i < px_authorized_keys_count(keys); i++) {
        const struct px_authorized_key *k = px_authorized_keys_at(keys, i);
        if (k->name[0] != '\0')
            puts(k->name);
        puts(px_peer_id_format(&k->id, id));
    }
    put_net_names(home, keys);
    px_authorized_keys_free(keys);
}

static void put_relays(const struct px_home *home)
{
    char path[PX_HOME_FILE_MAX], id[PX_PEER_ID_TEXT_MAX];
    struct px_relay_list list;
    if (px_relay_list_load(px_home_config_path(home, PX_HOME_RELAYS, path), &list) != 0)
        return;
    for (size_t i = 0; i < list.count; i++)
        puts(list.entries[i].name[0] != '\0' ? list.entries[i].name
                                             : px_peer_id_format(&list.entries[i].id, id));
}

static void put_names(const struct px_home *home)
{
    char path[PX_HOME_FILE_MAX];
    struct px_names *names;
    if (px_names_load(px_home_config_path(home, PX_HOME_NAMES, path), &names) != 0)
        return;
    for (size_t i = 0; i < px_names_count(names); i++)
        puts(px_names_at(names, i)->name);
    px_names_free(names);
}

/* Nobody wants messages in the middle of a line: what cannot be read is left out. */
int px_cmd_complete(const struct px_cli *cli)
{
    struct px_home home;
    int code = px_cli_home(cli, &home);
    if (code != 0 || px_crypto_init() != 0)
        return code;
    if (strcmp(cli->operands[0], "relay") == 0) {
        put_relays(&home);
        return PX_EXIT_OK;
    }
    if (strcmp(cli->operands[0], "peer") == 0)
        put_keys(&home);
    put_names(&home);
    return PX_EXIT_OK;
}

/* peerix-relay whoami: its peer ID, or with --url what nodes are given. */
#include "cmd/json.h"
#include "cmd_relay/commands.h"
#include "cmd_relay/config.h"

int px_relay_cmd_whoami(const struct px_cli *cli)
{
    char url[PX_RELAY_URL_TEXT_MAX];
    struct px_home home;
    struct px_peer_id id;
    struct px_config *config;
    if (!px_cli_has(cli, "url"))
        return px_cmd_whoami(cli);
    int code = px_cli_home(cli, &home);
    if (code == 0)
        code = px_cli_peer_id(cli, &home, &id);
    if (code == 0)
        code = px_cli_config(cli, &home, &config);
    if (code != 0)
        return code;
    bool known = px_relay_config_url(px_relay_config(config), &id, url);
    px_config_free(config);
    if (!known) {
        px_cli_error(cli, "only you know where nodes reach this machine: say `public-addr: "
                          "\"HOST:PORT\"` in config.yaml");
        return PX_EXIT_CONFIG;
    }
    if (px_cli_has(cli, "json"))
        return px_json_print(cli, json_pack("{s:s}", "url", url));
    puts(url);
    return PX_EXIT_OK;
}

/* peerix whoami: the bare peer ID. */
#include "cmd/cli.h"
#include "cmd/json.h"

int px_cmd_whoami(const struct px_cli *cli)
{
    char text[PX_PEER_ID_TEXT_MAX];
    struct px_home home;
    struct px_peer_id id;
    int code = px_cli_home(cli, &home);
    if (code == 0)
        code = px_cli_peer_id(cli, &home, &id);
    if (code != 0)
        return code;
    px_peer_id_format(&id, text);
    if (px_cli_has(cli, "json"))
        return px_json_print(cli, json_pack("{s:s}", "peer", text));
    puts(text);
    return PX_EXIT_OK;
}

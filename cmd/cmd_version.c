/* peerix version */
#include "cmd/cli.h"
#include "cmd/json.h"

int px_cmd_version(const struct px_cli *cli)
{
    if (px_cli_has(cli, "json"))
        return px_json_print(cli, json_pack("{s:s}", "version", PX_VERSION));
    puts("peerix " PX_VERSION);
    return PX_EXIT_OK;
}

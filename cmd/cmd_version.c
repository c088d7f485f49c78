/* peerix version */
#include "cmd/cli.h"
#include "cmd/json.h"
#include "node/program.h"

int px_cmd_version(const struct px_cli *cli)
{
    if (px_cli_has(cli, "json"))
        return px_json_print(cli, json_pack("{s:s}", "version", PX_VERSION));
    printf("%s " PX_VERSION "\n", px_program.name);
    return PX_EXIT_OK;
}

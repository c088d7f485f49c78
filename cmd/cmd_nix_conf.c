/* peerix nix-conf: the lines nix needs for everything paired so far. */
#include "cmd/pairing.h"

int px_cmd_nix_conf(const struct px_cli *cli)
{
    return px_pairing_nix_conf(cli, px_cli_has(cli, "json"));
}

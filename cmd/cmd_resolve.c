/* peerix resolve NAME: the peer ID a word stands for. Reads the files as the daemon does, so it
 * needs none; names of the network it asks the daemon for, if there is one. */
#include "cmd/cli.h"
#include "cmd/json.h"

int px_cmd_resolve(const struct px_cli *cli)
{
    struct px_home home;
    struct px_peer_id id;
    enum px_resolved by = PX_RESOLVED_ID;
    char text[PX_PEER_ID_TEXT_MAX];
    int64_t age;
    int code = px_cli_home(cli, &home);
    if (code == 0)
        code = px_cli_resolve(cli, &home, cli->operands[0], &id, &by, &age);
    if (code != 0)
        return code;
    px_peer_id_format(&id, text);
    if (px_cli_has(cli, "json"))
        return px_json_print(cli, json_pack("{s:s, s:s, s:o}", "peer", text, "from",
                                            px_resolved_name(by), "age",
                                            age >= 0 ? json_integer(age) : json_null()));
    puts(text);
    return PX_EXIT_OK;
}

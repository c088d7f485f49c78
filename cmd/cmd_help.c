/* peerix help [COMMAND] */
#include "cmd/cli.h"
#include "cmd/help.h"

int px_cmd_help(const struct px_cli *cli)
{
    const struct px_cli none = {.command = NULL}; /* points to the overview, not to help's help */
    char *words[2] = {NULL, NULL}, first[64], second[64];
    int used, count = (int)cli->operand_count;
    if (count == 0)
        return px_help_overview(stdout);
    snprintf(first, sizeof(first), "%s", cli->operands[0]);
    snprintf(second, sizeof(second), "%s", count > 1 ? cli->operands[1] : "");
    words[0] = first;
    words[1] = second;
    const struct px_command *command = px_command_find(count, words, &used);
    if (command != NULL && used == count)
        return px_help_command(command);
    if (count == 1 && px_command_is_group(first))
        return px_help_group(first, stdout);
    return px_cli_usage(&none, "there is no command '%s%s%s'", first, count > 1 ? " " : "", second);
}

/* --help in its three sizes, and finding commands by name. All of it comes from the tables. */
#ifndef PX_CMD_HELP_H
#define PX_CMD_HELP_H

#include <stdio.h>

#include "cmd/command.h"

/* The command named by the first one or two words; *ret_words tells how many it took. NULL if
 * there is none. */
const struct px_command *px_command_find(int argc, char **argv, int *ret_words);
/* True for a word that begins commands of two words ("auth"). */
bool px_command_is_group(const char *word);

/* Each returns PX_EXIT_OK. */
int px_help_overview(FILE *out);
int px_help_group(const char *group, FILE *out);
int px_help_command(const struct px_command *command);

/* Whether this program may end with an exit code. */
bool px_exit_possible(int code);

#endif

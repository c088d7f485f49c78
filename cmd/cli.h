/* The command line as one parser reads it for all commands, and how commands talk to people.
 *
 * Options are --long, --long=value, -h, and -x or -xVALUE where a command has such letters; they
 * may stand before or after operands; `--` ends them. Of an option given twice the last value
 * counts, unless the command walks all of them. */
#ifndef PX_CMD_CLI_H
#define PX_CMD_CLI_H

#include <stdio.h>

#include "auth/names.h"
#include "cmd/command.h"
#include "cmd/exit_code.h"
#include "node/config.h"
#include "node/home.h"

struct px_cli_value {
    const char *name;               /* the option's, without dashes */
    const char *text;               /* "true" for one without value */
    const struct px_option *config; /* NULL unless it is one of node/config.h */
};

struct px_cli {
    const struct px_command *command;
    bool help; /* -h or --help was found; what follows it is not read */
    struct px_cli_value *values;
    size_t value_count;
    const char **operands;
    size_t operand_count;
};

/* Parses what follows the command's name; strings stay borrowed from argv. PX_EINVAL after telling
 * people what is wrong. Ends with px_cli_deinit, also on failure. */
PX_MUST_CHECK int px_cli_parse(struct px_cli *cli, const struct px_command *command, int argc,
                               char **argv);
void px_cli_deinit(struct px_cli *cli);
bool px_cli_has(const struct px_cli *cli, const char *name);
/* The last value given, NULL if none. */
const char *px_cli_get(const struct px_cli *cli, const char *name);

/* Messages to stderr: "peerix: …" or "peerix COMMAND: …" and a newline; control bytes that came in
 * with foreign words are shown as `?`. The functions that return an exit code say so by their
 * name. */
void px_cli_warn(const struct px_cli *cli, const char *fmt, ...) PX_PRINTF(2, 3);
void px_cli_error(const struct px_cli *cli, const char *fmt, ...) PX_PRINTF(2, 3);
int px_cli_usage(const struct px_cli *cli, const char *fmt, ...) PX_PRINTF(2, 3);
/* The exit code for a PX_E… that a key or other file gave, with the hint as the message. */
int px_cli_file_error(const struct px_cli *cli, int err, const char *hint);
/* Writes foreign text with control bytes shown as `?`. */
void px_cli_put_safe(FILE *out, const char *text);

/* Terminal attributes; all are "" unless the stream is a terminal, TERM is not "dumb" and NO_COLOR
 * is unset or empty. */
struct px_cli_style {
    const char *bold, *dim, *red, *green, *yellow, *reset;
};
struct px_cli_style px_cli_style(FILE *out);

/* The letter of the command that stands for the option; 0 if none. */
char px_cli_letter(const struct px_command *command, const char *name);
/* " --home DIR" or " --system" as this command was given it, "" if it was not, for commands to show
 * to people. Returns out. */
const char *px_cli_home_words(const struct px_cli *cli, char *out, size_t size);

/* Resolves --home / --system; root becomes the owner of a home that is another user's, except for
 * `daemon`. 0, or an exit code after telling people. */
PX_MUST_CHECK int px_cli_home(const struct px_cli *cli, struct px_home *ret);
/* Defaults, then HOME/config.yaml if there is one, then the flags. 0, or an exit code. */
PX_MUST_CHECK int px_cli_config(const struct px_cli *cli, const struct px_home *home,
                                struct px_config **ret);
/* The same, with the message left to the caller; PX_EINVAL for a flag. */
PX_MUST_CHECK int px_cli_load_config(const struct px_cli *cli, const struct px_home *home,
                                     struct px_config **ret, char *ret_message,
                                     size_t message_size);
/* The node's own ID. 0, or an exit code. */
PX_MUST_CHECK int px_cli_peer_id(const struct px_cli *cli, const struct px_home *home,
                                 struct px_peer_id *ret);

/* What stands for a peer among the operands and names files, as px_peer_resolve says. 0, or an exit
 * code after telling people; PX_EXIT_NO_PEER for a word that means nobody. */
PX_MUST_CHECK int px_cli_peer(const struct px_cli *cli, const struct px_home *home,
                              const char *word, struct px_peer_id *ret);
/* The same, and by what it was found; *ret_age in seconds since a relay said so, -1 for what no
 * relay tells. */
PX_MUST_CHECK int px_cli_resolve(const struct px_cli *cli, const struct px_home *home,
                                 const char *word, struct px_peer_id *ret, enum px_resolved *ret_by,
                                 int64_t *ret_age);

#endif

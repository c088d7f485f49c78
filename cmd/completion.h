/* What the completion scripts of all shells know, read from the command and option tables. */
#ifndef PX_CMD_COMPLETION_H
#define PX_CMD_COMPLETION_H

#include "cmd/cli.h"

struct px_completion_option {
    const char *name;    /* without dashes */
    char letter;         /* 0: none */
    bool value;          /* the next word is its value */
    const char *choices; /* of the value, "a|b"; NULL: a file name serves */
    const char *help;
};

/* What the operands of a command are. */
enum px_operands {
    PX_OPERANDS_NONE,
    PX_OPERANDS_OTHER, /* nothing a shell could know */
    PX_OPERANDS_PEER,
    PX_OPERANDS_NAME,
    PX_OPERANDS_RELAY,
    PX_OPERANDS_COMMAND,
    PX_OPERANDS_FILE,
    PX_OPERANDS_CHOICE, /* px_command.operands is "a|b" */
};
enum px_operands px_completion_operands(const struct px_command *c);

/* Also --help and the options of every command. */
void px_completion_each_option(const struct px_command *c,
                               void (*each)(void *ctx, const struct px_completion_option *o),
                               void *ctx);
/* Whether the command with this number is the first of a group; *ret_group is the group's word. */
bool px_completion_begins_group(size_t i, struct px_slice *ret_group);
/* What follows the group's word; NULL when the command is not of the group, or hidden. */
const char *px_completion_in_group(const struct px_command *c, struct px_slice group);
/* A listed command of one word. */
bool px_completion_is_single(const struct px_command *c);
/* "a|b" with another separator. */
void px_completion_put_choices(const char *choices, char separator);

/* The program's name as part of the name of a shell's function: dashes become underscores. */
const char *px_completion_word(char out[64]);

void px_completion_bash(void);
void px_completion_zsh(void);
void px_completion_fish(void);

#endif

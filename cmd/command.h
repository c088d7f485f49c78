/* One row per command: what dispatch, parser, --help, man page and completion know about it. */
#ifndef PX_CMD_COMMAND_H
#define PX_CMD_COMMAND_H

#include "proto/base/base.h"

struct px_cli;

struct px_cli_option {
    const char *name; /* without dashes */
    const char *arg;  /* placeholder; NULL: takes no value */
    const char *help; /* one phrase, without a full stop */
};

/* -c for --count. */
struct px_cli_letter {
    char letter;
    const char *name; /* of an option of the command */
};

struct px_command {
    const char *name;  /* one or two words: "init", "auth add" */
    const char *alias; /* another name, NULL if none */
    /* "" or e.g. "PEER [ADDR]". Completion knows the words PEER, NAME, COMMAND, FILE, and
     * lower-case choices like "bash|zsh". */
    const char *operands;
    size_t operands_min, operands_max;
    const struct px_cli_option *options;
    size_t option_count;
    const struct px_cli_letter *letters;
    size_t letter_count;
    bool config_options; /* the flags of node/config.h as well */
    bool hidden;         /* works, but is not listed */
    const char *summary; /* one phrase */
    const char *details; /* sentences for help and man page; NULL for none */
    /* Returns an enum px_exit_code. */
    int (*run)(const struct px_cli *cli);
};

/* In the order help shows them. */
extern const struct px_command px_commands[];
extern const size_t px_command_count;
/* Every command takes these, beside -h and --help. */
extern const struct px_cli_option px_common_options[];
extern const size_t px_common_option_count;

int px_cmd_init(const struct px_cli *cli);
int px_cmd_invite(const struct px_cli *cli);
int px_cmd_join(const struct px_cli *cli);
int px_cmd_nix_conf(const struct px_cli *cli);
int px_cmd_status(const struct px_cli *cli);
int px_cmd_peers(const struct px_cli *cli);
int px_cmd_services(const struct px_cli *cli);
int px_cmd_ping(const struct px_cli *cli);
int px_cmd_traceroute(const struct px_cli *cli);
int px_cmd_connect(const struct px_cli *cli);
int px_cmd_disconnect(const struct px_cli *cli);
int px_cmd_netcheck(const struct px_cli *cli);
int px_cmd_events(const struct px_cli *cli);
int px_cmd_stop(const struct px_cli *cli);
int px_cmd_resolve(const struct px_cli *cli);
int px_cmd_whoami(const struct px_cli *cli);
int px_cmd_auth_add(const struct px_cli *cli);
int px_cmd_auth_list(const struct px_cli *cli);
int px_cmd_auth_remove(const struct px_cli *cli);
int px_cmd_auth_validate(const struct px_cli *cli);
int px_cmd_name_add(const struct px_cli *cli);
int px_cmd_name_list(const struct px_cli *cli);
int px_cmd_relay_add(const struct px_cli *cli);
int px_cmd_relay_list(const struct px_cli *cli);
int px_cmd_relay_remove(const struct px_cli *cli);
int px_cmd_name_remove(const struct px_cli *cli);
int px_cmd_rotate_key(const struct px_cli *cli);
int px_cmd_nix_key(const struct px_cli *cli);
int px_cmd_daemon(const struct px_cli *cli);
int px_cmd_config_sample(const struct px_cli *cli);
int px_cmd_config_validate(const struct px_cli *cli);
int px_cmd_config_show(const struct px_cli *cli);
int px_cmd_config_apply(const struct px_cli *cli);
int px_cmd_config_confirm(const struct px_cli *cli);
int px_cmd_config_rollback(const struct px_cli *cli);
int px_cmd_config_history(const struct px_cli *cli);
int px_cmd_version(const struct px_cli *cli);
int px_cmd_help(const struct px_cli *cli);
int px_cmd_man(const struct px_cli *cli);
int px_cmd_completion(const struct px_cli *cli);
int px_cmd_complete(const struct px_cli *cli);

#endif

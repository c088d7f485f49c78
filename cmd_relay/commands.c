/* The command table of peerix-relay. */
#include "cmd_relay/commands.h"

#define OPTIONS(rows) .options = (rows), .option_count = PX_ARRAY_LEN(rows)

const struct px_cli_option px_common_options[] = {
    {"home", "DIR", "keep everything in DIR (default: the XDG directories)"},
    {"system", NULL, "use /etc/peerix-relay and /var/lib/peerix-relay"},
};
const size_t px_common_option_count = PX_ARRAY_LEN(px_common_options);

static const struct px_cli_option json_option[] = {
    {"json", NULL, "print JSON"},
};
static const struct px_cli_option whoami_options[] = {
    {"url", NULL, "print the URL for nodes instead; needs public-addr in config.yaml"},
    {"json", NULL, "print JSON"},
};
static const struct px_cli_option init_options[] = {
    {"non-interactive", NULL, "never ask, as it never does; for scripts that say so"},
};
static const struct px_cli_option auth_add_options[] = {
    {"name", "NAME", "a short name, as in host names: a-z, 0-9 and dashes"},
    {"comment", "TEXT", "a remark for people"},
};

/* clang-format off */
const struct px_command px_commands[] = {
    {.name = "init", OPTIONS(init_options), .operands = "", .run = px_relay_cmd_init,
     .summary = "create identity and sample configuration",
     .details = "Creates what is missing and never overwrites, so it may be run again. Prints the "
                "relay's peer ID and what to do next."},
    {.name = "daemon", .alias = "serve", .config_options = true, .operands = "", .run = px_cmd_daemon,
     .summary = "run the relay",
     .details = "Flags beat config.yaml, which beats the defaults. Logs go to standard error; the "
                "line with event=ready tells the URL for nodes. SIGTERM tells the nodes, waits "
                "for `leave`, then ends. SIGHUP reads `open` and the limits again."},
    {.name = "whoami", OPTIONS(whoami_options), .operands = "", .run = px_relay_cmd_whoami,
     .summary = "print the relay's peer ID"},
    {.name = "status", OPTIONS(json_option), .operands = "", .run = px_relay_cmd_status,
     .summary = "show what the running relay is and does"},
    {.name = "auth add", OPTIONS(auth_add_options), .operands = "ID", .operands_min = 1,
     .operands_max = 1, .run = px_relay_cmd_auth_add,
     .summary = "make a node a member, or change its entry",
     .details = "Members may reserve, call, register, invite and vouch. A running relay takes it "
                "up by itself."},
    {.name = "auth list", OPTIONS(json_option), .operands = "", .run = px_relay_cmd_auth_list,
     .summary = "list members"},
    {.name = "auth remove", .operands = "ID|NAME", .operands_min = 1, .operands_max = 1,
     .run = px_relay_cmd_auth_remove,
     .summary = "remove a member, with all it invited or vouched for"},
    {.name = "config sample", .operands = "", .run = px_cmd_config_sample,
     .summary = "print a configuration file with every option and its default"},
    {.name = "config validate", .operands = "[FILE]", .operands_max = 1,
     .run = px_cmd_config_validate, .summary = "check config.yaml"},
    {.name = "completion", .operands = "bash|zsh|fish", .operands_min = 1, .operands_max = 1,
     .run = px_cmd_completion, .summary = "print the completion script of a shell"},
    {.name = "version", OPTIONS(json_option), .operands = "", .run = px_cmd_version,
     .summary = "print the version"},
    {.name = "help", .operands = "[COMMAND]", .operands_max = 2, .run = px_cmd_help,
     .summary = "explain a command"},
    {.name = "complete", .operands = "peer|name", .operands_min = 1, .operands_max = 1,
     .hidden = true, .run = px_cmd_complete, .summary = "print words for completion"},
    {.name = "man", .operands = "", .hidden = true, .run = px_relay_cmd_man,
     .summary = "print the manual page as groff"},
};
/* clang-format on */
const size_t px_command_count = PX_ARRAY_LEN(px_commands);

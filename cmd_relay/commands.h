/* The commands peerix-relay has of its own; the others are those of peerix. */
#ifndef PX_CMD_RELAY_COMMANDS_H
#define PX_CMD_RELAY_COMMANDS_H

#include "cmd/cli.h"

int px_relay_cmd_init(const struct px_cli *cli);
int px_relay_cmd_auth_add(const struct px_cli *cli);
int px_relay_cmd_auth_list(const struct px_cli *cli);
int px_relay_cmd_auth_remove(const struct px_cli *cli);
int px_relay_cmd_man(const struct px_cli *cli);
int px_relay_cmd_whoami(const struct px_cli *cli);
int px_relay_cmd_status(const struct px_cli *cli);

#endif

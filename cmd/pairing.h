/* What `invite`, `join` and `nix-conf` have in common, and the other halves of `invite`. */
#ifndef PX_CMD_PAIRING_H
#define PX_CMD_PAIRING_H

#include <jansson.h>

#include "cmd/cli.h"

/* The options --name, --grant and --verify into a request. 0, or an exit code. */
PX_MUST_CHECK int px_pairing_options(const struct px_cli *cli, json_t *body);
/* What pairing failed with, to people; returns its exit code. `error` is a name as the API gives
 * it. */
int px_pairing_failed(const struct px_cli *cli, const char *error);
/* Shows the string and asks whether the other side shows the same; reads from the terminal if there
 * is one, else from standard input. False as well when nobody answers. */
bool px_pairing_ask_same(const char *sas);
/* The two lines of nix.conf for everything paired so far. 0, or an exit code. */
PX_MUST_CHECK int px_pairing_nix_conf(const struct px_cli *cli, bool json);
/* After a pairing: what to put into nix.conf, and what follows from it. */
void px_pairing_next_steps(const struct px_cli *cli, const json_t *paired);

/* `invite --list` and `invite --withdraw ID`. Exit codes. */
PX_MUST_CHECK int px_invite_list(const struct px_cli *cli);
PX_MUST_CHECK int px_invite_withdraw(const struct px_cli *cli, const char *id);

#endif

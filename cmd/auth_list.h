/* HOME/authorized_keys as the auth commands of every program see it, and how they fail. */
#ifndef PX_CMD_AUTH_LIST_H
#define PX_CMD_AUTH_LIST_H

#include "auth/authorized_keys_io.h"
#include "cmd/cli.h"

/* The file as it was when the command began. */
struct px_auth_list {
    char path[PX_HOME_FILE_MAX];
    struct px_home home;
    struct px_authorized_keys *keys; /* the caller's to free */
};

/* 0, or an exit code after telling people; then there is nothing to free. */
PX_MUST_CHECK int px_auth_list_open(const struct px_cli *cli, struct px_auth_list *ret);
/* What loading or editing the file came to, as an exit code after telling people. */
int px_auth_list_error(const struct px_cli *cli, const struct px_auth_list *l, int err);
/* Says how many lines of it are bad, if any; `hint` follows ("" or "; run …"). */
void px_auth_list_warn(const struct px_cli *cli, const struct px_auth_list *l, const char *hint);

#endif

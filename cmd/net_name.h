/* Names of the network, `host.network`, for commands: a running daemon is asked, which asks the
 * relays; otherwise the local copy answers. */
#ifndef PX_CMD_NET_NAME_H
#define PX_CMD_NET_NAME_H

#include <jansson.h>

#include "cmd/cli.h"

/* What such a word means. 0, or an exit code after telling people. *ret_age: seconds since a relay
 * said so, 0 when one says so now. */
PX_MUST_CHECK int px_cli_net_name(const struct px_cli *cli, const struct px_home *home,
                                  const char *word, struct px_peer_id *ret,
                                  enum px_resolved *ret_by, int64_t *ret_age);
/* All that are known, as GET /v1/names has them; NULL without memory. 0, or an exit code after
 * telling people. */
PX_MUST_CHECK int px_cli_net_names(const struct px_cli *cli, const struct px_home *home,
                                   json_t **ret);
/* "3 h ago" and the like, for an age in seconds. Returns out. */
const char *px_cli_net_name_age(int64_t age, char out[32]);

#endif

/* What was paired, for Nix to import: HOME/peers.json, written by the daemon whenever the list
 * changes, and what `peerix nix-conf` prints. */
#ifndef PX_NODE_PAIRING_EXPORT_H
#define PX_NODE_PAIRING_EXPORT_H

#include <jansson.h>

#include "auth/authorized_keys.h"
#include "node/home.h"
#include "proto/base/log.h"

#define PX_HOME_PEERS_JSON "peers.json"

/* {"substituters": [URL], "trusted-public-keys": [KEY…], "peers": {ID: {"name", "addrs", "grants",
 * "nix-key"}}}. `http` is the substituter's HOST:PORT. Errors of px_trusted_keys_each. */
PX_MUST_CHECK int px_pairing_export(const struct px_home *home,
                                    const struct px_authorized_keys *keys, const char *http,
                                    const struct px_log *log, json_t **ret);
/* Writes it to HOME/peers.json (mode 0644, it holds no secret), unless it says so already. */
PX_MUST_CHECK int px_pairing_export_file(const struct px_home *home,
                                         const struct px_authorized_keys *keys, const char *http);

#endif

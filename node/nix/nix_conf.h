/* Reads what we need of nix.conf: trusted-public-keys, extra-trusted-public-keys, with include and
 * !include as Nix has them. */
#ifndef PX_NODE_NIX_NIX_CONF_H
#define PX_NODE_NIX_NIX_CONF_H

#include "auth/nix_key.h"
#include "proto/base/log.h"

struct px_nix_keys {
    struct px_nix_public_key *keys;
    size_t count;
};

/* Appends the keys named by a nix.conf; without the setting Nix's default, cache.nixos.org-1. A
 * missing file counts as empty. Bad keys are logged and skipped. */
PX_MUST_CHECK int px_nix_conf_keys(const char *path, const struct px_log *log,
                                   struct px_nix_keys *keys);
/* Appends one key given as text. PX_EPARSE. */
PX_MUST_CHECK int px_nix_keys_add(struct px_nix_keys *keys, struct px_slice text);
void px_nix_keys_deinit(struct px_nix_keys *keys);

/* "cache.nixos.org-1:…" */
extern const char px_nix_default_key[];

#endif

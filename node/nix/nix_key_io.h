/* Where this node's nix signing key comes from. */
#ifndef PX_NODE_NIX_NIX_KEY_IO_H
#define PX_NODE_NIX_NIX_KEY_IO_H

#include "auth/nix_key.h"
#include "node/home.h"

/* In this order: the file of option `nix-key` (when not empty), the file named by
 * PEERIX_NIX_KEY_FILE, $CREDENTIALS_DIRECTORY/nix-key, HOME/nix-key.sec. PX_ENOENT when the last
 * does not exist; PX_EPERM when others may read it (what systemd put into $CREDENTIALS_DIRECTORY
 * may have group bits); PX_EPARSE. ret_hint says what to do. */
PX_MUST_CHECK int px_nix_key_load(const struct px_home *home, const char *option,
                                  struct px_nix_secret_key *ret, char *ret_hint, size_t hint_size);

#endif

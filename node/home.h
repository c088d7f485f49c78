/* Where a node keeps its things: --home DIR, --system, or the XDG directories. */
#ifndef PX_NODE_HOME_H
#define PX_NODE_HOME_H

#include "auth/identity.h"
#include "auth/nix_key.h"

#define PX_HOME_PATH_MAX 512                     /* a directory */
#define PX_HOME_FILE_MAX (PX_HOME_PATH_MAX + 64) /* a file in it */

struct px_home {
    char config_dir[PX_HOME_PATH_MAX]; /* config.yaml, identity.pem, authorized_keys, names,
                                          nix-key.sec */
    char state_dir[PX_HOME_PATH_MAX];  /* state that may be lost, socket; equals config_dir with
                                          --home */
};

#define PX_HOME_IDENTITY        "identity.pem"
#define PX_HOME_AUTHORIZED_KEYS "authorized_keys"
#define PX_HOME_NAMES           "names"
#define PX_HOME_RELAYS          "relays"
#define PX_HOME_CONFIG          "config.yaml"
#define PX_HOME_NIX_KEY         "nix-key.sec"

/* `home` may be NULL. Order: home, system (/etc/peerix, /var/lib/peerix), $PEERIX_HOME, XDG
 * (~/.config/peerix, ~/.local/state/peerix). Creates nothing. PX_EINVAL for an empty home,
 * PX_ENOENT without HOME, PX_ELIMIT. */
PX_MUST_CHECK int px_home_resolve(const char *home, bool system, struct px_home *ret);
/* Writes "<config_dir>/<name>" to out and returns it; names are at most 62 bytes. */
const char *px_home_config_path(const struct px_home *h, const char *name,
                                char out[PX_HOME_FILE_MAX]);

/* Creates what is missing: directories 0700, identity, nix key of that name (NULL:
 * px_home_default_key_name), sample config, empty authorized_keys. Never overwrites. Each thing
 * made is told to `made` (may be NULL). On failure ret_hint says what to do. */
PX_MUST_CHECK int px_home_init(const struct px_home *h, const char *nix_key_name,
                               void (*made)(void *ctx, const char *path), void *ctx, char *ret_hint,
                               size_t hint_size);
/* "<hostname>-<end of the peer ID>-peerix-1": nix takes one key of a name, and many hosts have the
 * same one. The hostname is reduced to what a key name may hold; without `id` "ID" stands in its
 * place. Returns out. */
#define PX_HOME_KEY_NAME_ID 8 /* characters of the peer ID */
const char *px_home_default_key_name(const struct px_peer_id *id,
                                     char out[PX_NIX_KEY_NAME_MAX + 1]);

/* HOME/identity.pem; as px_identity_load. */
PX_MUST_CHECK int px_home_load_identity(const struct px_home *h, struct px_identity *ret,
                                        char *ret_hint, size_t hint_size);

#endif

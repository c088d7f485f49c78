/* Reads what we need of nix.conf: trusted-public-keys, extra-trusted-public-keys, with include and
 * !include as Nix has them (nix.conf(5)). */
#ifndef PX_NODE_NIX_NIX_CONF_H
#define PX_NODE_NIX_NIX_CONF_H

#include "auth/nix_key.h"
#include "proto/base/log.h"

#define PX_NIX_CONF_FILE_MAX  (1024u * 1024)
#define PX_NIX_CONF_DEPTH_MAX 16  /* includes within includes */
#define PX_NIX_CONF_FILES_MAX 256 /* read in all */
#define PX_NIX_KEYS_MAX       1024

struct px_nix_keys {
    struct px_nix_public_key *keys;
    size_t count;
};

/* Appends the keys named by a nix.conf; without the setting Nix's default, cache.nixos.org-1. A
 * missing or unreadable file counts as empty, a path "" as well. Bad keys and lines are logged and
 * skipped. PX_ENOMEM; keys is then unchanged. */
PX_MUST_CHECK int px_nix_conf_keys(const char *path, const struct px_log *log,
                                   struct px_nix_keys *keys);
/* Appends one key given as text, unless it is there. PX_EPARSE, PX_ELIMIT, PX_ENOMEM. */
PX_MUST_CHECK int px_nix_keys_add(struct px_nix_keys *keys, struct px_slice text);
void px_nix_keys_deinit(struct px_nix_keys *keys);

/* One line of nix.conf, without its comment. Views into the line. */
struct px_nix_conf_line {
    enum px_nix_conf_kind {
        PX_NIX_CONF_EMPTY,
        PX_NIX_CONF_SETTING,
        PX_NIX_CONF_INCLUDE,
        PX_NIX_CONF_INCLUDE_OPTIONAL
    } kind;
    struct px_slice name;  /* of a setting */
    struct px_slice value; /* of a setting: words between blanks; of an include: the path */
};
/* PX_EPARSE for a line nix would refuse. */
PX_MUST_CHECK int px_nix_conf_parse_line(struct px_slice line, struct px_nix_conf_line *ret);

/* "cache.nixos.org-1:…" */
extern const char px_nix_default_key[];

#endif

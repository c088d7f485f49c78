/* HOME/trusted-keys: the nix keys of paired peers, `NAME:BASE64 PEER-ID # name`, one a line.
 *
 * A key counts only while its peer is in authorized_keys: so a key that was written and an entry
 * that was not trust nothing, and removing a peer takes the trust in its key away. */
#ifndef PX_NODE_TRUSTED_KEYS_H
#define PX_NODE_TRUSTED_KEYS_H

#include "auth/authorized_keys.h"
#include "node/home.h"
#include "node/nix/nix_conf.h"

#define PX_HOME_TRUSTED_KEYS "trusted-keys"
#define PX_TRUSTED_KEYS_MAX  ((size_t)1024 * 1024) /* bytes of the file */

struct px_trusted_key {
    struct px_peer_id peer;
    struct px_nix_public_key key;
    size_t line; /* 1-based */
};

/* Parses one line without its newline. PX_ENOENT for an empty or comment line, PX_EPARSE. */
PX_MUST_CHECK int px_trusted_key_parse_line(struct px_slice line, struct px_trusted_key *ret);
/* Appends the text with the peer's key set: its line replaced, or added at the end; `name` (may be
 * "") is a comment for people. PX_EPARSE when the key is none. */
PX_MUST_CHECK int px_trusted_keys_text_set(struct px_slice text, const struct px_peer_id *peer,
                                           const char *key, const char *name, struct px_buf *out);
/* Appends the text with the key of `from` set for `to` as well, its comment kept; PX_ENOENT when
 * there is none. */
PX_MUST_CHECK int px_trusted_keys_text_copy(struct px_slice text, const struct px_peer_id *from,
                                            const struct px_peer_id *to, struct px_buf *out);
/* Appends the text without the peer's lines; PX_ENOENT when there is none. */
PX_MUST_CHECK int px_trusted_keys_text_remove(struct px_slice text, const struct px_peer_id *peer,
                                              struct px_buf *out);

/* px_trusted_keys_text_set on the file, as px_edit_file does it. */
PX_MUST_CHECK int px_trusted_keys_file_set(const char *path, const struct px_peer_id *peer,
                                           const char *key, const char *name);
/* Calls `each` for every good line whose peer is in `keys`; bad lines are logged. A missing file
 * holds none. PX_EPERM also when everyone may write it; PX_ELIMIT, PX_EIO, PX_ENOMEM, and what
 * `each` returns, which ends it. */
PX_MUST_CHECK int px_trusted_keys_each(const char *path, const struct px_authorized_keys *keys,
                                       const struct px_log *log,
                                       int (*each)(void *ctx, const struct px_trusted_key *key),
                                       void *ctx);
/* Appends them to a list. */
PX_MUST_CHECK int px_trusted_keys_load(const char *path, const struct px_authorized_keys *keys,
                                       const struct px_log *log, struct px_nix_keys *io_keys);

#endif

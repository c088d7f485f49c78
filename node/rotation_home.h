/* The files of a node that rotates (docs/spec/rotation.md §4): where identity-next.pem is, a
 * rotation is under way. Each step is one system call that happens or does not. */
#ifndef PX_NODE_ROTATION_HOME_H
#define PX_NODE_ROTATION_HOME_H

#include "node/home.h"

#define PX_HOME_IDENTITY_NEXT "identity-next.pem"

/* The new key. PX_ENOENT when no rotation is under way; else as px_identity_load, and PX_ESTATE
 * when it is the key in use. */
PX_MUST_CHECK int px_rotation_home_next(const struct px_home *h, const struct px_identity *now,
                                        struct px_identity *ret, char *ret_hint, size_t hint_size);
/* Makes a new key and its file. PX_EEXIST when a rotation is under way; errors of
 * px_identity_create. */
PX_MUST_CHECK int px_rotation_home_begin(const struct px_home *h);
/* The new key takes the old one's place; the old one is destroyed as far as that can be done.
 * PX_ENOENT, PX_EPERM (identity.pem is no regular file: something else manages it), PX_EIO. */
PX_MUST_CHECK int px_rotation_home_finish(const struct px_home *h);
/* The new key is destroyed. PX_ENOENT, PX_EPERM, PX_EIO. */
PX_MUST_CHECK int px_rotation_home_abort(const struct px_home *h);

#endif

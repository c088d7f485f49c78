/* Key files: created 0600 by a rename that never leaves half a key, refused when others may read.
 */
#ifndef PX_AUTH_IDENTITY_IO_H
#define PX_AUTH_IDENTITY_IO_H

#include "auth/identity.h"

/* Loads the key file. PX_ENOENT; PX_EPERM when group or others have any right, the owner is neither
 * us nor root, or it is no regular file; PX_EPARSE, PX_EIO. On failure `ret_hint` gets a sentence
 * for people with the next step (e.g. the chmod to run); bounded, NUL-terminated. */
PX_MUST_CHECK int px_identity_load(const char *path, struct px_identity *ret, char *ret_hint,
                                   size_t hint_size);
/* Writes a new key file, mode 0600, fsynced, never over an existing file (PX_EEXIST). */
PX_MUST_CHECK int px_identity_create(const char *path, const struct px_identity *i);

#endif

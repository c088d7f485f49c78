/* Moves a listed peer to its new key in the files of the home (docs/spec/rotation.md §3). */
#ifndef PX_NODE_ROTATION_MOVE_H
#define PX_NODE_ROTATION_MOVE_H

#include "auth/rotation_book.h"
#include "node/home.h"

/* The nix key is noted for the new ID, then one rename of authorized_keys makes it count. PX_ENOENT
 * when the old ID is not listed, PX_EEXIST when the new one is; PX_EPERM (also when a file is a
 * symbolic link), PX_EIO, PX_EBUSY, PX_ENOMEM. May block while another program edits the files. */
PX_MUST_CHECK int px_rotation_move_files(const struct px_home *home,
                                         const struct px_rotation_move *m);
/* What comes after: names follow, what trusted-keys has of the old ID goes. May be repeated. */
PX_MUST_CHECK int px_rotation_clear_files(const struct px_home *home,
                                          const struct px_rotation_move *m);

#endif

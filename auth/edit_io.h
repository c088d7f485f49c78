/* Edits of a small text file that survive a second editor and kill -9. */
#ifndef PX_AUTH_EDIT_IO_H
#define PX_AUTH_EDIT_IO_H

#include "proto/base/buf.h"

/* Replaces the file of at most `max` bytes by what `change` appends to `out`, given the text as it
 * is ("" when there is no file). An error of `change` leaves the file alone and is returned.
 *
 * Under a lock on `<path>.lock` (which stays; the lock itself dies with its holder), the new file
 * takes the name in one step. Mode and owner are kept; a new file is 0600. Blocks up to 10 s for
 * the lock, then PX_EBUSY. A symbolic link is PX_EPERM: what it leads to is managed by something
 * else. Other errors as of px_file_read and px_file_write_atomic. */
PX_MUST_CHECK int px_edit_file(const char *path, size_t max,
                               int (*change)(void *ctx, struct px_slice text, struct px_buf *out),
                               void *ctx);

#endif

/* Whole small files: bounded reads, atomic writes. */
#ifndef PX_AUTH_FILE_IO_H
#define PX_AUTH_FILE_IO_H

#include "proto/base/buf.h"

/* Reads a whole file of at most max bytes into out (appends). PX_ENOENT, PX_EPERM, PX_ELIMIT,
 * PX_EIO. */
PX_MUST_CHECK int px_file_read(const char *path, size_t max, struct px_buf *out);
/* The same from an open descriptor, to its end; does not close it. */
PX_MUST_CHECK int px_file_read_fd(int fd, size_t max, struct px_buf *out);
/* Replaces (or, with `exclusive`, creates) a file atomically: O_EXCL temp file in the same
 * directory, fsync, rename or link, fsync of the directory. PX_EEXIST with `exclusive` when there
 * is one. Root replacing another user's file leaves it that user's. */
PX_MUST_CHECK int px_file_write_atomic(const char *path, struct px_slice content, unsigned mode,
                                       bool exclusive);

#endif

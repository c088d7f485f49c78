/* The names file: loading and editing it. */
#ifndef PX_AUTH_NAMES_IO_H
#define PX_AUTH_NAMES_IO_H

#include "auth/names.h"

#define PX_NAMES_FILE_MAX ((size_t)512 * 1024)

/* Loads the file; a missing one holds no names. PX_EPERM also when everyone may write it,
 * PX_ELIMIT, PX_EIO, PX_ENOMEM. Bad lines are no error. */
PX_MUST_CHECK int px_names_load(const char *path, struct px_names **ret);

/* px_names_text_set / _remove on the file, as px_edit_file does it. Errors of both. */
PX_MUST_CHECK int px_names_file_set(const char *path, const struct px_name *n);
PX_MUST_CHECK int px_names_file_remove(const char *path, const char *name);

#endif

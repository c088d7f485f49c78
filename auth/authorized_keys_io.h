/* The authorized_keys file: loading it, and edits that survive a second editor and kill -9. */
#ifndef PX_AUTH_AUTHORIZED_KEYS_IO_H
#define PX_AUTH_AUTHORIZED_KEYS_IO_H

#include "auth/authorized_keys.h"

#define PX_AUTH_FILE_MAX ((size_t)4 * 1024 * 1024)

/* Loads the file; a missing one is an empty list. PX_EPERM also when everyone may write it,
 * PX_ELIMIT (larger than PX_AUTH_FILE_MAX, too many entries), PX_EIO, PX_ENOMEM. Bad lines are no
 * error. */
PX_MUST_CHECK int px_authorized_keys_load(const char *path, struct px_authorized_keys **ret);

/* px_authorized_keys_text_set / _remove on the file, as px_edit_file does it. Errors of both. */
PX_MUST_CHECK int px_authorized_keys_file_set(const char *path, const struct px_authorized_key *k);
PX_MUST_CHECK int px_authorized_keys_file_remove(const char *path, const struct px_peer_id *id);

#endif

/* HOME/relays on disk. */
#ifndef PX_NODE_RELAY_LIST_IO_H
#define PX_NODE_RELAY_LIST_IO_H

#include "node/relay_list.h"

#define PX_RELAY_FILE_MAX ((size_t)64 * 1024)

/* Loads the file; a missing one holds no relays. PX_EPERM also when everyone may write it,
 * PX_ELIMIT, PX_EIO, PX_ENOMEM. Bad lines are no error. */
PX_MUST_CHECK int px_relay_list_load(const char *path, struct px_relay_list *ret);
/* px_relay_text_set / _remove on the file, as px_edit_file does it. Errors of both. */
PX_MUST_CHECK int px_relay_file_set(const char *path, const struct px_relay_entry *e);
PX_MUST_CHECK int px_relay_file_remove(const char *path, const struct px_peer_id *id);

#endif

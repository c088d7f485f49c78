/* The local copy of the network's names on disk: STATE/network-names. */
#ifndef PX_NODE_NET_NAMES_IO_H
#define PX_NODE_NET_NAMES_IO_H

#include "node/home.h"
#include "node/net_names.h"

#define PX_HOME_NET_NAMES "network-names" /* in the state directory */

/* Wall seconds. */
int64_t px_net_names_now(void);
/* HOME's file. Returns out. */
const char *px_net_names_path(const struct px_home *home, char out[PX_HOME_FILE_MAX]);
/* A missing file holds none; lines that do not stand are left out and counted. PX_EPERM, PX_EIO,
 * PX_ELIMIT, PX_ENOMEM. */
PX_MUST_CHECK int px_net_names_load(const char *path, struct px_net_names **ret, size_t *ret_bad);
/* Errors as of px_file_write_atomic. */
PX_MUST_CHECK int px_net_names_save(const char *path, const struct px_net_names *n);

#endif

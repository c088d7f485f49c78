/* Greets a nix-daemon, blocking; internal to the daemon backend of the store. */
#ifndef PX_NODE_NIX_STORE_GREETING_H
#define PX_NODE_NIX_STORE_GREETING_H

#include "node/nix/worker_proto.h"

#define PX_STORE_REPLY_TIMEOUT_MS 10000

/* Connects to the socket and greets; each read waits PX_STORE_REPLY_TIMEOUT_MS at most. The
 * caller then owns the worker and the descriptor. Touches no loop, so a failure leaves no handle
 * behind: PX_ENOENT (nobody listens), PX_EPERM (hung up on), PX_ETIMEDOUT, PX_EPROTO, PX_ELIMIT
 * (path too long), PX_ENOMEM, PX_EIO. */
PX_MUST_CHECK int px_store_greet(const char *socket_path, const char *store_dir,
                                 struct px_worker *ret_worker, int *ret_fd);

#endif

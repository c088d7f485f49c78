/* What a service manager hands us and wants to hear: sd_notify(3) datagrams and sd_listen_fds(3)
 * sockets, both as documented protocols, without libsystemd. */
#ifndef PX_NODE_SERVICE_MANAGER_H
#define PX_NODE_SERVICE_MANAGER_H

#include "proto/base/base.h"

/* Sends a state such as "READY=1\nSTATUS=…"; quietly does nothing without NOTIFY_SOCKET. */
void px_service_notify(const char *state);
/* "RELOADING=1" with the time it wants; READY=1 follows when the new state is up. */
void px_service_notify_reloading(void);
/* How often WATCHDOG=1 is wanted at the latest, in microseconds; 0: not at all, or not from us. */
uint64_t px_service_watchdog_usec(void);
/* The first socket passed to this process (close-on-exec set), or -1. Clears LISTEN_PID, LISTEN_FDS
 * and LISTEN_FDNAMES. PX_ELIMIT when more than one was passed, PX_EINVAL when it is not a listening
 * stream socket. */
PX_MUST_CHECK int px_service_listen_fd(int *ret_fd);

#endif

/* What of the control API lives in the state directory: the lock that one daemon at a time holds,
 * its Unix socket, its cookie (docs/control-api.md). */
#ifndef PX_NODE_CONTROL_SOCKET_H
#define PX_NODE_CONTROL_SOCKET_H

#include "node/control_request.h"
#include "node/home.h"

#define PX_HOME_CONTROL_LOCK "control.lock"

struct px_control_socket {
    char path[PX_HOME_FILE_MAX];        /* of the socket */
    char cookie_path[PX_HOME_FILE_MAX]; /* "" until it is written */
    char cookie[PX_CONTROL_COOKIE_LEN];
    int lock_fd;   /* -1: not ours */
    int listen_fd; /* -1 when the server has it */
    bool bound;
};

/* Makes the directory (0700) if it is missing, takes the lock, clears away a socket nobody listens
 * at, writes a new cookie (0600) and then listens (0600). PX_EEXIST with *ret_other_pid (0 if not
 * known) when another daemon has it; PX_EPERM (the directory is not ours alone to write in, or
 * something else has the socket's name), PX_EADDR (path too long), PX_EIO, PX_ENOMEM. ret_hint says
 * what to do. */
PX_MUST_CHECK int px_control_socket_open(const struct px_home *home, struct px_control_socket *ret,
                                         int *ret_other_pid, char *ret_hint, size_t hint_size);
/* Removes socket and cookie; the lock stays. */
void px_control_socket_remove(struct px_control_socket *s);
/* Lets go of everything. */
void px_control_socket_close(struct px_control_socket *s);
/* Who listens at the socket: 0 with the pid, PX_ENOENT when nobody does. */
PX_MUST_CHECK int px_control_socket_dial(const char *path, int *ret_pid);

#endif

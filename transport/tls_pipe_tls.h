/* TLS 1.3 for pipes by GnuTLS: what it hides is what the pipe carries, nothing more. No certificate
 * is looked at: who is at the other end, the links inside the pipe prove. */
#ifndef PX_TRANSPORT_TLS_PIPE_TLS_H
#define PX_TRANSPORT_TLS_PIPE_TLS_H

#include <gnutls/gnutls.h>

#include "proto/base/slice.h"

struct px_tls_pipe_tls;

/* For one role. The server makes a key and a self-signed certificate of its own each time.
 * PX_ENOMEM, PX_ETLS. */
PX_MUST_CHECK int px_tls_pipe_tls_new(bool server, struct px_tls_pipe_tls **ret);
/* After its sessions. */
void px_tls_pipe_tls_free(struct px_tls_pipe_tls *t);
/* A non-blocking session on a connected socket, which stays the caller's. `name`: the server name a
 * client sends; "" for none, a server ignores it. The caller ends it with gnutls_deinit. */
PX_MUST_CHECK int px_tls_pipe_tls_session(const struct px_tls_pipe_tls *t, int fd, const char *name,
                                          gnutls_session_t *ret);

#endif

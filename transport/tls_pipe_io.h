/* One pipe (docs/spec/relay-tls.md) on a TCP socket in a libuv loop, either role: the core of
 * tls_pipe.h inside TLS. Little waits in the kernel, so that the queue before it decides what is
 * late. */
#ifndef PX_TRANSPORT_TLS_PIPE_IO_H
#define PX_TRANSPORT_TLS_PIPE_IO_H

#include <uv.h>

#include "proto/addr.h"
#include "transport/tls_pipe.h"
#include "transport/tls_pipe_tls.h"

struct px_tls_pipe_io;

#define PX_TLS_PIPE_KERNEL (16 * 1024) /* bytes in the kernel that were not sent yet, at most */
#define PX_TLS_PIPE_RECORD 8192        /* of a TLS record, at most */

struct px_tls_pipe_io_ops {
    /* TLS is there: datagrams may be sent. */
    void (*open)(void *ctx);
    /* May be changed in place. */
    void (*datagram)(void *ctx, uint8_t *data, size_t len);
    /* After each bounded batch of datagrams. */
    void (*batch_end)(void *ctx);
    /* Its end, unless by px_tls_pipe_io_close; the pointer is dead afterwards. */
    void (*closed)(void *ctx, int err);
    /* There is something to send: px_tls_pipe_io_flush soon. */
    void (*pending)(void *ctx);
};

/* Any callback may close the pipe. `tls` must outlive it. `fd`: connected, owned in any case; the
 * names of clients are copied. PX_ENOMEM, PX_EIO, PX_ETLS; connecting also PX_EADDR & co. */
PX_MUST_CHECK int px_tls_pipe_io_accept(uv_loop_t *loop, int owned_fd,
                                        const struct px_tls_pipe_tls *tls,
                                        const struct px_tls_pipe_io_ops *ops, void *ctx,
                                        struct px_tls_pipe_io **ret);
PX_MUST_CHECK int px_tls_pipe_io_connect(uv_loop_t *loop, const struct px_addr *to,
                                         const char *name, const struct px_tls_pipe_tls *tls,
                                         const struct px_tls_pipe_io_ops *ops, void *ctx,
                                         struct px_tls_pipe_io **ret);
/* Sends what it can without waiting, then closes; no callback comes any more. NULL is fine. */
void px_tls_pipe_io_close(struct px_tls_pipe_io *io);

bool px_tls_pipe_io_is_open(const struct px_tls_pipe_io *io);
/* Whether nothing is queued. */
bool px_tls_pipe_io_is_empty(const struct px_tls_pipe_io *io);
/* As px_tls_pipe_queue; lost before it is open. */
void px_tls_pipe_io_send(struct px_tls_pipe_io *io, struct px_slice data, size_t segment);
/* May end in `closed`. */
void px_tls_pipe_io_flush(struct px_tls_pipe_io *io);
/* As px_tls_pipe_memory and px_tls_pipe_shrink. */
size_t px_tls_pipe_io_memory(const struct px_tls_pipe_io *io);
void px_tls_pipe_io_shrink(struct px_tls_pipe_io *io);
void px_tls_pipe_io_set_proved(struct px_tls_pipe_io *io, bool proved);
const struct px_tls_pipe_stats *px_tls_pipe_io_stats(const struct px_tls_pipe_io *io);

#endif

/* The pipes (docs/spec/relay-tls.md) of one overlay socket: those that others open to our TCP port,
 * those that we open, and the numbers under which they are addresses (PX_ADDR_PIPE).
 *
 * What comes through a pipe enters the overlay as from the socket; what the overlay sends to a
 * pipe's address leaves through it. */
#ifndef PX_TRANSPORT_TLS_PIPES_IO_H
#define PX_TRANSPORT_TLS_PIPES_IO_H

#include "proto/base/log.h"
#include "transport/overlay_io.h"
#include "transport/tls_pipe_io.h"

struct px_tls_pipes;

#define PX_TLS_PIPES_MAX                 4096
#define PX_TLS_PIPES_UNPROVED            256 /* that others opened; the oldest one makes room */
#define PX_TLS_PIPES_UNPROVED_PER_SOURCE 8   /* an IPv4 address or IPv6 /56; more are hung up on */
#define PX_TLS_PIPES_ACCEPTS             8   /* a turn of the loop */
#define PX_TLS_PIPES_MEMORY              (32u * 1024 * 1024) /* of all queues together */

/* The overlay sends to pipes through this from now on; it must live until px_tls_pipes_close. `log`
 * may be NULL. PX_ENOMEM. */
PX_MUST_CHECK int px_tls_pipes_new(uv_loop_t *loop, struct px_overlay_io *overlay,
                                   const struct px_log *log, struct px_tls_pipes **ret);
/* Closes all, without a callback; what was queued leaves if it can at once. NULL is fine. */
void px_tls_pipes_close(struct px_tls_pipes *set);

/* Instead of PX_TLS_PIPES_MEMORY. When the queues would take more, the fullest one gives up half of
 * what it has, with the oldest datagrams in it, until they do not. */
void px_tls_pipes_limit_memory(struct px_tls_pipes *set, size_t bytes);

/* Who may come; either may be NULL. */
struct px_tls_pipes_door {
    /* Whether a connection from there is taken; a handshake costs something. NULL: yes. */
    bool (*admits)(void *ctx, const struct px_addr *peer);
    /* One from there ended that never was proved. */
    void (*left)(void *ctx, const struct px_addr *peer);
};
/* Once; port 0 is a free one. PX_EADDR, PX_EPERM & co. from the socket, PX_ETLS, PX_ENOMEM. */
PX_MUST_CHECK int px_tls_pipes_listen(struct px_tls_pipes *set, const struct px_addr *addr,
                                      const struct px_tls_pipes_door *door, void *ctx);
/* The address bound, with the real port; NULL if it does not listen. */
const struct px_addr *px_tls_pipes_local(const struct px_tls_pipes *set);

struct px_tls_pipes_ops {
    /* Datagrams may be sent to the pipe's address. */
    void (*open)(void *ctx);
    /* Its end, not by px_tls_pipes_hang_up; the address is dead. */
    void (*closed)(void *ctx, int err);
};
/* Opens a pipe to a TCP address. `name` is told the server unless it is "". What comes of it is
 * told later, by `ops`. PX_EADDR & co., PX_ELIMIT, PX_ENOMEM, PX_ETLS. */
PX_MUST_CHECK int px_tls_pipes_dial(struct px_tls_pipes *set, const struct px_addr *to,
                                    const char *name, const struct px_tls_pipes_ops *ops, void *ctx,
                                    struct px_addr *ret);
/* Ends a pipe; unknown ones are gone already. */
void px_tls_pipes_hang_up(struct px_tls_pipes *set, const struct px_addr *pipe);

/* An authenticated link came to this pipe (true), or left it; it is proved while there is any. */
void px_tls_pipes_set_proved(struct px_tls_pipes *set, const struct px_addr *pipe, bool proved);
/* The TCP address at its other end; false for what is no living pipe. */
bool px_tls_pipes_peer(const struct px_tls_pipes *set, const struct px_addr *pipe,
                       struct px_addr *ret);

struct px_tls_pipes_numbers {
    size_t open, unproved;               /* unproved ones that others opened */
    size_t memory;                       /* of the queues */
    uint64_t accepted, refused, dropped; /* dropped: datagrams of pipes that ended, and of these */
};
void px_tls_pipes_numbers(const struct px_tls_pipes *set, struct px_tls_pipes_numbers *ret);

#endif

/* Runs a px_overlay on a libuv loop: one UDP socket, one timer, CLOCK_BOOTTIME.
 *
 * What upper layers start outside a network callback (a dial, a wake, a close) leaves at the end of
 * the same loop turn; nobody has to ask for it. */
#ifndef PX_TRANSPORT_OVERLAY_IO_H
#define PX_TRANSPORT_OVERLAY_IO_H

#include "transport/link.h"
#include "transport/udp_io.h"

struct px_overlay_io;

/* CLOCK_BOOTTIME in nanoseconds. */
px_nsec px_now_io(void);

/* config.quic.net and .rng are filled in here. PX_EADDR & co. from the socket. */
PX_MUST_CHECK int px_overlay_io_new(uv_loop_t *loop, const struct px_addr *bind,
                                    const struct px_overlay_config *config,
                                    struct px_overlay_io **ret);
struct px_udp *px_overlay_io_udp(struct px_overlay_io *io);
/* Looks at received batches before the overlay does, as px_udp_ops.batch; one at a time, NULL for
 * none. */
void px_overlay_io_set_batch(struct px_overlay_io *io,
                             size_t (*batch)(void *ctx, const struct px_path *path, unsigned ecn,
                                             uint8_t *data, size_t len, size_t segment),
                             void *ctx);
/* Sends what goes to circuits (PX_ADDR_CIRCUIT), as px_quic_net.send; NULL, and before this is
 * called: it is lost. */
void px_overlay_io_set_carrier(struct px_overlay_io *io,
                               int (*send)(void *ctx, const struct px_path *path, unsigned ecn,
                                           struct px_slice data, size_t segment),
                               void *ctx);
/* The carrier's other direction: a datagram that came through a circuit. Inside `batch` only. */
void px_overlay_io_carried(struct px_overlay_io *io, const struct px_addr *circuit, unsigned ecn,
                           struct px_slice datagram);
/* The same for what goes to pipes (PX_ADDR_PIPE). */
void px_overlay_io_set_pipes(struct px_overlay_io *io,
                             int (*send)(void *ctx, const struct px_path *path, unsigned ecn,
                                         struct px_slice data, size_t segment),
                             void *ctx);
/* A datagram that came from `remote`, a pipe, as if the socket had received it: `batch` may change
 * it. px_overlay_io_received_all after each batch of them. */
void px_overlay_io_received(struct px_overlay_io *io, const struct px_addr *remote, uint8_t *data,
                            size_t len);
void px_overlay_io_received_all(struct px_overlay_io *io);
/* A datagram that `batch` kept back, as it was then; px_overlay_io_received_all after it. */
void px_overlay_io_resume(struct px_overlay_io *io, const struct px_path *path, unsigned ecn,
                          struct px_slice datagram);
/* px_udp_send, or through the pipe that the path leads to. */
PX_MUST_CHECK int px_overlay_io_send(struct px_overlay_io *io, const struct px_path *path,
                                     unsigned ecn, struct px_slice data, size_t segment);
/* px_overlay_dial to a remote address from our socket. */
PX_MUST_CHECK int px_overlay_io_dial(struct px_overlay_io *io, const struct px_peer_id *id,
                                     const struct px_addr *remote, void *user,
                                     struct px_link **ret);
/* px_overlay_network_changed, now. */
void px_overlay_io_network_changed(struct px_overlay_io *io);
/* px_link_suggest for the peer's link, if there is one. */
void px_overlay_io_suggest(struct px_overlay_io *io, const struct px_peer_id *id,
                           const struct px_addr *remote);
/* From now on datagrams to and from addresses that do not pass are dropped unseen. What `pass` says
 * of an address may be kept until the next call of this function. */
void px_overlay_io_set_filter(struct px_overlay_io *io,
                              bool (*pass)(void *ctx, const struct px_addr *remote), void *ctx);
/* Closes links with PX_CLOSE_SHUTDOWN, sends what is due, then closes the handles; `done` is called
 * from the loop, after which io is gone. */
void px_overlay_io_close(struct px_overlay_io *io, void (*done)(void *ctx), void *ctx);

#endif

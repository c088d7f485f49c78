/* The UDP socket: uv_poll on our own descriptor, recvmmsg with UDP_GRO, sendmsg with UDP_SEGMENT.
 *
 * Both offloads fall back at run time when the kernel refuses them. Not a QUIC file: it moves
 * datagrams for whoever is behind `ops`. */
#ifndef PX_TRANSPORT_UDP_IO_H
#define PX_TRANSPORT_UDP_IO_H

#include <uv.h>

#include "proto/addr.h"

struct px_udp;

struct px_udp_ops {
    /* One datagram (GRO batches are split). path.local is the bound address with the local IP the
     * packet came to (IP_PKTINFO) where the socket is bound to a wildcard. */
    void (*datagram)(void *ctx, const struct px_path *path, unsigned ecn, struct px_slice data);
    /* After each bounded batch of datagrams. */
    void (*batch_end)(void *ctx);
    /* The socket takes datagrams again after px_udp_send said PX_EAGAIN. */
    void (*writable)(void *ctx);
    /* Optional: sees a received batch of `segment`-byte datagrams (the last may be shorter) before
     * it is split, may change it in place, and returns how many bytes of whole datagrams it took
     * from the front; it is asked again about the rest. 0: `datagram` gets the first one. */
    size_t (*batch)(void *ctx, const struct px_path *path, unsigned ecn, uint8_t *data, size_t len,
                    size_t segment);
};

/* Binds (port 0: a free one; the IPv6 wildcard is dual-stack where the kernel has it, IPv4 peers
 * then appear as IPv4 addresses). PX_EADDR, PX_EPERM, PX_EIO. */
PX_MUST_CHECK int px_udp_new(uv_loop_t *loop, const struct px_addr *bind,
                             const struct px_udp_ops *ops, void *ctx, struct px_udp **ret);
/* Asynchronous; freed by the loop. */
void px_udp_close(struct px_udp *u);
/* The address bound, with the real port. */
const struct px_addr *px_udp_local(const struct px_udp *u);

/* Fits struct px_quic_net.send with ctx = the px_udp. */
int px_udp_send(void *udp, const struct px_path *path, unsigned ecn, struct px_slice data,
                size_t segment);

struct px_udp_stats {
    uint64_t bytes_sent, bytes_received, datagrams_sent, datagrams_received;
    uint64_t send_calls, receive_calls;
    bool gso, gro;
};
void px_udp_stats(const struct px_udp *u, struct px_udp_stats *ret);
/* Turns the offloads off, for tests and benchmarks. */
void px_udp_disable_offload(struct px_udp *u, bool gso, bool gro);

#endif

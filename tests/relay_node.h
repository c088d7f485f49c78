/* A node at a relay for tests and benchmarks: the production client core (relay/client.h) on a
 * socket of its own, dialling one relay. What node/ does with a relay is more than this. */
#ifndef PX_TESTS_RELAY_NODE_H
#define PX_TESTS_RELAY_NODE_H

#include "relay/client.h"
#include "relay/control_stream.h"
#include "transport/tls_pipes_io.h"

struct relay_node {
    uv_loop_t *loop;
    struct px_identity identity;
    struct px_peer_id relay;
    struct px_addr relay_addr;
    struct px_overlay_io *io;
    struct px_tls_pipes *pipes;
    struct px_addr pipe; /* the one dialled last */
    struct px_link *link;
    struct px_control_stream *stream;
    struct px_relay_client *client;
    struct px_relay_client_ops ops;
    uv_timer_t timer;
    uv_prepare_t arm;
    px_nsec armed;
    struct px_path path; /* of the link */
    /* `err` as in px_overlay_ops.down; 0 for up */
    void (*link_changed)(struct relay_node *n, bool up, int err);
    /* Optional, set before the start: links to anybody but the relay (authorize, up, down, stream),
     * incoming ones too; and px_quic_config.max_udp_payload. */
    const struct px_overlay_ops *others;
    void *others_ctx;
    size_t payload;
    void *user;
};

/* ops: send and packet are filled in; without ring every caller is welcome, and reply, observed,
 * changed and restarting may be NULL. Every callback gets the relay_node as its ctx. n->identity
 * must be set. Dials at once. */
PX_MUST_CHECK int relay_node_start(struct relay_node *n, uv_loop_t *loop,
                                   const struct px_peer_id *relay, const struct px_addr *addr,
                                   const char *network, const struct px_relay_client_ops *ops,
                                   bool reserve);
PX_MUST_CHECK int relay_node_dial(struct relay_node *n);
/* Opens a pipe to that TCP address and dials through it. */
PX_MUST_CHECK int relay_node_dial_pipe(struct relay_node *n, const struct px_addr *tcp);
/* A payload through an open leg. */
void relay_node_send(struct relay_node *n, struct px_relay_leg *leg, struct px_slice payload);
/* Packets of `segment` bytes, headers included. PX_EAGAIN when the socket is full. */
PX_MUST_CHECK int relay_node_send_batch(struct relay_node *n, struct px_relay_leg *leg,
                                        struct px_slice packets, size_t segment);
/* Asynchronous: handles close with the loop. */
void relay_node_close(struct relay_node *n);

#endif

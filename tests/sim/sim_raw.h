/* A peer that speaks QUIC as we do but puts on its streams whatever a test wants: eager, silent or
 * hostile nodes, and the man in the TLS middle. */
#ifndef PX_TESTS_SIM_RAW_H
#define PX_TESTS_SIM_RAW_H

#include "proto/base/buf.h"
#include "tests/sim/sim_net.h"
#include "transport/chunk.h"

#define RAW_STREAMS_MAX 160

struct raw;

struct raw_stream {
    int64_t id; /* -1: free */
    bool open;  /* QUIC knows it */
    bool blocked, fin_wanted, fin_sent;
    struct px_send_queue out;
    struct px_buf in;
};

struct raw_conn {
    struct raw *raw;
    struct px_quic_conn *conn; /* NULL once closed */
    bool secured, closed, by_peer;
    int err;
    uint64_t code;
    struct raw_conn *other; /* set: every byte received is sent on there, on the same stream */
    struct raw_stream streams[RAW_STREAMS_MAX];
};

struct raw {
    struct sim_net *net;
    struct sim_node *node;
    uint8_t number;
    struct px_test_rng rng;
    struct px_quic *quic;
    struct raw_conn *conns[512];
    size_t conn_count;
    struct raw_conn *forward_to; /* accepted connections are joined with this one */
};

void raw_init(struct raw *r, struct sim_net *net, uint8_t number, uint64_t seed);
void raw_deinit(struct raw *r);
struct raw_conn *raw_dial(struct raw *r, uint8_t to);
/* Queues bytes for a stream; it is opened (ids ascending!) when TLS is done. */
void raw_write(struct raw_conn *c, int64_t id, struct px_slice data, bool fin);
/* What was received on a stream so far. */
struct px_slice raw_received(struct raw_conn *c, int64_t id);
void raw_close(struct raw_conn *c, uint64_t code);

#endif

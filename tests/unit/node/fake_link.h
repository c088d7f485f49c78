/* Two ends of a link in memory, for tests of what stands on transport/link.h: included by a test,
 * whose px_link_* symbols then win over the library's.
 *
 * Bytes are read from the offered memory when they are delivered and once more when they are acked
 * or the stream closes, and arrive in exact heap copies: a sanitizer sees memory given up too early
 * and views kept too long. Nothing is called from inside a call; everything happens in fake_step.
 */
#ifndef PX_TESTS_FAKE_LINK_H
#define PX_TESTS_FAKE_LINK_H

#include "transport/link.h"

#ifndef FAKE_IDS_MAX /* a fuzzer wants few */
#define FAKE_IDS_MAX 65536
#endif

struct fake_segment {
    const uint8_t *data;
    size_t len;
};

struct fake_stream {
    struct px_link *link;
    int64_t id;
    const struct px_stream_ops *ops;
    void *ctx;
    struct fake_stream *dirty_prev, *dirty_next;
    bool dirty, routed; /* routed: its first byte found an owner */
    /* what this end sends */
    struct fake_segment *segments;
    size_t segment_count, segment_cap;
    uint64_t sent, delivered, acked, limit;
    bool fin_sent, fin_delivered, blocked, unblock;
    bool reset_wanted, reset_delivered, send_done;
    uint64_t reset_code;
    /* what it receives */
    uint64_t received, consumed;
    bool stop_wanted, stop_delivered, recv_done;
    uint64_t stop_code;
};

struct px_link {
    struct fake_net *net;
    struct px_link *peer;
    bool quic_client, up;
    struct fake_stream **streams; /* FAKE_IDS_MAX */
    struct fake_stream *dirty;    /* ring */
    struct px_producer *producer;
    int64_t next_bidi, next_uni;
    size_t bidi_open;   /* of ours */
    uint64_t in_flight; /* delivered to us and not consumed */
    uint64_t leaked;    /* of closed streams, never given back */
    size_t stray_consumes;
    /* Streams of the peer. NULL refuses. */
    const struct px_stream_ops *(*route)(void *ctx, int64_t id, uint8_t type, void **ret_ctx);
    void *route_ctx;
};

struct fake_net {
    struct px_link a, b; /* a is the QUIC client */
    uint64_t stream_window, conn_window;
    size_t bidi_max;  /* streams one end may have open */
    int64_t uni_max;  /* unidirectional ids below this */
    size_t chunk_max; /* bytes per delivery, random below; 0: as much as there is */
    uint64_t rng;
};

void fake_net_init(struct fake_net *n);
/* Abrupt: every stream of both ends is closed, both links are down. */
void fake_net_cut(struct fake_net *n);
void fake_net_deinit(struct fake_net *n);
/* One round; false when nothing happened. */
bool fake_step(struct fake_net *n);
/* Rounds until nothing happens. */
void fake_run(struct fake_net *n);
/* As if the peer of l had sent these bytes on a stream of its own. */
void fake_inject(struct px_link *l, int64_t id, struct px_slice data, bool fin);

#endif

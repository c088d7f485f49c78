/* Holds what a node sends into a circuit to 95 % of the rate the relay told (docs/spec/relay.md
 * §4): what comes faster waits a little, and is lost beyond that, so that the sender's congestion
 * control sees a path of that rate and not the relay's bucket. A core: time comes in. */
#ifndef PX_NODE_CIRCUIT_QUEUE_H
#define PX_NODE_CIRCUIT_QUEUE_H

#include "proto/base/list.h"
#include "proto/base/slice.h"
#include "relay/token_bucket.h"

#define PX_CIRCUIT_SHARE     95                 /* per cent of the rate told */
#define PX_CIRCUIT_WAIT_MAX  (100 * PX_MSEC)    /* of the rate: so much may wait, */
#define PX_CIRCUIT_QUEUE_MIN (128u * 1024)      /* at least this */
#define PX_CIRCUIT_QUEUE_MAX (4u * 1024 * 1024) /* and at most this many bytes */

/* Datagrams of `segment` bytes each, the last may be shorter. */
struct px_circuit_batch {
    struct px_list node; /* the queue's */
    size_t segment;
    unsigned ecn;
    size_t len;
    uint8_t data[];
};

struct px_circuit_queue {
    struct px_token_bucket bucket;
    struct px_list waiting;
    size_t bytes, limit;
    uint64_t dropped; /* bytes */
};

/* rate 0: no bound. */
void px_circuit_queue_init(struct px_circuit_queue *q, uint64_t rate, uint64_t burst, px_nsec now);
/* Drops what waits. An all-zero queue is fine. */
void px_circuit_queue_deinit(struct px_circuit_queue *q);
/* True: send it now (px_circuit_queue_refund if the socket did not take it). False: it waits,
 * copied, or is lost. */
bool px_circuit_queue_offer(struct px_circuit_queue *q, struct px_slice data, size_t segment,
                            unsigned ecn, px_nsec now);
void px_circuit_queue_refund(struct px_circuit_queue *q, size_t len);
/* The first that waited long enough, for the caller to send and free; NULL: none. */
struct px_circuit_batch *px_circuit_queue_take(struct px_circuit_queue *q, px_nsec now);
/* When it has one; PX_NEVER without any. */
px_nsec px_circuit_queue_deadline(const struct px_circuit_queue *q);

#endif

/* Bytes on their way out: reference-counted chunks, and the queue that keeps them until the peer
 * has acknowledged them. */
#ifndef PX_TRANSPORT_CHUNK_H
#define PX_TRANSPORT_CHUNK_H

#include "proto/base/slice.h"

/* May be queued on any number of streams at once; the bytes do not change once it is queued. Not
 * for use by several threads. */
struct px_chunk {
    uint32_t refs;
    size_t len;
    uint8_t data[];
};

/* len bytes, not initialised, one reference. NULL without memory. */
struct px_chunk *px_chunk_new(size_t len);
struct px_chunk *px_chunk_copy(struct px_slice data);
struct px_chunk *px_chunk_ref(struct px_chunk *c);
void px_chunk_unref(struct px_chunk *c);

/* What was pushed, minus what was acknowledged. */
struct px_send_queue {
    struct px_chunk **ring;
    size_t cap, head, count; /* cap is 0 or a power of two */
    size_t acked_off;        /* bytes of the first chunk that are acknowledged */
    size_t next, next_off;   /* what is sent next: chunk after head, byte in it */
    uint64_t queued;         /* bytes not acknowledged */
    uint64_t unsent;         /* bytes of those not sent */
};

/* An all-zero queue is an empty one. */
void px_send_queue_deinit(struct px_send_queue *q);
/* Takes the reference, also on failure. PX_ENOMEM. */
PX_MUST_CHECK int px_send_queue_push(struct px_send_queue *q, struct px_chunk *owned_chunk);
/* Up to cap views of what is to be sent next; they live until acknowledged. Returns how many. */
size_t px_send_queue_offer(const struct px_send_queue *q, struct px_slice *ret_vec, size_t cap);
/* n of the offered bytes were taken. */
void px_send_queue_sent(struct px_send_queue *q, uint64_t n);
/* The next n bytes were acknowledged (n is at most what was sent). */
void px_send_queue_acked(struct px_send_queue *q, uint64_t n);

#endif

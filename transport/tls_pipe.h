/* A pipe (docs/spec/relay-tls.md): datagrams, each with its length before it, through one TLS
 * connection, for where UDP does not pass. This is the core: framing, the bounded queue whose
 * oldest datagrams are dropped, and what a pipe may do before anybody proved who uses it.
 *
 * Sans-IO: TLS plaintext and `now` go in, datagrams and plaintext come out. */
#ifndef PX_TRANSPORT_TLS_PIPE_H
#define PX_TRANSPORT_TLS_PIPE_H

#include "proto/base/slice.h"

#define PX_TLS_PIPE_DATAGRAM_MAX   1500
#define PX_TLS_PIPE_QUEUE          (256u * 1024) /* bytes waiting to be sent, lengths included */
#define PX_TLS_PIPE_QUEUE_MIN      (8u * 1024)   /* what the memory for them begins with */
#define PX_TLS_PIPE_UNPROVED_BYTES (64u * 1024)  /* received in all */
#define PX_TLS_PIPE_UNPROVED_TIME  (5 * PX_SEC)
#define PX_TLS_PIPE_IDLE           (60 * PX_SEC) /* nothing received */

struct px_tls_pipe_stats {
    uint64_t sent, received; /* datagrams */
    uint64_t dropped;        /* from the queue, and those that are too long */
};

/* In place. */
struct px_tls_pipe {
    uint8_t in[2 + PX_TLS_PIPE_DATAGRAM_MAX]; /* a frame that is not whole yet */
    size_t in_len;
    uint8_t *queue; /* a ring that grows up to PX_TLS_PIPE_QUEUE, NULL until it is needed */
    size_t cap, head, used;
    bool proved;
    uint64_t unproved_bytes;
    px_nsec unproved_since, heard_at;
    struct px_tls_pipe_stats stats;
};

/* The clock of both bounds starts here: before TCP and TLS have said anything. */
void px_tls_pipe_init(struct px_tls_pipe *p, px_nsec now);
void px_tls_pipe_deinit(struct px_tls_pipe *p);

/* Whether an authenticated link is on it. Each time it is not, time and bytes count anew. */
void px_tls_pipe_set_proved(struct px_tls_pipe *p, bool proved, px_nsec now);

/* Takes received bytes from the front of *bytes up to the end of one datagram. 0: there is one, in
 * *ret_data, which may be changed in place, until the next call. PX_EAGAIN: all bytes are taken.
 * PX_EPROTO: an impossible length; PX_EOVERRUN: too much before it was proved. After these two the
 * pipe is of no more use. */
PX_MUST_CHECK int px_tls_pipe_read(struct px_tls_pipe *p, struct px_slice *bytes, px_nsec now,
                                   uint8_t **ret_data, size_t *ret_len);

/* Queues datagrams of `segment` bytes (the last may be shorter); older ones are dropped for them as
 * need be. What cannot be queued counts as dropped. */
void px_tls_pipe_queue(struct px_tls_pipe *p, struct px_slice data, size_t segment);
/* Memory of the queue, in bytes. */
static inline size_t px_tls_pipe_memory(const struct px_tls_pipe *p)
{
    return p->cap;
}
/* Gives half of that back, or all of it if nothing is queued; the oldest datagrams that do not fit
 * are dropped. */
void px_tls_pipe_shrink(struct px_tls_pipe *p);
/* Takes whole frames out of the queue, oldest first; returns the bytes written to out. */
size_t px_tls_pipe_take(struct px_tls_pipe *p, uint8_t *out, size_t cap);
static inline bool px_tls_pipe_is_empty(const struct px_tls_pipe *p)
{
    return p->used == 0;
}

/* When it ends if nothing more happens, and whether it does: PX_EHANDSHAKE_TIMEOUT when it was not
 * proved in time, PX_ETIMEDOUT when it was silent too long, else 0. */
px_nsec px_tls_pipe_deadline(const struct px_tls_pipe *p);
PX_MUST_CHECK int px_tls_pipe_check(const struct px_tls_pipe *p, px_nsec now);

#endif

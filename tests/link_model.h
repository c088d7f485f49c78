/* What a bad link does to packets: delay, jitter, loss, bursts of loss, reordering, duplication, a
 * rate with a bounded queue. A core: seeded, `now` comes in, verdicts go out.
 *
 * Bursts follow Gilbert and Elliott: in the bad state every packet is lost. */
#ifndef PX_TESTS_LINK_MODEL_H
#define PX_TESTS_LINK_MODEL_H

#include "proto/base/base.h"

struct px_link_model_config {
    px_nsec delay;      /* one way */
    px_nsec jitter;     /* added: uniform in 0..jitter; keeps the order */
    double loss;        /* probability, independent */
    double burst_enter; /* good → bad, per packet */
    double burst_leave; /* bad → good, per packet */
    double reorder;     /* probability that a packet is held back by `reorder_delay` */
    px_nsec reorder_delay;
    double duplicate; /* probability of a second copy */
    uint64_t rate;    /* bytes per second; 0: unlimited */
    uint64_t queue;   /* bytes waiting at most before drop-tail; 0: 100 ms of rate */
};

struct px_link_model {
    struct px_link_model_config config;
    uint64_t random;
    bool bad;         /* in a burst of loss */
    px_nsec free_at;  /* when the wire has sent all that was queued */
    px_nsec last_due; /* for keeping the order under jitter */
    uint64_t passed, lost, overflowed;
};

#define PX_LINK_COPIES_MAX 2

void px_link_model_init(struct px_link_model *m, const struct px_link_model_config *config,
                        uint64_t seed);
/* A packet of `size` bytes enters at `now`: returns how many copies come out (0..2) and when. */
size_t px_link_model_enter(struct px_link_model *m, size_t size, px_nsec now,
                           px_nsec ret_due[PX_LINK_COPIES_MAX]);

#endif

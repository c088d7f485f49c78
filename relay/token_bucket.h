/* A token bucket: `rate` bytes a second, at most `burst` saved up. Starts full. */
#ifndef PX_RELAY_TOKEN_BUCKET_H
#define PX_RELAY_TOKEN_BUCKET_H

#include "proto/base/base.h"

struct px_token_bucket {
    uint64_t rate;  /* per second; 0: no bound */
    uint64_t burst; /* most tokens there can be */
    uint64_t tokens;
    px_nsec filled_at;
};

void px_token_bucket_init(struct px_token_bucket *b, uint64_t rate, uint64_t burst, px_nsec now);
/* How many tokens there are now; UINT64_MAX without a bound. */
uint64_t px_token_bucket_available(struct px_token_bucket *b, px_nsec now);
/* Takes n, which must be available. */
void px_token_bucket_take(struct px_token_bucket *b, uint64_t n);
/* Takes n if they are there. */
bool px_token_bucket_try(struct px_token_bucket *b, uint64_t n, px_nsec now);

#endif

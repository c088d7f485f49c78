/* See token_bucket.h. */
#include "relay/token_bucket.h"

void px_token_bucket_init(struct px_token_bucket *b, uint64_t rate, uint64_t burst, px_nsec now)
{
    *b = (struct px_token_bucket){.rate = rate, .burst = burst, .tokens = burst, .filled_at = now};
}

/* Time that made no whole token stays for the next look. */
static void fill(struct px_token_bucket *b, px_nsec now)
{
    if (now <= b->filled_at)
        return;
    unsigned __int128 made = (unsigned __int128)(now - b->filled_at) * b->rate / PX_SEC;
    if (made == 0)
        return;
    if (made >= b->burst - b->tokens) {
        b->tokens = b->burst;
        b->filled_at = now;
        return;
    }
    b->tokens += (uint64_t)made;
    b->filled_at += (px_nsec)(made * PX_SEC / b->rate);
}

uint64_t px_token_bucket_available(struct px_token_bucket *b, px_nsec now)
{
    if (b->rate == 0)
        return UINT64_MAX;
    fill(b, now);
    return b->tokens;
}

void px_token_bucket_take(struct px_token_bucket *b, uint64_t n)
{
    if (b->rate == 0)
        return;
    px_assert(n <= b->tokens);
    b->tokens -= n;
}

bool px_token_bucket_try(struct px_token_bucket *b, uint64_t n, px_nsec now)
{
    if (px_token_bucket_available(b, now) < n)
        return false;
    px_token_bucket_take(b, n);
    return true;
}

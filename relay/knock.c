/* See knock.h. A table of fixed size: sources cannot make it grow. */
#include "relay/knock.h"

#include <stdlib.h>

#include "proto/base/map.h"
#include "relay/sources.h"
#include "relay/token_bucket.h"

struct entry {
    uint8_t prefix[sizeof(((struct px_source *)0)->prefix)]; /* all zero: unused */
    struct px_token_bucket bucket;
};

struct px_knock {
    uint64_t seed[2];
    struct entry entries[PX_KNOCK_SOURCES];
};

int px_knock_new(const struct px_rng *rng, struct px_knock **ret)
{
    struct px_knock *k = calloc(1, sizeof(*k));
    if (k == NULL)
        return PX_ENOMEM;
    rng->fill(rng->ctx, k->seed, sizeof(k->seed));
    *ret = k;
    return 0;
}

void px_knock_free(struct px_knock *k)
{
    free(k);
}

/* Where the source is, or would be. */
static struct entry *place_of(struct px_knock *k, const struct px_addr *remote,
                              struct px_source *ret)
{
    px_source_of(NULL, remote, ret);
    uint64_t hash = px_siphash(k->seed, px_slice(ret->prefix, sizeof(ret->prefix)));
    return &k->entries[hash % PX_KNOCK_SOURCES];
}

static bool is_of(const struct entry *e, const struct px_source *s)
{
    return memcmp(e->prefix, s->prefix, sizeof(e->prefix)) == 0;
}

void px_knock_refused(struct px_knock *k, const struct px_addr *remote, px_nsec now)
{
    struct px_source s;
    struct entry *e = place_of(k, remote, &s);
    if (is_of(e, &s))
        return;
    memcpy(e->prefix, s.prefix, sizeof(e->prefix));
    px_token_bucket_init(&e->bucket, PX_KNOCK_RATE, PX_KNOCK_BURST, now);
}

/* An Initial of QUIC v1: long header, fixed bit, packet type 0 (RFC 9000 §17.2). */
static bool is_initial(uint8_t first)
{
    return (first & 0xf0) == 0xc0;
}

bool px_knock_allows(struct px_knock *k, const struct px_addr *remote, uint8_t first, px_nsec now)
{
    struct px_source s;
    if (!is_initial(first))
        return true;
    struct entry *e = place_of(k, remote, &s);
    return !is_of(e, &s) || px_token_bucket_try(&e->bucket, 1, now);
}

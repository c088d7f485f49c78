/* See knock.h. Tables of fixed size: sources cannot make them grow. */
#include "relay/knock.h"

#include <stdlib.h>

#include "proto/base/map.h"
#include "relay/sources.h"
#include "relay/token_bucket.h"

#define FLOW_SETS      4096 /* four places each: a lost flow would cost its source another token */
#define FLOW_WAYS      4
#define FRIEND_SOURCES 1024

struct prefix {
    uint8_t bytes[sizeof(((struct px_source *)0)->prefix)]; /* all zero: unused */
};

struct entry {
    struct prefix prefix;
    struct px_token_bucket bucket;
};

/* An address and port that may send `left` more packets until then. */
struct flow {
    struct px_addr addr;
    px_nsec until;
    unsigned left;
};

struct friend
{
    struct flow flow; /* its own packets: the time is that of a window */
    px_nsec until;    /* how long it is remembered */
};

struct friend_source {
    struct prefix prefix;
    px_nsec until;
};

struct px_knock {
    uint64_t seed[2];
    struct entry entries[PX_KNOCK_SOURCES];
    struct flow flows[FLOW_SETS][FLOW_WAYS];
    struct friend friends[PX_KNOCK_FRIENDS];
    struct friend_source friend_sources[FRIEND_SOURCES];
};

int px_knock_new(const struct px_rng *rng, struct px_knock **ret)
{
    struct px_knock *k = calloc(1, sizeof(*k)); /* pages are touched as sources come */
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

/* ---- places ---- */

static struct prefix prefix_of(const struct px_addr *remote)
{
    struct px_source s;
    struct prefix p;
    px_source_of(NULL, remote, &s);
    memcpy(p.bytes, s.prefix, sizeof(p.bytes));
    return p;
}

static size_t place(const struct px_knock *k, struct px_slice key, size_t count)
{
    return (size_t)(px_siphash(k->seed, key) % count);
}

static size_t place_of_addr(const struct px_knock *k, const struct px_addr *a, size_t count)
{
    uint8_t key[sizeof(a->ip) + 3] = {a->family, (uint8_t)(a->port >> 8), (uint8_t)a->port};
    memcpy(key + 3, a->ip, sizeof(a->ip));
    return place(k, px_slice(key, sizeof(key)), count);
}

static size_t place_of_prefix(const struct px_knock *k, const struct prefix *p, size_t count)
{
    return place(k, px_slice(p->bytes, sizeof(p->bytes)), count);
}

static bool is_of(const struct prefix *a, const struct prefix *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

/* ---- what happened ---- */

void px_knock_refused(struct px_knock *k, const struct px_addr *remote, px_nsec now)
{
    struct prefix p = prefix_of(remote);
    struct entry *e = &k->entries[place_of_prefix(k, &p, PX_KNOCK_SOURCES)];
    if (is_of(&e->prefix, &p))
        return;
    e->prefix = p;
    px_token_bucket_init(&e->bucket, PX_KNOCK_RATE, PX_KNOCK_BURST, now);
}

void px_knock_befriend(struct px_knock *k, const struct px_addr *remote, px_nsec now)
{
    struct prefix p = prefix_of(remote);
    struct friend *f = &k->friends[place_of_addr(k, remote, PX_KNOCK_FRIENDS)];
    struct friend_source *s = &k->friend_sources[place_of_prefix(k, &p, FRIEND_SOURCES)];
    if (!px_addr_eq(&f->flow.addr, remote))
        f->flow = (struct flow){.addr = *remote};
    f->until = s->until = now + PX_KNOCK_FRIEND_TIME;
    s->prefix = p;
}

/* ---- who may ---- */

/* An Initial of QUIC v1: long header, fixed bit, packet type 0 (RFC 9000 §17.2). */
static bool is_initial(uint8_t first)
{
    return (first & 0xf0) == 0xc0;
}

static void begin(struct flow *f, const struct px_addr *remote, px_nsec now)
{
    *f = (struct flow){.addr = *remote, .until = now + PX_KNOCK_WINDOW, .left = PX_KNOCK_PACKETS};
}

static bool take_one(struct flow *f)
{
    bool any = f->left > 0;
    f->left -= any;
    return any;
}

/* The flow of that address and port; else the one in whose place it would be. */
static struct flow *flow_of(struct px_knock *k, const struct px_addr *remote)
{
    struct flow *set = k->flows[place_of_addr(k, remote, FLOW_SETS)], *oldest = &set[0];
    for (size_t i = 0; i < FLOW_WAYS; i++) {
        if (px_addr_eq(&set[i].addr, remote))
            return &set[i];
        if (set[i].until < oldest->until)
            oldest = &set[i];
    }
    return oldest;
}

/* Where a friend was with this very address and port. */
static bool friend_allows(struct px_knock *k, const struct px_addr *remote, px_nsec now)
{
    struct friend *f = &k->friends[place_of_addr(k, remote, PX_KNOCK_FRIENDS)];
    if (now >= f->until || !px_addr_eq(&f->flow.addr, remote))
        return false;
    if (now >= f->flow.until)
        begin(&f->flow, remote, now);
    return take_one(&f->flow);
}

static bool source_allows(struct px_knock *k, struct entry *e, px_nsec now)
{
    const struct friend_source *s =
        &k->friend_sources[place_of_prefix(k, &e->prefix, FRIEND_SOURCES)];
    bool more = now < s->until && is_of(&s->prefix, &e->prefix);
    uint64_t rate = more ? PX_KNOCK_FRIEND_RATE : PX_KNOCK_RATE;
    if (e->bucket.rate != rate)
        px_token_bucket_init(&e->bucket, rate, more ? PX_KNOCK_FRIEND_BURST : PX_KNOCK_BURST, now);
    return px_token_bucket_try(&e->bucket, 1, now);
}

bool px_knock_allows(struct px_knock *k, const struct px_addr *remote, uint8_t first, px_nsec now)
{
    if (!is_initial(first))
        return true;
    struct prefix p = prefix_of(remote);
    struct entry *e = &k->entries[place_of_prefix(k, &p, PX_KNOCK_SOURCES)];
    if (!is_of(&e->prefix, &p) || friend_allows(k, remote, now))
        return true;
    struct flow *f = flow_of(k, remote);
    if (now < f->until && px_addr_eq(&f->addr, remote))
        return take_one(f);
    if (!source_allows(k, e, now))
        return false;
    begin(f, remote, now);
    return take_one(f);
}

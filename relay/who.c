/* See who.h. A table of fixed size: sources cannot make it grow. */
#include "relay/who.h"

#include <stdlib.h>

#include "proto/base/map.h"
#include "proto/base/reader.h"
#include "relay/sources.h"
#include "relay/token_bucket.h"

#define LABEL "peerix/1 relay am"

struct entry {
    uint8_t prefix[sizeof(((struct px_source *)0)->prefix)]; /* all zero: unused */
    struct px_token_bucket bucket;
};

struct px_who {
    const struct px_identity *identity;
    uint64_t seed[2];
    bool counting; /* `all` runs since the first question */
    struct px_token_bucket all;
    struct px_who_stats stats;
    struct entry entries[PX_WHO_SOURCES];
};

/* ---- packets ---- */

static const struct px_relay_leg_id no_leg;

/* lp(label) ‖ nonce ‖ key */
struct signed_text {
    uint8_t bytes[2 + sizeof(LABEL) - 1 + PX_RELAY_NONCE_LEN + PX_ED25519_PK_LEN];
};

static struct px_slice signed_text(struct signed_text *t, const struct px_relay_nonce *nonce,
                                   const struct px_peer_id *id)
{
    uint8_t *p = t->bytes;
    *p++ = 0;
    *p++ = sizeof(LABEL) - 1;
    memcpy(p, LABEL, sizeof(LABEL) - 1);
    memcpy(p + sizeof(LABEL) - 1, nonce->bytes, sizeof(nonce->bytes));
    memcpy(p + sizeof(LABEL) - 1 + sizeof(nonce->bytes), id->key, sizeof(id->key));
    return px_slice(t->bytes, sizeof(t->bytes));
}

void px_relay_who_put(uint8_t out[PX_RELAY_WHO_LEN], const struct px_relay_nonce *nonce)
{
    memset(out, 0, PX_RELAY_WHO_LEN);
    out[0] = PX_RELAY_WHO_PACKET;
    memcpy(out + PX_RELAY_HEADER_LEN, nonce->bytes, sizeof(nonce->bytes));
}

/* Header and nonce of a packet of that type; leg zero. */
static int read_head(struct px_reader *r, uint8_t want, struct px_relay_nonce *ret)
{
    struct px_relay_leg_id leg;
    struct px_relay_nonce nonce;
    uint8_t type = 0;
    int err = px_reader_u8(r, &type);
    if (err == 0)
        err = px_reader_copy(r, leg.bytes, sizeof(leg.bytes));
    if (err == 0)
        err = px_reader_copy(r, nonce.bytes, sizeof(nonce.bytes));
    if (err != 0 || type != want || !px_relay_leg_eq(&leg, &no_leg))
        return PX_EPARSE;
    *ret = nonce;
    return 0;
}

int px_relay_who_parse(struct px_slice packet, struct px_relay_nonce *ret)
{
    struct px_reader r = px_reader(packet);
    return packet.len == PX_RELAY_WHO_LEN ? read_head(&r, PX_RELAY_WHO_PACKET, ret) : PX_EPARSE;
}

void px_relay_am_put(uint8_t out[PX_RELAY_AM_LEN], const struct px_relay_nonce *nonce,
                     const struct px_identity *identity)
{
    struct signed_text text;
    memset(out, 0, PX_RELAY_HEADER_LEN);
    out[0] = PX_RELAY_AM_PACKET;
    memcpy(out + PX_RELAY_HEADER_LEN, nonce->bytes, sizeof(nonce->bytes));
    memcpy(out + PX_RELAY_PING_LEN, identity->id.key, sizeof(identity->id.key));
    px_ed25519_sign(&identity->secret, signed_text(&text, nonce, &identity->id),
                    out + PX_RELAY_PING_LEN + PX_ED25519_PK_LEN);
}

int px_relay_am_check(struct px_slice packet, const struct px_relay_nonce *nonce,
                      struct px_peer_id *ret)
{
    struct px_reader r = px_reader(packet);
    struct px_relay_nonce echoed;
    struct signed_text text;
    struct px_peer_id id;
    uint8_t sig[PX_ED25519_SIG_LEN];
    if (packet.len != PX_RELAY_AM_LEN || read_head(&r, PX_RELAY_AM_PACKET, &echoed) != 0 ||
        px_reader_copy(&r, id.key, sizeof(id.key)) != 0 ||
        px_reader_copy(&r, sig, sizeof(sig)) != 0)
        return PX_EPARSE;
    if (memcmp(echoed.bytes, nonce->bytes, sizeof(echoed.bytes)) != 0 ||
        px_ed25519_verify(id.key, signed_text(&text, nonce, &id), sig) != 0)
        return PX_ECRYPTO;
    *ret = id;
    return 0;
}

/* ---- the relay's side ---- */

int px_who_new(const struct px_identity *identity, const struct px_rng *rng, struct px_who **ret)
{
    struct px_who *w = calloc(1, sizeof(*w));
    if (w == NULL)
        return PX_ENOMEM;
    w->identity = identity;
    rng->fill(rng->ctx, w->seed, sizeof(w->seed));
    *ret = w;
    return 0;
}

void px_who_free(struct px_who *w)
{
    free(w);
}

static struct px_token_bucket *bucket_of(struct px_who *w, const struct px_addr *from, px_nsec now)
{
    struct px_source s;
    px_source_of(NULL, from, &s);
    uint64_t hash = px_siphash(w->seed, px_slice(s.prefix, sizeof(s.prefix)));
    struct entry *e = &w->entries[hash % PX_WHO_SOURCES];
    if (memcmp(e->prefix, s.prefix, sizeof(e->prefix)) != 0) {
        memcpy(e->prefix, s.prefix, sizeof(e->prefix));
        px_token_bucket_init(&e->bucket, PX_WHO_RATE, PX_WHO_BURST, now);
    }
    return &e->bucket;
}

/* The source's own limit first, so that one that asks too much takes nothing from the others. */
static bool may_answer(struct px_who *w, const struct px_addr *from, px_nsec now)
{
    if (!w->counting)
        px_token_bucket_init(&w->all, PX_WHO_RATE_ALL, PX_WHO_BURST_ALL, now);
    w->counting = true;
    return px_token_bucket_try(bucket_of(w, from, now), 1, now) &&
           px_token_bucket_try(&w->all, 1, now);
}

bool px_who_answer(struct px_who *w, struct px_slice packet, const struct px_addr *from,
                   px_nsec now, uint8_t ret[PX_RELAY_AM_LEN])
{
    struct px_relay_nonce nonce;
    if (px_relay_who_parse(packet, &nonce) != 0)
        return false;
    if (!may_answer(w, from, now)) {
        w->stats.refused++;
        return false;
    }
    px_relay_am_put(ret, &nonce, w->identity);
    w->stats.answered++;
    return true;
}

const struct px_who_stats *px_who_stats(const struct px_who *w)
{
    return &w->stats;
}

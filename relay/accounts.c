/* See accounts.h. Memory holds sums per pair over all days; the store has them per day. */
#include "relay/accounts.h"

#include <stdlib.h>

#include "proto/base/list.h"
#include "proto/base/map.h"
#include "proto/base/reader.h"

#define TRANSFER_LABEL "peerix/1 transfer"
#define SESSION_LABEL  "peerix/1 session"
#define PAIR_LEN       (2 * PX_ED25519_PK_LEN)
#define SESSION_LEN    (PX_RELAY_SESSION_LEN + PAIR_LEN)
#define DAY_LEN        (PAIR_LEN + 4)
#define BYTES_MAX      ((uint64_t)1 << 48) /* of one session */

/* What sender and receiver say, and how much of it both. */
struct sums {
    uint64_t confirmed, sent, received;
};

/* Who has something here, and how much. */
struct reporter {
    struct px_map_node by_id;
    struct px_list as_large;      /* in px_accounts.by_size[sessions] */
    struct px_list alone, agreed; /* its sessions: the other side said nothing yet, or did; the one
                                     reported last at the end */
    unsigned sessions, pairs;
    bool in_use; /* stays although it has nothing */
    bool unwelcome;
    struct px_peer_id id;
};

struct session {
    struct px_map_node by_key;
    struct px_list in_owner;
    struct reporter *owner; /* the first to report it */
    uint64_t sent, received;
    uint8_t key[SESSION_LEN];
};

/* Sums of a pair (PAIR_LEN) or of a pair's day (DAY_LEN). */
struct pair {
    struct px_map_node by_key;
    struct sums sums, today;
    struct reporter *only; /* nobody else has reported it */
    uint32_t day;          /* whose sums `today` are */
    uint8_t key[PAIR_LEN];
};

struct px_accounts {
    const struct px_relay_store *store;
    struct px_map sessions, pairs, reporters;
    struct px_list by_size[PX_ACCOUNTS_REPORTER_SESSIONS_MAX + 1]; /* reporters */
    unsigned largest; /* no reporter has more sessions */
    bool loading;     /* nothing may be written */
};

void px_transfer_session(struct px_slice binding, uint8_t ret[PX_RELAY_SESSION_LEN])
{
    uint8_t label[2 + sizeof(SESSION_LABEL) - 1] = {0, sizeof(SESSION_LABEL) - 1};
    uint8_t hash[PX_HASH_LEN];
    memcpy(label + 2, SESSION_LABEL, sizeof(SESSION_LABEL) - 1);
    px_sha256_2(px_slice(label, sizeof(label)), binding, hash);
    memcpy(ret, hash, PX_RELAY_SESSION_LEN);
}

#define SAID_LEN (2 + sizeof(TRANSFER_LABEL) - 1 + SESSION_LEN + 8)

static void put_be64(uint8_t *out, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(v >> (56 - 8 * i));
}

static void session_key(const struct px_transfer *t, uint8_t out[SESSION_LEN])
{
    memcpy(out, t->session, PX_RELAY_SESSION_LEN);
    memcpy(out + PX_RELAY_SESSION_LEN, t->sender.key, PX_ED25519_PK_LEN);
    memcpy(out + PX_RELAY_SESSION_LEN + PX_ED25519_PK_LEN, t->receiver.key, PX_ED25519_PK_LEN);
}

static void said(const struct px_transfer *t, uint8_t out[SAID_LEN])
{
    out[0] = 0;
    out[1] = sizeof(TRANSFER_LABEL) - 1;
    memcpy(out + 2, TRANSFER_LABEL, sizeof(TRANSFER_LABEL) - 1);
    session_key(t, out + 2 + sizeof(TRANSFER_LABEL) - 1);
    put_be64(out + SAID_LEN - 8, t->bytes);
}

void px_transfer_sign(const struct px_identity *identity, const struct px_transfer *t,
                      uint8_t ret[PX_ED25519_SIG_LEN])
{
    uint8_t text[SAID_LEN];
    said(t, text);
    px_ed25519_sign(&identity->secret, px_slice(text, sizeof(text)), ret);
}

int px_transfer_verify(const struct px_transfer *t, const struct px_peer_id *signer,
                       const uint8_t signature[PX_ED25519_SIG_LEN])
{
    uint8_t text[SAID_LEN];
    said(t, text);
    return px_ed25519_verify(signer->key, px_slice(text, sizeof(text)), signature);
}

/* ---- memory ---- */

int px_accounts_new(const struct px_rng *rng, const struct px_relay_store *store,
                    struct px_accounts **ret)
{
    struct px_accounts *a = calloc(1, sizeof(*a));
    if (a == NULL)
        return PX_ENOMEM;
    a->store = store;
    for (size_t i = 0; i < PX_ARRAY_LEN(a->by_size); i++)
        px_list_init(&a->by_size[i]);
    int err = px_map_init(&a->sessions, rng);
    if (err == 0)
        err = px_map_init(&a->pairs, rng);
    if (err == 0)
        err = px_map_init(&a->reporters, rng);
    if (err != 0) {
        px_accounts_free(a);
        return err;
    }
    *ret = a;
    return 0;
}

/* Files it by the number of its sessions; one that has nothing any more goes. */
static void place(struct px_accounts *a, struct reporter *r)
{
    px_list_remove(&r->as_large);
    if (r->sessions == 0 && r->pairs == 0 && !r->in_use) {
        px_map_remove(&a->reporters, &r->by_id);
        free(r);
    } else {
        px_list_push_back(&a->by_size[r->sessions], &r->as_large);
        a->largest = PX_MAX(a->largest, r->sessions);
    }
    while (a->largest > 0 && px_list_empty(&a->by_size[a->largest]))
        a->largest--;
}

static void free_session(struct px_accounts *a, struct session *s)
{
    struct reporter *owner = s->owner;
    px_map_remove(&a->sessions, &s->by_key);
    px_list_remove(&s->in_owner);
    free(s);
    owner->sessions--;
    place(a, owner);
}

/* Of this reporter, the session it can spare best. */
static struct session *sparest(const struct reporter *r)
{
    const struct px_list *from = px_list_empty(&r->alone) ? &r->agreed : &r->alone;
    return PX_CONTAINER_OF(from->next, struct session, in_owner);
}

void px_accounts_free(struct px_accounts *a)
{
    if (a == NULL)
        return;
    for (size_t i = 0; a->pairs.buckets != NULL && i <= a->pairs.mask; i++)
        while (a->pairs.buckets[i] != NULL) {
            struct pair *p = PX_CONTAINER_OF(a->pairs.buckets[i], struct pair, by_key);
            px_map_remove(&a->pairs, &p->by_key);
            free(p);
        }
    for (size_t i = 0; a->reporters.buckets != NULL && i <= a->reporters.mask; i++)
        while (a->reporters.buckets[i] != NULL) {
            struct reporter *r = PX_CONTAINER_OF(a->reporters.buckets[i], struct reporter, by_id);
            r->pairs = 0;
            r->in_use = true;
            while (r->sessions > 0)
                free_session(a, sparest(r));
            r->in_use = false;
            place(a, r);
        }
    px_map_deinit(&a->sessions);
    px_map_deinit(&a->pairs);
    px_map_deinit(&a->reporters);
    free(a);
}

/* One who has nothing yet is freed by the next place(). */
static struct reporter *get_reporter(struct px_accounts *a, const struct px_peer_id *id)
{
    struct px_map_node *n = px_map_find(&a->reporters, px_slice(id->key, sizeof(id->key)));
    if (n != NULL)
        return PX_CONTAINER_OF(n, struct reporter, by_id);
    struct reporter *r = calloc(1, sizeof(*r));
    if (r == NULL)
        return NULL;
    r->id = *id;
    px_list_init(&r->as_large);
    px_list_init(&r->alone);
    px_list_init(&r->agreed);
    px_map_insert(&a->reporters, &r->by_id, px_slice(r->id.key, sizeof(r->id.key)));
    return r;
}

static void evict(struct px_accounts *a, struct session *s)
{
    if (a->store != NULL && !a->loading) /* it ages out if that fails */
        (void)a->store->drop(a->store->ctx, PX_RELAY_ITEM_SESSION, px_slice(s->key, SESSION_LEN));
    free_session(a, s);
}

/* A full share makes room by itself; a full table by who has most, which is `r` if it has as many
 * as anybody. */
static void make_room(struct px_accounts *a, const struct reporter *r)
{
    bool full = a->sessions.count >= PX_ACCOUNTS_SESSIONS_MAX;
    if (r->sessions >= PX_ACCOUNTS_REPORTER_SESSIONS_MAX || (full && r->sessions == a->largest))
        evict(a, sparest(r));
    else if (full)
        evict(a, sparest(PX_CONTAINER_OF(a->by_size[a->largest].next, struct reporter, as_large)));
}

static struct session *find_session(const struct px_accounts *a, const uint8_t key[SESSION_LEN])
{
    struct px_map_node *n = px_map_find(&a->sessions, px_slice(key, SESSION_LEN));
    return n == NULL ? NULL : PX_CONTAINER_OF(n, struct session, by_key);
}

static struct session *new_session(struct px_accounts *a, struct reporter *owner,
                                   const uint8_t key[SESSION_LEN])
{
    struct session *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return NULL;
    bool in_use = owner->in_use;
    owner->in_use = true;
    make_room(a, owner);
    owner->in_use = in_use;
    memcpy(s->key, key, SESSION_LEN);
    s->owner = owner;
    px_map_insert(&a->sessions, &s->by_key, px_slice(s->key, SESSION_LEN));
    px_list_push_back(&owner->alone, &s->in_owner);
    owner->sessions++;
    place(a, owner);
    return s;
}

/* It has just been reported. */
static void touch(struct session *s)
{
    bool agreed = s->sent > 0 && s->received > 0;
    px_list_remove(&s->in_owner);
    px_list_push_back(agreed ? &s->owner->agreed : &s->owner->alone, &s->in_owner);
}

static struct pair *find_pair(const struct px_accounts *a, const uint8_t key[PAIR_LEN])
{
    struct px_map_node *n = px_map_find(&a->pairs, px_slice(key, PAIR_LEN));
    return n == NULL ? NULL : PX_CONTAINER_OF(n, struct pair, by_key);
}

static struct pair *new_pair(struct px_accounts *a, const uint8_t key[PAIR_LEN])
{
    if (a->pairs.count >= PX_ACCOUNTS_PAIRS_MAX)
        return NULL;
    struct pair *p = calloc(1, sizeof(*p));
    if (p == NULL)
        return NULL;
    memcpy(p->key, key, PAIR_LEN);
    px_map_insert(&a->pairs, &p->by_key, px_slice(p->key, PAIR_LEN));
    return p;
}

/* Whoever alone has reported the pair has it counted against its share. */
static void charge_pair(struct px_accounts *a, struct pair *p, struct reporter *only)
{
    struct reporter *before = p->only;
    if (before == only)
        return;
    p->only = only;
    if (only != NULL) {
        only->pairs++;
        place(a, only);
    }
    if (before != NULL) {
        before->pairs--;
        place(a, before);
    }
}

/* ---- the store ---- */

static void day_key(const struct pair *p, uint8_t out[DAY_LEN])
{
    memcpy(out, p->key, PAIR_LEN);
    for (int i = 0; i < 4; i++)
        out[PAIR_LEN + i] = (uint8_t)(p->day >> (24 - 8 * i));
}

static int put(const struct px_accounts *a, const struct session *s, const struct pair *p)
{
    uint8_t value[24], key[DAY_LEN];
    px_nsec ttl = p->only != NULL ? (px_nsec)PX_ACCOUNTS_ALONE_TTL : PX_NEVER;
    put_be64(value, p->today.confirmed);
    put_be64(value + 8, p->today.sent);
    put_be64(value + 16, p->today.received);
    day_key(p, key);
    int err = a->store->put(a->store->ctx, PX_RELAY_ITEM_TOTAL, px_slice(key, sizeof(key)),
                            px_slice(value, 24), ttl);
    put_be64(value, s->sent);
    put_be64(value + 8, s->received);
    if (err == 0)
        err = a->store->put(a->store->ctx, PX_RELAY_ITEM_SESSION, px_slice(s->key, SESSION_LEN),
                            px_slice(value, 16), PX_ACCOUNTS_SESSION_TTL);
    return err;
}

/* Both or none: totals without the session's counts would count them again after a restart. */
static int save(const struct px_accounts *a, const struct session *s, const struct pair *p)
{
    if (a->store == NULL)
        return 0;
    int err = a->store->begin(a->store->ctx);
    if (err != 0)
        return err;
    err = put(a, s, p);
    int end = a->store->end(a->store->ctx, err == 0);
    return err != 0 ? err : end;
}

static void add(uint64_t *to, uint64_t more)
{
    if (__builtin_add_overflow(*to, more, to))
        *to = UINT64_MAX;
}

/* One node may invent as many bytes as it likes: its sums stay at the largest number. */
static void add_sums(struct sums *to, const struct sums *more)
{
    add(&to->confirmed, more->confirmed);
    add(&to->sent, more->sent);
    add(&to->received, more->received);
}

/* The end of a pair's or session's key is sender and receiver. */
static struct px_peer_id end_of(const uint8_t pair_key[PAIR_LEN], bool sender)
{
    struct px_peer_id id;
    memcpy(id.key, pair_key + (sender ? 0 : PX_ED25519_PK_LEN), sizeof(id.key));
    return id;
}

static void charge_loaded(struct px_accounts *a, struct pair *p)
{
    const struct px_peer_id id = end_of(p->key, p->sums.sent > 0);
    bool both = p->sums.confirmed > 0 || (p->sums.sent > 0) == (p->sums.received > 0);
    charge_pair(a, p, both ? NULL : get_reporter(a, &id));
}

static void load_total(void *ctx, struct px_slice key, struct px_slice value, px_nsec ttl)
{
    struct px_accounts *a = ctx;
    struct px_reader r = px_reader(value), k = px_reader(px_slice_skip(key, PAIR_LEN));
    struct sums sums;
    uint32_t day;
    (void)ttl;
    if (key.len != DAY_LEN || px_reader_be32(&k, &day) != 0 ||
        px_reader_be64(&r, &sums.confirmed) != 0 || px_reader_be64(&r, &sums.sent) != 0 ||
        px_reader_be64(&r, &sums.received) != 0)
        return;
    struct pair *p = find_pair(a, key.data);
    if (p == NULL)
        p = new_pair(a, key.data);
    if (p == NULL)
        return;
    add_sums(&p->sums, &sums);
    if (day >= p->day) { /* the latest day goes on growing if it is today's */
        p->day = day;
        p->today = sums;
    }
    charge_loaded(a, p);
}

static void load_session(void *ctx, struct px_slice key, struct px_slice value, px_nsec ttl)
{
    struct px_reader r = px_reader(value);
    uint64_t sent, received;
    (void)ttl;
    if (key.len != SESSION_LEN || px_reader_be64(&r, &sent) != 0 ||
        px_reader_be64(&r, &received) != 0)
        return;
    struct px_accounts *a = ctx;
    const struct px_peer_id id = end_of(key.data + PX_RELAY_SESSION_LEN, sent > 0);
    struct reporter *owner = find_session(a, key.data) == NULL ? get_reporter(a, &id) : NULL;
    struct session *s = owner != NULL ? new_session(a, owner, key.data) : NULL;
    if (s != NULL) {
        s->sent = sent;
        s->received = received;
        touch(s);
    }
}

int px_accounts_load(struct px_accounts *a)
{
    const struct px_relay_store *s = a->store;
    if (s == NULL)
        return 0;
    a->loading = true;
    int err = s->each(s->ctx, PX_RELAY_ITEM_TOTAL, load_total, a);
    if (err == 0)
        err = s->each(s->ctx, PX_RELAY_ITEM_SESSION, load_session, a);
    a->loading = false;
    return err;
}

/* ---- who is not welcome any more ---- */

/* Of earlier days the store has more; that ages out. */
static void drop_pair(struct px_accounts *a, struct pair *p)
{
    uint8_t key[DAY_LEN];
    day_key(p, key);
    if (a->store != NULL)
        (void)a->store->drop(a->store->ctx, PX_RELAY_ITEM_TOTAL, px_slice(key, sizeof(key)));
    px_map_remove(&a->pairs, &p->by_key);
    charge_pair(a, p, NULL);
    free(p);
}

static bool mark_unwelcome(struct px_accounts *a,
                           bool (*welcome)(void *ctx, const struct px_peer_id *id), void *ctx)
{
    bool any = false;
    for (size_t i = 0; i <= a->reporters.mask; i++)
        for (struct px_map_node *n = a->reporters.buckets[i]; n != NULL; n = n->next) {
            struct reporter *r = PX_CONTAINER_OF(n, struct reporter, by_id);
            r->unwelcome = r->pairs > 0 && !welcome(ctx, &r->id);
            any = any || r->unwelcome;
        }
    return any;
}

void px_accounts_drop_unwelcome(struct px_accounts *a,
                                bool (*welcome)(void *ctx, const struct px_peer_id *id), void *ctx)
{
    if (!mark_unwelcome(a, welcome, ctx))
        return;
    for (size_t i = 0; i <= a->pairs.mask; i++)
        for (struct px_map_node *n = a->pairs.buckets[i], *next; n != NULL; n = next) {
            struct pair *p = PX_CONTAINER_OF(n, struct pair, by_key);
            next = n->next;
            if (p->only != NULL && p->only->unwelcome)
                drop_pair(a, p);
        }
}

/* ---- reports ---- */

/* The pair the report counts for; one side's first word about it uses up its share. */
static struct pair *pair_for(struct px_accounts *a, struct reporter *r, bool is_sender,
                             const uint8_t key[PAIR_LEN])
{
    struct pair *p = find_pair(a, key);
    if (p != NULL && (is_sender ? p->sums.received : p->sums.sent) > 0) {
        charge_pair(a, p, NULL);
        return p;
    }
    if (p != NULL && p->only == r)
        return p;
    if (r->pairs >= PX_ACCOUNTS_REPORTER_PAIRS_MAX)
        return NULL;
    if (p == NULL)
        p = new_pair(a, key);
    if (p != NULL)
        charge_pair(a, p, r);
    return p;
}

static enum px_relay_status count(struct px_accounts *a, struct session *s, struct pair *p,
                                  bool is_sender, uint64_t bytes)
{
    uint64_t *now = is_sender ? &s->sent : &s->received;
    uint64_t before = PX_MIN(s->sent, s->received), had = *now;
    if (bytes < had)
        return PX_RELAY_STALE;
    *now = bytes;
    struct sums more = {.confirmed = PX_MIN(s->sent, s->received) - before};
    *(is_sender ? &more.sent : &more.received) = bytes - had;
    touch(s);
    uint32_t day = a->store == NULL ? 0 : a->store->day(a->store->ctx);
    if (day != p->day) {
        p->day = day;
        p->today = (struct sums){0};
    }
    add_sums(&p->sums, &more);
    add_sums(&p->today, &more);
    return save(a, s, p) == 0 ? PX_RELAY_OK : PX_RELAY_INTERNAL;
}

enum px_relay_status px_accounts_report(struct px_accounts *a, const struct px_peer_id *reporter,
                                        const struct px_transfer *t,
                                        const uint8_t signature[PX_ED25519_SIG_LEN])
{
    uint8_t key[SESSION_LEN];
    bool is_sender = px_peer_id_eq(reporter, &t->sender);
    if (px_peer_id_eq(&t->sender, &t->receiver) || t->bytes > BYTES_MAX ||
        (!is_sender && !px_peer_id_eq(reporter, &t->receiver)) ||
        px_transfer_verify(t, reporter, signature) != 0)
        return PX_RELAY_BAD_RECORD;
    session_key(t, key);
    struct reporter *r = get_reporter(a, reporter);
    if (r == NULL)
        return PX_RELAY_RESOURCE_LIMIT_EXCEEDED;
    r->in_use = true;
    struct pair *p = pair_for(a, r, is_sender, key + PX_RELAY_SESSION_LEN);
    struct session *s = p == NULL ? NULL : find_session(a, key);
    if (p != NULL && s == NULL)
        s = new_session(a, r, key);
    enum px_relay_status status =
        s == NULL ? PX_RELAY_RESOURCE_LIMIT_EXCEEDED : count(a, s, p, is_sender, t->bytes);
    r->in_use = false;
    place(a, r);
    return status;
}

void px_accounts_totals(const struct px_accounts *a, const struct px_peer_id *me,
                        const struct px_peer_id *other, uint64_t ret[PX_RELAY_TOTALS_LEN])
{
    uint8_t out[PAIR_LEN], in[PAIR_LEN];
    memcpy(out, me->key, PX_ED25519_PK_LEN);
    memcpy(out + PX_ED25519_PK_LEN, other->key, PX_ED25519_PK_LEN);
    memcpy(in, other->key, PX_ED25519_PK_LEN);
    memcpy(in + PX_ED25519_PK_LEN, me->key, PX_ED25519_PK_LEN);
    const struct pair *sent = find_pair(a, out), *received = find_pair(a, in);
    ret[PX_RELAY_SENT_CONFIRMED] = sent == NULL ? 0 : sent->sums.confirmed;
    ret[PX_RELAY_SENT_TOTAL] = sent == NULL ? 0 : PX_MAX(sent->sums.sent, sent->sums.received);
    ret[PX_RELAY_RECEIVED_CONFIRMED] = received == NULL ? 0 : received->sums.confirmed;
    ret[PX_RELAY_RECEIVED_TOTAL] =
        received == NULL ? 0 : PX_MAX(received->sums.sent, received->sums.received);
}

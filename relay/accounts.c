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
#define BYTES_MAX      ((uint64_t)1 << 48) /* of one session: sums of them do not overflow */

/* What sender and receiver say, and how much of it both. */
struct sums {
    uint64_t confirmed, sent, received;
};

struct session {
    struct px_map_node by_key;
    struct px_list all; /* the one reported last at the end */
    uint64_t sent, received;
    uint8_t key[SESSION_LEN];
};

/* Sums of a pair (PAIR_LEN) or of a pair's day (DAY_LEN). */
struct pair {
    struct px_map_node by_key;
    struct sums sums, today;
    uint32_t day; /* whose sums `today` are */
    uint8_t key[PAIR_LEN];
};

struct px_accounts {
    const struct px_relay_store *store;
    struct px_map sessions, pairs;
    struct px_list all_sessions;
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
    px_list_init(&a->all_sessions);
    int err = px_map_init(&a->sessions, rng);
    if (err == 0)
        err = px_map_init(&a->pairs, rng);
    if (err != 0) {
        px_accounts_free(a);
        return err;
    }
    *ret = a;
    return 0;
}

static void free_session(struct px_accounts *a, struct session *s)
{
    px_map_remove(&a->sessions, &s->by_key);
    px_list_remove(&s->all);
    free(s);
}

void px_accounts_free(struct px_accounts *a)
{
    if (a == NULL)
        return;
    PX_LIST_EACH(it, &a->all_sessions)
        free_session(a, PX_CONTAINER_OF(it, struct session, all));
    for (size_t i = 0; a->pairs.buckets != NULL && i <= a->pairs.mask; i++)
        while (a->pairs.buckets[i] != NULL) {
            struct pair *p = PX_CONTAINER_OF(a->pairs.buckets[i], struct pair, by_key);
            px_map_remove(&a->pairs, &p->by_key);
            free(p);
        }
    px_map_deinit(&a->sessions);
    px_map_deinit(&a->pairs);
    free(a);
}

static struct session *get_session(struct px_accounts *a, const uint8_t key[SESSION_LEN])
{
    struct px_map_node *n = px_map_find(&a->sessions, px_slice(key, SESSION_LEN));
    if (n != NULL)
        return PX_CONTAINER_OF(n, struct session, by_key);
    if (a->sessions.count >= PX_ACCOUNTS_SESSIONS_MAX)
        free_session(a, PX_CONTAINER_OF(a->all_sessions.next, struct session, all));
    struct session *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return NULL;
    memcpy(s->key, key, SESSION_LEN);
    px_map_insert(&a->sessions, &s->by_key, px_slice(s->key, SESSION_LEN));
    px_list_push_back(&a->all_sessions, &s->all);
    return s;
}

static struct pair *find_pair(const struct px_accounts *a, const uint8_t key[PAIR_LEN])
{
    struct px_map_node *n = px_map_find(&a->pairs, px_slice(key, PAIR_LEN));
    return n == NULL ? NULL : PX_CONTAINER_OF(n, struct pair, by_key);
}

static struct pair *get_pair(struct px_accounts *a, const uint8_t key[PAIR_LEN])
{
    struct pair *p = find_pair(a, key);
    if (p != NULL || a->pairs.count >= PX_ACCOUNTS_PAIRS_MAX)
        return p;
    p = calloc(1, sizeof(*p));
    if (p == NULL)
        return NULL;
    memcpy(p->key, key, PAIR_LEN);
    px_map_insert(&a->pairs, &p->by_key, px_slice(p->key, PAIR_LEN));
    return p;
}

/* ---- the store ---- */

static int save(const struct px_accounts *a, const struct session *s, const struct pair *p)
{
    uint8_t value[24], key[DAY_LEN];
    if (a->store == NULL)
        return 0;
    put_be64(value, p->today.confirmed);
    put_be64(value + 8, p->today.sent);
    put_be64(value + 16, p->today.received);
    memcpy(key, p->key, PAIR_LEN);
    for (int i = 0; i < 4; i++)
        key[PAIR_LEN + i] = (uint8_t)(p->day >> (24 - 8 * i));
    int err = a->store->put(a->store->ctx, PX_RELAY_ITEM_TOTAL, px_slice(key, sizeof(key)),
                            px_slice(value, 24), PX_NEVER);
    put_be64(value, s->sent);
    put_be64(value + 8, s->received);
    if (err == 0)
        err = a->store->put(a->store->ctx, PX_RELAY_ITEM_SESSION, px_slice(s->key, SESSION_LEN),
                            px_slice(value, 16), PX_ACCOUNTS_SESSION_TTL);
    return err;
}

static void add_sums(struct sums *to, const struct sums *more)
{
    to->confirmed += more->confirmed;
    to->sent += more->sent;
    to->received += more->received;
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
    struct pair *p = get_pair(a, key.data);
    if (p == NULL)
        return;
    add_sums(&p->sums, &sums);
    if (day >= p->day) { /* the latest day goes on growing if it is today's */
        p->day = day;
        p->today = sums;
    }
}

static void load_session(void *ctx, struct px_slice key, struct px_slice value, px_nsec ttl)
{
    struct px_reader r = px_reader(value);
    uint64_t sent, received;
    (void)ttl;
    if (key.len != SESSION_LEN || px_reader_be64(&r, &sent) != 0 ||
        px_reader_be64(&r, &received) != 0)
        return;
    struct session *s = get_session(ctx, key.data);
    if (s != NULL) {
        s->sent = sent;
        s->received = received;
    }
}

int px_accounts_load(struct px_accounts *a)
{
    const struct px_relay_store *s = a->store;
    if (s == NULL)
        return 0;
    int err = s->each(s->ctx, PX_RELAY_ITEM_TOTAL, load_total, a);
    return err != 0 ? err : s->each(s->ctx, PX_RELAY_ITEM_SESSION, load_session, a);
}

/* ---- reports ---- */

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
    struct session *s = get_session(a, key);
    struct pair *p = get_pair(a, key + PX_RELAY_SESSION_LEN);
    if (s == NULL || p == NULL)
        return PX_RELAY_RESOURCE_LIMIT_EXCEEDED;
    uint64_t *count = is_sender ? &s->sent : &s->received;
    uint64_t before = PX_MIN(s->sent, s->received), had = *count;
    if (t->bytes < had)
        return PX_RELAY_STALE;
    *count = t->bytes;
    struct sums more = {.confirmed = PX_MIN(s->sent, s->received) - before};
    *(is_sender ? &more.sent : &more.received) = t->bytes - had;
    px_list_remove(&s->all);
    px_list_push_back(&a->all_sessions, &s->all);
    uint32_t day = a->store == NULL ? 0 : a->store->day(a->store->ctx);
    if (day != p->day) {
        p->day = day;
        p->today = (struct sums){0};
    }
    add_sums(&p->sums, &more);
    add_sums(&p->today, &more);
    return save(a, s, p) == 0 ? PX_RELAY_OK : PX_RELAY_INTERNAL;
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

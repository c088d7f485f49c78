/* See peer_addrs.h. At most PX_PEER_ADDRS_MAX entries: a plain array is searched. */
#include "node/peer_addrs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transport/sockaddr.h"

#define BIT(source) (1u << (source))
/* Sources whose word ages. */
#define FOUND                                                                                      \
    (BIT(PX_SOURCE_LAN) | BIT(PX_SOURCE_MDNS) | BIT(PX_SOURCE_SEEN) | BIT(PX_SOURCE_RECORD))

_Static_assert(PX_AUTH_ADDRS_MAX + PX_ADDRS_GIVEN_MAX + 2 * PX_ADDRS_FOUND_MAX + PX_ADDRS_BOOK_MAX +
                       PX_ADDRS_SEEN_MAX + PX_ADDRS_RECORD_MAX + PX_ADDRS_RELAYS_MAX <=
                   PX_PEER_ADDRS_MAX,
               "every source finds room");

bool px_addr_dialable(const struct px_addr *a)
{
    static const uint8_t broadcast[4] = {255, 255, 255, 255};
    if (a->port == 0 || px_addr_is_wildcard(a))
        return false;
    switch ((enum px_addr_family)a->family) {
    case PX_ADDR_NONE:
    case PX_ADDR_CIRCUIT:
    case PX_ADDR_PIPE:
        return false;
    case PX_ADDR_IP4:
        return a->ip[0] != 0 && (a->ip[0] & 0xf0) != 0xe0 && memcmp(a->ip, broadcast, 4) != 0;
    case PX_ADDR_IP6:
        return a->ip[0] != 0xff;
    }
    return false;
}

/* ---- entries ---- */

static struct px_known_addr *find(struct px_peer_addrs *a, const struct px_addr *addr,
                                  const char *name)
{
    for (size_t i = 0; i < a->count; i++) {
        struct px_known_addr *k = &a->all[i];
        if (k->name != NULL ? name != NULL && strcmp(k->name, name) == 0
                            : name == NULL && addr != NULL && px_addr_eq(&k->addr, addr))
            return k;
    }
    return NULL;
}

/* A new entry, known from nowhere yet. */
static int add(struct px_peer_addrs *a, const struct px_addr *addr, const char *name,
               struct px_known_addr **ret)
{
    struct px_known_addr k = {0};
    if (a->count == a->cap) {
        size_t cap = a->cap == 0 ? 2 : a->cap * 2;
        struct px_known_addr *all = realloc(a->all, cap * sizeof(*all));
        if (all == NULL)
            return PX_ENOMEM;
        a->all = all;
        a->cap = cap;
    }
    if (name != NULL && (k.name = strdup(name)) == NULL)
        return PX_ENOMEM;
    if (name == NULL)
        k.addr = *addr;
    *ret = &a->all[a->count++];
    **ret = k;
    return 0;
}

static int find_or_add(struct px_peer_addrs *a, const struct px_addr *addr, const char *name,
                       struct px_known_addr **ret)
{
    *ret = find(a, addr, name);
    return *ret != NULL ? 0 : add(a, addr, name, ret);
}

static int find_or_add_text(struct px_peer_addrs *a, const char *text, struct px_known_addr **ret)
{
    struct px_addr addr;
    struct px_slice host;
    uint16_t port;
    if (px_addr_parse(px_slice_cstr(text), &addr) == 0)
        return px_addr_dialable(&addr) ? find_or_add(a, &addr, NULL, ret) : PX_EADDR;
    if (strlen(text) >= PX_AUTH_ADDR_MAX ||
        px_hostport_split(px_slice_cstr(text), &host, &port) != 0)
        return PX_EADDR;
    return find_or_add(a, NULL, text, ret);
}

/* Drops the entries no source stands for any more. */
static void sweep(struct px_peer_addrs *a)
{
    size_t kept = 0;
    for (size_t i = 0; i < a->count; i++) {
        if (a->all[i].sources != 0 || a->all[i].given)
            a->all[kept++] = a->all[i];
        else
            free(a->all[i].name);
    }
    a->count = kept;
}

/* Is x older than y, as an entry of that source? */
static bool older(const struct px_known_addr *x, const struct px_known_addr *y,
                  enum px_source source)
{
    return source == PX_SOURCE_BOOK ? x->good_at < y->good_at : x->found_at < y->found_at;
}

/* Makes room for one more of a source by forgetting its oldest. */
static void limit(struct px_peer_addrs *a, enum px_source source, size_t max)
{
    struct px_known_addr *oldest = NULL;
    size_t count = 0;
    for (size_t i = 0; i < a->count; i++) {
        struct px_known_addr *k = &a->all[i];
        if ((k->sources & BIT(source)) == 0)
            continue;
        count++;
        if (oldest == NULL || older(k, oldest, source))
            oldest = k;
    }
    if (count <= max)
        return;
    oldest->sources &= ~BIT(source);
    sweep(a);
}

void px_peer_addrs_deinit(struct px_peer_addrs *a)
{
    for (size_t i = 0; i < a->count; i++)
        free(a->all[i].name);
    free(a->all);
    *a = (struct px_peer_addrs){0};
}

/* ---- sources ---- */

static size_t source_max(enum px_source source)
{
    switch (source) {
    case PX_SOURCE_LAN:
    case PX_SOURCE_MDNS:
        return PX_ADDRS_FOUND_MAX;
    case PX_SOURCE_MANUAL:
        return PX_AUTH_ADDRS_MAX;
    case PX_SOURCE_BOOK:
        return PX_ADDRS_BOOK_MAX;
    case PX_SOURCE_SEEN:
        return PX_ADDRS_SEEN_MAX;
    case PX_SOURCE_RECORD:
        return PX_ADDRS_RECORD_MAX;
    case PX_SOURCE_RELAY:
        return PX_ADDRS_RELAYS_MAX;
    }
    return 0;
}

static int add_relay(struct px_peer_addrs *a, const char *name, struct px_known_addr **ret)
{
    return px_peer_addr_is_relay(name) ? find_or_add(a, NULL, name, ret) : PX_EADDR;
}

/* Makes these texts the entries of a source. */
static int replace(struct px_peer_addrs *a, enum px_source source,
                   const char (*texts)[PX_AUTH_ADDR_MAX], size_t count,
                   int (*add_text)(struct px_peer_addrs *a, const char *text,
                                   struct px_known_addr **ret),
                   bool *ret_changed)
{
    bool changed = false, was[PX_PEER_ADDRS_MAX] = {false};
    size_t before = a->count;
    int err = 0;
    px_assert(count <= source_max(source) && before <= PX_PEER_ADDRS_MAX);
    for (size_t i = 0; i < before; i++) {
        was[i] = (a->all[i].sources & BIT(source)) != 0;
        a->all[i].sources &= ~BIT(source);
    }
    for (size_t i = 0; i < count && err == 0; i++) {
        struct px_known_addr *k;
        err = add_text(a, texts[i], &k);
        if (err == 0)
            k->sources |= BIT(source);
        else if (err == PX_EADDR)
            err = 0;
    }
    for (size_t i = 0; i < a->count; i++) {
        bool is = (a->all[i].sources & BIT(source)) != 0;
        changed = changed || is != (i < before && was[i]);
    }
    sweep(a);
    *ret_changed = changed;
    return err;
}

int px_peer_addrs_set_manual(struct px_peer_addrs *a, const char (*texts)[PX_AUTH_ADDR_MAX],
                             size_t count, bool *ret_changed)
{
    return replace(a, PX_SOURCE_MANUAL, texts, count, find_or_add_text, ret_changed);
}

int px_peer_addrs_set_relays(struct px_peer_addrs *a, const char (*names)[PX_AUTH_ADDR_MAX],
                             size_t count, bool *ret_changed)
{
    return replace(a, PX_SOURCE_RELAY, names, count, add_relay, ret_changed);
}

bool px_peer_addr_is_relay(const char *name)
{
    return strncmp(name, PX_RELAY_ROUTE, sizeof(PX_RELAY_ROUTE) - 1) == 0;
}

int px_peer_addrs_give(struct px_peer_addrs *a, const char *text)
{
    struct px_known_addr *k;
    size_t given = 0;
    int err = px_peer_addr_is_relay(text) ? add_relay(a, text, &k) : find_or_add_text(a, text, &k);
    if (err != 0)
        return err;
    for (size_t i = 0; i < a->count; i++)
        given += a->all[i].given;
    if (given < PX_ADDRS_GIVEN_MAX || k->given) {
        k->given = true;
        return 0;
    }
    sweep(a);
    return PX_ELIMIT;
}

void px_peer_addrs_take_back(struct px_peer_addrs *a)
{
    for (size_t i = 0; i < a->count; i++)
        a->all[i].given = false;
    sweep(a);
}

int px_peer_addrs_found(struct px_peer_addrs *a, const struct px_addr *addr, enum px_source source,
                        px_nsec now, bool *ret_new)
{
    struct px_known_addr *k;
    if ((BIT(source) & FOUND) == 0 || !px_addr_dialable(addr))
        return PX_EADDR;
    int err = find_or_add(a, addr, NULL, &k);
    if (err != 0)
        return err;
    *ret_new = (k->sources & BIT(source)) == 0;
    k->sources |= BIT(source);
    k->found_at = now;
    limit(a, source, source_max(source));
    return 0;
}

int px_peer_addrs_good(struct px_peer_addrs *a, const struct px_addr *addr, int64_t at)
{
    struct px_known_addr *k;
    int err = find_or_add(a, addr, NULL, &k);
    if (err != 0)
        return err;
    k->sources |= BIT(PX_SOURCE_BOOK);
    k->last_err = 0;
    k->good_at = k->was_good ? PX_MAX(k->good_at, at) : at;
    k->was_good = true;
    limit(a, PX_SOURCE_BOOK, PX_ADDRS_BOOK_MAX);
    return 0;
}

void px_peer_addrs_outcome(struct px_peer_addrs *a, const struct px_addr *addr, const char *name,
                           int err)
{
    struct px_known_addr *k = find(a, addr, name);
    if (k != NULL)
        k->last_err = err;
}

void px_peer_addrs_forget_failures(struct px_peer_addrs *a)
{
    for (size_t i = 0; i < a->count; i++)
        a->all[i].last_err = 0;
}

void px_peer_addrs_unsee(struct px_peer_addrs *a)
{
    for (size_t i = 0; i < a->count; i++)
        a->all[i].sources &= ~BIT(PX_SOURCE_SEEN);
    sweep(a);
}

void px_peer_addrs_expire(struct px_peer_addrs *a, px_nsec now)
{
    for (size_t i = 0; i < a->count; i++) {
        struct px_known_addr *k = &a->all[i];
        if ((k->sources & FOUND) != 0 && now > k->found_at + PX_ADDRS_FOUND_AGE)
            k->sources &= ~FOUND;
    }
    sweep(a);
}

/* ---- order ---- */

unsigned px_peer_addr_tier(const struct px_known_addr *k)
{
    if (k->name != NULL && px_peer_addr_is_relay(k->name))
        return 5; /* what works without comes first */
    if (k->given)
        return 0;
    if (k->last_err != 0)
        return 4;
    if ((k->sources & (BIT(PX_SOURCE_LAN) | BIT(PX_SOURCE_MDNS))) != 0)
        return 1; /* near, and there a moment ago: the best path if it works */
    return k->was_good ? 2 : 3;
}

enum px_source px_peer_addr_source(const struct px_known_addr *k)
{
    return k->sources == 0 ? PX_SOURCE_MANUAL : (enum px_source)__builtin_ctz(k->sources);
}

static bool before(const struct px_known_addr *a, const struct px_known_addr *b)
{
    unsigned ta = px_peer_addr_tier(a), tb = px_peer_addr_tier(b);
    if (ta != tb)
        return ta < tb;
    if (a->was_good && b->was_good && a->good_at != b->good_at)
        return a->good_at > b->good_at;
    return px_peer_addr_source(a) < px_peer_addr_source(b);
}

/* By insertion: they are few, and equal ones stay in the order of the allowlist. */
void px_peer_addrs_sort(struct px_peer_addrs *a)
{
    for (size_t i = 1; i < a->count; i++) {
        struct px_known_addr k = a->all[i];
        size_t at = i;
        for (; at > 0 && before(&k, &a->all[at - 1]); at--)
            a->all[at] = a->all[at - 1];
        a->all[at] = k;
    }
}

const char *px_peer_addr_text(const struct px_known_addr *k, char out[PX_AUTH_ADDR_MAX])
{
    if (k->name != NULL)
        snprintf(out, PX_AUTH_ADDR_MAX, "%s", k->name);
    else
        px_addr_format(&k->addr, out);
    return out;
}

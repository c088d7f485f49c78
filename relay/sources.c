/* See sources.h. */
#include "relay/sources.h"

#include <stdlib.h>

#include "proto/base/map.h"

/* ---- counting ---- */

#define KEY_LEN 9
#define ASN_KEY 0xff /* instead of a family */

struct count {
    struct px_map_node by_key;
    uint8_t key[KEY_LEN];
    size_t n;
};

struct px_sources {
    struct px_map counts;
};

int px_sources_new(const struct px_rng *rng, struct px_sources **ret)
{
    struct px_sources *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return PX_ENOMEM;
    int err = px_map_init(&s->counts, rng);
    if (err != 0) {
        free(s);
        return err;
    }
    *ret = s;
    return 0;
}

static void free_count(struct px_sources *s, struct count *c)
{
    px_map_remove(&s->counts, &c->by_key);
    free(c);
}

void px_sources_free(struct px_sources *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i <= s->counts.mask; i++)
        while (s->counts.buckets[i] != NULL)
            free_count(s, PX_CONTAINER_OF(s->counts.buckets[i], struct count, by_key));
    px_map_deinit(&s->counts);
    free(s);
}

void px_source_of(const struct px_asn_table *t, const struct px_addr *a, struct px_source *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->prefix[0] = a->family;
    memcpy(ret->prefix + 1, a->ip, a->family == PX_ADDR_IP4 ? 4 : 7);
    ret->asn = px_asn_of(t, a);
}

static void asn_key(uint32_t asn, uint8_t out[KEY_LEN])
{
    memset(out, 0, KEY_LEN);
    out[0] = ASN_KEY;
    for (int i = 0; i < 4; i++)
        out[1 + i] = (uint8_t)(asn >> (8 * i));
}

static struct count *find(const struct px_sources *s, const uint8_t key[KEY_LEN])
{
    struct px_map_node *n = px_map_find(&s->counts, px_slice(key, KEY_LEN));
    return n == NULL ? NULL : PX_CONTAINER_OF(n, struct count, by_key);
}

static bool is_full(const struct px_sources *s, const uint8_t key[KEY_LEN], size_t max)
{
    const struct count *c = find(s, key);
    return (c == NULL ? 0 : c->n) >= max;
}

static int add(struct px_sources *s, const uint8_t key[KEY_LEN])
{
    struct count *c = find(s, key);
    if (c == NULL) {
        c = calloc(1, sizeof(*c));
        if (c == NULL)
            return PX_ENOMEM;
        memcpy(c->key, key, KEY_LEN);
        px_map_insert(&s->counts, &c->by_key, px_slice(c->key, KEY_LEN));
    }
    c->n++;
    return 0;
}

static void take(struct px_sources *s, const uint8_t key[KEY_LEN])
{
    struct count *c = find(s, key);
    px_assert(c != NULL);
    if (--c->n == 0)
        free_count(s, c);
}

int px_sources_add(struct px_sources *s, const struct px_source *source, size_t per_source,
                   size_t per_asn)
{
    uint8_t asn[KEY_LEN];
    asn_key(source->asn, asn);
    if (is_full(s, source->prefix, per_source))
        return PX_ELIMIT;
    if (source->asn != 0 && is_full(s, asn, per_asn))
        return PX_EBUSY;
    int err = add(s, source->prefix);
    if (err != 0 || source->asn == 0)
        return err;
    err = add(s, asn);
    if (err != 0)
        take(s, source->prefix);
    return err;
}

void px_sources_remove(struct px_sources *s, const struct px_source *source)
{
    uint8_t asn[KEY_LEN];
    asn_key(source->asn, asn);
    take(s, source->prefix);
    if (source->asn != 0)
        take(s, asn);
}

size_t px_sources_count(const struct px_sources *s)
{
    return s->counts.count;
}

/* ---- prefixes and their ASNs ---- */

struct prefix {
    uint8_t ip[16];
    uint8_t family, bits;
    uint32_t asn;
};

/* Sorted by family, length, address: a look-up is one binary search a length in use. */
struct px_asn_table {
    struct prefix *rows;
    size_t count, cap;
    bool has_bits[3][129]; /* by family */
};

static int compare(const void *a, const void *b)
{
    const struct prefix *x = a, *y = b;
    if (x->family != y->family)
        return x->family < y->family ? -1 : 1;
    if (x->bits != y->bits)
        return x->bits < y->bits ? -1 : 1;
    return memcmp(x->ip, y->ip, sizeof(x->ip));
}

static void mask_ip(uint8_t ip[16], unsigned bits)
{
    for (unsigned i = 0; i < 16; i++) {
        unsigned keep = bits > i * 8 ? PX_MIN(bits - i * 8, 8u) : 0;
        ip[i] &= (uint8_t)(0xff00u >> keep);
    }
}

static const char *parse_prefix(struct px_slice text, struct prefix *ret)
{
    char whole[64];
    struct px_slice rest = text, ip;
    struct px_addr a;
    uint64_t bits;
    if (!px_slice_split(&rest, '/', &ip) || ip.len > 45 || px_slice_parse_u64(rest, &bits) != 0)
        return "not PREFIX/LENGTH";
    bool v6 = memchr(ip.data, ':', ip.len) != NULL;
    size_t n = 0;
    if (v6)
        whole[n++] = '[';
    memcpy(whole + n, ip.data, ip.len);
    n += ip.len;
    if (v6)
        whole[n++] = ']';
    memcpy(whole + n, ":1", 2);
    if (px_addr_parse(px_slice(whole, n + 2), &a) != 0)
        return "not an IP address";
    if (bits > (a.family == PX_ADDR_IP4 ? 32 : 128))
        return "prefix too long";
    *ret = (struct prefix){.family = a.family, .bits = (uint8_t)bits};
    memcpy(ret->ip, a.ip, sizeof(ret->ip));
    mask_ip(ret->ip, ret->bits);
    return NULL;
}

/* NULL, or what is wrong. An empty line leaves family at none. */
static const char *parse_line(struct px_slice line, struct prefix *ret)
{
    struct px_slice rest = line, text;
    uint64_t asn;
    *ret = (struct prefix){.family = PX_ADDR_NONE};
    if (px_slice_split(&rest, '#', &text))
        line = text;
    line = px_slice_trim(line);
    if (line.len == 0)
        return NULL;
    size_t n = 0;
    while (n < line.len && line.data[n] != ' ' && line.data[n] != '\t')
        n++;
    const char *wrong = parse_prefix(px_slice_take(line, n), ret);
    if (wrong != NULL)
        return wrong;
    text = px_slice_trim(px_slice_skip(line, n));
    if (px_slice_starts(text, PX_SLICE_LIT("AS")))
        text = px_slice_skip(text, 2);
    if (px_slice_parse_u64(text, &asn) != 0 || asn == 0 || asn > UINT32_MAX)
        return "not an ASN";
    ret->asn = (uint32_t)asn;
    return NULL;
}

static int add_row(struct px_asn_table *t, const struct prefix *p)
{
    if (t->count >= PX_ASN_PREFIXES_MAX)
        return PX_ELIMIT;
    if (t->count == t->cap) {
        size_t cap = t->cap == 0 ? 64 : 2 * t->cap;
        struct prefix *rows = reallocarray(t->rows, cap, sizeof(*rows));
        if (rows == NULL)
            return PX_ENOMEM;
        t->rows = rows;
        t->cap = cap;
    }
    t->rows[t->count++] = *p;
    t->has_bits[p->family][p->bits] = true;
    return 0;
}

int px_asn_table_parse(struct px_slice text, struct px_asn_table **ret,
                       struct px_asn_error *ret_error)
{
    struct px_asn_table *t = calloc(1, sizeof(*t));
    struct px_slice line;
    int err = t == NULL ? PX_ENOMEM : 0;
    for (size_t n = 1; err == 0 && px_slice_split(&text, '\n', &line); n++) {
        struct prefix p;
        const char *wrong = parse_line(line, &p);
        if (wrong != NULL) {
            *ret_error = (struct px_asn_error){n, wrong};
            err = PX_EPARSE;
        } else if (p.family != PX_ADDR_NONE) {
            err = add_row(t, &p);
        }
    }
    if (err != 0) {
        px_asn_table_free(t);
        return err;
    }
    if (t->count > 0)
        qsort(t->rows, t->count, sizeof(*t->rows), compare);
    *ret = t;
    return 0;
}

void px_asn_table_free(struct px_asn_table *t)
{
    if (t != NULL)
        free(t->rows);
    free(t);
}

uint32_t px_asn_of(const struct px_asn_table *t, const struct px_addr *a)
{
    if (t == NULL || t->count == 0 || a->family == PX_ADDR_NONE)
        return 0;
    for (unsigned bits = a->family == PX_ADDR_IP4 ? 32 : 128;; bits--) {
        if (t->has_bits[a->family][bits]) {
            struct prefix key = {.family = a->family, .bits = (uint8_t)bits};
            memcpy(key.ip, a->ip, sizeof(key.ip));
            mask_ip(key.ip, bits);
            const struct prefix *hit = bsearch(&key, t->rows, t->count, sizeof(*t->rows), compare);
            if (hit != NULL)
                return hit->asn;
        }
        if (bits == 0)
            return 0;
    }
}

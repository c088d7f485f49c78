/* Store path names, the object with its arena, the signed fingerprint, and content addresses
 * (Nix manual, "Store path specification"). The narinfo text is in narinfo.c. */
#include "proto/path_info.h"

#include <stdlib.h>

#include "proto/base/encoding.h"

#define CHUNK_MIN 2048

/* Strings live in chunks that never move, so that views stay valid as more is added. */
struct chunk {
    struct chunk *next;
    size_t used, cap;
    uint8_t bytes[];
};

struct path_info {
    struct px_path_info pub;
    struct chunk *chunks; /* newest first */
    size_t ref_cap, sig_cap;
};

static struct path_info *whole(struct px_path_info *p)
{
    return PX_CONTAINER_OF(p, struct path_info, pub);
}

struct px_path_info *px_path_info_new(void)
{
    struct path_info *p = calloc(1, sizeof(*p));
    return p != NULL ? &p->pub : NULL;
}

void px_path_info_free(struct px_path_info *p)
{
    if (p == NULL)
        return;
    for (struct chunk *c = whole(p)->chunks, *next; c != NULL; c = next) {
        next = c->next;
        free(c);
    }
    free(p->refs);
    free(p->sigs);
    free(whole(p));
}

static int store(struct path_info *p, struct px_slice value, struct px_slice *ret)
{
    struct chunk *c = p->chunks;
    if (value.len == 0) {
        *ret = px_slice(NULL, 0);
        return 0;
    }
    if (value.len > PX_NARINFO_MAX)
        return PX_ELIMIT;
    if (c == NULL || value.len > c->cap - c->used) {
        size_t cap = PX_MAX(value.len, (size_t)CHUNK_MIN);
        c = malloc(sizeof(*c) + cap);
        if (c == NULL)
            return PX_ENOMEM;
        *c = (struct chunk){.next = p->chunks, .cap = cap};
        p->chunks = c;
    }
    memcpy(c->bytes + c->used, value.data, value.len);
    *ret = px_slice(c->bytes + c->used, value.len);
    c->used += value.len;
    return 0;
}

/* Stores value as one more element of a list that holds at most `max`. */
static int append(struct path_info *p, struct px_slice **list, size_t *count, size_t *cap,
                  size_t max, struct px_slice value)
{
    struct px_slice copy;
    if (*count >= max)
        return PX_ELIMIT;
    if (*count == *cap) {
        size_t more = *cap > 0 ? *cap * 2 : 8;
        struct px_slice *grown = realloc(*list, more * sizeof(**list));
        if (grown == NULL)
            return PX_ENOMEM;
        *list = grown;
        *cap = more;
    }
    int err = store(p, value, &copy);
    if (err == 0)
        (*list)[(*count)++] = copy;
    return err;
}

int px_path_info_set_str(struct px_path_info *p, struct px_slice *field, struct px_slice value)
{
    return store(whole(p), value, field);
}

int px_path_info_add_ref(struct px_path_info *p, struct px_slice base_name)
{
    if (!px_store_base_name_valid(base_name))
        return PX_EPARSE;
    return append(whole(p), &p->refs, &p->ref_count, &whole(p)->ref_cap, PX_NARINFO_REFS_MAX,
                  base_name);
}

/* "name:something" without blanks or control bytes: what it proves is checked elsewhere. */
static bool sig_valid(struct px_slice sig)
{
    struct px_slice name;
    for (size_t i = 0; i < sig.len; i++)
        if (sig.data[i] <= ' ' || sig.data[i] >= 0x7f)
            return false;
    return px_slice_split(&sig, ':', &name) && name.len > 0 && sig.len > 0;
}

int px_path_info_add_sig(struct px_path_info *p, struct px_slice sig)
{
    if (!sig_valid(sig))
        return PX_EPARSE;
    return append(whole(p), &p->sigs, &p->sig_count, &whole(p)->sig_cap, PX_NARINFO_SIGS_MAX, sig);
}

void px_path_info_clear_sigs(struct px_path_info *p)
{
    p->sig_count = 0;
}

static int compare(const void *a, const void *b)
{
    const struct px_slice *x = a, *y = b;
    int order = memcmp(x->data, y->data, PX_MIN(x->len, y->len));
    return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

void px_path_info_sort_refs(struct px_path_info *p)
{
    size_t kept = 0;
    if (p->ref_count == 0)
        return;
    qsort(p->refs, p->ref_count, sizeof(*p->refs), compare);
    for (size_t i = 1; i < p->ref_count; i++)
        if (!px_slice_eq(p->refs[kept], p->refs[i]))
            p->refs[++kept] = p->refs[i];
    p->ref_count = kept + 1;
}

static struct px_slice own_name(const struct px_path_info *p)
{
    const uint8_t *slash =
        p->store_path.len > 0 ? memrchr(p->store_path.data, '/', p->store_path.len) : NULL;
    px_assert(slash != NULL);
    struct px_slice name = px_slice_skip(p->store_path, (size_t)(slash - p->store_path.data) + 1);
    px_assert(name.len > PX_STORE_HASH_LEN + 1);
    return name;
}

struct px_slice px_path_info_hash_part(const struct px_path_info *p)
{
    return px_slice_take(own_name(p), PX_STORE_HASH_LEN);
}

struct px_slice px_path_info_store_dir(const struct px_path_info *p)
{
    return px_slice_take(p->store_path, p->store_path.len - own_name(p).len - 1);
}

static bool is_name_char(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != 0 && strchr("+-._?=", c) != NULL);
}

bool px_store_base_name_valid(struct px_slice name)
{
    if (name.len < PX_STORE_HASH_LEN + 2 || name.data[PX_STORE_HASH_LEN] != '-' ||
        !px_nix32_valid(px_slice_take(name, PX_STORE_HASH_LEN)))
        return false;
    name = px_slice_skip(name, PX_STORE_HASH_LEN + 1);
    for (size_t i = 0; i < name.len; i++)
        if (!is_name_char(name.data[i]))
            return false;
    /* what stands before the first dash must not be a directory's own or its parent's name */
    struct px_slice rest = name, first;
    (void)px_slice_split(&rest, '-', &first);
    return name.len <= PX_STORE_NAME_MAX && !px_slice_eq_cstr(first, ".") &&
           !px_slice_eq_cstr(first, "..");
}

/* Absolute and in its one form: no empty, "." or ".." component; printable, without blanks. */
static bool store_dir_valid(struct px_slice dir)
{
    struct px_slice part, rest = px_slice_skip(dir, 1);
    if (dir.len < 2 || dir.data[0] != '/')
        return false;
    for (size_t i = 0; i < dir.len; i++)
        if (dir.data[i] <= ' ' || dir.data[i] == 0x7f)
            return false;
    while (px_slice_split(&rest, '/', &part))
        if (part.len == 0 || px_slice_eq_cstr(part, ".") || px_slice_eq_cstr(part, ".."))
            return false;
    return true;
}

int px_store_path_split(struct px_slice path, struct px_slice *ret_dir,
                        struct px_slice *ret_base_name)
{
    const uint8_t *slash = path.len > 0 ? memrchr(path.data, '/', path.len) : NULL;
    if (slash == NULL)
        return PX_EPARSE;
    struct px_slice dir = px_slice_take(path, (size_t)(slash - path.data));
    struct px_slice name = px_slice_skip(path, dir.len + 1);
    if (!store_dir_valid(dir) || !px_store_base_name_valid(name))
        return PX_EPARSE;
    *ret_dir = dir;
    *ret_base_name = name;
    return 0;
}

int px_nix_sha256_parse(struct px_slice text, uint8_t ret[32])
{
    const struct px_slice tagged = PX_SLICE_LIT("sha256:"), sri = PX_SLICE_LIT("sha256-");
    struct px_slice digits = px_slice_skip(text, tagged.len);
    uint8_t hash[32];
    size_t len;
    int err;
    if (px_slice_starts(text, tagged) && digits.len == 64)
        err = px_hex_decode(digits, hash, sizeof(hash), &len);
    else if (px_slice_starts(text, tagged) && digits.len == 52)
        err = px_nix32_decode(digits, hash, sizeof(hash), &len);
    else if (px_slice_starts(text, sri) && digits.len == 44)
        err = px_base64_decode(digits, hash, sizeof(hash), &len);
    else
        return PX_EPARSE;
    if (err != 0 || len != sizeof(hash))
        return PX_EPARSE;
    memcpy(ret, hash, sizeof(hash));
    return 0;
}

static void put_full_ref(const struct px_path_info *p, struct px_slice ref, struct px_buf *out)
{
    (void)px_buf_put(out, px_path_info_store_dir(p));
    (void)px_buf_put_u8(out, '/');
    (void)px_buf_put(out, ref);
}

int px_path_info_fingerprint(const struct px_path_info *p, struct px_buf *out)
{
    (void)px_buf_put_cstr(out, "1;");
    (void)px_buf_put(out, p->store_path);
    (void)px_buf_put_cstr(out, ";sha256:");
    (void)px_nix32_encode(out, px_slice(p->nar_hash, sizeof(p->nar_hash)));
    (void)px_buf_printf(out, ";%llu;", (unsigned long long)p->nar_size);
    for (size_t i = 0; i < p->ref_count; i++) {
        if (i > 0)
            (void)px_buf_put_u8(out, ',');
        put_full_ref(p, p->refs[i], out);
    }
    return out->err;
}

typedef void sha256_fn(struct px_slice in, uint8_t ret[32]);

/* Nix's makeStorePath: whether `<type>:sha256:<hex>:<dir>:<name>`, hashed, folded to 20 bytes and
 * written in Nix's base32, is the hash part of the path. `text` holds the type. */
static bool type_makes_path(const struct px_path_info *p, struct px_buf *text,
                            const uint8_t inner[32], sha256_fn *sha256)
{
    uint8_t digest[32], folded[20] = {0};
    struct px_buf hash_part;
    (void)px_buf_put_cstr(text, ":sha256:");
    (void)px_hex_encode(text, px_slice(inner, 32));
    (void)px_buf_put_u8(text, ':');
    (void)px_buf_put(text, px_path_info_store_dir(p));
    (void)px_buf_put_u8(text, ':');
    (void)px_buf_put(text, px_slice_skip(own_name(p), PX_STORE_HASH_LEN + 1));
    if (text->err != 0)
        return false;
    sha256(px_buf_slice(text), digest);
    for (size_t i = 0; i < sizeof(digest); i++)
        folded[i % sizeof(folded)] ^= digest[i];
    px_buf_init(&hash_part, PX_STORE_HASH_LEN);
    bool same = px_nix32_encode(&hash_part, px_slice(folded, sizeof(folded))) == 0 &&
                px_slice_eq(px_buf_slice(&hash_part), px_path_info_hash_part(p));
    px_buf_deinit(&hash_part);
    return same;
}

/* "text:<refs>" or "source:<refs>". A path never refers to itself here: its NarHash would then have
 * to be known before its name. */
static bool refs_make_path(const struct px_path_info *p, const char *type, const uint8_t hash[32],
                           sha256_fn *sha256)
{
    struct px_buf text;
    struct px_slice self = own_name(p);
    px_buf_init(&text, 2 * PX_NARINFO_REFS_MAX * (PX_STORE_NAME_MAX + (size_t)PX_STORE_HASH_LEN));
    (void)px_buf_put_cstr(&text, type);
    bool ok = true;
    for (size_t i = 0; i < p->ref_count && ok; i++) {
        (void)px_buf_put_u8(&text, ':');
        put_full_ref(p, p->refs[i], &text);
        ok = !px_slice_eq(p->refs[i], self);
    }
    ok = ok && type_makes_path(p, &text, hash, sha256);
    px_buf_deinit(&text);
    return ok;
}

/* A fixed output that is one flat file: no references, and the hash goes through an inner text. */
static bool flat_makes_path(const struct px_path_info *p, const uint8_t hash[32], sha256_fn *sha256)
{
    struct px_buf text;
    uint8_t inner[32];
    if (p->ref_count != 0)
        return false;
    px_buf_init(&text, PX_NARINFO_MAX);
    (void)px_buf_put_cstr(&text, "fixed:out:sha256:");
    (void)px_hex_encode(&text, px_slice(hash, 32));
    bool ok = px_buf_put_u8(&text, ':') == 0;
    if (ok) {
        sha256(px_buf_slice(&text), inner);
        px_buf_clear(&text);
        ok = px_buf_put_cstr(&text, "output:out") == 0 && type_makes_path(p, &text, inner, sha256);
    }
    px_buf_deinit(&text);
    return ok;
}

bool px_path_info_ca_valid(const struct px_path_info *p,
                           void (*sha256)(struct px_slice in, uint8_t ret[32]))
{
    static const struct {
        struct px_slice prefix;
        enum { CA_TEXT, CA_FLAT, CA_RECURSIVE } method;
    } methods[] = {{PX_SLICE_LIT("text:"), CA_TEXT},
                   {PX_SLICE_LIT("fixed:r:"), CA_RECURSIVE},
                   {PX_SLICE_LIT("fixed:"), CA_FLAT}};
    uint8_t hash[32];
    for (size_t i = 0; i < PX_ARRAY_LEN(methods); i++) {
        if (!px_slice_starts(p->ca, methods[i].prefix))
            continue;
        struct px_slice text = px_slice_skip(p->ca, methods[i].prefix.len);
        if (!px_slice_starts(text, PX_SLICE_LIT("sha256:")) || px_nix_sha256_parse(text, hash) != 0)
            return false;
        switch (methods[i].method) {
        case CA_TEXT:
            return refs_make_path(p, "text", hash, sha256);
        case CA_FLAT:
            return flat_makes_path(p, hash, sha256);
        case CA_RECURSIVE:
            return memcmp(hash, p->nar_hash, sizeof(hash)) == 0 &&
                   refs_make_path(p, "source", hash, sha256);
        }
    }
    return false;
}

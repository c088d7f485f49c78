/* The parsers of http_path.h: RFC 9112 §3.2.1 origin-form, RFC 9110 §14.1.2 byte ranges. */
#include "node/nix/http_path.h"

#include "proto/base/encoding.h"

/* dst holds at least in.len bytes. */
static int percent_decode(struct px_slice in, uint8_t *dst, struct px_slice *ret)
{
    size_t n;
    int err = px_percent_decode(in, dst, in.len, &n);
    if (err == 0)
        *ret = px_slice(dst, n);
    return err;
}

static bool take_suffix(struct px_slice *s, struct px_slice suffix)
{
    if (s->len < suffix.len ||
        !px_slice_eq(px_slice(s->data + (s->len - suffix.len), suffix.len), suffix))
        return false;
    s->len -= suffix.len;
    return true;
}

static bool copy_store_hash(struct px_slice text, uint8_t ret[PX_STORE_HASH_LEN])
{
    if (text.len != PX_STORE_HASH_LEN || !px_nix32_valid(text))
        return false;
    memcpy(ret, text.data, PX_STORE_HASH_LEN);
    return true;
}

/* The value of `hash` in a query; PX_EPARSE when it is there twice, empty when it is not there. */
static int query_hash(struct px_slice query, uint8_t *scratch, struct px_slice *ret)
{
    struct px_slice pair, found = {0};
    bool seen = false;
    while (px_slice_split(&query, '&', &pair)) {
        if (!px_slice_starts(pair, PX_SLICE_LIT("hash=")))
            continue;
        if (seen)
            return PX_EPARSE;
        seen = true;
        int err = percent_decode(px_slice_skip(pair, 5), scratch, &found);
        if (err != 0)
            return err;
    }
    *ret = found;
    return 0;
}

static bool parse_nar_hash(struct px_slice text, uint8_t ret[32])
{
    size_t n;
    return px_nix32_decode(text, ret, 32, &n) == 0 && n == 32;
}

static void match(struct px_slice path, struct px_slice hash, struct px_http_target *t)
{
    if (px_slice_eq(path, PX_SLICE_LIT("/nix-cache-info"))) {
        t->kind = PX_HTTP_CACHE_INFO;
    } else if (px_slice_starts(path, PX_SLICE_LIT("/nar/"))) {
        struct px_slice name = px_slice_skip(path, 5);
        if (take_suffix(&name, PX_SLICE_LIT(".nar")) && parse_nar_hash(name, t->nar_hash) &&
            copy_store_hash(hash, t->store_hash))
            t->kind = PX_HTTP_NAR;
    } else {
        struct px_slice name = px_slice_skip(path, 1);
        if (take_suffix(&name, PX_SLICE_LIT(".narinfo")) && copy_store_hash(name, t->store_hash))
            t->kind = PX_HTTP_NARINFO;
    }
}

int px_http_target_parse(struct px_slice raw, struct px_http_target *ret)
{
    uint8_t path_mem[PX_HTTP_TARGET_MAX], hash_mem[PX_HTTP_TARGET_MAX];
    struct px_slice query = raw, path, hash;
    if (raw.len > PX_HTTP_TARGET_MAX)
        return PX_ELIMIT;
    if (raw.len == 0 || raw.data[0] != '/')
        return PX_EPARSE;
    (void)px_slice_split(&query, '?', &path);
    int err = percent_decode(path, path_mem, &path);
    if (err == 0)
        err = query_hash(query, hash_mem, &hash);
    if (err != 0)
        return err;
    struct px_http_target t = {.kind = PX_HTTP_OTHER};
    match(path, hash, &t);
    *ret = t;
    return 0;
}

static bool is_port(struct px_slice text)
{
    uint64_t port;
    return px_slice_parse_u64(text, &port) == 0 && port >= 1 && port <= 65535;
}

static bool is_localhost(struct px_slice host)
{
    static const char name[] = "localhost";
    if (host.len != sizeof(name) - 1)
        return false;
    for (size_t i = 0; i < host.len; i++)
        if ((host.data[i] | 0x20) != name[i])
            return false;
    return true;
}

bool px_http_host_allowed(struct px_slice host)
{
    host = px_slice_trim(host);
    size_t end = host.len; /* of the name, without ":port" */
    for (size_t i = host.len; i > 0; i--) {
        uint8_t c = host.data[i - 1];
        if (c == ']')
            break;
        if (c == ':') {
            end = i - 1;
            break;
        }
    }
    if (end < host.len && !is_port(px_slice_skip(host, end + 1)))
        return false;
    struct px_slice name = px_slice_take(host, end);
    return px_slice_eq_cstr(name, "127.0.0.1") || px_slice_eq_cstr(name, "[::1]") ||
           is_localhost(name);
}

enum px_http_range px_http_range_parse(struct px_slice text, uint64_t size, uint64_t *ret_first)
{
    text = px_slice_trim(text);
    if (!px_slice_starts(text, PX_SLICE_LIT("bytes=")))
        return PX_HTTP_RANGE_NONE;
    struct px_slice last = px_slice_trim(px_slice_skip(text, 6)), first;
    if (memchr(last.data, ',', last.len) != NULL)
        return PX_HTTP_RANGE_NONE;
    if (last.len == 0 || memchr(last.data, '-', last.len) == NULL)
        return PX_HTTP_RANGE_BAD;
    (void)px_slice_split(&last, '-', &first);
    uint64_t from = 0, to = UINT64_MAX;
    if (first.len > 0 && px_slice_parse_u64(first, &from) != 0)
        return PX_HTTP_RANGE_BAD;
    if (last.len > 0 && px_slice_parse_u64(last, &to) != 0)
        return PX_HTTP_RANGE_BAD;
    if (first.len == 0) { /* "-n": the last n bytes */
        if (last.len == 0 || to == 0)
            return PX_HTTP_RANGE_BAD;
        *ret_first = to < size ? size - to : 0;
        return PX_HTTP_RANGE_FROM;
    }
    if (from >= size || from > to)
        return PX_HTTP_RANGE_BAD;
    if (to < size - 1)
        return PX_HTTP_RANGE_NONE;
    *ret_first = from;
    return PX_HTTP_RANGE_FROM;
}

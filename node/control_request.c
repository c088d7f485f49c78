/* The parsers of control_request.h. */
#include "node/control_request.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "auth/crypto.h"
#include "proto/base/encoding.h"

/* --- target --- */

static bool is_utf8(const char *text)
{
    json_t *probe = json_string(text);
    json_decref(probe);
    return probe != NULL;
}

/* Appends the decoded text with its NUL at *at; never longer than it came. */
static int decode(struct px_slice in, char **at, const char **ret)
{
    char *out = *at;
    size_t n;
    int err = px_percent_decode(in, out, in.len, &n);
    if (err != 0)
        return err;
    out[n] = '\0';
    if (!is_utf8(out))
        return PX_EPARSE;
    *at = out + n + 1;
    *ret = out;
    return 0;
}

static int parse_path(struct px_slice path, struct px_control_target *t, char **at)
{
    struct px_slice segment;
    if (path.len == 0 || path.data[0] != '/')
        return PX_EPARSE;
    path = px_slice_skip(path, 1);
    while (px_slice_split(&path, '/', &segment)) {
        if (segment.len == 0)
            return PX_EPARSE;
        if (t->segment_count == PX_CONTROL_SEGMENTS_MAX)
            return PX_ELIMIT;
        int err = decode(segment, at, &t->segment[t->segment_count]);
        if (err != 0)
            return err;
        t->segment_count++;
    }
    return 0;
}

static int add_query(struct px_slice pair, struct px_control_target *t, char **at)
{
    struct px_slice name;
    struct px_control_pair p;
    if (t->query_count == PX_CONTROL_QUERY_MAX)
        return PX_ELIMIT;
    (void)px_slice_split(&pair, '=', &name);
    int err = decode(name, at, &p.name);
    if (err == 0)
        err = decode(pair, at, &p.value);
    if (err == 0 && px_control_target_query(t, p.name) != NULL)
        err = PX_EPARSE;
    if (err == 0)
        t->query[t->query_count++] = p;
    return err;
}

int px_control_target_parse(struct px_slice raw, struct px_control_target *ret)
{
    struct px_slice path, pair;
    char *at = ret->text;
    ret->segment_count = ret->query_count = 0;
    if (raw.len > PX_CONTROL_TARGET_MAX)
        return PX_ELIMIT;
    if (!px_slice_split(&raw, '?', &path))
        return PX_EPARSE;
    int err = parse_path(path, ret, &at);
    while (err == 0 && px_slice_split(&raw, '&', &pair))
        if (pair.len > 0)
            err = add_query(pair, ret, &at);
    return err;
}

const char *px_control_target_query(const struct px_control_target *t, const char *name)
{
    for (size_t i = 0; i < t->query_count; i++)
        if (strcmp(t->query[i].name, name) == 0)
            return t->query[i].value;
    return NULL;
}

bool px_control_target_match(const struct px_control_target *t, const char *pattern,
                             struct px_control_params *ret)
{
    struct px_control_params params = {0};
    struct px_slice rest = px_slice_cstr(pattern + 1), want;
    size_t i = 0;
    for (; px_slice_split(&rest, '/', &want); i++) {
        if (i == t->segment_count)
            return false;
        if (want.len > 2 && want.data[0] == '{') {
            px_assert(params.count < PX_CONTROL_PARAMS_MAX);
            params.at[params.count++] =
                (struct px_control_param){px_slice(want.data + 1, want.len - 2), t->segment[i]};
        } else if (!px_slice_eq_cstr(want, t->segment[i])) {
            return false;
        }
    }
    if (i != t->segment_count)
        return false;
    *ret = params;
    return true;
}

/* --- fields --- */

static bool equals_nocase(struct px_slice a, const char *b)
{
    return a.len == strlen(b) && strncasecmp((const char *)a.data, b, a.len) == 0;
}

bool px_control_field_foreign(struct px_slice name)
{
    static const char *const names[] = {
        "Via",          "Forwarded", "X-Real-IP", "Client-IP",      "Origin",          "Referer",
        "Max-Forwards", "Cookie",    "CDN-Loop",  "True-Client-IP", "CF-Connecting-IP"};
    static const char *const prefixes[] = {"X-Forwarded", "Sec-", "Proxy-", "Access-Control-"};
    for (size_t i = 0; i < PX_ARRAY_LEN(names); i++)
        if (equals_nocase(name, names[i]))
            return true;
    for (size_t i = 0; i < PX_ARRAY_LEN(prefixes); i++)
        if (equals_nocase(px_slice_take(name, strlen(prefixes[i])), prefixes[i]))
            return true;
    return false;
}

bool px_control_host_allowed(struct px_slice host)
{
    struct px_slice name, port = px_slice_trim(host);
    uint64_t number;
    if (!px_slice_split(&port, ':', &name) ||
        (!equals_nocase(name, "localhost") && !equals_nocase(name, "peerix")))
        return false;
    if (port.data == NULL)
        return true;
    return px_slice_parse_u64(port, &number) == 0 && number > 0 && number <= UINT16_MAX;
}

bool px_control_cookie_matches(const char *authorization, const char cookie[PX_CONTROL_COOKIE_LEN])
{
    static const char scheme[] = "Bearer ";
    size_t skip = sizeof(scheme) - 1;
    if (authorization == NULL || strncasecmp(authorization, scheme, skip) != 0)
        return false;
    struct px_slice given = px_slice_trim(px_slice_cstr(authorization + skip));
    return given.len == PX_CONTROL_COOKIE_LEN &&
           px_ct_equal(given.data, cookie, PX_CONTROL_COOKIE_LEN);
}

/* --- body --- */

/* The parser recurses: how deep is known before it is let loose. */
static size_t json_depth(struct px_slice text)
{
    size_t depth = 0, deepest = 0;
    bool quoted = false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '{' || c == '['))
            depth++;
        else if (!quoted && (c == '}' || c == ']') && depth > 0)
            depth--;
        deepest = PX_MAX(deepest, depth);
    }
    return deepest;
}

int px_control_body_parse(struct px_slice text, json_t **ret, char *ret_why, size_t why_size)
{
    json_error_t why;
    if (json_depth(text) > PX_CONTROL_JSON_DEPTH) {
        snprintf(ret_why, why_size, "the body is nested more than %d deep", PX_CONTROL_JSON_DEPTH);
        return PX_EPARSE;
    }
    json_t *body = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, &why);
    if (body == NULL) {
        /* jansson says nothing at all where memory was missing */
        bool memory = why.text[0] == '\0' || json_error_code(&why) == json_error_out_of_memory;
        snprintf(ret_why, why_size, "the body is no JSON: line %d, column %d", why.line,
                 why.column);
        return memory ? PX_ENOMEM : PX_EPARSE;
    }
    if (!json_is_object(body)) {
        snprintf(ret_why, why_size, "the body is no JSON object");
        json_decref(body);
        return PX_EPARSE;
    }
    *ret = body;
    return 0;
}

/* --- values --- */

int px_control_seconds_parse(struct px_slice text, px_nsec *ret)
{
    struct px_slice whole;
    px_nsec unit = PX_SEC;
    uint64_t n, part = 0;
    size_t digits = 0;
    if (text.len > 2 && px_slice_eq_cstr(px_slice_skip(text, text.len - 2), "ms")) {
        unit = PX_MSEC;
        text.len -= 2;
    } else if (text.len > 1 && text.data[text.len - 1] == 's') {
        text.len--;
    }
    if (!px_slice_split(&text, '.', &whole) || px_slice_parse_u64(whole, &n) != 0 ||
        n > PX_NEVER / PX_SEC / 2)
        return PX_EPARSE;
    for (; text.data != NULL && digits < text.len; digits++) {
        uint8_t c = text.data[digits];
        if (digits == 3 || c < '0' || c > '9')
            return PX_EPARSE;
        part = part * 10 + (uint64_t)(c - '0');
    }
    if (text.data != NULL && digits == 0)
        return PX_EPARSE;
    for (; digits < 3; digits++)
        part *= 10;
    *ret = n * unit + part * (unit / 1000);
    return 0;
}

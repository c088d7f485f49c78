/* See invite_text.h. Reading goes in two steps: dashes ignored, which any code that is right
 * survives; and when that fails a diagnosis that uses the dashes to say where. */
#include "proto/invite_text.h"

#include <stdio.h>
#include <strings.h>

enum { GROUP = 8 /* characters, the check included */, DATA = GROUP - 1 };
enum { CHARS_MAX = 1200, NONE = 0xff };

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/* SPEC pairing §1.2: look-alikes are read as what they look like. */
static uint8_t value_of(uint8_t c)
{
    if (c >= 'a' && c <= 'z')
        c = (uint8_t)(c - 'a' + 'A');
    c = c == 'O' ? '0' : c == 'I' || c == 'L' ? '1' : c == 'U' ? 'V' : c;
    const char *at = c != '\0' ? strchr(alphabet, c) : NULL;
    return at != NULL ? (uint8_t)(at - alphabet) : NONE;
}

static unsigned times_alpha(unsigned v)
{
    return v & 16 ? (v << 1 ^ 0x25) : v << 1;
}

/* d₁·αⁿ + … + dₙ·α, plus c when the run ends with it. */
static unsigned weigh(const uint8_t *values, size_t count)
{
    unsigned sum = 0;
    for (size_t i = 0; i < count; i++)
        sum = times_alpha(sum) ^ values[i];
    return sum;
}

static unsigned offset_of(size_t group)
{
    return (unsigned)((group + 1) % 32);
}

/* ---- writing ---- */

static void put_group(const uint8_t *data, size_t count, size_t group, bool dashes,
                      struct px_buf *out)
{
    if (dashes && group > 0)
        (void)px_buf_put_u8(out, '-');
    for (size_t i = 0; i < count; i++)
        (void)px_buf_put_u8(out, (uint8_t)alphabet[data[i]]);
    unsigned check = times_alpha(weigh(data, count)) ^ offset_of(group);
    (void)px_buf_put_u8(out, (uint8_t)alphabet[check]);
}

int px_invite_text_put(struct px_slice bytes, bool dashes, struct px_buf *out)
{
    uint8_t data[DATA];
    size_t count = 0, group = 0, bits = bytes.len * 8;
    if (bytes.len > PX_INVITE_BYTES_MAX)
        return PX_ELIMIT;
    for (size_t bit = 0; bit < bits; bit += 5) {
        unsigned v = 0;
        for (size_t b = bit; b < bit + 5; b++)
            v = v << 1 | (b < bits ? ((unsigned)bytes.data[b / 8] >> (7 - b % 8)) & 1u : 0);
        data[count++] = (uint8_t)v;
        if (count == DATA) {
            put_group(data, count, group++, dashes, out);
            count = 0;
        }
    }
    if (count > 0)
        put_group(data, count, group, dashes, out);
    explicit_bzero(data, sizeof(data));
    return out->err;
}

/* ---- reading what is right ---- */

/* A code's characters as values, NONE for foreign ones, and where dashes stood. */
struct chars {
    size_t count;
    size_t dashes;
    uint8_t value[CHARS_MAX];
    bool cut[CHARS_MAX + 1]; /* a dash stood before this character */
};

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* A URL's scheme, or nothing, at the beginning. */
static struct px_slice without_scheme(struct px_slice text)
{
    size_t n = sizeof(PX_INVITE_SCHEME) - 1;
    while (text.len > 0 && is_space(text.data[0]))
        text = px_slice_skip(text, 1);
    bool has = text.len >= n && strncasecmp((const char *)text.data, PX_INVITE_SCHEME, n) == 0;
    return has ? px_slice_skip(text, n) : text;
}

static bool collect(struct px_slice text, struct chars *c)
{
    memset(c, 0, sizeof(*c));
    if (text.len > PX_INVITE_INPUT_MAX)
        return false;
    text = without_scheme(text);
    for (size_t i = 0; i < text.len; i++) {
        if (is_space(text.data[i]))
            continue;
        if (text.data[i] == '-') {
            c->dashes += !c->cut[c->count];
            c->cut[c->count] = true;
            continue;
        }
        if (c->count == CHARS_MAX)
            return false;
        c->value[c->count++] = value_of(text.data[i]);
    }
    return c->count > 0;
}

/* Does this run stand for group `group`? */
static bool stands(const struct chars *c, size_t at, size_t count, size_t group)
{
    if (count < 2 || count > GROUP || count > c->count - at)
        return false;
    for (size_t i = 0; i < count; i++)
        if (c->value[at + i] == NONE)
            return false;
    return weigh(c->value + at, count) == offset_of(group);
}

static size_t groups_of(size_t count)
{
    return (count + GROUP - 1) / GROUP;
}

/* Do all groups from `group` on stand, cut every eight characters from `at`? */
static bool rest_stands(const struct chars *c, size_t at, size_t group)
{
    if (at >= c->count)
        return false;
    for (; at < c->count; at += GROUP, group++)
        if (!stands(c, at, PX_MIN((size_t)GROUP, c->count - at), group))
            return false;
    return true;
}

/* All groups stand: their bits as bytes. The filling bits must be zero and fewer than a character,
 * so that a value has one text. */
static int to_bytes(const struct chars *c, struct px_buf *out)
{
    unsigned acc = 0, have = 0;
    for (size_t i = 0; i < c->count; i++) {
        bool check = i % GROUP == DATA || i + 1 == c->count;
        if (check)
            continue;
        acc = (acc << 5 | c->value[i]) & 0xfff;
        have += 5;
        if (have >= 8) {
            have -= 8;
            (void)px_buf_put_u8(out, (uint8_t)(acc >> have));
        }
    }
    if (out->err == 0 && (have >= 5 || (acc & ((1u << have) - 1)) != 0))
        return PX_EPARSE;
    return out->err;
}

/* ---- saying what is wrong ---- */

/* The runs a person sees: between dashes, or every eight characters when there are none. */
struct runs {
    size_t count;
    size_t at[CHARS_MAX], len[CHARS_MAX];
    bool good[CHARS_MAX];
    size_t good_count;
    size_t first_bad;
};

static void cut_runs(const struct chars *c, struct runs *r)
{
    memset(r, 0, sizeof(*r));
    for (size_t i = 0; i < c->count; i++) {
        bool begins = c->dashes > 0 ? c->cut[i] || i == 0 : i % GROUP == 0;
        if (begins)
            r->at[r->count++] = i;
        r->len[r->count - 1]++;
    }
    r->first_bad = r->count;
    for (size_t g = 0; g < r->count; g++) {
        bool whole = r->len[g] == GROUP || g + 1 == r->count;
        r->good[g] = whole && stands(c, r->at[g], r->len[g], g);
        r->good_count += r->good[g];
        if (!r->good[g] && r->first_bad == r->count)
            r->first_bad = g;
    }
}

/* Do this run and those behind it stand one place further on? One alone may by chance. */
static bool one_missing(const struct chars *c, const struct runs *r, size_t from)
{
    for (size_t g = from; g < r->count; g++)
        if (!stands(c, r->at[g], r->len[g], g + 1))
            return false;
    return from + 1 < r->count;
}

/* A foreign character, which says more than a sum that is wrong. */
static bool has_foreign(const struct chars *c, const struct runs *r, size_t g)
{
    return memchr(c->value + r->at[g], NONE, r->len[g]) != NULL;
}

static bool exchanged(const struct chars *c, const struct runs *r, size_t g)
{
    return g + 1 < r->count && stands(c, r->at[g], r->len[g], g + 1) &&
           stands(c, r->at[g + 1], r->len[g + 1], g);
}

/* The run does not belong there: those behind it stand one place earlier, or it is the last one
 * and a copy of the one before. */
static bool one_too_many(const struct chars *c, const struct runs *r, size_t g)
{
    if (g + 1 == r->count)
        return g > 0 && r->len[g] == r->len[g - 1] &&
               memcmp(c->value + r->at[g], c->value + r->at[g - 1], r->len[g]) == 0;
    for (size_t i = g + 1; i < r->count; i++)
        if (!stands(c, r->at[i], r->len[i], i - 1))
            return false;
    return true;
}

static void say_typos(const struct runs *r, struct px_invite_fault *fault)
{
    size_t g = r->first_bad, more = r->count - r->good_count - 1;
    int n = snprintf(fault->why, sizeof(fault->why), "group %zu has a typo", g + 1);
    if (more > 0)
        snprintf(fault->why + n, sizeof(fault->why) - (size_t)n, ", and so %s %zu more",
                 more == 1 ? "has" : "have", more);
}

/* Without dashes one character too few or too many shifts all that follows. */
static bool shifted(const struct chars *c, const struct runs *r, const char **ret_what)
{
    size_t g = r->first_bad, next = r->at[g] + GROUP;
    if (c->dashes > 0)
        return false;
    if (rest_stands(c, next - 1, g + 1))
        *ret_what = "lacks a character";
    else if (rest_stands(c, next + 1, g + 1))
        *ret_what = "has a character too many";
    else
        return false;
    return true;
}

static void say(const struct chars *c, const struct runs *r, struct px_invite_fault *fault)
{
    size_t g = r->first_bad, n = g + 1, size = sizeof(fault->why);
    const char *what;
    fault->group = n;
    if (g == r->count) {
        fault->group = 0;
        snprintf(fault->why, size, "%s", PX_INVITE_WHY_END);
    } else if (has_foreign(c, r, g)) {
        snprintf(fault->why, size, "group %zu has a character that codes do not have", n);
    } else if (r->len[g] != GROUP && n < r->count) {
        snprintf(fault->why, size, "group %zu has %zu characters instead of %d", n, r->len[g],
                 GROUP);
    } else if (exchanged(c, r, g)) {
        snprintf(fault->why, size, "groups %zu and %zu are exchanged", n, n + 1);
    } else if (one_missing(c, r, g)) {
        snprintf(fault->why, size, "group %zu is missing", n);
    } else if (g > 0 && one_too_many(c, r, g)) {
        snprintf(fault->why, size, "group %zu is there twice or does not belong there", n);
    } else if (shifted(c, r, &what)) {
        snprintf(fault->why, size, "group %zu %s", n, what);
    } else {
        say_typos(r, fault);
    }
}

/* How many groups stand where they are, or moved by one, or read with a character more or less. */
static bool mostly_right(const struct chars *c, const struct runs *r)
{
    const char *what;
    size_t g = r->first_bad;
    if (r->good_count * 2 >= r->count && r->good_count >= 2)
        return true;
    return g < r->count && groups_of(c->count) > 4 &&
           (one_missing(c, r, g) || (g > 0 && one_too_many(c, r, g)) || exchanged(c, r, g) ||
            shifted(c, r, &what));
}

static int diagnose(const struct chars *c, struct px_invite_fault *fault)
{
    struct runs r;
    cut_runs(c, &r);
    if (!mostly_right(c, &r)) {
        snprintf(fault->why, sizeof(fault->why),
                 "it is not an invite code, or more than half of "
                 "it is wrong");
        return PX_EINVITE_JUNK;
    }
    say(c, &r, fault);
    return PX_EINVITE_TYPO;
}

int px_invite_text_get(struct px_slice text, struct px_buf *out, struct px_invite_fault *ret_fault)
{
    struct chars c;
    int err;
    if (!collect(text, &c)) {
        snprintf(ret_fault->why, sizeof(ret_fault->why), "it is %s",
                 c.count == 0 ? "empty" : "too long to be an invite code");
        err = PX_EINVITE_JUNK;
    } else if (!rest_stands(&c, 0, 0)) {
        err = diagnose(&c, ret_fault);
    } else {
        err = to_bytes(&c, out);
        if (err == PX_EPARSE || err == PX_ELIMIT) {
            snprintf(ret_fault->why, sizeof(ret_fault->why), "%s", PX_INVITE_WHY_END);
            err = PX_EINVITE_TYPO;
        }
    }
    explicit_bzero(&c, sizeof(c));
    return err;
}

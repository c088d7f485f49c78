/* One line of authorized_keys: words between blanks, the peer ID first, then option=value, then a
 * comment behind '#'. There is no quoting: no value can hold a blank.
 *
 * The writer trusts its own parser alone: a line goes out only if it reads back the same. */
#include <stdarg.h>
#include <stdio.h>

#include "auth/authorized_keys.h"
#include "proto/addr.h"

static const struct grant {
    const char *word;
    uint32_t bit;
} grants[] = {
    {"cache", PX_GRANT_CACHE},
    {"cache-own", PX_GRANT_CACHE_OWN},
};

int px_grants_parse(struct px_slice text, uint32_t *ret)
{
    uint32_t bits = 0;
    struct px_slice word;
    if (text.len == 0)
        return PX_EPARSE;
    while (px_slice_split(&text, ',', &word)) {
        uint32_t bit = 0;
        for (size_t i = 0; i < PX_ARRAY_LEN(grants); i++)
            if (px_slice_eq_cstr(word, grants[i].word))
                bit = grants[i].bit;
        if (bit == 0 || (bits & bit) != 0)
            return PX_EPARSE;
        bits |= bit;
    }
    *ret = bits;
    return 0;
}

int px_grants_format(uint32_t bits, struct px_buf *out)
{
    const char *comma = "";
    uint32_t known = 0;
    for (size_t i = 0; i < PX_ARRAY_LEN(grants); i++)
        known |= grants[i].bit;
    if ((bits & ~known) != 0)
        return PX_EINVAL;
    for (size_t i = 0; i < PX_ARRAY_LEN(grants); i++) {
        if ((bits & grants[i].bit) == 0)
            continue;
        px_buf_put_cstr(out, comma);
        px_buf_put_cstr(out, grants[i].word);
        comma = ",";
    }
    return out->err;
}

bool px_name_valid(struct px_slice name)
{
    if (name.len == 0 || name.len > PX_AUTH_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        bool inner = i > 0 && i < name.len - 1;
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && !(c == '-' && inner))
            return false;
    }
    return true;
}

static int PX_PRINTF(2, 3) bad(struct px_auth_error *e, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    e->line = 0;
    vsnprintf(e->message, sizeof(e->message), fmt, ap);
    va_end(ap);
    return PX_EPARSE;
}

/* Arguments for %.*s: enough of a value to recognise it by. */
#define SHOWN(s) (int)PX_MIN((s).len, (size_t)48), (const char *)(s).data

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

/* Takes the next word; false when there is none. */
static bool next_word(struct px_slice *rest, struct px_slice *ret)
{
    *rest = px_slice_trim(*rest);
    size_t n = 0;
    while (n < rest->len && !is_blank(rest->data[n]))
        n++;
    *ret = px_slice_take(*rest, n);
    *rest = px_slice_skip(*rest, n);
    return n > 0;
}

/* Where the comment begins: at a '#' that begins a word. line.len when there is none. */
static size_t comment_start(struct px_slice line)
{
    size_t i = 0;
    while (i < line.len && !(line.data[i] == '#' && (i == 0 || is_blank(line.data[i - 1]))))
        i++;
    return i;
}

/* Takes one code point of strict UTF-8 (RFC 3629); false when the bytes are not. */
static bool next_code_point(struct px_slice *rest, uint32_t *ret)
{
    static const uint32_t smallest[] = {0, 0x80, 0x800, 0x10000};
    uint8_t first = rest->data[0];
    size_t more = first < 0x80 ? 0 : first < 0xc0 ? 4 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
    if (more == 4 || first > 0xf4 || more >= rest->len)
        return false;
    uint32_t cp = more == 0 ? first : first & (0x3fu >> more);
    for (size_t i = 1; i <= more; i++) {
        if ((rest->data[i] & 0xc0) != 0x80)
            return false;
        cp = cp << 6 | (rest->data[i] & 0x3f);
    }
    if (cp < smallest[more] || cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
        return false;
    *ret = cp;
    *rest = px_slice_skip(*rest, more + 1);
    return true;
}

/* Control characters, line and paragraph separators, and what turns the direction of writing, so
 * that a listing shows what is there. */
static bool is_printable(uint32_t cp)
{
    return cp >= 0x20 && !(cp >= 0x7f && cp <= 0x9f) && !(cp >= 0x2028 && cp <= 0x202e) &&
           !(cp >= 0x2066 && cp <= 0x2069) && cp != 0x200e && cp != 0x200f && cp != 0x61c;
}

static int parse_comment(struct px_slice text, struct px_authorized_key *k, struct px_auth_error *e)
{
    text = px_slice_trim(text);
    if (text.len >= sizeof(k->comment))
        return bad(e, "the comment is longer than %zu bytes", sizeof(k->comment) - 1);
    for (struct px_slice rest = text; rest.len > 0;) {
        uint32_t cp;
        if (!next_code_point(&rest, &cp))
            return bad(e, "the comment is not UTF-8");
        if (!is_printable(cp))
            return bad(e, "the comment holds the control character U+%04X", (unsigned)cp);
    }
    if (text.len > 0)
        memcpy(k->comment, text.data, text.len);
    return 0;
}

static int set_name(struct px_slice v, struct px_authorized_key *k, struct px_auth_error *e)
{
    if (k->name[0] != '\0')
        return bad(e, "option 'name' is given twice");
    if (!px_name_valid(v))
        return bad(e, "name '%.*s' is not 1 to 63 of a-z 0-9 and, inside, '-'", SHOWN(v));
    memcpy(k->name, v.data, v.len);
    return 0;
}

static int set_addr(struct px_slice v, struct px_authorized_key *k, struct px_auth_error *e)
{
    struct px_slice host;
    uint16_t port;
    if (v.len >= PX_AUTH_ADDR_MAX || px_hostport_split(v, &host, &port) != 0)
        return bad(e, "addr '%.*s' is not HOST:PORT", SHOWN(v));
    for (size_t i = 0; i < k->addr_count; i++)
        if (px_slice_eq_cstr(v, k->addrs[i]))
            return bad(e, "addr '%.*s' is given twice", SHOWN(v));
    if (k->addr_count == PX_AUTH_ADDRS_MAX)
        return bad(e, "more than %d addr options", PX_AUTH_ADDRS_MAX);
    memcpy(k->addrs[k->addr_count++], v.data, v.len);
    return 0;
}

static int set_grant(struct px_slice v, struct px_authorized_key *k, struct px_auth_error *e)
{
    if (k->grants != 0)
        return bad(e, "option 'grant' is given twice");
    if (px_grants_parse(v, &k->grants) != 0)
        return bad(e, "grant '%.*s' is not a list of: cache, cache-own", SHOWN(v));
    return 0;
}

static const struct option {
    const char *name;
    int (*set)(struct px_slice v, struct px_authorized_key *k, struct px_auth_error *e);
} options[] = {{"name", set_name}, {"addr", set_addr}, {"grant", set_grant}};

static int parse_option(struct px_slice word, struct px_authorized_key *k, struct px_auth_error *e)
{
    struct px_slice name, value = word;
    (void)px_slice_split(&value, '=', &name);
    if (value.data == NULL)
        return bad(e, "'%.*s' is not of the form option=value", SHOWN(word));
    for (size_t i = 0; i < PX_ARRAY_LEN(options); i++)
        if (px_slice_eq_cstr(name, options[i].name))
            return options[i].set(value, k, e);
    return bad(e, "unknown option '%.*s'", SHOWN(name));
}

static int parse_id(struct px_slice word, struct px_authorized_key *k, struct px_auth_error *e)
{
    int err = px_peer_id_parse(word, &k->id);
    if (err == PX_EUNSUPPORTED)
        return bad(e, "peer ID '%.*s' is not of an ed25519 key", SHOWN(word));
    if (err != 0)
        return bad(e, "'%.*s' is not a peer ID", SHOWN(word));
    return 0;
}

/* Everything but the comment is plain ASCII. */
static int check_bytes(struct px_slice line, struct px_slice entry, struct px_auth_error *e)
{
    if (line.len > PX_AUTH_LINE_MAX)
        return bad(e, "the line is longer than %d bytes", PX_AUTH_LINE_MAX);
    if (line.data[line.len - 1] == '\r')
        return bad(e, "the line ends in a carriage return (DOS line ends)");
    for (size_t i = 0; i < entry.len; i++)
        if (!is_blank(entry.data[i]) && (entry.data[i] <= 0x20 || entry.data[i] >= 0x7f))
            return bad(e, "byte 0x%02x in column %zu is not allowed", entry.data[i], i + 1);
    return 0;
}

int px_authorized_key_parse_line(struct px_slice line, struct px_authorized_key *ret,
                                 struct px_auth_error *ret_error)
{
    struct px_authorized_key k = {0};
    struct px_slice entry = px_slice_take(line, comment_start(line)), word;
    struct px_slice rest = entry;
    if (px_slice_trim(entry).len == 0)
        return PX_ENOENT;
    int err = check_bytes(line, entry, ret_error);
    if (err == 0 && next_word(&rest, &word))
        err = parse_id(word, &k, ret_error);
    while (err == 0 && next_word(&rest, &word))
        err = parse_option(word, &k, ret_error);
    if (err == 0 && entry.len < line.len)
        err = parse_comment(px_slice_skip(line, entry.len + 1), &k, ret_error);
    if (err == 0)
        memcpy(ret, &k, sizeof(k));
    return err;
}

static struct px_slice bounded(const char *s, size_t size)
{
    return px_slice(s, strnlen(s, size));
}

static bool same_entry(const struct px_authorized_key *a, const struct px_authorized_key *b)
{
    if (!px_peer_id_eq(&a->id, &b->id) || a->grants != b->grants ||
        a->addr_count != b->addr_count ||
        !px_slice_eq(bounded(a->name, sizeof(a->name)), bounded(b->name, sizeof(b->name))) ||
        !px_slice_eq(bounded(a->comment, sizeof(a->comment)),
                     bounded(b->comment, sizeof(b->comment))))
        return false;
    for (size_t i = 0; i < a->addr_count; i++)
        if (!px_slice_eq(bounded(a->addrs[i], sizeof(a->addrs[i])),
                         bounded(b->addrs[i], sizeof(b->addrs[i]))))
            return false;
    return true;
}

/* The line without its newline, unchecked. */
static int put_line(const struct px_authorized_key *k, struct px_buf *line)
{
    char id[PX_PEER_ID_TEXT_MAX];
    px_buf_put_cstr(line, px_peer_id_format(&k->id, id));
    if (k->name[0] != '\0') {
        px_buf_put_cstr(line, " name=");
        px_buf_put(line, bounded(k->name, sizeof(k->name)));
    }
    for (size_t i = 0; i < k->addr_count; i++) {
        px_buf_put_cstr(line, " addr=");
        px_buf_put(line, bounded(k->addrs[i], sizeof(k->addrs[i])));
    }
    if (k->grants != 0) {
        px_buf_put_cstr(line, " grant=");
        if (px_grants_format(k->grants, line) == PX_EINVAL)
            return PX_EPARSE;
    }
    if (k->comment[0] != '\0') {
        px_buf_put_cstr(line, " # ");
        px_buf_put(line, bounded(k->comment, sizeof(k->comment)));
    }
    return line->err == PX_ELIMIT ? PX_EPARSE : line->err;
}

int px_authorized_key_format(const struct px_authorized_key *k, struct px_buf *out)
{
    struct px_authorized_key back;
    struct px_auth_error error;
    struct px_buf line;
    if (k->addr_count > PX_AUTH_ADDRS_MAX)
        return PX_EPARSE;
    px_buf_init(&line, PX_AUTH_LINE_MAX + 1);
    int err = put_line(k, &line);
    /* a newline would be a byte like any other to the line parser, were it not refused */
    if (err == 0 && (px_authorized_key_parse_line(px_buf_slice(&line), &back, &error) != 0 ||
                     !same_entry(k, &back)))
        err = PX_EPARSE;
    if (err == 0 && px_buf_put_u8(&line, '\n') == 0)
        err = px_buf_put(out, px_buf_slice(&line));
    else if (err == 0)
        err = line.err;
    px_buf_deinit(&line);
    return err;
}

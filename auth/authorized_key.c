/* One line of authorized_keys: words between blanks, the peer ID first, then option=value, then a
 * comment behind '#'. There is no quoting: no value can hold a blank.
 *
 * The writer trusts its own parser alone: a line goes out only if it reads back the same. */
#include "auth/authorized_keys.h"
#include "auth/list_line.h"
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

static int set_name(struct px_slice v, struct px_authorized_key *k, struct px_auth_error *e)
{
    if (k->name[0] != '\0')
        return px_list_line_bad(e, "option 'name' is given twice");
    if (!px_name_valid(v))
        return px_list_line_bad(e, "name '%.*s' is not 1 to 63 of a-z 0-9 and, inside, '-'",
                                PX_LIST_LINE_SHOWN(v));
    memcpy(k->name, v.data, v.len);
    return 0;
}

static int set_addr(struct px_slice v, struct px_authorized_key *k, struct px_auth_error *e)
{
    struct px_slice host;
    uint16_t port;
    if (v.len >= PX_AUTH_ADDR_MAX || px_hostport_split(v, &host, &port) != 0)
        return px_list_line_bad(e, "addr '%.*s' is not HOST:PORT", PX_LIST_LINE_SHOWN(v));
    for (size_t i = 0; i < k->addr_count; i++)
        if (px_slice_eq_cstr(v, k->addrs[i]))
            return px_list_line_bad(e, "addr '%.*s' is given twice", PX_LIST_LINE_SHOWN(v));
    if (k->addr_count == PX_AUTH_ADDRS_MAX)
        return px_list_line_bad(e, "more than %d addr options", PX_AUTH_ADDRS_MAX);
    memcpy(k->addrs[k->addr_count++], v.data, v.len);
    return 0;
}

static int set_grant(struct px_slice v, struct px_authorized_key *k, struct px_auth_error *e)
{
    if (k->grants != 0)
        return px_list_line_bad(e, "option 'grant' is given twice");
    if (px_grants_parse(v, &k->grants) != 0)
        return px_list_line_bad(e, "grant '%.*s' is not a list of: cache, cache-own",
                                PX_LIST_LINE_SHOWN(v));
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
        return px_list_line_bad(e, "'%.*s' is not of the form option=value",
                                PX_LIST_LINE_SHOWN(word));
    for (size_t i = 0; i < PX_ARRAY_LEN(options); i++)
        if (px_slice_eq_cstr(name, options[i].name))
            return options[i].set(value, k, e);
    return px_list_line_bad(e, "unknown option '%.*s'", PX_LIST_LINE_SHOWN(name));
}

int px_authorized_key_parse_line(struct px_slice line, struct px_authorized_key *ret,
                                 struct px_auth_error *ret_error)
{
    struct px_authorized_key k = {0};
    struct px_slice rest, word;
    int err = px_list_line_split(line, &rest, k.comment, ret_error);
    if (err == 0 && px_list_line_word(&rest, &word))
        err = px_list_line_id(word, &k.id, ret_error);
    while (err == 0 && px_list_line_word(&rest, &word))
        err = parse_option(word, &k, ret_error);
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

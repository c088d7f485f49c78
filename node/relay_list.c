/* Lines of HOME/relays, edits of the text, and the many ways to write where a relay is. */
#include "node/relay_list.h"

#include <stdio.h>

#include "auth/list_line.h"
#include "proto/addr.h"

/* ---- a line ---- */

static int set_text(char *out, size_t size, struct px_slice s)
{
    if (s.len >= size)
        return PX_EPARSE;
    if (s.len > 0)
        memcpy(out, s.data, s.len);
    out[s.len] = '\0';
    return 0;
}

static int add_addr(struct px_relay_entry *e, struct px_slice text)
{
    struct px_slice host;
    uint16_t port;
    int err = px_hostport_split(text, &host, &port);
    if (err == 0 && e->addr_count == PX_RELAY_ADDRS_MAX)
        err = PX_EPARSE;
    if (err == 0)
        err = set_text(e->addrs[e->addr_count], sizeof(e->addrs[0]), text);
    if (err == 0)
        e->addr_count++;
    return err;
}

static bool take_prefix(struct px_slice *s, const char *prefix)
{
    size_t n = strlen(prefix);
    if (s->len < n || memcmp(s->data, prefix, n) != 0)
        return false;
    *s = px_slice_skip(*s, n);
    return true;
}

static int parse_port(struct px_slice text, uint16_t *ret)
{
    uint64_t port;
    if (px_slice_parse_u64(text, &port) != 0 || port == 0 || port > UINT16_MAX)
        return PX_EPARSE;
    *ret = (uint16_t)port;
    return 0;
}

/* What follows peerix-relay:// */
static int parse_url(struct px_slice rest, struct px_relay_entry *e)
{
    struct px_slice id, where;
    if (!px_slice_split(&rest, '@', &id) || rest.data == NULL || px_peer_id_parse(id, &e->id) != 0)
        return PX_EPARSE;
    bool asks = memchr(rest.data, '?', rest.len) != NULL;
    if (!px_slice_split(&rest, '?', &where))
        return PX_EPARSE;
    if (asks && (!take_prefix(&rest, "tcp=") || parse_port(rest, &e->tcp) != 0))
        return PX_EPARSE;
    return add_addr(e, where);
}

static int set_tcp(struct px_relay_entry *e, struct px_slice text, struct px_auth_error *error)
{
    if (e->tcp != 0 || parse_port(text, &e->tcp) != 0)
        return px_list_line_bad(error, "'%.*s' is no TCP port, or the second one",
                                PX_LIST_LINE_SHOWN(text));
    return 0;
}

static int parse_option(struct px_slice word, struct px_relay_entry *e, struct px_auth_error *error)
{
    struct px_slice value = word;
    if (take_prefix(&value, "addr=")) {
        if (add_addr(e, value) != 0)
            return px_list_line_bad(error, "'%.*s' is not HOST:PORT, or one too many",
                                    PX_LIST_LINE_SHOWN(value));
        return 0;
    }
    if (take_prefix(&value, "tcp="))
        return set_tcp(e, value, error);
    if (!take_prefix(&value, "name="))
        return px_list_line_bad(error, "unknown option '%.*s'", PX_LIST_LINE_SHOWN(word));
    if (!px_name_valid(value) || e->name[0] != '\0')
        return px_list_line_bad(error, "name '%.*s' is not 1 to 63 of a-z 0-9 and, inside, '-'",
                                PX_LIST_LINE_SHOWN(value));
    return set_text(e->name, sizeof(e->name), value);
}

int px_relay_entry_parse(struct px_slice line, struct px_relay_entry *ret,
                         struct px_auth_error *ret_error)
{
    struct px_relay_entry e = {.line = 0};
    struct px_slice rest, word;
    int err = px_list_line_split(line, &rest, e.comment, ret_error);
    if (err != 0)
        return err;
    if (!px_list_line_word(&rest, &word))
        return px_list_line_bad(ret_error, "the relay is missing");
    struct px_slice url = word;
    if (take_prefix(&url, PX_RELAY_URL))
        err = parse_url(url, &e) == 0
                  ? 0
                  : px_list_line_bad(ret_error, "'%.*s' is not " PX_RELAY_URL "PEER-ID@HOST:PORT",
                                     PX_LIST_LINE_SHOWN(word));
    else
        err = px_list_line_id(word, &e.id, ret_error);
    while (err == 0 && px_list_line_word(&rest, &word))
        err = parse_option(word, &e, ret_error);
    if (err == 0 && e.addr_count == 0)
        err = px_list_line_bad(ret_error, "addr=HOST:PORT is missing");
    if (err == 0)
        memcpy(ret, &e, sizeof(e));
    return err;
}

static int put_line(const struct px_relay_entry *e, struct px_buf *line)
{
    char id[PX_PEER_ID_TEXT_MAX];
    px_peer_id_format(&e->id, id);
    if (e->addr_count == 1)
        (void)px_buf_printf(line, PX_RELAY_URL "%s@%s", id, e->addrs[0]);
    else
        (void)px_buf_put_cstr(line, id);
    for (size_t i = 0; i < e->addr_count && e->addr_count > 1; i++)
        (void)px_buf_printf(line, " addr=%s", e->addrs[i]);
    if (e->name[0] != '\0')
        (void)px_buf_printf(line, " name=%s", e->name);
    if (e->tcp != 0)
        (void)px_buf_printf(line, " tcp=%u", e->tcp);
    if (e->comment[0] != '\0')
        (void)px_buf_printf(line, " # %s", e->comment);
    return line->err == PX_ELIMIT ? PX_EPARSE : line->err;
}

static bool same(const struct px_relay_entry *a, const struct px_relay_entry *b)
{
    bool addrs = a->tcp == b->tcp && a->addr_count == b->addr_count;
    for (size_t i = 0; addrs && i < a->addr_count; i++)
        addrs = strcmp(a->addrs[i], b->addrs[i]) == 0;
    return addrs && px_peer_id_eq(&a->id, &b->id) && strcmp(a->name, b->name) == 0 &&
           strcmp(a->comment, b->comment) == 0;
}

int px_relay_entry_format(const struct px_relay_entry *e, struct px_buf *out)
{
    struct px_relay_entry back;
    struct px_auth_error error;
    struct px_buf line;
    px_buf_init(&line, PX_AUTH_LINE_MAX + 1);
    int err = put_line(e, &line);
    if (err == 0 &&
        (px_relay_entry_parse(px_buf_slice(&line), &back, &error) != 0 || !same(&back, e)))
        err = PX_EPARSE;
    if (err == 0)
        err = px_buf_put_u8(&line, '\n');
    if (err == 0)
        err = px_buf_put(out, px_buf_slice(&line));
    px_buf_deinit(&line);
    return err;
}

/* ---- the file ---- */

const char *px_relay_url_format(const struct px_peer_id *id, const char *addr, uint16_t tcp,
                                char out[PX_RELAY_URL_TEXT_MAX])
{
    char text[PX_PEER_ID_TEXT_MAX];
    int n = snprintf(out, PX_RELAY_URL_TEXT_MAX, PX_RELAY_URL "%s@%s", px_peer_id_format(id, text),
                     addr);
    if (tcp != 0 && n > 0 && (size_t)n < PX_RELAY_URL_TEXT_MAX)
        snprintf(out + n, PX_RELAY_URL_TEXT_MAX - (size_t)n, "?tcp=%u", tcp);
    return out;
}

const char *px_relay_entry_label(const struct px_relay_entry *e)
{
    return e->name[0] != '\0' ? e->name : e->addrs[0];
}

static const struct px_relay_entry *find_id(const struct px_relay_list *l,
                                            const struct px_peer_id *id)
{
    for (size_t i = 0; i < l->count; i++)
        if (px_peer_id_eq(&l->entries[i].id, id))
            return &l->entries[i];
    return NULL;
}

static const struct px_relay_entry *find_label(const struct px_relay_list *l, const char *label)
{
    for (size_t i = 0; i < l->count; i++)
        if (strcmp(px_relay_entry_label(&l->entries[i]), label) == 0)
            return &l->entries[i];
    return NULL;
}

const struct px_relay_entry *px_relay_list_find(const struct px_relay_list *l, struct px_slice word)
{
    struct px_peer_id id;
    if (px_peer_id_parse(word, &id) == 0)
        return find_id(l, &id);
    for (size_t i = 0; i < l->count; i++) {
        const struct px_relay_entry *e = &l->entries[i];
        bool hit = px_slice_eq_cstr(word, e->name) && e->name[0] != '\0';
        for (size_t a = 0; a < e->addr_count; a++)
            hit = hit || px_slice_eq_cstr(word, e->addrs[a]);
        if (hit)
            return e;
    }
    return NULL;
}

static int check_new(const struct px_relay_list *l, const struct px_relay_entry *e,
                     struct px_auth_error *error)
{
    const struct px_relay_entry *other = find_id(l, &e->id);
    if (other != NULL)
        return px_list_line_bad(error, "this relay is already in line %zu", other->line);
    other = find_label(l, px_relay_entry_label(e));
    if (other != NULL)
        return px_list_line_bad(error, "name or address '%s' is already used in line %zu",
                                px_relay_entry_label(e), other->line);
    if (l->count == PX_RELAY_LIST_MAX)
        return px_list_line_bad(error, "there are more than %d relays", PX_RELAY_LIST_MAX);
    return 0;
}

void px_relay_list_parse(struct px_slice text, struct px_relay_list *ret)
{
    struct px_slice line;
    ret->count = ret->error_count = 0;
    for (size_t number = 1; px_list_next_line(&text, &line); number++) {
        struct px_relay_entry e;
        struct px_auth_error error;
        int err = px_relay_entry_parse(line, &e, &error);
        if (err == PX_ENOENT)
            continue;
        if (err == 0)
            err = check_new(ret, &e, &error);
        if (err != 0 && ret->error_count < PX_ARRAY_LEN(ret->errors)) {
            error.line = number;
            ret->errors[ret->error_count++] = error;
        }
        if (err != 0)
            continue;
        e.line = number;
        memcpy(&ret->entries[ret->count++], &e, sizeof(e));
    }
}

/* ---- words of people ---- */

static int set_host(struct px_relay_entry *e, struct px_slice host, bool ip6, unsigned port)
{
    char text[PX_AUTH_ADDR_MAX];
    int n = snprintf(text, sizeof(text), ip6 ? "[%.*s]:%u" : "%.*s:%u", (int)host.len,
                     (const char *)host.data, port);
    return n > 0 && (size_t)n < sizeof(text) ? add_addr(e, px_slice_cstr(text)) : PX_EPARSE;
}

/* /udp/PORT[/quic-v1], or /tcp/PORT/tls, which leaves UDP its usual port. What follows stays. */
static int parse_transport(struct px_slice *rest, struct px_relay_entry *e, uint16_t *ret_udp)
{
    struct px_slice kind, port, more, after = *rest;
    if (!px_slice_split(rest, '/', &kind) || !px_slice_split(rest, '/', &port))
        return PX_EPARSE;
    *ret_udp = PX_RELAY_PORT;
    if (px_slice_eq_cstr(kind, "tcp"))
        return parse_port(port, &e->tcp) == 0 && px_slice_split(rest, '/', &more) &&
                       px_slice_eq_cstr(more, "tls")
                   ? 0
                   : PX_EPARSE;
    if (!px_slice_eq_cstr(kind, "udp") || parse_port(port, ret_udp) != 0)
        return PX_EPARSE;
    after = *rest;
    if (px_slice_split(&after, '/', &more) && px_slice_eq_cstr(more, "quic-v1"))
        *rest = after;
    return 0;
}

/* /ip4/1.2.3.4/udp/12307/quic-v1/p2p/ID */
static int parse_multiaddr(struct px_slice rest, struct px_relay_entry *e, bool *ret_has_id)
{
    struct px_slice kind, host, more;
    uint16_t udp;
    rest = px_slice_skip(rest, 1);
    if (!px_slice_split(&rest, '/', &kind) || !px_slice_split(&rest, '/', &host) ||
        parse_transport(&rest, e, &udp) != 0)
        return PX_EPARSE;
    bool ip6 = px_slice_eq_cstr(kind, "ip6");
    if (!ip6 && !px_slice_eq_cstr(kind, "ip4") && !px_slice_eq_cstr(kind, "dns") &&
        !px_slice_eq_cstr(kind, "dns4") && !px_slice_eq_cstr(kind, "dns6"))
        return PX_EPARSE;
    bool any = px_slice_split(&rest, '/', &more);
    if (any && (!px_slice_eq_cstr(more, "p2p") || !px_slice_split(&rest, '/', &more) ||
                px_peer_id_parse(more, &e->id) != 0 || rest.len > 0))
        return PX_EPARSE;
    *ret_has_id = any;
    return set_host(e, host, ip6, udp);
}

int px_relay_word_parse(struct px_slice word, struct px_relay_entry *ret, bool *ret_has_id)
{
    struct px_relay_entry e = {.line = 0};
    struct px_slice rest = word, host;
    struct px_addr ip;
    char bracketed[PX_AUTH_ADDR_MAX];
    uint16_t port;
    bool has_id = false;
    int err;
    if (take_prefix(&rest, PX_RELAY_URL)) {
        has_id = true;
        err = parse_url(rest, &e);
    } else if (word.len > 0 && word.data[0] == '/') {
        err = parse_multiaddr(word, &e, &has_id);
    } else if (px_hostport_split(word, &host, &port) == 0) {
        err = add_addr(&e, word);
    } else {
        snprintf(bracketed, sizeof(bracketed), "[%.*s]:1", (int)PX_MIN(word.len, (size_t)200),
                 (const char *)word.data);
        err = set_host(&e, word, px_addr_parse(px_slice_cstr(bracketed), &ip) == 0, PX_RELAY_PORT);
    }
    if (err != 0)
        return PX_EPARSE;
    memcpy(ret, &e, sizeof(e));
    *ret_has_id = has_id;
    return 0;
}

/* ---- edits ---- */

/* Copies the text without the lines of the relay; `instead` goes where the first one stood. */
static int rewrite(struct px_slice text, const struct px_peer_id *id, struct px_slice instead,
                   struct px_buf *out, bool *ret_found)
{
    struct px_slice line;
    bool found = false;
    while (px_list_next_line(&text, &line)) {
        struct px_relay_entry e;
        struct px_auth_error error;
        if (px_relay_entry_parse(line, &e, &error) == 0 && px_peer_id_eq(&e.id, id)) {
            if (!found)
                px_buf_put(out, instead);
            found = true;
            continue;
        }
        px_buf_put(out, line);
        px_buf_put_u8(out, '\n');
    }
    *ret_found = found;
    return out->err;
}

/* Is there room for the entry, and is its name free? */
static int check_set(struct px_slice text, const struct px_relay_entry *e)
{
    struct px_relay_list l;
    px_relay_list_parse(text, &l);
    const struct px_relay_entry *other = find_label(&l, px_relay_entry_label(e));
    if (other != NULL && !px_peer_id_eq(&other->id, &e->id))
        return PX_EEXIST;
    return l.count == PX_RELAY_LIST_MAX && find_id(&l, &e->id) == NULL ? PX_ELIMIT : 0;
}

int px_relay_text_set(struct px_slice text, const struct px_relay_entry *e, struct px_buf *out)
{
    size_t start = out->len;
    bool found = false;
    struct px_buf line;
    px_buf_init(&line, PX_AUTH_LINE_MAX + 1);
    int err = check_set(text, e);
    if (err == 0)
        err = px_relay_entry_format(e, &line);
    if (err == 0)
        err = rewrite(text, &e->id, px_buf_slice(&line), out, &found);
    if (err == 0 && !found)
        err = px_buf_put(out, px_buf_slice(&line));
    if (err != 0)
        out->len = start;
    px_buf_deinit(&line);
    return err;
}

int px_relay_text_remove(struct px_slice text, const struct px_peer_id *id, struct px_buf *out)
{
    size_t start = out->len;
    bool found;
    int err = rewrite(text, id, px_slice(NULL, 0), out, &found);
    if (err == 0 && !found)
        err = PX_ENOENT;
    if (err != 0)
        out->len = start;
    return err;
}

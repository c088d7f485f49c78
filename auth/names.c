/* The names file as a table in its own order, edits of its text, and the meaning of words. */
#include "auth/names.h"

#include <stdio.h>
#include <stdlib.h>

#include "auth/list_line.h"

struct px_names {
    struct px_name *entries;
    size_t count, cap;
    struct px_auth_error errors[PX_AUTH_ERRORS_MAX];
    size_t error_count;
};

/* ---- a line ---- */

/* A name that reads as a peer ID could never be used: the ID is what it would mean. */
static int parse_name(struct px_slice word, struct px_name *n, struct px_auth_error *e)
{
    struct px_peer_id id;
    if (!px_name_valid(word))
        return px_list_line_bad(e, "name '%.*s' is not 1 to 63 of a-z 0-9 and, inside, '-'",
                                PX_LIST_LINE_SHOWN(word));
    if (px_peer_id_parse(word, &id) != PX_EPARSE)
        return px_list_line_bad(e, "name '%.*s' is a peer ID", PX_LIST_LINE_SHOWN(word));
    memcpy(n->name, word.data, word.len);
    return 0;
}

int px_name_parse_line(struct px_slice line, struct px_name *ret, struct px_auth_error *ret_error)
{
    struct px_name n = {0};
    struct px_slice rest, word;
    int err = px_list_line_split(line, &rest, n.comment, ret_error);
    if (err == 0 && px_list_line_word(&rest, &word))
        err = parse_name(word, &n, ret_error);
    if (err == 0 && !px_list_line_word(&rest, &word))
        err = px_list_line_bad(ret_error, "the peer ID is missing");
    if (err == 0)
        err = px_list_line_id(word, &n.id, ret_error);
    if (err == 0 && px_list_line_word(&rest, &word))
        err = px_list_line_bad(ret_error, "'%.*s' is one word too many", PX_LIST_LINE_SHOWN(word));
    if (err == 0)
        memcpy(ret, &n, sizeof(n));
    return err;
}

static int put_line(const struct px_name *n, struct px_buf *line)
{
    char id[PX_PEER_ID_TEXT_MAX];
    px_buf_put(line, px_slice(n->name, strnlen(n->name, sizeof(n->name))));
    px_buf_put_u8(line, ' ');
    px_buf_put_cstr(line, px_peer_id_format(&n->id, id));
    if (n->comment[0] != '\0') {
        px_buf_put_cstr(line, " # ");
        px_buf_put(line, px_slice(n->comment, strnlen(n->comment, sizeof(n->comment))));
    }
    return line->err == PX_ELIMIT ? PX_EPARSE : line->err;
}

int px_name_format(const struct px_name *n, struct px_buf *out)
{
    struct px_name back;
    struct px_auth_error error;
    struct px_buf line;
    px_buf_init(&line, PX_AUTH_LINE_MAX + 1);
    int err = put_line(n, &line);
    if (err == 0 &&
        (px_name_parse_line(px_buf_slice(&line), &back, &error) != 0 ||
         strncmp(back.name, n->name, sizeof(back.name)) != 0 || !px_peer_id_eq(&back.id, &n->id) ||
         strncmp(back.comment, n->comment, sizeof(back.comment)) != 0))
        err = PX_EPARSE;
    if (err == 0 && px_buf_put_u8(&line, '\n') == 0)
        err = px_buf_put(out, px_buf_slice(&line));
    else if (err == 0)
        err = line.err;
    px_buf_deinit(&line);
    return err;
}

/* ---- the file ---- */

static void add_error(struct px_names *n, size_t line, const struct px_auth_error *e)
{
    if (n->error_count == PX_AUTH_ERRORS_MAX)
        return;
    struct px_auth_error *slot = &n->errors[n->error_count++];
    *slot = *e;
    slot->line = line;
    if (n->error_count == PX_AUTH_ERRORS_MAX)
        snprintf(slot->message, sizeof(slot->message), "from here on bad lines are not told apart");
}

static int append(struct px_names *n, const struct px_name *entry)
{
    if (n->count == PX_NAMES_MAX)
        return PX_ELIMIT;
    if (n->count == n->cap) {
        size_t cap = n->cap == 0 ? 16 : 2 * n->cap;
        struct px_name *grown = realloc(n->entries, cap * sizeof(*grown));
        if (grown == NULL)
            return PX_ENOMEM;
        n->entries = grown;
        n->cap = cap;
    }
    memcpy(&n->entries[n->count++], entry, sizeof(*entry));
    return 0;
}

static int add_line(struct px_names *n, struct px_slice line, size_t number)
{
    struct px_name entry;
    struct px_auth_error error;
    int err = px_name_parse_line(line, &entry, &error);
    if (err == PX_ENOENT)
        return 0;
    const struct px_name *other = err == 0 ? px_names_find(n, px_slice_cstr(entry.name)) : NULL;
    if (other != NULL)
        err = px_list_line_bad(&error, "name '%s' is already used in line %zu", entry.name,
                               other->line);
    if (err != 0) {
        add_error(n, number, &error);
        return 0;
    }
    entry.line = number;
    return append(n, &entry);
}

int px_names_parse(struct px_slice text, struct px_names **ret)
{
    struct px_slice line;
    struct px_names *n = calloc(1, sizeof(*n));
    int err = n != NULL ? 0 : PX_ENOMEM;
    for (size_t number = 1; err == 0 && px_list_next_line(&text, &line); number++)
        err = add_line(n, line, number);
    if (err != 0)
        px_names_free(n);
    else
        *ret = n;
    return err;
}

void px_names_free(struct px_names *n)
{
    if (n == NULL)
        return;
    free(n->entries);
    free(n);
}

size_t px_names_count(const struct px_names *n)
{
    return n->count;
}

const struct px_name *px_names_at(const struct px_names *n, size_t i)
{
    px_assert(i < n->count);
    return &n->entries[i];
}

const struct px_name *px_names_find(const struct px_names *n, struct px_slice name)
{
    for (size_t i = 0; i < n->count; i++)
        if (px_slice_eq_cstr(name, n->entries[i].name))
            return &n->entries[i];
    return NULL;
}

size_t px_names_error_count(const struct px_names *n)
{
    return n->error_count;
}

const struct px_auth_error *px_names_error_at(const struct px_names *n, size_t i)
{
    px_assert(i < n->error_count);
    return &n->errors[i];
}

/* ---- edits ---- */

/* Copies the text without the lines of the name; `instead` goes where the first one stood. */
static int rewrite(struct px_slice text, struct px_slice name, struct px_slice instead,
                   struct px_buf *out, bool *ret_found, size_t *ret_others)
{
    struct px_slice line;
    bool found = false;
    size_t others = 0;
    while (px_list_next_line(&text, &line)) {
        struct px_name n;
        struct px_auth_error error;
        int err = px_name_parse_line(line, &n, &error);
        if (err == 0 && px_slice_eq_cstr(name, n.name)) {
            if (!found)
                px_buf_put(out, instead);
            found = true;
            continue;
        }
        others += err == 0;
        px_buf_put(out, line);
        px_buf_put_u8(out, '\n');
    }
    *ret_found = found;
    *ret_others = others;
    return out->err;
}

int px_names_text_set(struct px_slice text, const struct px_name *n, struct px_buf *out)
{
    size_t start = out->len, others = 0;
    bool found = false;
    struct px_buf line;
    px_buf_init(&line, PX_AUTH_LINE_MAX + 1);
    int err = px_name_format(n, &line);
    if (err == 0)
        err = rewrite(text, px_slice_cstr(n->name), px_buf_slice(&line), out, &found, &others);
    if (err == 0 && !found)
        err = px_buf_put(out, px_buf_slice(&line));
    if (err == 0 && others >= PX_NAMES_MAX)
        err = PX_ELIMIT;
    if (err != 0)
        out->len = start;
    px_buf_deinit(&line);
    return err;
}

int px_names_text_remove(struct px_slice text, struct px_slice name, struct px_buf *out)
{
    size_t start = out->len, others;
    bool found;
    int err = rewrite(text, name, px_slice(NULL, 0), out, &found, &others);
    if (err == 0 && !found)
        err = PX_ENOENT;
    if (err != 0)
        out->len = start;
    return err;
}

/* ---- words for peers ---- */

const char *px_resolved_name(enum px_resolved r)
{
    switch (r) {
    case PX_RESOLVED_ID:
        return "id";
    case PX_RESOLVED_AUTHORIZED:
        return "authorized_keys";
    case PX_RESOLVED_NAME:
        return "names";
    case PX_RESOLVED_PREFIX:
        return "prefix";
    case PX_RESOLVED_NETWORK:
        return "relay";
    case PX_RESOLVED_COPY:
        break;
    }
    return "copy";
}

/* What a prefix has fitted so far. */
struct prefix {
    struct px_slice word;
    struct px_peer_id id;
    bool found, several;
};

static void offer(struct prefix *p, const struct px_peer_id *id)
{
    char text[PX_PEER_ID_TEXT_MAX];
    if (!px_slice_starts(px_slice_cstr(px_peer_id_format(id, text)), p->word))
        return;
    p->several |= p->found && !px_peer_id_eq(&p->id, id);
    p->found = true;
    p->id = *id;
}

static int resolve_prefix(const struct px_authorized_keys *keys, const struct px_names *names,
                          struct px_slice word, struct px_peer_id *ret)
{
    struct prefix p = {.word = word};
    if (word.len < PX_PEER_PREFIX_MIN)
        return PX_ENOENT;
    for (size_t i = 0; keys != NULL && i < px_authorized_keys_count(keys); i++)
        offer(&p, &px_authorized_keys_at(keys, i)->id);
    for (size_t i = 0; names != NULL && i < names->count; i++)
        offer(&p, &names->entries[i].id);
    if (!p.found || p.several)
        return p.several ? PX_EEXIST : PX_ENOENT;
    *ret = p.id;
    return 0;
}

int px_peer_resolve(const struct px_authorized_keys *keys, const struct px_names *names,
                    struct px_slice word, struct px_peer_id *ret, enum px_resolved *ret_by)
{
    struct px_peer_id id;
    const struct px_authorized_key *key;
    const struct px_name *name;
    enum px_resolved by = PX_RESOLVED_PREFIX;
    int err = 0;
    if (px_peer_id_parse(word, &id) == 0) {
        by = PX_RESOLVED_ID;
    } else if (keys != NULL && word.len > 0 &&
               (key = px_authorized_keys_by_name(keys, word)) != NULL) {
        id = key->id;
        by = PX_RESOLVED_AUTHORIZED;
    } else if (names != NULL && (name = px_names_find(names, word)) != NULL) {
        id = name->id;
        by = PX_RESOLVED_NAME;
    } else {
        err = resolve_prefix(keys, names, word, &id);
    }
    if (err != 0)
        return err;
    *ret = id;
    *ret_by = by;
    return 0;
}

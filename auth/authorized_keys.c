/* A whole authorized_keys file: the good entries with an index, the bad lines with their errors;
 * and edits of the text, which leave every other line alone. */
#include "auth/authorized_keys.h"

#include <stdio.h>
#include <stdlib.h>

#include "auth/list_line.h"

enum {
    SLOTS = 2 * PX_AUTH_ENTRIES_MAX, /* a power of two, never more than half full */
};
_Static_assert((SLOTS & (SLOTS - 1)) == 0 && PX_AUTH_ENTRIES_MAX < UINT16_MAX, "index size");

enum index_kind { BY_ID, BY_NAME, INDEX_KINDS };

struct px_authorized_keys {
    struct px_authorized_key *entries;
    size_t count, cap;
    struct px_auth_error errors[PX_AUTH_ERRORS_MAX];
    size_t error_count, bad_lines;
    uint16_t index[INDEX_KINDS][SLOTS]; /* open addressing; entry number + 1, 0 is free */
};

static struct px_slice key_of(const struct px_authorized_key *k, enum index_kind kind)
{
    return kind == BY_ID ? px_slice(k->id.key, sizeof(k->id.key)) : px_slice_cstr(k->name);
}

/* FNV-1a. Only the owner of the file could make keys collide. */
static size_t hash(struct px_slice key)
{
    uint64_t h = 0xcbf29ce484222325;
    for (size_t i = 0; i < key.len; i++)
        h = (h ^ key.data[i]) * 0x100000001b3;
    return (size_t)(h ^ h >> 32);
}

/* The slot that holds the key, or the free one where it belongs. */
static size_t find_slot(const struct px_authorized_keys *k, enum index_kind kind,
                        struct px_slice key)
{
    size_t at = hash(key) & (SLOTS - 1);
    while (k->index[kind][at] != 0 &&
           !px_slice_eq(key_of(&k->entries[k->index[kind][at] - 1], kind), key))
        at = (at + 1) & (SLOTS - 1);
    return at;
}

static const struct px_authorized_key *find(const struct px_authorized_keys *k,
                                            enum index_kind kind, struct px_slice key)
{
    uint16_t n = k->index[kind][find_slot(k, kind, key)];
    return n != 0 ? &k->entries[n - 1] : NULL;
}

static void add_error(struct px_authorized_keys *k, size_t line, const char *message)
{
    k->bad_lines++;
    if (k->error_count < PX_AUTH_ERRORS_MAX) {
        struct px_auth_error *e = &k->errors[k->error_count++];
        e->line = line;
        snprintf(e->message, sizeof(e->message), "%s", message);
    } else {
        struct px_auth_error *last = &k->errors[PX_AUTH_ERRORS_MAX - 1];
        snprintf(last->message, sizeof(last->message), "from here on %zu lines are bad",
                 k->bad_lines - PX_AUTH_ERRORS_MAX + 1);
    }
}

static int append(struct px_authorized_keys *k, const struct px_authorized_key *entry)
{
    if (k->count == PX_AUTH_ENTRIES_MAX)
        return PX_ELIMIT;
    if (k->count == k->cap) {
        size_t cap = k->cap == 0 ? 16 : 2 * k->cap;
        struct px_authorized_key *grown = realloc(k->entries, cap * sizeof(*grown));
        if (grown == NULL)
            return PX_ENOMEM;
        k->entries = grown;
        k->cap = cap;
    }
    memcpy(&k->entries[k->count++], entry, sizeof(*entry));
    uint16_t number = (uint16_t)k->count;
    k->index[BY_ID][find_slot(k, BY_ID, key_of(entry, BY_ID))] = number;
    if (entry->name[0] != '\0')
        k->index[BY_NAME][find_slot(k, BY_NAME, key_of(entry, BY_NAME))] = number;
    return 0;
}

static int add_line(struct px_authorized_keys *k, struct px_slice line, size_t number)
{
    struct px_authorized_key entry;
    struct px_auth_error error;
    const struct px_authorized_key *other;
    int err = px_authorized_key_parse_line(line, &entry, &error);
    if (err == PX_ENOENT)
        return 0;
    if (err != 0) {
        add_error(k, number, error.message);
        return 0;
    }
    if ((other = find(k, BY_ID, key_of(&entry, BY_ID))) != NULL) {
        snprintf(error.message, sizeof(error.message), "this peer is already listed in line %zu",
                 other->line);
        add_error(k, number, error.message);
        return 0;
    }
    if (entry.name[0] != '\0' && (other = find(k, BY_NAME, key_of(&entry, BY_NAME))) != NULL) {
        snprintf(error.message, sizeof(error.message), "name '%s' is already used in line %zu",
                 entry.name, other->line);
        add_error(k, number, error.message);
        return 0;
    }
    entry.line = number;
    return append(k, &entry);
}

int px_authorized_keys_parse(struct px_slice text, struct px_authorized_keys **ret)
{
    struct px_slice line;
    struct px_authorized_keys *k = calloc(1, sizeof(*k));
    if (k == NULL)
        return PX_ENOMEM;
    int err = 0;
    for (size_t number = 1; err == 0 && px_list_next_line(&text, &line); number++)
        err = add_line(k, line, number);
    if (err != 0) {
        px_authorized_keys_free(k);
        return err;
    }
    *ret = k;
    return 0;
}

void px_authorized_keys_free(struct px_authorized_keys *k)
{
    if (k == NULL)
        return;
    free(k->entries);
    free(k);
}

size_t px_authorized_keys_count(const struct px_authorized_keys *k)
{
    return k->count;
}

const struct px_authorized_key *px_authorized_keys_at(const struct px_authorized_keys *k, size_t i)
{
    px_assert(i < k->count);
    return &k->entries[i];
}

const struct px_authorized_key *px_authorized_keys_find(const struct px_authorized_keys *k,
                                                        const struct px_peer_id *id)
{
    return find(k, BY_ID, px_slice(id->key, sizeof(id->key)));
}

const struct px_authorized_key *px_authorized_keys_by_name(const struct px_authorized_keys *k,
                                                           struct px_slice name)
{
    return find(k, BY_NAME, name);
}

size_t px_authorized_keys_error_count(const struct px_authorized_keys *k)
{
    return k->error_count;
}

const struct px_auth_error *px_authorized_keys_error_at(const struct px_authorized_keys *k,
                                                        size_t i)
{
    px_assert(i < k->error_count);
    return &k->errors[i];
}

static void put_line(struct px_buf *out, struct px_slice line)
{
    px_buf_put(out, line);
    px_buf_put_u8(out, '\n');
}

/* Copies the text without the peer's lines; where the first one stood, `instead` is put. Tells
 * whether there was one, how many other entries stay, and whether one of them has `name`. */
struct rewrite {
    const struct px_peer_id *id;
    struct px_slice instead;
    const char *name;
    bool found, name_taken;
    size_t others;
};

static int rewrite_text(struct rewrite *w, struct px_slice text, struct px_buf *out)
{
    struct px_slice line;
    while (px_list_next_line(&text, &line)) {
        struct px_authorized_key k;
        struct px_auth_error error;
        int err = px_authorized_key_parse_line(line, &k, &error);
        if (err == 0 && px_peer_id_eq(&k.id, w->id)) {
            if (!w->found)
                px_buf_put(out, w->instead);
            w->found = true;
            continue;
        }
        if (err == 0) {
            w->others++;
            w->name_taken |= w->name[0] != '\0' && strcmp(k.name, w->name) == 0;
        }
        put_line(out, line);
    }
    return out->err;
}

int px_authorized_keys_text_set(struct px_slice text, const struct px_authorized_key *k,
                                struct px_buf *out)
{
    size_t start = out->len;
    struct px_buf line;
    px_buf_init(&line, PX_AUTH_LINE_MAX + 1);
    int err = px_authorized_key_format(k, &line);
    if (err == 0) {
        struct rewrite w = {.id = &k->id, .instead = px_buf_slice(&line), .name = k->name};
        err = rewrite_text(&w, text, out);
        if (err == 0 && !w.found)
            err = px_buf_put(out, w.instead);
        if (err == 0 && w.name_taken)
            err = PX_EEXIST;
        if (err == 0 && w.others >= PX_AUTH_ENTRIES_MAX)
            err = PX_ELIMIT;
    }
    if (err != 0)
        out->len = start;
    px_buf_deinit(&line);
    return err;
}

int px_authorized_keys_text_remove(struct px_slice text, const struct px_peer_id *id,
                                   struct px_buf *out)
{
    size_t start = out->len;
    struct rewrite w = {.id = id, .instead = px_slice(NULL, 0), .name = ""};
    int err = rewrite_text(&w, text, out);
    if (err == 0 && !w.found)
        err = PX_ENOENT;
    if (err != 0)
        out->len = start;
    return err;
}

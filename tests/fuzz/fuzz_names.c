/* The names file's parser and its edits on any text. Every entry is found by its name, means its
 * peer, and reads back when written; after a set the name is there and all others still are. */
#include "auth/names.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_entry(const struct px_names *names, const struct px_name *n)
{
    struct px_name back;
    struct px_auth_error error;
    struct px_peer_id id;
    enum px_resolved by;
    struct px_buf line;
    struct px_slice name = px_slice_cstr(n->name);
    px_assert(px_names_find(names, name) == n);
    px_assert(px_peer_resolve(NULL, names, name, &id, &by) == 0 && by == PX_RESOLVED_NAME);
    px_assert(px_peer_id_eq(&id, &n->id));
    px_buf_init(&line, PX_AUTH_LINE_MAX + 1);
    int err = px_name_format(n, &line);
    px_assert(err == 0 || err == PX_EPARSE); /* the canonical form of an ID may be longer */
    if (err == 0) {
        px_assert(px_name_parse_line(px_slice(line.data, line.len - 1), &back, &error) == 0);
        px_assert(px_peer_id_eq(&n->id, &back.id) && strcmp(n->name, back.name) == 0);
    }
    px_buf_deinit(&line);
}

static void check_edits(struct px_slice text, const struct px_names *names)
{
    struct px_name entry = {.name = "new-one", .id = {{1, 2, 3}}};
    struct px_names *after;
    struct px_buf set, removed;
    px_buf_init(&set, text.len + 2 * PX_AUTH_LINE_MAX);
    px_buf_init(&removed, text.len + 2 * PX_AUTH_LINE_MAX);
    px_assert(px_names_text_set(text, &entry, &set) == 0);
    px_assert(px_names_parse(px_buf_slice(&set), &after) == 0);
    px_assert(px_names_find(after, px_slice_cstr(entry.name)) != NULL);
    for (size_t i = 0; i < px_names_count(names); i++)
        px_assert(px_names_find(after, px_slice_cstr(px_names_at(names, i)->name)) != NULL);
    px_names_free(after);
    px_assert(px_names_text_remove(px_buf_slice(&set), px_slice_cstr(entry.name), &removed) == 0);
    px_assert(px_names_parse(px_buf_slice(&removed), &after) == 0);
    px_assert(px_names_find(after, px_slice_cstr(entry.name)) == NULL);
    px_names_free(after);
    px_buf_deinit(&set);
    px_buf_deinit(&removed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct px_slice text = px_slice(data, len);
    struct px_names *names;
    px_assert(px_names_parse(text, &names) == 0);
    for (size_t i = 0; i < px_names_count(names); i++)
        check_entry(names, px_names_at(names, i));
    check_edits(text, names);
    px_names_free(names);
    return 0;
}

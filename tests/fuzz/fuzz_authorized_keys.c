/* The allowlist's parser and its edits on any text. Every entry can be written and reads back;
 * after a set the peer is listed and everybody else still is; after a remove the peer is not. */
#include "auth/authorized_keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct px_authorized_keys *parse(struct px_slice text)
{
    struct px_authorized_keys *k;
    px_assert(px_authorized_keys_parse(text, &k) == 0);
    return k;
}

static void check_written(const struct px_authorized_key *k)
{
    struct px_authorized_key back;
    struct px_auth_error error;
    struct px_buf line;
    px_buf_init(&line, PX_AUTH_LINE_MAX + 1);
    /* an entry may be read from a line that is longer written out in canonical form */
    int err = px_authorized_key_format(k, &line);
    px_assert(err == 0 || err == PX_EPARSE);
    if (err == 0) {
        px_assert(memchr(line.data, '\n', line.len) == line.data + line.len - 1);
        px_assert(px_authorized_key_parse_line(px_slice(line.data, line.len - 1), &back, &error) ==
                  0);
        px_assert(px_peer_id_eq(&k->id, &back.id));
        px_assert(strcmp(k->name, back.name) == 0 && k->grants == back.grants);
    }
    px_buf_deinit(&line);
}

static void check_edits(struct px_slice text, const struct px_authorized_keys *k)
{
    struct px_authorized_key entry = {.id = {{1, 2, 3}}, .grants = PX_GRANT_CACHE};
    struct px_buf set, removed;
    px_buf_init(&set, text.len + 2 * PX_AUTH_LINE_MAX);
    px_buf_init(&removed, text.len + 2 * PX_AUTH_LINE_MAX);
    bool listed = px_authorized_keys_find(k, &entry.id) != NULL;
    px_assert(px_authorized_keys_text_set(text, &entry, &set) == 0);
    struct px_authorized_keys *after = parse(px_buf_slice(&set));
    px_assert(px_authorized_keys_find(after, &entry.id) != NULL);
    for (size_t i = 0; i < px_authorized_keys_count(k); i++)
        px_assert(px_authorized_keys_find(after, &px_authorized_keys_at(k, i)->id) != NULL);
    px_authorized_keys_free(after);
    px_assert(px_authorized_keys_text_remove(px_buf_slice(&set), &entry.id, &removed) == 0);
    after = parse(px_buf_slice(&removed));
    px_assert(px_authorized_keys_find(after, &entry.id) == NULL);
    px_assert(px_authorized_keys_count(after) + listed >= px_authorized_keys_count(k));
    px_authorized_keys_free(after);
    px_buf_deinit(&set);
    px_buf_deinit(&removed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct px_slice text = px_slice(data, len);
    struct px_authorized_keys *k = parse(text);
    for (size_t i = 0; i < px_authorized_keys_count(k); i++) {
        const struct px_authorized_key *e = px_authorized_keys_at(k, i);
        px_assert(px_authorized_keys_find(k, &e->id) == e);
        if (e->name[0] != '\0')
            px_assert(px_authorized_keys_by_name(k, px_slice_cstr(e->name)) == e);
        check_written(e);
    }
    px_assert(px_authorized_keys_error_count(k) <= PX_AUTH_ERRORS_MAX);
    check_edits(text, k);
    px_authorized_keys_free(k);
    return 0;
}

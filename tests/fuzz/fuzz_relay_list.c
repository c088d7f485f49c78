/* HOME/relays and the words people give for a relay, from any bytes. Every entry is found by its ID
 * and reads back when written; after a set the relay is there and the others still are; what a word
 * stands for can be written down. */
#include "node/relay_list.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_entry(const struct px_relay_entry *e)
{
    struct px_relay_entry back;
    struct px_auth_error error;
    struct px_buf line;
    px_assert(e->addr_count >= 1 && e->addr_count <= PX_RELAY_ADDRS_MAX);
    px_buf_init(&line, PX_AUTH_LINE_MAX + 1);
    int err = px_relay_entry_format(e, &line);
    px_assert(err == 0 || err == PX_EPARSE); /* the canonical form of an ID may be longer */
    if (err == 0) {
        px_assert(px_relay_entry_parse(px_slice(line.data, line.len - 1), &back, &error) == 0);
        px_assert(px_peer_id_eq(&e->id, &back.id) && strcmp(e->addrs[0], back.addrs[0]) == 0);
    }
    px_buf_deinit(&line);
}

static bool has(const struct px_relay_list *l, const struct px_peer_id *id)
{
    char text[PX_PEER_ID_TEXT_MAX];
    return px_relay_list_find(l, px_slice_cstr(px_peer_id_format(id, text))) != NULL;
}

static void check_edits(struct px_slice text, const struct px_relay_list *before)
{
    static const struct px_relay_entry entry = {
        .id = {{1, 2, 3}}, .name = "new-one", .addr_count = 1, .addrs = {"a.example:1"}};
    static struct px_relay_list after;
    struct px_buf set, removed;
    px_buf_init(&set, text.len + 2 * PX_AUTH_LINE_MAX);
    px_buf_init(&removed, text.len + 2 * PX_AUTH_LINE_MAX);
    int err = px_relay_text_set(text, &entry, &set);
    px_assert(err == 0 || err == PX_ELIMIT || err == PX_EEXIST);
    px_assert(err != PX_ELIMIT || before->count == PX_RELAY_LIST_MAX);
    px_assert(err == 0 || set.len == 0);
    if (err == 0) {
        px_relay_list_parse(px_buf_slice(&set), &after);
        for (size_t i = 0; i < before->count; i++)
            px_assert(has(&after, &before->entries[i].id));
        px_assert(has(&after, &entry.id));
        px_assert(px_relay_text_remove(px_buf_slice(&set), &entry.id, &removed) == 0);
        px_relay_list_parse(px_buf_slice(&removed), &after);
        px_assert(!has(&after, &entry.id));
    }
    px_buf_deinit(&set);
    px_buf_deinit(&removed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct px_relay_list list;
    struct px_slice text = px_slice(data, len);
    struct px_relay_entry e;
    bool has_id;
    px_relay_list_parse(text, &list);
    px_assert(list.count <= PX_RELAY_LIST_MAX);
    for (size_t i = 0; i < list.count; i++) {
        px_assert(has(&list, &list.entries[i].id));
        check_entry(&list.entries[i]);
    }
    check_edits(text, &list);
    if (px_relay_word_parse(text, &e, &has_id) == 0)
        check_entry(&e);
    return 0;
}

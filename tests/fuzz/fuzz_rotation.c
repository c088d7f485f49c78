/* Messages of rotation from any bytes: what reads is written as the same bytes if it has no unknown
 * keys, and always reads back as the same. The files a move rewrites: no line is lost or made. */
#include "auth/rotation.h"
#include "auth/rotation_book.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_message(struct px_slice in)
{
    struct px_rotation_message m, again;
    struct px_buf out;
    if (px_rotation_message_get(in, &m) != 0)
        return;
    px_buf_init(&out, PX_ROTATION_MESSAGE_MAX);
    px_assert(px_rotation_message_put(&m, &out) == 0);
    px_assert(px_rotation_message_get(px_buf_slice(&out), &again) == 0);
    px_assert(again.type == m.type && again.code == m.code);
    px_assert(memcmp(&again.record, &m.record, sizeof(m.record)) == 0);
    px_buf_deinit(&out);
}

/* What was moved away from a key moves back to it, and no grant is gained on the way. */
static void check_entry(struct px_slice text)
{
    struct px_authorized_keys *before, *after;
    struct px_buf out;
    if (px_authorized_keys_parse(text, &before) != 0)
        return;
    if (px_authorized_keys_count(before) == 0) {
        px_authorized_keys_free(before);
        return;
    }
    const struct px_authorized_key *k = px_authorized_keys_at(before, 0);
    const struct px_rotation_move m = {.old_id = k->id, .new_id = {{7}}};
    px_buf_init(&out, 2 * text.len + PX_AUTH_LINE_MAX);
    if (px_rotation_move_entry(text, &m, &out) == 0) {
        px_assert(px_authorized_keys_parse(px_buf_slice(&out), &after) == 0);
        px_assert(px_authorized_keys_count(after) == px_authorized_keys_count(before));
        px_assert(px_authorized_keys_find(after, &m.old_id) == NULL);
        const struct px_authorized_key *n = px_authorized_keys_find(after, &m.new_id);
        px_assert(n != NULL && n->grants == px_rotation_grants(k->grants));
        px_assert(strcmp(n->name, k->name) == 0 && n->addr_count == k->addr_count);
        px_authorized_keys_free(after);
    }
    px_buf_deinit(&out);
    px_authorized_keys_free(before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (px_crypto_init() != 0)
        return 0;
    check_message(px_slice(data, len));
    check_entry(px_slice(data, len));
    return 0;
}

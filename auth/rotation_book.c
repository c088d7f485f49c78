/* See rotation_book.h. Few records wait at any time: lists are searched from their beginning. */
#include "auth/rotation_book.h"

#include "auth/list_line.h"
#include "auth/names.h"

/* ---- records ---- */

static struct px_rotation_move *find_old(struct px_rotation_book *b,
                                         const struct px_peer_id *old_id)
{
    for (size_t i = 0; i < b->count; i++)
        if (px_peer_id_eq(&b->moves[i].old_id, old_id))
            return &b->moves[i];
    return NULL;
}

const struct px_rotation_move *px_rotation_book_by_old(const struct px_rotation_book *b,
                                                       const struct px_peer_id *old_id)
{
    for (size_t i = 0; i < b->count; i++)
        if (px_peer_id_eq(&b->moves[i].old_id, old_id))
            return &b->moves[i];
    return NULL;
}

const struct px_rotation_move *px_rotation_book_by_new(const struct px_rotation_book *b,
                                                       const struct px_peer_id *new_id)
{
    for (size_t i = 0; i < b->count; i++)
        if (px_peer_id_eq(&b->moves[i].new_id, new_id))
            return &b->moves[i];
    return NULL;
}

bool px_rotation_book_is_retired(const struct px_rotation_book *b, const struct px_peer_id *id)
{
    for (size_t i = 0; i < b->retired_count; i++)
        if (px_peer_id_eq(&b->retired[i].old_id, id))
            return true;
    return false;
}

/* SPEC rotation §2: the table, in its order, from OTHER on */
int px_rotation_book_judge(const struct px_rotation_book *b, const struct px_rotation_scene *scene,
                           const struct px_rotation *r, enum px_rotation_news *ret)
{
    const struct px_rotation_move *known = px_rotation_book_by_old(b, &r->old_id);
    const struct px_rotation_move *goal = px_rotation_book_by_new(b, &r->new_id);
    if (!px_peer_id_eq(&r->old_id, scene->sender))
        return PX_EWRONGPEER;
    if (strcmp(r->network, scene->network) != 0)
        return PX_ENETWORK;
    if (px_authorized_keys_find(scene->keys, &r->old_id) == NULL)
        return PX_EUNLISTED;
    if (px_peer_id_eq(&r->new_id, scene->self) ||
        px_authorized_keys_find(scene->keys, &r->new_id) != NULL || (goal != NULL && goal != known))
        return PX_EEXIST;
    if (px_rotation_book_is_retired(b, &r->new_id))
        return PX_EREVOKED;
    if (known == NULL && b->count == PX_ROTATIONS_MAX)
        return PX_EBUSY;
    *ret = known == NULL   ? PX_ROTATION_NEW
           : goal == known ? PX_ROTATION_KNOWN
                           : PX_ROTATION_REPLACES;
    return 0;
}

bool px_rotation_book_set(struct px_rotation_book *b, const struct px_peer_id *old_id,
                          const struct px_peer_id *new_id)
{
    struct px_rotation_move *m = find_old(b, old_id);
    if (m == NULL && b->count == PX_ROTATIONS_MAX)
        return false;
    if (m == NULL)
        m = &b->moves[b->count++];
    *m = (struct px_rotation_move){.old_id = *old_id, .new_id = *new_id};
    return true;
}

bool px_rotation_book_drop(struct px_rotation_book *b, const struct px_peer_id *old_id)
{
    struct px_rotation_move *m = find_old(b, old_id);
    if (m == NULL)
        return false;
    *m = b->moves[--b->count];
    return true;
}

void px_rotation_book_retire(struct px_rotation_book *b, const struct px_rotation_move *m,
                             int64_t at)
{
    const struct px_rotation_move done = {.old_id = m->old_id, .new_id = m->new_id, .at = at};
    (void)px_rotation_book_drop(b, &done.old_id);
    if (b->retired_count == PX_ROTATION_RETIRED_MAX)
        memmove(b->retired, b->retired + 1, --b->retired_count * sizeof(*b->retired));
    b->retired[b->retired_count++] = done;
}

enum px_rotation_fate px_rotation_fate(const struct px_rotation_move *m,
                                       const struct px_authorized_keys *keys)
{
    bool has_old = px_authorized_keys_find(keys, &m->old_id) != NULL;
    bool has_new = px_authorized_keys_find(keys, &m->new_id) != NULL;
    if (has_old && !has_new)
        return PX_ROTATION_WAITS;
    return has_new && !has_old ? PX_ROTATION_MOVED : PX_ROTATION_VOID;
}

/* ---- files ---- */

uint32_t px_rotation_grants(uint32_t grants)
{
    return grants & (PX_GRANT_CACHE | PX_GRANT_CACHE_OWN);
}

static int put_line(struct px_buf *out, struct px_slice line)
{
    (void)px_buf_put(out, line);
    return px_buf_put_u8(out, '\n');
}

/* Copies the text with `entry` in the place of its line; further lines of that peer, which counted
 * for nothing, are left out. */
static int replace_line(struct px_slice text, const struct px_authorized_key *entry,
                        const struct px_peer_id *new_id, struct px_buf *out)
{
    struct px_authorized_key moved = *entry;
    struct px_slice line;
    int err = 0;
    moved.id = *new_id;
    moved.grants = px_rotation_grants(entry->grants);
    for (size_t number = 1; err == 0 && px_list_next_line(&text, &line); number++) {
        struct px_authorized_key k;
        struct px_auth_error why;
        if (number == entry->line)
            err = px_authorized_key_format(&moved, out);
        else if (px_authorized_key_parse_line(line, &k, &why) != 0 ||
                 !px_peer_id_eq(&k.id, &entry->id))
            err = put_line(out, line);
    }
    return err;
}

int px_rotation_move_entry(struct px_slice text, const struct px_rotation_move *m,
                           struct px_buf *out)
{
    struct px_authorized_keys *keys;
    size_t start = out->len;
    int err = px_authorized_keys_parse(text, &keys);
    if (err != 0)
        return err;
    const struct px_authorized_key *entry = px_authorized_keys_find(keys, &m->old_id);
    if (entry == NULL)
        err = PX_ENOENT;
    else if (px_authorized_keys_find(keys, &m->new_id) != NULL)
        err = PX_EEXIST;
    else
        err = replace_line(text, entry, &m->new_id, out);
    px_authorized_keys_free(keys);
    if (err != 0)
        out->len = start;
    return err;
}

int px_rotation_move_names(struct px_slice text, const struct px_rotation_move *m,
                           struct px_buf *out)
{
    struct px_slice line;
    size_t start = out->len;
    bool found = false;
    int err = 0;
    while (err == 0 && px_list_next_line(&text, &line)) {
        struct px_name n;
        struct px_auth_error why;
        if (px_name_parse_line(line, &n, &why) == 0 && px_peer_id_eq(&n.id, &m->old_id)) {
            n.id = m->new_id;
            err = px_name_format(&n, out);
            found = true;
        } else {
            err = put_line(out, line);
        }
    }
    if (err == 0 && !found)
        err = PX_ENOENT;
    if (err != 0)
        out->len = start;
    return err;
}

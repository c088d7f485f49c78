/* See rotation_json.h. */
#include "node/rotation_json.h"

enum { NAMED_MAX = 5 };

static json_t *id_json(const struct px_peer_id *id)
{
    char text[PX_PEER_ID_TEXT_MAX];
    return id != NULL ? json_string(px_peer_id_format(id, text)) : json_null();
}

static const char *name_of(const struct px_rotation_view *v, const struct px_peer_id *id)
{
    const struct px_authorized_key *k = px_authorized_keys_find(v->keys, id);
    return k != NULL ? k->name : "";
}

static json_t *peers_json(const struct px_rotation_view *v)
{
    json_t *list = json_array();
    for (size_t i = 0; v->next != NULL && i < px_authorized_keys_count(v->keys); i++) {
        const struct px_authorized_key *k = px_authorized_keys_at(v->keys, i);
        if (px_peer_id_eq(&k->id, v->own))
            continue;
        struct px_rotation_peer p = v->peer(v->ctx, &k->id);
        (void)json_array_append_new(
            list, json_pack("{s:o, s:s, s:b, s:b, s:o}", "peer", id_json(&k->id), "name", k->name,
                            "acked", p.acked, "connected", p.connected, "error",
                            p.err != 0 && !p.acked ? json_string(px_errname(p.err)) : json_null()));
    }
    return list;
}

static json_t *moves_json(const struct px_rotation_view *v, const struct px_rotation_move *moves,
                          size_t count, bool done)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        const struct px_rotation_move *m = &moves[i];
        (void)json_array_append_new(list, json_pack("{s:o, s:o, s:s}", "old", id_json(&m->old_id),
                                                    "peer", id_json(&m->new_id), "name",
                                                    name_of(v, done ? &m->new_id : &m->old_id)));
    }
    return list;
}

json_t *px_rotation_json(const struct px_rotation_view *v)
{
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "state",
                     v->next != NULL ? "announced" : "none", "peer", id_json(v->own), "next",
                     id_json(v->next), "peers", peers_json(v), "waiting",
                     moves_json(v, v->book->moves, v->book->count, false), "moved",
                     moves_json(v, v->book->retired, v->book->retired_count, true));
}

size_t px_rotation_unacked(const struct px_rotation_view *v, struct px_buf *out)
{
    char text[PX_PEER_ID_TEXT_MAX];
    size_t count = 0;
    for (size_t i = 0; i < px_authorized_keys_count(v->keys); i++) {
        const struct px_authorized_key *k = px_authorized_keys_at(v->keys, i);
        if (px_peer_id_eq(&k->id, v->own) || v->peer(v->ctx, &k->id).acked || ++count > NAMED_MAX)
            continue;
        (void)px_buf_printf(out, "%s%s", count > 1 ? ", " : "",
                            k->name[0] != '\0' ? k->name : px_peer_id_format(&k->id, text));
    }
    if (count > NAMED_MAX)
        (void)px_buf_printf(out, " and %zu more", count - NAMED_MAX);
    return count;
}

/* The endpoints of rotation (docs/control-api.md). */
#include "node/control_text.h"
#include "node/rotation_internal.h"
#include "node/rotation_json.h"

static struct px_rotation_peer peer_view(void *ctx, const struct px_peer_id *id)
{
    const struct px_rotations *p = ctx;
    const struct px_rotation_told *t = px_rotation_told(p, id);
    struct px_peer_info info;
    return (struct px_rotation_peer){
        .acked = px_rotation_has_acked(p, id),
        .connected = px_peers_info(p->config.peers, id, &info) == 0 && info.link != NULL,
        .err = t != NULL ? t->err : 0,
    };
}

static struct px_rotation_view view_of(struct px_rotations *p)
{
    return (struct px_rotation_view){
        .own = &p->config.identity->id,
        .next = p->has_next ? &p->next.id : NULL,
        .keys = px_allowlist_keys(p->config.allowlist),
        .book = p->book,
        .peer = peer_view,
        .ctx = p,
    };
}

static void reply(struct px_rotations *p, struct px_control_call *call, unsigned status)
{
    struct px_rotation_view v = view_of(p);
    px_control_reply(call, status, px_rotation_json(&v));
}

static void handle_show(void *ctx, struct px_control_call *call)
{
    reply(ctx, call, 200);
}

static void handle_begin(void *ctx, struct px_control_call *call)
{
    struct px_rotations *p = ctx;
    int err = p->restart_at != 0 ? PX_EBUSY : px_rotation_tell_begin(p);
    if (err == PX_EBUSY)
        px_control_fail(call, err, "the daemon is taking up the new key; ask again soon");
    else if (err != 0 && err != PX_EEXIST)
        px_control_fail(call, err, "the new key could not be made: %s", px_strerror(err));
    else
        reply(p, call, err == 0 ? 201 : 200);
}

static void handle_abort(void *ctx, struct px_control_call *call)
{
    struct px_rotations *p = ctx;
    int err = px_rotation_tell_abort(p);
    if (err == PX_ESTATE)
        px_control_fail(call, err, "no rotation is under way");
    else if (err != 0)
        px_control_fail(call, err, "the new key could not be removed: %s", px_strerror(err));
    else
        reply(p, call, 200);
}

static void finish(struct px_rotations *p, struct px_control_call *call, struct px_buf *left)
{
    const struct px_peer_id next = p->next.id;
    char old_text[PX_PEER_ID_TEXT_MAX], new_text[PX_PEER_ID_TEXT_MAX];
    int err = px_rotation_tell_finish(p);
    if (err != 0) {
        px_control_fail(call, err, "the new key could not take the old one's place: %s",
                        px_strerror(err));
        return;
    }
    px_peer_id_format(&p->config.identity->id, old_text);
    px_peer_id_format(&next, new_text);
    px_log_event(p->config.log, PX_LOG_WARN, "rotation.finished", PX_F_STR("peer", new_text),
                 PX_F_STR("old", old_text));
    px_control_reply(call, 200,
                     json_pack("{s:s, s:s, s:s, s:s%}", "state", "finished", "peer", new_text,
                               "old", old_text, "left",
                               left->len > 0 ? (const char *)left->data : "", left->len));
}

static void handle_finish(void *ctx, struct px_control_call *call)
{
    struct px_rotations *p = ctx;
    const json_t *force = json_object_get(px_control_body(call), "force");
    struct px_rotation_view v = view_of(p);
    struct px_buf left;
    px_buf_init(&left, 1024);
    size_t count = p->has_next ? px_rotation_unacked(&v, &left) : 0;
    if (force != NULL && !json_is_boolean(force))
        px_control_fail(call, PX_EINVAL, "'force' is true or false");
    else if (!p->has_next)
        px_control_fail(call, PX_ESTATE, "no rotation is under way");
    else if (count > 0 && !json_is_true(force))
        px_control_fail(call, PX_EUNACKED,
                        "these peers do not know the new key yet: %.*s; wait until they have been "
                        "connected, or force it and pair them anew",
                        (int)left.len, (const char *)left.data);
    else
        finish(p, call, &left);
    px_buf_deinit(&left);
}

static int rotation_text(const json_t *reply_json, struct px_buf *out)
{
    static const struct px_control_column columns[] = {
        {"PEER", "peer"}, {"NAME", "name"}, {"ACKED", "acked"}, {"CONNECTED", "connected"}};
    const char *next = json_string_value(json_object_get(reply_json, "next"));
    (void)px_buf_printf(out, "state: %s\npeer: %s\nnext: %s\n",
                        json_string_value(json_object_get(reply_json, "state")),
                        json_string_value(json_object_get(reply_json, "peer")),
                        next != NULL ? next : "-");
    const json_t *peers = json_object_get(reply_json, "peers");
    return json_array_size(peers) == 0
               ? out->err
               : px_control_put_table(out, peers, columns, PX_ARRAY_LEN(columns));
}

static const struct px_control_route routes[] = {
    {"GET", "/v1/rotation", handle_show, rotation_text, "a change of this node's or a peer's key"},
    {"POST", "/v1/rotation", handle_begin, rotation_text, "make a new key and tell the peers"},
    {"POST", "/v1/rotation/finish", handle_finish, NULL, "take up the new key"},
    {"DELETE", "/v1/rotation", handle_abort, rotation_text, "keep the old key"},
};

int px_rotation_control_routes(struct px_rotations *p)
{
    return px_control_add(p->config.control, routes, PX_ARRAY_LEN(routes), p);
}

/* GET /v1/peers and /v1/peers/{peer}, POST …/connect and …/disconnect, GET /v1/resolve/{name}. */
#include <stdlib.h>

#include "node/control_node.h"
#include "node/control_text.h"

static int no_such_peer(struct px_control_call *call, int err)
{
    if (err == PX_ENOENT)
        px_control_fail(call, err, "the peer is not listed; `peerix auth add` lists it");
    else if (err != 0)
        px_control_fail(call, err, "%s", px_strerror(err));
    return err;
}

/* --- looking --- */

struct listing {
    const struct px_control_node *node;
    json_t *list;
};

static void add_peer(void *ctx, const struct px_peer_info *info)
{
    const struct listing *l = ctx;
    (void)json_array_append_new(l->list, px_control_peer_json(l->node, info));
}

static void handle_peers(void *ctx, struct px_control_call *call)
{
    const struct px_control_node *n = ctx;
    if (!px_control_has_peers(n, call))
        return;
    struct listing l = {n, json_array()};
    px_peers_each(n->peers, add_peer, &l);
    px_control_reply(call, 200, json_pack("{s:o}", "peers", l.list));
}

static int text_peers(const json_t *reply, struct px_buf *out)
{
    static const struct px_control_column columns[] = {{"PEER", "peer"},
                                                       {"NAME", "name"},
                                                       {"STATE", "state"},
                                                       {"PATH", "connection.path"},
                                                       {"REMOTE", "connection.remote"},
                                                       {"RTT", "connection.rtt"},
                                                       {"GRANTS", "grants"},
                                                       {"AGENT", "agent"},
                                                       {"LAST ERROR", "last_error"}};
    return px_control_put_table(out, json_object_get(reply, "peers"), columns,
                                PX_ARRAY_LEN(columns));
}

static void reply_peer(const struct px_control_node *n, struct px_control_call *call,
                       const struct px_peer_id *id)
{
    struct px_peer_info info;
    if (no_such_peer(call, px_peers_info(n->peers, id, &info)) == 0)
        px_control_reply(call, 200, px_control_peer_json(n, &info));
}

static void handle_peer(void *ctx, struct px_control_call *call)
{
    const struct px_control_node *n = ctx;
    struct px_peer_id id;
    if (px_control_has_peers(n, call) && px_control_take_peer(n, call, "peer", &id))
        reply_peer(n, call, &id);
}

static const char *listed_name(const struct px_control_node *n, const struct px_peer_id *id)
{
    const struct px_authorized_key *k =
        n->allowlist != NULL ? px_authorized_keys_find(px_allowlist_keys(n->allowlist), id) : NULL;
    return k != NULL ? k->name : "";
}

static void handle_resolve(void *ctx, struct px_control_call *call)
{
    const struct px_control_node *n = ctx;
    struct px_peer_id id;
    enum px_resolved by;
    const char *word = px_control_param(call, "name");
    int err = px_control_resolve(n, word, &id, &by);
    if (err == 0)
        px_control_reply(call, 200,
                         json_pack("{s:o, s:s, s:s}", "peer", px_control_id_json(&id), "from",
                                   px_resolved_name(by), "name", listed_name(n, &id)));
    else if (err == PX_EEXIST)
        px_control_fail(call, PX_EINVAL,
                        "'%s' is the beginning of several peer IDs; give more of it", word);
    else
        px_control_fail(call, err, "nothing known is called '%s'; `peerix name list` shows names",
                        word);
}

/* --- steering --- */

/* A dial somebody waits for. It outlives the call when the caller goes away. */
struct dial {
    struct px_control_node *n;
    struct px_control_call *call; /* NULL once it is gone */
    struct px_peer_id id;
};

static void on_caller_gone(void *ctx)
{
    struct dial *d = ctx;
    d->call = NULL;
}

static void on_dialled(void *ctx, int err)
{
    struct dial *d = ctx;
    if (d->call != NULL && err == 0)
        reply_peer(d->n, d->call, &d->id);
    else if (d->call != NULL)
        px_control_fail(d->call, err, "cannot connect: %s", px_strerror(err));
    free(d);
}

/* False after the call has been answered. */
static bool take_addr(struct px_control_call *call, const char **ret)
{
    const json_t *body = px_control_body(call);
    const json_t *addr = json_object_get(body, "addr");
    *ret = json_string_value(addr);
    if ((addr == NULL || json_is_string(addr)) && json_object_size(body) == (addr != NULL))
        return true;
    px_control_fail(call, PX_EINVAL, "the body is {\"addr\": \"HOST:PORT\"} or nothing");
    return false;
}

static void handle_connect(void *ctx, struct px_control_call *call)
{
    struct px_control_node *n = ctx;
    struct px_peer_id id;
    const char *addr;
    if (!px_control_has_peers(n, call) || !take_addr(call, &addr) ||
        !px_control_take_peer(n, call, "peer", &id))
        return;
    struct dial *d = calloc(1, sizeof(*d));
    if (d == NULL) {
        px_control_fail(call, PX_ENOMEM, "%s", px_strerror(PX_ENOMEM));
        return;
    }
    *d = (struct dial){n, call, id};
    px_control_on_gone(call, on_caller_gone, d);
    int err = px_peers_connect(n->peers, &id, addr, on_dialled, d);
    if (err == 0)
        return;
    free(d);
    px_control_on_gone(call, NULL, NULL);
    if (err == PX_EOFFLINE)
        px_control_fail(call, err,
                        "no address of the peer is known; give one with "
                        "{\"addr\": \"HOST:PORT\"}");
    else if (err == PX_EADDR)
        px_control_fail(call, err,
                        "the address is not HOST:PORT or [IPv6]:PORT, or the mode does "
                        "not allow it");
    else
        (void)no_such_peer(call, err);
}

static void handle_disconnect(void *ctx, struct px_control_call *call)
{
    const struct px_control_node *n = ctx;
    struct px_peer_id id;
    if (!px_control_has_peers(n, call) || !px_control_take_peer(n, call, "peer", &id))
        return;
    if (no_such_peer(call, px_peers_disconnect(n->peers, &id)) == 0)
        reply_peer(n, call, &id);
}

static const struct px_control_route routes[] = {
    {"GET", "/v1/peers", handle_peers, text_peers, "who is listed or connected"},
    {"GET", "/v1/peers/{peer}", handle_peer, NULL, "all about one peer"},
    {"POST", "/v1/peers/{peer}/connect", handle_connect, NULL, "dial a peer now"},
    {"POST", "/v1/peers/{peer}/disconnect", handle_disconnect, NULL,
     "hang up, and do not dial again by itself"},
    {"GET", "/v1/resolve/{name}", handle_resolve, NULL, "whom a name, ID or its beginning means"},
};
const struct px_control_table px_control_peers_table = {routes, PX_ARRAY_LEN(routes)};

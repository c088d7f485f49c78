/* GET /v1/services: what this node serves, and to whom. */
#include "node/control_node.h"
#include "node/control_text.h"

struct listing {
    json_t *peers;
    uint32_t grants; /* of the service */
};

static void add_peer(void *ctx, const struct px_peer_info *i)
{
    struct listing *l = ctx;
    if ((i->grants & l->grants) == 0)
        return;
    (void)json_array_append_new(
        l->peers, json_pack("{s:o, s:s, s:o, s:b}", "peer", px_control_id_json(&i->id), "name",
                            i->name, "grants", px_control_grants_json(i->grants & l->grants),
                            "connected", i->state == PX_PEER_CONNECTED));
}

static json_t *service_json(const struct px_control_node *n, const char *name, const char *summary,
                            uint32_t grants)
{
    struct listing l = {json_array(), grants};
    px_peers_each(n->peers, add_peer, &l);
    return json_pack("{s:s, s:s, s:o, s:o}", "service", name, "summary", summary, "grants",
                     px_control_grants_json(grants), "peers", l.peers);
}

static void handle_services(void *ctx, struct px_control_call *call)
{
    const struct px_control_node *n = ctx;
    if (!px_control_has_peers(n, call))
        return;
    json_t *list = json_array();
    (void)json_array_append_new(list, service_json(n, "nix-cache", "paths of this machine's store",
                                                   PX_GRANT_CACHE | PX_GRANT_CACHE_OWN));
    px_control_reply(call, 200, json_pack("{s:o}", "services", list));
}

static int text_services(const json_t *reply, struct px_buf *out)
{
    static const struct px_control_column columns[] = {
        {"PEER", "peer"}, {"NAME", "name"}, {"GRANTS", "grants"}, {"CONNECTED", "connected"}};
    size_t i;
    json_t *service;
    json_array_foreach(json_object_get(reply, "services"), i, service)
    {
        (void)px_control_put_value(out, json_object_get(service, "service"));
        (void)px_buf_put_cstr(out, ": ");
        (void)px_control_put_value(out, json_object_get(service, "summary"));
        (void)px_buf_put_cstr(out, "; served to:\n");
        (void)px_control_put_table(out, json_object_get(service, "peers"), columns,
                                   PX_ARRAY_LEN(columns));
    }
    return out->err;
}

static const struct px_control_route routes[] = {
    {"GET", "/v1/services", handle_services, text_services, "what is served, and to whom"},
};
const struct px_control_table px_control_services_table = {routes, PX_ARRAY_LEN(routes)};

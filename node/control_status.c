/* GET /v1/status and POST /v1/shutdown. */
#include <unistd.h>

#include "node/control_node.h"
#include "node/control_text.h"
#include "node/nix/store.h"

static json_t *listed_count(const struct px_control_node *n)
{
    return json_integer(n->allowlist == NULL ? 0
                                             : (json_int_t)px_authorized_keys_count(
                                                   px_allowlist_keys(n->allowlist)));
}

static void count_connected(void *ctx, const struct px_peer_info *info)
{
    json_int_t *count = ctx;
    *count += info->state == PX_PEER_CONNECTED;
}

static json_t *peers_json(const struct px_control_node *n)
{
    json_int_t connected = 0;
    if (n->peers != NULL)
        px_peers_each(n->peers, count_connected, &connected);
    return json_pack("{s:o, s:I}", "listed", listed_count(n), "connected", connected);
}

static json_t *substituter_json(const struct px_control_node *n)
{
    struct px_substituter_stats s = {0};
    if (n->substituter != NULL)
        px_substituter_stats(n->substituter, &s);
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "narinfo_hits", (json_int_t)s.narinfo_hits,
                     "narinfo_misses", (json_int_t)s.narinfo_misses, "narinfo_rejected",
                     (json_int_t)s.narinfo_rejected, "nars", (json_int_t)s.nars, "nar_bytes",
                     (json_int_t)s.nar_bytes, "nars_cut", (json_int_t)s.nar_cut);
}

static json_t *listen_json(const struct px_control_node *n)
{
    char text[PX_ADDR_TEXT_MAX];
    json_t *list = json_array();
    if (n->peers != NULL)
        (void)json_array_append_new(list,
                                    json_string(px_addr_format(px_peers_local(n->peers), text)));
    return list;
}

static json_t *http_json(const struct px_control_node *n)
{
    char text[PX_ADDR_TEXT_MAX];
    return n->substituter == NULL
               ? json_null()
               : json_string(px_addr_format(px_substituter_local(n->substituter), text));
}

static void handle_status(void *ctx, struct px_control_call *call)
{
    const struct px_control_node *n = ctx;
    char id[PX_PEER_ID_TEXT_MAX];
    json_t *reply =
        json_pack("{s:s, s:s, s:s, s:i, s:f, s:s}", "peer", px_peer_id_format(&n->identity->id, id),
                  "version", PX_VERSION, "agent", "peerix/" PX_VERSION, "pid", (int)getpid(),
                  "uptime", (double)(px_now_io() - n->started) / (double)PX_SEC, "state",
                  n->stopping ? "stopping" : "running");
    if (reply != NULL)
        (void)json_object_update_new(
            reply, json_pack("{s:s, s:o, s:o, s:s, s:{s:s, s:s, s:s}}", "network",
                             n->config->network, "listen", listen_json(n), "http", http_json(n),
                             "store", n->store != NULL ? px_store_describe(n->store) : "", "home",
                             "config", n->home->config_dir, "state", n->home->state_dir, "socket",
                             px_control_path(n->control)));
    if (reply != NULL)
        (void)json_object_update_new(reply, json_pack("{s:o, s:o}", "peers", peers_json(n),
                                                      "substituter", substituter_json(n)));
    px_control_reply(call, 200, reply);
}

/* The answer is on its way before anything ends: the control API is among the last to go. */
static void handle_shutdown(void *ctx, struct px_control_call *call)
{
    struct px_control_node *n = ctx;
    px_control_reply(call, 202, json_pack("{s:s, s:i}", "state", "stopping", "pid", (int)getpid()));
    n->stop(n->ctx);
}

static const struct px_control_route routes[] = {
    {"GET", "/v1/status", handle_status, NULL, "what this daemon is and does"},
    {"POST", "/v1/shutdown", handle_shutdown, NULL, "finish what is under way, then end"},
};
const struct px_control_table px_control_status_table = {routes, PX_ARRAY_LEN(routes)};

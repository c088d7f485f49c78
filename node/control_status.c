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

struct census {
    json_int_t states[PX_PEER_HELD + 1];
};

static void count_peer(void *ctx, const struct px_peer_info *i)
{
    struct census *c = ctx;
    c->states[i->state]++;
}

static json_t *peers_json(const struct px_control_node *n)
{
    struct census c = {0};
    json_t *counts = json_pack("{s:o}", "listed", listed_count(n));
    if (n->peers != NULL)
        px_peers_each(n->peers, count_peer, &c);
    for (size_t s = 0; s < PX_ARRAY_LEN(c.states); s++)
        (void)json_object_set_new(counts, px_peer_state_name((enum px_peer_state)s),
                                  json_integer(c.states[s]));
    return counts;
}

struct relay_census {
    json_int_t listed, reserved, circuits;
};

static void count_relay(void *ctx, const struct px_relay_info *i)
{
    struct relay_census *c = ctx;
    c->listed++;
    c->reserved += i->reserved;
    c->circuits += (json_int_t)i->circuits;
}

static json_t *relays_json(const struct px_control_node *n)
{
    struct relay_census c = {0};
    if (n->relays != NULL)
        px_relays_each(n->relays, count_relay, &c);
    return json_pack("{s:I, s:I, s:I}", "listed", c.listed, "reserved", c.reserved, "circuits",
                     c.circuits);
}

static json_t *cache_json(const struct px_control_node *n)
{
    struct px_cache_service_stats s = {0};
    if (n->service != NULL)
        px_cache_service_stats(n->service, &s);
    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "narinfos", (json_int_t)s.narinfos, "unknown",
                     (json_int_t)s.unknown, "busy", (json_int_t)s.busy, "nars", (json_int_t)s.nars,
                     "nars_cut", (json_int_t)s.nars_cut);
}

static void add_counter(void *ctx, enum px_source source, const char *name, uint64_t value)
{
    json_t *all = ctx, *one = json_object_get(all, px_source_name(source));
    if (one == NULL) {
        one = json_object();
        (void)json_object_set_new(all, px_source_name(source), one);
    }
    (void)json_object_set_new(one, name, json_integer((json_int_t)value));
}

static json_t *discovery_json(const struct px_control_node *n)
{
    json_t *all = json_object();
    if (n->discoveries != NULL)
        px_discoveries_stats(n->discoveries, add_counter, all);
    return all;
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
    json_t *setup = json_pack(
        "{s:s, s:s, s:o, s:o, s:s, s:{s:s, s:s, s:s}}", "network", n->config->network, "mode",
        n->config->mode, "listen", listen_json(n), "http", http_json(n), "store",
        n->store != NULL ? px_store_describe(n->store) : "", "home", "config", n->home->config_dir,
        "state", n->home->state_dir, "socket", px_control_path(n->control));
    json_t *counts =
        json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "peers", peers_json(n), "relays",
                  relays_json(n), "reachability", px_control_reach_json(n), "substituter",
                  substituter_json(n), "cache", cache_json(n), "discovery", discovery_json(n));
    if (reply == NULL || json_object_update_new(reply, setup) != 0 ||
        json_object_update_new(reply, counts) != 0) {
        json_decref(reply);
        reply = NULL;
    }
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

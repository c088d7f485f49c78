/* GET /v1/relays: the relays of HOME/relays, and how the daemon stands with each. */
#include "node/control_node.h"
#include "node/control_text.h"
#include "node/relays.h"

static void add_relay(void *ctx, const struct px_relay_info *i)
{
    char observed[PX_ADDR_TEXT_MAX];
    bool seen = i->state == PX_RELAY_UP && i->observed.family != PX_ADDR_NONE;
    (void)json_array_append_new(
        ctx,
        json_pack("{s:o, s:s, s:s, s:s, s:s?, s:b, s:s?, s:s?, s:o, s:o, s:I, s:o}", "peer",
                  px_control_id_json(&i->id), "name", i->label, "address", i->addr, "state",
                  px_relay_state_name(i->state), "transport",
                  i->state != PX_RELAY_UP ? NULL
                  : i->tcp                ? "tcp"
                                          : "udp",
                  "reserved", i->reserved, "class",
                  i->reserved ? px_relay_class_name(i->class) : NULL, "observed",
                  seen ? px_addr_format(&i->observed, observed) : NULL, "rtt",
                  px_control_seconds_json(i->rtt != 0 ? i->rtt : PX_NEVER), "next_dial",
                  px_control_seconds_json(i->next_dial), "circuits", (json_int_t)i->circuits,
                  "last_error", px_control_error_json(i->state == PX_RELAY_UP ? 0 : i->last_err)));
}

json_t *px_control_relays_json(const struct px_control_node *n)
{
    json_t *list = json_array();
    if (n->relays != NULL)
        px_relays_each(n->relays, add_relay, list);
    return list;
}

static void handle_relays(void *ctx, struct px_control_call *call)
{
    px_control_reply(call, 200, json_pack("{s:o}", "relays", px_control_relays_json(ctx)));
}

static int text_relays(const json_t *reply, struct px_buf *out)
{
    static const struct px_control_column columns[] = {
        {"RELAY", "peer"},           {"NAME", "name"},         {"ADDRESS", "address"},
        {"STATE", "state"},          {"RESERVED", "reserved"}, {"CLASS", "class"},
        {"OBSERVED", "observed"},    {"RTT", "rtt"},           {"CIRCUITS", "circuits"},
        {"LAST ERROR", "last_error"}};
    return px_control_put_table(out, json_object_get(reply, "relays"), columns,
                                PX_ARRAY_LEN(columns));
}

static const struct px_control_route routes[] = {
    {"GET", "/v1/relays", handle_relays, text_relays, "the relays this node uses"},
};
const struct px_control_table px_control_relays_table = {routes, PX_ARRAY_LEN(routes)};

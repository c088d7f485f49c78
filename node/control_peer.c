/* One peer: found by the word of a request, and as JSON. */
#include <inttypes.h>

#include "auth/names_io.h"
#include "node/control_node.h"
#include "node/control_request.h"

/* --- finding --- */

static int load_names(const struct px_control_node *n, struct px_names **ret)
{
    char path[PX_HOME_FILE_MAX];
    return px_names_load(px_home_config_path(n->home, PX_HOME_NAMES, path), ret);
}

int px_control_resolve(const struct px_control_node *n, const char *word, struct px_peer_id *ret,
                       enum px_resolved *ret_by)
{
    struct px_names *names = NULL;
    int err = load_names(n, &names);
    if (err != 0) /* an unreadable file of names must not hide who is listed */
        px_log_event(n->log, PX_LOG_WARN, "names.unreadable", PX_F_ERR(err));
    err = px_peer_resolve(n->allowlist != NULL ? px_allowlist_keys(n->allowlist) : NULL, names,
                          px_slice_cstr(word), ret, ret_by);
    px_names_free(names);
    return err;
}

bool px_control_take_peer(const struct px_control_node *n, struct px_control_call *call,
                          const char *param, struct px_peer_id *ret)
{
    enum px_resolved by;
    const char *word = px_control_param(call, param);
    int err = px_control_resolve(n, word, ret, &by);
    if (err == PX_EEXIST)
        px_control_fail(call, PX_EINVAL,
                        "'%s' is the beginning of several peer IDs; give more of it", word);
    else if (err == PX_ENOENT)
        px_control_fail(call, err, "there is no peer '%s'; `peerix peers` lists them", word);
    else if (err != 0)
        px_control_fail(call, err, "%s", px_strerror(err));
    return err == 0;
}

bool px_control_has_peers(const struct px_control_node *n, struct px_control_call *call)
{
    if (n->peers == NULL)
        px_control_fail(call, PX_ECANCELED, "the daemon is stopping");
    return n->peers != NULL;
}

/* --- queries --- */

bool px_control_take_seconds(struct px_control_call *call, const char *name, px_nsec min,
                             px_nsec max, px_nsec *ret)
{
    px_nsec value;
    const char *text = px_control_query(call, name);
    if (text == NULL)
        return true;
    if (px_control_seconds_parse(px_slice_cstr(text), &value) == 0 && value >= min &&
        value <= max) {
        *ret = value;
        return true;
    }
    px_control_fail(call, PX_EINVAL, "%s is a duration of %.3g..%.3g seconds, such as 0.5 or 200ms",
                    name, (double)min / (double)PX_SEC, (double)max / (double)PX_SEC);
    return false;
}

bool px_control_take_count(struct px_control_call *call, const char *name, uint64_t max,
                           uint64_t *ret)
{
    uint64_t value;
    const char *text = px_control_query(call, name);
    if (text == NULL)
        return true;
    if (px_slice_parse_u64(px_slice_cstr(text), &value) == 0 && value <= max) {
        *ret = value;
        return true;
    }
    px_control_fail(call, PX_EINVAL, "%s is a number of 0..%" PRIu64, name, max);
    return false;
}

/* --- JSON --- */

json_t *px_control_seconds_json(px_nsec t)
{
    return t == PX_NEVER ? json_null() : json_real((double)t / (double)PX_SEC);
}

json_t *px_control_error_json(int err)
{
    return err == 0 ? json_null() : json_string(px_errname(err));
}

static bool has_link(const struct px_peer_info *i)
{
    return i->state == PX_PEER_CONNECTED || i->state == PX_PEER_GUEST;
}

static json_t *connection_json(const struct px_peer_info *i)
{
    char local[PX_ADDR_TEXT_MAX], remote[PX_ADDR_TEXT_MAX];
    if (!has_link(i))
        return json_null();
    return json_pack(
        "{s:s, s:s?, s:s, s:s, s:b, s:o, s:o, s:I, s:I, s:I, s:I}", "path",
        i->relayed ? "RELAYED" : "DIRECT", "relay", i->relayed ? i->relay.name : NULL, "local",
        px_addr_format(&i->path.local, local), "remote", px_addr_format(&i->path.remote, remote),
        "dialled_by_us", i->dialled_by_us, "since", px_control_seconds_json(i->connected_for),
        "rtt", px_control_seconds_json(i->stats.rtt_ns == 0 ? PX_NEVER : i->stats.rtt_ns),
        "bytes_sent", (json_int_t)i->stats.bytes_sent, "bytes_received",
        (json_int_t)i->stats.bytes_received, "packets_lost", (json_int_t)i->stats.packets_lost,
        "packet_max", (json_int_t)i->stats.max_udp_payload);
}

static json_t *addresses_json(const struct px_peer_info *i)
{
    json_t *list = json_array();
    for (size_t a = 0; a < i->addr_count; a++) {
        const struct px_peer_addr *at = &i->addrs[a];
        (void)json_array_append_new(list,
                                    json_pack("{s:s, s:s, s:o, s:o}", "address", at->text, "source",
                                              px_source_name(at->source), "last_good",
                                              px_control_seconds_json(at->last_good), "last_error",
                                              px_control_error_json(at->last_err)));
    }
    return list;
}

static json_t *total_json(uint64_t confirmed, uint64_t total)
{
    return json_pack("{s:I, s:I}", "confirmed", (json_int_t)confirmed, "unconfirmed",
                     (json_int_t)(total - PX_MIN(confirmed, total)));
}

/* What relays say; null while none has said anything. */
static json_t *transfers_json(const struct px_control_node *n, const struct px_peer_id *id)
{
    uint64_t t[PX_RELAY_TOTALS_LEN];
    if (n->relays == NULL || !px_relays_totals(n->relays, id, t))
        return json_null();
    return json_pack("{s:o, s:o}", "sent",
                     total_json(t[PX_RELAY_SENT_CONFIRMED], t[PX_RELAY_SENT_TOTAL]), "received",
                     total_json(t[PX_RELAY_RECEIVED_CONFIRMED], t[PX_RELAY_RECEIVED_TOTAL]));
}

/* What this node has seen for itself; null when that is nothing. */
static json_t *history_json(const struct px_control_node *n, const struct px_peer_id *id)
{
    struct px_history_record r;
    if (n->history == NULL || !px_peer_history_get(n->history, id, px_now_io(), &r))
        return json_null();
    json_t *failures = json_object();
    for (int f = 0; f < PX_HISTORY_FAULTS; f++)
        (void)json_object_set_new(failures, px_history_fault_name((enum px_history_fault)f),
                                  json_integer((json_int_t)r.faults[f]));
    return json_pack("{s:I, s:I, s:o, s:f, s:b}", "bytes", (json_int_t)r.bytes, "nars",
                     (json_int_t)r.nars, "failures", failures, "demerits",
                     (double)r.demerits / 1000, "bad", r.demerits / 1000 >= PX_CACHE_PEER_BAD);
}

json_t *px_control_peer_json(const struct px_control_node *n, const struct px_peer_info *i)
{
    bool connected = has_link(i);
    return json_pack("{s:o, s:s, s:b, s:o, s:s, s:s?, s:o, s:o, s:I, s:o, s:o, s:o, s:o}", "peer",
                     px_control_id_json(&i->id), "name", i->name, "listed", i->listed, "grants",
                     px_control_grants_json(i->grants), "state", px_peer_state_name(i->state),
                     "agent", connected ? i->agent : NULL, "connection", connection_json(i),
                     "next_dial", connected ? json_null() : px_control_seconds_json(i->next_dial),
                     "failures", (json_int_t)i->failures, "last_error",
                     px_control_error_json(i->last_err), "addresses", addresses_json(i),
                     "transfers", transfers_json(n, &i->id), "history", history_json(n, &i->id));
}

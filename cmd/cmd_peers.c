/* peerix peers [PEER]: who is listed or connected, or all about one of them. */
#include <inttypes.h>
#include <stdarg.h>

#include "cmd/control_client.h"
#include "cmd/json.h"
#include "cmd/table.h"
#include "cmd/units.h"

/* Of a peer ID in a table: what px_peer_resolve takes for the peer, with room to tell two apart. */
enum { SHORT_ID = PX_PEER_PREFIX_MIN + 4 };

static const char *state_color(const char *state)
{
    struct px_cli_style style = px_cli_style(stdout);
    if (strcmp(state, "connected") == 0)
        return style.green;
    return strcmp(state, "connecting") == 0 || strcmp(state, "guest") == 0 ? style.yellow
                                                                           : style.dim;
}

static const char *short_time(const json_t *o, const char *path, char out[PX_UNITS_MAX])
{
    px_nsec t = px_json_seconds(o, path);
    return t != PX_NEVER ? px_units_short(t, out) : "";
}

static const char *error_text(const json_t *o)
{
    const char *name = px_json_text(o, "last_error");
    return name[0] != '\0' ? px_control_error_text(name) : "";
}

/* ---- all ---- */

static void put_path(struct px_table *t, const json_t *p)
{
    char text[512];
    const char *relay = px_json_text(p, "connection.relay");
    snprintf(text, sizeof(text), "%s%s %s", px_json_text(p, "connection.path"),
             relay[0] != '\0' ? " via" : "",
             relay[0] != '\0' ? relay : px_json_text(p, "connection.remote"));
    px_table_put(t, json_is_object(px_json_at(p, "connection")) ? text : "");
}

static void put_bytes(struct px_table *t, const json_t *p, const char *path)
{
    char text[PX_UNITS_MAX];
    px_table_put(t,
                 px_json_at(p, path) != NULL ? px_units_bytes(px_json_count(p, path), text) : "");
}

static bool is_known(const json_t *p, const char *path)
{
    return json_is_object(px_json_at(p, path));
}

/* "12 MiB", or "12 MiB + 3 MiB unconfirmed". */
static const char *total_text(const json_t *p, const char *path, char out[2 * PX_UNITS_MAX + 16])
{
    char confirmed[PX_UNITS_MAX], rest[PX_UNITS_MAX], at[64];
    out[0] = '\0';
    if (!is_known(p, "transfers"))
        return out;
    snprintf(at, sizeof(at), "%s.confirmed", path);
    px_units_bytes(px_json_count(p, at), confirmed);
    snprintf(at, sizeof(at), "%s.unconfirmed", path);
    uint64_t open = px_json_count(p, at);
    snprintf(out, 2 * PX_UNITS_MAX + 16, "%s%s%s%s", confirmed, open > 0 ? " + " : "",
             open > 0 ? px_units_bytes(open, rest) : "", open > 0 ? " unconfirmed" : "");
    return out;
}

static void put_accounts(struct px_table *t, const json_t *p)
{
    char text[2 * PX_UNITS_MAX + 16];
    struct px_cli_style style = px_cli_style(stdout);
    bool bad = px_json_true(p, "history.bad");
    px_table_put(t, total_text(p, "transfers.sent", text));
    px_table_put(t, total_text(p, "transfers.received", text));
    px_table_put_colored(t, bad ? style.yellow : "",
                         bad                      ? "bad"
                         : is_known(p, "history") ? "good"
                                                  : "");
}

static void put_row(struct px_table *t, const json_t *p, bool full)
{
    char id[PX_PEER_ID_TEXT_MAX], rtt[PX_UNITS_MAX];
    const char *state = px_json_text(p, "state");
    snprintf(id, sizeof(id), "%.*s", full ? (int)sizeof(id) - 1 : (int)SHORT_ID,
             px_json_text(p, "peer"));
    px_table_put(t, px_json_text(p, "name"));
    px_table_put(t, id);
    px_table_put_colored(t, state_color(state), state);
    put_path(t, p);
    px_table_put(t, short_time(p, "connection.rtt", rtt));
    put_bytes(t, p, "connection.bytes_sent");
    put_bytes(t, p, "connection.bytes_received");
    put_accounts(t, p);
    px_table_put(t, px_json_text(p, "agent"));
    px_table_put(t, strcmp(state, "connected") == 0 ? "" : error_text(p));
}

static int print_all(const struct px_cli *cli, const json_t *answer)
{
    static const struct px_column columns[] = {
        {"NAME", false},         {"PEER", false},    {"STATE", false},   {"PATH", false},
        {"RTT", true},           {"SENT", true},     {"RECEIVED", true}, {"NARS SENT", true},
        {"NARS RECEIVED", true}, {"HISTORY", false}, {"AGENT", false},   {"LAST ERROR", false},
    };
    const json_t *peers = px_json_at(answer, "peers");
    struct px_table t;
    if (json_array_size(peers) == 0) {
        fputs("no peer is listed yet; see `peerix invite`, or `peerix auth add --help`\n", stderr);
        return PX_EXIT_OK;
    }
    px_table_init(&t, columns, PX_ARRAY_LEN(columns));
    for (size_t i = 0; i < json_array_size(peers); i++)
        put_row(&t, json_array_get(peers, i), px_cli_has(cli, "full"));
    return px_table_print(cli, &t, true);
}

/* ---- one ---- */

static void put_grants(struct px_table *t, const json_t *p)
{
    const json_t *grants = px_json_at(p, "grants");
    char text[256] = "";
    for (size_t i = 0; i < json_array_size(grants); i++) {
        const char *word = json_string_value(json_array_get(grants, i));
        size_t at = strlen(text);
        snprintf(text + at, sizeof(text) - at, "%s%s", i > 0 ? "," : "", word != NULL ? word : "");
    }
    px_table_put_field(t, "grants", "%s", px_json_true(p, "listed") ? text : "not listed");
}

static void put_connection(struct px_table *t, const json_t *p)
{
    char since[PX_UNITS_MAX], rtt[PX_UNITS_MAX], sent[PX_UNITS_MAX], received[PX_UNITS_MAX];
    px_nsec age = px_json_seconds(p, "connection.since");
    px_table_put_field(t, "agent", "%s", px_json_text(p, "agent"));
    px_table_put_field(
        t, "connected for", "%s, %s", px_units_long(age != PX_NEVER ? age : 0, since),
        px_json_true(p, "connection.dialled_by_us") ? "dialled from here" : "dialled from there");
    const char *relay = px_json_text(p, "connection.relay");
    px_table_put_field(t, "path", "%s%s%s, %s to %s", px_json_text(p, "connection.path"),
                       relay[0] != '\0' ? " via " : "", relay, px_json_text(p, "connection.local"),
                       px_json_text(p, "connection.remote"));
    px_table_put_field(t, "round trip", "%s", short_time(p, "connection.rtt", rtt));
    px_table_put_field(t, "sent", "%s",
                       px_units_bytes(px_json_count(p, "connection.bytes_sent"), sent));
    px_table_put_field(t, "received", "%s",
                       px_units_bytes(px_json_count(p, "connection.bytes_received"), received));
    px_table_put_field(t, "packets lost", "%" PRIu64, px_json_count(p, "connection.packets_lost"));
}

static void put_absence(struct px_table *t, const json_t *p)
{
    char next[PX_UNITS_MAX];
    px_nsec in = px_json_seconds(p, "next_dial");
    px_table_put_field(t, "next dial", "%s%s", in != PX_NEVER ? "in " : "none planned",
                       in != PX_NEVER ? px_units_short(in, next) : "");
    px_table_put_field(t, "failed dials", "%" PRIu64, px_json_count(p, "failures"));
    px_table_put_field(t, "last error", "%s", error_text(p));
}

/* What relays say of this node and the peer, and what this node has seen itself. */
static void put_history(struct px_table *t, const json_t *p)
{
    char text[2 * PX_UNITS_MAX + 16], bytes[PX_UNITS_MAX], faults[512] = "";
    const char *kind;
    json_t *count;
    if (is_known(p, "transfers")) {
        px_table_put_field(t, "NARs sent", "%s", total_text(p, "transfers.sent", text));
        px_table_put_field(t, "NARs received", "%s", total_text(p, "transfers.received", text));
    }
    if (!is_known(p, "history"))
        return;
    json_object_foreach((json_t *)(uintptr_t)px_json_at(p, "history.failures"), kind, count)
    {
        size_t at = strlen(faults);
        if (json_integer_value(count) > 0)
            snprintf(faults + at, sizeof(faults) - at, "%s%s %" JSON_INTEGER_FORMAT,
                     at > 0 ? ", " : "", kind, json_integer_value(count));
    }
    px_table_put_field(t, "seen here", "%" PRIu64 " NARs, %s, all verified",
                       px_json_count(p, "history.nars"),
                       px_units_bytes(px_json_count(p, "history.bytes"), bytes));
    px_table_put_field(t, "failures", "%s", faults);
    px_table_put_field(t, "history", "%s",
                       px_json_true(p, "history.bad") ? "bad: asked after the others" : "good");
}

static int print_addresses(const struct px_cli *cli, const json_t *p)
{
    static const struct px_column columns[] = {
        {"ADDRESS", false}, {"FROM", false}, {"LAST GOOD", false}, {"LAST ERROR", false}};
    const json_t *list = px_json_at(p, "addresses");
    struct px_table t;
    char ago[PX_UNITS_MAX], text[PX_UNITS_MAX + 8];
    if (json_array_size(list) == 0) {
        puts("no address is known; it may still come to us, or give one with `peerix auth add`");
        return PX_EXIT_OK;
    }
    px_table_init(&t, columns, PX_ARRAY_LEN(columns));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *a = json_array_get(list, i);
        px_nsec good = px_json_seconds(a, "last_good");
        snprintf(text, sizeof(text), "%s%s", good != PX_NEVER ? px_units_long(good, ago) : "never",
                 good != PX_NEVER ? " ago" : "");
        px_table_put(&t, px_json_text(a, "address"));
        px_table_put(&t, px_json_text(a, "source"));
        px_table_put(&t, text);
        px_table_put(&t, error_text(a));
    }
    return px_table_print(cli, &t, true);
}

static int print_one(const struct px_cli *cli, const json_t *p)
{
    static const struct px_column columns[] = {{"", false}, {"", false}};
    struct px_table t;
    const char *state = px_json_text(p, "state");
    px_table_init(&t, columns, PX_ARRAY_LEN(columns));
    px_table_put_field(&t, "peer ID", "%s", px_json_text(p, "peer"));
    px_table_put_field(&t, "name", "%s", px_json_text(p, "name"));
    px_table_put_colored(&t, px_cli_style(stdout).dim, "state");
    px_table_put_colored(&t, state_color(state), state);
    put_grants(&t, p);
    if (json_is_object(px_json_at(p, "connection")))
        put_connection(&t, p);
    else
        put_absence(&t, p);
    put_history(&t, p);
    int code = px_table_print(cli, &t, false);
    putchar('\n');
    return code == 0 ? print_addresses(cli, p) : code;
}

/* ---- the command ---- */

static int ask(const struct px_cli *cli, json_t **ret)
{
    struct px_home home;
    struct px_peer_id id;
    char path[128], text[PX_PEER_ID_TEXT_MAX];
    if (cli->operand_count == 0)
        return px_control_call(cli, "GET", "/v1/peers", NULL, ret);
    int code = px_cli_home(cli, &home);
    if (code == 0)
        code = px_cli_peer(cli, &home, cli->operands[0], &id);
    if (code != 0)
        return code;
    snprintf(path, sizeof(path), "/v1/peers/%s", px_peer_id_format(&id, text));
    return px_control_call(cli, "GET", path, NULL, ret);
}

int px_cmd_peers(const struct px_cli *cli)
{
    json_t *answer = NULL;
    int code = ask(cli, &answer);
    if (code != 0)
        return code;
    if (px_cli_has(cli, "json"))
        return px_json_print(cli, answer);
    code = cli->operand_count > 0 ? print_one(cli, answer) : print_all(cli, answer);
    json_decref(answer);
    return code;
}

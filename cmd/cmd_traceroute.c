/* peerix traceroute PEER: which way the peer's packets take, and how long each part of it is. */
#include "cmd/control_client.h"
#include "cmd/json.h"
#include "cmd/table.h"
#include "cmd/units.h"

/* The longest timeout that may be asked for, and some. */
#define TRACE_TIME (75 * PX_SEC)

static void put_hop(struct px_table *t, const json_t *hop)
{
    char number[PX_UNITS_MAX], rtt[PX_UNITS_MAX];
    px_nsec took = px_json_seconds(hop, "rtt");
    snprintf(number, sizeof(number), "%u", (unsigned)px_json_count(hop, "hop"));
    px_table_put(t, number);
    px_table_put(t, px_json_text(hop, "kind"));
    px_table_put(t, px_json_text(hop, "name"));
    px_table_put(t, px_json_text(hop, "address"));
    if (took != PX_NEVER)
        px_table_put(t, px_units_short(took, rtt));
    else
        px_table_put_colored(t, px_cli_style(stdout).red,
                             px_control_error_text(px_json_text(hop, "lost")));
    px_table_put(t, px_json_text(hop, "peer"));
}

static int print_text(const struct px_cli *cli, const json_t *answer)
{
    static const struct px_column columns[] = {{"HOP", true},   {"KIND", false},
                                               {"NAME", false}, {"ADDRESS", false},
                                               {"RTT", true},   {"PEER", false}};
    const json_t *hops = px_json_at(answer, "hops");
    struct px_table t;
    fputs("path: ", stdout);
    px_cli_put_safe(stdout, px_json_text(answer, "path"));
    putchar('\n');
    px_table_init(&t, columns, PX_ARRAY_LEN(columns));
    for (size_t i = 0; i < json_array_size(hops); i++)
        put_hop(&t, json_array_get(hops, i));
    return px_table_print(cli, &t, true);
}

/* The last hop is the peer itself. */
static int reached(const json_t *answer)
{
    const json_t *hops = px_json_at(answer, "hops");
    size_t count = json_array_size(hops);
    const json_t *last = count > 0 ? json_array_get(hops, count - 1) : NULL;
    const char *lost = px_json_text(last, "lost");
    return lost[0] != '\0' ? px_control_exit_code(lost) : PX_EXIT_OK;
}

static int ask(const struct px_cli *cli, const struct px_peer_id *id, json_t **ret)
{
    char text[PX_PEER_ID_TEXT_MAX];
    const char *timeout = px_cli_get(cli, "timeout");
    struct px_buf path;
    px_buf_init(&path, 1024);
    px_buf_printf(&path, "/v1/peers/%s/traceroute%s", px_peer_id_format(id, text),
                  timeout != NULL ? "?timeout=" : "");
    if (timeout != NULL)
        px_control_put_segment(&path, timeout);
    int code =
        px_buf_put_u8(&path, '\0') != 0
            ? px_cli_usage(cli, "too long a value")
            : px_control_call_within(cli, TRACE_TIME, "POST", (const char *)path.data, NULL, ret);
    px_buf_deinit(&path);
    return code;
}

int px_cmd_traceroute(const struct px_cli *cli)
{
    struct px_home home;
    struct px_peer_id id;
    json_t *answer = NULL;
    int code = px_cli_home(cli, &home);
    if (code == 0)
        code = px_cli_peer(cli, &home, cli->operands[0], &id);
    if (code != 0)
        return code;
    code = ask(cli, &id, &answer);
    if (code != 0)
        return code;
    int there = reached(answer);
    if (px_cli_has(cli, "json")) {
        code = px_json_print(cli, answer);
    } else {
        code = print_text(cli, answer);
        json_decref(answer);
    }
    return code != 0 ? code : there;
}

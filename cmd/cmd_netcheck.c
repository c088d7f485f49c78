/* peerix netcheck: asks the relays whether this node can be reached from outside, and says what to
 * do (docs/netcheck.md). The daemon does the asking. */
#include <inttypes.h>

#include "cmd/control_client.h"
#include "cmd/json.h"
#include "cmd/reach_words.h"
#include "cmd/table.h"
#include "cmd/units.h"

struct netcheck {
    const struct px_cli *cli;
    json_t *result;
    bool printed; /* progress */
};

/* ---- progress ---- */

static void print_progress(const json_t *a)
{
    char took[PX_UNITS_MAX];
    px_nsec t = px_json_seconds(a, "took");
    px_cli_put_safe(stdout, px_json_text(a, "address"));
    if (px_json_true(a, "probing")) {
        puts(": asking …");
        return;
    }
    printf(": %s", px_json_text(a, "result"));
    if (px_json_text(a, "relay")[0] != '\0') {
        fputs(", says ", stdout);
        px_cli_put_safe(stdout, px_json_text(a, "relay"));
        printf(" after %s%s", px_units_short(t != PX_NEVER ? t : 0, took),
               px_json_true(a, "paid") ? " and 30 kB" : "");
    }
    putchar('\n');
}

static int on_line(void *ctx, const json_t *line)
{
    struct netcheck *c = ctx;
    const json_t *result = json_object_get(line, "result");
    if (result != NULL) {
        json_decref(c->result);
        c->result = json_deep_copy(result);
        return 0;
    }
    if (px_cli_has(c->cli, "json"))
        return 0;
    print_progress(px_json_at(line, "address"));
    c->printed = true;
    if (fflush(stdout) == 0)
        return 0;
    px_cli_error(c->cli, "cannot write the output");
    return PX_EXIT_FAILURE;
}

/* ---- the result ---- */

static const char *or_none(const json_t *reach, const char *key)
{
    const char *text = px_json_text(reach, key);
    return text[0] != '\0' ? text : "no address";
}

static int print_verdict(const struct px_cli *cli, const json_t *reach)
{
    static const struct px_column columns[] = {{"", false}, {"", false}};
    struct px_cli_style style = px_cli_style(stdout);
    const json_t *udp = px_json_at(reach, "udp");
    const char *verdict = px_json_text(reach, "verdict");
    char text[256];
    struct px_table t;
    px_table_init(&t, columns, PX_ARRAY_LEN(columns));
    snprintf(text, sizeof(text), "%s: %s", verdict, px_reach_words(reach));
    px_table_put(&t, "reachable");
    px_table_put_colored(&t, px_reach_color(&style, verdict), text);
    px_table_put_field(&t, "IPv4", "%s", or_none(reach, "ipv4"));
    px_table_put_field(&t, "IPv6", "%s", or_none(reach, "ipv6"));
    px_table_put_field(&t, "UDP", "%s",
                       json_is_true(udp)    ? "works"
                       : json_is_false(udp) ? "does not get out"
                                            : "not known: no relay is connected");
    px_table_put_field(&t, "mapping", "%s", px_reach_mapping_words(px_json_text(reach, "mapping")));
    return px_table_print(cli, &t, false);
}

static int print_relays(const struct px_cli *cli, const json_t *relays)
{
    static const struct px_column columns[] = {{"RELAY", false},
                                               {"ADDRESS", false},
                                               {"STATE", false},
                                               {"RTT", true},
                                               {"SEES US AT", false}};
    struct px_table t;
    if (json_array_size(relays) == 0)
        return 0;
    putchar('\n');
    px_table_init(&t, columns, PX_ARRAY_LEN(columns));
    for (size_t i = 0; i < json_array_size(relays); i++) {
        const json_t *r = json_array_get(relays, i);
        const char *transport = px_json_text(r, "transport"),
                   *error = px_json_text(r, "last_error");
        px_nsec rtt = px_json_seconds(r, "rtt");
        char text[128], time[PX_UNITS_MAX];
        snprintf(text, sizeof(text), "%s%s%s", px_json_text(r, "state"),
                 transport[0] != '\0' ? " by "
                 : error[0] != '\0'   ? ": "
                                      : "",
                 transport[0] != '\0' ? (strcmp(transport, "tcp") == 0 ? "TCP" : "UDP")
                 : error[0] != '\0'   ? px_relay_error_words(error)
                                      : "");
        px_table_put(&t, px_json_text(r, "name"));
        px_table_put(&t, px_json_text(r, "address"));
        px_table_put(&t, text);
        px_table_put(&t, rtt != PX_NEVER ? px_units_short(rtt, time) : "");
        px_table_put(&t, px_json_text(r, "observed"));
    }
    return px_table_print(cli, &t, true);
}

static void join(const json_t *words, char *out, size_t size)
{
    out[0] = '\0';
    for (size_t i = 0; i < json_array_size(words); i++) {
        size_t at = strlen(out);
        snprintf(out + at, size - at, "%s%s", i > 0 ? "," : "",
                 json_string_value(json_array_get(words, i)));
    }
}

static int print_addresses(const struct px_cli *cli, const json_t *list)
{
    static const struct px_column columns[] = {
        {"ADDRESS", false}, {"FROM", false}, {"RESULT", false}, {"RELAY", false}, {"AGE", true}};
    struct px_cli_style style = px_cli_style(stdout);
    struct px_table t;
    if (json_array_size(list) == 0)
        return 0;
    putchar('\n');
    px_table_init(&t, columns, PX_ARRAY_LEN(columns));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *a = json_array_get(list, i);
        const char *result = px_json_text(a, "result");
        px_nsec age = px_json_seconds(a, "age");
        char sources[64], time[PX_UNITS_MAX];
        join(px_json_at(a, "sources"), sources, sizeof(sources));
        px_table_put(&t, px_json_text(a, "address"));
        px_table_put(&t, sources);
        px_table_put_colored(&t, px_reach_color(&style, result), result);
        px_table_put(&t, px_json_text(a, "relay"));
        px_table_put(&t, age != PX_NEVER ? px_units_long(age, time) : "");
    }
    return px_table_print(cli, &t, true);
}

static int print_text(const struct netcheck *c)
{
    const json_t *reach = px_json_at(c->result, "reachability");
    const json_t *relays = px_json_at(c->result, "relays");
    if (c->printed)
        putchar('\n');
    int code = print_verdict(c->cli, reach);
    if (code == 0)
        code = print_relays(c->cli, relays);
    if (code == 0)
        code = print_addresses(c->cli, px_json_at(reach, "addresses"));
    putchar('\n');
    if (json_array_size(relays) > 0 || !px_relays_tell_unused(c->cli))
        px_reach_advise(stdout, "next: ", reach, json_array_size(relays) > 0);
    return code;
}

int px_cmd_netcheck(const struct px_cli *cli)
{
    struct netcheck c = {.cli = cli};
    int code = px_control_lines(cli, "POST", "/v1/netcheck", NULL, on_line, &c);
    if (code == 0 && c.result == NULL) {
        px_cli_error(cli, "the daemon has ended");
        code = PX_EXIT_NOT_RUNNING;
    }
    if (code == 0) {
        bool known = strcmp(px_json_text(c.result, "reachability.verdict"), "unknown") != 0;
        code = px_cli_has(cli, "json") ? px_json_print(cli, json_incref(c.result)) : print_text(&c);
        if (code == 0 && !known)
            code = PX_EXIT_OFFLINE;
    }
    json_decref(c.result);
    return code;
}

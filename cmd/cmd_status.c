/* peerix status: what the running daemon is and does. */
#include <inttypes.h>
#include <stdarg.h>

#include "cmd/control_client.h"
#include "cmd/json.h"
#include "cmd/reach_words.h"
#include "cmd/table.h"
#include "cmd/units.h"

static void put_state(struct px_table *t, const json_t *s)
{
    struct px_cli_style style = px_cli_style(stdout);
    char uptime[PX_UNITS_MAX], text[128];
    px_nsec up = px_json_seconds(s, "uptime");
    bool running = strcmp(px_json_text(s, "state"), "running") == 0;
    snprintf(text, sizeof(text), "%s for %s, pid %" PRIu64, px_json_text(s, "state"),
             px_units_long(up != PX_NEVER ? up : 0, uptime), px_json_count(s, "pid"));
    px_table_put_colored(t, style.dim, "daemon");
    px_table_put_colored(t, running ? style.green : style.yellow, text);
}

static void put_listen(struct px_table *t, const json_t *s)
{
    const json_t *list = px_json_at(s, "listen");
    for (size_t i = 0; i < json_array_size(list); i++)
        px_table_put_field(t, "listens at", "%s", json_string_value(json_array_get(list, i)));
}

static void put_reachability(struct px_table *t, const json_t *s)
{
    struct px_cli_style style = px_cli_style(stdout);
    const char *verdict = px_json_text(s, "reachability.verdict");
    const json_t *list = px_json_at(s, "reachability.addresses");
    char text[256];
    snprintf(text, sizeof(text), "%s: %s%s", verdict, px_reach_words(px_json_at(s, "reachability")),
             px_json_true(s, "reachability.checking") ? " (checking)" : "");
    px_table_put_colored(t, style.dim, "reachable");
    px_table_put_colored(t, px_reach_color(&style, verdict), text);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *a = json_array_get(list, i), *sources = px_json_at(a, "sources");
        for (size_t k = 0; k < json_array_size(sources); k++)
            if (strcmp(json_string_value(json_array_get(sources, k)), "observed") == 0)
                px_table_put_field(t, "seen at", "%s, %s", px_json_text(a, "address"),
                                   px_json_text(a, "result"));
    }
}

static void put_substituter(struct px_table *t, const json_t *s)
{
    char bytes[PX_UNITS_MAX];
    const char *http = px_json_text(s, "http");
    uint64_t nars = px_json_count(s, "substituter.nars");
    px_table_put_field(t, "substituter", "%s%s", http[0] != '\0' ? "http://" : "-", http);
    px_table_put_field(t, "fetched", "%" PRIu64 " %s, %s", nars, nars == 1 ? "path" : "paths",
                       px_units_bytes(px_json_count(s, "substituter.nar_bytes"), bytes));
    px_table_put_field(t, "asked", "%" PRIu64 " found, %" PRIu64 " not found, %" PRIu64 " refused",
                       px_json_count(s, "substituter.narinfo_hits"),
                       px_json_count(s, "substituter.narinfo_misses"),
                       px_json_count(s, "substituter.narinfo_rejected"));
}

static int print_text(const struct px_cli *cli, const json_t *s)
{
    static const struct px_column columns[] = {{"", false}, {"", false}};
    struct px_table t;
    px_table_init(&t, columns, PX_ARRAY_LEN(columns));
    px_table_put_field(&t, "peer ID", "%s", px_json_text(s, "peer"));
    put_state(&t, s);
    px_table_put_field(&t, "version", "%s", px_json_text(s, "version"));
    px_table_put_field(&t, "network", "%s", px_json_text(s, "network"));
    px_table_put_field(&t, "home", "%s", px_json_text(s, "home.config"));
    put_listen(&t, s);
    px_table_put_field(&t, "store", "%s", px_json_text(s, "store"));
    px_table_put_field(&t, "peers", "%" PRIu64 " connected of %" PRIu64 " listed",
                       px_json_count(s, "peers.connected"), px_json_count(s, "peers.listed"));
    if (px_json_count(s, "relays.listed") > 0) {
        px_table_put_field(&t, "relays",
                           "%" PRIu64 " reserved of %" PRIu64 " listed, %" PRIu64 " circuits",
                           px_json_count(s, "relays.reserved"), px_json_count(s, "relays.listed"),
                           px_json_count(s, "relays.circuits"));
        put_reachability(&t, s);
    }
    put_substituter(&t, s);
    return px_table_print(cli, &t, false);
}

int px_cmd_status(const struct px_cli *cli)
{
    json_t *status;
    int code = px_control_call(cli, "GET", "/v1/status", NULL, &status);
    if (code != 0)
        return code;
    if (px_cli_has(cli, "json"))
        return px_json_print(cli, status);
    code = print_text(cli, status);
    json_decref(status);
    return code;
}

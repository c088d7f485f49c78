/* peerix status: what the running daemon is and does. */
#include <inttypes.h>
#include <stdarg.h>

#include "cmd/control_client.h"
#include "cmd/json.h"
#include "cmd/table.h"
#include "cmd/units.h"

static void PX_PRINTF(3, 4) put(struct px_table *t, const char *name, const char *fmt, ...);

static void put(struct px_table *t, const char *name, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    px_table_put_colored(t, px_cli_style(stdout).dim, name);
    px_table_put(t, text);
}

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
        put(t, "listens at", "%s", json_string_value(json_array_get(list, i)));
}

static void put_substituter(struct px_table *t, const json_t *s)
{
    char bytes[PX_UNITS_MAX];
    const char *http = px_json_text(s, "http");
    uint64_t nars = px_json_count(s, "substituter.nars");
    put(t, "substituter", "%s%s", http[0] != '\0' ? "http://" : "-", http);
    put(t, "fetched", "%" PRIu64 " %s, %s", nars, nars == 1 ? "path" : "paths",
        px_units_bytes(px_json_count(s, "substituter.nar_bytes"), bytes));
    put(t, "asked", "%" PRIu64 " found, %" PRIu64 " not found, %" PRIu64 " refused",
        px_json_count(s, "substituter.narinfo_hits"),
        px_json_count(s, "substituter.narinfo_misses"),
        px_json_count(s, "substituter.narinfo_rejected"));
}

static int print_text(const struct px_cli *cli, const json_t *s)
{
    static const struct px_column columns[] = {{"", false}, {"", false}};
    struct px_table t;
    px_table_init(&t, columns, PX_ARRAY_LEN(columns));
    put(&t, "peer ID", "%s", px_json_text(s, "peer"));
    put_state(&t, s);
    put(&t, "version", "%s", px_json_text(s, "version"));
    put(&t, "network", "%s", px_json_text(s, "network"));
    put(&t, "home", "%s", px_json_text(s, "home.config"));
    put_listen(&t, s);
    put(&t, "store", "%s", px_json_text(s, "store"));
    put(&t, "peers", "%" PRIu64 " connected of %" PRIu64 " listed",
        px_json_count(s, "peers.connected"), px_json_count(s, "peers.listed"));
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

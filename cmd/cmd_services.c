/* peerix services: what this node serves, and to whom. */
#include "cmd/control_client.h"
#include "cmd/json.h"
#include "cmd/table.h"

/* Appends an array of words with commas between. */
static void join(const json_t *words, char *out, size_t size)
{
    out[0] = '\0';
    for (size_t i = 0; i < json_array_size(words); i++) {
        const char *word = json_string_value(json_array_get(words, i));
        size_t at = strlen(out);
        snprintf(out + at, size - at, "%s%s", i > 0 ? "," : "", word != NULL ? word : "");
    }
}

static void put_rows(struct px_table *t, const json_t *service)
{
    struct px_cli_style style = px_cli_style(stdout);
    const json_t *peers = px_json_at(service, "peers");
    char grants[256];
    for (size_t i = 0; i < json_array_size(peers); i++) {
        const json_t *p = json_array_get(peers, i);
        bool connected = px_json_true(p, "connected");
        join(px_json_at(p, "grants"), grants, sizeof(grants));
        px_table_put(t, px_json_text(p, "name"));
        px_table_put(t, px_json_text(p, "peer"));
        px_table_put(t, grants);
        px_table_put_colored(t, connected ? style.green : style.dim,
                             connected ? "connected" : "not connected");
    }
}

static int print_service(const struct px_cli *cli, const json_t *service)
{
    static const struct px_column columns[] = {
        {"NAME", false}, {"PEER ID", false}, {"GRANTS", false}, {"STATE", false}};
    struct px_cli_style style = px_cli_style(stdout);
    struct px_table t;
    fputs(style.bold, stdout);
    px_cli_put_safe(stdout, px_json_text(service, "service"));
    printf("%s: ", style.reset);
    px_cli_put_safe(stdout, px_json_text(service, "summary"));
    putchar('\n');
    if (json_array_size(px_json_at(service, "peers")) == 0) {
        puts("granted to nobody; see `peerix auth add --help`");
        return PX_EXIT_OK;
    }
    px_table_init(&t, columns, PX_ARRAY_LEN(columns));
    put_rows(&t, service);
    return px_table_print(cli, &t, true);
}

int px_cmd_services(const struct px_cli *cli)
{
    json_t *answer = NULL;
    int code = px_control_call(cli, "GET", "/v1/services", NULL, &answer);
    if (code != 0)
        return code;
    if (px_cli_has(cli, "json"))
        return px_json_print(cli, answer);
    const json_t *services = px_json_at(answer, "services");
    for (size_t i = 0; i < json_array_size(services) && code == 0; i++) {
        if (i > 0)
            putchar('\n');
        code = print_service(cli, json_array_get(services, i));
    }
    json_decref(answer);
    return code;
}

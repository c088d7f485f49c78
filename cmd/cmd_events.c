/* peerix events: what the daemon logs while this runs, a line an event. */
#include <stdlib.h>

#include "cmd/control_client.h"
#include "cmd/json.h"

static bool is_word(const char *text)
{
    for (const char *at = text; *at != '\0'; at++)
        if (*at == ' ' || *at == '"' || *at == '=')
            return false;
    return text[0] != '\0';
}

static void put_value(const json_t *value)
{
    const char *text = json_string_value(value);
    if (text != NULL && is_word(text)) {
        px_cli_put_safe(stdout, text);
    } else {
        char *dump = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        px_cli_put_safe(stdout, dump != NULL ? dump : "-");
        free(dump);
    }
}

static const char *level_color(const char *level)
{
    struct px_cli_style style = px_cli_style(stdout);
    if (strcmp(level, "error") == 0)
        return style.red;
    return strcmp(level, "warn") == 0 ? style.yellow : "";
}

/* `TIME EVENT key=value …`; nothing that came from a peer gets to the terminal raw. */
static void print_text(const json_t *line)
{
    struct px_cli_style style = px_cli_style(stdout);
    const char *key, *color = level_color(px_json_text(line, "level"));
    json_t *fields = json_copy((json_t *)(uintptr_t)line), *value; /* jansson walks no const one */
    px_cli_put_safe(stdout, px_json_text(line, "time"));
    printf("%s%s", px_json_text(line, "time")[0] != '\0' ? " " : "",
           color[0] != '\0' ? color : style.bold);
    px_cli_put_safe(stdout, px_json_text(line, "event"));
    fputs(style.reset, stdout);
    json_object_foreach(fields, key, value)
    {
        if (strcmp(key, "time") == 0 || strcmp(key, "event") == 0 || strcmp(key, "level") == 0)
            continue;
        putchar(' ');
        px_cli_put_safe(stdout, key);
        putchar('=');
        put_value(value);
    }
    putchar('\n');
    json_decref(fields);
}

static int on_line(void *ctx, const json_t *line)
{
    const struct px_cli *cli = ctx;
    if (px_cli_has(cli, "json"))
        return px_json_print_line(cli, line);
    print_text(line);
    if (fflush(stdout) == 0)
        return 0;
    px_cli_error(cli, "cannot write the output");
    return PX_EXIT_FAILURE;
}

int px_cmd_events(const struct px_cli *cli)
{
    struct px_cli copy = *cli;
    int code = px_control_lines(cli, "GET", "/v1/events", NULL, on_line, &copy);
    if (code != 0)
        return code;
    px_cli_error(cli, "the daemon has ended");
    return PX_EXIT_NOT_RUNNING;
}

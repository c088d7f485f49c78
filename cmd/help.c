/* Help texts and command look-up, from the command and option tables. */
#include "cmd/help.h"

#include "cmd/cli.h"
#include "node/program.h"

enum { LEFT_WIDTH = 26, LINE_WIDTH = 80 };

static bool names(const char *name, int argc, char **argv, int *ret_words)
{
    struct px_slice rest = px_slice_cstr(name), word;
    int n = 0;
    while (px_slice_split(&rest, ' ', &word)) {
        if (n >= argc || !px_slice_eq_cstr(word, argv[n]))
            return false;
        n++;
    }
    *ret_words = n;
    return true;
}

const struct px_command *px_command_find(int argc, char **argv, int *ret_words)
{
    for (size_t i = 0; i < px_command_count; i++) {
        const struct px_command *c = &px_commands[i];
        if (names(c->name, argc, argv, ret_words) ||
            (c->alias != NULL && names(c->alias, argc, argv, ret_words)))
            return c;
    }
    return NULL;
}

static bool in_group(const struct px_command *c, const char *word)
{
    size_t n = strlen(word);
    return strncmp(c->name, word, n) == 0 && c->name[n] == ' ';
}

bool px_command_is_group(const char *word)
{
    for (size_t i = 0; i < px_command_count; i++)
        if (word[0] != '\0' && in_group(&px_commands[i], word))
            return true;
    return false;
}

/* Words from column `indent` on, broken before the line's end; the cursor stands in `column`. */
static void put_wrapped(FILE *out, const char *text, int column, int indent)
{
    struct px_slice rest = px_slice_cstr(text), word;
    bool first = true;
    fprintf(out, "%*s", column < indent ? indent - column : 0, "");
    column = PX_MAX(column, indent);
    while (px_slice_split(&rest, ' ', &word)) {
        if (!first && column + 1 + (int)word.len > LINE_WIDTH) {
            fprintf(out, "\n%*s", indent, "");
            column = indent;
            first = true;
        }
        column += fprintf(out, "%s%.*s", first ? "" : " ", (int)word.len, (const char *)word.data);
        first = false;
    }
    fputc('\n', out);
}

static void put_row(FILE *out, const char *left, const char *right)
{
    int column = fprintf(out, "  %s", left);
    if (column + 2 > LEFT_WIDTH) {
        fputc('\n', out);
        column = 0;
    }
    put_wrapped(out, right, column, LEFT_WIDTH);
}

static void put_heading(FILE *out, const char *text)
{
    struct px_cli_style style = px_cli_style(out);
    fprintf(out, "\n%s%s%s\n", style.bold, text, style.reset);
}

static void put_commands(FILE *out, const char *group)
{
    char left[128];
    for (size_t i = 0; i < px_command_count; i++) {
        const struct px_command *c = &px_commands[i];
        if (c->hidden || (group != NULL && !in_group(c, group)))
            continue;
        snprintf(left, sizeof(left), "%s%s%s%s%s", c->name, c->alias != NULL ? ", " : "",
                 c->alias != NULL ? c->alias : "", c->operands[0] != '\0' ? " " : "", c->operands);
        put_row(out, left, c->summary);
    }
}

static void put_option_rows(FILE *out, const struct px_command *c, const struct px_cli_option *rows,
                            size_t count)
{
    char left[128], dash[8];
    for (size_t i = 0; i < count; i++) {
        char letter = c != NULL ? px_cli_letter(c, rows[i].name) : (char)0;
        dash[0] = '\0';
        if (letter != 0)
            snprintf(dash, sizeof(dash), "-%c, ", letter);
        snprintf(left, sizeof(left), "%s--%s%s%s", dash, rows[i].name,
                 rows[i].arg != NULL ? " " : "", rows[i].arg != NULL ? rows[i].arg : "");
        put_row(out, left, rows[i].help);
    }
}

static void put_config_rows(FILE *out)
{
    char left[128], right[1024], allowed[PX_OPTION_TEXT_MAX];
    for (size_t i = 0; i < px_option_count; i++) {
        const struct px_option *o = &px_options[i];
        if (o->flag == NULL)
            continue;
        snprintf(left, sizeof(left), "--%s%s%s", o->flag, o->arg != NULL ? " " : "[=BOOL]",
                 o->arg != NULL ? o->arg : "");
        snprintf(right, sizeof(right), "%s Takes %s%s; default: %s.", o->help,
                 px_option_describe(o, allowed),
                 px_option_is_list(o) ? ", may be given several times" : "",
                 o->value[0] != '\0' ? o->value : "none");
        put_row(out, left, right);
    }
}

static void put_common_rows(FILE *out)
{
    put_option_rows(out, NULL, px_common_options, px_common_option_count);
    put_row(out, "-h, --help", "show this help");
}

int px_help_command(const struct px_command *c)
{
    FILE *out = stdout;
    fprintf(out, "Usage: %s %s [OPTION]...%s%s\n\n", px_program.name, c->name,
            c->operands[0] != '\0' ? " " : "", c->operands);
    put_wrapped(out, c->summary, 0, 0);
    if (c->alias != NULL)
        fprintf(out, "Also called: %s %s\n", px_program.name, c->alias);
    if (c->details != NULL) {
        fputc('\n', out);
        put_wrapped(out, c->details, 0, 0);
    }
    put_heading(out, "Options");
    put_option_rows(out, c, c->options, c->option_count);
    if (c->config_options)
        put_config_rows(out);
    put_common_rows(out);
    return PX_EXIT_OK;
}

int px_help_group(const char *group, FILE *out)
{
    fprintf(out, "Usage: %s %s COMMAND [OPTION]...\n", px_program.name, group);
    put_heading(out, "Commands");
    put_commands(out, group);
    return PX_EXIT_OK;
}

bool px_exit_possible(int code)
{
    return px_program.exit_codes == 0 || (px_program.exit_codes >> code & 1) != 0;
}

static void put_exit_codes(FILE *out)
{
    static const struct {
        int code;
        const char *text;
    } rows[] = {
#define X(name, value, text) {value, text},
        PX_EXIT_TABLE(X)
#undef X
    };
    char left[16];
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++) {
        snprintf(left, sizeof(left), "%d", rows[i].code);
        if (px_exit_possible(rows[i].code))
            put_row(out, left, rows[i].text);
    }
}

int px_help_overview(FILE *out)
{
    fprintf(out, "Usage: %s COMMAND [OPTION]...\n\n%s\n", px_program.name, px_program.about);
    put_heading(out, "Commands");
    put_commands(out, NULL);
    put_heading(out, "Options of every command");
    put_common_rows(out);
    put_heading(out, "Exit codes");
    put_exit_codes(out);
    fprintf(out, "\nOptions of a command: %s COMMAND --help\n", px_program.name);
    return PX_EXIT_OK;
}

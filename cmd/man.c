/* See man.h. */
#include "cmd/man.h"

#include "cmd/help.h"
#include "node/program.h"

/* groff takes a leading dot or quote for a request, and backslash and dash for more than they are.
 */
static void put_text(const char *text)
{
    if (text[0] == '.' || text[0] == '\'')
        fputs("\\&", stdout);
    for (; *text != '\0'; text++) {
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout);
        else
            putchar(*text);
    }
}

static void put_line(const char *text)
{
    put_text(text);
    putchar('\n');
}

static void put_term(const char *prefix, const char *bold, const char *arg)
{
    fputs(".TP\n\\fB", stdout);
    put_text(prefix);
    put_text(bold);
    fputs("\\fR", stdout);
    if (arg != NULL && arg[0] != '\0') {
        fputs(" \\fI", stdout);
        put_text(arg);
        fputs("\\fR", stdout);
    }
    putchar('\n');
}

static void put_options(const struct px_command *c, const struct px_cli_option *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char dash[] = "-x, --", letter = c != NULL ? px_cli_letter(c, rows[i].name) : (char)0;
        dash[1] = letter;
        put_term(letter != 0 ? dash : "--", rows[i].name, rows[i].arg);
        put_line(rows[i].help);
    }
}

static void put_commands(void)
{
    puts(".SH COMMANDS");
    for (size_t i = 0; i < px_command_count; i++) {
        const struct px_command *c = &px_commands[i];
        if (c->hidden)
            continue;
        puts(".SS");
        fputs("\\fB", stdout);
        put_text(c->name);
        fputs("\\fR", stdout);
        if (c->operands[0] != '\0') {
            fputs(" \\fI", stdout);
            put_text(c->operands);
            fputs("\\fR", stdout);
        }
        putchar('\n');
        if (c->alias != NULL)
            printf("(also \\fB%s\\fR) ", c->alias);
        put_text(c->summary);
        puts(".");
        if (c->details != NULL)
            put_line(c->details);
        put_options(c, c->options, c->option_count);
    }
}

static void put_config(void)
{
    char allowed[PX_OPTION_TEXT_MAX];
    fputs(".SH CONFIGURATION\nEach option is a key of \\fIconfig.yaml\\fR and a flag of \\fB",
          stdout);
    put_text(px_program.name);
    puts(" daemon\\fR.\nFlags beat the file, the file beats the default; lists are added up.");
    for (size_t i = 0; i < px_option_count; i++) {
        const struct px_option *o = &px_options[i];
        put_term("", o->name, NULL);
        if (o->flag != NULL) {
            fputs("(flag \\fB\\-\\-", stdout);
            put_text(o->flag);
            puts(o->arg != NULL ? "\\fR)" : "\\fR, alone or with =true, =false)");
        }
        put_line(o->help);
        fputs(px_option_is_list(o) ? "Takes a list, each entry " : "Takes ", stdout);
        put_text(px_option_describe(o, allowed));
        fputs("; default: ", stdout);
        put_text(o->value[0] != '\0' ? o->value : "none");
        puts(".");
    }
}

static void put_rows(const char *section, const char *intro, const struct px_man_rows *r)
{
    printf(".SH %s\n", section);
    if (intro != NULL)
        put_line(intro);
    for (size_t i = 0; i < r->count; i++) {
        put_term("", r->rows[i].term, NULL);
        put_line(r->rows[i].text);
    }
}

static void put_exit_codes(void)
{
    puts(".SH EXIT STATUS");
#define X(name, value, text)                                                                       \
    if (px_exit_possible(value)) {                                                                 \
        put_term("", #value, NULL);                                                                \
        put_line(text);                                                                            \
    }
    PX_EXIT_TABLE(X)
#undef X
}

static void put_head(const struct px_man *m)
{
    printf(".TH %s 1 \"\" \"%s " PX_VERSION "\"\n.SH NAME\n", m->title, px_program.name);
    put_text(px_program.name);
    fputs(" \\- ", stdout);
    put_line(m->about);
    fputs(".SH SYNOPSIS\n.B ", stdout);
    put_line(px_program.name);
    puts(".I COMMAND\n[\\fIOPTION\\fR]...\n.SH DESCRIPTION");
    put_line(m->description);
}

void px_man_print(const struct px_man *m)
{
    put_head(m);
    put_commands();
    puts(".SH OPTIONS OF EVERY COMMAND");
    put_options(NULL, px_common_options, px_common_option_count);
    put_term("", "-h, --help", NULL);
    put_line("show help");
    put_config();
    put_rows("FILES", m->homes, &m->files);
    put_rows("ENVIRONMENT", NULL, &m->environment);
    put_rows("SIGNALS", NULL, &m->signals);
    put_exit_codes();
    put_rows("EXAMPLES", NULL, &m->examples);
    printf(".SH SEE ALSO\n.BR %s\n", m->see_also);
}

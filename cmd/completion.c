/* The tables as the shells' scripts need them. */
#include "cmd/completion.h"

#include "node/program.h"

static struct px_slice first_word(const char *text)
{
    struct px_slice rest = px_slice_cstr(text), word = {NULL, 0};
    (void)px_slice_split(&rest, ' ', &word);
    return word;
}

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

enum px_operands px_completion_operands(const struct px_command *c)
{
    if (c->operands[0] == '\0')
        return PX_OPERANDS_NONE;
    if (is_lower(c->operands[0]))
        return PX_OPERANDS_CHOICE;
    if (strstr(c->operands, "PEER") != NULL || strstr(c->operands, "ID|NAME") != NULL)
        return PX_OPERANDS_PEER;
    if (strstr(c->operands, "FILE") != NULL)
        return PX_OPERANDS_FILE;
    if (strstr(c->operands, "COMMAND") != NULL)
        return PX_OPERANDS_COMMAND;
    if (strcmp(c->operands, "RELAY") == 0)
        return PX_OPERANDS_RELAY;
    return px_slice_eq_cstr(first_word(c->operands), "NAME") ? PX_OPERANDS_NAME : PX_OPERANDS_OTHER;
}

static void each_of(const struct px_command *c, const struct px_cli_option *rows, size_t count,
                    void (*each)(void *ctx, const struct px_completion_option *o), void *ctx)
{
    for (size_t i = 0; i < count; i++) {
        bool choice = rows[i].arg != NULL && is_lower(rows[i].arg[0]);
        struct px_completion_option o = {rows[i].name, px_cli_letter(c, rows[i].name),
                                         rows[i].arg != NULL, choice ? rows[i].arg : NULL,
                                         rows[i].help};
        each(ctx, &o);
    }
}

void px_completion_each_option(const struct px_command *c,
                               void (*each)(void *ctx, const struct px_completion_option *o),
                               void *ctx)
{
    each_of(c, c->options, c->option_count, each, ctx);
    for (size_t i = 0; c->config_options && i < px_option_count; i++) {
        const struct px_option *row = &px_options[i];
        struct px_completion_option o = {row->flag, 0, row->type != PX_OPT_BOOL,
                                         row->type == PX_OPT_ENUM ? row->allowed : NULL, row->help};
        if (row->flag != NULL)
            each(ctx, &o);
    }
    each_of(c, px_common_options, px_common_option_count, each, ctx);
    each(ctx, &(struct px_completion_option){"help", 'h', false, NULL, "show help"});
}

static struct px_slice group_of(const struct px_command *c)
{
    struct px_slice word = first_word(c->name);
    return c->name[word.len] == ' ' ? word : (struct px_slice){NULL, 0};
}

bool px_completion_begins_group(size_t i, struct px_slice *ret_group)
{
    struct px_slice group = group_of(&px_commands[i]);
    bool begins = group.len > 0;
    for (size_t before = 0; before < i; before++)
        begins = begins && !px_slice_eq(group, group_of(&px_commands[before]));
    *ret_group = group;
    return begins;
}

const char *px_completion_in_group(const struct px_command *c, struct px_slice group)
{
    return !c->hidden && px_slice_eq(group, group_of(c)) ? c->name + group.len + 1 : NULL;
}

bool px_completion_is_single(const struct px_command *c)
{
    return !c->hidden && group_of(c).len == 0;
}

const char *px_completion_word(char out[64])
{
    snprintf(out, 64, "%s", px_program.name);
    for (char *c = out; *c != '\0'; c++)
        if (*c == '-')
            *c = '_';
    return out;
}

void px_completion_put_choices(const char *choices, char separator)
{
    for (; *choices != '\0'; choices++)
        putchar(*choices == '|' ? separator : *choices);
}

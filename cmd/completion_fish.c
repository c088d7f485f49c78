/* The script for fish: one `complete` line a word. */
#include "cmd/completion.h"
#include "node/program.h"

static void put_phrase(const char *text)
{
    putchar('\'');
    for (; *text != '\0'; text++) {
        if (*text == '\'' || *text == '\\')
            putchar('\\');
        putchar(*text);
    }
    putchar('\'');
}

/* The text with the program's own word for each `@`. */
static void put_text(const char *text)
{
    char word[64];
    px_completion_word(word);
    for (; *text != '\0'; text++)
        if (*text == '@')
            fputs(word, stdout);
        else
            putchar(*text);
}

/* "complete -c PROGRAM -n '__PROGRAM_at": what a line with a condition begins with. */
static void put_complete(void)
{
    printf("complete -c %s -n '", px_program.name);
    put_text("__@_at");
}

/* "complete -c peerix -n '__peerix_at KEY…'" for the command's own name and its alias. */
static void put_condition(const struct px_command *c)
{
    put_complete();
    printf(" \"%s\"", c->name);
    if (c->alias != NULL)
        printf(" \"%s\"", c->alias);
    putchar('\'');
}

/* The command whose options are put. */
struct of {
    const struct px_command *command;
};

static void put_option(void *ctx, const struct px_completion_option *o)
{
    const struct of *of = ctx;
    put_condition(of->command);
    printf(" -l %s", o->name);
    if (o->letter != 0)
        printf(" -s %c", o->letter);
    if (o->value && o->choices != NULL) {
        fputs(" -x -a '", stdout);
        px_completion_put_choices(o->choices, ' ');
        putchar('\'');
    } else if (o->value) {
        fputs(" -r -F", stdout);
    }
    fputs(" -d ", stdout);
    put_phrase(o->help);
    putchar('\n');
}

static void put_operands(const struct px_command *c)
{
    const char *words = NULL;
    switch (px_completion_operands(c)) {
    case PX_OPERANDS_PEER:
        words = "(__@_ask peer)";
        break;
    case PX_OPERANDS_NAME:
        words = "(__@_ask name)";
        break;
    case PX_OPERANDS_RELAY:
        words = "(__@_ask relay)";
        break;
    case PX_OPERANDS_CHOICE:
        words = c->operands;
        break;
    case PX_OPERANDS_COMMAND:
        words = "$__@_commands";
        break;
    case PX_OPERANDS_FILE:
        put_condition(c);
        puts(" -F");
        return;
    case PX_OPERANDS_NONE:
    case PX_OPERANDS_OTHER:
        return;
    }
    put_condition(c);
    fputs(" -a '", stdout);
    if (words == c->operands)
        px_completion_put_choices(words, ' ');
    else
        put_text(words);
    puts("'");
}

static void put_group(struct px_slice group)
{
    int len = (int)group.len;
    const char *word = (const char *)group.data;
    put_complete();
    printf(" \"\"' -a %.*s\n", len, word);
    for (size_t i = 0; i < px_command_count; i++) {
        const char *second = px_completion_in_group(&px_commands[i], group);
        if (second == NULL)
            continue;
        put_complete();
        printf(" \"%.*s\"' -a %s -d ", len, word, second);
        put_phrase(px_commands[i].summary);
        putchar('\n');
    }
}

/* $__peerix_groups are the words that another one follows. */
static void put_head(void)
{
    struct px_slice group;
    printf("# Completion of %s for fish, from its own tables: %s completion fish\n",
           px_program.name, px_program.name);
    put_text("set -g __@_groups");
    for (size_t i = 0; i < px_command_count; i++)
        if (px_completion_begins_group(i, &group))
            printf(" %.*s", (int)group.len, (const char *)group.data);
    put_text("\nset -g __@_commands $__@_groups");
    for (size_t i = 0; i < px_command_count; i++)
        if (px_completion_is_single(&px_commands[i]))
            printf(" %s", px_commands[i].name);
    put_text(
        "\n"
        "function __@_at\n"
        "    set -l words (commandline -opc)\n"
        "    set -l key \"$words[2]\"\n"
        "    if contains -- \"$key\" $__@_groups; and set -q words[3]\n"
        "        set key \"$key $words[3]\"\n"
        "    end\n"
        "    contains -- \"$key\" $argv\n"
        "end\n"
        "function __@_ask\n"
        "    set -l words (commandline -opc)\n"
        "    set -l where\n"
        "    contains -- --system $words; and set where --system\n"
        "    set -l at (contains -i -- --home $words); and set where --home $words[(math $at + "
        "1)]\n"
        "    $words[1] complete $argv[1] $where 2>/dev/null\n"
        "end\n"
        "complete -c ");
    printf("%s -f\n", px_program.name);
}

void px_completion_fish(void)
{
    struct px_slice group;
    put_head();
    for (size_t i = 0; i < px_command_count; i++) {
        const struct px_command *c = &px_commands[i];
        struct of of = {c};
        if (px_completion_begins_group(i, &group))
            put_group(group);
        if (c->hidden)
            continue;
        if (px_completion_is_single(c)) {
            put_complete();
            printf(" \"\"' -a %s -d ", c->name);
            put_phrase(c->summary);
            putchar('\n');
        }
        put_operands(c);
        px_completion_each_option(c, put_option, &of);
    }
}

/* The script for fish: one `complete` line a word. */
#include "cmd/completion.h"

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

/* "complete -c peerix -n '__peerix_at KEY…'" for the command's own name and its alias. */
static void put_condition(const struct px_command *c)
{
    printf("complete -c peerix -n '__peerix_at \"%s\"", c->name);
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
        words = "(__peerix_ask peer)";
        break;
    case PX_OPERANDS_NAME:
        words = "(__peerix_ask name)";
        break;
    case PX_OPERANDS_CHOICE:
        words = c->operands;
        break;
    case PX_OPERANDS_COMMAND:
        words = "$__peerix_commands";
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
    px_completion_put_choices(words, ' ');
    puts("'");
}

static void put_group(struct px_slice group)
{
    int len = (int)group.len;
    const char *word = (const char *)group.data;
    printf("complete -c peerix -n '__peerix_at \"\"' -a %.*s\n", len, word);
    for (size_t i = 0; i < px_command_count; i++) {
        const char *second = px_completion_in_group(&px_commands[i], group);
        if (second == NULL)
            continue;
        printf("complete -c peerix -n '__peerix_at \"%.*s\"' -a %s -d ", len, word, second);
        put_phrase(px_commands[i].summary);
        putchar('\n');
    }
}

/* $__peerix_groups are the words that another one follows. */
static void put_head(void)
{
    struct px_slice group;
    fputs("# Completion of peerix for fish, from its own tables: peerix completion fish\n"
          "set -g __peerix_groups",
          stdout);
    for (size_t i = 0; i < px_command_count; i++)
        if (px_completion_begins_group(i, &group))
            printf(" %.*s", (int)group.len, (const char *)group.data);
    fputs("\nset -g __peerix_commands $__peerix_groups", stdout);
    for (size_t i = 0; i < px_command_count; i++)
        if (px_completion_is_single(&px_commands[i]))
            printf(" %s", px_commands[i].name);
    puts("\n"
         "function __peerix_at\n"
         "    set -l words (commandline -opc)\n"
         "    set -l key \"$words[2]\"\n"
         "    if contains -- \"$key\" $__peerix_groups; and set -q words[3]\n"
         "        set key \"$key $words[3]\"\n"
         "    end\n"
         "    contains -- \"$key\" $argv\n"
         "end\n"
         "function __peerix_ask\n"
         "    set -l words (commandline -opc)\n"
         "    set -l where\n"
         "    contains -- --system $words; and set where --system\n"
         "    set -l at (contains -i -- --home $words); and set where --home $words[(math $at + "
         "1)]\n"
         "    $words[1] complete $argv[1] $where 2>/dev/null\n"
         "end\n"
         "complete -c peerix -f");
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
            printf("complete -c peerix -n '__peerix_at \"\"' -a %s -d ", c->name);
            put_phrase(c->summary);
            putchar('\n');
        }
        put_operands(c);
        px_completion_each_option(c, put_option, &of);
    }
}

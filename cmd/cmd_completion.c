/* peerix completion bash: a completion script from the command and option tables.
 *
 * It completes commands and option names; for values the shell's file names serve. */
#include "cmd/cli.h"

/* The first word of a command of two words; empty for others. */
static struct px_slice group_of(const struct px_command *c)
{
    struct px_slice rest = px_slice_cstr(c->name), word;
    (void)px_slice_split(&rest, ' ', &word);
    return rest.data != NULL ? word : (struct px_slice){NULL, 0};
}

/* Commands of a group stand together in the table. */
static bool begins_group(size_t i)
{
    struct px_slice group = group_of(&px_commands[i]);
    return group.len > 0 && (i == 0 || !px_slice_eq(group, group_of(&px_commands[i - 1])));
}

static void put_slice(const char *before, struct px_slice s)
{
    printf("%s%.*s", before, (int)s.len, (const char *)s.data);
}

static void put_first_words(void)
{
    fputs("    '') words='--help --version", stdout);
    for (size_t i = 0; i < px_command_count; i++) {
        const struct px_command *c = &px_commands[i];
        if (begins_group(i))
            put_slice(" ", group_of(c));
        else if (group_of(c).len == 0 && !c->hidden)
            printf(" %s", c->name);
    }
    puts("' ;;");
}

static void put_group(size_t first)
{
    struct px_slice group = group_of(&px_commands[first]);
    put_slice("    ", group);
    fputs(") words='", stdout);
    for (size_t i = first; i < px_command_count; i++)
        if (px_slice_eq(group, group_of(&px_commands[i])))
            printf("%s%s", i > first ? " " : "", px_commands[i].name + group.len + 1);
    puts("' ;;");
}

static void put_command(const struct px_command *c)
{
    printf("    '%s'", c->name);
    if (c->alias != NULL)
        printf("|'%s'", c->alias);
    fputs(") words='--help", stdout);
    for (size_t i = 0; i < c->option_count; i++)
        printf(" --%s", c->options[i].name);
    for (size_t i = 0; i < px_option_count && c->config_options; i++)
        if (px_options[i].flag != NULL)
            printf(" --%s", px_options[i].flag);
    for (size_t i = 0; i < px_common_option_count; i++)
        printf(" --%s", px_common_options[i].name);
    puts("' ;;");
}

/* $key is what the words before the cursor name: nothing yet, a group, or a command. */
static void put_bash(void)
{
    puts("_peerix() {\n"
         "  local cur=${COMP_WORDS[COMP_CWORD]} key= words=\n"
         "  [ \"$COMP_CWORD\" -lt 2 ] || key=${COMP_WORDS[1]}\n"
         "  case $key in");
    for (size_t i = 0; i < px_command_count; i++)
        if (begins_group(i)) {
            put_slice("    ", group_of(&px_commands[i]));
            puts(") [ \"$COMP_CWORD\" -lt 3 ] || key=\"$key ${COMP_WORDS[2]}\" ;;");
        }
    puts("  esac\n  case $key in");
    put_first_words();
    for (size_t i = 0; i < px_command_count; i++) {
        if (begins_group(i))
            put_group(i);
        if (!px_commands[i].hidden)
            put_command(&px_commands[i]);
    }
    puts("  esac\n"
         "  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
         "}\n"
         "complete -o default -F _peerix peerix");
}

int px_cmd_completion(const struct px_cli *cli)
{
    if (strcmp(cli->operands[0], "bash") != 0)
        return px_cli_usage(cli, "only bash is known");
    put_bash();
    return PX_EXIT_OK;
}

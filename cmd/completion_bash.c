/* The script for bash: one function that asks the tables as they were when it was written, and the
 * program itself for names of peers. */
#include "cmd/completion.h"
#include "node/program.h"

static void put_option(void *ctx, const struct px_completion_option *o)
{
    (void)ctx;
    printf(" --%s", o->name);
    if (o->letter != 0)
        printf(" -%c", o->letter);
}

static void put_spelling(const struct px_completion_option *o)
{
    printf("--%s", o->name);
    if (o->letter != 0)
        printf("|-%c", o->letter);
}

/* "      --a|-x) words='b c' ;;": the values behind an option. */
static void put_value(void *ctx, const struct px_completion_option *o)
{
    (void)ctx;
    if (!o->value)
        return;
    fputs("        ", stdout);
    put_spelling(o);
    fputs(") operands=", stdout);
    if (o->choices != NULL) {
        putchar('\'');
        px_completion_put_choices(o->choices, ' ');
        puts("'; options= ;;");
    } else {
        puts("; options= ;;");
    }
}

static void put_operands(const struct px_command *c)
{
    switch (px_completion_operands(c)) {
    case PX_OPERANDS_PEER:
        puts("      operands='@peer'");
        break;
    case PX_OPERANDS_NAME:
        puts("      operands='@name'");
        break;
    case PX_OPERANDS_RELAY:
        puts("      operands='@relay'");
        break;
    case PX_OPERANDS_CHOICE:
        fputs("      operands='", stdout);
        px_completion_put_choices(c->operands, ' ');
        puts("'");
        break;
    case PX_OPERANDS_COMMAND:
        puts("      operands=$commands");
        break;
    case PX_OPERANDS_FILE: /* what bash does when no word fits, so no option must */
        puts("      [[ $cur = -* ]] || options=");
        break;
    case PX_OPERANDS_NONE:
    case PX_OPERANDS_OTHER:
        break;
    }
}

static void put_command(const struct px_command *c)
{
    printf("    '%s'", c->name);
    if (c->alias != NULL)
        printf("|'%s'", c->alias);
    fputs(")\n      options='", stdout);
    px_completion_each_option(c, put_option, NULL);
    puts("'");
    put_operands(c);
    puts("      case $prev in");
    px_completion_each_option(c, put_value, NULL);
    puts("      esac ;;");
}

static void put_first_words(void)
{
    struct px_slice group;
    fputs("  local commands='", stdout);
    for (size_t i = 0; i < px_command_count; i++)
        if (px_completion_begins_group(i, &group))
            printf(" %.*s", (int)group.len, (const char *)group.data);
        else if (px_completion_is_single(&px_commands[i]))
            printf(" %s", px_commands[i].name);
    puts("'");
}

static void put_group(struct px_slice group)
{
    printf("    %.*s) operands='", (int)group.len, (const char *)group.data);
    for (size_t i = 0; i < px_command_count; i++) {
        const char *word = px_completion_in_group(&px_commands[i], group);
        if (word != NULL)
            printf(" %s", word);
    }
    puts("' ;;");
}

/* $key is what the words before the cursor name: nothing yet, a group, or a command. */
static void put_head(void)
{
    struct px_slice group;
    char word[64];
    printf("# Completion of %s for bash, from its own tables: %s completion bash\n_%s() {\n",
           px_program.name, px_program.name, px_completion_word(word));
    puts("  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
         "  local key= options= operands= i where=()");
    put_first_words();
    puts("  for ((i = 2; i < COMP_CWORD; i++)); do\n"
         "    case ${COMP_WORDS[i]} in\n"
         "      --system) where+=(--system) ;;\n"
         "      --home) where+=(--home \"${COMP_WORDS[i+1]}\") ;;\n"
         "    esac\n"
         "  done\n"
         "  [ \"$COMP_CWORD\" -lt 2 ] || key=${COMP_WORDS[1]}\n"
         "  case $key in");
    for (size_t i = 0; i < px_command_count; i++)
        if (px_completion_begins_group(i, &group))
            printf("    %.*s) [ \"$COMP_CWORD\" -lt 3 ] || key=\"$key ${COMP_WORDS[2]}\" ;;\n",
                   (int)group.len, (const char *)group.data);
    puts("  esac");
}

void px_completion_bash(void)
{
    struct px_slice group;
    char word[64];
    put_head();
    puts("  case $key in\n"
         "    '') operands=$commands options='--help --version' ;;");
    for (size_t i = 0; i < px_command_count; i++) {
        if (px_completion_begins_group(i, &group))
            put_group(group);
        if (!px_commands[i].hidden)
            put_command(&px_commands[i]);
    }
    puts("  esac\n"
         "  case $operands in\n"
         "    @*) operands=$(\"${COMP_WORDS[0]}\" complete \"${operands#@}\" \"${where[@]}\" "
         "2>/dev/null) ;;\n"
         "  esac\n"
         "  case $cur in -*) operands= ;; esac\n"
         "  COMPREPLY=($(compgen -W \"$operands $options\" -- \"$cur\"))\n"
         "}");
    printf("complete -o default -F _%s %s\n", px_completion_word(word), px_program.name);
}

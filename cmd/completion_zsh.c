/* The script for zsh, with the tables' phrases beside each word. */
#include "cmd/completion.h"
#include "node/program.h"

/* Inside single quotes, where _describe takes a colon for the end of the word. */
static void put_phrase(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            fputs("'\\''", stdout);
        else if (*text == ':')
            fputs("\\:", stdout);
        else
            putchar(*text);
    }
}

static void put_option(void *ctx, const struct px_completion_option *o)
{
    (void)ctx;
    printf("        '--%s:", o->name);
    put_phrase(o->help);
    puts("'");
    if (o->letter != 0) {
        printf("        '-%c:", o->letter);
        put_phrase(o->help);
        puts("'");
    }
}

static void put_value(void *ctx, const struct px_completion_option *o)
{
    (void)ctx;
    if (!o->value)
        return;
    printf("        (--%s", o->name);
    if (o->letter != 0)
        printf("|-%c", o->letter);
    if (o->choices != NULL) {
        fputs(") compadd -- ", stdout);
        px_completion_put_choices(o->choices, ' ');
        puts("; return ;;");
    } else {
        puts(") _files; return ;;");
    }
}

static void put_operands(const struct px_command *c)
{
    switch (px_completion_operands(c)) {
    case PX_OPERANDS_PEER:
        puts("      operands=(${(f)\"$($words[1] complete peer $where 2>/dev/null)\"})");
        break;
    case PX_OPERANDS_NAME:
        puts("      operands=(${(f)\"$($words[1] complete name $where 2>/dev/null)\"})");
        break;
    case PX_OPERANDS_RELAY:
        puts("      operands=(${(f)\"$($words[1] complete relay $where 2>/dev/null)\"})");
        break;
    case PX_OPERANDS_CHOICE:
        fputs("      operands=(", stdout);
        px_completion_put_choices(c->operands, ' ');
        puts(")");
        break;
    case PX_OPERANDS_COMMAND:
        puts("      operands=(${commands_[@]%%:*})");
        break;
    case PX_OPERANDS_FILE:
        puts("      [[ $PREFIX == -* ]] || _files");
        break;
    case PX_OPERANDS_NONE:
    case PX_OPERANDS_OTHER:
        break;
    }
}

static void put_command(const struct px_command *c)
{
    printf("    ('%s'", c->name);
    if (c->alias != NULL)
        printf("|'%s'", c->alias);
    puts(")\n      options=(");
    px_completion_each_option(c, put_option, NULL);
    puts("      )");
    put_operands(c);
    puts("      case $words[CURRENT-1] in");
    px_completion_each_option(c, put_value, NULL);
    puts("      esac ;;");
}

static void put_first_words(void)
{
    struct px_slice group;
    puts("  commands_=(");
    for (size_t i = 0; i < px_command_count; i++) {
        const struct px_command *c = &px_commands[i];
        if (px_completion_begins_group(i, &group)) {
            printf("    '%.*s'\n", (int)group.len, (const char *)group.data);
        } else if (px_completion_is_single(c)) {
            printf("    '%s:", c->name);
            put_phrase(c->summary);
            puts("'");
        }
    }
    puts("  )");
}

static void put_group(struct px_slice group)
{
    printf("    (%.*s)\n      subcommands=(\n", (int)group.len, (const char *)group.data);
    for (size_t i = 0; i < px_command_count; i++) {
        const char *word = px_completion_in_group(&px_commands[i], group);
        if (word == NULL)
            continue;
        printf("        '%s:", word);
        put_phrase(px_commands[i].summary);
        puts("'");
    }
    puts("      )\n      _describe command subcommands; return ;;");
}

static void put_head(void)
{
    struct px_slice group;
    const char *name = px_program.name;
    printf("#compdef %s\n# Completion of %s for zsh, from its own tables: %s completion zsh\n"
           "_%s() {\n",
           name, name, name, name);
    puts("  local key i\n"
         "  local -a commands_ subcommands options operands where");
    put_first_words();
    puts("  if (( CURRENT == 2 )); then\n"
         "    _describe command commands_\n"
         "    return\n"
         "  fi\n"
         "  for (( i = 3; i < CURRENT; i++ )); do\n"
         "    case $words[i] in\n"
         "      (--system) where+=(--system) ;;\n"
         "      (--home) where+=(--home ${(Q)words[i+1]}) ;;\n"
         "    esac\n"
         "  done\n"
         "  key=$words[2]\n"
         "  case $key in");
    for (size_t i = 0; i < px_command_count; i++)
        if (px_completion_begins_group(i, &group))
            printf("    (%.*s) (( CURRENT == 3 )) || key=\"$key $words[3]\" ;;\n", (int)group.len,
                   (const char *)group.data);
    puts("  esac\n  case $key in");
}

void px_completion_zsh(void)
{
    struct px_slice group;
    put_head();
    for (size_t i = 0; i < px_command_count; i++) {
        if (px_completion_begins_group(i, &group))
            put_group(group);
        if (!px_commands[i].hidden)
            put_command(&px_commands[i]);
    }
    puts("  esac\n"
         "  [[ $PREFIX == -* ]] || compadd -a operands\n"
         "  _describe -o option options\n"
         "}");
    const char *name = px_program.name;
    printf("if [ \"$funcstack[1]\" = _%s ]; then _%s \"$@\"; else compdef _%s %s; fi\n", name, name,
           name, name);
}

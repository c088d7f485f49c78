/* Entry point of every program here: dispatch over its command table. */
#include <fcntl.h>
#include <unistd.h>

#include "cmd/cli.h"
#include "cmd/help.h"
#include "node/spell.h"

static int run_command(const struct px_command *command, int argc, char **argv)
{
    struct px_cli cli;
    int code = PX_EXIT_USAGE;
    int err = px_cli_parse(&cli, command, argc, argv);
    if (err == 0 && cli.help)
        code = px_help_command(command);
    else if (err == 0)
        code = command->run(&cli);
    px_cli_deinit(&cli);
    return code;
}

static int unknown_command(const char *word)
{
    const struct px_cli none = {.command = NULL};
    char quoted[PX_SPELL_QUOTE_MAX];
    struct px_spell near = {.word = px_slice_cstr(word)};
    px_spell_quote(near.word, quoted);
    for (size_t i = 0; i < px_command_count; i++) {
        px_spell_offer(&near, px_commands[i].name);
        if (px_commands[i].alias != NULL)
            px_spell_offer(&near, px_commands[i].alias);
    }
    if (word[0] == '-')
        return px_cli_usage(&none, "unknown option '%s'; options follow the command", quoted);
    if (near.best != NULL)
        return px_cli_usage(&none, "unknown command '%s'; did you mean '%s'?", quoted, near.best);
    return px_cli_usage(&none, "unknown command '%s'", quoted);
}

static int dispatch(int argc, char **argv)
{
    const struct px_cli none = {.command = NULL};
    int words;
    if (argc < 2) {
        px_help_overview(stderr);
        return PX_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return px_help_overview(stdout);
    if (strcmp(argv[1], "--version") == 0)
        argv[1] += 2;
    const struct px_command *command = px_command_find(argc - 1, argv + 1, &words);
    if (command != NULL)
        return run_command(command, argc - 1 - words, argv + 1 + words);
    if (!px_command_is_group(argv[1]))
        return unknown_command(argv[1]);
    if (argc > 2 && (strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0))
        return px_help_group(argv[1], stdout);
    if (argc > 2)
        px_cli_error(&none, "'%s' has no such subcommand", argv[1]);
    px_help_group(argv[1], stderr);
    return PX_EXIT_USAGE;
}

/* Started with descriptors 0 to 2 closed, a socket of ours would take their place and libuv would
 * abort on closing it. Each is opened the wrong way round, so that its use fails as before. */
static void fill_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd)
            return;
}

int main(int argc, char **argv)
{
    fill_standard_descriptors();
    const struct px_cli none = {.command = NULL};
    int code = dispatch(argc, argv);
    /* a script must not take half an answer for a whole one */
    if ((fflush(stdout) != 0 || ferror(stdout) != 0) && code == PX_EXIT_OK) {
        px_cli_error(&none, "cannot write the output");
        code = PX_EXIT_FAILURE;
    }
    return code;
}

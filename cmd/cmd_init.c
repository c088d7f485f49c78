/* peerix init: creates a home, or tells about the one that is there. */
#include <stdlib.h>
#include <unistd.h>

#include "cmd/cli.h"
#include "node/nix/nix_key_io.h"

static void made(void *ctx, const char *path)
{
    (void)ctx;
    fputs("created    ", stdout);
    px_cli_put_safe(stdout, path);
    putchar('\n');
}

static bool has_nix_key(const struct px_home *home)
{
    char path[PX_HOME_FILE_MAX];
    return access(px_home_config_path(home, PX_HOME_NIX_KEY, path), F_OK) == 0;
}

/* The one thing that cannot be changed later without telling everybody: the key's name. */
static char *ask_key_name(void)
{
    char suggestion[PX_NIX_KEY_NAME_MAX + 1];
    char *line = NULL;
    size_t size = 0;
    printf("Name of this machine's signing key [%s]: ", px_home_default_key_name(suggestion));
    fflush(stdout);
    ssize_t n = getline(&line, &size, stdin);
    if (n > 0 && line[n - 1] == '\n')
        line[--n] = '\0';
    if (n <= 0) {
        free(line);
        return NULL;
    }
    return line;
}

/* So that the lines to copy mean this home. */
static void end_line(const struct px_cli *cli)
{
    const char *home = px_cli_get(cli, "home");
    if (px_cli_has(cli, "system"))
        fputs(" --system", stdout);
    if (home != NULL) {
        fputs(" --home ", stdout);
        px_cli_put_safe(stdout, home);
    }
    putchar('\n');
}

static void print_next_steps(const struct px_cli *cli, const struct px_home *home, const char *id)
{
    struct px_cli_style style = px_cli_style(stdout);
    printf("home       ");
    px_cli_put_safe(stdout, home->config_dir);
    printf("\npeer ID    %s%s%s\n\n", style.bold, id, style.reset);
    printf("Next, with your other machine's ID and address:\n"
           "  there    peerix auth add %s --addr THIS-HOST:12303\n"
           "  here     peerix auth add OTHER-ID --addr OTHER-HOST:12303",
           id);
    end_line(cli);
    fputs("  here     peerix daemon", stdout);
    end_line(cli);
    printf("and in nix.conf, with what `peerix nix-key` prints on the other machine:\n"
           "  extra-substituters = http://127.0.0.1:12304\n"
           "  extra-trusted-public-keys = OTHER-NAME:OTHER-KEY\n");
}

int px_cmd_init(const struct px_cli *cli)
{
    char hint[1024] = "", id_text[PX_PEER_ID_TEXT_MAX];
    const char *key_name = px_cli_get(cli, "nix-key-name");
    char *answer = NULL;
    struct px_home home;
    struct px_peer_id id;
    int code = px_cli_home(cli, &home);
    if (code != 0)
        return code;
    if (key_name == NULL && !px_cli_has(cli, "non-interactive") && isatty(STDIN_FILENO) != 0 &&
        isatty(STDOUT_FILENO) != 0 && !has_nix_key(&home))
        key_name = answer = ask_key_name();
    int err = px_home_init(&home, key_name, made, NULL, hint, sizeof(hint));
    free(answer);
    if (err == PX_EINVAL)
        return px_cli_usage(cli, "%s", hint);
    if (err != 0) {
        px_cli_error(cli, "%s", hint);
        return err == PX_EPERM ? PX_EXIT_PERMISSION : PX_EXIT_FAILURE;
    }
    code = px_cli_peer_id(cli, &home, &id);
    if (code == 0)
        print_next_steps(cli, &home, px_peer_id_format(&id, id_text));
    return code;
}

/* peerix init: creates a home, or tells about the one that is there. On a terminal it asks a few
 * questions first. */
#include <stdlib.h>
#include <unistd.h>

#include "auth/file_io.h"
#include "cmd/cli.h"
#include "cmd/help.h"
#include "cmd/init_answers.h"
#include "cmd/json.h"

/* ctx is the list of --json, NULL without. */
static void made(void *ctx, const char *path)
{
    if (ctx != NULL) {
        (void)json_array_append_new(ctx, json_string(path));
        return;
    }
    fputs("created    ", stdout);
    px_cli_put_safe(stdout, path);
    putchar('\n');
}

static bool has(const struct px_home *home, const char *file)
{
    char path[PX_HOME_FILE_MAX];
    return access(px_home_config_path(home, file, path), F_OK) == 0;
}

/* Puts the lines below the sample that px_home_init has just made. */
static int write_answers(const struct px_cli *cli, const struct px_home *home,
                         const struct px_init_answers *a)
{
    char path[PX_HOME_FILE_MAX];
    struct px_buf text;
    px_home_config_path(home, PX_HOME_CONFIG, path);
    px_buf_init(&text, PX_CONFIG_FILE_MAX);
    int err = px_file_read(path, PX_CONFIG_FILE_MAX, &text);
    if (err == 0) {
        px_buf_put_cstr(&text, "\n# As given to peerix init:\n");
        err = px_buf_put(&text, px_buf_slice(&a->lines));
    }
    if (err == 0)
        err = px_file_write_atomic(path, px_buf_slice(&text), 0644, false);
    px_buf_deinit(&text);
    if (err == 0)
        return 0;
    px_cli_error(cli, "%s: %s", path, px_strerror(err));
    return err == PX_EPERM ? PX_EXIT_PERMISSION : PX_EXIT_FAILURE;
}

static int create(const struct px_cli *cli, const struct px_home *home,
                  const struct px_init_answers *a, bool had_config, json_t *created)
{
    char hint[1024] = "";
    int err = px_home_init(home, a->key_name, made, created, hint, sizeof(hint));
    if (err == PX_EINVAL)
        return px_cli_usage(cli, "%s", hint);
    if (err != 0) {
        px_cli_error(cli, "%s", hint);
        return err == PX_EPERM ? PX_EXIT_PERMISSION : PX_EXIT_FAILURE;
    }
    if (a->lines.len == 0)
        return 0;
    if (!had_config)
        return write_answers(cli, home, a);
    px_cli_warn(cli, "%s/%s is there already and stays as it is; edit it, or see `peerix config`",
                home->config_dir, PX_HOME_CONFIG);
    return 0;
}

static bool exists(const char *command)
{
    char word[32];
    char *words[] = {word};
    int used;
    snprintf(word, sizeof(word), "%s", command);
    return px_command_find(1, words, &used) != NULL;
}

static void print_step(const struct px_cli *cli, const char *where, const char *command)
{
    char words[PX_HOME_PATH_MAX + 16];
    printf("  %-9s%s", where, command);
    px_cli_put_safe(stdout, px_cli_home_words(cli, words, sizeof(words)));
    putchar('\n');
}

static void print_next_steps(const struct px_cli *cli, const struct px_home *home, const char *id)
{
    struct px_cli_style style = px_cli_style(stdout);
    printf("home       ");
    px_cli_put_safe(stdout, home->config_dir);
    printf("\npeer ID    %s%s%s\n\nNext, start it, best as a service:\n", style.bold, id,
           style.reset);
    print_step(cli, "here", "peerix daemon");
    if (exists("invite")) {
        puts("and pair it with your other machine:");
        print_step(cli, "here", "peerix invite");
        puts("  there    peerix join CODE");
        puts("or by hand, with the other machine's ID and address:");
    } else {
        puts("and with your other machine's ID and address:");
    }
    printf("  there    peerix auth add %s --addr THIS-HOST:12303\n", id);
    print_step(cli, "here", "peerix auth add OTHER-ID --addr OTHER-HOST:12303");
    puts("nix.conf needs, with what `peerix nix-key` prints on the other machine:\n"
         "  extra-substituters = http://127.0.0.1:12304\n"
         "  extra-trusted-public-keys = OTHER-NAME:OTHER-KEY");
}

static int report(const struct px_cli *cli, const struct px_home *home, json_t *created)
{
    char text[PX_PEER_ID_TEXT_MAX];
    struct px_peer_id id;
    int code = px_cli_peer_id(cli, home, &id);
    if (code != 0)
        return code;
    px_peer_id_format(&id, text);
    if (created != NULL)
        return px_json_print(cli, json_pack("{s:s, s:s, s:O}", "peer", text, "home",
                                            home->config_dir, "created", created));
    print_next_steps(cli, home, text);
    return PX_EXIT_OK;
}

/* A script that wants JSON answers no questions. */
static bool may_ask(const struct px_cli *cli)
{
    return !px_cli_has(cli, "non-interactive") && !px_cli_has(cli, "json") &&
           isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0;
}

int px_cmd_init(const struct px_cli *cli)
{
    struct px_home home;
    struct px_init_answers answers;
    int code = px_cli_home(cli, &home);
    if (code != 0)
        return code;
    bool had_config = has(&home, PX_HOME_CONFIG);
    json_t *created = px_cli_has(cli, "json") ? json_array() : NULL;
    code = px_init_answers_take(cli, may_ask(cli), !has(&home, PX_HOME_NIX_KEY), !had_config,
                                &answers);
    if (code == 0)
        code = create(cli, &home, &answers, had_config, created);
    px_init_answers_deinit(&answers);
    if (code == 0)
        code = report(cli, &home, created);
    json_decref(created);
    return code;
}

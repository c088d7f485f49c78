/* peerix-relay init: creates a home, or tells about the one that is there. */
#include "cmd_relay/commands.h"
#include "cmd_relay/config.h"

static void made(void *ctx, const char *path)
{
    (void)ctx;
    fputs("created    ", stdout);
    px_cli_put_safe(stdout, path);
    putchar('\n');
}

/* False when it is not known yet where nodes reach this machine. */
static bool print_url(const struct px_cli *cli, const struct px_home *home,
                      const struct px_peer_id *id)
{
    char url[PX_RELAY_URL_TEXT_MAX], message[256];
    struct px_config *config;
    if (px_cli_load_config(cli, home, &config, message, sizeof(message)) != 0)
        return true; /* the daemon will say what is wrong with it */
    bool known = px_relay_config_url(px_relay_config(config), id, url);
    if (known) {
        fputs("url        ", stdout);
        px_cli_put_safe(stdout, url);
        putchar('\n');
    }
    px_config_free(config);
    return known;
}

int px_relay_cmd_init(const struct px_cli *cli)
{
    char hint[1024] = "", id_text[PX_PEER_ID_TEXT_MAX], words[PX_HOME_PATH_MAX + 32];
    struct px_cli_style style = px_cli_style(stdout);
    struct px_home home;
    struct px_peer_id id;
    int code = px_cli_home(cli, &home);
    if (code != 0)
        return code;
    int err = px_home_init(&home, NULL, made, NULL, hint, sizeof(hint));
    if (err != 0) {
        px_cli_error(cli, "%s", hint);
        return err == PX_EPERM ? PX_EXIT_PERMISSION : PX_EXIT_FAILURE;
    }
    code = px_cli_peer_id(cli, &home, &id);
    if (code != 0)
        return code;
    px_cli_home_words(cli, words, sizeof(words));
    bool known = print_url(cli, &home, &id);
    printf("peer ID    %s%s%s\n\nNext, with the ID that `peerix whoami` prints on a node:\n"
           "  here     peerix-relay auth add NODE-ID",
           style.bold, px_peer_id_format(&id, id_text), style.reset);
    px_cli_put_safe(stdout, words);
    fputs("\n  here     peerix-relay daemon", stdout);
    px_cli_put_safe(stdout, words);
    fputs("\n  there    peerix relay add URL\n", stdout);
    if (!known)
        puts(
            "The URL is known once config.yaml has `public-addr`, this machine's name or address.");
    return PX_EXIT_OK;
}

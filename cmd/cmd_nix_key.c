/* peerix nix-key: the public half of the key that signs this machine's own builds. */
#include "cmd/cli.h"
#include "cmd/json.h"
#include "node/nix/nix_key_io.h"

static int print_public(const struct px_cli *cli, const struct px_nix_secret_key *secret)
{
    struct px_nix_public_key key;
    struct px_buf text;
    px_nix_secret_key_public(secret, &key);
    px_buf_init(&text, PX_NIX_KEY_TEXT_MAX);
    int err = px_nix_public_key_format(&key, &text);
    int code = err == 0 ? PX_EXIT_OK : PX_EXIT_FAILURE;
    if (err != 0)
        px_cli_error(cli, "%s", px_strerror(err));
    else if (px_cli_has(cli, "json"))
        code = px_json_print(
            cli, json_pack("{s:o}", "nix_key", json_stringn((const char *)text.data, text.len)));
    else
        printf("%.*s\n", (int)text.len, (const char *)text.data);
    px_buf_deinit(&text);
    return code;
}

int px_cmd_nix_key(const struct px_cli *cli)
{
    char hint[1024] = "";
    const char *file = px_cli_get(cli, "nix-key");
    struct px_home home;
    struct px_config *config;
    struct px_nix_secret_key secret;
    int code = px_cli_home(cli, &home);
    if (code == 0)
        code = px_cli_config(cli, &home, &config);
    if (code != 0)
        return code;
    int err = px_crypto_init();
    if (err == 0)
        err = px_nix_key_load(&home, file != NULL ? file : config->nix_key, &secret, hint,
                              sizeof(hint));
    px_config_free(config);
    if (err != 0)
        return px_cli_file_error(cli, err, hint);
    code = print_public(cli, &secret);
    px_nix_secret_key_wipe(&secret);
    return code;
}

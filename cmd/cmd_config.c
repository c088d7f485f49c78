/* peerix config sample, peerix config validate */
#include <unistd.h>

#include "cmd/cli.h"

int px_cmd_config_sample(const struct px_cli *cli)
{
    struct px_buf text;
    px_buf_init(&text, PX_CONFIG_FILE_MAX);
    int err = px_config_sample(&text);
    if (err == 0)
        fwrite(text.data, 1, text.len, stdout);
    else
        px_cli_error(cli, "%s", px_strerror(err));
    px_buf_deinit(&text);
    return err == 0 ? PX_EXIT_OK : PX_EXIT_FAILURE;
}

int px_cmd_config_validate(const struct px_cli *cli)
{
    char path[PX_HOME_FILE_MAX];
    struct px_home home;
    struct px_config *config;
    int code = px_cli_home(cli, &home);
    if (code == 0)
        code = px_cli_config(cli, &home, &config);
    if (code != 0)
        return code;
    px_config_free(config);
    px_cli_put_safe(stdout, px_home_config_path(&home, PX_HOME_CONFIG, path));
    puts(access(path, F_OK) == 0 ? ": good" : ": not there, the defaults apply");
    return PX_EXIT_OK;
}

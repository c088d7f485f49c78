/* peerix-relay daemon: options into a configuration, then the relay runs until it is told to stop.
 */
#include <stdlib.h>

#include "cmd_relay/commands.h"
#include "cmd_relay/relay.h"
#include "node/log_io.h"

struct context {
    const struct px_cli *cli;
    const struct px_home *home;
    const struct px_log *log;
};

static int reload(void *ctx, struct px_config **ret)
{
    const struct context *c = ctx;
    char message[1024];
    int err = px_cli_load_config(c->cli, c->home, ret, message, sizeof(message));
    if (err != 0)
        px_log_event(c->log, PX_LOG_ERROR, "config.unusable", PX_F_ERR(err),
                     PX_F_STR("message", message));
    return err;
}

static int exit_code(const char *part, int err)
{
    if (strcmp(part, "control") == 0 && err == PX_EEXIST)
        return PX_EXIT_RUNNING;
    bool address = strcmp(part, "listen") == 0 || strcmp(part, "metrics") == 0;
    if (address && (err == PX_EADDR || err == PX_EPERM || err == PX_EINVAL))
        return PX_EXIT_ADDRESS;
    if (strcmp(part, "asn-file") == 0)
        return PX_EXIT_CONFIG;
    return err == PX_EPERM ? PX_EXIT_PERMISSION : PX_EXIT_FAILURE;
}

static int run(const struct px_cli *cli, const struct px_home *home, const struct px_config *config,
               const struct px_log *log)
{
    struct context c = {cli, home, log};
    const struct px_relay_run r = {home, config, px_relay_config(config), log, reload, &c};
    const char *part;
    char hint[512];
    int err = px_relay_run(&r, &part, hint, sizeof(hint));
    if (err == 0)
        return PX_EXIT_OK;
    px_log_event(log, PX_LOG_ERROR, "daemon.failed", PX_F_STR("part", part), PX_F_ERR(err),
                 PX_F_STR("hint", hint));
    return exit_code(part, err);
}

int px_cmd_daemon(const struct px_cli *cli)
{
    struct px_home home;
    struct px_peer_id id;
    struct px_config *config;
    struct px_log_io *log;
    int code = px_cli_home(cli, &home);
    if (code == 0)
        code = px_cli_peer_id(cli, &home, &id); /* a missing key is told in plain words */
    if (code == 0)
        code = px_cli_config(cli, &home, &config);
    if (code != 0)
        return code;
    const struct px_relay_config *c = px_relay_config(config);
    if (px_log_io_new(c->log_level, strcmp(c->log_format, "json") == 0, &log) == 0) {
        code = run(cli, &home, config, px_log_io_sink(log));
        px_log_io_free(log);
    } else {
        px_cli_error(cli, "%s", px_strerror(PX_ENOMEM));
        code = PX_EXIT_FAILURE;
    }
    px_config_free(config);
    return code;
}

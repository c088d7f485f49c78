/* peerix daemon: options into a configuration, then the node runs until it is told to stop. */
#include "cmd/cli.h"
#include "node/log_io.h"
#include "node/node.h"

enum cause { CAUSE_KEY, CAUSE_CONFIG, CAUSE_ADDRESS, CAUSE_STORE, CAUSE_CONTROL, CAUSE_OTHER };

static enum cause cause_of(const char *part)
{
    static const struct {
        const char *part;
        enum cause cause;
    } table[] = {
        {"identity", CAUSE_KEY},        {"nix-key", CAUSE_KEY},
        {"authorized_keys", CAUSE_KEY}, {"trusted-public-keys", CAUSE_CONFIG},
        {"share-keys", CAUSE_CONFIG},   {"listen", CAUSE_ADDRESS},
        {"http", CAUSE_ADDRESS},        {"store", CAUSE_STORE},
        {"control", CAUSE_CONTROL},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(table); i++)
        if (strcmp(part, table[i].part) == 0)
            return table[i].cause;
    return CAUSE_OTHER;
}

static int exit_code(enum cause cause, int err)
{
    switch (cause) {
    case CAUSE_KEY:
        return err == PX_EPERM ? PX_EXIT_PERMISSION : PX_EXIT_FAILURE;
    case CAUSE_CONFIG:
        return PX_EXIT_CONFIG;
    case CAUSE_ADDRESS:
        return err == PX_EADDR || err == PX_EPERM || err == PX_EINVAL ? PX_EXIT_ADDRESS
                                                                      : PX_EXIT_FAILURE;
    case CAUSE_STORE:
        return PX_EXIT_STORE;
    case CAUSE_CONTROL:
        return err == PX_EEXIST  ? PX_EXIT_RUNNING
               : err == PX_EPERM ? PX_EXIT_PERMISSION
                                 : PX_EXIT_FAILURE;
    case CAUSE_OTHER:
        break;
    }
    return PX_EXIT_FAILURE;
}

static const char *next_step(enum cause cause)
{
    switch (cause) {
    case CAUSE_KEY:
        return "check the file's owner and mode";
    case CAUSE_CONFIG:
        return "peerix config validate";
    case CAUSE_ADDRESS:
        return "another program, perhaps another peerix daemon, may use it: choose an address "
               "with --listen or --http, port 0 picks a free one";
    case CAUSE_STORE:
        return "is nix installed and its daemon running? see --store";
    case CAUSE_CONTROL:
        return "see the hint above";
    case CAUSE_OTHER:
        break;
    }
    return "-";
}

/* What could not be used, for those parts whose log event does not say so already. */
static const char *subject(const char *part, const struct px_config *config)
{
    if (strcmp(part, "listen") == 0)
        return config->listen;
    return strcmp(part, "http") == 0 ? config->http : "-";
}

static int run(const struct px_home *home, const struct px_config *config, const struct px_log *log)
{
    const char *part = "-";
    int err = px_node_run(home, config, log, &part);
    if (err == 0)
        return PX_EXIT_OK;
    enum cause cause = cause_of(part);
    px_log_event(log, PX_LOG_ERROR, "daemon.failed", PX_F_STR("part", part),
                 PX_F_STR("subject", subject(part, config)), PX_F_ERR(err),
                 PX_F_STR("next", next_step(cause)));
    return exit_code(cause, err);
}

int px_cmd_daemon(const struct px_cli *cli)
{
    struct px_home home;
    struct px_peer_id id;
    struct px_config *config;
    struct px_log_io *log;
    int code = px_cli_home(cli, &home);
    if (code == 0)
        code = px_cli_config(cli, &home, &config);
    if (code != 0)
        return code;
    /* before anything is logged, so that a missing key is told in plain words */
    code = px_cli_peer_id(cli, &home, &id);
    if (code == 0) {
        int err = px_log_io_new(config->log_level, strcmp(config->log_format, "json") == 0, &log);
        if (err == 0) {
            code = run(&home, config, px_log_io_sink(log));
            px_log_io_free(log);
        } else {
            px_cli_error(cli, "%s", px_strerror(err));
            code = PX_EXIT_FAILURE;
        }
    }
    px_config_free(config);
    return code;
}

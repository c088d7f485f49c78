/* peerix daemon: options into a configuration, then the node runs until it is told to stop;
 * again when a changed configuration asks for it. */
#include <stdlib.h>
#include <unistd.h>

#include "cmd/cli.h"
#include "node/config_apply_io.h"
#include "node/log_io.h"
#include "node/node.h"
#include "node/service_manager.h"

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

static int report(const struct px_log *log, const struct px_config *config, const char *part,
                  int err)
{
    enum cause cause = cause_of(part);
    px_log_event(log, PX_LOG_ERROR, "daemon.failed", PX_F_STR("part", part),
                 PX_F_STR("subject", subject(part, config)), PX_F_ERR(err),
                 PX_F_STR("next", next_step(cause)));
    return exit_code(cause, err);
}

/* What lasts while the node is started again for a changed configuration. */
struct daemon {
    const struct px_cli *cli;
    struct px_home home;
    struct px_config *config;
    struct px_log_io *log;
    int listen_fd;     /* the substituter's: the service manager's, or of the run before */
    char *listen_addr; /* of the latter; NULL for the service manager's, which always counts */
};

static int on_load(void *ctx, struct px_config **ret, char *ret_message, size_t message_size)
{
    struct daemon *d = ctx;
    return px_cli_load_config(d->cli, &d->home, ret, ret_message, message_size);
}

static void on_log_level(void *ctx, const char *level)
{
    struct daemon *d = ctx;
    (void)!px_log_io_set_level(d->log, level); /* the option table knows the same levels */
}

/* Takes back an unconfirmed change whose time is over, or any (`overdue`). True if it did. */
static bool recover(const struct daemon *d, bool overdue)
{
    struct px_config_state state = {.reverted = false};
    struct px_config_clock now;
    int err = px_config_clock_now(&now);
    if (err == 0)
        err = px_config_recover(&d->home, overdue, &now, &state);
    if (err != 0)
        px_cli_warn(d->cli, "the change that waits to be confirmed cannot be looked after: %s",
                    px_strerror(err));
    return state.reverted;
}

static int load(struct daemon *d)
{
    px_config_free(d->config);
    d->config = NULL;
    int code = px_cli_config(d->cli, &d->home, &d->config);
    if (code == PX_EXIT_CONFIG && recover(d, true)) {
        px_cli_warn(d->cli, "the unconfirmed change of config.yaml was taken back");
        code = px_cli_config(d->cli, &d->home, &d->config);
    }
    return code;
}

/* The socket of the run before serves the next one unless the address was changed. */
static void drop_other_socket(struct daemon *d)
{
    if (d->listen_addr == NULL || strcmp(d->listen_addr, d->config->http) == 0)
        return;
    close(d->listen_fd);
    d->listen_fd = -1;
}

static void keep_socket(struct daemon *d, int fd)
{
    if (fd < 0)
        return;
    free(d->listen_addr);
    d->listen_addr = strdup(d->config->http);
    d->listen_fd = fd;
    if (d->listen_addr == NULL) { /* the next run opens it anew */
        close(fd);
        d->listen_fd = -1;
    }
}

/* Once through start, run and stop. *ret_again: a changed configuration wants another round. */
static int run_once(struct daemon *d, bool *ret_again)
{
    const struct px_log *log = px_log_io_sink(d->log);
    struct px_node_end end;
    drop_other_socket(d);
    struct px_node_env env = {.home = &d->home,
                              .config = d->config,
                              .log = log,
                              .listen_fd = d->listen_fd,
                              .load = on_load,
                              .set_log_level = on_log_level,
                              .ctx = d};
    int err = px_node_run(&env, &end);
    *ret_again = end.restart;
    keep_socket(d, end.listen_fd);
    if (err == 0)
        return PX_EXIT_OK;
    int code = report(log, d->config, end.part, err);
    /* a change nobody confirmed must not keep the daemon down */
    *ret_again = !end.ready && recover(d, true);
    if (*ret_again)
        px_log_event(log, PX_LOG_WARN, "config.reverted",
                     PX_F_STR("why", "the daemon does not start with the unconfirmed change"));
    return code;
}

static int open_log(struct daemon *d)
{
    int err =
        px_log_io_new(d->config->log_level, strcmp(d->config->log_format, "json") == 0, &d->log);
    if (err == 0)
        return 0;
    px_cli_error(d->cli, "%s", px_strerror(err));
    return PX_EXIT_FAILURE;
}

static int run(struct daemon *d)
{
    bool again = true;
    int code = 0;
    while (again && code == 0) {
        code = open_log(d);
        if (code != 0)
            return code;
        code = run_once(d, &again);
        px_log_io_free(d->log);
        if (again)
            code = load(d);
    }
    return code;
}

static int take_socket(struct daemon *d)
{
    int err = px_service_listen_fd(&d->listen_fd);
    if (err == 0)
        return 0;
    px_cli_error(d->cli, "the service manager passed something else than one listening TCP socket");
    return PX_EXIT_ADDRESS;
}

int px_cmd_daemon(const struct px_cli *cli)
{
    struct daemon d = {.cli = cli, .listen_fd = -1};
    struct px_peer_id id;
    int code = px_cli_home(cli, &d.home);
    if (code != 0)
        return code;
    if (recover(&d, false))
        px_cli_warn(cli, "the unconfirmed change of config.yaml was taken back: its time was over");
    code = load(&d);
    /* before anything is logged, so that a missing key is told in plain words */
    if (code == 0)
        code = px_cli_peer_id(cli, &d.home, &id);
    if (code == 0)
        code = take_socket(&d);
    if (code == 0)
        code = run(&d);
    if (d.listen_fd >= 0)
        close(d.listen_fd);
    free(d.listen_addr);
    px_config_free(d.config);
    return code;
}

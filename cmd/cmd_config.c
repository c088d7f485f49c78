/* peerix config …: sample, validate, show, apply, confirm, rollback, history.
 *
 * The files are changed here (node/config_apply_io), also while a daemon runs; it is then told to
 * read them. So a change works the same with and without one. */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "auth/file_io.h"
#include "cmd/cli.h"
#include "cmd/control_client.h"
#include "cmd/json.h"
#include "node/config_json.h"

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

/* Reads FILE ("-": standard input) and checks it. 0, or an exit code after telling people. */
static int read_and_check(const struct px_cli *cli, const char *file, struct px_buf *out)
{
    char message[1024];
    bool standard_input = strcmp(file, "-") == 0;
    int err = standard_input ? px_file_read_fd(STDIN_FILENO, PX_CONFIG_FILE_MAX, out)
                             : px_file_read(file, PX_CONFIG_FILE_MAX, out);
    if (err != 0) {
        px_cli_error(cli, "cannot read %s: %s", file,
                     err == PX_ELIMIT ? "larger than 1 MiB" : px_strerror(err));
        return err == PX_EPERM ? PX_EXIT_PERMISSION : PX_EXIT_CONFIG;
    }
    err = px_config_check(px_buf_slice(out), standard_input ? "standard input" : file, message,
                          sizeof(message));
    if (err == 0)
        return 0;
    px_cli_error(cli, "%s", message);
    return PX_EXIT_CONFIG;
}

static int say_good(const struct px_cli *cli, const char *file, bool is_there)
{
    if (px_cli_has(cli, "json"))
        return px_json_print(
            cli, json_pack("{s:s,s:b,s:b}", "file", file, "exists", is_there, "valid", true));
    px_cli_put_safe(stdout, file);
    puts(is_there ? ": good" : ": not there, the defaults apply");
    return PX_EXIT_OK;
}

static int validate_file(const struct px_cli *cli, const char *file)
{
    struct px_buf text;
    px_buf_init(&text, PX_CONFIG_FILE_MAX);
    int code = read_and_check(cli, file, &text);
    px_buf_deinit(&text);
    if (code != 0)
        return code;
    return say_good(cli, file, true);
}

int px_cmd_config_validate(const struct px_cli *cli)
{
    char path[PX_HOME_FILE_MAX];
    struct px_home home;
    struct px_config *config;
    if (cli->operand_count > 0)
        return validate_file(cli, cli->operands[0]);
    int code = px_cli_home(cli, &home);
    if (code == 0)
        code = px_cli_config(cli, &home, &config);
    if (code != 0)
        return code;
    px_config_free(config);
    px_home_config_path(&home, PX_HOME_CONFIG, path);
    return say_good(cli, path, access(path, F_OK) == 0);
}

/* ---- what all that follow do first ---- */

static int fail(const struct px_cli *cli, int err)
{
    const char *what = px_strerror(err);
    switch (err) {
    case PX_EBUSY:
        what = "another change waits, or another command is at work: `peerix config confirm` keeps "
               "the change, `peerix config rollback` takes it back";
        break;
    case PX_EPERM:
        what = "permission denied, or config.yaml is a symbolic link: then change what it leads to";
        break;
    case PX_ENOENT:
        what = "there is no such earlier configuration; see `peerix config history`";
        break;
    case PX_EPARSE:
        what = "the marker config.pending is damaged: compare config.yaml with config.history, "
               "then remove it";
        break;
    default: /* any error code may come in */
        break;
    }
    px_cli_error(cli, "%s", what);
    return err == PX_EPERM ? PX_EXIT_PERMISSION : PX_EXIT_FAILURE;
}

/* Resolves the home and finishes what is overdue there. */
static int begin(const struct px_cli *cli, struct px_home *home, struct px_config_clock *now,
                 struct px_config_state *state)
{
    int code = px_cli_home(cli, home);
    if (code != 0)
        return code;
    if (access(home->config_dir, X_OK) != 0 || access(home->state_dir, X_OK) != 0) {
        px_cli_error(cli, "there is no home at %s yet: run `peerix init`", home->config_dir);
        return PX_EXIT_NOT_INITIALISED;
    }
    int err = px_config_clock_now(now);
    if (err == 0)
        err = px_config_recover(home, false, now, state);
    if (err != 0)
        return fail(cli, err);
    if (state->reverted)
        px_cli_warn(cli, "an earlier change was not confirmed in time and has been taken back");
    return 0;
}

/* What a command has done to the file, for people and for scripts. */
struct done {
    const char *state, *words;
    uint64_t timeout_ms; /* until it is taken back; 0: it stays */
};

static void put_effect(const char *effect)
{
    if (effect == NULL)
        puts("no daemon of this home is running; the next one starts with it");
    else if (strcmp(effect, "restart") == 0)
        puts("the daemon starts its parts anew with it");
    else if (strcmp(effect, "live") == 0)
        puts("the daemon has taken it up");
    else
        puts("for the running daemon nothing changes");
}

/* Tells the running daemon, if there is one, to read the file, and people what that comes to. */
static int tell_daemon(const struct px_cli *cli, const struct px_home *home,
                       const struct done *done)
{
    json_t *answer = NULL;
    const char *effect = NULL;
    int code = PX_EXIT_OK;
    bool json = px_cli_has(cli, "json");
    if (!json && done->words != NULL)
        puts(done->words);
    if (px_control_is_running(home)) {
        code = px_control_call(cli, "POST", "/v1/config/reload", NULL, &answer);
        if (code != 0)
            return code;
        effect = px_json_text(answer, "effect");
    }
    if (json)
        code = px_json_print(cli, json_pack("{s:s,s:o,s:s?}", "state", done->state, "taken_back_ms",
                                            done->timeout_ms != 0
                                                ? json_integer((json_int_t)done->timeout_ms)
                                                : json_null(),
                                            "effect", effect));
    else
        put_effect(effect);
    json_decref(answer);
    return code;
}

/* ---- show ---- */

/* "name: value", or "name:" above the lines of a list. */
static void put_shown(const struct px_config *config, const struct px_option *o, struct px_buf *out)
{
    struct px_buf value;
    px_buf_init(&value, PX_CONFIG_FILE_MAX);
    int err = px_config_put_value(config, o, &value);
    bool list = value.len > 0 && value.data[0] == '\n';
    (void)px_buf_printf(out, "%s:%s", o->name, list ? "" : " ");
    (void)px_buf_put(out, px_buf_slice(&value));
    if (err != 0 && out->err == 0)
        out->err = err;
    px_buf_deinit(&value);
}

static int show_text(const struct px_cli *cli, const struct px_config *config)
{
    struct px_config *defaults;
    struct px_buf out;
    int err = px_config_new(&defaults);
    if (err != 0)
        return fail(cli, err);
    px_buf_init(&out, 4 * PX_CONFIG_FILE_MAX);
    for (size_t i = 0; i < px_option_count; i++) {
        const struct px_option *o = &px_options[i];
        put_shown(config, o, &out);
        (void)px_buf_put_cstr(&out,
                              px_config_same_value(config, defaults, o) ? "  # default\n" : "\n");
    }
    err = out.err;
    if (err == 0)
        fwrite(out.data, 1, out.len, stdout);
    px_buf_deinit(&out);
    px_config_free(defaults);
    return err == 0 ? PX_EXIT_OK : fail(cli, err);
}

static json_t *pending_json(const struct px_config_state *state)
{
    return state->pending ? json_pack("{s:I}", "left_ms", (json_int_t)state->left_ms) : json_null();
}

int px_cmd_config_show(const struct px_cli *cli)
{
    char path[PX_HOME_FILE_MAX];
    struct px_home home;
    struct px_config *config;
    struct px_config_clock now;
    struct px_config_state state = {.pending = false};
    int code = px_cli_home(cli, &home);
    if (code == 0)
        code = px_cli_config(cli, &home, &config);
    if (code != 0)
        return code;
    /* who may only read still sees the options */
    if (px_config_clock_now(&now) == 0)
        (void)!px_config_recover(&home, false, &now, &state);
    px_home_config_path(&home, PX_HOME_CONFIG, path);
    if (px_cli_has(cli, "json"))
        code =
            px_json_print(cli, json_pack("{s:s,s:o,s:o}", "file", path, "waiting",
                                         pending_json(&state), "options", px_config_json(config)));
    else
        code = show_text(cli, config);
    if (state.pending && !px_cli_has(cli, "json"))
        printf("# not confirmed: taken back in %" PRIu64 " s\n", state.left_ms / 1000);
    px_config_free(config);
    return code;
}

/* ---- apply, confirm, rollback ---- */

/* Without the option 0: at once and for good. */
static int confirm_timeout(const struct px_cli *cli, uint64_t *ret)
{
    const char *text = px_cli_get(cli, "confirm-timeout");
    *ret = 0;
    if (text == NULL)
        return 0;
    if (px_config_parse_msec(px_slice_cstr(text), ret) != 0 || *ret < PX_CONFIG_CONFIRM_MIN_MS ||
        *ret > PX_CONFIG_CONFIRM_MAX_MS)
        return px_cli_usage(cli, "--confirm-timeout: '%s' is not a time of 1s to 24h, like 5m",
                            text);
    return 0;
}

static void until_when(uint64_t timeout_ms, const struct px_config_clock *now, char *ret,
                       size_t size)
{
    char when[32];
    struct tm tm;
    time_t then = (time_t)((now->wall_ms + timeout_ms) / 1000);
    localtime_r(&then, &tm);
    strftime(when, sizeof(when), "%H:%M:%S", &tm);
    snprintf(ret, size, "it is taken back at %s unless `peerix config confirm` comes first", when);
}

static const struct done like_that_already = {.state = "unchanged",
                                              .words = "config.yaml is like that already"};

int px_cmd_config_apply(const struct px_cli *cli)
{
    struct px_home home;
    struct px_config_clock now;
    struct px_config_state state;
    struct px_buf text;
    struct done done = {.state = "applied"};
    char words[128];
    px_buf_init(&text, PX_CONFIG_FILE_MAX);
    int code = confirm_timeout(cli, &done.timeout_ms);
    if (code == 0) /* root may read it, the owner of the home perhaps not */
        code = read_and_check(cli, cli->operands[0], &text);
    if (code == 0)
        code = begin(cli, &home, &now, &state);
    if (code == 0) {
        int err = px_config_apply(&home, px_buf_slice(&text), done.timeout_ms, &now);
        if (err == PX_EEXIST) {
            done = like_that_already;
        } else if (err != 0) {
            code = fail(cli, err);
        } else if (done.timeout_ms != 0) {
            until_when(done.timeout_ms, &now, words, sizeof(words));
            done.words = words;
        }
    }
    px_buf_deinit(&text);
    return code != 0 ? code : tell_daemon(cli, &home, &done);
}

int px_cmd_config_confirm(const struct px_cli *cli)
{
    struct px_home home;
    struct px_config_clock now;
    struct px_config_state state;
    int code = begin(cli, &home, &now, &state);
    if (code != 0)
        return code;
    if (!state.pending) {
        px_cli_error(cli, "no change waits to be confirmed");
        return PX_EXIT_FAILURE;
    }
    int err = px_config_confirm(&home, &now);
    if (err == PX_ETIMEDOUT)
        px_cli_warn(cli, "too late: the change has just been taken back");
    if (err != 0 && err != PX_ETIMEDOUT)
        return fail(cli, err);
    static const struct done confirmed = {.state = "confirmed",
                                          .words = "confirmed: the change stays"};
    static const struct done reverted = {.state = "reverted"};
    code = tell_daemon(cli, &home, err == 0 ? &confirmed : &reverted);
    return err == 0 ? code : PX_EXIT_TIMEOUT;
}

static int version_operand(const struct px_cli *cli, uint64_t *ret)
{
    *ret = 0;
    if (cli->operand_count == 0)
        return 0;
    if (px_slice_parse_u64(px_slice_cstr(cli->operands[0]), ret) == 0 && *ret != 0)
        return 0;
    return px_cli_usage(cli, "'%s' is no number of `peerix config history`", cli->operands[0]);
}

/* What comes back must still be understood; a text of another version of peerix may not be. */
static int check_version(const struct px_cli *cli, const struct px_home *home, uint64_t number)
{
    char message[1024];
    struct px_buf text;
    px_buf_init(&text, PX_CONFIG_FILE_MAX);
    int err = px_config_version_read(home, number, &text);
    int code = err != 0 ? fail(cli, err) : 0;
    if (code == 0 && px_config_check(px_buf_slice(&text), "the earlier configuration", message,
                                     sizeof(message)) != 0) {
        px_cli_error(cli, "%s", message);
        code = PX_EXIT_CONFIG;
    }
    px_buf_deinit(&text);
    return code;
}

int px_cmd_config_rollback(const struct px_cli *cli)
{
    struct px_home home;
    struct px_config_clock now;
    struct px_config_state state;
    uint64_t number;
    int code = version_operand(cli, &number);
    if (code == 0)
        code = begin(cli, &home, &now, &state);
    if (code == 0 && (number != 0 || !state.pending))
        code = check_version(cli, &home, number);
    if (code != 0)
        return code;
    int err = px_config_rollback(&home, number, &now);
    if (err != 0 && err != PX_EEXIST)
        return fail(cli, err);
    static const struct done back = {.state = "rolled-back",
                                     .words = "the earlier configuration is back; `peerix config "
                                              "rollback` again undoes that"};
    return tell_daemon(cli, &home, err == PX_EEXIST ? &like_that_already : &back);
}

/* ---- history ---- */

static int history_json(const struct px_cli *cli, const struct px_config_version *v, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(list, px_config_version_json(&v[i]));
    return px_json_print(cli, json_pack("{s:o}", "versions", list));
}

static void history_text(const struct px_config_version *v, size_t count)
{
    if (count == 0)
        puts("no earlier configuration");
    else
        printf("%6s  %-19s  %8s\n", "NUMBER", "REPLACED", "BYTES");
    for (size_t i = 0; i < count; i++) {
        char when[32];
        struct tm tm;
        time_t t = (time_t)(v[i].wall_ms / 1000);
        localtime_r(&t, &tm);
        strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
        printf("%6" PRIu64 "  %-19s  %8zu%s%s\n", v[i].number, when, v[i].size,
               v[i].current ? "  in place" : "",
               v[i].previous ? "  comes back if not confirmed" : "");
    }
}

int px_cmd_config_history(const struct px_cli *cli)
{
    struct px_config_version v[PX_CONFIG_HISTORY_MAX];
    struct px_home home;
    struct px_config_clock now;
    struct px_config_state state;
    size_t count = 0;
    int code = begin(cli, &home, &now, &state);
    if (code != 0)
        return code;
    int err = px_config_history(&home, v, PX_ARRAY_LEN(v), &count);
    if (err != 0)
        return fail(cli, err);
    if (px_cli_has(cli, "json"))
        return history_json(cli, v, count);
    history_text(v, count);
    return PX_EXIT_OK;
}

/* The argument parser, messages, and what most commands do first. */
#include "cmd/cli.h"

#include <grp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/file_io.h"
#include "node/program.h"
#include "node/spell.h"

/* What an argument "--name…" stands for. */
struct match {
    const char *name;
    bool takes_value;
    const struct px_option *config;
};

static const struct px_cli_option *find_in(const struct px_cli_option *rows, size_t count,
                                           struct px_slice name)
{
    for (size_t i = 0; i < count; i++)
        if (px_slice_eq_cstr(name, rows[i].name))
            return &rows[i];
    return NULL;
}

static bool find_option(const struct px_command *c, struct px_slice name, struct match *ret)
{
    const struct px_cli_option *row = find_in(c->options, c->option_count, name);
    if (row == NULL)
        row = find_in(px_common_options, px_common_option_count, name);
    if (row != NULL) {
        *ret = (struct match){row->name, row->arg != NULL, NULL};
        return true;
    }
    const struct px_option *o = c->config_options ? px_option_by_flag(name) : NULL;
    if (o == NULL)
        return false;
    *ret = (struct match){o->flag, o->type != PX_OPT_BOOL, o};
    return true;
}

char px_cli_letter(const struct px_command *command, const char *name)
{
    for (size_t i = 0; i < command->letter_count; i++)
        if (strcmp(command->letters[i].name, name) == 0)
            return command->letters[i].letter;
    return 0;
}

/* The option behind "-x…", when the command has that letter. */
static bool find_letter(const struct px_command *c, char letter, struct match *ret)
{
    for (size_t i = 0; i < c->letter_count; i++)
        if (c->letters[i].letter == letter)
            return find_option(c, px_slice_cstr(c->letters[i].name), ret);
    return false;
}

static int unknown_option(const struct px_cli *cli, const char *arg, struct px_slice name)
{
    const struct px_command *c = cli->command;
    char word[PX_SPELL_QUOTE_MAX];
    struct px_spell near = {.word = name};
    for (size_t i = 0; i < c->option_count; i++)
        px_spell_offer(&near, c->options[i].name);
    for (size_t i = 0; i < px_common_option_count; i++)
        px_spell_offer(&near, px_common_options[i].name);
    for (size_t i = 0; i < px_option_count && c->config_options; i++)
        if (px_options[i].flag != NULL)
            px_spell_offer(&near, px_options[i].flag);
    px_spell_quote(px_slice_cstr(arg), word);
    if (near.best != NULL)
        px_cli_usage(cli, "unknown option '%s'; did you mean '--%s'?", word, near.best);
    else
        px_cli_usage(cli, "unknown option '%s'", word);
    return PX_EINVAL;
}

/* "--name", "--name=value", "-x" or "-xvalue"; *ret_value is NULL without one. */
static int find_argument(const struct px_cli *cli, const char *arg, struct match *ret,
                         const char **ret_value)
{
    struct px_slice name, rest = px_slice_cstr(arg);
    *ret_value = NULL;
    if (!px_slice_starts(rest, PX_SLICE_LIT("--"))) {
        bool known = find_letter(cli->command, arg[1], ret) && (ret->takes_value || arg[2] == '\0');
        *ret_value = known && arg[2] != '\0' ? arg + 2 : NULL;
        return known ? 0 : unknown_option(cli, arg, (struct px_slice){NULL, 0});
    }
    const char *equals = strchr(arg, '=');
    rest = px_slice_skip(rest, 2);
    (void)px_slice_split(&rest, '=', &name);
    if (!find_option(cli->command, name, ret))
        return unknown_option(cli, arg, name);
    *ret_value = equals != NULL ? equals + 1 : NULL;
    return 0;
}

/* One argument that begins with a dash; *at moves on when the value is the next argument. */
static int parse_option(struct px_cli *cli, int argc, char **argv, int *at)
{
    const char *arg = argv[*at], *text;
    struct match m;
    if (strcmp(arg, "-h") == 0 || strcmp(arg, "--help") == 0) {
        cli->help = true;
        return 0;
    }
    int err = find_argument(cli, arg, &m, &text);
    if (err != 0)
        return err;
    if (text != NULL && !m.takes_value && m.config == NULL) {
        px_cli_usage(cli, "'--%s' takes no value", m.name);
        return PX_EINVAL;
    }
    if (text == NULL && m.takes_value) {
        if (*at + 1 >= argc) {
            px_cli_usage(cli, "'--%s' needs a value", m.name);
            return PX_EINVAL;
        }
        text = argv[++*at];
    }
    cli->values[cli->value_count++] =
        (struct px_cli_value){m.name, text != NULL ? text : "true", m.config};
    return 0;
}

static int check_operands(const struct px_cli *cli)
{
    const struct px_command *c = cli->command;
    char word[PX_SPELL_QUOTE_MAX];
    if (cli->operand_count < c->operands_min) {
        px_cli_usage(cli, "%s is missing", c->operands);
        return PX_EINVAL;
    }
    if (cli->operand_count > c->operands_max) {
        const char *first = cli->operands[c->operands_max];
        px_cli_usage(cli, "unexpected argument '%s'", px_spell_quote(px_slice_cstr(first), word));
        return PX_EINVAL;
    }
    return 0;
}

int px_cli_parse(struct px_cli *cli, const struct px_command *command, int argc, char **argv)
{
    bool options = true;
    *cli = (struct px_cli){.command = command};
    cli->values = calloc((size_t)argc + 1, sizeof(*cli->values));
    cli->operands = calloc((size_t)argc + 1, sizeof(*cli->operands));
    if (cli->values == NULL || cli->operands == NULL)
        return PX_ENOMEM;
    for (int at = 0; at < argc && !cli->help; at++) {
        if (options && strcmp(argv[at], "--") == 0) {
            options = false;
        } else if (options && argv[at][0] == '-' && argv[at][1] != '\0') {
            int err = parse_option(cli, argc, argv, &at);
            if (err != 0)
                return err;
        } else {
            cli->operands[cli->operand_count++] = argv[at];
        }
    }
    return cli->help ? 0 : check_operands(cli);
}

void px_cli_deinit(struct px_cli *cli)
{
    free(cli->values);
    free(cli->operands);
    *cli = (struct px_cli){.command = cli->command};
}

const char *px_cli_get(const struct px_cli *cli, const char *name)
{
    for (size_t i = cli->value_count; i > 0; i--)
        if (strcmp(cli->values[i - 1].name, name) == 0)
            return cli->values[i - 1].text;
    return NULL;
}

bool px_cli_has(const struct px_cli *cli, const char *name)
{
    return px_cli_get(cli, name) != NULL;
}

struct px_cli_style px_cli_style(FILE *out)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    bool plain = (no_color != NULL && no_color[0] != '\0') || term == NULL ||
                 strcmp(term, "dumb") == 0 || isatty(fileno(out)) == 0;
    if (plain)
        return (struct px_cli_style){"", "", "", "", "", ""};
    return (struct px_cli_style){"\033[1m",  "\033[2m",  "\033[31m",
                                 "\033[32m", "\033[33m", "\033[0m"};
}

/* UTF-8 passes, but not the control characters it spells as C2 80 to C2 9F. */
void px_cli_put_safe(FILE *out, const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        unsigned char c = (unsigned char)at[0], next = (unsigned char)at[1];
        bool c1 = c == 0xc2 && next >= 0x80 && next <= 0x9f;
        fputc(c < ' ' || c == 0x7f || c1 ? '?' : c, out);
        at += c1;
    }
}

static void PX_PRINTF(3, 0)
    say(const struct px_cli *cli, const char *color, const char *fmt, va_list ap)
{
    char text[2048];
    vsnprintf(text, sizeof(text), fmt, ap);
    fprintf(stderr, "%s%s%s%s:%s ", color, px_program.name, cli->command != NULL ? " " : "",
            cli->command != NULL ? cli->command->name : "",
            color[0] != '\0' ? px_cli_style(stderr).reset : "");
    px_cli_put_safe(stderr, text);
    fputc('\n', stderr);
}

void px_cli_warn(const struct px_cli *cli, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(cli, px_cli_style(stderr).yellow, fmt, ap);
    va_end(ap);
}

void px_cli_error(const struct px_cli *cli, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(cli, px_cli_style(stderr).red, fmt, ap);
    va_end(ap);
}

int px_cli_usage(const struct px_cli *cli, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say(cli, px_cli_style(stderr).red, fmt, ap);
    va_end(ap);
    fprintf(stderr, "Run `%s%s%s --help` to see what is possible.\n", px_program.name,
            cli->command != NULL ? " " : "", cli->command != NULL ? cli->command->name : "");
    return PX_EXIT_USAGE;
}

int px_cli_file_error(const struct px_cli *cli, int err, const char *hint)
{
    px_cli_error(cli, "%s", hint[0] != '\0' ? hint : px_strerror(err));
    switch (err) {
    case PX_ENOENT:
        return PX_EXIT_NOT_INITIALISED;
    case PX_EPERM:
        return PX_EXIT_PERMISSION;
    default: /* any error code may come in */
        return PX_EXIT_FAILURE;
    }
}

const char *px_cli_home_words(const struct px_cli *cli, char *out, size_t size)
{
    const char *home = px_cli_get(cli, "home");
    snprintf(out, size, "%s%s%s", px_cli_has(cli, "system") ? " --system" : "",
             home != NULL ? " --home " : "", home != NULL ? home : "");
    return out;
}

/* Root at work on another user's home, as with --system, becomes that user for good: what it makes
 * there must be readable for the daemon, and that user's files get no say over root. The daemon
 * itself stays who it was started as. */
static int become_owner(const struct px_cli *cli, const struct px_home *home)
{
    struct stat st;
    if (geteuid() != 0 || stat(home->config_dir, &st) != 0 || st.st_uid == 0 ||
        (cli->command != NULL && cli->command->run == px_cmd_daemon))
        return 0;
    if (setgroups(0, NULL) == 0 && setresgid(st.st_gid, st.st_gid, st.st_gid) == 0 &&
        setresuid(st.st_uid, st.st_uid, st.st_uid) == 0)
        return 0;
    px_cli_error(cli, "cannot act as the owner of %s", home->config_dir);
    return PX_EXIT_PERMISSION;
}

int px_cli_home(const struct px_cli *cli, struct px_home *ret)
{
    const char *home = px_cli_get(cli, "home");
    bool system = px_cli_has(cli, "system");
    if (home != NULL && system)
        return px_cli_usage(cli, "--home and --system exclude each other");
    int err = px_home_resolve(home, system, ret);
    if (err == PX_ENOENT)
        return px_cli_usage(cli, "HOME is not set; say where with --home DIR");
    if (err == PX_EINVAL)
        return px_cli_usage(cli, "--home needs a directory");
    if (err != 0)
        return px_cli_usage(cli, "the path of the home is longer than %d bytes",
                            PX_HOME_PATH_MAX - 1);
    return become_owner(cli, ret);
}

/* A home without config.yaml runs on the defaults. */
static int read_config_file(const struct px_home *home, struct px_config *config, char *message,
                            size_t message_size)
{
    char path[PX_HOME_FILE_MAX];
    struct px_buf text;
    px_home_config_path(home, PX_HOME_CONFIG, path);
    px_buf_init(&text, PX_CONFIG_FILE_MAX);
    int err = px_file_read(path, PX_CONFIG_FILE_MAX, &text);
    if (err == 0)
        err = px_config_parse(config, px_buf_slice(&text), path, message, message_size);
    else if (err == PX_ELIMIT)
        snprintf(message, message_size, "%s: larger than 1 MiB", path);
    else if (err != PX_ENOENT)
        snprintf(message, message_size, "cannot read %s: %s", path, px_strerror(err));
    px_buf_deinit(&text);
    return err == PX_ENOENT ? 0 : err;
}

static int apply_flags(const struct px_cli *cli, struct px_config *config, char *message,
                       size_t message_size)
{
    char where[64];
    for (size_t i = 0; i < cli->value_count; i++) {
        const struct px_cli_value *v = &cli->values[i];
        if (v->config == NULL)
            continue;
        snprintf(where, sizeof(where), "--%s", v->name);
        if (px_config_set(config, v->config, px_slice_cstr(v->text), where, message,
                          message_size) != 0)
            return PX_EINVAL;
    }
    return 0;
}

int px_cli_load_config(const struct px_cli *cli, const struct px_home *home, struct px_config **ret,
                       char *ret_message, size_t message_size)
{
    struct px_config *config;
    snprintf(ret_message, message_size, "%s", px_strerror(PX_ENOMEM));
    int err = px_config_new(&config);
    if (err != 0)
        return err;
    err = read_config_file(home, config, ret_message, message_size);
    if (err == 0)
        err = apply_flags(cli, config, ret_message, message_size);
    if (err != 0)
        px_config_free(config);
    else
        *ret = config;
    return err;
}

int px_cli_config(const struct px_cli *cli, const struct px_home *home, struct px_config **ret)
{
    char message[1024];
    int err = px_cli_load_config(cli, home, ret, message, sizeof(message));
    if (err == PX_EINVAL)
        return px_cli_usage(cli, "%s", message);
    if (err == 0)
        return 0;
    px_cli_error(cli, "%s", message);
    if (err == PX_ENOMEM)
        return PX_EXIT_FAILURE;
    return err == PX_EPERM ? PX_EXIT_PERMISSION : PX_EXIT_CONFIG;
}

int px_cli_peer_id(const struct px_cli *cli, const struct px_home *home, struct px_peer_id *ret)
{
    char hint[1024] = "", words[PX_HOME_PATH_MAX + 16];
    struct px_identity identity;
    int err = px_home_load_identity(home, &identity, hint, sizeof(hint));
    if (err == PX_ENOENT) {
        px_cli_error(cli, "%s; run: %s init%s", hint, px_program.name,
                     px_cli_home_words(cli, words, sizeof(words)));
        return PX_EXIT_NOT_INITIALISED;
    }
    if (err != 0)
        return px_cli_file_error(cli, err, hint);
    *ret = identity.id;
    px_identity_wipe(&identity);
    return 0;
}

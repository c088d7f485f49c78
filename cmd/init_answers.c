/* Each answer is checked as the option it becomes; only what differs from the default is written.
 */
#include "cmd/init_answers.h"

#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

enum { TRIES = 3, LINES_MAX = 64 * 1024 };

/* ---- lines of config.yaml ---- */

/* Text as a scalar in double quotes: what JSON escapes YAML reads the same. */
static int put_scalar(const char *before, const char *text, struct px_buf *out)
{
    json_t *string = json_string(text);
    char *quoted = string != NULL ? json_dumps(string, JSON_ENCODE_ANY) : NULL;
    json_decref(string);
    if (quoted == NULL)
        return PX_EPARSE; /* no UTF-8 */
    px_buf_printf(out, "%s%s\n", before, quoted);
    free(quoted);
    return out->err;
}

static int put_option(const struct px_option *o, const char *value, struct px_buf *out)
{
    char before[64];
    snprintf(before, sizeof(before), "%s: ", o->name);
    return put_scalar(before, value, out);
}

/* All values of an option that is a list, the last one of others. */
static int put_flags(const struct px_cli *cli, struct px_buf *out)
{
    int err = 0;
    for (size_t i = 0; i < px_option_count && err == 0; i++) {
        const struct px_option *o = &px_options[i];
        const char *last = o->flag != NULL ? px_cli_get(cli, o->flag) : NULL;
        if (last == NULL)
            continue;
        if (!px_option_is_list(o)) {
            err = put_option(o, last, out);
            continue;
        }
        px_buf_printf(out, "%s:\n", o->name);
        for (size_t v = 0; v < cli->value_count && err == 0; v++)
            if (cli->values[v].config == o)
                err = put_scalar("  - ", cli->values[v].text, out);
    }
    return err;
}

static int check_flags(const struct px_cli *cli)
{
    char where[64], message[1024];
    struct px_config *probe;
    int code = 0;
    if (px_config_new(&probe) != 0) {
        px_cli_error(cli, "%s", px_strerror(PX_ENOMEM));
        return PX_EXIT_FAILURE;
    }
    for (size_t i = 0; i < cli->value_count && code == 0; i++) {
        const struct px_cli_value *v = &cli->values[i];
        snprintf(where, sizeof(where), "--%s", v->name);
        if (v->config != NULL && px_config_set(probe, v->config, px_slice_cstr(v->text), where,
                                               message, sizeof(message)) != 0)
            code = px_cli_usage(cli, "%s", message);
    }
    px_config_free(probe);
    return code;
}

/* ---- questions ---- */

/* A line without its newline; NULL at the end of the input. The caller frees. */
static char *read_line(void)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t n = getline(&line, &size, stdin);
    if (n > 0 && line[n - 1] == '\n')
        line[--n] = '\0';
    if (n >= 0)
        return line;
    free(line);
    return NULL;
}

static char *ask(const char *question, const char *suggestion)
{
    struct px_cli_style style = px_cli_style(stdout);
    printf("%s %s[%s]%s: ", question, style.dim, suggestion, style.reset);
    fflush(stdout);
    char *line = read_line();
    if (line != NULL && line[0] != '\0')
        return line;
    free(line);
    return NULL;
}

/* "12303" as the address it means; other answers are addresses already. */
static void port_to_address(const char *answer, char *out, size_t size)
{
    uint64_t port;
    bool number = px_slice_parse_u64(px_slice_cstr(answer), &port) == 0;
    snprintf(out, size, number ? "[::]:%s" : "%s", answer);
}

static void yes_to_mode(const char *answer, char *out, size_t size)
{
    bool yes = strcmp(answer, "y") == 0 || strcmp(answer, "yes") == 0;
    bool no = strcmp(answer, "n") == 0 || strcmp(answer, "no") == 0;
    snprintf(out, size, "%s", yes ? "both" : no ? "wan" : answer);
}

static const struct question {
    const char *option, *text, *suggestion;
    void (*translate)(const char *answer, char *out, size_t size); /* NULL: taken as it is */
} questions[] = {
    {"store", "Nix store to serve from", "auto", NULL},
    {"listen", "UDP port where peers reach this machine", "12303", port_to_address},
    {"mode", "Find peers on the local network by itself (y, n)", "y", yes_to_mode},
};

/* False when the answer is no good, and people know why. */
static bool accept_answer(const struct question *q, const char *answer, struct px_buf *out)
{
    char value[PX_HOME_PATH_MAX], message[1024];
    struct px_config *probe;
    const struct px_option *o = px_option_by_name(px_slice_cstr(q->option));
    px_assert(o != NULL);
    if (q->translate != NULL)
        q->translate(answer, value, sizeof(value));
    else
        snprintf(value, sizeof(value), "%s", answer);
    if (px_config_new(&probe) != 0)
        return false;
    int err = px_config_set(probe, o, px_slice_cstr(value), q->option, message, sizeof(message));
    px_config_free(probe);
    if (err == 0 && strcmp(value, o->value) != 0)
        err = put_option(o, value, out);
    else if (err != 0)
        px_cli_put_safe(stdout, message);
    if (err != 0)
        putchar('\n');
    return err == 0;
}

static void ask_option(const struct question *q, struct px_buf *out)
{
    bool done = false;
    for (int i = 0; i < TRIES && !done; i++) {
        char *answer = ask(q->text, q->suggestion);
        done = answer == NULL || accept_answer(q, answer, out);
        free(answer);
    }
    if (!done)
        puts("taking the default; config.yaml can be edited later");
}

/* What `auto` will find. */
static void tell_store(void)
{
    if (access("/nix/var/nix/daemon-socket/socket", F_OK) == 0)
        puts("A Nix store with its daemon is here: /nix/store");
    else if (access("/nix/var/nix/db", F_OK) == 0)
        puts("A Nix store without a daemon is here: /nix/store");
    else
        puts("No Nix store was found in /nix; give another one, or install nix later.");
}

static void ask_options(const struct px_cli *cli, struct px_buf *out)
{
    tell_store();
    for (size_t i = 0; i < PX_ARRAY_LEN(questions); i++) {
        const struct px_option *o = px_option_by_name(px_slice_cstr(questions[i].option));
        if (!px_cli_has(cli, o->flag))
            ask_option(&questions[i], out);
    }
}

/* The identity may not have been made yet. */
static char *ask_key_name(void)
{
    char suggestion[PX_NIX_KEY_NAME_MAX + 1];
    char *name = ask("Name of this machine's signing key (ID: the end of its peer ID)",
                     px_home_default_key_name(NULL, suggestion));
    if (name == NULL || strcmp(name, suggestion) != 0)
        return name;
    free(name);
    return NULL;
}

int px_init_answers_take(const struct px_cli *cli, bool ask, bool key, bool config,
                         struct px_init_answers *ret)
{
    const char *name = px_cli_get(cli, "nix-key-name");
    *ret = (struct px_init_answers){.key_name = NULL};
    px_buf_init(&ret->lines, LINES_MAX);
    int code = check_flags(cli);
    if (code != 0)
        return code;
    if (ask && (key || config))
        puts("Enter takes what stands in brackets.");
    ret->key_name = name != NULL ? strdup(name) : ask && key ? ask_key_name() : NULL;
    int err = put_flags(cli, &ret->lines);
    if (err == 0 && ask && config)
        ask_options(cli, &ret->lines);
    if (err == 0)
        err = ret->lines.err;
    if (err == 0)
        return 0;
    px_cli_error(cli, "%s", px_strerror(err));
    return PX_EXIT_FAILURE;
}

void px_init_answers_deinit(struct px_init_answers *a)
{
    free(a->key_name);
    px_buf_deinit(&a->lines);
}

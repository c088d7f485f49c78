/* peerix join: pairs this node with the one that made the invite. */
#include <stdlib.h>
#include <unistd.h>

#include "cmd/control_client.h"
#include "cmd/json.h"
#include "cmd/pairing.h"
#include "proto/invite.h"

enum { CODE_MAX = PX_INVITE_INPUT_MAX + 2 };

struct joining {
    const struct px_cli *cli;
    char id[16]; /* of the invite */
    int code;    /* exit code, once it is known */
    bool ended;
};

/* ---- the code ---- */

static int read_stdin(const struct px_cli *cli, char *ret)
{
    if (isatty(STDIN_FILENO) != 0) {
        if (px_cli_has(cli, "non-interactive"))
            return px_cli_usage(cli, "the code must be an operand, $PEERIX_INVITE, or on standard "
                                     "input");
        fputs("Code: ", stderr);
        if (fgets(ret, CODE_MAX, stdin) == NULL)
            ret[0] = '\0';
        return 0;
    }
    size_t n = fread(ret, 1, CODE_MAX - 1, stdin);
    ret[n] = '\0';
    return 0;
}

/* Operand, environment, standard input, in this order. */
static int get_code(const struct px_cli *cli, char *ret)
{
    const char *env = getenv("PEERIX_INVITE");
    if (cli->operand_count > 0 && strcmp(cli->operands[0], "-") != 0)
        snprintf(ret, CODE_MAX, "%s", cli->operands[0]);
    else if (cli->operand_count == 0 && env != NULL && env[0] != '\0')
        snprintf(ret, CODE_MAX, "%s", env);
    else
        return read_stdin(cli, ret);
    return 0;
}

/* Typos are told without asking the daemon. */
static int check_code(const struct px_cli *cli, const char *text)
{
    struct px_invite invite;
    struct px_invite_fault fault;
    if (text[strspn(text, " \t\r\n")] == '\0') {
        px_cli_error(cli, "no code was given; `peerix invite` on the other machine makes one");
        return PX_EXIT_INVITE_JUNK;
    }
    int err = px_invite_parse(px_slice_cstr(text), &invite, &fault);
    px_invite_wipe(&invite);
    if (err == 0)
        return 0;
    if (err == PX_EINVITE_TYPO)
        px_cli_error(cli, "the invite code has a typo: %s", fault.why);
    else
        px_cli_error(cli, "this is no invite code to use: %s", fault.why);
    return err == PX_EINVITE_TYPO ? PX_EXIT_INVITE_TYPO : PX_EXIT_INVITE_JUNK;
}

/* ---- progress ---- */

static void print_paired(const struct joining *j, const json_t *line)
{
    struct px_cli_style style = px_cli_style(stdout);
    printf("paired with %s", style.bold);
    px_cli_put_safe(stdout, px_json_text(line, "name"));
    printf("%s  ", style.reset);
    px_cli_put_safe(stdout, px_json_text(line, "peer"));
    putchar('\n');
    px_pairing_next_steps(j->cli, line);
}

static int answer(struct joining *j, const json_t *line)
{
    char path[64];
    bool same = false;
    snprintf(path, sizeof(path), "/v1/joins/%s/confirm", j->id);
    if (px_cli_has(j->cli, "non-interactive"))
        px_cli_error(j->cli, "the strings must be compared by people; run without "
                             "--non-interactive");
    else
        same = px_pairing_ask_same(px_json_text(line, "sas"));
    json_t *body = json_pack("{s:b}", "same", same);
    int code = px_control_call(j->cli, "POST", path, body, NULL);
    json_decref(body);
    return code;
}

static void say_progress(const struct joining *j, const char *state, const json_t *line)
{
    if (strcmp(state, "dialling") == 0) {
        const json_t *addrs = px_json_at(line, "addrs");
        fputs("reaching the inviter at", stderr);
        for (size_t i = 0; i < json_array_size(addrs); i++) {
            fputs(i > 0 ? ", " : " ", stderr);
            px_cli_put_safe(stderr, json_string_value(json_array_get(addrs, i)));
        }
        if (px_json_text(line, "relay")[0] != '\0') {
            fputs(", and through the relay at ", stderr);
            px_cli_put_safe(stderr, px_json_text(line, "relay"));
        }
        fputs(" …\n", stderr);
    } else if (strcmp(state, "connected") == 0) {
        fputs(px_cli_has(j->cli, "verify") ? "waiting for the inviter …\n" : "", stderr);
    }
}

static int on_line(void *ctx, const json_t *line)
{
    struct joining *j = ctx;
    const char *state = px_json_text(line, "state");
    bool json = px_cli_has(j->cli, "json");
    int code = json ? px_json_print_line(j->cli, line) : 0;
    if (strcmp(state, "dialling") == 0)
        snprintf(j->id, sizeof(j->id), "%s", px_json_text(line, "id"));
    if (strcmp(state, "paired") == 0) {
        j->ended = true;
        if (!json)
            print_paired(j, line);
    } else if (strcmp(state, "failed") == 0 || px_json_text(line, "error")[0] != '\0') {
        j->ended = true;
        j->code = px_pairing_failed(j->cli, px_json_text(line, "error"));
    } else if (strcmp(state, "verify") == 0) {
        return answer(j, line);
    } else if (!json) {
        say_progress(j, state, line);
    }
    return code;
}

static int join(const struct px_cli *cli, const char *text)
{
    struct joining j = {.cli = cli};
    json_t *body = json_pack("{s:s}", "code", text);
    if (body == NULL) {
        px_cli_error(cli, "%s", px_strerror(PX_ENOMEM));
        return PX_EXIT_FAILURE;
    }
    int code = px_pairing_options(cli, body);
    if (code == 0)
        code = px_control_lines(cli, "POST", "/v1/join", body, on_line, &j);
    json_decref(body);
    if (code == 0 && !j.ended)
        return px_pairing_failed(cli, px_errname(PX_EPAIR_HALF));
    return code != 0 ? code : j.code;
}

int px_cmd_join(const struct px_cli *cli)
{
    char text[CODE_MAX];
    int code = get_code(cli, text);
    if (code == 0)
        code = check_code(cli, text);
    if (code == 0)
        code = join(cli, text);
    explicit_bzero(text, sizeof(text));
    return code;
}

/* peerix invite: makes a code with which one other node may pair with this one, and waits for it.
 * What is remembered of invites is listed and withdrawn in invite_list.c. */
#include <stdlib.h>
#include <unistd.h>

#include "auth/pairing_invite.h"
#include "cmd/control_client.h"
#include "cmd/json.h"
#include "cmd/pairing.h"
#include "cmd/qr.h"
#include "cmd/units.h"
#include "proto/addr.h"

struct waiting {
    const struct px_cli *cli;
    const char *id;
    char peer[PX_PEER_ID_TEXT_MAX]; /* last one shown as pending */
    char asked[16];                 /* string that was answered */
    int code;
    bool ended;
};

/* ---- the request ---- */

static int put_ttl(const struct px_cli *cli, json_t *body)
{
    const char *text = px_cli_get(cli, "ttl");
    uint64_t msec;
    if (text == NULL)
        return 0;
    if (px_config_parse_msec(px_slice_cstr(text), &msec) != 0 || msec < 1000 ||
        msec > PX_PAIRING_TTL_MAX * 1000u)
        return px_cli_usage(cli, "--ttl: '%s' is not a time of 1s to 24h, like 90s, 10m or 2h",
                            text);
    (void)json_object_set_new(body, "ttl", json_integer((json_int_t)(msec / 1000)));
    return 0;
}

static int put_addrs(const struct px_cli *cli, json_t *body)
{
    json_t *list = json_array();
    for (size_t i = 0; i < cli->value_count; i++) {
        const char *text = cli->values[i].text;
        struct px_slice host;
        uint16_t port;
        if (strcmp(cli->values[i].name, "addr") != 0)
            continue;
        if (strlen(text) >= PX_INVITE_ADDR_MAX ||
            px_hostport_split(px_slice_cstr(text), &host, &port) != 0) {
            json_decref(list);
            return px_cli_usage(cli, "--addr: '%s' is not HOST:PORT or [IPv6]:PORT", text);
        }
        (void)json_array_append_new(list, json_string(text));
    }
    size_t count = json_array_size(list);
    if (count > 0)
        (void)json_object_set_new(body, "addrs", list);
    else
        json_decref(list);
    return count <= PX_INVITE_ADDRS_MAX
               ? 0
               : px_cli_usage(cli, "--addr: at most %d addresses", PX_INVITE_ADDRS_MAX);
}

static int request(const struct px_cli *cli, json_t **ret)
{
    json_t *body = json_object();
    int code = px_pairing_options(cli, body);
    if (code == 0)
        code = put_ttl(cli, body);
    if (code == 0)
        code = put_addrs(cli, body);
    if (code == 0)
        code = px_control_call(cli, "POST", "/v1/invites", body, ret);
    json_decref(body);
    return code;
}

/* ---- what is shown ---- */

static void warn_loopback(const struct px_cli *cli, const json_t *invite)
{
    const json_t *addrs = px_json_at(invite, "addrs");
    bool all = json_array_size(addrs) > 0;
    for (size_t i = 0; i < json_array_size(addrs); i++) {
        struct px_addr a;
        const char *text = json_string_value(json_array_get(addrs, i));
        all = all && px_addr_parse(px_slice_cstr(text), &a) == 0 && px_addr_is_loopback(&a);
    }
    if (all && px_json_text(invite, "relay")[0] == '\0')
        px_cli_warn(cli,
                    "this node knows no address of its own that other machines can reach; give "
                    "one with --addr");
}

/* A code that names no relay although some are listed: nobody behind a NAT gets in by it. */
static void warn_no_relay(const struct px_cli *cli, const json_t *invite)
{
    json_t *answer = NULL;
    if (px_json_text(invite, "relay")[0] != '\0' ||
        px_control_call(cli, "GET", "/v1/relays", NULL, &answer) != 0)
        return;
    if (json_array_size(px_json_at(answer, "relays")) > 0)
        px_cli_warn(cli, "no relay lets others in for this node now, so the code names none: it is "
                         "good where this machine's own addresses are reached; see `peerix relay "
                         "list`");
    json_decref(answer);
}

static void print_code(const struct px_cli *cli, const json_t *invite)
{
    struct px_cli_style style = px_cli_style(stdout);
    bool terminal = isatty(STDOUT_FILENO) != 0;
    const char *url = px_json_text(invite, "url");
    char left[PX_UNITS_MAX];
    if (!terminal) {
        puts(px_json_text(invite, "code"));
    } else {
        printf("On the other machine, within %s:\n\n  %speerix join %s%s\n\nor the same as an "
               "address:\n\n  %s\n\n",
               px_units_long(px_json_count(invite, "expires_in") * PX_SEC, left), style.bold,
               px_json_text(invite, "code"), style.reset, url);
    }
    bool qr = px_cli_has(cli, "qr") || (terminal && !px_cli_has(cli, "no-qr"));
    if (qr && px_qr_put(stdout, url, terminal) != 0)
        px_cli_warn(cli, "the code is too long to be drawn");
    (void)fflush(stdout);
}

/* ---- waiting ---- */

static int answer(struct waiting *w, const char *sas)
{
    char path[64];
    snprintf(path, sizeof(path), "/v1/invites/%s/confirm", w->id);
    snprintf(w->asked, sizeof(w->asked), "%s", sas);
    json_t *body = json_pack("{s:b}", "same", px_pairing_ask_same(sas));
    int code = px_control_call(w->cli, "POST", path, body, NULL);
    json_decref(body);
    if (code == PX_EXIT_FAILURE) /* the other side has gone meanwhile: it may come again */
        w->asked[0] = '\0';
    return code == PX_EXIT_FAILURE ? 0 : code;
}

static void end(struct waiting *w, const char *state, const json_t *line)
{
    struct px_cli_style style = px_cli_style(stdout);
    w->ended = true;
    if (strcmp(state, "expired") == 0) {
        w->code = px_pairing_failed(w->cli, px_errname(PX_EINVITE_EXPIRED));
    } else if (strcmp(state, "burnt") == 0) {
        w->code = px_pairing_failed(w->cli, px_errname(PX_EINVITE_BURNT));
    } else if (strcmp(state, "withdrawn") == 0) {
        w->code = px_pairing_failed(
            w->cli, px_errname(w->asked[0] != '\0' ? PX_EPAIR_REJECTED : PX_EINVITE_WITHDRAWN));
    } else if (!px_cli_has(w->cli, "json")) {
        printf("paired with %s", style.bold);
        px_cli_put_safe(stdout, px_json_text(line, "name"));
        printf("%s  ", style.reset);
        px_cli_put_safe(stdout, px_json_text(line, "peer"));
        putchar('\n');
        px_pairing_next_steps(w->cli, line);
    }
}

static int on_line(void *ctx, const json_t *line)
{
    struct waiting *w = ctx;
    const char *state = px_json_text(line, "state"), *sas = px_json_text(line, "sas");
    const char *peer = px_json_text(line, "peer");
    bool json = px_cli_has(w->cli, "json");
    int code = json ? px_json_print_line(w->cli, line) : 0;
    if (sas[0] != '\0' && strcmp(sas, w->asked) != 0)
        return answer(w, sas);
    if (strcmp(state, "pending") == 0 && strcmp(peer, w->peer) != 0) {
        snprintf(w->peer, sizeof(w->peer), "%s", peer);
        fprintf(stderr, "%s is joining …\n", w->peer);
    } else if (state[0] == '\0') { /* the daemon ends */
        w->ended = true;
        w->code = px_pairing_failed(w->cli, px_json_text(line, "error"));
    } else if (strcmp(state, "open") != 0 && strcmp(state, "pending") != 0) {
        end(w, state, line);
    }
    return code;
}

static int wait_for_use(const struct px_cli *cli, const char *id)
{
    struct waiting w = {.cli = cli, .id = id};
    char path[64];
    snprintf(path, sizeof(path), "/v1/invites/%s/wait", id);
    if (!px_cli_has(cli, "json"))
        fputs("Waiting for it; Ctrl-C ends the waiting, not the invite.\n", stderr);
    int code = px_control_lines(cli, "GET", path, NULL, on_line, &w);
    if (code == 0 && !w.ended) {
        px_cli_error(cli, "the daemon ended; the invite stays open until its time is over");
        return PX_EXIT_NOT_RUNNING;
    }
    return code != 0 ? code : w.code;
}

/* --list and --withdraw make no invite: what is for making one has no meaning beside them. */
static int manage(const struct px_cli *cli)
{
    const char *id = px_cli_get(cli, "withdraw");
    const char *which = id != NULL ? "withdraw" : "list";
    for (size_t i = 0; i < cli->value_count; i++) {
        const struct px_cli_value *v = &cli->values[i];
        bool common = strcmp(v->name, "json") == 0 || strcmp(v->name, "home") == 0 ||
                      strcmp(v->name, "system") == 0;
        if (!common && strcmp(v->name, which) != 0)
            return px_cli_usage(cli, "--%s and --%s exclude each other", which, v->name);
    }
    return id != NULL ? px_invite_withdraw(cli, id) : px_invite_list(cli);
}

int px_cmd_invite(const struct px_cli *cli)
{
    if (px_cli_has(cli, "list") || px_cli_has(cli, "withdraw"))
        return manage(cli);
    json_t *invite = NULL;
    char id[16];
    bool waits = px_cli_has(cli, "wait") || px_cli_has(cli, "verify") ||
                 (isatty(STDOUT_FILENO) != 0 && !px_cli_has(cli, "json"));
    int code = request(cli, &invite);
    if (code != 0)
        return code;
    snprintf(id, sizeof(id), "%s", px_json_text(invite, "id"));
    warn_loopback(cli, invite);
    warn_no_relay(cli, invite);
    if (px_cli_has(cli, "json") && waits)
        code = px_json_print_line(cli, invite);
    else if (px_cli_has(cli, "json"))
        code = px_json_print(cli, json_incref(invite));
    else
        print_code(cli, invite);
    json_decref(invite);
    return code == 0 && waits && !px_cli_has(cli, "no-wait") ? wait_for_use(cli, id) : code;
}

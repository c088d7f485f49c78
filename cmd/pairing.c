/* See pairing.h. */
#include "cmd/pairing.h"

#include <stdlib.h>
#include <unistd.h>

#include "auth/authorized_keys_io.h"
#include "cmd/control_client.h"
#include "cmd/json.h"
#include "node/pairing_export.h"

/* ---- requests ---- */

static int put_grants(const struct px_cli *cli, const char *text, json_t *body)
{
    uint32_t grants;
    struct px_slice rest = px_slice_cstr(text), word;
    json_t *list = json_array();
    if (px_grants_parse(rest, &grants) != 0) {
        json_decref(list);
        return px_cli_usage(cli, "--grant: '%s' is not a list of cache, cache-own", text);
    }
    while (px_slice_split(&rest, ',', &word))
        (void)json_array_append_new(list, json_stringn((const char *)word.data, word.len));
    (void)json_object_set_new(body, "grants", list);
    return 0;
}

int px_pairing_options(const struct px_cli *cli, json_t *body)
{
    const char *name = px_cli_get(cli, "name"), *grant = px_cli_get(cli, "grant");
    if (name != NULL && !px_name_valid(px_slice_cstr(name)))
        return px_cli_usage(cli,
                            "--name: '%s' is not a name: 1..%d of a-z, 0-9 and dashes, no dash at "
                            "either end",
                            name, PX_AUTH_NAME_MAX);
    if (name != NULL)
        (void)json_object_set_new(body, "name", json_string(name));
    (void)json_object_set_new(body, "verify", json_boolean(px_cli_has(cli, "verify")));
    return grant != NULL ? put_grants(cli, grant, body) : 0;
}

/* ---- failures ---- */

int px_pairing_failed(const struct px_cli *cli, const char *error)
{
    static const struct {
        int err, code;
        const char *hint;
    } rows[] = {
        {PX_EINVITE_UNKNOWN, PX_EXIT_INVITE_UNKNOWN,
         "it may have ended long ago; make a new one there with `peerix invite`"},
        {PX_EINVITE_EXPIRED, PX_EXIT_INVITE_EXPIRED,
         "make a new one there with `peerix invite`, perhaps with a longer --ttl"},
        {PX_EINVITE_USED, PX_EXIT_INVITE_USED,
         "an invite is for one node; if that was not you, look at `peerix auth list` there"},
        {PX_EINVITE_BURNT, PX_EXIT_INVITE_BURNT, "make a new one there with `peerix invite`"},
        {PX_EINVITE_TOKEN, PX_EXIT_INVITE_TOKEN,
         "was the code put together from two? copy it whole; three wrong attempts end the invite"},
        {PX_EINVITE_BUSY, PX_EXIT_INVITE_BUSY,
         "if that was not you, somebody else has the code: withdraw the invite there (`peerix "
         "invite "
         "--withdraw`) and make a new one"},
        {PX_EINVITE_WITHDRAWN, PX_EXIT_INVITE_WITHDRAWN, "ask for a new one"},
        {PX_EPAIR_IMPOSTOR, PX_EXIT_PAIR_IMPOSTOR, "nothing was written; get the code anew"},
        {PX_EBINDING, PX_EXIT_PAIR_IMPOSTOR, "somebody stands in between; nothing was written"},
        {PX_EWRONGPEER, PX_EXIT_PAIR_IMPOSTOR, "another node answers at its address"},
        {PX_ETARGET, PX_EXIT_PAIR_IMPOSTOR, "another node answers at its address"},
        {PX_EPAIR_REJECTED, PX_EXIT_PAIR_REJECTED, "nothing was written; make a new invite"},
        {PX_EPAIR_HALF, PX_EXIT_PAIR_HALF, "run the same `peerix join` again to finish"},
        {PX_ENETWORK, PX_EXIT_CONFIG, "set `network` in config.yaml to the same here and there"},
        {PX_EREFUSED, PX_EXIT_REFUSED, "it could not store the pairing; its log tells why"},
        {PX_ETIMEDOUT, PX_EXIT_TIMEOUT,
         "is the inviter running, does UDP reach it, and is its address right?"},
        {PX_EHANDSHAKE_TIMEOUT, PX_EXIT_OFFLINE,
         "is the inviter running, does UDP reach it, and is its address right?"},
        {PX_EOFFLINE, PX_EXIT_OFFLINE,
         "is the inviter running, and does UDP reach it, or is the code's relay there?"},
        {PX_ECLOSED, PX_EXIT_OFFLINE, "is the inviter running?"},
    };
    for (size_t i = 0; i < PX_ARRAY_LEN(rows); i++)
        if (strcmp(px_errname(rows[i].err), error) == 0) {
            px_cli_error(cli, "%s; %s", px_strerror(rows[i].err), rows[i].hint);
            return rows[i].code;
        }
    px_cli_error(cli, "%s", px_control_error_text(error));
    return px_control_exit_code(error);
}

/* ---- the short authentication string ---- */

bool px_pairing_ask_same(const char *sas)
{
    char line[64] = "";
    FILE *tty = fopen("/dev/tty", "re"), *in = tty != NULL ? tty : stdin;
    fprintf(stderr, "This side shows   %s\nDoes the other side show the same? [y/N] ", sas);
    bool got = fgets(line, sizeof(line), in) != NULL;
    if (tty != NULL)
        fclose(tty);
    return got && (line[0] == 'y' || line[0] == 'Y');
}

/* ---- nix.conf ---- */

/* Where the substituter listens: as the daemon says, or as it would. */
static int http_addr(const struct px_cli *cli, const struct px_home *home, char *ret, size_t size)
{
    struct px_config *config;
    json_t *status = NULL;
    if (px_control_is_running(home)) {
        int code = px_control_call(cli, "GET", "/v1/status", NULL, &status);
        snprintf(ret, size, "%s", px_json_text(status, "http"));
        json_decref(status);
        if (code != 0 || ret[0] != '\0')
            return code;
    }
    int code = px_cli_config(cli, home, &config);
    if (code != 0)
        return code;
    snprintf(ret, size, "%s", config->http);
    px_config_free(config);
    return 0;
}

static void print_lines(const json_t *o)
{
    const json_t *keys = px_json_at(o, "trusted-public-keys");
    printf("extra-substituters = ");
    px_cli_put_safe(stdout, json_string_value(json_array_get(px_json_at(o, "substituters"), 0)));
    printf("\nextra-trusted-public-keys =");
    for (size_t i = 0; i < json_array_size(keys); i++) {
        putchar(' ');
        px_cli_put_safe(stdout, json_string_value(json_array_get(keys, i)));
    }
    putchar('\n');
}

int px_pairing_nix_conf(const struct px_cli *cli, bool json)
{
    char path[PX_HOME_FILE_MAX], http[300];
    struct px_home home;
    struct px_authorized_keys *keys = NULL;
    json_t *o = NULL;
    int code = px_cli_home(cli, &home);
    if (code == 0)
        code = http_addr(cli, &home, http, sizeof(http));
    if (code != 0)
        return code;
    px_home_config_path(&home, PX_HOME_AUTHORIZED_KEYS, path);
    int err = px_crypto_init();
    if (err == 0)
        err = px_authorized_keys_load(path, &keys);
    if (err == 0)
        err = px_pairing_export(&home, keys, http, NULL, &o);
    px_authorized_keys_free(keys);
    if (err != 0)
        return px_cli_file_error(cli, err, px_strerror(err));
    if (json)
        return px_json_print(cli, o);
    print_lines(o);
    json_decref(o);
    return PX_EXIT_OK;
}

void px_pairing_next_steps(const struct px_cli *cli, const json_t *paired)
{
    struct px_cli_style style = px_cli_style(stdout);
    (void)fflush(stdout); /* the warnings are about the peer named there */
    if (json_is_false(px_json_at(paired, "connected")))
        px_cli_warn(cli, "the new connection to it is not up yet; `peerix peers` shows when it is, "
                         "and until then nix finds nothing there");
    if (px_json_true(paired, "renamed"))
        px_cli_warn(cli, "another peer has that name, so it is called '%s' here",
                    px_json_text(paired, "name"));
    if (px_json_true(paired, "key_name_taken"))
        px_cli_warn(
            cli,
            "its nix key '%.*s' has the name of another key you trust, and nix takes "
            "one key of a name; give one of the two machines another: remove "
            "HOME/%s there, run `peerix init --nix-key-name NAME`, restart its daemon, and pair "
            "again",
            (int)strcspn(px_json_text(paired, "nix_key"), ":"), px_json_text(paired, "nix_key"),
            PX_HOME_NIX_KEY);
    if (px_json_at(paired, "nix_key") != NULL && px_json_text(paired, "nix_key")[0] == '\0')
        px_cli_warn(cli, "the other node has no nix key, so its own builds will not be trusted");
    printf(
        "\nFor nix on this machine, at the end of /etc/nix/nix.conf (`%speerix nix-conf%s` prints\n"
        "it again):\n\n",
        style.bold, style.reset);
    if (px_pairing_nix_conf(cli, false) != 0)
        return;
    puts("\nnix-daemon reads that when it starts: restart it (systemctl restart nix-daemon). A "
         "user\n"
         "whom nix does not trust cannot set these two in ~/.config/nix/nix.conf.");
}

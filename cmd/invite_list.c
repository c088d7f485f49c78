/* peerix invite --list and --withdraw: the invites that the daemon remembers. */
#include <ctype.h>

#include "cmd/control_client.h"
#include "cmd/json.h"
#include "cmd/pairing.h"
#include "cmd/table.h"
#include "cmd/units.h"

/* ---- --list ---- */

static void put_row(struct px_table *t, const json_t *invite)
{
    char left[PX_UNITS_MAX];
    const char *state = px_json_text(invite, "state");
    bool live = strcmp(state, "open") == 0 || strcmp(state, "pending") == 0;
    struct px_cli_style style = px_cli_style(stdout);
    px_table_put(t, px_json_text(invite, "id"));
    px_table_put_colored(t, live ? style.green : style.dim, state);
    px_table_put(t, px_json_text(invite, "name"));
    px_table_put(t, live ? px_units_long(px_json_count(invite, "expires_in") * PX_SEC, left) : "");
    px_table_put(t, px_json_text(invite, "peer"));
}

int px_invite_list(const struct px_cli *cli)
{
    static const struct px_column columns[] = {
        {"ID", false}, {"STATE", false}, {"NAME", false}, {"TIME LEFT", true}, {"PEER", false}};
    json_t *answer = NULL;
    struct px_table t;
    int code = px_control_call(cli, "GET", "/v1/invites", NULL, &answer);
    if (code != 0)
        return code;
    if (px_cli_has(cli, "json"))
        return px_json_print(cli, answer);
    const json_t *invites = px_json_at(answer, "invites");
    if (json_array_size(invites) == 0) {
        fputs("no invite is remembered; `peerix invite` makes one\n", stderr);
    } else {
        px_table_init(&t, columns, PX_ARRAY_LEN(columns));
        for (size_t i = 0; i < json_array_size(invites); i++)
            put_row(&t, json_array_get(invites, i));
        code = px_table_print(cli, &t, true);
    }
    json_decref(answer);
    return code;
}

/* ---- --withdraw ---- */

int px_invite_withdraw(const struct px_cli *cli, const char *id)
{
    char path[64];
    json_t *answer = NULL;
    for (const char *c = id; *c != '\0'; c++)
        if (isxdigit((unsigned char)*c) == 0 || c - id > 31)
            return px_cli_usage(cli,
                                "--withdraw: '%s' is not the ID of an invite; see `peerix "
                                "invite --list`",
                                id);
    snprintf(path, sizeof(path), "/v1/invites/%s", id);
    int code = id[0] != '\0' ? px_control_call(cli, "DELETE", path, NULL, &answer)
                             : px_cli_usage(cli, "--withdraw needs the ID of an invite");
    if (code != 0)
        return code;
    if (px_cli_has(cli, "json"))
        return px_json_print(cli, answer);
    json_decref(answer);
    puts("withdrawn");
    return PX_EXIT_OK;
}

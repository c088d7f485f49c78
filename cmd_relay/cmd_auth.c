/* peerix-relay auth add, list, remove: the members in HOME/authorized_keys. Grants and addresses,
 * which nodes keep there, mean nothing to a relay. */
#include <stdlib.h>

#include "cmd/auth_list.h"
#include "cmd/json.h"
#include "cmd_relay/commands.h"

/* ---- add ---- */

static int apply_options(const struct px_cli *cli, struct px_authorized_key *k)
{
    const char *name = px_cli_get(cli, "name"), *comment = px_cli_get(cli, "comment");
    if (name != NULL) {
        if (!px_name_valid(px_slice_cstr(name)))
            return px_cli_usage(cli, "--name: '%s' is not a name: 1..%d of a-z, 0-9 and dashes",
                                name, PX_AUTH_NAME_MAX);
        snprintf(k->name, sizeof(k->name), "%s", name);
    }
    if (comment != NULL) {
        int n = snprintf(k->comment, sizeof(k->comment), "%s", comment);
        if (n >= (int)sizeof(k->comment))
            return px_cli_usage(cli, "--comment: at most %d bytes", PX_AUTH_COMMENT_MAX - 1);
    }
    return 0;
}

static int add(const struct px_cli *cli, const struct px_auth_list *l, const struct px_peer_id *id)
{
    const struct px_authorized_key *old = px_authorized_keys_find(l->keys, id);
    struct px_authorized_key k = {.id = *id};
    if (old != NULL)
        k = *old;
    int code = apply_options(cli, &k);
    if (code != 0)
        return code;
    int err = px_authorized_keys_file_set(l->path, &k);
    if (err == PX_EEXIST)
        return px_cli_usage(cli, "another member is called '%s'", k.name);
    if (err == PX_EPARSE)
        return px_cli_usage(cli, "--comment: must be one line");
    if (err != 0)
        return px_auth_list_error(cli, l, err);
    puts(old != NULL ? "changed" : "added");
    return PX_EXIT_OK;
}

int px_relay_cmd_auth_add(const struct px_cli *cli)
{
    struct px_auth_list l;
    struct px_peer_id id;
    if (px_peer_id_parse(px_slice_cstr(cli->operands[0]), &id) != 0)
        return px_cli_usage(cli, "'%s' is not a peer ID; `peerix whoami` prints one",
                            cli->operands[0]);
    int code = px_auth_list_open(cli, &l);
    if (code != 0)
        return code;
    code = add(cli, &l, &id);
    px_authorized_keys_free(l.keys);
    return code;
}

/* ---- remove ---- */

int px_relay_cmd_auth_remove(const struct px_cli *cli)
{
    struct px_auth_list l;
    struct px_peer_id id;
    int code = px_auth_list_open(cli, &l);
    if (code != 0)
        return code;
    struct px_slice word = px_slice_cstr(cli->operands[0]);
    const struct px_authorized_key *k = px_authorized_keys_by_name(l.keys, word);
    bool known = k != NULL;
    if (known)
        id = k->id;
    else
        known = px_peer_id_parse(word, &id) == 0;
    int err = known ? px_authorized_keys_file_remove(l.path, &id) : PX_ENOENT;
    px_authorized_keys_free(l.keys);
    if (err == PX_ENOENT) {
        px_cli_error(cli, "'%s' is not listed; see `peerix-relay auth list`", cli->operands[0]);
        return PX_EXIT_NO_PEER;
    }
    if (err != 0)
        return px_auth_list_error(cli, &l, err);
    puts("removed");
    return PX_EXIT_OK;
}

/* ---- list ---- */

static json_t *list_json(const struct px_auth_list *l)
{
    char id[PX_PEER_ID_TEXT_MAX];
    json_t *array = json_array();
    for (size_t i = 0; i < px_authorized_keys_count(l->keys) && array != NULL; i++) {
        const struct px_authorized_key *k = px_authorized_keys_at(l->keys, i);
        json_t *comment = json_string(k->comment); /* may be no UTF-8 */
        json_t *row = json_pack("{s:s, s:s, s:o}", "peer", px_peer_id_format(&k->id, id), "name",
                                k->name, "comment", comment != NULL ? comment : json_null());
        if (json_array_append_new(array, row) != 0) {
            json_decref(array);
            array = NULL;
        }
    }
    return array;
}

static void list_text(const struct px_auth_list *l)
{
    char id[PX_PEER_ID_TEXT_MAX];
    for (size_t i = 0; i < px_authorized_keys_count(l->keys); i++) {
        const struct px_authorized_key *k = px_authorized_keys_at(l->keys, i);
        printf("%s  %-16s  ", px_peer_id_format(&k->id, id), k->name[0] != '\0' ? k->name : "-");
        px_cli_put_safe(stdout, k->comment[0] != '\0' ? k->comment : "-");
        putchar('\n');
    }
}

int px_relay_cmd_auth_list(const struct px_cli *cli)
{
    struct px_auth_list l;
    int code = px_auth_list_open(cli, &l);
    if (code != 0)
        return code;
    if (px_cli_has(cli, "json"))
        code = px_json_print(cli, list_json(&l));
    else
        list_text(&l);
    px_auth_list_warn(cli, &l, "");
    px_authorized_keys_free(l.keys);
    return code;
}

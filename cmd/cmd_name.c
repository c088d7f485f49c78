/* peerix name add, list, remove: edits and shows HOME/names.
 *
 * Names of authorized_keys come first when a word is looked up, so a name that one of them would
 * hide is refused. */
#include <errno.h>
#include <unistd.h>

#include "auth/authorized_keys_io.h"
#include "auth/names_io.h"
#include "cmd/cli.h"
#include "cmd/json.h"
#include "cmd/net_name.h"
#include "cmd/table.h"

/* The files as they were when the command began. */
struct lists {
    char path[PX_HOME_FILE_MAX]; /* of the names */
    struct px_home home;
    struct px_names *names;
    struct px_authorized_keys *keys;
};

static int file_error(const struct px_cli *cli, const struct lists *l, const char *path, int err)
{
    if (err == PX_ENOENT) {
        px_cli_error(cli, "%s is not there; run `peerix init`", l->home.config_dir);
        return PX_EXIT_NOT_INITIALISED;
    }
    px_cli_error(
        cli, "%s: %s%s", path, px_strerror(err),
        err == PX_EPERM ? "; it must be a regular file that you, but not everyone, may write" : "");
    return err == PX_EPERM ? PX_EXIT_PERMISSION : PX_EXIT_FAILURE;
}

static void close_lists(struct lists *l)
{
    px_names_free(l->names);
    px_authorized_keys_free(l->keys);
}

/* 0, or an exit code after telling people; then there is nothing to close. */
static int open_lists(const struct px_cli *cli, struct lists *ret)
{
    char keys_path[PX_HOME_FILE_MAX];
    *ret = (struct lists){.names = NULL};
    int code = px_cli_home(cli, &ret->home);
    if (code != 0)
        return code;
    px_home_config_path(&ret->home, PX_HOME_NAMES, ret->path);
    px_home_config_path(&ret->home, PX_HOME_AUTHORIZED_KEYS, keys_path);
    int err = access(ret->home.config_dir, F_OK) != 0 ? px_err_from_errno(errno) : 0;
    if (err == 0)
        err = px_crypto_init();
    if (err == 0)
        err = px_names_load(ret->path, &ret->names);
    if (err != 0)
        return file_error(cli, ret, ret->path, err);
    err = px_authorized_keys_load(keys_path, &ret->keys);
    if (err == 0)
        return 0;
    close_lists(ret);
    return file_error(cli, ret, keys_path, err);
}

static void warn_bad_lines(const struct px_cli *cli, const struct lists *l)
{
    for (size_t i = 0; i < px_names_error_count(l->names); i++) {
        const struct px_auth_error *e = px_names_error_at(l->names, i);
        px_cli_warn(cli, "%s:%zu: %s", l->path, e->line, e->message);
    }
}

/* ---- add ---- */

static int fill_name(const struct px_cli *cli, const char *text, struct px_name *n)
{
    struct px_peer_id id;
    if (!px_name_valid(px_slice_cstr(text)))
        return px_cli_usage(cli,
                            "'%s' is not a name: 1..%d of a-z, 0-9 and dashes, no dash at either "
                            "end",
                            text, PX_AUTH_NAME_MAX);
    if (px_peer_id_parse(px_slice_cstr(text), &id) != PX_EPARSE)
        return px_cli_usage(cli, "'%s' is a peer ID, which always means that peer", text);
    snprintf(n->name, sizeof(n->name), "%s", text);
    return 0;
}

static int fill_comment(const struct px_cli *cli, struct px_name *n)
{
    const char *text = px_cli_get(cli, "comment");
    struct px_buf line;
    if (text == NULL)
        return 0;
    int length = snprintf(n->comment, sizeof(n->comment), "%s", text);
    px_buf_init(&line, 2 * PX_AUTH_LINE_MAX);
    int err = length < (int)sizeof(n->comment) ? px_name_format(n, &line) : PX_EPARSE;
    px_buf_deinit(&line);
    return err == 0 ? 0
                    : px_cli_usage(cli, "--comment: must be one line of at most %d bytes",
                                   PX_AUTH_COMMENT_MAX - 1);
}

/* The names file keeps its comment, and a name is moved only on demand. */
static int check_free(const struct px_cli *cli, const struct lists *l, const struct px_name *n)
{
    char id[PX_PEER_ID_TEXT_MAX];
    struct px_slice name = px_slice_cstr(n->name);
    const struct px_authorized_key *key = px_authorized_keys_by_name(l->keys, name);
    const struct px_name *old = px_names_find(l->names, name);
    if (key != NULL && !px_peer_id_eq(&key->id, &n->id)) {
        px_cli_error(cli,
                     "the name '%s' belongs to %s in authorized_keys, which comes first; "
                     "choose another",
                     n->name, px_peer_id_format(&key->id, id));
        return PX_EXIT_FAILURE;
    }
    if (old != NULL && !px_peer_id_eq(&old->id, &n->id)) {
        px_cli_error(cli,
                     "the name '%s' belongs to %s; choose another, or first "
                     "`peerix name remove %s`",
                     n->name, px_peer_id_format(&old->id, id), n->name);
        return PX_EXIT_FAILURE;
    }
    return 0;
}

static int add(const struct px_cli *cli, const struct lists *l)
{
    char id[PX_PEER_ID_TEXT_MAX];
    struct px_name n = {0};
    int code = fill_name(cli, cli->operands[0], &n);
    if (code == 0)
        code = px_cli_peer(cli, &l->home, cli->operands[1], &n.id);
    if (code == 0)
        code = fill_comment(cli, &n);
    if (code == 0)
        code = check_free(cli, l, &n);
    if (code != 0)
        return code;
    const struct px_name *old = px_names_find(l->names, px_slice_cstr(n.name));
    if (old != NULL && !px_cli_has(cli, "comment"))
        memcpy(n.comment, old->comment, sizeof(n.comment));
    int err = px_names_file_set(l->path, &n);
    if (err == PX_ELIMIT) {
        px_cli_error(cli, "there are %d names already; remove one first", PX_NAMES_MAX);
        return PX_EXIT_FAILURE;
    }
    if (err != 0)
        return file_error(cli, l, l->path, err);
    const char *result = old != NULL ? "updated" : "added";
    px_peer_id_format(&n.id, id);
    if (px_cli_has(cli, "json"))
        return px_json_print(
            cli, json_pack("{s:s, s:s, s:s}", "name", n.name, "peer", id, "result", result));
    printf("%s %s %s\n", result, n.name, id);
    return PX_EXIT_OK;
}

int px_cmd_name_add(const struct px_cli *cli)
{
    struct lists l;
    int code = open_lists(cli, &l);
    if (code != 0)
        return code;
    code = add(cli, &l);
    warn_bad_lines(cli, &l);
    close_lists(&l);
    return code;
}

/* ---- remove ---- */

int px_cmd_name_remove(const struct px_cli *cli)
{
    struct lists l;
    int code = open_lists(cli, &l);
    if (code != 0)
        return code;
    int err = px_names_file_remove(l.path, cli->operands[0]);
    if (err == PX_ENOENT) {
        px_cli_error(cli, "there is no name '%s'; see `peerix name list`%s", cli->operands[0],
                     px_authorized_keys_by_name(l.keys, px_slice_cstr(cli->operands[0])) != NULL
                         ? ", and `peerix auth add ID --name` for the one in authorized_keys"
                         : "");
        code = PX_EXIT_NO_PEER;
    } else if (err != 0) {
        code = file_error(cli, &l, l.path, err);
    } else if (px_cli_has(cli, "json")) {
        code = px_json_print(
            cli, json_pack("{s:s, s:s}", "name", cli->operands[0], "result", "removed"));
    } else {
        printf("removed %s\n", cli->operands[0]);
    }
    warn_bad_lines(cli, &l);
    close_lists(&l);
    return code;
}

/* ---- list ---- */

/* What relays say, or said, beside what is written here. */
static void put_network(struct px_table *t, const json_t *names)
{
    for (size_t i = 0; i < json_array_size(names); i++) {
        const json_t *n = json_array_get(names, i);
        char ago[32];
        bool copy = strcmp(px_json_text(n, "from"), "copy") == 0;
        px_table_put(t, px_json_text(n, "name"));
        px_table_put(t, px_json_text(n, "peer"));
        px_table_put(t, px_json_text(n, "from"));
        px_table_put(t, px_json_true(n, "own") ? "this node"
                        : copy ? px_cli_net_name_age((int64_t)px_json_count(n, "age"), ago)
                               : "");
    }
}

static int list_text(const struct px_cli *cli, const struct lists *l, const json_t *network)
{
    static const struct px_column columns[] = {
        {"NAME", false}, {"PEER ID", false}, {"FROM", false}, {"COMMENT", false}};
    struct px_table t;
    char id[PX_PEER_ID_TEXT_MAX];
    px_table_init(&t, columns, PX_ARRAY_LEN(columns));
    for (size_t i = 0; i < px_authorized_keys_count(l->keys); i++) {
        const struct px_authorized_key *k = px_authorized_keys_at(l->keys, i);
        if (k->name[0] == '\0')
            continue;
        px_table_put(&t, k->name);
        px_table_put(&t, px_peer_id_format(&k->id, id));
        px_table_put(&t, px_resolved_name(PX_RESOLVED_AUTHORIZED));
        px_table_put(&t, k->comment);
    }
    for (size_t i = 0; i < px_names_count(l->names); i++) {
        const struct px_name *n = px_names_at(l->names, i);
        px_table_put(&t, n->name);
        px_table_put(&t, px_peer_id_format(&n->id, id));
        px_table_put(&t, px_resolved_name(PX_RESOLVED_NAME));
        px_table_put(&t, n->comment);
    }
    put_network(&t, network);
    if (t.count == 0)
        fputs("there are no names yet; see `peerix name add --help`\n", stderr);
    return px_table_print(cli, &t, t.count > 0);
}

static int append(json_t *array, const char *name, const struct px_peer_id *id,
                  enum px_resolved from, const char *comment)
{
    char text[PX_PEER_ID_TEXT_MAX];
    return json_array_append_new(array, json_pack("{s:s, s:s, s:s, s:s}", "name", name, "peer",
                                                  px_peer_id_format(id, text), "from",
                                                  px_resolved_name(from), "comment", comment));
}

static int list_json(const struct px_cli *cli, const struct lists *l, json_t *network)
{
    json_t *array = json_array();
    int bad = array == NULL;
    for (size_t i = 0; !bad && i < px_authorized_keys_count(l->keys); i++) {
        const struct px_authorized_key *k = px_authorized_keys_at(l->keys, i);
        if (k->name[0] != '\0')
            bad = append(array, k->name, &k->id, PX_RESOLVED_AUTHORIZED, k->comment);
    }
    for (size_t i = 0; !bad && i < px_names_count(l->names); i++) {
        const struct px_name *n = px_names_at(l->names, i);
        bad = append(array, n->name, &n->id, PX_RESOLVED_NAME, n->comment);
    }
    bad = bad || json_array_extend(array, network) != 0;
    if (bad) {
        json_decref(array);
        array = NULL;
    }
    return px_json_print(cli, array);
}

int px_cmd_name_list(const struct px_cli *cli)
{
    struct lists l;
    int code = open_lists(cli, &l);
    if (code != 0)
        return code;
    json_t *network = NULL;
    code = px_cli_net_names(cli, &l.home, &network);
    if (code == 0)
        code = px_cli_has(cli, "json") ? list_json(cli, &l, network) : list_text(cli, &l, network);
    json_decref(network);
    warn_bad_lines(cli, &l);
    close_lists(&l);
    return code;
}

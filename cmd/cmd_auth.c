/* peerix auth add, list, remove, validate: edits and shows HOME/authorized_keys.
 *
 * Locking and atomic writing are auth/authorized_keys_io's. A running daemon watches the file. */
#include <stdlib.h>
#include <time.h>

#include "auth/names_io.h"
#include "cmd/auth_list.h"
#include "cmd/control_client.h"
#include "cmd/json.h"
#include "cmd/table.h"
#include "proto/addr.h"

enum { SEEN_TRIES = 60, SEEN_PAUSE_MS = 50 };

#define DEFAULT_GRANTS (PX_GRANT_CACHE | PX_GRANT_CACHE_OWN)

/* ---- add ---- */

static int set_name(const struct px_cli *cli, const char *text, struct px_authorized_key *k)
{
    if (!px_name_valid(px_slice_cstr(text)))
        return px_cli_usage(cli,
                            "--name: '%s' is not a name: 1..%d of a-z, 0-9 and dashes, no dash at "
                            "either end",
                            text, PX_AUTH_NAME_MAX);
    snprintf(k->name, sizeof(k->name), "%s", text);
    return 0;
}

/* Whether the entry can be written and read back. */
static bool fits(const struct px_authorized_key *k)
{
    struct px_buf line;
    px_buf_init(&line, 2 * PX_AUTH_LINE_MAX);
    int err = px_authorized_key_format(k, &line);
    px_buf_deinit(&line);
    return err == 0;
}

static int set_comment(const struct px_cli *cli, const char *text, struct px_authorized_key *k)
{
    struct px_authorized_key probe = {.id = k->id};
    int n = snprintf(probe.comment, sizeof(probe.comment), "%s", text);
    if (n >= (int)sizeof(probe.comment) || !fits(&probe))
        return px_cli_usage(cli, "--comment: must be one line of at most %d bytes",
                            PX_AUTH_COMMENT_MAX - 1);
    memcpy(k->comment, probe.comment, sizeof(k->comment));
    return 0;
}

static int add_addr(const struct px_cli *cli, const char *text, struct px_authorized_key *k)
{
    struct px_slice host;
    uint16_t port;
    if (strlen(text) >= PX_AUTH_ADDR_MAX ||
        px_hostport_split(px_slice_cstr(text), &host, &port) != 0)
        return px_cli_usage(cli, "--addr: '%s' is not HOST:PORT or [IPv6]:PORT", text);
    if (k->addr_count == PX_AUTH_ADDRS_MAX)
        return px_cli_usage(cli, "--addr: at most %d addresses", PX_AUTH_ADDRS_MAX);
    snprintf(k->addrs[k->addr_count++], PX_AUTH_ADDR_MAX, "%s", text);
    return 0;
}

static int set_grants(const struct px_cli *cli, const char *text, struct px_authorized_key *k)
{
    if (px_grants_parse(px_slice_cstr(text), &k->grants) == 0)
        return 0;
    return px_cli_usage(cli, "--grant: '%s' is not a list of cache, cache-own", text);
}

/* Applies what was given; an address list given replaces the old one. */
static int apply_options(const struct px_cli *cli, struct px_authorized_key *k)
{
    if (px_cli_has(cli, "addr"))
        k->addr_count = 0;
    for (size_t i = 0; i < cli->value_count; i++) {
        const struct px_cli_value *v = &cli->values[i];
        int code = 0;
        if (strcmp(v->name, "name") == 0)
            code = set_name(cli, v->text, k);
        else if (strcmp(v->name, "comment") == 0)
            code = set_comment(cli, v->text, k);
        else if (strcmp(v->name, "addr") == 0)
            code = add_addr(cli, v->text, k);
        else if (strcmp(v->name, "grant") == 0)
            code = set_grants(cli, v->text, k);
        if (code != 0)
            return code;
    }
    return 0;
}

/* What would make the list worse than it is. */
static int check_entry(const struct px_cli *cli, const struct px_auth_list *l,
                       const struct px_authorized_key *k)
{
    char hint[1024], id[PX_PEER_ID_TEXT_MAX];
    struct px_identity self;
    const struct px_authorized_key *other =
        k->name[0] == '\0' ? NULL : px_authorized_keys_by_name(l->keys, px_slice_cstr(k->name));
    if (other != NULL && !px_peer_id_eq(&other->id, &k->id)) {
        px_cli_error(cli, "the name '%s' belongs to %s; choose another or remove that peer first",
                     k->name, px_peer_id_format(&other->id, id));
        return PX_EXIT_FAILURE;
    }
    if (px_home_load_identity(&l->home, &self, hint, sizeof(hint)) != 0)
        return 0; /* a list may be kept without the key at hand */
    bool ours = px_peer_id_eq(&self.id, &k->id);
    px_identity_wipe(&self);
    return ours ? px_cli_usage(cli, "this is this node's own ID; add the other machine's") : 0;
}

/* A name means one peer, wherever it is written. */
static int check_names(const struct px_cli *cli, const struct px_auth_list *l,
                       const struct px_authorized_key *k)
{
    char path[PX_HOME_FILE_MAX], id[PX_PEER_ID_TEXT_MAX];
    struct px_names *names;
    int code = 0;
    if (px_names_load(px_home_config_path(&l->home, PX_HOME_NAMES, path), &names) != 0)
        return 0; /* `name list` tells */
    const struct px_name *other = px_names_find(names, px_slice_cstr(k->name));
    if (other != NULL && !px_peer_id_eq(&other->id, &k->id)) {
        px_cli_error(cli, "the name '%s' belongs to %s; see `peerix name list`", k->name,
                     px_peer_id_format(&other->id, id));
        code = PX_EXIT_FAILURE;
    }
    px_names_free(names);
    return code;
}

static int store_entry(const struct px_cli *cli, const struct px_auth_list *l,
                       const struct px_authorized_key *k)
{
    int err = px_authorized_keys_file_set(l->path, k);
    if (err == PX_EPARSE)
        return px_cli_usage(cli, "the entry would be longer than %d bytes", PX_AUTH_LINE_MAX);
    return err == 0 ? PX_EXIT_OK : px_auth_list_error(cli, l, err);
}

static bool is_listed(const json_t *answer, const char *id)
{
    const json_t *peers = px_json_at(answer, "peers");
    for (size_t i = 0; i < json_array_size(peers); i++)
        if (strcmp(px_json_text(json_array_get(peers, i), "peer"), id) == 0)
            return true;
    return false;
}

/* Until a running daemon, which watches the file, has seen the new peer: the next command may be
 * about it. */
static void wait_until_listed(const struct px_cli *cli, const struct px_auth_list *l,
                              const char *id)
{
    const struct timespec pause = {.tv_nsec = SEEN_PAUSE_MS * 1000000L};
    for (int i = 0; i < SEEN_TRIES && px_control_is_running(&l->home); i++) {
        json_t *answer = NULL;
        if (px_control_call(cli, "GET", "/v1/auth", NULL, &answer) != 0)
            return;
        bool listed = is_listed(answer, id);
        json_decref(answer);
        if (listed)
            return;
        nanosleep(&pause, NULL);
    }
}

static int add_to(const struct px_cli *cli, const struct px_auth_list *l,
                  const struct px_peer_id *id)
{
    char text[PX_PEER_ID_TEXT_MAX];
    const struct px_authorized_key *old = px_authorized_keys_find(l->keys, id);
    struct px_authorized_key k = {.id = *id, .grants = DEFAULT_GRANTS};
    if (old != NULL)
        k = *old;
    int code = apply_options(cli, &k);
    if (code == 0)
        code = check_entry(cli, l, &k);
    if (code == 0)
        code = check_names(cli, l, &k);
    if (code == 0)
        code = store_entry(cli, l, &k);
    if (code != 0)
        return code;
    code = px_json_result(cli, old != NULL ? "updated" : "added", px_peer_id_format(id, text));
    wait_until_listed(cli, l, text);
    return code;
}

static int parse_id(const struct px_cli *cli, const char *text, struct px_peer_id *ret)
{
    int err = px_peer_id_parse(px_slice_cstr(text), ret);
    if (err == 0)
        return 0;
    return px_cli_usage(cli, "'%s' is not a peer ID%s; `peerix whoami` prints one", text,
                        err == PX_EUNSUPPORTED ? " of an ed25519 key" : "");
}

int px_cmd_auth_add(const struct px_cli *cli)
{
    struct px_auth_list l;
    struct px_peer_id id;
    int code = parse_id(cli, cli->operands[0], &id);
    if (code == 0)
        code = px_auth_list_open(cli, &l);
    if (code != 0)
        return code;
    code = add_to(cli, &l, &id);
    px_auth_list_warn(cli, &l, "; run `peerix auth validate`");
    px_authorized_keys_free(l.keys);
    return code;
}

/* ---- remove ---- */

/* With a daemon running it is asked to, and answers when the peer is gone. */
static int remove_entry(const struct px_cli *cli, const struct px_auth_list *l,
                        const struct px_authorized_key *k)
{
    char id[PX_PEER_ID_TEXT_MAX], path[128];
    px_peer_id_format(&k->id, id);
    snprintf(path, sizeof(path), "/v1/auth/%s", id);
    if (px_control_is_running(&l->home)) {
        int code = px_control_call(cli, "DELETE", path, NULL, NULL);
        if (code != 0)
            return code;
    } else {
        int err = px_authorized_keys_file_remove(l->path, &k->id);
        if (err != 0)
            return px_auth_list_error(cli, l, err);
    }
    return px_json_result(cli, "removed", id);
}

int px_cmd_auth_remove(const struct px_cli *cli)
{
    struct px_auth_list l;
    struct px_peer_id id;
    int code = px_auth_list_open(cli, &l);
    if (code != 0)
        return code;
    code = px_cli_peer(cli, &l.home, cli->operands[0], &id);
    const struct px_authorized_key *k = code == 0 ? px_authorized_keys_find(l.keys, &id) : NULL;
    if (k != NULL) {
        code = remove_entry(cli, &l, k);
    } else if (code == 0) {
        px_cli_error(cli, "'%s' is not listed; see `peerix auth list`", cli->operands[0]);
        code = PX_EXIT_NO_PEER;
    }
    px_auth_list_warn(cli, &l, "; run `peerix auth validate`");
    px_authorized_keys_free(l.keys);
    return code;
}

/* ---- list ---- */

static char *grants_text(uint32_t grants)
{
    struct px_buf b;
    px_buf_init(&b, 256);
    if (grants != 0)
        (void)px_grants_format(grants, &b);
    char *text = px_slice_dup_cstr(px_buf_slice(&b));
    px_buf_deinit(&b);
    return text;
}

static char *addrs_text(const struct px_authorized_key *k)
{
    struct px_buf b;
    px_buf_init(&b, PX_AUTH_ADDRS_MAX * PX_AUTH_ADDR_MAX);
    for (size_t i = 0; i < k->addr_count; i++)
        (void)px_buf_printf(&b, "%s%s", i > 0 ? "," : "", k->addrs[i]);
    char *text = px_slice_dup_cstr(px_buf_slice(&b));
    px_buf_deinit(&b);
    return text;
}

static void put_owned(struct px_table *t, char *owned_text)
{
    t->failed |= owned_text == NULL;
    px_table_put(t, owned_text != NULL ? owned_text : "");
    free(owned_text);
}

static int list_text(const struct px_cli *cli, const struct px_auth_list *l)
{
    static const struct px_column columns[] = {{"PEER ID", false},
                                               {"NAME", false},
                                               {"GRANTS", false},
                                               {"ADDRESSES", false},
                                               {"COMMENT", false}};
    size_t count = px_authorized_keys_count(l->keys);
    struct px_table t;
    char id[PX_PEER_ID_TEXT_MAX];
    if (count == 0) {
        fputs("no peer is authorized yet; see `peerix auth add --help`\n", stderr);
        return PX_EXIT_OK;
    }
    px_table_init(&t, columns, PX_ARRAY_LEN(columns));
    for (size_t i = 0; i < count; i++) {
        const struct px_authorized_key *k = px_authorized_keys_at(l->keys, i);
        px_table_put(&t, px_peer_id_format(&k->id, id));
        px_table_put(&t, k->name);
        put_owned(&t, grants_text(k->grants));
        put_owned(&t, addrs_text(k));
        px_table_put(&t, k->comment);
    }
    return px_table_print(cli, &t, true);
}

/* "a,b" as ["a","b"], "" as []. */
static json_t *words_json(char *owned_words)
{
    json_t *array = owned_words != NULL ? json_array() : NULL;
    struct px_slice rest = px_slice_cstr(owned_words != NULL ? owned_words : ""), word;
    while (array != NULL && px_slice_split(&rest, ',', &word))
        if (json_array_append_new(array, json_stringn((const char *)word.data, word.len)) != 0) {
            json_decref(array);
            array = NULL;
        }
    free(owned_words);
    return array;
}

/* A comment may hold bytes that are no UTF-8, which JSON cannot carry: it is left out then. */
static json_t *entry_json(const struct px_authorized_key *k)
{
    char id[PX_PEER_ID_TEXT_MAX];
    json_t *comment = json_string(k->comment);
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:I}", "peer", px_peer_id_format(&k->id, id),
                     "name", k->name, "grants", words_json(grants_text(k->grants)), "addrs",
                     words_json(addrs_text(k)), "comment", comment != NULL ? comment : json_null(),
                     "line", (json_int_t)k->line);
}

static int list_json(const struct px_cli *cli, const struct px_auth_list *l)
{
    json_t *array = json_array();
    for (size_t i = 0; i < px_authorized_keys_count(l->keys) && array != NULL; i++)
        if (json_array_append_new(array, entry_json(px_authorized_keys_at(l->keys, i))) != 0) {
            json_decref(array);
            array = NULL;
        }
    return px_json_print(cli, array);
}

int px_cmd_auth_list(const struct px_cli *cli)
{
    struct px_auth_list l;
    int code = px_auth_list_open(cli, &l);
    if (code != 0)
        return code;
    code = px_cli_has(cli, "json") ? list_json(cli, &l) : list_text(cli, &l);
    px_auth_list_warn(cli, &l, "; run `peerix auth validate`");
    px_authorized_keys_free(l.keys);
    return code;
}

/* ---- validate ---- */

static const char unused[] = "may connect but use nothing; add grant=cache";

static void validate_text(const struct px_auth_list *l)
{
    char id[PX_PEER_ID_TEXT_MAX];
    size_t bad = px_authorized_keys_error_count(l->keys);
    for (size_t i = 0; i < bad; i++) {
        const struct px_auth_error *e = px_authorized_keys_error_at(l->keys, i);
        printf("%s:%zu: ", PX_HOME_AUTHORIZED_KEYS, e->line);
        px_cli_put_safe(stdout, e->message);
        putchar('\n');
    }
    for (size_t i = 0; i < px_authorized_keys_count(l->keys); i++) {
        const struct px_authorized_key *k = px_authorized_keys_at(l->keys, i);
        if (k->grants == 0)
            printf("%s:%zu: warning: %s %s\n", PX_HOME_AUTHORIZED_KEYS, k->line,
                   px_peer_id_format(&k->id, id), unused);
    }
    printf("%zu good, %zu bad\n", px_authorized_keys_count(l->keys), bad);
}

/* A message may quote bytes that are no UTF-8. */
static json_t *finding(size_t line, const char *level, const char *message)
{
    json_t *text = json_string(message);
    return json_pack("{s:I, s:s, s:o}", "line", (json_int_t)line, "level", level, "message",
                     text != NULL ? text : json_string("malformed"));
}

static json_t *validate_json(const struct px_auth_list *l)
{
    json_t *findings = json_array();
    size_t bad = px_authorized_keys_error_count(l->keys);
    for (size_t i = 0; i < bad; i++) {
        const struct px_auth_error *e = px_authorized_keys_error_at(l->keys, i);
        (void)json_array_append_new(findings, finding(e->line, "error", e->message));
    }
    for (size_t i = 0; i < px_authorized_keys_count(l->keys); i++) {
        const struct px_authorized_key *k = px_authorized_keys_at(l->keys, i);
        if (k->grants == 0)
            (void)json_array_append_new(findings, finding(k->line, "warning", unused));
    }
    return json_pack("{s:I, s:I, s:o}", "good", (json_int_t)px_authorized_keys_count(l->keys),
                     "bad", (json_int_t)bad, "findings", findings);
}

int px_cmd_auth_validate(const struct px_cli *cli)
{
    struct px_auth_list l;
    int code = px_auth_list_open(cli, &l);
    if (code != 0)
        return code;
    if (px_cli_has(cli, "json"))
        code = px_json_print(cli, validate_json(&l));
    else
        validate_text(&l);
    if (code == 0 && px_authorized_keys_error_count(l.keys) > 0)
        code = PX_EXIT_FAILURE;
    px_authorized_keys_free(l.keys);
    return code;
}

/* peerix relay add, list, remove: edits and shows HOME/relays, the relays this node uses. A running
 * daemon takes a change up by itself. */
#include <errno.h>
#include <unistd.h>

#include "cmd/control_client.h"
#include "cmd/json.h"
#include "cmd/reach_words.h"
#include "cmd/table.h"
#include "cmd/units.h"
#include "node/relay_hint.h"
#include "node/relay_list_io.h"
#include "node/relay_pipe.h"
#include "node/relay_who_io.h"

/* The file as it was when the command began. */
struct relays {
    struct px_home home;
    char path[PX_HOME_FILE_MAX];
    struct px_relay_list list;
};

static int file_error(const struct px_cli *cli, const struct relays *r, int err)
{
    if (err == PX_ENOENT) {
        px_cli_error(cli, "%s is not there; run `peerix init`", r->home.config_dir);
        return PX_EXIT_NOT_INITIALISED;
    }
    px_cli_error(
        cli, "%s: %s%s", r->path, px_strerror(err),
        err == PX_EPERM ? "; it must be a regular file that you, but not everyone, may write" : "");
    return err == PX_EPERM ? PX_EXIT_PERMISSION : PX_EXIT_FAILURE;
}

/* 0, or an exit code after telling people. */
static int load(const struct px_cli *cli, struct relays *ret)
{
    int code = px_cli_home(cli, &ret->home);
    if (code != 0)
        return code;
    px_home_config_path(&ret->home, PX_HOME_RELAYS, ret->path);
    int err = access(ret->home.config_dir, F_OK) != 0 ? px_err_from_errno(errno) : 0;
    if (err == 0)
        err = px_crypto_init();
    if (err == 0)
        err = px_relay_list_load(ret->path, &ret->list);
    if (err != 0)
        return file_error(cli, ret, err);
    for (size_t i = 0; i < ret->list.error_count; i++)
        px_cli_warn(cli, "%s:%zu: %s", ret->path, ret->list.errors[i].line,
                    ret->list.errors[i].message);
    return 0;
}

/* ---- add ---- */

/* Shell words to give a person: the command that pins this ID. */
static void put_command(FILE *out, const struct px_cli *cli, const struct px_relay_entry *e,
                        const char *id)
{
    char words[PX_HOME_PATH_MAX + 32];
    fprintf(out, "  peerix relay add %s --id %s", e->addrs[0], id);
    if (e->tcp != 0)
        fprintf(out, " --tcp %u", e->tcp);
    if (e->name[0] != '\0')
        fprintf(out, " --name %s", e->name);
    px_cli_home_words(cli, words, sizeof(words));
    px_cli_put_safe(out, words);
    putc('\n', out);
}

static int ask_error(const struct px_cli *cli, const struct px_relay_entry *e, int err,
                     const struct px_relay_who_answer *answer,
                     const struct px_relay_who_answer *other)
{
    char id[2][PX_PEER_ID_TEXT_MAX], addr[2][PX_ADDR_TEXT_MAX];
    unsigned tcp = e->tcp != 0 ? e->tcp : PX_RELAY_TCP_PORT;
    switch (err) {
    case PX_ENOENT:
        px_cli_error(cli, "the name of '%s' leads to no address", e->addrs[0]);
        return PX_EXIT_OFFLINE;
    case PX_ETIMEDOUT:
        px_cli_error(cli,
                     "no relay answers at %s, neither by UDP nor at TCP port %u; check address and "
                     "firewall, or give its peer ID with --id (`peerix-relay whoami` prints it)",
                     e->addrs[0], tcp);
        return PX_EXIT_TIMEOUT;
    case PX_EEXIST:
        px_cli_error(
            cli,
            "different relays answer there, %s at %s and %s at %s: give the address of one "
            "of them, or the ID of the right one with --id",
            px_peer_id_format(&answer->id, id[0]), px_addr_format(&answer->at, addr[0]),
            px_peer_id_format(&other->id, id[1]), px_addr_format(&other->at, addr[1]));
        return PX_EXIT_FAILURE;
    default:
        px_cli_error(cli, "%s: %s", e->addrs[0], px_strerror(err));
        return PX_EXIT_FAILURE;
    }
}

/* Is it the relay people mean? Nobody but them can tell. */
static int confirm(const struct px_cli *cli, const struct px_relay_entry *e,
                   const struct px_relay_who_answer *answer)
{
    char id[PX_PEER_ID_TEXT_MAX], line[16] = "";
    px_peer_id_format(&answer->id, id);
    if (px_cli_has(cli, "trust-first-use"))
        return 0;
    fprintf(stderr, "The relay that answers at %s%s is\n  %s\n", e->addrs[0],
            answer->tcp ? " (by TCP; UDP got no answer)" : "", id);
    if (isatty(STDIN_FILENO) == 0 || px_cli_has(cli, "json")) {
        px_cli_error(cli,
                     "whether it is the one you mean must be confirmed: compare with `peerix-relay "
                     "whoami` on its machine, then run the line below, or give --trust-first-use");
        put_command(stderr, cli, e, id);
        return PX_EXIT_FAILURE;
    }
    fputs("`peerix-relay whoami` on its machine prints the same if it is the right one.\n"
          "Use it from now on? [y/N] ",
          stderr);
    if (fgets(line, sizeof(line), stdin) != NULL && (line[0] == 'y' || line[0] == 'Y'))
        return 0;
    px_cli_error(cli, "nothing was added");
    return PX_EXIT_FAILURE;
}

/* Nobody told the ID: asks who is there. */
static int ask_id(const struct px_cli *cli, struct px_relay_entry *e)
{
    struct px_relay_who_answer answer, other;
    int err = px_relay_who_ask(e, &answer, &other);
    if (err != 0)
        return ask_error(cli, e, err, &answer, &other);
    int code = confirm(cli, e, &answer);
    if (code == 0)
        e->id = answer.id;
    return code;
}

static int take_id(const struct px_cli *cli, struct px_relay_entry *e, bool has_id)
{
    struct px_peer_id id;
    const char *text = px_cli_get(cli, "id");
    if (text == NULL)
        return has_id ? 0 : ask_id(cli, e);
    if (px_peer_id_parse(px_slice_cstr(text), &id) != 0)
        return px_cli_usage(cli, "--id: '%s' is not a peer ID", text);
    if (has_id && !px_peer_id_eq(&id, &e->id))
        return px_cli_usage(cli, "--id is another one than that of the relay's address");
    e->id = id;
    return 0;
}

static int take_tcp(const struct px_cli *cli, struct px_relay_entry *e)
{
    const char *text = px_cli_get(cli, "tcp");
    uint64_t port;
    if (text == NULL)
        return 0;
    if (px_slice_parse_u64(px_slice_cstr(text), &port) != 0 || port == 0 || port > UINT16_MAX)
        return px_cli_usage(cli, "--tcp: '%s' is not a port", text);
    e->tcp = (uint16_t)port;
    return 0;
}

static int take_options(const struct px_cli *cli, struct px_relay_entry *e)
{
    const char *name = px_cli_get(cli, "name"), *comment = px_cli_get(cli, "comment");
    if (name != NULL && !px_name_valid(px_slice_cstr(name)))
        return px_cli_usage(cli,
                            "'%s' is not a name: 1..%d of a-z, 0-9 and dashes, no dash at either "
                            "end",
                            name, PX_AUTH_NAME_MAX);
    if (name != NULL)
        snprintf(e->name, sizeof(e->name), "%s", name);
    if (comment == NULL)
        return take_tcp(cli, e);
    int length = snprintf(e->comment, sizeof(e->comment), "%s", comment);
    return length < (int)sizeof(e->comment)
               ? take_tcp(cli, e)
               : px_cli_usage(cli, "--comment: must be one line of at most %d bytes",
                              PX_AUTH_COMMENT_MAX - 1);
}

static int print_done(const struct px_cli *cli, const char *result, const struct px_relay_entry *e)
{
    char id[PX_PEER_ID_TEXT_MAX];
    px_peer_id_format(&e->id, id);
    if (px_cli_has(cli, "json"))
        return px_json_print(cli, json_pack("{s:s, s:s, s:s, s:s}", "relay", id, "name",
                                            px_relay_entry_label(e), "address", e->addrs[0],
                                            "result", result));
    printf("%s %s %s\n", result, px_relay_entry_label(e), id);
    return PX_EXIT_OK;
}

static int add_error(const struct px_cli *cli, const struct relays *r,
                     const struct px_relay_entry *e, int err)
{
    switch (err) {
    case PX_ELIMIT:
        px_cli_error(cli, "there are %d relays already; remove one first", PX_RELAY_LIST_MAX);
        return PX_EXIT_FAILURE;
    case PX_EEXIST:
        px_cli_error(cli, "another relay is called '%s' already; choose a --name",
                     px_relay_entry_label(e));
        return PX_EXIT_FAILURE;
    case PX_EPARSE:
        return px_cli_usage(cli, "--comment: must be one line of printable text");
    default:
        return file_error(cli, r, err);
    }
}

int px_cmd_relay_add(const struct px_cli *cli)
{
    struct relays r;
    struct px_relay_entry e;
    struct px_addr ip;
    bool has_id;
    int code = load(cli, &r);
    if (code != 0)
        return code;
    if (px_relay_word_parse(px_slice_cstr(cli->operands[0]), &e, &has_id) != 0)
        return px_cli_usage(cli,
                            "'%s' is no relay: give its URL, IP, HOST, HOST:PORT, or a multiaddr "
                            "such as /ip4/192.0.2.1/udp/%d/quic-v1/p2p/ID",
                            cli->operands[0], PX_RELAY_PORT);
    if (px_addr_parse(px_slice_cstr(e.addrs[0]), &ip) == 0 && px_addr_is_wildcard(&ip))
        return px_cli_usage(cli,
                            "%s means all addresses of a machine: give the name or the public "
                            "address of the relay's",
                            e.addrs[0]);
    code = take_options(cli, &e);
    if (code == 0)
        code = take_id(cli, &e, has_id);
    if (code != 0)
        return code;
    char id[PX_PEER_ID_TEXT_MAX];
    const struct px_relay_entry *old =
        px_relay_list_find(&r.list, px_slice_cstr(px_peer_id_format(&e.id, id)));
    if (old != NULL && !px_cli_has(cli, "name"))
        memcpy(e.name, old->name, sizeof(e.name));
    if (old != NULL && !px_cli_has(cli, "comment"))
        memcpy(e.comment, old->comment, sizeof(e.comment));
    if (old != NULL && e.tcp == 0)
        e.tcp = old->tcp;
    int err = px_relay_file_set(r.path, &e);
    if (err != 0)
        return add_error(cli, &r, &e, err);
    code = print_done(cli, old != NULL ? "updated" : "added", &e);
    if (code == 0 && old == NULL && !px_cli_has(cli, "json"))
        puts("It must list this node, unless it is open: there, `peerix-relay auth add` with what\n"
             "`peerix whoami` prints here. `peerix relay list` shows whether it does.");
    return code;
}

/* ---- remove ---- */

/* By name, ID, or whatever `relay add` takes. */
static const struct px_relay_entry *find_word(const struct px_relay_list *l, const char *word)
{
    struct px_relay_entry e;
    bool has_id;
    const struct px_relay_entry *found = px_relay_list_find(l, px_slice_cstr(word));
    if (found == NULL && px_relay_word_parse(px_slice_cstr(word), &e, &has_id) == 0 && !has_id)
        found = px_relay_list_find(l, px_slice_cstr(e.addrs[0]));
    return found;
}

int px_cmd_relay_remove(const struct px_cli *cli)
{
    struct relays r;
    int code = load(cli, &r);
    if (code != 0)
        return code;
    const struct px_relay_entry *e = find_word(&r.list, cli->operands[0]);
    int err = e != NULL ? px_relay_file_remove(r.path, &e->id) : PX_ENOENT;
    if (err == PX_ENOENT) {
        px_cli_error(cli, "there is no relay '%s'; see `peerix relay list`", cli->operands[0]);
        return PX_EXIT_NO_PEER;
    }
    return err != 0 ? file_error(cli, &r, err) : print_done(cli, "removed", e);
}

/* ---- list ---- */

/* What the daemon says of it; NULL when it runs not, or has not read the file yet. */
static const json_t *state_of(const json_t *answer, const char *id)
{
    const json_t *all = px_json_at(answer, "relays");
    for (size_t i = 0; i < json_array_size(all); i++)
        if (strcmp(px_json_text(json_array_get(all, i), "peer"), id) == 0)
            return json_array_get(all, i);
    return NULL;
}

static void put_state(struct px_table *t, const json_t *state)
{
    char text[96], rtt[PX_UNITS_MAX], next[PX_UNITS_MAX];
    px_nsec took = px_json_seconds(state, "rtt"), dial = px_json_seconds(state, "next_dial");
    bool reserved = px_json_true(state, "reserved");
    const char *error = px_json_text(state, "last_error");
    bool tcp = strcmp(px_json_text(state, "transport"), "tcp") == 0;
    snprintf(text, sizeof(text), "%s%s%s%.20s", px_json_text(state, "state"), tcp ? " by TCP" : "",
             reserved ? ", reserved as " : "", px_json_text(state, "class"));
    if (dial != PX_NEVER)
        snprintf(text, sizeof(text), "%s, dialled again in %s", px_json_text(state, "state"),
                 px_units_long(dial, next));
    px_table_put_colored(t, reserved ? px_cli_style(stdout).green : "", text);
    px_table_put(t, took != PX_NEVER ? px_units_short(took, rtt) : "");
    snprintf(text, sizeof(text), "%u", (unsigned)px_json_count(state, "circuits"));
    px_table_put(t, state != NULL ? text : "");
    px_table_put(t, error[0] != '\0' ? px_relay_error_words(error) : "");
}

/* What to do about a relay that does not work, if that is known. */
static void put_hint(const struct px_relay_entry *e, const json_t *state)
{
    static const int errors[] = {PX_ETARGET,  PX_EWRONGPEER, PX_EREFUSED,  PX_EUNLISTED,
                                 PX_ENETWORK, PX_EEXIST,     PX_ETIMEDOUT, PX_EHANDSHAKE_TIMEOUT};
    const char *error = px_json_text(state, "last_error");
    char hint[PX_RELAY_HINT_MAX];
    for (size_t i = 0; i < PX_ARRAY_LEN(errors); i++)
        if (strcmp(error, px_errname(errors[i])) == 0)
            printf("next: %s: %s\n", px_relay_entry_label(e), px_relay_hint(e, errors[i], hint));
}

static int list_text(const struct px_cli *cli, const struct relays *r, const json_t *answer)
{
    static const struct px_column columns[] = {
        {"NAME", false},    {"ADDRESS", false},    {"STATE", false},  {"RTT", true},
        {"CIRCUITS", true}, {"LAST ERROR", false}, {"PEER ID", false}};
    struct px_table t;
    px_table_init(&t, columns, PX_ARRAY_LEN(columns));
    for (size_t i = 0; i < r->list.count; i++) {
        const struct px_relay_entry *e = &r->list.entries[i];
        char id[PX_PEER_ID_TEXT_MAX];
        px_peer_id_format(&e->id, id);
        px_table_put(&t, e->name);
        px_table_put(&t, e->addrs[0]);
        put_state(&t, state_of(answer, id));
        px_table_put(&t, id);
    }
    if (t.count > 0 && answer != NULL && json_array_size(px_json_at(answer, "relays")) == 0)
        (void)px_relays_tell_unused(cli);
    if (t.count > 0 && answer == NULL)
        fputs("no daemon is running: how the relays are is not known\n", stderr);
    if (t.count == 0)
        fputs("there are no relays yet; see `peerix relay add --help`\n", stderr);
    int code = px_table_print(cli, &t, t.count > 0);
    for (size_t i = 0; i < r->list.count && code == 0; i++) {
        char id[PX_PEER_ID_TEXT_MAX];
        const struct px_relay_entry *e = &r->list.entries[i];
        put_hint(e, state_of(answer, px_peer_id_format(&e->id, id)));
    }
    return code;
}

static json_t *entry_json(const struct px_relay_entry *e, const json_t *state)
{
    char id[PX_PEER_ID_TEXT_MAX];
    json_t *addrs = json_array();
    for (size_t i = 0; i < e->addr_count; i++)
        (void)json_array_append_new(addrs, json_string(e->addrs[i]));
    return json_pack("{s:s, s:s, s:o, s:i, s:s, s:O?}", "relay", px_peer_id_format(&e->id, id),
                     "name", e->name, "addresses", addrs, "tcp",
                     e->tcp != 0 ? e->tcp : PX_RELAY_TCP_PORT, "comment", e->comment, "daemon",
                     state);
}

static int list_json(const struct px_cli *cli, const struct relays *r, const json_t *answer)
{
    json_t *array = json_array();
    for (size_t i = 0; i < r->list.count; i++) {
        char id[PX_PEER_ID_TEXT_MAX];
        const struct px_relay_entry *e = &r->list.entries[i];
        px_peer_id_format(&e->id, id);
        if (json_array_append_new(array, entry_json(e, state_of(answer, id))) == 0)
            continue;
        json_decref(array);
        return px_json_print(cli, NULL);
    }
    return px_json_print(cli, array);
}

int px_cmd_relay_list(const struct px_cli *cli)
{
    struct relays r;
    json_t *answer = NULL;
    int code = load(cli, &r);
    if (code == 0 && px_control_is_running(&r.home))
        code = px_control_call(cli, "GET", "/v1/relays", NULL, &answer);
    if (code != 0)
        return code;
    code = px_cli_has(cli, "json") ? list_json(cli, &r, answer) : list_text(cli, &r, answer);
    json_decref(answer);
    return code;
}

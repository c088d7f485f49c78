/* peerix rotate-key: a new identity key without pairing anew (docs/spec/rotation.md §4). With a
 * daemon running it is asked; without one the files are changed here, and peers are told when it
 * starts. */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "auth/authorized_keys_io.h"
#include "cmd/control_client.h"
#include "cmd/json.h"
#include "cmd/table.h"
#include "node/rotation_home.h"
#include "node/rotation_json.h"
#include "node/rotation_store.h"
#include "node/state_db.h"

enum { WAIT_MS = 3000, PAUSE_MS = 100 };

/* ---- what is shown ---- */

static int print_peers(const struct px_cli *cli, const json_t *state)
{
    static const struct px_column columns[] = {
        {"PEER ID", false}, {"NAME", false}, {"KNOWS THE NEW KEY", false}};
    const json_t *peers = px_json_at(state, "peers");
    struct px_table t;
    if (json_array_size(peers) == 0)
        return PX_EXIT_OK;
    putchar('\n');
    px_table_init(&t, columns, PX_ARRAY_LEN(columns));
    for (size_t i = 0; i < json_array_size(peers); i++) {
        const json_t *p = json_array_get(peers, i);
        const char *error = px_json_text(p, "error");
        px_table_put(&t, px_json_text(p, "peer"));
        px_table_put(&t, px_json_text(p, "name"));
        px_table_put(&t, px_json_true(p, "acked")       ? "yes"
                         : error[0] != '\0'             ? px_control_error_text(error)
                         : px_json_true(p, "connected") ? "not yet"
                                                        : "not yet: offline");
    }
    return px_table_print(cli, &t, true);
}

static void print_moves(const json_t *state, const char *key, const char *what)
{
    const json_t *moves = px_json_at(state, key);
    for (size_t i = 0; i < json_array_size(moves); i++) {
        const json_t *m = json_array_get(moves, i);
        px_cli_put_safe(stdout, px_json_text(m, "name"));
        printf("%s%s: %s -> %s\n", px_json_text(m, "name")[0] != '\0' ? " " : "", what,
               px_json_text(m, "old"), px_json_text(m, "peer"));
    }
}

static int print_state(const struct px_cli *cli, const json_t *state)
{
    struct px_cli_style style = px_cli_style(stdout);
    if (strcmp(px_json_text(state, "state"), "announced") != 0) {
        printf("This node keeps its key: %s\n", px_json_text(state, "peer"));
    } else {
        printf(
            "The new identity of this node is ready:\n\n  %s%s%s\n\nThe old one stays in use until "
            "`peerix rotate-key --finish`:\n\n  %s\n",
            style.bold, px_json_text(state, "next"), style.reset, px_json_text(state, "peer"));
        int code = print_peers(cli, state);
        if (code != 0)
            return code;
    }
    print_moves(state, "waiting", "will change its key");
    print_moves(state, "moved", "has changed its key");
    return PX_EXIT_OK;
}

static int show(const struct px_cli *cli, json_t *owned_state)
{
    if (px_cli_has(cli, "json"))
        return px_json_print(cli, owned_state);
    int code = print_state(cli, owned_state);
    json_decref(owned_state);
    return code;
}

static int show_finished(const struct px_cli *cli, json_t *owned_answer, bool running)
{
    if (px_cli_has(cli, "json"))
        return px_json_print(cli, owned_answer);
    const char *left = px_json_text(owned_answer, "left");
    printf("This node is now %s\n", px_json_text(owned_answer, "peer"));
    if (running)
        puts("The daemon starts its parts anew with it.");
    if (left[0] != '\0') {
        fputs("To be paired anew, as they know the old key alone: ", stdout);
        px_cli_put_safe(stdout, left);
        putchar('\n');
    }
    json_decref(owned_answer);
    return PX_EXIT_OK;
}

/* ---- with a daemon ---- */

/* Is there a connected peer that has neither acked nor failed? */
static bool is_settling(const json_t *state)
{
    const json_t *peers = px_json_at(state, "peers");
    for (size_t i = 0; i < json_array_size(peers); i++) {
        const json_t *p = json_array_get(peers, i);
        if (px_json_true(p, "connected") && !px_json_true(p, "acked") &&
            px_json_text(p, "error")[0] == '\0')
            return true;
    }
    return false;
}

static int begin_online(const struct px_cli *cli)
{
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
    json_t *state = NULL;
    int code = px_control_call(cli, "POST", "/v1/rotation", NULL, &state);
    for (int i = 0; code == 0 && i < WAIT_MS / PAUSE_MS && is_settling(state); i++) {
        json_decref(state);
        nanosleep(&pause, NULL);
        code = px_control_call(cli, "GET", "/v1/rotation", NULL, &state);
    }
    return code != 0 ? code : show(cli, state);
}

static int finish_online(const struct px_cli *cli)
{
    json_t *answer = NULL;
    json_t *body = json_pack("{s:b}", "force", px_cli_has(cli, "force"));
    int code = px_control_call(cli, "POST", "/v1/rotation/finish", body, &answer);
    json_decref(body);
    return code != 0 ? code : show_finished(cli, answer, true);
}

static int run_online(const struct px_cli *cli)
{
    json_t *state = NULL;
    if (px_cli_has(cli, "finish"))
        return finish_online(cli);
    if (!px_cli_has(cli, "abort") && !px_cli_has(cli, "status"))
        return begin_online(cli);
    int code = px_control_call(cli, px_cli_has(cli, "abort") ? "DELETE" : "GET", "/v1/rotation",
                               NULL, &state);
    return code != 0 ? code : show(cli, state);
}

/* ---- without one ---- */

struct offline {
    const struct px_cli *cli;
    struct px_home home;
    struct px_identity own, next;
    bool has_next;
    struct px_authorized_keys *keys;
    struct px_rotation_book *book;
    struct px_sqlite *db; /* NULL: not usable, so nobody has acked */
    struct px_rotation_ack *acks;
    size_t ack_count;
};

static int add_ack(void *ctx, const struct px_rotation_ack *a)
{
    struct offline *o = ctx;
    if (!px_peer_id_eq(&a->own, &o->own.id) || !o->has_next ||
        !px_peer_id_eq(&a->next, &o->next.id))
        return 0;
    struct px_rotation_ack *grown = realloc(o->acks, (o->ack_count + 1) * sizeof(*grown));
    if (grown == NULL)
        return PX_ENOMEM;
    o->acks = grown;
    o->acks[o->ack_count++] = *a;
    return 0;
}

static struct px_rotation_peer peer_view(void *ctx, const struct px_peer_id *id)
{
    const struct offline *o = ctx;
    struct px_rotation_peer p = {.acked = false};
    for (size_t i = 0; i < o->ack_count; i++)
        p.acked |= px_peer_id_eq(&o->acks[i].peer, id);
    return p;
}

static struct px_rotation_view view_of(struct offline *o)
{
    return (struct px_rotation_view){
        .own = &o->own.id,
        .next = o->has_next ? &o->next.id : NULL,
        .keys = o->keys,
        .book = o->book,
        .peer = peer_view,
        .ctx = o,
    };
}

/* A node that never ran has no database; then nobody has been told anything. */
static int open_state(struct offline *o, const char *network)
{
    char path[PX_HOME_FILE_MAX];
    snprintf(path, sizeof(path), "%s/%s", o->home.state_dir, PX_HOME_STATE_DB);
    if (access(path, F_OK) != 0)
        return 0;
    int err = px_state_db_open(&o->home, NULL, &o->db);
    if (err == 0)
        err = px_rotation_store_load(o->db, network, o->book);
    if (err == 0)
        err = px_rotation_each_ack(o->db, add_ack, o);
    if (err != 0)
        px_cli_warn(o->cli, "the state database cannot be read: %s; it counts as empty",
                    px_strerror(err));
    return err == PX_ENOMEM ? err : 0;
}

static int load_next(struct offline *o)
{
    char hint[256] = "";
    int err = px_rotation_home_next(&o->home, &o->own, &o->next, hint, sizeof(hint));
    o->has_next = err == 0;
    return err == 0 || err == PX_ENOENT ? 0 : px_cli_file_error(o->cli, err, hint);
}

static int open_offline(const struct px_cli *cli, struct offline *o)
{
    char hint[256] = "", path[PX_HOME_FILE_MAX];
    struct px_config *config = NULL;
    int err = px_home_load_identity(&o->home, &o->own, hint, sizeof(hint));
    if (err == PX_ENOENT) {
        px_cli_error(cli, "%s", hint);
        return PX_EXIT_NOT_INITIALISED;
    }
    int code = err != 0 ? px_cli_file_error(cli, err, hint) : load_next(o);
    if (code == 0)
        code = px_cli_config(cli, &o->home, &config);
    if (code != 0)
        return code;
    px_home_config_path(&o->home, PX_HOME_AUTHORIZED_KEYS, path);
    o->book = calloc(1, sizeof(*o->book));
    err = o->book == NULL ? PX_ENOMEM : px_authorized_keys_load(path, &o->keys);
    if (err == 0)
        err = open_state(o, config->network);
    px_config_free(config);
    return err == 0 ? 0 : px_cli_file_error(cli, err, px_strerror(err));
}

static void close_offline(struct offline *o)
{
    px_identity_wipe(&o->own);
    px_identity_wipe(&o->next);
    px_authorized_keys_free(o->keys);
    free(o->book);
    free(o->acks);
    px_sqlite_close(o->db);
}

static int show_offline(struct offline *o)
{
    struct px_rotation_view v = view_of(o);
    return show(o->cli, px_rotation_json(&v));
}

static int begin_offline(struct offline *o)
{
    int err = o->has_next ? 0 : px_rotation_home_begin(&o->home);
    int code = err == 0 || err == PX_EEXIST ? load_next(o)
                                            : px_cli_file_error(o->cli, err, px_strerror(err));
    if (code != 0)
        return code;
    fputs("No daemon is running: peers are told of the new key when it does.\n", stderr);
    return show_offline(o);
}

static int no_rotation(const struct offline *o)
{
    px_cli_error(o->cli, "no rotation is under way");
    return PX_EXIT_FAILURE;
}

static int abort_offline(struct offline *o)
{
    int err = px_rotation_home_abort(&o->home);
    if (err == PX_ENOENT)
        return no_rotation(o);
    if (err != 0)
        return px_cli_file_error(o->cli, err, px_strerror(err));
    o->has_next = false;
    return show_offline(o);
}

static int switch_offline(struct offline *o, const struct px_buf *left)
{
    char old_text[PX_PEER_ID_TEXT_MAX], new_text[PX_PEER_ID_TEXT_MAX];
    int err = px_rotation_home_finish(&o->home);
    if (err != 0)
        return px_cli_file_error(o->cli, err, px_strerror(err));
    if (o->db != NULL && px_rotation_forget_acks(o->db) != 0)
        px_cli_warn(o->cli, "the state database could not be written; that does no harm");
    return show_finished(o->cli,
                         json_pack("{s:s, s:s, s:s, s:s%}", "state", "finished", "peer",
                                   px_peer_id_format(&o->next.id, new_text), "old",
                                   px_peer_id_format(&o->own.id, old_text), "left",
                                   left->len > 0 ? (const char *)left->data : "", left->len),
                         false);
}

static int finish_offline(struct offline *o)
{
    struct px_rotation_view v = view_of(o);
    struct px_buf left;
    if (!o->has_next)
        return no_rotation(o);
    px_buf_init(&left, 1024);
    int code = 0;
    if (px_rotation_unacked(&v, &left) > 0 && !px_cli_has(o->cli, "force")) {
        px_cli_error(
            o->cli,
            "these peers do not know the new key yet: %.*s; start the daemon and wait until "
            "they have been connected, or add --force and pair them anew",
            (int)left.len, (const char *)left.data);
        code = PX_EXIT_UNACKED;
    }
    if (code == 0)
        code = switch_offline(o, &left);
    px_buf_deinit(&left);
    return code;
}

static int run_offline(const struct px_cli *cli, const struct px_home *home)
{
    struct offline o = {.cli = cli, .home = *home};
    int code = open_offline(cli, &o);
    if (code == 0 && px_cli_has(cli, "finish"))
        code = finish_offline(&o);
    else if (code == 0 && px_cli_has(cli, "abort"))
        code = abort_offline(&o);
    else if (code == 0 && px_cli_has(cli, "status"))
        code = show_offline(&o);
    else if (code == 0)
        code = begin_offline(&o);
    close_offline(&o);
    return code;
}

int px_cmd_rotate_key(const struct px_cli *cli)
{
    struct px_home home;
    int wanted = px_cli_has(cli, "finish") + px_cli_has(cli, "abort") + px_cli_has(cli, "status");
    if (wanted > 1)
        return px_cli_usage(cli, "--finish, --abort and --status exclude each other");
    if (px_cli_has(cli, "force") && !px_cli_has(cli, "finish"))
        return px_cli_usage(cli, "--force belongs to --finish");
    int code = px_cli_home(cli, &home);
    if (code != 0)
        return code;
    return px_control_is_running(&home) ? run_online(cli) : run_offline(cli, &home);
}

/* See net_name.h. */
#include "cmd/net_name.h"

#include <stdio.h>

#include "cmd/control_client.h"
#include "cmd/json.h"
#include "cmd/units.h"
#include "node/net_names_io.h"

const char *px_cli_net_name_age(int64_t age, char out[32])
{
    char text[PX_UNITS_MAX];
    snprintf(out, 32, "%s ago", px_units_long((px_nsec)PX_MAX(age, (int64_t)0) * PX_SEC, text));
    return out;
}

/* ---- the daemon ---- */

static int ask_daemon(const struct px_cli *cli, const char *word, struct px_peer_id *ret,
                      enum px_resolved *ret_by, int64_t *ret_age)
{
    struct px_buf path;
    json_t *answer = NULL;
    px_buf_init(&path, 1024);
    (void)px_buf_put_cstr(&path, "/v1/names/");
    (void)px_control_put_segment(&path, word);
    if (px_buf_put_u8(&path, '\0') != 0) {
        px_buf_deinit(&path);
        return PX_EXIT_FAILURE;
    }
    int code = px_control_call(cli, "GET", (const char *)path.data, NULL, &answer);
    px_buf_deinit(&path);
    if (code != 0)
        return code;
    bool live = strcmp(px_json_text(answer, "from"), "relay") == 0;
    int err = px_peer_id_parse(px_slice_cstr(px_json_text(answer, "peer")), ret);
    *ret_by = live ? PX_RESOLVED_NETWORK : PX_RESOLVED_COPY;
    *ret_age = (int64_t)px_json_count(answer, "age");
    json_decref(answer);
    if (err != 0)
        px_cli_error(cli, "the daemon's answer makes no sense");
    return err != 0 ? PX_EXIT_FAILURE : 0;
}

/* ---- the local copy ---- */

static int load(const struct px_home *home, struct px_net_names **ret)
{
    char path[PX_HOME_FILE_MAX];
    size_t bad;
    return px_net_names_load(px_net_names_path(home, path), ret, &bad);
}

static int look_up(const struct px_cli *cli, const struct px_home *home, const char *word,
                   struct px_peer_id *ret, int64_t *ret_age)
{
    struct px_net_names *names;
    const struct px_net_name *found;
    int64_t now = px_net_names_now();
    int err = load(home, &names);
    if (err == 0) {
        err = px_net_names_find(names, px_slice_cstr(word), now, &found);
        if (err == 0) {
            *ret = found->peer;
            *ret_age = now - found->seen;
        }
        px_net_names_free(names);
    }
    if (err == 0)
        return 0;
    if (err == PX_EEXIST)
        px_cli_error(cli,
                     "relays told different peers for '%s'; `peerix name list` shows them, give "
                     "the peer ID",
                     word);
    else
        px_cli_error(cli, "no peer '%s' is known here; relays can be asked while the daemon runs",
                     word);
    return PX_EXIT_NO_PEER;
}

int px_cli_net_name(const struct px_cli *cli, const struct px_home *home, const char *word,
                    struct px_peer_id *ret, enum px_resolved *ret_by, int64_t *ret_age)
{
    if (px_control_is_running(home))
        return ask_daemon(cli, word, ret, ret_by, ret_age);
    *ret_by = PX_RESOLVED_COPY;
    return look_up(cli, home, word, ret, ret_age);
}

static json_t *copy_json(const struct px_net_names *names)
{
    json_t *list = json_array();
    char id[PX_PEER_ID_TEXT_MAX];
    for (size_t i = 0; i < px_net_names_count(names); i++) {
        const struct px_net_name *n = px_net_names_at(names, i);
        (void)json_array_append_new(list,
                                    json_pack("{s:s, s:s, s:s, s:I}", "name", n->text, "peer",
                                              px_peer_id_format(&n->peer, id), "from", "copy",
                                              "age", (json_int_t)(px_net_names_now() - n->seen)));
    }
    return list;
}

int px_cli_net_names(const struct px_cli *cli, const struct px_home *home, json_t **ret)
{
    struct px_net_names *names;
    json_t *answer = NULL;
    if (px_control_is_running(home)) {
        int code = px_control_call(cli, "GET", "/v1/names", NULL, &answer);
        if (code != 0)
            return code;
        *ret = json_incref(json_object_get(answer, "names"));
        json_decref(answer);
        return 0;
    }
    if (load(home, &names) != 0) {
        *ret = json_array();
        return 0;
    }
    *ret = copy_json(names);
    px_net_names_free(names);
    return 0;
}

/* GET and POST /v1/auth, DELETE /v1/auth/{peer}: the allowlist of the running node.
 *
 * Edits wait for a lock and for the disk, so they run on a thread of libuv's pool; the list is
 * loaded again, and its links ended, before the caller is told. */
#include <stdio.h>
#include <stdlib.h>

#include "auth/authorized_keys_io.h"
#include "node/control_node.h"
#include "node/control_text.h"

#define DEFAULT_GRANTS (PX_GRANT_CACHE | PX_GRANT_CACHE_OWN)

/* --- looking --- */

/* A comment may hold bytes that are no UTF-8, which JSON cannot carry: it is left out then. */
static json_t *entry_json(const struct px_authorized_key *k)
{
    json_t *addrs = json_array();
    json_t *comment = json_string(k->comment);
    for (size_t i = 0; i < k->addr_count; i++)
        (void)json_array_append_new(addrs, json_string(k->addrs[i]));
    return json_pack("{s:o, s:s, s:o, s:o, s:o}", "peer", px_control_id_json(&k->id), "name",
                     k->name, "grants", px_control_grants_json(k->grants), "addrs", addrs,
                     "comment", comment != NULL ? comment : json_null());
}

static bool has_list(const struct px_control_node *n, struct px_control_call *call)
{
    if (n->allowlist == NULL)
        px_control_fail(call, PX_ECANCELED, "the daemon is stopping");
    return n->allowlist != NULL;
}

static void handle_list(void *ctx, struct px_control_call *call)
{
    const struct px_control_node *n = ctx;
    if (!has_list(n, call))
        return;
    const struct px_authorized_keys *keys = px_allowlist_keys(n->allowlist);
    json_t *peers = json_array(), *bad = json_array();
    for (size_t i = 0; i < px_authorized_keys_count(keys); i++)
        (void)json_array_append_new(peers, entry_json(px_authorized_keys_at(keys, i)));
    for (size_t i = 0; i < px_authorized_keys_error_count(keys); i++) {
        const struct px_auth_error *e = px_authorized_keys_error_at(keys, i);
        json_t *why = json_string(e->message);
        (void)json_array_append_new(bad,
                                    json_pack("{s:I, s:o}", "line", (json_int_t)e->line, "message",
                                              why != NULL ? why : json_string("malformed")));
    }
    px_control_reply(call, 200, json_pack("{s:o, s:o}", "peers", peers, "bad_lines", bad));
}

static int text_list(const json_t *reply, struct px_buf *out)
{
    static const struct px_control_column columns[] = {{"PEER", "peer"},
                                                       {"NAME", "name"},
                                                       {"GRANTS", "grants"},
                                                       {"ADDRESSES", "addrs"},
                                                       {"COMMENT", "comment"}};
    return px_control_put_table(out, json_object_get(reply, "peers"), columns,
                                PX_ARRAY_LEN(columns));
}

/* --- one edit --- */

struct edit {
    uv_work_t work;
    struct px_control_node *n;
    struct px_control_call *call; /* NULL once it is gone */
    char path[PX_HOME_FILE_MAX];
    bool remove, added;
    struct px_authorized_key key; /* `id` alone to remove */
    int err;                      /* what it came to */
};

static void on_caller_gone(void *ctx)
{
    struct edit *e = ctx;
    e->call = NULL;
}

static void run_edit(uv_work_t *work)
{
    struct edit *e = work->data;
    e->err = e->remove ? px_authorized_keys_file_remove(e->path, &e->key.id)
                       : px_authorized_keys_file_set(e->path, &e->key);
}

static void tell_failure(struct px_control_call *call, const struct edit *e, int err)
{
    if (err == PX_ENOENT)
        px_control_fail(call, err, "the peer is not listed; `peerix auth list` shows who is");
    else if (err == PX_EEXIST)
        px_control_fail(call, err, "another peer has the name '%s'; choose another", e->key.name);
    else if (err == PX_EPARSE)
        px_control_fail(call, PX_EINVAL, "the entry would be longer than %d bytes",
                        PX_AUTH_LINE_MAX);
    else if (err == PX_EPERM)
        px_control_fail(call, PX_EPERM,
                        "%s is not ours to write, or a symbolic link; edit what it "
                        "leads to",
                        e->path);
    else
        px_control_fail(call, err, "%s: %s", e->path, px_strerror(err));
}

static void on_edited(uv_work_t *work, int status)
{
    struct edit *e = work->data;
    struct px_control_call *call = e->call;
    int err = status != 0 ? PX_ECANCELED : e->err;
    if (err == 0 && e->n->allowlist != NULL)
        err = px_allowlist_reload(e->n->allowlist);
    if (call != NULL && err != 0)
        tell_failure(call, e, err);
    else if (call != NULL && e->remove)
        px_control_reply(
            call, 200,
            json_pack("{s:o, s:s}", "peer", px_control_id_json(&e->key.id), "result", "removed"));
    else if (call != NULL)
        px_control_reply(call, e->added ? 201 : 200,
                         json_pack("{s:o, s:s, s:o}", "peer", px_control_id_json(&e->key.id),
                                   "result", e->added ? "added" : "updated", "entry",
                                   entry_json(&e->key)));
    free(e);
}

static void start_edit(struct px_control_node *n, struct px_control_call *call,
                       const struct edit *edit)
{
    struct edit *e = malloc(sizeof(*e));
    if (e == NULL) {
        px_control_fail(call, PX_ENOMEM, "%s", px_strerror(PX_ENOMEM));
        return;
    }
    *e = *edit;
    e->n = n;
    e->call = call;
    e->work.data = e;
    px_home_config_path(n->home, PX_HOME_AUTHORIZED_KEYS, e->path);
    px_control_on_gone(call, on_caller_gone, e);
    int started = uv_queue_work(n->loop, &e->work, run_edit, on_edited);
    px_assert(started == 0); /* it only fails without a function */
}

/* --- adding: what a body may say --- */

static int set_name(const json_t *v, struct px_authorized_key *k)
{
    const char *text = json_string_value(v);
    if (text == NULL || (text[0] != '\0' && !px_name_valid(px_slice_cstr(text))))
        return PX_EINVAL;
    snprintf(k->name, sizeof(k->name), "%s", text);
    return 0;
}

static int set_comment(const json_t *v, struct px_authorized_key *k)
{
    const char *text = json_string_value(v);
    if (text == NULL || strlen(text) >= sizeof(k->comment))
        return PX_EINVAL;
    snprintf(k->comment, sizeof(k->comment), "%s", text);
    return 0;
}

static int set_grants(const json_t *v, struct px_authorized_key *k)
{
    size_t i;
    json_t *word;
    uint32_t all = 0, one;
    if (!json_is_array(v))
        return PX_EINVAL;
    json_array_foreach(v, i, word)
    {
        const char *text = json_string_value(word);
        if (text == NULL || px_grants_parse(px_slice_cstr(text), &one) != 0)
            return PX_EINVAL;
        all |= one;
    }
    k->grants = all;
    return 0;
}

static int set_addrs(const json_t *v, struct px_authorized_key *k)
{
    size_t i;
    json_t *item;
    if (!json_is_array(v) || json_array_size(v) > PX_AUTH_ADDRS_MAX)
        return PX_EINVAL;
    k->addr_count = 0;
    json_array_foreach(v, i, item)
    {
        struct px_slice host;
        uint16_t port;
        const char *text = json_string_value(item);
        if (text == NULL || strlen(text) >= PX_AUTH_ADDR_MAX ||
            px_hostport_split(px_slice_cstr(text), &host, &port) != 0)
            return PX_EINVAL;
        snprintf(k->addrs[k->addr_count++], PX_AUTH_ADDR_MAX, "%s", text);
    }
    return 0;
}

static int set_peer(const json_t *v, struct px_authorized_key *k)
{
    (void)k; /* taken before all others */
    return json_is_string(v) ? 0 : PX_EINVAL;
}

static const struct member {
    const char *name;
    int (*set)(const json_t *v, struct px_authorized_key *k);
    const char *what;
} members[] = {
    {"peer", set_peer, "a peer ID"},
    {"name", set_name, "1 to 63 of a-z, 0-9 and dashes, no dash at either end, or empty for none"},
    {"grants", set_grants, "an array of cache, cache-own"},
    {"addrs", set_addrs, "an array of at most 8 HOST:PORT or [IPv6]:PORT"},
    {"comment", set_comment, "one line of at most 255 bytes"},
};

static const struct member *find_member(const char *name)
{
    for (size_t i = 0; i < PX_ARRAY_LEN(members); i++)
        if (strcmp(members[i].name, name) == 0)
            return &members[i];
    return NULL;
}

/* Each member of the body applied to the entry. False after the call has been answered. */
static bool apply_body(struct px_control_call *call, struct px_authorized_key *k)
{
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)px_control_body(call), name, v)
    {
        const struct member *m = find_member(name);
        if (m != NULL && m->set(v, k) == 0)
            continue;
        px_control_fail(call, PX_EINVAL, "%s: must be %s",
                        m != NULL ? m->name : "the body's members",
                        m != NULL ? m->what : "peer, name, grants, addrs, comment");
        return false;
    }
    struct px_buf line;
    px_buf_init(&line, 2 * PX_AUTH_LINE_MAX);
    int err = px_authorized_key_format(k, &line);
    px_buf_deinit(&line);
    if (err != 0)
        px_control_fail(call, PX_EINVAL, "the entry cannot be written as one line of the file");
    return err == 0;
}

static void handle_add(void *ctx, struct px_control_call *call)
{
    struct px_control_node *n = ctx;
    struct edit e = {.key = {.grants = DEFAULT_GRANTS}};
    const char *id = json_string_value(json_object_get(px_control_body(call), "peer"));
    if (!has_list(n, call))
        return;
    if (id == NULL || px_peer_id_parse(px_slice_cstr(id), &e.key.id) != 0) {
        px_control_fail(call, PX_EINVAL, "peer: must be a peer ID, as `peerix whoami` prints it");
        return;
    }
    if (px_peer_id_eq(&e.key.id, &n->identity->id)) {
        px_control_fail(call, PX_ESELF, "this is this node's own ID; add the other machine's");
        return;
    }
    const struct px_authorized_key *old =
        px_authorized_keys_find(px_allowlist_keys(n->allowlist), &e.key.id);
    e.added = old == NULL;
    if (old != NULL)
        e.key = *old;
    if (apply_body(call, &e.key))
        start_edit(n, call, &e);
}

static void handle_remove(void *ctx, struct px_control_call *call)
{
    struct px_control_node *n = ctx;
    struct edit e = {.remove = true};
    if (has_list(n, call) && px_control_take_peer(n, call, "peer", &e.key.id))
        start_edit(n, call, &e);
}

static const struct px_control_route routes[] = {
    {"GET", "/v1/auth", handle_list, text_list, "who is listed, with which grants"},
    {"POST", "/v1/auth", handle_add, NULL, "list a peer, or change its entry"},
    {"DELETE", "/v1/auth/{peer}", handle_remove, NULL, "take a peer off the list"},
};
const struct px_control_table px_control_auth_table = {routes, PX_ARRAY_LEN(routes)};

/* GET /v1/names and /v1/names/{name}: names of the network, `host.network`, as relays hold them, or
 * from the local copy. Names of files are not looked at here (GET /v1/resolve/{name} does). */
#include <stdlib.h>

#include "node/control_node.h"
#include "node/control_text.h"
#include "node/net_names_io.h"

static bool is_listed(const struct px_control_node *n, const struct px_peer_id *id)
{
    return n->allowlist != NULL &&
           px_authorized_keys_find(px_allowlist_keys(n->allowlist), id) != NULL;
}

static json_t *name_json(const struct px_control_node *n, const struct px_relays_name *name)
{
    bool own = n->identity != NULL && px_peer_id_eq(&n->identity->id, &name->peer);
    return json_pack("{s:s, s:o, s:s, s:I, s:s?, s:b, s:b}", "name", name->text, "peer",
                     px_control_id_json(&name->peer), "from", name->live ? "relay" : "copy", "age",
                     (json_int_t)(name->live ? 0 : name->age), "relay", name->relay, "listed",
                     is_listed(n, &name->peer), "own", own);
}

/* Without relays there is still what they told earlier. NULL without memory. */
static struct px_net_names *load_copy(const struct px_control_node *n)
{
    char path[PX_HOME_FILE_MAX];
    struct px_net_names *copy;
    size_t bad;
    return px_net_names_load(px_net_names_path(n->home, path), &copy, &bad) == 0 ? copy : NULL;
}

static struct px_relays_name from_copy(const struct px_net_name *name)
{
    return (struct px_relays_name){
        .text = name->text, .peer = name->peer, .age = px_net_names_now() - name->seen};
}

/* ---- all ---- */

struct listing {
    const struct px_control_node *n;
    json_t *list;
};

static void add_name(void *ctx, const struct px_relays_name *name)
{
    const struct listing *l = ctx;
    (void)json_array_append_new(l->list, name_json(l->n, name));
}

static void handle_names(void *ctx, struct px_control_call *call)
{
    const struct px_control_node *n = ctx;
    struct listing l = {n, json_array()};
    struct px_net_names *copy = n->relays == NULL ? load_copy(n) : NULL;
    if (n->relays != NULL)
        px_relays_names_each(n->relays, add_name, &l);
    for (size_t i = 0; copy != NULL && i < px_net_names_count(copy); i++) {
        struct px_relays_name name = from_copy(px_net_names_at(copy, i));
        add_name(&l, &name);
    }
    px_net_names_free(copy);
    px_control_reply(call, 200, json_pack("{s:o}", "names", l.list));
}

static int text_names(const json_t *reply, struct px_buf *out)
{
    static const struct px_control_column columns[] = {
        {"NAME", "name"},   {"PEER", "peer"},     {"FROM", "from"}, {"AGE", "age"},
        {"RELAY", "relay"}, {"LISTED", "listed"}, {"OWN", "own"}};
    return px_control_put_table(out, json_object_get(reply, "names"), columns,
                                PX_ARRAY_LEN(columns));
}

/* ---- one ---- */

struct asking {
    struct px_control_node *n;
    struct px_control_call *call;
};

static void answer(struct px_control_node *n, struct px_control_call *call, int err,
                   const struct px_relays_name *name)
{
    const char *word = px_control_param(call, "name");
    if (err == 0)
        px_control_reply(call, 200, name_json(n, name));
    else if (err == PX_ENOENT)
        px_control_fail(call, err, "no relay knows '%s', and there is no local copy of it", word);
    else if (err == PX_EEXIST)
        px_control_fail(call, err,
                        "relays told different peers for '%s'; `peerix name list` shows them, give "
                        "the peer ID",
                        word);
    else
        px_control_fail(call, err, "%s", px_strerror(err));
}

static void on_answer(void *ctx, int err, const struct px_relays_name *name)
{
    struct asking *a = ctx;
    answer(a->n, a->call, err, name);
    free(a);
}

static void on_gone(void *ctx)
{
    struct asking *a = ctx;
    if (a->n->relays != NULL)
        px_relays_lookup_cancel(a->n->relays, a);
    free(a);
}

static void answer_from_file(struct px_control_node *n, struct px_control_call *call,
                             struct px_slice word)
{
    struct px_net_names *copy = load_copy(n);
    const struct px_net_name *found;
    struct px_relays_name name = {.text = ""};
    int err = copy != NULL ? px_net_names_find(copy, word, px_net_names_now(), &found) : PX_ENOMEM;
    if (err == 0)
        name = from_copy(found);
    answer(n, call, err, &name);
    px_net_names_free(copy);
}

static void handle_name(void *ctx, struct px_control_call *call)
{
    struct px_control_node *n = ctx;
    struct px_slice word = px_slice_cstr(px_control_param(call, "name"));
    if (n->relays == NULL) {
        answer_from_file(n, call, word);
        return;
    }
    struct asking *a = calloc(1, sizeof(*a));
    if (a == NULL) {
        px_control_fail(call, PX_ENOMEM, "%s", px_strerror(PX_ENOMEM));
        return;
    }
    a->n = n;
    a->call = call;
    px_control_on_gone(call, on_gone, a); /* the answer may come inside the next call */
    px_relays_lookup(n->relays, word, on_answer, a);
}

static const struct px_control_route routes[] = {
    {"GET", "/v1/names", handle_names, text_names, "names of the network"},
    {"GET", "/v1/names/{name}", handle_name, NULL, "what a name of the network means"},
};
const struct px_control_table px_control_names_table = {routes, PX_ARRAY_LEN(routes)};

/* The endpoints of pairing (docs/control-api.md). */
#include <stdlib.h>

#include "node/control_json.h"
#include "node/control_text.h"
#include "node/pairing_internal.h"
#include "proto/addr.h"
#include "proto/base/encoding.h"

#define DEFAULT_GRANTS (PX_GRANT_CACHE | PX_GRANT_CACHE_OWN)
enum { TTL_MIN = 1, ID_TEXT = 2 * PX_INVITE_ID_LEN + 1 };

/* ---- values ---- */

static void id_text(const uint8_t id[PX_INVITE_ID_LEN], char ret[ID_TEXT])
{
    for (size_t i = 0; i < PX_INVITE_ID_LEN; i++)
        snprintf(ret + 2 * i, 3, "%02x", id[i]);
}

static bool id_parse(const char *text, uint8_t ret[PX_INVITE_ID_LEN])
{
    size_t len;
    return text != NULL && px_hex_decode(px_slice_cstr(text), ret, PX_INVITE_ID_LEN, &len) == 0 &&
           len == PX_INVITE_ID_LEN;
}

static json_t *addrs_json(const char (*addrs)[PX_INVITE_ADDR_MAX], size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(list, json_string(addrs[i]));
    return list;
}

json_t *px_pairing_invite_json(struct px_pairings *p, const struct px_pairing_invite *i)
{
    char id[ID_TEXT], peer[PX_PEER_ID_TEXT_MAX], sas[PX_PAIRING_SAS_MAX];
    int64_t left = i->expires - px_pairing_now();
    const struct px_pairing_guest *g = px_pairing_guest_asking(p, i->id);
    id_text(i->id, id);
    json_t *o = json_pack("{s:s, s:s, s:s, s:o, s:b, s:I, s:i}", "id", id, "state",
                          px_invite_state_name(i->state), "name", i->name, "grants",
                          px_control_grants_json(i->grants), "verify", i->verify, "expires_in",
                          (json_int_t)(left > 0 ? left : 0), "failures", (int)i->failures);
    if (i->state == PX_INVITE_PENDING || i->state == PX_INVITE_USED)
        (void)json_object_set_new(o, "peer", json_string(px_peer_id_format(&i->joiner, peer)));
    if (i->state == PX_INVITE_USED && memcmp(p->last.id, i->id, sizeof(i->id)) == 0)
        (void)json_object_update_new(o, json_pack("{s:b, s:b, s:s, s:b}", "renamed",
                                                  p->last.written.renamed, "key_name_taken",
                                                  p->last.written.key_name_taken, "nix_key",
                                                  p->last.nix_key, "connected", p->last.connected));
    if (g != NULL)
        (void)json_object_set_new(o, "sas", json_string(px_pairing_sas(&g->core, sas)));
    return o;
}

/* ---- what a request may hold ---- */

struct request {
    const json_t *body;
    const char *wrong; /* the first key that makes no sense */
};

static const char *get_string(struct request *r, const char *key)
{
    const json_t *v = json_object_get(r->body, key);
    if (v == NULL || json_is_null(v))
        return NULL;
    if (!json_is_string(v) && r->wrong == NULL)
        r->wrong = key;
    return json_string_value(v);
}

static bool get_bool(struct request *r, const char *key)
{
    const json_t *v = json_object_get(r->body, key);
    if (v != NULL && !json_is_boolean(v) && r->wrong == NULL)
        r->wrong = key;
    return json_is_true(v);
}

static void get_name(struct request *r, char ret[PX_AUTH_NAME_MAX + 1])
{
    const char *text = get_string(r, "name");
    ret[0] = '\0';
    if (text == NULL || text[0] == '\0')
        return;
    if (px_name_valid(px_slice_cstr(text)))
        snprintf(ret, PX_AUTH_NAME_MAX + 1, "%s", text);
    else
        r->wrong = "name";
}

static uint32_t get_grants(struct request *r)
{
    const json_t *v = json_object_get(r->body, "grants");
    uint32_t grants = 0, bit;
    if (v == NULL)
        return DEFAULT_GRANTS;
    if (!json_is_array(v))
        r->wrong = "grants";
    for (size_t i = 0; i < json_array_size(v); i++) {
        const char *word = json_string_value(json_array_get(v, i));
        if (word == NULL || px_grants_parse(px_slice_cstr(word), &bit) != 0)
            r->wrong = "grants";
        else
            grants |= bit;
    }
    return grants;
}

static void get_addrs(struct request *r, struct px_pairing_wish *w)
{
    const json_t *v = json_object_get(r->body, "addrs");
    struct px_slice host;
    uint16_t port;
    if (v != NULL && (!json_is_array(v) || json_array_size(v) > PX_INVITE_ADDRS_MAX)) {
        r->wrong = "addrs";
        return;
    }
    for (size_t i = 0; i < json_array_size(v); i++) {
        const char *text = json_string_value(json_array_get(v, i));
        if (text == NULL || strlen(text) >= PX_INVITE_ADDR_MAX ||
            px_hostport_split(px_slice_cstr(text), &host, &port) != 0)
            r->wrong = "addrs";
        else
            snprintf(w->addrs[w->addr_count++], PX_INVITE_ADDR_MAX, "%s", text);
    }
}

static int64_t get_ttl(struct request *r)
{
    const json_t *v = json_object_get(r->body, "ttl");
    json_int_t ttl = v == NULL ? PX_PAIRING_TTL : json_integer_value(v);
    if (ttl < TTL_MIN || ttl > PX_PAIRING_TTL_MAX)
        r->wrong = "ttl";
    return ttl;
}

static void fail_wrong(struct px_control_call *call, const char *key)
{
    px_control_fail(call, PX_EINVAL, "'%s' has a value that makes no sense", key);
}

/* ---- invites ---- */

static json_t *with_code(struct px_pairings *p, const struct px_pairing_invite *i,
                         const struct px_invite *code)
{
    struct px_buf text, url;
    json_t *o = NULL;
    px_buf_init(&text, PX_INVITE_TEXT_MAX);
    px_buf_init(&url, PX_INVITE_TEXT_MAX);
    if (px_invite_print(code, &text) == 0 && px_invite_print_url(code, &url) == 0)
        o = px_pairing_invite_json(p, i);
    if (o != NULL)
        (void)json_object_update_new(
            o, json_pack("{s:s%, s:s%, s:o, s:s}", "code", (const char *)text.data, text.len, "url",
                         (const char *)url.data, url.len, "addrs",
                         addrs_json(code->addrs, code->addr_count), "relay", code->relay));
    px_wipe(text.data, text.len);
    px_wipe(url.data, url.len);
    px_buf_deinit(&text);
    px_buf_deinit(&url);
    return o;
}

static void handle_invite(void *ctx, struct px_control_call *call)
{
    struct px_pairings *p = ctx;
    struct request r = {.body = px_control_body(call)};
    struct px_pairing_wish wish = {.addr_count = 0};
    const struct px_pairing_invite *i;
    struct px_invite code;
    char name[PX_AUTH_NAME_MAX + 1];
    get_name(&r, name);
    get_addrs(&r, &wish);
    wish.name = name;
    wish.ttl = get_ttl(&r);
    wish.grants = get_grants(&r);
    wish.verify = get_bool(&r, "verify");
    if (r.wrong != NULL) {
        fail_wrong(call, r.wrong);
        return;
    }
    int err = px_pairings_invite(p, &wish, &i, &code);
    if (err == PX_ELIMIT)
        px_control_fail(call, PX_EBUSY, "%d invites are open already; withdraw one of them",
                        PX_PAIRING_INVITES_MAX);
    else if (err != 0)
        px_control_fail(call, err, "the invite could not be made: %s", px_strerror(err));
    else
        px_control_reply(call, 201, with_code(p, i, &code));
    px_invite_wipe(&code);
}

static void handle_invites(void *ctx, struct px_control_call *call)
{
    struct px_pairings *p = ctx;
    json_t *list = json_array();
    for (size_t i = 0; i < p->invite_count; i++)
        (void)json_array_append_new(list, px_pairing_invite_json(p, &p->invites[i]));
    px_control_reply(call, 200, json_pack("{s:o}", "invites", list));
}

static int invites_text(const json_t *reply, struct px_buf *out)
{
    static const struct px_control_column columns[] = {
        {"ID", "id"},     {"STATE", "state"}, {"NAME", "name"}, {"SECONDS", "expires_in"},
        {"PEER", "peer"},
    };
    return px_control_put_table(out, json_object_get(reply, "invites"), columns,
                                PX_ARRAY_LEN(columns));
}

static struct px_pairing_invite *find_invite(struct px_pairings *p, struct px_control_call *call)
{
    uint8_t id[PX_INVITE_ID_LEN];
    struct px_pairing_invite *i =
        id_parse(px_control_param(call, "id"), id) ? px_pairings_find(p, id) : NULL;
    if (i == NULL)
        px_control_fail(call, PX_EINVITE_UNKNOWN,
                        "there is no such invite; `peerix invite --list` shows them");
    return i;
}

static void handle_withdraw(void *ctx, struct px_control_call *call)
{
    struct px_pairings *p = ctx;
    struct px_pairing_invite *i = find_invite(p, call);
    if (i == NULL)
        return;
    int err = px_pairings_withdraw(p, i);
    if (err == PX_ESTATE)
        px_control_fail(call, err, "the invite is %s already", px_invite_state_name(i->state));
    else if (err != 0)
        px_control_fail(call, err, "the invite is withdrawn, but that could not be stored: %s",
                        px_strerror(err));
    else
        px_control_reply(call, 200, px_pairing_invite_json(p, i));
}

static void answer(struct px_control_call *call, int err)
{
    if (err == PX_ENOENT)
        px_control_fail(call, err, "nothing of that id is under way");
    else if (err == PX_ESTATE)
        px_control_fail(call, err, "there is nothing to compare now");
    else if (err != 0)
        px_control_fail(call, err, "the answer was taken, but could not be stored: %s",
                        px_strerror(err));
    else
        px_control_reply(call, 200, json_pack("{s:b}", "taken", true));
}

static void handle_answer(struct px_pairings *p, struct px_control_call *call,
                          int (*take)(struct px_pairings *p, const uint8_t id[PX_INVITE_ID_LEN],
                                      bool yes))
{
    uint8_t id[PX_INVITE_ID_LEN];
    const json_t *same = json_object_get(px_control_body(call), "same");
    if (!json_is_boolean(same))
        fail_wrong(call, "same");
    else
        answer(call, id_parse(px_control_param(call, "id"), id) ? take(p, id, json_is_true(same))
                                                                : PX_ENOENT);
}

static void handle_invite_answer(void *ctx, struct px_control_call *call)
{
    handle_answer(ctx, call, px_pairing_guest_answer);
}

/* ---- waiting for an invite ---- */

static bool has_ended(const struct px_pairing_invite *i)
{
    return i->state != PX_INVITE_OPEN && i->state != PX_INVITE_PENDING;
}

static void unlink_watcher(struct px_pairing_watcher *w)
{
    struct px_pairing_watcher **at = &w->p->watchers;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    free(w);
}

static void on_watcher_gone(void *ctx)
{
    unlink_watcher(ctx);
}

static void handle_wait(void *ctx, struct px_control_call *call)
{
    struct px_pairings *p = ctx;
    struct px_pairing_invite *i = find_invite(p, call);
    size_t count = 0;
    if (i == NULL)
        return;
    for (const struct px_pairing_watcher *w = p->watchers; w != NULL; w = w->next)
        count++;
    struct px_pairing_watcher *w = count < PX_PAIRING_WATCHERS_MAX ? calloc(1, sizeof(*w)) : NULL;
    if (w == NULL) {
        px_control_fail(call, PX_EBUSY, "too many wait for invites already");
        return;
    }
    *w = (struct px_pairing_watcher){.p = p, .next = p->watchers, .call = call};
    memcpy(w->id, i->id, sizeof(w->id));
    p->watchers = w;
    px_control_begin_lines(call);
    px_control_on_gone(call, on_watcher_gone, w);
    px_pairing_watchers_tell(p, i);
}

void px_pairing_watchers_tell(struct px_pairings *p, const struct px_pairing_invite *i)
{
    struct px_pairing_watcher *next;
    if (px_pairings_is_settling(p, i))
        return;
    for (struct px_pairing_watcher *w = p->watchers; w != NULL; w = next) {
        next = w->next;
        if (memcmp(w->id, i->id, PX_INVITE_ID_LEN) != 0)
            continue;
        struct px_control_call *call = w->call;
        bool last = has_ended(i);
        if (last)
            unlink_watcher(w);
        px_control_line(call, px_pairing_invite_json(p, i));
        if (last)
            px_control_end(call);
    }
}

void px_pairing_watchers_abort(struct px_pairings *p)
{
    while (p->watchers != NULL) {
        struct px_control_call *call = p->watchers->call;
        unlink_watcher(p->watchers);
        px_control_fail(call, PX_ECANCELED, "the daemon is going away");
    }
}

/* ---- joining ---- */

void px_pairing_say(struct px_pairing_going *g, const char *state, json_t *owned_more)
{
    json_t *line = json_pack("{s:s}", "state", state);
    if (owned_more != NULL)
        (void)json_object_update_new(line, owned_more);
    if (g->call != NULL)
        px_control_line(g->call, line);
    else
        json_decref(line);
}

static void end_call(struct px_pairing_going *g)
{
    if (g->call != NULL)
        px_control_end(g->call);
    g->call = NULL;
}

void px_pairing_say_paired(struct px_pairing_going *g, bool connected)
{
    char id[PX_PEER_ID_TEXT_MAX];
    const struct px_pairing_written *w = &g->written;
    px_pairing_say(
        g, "paired",
        json_pack("{s:s, s:s, s:b, s:b, s:o, s:o, s:s, s:b, s:b}", "peer",
                  px_peer_id_format(&g->join.inviter, id), "name", w->name, "renamed", w->renamed,
                  "known", w->known, "grants", px_control_grants_json(w->grants), "granted",
                  px_control_grants_json(g->join.card.grants), "nix_key", g->join.card.nix_key,
                  "key_name_taken", w->key_name_taken, "connected", connected));
    end_call(g);
}

void px_pairing_say_failed(struct px_pairing_going *g, int err)
{
    px_pairing_say(g, "failed",
                   json_pack("{s:s, s:s}", "error", px_errname(err), "message", px_strerror(err)));
    end_call(g);
}

static void on_join_gone(void *ctx)
{
    struct px_pairing_going *g = ctx;
    g->call = NULL;
}

static void make_join(const struct px_invite *code, struct px_pairing_join *ret)
{
    struct px_pairing_keys keys;
    memcpy(ret->inviter.key, code->key, sizeof(ret->inviter.key));
    memcpy(ret->id, code->id, sizeof(ret->id));
    px_pairing_derive(code, &keys);
    memcpy(&ret->pair, &keys.pair, sizeof(ret->pair));
    struct px_pairing_key admission = keys.admission;
    px_wipe(&keys, sizeof(keys));
    ret->addr_count = code->addr_count;
    memcpy(ret->addrs, code->addrs, sizeof(ret->addrs));
    if (code->relay[0] != '\0') {
        memcpy(ret->relay.id.key, code->relay_key, sizeof(ret->relay.id.key));
        memcpy(ret->relay.addrs[0], code->relay, sizeof(code->relay));
        ret->relay.addr_count = 1;
        ret->relay.tcp = code->relay_tcp;
        ret->admission = admission;
    }
    px_wipe(&admission, sizeof(admission));
    ret->expires = px_pairing_now() + PX_PAIRING_JOIN_TIME;
}

static void begin_join(struct px_pairings *p, struct px_control_call *call,
                       const struct px_pairing_join *join)
{
    char id[ID_TEXT], peer[PX_PEER_ID_TEXT_MAX];
    int err = px_pairing_go(p, join, false, call);
    if (err == PX_ESELF)
        px_control_fail(call, err, "this is an invite of this very node; join on the other one");
    else if (err == PX_EBUSY)
        px_control_fail(call, err,
                        "this node is joining that peer already, or %d others; try again soon",
                        PX_PAIRING_JOINS_MAX);
    else if (err != 0)
        px_control_fail(call, err, "joining could not begin: %s", px_strerror(err));
    if (err != 0)
        return;
    struct px_pairing_going *g = p->going;
    px_control_begin_lines(call);
    px_control_on_gone(call, on_join_gone, g);
    id_text(join->id, id);
    px_pairing_say(g, "dialling",
                   json_pack("{s:s, s:s, s:o, s:s?}", "id", id, "peer",
                             px_peer_id_format(&join->inviter, peer), "addrs",
                             addrs_json(join->addrs, join->addr_count), "relay",
                             join->relay.addr_count > 0 ? join->relay.addrs[0] : NULL));
}

static void handle_join(void *ctx, struct px_control_call *call)
{
    struct px_pairings *p = ctx;
    struct request r = {.body = px_control_body(call)};
    struct px_pairing_join join = {.addr_count = 0};
    struct px_invite code;
    struct px_invite_fault fault;
    const char *text = get_string(&r, "code");
    get_name(&r, join.name);
    join.grants = get_grants(&r);
    join.verify = get_bool(&r, "verify");
    if (text == NULL && r.wrong == NULL)
        r.wrong = "code";
    if (r.wrong != NULL) {
        fail_wrong(call, r.wrong);
        return;
    }
    int err = px_invite_parse(px_slice_cstr(text), &code, &fault);
    if (err != 0) {
        px_control_fail(call, err, "%s", fault.why);
        return;
    }
    const char *network = code.network[0] != '\0' ? code.network : "default";
    if (strcmp(network, p->config.network) != 0) {
        px_control_fail(call, PX_ENETWORK, "the invite is for network '%s', this node is in '%s'",
                        network, p->config.network);
    } else {
        make_join(&code, &join);
        begin_join(p, call, &join);
    }
    px_wipe(&join, sizeof(join));
    px_invite_wipe(&code);
}

static void handle_join_answer(void *ctx, struct px_control_call *call)
{
    handle_answer(ctx, call, px_pairing_go_answer);
}

static const struct px_control_route routes[] = {
    {"POST", "/v1/invites", handle_invite, NULL, "make an invite"},
    {"GET", "/v1/invites", handle_invites, invites_text, "invites remembered"},
    {"GET", "/v1/invites/{id}/wait", handle_wait, NULL, "follow an invite until it ends"},
    {"POST", "/v1/invites/{id}/confirm", handle_invite_answer, NULL,
     "say whether the joiner shows the same string"},
    {"DELETE", "/v1/invites/{id}", handle_withdraw, NULL, "withdraw an invite"},
    {"POST", "/v1/join", handle_join, NULL, "join with the code of an invite"},
    {"POST", "/v1/joins/{id}/confirm", handle_join_answer, NULL,
     "say whether the inviter shows the same string"},
};

int px_pairing_control_routes(struct px_pairings *p)
{
    return px_control_add(p->config.control, routes, PX_ARRAY_LEN(routes), p);
}

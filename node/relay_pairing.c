/* Pairing through a relay (docs/spec/relay.md §2): the inviter's admission hash and vouching, what
 * of that a relay has yet to be told, the joiner's use of a relay that does not list it. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "auth/file_io.h"
#include "node/peer_addrs.h"
#include "node/relay_list_io.h"
#include "node/relays_internal.h"

static struct px_relay *from_node(struct px_list *node)
{
    return PX_CONTAINER_OF(node, struct px_relay, node);
}

static struct px_relay *find(const struct px_relays *set, const struct px_peer_id *id)
{
    PX_LIST_EACH(it, &set->all)
        if (!from_node(it)->gone && px_peer_id_eq(&from_node(it)->entry.id, id))
            return from_node(it);
    return NULL;
}

static bool is_member(const struct px_relay *r)
{
    return px_relay_usable(r) && r->reserved && r->class == PX_RELAY_MEMBER;
}

static int request(struct px_relay *r, struct px_relay_msg *m, enum px_relay_token token)
{
    return px_relay_client_request(r->client, m, px_relay_token(token), px_now_io());
}

/* ---- what is owed ---- */

static int64_t wall_now(void)
{
    return (int64_t)time(NULL);
}

static int read_owed(struct px_relays *set)
{
    struct px_buf text;
    size_t bad = 0;
    px_buf_init(&text, PX_RELAY_OWED_FILE_MAX);
    int err = px_file_read(set->config.owed_path, PX_RELAY_OWED_FILE_MAX, &text);
    if (err == 0)
        px_relay_owed_read(set->owed, px_buf_slice(&text), wall_now(), &bad);
    px_buf_deinit(&text);
    if (bad > 0 || (err != 0 && err != PX_ENOENT))
        px_log_event(set->config.log, PX_LOG_WARN, "relay_owed.not_read",
                     PX_F_STR("file", set->config.owed_path), PX_F_U64("bad_lines", bad),
                     PX_F_ERR(err));
    return err == PX_ENOMEM ? err : 0;
}

int px_relay_pairing_new(struct px_relays *set)
{
    int err = px_relay_owed_new(&set->owed);
    return err == 0 && set->config.owed_path != NULL ? read_owed(set) : err;
}

void px_relay_pairing_free(struct px_relays *set)
{
    px_relay_owed_free(set->owed);
    set->owed = NULL;
}

static void save_owed(struct px_relays *set)
{
    struct px_buf text;
    if (set->config.owed_path == NULL)
        return;
    px_buf_init(&text, PX_RELAY_OWED_FILE_MAX);
    int err = px_relay_owed_write(set->owed, &text);
    if (err == 0)
        err = px_file_write_atomic(set->config.owed_path, px_buf_slice(&text), 0600, false);
    px_buf_deinit(&text);
    if (err != 0)
        px_log_event(set->config.log, PX_LOG_WARN, "relay_owed.not_written",
                     PX_F_STR("file", set->config.owed_path), PX_F_ERR(err));
}

/* We vouch for nobody whom we do not list (any more), or expect under a new key. */
static bool is_listed(void *ctx, const struct px_peer_id *id)
{
    const struct px_relays *set = ctx;
    return px_authorized_keys_find(px_allowlist_keys(set->config.allowlist), id) != NULL ||
           px_peers_expects(set->config.peers, id);
}

void px_relay_pairing_tell(struct px_relay *r)
{
    struct px_relay_order o = {.ticket = 0};
    while (is_member(r) &&
           px_relay_owed_next(r->set->owed, &r->entry.id, o.ticket, wall_now(), &o)) {
        struct px_relay_msg m = {.type = o.vouch ? PX_RELAY_MSG_VOUCH : PX_RELAY_MSG_UNINVITE,
                                 .peer = o.peer,
                                 .on = o.on};
        uintptr_t ticket = (uintptr_t)o.ticket << 2 | (uintptr_t)o.on << 1 | o.vouch;
        void *token = (void *)(ticket << PX_RELAY_TOKEN_BITS | PX_RELAY_TOKEN_OWED);
        memcpy(m.secret, o.hash, sizeof(m.secret));
        if (o.on && !is_listed(r->set, &o.peer))
            continue;
        if (px_relay_client_request(r->client, &m, token, px_now_io()) != 0)
            return; /* the rest when it is looked at again */
    }
}

bool px_relay_owed_on_reply(struct px_relay *r, void *token, enum px_relay_status status)
{
    uintptr_t t = (uintptr_t)token;
    if ((t & (((uintptr_t)1 << PX_RELAY_TOKEN_BITS) - 1)) != PX_RELAY_TOKEN_OWED)
        return false;
    t >>= PX_RELAY_TOKEN_BITS;
    bool vouch = (t & 1) != 0, on = (t & 2) != 0;
    bool good = status == PX_RELAY_OK || !vouch || /* none there, none to end */
                (!on && status == PX_RELAY_NOT_FOUND);
    px_log_event(r->set->config.log, good ? PX_LOG_INFO : PX_LOG_WARN,
                 !vouch ? "relay.uninvite"
                 : on   ? "relay.vouch"
                        : "relay.unvouch",
                 PX_F_STR("relay", r->label), PX_F_STR("status", px_relay_status_name(status)));
    if (px_relay_owed_answer(r->set->owed, (uint32_t)(t >> 2), status))
        save_owed(r->set);
    return true;
}

/* ---- the inviter ---- */

int px_relays_invite(struct px_relays *set, const uint8_t id[PX_INVITE_ID_LEN],
                     const uint8_t hash[PX_RELAY_SECRET_LEN], px_nsec ttl,
                     struct px_relay_entry *ret)
{
    struct px_relay_msg m = {.type = PX_RELAY_MSG_INVITE, .ttl_ms = ttl / PX_MSEC};
    memcpy(m.secret, hash, sizeof(m.secret));
    PX_LIST_EACH(it, &set->all) {
        struct px_relay *r = from_node(it);
        if (!is_member(r) || request(r, &m, PX_RELAY_TOKEN_INVITE) != 0)
            continue;
        px_relay_owed_invited(set->owed, id, &r->entry.id, hash,
                              wall_now() + (int64_t)(ttl / PX_SEC));
        save_owed(set);
        *ret = r->entry;
        return 0;
    }
    return PX_EOFFLINE;
}

static void tell_all(struct px_relays *set)
{
    save_owed(set); /* before anybody is told: this process may end at any time */
    PX_LIST_EACH(it, &set->all)
        px_relay_pairing_tell(from_node(it));
}

void px_relays_uninvite(struct px_relays *set, const uint8_t id[PX_INVITE_ID_LEN])
{
    if (px_relay_owed_uninvite(set->owed, id))
        tell_all(set);
}

void px_relays_check_invites(struct px_relays *set,
                             bool (*is_open)(void *ctx, const uint8_t id[PX_INVITE_ID_LEN]),
                             void *ctx)
{
    if (px_relay_owed_check(set->owed, is_open, ctx))
        tell_all(set);
}

void px_relays_vouch(struct px_relays *set, const struct px_peer_id *id)
{
    if (px_list_empty(&set->all))
        return; /* relays are of no interest here */
    px_relay_owed_vouch(set->owed, id, wall_now());
    tell_all(set);
}

void px_relays_follow(struct px_relays *set, const struct px_peer_id *old,
                      const struct px_peer_id *next)
{
    if (px_relay_owed_follow(set->owed, old, next, wall_now()))
        tell_all(set);
}

void px_relays_check_listed(struct px_relays *set)
{
    struct px_peer_id relays[PX_RELAY_LIST_MAX];
    size_t n = 0;
    PX_LIST_EACH(it, &set->all)
        if (n < PX_ARRAY_LEN(relays) && !from_node(it)->gone)
            relays[n++] = from_node(it)->entry.id;
    if (n > 0 && !set->closing &&
        px_relay_owed_unvouch(set->owed, is_listed, set, relays, n, wall_now()))
        tell_all(set);
}

/* ---- the joiner ---- */

int px_relays_join(struct px_relays *set, const struct px_relay_entry *relay,
                   const uint8_t secret[PX_RELAY_SECRET_LEN], char ret_route[PX_AUTH_ADDR_MAX])
{
    struct px_relay *r = find(set, &relay->id);
    size_t count = 0;
    PX_LIST_EACH(it, &set->all)
        count++;
    if (set->closing || (r == NULL && count >= PX_RELAY_LIST_MAX))
        return PX_ELIMIT;
    bool is_new = r == NULL;
    int err = is_new ? px_relay_add(set, relay, &r) : 0;
    if (err != 0)
        return err;
    r->joining = r->joining || is_new;
    if (!px_relay_usable(r)) {
        r->admit = true;
        memcpy(r->secret, secret, sizeof(r->secret));
        if (r->state == PX_RELAY_WAITING)
            px_dial_plan_soon(&r->plan, px_now_io());
    }
    int len = snprintf(ret_route, PX_AUTH_ADDR_MAX, PX_RELAY_ROUTE "%s", r->label);
    return len < PX_AUTH_ADDR_MAX ? 0 : PX_ELIMIT;
}

int px_relays_keep(struct px_relays *set, const struct px_relay_entry *relay)
{
    struct px_relay *r = find(set, &relay->id);
    if (r != NULL && !r->joining)
        return 0;
    int err = px_relay_file_set(set->config.path, relay);
    if (err == 0 && r != NULL)
        r->joining = false; /* the file will be read again, and says so too */
    return err;
}

void px_relays_part(struct px_relays *set, const struct px_peer_id *relay)
{
    struct px_relay *r = find(set, relay);
    if (r == NULL)
        return;
    r->admit = false;
    px_wipe(r->secret, sizeof(r->secret));
    if (r->joining)
        px_relay_drop(r);
}

size_t px_relays_routes(const struct px_relays *set, char (*ret)[PX_AUTH_ADDR_MAX], size_t cap)
{
    size_t n = 0;
    PX_LIST_EACH(it, &set->all) {
        const struct px_relay *r = from_node(it);
        if (n == cap || !px_relay_usable(r))
            continue;
        int len = snprintf(ret[n], PX_AUTH_ADDR_MAX, PX_RELAY_ROUTE "%s", r->label);
        n += len > 0 && len < PX_AUTH_ADDR_MAX;
    }
    return n;
}

bool px_relay_admit(struct px_relay *r, px_nsec now)
{
    struct px_relay_msg m = {.type = PX_RELAY_MSG_ADMIT};
    if (!r->admit)
        return false;
    memcpy(m.secret, r->secret, sizeof(m.secret));
    int err = px_relay_client_request(r->client, &m, px_relay_token(PX_RELAY_TOKEN_ADMIT), now);
    px_wipe(m.secret, sizeof(m.secret));
    if (err != 0)
        px_relay_pairing_on_reply(r, PX_RELAY_TOKEN_ADMIT, PX_RELAY_NO_ANSWER);
    return true;
}

void px_relay_pairing_on_reply(struct px_relay *r, enum px_relay_token token,
                               enum px_relay_status status)
{
    const char *what = token == PX_RELAY_TOKEN_ADMIT ? "relay.admit" : "relay.invite";
    px_log_event(r->set->config.log, status == PX_RELAY_OK ? PX_LOG_INFO : PX_LOG_WARN, what,
                 PX_F_STR("relay", r->label), PX_F_STR("status", px_relay_status_name(status)));
    if (token != PX_RELAY_TOKEN_ADMIT)
        return;
    r->admitted = status == PX_RELAY_OK;
    if (status == PX_RELAY_NO_ANSWER)
        return;
    r->admit = false; /* used up; or we are listed there and needed none */
    px_relay_client_set_reserve(r->client, true, px_now_io());
    px_relays_tell_usable(r->set);
}

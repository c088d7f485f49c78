/* See pairing.h: the invites, their time, and the service's life. */
#include "node/pairing.h"

#include <stdlib.h>
#include <time.h>

#include "node/host_name.h"
#include "node/pairing_addrs.h"
#include "node/pairing_internal.h"

enum { TICK_MS = 250, TICKS_PER_SEC = 1000 / TICK_MS };

int64_t px_pairing_now(void)
{
    return (int64_t)time(NULL);
}

/* ---- what we say of ourselves ---- */

static size_t own_addrs(const struct px_pairings *p,
                        char ret[PX_INVITE_ADDRS_MAX][PX_INVITE_ADDR_MAX])
{
    const struct px_pairings_config *c = &p->config;
    size_t net_count = 0, n = 0;
    if (c->announce != NULL && c->announce->count > 0) {
        for (; n < c->announce->count && n < PX_INVITE_ADDRS_MAX; n++)
            snprintf(ret[n], PX_INVITE_ADDR_MAX, "%s", c->announce->items[n]);
        return n;
    }
    const struct px_net_addr *nets =
        c->monitor != NULL ? px_net_monitor_addrs(c->monitor, &net_count) : NULL;
    return px_pairing_addrs(px_peers_local(c->peers), nets, net_count, ret);
}

void px_pairings_card(const struct px_pairings *p, uint32_t grants, bool verify,
                      struct px_pairing_card *ret)
{
    struct px_buf key;
    memset(ret, 0, sizeof(*ret));
    px_host_name(ret->name);
    ret->grants = grants;
    ret->verify = verify;
    ret->addr_count = own_addrs(p, ret->addrs);
    px_buf_init(&key, PX_PAIRING_KEY_MAX - 1);
    if (p->config.own_key != NULL && !px_nix_key_name_plain(p->config.own_key->name))
        px_log_event(p->config.log, PX_LOG_WARN, "pairing.key_not_told",
                     PX_F_STR("key", p->config.own_key->name),
                     PX_F_STR("why", "nix.conf could not hold its name; make another key"));
    else if (p->config.own_key != NULL && px_nix_public_key_format(p->config.own_key, &key) == 0)
        snprintf(ret->nix_key, sizeof(ret->nix_key), "%.*s", (int)key.len, (const char *)key.data);
    px_buf_deinit(&key);
}

void px_pairings_seen(const struct px_link *link, char ret[PX_AUTH_ADDR_MAX])
{
    struct px_path path;
    char text[PX_ADDR_TEXT_MAX];
    px_link_path(link, &path);
    if (path.remote.scope != 0 || path.remote.port == 0)
        ret[0] = '\0';
    else
        snprintf(ret, PX_AUTH_ADDR_MAX, "%s", px_addr_format(&path.remote, text));
}

int px_pairings_commit(struct px_pairings *p, const struct px_peer_id *peer, const char *name,
                       const struct px_pairing_card *card, const char *seen, uint32_t grants,
                       struct px_pairing_written *ret)
{
    char id[PX_PEER_ID_TEXT_MAX];
    const struct px_pairing_commit c = {
        .home = p->config.home,
        .peer = *peer,
        .name = name,
        .card = card,
        .seen = seen,
        .grants = grants,
        .own_key = p->config.own_key,
    };
    int err = px_pairing_commit(&c, ret);
    int loaded = err == 0 ? px_allowlist_reload(p->config.allowlist) : 0;
    (void)loaded; /* it has been logged, and a watch looks at the file as well */
    if (err == 0)
        px_log_event(p->config.log, PX_LOG_INFO, "pairing.paired",
                     PX_F_STR("peer", px_peer_id_format(peer, id)), PX_F_STR("name", ret->name));
    else
        px_log_event(p->config.log, PX_LOG_ERROR, "pairing.not_written",
                     PX_F_STR("peer", px_peer_id_format(peer, id)), PX_F_ERR(err));
    return err;
}

/* ---- invites ---- */

struct px_pairing_invite *px_pairings_find(struct px_pairings *p,
                                           const uint8_t id[PX_INVITE_ID_LEN])
{
    for (size_t i = 0; i < p->invite_count; i++)
        if (memcmp(p->invites[i].id, id, PX_INVITE_ID_LEN) == 0)
            return &p->invites[i];
    return NULL;
}

static bool is_live(const struct px_pairing_invite *i)
{
    return i->state == PX_INVITE_OPEN || i->state == PX_INVITE_PENDING;
}

int px_pairings_changed(struct px_pairings *p, const struct px_pairing_invite *i)
{
    int err = px_pairing_store_invite(p->config.state, i);
    if (err != 0)
        px_log_event(p->config.log, PX_LOG_ERROR, "pairing.not_stored", PX_F_ERR(err));
    if (!is_live(i) && p->config.relays != NULL)
        px_relays_uninvite(p->config.relays, i->id);
    px_pairing_watchers_tell(p, i);
    return err;
}

static void forget(struct px_pairings *p, size_t at)
{
    struct px_pairing_invite *i = &p->invites[at];
    int err = px_pairing_forget_invite(p->config.state, i->id);
    if (err != 0)
        px_log_event(p->config.log, PX_LOG_WARN, "pairing.not_forgotten", PX_F_ERR(err));
    memmove(i, i + 1, (--p->invite_count - at) * sizeof(*i));
    px_wipe(&p->invites[p->invite_count], sizeof(*i));
}

/* Room for one more: an ended one goes first. */
static int make_room(struct px_pairings *p)
{
    if (p->invite_count < PX_PAIRING_INVITES_MAX)
        return 0;
    for (size_t at = 0; at < p->invite_count; at++) {
        if (is_live(&p->invites[at]))
            continue;
        forget(p, at);
        return 0;
    }
    return PX_ELIMIT;
}

/* Lets the joiner come through a relay too, where this node may invite. */
static void announce(struct px_pairings *p, int64_t ttl, struct px_invite *code)
{
    struct px_relay_entry relay;
    struct px_pairing_keys keys;
    uint8_t hash[PX_HASH_LEN];
    if (p->config.relays == NULL)
        return;
    px_pairing_derive(code, &keys);
    px_sha256(px_slice(keys.admission.bytes, sizeof(keys.admission.bytes)), hash);
    px_wipe(&keys, sizeof(keys));
    if (px_relays_invite(p->config.relays, code->id, hash, (px_nsec)ttl * PX_SEC, &relay) != 0 ||
        strlen(relay.addrs[0]) > PX_INVITE_RELAY_ADDR_MAX)
        return;
    memcpy(code->relay_key, relay.id.key, sizeof(code->relay_key));
    memcpy(code->relay, relay.addrs[0], sizeof(code->relay));
    code->relay_tcp = relay.tcp;
}

int px_pairings_invite(struct px_pairings *p, const struct px_pairing_wish *wish,
                       const struct px_pairing_invite **ret, struct px_invite *ret_code)
{
    int64_t now = px_pairing_now();
    struct px_pairing_invite made;
    int err = make_room(p);
    if (err != 0)
        return err;
    do {
        px_pairing_invite_new(&p->config.identity->id, &px_system_rng, now + wish->ttl, &made,
                              ret_code);
    } while (px_pairings_find(p, made.id) != NULL);
    snprintf(made.name, sizeof(made.name), "%s", wish->name);
    made.grants = wish->grants;
    made.verify = wish->verify;
    if (strcmp(p->config.network, "default") != 0)
        snprintf(ret_code->network, sizeof(ret_code->network), "%s", p->config.network);
    ret_code->addr_count = wish->addr_count;
    memcpy(ret_code->addrs, wish->addrs, sizeof(ret_code->addrs));
    if (wish->addr_count == 0)
        ret_code->addr_count = own_addrs(p, ret_code->addrs);
    announce(p, wish->ttl, ret_code);
    err = px_pairing_store_invite(p->config.state, &made);
    if (err == 0) {
        memcpy(&p->invites[p->invite_count], &made, sizeof(made));
        *ret = &p->invites[p->invite_count++];
        px_pairings_wake(p);
    }
    px_wipe(&made, sizeof(made));
    return err;
}

/* ---- from a guest to a member ---- */

bool px_pairings_is_settling(const struct px_pairings *p, const struct px_pairing_invite *i)
{
    return p->last.settling > 0 && memcmp(p->last.id, i->id, sizeof(i->id)) == 0;
}

static void settled(struct px_pairings *p)
{
    if (p->last.settling == 0)
        return;
    p->last.settling = 0;
    p->last.connected = px_peers_is_member(p->config.peers, &p->last.joiner);
    const struct px_pairing_invite *i = px_pairings_find(p, p->last.id);
    if (i != NULL)
        px_pairing_watchers_tell(p, i);
}

void px_pairings_used(struct px_pairings *p, const struct px_pairing_invite *i,
                      const struct px_pairing_card *card, const struct px_pairing_written *written)
{
    settled(p); /* one waits at a time */
    memcpy(p->last.id, i->id, sizeof(i->id));
    memcpy(p->last.nix_key, card->nix_key, sizeof(card->nix_key));
    p->last.written = *written;
    p->last.joiner = i->joiner;
    p->last.settling = PX_PAIRING_SETTLE_TICKS;
    (void)px_pairings_changed(p, i); /* logged; the list says it already */
}

void px_pairings_peer_up(void *pairings, const struct px_peer_id *id)
{
    struct px_pairings *p = pairings;
    if (px_peer_id_eq(&p->last.joiner, id))
        settled(p);
    px_pairing_go_peer_up(p, id);
}

int px_pairings_withdraw(struct px_pairings *p, struct px_pairing_invite *i)
{
    int err = px_pairing_invite_withdraw(i, px_pairing_now());
    return err != 0 ? err : px_pairings_changed(p, i);
}

bool px_pairings_guest(void *pairings, const struct px_peer_id *id)
{
    const struct px_pairings *p = pairings;
    (void)id;
    return p->invite_count > 0 && !p->closing;
}

/* ---- time and life ---- */

static void tick_invites(struct px_pairings *p)
{
    int64_t now = px_pairing_now();
    for (size_t at = p->invite_count; at-- > 0;) {
        struct px_pairing_invite *i = &p->invites[at];
        if (px_pairing_invite_tick(i, now))
            (void)px_pairings_changed(p, i); /* logged; the time is over either way */
        if (px_pairing_invite_is_over(i, now))
            forget(p, at);
    }
}

/* Nothing that time changes but, perhaps, stored joins. */
static bool is_idle(const struct px_pairings *p)
{
    return p->invite_count == 0 && p->going == NULL && p->last.settling == 0 && p->wrong == 0;
}

static void on_tick(uv_timer_t *t)
{
    struct px_pairings *p = t->data;
    tick_invites(p);
    if (p->last.settling == 1)
        settled(p);
    else if (p->last.settling > 0)
        p->last.settling--;
    px_pairing_go_tick(p);
    if (p->ticks % TICKS_PER_SEC == 0 && p->wrong > 0)
        p->wrong--;
    if (++p->ticks >= PX_PAIRING_JOIN_PAUSE * TICKS_PER_SEC) {
        p->ticks = 0;
        if (!px_pairing_go_resume(p) && is_idle(p))
            (void)uv_timer_stop(t);
    }
}

void px_pairings_wake(struct px_pairings *p)
{
    if (p->closing || uv_is_active((uv_handle_t *)&p->tick))
        return;
    p->ticks = 0;
    (void)uv_timer_start(&p->tick, on_tick, TICK_MS, TICK_MS); /* cannot fail */
}

/* The clock may have been set back: no invite lives longer than it was made to. */
static int load_invite(void *ctx, const struct px_pairing_invite *i)
{
    struct px_pairings *p = ctx;
    if (p->invite_count == PX_PAIRING_INVITES_MAX)
        return 0;
    struct px_pairing_invite *to = &p->invites[p->invite_count++];
    memcpy(to, i, sizeof(*to));
    to->expires = PX_MIN(to->expires, px_pairing_now() + PX_PAIRING_TTL_MAX);
    return 0;
}

static bool is_open(void *ctx, const uint8_t id[PX_INVITE_ID_LEN])
{
    const struct px_pairing_invite *i = px_pairings_find(ctx, id);
    return i != NULL && is_live(i);
}

static int start(struct px_pairings *p)
{
    const struct px_peer_handler handler = {
        .type = PX_STREAM_PAIRING,
        .guests = true,
        .stream = px_pairing_guest_stream,
        .ctx = p,
    };
    int err = px_pairing_each_invite(p->config.state, load_invite, p);
    if (err == 0 && p->config.relays != NULL)
        px_relays_check_invites(p->config.relays, is_open, p);
    if (err == 0)
        err = px_peers_add_handler(p->config.peers, &handler);
    if (err == 0 && p->config.control != NULL)
        err = px_pairing_control_routes(p);
    if (err == 0)
        px_pairings_wake(p);
    /* stored joins are tried soon, when the socket and the rest are up */
    p->ticks = (PX_PAIRING_JOIN_PAUSE - 1) * TICKS_PER_SEC;
    return err;
}

int px_pairings_new(const struct px_pairings_config *config, struct px_pairings **ret)
{
    struct px_pairings *p = calloc(1, sizeof(*p));
    if (p == NULL)
        return PX_ENOMEM;
    p->config = *config;
    if (uv_timer_init(config->loop, &p->tick) != 0) {
        free(p);
        return PX_EIO;
    }
    p->tick.data = p;
    int err = start(p);
    if (err != 0) {
        px_pairings_close(p, NULL, NULL);
        return err;
    }
    *ret = p;
    return 0;
}

void px_pairings_check_closed(struct px_pairings *p)
{
    if (!p->closing || !p->tick_closed || p->guests != NULL || p->going != NULL)
        return;
    void (*done)(void *ctx) = p->done;
    void *ctx = p->done_ctx;
    px_wipe(p->invites, sizeof(p->invites));
    free(p);
    if (done != NULL)
        done(ctx);
}

static void on_tick_closed(uv_handle_t *h)
{
    struct px_pairings *p = h->data;
    p->tick_closed = true;
    px_pairings_check_closed(p);
}

void px_pairings_close(struct px_pairings *p, void (*done)(void *ctx), void *ctx)
{
    p->closing = true;
    p->done = done;
    p->done_ctx = ctx;
    px_pairing_watchers_abort(p);
    px_pairing_guests_abort(p);
    px_pairing_go_abort(p);
    uv_close((uv_handle_t *)&p->tick, on_tick_closed);
}

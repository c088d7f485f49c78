/* The set of links: dialling, accepting, the deadline of handshakes, which link of a peer comes up
 * (docs/spec/handshake.md §5, §7, §8), and telling the owner. What happens inside one link is
 * transport/link.c. */
#include <stdlib.h>

#include "transport/link_internal.h"

/* Rounds of "settle, then let QUIC run" in one px_overlay_run; what is left over waits for the
 * next. */
#define ROUNDS_MAX 8

static struct px_link *from_all(struct px_list *node)
{
    return PX_CONTAINER_OF(node, struct px_link, all);
}

static struct px_link *from_timed(struct px_list *node)
{
    return PX_CONTAINER_OF(node, struct px_link, timed);
}

static struct px_slice peer_key(const struct px_peer_id *id)
{
    return px_slice(id->key, sizeof(id->key));
}

void px_overlay_start_timer(struct px_link *l)
{
    px_list_remove(&l->timed);
    l->deadline = l->overlay->now + PX_LINK_HANDSHAKE_TIME;
    px_list_push_back(&l->overlay->timed, &l->timed);
}

struct px_link *px_overlay_find(const struct px_overlay *o, const struct px_peer_id *id)
{
    struct px_map_node *n = px_map_find(&o->by_peer, peer_key(id));
    return n == NULL ? NULL : PX_CONTAINER_OF(n, struct px_link, by_peer);
}

static bool same_boot(const struct px_link *a, const struct px_link *b)
{
    return memcmp(px_link_handshake_peer(a->handshake)->boot_id,
                  px_link_handshake_peer(b->handshake)->boot_id, PX_BOOT_ID_LEN) == 0;
}

/* A dial of ours, other than `l`, to the peer that `l` proved, that waits for `accepted`. */
static bool has_confirmed_dial(const struct px_link *l)
{
    struct px_list *timed = &l->overlay->timed;
    PX_LIST_EACH(it, timed) {
        const struct px_link *d = from_timed(it);
        if (d != l && d->state == PX_LINK_EARLY && px_peer_id_eq(&d->peer, &l->peer) &&
            same_boot(d, l))
            return true;
    }
    return false;
}

/* Incoming links that wait for the outcome of a dial of ours to this peer may go on. */
static void wake_waiting(struct px_overlay *o, const struct px_peer_id *peer)
{
    PX_LIST_EACH(it, &o->timed) {
        struct px_link *w = from_timed(it);
        if (w->state == PX_LINK_WAITING && px_peer_id_eq(&w->peer, peer))
            px_link_mark_due(w);
    }
}

static void forget_peer(struct px_link *l)
{
    if (px_overlay_find(l->overlay, &l->peer) == l)
        px_map_remove(&l->overlay->by_peer, &l->by_peer);
}

/* Tells the owner, once. The link's memory stays until QUIC is done with it. */
static void end_link(struct px_link *l)
{
    struct px_overlay *o = l->overlay;
    if (l->ended)
        return;
    l->ended = true;
    forget_peer(l);
    px_list_remove(&l->timed);
    px_link_drop_streams(l);
    px_link_roam_down(l);
    if (l->ours)
        wake_waiting(o, &l->peer);
    if (l->was_up || l->ours)
        o->ops.down(o->ops_ctx, l, l->end_err, l->end_by_peer, l->was_up);
    else
        o->ops.refused(o->ops_ctx, &l->path.remote, l->proved ? &l->peer : NULL, l->end_err,
                       l->end_by_peer);
}

/* Another link took over; closing this one is the peer's business, but not for ever. */
static void shelve(struct px_link *l)
{
    l->end_err = PX_EDUPLICATE;
    px_link_set_state(l, PX_LINK_SHELVED);
    end_link(l);
    px_overlay_start_timer(l);
}

static void close_duplicate(struct px_link *l)
{
    px_link_fail(l, PX_EDUPLICATE, PX_CLOSE_DUPLICATE);
}

/* `old` (may be NULL) is up, or ending already, and loses its place to l. */
static void come_up(struct px_link *l, struct px_link *old, bool close_old)
{
    struct px_overlay *o = l->overlay;
    bool cloned = false;
    if (!l->ours)
        px_link_proceed(l);
    if (l->state == PX_LINK_CLOSING)
        return;
    if (old != NULL) {
        l->clones = old->clones;
        cloned = !same_boot(l, old) && px_clone_watch_note(&l->clones, o->now);
        forget_peer(old);
    }
    px_list_remove(&l->timed);
    px_link_set_state(l, PX_LINK_UP);
    l->up_since = o->now;
    px_map_insert(&o->by_peer, &l->by_peer, peer_key(&l->peer));
    px_quic_conn_raise_windows(l->conn);
    px_link_roam_up(l);
    if (old != NULL && close_old) {
        close_duplicate(old);
        end_link(old);
    } else if (old != NULL) {
        shelve(old);
    }
    if (cloned && o->ops.cloned != NULL)
        o->ops.cloned(o->ops_ctx, l);
    if (l->state != PX_LINK_UP) /* the owner closed it while it was told of the old one's end */
        return;
    l->was_up = true;
    o->ops.up(o->ops_ctx, l);
    px_link_deliver_parked(l);
    if (l->early_count == PX_LINK_PARKED_STREAMS && o->ops.streams_available != NULL &&
        l->state == PX_LINK_UP)
        o->ops.streams_available(o->ops_ctx, l);
    if (l->ours)
        wake_waiting(o, &l->peer);
}

static void decide(struct px_link *l)
{
    struct px_overlay *o = l->overlay;
    struct px_link *old = px_overlay_find(o, &l->peer);
    const struct px_rivalry rivalry = {
        /* one that failed in this very turn still has its place in by_peer */
        .have_old = old != NULL && !px_link_is_ending(old),
        .same_boot = old != NULL && same_boot(l, old),
        .old_ours = old != NULL && old->ours,
        .new_ours = l->ours,
        .we_are_lower = memcmp(o->identity->id.key, l->peer.key, sizeof(l->peer.key)) < 0,
        .dial_confirmed = has_confirmed_dial(l),
        .old_age = old != NULL ? o->now - old->up_since : 0,
    };
    switch (px_rivalry_judge(&rivalry)) {
    case PX_RIVALRY_UP:
    case PX_RIVALRY_REPLACE:
        come_up(l, old, true);
        return;
    case PX_RIVALRY_RELINQUISH:
        come_up(l, old, false);
        return;
    case PX_RIVALRY_WAIT:
        if (l->state == PX_LINK_NOISE)
            px_link_set_state(l, PX_LINK_WAITING);
        return;
    case PX_RIVALRY_CLOSE_NEW:
        close_duplicate(l);
        return;
    case PX_RIVALRY_SHELVE_NEW:
        shelve(l);
        return;
    }
}

/* Message 3 goes first in the credit there is; streams of ours may follow it. */
static void go_early(struct px_link *l)
{
    struct px_overlay *o = l->overlay;
    px_link_proceed(l);
    if (l->state == PX_LINK_CLOSING)
        return;
    px_link_set_state(l, PX_LINK_EARLY);
    if (o->ops.early != NULL)
        o->ops.early(o->ops_ctx, l);
}

/* SPEC handshake §5: listed, or a guest that says so and is welcome */
static int admit(const struct px_link *l)
{
    const struct px_overlay *o = l->overlay;
    int err = o->ops.authorize(o->ops_ctx, &l->peer);
    bool welcome = err != 0 && !l->ours && px_link_handshake_peer(l->handshake)->guest &&
                   o->ops.guest != NULL && o->ops.guest(o->ops_ctx, &l->peer);
    return welcome ? 0 : err;
}

/* SPEC handshake §5: what follows once the peer's identity is proved. */
static void settle_proved(struct px_link *l)
{
    struct px_overlay *o = l->overlay;
    if (!l->ours && px_peer_id_eq(&l->peer, &o->identity->id)) {
        px_link_fail(l, PX_ESELF, PX_CLOSE_SELF);
        return;
    }
    int err = admit(l);
    if (err != 0) {
        px_link_fail(l, err, err == PX_EHELD ? PX_CLOSE_HELD : PX_CLOSE_UNLISTED);
        return;
    }
    if (!l->ours) {
        decide(l);
        return;
    }
    /* SPEC handshake §8: an initiator that has a link already ends its dial here */
    const struct px_link *old = px_overlay_find(o, &l->peer);
    if ((old != NULL && same_boot(l, old)) || has_confirmed_dial(l))
        close_duplicate(l);
    else
        go_early(l);
}

static void settle(struct px_link *l)
{
    if (l->event_proved && l->state == PX_LINK_NOISE) {
        l->event_proved = false;
        settle_proved(l);
    } else if (l->state == PX_LINK_WAITING) {
        decide(l);
    }
    if (l->event_accepted && l->state == PX_LINK_EARLY) {
        l->event_accepted = false;
        decide(l);
    }
    if (l->state == PX_LINK_CLOSING || l->state == PX_LINK_GONE)
        end_link(l);
    if (l->state == PX_LINK_GONE)
        px_link_free(l);
}

static void settle_all(struct px_overlay *o)
{
    while (!px_list_empty(&o->due)) {
        struct px_link *l = PX_CONTAINER_OF(o->due.next, struct px_link, due);
        px_list_remove(&l->due);
        settle(l);
    }
}

static void expire(struct px_overlay *o)
{
    while (!px_list_empty(&o->timed)) {
        struct px_link *l = from_timed(o->timed.next);
        if (l->deadline > o->now)
            return;
        px_list_remove(&l->timed);
        if (l->state == PX_LINK_SHELVED)
            close_duplicate(l);
        else
            px_link_fail(l, l->state == PX_LINK_TLS ? PX_ETIMEDOUT : PX_EHANDSHAKE_TIMEOUT,
                         PX_CLOSE_TIMEOUT);
    }
}

void px_overlay_input(struct px_overlay *o, const struct px_path *path, unsigned ecn,
                      struct px_slice datagram, px_nsec now)
{
    o->now = now;
    /* SPEC paths §2 */
    if (datagram.len > 0 && datagram.data[0] < 0x40)
        px_overlay_disco_input(o, path, datagram);
    else
        px_quic_input(o->quic, path, ecn, datagram, now);
}

void px_overlay_run(struct px_overlay *o, px_nsec now)
{
    o->now = now;
    expire(o);
    for (int i = 0; i < ROUNDS_MAX; i++) {
        settle_all(o);
        px_overlay_roam_run(o);
        px_quic_run(o->quic, now);
        if (px_list_empty(&o->due) && px_overlay_roam_deadline(o) > now)
            return;
    }
}

px_nsec px_overlay_deadline(const struct px_overlay *o)
{
    if (!px_list_empty(&o->due))
        return 0; /* at once, however long ago the last run was: a dial moves `now`, too */
    px_nsec deadline = PX_MIN(px_quic_deadline(o->quic), px_overlay_roam_deadline(o));
    if (!px_list_empty(&o->timed))
        deadline = PX_MIN(deadline, from_timed(o->timed.next)->deadline);
    return deadline;
}

void px_overlay_writable(struct px_overlay *o)
{
    px_quic_writable(o->quic);
}

/* Has it shown that it knows whom it dials? Only who has may hold its place. */
static bool is_silent(const struct px_link *l)
{
    if (l->ours || l->busy || (l->state != PX_LINK_TLS && l->state != PX_LINK_NOISE))
        return false;
    return l->handshake == NULL || px_link_handshake_state(l->handshake) <= PX_HANDSHAKE_WAIT_1;
}

/* SPEC handshake §7: connections that say nothing cost a stranger nearly nothing. */
static void make_way(struct px_overlay *o)
{
    PX_LIST_EACH(it, &o->timed) { /* oldest first */
        if (!is_silent(from_timed(it)))
            continue;
        px_link_fail(from_timed(it), PX_EBUSY, PX_CLOSE_BUSY);
        return;
    }
}

static int on_accept(void *ctx, struct px_quic_conn *c, const struct px_quic_conn_ops **ret_ops,
                     void **ret_ctx)
{
    struct px_overlay *o = ctx;
    struct px_path path;
    if (o->half_open >= PX_LINK_HALF_OPEN_MAX)
        make_way(o);
    bool busy = o->half_open >= PX_LINK_HALF_OPEN_MAX;
    if (o->half_open >= PX_LINK_HALF_OPEN_HARD)
        return PX_EBUSY;
    px_quic_conn_path(c, &path);
    struct px_link *l = px_link_new(o, false, &path);
    if (l == NULL)
        return PX_ENOMEM;
    l->conn = c;
    l->busy = busy;
    *ret_ops = &px_link_quic_ops;
    *ret_ctx = l;
    return 0;
}

int px_overlay_dial(struct px_overlay *o, const struct px_peer_id *id, const struct px_path *path,
                    void *user, px_nsec now, struct px_link **ret)
{
    if (o->freeing)
        return PX_ESTATE;
    if (px_peer_id_eq(id, &o->identity->id))
        return PX_ESELF;
    int err = o->ops.authorize(o->ops_ctx, id);
    if (err != 0)
        return err;
    if (px_overlay_find(o, id) != NULL)
        return PX_EEXIST;
    o->now = now;
    struct px_link *l = px_link_new(o, true, path);
    if (l == NULL)
        return PX_ENOMEM;
    l->peer = *id;
    l->user = user;
    err = px_quic_dial(o->quic, path, &px_link_quic_ops, l, now, &l->conn);
    if (err != 0) {
        px_link_free(l);
        return err;
    }
    *ret = l;
    return 0;
}

void px_overlay_each(struct px_overlay *o, void (*fn)(void *ctx, struct px_link *link), void *ctx)
{
    PX_LIST_EACH(it, &o->links)
        if (from_all(it)->state == PX_LINK_UP)
            fn(ctx, from_all(it));
}

void px_overlay_shutdown(struct px_overlay *o)
{
    PX_LIST_EACH(it, &o->links)
        px_link_close(from_all(it), PX_CLOSE_SHUTDOWN);
}

static int copy_texts(struct px_overlay *o, const struct px_overlay_config *config)
{
    struct px_slice agent = px_slice_take(config->agent, PX_AGENT_MAX);
    if (config->network.len == 0 || config->network.len > PX_LINK_NETWORK_MAX)
        return PX_EINVAL;
    for (size_t i = 0; i < agent.len; i++)
        if (agent.data[i] < 0x20 || agent.data[i] > 0x7e)
            return PX_EINVAL;
    memcpy(o->texts, config->network.data, config->network.len);
    if (agent.len > 0)
        memcpy(o->texts + PX_LINK_NETWORK_MAX, agent.data, agent.len);
    o->network = px_slice(o->texts, config->network.len);
    o->agent = px_slice(o->texts + PX_LINK_NETWORK_MAX, agent.len);
    return 0;
}

static int overlay_init(struct px_overlay *o, const struct px_overlay_config *config)
{
    uint8_t noise_public[PX_X25519_LEN]; /* each handshake derives it again */
    struct px_quic_config quic = config->quic;
    o->ops = *config->ops;
    o->ops_ctx = config->ops_ctx;
    o->identity = config->identity;
    o->passive = config->passive;
    o->rng = config->quic.rng;
    o->net = config->quic.net;
    px_list_init(&o->links);
    px_list_init(&o->due);
    px_heap_init(&o->asking);
    px_list_init(&o->timed);
    o->rng.fill(o->rng.ctx, o->boot_id, sizeof(o->boot_id));
    px_x25519_generate(&o->rng, &o->noise_static, noise_public);
    quic.accept = config->listen ? on_accept : NULL;
    quic.accept_ctx = o;
    int err = copy_texts(o, config);
    if (err == 0)
        err = px_map_init(&o->by_peer, &o->rng);
    if (err == 0)
        err = px_map_init(&o->by_index, &o->rng);
    if (err == 0)
        err = px_quic_new(&quic, &o->quic);
    return err;
}

int px_overlay_new(const struct px_overlay_config *config, struct px_overlay **ret)
{
    struct px_overlay *o = calloc(1, sizeof(*o));
    if (o == NULL)
        return PX_ENOMEM;
    int err = overlay_init(o, config);
    if (err != 0) {
        px_overlay_free(o);
        return err;
    }
    *ret = o;
    return 0;
}

void px_overlay_free(struct px_overlay *o)
{
    if (o == NULL)
        return;
    o->freeing = true;
    PX_LIST_EACH(it, &o->links) {
        struct px_link *l = from_all(it);
        px_link_fail(l, PX_ECLOSED, PX_CLOSE_NONE); /* the code is never sent */
        end_link(l);
    }
    if (o->quic != NULL)
        px_quic_free(o->quic); /* `closed` for each connection */
    PX_LIST_EACH(it, &o->links)
        px_link_free(from_all(it));
    px_map_deinit(&o->by_peer);
    px_heap_deinit(&o->asking);
    px_map_deinit(&o->by_index);
    px_wipe(&o->noise_static, sizeof(o->noise_static));
    free(o);
}

/* The rotating node's side: a new key that waits in the home, and peers that are told of it
 * (docs/spec/rotation.md §2, §4). */
#include <stdlib.h>

#include "node/fault_point.h"
#include "node/rotation_home.h"
#include "node/rotation_internal.h"

#define RESTART_DELAY (100 * PX_MSEC) /* the answer to the one who asked leaves first */

/* ---- who knows what ---- */

/* Where the peer stands, or would. */
static size_t place_of(const struct px_rotations *p, const struct px_peer_id *peer)
{
    size_t low = 0, high = p->told_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (memcmp(p->told[mid].peer.key, peer->key, sizeof(peer->key)) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static struct px_rotation_told *find(const struct px_rotations *p, const struct px_peer_id *peer)
{
    size_t at = place_of(p, peer);
    return at < p->told_count && px_peer_id_eq(&p->told[at].peer, peer) ? &p->told[at] : NULL;
}

const struct px_rotation_told *px_rotation_told(const struct px_rotations *p,
                                                const struct px_peer_id *peer)
{
    return find(p, peer);
}

bool px_rotation_has_acked(const struct px_rotations *p, const struct px_peer_id *peer)
{
    const struct px_rotation_told *t = find(p, peer);
    return t != NULL && t->acked && p->has_next && px_peer_id_eq(&t->next, &p->next.id);
}

/* NULL without memory. Views die with the next one. */
static struct px_rotation_told *add(struct px_rotations *p, const struct px_peer_id *peer)
{
    size_t at = place_of(p, peer);
    if (at < p->told_count && px_peer_id_eq(&p->told[at].peer, peer))
        return &p->told[at];
    if (p->told_count == p->told_cap) {
        size_t cap = p->told_cap == 0 ? 16 : 2 * p->told_cap;
        struct px_rotation_told *grown = realloc(p->told, cap * sizeof(*grown));
        if (grown == NULL)
            return NULL;
        p->told = grown;
        p->told_cap = cap;
    }
    memmove(&p->told[at + 1], &p->told[at], (p->told_count++ - at) * sizeof(*p->told));
    p->told[at] = (struct px_rotation_told){.peer = *peer};
    return &p->told[at];
}

static void drop(struct px_rotations *p, struct px_rotation_told *t)
{
    size_t at = (size_t)(t - p->told);
    memmove(t, t + 1, (--p->told_count - at) * sizeof(*t));
}

static void note_not_stored(const struct px_rotations *p, int err)
{
    if (err != 0)
        px_log_event(p->config.log, PX_LOG_WARN, "rotation.not_stored", PX_F_ERR(err));
}

static void set_acked(struct px_rotations *p, const struct px_peer_id *peer,
                      const struct px_peer_id *next)
{
    const struct px_rotation_ack ack = {*peer, p->config.identity->id, *next};
    struct px_rotation_told *t = add(p, peer);
    if (t == NULL)
        return; /* it is asked again */
    t->acked = true;
    t->next = *next;
    t->err = 0;
    if (p->config.state != NULL)
        note_not_stored(p, px_rotation_store_ack(p->config.state, &ack));
}

static void forget_ack(struct px_rotations *p, const struct px_peer_id *peer)
{
    struct px_rotation_told *t = find(p, peer);
    if (t != NULL)
        drop(p, t);
    if (p->config.state != NULL)
        note_not_stored(p, px_rotation_forget_ack(p->config.state, peer));
}

void px_rotation_tell_moved(struct px_rotations *p, const struct px_rotation_move *m)
{
    const struct px_rotation_told *old = find(p, &m->old_id);
    struct px_rotation_told was = {.acked = false};
    if (old != NULL)
        was = *old;
    if (was.acked) {
        drop(p, find(p, &m->old_id));
        struct px_rotation_told *t = add(p, &m->new_id);
        if (t != NULL) {
            t->acked = true;
            t->next = was.next;
        }
    }
    if (p->config.state != NULL)
        note_not_stored(p, px_rotation_move_ack(p->config.state, m));
}

/* ---- one peer ---- */

static void unlink_call(struct px_rotation_call *c)
{
    struct px_rotation_call **at = &c->p->calls;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    c->p->call_count--;
}

static void log_told(const struct px_rotation_call *c, int err)
{
    char id[PX_PEER_ID_TEXT_MAX], text[PX_PEER_ID_TEXT_MAX];
    const char *name = px_rotation_peer_name(c->p, &c->peer, text);
    px_peer_id_format(&c->peer, id);
    if (err == 0)
        px_log_event(c->p->config.log, PX_LOG_INFO,
                     c->withdraws ? "rotation.withdrawn" : "rotation.acked", PX_F_STR("peer", id),
                     PX_F_STR("name", name));
    else
        px_log_event(c->p->config.log, PX_LOG_WARN, "rotation.not_acked", PX_F_STR("peer", id),
                     PX_F_STR("name", name), PX_F_ERR(err));
}

static px_nsec pause_after(int err, bool refused)
{
    if (refused || err == PX_EUNSUPPORTED)
        return PX_ROTATION_REFUSED;
    return err == PX_ECLOSED ? 0 : PX_ROTATION_AGAIN; /* on its next link, if that one went */
}

static void finish_call(struct px_rotation_call *c, int err)
{
    struct px_rotations *p = c->p;
    struct px_rotation_told *t = find(p, &c->peer);
    bool refused = c->answered && c->answer != 0;
    if (t != NULL)
        t->under_way = false;
    if (err == PX_ECANCELED) /* the type of stream is not known there */
        err = PX_EUNSUPPORTED;
    if (c->answered)
        err = c->answer;
    else if (err == 0)
        err = PX_EPROTO;
    if (err == 0 && c->withdraws)
        forget_ack(p, &c->peer);
    else if (err == 0)
        set_acked(p, &c->peer, &c->next_id);
    if (err == 0 || t == NULL || t->err != err)
        log_told(c, err);
    if (err == 0)
        px_fault_point("rotation-acked");
    if (err == 0 || t == NULL)
        return;
    t->err = err;
    t->again_at = px_now_io() + pause_after(err, refused);
}

static void on_message(void *ctx, struct px_slice body)
{
    struct px_rotation_call *c = ctx;
    struct px_rotation_message m;
    int err = px_rotation_message_get(body, &m);
    if (err != 0 || (m.type != PX_ROTATION_MSG_ACK && m.type != PX_ROTATION_MSG_REFUSE)) {
        px_pairing_wire_abort(&c->wire, PX_EPROTO);
        return;
    }
    c->answered = true;
    c->answer = m.type == PX_ROTATION_MSG_ACK ? 0 : px_rotation_error(m.code);
    px_pairing_wire_end(&c->wire);
}

static void on_ended(void *ctx, int err)
{
    struct px_rotation_call *c = ctx;
    struct px_rotations *p = c->p;
    if (!p->closing)
        finish_call(c, err);
    unlink_call(c);
    free(c);
    px_rotation_check_closed(p);
}

static const struct px_pairing_wire_ops wire_ops = {.message = on_message, .ended = on_ended};

static void send_request(struct px_rotation_call *c)
{
    struct px_rotation_message m = {.type = c->withdraws ? PX_ROTATION_MSG_WITHDRAW
                                                         : PX_ROTATION_MSG_ROTATE};
    struct px_buf out;
    if (!c->withdraws)
        m.record = c->p->record;
    px_buf_init(&out, PX_ROTATION_MESSAGE_MAX);
    int err = px_rotation_message_put(&m, &out);
    if (err == 0)
        err = px_pairing_wire_send(&c->wire, px_buf_slice(&out));
    px_buf_deinit(&out);
    if (err != 0)
        px_pairing_wire_abort(&c->wire, err);
}

/* Opens a stream to a connected peer. False when it is not connected, or not as a listed one. */
static bool call_peer(struct px_rotations *p, const struct px_peer_id *peer, bool withdraws)
{
    struct px_peer_info info;
    struct px_rotation_told *t;
    if (px_peers_info(p->config.peers, peer, &info) != 0 || !info.listed ||
        info.state != PX_PEER_CONNECTED || info.link == NULL || !px_link_is_up(info.link) ||
        (t = add(p, peer)) == NULL)
        return false;
    struct px_rotation_call *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return false;
    c->p = p;
    c->peer = *peer;
    c->withdraws = withdraws;
    c->next_id = p->next.id;
    if (px_pairing_wire_open(&c->wire, p->config.loop, info.link, PX_STREAM_ROTATION, &wire_ops,
                             c) != 0) {
        free(c);
        return false;
    }
    t->under_way = true;
    c->next = p->calls;
    p->calls = c;
    p->call_count++;
    send_request(c);
    return true;
}

/* ---- all peers ---- */

static bool may_call(const struct px_rotations *p, const struct px_rotation_told *t, px_nsec now)
{
    return p->call_count < PX_ROTATION_CALLS_MAX &&
           (t == NULL || (!t->under_way && now >= t->again_at));
}

static void tell_listed(struct px_rotations *p, px_nsec now)
{
    const struct px_authorized_keys *keys = px_allowlist_keys(p->config.allowlist);
    for (size_t i = 0; i < px_authorized_keys_count(keys); i++) {
        const struct px_peer_id *id = &px_authorized_keys_at(keys, i)->id;
        if (!px_peer_id_eq(id, &p->config.identity->id) && !px_rotation_has_acked(p, id) &&
            may_call(p, find(p, id), now))
            (void)call_peer(p, id, false);
    }
}

static void withdraw_all(struct px_rotations *p, px_nsec now)
{
    const struct px_authorized_keys *keys = px_allowlist_keys(p->config.allowlist);
    for (size_t i = p->told_count; i-- > 0;) {
        const struct px_rotation_told *t = &p->told[i];
        const struct px_peer_id peer = t->peer;
        if (t->under_way)
            continue;
        if (!t->acked || px_authorized_keys_find(keys, &peer) == NULL)
            forget_ack(p, &peer);
        else if (may_call(p, t, now))
            (void)call_peer(p, &peer, true);
    }
}

bool px_rotation_tell_is_idle(const struct px_rotations *p)
{
    return !p->has_next && p->told_count == 0;
}

void px_rotation_tell_tick(struct px_rotations *p, px_nsec now)
{
    if (p->closing || p->restart_at != 0)
        return;
    if (p->has_next)
        tell_listed(p, now);
    else
        withdraw_all(p, now);
}

/* ---- the new key ---- */

static int load_next(struct px_rotations *p)
{
    char hint[256] = "";
    int err =
        px_rotation_home_next(p->config.home, p->config.identity, &p->next, hint, sizeof(hint));
    if (err == PX_ENOENT)
        return 0;
    if (err == 0)
        err = px_rotation_make(p->config.identity, &p->next, p->config.network, &p->record);
    p->has_next = err == 0;
    if (err != 0)
        px_log_event(p->config.log, PX_LOG_ERROR, "rotation.unusable", PX_F_ERR(err),
                     PX_F_STR("hint", hint));
    return err;
}

static int load_ack(void *ctx, const struct px_rotation_ack *a)
{
    struct px_rotations *p = ctx;
    if (!px_peer_id_eq(&a->own, &p->config.identity->id))
        return 0; /* of a key of ours that is no more: nothing is left to take back */
    struct px_rotation_told *t = add(p, &a->peer);
    if (t == NULL)
        return PX_ENOMEM;
    t->acked = true;
    t->next = a->next;
    return 0;
}

int px_rotation_tell_init(struct px_rotations *p)
{
    int err = p->config.state != NULL ? px_rotation_each_ack(p->config.state, load_ack, p) : 0;
    if (err == PX_ENOMEM)
        return err;
    if (err != 0) /* then all are asked again */
        px_log_event(p->config.log, PX_LOG_WARN, "rotation.acks_unreadable", PX_F_ERR(err));
    err = load_next(p); /* logged; a node whose new key is unusable goes on with the old one */
    return err == PX_ENOMEM ? err : 0;
}

int px_rotation_tell_begin(struct px_rotations *p)
{
    int err = px_rotation_home_begin(p->config.home);
    if (err != 0 && err != PX_EEXIST)
        return err;
    int loaded = p->has_next ? 0 : load_next(p);
    if (loaded != 0)
        return loaded;
    for (size_t i = 0; i < p->told_count; i++)
        p->told[i].again_at = 0;
    px_rotation_wake(p);
    return err;
}

static void forget_next(struct px_rotations *p)
{
    p->has_next = false;
    px_identity_wipe(&p->next);
    memset(&p->record, 0, sizeof(p->record));
}

int px_rotation_tell_abort(struct px_rotations *p)
{
    int err = px_rotation_home_abort(p->config.home);
    if (err == PX_ENOENT)
        err = p->has_next ? 0 : PX_ESTATE; /* somebody else removed it */
    if (err != 0)
        return err;
    forget_next(p);
    px_rotation_wake(p);
    return 0;
}

int px_rotation_tell_finish(struct px_rotations *p)
{
    if (!p->has_next)
        return PX_ESTATE;
    int err = px_rotation_home_finish(p->config.home);
    if (err != 0)
        return err == PX_ENOENT ? PX_ESTATE : err;
    forget_next(p);
    p->told_count = 0;
    if (p->config.state != NULL)
        note_not_stored(p, px_rotation_forget_acks(p->config.state));
    p->restart_at = px_now_io() + RESTART_DELAY;
    px_rotation_wake(p);
    return 0;
}

/* ---- the end ---- */

void px_rotation_tell_abandon(struct px_rotations *p)
{
    struct px_rotation_call *next;
    for (struct px_rotation_call *c = p->calls; c != NULL; c = next) {
        next = c->next;
        px_pairing_wire_abort(&c->wire, PX_ECANCELED);
    }
}

/* The listener's side in time: finds the new key of a peer that said it would change it, and moves
 * the peer's entry once that key has proved itself (docs/spec/rotation.md §3). */
#include <stdlib.h>

#include "node/fault_point.h"
#include "node/rotation_internal.h"
#include "node/rotation_move.h"

static void forget_record(struct px_rotations *p, const struct px_peer_id *old_id)
{
    if (p->config.state != NULL && px_rotation_forget_record(p->config.state, old_id) != 0)
        px_log_event(p->config.log, PX_LOG_WARN, "rotation.not_forgotten", PX_F_ERR(PX_EIO));
    (void)px_rotation_book_drop(p->book, old_id);
}

/* ---- searching ---- */

static struct px_rotation_search *search_of(struct px_rotations *p,
                                            const struct px_rotation_move *m)
{
    for (struct px_rotation_search *s = p->searches; s != NULL; s = s->next)
        if (px_peer_id_eq(&s->move.old_id, &m->old_id) &&
            px_peer_id_eq(&s->move.new_id, &m->new_id))
            return s;
    struct px_rotation_search *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return NULL;
    s->p = p;
    s->move = *m;
    s->pause = PX_ROTATION_DIAL_MIN;
    s->next = p->searches;
    p->searches = s;
    if (p->config.relays != NULL)
        px_relays_follow(p->config.relays, &m->old_id, &m->new_id);
    return s;
}

static void end_search(struct px_rotation_search *s)
{
    struct px_rotation_search **at = &s->p->searches;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    if (s->dialling)
        px_peers_end_guest(s->p->config.peers, s);
    free(s);
}

static void put_off(struct px_rotation_search *s)
{
    s->due = px_now_io() + s->pause;
    s->pause = PX_MIN(2 * s->pause, PX_ROTATION_DIAL_MAX);
}

/* The next tick sees that it is connected. */
static void on_up(void *ctx, struct px_link *link)
{
    (void)ctx, (void)link;
}

static void on_failed(void *ctx, int err)
{
    struct px_rotation_search *s = ctx;
    (void)err; /* it has not changed its key yet, or is away: both are usual */
    s->dialling = false;
    put_off(s);
}

static const struct px_guest_ops guest_ops = {.up = on_up, .failed = on_failed, .down = on_failed};

/* Where the old key was, its new one may be. Of use only once the old one has gone. */
static void search(struct px_rotation_search *s, px_nsec now)
{
    struct px_peer_info old;
    const char *addrs[PX_PEER_ADDRS_MAX];
    if (s->dialling || px_peers_info(s->p->config.peers, &s->move.old_id, &old) != 0)
        return;
    if (old.state == PX_PEER_CONNECTED || old.state == PX_PEER_HELD) {
        s->pause = PX_ROTATION_DIAL_MIN;
        s->due = now + s->pause;
        return;
    }
    if (now < s->due || old.addr_count == 0)
        return;
    for (size_t i = 0; i < old.addr_count; i++)
        addrs[i] = old.addrs[i].text;
    int err = px_peers_dial_guest(s->p->config.peers, &s->move.new_id, addrs, old.addr_count,
                                  &guest_ops, s);
    s->dialling = err == 0;
    if (err != 0)
        put_off(s);
}

/* ---- moving ---- */

static void log_move(const struct px_rotations *p, const struct px_rotation_move *m, int err)
{
    char old_id[PX_PEER_ID_TEXT_MAX], new_id[PX_PEER_ID_TEXT_MAX], text[PX_PEER_ID_TEXT_MAX];
    px_peer_id_format(&m->old_id, old_id);
    px_peer_id_format(&m->new_id, new_id);
    if (err == 0)
        px_log_event(p->config.log, PX_LOG_WARN, "rotation.moved", PX_F_STR("peer", new_id),
                     PX_F_STR("name", px_rotation_peer_name(p, &m->new_id, text)),
                     PX_F_STR("old", old_id));
    else
        px_log_event(p->config.log, PX_LOG_ERROR, "rotation.not_moved", PX_F_STR("peer", old_id),
                     PX_F_STR("next", new_id), PX_F_ERR(err),
                     PX_F_STR("hint", "is authorized_keys this user's to write, and no symbolic "
                                      "link? otherwise replace the ID there"));
}

/* SPEC rotation §3, steps 3 and 4; also of a move that an earlier run began. */
static void clear_up(struct px_rotations *p, const struct px_rotation_move *move)
{
    struct px_rotation_move m = *move;
    m.at = px_rotation_wall();
    int err = px_rotation_clear_files(p->config.home, &m);
    if (err != 0) /* what stays counts for nothing: its peer is not listed */
        px_log_event(p->config.log, PX_LOG_WARN, "rotation.not_cleared", PX_F_ERR(err));
    px_rotation_tell_moved(p, &m);
    if (p->config.state != NULL && px_rotation_store_retired(p->config.state, &m) != 0)
        px_log_event(p->config.log, PX_LOG_WARN, "rotation.not_stored", PX_F_ERR(PX_EIO));
    px_fault_point("rotation-retired");
    forget_record(p, &m.old_id);
    px_rotation_book_retire(p->book, &m, m.at);
    log_move(p, &m, 0);
}

/* The new key's link came up while it was not listed: it is made anew with what a listed peer has.
 */
static void renew_link(struct px_rotations *p, const struct px_peer_id *id)
{
    struct px_peer_info info;
    if (px_peers_info(p->config.peers, id, &info) == 0 && info.link != NULL)
        px_link_close(info.link, PX_CLOSE_NONE);
}

static int move_entry(struct px_rotations *p, const struct px_rotation_move *m)
{
    if (p->config.state != NULL && px_rotation_store_addrs(p->config.state, m) != 0)
        px_log_event(p->config.log, PX_LOG_WARN, "rotation.not_stored", PX_F_ERR(PX_EIO));
    if (p->config.history != NULL)
        px_peer_history_io_follow(p->config.history, &m->old_id, &m->new_id);
    int err = px_rotation_move_files(p->config.home, m);
    return err == 0 ? px_allowlist_reload(p->config.allowlist) : err;
}

/* The new key has proved itself. */
static void move(struct px_rotation_search *s, px_nsec now)
{
    struct px_rotations *p = s->p;
    const struct px_rotation_move m = s->move;
    if (now < s->move_due)
        return;
    int err = move_entry(p, &m);
    if (err != 0) {
        log_move(p, &m, err);
        s->move_due = now + PX_ROTATION_MOVE_AGAIN;
        return;
    }
    end_search(s);
    clear_up(p, &m);
    renew_link(p, &m.new_id);
}

static bool is_connected(const struct px_rotations *p, const struct px_peer_id *id)
{
    struct px_peer_info info;
    return px_peers_info(p->config.peers, id, &info) == 0 && info.link != NULL &&
           px_link_is_up(info.link);
}

/* ---- time ---- */

static void tend(struct px_rotations *p, const struct px_rotation_move *m, px_nsec now)
{
    struct px_rotation_search *s;
    switch (px_rotation_fate(m, px_allowlist_keys(p->config.allowlist))) {
    case PX_ROTATION_WAITS:
        s = search_of(p, m);
        if (s != NULL && is_connected(p, &m->new_id))
            move(s, now);
        else if (s != NULL)
            search(s, now);
        break;
    case PX_ROTATION_MOVED:
        clear_up(p, m);
        break;
    case PX_ROTATION_VOID:
        forget_record(p, &m->old_id);
        break;
    }
}

/* Of records that were withdrawn, replaced or carried out. */
static void end_idle_searches(struct px_rotations *p)
{
    struct px_rotation_search *next;
    bool ended = false;
    for (struct px_rotation_search *s = p->searches; s != NULL; s = next) {
        const struct px_rotation_move *m = px_rotation_book_by_old(p->book, &s->move.old_id);
        next = s->next;
        if (m != NULL && px_peer_id_eq(&m->new_id, &s->move.new_id))
            continue;
        end_search(s);
        ended = true;
    }
    if (ended && p->config.relays != NULL)
        px_relays_check_listed(p->config.relays); /* nobody vouches for such a key any more */
}

void px_rotation_follow_tick(struct px_rotations *p, px_nsec now)
{
    if (p->closing)
        return;
    for (size_t i = p->book->count; i-- > 0;) {
        const struct px_rotation_move m = p->book->moves[i]; /* it may go meanwhile */
        tend(p, &m, now);
    }
    end_idle_searches(p);
}

void px_rotation_follow_abort(struct px_rotations *p)
{
    while (p->searches != NULL)
        end_search(p->searches);
}

/* Moving a connection from path to path: which one ngtcp2 uses, whether anything comes back on it,
 * and the client's migration. Which path is good is for the owner to find out
 * (transport/link_path); the numbers are quic_path.c's. */
#include "transport/quic_internal.h"

void px_quic_conn_path(const struct px_quic_conn *c, struct px_path *ret)
{
    const struct px_path *real = px_quic_paths_get(&c->paths, c->current);
    *ret = real != NULL ? *real : c->close_path;
}

px_nsec px_quic_conn_heard_at(const struct px_quic_conn *c)
{
    return c->heard_at;
}

bool px_quic_conn_allows(struct px_quic_conn *c, const struct px_path *path, px_nsec now)
{
    return px_quic_paths_find(&c->paths, path, c->current, now) != 0;
}

void px_quic_conn_allow(struct px_quic_conn *c, const struct px_path *path, px_nsec now)
{
    if (c->state == PX_QUIC_OPEN && !px_quic_conn_allows(c, path, now))
        (void)px_quic_paths_add(&c->paths, path, c->current, now);
}

/* What was heard and asked so far says nothing about another path. */
static void start_anew(struct px_quic_conn *c, px_nsec now)
{
    c->heard_at = now;
    c->asked_at = 0;
    c->told_at = 0;
}

/* After a client's move ngtcp2's server validates the path left behind (RFC 9000, 9.3.3), and
 * follows nobody there until that has ended: 3 s if the path is dead. A client that comes back
 * sooner finds a number that ngtcp2 does not know yet. One that moves without end, to use up the
 * numbers, is followed no sooner than without this. */
static void renumber_left_path(struct px_quic_conn *c, uint32_t left, px_nsec now)
{
    const struct px_path *real = px_quic_paths_get(&c->paths, left);
    if (!c->client && real != NULL && c->paths.last < PX_QUIC_RENUMBER_MAX) {
        struct px_path path = *real;
        (void)px_quic_paths_add(&c->paths, &path, c->current, now);
    }
}

void px_quic_conn_note_path(struct px_quic_conn *c, px_nsec now)
{
    uint32_t number = px_quic_number_from_ng(ngtcp2_conn_get_path(c->conn)), left = c->current;
    if (number == left)
        return;
    c->current = number;
    renumber_left_path(c, left, now);
    start_anew(c, now);
    if (c->ops != NULL && c->ops->path_changed != NULL)
        c->ops->path_changed(c->ctx);
}

int px_quic_conn_migrate(struct px_quic_conn *c, const struct px_path *path, px_nsec now)
{
    px_assert(c->client); /* ngtcp2 aborts on a server's */
    if (c->state != PX_QUIC_OPEN)
        return PX_ESTATE;
    uint32_t number = px_quic_paths_add(&c->paths, path, c->current, now);
    struct px_quic_ngpath ngpath;
    px_quic_ngpath_init(&ngpath, number);
    int rv = ngtcp2_conn_initiate_immediate_migration(c->conn, &ngpath.path, now);
    if (rv != 0)
        px_quic_paths_remove(&c->paths, number);
    if (rv == NGTCP2_ERR_INVALID_STATE || rv == NGTCP2_ERR_CONN_ID_BLOCKED)
        return PX_EAGAIN;
    if (rv != 0) {
        px_quic_conn_fail(c, rv);
        return px_quic_error_from_ngtcp2(rv);
    }
    px_quic_conn_note_path(c, now);
    px_quic_conn_mark_ready(c);
    return 0;
}

/* ---- the watch ---- */

void px_quic_conn_expect(struct px_quic_conn *c, px_nsec now)
{
    struct px_quic *q = c->q;
    if (!px_list_empty(&c->watched) || c->ops == NULL || c->ops->silent == NULL)
        return;
    if (px_list_empty(&q->watched))
        q->watch_at = now + PX_QUIC_WATCH_GAP;
    px_list_push_back(&q->watched, &c->watched);
}

static bool has_outstanding(const struct px_quic_conn *c)
{
    ngtcp2_conn_info info;
    ngtcp2_conn_get_conn_info(c->conn, &info);
    return info.bytes_in_flight > 0;
}

void px_quic_conn_note_written(struct px_quic_conn *c, px_nsec now)
{
    if (c->asked_at != 0 || !has_outstanding(c))
        return;
    c->asked_at = now;
    px_quic_conn_expect(c, now);
}

bool px_quic_conn_watch(struct px_quic_conn *c, px_nsec now)
{
    if (c->state != PX_QUIC_OPEN || c->ops == NULL || c->ops->silent == NULL)
        return false;
    bool outstanding = has_outstanding(c), bulk = c->heard >= PX_QUIC_SILENCE_BULK;
    if (!outstanding)
        c->asked_at = 0;
    px_nsec limit = 3 * ngtcp2_conn_get_pto(c->conn);
    limit = PX_MIN(PX_MAX(limit, PX_QUIC_SILENCE_MIN), PX_QUIC_SILENCE_MAX);
    bool asked = outstanding && c->asked_at != 0 && now - c->asked_at >= limit;
    if (now - PX_MAX(c->heard_at, c->told_at) < limit || (!asked && !bulk))
        return outstanding || bulk;
    c->heard = 0;
    c->told_at = now;
    c->ops->silent(c->ctx);
    return outstanding;
}

/* The listener's side of the wire: what connected, listed peers say of their new keys
 * (docs/spec/rotation.md §2). One request a stream. */
#include <stdlib.h>

#include "node/fault_point.h"
#include "node/rotation_internal.h"

static void reply(struct px_rotation_guest *g, int err)
{
    const struct px_rotation_message m = {
        .type = err == 0 ? PX_ROTATION_MSG_ACK : PX_ROTATION_MSG_REFUSE,
        .code = err == 0 ? 0 : px_rotation_code(err),
    };
    struct px_buf out;
    px_buf_init(&out, PX_ROTATION_MESSAGE_MAX);
    int failed = px_rotation_message_put(&m, &out);
    if (failed == 0)
        failed = px_pairing_wire_send(&g->wire, px_buf_slice(&out));
    px_buf_deinit(&out);
    if (failed == 0)
        px_pairing_wire_end(&g->wire);
    else
        px_pairing_wire_abort(&g->wire, failed);
}

/* Each change is a write to the disk. */
static bool may_change(struct px_rotations *p)
{
    px_nsec now = px_now_io();
    if (p->window == 0 || now - p->window >= PX_ROTATION_WINDOW) {
        p->window = now;
        p->changes = 0;
    }
    if (p->changes >= PX_ROTATION_CHANGES_MAX)
        return false;
    p->changes++;
    return true;
}

static void log_news(const struct px_rotation_guest *g, enum px_log_level level, const char *event,
                     const struct px_peer_id *next)
{
    char id[PX_PEER_ID_TEXT_MAX], next_id[PX_PEER_ID_TEXT_MAX], text[PX_PEER_ID_TEXT_MAX];
    px_log_event(g->p->config.log, level, event, PX_F_STR("peer", px_peer_id_format(&g->peer, id)),
                 PX_F_STR("name", px_rotation_peer_name(g->p, &g->peer, text)),
                 PX_F_STR("next", next != NULL ? px_peer_id_format(next, next_id) : NULL));
}

/* SPEC rotation §2: stored first, then it counts, then it is acked */
static int store(struct px_rotation_guest *g, const struct px_rotation *r)
{
    struct px_rotations *p = g->p;
    if (p->config.state == NULL) /* an ack says that a restart keeps it */
        return PX_EIO;
    if (!may_change(p))
        return PX_EBUSY;
    int err = px_rotation_store_record(p->config.state, r);
    if (err != 0)
        return PX_EIO;
    if (!px_rotation_book_set(p->book, &r->old_id, &r->new_id))
        return PX_EBUSY;
    px_fault_point("rotation-stored");
    px_rotation_wake(p);
    return 0;
}

static int take(struct px_rotation_guest *g, const struct px_rotation *r)
{
    struct px_rotations *p = g->p;
    enum px_rotation_news news;
    const struct px_rotation_scene scene = {
        .self = &p->config.identity->id,
        .sender = &g->peer,
        .network = p->config.network,
        .keys = px_allowlist_keys(p->config.allowlist),
    };
    int err = px_rotation_book_judge(p->book, &scene, r, &news);
    if (err != 0 || news == PX_ROTATION_KNOWN)
        return err;
    err = store(g, r);
    if (err == 0 && news == PX_ROTATION_REPLACES)
        log_news(g, PX_LOG_WARN, "rotation.replaced", &r->new_id);
    else if (err == 0)
        log_news(g, PX_LOG_INFO, "rotation.received", &r->new_id);
    return err;
}

static int withdraw(struct px_rotation_guest *g)
{
    struct px_rotations *p = g->p;
    if (px_rotation_book_by_old(p->book, &g->peer) == NULL)
        return 0;
    if (!may_change(p))
        return PX_EBUSY;
    if (p->config.state != NULL && px_rotation_forget_record(p->config.state, &g->peer) != 0)
        return PX_EIO;
    (void)px_rotation_book_drop(p->book, &g->peer);
    log_news(g, PX_LOG_INFO, "rotation.dropped", NULL);
    return 0;
}

static void on_message(void *ctx, struct px_slice body)
{
    struct px_rotation_guest *g = ctx;
    struct px_rotation_message m;
    int err = g->p->closing ? PX_EBUSY : px_rotation_message_get(body, &m);
    if (err == 0 && m.type == PX_ROTATION_MSG_ROTATE)
        err = take(g, &m.record);
    else if (err == 0 && m.type == PX_ROTATION_MSG_WITHDRAW)
        err = withdraw(g);
    else if (err == 0)
        err = PX_EPARSE;
    if (err != 0) {
        char id[PX_PEER_ID_TEXT_MAX];
        px_log_event(g->p->config.log, PX_LOG_INFO, "rotation.refused",
                     PX_F_STR("peer", px_peer_id_format(&g->peer, id)), PX_F_ERR(err));
    }
    reply(g, err);
}

static void on_ended(void *ctx, int err)
{
    struct px_rotation_guest *g = ctx;
    struct px_rotations *p = g->p;
    struct px_rotation_guest **at = &p->guests;
    (void)err; /* who was not answered asks again */
    while (*at != g)
        at = &(*at)->next;
    *at = g->next;
    p->guest_count--;
    free(g);
    px_rotation_check_closed(p);
}

static const struct px_pairing_wire_ops wire_ops = {.message = on_message, .ended = on_ended};

static bool has_room(const struct px_rotations *p, const struct px_peer_id *peer)
{
    size_t of_peer = 0;
    for (const struct px_rotation_guest *g = p->guests; g != NULL; g = g->next)
        of_peer += px_peer_id_eq(&g->peer, peer);
    return !p->closing && p->guest_count < PX_ROTATION_GUESTS_MAX &&
           of_peer < PX_ROTATION_GUESTS_OF_PEER;
}

const struct px_stream_ops *px_rotation_listen_stream(void *rotations, struct px_link *link,
                                                      int64_t id, void **ret_ctx)
{
    struct px_rotations *p = rotations;
    if (!has_room(p, px_link_peer(link)))
        return NULL;
    struct px_rotation_guest *g = calloc(1, sizeof(*g));
    if (g == NULL)
        return NULL;
    g->p = p;
    g->peer = *px_link_peer(link);
    if (px_pairing_wire_adopt(&g->wire, p->config.loop, link, id, &wire_ops, g) != 0) {
        free(g);
        return NULL;
    }
    g->next = p->guests;
    p->guests = g;
    p->guest_count++;
    if (g->wire.stream == NULL)
        return NULL;
    *ret_ctx = g->wire.stream;
    return &px_stream_link_ops;
}

void px_rotation_listen_abort(struct px_rotations *p)
{
    for (struct px_rotation_guest *g = p->guests; g != NULL; g = g->next)
        px_pairing_wire_abort(&g->wire, PX_ECLOSED);
}

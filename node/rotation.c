/* See rotation.h: the service's clock and life. The clock runs only while there is something to
 * wait for: a node that neither rotates nor waits for a peer that does costs nothing. */
#include "node/rotation.h"

#include <stdlib.h>
#include <time.h>

#include "node/rotation_internal.h"

enum { TICK_MS = 250 };

int64_t px_rotation_wall(void)
{
    return (int64_t)time(NULL);
}

const char *px_rotation_peer_name(const struct px_rotations *p, const struct px_peer_id *id,
                                  char text[PX_PEER_ID_TEXT_MAX])
{
    const struct px_authorized_key *k =
        px_authorized_keys_find(px_allowlist_keys(p->config.allowlist), id);
    return k != NULL && k->name[0] != '\0' ? k->name : px_peer_id_format(id, text);
}

bool px_rotations_guest(void *rotations, const struct px_peer_id *id)
{
    const struct px_rotations *p = rotations;
    const struct px_rotation_move *m = px_rotation_book_by_new(p->book, id);
    return m != NULL && !p->closing &&
           px_rotation_fate(m, px_allowlist_keys(p->config.allowlist)) == PX_ROTATION_WAITS;
}

/* ---- time ---- */

static void check_restart(struct px_rotations *p, px_nsec now)
{
    if (p->restart_at == 0 || now < p->restart_at)
        return;
    p->restart_at = 0;
    p->config.restart(p->config.ctx);
}

static void on_tick(uv_timer_t *t)
{
    struct px_rotations *p = t->data;
    px_nsec now = px_now_io();
    px_rotation_follow_tick(p, now);
    px_rotation_tell_tick(p, now);
    if (p->book->count == 0 && p->searches == NULL && p->restart_at == 0 &&
        px_rotation_tell_is_idle(p))
        (void)uv_timer_stop(&p->tick);
    check_restart(p, now); /* may close the service */
}

void px_rotation_wake(struct px_rotations *p)
{
    if (!p->closing && !uv_is_active((const uv_handle_t *)&p->tick))
        (void)uv_timer_start(&p->tick, on_tick, 0, TICK_MS);
}

/* ---- life ---- */

static int load(struct px_rotations *p)
{
    if (p->config.state == NULL)
        return 0;
    int err = px_rotation_store_load(p->config.state, p->config.network, p->book);
    if (err != 0) /* the node works without; peers that rotate then must be paired anew */
        px_log_event(p->config.log, PX_LOG_WARN, "rotation.not_loaded", PX_F_ERR(err));
    return err == PX_ENOMEM ? err : 0;
}

static int start(struct px_rotations *p)
{
    const struct px_peer_handler handler = {
        .type = PX_STREAM_ROTATION, .stream = px_rotation_listen_stream, .ctx = p};
    int err = load(p);
    if (err == 0)
        err = px_rotation_tell_init(p);
    if (err == 0)
        err = px_peers_add_handler(p->config.peers, &handler);
    if (err == 0 && p->config.control != NULL)
        err = px_rotation_control_routes(p);
    if (err == 0)
        px_rotation_wake(p);
    return err;
}

static void free_now(struct px_rotations *p)
{
    px_identity_wipe(&p->next);
    free(p->told);
    free(p->book);
    free(p);
}

int px_rotations_new(const struct px_rotations_config *config, struct px_rotations **ret)
{
    struct px_rotations *p = calloc(1, sizeof(*p));
    if (p == NULL)
        return PX_ENOMEM;
    p->config = *config;
    p->book = calloc(1, sizeof(*p->book));
    if (p->book == NULL || uv_timer_init(config->loop, &p->tick) != 0) {
        free_now(p);
        return PX_ENOMEM;
    }
    p->tick.data = p;
    int err = start(p);
    if (err != 0) {
        px_rotations_close(p, NULL, NULL);
        return err;
    }
    *ret = p;
    return 0;
}

void px_rotation_check_closed(struct px_rotations *p)
{
    if (!p->closing || !p->tick_closed || p->calls != NULL || p->guests != NULL)
        return;
    void (*done)(void *ctx) = p->done;
    void *ctx = p->done_ctx;
    free_now(p);
    if (done != NULL)
        done(ctx);
}

static void on_tick_closed(uv_handle_t *h)
{
    struct px_rotations *p = h->data;
    p->tick_closed = true;
    px_rotation_check_closed(p);
}

void px_rotations_close(struct px_rotations *p, void (*done)(void *ctx), void *ctx)
{
    p->closing = true;
    p->done = done;
    p->done_ctx = ctx;
    px_rotation_follow_abort(p);
    px_rotation_tell_abandon(p);
    px_rotation_listen_abort(p);
    uv_close((uv_handle_t *)&p->tick, on_tick_closed);
}

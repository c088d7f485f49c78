/* See link_roam.h. */
#include "transport/link_internal.h"

static struct px_link *from_asking(struct px_heap_node *node)
{
    return PX_CONTAINER_OF(node, struct px_link, roam.asking);
}

/* ---- what the path machine does ---- */

/* Lost if the socket is full: it is asked again. */
static void send_packet(void *ctx, const struct px_path *path, const struct px_disco_packet *packet)
{
    struct px_link *l = ctx;
    const struct px_quic_net *net = &l->overlay->net;
    uint8_t bytes[PX_DISCO_LEN];
    if (!l->roam.peer_known || px_disco_seal(&l->roam.disco, packet, bytes) != 0)
        return;
    (void)net->send(net->ctx, path, 0, px_slice(bytes, sizeof(bytes)), sizeof(bytes));
}

static void get_current(void *ctx, struct px_path *ret)
{
    const struct px_link *l = ctx;
    px_quic_conn_path(l->conn, ret);
}

static bool is_proved(void *ctx, const struct px_path *path)
{
    struct px_link *l = ctx;
    return px_quic_conn_allows(l->conn, path, l->overlay->now);
}

static void on_proved(void *ctx, const struct px_path *path)
{
    struct px_link *l = ctx;
    px_quic_conn_allow(l->conn, path, l->overlay->now);
}

static int migrate(void *ctx, const struct px_path *path)
{
    struct px_link *l = ctx;
    int err = px_quic_conn_migrate(l->conn, path, l->overlay->now);
    if (err == 0)
        px_link_poke(l); /* SPEC paths §6: something that is no probe, or the server stays */
    return err;
}

static void poke(void *ctx)
{
    px_link_poke(ctx);
}

static void tell_lost(void *ctx)
{
    struct px_link *l = ctx;
    const struct px_overlay *o = l->overlay;
    if (l->was_up && o->ops.lost != NULL)
        o->ops.lost(o->ops_ctx, l);
}

static const struct px_link_path_ops path_ops = {
    .send = send_packet,
    .current = get_current,
    .is_proved = is_proved,
    .proved = on_proved,
    .migrate = migrate,
    .poke = poke,
    .lost = tell_lost,
};

/* ---- the link's life ---- */

static struct px_slice index_key(const uint64_t *index)
{
    return px_slice(index, sizeof(*index));
}

static struct px_link *find_by_index(const struct px_overlay *o, uint64_t index)
{
    struct px_map_node *n = px_map_find(&o->by_index, index_key(&index));
    return n == NULL ? NULL : PX_CONTAINER_OF(n, struct px_link, roam.by_index);
}

/* Has it something to ask, now or later? To be called after whatever changes the answer. */
static void note_asking(struct px_link *l)
{
    px_nsec at = px_link_path_deadline(&l->roam.path);
    if (at == PX_NEVER)
        px_heap_remove(&l->overlay->asking, &l->roam.asking);
    else
        px_heap_set(&l->overlay->asking, &l->roam.asking, at);
}

static void start_if_ready(struct px_link *l)
{
    struct px_link_roam *r = &l->roam;
    if (!r->on || !r->peer_known)
        return;
    r->disco.peer_index = r->peer_index;
    px_link_path_start(&r->path, l->overlay->now);
    note_asking(l);
}

void px_link_roam_up(struct px_link *l)
{
    struct px_overlay *o = l->overlay;
    struct px_link_roam *r = &l->roam;
    struct px_noise_keys keys;
    int err = px_link_handshake_split(l->handshake, &keys);
    if (err != 0) {
        px_link_fail(l, err, PX_CLOSE_INTERNAL);
        return;
    }
    px_disco_init(&r->disco, l->ours ? PX_NOISE_INITIATOR : PX_NOISE_RESPONDER, &keys);
    px_wipe(&keys, sizeof(keys));
    px_link_handshake_forget(l->handshake);
    px_link_path_init(&r->path, l->ours, &o->rng, &path_ops, l);
    do {
        o->rng.fill(o->rng.ctx, &r->index, sizeof(r->index));
    } while (find_by_index(o, r->index) != NULL);
    px_map_insert(&o->by_index, &r->by_index, index_key(&r->index));
    r->on = true;
    px_link_tell_index(l, r->index);
    start_if_ready(l);
}

void px_link_roam_down(struct px_link *l)
{
    struct px_link_roam *r = &l->roam;
    px_heap_remove(&l->overlay->asking, &r->asking);
    if (!r->on)
        return;
    r->on = false;
    px_map_remove(&l->overlay->by_index, &r->by_index);
    px_disco_deinit(&r->disco);
}

void px_link_roam_index(struct px_link *l, uint64_t peer_index)
{
    if (l->roam.peer_known) { /* SPEC paths §3: once */
        px_link_fail(l, PX_EPROTO, PX_CLOSE_PROTOCOL);
        return;
    }
    l->roam.peer_known = true;
    l->roam.peer_index = peer_index;
    start_if_ready(l);
}

/* ---- events ---- */

static void doubt(struct px_link *l)
{
    struct px_overlay *o = l->overlay;
    if (!l->roam.on || l->conn == NULL)
        return;
    px_link_path_doubt(&l->roam.path, o->now);
    note_asking(l);
}

/* Told again and again while it lasts; one doubt asks as often as is good. */
void px_link_on_silent(void *ctx)
{
    struct px_link *l = ctx;
    if (l->roam.path.state != PX_LINK_PATH_DOUBT && !l->overlay->passive)
        doubt(l);
}

void px_link_on_path_changed(void *ctx)
{
    struct px_link *l = ctx;
    struct px_overlay *o = l->overlay;
    if (l->roam.on && l->conn != NULL) {
        px_link_path_moved(&l->roam.path, o->now);
        note_asking(l);
    }
    if (l->state == PX_LINK_UP && l->was_up && o->ops.path_changed != NULL)
        o->ops.path_changed(o->ops_ctx, l);
}

void px_link_on_stray(void *ctx, const struct px_path *path, size_t len)
{
    struct px_link *l = ctx;
    if (l->roam.on)
        px_link_path_stray(&l->roam.path, path, len, l->overlay->now);
}

void px_overlay_disco_input(struct px_overlay *o, const struct px_path *path,
                            struct px_slice datagram)
{
    struct px_disco_packet packet;
    uint64_t index;
    if (px_disco_index(datagram, &index) != 0)
        return;
    struct px_link *l = find_by_index(o, index);
    if (l == NULL || l->state != PX_LINK_UP || l->conn == NULL ||
        px_disco_open(&l->roam.disco, datagram, &packet) != 0)
        return;
    px_link_path_input(&l->roam.path, path, &packet, o->now);
    note_asking(l);
}

void px_link_suggest(struct px_link *l, const struct px_addr *remote)
{
    if (!l->roam.on || remote->family == PX_ADDR_NONE)
        return;
    px_link_path_suggest(&l->roam.path, remote, l->overlay->now);
    if (l->conn != NULL)
        note_asking(l);
}

void px_link_prefer(struct px_link *l, const struct px_addr *remote)
{
    if (!l->roam.on || !l->roam.peer_known || l->conn == NULL || remote->family == PX_ADDR_NONE)
        return;
    px_link_path_prefer(&l->roam.path, remote, l->overlay->now);
    note_asking(l);
}

bool px_link_is_lost(const struct px_link *l)
{
    return l->roam.on && px_link_path_is_lost(&l->roam.path, l->overlay->now);
}

void px_overlay_network_changed(struct px_overlay *o, px_nsec now)
{
    o->now = PX_MAX(o->now, now);
    PX_LIST_EACH(it, &o->links) {
        struct px_link *l = PX_CONTAINER_OF(it, struct px_link, all);
        if (l->state != PX_LINK_UP)
            continue;
        px_link_path_hurry(&l->roam.path, o->now);
        doubt(l);
    }
}

void px_overlay_roam_run(struct px_overlay *o)
{
    struct px_heap_node *top;
    for (size_t left = o->asking.len;
         left > 0 && (top = px_heap_top(&o->asking)) != NULL && top->key <= o->now; left--) {
        struct px_link *l = from_asking(top);
        px_heap_remove(&o->asking, top);
        if (l->conn == NULL)
            continue;
        px_link_path_run(&l->roam.path, px_quic_conn_heard_at(l->conn), o->now);
        note_asking(l);
    }
}

px_nsec px_overlay_roam_deadline(const struct px_overlay *o)
{
    const struct px_heap_node *top = px_heap_top(&o->asking);
    return top != NULL ? top->key : PX_NEVER;
}

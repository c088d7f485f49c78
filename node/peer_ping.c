/* Round trips on the links of peers, asked for by people and scripts. */
#include <stdlib.h>

#include "node/peers_internal.h"

struct ping {
    struct px_list node; /* px_peers.pings */
    const struct px_link *link;
    uint64_t nonce;
    px_nsec deadline;
    void (*done)(void *ctx, int err, px_nsec rtt);
    void *ctx;
};

static struct ping *from_node(struct px_list *node)
{
    return PX_CONTAINER_OF(node, struct ping, node);
}

static void ping_free(struct px_peers *set, struct ping *p)
{
    px_list_remove(&p->node);
    set->ping_count--;
    free(p);
}

static void rearm(struct px_peers *set);

static struct ping *find(struct px_peers *set, bool (*ends)(const struct ping *p, const void *arg),
                         const void *arg)
{
    PX_LIST_EACH(it, &set->pings)
        if (ends(from_node(it), arg))
            return from_node(it);
    return NULL;
}

/* Who is told may ping again or cancel others, so each is looked for anew. */
static void end_some(struct px_peers *set, bool (*ends)(const struct ping *p, const void *arg),
                     const void *arg, int err, px_nsec rtt)
{
    struct ping *found;
    while ((found = find(set, ends, arg)) != NULL) {
        const struct ping p = *found;
        ping_free(set, found);
        p.done(p.ctx, err, rtt);
    }
    rearm(set);
}

static bool is_late(const struct ping *p, const void *now)
{
    return p->deadline <= *(const px_nsec *)now;
}

static bool is_of_link(const struct ping *p, const void *link)
{
    return link == NULL || p->link == link;
}

static bool is_same(const struct ping *p, const void *other)
{
    const struct ping *o = other;
    return p->link == o->link && p->nonce == o->nonce;
}

static void on_timer(uv_timer_t *t)
{
    px_nsec now = px_now_io();
    end_some(t->data, is_late, &now, PX_ETIMEDOUT, 0);
}

static void rearm(struct px_peers *set)
{
    px_nsec next = PX_NEVER, now = px_now_io();
    if (set->closing)
        return;
    PX_LIST_EACH(it, &set->pings)
        next = PX_MIN(next, from_node(it)->deadline);
    if (next == PX_NEVER)
        (void)uv_timer_stop(&set->ping_timer);
    else
        (void)uv_timer_start(&set->ping_timer, on_timer,
                             next > now ? (next - now) / PX_MSEC + 1 : 0, 0);
}

void px_peer_on_pong(void *ctx, struct px_link *link, uint64_t nonce, px_nsec rtt)
{
    const struct ping answered = {.link = link, .nonce = nonce};
    end_some(ctx, is_same, &answered, 0, rtt);
}

void px_peer_pings_end(struct px_peers *set, const struct px_link *link, int err)
{
    if (set->ping_count > 0)
        end_some(set, is_of_link, link, err, 0);
}

int px_peers_ping(struct px_peers *set, const struct px_peer_id *id, px_nsec timeout,
                  void (*done)(void *ctx, int err, px_nsec rtt), void *ctx)
{
    const struct px_peer *peer = px_peer_manager_find(set->manager, id);
    if (peer == NULL)
        return PX_ENOENT;
    if (peer->link == NULL)
        return PX_EOFFLINE;
    if (set->ping_count >= PX_PEER_PINGS_MAX)
        return PX_EBUSY;
    struct ping *p = malloc(sizeof(*p));
    if (p == NULL)
        return PX_ENOMEM;
    *p = (struct ping){
        .link = peer->link, .deadline = px_now_io() + timeout, .done = done, .ctx = ctx};
    int err = px_link_ping(peer->link, &p->nonce);
    if (err != 0) {
        free(p);
        return err == PX_ESTATE ? PX_EOFFLINE : err;
    }
    px_list_push_back(&set->pings, &p->node);
    set->ping_count++;
    rearm(set);
    return 0;
}

void px_peers_ping_cancel(struct px_peers *set, void *ctx)
{
    PX_LIST_EACH(it, &set->pings)
        if (from_node(it)->ctx == ctx)
            ping_free(set, from_node(it));
    rearm(set);
}

int px_peer_pings_init(struct px_peers *set)
{
    px_list_init(&set->pings);
    if (uv_timer_init(set->config.loop, &set->ping_timer) != 0)
        return PX_EIO;
    set->ping_timer.data = set;
    return 0;
}

static void on_timer_closed(uv_handle_t *h)
{
    px_peers_part_closed(h->data);
}

void px_peer_pings_close(struct px_peers *set)
{
    uv_close((uv_handle_t *)&set->ping_timer, on_timer_closed);
}

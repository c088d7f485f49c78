/* HTTP/3 with one connected peer: it is served from the cache service and is somebody to GET from.
 */
#include <stdlib.h>
#include <string.h>

#include "node/peers_internal.h"
#include "relay/accounts.h"

/* ---- the peer as somebody to GET from ---- */

static struct px_peer_session *from_cache(struct px_cache_peer *c)
{
    return PX_CONTAINER_OF(c, struct px_peer_session, cache);
}

static int cache_get(struct px_cache_peer *c, struct px_slice path, uint64_t range_first,
                     const struct px_h3_client_ops *ops, void *ctx, struct px_cache_fetch **ret)
{
    struct px_h3_exchange *x;
    int err = px_h3_get(from_cache(c)->h3, false, path, range_first, ops, ctx, &x);
    if (err != 0)
        return err;
    *ret = (struct px_cache_fetch *)x;
    return 0;
}

static void cache_consume(struct px_cache_peer *c, struct px_cache_fetch *f, uint64_t n)
{
    (void)c;
    px_h3_consume((struct px_h3_exchange *)f, n);
}

static void cache_cancel(struct px_cache_peer *c, struct px_cache_fetch *f)
{
    (void)c;
    px_h3_cancel((struct px_h3_exchange *)f);
}

static const struct px_cache_peer_ops cache_ops = {cache_get, cache_consume, cache_cancel};

/* ---- what it carried ---- */

static struct px_peer_traffic traffic(const struct px_peer_session *s)
{
    struct px_peer_traffic t = {.peer = s->cache.id,
                                .sent = px_cache_session_sent(s->server),
                                .received = s->cache.nar_received};
    memcpy(t.session, s->session, sizeof(t.session));
    return t;
}

void px_peers_each_traffic(struct px_peers *set,
                           void (*each)(void *ctx, const struct px_peer_traffic *t), void *ctx)
{
    PX_LIST_EACH(it, &set->sessions) {
        const struct px_peer_traffic t = traffic(PX_CONTAINER_OF(it, struct px_peer_session, node));
        each(ctx, &t);
    }
}

uint64_t px_peers_moved(const struct px_peers *set)
{
    uint64_t n = set->moved_by_ended;
    PX_LIST_EACH(it, &set->sessions) {
        const struct px_peer_session *s = PX_CONTAINER_OF(it, struct px_peer_session, node);
        n += px_cache_session_sent(s->server) + s->cache.nar_received;
    }
    return n;
}

static void take_session_id(struct px_peer_session *s, const struct px_link *link)
{
    uint8_t binding[PX_LINK_BINDING_LEN];
    px_link_binding(link, binding);
    px_transfer_session(px_slice(binding, sizeof(binding)), s->session);
    px_wipe(binding, sizeof(binding));
}

/* ---- life ---- */

void px_peer_session_rename(struct px_peer_session *s, const struct px_peer *p)
{
    s->cache.name = p->name[0] != '\0' ? p->name : s->id_text;
}

int px_peer_session_new(struct px_peers *set, struct px_peer *p, struct px_peer_session **ret)
{
    struct px_quic_stats stats;
    struct px_peer_session *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return PX_ENOMEM;
    s->set = set;
    px_list_init(&s->node);
    int err = px_cache_session_new(set->config.service, &p->id, &s->server);
    if (err == 0)
        err = px_h3_new(p->link, &px_cache_session_ops, s->server, &s->h3);
    if (err != 0) {
        px_peer_session_free(s);
        return err;
    }
    px_link_stats(p->link, &stats);
    take_session_id(s, p->link);
    memcpy(s->id_text, p->id_text, sizeof(s->id_text));
    s->cache = (struct px_cache_peer){.ops = &cache_ops, .id = p->id, .rtt_ns = stats.rtt_ns};
    px_peer_session_rename(s, p);
    px_list_push_back(&set->sessions, &s->node);
    *ret = s;
    return 0;
}

void px_peer_session_free(struct px_peer_session *s)
{
    if (s == NULL)
        return;
    px_h3_free(s->h3);
    s->h3 = NULL;
    if (!px_list_empty(&s->node)) { /* it was offered to others */
        const struct px_peer_traffic t = traffic(s);
        s->set->moved_by_ended += t.sent + t.received;
        if (s->set->config.link_ended != NULL)
            s->set->config.link_ended(s->set->config.ctx, &t);
        s->set->config.peer_gone(s->set->config.ctx, &s->cache);
    }
    px_list_remove(&s->node);
    px_cache_session_free(s->server);
    free(s);
}

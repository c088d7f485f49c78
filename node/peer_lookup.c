/* Host names of peers, looked up by the system a few at a time: getaddrinfo can block a thread of
 * libuv for long, and others need those threads too. */
#include <stdlib.h>

#include "node/peers_internal.h"
#include "transport/sockaddr.h"

struct lookup {
    struct px_list node; /* px_peers.lookups */
    struct px_peers *set;
    struct px_peer_id id;
    uint64_t token;
    uint16_t port;
    char *host;
    bool running;
    uv_getaddrinfo_t req;
};

static void start_some(struct px_peers *set);

static void lookup_free(struct lookup *l)
{
    l->set->lookup_count--;
    l->set->lookups_running -= l->running;
    px_list_remove(&l->node);
    free(l->host);
    free(l);
}

static size_t collect(const struct addrinfo *res, uint16_t port,
                      struct px_addr addrs[PX_RACE_PER_NAME_MAX])
{
    size_t n = 0;
    for (; res != NULL && n < PX_RACE_PER_NAME_MAX; res = res->ai_next) {
        px_sockaddr_to_addr(res->ai_addr, &addrs[n]);
        addrs[n].port = port;
        n += addrs[n].family != PX_ADDR_NONE;
    }
    return n;
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
    struct lookup *l = req->data;
    struct px_peers *set = l->set;
    struct px_addr addrs[PX_RACE_PER_NAME_MAX];
    size_t n = status == 0 ? collect(res, l->port, addrs) : 0;
    uv_freeaddrinfo(res);
    if (!set->closing) {
        px_peer_manager_resolved(set->manager, &l->id, l->token, addrs, n,
                                 status == UV_ENOMEM || status == UV_EAI_MEMORY ? PX_ENOMEM
                                 : n == 0                                       ? PX_ENOENT
                                                                                : 0,
                                 px_now_io());
        px_peers_rearm(set);
    }
    lookup_free(l);
    if (set->closing)
        px_peers_part_closed(set);
    else
        start_some(set);
}

static int start(struct lookup *l)
{
    static const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM};
    l->req.data = l;
    if (uv_getaddrinfo(l->set->config.loop, &l->req, on_resolved, l->host, NULL, &hints) != 0)
        return PX_EADDR;
    l->running = true;
    l->set->lookups_running++;
    return 0;
}

static void start_some(struct px_peers *set)
{
    PX_LIST_EACH(it, &set->lookups) {
        struct lookup *l = PX_CONTAINER_OF(it, struct lookup, node);
        if (set->lookups_running >= PX_PEER_LOOKUPS_PARALLEL)
            return;
        if (l->running)
            continue;
        int err = start(l);
        if (err != 0) {
            px_peer_manager_resolved(set->manager, &l->id, l->token, NULL, 0, err, px_now_io());
            lookup_free(l);
        }
    }
}

int px_peer_lookup(void *ctx, const struct px_peer_id *id, const char *host_port, uint64_t token)
{
    struct px_peers *set = ctx;
    struct px_slice host;
    uint16_t port;
    if (px_peer_addr_is_relay(host_port))
        return px_peer_relay_call(set, id, host_port, token);
    int err = px_hostport_split(px_slice_cstr(host_port), &host, &port);
    if (err != 0)
        return err;
    if (set->lookup_count >= PX_PEER_LOOKUPS_MAX)
        return PX_EBUSY;
    struct lookup *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return PX_ENOMEM;
    *l = (struct lookup){.set = set, .id = *id, .token = token, .port = port};
    l->host = px_slice_dup_cstr(host);
    px_list_push_back(&set->lookups, &l->node);
    set->lookup_count++;
    err = l->host == NULL ? PX_ENOMEM : 0;
    if (err == 0 && set->lookups_running < PX_PEER_LOOKUPS_PARALLEL)
        err = start(l);
    if (err != 0)
        lookup_free(l);
    return err;
}

void px_peer_lookups_close(struct px_peers *set)
{
    PX_LIST_EACH(it, &set->lookups) {
        struct lookup *l = PX_CONTAINER_OF(it, struct lookup, node);
        if (!l->running) {
            lookup_free(l);
            continue;
        }
        set->open_parts++; /* its callback comes in any case */
        (void)uv_cancel((uv_req_t *)&l->req);
    }
}

/* What is logged of peers: lines of the manager's and the overlay's events. */
#include "node/peers_internal.h"

static const char *path_name(const struct px_peers *set, const struct px_addr *remote)
{
    if (px_addr_is_circuit(remote))
        return "relayed";
    return px_peers_on_link(set, remote) ? "lan" : "direct";
}

void px_peer_log_connected(const struct px_peers *set, const struct px_peer *p)
{
    struct px_path path;
    struct px_quic_stats stats;
    char remote[PX_ADDR_TEXT_MAX], local[PX_ADDR_TEXT_MAX];
    px_link_path(p->link, &path);
    px_link_stats(p->link, &stats);
    px_log_event(set->config.log, PX_LOG_INFO, p->guest ? "guest.connected" : "peer.connected",
                 PX_F_STR("peer", p->id_text), PX_F_STR("name", p->name),
                 PX_F_STR("addr", px_addr_format(&path.remote, remote)),
                 PX_F_STR("local", px_addr_format(&path.local, local)),
                 PX_F_STR("path", path_name(set, &path.remote)),
                 PX_F_STR("agent", px_link_agent(p->link)),
                 PX_F_STR("dialled_by", p->ours ? "us" : "peer"),
                 PX_F_U64("rtt_us", stats.rtt_ns / PX_USEC));
}

void px_peer_log_stats(const struct px_peers *set, const struct px_peer *p, const char *event,
                       int err, bool by_peer)
{
    struct px_quic_stats s;
    px_link_stats(p->link, &s);
    px_log_event(set->config.log, PX_LOG_INFO, event, PX_F_STR("peer", p->id_text),
                 PX_F_STR("name", p->name), PX_F_U64("bytes_sent", s.bytes_sent),
                 PX_F_U64("bytes_received", s.bytes_received),
                 PX_F_U64("packets_lost", s.packets_lost), PX_F_U64("rtt_us", s.rtt_ns / PX_USEC),
                 PX_F_U64("seconds", (px_now_io() - p->up_at) / PX_SEC),
                 PX_F_STR("ended_by", by_peer ? "peer" : "us"), PX_F_ERR(err));
}

void px_peer_log_path(const struct px_peers *set, const struct px_peer *p)
{
    struct px_path path;
    char remote[PX_ADDR_TEXT_MAX], local[PX_ADDR_TEXT_MAX];
    px_link_path(p->link, &path);
    px_log_event(set->config.log, PX_LOG_INFO, "peer.path", PX_F_STR("peer", p->id_text),
                 PX_F_STR("name", p->name), PX_F_STR("addr", px_addr_format(&path.remote, remote)),
                 PX_F_STR("local", px_addr_format(&path.local, local)),
                 PX_F_STR("path", path_name(set, &path.remote)));
}

void px_peer_on_attempt_failed(void *ctx, const struct px_peer *p, const struct px_addr *addr,
                               const char *name, int err)
{
    struct px_peers *set = ctx;
    char text[PX_ADDR_TEXT_MAX];
    px_log_event(set->config.log, PX_LOG_DEBUG, "dial.attempt_failed", PX_F_STR("peer", p->id_text),
                 PX_F_STR("name", p->name), PX_F_STR("addr", px_addr_format(addr, text)),
                 PX_F_STR("host", name), PX_F_ERR(err));
}

/* One address stands for all: the one whose failure tells most. */
static const struct px_known_addr *telling(const struct px_peer *p, int err)
{
    for (size_t i = 0; i < p->addrs.count; i++)
        if (p->addrs.all[i].last_err == err)
            return &p->addrs.all[i];
    return NULL;
}

void px_peer_on_round_failed(void *ctx, const struct px_peer *p, int err)
{
    struct px_peers *set = ctx;
    char text[PX_AUTH_ADDR_MAX];
    px_nsec now = px_now_io();
    const struct px_known_addr *k = telling(p, err);
    px_log_event(set->config.log, p->plan.rounds <= 1 ? PX_LOG_WARN : PX_LOG_DEBUG, "dial.failed",
                 PX_F_STR("peer", p->id_text), PX_F_STR("name", p->name),
                 PX_F_STR("addr", k != NULL ? px_peer_addr_text(k, text) : NULL),
                 PX_F_U64("addrs", p->addrs.count), PX_F_U64("rounds", p->plan.rounds),
                 PX_F_U64("next_ms", p->plan.due > now ? (p->plan.due - now) / PX_MSEC : 0),
                 PX_F_ERR(err));
}

void px_peer_on_found(void *ctx, const struct px_peer *p, const struct px_addr *addr,
                      enum px_source source)
{
    struct px_peers *set = ctx;
    char text[PX_ADDR_TEXT_MAX];
    px_log_event(set->config.log, PX_LOG_INFO, "peer.found", PX_F_STR("peer", p->id_text),
                 PX_F_STR("name", p->name), PX_F_STR("addr", px_addr_format(addr, text)),
                 PX_F_STR("source", px_source_name(source)));
}

/* Strangers can cause these lines: only so many in a window, then their number. */
static bool may_log_refused(struct px_peers *set)
{
    px_nsec now = px_now_io();
    if (now - set->refused_window >= PX_PEER_REFUSED_WINDOW) {
        if (set->refused_silent > 0)
            px_log_event(set->config.log, PX_LOG_WARN, "peer.refused_more",
                         PX_F_U64("lines", set->refused_silent));
        set->refused_window = now;
        set->refused_lines = 0;
        set->refused_silent = 0;
    }
    if (set->refused_lines < PX_PEER_REFUSED_LINES) {
        set->refused_lines++;
        return true;
    }
    set->refused_silent++;
    return false;
}

void px_peer_on_refused(void *ctx, const struct px_addr *remote, const struct px_peer_id *id,
                        int err, bool by_peer)
{
    struct px_peers *set = ctx;
    char addr[PX_ADDR_TEXT_MAX], peer[PX_PEER_ID_TEXT_MAX];
    /* a dialler that races our addresses hangs up on all but one */
    bool usual = by_peer && (err == PX_EDUPLICATE || err == PX_ECLOSED);
    if (!usual && !may_log_refused(set))
        return;
    px_log_event(set->config.log, usual ? PX_LOG_DEBUG : PX_LOG_WARN, "peer.refused",
                 PX_F_STR("addr", px_addr_format(remote, addr)),
                 PX_F_STR("peer", id != NULL ? px_peer_id_format(id, peer) : NULL),
                 PX_F_STR("refused_by", by_peer ? "peer" : "us"), PX_F_ERR(err));
}

void px_peer_on_cloned(void *ctx, const struct px_link *link)
{
    struct px_peers *set = ctx;
    char peer[PX_PEER_ID_TEXT_MAX];
    px_log_event(
        set->config.log, PX_LOG_WARN, "peer.cloned",
        PX_F_STR("peer", px_peer_id_format(px_link_peer(link), peer)),
        PX_F_STR("hint",
                 "two machines seem to use this key: run `peerix init` on one of them with a "
                 "home of its own"));
}

/* The peers of a running node: who is listed, who is connected, who must be dialled.
 *
 * Owns the overlay. Each connected peer has an HTTP/3 pair of sessions, serves from the cache
 * service and is offered to the substituter. */
#ifndef PX_NODE_PEERS_H
#define PX_NODE_PEERS_H

#include "node/allowlist.h"
#include "node/nix/cache_peer.h"
#include "node/nix/cache_service.h"
#include "transport/overlay_io.h"

struct px_peers;

struct px_peers_config {
    uv_loop_t *loop;
    const struct px_log *log;
    const struct px_identity *identity; /* borrowed */
    struct px_allowlist *allowlist;     /* borrowed */
    struct px_cache_service *service;   /* borrowed */
    struct px_addr listen;
    struct px_slice network;
    px_nsec dial_max;  /* longest pause between two dials of a peer */
    size_t packet_max; /* px_quic_config.max_udp_payload */
    /* A connected peer is going: nothing of it may be used after this returns. */
    void (*peer_gone)(void *ctx, struct px_cache_peer *peer);
    /* A connected peer whose `get` said PX_EAGAIN may be asked again. */
    void (*peer_ready)(void *ctx, struct px_cache_peer *peer);
    void *ctx;
};

/* Binds the socket and starts to dial. Errors of px_overlay_io_new. */
PX_MUST_CHECK int px_peers_new(const struct px_peers_config *config, struct px_peers **ret);
/* Closes all links with PX_CLOSE_SHUTDOWN; `done` is called from the loop when all is gone. */
void px_peers_close(struct px_peers *p, void (*done)(void *ctx), void *ctx);
/* The allowlist changed: drops who is not listed any more, dials who is new. */
void px_peers_reload(struct px_peers *p);
/* Fits px_substituter_config.peers; ctx is the px_peers. */
size_t px_peers_connected(void *peers, struct px_cache_peer **ret, size_t cap);
/* The UDP address bound. */
const struct px_addr *px_peers_local(const struct px_peers *p);
/* Logs one `peer.stats` line for each connected peer. */
void px_peers_log_stats(struct px_peers *p);

#endif

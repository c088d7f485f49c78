/* The relay server on a libuv loop: one UDP socket for links and packets, one to probe from, and a
 * TCP port for pipes (docs/spec/relay-tls.md). */
#ifndef PX_RELAY_SERVER_IO_H
#define PX_RELAY_SERVER_IO_H

#include "auth/identity.h"
#include "proto/base/log.h"
#include "relay/server.h"
#include "transport/overlay_io.h"
#include "transport/tls_pipes_io.h"

struct px_relay_server_io;

struct px_relay_server_io_config {
    uv_loop_t *loop;
    const struct px_log *log;           /* borrowed: admissions, refusals, ends */
    const struct px_identity *identity; /* borrowed */
    struct px_addr listen;
    struct px_addr tcp;                   /* for pipes; no address: none */
    struct px_slice network;              /* copied */
    const struct px_relay_store *store;   /* borrowed; may be NULL */
    const struct px_asn_table *asn_table; /* borrowed; may be NULL */
    struct px_relay_limits limits;
    bool open;
    bool (*is_member)(void *ctx, const struct px_peer_id *id);
    void *ctx;
};

/* PX_EADDR & co. from the socket; what the store says. Without its TCP port, for whatever reason,
 * the relay serves all the same; the log tells. */
PX_MUST_CHECK int px_relay_server_io_new(const struct px_relay_server_io_config *config,
                                         struct px_relay_server_io **ret);
const struct px_addr *px_relay_server_io_local(const struct px_relay_server_io *io);
/* Of the TCP port; NULL if there is none. */
const struct px_addr *px_relay_server_io_tcp(const struct px_relay_server_io *io);
/* Members, or whether it is open, changed. */
void px_relay_server_io_recheck(struct px_relay_server_io *io, bool open);
void px_relay_server_io_set_limits(struct px_relay_server_io *io,
                                   const struct px_relay_limits *limits);
void px_relay_server_io_stats(const struct px_relay_server_io *io,
                              struct px_relay_server_stats *ret, struct px_udp_stats *ret_udp);
/* Tells nodes that the relay goes, ends it `left` later: circuits, links, handles; `done` is called
 * from the loop, after which io is gone. Called again it goes at once. */
void px_relay_server_io_stop(struct px_relay_server_io *io, px_nsec left, void (*done)(void *ctx),
                             void *ctx);

#endif

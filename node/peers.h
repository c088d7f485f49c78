/* The peers of a running node: who is listed, who is connected, who must be dialled.
 *
 * Owns the overlay. Each connected peer has an HTTP/3 pair of sessions, serves from the cache
 * service and is offered to the substituter. */
#ifndef PX_NODE_PEERS_H
#define PX_NODE_PEERS_H

#include "node/allowlist.h"
#include "node/discovery.h"
#include "node/nix/cache_peer.h"
#include "node/nix/cache_service.h"
#include "node/sqlite_db.h"
#include "relay/relay_msg.h"
#include "transport/tls_pipes_io.h"

struct px_peers;

/* Who takes the streams of one type (proto/stream_type.h) besides HTTP/3. */
struct px_peer_handler {
    uint8_t type;
    bool guests; /* also from connected peers that are not listed, see px_peers_config.guest */
    const struct px_stream_ops *(*stream)(void *ctx, struct px_link *link, int64_t id,
                                          void **ret_ctx);
    void *ctx;
};
#define PX_PEER_HANDLERS_MAX 8

/* NAR content that moved over one link, as both its ends count it (docs/spec/relay.md §8). */
struct px_peer_traffic {
    struct px_peer_id peer;
    uint8_t session[PX_RELAY_SESSION_LEN]; /* of the link */
    uint64_t sent, received;               /* since it is up */
};

/* Which addresses may be dialled. On-link means px_net_monitor_on_link. */
enum px_mode {
    PX_MODE_LAN, /* on-link ones only, from all sources */
    PX_MODE_WAN, /* no LAN discovery */
    PX_MODE_BOTH,
};

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
    enum px_mode mode;
    struct px_net_monitor *monitor; /* borrowed */
    struct px_sqlite *state;        /* borrowed; the address book lives there. NULL: none */
    /* May this peer connect although it is not listed? It then reaches handlers with `guests` only.
     * NULL: never. */
    bool (*guest)(void *ctx, const struct px_peer_id *id);
    /* Is this unlisted peer somebody who need not say that it comes as a guest, since it cannot
     * know that it is one (docs/spec/rotation.md §3)? `guest` must say yes to it too. NULL: never.
     */
    bool (*expected)(void *ctx, const struct px_peer_id *id);
    /* A listed peer is connected, with HTTP/3. NULL: nobody asks. */
    void (*peer_up)(void *ctx, const struct px_peer_id *id);
    /* A connected peer is going: nothing of it may be used after this returns. */
    void (*peer_gone)(void *ctx, struct px_cache_peer *peer);
    /* A connected peer whose `get` said PX_EAGAIN may be asked again. */
    void (*peer_ready)(void *ctx, struct px_cache_peer *peer);
    /* The link to a connected peer ended, having carried this. NULL: nobody asks. */
    void (*link_ended)(void *ctx, const struct px_peer_traffic *t);
    void *ctx;
};

/* Binds the socket and starts to dial. Errors of px_overlay_io_new. */
PX_MUST_CHECK int px_peers_new(const struct px_peers_config *config, struct px_peers **ret);
/* Closes all links with PX_CLOSE_SHUTDOWN; `done` is called from the loop when all is gone. */
void px_peers_close(struct px_peers *p, void (*done)(void *ctx), void *ctx);
/* Before a close: connected peers are told to ask somebody else from now on; what they asked so far
 * is served on. */
void px_peers_goaway(struct px_peers *p);
/* How many requests of peers are being served. */
size_t px_peers_serving(const struct px_peers *p);
/* The allowlist changed: drops who is not listed any more, dials who is new. */
void px_peers_reload(struct px_peers *p);
/* Fits px_substituter_config.peers; ctx is the px_peers. */
size_t px_peers_connected(void *peers, struct px_cache_peer **ret, size_t cap);

/* Every connected peer's link, with what it has carried so far. */
void px_peers_each_traffic(struct px_peers *p,
                           void (*each)(void *ctx, const struct px_peer_traffic *t), void *ctx);
/* What all links together carried since the start, also those that ended: has anything moved? Cheap
 * enough for every turn of the loop. */
uint64_t px_peers_moved(const struct px_peers *p);

/* ---- what discovery, pairing and the control API use ---- */

/* Streams of a further type go to `handler` (copied). PX_EEXIST, PX_ELIMIT. */
PX_MUST_CHECK int px_peers_add_handler(struct px_peers *p, const struct px_peer_handler *handler);
/* Fits px_discovery_env.found: a listed peer seems to be at addr. Unlisted ones are ignored. */
void px_peers_found(void *peers, const struct px_peer_id *id, const struct px_addr *addr,
                    enum px_source source);

/* What is known of one peer; strings are views that live until the loop turns. */
enum px_peer_state {
    PX_PEER_OFFLINE, /* no address to dial; it may still come to us */
    PX_PEER_WAITING, /* next dial in `next_dial` */
    PX_PEER_CONNECTING,
    PX_PEER_GUEST, /* linked, but not as a listed peer: nothing is fetched or served */
    PX_PEER_CONNECTED,
    PX_PEER_HELD, /* hung up by px_peers_disconnect */
};
const char *px_peer_state_name(enum px_peer_state s);
struct px_peer_addr {
    char text[PX_AUTH_ADDR_MAX]; /* HOST:PORT */
    enum px_source source;
    px_nsec last_good; /* ago; PX_NEVER: not yet */
    int last_err;      /* of the latest dial; 0: none or good */
};
/* The relay that a circuit goes through; strings are views. */
struct px_circuit_view {
    const char *name;
    struct px_peer_id id;
    struct px_addr addr;
    px_nsec rtt; /* from here to there; 0: not known */
};
#define PX_PEER_ADDRS_MAX 42
struct px_peer_info {
    struct px_peer_id id;
    const char *name; /* "" if none */
    bool listed;
    uint32_t grants;
    enum px_peer_state state;
    /* while connected or guest */
    struct px_link *link;
    const char *agent;
    struct px_path path;
    bool relayed;                 /* `path` is a circuit, */
    struct px_circuit_view relay; /* through this relay; name "" if it has just ended */
    bool dialled_by_us;
    px_nsec connected_for;
    struct px_quic_stats stats;
    /* otherwise */
    px_nsec next_dial; /* from now; PX_NEVER: none planned */
    int last_err;      /* why the latest dial or connection ended */
    unsigned failures; /* rounds in a row */
    size_t addr_count;
    struct px_peer_addr addrs[PX_PEER_ADDRS_MAX]; /* in the order they would be dialled */
};
void px_peers_each(struct px_peers *p, void (*each)(void *ctx, const struct px_peer_info *info),
                   void *ctx);
/* PX_ENOENT when there is no such peer. */
PX_MUST_CHECK int px_peers_info(struct px_peers *p, const struct px_peer_id *id,
                                struct px_peer_info *ret);
/* Dials a listed peer now; addr (HOST:PORT, or NULL) is tried first. `done` is called once, with 0
 * when the peer is connected. PX_ENOENT, PX_EOFFLINE (no address known), PX_EADDR. */
PX_MUST_CHECK int px_peers_connect(struct px_peers *p, const struct px_peer_id *id,
                                   const char *addr, void (*done)(void *ctx, int err), void *ctx);
/* Ends the link, if there is one, and dials anew at once: it seems dead, or is that of a guest. */
void px_peers_renew(struct px_peers *p, const struct px_peer_id *id);
/* Connected as a listed peer, with HTTP/3. */
bool px_peers_is_member(struct px_peers *p, const struct px_peer_id *id);
/* Hangs up and does not dial again until px_peers_connect, a changed entry or a restart; the peer
 * may still come. PX_ENOENT. */
PX_MUST_CHECK int px_peers_disconnect(struct px_peers *p, const struct px_peer_id *id);
/* Round trip on the peer's link, through its control stream. `done` is called once, PX_ETIMEDOUT
 * after `timeout`. PX_ENOENT, PX_EOFFLINE, PX_EBUSY. Cancel with px_peers_ping_cancel(ctx). */
PX_MUST_CHECK int px_peers_ping(struct px_peers *p, const struct px_peer_id *id, px_nsec timeout,
                                void (*done)(void *ctx, int err, px_nsec rtt), void *ctx);
void px_peers_ping_cancel(struct px_peers *p, void *ctx);
/* Dials a peer that need not be listed, at any of these addresses (HOST:PORT), for pairing. `up` is
 * called with the link (its streams are the caller's; a listed peer's existing link is handed out
 * as well), or `failed` once. */
struct px_guest_ops {
    void (*up)(void *ctx, struct px_link *link);
    void (*failed)(void *ctx, int err);
    /* After `up`: the link is gone. */
    void (*down)(void *ctx, int err);
};
PX_MUST_CHECK int px_peers_dial_guest(struct px_peers *p, const struct px_peer_id *id,
                                      const char *const *addrs, size_t addr_count,
                                      const struct px_guest_ops *ops, void *ctx);
/* Closes that link unless the peer has become listed, forgets ops. */
void px_peers_end_guest(struct px_peers *p, void *ctx);
/* The link of a guest, which is closed after PX_GUEST_TIME and sooner when many others come, stays
 * for that time now, and for `time` at least: it is known to be no stranger. */
void px_peers_keep_guest(struct px_peers *p, const struct px_peer_id *id, px_nsec time);
/* ---- what node/relays uses ---- */

/* Circuits through relays, and links to the relays themselves. A relay is no peer: its link reaches
 * no handler, and is asked for nothing. */
struct px_circuit_ops {
    /* A circuit to the peer is wanted through the relay of that name; `alone`: nothing else is
     * being tried. px_peers_circuit answers with this token, later. */
    int (*call)(void *ctx, const struct px_peer_id *id, const char *relay, bool alone,
                uint64_t token);
    /* px_overlay_io_set_carrier and _set_batch */
    int (*send)(void *ctx, const struct px_path *path, unsigned ecn, struct px_slice data,
                size_t segment);
    size_t (*batch)(void *ctx, const struct px_path *path, unsigned ecn, uint8_t *data, size_t len,
                    size_t segment);
    /* Is the circuit there, and through which relay? */
    bool (*look)(void *ctx, const struct px_addr *circuit, struct px_circuit_view *ret);
    /* A link that used the circuit ended, or moved away. */
    void (*left)(void *ctx, const struct px_addr *circuit);
    /* Nothing comes back on the path of the peer's link, told again and again while that lasts: see
     * px_overlay_ops.lost. `client`: this end is QUIC's client. */
    void (*lost)(void *ctx, const struct px_peer_id *id, const struct px_addr *remote, bool client);
    void (*network_changed)(void *ctx);
};
/* NULL takes them away. Copied. */
void px_peers_set_circuits(struct px_peers *p, const struct px_circuit_ops *ops, void *ctx);
/* The names of relays one can call through, best first, at most PX_PEER_RELAYS_MAX. */
#define PX_PEER_RELAYS_MAX 4
void px_peers_set_relays(struct px_peers *p, const char *const *names, size_t count);
/* What came of `call`. */
void px_peers_circuit(struct px_peers *p, const struct px_peer_id *id, uint64_t token,
                      const struct px_addr *circuit, int err);
/* May this peer reach us: listed and not hung up, or a guest? */
bool px_peers_may_come(struct px_peers *p, const struct px_peer_id *id);
/* Is it px_peers_config.expected? */
bool px_peers_expects(const struct px_peers *p, const struct px_peer_id *id);
bool px_peers_is_connected(struct px_peers *p, const struct px_peer_id *id);
/* Is the peer's link on this circuit? */
bool px_peers_link_on(struct px_peers *p, const struct px_peer_id *id,
                      const struct px_addr *circuit);
/* Where the peer's link goes now. False: there is none. */
bool px_peers_link_remote(struct px_peers *p, const struct px_peer_id *id, struct px_addr *ret);
/* Has nothing come back on the path of its link for a while? */
bool px_peers_in_doubt(struct px_peers *p, const struct px_peer_id *id);
/* px_link_suggest for the peer's link, unless it is there. */
void px_peers_suggest(struct px_peers *p, const struct px_peer_id *id, const struct px_addr *addr);
/* px_link_prefer for the peer's link if it is on any circuit. */
void px_peers_prefer(struct px_peers *p, const struct px_peer_id *id, const struct px_addr *addr);
/* Closes the links that are on circuits, with PX_CLOSE_SHUTDOWN. */
void px_peers_leave_circuits(struct px_peers *p);
/* A datagram that came through a circuit; in `batch` only. */
void px_peers_carried(struct px_peers *p, const struct px_addr *circuit, unsigned ecn,
                      struct px_slice datagram);
/* As px_overlay_io_send. */
PX_MUST_CHECK int px_peers_send(struct px_peers *p, const struct px_path *path, unsigned ecn,
                                struct px_slice data, size_t segment);

/* `down` comes once, also for a dial that failed. */
struct px_relay_link_ops {
    void (*up)(void *ctx, struct px_link *link);
    void (*down)(void *ctx, int err);
    void (*moved)(void *ctx);
    void (*pong)(void *ctx, px_nsec rtt);
};
/* Dials a relay. As px_overlay_dial; PX_ELIMIT with twice PX_PEER_RELAYS_MAX links,
 * PX_EOFFLINK in mode lan. */
PX_MUST_CHECK int px_peers_dial_relay(struct px_peers *p, const struct px_peer_id *id,
                                      const struct px_addr *addr,
                                      const struct px_relay_link_ops *ops, void *ctx,
                                      struct px_link **ret);
/* A pipe to a relay's TCP port (docs/spec/relay-tls.md): its address can be dialled when it is
 * open. As px_tls_pipes_dial; PX_EOFFLINK in mode lan. */
PX_MUST_CHECK int px_peers_open_pipe(struct px_peers *p, const struct px_addr *tcp,
                                     const char *name, const struct px_tls_pipes_ops *ops,
                                     void *ctx, struct px_addr *ret);
/* The link in it is up. */
void px_peers_pipe_proved(struct px_peers *p, const struct px_addr *pipe);
/* Without a callback. */
void px_peers_close_pipe(struct px_peers *p, const struct px_addr *pipe);
/* No callbacks with this ctx from now on; its link is closed. */
void px_peers_forget_relay(struct px_peers *p, void *ctx);

/* Fits px_net_listener.changed. */
void px_peers_network_changed(void *peers, enum px_net_change change);

/* The UDP address bound. */
const struct px_addr *px_peers_local(const struct px_peers *p);
/* Logs one `peer.stats` line for each connected peer. */
void px_peers_log_stats(struct px_peers *p);

#endif

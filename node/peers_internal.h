/* What the shell's parts share: node/peers.c (the set, what overlay and manager tell), peers_api.c
 * (what others ask), peer_session.c (HTTP/3 with one connected peer), peer_lookup.c (host names),
 * peer_ping.c. Nobody else includes it. */
#ifndef PX_NODE_PEERS_INTERNAL_H
#define PX_NODE_PEERS_INTERNAL_H

#include "node/address_book.h"
#include "node/h3.h"
#include "node/peer_manager.h"

#define PX_PEER_LOOKUPS_PARALLEL 2    /* threads of libuv they may take */
#define PX_PEER_LOOKUPS_MAX      4096 /* waiting */
#define PX_PEER_PINGS_MAX        64
/* Lines peer.refused, which strangers can cause, in one window. */
#define PX_PEER_REFUSED_LINES  20
#define PX_PEER_REFUSED_WINDOW (10 * PX_SEC)

/* A link to a relay, up or being dialled. */
struct px_peer_relay {
    struct px_list node; /* px_peers.relays */
    struct px_peer_id id;
    struct px_link *link;
    const struct px_relay_link_ops *ops; /* NULL: its owner forgot it */
    void *ctx;
};

/* A connected peer that is listed: HTTP/3 both ways. */
struct px_peer_session {
    struct px_list node; /* px_peers.sessions */
    struct px_peers *set;
    struct px_h3 *h3;
    struct px_cache_session *server;
    struct px_cache_peer cache;
    char id_text[PX_PEER_ID_TEXT_MAX];
    uint8_t session[PX_RELAY_SESSION_LEN]; /* for accounting */
};

struct px_peers {
    struct px_peers_config config;
    struct px_overlay_io *io;
    struct px_peer_manager *manager;
    struct px_address_book *book; /* NULL: none */
    struct px_list sessions;
    uint64_t moved_by_ended; /* sessions; NAR content */
    struct px_peer_handler handlers[PX_PEER_HANDLERS_MAX];
    size_t handler_count;
    uv_timer_t timer; /* of the manager */
    bool closing;
    void (*done)(void *ctx);
    void *done_ctx;
    int open_parts; /* the overlay, timers, name look-ups under way while closing */
    /* peer_lookup.c */
    struct px_list lookups; /* waiting and under way */
    size_t lookup_count, lookups_running;
    /* peer_ping.c */
    struct px_list pings;
    size_t ping_count;
    uv_timer_t ping_timer;
    /* peer_relay.c */
    struct px_list relays;
    struct px_tls_pipes *pipes;     /* NULL until one is needed */
    struct px_circuit_ops circuits; /* all NULL: none */
    void *circuits_ctx;
    /* log lines of refused strangers */
    px_nsec refused_window;
    unsigned refused_lines;
    uint64_t refused_silent;
};

/* peers.c: sets the timer anew; after every call of the manager. */
void px_peers_rearm(struct px_peers *set);
/* Is the address on a network this machine is attached to? */
bool px_peers_on_link(const struct px_peers *set, const struct px_addr *a);
/* Fits px_peer_manager_ops.usable; ctx is the px_peers. */
int px_peers_usable(void *ctx, const struct px_addr *a);
/* One of open_parts is gone. */
void px_peers_part_closed(struct px_peers *set);

/* peer_log.c; those with `on` fit the ops of manager and overlay, ctx is the px_peers */
void px_peer_log_connected(const struct px_peers *set, const struct px_peer *p);
void px_peer_log_stats(const struct px_peers *set, const struct px_peer *p, const char *event,
                       int err, bool by_peer);
void px_peer_log_path(const struct px_peers *set, const struct px_peer *p);
void px_peer_on_attempt_failed(void *ctx, const struct px_peer *p, const struct px_addr *addr,
                               const char *name, int err);
void px_peer_on_round_failed(void *ctx, const struct px_peer *p, int err);
void px_peer_on_found(void *ctx, const struct px_peer *p, const struct px_addr *addr,
                      enum px_source source);
void px_peer_on_refused(void *ctx, const struct px_addr *remote, const struct px_peer_id *id,
                        int err, bool by_peer);
void px_peer_on_cloned(void *ctx, const struct px_link *link);

/* peer_session.c */
PX_MUST_CHECK int px_peer_session_new(struct px_peers *set, struct px_peer *p,
                                      struct px_peer_session **ret);
/* Tells config.peer_gone. NULL is fine. */
void px_peer_session_free(struct px_peer_session *s);
/* The peer's name may have changed. */
void px_peer_session_rename(struct px_peer_session *s, const struct px_peer *p);

/* peer_lookup.c */
/* px_peer_manager_ops.resolve; ctx is the px_peers. */
PX_MUST_CHECK int px_peer_lookup(void *ctx, const struct px_peer_id *id, const char *host_port,
                                 uint64_t token);
/* Cancels them; each under way is one of open_parts. */
void px_peer_lookups_close(struct px_peers *set);

/* peer_relay.c */
/* Circuits in the place of host names: as px_peer_lookup, for PX_RELAY_ROUTE names. */
PX_MUST_CHECK int px_peer_relay_call(struct px_peers *set, const struct px_peer_id *id,
                                     const char *route, uint64_t token);
/* Is the circuit there, and through which relay? */
bool px_peer_circuit_look(const struct px_peers *set, const struct px_addr *circuit,
                          struct px_circuit_view *ret);
/* A link ended: if it was on a circuit, that one may go. */
void px_peer_circuit_left(struct px_peers *set, const struct px_link *link);
/* It moved. */
void px_peer_circuit_moved(struct px_peers *set, const struct px_addr *from,
                           const struct px_addr *to);
/* px_overlay_ops.lost; ctx is the px_peers. */
void px_peer_on_lost(void *ctx, struct px_link *link);
/* NULL when the link, or a link to that peer, is none to a relay. */
struct px_peer_relay *px_peer_relay_find(const struct px_peers *set, const struct px_link *link);
bool px_peer_relay_is_dialled(const struct px_peers *set, const struct px_peer_id *id);
void px_peer_relay_down(struct px_peer_relay *r, int err);
void px_peer_relays_free(struct px_peers *set);

/* peer_ping.c */
PX_MUST_CHECK int px_peer_pings_init(struct px_peers *set);
/* px_overlay_ops.pong; ctx is the px_peers. */
void px_peer_on_pong(void *ctx, struct px_link *link, uint64_t nonce, px_nsec rtt);
/* Those of a link that ends, or all (NULL), are told err. */
void px_peer_pings_end(struct px_peers *set, const struct px_link *link, int err);
/* The timer is one of open_parts. */
void px_peer_pings_close(struct px_peers *set);

#endif

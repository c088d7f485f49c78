/* The relay server (docs/spec/relay.md) as a core: control connections and packets in, frames,
 * packets and closes out. It knows nodes by their authenticated IDs and owns circuits, registry,
 * admission and accounts; sockets, links and files belong to the shell behind the ops. */
#ifndef PX_RELAY_SERVER_H
#define PX_RELAY_SERVER_H

#include "proto/close.h"
#include "relay/circuits.h"
#include "relay/limit_hits.h"
#include "relay/sources.h"
#include "relay/store.h"

struct px_relay_server;
struct px_relay_session; /* one node's control connection */

#define PX_RELAY_UNKNOWN_TIME       (5 * PX_SEC) /* for a node that has an invite to show */
#define PX_RELAY_UNKNOWN_BYTES      4096
#define PX_RELAY_UNKNOWN_MAX        64
#define PX_RELAY_LINKS_PER_SOURCE   16 /* of nodes that are neither member nor vouched */
#define PX_RELAY_LINKS_PER_ASN      256
#define PX_RELAY_REQUEST_RATE       50 /* a second and node */
#define PX_RELAY_REQUEST_BURST      200
#define PX_RELAY_WATCHES_MAX        4
#define PX_RELAY_PUSH_DELAY         (100 * PX_MSEC)
#define PX_RELAY_PUSH_GAP           PX_SEC /* between pushes to a node, however often records change */
#define PX_RELAY_PROBES             3
#define PX_RELAY_PROBE_GAP          (300 * PX_MSEC)
#define PX_RELAY_PROBE_TIME         (3 * PX_SEC)
#define PX_RELAY_PROBE_DATA         30000
#define PX_RELAY_PROBE_DATA_TIME    (20 * PX_SEC) /* to send them */
#define PX_RELAY_PROBES_PER_MINUTE  12
#define PX_RELAY_PROBE_PORT_MIN     1024
#define PX_RELAY_RESTART_SPREAD     (10 * PX_SEC)
#define PX_RELAY_RESTART_PER_NODE   PX_MSEC
#define PX_RELAY_RESTART_SPREAD_MAX (60 * PX_SEC)

/* Every number a relay's owner may change; px_relay_limits_default is the table of the spec. */
struct px_relay_limits {
    size_t strangers; /* links of nodes that are neither member nor vouched */
    size_t reservations, reservations_per_source, reservations_per_asn;
    px_nsec reservation_ttl;
    size_t circuits_per_peer;
    px_nsec circuit_idle, circuit_bind_time;
    px_nsec stranger_time;               /* joiners as well; 0: no bound */
    uint64_t stranger_bytes;             /* each way; 0: no bound */
    uint64_t member_rate, stranger_rate; /* bytes a second; 0: no bound */
};
extern const struct px_relay_limits px_relay_limits_default;

/* What the owner may want in a log: admissions, refusals, ends. */
struct px_relay_audit {
    const char *event; /* "relay.admitted", "relay.refused", "circuit.ended" … */
    const struct px_peer_id *peer, *other; /* other may be NULL */
    const struct px_addr *addr;            /* may be NULL */
    enum px_relay_class class;
    enum px_relay_status status;
    uint64_t bytes; /* forwarded, of a circuit that ended */
};

struct px_relay_server_ops {
    /* A whole frame (with its length) to the node. May close the session later, not inside. */
    void (*send)(void *ctx, void *conn, struct px_slice frame);
    /* px_relay_session_leave follows from the shell, not inside this call. */
    void (*close)(void *ctx, void *conn, enum px_close_code code);
    /* One UDP packet from a socket no node has spoken to. */
    void (*probe)(void *ctx, const struct px_addr *to, struct px_slice packet);
    /* Whether an address is one of the relay's own. */
    bool (*is_own)(void *ctx, const struct px_addr *a);
    bool (*is_member)(void *ctx, const struct px_peer_id *id);
    void (*audit)(void *ctx, const struct px_relay_audit *a);
};

struct px_relay_server_config {
    struct px_rng rng;
    const struct px_relay_server_ops *ops;
    void *ctx;
    const struct px_relay_store *store;   /* borrowed; NULL: nothing survives */
    const struct px_asn_table *asn_table; /* borrowed; may be NULL */
    struct px_relay_limits limits;
    bool open;
};

struct px_relay_server_stats {
    struct px_circuits_stats circuits;
    size_t nodes, unknown, limited, reservations, records, invites, watches;
    uint64_t requests, rate_limited, refused, malformed, probes;
    uint64_t hits[PX_RELAY_LIMIT_COUNT]; /* by enum px_relay_limit */
    /* the shell's */
    uint64_t links_refused, log_left_out; /* handshakes; lines of the audit log */
    size_t waiting, pipes_unproved, pipe_memory;
    size_t pipes; /* open ones, TLS or not yet */
};

PX_MUST_CHECK int px_relay_server_new(const struct px_relay_server_config *config, px_nsec now,
                                      struct px_relay_server **ret);
/* Every session must have left. */
void px_relay_server_free(struct px_relay_server *s);

/* Whether a node that proved to be `id` gets a link at all. */
bool px_relay_server_hears(struct px_relay_server *s, const struct px_peer_id *id, px_nsec now);
/* A node's link is up. `conn` is given to the ops; `binding` is its link's; `remote`
 * is where it comes from, `udp` tells whether by UDP: otherwise its port means nothing. PX_ENOMEM.
 */
PX_MUST_CHECK int px_relay_server_join(struct px_relay_server *s, void *conn,
                                       const struct px_peer_id *id,
                                       const uint8_t binding[PX_CIRCUIT_BINDING_LEN],
                                       const struct px_addr *remote, bool udp, px_nsec now,
                                       struct px_relay_session **ret);
enum px_relay_class px_relay_session_class(const struct px_relay_session *n);
/* Its control stream is there: frames may be sent. */
void px_relay_session_ready(struct px_relay_session *n, px_nsec now);
/* Its end; the pointer is dead afterwards. NULL is fine. */
void px_relay_session_leave(struct px_relay_session *n, px_nsec now);
/* One frame's body from the node. */
void px_relay_session_input(struct px_relay_session *n, struct px_slice body, px_nsec now);
void px_relay_session_moved(struct px_relay_session *n, const struct px_addr *remote, bool udp,
                            px_nsec now);

/* As px_circuits_input. */
size_t px_relay_server_packets(struct px_relay_server *s, const struct px_path *path, uint8_t *data,
                               size_t len, size_t segment, px_nsec now,
                               struct px_circuits_out *ret);

/* The list of members, or whether it is open, changed. */
void px_relay_server_recheck(struct px_relay_server *s, bool open, px_nsec now);
/* For what comes from here on; what is there stays. */
void px_relay_server_set_limits(struct px_relay_server *s, const struct px_relay_limits *limits);
/* Tells every node that the relay goes in `left`; new circuits and reservations are refused. */
void px_relay_server_restarting(struct px_relay_server *s, px_nsec left, px_nsec now);
/* Ends every circuit with PX_RELAY_RESTARTING. */
void px_relay_server_end_circuits(struct px_relay_server *s);

void px_relay_server_run(struct px_relay_server *s, px_nsec now);
px_nsec px_relay_server_deadline(const struct px_relay_server *s);
void px_relay_server_stats(const struct px_relay_server *s, struct px_relay_server_stats *ret);

#endif

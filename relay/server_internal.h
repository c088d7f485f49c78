/* What relay/server*.c share: the server, its sessions, the handlers of messages. Nobody else
 * includes it. */
#ifndef PX_RELAY_SERVER_INTERNAL_H
#define PX_RELAY_SERVER_INTERNAL_H

#include "proto/base/list.h"
#include "proto/base/map.h"
#include "relay/accounts.h"
#include "relay/admission.h"
#include "relay/registry.h"
#include "relay/relay_msg.h"
#include "relay/server.h"
#include "relay/token_bucket.h"

enum px_relay_probe_state { PX_PROBE_NONE, PX_PROBE_DATA, PX_PROBE_SENT };

struct px_relay_probe {
    enum px_relay_probe_state state;
    uint32_t request;
    struct px_addr to;
    struct px_relay_nonce nonce;
    size_t data_left; /* bytes the node owes */
    int sent;
    px_nsec next_at, deadline;
};

struct px_relay_watch {
    size_t len; /* of the namespace; 0: unused */
    char name_space[PX_RELAY_NAMESPACE_MAX];
    uint64_t pushed; /* serial of the last change told */
    struct px_peer_id gone[PX_RELAY_GONE_MAX];
    size_t gone_count;
};

struct px_relay_session {
    struct px_relay_server *server;
    struct px_list all;
    struct px_map_node by_peer; /* key: peer */
    void *conn;
    struct px_peer_id peer;
    uint8_t binding[PX_CIRCUIT_BINDING_LEN];
    struct px_addr remote;
    bool udp, closing;
    enum px_relay_class class;
    px_nsec unknown_until; /* PX_NEVER unless its class is unknown */
    size_t unknown_bytes;
    struct px_token_bucket requests, probes;
    bool reserved;
    px_nsec reserved_until;
    bool source_counted;
    struct px_source source;
    bool link_counted; /* among those of its source that are neither member nor vouched */
    struct px_source link_source;
    struct px_relay_watch *watches; /* PX_RELAY_WATCHES_MAX of them, made with the first */
    size_t watch_count;
    px_nsec push_at;   /* PX_NEVER: nothing to tell */
    px_nsec push_from; /* not sooner */
    struct px_relay_probe probe;
};

struct px_relay_server {
    struct px_relay_server_config config;
    struct px_list all; /* sessions */
    struct px_map by_peer;
    struct px_circuits *circuits;
    struct px_registry *registry;
    struct px_admission *admission;
    struct px_accounts *accounts;
    struct px_sources *sources;         /* of reservations */
    struct px_sources *link_sources;    /* of links */
    struct px_relay_server_stats stats; /* counters alone */
    size_t nodes, unknown, limited, reservations, watches;
    bool restarting;
    px_nsec now;
    px_nsec timers_at;              /* the earliest of the sessions' times; may be too early */
    const struct px_peer_id *ender; /* who asked for the circuit's end under way */
};

/* server.c */
struct px_relay_session *px_relay_find_session(const struct px_relay_server *s,
                                               const struct px_peer_id *id);
void px_relay_send(struct px_relay_session *n, const struct px_relay_msg *m);
/* Message 4 as the answer to m. */
void px_relay_reply(struct px_relay_session *n, const struct px_relay_msg *m,
                    enum px_relay_status status);
void px_relay_close(struct px_relay_session *n, enum px_close_code code);
void px_relay_audit(const struct px_relay_session *n, const char *event,
                    enum px_relay_status status);
/* Something of this session is due then. */
void px_relay_wake_at(struct px_relay_session *n, px_nsec at);
/* The class of this node may be another: what follows from that is told and done. */
void px_relay_recheck_peer(struct px_relay_server *s, const struct px_peer_id *peer);
void px_relay_set_class(struct px_relay_session *n, enum px_relay_class class);
/* A limit was hit. */
void px_relay_hit(struct px_relay_server *s, enum px_relay_limit limit);
/* What px_sources_add says of a full source, or its ASN. */
void px_relay_hit_source(struct px_relay_server *s, int err, enum px_relay_limit source,
                         enum px_relay_limit asn);
static inline bool px_relay_is_limited(enum px_relay_class c)
{
    return c != PX_RELAY_MEMBER && c != PX_RELAY_VOUCHED;
}

/* The handlers: server_reserve.c */
/* Whether limits of its source apply to its reservation may have changed with its class. */
void px_relay_recount_reservation(struct px_relay_session *n);
void px_relay_on_reserve(struct px_relay_session *n, const struct px_relay_msg *m);
void px_relay_on_release(struct px_relay_session *n, const struct px_relay_msg *m);
void px_relay_drop_reservation(struct px_relay_session *n);
void px_relay_on_observe(struct px_relay_session *n, const struct px_relay_msg *m);
void px_relay_tell_observed(struct px_relay_session *n, uint32_t request);
void px_relay_on_probe(struct px_relay_session *n, const struct px_relay_msg *m);
void px_relay_on_padding(struct px_relay_session *n, const struct px_relay_msg *m);
void px_relay_on_seen(struct px_relay_session *n, const struct px_relay_msg *m);
px_nsec px_relay_run_probe(struct px_relay_session *n);
/* server_circuits.c */
extern const struct px_circuits_ops px_relay_circuits_ops;
void px_relay_on_connect(struct px_relay_session *n, const struct px_relay_msg *m);
void px_relay_on_consent(struct px_relay_session *n, const struct px_relay_msg *m);
void px_relay_on_end(struct px_relay_session *n, const struct px_relay_msg *m);
/* server_registry.c */
void px_relay_on_changed(void *server, const struct px_registry_entry *e, bool gone);
void px_relay_on_register(struct px_relay_session *n, const struct px_relay_msg *m);
void px_relay_on_unregister(struct px_relay_session *n, const struct px_relay_msg *m);
void px_relay_on_discover(struct px_relay_session *n, const struct px_relay_msg *m);
void px_relay_on_watch(struct px_relay_session *n, const struct px_relay_msg *m);
void px_relay_push(struct px_relay_session *n);
/* server_admission.c */
void px_relay_on_invite(struct px_relay_session *n, const struct px_relay_msg *m);
void px_relay_on_uninvite(struct px_relay_session *n, const struct px_relay_msg *m);
void px_relay_on_admit(struct px_relay_session *n, const struct px_relay_msg *m);
void px_relay_on_vouch(struct px_relay_session *n, const struct px_relay_msg *m);
void px_relay_on_report(struct px_relay_session *n, const struct px_relay_msg *m);
void px_relay_on_totals(struct px_relay_session *n, const struct px_relay_msg *m);

#endif

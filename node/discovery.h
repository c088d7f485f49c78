/* Finding addresses of peers: one interface, several backends (node/discovery_*.c).
 *
 * A backend tells where a listed peer seems to be; nothing it says is trusted further than being
 * worth a dial, for the dial proves the peer. Manual addresses (`addr=` of authorized_keys) are not
 * a backend: node/peers reads them itself. */
#ifndef PX_NODE_DISCOVERY_H
#define PX_NODE_DISCOVERY_H

#include <uv.h>

#include "auth/authorized_keys.h"
#include "auth/identity.h"
#include "node/net_monitor.h"
#include "proto/addr.h"
#include "proto/base/log.h"

/* Where an address of a peer came from; also the order in which equally fresh ones are tried. */
#define PX_SOURCE_TABLE(X)                                                                         \
    X(PX_SOURCE_LAN, "lan")       /* multicast announcement */                                     \
    X(PX_SOURCE_MDNS, "mdns")     /* DNS-SD by Avahi */                                            \
    X(PX_SOURCE_MANUAL, "manual") /* addr= of authorized_keys, or given with `connect` */          \
    X(PX_SOURCE_BOOK, "book")     /* a good one of an earlier connection */                        \
    X(PX_SOURCE_SEEN, "seen")     /* the peer came to us from there */                             \
    X(PX_SOURCE_RECORD, "record") /* what the peer registered at a relay */                        \
    X(PX_SOURCE_RELAY, "relay")   /* through a relay, not to an address */

enum px_source {
#define X(name, text) name,
    PX_SOURCE_TABLE(X)
#undef X
};
const char *px_source_name(enum px_source s);

struct px_discovery; /* one running backend; embedded first in the backend's own object */

struct px_discovery_env {
    uv_loop_t *loop;
    const struct px_log *log;
    const struct px_identity *identity; /* borrowed, outlives the backend */
    struct px_net_monitor *monitor;     /* borrowed */
    struct px_addr local;               /* what our overlay socket is bound to */
    struct px_slice network;            /* copied */
    /* The allowlist at this moment; views die with the next turn of the loop. */
    const struct px_authorized_keys *(*keys)(void *ctx);
    /* A listed peer seems to be at addr. May be called as often as the backend likes. */
    void (*found)(void *ctx, const struct px_peer_id *id, const struct px_addr *addr,
                  enum px_source source);
    void *ctx;
};

struct px_discovery_ops {
    /* The allowlist changed. */
    void (*keys_changed)(struct px_discovery *d);
    /* Says and asks again soon: the network changed, or somebody wants a peer now. */
    void (*refresh)(struct px_discovery *d);
    /* Adds "key=value" counters for status and metrics, through `each`. */
    void (*stats)(const struct px_discovery *d,
                  void (*each)(void *ctx, const char *name, uint64_t value), void *ctx);
    /* Asynchronous; `closed` is called from the loop, d is gone then. */
    void (*close)(struct px_discovery *d, void (*closed)(void *ctx), void *ctx);
};

struct px_discovery {
    const struct px_discovery_ops *ops;
    enum px_source source;
};

/* ---- all backends of a node ---- */

struct px_discoveries;

struct px_discoveries_config {
    bool multicast, mdns;
    uint16_t lan_port; /* of multicast announcements */
};
/* Starts the backends asked for; one that cannot start is logged and left out. `env` is copied.
 * PX_ENOMEM. */
PX_MUST_CHECK int px_discoveries_new(const struct px_discoveries_config *config,
                                     const struct px_discovery_env *env,
                                     struct px_discoveries **ret);
/* As the backends' own. */
void px_discoveries_keys_changed(struct px_discoveries *d);
void px_discoveries_refresh(struct px_discoveries *d);
/* `each` once for every counter of every backend. */
void px_discoveries_stats(const struct px_discoveries *d,
                          void (*each)(void *ctx, enum px_source source, const char *name,
                                       uint64_t value),
                          void *ctx);
/* Asynchronous; `closed` is called from the loop, or at once when there is no backend. */
void px_discoveries_close(struct px_discoveries *d, void (*closed)(void *ctx), void *ctx);

#endif

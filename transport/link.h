/* The secured link: one QUIC connection to one authenticated peer (docs/spec/handshake.md).
 *
 * A px_overlay is a node's set of links: it dials and accepts, runs Noise XX on stream 0 bound to
 * the TLS exporter, asks the owner whether a peer is listed, keeps one link per peer, parks streams
 * that overtake message 3, and routes streams by their type byte. Sans-IO like transport/quic. */
#ifndef PX_TRANSPORT_LINK_H
#define PX_TRANSPORT_LINK_H

#include "auth/identity.h"
#include "proto/close.h"
#include "proto/stream_type.h"
#include "transport/quic.h"

struct px_overlay;
struct px_link; /* an authenticated link, or one being dialled */

#define PX_LINK_NETWORK_MAX    64           /* bytes of a network id */
#define PX_LINK_HANDSHAKE_TIME (5 * PX_SEC) /* from first packet to accepted */
#define PX_LINK_PARKED_MAX     (64u * 1024) /* bytes of streams before message 3 is verified */
#define PX_LINK_PARKED_STREAMS 32
#define PX_LINK_HALF_OPEN_MAX  256  /* incoming links before Noise is done: then one gets BUSY */
#define PX_LINK_HALF_OPEN_HARD 320  /* then refused without a word of ours */
#define PX_LINK_CONTROL_MAX    4096 /* bytes of stream 0 held while we decide */

struct px_overlay_ops {
    /* Is this peer listed? 0, PX_EUNLISTED; PX_EHELD: it is, and is to stay away for now. Asked at
     * both ends with the authenticated ID. */
    int (*authorize)(void *ctx, const struct px_peer_id *id);
    /* Optional: somebody who is refused by that and says that it comes as a guest. May it in? */
    bool (*guest)(void *ctx, const struct px_peer_id *id);
    /* The link is usable from here on, streams may be opened. */
    void (*up)(void *ctx, struct px_link *link);
    /* Optional: a dial of ours has proved its peer and said who we are; whether the peer accepts us
     * is not known yet, one round trip before `up`. PX_LINK_PARKED_STREAMS streams may be opened
     * and written already, 64 KiB in all until `up`; their answers are delivered. `up` or `down`
     * follows, and with `down` these streams end like all others. */
    void (*early)(void *ctx, struct px_link *link);
    /* The end of a link that was up, or of a dial (`was_up` tells). The pointer is dead
     * afterwards. `err` says why, PX_ECLOSED for an orderly end. */
    void (*down)(void *ctx, struct px_link *link, int err, bool by_peer, bool was_up);
    /* An incoming connection failed before it was a link; `id` is NULL unless it was proved. */
    void (*refused)(void *ctx, const struct px_addr *remote, const struct px_peer_id *id, int err,
                    bool by_peer);
    /* The peer opened a stream: its first byte was `type` (consumed already). Return its
     * owner and *ret_ctx, or NULL: the stream is then reset and stopped with PX_CLOSE_PROTOCOL. */
    const struct px_stream_ops *(*stream)(void *ctx, struct px_link *link, int64_t id, uint8_t type,
                                          void **ret_ctx);
    /* Optional: px_link_stream_open that said PX_EAGAIN may be tried again. */
    void (*streams_available)(void *ctx, struct px_link *link);
    /* Optional: links to this peer were replaced by other boot IDs more than PX_CLONE_REPLACEMENTS
     * times within PX_CLONE_WINDOW (transport/link_rivalry.h): two machines seem to use its key.
     * `link` is the one that just replaced another; `up` for it follows. */
    void (*cloned)(void *ctx, const struct px_link *link);
    /* Optional: the link's packets take another path from here on (px_link_path tells). */
    void (*path_changed)(void *ctx, struct px_link *link);
    /* Optional: the link has been in doubt for PX_LINK_LOST_TIME (transport/link_path.h), and is
     * told so again and again: nothing comes back on its path. px_link_suggest helps;
     * links must not be closed from inside. */
    void (*lost)(void *ctx, struct px_link *link);
    /* Optional: the answer to px_link_ping. */
    void (*pong)(void *ctx, struct px_link *link, uint64_t nonce, px_nsec rtt);
};

/* The owner of one stream. See struct px_quic_conn_ops for the meaning of each. When the link ends
 * every stream still open gets `closed`. After `closed` the owner hears nothing more. */
struct px_stream_ops {
    void (*recv)(void *ctx, struct px_link *link, int64_t id, struct px_slice data, bool fin);
    void (*acked)(void *ctx, struct px_link *link, int64_t id, uint64_t n);
    void (*reset)(void *ctx, struct px_link *link, int64_t id, uint64_t code);
    void (*stop)(void *ctx, struct px_link *link, int64_t id, uint64_t code);
    void (*writable)(void *ctx, struct px_link *link, int64_t id);
    void (*closed)(void *ctx, struct px_link *link, int64_t id);
};

/* One source of outgoing stream data on a link; the link asks its producers in turn. Embedded in
 * its owner. Pulls as in struct px_quic_conn_ops; `next` sets *ret_id to -1 when it has nothing,
 * and is then asked again only after px_link_wake. The type byte of a stream is the producer's to
 * send first. */
struct px_producer_ops {
    void (*next)(void *ctx, int64_t *ret_id, struct px_slice *ret_vec, size_t cap,
                 size_t *ret_count, bool *ret_fin);
    void (*sent)(void *ctx, int64_t id, uint64_t n, bool fin);
    void (*blocked)(void *ctx, int64_t id);
};
struct px_producer {
    const struct px_producer_ops *ops;
    void *ctx;
    struct px_producer *ring_prev, *ring_next; /* the link's; NULL while not added */
    bool ready;                                /* the link's */
};

struct px_overlay_config {
    const struct px_identity *identity; /* borrowed, outlives the overlay */
    struct px_slice network;            /* "default"; 1 to PX_LINK_NETWORK_MAX bytes, copied */
    struct px_slice agent;              /* e.g. "peerix/0.1.0", shown to peers, copied */
    const struct px_overlay_ops *ops;
    void *ops_ctx;
    struct px_quic_config quic; /* rng, net, windows; accept is the overlay's own */
    bool listen;                /* take incoming connections */
    bool passive;               /* a relay's: asks nobody in doubt (docs/spec/paths.md §5) */
};

PX_MUST_CHECK int px_overlay_new(const struct px_overlay_config *config, struct px_overlay **ret);
/* Drops everything at once; `down` is called for each link. */
void px_overlay_free(struct px_overlay *o);

/* As their px_quic_ counterparts. */
void px_overlay_input(struct px_overlay *o, const struct px_path *path, unsigned ecn,
                      struct px_slice datagram, px_nsec now);
void px_overlay_run(struct px_overlay *o, px_nsec now);
px_nsec px_overlay_deadline(const struct px_overlay *o);
void px_overlay_writable(struct px_overlay *o);

/* Dials a peer that must prove to be `id`. `user` is px_link_user's first value. The outcome is
 * `up` or `down`. With a link to the peer up already: PX_EEXIST; to ourselves: PX_ESELF; when
 * `authorize` does not know it: PX_EUNLISTED, PX_EHELD. */
PX_MUST_CHECK int px_overlay_dial(struct px_overlay *o, const struct px_peer_id *id,
                                  const struct px_path *path, void *user, px_nsec now,
                                  struct px_link **ret);
/* The link to a peer that is up, or NULL. */
struct px_link *px_overlay_find(const struct px_overlay *o, const struct px_peer_id *id);
/* Calls fn for every link that is up. fn may close links. */
void px_overlay_each(struct px_overlay *o, void (*fn)(void *ctx, struct px_link *link), void *ctx);
/* This machine's addresses or routes changed, or it was asleep: every link that is up proves its
 * path anew and moves if it must, its streams alive (docs/spec/paths.md). Cheap; may be called
 * often. */
void px_overlay_network_changed(struct px_overlay *o, px_nsec now);
/* Closes all links with PX_CLOSE_SHUTDOWN. */
void px_overlay_shutdown(struct px_overlay *o);

const struct px_peer_id *px_link_peer(const struct px_link *l);
/* The peer's agent string, printable ASCII, at most 64 bytes; "" before up. */
const char *px_link_agent(const struct px_link *l);
bool px_link_is_quic_client(const struct px_link *l);
bool px_link_is_up(const struct px_link *l);
/* Between px_overlay_ops.early and `up` or `down`. */
bool px_link_is_early(const struct px_link *l);
void px_link_path(const struct px_link *l, struct px_path *ret);
/* Another address where the peer may be now, from discovery or an address book. While the path in
 * use is in doubt the peer is asked there too, and the link moves if it answers; and while the path
 * in use is a circuit and this is none, now and then (docs/spec/paths.md). The last few are
 * remembered; harmless at any time. */
void px_link_suggest(struct px_link *l, const struct px_addr *remote);
/* As px_link_suggest, of an address that is better than the path in use: the peer is asked there at
 * once, and if it answers the link moves there. */
void px_link_prefer(struct px_link *l, const struct px_addr *remote);
/* In doubt for PX_LINK_LOST_TIME and still so: px_overlay_ops.lost. */
bool px_link_is_lost(const struct px_link *l);
void px_link_stats(const struct px_link *l, struct px_quic_stats *ret);
/* What only the two ends of this link know: the final handshake hash of its Noise exchange. */
#define PX_LINK_BINDING_LEN 32
void px_link_binding(const struct px_link *l, uint8_t ret[PX_LINK_BINDING_LEN]);
/* Sends a ping control frame; px_overlay_ops.pong follows unless the link ends first. PX_ESTATE
 * when not up, PX_EBUSY with PX_LINK_PINGS_MAX unanswered, PX_ENOMEM. */
#define PX_LINK_PINGS_MAX 16
PX_MUST_CHECK int px_link_ping(struct px_link *l, uint64_t *ret_nonce);
/* A pointer for the overlay's owner (peer object and the like). */
void *px_link_user(const struct px_link *l);
void px_link_set_user(struct px_link *l, void *user);
/* Asynchronous: `down` follows from px_overlay_run. */
void px_link_close(struct px_link *l, enum px_close_code code);

/* Right after a dial: we come as a guest, who need not be listed (docs/spec/handshake.md §5). */
void px_link_set_guest(struct px_link *l);

/* Streams of ours. PX_EAGAIN when the peer's limit is reached (while early: PX_LINK_PARKED_STREAMS
 * were opened), PX_ESTATE when neither up nor early. */
PX_MUST_CHECK int px_link_stream_open(struct px_link *l, bool uni, const struct px_stream_ops *ops,
                                      void *ctx, int64_t *ret_id);
/* Changes the owner of a stream (e.g. from a parser of its first bytes to a service). */
void px_link_stream_set_owner(struct px_link *l, int64_t id, const struct px_stream_ops *ops,
                              void *ctx);
void px_link_consume(struct px_link *l, int64_t id, uint64_t n);
void px_link_stream_reset(struct px_link *l, int64_t id, uint64_t code);
void px_link_stream_stop(struct px_link *l, int64_t id, uint64_t code);

void px_link_add_producer(struct px_link *l, struct px_producer *p);
/* Allowed at any time, also inside `closed`. */
void px_link_remove_producer(struct px_link *l, struct px_producer *p);
void px_link_wake(struct px_link *l, struct px_producer *p);

#endif

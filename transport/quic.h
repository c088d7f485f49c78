/* QUIC v1 (RFC 9000) by ngtcp2 with TLS 1.3 by GnuTLS: endpoint and connections as a sans-IO core.
 *
 * Datagrams and `now` go in, datagrams and events come out through ops; the endpoint owns its
 * connections. TLS gives the channel only (ephemeral mutual raw public keys, RFC 7250); who the
 * peer is, is settled by transport/link above. Callbacks record facts; a connection is never freed
 * inside one, but at the end of px_quic_run. */
#ifndef PX_TRANSPORT_QUIC_H
#define PX_TRANSPORT_QUIC_H

#include "proto/addr.h"
#include "proto/base/slice.h"

struct px_quic;
struct px_quic_conn;

#define PX_QUIC_ALPN           "peerix/1"
#define PX_QUIC_EXPORTER_LABEL "EXPORTER-peerix-v1"
#define PX_QUIC_EXPORTER_LEN   32
#define PX_QUIC_CONNS_MAX      4096 /* default of px_quic_config.conns_max */
#define PX_QUIC_HALF_OPEN_MAX  64 /* incoming connections without TLS done before Retry is asked */
#define PX_QUIC_VEC_MAX        16 /* pieces one `next` may offer */

/* Where datagrams go. `data` is one or more datagrams of `segment` bytes each, the last may be
 * shorter; they share path and ECN (0..3). 0; PX_EAGAIN when nothing was taken (the endpoint keeps
 * the batch and waits for px_quic_writable); anything else counts as loss on the way. */
struct px_quic_net {
    int (*send)(void *ctx, const struct px_path *path, unsigned ecn, struct px_slice data,
                size_t segment);
    void *ctx;
};

/* What the owner of a connection is told. All may be called inside px_quic_input, _run and _free;
 * none may free the connection (px_quic_conn_close is allowed everywhere). */
struct px_quic_conn_ops {
    /* TLS is done on this side; the exporter is available. On a server it is called as early as
     * 0.5-RTT data can be sent. */
    void (*secured)(void *ctx);
    /* The peer opened a stream (bidirectional or not, see the id's low bits). */
    void (*stream_opened)(void *ctx, int64_t id);
    /* Bytes in order. They count against the peer's credit until px_quic_consume. `fin` comes once,
     * possibly with empty data. */
    void (*stream_recv)(void *ctx, int64_t id, struct px_slice data, bool fin);
    /* The peer acknowledged the next n bytes we sent: their memory may go. */
    void (*stream_acked)(void *ctx, int64_t id, uint64_t n);
    void (*stream_reset)(void *ctx, int64_t id, uint64_t app_code);
    /* STOP_SENDING. Noticed when the stream is offered, or at once if it is blocked; `app_code` is
     * 0, for ngtcp2 1.11 does not tell it. */
    void (*stream_stop)(void *ctx, int64_t id, uint64_t app_code);
    /* A stream that was reported blocked may send again. */
    void (*stream_writable)(void *ctx, int64_t id);
    /* Nothing more will come of this stream; sent data still unacked may be dropped. */
    void (*stream_closed)(void *ctx, int64_t id);
    /* More streams may be opened than before. */
    void (*streams_available)(void *ctx);

    /* Optional, as are the two below: packets leave on another path from now on. */
    void (*path_changed)(void *ctx);
    /* Acknowledgements are outstanding, or bytes flowed until now, and nothing came on the path
     * in use for 3 PTO (300 ms to 1 s); again after as long while something is outstanding. */
    void (*silent)(void *ctx);
    /* A datagram with an ID of this connection came on a path that px_quic_conn_allow was not told
     * of; it was dropped, and nothing about it is authentic. */
    void (*stray)(void *ctx, const struct px_path *path, size_t len);

    /* The pull side: offers what to send next. Sets *ret_id (-1: nothing now), up to `cap` pieces,
     * and *ret_fin if the stream ends with them. The memory stays valid until acked. Called again
     * and again until it offers nothing or the connection is congested. */
    void (*next)(void *ctx, int64_t *ret_id, struct px_slice *ret_vec, size_t cap,
                 size_t *ret_count, bool *ret_fin);
    /* n bytes of the offer were taken (n may be less than offered; fin was taken if `fin`). */
    void (*sent)(void *ctx, int64_t id, uint64_t n, bool fin);
    /* The stream has no credit (or is shut for writing): do not offer it until stream_writable. */
    void (*blocked)(void *ctx, int64_t id);

    /* Called once, last: `err` as px_close_error or an adapter error says; app_code is the code of
     * a CONNECTION_CLOSE of either side, `by_peer` tells whose. The pointer is dead afterwards. */
    void (*closed)(void *ctx, int err, uint64_t app_code, bool by_peer);
};

struct px_quic_config {
    struct px_rng rng;
    struct px_quic_net net;
    /* A new incoming connection: return 0 and the owner, or an error to refuse it. */
    int (*accept)(void *ctx, struct px_quic_conn *c, const struct px_quic_conn_ops **ret_ops,
                  void **ret_ctx);
    void *accept_ctx;       /* accept may be NULL: dial only */
    size_t conns_max;       /* 0: PX_QUIC_CONNS_MAX */
    px_nsec idle_timeout;   /* 0: 30 s */
    px_nsec keep_alive;     /* 0: 10 s */
    uint64_t stream_window; /* most credit a stream gets, auto-tuned up to it; 0: 6 MiB */
    uint64_t conn_window;   /* 0: 1.5 times stream_window */
    bool cubic;             /* instead of BBR */
    /* Of packets both ways: we probe up to it, tell peers not to pass it, and drop what does, so
     * that no connection holds a larger buffer. 0: 8952; 1200 at least. */
    size_t max_udp_payload;
};

/* Copies the config. PX_ENOMEM, PX_ETLS. */
PX_MUST_CHECK int px_quic_new(const struct px_quic_config *config, struct px_quic **ret);
/* Ends all connections at once (closed is called for each), sends nothing. */
void px_quic_free(struct px_quic *q);

/* One received datagram. Junk is dropped silently. */
void px_quic_input(struct px_quic *q, const struct px_path *path, unsigned ecn,
                   struct px_slice datagram, px_nsec now);
/* Does everything due: timers, packets to write, ended connections. Call after a batch of input,
 * at the deadline, and after px_quic_conn_wake & co. */
void px_quic_run(struct px_quic *q, px_nsec now);
/* When px_quic_run must be called at the latest; PX_NEVER if only input can change anything. */
px_nsec px_quic_deadline(const struct px_quic *q);
/* The socket takes datagrams again after PX_EAGAIN. Follow with px_quic_run. */
void px_quic_writable(struct px_quic *q);
size_t px_quic_conn_count(const struct px_quic *q);

/* Dials: the Initial leaves at the next px_quic_run. */
PX_MUST_CHECK int px_quic_dial(struct px_quic *q, const struct px_path *path,
                               const struct px_quic_conn_ops *ops, void *ctx, px_nsec now,
                               struct px_quic_conn **ret);
/* Starts an asynchronous end with an application code; `closed` follows from px_quic_run. */
void px_quic_conn_close(struct px_quic_conn *c, uint64_t app_code);

bool px_quic_conn_is_client(const struct px_quic_conn *c);
/* 32 bytes, RFC 5705 exporter with PX_QUIC_EXPORTER_LABEL and no context. PX_ESTATE before
 * `secured`. */
PX_MUST_CHECK int px_quic_conn_exporter(const struct px_quic_conn *c,
                                        uint8_t ret[PX_QUIC_EXPORTER_LEN]);
/* The path in use. Its local address is a wildcard until something was received, if it was dialled
 * from one. */
void px_quic_conn_path(const struct px_quic_conn *c, struct px_path *ret);
/* When something was last received on it. */
px_nsec px_quic_conn_heard_at(const struct px_quic_conn *c);
/* Besides the path a connection began on, datagrams are read on paths proved by the owner only. A
 * server's packets follow its client to these (RFC 9000, 9). The last PX_QUIC_PATHS_MAX used are
 * remembered, those out of use for 10 s. */
bool px_quic_conn_allows(struct px_quic_conn *c, const struct px_path *path, px_nsec now);
void px_quic_conn_allow(struct px_quic_conn *c, const struct px_path *path, px_nsec now);
/* A client's: everything leaves on this path, which the owner has proved, from now on, with a new
 * connection ID and fresh congestion state, also if it is the path in use already. PX_EAGAIN when
 * it cannot be done now (handshake not confirmed, no connection ID left), PX_ESTATE. */
PX_MUST_CHECK int px_quic_conn_migrate(struct px_quic_conn *c, const struct px_path *path,
                                       px_nsec now);

/* There is something new to offer by `next`. */
void px_quic_conn_wake(struct px_quic_conn *c);
/* Opens a stream of ours. PX_EAGAIN: no stream credit now (streams_available follows). */
PX_MUST_CHECK int px_quic_stream_open(struct px_quic_conn *c, bool uni, int64_t *ret_id);
/* Gives back credit for n received bytes, of the stream and the connection. */
void px_quic_consume(struct px_quic_conn *c, int64_t id, uint64_t n);
/* RESET_STREAM and STOP_SENDING as far as the stream has these directions. */
void px_quic_stream_reset(struct px_quic_conn *c, int64_t id, uint64_t app_code);
void px_quic_stream_stop(struct px_quic_conn *c, int64_t id, uint64_t app_code);
/* How much the peer may send on all streams together before anything is consumed: 64 KiB until the
 * owner raises it (parking, docs/spec/handshake.md), then the configured windows. */
void px_quic_conn_raise_windows(struct px_quic_conn *c);

struct px_quic_stats {
    uint64_t bytes_sent, bytes_received;     /* UDP payload */
    uint64_t packets_sent, packets_received; /* datagrams */
    /* Packets with stream data judged lost by our sender: all of streams that ended, and so far of
     * the one written last (ngtcp2 1.11 counts no others). */
    uint64_t packets_lost;
    uint64_t rtt_ns; /* smoothed; 0 if unknown */
    uint64_t cwnd;
    uint64_t max_udp_payload; /* what packets may be on this path now */
};
void px_quic_conn_stats(const struct px_quic_conn *c, struct px_quic_stats *ret);

#endif

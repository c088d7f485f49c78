/* What the quic_*.c files share; nobody else includes this. See quic.h for the contract. */
#ifndef PX_TRANSPORT_QUIC_INTERNAL_H
#define PX_TRANSPORT_QUIC_INTERNAL_H

#include <gnutls/gnutls.h>
#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include "proto/base/heap.h"
#include "proto/base/list.h"
#include "proto/base/map.h"
#include "transport/quic.h"
#include "transport/sockaddr.h"

#define PX_QUIC_CID_LEN          8
#define PX_QUIC_CIDS_ACTIVE      8 /* active_connection_id_limit */
#define PX_QUIC_UNRAISED_WINDOW  (64u * 1024)
#define PX_QUIC_STREAM_INITIAL   (1024u * 1024) /* first credit of a stream, then auto-tuned */
#define PX_QUIC_STREAM_WINDOW    (6u * 1024 * 1024)
#define PX_QUIC_STREAMS_BIDI     512 /* nix asks for hundreds of narinfos at once */
#define PX_QUIC_STREAMS_UNI      16
#define PX_QUIC_HANDSHAKE_TIME   (10 * PX_SEC)
#define PX_QUIC_IDLE_TIMEOUT     (30 * PX_SEC)
#define PX_QUIC_KEEP_ALIVE       (10 * PX_SEC)
#define PX_QUIC_RETRY_TOKEN_TIME (10 * PX_SEC)
#define PX_QUIC_PATHS_MAX        8                /* known of a connection */
#define PX_QUIC_RENUMBER_MAX     (UINT32_MAX / 2) /* numbers given, then left paths get none */
#define PX_QUIC_PATH_TIME        (10 * PX_SEC)    /* they are good for, out of use */
#define PX_QUIC_WATCH_GAP        (100 * PX_MSEC)
#define PX_QUIC_SILENCE_MIN      (300 * PX_MSEC)
#define PX_QUIC_SILENCE_MAX      PX_SEC
#define PX_QUIC_SILENCE_BULK     (64u * 1024) /* bytes after which a silence is worth a question */
#define PX_QUIC_PAYLOAD_MIN      1200
#define PX_QUIC_PAYLOAD_MAX      8952  /* a jumbo frame less IPv6 and UDP */
#define PX_QUIC_BATCH_SEGMENTS   64    /* UDP_MAX_SEGMENTS of Linux */
#define PX_QUIC_BATCH_BYTES      65000 /* below 65507, what one send may carry */

/* TLS: credentials shared by all connections of an endpoint (quic_tls.c). */
struct px_quic_tls;
int px_quic_tls_new(struct px_quic_tls **ret);
void px_quic_tls_free(struct px_quic_tls *tls);
/* A session ready for ngtcp2_conn_set_tls_native_handle; ended by gnutls_deinit. */
int px_quic_tls_session(const struct px_quic_tls *tls, bool server, ngtcp2_crypto_conn_ref *ref,
                        gnutls_session_t *ret);
int px_quic_tls_exporter(gnutls_session_t session, uint8_t ret[PX_QUIC_EXPORTER_LEN]);

/* Foreign errors (quic_error.c). */
int px_quic_error_from_gnutls(int code);
int px_quic_error_from_ngtcp2(int code);
int px_quic_error_from_peer(const ngtcp2_ccerr *ccerr);

/* Datagrams of one path, ECN mark and size waiting for one call of net.send: [start, end) of the
 * endpoint's buffer. Every datagram but the last is `segment` bytes long. */
struct px_quic_batch {
    struct px_path path;
    unsigned ecn;
    size_t start, end, segment, count;
};

struct px_quic {
    struct px_quic_config config;
    struct px_quic_tls *tls;
    struct px_map cids;     /* struct px_quic_cid */
    struct px_heap timers;  /* struct px_quic_conn.timer */
    struct px_list conns;   /* all of them */
    struct px_list watched; /* struct px_quic_conn.watched */
    px_nsec watch_at;       /* when those are looked at */
    struct px_list ready;   /* to be looked at by the next run, whatever their timers say */
    size_t total;           /* length of conns */
    size_t live;            /* without those only waiting for late packets */
    size_t half_open;       /* incoming ones without TLS done */
    uint8_t secret[32];     /* of Retry and stateless reset tokens */
    bool net_blocked;       /* net.send said PX_EAGAIN */
    size_t pad;             /* where the next packet is written */
    /* batch[0] is being filled or waits for the socket. When it cannot leave, the one packet that
     * did not fit it waits in batch[1]. */
    struct px_quic_batch batch[2];
    uint8_t buf[PX_QUIC_BATCH_BYTES + PX_QUIC_PAYLOAD_MAX];
};

struct px_quic_cid {
    struct px_map_node node;
    struct px_list of_conn;
    struct px_quic_conn *conn;
    ngtcp2_cid cid;
};

/* A stream reported blocked; ngtcp2 keeps the pointer as the stream's user data. */
struct px_quic_blocked {
    struct px_list of_conn;
    int64_t id;
};

#define PX_QUIC_STATE_TABLE(X)                                                                     \
    X(PX_QUIC_OPENING)  /* TLS under way */                                                        \
    X(PX_QUIC_OPEN)     /* `secured` was told */                                                   \
    X(PX_QUIC_ENDING)   /* the end is recorded, `closed` comes with the next run */                \
    X(PX_QUIC_CLOSING)  /* `closed` was told; answers packets with our CONNECTION_CLOSE */         \
    X(PX_QUIC_DRAINING) /* `closed` was told; swallows late packets */                             \
    X(PX_QUIC_DEAD)     /* freed at the end of the run */

enum px_quic_state {
#define X(name) name,
    PX_QUIC_STATE_TABLE(X)
#undef X
};

/* What remains to be done on the wire when a connection ends. */
enum px_quic_farewell {
    PX_QUIC_FAREWELL_NONE,  /* timed out or never real: forget it */
    PX_QUIC_FAREWELL_CLOSE, /* send `ccerr` */
    PX_QUIC_FAREWELL_DRAIN, /* the peer closed */
};

/* A path that packets of the connection may take. */
struct px_quic_known {
    uint32_t number; /* 0: free */
    struct px_path real;
    px_nsec used_at;
};

struct px_quic_paths {
    struct px_quic_known of[PX_QUIC_PATHS_MAX];
    uint32_t last; /* number given */
};

struct px_quic_conn {
    struct px_quic *q;
    struct px_list all, ready, cids;
    struct px_list watched; /* in q->watched while an answer is expected */
    struct px_list blocked; /* struct px_quic_blocked */
    struct px_heap_node timer;
    enum px_quic_state state;
    ngtcp2_conn *conn;    /* NULL once CLOSING */
    gnutls_session_t tls; /* NULL once TLS has nothing left to do */
    ngtcp2_crypto_conn_ref tls_ref;
    const struct px_quic_conn_ops *ops; /* NULL before accept and after closed */
    void *ctx;
    struct px_quic_paths paths;
    uint32_t current; /* number of the path in use */
    px_nsec heard_at; /* last datagram on it */
    px_nsec asked_at; /* since when an acknowledgement is outstanding; 0: none is */
    uint64_t heard;   /* bytes since the last silence */
    px_nsec told_at;  /* when `silent` was called last; 0: not since anything was heard */
    bool client;
    bool half_open; /* counted in q->half_open */
    bool tx_ready;  /* facts noted inside callbacks: 1-RTT keys for sending exist, */
    bool tls_done;  /* TLS has nothing left to do */
    bool exporter_known;
    bool raised;
    uint8_t exporter[PX_QUIC_EXPORTER_LEN];

    enum px_quic_farewell farewell;
    int end_err;
    uint64_t end_app_code;
    bool end_by_peer;
    ngtcp2_ccerr ccerr;
    uint8_t *close_packet;
    size_t close_len;
    struct px_path close_path;
    px_nsec gone_at;         /* end of CLOSING or DRAINING */
    unsigned close_received; /* packets since CLOSING */
    bool close_due;          /* the CONNECTION_CLOSE is to be sent (again) */

    uint64_t bytes_sent, bytes_received, packets_sent, packets_received;
    uint64_t lost_on_ended_streams;
    int64_t last_stream;        /* the one written last, or -1 */
    struct px_quic_stats final; /* what only ngtcp2 knew, once conn is NULL */
};

/* quic_endpoint.c */
void px_quic_conn_mark_ready(struct px_quic_conn *c);
int px_quic_cid_add(struct px_quic_conn *c, const ngtcp2_cid *cid);
void px_quic_cid_remove(struct px_quic_conn *c, const ngtcp2_cid *cid);
void px_quic_cid_generate(struct px_quic *q, size_t len, ngtcp2_cid *ret);

/* quic_conn.c */
struct px_quic_conn_params {
    const struct px_path *path;
    const ngtcp2_pkt_hd *initial;  /* server: the header of the client's Initial; client: NULL */
    const ngtcp2_cid *retry_odcid; /* server: the first DCID, if the Initial answers a Retry */
    px_nsec now;
};
int px_quic_conn_new(struct px_quic *q, const struct px_quic_conn_params *params,
                     struct px_quic_conn **ret);
/* Frees without telling anybody. */
void px_quic_conn_free(struct px_quic_conn *c);
/* Returns what ngtcp2_conn_read_pkt said; errors are recorded in the connection already. */
int px_quic_conn_input(struct px_quic_conn *c, const struct px_path *path, unsigned ecn,
                       struct px_slice datagram, px_nsec now);
/* Tells `secured` if it is due, drops TLS if that is done. Outside ngtcp2 callbacks only. */
void px_quic_conn_settle(struct px_quic_conn *c);
/* Timers, writing, and the end of one connection; may leave it PX_QUIC_DEAD. */
void px_quic_conn_run(struct px_quic_conn *c, px_nsec now);
/* Records the first reason to end; later ones are ignored. */
void px_quic_conn_end(struct px_quic_conn *c, enum px_quic_farewell farewell, int err,
                      uint64_t app_code, bool by_peer);
/* Notes whether ngtcp2 uses another path than before, and tells it. */
void px_quic_conn_note_path(struct px_quic_conn *c, px_nsec now);
/* Puts it among the watched: there may be something to wait for. */
void px_quic_conn_expect(struct px_quic_conn *c, px_nsec now);
/* Notes that packets were written: an answer may be due. */
void px_quic_conn_note_written(struct px_quic_conn *c, px_nsec now);
/* Looks whether answers stay out; false when there is none to wait for. */
bool px_quic_conn_watch(struct px_quic_conn *c, px_nsec now);
/* Ends it with what an ngtcp2 function returned. */
void px_quic_conn_fail(struct px_quic_conn *c, int liberr);

/* Whether the owner may hear of streams. */
static inline bool px_quic_conn_hears(const struct px_quic_conn *c)
{
    return c->ops != NULL && c->state <= PX_QUIC_OPEN;
}

/* quic_callbacks.c */
extern const ngtcp2_callbacks px_quic_callbacks_client, px_quic_callbacks_server;
void px_quic_rand_cb(uint8_t *dest, size_t len, const ngtcp2_rand_ctx *ctx);

/* quic_write.c */
/* Tells the owner of blocked streams that the peer does not want any more. */
void px_quic_conn_find_stopped(struct px_quic_conn *c);
/* Writes what the connection may send now into batches. 0 or an ngtcp2 error that ends it. */
int px_quic_conn_write(struct px_quic_conn *c, px_nsec now);
/* Sends what is batched; false when the socket is full. */
bool px_quic_flush(struct px_quic *q);

/* quic_path.c: a path's number as ngtcp2's addresses and back; 0 is no number. */
struct px_quic_ngpath {
    union px_sockaddr local, remote;
    ngtcp2_path path; /* points into the two above */
};
void px_quic_ngpath_init(struct px_quic_ngpath *p, uint32_t number);
uint32_t px_quic_number_from_ng(const ngtcp2_path *path);
/* What a number stands for; NULL if it is forgotten. */
const struct px_path *px_quic_paths_get(const struct px_quic_paths *t, uint32_t number);
/* The newest number of a path, 0 if it has none, or none that is `current` or was within
 * PX_QUIC_PATH_TIME. */
uint32_t px_quic_paths_find(struct px_quic_paths *t, const struct px_path *path, uint32_t current,
                            px_nsec now);
/* A new number, whether the path had one or not. Never forgets number `keep` (0: none). */
uint32_t px_quic_paths_add(struct px_quic_paths *t, const struct px_path *path, uint32_t keep,
                           px_nsec now);
void px_quic_paths_remove(struct px_quic_paths *t, uint32_t number);
/* The path of one place in the table; NULL if there is none, or none of the last
 * PX_QUIC_PATH_TIME. One path may have several places. */
const struct px_path *px_quic_paths_at(const struct px_quic_paths *t, size_t i, px_nsec now);

#endif

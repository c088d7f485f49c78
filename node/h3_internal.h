/* Inside node/h3*.c: the objects and what the files say to each other. docs/spec/http3.md.
 *
 * h3.c         the public calls, exchanges and their states
 * h3_link.c    streams and bytes between the link and nghttp3, including the producer
 * h3_session.c one nghttp3 connection: its set-up and callbacks, which record facts only
 * h3_fields.c  header fields in and out
 * h3_guard.c   what must not reach nghttp3
 *
 * Nothing of the owner is called, and nothing freed, while nghttp3 is on the stack: callbacks write
 * into the exchange, and h3_link.c acts when nghttp3 has returned. The link calls `closed` from its
 * own turn, never from inside a call of ours (transport/link.h); an exchange lives until then,
 * because QUIC refers to the memory it was offered until then. */
#ifndef PX_NODE_H3_INTERNAL_H
#define PX_NODE_H3_INTERNAL_H

#include <nghttp3/nghttp3.h>

#include "node/h3.h"
#include "proto/base/buf.h"
#include "proto/base/list.h"
#include "proto/base/map.h"

/* Announced, not enforced by nghttp3: PX_H3_HEADERS_MAX is what counts. */
#define PX_H3_FIELD_SECTION_MAX 16384
/* Answers up to this size go before larger ones. */
#define PX_H3_SMALL_BODY (64u * 1024)

enum px_h3_state {
    PX_H3_CRITICAL,  /* a unidirectional stream */
    PX_H3_ASKED,     /* ours: no response yet */
    PX_H3_ANSWER,    /* ours: the response has begun */
    PX_H3_RECEIVING, /* the peer's: the request is not whole yet */
    PX_H3_PENDING,   /* the peer's: the server has it */
    PX_H3_ANSWERED,  /* the peer's: px_h3_respond was called */
    PX_H3_OVER,      /* nobody is told anything more but the body */
};

/* Where in a unidirectional stream of the peer we are (h3_guard.c); zero at its begin. */
struct px_h3_guard {
    enum px_h3_guard_at {
        PX_H3_GUARD_STREAM_TYPE,
        PX_H3_GUARD_FRAME_TYPE,
        PX_H3_GUARD_FRAME_LENGTH,
        PX_H3_GUARD_PAYLOAD,
        PX_H3_GUARD_ELSE, /* not a control stream */
    } at;
    unsigned left; /* bytes of the integer still to come */
    uint64_t value, payload;
};

/* A piece of body inside the buffer that is being read. */
struct px_h3_piece {
    struct px_slice data;
};

struct px_h3_session {
    struct px_h3 *h;
    nghttp3_conn *conn;
    bool serving;      /* we are the HTTP server */
    bool dead;         /* nghttp3 must not be touched any more, except to be deleted */
    bool going_away;   /* GOAWAY was sent (serving) or received (asking) */
    int64_t goaway_id; /* asking: requests from this id on will not be served */
    int64_t flip;      /* XORed into stream ids towards nghttp3 */
    uint8_t type;      /* enum px_stream_type, the first byte of our streams */
    size_t requests;   /* request streams that are not closed */
    struct px_list streams;
    struct px_list live; /* exchanges that are not over */

    /* What one nghttp3_conn_read_stream found. */
    struct px_h3_exchange *reading;
    struct px_h3_piece *pieces;
    size_t piece_count, piece_cap;
};

/* A stream of either session. */
struct px_h3_exchange {
    struct px_h3_session *s;
    struct px_map_node by_id;
    struct px_list in_session, in_live, in_hungry;
    int64_t id; /* the link's */
    enum px_h3_state state;
    bool type_unsent, type_unacked; /* our type byte */
    bool write_shut;                /* nothing of it may be sent any more */
    bool read_shut;                 /* what still arrives is thrown away */
    bool blocked;  /* no credit: nghttp3 would offer it all the same once its body goes on */
    bool starving; /* nghttp3 waits for its body */
    bool waiting;  /* its body said PX_EAGAIN */
    struct px_h3_guard guard;
    uint64_t unconsumed; /* body bytes given to the owner and not given back */

    /* the message being received */
    size_t field_count;
    uint64_t abort_code; /* a stream error found in a callback; 0: none */
    bool headers_done, message_done;
    bool bad_request, known_method, head;
    char *path;
    size_t path_len;
    bool has_range, has_content_range;
    uint64_t range_first, range_last, range_total;
    struct px_h3_response res;

    /* asking */
    const struct px_h3_client_ops *client;
    void *client_ctx;
    uint64_t asked_from;

    /* serving */
    void (*gone)(void *ctx);
    void *gone_ctx;
    const struct px_h3_body_ops *body; /* closed when the exchange is freed */
    void *body_ctx;
    struct px_slice piece; /* pulled from the body, not yet taken by nghttp3 */
    bool piece_fin;
    uint64_t acked; /* body bytes acked while nghttp3 was on the stack */
};

/* Bytes nghttp3 has offered, but not yet been told of as sent: the next packets take of them
 * without asking it. Packet by packet it would use a tenth of a serving node's CPU time at 1452
 * bytes. Whatever else is to happen on either session ends the run first. */
#define PX_H3_RUN_BYTES (16u * 1024)
struct px_h3_run {
    struct px_h3_exchange *x; /* NULL: none */
    struct px_slice rest;
    bool fin; /* with the last of them */
    size_t untold;
};

struct px_h3 {
    struct px_link *link;
    const struct px_h3_server_ops *server;
    void *server_ctx;
    struct px_producer producer;
    struct px_h3_session asking, serving;
    bool serving_turn;     /* which session is offered first */
    bool starved;          /* nghttp3 found a body without bytes */
    struct px_list hungry; /* bodies to ask for more */
    struct px_map streams; /* by the link's id */
    struct px_h3_run run;
};

/* --- h3.c --- */

/* Makes a stream object and counts it; NULL without memory. Exchanges go to the live list. */
struct px_h3_exchange *px_h3_exchange_new(struct px_h3_session *s, enum px_h3_state state);
/* Enters it by id. */
void px_h3_exchange_insert(struct px_h3_exchange *x, int64_t id);
struct px_h3_exchange *px_h3_find(const struct px_h3 *h, int64_t id);
/* Tells its owner, if that is still to be done, closes the body, and frees it. nghttp3 and the link
 * are not touched. */
void px_h3_exchange_free(struct px_h3_exchange *x, int err);
/* Tells the owner that it is over (`end` or `gone`), gives received bytes back. */
void px_h3_exchange_over(struct px_h3_exchange *x, int err);
/* Resets and stops the stream as far as it is still open. */
void px_h3_exchange_abort(struct px_h3_exchange *x, uint64_t code);
/* No more bytes of it to the peer. */
void px_h3_exchange_shut_write(struct px_h3_exchange *x, uint64_t code);
/* Acts on what callbacks recorded while x's stream was read. */
void px_h3_exchange_act(struct px_h3_exchange *x);
/* Pulls pieces for all bodies nghttp3 waits for; each is asked once. */
void px_h3_feed(struct px_h3 *h);

/* --- h3_link.c --- */

/* Tells nghttp3 what was sent of the run, and ends it. */
void px_h3_end_run(struct px_h3 *h);
/* nghttp3's object, for every call that depends on what was sent. */
nghttp3_conn *px_h3_conn(struct px_h3_session *s);

extern const struct px_stream_ops px_h3_stream_ops; /* ctx: the exchange */
extern const struct px_stream_ops px_h3_orphan_ops; /* reads on and forgets; no ctx */
extern const struct px_producer_ops px_h3_producer_ops;
/* Hands all its streams over to nobody. */
void px_h3_session_disown(struct px_h3_session *s);
/* A fatal nghttp3 error (`liberr`) or another end of the session: resets its streams with the
 * error code and tells the owners `err`. */
void px_h3_session_fail(struct px_h3_session *s, uint64_t code, int err);
void px_h3_session_fatal(struct px_h3_session *s, int liberr);
/* Acts on a received GOAWAY. */
void px_h3_session_goaway(struct px_h3_session *s);

/* --- h3_guard.c --- */

/* PX_EPROTO at a frame that must not get to nghttp3. */
PX_MUST_CHECK int px_h3_guard_feed(struct px_h3_guard *g, struct px_slice data);

/* --- h3_session.c --- */

/* Fills in what needs no memory. */
void px_h3_session_prepare(struct px_h3_session *s, struct px_h3 *h, bool serving);
/* Makes the nghttp3 connection and opens its three streams. */
PX_MUST_CHECK int px_h3_session_start(struct px_h3_session *s);
void px_h3_session_deinit(struct px_h3_session *s);
PX_MUST_CHECK int px_h3_error(int liberr);
nghttp3_ssize px_h3_read_body(nghttp3_conn *conn, int64_t id, nghttp3_vec *vec, size_t cap,
                              uint32_t *flags, void *session_ctx, void *exchange_ctx);

/* --- h3_fields.c --- */

/* Takes one received field into the exchange. A value that makes the message worthless sets
 * abort_code (response) or bad_request. */
void px_h3_field(struct px_h3_exchange *x, int32_t token, struct px_slice name,
                 struct px_slice value);
/* `bytes=a-` or `bytes=a-b`; anything else is ignored, as RFC 9110 §14.2 allows. */
bool px_h3_parse_range(struct px_slice text, uint64_t *ret_first, uint64_t *ret_last);
/* `bytes a-b/total` with a <= b < total. */
bool px_h3_parse_content_range(struct px_slice text, uint64_t *ret_first, uint64_t *ret_last,
                               uint64_t *ret_total);
PX_MUST_CHECK int px_h3_submit_request(struct px_h3_exchange *x, bool head, struct px_slice path,
                                       uint64_t range_first);
PX_MUST_CHECK int px_h3_submit_answer(struct px_h3_exchange *x, const struct px_h3_answer *a);

#endif

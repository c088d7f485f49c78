/* HTTP/3 (RFC 9114) by nghttp3 on a secured link, both directions on the one connection.
 *
 * Two sessions per end, told apart by the stream type byte (proto/stream_type.h). Requests are
 * bodiless GET and HEAD. The one home of nghttp3. A fatal error of one session ends that session,
 * not the link. docs/spec/http3.md has the mapping of stream ids and offsets.
 *
 * Callbacks come from the link's turn and from px_h3_free, none from inside px_h3_get, _cancel,
 * _respond or _consume; all of these may be called from inside callbacks. */
#ifndef PX_NODE_H3_H
#define PX_NODE_H3_H

#include "transport/link.h"

struct px_h3;          /* both sessions of one link */
struct px_h3_exchange; /* one request and its response, at either end */

#define PX_H3_PATH_MAX      1024
#define PX_H3_HEADERS_MAX   64   /* fields of one message */
#define PX_H3_EXCHANGES_MAX 1024 /* served for one peer at a time; then H3_REQUEST_REJECTED */
/* Streams of ours on one link, given-up ones the peer has not ended included; then PX_EAGAIN,
 * however many more the peer allows. */
#define PX_H3_ASKED_MAX 2048
#define PX_H3_NO_LENGTH UINT64_MAX

struct px_h3_request {
    bool head; /* HEAD, else GET; other methods are answered 400 here, a request body is refused */
    struct px_slice path;             /* with its query; starts with a slash */
    bool has_range;                   /* `bytes=a-` or `bytes=a-b` was asked for */
    uint64_t range_first, range_last; /* range_last UINT64_MAX for an open range */
};

struct px_h3_response {
    unsigned status; /* 200 and up; a 206 is only passed on if it begins where it was asked to */
    uint64_t content_length; /* PX_H3_NO_LENGTH if unknown */
    uint64_t total;          /* of a 206: the size of the whole, else 0 */
};

/* A response's body at the serving end. Memory offered stays valid until acked or closed. */
struct px_h3_body_ops {
    /* 0 with the next bytes (and fin with the last, which may be none), or PX_EAGAIN: asked again
     * after px_h3_body_resume. Anything else resets the stream. */
    int (*next)(void *ctx, struct px_slice *ret, bool *ret_fin);
    void (*acked)(void *ctx, uint64_t n);
    /* Last call, always: the exchange is over, for good or ill. */
    void (*closed)(void *ctx);
};

/* The serving end: a request has arrived; req lives until return. Answer it now or later with
 * px_h3_respond. When the peer gives up before, `gone` of the exchange is called: who answers later
 * registers it by px_h3_on_gone inside `request`. */
struct px_h3_server_ops {
    void (*request)(void *ctx, struct px_h3_exchange *x, const struct px_h3_request *req);
};

/* The asking end. */
struct px_h3_client_ops {
    void (*response)(void *ctx, const struct px_h3_response *res);
    /* Body bytes; give credit back with px_h3_consume. */
    void (*data)(void *ctx, struct px_slice data);
    /* Last call: 0 after a whole response, else why not: PX_EBUSY (the peer refused it unserved),
     * PX_ECANCELED (the peer gave up), PX_EPROTO, PX_ECLOSED (session or link ended), PX_ENOMEM.
     * The exchange is dead afterwards; credit not given back until then is given back here, so an
     * owner that keeps bytes beyond `end` bounds them itself. */
    void (*end)(void *ctx, int err);
};

/* Attaches to a link that is up; call it from `up`. `server` may be NULL (404 to all). */
PX_MUST_CHECK int px_h3_new(struct px_link *link, const struct px_h3_server_ops *server,
                            void *server_ctx, struct px_h3 **ret);
/* Ends all exchanges. Call it from the link's `down`. */
void px_h3_free(struct px_h3 *h);
/* Sends GOAWAY: what was asked so far is served, what the peer asks from now on is refused. */
void px_h3_shutdown(struct px_h3 *h);
/* Requests of the peer that are being served. */
size_t px_h3_serving(const struct px_h3 *h);
/* For px_overlay_ops.stream: takes streams of type PX_STREAM_H3_*; NULL for others. */
const struct px_stream_ops *px_h3_stream(struct px_h3 *h, int64_t id, uint8_t type, void **ret_ctx);

/* Asks. `range_first` 0 asks for the whole. PX_EAGAIN when the peer allows no more streams now or
 * PX_H3_ASKED_MAX are open, PX_ECLOSED when the session is over or going away, PX_EINVAL for a path
 * that is empty, too long or does not start with a slash. */
PX_MUST_CHECK int px_h3_get(struct px_h3 *h, bool head, struct px_slice path, uint64_t range_first,
                            const struct px_h3_client_ops *ops, void *ctx,
                            struct px_h3_exchange **ret);
void px_h3_consume(struct px_h3_exchange *x, uint64_t n);
/* Gives up on an exchange, at the asking end; `end` is not called. */
void px_h3_cancel(struct px_h3_exchange *x);

/* Answers. With `body` NULL the response has no body (HEAD, 404 …). For 206 the content-range is
 * first-last/total: content_length bytes from req.range_first of `total`. */
struct px_h3_answer {
    unsigned status;
    uint64_t content_length;
    uint64_t range_first, total; /* for 206 */
    const char *content_type;    /* static string or NULL */
    const struct px_h3_body_ops *body;
    void *body_ctx;
};
/* After an answer without body x is dead; with one it lives until the body's `closed`. On an error
 * (PX_ENOMEM, PX_ESTATE, PX_EPROTO) the stream is reset, x is dead, and the body was not called. */
PX_MUST_CHECK int px_h3_respond(struct px_h3_exchange *x, const struct px_h3_answer *a);
void px_h3_body_resume(struct px_h3_exchange *x);
/* Called when the asker gave up before px_h3_respond; x is dead afterwards. */
void px_h3_on_gone(struct px_h3_exchange *x, void (*gone)(void *ctx), void *ctx);

#endif

/* The client's side of the Nix worker protocol, versions 1.34 to 1.38, as a pure state machine:
 * bytes of the daemon in, events and bytes for the daemon out. One request at a time.
 *
 * Only what a reader needs is here: AddTempRoot, QueryPathInfo, QueryPathFromHashPart. */
#ifndef PX_NODE_NIX_WORKER_PROTO_H
#define PX_NODE_NIX_WORKER_PROTO_H

#include "proto/base/buf.h"
#include "proto/path_info.h"

#define PX_WORKER_MINOR_MIN 34 /* nix 2.8 */
#define PX_WORKER_MINOR_MAX 38
/* The longest message and the longest string of a daemon; beyond it PX_ELIMIT. A path info with
 * PX_NARINFO_REFS_MAX references fits. */
#define PX_WORKER_MESSAGE_MAX (8u << 20)
#define PX_WORKER_STRING_MAX  (1u << 20)
#define PX_WORKER_FIELDS_MAX  1024
#define PX_WORKER_REFS_MAX    100000 /* counted before they are looked at */
#define PX_WORKER_VERSION_MAX 64

enum px_worker_op {
    PX_WORKER_ADD_TEMP_ROOT = 11,
    PX_WORKER_QUERY_PATH_INFO = 26,
    PX_WORKER_QUERY_PATH_FROM_HASH_PART = 29,
};

enum px_worker_trust { PX_WORKER_TRUST_UNKNOWN, PX_WORKER_TRUSTED, PX_WORKER_NOT_TRUSTED };

/* Opaque but for its size; use the calls below. */
struct px_worker {
    enum px_worker_state {
        PX_WORKER_HELLO,    /* waits for the daemon's magic and version */
        PX_WORKER_FEATURES, /* 1.38: for its feature set */
        PX_WORKER_ABOUT,    /* for its nix version, from 1.35 whether it trusts us */
        PX_WORKER_STARTUP,  /* for the end of its start-up messages */
        PX_WORKER_IDLE,
        PX_WORKER_WORKING, /* messages of a request under way */
        PX_WORKER_REPLY,   /* they ended well: the reply itself */
        PX_WORKER_BROKEN
    } state;
    enum px_worker_op op;
    unsigned minor; /* spoken by both; valid after PX_WORKER_READY */
    enum px_worker_trust trust;
    char nix_version[PX_WORKER_VERSION_MAX];
    char *store_dir; /* for QueryPathInfo */
    char *path;      /* asked about */
    struct px_buf in, out;
    size_t consumed; /* of `in`, by the last event */
    int err;         /* once broken */
};

struct px_worker_event {
    enum px_worker_event_kind {
        PX_WORKER_READY,   /* the handshake is done; requests may follow */
        PX_WORKER_LOG,     /* text: a message for people */
        PX_WORKER_REFUSED, /* text: the daemon's error; the connection goes on */
        PX_WORKER_ROOTED,  /* AddTempRoot */
        PX_WORKER_PATH,    /* QueryPathFromHashPart: text is a full path, empty for none */
        PX_WORKER_INFO,    /* QueryPathInfo: info, NULL for a path that is not valid */
    } kind;
    struct px_slice text; /* valid until the next call on the object */
    struct px_path_info *owned_info;
    int info_err; /* PX_WORKER_INFO without info: PX_ENOENT, or what is wrong with it */
};

/* Queues the client's greeting. store_dir is copied. PX_ENOMEM. */
PX_MUST_CHECK int px_worker_init(struct px_worker *w, const char *store_dir);
void px_worker_deinit(struct px_worker *w);

/* Takes the bytes to be sent: swaps them with `into`, which must be empty. */
void px_worker_take_output(struct px_worker *w, struct px_buf *into);
/* Bytes of the daemon. PX_ELIMIT when a message grows too long, or the lasting error. */
PX_MUST_CHECK int px_worker_feed(struct px_worker *w, struct px_slice bytes);
/* 0 and the next event, PX_EAGAIN for want of bytes, or a lasting error: PX_EPROTO (not a daemon,
 * too old, malformed), PX_ELIMIT, PX_ENOMEM. An info in the event is the caller's. */
PX_MUST_CHECK int px_worker_next(struct px_worker *w, struct px_worker_event *ret);
/* Queues a request; arg is a full store path, or a hash part. Only while idle: PX_ESTATE else. */
PX_MUST_CHECK int px_worker_request(struct px_worker *w, enum px_worker_op op, struct px_slice arg);

#endif
